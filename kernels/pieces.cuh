/*
 * pieces.cuh - what the ops over packed pieces share: which piece a row is of, and the activations they know.
 */
#ifndef ES_PIECES_CUH
#define ES_PIECES_CUH

#include "kernels/cuda.cuh"

/* The piece that row r belongs to. */
static __device__ __forceinline__ int piece_of(const int32_t *bounds, int S, int r)
{
    int low = 0, high = S - 1;

    while (low < high) {
        int mid = (low + high + 1) / 2;
        if (bounds[mid] <= r) low = mid;
        else high = mid - 1;
    }
    return low;
}

static __device__ __forceinline__ float piece_act(float v, int act)
{
    return act == ES_ACT_LEAKY ? (v > 0 ? v : 0.01f * v) : act == ES_ACT_RELU ? (v > 0 ? v : 0) : act == ES_ACT_TANH ? tanhf(v) : v;
}

static inline int act_is_known(es_device *d, const char *what, es_act act)
{
    if (act == ES_ACT_NONE || act == ES_ACT_LEAKY || act == ES_ACT_RELU || act == ES_ACT_TANH) return 1;
    es_cuda_keep_fault(d, what, "an activation that is not relu, leaky or tanh", 1);
    return 0;
}

#endif
