/*
 * index.h - the words of a recording on their way into the tables words, terms and outlines, and out again.
 */
#ifndef ES_INDEX_H
#define ES_INDEX_H

#include "store/inside.h"
#include "text/terms.h"

/* The first byte of a term: what it is. Stems of language n: ES_INDEX_STEMS + n. */
enum { ES_INDEX_WRITTEN = 1, ES_INDEX_STEMS = 16 };
enum { RECORDING_BYTES = 10, ES_INDEX_KEY_BYTES = 1 + ES_TERM_BYTES + 1 + RECORDING_BYTES };

/* term, 0, recording (which may be empty); returns its bytes. */
size_t es_index_key(uint8_t out[ES_INDEX_KEY_BYTES], es_bytes term, es_bytes recording);
/* A key of the table words taken apart; false where it is none. */
bool es_index_split(es_bytes key, es_bytes *term, es_bytes *recording);

typedef struct es_index_text {
    const char *p;
    size_t n;
} es_index_text;

/* Writes everything for one recording, which must not be in the index. rows: all but n_words, which is set here;
 * segments: whether they stand for passages. r: bytes to write with. */
int es_index_put(es_txn *x, es_record *r, es_bytes recording, const es_index_text *texts, es_outline_row *rows,
                 uint32_t n, bool segments, es_err *err);
/* Removes everything of the recordings whose keys start so. */
int es_index_delete(es_txn *x, es_record *r, es_bytes prefix, es_err *err);
int es_index_totals(es_txn *x, es_totals *out, es_err *err);

/* The same without a library: the lists go to a sink, in the order of their terms, then the record of the terms. */
typedef struct es_index_sink {
    int (*list)(void *user, es_bytes term, es_bytes list, es_err *err);
    int (*terms)(void *user, es_bytes record, es_err *err);
    void *user;
} es_index_sink;
int es_index_make(const es_index_text *texts, uint32_t n, es_outline_row *rows, es_record *r, es_index_sink *sink,
                  es_err *err);

#endif
