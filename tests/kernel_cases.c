/*
 * kernel_cases.c - what each op is tested with.
 *
 * Sizes are 1, one below and above the edges of the CPU's and CUDA's blocks (14 and 16 rows, 16 and 32 columns, 512
 * inputs, 8 rows of the decoding form), and some real ones. Values are seeded noise. Rows past the live ones hold NaN,
 * so that reading them shows.
 */
#include "kernel_rig.h"
#include "ref.h"
#include "test.h"

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
    double *x = es_rig_noise(1, nx, 1), *w = es_rig_noise(2, nw, 1 / sqrt(s.I)), *b = es_rig_noise(3, (size_t)s.O, 1),
           *y = es_rig_noise(4, ny, 1);
    int32_t rows = s.live;
    es_matrix W = {.dtype = wt, .O = s.O, .I = s.I};

    snprintf(what, sizeof what, "linear %d/%d x %d x %d, x %s w %s from %s y %s act %d add %d", s.live, s.T, s.O, s.I,
             es_dtype_name(xt), es_dtype_name(wt), es_dtype_name(from), es_dtype_name(yt), s.act, s.add);
    es_rig_begin(r);
    for (size_t i = (size_t)s.live * (size_t)s.I; i < nx; i++) x[i] = (double)NAN;
    void *host = malloc(nw * 4), *dw = es_rig_room(r, r->traits->matrix_bytes(wt, s.O, s.I));
    ref_store(host, from, w, nw);
    ref_fetch(w, host, from, nw);
    for (size_t i = 0; i < nw; i++) w[i] = ref_round(w[i], wt);
    r->o->matrix_load(r->d, dw, W, host, from);
    W.p = dw;
    void *dx = es_rig_put(r, x, nx, xt), *db = es_rig_put(r, b, (size_t)s.O, ES_F32), *dy = es_rig_put(r, y, ny, yt);
    const int32_t *drows = es_rig_put_bytes(r, &rows, sizeof rows);
    r->o->linear(r->d, dy, yt, dx, xt, W, s.bias ? db : NULL, s.live < s.T ? drows : NULL, s.T, s.act, s.add);
    float *x4 = es_rig_narrow(x, nx), *w4 = es_rig_narrow(w, nw), *b4 = es_rig_narrow(b, (size_t)s.O),
          *y4 = es_rig_narrow(y, ny);
    ref64_linear(y, x, w, s.bias ? b : NULL, s.live, s.I, s.O, s.act, s.add);
    ref32_linear(y4, x4, w4, s.bias ? b4 : NULL, s.live, s.I, s.O, s.act, s.add);
    double *have = es_rig_get(r, dy, live, yt);
    es_rig_compare(what, have, y, y4, live, yt);
    es_rig_end(r, what);
    free(have), free(x), free(w), free(b), free(y), free(x4), free(w4), free(b4), free(y4), free(host);
}

void es_case_linear(es_rig *r)
{
    static const es_dtype loads[][2] = {{ES_F32, ES_F32},   {ES_F32, ES_F16},  {ES_F32, ES_BF16},
                                        {ES_F16, ES_F16},   {ES_F16, ES_F32},  {ES_F16, ES_BF16},
                                        {ES_BF16, ES_BF16}, {ES_BF16, ES_F32}, {ES_BF16, ES_F16}};

    for (size_t i = 0; i < sizeof linear_shapes / sizeof *linear_shapes; i++) {
        linear_shape s = linear_shapes[i];
        if (es_rig_too_much(r, (double)s.T * s.I * s.O)) continue;
        for (int x = 0; x < 3; x++)
            for (int w = 0; w < 3; w++)
                linear_one(r, s, es_rig_floats[x], es_rig_floats[w], es_rig_floats[x], es_rig_floats[w]);
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

void es_case_conv1d(es_rig *r)
{
    static const conv_shape shapes[] = {
        {1, 1, 1, 1, 1, 1, 1, 0, 1, ES_ACT_NONE, false},    {2, 2, 40, 16, 24, 3, 1, 1, 1, ES_ACT_GELU, false},
        {3, 2, 41, 17, 33, 3, 2, 1, 1, ES_ACT_GELU, true},  {1, 1, 30, 80, 64, 5, 1, 2, 1, ES_ACT_RELU, false},
        {2, 1, 50, 8, 15, 3, 1, 4, 4, ES_ACT_RELU, false},  {1, 1, 3, 9, 16, 3, 1, 1, 1, ES_ACT_NONE, true},
        {1, 1, 200, 64, 48, 3, 2, 1, 1, ES_ACT_GELU, true}, {2, 2, 70, 12, 20, 7, 5, 0, 2, ES_ACT_LEAKY, false},
        {2, 2, 971, 1, 80, 251, 10, 0, 1, ES_ACT_NONE, false}, {3, 1, 131, 1, 65, 31, 2, 7, 1, ES_ACT_NONE, false},
    };
    char what[128];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 3; t++) {
            conv_shape s = shapes[i];
            es_dtype dt = es_rig_floats[t];
            int To = (s.Ti + 2 * s.pad - s.dilation * (s.K - 1) - 1) / s.stride + 1, I = s.K * s.C;
            size_t nx = (size_t)(s.B * s.Ti * s.C), nw = (size_t)(s.O * I), ny = (size_t)(s.B * To * s.O),
                   np = (size_t)(To * s.O), live = (size_t)(s.live * To * s.O);
            if (es_rig_too_much(r, (double)ny * I)) continue;
            snprintf(what, sizeof what, "conv1d %d/%d x %d x %d -> %d, k %d stride %d pad %d dilation %d, %s", s.live,
                     s.B, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation, es_dtype_name(dt));
            es_rig_begin(r);
            double *x = es_rig_noise(5, nx, 1), *w = es_rig_noise(6, nw, 1 / sqrt(I)),
                   *b = es_rig_noise(7, (size_t)s.O, 1), *p = es_rig_noise(8, np, 1), *y = malloc(ny * sizeof *y);
            es_matrix W = {.dtype = dt, .O = s.O, .I = I};
            void *host = malloc(nw * 4), *dw = es_rig_room(r, r->traits->matrix_bytes(dt, s.O, I));
            ref_store(host, dt, w, nw);
            ref_fetch(w, host, dt, nw);
            r->o->matrix_load(r->d, dw, W, host, dt);
            W.p = dw;
            int32_t batches = s.live;
            void *dx = es_rig_put(r, x, nx, dt), *db = es_rig_put(r, b, (size_t)s.O, ES_F32),
                 *dp = es_rig_put(r, p, np, ES_F32), *dy = es_rig_room(r, ny * es_dtype_bytes(dt)),
                 *db1 = es_rig_put_bytes(r, &batches, sizeof batches),
                 *scratch = es_rig_room(r, r->traits->conv1d_scratch(dt, s.B, To, s.C, s.K));
            r->o->conv1d(r->d, dt, dy, dx, W, db, s.pos ? dp : NULL, s.live < s.B ? db1 : NULL, s.B, s.Ti, s.C, s.K,
                         s.stride, s.pad, s.dilation, s.act, scratch);
            float *x4 = es_rig_narrow(x, nx), *w4 = es_rig_narrow(w, nw), *b4 = es_rig_narrow(b, (size_t)s.O),
                  *p4 = es_rig_narrow(p, np), *y4 = malloc(ny * sizeof *y4);
            ref64_conv1d(y, x, w, b, s.pos ? p : NULL, s.live, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation, s.act);
            ref32_conv1d(y4, x4, w4, b4, s.pos ? p4 : NULL, s.live, s.Ti, s.C, s.O, s.K, s.stride, s.pad, s.dilation,
                         s.act);
            double *have = es_rig_get(r, dy, live, dt);
            es_rig_compare(what, have, y, y4, live, dt);
            es_rig_end(r, what);
            free(x), free(w), free(b), free(p), free(y), free(host), free(have);
            free(x4), free(w4), free(b4), free(p4), free(y4);
        }
}

/* ---- norms ---- */

static void norm_one(es_rig *r, bool centred, es_dtype t, int T, int live, int C, bool residual, bool in_place)
{
    char what[128];
    size_t n = (size_t)T * (size_t)C, nl = (size_t)live * (size_t)C;
    double *x = es_rig_noise(9, n, 2), *a = es_rig_noise(10, n, 1), *g = es_rig_noise(11, (size_t)C, 1),
           *b = es_rig_noise(12, (size_t)C, 1), *y = malloc(n * sizeof *y);
    int32_t rows = live;

    snprintf(what, sizeof what, "%s %d/%d x %d %s residual %d", centred ? "layernorm" : "rmsnorm", live, T, C,
             es_dtype_name(t), residual);
    es_rig_begin(r);
    for (size_t i = 0; i < n; i++) x[i] += 0.5;
    for (size_t i = nl; i < n; i++) x[i] = (double)NAN;
    void *dx = es_rig_put(r, x, n, t), *da = es_rig_put(r, a, n, t), *dg = es_rig_put(r, g, (size_t)C, ES_F32),
         *db = es_rig_put(r, b, (size_t)C, ES_F32), *dy = in_place ? dx : es_rig_room(r, n * es_dtype_bytes(t));
    const int32_t *drows = es_rig_put_bytes(r, &rows, sizeof rows);
    if (live == T) drows = NULL;
    if (centred) r->o->layernorm(r->d, t, dy, dx, residual ? da : NULL, dg, db, drows, T, C, 1e-5f);
    else r->o->rmsnorm(r->d, t, dy, dx, residual ? da : NULL, dg, drows, T, C, 1e-6f);
    if (residual) {
        for (size_t i = 0; i < n; i++) x[i] = ref_round(x[i] + a[i], t);
        double *sum = es_rig_get(r, dx, nl, t);
        for (size_t i = 0; i < nl; i++)
            if (sum[i] != x[i]) {
                es_test_fail(__FILE__, __LINE__, "%s: the sum at %zu is %.9g, expected %.9g", what, i, sum[i], x[i]);
                break;
            }
        free(sum);
    }
    float *x4 = es_rig_narrow(x, n), *g4 = es_rig_narrow(g, (size_t)C), *b4 = es_rig_narrow(b, (size_t)C),
          *y4 = malloc(n * sizeof *y4);
    ref64_norm(y, x, g, centred ? b : NULL, live, C, centred ? (double)1e-5f : (double)1e-6f, centred);
    ref32_norm(y4, x4, g4, centred ? b4 : NULL, live, C, centred ? 1e-5f : 1e-6f, centred);
    double *have = es_rig_get(r, dy, nl, t);
    es_rig_compare(what, have, y, y4, nl, t);
    es_rig_end(r, what);
    free(x), free(a), free(g), free(b), free(y), free(x4), free(g4), free(b4), free(y4), free(have);
}

static void norms(es_rig *r, bool centred)
{
    static const int sizes[][3] = {{1, 1, 1}, {1, 1, 384}, {3, 2, 15}, {5, 5, 17}, {17, 17, 512}, {4, 3, 1280}};

    for (int i = 0; i < 6; i++)
        for (int t = 0; t < 3; t++)
            for (int mode = 0; mode < 3; mode++)
                norm_one(r, centred, es_rig_floats[t], sizes[i][0], sizes[i][1], sizes[i][2], mode == 1, mode == 2);
}

void es_case_layernorm(es_rig *r)
{
    norms(r, true);
}

void es_case_rmsnorm(es_rig *r)
{
    norms(r, false);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*run)(es_rig *r);
} cases[] = {
    {"linear", es_case_linear},     {"conv1d", es_case_conv1d}, {"layernorm", es_case_layernorm},
    {"rmsnorm", es_case_rmsnorm},   {"attend", es_case_attend}, {"attend_cached", es_case_attend_cached},
    {"kv_store", es_case_kv_store}, {"embed", es_case_embed},   {"gather", es_case_gather},
    {"cast", es_case_cast},         {"logmel", es_case_logmel}, {"pick", es_case_pick},
    {"prob_at", es_case_prob_at},   {"rope", es_case_rope},     {"swiglu", es_case_swiglu},
    {"pool", es_case_pool},         {"maxpool", es_case_maxpool}, {"norm_time", es_case_norm_time},
    {"lstm", es_case_lstm},         {"conv2d", es_case_conv2d}, {"affine", es_case_affine},
    {"segment_means", es_case_segment_means}, {"gate_segments", es_case_gate_segments},
    {"by_piece", es_case_by_piece}, {"mean_deviation", es_case_mean_deviation}, {"weighed_deviation", es_case_weighed_deviation},
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
