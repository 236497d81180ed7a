/*
 * kernel_cases_text.c - rotary positions, gated units and pooling.
 */
#include "kernel_rig.h"
#include "ref.h"
#include "test.h"

/* ---- text encoders ---- */

void es_case_rope(es_rig *r)
{
    static const struct {
        int T, live, H, D, ld;
    } shapes[] = {{1, 1, 1, 2, 2}, {7, 5, 3, 32, 160}, {33, 33, 14, 128, 14 * 128 + 256}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++) {
            enum { P = 40 };
            int T = shapes[i].T, H = shapes[i].H, D = shapes[i].D, ld = shapes[i].ld;
            int32_t rows = shapes[i].live, *pos = malloc((size_t)T * sizeof *pos);
            size_t n = (size_t)T * (size_t)ld, live = (size_t)rows * (size_t)ld;
            double *x = es_rig_noise(41, n, 1), *table = es_rig_noise(42, (size_t)(P * D), 1);
            char what[96];
            snprintf(what, sizeof what, "rope %d/%d x %d x %d in %d %s", rows, T, H, D, ld,
                     es_dtype_name(es_rig_floats[f]));
            for (int t = 0; t < T; t++) pos[t] = (t * 11 + 3) % P;
            es_rig_begin(r);
            void *dt = es_rig_put(r, table, (size_t)(P * D), ES_F32), *dx = es_rig_put(r, x, n, es_rig_floats[f]);
            const int32_t *dp = es_rig_put_bytes(r, pos, (size_t)T * sizeof *pos),
                          *dr = es_rig_put_bytes(r, &rows, sizeof rows);
            float *x4 = es_rig_narrow(x, n), *t4 = es_rig_narrow(table, (size_t)(P * D));
            r->o->rope(r->d, es_rig_floats[f], dx, ld, dt, dp, rows < T ? dr : NULL, T, H, D);
            ref64_rope(x, ld, table, pos, rows, H, D);
            ref32_rope(x4, ld, t4, pos, rows, H, D);
            double *have = es_rig_get(r, dx, live, es_rig_floats[f]);
            es_rig_compare(what, have, x, x4, live, es_rig_floats[f]);
            es_rig_end(r, what);
            free(have), free(x), free(table), free(x4), free(t4), free(pos);
        }
}

void es_case_swiglu(es_rig *r)
{
    static const int shapes[][3] = {{1, 1, 7}, {5, 3, 17}, {9, 9, 1536}, {3, 2, 2056}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++) {
            int T = shapes[i][0], I = shapes[i][2];
            int32_t rows = shapes[i][1];
            size_t n = (size_t)(2 * T * I), live = (size_t)(rows * I);
            double *x = es_rig_noise(43, n, 3), *y = malloc(live * sizeof *y);
            float *x4, *y4 = malloc(live * sizeof *y4);
            char what[96];
            snprintf(what, sizeof what, "swiglu %d/%d x %d %s", rows, T, I, es_dtype_name(es_rig_floats[f]));
            es_rig_begin(r);
            void *dx = es_rig_put(r, x, n, es_rig_floats[f]),
                 *dy = es_rig_room(r, (size_t)(T * I) * es_dtype_bytes(es_rig_floats[f]));
            const int32_t *dr = es_rig_put_bytes(r, &rows, sizeof rows);
            x4 = es_rig_narrow(x, n);
            r->o->swiglu(r->d, es_rig_floats[f], dy, dx, rows < T ? dr : NULL, T, I);
            ref64_swiglu(y, x, rows, I);
            ref32_swiglu(y4, x4, rows, I);
            double *have = es_rig_get(r, dy, live, es_rig_floats[f]);
            es_rig_compare(what, have, y, y4, live, es_rig_floats[f]);
            es_rig_end(r, what);
            free(have), free(x), free(y), free(x4), free(y4);
        }
}

void es_case_pool(es_rig *r)
{
    enum { S = 5, N = 301 };
    static const int32_t bounds[S + 1] = {0, 1, 1, 40, 40, N};
    static const int widths[] = {1, 31, 384};

    for (int w = 0; w < 3; w++)
        for (int f = 0; f < 3; f++)
            for (int how = ES_POOL_MEAN; how <= ES_POOL_LAST; how++)
                for (int unit = 0; unit < 2; unit++) {
                    int C = widths[w];
                    size_t n = (size_t)(N * C), ny = (size_t)(S * C);
                    double *x = es_rig_noise(44, n, 1), *y = malloc(ny * sizeof *y);
                    float *x4, *y4 = malloc(ny * sizeof *y4);
                    char what[96];
                    snprintf(what, sizeof what, "pool %d, unit %d, width %d %s", how, unit, C,
                             es_dtype_name(es_rig_floats[f]));
                    es_rig_begin(r);
                    void *dx = es_rig_put(r, x, n, es_rig_floats[f]), *dy = es_rig_room(r, ny * sizeof(float));
                    const int32_t *db = es_rig_put_bytes(r, bounds, sizeof bounds);
                    x4 = es_rig_narrow(x, n);
                    r->o->pool(r->d, dy, es_rig_floats[f], dx, db, S, C, (es_pooling)how, unit);
                    ref64_pool(y, x, bounds, S, C, (es_pooling)how, unit);
                    ref32_pool(y4, x4, bounds, S, C, (es_pooling)how, unit);
                    double *have = es_rig_get(r, dy, ny, ES_F32);
                    es_rig_compare(what, have, y, y4, ny, ES_F32);
                    es_rig_end(r, what);
                    free(have), free(x), free(y), free(x4), free(y4);
                }
}
