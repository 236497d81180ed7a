/*
 * pyannet.c - pyannote's segmentation-3.0: who of up to three speakers speaks, frame by frame.
 *
 * The first convolution of the network is not stored: it is 40 band-pass filters given by a low edge and a width each,
 * as an even (cosine) and an odd (sine) kernel of 251 taps under a Hamming window. They are computed here, in double,
 * once: their values decide the last digits of everything after them. For pair i
 *     f1 = 50 + |low|, f2 = min(f1 + 50 + |band|, 8000), B = f2 - f1, and at tap m = -125 .. 125, t = m / 16000:
 *     even  w (sin 2 pi f2 t - sin 2 pi f1 t) / (2 pi B t), 1 at m = 0
 *     odd   w (cos 2 pi f1 t - cos 2 pi f2 t) / (2 pi B t), 0 at m = 0
 * (Ravanelli and Bengio, "Speaker Recognition from Raw Waveform with SincNet", 2018). The four bidirectional LSTM layers
 * get both directions below each other, and the two biases of a gate, which are always added, become one.
 */
#include "build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAIRS = 40, HALF = 125, TAPS = 2 * HALF + 1, RATE = 16000, WINDOW = 160000, MAX_LAYERS = 8 };

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

bool es_pyannet_is(const es_source *s)
{
    return es_source_find(s, "sincnet.wav_norm1d.weight") && es_source_find(s, "lstm.weight_ih_l0_reverse");
}

static void sinc(es_build *b)
{
    const double pi = 3.14159265358979323846;
    const es_src_tensor *low = es_build_take(b, 2, SHAPE(PAIRS, 1), "sincnet.conv1d.0.filterbank.low_hz_");
    const es_src_tensor *band = es_build_take(b, 2, SHAPE(PAIRS, 1), "sincnet.conv1d.0.filterbank.band_hz_");
    float *filters = b->rc ? NULL : calloc(2 * PAIRS * TAPS, sizeof *filters);

    es_build_skip(b, "sincnet.conv1d.0.filterbank.window_");
    es_build_skip(b, "sincnet.conv1d.0.filterbank.n_");
    if (!filters && !b->rc) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    for (int i = 0; i < PAIRS && filters; i++) {
        float a, w;
        es_source_read(low, (size_t)i, 1, &a);
        es_source_read(band, (size_t)i, 1, &w);
        double f1 = 50 + fabs((double)a), f2 = fmin(f1 + 50 + fabs((double)w), RATE / 2.0), B = f2 - f1;
        if (!(B > 0)) {
            es_build_fail(b, "filter %d of the first layer lies at %g Hz, above what a rate of %d holds", i, f1, (int)RATE);
            break;
        }
        for (int k = 0; k < TAPS; k++) {
            int m = k - HALF;
            double t = (double)m / RATE, hamming = 0.54 - 0.46 * cos(2 * pi * (HALF - abs(m)) / (2 * HALF));
            double even = 1, odd = 0;
            if (m) {
                even = hamming * (sin(2 * pi * f2 * t) - sin(2 * pi * f1 * t)) / (2 * pi * B * t);
                odd = hamming * (cos(2 * pi * f1 * t) - cos(2 * pi * f2 * t)) / (2 * pi * B * t);
            }
            filters[i * TAPS + k] = (float)even;
            filters[(PAIRS + i) * TAPS + k] = (float)odd;
        }
    }
    if (filters) es_build_put_values(b, "sinc.weight", filters, 2, SHAPE(2 * PAIRS, TAPS));
    free(filters);
}

static void put(es_build *b, const char *to, const char *from, const char *what, int n_dims, const int64_t *dim)
{
    const es_src_tensor *t = es_build_take(b, n_dims, dim, "%s.%s", from, what);
    char name[64];

    snprintf(name, sizeof name, "%s.%s", to, what);
    es_build_put(b, name, ES_F32, n_dims, dim, &t, 1, ES_ORDER_PLAIN);
}

static void norm(es_build *b, const char *to, const char *from, int64_t n)
{
    put(b, to, from, "weight", 1, SHAPE(n));
    put(b, to, from, "bias", 1, SHAPE(n));
}

static void linear(es_build *b, const char *to, const char *from, int64_t O, int64_t I)
{
    put(b, to, from, "weight", 2, SHAPE(O, I));
    put(b, to, from, "bias", 1, SHAPE(O));
}

static void conv(es_build *b, int i, int64_t in)
{
    const es_src_tensor *w = es_build_take(b, 3, SHAPE(60, in, 5), "sincnet.conv1d.%d.weight", i);
    char to[32], from[32];

    snprintf(to, sizeof to, "conv%d.weight", i);
    es_build_put(b, to, ES_F32, 2, SHAPE(60, 5 * in), &w, 1, ES_ORDER_TAPS);
    snprintf(to, sizeof to, "conv%d", i);
    snprintf(from, sizeof from, "sincnet.conv1d.%d", i);
    put(b, to, from, "bias", 1, SHAPE(60));
}

static void lstm(es_build *b, int layer, int64_t in, int64_t h)
{
    static const char *const ends[2] = {"", "_reverse"};
    const es_src_tensor *input[2] = {0}, *recurrent[2] = {0}, *bias[4] = {0};
    float *sum = NULL;
    char name[64];

    for (int d = 0; d < 2; d++) {
        input[d] = es_build_take(b, 2, SHAPE(4 * h, in), "lstm.weight_ih_l%d%s", layer, ends[d]);
        recurrent[d] = es_build_take(b, 2, SHAPE(4 * h, h), "lstm.weight_hh_l%d%s", layer, ends[d]);
        bias[2 * d] = es_build_take(b, 1, SHAPE(4 * h), "lstm.bias_ih_l%d%s", layer, ends[d]);
        bias[2 * d + 1] = es_build_take(b, 1, SHAPE(4 * h), "lstm.bias_hh_l%d%s", layer, ends[d]);
    }
    if (b->rc) return;
    snprintf(name, sizeof name, "lstm.%d.input.weight", layer);
    es_build_put(b, name, ES_F32, 2, SHAPE(8 * h, in), input, 2, ES_ORDER_PLAIN);
    snprintf(name, sizeof name, "lstm.%d.recurrent.weight", layer);
    es_build_put(b, name, ES_F32, 2, SHAPE(8 * h, h), recurrent, 2, ES_ORDER_PLAIN);
    sum = malloc((size_t)(8 * h) * sizeof *sum);
    for (int64_t i = 0; sum && i < 8 * h; i++) {
        float x, y;
        es_source_read(bias[i / (4 * h) * 2], (size_t)(i % (4 * h)), 1, &x);
        es_source_read(bias[i / (4 * h) * 2 + 1], (size_t)(i % (4 * h)), 1, &y);
        sum[i] = x + y;
    }
    snprintf(name, sizeof name, "lstm.%d.bias", layer);
    if (sum) es_build_put_values(b, name, sum, 1, SHAPE(8 * h));
    else b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    free(sum);
}

void es_pyannet_build(es_build *b)
{
    const es_src_tensor *t = es_build_take(b, 2, SHAPE(-1, -1), "lstm.weight_hh_l0");
    int64_t h = t ? t->dim[1] : 0, wide, classes;
    int layers = 0;
    char config[256];

    while (layers < MAX_LAYERS && es_build_has(b, "lstm.weight_ih_l%d", layers)) layers++;
    t = es_build_take(b, 2, SHAPE(-1, 2 * h), "linear.0.weight");
    wide = t ? t->dim[0] : 0;
    t = es_build_take(b, 2, SHAPE(-1, wide), "classifier.weight");
    classes = t ? t->dim[0] : 0;
    if (!b->rc && classes != 7) {
        es_build_fail(b, "%lld classes; 7, the sets of at most two of three speakers, are known", (long long)classes);
    }
    snprintf(config, sizeof config,
             "{\"classes\":7,\"speakers\":3,\"simultaneous\":2,\"window_samples\":%d,\"hidden\":%d,\"lstm_layers\":%d}", WINDOW,
             (int)h, layers);
    es_build_meta(b, "pyannet", config, "1");
    snprintf(b->report->sizes, sizeof b->report->sizes, "%d sinc filters, %d bidirectional LSTM layers of %d, 7 classes",
             2 * PAIRS, layers, (int)h);

    norm(b, "wave_norm", "sincnet.wav_norm1d", 1);
    sinc(b);
    norm(b, "norm0", "sincnet.norm1d.0", 2 * PAIRS);
    norm(b, "norm1", "sincnet.norm1d.1", 60);
    norm(b, "norm2", "sincnet.norm1d.2", 60);
    conv(b, 1, 2 * PAIRS);
    conv(b, 2, 60);
    for (int i = 0; i < layers; i++) lstm(b, i, i ? 2 * h : 60, h);
    linear(b, "linear.0", "linear.0", wide, 2 * h);
    linear(b, "linear.1", "linear.1", wide, wide);
    linear(b, "classifier", "classifier", 7, wide);
    es_build_leftover(b);
}
