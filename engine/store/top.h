/*
 * top.h - the k best of many hits, in an order that leaves nothing to chance: the better score, then the smaller id.
 */
#ifndef ES_TOP_H
#define ES_TOP_H

#include "store/find.h"

typedef struct es_scored {
    double score;
    es_passage_id id;
} es_scored;

/* A heap with the worst of the kept at its root. at: the caller's, with room for k. */
typedef struct es_top {
    es_scored *at;
    size_t n, k;
} es_top;

static inline bool es_top_better(const es_scored *a, const es_scored *b)
{
    if (a->score != b->score) return a->score > b->score;
    if (a->id.media != b->id.media) return a->id.media < b->id.media;
    if (a->id.track != b->id.track) return a->id.track < b->id.track;
    return a->id.number < b->id.number;
}

/* Whether a hit with this score may still be kept. */
static inline bool es_top_takes(const es_top *t, double score)
{
    return t->n < t->k || (t->k && score >= t->at[0].score);
}

void es_top_add(es_top *t, const es_scored *s);
void es_top_sort(es_top *t); /* the best first; nothing may be added after */

#endif
