/*
 * embedder.c - sizes, plan and steps of the text encoders; the forward passes are bert.c and qwen2.c.
 */
#include "models/embedder_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- sizes ---- */

static const struct {
    const char *name;
    es_embedder_dims dims;
} presets[] = {
    {"minilm",
     {.d_model = 384, .heads = 12, .kv_heads = 12, .head_dim = 32, .layers = 6, .mlp = 1536, .vocab = 30522, .positions = 512,
      .longest = 256,
      .eps = 1e-12f, .mask = ES_MASK_NONE, .pooling = ES_POOL_MEAN}},
    {"gte-qwen2-1.5b",
     {.qwen2 = true, .d_model = 1536, .heads = 12, .kv_heads = 2, .head_dim = 128, .layers = 28, .mlp = 8960, .vocab = 151646,
      .positions = 32768, .longest = 32768, .theta = 1e6, .eps = 1e-6f, .mask = ES_MASK_NONE, .pooling = ES_POOL_LAST}},
    {"gte-qwen2-7b",
     {.qwen2 = true, .d_model = 3584, .heads = 28, .kv_heads = 4, .head_dim = 128, .layers = 28, .mlp = 18944,
      .vocab = 151646, .positions = 32768, .longest = 32768, .theta = 1e6, .eps = 1e-6f, .mask = ES_MASK_NONE, .pooling = ES_POOL_LAST}},
};

bool es_embedder_preset(es_embedder_dims *out, const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name)) continue;
        *out = presets[i].dims;
        return true;
    }
    return false;
}

const char *es_embedder_preset_name(int i)
{
    return i >= 0 && i < (int)(sizeof presets / sizeof presets[0]) ? presets[i].name : NULL;
}

/* A whole number of the pack's config, or a sentence. */
static int whole(const es_weights *w, const char *key, int64_t least, int64_t most, int *out, es_err *err)
{
    const es_json_node *n = es_json_get(es_pack_config(w), key);
    int64_t v;

    if (!es_json_int(n, least, most, &v))
        return es_fail(err, ES_EMODEL, "%s: config \"%s\" is not a whole number from %lld to %lld", es_weights_path(w), key,
                       (long long)least, (long long)most);
    *out = (int)v;
    return ES_OK;
}

static int real(const es_weights *w, const char *key, double *out, es_err *err)
{
    if (!es_json_number(es_json_get(es_pack_config(w), key), out) || !(*out > 0 && *out < 1e12))
        return es_fail(err, ES_EMODEL, "%s: config \"%s\" is not a positive number", es_weights_path(w), key);
    return ES_OK;
}

int es_embedder_dims_read(es_embedder_dims *out, const es_weights *w, es_err *err)
{
    const char *arch = es_pack_architecture(w), *mask, *pooling = es_json_string(es_json_get(es_pack_config(w), "pooling"));
    es_embedder_dims d = {.qwen2 = !strcmp(arch, "qwen2")};
    double eps = 0;
    int rc = ES_OK;

    if (!d.qwen2 && strcmp(arch, "bert"))
        return es_fail(err, ES_EMODEL, "%s: a pack of architecture %s, and a text encoder is bert or qwen2",
                       es_weights_path(w), arch);
    if ((rc = whole(w, "d_model", 8, 65536, &d.d_model, err)) || (rc = whole(w, "heads", 1, 1024, &d.heads, err)) ||
        (rc = whole(w, "layers", 1, ES_EMBEDDER_MAX_LAYERS, &d.layers, err)) ||
        (rc = whole(w, "mlp", 1, 1 << 20, &d.mlp, err)) || (rc = whole(w, "vocab", 1, 1 << 24, &d.vocab, err)) ||
        (rc = whole(w, "positions", 1, 1 << 24, &d.positions, err)) || (rc = real(w, "eps", &eps, err)))
        return rc;
    d.longest = d.positions;
    if (!d.qwen2 && (rc = whole(w, "max_tokens", 2, d.positions, &d.longest, err))) return rc;
    d.eps = (float)eps;
    d.kv_heads = d.heads;
    d.head_dim = d.d_model / d.heads;
    d.pooling = pooling && !strcmp(pooling, "last") ? ES_POOL_LAST
                : pooling && !strcmp(pooling, "cls") ? ES_POOL_FIRST
                                                     : ES_POOL_MEAN;
    if (!pooling || (strcmp(pooling, "mean") && strcmp(pooling, "cls") && strcmp(pooling, "last")))
        return es_fail(err, ES_EMODEL, "%s: config \"pooling\" is \"%s\", not mean, cls or last", es_weights_path(w),
                       pooling ? pooling : "");
    if (d.qwen2) {
        mask = es_json_string(es_json_get(es_pack_config(w), "attention"));
        if (!mask || (strcmp(mask, "causal") && strcmp(mask, "bidirectional")))
            return es_fail(err, ES_EMODEL, "%s: config \"attention\" is \"%s\", not causal or bidirectional",
                           es_weights_path(w), mask ? mask : "");
        d.mask = !strcmp(mask, "causal") ? ES_MASK_CAUSAL : ES_MASK_NONE;
        if ((rc = whole(w, "kv_heads", 1, 1024, &d.kv_heads, err)) || (rc = whole(w, "head_dim", 8, 256, &d.head_dim, err)) ||
            (rc = real(w, "rope_theta", &d.theta, err)))
            return rc;
    }
    if (d.heads % d.kv_heads || d.head_dim % 8 || d.head_dim > 256 || (!d.qwen2 && d.head_dim * d.heads != d.d_model))
        return es_fail(err, ES_EMODEL, "%s: %d heads of %d, %d of them for keys, do not fit a width of %d", es_weights_path(w),
                       d.heads, d.head_dim, d.kv_heads, d.d_model);
    *out = d;
    return ES_OK;
}

/* ---- plan ---- */

int es_embedder_longest(const es_embedder *m)
{
    return m->limits.tokens < m->dims.longest ? m->limits.tokens : m->dims.longest;
}

const es_embedder_dims *es_embedder_dims_of(const es_embedder *m)
{
    return &m->dims;
}

int64_t es_embedder_parameters(const es_embedder *m)
{
    return m->parameters;
}

es_fill es_embedder_fill(const es_embedder *m)
{
    return m->fill;
}

es_tensor es_embedder_narrow(es_run *r, es_tensor x)
{
    return es_run_backend(r) == ES_CPU ? x : es_cast(r, x, ES_F16);
}

void es_embedder_note(es_run *r, const es_embedder *m, int i, es_tensor x)
{
    int dims[2] = {(m->dims.layers + 1) * m->limits.tokens, m->dims.d_model};

    if (m->limits.keep) es_cast_to(r, es_row_range(es_reshape(m->kept, 2, dims), i * m->limits.tokens, m->limits.tokens), x);
}

static void states(es_embedder *m)
{
    int tokens[1] = {m->limits.tokens}, bounds[1] = {m->limits.texts + 1}, one[1] = {1};
    int vectors[2] = {m->limits.texts, m->dims.d_model};
    int kept[3] = {m->dims.layers + 1, m->limits.tokens, m->dims.d_model};

    es_plan_state(m->model, &m->id, "tokens", ES_I32, 1, tokens);
    es_plan_state(m->model, &m->pos, "positions", ES_I32, 1, tokens);
    es_plan_state(m->model, &m->bounds, "bounds", ES_I32, 1, bounds);
    es_plan_state(m->model, &m->n_rows, "live tokens", ES_I32, 1, one);
    es_plan_state(m->model, &m->vectors, "vectors", ES_F32, 2, vectors);
    if (m->limits.keep) es_plan_state(m->model, &m->kept, "kept", ES_F32, 3, kept);
}

int es_embedder_plan(es_embedder **out, es_plan *p, const char *name, const es_weights *w, const es_embedder_dims *dims,
                     es_embedder_limits limits, es_err *err)
{
    es_embedder *m = calloc(1, sizeof *m);
    int rc = ES_OK;

    *out = NULL;
    assert(limits.tokens > 0 && limits.texts > 0 && dims->layers <= ES_EMBEDDER_MAX_LAYERS);
    if (!m) return es_fail(err, ES_ENOMEM, "%s: cannot allocate the model", name);
    m->dims = *dims;
    m->limits = limits;
    m->backend = es_plan_backend(p);
    m->host_pos = malloc((size_t)limits.tokens * sizeof *m->host_pos);
    m->host_bounds = malloc(((size_t)limits.texts + 1) * sizeof *m->host_bounds);
    if (!m->host_pos || !m->host_bounds) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate %d tokens", name, limits.tokens);
    if (!rc)
        rc = es_plan_model(p, &m->model, name, w, ES_F16, ES_F32, dims->qwen2 ? es_qwen2_bind : es_bert_bind, m, err);
    if (rc) {
        es_embedder_close(m);
        return rc;
    }
    states(m);
    es_plan_program(m->model, &m->embed, "embed", dims->qwen2 ? es_qwen2_run : es_bert_run, m);
    *out = m;
    return ES_OK;
}

void es_embedder_close(es_embedder *m)
{
    if (!m) return;
    free(m->host_pos);
    free(m->host_bounds);
    free(m);
}

void es_embedder_start(es_embedder *m, es_arena *a)
{
    m->arena = a;
}

es_tensor es_embedder_debug(const es_embedder *m)
{
    return m->kept;
}

/* ---- steps ---- */

int es_embedder_step(es_embedder *m, const int32_t *tokens, const int32_t *bounds, int n, float *vectors, es_err *err)
{
    int32_t rows = bounds[n];
    es_fault fault = {0};

    assert(n > 0 && n <= m->limits.texts && rows <= m->limits.tokens && bounds[0] == 0);
    for (int i = 0; i < n; i++) {
        int length = bounds[i + 1] - bounds[i];
        assert(length > 0 && length <= es_embedder_longest(m));
        for (int t = 0; t < length; t++) {
            int32_t id = tokens[bounds[i] + t];
            if (id < 0 || id >= m->dims.vocab)
                return es_fail(err, ES_EARG, "token %d of text %d is %d, and the model has tokens 0 to %d", t, i, id,
                               m->dims.vocab - 1);
            m->host_pos[bounds[i] + t] = t;
        }
    }
    for (int i = 0; i <= m->limits.texts; i++) m->host_bounds[i] = i <= n ? bounds[i] : rows;
    es_state_put(m->arena, m->id, 0, tokens, (size_t)rows * sizeof *tokens);
    es_state_put(m->arena, m->pos, 0, m->host_pos, (size_t)rows * sizeof *m->host_pos);
    es_state_put(m->arena, m->bounds, 0, m->host_bounds, ((size_t)m->limits.texts + 1) * sizeof *m->host_bounds);
    es_state_put(m->arena, m->n_rows, 0, &rows, sizeof rows);
    es_program_run(m->embed, m->arena);
    es_fill_add(&m->fill, rows, m->limits.tokens);
    es_state_get(m->arena, m->vectors, 0, vectors, (size_t)n * (size_t)m->dims.d_model * sizeof *vectors);
    if (es_device_sync(es_arena_device(m->arena), &fault)) return es_fail(err, ES_EDEVICE, "%s", fault.text);
    return ES_OK;
}

int es_embedder_run(es_embedder *m, const int32_t *tokens, const int64_t *bounds, int64_t n, float *vectors, int64_t *steps,
                    es_err *err)
{
    int32_t *step = malloc(((size_t)m->limits.texts + 1) * sizeof *step);
    int rc = step ? ES_OK : es_fail(err, ES_ENOMEM, "cannot allocate %d texts", m->limits.texts);

    if (steps) *steps = 0;
    for (int64_t at = 0; at < n && !rc;) {
        int k = 0;
        step[0] = 0;
        while (at + k < n && k < m->limits.texts && bounds[at + k + 1] - bounds[at] <= m->limits.tokens) {
            step[k + 1] = (int32_t)(bounds[at + k + 1] - bounds[at]);
            k++;
        }
        assert(k > 0);
        rc = es_embedder_step(m, tokens + bounds[at], step, k, vectors + at * m->dims.d_model, err);
        at += k;
        if (steps) ++*steps;
    }
    free(step);
    return rc;
}
