/*
 * kernel_cases_attend.c - attention over packed sequences and over caches, and the caches themselves.
 */
#include "kernel_rig.h"
#include "ref.h"
#include "test.h"

/* ---- attention ---- */

typedef struct attend_shape {
    int32_t bounds[4];
    int S, N, H, Hkv, D;
    es_mask mask;
} attend_shape;

void es_case_attend(es_rig *r)
{
    static const attend_shape shapes[] = {
        {{0, 1}, 1, 1, 1, 1, 8, ES_MASK_NONE},
        {{0, 13, 14, 30}, 3, 33, 2, 2, 64, ES_MASK_NONE},
        {{0, 17, 17, 81}, 3, 81, 4, 2, 64, ES_MASK_CAUSAL},
        {{0, 70}, 1, 70, 3, 1, 128, ES_MASK_CAUSAL},
        {{0, 63, 129}, 2, 129, 2, 2, 32, ES_MASK_NONE},
        {{0, 513}, 1, 513, 1, 1, 64, ES_MASK_NONE},
        {{0, 511, 1030}, 2, 1030, 2, 1, 40, ES_MASK_CAUSAL},
        {{0, 300}, 1, 300, 1, 1, 256, ES_MASK_NONE},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            attend_shape s = shapes[i];
            es_dtype dt = es_rig_floats[t];
            int row = (s.H + 2 * s.Hkv) * s.D, rows = s.bounds[s.S], T = 0;
            size_t n = (size_t)(s.N * row), ny = (size_t)(rows * s.H * s.D);
            float scale = 1.0f / sqrtf((float)s.D);
            for (int j = 0; j < s.S; j++) T = s.bounds[j + 1] - s.bounds[j] > T ? s.bounds[j + 1] - s.bounds[j] : T;
            if (es_rig_too_much(r, 2.0 * rows * T * s.H * s.D) || (t && rows > 600)) continue;
            snprintf(what, sizeof what, "attend %d rows, %d sequences, %d/%d heads of %d, mask %d, %s", rows, s.S, s.H,
                     s.Hkv, s.D, s.mask, es_dtype_name(dt));
            es_rig_begin(r);
            double *x = es_rig_noise(13, n, 1.5), *y = malloc(ny * sizeof *y);
            for (size_t j = (size_t)(rows * row); j < n; j++) x[j] = (double)NAN;
            size_t e = es_dtype_bytes(dt);
            char *dx = es_rig_put(r, x, n, dt);
            void *dy = es_rig_room(r, (size_t)(s.N * s.H * s.D) * e);
            const int32_t *bounds = es_rig_put_bytes(r, s.bounds, sizeof(int32_t) * (size_t)(s.S + 1));
            r->o->attend(r->d, dt, dy, dx, row, dx + (size_t)(s.H * s.D) * e, row,
                         dx + (size_t)((s.H + s.Hkv) * s.D) * e, row, bounds, s.S, s.N, T, s.H, s.Hkv, s.D, scale,
                         s.mask);
            float *x4 = es_rig_narrow(x, n), *y4 = malloc(ny * sizeof *y4);
            ref64_attend(y, x, s.bounds, s.S, s.H, s.Hkv, s.D, (double)scale, s.mask);
            ref32_attend(y4, x4, s.bounds, s.S, s.H, s.Hkv, s.D, scale, s.mask);
            double *have = es_rig_get(r, dy, ny, dt);
            es_rig_compare(what, have, y, y4, ny, dt);
            es_rig_end(r, what);
            free(x), free(y), free(x4), free(y4), free(have);
        }
}

typedef struct cached_shape {
    int R, live, slots, T, H, D, n_pairs;
    bool len, parent;
} cached_shape;

void es_case_attend_cached(es_rig *r)
{
    static const cached_shape shapes[] = {
        {1, 1, 1, 1, 1, 8, 0, false, false},     {1, 1, 1, 448, 6, 64, 0, true, false},
        {4, 3, 3, 33, 2, 64, 2, true, true},     {5, 5, 4, 17, 3, 40, 1, true, false},
        {2, 2, 2, 1500, 2, 64, 2, false, false}, {3, 3, 3, 100, 2, 128, 0, false, true},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            cached_shape s = shapes[i];
            es_dtype dt = es_rig_floats[t];
            size_t nc = (size_t)(s.slots * s.H * s.T * s.D), nq = (size_t)(s.R * s.H * s.D),
                   ns = (size_t)(s.R * s.n_pairs * s.T);
            float scale = 1.0f / sqrtf((float)s.D);
            int32_t slot[8], len[8], heads[2] = {s.H - 1, 0}, rows = s.live,
                                     *parent = malloc(sizeof *parent * (size_t)(s.slots * s.T));
            es_noise dice = {77};
            if (es_rig_too_much(r, 2.0 * s.R * s.T * s.H * s.D)) {
                free(parent);
                continue;
            }
            for (int j = 0; j < s.R; j++) {
                slot[j] = j == 1 && s.R > 3 ? -1 : (s.slots - 1 + j) % s.slots;
                len[j] = 1 + (int)(es_noise_bits(&dice) % (unsigned)s.T);
            }
            for (int j = 0; j < s.slots * s.T; j++) parent[j] = (int)(es_noise_bits(&dice) % (unsigned)s.slots);
            snprintf(what, sizeof what, "attend_cached %d/%d rows, %d keys, %d heads of %d, %s", s.live, s.R, s.T, s.H,
                     s.D, es_dtype_name(dt));
            es_rig_begin(r);
            double *K = es_rig_noise(14, nc, 1), *V = es_rig_noise(15, nc, 1), *q = es_rig_noise(16, nq, 2),
                   *y = calloc(nq, sizeof *y), *sc = calloc(ns + 1, sizeof *sc);
            void *dK = es_rig_put(r, K, nc, dt), *dV = es_rig_put(r, V, nc, dt), *dq = es_rig_put(r, q, nq, dt),
                 *dy = es_rig_room(r, nq * es_dtype_bytes(dt)), *dsc = es_rig_room(r, ns * sizeof(float));
            const int32_t *dslot = es_rig_put_bytes(r, slot, sizeof slot), *dlen = es_rig_put_bytes(r, len, sizeof len),
                          *dheads = es_rig_put_bytes(r, heads, sizeof heads),
                          *drows = es_rig_put_bytes(r, &rows, sizeof rows),
                          *dparent = es_rig_put_bytes(r, parent, sizeof *parent * (size_t)(s.slots * s.T));
            r->o->attend_cached(r->d, dt, dy, dq, s.H * s.D, dK, dV, dslot, s.len ? dlen : NULL,
                                s.parent ? dparent : NULL, s.live < s.R ? drows : NULL, s.R, s.T, s.H, s.D, scale,
                                s.n_pairs ? dsc : NULL, dheads, s.n_pairs);
            float *K4 = es_rig_narrow(K, nc), *V4 = es_rig_narrow(V, nc), *q4 = es_rig_narrow(q, nq),
                  *y4 = calloc(nq, sizeof *y4), *sc4 = calloc(ns + 1, sizeof *sc4);
            ref64_attend_cached(y, q, K, V, slot, s.len ? len : NULL, s.parent ? parent : NULL, s.live, s.T, s.H, s.D,
                                (double)scale, sc, heads, s.n_pairs);
            ref32_attend_cached(y4, q4, K4, V4, slot, s.len ? len : NULL, s.parent ? parent : NULL, s.live, s.T, s.H,
                                s.D, scale, sc4, heads, s.n_pairs);
            size_t wide = (size_t)(s.H * s.D);
            for (int j = 0; j < s.live; j++) {
                if (slot[j] < 0) continue;
                size_t at = (size_t)j * wide;
                double *have = es_rig_get(r, (char *)dy + at * es_dtype_bytes(dt), wide, dt);
                es_rig_compare(what, have, y + at, y4 + at, wide, dt);
                free(have);
                for (int p = 0; p < s.n_pairs; p++) {
                    size_t from = (size_t)(j * s.n_pairs + p) * (size_t)s.T, n = (size_t)(s.len ? len[j] : s.T);
                    have = es_rig_get(r, (char *)dsc + from * sizeof(float), n, ES_F32);
                    es_rig_compare("attend_cached scores", have, sc + from, sc4 + from, n, ES_F32);
                    free(have);
                }
            }
            es_rig_end(r, what);
            free(K), free(V), free(q), free(y), free(sc), free(K4), free(V4), free(q4), free(y4), free(sc4),
                free(parent);
        }
}

void es_case_kv_store(es_rig *r)
{
    enum { R = 5, LIVE = 4, SLOTS = 3, T = 7, H = 2, D = 24, LD = 3 * H * D };
    const int32_t slot[R] = {2, -1, 0, 1, 1}, pos[R] = {0, 3, 6, 2, 5}, rows = LIVE;

    for (int t = 0; t < 3; t++) {
        es_dtype dt = es_rig_floats[t];
        size_t e = es_dtype_bytes(dt), nc = SLOTS * H * T * D, nx = R * LD;
        double *x = es_rig_noise(17, nx, 1), *K = es_rig_noise(18, nc, 1), *V = es_rig_noise(19, nc, 1);
        es_rig_begin(r);
        char *dx = es_rig_put(r, x, nx, dt), *dK = es_rig_put(r, K, nc, dt), *dV = es_rig_put(r, V, nc, dt);
        const int32_t *dslot = es_rig_put_bytes(r, slot, sizeof slot), *dpos = es_rig_put_bytes(r, pos, sizeof pos),
                      *drows = es_rig_put_bytes(r, &rows, sizeof rows);
        r->o->kv_store(r->d, dt, dK, dV, dx + H * D * e, LD, dx + 2 * H * D * e, LD, dslot, dpos, drows, R, T, H, D);
        for (int i = 0; i < LIVE; i++)
            for (int h = 0; h < H && slot[i] >= 0; h++)
                for (int d = 0; d < D; d++) {
                    K[((slot[i] * H + h) * T + pos[i]) * D + d] = x[i * LD + (H + h) * D + d];
                    V[((slot[i] * H + h) * T + pos[i]) * D + d] = x[i * LD + (2 * H + h) * D + d];
                }
        double *k = es_rig_get(r, dK, nc, dt), *v = es_rig_get(r, dV, nc, dt);
        CHECK(!memcmp(k, K, nc * sizeof *k), "keys are not where they belong, %s", es_dtype_name(dt));
        CHECK(!memcmp(v, V, nc * sizeof *v), "values are not where they belong, %s", es_dtype_name(dt));
        es_rig_end(r, "kv_store");
        free(x), free(K), free(V), free(k), free(v);
    }
}
