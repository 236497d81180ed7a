/*
 * cut.c - levels of a recording, stretches of speech, and where to cut them.
 *
 * The level of a frame of 10 ms is that of its loudest sample in half decibels, a byte: 360 KB an hour. A found stretch
 * gets 200 ms before and after it, or half the gap to its neighbour, since models of speech tend to notice a first
 * consonant late.
 *
 * A window costs the same however little of it is filled, and a cut costs words where there is no pause. Which cuts are
 * best hangs on all the others: a window that ends early at a good pause moves all that follow. So the cheapest chain of
 * windows is found, over the places where one might end: every end of a stretch, and the quietest moment of every half
 * second within one.
 *
 *     cost of a chain = sum over its windows of   1  +  0.35 loudness of the place where it ends  +  0.1 (part left empty)^2
 *
 * Loudness is the mean level of the half second around the place, 0 where that is all pause and 1 at the recording's
 * median, so that a long pause is better than a short one; where nobody speaks it is 0. The last term keeps windows
 * from being crumbs where the same number of them could be of a size. What a window then leaves out are the silences it
 * ends at.
 */
#include "pipeline/words/cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "audio/mel.h"

enum {
    WINDOW = ES_MEL_WINDOW_FRAMES,
    AROUND = 20,     /* frames on either side of a stretch */
    MOMENT = 50,     /* frames whose mean level says how quiet a place is */
    CLOSE = 20,      /* frames in the middle of them that count twice */
    PLACES = 50,     /* frames of a stretch that offer one place to cut */
    DEEPEST = 80,    /* half decibels under the median: what is quieter is no better a pause */
    SHALLOWEST = 24, /* at least so many are between a pause and the median, where all is as loud */
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

/* ---- places to cut ---- */

/* How loud it is around a frame. */
typedef struct loudness {
    const uint8_t *level;
    int64_t frames;
    int pause, median; /* levels */
} loudness;

static loudness listen(const spans *stretches, const uint8_t *level, int64_t frames)
{
    loudness l = {.level = level, .frames = frames};
    int64_t count[256] = {0}, all = 0, below = 0;

    for (size_t i = 0; i < stretches->n; i++)
        for (int64_t f = stretches->at[i].first; f < stretches->at[i].end; f++) count[level[f]]++, all++;
    for (int v = 0; v < 256; v++) {
        if (below * 20 <= all) l.pause = v; /* the quietest twentieth */
        if (below * 2 <= all) l.median = v;
        below += count[v];
    }
    if (l.pause < l.median - DEEPEST) l.pause = l.median - DEEPEST;
    if (l.pause > l.median - SHALLOWEST) l.pause = l.median - SHALLOWEST;
    return l;
}

/* By how much frames first .. end-1 are louder than a pause, added up. */
static long sum_over(const loudness *l, int64_t first, int64_t end)
{
    long sum = 0;

    for (int64_t i = first < 0 ? 0 : first; i < end && i < l->frames; i++)
        if (l->level[i] > l->pause) sum += l->level[i] - l->pause;
    return sum;
}

/* Of the half second around the place before frame f; what is close to it counts twice, so that the middle of a short
 * pause is better than its edge. */
static long sum_around(const loudness *l, int64_t f)
{
    return sum_over(l, f - MOMENT / 2, f + MOMENT / 2) + sum_over(l, f - CLOSE / 2, f + CLOSE / 2);
}

/* A place where a window may end, and the next one begin. */
typedef struct place {
    int64_t end, next; /* frames: where a window that ends here ends, and one that begins here begins */
    double loud;
    double cost;   /* of the cheapest chain that ends here */
    size_t before; /* the place where that chain's last window begins */
} place;

typedef struct places {
    place *at;
    size_t n;
} places;

/* The quietest place within first .. last; of several the last one, which makes longer windows. */
static place quietest(const loudness *l, int64_t first, int64_t last)
{
    long least = sum_around(l, first);
    int64_t best = first;

    for (int64_t f = first + 1; f <= last; f++) {
        long sum = sum_around(l, f);
        if (sum <= least) least = sum, best = f;
    }
    return (place){.end = best, .next = best, .loud = (double)least / ((MOMENT + CLOSE) * (l->median - l->pause))};
}

/* Place 0 is the beginning, the last one the end. */
static int find_places(places *out, const spans *stretches, const loudness *l, es_err *err)
{
    size_t most = 1;

    for (size_t i = 0; i < stretches->n; i++)
        most += (size_t)((stretches->at[i].end - stretches->at[i].first) / PLACES + 2);
    out->at = malloc(most * sizeof *out->at);
    if (!out->at) return es_fail(err, ES_ENOMEM, "no memory for %zu places to cut a recording", most);
    out->at[out->n++] = (place){.next = stretches->at[0].first};
    for (size_t i = 0; i < stretches->n; i++) {
        const es_cut *s = &stretches->at[i];
        bool last = i + 1 == stretches->n;
        for (int64_t f = s->first + PLACES / 2; f < s->end - PLACES / 2; f += PLACES) {
            int64_t to = f + PLACES - 1 < s->end - PLACES / 2 ? f + PLACES - 1 : s->end - PLACES / 2;
            out->at[out->n++] = quietest(l, f, to);
        }
        place p = quietest(l, s->end, s->end);
        if (last || stretches->at[i + 1].first > s->end) p.loud = 0; /* nobody speaks there */
        if (!last) p.next = stretches->at[i + 1].first;
        out->at[out->n++] = p;
    }
    return ES_OK;
}

/* ---- the cheapest chain ---- */

/* Beside that of a window, which is 1: a cut where it is as loud as speech, and a window that is nearly empty. */
static const double loud_costs = 0.35, empty_costs = 0.1;

static double window_cost(const place *from, const place *to)
{
    double empty = 1 - (double)(to->end - from->next) / WINDOW;

    return 1 + loud_costs * to->loud + empty_costs * empty * empty;
}

/* Places are never further apart than a window, so that there is always a chain. */
static void link_all(places *p)
{
    for (size_t i = 1; i < p->n; i++) {
        place *to = &p->at[i];
        to->cost = INFINITY;
        for (size_t k = i; k-- > 0 && to->end - p->at[k].next <= WINDOW;) {
            double cost = p->at[k].cost + window_cost(&p->at[k], to);
            if (cost < to->cost) to->cost = cost, to->before = k;
        }
    }
}

static int cut_all(spans *out, const spans *stretches, const uint8_t *level, int64_t frames, es_err *err)
{
    loudness l = listen(stretches, level, frames);
    places p = {0};
    int rc = find_places(&p, stretches, &l, err);

    if (rc == ES_OK) link_all(&p);
    /* The chain is known backwards. */
    for (size_t i = p.n ? p.n - 1 : 0; i > 0 && rc == ES_OK; i = p.at[i].before)
        rc = add(out, p.at[p.at[i].before].next, p.at[i].end, err);
    for (size_t i = 0; 2 * i + 1 < out->n; i++) {
        es_cut other = out->at[i];
        out->at[i] = out->at[out->n - 1 - i];
        out->at[out->n - 1 - i] = other;
    }
    free(p.at);
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
        if (stretches.n > 0) rc = cut_all(&cuts, &stretches, level, frames, err);
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
