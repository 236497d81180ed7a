/*
 * fbank.c - see fbank.h. A frame is even and odd samples as real and imaginary parts of a transform of 256, radix 2 in
 * place; the spectrum of 512 real values follows from its symmetric halves. 4 us a frame of 10 ms on one core, a fortieth
 * of what CAM++ takes behind it, so nothing here is done several at a time.
 */
#include "audio/fbank.h"

#include <math.h>
#include <stdlib.h>

enum { FRAME = ES_FBANK_FRAME, HOP = ES_FBANK_HOP, BINS = ES_FBANK_BINS, HALF = 256, MOST_WEIGHTS = 1024 };

static const double PI = 3.14159265358979323846, LOW = 20, HIGH = 8000, RATE = 16000, FLOOR = 1.1920928955078125e-07;

struct es_fbank {
    double scale, window[FRAME];
    double cosine[HALF], sine[HALF]; /* of 2 pi k / 512 */
    int reversed[HALF];              /* bits of an index, the other way round */
    int first[BINS], count[BINS];    /* spectrum lines of each triangle */
    double weight[MOST_WEIGHTS];     /* one triangle's behind the other's */
};

static double mel(double hz)
{
    return 1127 * log(1 + hz / 700);
}

int es_fbank_open(es_fbank **out, es_fbank_kind kind, es_err *err)
{
    es_fbank *f = calloc(1, sizeof *f);
    double step = (mel(HIGH) - mel(LOW)) / (BINS + 1);
    int n = 0;

    *out = f;
    if (!f) return es_fail(err, ES_ENOMEM, "filter bank: cannot allocate its tables");
    f->scale = kind == ES_FBANK_HAMMING ? 32768 : 1;
    for (int i = 0; i < FRAME; i++) {
        double c = cos(2 * PI * i / (FRAME - 1));
        f->window[i] = kind == ES_FBANK_HAMMING ? 0.54 - 0.46 * c : pow(0.5 - 0.5 * c, 0.85);
    }
    for (int k = 0; k < HALF; k++) {
        f->cosine[k] = cos(2 * PI * k / (2 * HALF));
        f->sine[k] = sin(2 * PI * k / (2 * HALF));
        for (int bit = 0; bit < 8; bit++) f->reversed[k] |= (k >> bit & 1) << (7 - bit);
    }
    for (int b = 0; b < BINS; b++) {
        double left = mel(LOW) + b * step;
        for (int k = 0; k < HALF; k++) {
            double m = mel(k * RATE / (2 * HALF)), up = (m - left) / step, down = (left + 2 * step - m) / step;
            double w = up < down ? up : down;
            if (w <= 0 || n == MOST_WEIGHTS) continue;
            if (f->count[b]++ == 0) f->first[b] = k;
            f->weight[n++] = w;
        }
    }
    return ES_OK;
}

void es_fbank_close(es_fbank *f)
{
    free(f);
}

int64_t es_fbank_frames(int64_t samples)
{
    return samples < FRAME ? 0 : 1 + (samples - FRAME) / HOP;
}

/* power[256] of 512 real values, given as 256 pairs in the order of reversed[]. */
static void spectrum(const es_fbank *f, double *power, double *re, double *im)
{
    for (int half = 1; half < HALF; half *= 2)
        for (int at = 0; at < HALF; at += 2 * half)
            for (int k = 0; k < half; k++) {
                double c = f->cosine[k * (HALF / half)], s = f->sine[k * (HALF / half)];
                int a = at + k, b = a + half;
                double x = re[b] * c + im[b] * s, y = im[b] * c - re[b] * s;
                re[b] = re[a] - x, im[b] = im[a] - y;
                re[a] += x, im[a] += y;
            }
    for (int k = 0; k < HALF; k++) {
        int j = (HALF - k) % HALF;
        double even_re = (re[k] + re[j]) / 2, even_im = (im[k] - im[j]) / 2, odd_re = (im[k] + im[j]) / 2, odd_im = (re[j] - re[k]) / 2;
        double x = even_re + f->cosine[k] * odd_re + f->sine[k] * odd_im, y = even_im + f->cosine[k] * odd_im - f->sine[k] * odd_re;
        power[k] = x * x + y * y;
    }
}

void es_fbank_run(const es_fbank *f, float *y, const float *pcm, int64_t frames)
{
    double x[FRAME], re[HALF], im[HALF], power[HALF];

    for (int64_t t = 0; t < frames; t++, y += BINS) {
        const float *in = pcm + t * HOP;
        const double *w = f->weight;
        double mean = 0;
        for (int i = 0; i < FRAME; i++) x[i] = (double)in[i] * f->scale, mean += x[i];
        mean /= FRAME;
        for (int i = 0; i < FRAME; i++) x[i] -= mean;
        for (int i = FRAME - 1; i > 0; i--) x[i] = (x[i] - 0.97 * x[i - 1]) * f->window[i];
        x[0] = (x[0] - 0.97 * x[0]) * f->window[0];
        for (int k = 0; k < HALF; k++) {
            int to = f->reversed[k];
            re[to] = 2 * k < FRAME ? x[2 * k] : 0;
            im[to] = 2 * k < FRAME ? x[2 * k + 1] : 0;
        }
        spectrum(f, power, re, im);
        for (int b = 0; b < BINS; b++) {
            double e = 0;
            for (int k = 0; k < f->count[b]; k++) e += *w++ * power[f->first[b] + k];
            y[b] = (float)log(e > FLOOR ? e : FLOOR);
        }
    }
}

void es_fbank_center(float *x, int64_t frames)
{
    for (int b = 0; b < BINS; b++) {
        double mean = 0;
        for (int64_t t = 0; t < frames; t++) mean += (double)x[t * BINS + b];
        mean /= frames > 0 ? (double)frames : 1;
        for (int64_t t = 0; t < frames; t++) x[t * BINS + b] = (float)((double)x[t * BINS + b] - mean);
    }
}
