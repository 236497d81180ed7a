/*
 * blocks.c - ggml's quantised blocks, decoded as written there: products in f32, in the stated order, to the same bits.
 *
 * A block of 32 has one half-precision scale d, some a minimum m too, and 4, 5 or 8 bits a value. A block of 256 has
 * sub-blocks with scales of their own, quantised again: 8 of 32 values with 6-bit scale and minimum (Q4_K, Q5_K), or 16
 * of 16 with 8-bit scales (Q6_K). The structs are not aligned, so everything is read by bytes.
 */
#include "blocks.h"

#include "number.h"

static float half(const unsigned char *p)
{
    return es_number_from_f16((uint16_t)(p[0] | p[1] << 8));
}

/* The two nibbles of byte j are values j and j + 16; bit j of high is the fifth bit of value j. */
static void nibbles(const unsigned char *q, uint32_t high, float d, int less, float m, bool has_m, float *out)
{
    for (int j = 0; j < 32; j++) {
        int v = j < 16 ? q[j] & 15 : q[j - 16] >> 4;
        v = (int)((uint32_t)v | (high >> j & 1u) << 4) - less;
        out[j] = has_m ? d * (float)v + m : d * (float)v;
    }
}

static uint32_t word(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Scale and minimum of sub-block b, 6 bits each, packed in 12 bytes. */
static void six_bits(const unsigned char *s, int b, int *scale, int *least)
{
    if (b < 4) {
        *scale = s[b] & 63;
        *least = s[b + 4] & 63;
    } else {
        *scale = (s[b + 4] & 15) | s[b - 4] >> 6 << 4;
        *least = s[b + 4] >> 4 | s[b] >> 6 << 4;
    }
}

/* Q4_K, and with high bits Q5_K: pairs of sub-blocks share 32 bytes, low nibbles first. */
static void k45(const unsigned char *p, bool five, float *out)
{
    const unsigned char *s = p + 4, *high = p + 16, *q = p + (five ? 48 : 16);
    float d = half(p), dmin = half(p + 2);

    for (int b = 0; b < 8; b++) {
        int scale, least;
        six_bits(s, b, &scale, &least);
        float ds = d * (float)scale, dm = dmin * (float)least;
        for (int l = 0; l < 32; l++) {
            int v = b & 1 ? q[b / 2 * 32 + l] >> 4 : q[b / 2 * 32 + l] & 15;
            if (five && high[l] >> b & 1) v += 16;
            out[b * 32 + l] = ds * (float)v - dm;
        }
    }
}

static void k6(const unsigned char *p, float *out)
{
    float d = half(p + 208);

    for (int h = 0; h < 2; h++) {
        const unsigned char *low = p + 64 * h, *high = p + 128 + 32 * h, *scale = p + 192 + 8 * h;
        for (int e = 0; e < 128; e++) {
            int l = e % 32, quarter = e / 32;
            int nibble = quarter < 2 ? low[l + 32 * (quarter & 1)] & 15 : low[l + 32 * (quarter & 1)] >> 4;
            int v = nibble | (high[l] >> (2 * quarter) & 3) << 4;
            out[128 * h + e] = d * (float)(int8_t)scale[e / 16] * (float)(v - 32);
        }
    }
}

void es_blocks_decode(es_num num, const unsigned char *p, float *out)
{
    switch (num) {
    case ES_NUM_Q4_0: nibbles(p + 2, 0, half(p), 8, 0, false, out); break;
    case ES_NUM_Q4_1: nibbles(p + 4, 0, half(p), 0, half(p + 2), true, out); break;
    case ES_NUM_Q5_0: nibbles(p + 6, word(p + 2), half(p), 16, 0, false, out); break;
    case ES_NUM_Q5_1: nibbles(p + 8, word(p + 4), half(p), 0, half(p + 2), true, out); break;
    case ES_NUM_Q8_0:
        for (int j = 0; j < 32; j++) out[j] = half(p) * (float)(int8_t)p[2 + j];
        break;
    case ES_NUM_Q4_K: k45(p, false, out); break;
    case ES_NUM_Q5_K: k45(p, true, out); break;
    case ES_NUM_Q6_K: k6(p, out); break;
    default: break;
    }
}
