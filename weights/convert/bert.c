/*
 * bert.c - BERT encoders for sentences: all-MiniLM-L6-v2 and others with mean or first-token pooling.
 *
 * Query, key and value of a layer become one matrix. Token type 0 is the only one that is ever used, so its row is added
 * to every position. Names may have the prefix "bert.", old files call the parameters of a norm gamma and beta; the pooler
 * and the position ids that some files carry are not part of the encoder.
 */
#include "build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

enum { MAX_LAYERS = 128, MAX_TOKENS = 256 /* of a text, where no file says otherwise */ };

typedef struct model {
    es_build *b;
    const char *prefix, *gamma, *beta;
    int64_t d, mlp, vocab, positions;
    int layers, heads;
} model;

bool es_bert_is(const es_source *s)
{
    return es_source_find(s, "embeddings.word_embeddings.weight") || es_source_find(s, "bert.embeddings.word_embeddings.weight");
}

static const es_src_tensor *take(model *m, int n_dims, const int64_t *dim, int layer, const char *name, const char *suffix)
{
    if (layer < 0) return es_build_take(m->b, n_dims, dim, "%s%s%s", m->prefix, name, suffix);
    return es_build_take(m->b, n_dims, dim, "%sencoder.layer.%d.%s%s", m->prefix, layer, name, suffix);
}

static void norm(model *m, const char *to, int layer, const char *from)
{
    char name[96];

    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s.%s", to, k ? "bias" : "weight");
        es_build_put_vector(m->b, name, take(m, 1, SHAPE(m->d), layer, from, k ? m->beta : m->gamma));
    }
}

/* n products of O rows each, one below the other. */
static void linear(model *m, const char *to, int layer, const char *const *from, int n, int64_t O, int64_t I)
{
    const es_src_tensor *w[3] = {0}, *bias[3] = {0};
    char name[96];

    for (int k = 0; k < n; k++) {
        w[k] = take(m, 2, SHAPE(O, I), layer, from[k], ".weight");
        bias[k] = take(m, 1, SHAPE(O), layer, from[k], ".bias");
    }
    if (m->b->rc) return;
    snprintf(name, sizeof name, "%s.weight", to);
    es_build_put(m->b, name, es_build_matrix_dtype(m->b, w, n), 2, SHAPE(n * O, I), w, n, ES_ORDER_PLAIN);
    snprintf(name, sizeof name, "%s.bias", to);
    es_build_put(m->b, name, es_build_vector_dtype(m->b, bias, n), 1, SHAPE(n * O), bias, n, ES_ORDER_PLAIN);
}

/* positions + type 0, f32. */
static void positions(model *m)
{
    const es_src_tensor *p = take(m, 2, SHAPE(m->positions, m->d), -1, "embeddings.position_embeddings", ".weight");
    const es_src_tensor *type = take(m, 2, SHAPE(-1, m->d), -1, "embeddings.token_type_embeddings", ".weight");
    float *sum = es_build_read(m->b, p), *one = es_build_read(m->b, type);

    for (int64_t i = 0; sum && one && i < m->positions * m->d; i++) sum[i] += one[i % m->d];
    if (sum && one) es_build_put_values(m->b, "positions", sum, 2, SHAPE(m->positions, m->d));
    free(sum);
    free(one);
}

static void sizes(model *m, const es_json_node *config)
{
    const es_src_tensor *t = take(m, 2, SHAPE(-1, -1), -1, "embeddings.word_embeddings", ".weight");
    const char *act = es_json_string(es_json_get(config, "hidden_act"));
    const char *kind = es_json_string(es_json_get(config, "position_embedding_type"));
    int64_t heads = 0;

    if (!t) return;
    m->vocab = t->dim[0];
    m->d = t->dim[1];
    t = take(m, 2, SHAPE(-1, m->d), -1, "embeddings.position_embeddings", ".weight");
    if (!t) return;
    m->positions = t->dim[0];
    while (m->layers < MAX_LAYERS &&
           es_build_has(m->b, "%sencoder.layer.%d.attention.self.query.weight", m->prefix, m->layers)) m->layers++;
    t = take(m, 2, SHAPE(-1, m->d), 0, "intermediate.dense", ".weight");
    if (!t) return;
    m->mlp = t->dim[0];
    if (!config) {
        es_build_fail(m->b, "config.json is not beside the weights: it says how many heads there are");
    } else if (!es_json_int(es_json_get(config, "num_attention_heads"), 1, m->d, &heads) || m->d % heads) {
        es_build_fail(m->b, "config.json: \"num_attention_heads\" does not divide a width of %lld", (long long)m->d);
    } else if (act && strcmp(act, "gelu")) {
        es_build_fail(m->b, "config.json: the activation is \"%s\", gelu is known", act);
    } else if (kind && strcmp(kind, "absolute")) {
        es_build_fail(m->b, "config.json: positions are \"%s\", absolute is known", kind);
    }
    m->heads = (int)heads;
    es_build_agree(m->b, config, "hidden_size", m->d);
    es_build_agree(m->b, config, "num_hidden_layers", m->layers);
    es_build_agree(m->b, config, "intermediate_size", m->mlp);
    es_build_agree(m->b, config, "vocab_size", m->vocab);
    es_build_agree(m->b, config, "max_position_embeddings", m->positions);
}

/* How token vectors become one, after the pooling module's own file where it is there. */
static const char *pooling(model *m)
{
    static const char *const others[] = {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                                         "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
    es_json *j = es_build_json(m->b, "1_Pooling/config.json", 1 << 20);
    bool cls = false, on = false;

    es_json_bool(es_json_get(es_json_root(j), "pooling_mode_cls_token"), &cls);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (es_json_bool(es_json_get(es_json_root(j), others[i]), &on) && on) {
            es_build_fail(m->b, "1_Pooling/config.json: \"%s\" is on; the mean and the first token are known", others[i]);
        }
    }
    es_json_close(j);
    return cls ? "cls" : "mean";
}

static int64_t max_tokens(model *m)
{
    es_json *j = es_build_json(m->b, "sentence_bert_config.json", 1 << 20);
    int64_t n = MAX_TOKENS;

    if (!es_json_int(es_json_get(es_json_root(j), "max_seq_length"), 3, INT32_MAX, &n)) {
        es_build_note(m->b, "no sentence_bert_config.json says how long a text may be: %d tokens are taken", MAX_TOKENS);
    }
    es_json_close(j);
    return n < m->positions ? n : m->positions;
}

static void meta(model *m, const es_json_node *config, const int id[5], bool lowercase)
{
    static const char *const names[5] = {"unk", "cls", "sep", "pad", "mask"};
    double eps = 1e-12;
    es_json_out j;

    es_json_number(es_json_get(config, "layer_norm_eps"), &eps);
    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_int(&j, "d_model", m->d);
    es_json_put_int(&j, "heads", m->heads);
    es_json_put_int(&j, "layers", m->layers);
    es_json_put_int(&j, "mlp", m->mlp);
    es_json_put_int(&j, "vocab", m->vocab);
    es_json_put_int(&j, "positions", m->positions);
    es_json_put_int(&j, "max_tokens", max_tokens(m));
    es_json_put_number(&j, "eps", eps);
    es_json_put_string(&j, "pooling", pooling(m));
    es_json_put_bool(&j, "lowercase", lowercase);
    for (int k = 0; k < 5; k++) es_json_put_int(&j, names[k], id[k]);
    es_json_put_string(&j, "tokenizer", "wordpiece");
    es_json_end_object(&j);
    if (j.failed && !m->b->rc) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    if (!m->b->rc) es_build_meta(m->b, "bert", j.text, "1");
    free(j.text);
    snprintf(m->b->report->sizes, sizeof m->b->report->sizes, "%lld wide, %d heads, %d layers, %lld tokens", (long long)m->d,
             m->heads, m->layers, (long long)m->vocab);
}

void es_bert_build(es_build *b)
{
    static const char *const qkv[] = {"attention.self.query", "attention.self.key", "attention.self.value"};
    static const char *const out[] = {"attention.output.dense"}, *const up[] = {"intermediate.dense"},
                             *const down[] = {"output.dense"};
    model m = {.b = b, .prefix = es_source_find(b->source, "bert.embeddings.word_embeddings.weight") ? "bert." : ""};
    es_json *config = es_build_json(b, "config.json", 1 << 20);
    const es_src_tensor *tokens;
    es_vocab vocab = {0};
    char to[64];
    int id[5] = {0};
    bool lowercase = true, old = es_build_has(b, "%sembeddings.LayerNorm.gamma", m.prefix);

    m.gamma = old ? ".gamma" : ".weight";
    m.beta = old ? ".beta" : ".bias";
    sizes(&m, es_json_root(config));
    tokens = take(&m, 2, SHAPE(m.vocab, m.d), -1, "embeddings.word_embeddings", ".weight");
    if (tokens) es_build_put(b, "tokens", es_build_matrix_dtype(b, &tokens, 1), 2, tokens->dim, &tokens, 1, ES_ORDER_PLAIN);
    positions(&m);
    norm(&m, "embed_norm", -1, "embeddings.LayerNorm");
    for (int i = 0; i < m.layers && !b->rc; i++) {
        snprintf(to, sizeof to, "layers.%d.qkv", i);
        linear(&m, to, i, qkv, 3, m.d, m.d);
        snprintf(to, sizeof to, "layers.%d.out", i);
        linear(&m, to, i, out, 1, m.d, m.d);
        snprintf(to, sizeof to, "layers.%d.attn_norm", i);
        norm(&m, to, i, "attention.output.LayerNorm");
        snprintf(to, sizeof to, "layers.%d.up", i);
        linear(&m, to, i, up, 1, m.mlp, m.d);
        snprintf(to, sizeof to, "layers.%d.down", i);
        linear(&m, to, i, down, 1, m.d, m.mlp);
        snprintf(to, sizeof to, "layers.%d.mlp_norm", i);
        norm(&m, to, i, "output.LayerNorm");
    }
    if (!b->rc) es_vocab_wordpiece(b, &vocab, (int)m.vocab, id, &lowercase);
    es_vocab_put(b, &vocab);
    if (!b->rc) meta(&m, es_json_root(config), id, lowercase);
    es_build_skip(b, "%sembeddings.position_ids", m.prefix);
    es_build_skip(b, "%spooler.dense.weight", m.prefix);
    es_build_skip(b, "%spooler.dense.bias", m.prefix);
    es_build_leftover(b);
    es_json_close(config);
}
