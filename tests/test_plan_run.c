/*
 * test_plan_run.c - binding weights and running a plan.
 *
 * A two-layer model with random weights is run with shared memory, with separate memory for every tensor, with memory placed at
 * random and with poisoned memory: the results must agree to the last bit, which they only do if the lives noted in the planning
 * walk are the true ones.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "small_plan.h"

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

/* ---- the same bits ---- */

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

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"every_plan_gives_the_same_bits", every_plan_gives_the_same_bits},
        {"on_cuda_too", on_cuda_too},
        {"binding_is_strict", binding_is_strict},
        {"vectors_are_widened_exactly", vectors_are_widened_exactly},
        {"mistakes_are_caught", mistakes_are_caught},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
