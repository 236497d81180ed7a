/*
 * pointwise.c - what a text encoder needs between its products: rotary positions, gated units, one row a text.
 *
 * A row is widened to f32, worked on, and narrowed; rows are shared out among the threads. The mean of a text is one
 * chain of additions a column, over the rows in ascending order.
 */
#include "kernels/cpu.h"

#include <math.h>

typedef struct row_call {
    const es_cpu *d;
    void *y;
    const void *x;
    es_dtype t;
    const float *table;
    const int32_t *pos;
    int ld, H, D;
} row_call;

static void rope_rows(void *arg, int first, int last, int thread)
{
    const row_call *c = arg;
    size_t n = (size_t)(c->H * c->D), half = (size_t)c->D / 2;
    float *room = es_cpu_scratch(c->d, thread);

    for (int r = first; r < last; r++) {
        char *x = (char *)c->y + (size_t)r * (size_t)c->ld * es_dtype_bytes(c->t);
        const float *table = c->table + (size_t)c->pos[r] * (size_t)c->D;
        float *v = c->t == ES_F32 ? (float *)(void *)x : room;
        if (v == room) c->d->lanes->widen(room, x, c->t, n);
        for (int h = 0; h < c->H; h++) {
            float *a = v + (size_t)h * (size_t)c->D, *b = a + half;
            for (size_t i = 0; i < half; i++) {
                float p = a[i] * table[i] - b[i] * table[half + i], q = b[i] * table[i] + a[i] * table[half + i];
                a[i] = p;
                b[i] = q;
            }
        }
        if (v == room) es_narrow(x, c->t, room, n);
    }
}

void es_cpu_rope(es_device *d, es_dtype t, void *x, int ld, const float *table, const int32_t *pos, const int32_t *rows,
                 int T, int H, int D)
{
    row_call c = {.d = es_cpu_of(d), .y = x, .t = t, .table = table, .pos = pos, .ld = ld, .H = H, .D = D};

    es_cpu_for(es_cpu_of(d), es_live(rows, T), 16384 / (H * D) + 1, rope_rows, &c);
}

static void swiglu_rows(void *arg, int first, int last, int thread)
{
    const row_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t n = (size_t)c->D, e = es_dtype_bytes(c->t);
    float *in = es_cpu_scratch(c->d, thread), *gate = in + 2 * n;

    for (int r = first; r < last; r++) {
        const float *x = es_read(l, c->x, c->t, 2 * (size_t)r * n, 2 * n, in), *up = x + n;
        l->finish(gate, x, n, (es_finish){.act = ES_ACT_SILU});
        for (size_t i = 0; i < n; i++) gate[i] *= up[i];
        es_narrow((char *)c->y + (size_t)r * n * e, c->t, gate, n);
    }
}

void es_cpu_swiglu(es_device *d, es_dtype t, void *y, const void *x, const int32_t *rows, int T, int I)
{
    row_call c = {.d = es_cpu_of(d), .y = y, .x = x, .t = t, .D = I};

    es_cpu_for(es_cpu_of(d), es_live(rows, T), 16384 / I + 1, swiglu_rows, &c);
}

typedef struct pool_call {
    const es_cpu *d;
    float *y;
    es_dtype t;
    const void *x;
    const int32_t *bounds;
    int C;
    es_pooling how;
    bool unit;
} pool_call;

static void pool_texts(void *arg, int first, int last, int thread)
{
    const pool_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t C = (size_t)c->C;
    float *room = es_cpu_scratch(c->d, thread);

    for (int s = first; s < last; s++) {
        float *y = c->y + (size_t)s * C;
        int from = c->bounds[s], to = c->bounds[s + 1];
        memset(y, 0, C * sizeof *y);
        if (from >= to) continue;
        if (c->how == ES_POOL_FIRST) to = from + 1;
        if (c->how == ES_POOL_LAST) from = to - 1;
        for (int r = from; r < to; r++) {
            const float *x = es_read(l, c->x, c->t, (size_t)r * C, C, room);
            for (size_t i = 0; i < C; i++) y[i] += x[i];
        }
        for (size_t i = 0; i < C; i++) y[i] /= (float)(to - from);
        if (!c->unit) continue;
        float norm = sqrtf(l->sum_square(y, C, 0));
        for (size_t i = 0; i < C; i++) y[i] /= norm > 1e-12f ? norm : 1e-12f;
    }
}

void es_cpu_pool(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C, es_pooling how,
                 bool unit)
{
    pool_call c = {.d = es_cpu_of(d), .y = y, .t = t, .x = x, .bounds = bounds, .C = C, .how = how, .unit = unit};

    es_cpu_for(es_cpu_of(d), S, 4, pool_texts, &c);
}
