/*
 * embedder_parts.h - what the files of the text encoders share: the weights of a layer and the state of a step.
 */
#ifndef ES_EMBEDDER_PARTS_H
#define ES_EMBEDDER_PARTS_H

#include "models/embedder.h"
#include "runtime/ops.h"

enum { ES_EMBEDDER_MAX_LAYERS = 64 };

typedef struct es_embedder_layer {
    es_matrix qkv, out, up, down;                     /* up: [mlp, d] in bert, [2 mlp, d] gate and up in qwen2 */
    const float *qkv_b, *out_b, *up_b, *down_b;       /* NULL where there is none */
    const float *attn_g, *attn_b, *mlp_g, *mlp_b;
} es_embedder_layer;

struct es_embedder {
    es_embedder_dims dims;
    es_embedder_limits limits;
    es_backend backend;
    es_arena *arena;
    es_model *model;
    es_program *embed;
    int64_t parameters;
    es_fill fill;

    es_matrix tokens;            /* [V, d] */
    const float *position_rows;  /* bert: [P, d] */
    const float *rotary;         /* qwen2: [P, head_dim], cosines then sines */
    const float *norm_g, *norm_b; /* bert: of the embedding; qwen2: the last one, no b */
    es_embedder_layer layer[ES_EMBEDDER_MAX_LAYERS];

    es_tensor id, pos;  /* i32 [tokens] */
    es_tensor bounds;   /* i32 [texts + 1] */
    es_tensor n_rows;   /* i32 [1] */
    es_tensor vectors;  /* f32 [texts, d] */
    es_tensor kept;     /* f32 [layers + 1, tokens, d], where limits.keep */
    int32_t *host_pos, *host_bounds; /* room of a step */
};

/* x in the dtype products take on this backend: itself on the CPU. */
es_tensor es_embedder_narrow(es_run *r, es_tensor x);
void es_embedder_note(es_run *r, const es_embedder *m, int i, es_tensor x); /* keeps x after block i - 1, for tests */

void es_bert_bind(es_bind *b, void *user);
void es_bert_run(es_run *r, void *user);
void es_qwen2_bind(es_bind *b, void *user);
void es_qwen2_run(es_run *r, void *user);

#endif
