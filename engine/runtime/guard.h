/*
 * guard.h - tells AddressSanitizer which bytes of the arena are in use, so that an op that reads or writes beside its
 * tensors is caught although all tensors lie in one allocation. Nothing at all in other builds and on other devices.
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

#include "runtime/layout.h"

#if defined(__SANITIZE_ADDRESS__)
#define ES_GUARD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ES_GUARD 1
#endif
#endif

#ifdef ES_GUARD
#include <sanitizer/asan_interface.h>
#endif

static inline void es_guard_open(const es_arena *a, const void *p, size_t bytes)
{
#ifdef ES_GUARD
    if (a->plan->backend == ES_CPU) __asan_unpoison_memory_region(p, bytes);
#else
    (void)a, (void)p, (void)bytes;
#endif
}

static inline void es_guard_close(const es_arena *a, const void *p, size_t bytes)
{
#ifdef ES_GUARD
    if (a->plan->backend == ES_CPU) __asan_poison_memory_region(p, bytes);
#else
    (void)a, (void)p, (void)bytes;
#endif
}

#endif
