/*
 * front.c - see front.h.
 *
 * The transform of n = 16 q values is 16 transforms of every 16th value, each of q, and a sum over them with a turn for each
 * output: a third of a millisecond's work of a plain transform becomes 15 us a row, a small part of the network's behind it.
 */
#include "audio/front.h"

#include <math.h>
#include <stdlib.h>

#include "audio/fbank.h"

_Static_assert((int)ES_FBANK_BINS == (int)ES_FRONT_BINS, "every front end gives the same number of bins");

enum { BINS = ES_FRONT_BINS, HOP = 160, WINDOW = 400, STRIDE = 16, MOST_SIZE = 512, MOST_PART = MOST_SIZE / STRIDE, MOST_WEIGHTS = 1024,
       MIRROR = 256 /* samples that must be there to be mirrored */ };

static const double PI = 3.14159265358979323846;

struct es_front {
    es_front_kind kind;
    es_fbank *bank; /* of Kaldi's kinds, which need nothing of what follows */
    int size;       /* of the transform */
    double window[MOST_SIZE];
    double cosine[MOST_SIZE], sine[MOST_SIZE]; /* of 2 pi k / size */
    int first[BINS], count[BINS];              /* spectrum lines of each triangle */
    double weight[MOST_WEIGHTS];               /* one triangle's behind the other's */
};

static double to_mel(double hz)
{
    return 2595 * log10(1 + hz / 700);
}

static double to_hz(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

static void tables(es_front *f)
{
    bool brain = f->kind == ES_FRONT_SPEECHBRAIN;
    double low = brain ? 0 : to_mel(20), high = to_mel(brain ? 8000 : 7600);
    float hz[BINS + 2]; /* the reference has them in f32 */
    int n = 0;

    f->size = brain ? 400 : 512;
    for (int i = 0; i < WINDOW; i++) f->window[(f->size - WINDOW) / 2 + i] = 0.54 - 0.46 * cos(2 * PI * i / WINDOW);
    for (int k = 0; k < f->size; k++) f->cosine[k] = cos(2 * PI * k / f->size), f->sine[k] = sin(2 * PI * k / f->size);
    for (int i = 0; i < BINS + 2; i++) hz[i] = (float)to_hz(low + (high - low) * i / (BINS + 1));
    for (int b = 0; b < BINS; b++) {
        double left = (double)hz[b], middle = (double)hz[b + 1], right = brain ? middle + (middle - left) : (double)hz[b + 2];
        for (int k = 0; k <= f->size / 2; k++) {
            double at = k * 16000.0 / f->size, up = (at - left) / (middle - left), down = (right - at) / (right - middle), w = up < down ? up : down;
            if (w <= 0 || n == MOST_WEIGHTS) continue;
            if (f->count[b]++ == 0) f->first[b] = k;
            f->weight[n++] = w;
        }
    }
}

int es_front_open(es_front **out, es_front_kind kind, es_err *err)
{
    es_front *f = calloc(1, sizeof *f);
    int rc = ES_OK;

    *out = NULL;
    if (!f) return es_fail(err, ES_ENOMEM, "front end: cannot allocate its tables");
    f->kind = kind;
    if (kind == ES_FRONT_POVEY || kind == ES_FRONT_HAMMING)
        rc = es_fbank_open(&f->bank, kind == ES_FRONT_HAMMING ? ES_FBANK_HAMMING : ES_FBANK_POVEY, err);
    else tables(f);
    if (rc) {
        es_front_close(f);
        return rc;
    }
    *out = f;
    return ES_OK;
}

void es_front_close(es_front *f)
{
    if (f) es_fbank_close(f->bank);
    free(f);
}

int64_t es_front_rows(const es_front *f, int64_t samples)
{
    if (f->bank) return es_fbank_frames(samples);
    return samples <= (f->kind == ES_FRONT_TAORUIJIE ? MIRROR : 0) ? 0 : 1 + samples / HOP;
}

/* Sample i of the signal that is transformed, which goes on beyond its ends. */
static double sample(const es_front *f, const float *pcm, int64_t samples, int64_t i)
{
    if (f->kind == ES_FRONT_SPEECHBRAIN) return i < 0 || i >= samples ? 0 : (double)pcm[i];
    i = i < 0 ? -i : i >= samples ? 2 * (samples - 1) - i : i;
    return (double)pcm[i] - 0.97 * (double)pcm[i > 0 ? i - 1 : 1];
}

/* power[0 .. size / 2] of x[size]. */
static void spectrum(const es_front *f, double *power, const double *x)
{
    double re[STRIDE][MOST_PART], im[STRIDE][MOST_PART];
    int size = f->size, part = size / STRIDE;

    for (int p = 0; p < STRIDE; p++)
        for (int k = 0; k <= part / 2; k++) {
            double a = 0, b = 0;
            for (int q = 0; q < part; q++) {
                int turn = q * k % part * STRIDE;
                a += x[q * STRIDE + p] * f->cosine[turn], b -= x[q * STRIDE + p] * f->sine[turn];
            }
            re[p][k] = a, im[p][k] = b;
            re[p][(part - k) % part] = a, im[p][(part - k) % part] = k == 0 ? b : -b; /* real values: the other half mirrors this one */
        }
    for (int k = 0; k <= size / 2; k++) {
        double a = 0, b = 0;
        for (int p = 0; p < STRIDE; p++) {
            double c = f->cosine[p * k % size], s = f->sine[p * k % size], u = re[p][k % part], v = im[p][k % part];
            a += u * c + v * s, b += v * c - u * s;
        }
        power[k] = a * a + b * b;
    }
}

void es_front_run(const es_front *f, float *y, const float *pcm, int64_t samples)
{
    double x[MOST_SIZE], power[MOST_SIZE / 2 + 1];
    int64_t rows = es_front_rows(f, samples);

    if (f->bank) {
        es_fbank_run(f->bank, y, pcm, rows);
        return;
    }
    for (int64_t t = 0; t < rows; t++, y += BINS) {
        const double *w = f->weight;
        for (int i = 0; i < f->size; i++) x[i] = f->window[i] > 0 ? f->window[i] * sample(f, pcm, samples, t * HOP - f->size / 2 + i) : 0;
        spectrum(f, power, x);
        for (int b = 0; b < BINS; b++) {
            double e = 0;
            for (int k = 0; k < f->count[b]; k++) e += *w++ * power[f->first[b] + k];
            y[b] = (float)(f->kind == ES_FRONT_SPEECHBRAIN ? 10 * log10(e > 1e-10 ? e : 1e-10) : log(e + 1e-6));
        }
    }
}
