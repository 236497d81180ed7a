/*
 * bert.c - a BERT encoder with sentence pooling, as all-MiniLM-L6-v2 has it.
 *
 *     x = norm(tokens[id] + positions[pos])                      token type 0 is part of the position rows
 *     L times:  x = norm(x + out(attend(qkv(x))))                every token sees every token of its text
 *               x = norm(x + down(gelu(up(x))))                  the erf form
 *     vector = mean of the text's rows, by its norm
 *
 * BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al., 2018); Sentence-BERT (Reimers and Gurevych, 2019).
 */
#include "models/embedder_parts.h"

void es_bert_bind(es_bind *b, void *user)
{
    es_embedder *m = user;
    const es_embedder_dims *d = &m->dims;
    int C = d->d_model;

    es_bind_matrix(b, &m->tokens, d->vocab, C, "tokens");
    es_bind_vector(b, &m->position_rows, d->positions * C, "positions");
    es_bind_vector(b, &m->norm_g, C, "embed_norm.weight");
    es_bind_vector(b, &m->norm_b, C, "embed_norm.bias");
    m->parameters = (int64_t)(d->vocab + d->positions + 2) * C;
    for (int i = 0; i < d->layers; i++) {
        es_embedder_layer *l = &m->layer[i];
        es_bind_matrix(b, &l->qkv, 3 * C, C, "layers.%d.qkv.weight", i);
        es_bind_vector(b, &l->qkv_b, 3 * C, "layers.%d.qkv.bias", i);
        es_bind_matrix(b, &l->out, C, C, "layers.%d.out.weight", i);
        es_bind_vector(b, &l->out_b, C, "layers.%d.out.bias", i);
        es_bind_vector(b, &l->attn_g, C, "layers.%d.attn_norm.weight", i);
        es_bind_vector(b, &l->attn_b, C, "layers.%d.attn_norm.bias", i);
        es_bind_matrix(b, &l->up, d->mlp, C, "layers.%d.up.weight", i);
        es_bind_vector(b, &l->up_b, d->mlp, "layers.%d.up.bias", i);
        es_bind_matrix(b, &l->down, C, d->mlp, "layers.%d.down.weight", i);
        es_bind_vector(b, &l->down_b, C, "layers.%d.down.bias", i);
        es_bind_vector(b, &l->mlp_g, C, "layers.%d.mlp_norm.weight", i);
        es_bind_vector(b, &l->mlp_b, C, "layers.%d.mlp_norm.bias", i);
        m->parameters += (int64_t)C * (4 * C + 2 * d->mlp + 9) + d->mlp;
    }
}

static es_tensor block(es_run *r, const es_embedder *m, const es_embedder_layer *l, es_tensor x /* [T, C] f32 */)
{
    int C = m->dims.d_model, H = m->dims.heads;
    es_tensor n = es_embedder_narrow(r, x);
    es_tensor qkv = es_linear(r, n, l->qkv, l->qkv_b, ES_ACT_NONE); /* [T, 3C] */
    es_tensor a = es_attend(r, es_columns(qkv, 0, C), es_columns(qkv, C, C), es_columns(qkv, 2 * C, C), m->bounds,
                            es_embedder_longest(m), H, H, m->dims.mask);

    x = es_linear_add(r, x, a, l->out, l->out_b);
    x = es_layernorm(r, x, l->attn_g, l->attn_b, m->dims.eps);
    n = es_embedder_narrow(r, x);
    es_tensor h = es_linear(r, n, l->up, l->up_b, ES_ACT_GELU); /* [T, mlp] */
    x = es_linear_add(r, x, h, l->down, l->down_b);
    return es_layernorm(r, x, l->mlp_g, l->mlp_b, m->dims.eps);
}

void es_bert_run(es_run *r, void *user)
{
    const es_embedder *m = user;

    es_run_rows(r, m->n_rows);
    es_tensor x = es_embed(r, m->tokens, m->position_rows, m->id, m->pos);
    x = es_layernorm(r, x, m->norm_g, m->norm_b, m->dims.eps);
    es_embedder_note(r, m, 0, x);
    for (int i = 0; i < m->dims.layers; i++) {
        x = block(r, m, &m->layer[i], x);
        es_embedder_note(r, m, i + 1, x);
    }
    es_pool_to(r, m->vectors, x, m->bounds, m->dims.pooling, true);
}
