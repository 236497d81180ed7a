/*
 * mel.c - Whisper's log-mel spectrogram, as the reference computes it.
 *
 *     L[t][m] = log10(max(1e-10, sum_k W[m][k] |DFT400(hann * x[160 t ..])[k]|^2))
 *     y[t][m] = (max(L, top - 8) + 4) / 4
 *
 * Two passes over a window: L of every frame into scratch, eight frames at a time, with the largest of each group; then
 * the floor and the scale, once `top` is known. Frames past frames[b] take fill[b]; where that is NaN they take what a
 * silent frame takes, (max(-10, top - 8) + 4) / 4. top[b] NaN means the largest L of the frames below frames[b], -10
 * where there is none. A caller that wants the soft edge of a signal cut off by zeros (the two frames whose window
 * straddles the end) passes zeros and counts those frames as content.
 *
 * Mel sums and logarithms are double; the filters are f32 values, as in the published table.
 */
#include "kernels/cpu.h"

#include <assert.h>
#include <math.h>

enum { GROUPS = ES_MEL_FRAMES / ES_MEL_LANES, WINDOW = ES_MEL_SAMPLES + 2 * ES_MEL_PAD };

/* ---- tables ---- */

static double mel_to_hz(double m)
{
    return m < 15 ? m * 200 / 3 : 1000 * exp((m - 15) * log(6.4) / 27);
}

size_t es_mel_tables_bytes(int M)
{
    (void)M;
    return sizeof(es_mel_tables);
}

void es_mel_tables_fill(void *host, int M)
{
    const double pi = 3.14159265358979323846, top = 15 + 27 * log(8.0) / log(6.4);
    es_mel_tables *t = host;

    assert(M > 0 && M <= ES_MEL_MAX);
    memset(t, 0, sizeof *t);
    for (int i = 0; i < 400; i++) {
        t->cosine[i] = cos(2 * pi * i / 400);
        t->sine[i] = sin(2 * pi * i / 400);
        t->window[i] = 0.5 * (1 - t->cosine[i]);
    }
    for (int m = 0; m < M; m++) {
        double lo = mel_to_hz(top * m / (M + 1)), mid = mel_to_hz(top * (m + 1) / (M + 1)),
               hi = mel_to_hz(top * (m + 2) / (M + 1));
        for (int k = 0; k < ES_MEL_BINS; k++) {
            double up = (40.0 * k - lo) / (mid - lo), down = (hi - 40.0 * k) / (hi - mid);
            double w = (up < down ? up : down) * 2 / (hi - lo);
            if ((float)w <= 0 || t->count[m] == ES_MEL_WIDEST) continue;
            if (t->count[m] == 0) t->first[m] = k;
            t->weight[m][t->count[m]++] = (float)w;
        }
    }
}

/* ---- passes ---- */

typedef struct mel_call {
    const es_cpu *d;
    const float *pcm;
    const int32_t *frames;
    const float *top, *fill;
    const es_mel_tables *t;
    int M;
    float *log;   /* [B, 3000, M] */
    float *group; /* [B, 375]: the largest of eight frames */
    void *y;
    es_dtype yt;
} mel_call;

static void log_groups(void *arg, int first, int last, int thread)
{
    const mel_call *c = arg;
    double *p = (double *)(void *)es_cpu_scratch(c->d, thread);

    for (int g = first; g < last; g++) {
        int b = g / GROUPS, at = g % GROUPS * ES_MEL_LANES, content = es_min(c->frames[b], ES_MEL_FRAMES);
        float *row = c->log + ((size_t)b * ES_MEL_FRAMES + (size_t)at) * (size_t)c->M, best = -10;
        if (at < content) {
            c->d->lanes->power(p, c->pcm + (size_t)b * WINDOW + (size_t)at * ES_MEL_HOP, c->t);
            for (int m = 0; m < c->M; m++) {
                double s[ES_MEL_LANES] = {0};
                for (int i = 0; i < c->t->count[m]; i++)
                    for (int l = 0; l < ES_MEL_LANES; l++)
                        s[l] += (double)c->t->weight[m][i] * p[(c->t->first[m] + i) * ES_MEL_LANES + l];
                for (int l = 0; l < ES_MEL_LANES && at + l < content; l++) {
                    float v = s[l] > 1e-10 ? (float)log10(s[l]) : -10.0f;
                    row[(size_t)l * (size_t)c->M + (size_t)m] = v;
                    best = v > best ? v : best;
                }
            }
        }
        c->group[g] = best;
    }
}

static float window_top(const mel_call *c, int b)
{
    float best = -10;

    for (int g = 0; g < GROUPS; g++) best = c->group[b * GROUPS + g] > best ? c->group[b * GROUPS + g] : best;
    return best;
}

/* The floor and the scale of 8 frames. The sum is taken in double: (v + 4) / 4 then rounds once. */
static void scale_groups(void *arg, int first, int last, int thread)
{
    const mel_call *c = arg;
    size_t M = (size_t)c->M;

    for (int g = first; g < last; g++) {
        int b = g / GROUPS, at = g % GROUPS * ES_MEL_LANES, content = es_min(c->frames[b], ES_MEL_FRAMES);
        float *room = es_cpu_scratch(c->d, thread);
        float top = isnan(c->top[b]) ? window_top(c, b) : c->top[b], floor = top - 8;
        float silent = ((floor > -10 ? floor : -10) + 4) / 4, fill = isnan(c->fill[b]) ? silent : c->fill[b];
        for (int l = 0; l < ES_MEL_LANES; l++) {
            size_t row = ((size_t)b * ES_MEL_FRAMES + (size_t)(at + l)) * M;
            for (size_t m = 0; m < M; m++) {
                float v = at + l < content ? c->log[row + m] : 0;
                room[m] = at + l < content ? ((v > floor ? v : floor) + 4) / 4 : fill;
            }
            es_narrow((char *)c->y + row * es_dtype_bytes(c->yt), c->yt, room, M);
        }
    }
}

static mel_call mel_begin(es_cpu *d, const float *pcm, const int32_t *frames, const void *tables, int B, int M,
                          void *scratch)
{
    float *log = scratch;

    return (mel_call){.d = d,
                      .pcm = pcm,
                      .frames = frames,
                      .t = tables,
                      .M = M,
                      .log = log,
                      .group = log + (size_t)B * ES_MEL_FRAMES * (size_t)M};
}

void es_cpu_logmel(es_device *dev, es_dtype t, void *y, const float *pcm, const int32_t *frames, const float *top,
                   const float *fill, const void *tables, const int32_t *batches, int B, int M, void *scratch)
{
    es_cpu *d = es_cpu_of(dev);
    mel_call c = mel_begin(d, pcm, frames, tables, B, M, scratch);
    int live = es_live(batches, B);

    c.top = top, c.fill = fill, c.y = y, c.yt = t;
    es_cpu_for(d, live * GROUPS, 8, log_groups, &c);
    es_cpu_for(d, live * GROUPS, 64, scale_groups, &c);
}

void es_cpu_logmel_top(es_device *dev, float *max, const float *pcm, const int32_t *frames, const void *tables,
                       const int32_t *batches, int B, int M, void *scratch)
{
    es_cpu *d = es_cpu_of(dev);
    mel_call c = mel_begin(d, pcm, frames, tables, B, M, scratch);
    int live = es_live(batches, B);

    es_cpu_for(d, live * GROUPS, 8, log_groups, &c);
    for (int b = 0; b < live; b++) max[b] = window_top(&c, b);
}
