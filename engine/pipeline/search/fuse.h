/*
 * fuse.h - several rankings of passages into one, by reciprocal rank.
 *
 * What a cosine and a BM25 score mean side by side, nobody knows; their order is what counts. Each ranking gives a passage
 * 1 / (60 + its rank), and the sums are the new order (Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms
 * Condorcet and individual Rank Learning Methods", 2009, whose constant 60 is). Equal sums are ordered by the first ranking
 * that tells them apart, then by the passages themselves: the same rankings give the same order.
 */
#ifndef ES_FUSE_H
#define ES_FUSE_H

#include <stddef.h>
#include <stdint.h>

#include "store/find.h"

enum { ES_FUSE_LISTS = 2, ES_FUSE_SMOOTH = 60 };

/* < 0, 0, > 0: by media, track, number. */
int es_fuse_compare(const es_passage_id *a, const es_passage_id *b);

typedef struct es_ranked {
    es_passage_id passage;
    double score; /* of its own ranking; carried along */
} es_ranked;

typedef struct es_fused {
    es_passage_id passage;
    double score;               /* the sum */
    int rank[ES_FUSE_LISTS];    /* in each ranking, from 1; 0: not in it */
    double own[ES_FUSE_LISTS];  /* score in that ranking */
} es_fused;

/* lists[i]: n[i] passages, best first, none twice. out: room for the sum of all n; returns how many there are. */
size_t es_fuse(es_fused *out, const es_ranked *const lists[ES_FUSE_LISTS], const size_t n[ES_FUSE_LISTS]);

#endif
