/*
 * reduce.cuh - sums and maxima of a warp and of a block, each in one fixed order, and 16-byte loads and stores.
 *
 * A warp sums by the butterfly of xor shuffles, so every lane holds the same bits. A block sums its warps' results in
 * ascending order of the warps.
 */
#ifndef ES_REDUCE_CUH
#define ES_REDUCE_CUH

#include "kernels/launch.cuh"

static __device__ __forceinline__ float es_warp_sum(float v)
{
    ES_UNROLL
    for (int bits = 16; bits > 0; bits >>= 1) v += ES_SHFL_XOR(v, bits);
    return v;
}

static __device__ __forceinline__ float es_warp_max(float v)
{
    ES_UNROLL
    for (int bits = 16; bits > 0; bits >>= 1) v = fmaxf(v, ES_SHFL_XOR(v, bits));
    return v;
}

/* The block's sum in every thread. part: shared, a float per warp; free again after the barrier of the next use. */
static __device__ __forceinline__ float es_block_sum(float v, float *part)
{
    int warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    float s = 0;

    v = es_warp_sum(v);
    ES_SYNC();
    if (threadIdx.x % 32 == 0) part[warp] = v;
    ES_SYNC();
    for (int w = 0; w < warps; w++) s += part[w];
    return s;
}

static __device__ __forceinline__ float es_block_max(float v, float *part)
{
    int warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    float s;

    v = es_warp_max(v);
    ES_SYNC();
    if (threadIdx.x % 32 == 0) part[warp] = v;
    ES_SYNC();
    s = part[0];
    for (int w = 1; w < warps; w++) s = fmaxf(s, part[w]);
    return s;
}

/* For each lane the sum over the block's warps in ascending order, in every thread. part: shared, 32 floats a warp. */
static __device__ __forceinline__ float es_lane_sum(float v, float *part)
{
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)(blockDim.x + 31) / 32;
    float s = 0;

    ES_SYNC();
    part[warp * 32 + lane] = v;
    ES_SYNC();
    for (int w = 0; w < warps; w++) s += part[w * 32 + lane];
    return s;
}

/* The same for maxima. */
static __device__ __forceinline__ float es_lane_max(float v, float *part)
{
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, warps = (int)(blockDim.x + 31) / 32;

    ES_SYNC();
    part[warp * 32 + lane] = v;
    ES_SYNC();
    for (int w = 0; w < warps; w++) v = fmaxf(v, part[w * 32 + lane]);
    return v;
}

/* Eight f16 or bf16, or four f32, at a 16-byte aligned address. */
template <class T> struct es_vector {
    enum { N = 16 / sizeof(T) };
    alignas(16) T v[N];
};
template <class T> static __device__ __forceinline__ es_vector<T> es_load16(const T *p)
{
    es_vector<T> r;
#ifdef ES_SIMT
    if (reinterpret_cast<uintptr_t>(p) % 16) simt::fail("a 16-byte load at %p", (const void *)p);
    memcpy(static_cast<void *>(r.v), p, 16);
#else
    *reinterpret_cast<uint4 *>(r.v) = *reinterpret_cast<const uint4 *>(p);
#endif
    return r;
}
template <class T> static __device__ __forceinline__ void es_store16(T *p, const es_vector<T> &r)
{
#ifdef ES_SIMT
    if (reinterpret_cast<uintptr_t>(p) % 16) simt::fail("a 16-byte store at %p", (void *)p);
    memcpy(static_cast<void *>(p), r.v, 16);
#else
    *reinterpret_cast<uint4 *>(p) = *reinterpret_cast<const uint4 *>(r.v);
#endif
}

/* N neighbouring values as f32: one, or as many as 16 bytes of T hold; then p is a multiple of 16 bytes. */
template <int N, class T> static __device__ __forceinline__ void es_load_few(float *v, const T *p)
{
    enum { EACH = es_vector<T>::N };

    if constexpr (N == 1) v[0] = es_load(p);
    else {
        ES_UNROLL
        for (int at = 0; at < N; at += EACH) {
            es_vector<T> a = es_load16(p + at);
            ES_UNROLL
            for (int i = 0; i < EACH; i++) v[at + i] = es_load(&a.v[i]);
        }
    }
}
template <int N, class T> static __device__ __forceinline__ void es_store_few(T *p, const float *v)
{
    enum { EACH = es_vector<T>::N };

    if constexpr (N == 1) es_store(p, v[0]);
    else {
        ES_UNROLL
        for (int at = 0; at < N; at += EACH) {
            es_vector<T> a;
            ES_UNROLL
            for (int i = 0; i < EACH; i++) es_store(&a.v[i], v[at + i]);
            es_store16(p + at, a);
        }
    }
}

static inline bool es_aligned16(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

#endif
