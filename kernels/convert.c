/*
 * convert.c - halves and brain floats in software, exact to the bit, and the ops that move rows.
 *
 * To f32 is exact in both formats, subnormals included; a signalling NaN becomes quiet, as the instructions do it. To a
 * half rounds to nearest even and saturates at the finite range, so that an overflow stays a number; to a brain float
 * rounds to nearest even, and keeps infinities, since its range is that of f32.
 */
#include "kernels/lanes.h"

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float es_half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3FFu;

    if (e == 31) return float_of(sign | 0x7F800000u | (m ? 0x400000u : 0) | m << 13);
    if (e) return float_of(sign | (e + 112) << 23 | m << 13);
    float f = (float)m * 0x1p-24f; /* exact: the subnormals, and zero */
    return float_of(sign | bits_of(f));
}

uint16_t es_float_to_half(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, a = u & 0x7FFFFFFFu;

    if (a > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (a >> 13 & 0x1FFu));
    if (a >= 0x477FE000u) return (uint16_t)(sign | 0x7BFFu); /* 65504 and all above it */
    if (a < 0x38800000u) {                                   /* below 2^-14: the adder rounds to a multiple of 2^-24 */
        float r = float_of(a) + 0.5f;
        return (uint16_t)(sign | (bits_of(r) - 0x3F000000u));
    }
    a += 0xFFFu + (a >> 13 & 1u);
    return (uint16_t)(sign | ((a >> 13) - (112u << 10)));
}

float es_bfloat_to_float(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t es_float_to_bfloat(float f)
{
    uint32_t u = bits_of(f);

    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
}

void es_narrow(void *y, es_dtype t, const float *x, size_t n)
{
    uint16_t *h = y;

    if (t == ES_F32) memmove(y, x, n * sizeof *x);
    else if (t == ES_F16)
        for (size_t i = 0; i < n; i++) h[i] = es_float_to_half(x[i]);
    else
        for (size_t i = 0; i < n; i++) h[i] = es_float_to_bfloat(x[i]);
}

const float *es_read(const es_lanes *l, const void *x, es_dtype t, size_t at, size_t n, float *room)
{
    if (t == ES_F32) return (const float *)x + at;
    l->widen(room, (const uint16_t *)x + at, t, n);
    return room;
}

/* ---- ops ---- */

typedef struct cast_call {
    const es_cpu *d;
    void *y;
    const void *x;
    es_dtype yt, xt;
    size_t n;
} cast_call;

enum { CAST_PIECE = 4096 };

static void cast_range(void *arg, int first, int last, int thread)
{
    const cast_call *c = arg;
    float *room = es_cpu_scratch(c->d, thread);

    for (int p = first; p < last; p++) {
        size_t at = (size_t)p * CAST_PIECE, n = c->n - at < CAST_PIECE ? c->n - at : CAST_PIECE;
        const float *x = es_read(c->d->lanes, c->x, c->xt, at, n, room);
        es_narrow((char *)c->y + at * es_dtype_bytes(c->yt), c->yt, x, n);
    }
}

void es_cpu_cast(es_device *dev, void *y, es_dtype yt, const void *x, es_dtype xt, size_t n)
{
    es_cpu *d = es_cpu_of(dev);
    cast_call c = {.d = d, .y = y, .x = x, .yt = yt, .xt = xt, .n = n};

    es_cpu_for(d, (int)((n + CAST_PIECE - 1) / CAST_PIECE), 4, cast_range, &c);
}

void es_cpu_gather(es_device *d, es_dtype t, void *y, const void *x, const int32_t *idx, int G, int C)
{
    size_t row = (size_t)C * es_dtype_bytes(t);

    (void)d;
    for (int g = 0; g < G; g++) {
        char *to = (char *)y + (size_t)g * row;
        if (idx[g] < 0) memset(to, 0, row);
        else memcpy(to, (const char *)x + (size_t)idx[g] * row, row);
    }
}

/* The row of one output in the panel layout: every sixteenth value of its panel. */
void es_cpu_embed(es_device *dev, es_dtype t, void *y, es_matrix E, const float *P, const int32_t *id,
                  const int32_t *pos, const int32_t *rows, int R)
{
    const es_cpu *d = es_cpu_of(dev);
    int live = es_live(rows, R);
    size_t C = (size_t)E.I;
    float *room = es_cpu_scratch(d, 0);

    for (int r = 0; r < live; r++) {
        void *to = (char *)y + (size_t)r * C * es_dtype_bytes(t);
        if (id[r] < 0) {
            memset(to, 0, C * es_dtype_bytes(t));
            continue;
        }
        size_t at = (size_t)(id[r] / ES_LANES) * C * ES_LANES + (size_t)(id[r] % ES_LANES);
        const uint16_t *h = E.p;
        const float *f = E.p;
        for (size_t i = 0; i < C; i++) {
            size_t j = at + i * ES_LANES;
            room[i] = E.dtype == ES_F32 ? f[j] : E.dtype == ES_F16 ? es_half_to_float(h[j]) : es_bfloat_to_float(h[j]);
            if (P) room[i] += P[(size_t)pos[r] * C + i];
        }
        es_narrow(to, t, room, C);
    }
}

typedef struct store_call {
    char *K, *V_;
    const char *k, *v;
    size_t ldk, ldv, head; /* bytes */
    const int32_t *slot, *pos;
    size_t T, H;
} store_call;

static void store_rows(void *arg, int first, int last, int thread)
{
    const store_call *c = arg;

    (void)thread;
    for (int r = first; r < last; r++) {
        if (c->slot[r] < 0) continue;
        for (size_t h = 0; h < c->H; h++) {
            size_t to = (((size_t)c->slot[r] * c->H + h) * c->T + (size_t)c->pos[r]) * c->head;
            memcpy(c->K + to, c->k + (size_t)r * c->ldk + h * c->head, c->head);
            memcpy(c->V_ + to, c->v + (size_t)r * c->ldv + h * c->head, c->head);
        }
    }
}

void es_cpu_kv_store(es_device *d, es_dtype t, void *K, void *V_, const void *k, int ldk, const void *v, int ldv,
                     const int32_t *slot, const int32_t *pos, const int32_t *rows, int R, int T, int H, int D)
{
    size_t e = es_dtype_bytes(t);
    store_call c = {.K = K,
                    .V_ = V_,
                    .k = k,
                    .v = v,
                    .ldk = (size_t)ldk * e,
                    .ldv = (size_t)ldv * e,
                    .head = (size_t)D * e,
                    .slot = slot,
                    .pos = pos,
                    .T = (size_t)T,
                    .H = (size_t)H};

    es_cpu_for(es_cpu_of(d), es_live(rows, R), 65536 / (H * D) + 1, store_rows, &c);
}
