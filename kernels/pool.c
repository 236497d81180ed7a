/*
 * pool.c - the threads of a CPU device.
 *
 * A decoding step is a hundred small ops of a few tens of microseconds, so handing out work has to cost about one. Each
 * thread has a share of a call's jobs, a run of them, and all that threads fight over is one 64-bit word for each
 * share, its ticket:
 *
 *     | generation 24 | end of the share 20 | next job 20 |
 *
 * A thread takes a job by moving a ticket from (g, n, i) to (g, n, i + 1) with i < n: of its own share while that
 * lasts, then of the others'. The move succeeds only while generation g still has jobs to take, and then the call that
 * wrote fn and arg has not returned, so what the thread read of them before the move is what belongs to g. A thread
 * that wakes late finds nothing to take and goes back to waiting: the caller never waits for it. The caller returns
 * when `done` has counted every job.
 *
 * Shares are there for the caches: what a thread wrote in one op is what it reads in the next, where jobs are numbered
 * by the rows they are about, and a line that another core has changed has to come from there.
 *
 * A worker spins for some tens of microseconds after its last job, which bridges the gap between two ops of a program,
 * then sleeps on a condition variable. The caller takes the lock only when somebody sleeps.
 */
#define _GNU_SOURCE
#include "kernels/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { JOB_BITS = 20, SPINS = 4000, YIELD_AFTER = 20000 };

typedef struct worker {
    es_pool *pool;
    pthread_t id;
    int index;
} worker;

typedef struct share {
    _Alignas(64) _Atomic uint64_t ticket;
} share;

struct es_pool {
    _Alignas(64) _Atomic uint32_t done;
    _Alignas(64) _Atomic(es_job_fn) fn;
    _Atomic(void *) arg;
    _Atomic int sleepers;
    _Atomic bool quit;
    uint64_t generation; /* the caller's own */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int n_workers, n_shares;
    worker *workers;
    share shares[];
};

static inline void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline bool has_job(uint64_t ticket)
{
    uint64_t mask = (1u << JOB_BITS) - 1;

    return (ticket & mask) < (ticket >> JOB_BITS & mask);
}

static bool any_job(es_pool *p, memory_order order)
{
    for (int i = 0; i < p->n_shares; i++)
        if (has_job(atomic_load_explicit(&p->shares[i].ticket, order))) return true;
    return false;
}

/* Takes and does jobs of a share until none is left. */
static void work_off(es_pool *p, share *s, int thread)
{
    uint64_t t = atomic_load_explicit(&s->ticket, memory_order_acquire);

    while (has_job(t)) {
        es_job_fn fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&s->ticket, &t, t + 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        fn(arg, (int)(t & ((1u << JOB_BITS) - 1)), thread);
        atomic_fetch_add_explicit(&p->done, 1, memory_order_release);
        t = atomic_load_explicit(&s->ticket, memory_order_acquire);
    }
}

/* Its own share first. */
static void work(es_pool *p, int thread)
{
    for (int i = 0; i < p->n_shares; i++) work_off(p, &p->shares[(thread + i) % p->n_shares], thread);
}

static void *worker_main(void *user)
{
    worker *w = user;
    es_pool *p = w->pool;

    for (;;) {
        int spins = 0;
        while (!any_job(p, memory_order_relaxed) && spins < SPINS) {
            pause_a_little();
            spins++;
        }
        if (spins == SPINS) {
            pthread_mutex_lock(&p->lock);
            /* The caller publishes the tickets, then looks at sleepers; here it is the other way round. Both orders are
             * sequentially consistent, so one of the two sees the other and no wake-up is lost. */
            atomic_fetch_add(&p->sleepers, 1);
            while (!atomic_load(&p->quit) && !any_job(p, memory_order_seq_cst)) pthread_cond_wait(&p->wake, &p->lock);
            atomic_fetch_sub(&p->sleepers, 1);
            pthread_mutex_unlock(&p->lock);
        }
        if (atomic_load_explicit(&p->quit, memory_order_acquire)) return NULL;
        work(p, w->index);
    }
}

void es_pool_run(es_pool *p, int jobs, es_job_fn fn, void *arg)
{
    if (p->n_workers == 0 || jobs <= 1) {
        for (int i = 0; i < jobs; i++) fn(arg, i, 0);
        return;
    }
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    p->generation = (p->generation + 1) & 0xFFFFFF;
    for (int i = 0; i < p->n_shares; i++) {
        uint64_t first = (uint64_t)jobs * (uint64_t)i / (uint64_t)p->n_shares;
        uint64_t end = (uint64_t)jobs * (uint64_t)(i + 1) / (uint64_t)p->n_shares;
        atomic_store(&p->shares[i].ticket, p->generation << (2 * JOB_BITS) | end << JOB_BITS | first);
    }
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
    work(p, 0);
    for (int spins = 0; atomic_load_explicit(&p->done, memory_order_acquire) != (uint32_t)jobs; spins++)
        spins < YIELD_AFTER ? pause_a_little() : (void)sched_yield();
}

es_pool *es_pool_open(int threads)
{
    es_pool *p = aligned_alloc(64, sizeof *p + (size_t)threads * sizeof(share));
    worker *workers = calloc((size_t)threads, sizeof *workers);

    if (!p || !workers) {
        free(p);
        free(workers);
        return NULL;
    }
    *p = (es_pool){.n_shares = threads, .workers = workers};
    for (int i = 0; i < threads; i++) p->shares[i] = (share){0};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < threads; i++) {
        worker *w = &p->workers[p->n_workers];
        *w = (worker){.pool = p, .index = i};
        if (pthread_create(&w->id, NULL, worker_main, w)) {
            es_pool_close(p);
            return NULL;
        }
        p->n_workers++;
    }
    return p;
}

void es_pool_close(es_pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->quit, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_workers; i++) pthread_join(p->workers[i].id, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}
