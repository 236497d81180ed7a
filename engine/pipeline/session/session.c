/*
 * session.c - from a folder of packs to models that are ready to run.
 *
 *     packs -> sizes and tokens                           es_session_open: headers and token tables only
 *     sizes -> plan -> device -> arena -> weights -> run  es_session_ready: once, when the first file needs it
 *
 * The plan is made before memory is taken, so that a budget that is too small, or a pack whose tensors do not fit its
 * sizes, costs nothing. Packs are mapped; after the weights have been copied into the arena the maps are closed, or every
 * weight would be resident twice.
 */
#define _GNU_SOURCE
#include "pipeline/session/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pipeline/session/fit.h"
#include "pipeline/session/packs.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

struct es_session {
    es_device_choice where;
    uint64_t budget;
    int threads;
    es_session_limits wish;
    es_lineup lineup;
    int at[ES_N_STAGES]; /* which model of the lineup serves the stage; -1: none, or one with a plan of its own */
    es_maker maker[ES_N_STAGES], plda;
    char *plda_path, *apart_path; /* of a text encoder with a plan of its own */
    es_device_choice apart;        /* where that is */
    bool declined[ES_N_STAGES]; /* asked to be left out */
    es_embedding *embedding;
    int embedder_texts; /* of a step, at most; 0: as planned */
    es_costs costs; /* measured, beside the packs */
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_transcriber *transcriber;
    es_front *front[ES_N_STAGES]; /* of the stages that know voices; NULL where a stage before it has the same model */
    bool ready;
};

static int open_session(es_session **out, const es_session_options *o, bool must_be_there, es_err *err);

/* ---- devices ---- */

uint64_t es_session_default_budget(es_backend backend, uint64_t bytes_free)
{
    const uint64_t most = 16000000000u, spare = 500000000u;

    if (backend == ES_CPU) return 0;
    if (!bytes_free) return most; /* planned without the device */
    uint64_t room = bytes_free > spare ? bytes_free - spare : 1;
    return room < most ? room : most;
}

int es_session_choose(es_device_choice *out, const char *device, bool must_be_there, es_err *err)
{
    return es_session_choose_named(out, device, "--device", must_be_there, err);
}

int es_session_choose_named(es_device_choice *out, const char *device, const char *named, bool must_be_there, es_err *err)
{
    es_fault why = {0};
    char shown[128], *end = NULL;
    long index = 0;
    bool cuda = device && !strncmp(device, "cuda", 4) && (!device[4] || device[4] == ':');

    *out = (es_device_choice){.backend = ES_CPU};
    if (!device || !strcmp(device, "auto")) {
        if (es_device_count(ES_CUDA, &why) > 0) out->backend = ES_CUDA;
        else snprintf(out->why_cpu, sizeof out->why_cpu, "%s", why.text[0] ? why.text : "there is no CUDA device");
        return ES_OK;
    }
    if (!strcmp(device, "cpu")) return ES_OK;
    es_printable(shown, sizeof shown, device);
    if (cuda && device[4]) index = strtol(device + 5, &end, 10);
    if (!cuda || (end && (end == device + 5 || *end || index < 0 || index > 1023)))
        return es_fail(err, ES_EARG, "%s: a device is auto, cpu, cuda or cuda:N, not %s", named, shown);
    out->backend = ES_CUDA;
    out->index = (int)index;
    if (must_be_there) {
        int n = es_device_count(ES_CUDA, &why);
        if (n <= 0)
            return es_fail(err, ES_EDEVICE, "%s %s: %s", named, shown, why.text[0] ? why.text : "there is no CUDA device");
        if (index >= n)
            return es_fail(err, ES_EDEVICE, "%s %s: there %s %d CUDA device%s, counted from 0", named, shown, n == 1 ? "is" : "are", n,
                           n == 1 ? "" : "s");
    }
    return ES_OK;
}

/* ---- the plan ---- */

/* Prints the plan p into memory. */
static int plan_look(const es_plan *p, es_session_look look, char **text, size_t *bytes, es_err *err)
{
    if (look == ES_LOOK_JSON) {
        es_json_out o;
        es_json_begin(&o, 2);
        es_plan_json(p, &o);
        if (o.failed) {
            free(o.text);
            return es_fail(err, ES_ENOMEM, "not enough memory to print the plan");
        }
        *text = o.text, *bytes = o.n;
        return ES_OK;
    }
    FILE *f = open_memstream(text, bytes);
    if (!f) return es_fail(err, ES_ENOMEM, "not enough memory to print the plan");
    if (look == ES_LOOK_SVG) es_plan_svg(p, f);
    else if (look == ES_LOOK_ROW) es_plan_row(p, f);
    else es_plan_print(p, f);
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(*text);
        *text = NULL;
        return es_fail(err, ES_ENOMEM, "not enough memory to print the plan");
    }
    return ES_OK;
}

/* The second plan of a text encoder that lives on another device, behind the text of the first. */
static int plan_apart(const es_session *s, int threads, char **text, size_t *bytes, es_err *err)
{
    const es_fit_options fit = {.backend = s->apart.backend, .threads = threads, .budget = es_session_default_budget(s->apart.backend, 0)};
    char *more = NULL, *both = NULL;
    size_t n = 0;
    es_lineup l = {0};
    es_plan *p = NULL;
    int rc = es_lineup_add_pack(&l, s->apart_path, err);

    if (rc == ES_OK) rc = es_fit(&p, &l, &fit, err);
    if (rc == ES_OK) rc = plan_look(p, ES_LOOK_TEXT, &more, &n, err);
    if (rc == ES_OK) {
        int size = asprintf(&both, "%s\n%s", *text, more);
        if (size < 0) rc = es_fail(err, ES_ENOMEM, "not enough memory to print the plan");
        else free(*text), *text = both, *bytes = (size_t)size;
    }
    free(more);
    es_lineup_done(&l);
    es_plan_close(p);
    return rc;
}

int es_session_plan(const es_session_options *o, const char *with, es_session_look look, char **text, size_t *bytes,
                    es_err *err)
{
    es_session *s = NULL;
    es_lineup named = {0}, *l = &named;
    es_device_choice where;
    es_plan *p = NULL;
    int rc;

    *text = NULL, *bytes = 0;
    rc = es_session_choose(&where, o->device, false, err);
    if (rc == ES_OK && with) {
        rc = es_lineup_add_presets(&named, with, err);
    } else if (rc == ES_OK) {
        rc = open_session(&s, o, false, err);
        if (rc == ES_OK) l = &s->lineup;
    }
    const es_fit_options fit = {.backend = where.backend,
                                .threads = o->threads,
                                .budget = o->budget ? o->budget : es_session_default_budget(where.backend, 0),
                                .wish = o->limits,
                                .costs = s ? &s->costs : NULL,
                                .least = o->least};
    if (rc == ES_OK) rc = es_fit(&p, l, &fit, err);
    if (rc == ES_OK) rc = plan_look(p, look, text, bytes, err);
    if (rc == ES_OK && s && s->apart_path && look == ES_LOOK_TEXT) rc = plan_apart(s, o->threads, text, bytes, err);
    es_lineup_done(&named);
    if (s) es_lineup_leave(&s->lineup);
    es_plan_close(p);
    es_session_close(s);
    return rc;
}

/* ---- a session ---- */

/* A stage's pack becomes a model of the lineup, once for all the stages it serves. */
static int add_stage(es_session *s, enum es_stage stage, const es_pack_entry *e, es_err *err)
{
    snprintf(s->maker[stage].name, sizeof s->maker[stage].name, "%s", e->name);
    s->maker[stage].hash = e->hash;
    for (int i = 0; i < (int)stage; i++) {
        if (!s->maker[i].name[0] || memcmp(&s->maker[i].hash, &e->hash, sizeof e->hash)) continue;
        s->at[stage] = s->at[i];
        return ES_OK;
    }
    s->at[stage] = s->lineup.n;
    return es_lineup_add_pack(&s->lineup, e->path, err);
}

/* The text encoder: in the session's plan, or where it is to run elsewhere on its own. */
static int add_embedder(es_session *s, const es_session_options *o, const es_pack_entry *e, bool must_be_there, es_err *err)
{
    es_device_choice where = s->where;
    int rc = o->embedder_device ? es_session_choose_named(&where, o->embedder_device, "--embedder-device", must_be_there, err) : ES_OK;

    if (rc != ES_OK) return rc;
    if (where.backend == s->where.backend && where.index == s->where.index) {
        rc = add_stage(s, ES_STAGE_EMBEDDER, e, err);
        return rc == ES_OK ? es_embedding_within(&s->embedding, s->lineup.at[s->at[ES_STAGE_EMBEDDER]]->pack, err) : rc;
    }
    s->apart = where;
    s->apart_path = strdup(e->path);
    if (!s->apart_path) return es_fail(err, ES_ENOMEM, "not enough memory");
    const es_embedding_options apart = {.models = e->path, .device = o->embedder_device, .device_from = "--embedder-device",
                                        .threads = o->threads, .texts = o->embedder_texts};
    s->maker[ES_STAGE_EMBEDDER].hash = e->hash;
    snprintf(s->maker[ES_STAGE_EMBEDDER].name, sizeof s->maker[0].name, "%s", e->name);
    return es_embedding_open(&s->embedding, &apart, err);
}

static int add_plda(es_session *s, const es_packs *packs, const es_pack_entry *diarizer, es_err *err)
{
    const es_pack_entry *e = es_packs_find(packs, "plda");

    if (!e || !diarizer || strcmp(diarizer->architecture, "resnet34")) return ES_OK;
    snprintf(s->plda.name, sizeof s->plda.name, "%s", e->name);
    s->plda.hash = e->hash;
    s->plda_path = strdup(e->path);
    return s->plda_path ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");
}

/* Chooses the packs and enters them in the lineup, in the order of the stages. */
static int choose_packs(es_session *s, const es_session_options *o, bool must_be_there, es_err *err)
{
    const char *const name[ES_N_STAGES] = {o->asr, o->segmentation, o->diarizer, o->voice, o->embedder};
    const es_pack_entry *e[ES_N_STAGES] = {NULL};
    es_packs packs = {0};
    es_err why = {0};
    int rc = es_packs_scan(&packs, o->models, err);

    if (rc == ES_OK) rc = es_packs_choose_asr(&packs, o->asr, &e[ES_STAGE_ASR], err);
    for (enum es_stage i = ES_STAGE_SEGMENTATION; i < ES_N_STAGES && rc == ES_OK; i++) rc = es_packs_choose(&packs, i, name[i], &e[i], err);
    if (!e[ES_STAGE_VOICE] && !o->voice) e[ES_STAGE_VOICE] = e[ES_STAGE_DIARIZER];
    for (size_t i = 0; i < packs.n && rc == ES_OK; i++)
        if (packs.at[i].fault) es_log(ES_LOG_WARN, "%s; it is passed over", packs.at[i].fault);
    for (enum es_stage i = 0; i < ES_N_STAGES; i++) s->declined[i] = name[i] && !strcmp(name[i], "none");
    for (enum es_stage i = 0; i < ES_STAGE_EMBEDDER && rc == ES_OK; i++)
        if (e[i]) rc = add_stage(s, i, e[i], err);
    if (rc == ES_OK && e[ES_STAGE_EMBEDDER]) rc = add_embedder(s, o, e[ES_STAGE_EMBEDDER], must_be_there, err);
    if (rc == ES_OK && es_costs_read(&s->costs, o->models, s->where.backend, &why) != ES_OK)
        es_log(ES_LOG_WARN, "%s; batches are estimated", why.text);
    if (rc == ES_OK) rc = add_plda(s, &packs, e[ES_STAGE_DIARIZER], err);
    es_packs_done(&packs);
    return rc;
}

static int open_session(es_session **out, const es_session_options *o, bool must_be_there, es_err *err)
{
    es_session *s = calloc(1, sizeof *s);
    int rc;

    *out = NULL;
    if (!s) return es_fail(err, ES_ENOMEM, "not enough memory");
    for (int i = 0; i < ES_N_STAGES; i++) s->at[i] = -1;
    s->budget = o->budget;
    s->threads = o->threads;
    s->wish = o->limits;
    s->embedder_texts = o->embedder_texts;
    rc = es_session_choose(&s->where, o->device, must_be_there, err);
    if (rc == ES_OK) rc = choose_packs(s, o, must_be_there, err);
    if (rc == ES_OK) {
        *out = s;
        s = NULL; /* the caller's from here on */
    }
    es_session_close(s);
    return rc;
}

int es_session_open(es_session **out, const es_session_options *o, es_err *err)
{
    return open_session(out, o, true, err);
}

static int device_fault(const es_fault *why, es_err *err)
{
    return es_fail(err, ES_EDEVICE, "%s", why->text[0] ? why->text : "the device cannot be opened");
}

/* Stages that no pack serves are said to be left out, once and in one sentence; those that were declined are not. */
static void tell_missing(const es_session *s)
{
    bool speakers = es_session_has(s, ES_STAGE_SEGMENTATION) && es_session_has(s, ES_STAGE_DIARIZER);
    bool declined = s->declined[ES_STAGE_SEGMENTATION] || s->declined[ES_STAGE_DIARIZER];
    const char *who = speakers || declined ? NULL : "who speaks is not told: that takes a segmentation and a network for voices";
    const char *what = es_session_has(s, ES_STAGE_EMBEDDER) || s->declined[ES_STAGE_EMBEDDER]
                           ? NULL
                           : "nothing is made to be searched by its meaning: that takes a text encoder";

    if (who || what)
        es_log(ES_LOG_NOTE, "the folder of models has no packs for all stages; %s%s%s", who ? who : "", who && what ? "; " : "", what ? what : "");
}

static int open_fronts(es_session *s, es_err *err)
{
    static const enum es_stage stages[] = {ES_STAGE_DIARIZER, ES_STAGE_VOICE};
    int rc = ES_OK;

    for (size_t i = 0; i < sizeof stages / sizeof stages[0] && rc == ES_OK; i++) {
        const es_speaker_dims *dims = es_session_speaker_dims(s, stages[i]);
        if (dims && !es_session_front(s, stages[i])) rc = es_front_open(&s->front[stages[i]], es_speaker_front(dims), err);
    }
    return rc;
}

static int start_all(es_session *s, es_err *err)
{
    int rc = es_lineup_start(&s->lineup, s->arena, err);
    const es_lineup_model *asr = s->lineup.at[s->at[ES_STAGE_ASR]];

    if (rc == ES_OK) rc = es_transcriber_open(&s->transcriber, asr->whisper, asr->bpe, err);
    if (rc == ES_OK) rc = open_fronts(s, err);
    if (rc == ES_OK && s->at[ES_STAGE_EMBEDDER] >= 0) {
        const es_lineup_model *m = s->lineup.at[s->at[ES_STAGE_EMBEDDER]];
        es_embedder_limits limits = es_lineup_embedder_limits(m);
        if (s->embedder_texts > 0 && s->embedder_texts < limits.texts) limits.texts = s->embedder_texts;
        rc = es_embedding_bind(s->embedding, m->embedder, limits, err);
    }
    return rc;
}

int es_session_ready(es_session *s, es_err *err)
{
    es_device_facts facts;
    es_fault why = {0};
    es_fit_options fit = {.backend = s->where.backend, .threads = s->threads, .budget = s->budget, .wish = s->wish, .costs = &s->costs};
    int rc = ES_OK;

    if (s->ready) return ES_OK;
    if (s->plan || s->device) return es_fail(err, ES_EMODEL, "the models could not be made ready before; open the engine again");
    if (s->where.why_cpu[0]) es_log(ES_LOG_NOTE, "models run on the CPU: %s", s->where.why_cpu);
    tell_missing(s);
    if (s->where.backend == ES_CPU) /* what is refused is refused before threads and memory are taken */
        rc = es_fit(&s->plan, &s->lineup, &fit, err);
    if (rc == ES_OK && es_device_open(&s->device, s->where.backend, s->where.index, s->threads, NULL, &why)) rc = device_fault(&why, err);
    if (rc == ES_OK) es_device_describe(s->device, &facts);
    if (rc == ES_OK && !s->plan) {
        /* What is free no longer holds what this process took by opening the device. */
        uint64_t outside = es_backend_traits(fit.backend)->outside_bytes;
        if (!fit.budget) fit.budget = es_session_default_budget(fit.backend, facts.bytes_free + outside);
        rc = es_fit(&s->plan, &s->lineup, &fit, err);
    }
    if (rc == ES_OK) rc = es_arena_open(&s->arena, s->plan, s->device, err);
    if (rc == ES_OK) rc = es_arena_load(s->arena, err);
    if (rc == ES_OK) rc = start_all(s, err);
    if (rc == ES_OK && es_device_sync(s->device, &why)) rc = device_fault(&why, err);
    s->ready = rc == ES_OK;
    for (int i = 0; i < s->lineup.n && s->ready; i++)
        if (i == s->at[ES_STAGE_EMBEDDER]) es_embedding_tell(s->embedding, facts.name);
        else es_log(ES_LOG_INFO, "%s is loaded, on %s", s->lineup.at[i]->name, facts.name);
    if (rc == ES_OK && s->embedding && s->at[ES_STAGE_EMBEDDER] < 0) rc = es_embedding_ready(s->embedding, err);
    return rc;
}

void es_session_close(es_session *s)
{
    if (!s) return;
    es_transcriber_close(s->transcriber);
    for (int i = 0; i < ES_N_STAGES; i++) es_front_close(s->front[i]);
    es_embedding_close(s->embedding);
    es_lineup_done(&s->lineup);
    es_arena_close(s->arena);
    es_plan_close(s->plan);
    es_device_close(s->device);
    es_costs_done(&s->costs);
    free(s->plda_path);
    free(s->apart_path);
    free(s);
}

bool es_session_declined(const es_session *s, enum es_stage stage)
{
    return s->declined[stage];
}

bool es_session_has(const es_session *s, enum es_stage stage)
{
    return s->maker[stage].name[0] != 0;
}

es_maker es_session_maker(const es_session *s, enum es_stage stage)
{
    return s->maker[stage];
}

const char *es_session_plda(const es_session *s, es_maker *maker)
{
    if (maker) *maker = s->plda;
    return s->plda_path;
}

const char *es_session_asr_name(const es_session *s)
{
    return s->maker[ES_STAGE_ASR].name;
}

es_hash128 es_session_asr_hash(const es_session *s)
{
    return s->maker[ES_STAGE_ASR].hash;
}

static const es_lineup_model *model_of(const es_session *s, enum es_stage stage)
{
    return s->at[stage] >= 0 ? s->lineup.at[s->at[stage]] : NULL;
}

const es_whisper_dims *es_session_dims(const es_session *s)
{
    return &model_of(s, ES_STAGE_ASR)->whisper_dims;
}

const es_bpe *es_session_bpe(const es_session *s)
{
    return model_of(s, ES_STAGE_ASR)->bpe;
}

es_fill es_session_fill(const es_session *s, enum es_stage stage)
{
    const es_lineup_model *m = s->at[stage] >= 0 ? model_of(s, stage) : NULL;

    if (!s->ready || !m) return (es_fill){0};
    switch (m->kind) {
    case ES_LINEUP_WHISPER: return es_whisper_fill(m->whisper);
    case ES_LINEUP_PYANNET: return es_pyannet_fill(m->pyannet);
    case ES_LINEUP_SPEAKER: return es_speaker_fill(m->speaker);
    case ES_LINEUP_EMBEDDER: return es_embedder_fill(m->embedder);
    }
    return (es_fill){0};
}

es_embedding *es_session_embedding(es_session *s)
{
    return s->embedding;
}

es_whisper *es_session_whisper(es_session *s)
{
    return s->ready ? s->lineup.at[s->at[ES_STAGE_ASR]]->whisper : NULL;
}

es_transcriber *es_session_transcriber(es_session *s)
{
    return s->transcriber;
}

es_pyannet *es_session_pyannet(es_session *s)
{
    return s->ready && es_session_has(s, ES_STAGE_SEGMENTATION) ? model_of(s, ES_STAGE_SEGMENTATION)->pyannet : NULL;
}

es_speaker *es_session_speaker(es_session *s, enum es_stage stage)
{
    assert(stage == ES_STAGE_DIARIZER || stage == ES_STAGE_VOICE);
    return s->ready && es_session_has(s, stage) ? model_of(s, stage)->speaker : NULL;
}

const es_front *es_session_front(const es_session *s, enum es_stage stage)
{
    for (int i = 0; i < ES_N_STAGES && s->at[stage] >= 0; i++)
        if (s->front[i] && s->at[i] == s->at[stage]) return s->front[i];
    return NULL;
}

const es_speaker_dims *es_session_speaker_dims(const es_session *s, enum es_stage stage)
{
    assert(stage == ES_STAGE_DIARIZER || stage == ES_STAGE_VOICE);
    return es_session_has(s, stage) ? &model_of(s, stage)->speaker_dims : NULL;
}

es_session_limits es_session_limits_of(const es_session *s)
{
    es_session_limits limits = {0};

    for (int i = 0; i < s->lineup.n && s->ready; i++) {
        const es_lineup_model *m = s->lineup.at[i];
        if (m->kind == ES_LINEUP_WHISPER) limits.windows = m->step.windows, limits.slots = m->step.slots;
        if (m->kind == ES_LINEUP_PYANNET) limits.segments = m->step.segments;
        if (m->kind == ES_LINEUP_SPEAKER && !limits.frames) limits.frames = m->step.frames;
        if (m->kind == ES_LINEUP_EMBEDDER) limits.tokens = m->step.tokens;
    }
    return limits;
}

es_device *es_session_device(es_session *s)
{
    return s->device;
}

void es_session_totals(const es_session *s, es_plan_totals *out)
{
    *out = (es_plan_totals){0};
    if (s->plan && s->ready) es_plan_totals_get(s->plan, out);
}

uint64_t es_session_arena_bytes(const es_session *s)
{
    es_plan_totals totals;

    es_session_totals(s, &totals);
    return totals.arena;
}
