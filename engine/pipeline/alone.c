/*
 * alone.c - see alone.h.
 *
 * Pieces are cut from the speech as if it followed itself without pauses, as enrolment cuts them. After every sixteen
 * the question is asked of all so far: a recording of somebody else costs sixteen pieces and no more. At most a
 * two-hundredth of the frames may hold two voices and a fiftieth of the windows two slots: that much the segmentation
 * errs on one voice.
 */
#include "pipeline/alone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/account.h"
#include "pipeline/speakers/voiceprint.h"
#include "speech/enroll.h"
#include "speech/windows.h"

enum { SLOTS = ES_WINDOW_SLOTS, ASKED_EVERY = 16, LEAST_PIECES = 2 };
#define MOST_OVERLAP 0.005
#define MOST_SECONDS 0.02

/* The work. */
typedef struct work {
    const es_diarize_windows *w;
    const es_sound *sound;
    es_speaker *network;
    const es_front *front;
    const es_space *space;
    es_stretch *speech; /* where anyone speaks, in samples */
    size_t n_speech;
    float *vectors; /* [n, width] of the pieces */
    int64_t n;
} work;

/* Whether the segmentation hears one voice at a time; why not. */
static bool one_at_a_time(const es_diarize_windows *w, const uint8_t *count, int64_t grid, char *why, size_t room)
{
    int64_t speech = 0, overlap = 0, active_windows = 0, several = 0;

    for (int64_t g = 0; g < grid; g++) speech += count[g] > 0, overlap += count[g] > 1;
    for (int64_t c = 0; c < w->n; c++) {
        int active[SLOTS], clean[SLOTS], n = 0;
        es_windows_masks(w->classes + c * ES_WINDOW_FRAMES, 0, active, clean, NULL);
        for (int q = 0; q < SLOTS; q++) n += active[q] > 0;
        active_windows += n > 0, several += n > 1;
    }
    if ((double)overlap > MOST_OVERLAP * (double)speech) {
        snprintf(why, room, "%.1f %% of the speech are two voices at once", 100.0 * (double)overlap / (double)speech);
        return false;
    }
    if ((double)several > MOST_SECONDS * (double)active_windows) {
        snprintf(why, room, "more than one voice is heard in %lld of %lld windows", (long long)several,
                 (long long)active_windows);
        return false;
    }
    return speech > 0;
}

/* Whoever speaks is one. */
static int turns_of_one(es_turn **turns, size_t *n, const es_diarize_windows *w, uint8_t *count, int64_t grid)
{
    int16_t *cluster = malloc((size_t)w->n * SLOTS * sizeof *cluster + 1);
    int rc = cluster ? 0 : -1;

    for (int64_t c = 0; c < w->n && !rc; c++) {
        int active[SLOTS], clean[SLOTS];
        es_windows_masks(w->classes + c * ES_WINDOW_FRAMES, 0, active, clean, NULL);
        for (int q = 0; q < SLOTS; q++) cluster[c * SLOTS + q] = active[q] ? 0 : ES_NO_CLUSTER;
    }
    for (int64_t g = 0; g < grid; g++) count[g] = count[g] > 0;
    if (!rc) rc = es_account_turns(turns, n, w, cluster, count, 1, 1);
    free(cluster);
    return rc;
}

/* Samples [from, from + n) of the speech without its pauses. */
static int read_speech(const work *k, int64_t from, int64_t n, float *x, es_err *err)
{
    int rc = ES_OK;

    for (size_t i = 0; i < k->n_speech && n > 0 && rc == ES_OK; i++) {
        int64_t length = k->speech[i].to - k->speech[i].from;
        if (from >= length) {
            from -= length;
            continue;
        }
        int64_t part = length - from < n ? length - from : n;
        rc = es_sound_read(k->sound, k->speech[i].from + from, part, x, err);
        x += part, n -= part, from = 0;
    }
    return rc;
}

/* Vectors of pieces until they are all there or cannot be one person's any more; *who: the profile, or -1. */
static int ask(work *k, int *who, const es_people *people, const es_diarize_options *o, char *why, size_t room,
               es_err *err)
{
    int64_t all = es_enroll_samples(k->speech, k->n_speech), ms = all * 1000 / ES_RATE;
    int n = es_enroll_pieces(NULL, all), width = k->space->width, rc = ES_OK;
    int64_t *from = malloc(((size_t)n + 1) * sizeof *from);
    float *x = malloc(ES_ENROLL_PIECE * sizeof *x);
    es_work scratch = {0};

    *who = -1;
    k->vectors = malloc(((size_t)n + 1) * (size_t)width * sizeof *k->vectors);
    if (!from || !x || !k->vectors || es_account_work(&scratch, es_identify_some_bytes(people, k->space, n)))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate %d pieces of speech", n);
    snprintf(why, room, "there is too little speech");
    if (rc == ES_OK) es_enroll_pieces(from, all);
    for (int i = 0; i < n && rc == ES_OK; i++) {
        int64_t length = all - from[i] < ES_ENROLL_PIECE ? all - from[i] : ES_ENROLL_PIECE;
        rc = read_speech(k, from[i], length, x, err);
        if (rc == ES_OK)
            rc = es_voiceprint_pieces(k->network, k->front, k->vectors + (size_t)i * (size_t)width, x, length, &(int64_t){0}, 1, err);
        k->n = i + 1;
        if (rc == ES_OK && o->progress && o->progress(o->user, "hearing voices", from[i] * 1000 / ES_RATE, ms))
            rc = es_fail(err, ES_ECANCELLED, "cancelled while voices were heard");
        if (rc != ES_OK || n < LEAST_PIECES || (k->n % ASKED_EVERY && k->n < n)) continue;
        *who = es_identify_alone(people, k->space, k->vectors, (int)k->n, why, room, &scratch);
        if (*who < 0) break;
    }
    free(from), free(x);
    es_account_free(&scratch);
    return rc;
}

/* Everything es_diarize() would have found, had it found one speaker. */
static int fill(es_diarization *out, const work *k, const es_turn *turns, size_t n, bool named_apart, es_err *err)
{
    es_vectors v = {.space = k->space->hash,
                    .width = k->space->width,
                    .n = 1,
                    .rows = calloc((size_t)k->space->width, sizeof(float))};
    float *unit = malloc((size_t)v.width * sizeof *unit);
    int rc = v.rows && unit ? 0 : -1;

    for (int64_t i = 0; i < k->n && !rc; i++)
        if (es_identify_unit(unit, k->vectors + i * v.width, v.width))
            for (int c = 0; c < v.width; c++) v.rows[c] += unit[c] / (float)k->n;
    free(unit);
    if (named_apart) out->voices = v;
    else out->centers = v; /* owned by out from here on */
    if (rc || es_account_speakers(out, 1, turns, n, turns, n) || es_account_heard(&out->speech, &out->n_speech, k->w))
        return es_fail(err, ES_ENOMEM, "cannot allocate the turns of one speaker");
    return ES_OK;
}

int es_alone_try(es_diarization *out, bool *taken, char *why, size_t room, const es_diarize_models *m,
                 const es_diarize_windows *w, const es_sound *sound, const es_people *people,
                 const es_diarize_options *o, es_err *err)
{
    bool named_apart = m->voice && m->voice != m->diarizer;
    work k = {.w = w,
              .sound = sound,
              .network = named_apart ? m->voice : m->diarizer,
              .front = named_apart ? m->voice_front : m->front,
              .space = es_people_space(people, named_apart ? m->voice_space : m->space)};
    int64_t grid = w->n ? es_windows_grid(w->n, w->step) : 0;
    uint8_t *count = NULL;
    es_turn *turns = NULL;
    size_t n = 0;
    int who = -1, rc = ES_OK;

    *taken = false;
    snprintf(why, room, "%s", "");
    if (!people->n_profiles || !w->n || !k.network) return ES_OK;
    snprintf(why, room, "nobody is enrolled with the network that knows voices here");
    if (!k.space) return ES_OK;
    snprintf(why, room, "%d speakers are asked for", o->speakers.least);
    if (o->speakers.least > 1) return ES_OK;
    count = malloc((size_t)grid + 1);
    if (!count) return es_fail(err, ES_ENOMEM, "cannot allocate the speech of %lld windows", (long long)w->n);
    es_windows_speakers(count, w->classes, w->n, w->step, 0);
    snprintf(why, room, "%s", "");
    if (!one_at_a_time(w, count, grid, why, room)) goto out;
    if (turns_of_one(&turns, &n, w, count, grid) || !(k.speech = malloc((n + 1) * sizeof *k.speech))) {
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the turns of one speaker");
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        k.speech[k.n_speech++] = (es_stretch){turns[i].start_us * 2 / 125, turns[i].end_us * 2 / 125};
    rc = ask(&k, &who, people, o, why, room, err);
    if (rc == ES_OK && who >= 0) {
        rc = fill(out, &k, turns, n, named_apart, err);
        *taken = rc == ES_OK;
    }
out:
    free(count), free(turns), free(k.speech), free(k.vectors);
    if (rc != ES_OK) es_diarization_done(out);
    return rc;
}
