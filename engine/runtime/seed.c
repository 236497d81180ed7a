/*
 * seed.c - noise where weights would be.
 *
 * A model planned from sizes alone can run, and be measured, with any weights that keep its numbers in range: matrices
 * of variance 1 / I, so that a product has the size of its input; gains about one; all else small. The same seed gives
 * the same weights on every machine and device. A tensor is one piece of noise again and again, since a billion draws
 * would take longer than what is measured; the piece's length is a prime, so that rows differ.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/layout.h"

enum { PIECE = 65521 };

static uint16_t half_of(float x)
{
    uint32_t b, magnitude;

    memcpy(&b, &x, 4);
    magnitude = b & 0x7fffffffu;
    if (magnitude < 0x38800000u) return (uint16_t)(b >> 16 & 0x8000u); /* below the smallest normal: zero */
    return (uint16_t)((b >> 16 & 0x8000u) | (magnitude - 0x38000000u + 0x1000u) >> 13);
}

/* Twelve uniform numbers make a normal one, near enough. */
static void draw(float *piece, uint64_t seed)
{
    uint64_t s = seed * 2862933555777941757u + 3037000493u;

    for (int i = 0; i < PIECE; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(s >> 40) * 0x1p-24f;
        }
        piece[i] = sum - 6;
    }
}

/* mean + scale * noise as n values of type t. from: where in the piece a tensor begins, so that no two are alike. */
static void fill(void *to, es_dtype t, size_t n, const float *piece, size_t from, float mean, float scale)
{
    for (size_t i = 0; i < n; i++) {
        float x = mean + scale * piece[(from + i) % PIECE];
        if (t == ES_F32) {
            memcpy((char *)to + 4 * i, &x, 4);
        } else {
            uint32_t b;
            memcpy(&b, &x, 4);
            uint16_t h = t == ES_F16 ? half_of(x) : (uint16_t)(b >> 16);
            memcpy((char *)to + 2 * i, &h, 2);
        }
        if (i + 1 == PIECE) { /* the rest repeats what is there */
            size_t e = es_dtype_bytes(t), done = PIECE;
            for (; done < n; done += done < n - done ? done : n - done)
                memcpy((char *)to + done * e, to, (done < n - done ? done : n - done) * e);
            return;
        }
    }
}

static bool is_gain(const char *name)
{
    size_t n = strlen(name);

    return n >= 7 && !strcmp(name + n - 7, ".weight");
}

int es_arena_seed(es_arena *a, uint64_t seed, es_err *err)
{
    const es_plan *p = a->plan;
    float *piece = malloc(PIECE * sizeof *piece);
    es_fault fault = {0};
    size_t most = 1;
    void *host;

    for (int i = 0; i < p->n_models; i++)
        for (int j = 0; j < p->models[i]->n_items; j++) {
            const es_item *item = &p->models[i]->items[j];
            size_t values = item->kind == ES_ITEM_MADE ? 0 : (size_t)item->O * (size_t)item->I;
            size_t need = item->kind == ES_ITEM_MADE ? item->bytes : values * es_dtype_bytes(item->dtype);
            if (need > most) most = need;
        }
    host = malloc(most);
    if (!host || !piece) {
        free(host);
        free(piece);
        return es_fail(err, ES_ENOMEM, "no memory for %zu bytes of noise", most);
    }
    draw(piece, seed);
    for (int i = 0; i < p->n_models; i++)
        for (int j = 0; j < p->models[i]->n_items; j++) {
            const es_item *item = &p->models[i]->items[j];
            void *to = a->base + item->offset;
            size_t from = ((size_t)i * 4099 + (size_t)j * 1009) % PIECE, n = (size_t)item->O * (size_t)item->I;
            if (item->kind == ES_ITEM_MATRIX) {
                es_matrix m = {.p = to, .dtype = item->dtype, .O = item->O, .I = item->I};
                float size = 1;
                for (int k = item->I; k > 1; k /= 4) size /= 2; /* 1 / sqrt(I), as a power of two */
                fill(host, item->dtype, n, piece, from, 0, size);
                a->ops->matrix_load(a->device, to, m, host, item->dtype);
            } else if (item->kind == ES_ITEM_VECTOR) {
                fill(host, ES_F32, n, piece, from, is_gain(item->name) ? 1 : 0, 0.1f);
                es_device_put(a->device, to, host, item->bytes);
            } else {
                item->fill(host, item->user);
                es_device_put(a->device, to, host, item->bytes);
            }
        }
    free(host);
    free(piece);
    if (es_device_sync(a->device, &fault)) return es_fail(err, ES_EDEVICE, "seeding weights: %s", fault.text);
    return ES_OK;
}
