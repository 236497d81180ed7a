/*
 * embedder.h - texts as vectors: BERT encoders with sentence pooling (MiniLM) and Qwen2 decoders used as encoders (GTE).
 *
 *     bert    x = norm(tokens + positions); L times: x = norm(x + out(attend(qkv(x)))); x = norm(x + down(gelu(up(x))))
 *     qwen2   x = tokens; L times: x += out(attend(rope(qkv(norm(x))))); x += down(swiglu(gate_up(norm(x)))); x = norm(x)
 *     both    vector = pooled rows of x (mean, first or last token), divided by its norm
 *
 * A batch is a bag of tokens, not a rectangle: texts lie one behind the other, attention is told where each begins, and
 * nothing is padded. So memory follows from the tokens of a step, which the plan fixes, and any number of texts is worked
 * off in as many steps as it takes. A text's vector does not depend on what lies beside it, to the last bit.
 *
 * The residual x is f32 on every backend; on CUDA the products take and give f16 (embeddings.md's precision plan).
 * Tokens come framed ([CLS] .. [SEP], or with the end token); text is the text room's.
 */
#ifndef ES_EMBEDDER_H
#define ES_EMBEDDER_H

#include "models/fill.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

typedef struct es_embedder_dims {
    bool qwen2; /* else bert */
    int d_model, heads, kv_heads, head_dim, layers, mlp, vocab;
    int positions;   /* rows of the position table; qwen2: as longest */
    int longest;     /* tokens of a text, frame tokens counted */
    double theta;    /* of the rotary positions; qwen2 */
    float eps;
    es_mask mask;
    es_pooling pooling;
} es_embedder_dims;

/* "minilm", "gte-qwen2-1.5b", "gte-qwen2-7b"; false for a name it does not know. */
bool es_embedder_preset(es_embedder_dims *out, const char *name);
const char *es_embedder_preset_name(int i); /* NULL past the last */
/* From a pack of architecture bert or qwen2; checks every value. */
int es_embedder_dims_read(es_embedder_dims *out, const es_weights *pack, es_err *err);

typedef struct es_embedder_limits {
    int tokens; /* of one step, and so of the longest text: at most dims.positions are ever used by one */
    int texts;  /* of one step */
    bool keep;  /* for tests: x after the embedding and after each block stays, es_embedder_debug() */
} es_embedder_limits;

typedef struct es_embedder es_embedder;

/* Enters the model into a plan. w NULL plans dims with f16 weights. */
int es_embedder_plan(es_embedder **out, es_plan *p, const char *name, const es_weights *w, const es_embedder_dims *dims,
                     es_embedder_limits limits, es_err *err);
void es_embedder_close(es_embedder *m); /* accepts NULL */
void es_embedder_start(es_embedder *m, es_arena *a); /* after es_arena_load */
const es_embedder_dims *es_embedder_dims_of(const es_embedder *m);
int es_embedder_longest(const es_embedder *m); /* tokens that one text may have */
int64_t es_embedder_parameters(const es_embedder *m);
es_fill es_embedder_fill(const es_embedder *m); /* in tokens */

/* One step: texts i = tokens[bounds[i] .. bounds[i+1]), at most limits.texts of them and limits.tokens tokens in all, each
 * at least one token and at most es_embedder_longest(). vectors [n, d_model] f32. */
int es_embedder_step(es_embedder *m, const int32_t *tokens, const int32_t *bounds, int n, float *vectors, es_err *err);
/* Any number of texts within es_embedder_longest(), in as few steps as their order allows. steps: may be NULL. */
int es_embedder_run(es_embedder *m, const int32_t *tokens, const int64_t *bounds, int64_t n, float *vectors, int64_t *steps,
                    es_err *err);

/* For tests, where limits.keep was set: f32 [layers + 1, tokens, d_model], x of the newest step after the embedding and
 * after each block. */
es_tensor es_embedder_debug(const es_embedder *m);

#endif
