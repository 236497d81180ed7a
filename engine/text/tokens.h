/*
 * tokens.h - the tokenizer of a text encoder, whichever it is: texts to the ids that the model takes.
 *
 *     wordpiece   [CLS] text [SEP]           cut in the middle part: the head of the text stays
 *     qwen2       text <end>                 the same; a query is put behind its instruction
 *
 * Safe to share between threads once open.
 */
#ifndef ES_TOKENS_H
#define ES_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

typedef struct es_tokens es_tokens;

/* What a pack holds: its tensors tokenizer.tokens and tokenizer.added, NULL and 0 where one is missing. Copied. */
typedef struct es_token_tables {
    const uint8_t *tokens, *added;
    size_t tokens_bytes, added_bytes;
} es_token_tables;

/* config: the pack's, which names the "tokenizer" and for qwen2 the "eos". *out is NULL, without a failure, where it says
 * "none". what: names the pack in sentences. */
int es_tokens_open(es_tokens **out, const es_token_tables *tables, const es_json_node *config, const char *what, es_err *err);
void es_tokens_close(es_tokens *t); /* accepts NULL */

/* Ids of the text alone; up to room are written, returns how many there are, SIZE_MAX when memory is out. Added tokens that
 * the text spells are recognised, as the references do. */
size_t es_tokens_plain(const es_tokens *t, const char *text, size_t n, int32_t *ids, size_t room);

int es_tokens_frame(const es_tokens *t); /* tokens that the model's frame adds to every text */
/* The ids of a text alone, with the instruction before it for a query; as es_tokens_plain. */
size_t es_tokens_inner(const es_tokens *t, const char *text, size_t n, bool query, int32_t *ids, size_t room);
/* Puts the frame around count ids that stand at ids + es_tokens_lead(); returns how many there are then. */
size_t es_tokens_put_frame(const es_tokens *t, int32_t *ids, size_t count);
int es_tokens_lead(const es_tokens *t); /* tokens of the frame before the text */
/* Ids as the model takes them: framed, at most limit of them, which is more than the frame. Returns how many were written,
 * at least one; *all: how many there would have been without the limit; may be NULL. SIZE_MAX when memory is out. query:
 * the text asks for others; qwen2 puts the instruction for that before it. */
size_t es_tokens_framed(const es_tokens *t, const char *text, size_t n, bool query, int32_t *ids, size_t limit, size_t *all);

#endif
