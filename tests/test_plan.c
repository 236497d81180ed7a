/*
 * test_plan.c - placing, planning, binding and running.
 *
 * The placer is held to its contract on 10^5 random graphs. A two-layer model with random weights is run with shared
 * memory, with separate memory for every tensor, with memory placed at random and with poisoned memory: the results
 * must agree to the last bit, which they only do if the lives noted in the planning walk are the true ones.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/arena.h"
#include "runtime/ops.h"
#include "runtime/plan.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- malloc, counted: this program's own malloc stands before the C library's ---- */

static atomic_int n_malloc;

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTED 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t item);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    atomic_fetch_add(&n_malloc, 1);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t item)
{
    atomic_fetch_add(&n_malloc, 1);
    return __libc_calloc(n, item);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&n_malloc, 1);
    return __libc_realloc(p, n);
}
#endif

/* ---- placing ---- */

static size_t up(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

static void check_placed(const es_span *s, int n, size_t align, size_t total, const char *what)
{
    size_t top = 0, naive = 0;

    for (int i = 0; i < n; i++) {
        size_t end = s[i].offset + up(s[i].bytes, align);
        naive += up(s[i].bytes, align);
        if (s[i].bytes && end > top) top = end;
        if (s[i].offset % align) CHECK(false, "%s: span %d at %zu is not aligned", what, i, s[i].offset);
        for (int j = 0; j < i; j++) {
            bool meet = s[i].first <= s[j].last && s[j].first <= s[i].last;
            bool apart = end <= s[j].offset || s[j].offset + up(s[j].bytes, align) <= s[i].offset;
            if (meet && !apart && s[i].bytes && s[j].bytes)
                CHECK(false, "%s: spans %d and %d of %d overlap", what, i, j, n);
        }
    }
    if (total != top) CHECK(false, "%s: total %zu, but the spans end at %zu", what, total, top);
    if (total < es_plan_bound(s, n, align)) CHECK(false, "%s: total below the bound", what);
    if (total > naive) CHECK(false, "%s: total above the sum of all", what);
}

/* The bound again, by its definition: op by op. */
static size_t bound_by_ops(const es_span *s, int n, size_t align)
{
    size_t most = 0;

    for (int op = 0; op < 64; op++) {
        size_t alive = 0;
        for (int i = 0; i < n; i++)
            if (s[i].first <= op && op <= s[i].last) alive += up(s[i].bytes, align);
        if (alive > most) most = alive;
    }
    return most;
}

static void placing_never_overlaps(void)
{
    es_noise noise = {.state = 11};
    es_span s[24], again[24];
    double worst = 1, sum = 0;
    int graphs = 100000;

    for (int g = 0; g < graphs; g++) {
        int n = 1 + (int)(es_noise_bits(&noise) % 24), style = (int)(es_noise_bits(&noise) % 4);
        size_t align = style == 3 ? 1 : 256;
        for (int i = 0; i < n; i++) {
            int first = (int)(es_noise_bits(&noise) % 20);
            size_t bytes = es_noise_bits(&noise) % 5000;
            if (style == 1) bytes = 1024; /* all equal */
            if (style == 2 && es_noise_bits(&noise) % 3 == 0) bytes = 0;
            s[i] = (es_span){.bytes = bytes, .first = first, .last = first + (int)(es_noise_bits(&noise) % 8)};
        }
        size_t bound = es_plan_bound(s, n, align);
        if (bound != bound_by_ops(s, n, align)) CHECK(false, "graph %d: bound %zu", g, bound);
        size_t total = es_plan_place(s, n, align, 0);
        check_placed(s, n, align, total, "by size");
        memcpy(again, s, sizeof s);
        CHECK(es_plan_place(again, n, align, 0) == total && !memcmp(s, again, (size_t)n * sizeof *s),
              "graph %d: not the same twice", g);
        if (bound) {
            double excess = (double)total / (double)bound;
            sum += excess;
            if (excess > worst) worst = excess;
        } else {
            sum += 1;
        }
        uint64_t seed = es_noise_bits(&noise) | 1;
        total = es_plan_place(s, n, align, seed);
        check_placed(s, n, align, total, "at random");
    }
    /* No promise, but a placer that loses its gap search shows here: the mean is 1.014, the worst 1.58. */
    CHECK(sum / graphs < 1.02, "mean excess over the bound %.4f", sum / graphs);
    CHECK(worst < 1.7, "worst excess over the bound %.4f", worst);
}

static void placing_finds_the_gap(void)
{
    /* Two blocks alive throughout with a hole between them that opens at op 2: the small one must go into it. */
    es_span s[] = {{.bytes = 400, .first = 0, .last = 9},
                   {.bytes = 300, .first = 0, .last = 1},
                   {.bytes = 200, .first = 0, .last = 9},
                   {.bytes = 100, .first = 2, .last = 9},
                   {.bytes = 0, .first = 0, .last = 9}};

    CHECK_INT(es_plan_place(s, 5, 100, 0), 900);
    CHECK_INT(s[3].offset, 400);
    CHECK_INT(es_plan_place(s, 1, 256, 0), 512);
    CHECK_INT(es_plan_place(s, 0, 256, 0), 0);
    CHECK_INT(es_plan_bound(s, 0, 256), 0);
    CHECK_INT(es_plan_bound(s, 5, 100), 900);
}

/* ---- a small model ---- */

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

static void fill_table(void *host, void *user)
{
    (void)user;
    for (int i = 0; i < WIDE; i++) ((float *)host)[i] = (float)i / 7;
}

static void bind_small(es_bind *b, void *user)
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

static void forward(es_run *r, void *user)
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
static void copy(es_run *r, void *user)
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

static uint16_t half_of(float f) /* truncated; the weights are normal numbers below 1 */
{
    uint32_t bits;

    memcpy(&bits, &f, 4);
    int exponent = (int)(bits >> 23 & 255) - 112;
    if (exponent <= 0) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
}

static void add_tensor(builder *b, const char *name, const char *dtype, int O, int I, double scale)
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
static unsigned char *make_pack(size_t *n, const char *matrix_dtype, const char *leave_out, const char *extra,
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

static void enter_small(es_plan *p, small *m, const es_weights *w, es_dtype act)
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

typedef struct outcome {
    float out[ROWS * WIDE];
    es_plan_totals totals;
    int mallocs; /* of the second run */
    uint64_t allocations;
    int rc;
} outcome;

static void run_small(outcome *o, const es_weights *w, es_backend backend, unsigned flags, uint64_t seed)
{
    static const int32_t bounds[] = {0, 5, 6, ROWS};
    const int32_t live = ROWS;
    float in[ROWS * WIDE];
    es_noise noise = {.state = 99};
    es_plan *p = NULL;
    es_device *d = NULL;
    es_arena *a = NULL;
    es_err err = {0};
    es_fault fault = {0};
    small m = {0};

    memset(o, 0, sizeof *o);
    es_noise_fill(&noise, in, ROWS * WIDE, 1);
    CHECK_INT(es_plan_open(&p, backend, 2, &err), ES_OK);
    es_plan_flags(p, flags, seed);
    enter_small(p, &m, w, backend == ES_CPU ? ES_F32 : ES_F16);
    o->rc = es_plan_finish(p, 0, &err);
    CHECK(o->rc == ES_OK, "%s", err.text);
    es_plan_totals_get(p, &o->totals);
    CHECK_INT(es_device_open(&d, backend, 0, 2, NULL, &fault), 0);
    o->rc = d ? es_arena_open(&a, p, d, &err) : -1;
    CHECK(o->rc == ES_OK, "%s", err.text);
    if (a) {
        CHECK(es_arena_load(a, &err) == ES_OK, "%s", err.text);
        if (backend == ES_CPU) CHECK(((const float *)m.table)[7] == 1.0f); /* here an address can be read */
        CHECK(es_arena_device(a) == d);
        es_state_get(a, m.out, 0, o->out, sizeof o->out);
        for (int i = 0; i < ROWS * WIDE; i++) CHECK(o->out[i] == 0, "state is not zeroed at %d", i);
        es_state_put(a, m.in, 0, in, sizeof in);
        es_state_put(a, m.bounds, 0, bounds, sizeof bounds);
        es_state_put(a, m.live, 0, &live, sizeof live);
        float first[ROWS * WIDE];
        es_program_run(m.forward, a);
        es_state_get(a, m.out, 0, first, sizeof first);
        es_program_run(m.copy, a);
        int before = atomic_load(&n_malloc);
        uint64_t allocations = es_device_allocations(d);
        es_program_run(m.forward, a);
        o->mallocs = atomic_load(&n_malloc) - before;
        o->allocations = es_device_allocations(d) - allocations;
        es_state_get(a, m.out, 0, o->out, sizeof o->out);
        CHECK(!memcmp(first, o->out, sizeof first), "the second run gives other bits");
        CHECK_INT(es_device_sync(d, &fault), 0);
    }
    es_arena_close(a);
    es_device_close(d);
    es_plan_close(p);
}

static es_weights *open_pack(unsigned char **bytes, const char *dtype)
{
    es_weights *w = NULL;
    es_err err = {0};
    size_t n;

    *bytes = make_pack(&n, dtype, NULL, NULL, NULL, 0, 0);
    CHECK(es_pack_open_bytes(&w, *bytes, n, "small.pack", &err) == ES_OK, "%s", err.text);
    return w;
}

static void same_bits(es_backend backend, const char *dtype, int n_seeds)
{
    static outcome reference, other;
    unsigned char *bytes;
    es_weights *w = open_pack(&bytes, dtype);
    float largest = 0;

    run_small(&reference, w, backend, ES_PLAN_SEPARATE, 0);
    CHECK_INT(reference.totals.scratch, reference.totals.scratch_naive);
    for (int i = 0; i < ROWS * WIDE; i++) {
        CHECK(isfinite(reference.out[i]), "output %d is not finite", i);
        if (fabsf(reference.out[i]) > largest) largest = fabsf(reference.out[i]);
    }
    CHECK(largest > 0.1f, "the outputs are all small: %g", (double)largest);
    run_small(&other, w, backend, 0, 0);
    CHECK(!memcmp(reference.out, other.out, sizeof other.out), "%s: shared memory gives other bits", dtype);
    CHECK(other.totals.scratch < reference.totals.scratch / 3, "sharing saves nothing: %llu of %llu",
          (unsigned long long)other.totals.scratch, (unsigned long long)reference.totals.scratch);
    CHECK_INT(other.totals.scratch, other.totals.scratch_bound); /* a chain of layers is packed without loss */
    CHECK_INT(other.allocations, 0);
    if (backend == ES_CPU) CHECK_INT(other.mallocs, 0); /* what a driver does on the host is its own affair */
    run_small(&other, w, backend, ES_PLAN_POISON, 0);
    CHECK(!memcmp(reference.out, other.out, sizeof other.out), "%s: poisoned memory gives other bits", dtype);
    for (int seed = 1; seed <= n_seeds; seed++) {
        run_small(&other, w, backend, ES_PLAN_SHUFFLE | (seed % 2 ? ES_PLAN_POISON : 0u), (uint64_t)seed);
        CHECK(!memcmp(reference.out, other.out, sizeof other.out), "%s: seed %d gives other bits", dtype, seed);
    }
    es_weights_close(w);
    free(bytes);
}

static void every_plan_gives_the_same_bits(void)
{
    same_bits(ES_CPU, "F32", 12);
    same_bits(ES_CPU, "F16", 12);
    same_bits(ES_CPU, "BF16", 12);
#ifdef COUNTED
    CHECK(atomic_load(&n_malloc) > 100, "malloc is not counted");
#endif
}

static void on_cuda_too(void)
{
    if (es_device_count(ES_CUDA, NULL) == 0) {
        es_test_skip("a GPU or the emulator");
        return;
    }
    same_bits(ES_CUDA, "F16", 3);
}

/* ---- binding ---- */

static void binding_is_strict(void)
{
    static const struct {
        const char *leave_out, *extra, *type;
        int O, I; /* of the extra tensor; I 0: one dimension */
        int rc;
        const char *says[3];
    } cases[] = {
        {NULL, NULL, NULL, 0, 0, ES_OK, {NULL}},
        {"l1.out.weight", NULL, NULL, 0, 0, ES_EMODEL, {"small.pack", "l1.out.weight", "23"}},
        {NULL, "l2.extra", "F32", 3, 0, ES_EMODEL, {"small.pack", "l2.extra", "25"}},
        {NULL, "tokenizer.scores", "F32", 3, 0, ES_OK, {NULL}},
        {NULL, "vocabulary", "U8", 3, 0, ES_OK, {NULL}},
        {"l0.norm.bias", "l0.norm.bias", "F32", 3, 0, ES_EMODEL, {"l0.norm.bias", "[3]", "64 values"}},
        {"l0.norm.bias", "l0.norm.bias", "F32", 8, 8, ES_OK, {NULL}}, /* a vector may have any shape */
        {"l0.norm.bias", "l0.norm.bias", "I32", 64, 0, ES_EMODEL, {"l0.norm.bias", "I32", "F32, F16 or BF16"}},
        {"l0.qkv.weight", "l0.qkv.weight", "F32", 12288, 0, ES_EMODEL, {"l0.qkv.weight", "[12288]", "[192, 64]"}},
        {"l0.qkv.weight", "l0.qkv.weight", "F32", 64, 192, ES_EMODEL, {"l0.qkv.weight", "[64, 192]", "[192, 64]"}},
        {"l0.qkv.weight", "l0.qkv.weight", "F32", 191, 64, ES_EMODEL, {"l0.qkv.weight", "[191, 64]", "[192, 64]"}},
        {"l0.qkv.weight", "l0.qkv.weight", "F32", 192, 63, ES_EMODEL, {"l0.qkv.weight", "[192, 63]", "[192, 64]"}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_err err = {0};
        es_weights *w = NULL;
        es_plan *p = NULL;
        es_model *model = NULL;
        small m = {0};
        size_t n;
        unsigned char *bytes =
            make_pack(&n, "F16", cases[i].leave_out, cases[i].extra, cases[i].type, cases[i].O, cases[i].I);
        CHECK(es_pack_open_bytes(&w, bytes, n, "small.pack", &err) == ES_OK, "%s", err.text);
        es_plan_open(&p, ES_CPU, 1, NULL);
        int rc = es_plan_model(p, &model, "small", w, ES_F16, ES_F32, bind_small, &m, &err);
        CHECK(rc == cases[i].rc && (model != NULL) == (rc == ES_OK), "case %zu gives %d", i, rc);
        for (int k = 0; k < 3 && cases[i].says[k]; k++)
            CHECK(strstr(err.text, cases[i].says[k]) != NULL, "\"%s\" lacks \"%s\"", err.text, cases[i].says[k]);
        es_plan_close(p);
        es_weights_close(w);
        free(bytes);
    }
}

/* Every f16 and every bf16, widened as it is loaded, against the definition. */
enum { ALL_HALVES = 65536 };

typedef struct halves {
    const float *f16, *bf16;
} halves;

static void bind_halves(es_bind *b, void *user)
{
    halves *h = user;

    es_bind_vector(b, &h->f16, ALL_HALVES, "a");
    es_bind_vector(b, &h->bf16, ALL_HALVES, "b");
}

static double value_of(int bits, int exponent_bits)
{
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1), fraction = bits & ((1 << fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;

    if (exponent == (1 << exponent_bits) - 1) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}

static void vectors_are_widened_exactly(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"bert\",\"name\":\"h\",\"config\":\"{}\"},"
        "\"a\":{\"dtype\":\"F16\",\"shape\":[65536],\"data_offsets\":[0,131072]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[256,256],\"data_offsets\":[131072,262144]}}";
    size_t n = sizeof header - 1, all = 8 + n + 4 * ALL_HALVES;
    unsigned char *bytes = calloc(1, all);
    es_weights *w = NULL;
    es_plan *p = NULL;
    es_model *model;
    es_device *d = NULL;
    es_arena *a = NULL;
    es_err err = {0};
    halves h = {0};
    int bad = 0;

    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(n >> 8 * i);
    memcpy(bytes + 8, header, n);
    for (int i = 0; i < 2 * ALL_HALVES; i++) {
        uint16_t bits = (uint16_t)i;
        memcpy(bytes + 8 + n + 2 * (size_t)i, &bits, 2);
    }
    CHECK(es_pack_open_bytes(&w, bytes, all, "h.pack", &err) == ES_OK, "%s", err.text);
    es_plan_open(&p, ES_CPU, 1, NULL);
    CHECK_INT(es_plan_model(p, &model, "halves", w, ES_F16, ES_F32, bind_halves, &h, &err), ES_OK);
    CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
    CHECK_INT(es_device_open(&d, ES_CPU, 0, 1, NULL, NULL), 0);
    CHECK_INT(es_arena_open(&a, p, d, NULL), ES_OK);
    CHECK_INT(es_arena_load(a, NULL), ES_OK);
    for (int i = 0; i < ALL_HALVES && bad < 5; i++) {
        double f16 = value_of(i, 5), bf16 = value_of(i, 8);
        bool same = isnan(f16) ? isnan(h.f16[i]) : (double)h.f16[i] == f16 && !signbit(h.f16[i]) == !signbit(f16);
        same = same &&
               (isnan(bf16) ? isnan(h.bf16[i]) : (double)h.bf16[i] == bf16 && !signbit(h.bf16[i]) == !signbit(bf16));
        if (same) continue;
        bad++;
        CHECK(false, "%04x is %g as f16 and %g as bf16", (unsigned)i, (double)h.f16[i], (double)h.bf16[i]);
    }
    es_arena_close(a);
    es_device_close(d);
    es_plan_close(p);
    es_weights_close(w);
    free(bytes);
}

/* ---- the layout that comes out ---- */

typedef struct lives {
    es_tensor source;
    es_noise noise; /* as it was before the walk: both walks draw the same */
} lives;

enum { LONGEST = 4000 };

/* Thirty tensors of random sizes, each kept for some ops. */
static void live_at_random(es_run *r, void *user)
{
    const lives *l = user;
    es_noise noise = l->noise;
    es_tensor t[30];
    int until[30];

    for (int i = 0; i < 30; i++) {
        t[i] = es_new(r, ES_F32, 1, (const int[]){1 + (int)(es_noise_bits(&noise) % LONGEST)});
        until[i] = i + (int)(es_noise_bits(&noise) % 5);
        es_cast_to(r, t[i], es_row_range(l->source, 0, t[i].dim[0]));
        for (int j = 0; j < i; j++)
            if (until[j] == i) es_keep(r, t[j]);
    }
}

static int64_t member(const es_json_node *o, const char *key)
{
    int64_t v = -9;

    CHECK(es_json_int(es_json_get(o, key), -1, INT64_MAX, &v), "no %s", key);
    return v;
}

/* What the plan says of itself must hold together, also where a random order won over the order of sizes. */
static void layouts_hold_together(void)
{
    int misses = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        es_plan *p = NULL;
        es_model *model;
        es_program *g;
        small m = {0};
        lives l = {.noise = {.state = seed}};
        es_json_out o;
        es_json *j = NULL;
        int64_t top = 0;
        es_plan_open(&p, ES_CPU, 1, NULL);
        CHECK_INT(es_plan_model(p, &model, "lives", NULL, ES_F16, ES_F32, bind_small, &m, NULL), ES_OK);
        es_plan_state(model, &l.source, "source", ES_F32, 1, (const int[]){LONGEST});
        es_plan_program(model, &g, "lives", live_at_random, &l);
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_json_begin(&o, 0);
        es_plan_json(p, &o);
        CHECK_INT(es_json_parse(&j, o.text, o.n, "plan", NULL), ES_OK);
        const es_json_node *program =
            es_json_first(es_json_get(es_json_first(es_json_get(es_json_root(j), "models")), "programs"));
        const es_json_node *tensors = es_json_get(program, "tensors");
        CHECK_INT(es_json_count(tensors), 30);
        for (const es_json_node *x = es_json_first(tensors); x; x = es_json_next(x)) {
            int64_t x0 = member(x, "offset"), x1 = x0 + member(x, "bytes");
            if (x1 > top) top = x1;
            for (const es_json_node *y = es_json_next(x); y; y = es_json_next(y)) {
                int64_t y0 = member(y, "offset"), y1 = y0 + member(y, "bytes");
                bool meet = member(x, "first") <= member(y, "last") && member(y, "first") <= member(x, "last");
                CHECK(!meet || x1 <= y0 || y1 <= x0, "seed %d: two tensors overlap", (int)seed);
            }
        }
        int64_t peak = member(program, "peak_bytes"), least = member(program, "least_bytes");
        CHECK(top <= peak && peak < top + ES_PLAN_ALIGN, "seed %d: a peak of %lld, tensors up to %lld", (int)seed,
              (long long)peak, (long long)top);
        CHECK(peak >= least);
        misses += peak > least;
        es_json_close(j);
        free(o.text);
        es_plan_close(p);
    }
    CHECK(misses < 12, "%d of 60 random programs are placed above their bound", misses); /* 3; by size alone 27 */
}

/* ---- the budget ---- */

static void budget_is_kept(void)
{
    for (int backend = 0; backend < ES_N_BACKENDS; backend++) {
        es_plan_totals t = {0};
        for (int step = 0; step < 3; step++) {
            es_err err = {0};
            es_plan *p = NULL;
            small m = {0};
            es_plan_open(&p, (es_backend)backend, 2, NULL);
            enter_small(p, &m, NULL, ES_F32);
            es_plan_outside(p, "the context", 12345678);
            uint64_t budget = step == 0 ? 0 : step == 1 ? t.total : t.total - 1;
            int rc = es_plan_finish(p, budget, &err);
            CHECK_INT(rc, step == 2 ? ES_EBUDGET : ES_OK);
            es_plan_totals_get(p, &t);
            CHECK_INT(t.total, t.arena + 12345678);
            CHECK_INT(t.arena, t.workspace + t.weights + t.state + t.scratch);
            CHECK_INT(t.outside, 12345678);
            CHECK(t.scratch >= t.scratch_bound && t.scratch <= t.scratch_naive);
            if (step == 2) {
                char number[32];
                snprintf(number, sizeof number, "%llu", (unsigned long long)t.total);
                CHECK(strstr(err.text, number) && strstr(err.text, "the context 12.3 MB"), "%s", err.text);
            }
            es_plan_close(p);
        }
    }
}

static void absurd_sizes_are_refused(void)
{
    const int huge[] = {2000000000, 2000000000, 2000000000, 2000000000};
    es_err err = {0};
    es_plan *p = NULL;
    es_model *model;
    small m = {0};
    es_tensor t;

    es_plan_open(&p, ES_CPU, 1, NULL);
    CHECK_INT(es_plan_model(p, &model, "small", NULL, ES_F16, ES_F32, bind_small, &m, NULL), ES_OK);
    for (int i = 0; i < 40; i++) es_plan_state(model, &t, "huge", ES_F32, 4, huge);
    CHECK_INT(es_plan_finish(p, 0, &err), ES_ENOMEM);
    es_plan_close(p);
}

/* ---- looking at a plan ---- */

/* Well-formed enough for XML: tags nest, attributes are quoted, no bare & or <. Returns the number of elements, or -1.
 */
static int xml_elements(const char *s)
{
    char stack[16][32];
    int depth = 0, n = 0;

    if (strncmp(s, "<?xml", 5)) return -1;
    s = strstr(s, "?>");
    for (s = s ? s + 2 : ""; *s;) {
        if (*s == '&' && strncmp(s, "&amp;", 5) && strncmp(s, "&lt;", 4) && strncmp(s, "&gt;", 4) &&
            strncmp(s, "&quot;", 6))
            return -1;
        if (*s != '<') {
            if (depth == 0 && *s != '\n') return -1;
            s++;
            continue;
        }
        bool closing = s[1] == '/';
        char name[32];
        int length = 0;
        for (s += closing ? 2 : 1; *s && !strchr(" />", *s) && length < 31; s++) name[length++] = *s;
        name[length] = 0;
        bool quoted = false, empty = false;
        for (; *s && (quoted || *s != '>'); s++) {
            if (*s == '"') quoted = !quoted;
            if (*s == '<') return -1;
            empty = *s == '/';
        }
        if (!*s || quoted) return -1;
        s++;
        if (closing) {
            if (depth == 0 || strcmp(stack[--depth], name)) return -1;
        } else {
            n++;
            if (empty) continue;
            if (depth == 16) return -1;
            strcpy(stack[depth++], name);
        }
    }
    return depth == 0 ? n : -1;
}

static char *printed(const es_plan *p, bool svg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (svg) CHECK_INT(es_plan_svg(p, f), 0);
    else es_plan_print(p, f);
    fclose(f);
    return text;
}

static void plans_can_be_looked_at(void)
{
    for (int backend = 0; backend < ES_N_BACKENDS; backend++) {
        es_plan *p = NULL;
        es_model *second;
        small m = {0}, m2 = {0};
        es_plan_totals t;
        es_json_out o;
        es_json *j = NULL;
        int64_t v = 0;

        CHECK_INT(es_plan_open(&p, (es_backend)backend, 2, NULL), ES_OK);
        CHECK_INT(es_plan_backend(p), backend);
        enter_small(p, &m, NULL, backend == ES_CPU ? ES_F32 : ES_F16);
        CHECK_INT(es_plan_model(p, &second, "<a & \"b\">", NULL, ES_F16, ES_F32, bind_small, &m2, NULL), ES_OK);
        es_plan_state(second, &m2.in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
        es_plan_program(second, &m2.copy, "copy", copy, &m2);
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_plan_totals_get(p, &t);

        char *text = printed(p, false);
        CHECK(strstr(text, "small.forward") && strstr(text, "workspace") && strstr(text, "attend"), "%s", text);
        free(text);

        text = printed(p, true);
        int elements = xml_elements(text);
        CHECK(elements > 40, "the picture is not well-formed, or empty: %d elements", elements);
        CHECK(!strstr(text, "script") && strstr(text, "&lt;a &amp; &quot;b&quot;&gt;"));
        free(text);

        es_json_begin(&o, 2);
        es_plan_json(p, &o);
        CHECK(es_json_parse(&j, o.text, o.n, "plan", NULL) == ES_OK, "%s", o.text);
        CHECK(es_json_int(es_json_get(es_json_root(j), "total_bytes"), 0, INT64_MAX, &v) && (uint64_t)v == t.total);
        const es_json_node *models = es_json_get(es_json_root(j), "models");
        const es_json_node *programs = es_json_get(es_json_first(models), "programs");
        CHECK_INT(es_json_count(models), 2);
        CHECK_INT(es_json_count(programs), 2);
        CHECK_INT(es_json_count(es_json_get(es_json_first(programs), "ops")), 2 + LAYERS * 7);
        CHECK_INT(es_json_count(es_json_get(es_json_first(programs), "tensors")), 1 + LAYERS * 5);
        es_json_close(j);
        free(o.text);
        es_plan_close(p);
    }
}

/* ---- nothing at all ---- */

static void no_rows(es_run *r, void *user)
{
    small *m = user;
    es_tensor none = es_new2(r, ES_F32, 0, WIDE);

    es_cast_to(r, none, es_row_range(m->in, 3, 0));
    es_tensor y = es_linear(r, none, m->layers[0].out, NULL, ES_ACT_NONE);
    es_cast_to(r, es_row_range(m->out, 0, 0), y);
}

static void nothing_is_a_size(void)
{
    unsigned char *bytes;
    es_weights *w = open_pack(&bytes, "F32");
    float out[ROWS * WIDE];
    es_err err = {0};

    for (int with_model = 0; with_model < 2; with_model++) {
        es_plan *p = NULL;
        es_model *model = NULL;
        es_device *d = NULL;
        es_arena *a = NULL;
        es_program *g = NULL;
        es_plan_totals t;
        small m = {0};
        CHECK_INT(es_plan_open(&p, ES_CPU, 1, NULL), ES_OK);
        if (with_model) {
            CHECK_INT(es_plan_model(p, &model, "small", w, ES_F32, ES_F32, bind_small, &m, NULL), ES_OK);
            es_plan_state(model, &m.in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
            es_plan_state(model, &m.out, "out", ES_F32, 2, (const int[]){ROWS, WIDE});
            es_plan_program(model, &g, "no_rows", no_rows, &m);
        }
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_plan_totals_get(p, &t);
        CHECK_INT(t.scratch, 0);
        free(printed(p, false));
        char *svg = printed(p, true);
        CHECK(xml_elements(svg) > 5);
        free(svg);
        CHECK_INT(es_device_open(&d, ES_CPU, 0, 1, NULL, NULL), 0);
        CHECK(es_arena_open(&a, p, d, &err) == ES_OK, "%s", err.text);
        if (a && with_model) {
            CHECK_INT(es_arena_load(a, NULL), ES_OK);
            es_program_run(g, a);
            es_state_get(a, m.out, 0, out, sizeof out);
            for (int i = 0; i < ROWS * WIDE; i++) CHECK(out[i] == 0, "an op of no rows wrote at %d", i);
        }
        es_arena_close(a);
        es_device_close(d);
        es_plan_close(p);
    }
    es_weights_close(w);
    free(bytes);
}

static void wrong_devices_are_refused(void)
{
    es_plan *p = NULL;
    es_device *d = NULL;
    es_arena *a = NULL;
    es_err err = {0};

    es_plan_open(&p, ES_CPU, 1, NULL);
    es_plan_finish(p, 0, NULL);
    CHECK_INT(es_device_open(&d, ES_CPU, 0, 4, NULL, NULL), 0);
    CHECK_INT(es_arena_open(&a, p, d, &err), ES_EARG); /* a workspace for one thread, a device with four */
    CHECK(!a && strstr(err.text, "4 threads"), "%s", err.text);
    es_device_close(d);
    es_plan_close(p);
}

/* ---- our own mistakes ---- */

typedef struct mistake {
    small m;
    const float *stale; /* memory of a temporary, remembered beyond its life */
    bool keep;
} mistake;

/* The bias of the last product is the first tensor's memory, which the plan cannot see. */
static void reads_stale(es_run *r, void *user)
{
    mistake *s = user;

    es_tensor first = es_cast(r, s->m.in, ES_F32);
    s->stale = first.p;
    es_tensor a = es_linear(r, s->m.in, s->m.layers[0].out, NULL, ES_ACT_NONE);
    es_linear_to(r, s->m.out, a, s->m.layers[0].out, s->stale, ES_ACT_NONE);
    if (s->keep) es_keep(r, first);
}

static void reads_unwritten(es_run *r, void *user)
{
    mistake *s = user;

    es_cast_to(r, s->m.out, es_new2(r, ES_F32, ROWS, WIDE));
    (void)s;
}

static void writes_its_input(es_run *r, void *user)
{
    mistake *s = user;

    es_cast_to(r, s->m.in, s->m.in);
}

/* Runs one mistaken program in a child; returns its wait status. *nan: the outputs hold a NaN (from the exit code). */
static int run_mistake(es_program_fn fn, bool keep, int stray)
{
    unsigned char *bytes;
    es_weights *w = open_pack(&bytes, "F32");
    int status = 0;

    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        mistake s = {.keep = keep};
        es_plan *p = NULL;
        es_model *model = NULL;
        es_device *d = NULL;
        es_arena *a = NULL;
        es_program *g = NULL;
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        es_plan_open(&p, ES_CPU, 1, NULL);
        es_plan_flags(p, ES_PLAN_POISON | ES_PLAN_SEPARATE, 0);
        es_plan_model(p, &model, "small", w, ES_F32, ES_F32, bind_small, &s.m, NULL);
        es_plan_state(model, &s.m.in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
        es_plan_state(model, &s.m.out, "out", ES_F32, 2, (const int[]){ROWS, WIDE});
        es_plan_state(model, &s.m.bounds, "bounds", ES_I32, 1, (const int[]){2});
        es_plan_state(model, &s.m.live, "live", ES_I32, 1, (const int[]){1});
        es_plan_program(model, &g, "wrong", fn, fn == forward ? (void *)&s.m : &s);
        es_plan_finish(p, 0, NULL);
        es_device_open(&d, ES_CPU, 0, 1, NULL, NULL);
        es_arena_open(&a, p, d, NULL);
        es_arena_load(a, NULL);
        s.m.stray = stray;
        es_program_run(g, a);
        float out[ROWS * WIDE];
        bool nan = false;
        es_state_get(a, s.m.out, 0, out, sizeof out);
        for (int i = 0; i < ROWS * WIDE; i++) nan = nan || isnan(out[i]);
        _exit(nan ? 7 : 0);
    }
    waitpid(child, &status, 0);
    es_weights_close(w);
    free(bytes);
    return status;
}

static void mistakes_are_caught(void)
{
    int status = run_mistake(forward, false, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the right program fails: %d", status);
    status = run_mistake(forward, false, 1);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a run that strays from the plan passes: %d", status);
    status = run_mistake(forward, false, 2);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a run with another activation passes: %d", status);
    status = run_mistake(reads_unwritten, false, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a tensor nobody wrote is read: %d", status);
    status = run_mistake(writes_its_input, false, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "an op writes over its input: %d", status);
    status = run_mistake(reads_stale, true, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "es_keep() does not keep: %d", status);
    status = run_mistake(reads_stale, false, 0);
    /* A sanitizer stops at the read itself; elsewhere the poison comes out as NaN. */
    CHECK(status != 0, "a tensor is read after its life: %d", status);
#ifndef SANITIZED
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "no NaN after a stale read: %d", status);
#endif
}

static const es_test tests[] = {
    {"placing_never_overlaps", placing_never_overlaps},
    {"placing_finds_the_gap", placing_finds_the_gap},
    {"every_plan_gives_the_same_bits", every_plan_gives_the_same_bits},
    {"on_cuda_too", on_cuda_too},
    {"binding_is_strict", binding_is_strict},
    {"vectors_are_widened_exactly", vectors_are_widened_exactly},
    {"layouts_hold_together", layouts_hold_together},
    {"budget_is_kept", budget_is_kept},
    {"absurd_sizes_are_refused", absurd_sizes_are_refused},
    {"plans_can_be_looked_at", plans_can_be_looked_at},
    {"nothing_is_a_size", nothing_is_a_size},
    {"wrong_devices_are_refused", wrong_devices_are_refused},
    {"mistakes_are_caught", mistakes_are_caught},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
