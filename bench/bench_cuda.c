/*
 * bench_cuda.c - each op on a card, at the shapes of distil-large-v3, large-v3 and gte-Qwen2-1.5B.
 *
 *     bench_cuda [--small] [NAME ...]     --small: sizes that an emulator can afford; NAME: a part of the line's name
 *     bench_cuda --open                   what a process holds beside its arena: seconds to open, bytes free then, with an arena
 *                                         of 1 GiB, and after products, attention and norms have run
 *
 * One line of JSON for each: the op and its shape, the median of n launches of a captured graph in microseconds for one
 * call, GB/s of the bytes it has to move or TFLOP/s of the arithmetic it has to do, the fraction of what this card reached
 * in this run (the largest product of halves for arithmetic, the largest copy for bytes), and a hash of the output, which
 * must be the same in every run. A graph holds as many calls, on copies of their own, as make 256 MB, so that no cache
 * helps what is bound by memory; what is larger than that is called once.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/device.h"

enum { MOST_COPIES = 64, MOST_RUNS = 41 };

typedef struct bench {
    es_device *d;
    const es_ops *o;
    const es_traits *traits;
    char *base;
    size_t at, start, bytes, cold; /* cold: bytes that no cache holds */
    int scale, runs;               /* rows are divided by scale */
    double gbytes, tflops;         /* measured first */
    const char *const *names;
    int n_names, failed;
} bench;

/* What one line measures: call(b, o, copy) asks for the op on a copy of its tensors. */
typedef struct job {
    char name[96];
    void (*call)(const bench *b, const struct job *j, int copy);
    es_dtype t, y_type;
    int T, I, O, S, H, Hkv, D, K, stride;
    es_act act;
    bool add, bias, causal, residual;
    double flops, traffic;
    size_t y_bytes, each; /* bytes of a copy */
    char *x, *y, *w, *more, *ids;
    size_t x_each, y_each, w_each;
} job;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char *room(bench *b, size_t bytes)
{
    char *p = b->base + b->at;

    b->at += (bytes + 255) & ~(size_t)255;
    if (b->at > b->bytes) {
        fprintf(stderr, "the arena of %zu bytes is too small\n", b->bytes);
        exit(1);
    }
    return p;
}

/* n numbers of about the size given, in type t; a piece of noise again and again. */
static char *noise(bench *b, size_t n, es_dtype t, float size)
{
    enum { PIECE = 1 << 16 };
    static float piece[PIECE];
    char *p = room(b, n * es_dtype_bytes(t)), *wide;
    uint32_t s = 12345;
    size_t mark = b->at;

    for (int i = 0; i < PIECE; i++) {
        s = s * 1664525u + 1013904223u;
        piece[i] = size * ((float)(s >> 8) * 0x1p-24f - 0.5f) * 3.4f;
    }
    wide = room(b, sizeof piece);
    es_device_put(b->d, wide, piece, sizeof piece);
    for (size_t at = 0; at < n; at += PIECE)
        b->o->cast(b->d, p + at * es_dtype_bytes(t), t, wide, ES_F32, n - at < PIECE ? n - at : PIECE);
    b->at = mark;
    return p;
}

static uint64_t hash_of(bench *b, const char *p, size_t bytes)
{
    static unsigned char piece[1 << 20];
    uint64_t h = 1469598103934665603u;

    for (size_t at = 0; at < bytes; at += sizeof piece) {
        size_t n = bytes - at < sizeof piece ? bytes - at : sizeof piece;
        es_device_get(b->d, piece, p + at, n);
        for (size_t i = 0; i < n; i++) h = (h ^ piece[i]) * 1099511628211u;
    }
    return h;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static bool wanted(const bench *b, const char *name)
{
    for (int i = 0; i < b->n_names; i++)
        if (strstr(name, b->names[i])) return true;
    return b->n_names == 0;
}

/* Seconds of one call: the median launch of a graph of `copies` calls. */
static double median(bench *b, const job *j, int copies)
{
    double t[MOST_RUNS];
    es_graph *g;

    for (int c = 0; c < copies; c++) j->call(b, j, c); /* what is made once is made here */
    es_device_record(b->d);
    for (int c = 0; c < copies; c++) j->call(b, j, c);
    g = es_device_record_end(b->d);
    es_device_replay(b->d, g);
    es_device_sync(b->d, NULL);
    for (int i = 0; i < b->runs; i++) {
        double from = now();
        es_device_replay(b->d, g);
        es_device_sync(b->d, NULL);
        t[i] = (now() - from) / copies;
    }
    qsort(t, (size_t)b->runs, sizeof *t, by_time);
    return t[b->runs / 2];
}

static void measure(bench *b, job *j, int copies)
{
    es_fault fault = {0};
    double s = median(b, j, copies);

    if (es_device_sync(b->d, &fault)) {
        printf("{\"op\": \"%s\", \"fault\": \"%s\"}\n", j->name, fault.text);
        b->failed++;
        return;
    }
    /* Residual products add to y in every run: its bits are those of a first call. */
    if (j->add) es_device_fill(b->d, j->y, 0, j->y_bytes);
    j->call(b, j, 0);
    uint64_t h = hash_of(b, j->y, j->y_bytes);
    printf("{\"op\": \"%s\", \"us\": %.2f, \"runs\": %d, \"copies\": %d", j->name, 1e6 * s, b->runs, copies);
    if (j->flops > 0) printf(", \"tflops\": %.3f, \"of_product\": %.4f", 1e-12 * j->flops / s, 1e-12 * j->flops / s / b->tflops);
    if (j->traffic > 0) printf(", \"gbytes\": %.2f, \"of_copy\": %.4f", 1e-9 * j->traffic / s, 1e-9 * j->traffic / s / b->gbytes);
    printf(", \"hash\": \"%016llx\"}\n", (unsigned long long)h);
    fflush(stdout);
}

/* How many copies of `each` bytes no cache holds together. */
static int copies_of(const bench *b, size_t each)
{
    size_t n = b->cold / each + 1;

    return n > MOST_COPIES ? MOST_COPIES : (int)n;
}

/* ---- products ---- */

static void call_linear(const bench *b, const job *j, int copy)
{
    es_matrix W = {.p = j->w + (size_t)copy * j->w_each, .dtype = j->t, .O = j->O, .I = j->I};

    b->o->linear(b->d, j->y + (size_t)copy * j->y_each, j->y_type, j->x, j->t, W, (const float *)(const void *)j->more, NULL,
                 j->T, j->act, j->add);
}

/* Few rows: bound by the weights' bytes. */
static void linear(bench *b, const char *what, es_dtype t, es_dtype yt, int T, int O, int I, es_act act, bool add)
{
    job j = {.call = call_linear, .t = t, .y_type = yt, .T = T, .O = O, .I = I, .act = act, .add = add};
    size_t e = es_dtype_bytes(t), ny = (size_t)T * (size_t)O * es_dtype_bytes(yt), nw = (size_t)O * (size_t)I;
    int copies;

    snprintf(j.name, sizeof j.name, "linear %s %s %d x %d x %d%s%s", what, es_dtype_name(t), T, O, I,
             act == ES_ACT_GELU ? " gelu" : "", add ? " add" : "");
    if (!wanted(b, j.name)) return;
    b->at = b->start;
    copies = T > 512 ? 1 : copies_of(b, nw * e);
    j.x = noise(b, (size_t)T * (size_t)I, t, 1);
    j.w = noise(b, nw * (size_t)copies, t, 1 / sqrtf((float)I));
    j.w_each = nw * e;
    j.more = noise(b, (size_t)O, ES_F32, 1);
    j.y_each = (ny + 255) & ~(size_t)255;
    j.y = room(b, j.y_each * (size_t)copies);
    es_device_fill(b->d, j.y, 0, j.y_each * (size_t)copies);
    j.y_bytes = ny;
    if (T > 512) j.flops = 2.0 * T * O * (double)I;
    else j.traffic = (double)(nw * e);
    measure(b, &j, copies);
}

static void call_conv(const bench *b, const job *j, int copy)
{
    es_matrix W = {.p = j->w, .dtype = j->t, .O = j->O, .I = j->K * j->I};

    (void)copy;
    b->o->conv1d(b->d, j->t, j->y, j->x, W, (const float *)(const void *)j->more, NULL, NULL, j->S, j->T, j->I, j->K, j->stride,
                 1, 1, ES_ACT_GELU, j->ids);
}

static void conv(bench *b, int S, int Ti, int C, int O, int stride)
{
    int To = (Ti + 2 - 3) / stride + 1;
    job j = {.call = call_conv, .t = ES_F16, .S = S, .T = Ti, .I = C, .O = O, .K = 3, .stride = stride};

    snprintf(j.name, sizeof j.name, "conv1d F16 %d x %d x %d to %d, stride %d", S, Ti, C, O, stride);
    if (!wanted(b, j.name)) return;
    b->at = b->start;
    j.x = noise(b, (size_t)S * (size_t)Ti * (size_t)C, ES_F16, 1);
    j.w = noise(b, (size_t)O * 3 * (size_t)C, ES_F16, 0.03f);
    j.more = noise(b, (size_t)O, ES_F32, 1);
    j.ids = room(b, b->traits->conv1d_scratch(ES_F16, S, To, C, 3));
    j.y_bytes = (size_t)S * (size_t)To * (size_t)O * 2;
    j.y = room(b, j.y_bytes);
    j.flops = 2.0 * S * To * (double)O * 3 * C;
    measure(b, &j, 1);
}

/* ---- attention ---- */

static void call_attend(const bench *b, const job *j, int copy)
{
    size_t e = es_dtype_bytes(j->t);
    int row = (j->H + 2 * j->Hkv) * j->D;

    (void)copy;
    b->o->attend(b->d, j->t, j->y, j->x, row, j->x + (size_t)(j->H * j->D) * e, row, j->x + (size_t)((j->H + j->Hkv) * j->D) * e,
                 row, (const int32_t *)(const void *)j->ids, j->S, j->S * j->T, j->T, j->H, j->Hkv, j->D,
                 1 / sqrtf((float)j->D), j->causal ? ES_MASK_CAUSAL : ES_MASK_NONE);
}

static void attend(bench *b, es_dtype t, int S, int T, int H, int Hkv, int D, bool causal)
{
    job j = {.call = call_attend, .t = t, .S = S, .T = T, .H = H, .Hkv = Hkv, .D = D, .causal = causal};
    int32_t bounds[65];

    snprintf(j.name, sizeof j.name, "attend %s %d x %d, %d/%d heads of %d%s", es_dtype_name(t), S, T, H, Hkv, D,
             causal ? " causal" : "");
    if (!wanted(b, j.name)) return;
    b->at = b->start;
    for (int i = 0; i <= S; i++) bounds[i] = i * T;
    j.x = noise(b, (size_t)S * (size_t)T * (size_t)((H + 2 * Hkv) * D), t, 1.5f);
    j.ids = room(b, sizeof bounds);
    es_device_put(b->d, j.ids, bounds, sizeof bounds);
    j.y_bytes = (size_t)S * (size_t)T * (size_t)(H * D) * es_dtype_bytes(t);
    j.y = room(b, j.y_bytes);
    j.flops = (causal ? 2.0 : 4.0) * S * T * (double)T * H * D;
    measure(b, &j, 1);
}

static void call_cached(const bench *b, const job *j, int copy)
{
    b->o->attend_cached(b->d, j->t, j->y, j->x, j->H * j->D, j->w + (size_t)copy * j->w_each, j->more + (size_t)copy * j->w_each,
                        (const int32_t *)(const void *)j->ids, (const int32_t *)(const void *)(j->ids + 4096), NULL, NULL, j->S,
                        j->T, j->H, j->D, 1 / sqrtf((float)j->D), NULL, NULL, 0);
}

static void cached(bench *b, const char *what, int R, int T, int len, int H, int D)
{
    job j = {.call = call_cached, .t = ES_F16, .S = R, .T = T, .H = H, .D = D};
    int32_t ids[2048] = {0};
    size_t n = (size_t)R * (size_t)H * (size_t)T * (size_t)D;
    int copies;

    snprintf(j.name, sizeof j.name, "attend_cached %s F16 %d rows, %d of %d keys, %d heads of %d", what, R, len, T, H, D);
    if (!wanted(b, j.name)) return;
    b->at = b->start;
    copies = copies_of(b, 4 * n);
    for (int i = 0; i < R; i++) ids[i] = i, ids[1024 + i] = len;
    j.x = noise(b, (size_t)(R * H * D), ES_F16, 1);
    j.w_each = 2 * n;
    j.w = noise(b, n * (size_t)copies, ES_F16, 1);
    j.more = noise(b, n * (size_t)copies, ES_F16, 1);
    j.ids = room(b, sizeof ids);
    es_device_put(b->d, j.ids, ids, sizeof ids);
    j.y_bytes = (size_t)(R * H * D) * 2;
    j.y = room(b, j.y_bytes);
    j.traffic = 4.0 * R * H * (double)len * D;
    measure(b, &j, copies);
}

/* ---- rows ---- */

static void call_norm(const bench *b, const job *j, int copy)
{
    char *x = j->x + (size_t)copy * j->x_each, *y = j->y + (size_t)copy * j->y_each;
    const float *g = (const float *)(const void *)j->more;
    const void *r = j->residual ? j->w + (size_t)copy * j->x_each : NULL;

    if (j->causal) b->o->rmsnorm(b->d, j->t, y, x, r, g, NULL, j->T, j->I, 1e-6f);
    else b->o->layernorm(b->d, j->t, y, x, r, g, g, NULL, j->T, j->I, 1e-5f);
}

static void call_cast(const bench *b, const job *j, int copy)
{
    b->o->cast(b->d, j->y + (size_t)copy * j->y_each, j->y_type, j->x + (size_t)copy * j->x_each, j->t,
               (size_t)j->T * (size_t)j->I);
}

static void call_swiglu(const bench *b, const job *j, int copy)
{
    b->o->swiglu(b->d, j->t, j->y + (size_t)copy * j->y_each, j->x + (size_t)copy * j->x_each, NULL, j->T, j->I);
}

static void call_rope(const bench *b, const job *j, int copy)
{
    b->o->rope(b->d, j->t, j->y + (size_t)copy * j->y_each, j->H * j->D, (const float *)(const void *)j->more,
               (const int32_t *)(const void *)j->ids, NULL, j->T, j->H, j->D);
}

/* reads, writes: elements of a row that are read and written, in units of the row of x. */
static void rows(bench *b, const char *name, job j, size_t x_row, size_t y_row, bool add)
{
    size_t x_bytes = (size_t)j.T * x_row * es_dtype_bytes(j.t), y_bytes = (size_t)j.T * y_row * es_dtype_bytes(j.y_type);
    int copies = copies_of(b, x_bytes + y_bytes);
    int32_t *ids = calloc((size_t)j.T, sizeof *ids);

    snprintf(j.name, sizeof j.name, "%s %s to %s %d x %zu", name, es_dtype_name(j.t), es_dtype_name(j.y_type), j.T, x_row);
    if (!ids || !wanted(b, j.name)) {
        free(ids);
        return;
    }
    b->at = b->start;
    j.x_each = (x_bytes + 255) & ~(size_t)255, j.y_each = (y_bytes + 255) & ~(size_t)255;
    j.x = noise(b, j.x_each / es_dtype_bytes(j.t) * (size_t)copies, j.t, 1);
    j.y = noise(b, j.y_each / es_dtype_bytes(j.y_type) * (size_t)copies, j.y_type, 1);
    if (j.residual) j.w = noise(b, j.x_each / es_dtype_bytes(j.t) * (size_t)copies, j.t, 0.01f);
    j.more = noise(b, x_row > 65536 ? x_row : 65536, ES_F32, 1);
    j.ids = room(b, (size_t)j.T * sizeof *ids);
    for (int i = 0; i < j.T; i++) ids[i] = i % 512;
    es_device_put(b->d, j.ids, ids, (size_t)j.T * sizeof *ids);
    free(ids);
    j.y_bytes = y_bytes;
    j.traffic = (double)(j.call == call_rope ? 2 * y_bytes : x_bytes * (j.residual ? 3 : 1) + y_bytes);
    if (add) b->gbytes = 1, b->gbytes = 1e-9 * j.traffic / median(b, &j, copies);
    measure(b, &j, copies);
}

/* ---- sound and tokens ---- */

static void call_mel(const bench *b, const job *j, int copy)
{
    (void)copy;
    b->o->logmel(b->d, ES_F16, j->y, (const float *)(const void *)j->x, (const int32_t *)(const void *)j->ids,
                 (const float *)(const void *)(j->ids + 256), (const float *)(const void *)(j->ids + 512), j->w, NULL, j->S, j->I,
                 j->more);
}

static void mel(bench *b, int S, int M)
{
    job j = {.call = call_mel, .S = S, .I = M};
    int32_t frames[64];
    float top[64], fill[64];
    void *tables = calloc(1, b->traits->mel_tables_bytes(M));

    snprintf(j.name, sizeof j.name, "logmel %d windows, %d bins", S, M);
    if (tables && wanted(b, j.name)) {
        b->at = b->start;
        for (int i = 0; i < S; i++) frames[i] = 3000, top[i] = NAN, fill[i] = 0;
        j.x = noise(b, (size_t)S * (ES_MEL_SAMPLES + 2 * ES_MEL_PAD), ES_F32, 0.1f);
        j.ids = room(b, 1024);
        es_device_put(b->d, j.ids, frames, (size_t)S * 4);
        es_device_put(b->d, j.ids + 256, top, (size_t)S * 4);
        es_device_put(b->d, j.ids + 512, fill, (size_t)S * 4);
        b->traits->mel_tables_fill(tables, M);
        j.w = room(b, b->traits->mel_tables_bytes(M));
        es_device_put(b->d, j.w, tables, b->traits->mel_tables_bytes(M));
        j.more = room(b, b->traits->logmel_scratch(S, M));
        j.y_bytes = (size_t)S * ES_MEL_FRAMES * (size_t)M * 2;
        j.y = room(b, j.y_bytes);
        measure(b, &j, 1);
    }
    free(tables);
}

static void call_pick(const bench *b, const job *j, int copy)
{
    const es_pick_vocab v = {.V = j->O, .eot = 50257, .sot = 50258, .lang_begin = 50259, .n_lang = 100, .no_speech = 50363,
                             .no_timestamps = 50364, .timestamp_begin = 50365, .blank = 220, .max_pos = 448};
    int32_t *next = (int32_t *)(void *)(j->ids + (1 << 16));

    (void)copy;
    b->o->pick(b->d, (es_pick_slot *)(void *)j->ids, (const float *)(const void *)j->x, NULL, (const uint32_t *)(const void *)j->w,
               v, (int32_t *)(void *)j->y, next, next + 256, next + 512, next + 768, j->S);
}

static void pick(bench *b, int S, float temperature)
{
    job j = {.call = call_pick, .S = S, .O = 51866};
    es_pick_slot slots[64];

    snprintf(j.name, sizeof j.name, "pick %d slots, %s", S, temperature > 0 ? "drawn" : "arg-max");
    if (!wanted(b, j.name)) return;
    b->at = b->start;
    for (int i = 0; i < S; i++)
        slots[i] = (es_pick_slot){.mode = ES_PICK_TEXT, .n = 5, .n_max = 1 << 30, .last = 7, .last2 = 8, .timestamps = 1,
                                  .last_time = 50400, .temperature = temperature, .pos = 9, .key = {1, (uint32_t)i, 3, 4}};
    j.x = noise(b, (size_t)S * 51866, ES_F32, 5);
    j.w = room(b, 8192);
    es_device_fill(b->d, j.w, 0, 8192);
    j.ids = room(b, (1 << 16) + 4096);
    es_device_put(b->d, j.ids, slots, (size_t)S * sizeof *slots);
    j.y_bytes = (size_t)S * 448 * 4;
    j.y = room(b, j.y_bytes);
    es_device_fill(b->d, j.y, 0, j.y_bytes);
    j.traffic = 4.0 * S * 51866;
    measure(b, &j, 1);
}

/* One line; the bytes that this process holds are what is free less, against what another program saw before. */
static int report_open(bench *b, double began)
{
    static char line[3][64];
    es_device_facts facts;
    es_fault why = {0};
    double opened = now() - began;
    FILE *quiet = freopen("/dev/null", "w", stdout);
    (void)quiet;

    for (int i = 0; i < 3; i++) {
        es_device_describe(b->d, &facts);
        snprintf(line[i], sizeof line[i], "%llu", (unsigned long long)facts.bytes_free);
        if (i == 0) {
            b->bytes = (size_t)1 << 30;
            b->base = es_device_take_arena(b->d, b->bytes, &why);
            if (!b->base) {
                fprintf(stderr, "%s\n", why.text);
                return 1;
            }
        } else if (i == 1) {
            linear(b, "half", ES_F16, ES_F16, 64, 1280, 1280, ES_ACT_GELU, false);
            linear(b, "half", ES_F16, ES_F16, 1500, 1280, 1280, ES_ACT_NONE, true);
            attend(b, ES_F16, 1, 100, 2, 2, 64, false);
            rows(b, "layernorm", (job){.call = call_norm, .t = ES_F16, .y_type = ES_F16, .T = 64, .I = 1280}, 1280, 1280, false);
        }
    }
    fprintf(stderr, "{\"seconds\": %.3f, \"bytes\": %llu, \"free_open\": %s, \"free_arena\": %s, \"free_used\": %s, \"arena\": %zu, "
            "\"assumed\": %llu, \"allocations\": %llu}\n", opened, (unsigned long long)facts.bytes, line[0], line[1], line[2], b->bytes,
            (unsigned long long)b->traits->outside_bytes, (unsigned long long)es_device_allocations(b->d));
    es_device_close(b->d);
    return b->failed > 0;
}

int main(int argc, char **argv)
{
    double began = now();
    bool open = argc > 1 && !strcmp(argv[1], "--open");
    bench b = {.traits = es_backend_traits(ES_CUDA), .bytes = (size_t)6 << 30, .cold = (size_t)256 << 20, .scale = 1,
               .runs = 21, .gbytes = 1, .tflops = 1};
    es_device_facts facts;
    es_fault why = {0};

    if (argc > 1 && !strcmp(argv[1], "--small")) {
        b.scale = 500, b.bytes = (size_t)1 << 30, b.cold = 1, b.runs = 1;
        argc--, argv++;
    }
    b.names = (const char *const *)(argv + 1), b.n_names = open ? 0 : argc - 1;
    if (es_device_open(&b.d, ES_CUDA, 0, 0, NULL, &why)) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    b.start = (b.traits->workspace_bytes(0) + 255) & ~(size_t)255;
    b.o = es_device_ops(b.d);
    if (open) {
        b.runs = 1, b.cold = 1;
        return report_open(&b, began);
    }
    es_device_describe(b.d, &facts);
    b.base = es_device_take_arena(b.d, b.bytes, &why);
    if (!b.base) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    es_device_describe(b.d, &facts);
    printf("{\"device\": \"%s\", \"sm\": %d, \"driver\": \"%s\", \"bytes\": %llu, \"bytes_free\": %llu}\n", facts.name, facts.sm,
           facts.driver, (unsigned long long)facts.bytes, (unsigned long long)facts.bytes_free);
    int s = b.scale, W = s > 1 ? 1 : 8, w = s > 1 ? 100 : 1, R = s > 1 ? 3 : 64, T = s > 1 ? 24 : 12000, small = s > 1 ? 16 : 1;

    /* What this card can do: copying, and the largest product. */
    const char *const *names = b.names;
    int n_names = b.n_names;
    b.n_names = 0;
    rows(&b, "copy", (job){.call = call_cast, .t = ES_F32, .y_type = ES_F32, .T = 65536 / s, .I = 2048}, 2048, 2048, true);
    if (s == 1) {
        job j = {.call = call_linear, .t = ES_F16, .y_type = ES_F16, .T = 8192, .O = 8192, .I = 8192};
        j.x = noise(&b, 67108864, ES_F16, 1), j.w = noise(&b, 67108864, ES_F16, 0.01f), j.y = room(&b, 134217728);
        b.tflops = 1e-12 * 2 * 8192.0 * 8192 * 8192 / median(&b, &j, 1);
    }
    linear(&b, "peak", ES_F16, ES_F16, s > 1 ? 513 : 8192, 8192 / small, 8192 / small, ES_ACT_NONE, false);
    b.names = names, b.n_names = n_names;

    linear(&b, "encoder qkv", ES_F16, ES_F16, T, 3840 / small, 1280 / small, ES_ACT_NONE, false);
    linear(&b, "encoder out", ES_F16, ES_F16, T, 1280 / small, 1280 / small, ES_ACT_NONE, true);
    linear(&b, "encoder up", ES_F16, ES_F16, T, 5120 / small, 1280 / small, ES_ACT_GELU, false);
    linear(&b, "encoder down", ES_F16, ES_F16, T, 1280 / small, 5120 / small, ES_ACT_NONE, true);
    for (int r = R; r >= 1; r /= 8) {
        linear(&b, "decoder qkv", ES_F16, ES_F16, r, 3840 / small, 1280 / small, ES_ACT_NONE, false);
        linear(&b, "decoder up", ES_F16, ES_F16, r, 5120 / small, 1280 / small, ES_ACT_GELU, false);
        linear(&b, "decoder down", ES_F16, ES_F16, r, 1280 / small, 5120 / small, ES_ACT_NONE, true);
        linear(&b, "vocabulary", ES_F16, ES_F32, r, 51866 / small, 1280 / small, ES_ACT_NONE, false);
    }
    linear(&b, "qwen qkv", ES_BF16, ES_BF16, s > 1 ? 9 : 8192, 2048 / small, 1536 / small, ES_ACT_NONE, false);
    linear(&b, "qwen gate and up", ES_BF16, ES_BF16, s > 1 ? 9 : 8192, 17920 / small, 1536 / small, ES_ACT_NONE, false);
    linear(&b, "qwen down", ES_BF16, ES_BF16, s > 1 ? 9 : 8192, 1536 / small, 8960 / small, ES_ACT_NONE, true);
    conv(&b, W, 3000 / w, 128, 1280 / small, 1);
    conv(&b, W, 3000 / w, 1280 / small, 1280 / small, 2);
    attend(&b, ES_F16, W, 1500 / w, 20 / (s > 1 ? 10 : 1), 20 / (s > 1 ? 10 : 1), 64, false);
    attend(&b, ES_BF16, W, 1024 / w, s > 1 ? 6 : 12, s > 1 ? 1 : 2, 128, true);
    attend(&b, ES_F32, 1, 200 / (s > 1 ? 10 : 1), 4, 4, 32, false);
    cached(&b, "cross", R, 1500 / w, 1500 / w, 20, 64);
    cached(&b, "cross", 1, 1500 / w, 1500 / w, 20, 64);
    cached(&b, "self", R, 448, s > 1 ? 20 : 200, 20, 64);
    rows(&b, "layernorm", (job){.call = call_norm, .t = ES_F16, .y_type = ES_F16, .T = T, .I = 1280}, 1280, 1280, false);
    rows(&b, "layernorm after adding",
         (job){.call = call_norm, .t = ES_F16, .y_type = ES_F16, .T = T, .I = 1280, .residual = true}, 1280, 1280, false);
    rows(&b, "rmsnorm", (job){.call = call_norm, .t = ES_BF16, .y_type = ES_BF16, .T = T, .I = 1536, .causal = true}, 1536, 1536,
         false);
    rows(&b, "cast", (job){.call = call_cast, .t = ES_F32, .y_type = ES_F16, .T = T, .I = 1280}, 1280, 1280, false);
    rows(&b, "swiglu", (job){.call = call_swiglu, .t = ES_BF16, .y_type = ES_BF16, .T = 8192 / s, .I = 8960}, 17920, 8960, false);
    rows(&b, "rope", (job){.call = call_rope, .t = ES_BF16, .y_type = ES_BF16, .T = 8192 / s, .H = 14, .D = 128}, 1792, 1792,
         false);
    mel(&b, W, 128);
    pick(&b, R, 0);
    pick(&b, R, 0.8f);

    es_device_describe(b.d, &facts);
    printf("{\"bytes_free\": %llu, \"allocations\": %llu}\n", (unsigned long long)facts.bytes_free,
           (unsigned long long)es_device_allocations(b.d));
    es_device_close(b.d);
    return b.failed > 0;
}
