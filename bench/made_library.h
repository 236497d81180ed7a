/*
 * made_library.h - a library of made-up vectors and words, for measuring search at sizes that no one has recorded yet.
 *
 * Vectors are random ones of unit length, a thousand to a recording. Passages have 60 words drawn by Zipf's law from
 * 100,000, a hundred to a recording, which is about an hour of speech. What fails ends the program with a sentence.
 */
#ifndef ES_MADE_LIBRARY_H
#define ES_MADE_LIBRARY_H

#include <time.h>

#include "store/store.h"

void es_made_vectors(es_store *s, long n, int width);
void es_made_words(es_store *s, long passages);

es_hash128 es_made_space(void); /* of the vectors */
void es_made_row(uint64_t *state, float *row, int width);

enum { ES_MADE_QUERY_BYTES = 32 /* of three words at most */ };
double *es_made_zipf(void); /* the share of the words up to each; the caller's to free */
void es_made_query(uint64_t *state, const double *zipf, char *query, int words);

void es_made_must(int rc, const es_err *err); /* ES_OK, or the end */
void *es_made_take(size_t bytes);             /* memory, or the end */
double es_made_seconds(clockid_t clock);

#endif
