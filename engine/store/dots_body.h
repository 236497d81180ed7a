/*
 * dots_body.h - the loop of dots.h, for the instruction set that the including file is compiled for.
 *
 * One row after the other: a row's sixty-four lanes are enough additions at a time to hide how long each takes, and one
 * stream of bytes is what memory gives fastest. Four rows side by side, sixteen lanes each, ran at half the speed.
 */
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "store/dots.h"
#include "store/half.h"

#if defined(__AVX512F__)
enum { W = 16 };
#elif defined(__AVX2__)
enum { W = 8 };
#else
enum { W = 4 };
#endif
enum { N = ES_DOTS_LANES / W /* registers to a row */ };

typedef float V __attribute__((vector_size(W * 4)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL(i, n) _Pragma("clang loop unroll(full)") for (int i = 0; i < (n); i++)
#else
#define UNROLL(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#endif

/* W halves as floats. */
INLINE V widen(const uint8_t *p)
{
#if defined(__AVX512F__)
    __m256i raw;
    memcpy(&raw, p, sizeof raw);
    return (V)_mm512_cvtph_ps(raw);
#elif defined(__AVX2__)
    __m128i raw;
    memcpy(&raw, p, sizeof raw);
    return (V)_mm256_cvtph_ps(raw);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    uint16x4_t raw;
    memcpy(&raw, p, sizeof raw);
    return (V)vcvt_f32_f16(vreinterpret_f16_u16(raw));
#else
    uint16_t h[W];
    memcpy(h, p, sizeof h);
    return (V){es_half_value(h[0]), es_half_value(h[1]), es_half_value(h[2]), es_half_value(h[3])};
#endif
}

INLINE V load(const float *p)
{
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE float join(const V s[N])
{
    float l[ES_DOTS_LANES];

    memcpy(l, s, sizeof l);
    for (int half = ES_DOTS_LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) l[i] += l[i + half];
    return l[0];
}

static void dots(float *scores, const void *rows, size_t n, size_t width, const float *query)
{
    const uint8_t *p = rows;
    size_t whole = width / ES_DOTS_LANES * ES_DOTS_LANES;

    for (size_t r = 0; r < n; r++, p += 2 * width) {
        V sum[N];
        UNROLL (i, N) sum[i] = (V){0};
        for (size_t k = 0; k < whole; k += ES_DOTS_LANES)
            UNROLL (i, N) sum[i] += widen(p + 2 * (k + (size_t)i * W)) * load(query + k + (size_t)i * W);
        if (whole < width) { /* what is left, filled up with zeros */
            uint8_t rest[2 * ES_DOTS_LANES] = {0};
            memcpy(rest, p + 2 * whole, 2 * (width - whole));
            UNROLL (i, N) sum[i] += widen(rest + 2 * i * W) * load(query + whole + (size_t)i * W);
        }
        scores[r] = join(sum);
    }
}
