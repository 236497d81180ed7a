/*
 * cluster.h - speaker vectors into speakers: centroid linkage, and PLDA with VBx.
 *
 * Memory is O(n) beside the vectors: no matrix of distances is kept. Everything is in double and in one fixed order, so a
 * result depends on the vectors and their order alone. Results are the caller's arrays, and so is the work (work.h): nothing
 * here allocates, and nothing can fail.
 *
 * Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx)" (2022); Bredin, "pyannote.audio 2.1" (2023).
 */
#ifndef ES_CLUSTER_H
#define ES_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "speech/work.h"

/* y [d] = x / max(norm, 1e-12). */
void es_cluster_unit(double *y, const float *x, int d);

/* One merge: two nodes (leaves 0 .. n-1, merge i makes node n + i), a < b, the distance of their means, the leaves below. */
typedef struct es_merge {
    int32_t a, b;
    int32_t size;
    double height;
} es_merge;

/* Greedy centroid linkage of n rows x [n, d], already of unit length; merges [n - 1]. Ties: the lowest pair of nodes. */
void es_cluster_link(es_merge *merges, const double *x, int n, int d, es_work *work);
size_t es_cluster_link_bytes(int n, int d);
/* Labels of the clusters whose inner heights are at most t, numbered as the reference numbers them. */
void es_cluster_cut(int32_t *label, const es_merge *merges, int n, double t, es_work *work);
size_t es_cluster_cut_bytes(int n);

/* How many speakers: 0 for "not told". */
typedef struct es_speaker_range {
    int least, most;
} es_speaker_range;

/* The whole of it: unit vectors, linkage, cut at t, clusters below the smallest size join the nearest large one in cosine.
 * x [n, d] raw, n > 0; min_size as stated for the configuration (12). label [n] from 0; returns the number of clusters. */
int es_cluster_vectors(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range, es_work *work);
size_t es_cluster_vectors_bytes(int n, int d);
/* Exact up to so many vectors. More are linked in parts of at most that many, one stretch of the recording after the other, as
 * far as half of t, and what is left is linked as a whole: bench/bench_cluster measures what that changes. */
enum { ES_CLUSTER_EXACT = 50000 };
int es_cluster_vectors_in(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range, int exact,
                          es_work *work);
size_t es_cluster_vectors_in_bytes(int n, int d, int exact);

/* Means of the raw vectors of each cluster: mean [K, d]. */
void es_cluster_means(double *mean, const float *x, const int32_t *label, int n, int d, int K);

/* ---- PLDA and VBx ---- */

enum { ES_PLDA_IN = 256, ES_PLDA_OUT = 128 };

typedef struct es_plda {
    double mean1[ES_PLDA_IN], mean2[ES_PLDA_OUT], mu[ES_PLDA_OUT], psi[ES_PLDA_OUT];
    double lda[ES_PLDA_IN][ES_PLDA_OUT];
    double tr[ES_PLDA_OUT][ES_PLDA_OUT];
} es_plda;

void es_plda_project(double *y /* [128] */, const es_plda *p, const float *x /* [256] */);

/* VBx over projected vectors f [n, 128] from initial labels 0 .. S-1: q [n, S] and pi [S] are written; returns the rounds
 * run. */
int es_vbx(double *q, double *pi, const double *f, const int32_t *label, int n, int S, const double *psi, double Fa,
           double Fb, es_work *work);
size_t es_vbx_bytes(int n, int S);

/* community-1 in two steps, since what the second needs depends on what the first finds: raw vectors x [n, 256], n > 0, to
 * initial labels [n] by linkage; returns S, how many. */
int es_cluster_vbx_labels(int32_t *label, const float *x, int n, es_speaker_range range, es_work *work);
size_t es_cluster_vbx_labels_bytes(int n);
/* Then these to centroids, of which there may be es_cluster_vbx_most(), each [256]; returns how many there are.
 * *constrained: false where the number of speakers that was asked for had to be forced by k-means. */
int es_cluster_vbx(double *centroids, bool *constrained, const es_plda *p, const float *x, const int32_t *label, int n, int S,
                   es_speaker_range range, es_work *work);
size_t es_cluster_vbx_bytes(int n, int S, es_speaker_range range);
int es_cluster_vbx_most(int n, int S, es_speaker_range range);

#endif
