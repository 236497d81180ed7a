/*
 * norm.c - layernorm and rmsnorm of the CPU: a row at a time, statistics in sixteen lanes, two passes for the variance.
 */
#include "kernels/cpu.h"

#include <math.h>

typedef struct norm_call {
    const es_cpu *d;
    void *y, *x;
    const void *r;
    const float *g, *b;
    es_dtype t;
    int C;
    float eps;
    bool centred;
} norm_call;

static void norm_rows(void *arg, int first, int last, int thread)
{
    const norm_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t C = (size_t)c->C, e = es_dtype_bytes(c->t);
    float *room = es_cpu_scratch(c->d, thread), *out = room + C, *added = out + C;

    for (int t = first; t < last; t++) {
        size_t at = (size_t)t * C;
        void *y = (char *)c->y + at * e;
        const float *x = es_read(l, c->x, c->t, at, C, room);
        if (c->r) {
            const float *r = es_read(l, c->r, c->t, at, C, out);
            for (size_t i = 0; i < C; i++) added[i] = x[i] + r[i];
            /* What is normed is what is stored: the sum after its rounding to the storage type. */
            es_narrow((char *)c->x + at * e, c->t, added, C);
            x = es_read(l, c->x, c->t, at, C, room);
        }
        float mean = c->centred ? l->sum(x, C) / (float)c->C : 0;
        float var = l->sum_square(x, C, mean) / (float)c->C;
        l->norm(c->t == ES_F32 ? y : out, x, c->g, c->b, C, mean, 1.0f / sqrtf(var + c->eps));
        if (c->t != ES_F32) es_narrow(y, c->t, out, C);
    }
}

static void norm_run(es_device *dev, norm_call c, const int32_t *rows, int T)
{
    c.d = es_cpu_of(dev);
    es_cpu_for(es_cpu_of(dev), es_live(rows, T), 16384 / c.C + 1, norm_rows, &c);
}

void es_cpu_layernorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const float *b,
                      const int32_t *rows, int T, int C, float eps)
{
    norm_run(d, (norm_call){.y = y, .x = x, .r = r, .g = g, .b = b, .t = t, .C = C, .eps = eps, .centred = true}, rows,
             T);
}

void es_cpu_rmsnorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const int32_t *rows,
                    int T, int C, float eps)
{
    norm_run(d, (norm_call){.y = y, .x = x, .r = r, .g = g, .t = t, .C = C, .eps = eps}, rows, T);
}
