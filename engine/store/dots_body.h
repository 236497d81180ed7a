/*
 * dots_body.h - the loop of dots.h, for the instruction set that the including file is compiled for.
 *
 * Memory is the limit, and how fast it comes depends on how it is asked. With AVX-512 one row after the other leaves a
 * third of it unused: so few instructions stand between two misses that they outrun what the processor fetches ahead.
 * Two rows at once, each half of the rows from the other, are two streams that it follows at full speed, as fast as
 * reading alone (AMD Zen 4; two neighbouring rows, in the same few pages, run at less than half of that). The narrower
 * registers are slower to ask and too few for two rows; they reach the same with one.
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
enum {
    N = ES_DOTS_LANES / W,    /* registers to a row */
    ABREAST = W == 16 ? 2 : 1 /* rows at a time */
};

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

/* The sum of the lanes, by halves. */
INLINE float join(V s[N])
{
    if (N > 8)
        UNROLL (i, 8) s[i] += s[(i + 8) % N];
    if (N > 4)
        UNROLL (i, 4) s[i] += s[(i + 4) % N];
    UNROLL (i, 2) s[i] += s[i + 2];
    s[0] += s[1];
#if defined(__AVX2__)
#if defined(__AVX512F__)
    __m512 all = (__m512)s[0];
    __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(all), _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(all), 1)));
#else
    __m256 eight = (__m256)s[0];
#endif
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
#else
    return (s[0][0] + s[0][2]) + (s[0][1] + s[0][3]);
#endif
}

/* scores[0], and where there are two rows scores[apart]: of the row at p, and of the one that lies `apart` rows behind
 * it. */
INLINE void score(float *scores, const uint8_t *p, int rows, size_t apart, size_t width, const float *query)
{
    size_t whole = width / ES_DOTS_LANES * ES_DOTS_LANES, step = 2 * width * apart;
    V sum[ABREAST][N];

    UNROLL (r, rows)
        UNROLL (i, N) sum[r][i] = (V){0};
    for (size_t k = 0; k < whole; k += ES_DOTS_LANES)
        UNROLL (i, N) {
            V y = load(query + k + (size_t)i * W);
            UNROLL (r, rows) sum[r][i] += widen(p + (size_t)r * step + 2 * (k + (size_t)i * W)) * y;
        }
    UNROLL (r, rows) {
        if (whole < width) { /* what is left, filled up with zeros */
            uint8_t rest[2 * ES_DOTS_LANES] = {0};
            memcpy(rest, p + (size_t)r * step + 2 * whole, 2 * (width - whole));
            UNROLL (i, N) sum[r][i] += widen(rest + 2 * i * W) * load(query + whole + (size_t)i * W);
        }
        scores[(size_t)r * apart] = join(sum[r]);
    }
}

static void dots(float *scores, const void *rows, size_t n, size_t width, const float *query)
{
    const uint8_t *p = rows;
    size_t apart = n / ABREAST, done = 0;

    if (apart > 1)
        for (; done < apart; done++) score(scores + done, p + 2 * width * done, ABREAST, apart, width, query);
    for (done *= ABREAST; done < n; done++) score(scores + done, p + 2 * width * done, 1, 0, width, query);
}
