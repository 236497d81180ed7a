/*
 * whisper.c - Whisper under any of its three sets of names to the names of the pack.
 *
 * Hugging Face, OpenAI and CTranslate2 store the same network:
 *     Hugging Face    model.encoder.layers.I.self_attn.q_proj.weight      separate q, k, v; norms .weight, .bias
 *     OpenAI          encoder.blocks.I.attn.query.weight                  the same
 *     CTranslate2     encoder/layer_I/self_attention/linear_0/weight      q, k, v one below the other already; gamma, beta
 * so one table of names, a row for each, is all that differs. In the pack q, k and v are one matrix, cross attention's k
 * and v another; Whisper's keys have no bias, so that part of the fused bias is zero. Convolutions go from [O, C, K] to
 * [O, K, C]: taps outermost, so that a row of the input window is one run of memory.
 *
 * Sizes come from the shapes of the tensors; config files may only agree, but for the number of heads, which no shape
 * tells. Ids of special tokens are not read at all: they follow from the size of the vocabulary, and published files get
 * them wrong.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 1500, TEXT_POSITIONS = 448, MAX_LAYERS = 64, MAX_PAIRS = 128 };

typedef struct names {
    const char *prefix;                     /* of everything */
    const char *conv;                       /* of the convolutions: encoder.conv%d */
    const char *encoder_positions, *encoder_norm, *encoder_layer;
    const char *tokens, *decoder_positions, *decoder_norm, *decoder_layer;
    const char *attn_norm, *q, *k, *v, *out; /* k NULL: q holds all three */
    const char *cross_norm, *cross_q, *cross_k, *cross_v, *cross_out; /* cross_v NULL: cross_k holds both */
    const char *mlp_norm, *up, *down;
    const char *weight, *bias, *gamma, *beta;
    const char *projection;                 /* the output projection, equal to tokens where it is there */
} names;

static const names tables[] = {
    {
        .prefix = "model.", .conv = "encoder.conv%d", .encoder_positions = "encoder.embed_positions.weight",
        .encoder_norm = "encoder.layer_norm", .encoder_layer = "encoder.layers.%d.",
        .tokens = "decoder.embed_tokens.weight", .decoder_positions = "decoder.embed_positions.weight",
        .decoder_norm = "decoder.layer_norm", .decoder_layer = "decoder.layers.%d.",
        .attn_norm = "self_attn_layer_norm", .q = "self_attn.q_proj", .k = "self_attn.k_proj", .v = "self_attn.v_proj",
        .out = "self_attn.out_proj", .cross_norm = "encoder_attn_layer_norm", .cross_q = "encoder_attn.q_proj",
        .cross_k = "encoder_attn.k_proj", .cross_v = "encoder_attn.v_proj", .cross_out = "encoder_attn.out_proj",
        .mlp_norm = "final_layer_norm", .up = "fc1", .down = "fc2",
        .weight = ".weight", .bias = ".bias", .gamma = ".weight", .beta = ".bias", .projection = "proj_out.weight",
    },
    {
        .prefix = "", .conv = "encoder.conv%d", .encoder_positions = "encoder.positional_embedding",
        .encoder_norm = "encoder.ln_post", .encoder_layer = "encoder.blocks.%d.",
        .tokens = "decoder.token_embedding.weight", .decoder_positions = "decoder.positional_embedding",
        .decoder_norm = "decoder.ln", .decoder_layer = "decoder.blocks.%d.",
        .attn_norm = "attn_ln", .q = "attn.query", .k = "attn.key", .v = "attn.value", .out = "attn.out",
        .cross_norm = "cross_attn_ln", .cross_q = "cross_attn.query", .cross_k = "cross_attn.key",
        .cross_v = "cross_attn.value", .cross_out = "cross_attn.out", .mlp_norm = "mlp_ln", .up = "mlp.0", .down = "mlp.2",
        .weight = ".weight", .bias = ".bias", .gamma = ".weight", .beta = ".bias",
    },
    {
        .prefix = "", .conv = "encoder/conv%d", .encoder_positions = "encoder/position_encodings/encodings",
        .encoder_norm = "encoder/layer_norm", .encoder_layer = "encoder/layer_%d/",
        .tokens = "decoder/embeddings/weight", .decoder_positions = "decoder/position_encodings/encodings",
        .decoder_norm = "decoder/layer_norm", .decoder_layer = "decoder/layer_%d/",
        .attn_norm = "self_attention/layer_norm", .q = "self_attention/linear_0", .out = "self_attention/linear_1",
        .cross_norm = "attention/layer_norm", .cross_q = "attention/linear_0", .cross_k = "attention/linear_1",
        .cross_out = "attention/linear_2", .mlp_norm = "ffn/layer_norm", .up = "ffn/linear_0", .down = "ffn/linear_1",
        .weight = "/weight", .bias = "/bias", .gamma = "/gamma", .beta = "/beta",
        .projection = "decoder/projection/weight",
    },
};
enum { N_TABLES = sizeof tables / sizeof *tables };

typedef struct model {
    es_build *b;
    const names *n;
    const char *prefix; /* "model." may be missing in a bare file */
    int64_t d, mels, vocab, mlp;
    int heads, encoder_layers, decoder_layers;
    int pair[MAX_PAIRS][2], n_pairs;
} model;

/* ---- which table ---- */

static const names *find_names(const es_source *s, const char **prefix)
{
    char name[128];

    for (int i = 0; i < N_TABLES; i++) {
        const char *tries[2] = {tables[i].prefix, ""};
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%s%s", tries[k], tables[i].encoder_positions);
            if (!es_source_find(s, name)) continue;
            snprintf(name, sizeof name, "%s%s", tries[k], tables[i].tokens);
            if (!es_source_find(s, name)) continue;
            *prefix = tries[k];
            return &tables[i];
        }
    }
    return NULL;
}

bool es_whisper_is(const es_source *s)
{
    const char *prefix;

    return find_names(s, &prefix) != NULL;
}

/* ---- tensors ---- */

/* layer: a table's format for layer i, or NULL for what belongs to none. */
static const es_src_tensor *need(model *m, int n_dims, const int64_t *dim, const char *layer, int i, const char *name,
                                 const char *suffix)
{
    char stem[160] = "";

    if (layer) snprintf(stem, sizeof stem, layer, i);
    return es_build_take(m->b, n_dims, dim, "%s%s%s%s", m->prefix, stem, name, suffix);
}

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

/* parts [rows of each, in] one below the other under `to`.weight, and their biases; a part without a bias has zeros. */
static void linear(model *m, const char *to, const char *layer, int i, const char *const *from, const bool *has_bias,
                   int n, int64_t rows, int64_t in)
{
    const es_src_tensor *w[3] = {0}, *bias[3] = {0};
    char name[160];

    for (int k = 0; k < n; k++) {
        w[k] = need(m, 2, SHAPE(rows, in), layer, i, from[k], m->n->weight);
        if (has_bias[k]) bias[k] = need(m, 1, SHAPE(rows), layer, i, from[k], m->n->bias);
    }
    if (m->b->rc) return;
    snprintf(name, sizeof name, "%s.weight", to);
    es_build_put(m->b, name, es_build_matrix_dtype(m->b, w, n), 2, SHAPE(rows * n, in), w, n, ES_ORDER_PLAIN);
    snprintf(name, sizeof name, "%s.bias", to);
    es_build_put(m->b, name, es_build_vector_dtype(m->b, bias, n), 1, SHAPE(rows * n), bias, n, ES_ORDER_PLAIN);
}

static void one_linear(model *m, const char *to, const char *layer, int i, const char *from, int64_t rows, int64_t in)
{
    linear(m, to, layer, i, &from, (const bool[]){true}, 1, rows, in);
}

/* Fused bias of CTranslate2: rows first .. first + d - 1 are the keys' and must be zero, or this is no Whisper. */
static void check_no_key_bias(model *m, const char *layer, int i, const char *from, int64_t first, int64_t rows)
{
    const es_src_tensor *t = need(m, 1, SHAPE(rows), layer, i, from, m->n->bias);
    float *v = es_build_read(m->b, t);

    for (int64_t k = first; v && k < first + m->d; k++) {
        if (v[k] != 0) {
            es_build_fail(m->b, "the keys of %s have a bias (%g), those of Whisper have none", t->name, (double)v[k]);
            break;
        }
    }
    free(v);
}

static void vector(model *m, const char *to, const char *end, const char *layer, int i, const char *from,
                   const char *suffix, int64_t n)
{
    const es_src_tensor *t = need(m, 1, SHAPE(n), layer, i, from, suffix);
    char name[160];

    if (!t) return;
    snprintf(name, sizeof name, "%s%s", to, end);
    es_build_put(m->b, name, es_build_vector_dtype(m->b, &t, 1), 1, SHAPE(n), &t, 1, ES_ORDER_PLAIN);
}

static void norm(model *m, const char *to, const char *layer, int i, const char *from)
{
    vector(m, to, ".weight", layer, i, from, m->n->gamma, m->d);
    vector(m, to, ".bias", layer, i, from, m->n->beta, m->d);
}

static void attention(model *m, const char *to, const char *layer, int i)
{
    char name[128];
    const names *n = m->n;

    snprintf(name, sizeof name, "%s.attn_norm", to);
    norm(m, name, layer, i, n->attn_norm);
    snprintf(name, sizeof name, "%s.qkv", to);
    if (n->k) {
        linear(m, name, layer, i, (const char *const[]){n->q, n->k, n->v}, (const bool[]){true, false, true}, 3, m->d,
               m->d);
    } else {
        one_linear(m, name, layer, i, n->q, 3 * m->d, m->d);
        check_no_key_bias(m, layer, i, n->q, m->d, 3 * m->d);
    }
    snprintf(name, sizeof name, "%s.out", to);
    one_linear(m, name, layer, i, n->out, m->d, m->d);
}

static void cross(model *m, const char *to, int i)
{
    char name[128];
    const names *n = m->n;
    const char *layer = n->decoder_layer;

    snprintf(name, sizeof name, "%s.cross_norm", to);
    norm(m, name, layer, i, n->cross_norm);
    snprintf(name, sizeof name, "%s.cross_q", to);
    one_linear(m, name, layer, i, n->cross_q, m->d, m->d);
    snprintf(name, sizeof name, "%s.cross_kv", to);
    if (n->cross_v) {
        linear(m, name, layer, i, (const char *const[]){n->cross_k, n->cross_v}, (const bool[]){false, true}, 2, m->d,
               m->d);
    } else {
        one_linear(m, name, layer, i, n->cross_k, 2 * m->d, m->d);
        check_no_key_bias(m, layer, i, n->cross_k, 0, 2 * m->d);
    }
    snprintf(name, sizeof name, "%s.cross_out", to);
    one_linear(m, name, layer, i, n->cross_out, m->d, m->d);
}

static void mlp(model *m, const char *to, const char *layer, int i)
{
    char name[128];

    snprintf(name, sizeof name, "%s.mlp_norm", to);
    norm(m, name, layer, i, m->n->mlp_norm);
    snprintf(name, sizeof name, "%s.up", to);
    one_linear(m, name, layer, i, m->n->up, m->mlp, m->d);
    snprintf(name, sizeof name, "%s.down", to);
    one_linear(m, name, layer, i, m->n->down, m->d, m->mlp);
}

static void conv(model *m, int i, int64_t in)
{
    const es_src_tensor *w = need(m, 3, SHAPE(m->d, in, 3), m->n->conv, i, "", m->n->weight);
    char name[64];

    if (!w) return;
    snprintf(name, sizeof name, "encoder.conv%d.weight", i);
    es_build_put(m->b, name, es_build_matrix_dtype(m->b, &w, 1), 2, SHAPE(m->d, 3 * in), &w, 1, ES_ORDER_TAPS);
    snprintf(name, sizeof name, "encoder.conv%d", i);
    vector(m, name, ".bias", m->n->conv, i, "", m->n->bias, m->d);
}

static void matrix(model *m, const char *to, const char *from, int64_t rows, bool table)
{
    const es_src_tensor *t = need(m, 2, SHAPE(rows, m->d), NULL, 0, from, "");

    if (!t) return;
    es_build_put(m->b, to, table ? es_build_matrix_dtype(m->b, &t, 1) : es_build_vector_dtype(m->b, &t, 1), 2,
                 SHAPE(rows, m->d), &t, 1, ES_ORDER_PLAIN);
}

/* ---- sizes ---- */

static int count_layers(model *m, const char *layer)
{
    char stem[160];
    int n = 0;

    for (; n < MAX_LAYERS; n++) {
        snprintf(stem, sizeof stem, layer, n);
        if (!es_build_has(m->b, "%s%s%s%s", m->prefix, stem, m->n->attn_norm, m->n->gamma)) break;
    }
    return n;
}

static void sizes(model *m, const es_json_node *config)
{
    const es_src_tensor *t;
    char stem[64];

    snprintf(stem, sizeof stem, m->n->conv, 1);
    t = es_build_take(m->b, 3, SHAPE(-1, -1, 3), "%s%s%s", m->prefix, stem, m->n->weight);
    if (!t) return;
    m->d = t->dim[0];
    m->mels = t->dim[1];
    t = es_build_take(m->b, 2, SHAPE(-1, m->d), "%s%s", m->prefix, m->n->tokens);
    if (!t) return;
    m->vocab = t->dim[0];
    m->encoder_layers = count_layers(m, m->n->encoder_layer);
    m->decoder_layers = count_layers(m, m->n->decoder_layer);
    t = need(m, 2, SHAPE(-1, m->d), m->n->encoder_layer, 0, m->n->up, m->n->weight);
    if (!t) return;
    m->mlp = t->dim[0];
    if (m->mels != 80 && m->mels != 128) es_build_fail(m->b, "%lld mel bands, 80 or 128 are known", (long long)m->mels);
    if (m->vocab < 51864 || m->vocab > 51866) {
        es_build_fail(m->b, "a vocabulary of %lld tokens, 51864, 51865 or 51866 is needed", (long long)m->vocab);
    }
    if (!m->decoder_layers) es_build_fail(m->b, "the decoder has no layers");
    if (m->mlp != 4 * m->d) {
        es_build_fail(m->b, "the inner layers are %lld wide, %lld is needed", (long long)m->mlp, 4 * (long long)m->d);
    }
    es_build_agree(m->b, config, "d_model", m->d);
    es_build_agree(m->b, config, "encoder_layers", m->encoder_layers);
    es_build_agree(m->b, config, "decoder_layers", m->decoder_layers);
    es_build_agree(m->b, config, "encoder_ffn_dim", m->mlp);
    es_build_agree(m->b, config, "decoder_ffn_dim", m->mlp);
    es_build_agree(m->b, config, "num_mel_bins", m->mels);
    es_build_agree(m->b, config, "vocab_size", m->vocab);
    es_build_agree(m->b, config, "max_source_positions", POSITIONS);
    es_build_agree(m->b, config, "max_target_positions", TEXT_POSITIONS);
}

/* A scalar of a CTranslate2 file; `missing` where it is not there. */
static int64_t scalar(model *m, const char *name, int64_t missing)
{
    const es_src_tensor *t = es_source_find(m->b->source, name);
    float v;

    if (!t || t->count != 1) return missing;
    es_build_skip(m->b, "%s", name);
    es_source_read(t, 0, 1, &v);
    return (int64_t)v;
}

static void heads(model *m, const es_json_node *config)
{
    int64_t n = m->d / 64, other = scalar(m, "decoder/num_heads", 0);
    const es_json_node *said = es_json_get(config, "encoder_attention_heads");

    if (said && !es_json_int(said, 1, 4096, &n)) es_build_fail(m->b, "config.json: \"encoder_attention_heads\" is no count");
    if (said) es_build_agree(m->b, config, "decoder_attention_heads", n);
    n = scalar(m, "encoder/num_heads", n);
    if (other && other != n) {
        es_build_fail(m->b, "%lld heads in the encoder and %lld in the decoder", (long long)n, (long long)other);
    }
    if (!m->b->rc && (n < 1 || n > m->d || m->d % n)) {
        es_build_fail(m->b, "%lld heads do not divide a width of %lld", (long long)n, (long long)m->d);
    }
    m->heads = (int)n;
}

/* What the scalars of CTranslate2 say about the network must be what Whisper is. */
static void check_scalars(model *m)
{
    static const struct {
        const char *name;
        int64_t value;
    } facts[] = {
        {"pre_norm", 1}, {"activation", 3}, {"scale_embeddings", 0}, {"alibi", 0}, {"alibi_use_positive_positions", 0},
        {"scale_alibi", 0}, {"start_from_zero_embedding", 0}, {"layernorm_embedding", 0}, {"multi_query_attention", 0},
        {"embeddings_merge", 0}, {"project_in", 0}, {"project_out", 0},
    };
    static const char *const ignored[] = {"alignment_layer", "alignment_heads", "num_heads_kv", "rotary_dim",
                                          "rotary_interleave", "sliding_window"};
    char name[128];

    for (int side = 0; side < 2; side++) {
        const char *at = side ? "decoder" : "encoder";
        for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
            snprintf(name, sizeof name, "%s/%s", at, facts[i].name);
            int64_t v = scalar(m, name, facts[i].value);
            /* The values of alibi_use_positive_positions matter only with alibi, which must be off. */
            if (v != facts[i].value && strcmp(facts[i].name, "alibi_use_positive_positions") &&
                strcmp(facts[i].name, "scale_alibi")) {
                es_build_fail(m->b, "%s is %lld, Whisper has %lld", name, (long long)v, (long long)facts[i].value);
            }
        }
        for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
            snprintf(name, sizeof name, "%s/%s", at, ignored[i]);
            scalar(m, name, 0);
        }
    }
}

/* ---- alignment heads ---- */

/* (layer, head) pairs of the released models, as "layer.head" lists; told apart by their sizes. */
static const struct {
    const char *model;
    int d, encoder_layers, decoder_layers, vocab, mels;
    const char *pairs;
} known[] = {
    {"tiny.en", 384, 4, 4, 51864, 80, "1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4"},
    {"tiny", 384, 4, 4, 51865, 80, "2.2 3.0 3.2 3.3 3.4 3.5"},
    {"base.en", 512, 6, 6, 51864, 80, "3.3 4.7 5.1 5.5 5.7"},
    {"base", 512, 6, 6, 51865, 80, "3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6"},
    {"small.en", 768, 12, 12, 51864, 80,
     "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4"},
    {"small", 768, 12, 12, 51865, 80, "5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5"},
    {"medium.en", 1024, 24, 24, 51864, 80,
     "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9 20.14 21.12"},
    {"medium", 1024, 24, 24, 51865, 80, "13.15 15.4 15.15 16.1 20.0 23.4"},
    {"large-v1", 1280, 32, 32, 51865, 80, "9.19 11.2 11.4 11.17 22.7 22.11 22.17 23.2 23.15"},
    {"large-v2", 1280, 32, 32, 51865, 80,
     "10.12 13.17 16.11 16.12 16.13 17.15 17.16 18.4 18.11 18.19 19.11 21.2 21.3 22.3 22.9 22.12 23.5 23.7 23.13 25.5 "
     "26.1 26.12 27.15"},
    {"large-v3", 1280, 32, 32, 51866, 128, "7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6"},
    {"large-v3-turbo", 1280, 32, 4, 51866, 128, "2.4 2.11 3.3 3.6 3.11 3.14"},
    {"distil-small.en", 768, 12, 4, 51864, 80, "1.7 2.0 2.3 2.4 3.2 3.4 3.5 3.10"},
};

static bool add_pair(model *m, int64_t layer, int64_t head)
{
    if (layer < 0 || layer >= m->decoder_layers || head < 0 || head >= m->heads || m->n_pairs == MAX_PAIRS) return false;
    for (int i = 0; i < m->n_pairs; i++) {
        if (m->pair[i][0] == layer && m->pair[i][1] == head) return false;
    }
    m->pair[m->n_pairs][0] = (int)layer;
    m->pair[m->n_pairs++][1] = (int)head;
    return true;
}

static bool pairs_from_json(model *m, const es_json_node *list, const char *file)
{
    bool good = es_json_count(list) > 0;

    if (!list || !es_json_is_array(list)) return false;
    m->n_pairs = 0;
    for (const es_json_node *n = es_json_first(list); n && good; n = es_json_next(n)) {
        const es_json_node *layer = es_json_first(n);
        int64_t a, h;
        good = es_json_is_array(n) && es_json_count(n) == 2 && es_json_int(layer, 0, 4096, &a) &&
               es_json_int(es_json_next(layer), 0, 4096, &h) && add_pair(m, a, h);
    }
    if (good) return true;
    es_build_note(m->b, "the alignment heads in %s do not fit %d layers of %d heads; they are not used", file,
                  m->decoder_layers, m->heads);
    m->n_pairs = 0;
    return false;
}

static void pairs_from_table(model *m)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].d != m->d || known[i].encoder_layers != m->encoder_layers || known[i].vocab != m->vocab ||
            known[i].decoder_layers != m->decoder_layers || known[i].mels != m->mels) {
            continue;
        }
        /* The first two large models have the same sizes: only a name can tell the older one. */
        if (!strcmp(known[i].model, "large-v1") && !strstr(m->b->report->name, "v1")) continue;
        for (const char *p = known[i].pairs; *p;) {
            char *end;
            long layer = strtol(p, &end, 10), head = strtol(end + 1, &end, 10);
            add_pair(m, layer, head);
            for (p = end; *p == ' '; p++) {
            }
        }
        es_build_note(m->b, "alignment heads: those published for %s", known[i].model);
        return;
    }
    for (int layer = m->decoder_layers / 2; layer < m->decoder_layers; layer++) {
        for (int head = 0; head < m->heads; head++) add_pair(m, layer, head);
    }
    es_build_note(m->b, "alignment heads: none are published for these sizes; all of the upper half of the decoder serve");
}

static void alignment(model *m, const es_json_node *config)
{
    es_json *generation = es_build_json(m->b, "generation_config.json", 16 << 20);

    if (!m->b->rc &&
        !pairs_from_json(m, es_json_get(es_json_root(generation), "alignment_heads"), "generation_config.json") &&
        !pairs_from_json(m, es_json_get(config, "alignment_heads"), "config.json")) {
        pairs_from_table(m);
    }
    es_json_close(generation);
}

/* ---- the whole ---- */

static void meta(model *m)
{
    es_json_out j;
    int multilingual = m->vocab >= 51865;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_int(&j, "d_model", m->d);
    es_json_put_int(&j, "heads", m->heads);
    es_json_put_int(&j, "encoder_layers", m->encoder_layers);
    es_json_put_int(&j, "decoder_layers", m->decoder_layers);
    es_json_put_int(&j, "n_mels", m->mels);
    es_json_put_int(&j, "vocab", m->vocab);
    es_json_put_int(&j, "audio_positions", POSITIONS);
    es_json_put_int(&j, "text_positions", TEXT_POSITIONS);
    es_json_put_bool(&j, "multilingual", multilingual);
    es_json_put_int(&j, "n_languages", m->vocab - 51765 - multilingual);
    es_json_array(&j, "alignment_heads");
    for (int i = 0; i < m->n_pairs; i++) {
        es_json_array(&j, NULL);
        es_json_put_int(&j, NULL, m->pair[i][0]);
        es_json_put_int(&j, NULL, m->pair[i][1]);
        es_json_end_array(&j);
    }
    es_json_end_array(&j);
    es_json_put_string(&j, "mel", m->mels == 80 ? "slaney-80" : "slaney-128");
    es_json_put_string(&j, "tokenizer", multilingual ? "whisper-multilingual" : "whisper-english");
    es_json_end_object(&j);
    if (j.failed) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    else es_build_meta(m->b, "whisper", j.text, "1");
    free(j.text);
    snprintf(m->b->report->sizes, sizeof m->b->report->sizes,
             "%lld wide, %d heads, %d + %d layers, %lld mel bands, %lld tokens, %d alignment heads", (long long)m->d,
             m->heads, m->encoder_layers, m->decoder_layers, (long long)m->mels, (long long)m->vocab, m->n_pairs);
}

/* The output projection is the token table. A file may store it again, but not another one. */
static void check_projection(model *m)
{
    const es_src_tensor *a = es_source_find(m->b->source, m->n->projection ? m->n->projection : ""), *t;

    if (!a || m->b->rc) return;
    es_build_skip(m->b, "%s", m->n->projection);
    t = es_build_take(m->b, 2, SHAPE(m->vocab, m->d), "%s%s", m->prefix, m->n->tokens);
    if (!t) return;
    if (a->num != t->num || a->count != t->count || a->bytes != t->bytes || (a->p != t->p && memcmp(a->p, t->p, t->bytes))) {
        es_build_fail(m->b, "%s differs from %s: only the tied form is known", a->name, t->name);
    }
}

void es_whisper_build(es_build *b)
{
    model m = {.b = b};
    es_json *config = es_build_json(b, "config.json", 16 << 20);
    char to[64];

    m.n = find_names(b->source, &m.prefix);
    sizes(&m, es_json_root(config));
    heads(&m, es_json_root(config));
    check_scalars(&m);
    alignment(&m, es_json_root(config));
    if (!b->rc) meta(&m);

    conv(&m, 1, m.mels);
    conv(&m, 2, m.d);
    matrix(&m, "encoder.positions", m.n->encoder_positions, POSITIONS, false);
    for (int i = 0; i < m.encoder_layers; i++) {
        snprintf(to, sizeof to, "encoder.layers.%d", i);
        attention(&m, to, m.n->encoder_layer, i);
        mlp(&m, to, m.n->encoder_layer, i);
    }
    norm(&m, "encoder.norm", NULL, 0, m.n->encoder_norm);

    matrix(&m, "decoder.tokens", m.n->tokens, m.vocab, true);
    matrix(&m, "decoder.positions", m.n->decoder_positions, TEXT_POSITIONS, false);
    for (int i = 0; i < m.decoder_layers; i++) {
        snprintf(to, sizeof to, "decoder.layers.%d", i);
        attention(&m, to, m.n->decoder_layer, i);
        cross(&m, to, i);
        mlp(&m, to, m.n->decoder_layer, i);
    }
    norm(&m, "decoder.norm", NULL, 0, m.n->decoder_norm);
    check_projection(&m);
    es_vocab_whisper(b, m.vocab >= 51865 ? 50257 : 50256);
    es_build_leftover(b);
    es_json_close(config);
}
