/*
 * qwen2.c - Qwen2 decoders as text encoders, gte-Qwen2 first of all, from Hugging Face's names or GGUF's.
 *
 * Query, key and value of a layer become one matrix, gate and up another. Which way attention looks decides every vector
 * and cannot be seen in the tensors: `is_causal` of config.json says it, or the user; gte-Qwen2's own code, named in
 * "auto_map", looks both ways. The output projection of the language model is not part of the encoder.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

enum { MAX_LAYERS = 512 };

typedef struct names {
    const char *tokens, *norm, *layer; /* layer: format of the prefix of layer %d */
    const char *attn_norm, *q, *k, *v, *out, *mlp_norm, *gate, *up, *down;
    const char *head; /* not needed */
} names;

static const names tables[] = {
    {"model.embed_tokens", "model.norm", "model.layers.%d.", "input_layernorm", "self_attn.q_proj", "self_attn.k_proj",
     "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
     "lm_head"},
    {"embed_tokens", "norm", "layers.%d.", "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
     "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "lm_head"},
    {"token_embd", "output_norm", "blk.%d.", "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate",
     "ffn_up", "ffn_down", "output"},
};

typedef struct model {
    es_build *b;
    const names *n;
    int64_t d, q, kv, mlp, vocab; /* q, kv: rows of the projections */
    int layers, heads, kv_heads, head_dim;
} model;

static const names *find_names(const es_source *s)
{
    char name[96], layer[64];

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        snprintf(layer, sizeof layer, tables[i].layer, 0);
        snprintf(name, sizeof name, "%s%s.weight", layer, tables[i].gate);
        if (!es_source_find(s, name)) continue;
        snprintf(name, sizeof name, "%s.weight", tables[i].tokens);
        if (es_source_find(s, name)) return &tables[i];
    }
    return NULL;
}

bool es_qwen2_is(const es_source *s)
{
    return find_names(s) != NULL;
}

static const es_src_tensor *take(model *m, int n_dims, const int64_t *dim, int layer, const char *name, const char *suffix)
{
    char stem[64];

    snprintf(stem, sizeof stem, m->n->layer, layer);
    return es_build_take(m->b, n_dims, dim, "%s%s%s", stem, name, suffix);
}

static void matrix(model *m, const char *to, const es_src_tensor *const *t, int n, int64_t O, int64_t I)
{
    if (!m->b->rc) es_build_put(m->b, to, es_build_matrix_dtype(m->b, t, n), 2, SHAPE(O, I), t, n, ES_ORDER_PLAIN);
}

static void layer(model *m, int i)
{
    const es_src_tensor *w[3], *bias[3];
    char to[64];

    snprintf(to, sizeof to, "layers.%d.attn_norm.weight", i);
    es_build_put_vector(m->b, to, take(m, 1, SHAPE(m->d), i, m->n->attn_norm, ".weight"));
    w[0] = take(m, 2, SHAPE(m->q, m->d), i, m->n->q, ".weight");
    w[1] = take(m, 2, SHAPE(m->kv, m->d), i, m->n->k, ".weight");
    w[2] = take(m, 2, SHAPE(m->kv, m->d), i, m->n->v, ".weight");
    bias[0] = take(m, 1, SHAPE(m->q), i, m->n->q, ".bias");
    bias[1] = take(m, 1, SHAPE(m->kv), i, m->n->k, ".bias");
    bias[2] = take(m, 1, SHAPE(m->kv), i, m->n->v, ".bias");
    snprintf(to, sizeof to, "layers.%d.qkv.weight", i);
    matrix(m, to, w, 3, m->q + 2 * m->kv, m->d);
    snprintf(to, sizeof to, "layers.%d.qkv.bias", i);
    if (!m->b->rc) {
        es_build_put(m->b, to, es_build_vector_dtype(m->b, bias, 3), 1, SHAPE(m->q + 2 * m->kv), bias, 3, ES_ORDER_PLAIN);
    }
    w[0] = take(m, 2, SHAPE(m->d, m->q), i, m->n->out, ".weight");
    snprintf(to, sizeof to, "layers.%d.out.weight", i);
    matrix(m, to, w, 1, m->d, m->q);
    snprintf(to, sizeof to, "layers.%d.mlp_norm.weight", i);
    es_build_put_vector(m->b, to, take(m, 1, SHAPE(m->d), i, m->n->mlp_norm, ".weight"));
    w[0] = take(m, 2, SHAPE(m->mlp, m->d), i, m->n->gate, ".weight");
    w[1] = take(m, 2, SHAPE(m->mlp, m->d), i, m->n->up, ".weight");
    snprintf(to, sizeof to, "layers.%d.gate_up.weight", i);
    matrix(m, to, w, 2, 2 * m->mlp, m->d);
    w[0] = take(m, 2, SHAPE(m->d, m->mlp), i, m->n->down, ".weight");
    snprintf(to, sizeof to, "layers.%d.down.weight", i);
    matrix(m, to, w, 1, m->d, m->mlp);
}

static void sizes(model *m, const es_json_node *config)
{
    const es_src_tensor *t = es_build_take(m->b, 2, SHAPE(-1, -1), "%s.weight", m->n->tokens);
    const char *act = es_json_string(es_json_get(config, "hidden_act"));
    int64_t heads = 0, kv = 0;
    bool window = false;

    if (!t) return;
    m->vocab = t->dim[0];
    m->d = t->dim[1];
    t = take(m, 2, SHAPE(-1, m->d), 0, m->n->q, ".weight");
    m->q = t ? t->dim[0] : 0;
    t = take(m, 2, SHAPE(-1, m->d), 0, m->n->k, ".weight");
    m->kv = t ? t->dim[0] : 0;
    t = take(m, 2, SHAPE(-1, m->d), 0, m->n->gate, ".weight");
    m->mlp = t ? t->dim[0] : 0;
    if (m->b->rc) return;
    for (char name[96]; m->layers < MAX_LAYERS; m->layers++) {
        snprintf(name, sizeof name, m->n->layer, m->layers);
        if (!es_build_has(m->b, "%s%s.weight", name, m->n->gate)) break;
    }
    if (!config) {
        es_build_fail(m->b, "config.json is not beside the weights: it says how many heads there are");
        return;
    }
    if (!es_json_int(es_json_get(config, "num_attention_heads"), 1, m->q, &heads) || m->q % heads || m->q / heads % 2) {
        es_build_fail(m->b, "config.json: \"num_attention_heads\" does not divide %lld rows into even heads", (long long)m->q);
    }
    kv = heads;
    es_json_int(es_json_get(config, "num_key_value_heads"), 1, heads, &kv);
    if (!m->b->rc && (heads % kv || m->kv != m->q / heads * kv)) {
        es_build_fail(m->b, "config.json: %lld key heads of %lld do not make %lld rows", (long long)kv,
                      (long long)(m->q / heads), (long long)m->kv);
    }
    if (act && strcmp(act, "silu")) es_build_fail(m->b, "config.json: the activation is \"%s\", silu is known", act);
    if (es_json_bool(es_json_get(config, "use_sliding_window"), &window) && window) {
        es_build_fail(m->b, "config.json: attention in a sliding window is on; only the full one is known");
    }
    if (m->b->rc) return;
    m->heads = (int)heads;
    m->kv_heads = (int)kv;
    m->head_dim = (int)(m->q / heads);
    es_build_agree(m->b, config, "hidden_size", m->d);
    es_build_agree(m->b, config, "num_hidden_layers", m->layers);
    es_build_agree(m->b, config, "intermediate_size", m->mlp);
    es_build_agree(m->b, config, "vocab_size", m->vocab);
}

static const char *attention(model *m, const es_json_node *config)
{
    const char *asked = m->b->options->attention;
    const es_json_node *map = es_json_get(config, "auto_map");
    bool causal = true;

    if (asked) {
        if (strcmp(asked, "causal") && strcmp(asked, "bidirectional")) {
            es_build_fail(m->b, "\"%s\" is no kind of attention: causal or bidirectional", asked);
        }
        return asked;
    }
    if (es_json_bool(es_json_get(config, "is_causal"), &causal)) return causal ? "causal" : "bidirectional";
    for (const es_json_node *n = es_json_first(map); n; n = es_json_next(n)) {
        const char *code = es_json_string(n);
        if (code && !strncmp(code, "modeling_qwen.", 14)) return "bidirectional";
    }
    if (!strncmp(m->b->source->format, "GGUF", 4)) {
        /* Files of either kind lack the key, and the wrong choice gives vectors that look right and are not. */
        es_build_fail(m->b, "the file does not say which way attention looks: it must be named, causal or bidirectional");
    }
    es_build_note(m->b, "the source does not say which way attention looks: causal is taken, --attention decides otherwise");
    return "causal";
}

static void meta(model *m, const es_json_node *config, bool tokenizer, int eos)
{
    const char *way = attention(m, config);
    double theta = 10000, eps = 1e-6;
    int64_t positions = 32768, said;
    es_json_out j;

    es_json_number(es_json_get(config, "rope_theta"), &theta);
    es_json_number(es_json_get(config, "rms_norm_eps"), &eps);
    es_json_int(es_json_get(config, "max_position_embeddings"), 1, INT32_MAX, &positions);
    if (eos < 0 && es_json_int(es_json_get(config, "eos_token_id"), 0, m->vocab - 1, &said)) eos = (int)said;
    if (!(theta > 1) || !(eps > 0 && eps < 1)) {
        es_build_fail(m->b, "config.json: a rotary base of %g and an epsilon of %g are impossible", theta, eps);
    }
    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_int(&j, "d_model", m->d);
    es_json_put_int(&j, "heads", m->heads);
    es_json_put_int(&j, "kv_heads", m->kv_heads);
    es_json_put_int(&j, "head_dim", m->head_dim);
    es_json_put_int(&j, "layers", m->layers);
    es_json_put_int(&j, "mlp", m->mlp);
    es_json_put_int(&j, "vocab", m->vocab);
    es_json_put_int(&j, "positions", positions);
    es_json_put_number(&j, "rope_theta", theta);
    es_json_put_number(&j, "eps", eps);
    es_json_put_string(&j, "attention", way);
    es_json_put_string(&j, "pooling", "last");
    es_json_put_int(&j, "eos", eos);
    es_json_put_string(&j, "tokenizer", tokenizer ? "qwen2" : "none");
    es_json_end_object(&j);
    if (j.failed && !m->b->rc) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    if (!m->b->rc) es_build_meta(m->b, "qwen2", j.text, "1");
    free(j.text);
    snprintf(m->b->report->sizes, sizeof m->b->report->sizes,
             "%lld wide, %d heads and %d of keys, %d layers, %lld tokens, %s attention", (long long)m->d, m->heads,
             m->kv_heads, m->layers, (long long)m->vocab, way);
}

void es_qwen2_build(es_build *b)
{
    model m = {.b = b, .n = find_names(b->source)};
    es_json *config = es_build_json(b, "config.json", 1 << 20);
    const es_src_tensor *t;
    es_vocab vocab = {0};
    int eos = -1;
    bool tokenizer;

    sizes(&m, es_json_root(config));
    t = es_build_take(b, 2, SHAPE(m.vocab, m.d), "%s.weight", m.n->tokens);
    matrix(&m, "tokens", &t, 1, m.vocab, m.d);
    for (int i = 0; i < m.layers && !b->rc; i++) layer(&m, i);
    es_build_put_vector(b, "norm.weight", es_build_take(b, 1, SHAPE(m.d), "%s.weight", m.n->norm));
    tokenizer = !b->rc && es_vocab_qwen2(b, &vocab, (int)m.vocab, &eos);
    if (tokenizer) es_vocab_put(b, &vocab);
    es_vocab_done(&vocab);
    if (!tokenizer && !b->rc) es_build_note(b, "no tokenizer.json beside the weights: the pack takes token ids only");
    if (!b->rc) meta(&m, es_json_root(config), tokenizer, eos);
    es_build_skip(b, "%s.weight", m.n->head);
    es_build_leftover(b);
    es_json_close(config);
}
