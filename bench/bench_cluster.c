/*
 * bench_cluster.c - seconds and memory of clustering speaker vectors, and what two levels change.
 *
 * usage: bench_cluster [VECTORS [PEOPLE]]         20000 vectors of 30 people without arguments
 *
 * Made-up vectors of 192 numbers: each person has a direction, each vector is that with noise, so that the cosines of one
 * person's vectors lie around 0.75 and those of different people's around 0, as CAM++'s do. They are clustered as a whole, if
 * they are not more than 60000, and then in parts of a quarter of them, and the labels are compared after the best map.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/bench/machine.h"
#include "speech/cluster.h"
#include "speech/score.h"

enum { WIDTH = 192, MOST_WHOLE = 60000 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t state = 1;

static double normal(void)
{
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        uint64_t z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        sum += (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
    }
    return sum;
}

/* How many labels differ after the best map between the clusters of both. */
static long differing(const int32_t *a, const int32_t *b, int n, int K, int L)
{
    double *shared = calloc((size_t)K * (size_t)L, sizeof *shared), same = 0;
    int *column = malloc((size_t)K * sizeof *column);
    es_work work = {.bytes = es_score_assign_bytes(K, L)};

    work.at = malloc(work.bytes);
    if (!shared || !column || !work.at) exit(1);
    for (int i = 0; i < n; i++) shared[a[i] * L + b[i]]++;
    es_score_assign(column, shared, K, L, &work);
    for (int k = 0; k < K; k++)
        if (column[k] >= 0) same += shared[k * L + column[k]];
    free(shared), free(column), free(work.at);
    return n - (long)same;
}

/* In parts of at most `part` vectors; seconds in *took. */
static int cluster(int32_t *label, const float *x, int n, int part, double *took)
{
    const es_speaker_range any = {0};
    es_work work = {.bytes = es_cluster_vectors_in_bytes(n, WIDTH, part)};
    double began = now();

    work.at = malloc(work.bytes);
    if (!work.at) exit(1);
    int K = es_cluster_vectors_in(label, x, n, WIDTH, 0.9, 12, any, part, &work);
    free(work.at);
    *took = now() - began;
    return K;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 20000, people = argc > 2 ? atoi(argv[2]) : 30, K = 0, L = 0;
    float *x = malloc((size_t)(n > 0 ? n : 1) * WIDTH * sizeof *x), *who = malloc((size_t)(people > 0 ? people : 1) * WIDTH * sizeof *who);
    int32_t *whole = malloc((size_t)(n > 0 ? n : 1) * sizeof *whole), *parts = malloc((size_t)(n > 0 ? n : 1) * sizeof *parts);
    double t;

    if (n < 8 || n > 2000000 || people < 1 || people > n || !x || !who || !whole || !parts) {
        fprintf(stderr, "usage: bench_cluster [VECTORS [PEOPLE]]\n");
        return 2;
    }
    for (int i = 0; i < people * WIDTH; i++) who[i] = (float)normal();
    for (int i = 0; i < n; i++) {
        int p = (int)(fabs(normal()) / 4 * people) % people; /* some speak a lot, some hardly */
        for (int c = 0; c < WIDTH; c++) x[i * WIDTH + c] = who[p * WIDTH + c] + 0.58f * (float)normal();
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* minutes lie between the lines */
    printf("%d vectors of %d people, %d numbers each\n", n, people, WIDTH);
    if (n <= MOST_WHOLE) {
        K = cluster(whole, x, n, n, &t);
        printf("as a whole     %9.2f s  %d clusters, peak of the process %.1f MiB\n", t, K, (double)es_machine_peak_bytes() / 1048576);
    }
    L = cluster(parts, x, n, (n + 3) / 4, &t);
    printf("in two levels  %9.2f s  %d clusters, peak of the process %.1f MiB\n", t, L, (double)es_machine_peak_bytes() / 1048576);
    if (K > 0 && L > 0) printf("%ld of %d vectors have another label in two levels\n", differing(whole, parts, n, K, L), n);
    free(x), free(who), free(whole), free(parts);
    return 0;
}
