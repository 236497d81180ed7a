/*
 * number.h - half and brain floats to f32 and back, by their bits.
 *
 * Widening is exact, subnormal numbers included; narrowing rounds to the nearest, ties to even, so that a value which
 * came from an f16 or bf16 file goes back as the very same bits.
 */
#ifndef ES_NUMBER_H
#define ES_NUMBER_H

#include <stdint.h>
#include <string.h>

static inline float es_number_float(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t es_number_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float es_number_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;

    if (rest >= 0x7c00u) return es_number_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x400u) return es_number_float(sign | ((rest << 13) + 0x38000000u));
    /* Subnormal: the fraction counts units of 2^-24, and every such product is exact in f32. */
    return sign ? -((float)rest * 0x1p-24f) : (float)rest * 0x1p-24f;
}

static inline float es_number_from_bf16(uint16_t h)
{
    return es_number_float((uint32_t)h << 16);
}

static inline uint16_t es_number_to_f16(float f)
{
    uint32_t u = es_number_bits(f), sign = u >> 16 & 0x8000u;

    u &= 0x7fffffffu;
    if (u >= 0x47800000u) return (uint16_t)(sign | (u > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (u < 0x38800000u) {
        /* Below 2^-14: one unit in the last place of 0.5 is 2^-24, so the sum rounds where the half float does. */
        float a = es_number_float(u) + 0.5f;
        return (uint16_t)(sign | (es_number_bits(a) - 0x3f000000u));
    }
    u += 0xfffu + (u >> 13 & 1u);
    return (uint16_t)(sign | (u - 0x38000000u) >> 13);
}

static inline uint16_t es_number_to_bf16(float f)
{
    uint32_t u = es_number_bits(f);

    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    u += 0x7fffu + (u >> 16 & 1u);
    return (uint16_t)(u >> 16);
}

#endif
