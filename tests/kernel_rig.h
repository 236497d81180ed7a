/*
 * kernel_rig.h - what the files of op cases share. A case begins, makes its tensors, calls one op, compares, ends.
 */
#ifndef ES_KERNEL_RIG_H
#define ES_KERNEL_RIG_H

#include "kernel_cases.h"

extern const es_dtype es_rig_floats[3]; /* F32, F16, BF16 */

void es_rig_begin(es_rig *r);
/* Room of `bytes` between guards, filled with a byte that makes a NaN of every float type. */
void *es_rig_room(es_rig *r, size_t bytes);
/* n values of x, rounded in place to what the type holds, on the device. */
void *es_rig_put(es_rig *r, double *x, size_t n, es_dtype t);
void *es_rig_put_bytes(es_rig *r, const void *x, size_t bytes);
/* From the device, into the hash of the outputs. The caller frees what es_rig_get returns. */
double *es_rig_get(es_rig *r, const void *p, size_t n, es_dtype t);
void es_rig_get_bytes(es_rig *r, void *x, const void *p, size_t bytes);
/* have, from storage t, against the definition; naive: the float loop's result before storage. */
void es_rig_compare(const char *what, const double *have, const double *want, const float *naive, size_t n, es_dtype t);
void es_rig_end(es_rig *r, const char *what); /* looks at the guards and for faults */
bool es_rig_too_much(const es_rig *r, double work);

double *es_rig_noise(uint64_t seed, size_t n, double scale); /* the caller frees, as with narrow */
float *es_rig_narrow(const double *x, size_t n);

/* The cases, by the file they stand in: products and norms, attention, rows and decoding, text encoders. */
void es_case_linear(es_rig *r);
void es_case_conv1d(es_rig *r);
void es_case_layernorm(es_rig *r);
void es_case_rmsnorm(es_rig *r);
void es_case_attend(es_rig *r);
void es_case_attend_cached(es_rig *r);
void es_case_kv_store(es_rig *r);
void es_case_embed(es_rig *r);
void es_case_gather(es_rig *r);
void es_case_cast(es_rig *r);
void es_case_logmel(es_rig *r);
void es_case_pick(es_rig *r);
void es_case_prob_at(es_rig *r);
void es_case_rope(es_rig *r);
void es_case_swiglu(es_rig *r);
void es_case_pool(es_rig *r);
void es_case_maxpool(es_rig *r);
void es_case_norm_time(es_rig *r);
void es_case_lstm(es_rig *r);
void es_case_conv2d(es_rig *r);
void es_case_affine(es_rig *r);
void es_case_segment_means(es_rig *r);
void es_case_gate_segments(es_rig *r);
void es_case_by_piece(es_rig *r);
void es_case_mean_deviation(es_rig *r);
void es_case_weighed_deviation(es_rig *r);

#endif
