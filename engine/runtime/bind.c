/*
 * bind.c - a model's weights: which tensors it wants, where they will lie, and how they get there.
 *
 * A bind function runs once, when the model enters the plan. Each call notes one item: the name in the pack, the shape
 * the architecture demands, and the field of the model that wants the address. The pack is checked there and then, so a
 * pack that does not fit is refused before any memory is taken. What the pack holds and the model never named is
 * refused too: it means that the pack is of another architecture or that a layer would be silently left out. Tables
 * that belong to the tokenizer ("tokenizer.", and bytes in general) are read by other rooms and are exempt.
 *
 * Loading copies: a matrix into the backend's own layout, a vector widened to f32, a made table as it is computed. The
 * pages of the pack are given back every few tensors, so a mapped file is never held beside its copy.
 */
#define _POSIX_C_SOURCE 200809L
#include "runtime/layout.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 512, MAPPED_MOST = 16 << 20 /* bytes of a pack held beside their copies while loading */ };

static es_item *new_item(es_bind *b, es_item_kind kind, const char *name)
{
    es_model *m = b->model;
    void *items = m->items;
    char *copy = strdup(name);

    if (!copy || !es_plan_grow(m->plan, &items, &m->room_items, m->n_items, sizeof *m->items)) {
        free(copy);
        if (b->rc == ES_OK) b->rc = es_fail(b->err, ES_ENOMEM, "plan: no memory to note the tensor %s", name);
        return NULL;
    }
    m->items = items;
    m->items[m->n_items] = (es_item){.kind = kind, .name = copy};
    return &m->items[m->n_items++];
}

static const char *file_of(const es_bind *b)
{
    return es_weights_path(b->model->weights);
}

static void shape_text(char *out, size_t n, const es_weight *t)
{
    size_t at = 0;

    out[0] = 0;
    for (int i = 0; i < t->n_dims; i++) {
        int wrote = snprintf(out + at, n - at, "%s%lld", i ? ", " : "", (long long)t->dim[i]);
        if (wrote < 0 || (size_t)wrote >= n - at) return;
        at += (size_t)wrote;
    }
}

/* The stored tensor, or NULL with b->rc set. In a preset NULL without an error. */
static const es_weight *look_up(es_bind *b, const char *name)
{
    const es_weights *w = b->model->weights;
    const es_weight *t;

    if (!w) return NULL;
    t = es_weights_find(w, name);
    if (!t) {
        if (b->rc == ES_OK)
            b->rc = es_fail(b->err, ES_EMODEL, "%s: the model needs a tensor %s, which is not among the %d stored",
                            file_of(b), name, es_weights_count(w));
        return NULL;
    }
    b->used[t - es_weights_at(w, 0)] = true;
    if (t->dtype != ES_F32 && t->dtype != ES_F16 && t->dtype != ES_BF16) {
        if (b->rc == ES_OK)
            b->rc = es_fail(b->err, ES_EMODEL, "%s: tensor %s is stored as %s, where F32, F16 or BF16 is needed",
                            file_of(b), name, t->type);
        return NULL;
    }
    return t;
}

/* force: the dtype on the device; ES_N_DTYPES: what the pack stores. */
static void bind_matrix(es_bind *b, es_matrix *out, int O, int I, es_dtype force, const char *name)
{
    const es_weight *t = look_up(b, name);
    es_dtype dtype = force != ES_N_DTYPES ? force : t ? t->dtype : b->model->preset;
    char shape[256];
    es_item *item;

    assert(O > 0 && I > 0);
    *out = (es_matrix){.dtype = dtype, .O = O, .I = I};
    if (t && (t->n_dims != 2 || t->dim[0] != O || t->dim[1] != I)) {
        shape_text(shape, sizeof shape, t);
        if (b->rc == ES_OK)
            b->rc = es_fail(b->err, ES_EMODEL, "%s: tensor %s has shape [%s], where [%d, %d] is needed", file_of(b),
                            name, shape, O, I);
        return;
    }
    item = new_item(b, ES_ITEM_MATRIX, name);
    if (!item) return;
    item->matrix = out;
    item->from = t;
    item->dtype = dtype;
    item->O = O;
    item->I = I;
    item->bytes = b->model->plan->traits->matrix_bytes(dtype, O, I);
}

#define FORMAT_NAME(out, format)                                                                                       \
    do {                                                                                                               \
        va_list ap_;                                                                                                   \
        va_start(ap_, format);                                                                                         \
        int wrote_ = vsnprintf(out, sizeof out, format, ap_);                                                          \
        va_end(ap_);                                                                                                   \
        assert(wrote_ > 0 && (size_t)wrote_ < sizeof out);                                                             \
        (void)wrote_;                                                                                                  \
    } while (0)

void es_bind_matrix(es_bind *b, es_matrix *m, int O, int I, const char *format, ...)
{
    char name[NAME_ROOM];

    FORMAT_NAME(name, format);
    bind_matrix(b, m, O, I, ES_N_DTYPES, name);
}

void es_bind_matrix_f32(es_bind *b, es_matrix *m, int O, int I, const char *format, ...)
{
    char name[NAME_ROOM];

    FORMAT_NAME(name, format);
    bind_matrix(b, m, O, I, ES_F32, name);
}

void es_bind_matrix_as(es_bind *b, es_matrix *m, es_dtype dtype, int O, int I, const char *format, ...)
{
    char name[NAME_ROOM];

    FORMAT_NAME(name, format);
    bind_matrix(b, m, O, I, dtype, name);
}

void es_bind_vector(es_bind *b, const float **v, int n, const char *format, ...)
{
    char name[NAME_ROOM], shape[256];
    const es_weight *t;
    es_item *item;

    FORMAT_NAME(name, format);
    assert(n > 0);
    *v = NULL;
    t = look_up(b, name);
    if (t && t->bytes / es_dtype_bytes(t->dtype) != (size_t)n) {
        shape_text(shape, sizeof shape, t);
        if (b->rc == ES_OK)
            b->rc = es_fail(b->err, ES_EMODEL, "%s: tensor %s has shape [%s], where %d values are needed", file_of(b),
                            name, shape, n);
        return;
    }
    item = new_item(b, ES_ITEM_VECTOR, name);
    if (!item) return;
    item->vector = v;
    item->from = t;
    item->dtype = ES_F32;
    item->O = n;
    item->I = 1;
    item->bytes = (size_t)n * sizeof(float);
}

bool es_bind_has(const es_bind *b, const char *name)
{
    return b->model->weights && es_weights_find(b->model->weights, name);
}

void es_bind_made(es_bind *b, const void **p, size_t bytes, void (*fill)(void *host, void *user), void *user,
                  const char *name)
{
    es_item *item = new_item(b, ES_ITEM_MADE, name);

    *p = NULL;
    if (!item) return;
    item->made = p;
    item->fill = fill;
    item->user = user;
    item->bytes = bytes;
}

int es_bind_model(es_model *m, es_bind_fn bind, void *user, es_err *err)
{
    es_bind b = {.model = m, .err = err};
    int n = m->weights ? es_weights_count(m->weights) : 0, surplus = 0;
    const char *first = NULL;

    b.used = calloc((size_t)n + 1, sizeof *b.used);
    if (!b.used) return es_fail(err, ES_ENOMEM, "plan: no memory to bind %d tensors", n);
    bind(&b, user);
    for (int i = 0; i < n; i++) {
        const es_weight *t = es_weights_at(m->weights, i);
        if (b.used[i] || t->dtype == ES_U8 || !strncmp(t->name, "tokenizer.", 10)) continue;
        if (!first) first = t->name;
        surplus++;
    }
    if (b.rc == ES_OK && surplus)
        b.rc = es_fail(err, ES_EMODEL, "%s: %d of its %d tensors are not part of the model, the first is %s",
                       es_weights_path(m->weights), surplus, n, first);
    free(b.used);
    return b.rc;
}

/* ---- loading ---- */

static float bits_f32(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Exact: every f16 is an f32. A subnormal is its fraction times 2^-24. */
static float widen_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31u, fraction = h & 0x3FFu;
    float f;

    if (exponent == 31) return bits_f32(sign | 0x7F800000u | fraction << 13);
    if (exponent != 0) return bits_f32(sign | (exponent + 112) << 23 | fraction << 13);
    f = (float)fraction * 0x1p-24f;
    return sign ? -f : f;
}

/* The bytes of a pack may start anywhere. */
static void widen(float *out, const es_weight *t, size_t n)
{
    const unsigned char *p = t->p;

    if (t->dtype == ES_F32) {
        memcpy(out, p, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, 2);
        out[i] = t->dtype == ES_F16 ? widen_f16(h) : bits_f32((uint32_t)h << 16);
    }
}

/* A matrix in pieces of some MB, whole panels of outputs each: of a mapped pack no more than one is resident at a time
 * beside what it becomes. */
static void load_matrix(es_arena *a, es_matrix m, const char *from, es_dtype t, const es_weights *w)
{
    enum { PIECE = 4 << 20, PANEL = 64 };
    const es_traits *traits = es_backend_traits(a->plan->backend);
    size_t row = (size_t)m.I * es_dtype_bytes(t);
    int rows = (int)(PIECE / row) / PANEL * PANEL;

    if (rows < PANEL) rows = PANEL;
    for (int first = 0; first < m.O; first += rows) {
        es_matrix some = m;
        some.O = m.O - first < rows ? m.O - first : rows;
        some.p = (char *)(uintptr_t)m.p + traits->matrix_bytes(m.dtype, first, m.I);
        a->ops->matrix_load(a->device, (void *)(uintptr_t)some.p, some, from + (size_t)first * row, t);
        if (m.O > rows) es_weights_forget_pages(w);
    }
}

static void load_item(es_arena *a, const es_item *item, void *host, const es_weights *w)
{
    void *to = a->base + item->offset;

    switch (item->kind) {
    case ES_ITEM_MATRIX: {
        es_matrix m = {.p = to, .dtype = item->dtype, .O = item->O, .I = item->I};
        const void *from = item->from->p;
        if ((uintptr_t)from % es_dtype_bytes(item->from->dtype)) from = memcpy(host, from, item->from->bytes);
        load_matrix(a, m, from, item->from->dtype, w);
        break;
    }
    case ES_ITEM_VECTOR:
        widen(host, item->from, (size_t)item->O);
        es_device_put(a->device, to, host, item->bytes);
        break;
    case ES_ITEM_MADE:
        item->fill(host, item->user);
        es_device_put(a->device, to, host, item->bytes);
        break;
    }
}

int es_bind_load(es_arena *a, es_model *m, es_err *err)
{
    size_t most = 1, mapped = 0;
    void *host;

    for (int i = 0; i < m->n_items; i++) {
        const es_item *item = &m->items[i];
        size_t need = item->bytes;
        if (item->kind == ES_ITEM_MATRIX) {
            uintptr_t at = (uintptr_t)(item->from ? item->from->p : NULL);
            need = item->from && at % es_dtype_bytes(item->from->dtype) ? item->from->bytes : 0;
        }
        if (item->kind != ES_ITEM_MADE && !item->from)
            return es_fail(err, ES_EMODEL, "%s was planned from sizes alone and has no weights to load", m->name);
        if (need > most) most = need;
    }
    host = malloc(most);
    if (!host) return es_fail(err, ES_ENOMEM, "%s: no memory for %zu bytes while loading", m->name, most);
    for (int i = 0; i < m->n_items; i++) {
        load_item(a, &m->items[i], host, m->weights);
        mapped += m->items[i].from ? m->items[i].from->bytes : 0;
        if (mapped < MAPPED_MOST) continue;
        es_weights_forget_pages(m->weights);
        mapped = 0;
    }
    free(host);
    return ES_OK;
}
