/*
 * campplus.c - the forward pass of CAM++.
 *
 * A block's channels are columns of one table as wide as its output: each layer reads the columns so far and writes its own
 * 32 behind them, so growing costs no copy. The gate of a layer is the same for a segment of 100 frames (2 s): its two
 * products are made once for each segment, not for each frame. A window of 10 s is 5.4 billion multiply-adds: 175 ms on one
 * core with AVX-512.
 */
#include "models/campplus.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ops.h"

enum { BINS = ES_CAMPPLUS_BINS, VECTOR = ES_CAMPPLUS_VECTOR, HEAD = 32, FLAT = 320, FIRST = 128, MIDDLE = 128, GROWTH = 32,
       SQUEEZE = 64, SEGMENT = 100, BLOCKS = 3, MOST_LAYERS = 24, LAST = 512 };

static const struct {
    int layers, dilation, in, out; /* out: of the transition behind the block */
} shape[BLOCKS] = {{12, 1, 128, 256}, {24, 2, 256, 512}, {16, 2, 512, LAST}};

typedef struct product {
    es_matrix w;
    const float *b;
} product;

typedef struct layer {
    const float *scale, *shift;
    product bottleneck, context, gate;
    es_matrix local;
} layer;

struct es_campplus {
    int pieces, frames, half_frames, n_segments; /* planned */
    es_notes *notes;
    es_arena *arena;
    es_model *model;
    es_program *embed;
    product first, last, conv[2][2][2], shortcut[2]; /* of the head: conv[layer][block][first or second] */
    product tdnn, transit[BLOCKS], dense;
    layer layers[BLOCKS][MOST_LAYERS];
    const float *scale[BLOCKS], *shift[BLOCKS];
    int32_t *table;                /* host room for the four arrays below */
    es_tensor features;            /* f32 [frames, 80, 1] */
    es_tensor bounds, half, segments; /* i32 [pieces + 1]: frames, frames after the stride, segments of 100 of those */
    es_tensor n_half, n_segments_live; /* i32 [1]: the last of half, of segments */
    es_tensor n_pieces;            /* i32 [1] */
    es_tensor vectors;             /* f32 [pieces, 192] */
};

/* ---- weights ---- */

static void bind_product(es_bind *b, product *p, int O, int I, const char *name)
{
    es_bind_matrix_f32(b, &p->w, O, I, "%s.weight", name);
    es_bind_vector(b, &p->b, O, "%s.bias", name);
}

static void bind_layer(es_bind *b, layer *l, int block, int i)
{
    int in = shape[block].in + GROWTH * i;

    es_bind_vector(b, &l->scale, in, "blocks.%d.%d.norm.scale", block, i);
    es_bind_vector(b, &l->shift, in, "blocks.%d.%d.norm.shift", block, i);
    es_bind_matrix_f32(b, &l->bottleneck.w, MIDDLE, in, "blocks.%d.%d.bottleneck.weight", block, i);
    es_bind_vector(b, &l->bottleneck.b, MIDDLE, "blocks.%d.%d.bottleneck.bias", block, i);
    es_bind_matrix_f32(b, &l->local, GROWTH, 3 * MIDDLE, "blocks.%d.%d.local.weight", block, i);
    es_bind_matrix_f32(b, &l->context.w, SQUEEZE, MIDDLE, "blocks.%d.%d.context.weight", block, i);
    es_bind_vector(b, &l->context.b, SQUEEZE, "blocks.%d.%d.context.bias", block, i);
    es_bind_matrix_f32(b, &l->gate.w, GROWTH, SQUEEZE, "blocks.%d.%d.gate.weight", block, i);
    es_bind_vector(b, &l->gate.b, GROWTH, "blocks.%d.%d.gate.bias", block, i);
}

static void bind(es_bind *b, void *user)
{
    es_campplus *m = user;

    bind_product(b, &m->first, HEAD, 9, "head.conv1");
    bind_product(b, &m->last, HEAD, 9 * HEAD, "head.conv2");
    for (int i = 0; i < 2; i++) {
        es_bind_matrix_f32(b, &m->shortcut[i].w, HEAD, HEAD, "head.%d.0.shortcut.weight", i);
        es_bind_vector(b, &m->shortcut[i].b, HEAD, "head.%d.0.shortcut.bias", i);
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 2; k++) {
                es_bind_matrix_f32(b, &m->conv[i][j][k].w, HEAD, 9 * HEAD, "head.%d.%d.conv%d.weight", i, j, k + 1);
                es_bind_vector(b, &m->conv[i][j][k].b, HEAD, "head.%d.%d.conv%d.bias", i, j, k + 1);
            }
    }
    bind_product(b, &m->tdnn, FIRST, 5 * FLAT, "tdnn");
    for (int i = 0; i < BLOCKS; i++) {
        int width = shape[i].in + GROWTH * shape[i].layers;
        for (int j = 0; j < shape[i].layers; j++) bind_layer(b, &m->layers[i][j], i, j);
        es_bind_vector(b, &m->scale[i], width, "transit.%d.norm.scale", i);
        es_bind_vector(b, &m->shift[i], width, "transit.%d.norm.shift", i);
        es_bind_matrix_f32(b, &m->transit[i].w, shape[i].out, width, "transit.%d.weight", i);
        es_bind_vector(b, &m->transit[i].b, shape[i].out, "transit.%d.bias", i);
    }
    bind_product(b, &m->dense, VECTOR, 2 * LAST, "dense");
}

/* ---- the forward pass ---- */

static es_taps taps(int C, int Kf, int Kt, int stride_f, int stride_t, int dilation)
{
    return (es_taps){.C = C, .Kf = Kf, .Kt = Kt, .stride_f = stride_f, .stride_t = stride_t, .dilation = dilation};
}

/* Convolution, relu, convolution, added to the input (or to its shortcut where bands are halved), relu. */
static es_tensor residual(es_run *r, const es_campplus *m, es_tensor x, int i, int j)
{
    const product *c = m->conv[i][j];
    int stride = j == 0 ? 2 : 1;
    es_tensor u = es_conv2d(r, x, c[0].w, c[0].b, m->bounds, m->bounds, m->frames, taps(HEAD, 3, 3, stride, 1, 1), ES_ACT_RELU);
    es_tensor y = x;

    if (j == 0)
        y = es_conv2d(r, x, m->shortcut[i].w, m->shortcut[i].b, m->bounds, m->bounds, m->frames, taps(HEAD, 1, 1, 2, 1, 1), ES_ACT_NONE);
    return es_conv2d_add(r, y, u, c[1].w, c[1].b, m->bounds, taps(HEAD, 3, 3, 1, 1, 1), ES_ACT_RELU);
}

/* Layer i of a block: columns `in` .. `in` + 31 of y from the ones before. */
static void grow(es_run *r, const es_campplus *m, es_tensor y, const layer *l, int in, int dilation)
{
    es_tensor u = es_affine(r, es_columns(y, 0, in), l->scale, l->shift, ES_ACT_RELU);     /* [N, in] */

    u = es_linear(r, u, l->bottleneck.w, l->bottleneck.b, ES_ACT_RELU);                    /* [N, 128] */
    es_tensor frames = es_reshape(u, 3, (int[]){m->half_frames, 1, MIDDLE});
    es_tensor v = es_conv2d(r, frames, l->local, NULL, m->half, m->half, m->half_frames, taps(MIDDLE, 1, 3, 1, 1, dilation), ES_ACT_NONE);
    es_tensor g = es_segment_means(r, u, m->half, m->segments, m->n_segments, SEGMENT);          /* [segments, 128] */
    es_run_rows(r, m->n_segments_live);
    g = es_linear(r, g, l->context.w, l->context.b, ES_ACT_RELU);
    g = es_linear(r, g, l->gate.w, l->gate.b, ES_ACT_SIGMOID);                             /* [segments, 32] */
    es_run_rows(r, m->n_half);
    es_gate_segments(r, es_columns(y, in, GROWTH), es_reshape(v, 2, (int[]){m->half_frames, GROWTH}), g, m->half, m->segments, SEGMENT);
}

static void embed(es_run *r, void *user)
{
    const es_campplus *m = user;
    int N = m->half_frames;
    es_tensor x = es_conv2d(r, m->features, m->first.w, m->first.b, m->bounds, m->bounds, m->frames, taps(1, 3, 3, 1, 1, 1), ES_ACT_RELU);

    es_note(m->notes, r, x, "head.conv1");
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) x = residual(r, m, x, i, j);                           /* [frames, 20, 32] at last */
        es_note(m->notes, r, x, "head.layer%d", i + 1);
    }
    x = es_conv2d(r, x, m->last.w, m->last.b, m->bounds, m->bounds, m->frames, taps(HEAD, 3, 3, 2, 1, 1), ES_ACT_RELU);
    es_note(m->notes, r, x, "head.conv2");
    x = es_reshape(x, 3, (int[]){m->frames, 1, FLAT});
    x = es_conv2d(r, x, m->tdnn.w, m->tdnn.b, m->bounds, m->half, N, taps(FLAT, 1, 5, 1, 2, 1), ES_ACT_RELU);
    x = es_reshape(x, 2, (int[]){N, FIRST});
    es_note(m->notes, r, x, "xvector.tdnn");
    es_run_rows(r, m->n_half);
    for (int i = 0; i < BLOCKS; i++) {
        int width = shape[i].in + GROWTH * shape[i].layers;
        es_tensor y = es_new2(r, ES_F32, N, width);
        es_copy_columns(r, es_columns(y, 0, shape[i].in), x);
        for (int j = 0; j < shape[i].layers; j++) grow(r, m, y, &m->layers[i][j], shape[i].in + GROWTH * j, shape[i].dilation);
        es_note(m->notes, r, y, "xvector.block%d", i + 1);
        x = es_affine(r, es_columns(y, 0, width), m->scale[i], m->shift[i], ES_ACT_RELU);
        x = es_linear(r, x, m->transit[i].w, m->transit[i].b, i == BLOCKS - 1 ? ES_ACT_RELU : ES_ACT_NONE);
        if (i < BLOCKS - 1) es_note(m->notes, r, x, "xvector.transit%d", i + 1);
    }
    es_note(m->notes, r, x, "xvector.out_nonlinear");
    x = es_mean_deviation(r, x, es_no_rows, m->half, 1, 0);
    es_note(m->notes, r, x, "xvector.stats");
    es_run_rows(r, m->n_pieces);
    es_linear_to(r, m->vectors, x, m->dense.w, m->dense.b, ES_ACT_NONE);
}

/* ---- the model ---- */

/* The pack's sizes, which this file knows by heart. */
static int check_config(const es_weights *w, es_err *err)
{
    static const struct {
        const char *key;
        int value;
    } known[] = {{"n_mels", BINS}, {"embedding", VECTOR}, {"head_channels", HEAD}, {"growth", GROWTH}, {"segment_frames", SEGMENT}};
    const es_json_node *blocks = es_json_get(es_pack_config(w), "blocks"), *b = es_json_first(blocks);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int64_t v = -1;
        if (!es_json_int(es_json_get(es_pack_config(w), known[i].key), INT64_MIN, INT64_MAX, &v) || v != known[i].value)
            return es_fail(err, ES_EMODEL, "%s: config \"%s\" is %lld, and CAM++ has %d", es_weights_path(w), known[i].key, (long long)v,
                           known[i].value);
    }
    for (int i = 0; i < BLOCKS; i++, b = es_json_next(b)) {
        int64_t layers = -1, dilation = -1;
        const es_json_node *n = b ? es_json_first(b) : NULL;
        if (!es_json_is_array(b) || !es_json_int(n, 0, INT64_MAX, &layers) || !es_json_int(es_json_next(n), 0, INT64_MAX, &dilation) ||
            layers != shape[i].layers || dilation != shape[i].dilation)
            return es_fail(err, ES_EMODEL, "%s: config \"blocks\" gives block %d %lld layers of dilation %lld, and CAM++ has %d of %d",
                           es_weights_path(w), i, (long long)layers, (long long)dilation, shape[i].layers, shape[i].dilation);
    }
    if (es_json_count(blocks) != BLOCKS)
        return es_fail(err, ES_EMODEL, "%s: config \"blocks\" lists %d, and CAM++ has %d", es_weights_path(w), es_json_count(blocks), BLOCKS);
    return ES_OK;
}

int es_campplus_plan(es_campplus **out, es_plan *p, const char *name, const es_weights *w, int pieces, int frames,
                     es_notes *notes, es_err *err)
{
    es_campplus *m = calloc(1, sizeof *m);
    int rc = w ? check_config(w, err) : ES_OK;

    *out = NULL;
    assert(pieces > 0 && frames >= ES_CAMPPLUS_LEAST && frames <= INT32_MAX / (BINS * HEAD));
    if (m) m->table = calloc(3 * ((size_t)pieces + 1), sizeof *m->table);
    if (!m || !m->table) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate the model", name);
    if (!rc) {
        m->pieces = pieces, m->frames = frames;
        /* Each piece may round its frames up once when they are halved, and once more to whole segments. */
        m->half_frames = (frames + pieces) / 2;
        m->n_segments = m->half_frames / SEGMENT + pieces;
        rc = es_plan_model(p, &m->model, name, w, ES_F32, ES_F32, bind, m, err);
        if (notes) notes->model = m->model;
        m->notes = notes;
    }
    if (rc) {
        es_campplus_close(m);
        return rc;
    }
    es_plan_state(m->model, &m->features, "features", ES_F32, 3, (int[]){frames, BINS, 1});
    es_plan_state(m->model, &m->bounds, "bounds of pieces", ES_I32, 1, (int[]){pieces + 1});
    es_plan_state(m->model, &m->half, "bounds of halved pieces", ES_I32, 1, (int[]){pieces + 1});
    es_plan_state(m->model, &m->segments, "bounds of segments", ES_I32, 1, (int[]){pieces + 1});
    es_plan_state(m->model, &m->n_half, "live halved frames", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->n_segments_live, "live segments", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->n_pieces, "live pieces", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->vectors, "vectors", ES_F32, 2, (int[]){pieces, VECTOR});
    es_plan_program(m->model, &m->embed, "embed", embed, m);
    *out = m;
    return ES_OK;
}

void es_campplus_close(es_campplus *m)
{
    if (m) free(m->table);
    free(m);
}

void es_campplus_start(es_campplus *m, es_arena *a)
{
    m->arena = a;
}

int es_campplus_pieces(const es_campplus *m)
{
    return m->pieces;
}

int es_campplus_frames(const es_campplus *m)
{
    return m->frames;
}

int es_campplus_run(es_campplus *m, const float *features, const int *frames, int n, float *vectors, es_err *err)
{
    size_t ends = (size_t)m->pieces + 1, bytes = ends * sizeof *m->table;
    int32_t *bounds = m->table, *half = bounds + ends, *segments = half + ends, live = n;
    es_fault fault = {0};

    assert(n > 0 && n <= m->pieces);
    bounds[0] = half[0] = segments[0] = 0;
    for (int s = 0; s < m->pieces; s++) { /* pieces that are not there are empty ones at the end */
        int T = s < n ? frames[s] : 0, T2 = (T + 1) / 2;
        assert(s >= n || (T >= ES_CAMPPLUS_LEAST && T <= m->frames - bounds[s]));
        bounds[s + 1] = bounds[s] + T;
        half[s + 1] = half[s] + T2;
        segments[s + 1] = segments[s] + (T2 + SEGMENT - 1) / SEGMENT;
    }
    es_state_put(m->arena, m->features, 0, features, (size_t)bounds[n] * BINS * sizeof *features);
    es_state_put(m->arena, m->bounds, 0, bounds, bytes);
    es_state_put(m->arena, m->half, 0, half, bytes);
    es_state_put(m->arena, m->segments, 0, segments, bytes);
    es_state_put(m->arena, m->n_half, 0, &half[n], sizeof half[n]);
    es_state_put(m->arena, m->n_segments_live, 0, &segments[n], sizeof segments[n]);
    es_state_put(m->arena, m->n_pieces, 0, &live, sizeof live);
    es_program_run(m->embed, m->arena);
    es_state_get(m->arena, m->vectors, 0, vectors, (size_t)n * VECTOR * sizeof *vectors);
    if (es_device_sync(es_arena_device(m->arena), &fault)) return es_fail(err, ES_EDEVICE, "%s", fault.text);
    return ES_OK;
}
