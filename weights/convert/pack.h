/*
 * pack.h - the one writer of model packs (weights/FORMAT.md).
 *
 * A pack is described first: metadata, then tensors, each the sum of pieces that stand one after another in its rows:
 * a tensor of the source, zeros, or values computed by the architecture. es_pack_write() then streams it: a temporary
 * file beside the destination, fsync, rename, so that a pack is there as a whole or not at all. The bytes depend on the
 * description alone.
 *
 * Running out of memory while describing is kept and reported by es_pack_write().
 */
#ifndef ES_PACK_H
#define ES_PACK_H

#include "source.h"

typedef struct es_pack es_pack;

typedef enum es_order {
    ES_ORDER_PLAIN,
    ES_ORDER_TAPS,      /* convolution [O, C, K...] to [O, K..., C] */
    ES_ORDER_TRANSPOSED /* [A, B] to [B, A] */
} es_order;

es_pack *es_pack_begin(void); /* NULL when memory is out */
void es_pack_drop(es_pack *p); /* accepts NULL */

void es_pack_meta(es_pack *p, const char *key, const char *value); /* in this order in the file */
void es_pack_add(es_pack *p, const char *name, es_dtype dtype, int n_dims, const int64_t *dim);
/* Pieces of the tensor added last. The source must live until the pack is written. */
void es_pack_from(es_pack *p, const es_src_tensor *t, es_order order);
void es_pack_rows(es_pack *p, const es_src_tensor *t, size_t first, size_t n); /* elements of t, plain */
void es_pack_zeros(es_pack *p, size_t n);
void es_pack_values(es_pack *p, const float *values, size_t n);                 /* copied */
void es_pack_bytes(es_pack *p, const void *bytes, size_t n);                    /* copied; only for ES_U8 */

/* Files that must be as they were when they were opened, or nothing is written. Borrowed. */
void es_pack_of(es_pack *p, const es_source *s);

int es_pack_tensors(const es_pack *p);
void es_pack_dtypes(const es_pack *p, char *out, size_t n); /* "F16 203, F32 40" */
/* *bytes: of the file. Values that are not finite, or do not fit the dtype, are refused by name. */
int es_pack_write(es_pack *p, const char *path, uint64_t *bytes, es_err *err);

#endif
