/*
 * cpu.h - the inside of the CPU backend: the device, its share-out of work, and the inner loops of one instruction set.
 *
 * Ops are written once, in C, over the inner loops of es_lanes. These exist once as source (lanes_body.h) and are
 * compiled for each instruction set; the device takes the best the machine has. Every one of them gives the same bits
 * on every set: elementwise ones because each element goes through the same operations, sums because they are defined
 * over sixteen lanes and one tree whatever the width of the registers.
 *
 * Layout of a weight matrix: panels of 16 outputs, [ceil(O/16)][I][16] of its dtype, the outputs past O zero. So the
 * sixteen weights that meet one input are one or two register loads, in both kinds of product.
 */
#ifndef ES_CPU_H
#define ES_CPU_H

#include <string.h>

#include "kernels/backend.h"
#include "kernels/mel_tables.h"
#include "kernels/pool.h"

enum {
    ES_LANES = 16,       /* width of a panel, and lanes of every sum */
    ES_FEW_ROWS = 8,     /* products of at most this many rows stream the panels instead of unpacking them */
    ES_TILE_ROWS = 14,   /* the largest microkernel */
    ES_BLOCK_ROWS = 252, /* of a block of a product: a multiple of 14, of 6 and of 4 */
    ES_BLOCK_COLS = 512,
    ES_BLOCK_DEPTH = 256,
    ES_ROW_PAD = 16,    /* floats between copied rows, so that their addresses do not share cache sets */
    ES_KEY_BLOCK = 512, /* keys that attention takes at once */
    ES_HEAD_MAX = 256,  /* widest head */
    ES_MEL_LANES = 8,   /* frames that the Fourier transform takes at once */
};

/* What a product does with a finished sum s: y = act(s + b) (+ y if add) (+ pos). n outputs of one row. */
typedef struct es_finish {
    const float *b, *pos;
    es_act act;
    bool add;
} es_finish;

typedef struct es_lanes {
    const char *name;
    int tile_rows, tile_cols; /* of the microkernel; tile_cols is 16 or 32 */

    /* c[m][tile_cols] (+)= a[m][k] b[k][tile_cols], m <= tile_rows, each element one chain over k. b: tile_cols/16 f32
     * panels of 16, `panel` floats apart. first: the chain starts at 0, else at c. */
    void (*tile)(int m, int k, const float *a, size_t lda, const float *b, size_t panel, float *c, size_t ldc,
                 bool first);
    /* c[m][n * 16] = x[m][I] times n panels of dtype t starting at w; m <= 8. */
    void (*few)(int m, int n, int I, const float *x, size_t ldx, const void *w, es_dtype t, float *c, size_t ldc);
    void (*widen)(float *y, const void *x, es_dtype t, size_t n);    /* any float dtype to f32 */
    void (*finish)(float *y, const float *s, size_t n, es_finish f); /* y may be s unless add */
    /* Sixteen-lane sums: lane l takes elements l, l + 16, ... in order; the lanes are joined by halves. */
    float (*sum)(const float *x, size_t n);
    float (*sum_square)(const float *x, size_t n, float mean); /* of (x - mean) */
    /* y[r] = sum over i of x[i] k[r * ld + i], for each of `rows` rows */
    void (*dots)(float *y, const float *x, const float *k, size_t ld, int rows, size_t n);
    float (*max)(const float *x, size_t n); /* -inf for n = 0 */
    float (*exp_sum)(float *y, const float *x, size_t n,
                     float max); /* y = exp(x - max); returns their sum. y may be x */
    void (*scale)(float *y, const float *x, size_t n, float by);
    void (*norm)(float *y, const float *x, const float *g, const float *b, size_t n, float mean, float by);
    /* y[n] (+)= sum over rows of p[row] v[row * ld + i], each one chain over rows; starts at y unless first */
    void (*blend)(float *y, const float *p, const float *v, size_t ld, int rows, size_t n, bool first);
    /* Power spectra of 8 frames: x[8 frames hop apart] times window, 400-point transform, p[201][8]. */
    void (*power)(double *p, const float *x, const es_mel_tables *tables);
} es_lanes;

extern const es_lanes es_lanes_portable;
#if defined(__x86_64__) && !defined(ES_PORTABLE)
#define ES_X86 1
extern const es_lanes es_lanes_avx2, es_lanes_avx512;
#endif

typedef struct es_cpu {
    es_device base;
    const es_lanes *lanes;
    es_pool *pool;
    int threads;
    void *arena;
    size_t arena_bytes;
} es_cpu;

/* The workspace: one region all threads see, then one for each thread. */
enum { ES_SHARED_BYTES = 1 << 20, ES_THREAD_BYTES = 3 << 19 };
static inline float *es_cpu_shared(const es_cpu *d)
{
    return d->arena;
}
static inline float *es_cpu_scratch(const es_cpu *d, int thread)
{
    return (float *)((char *)d->arena + ES_SHARED_BYTES + (size_t)thread * ES_THREAD_BYTES);
}
static inline es_cpu *es_cpu_of(es_device *d)
{
    return (es_cpu *)d;
}
static inline int es_live(const int32_t *rows, int planned)
{
    return !rows ? planned : *rows < 0 ? 0 : *rows < planned ? *rows : planned;
}
static inline int es_min(int a, int b)
{
    return a < b ? a : b;
}
/* Has memory brought near that will be read soon; any address will do. */
static inline void es_cpu_fetch(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i);
}

/* Runs fn over [0, n) in pieces of at most `grain` items. */
typedef void (*es_range_fn)(void *arg, int first, int last, int thread);
void es_cpu_for(es_cpu *d, int n, int grain, es_range_fn fn, void *arg);

/* convert.c */
float es_half_to_float(uint16_t h);
uint16_t es_float_to_half(float f); /* to nearest even; saturates to 65504; NaN stays NaN */
float es_bfloat_to_float(uint16_t h);
uint16_t es_float_to_bfloat(float f);
void es_narrow(void *y, es_dtype t, const float *x, size_t n); /* f32 to any float dtype */
/* n values at element `at` of x as f32: x itself where it is f32, else copied into room. */
const float *es_read(const es_lanes *l, const void *x, es_dtype t, size_t at, size_t n, float *room);

int es_cpu_threads(int threads); /* 0: the machine's */

/* the ops, by file */
void es_cpu_matrix_load(es_device *d, void *dst, es_matrix W, const void *src, es_dtype from);
void es_cpu_linear(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W, const float *b,
                   const int32_t *rows, int T, es_act act, bool add);
void es_cpu_conv1d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const float *pos,
                   const int32_t *batches, int B, int Ti, int C, int K, int stride, int pad, int dilation, es_act act,
                   void *scratch);
void es_cpu_layernorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const float *b,
                      const int32_t *rows, int T, int C, float eps);
void es_cpu_rmsnorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const int32_t *rows,
                    int T, int C, float eps);
void es_cpu_attend(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *k, int ldk, const void *v,
                   int ldv, const int32_t *bounds, int S, int N, int T, int H, int Hkv, int D, float scale,
                   es_mask mask);
void es_cpu_kv_store(es_device *d, es_dtype t, void *K, void *V, const void *k, int ldk, const void *v, int ldv,
                     const int32_t *slot, const int32_t *pos, const int32_t *rows, int R, int T, int H, int D);
void es_cpu_attend_cached(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *K, const void *V,
                          const int32_t *slot, const int32_t *len, const int32_t *parent, const int32_t *rows, int R,
                          int T, int H, int D, float scale, float *scores, const int32_t *heads, int n_pairs);
void es_cpu_embed(es_device *d, es_dtype t, void *y, es_matrix E, const float *P, const int32_t *id, const int32_t *pos,
                  const int32_t *rows, int R);
void es_cpu_gather(es_device *d, es_dtype t, void *y, const void *x, const int32_t *idx, int G, int C);
void es_cpu_cast(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, size_t n);
void es_cpu_rope(es_device *d, es_dtype t, void *x, int ld, const float *table, const int32_t *pos, const int32_t *rows,
                 int T, int H, int D);
void es_cpu_swiglu(es_device *d, es_dtype t, void *y, const void *x, const int32_t *rows, int T, int I);
void es_cpu_pool(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C, es_pooling how,
                 bool unit);
void es_cpu_maxpool(es_device *d, es_dtype t, void *y, const void *x, const int32_t *batches, int B, int Ti, int C,
                    int K, bool absolute);
void es_cpu_norm_time(es_device *d, es_dtype t, void *y, const void *x, const float *g, const float *b,
                      const int32_t *batches, int B, int T, int C, float eps, es_act act);
void es_cpu_lstm(es_device *d, float *y, const float *x, es_matrix W, const int32_t *batches, int B, int T, int h);
void es_cpu_conv2d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from,
                   const int32_t *to, int S, int N, int F, es_taps k, es_act act, bool add);
void es_cpu_affine(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                   const int32_t *rows, int T, int C, es_act act);
void es_cpu_segment_means(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds,
                          const int32_t *segments, int S, int n_segments, int C, int length);
void es_cpu_gate_segments(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g,
                          const int32_t *bounds, const int32_t *segments, int S, int N, int C, int length);
void es_cpu_by_piece(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c,
                     const void *a, int lda, const int32_t *bounds, int S, int N, int C, es_act act);
void es_cpu_mean_deviation(es_device *d, float *y, es_dtype t, const void *x, const void *z, const int32_t *bounds,
                           int S, int C, int less, float least);
void es_cpu_weighed_deviation(es_device *d, float *y, es_dtype t, const void *x, const float *w, const int32_t *of,
                              const int32_t *bounds, int V, int N, int C);
void es_cpu_logmel(es_device *d, es_dtype t, void *y, const float *pcm, const int32_t *frames, const float *top,
                   const float *fill, const void *tables, const int32_t *batches, int B, int M, void *scratch);
void es_cpu_logmel_top(es_device *d, float *max, const float *pcm, const int32_t *frames, const void *tables,
                       const int32_t *batches, int B, int M, void *scratch);
size_t es_mel_tables_bytes(int M);
void es_mel_tables_fill(void *host, int M);
void es_cpu_pick(es_device *d, es_pick_slot *slots, const float *logits, const float *sot_logits,
                 const uint32_t *suppress, es_pick_vocab vocab, int32_t *tokens, int32_t *id, int32_t *pos,
                 int32_t *slot, int32_t *len, int B);
void es_cpu_prob_at(es_device *d, float *p, const float *logits, const int32_t *id, const int32_t *rows, int R, int V,
                    int n);

#endif
