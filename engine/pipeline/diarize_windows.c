/*
 * diarize_windows.c - the first two steps of diarization: windows to classes, local speakers to vectors.
 *
 * Two passes over the sound: segmentation costs a third of the whole, and what it says may spare the rest. Windows overlap,
 * so the filter bank's frames of one are kept for the next, of which only the new ones are computed: a step is a whole
 * number of frames, and a frame's bits depend on its samples alone. Segmentation shares nothing between windows, although
 * its first convolution could be computed once for all: each window is brought to its own mean and deviation first, and
 * putting that behind the convolution gives other bits.
 *
 * A slot's vector is made of the frames in which it speaks alone, as if they followed each other, or of all its frames where
 * there are too few of those.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/diarize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/fbank.h"
#include "speech/windows.h"

enum {
    SLOTS = ES_WINDOW_SLOTS,
    FRAMES = ES_WINDOW_FRAMES,
    ROWS = 998,    /* frames of the filter bank in a window */
    FEWEST = 2,    /* frames alone that are too few: what 400 samples, one frame of the filter bank, come to */
    LEAST_ROWS = 5 /* below, a vector says nothing */
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

    *w = (es_diarize_windows){.samples = sound->samples, .step = o->step_samples};
    w->n = es_windows_count(w->samples, w->step);
    w->classes = malloc((size_t)w->n * FRAMES + 1);
    if (!pcm || !scores || !w->classes)
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the classes of %lld windows", (long long)w->n);
    for (int64_t c = 0; c < w->n && rc == ES_OK; c += most) {
        int n = w->n - c < most ? (int)(w->n - c) : most;
        for (int i = 0; i < n && rc == ES_OK; i++)
            rc = es_sound_read(sound, (c + i) * w->step, ES_WINDOW_SAMPLES, pcm + (size_t)i * ES_WINDOW_SAMPLES, err);
        if (rc == ES_OK) rc = es_pyannet_run(m->segmentation, pcm, n, scores, err);
        if (rc == ES_OK) es_pyannet_classes(w->classes + c * FRAMES, scores, (int64_t)n * FRAMES);
        if (rc == ES_OK) rc = tell(w, o, "finding speech", c + n, err);
    }
    if (o->times) o->times->segment += seconds() - began, o->times->windows += w->n;
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

/* Pieces on their way to the network, and the filter bank's frames of the newest window. */
typedef struct batch {
    es_fbank *bank;
    float *rows;   /* [998, 80] of the window that begins at frame `first` of the recording */
    int64_t first; /* -1: none yet */
    float *pcm;    /* room for a window's samples */
    float *features, *answers; /* [frames, 80] and [pieces, width] of the batch */
    int *frames;               /* [pieces] */
    int64_t *slot;             /* [pieces] which slot of all windows' */
    int n, n_frames;
} batch;

static void batch_done(batch *b)
{
    es_fbank_close(b->bank);
    free(b->rows), free(b->pcm), free(b->features), free(b->answers), free(b->frames), free(b->slot);
}

static int batch_open(batch *b, const es_diarize_models *m, es_err *err)
{
    size_t pieces = (size_t)es_campplus_pieces(m->campplus), frames = (size_t)es_campplus_frames(m->campplus);
    int rc = es_fbank_open(&b->bank, ES_FBANK_POVEY, err);

    b->first = -1;
    b->rows = malloc(ROWS * ES_FBANK_BINS * sizeof *b->rows);
    b->pcm = malloc(ES_WINDOW_SAMPLES * sizeof *b->pcm);
    b->features = malloc(frames * ES_FBANK_BINS * sizeof *b->features);
    b->answers = malloc(pieces * ES_CAMPPLUS_VECTOR * sizeof *b->answers);
    b->frames = malloc(pieces * sizeof *b->frames);
    b->slot = malloc(pieces * sizeof *b->slot);
    if (rc == ES_OK && (!b->rows || !b->pcm || !b->features || !b->answers || !b->frames || !b->slot))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate room for %zu pieces of voices", pieces);
    return rc;
}

/* The rows of the window that begins at frame `first`, computing those that the window before did not have. */
static int take_rows(batch *b, const es_sound *sound, int64_t first, es_err *err)
{
    int64_t kept = b->first >= 0 && first - b->first < ROWS ? ROWS - (first - b->first) : 0, n = ROWS - kept;
    int rc;

    if (n == 0) return ES_OK;
    if (kept) memmove(b->rows, b->rows + n * ES_FBANK_BINS, (size_t)(kept * ES_FBANK_BINS) * sizeof *b->rows);
    b->first = -1;
    rc = es_sound_read(sound, (first + kept) * ES_FBANK_HOP, (n - 1) * ES_FBANK_HOP + ES_FBANK_FRAME, b->pcm, err);
    if (rc != ES_OK) return rc;
    es_fbank_run(b->bank, b->rows + kept * ES_FBANK_BINS, b->pcm, n);
    b->first = first;
    return ES_OK;
}

/* Runs what has come together and files the answers. */
static int flush(batch *b, es_diarize_windows *w, const es_diarize_models *m, es_err *err)
{
    size_t d = (size_t)w->width;
    int rc = b->n ? es_campplus_run(m->campplus, b->features, b->frames, b->n, b->answers, err) : ES_OK;

    for (int i = 0; i < b->n && rc == ES_OK; i++) {
        const float *v = b->answers + (size_t)i * d;
        bool finite = true;
        for (size_t j = 0; j < d; j++) finite = finite && isfinite(v[j]);
        if (!finite) continue;
        if (w->n_vectors == w->room) {
            size_t room = w->room ? 2 * w->room : 256;
            float *p = realloc(w->vectors, room * d * sizeof *p);
            if (!p) return es_fail(err, ES_ENOMEM, "cannot allocate %zu vectors of voices", room);
            w->vectors = p, w->room = room;
        }
        memcpy(w->vectors + w->n_vectors * d, v, d * sizeof *v);
        w->row[b->slot[i]] = (int32_t)w->n_vectors++;
    }
    b->n = b->n_frames = 0;
    return rc;
}

/* The rows under a mask become a piece of the batch, which is run first where it is full. */
static int add_piece(batch *b, es_diarize_windows *w, const es_diarize_models *m, const uint8_t *mask, int64_t slot, es_err *err)
{
    int n = 0, rc;

    for (int t = 0; t < ROWS; t++) n += mask[t * FRAMES / ROWS] != 0;
    if (n < LEAST_ROWS) return ES_OK;
    if (b->n == es_campplus_pieces(m->campplus) || b->n_frames + n > es_campplus_frames(m->campplus))
        if ((rc = flush(b, w, m, err)) != ES_OK) return rc;
    float *to = b->features + (size_t)b->n_frames * ES_FBANK_BINS;
    for (int t = 0, i = 0; t < ROWS; t++) {
        if (!mask[t * FRAMES / ROWS]) continue;
        memcpy(to + (size_t)i++ * ES_FBANK_BINS, b->rows + (size_t)t * ES_FBANK_BINS, ES_FBANK_BINS * sizeof *to);
    }
    es_fbank_center(to, n);
    b->frames[b->n] = n, b->slot[b->n] = slot;
    b->n++, b->n_frames += n;
    return ES_OK;
}

int es_diarize_embed(es_diarize_windows *w, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                     es_err *err)
{
    uint8_t mask[SLOTS][FRAMES];
    double began = seconds();
    size_t slots = (size_t)w->n * SLOTS;
    batch b = {0};
    int rc = batch_open(&b, m, err);

    w->width = ES_CAMPPLUS_VECTOR;
    w->row = malloc((slots + 1) * sizeof *w->row);
    w->clean = malloc((slots + 1) * sizeof *w->clean);
    if (rc == ES_OK && (!w->row || !w->clean))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the speakers of %lld windows", (long long)w->n);
    for (int64_t c = 0; c < w->n && rc == ES_OK; c++) {
        int active[SLOTS], clean[SLOTS];
        es_windows_masks(w->classes + c * FRAMES, FEWEST, active, clean, mask);
        for (int q = 0; q < SLOTS; q++) w->row[c * SLOTS + q] = -1, w->clean[c * SLOTS + q] = (int16_t)clean[q];
        if (active[0] || active[1] || active[2]) rc = take_rows(&b, sound, c * w->step / ES_FBANK_HOP, err);
        for (int q = 0; q < SLOTS && rc == ES_OK; q++)
            if (active[q]) rc = add_piece(&b, w, m, mask[q], c * SLOTS + q, err);
        if (rc == ES_OK) rc = tell(w, o, "hearing voices", c + 1, err);
    }
    if (rc == ES_OK) rc = flush(&b, w, m, err);
    if (o->times) o->times->embed += seconds() - began, o->times->vectors += (int64_t)w->n_vectors;
    batch_done(&b);
    return rc;
}
