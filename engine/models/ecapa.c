/*
 * ecapa.c - the forward pass of ECAPA-TDNN, both forms.
 *
 * What a TDNN is here: product or convolution, relu, then the scale and shift of the norm, which stands behind the relu and so
 * cannot be folded into what is before it. The attention looks at each frame beside the mean and deviation of all: the part of
 * its product that belongs to those is the same for every frame of a piece, so it is made once a piece and added. A piece of
 * 10 s is 18 billion multiply-adds.
 */
#include "models/ecapa.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ops.h"

enum { BINS = 80, BLOCKS = 3, CHUNKS = 8 };

typedef struct tdnn {
    es_matrix w;
    const float *b, *scale, *shift;
} tdnn;

typedef struct block {
    tdnn in, chunk[CHUNKS - 1], out;
    es_matrix squeeze, excite;
    const float *squeeze_b, *excite_b;
} block;

struct es_ecapa {
    es_ecapa_dims dims;
    int pieces, frames; /* planned */
    es_notes *notes;
    es_arena *arena;
    es_model *model;
    es_program *embed;
    tdnn first, join;
    block blocks[BLOCKS];
    es_matrix frame, global, attention, last; /* frame and global: the two parts of the attention's first product */
    const float *context_b, *context_scale, *context_shift, *attention_b, *last_b;
    int32_t *table;      /* host room for the bounds */
    es_tensor features;  /* f32 [frames, 1, 80] */
    es_tensor bounds;    /* i32 [pieces + 1] */
    es_tensor n_frames;  /* i32 [1] */
    es_tensor n_pieces;  /* i32 [1] */
    es_tensor vectors;   /* f32 [pieces, vector] */
};

/* ---- sizes ---- */

int es_ecapa_dims_read(es_ecapa_dims *out, const es_weights *w, es_err *err)
{
    const char *family = es_json_string(es_json_get(es_pack_config(w), "family"));
    es_ecapa_dims d = {0};
    int bins = 0, scale = 0;
    const struct {
        const char *key;
        int least, most, *to;
    } sizes[] = {{"n_mels", BINS, BINS, &bins},         {"scale", CHUNKS, CHUNKS, &scale},     {"embedding", 1, 8192, &d.vector},
                 {"channels", CHUNKS, 8192, &d.channels}, {"squeeze", 1, 8192, &d.squeeze}, {"wide", 1, 16384, &d.wide},
                 {"attention", 1, 8192, &d.attention}};

    if (!family || (strcmp(family, "speechbrain") && strcmp(family, "taoruijie")))
        return es_fail(err, ES_EMODEL, "%s: config \"family\" is \"%s\", not speechbrain or taoruijie", es_weights_path(w), family ? family : "");
    d.taoruijie = !strcmp(family, "taoruijie");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t v = 0;
        if (!es_json_int(es_json_get(es_pack_config(w), sizes[i].key), sizes[i].least, sizes[i].most, &v))
            return es_fail(err, ES_EMODEL, "%s: config \"%s\" is not a whole number from %d to %d", es_weights_path(w), sizes[i].key,
                           sizes[i].least, sizes[i].most);
        *sizes[i].to = (int)v;
    }
    if (d.channels % CHUNKS)
        return es_fail(err, ES_EMODEL, "%s: %d channels cannot be cut into %d chunks", es_weights_path(w), d.channels, CHUNKS);
    *out = d;
    return ES_OK;
}

/* ---- weights ---- */

static void bind_tdnn(es_bind *b, tdnn *t, int O, int I, const char *name)
{
    es_bind_matrix_f32(b, &t->w, O, I, "%s.weight", name);
    es_bind_vector(b, &t->b, O, "%s.bias", name);
    es_bind_vector(b, &t->scale, O, "%s.scale", name);
    es_bind_vector(b, &t->shift, O, "%s.shift", name);
}

static void bind_block(es_bind *b, const es_ecapa_dims *d, block *k, int i)
{
    int part = d->channels / CHUNKS;
    char name[48];

    snprintf(name, sizeof name, "blocks.%d.tdnn1", i);
    bind_tdnn(b, &k->in, d->channels, d->channels, name);
    for (int j = 0; j < CHUNKS - 1; j++) {
        snprintf(name, sizeof name, "blocks.%d.res.%d", i, j);
        bind_tdnn(b, &k->chunk[j], part, 3 * part, name);
    }
    snprintf(name, sizeof name, "blocks.%d.tdnn2", i);
    bind_tdnn(b, &k->out, d->channels, d->channels, name);
    es_bind_matrix_f32(b, &k->squeeze, d->squeeze, d->channels, "blocks.%d.se1.weight", i);
    es_bind_vector(b, &k->squeeze_b, d->squeeze, "blocks.%d.se1.bias", i);
    es_bind_matrix_f32(b, &k->excite, d->channels, d->squeeze, "blocks.%d.se2.weight", i);
    es_bind_vector(b, &k->excite_b, d->channels, "blocks.%d.se2.bias", i);
}

static void bind(es_bind *b, void *user)
{
    es_ecapa *m = user;
    const es_ecapa_dims *d = &m->dims;

    bind_tdnn(b, &m->first, d->channels, 5 * BINS, "first");
    for (int i = 0; i < BLOCKS; i++) bind_block(b, d, &m->blocks[i], i);
    bind_tdnn(b, &m->join, d->wide, BLOCKS * d->channels, "mfa");
    es_bind_matrix_f32(b, &m->frame, d->attention, d->wide, "context.frame.weight");
    es_bind_matrix_f32(b, &m->global, d->attention, 2 * d->wide, "context.global.weight");
    es_bind_vector(b, &m->context_b, d->attention, "context.bias");
    es_bind_vector(b, &m->context_scale, d->attention, "context.scale");
    es_bind_vector(b, &m->context_shift, d->attention, "context.shift");
    es_bind_matrix_f32(b, &m->attention, d->wide, d->attention, "attention.weight");
    es_bind_vector(b, &m->attention_b, d->wide, "attention.bias");
    es_bind_matrix_f32(b, &m->last, d->vector, 2 * d->wide, "embedding.weight");
    es_bind_vector(b, &m->last_b, d->vector, "embedding.bias");
}

/* ---- the forward pass ---- */

static es_cols all(es_tensor x)
{
    return es_columns(x, 0, x.dim[1]);
}

static es_cols none(void)
{
    return (es_cols){.of = es_no_rows};
}

/* Over `taps` frames of x [N, C], before the norm: [N, O]. */
static es_tensor convolve(es_run *r, const es_ecapa *m, es_tensor x, const tdnn *t, int size, int dilation)
{
    es_taps k = {.C = x.dim[1], .Kf = 1, .Kt = size, .stride_f = 1, .stride_t = 1, .dilation = dilation, .reflect = !m->dims.taoruijie};
    es_tensor frames = es_reshape(x, 3, (int[]){m->frames, 1, x.dim[1]});
    es_tensor y = es_conv2d(r, frames, t->w, t->b, m->bounds, m->bounds, m->frames, k, ES_ACT_RELU);

    return es_reshape(y, 2, (int[]){m->frames, t->w.O});
}

static es_tensor dense(es_run *r, es_tensor x, const tdnn *t)
{
    es_tensor y = es_linear(r, x, t->w, t->b, ES_ACT_RELU);

    return es_affine(r, all(y), t->scale, t->shift, ES_ACT_NONE);
}

/* Chunk k through its convolution, after what came out of the chunk before has been added; one chunk passes as it is. */
static es_tensor chunks(es_run *r, const es_ecapa *m, es_tensor u, const block *b, int dilation)
{
    int part = m->dims.channels / CHUNKS, first = m->dims.taoruijie ? 0 : 1, pass = m->dims.taoruijie ? CHUNKS - 1 : 0;
    es_tensor v = es_new2(r, ES_F32, m->frames, m->dims.channels);

    es_affine_to(r, es_columns(v, pass * part, part), es_columns(u, pass * part, part), NULL, NULL, ES_ACT_NONE);
    for (int i = 0; i < CHUNKS - 1; i++) {
        int at = (first + i) * part;
        es_cols before = i > 0 ? es_columns(v, at - part, part) : none();
        es_tensor x = es_by_piece(r, es_columns(u, at, part), es_no_rows, es_no_rows, before, m->bounds, ES_ACT_NONE);
        x = convolve(r, m, x, &b->chunk[i], 3, dilation);
        es_affine_to(r, es_columns(v, at, part), all(x), b->chunk[i].scale, b->chunk[i].shift, ES_ACT_NONE);
    }
    return v;
}

static es_tensor residual(es_run *r, const es_ecapa *m, es_tensor x, int i)
{
    const block *b = &m->blocks[i];
    es_tensor v = dense(r, x, &b->in);

    es_note(m->notes, r, v, "blocks.%d.tdnn1", i + 1);
    v = chunks(r, m, v, b, i + 2);
    es_note(m->notes, r, v, "blocks.%d.res2net_block", i + 1);
    v = dense(r, v, &b->out);
    es_note(m->notes, r, v, "blocks.%d.tdnn2", i + 1);
    es_tensor g = es_pool(r, v, m->bounds, ES_POOL_MEAN, false);              /* [pieces, C] */
    es_run_rows(r, m->n_pieces);
    g = es_linear(r, g, b->squeeze, b->squeeze_b, ES_ACT_RELU);
    g = es_linear(r, g, b->excite, b->excite_b, ES_ACT_SIGMOID);
    es_run_rows(r, m->n_frames);
    es_note(m->notes, r, g, "blocks.%d.se gate", i + 1);
    v = es_by_piece(r, all(v), g, es_no_rows, all(x), m->bounds, ES_ACT_NONE);
    es_note(m->notes, r, v, "blocks.%d", i + 1);
    return v;
}

static void embed(es_run *r, void *user)
{
    const es_ecapa *m = user;
    const es_ecapa_dims *d = &m->dims;
    float least = d->taoruijie ? 1e-4f : 1e-12f;
    es_tensor x, side, y, stats, context, h, z;

    es_run_rows(r, m->n_frames);
    x = convolve(r, m, es_reshape(m->features, 2, (int[]){m->frames, BINS}), &m->first, 5, 1);
    x = es_affine(r, all(x), m->first.scale, m->first.shift, ES_ACT_NONE);
    es_note(m->notes, r, x, "blocks.0");
    side = es_new2(r, ES_F32, m->frames, BLOCKS * d->channels);
    for (int i = 0; i < BLOCKS; i++) {
        y = residual(r, m, x, i);
        es_copy_columns(r, es_columns(side, i * d->channels, d->channels), y);
        if (i == BLOCKS - 1) break;
        x = d->taoruijie ? es_by_piece(r, all(x), es_no_rows, es_no_rows, all(y), m->bounds, ES_ACT_NONE) : y;
    }
    y = dense(r, side, &m->join);                                                                     /* [frames, W] */
    es_note(m->notes, r, y, "mfa");
    stats = es_mean_deviation(r, y, es_no_rows, m->bounds, d->taoruijie ? 1 : 0, least);              /* [pieces, 2W] */
    es_run_rows(r, m->n_pieces);
    context = es_linear(r, stats, m->global, m->context_b, ES_ACT_NONE);                              /* [pieces, A] */
    es_run_rows(r, m->n_frames);
    h = es_linear(r, y, m->frame, NULL, ES_ACT_NONE);                                                 /* [frames, A] */
    h = es_by_piece(r, all(h), es_no_rows, context, none(), m->bounds, ES_ACT_RELU);
    h = es_affine(r, all(h), m->context_scale, m->context_shift, ES_ACT_NONE);
    es_note(m->notes, r, h, "asp.tdnn");
    h = es_affine(r, all(h), NULL, NULL, ES_ACT_TANH);
    z = es_linear(r, h, m->attention, m->attention_b, ES_ACT_NONE);                                   /* [frames, W] */
    es_note(m->notes, r, z, "asp logits");
    stats = es_mean_deviation(r, y, z, m->bounds, 0, least);
    es_note(m->notes, r, stats, "asp");
    es_run_rows(r, m->n_pieces);
    es_linear_to(r, m->vectors, stats, m->last, m->last_b, ES_ACT_NONE);
}

/* ---- the model ---- */

int es_ecapa_plan(es_ecapa **out, es_plan *p, const char *name, const es_weights *w, const es_ecapa_dims *dims, int pieces, int frames,
                  es_notes *notes, es_err *err)
{
    es_ecapa *m = calloc(1, sizeof *m);
    int rc = ES_OK;

    *out = NULL;
    assert(pieces > 0 && frames >= ES_ECAPA_LEAST);
    if (frames > INT32_MAX / (BLOCKS * dims->channels > 2 * dims->wide ? BLOCKS * dims->channels : 2 * dims->wide))
        rc = es_fail(err, ES_EARG, "%s: %d frames in a step are too many", name, frames);
    if (m && !rc) {
        m->dims = *dims;
        m->pieces = pieces, m->frames = frames;
        m->table = calloc((size_t)pieces + 1, sizeof *m->table);
    }
    if (!rc && (!m || !m->table)) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate the model", name);
    if (!rc) rc = es_plan_model(p, &m->model, name, w, ES_F32, ES_F32, bind, m, err);
    if (rc) {
        es_ecapa_close(m);
        return rc;
    }
    if (notes) notes->model = m->model;
    m->notes = notes;
    es_plan_state(m->model, &m->features, "features", ES_F32, 3, (int[]){frames, 1, BINS});
    es_plan_state(m->model, &m->bounds, "bounds of pieces", ES_I32, 1, (int[]){pieces + 1});
    es_plan_state(m->model, &m->n_frames, "live frames", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->n_pieces, "live pieces", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->vectors, "vectors", ES_F32, 2, (int[]){pieces, dims->vector});
    es_plan_program(m->model, &m->embed, "embed", embed, m);
    *out = m;
    return ES_OK;
}

void es_ecapa_close(es_ecapa *m)
{
    if (m) free(m->table);
    free(m);
}

void es_ecapa_start(es_ecapa *m, es_arena *a)
{
    m->arena = a;
}

int es_ecapa_run(es_ecapa *m, const float *features, const int *frames, int n, float *vectors, es_err *err)
{
    int32_t *bounds = m->table, live = n;
    es_fault fault = {0};

    assert(n > 0 && n <= m->pieces);
    bounds[0] = 0;
    for (int s = 0; s < m->pieces; s++) { /* pieces that are not there are empty ones at the end */
        assert(s >= n || (frames[s] >= ES_ECAPA_LEAST && frames[s] <= m->frames - bounds[s]));
        bounds[s + 1] = bounds[s] + (s < n ? frames[s] : 0);
    }
    es_state_put(m->arena, m->features, 0, features, (size_t)bounds[n] * BINS * sizeof *features);
    es_state_put(m->arena, m->bounds, 0, bounds, ((size_t)m->pieces + 1) * sizeof *bounds);
    es_state_put(m->arena, m->n_frames, 0, &bounds[n], sizeof bounds[n]);
    es_state_put(m->arena, m->n_pieces, 0, &live, sizeof live);
    es_program_run(m->embed, m->arena);
    es_state_get(m->arena, m->vectors, 0, vectors, (size_t)n * (size_t)m->dims.vector * sizeof *vectors);
    if (es_device_sync(es_arena_device(m->arena), &fault)) return es_fail(err, ES_EDEVICE, "%s", fault.text);
    return ES_OK;
}
