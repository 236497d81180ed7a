/*
 * table.cu - the CUDA backend's op table; its weights' sizes are known without it (table.c).
 */
#include "kernels/cuda.cuh"

void es_cuda_matrix_load(es_device *d, void *dst, es_matrix W, const void *src, es_dtype from);
void es_cuda_linear(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W, const float *b,
                    const int32_t *rows, int T, es_act act, bool add);
void es_cuda_conv1d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const float *pos,
                    const int32_t *batches, int B, int Ti, int C, int K, int stride, int pad, int dilation, es_act act,
                    void *scratch);
void es_cuda_layernorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const float *b,
                       const int32_t *rows, int T, int C, float eps);
void es_cuda_rmsnorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const int32_t *rows, int T,
                     int C, float eps);
void es_cuda_attend(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *k, int ldk, const void *v, int ldv,
                    const int32_t *bounds, int S, int N, int T, int H, int Hkv, int D, float scale, es_mask mask);
void es_cuda_kv_store(es_device *d, es_dtype t, void *K, void *V, const void *k, int ldk, const void *v, int ldv,
                      const int32_t *slot, const int32_t *pos, const int32_t *rows, int R, int T, int H, int D);
void es_cuda_attend_cached(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *K, const void *V,
                           const int32_t *slot, const int32_t *len, const int32_t *parent, const int32_t *rows, int R, int T,
                           int H, int D, float scale, float *scores, const int32_t *heads, int n_pairs);
void es_cuda_embed(es_device *d, es_dtype t, void *y, es_matrix E, const float *P, const int32_t *id, const int32_t *pos,
                   const int32_t *rows, int R);
void es_cuda_gather(es_device *d, es_dtype t, void *y, const void *x, const int32_t *idx, int G, int C);
void es_cuda_cast(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, size_t n);
void es_cuda_rope(es_device *d, es_dtype t, void *x, int ld, const float *table, const int32_t *pos, const int32_t *rows,
                  int T, int H, int D);
void es_cuda_swiglu(es_device *d, es_dtype t, void *y, const void *x, const int32_t *rows, int T, int I);
void es_cuda_pool(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C, es_pooling how,
                  bool unit);
void es_cuda_maxpool(es_device *d, es_dtype t, void *y, const void *x, const int32_t *batches, int B, int Ti, int C, int K,
                    bool absolute);
void es_cuda_norm_time(es_device *d, es_dtype t, void *y, const void *x, const float *g, const float *b,
                      const int32_t *batches, int B, int T, int C, float eps, es_act act);
void es_cuda_lstm(es_device *d, float *y, const float *x, es_matrix W, const int32_t *batches, int B, int T, int h);
void es_cuda_conv2d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from,
                   const int32_t *to, int S, int N, int F, es_taps k, es_act act, bool add);
void es_cuda_affine(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                   const int32_t *rows, int T, int C, es_act act);
void es_cuda_segment_means(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds,
                          const int32_t *segments, int S, int n_segments, int C, int length);
void es_cuda_gate_segments(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g, const int32_t *bounds,
                          const int32_t *segments, int S, int N, int C, int length);
void es_cuda_by_piece(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c,
                      const void *a, int lda, const int32_t *bounds, int S, int N, int C, es_act act);
void es_cuda_mean_deviation(es_device *d, float *y, es_dtype t, const void *x, const void *z, const int32_t *bounds, int S, int C,
                            int less, float least);
void es_cuda_weighed_deviation(es_device *d, float *y, es_dtype t, const void *x, const float *w, const int32_t *of,
                               const int32_t *bounds, int V, int N, int C);
void es_cuda_logmel(es_device *d, es_dtype t, void *y, const float *pcm, const int32_t *frames, const float *top,
                    const float *fill, const void *tables, const int32_t *batches, int B, int M, void *scratch);
void es_cuda_logmel_top(es_device *d, float *max, const float *pcm, const int32_t *frames, const void *tables,
                        const int32_t *batches, int B, int M, void *scratch);
void es_cuda_pick(es_device *d, es_pick_slot *slots, const float *logits, const float *sot_logits, const uint32_t *suppress,
                  es_pick_vocab vocab, int32_t *tokens, int32_t *id, int32_t *pos, int32_t *slot, int32_t *len, int B);
void es_cuda_prob_at(es_device *d, float *p, const float *logits, const int32_t *id, const int32_t *rows, int R, int V, int n);

static es_ops table()
{
    es_ops t = {};

    t.name = "cuda";
    t.matrix_load = es_cuda_matrix_load;
    t.linear = es_cuda_linear;
    t.conv1d = es_cuda_conv1d;
    t.layernorm = es_cuda_layernorm;
    t.rmsnorm = es_cuda_rmsnorm;
    t.attend = es_cuda_attend;
    t.kv_store = es_cuda_kv_store;
    t.attend_cached = es_cuda_attend_cached;
    t.embed = es_cuda_embed;
    t.gather = es_cuda_gather;
    t.cast = es_cuda_cast;
    t.rope = es_cuda_rope;
    t.swiglu = es_cuda_swiglu;
    t.pool = es_cuda_pool;
    t.maxpool = es_cuda_maxpool;
    t.norm_time = es_cuda_norm_time;
    t.lstm = es_cuda_lstm;
    t.conv2d = es_cuda_conv2d;
    t.affine = es_cuda_affine;
    t.segment_means = es_cuda_segment_means;
    t.gate_segments = es_cuda_gate_segments;
    t.by_piece = es_cuda_by_piece;
    t.mean_deviation = es_cuda_mean_deviation;
    t.weighed_deviation = es_cuda_weighed_deviation;
    t.logmel = es_cuda_logmel;
    t.logmel_top = es_cuda_logmel_top;
    t.pick = es_cuda_pick;
    t.prob_at = es_cuda_prob_at;
    return t;
}

extern const es_ops es_cuda_ops = table();
