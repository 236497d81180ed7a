/*
 * query.h - what of a question is looked for by its words, when it is also looked for by its meaning.
 *
 * "Where did they live as children" has two words that say something. A passage that shares the others with it is no answer,
 * and yet would stand first in a ranking by words, in a small library above all. So in a fused search the words that every
 * sentence has are left out, unless there are no others, or they stand in quotes.
 */
#ifndef ES_QUERY_H
#define ES_QUERY_H

#include <stdbool.h>
#include <stddef.h>

/* One word of a query, or one phrase with its quotes. */
typedef struct es_query_piece {
    const char *text; /* in the query */
    size_t bytes;
} es_query_piece;

/* The next piece at *at of n bytes; false behind the last one. A quote that is not closed ends with the query. */
bool es_query_next(es_query_piece *out, const char *query, size_t n, size_t *at);
/* A word that sentences need and that says nothing by itself, in English; whatever its capitals. */
bool es_query_is_common(const es_query_piece *p);
/* The query without its common words, a blank between pieces, into out[2 n + 1]: pieces may have touched. The query itself where
 * nothing else is in it. Returns the bytes, without the NUL at the end. */
size_t es_query_telling(char *out, const char *query, size_t n);

#endif
