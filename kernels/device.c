/*
 * device.c - opening devices of either backend, and the CPU's own: memory, copies, graphs that are nothing.
 *
 * On the CPU an op has finished when its call returns, so copies are memcpy, a graph does not exist, and no fault can
 * be kept: the only things that can fail are opening (no such instruction set, no threads) and taking the arena. The
 * arena is an anonymous mapping, asked for in large pages (a weight panel walks through megabytes at a stride of one
 * line, and small pages cost a tenth of the speed there) and touched to its end so that a lack of memory shows at once.
 */
#define _GNU_SOURCE
#include "kernels/cpu.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int es_fault_set(es_fault *why, int code, const char *format, ...)
{
    va_list ap;

    if (!why) return code;
    why->code = code;
    va_start(ap, format);
    vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    return code;
}

/* ---- the CPU ---- */

int es_cpu_threads(int threads)
{
    long n = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t mine; /* a container or taskset may leave this process fewer than are online */

    if (threads <= 0 && sched_getaffinity(0, sizeof mine, &mine) == 0) n = CPU_COUNT(&mine);
    return n < 1 ? 1 : n > ES_POOL_MAX_THREADS ? ES_POOL_MAX_THREADS : (int)n;
}

typedef struct range_call {
    es_range_fn fn;
    void *arg;
    int n, step;
} range_call;

static void range_job(void *arg, int job, int thread)
{
    const range_call *c = arg;

    c->fn(c->arg, job * c->step, es_min(c->n, (job + 1) * c->step), thread);
}

void es_cpu_for(es_cpu *d, int n, int grain, es_range_fn fn, void *arg)
{
    range_call c = {.fn = fn, .arg = arg, .n = n, .step = grain};

    if (n <= 0) return;
    if (n / grain >= ES_POOL_MAX_JOBS) c.step = n / ES_POOL_MAX_JOBS + 1;
    es_pool_run(d->pool, (n + c.step - 1) / c.step, range_job, &c);
}

static void cpu_close(es_device *dev)
{
    es_cpu *d = es_cpu_of(dev);

    es_pool_close(d->pool);
    if (d->arena) munmap(d->arena, d->arena_bytes);
    free(d);
}

static void cpu_describe(const es_device *dev, es_device_facts *out)
{
    const es_cpu *d = (const es_cpu *)dev;
    char line[256], model[96] = "CPU";
    FILE *f = fopen("/proc/cpuinfo", "r");
    long page = sysconf(_SC_PAGESIZE);

    *out = (es_device_facts){.threads = d->threads};
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(model, sizeof model, "%.90s", colon + 2);
        break;
    }
    if (f) fclose(f);
    snprintf(out->name, sizeof out->name, "%s (%s)", model, d->lanes->name);
    snprintf(out->driver, sizeof out->driver, "%d threads", d->threads);
    out->bytes = (uint64_t)page * (uint64_t)sysconf(_SC_PHYS_PAGES);
    out->bytes_free = (uint64_t)page * (uint64_t)sysconf(_SC_AVPHYS_PAGES);
}

typedef struct touch_call {
    char *p;
    size_t bytes;
} touch_call;

enum { TOUCH_MIB = 1 << 20 };

static void touch(void *arg, int first, int last, int thread)
{
    const touch_call *c = arg;

    (void)thread;
    for (size_t at = (size_t)first * TOUCH_MIB; at < c->bytes && at < (size_t)last * TOUCH_MIB; at += 4096)
        ((volatile char *)c->p)[at] = 0;
}

static void *cpu_take_arena(es_device *dev, size_t bytes, es_fault *why)
{
    es_cpu *d = es_cpu_of(dev);
    uint64_t all = (uint64_t)sysconf(_SC_PAGESIZE) * (uint64_t)sysconf(_SC_PHYS_PAGES);

    if (d->arena) {
        es_fault_set(why, EINVAL, "the arena of this device is already taken");
        return NULL;
    }
    /* The kernel would promise more than there is and kill the process when it is touched. */
    if (bytes == 0 || bytes > all) {
        es_fault_set(why, ENOMEM, "cannot take %zu bytes: this machine has %llu", bytes, (unsigned long long)all);
        return NULL;
    }
    size_t mapped = (bytes + 4095) & ~(size_t)4095;
    void *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        es_fault_set(why, errno, "cannot map %zu bytes: %s", mapped, strerror(errno));
        return NULL;
    }
    madvise(p, mapped, MADV_HUGEPAGE);
    es_cpu_for(d, (int)(mapped / TOUCH_MIB + 1), 16, touch, &(touch_call){.p = p, .bytes = mapped});
    d->arena = p;
    d->arena_bytes = mapped;
    return p;
}

static void cpu_copy(es_device *d, void *dst, const void *src, size_t bytes)
{
    (void)d;
    if (bytes) memcpy(dst, src, bytes);
}

static void cpu_fill(es_device *d, void *dst, int byte, size_t bytes)
{
    (void)d;
    if (bytes) memset(dst, byte, bytes);
}

static void cpu_record(es_device *d)
{
    (void)d;
}

static es_graph *cpu_record_end(es_device *d)
{
    (void)d;
    return NULL;
}

static void cpu_replay(es_device *d, es_graph *g)
{
    (void)d, (void)g;
}

static int cpu_sync(es_device *d, es_fault *fault)
{
    (void)d;
    if (fault) *fault = (es_fault){0};
    return 0;
}

/* Nothing under kernels/ allocates once the device is open and the arena is taken. */
static uint64_t cpu_allocations(const es_device *d)
{
    (void)d;
    return 0;
}

static const es_device_calls cpu_calls = {
    .close = cpu_close,
    .describe = cpu_describe,
    .take_arena = cpu_take_arena,
    .put = cpu_copy,
    .get = cpu_copy,
    .fill = cpu_fill,
    .record = cpu_record,
    .record_end = cpu_record_end,
    .replay = cpu_replay,
    .sync = cpu_sync,
    .allocations = cpu_allocations,
};

/* The best set the machine (and its operating system) has, or the one asked for by name; NULL if it is not there. */
static const es_lanes *choose_lanes(const char *isa)
{
#ifdef ES_X86
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (avx512 && (!isa || !strcmp(isa, "avx512"))) return &es_lanes_avx512;
    if (avx2 && (!isa || !strcmp(isa, "avx2"))) return &es_lanes_avx2;
#endif
    return !isa || !strcmp(isa, "portable") ? &es_lanes_portable : NULL;
}

int es_cpu_open(es_device **out, int threads, const char *isa, es_fault *why)
{
    const es_lanes *lanes = choose_lanes(isa);
    es_cpu *d = NULL;

    *out = NULL;
    if (!lanes) return es_fault_set(why, EINVAL, "this machine or this build has no instruction set \"%s\"", isa);
    d = calloc(1, sizeof *d);
    if (!d) return es_fault_set(why, ENOMEM, "cannot allocate the device");
    *d = (es_cpu){.base = {.backend = ES_CPU, .ops = &es_cpu_ops, .calls = &cpu_calls},
                  .lanes = lanes,
                  .threads = es_cpu_threads(threads)};
    d->pool = es_pool_open(d->threads);
    if (!d->pool) {
        int n = d->threads;
        free(d);
        return es_fault_set(why, EAGAIN, "cannot start %d threads", n);
    }
    *out = &d->base;
    return 0;
}

/* ---- any backend ---- */

int es_device_count(es_backend b, es_fault *why)
{
    if (why) *why = (es_fault){0};
    if (b == ES_CPU) return 1;
#ifdef ES_HAVE_CUDA
    return es_cuda_count(why);
#else
    es_fault_set(why, ENODEV, "this program was built without CUDA");
    return 0;
#endif
}

int es_device_open(es_device **out, es_backend b, int index, int threads, const char *isa, es_fault *why)
{
    *out = NULL;
    if (why) *why = (es_fault){0};
    if (b == ES_CPU) {
        if (index != 0) return es_fault_set(why, ENODEV, "there is one CPU device, number 0, and no number %d", index);
        return es_cpu_open(out, threads, isa, why);
    }
#ifdef ES_HAVE_CUDA
    return es_cuda_open(out, index, why);
#else
    return es_fault_set(why, ENODEV, "this program was built without CUDA");
#endif
}

void es_device_close(es_device *d)
{
    if (d) d->calls->close(d);
}

const es_ops *es_device_ops(const es_device *d)
{
    return d->ops;
}

es_backend es_device_backend(const es_device *d)
{
    return d->backend;
}

void es_device_describe(const es_device *d, es_device_facts *out)
{
    d->calls->describe(d, out);
}

void *es_device_take_arena(es_device *d, size_t bytes, es_fault *why)
{
    return d->calls->take_arena(d, bytes, why);
}

void es_device_put(es_device *d, void *dst, const void *src, size_t bytes)
{
    d->calls->put(d, dst, src, bytes);
}

void es_device_get(es_device *d, void *dst, const void *src, size_t bytes)
{
    d->calls->get(d, dst, src, bytes);
}

void es_device_fill(es_device *d, void *dst, int byte, size_t bytes)
{
    d->calls->fill(d, dst, byte, bytes);
}

void es_device_record(es_device *d)
{
    d->calls->record(d);
}

es_graph *es_device_record_end(es_device *d)
{
    return d->calls->record_end(d);
}

void es_device_replay(es_device *d, es_graph *g)
{
    d->calls->replay(d, g);
}

int es_device_sync(es_device *d, es_fault *fault)
{
    return d->calls->sync(d, fault);
}

uint64_t es_device_allocations(const es_device *d)
{
    return d->calls->allocations(d);
}
