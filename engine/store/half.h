/*
 * half.h - numbers in half precision, as the table of vectors keeps them.
 *
 * 11 bits of precision: the cosine of two unit vectors of 1536 numbers moves by about 1e-5.
 */
#ifndef ES_HALF_H
#define ES_HALF_H

#include <stdint.h>
#include <string.h>

/* To the nearest, ties to even; |f| must be below 65520. */
static inline uint16_t es_half_of(float f)
{
    uint32_t u, sign;

    memcpy(&u, &f, sizeof u);
    sign = u >> 16 & 0x8000u;
    u &= 0x7FFFFFFFu;
    if (u < 0x38800000u) { /* below 2^-14 a half is a multiple of 2^-24: so is this sum, and its addition rounds */
        float r;
        memcpy(&r, &u, sizeof r);
        r += 0.5f;
        memcpy(&u, &r, sizeof u);
        return (uint16_t)(sign | (u - 0x3F000000u));
    }
    u += 0xFFFu + (u >> 13 & 1u);
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

/* Exact. The exponent is moved by a multiplication with 2^112, which also makes subnormals normal. */
static inline float es_half_value(uint16_t h)
{
    uint32_t u = (uint32_t)(h & 0x7FFFu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    f *= 0x1p112f;
    memcpy(&u, &f, sizeof u);
    if ((h & 0x7C00u) == 0x7C00u) u |= 0x7F800000u; /* infinities and what is no number, should a file hold one */
    u |= sign;
    memcpy(&f, &u, sizeof f);
    return f;
}

#endif
