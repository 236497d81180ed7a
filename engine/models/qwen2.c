/*
 * qwen2.c - a Qwen2 transformer used as a text encoder: gte-Qwen2-1.5B-instruct and its kin.
 *
 *     x = tokens[id]
 *     L times:  q, k, v = qkv(rms(x)); q, k turned by their positions
 *               x += out(attend(q, k, v))                        grouped: H query heads share the Hkv key heads
 *               x += down(silu(gate) * up), (gate, up) = gate_up(rms(x))
 *     vector = rms(x) of the last token, by its norm
 *
 * Which tokens see which is the checkpoint's choice and changes every vector: GTE is bidirectional, Qwen2 itself and
 * Qwen3-Embedding are causal. The rotary table is made in double and kept in f32: angles computed in f32 are off by 5e-4
 * at position 32767.
 *
 * Qwen2 Technical Report (Yang et al., 2024); RoFormer (Su et al., 2021); GLU Variants Improve Transformer (Shazeer, 2020).
 */
#include "models/embedder_parts.h"

#include <math.h>

static void fill_rotary(void *host, void *user)
{
    const es_embedder *m = user;
    int D = m->dims.head_dim, P = es_embedder_longest(m);
    float *table = host;

    for (int p = 0; p < P; p++)
        for (int i = 0; i < D / 2; i++) {
            double angle = p * pow(m->dims.theta, -2.0 * i / D);
            table[(size_t)p * (size_t)D + (size_t)i] = (float)cos(angle);
            table[(size_t)p * (size_t)D + (size_t)(D / 2 + i)] = (float)sin(angle);
        }
}

void es_qwen2_bind(es_bind *b, void *user)
{
    es_embedder *m = user;
    const es_embedder_dims *d = &m->dims;
    int C = d->d_model, Q = d->heads * d->head_dim, KV = d->kv_heads * d->head_dim;

    es_bind_made(b, (const void **)&m->rotary, (size_t)es_embedder_longest(m) * (size_t)d->head_dim * sizeof(float), fill_rotary,
                 m, "rotary");
    es_bind_matrix(b, &m->tokens, d->vocab, C, "tokens");
    es_bind_vector(b, &m->norm_g, C, "norm.weight");
    m->parameters = (int64_t)(d->vocab + 1) * C;
    for (int i = 0; i < d->layers; i++) {
        es_embedder_layer *l = &m->layer[i];
        es_bind_vector(b, &l->attn_g, C, "layers.%d.attn_norm.weight", i);
        es_bind_matrix(b, &l->qkv, Q + 2 * KV, C, "layers.%d.qkv.weight", i);
        es_bind_vector(b, &l->qkv_b, Q + 2 * KV, "layers.%d.qkv.bias", i);
        es_bind_matrix(b, &l->out, C, Q, "layers.%d.out.weight", i);
        es_bind_vector(b, &l->mlp_g, C, "layers.%d.mlp_norm.weight", i);
        es_bind_matrix(b, &l->up, 2 * d->mlp, C, "layers.%d.gate_up.weight", i);
        es_bind_matrix(b, &l->down, C, d->mlp, "layers.%d.down.weight", i);
        m->parameters += (int64_t)C * (2 + (Q + 2 * KV) + Q + 3 * d->mlp) + Q + 2 * KV;
    }
}

static es_tensor block(es_run *r, const es_embedder *m, const es_embedder_layer *l, es_tensor x /* [T, C] f32 */)
{
    const es_embedder_dims *d = &m->dims;
    int Q = d->heads * d->head_dim, KV = d->kv_heads * d->head_dim;
    es_tensor n = es_rmsnorm(r, x, l->attn_g, d->eps);
    n = es_embedder_narrow(r, n);
    es_tensor qkv = es_linear(r, n, l->qkv, l->qkv_b, ES_ACT_NONE); /* [T, Q + 2 KV] */

    es_rope(r, es_columns(qkv, 0, Q + KV), m->rotary, m->pos, d->heads + d->kv_heads);
    es_tensor a = es_attend(r, es_columns(qkv, 0, Q), es_columns(qkv, Q, KV), es_columns(qkv, Q + KV, KV), m->bounds,
                            es_embedder_longest(m), d->heads, d->kv_heads, d->mask);
    x = es_linear_add(r, x, a, l->out, NULL);
    n = es_rmsnorm(r, x, l->mlp_g, d->eps);
    n = es_embedder_narrow(r, n);
    es_tensor g = es_linear(r, n, l->up, NULL, ES_ACT_NONE); /* [T, 2 mlp] */
    es_tensor h = es_swiglu(r, g);                           /* [T, mlp] */
    return es_linear_add(r, x, h, l->down, NULL);
}

void es_qwen2_run(es_run *r, void *user)
{
    const es_embedder *m = user;

    es_run_rows(r, m->n_rows);
    es_tensor x = es_embed(r, m->tokens, NULL, m->id, m->pos);
    es_embedder_note(r, m, 0, x);
    for (int i = 0; i < m->dims.layers; i++) {
        x = block(r, m, &m->layer[i], x);
        es_embedder_note(r, m, i + 1, x);
    }
    x = es_rmsnorm(r, x, m->norm_g, m->dims.eps);
    es_pool_to(r, m->vectors, x, m->bounds, m->dims.pooling, true);
}
