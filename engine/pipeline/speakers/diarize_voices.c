/*
 * diarize_voices.c - the voices of those who were told apart, in the space of the network that names voices.
 *
 *     stretches in which somebody is alone -> pieces of 3 s, the longest stretches first -> vectors -> their mean
 *
 * The network that tells speakers apart hears whatever a window offers; to know somebody again, whole and clean pieces are
 * better. A minute is enough: more changes the mean by less than a piece of it varies.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/speakers/diarize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/front.h"
#include "pipeline/account.h"

enum { PIECE = 3 * ES_RATE, LEAST = 4 * ES_RATE / 10, MOST_PIECES = 20 };

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Somebody's longest stretches first. */
static int by_speaker_and_length(const void *a, const void *b)
{
    const es_turn *x = a, *y = b;
    int64_t k = x->end_us - x->start_us, l = y->end_us - y->start_us;

    if (x->speaker != y->speaker) return x->speaker - y->speaker;
    if (k != l) return k > l ? -1 : 1;
    return (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

static int alone_turns(es_turn **out, size_t *n, const es_diarization *d)
{
    es_turn *turns = malloc((d->n_turns + 1) * sizeof *turns);
    int rc = turns ? 0 : -1;

    *out = NULL, *n = 0;
    for (size_t i = 0; i < d->n_turns && !rc; i++)
        turns[i] = (es_turn){d->turns[i].start_ms * 1000, d->turns[i].end_ms * 1000, d->turns[i].speaker};
    if (!rc) rc = es_account_alone(out, n, turns, d->n_turns);
    free(turns);
    if (!rc && *n) qsort(*out, *n, sizeof **out, by_speaker_and_length);
    return rc;
}

/* Room of one piece. */
typedef struct work {
    const es_front *front;
    es_speaker *network;
    float *pcm, *rows, *vector;
    int width;
} work;

/* Adds the unit vector of samples [first, first + n) to sum; false in *heard where there was too little of it. */
static int add_piece(work *k, const es_sound *sound, int64_t first, int64_t n, double *sum, bool *heard, es_err *err)
{
    es_speaker_sound piece = {.rows = k->rows, .n = (int)es_front_rows(k->front, n)};
    const es_speaker_ask ask = {.sound = 0};
    double norm = 0;
    int rc = es_sound_read(sound, first, n, k->pcm, err);

    if (rc != ES_OK || piece.n == 0) return rc;
    es_front_run(k->front, k->rows, k->pcm, n);
    rc = es_speaker_run(k->network, &piece, &ask, 1, k->vector, err);
    if (rc != ES_OK || isnan(k->vector[0])) return rc;
    for (int i = 0; i < k->width; i++) norm += (double)k->vector[i] * (double)k->vector[i];
    norm = sqrt(norm) > 1e-12 ? sqrt(norm) : 1e-12;
    for (int i = 0; i < k->width; i++) sum[i] += (double)k->vector[i] / norm;
    *heard = true;
    return ES_OK;
}

/* One speaker's stretches, longest first, to a row of unit length. */
static int voice_of(work *k, float *row, const es_sound *sound, const es_turn *stretch, size_t n, es_err *err)
{
    double *sum = calloc((size_t)k->width, sizeof *sum), norm = 0;
    int pieces = 0, rc = sum ? ES_OK : es_fail(err, ES_ENOMEM, "cannot allocate a vector of %d numbers", k->width);

    for (size_t i = 0; i < n && rc == ES_OK && pieces < MOST_PIECES; i++) {
        int64_t at = stretch[i].start_us * 2 / 125, end = stretch[i].end_us * 2 / 125;
        /* What is left over and shorter than half a piece stays with the last one. */
        for (int64_t length; rc == ES_OK && end - at >= LEAST && pieces < MOST_PIECES; at += length) {
            bool heard = false;
            length = end - at < PIECE + PIECE / 2 ? end - at : PIECE;
            rc = add_piece(k, sound, at, length, sum, &heard, err);
            pieces += heard;
        }
    }
    for (int i = 0; i < k->width && rc == ES_OK; i++) norm += sum[i] * sum[i];
    for (int i = 0; i < k->width && rc == ES_OK; i++) row[i] = norm > 0 ? (float)(sum[i] / sqrt(norm)) : 0;
    free(sum);
    return rc;
}

int es_diarize_voices(es_diarization *out, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                      es_err *err)
{
    enum { MOST_SAMPLES = PIECE + PIECE / 2 };
    work k = {.network = m->voice};
    double began = seconds();
    es_front *opened = NULL;
    es_turn *alone = NULL;
    size_t n = 0, speakers = (size_t)out->n_speakers;
    int rc;

    if (!m->voice || m->voice == m->diarizer || !speakers) return ES_OK;
    k.width = es_speaker_dims_of(m->voice)->vector;
    rc = m->voice_front ? ES_OK : es_front_open(&opened, es_speaker_front(es_speaker_dims_of(m->voice)), err);
    k.front = m->voice_front ? m->voice_front : opened;
    if (rc == ES_OK) {
        k.pcm = malloc(MOST_SAMPLES * sizeof *k.pcm);
        k.rows = malloc((MOST_SAMPLES / 160 + 2) * ES_FRONT_BINS * sizeof *k.rows);
        k.vector = malloc((size_t)k.width * sizeof *k.vector);
        out->voices = (es_vectors){.space = m->voice_space, .width = k.width, .n = speakers};
        out->voices.rows = calloc(speakers * (size_t)k.width, sizeof(float));
        if (!k.pcm || !k.rows || !k.vector || !out->voices.rows || alone_turns(&alone, &n, out))
            rc = es_fail(err, ES_ENOMEM, "cannot allocate the voices of %zu speakers", speakers);
    }
    for (size_t first = 0, end; first < n && rc == ES_OK; first = end) {
        for (end = first + 1; end < n && alone[end].speaker == alone[first].speaker;) end++;
        rc = voice_of(&k, out->voices.rows + (size_t)alone[first].speaker * (size_t)k.width, sound, alone + first, end - first, err);
    }
    if (o->times) o->times->voices += seconds() - began;
    es_front_close(opened);
    free(k.pcm), free(k.rows), free(k.vector), free(alone);
    return rc;
}
