/*
 * pieces.c - ops over packed pieces of different lengths: a scale and shift of rows, means of segments, gates, statistics.
 *
 * A piece's results are those it would have alone: every sum is taken in double, one chain a channel over the piece's own
 * rows in ascending order, whoever stands before or behind it. Statistics come in three kinds that differ in how much a row
 * counts: all the same, by a softmax over the piece, by weights given from outside. The convolution over pieces is in linear.c.
 */
#include "kernels/cpu.h"

#include <math.h>

typedef struct piece_call {
    const es_cpu *d;
    void *y;
    const void *x, *z, *a;
    const float *g, *b;
    const int32_t *bounds, *segments;
    es_dtype t;
    int S, C, N, ldx, ldy, lda, length, less;
    float least;
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
        float *y = c->t == ES_F32 ? (float *)(void *)to : out;
        if (c->g) {
            c->d->lanes->norm(y, x, c->g, c->b, C, 0, 1);
            x = y;
        }
        if (c->act != ES_ACT_NONE) {
            c->d->lanes->finish(y, x, C, (es_finish){.act = c->act});
            x = y;
        }
        if (x != (float *)(void *)to) es_narrow(to, c->t, x, C);
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

/* ---- by piece ---- */

static void pieces_of_rows(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t C = (size_t)c->C, e = es_dtype_bytes(c->t);
    float *room = es_cpu_scratch(c->d, thread), *more = room + C, *out = more + C;
    int s = 0;

    while (s < c->S - 1 && c->bounds[s + 1] <= first) s++;
    for (int r = first; r < last; r++) {
        while (s < c->S - 1 && c->bounds[s + 1] <= r) s++;
        const float *x = es_read(l, c->x, c->t, (size_t)r * (size_t)c->ldx, C, room);
        const float *a = c->a ? es_read(l, c->a, c->t, (size_t)r * (size_t)c->lda, C, more) : NULL;
        const float *g = c->g ? c->g + (size_t)s * C : NULL, *b = c->b ? c->b + (size_t)s * C : NULL;
        for (size_t i = 0; i < C; i++) out[i] = g ? x[i] * g[i] : x[i];
        if (b)
            for (size_t i = 0; i < C; i++) out[i] += b[i];
        if (a)
            for (size_t i = 0; i < C; i++) out[i] += a[i];
        if (c->act != ES_ACT_NONE) l->finish(out, out, C, (es_finish){.act = c->act});
        es_narrow((char *)c->y + (size_t)r * (size_t)c->ldy * e, c->t, out, C);
    }
}

void es_cpu_by_piece(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c,
                     const void *a, int lda, const int32_t *bounds, int S, int N, int C, es_act act)
{
    piece_call call = {.d = es_cpu_of(d), .y = y, .x = x, .a = a, .g = g, .b = c, .bounds = bounds, .t = t, .S = S, .C = C,
                       .ldx = ldx, .ldy = ldy, .lda = lda, .act = act};

    es_cpu_for(es_cpu_of(d), es_live(bounds + S, N), 32768 / C + 1, pieces_of_rows, &call);
}

/* ---- statistics ---- */

/* Channels c0 .. c0 + n - 1 of a row. */
static const float *some_of_row(const piece_call *c, const void *x, int r, int c0, int n, float *room)
{
    return es_read(c->d->lanes, x, c->t, (size_t)r * (size_t)c->C + (size_t)c0, (size_t)n, room);
}

/* The largest of z among a piece's rows. */
static void largest(const piece_call *c, float *top, int first, int last, int c0, int n)
{
    float room[CHANNELS];

    for (int i = 0; i < n; i++) top[i] = -INFINITY;
    for (int r = first; r < last; r++) {
        const float *z = some_of_row(c, c->z, r, c0, n, room);
        for (int i = 0; i < n; i++) top[i] = z[i] > top[i] ? z[i] : top[i];
    }
}

/* How much row r counts in each channel: e^(z - top), or 1. */
static void counts(const piece_call *c, float *p, const float *top, int r, int c0, int n)
{
    float room[CHANNELS];

    if (!c->z) {
        for (int i = 0; i < n; i++) p[i] = 1;
        return;
    }
    const float *z = some_of_row(c, c->z, r, c0, n, room);
    for (int i = 0; i < n; i++) p[i] = z[i] - top[i];
    (void)c->d->lanes->exp_sum(p, p, (size_t)n, 0);
}

static void describe(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    int groups = (c->C + CHANNELS - 1) / CHANNELS;
    float room[CHANNELS], p[CHANNELS], top[CHANNELS];

    (void)thread;
    for (int job = first; job < last; job++) {
        int s = job / groups, c0 = job % groups * CHANNELS, n = es_min(CHANNELS, c->C - c0);
        int from = c->bounds[s], to = c->bounds[s + 1];
        float *y = (float *)c->y + (size_t)s * 2 * (size_t)c->C + c0;
        double mean[CHANNELS] = {0}, square[CHANNELS] = {0}, all[CHANNELS] = {0};
        if (c->z) largest(c, top, from, to, c0, n);
        for (int r = from; r < to; r++) {
            const float *x = some_of_row(c, c->x, r, c0, n, room);
            counts(c, p, top, r, c0, n);
            for (int i = 0; i < n; i++) mean[i] += (double)p[i] * (double)x[i], all[i] += (double)p[i];
        }
        for (int i = 0; i < n; i++) mean[i] /= to > from ? all[i] : 1;
        for (int r = from; r < to; r++) {
            const float *x = some_of_row(c, c->x, r, c0, n, room);
            counts(c, p, top, r, c0, n);
            for (int i = 0; i < n; i++) square[i] += (double)p[i] * (((double)x[i] - mean[i]) * ((double)x[i] - mean[i]));
        }
        for (int i = 0; i < n; i++) {
            double by = all[i] - (c->z ? 0 : c->less), variance = by > 0 ? square[i] / by : 0;
            y[i] = (float)mean[i];
            y[c->C + i] = to > from ? (float)sqrt(variance > (double)c->least ? variance : (double)c->least) : 0;
        }
    }
}

void es_cpu_mean_deviation(es_device *d, float *y, es_dtype t, const void *x, const void *z, const int32_t *bounds, int S, int C,
                           int less, float least)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .z = z, .bounds = bounds, .t = t, .C = C, .less = less, .least = least};

    es_cpu_for(es_cpu_of(d), S * ((C + CHANNELS - 1) / CHANNELS), 1, describe, &c);
}

/* job = answer * groups + group; segments: the piece of each answer. */
static void weigh(void *arg, int first, int last, int thread)
{
    const piece_call *c = arg;
    int groups = (c->C + CHANNELS - 1) / CHANNELS;
    float room[CHANNELS];

    (void)thread;
    for (int job = first; job < last; job++) {
        int v = job / groups, c0 = job % groups * CHANNELS, n = es_min(CHANNELS, c->C - c0), s = c->segments[v];
        int from = s < 0 ? 0 : c->bounds[s], rows = s < 0 ? 0 : c->bounds[s + 1] - from;
        const float *w = c->g + (size_t)v * (size_t)c->N;
        float *y = (float *)c->y + (size_t)v * 2 * (size_t)c->C + c0;
        double mean[CHANNELS] = {0}, square[CHANNELS] = {0}, one = 0, two = 0;
        for (int r = 0; r < rows; r++) one += (double)w[r], two += (double)w[r] * (double)w[r];
        float v1 = (float)one + 1e-8f, v2 = (float)two, by = v1 - v2 / v1 + 1e-8f;
        for (int r = 0; r < rows; r++) {
            const float *x = some_of_row(c, c->x, from + r, c0, n, room);
            for (int i = 0; i < n; i++) mean[i] += (double)w[r] * (double)x[i];
        }
        for (int i = 0; i < n; i++) mean[i] /= (double)v1;
        for (int r = 0; r < rows; r++) {
            const float *x = some_of_row(c, c->x, from + r, c0, n, room);
            for (int i = 0; i < n; i++) square[i] += (double)w[r] * (((double)x[i] - mean[i]) * ((double)x[i] - mean[i]));
        }
        for (int i = 0; i < n; i++) y[i] = (float)mean[i], y[c->C + i] = (float)sqrt(square[i] / (double)by);
    }
}

void es_cpu_weighed_deviation(es_device *d, float *y, es_dtype t, const void *x, const float *w, const int32_t *of,
                              const int32_t *bounds, int V, int N, int C)
{
    piece_call c = {.d = es_cpu_of(d), .y = y, .x = x, .g = w, .bounds = bounds, .segments = of, .t = t, .C = C, .N = N};

    es_cpu_for(es_cpu_of(d), V * ((C + CHANNELS - 1) / CHANNELS), 1, weigh, &c);
}
