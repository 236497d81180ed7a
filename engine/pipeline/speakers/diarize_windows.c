/*
 * diarize_windows.c - the first two steps of diarization: windows to classes, local speakers to vectors.
 *
 * Two passes over the sound: segmentation costs a third of the whole, and what it says may spare the rest. Windows overlap,
 * so the front end's rows of one are kept for the next, of which only the new ones are computed: a step is a whole number of
 * rows, and a row's bits depend on its samples alone. Segmentation shares nothing between windows, although
 * its first convolution could be computed once for all: each window is brought to its own mean and deviation first, and
 * putting that behind the convolution gives other bits.
 *
 * A slot's vector is made of the frames in which it speaks alone, as if they followed each other, or of all its frames where
 * there are too few of those.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/speakers/diarize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/front.h"
#include "pipeline/speakers/diarize_kept.h"
#include "speech/windows.h"

enum {
    SLOTS = ES_WINDOW_SLOTS,
    FRAMES = ES_WINDOW_FRAMES,
    ROWS = 998, /* of the front end in a window */
    HOP = 160,
    FRONT_FRAME = 400,
    FEWEST = 2, /* frames alone that are too few: what 400 samples, one row, come to */
    MOST_WINDOWS = 32
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int tell(const es_diarize_windows *w, const es_diarize_options *o, const char *what, int64_t c, es_err *err)
{
    int64_t all_ms = w->samples * 1000 / ES_RATE, done_ms = c < w->n ? c * w->step * 1000 / ES_RATE : all_ms;

    if (o->progress && o->progress(o->user, what, done_ms, all_ms))
        return es_fail(err, ES_ECANCELLED, "cancelled at %lld of %lld ms while %s", (long long)done_ms, (long long)all_ms, what);
    return ES_OK;
}

/* ---- segmentation ---- */

int es_diarize_segment(es_diarize_windows *w, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                       es_err *err)
{
    int most = es_pyannet_windows(m->segmentation), rc = ES_OK;
    float *pcm = malloc((size_t)most * ES_WINDOW_SAMPLES * sizeof *pcm);
    float *scores = malloc((size_t)most * FRAMES * ES_WINDOW_CLASSES * sizeof *scores);
    double began = seconds();
    int64_t done = 0;

    *w = (es_diarize_windows){.samples = sound->samples, .step = o->step_samples};
    w->n = es_windows_count(w->samples, w->step);
    w->classes = malloc((size_t)w->n * FRAMES + 1);
    if (!pcm || !scores || !w->classes)
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the classes of %lld windows", (long long)w->n);
    if (rc == ES_OK) rc = es_diarize_kept_classes(w, &done, o->kept, err);
    for (int64_t c = done; c < w->n && rc == ES_OK; c += most) {
        int n = w->n - c < most ? (int)(w->n - c) : most;
        for (int i = 0; i < n && rc == ES_OK; i++)
            rc = es_sound_read(sound, (c + i) * w->step, ES_WINDOW_SAMPLES, pcm + (size_t)i * ES_WINDOW_SAMPLES, err);
        if (rc == ES_OK) rc = es_pyannet_run(m->segmentation, pcm, n, scores, err);
        if (rc == ES_OK) es_pyannet_classes(w->classes + c * FRAMES, scores, (int64_t)n * FRAMES);
        if (rc == ES_OK) rc = es_diarize_keep_classes(w, c, n, o->kept, err);
        if (rc == ES_OK) rc = tell(w, o, "finding speech", c + n, err);
    }
    if (o->times) o->times->segment += seconds() - began, o->times->windows += w->n - done;
    free(pcm), free(scores);
    if (rc != ES_OK) es_diarize_windows_done(w);
    return rc;
}

bool es_diarize_anyone(const es_diarize_windows *w)
{
    for (int64_t i = 0; i < w->n * FRAMES; i++)
        if (w->classes[i]) return true;
    return false;
}

/* ---- vectors ---- */

/* Windows on their way to the network, and what is asked about each. */
typedef struct batch {
    const es_front *front;
    es_front *opened; /* here, where the caller has none */
    float *pcm;    /* room for a window's samples */
    float *rows;   /* [most, 998, 80] */
    int64_t first; /* the recording's row with which the newest window begins; -1: none yet */
    es_speaker_sound *sounds;             /* [most] */
    uint8_t (*masks)[SLOTS][FRAMES];      /* [most] */
    es_speaker_ask asks[SLOTS * MOST_WINDOWS];
    int64_t slot[SLOTS * MOST_WINDOWS];   /* of all windows' */
    float *answers;                       /* [3 * most, width] */
    int most, n, n_asks;
} batch;

static void batch_done(batch *b)
{
    if (!b) return;
    es_front_close(b->opened);
    free(b->pcm), free(b->rows), free(b->sounds), free(b->masks), free(b->answers);
    free(b);
}

/* Enough windows for a few full steps of the network, since those that nobody speaks in do not come here. */
static int batch_open(batch **out, es_speaker *m, const es_front *front, es_err *err)
{
    const es_speaker_dims *dims = es_speaker_dims_of(m);
    int windows = 4 * es_speaker_limits_of(m).rows / ROWS;
    batch *b = calloc(1, sizeof *b);
    int rc = b && !front ? es_front_open(&b->opened, es_speaker_front(dims), err) : ES_OK;

    *out = b;
    if (b && rc == ES_OK) {
        b->most = windows < 1 ? 1 : windows > MOST_WINDOWS ? MOST_WINDOWS : windows;
        b->first = -1;
        b->front = front ? front : b->opened;
        b->pcm = malloc(ES_WINDOW_SAMPLES * sizeof *b->pcm);
        b->rows = malloc((size_t)b->most * ROWS * ES_FRONT_BINS * sizeof *b->rows);
        b->sounds = malloc((size_t)b->most * sizeof *b->sounds);
        b->masks = malloc((size_t)b->most * sizeof *b->masks);
        b->answers = malloc((size_t)b->most * SLOTS * (size_t)dims->vector * sizeof *b->answers);
    }
    if (!b || (rc == ES_OK && (!b->pcm || !b->rows || !b->sounds || !b->masks || !b->answers)))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate room for the voices of %d windows", windows);
    return rc;
}

/* The rows of the next window of the batch, which begins with row `first` of the recording; those that the window before
 * has, too, are taken from there. */
static int take_rows(batch *b, const es_sound *sound, int64_t first, es_err *err)
{
    int64_t kept = b->first >= 0 && first - b->first < ROWS ? ROWS - (first - b->first) : 0, n = ROWS - kept;
    float *to = b->rows + (size_t)b->n * ROWS * ES_FRONT_BINS;
    const float *from = b->n ? to - ROWS * ES_FRONT_BINS : b->rows + (size_t)(b->most - 1) * ROWS * ES_FRONT_BINS;
    int rc = es_sound_read(sound, (first + kept) * HOP, (n - 1) * HOP + FRONT_FRAME, b->pcm, err);

    if (rc != ES_OK) return rc;
    if (kept) memmove(to, from + n * ES_FRONT_BINS, (size_t)(kept * ES_FRONT_BINS) * sizeof *to);
    es_front_run(b->front, to + kept * ES_FRONT_BINS, b->pcm, (n - 1) * HOP + FRONT_FRAME);
    b->first = first;
    b->sounds[b->n] = (es_speaker_sound){.rows = to, .n = ROWS};
    return ES_OK;
}

/* Runs what has come together and files the answers. */
static int flush(batch *b, es_diarize_windows *w, const es_diarize_models *m, es_err *err)
{
    size_t d = (size_t)w->width;
    int rc = b->n_asks ? es_speaker_run(m->diarizer, b->sounds, b->asks, b->n_asks, b->answers, err) : ES_OK;

    for (int i = 0; i < b->n_asks && rc == ES_OK; i++) {
        const float *v = b->answers + (size_t)i * d;
        if (isnan(v[0])) continue; /* too little to hear */
        rc = es_diarize_add_vector(w, b->slot[i], v, err);
    }
    if (b->n && b->n < b->most) b->first = -1; /* the next window looks for its rows in the last place */
    b->n = b->n_asks = 0;
    return rc;
}

/* The windows before `until` are complete: runs what waits of them, and keeps it. */
static int complete(batch *b, es_diarize_windows *w, int64_t *done, int64_t until, const es_diarize_models *m,
                    const es_diarize_options *o, es_err *err)
{
    size_t before = w->n_vectors;
    int rc = flush(b, w, m, err);

    if (rc == ES_OK) rc = es_diarize_keep_voices(w, *done, until, before, o->kept, err);
    *done = until;
    return rc == ES_OK ? tell(w, o, "hearing voices", until, err) : rc;
}

int es_diarize_embed(es_diarize_windows *w, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                     es_err *err)
{
    double began = seconds();
    size_t slots = (size_t)w->n * SLOTS, kept = 0;
    int64_t done = 0, before = 0;
    batch *b = NULL;
    int rc = batch_open(&b, m->diarizer, m->front, err);

    w->width = es_speaker_dims_of(m->diarizer)->vector;
    w->row = malloc((slots + 1) * sizeof *w->row);
    w->clean = malloc((slots + 1) * sizeof *w->clean);
    if (rc == ES_OK && (!w->row || !w->clean))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the speakers of %lld windows", (long long)w->n);
    for (size_t i = 0; i < slots && rc == ES_OK; i++) w->row[i] = -1;
    if (rc == ES_OK) rc = es_diarize_kept_voices(w, &done, o->kept, err);
    before = done, kept = w->n_vectors;
    for (int64_t c = 0; c < w->n && rc == ES_OK; c++) {
        int active[SLOTS], clean[SLOTS];
        es_windows_masks(w->classes + c * FRAMES, FEWEST, active, clean, b->masks[b->n]);
        for (int q = 0; q < SLOTS; q++) w->clean[c * SLOTS + q] = (int16_t)clean[q];
        if (c < before || (!active[0] && !active[1] && !active[2])) continue;
        rc = take_rows(b, sound, c * w->step / HOP, err);
        for (int q = 0; q < SLOTS && rc == ES_OK; q++) {
            if (!active[q]) continue;
            b->slot[b->n_asks] = c * SLOTS + q;
            b->asks[b->n_asks++] = (es_speaker_ask){.sound = b->n, .mask = b->masks[b->n][q], .n_mask = FRAMES};
        }
        b->n++;
        if (rc == ES_OK && b->n == b->most) rc = complete(b, w, &done, c + 1, m, o, err);
    }
    if (rc == ES_OK) rc = complete(b, w, &done, w->n, m, o, err);
    if (o->times) o->times->embed += seconds() - began, o->times->vectors += (int64_t)(w->n_vectors - kept);
    batch_done(b);
    return rc;
}
