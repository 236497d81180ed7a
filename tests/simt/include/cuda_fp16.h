/*
 * cuda_fp16.h - half precision on the host: storage, exact conversions, and the few operations the kernels use. Every
 * operation rounds once, to nearest even, as on a card.
 */
#ifndef SIMT_CUDA_FP16_H
#define SIMT_CUDA_FP16_H

#include <cuda_runtime.h>

static inline float simt_half_to_float(uint16_t h)
{
    unsigned sign = static_cast<unsigned>(h & 0x8000u) << 16, e = h >> 10 & 31u, f = h & 0x3FFu;

    if (e == 31) return __uint_as_float(sign | 0x7F800000u | f << 13);
    if (e) return __uint_as_float(sign | (e + 112) << 23 | f << 13);
    float v = static_cast<float>(f) * 0x1p-24f;
    return sign ? -v : v;
}

static inline uint16_t simt_float_to_half(float x)
{
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000u, a = u & 0x7FFFFFFFu;

    if (a > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (a >> 13 & 0x3FFu));
    if (a >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u); /* 65536 and above */
    if (a < 0x33000000u) return static_cast<uint16_t>(sign);            /* below half the smallest subnormal */
    int shift = a < 0x38800000u ? 126 - static_cast<int>(a >> 23) : 13;
    unsigned f = a < 0x38800000u ? (a & 0x7FFFFFu) | 0x800000u : a - (112u << 23);
    unsigned r = f >> shift, rest = f & ((1u << shift) - 1), half = 1u << (shift - 1);

    if (rest > half || (rest == half && (r & 1))) r++;
    return static_cast<uint16_t>(sign | r);
}

struct __half {
    uint16_t x;
    __half() = default;
    __half(float v) : x(simt_float_to_half(v))
    {
    }
    operator float() const
    {
        return simt_half_to_float(x);
    }
};
typedef __half half;
struct alignas(4) __half2 {
    __half x, y;
};
typedef __half2 half2;

static inline float __half2float(__half h)
{
    return simt_half_to_float(h.x);
}
static inline __half __float2half_rn(float v)
{
    __half h;
    h.x = simt_float_to_half(v);
    return h;
}
static inline __half __float2half(float v)
{
    return __float2half_rn(v);
}
static inline __half2 __floats2half2_rn(float a, float b)
{
    __half2 r;
    r.x = __float2half_rn(a);
    r.y = __float2half_rn(b);
    return r;
}
static inline float2 __half22float2(__half2 h)
{
    return {__half2float(h.x), __half2float(h.y)};
}
static inline __half __ushort_as_half(unsigned short u)
{
    __half h;
    h.x = u;
    return h;
}
static inline unsigned short __half_as_ushort(__half h)
{
    return h.x;
}

#endif
