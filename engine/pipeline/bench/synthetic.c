/*
 * synthetic.c - windows per second of a Whisper with seeded weights, and where the time goes.
 *
 *     batch    the most slots, then windows encoded at once, that the budget has room for
 *     round    every slot's window encoded, then 100 tokens decoded in all of them
 *     parts    mel; mel and encoder; all of encoding: their differences are the times of the parts
 *
 * The end of text is never sampled, so that each window takes its 100 tokens and rounds are alike.
 *
 * Beside it stands what the same work takes where every part runs at its limit: products at the rate of a large
 * product, attention at the two fifths of it that tiles of 16 x 8 reach, the rest at the speed of a copy. The fraction
 * of that sum says what is left to win.
 */
#define _GNU_SOURCE
#include "pipeline/bench/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/mel.h"
#include "base/json.h"
#include "models/whisper.h"
#include "runtime/arena.h"

enum { TOKENS = 100, MOST_SLOTS = 64, MOST_SLOTS_CPU = 8, MOST_WINDOWS = 16, PROMPT_ROWS = 227, MOST_ROUNDS = 9 };

/* Reached by library products and copies on an H200, as published; the default to compare with. */
static const double h200_tflops = 790, h200_gbytes = 4300;

typedef struct rig {
    es_whisper_dims dims;
    es_whisper_limits limits;
    es_plan *plan;
    es_whisper *model;
    es_device *device;
    es_arena *arena;
    float *pcm;
} rig;

typedef struct figures {
    es_device_facts facts;
    uint64_t free_before, free_open, free_after; /* bytes of the device */
    uint64_t allocations;                        /* after open */
    es_plan_totals totals;
    double mel, encoder, cross, decode, all; /* seconds of a round */
    double limit[5];                         /* the same at the card's limits */
    char hash[33], first[33];                    /* of all tokens; of the first window's, with its log-probability */
} figures;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the batch ---- */

static void forget(rig *g)
{
    es_whisper_close(g->model);
    es_plan_close(g->plan);
    g->model = NULL;
    g->plan = NULL;
}

static int plan(rig *g, const es_synthetic_options *o, es_err *err)
{
    es_whisper_ids ids = es_whisper_ids_of(&g->dims);
    int32_t eot = ids.eot;
    int rc = es_plan_open(&g->plan, o->backend, o->threads, err);

    if (rc == ES_OK) rc = es_whisper_plan(&g->model, g->plan, o->name, NULL, &g->dims, g->limits, &eot, 1, -1, err);
    if (rc == ES_OK) rc = es_plan_finish(g->plan, o->budget, err);
    return rc;
}

static int choose_batch(rig *g, const es_synthetic_options *o, es_err *err)
{
    int rc = ES_EBUDGET;
    int most = o->slots > 0 ? o->slots : o->backend == ES_CPU ? MOST_SLOTS_CPU : MOST_SLOTS;

    for (int slots = most < MOST_SLOTS ? most : MOST_SLOTS; slots >= 1 && rc == ES_EBUDGET; slots /= 2) {
        int windows = o->backend == ES_CPU ? 1 : slots < MOST_WINDOWS ? slots : MOST_WINDOWS;
        for (; windows >= 1 && rc == ES_EBUDGET; windows /= 4) {
            forget(g);
            g->limits = (es_whisper_limits){.windows = windows,
                                            .slots = slots,
                                            .prompt_rows = PROMPT_ROWS,
                                            .align = g->dims.n_pairs > 0,
                                            .parts = true};
            rc = plan(g, o, err);
        }
    }
    return rc;
}

/* ---- running ---- */

static void noise(float *x, size_t n)
{
    uint32_t s = 1;

    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = 0.1f * ((float)(s >> 8) * 0x1p-24f - 0.5f) * (float)(1 + i / 8000 % 7);
    }
}

static int settled(rig *g, double *at, es_err *err)
{
    es_fault why = {0};

    if (es_device_sync(g->device, &why)) return es_fail(err, ES_EDEVICE, "%s", why.text);
    *at = now();
    return ES_OK;
}

static void encode_all(rig *g)
{
    es_whisper_window w[MOST_WINDOWS];

    for (int first = 0; first < g->limits.slots; first += g->limits.windows) {
        int n = g->limits.slots - first < g->limits.windows ? g->limits.slots - first : g->limits.windows;
        for (int i = 0; i < n; i++)
            w[i] = (es_whisper_window){.pcm = g->pcm + (first + i) * 997,
                                       .frames = ES_WHISPER_FRAMES,
                                       .top = NAN,
                                       .fill = NAN,
                                       .slot = first + i};
        es_whisper_encode(g->model, w, n);
    }
}

static int tokens_of(const es_synthetic_options *o)
{
    return o->tokens > 0 ? o->tokens : TOKENS;
}

static void decode_all(rig *g, const es_synthetic_options *o, figures *f)
{
    es_whisper_ids ids = es_whisper_ids_of(&g->dims);
    int32_t prompt[4] = {ids.sot};
    es_hasher *h = es_hasher_open();
    es_whisper_output out;
    bool ended[MOST_SLOTS];
    int n = 1, live;

    if (g->dims.multilingual) prompt[n++] = ids.lang_begin, prompt[n++] = ids.transcribe;
    prompt[n++] = ids.no_timestamps;
    for (int i = 0; i < g->limits.slots; i++) {
        es_whisper_request q = {.slot = i, .prompt = prompt, .n_prompt = n, .max_tokens = tokens_of(o)};
        es_whisper_begin(g->model, &q);
    }
    do {
        live = es_whisper_steps(g->model, ended);
        for (int i = 0; i < g->limits.slots; i++) {
            if (!ended[i]) continue;
            es_whisper_take(g->model, i, &out);
            if (h) es_hasher_add(h, out.tokens, (size_t)out.n * sizeof out.tokens[0]);
            if (i > 0) continue;
            es_hasher *one = es_hasher_open();
            if (one) {
                es_hasher_add(one, out.tokens, (size_t)out.n * sizeof out.tokens[0]);
                es_hasher_add(one, &out.sum_logprob, sizeof out.sum_logprob);
                es_hash_hex(f->first, es_hasher_value(one));
            }
            es_hasher_close(one);
        }
    } while (live);
    if (h) es_hash_hex(f->hash, es_hasher_value(h));
    es_hasher_close(h);
}

/* Seconds of encoding's parts for all slots: one batch of windows each, times the number of batches. */
static int measure_parts(rig *g, figures *f, es_err *err)
{
    double t[3], at[3], batches = (double)((g->limits.slots + g->limits.windows - 1) / g->limits.windows);
    int rc = ES_OK;

    for (int part = 0; part < ES_WHISPER_PARTS && rc == ES_OK; part++) {
        es_whisper_encode_part(g->model, (es_whisper_part)part); /* records the graph */
        rc = settled(g, &at[0], err);
        es_whisper_encode_part(g->model, (es_whisper_part)part);
        if (rc == ES_OK) rc = settled(g, &at[1], err);
        t[part] = at[1] - at[0];
    }
    if (rc != ES_OK) return rc;
    f->mel = batches * t[ES_WHISPER_MEL];
    f->encoder = batches * (t[ES_WHISPER_ENCODER] - t[ES_WHISPER_MEL]);
    return ES_OK;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int run_rounds(rig *g, const es_synthetic_options *o, figures *f, es_err *err)
{
    int rounds = o->rounds > 0 ? o->rounds : o->backend == ES_CPU ? 1 : 3;
    double encode[MOST_ROUNDS], decode[MOST_ROUNDS], at[3] = {0};
    int rc = ES_OK;

    if (rounds > MOST_ROUNDS) rounds = MOST_ROUNDS;
    if (o->backend != ES_CPU) { /* records the graphs */
        encode_all(g);
        decode_all(g, o, f);
    }
    uint64_t taken = es_device_allocations(g->device);
    for (int i = 0; i < rounds && rc == ES_OK; i++) {
        rc = settled(g, &at[0], err);
        encode_all(g);
        if (rc == ES_OK) rc = settled(g, &at[1], err);
        decode_all(g, o, f);
        if (rc == ES_OK) rc = settled(g, &at[2], err);
        encode[i] = at[1] - at[0];
        decode[i] = at[2] - at[1];
    }
    f->allocations = es_device_allocations(g->device) - taken;
    if (rc == ES_OK) rc = measure_parts(g, f, err);
    if (rc != ES_OK) return rc;
    qsort(encode, (size_t)rounds, sizeof *encode, by_time);
    qsort(decode, (size_t)rounds, sizeof *decode, by_time);
    f->decode = decode[rounds / 2];
    f->all = encode[rounds / 2] + f->decode;
    f->cross = fmax(0, encode[rounds / 2] - f->mel - f->encoder);
    return ES_OK;
}

/* ---- the limits ---- */

/* Seconds a round would take at the card's rates: mel, encoder, cross keys, decode, their sum. */
static void find_limits(const rig *g, const es_synthetic_options *o, double out[5])
{
    const es_whisper_dims *d = &g->dims;
    double C = d->d_model, T = 1500, Le = d->encoder_layers, Ld = d->decoder_layers, V = d->vocab, S = g->limits.slots;
    double rate = 1e12 * (o->tflops > 0 ? o->tflops : h200_tflops),
           speed = 1e9 * (o->gbytes > 0 ? o->gbytes : h200_gbytes);
    double layer = 2 * T * 12 * C * C, conv = 2 * (3000 * C * 3 * d->n_mels + T * C * 3 * C);
    double attention = 4 * T * T * C, passes = (2 * 4 * C + 2 * 2 * C + 2 * C) * T * 2; /* gelu; norms; bytes */
    double weights = 2 * (Ld * 14 * C * C + V * C), keys = 2 * 2 * Ld * T * C;

    out[0] = (480000 * 4.0 + 3000.0 * d->n_mels * 2) * S / speed;
    out[1] = S * ((Le * layer + conv) / rate + Le * attention / (0.4 * rate) + Le * passes / speed);
    out[2] = S * Ld * 2 * T * 2 * C * C / rate;
    out[3] = tokens_of(o) * (weights + S * keys) / speed;
    out[4] = out[0] + out[1] + out[2] + out[3];
}

/* ---- printing ---- */

static const char *const part_name[5] = {"mel", "encoder", "cross keys", "decode", "all"};

static void print(FILE *out, const rig *g, const es_synthetic_options *o, const figures *f)
{
    double S = g->limits.slots, part[5] = {f->mel, f->encoder, f->cross, f->decode, f->all};

    fprintf(out, "%s with seeded weights on %s: %d slots, %d windows at once, %d tokens a window\n\n", o->name,
            f->facts.name, g->limits.slots, g->limits.windows, tokens_of(o));
    fprintf(out, "  %-12s %12s %8s", "part", "ms a window", "share");
    if (o->backend == ES_CUDA) fprintf(out, " %12s %12s", "at limits", "of limits");
    fprintf(out, "\n");
    for (int i = 0; i < 5; i++) {
        fprintf(out, "  %-12s %12.3f %6.1f %%", part_name[i], 1000 * part[i] / S, 100 * part[i] / f->all);
        if (o->backend == ES_CUDA)
            fprintf(out, " %12.3f %10.1f %%", 1000 * f->limit[i] / S, part[i] > 0 ? 100 * f->limit[i] / part[i] : 0);
        fprintf(out, "\n");
    }
    fprintf(out, "\n  %.2f windows/s, %.1f x real time, %.0f tokens/s\n", S / f->all, 30 * S / f->all,
            S * tokens_of(o) / f->decode);
    fprintf(out, "  arena %.1f MB, %llu allocations after open, tokens %s\n", (double)f->totals.arena * 1e-6,
            (unsigned long long)f->allocations, f->hash);
}

static void print_json(es_json_out *j, const rig *g, const es_synthetic_options *o, const figures *f)
{
    static const char *const key[5] = {"mel", "encoder", "cross_keys", "decode", "all"};
    double S = g->limits.slots, part[5] = {f->mel, f->encoder, f->cross, f->decode, f->all};

    es_json_begin(j, 0);
    es_json_object(j, NULL);
    es_json_put_string(j, "asr", o->name);
    es_json_put_string(j, "device", f->facts.name);
    es_json_put_int(j, "slots", g->limits.slots);
    es_json_put_int(j, "windows", g->limits.windows);
    es_json_put_int(j, "tokens_a_window", tokens_of(o));
    es_json_object(j, "ms_a_window");
    for (int i = 0; i < 5; i++) es_json_put_fixed(j, key[i], 1000 * part[i] / S, 4);
    es_json_end_object(j);
    if (o->backend == ES_CUDA) {
        es_json_object(j, "ms_at_limits");
        for (int i = 0; i < 5; i++) es_json_put_fixed(j, key[i], 1000 * f->limit[i] / S, 4);
        es_json_end_object(j);
        es_json_put_fixed(j, "of_limits", f->limit[4] / f->all, 4);
    }
    es_json_put_fixed(j, "windows_per_second", S / f->all, 3);
    es_json_put_fixed(j, "times_real_time", 30 * S / f->all, 2);
    es_json_put_fixed(j, "tokens_per_second", S * tokens_of(o) / f->decode, 1);
    es_json_put_uint(j, "budget_bytes", o->budget);
    es_json_put_uint(j, "arena_bytes", f->totals.arena);
    es_json_put_uint(j, "total_bytes", f->totals.total);
    es_json_put_uint(j, "bytes_free_before", f->free_before);
    es_json_put_uint(j, "bytes_free_open", f->free_open);
    es_json_put_uint(j, "bytes_free_after", f->free_after);
    es_json_put_uint(j, "allocations_after_open", f->allocations);
    es_json_put_string(j, "hash", f->hash);
    es_json_put_string(j, "hash_first", f->first);
    es_json_end_object(j);
}

static int shown(const rig *g, const es_synthetic_options *o, const figures *f, char **text, size_t *bytes, es_err *err)
{
    if (o->json) {
        es_json_out j;
        print_json(&j, g, o, f);
        if (j.failed) {
            free(j.text);
            return es_fail(err, ES_ENOMEM, "not enough memory to print");
        }
        *text = j.text, *bytes = j.n;
        return ES_OK;
    }
    FILE *out = open_memstream(text, bytes);
    if (out) print(out, g, o, f);
    if (!out || fclose(out)) return es_fail(err, ES_ENOMEM, "not enough memory to print");
    return ES_OK;
}

static uint64_t bytes_free(const rig *g)
{
    es_device_facts facts;

    es_device_describe(g->device, &facts);
    return facts.bytes_free;
}

int es_synthetic_asr(const es_synthetic_options *o, char **text, size_t *bytes, es_err *err)
{
    size_t samples = ES_MEL_WINDOW_SAMPLES + MOST_SLOTS * 997;
    figures f = {0};
    es_fault why = {0};
    rig g = {0};
    char name[100];
    int rc;

    *text = NULL, *bytes = 0;
    if (!strcmp(o->name, "two-layers"))
        g.dims = (es_whisper_dims){.d_model = 64,
                                   .heads = 1,
                                   .encoder_layers = 2,
                                   .decoder_layers = 2,
                                   .n_mels = 80,
                                   .vocab = 51865,
                                   .multilingual = true,
                                   .n_languages = 99};
    else if (!es_whisper_preset(&g.dims, o->name))
        return es_fail(err, ES_EARG, "there is no speech model called %s; plan --with lists the names",
                       es_printable(name, sizeof name, o->name));
    rc = choose_batch(&g, o, err);
    if (rc == ES_OK && !(g.pcm = malloc(samples * sizeof *g.pcm))) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) noise(g.pcm, samples);
    if (rc == ES_OK && es_device_open(&g.device, o->backend, o->index, o->threads, NULL, &why))
        rc = es_fail(err, ES_EDEVICE, "%s", why.text);
    if (rc == ES_OK) {
        es_device_describe(g.device, &f.facts);
        f.free_before = f.facts.bytes_free;
        rc = es_arena_open(&g.arena, g.plan, g.device, err);
    }
    if (rc == ES_OK) rc = es_arena_seed(g.arena, 1, err);
    if (rc == ES_OK) rc = es_whisper_start(g.model, g.arena, err);
    if (rc == ES_OK) {
        es_plan_totals_get(g.plan, &f.totals);
        f.free_open = bytes_free(&g);
        rc = run_rounds(&g, o, &f, err);
    }
    if (rc == ES_OK) {
        f.free_after = bytes_free(&g);
        find_limits(&g, o, f.limit);
        rc = shown(&g, o, &f, text, bytes, err);
    }
    es_whisper_close(g.model);
    es_arena_close(g.arena);
    es_device_close(g.device);
    es_plan_close(g.plan);
    free(g.pcm);
    return rc;
}
