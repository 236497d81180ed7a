/*
 * bench_embed.c - texts a second of a text encoder, real or made up.
 *
 * What is measured is es_embedding_ids() itself: steps, copies and vectors, without a tokenizer. Ids are drawn from a seed,
 * all texts have the same number of tokens. A row of the table is an encoder of its own, opened, warmed up, measured and
 * closed, so that its memory is its own. On the CPU the seconds of all threads stand beside those of the clock: where other
 * programs share the machine, the first are what a run costs. A hash of the vectors stands in every row: rows that are
 * compared did the same work, and on one device it is the same whatever the batch is.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_embed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/json.h"
#include "kernels/device.h"
#include "pipeline/bench/machine.h"

enum { TOKENS = 64, BATCH = 128, RUNS = 5, LEAST_RUNS = 3, MOST_ROWS = 8 };
static const double ENOUGH_SECONDS = 10;

typedef struct row {
    bool cpu;
    char device[128];
    int batch, texts, runs;
    double seconds, fastest, cpu_seconds, flops; /* of a run; flops: of a text */
    uint64_t arena, peak; /* peak: of the process, reset before the row where the system can */
    char hash[33];
} row;

static double clock_of(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int runs_of(row *r, es_embedding *e, int tokens, es_err *err)
{
    size_t n = (size_t)r->texts, all = n * (size_t)tokens;
    size_t *bounds = malloc((n + 1) * sizeof *bounds);
    int32_t *ids = malloc(all * sizeof *ids);
    float *vectors = malloc(n * (size_t)es_embedding_width(e) * sizeof *vectors);
    double seconds[RUNS], spent = 0, began, cpu;
    uint64_t state = 1;
    int rc = bounds && ids && vectors ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory for %zu texts", n);

    for (size_t i = 0; rc == ES_OK && i < all; i++) ids[i] = (int32_t)(draw(&state) % (uint64_t)es_embedding_vocabulary(e));
    for (size_t i = 0; rc == ES_OK && i <= n; i++) bounds[i] = i * (size_t)tokens;
    /* One batch warms up: pages are touched, and on a device the program is recorded. */
    if (rc == ES_OK) rc = es_embedding_ids(e, ids, bounds, r->batch < r->texts ? (size_t)r->batch : n, vectors, err);
    cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    while (rc == ES_OK && r->runs < RUNS && (r->runs < LEAST_RUNS || spent < ENOUGH_SECONDS)) {
        began = clock_of(CLOCK_MONOTONIC);
        rc = es_embedding_ids(e, ids, bounds, n, vectors, err);
        spent += seconds[r->runs++] = clock_of(CLOCK_MONOTONIC) - began;
    }
    if (rc == ES_OK) {
        r->cpu_seconds = (clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / r->runs;
        qsort(seconds, (size_t)r->runs, sizeof *seconds, by_size);
        r->seconds = seconds[r->runs / 2];
        r->fastest = seconds[0];
        es_hash_hex(r->hash, es_hash_bytes(vectors, n * (size_t)es_embedding_width(e) * sizeof *vectors));
    }
    free(bounds), free(ids), free(vectors);
    return rc;
}

static int measure(row *r, const es_bench_embed_options *o, const char *device, int batch, char name[64], es_err *err)
{
    es_embedding_options encoder = o->encoder;
    es_embedding *e = NULL;
    int tokens = o->tokens ? o->tokens : TOKENS, rc;

    *r = (row){.batch = batch, .texts = o->texts ? o->texts : batch};
    encoder.device = device;
    encoder.texts = batch;
    encoder.hushed = true;
    es_machine_forget_peak();
    rc = es_embedding_open(&e, &encoder, err);
    if (rc == ES_OK) rc = es_embedding_ready(e, err);
    if (rc == ES_OK && tokens > es_embedding_longest(e))
        rc = es_fail(err, ES_EARG, "--tokens %d: a text of %s has %d tokens at most", tokens, es_embedding_name(e), es_embedding_longest(e));
    if (rc == ES_OK) rc = runs_of(r, e, tokens, err);
    if (rc == ES_OK) {
        r->cpu = es_embedding_on_cpu(e);
        r->arena = es_embedding_arena_bytes(e);
        r->peak = es_machine_peak_bytes();
        r->flops = es_embedding_flops(e, tokens);
        snprintf(r->device, sizeof r->device, "%s", es_embedding_device_name(e));
        snprintf(name, 64, "%s", es_embedding_name(e));
    }
    es_embedding_close(e);
    return rc;
}

/* ---- figures ---- */

static void as_text(FILE *f, const row *rows, int n, const char *name, const char *made, int tokens, const char *without)
{
    const char *device = "";

    fprintf(f, "%s%s, texts of %d tokens, median of %d runs or more\n", name, made, tokens, LEAST_RUNS);
    for (int i = 0; i < n; i++) {
        const row *r = &rows[i];
        double rate = r->texts / r->seconds;
        if (strcmp(device, r->device)) {
            fprintf(f, "\n%s\n", r->device);
            fprintf(f, "  %5s %6s %9s %9s %11s %10s %9s %9s %9s  %s\n", "batch", "texts", "texts/s", "fastest", "tokens/s", "GFLOP/s",
                    "CPU s", "arena MB", "peak MiB", "vectors");
            device = r->device;
        }
        fprintf(f, "  %5d %6d %9.1f %9.1f %11.0f %10.1f %9.2f %9.1f %9.1f  %.8s\n", r->batch, r->texts, rate, r->texts / r->fastest,
                rate * tokens, rate * r->flops * 1e-9, r->cpu_seconds, (double)r->arena * 1e-6, (double)r->peak / 1048576, r->hash);
    }
    if (*without) fprintf(f, "\nno GPU: %s\n", without);
}

static void as_json(es_json_out *j, const row *rows, int n, const char *name, bool synthetic, int tokens, const char *without)
{
    es_json_begin(j, 2);
    es_json_object(j, NULL);
    es_json_put_string(j, "model", name);
    es_json_put_bool(j, "synthetic", synthetic);
    es_json_put_int(j, "tokens", tokens);
    es_json_array(j, "rows");
    for (int i = 0; i < n; i++) {
        const row *r = &rows[i];
        es_json_object(j, NULL);
        es_json_put_string(j, "backend", r->cpu ? "cpu" : "cuda");
        es_json_put_string(j, "device", r->device);
        es_json_put_int(j, "batch", r->batch);
        es_json_put_int(j, "texts", r->texts);
        es_json_put_int(j, "runs", r->runs);
        es_json_put_fixed(j, "seconds", r->seconds, 5);
        es_json_put_fixed(j, "fastest_seconds", r->fastest, 5);
        es_json_put_fixed(j, "cpu_seconds", r->cpu_seconds, 5);
        es_json_put_fixed(j, "texts_per_second", r->texts / r->seconds, 2);
        es_json_put_fixed(j, "tokens_per_second", r->texts / r->seconds * tokens, 1);
        es_json_put_fixed(j, "gflops", r->texts / r->seconds * r->flops * 1e-9, 2);
        es_json_put_uint(j, "arena_bytes", r->arena);
        es_json_put_uint(j, "peak_bytes", r->peak);
        es_json_put_string(j, "vectors_hash", r->hash);
        es_json_end_object(j);
    }
    es_json_end_array(j);
    if (*without) es_json_put_string(j, "no_cuda", without);
    es_json_end_object(j);
}

int es_bench_embed(const es_bench_embed_options *o, bool json, char **text, size_t *bytes, es_err *err)
{
    static const int batches[] = {32, 64, 96, 128, 256};
    row rows[MOST_ROWS];
    es_fault why = {0};
    char name[64] = "", without[256] = "";
    int n = 0, rc = ES_OK, tokens = o->tokens ? o->tokens : TOKENS;

    *text = NULL, *bytes = 0;
    if (!o->sweep) {
        rc = measure(&rows[n++], o, o->encoder.device, o->encoder.texts ? o->encoder.texts : BATCH, name, err);
    } else {
        rc = measure(&rows[n++], o, "cpu", BATCH, name, err);
        bool gpu = es_device_count(ES_CUDA, &why) > 0;
        if (!gpu) snprintf(without, sizeof without, "%s", why.text[0] ? why.text : "there is no CUDA device");
        for (size_t i = 0; gpu && rc == ES_OK && i < sizeof batches / sizeof *batches; i++)
            rc = measure(&rows[n++], o, "cuda", batches[i], name, err);
    }
    if (rc != ES_OK) return rc;
    if (json) {
        es_json_out j;
        as_json(&j, rows, n, name, o->encoder.synthetic != NULL, tokens, without);
        if (j.failed) {
            free(j.text);
            return es_fail(err, ES_ENOMEM, "not enough memory to print");
        }
        *text = j.text, *bytes = j.n;
        return ES_OK;
    }
    FILE *f = open_memstream(text, bytes);
    if (f) as_text(f, rows, n, name, o->encoder.synthetic ? " with seeded weights" : "", tokens, without);
    if (!f || fclose(f)) return es_fail(err, ES_ENOMEM, "not enough memory to print");
    return ES_OK;
}
