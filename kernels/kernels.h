/*
 * kernels.h - the op table: arithmetic on raw pointers, one documented function pointer per op, one table per backend.
 *
 * Everything is row-major, last dimension fastest. Letters are those of the papers and are used throughout:
 *     B batch (windows, texts)   T time or rows   C channels   H heads   D head width   K taps   M mel bins
 *     V vocabulary               I inputs, O outputs of a product        R rows of a step  S sequences
 *
 * Pointers lie in the memory of the table's device. Sizes passed as arguments are planned maxima; a size that changes
 * from call to call (live rows, lengths, positions, slots) is read by the op from device memory, so that a program is
 * one captured graph on CUDA. A parameter `const int32_t *rows` points at the number of live rows (NULL: all T of
 * them); rows at and above it are neither read nor defined afterwards.
 *
 * Storage has a dtype; sums, statistics, exponentials and activations are f32 (es_dtype says what may be stored). No op
 * allocates, fails or reports: a fault of the device is kept and given by es_device_sync(). Calls of one device are
 * made from one thread at a time. Inputs and outputs must not overlap unless the op says so. Pointers are aligned to
 * at least 64 bytes where they start a tensor.
 *
 * Same bits: an output element depends on its own row's inputs and on the op's constants alone, never on T, B, R, the
 * live count, the neighbours or the number of threads. The CPU table gives the same bits on every instruction set: a
 * product is one fused multiply-add chain per output in ascending order of the inputs, everywhere.
 */
#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct es_device es_device; /* device.h */

typedef enum es_dtype { ES_F32, ES_F16, ES_BF16, ES_I32, ES_I16, ES_U8, ES_N_DTYPES } es_dtype;

static inline size_t es_dtype_bytes(es_dtype t)
{
    return t == ES_F32 || t == ES_I32 ? 4u : t == ES_U8 ? 1u : 2u;
}

const char *es_dtype_name(es_dtype t); /* "F32", "F16", "BF16", "I32", "I16", "U8": the names of safetensors */

typedef enum es_act { ES_ACT_NONE, ES_ACT_GELU /* erf form */, ES_ACT_RELU, ES_ACT_LEAKY /* slope 0.01 */,
                      ES_ACT_TANH, ES_ACT_SIGMOID, ES_ACT_SILU } es_act;
typedef enum es_mask { ES_MASK_NONE, ES_MASK_CAUSAL } es_mask;
typedef enum es_pooling { ES_POOL_MEAN, ES_POOL_FIRST, ES_POOL_LAST } es_pooling;

/*
 * A weight matrix [O, I] on a device, f32, f16 or bf16. Its bytes are in the backend's own layout: made by
 * matrix_load() from row-major host memory into matrix_bytes() of arena, and not to be looked into elsewhere.
 */
typedef struct es_matrix {
    const void *p;
    es_dtype dtype;
    int O, I;
} es_matrix;

/* The taps of a convolution over bands and frames: Kf by Kt of them, both odd, the middle one on its place. */
typedef struct es_taps {
    int C, Kf, Kt, stride_f, stride_t, dilation; /* dilation: of the frames */
    bool reflect; /* frames before a piece and behind it are those within, mirrored, not zero; then a piece is longer than Kt / 2
                   * times the dilation, or what the mirror shows lies outside again and is zero after all */
} es_taps;

enum { ES_MEL_FFT = 400, ES_MEL_HOP = 160, ES_MEL_PAD = 200, ES_MEL_FRAMES = 3000, ES_MEL_SAMPLES = 480000 };

/*
 * What pick() knows of a row, written by the driver when a window takes a slot and kept up by pick() itself. Plain
 * data: the same bytes on the host and on the device.
 */
enum { ES_PICK_IDLE = 0, ES_PICK_TEXT = 1 /* transcribe */, ES_PICK_LANG = 2 /* choose a language and stop */ };
typedef struct es_pick_slot {
    int32_t mode;             /* ES_PICK_* ; pick() sets IDLE when the slot ends */
    int32_t n;                /* tokens sampled so far */
    int32_t n_max;            /* stop after this many tokens, eot counted */
    int32_t last, last2;      /* the last token sampled and the one before it; -1 where there is none */
    int32_t last_time;        /* the last timestamp sampled, -1 where there is none */
    int32_t timestamps;       /* 1: apply the timestamp rules; 0: timestamps are masked */
    int32_t max_initial;      /* largest first timestamp as an index from timestamp_begin; -1: no limit */
    int32_t ended;            /* 1: eot was sampled; 2: stopped by n_max or by the end of the positions */
    float temperature;        /* 0: arg-max, lowest index on ties */
    float sum_logprob;        /* of the sampled tokens, eot included, of the filtered, unscaled logits */
    float no_speech;          /* softmax of the unfiltered logits at the sot row, entry no_speech; set at n == 0 */
    float lang_prob;          /* mode LANG: softmax over the languages, of the one chosen */
    uint32_t key[4];          /* Philox key words: content, window, attempt; the counter is n */
    int32_t pos;              /* position the next input token takes (prompt length + n) */
    int32_t least_end;        /* index of a timestamp: the text may not end with a pair of earlier ones; 0: it may */
} es_pick_slot;

/* Vocabulary facts, constant for a model; passed by value, copied into a captured graph. */
typedef struct es_pick_vocab {
    int32_t V, eot, sot, lang_begin, n_lang, no_speech, no_timestamps, timestamp_begin, blank /* id of " ", or -1 */;
    int32_t max_pos; /* positions of the decoder, 448 */
} es_pick_vocab;

typedef struct es_ops {
    const char *name; /* "cpu", "cuda" */

    /* ---- weights ------------------------------------------------------------------------------------------------- */

    /* Copies rows of row-major host memory [O, I] of dtype from into the backend's layout at dst with dtype W.dtype.
     * Allowed: from == W.dtype; f16, bf16 -> f32; f32, bf16 -> f16; f32, f16 -> bf16. Not a forward op: may take time. */
    void (*matrix_load)(es_device *d, void *dst, es_matrix W, const void *src, es_dtype from);

    /* ---- products ------------------------------------------------------------------------------------------------ */

    /* y[T,O] = act(x[T,I] @ W[O,I]^T + b[O]) (+ y if add). b f32, may be NULL. With add, act is NONE. */
    void (*linear)(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W, const float *b,
                   const int32_t *rows, int T, es_act act, bool add);

    /* y[B,To,O] = act(b[O] + sum_k W[O, k*C + c] x[B, to*stride + k*dilation - pad, c]) (+ pos[To,O], f32, if not NULL).
     * W is [O, K*C] with the taps outermost; rows outside [0, Ti) count as zero. To = (Ti + 2 pad - dilation (K-1) - 1)
     * / stride + 1. *batches live windows of B (NULL: all). scratch: conv1d_scratch() bytes. */
    void (*conv1d)(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const float *pos,
                   const int32_t *batches, int B, int Ti, int C, int K, int stride, int pad, int dilation, es_act act,
                   void *scratch);

    /* ---- norms --------------------------------------------------------------------------------------------------- */

    /* If r is not NULL: x += r first, x is written back. y = (x - mean) / sqrt(var + eps) * g + b over C, population
     * variance, two passes. g, b f32. y may be x when r is NULL. */
    void (*layernorm)(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const float *b,
                      const int32_t *rows, int T, int C, float eps);
    /* The same with y = x / sqrt(mean(x^2) + eps) * g. */
    void (*rmsnorm)(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const int32_t *rows,
                    int T, int C, float eps);

    /* ---- attention ----------------------------------------------------------------------------------------------- */

    /* Self attention of S sequences packed one behind the other: sequence s is rows bounds[s] .. bounds[s+1]-1, bounds
     * int32 [S+1] ascending from 0, N planned rows. y[N, H*D]; q, k, v rows with row strides ldq, ldk, ldv elements
     * (columns of one fused product); head h of q reads head h*Hkv/H of k and v. Scores and softmax f32. */
    void (*attend)(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *k, int ldk, const void *v,
                   int ldv, const int32_t *bounds, int S, int N, int T, int H, int Hkv, int D, float scale,
                   es_mask mask);

    /* K[slot[r], h, pos[r], :] = k[r, h*D..], the same for V. Caches [slots, H, T, D]. slot[r] < 0: the row is idle. */
    void (*kv_store)(es_device *d, es_dtype t, void *K, void *V, const void *k, int ldk, const void *v, int ldv,
                     const int32_t *slot, const int32_t *pos, const int32_t *rows, int R, int T, int H, int D);

    /* One query row each against cached keys: row r sees keys 0 .. len[r]-1 (len NULL: T) of cache slot[r]; key i is
     * taken from slot parent[slot[r]*T + i] where parent is not NULL. y[R, H*D]. slot[r] < 0: the row is idle and
     * left undefined. scores, if not NULL, [R, n_pairs, T] f32: the scaled scores before the softmax of the heads
     * listed in heads (int32 [n_pairs]), in the columns the row sees. */
    void (*attend_cached)(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *K, const void *V,
                          const int32_t *slot, const int32_t *len, const int32_t *parent, const int32_t *rows, int R,
                          int T, int H, int D, float scale, float *scores, const int32_t *heads, int n_pairs);

    /* ---- rows ---------------------------------------------------------------------------------------------------- */

    /* y[r] = E[id[r]] (+ P[pos[r]], f32 [.., C], if P); id[r] < 0: zeros. E.O is the vocabulary, E.I is C. */
    void (*embed)(es_device *d, es_dtype t, void *y, es_matrix E, const float *P, const int32_t *id, const int32_t *pos,
                  const int32_t *rows, int R);
    /* y[g] = x[idx[g]]; idx[g] < 0: zeros. */
    void (*gather)(es_device *d, es_dtype t, void *y, const void *x, const int32_t *idx, int G, int C);
    /* y = x in another dtype, n elements; saturating to the finite range of f16. */
    void (*cast)(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, size_t n);

    /* ---- text encoders ----------------------------------------------------------------------------------------- */

    /* Rotary positions, in place: x rows of H heads of D at row stride ld; the pair (i, i + D/2) of each head becomes
     * (a cos - b sin, b cos + a sin) with cos = table[pos][i], sin = table[pos][D/2 + i]; table f32 [.., D]. */
    void (*rope)(es_device *d, es_dtype t, void *x, int ld, const float *table, const int32_t *pos, const int32_t *rows,
                 int T, int H, int D);
    /* y[T,I] = silu(x[T, 0..I)) * x[T, I..2I): the two halves of one product. */
    void (*swiglu)(es_device *d, es_dtype t, void *y, const void *x, const int32_t *rows, int T, int I);
    /* One row for each of S packed sequences (bounds int32 [S+1], as attend): the mean of its rows, its first or its
     * last; with unit, divided by max(1e-12, its norm). y[S, C] f32; an empty sequence gives zeros. */
    void (*pool)(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C, es_pooling how,
                 bool unit);

    /* ---- along time ---------------------------------------------------------------------------------------------- */

    /* y[B,To,C] = the largest of x[b, to*K .. to*K + K-1, c], of |x| if absolute; To = Ti / K, what is left over is left
     * out. batches: live windows. */
    void (*maxpool)(es_device *d, es_dtype t, void *y, const void *x, const int32_t *batches, int B, int Ti, int C, int K,
                    bool absolute);
    /* y[B,T,C] = act((x - mean) / sqrt(var + eps) * g[C] + b[C]) with mean and population variance of each window and
     * channel over T. y may be x. */
    void (*norm_time)(es_device *d, es_dtype t, void *y, const void *x, const float *g, const float *b,
                      const int32_t *batches, int B, int T, int C, float eps, es_act act);
    /* One bidirectional LSTM layer of width h, f32. x[B,T,8h]: what the inputs and biases give each gate, rows i f g o of
     * the forward direction, then of the backward one. W [8h, h]: the recurrent weights in the same order. y[B,T,2h]:
     * forward, then backward, both at their frame. Starts from zero in every window. */
    void (*lstm)(es_device *d, float *y, const float *x, es_matrix W, const int32_t *batches, int B, int T, int h);

    /* ---- over packed pieces: S of them, piece s is rows bounds[s] .. bounds[s+1]-1 (int32 [S+1]), N planned rows ---- */

    /* Convolution over bands and frames. A row of x is a frame of F bands of k.C channels; a row of y, one of Fo = (F - 1) /
     * stride_f + 1 bands of W.O. Frame t of a piece of y (rows by `to`), band f, is act(b + the sum over i < Kf, j < Kt, c < C
     * of W[o, (i*Kt + j)*C + c] x[t*stride_t + (j - Kt/2)*dilation, f*stride_f + i - Kf/2, c] (+ what y held, if add)), where
     * x is the same piece (rows by `from`), zero (or mirrored, k.reflect) outside of it, zero outside of its bands. */
    void (*conv2d)(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from,
                   const int32_t *to, int S, int N, int F, es_taps k, es_act act, bool add);
    /* y[T,C] = act(x * g[C] + b[C]), rows at strides ldy and ldx; act NONE, RELU, LEAKY or TANH; g and b both NULL: a copy. */
    void (*affine)(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                   const int32_t *rows, int T, int C, es_act act);
    /* Each piece is cut into segments of `length` rows, the last one shorter; piece s has segments[s] .. segments[s+1]-1 of
     * n_segments planned. y[n_segments, C] f32 = the mean of the segment + the mean of its piece. */
    void (*segment_means)(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, const int32_t *segments,
                          int S, int n_segments, int C, int length);
    /* y[r] = x[r] * g[the segment of r], y with row stride ldy; g[n_segments, C] f32. */
    void (*gate_segments)(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g, const int32_t *bounds,
                          const int32_t *segments, int S, int N, int C, int length);
    /* y[r] = act(x[r] * g[the piece of r] + c[the piece of r] + a[r]), rows at strides ldy, ldx and lda; g and c f32 [S, C]; g,
     * c and a may each be NULL and are then left out; act as for affine. */
    void (*by_piece)(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c,
                     const void *a, int lda, const int32_t *bounds, int S, int N, int C, es_act act);
    /* y[s] f32 [2C] = the mean of the piece's rows, then their deviation, the root of a variance that is at least `least`. z
     * NULL: the variance is sum (x - mean)^2 / (n - less), with n > less, else 0. z [N, C]: a row counts as much as the softmax
     * of z over the piece's rows says, channel by channel, and `less` is not looked at. An empty piece gives zeros. */
    void (*mean_deviation)(es_device *d, float *y, es_dtype t, const void *x, const void *z, const int32_t *bounds, int S, int C,
                           int less, float least);
    /* The same for V answers, the v-th about piece of[v] with weights w[v, 0 .. n) of its n rows; w f32 [V, N]. mean = sum w x /
     * v1, variance = sum w (x - mean)^2 / (v1 - v2 / v1 + 1e-8) with v1 = sum w + 1e-8 and v2 = sum w^2, these three in f32:
     * for a single row of weight 1 that is a deviation of exactly 0. of[v] < 0: zeros. */
    void (*weighed_deviation)(es_device *d, float *y, es_dtype t, const void *x, const float *w, const int32_t *of,
                              const int32_t *bounds, int V, int N, int C);

    /* ---- sound --------------------------------------------------------------------------------------------------- */

    /* Whisper's log-mel of B windows, before the dynamic range is applied and after. pcm [B, 200 + 480000 + 200] f32:
     * the window's samples with 200 of context on either side (reflected by the caller at the ends of the file).
     * frames[b]: frames of content, 0 .. 3000; later ones are set to fill[b] in the normalised domain, or, where that
     * is NaN, to what a silent frame of this window gives: (max(-10, top - 8) + 4) / 4.
     * top[b]: the largest log10 over the whole file, or NaN for the largest over this window's content (-10 if none).
     * A window padded with zero samples as the reference does it has frames = 3000: then the two frames whose analysis
     * straddles the end of the sound keep their share of it.
     * y [B, 3000, M] time-major, normalised (L + 4) / 4. batches: live windows. */
    void (*logmel)(es_device *d, es_dtype t, void *y, const float *pcm, const int32_t *frames, const float *top,
                   const float *fill, const void *tables, const int32_t *batches, int B, int M, void *scratch);
    /* *max = the largest log10 of the mel power (floored at 1e-10) over the first frames[b] frames of window b, for
     * B windows: the first half of a whole-file maximum. max f32 [B]. */
    void (*logmel_top)(es_device *d, float *max, const float *pcm, const int32_t *frames, const void *tables,
                       const int32_t *batches, int B, int M, void *scratch);

    /* ---- decoding ------------------------------------------------------------------------------------------------ */

    /* One step of every live slot (B slots). logits [B, V] f32: the row of each slot's newest token. sot_logits
     * [B, V] f32 or NULL: the row of the start-of-transcript token, read where slot n == 0. suppress: bit mask
     * uint32 [(V+31)/32]. Applies the rules of Whisper's decoder (suppression, blank, timestamps, in the order of the
     * reference; then least_end: eot is forbidden after a pair of timestamps below it), takes a token, and updates:
     * slots[b]; tokens[b*max_pos + n]; and the next step's inputs id[b], pos[b], slot[b] and len[b] = pos[b] + 1. A slot ends with eot, with n == n_max, or when its token would take a position
     * past max_pos - 1; then mode is IDLE, id and slot are -1, pos and len 0. Nothing of a slot that is IDLE at entry is
     * read or written: the driver sets slot[b] = -1 at the start.
     * Without timestamps all ids from timestamp_begin on are masked. Sampling takes the largest l / T - log(-log u) in
     * double, lowest id on ties, with u of id i from word i % 4 of Philox4x32-10, counter (n, i / 4, key[2], key[3]), key
     * (key[0], key[1]): u = (w / 512 + 1/2) / 2^23, w / 512 rounded down. sum_logprob adds l - logsumexp(l) of the filtered
     * logits. Mode LANG takes the largest language logit, sets lang_prob, and ends. */
    void (*pick)(es_device *d, es_pick_slot *slots, const float *logits, const float *sot_logits,
                 const uint32_t *suppress, es_pick_vocab vocab, int32_t *tokens, int32_t *id, int32_t *pos,
                 int32_t *slot, int32_t *len, int B);

    /* p[r] = softmax of logits[r, 0..n) at id[r], f32; rows with id[r] < 0 are skipped. Word probabilities. */
    void (*prob_at)(es_device *d, float *p, const float *logits, const int32_t *id, const int32_t *rows, int R, int V,
                    int n);
} es_ops;

/*
 * Facts of a backend that the plan needs before any device is opened: what things weigh there. Pure functions.
 */
typedef enum es_backend { ES_CPU, ES_CUDA, ES_N_BACKENDS } es_backend;

typedef struct es_traits {
    const char *name;
    size_t align; /* of every tensor and matrix in the arena */
    size_t (*matrix_bytes)(es_dtype dtype, int O, int I);
    /* Workspace that linear, attention and the like use inside a call; part of the arena. threads: CPU only. */
    size_t (*workspace_bytes)(int threads);
    size_t (*conv1d_scratch)(es_dtype t, int B, int To, int C, int K);
    size_t (*logmel_scratch)(int B, int M);
    size_t (*mel_tables_bytes)(int M);
    void (*mel_tables_fill)(void *host, int M); /* then copied to the device as it is */
    uint64_t outside_bytes; /* of the device that a process holds beside its arena: context, kernels, handles */
} es_traits;

const es_traits *es_backend_traits(es_backend b); /* never NULL, also where the backend is not built in */

#ifdef __cplusplus
}
#endif
#endif
