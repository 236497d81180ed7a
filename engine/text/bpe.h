/*
 * bpe.h - byte-level BPE, split as Whisper does or as the caller says: ids to bytes, text to ids.
 *
 * Built from the token table of a pack (raw bytes in id order; the merge order is the id order). Decoding gives bytes:
 * a character may be split across tokens. Safe to share between threads once open.
 */
#ifndef ES_BPE_H
#define ES_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct es_bpe es_bpe;

/* table: for each token in id order one length byte and that many raw bytes (weights/FORMAT.md). Copied. A table that
 * breaks off in the middle of a token or lacks one of the 256 single bytes is refused. */
int es_bpe_open(es_bpe **out, const uint8_t *table, size_t bytes, es_err *err);
void es_bpe_close(es_bpe *b); /* accepts NULL */
int es_bpe_count(const es_bpe *b);
/* Raw bytes of a token; n 0 and an empty string for ids it does not hold. Borrowed; not NUL-terminated. */
const char *es_bpe_bytes(const es_bpe *b, int id, size_t *n);
/* The token with exactly these bytes (the lowest id), or -1. */
int es_bpe_find(const es_bpe *b, const char *bytes, size_t n);

/* Up to room ids; returns how many the text has (may exceed room; call again), SIZE_MAX when memory is out. Invalid
 * UTF-8 is taken as U+FFFD. Text that looks like a special token is text. Time is n log n, whatever the text. */
size_t es_bpe_encode(const es_bpe *b, const char *text, size_t n, int32_t *ids, size_t room);
/* The same with another way of splitting: piece_end gives the end of the piece that begins at `at`, which lies behind it.
 * The text must be valid UTF-8. */
typedef size_t (*es_bpe_piece_fn)(const char *text, size_t n, size_t at);
size_t es_bpe_encode_pieces(const es_bpe *b, es_bpe_piece_fn piece_end, const char *text, size_t n, int32_t *ids, size_t room);
/* Whether the order of ids can be the order of merges: the first 256 tokens are the single bytes, no token is there twice,
 * and each later one is the union of two earlier ones. */
int es_bpe_check_order(const es_bpe *b, es_err *err);
/* Bytes of the tokens below eot, joined, invalid UTF-8 replaced by U+FFFD; returns the length, written up to room. */
size_t es_bpe_decode(const es_bpe *b, const int32_t *ids, size_t n, int eot, char *out, size_t room);

/* The characters of the tokens below eot, one by one, also where a character is split across tokens. A plain value: a
 * copy reads on from the same place. */
typedef struct es_bpe_reader {
    const es_bpe *b;
    const int32_t *ids;
    size_t n, token, byte;
    int eot;
} es_bpe_reader;
/* False at the end; invalid sequences are U+FFFD. */
bool es_bpe_next(es_bpe_reader *r, int32_t *c);

/* Tokens that Whisper never says (symbols, brackets, music): the derived list, ascending, written up to room; returns
 * how many. The special tokens that are never said either are the model's to add. SIZE_MAX when memory is out. */
size_t es_bpe_non_speech(const es_bpe *b, int32_t *ids, size_t room);

#endif
