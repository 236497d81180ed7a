/*
 * kernel_cases.c - what each op is tested with.
 *
 * Sizes are 1, one below and above the edges of the CPU's and CUDA's blocks (14 and 16 rows, 16 and 32 columns, 512
 * inputs, 8 rows of the decoding form), and some real ones. Values are seeded noise. Rows past the live ones hold NaN, so
 * that reading them shows.
 */
#include "kernel_cases.h"

#include "ref.h"
#include "test.h"

enum { GUARD = 64, GUARD_BYTE = 0xA5 };

static const es_dtype floats[] = {ES_F32, ES_F16, ES_BF16};

/* ---- moving data ---- */

int es_rig_open(es_rig *r, es_device *d, int threads, size_t bytes)
{
    es_fault why = {0};

    *r = (es_rig){.d = d, .o = es_device_ops(d), .traits = es_backend_traits(es_device_backend(d)), .bytes = bytes};
    r->start = r->at = (r->traits->workspace_bytes(threads) + 255) & ~(size_t)255;
    r->arena = es_device_take_arena(d, r->start + bytes, &why);
    CHECK(r->arena != NULL, "%s", why.text);
    return r->arena ? 0 : -1;
}

static void begin(es_rig *r)
{
    r->at = r->start;
    r->n_blocks = 0;
}

/* Room of `bytes` between guards, filled with a byte that makes a NaN of every float type. */
static void *room(es_rig *r, size_t bytes)
{
    size_t at = r->at + 256;
    char *p = r->arena + at;

    r->at = (at + bytes + GUARD + 255) & ~(size_t)255;
    if (r->at > r->start + r->bytes || r->n_blocks == 64) {
        fprintf(stderr, "the test arena is too small\n");
        exit(2);
    }
    es_device_fill(r->d, p - GUARD, GUARD_BYTE, GUARD);
    es_device_fill(r->d, p + bytes, GUARD_BYTE, GUARD);
    es_device_fill(r->d, p, 0xFF, bytes);
    r->blocks[r->n_blocks++] = (struct es_rig_block){.p = p, .bytes = bytes};
    return p;
}

/* n values of x, rounded in place to what the type holds, on the device. */
static void *put(es_rig *r, double *x, size_t n, es_dtype t)
{
    void *host = malloc(n * 4 + 1), *p = room(r, n * es_dtype_bytes(t));

    ref_store(host, t, x, n);
    ref_fetch(x, host, t, n);
    es_device_put(r->d, p, host, n * es_dtype_bytes(t));
    free(host);
    return p;
}

static void *put_bytes(es_rig *r, const void *x, size_t bytes)
{
    void *p = room(r, bytes);

    es_device_put(r->d, p, x, bytes);
    return p;
}

static void get_bytes(es_rig *r, void *x, const void *p, size_t bytes)
{
    const unsigned char *b = x;

    es_device_get(r->d, x, p, bytes);
    for (size_t i = 0; i < bytes; i++) r->hash = (r->hash ^ b[i]) * 1099511628211u;
}

static double *get(es_rig *r, const void *p, size_t n, es_dtype t)
{
    void *host = malloc(n * 4 + 1);
    double *x = malloc(n * sizeof *x + 1);

    get_bytes(r, host, p, n * es_dtype_bytes(t));
    ref_fetch(x, host, t, n);
    free(host);
    return x;
}

/* Guards and faults, after the op. */
static void end(es_rig *r, const char *what)
{
    es_fault fault = {0};
    unsigned char g[2 * GUARD];

    CHECK(es_device_sync(r->d, &fault) == 0, "%s: %s", what, fault.text);
    for (int i = 0; i < r->n_blocks; i++) {
        es_device_get(r->d, g, r->blocks[i].p - GUARD, GUARD);
        es_device_get(r->d, g + GUARD, r->blocks[i].p + r->blocks[i].bytes, GUARD);
        for (int j = 0; j < 2 * GUARD; j++)
            if (g[j] != GUARD_BYTE) {
                es_test_fail(__FILE__, __LINE__, "%s: tensor %d of %zu bytes was overrun %s", what, i,
                             r->blocks[i].bytes, j < GUARD ? "before its start" : "past its end");
                break;
            }
    }
}

static double *noise(uint64_t seed, size_t n, double scale)
{
    es_noise s = {seed};
    double *x = malloc(n * sizeof *x + 1);

    for (size_t i = 0; i < n; i++) x[i] = (double)(float)(es_noise_normal(&s) * scale);
    return x;
}

static float *narrow(const double *x, size_t n)
{
    float *y = malloc(n * sizeof *y + 1);

    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
    return y;
}

/* have, from storage t, against the definition; naive: the float loop's result before storage. */
static void compare(const char *what, const double *have, const double *want, const float *naive, size_t n, es_dtype t)
{
    double loss = 0, size = 0, worst = 0;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        double e = fabs(ref_round((double)naive[i], t) - want[i]), h = fabs(have[i] - want[i]);
        loss = e > loss ? e : loss;
        size = fabs(want[i]) > size ? fabs(want[i]) : size;
        if (!(h <= worst)) worst = h, at = i;
        if (isnan(h)) break;
    }
    double bound = 2 * loss + ref_unit(t) * size;
    CHECK(worst <= bound, "%s: at %zu of %zu %.9g, expected %.9g, off by %.3g (bound %.3g)", what, at, n, have[at],
          want[at], worst, bound);
}

static bool too_much(const es_rig *r, double work)
{
    return r->most_work > 0 && work > r->most_work;
}

/* ---- products ---- */

typedef struct linear_shape {
    int T, live, I, O;
    es_act act;
    bool add, bias;
} linear_shape;

static const linear_shape linear_shapes[] = {
    {1, 1, 1, 1, ES_ACT_NONE, false, true},        {1, 1, 512, 384, ES_ACT_GELU, false, true},
    {2, 2, 511, 31, ES_ACT_RELU, false, false},    {4, 3, 513, 33, ES_ACT_NONE, true, true},
    {8, 8, 200, 17, ES_ACT_SILU, false, true},     {9, 9, 130, 97, ES_ACT_LEAKY, false, true},
    {13, 13, 64, 16, ES_ACT_TANH, false, true},    {15, 15, 33, 15, ES_ACT_SIGMOID, false, true},
    {64, 0, 40, 40, ES_ACT_NONE, false, true},     {65, 64, 600, 48, ES_ACT_NONE, true, false},
    {103, 103, 96, 130, ES_ACT_GELU, false, true}, {253, 253, 24, 259, ES_ACT_NONE, true, true},
    {40, 5, 384, 65, ES_ACT_NONE, true, true},     {129, 127, 127, 129, ES_ACT_GELU, false, true},
};

static void linear_one(es_rig *r, linear_shape s, es_dtype xt, es_dtype wt, es_dtype yt, es_dtype from)
{
    char what[128];
    size_t nx = (size_t)s.T * (size_t)s.I, nw = (size_t)s.O * (size_t)s.I, ny = (size_t)s.T * (size_t)s.O,
           live = (size_t)s.live * (size_t)s.O;
    double *x = noise(1, nx, 1), *w = noise(2, nw, 1 / sqrt(s.I)), *b = noise(3, (size_t)s.O, 1), *y = noise(4, ny, 1);
    int32_t rows = s.live;
    es_matrix W = {.dtype = wt, .O = s.O, .I = s.I};

    snprintf(what, sizeof what, "linear %d/%d x %d x %d, x %s w %s from %s y %s act %d add %d", s.live, s.T, s.O, s.I,
             es_dtype_name(xt), es_dtype_name(wt), es_dtype_name(from), es_dtype_name(yt), s.act, s.add);
    begin(r);
    for (size_t i = (size_t)s.live * (size_t)s.I; i < nx; i++) x[i] = (double)NAN;
    void *host = malloc(nw * 4), *dw = room(r, r->traits->matrix_bytes(wt, s.O, s.I));
    ref_store(host, from, w, nw);
    ref_fetch(w, host, from, nw);
    for (size_t i = 0; i < nw; i++) w[i] = ref_round(w[i], wt);
    r->o->matrix_load(r->d, dw, W, host, from);
    W.p = dw;
    void *dx = put(r, x, nx, xt), *db = put(r, b, (size_t)s.O, ES_F32), *dy = put(r, y, ny, yt);
    const int32_t *drows = put_bytes(r, &rows, sizeof rows);
    r->o->linear(r->d, dy, yt, dx, xt, W, s.bias ? db : NULL, s.live < s.T ? drows : NULL, s.T, s.act, s.add);
    float *x4 = narrow(x, nx), *w4 = narrow(w, nw), *b4 = narrow(b, (size_t)s.O), *y4 = narrow(y, ny);
    ref64_linear(y, x, w, s.bias ? b : NULL, s.live, s.I, s.O, s.act, s.add);
    ref32_linear(y4, x4, w4, s.bias ? b4 : NULL, s.live, s.I, s.O, s.act, s.add);
    double *have = get(r, dy, live, yt);
    compare(what, have, y, y4, live, yt);
    end(r, what);
    free(have), free(x), free(w), free(b), free(y), free(x4), free(w4), free(b4), free(y4), free(host);
}

static void linear_case(es_rig *r)
{
    static const es_dtype loads[][2] = {{ES_F32, ES_F32}, {ES_F32, ES_F16},  {ES_F32, ES_BF16},
                                        {ES_F16, ES_F16}, {ES_F16, ES_F32},  {ES_F16, ES_BF16},
                                        {ES_BF16, ES_BF16}, {ES_BF16, ES_F32}, {ES_BF16, ES_F16}};

    for (size_t i = 0; i < sizeof linear_shapes / sizeof *linear_shapes; i++) {
        linear_shape s = linear_shapes[i];
        if (too_much(r, (double)s.T * s.I * s.O)) continue;
        for (int x = 0; x < 3; x++)
            for (int w = 0; w < 3; w++) linear_one(r, s, floats[x], floats[w], floats[x], floats[w]);
        linear_one(r, s, ES_F16, ES_F16, ES_F32, ES_F16);
        linear_one(r, s, ES_BF16, ES_BF16, ES_F32, ES_BF16);
    }
    for (int i = 0; i < 9; i++) linear_one(r, linear_shapes[3], ES_F32, loads[i][0], ES_F32, loads[i][1]);
}

typedef struct conv_shape {
    int B, live, Ti, C, O, K, stride, pad, dilation;
    es_act act;
    bool pos;
} conv_shape;

static void conv1d_case(es_rig *r)
{
    static const conv_shape shapes[] = {
        {1, 1, 1, 1, 1, 1, 1, 0, 1, ES_ACT_NONE, false},     {2, 2, 40, 16, 24, 3, 1, 1, 1, ES_ACT_GELU, false},
        {3, 2, 41, 17, 33, 3, 2, 1, 1, ES_ACT_GELU, true},   {1, 1, 30, 80, 64, 5, 1, 2, 1, ES_ACT_RELU, false},
        {2, 1, 50, 8, 15, 3, 1, 4, 4, ES_ACT_RELU, false},   {1, 1, 3, 9, 16, 3, 1, 1, 1, ES_ACT_NONE, true},
        {1, 1, 200, 64, 48, 3, 2, 1, 1, ES_ACT_GELU, true},  {2, 2, 70, 12, 20, 7, 5, 0, 2, ES_ACT_LEAKY, false},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            conv_shape s = shapes[i];
            es_dtype dt = floats[t];
            int To = (s.Ti + 2 * s.pad - s.dilation * (s.K - 1) - 1) / s.stride + 1, I = s.K * s.C;
            size_t nx = (size_t)(s.B * s.Ti * s.C), nw = (size_t)(s.O * I), ny = (size_t)(s.B * To * s.O),
                   np = (size_t)(To * s.O), live = (size_t)(s.live * To * s.O);
            if (too_much(r, (double)ny * I)) continue;
            snprintf(what, sizeof what, "conv1d %d/%d x %d x %d -> %d, k %d stride %d pad %d dilation %d, %s", s.live,
                     s.B, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation, es_dtype_name(dt));
            begin(r);
            double *x = noise(5, nx, 1), *w = noise(6, nw, 1 / sqrt(I)), *b = noise(7, (size_t)s.O, 1),
                   *p = noise(8, np, 1), *y = malloc(ny * sizeof *y);
            es_matrix W = {.dtype = dt, .O = s.O, .I = I};
            void *host = malloc(nw * 4), *dw = room(r, r->traits->matrix_bytes(dt, s.O, I));
            ref_store(host, dt, w, nw);
            ref_fetch(w, host, dt, nw);
            r->o->matrix_load(r->d, dw, W, host, dt);
            W.p = dw;
            int32_t batches = s.live;
            void *dx = put(r, x, nx, dt), *db = put(r, b, (size_t)s.O, ES_F32), *dp = put(r, p, np, ES_F32),
                 *dy = room(r, ny * es_dtype_bytes(dt)), *db1 = put_bytes(r, &batches, sizeof batches),
                 *scratch = room(r, r->traits->conv1d_scratch(dt, s.B, To, s.C, s.K));
            r->o->conv1d(r->d, dt, dy, dx, W, db, s.pos ? dp : NULL, s.live < s.B ? db1 : NULL, s.B, s.Ti, s.C, s.K,
                         s.stride, s.pad, s.dilation, s.act, scratch);
            float *x4 = narrow(x, nx), *w4 = narrow(w, nw), *b4 = narrow(b, (size_t)s.O), *p4 = narrow(p, np),
                  *y4 = malloc(ny * sizeof *y4);
            ref64_conv1d(y, x, w, b, s.pos ? p : NULL, s.live, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation, s.act);
            ref32_conv1d(y4, x4, w4, b4, s.pos ? p4 : NULL, s.live, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation,
                         s.act);
            double *have = get(r, dy, live, dt);
            compare(what, have, y, y4, live, dt);
            end(r, what);
            free(x), free(w), free(b), free(p), free(y), free(host), free(have);
            free(x4), free(w4), free(b4), free(p4), free(y4);
        }
}

/* ---- norms ---- */

static void norm_one(es_rig *r, bool centred, es_dtype t, int T, int live, int C, bool residual, bool in_place)
{
    char what[128];
    size_t n = (size_t)T * (size_t)C, nl = (size_t)live * (size_t)C;
    double *x = noise(9, n, 2), *a = noise(10, n, 1), *g = noise(11, (size_t)C, 1), *b = noise(12, (size_t)C, 1),
           *y = malloc(n * sizeof *y);
    int32_t rows = live;

    snprintf(what, sizeof what, "%s %d/%d x %d %s residual %d", centred ? "layernorm" : "rmsnorm", live, T, C,
             es_dtype_name(t), residual);
    begin(r);
    for (size_t i = 0; i < n; i++) x[i] += 0.5;
    for (size_t i = nl; i < n; i++) x[i] = (double)NAN;
    void *dx = put(r, x, n, t), *da = put(r, a, n, t), *dg = put(r, g, (size_t)C, ES_F32),
         *db = put(r, b, (size_t)C, ES_F32), *dy = in_place ? dx : room(r, n * es_dtype_bytes(t));
    const int32_t *drows = put_bytes(r, &rows, sizeof rows);
    if (live == T) drows = NULL;
    if (centred)
        r->o->layernorm(r->d, t, dy, dx, residual ? da : NULL, dg, db, drows, T, C, 1e-5f);
    else r->o->rmsnorm(r->d, t, dy, dx, residual ? da : NULL, dg, drows, T, C, 1e-6f);
    if (residual) {
        for (size_t i = 0; i < n; i++) x[i] = ref_round(x[i] + a[i], t);
        double *sum = get(r, dx, nl, t);
        for (size_t i = 0; i < nl; i++)
            if (sum[i] != x[i]) {
                es_test_fail(__FILE__, __LINE__, "%s: the sum at %zu is %.9g, expected %.9g", what, i, sum[i], x[i]);
                break;
            }
        free(sum);
    }
    float *x4 = narrow(x, n), *g4 = narrow(g, (size_t)C), *b4 = narrow(b, (size_t)C), *y4 = malloc(n * sizeof *y4);
    ref64_norm(y, x, g, centred ? b : NULL, live, C, centred ? (double)1e-5f : (double)1e-6f, centred);
    ref32_norm(y4, x4, g4, centred ? b4 : NULL, live, C, centred ? 1e-5f : 1e-6f, centred);
    double *have = get(r, dy, nl, t);
    compare(what, have, y, y4, nl, t);
    end(r, what);
    free(x), free(a), free(g), free(b), free(y), free(x4), free(g4), free(b4), free(y4), free(have);
}

static void norms(es_rig *r, bool centred)
{
    static const int sizes[][3] = {{1, 1, 1}, {1, 1, 384}, {3, 2, 15}, {5, 5, 17}, {17, 17, 512}, {4, 3, 1280}};

    for (int i = 0; i < 6; i++)
        for (int t = 0; t < 3; t++)
            for (int mode = 0; mode < 3; mode++)
                norm_one(r, centred, floats[t], sizes[i][0], sizes[i][1], sizes[i][2], mode == 1, mode == 2);
}

static void layernorm_case(es_rig *r)
{
    norms(r, true);
}

static void rmsnorm_case(es_rig *r)
{
    norms(r, false);
}

/* ---- attention ---- */

typedef struct attend_shape {
    int32_t bounds[4];
    int S, N, H, Hkv, D;
    es_mask mask;
} attend_shape;

static void attend_case(es_rig *r)
{
    static const attend_shape shapes[] = {
        {{0, 1}, 1, 1, 1, 1, 8, ES_MASK_NONE},         {{0, 13, 14, 30}, 3, 33, 2, 2, 64, ES_MASK_NONE},
        {{0, 17, 17, 81}, 3, 81, 4, 2, 64, ES_MASK_CAUSAL}, {{0, 70}, 1, 70, 3, 1, 128, ES_MASK_CAUSAL},
        {{0, 63, 129}, 2, 129, 2, 2, 32, ES_MASK_NONE}, {{0, 513}, 1, 513, 1, 1, 64, ES_MASK_NONE},
        {{0, 511, 1030}, 2, 1030, 2, 1, 40, ES_MASK_CAUSAL}, {{0, 300}, 1, 300, 1, 1, 256, ES_MASK_NONE},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            attend_shape s = shapes[i];
            es_dtype dt = floats[t];
            int row = (s.H + 2 * s.Hkv) * s.D, rows = s.bounds[s.S], T = 0;
            size_t n = (size_t)(s.N * row), ny = (size_t)(rows * s.H * s.D);
            float scale = 1.0f / sqrtf((float)s.D);
            for (int j = 0; j < s.S; j++) T = s.bounds[j + 1] - s.bounds[j] > T ? s.bounds[j + 1] - s.bounds[j] : T;
            if (too_much(r, 2.0 * rows * T * s.H * s.D) || (t && rows > 600)) continue;
            snprintf(what, sizeof what, "attend %d rows, %d sequences, %d/%d heads of %d, mask %d, %s", rows, s.S, s.H,
                     s.Hkv, s.D, s.mask, es_dtype_name(dt));
            begin(r);
            double *x = noise(13, n, 1.5), *y = malloc(ny * sizeof *y);
            for (size_t j = (size_t)(rows * row); j < n; j++) x[j] = (double)NAN;
            size_t e = es_dtype_bytes(dt);
            char *dx = put(r, x, n, dt);
            void *dy = room(r, (size_t)(s.N * s.H * s.D) * e);
            const int32_t *bounds = put_bytes(r, s.bounds, sizeof(int32_t) * (size_t)(s.S + 1));
            r->o->attend(r->d, dt, dy, dx, row, dx + (size_t)(s.H * s.D) * e, row,
                         dx + (size_t)((s.H + s.Hkv) * s.D) * e, row, bounds, s.S, s.N, T, s.H, s.Hkv, s.D, scale,
                         s.mask);
            float *x4 = narrow(x, n), *y4 = malloc(ny * sizeof *y4);
            ref64_attend(y, x, s.bounds, s.S, s.H, s.Hkv, s.D, (double)scale, s.mask);
            ref32_attend(y4, x4, s.bounds, s.S, s.H, s.Hkv, s.D, scale, s.mask);
            double *have = get(r, dy, ny, dt);
            compare(what, have, y, y4, ny, dt);
            end(r, what);
            free(x), free(y), free(x4), free(y4), free(have);
        }
}

typedef struct cached_shape {
    int R, live, slots, T, H, D, n_pairs;
    bool len, parent;
} cached_shape;

static void attend_cached_case(es_rig *r)
{
    static const cached_shape shapes[] = {
        {1, 1, 1, 1, 1, 8, 0, false, false},   {1, 1, 1, 448, 6, 64, 0, true, false},
        {4, 3, 3, 33, 2, 64, 2, true, true},   {5, 5, 4, 17, 3, 40, 1, true, false},
        {2, 2, 2, 1500, 2, 64, 2, false, false}, {3, 3, 3, 100, 2, 128, 0, false, true},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            cached_shape s = shapes[i];
            es_dtype dt = floats[t];
            size_t nc = (size_t)(s.slots * s.H * s.T * s.D), nq = (size_t)(s.R * s.H * s.D),
                   ns = (size_t)(s.R * s.n_pairs * s.T);
            float scale = 1.0f / sqrtf((float)s.D);
            int32_t slot[8], len[8], heads[2] = {s.H - 1, 0}, rows = s.live,
                                     *parent = malloc(sizeof *parent * (size_t)(s.slots * s.T));
            es_noise dice = {77};
            if (too_much(r, 2.0 * s.R * s.T * s.H * s.D)) {
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
            begin(r);
            double *K = noise(14, nc, 1), *V = noise(15, nc, 1), *q = noise(16, nq, 2), *y = calloc(nq, sizeof *y),
                   *sc = calloc(ns + 1, sizeof *sc);
            void *dK = put(r, K, nc, dt), *dV = put(r, V, nc, dt), *dq = put(r, q, nq, dt),
                 *dy = room(r, nq * es_dtype_bytes(dt)), *dsc = room(r, ns * sizeof(float));
            const int32_t *dslot = put_bytes(r, slot, sizeof slot), *dlen = put_bytes(r, len, sizeof len),
                          *dheads = put_bytes(r, heads, sizeof heads), *drows = put_bytes(r, &rows, sizeof rows),
                          *dparent = put_bytes(r, parent, sizeof *parent * (size_t)(s.slots * s.T));
            r->o->attend_cached(r->d, dt, dy, dq, s.H * s.D, dK, dV, dslot, s.len ? dlen : NULL,
                                s.parent ? dparent : NULL, s.live < s.R ? drows : NULL, s.R, s.T, s.H, s.D, scale,
                                s.n_pairs ? dsc : NULL, dheads, s.n_pairs);
            float *K4 = narrow(K, nc), *V4 = narrow(V, nc), *q4 = narrow(q, nq), *y4 = calloc(nq, sizeof *y4),
                  *sc4 = calloc(ns + 1, sizeof *sc4);
            ref64_attend_cached(y, q, K, V, slot, s.len ? len : NULL, s.parent ? parent : NULL, s.live, s.T, s.H, s.D,
                                (double)scale, sc, heads, s.n_pairs);
            ref32_attend_cached(y4, q4, K4, V4, slot, s.len ? len : NULL, s.parent ? parent : NULL, s.live, s.T, s.H,
                                s.D, scale, sc4, heads, s.n_pairs);
            size_t wide = (size_t)(s.H * s.D);
            for (int j = 0; j < s.live; j++) {
                if (slot[j] < 0) continue;
                size_t at = (size_t)j * wide;
                double *have = get(r, (char *)dy + at * es_dtype_bytes(dt), wide, dt);
                compare(what, have, y + at, y4 + at, wide, dt);
                free(have);
                for (int p = 0; p < s.n_pairs; p++) {
                    size_t from = (size_t)(j * s.n_pairs + p) * (size_t)s.T, n = (size_t)(s.len ? len[j] : s.T);
                    have = get(r, (char *)dsc + from * sizeof(float), n, ES_F32);
                    compare("attend_cached scores", have, sc + from, sc4 + from, n, ES_F32);
                    free(have);
                }
            }
            end(r, what);
            free(K), free(V), free(q), free(y), free(sc), free(K4), free(V4), free(q4), free(y4), free(sc4),
                free(parent);
        }
}

static void kv_store_case(es_rig *r)
{
    enum { R = 5, LIVE = 4, SLOTS = 3, T = 7, H = 2, D = 24, LD = 3 * H * D };
    const int32_t slot[R] = {2, -1, 0, 1, 1}, pos[R] = {0, 3, 6, 2, 5}, rows = LIVE;

    for (int t = 0; t < 3; t++) {
        es_dtype dt = floats[t];
        size_t e = es_dtype_bytes(dt), nc = SLOTS * H * T * D, nx = R * LD;
        double *x = noise(17, nx, 1), *K = noise(18, nc, 1), *V = noise(19, nc, 1);
        begin(r);
        char *dx = put(r, x, nx, dt), *dK = put(r, K, nc, dt), *dV = put(r, V, nc, dt);
        const int32_t *dslot = put_bytes(r, slot, sizeof slot), *dpos = put_bytes(r, pos, sizeof pos),
                      *drows = put_bytes(r, &rows, sizeof rows);
        r->o->kv_store(r->d, dt, dK, dV, dx + H * D * e, LD, dx + 2 * H * D * e, LD, dslot, dpos, drows, R, T, H, D);
        for (int i = 0; i < LIVE; i++)
            for (int h = 0; h < H && slot[i] >= 0; h++)
                for (int d = 0; d < D; d++) {
                    K[((slot[i] * H + h) * T + pos[i]) * D + d] = x[i * LD + (H + h) * D + d];
                    V[((slot[i] * H + h) * T + pos[i]) * D + d] = x[i * LD + (2 * H + h) * D + d];
                }
        double *k = get(r, dK, nc, dt), *v = get(r, dV, nc, dt);
        CHECK(!memcmp(k, K, nc * sizeof *k), "keys are not where they belong, %s", es_dtype_name(dt));
        CHECK(!memcmp(v, V, nc * sizeof *v), "values are not where they belong, %s", es_dtype_name(dt));
        end(r, "kv_store");
        free(x), free(K), free(V), free(k), free(v);
    }
}

/* ---- rows ---- */

static void embed_case(es_rig *r)
{
    enum { V = 37, C = 40, P = 9, R = 6, LIVE = 5 };
    const int32_t id[R] = {0, 36, -1, 17, 16, 3}, pos[R] = {0, 8, 1, 2, 3, 4}, rows = LIVE;

    for (int t = 0; t < 9; t++)
        for (int with = 0; with < 2; with++) {
            es_dtype dt = floats[t % 3], wt = floats[t / 3];
            double *E = noise(20, V * C, 1), *p = noise(21, P * C, 1), want[LIVE * C];
            es_matrix M = {.dtype = wt, .O = V, .I = C};
            begin(r);
            void *host = malloc(V * C * 4), *dE = room(r, r->traits->matrix_bytes(wt, V, C));
            ref_store(host, wt, E, V * C);
            ref_fetch(E, host, wt, V * C);
            r->o->matrix_load(r->d, dE, M, host, wt);
            M.p = dE;
            void *dp = put(r, p, P * C, ES_F32), *dy = room(r, R * C * es_dtype_bytes(dt));
            const int32_t *did = put_bytes(r, id, sizeof id), *dpos = put_bytes(r, pos, sizeof pos),
                          *drows = put_bytes(r, &rows, sizeof rows);
            r->o->embed(r->d, dt, dy, M, with ? dp : NULL, did, dpos, drows, R);
            for (int i = 0; i < LIVE; i++)
                for (int c = 0; c < C; c++) {
                    double x = id[i] < 0 ? 0 : E[id[i] * C + c];
                    if (with && id[i] >= 0) x = (double)((float)x + (float)p[pos[i] * C + c]);
                    want[i * C + c] = ref_round(x, dt);
                }
            double *have = get(r, dy, LIVE * C, dt);
            CHECK(!memcmp(have, want, sizeof want), "embed %s into %s, positions %d", es_dtype_name(wt),
                  es_dtype_name(dt), with);
            end(r, "embed");
            free(E), free(p), free(host), free(have);
        }
}

static void gather_case(es_rig *r)
{
    enum { N = 9, C = 33, G = 5 };
    const int32_t idx[G] = {8, 0, -1, 3, 3};

    for (int t = 0; t < 3; t++) {
        double *x = noise(22, N * C, 1), want[G * C];
        begin(r);
        void *dx = put(r, x, N * C, floats[t]), *dy = room(r, G * C * es_dtype_bytes(floats[t]));
        const int32_t *didx = put_bytes(r, idx, sizeof idx);
        r->o->gather(r->d, floats[t], dy, dx, didx, G, C);
        for (int i = 0; i < G * C; i++) want[i] = idx[i / C] < 0 ? 0 : x[idx[i / C] * C + i % C];
        double *have = get(r, dy, G * C, floats[t]);
        CHECK(!memcmp(have, want, sizeof want), "gather %s", es_dtype_name(floats[t]));
        end(r, "gather");
        free(x), free(have);
    }
}

/* Every half and brain float there is, and floats around every edge of rounding. */
static void cast_case(es_rig *r)
{
    enum { N = 65536 };
    uint16_t *half = malloc(N * sizeof *half);
    double *x = malloc(N * sizeof *x);
    es_noise s = {23};

    for (int i = 0; i < N; i++) half[i] = (uint16_t)i;
    for (int t = 1; t < 3; t++) {
        begin(r);
        void *dx = put_bytes(r, half, N * sizeof *half), *dy = room(r, N * sizeof(float));
        r->o->cast(r->d, dy, ES_F32, dx, floats[t], N);
        ref_fetch(x, half, floats[t], N);
        double *have = get(r, dy, N, ES_F32);
        int bad = -1;
        for (int i = 0; i < N; i++)
            if (have[i] != x[i] && !(isnan(have[i]) && isnan(x[i]))) bad = i;
        CHECK(bad < 0, "cast of %s 0x%04X: %.9g, expected %.9g", es_dtype_name(floats[t]), (unsigned)bad, have[bad],
              x[bad]);
        end(r, "cast to f32");
        free(have);
    }
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < N; i++) {
            double size = ldexp(1 + es_noise_uniform(&s), (int)(es_noise_bits(&s) % 48) - 30);
            if (i % 2) size = ref_round(size, floats[t]) * (1 + ref_unit(floats[t])); /* a tie, or next to one */
            x[i] = (double)(float)(i % 3 ? size : -size);
        }
        x[0] = 0, x[1] = INFINITY, x[2] = -INFINITY, x[3] = 65504, x[4] = 65519.99, x[5] = 65520, x[6] = 0x1p-25;
        x[7] = 0x1.8p-24, x[8] = 0x1.004p-15, x[9] = -0x1p-14, x[10] = 1e38, x[11] = (double)NAN;
        begin(r);
        void *dx = put(r, x, N, ES_F32), *dy = room(r, N * es_dtype_bytes(floats[t]));
        r->o->cast(r->d, dy, floats[t], dx, ES_F32, N);
        double *have = get(r, dy, N, floats[t]);
        int bad = -1;
        for (int i = 0; i < N; i++) {
            double want = ref_round(x[i], floats[t]);
            if (have[i] != want && !(isnan(have[i]) && isnan(want))) bad = i;
        }
        CHECK(bad < 0, "cast of %.9g to %s: %.9g", x[bad], es_dtype_name(floats[t]), have[bad]);
        end(r, "cast from f32");
        free(have);
    }
    free(half), free(x);
}

/* ---- sound ---- */

static void logmel_case(es_rig *r)
{
    enum { B = 2, N = 480400 };
    static const int pick[] = {0, 1, 7, 8, 100, 1499, 1500, 2990, 2999};
    float *pcm = malloc(B * N * sizeof *pcm);
    es_noise s = {24};

    if (too_much(r, 3000.0 * 80 * 400)) {
        free(pcm);
        return;
    }
    for (int i = 0; i < B * N; i++)
        pcm[i] = (float)(0.3 * sin(i * 0.05) * sin(i * 0.0003) + 0.01 * (es_noise_uniform(&s) - 0.5));
    for (int M = 80; M <= 128; M += 48) {
        /* One window of a whole file with a known maximum and a literal fill; one on its own, shorter than it could be. */
        int32_t frames[B] = {1501, 2995};
        float top[B] = {1.25f, NAN}, fill[B] = {0, NAN}, max[B];
        size_t row = (size_t)M, n = B * ES_MEL_FRAMES * row, bytes = r->traits->mel_tables_bytes(M);
        void *tables = malloc(bytes);
        double want[128];
        begin(r);
        r->traits->mel_tables_fill(tables, M);
        const void *dt = put_bytes(r, tables, bytes);
        const float *dp = put_bytes(r, pcm, B * N * sizeof *pcm), *dtop = put_bytes(r, top, sizeof top),
                    *dfill = put_bytes(r, fill, sizeof fill);
        const int32_t *df = put_bytes(r, frames, sizeof frames);
        float *dmax = room(r, sizeof max), *dy = room(r, n * sizeof *dy);
        void *scratch = room(r, r->traits->logmel_scratch(B, M));
        r->o->logmel_top(r->d, dmax, dp, df, dt, NULL, B, M, scratch);
        r->o->logmel(r->d, ES_F32, dy, dp, df, dtop, dfill, dt, NULL, B, M, scratch);
        get_bytes(r, max, dmax, sizeof max);
        double *have = get(r, dy, n, ES_F32), low = ((double)max[1] - 8 + 4) / 4, seen = -INFINITY;
        for (int b = 0; b < B; b++)
            for (size_t i = 0; i < sizeof pick / sizeof *pick; i++) {
                double floor = (b == 0 ? (double)top[0] : (double)max[1]) - 8;
                const double *y = have + ((size_t)b * ES_MEL_FRAMES + (size_t)pick[i]) * row;
                ref_logmel_frame(want, pcm + b * N + pick[i] * ES_MEL_HOP, M);
                for (int m = 0; m < M; m++) {
                    double w = pick[i] >= frames[b] ? (b == 0 ? 0 : low) : (fmax(want[m], floor) + 4) / 4;
                    if (!(fabs(y[m] - w) <= 1e-5))
                        es_test_fail(__FILE__, __LINE__, "logmel %d window %d frame %d bin %d: %.7f, expected %.7f", M, b,
                                     pick[i], m, y[m], w);
                    if (pick[i] < frames[b] && b == 1) seen = fmax(seen, want[m]);
                }
            }
        CHECK((double)max[1] >= seen - 1e-5, "logmel_top %.7f is below a frame's %.7f", (double)max[1], seen);
        double largest = -INFINITY;
        for (size_t i = ES_MEL_FRAMES * row; i < n; i++) largest = fmax(largest, have[i]);
        CHECK(fabs(largest * 4 - 4 - (double)max[1]) < 1e-5, "logmel_top %.7f, but the window reaches %.7f",
              (double)max[1], largest * 4 - 4);
        end(r, "logmel");
        free(have), free(tables);
    }
    free(pcm);
}

/* ---- decoding ---- */

static void pick_case(es_rig *r)
{
    enum { V = 2051, B = 6, ROUNDS = 60, MAX_POS = 40 };
    const es_pick_vocab v = {.V = V, .eot = 500, .sot = 501, .lang_begin = 502, .n_lang = 20, .no_speech = 530,
                             .no_timestamps = 531, .timestamp_begin = 532, .blank = 22, .max_pos = MAX_POS};
    uint32_t suppress[(V + 31) / 32] = {0};
    es_pick_slot slots[B], want[B];
    float *logits = malloc(B * V * sizeof *logits), *sot = malloc(B * V * sizeof *sot);
    double *row = malloc(V * sizeof *row), *sot_row = malloc(V * sizeof *sot_row);
    int32_t tokens[B * MAX_POS], next[4][B];
    es_noise s = {25};
    int near = 0, chosen = 0;

    for (int i = 0; i < 40; i++) {
        uint32_t id = (uint32_t)(es_noise_bits(&s) % 500);
        suppress[id / 32] |= 1u << (id % 32);
    }
    suppress[501 / 32] |= 1u << (501 % 32);
    for (int round = 0; round < ROUNDS; round++) {
        /* Slots start afresh every so often: greedy, sampled, with and without timestamps, one for languages, one idle. */
        for (int b = 0; b < B && round % 15 == 0; b++) {
            slots[b] = (es_pick_slot){.mode = b == 4 ? ES_PICK_LANG : b == 5 ? ES_PICK_IDLE : ES_PICK_TEXT,
                                      .n_max = 8 + round / 15 * 4, .last = -1, .last2 = -1, .last_time = -1,
                                      .timestamps = b != 1, .max_initial = b == 2 ? -1 : 50,
                                      .temperature = b >= 2 ? 0.2f * (float)b : 0, .pos = b == 3 ? MAX_POS - 5 : 4,
                                      .key = {1u + (uint32_t)round, (uint32_t)b, 3, 4}};
            for (int j = 0; j < 4; j++) next[j][b] = -7;
        }
        for (int i = 0; i < B * V; i++) {
            logits[i] = (float)(es_noise_normal(&s) * 3);
            sot[i] = (float)(es_noise_normal(&s) * 3);
            /* Text, timestamps and the end take turns at being likely. */
            if (i % V >= v.timestamp_begin) logits[i] -= (float)(round % 4) * 3;
        }
        if (round % 5 == 4)
            for (int b = 0; b < B; b++) logits[b * V + v.eot] += 12;
        memcpy(want, slots, sizeof want);
        memset(tokens, 0, sizeof tokens);
        begin(r);
        es_pick_slot *ds = put_bytes(r, slots, sizeof slots);
        const float *dl = put_bytes(r, logits, B * V * sizeof *logits), *dsot = put_bytes(r, sot, B * V * sizeof *sot);
        const uint32_t *dm = put_bytes(r, suppress, sizeof suppress);
        int32_t *dt = put_bytes(r, tokens, sizeof tokens), *dn[4];
        for (int j = 0; j < 4; j++) dn[j] = put_bytes(r, next[j], sizeof next[j]);
        r->o->pick(r->d, ds, dl, round % 2 ? NULL : dsot, dm, v, dt, dn[0], dn[1], dn[2], dn[3], B);
        es_device_get(r->d, slots, ds, sizeof slots);
        get_bytes(r, tokens, dt, sizeof tokens);
        for (int j = 0; j < 4; j++) get_bytes(r, next[j], dn[j], sizeof next[j]);
        for (int b = 0; b < B; b++) {
            es_pick_slot *w = &want[b], *h = &slots[b];
            int at = w->n, pos = w->pos;
            double margin;
            if (w->mode == ES_PICK_IDLE) {
                CHECK(!memcmp(w, h, sizeof *w), "pick: an idle slot changed");
                continue;
            }
            for (int i = 0; i < V; i++) row[i] = (double)logits[b * V + i], sot_row[i] = (double)sot[b * V + i];
            int token = ref_pick(w, row, round % 2 ? NULL : sot_row, suppress, v, &margin);
            chosen++;
            if (margin < 1e-4) { /* the arithmetic of the backends may break this one either way */
                near++;
                continue;
            }
            CHECK(h->n == at + 1 && tokens[b * MAX_POS + at] == token, "pick round %d slot %d: token %d, expected %d",
                  round, b, tokens[b * MAX_POS + at], token);
            CHECK(h->mode == w->mode && h->ended == w->ended && h->pos == w->pos,
                  "pick round %d slot %d: mode %d ended %d pos %d, expected %d %d %d", round, b, h->mode, h->ended,
                  h->pos, w->mode, w->ended, w->pos);
            CHECK(h->last == w->last && h->last2 == w->last2 && h->last_time == w->last_time,
                  "pick round %d slot %d: last %d %d, time %d, expected %d %d %d", round, b, h->last, h->last2,
                  h->last_time, w->last, w->last2, w->last_time);
            CHECK(fabsf(h->sum_logprob - w->sum_logprob) <= 2e-5f * (1 + fabsf(w->sum_logprob)),
                  "pick round %d slot %d: log-probability %.7f, expected %.7f", round, b, (double)h->sum_logprob,
                  (double)w->sum_logprob);
            CHECK(fabsf(h->no_speech - w->no_speech) <= 1e-5f * w->no_speech + 1e-12f,
                  "pick slot %d: no speech %.9g, expected %.9g", b, (double)h->no_speech, (double)w->no_speech);
            CHECK(fabsf(h->lang_prob - w->lang_prob) <= 1e-5f, "pick slot %d: language %.7f, expected %.7f", b,
                  (double)h->lang_prob, (double)w->lang_prob);
            bool over = w->ended != 0;
            CHECK(next[0][b] == (over ? -1 : token) && next[1][b] == (over ? 0 : pos) &&
                      next[2][b] == (over ? -1 : b) && next[3][b] == (over ? 0 : pos + 1),
                  "pick slot %d: next inputs %d %d %d %d", b, next[0][b], next[1][b], next[2][b], next[3][b]);
        }
        end(r, "pick");
    }
    CHECK(near * 20 < chosen, "%d of %d choices were near ties", near, chosen);
    free(logits), free(sot), free(row), free(sot_row);
}

static void prob_at_case(es_rig *r)
{
    enum { R = 4, LIVE = 3, V = 3001, N = 2800 };
    const int32_t id[R] = {0, -1, 2799, 5}, rows = LIVE;
    double *l = noise(26, R * V, 4), p[R] = {0};
    float p4[R] = {0};

    begin(r);
    for (int i = 0; i < LIVE; i++) l[i * V + N] = 1e6; /* past n: must not count */
    void *dl = put(r, l, R * V, ES_F32), *dp = room(r, R * sizeof(float));
    const int32_t *did = put_bytes(r, id, sizeof id), *drows = put_bytes(r, &rows, sizeof rows);
    r->o->prob_at(r->d, dp, dl, did, drows, R, V, N);
    float *l4 = narrow(l, R * V);
    ref64_prob_at(p, l, id, LIVE, V, N);
    ref32_prob_at(p4, l4, id, LIVE, V, N);
    for (int i = 0; i < LIVE; i += 2) {
        double *have = get(r, (float *)dp + i, 1, ES_F32);
        compare("prob_at", have, p + i, p4 + i, 1, ES_F32);
        free(have);
    }
    end(r, "prob_at");
    free(l), free(l4);
}

/* ---- text encoders ---- */

static void rope_case(es_rig *r)
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
            double *x = noise(41, n, 1), *table = noise(42, (size_t)(P * D), 1);
            char what[96];
            snprintf(what, sizeof what, "rope %d/%d x %d x %d in %d %s", rows, T, H, D, ld, es_dtype_name(floats[f]));
            for (int t = 0; t < T; t++) pos[t] = (t * 11 + 3) % P;
            begin(r);
            void *dt = put(r, table, (size_t)(P * D), ES_F32), *dx = put(r, x, n, floats[f]);
            const int32_t *dp = put_bytes(r, pos, (size_t)T * sizeof *pos), *dr = put_bytes(r, &rows, sizeof rows);
            float *x4 = narrow(x, n), *t4 = narrow(table, (size_t)(P * D));
            r->o->rope(r->d, floats[f], dx, ld, dt, dp, rows < T ? dr : NULL, T, H, D);
            ref64_rope(x, ld, table, pos, rows, H, D);
            ref32_rope(x4, ld, t4, pos, rows, H, D);
            double *have = get(r, dx, live, floats[f]);
            compare(what, have, x, x4, live, floats[f]);
            end(r, what);
            free(have), free(x), free(table), free(x4), free(t4), free(pos);
        }
}

static void swiglu_case(es_rig *r)
{
    static const int shapes[][3] = {{1, 1, 7}, {5, 3, 17}, {9, 9, 1536}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int f = 0; f < 3; f++) {
            int T = shapes[i][0], I = shapes[i][2];
            int32_t rows = shapes[i][1];
            size_t n = (size_t)(2 * T * I), live = (size_t)(rows * I);
            double *x = noise(43, n, 3), *y = malloc(live * sizeof *y);
            float *x4, *y4 = malloc(live * sizeof *y4);
            char what[96];
            snprintf(what, sizeof what, "swiglu %d/%d x %d %s", rows, T, I, es_dtype_name(floats[f]));
            begin(r);
            void *dx = put(r, x, n, floats[f]), *dy = room(r, (size_t)(T * I) * es_dtype_bytes(floats[f]));
            const int32_t *dr = put_bytes(r, &rows, sizeof rows);
            x4 = narrow(x, n);
            r->o->swiglu(r->d, floats[f], dy, dx, rows < T ? dr : NULL, T, I);
            ref64_swiglu(y, x, rows, I);
            ref32_swiglu(y4, x4, rows, I);
            double *have = get(r, dy, live, floats[f]);
            compare(what, have, y, y4, live, floats[f]);
            end(r, what);
            free(have), free(x), free(y), free(x4), free(y4);
        }
}

static void pool_case(es_rig *r)
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
                    double *x = noise(44, n, 1), *y = malloc(ny * sizeof *y);
                    float *x4, *y4 = malloc(ny * sizeof *y4);
                    char what[96];
                    snprintf(what, sizeof what, "pool %d, unit %d, width %d %s", how, unit, C, es_dtype_name(floats[f]));
                    begin(r);
                    void *dx = put(r, x, n, floats[f]), *dy = room(r, ny * sizeof(float));
                    const int32_t *db = put_bytes(r, bounds, sizeof bounds);
                    x4 = narrow(x, n);
                    r->o->pool(r->d, dy, floats[f], dx, db, S, C, (es_pooling)how, unit);
                    ref64_pool(y, x, bounds, S, C, (es_pooling)how, unit);
                    ref32_pool(y4, x4, bounds, S, C, (es_pooling)how, unit);
                    double *have = get(r, dy, ny, ES_F32);
                    compare(what, have, y, y4, ny, ES_F32);
                    end(r, what);
                    free(have), free(x), free(y), free(x4), free(y4);
                }
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*run)(es_rig *r);
} cases[] = {
    {"linear", linear_case},
    {"conv1d", conv1d_case},
    {"layernorm", layernorm_case},
    {"rmsnorm", rmsnorm_case},
    {"attend", attend_case},
    {"attend_cached", attend_cached_case},
    {"kv_store", kv_store_case},
    {"embed", embed_case},
    {"gather", gather_case},
    {"cast", cast_case},
    {"logmel", logmel_case},
    {"pick", pick_case},
    {"prob_at", prob_at_case},
    {"rope", rope_case},
    {"swiglu", swiglu_case},
    {"pool", pool_case},
};

int es_kernel_cases(void)
{
    return (int)(sizeof cases / sizeof *cases);
}

const char *es_kernel_case_name(int i)
{
    return cases[i].name;
}

void es_kernel_case_run(es_rig *r, int i)
{
    cases[i].run(r);
}
