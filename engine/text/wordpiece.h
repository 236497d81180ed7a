/*
 * wordpiece.h - BERT's uncased tokenizer: text to ids, exactly as the reference library does.
 *
 * Built from the token table of a pack of architecture bert (weights/FORMAT.md). Safe to share between threads once open.
 */
#ifndef ES_WORDPIECE_H
#define ES_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct es_wordpiece es_wordpiece;

/* table: for each token in id order one length byte and its UTF-8, `##` included. It must hold [UNK], [CLS], [SEP]. */
int es_wordpiece_open(es_wordpiece **out, const uint8_t *table, size_t bytes, es_err *err);
void es_wordpiece_close(es_wordpiece *w); /* accepts NULL */
int es_wordpiece_count(const es_wordpiece *w);

/* Ids without the frame; up to room are written, returns how many there are, SIZE_MAX when memory is out. specials: [CLS]
 * and its like spelled in the text become their ids, as in the reference; false takes them as ordinary characters. */
size_t es_wordpiece_encode(const es_wordpiece *w, const char *text, size_t n, bool specials, int32_t *ids, size_t room);
int es_wordpiece_first(const es_wordpiece *w); /* [CLS], before the ids of a text */
int es_wordpiece_last(const es_wordpiece *w);  /* [SEP], behind them */

#endif
