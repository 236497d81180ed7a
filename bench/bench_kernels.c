/*
 * bench_kernels.c - ops alone, at the shapes of real models: GFLOP/s and GB/s beside what the machine can do.
 *
 * Two baselines are measured first: a library SGEMM of 1500 x 2048 x 2048 (where CMake found OpenBLAS) for what is
 * bound by arithmetic, and the speed of reading 256 MiB for what is bound by memory. Every line is the median of n runs
 * and ends in a hash of the output, so that a change of bits shows beside a change of speed.
 *
 *     bench_kernels [isa [threads [limits]]]
 *
 * With `limits` it ends after the baselines.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/device.h"

#ifdef ES_BENCH_BLAS
#include <cblas.h>
#undef I /* complex.h's */
void openblas_set_num_threads(int n);
#endif

enum { ARENA = 1400 << 20, MOST_RUNS = 25 };

typedef struct bench {
    es_device *d;
    const es_ops *o;
    const es_traits *traits;
    char *base;
    size_t at, start;
    double gflops, gbytes; /* of the machine */
    int threads;
} bench;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *take(bench *b, size_t bytes)
{
    void *p = b->base + b->at;

    b->at += (bytes + 255) & ~(size_t)255;
    if (b->at > ARENA) {
        fprintf(stderr, "the arena of %d MiB is too small\n", ARENA >> 20);
        exit(1);
    }
    return p;
}

static float *noise(bench *b, size_t n, float scale)
{
    float *x = take(b, n * sizeof *x);
    uint32_t s = 12345;

    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = scale * ((float)(s >> 8) * 0x1p-24f - 0.5f);
    }
    return x;
}

static es_matrix weights(bench *b, es_dtype t, int O, int I)
{
    es_matrix W = {.dtype = t, .O = O, .I = I};
    size_t n = (size_t)O * (size_t)I;
    float *host = malloc(n * sizeof *host);
    void *p = take(b, b->traits->matrix_bytes(t, O, I));
    uint32_t s = 99;

    if (!host) exit(1);
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        host[i] = 0.1f * ((float)(s >> 8) * 0x1p-24f - 0.5f);
    }
    b->o->matrix_load(b->d, p, W, host, ES_F32);
    free(host);
    W.p = p;
    return W;
}

static uint32_t hash(const void *p, size_t bytes)
{
    const unsigned char *c = p;
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < bytes; i++) h = (h ^ c[i]) * 16777619u;
    return h;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Median seconds of body, repeated for about 0.4 s. */
#define MEDIAN(result, ...)                                                                                            \
    do {                                                                                                               \
        double t_[MOST_RUNS], all_ = 0;                                                                                \
        int n_ = 0;                                                                                                    \
        __VA_ARGS__;                                                                                                   \
        while (n_ < MOST_RUNS && (n_ < 5 || all_ < 0.4)) {                                                             \
            double from_ = now();                                                                                      \
            __VA_ARGS__;                                                                                               \
            all_ += t_[n_] = now() - from_;                                                                            \
            n_++;                                                                                                      \
        }                                                                                                              \
        qsort(t_, (size_t)n_, sizeof *t_, by_time);                                                                    \
        result = t_[n_ / 2];                                                                                           \
    } while (0)

static void report(const bench *b, const char *name, double s, double flops, double bytes, const void *y, size_t n)
{
    printf("%-44s %9.3f ms", name, 1e3 * s);
    if (flops > 0) printf("  %7.1f GFLOP/s %4.0f %%", 1e-9 * flops / s, 1e-7 * flops / s / b->gflops);
    if (bytes > 0) printf("  %7.1f GB/s %4.0f %%", 1e-9 * bytes / s, 1e-7 * bytes / s / b->gbytes);
    printf("  %08x\n", hash(y, n));
    fflush(stdout);
}

static void baselines(bench *b)
{
    size_t n = (size_t)64 << 20;
    double s;

    b->at = b->start;
    float *x = noise(b, n, 1), *copy = take(b, n * sizeof *copy), total = 0;
    /* The cast from f32 to f32 is memmove() on all threads. */
    MEDIAN(s, b->o->cast(b->d, copy, ES_F32, x, ES_F32, n));
    b->gbytes = 8e-9 * (double)n / s;
    printf("copying %zu MiB: %.1f GB/s, read and written\n", n >> 18, b->gbytes);
#ifdef ES_BENCH_BLAS
    int T = 1500, I = 2048, O = 2048;
    b->at = b->start;
    float *p = noise(b, (size_t)T * (size_t)I, 1), *q = noise(b, (size_t)O * (size_t)I, 1),
          *r = take(b, (size_t)T * (size_t)O * sizeof *r);
    openblas_set_num_threads(b->threads);
    MEDIAN(s, cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, T, O, I, 1, p, I, q, I, 0, r, O));
    b->gflops = 2e-9 * T * (double)O * I / s;
    printf("OpenBLAS sgemm %d x %d x %d: %.1f GFLOP/s\n", T, O, I, b->gflops);
    total = r[0];
#else
    b->gflops = NAN;
#endif
    (void)total;
}

static void linears(bench *b, es_dtype t, int rows, int O, int I, es_act act)
{
    char name[96];
    double s, flops = 2.0 * rows * O * I, bytes = (double)O * I * (double)es_dtype_bytes(t);

    b->at = b->start;
    es_matrix W = weights(b, t, O, I);
    float *x = noise(b, (size_t)rows * (size_t)I, 1), *bias = noise(b, (size_t)O, 1),
          *y = take(b, (size_t)rows * (size_t)O * sizeof *y);
    /* Few-row products are timed over weights that no cache holds: as many copies as make 256 MiB. */
    int copies = rows <= 8 ? (int)(268435456.0 / bytes) : 1;
    if (copies < 1) copies = 1;
    size_t each = b->traits->matrix_bytes(t, O, I);
    char *more = take(b, each * (size_t)copies);
    for (int i = 0; i < copies; i++) memcpy(more + each * (size_t)i, W.p, each);
    MEDIAN(
        s, for (int i = 0; i < copies; i++) {
            W.p = more + each * (size_t)i;
            b->o->linear(b->d, y, ES_F32, x, ES_F32, W, bias, NULL, rows, act, false);
        });
    snprintf(name, sizeof name, "linear %s %d x %d x %d%s", es_dtype_name(t), rows, O, I,
             act == ES_ACT_GELU ? " gelu" : "");
    report(b, name, s / copies, rows > 8 ? flops : 0, rows <= 8 ? bytes : 0, y, (size_t)rows * (size_t)O * sizeof *y);
}

static void attends(bench *b, int T, int H, int D, es_mask mask)
{
    char name[96];
    double s;
    int C = H * D;

    b->at = b->start;
    float *qkv = noise(b, (size_t)T * (size_t)C * 3, 4), *y = take(b, (size_t)T * (size_t)C * sizeof *y);
    int32_t *bounds = take(b, 64);
    bounds[0] = 0, bounds[1] = T;
    MEDIAN(s, b->o->attend(b->d, ES_F32, y, qkv, 3 * C, qkv + C, 3 * C, qkv + 2 * C, 3 * C, bounds, 1, T, T, H, H, D,
                           0.125f, mask));
    snprintf(name, sizeof name, "attend T %d H %d D %d%s", T, H, D, mask ? " causal" : "");
    report(b, name, s, (mask ? 2.0 : 4.0) * T * (double)T * C, 0, y, (size_t)T * (size_t)C * sizeof *y);
}

static void cached(bench *b, int R, int T, int H, int D)
{
    char name[96];
    double s;
    size_t each = (size_t)H * (size_t)T * (size_t)D, copies = ((size_t)32 << 20) / (each * (size_t)R) + 1;

    b->at = b->start;
    float *K = noise(b, each * (size_t)R * copies, 1), *V = noise(b, each * (size_t)R * copies, 1),
          *q = noise(b, (size_t)(R * H * D), 1), *y = take(b, (size_t)(R * H * D) * sizeof *y);
    int32_t *slot = take(b, 4 * (size_t)R);
    MEDIAN(
        s, for (size_t i = 0; i < copies; i++) {
            for (int r = 0; r < R; r++) slot[r] = r + (int)i * R;
            b->o->attend_cached(b->d, ES_F32, y, q, H * D, K, V, slot, NULL, NULL, NULL, R, T, H, D, 0.125f, NULL, NULL,
                                0);
        });
    snprintf(name, sizeof name, "attend_cached R %d T %d H %d D %d", R, T, H, D);
    report(b, name, s / (double)copies, 0, 8.0 * (double)each * R, y, (size_t)(R * H * D) * sizeof *y);
}

static void convs(bench *b, int Ti, int C, int O, int stride)
{
    char name[96];
    double s;
    int K = 3, To = (Ti + 2 - 3) / stride + 1;

    b->at = b->start;
    es_matrix W = weights(b, ES_F16, O, K * C);
    float *x = noise(b, (size_t)Ti * (size_t)C, 1), *y = take(b, (size_t)To * (size_t)O * sizeof *y),
          *bias = noise(b, (size_t)O, 1);
    MEDIAN(s, b->o->conv1d(b->d, ES_F32, y, x, W, bias, NULL, NULL, 1, Ti, C, K, stride, 1, 1, ES_ACT_GELU, NULL));
    snprintf(name, sizeof name, "conv1d %d x %d -> %d stride %d gelu", Ti, C, O, stride);
    report(b, name, s, 2.0 * To * (double)O * K * C, 0, y, (size_t)To * (size_t)O * sizeof *y);
}

static void rows(bench *b)
{
    int T = 1500, C = 512, M = 80, V = 51865;
    double s;

    b->at = b->start;
    float *x = noise(b, (size_t)T * (size_t)C, 1), *g = noise(b, (size_t)C, 1), *y = take(b, (size_t)T * (size_t)C * 4);
    MEDIAN(s, b->o->layernorm(b->d, ES_F32, y, x, NULL, g, g, NULL, T, C, 1e-5f));
    report(b, "layernorm 1500 x 512", s, 0, 8.0 * T * C, y, (size_t)T * (size_t)C * 4);

    b->at = b->start;
    float *pcm = noise(b, 480400, 1), *top = take(b, 4), *fill = take(b, 4), *mel = take(b, 3000 * (size_t)M * 4);
    int32_t *frames = take(b, 4);
    void *tables = take(b, b->traits->mel_tables_bytes(M)), *scratch = take(b, b->traits->logmel_scratch(1, M));
    b->traits->mel_tables_fill(tables, M);
    *top = NAN, *fill = 0, *frames = 3000;
    MEDIAN(s, b->o->logmel(b->d, ES_F32, mel, pcm, frames, top, fill, tables, NULL, 1, M, scratch));
    report(b, "logmel 80", s, 0, 0, mel, 3000 * (size_t)M * 4);

    b->at = b->start;
    float *logits = noise(b, (size_t)V, 20);
    es_pick_slot *slots = take(b, sizeof *slots);
    es_pick_vocab vocab = {.V = V,
                           .eot = 50257,
                           .sot = 50258,
                           .lang_begin = 50259,
                           .n_lang = 99,
                           .no_speech = 50362,
                           .no_timestamps = 50363,
                           .timestamp_begin = 50364,
                           .blank = 220,
                           .max_pos = 448};
    uint32_t *suppress = take(b, (size_t)(V + 31) / 32 * 4);
    int32_t *tokens = take(b, 448 * 4), *next = take(b, 64);
    memset(suppress, 0, (size_t)(V + 31) / 32 * 4);
    for (int i = 0; i < 2; i++) {
        MEDIAN(s, {
            *slots = (es_pick_slot){.mode = ES_PICK_TEXT,
                                    .n = 5,
                                    .n_max = 224,
                                    .last = 7,
                                    .last2 = 8,
                                    .timestamps = !i, /* sampling then goes through all of the text */
                                    .last_time = 50364,
                                    .temperature = (float)i,
                                    .pos = 9};
            b->o->pick(b->d, slots, logits, NULL, suppress, vocab, tokens, next, next + 1, next + 2, next + 3, 1);
        });
        report(b, i ? "pick, sampled" : "pick, arg-max", s, 0, 4.0 * V, slots, sizeof *slots);
    }
    b->at = b->start;
    float *small = noise(b, 64, 1), *out = take(b, 64 * 4);
    MEDIAN(s, for (int i = 0; i < 1000; i++)
                  b->o->layernorm(b->d, ES_F32, out, small, NULL, small, small, NULL, 1, 64, 1e-5f));
    report(b, "layernorm 1 x 64: the cost of a call", s / 1000, 0, 0, out, 64 * 4);
}

int main(int argc, char **argv)
{
    bench b = {.traits = es_backend_traits(ES_CPU)};
    es_device_facts facts;
    es_fault why;

    if (es_device_open(&b.d, ES_CPU, 0, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0,
                       argc > 1 && strcmp(argv[1], "-") ? argv[1] : NULL, &why)) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    es_device_describe(b.d, &facts);
    b.threads = facts.threads;
    printf("%s, %d threads\n", facts.name, facts.threads);
    b.o = es_device_ops(b.d);
    b.base = es_device_take_arena(b.d, ARENA, &why);
    if (!b.base) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    b.start = b.traits->workspace_bytes(b.threads);
    baselines(&b);
    if (argc > 3 && !strcmp(argv[3], "limits")) {
        es_device_close(b.d);
        return 0;
    }
    static const int widths[] = {384, 512, 768, 1280};
    for (int i = 0; i < 4; i++) {
        int C = widths[i];
        linears(&b, ES_F16, 1500, 3 * C, C, ES_ACT_NONE);
        linears(&b, ES_F16, 1500, C, C, ES_ACT_NONE);
        linears(&b, ES_F16, 1500, 4 * C, C, ES_ACT_GELU);
        linears(&b, ES_F16, 1500, C, 4 * C, ES_ACT_NONE);
    }
    linears(&b, ES_F32, 1500, 2048, 512, ES_ACT_NONE);
    linears(&b, ES_F16, 64, 2048, 512, ES_ACT_NONE);
    static const int live[] = {1, 2, 4, 8, 12};
    for (int i = 0; i < 5; i++) {
        linears(&b, ES_F16, live[i], 512, 512, ES_ACT_NONE);
        linears(&b, ES_F16, live[i], 2048, 512, ES_ACT_GELU);
        linears(&b, ES_F16, live[i], 51865, 512, ES_ACT_NONE);
    }
    attends(&b, 1500, 6, 64, ES_MASK_NONE);
    attends(&b, 1500, 20, 64, ES_MASK_NONE);
    attends(&b, 1024, 12, 128, ES_MASK_CAUSAL);
    cached(&b, 1, 1500, 8, 64);
    cached(&b, 1, 200, 8, 64);
    cached(&b, 4, 1500, 20, 64);
    convs(&b, 3000, 80, 512, 1);
    convs(&b, 3000, 512, 512, 2);
    rows(&b);
    es_device_close(b.d);
    return 0;
}
