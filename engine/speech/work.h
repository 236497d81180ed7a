/*
 * work.h - the memory that this room computes in. It is the caller's: nothing here allocates.
 *
 * A function that needs memory beside its results takes an es_work last and has a twin, es_x_bytes(), that says how much of
 * it suffices for given sizes. The twin tells the most there could be: what a recording does not need is not touched, and so
 * costs no memory where the block comes fresh from the system. Whatever a function takes it gives back before it returns, so
 * one block serves one call after another. The caller frees it.
 */
#ifndef ES_WORK_H
#define ES_WORK_H

#include <assert.h>
#include <stddef.h>

typedef struct es_work {
    unsigned char *at; /* as malloc aligns it; the caller's */
    size_t bytes, used;
} es_work;

/* What n items take. */
static inline size_t es_work_bytes(size_t n, size_t item)
{
    return (n * item + 15) / 16 * 16;
}

static inline void *es_work_take(es_work *w, size_t n, size_t item)
{
    unsigned char *p = w->at + w->used;

    w->used += es_work_bytes(n, item);
    assert(w->used <= w->bytes); /* else a twin does not say what its function takes */
    return p;
}

/* Gives back all that was taken since used was `mark`. */
static inline void es_work_drop(es_work *w, size_t mark)
{
    assert(mark <= w->used);
    w->used = mark;
}

static inline size_t es_work_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
