/*
 * test_cluster.c - linkage beside a search through all pairs, many speakers, two levels beside one.
 */
#include "work.h"

enum { D = 24 };

/* Rows around `people` directions, some of them copies of others; people take turns. */
static float *crowd(int n, int people, double spread, uint64_t seed)
{
    es_noise noise = {seed};
    float *who = malloc((size_t)people * D * sizeof *who), *x = malloc((size_t)n * D * sizeof *x);

    es_noise_fill(&noise, who, (size_t)people * D, 1);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < D; c++) x[i * D + c] = who[i % people * D + c] + (float)(spread * es_noise_normal(&noise));
    free(who);
    return x;
}

static double apart(const double *a, const double *b)
{
    double s[4] = {0, 0, 0, 0};

    for (int i = 0; i < D; i++) s[i % 4] += (a[i] - b[i]) * (a[i] - b[i]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Every pair, every time: the closest, of equals the lowest nodes. */
static void naive(es_merge *merges, const double *x, int n)
{
    double *mean = malloc(2 * (size_t)n * D * sizeof *mean);
    int *size = calloc(2 * (size_t)n, sizeof *size);

    memcpy(mean, x, (size_t)n * D * sizeof *mean);
    for (int i = 0; i < n; i++) size[i] = 1;
    for (int t = 0; t < n - 1; t++) {
        double best = INFINITY;
        int a = -1, b = -1, m = n + t;
        for (int i = 0; i < m; i++)
            for (int j = i + 1; j < m && size[i]; j++)
                if (size[j] && apart(mean + i * D, mean + j * D) < best) best = apart(mean + i * D, mean + j * D), a = i, b = j;
        merges[t] = (es_merge){.a = a, .b = b, .size = size[a] + size[b], .height = sqrt(best)};
        for (int c = 0; c < D; c++) mean[m * D + c] = (mean[a * D + c] * size[a] + mean[b * D + c] * size[b]) / (size[a] + size[b]);
        size[m] = size[a] + size[b];
        size[a] = size[b] = 0;
    }
    free(mean), free(size);
}

static void all_pairs(void)
{
    for (int trial = 0; trial < 12; trial++) {
        int n = trial < 4 ? 2 + trial : 40 + 13 * trial;
        float *x = crowd(n, 1 + trial % 5, trial % 3 == 0 ? 0.02 : 0.5, 100 + (uint64_t)trial);
        double *unit = malloc((size_t)n * D * sizeof *unit);
        es_merge *have = malloc((size_t)n * sizeof *have), *want = malloc((size_t)n * sizeof *want);
        for (int i = 7; i < n && trial % 2; i += 9) memcpy(x + i * D, x + (i - 7) * D, D * sizeof *x); /* distances of 0 */
        for (int i = 0; i < n; i++) es_cluster_unit(unit + i * D, x + i * D, D);
        link_all(have, unit, n, D);
        naive(want, unit, n);
        for (int t = 0; t < n - 1; t++) {
            bool same = have[t].a == want[t].a && have[t].b == want[t].b && have[t].size == want[t].size;
            CHECK(same && fabs(have[t].height - want[t].height) < 1e-9, "%d vectors, merge %d: %d and %d at %.12f, not %d and %d at %.12f", n, t,
                  have[t].a, have[t].b, have[t].height, want[t].a, want[t].b, want[t].height);
            if (!same) break;
        }
        free(x), free(unit), free(have), free(want);
    }
}

/* The label of everybody's first vector is that of all their others, and nobody else's. */
static void check_people(const char *what, const int32_t *label, int n, int people)
{
    int wrong = 0;

    for (int i = 0; i < n; i++) wrong += label[i] != label[i % people];
    for (int i = 0; i < people; i++)
        for (int j = 0; j < i; j++) wrong += label[i] == label[j];
    CHECK(wrong == 0, "%s: %d labels are wrong", what, wrong);
}

static void thirty_people(void)
{
    enum { N = 900, PEOPLE = 30 };
    float *x = crowd(N, PEOPLE, 0.1, 5);
    const es_speaker_range any = {0}, few = {.least = 1, .most = 12}, many = {.least = 40, .most = 50};
    int32_t label[N];

    CHECK_INT(cluster_all(label, x, N, D, 0.6, 12, any), PEOPLE);
    check_people("as a whole", label, N, PEOPLE);
    CHECK_INT(cluster_in(label, x, N, D, 0.6, 12, any, 250), PEOPLE);
    check_people("in two levels", label, N, PEOPLE);
    CHECK_INT(cluster_in(label, x, N, D, 0.6, 12, any, N - 1), PEOPLE);
    check_people("in two halves", label, N, PEOPLE);
    int K = cluster_all(label, x, N, D, 0.6, 12, few);
    CHECK(K >= 1 && K <= 12, "%d of at most 12", K);
    K = cluster_in(label, x, N, D, 0.6, 12, few, 300);
    CHECK(K >= 1 && K <= 12, "%d of at most 12, in two levels", K);
    K = cluster_all(label, x, N, D, 0.6, 12, many);
    CHECK(K >= PEOPLE, "%d of at least 40", K);
    free(x);
}

/* Where parts are as small as can be all is left to the second level, and the result is that of one. */
static void smallest_parts(void)
{
    enum { N = 60 };
    float *x = crowd(N, 3, 0.3, 9);
    const es_speaker_range any = {0};
    int32_t whole[N], parts[N];

    CHECK_INT(cluster_all(whole, x, N, D, 0.7, 5, any), cluster_in(parts, x, N, D, 0.7, 5, any, 1));
    for (int i = 0; i < N; i++) CHECK(whole[i] == parts[i], "vector %d is in cluster %d, not %d", i, parts[i], whole[i]);
    free(x);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"all_pairs", all_pairs},
        {"thirty_people", thirty_people},
        {"smallest_parts", smallest_parts},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
