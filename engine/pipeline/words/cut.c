/*
 * cut.c - levels of a recording, stretches of speech, and where to cut them.
 *
 * The level of a frame of 10 ms is that of its loudest sample in half decibels, a byte: 360 KB an hour. The quietest
 * moment is the middle of the 200 ms with the least sum of levels; of several the last one, which makes longer pieces.
 * A found stretch gets 200 ms before and after it, or half the gap to its neighbour, since models of speech tend to
 * notice a first consonant late.
 */
#include "pipeline/words/cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "audio/mel.h"

enum {
    WINDOW = ES_MEL_WINDOW_FRAMES,
    FULL = 2600,     /* a piece as long as this is not cut into to make it longer */
    AROUND = 20,     /* frames on either side of a stretch */
    MOMENT = 20,     /* frames of a quiet moment */
    PAUSE = 100,     /* where speech is known by loudness alone, a shorter silence is part of it */
    CHUNK = 1000,    /* frames read at once */
    LOUDNESS_0 = 200 /* level of a full-scale sample */
};

typedef struct spans {
    es_cut *at;
    size_t n, room;
} spans;

static int add(spans *s, int64_t first, int64_t end, es_err *err)
{
    if (s->n == s->room) {
        size_t room = 2 * s->room + 64;
        es_cut *more = realloc(s->at, room * sizeof *more);
        if (!more) return es_fail(err, ES_ENOMEM, "no memory for %zu pieces of a recording", room);
        s->at = more;
        s->room = room;
    }
    s->at[s->n++] = (es_cut){first, end};
    return ES_OK;
}

/* ---- levels ---- */

static uint8_t level_of(float loudest)
{
    float db = loudest > 0 ? 20 * log10f(loudest) : -100;
    float level = LOUDNESS_0 + 2 * db;

    return (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : lrintf(level));
}

static int measure(uint8_t *level, int64_t frames, const es_sound *sound, es_err *err)
{
    float *x = malloc(CHUNK * ES_MEL_FRAME_SAMPLES * sizeof *x);
    int rc = x ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for %d samples", CHUNK * ES_MEL_FRAME_SAMPLES);

    for (int64_t first = 0; first < frames && rc == ES_OK; first += CHUNK) {
        int64_t n = frames - first < CHUNK ? frames - first : CHUNK;
        rc = es_sound_read(sound, first * ES_MEL_FRAME_SAMPLES, n * ES_MEL_FRAME_SAMPLES, x, err);
        for (int64_t i = 0; i < n && rc == ES_OK; i++) {
            float loudest = 0;
            for (int k = 0; k < ES_MEL_FRAME_SAMPLES; k++)
                loudest = fmaxf(loudest, fabsf(x[i * ES_MEL_FRAME_SAMPLES + k]));
            level[first + i] = level_of(loudest);
        }
    }
    free(x);
    return rc;
}

/* ---- stretches ---- */

static int stretches_heard(spans *out, const uint8_t *level, int64_t frames, float quiet_dbfs, es_err *err)
{
    uint8_t least = level_of(powf(10.0f, quiet_dbfs / 20));
    int64_t first = -1, last = -1;
    int rc = ES_OK;

    for (int64_t i = 0; i < frames && rc == ES_OK; i++) {
        if (level[i] < least) continue;
        if (first >= 0 && i - last > PAUSE) {
            rc = add(out, first, last + 1, err);
            first = -1;
        }
        if (first < 0) first = i;
        last = i;
    }
    if (rc == ES_OK && first >= 0) rc = add(out, first, last + 1, err);
    return rc;
}

static int stretches_told(spans *out, int64_t frames, const es_heard *speech, size_t n, es_err *err)
{
    int rc = ES_OK;

    for (size_t i = 0; i < n && rc == ES_OK; i++) {
        int64_t first = speech[i].start_ms / 10, end = (speech[i].end_ms + 9) / 10;
        if (first < 0) first = 0;
        if (end > frames) end = frames;
        if (first >= end) continue;
        if (out->n > 0 && first <= out->at[out->n - 1].end) {
            es_cut *before = &out->at[out->n - 1];
            if (end > before->end) before->end = end;
        } else {
            rc = add(out, first, end, err);
        }
    }
    return rc;
}

static void widen(spans *s, int64_t frames)
{
    int64_t before = 0; /* the true end of the stretch before */

    for (size_t i = 0; i < s->n; i++) {
        es_cut *c = &s->at[i];
        int64_t gap = i > 0 ? (c->first - before) / 2 : c->first, end = c->end;
        int64_t after = i + 1 < s->n ? (s->at[i + 1].first - c->end) / 2 : frames - c->end;
        c->first -= gap < AROUND ? gap : AROUND;
        c->end += after < AROUND ? after : AROUND;
        before = end;
    }
}

/* ---- cuts ---- */

/* The middle of the quietest moment between two frames; the levels' sums over [f - MOMENT / 2, f + MOMENT / 2). */
static int64_t quietest(const uint8_t *level, int64_t frames, int64_t from, int64_t to)
{
    int64_t best = to;
    long least = -1;

    for (int64_t f = from; f <= to; f++) {
        long sum = 0;
        for (int64_t i = f - MOMENT / 2; i < f + MOMENT / 2; i++) sum += i >= 0 && i < frames ? level[i] : 0;
        if (least < 0 || sum <= least) least = sum, best = f;
    }
    return best;
}

static int cut_all(spans *out, spans *stretches, const uint8_t *level, int64_t frames, es_err *err)
{
    int rc = ES_OK;

    for (size_t i = 0; i < stretches->n && rc == ES_OK;) {
        int64_t first = stretches->at[i].first, end = first, most = first + WINDOW;
        while (i < stretches->n && stretches->at[i].end <= most) end = stretches->at[i++].end;
        if (i < stretches->n && end - first < FULL && stretches->at[i].first < most) {
            /* What comes next is cut where it is quiet, but where it begins if that is where the window is full. */
            es_cut *next = &stretches->at[i];
            int64_t from = first + FULL > next->first ? first + FULL : next->first;
            int64_t at = quietest(level, frames, from, most);
            if (at > next->first) end = at, next->first = at;
        }
        rc = add(out, first, end, err);
    }
    return rc;
}

int es_cut_sound(es_cut **out, size_t *n, const es_sound *sound, const es_heard *speech, size_t n_speech,
                 float quiet_dbfs, es_err *err)
{
    int64_t frames = es_mel_frames(sound->samples);
    spans stretches = {0}, cuts = {0};
    uint8_t *level = calloc((size_t)frames + 1, 1);
    int rc = level ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for the levels of %lld frames", (long long)frames);

    *out = NULL, *n = 0;
    if (rc == ES_OK) rc = measure(level, frames, sound, err);
    if (rc == ES_OK)
        rc = speech ? stretches_told(&stretches, frames, speech, n_speech, err)
                    : stretches_heard(&stretches, level, frames, quiet_dbfs, err);
    if (rc == ES_OK) {
        widen(&stretches, frames);
        rc = cut_all(&cuts, &stretches, level, frames, err);
    }
    if (rc == ES_OK) {
        *out = cuts.at, *n = cuts.n;
        cuts.at = NULL; /* the caller's from here on */
    }
    free(cuts.at);
    free(stretches.at);
    free(level);
    return rc;
}
