/*
 * pieces.c - ops over packed pieces of different lengths: a scale and shift of rows, means of segments, gates, statistics.
 *
 * A piece's results are those it would have alone: every sum is taken in double, one chain a channel over the piece's own
 * rows in ascending order, whoever stands before or behind it. The convolution over pieces is in linear.c.
 */
#include "kernels/cpu.h"

#include <math.h>

typedef struct piece_call {
    const es_cpu *d;
    void *y;
    const void *x;
    const float *g, *b;
    const int32_t *bounds, *segments;
    es_dtype t;
    int S, C, ldx, ldy, length;
    es_act act;
} piece_call;

/* ---- scale and shift ---- */

static void affine_rows(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    size_t C = (size_t)c->C, e = es_dtype_bytes(c->t);
    float *room = es_cpu_scratch(c->d, thread), *out = room + C;

    for (int r = first; r < last; r++) {
        char *to = (char *)c->y + (size_t)r * (size_t)c->ldy * e;
        const float *x = es_read(c->d->lanes, c->x, c->t, (size_t)r * (size_t)c->ldx, C, room);
        if (c->g) {
            c->d->lanes->norm(out, x, c->g, c->b, C, 0, 1);
            x = out;
        }
        if (c->act != ES_ACT_NONE) {
            c->d->lanes->finish(out, x, C, (es_finish){.act = c->act});
            x = out;
        }
        es_narrow(to, c->t, x, C);
    }
}

void es_cpu_affine(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                   const int32_t *rows, int T, int C, es_act act)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .g = g, .b = b, .t = t, .C = C, .ldx = ldx, .ldy = ldy, .act = act};

    es_cpu_for(es_cpu_of(d), es_live(rows, T), 32768 / C + 1, affine_rows, &c);
}

/* ---- segments ---- */

enum { CHANNELS = 32 }; /* of a job; job = piece * groups + group */

/* The sums of rows first .. last-1, channels of one job. */
static void sum_rows(const piece_call *c, double *sum, int first, int last, int c0, int n)
{
    float room[CHANNELS];

    for (int i = 0; i < n; i++) sum[i] = 0;
    for (int r = first; r < last; r++) {
        const float *x = es_read(c->d->lanes, c->x, c->t, (size_t)r * (size_t)c->C + (size_t)c0, (size_t)n, room);
        for (int i = 0; i < n; i++) sum[i] += (double)x[i];
    }
}

static void means_of_segments(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    int groups = (c->C + CHANNELS - 1) / CHANNELS;
    double all[CHANNELS], sum[CHANNELS];

    (void)thread;
    for (int job = first; job < last; job++) {
        int s = job / groups, c0 = job % groups * CHANNELS, n = es_min(CHANNELS, c->C - c0);
        int from = c->bounds[s], to = c->bounds[s + 1];
        sum_rows(c, all, from, to, c0, n);
        for (int r = from, row = c->segments[s]; r < to; r += c->length, row++) {
            int end = es_min(r + c->length, to);
            float *y = (float *)c->y + (size_t)row * (size_t)c->C + c0;
            sum_rows(c, sum, r, end, c0, n);
            for (int i = 0; i < n; i++) y[i] = (float)(sum[i] / (end - r) + all[i] / (to - from));
        }
    }
}

void es_cpu_segment_means(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds,
                          const int32_t *segments, int S, int n_segments, int C, int length)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .bounds = bounds, .segments = segments, .t = t, .C = C, .length = length};

    (void)n_segments;
    es_cpu_for(es_cpu_of(d), S * ((C + CHANNELS - 1) / CHANNELS), 1, means_of_segments, &c);
}

static void gate_pieces(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    size_t C = (size_t)c->C, e = es_dtype_bytes(c->t);
    float *room = es_cpu_scratch(c->d, thread), *out = room + C;

    for (int s = first; s < last; s++)
        for (int r = c->bounds[s]; r < c->bounds[s + 1]; r++) {
            const float *x = es_read(c->d->lanes, c->x, c->t, (size_t)r * C, C, room);
            const float *g = c->g + (size_t)(c->segments[s] + (r - c->bounds[s]) / c->length) * C;
            for (size_t i = 0; i < C; i++) out[i] = x[i] * g[i];
            es_narrow((char *)c->y + (size_t)r * (size_t)c->ldy * e, c->t, out, C);
        }
}

void es_cpu_gate_segments(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g, const int32_t *bounds,
                          const int32_t *segments, int S, int N, int C, int length)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .g = g, .bounds = bounds,
                    .segments = segments, .t = t, .C = C, .ldy = ldy, .length = length};

    (void)N;
    es_cpu_for(es_cpu_of(d), S, 1, gate_pieces, &c);
}

/* ---- statistics ---- */

static void describe(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    int groups = (c->C + CHANNELS - 1) / CHANNELS;
    double mean[CHANNELS];
    float room[CHANNELS];

    (void)thread;
    for (int job = first; job < last; job++) {
        int s = job / groups, c0 = job % groups * CHANNELS, n = es_min(CHANNELS, c->C - c0);
        int from = c->bounds[s], rows = c->bounds[s + 1] - from;
        float *y = (float *)c->y + (size_t)s * 2 * (size_t)c->C + c0;
        double square[CHANNELS] = {0};
        sum_rows(c, mean, from, from + rows, c0, n);
        for (int i = 0; i < n; i++) mean[i] /= rows > 0 ? rows : 1;
        for (int r = from; r < from + rows; r++) {
            const float *x = es_read(c->d->lanes, c->x, c->t, (size_t)r * (size_t)c->C + (size_t)c0, (size_t)n, room);
            for (int i = 0; i < n; i++) square[i] += ((double)x[i] - mean[i]) * ((double)x[i] - mean[i]);
        }
        for (int i = 0; i < n; i++) {
            y[i] = (float)mean[i];
            y[c->C + i] = rows > 1 ? (float)sqrt(square[i] / (rows - 1)) : 0;
        }
    }
}

void es_cpu_mean_deviation(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .bounds = bounds, .t = t, .C = C};

    es_cpu_for(es_cpu_of(d), S * ((C + CHANNELS - 1) / CHANNELS), 1, describe, &c);
}
