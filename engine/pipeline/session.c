/*
 * session.c - from a folder of packs to models that are ready to run.
 *
 *     packs -> the speech model's sizes and tokens        es_session_open: headers and the token table only
 *     sizes -> plan -> device -> arena -> weights -> run  es_session_ready: once, when the first file needs it
 *
 * The plan is made before the device is opened, so that a budget that is too small, or a pack whose tensors do not fit
 * its sizes, is refused before any memory is taken. Packs are mapped; after the weights have been copied into the arena
 * the map is closed, or every weight would be resident twice.
 */
#define _GNU_SOURCE
#include "pipeline/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pipeline/packs.h"
#include "pipeline/presets.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { SUPPRESSED_ROOM = 256 };

struct es_session {
    es_session_options options; /* its texts are not kept */
    es_device_choice where;
    char *pack_path, pack_name[64];
    es_hash128 pack_hash;
    es_whisper_dims dims;
    es_bpe *bpe;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_whisper *whisper;
    es_transcriber *transcriber;
    bool ready;
};

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
    es_fault why = {0};
    char shown[128];

    *out = (es_device_choice){.backend = ES_CPU};
    if (!device || !strcmp(device, "auto")) {
        if (es_device_count(ES_CUDA, &why) > 0) out->backend = ES_CUDA;
        else snprintf(out->why_cpu, sizeof out->why_cpu, "%s", why.text[0] ? why.text : "there is no CUDA device");
        return ES_OK;
    }
    if (!strcmp(device, "cpu")) return ES_OK;
    if (strncmp(device, "cuda", 4) || (device[4] && device[4] != ':'))
        return es_fail(err, ES_EARG, "a device is auto, cpu, cuda or cuda:N, not %s",
                       es_printable(shown, sizeof shown, device));
    out->backend = ES_CUDA;
    if (device[4] == ':') {
        char *end = NULL;
        long index = strtol(device + 5, &end, 10);
        if (end == device + 5 || *end || index < 0 || index > 1023)
            return es_fail(err, ES_EARG, "a device is auto, cpu, cuda or cuda:N, not %s",
                           es_printable(shown, sizeof shown, device));
        out->index = (int)index;
    }
    if (must_be_there) {
        int n = es_device_count(ES_CUDA, &why);
        if (n <= 0)
            return es_fail(err, ES_EDEVICE, "--device %s: %s", device,
                           why.text[0] ? why.text : "there is no CUDA device");
        if (out->index >= n)
            return es_fail(err, ES_EDEVICE, "--device %s: there %s %d CUDA device%s, counted from 0", device,
                           n == 1 ? "is" : "are", n, n == 1 ? "" : "s");
    }
    return ES_OK;
}

/* ---- the plan ---- */

/* Ids that are never sampled as text, and the blank: from the pack's own tokens. */
static int suppressed(const es_bpe *b, int32_t *ids, size_t *n, int32_t *blank, es_err *err)
{
    *n = es_bpe_non_speech(b, ids, SUPPRESSED_ROOM);
    if (*n > SUPPRESSED_ROOM)
        return es_fail(err, ES_EMODEL, "the token table has %zu tokens that are not speech, more than %d", *n,
                       SUPPRESSED_ROOM);
    if (es_bpe_encode(b, " ", 1, blank, 1) != 1) *blank = -1;
    return ES_OK;
}

static int plan_whisper(es_whisper **out, es_plan *p, const char *name, const es_weights *w,
                        const es_whisper_dims *dims, const es_bpe *bpe, es_err *err)
{
    int32_t ids[SUPPRESSED_ROOM], blank = -1;
    size_t n = 0;

    if (bpe && suppressed(bpe, ids, &n, &blank, err)) return err ? err->code : ES_EMODEL;
    return es_whisper_plan(out, p, name, w, dims, es_presets_whisper_limits(dims), ids, (int)n, blank, err);
}

/* The token table of a pack. */
static int tokens_open(es_bpe **out, const es_weights *w, es_err *err)
{
    const es_weight *t = es_weights_find(w, "tokenizer.tokens");
    char shown[512];

    if (!t || t->dtype != ES_U8)
        return es_fail(err, ES_EMODEL, "%s: the tensor tokenizer.tokens of bytes is missing; convert the model again",
                       es_printable(shown, sizeof shown, es_weights_path(w)));
    return es_bpe_open(out, t->p, t->bytes, err);
}

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
    else es_plan_print(p, f);
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(*text);
        *text = NULL;
        return es_fail(err, ES_ENOMEM, "not enough memory to print the plan");
    }
    return ES_OK;
}

int es_session_plan(const es_session_options *o, const char *with, es_session_look look, char **text, size_t *bytes,
                    es_err *err)
{
    es_presets presets = {0};
    es_whisper *whisper = NULL;
    const es_pack_entry *entry = NULL;
    es_device_choice where;
    es_packs packs = {0};
    es_weights *w = NULL;
    es_bpe *bpe = NULL;
    es_plan *p = NULL;
    es_whisper_dims dims;
    int rc;

    *text = NULL, *bytes = 0;
    rc = es_session_choose(&where, o->device, false, err);
    if (rc == ES_OK) rc = es_plan_open(&p, where.backend, o->threads, err);
    if (rc == ES_OK && with) {
        rc = es_presets_plan(&presets, p, with, err);
    } else if (rc == ES_OK) {
        rc = es_packs_scan(&packs, o->models, err);
        if (rc == ES_OK) rc = es_packs_choose_asr(&packs, o->asr, &entry, err);
        if (rc == ES_OK) rc = es_pack_open(&w, entry->path, err);
        if (rc == ES_OK) rc = es_whisper_dims_read(&dims, w, err);
        if (rc == ES_OK) rc = tokens_open(&bpe, w, err);
        if (rc == ES_OK) rc = plan_whisper(&whisper, p, entry->name, w, &dims, bpe, err);
    }
    if (rc == ES_OK) rc = es_plan_finish(p, o->budget ? o->budget : es_session_default_budget(where.backend, 0), err);
    if (rc == ES_OK) rc = plan_look(p, look, text, bytes, err);
    es_presets_done(&presets);
    es_whisper_close(whisper);
    es_plan_close(p);
    es_bpe_close(bpe);
    es_weights_close(w);
    es_packs_done(&packs);
    return rc;
}

/* ---- a session ---- */

int es_session_open(es_session **out, const es_session_options *o, es_err *err)
{
    const es_pack_entry *entry = NULL;
    es_packs packs = {0};
    es_weights *w = NULL;
    es_session *s = calloc(1, sizeof *s);
    int rc;

    *out = NULL;
    if (!s) return es_fail(err, ES_ENOMEM, "not enough memory");
    s->options = *o;
    s->options.models = s->options.asr = s->options.device = NULL; /* not ours to keep */
    rc = es_session_choose(&s->where, o->device, true, err);
    if (rc == ES_OK) rc = es_packs_scan(&packs, o->models, err);
    if (rc == ES_OK) rc = es_packs_choose_asr(&packs, o->asr, &entry, err);
    if (rc == ES_OK) {
        for (size_t i = 0; i < packs.n; i++)
            if (packs.at[i].fault && &packs.at[i] != entry)
                es_log(ES_LOG_WARN, "%s; it is passed over", packs.at[i].fault);
        snprintf(s->pack_name, sizeof s->pack_name, "%s", entry->name);
        s->pack_hash = entry->hash;
        s->pack_path = strdup(entry->path);
        if (!s->pack_path) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    }
    if (rc == ES_OK) rc = es_pack_open(&w, s->pack_path, err);
    if (rc == ES_OK) rc = es_whisper_dims_read(&s->dims, w, err);
    if (rc == ES_OK) rc = tokens_open(&s->bpe, w, err);
    if (rc == ES_OK) {
        *out = s;
        s = NULL; /* the caller's from here on */
    }
    es_weights_close(w);
    es_packs_done(&packs);
    es_session_close(s);
    return rc;
}

static int device_fault(const es_fault *why, es_err *err)
{
    return es_fail(err, ES_EDEVICE, "%s", why->text[0] ? why->text : "the device cannot be opened");
}

int es_session_ready(es_session *s, es_err *err)
{
    es_device_facts facts;
    es_weights *w = NULL;
    es_fault why = {0};
    uint64_t budget = s->options.budget;
    int rc;

    if (s->ready) return ES_OK;
    if (s->plan) return es_fail(err, ES_EMODEL, "the models could not be made ready before; open the engine again");
    if (s->where.why_cpu[0]) es_log(ES_LOG_NOTE, "models run on the CPU: %s", s->where.why_cpu);
    rc = es_pack_open(&w, s->pack_path, err);
    if (rc == ES_OK) rc = es_plan_open(&s->plan, s->where.backend, s->options.threads, err);
    if (rc == ES_OK) rc = plan_whisper(&s->whisper, s->plan, s->pack_name, w, &s->dims, s->bpe, err);
    if (rc == ES_OK && es_device_open(&s->device, s->where.backend, s->where.index, s->options.threads, NULL, &why))
        rc = device_fault(&why, err);
    if (rc == ES_OK) {
        es_device_describe(s->device, &facts);
        if (!budget) budget = es_session_default_budget(s->where.backend, facts.bytes_free);
        rc = es_plan_finish(s->plan, budget, err);
    }
    if (rc == ES_OK) rc = es_arena_open(&s->arena, s->plan, s->device, err);
    if (rc == ES_OK) rc = es_arena_load(s->arena, err);
    if (rc == ES_OK) rc = es_whisper_start(s->whisper, s->arena, err);
    if (rc == ES_OK) rc = es_transcriber_open(&s->transcriber, s->whisper, s->bpe, err);
    if (rc == ES_OK && es_device_sync(s->device, &why)) rc = device_fault(&why, err);
    es_weights_close(w);
    s->ready = rc == ES_OK;
    if (s->ready) es_log(ES_LOG_INFO, "%s is loaded, on %s", s->pack_name, facts.name);
    return rc;
}

void es_session_close(es_session *s)
{
    if (!s) return;
    es_transcriber_close(s->transcriber);
    es_whisper_close(s->whisper);
    es_arena_close(s->arena);
    es_plan_close(s->plan);
    es_device_close(s->device);
    es_bpe_close(s->bpe);
    free(s->pack_path);
    free(s);
}

const char *es_session_asr_name(const es_session *s)
{
    return s->pack_name;
}

es_hash128 es_session_asr_hash(const es_session *s)
{
    return s->pack_hash;
}

const es_whisper_dims *es_session_dims(const es_session *s)
{
    return &s->dims;
}

const es_bpe *es_session_bpe(const es_session *s)
{
    return s->bpe;
}

es_transcriber *es_session_transcriber(es_session *s)
{
    return s->transcriber;
}

es_device *es_session_device(es_session *s)
{
    return s->device;
}

uint64_t es_session_arena_bytes(const es_session *s)
{
    es_plan_totals totals = {0};

    if (s->plan && s->ready) es_plan_totals_get(s->plan, &totals);
    return totals.arena;
}
