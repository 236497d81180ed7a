/*
 * frames.c - ops along time: pooling, norms of a channel over its frames, a recurrent layer in both directions.
 *
 * Sums of a norm are taken in double, one chain a channel over the frames in ascending order: a window of sound has 160,000
 * terms. The recurrent layer takes up to 8 windows at once, so that its weights (256 KB a direction at width 128, the
 * second-level cache) are read once for all of them in each frame; a window's result does not depend on its company.
 */
#include "kernels/cpu.h"

#include <math.h>

typedef struct frame_call {
    const es_cpu *d;
    void *y;
    const void *x;
    const float *g, *b;
    es_matrix W;
    es_dtype t;
    int T, To, C, K, live;
    float eps;
    es_act act;
    bool absolute;
} frame_call;

/* ---- pooling ---- */

static void maxpool_rows(void *arg, int first, int last, int thread)
{
    const frame_call *c = arg;
    size_t C = (size_t)c->C;
    float *best = es_cpu_scratch(c->d, thread), *room = best + C;

    for (int r = first; r < last; r++) {
        size_t from = (size_t)(r / c->To * c->T + r % c->To * c->K) * C;
        for (int k = 0; k < c->K; k++) {
            const float *x = es_read(c->d->lanes, c->x, c->t, from + (size_t)k * C, C, room);
            for (size_t i = 0; i < C; i++) {
                float v = c->absolute ? fabsf(x[i]) : x[i];
                best[i] = k == 0 || v > best[i] ? v : best[i];
            }
        }
        es_narrow((char *)c->y + (size_t)r * C * es_dtype_bytes(c->t), c->t, best, C);
    }
}

void es_cpu_maxpool(es_device *d, es_dtype t, void *y, const void *x, const int32_t *batches, int B, int Ti, int C, int K,
                    bool absolute)
{
    frame_call c = {.d = es_cpu_of(d), .y = y, .x = x, .t = t, .T = Ti, .To = Ti / K, .C = C, .K = K, .absolute = absolute};

    es_cpu_for(es_cpu_of(d), es_live(batches, B) * c.To, 16384 / (C * K) + 1, maxpool_rows, &c);
}

/* ---- norms over time ---- */

enum { CHANNELS = 16 }; /* of a job */

/* Sums over n channels of T rows, of x or of (x - mean)^2; each channel one chain. The usual numbers of channels have loops of
 * their own, which the compiler can lay out in registers. */
typedef struct sums {
    double of[CHANNELS];
} sums;

static inline __attribute__((always_inline)) void add_up(const frame_call *c, sums *s, size_t base, int n, const double *mean)
{
    float room[CHANNELS];
    bool plain = c->t == ES_F32;

    for (int t = 0; t < c->T; t++) {
        size_t at = base + (size_t)t * (size_t)c->C;
        const float *x = plain ? (const float *)c->x + at : es_read(c->d->lanes, c->x, c->t, at, (size_t)n, room);
        for (int i = 0; i < n; i++) {
            double v = mean ? (double)x[i] - mean[i] : (double)x[i];
            s->of[i] += mean ? v * v : v;
        }
    }
}

static void sum_channels(const frame_call *c, sums *s, size_t base, int n, const double *mean)
{
    *s = (sums){{0}};
    if (n == CHANNELS && !mean) add_up(c, s, base, CHANNELS, NULL);
    else if (n == CHANNELS) add_up(c, s, base, CHANNELS, mean);
    else if (n == 1 && !mean) add_up(c, s, base, 1, NULL);
    else if (n == 1) add_up(c, s, base, 1, mean);
    else add_up(c, s, base, n, mean);
}

/* The window normalised: rows of n channels, or, where there is one channel, its frames as one long row. */
static void put_norms(const frame_call *c, size_t base, int n, const double *mean, const float *by, int c0)
{
    enum { ROW = 256 };
    int row = c->C == 1 ? ROW : n, rows = c->C == 1 ? (c->T + ROW - 1) / ROW : c->T;
    float room[ROW], out[ROW];

    for (int t = 0; t < rows; t++) {
        size_t at = c->C == 1 ? base + (size_t)t * ROW : base + (size_t)t * (size_t)c->C;
        int m = c->C == 1 ? es_min(ROW, c->T - t * ROW) : row;
        float *y = c->t == ES_F32 ? (float *)c->y + at : out;
        const float *x = es_read(c->d->lanes, c->x, c->t, at, (size_t)m, room);
        if (c->C == 1) {
            for (int i = 0; i < m; i++) y[i] = (float)((double)x[i] - mean[0]) * by[0] * c->g[0] + c->b[0];
        } else {
            for (int i = 0; i < m; i++) y[i] = (float)((double)x[i] - mean[i]) * by[i] * c->g[c0 + i] + c->b[c0 + i];
        }
        if (c->act != ES_ACT_NONE) c->d->lanes->finish(y, y, (size_t)m, (es_finish){.act = c->act});
        if (c->t != ES_F32) es_narrow((char *)c->y + at * es_dtype_bytes(c->t), c->t, y, (size_t)m);
    }
}

/* Some channels of one window; job = window * groups + group. */
static void norm_groups(void *arg, int first, int last, int thread)
{
    const frame_call *c = arg;
    int groups = (c->C + CHANNELS - 1) / CHANNELS;

    (void)thread;
    for (int job = first; job < last; job++) {
        int c0 = job % groups * CHANNELS, n = es_min(CHANNELS, c->C - c0);
        size_t base = (size_t)(job / groups * c->T) * (size_t)c->C + (size_t)c0;
        sums mean, var;
        float by[CHANNELS];
        sum_channels(c, &mean, base, n, NULL);
        for (int i = 0; i < n; i++) mean.of[i] /= c->T;
        sum_channels(c, &var, base, n, mean.of);
        for (int i = 0; i < n; i++) by[i] = (float)(1 / sqrt(var.of[i] / c->T + (double)c->eps));
        put_norms(c, base, n, mean.of, by, c0);
    }
}

void es_cpu_norm_time(es_device *d, es_dtype t, void *y, const void *x, const float *g, const float *b,
                      const int32_t *batches, int B, int T, int C, float eps, es_act act)
{
    frame_call c = {.d = es_cpu_of(d), .y = y, .x = x, .g = g, .b = b, .t = t, .T = T, .C = C, .eps = eps, .act = act};

    es_cpu_for(es_cpu_of(d), es_live(batches, B) * ((C + CHANNELS - 1) / CHANNELS), 1, norm_groups, &c);
}

/* ---- LSTM ---- */

/* One direction of up to ES_FEW_ROWS windows; job = tile * 2 + direction. */
static void lstm_tiles(void *arg, int first, int last, int thread)
{
    const frame_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t h = (size_t)c->C, gates = 4 * h;
    float *state = es_cpu_scratch(c->d, thread), *cell = state + ES_FEW_ROWS * h, *sum = cell + ES_FEW_ROWS * h;

    for (int job = first; job < last; job++) {
        int w0 = job / 2 * ES_FEW_ROWS, m = es_min(ES_FEW_ROWS, c->live - w0), dir = job % 2;
        const char *W = (const char *)c->W.p + (size_t)dir * gates * h * es_dtype_bytes(c->W.dtype);
        memset(state, 0, 2 * ES_FEW_ROWS * h * sizeof *state);
        for (int s = 0; s < c->T; s++) {
            int t = dir ? c->T - 1 - s : s;
            l->few(m, (int)(gates / ES_LANES), (int)h, state, h, W, c->W.dtype, sum, gates);
            for (int r = 0; r < m; r++) {
                size_t frame = (size_t)(w0 + r) * (size_t)c->T + (size_t)t;
                const float *x = (const float *)c->x + frame * 2 * gates + (size_t)dir * gates;
                float *g = sum + (size_t)r * gates, *q = cell + (size_t)r * h, *y = state + (size_t)r * h;
                l->finish(g, g, 2 * h, (es_finish){.b = x, .act = ES_ACT_SIGMOID});
                l->finish(g + 2 * h, g + 2 * h, h, (es_finish){.b = x + 2 * h, .act = ES_ACT_TANH});
                l->finish(g + 3 * h, g + 3 * h, h, (es_finish){.b = x + 3 * h, .act = ES_ACT_SIGMOID});
                for (size_t i = 0; i < h; i++) q[i] = g[h + i] * q[i] + g[i] * g[2 * h + i];
                l->finish(y, q, h, (es_finish){.act = ES_ACT_TANH});
                for (size_t i = 0; i < h; i++) y[i] *= g[3 * h + i];
                memcpy((float *)c->y + frame * 2 * h + (size_t)dir * h, y, h * sizeof *y);
            }
        }
    }
}

void es_cpu_lstm(es_device *d, float *y, const float *x, es_matrix W, const int32_t *batches, int B, int T, int h)
{
    frame_call c = {.d = es_cpu_of(d), .y = y, .x = x, .W = W, .T = T, .C = h, .live = es_live(batches, B)};

    es_cpu_for(es_cpu_of(d), (c.live + ES_FEW_ROWS - 1) / ES_FEW_ROWS * 2, 1, lstm_tiles, &c);
}
