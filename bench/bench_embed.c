/*
 * bench_embed.c - a text encoder at real shapes with seeded weights: kernels, runtime and models alone, where the program itself
 * cannot be built (`earshot bench embed --synthetic` is the same with more around it).
 *
 *     bench_embed NAME [cpu|cuda] [BUDGET_BYTES] [TFLOPS [TEXTS TOKENS]]     a line of JSON for each batch
 *
 * NAME is a preset, or two-layers for tests. TFLOPS: what the device's largest product reached; then the fraction of it is told.
 * Batches are 32 to 256 texts, or TEXTS alone, of 64 tokens. The hash is that of the first 32 vectors (or fewer), which are
 * the same texts in every batch: it must not differ between the lines.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/json.h"
#include "models/embedder.h"

enum { TOKENS = 64, RUNS = 7, HASHED = 32, STEP = 16384 };

static const es_embedder_dims two_layers = {
    .qwen2 = true, .d_model = 128, .heads = 4, .kv_heads = 2, .head_dim = 32, .layers = 2, .mlp = 352, .vocab = 512, .positions = 512,
    .longest = 512, .theta = 1e6, .eps = 1e-6f, .mask = ES_MASK_NONE, .pooling = ES_POOL_LAST};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Two for each weight a token meets, and two products of every pair of tokens. */
static double flops(const es_embedder_dims *d, double n)
{
    double C = d->d_model, Q = d->heads * d->head_dim, KV = d->kv_heads * d->head_dim;

    return d->layers * (2 * n * (C * (2 * Q + 2 * KV) + (d->qwen2 ? 3 : 2) * C * d->mlp) + 4 * Q * n * n);
}

typedef struct bench {
    const char *name;
    es_embedder_dims dims;
    es_backend backend;
    es_plan *plan;
    es_embedder *model;
    es_device *device;
    es_arena *arena;
    double tflops;
    int tokens;
} bench;

static int open_all(bench *b, uint64_t budget, int most_texts, es_err *err)
{
    es_embedder_limits limits = {.tokens = STEP < most_texts * b->tokens ? STEP : most_texts * b->tokens, .texts = most_texts};
    es_fault why = {0};
    int rc = es_plan_open(&b->plan, b->backend, 0, err);

    if (!rc) rc = es_embedder_plan(&b->model, b->plan, b->name, NULL, &b->dims, limits, err);
    if (!rc) rc = es_plan_finish(b->plan, budget, err);
    if (!rc && es_device_open(&b->device, b->backend, 0, 0, NULL, &why)) rc = es_fail(err, ES_EDEVICE, "%s", why.text);
    if (!rc) rc = es_arena_open(&b->arena, b->plan, b->device, err);
    if (!rc) rc = es_arena_seed(b->arena, 1, err);
    if (!rc) es_embedder_start(b->model, b->arena);
    return rc;
}

static int batch(bench *b, int texts, es_err *err)
{
    size_t n = (size_t)texts, width = (size_t)b->dims.d_model;
    int32_t *ids = malloc(n * (size_t)b->tokens * sizeof *ids);
    int64_t *bounds = malloc((n + 1) * sizeof *bounds);
    float *v = malloc(n * width * sizeof *v);
    double seconds[RUNS];
    int rc = ids && bounds && v ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for %d texts", texts);
    es_plan_totals totals;
    es_device_facts facts;
    es_json_out j;
    char hash[33];

    for (size_t i = 0; !rc && i < n * (size_t)b->tokens; i++) ids[i] = (int32_t)((i * 2654435761u + 12345u) % (uint64_t)b->dims.vocab);
    for (size_t i = 0; !rc && i <= n; i++) bounds[i] = (int64_t)i * b->tokens;
    for (int i = -2; !rc && i < RUNS; i++) { /* two to warm up: on a device the first one records */
        double began = now();
        rc = es_embedder_run(b->model, ids, bounds, (int64_t)n, v, NULL, err);
        if (i >= 0) seconds[i] = now() - began;
    }
    if (!rc) {
        qsort(seconds, RUNS, sizeof *seconds, by_size);
        double rate = texts / seconds[RUNS / 2], reached = rate * flops(&b->dims, b->tokens) * 1e-12;
        es_plan_totals_get(b->plan, &totals);
        es_device_describe(b->device, &facts);
        es_hash_hex(hash, es_hash_bytes(v, (n < HASHED ? n : HASHED) * width * sizeof *v));
        es_json_begin(&j, 0);
        es_json_object(&j, NULL);
        es_json_put_string(&j, "model", b->name);
        es_json_put_string(&j, "device", facts.name);
        es_json_put_int(&j, "texts", texts);
        es_json_put_int(&j, "tokens", b->tokens);
        es_json_put_fixed(&j, "texts_per_second", rate, 2);
        es_json_put_fixed(&j, "tokens_per_second", rate * b->tokens, 1);
        es_json_put_fixed(&j, "tflops", reached, 4);
        if (b->tflops > 0) es_json_put_fixed(&j, "of_product", reached / b->tflops, 4);
        es_json_put_uint(&j, "arena_bytes", totals.arena);
        es_json_put_uint(&j, "bytes_free", facts.bytes_free);
        es_json_put_uint(&j, "allocations", es_device_allocations(b->device));
        es_json_put_string(&j, "hash", hash);
        es_json_end_object(&j);
        puts(j.failed ? "{}" : j.text);
        fflush(stdout);
        free(j.text);
    }
    free(ids), free(bounds), free(v);
    return rc;
}

int main(int argc, char **argv)
{
    static const int batches[] = {32, 64, 96, 128, 256};
    bench b = {.name = argc > 1 ? argv[1] : "", .tokens = TOKENS};
    es_err err = {0};
    int texts = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 0;

    if (argc > 6) b.tokens = (int)strtol(argv[6], NULL, 10);
    bool known = !strcmp(b.name, "two-layers") || es_embedder_preset(&b.dims, b.name);
    if (!known || argc > 7 || (argc > 2 && strcmp(argv[2], "cpu") && strcmp(argv[2], "cuda")) || texts < 0 || b.tokens < 1) {
        fprintf(stderr, "usage: bench_embed NAME [cpu|cuda] [BUDGET_BYTES] [TFLOPS [TEXTS TOKENS]]\n");
        return 2;
    }
    if (!strcmp(b.name, "two-layers")) b.dims = two_layers;
    b.backend = argc > 2 && !strcmp(argv[2], "cuda") ? ES_CUDA : ES_CPU;
    b.tflops = argc > 4 ? strtod(argv[4], NULL) : 0;
    int rc = open_all(&b, argc > 3 ? strtoull(argv[3], NULL, 10) : 0, texts ? texts : batches[4], &err);
    for (size_t i = 0; !rc && i < sizeof batches / sizeof *batches; i++) {
        rc = batch(&b, texts ? texts : batches[i], &err);
        if (texts) break;
    }
    if (rc) fprintf(stderr, "%s\n", err.text);
    es_embedder_close(b.model);
    es_arena_close(b.arena);
    es_plan_close(b.plan);
    es_device_close(b.device);
    return rc != ES_OK;
}
