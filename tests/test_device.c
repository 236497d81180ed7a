/*
 * test_device.c - the CUDA op table against ref.c, on a card or under the emulator of tests/simt.
 *
 * The cases are those of kernel_cases.c, which the CPU passes too. Every line `bits NAME HASH` is a hash of all outputs of
 * a case: the emulator is run in three orders of threads and blocks, and the lines must be the same in all (tools/check-simt);
 * two cards of a kind must agree as well. What the cases cannot see is tested here: that a row's bits do not depend on how
 * many rows there are, a captured graph against plain calls, copies of every length, the sentences of what cannot be opened,
 * and that nothing is allocated after the arena is taken.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "kernel_cases.h"
#include "test.h"

enum { ARENA = 96 << 20 };

/* NULL after a skip or a counted failure. The emulator leaves out shapes that would take it minutes. */
static es_device *open_cuda(es_rig *r, double emulated_work)
{
    es_device *d = NULL;
    es_device_facts facts;
    es_fault why = {0};

    if (es_device_count(ES_CUDA, &why) == 0) {
        es_test_skip("a GPU or the emulator");
        return NULL;
    }
    if (es_device_open(&d, ES_CUDA, 0, 0, NULL, &why)) {
        es_test_fail(__FILE__, __LINE__, "%s", why.text);
        return NULL;
    }
    if (es_rig_open(r, d, 0, ARENA)) {
        es_device_close(d);
        return NULL;
    }
    es_device_describe(d, &facts);
    if (strstr(facts.name, "emulator")) r->most_work = emulated_work;
    return d;
}

static void run_case(int i)
{
    es_rig r;
    es_device *d = open_cuda(&r, 0);

    if (!d) return;
    es_kernel_case_run(&r, i);
    printf("bits %s %016llx\n", es_kernel_case_name(i), (unsigned long long)r.hash);
    CHECK_INT(es_device_allocations(d), 0);
    es_device_close(d);
}

/* A test takes no argument, so there is a function for each case there may be. */
#define TEN(X, t) X(t##0) X(t##1) X(t##2) X(t##3) X(t##4) X(t##5) X(t##6) X(t##7) X(t##8) X(t##9)
#define CASES(X) TEN(X, ) TEN(X, 1) TEN(X, 2)
#define CASE(i)                                                                                                        \
    static void case_##i(void)                                                                                         \
    {                                                                                                                  \
        run_case(i);                                                                                                   \
    }
CASES(CASE)

/* ---- what the cases cannot see ---- */

/* Room in the arena of a rig whose cases are not used. */
static void *room(es_rig *r, size_t bytes)
{
    void *p = r->arena + r->at;

    r->at += (bytes + 255) & ~(size_t)255;
    return p;
}

static void *put(es_rig *r, const void *x, size_t bytes)
{
    void *p = room(r, bytes);

    es_device_put(r->d, p, x, bytes);
    return p;
}

/* n normal numbers on the device in type t; scratch on the host is freed. */
static void *noise(es_rig *r, uint64_t seed, size_t n, es_dtype t, double scale)
{
    es_noise s = {seed};
    float *x = malloc(n * sizeof *x);
    void *wide, *p = room(r, n * es_dtype_bytes(t));

    es_noise_fill(&s, x, n, scale);
    wide = put(r, x, n * sizeof *x);
    r->o->cast(r->d, p, t, wide, ES_F32, n);
    free(x);
    return p;
}

static es_matrix matrix(es_rig *r, uint64_t seed, es_dtype t, int O, int I)
{
    es_noise s = {seed};
    size_t n = (size_t)O * (size_t)I;
    float *x = malloc(n * sizeof *x);
    es_matrix W = {.dtype = t, .O = O, .I = I};
    void *p = room(r, r->traits->matrix_bytes(t, O, I));

    es_noise_fill(&s, x, n, 1 / sqrt(I));
    r->o->matrix_load(r->d, p, W, x, ES_F32);
    W.p = p;
    free(x);
    return W;
}

/* Every row count gives the rows of the largest one, bit for bit: products of both families and of our own kernel. */
static void rows_do_not_depend_on_their_number(void)
{
    static const int few[] = {1, 2, 7, 8, 64, 103}, many[] = {1025, 1500};
    static const struct {
        es_dtype x, w, y;
        int I;
    } kinds[] = {{ES_F16, ES_F16, ES_F16, 136}, {ES_F16, ES_F16, ES_F32, 64}, {ES_BF16, ES_BF16, ES_BF16, 72},
                 {ES_F32, ES_F32, ES_F32, 60},  {ES_F32, ES_F16, ES_F32, 64}, {ES_F16, ES_F16, ES_F16, 33}};
    enum { O = 70, MOST = 1500 };
    es_rig r;
    es_device *d = open_cuda(&r, 0);
    char *one = malloc(MOST * O * 4), *all = malloc(MOST * O * 4);

    for (int k = 0; d && k < 6; k++) {
        r.at = r.start;
        es_matrix W = matrix(&r, 1, kinds[k].w, O, kinds[k].I);
        void *x = noise(&r, 2, MOST * (size_t)kinds[k].I, kinds[k].x, 1), *b = noise(&r, 3, O, ES_F32, 1),
             *y = room(&r, MOST * O * 4);
        size_t row = O * es_dtype_bytes(kinds[k].y);
        for (int family = 0; family < 2; family++) {
            const int *counts = family ? many : few, n = family ? 2 : 6;
            r.o->linear(d, y, kinds[k].y, x, kinds[k].x, W, b, NULL, counts[n - 1], ES_ACT_GELU, false);
            es_device_get(d, all, y, row * (size_t)counts[n - 1]);
            for (int i = 0; i < n; i++) {
                es_device_fill(d, y, 0xFF, row * (size_t)counts[n - 1]);
                r.o->linear(d, y, kinds[k].y, x, kinds[k].x, W, b, NULL, counts[i], ES_ACT_GELU, false);
                es_device_get(d, one, y, row * (size_t)counts[i]);
                CHECK(!memcmp(one, all, row * (size_t)counts[i]), "%d rows of kind %d differ from %d", counts[i], k,
                      counts[n - 1]);
            }
        }
    }
    es_device_close(d);
    free(one), free(all);
}

/* A sequence alone and beside others; a row against its cache alone and among others that fill the workspace many times. */
static void neighbours_do_not_matter(void)
{
    enum { H = 2, D = 64, N = 330, C = H * D, ROW = 3 * C, R = 103, T = 300, SLOTS = 5 };
    static const es_dtype types[] = {ES_F16, ES_BF16, ES_F32};
    es_rig r;
    es_device *d = open_cuda(&r, 0);
    char *one = malloc(N * C * 4), *all = malloc(N * C * 4);

    for (int k = 0; d && k < 3; k++) {
        es_dtype t = types[k];
        size_t e = es_dtype_bytes(t);
        r.at = r.start;
        char *x = noise(&r, 5, N * ROW, t, 1.5), *y = room(&r, N * C * 4);
        const int32_t three[] = {0, 30, 300, N}, alone[] = {0, 270};
        void *b3 = put(&r, three, sizeof three), *b1 = put(&r, alone, sizeof alone);
        for (int mask = 0; mask < 2; mask++) {
            r.o->attend(d, t, y, x, ROW, x + C * e, ROW, x + 2 * C * e, ROW, b3, 3, N, 270, H, H, D, 0.125f, (es_mask)mask);
            es_device_get(d, all, y, N * C * e);
            char *from = x + 30 * ROW * e;
            r.o->attend(d, t, y, from, ROW, from + C * e, ROW, from + 2 * C * e, ROW, b1, 1, 270, 270, H, H, D, 0.125f,
                        (es_mask)mask);
            es_device_get(d, one, y, 270 * C * e);
            CHECK(!memcmp(one, all + 30 * C * e, 270 * C * e), "a sequence differs beside others, %s, mask %d",
                  es_dtype_name(t), mask);
        }
        char *K = noise(&r, 6, SLOTS * H * T * D, t, 1), *V = noise(&r, 7, SLOTS * H * T * D, t, 1);
        int32_t slot[R], len[R];
        for (int i = 0; i < R; i++) slot[i] = i % 11 == 10 ? -1 : i % SLOTS, len[i] = 1 + i * 37 % T;
        int32_t *ds = put(&r, slot, sizeof slot), *dl = put(&r, len, sizeof len);
        r.o->attend_cached(d, t, y, x, C, K, V, ds, dl, NULL, NULL, R, T, H, D, 0.125f, NULL, NULL, 0);
        es_device_get(d, all, y, R * C * e);
        for (int i = 0; i < R; i += 6) {
            if (slot[i] < 0) continue;
            r.o->attend_cached(d, t, y, x + (size_t)i * C * e, C, K, V, ds + i, dl + i, NULL, NULL, 1, T, H, D, 0.125f, NULL,
                               NULL, 0);
            es_device_get(d, one, y, C * e);
            CHECK(!memcmp(one, all + (size_t)i * C * e, C * e), "row %d of the caches differs alone, %s", i,
                  es_dtype_name(t));
        }
    }
    es_device_close(d);
    free(one), free(all);
}

/* A window of the recurrent layer among others and alone, and where a block has the shared memory of a large card: the emulator
 * becomes one; a card stays what it is. */
static void recurrence_is_the_same_alone(void)
{
    enum { B = 11, T = 6, H = 128, IN = 8 * H, OUT = 2 * H, PICKED = 9 };
    float *all = malloc(B * T * OUT * sizeof *all), *other = malloc(B * T * OUT * sizeof *other);

    for (int large = 0; large < 2; large++) {
        es_rig r;
        if (large) setenv("ES_SIMT_SHARED", "227", 1);
        es_device *d = open_cuda(&r, 0);
        if (d) {
            float *x = noise(&r, 8, (size_t)B * T * IN, ES_F32, 1), *y = room(&r, B * T * OUT * sizeof *y);
            es_matrix W = matrix(&r, 9, ES_F32, IN, H);
            float *have = large ? other : all;
            r.o->lstm(d, y, x, W, NULL, B, T, H);
            es_device_get(d, have, y, B * T * OUT * sizeof *y);
            CHECK(!large || !memcmp(all, other, B * T * OUT * sizeof *all), "other bits with more shared memory");
            r.o->lstm(d, y, x + (size_t)PICKED * T * IN, W, NULL, 1, T, H);
            es_device_get(d, other, y, T * OUT * sizeof *y);
            CHECK(!memcmp(all + (size_t)PICKED * T * OUT, other, T * OUT * sizeof *all), "a window differs alone");
        }
        es_device_close(d);
        unsetenv("ES_SIMT_SHARED");
    }
    free(all), free(other);
}

/* Some ops as calls, then captured and launched twice, with other input in between: the bits of the calls. One bias
 * serves products of two widths, which must not share its narrowed copy. */
static void graphs_give_the_bits_of_calls(void)
{
    enum { T = 20, C = 64, WIDE = 448 };
    es_rig r;
    es_device *d = open_cuda(&r, 0);
    char want[2][T * WIDE * 2], have[T * WIDE * 2];

    if (!d) return;
    es_matrix A = matrix(&r, 1, ES_F16, C, C), B = matrix(&r, 2, ES_F16, C, C), U = matrix(&r, 3, ES_F16, WIDE, C);
    void *x[2] = {noise(&r, 4, T * C, ES_F16, 1), noise(&r, 5, T * C, ES_F16, 1)}, *in = room(&r, T * C * 2),
         *h = room(&r, T * C * 2), *n = room(&r, T * C * 2), *y = room(&r, T * WIDE * 2);
    float *b0 = noise(&r, 6, WIDE, ES_F32, 1), *b1 = noise(&r, 7, C, ES_F32, 1), *g = noise(&r, 8, C, ES_F32, 1);
    char *back = malloc(T * C * 2);
    es_graph *graph = NULL;
    for (int pass = 0; pass < 5; pass++) {
        /* 0, 1: calls; 2: capture, which computes nothing; 3, 4: the graph */
        es_device_get(d, back, x[pass % 2 == 1], T * C * 2);
        es_device_put(d, in, back, T * C * 2);
        es_device_fill(d, y, 0xFF, T * WIDE * 2);
        if (pass == 2) es_device_record(d);
        if (pass < 3) {
            r.o->linear(d, h, ES_F16, in, ES_F16, A, b0, NULL, T, ES_ACT_NONE, false);
            r.o->linear(d, n, ES_F16, h, ES_F16, B, b1, NULL, T, ES_ACT_NONE, false);
            r.o->linear(d, h, ES_F16, n, ES_F16, A, b0, NULL, T, ES_ACT_NONE, true);
            r.o->layernorm(d, ES_F16, n, h, NULL, g, b1, NULL, T, C, 1e-5f);
            r.o->linear(d, y, ES_F16, n, ES_F16, U, b0, NULL, T, ES_ACT_NONE, false);
        }
        if (pass == 2) graph = es_device_record_end(d);
        if (pass > 2) es_device_replay(d, graph);
        if (pass < 2) es_device_get(d, want[pass], y, T * WIDE * 2);
        if (pass > 2) {
            es_device_get(d, have, y, T * WIDE * 2);
            CHECK(!memcmp(have, want[pass % 2], T * WIDE * 2), "launch %d of the graph differs from the calls", pass - 2);
        }
    }
    es_fault fault;
    CHECK(es_device_sync(d, &fault) == 0, "%s", fault.text);
    CHECK_INT(es_device_allocations(d), 0);
    free(back);
    es_device_close(d);
}

/* Copies around the size of a pinned piece, more than the ring holds, and the caller's memory used again at once. */
static void copies_arrive(void)
{
    static const size_t sizes[] = {1, 255, 8 << 20, (8 << 20) + 1, 43 << 20};
    es_rig r;
    es_device *d = open_cuda(&r, 0);
    unsigned char *from = malloc(43 << 20), *back = malloc(43 << 20);

    for (int i = 0; d && i < 5; i++) {
        char *p = r.arena + r.start + 256;
        for (size_t j = 0; j < sizes[i]; j++) from[j] = (unsigned char)(j * 7 + j / 251 + (size_t)i);
        es_device_fill(d, p - 1, 0x77, sizes[i] + 2);
        es_device_put(d, p, from, sizes[i]);
        memset(from, 0, sizes[i]);
        es_device_get(d, back, p, sizes[i]);
        size_t bad = 0;
        while (bad < sizes[i] && back[bad] == (unsigned char)(bad * 7 + bad / 251 + (size_t)i)) bad++;
        CHECK(bad == sizes[i], "%zu bytes: byte %zu came back as %d", sizes[i], bad, back[bad]);
        es_device_get(d, back, p - 1, 1);
        es_device_get(d, back + 1, p + sizes[i], 1);
        CHECK(back[0] == 0x77 && back[1] == 0x77, "%zu bytes: a neighbour was written", sizes[i]);
    }
    es_device_close(d);
    free(from), free(back);
}

/* What cannot be had is said in a sentence, and leaves nothing behind. */
static void refusals_are_sentences(void)
{
    es_rig r;
    es_device *d = open_cuda(&r, 0), *other;
    es_fault why = {0};
    char text[32];

    if (!d) return;
    int n = es_device_count(ES_CUDA, NULL);
    snprintf(text, sizeof text, "no CUDA device %d", n);
    CHECK(es_device_open(&other, ES_CUDA, n, 0, NULL, &why) != 0 && !other && strstr(why.text, text), "%s", why.text);
    CHECK(!es_device_take_arena(d, 1 << 20, &why) && strstr(why.text, "already"), "%s", why.text);
    CHECK_INT(es_device_open(&other, ES_CUDA, 0, 0, NULL, &why), 0);
    CHECK(!es_device_take_arena(other, (size_t)1 << 50, &why) && strstr(why.text, "cannot take"), "%s", why.text);
    CHECK_INT(es_device_sync(other, &why), 0);
    es_device_close(other);
    /* A fault is kept with the op's name, and the first one stays. */
    r.o->attend_cached(d, ES_F16, r.arena, r.arena, 0, r.arena, r.arena, NULL, NULL, NULL, NULL, 1, 1, 1, 1000, 1, NULL, NULL,
                       0);
    CHECK(es_device_sync(d, &why) != 0 && strstr(why.text, "attend_cached"), "%s", why.text);
    es_device_close(d);
}

int main(int argc, char **argv)
{
#define RUN(i) case_##i,
    static void (*const runs[])(void) = {CASES(RUN)};
    static const es_test more[] = {
        {"rows_do_not_depend_on_their_number", rows_do_not_depend_on_their_number},
        {"neighbours_do_not_matter", neighbours_do_not_matter},
        {"recurrence_is_the_same_alone", recurrence_is_the_same_alone},
        {"graphs_give_the_bits_of_calls", graphs_give_the_bits_of_calls},
        {"copies_arrive", copies_arrive},
        {"refusals_are_sentences", refusals_are_sentences},
    };
    enum { RUNS = sizeof runs / sizeof runs[0], MORE = sizeof more / sizeof more[0] };
    es_test tests[RUNS + MORE];
    int n = es_kernel_cases();

    if (n > RUNS) {
        fprintf(stderr, "%d cases, but functions for %d\n", n, RUNS);
        return 2;
    }
    for (int i = 0; i < n; i++) tests[i] = (es_test){es_kernel_case_name(i), runs[i]};
    memcpy(tests + n, more, sizeof more);
    return es_test_main(argc, argv, tests, n + MORE);
}
