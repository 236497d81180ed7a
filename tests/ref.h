/*
 * ref.h - every op of the table again, naive, in double: the definition the backends are held to.
 *
 * Values travel as arrays of double that hold exactly what the storage type holds: ref_round() makes them so,
 * ref_store() and ref_fetch() are the storage types' bits. The ref32_ twins are the same loops in float; their distance
 * from the definition is the measure of a backend's allowed error.
 */
#ifndef ES_REF_H
#define ES_REF_H

#include "kernels/kernels.h"

double ref_round(double x, es_dtype t); /* nearest even; f16 saturates at 65504 */
double ref_unit(es_dtype t);            /* half a unit in the last place, relative: 2^-24, 2^-11, 2^-8 */
void ref_store(void *p, es_dtype t, const double *x, size_t n); /* floats round; integers must fit */
void ref_fetch(double *x, const void *p, es_dtype t, size_t n);

#define REF_OPS(NAME, REAL)                                                                                            \
    void NAME(linear)(REAL * y, const REAL *x, const REAL *W, const REAL *b, int T, int I, int O, es_act act,          \
                      bool add);                                                                                       \
    void NAME(conv1d)(REAL * y, const REAL *x, const REAL *W, const REAL *b, const REAL *pos, int B, int Ti, int C,    \
                      int O, int K, int stride, int pad, int dilation, es_act act);                                    \
    void NAME(norm)(REAL * y, const REAL *x, const REAL *g, const REAL *b, int T, int C, REAL eps, bool centred);      \
    void NAME(attend)(REAL * y, const REAL *qkv, const int32_t *bounds, int S, int H, int Hkv, int D, REAL scale,      \
                      es_mask mask);                                                                                   \
    void NAME(attend_cached)(REAL * y, const REAL *q, const REAL *K, const REAL *V, const int32_t *slot,               \
                             const int32_t *len, const int32_t *parent, int R, int T, int H, int D, REAL scale,        \
                             REAL *scores, const int32_t *heads, int n_pairs);                                         \
    void NAME(rope)(REAL * x, int ld, const REAL *table, const int32_t *pos, int T, int H, int D);                     \
    void NAME(swiglu)(REAL * y, const REAL *x, int T, int I);                                                          \
    void NAME(pool)(REAL * y, const REAL *x, const int32_t *bounds, int S, int C, es_pooling how, bool unit);          \
    void NAME(maxpool)(REAL *y, const REAL *x, int B, int Ti, int C, int K, bool absolute);                            \
    void NAME(norm_time)(REAL *y, const REAL *x, const REAL *g, const REAL *b, int B, int T, int C, REAL eps,          \
                         es_act act);                                                                                  \
    void NAME(lstm)(REAL *y, const REAL *x, const REAL *W, int B, int T, int h);                                       \
    void NAME(conv2d)(REAL *y, const REAL *x, const REAL *W, const REAL *b, const int32_t *from, const int32_t *to,    \
                      int S, int F, int O, es_taps k, es_act act, bool add);                                           \
    void NAME(affine)(REAL *y, int ldy, const REAL *x, int ldx, const REAL *g, const REAL *b, int T, int C,            \
                      es_act act);                                                                                     \
    void NAME(segment_means)(REAL *y, const REAL *x, const int32_t *bounds, int S, int C, int length);                 \
    void NAME(gate_segments)(REAL *y, int ldy, const REAL *x, const REAL *g, const int32_t *bounds, int S, int C,      \
                             int length);                                                                              \
    void NAME(by_piece)(REAL *y, int ldy, const REAL *x, int ldx, const REAL *g, const REAL *c, const REAL *a, int lda, \
                        const int32_t *bounds, int S, int C, es_act act);                                              \
    void NAME(mean_deviation)(REAL *y, const REAL *x, const REAL *z, const int32_t *bounds, int S, int C, int less,    \
                              REAL least);                                                                             \
    void NAME(weighed_deviation)(REAL *y, const REAL *x, const REAL *w, const int32_t *of, const int32_t *bounds,      \
                                 int V, int N, int C);                                                                 \
    void NAME(prob_at)(REAL * p, const REAL *logits, const int32_t *id, int R, int V, int n);
#define REF64(x) ref64_##x
#define REF32(x) ref32_##x
REF_OPS(REF64, double)
REF_OPS(REF32, float)

/* One frame of Whisper's log-mel, log10 of the floored mel power: 400 samples in, M values out, by direct sums. */
void ref_logmel_frame(double *L, const float *x, int M);

/* One step of one live slot, rule by rule over a copy of the logits (whisper's reference decoder). Returns the token;
 * updates the slot as pick() does. margin: by how much the choice was made, so that a test can pass over near ties. */
int ref_pick(es_pick_slot *s, const double *logits, const double *sot_logits, const uint32_t *suppress, es_pick_vocab v,
             double *margin);
void ref_philox(uint32_t counter[4], const uint32_t key[2]);

#endif
