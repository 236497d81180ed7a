/*
 * synthetic_pipeline.c - recordings of noise through all models, as ingest walks them, with a null sink at the end.
 *
 *     each recording    windows of 10 s -> classes -> vectors of voices -> speakers -> their vectors for names
 *     all of them       windows of 30 s through the decoder's slots, refilled as soon as a window ends; times of words
 *     each recording    passages -> vectors
 *
 * Made-up weights hear nothing in noise. So what they find is written over where it decides how much there is to do: two
 * people take turns of three seconds, now and then both at once; a window says 60 to 140 tokens, drawn from a seed; a minute
 * has 267 tokens of text in passages of 64 to 256. Those are what cost.c counts with, an hour of speech as the planner sees it.
 *
 * On a device every stage is waited for, so that its seconds are its own; and one round runs before the clock does, in which
 * programs are recorded.
 */
#include "pipeline/bench/synthetic_pipeline.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audio/mel.h"
#include "pipeline/bench/machine.h"
#include "pipeline/session/fit.h"
#include "pipeline/speakers/diarize.h"
#include "runtime/arena.h"
#include "speech/windows.h"

enum {
    RATE = 16000,
    DEVICE_SECONDS = 3600,
    CPU_SECONDS = 60,
    RECORDING_SECONDS = 600, /* of each, at most */
    WARM_SECONDS = 35,
    LEAST_TOKENS = 60, /* that a window says; 100 in the mean */
    MORE_TOKENS = 81,
    LEAST_PASSAGE = 64,
    MORE_PASSAGE = 193,
    TEXT_TOKENS = 16000, /* of an hour */
    LOOK_AROUND = 16,    /* steps of the decoder between two looks */
    REFILL_PART = 8      /* windows are encoded when this part of the slots is free */
};

static const char full_house[] = "distil-large-v3,segmentation-3.0,resnet34,ecapa,gte-qwen2-1.5b";

typedef struct rig {
    const es_synthetic_pipeline_options *o;
    es_lineup lineup;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_whisper *whisper; /* whatever the names name; NULL: none of that kind */
    es_embedder *embedder;
    es_diarize_models voices;
    es_front *front, *voice_front;
    int16_t *noise; /* [RECORDING_SECONDS * RATE], what all recordings are made of */
    int64_t n_noise;

    /* the speech model's */
    es_whisper_window *windows; /* [windows] */
    float *pcm;                 /* [windows, ES_MEL_WINDOW_SAMPLES] */
    bool *ended, *busy;         /* [slots] */
    es_whisper_output said;
    int start_frame[ES_WHISPER_POSITIONS + 1];
    float probability[ES_WHISPER_POSITIONS + 1];

    /* the text encoder's */
    int32_t *ids;
    int64_t *bounds;
    float *vectors;

    uint64_t most_device, most_anonymous, free_before;
} rig;

/* What one pass took. */
typedef struct times {
    es_diarize_times voices;
    double encode, decode, align, text;
    int64_t steps, slot_steps; /* of the decoder, while windows waited */
} times;

/* ---- numbers ---- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 .. n - 1, the same for the same key. */
static int drawn(uint64_t key, int n)
{
    return (int)(mix((key + 1) * 0x9E3779B97F4A7C15u) % (uint64_t)n);
}

/* ---- models ---- */

static int add_tiny(rig *g, const char *name, es_err *err)
{
    es_lineup_model *m = NULL;
    int rc = es_lineup_new(&m, &g->lineup, err);

    if (rc != ES_OK) return rc;
    snprintf(m->name, sizeof m->name, "%s", name);
    if (!strcmp(name, "two-layers")) {
        m->kind = ES_LINEUP_WHISPER;
        m->whisper_dims = (es_whisper_dims){.d_model = 64,
                                            .heads = 1,
                                            .encoder_layers = 2,
                                            .decoder_layers = 2,
                                            .n_mels = 80,
                                            .vocab = 51865,
                                            .multilingual = true,
                                            .n_languages = 99};
    } else {
        m->kind = ES_LINEUP_EMBEDDER;
        m->embedder_dims = (es_embedder_dims){.qwen2 = true, .d_model = 128, .heads = 4, .kv_heads = 2, .head_dim = 32, .layers = 2,
                                              .mlp = 352, .vocab = 512, .positions = 512, .longest = 512, .theta = 1e6, .eps = 1e-6f,
                                              .mask = ES_MASK_NONE, .pooling = ES_POOL_LAST};
    }
    return ES_OK;
}

static int add_names(rig *g, const char *names, es_err *err)
{
    char name[64];
    int rc = ES_OK;

    for (const char *p = names; *p && rc == ES_OK;) {
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : (int)sizeof name - 1, p);
        p += n + (p[n] == ',');
        if (!*name) continue;
        bool tiny = !strcmp(name, "two-layers") || !strcmp(name, "two-layers-text");
        rc = tiny ? add_tiny(g, name, err) : es_lineup_add_presets(&g->lineup, name, err);
    }
    if (rc == ES_OK && g->lineup.n == 0) rc = es_fail(err, ES_EARG, "no model is named");
    return rc;
}

/* One of a kind; of networks for voices two, of which the second is for names. The end of text is never said, or every window
 * would end as chance has it. */
static int check_names(rig *g, es_err *err)
{
    int n[4] = {0};

    for (int i = 0; i < g->lineup.n; i++) {
        es_lineup_model *m = g->lineup.at[i];
        if (++n[m->kind] > (m->kind == ES_LINEUP_SPEAKER ? 2 : 1))
            return es_fail(err, ES_EARG, "%s is one too many: the pipeline has one speech model, one segmentation, one text encoder, and two networks "
                           "that know voices", m->name);
        if (m->kind == ES_LINEUP_WHISPER) m->suppress[m->n_suppress++] = es_whisper_ids_of(&m->whisper_dims).eot;
    }
    return ES_OK;
}

/* The network that tells speakers apart is the one that can; what is left is for names. */
static void give_roles(rig *g)
{
    for (int i = 0; i < g->lineup.n; i++) {
        es_lineup_model *m = g->lineup.at[i];
        bool names = m->kind == ES_LINEUP_SPEAKER && m->speaker_dims.kind == ES_SPEAKER_ECAPA;
        if (m->kind == ES_LINEUP_WHISPER) g->whisper = m->whisper;
        if (m->kind == ES_LINEUP_EMBEDDER) g->embedder = m->embedder;
        if (m->kind == ES_LINEUP_PYANNET) g->voices.segmentation = m->pyannet;
        if (m->kind == ES_LINEUP_SPEAKER && !names && !g->voices.diarizer) g->voices.diarizer = m->speaker;
        else if (m->kind == ES_LINEUP_SPEAKER) g->voices.voice = m->speaker;
    }
}

static int settled(rig *g, double *at, es_err *err)
{
    es_fault why = {0};
    int fault = es_device_sync(g->device, &why);

    *at = es_machine_now();
    return fault ? es_fail(err, ES_EDEVICE, "%s", why.text) : ES_OK;
}

/* Memory is looked at between stages. */
static void look(rig *g)
{
    es_device_facts facts;
    uint64_t own = es_machine_anonymous_bytes();

    if (own > g->most_anonymous) g->most_anonymous = own;
    if (g->o->backend == ES_CPU) return;
    es_device_describe(g->device, &facts);
    uint64_t taken = g->free_before > facts.bytes_free ? g->free_before - facts.bytes_free : 0;
    if (taken > g->most_device) g->most_device = taken;
}

static int say(rig *g, const char *stage, double fraction, es_err *err)
{
    look(g);
    if (g->o->tell && g->o->tell(g->o->user, stage, fraction)) return es_fail(err, ES_ECANCELLED, "cancelled");
    return ES_OK;
}

static int room_of_host(rig *g, es_err *err)
{
    es_whisper_limits w = g->whisper ? es_whisper_limits_of(g->whisper) : (es_whisper_limits){.windows = 1, .slots = 1};
    size_t tokens = RECORDING_SECONDS * TEXT_TOKENS / 3600 + LEAST_PASSAGE + MORE_PASSAGE, texts = tokens / LEAST_PASSAGE + 1;
    int rc = ES_OK;

    g->n_noise = (int64_t)RECORDING_SECONDS * RATE;
    g->noise = malloc((size_t)g->n_noise * sizeof *g->noise);
    g->windows = calloc((size_t)w.windows, sizeof *g->windows);
    g->pcm = malloc((size_t)w.windows * ES_MEL_WINDOW_SAMPLES * sizeof *g->pcm);
    g->ended = calloc((size_t)w.slots, sizeof *g->ended);
    g->busy = calloc((size_t)w.slots, sizeof *g->busy);
    g->ids = malloc(tokens * sizeof *g->ids);
    g->bounds = malloc((texts + 1) * sizeof *g->bounds);
    g->vectors = malloc(texts * (g->embedder ? (size_t)es_embedder_dims_of(g->embedder)->d_model : 1) * sizeof *g->vectors);
    if (!g->noise || !g->windows || !g->pcm || !g->ended || !g->busy || !g->ids || !g->bounds || !g->vectors)
        return es_fail(err, ES_ENOMEM, "not enough memory for made-up recordings");
    for (int64_t i = 0; i < g->n_noise; i++) g->noise[i] = (int16_t)((int)(mix((uint64_t)i * 0x9E3779B97F4A7C15u) % 6001) - 3000);
    if (g->voices.diarizer) rc = es_front_open(&g->front, es_speaker_front(es_speaker_dims_of(g->voices.diarizer)), err);
    if (g->voices.voice && rc == ES_OK) rc = es_front_open(&g->voice_front, es_speaker_front(es_speaker_dims_of(g->voices.voice)), err);
    g->voices.front = g->front, g->voices.voice_front = g->voice_front;
    return rc;
}

static void rig_close(rig *g)
{
    es_front_close(g->front);
    es_front_close(g->voice_front);
    es_lineup_done(&g->lineup);
    es_arena_close(g->arena);
    es_plan_close(g->plan);
    es_device_close(g->device);
    free(g->noise), free(g->windows), free(g->pcm), free(g->ended), free(g->busy);
    free(g->ids), free(g->bounds), free(g->vectors);
}

static int rig_open(rig *g, es_figures *f, es_err *err)
{
    const es_synthetic_pipeline_options *o = g->o;
    es_fit_options fit = {.backend = o->backend, .threads = o->threads, .budget = o->budget, .least = o->least};
    es_plan_totals totals;
    es_device_facts facts;
    es_fault why = {0};
    int rc = add_names(g, o->with ? o->with : full_house, err);

    if (rc == ES_OK) rc = check_names(g, err);
    if (rc == ES_OK) rc = es_fit(&g->plan, &g->lineup, &fit, err); /* refused before threads and memory are taken */
    if (rc == ES_OK && es_device_open(&g->device, o->backend, o->index, o->threads, NULL, &why))
        rc = es_fail(err, ES_EDEVICE, "%s", why.text[0] ? why.text : "the device cannot be opened");
    if (rc != ES_OK) return rc;
    es_device_describe(g->device, &facts);
    g->free_before = facts.bytes_free;
    snprintf(f->device, sizeof f->device, "%s", facts.name);
    rc = es_arena_open(&g->arena, g->plan, g->device, err);
    if (rc == ES_OK) rc = es_arena_seed(g->arena, 1, err);
    if (rc == ES_OK) rc = es_lineup_start(&g->lineup, g->arena, err);
    if (rc == ES_OK) {
        give_roles(g);
        rc = room_of_host(g, err);
    }
    es_plan_totals_get(g->plan, &totals);
    f->arena_bytes = totals.arena, f->plan_bytes = totals.total, f->budget_bytes = o->budget;
    return rc;
}

/* ---- sound ---- */

typedef struct recording {
    const rig *g;
    int64_t from; /* in the noise */
} recording;

/* As a spool reads it: 16 bits in, floats out. */
static int read_noise(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    const recording *r = user;

    (void)err;
    for (int64_t i = 0; i < n;) {
        int64_t at = (first + r->from + i) % r->g->n_noise, k;
        if (at < 0) at += r->g->n_noise;
        k = n - i < r->g->n_noise - at ? n - i : r->g->n_noise - at;
        for (int64_t j = 0; j < k; j++) out[i + j] = (float)r->g->noise[at + j] * 0x1p-15f;
        i += k;
    }
    return ES_OK;
}

/* ---- who speaks ---- */

/* Classes of a conversation: one and the other for three seconds each, every tenth stretch both. */
static void converse(es_diarize_windows *w)
{
    static const uint8_t class_of[4] = {1, 2, 1, 4};

    for (int64_t c = 0; c < w->n; c++)
        for (int f = 0; f < ES_WINDOW_FRAMES; f++) {
            int64_t stretch = (c * w->step + (int64_t)f * ES_FRAME_STEP) / (3 * RATE);
            w->classes[c * ES_WINDOW_FRAMES + f] = class_of[stretch % 10 == 9 ? 3 : stretch % 2];
        }
}

static int hear(rig *g, const es_sound *sound, times *t, es_err *err)
{
    es_diarize_options d = es_diarize_defaults();
    es_diarize_windows w = {0};
    es_diarization who = {0};
    int rc = ES_OK;

    d.times = &t->voices;
    if (!g->voices.segmentation) return ES_OK;
    rc = es_diarize_segment(&w, &g->voices, sound, &d, err);
    if (rc == ES_OK && g->voices.diarizer) {
        converse(&w);
        rc = es_diarize_embed(&w, &g->voices, sound, &d, err);
        if (rc == ES_OK) rc = es_diarize_conclude(&who, &w, &g->voices, &d, err);
        if (rc == ES_OK) rc = es_diarize_voices(&who, &g->voices, sound, &d, err);
    }
    es_diarization_done(&who);
    es_diarize_windows_done(&w);
    return rc;
}

/* ---- what is said ---- */

/* Windows into the slots that are free. */
static int encode_some(rig *g, const recording *all, int64_t a_recording, int64_t *next, int64_t n_windows, times *t, es_err *err)
{
    es_whisper_limits limits = es_whisper_limits_of(g->whisper);
    es_whisper_ids ids = es_whisper_ids_of(es_whisper_dims_of(g->whisper));
    bool multilingual = es_whisper_dims_of(g->whisper)->multilingual;
    int32_t prompt[4] = {ids.sot};
    int n_prompt = 1, n = 0, rc = ES_OK;
    double began = es_machine_now(), ended;

    for (int s = 0; s < limits.slots && n < limits.windows && *next + n < n_windows && rc == ES_OK; s++) {
        int64_t i = *next + n;
        recording r = all[i / a_recording];
        es_sound sound = {.read = read_noise, .user = &r, .samples = g->n_noise};
        float *pcm = g->pcm + (size_t)n * ES_MEL_WINDOW_SAMPLES;
        if (g->busy[s]) continue;
        rc = es_sound_read(&sound, i % a_recording * 30 * RATE - ES_MEL_WINDOW_CONTEXT, ES_MEL_WINDOW_SAMPLES, pcm, err);
        g->windows[n++] = (es_whisper_window){.pcm = pcm, .frames = ES_WHISPER_FRAMES, .top = NAN, .fill = 0, .slot = s};
    }
    if (rc != ES_OK || n == 0) return rc;
    es_whisper_encode(g->whisper, g->windows, n);
    rc = settled(g, &ended, err);
    t->encode += ended - began;
    if (multilingual) prompt[n_prompt++] = ids.lang_begin, prompt[n_prompt++] = ids.transcribe;
    prompt[n_prompt++] = ids.no_timestamps;
    for (int i = 0; i < n; i++) {
        int slot = g->windows[i].slot;
        es_whisper_request q = {.slot = slot,
                                .prompt = prompt,
                                .n_prompt = n_prompt,
                                .max_tokens = g->o->tokens ? g->o->tokens : LEAST_TOKENS + drawn((uint64_t)(*next + i), MORE_TOKENS)};
        es_whisper_begin(g->whisper, &q);
        g->busy[slot] = true;
    }
    *next += n;
    return rc;
}

/* The words of a window that has ended, and their times. */
static int take(rig *g, int slot, times *t, es_err *err)
{
    const es_whisper_dims *d = es_whisper_dims_of(g->whisper);
    es_whisper_ids ids = es_whisper_ids_of(d);
    int32_t sot[3] = {ids.sot, ids.lang_begin, ids.transcribe};
    double began = es_machine_now();
    int rc = ES_OK;

    es_whisper_take(g->whisper, slot, &g->said);
    g->busy[slot] = false;
    if (d->n_pairs == 0 || g->said.n == 0) return ES_OK;
    for (int i = 0; i < g->said.n; i++) g->said.tokens[i] %= ids.eot; /* words, whatever it was */
    rc = es_whisper_align(g->whisper, slot, sot, d->multilingual ? 3 : 1, g->said.tokens, g->said.n, ES_WHISPER_FRAMES, g->start_frame,
                          g->probability, err);
    t->align += es_machine_now() - began;
    return rc;
}

static int transcribe(rig *g, const recording *all, int64_t a_recording, int64_t n_windows, times *t, es_err *err)
{
    int S = es_whisper_limits_of(g->whisper).slots, W = es_whisper_limits_of(g->whisper).windows;
    int enough = W == 1 ? 1 : S / REFILL_PART < 1 ? 1 : S / REFILL_PART > W ? W : S / REFILL_PART;
    int64_t next = 0, over = 0;
    int rc = ES_OK;

    while (over < n_windows && rc == ES_OK) {
        int working = 0;
        for (int s = 0; s < S; s++) working += g->busy[s];
        while (rc == ES_OK && next < n_windows && S - working >= (working ? enough : 1)) {
            int64_t before = next;
            rc = encode_some(g, all, a_recording, &next, n_windows, t, err);
            working += (int)(next - before);
        }
        if (rc != ES_OK) return rc;
        int64_t ran = es_whisper_steps_run(g->whisper);
        double began = es_machine_now(), ended;
        es_whisper_steps_most(g->whisper, g->ended, LOOK_AROUND);
        rc = settled(g, &ended, err);
        t->decode += ended - began;
        ran = es_whisper_steps_run(g->whisper) - ran;
        if (next < n_windows) t->steps += ran, t->slot_steps += ran * working;
        for (int s = 0; s < S && rc == ES_OK; s++) {
            if (!g->ended[s] || !g->busy[s]) continue;
            rc = take(g, s, t, err);
            over++;
        }
        if (rc == ES_OK) rc = say(g, "transcribing", (double)over / (double)n_windows, err);
    }
    return rc;
}

/* ---- what it means ---- */

static int embed(rig *g, int index, int seconds, times *t, es_err *err)
{
    int vocab = es_embedder_dims_of(g->embedder)->vocab, longest = es_embedder_longest(g->embedder);
    int64_t wanted = (int64_t)seconds * TEXT_TOKENS / 3600 + 1, at = 0, n = 0;
    double began = es_machine_now();

    for (g->bounds[0] = 0; at < wanted; g->bounds[++n] = at) {
        int tokens = LEAST_PASSAGE + drawn((uint64_t)(index * 4096 + n), MORE_PASSAGE);
        if (tokens > longest) tokens = longest;
        for (int i = 0; i < tokens; i++, at++) g->ids[at] = drawn((uint64_t)at, vocab);
    }
    int rc = es_embedder_run(g->embedder, g->ids, g->bounds, n, g->vectors, NULL, err);
    t->text += es_machine_now() - began;
    return rc;
}

/* ---- the walk ---- */

static int walk(rig *g, int recordings, int seconds, times *t, es_err *err)
{
    int64_t a_recording = (seconds + 29) / 30, n_windows = a_recording * recordings;
    recording *all = calloc((size_t)recordings, sizeof *all);
    int rc = all ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for %d recordings", recordings);

    for (int i = 0; i < recordings && rc == ES_OK; i++) {
        all[i] = (recording){.g = g, .from = (int64_t)i * 99991};
        es_sound sound = {.read = read_noise, .user = &all[i], .samples = (int64_t)seconds * RATE};
        rc = hear(g, &sound, t, err);
        if (rc == ES_OK) rc = say(g, "hearing", (double)(i + 1) / recordings, err);
    }
    if (rc == ES_OK && g->whisper) rc = transcribe(g, all, a_recording, n_windows, t, err);
    for (int i = 0; i < recordings && rc == ES_OK && g->embedder; i++) {
        rc = embed(g, i, seconds, t, err);
        if (rc == ES_OK) rc = say(g, "embedding", (double)(i + 1) / recordings, err);
    }
    free(all);
    return rc;
}

typedef struct fills {
    es_fill windows, segments, rows, voice_rows, tokens;
} fills;

static fills fills_of(const rig *g)
{
    fills f = {{0}, {0}, {0}, {0}, {0}};

    if (g->whisper) f.windows = es_whisper_fill(g->whisper);
    if (g->voices.segmentation) f.segments = es_pyannet_fill(g->voices.segmentation);
    if (g->voices.diarizer) f.rows = es_speaker_fill(g->voices.diarizer);
    if (g->voices.voice) f.voice_rows = es_speaker_fill(g->voices.voice);
    if (g->embedder) f.tokens = es_embedder_fill(g->embedder);
    return f;
}

static void write_stages(es_figures *f, const rig *g, const times *t, const fills *was)
{
    fills is = fills_of(g);
    int slots = g->whisper ? es_whisper_limits_of(g->whisper).slots : 1;

    if (g->voices.segmentation) es_figures_add(f, "find speech", t->voices.segment, es_fill_since(was->segments, is.segments));
    if (g->voices.segmentation && g->voices.diarizer) {
        es_figures_add(f, "hear voices", t->voices.embed, es_fill_since(was->rows, is.rows));
        es_figures_add(f, "tell them apart", t->voices.cluster, -1);
        if (g->voices.voice) es_figures_add(f, "voices for names", t->voices.voices, es_fill_since(was->voice_rows, is.voice_rows));
    }
    if (g->whisper) {
        es_figures_add(f, "mel and encoder", t->encode, es_fill_since(was->windows, is.windows));
        es_figures_add(f, "decoder", t->decode, t->steps ? (double)t->slot_steps / ((double)t->steps * slots) : -1);
        es_figures_add(f, "word alignment", t->align, -1);
    }
    if (g->embedder) es_figures_add(f, "text vectors", t->text, es_fill_since(was->tokens, is.tokens));
}

static int measure(rig *g, es_figures *f, es_err *err)
{
    int all = g->o->seconds > 0 ? g->o->seconds : g->o->backend == ES_CPU ? CPU_SECONDS : DEVICE_SECONDS;
    int recordings = (all + RECORDING_SECONDS - 1) / RECORDING_SECONDS, each;
    times warm = {.encode = 0}, t = {.encode = 0};
    uint64_t taken = es_device_allocations(g->device);
    double began, cpu;
    es_energy energy;
    int rc = ES_OK;

    if (recordings == 1 && all >= 60) recordings = 2; /* windows of several share the slots */
    each = all / recordings;
    if (g->o->backend != ES_CPU) rc = walk(g, 1, each < WARM_SECONDS ? each : WARM_SECONDS, &warm, err);
    if (rc != ES_OK) return rc;
    fills was = fills_of(g);
    es_machine_forget_peak();
    es_energy_open(&energy, g->o->backend);
    began = es_machine_now(), cpu = es_machine_cpu_seconds();
    rc = walk(g, recordings, each, &t, err);
    f->seconds = es_machine_now() - began, f->cpu_seconds = es_machine_cpu_seconds() - cpu;
    f->joules = es_energy_joules(&energy);
    snprintf(f->energy, sizeof f->energy, "%s", energy.from);
    es_energy_close(&energy);
    look(g);
    f->recordings = recordings, f->audio_seconds = (double)recordings * each;
    f->allocations = es_device_allocations(g->device) - taken;
    f->peak_bytes = es_machine_peak_bytes(), f->anonymous_bytes = g->most_anonymous, f->device_bytes = g->most_device;
    write_stages(f, g, &t, &was);
    return rc;
}

int es_synthetic_pipeline(const es_synthetic_pipeline_options *o, es_figures *out, es_err *err)
{
    rig *g = calloc(1, sizeof *g);
    double began = es_machine_now();
    int rc = g ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = (es_figures){.synthetic = true};
    es_figures_sign(out);
    snprintf(out->what, sizeof out->what, "%s", o->with ? o->with : full_house);
    if (g) g->o = o;
    if (rc == ES_OK) rc = rig_open(g, out, err);
    out->load_seconds = es_machine_now() - began;
    if (rc == ES_OK) rc = measure(g, out, err);
    if (g) rig_close(g);
    free(g);
    return rc;
}
