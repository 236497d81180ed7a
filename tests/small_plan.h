/*
 * small_plan.h - a model of two layers for the tests of planning and running, and packs of random weights for it, whole or with a
 * tensor that is missing, foreign or of another shape.
 */
#ifndef ES_TEST_SMALL_PLAN_H
#define ES_TEST_SMALL_PLAN_H

#include "runtime/arena.h"
#include "runtime/ops.h"
#include "runtime/plan.h"
#include "test.h"

enum { ROWS = 24, WIDE = 64, HEADS = 4, LAYERS = 2 };

typedef struct layer {
    const float *norm_g, *norm_b, *qkv_b, *out_b, *norm2_g, *norm2_b, *up_b, *down_b;
    es_matrix qkv, out, up, down;
} layer;

typedef struct small {
    layer layers[LAYERS];
    const void *table; /* made */
    es_tensor in, out, bounds, live;
    es_program *forward, *copy;
    int stray; /* the run does something else than the plan: 1 one op more, 2 another activation */
} small;

static inline void fill_table(void *host, void *user)
{
    (void)user;
    for (int i = 0; i < WIDE; i++) ((float *)host)[i] = (float)i / 7;
}

static inline void bind_small(es_bind *b, void *user)
{
    small *m = user;

    for (int i = 0; i < LAYERS; i++) {
        layer *l = &m->layers[i];
        es_bind_vector(b, &l->norm_g, WIDE, "l%d.norm.weight", i);
        es_bind_vector(b, &l->norm_b, WIDE, "l%d.norm.bias", i);
        es_bind_matrix(b, &l->qkv, 3 * WIDE, WIDE, "l%d.qkv.weight", i);
        es_bind_vector(b, &l->qkv_b, 3 * WIDE, "l%d.qkv.bias", i);
        es_bind_matrix(b, &l->out, WIDE, WIDE, "l%d.out.weight", i);
        es_bind_vector(b, &l->out_b, WIDE, "l%d.out.bias", i);
        es_bind_vector(b, &l->norm2_g, WIDE, "l%d.norm2.weight", i);
        es_bind_vector(b, &l->norm2_b, WIDE, "l%d.norm2.bias", i);
        es_bind_matrix_f32(b, &l->up, 4 * WIDE, WIDE, "l%d.up.weight", i);
        es_bind_vector(b, &l->up_b, 4 * WIDE, "l%d.up.bias", i);
        es_bind_matrix(b, &l->down, WIDE, 4 * WIDE, "l%d.down.weight", i);
        es_bind_vector(b, &l->down_b, WIDE, "l%d.down.bias", i);
    }
    es_bind_made(b, &m->table, WIDE * sizeof(float), fill_table, NULL, "table");
}

static inline void forward(es_run *r, void *user)
{
    small *m = user;

    es_run_rows(r, m->live);
    es_tensor x = es_cast(r, m->in, es_run_dtype(r));
    for (int i = 0; i < LAYERS; i++) {
        const layer *l = &m->layers[i];
        es_tensor n = es_layernorm(r, x, l->norm_g, l->norm_b, 1e-5f);
        es_tensor qkv = es_linear(r, n, l->qkv, l->qkv_b, ES_ACT_NONE);
        es_tensor a = es_attend(r, es_columns(qkv, 0, WIDE), es_columns(qkv, WIDE, WIDE),
                                es_columns(qkv, 2 * WIDE, WIDE), m->bounds, ROWS, HEADS, HEADS, ES_MASK_NONE);
        x = es_linear_add(r, x, a, l->out, l->out_b);
        n = es_layernorm(r, x, l->norm2_g, l->norm2_b, 1e-5f);
        es_tensor h = es_linear(r, n, l->up, l->up_b, m->stray == 2 ? ES_ACT_RELU : ES_ACT_GELU);
        if (m->stray == 1 && i == 1) h = es_linear(r, n, l->up, l->up_b, ES_ACT_RELU);
        x = es_linear_add(r, x, h, l->down, l->down_b);
    }
    es_cast_to(r, m->out, x);
}

/* A second program, so that scratch is used by others between two runs of the first. */
static inline void copy(es_run *r, void *user)
{
    small *m = user;
    es_tensor twice = es_new(r, ES_F32, 2, (const int[]){ROWS, WIDE});

    es_cast_to(r, twice, m->in);
    es_tensor half = es_cast(r, twice, ES_F16);
    es_keep(r, half);
}

/* A pack of random weights; matrices f16 where `half`. The caller frees. */
typedef struct builder {
    char *header;
    unsigned char *data;
    size_t n_header, n_data, room;
    es_noise noise;
    const char *leave_out; /* a name that is not written */
} builder;

static inline uint16_t half_of(float f) /* truncated; the weights are normal numbers below 1 */
{
    uint32_t bits;

    memcpy(&bits, &f, 4);
    int exponent = (int)(bits >> 23 & 255) - 112;
    if (exponent <= 0) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
}

static inline void add_tensor(builder *b, const char *name, const char *dtype, int O, int I, double scale)
{
    size_t item = !strcmp(dtype, "F32") || !strcmp(dtype, "I32") ? 4 : !strcmp(dtype, "U8") ? 1 : 2;
    size_t n = (size_t)O * (size_t)(I ? I : 1), bytes = n * item;
    char shape[64];

    if (b->leave_out && !strcmp(name, b->leave_out)) return;
    if (I) snprintf(shape, sizeof shape, "[%d,%d]", O, I);
    else snprintf(shape, sizeof shape, "[%d]", O);
    b->n_header += (size_t)snprintf(b->header + b->n_header, b->room - b->n_header,
                                    ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", name, dtype,
                                    shape, b->n_data, b->n_data + bytes);
    for (size_t i = 0; i < n; i++) {
        float f = (float)(es_noise_normal(&b->noise) * scale);
        uint16_t h = half_of(f);
        uint32_t bits;
        memcpy(&bits, &f, 4);
        if (!strcmp(dtype, "BF16")) h = (uint16_t)(bits >> 16);
        if (item == 4) memcpy(b->data + b->n_data, &f, 4);
        else if (item == 2) memcpy(b->data + b->n_data, &h, 2);
        else b->data[b->n_data] = (unsigned char)i;
        b->n_data += item;
    }
}

/* extra: one more tensor, NULL for none. */
static inline unsigned char *make_pack(size_t *n, const char *matrix_dtype, const char *leave_out, const char *extra,
                                const char *extra_dtype, int extra_O, int extra_I)
{
    static const struct {
        const char *name;
        int O, I;
    } parts[] = {{"norm.weight", WIDE, 0},  {"norm.bias", WIDE, 0},          {"qkv.weight", 3 * WIDE, WIDE},
                 {"qkv.bias", 3 * WIDE, 0}, {"out.weight", WIDE, WIDE},      {"out.bias", WIDE, 0},
                 {"norm2.weight", WIDE, 0}, {"norm2.bias", WIDE, 0},         {"up.weight", 4 * WIDE, WIDE},
                 {"up.bias", 4 * WIDE, 0},  {"down.weight", WIDE, 4 * WIDE}, {"down.bias", WIDE, 0}};
    builder b = {.room = 16384, .noise = {.state = 5}, .leave_out = leave_out};
    char name[64];

    b.header = malloc(b.room);
    b.data = malloc((size_t)1 << 20);
    b.n_header =
        (size_t)snprintf(b.header, b.room,
                         "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"bert\",\"name\":\"small\","
                         "\"config\":\"{}\"}");
    for (int i = 0; i < LAYERS; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            snprintf(name, sizeof name, "l%d.%s", i, parts[k].name);
            add_tensor(&b, name, parts[k].I ? matrix_dtype : "F32", parts[k].O, parts[k].I, 0.2);
        }
    }
    b.leave_out = NULL;
    if (extra) add_tensor(&b, extra, extra_dtype, extra_O, extra_I, 1);
    b.n_header += (size_t)snprintf(b.header + b.n_header, b.room - b.n_header, "}");
    *n = 8 + b.n_header + b.n_data;
    unsigned char *file = calloc(1, *n);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)b.n_header >> 8 * i);
    memcpy(file + 8, b.header, b.n_header);
    memcpy(file + 8 + b.n_header, b.data, b.n_data);
    free(b.header);
    free(b.data);
    return file;
}

static inline void enter_small(es_plan *p, small *m, const es_weights *w, es_dtype act)
{
    es_model *model;
    es_err err = {0};

    CHECK(es_plan_model(p, &model, "small", w, ES_F16, act, bind_small, m, &err) == ES_OK, "%s", err.text);
    if (!model) return;
    es_plan_state(model, &m->in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
    es_plan_state(model, &m->out, "out", ES_F32, 2, (const int[]){ROWS, WIDE});
    es_plan_state(model, &m->bounds, "bounds", ES_I32, 1, (const int[]){4});
    es_plan_state(model, &m->live, "live", ES_I32, 1, (const int[]){1});
    es_plan_program(model, &m->forward, "forward", forward, m);
    es_plan_program(model, &m->copy, "copy", copy, m);
}

static inline es_weights *open_pack(unsigned char **bytes, const char *dtype)
{
    es_weights *w = NULL;
    es_err err = {0};
    size_t n;

    *bytes = make_pack(&n, dtype, NULL, NULL, NULL, 0, 0);
    CHECK(es_pack_open_bytes(&w, *bytes, n, "small.pack", &err) == ES_OK, "%s", err.text);
    return w;
}

#endif
