/*
 * work.h - functions of the speech room with as much work as their twins say and not a byte more, in a block of its own, so
 * that a sanitizer sees what reaches beyond it.
 */
#ifndef ES_TEST_WORK_H
#define ES_TEST_WORK_H

#include "test.h"

#include "speech/cluster.h"
#include "speech/score.h"
#include "speech/windows.h"

static inline es_work work_of(size_t bytes)
{
    es_work w = {.at = malloc(bytes ? bytes : 1), .bytes = bytes};

    CHECK(w.at != NULL, "no memory for %zu bytes of work", bytes);
    return w;
}

/* Everything is given back. */
static inline void work_done(es_work *w)
{
    CHECK_INT(w->used, 0);
    free(w->at);
}

static inline void link_all(es_merge *merges, const double *x, int n, int d)
{
    es_work w = work_of(es_cluster_link_bytes(n, d));

    es_cluster_link(merges, x, n, d, &w);
    work_done(&w);
}

static inline void cut_all(int32_t *label, const es_merge *merges, int n, double t)
{
    es_work w = work_of(es_cluster_cut_bytes(n));

    es_cluster_cut(label, merges, n, t, &w);
    work_done(&w);
}

static inline int cluster_in(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range, int exact)
{
    es_work w = work_of(es_cluster_vectors_in_bytes(n, d, exact));
    int K = es_cluster_vectors_in(label, x, n, d, t, min_size, range, exact, &w);

    work_done(&w);
    return K;
}

static inline int cluster_all(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range)
{
    es_work w = work_of(es_cluster_vectors_bytes(n, d));
    int K = es_cluster_vectors(label, x, n, d, t, min_size, range, &w);

    work_done(&w);
    return K;
}

static inline void assign_all(int *column, const double *gain, int n, int m)
{
    es_work w = work_of(es_score_assign_bytes(n, m));

    es_score_assign(column, gain, n, m, &w);
    work_done(&w);
}

/* *turns is the caller's to free. */
static inline size_t cluster_turns(es_turn **turns, const uint8_t *classes, const int16_t *cluster, const uint8_t *count, int64_t C,
                              int64_t step, int K)
{
    es_work w = work_of(es_windows_turns_bytes(K));
    size_t n = es_windows_turns(NULL, 0, classes, cluster, count, C, step, K, 0, INT64_MAX, &w);

    *turns = malloc((n ? n : 1) * sizeof **turns);
    CHECK_INT(es_windows_turns(*turns, n, classes, cluster, count, C, step, K, 0, INT64_MAX, &w), n);
    work_done(&w);
    return n;
}

#endif
