/*
 * ops.h - checked calls into the op table, for forward passes.
 *
 * A program reads like its paper: tensors in, tensors out. While the plan is made, a call only notes when its tensors
 * are first and last used; while the program runs, it calls the backend at the planned addresses. Shapes are asserted
 * in both. A call cannot fail. One op a statement: C leaves the order of evaluation of arguments open, and the plan is
 * that order.
 */
#ifndef ES_OPS_H
#define ES_OPS_H

#include "runtime/plan.h"

es_dtype es_run_dtype(const es_run *r); /* of activations */
es_backend es_run_backend(const es_run *r);
/* Live rows of the ops that follow: an int32 in state (count >= 1, element 0 is read), or es_no_rows for "all". */
void es_run_rows(es_run *r, es_tensor rows);
extern const es_tensor es_no_rows; /* n_dims 0, p NULL, id -1 */

/* ---- temporaries ---- */
es_tensor es_new(es_run *r, es_dtype dtype, int n_dims, const int *dims);
es_tensor es_new2(es_run *r, es_dtype dtype, int d0, int d1);
/* Columns c0 .. c0+n-1 of a 2-d tensor [T, C], read with the row stride of the whole: use with es_attend and such. */
typedef struct es_cols {
    es_tensor of;
    int c0, n;
} es_cols;
es_cols es_columns(es_tensor x, int c0, int n);
es_tensor es_reshape(es_tensor x, int n_dims, const int *dims); /* same bytes */
es_tensor es_row_range(es_tensor x, int first, int n);          /* rows of a 2-d tensor, elements of a 1-d one */

/* ---- products ---- */
es_tensor es_linear(es_run *r, es_tensor x, es_matrix w, const float *b, es_act act);            /* dtype of x */
es_tensor es_linear_f32(es_run *r, es_tensor x, es_matrix w, const float *b);                    /* y f32 */
es_tensor es_linear_add(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b);       /* y += x W^T + b */
void es_linear_to(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act); /* y given */
es_tensor es_conv1d(es_run *r, es_tensor x /* [B, T, C] */, es_matrix w, const float *b, const float *pos, int K,
                    int stride, int pad, int dilation, es_act act); /* -> [B, To, O]; live rows count windows */

/* ---- norms ---- */
es_tensor es_layernorm(es_run *r, es_tensor x, const float *g, const float *b, float eps);
es_tensor es_rmsnorm(es_run *r, es_tensor x, const float *g, float eps);

/* ---- attention ---- */
es_tensor es_attend(es_run *r, es_cols q, es_cols k, es_cols v, es_tensor bounds /* i32 [S+1] */, int T_max, int H,
                    int Hkv, es_mask mask); /* scale 1/sqrt(D) */
void es_kv_store(es_run *r, es_tensor K, es_tensor V /* [slots, H, T, D] */, es_cols k, es_cols v, es_tensor slot,
                 es_tensor pos);
/* es_no_rows stands for what is left out: len (then T), parent, scores (else f32 [R, n_pairs, T]). */
es_tensor es_attend_cached(es_run *r, es_cols q, es_tensor K, es_tensor V, es_tensor slot, es_tensor len,
                           es_tensor parent, es_tensor scores, const int32_t *heads, int n_pairs);

/* ---- rows ---- */
es_tensor es_embed(es_run *r, es_matrix E, const float *P, es_tensor id, es_tensor pos);
es_tensor es_gather(es_run *r, es_tensor x, es_tensor idx);
es_tensor es_cast(es_run *r, es_tensor x, es_dtype dtype);
void es_cast_to(es_run *r, es_tensor y, es_tensor x); /* y given, for instance state */

/* ---- text encoders ---- */
void es_rope(es_run *r, es_cols x, const float *table /* f32 [.., D] */, es_tensor pos, int H); /* x in place */
es_tensor es_swiglu(es_run *r, es_tensor x);                                                    /* [T, 2I] -> [T, I] */
es_tensor es_pool(es_run *r, es_tensor x, es_tensor bounds /* i32 [S+1] */, es_pooling how, bool unit); /* f32 [S, C] */
void es_pool_to(es_run *r, es_tensor y, es_tensor x, es_tensor bounds, es_pooling how, bool unit);

/* ---- along time: x [B, T, C]; live rows count windows ---- */
es_tensor es_maxpool(es_run *r, es_tensor x, int K, bool absolute);                        /* [B, T / K, C] */
es_tensor es_norm_time(es_run *r, es_tensor x, const float *g, const float *b, float eps, es_act act);
es_tensor es_lstm(es_run *r, es_tensor x /* f32 [B, T, 8h] */, es_matrix W /* [8h, h] */); /* [B, T, 2h] */

/* ---- over packed pieces: bounds i32 [S+1], rows of all pieces one behind the other ---- */
es_tensor es_conv2d(es_run *r, es_tensor x /* [N, F, C] */, es_matrix w, const float *b, es_tensor from, es_tensor to, int No,
                    es_taps k, es_act act); /* -> [No, Fo, O] */
es_tensor es_conv2d_add(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_tensor bounds, es_taps k,
                        es_act act); /* y = act(y + ...); stride 1 in time */
es_tensor es_affine(es_run *r, es_cols x, const float *g, const float *b, es_act act); /* -> [T, x.n] */
/* Columns of a wider y, of which each op writes some; the first one to write y brings it to life. */
void es_affine_to(es_run *r, es_cols y, es_cols x, const float *g, const float *b, es_act act);
void es_copy_columns(es_run *r, es_cols y, es_tensor x);                               /* the first op to write y */
/* act(x * g[piece] + c[piece] + a): g and c f32 [S, C] or es_no_rows, a columns of x.n, a.of es_no_rows: none. -> [N, x.n] */
es_tensor es_by_piece(es_run *r, es_cols x, es_tensor g, es_tensor c, es_cols a, es_tensor bounds, es_act act);
es_tensor es_segment_means(es_run *r, es_tensor x /* [N, C] */, es_tensor bounds, es_tensor segments, int n_segments,
                           int length); /* f32 [n_segments, C] */
void es_gate_segments(es_run *r, es_cols y, es_tensor x, es_tensor g, es_tensor bounds, es_tensor segments, int length);
/* z [N, C] or es_no_rows. -> f32 [S, 2C] */
es_tensor es_mean_deviation(es_run *r, es_tensor x /* [N, C] */, es_tensor z, es_tensor bounds, int less, float least);
es_tensor es_weighed_deviation(es_run *r, es_tensor x /* [N, C] */, es_tensor w /* f32 [V, N] */, es_tensor of /* i32 [V] */,
                               es_tensor bounds); /* f32 [V, 2C] */

/* ---- sound ---- */
es_tensor es_logmel(es_run *r, es_tensor pcm, es_tensor frames, es_tensor top, es_tensor fill, const void *tables,
                    int M);
void es_logmel_top(es_run *r, es_tensor max, es_tensor pcm, es_tensor frames, const void *tables, int M);

/* ---- decoding ---- */
void es_pick(es_run *r, es_tensor slots, es_tensor logits, es_tensor sot_logits /* or es_no_rows */, es_tensor suppress,
             es_pick_vocab vocab, es_tensor tokens, es_tensor id, es_tensor pos, es_tensor slot, es_tensor len);
void es_prob_at(es_run *r, es_tensor p, es_tensor logits, es_tensor id, int n);
/* The last use of a tensor that a later statement reads through a pointer of its own. */
void es_keep(es_run *r, es_tensor x);

#endif
