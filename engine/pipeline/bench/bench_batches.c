/*
 * bench_batches.c - steps of a few sizes, each pack alone, on noise.
 *
 * What is heard does not matter: no op looks at values to decide how much to do. A decoder would end early on noise, so the
 * token that ends a window is suppressed; a step is what 16 more tokens take, so that prompts do not count. Of two runs the
 * faster one counts, after one that nobody times (it records the graphs).
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_batches.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "pipeline/session/cost.h"
#include "pipeline/session/packs.h"
#include "runtime/arena.h"

enum { RUNS = 2, FEW_TOKENS = 4, MORE_TOKENS = 20, SLOTS = 128, PIECE = 256, TEXT = 128, POINTS = 4, SAMPLES = 480400 };

/* Sizes that are timed, by backend: the smallest steps of the planner, and as far as it pays. */
static const struct {
    es_session_limits most;
    int windows[POINTS], slots[POINTS], segments[POINTS], frames[POINTS], tokens[POINTS];
} sizes[ES_N_BACKENDS] = {
    [ES_CPU] = {{2, 16, 16, 8192, 2048}, {1, 2}, {1, 4, 8, 16}, {1, 4, 16}, {1024, 2048, 8192}, {512, 2048}},
    [ES_CUDA] = {{32, SLOTS, 128, 65536, 8192}, {1, 4, 16, 32}, {1, 8, 32, SLOTS}, {1, 8, 32, 128}, {1024, 4096, 16384, 65536}, {512, 2048, 8192}},
};

typedef struct rig {
    const es_session_options *o;
    es_device_choice where;
    es_lineup lineup; /* of one model */
    es_lineup_model *m;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    float *noise, *out; /* room for the largest step */
    int32_t *ids, *bounds;
    char device_name[128];
} rig;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- a model, ready ---- */

static void rig_done(rig *g)
{
    es_lineup_done(&g->lineup);
    es_arena_close(g->arena);
    es_plan_close(g->plan);
    es_device_close(g->device);
    free(g->noise), free(g->out), free(g->ids), free(g->bounds);
}

/* Planned with the largest steps that the budget allows. */
static int plan_largest(rig *g, uint64_t budget, es_err *err)
{
    es_session_limits *s = &g->m->step;

    for (*s = sizes[g->where.backend].most;;) {
        es_err why = {0};
        int rc = es_plan_open(&g->plan, g->where.backend, g->o->threads, &why);
        if (rc == ES_OK) rc = es_lineup_enter(&g->lineup, g->plan, &why);
        if (rc == ES_OK) rc = es_plan_finish(g->plan, budget, &why);
        if (rc == ES_OK) return ES_OK;
        if (rc != ES_EBUDGET || s->tokens <= 512) return es_fail(err, rc, "%s", why.text);
        es_lineup_leave(&g->lineup);
        es_plan_close(g->plan);
        g->plan = NULL;
        int *step[] = {&s->windows, &s->slots, &s->segments};
        for (int i = 0; i < 3; i++) *step[i] = *step[i] > 1 ? *step[i] / 2 : 1;
        s->frames /= 2, s->tokens /= 2;
    }
}

static int take_room(rig *g, es_err *err)
{
    const es_session_limits *s = &g->m->step;
    size_t sound = (size_t)s->segments * ES_PYANNET_SAMPLES, rows = (size_t)s->frames * 80, n = sound > rows ? sound : rows;
    size_t scores = (size_t)s->segments * ES_PYANNET_FRAMES * ES_PYANNET_CLASSES, vectors = (size_t)(s->tokens + s->frames / PIECE) * 8192;
    uint32_t seed = 1;

    if (n < SAMPLES) n = SAMPLES;
    g->noise = malloc(n * sizeof *g->noise);
    g->out = malloc((scores > vectors ? scores : vectors) * sizeof *g->out);
    g->ids = malloc((size_t)s->tokens * sizeof *g->ids);
    g->bounds = malloc(((size_t)s->tokens + 1) * sizeof *g->bounds);
    if (!g->noise || !g->out || !g->ids || !g->bounds) return es_fail(err, ES_ENOMEM, "not enough memory to measure %s", g->m->name);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        g->noise[i] = (float)(seed >> 8) * 0x1p-27f - 0.0625f;
    }
    return ES_OK;
}

static int rig_open(rig *g, const es_session_options *o, const es_device_choice *where, const char *pack, es_err *err)
{
    uint64_t budget = o->budget;
    es_device_facts facts;
    es_fault why = {0};
    int rc;

    *g = (rig){.o = o, .where = *where};
    rc = es_lineup_add_pack(&g->lineup, pack, err);
    if (rc != ES_OK) return rc;
    g->m = g->lineup.at[0];
    if (g->m->kind == ES_LINEUP_WHISPER && g->m->n_suppress < ES_LINEUP_SUPPRESSED)
        g->m->suppress[g->m->n_suppress++] = es_whisper_ids_of(&g->m->whisper_dims).eot;
    if (es_device_open(&g->device, where->backend, where->index, o->threads, NULL, &why)) return es_fail(err, ES_EDEVICE, "%s", why.text);
    es_device_describe(g->device, &facts);
    snprintf(g->device_name, sizeof g->device_name, "%s", facts.name);
    if (!budget) budget = es_session_default_budget(where->backend, facts.bytes_free);
    rc = plan_largest(g, budget, err);
    if (rc == ES_OK) rc = es_arena_open(&g->arena, g->plan, g->device, err);
    if (rc == ES_OK) rc = es_arena_load(g->arena, err);
    if (rc == ES_OK) rc = es_lineup_start(&g->lineup, g->arena, err);
    return rc == ES_OK ? take_room(g, err) : rc;
}

/* ---- one step ---- */

static int encode(rig *g, int n, es_err *err)
{
    es_whisper_window w[32];

    (void)err;
    for (int i = 0; i < n; i++)
        w[i] = (es_whisper_window){.pcm = g->noise, .frames = ES_WHISPER_FRAMES, .top = NAN, .fill = NAN, .slot = i};
    es_whisper_encode(g->m->whisper, w, n);
    return ES_OK;
}

static void decode(rig *g, int n, int tokens)
{
    es_whisper_ids ids = es_whisper_ids_of(&g->m->whisper_dims);
    int32_t prompt[4] = {ids.sot};
    bool ended[SLOTS] = {false};
    es_whisper_output out;
    int k = 1, live;

    if (g->m->whisper_dims.multilingual) prompt[k++] = ids.lang_begin, prompt[k++] = ids.transcribe;
    prompt[k++] = ids.no_timestamps;
    for (int i = 0; i < n; i++)
        es_whisper_begin(g->m->whisper, &(es_whisper_request){.slot = i, .prompt = prompt, .n_prompt = k, .max_tokens = tokens});
    do {
        live = es_whisper_steps(g->m->whisper, ended);
        for (int i = 0; i < n; i++)
            if (ended[i]) es_whisper_take(g->m->whisper, i, &out);
    } while (live);
}

static int segment(rig *g, int n, es_err *err)
{
    return es_pyannet_run(g->m->pyannet, g->noise, n, g->out, err);
}

static int speak(rig *g, int n, es_err *err)
{
    int pieces = n / PIECE, rc;
    es_speaker_sound *sounds = calloc((size_t)pieces, sizeof *sounds);
    es_speaker_ask *asks = calloc((size_t)pieces, sizeof *asks);

    for (int i = 0; i < pieces && sounds && asks; i++) {
        sounds[i] = (es_speaker_sound){.rows = g->noise + (size_t)i * PIECE * 80, .n = PIECE};
        asks[i].sound = i;
    }
    rc = sounds && asks ? es_speaker_run(g->m->speaker, sounds, asks, pieces, g->out, err) : es_fail(err, ES_ENOMEM, "not enough memory");
    free(sounds);
    free(asks);
    return rc;
}

static int embed(rig *g, int n, es_err *err)
{
    int texts = n / TEXT;

    for (int i = 0; i < n; i++) g->ids[i] = (int32_t)((int64_t)i * 7919 % g->m->embedder_dims.vocab);
    for (int i = 0; i <= texts; i++) g->bounds[i] = i * TEXT;
    return es_embedder_step(g->m->embedder, g->ids, g->bounds, texts, g->out, err);
}

/* Seconds of the fastest run of a step. */
static int time_step(rig *g, int (*step)(rig *g, int n, es_err *err), int n, double *seconds, es_err *err)
{
    es_fault why = {0};

    for (int run = 0; run <= RUNS; run++) {
        double began = now(), spent;
        int rc = step(g, n, err);
        if (rc == ES_OK && es_device_sync(g->device, &why)) rc = es_fail(err, ES_EDEVICE, "%s", why.text);
        if (rc != ES_OK) return rc;
        spent = now() - began;
        if (run == 1 || (run && spent < *seconds)) *seconds = spent;
    }
    return ES_OK;
}

static int decode_few(rig *g, int n, es_err *err)
{
    (void)err;
    decode(g, n, FEW_TOKENS);
    return ES_OK;
}

static int decode_more(rig *g, int n, es_err *err)
{
    (void)err;
    decode(g, n, MORE_TOKENS);
    return ES_OK;
}

/* ---- a pack ---- */

static int time_sizes(rig *g, es_costs *c, int (*step)(rig *g, int n, es_err *err), bool slots, const int *size, int most, es_err *err)
{
    for (int i = 0; i < POINTS && size[i] && size[i] <= most; i++) {
        double seconds = 0, few = 0;
        int rc = time_step(g, step, size[i], &seconds, err);
        if (rc == ES_OK && slots) {
            rc = time_step(g, decode_few, size[i], &few, err);
            /* On a busy machine the difference may be nothing at all. */
            seconds = fmax(seconds - few, seconds / 100) / (MORE_TOKENS - FEW_TOKENS);
        }
        if (rc == ES_OK) rc = es_costs_add(c, g->m->name, es_cost_unit(g->m, slots), size[i], seconds, err);
        if (rc != ES_OK) return rc;
        es_log(ES_LOG_INFO, "%s, %d %s: %.4f s", g->m->name, size[i], es_cost_unit(g->m, slots), seconds);
    }
    return ES_OK;
}

static int time_pack(rig *g, es_costs *c, es_err *err)
{
    es_backend b = g->where.backend;
    const es_session_limits *s = &g->m->step;
    int rc = ES_OK;

    switch (g->m->kind) {
    case ES_LINEUP_WHISPER:
        rc = time_sizes(g, c, encode, false, sizes[b].windows, s->windows, err);
        return rc == ES_OK ? time_sizes(g, c, decode_more, true, sizes[b].slots, s->slots, err) : rc;
    case ES_LINEUP_PYANNET: return time_sizes(g, c, segment, false, sizes[b].segments, s->segments, err);
    case ES_LINEUP_SPEAKER: return time_sizes(g, c, speak, false, sizes[b].frames, s->frames, err);
    case ES_LINEUP_EMBEDDER: return time_sizes(g, c, embed, false, sizes[b].tokens, s->tokens, err);
    }
    return rc;
}

static bool can_run(const es_pack_entry *e)
{
    static const char *const known[] = {"whisper", "pyannet", "bert", "qwen2"};

    if (e->fault) return false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(e->architecture, known[i])) return true;
    return es_speaker_is(e->architecture);
}

static int print(const es_costs *c, const char *device, bool json, char **text, size_t *bytes, es_err *err)
{
    FILE *f = open_memstream(text, bytes);

    if (!f) return es_fail(err, ES_ENOMEM, "not enough memory");
    if (json) fputs("[", f);
    else fprintf(f, "On %s\n\n  %-28s %8s %-8s %12s\n", device, "step of", "", "", "seconds");
    for (int i = 0; i < c->n; i++) {
        const es_cost_point *p = &c->at[i];
        char shown[128];
        es_printable(shown, sizeof shown, p->model);
        if (!json) fprintf(f, "  %-28s %8d %-8s %12.5f\n", shown, p->count, p->unit, p->seconds);
        else fprintf(f, "%s\n  {\"model\": \"%s\", \"unit\": \"%s\", \"count\": %d, \"seconds\": %.6g}", i ? "," : "", shown, p->unit, p->count, p->seconds);
    }
    if (json) fputs("\n]\n", f);
    return fclose(f) ? es_fail(err, ES_ENOMEM, "not enough memory") : ES_OK;
}

int es_bench_batches(const es_session_options *o, bool json, char **text, size_t *bytes, es_err *err)
{
    char device[128] = "";
    es_device_choice where;
    es_packs packs = {0};
    es_costs costs = {0};
    int rc = es_session_choose(&where, o->device, true, err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) rc = es_packs_scan(&packs, o->models, err);
    for (size_t i = 0; i < packs.n && rc == ES_OK; i++) {
        rig g = {0};
        if (!can_run(&packs.at[i])) continue;
        rc = rig_open(&g, o, &where, packs.at[i].path, err);
        if (rc == ES_OK) rc = time_pack(&g, &costs, err);
        snprintf(device, sizeof device, "%s", g.device_name);
        rig_done(&g);
    }
    if (rc == ES_OK && !costs.n) rc = es_fail(err, ES_ENOTFOUND, "%s holds no pack that can be measured", packs.folder);
    if (rc == ES_OK) rc = es_costs_write(&costs, o->models, where.backend, device, o->threads, err);
    if (rc == ES_OK) rc = print(&costs, device, json, text, bytes, err);
    es_costs_done(&costs);
    es_packs_done(&packs);
    return rc;
}
