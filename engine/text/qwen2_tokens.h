/*
 * qwen2_tokens.h - Qwen2's tokenizer: text to ids, exactly as the reference library does.
 *
 * Built from the two token tables of a pack of architecture qwen2 (weights/FORMAT.md). Safe to share between threads once
 * open.
 */
#ifndef ES_QWEN2_TOKENS_H
#define ES_QWEN2_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct es_qwen2_tokens es_qwen2_tokens;

/* table: for each base token in id order one length byte and its raw bytes. added: for each added token by rising id its
 * id (u32, little-endian), one length byte and its UTF-8; may be empty. Both are copied. */
int es_qwen2_tokens_open(es_qwen2_tokens **out, const uint8_t *table, size_t bytes, const uint8_t *added, size_t added_bytes,
                         es_err *err);
void es_qwen2_tokens_close(es_qwen2_tokens *t); /* accepts NULL */

/* Ids without an end token; up to room are written, returns how many there are, SIZE_MAX when memory is out. Invalid UTF-8
 * is taken as U+FFFD. added: added tokens spelled in the text become their ids, as in the reference; false takes them as
 * ordinary characters. Time is n log n, whatever the text. */
size_t es_qwen2_tokens_encode(const es_qwen2_tokens *t, const char *text, size_t n, bool added, int32_t *ids, size_t room);

/* The id of an added token with exactly this text, or -1. */
int32_t es_qwen2_tokens_added(const es_qwen2_tokens *t, const char *text, size_t n);

#endif
