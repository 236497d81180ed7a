/*
 * kernel_cases_frames.c - cases of the ops along time: pooling, norms over time, the recurrent layer.
 */
#include "kernel_rig.h"

#include "ref.h"
#include "test.h"

void es_case_maxpool(es_rig *r)
{
    static const int shapes[][5] = {{1, 1, 1, 1, 1}, {2, 2, 17, 5, 3}, {3, 2, 100, 80, 3}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++)
            for (int absolute = 0; absolute < 2; absolute++) {
                int B = shapes[i][0], T = shapes[i][2], C = shapes[i][3], K = shapes[i][4];
                int32_t live = shapes[i][1];
                size_t n = (size_t)(B * T * C), ny = (size_t)(B * (T / K) * C), nl = (size_t)(live * (T / K) * C);
                double *x = es_rig_noise(51, n, 1), *y = malloc(ny * sizeof *y);
                float *x4, *y4 = malloc(ny * sizeof *y4);
                char what[96];
                snprintf(what, sizeof what, "maxpool %d/%d x %d x %d by %d %s", live, B, T, C, K, es_dtype_name(es_rig_floats[f]));
                es_rig_begin(r);
                void *dx = es_rig_put(r, x, n, es_rig_floats[f]), *dy = es_rig_room(r, ny * es_dtype_bytes(es_rig_floats[f]));
                const int32_t *dl = es_rig_put_bytes(r, &live, sizeof live);
                x4 = es_rig_narrow(x, n);
                r->o->maxpool(r->d, es_rig_floats[f], dy, dx, live < B ? dl : NULL, B, T, C, K, absolute);
                ref64_maxpool(y, x, live, T, C, K, absolute);
                ref32_maxpool(y4, x4, live, T, C, K, absolute);
                double *have = es_rig_get(r, dy, nl, es_rig_floats[f]);
                es_rig_compare(what, have, y, y4, nl, es_rig_floats[f]);
                es_rig_end(r, what);
                free(have), free(x), free(y), free(x4), free(y4);
            }
}

void es_case_norm_time(es_rig *r)
{
    static const struct {
        int B, live, T, C;
        es_act act;
    } shapes[] = {{1, 1, 1, 1, ES_ACT_NONE}, {2, 1, 257, 1, ES_ACT_NONE}, {2, 2, 4088, 1, ES_ACT_LEAKY},
                  {1, 1, 4104, 1, ES_ACT_NONE}, {3, 2, 129, 60, ES_ACT_LEAKY}, {1, 1, 600, 33, ES_ACT_RELU}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++) {
            int B = shapes[i].B, T = shapes[i].T, C = shapes[i].C;
            int32_t live = shapes[i].live;
            size_t n = (size_t)(B * T * C), nl = (size_t)(live * T * C);
            double *x = es_rig_noise(52, n, 1), *g = es_rig_noise(53, (size_t)C, 1), *b = es_rig_noise(54, (size_t)C, 1), *y = malloc(n * sizeof *y);
            char what[96];
            snprintf(what, sizeof what, "norm_time %d/%d x %d x %d %s", live, B, T, C, es_dtype_name(es_rig_floats[f]));
            for (size_t k = 0; k < n; k++) x[k] += 2;
            es_rig_begin(r);
            void *dx = es_rig_put(r, x, n, es_rig_floats[f]), *dg = es_rig_put(r, g, (size_t)C, ES_F32), *db = es_rig_put(r, b, (size_t)C, ES_F32),
                 *dy = es_rig_room(r, n * es_dtype_bytes(es_rig_floats[f]));
            const int32_t *dl = es_rig_put_bytes(r, &live, sizeof live);
            float *x4 = es_rig_narrow(x, n), *g4 = es_rig_narrow(g, (size_t)C), *b4 = es_rig_narrow(b, (size_t)C), *y4 = malloc(n * sizeof *y4);
            r->o->norm_time(r->d, es_rig_floats[f], dy, dx, dg, db, live < B ? dl : NULL, B, T, C, 1e-5f, shapes[i].act);
            ref64_norm_time(y, x, g, b, live, T, C, 1e-5, shapes[i].act);
            ref32_norm_time(y4, x4, g4, b4, live, T, C, 1e-5f, shapes[i].act);
            double *have = es_rig_get(r, dy, nl, es_rig_floats[f]);
            es_rig_compare(what, have, y, y4, nl, es_rig_floats[f]);
            es_rig_end(r, what);
            free(have), free(x), free(g), free(b), free(y), free(x4), free(g4), free(b4), free(y4);
        }
}

void es_case_lstm(es_rig *r)
{
    static const int shapes[][4] = {{1, 1, 1, 16}, {3, 2, 9, 16}, {9, 9, 5, 32}, {1, 1, 12, 128}, {9, 9, 3, 128}, {18, 10, 4, 128}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 2; f++) {
            int B = shapes[i][0], T = shapes[i][2], h = shapes[i][3];
            int32_t live = shapes[i][1];
            size_t n = (size_t)(B * T * 8 * h), ny = (size_t)(B * T * 2 * h), nl = (size_t)(live * T * 2 * h), nw = (size_t)(8 * h * h);
            double *x = es_rig_noise(55, n, 1), *w = es_rig_noise(56, nw, 1 / sqrt(h)), *y = malloc(ny * sizeof *y);
            es_matrix W = {.dtype = es_rig_floats[f], .O = 8 * h, .I = h};
            char what[96];
            snprintf(what, sizeof what, "lstm %d/%d x %d x %d, W %s", live, B, T, h, es_dtype_name(es_rig_floats[f]));
            es_rig_begin(r);
            void *host = malloc(nw * 4), *dw = es_rig_room(r, r->traits->matrix_bytes(es_rig_floats[f], W.O, W.I));
            ref_store(host, es_rig_floats[f], w, nw);
            ref_fetch(w, host, es_rig_floats[f], nw);
            r->o->matrix_load(r->d, dw, W, host, es_rig_floats[f]);
            W.p = dw;
            void *dx = es_rig_put(r, x, n, ES_F32), *dy = es_rig_room(r, ny * sizeof(float));
            const int32_t *dl = es_rig_put_bytes(r, &live, sizeof live);
            float *x4 = es_rig_narrow(x, n), *w4 = es_rig_narrow(w, nw), *y4 = malloc(ny * sizeof *y4);
            r->o->lstm(r->d, dy, dx, W, live < B ? dl : NULL, B, T, h);
            ref64_lstm(y, x, w, live, T, h);
            ref32_lstm(y4, x4, w4, live, T, h);
            double *have = es_rig_get(r, dy, nl, ES_F32);
            es_rig_compare(what, have, y, y4, nl, ES_F32);
            es_rig_end(r, what);
            free(have), free(x), free(w), free(y), free(x4), free(w4), free(y4), free(host);
        }
}
