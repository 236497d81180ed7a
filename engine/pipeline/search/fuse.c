/*
 * fuse.c - reciprocal rank fusion: gather by passage, add up, sort.
 */
#include "pipeline/search/fuse.h"

#include <stdlib.h>

int es_fuse_compare(const es_passage_id *a, const es_passage_id *b)
{
    if (a->media != b->media) return a->media < b->media ? -1 : 1;
    if (a->track != b->track) return a->track < b->track ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static int by_passage(const void *a, const void *b)
{
    const es_fused *x = a, *y = b;

    return es_fuse_compare(&x->passage, &y->passage);
}

static int by_score(const void *a, const void *b)
{
    const es_fused *x = a, *y = b;

    if (x->score > y->score || x->score < y->score) return x->score > y->score ? -1 : 1;
    for (int i = 0; i < ES_FUSE_LISTS; i++) {
        if (x->rank[i] == y->rank[i]) continue;
        if (!x->rank[i] || !y->rank[i]) return x->rank[i] ? -1 : 1;
        return x->rank[i] < y->rank[i] ? -1 : 1;
    }
    return by_passage(a, b);
}

size_t es_fuse(es_fused *out, const es_ranked *const lists[ES_FUSE_LISTS], const size_t n[ES_FUSE_LISTS])
{
    size_t all = 0, kept = 0;

    for (int l = 0; l < ES_FUSE_LISTS; l++)
        for (size_t i = 0; i < n[l]; i++) {
            es_fused *f = &out[all++];
            *f = (es_fused){.passage = lists[l][i].passage};
            f->rank[l] = (int)i + 1;
            f->own[l] = lists[l][i].score;
        }
    if (all) qsort(out, all, sizeof *out, by_passage);
    for (size_t i = 0; i < all; i++) {
        es_fused *f = kept ? &out[kept - 1] : NULL;
        if (f && !es_fuse_compare(&f->passage, &out[i].passage)) {
            for (int l = 0; l < ES_FUSE_LISTS; l++)
                if (out[i].rank[l]) f->rank[l] = out[i].rank[l], f->own[l] = out[i].own[l];
        } else {
            out[kept++] = out[i];
        }
    }
    /* Added up in the order of the rankings, so that rounding does not depend on how the passages were met. */
    for (size_t i = 0; i < kept; i++)
        for (int l = 0; l < ES_FUSE_LISTS; l++)
            if (out[i].rank[l]) out[i].score += 1.0 / (ES_FUSE_SMOOTH + out[i].rank[l]);
    if (kept) qsort(out, kept, sizeof *out, by_score);
    return kept;
}
