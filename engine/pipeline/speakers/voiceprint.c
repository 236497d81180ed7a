/*
 * voiceprint.c - enrolment, from the file to the vector.
 *
 * What a person is known by decides about every recording of the library, so a doubtful one is refused with a sentence
 * rather than taken with a warning: below 3 s of speech, a second voice in more than a tenth of it, sound cut off at
 * its limit in more than a hundredth, pieces that are not like each other. Warnings are for what makes it worse, not
 * wrong.
 *
 * Of a file ten minutes are looked at, and of the speech in it five are taken: more makes no better mean, and memory
 * stays what it is.
 */
#define _GNU_SOURCE
#include "pipeline/speakers/voiceprint.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audio/front.h"
#include "base/log.h"
#include "media/decode.h"
#include "pipeline/account.h"
#include "pipeline/session/packs.h"
#include "runtime/arena.h"
#include "speech/enroll.h"
#include "speech/windows.h"

enum {
    MOST_SAMPLES = 600 * ES_RATE, /* that are looked at */
    MOST_SPEECH = 300 * ES_RATE,  /* that are taken */
    WINDOWS = 4,                  /* of a step of the segmentation */
    ROWS = 1200                   /* of a step of the voices' network: four pieces */
};

struct es_voiceprint {
    es_session_options options; /* its texts are not kept */
    es_device_choice where;
    char *segmentation_path, *voice_path; /* the first: NULL where there is no pack */
    es_space space;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_pyannet *segmentation;
    es_speaker *network;
    bool ready;
};

/* ---- opening ---- */

/* The pack whose vectors name voices. */
static int choose_voice(const es_packs *packs, const es_session_options *o, const es_pack_entry **out, es_err *err)
{
    int rc = es_packs_choose(packs, ES_STAGE_VOICE, o->voice, out, err);
    char shown[512];

    if (rc == ES_OK && !*out) rc = es_packs_choose(packs, ES_STAGE_DIARIZER, o->diarizer, out, err);
    if (rc == ES_OK && !*out)
        rc = es_fail(err, ES_ENOTFOUND,
                     "%s: there is no network for voices here; make one with `earshot convert` from CAM++, ResNet34 or "
                     "ECAPA-TDNN, or run "
                     "tools/fetch-models",
                     es_printable(shown, sizeof shown, packs->folder));
    return rc;
}

static int open_packs(es_voiceprint *v, const es_session_options *o, es_err *err)
{
    const es_pack_entry *voice = NULL, *segmentation = NULL;
    es_speaker_dims dims;
    es_packs packs = {0};
    es_weights *w = NULL;
    int rc = es_packs_scan(&packs, o->models, err);

    if (rc == ES_OK) rc = choose_voice(&packs, o, &voice, err);
    if (rc == ES_OK) rc = es_packs_choose(&packs, ES_STAGE_SEGMENTATION, o->segmentation, &segmentation, err);
    if (rc == ES_OK) rc = es_pack_open(&w, voice->path, err);
    if (rc == ES_OK) rc = es_speaker_dims_read(&dims, w, err);
    if (rc == ES_OK) {
        v->space.hash = voice->hash;
        v->space.width = dims.vector;
        snprintf(v->space.model, sizeof v->space.model, "%s", voice->name);
        snprintf(v->space.architecture, sizeof v->space.architecture, "%s", voice->architecture);
        v->voice_path = strdup(voice->path);
        v->segmentation_path = segmentation ? strdup(segmentation->path) : NULL;
        if (!v->voice_path || (segmentation && !v->segmentation_path))
            rc = es_fail(err, ES_ENOMEM, "not enough memory");
    }
    es_weights_close(w);
    es_packs_done(&packs);
    return rc;
}

int es_voiceprint_open(es_voiceprint **out, const es_session_options *o, es_err *err)
{
    es_voiceprint *v = calloc(1, sizeof *v);
    int rc = v ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = NULL;
    if (rc == ES_OK) {
        v->options = (es_session_options){.budget = o->budget, .threads = o->threads};
        rc = es_session_choose(&v->where, o->device, true, err);
    }
    if (rc == ES_OK) rc = open_packs(v, o, err);
    if (rc == ES_OK) {
        *out = v;
        v = NULL; /* the caller's from here on */
    }
    es_voiceprint_close(v);
    return rc;
}

void es_voiceprint_close(es_voiceprint *v)
{
    if (!v) return;
    es_speaker_close(v->network);
    es_pyannet_close(v->segmentation);
    es_arena_close(v->arena);
    es_plan_close(v->plan);
    es_device_close(v->device);
    free(v->segmentation_path);
    free(v->voice_path);
    free(v);
}

const es_space *es_voiceprint_space(const es_voiceprint *v)
{
    return &v->space;
}

static int device_fault(const es_fault *why, es_err *err)
{
    return es_fail(err, ES_EDEVICE, "%s", why->text[0] ? why->text : "the device cannot be opened");
}

static int make_ready(es_voiceprint *v, es_err *err)
{
    es_weights *segmentation = NULL, *voice = NULL;
    uint64_t budget = v->options.budget;
    es_speaker_dims dims;
    es_device_facts facts;
    es_fault why = {0};
    int rc;

    if (v->ready) return ES_OK;
    if (v->plan) return es_fail(err, ES_EMODEL, "the networks for voices could not be made ready before");
    rc = es_plan_open(&v->plan, v->where.backend, v->options.threads, err);
    if (rc == ES_OK && v->segmentation_path) rc = es_pack_open(&segmentation, v->segmentation_path, err);
    if (rc == ES_OK && segmentation)
        rc = es_pyannet_plan(&v->segmentation, v->plan, "segmentation", segmentation, WINDOWS, err);
    if (rc == ES_OK) rc = es_pack_open(&voice, v->voice_path, err);
    if (rc == ES_OK) rc = es_speaker_dims_read(&dims, voice, err);
    if (rc == ES_OK)
        rc = es_speaker_plan(&v->network, v->plan, v->space.model, voice, &dims,
                             (es_speaker_limits){.answers = 4, .rows = ROWS}, err);
    if (rc == ES_OK && es_device_open(&v->device, v->where.backend, v->where.index, v->options.threads, NULL, &why))
        rc = device_fault(&why, err);
    if (rc == ES_OK) {
        es_device_describe(v->device, &facts);
        if (!budget) budget = es_session_default_budget(v->where.backend, facts.bytes_free);
        rc = es_plan_finish(v->plan, budget, err);
    }
    if (rc == ES_OK) rc = es_arena_open(&v->arena, v->plan, v->device, err);
    if (rc == ES_OK) rc = es_arena_load(v->arena, err);
    if (rc == ES_OK && es_device_sync(v->device, &why)) rc = device_fault(&why, err);
    es_weights_close(segmentation);
    es_weights_close(voice);
    if (rc != ES_OK) return rc;
    if (v->segmentation) es_pyannet_start(v->segmentation, v->arena);
    es_speaker_start(v->network, v->arena);
    v->ready = true;
    es_log(ES_LOG_INFO, "%s is loaded, on %s", v->space.model, facts.name);
    return ES_OK;
}

/* ---- pieces ---- */

int es_voiceprint_pieces(es_speaker *network, const es_front *front, float *vectors, const float *x, int64_t n_samples,
                         const int64_t *from, int n, es_err *err)
{
    const es_speaker_dims *d = es_speaker_dims_of(network);
    es_front *opened = NULL;
    float *rows = NULL;
    int rc = front ? ES_OK : es_front_open(&opened, es_speaker_front(d), err);

    if (opened) front = opened;
    if (rc == ES_OK && !(rows = malloc((ES_ENROLL_PIECE / 160 + 2) * ES_FRONT_BINS * sizeof *rows)))
        rc = es_fail(err, ES_ENOMEM, "not enough memory");
    for (int i = 0; i < n && rc == ES_OK; i++) {
        int64_t length = n_samples - from[i] < ES_ENROLL_PIECE ? n_samples - from[i] : ES_ENROLL_PIECE;
        es_speaker_sound sound = {.rows = rows, .n = (int)es_front_rows(front, length)};
        const es_speaker_ask ask = {.sound = 0};
        float *to = vectors + (size_t)i * (size_t)d->vector;
        es_front_run(front, rows, x + from[i], length);
        rc = es_speaker_run(network, &sound, &ask, 1, to, err);
        for (int k = 0; k < d->vector && rc == ES_OK; k++)
            if (!isfinite(to[k]))
                rc = es_fail(err, ES_EMODEL, "the network for voices gave what is no number for a piece of %.1f s",
                             (double)length / ES_RATE);
    }
    es_front_close(opened);
    free(rows);
    return rc;
}

/* ---- one file ---- */

/* The file at work. */
typedef struct taking {
    es_voiceprint *v;
    const char *shown; /* its name, printable */
    float *x;          /* [n] */
    int64_t n;
    es_stretch *alone;
    size_t n_alone;
    float *speech; /* [n_speech]: the stretches one behind the other */
    int64_t n_speech;
    void (*note)(void *user, const char *sentence);
    void *user;
} taking;

static void tell(const taking *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(const taking *t, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (t->note) t->note(t->user, text);
}

static int read_sound(taking *t, es_media_info *info, const char *path, int track, const char *tmp_dir, es_err *err)
{
    es_spool *spool = NULL;
    int rc = es_media_hash(info, path, NULL, NULL, err);

    if (rc == ES_OK) rc = es_media_decode(&spool, info, path, track, tmp_dir, NULL, NULL, err);
    if (rc == ES_OK) {
        es_sound sound = es_sound_of(spool);
        t->n = sound.samples < MOST_SAMPLES ? sound.samples : MOST_SAMPLES;
        if (sound.samples > t->n)
            tell(t, "%s: only the first %d minutes are looked at", t->shown, MOST_SAMPLES / ES_RATE / 60);
        t->x = malloc(((size_t)t->n + 1) * sizeof *t->x);
        rc = t->x ? es_sound_read(&sound, 0, t->n, t->x, err)
                  : es_fail(err, ES_ENOMEM, "%s: not enough memory for its sound", t->shown);
    }
    es_spool_close(spool);
    return rc;
}

/* Classes of all windows; the last one is filled up with silence. */
static int segment(const taking *t, uint8_t *classes, int64_t C, es_err *err)
{
    float *pcm = malloc((size_t)WINDOWS * ES_PYANNET_SAMPLES * sizeof *pcm);
    float *scores = malloc((size_t)WINDOWS * ES_PYANNET_FRAMES * ES_PYANNET_CLASSES * sizeof *scores);
    int rc = pcm && scores ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory for the segmentation");

    for (int64_t c = 0; c < C && rc == ES_OK; c += WINDOWS) {
        int n = C - c < WINDOWS ? (int)(C - c) : WINDOWS;
        for (int i = 0; i < n; i++) {
            int64_t at = (c + i) * ES_ENROLL_STEP,
                    have = t->n - at < ES_PYANNET_SAMPLES ? t->n - at : ES_PYANNET_SAMPLES;
            float *to = pcm + (size_t)i * ES_PYANNET_SAMPLES;
            if (have > 0) memcpy(to, t->x + at, (size_t)have * sizeof *to);
            else have = 0;
            memset(to + have, 0, (size_t)(ES_PYANNET_SAMPLES - have) * sizeof *to);
        }
        rc = es_pyannet_run(t->v->segmentation, pcm, n, scores, err);
        if (rc == ES_OK) es_pyannet_classes(classes + c * ES_PYANNET_FRAMES, scores, (int64_t)n * ES_PYANNET_FRAMES);
    }
    free(pcm), free(scores);
    return rc;
}

/* Where one voice speaks alone. */
static int find_speech(taking *t, es_err *err)
{
    int64_t C = es_windows_count(t->n, ES_ENROLL_STEP);
    uint8_t *classes = NULL;
    double second = 0;
    int rc = ES_OK, failed;

    if (t->v->segmentation) {
        classes = malloc((size_t)C * ES_PYANNET_FRAMES + 1);
        rc = classes ? segment(t, classes, C, err) : es_fail(err, ES_ENOMEM, "not enough memory for the segmentation");
        failed = rc == ES_OK ? es_enroll_alone(&t->alone, &t->n_alone, &second, classes, C, t->n) : 0;
    } else {
        failed = es_enroll_loud(&t->alone, &t->n_alone, t->x, t->n);
        tell(t, "%s: without a segmentation pack, speech is what is loud, and a second voice may stay unnoticed",
             t->shown);
    }
    free(classes);
    if (rc == ES_OK && failed) rc = es_fail(err, ES_ENOMEM, "not enough memory for the speech in %s", t->shown);
    if (rc == ES_OK && second > ES_ENROLL_SECOND)
        rc = es_fail(err, ES_EARG,
                     "%s: more than one voice: a second one has %.0f %% of the speech; take a recording of one person",
                     t->shown, 100 * second);
    return rc;
}

static int judge_sound(const taking *t, es_err *err)
{
    double seconds = (double)es_enroll_samples(t->alone, t->n_alone) / ES_RATE;
    es_enroll_quality q = es_enroll_measure(t->x, t->n, t->alone, t->n_alone);

    if (seconds * 1000 < ES_ENROLL_LEAST_MS)
        return es_fail(err, ES_EARG,
                       "%s: %.1f s in which one voice speaks alone; %d s are the least, %d s are recommended", t->shown,
                       seconds, ES_ENROLL_LEAST_MS / 1000, ES_ENROLL_BEST_MS / 1000);
    if (q.clipped > ES_ENROLL_CLIPPED)
        return es_fail(err, ES_EARG,
                       "%s: the sound is clipped: %.1f %% of its samples are at its limit, more than %.0f %%; take a "
                       "recording that is not too loud",
                       t->shown, 100 * q.clipped, 100 * ES_ENROLL_CLIPPED);
    if (q.noise_db < 10)
        tell(t, "%s: the speech is only %.0f dB above the noise; a quieter place makes a better profile", t->shown,
             q.noise_db);
    if (seconds * 1000 < ES_ENROLL_GOOD_MS)
        tell(t, "%s: only %.1f s of speech: names will be missed; %d s are recommended", t->shown, seconds,
             ES_ENROLL_BEST_MS / 1000);
    return ES_OK;
}

/* The stretches one behind the other. */
static int gather(taking *t, es_err *err)
{
    t->n_speech = es_enroll_samples(t->alone, t->n_alone);
    if (t->n_speech > MOST_SPEECH) t->n_speech = MOST_SPEECH;
    t->speech = malloc(((size_t)t->n_speech + 1) * sizeof *t->speech);
    if (!t->speech) return es_fail(err, ES_ENOMEM, "not enough memory for the speech in %s", t->shown);
    int64_t at = 0;
    for (size_t i = 0; i < t->n_alone && at < t->n_speech; i++) {
        int64_t n = t->alone[i].to - t->alone[i].from;
        if (n > t->n_speech - at) n = t->n_speech - at;
        memcpy(t->speech + at, t->x + t->alone[i].from, (size_t)n * sizeof *t->speech);
        at += n;
    }
    return ES_OK;
}

static int take_mean(const taking *t, float *mean, es_err *err)
{
    const es_identify_rule *rule = es_identify_rule_of(t->v->space.architecture);
    int n = es_enroll_pieces(NULL, t->n_speech), width = t->v->space.width, left_out = 0;
    int64_t *from = malloc(((size_t)n + 1) * sizeof *from);
    float *pieces = malloc(((size_t)n + 1) * (size_t)width * sizeof *pieces);
    es_enrolled how = ES_ENROLLED_OK;
    es_work work = {0};
    double share = 0;
    int rc = from && pieces && !es_account_work(&work, es_enroll_mean_bytes(n, width)) ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory for the voice in %s", t->shown);

    if (rc == ES_OK) {
        es_enroll_pieces(from, t->n_speech);
        rc = es_voiceprint_pieces(t->v->network, NULL, pieces, t->speech, t->n_speech, from, n, err);
    }
    if (rc == ES_OK) es_enroll_mean(mean, &how, &share, &left_out, pieces, n, width, rule, &work);
    es_account_free(&work);
    if (rc == ES_OK && how == ES_ENROLLED_TWO)
        rc = es_fail(
            err, ES_EARG,
            "%s: more than one voice: %.0f %% of the speech are unlike the rest; take a recording of one person",
            t->shown, 100 * share);
    if (rc == ES_OK && how == ES_ENROLLED_UNLIKE)
        rc = es_fail(err, ES_EARG, "%s: %.0f %% of the speech do not sound like one voice; take a clearer recording",
                     t->shown, 100 * share);
    if (rc == ES_OK && left_out)
        tell(t, "%s: %d of %d pieces were unlike the rest and were left out", t->shown, left_out, n);
    free(from), free(pieces);
    return rc;
}

int es_voiceprint_take(es_voiceprint *v, es_clip *clip, const char *path, int track, const char *tmp_dir,
                       void (*note)(void *user, const char *sentence), void *user, es_err *err)
{
    char shown[600];
    taking t = {.v = v, .shown = es_printable(shown, sizeof shown, path), .note = note, .user = user};
    es_media_info info = {0};
    int rc = read_sound(&t, &info, path, track, tmp_dir, err);

    *clip = (es_clip){.width = 0};
    if (rc == ES_OK) rc = make_ready(v, err);
    if (rc == ES_OK) rc = find_speech(&t, err);
    if (rc == ES_OK) rc = judge_sound(&t, err);
    if (rc == ES_OK) rc = gather(&t, err);
    if (rc == ES_OK) {
        *clip = (es_clip){.content = info.content,
                          .space = v->space.hash,
                          .width = v->space.width,
                          .net_ms = t.n_speech * 1000 / ES_RATE,
                          .vector = malloc((size_t)v->space.width * sizeof(float))};
        rc = clip->vector ? take_mean(&t, clip->vector, err) : es_fail(err, ES_ENOMEM, "not enough memory");
    }
    if (rc != ES_OK) {
        free(clip->vector);
        *clip = (es_clip){.width = 0};
    }
    es_media_info_done(&info);
    free(t.x), free(t.alone), free(t.speech);
    return rc;
}
