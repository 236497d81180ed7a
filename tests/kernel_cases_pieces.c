/*
 * kernel_cases_pieces.c - cases of the ops over packed pieces. Pieces are planned that are empty, one row long and longer than
 * a segment; rows past the last piece hold NaN, and so do columns that an op is to leave alone.
 */
#include "kernel_rig.h"

#include "ref.h"
#include "test.h"

enum { PIECES = 5 };

static const int32_t bounds_of[][PIECES + 1] = {{0, 1, 1, 18, 21, 21}, {0, 0, 8, 9, 31, 46}, {0, 5, 5, 5, 5, 5}, {0, 0, 0, 0, 0, 0}};
enum { PACKINGS = sizeof bounds_of / sizeof *bounds_of, SPARE = 4 /* rows planned and not used */ };

/* Rows from `first` on become NaN. */
static void spoil(double *x, size_t first, size_t n)
{
    for (size_t i = first; i < n; i++) x[i] = (double)NAN;
}

static int segments_of(int32_t *segments, const int32_t *bounds, int length)
{
    segments[0] = 0;
    for (int s = 0; s < PIECES; s++) segments[s + 1] = segments[s] + (bounds[s + 1] - bounds[s] + length - 1) / length;
    return segments[PIECES];
}

static const struct {
    int F, O;
    es_taps k;
    es_act act;
    bool add, bias;
} convs[] = {{1, 1, {1, 1, 1, 1, 1, 1, false}, ES_ACT_NONE, false, true},    {7, 32, {1, 3, 3, 1, 1, 1, false}, ES_ACT_RELU, false, true},
             {8, 33, {32, 3, 3, 2, 1, 1, false}, ES_ACT_RELU, false, true},  {5, 32, {32, 3, 3, 1, 1, 1, false}, ES_ACT_RELU, true, true},
             {6, 17, {12, 1, 1, 2, 1, 1, false}, ES_ACT_NONE, false, true},  {1, 40, {70, 1, 5, 1, 2, 1, false}, ES_ACT_LEAKY, false, true},
             {1, 32, {24, 1, 3, 1, 1, 2, false}, ES_ACT_NONE, false, false}, {4, 8, {3, 3, 3, 2, 2, 1, false}, ES_ACT_NONE, true, false},
             {1, 24, {40, 1, 5, 1, 1, 1, true}, ES_ACT_RELU, false, true}, {1, 8, {8, 1, 3, 1, 1, 4, true}, ES_ACT_RELU, false, true},
             {3, 72, {16, 3, 3, 2, 2, 1, false}, ES_ACT_RELU, false, true}, {9, 32, {40, 3, 3, 1, 1, 1, false}, ES_ACT_RELU, true, true}};

static void conv2d_one(es_rig *r, int shape, int packing, es_dtype t, es_dtype wt)
{
    es_taps k = convs[shape].k;
    int F = convs[shape].F, O = convs[shape].O, bands = (F - 1) / k.stride_f + 1, I = k.Kf * k.Kt * k.C;
    const int32_t *from = bounds_of[packing];
    int32_t to[PIECES + 1] = {0};
    es_matrix W = {.dtype = wt, .O = O, .I = I};
    char what[128];

    for (int s = 0; s < PIECES; s++) to[s + 1] = to[s] + (from[s + 1] - from[s] + k.stride_t - 1) / k.stride_t;
    int N = to[PIECES] + SPARE;
    size_t row = (size_t)(F * k.C), nx = (size_t)(from[PIECES] + SPARE) * row, nw = (size_t)(O * I), ny = (size_t)(N * bands * O),
           nl = (size_t)(to[PIECES] * bands * O);
    double *x = es_rig_noise(61, nx, 1), *w = es_rig_noise(62, nw, 1 / sqrt(I)), *b = es_rig_noise(63, (size_t)O, 1), *y = es_rig_noise(64, ny, 1);
    snprintf(what, sizeof what, "conv2d %d, packing %d, %s by %s", shape, packing, es_dtype_name(t), es_dtype_name(wt));
    es_rig_begin(r);
    spoil(x, (size_t)from[PIECES] * row, nx);
    void *host = malloc(nw * 4), *dw = es_rig_room(r, r->traits->matrix_bytes(wt, O, I));
    ref_store(host, wt, w, nw);
    ref_fetch(w, host, wt, nw);
    r->o->matrix_load(r->d, dw, W, host, wt);
    W.p = dw;
    void *dx = es_rig_put(r, x, nx, t), *db = es_rig_put(r, b, (size_t)O, ES_F32), *dy = es_rig_put(r, y, ny, t);
    const int32_t *df = es_rig_put_bytes(r, from, sizeof to), *dt = es_rig_put_bytes(r, to, sizeof to);
    float *x4 = es_rig_narrow(x, nx), *w4 = es_rig_narrow(w, nw), *b4 = es_rig_narrow(b, (size_t)O), *y4 = es_rig_narrow(y, ny);
    r->o->conv2d(r->d, t, dy, dx, W, convs[shape].bias ? db : NULL, df, dt, PIECES, N, F, k, convs[shape].act, convs[shape].add);
    ref64_conv2d(y, x, w, convs[shape].bias ? b : NULL, from, to, PIECES, F, O, k, convs[shape].act, convs[shape].add);
    ref32_conv2d(y4, x4, w4, convs[shape].bias ? b4 : NULL, from, to, PIECES, F, O, k, convs[shape].act, convs[shape].add);
    double *have = es_rig_get(r, dy, nl, t);
    es_rig_compare(what, have, y, y4, nl, t);
    es_rig_end(r, what);
    free(have), free(x), free(w), free(b), free(y), free(x4), free(w4), free(b4), free(y4), free(host);
}

void es_case_conv2d(es_rig *r)
{
    for (int i = 0; i < (int)(sizeof convs / sizeof *convs); i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                if (es_rig_too_much(r, 45.0 * convs[i].F * convs[i].O * convs[i].k.C * convs[i].k.Kf * convs[i].k.Kt)) continue;
                conv2d_one(r, i, p, es_rig_floats[f], es_rig_floats[f]);
                if (f > 0) conv2d_one(r, i, p, ES_F32, es_rig_floats[f]);
            }
}

void es_case_affine(es_rig *r)
{
    static const struct {
        int T, live, C, ldx, ldy;
        bool copy;
        es_act act;
    } shapes[] = {{1, 1, 1, 1, 1, false, ES_ACT_NONE}, {9, 7, 160, 512, 160, false, ES_ACT_RELU}, {5, 5, 33, 40, 64, true, ES_ACT_NONE},
                  {300, 299, 17, 17, 17, false, ES_ACT_LEAKY}, {4, 0, 8, 8, 8, false, ES_ACT_RELU},
                  {20, 20, 32, 32, 32, false, ES_ACT_TANH}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++) {
            int T = shapes[i].T, C = shapes[i].C, ldx = shapes[i].ldx, ldy = shapes[i].ldy;
            int32_t live = shapes[i].live;
            size_t nx = (size_t)(T * ldx), ny = (size_t)(T * ldy), n = (size_t)(live * ldy);
            double *x = es_rig_noise(65, nx, 1), *g = es_rig_noise(66, (size_t)C, 1), *b = es_rig_noise(67, (size_t)C, 1), *y = es_rig_noise(68, ny, 1);
            char what[96];
            snprintf(what, sizeof what, "affine %d/%d x %d at %d to %d %s", live, T, C, ldx, ldy, es_dtype_name(es_rig_floats[f]));
            es_rig_begin(r);
            for (int t = 0; t < T; t++) spoil(x, (size_t)(t * ldx + (t < live ? C : 0)), (size_t)((t + 1) * ldx));
            void *dx = es_rig_put(r, x, nx, es_rig_floats[f]), *dy = es_rig_put(r, y, ny, es_rig_floats[f]);
            const float *dg = es_rig_put(r, g, (size_t)C, ES_F32), *db = es_rig_put(r, b, (size_t)C, ES_F32);
            const int32_t *dl = es_rig_put_bytes(r, &live, sizeof live);
            float *x4 = es_rig_narrow(x, nx), *g4 = es_rig_narrow(g, (size_t)C), *b4 = es_rig_narrow(b, (size_t)C), *y4 = es_rig_narrow(y, ny);
            bool copy = shapes[i].copy;
            r->o->affine(r->d, es_rig_floats[f], dy, ldy, dx, ldx, copy ? NULL : dg, copy ? NULL : db, live < T ? dl : NULL, T, C, shapes[i].act);
            ref64_affine(y, ldy, x, ldx, copy ? NULL : g, b, live, C, shapes[i].act);
            ref32_affine(y4, ldy, x4, ldx, copy ? NULL : g4, b4, live, C, shapes[i].act);
            double *have = es_rig_get(r, dy, n, es_rig_floats[f]);
            es_rig_compare(what, have, y, y4, n, es_rig_floats[f]);
            es_rig_end(r, what);
            free(have), free(x), free(g), free(b), free(y), free(x4), free(g4), free(b4), free(y4);
        }
}

void es_case_segment_means(es_rig *r)
{
    static const int shapes[][2] = {{1, 1}, {128, 4}, {33, 100}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                const int32_t *bounds = bounds_of[p];
                int C = shapes[i][0], length = shapes[i][1];
                int32_t segments[PIECES + 1];
                int n = segments_of(segments, bounds, length);
                size_t nx = (size_t)((bounds[PIECES] + SPARE) * C), ny = (size_t)((n + SPARE) * C), nl = (size_t)(n * C);
                double *x = es_rig_noise(69, nx, 1), *y = calloc(ny, sizeof *y);
                char what[96];
                snprintf(what, sizeof what, "segment_means packing %d x %d by %d %s", p, C, length, es_dtype_name(es_rig_floats[f]));
                es_rig_begin(r);
                spoil(x, (size_t)(bounds[PIECES] * C), nx);
                void *dx = es_rig_put(r, x, nx, es_rig_floats[f]), *dy = es_rig_room(r, ny * sizeof(float));
                const int32_t *db = es_rig_put_bytes(r, bounds, sizeof segments), *ds = es_rig_put_bytes(r, segments, sizeof segments);
                float *x4 = es_rig_narrow(x, nx), *y4 = calloc(ny, sizeof *y4);
                r->o->segment_means(r->d, dy, es_rig_floats[f], dx, db, ds, PIECES, n + SPARE, C, length);
                ref64_segment_means(y, x, bounds, PIECES, C, length);
                ref32_segment_means(y4, x4, bounds, PIECES, C, length);
                double *have = es_rig_get(r, dy, nl, ES_F32);
                es_rig_compare(what, have, y, y4, nl, ES_F32);
                es_rig_end(r, what);
                free(have), free(x), free(y), free(x4), free(y4);
            }
}

void es_case_gate_segments(es_rig *r)
{
    static const int shapes[][3] = {{1, 1, 1}, {32, 4, 96}, {33, 100, 33}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                const int32_t *bounds = bounds_of[p];
                int C = shapes[i][0], length = shapes[i][1], ldy = shapes[i][2], N = bounds[PIECES] + SPARE;
                int32_t segments[PIECES + 1];
                int n = segments_of(segments, bounds, length);
                size_t nx = (size_t)(N * C), ng = (size_t)((n + SPARE) * C), ny = (size_t)(N * ldy), nl = (size_t)(bounds[PIECES] * ldy);
                double *x = es_rig_noise(70, nx, 1), *g = es_rig_noise(71, ng, 1), *y = es_rig_noise(72, ny, 1);
                char what[96];
                snprintf(what, sizeof what, "gate_segments packing %d x %d by %d %s", p, C, length, es_dtype_name(es_rig_floats[f]));
                es_rig_begin(r);
                spoil(x, (size_t)(bounds[PIECES] * C), nx);
                void *dx = es_rig_put(r, x, nx, es_rig_floats[f]), *dy = es_rig_put(r, y, ny, es_rig_floats[f]);
                const float *dg = es_rig_put(r, g, ng, ES_F32);
                const int32_t *db = es_rig_put_bytes(r, bounds, sizeof segments), *ds = es_rig_put_bytes(r, segments, sizeof segments);
                float *x4 = es_rig_narrow(x, nx), *g4 = es_rig_narrow(g, ng), *y4 = es_rig_narrow(y, ny);
                r->o->gate_segments(r->d, es_rig_floats[f], dy, ldy, dx, dg, db, ds, PIECES, N, C, length);
                ref64_gate_segments(y, ldy, x, g, bounds, PIECES, C, length);
                ref32_gate_segments(y4, ldy, x4, g4, bounds, PIECES, C, length);
                double *have = es_rig_get(r, dy, nl, es_rig_floats[f]);
                es_rig_compare(what, have, y, y4, nl, es_rig_floats[f]);
                es_rig_end(r, what);
                free(have), free(x), free(g), free(y), free(x4), free(g4), free(y4);
            }
}

void es_case_by_piece(es_rig *r)
{
    static const struct {
        int C, ldx, lda, ldy;
        bool g, c, a;
        es_act act;
    } shapes[] = {{1, 1, 1, 1, true, true, true, ES_ACT_NONE}, {32, 256, 96, 32, false, false, true, ES_ACT_NONE},
                  {65, 65, 65, 80, true, false, true, ES_ACT_NONE}, {48, 48, 1, 48, false, true, false, ES_ACT_RELU},
                  {17, 20, 1, 17, true, true, false, ES_ACT_TANH}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                const int32_t *bounds = bounds_of[p];
                es_dtype t = es_rig_floats[f];
                int C = shapes[i].C, ldx = shapes[i].ldx, lda = shapes[i].lda, ldy = shapes[i].ldy, N = bounds[PIECES] + SPARE;
                bool g = shapes[i].g, c = shapes[i].c, a = shapes[i].a;
                size_t nx = (size_t)(N * ldx), na = (size_t)(N * lda), ny = (size_t)(N * ldy), nl = (size_t)(bounds[PIECES] * ldy),
                       np = (size_t)(PIECES * C);
                double *x = es_rig_noise(74, nx, 1), *more = es_rig_noise(75, na, 1), *by = es_rig_noise(76, np, 1), *add = es_rig_noise(77, np, 1),
                       *y = es_rig_noise(78, ny, 1);
                char what[96];
                snprintf(what, sizeof what, "by_piece %zu packing %d %s", i, p, es_dtype_name(t));
                es_rig_begin(r);
                spoil(x, (size_t)(bounds[PIECES] * ldx), nx);
                spoil(more, (size_t)(bounds[PIECES] * lda), na);
                void *dx = es_rig_put(r, x, nx, t), *da = es_rig_put(r, more, na, t), *dy = es_rig_put(r, y, ny, t);
                const float *dg = es_rig_put(r, by, np, ES_F32), *dc = es_rig_put(r, add, np, ES_F32);
                const int32_t *db = es_rig_put_bytes(r, bounds, sizeof *bounds_of);
                float *x4 = es_rig_narrow(x, nx), *a4 = es_rig_narrow(more, na), *g4 = es_rig_narrow(by, np), *c4 = es_rig_narrow(add, np),
                      *y4 = es_rig_narrow(y, ny);
                r->o->by_piece(r->d, t, dy, ldy, dx, ldx, g ? dg : NULL, c ? dc : NULL, a ? da : NULL, lda, db, PIECES, N, C, shapes[i].act);
                ref64_by_piece(y, ldy, x, ldx, g ? by : NULL, c ? add : NULL, a ? more : NULL, lda, bounds, PIECES, C, shapes[i].act);
                ref32_by_piece(y4, ldy, x4, ldx, g ? g4 : NULL, c ? c4 : NULL, a ? a4 : NULL, lda, bounds, PIECES, C, shapes[i].act);
                double *have = es_rig_get(r, dy, nl, t);
                es_rig_compare(what, have, y, y4, nl, t);
                es_rig_end(r, what);
                free(have), free(x), free(more), free(by), free(add), free(y), free(x4), free(a4), free(g4), free(c4), free(y4);
            }
}

/* All rows alike less one, or less none with a floor, or by the softmax of z. */
void es_case_mean_deviation(es_rig *r)
{
    static const struct {
        int C, less;
        float least;
        bool z;
    } shapes[] = {{1, 1, 0, false}, {33, 1, 0.01f, false}, {512, 1, 0, false}, {40, 0, 1e-12f, false}, {33, 0, 1e-12f, true}, {64, 1, 0.5f, true}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                const int32_t *bounds = bounds_of[p];
                es_dtype t = es_rig_floats[f];
                int C = shapes[i].C, less = shapes[i].less;
                size_t nx = (size_t)((bounds[PIECES] + SPARE) * C), ny = (size_t)(PIECES * 2 * C);
                double *x = es_rig_noise(73, nx, 1), *z = es_rig_noise(79, nx, 2), *y = malloc(ny * sizeof *y);
                char what[96];
                snprintf(what, sizeof what, "mean_deviation %zu packing %d %s", i, p, es_dtype_name(t));
                es_rig_begin(r);
                for (size_t k = 0; k < nx; k++) x[k] += 3;
                spoil(x, (size_t)(bounds[PIECES] * C), nx);
                spoil(z, (size_t)(bounds[PIECES] * C), nx);
                void *dx = es_rig_put(r, x, nx, t), *dz = es_rig_put(r, z, nx, t), *dy = es_rig_room(r, ny * sizeof(float));
                const int32_t *db = es_rig_put_bytes(r, bounds, sizeof *bounds_of);
                float *x4 = es_rig_narrow(x, nx), *z4 = es_rig_narrow(z, nx), *y4 = malloc(ny * sizeof *y4);
                r->o->mean_deviation(r->d, dy, t, dx, shapes[i].z ? dz : NULL, db, PIECES, C, less, shapes[i].least);
                ref64_mean_deviation(y, x, shapes[i].z ? z : NULL, bounds, PIECES, C, less, (double)shapes[i].least);
                ref32_mean_deviation(y4, x4, shapes[i].z ? z4 : NULL, bounds, PIECES, C, less, shapes[i].least);
                double *have = es_rig_get(r, dy, ny, ES_F32);
                es_rig_compare(what, have, y, y4, ny, ES_F32);
                es_rig_end(r, what);
                free(have), free(x), free(z), free(y), free(x4), free(z4), free(y4);
            }
}

/* Weights all alike, none, a single one, some; answers about the same piece, about an empty one and about none. */
void es_case_weighed_deviation(es_rig *r)
{
    enum { V = 7 };
    static const int32_t of[V] = {2, 2, 2, 0, 4, -1, 3};
    static const int widths[] = {1, 33, 80};

    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        for (int p = 0; p < PACKINGS; p++)
            for (int f = 0; f < 3; f++) {
                const int32_t *bounds = bounds_of[p];
                es_dtype t = es_rig_floats[f];
                int C = widths[i], N = bounds[PIECES] + SPARE;
                size_t nx = (size_t)(N * C), nw = (size_t)(V * N), ny = (size_t)(V * 2 * C);
                double *x = es_rig_noise(81, nx, 1), *w = es_rig_noise(82, nw, 1), *y = malloc(ny * sizeof *y);
                char what[96];
                snprintf(what, sizeof what, "weighed_deviation packing %d x %d %s", p, C, es_dtype_name(t));
                es_rig_begin(r);
                spoil(x, (size_t)(bounds[PIECES] * C), nx);
                for (int v = 0; v < V; v++)
                    for (int k = 0; k < N; k++) {
                        int n = of[v] < 0 ? 0 : bounds[of[v] + 1] - bounds[of[v]];
                        double *to = &w[v * N + k];
                        *to = k >= n ? (double)NAN : v == 0 ? 1 : v == 1 ? k == n / 2 : v == 2 ? 0 : v == 6 ? fabs(*to) + 0.1 : k % 2;
                    }
                void *dx = es_rig_put(r, x, nx, t), *dy = es_rig_room(r, ny * sizeof(float));
                const float *dw = es_rig_put(r, w, nw, ES_F32);
                const int32_t *db = es_rig_put_bytes(r, bounds, sizeof *bounds_of), *df = es_rig_put_bytes(r, of, sizeof of);
                float *x4 = es_rig_narrow(x, nx), *w4 = es_rig_narrow(w, nw), *y4 = malloc(ny * sizeof *y4);
                r->o->weighed_deviation(r->d, dy, t, dx, dw, df, db, V, N, C);
                ref64_weighed_deviation(y, x, w, of, bounds, V, N, C);
                ref32_weighed_deviation(y4, x4, w4, of, bounds, V, N, C);
                double *have = es_rig_get(r, dy, ny, ES_F32);
                es_rig_compare(what, have, y, y4, ny, ES_F32);
                es_rig_end(r, what);
                free(have), free(x), free(w), free(y), free(x4), free(w4), free(y4);
            }
}
