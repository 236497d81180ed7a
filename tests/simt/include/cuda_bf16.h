/*
 * cuda_bf16.h - bfloat16 on the host: storage and exact conversions, to nearest even.
 */
#ifndef SIMT_CUDA_BF16_H
#define SIMT_CUDA_BF16_H

#include <cuda_runtime.h>

static inline uint16_t simt_float_to_bfloat(float x)
{
    unsigned u = __float_as_uint(x);

    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(u >> 16 | 0x40u);
    return static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
}

struct __nv_bfloat16 {
    uint16_t x;
    __nv_bfloat16() = default;
    __nv_bfloat16(float v) : x(simt_float_to_bfloat(v))
    {
    }
    operator float() const
    {
        return __uint_as_float(static_cast<unsigned>(x) << 16);
    }
};
struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 h)
{
    return __uint_as_float(static_cast<unsigned>(h.x) << 16);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float v)
{
    __nv_bfloat16 h;
    h.x = simt_float_to_bfloat(v);
    return h;
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b)
{
    __nv_bfloat162 r;
    r.x = __float2bfloat16_rn(a);
    r.y = __float2bfloat16_rn(b);
    return r;
}
static inline float2 __bfloat1622float2(__nv_bfloat162 h)
{
    return {__bfloat162float(h.x), __bfloat162float(h.y)};
}

#endif
