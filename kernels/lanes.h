/*
 * lanes.h - a register of floats as the compiler's vector type, for the files that include lanes_body.h.
 *
 * The width follows the instruction set the file is compiled for: 16 with AVX-512, 8 with AVX2, else 4 (SSE2, NEON).
 * Plain operators are the vector type's own; here is what C cannot say (fused multiply-add, conversion of halves,
 * broadcasts) and, on top of it, the functions of one value: exp, erf, tanh and the activations, each a fixed chain of
 * operations with coefficients interpolated at Chebyshev points. NaN and signed zeros behave alike on every set, since
 * maxima, minima and clamps are written as compare and select.
 */
#ifndef ES_LANES_H
#define ES_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "kernels/cpu.h"

#if defined(__AVX512F__)
enum { VW = 16 };
#elif defined(__AVX2__)
enum { VW = 8 };
#else
enum { VW = 4 };
#endif
enum { VN = ES_LANES / VW /* registers to sixteen lanes */ };

typedef float V __attribute__((vector_size(VW * 4)));
typedef int32_t VI __attribute__((vector_size(VW * 4)));
typedef double VD __attribute__((vector_size(VW * 4))); /* VW / 2 doubles */

#define INLINE static inline __attribute__((always_inline))
/* for (int i = 0; i < n; i++), written out in full; n is known when it is compiled. */
#if defined(__clang__)
#define UNROLL(i, n) _Pragma("clang loop unroll(full)") for (int i = 0; i < (n); i++)
#else
#define UNROLL(i, n) _Pragma("GCC unroll 32") for (int i = 0; i < (n); i++)
#endif

INLINE V v_load(const float *p)
{
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void v_store(float *p, V v)
{
    memcpy(p, &v, sizeof v);
}

INLINE V v_set(float x)
{
#if defined(__AVX512F__)
    return (V)_mm512_set1_ps(x);
#elif defined(__AVX2__)
    return (V)_mm256_set1_ps(x);
#else
    return (V){x, x, x, x};
#endif
}

INLINE VI v_set_int(int32_t x)
{
    return (VI){0} + x;
}

/* a * b + c, rounded once. */
INLINE V v_fma(V a, V b, V c)
{
#if defined(__AVX512F__)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return (V){fmaf(a[0], b[0], c[0]), fmaf(a[1], b[1], c[1]), fmaf(a[2], b[2], c[2]), fmaf(a[3], b[3], c[3])};
#endif
}

INLINE V v_if(VI mask, V yes, V no)
{
    return (V)((mask & (VI)yes) | (~mask & (VI)no));
}

INLINE V v_abs(V a)
{
    return (V)((VI)a & 0x7FFFFFFF);
}

/* The sign of s on the size of a. */
INLINE V v_sign(V a, V s)
{
    return (V)(((VI)a & 0x7FFFFFFF) | ((VI)s & (int32_t)0x80000000u));
}

/* VW values of a float dtype as f32. */
INLINE V v_widen(const void *p, size_t at, es_dtype t)
{
    if (t == ES_F32) return v_load((const float *)p + at);
    const uint16_t *h = (const uint16_t *)p + at;
#if defined(__AVX512F__)
    __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)h);
    if (t == ES_F16) return (V)_mm512_cvtph_ps(raw);
    return (V)_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16);
#elif defined(__AVX2__)
    __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)h);
    if (t == ES_F16) return (V)_mm256_cvtph_ps(raw);
    return (V)_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16);
#else
#if defined(__ARM_NEON) && defined(__aarch64__)
    if (t == ES_F16) return (V)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
#else
    if (t == ES_F16)
        return (V){es_half_to_float(h[0]), es_half_to_float(h[1]), es_half_to_float(h[2]), es_half_to_float(h[3])};
#endif
    return (V){es_bfloat_to_float(h[0]), es_bfloat_to_float(h[1]), es_bfloat_to_float(h[2]), es_bfloat_to_float(h[3])};
#endif
}

/* Joins sixteen lanes by halves: 8 sums of l and l + 8, then of l and l + 4, l + 2, l + 1. */
typedef float V4 __attribute__((vector_size(16)));
INLINE float v_join(const V s[VN])
{
#if defined(__AVX512F__)
    __m256 e = _mm256_add_ps(_mm512_castps512_ps256((__m512)s[0]), _mm512_extractf32x8_ps((__m512)s[0], 1));
    V4 f = (V4)_mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
#elif defined(__AVX2__)
    __m256 e = (__m256)(s[0] + s[1]);
    V4 f = (V4)_mm_add_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1));
#else
    V4 f = (s[0] + s[2]) + (s[1] + s[3]);
#endif
    return (f[0] + f[2]) + (f[1] + f[3]);
}

/* Four of them at once, in the same order: y[0] .. y[3]. */
INLINE void v_join_four(float *y, const V a[VN], const V b[VN], const V c[VN], const V d[VN])
{
#if defined(__AVX512F__)
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4((__m512)a[0], (__m512)b[0], 0x44),
                              _mm512_shuffle_f32x4((__m512)a[0], (__m512)b[0], 0xEE));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4((__m512)c[0], (__m512)d[0], 0x44),
                              _mm512_shuffle_f32x4((__m512)c[0], (__m512)d[0], 0xEE));
    __m512 f = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
    f = _mm512_add_ps(f, _mm512_permute_ps(f, 0x4E));
    f = _mm512_add_ps(f, _mm512_permute_ps(f, 0xB1));
    _mm_storeu_ps(y, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, f)));
#else
    y[0] = v_join(a), y[1] = v_join(b), y[2] = v_join(c), y[3] = v_join(d);
#endif
}

/* e^x within 1 ulp, 0 below -104, infinite above 88.8; x = n ln 2 + r, a polynomial in r, and 2^n in two steps so that
 * results below the normal range round once more instead of being lost. */
INLINE V v_exp(V x)
{
    const V magic = v_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */

    x = v_if(x < v_set(-104.0f), v_set(-104.0f), x);
    x = v_if(x > v_set(89.0f), v_set(89.0f), x);
    V shifted = v_fma(x, v_set(1.44269504f), magic);
    V n = shifted - magic;
    VI whole = (VI)shifted - (VI)magic;
    V r = v_fma(n, v_set(-0.693145752f), x); /* the upper bits of ln 2, so that n times it is exact */
    r = v_fma(n, v_set(-1.42860682e-6f), r);
    V p = v_fma(v_set(1.989198135e-04f), r, v_set(1.393454193e-03f));
    p = v_fma(p, r, v_set(8.333310024e-03f));
    p = v_fma(p, r, v_set(4.166645681e-02f));
    p = v_fma(p, r, v_set(1.666666668e-01f));
    p = v_fma(p, r, v_set(5.000000000e-01f));
    p = v_fma(p * r, r, r) + v_set(1.0f);
    VI half = whole >> 1;
    V s1 = (V)((half + 127) << 23), s2 = (V)((whole - half + 127) << 23);
    return p * s1 * s2;
}

/* erf within 2.5 ulp below 1, as x P(x^2), and 1.2 ulp above, as 1 - e^-Q(x); 1 from 3.95 on. */
INLINE V v_erf(V x)
{
    V a = v_abs(x), z = x * x;
    V s = v_fma(v_set(7.875875050e-05f), z, v_set(-8.016864283e-04f));

    s = v_fma(s, z, v_set(5.189087423e-03f));
    s = v_fma(s, z, v_set(-2.685421201e-02f));
    s = v_fma(s, z, v_set(1.128359472e-01f));
    s = v_fma(s, z, v_set(-3.761262667e-01f));
    s = v_fma(s, z, v_set(1.128379166e+00f));
    V c = v_if(a > v_set(3.95f), v_set(3.95f), a);
    V q = v_fma(v_set(-1.661370006e-06f), c, v_set(4.651445132e-05f));
    q = v_fma(q, c, v_set(-6.004584355e-04f));
    q = v_fma(q, c, v_set(4.775768116e-03f));
    q = v_fma(q, c, v_set(-2.646432766e-02f));
    q = v_fma(q, c, v_set(1.101511289e-01f));
    q = v_fma(q, c, v_set(6.317559743e-01f));
    q = v_fma(q, c, v_set(1.130271224e+00f));
    q = v_fma(q, c, v_set(-3.286465816e-04f));
    return v_if(a < v_set(1.0f), s * x, v_sign(v_set(1.0f) - v_exp(-q), x));
}

INLINE V v_sigmoid(V x)
{
    return v_set(1.0f) / (v_set(1.0f) + v_exp(-x));
}

/* Within 1.4 ulp. x + x^3 P(x^2) below 0.6, where the difference of exponentials would cancel. */
INLINE V v_tanh(V x)
{
    V a = v_abs(x), z = x * x;
    V s = v_fma(v_set(2.269501633e-03f), z, v_set(-8.323186994e-03f));

    s = v_fma(s, z, v_set(2.176250288e-02f));
    s = v_fma(s, z, v_set(-5.395846162e-02f));
    s = v_fma(s, z, v_set(1.333330015e-01f));
    s = v_fma(s, z, v_set(-3.333333315e-01f));
    s = v_fma(s * z, x, x);
    V far = v_set(1.0f) - v_set(2.0f) / (v_exp(a + a) + v_set(1.0f));
    return v_if(a < v_set(0.6f), s, v_sign(far, x));
}

INLINE V v_act(V x, es_act act)
{
    switch (act) {
    case ES_ACT_NONE: return x;
    case ES_ACT_GELU: return v_set(0.5f) * x * (v_set(1.0f) + v_erf(x * v_set(0.70710678f)));
    case ES_ACT_RELU: return v_if(x < v_set(0.0f), v_set(0.0f), x);
    case ES_ACT_LEAKY: return v_if(x < v_set(0.0f), x * v_set(0.01f), x);
    case ES_ACT_TANH: return v_tanh(x);
    case ES_ACT_SIGMOID: return v_sigmoid(x);
    case ES_ACT_SILU: return x * v_sigmoid(x);
    }
    return x;
}

#endif
