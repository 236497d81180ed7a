/*
 * dots.h - inner products of a query with rows of halves: the loop that reads a whole space.
 *
 * Every instruction set gives the same bits: a row is summed in sixty-four lanes, each number's product rounded before
 * it is added to lane (number mod 64), and the lanes are joined by halves, l with l + 32, then 16, 8, 4, 2, 1. Fused
 * multiply-adds would round once less, and cost a machine without them a call for each; memory is the limit anyway.
 */
#ifndef ES_DOTS_H
#define ES_DOTS_H

#include <stddef.h>

enum { ES_DOTS_LANES = 64 };

/* scores[n] = rows [n, width] of halves, at an address of any kind, times query [width rounded up to 64, with zeros].
 */
typedef void (*es_dots)(float *scores, const void *rows, size_t n, size_t width, const float *query);

es_dots es_dots_best(void); /* what this processor runs fastest */

/* The variants; NULL where the compiler or its options leave one out. */
extern const es_dots es_dots_avx512, es_dots_avx2, es_dots_portable;

#endif
