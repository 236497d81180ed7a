/*
 * tensor.h - a pointer, a dtype and up to four dimensions; a value, never a heap object.
 *
 * While a program is planned, p is NULL and id names the planned block; while it runs, p is the block's address in the
 * arena. A view keeps the id of the block it looks into, so that the plan knows the block is still in use.
 */
#ifndef ES_TENSOR_H
#define ES_TENSOR_H

#include "kernels/kernels.h"

typedef struct es_tensor {
    void *p;
    es_dtype dtype;
    int n_dims;
    int dim[4];
    int id; /* of the planned block; -1: not in scratch (weights, state) */
} es_tensor;

static inline size_t es_tensor_count(es_tensor t)
{
    size_t n = 1;
    for (int i = 0; i < t.n_dims; i++) n *= (size_t)t.dim[i];
    return n;
}

static inline size_t es_tensor_bytes(es_tensor t)
{
    return es_tensor_count(t) * es_dtype_bytes(t.dtype);
}

/* All dimensions but the last, multiplied: the rows of a tensor seen as a table. */
static inline int es_tensor_rows(es_tensor t)
{
    return (int)(es_tensor_count(t) / (size_t)(t.dim[t.n_dims - 1] ? t.dim[t.n_dims - 1] : 1));
}

static inline int es_tensor_width(es_tensor t)
{
    return t.dim[t.n_dims - 1];
}

static inline bool es_tensor_is_ints(es_tensor t, size_t least)
{
    return t.dtype == ES_I32 && es_tensor_count(t) >= least;
}

#endif
