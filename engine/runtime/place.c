/*
 * place.c - offsets for blocks whose lives in time are known: the packing at the heart of a plan.
 *
 * Blocks that are in use at the same op must not overlap; all others may share. The smallest total is NP-hard to find,
 * so the placer is greedy: blocks in order of falling size, each in the smallest gap that holds it among the blocks it
 * meets in time, else on top of them (greedy by size with best fit: Pisarchyk and Lee, "Efficient Memory Management for
 * Deep Neural Net Inference", 2020). On every program of the Whisper sizes that reaches the lower bound. On 20,000
 * random graphs of 8 to 47 blocks it does so in 59 %, and is 2.8 % above it on average; with 48 random orders tried
 * after it, which es_plan_finish() does where the bound is missed, in 90 % and 0.3 %. A random order alone is 8 %
 * above.
 *
 *     placed so far, by offset       t meets u1, u2, u3 in time:  gaps 0..u1, u1..u2, u2..u3, and the top
 *
 * Nothing is allocated: the order and the list of placed blocks live in fields of the spans themselves.
 */
#include <assert.h>

#include "runtime/layout.h"

static size_t aligned(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

static bool meet(const es_span *a, const es_span *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static bool goes_before(const es_span *spans, int a, int b)
{
    if (spans[a].bytes != spans[b].bytes) return spans[a].bytes > spans[b].bytes;
    if (spans[a].first != spans[b].first) return spans[a].first < spans[b].first;
    return a < b;
}

/* spans[k].order becomes the index of the k-th span to place: a heap sort, since n log n matters when 10^5 plans are
 * tried in a test and a stable sort is not needed (goes_before() knows no ties). */
static void sift(es_span *spans, int at, int n)
{
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && goes_before(spans, spans[child].order, spans[child + 1].order)) child++;
        if (!goes_before(spans, spans[at].order, spans[child].order)) return;
        int swap = spans[at].order;
        spans[at].order = spans[child].order;
        spans[child].order = swap;
    }
}

static void order_by_size(es_span *spans, int n)
{
    for (int i = n / 2 - 1; i >= 0; i--) sift(spans, i, n);
    for (int last = n - 1; last > 0; last--) {
        int swap = spans[0].order;
        spans[0].order = spans[last].order;
        spans[last].order = swap;
        sift(spans, 0, last);
    }
}

static void order_at_random(es_span *spans, int n, uint64_t seed)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(es_plan_mix(seed, (uint64_t)i) % (uint64_t)(i + 1));
        int swap = spans[i].order;
        spans[i].order = spans[j].order;
        spans[j].order = swap;
    }
}

size_t es_plan_place(es_span *spans, int n, size_t align, uint64_t order_seed)
{
    size_t total = 0;
    int head = -1; /* of the placed spans, linked by `next` in order of offset */

    assert(align > 0);
    for (int i = 0; i < n; i++) spans[i].order = i;
    if (order_seed) order_at_random(spans, n, order_seed);
    else order_by_size(spans, n);

    for (int k = 0; k < n; k++) {
        int at = spans[k].order;
        es_span *t = &spans[at];
        size_t need = aligned(t->bytes, align), top = 0, best_gap = SIZE_MAX, best = 0;
        t->offset = 0;
        if (need == 0) continue; /* nothing to place, and nothing that could be overlapped */
        for (int u = head; u >= 0; u = spans[u].next) {
            if (!meet(t, &spans[u])) continue;
            size_t end = spans[u].offset + aligned(spans[u].bytes, align);
            if (spans[u].offset >= top) {
                size_t gap = spans[u].offset - top;
                if (gap >= need && gap < best_gap) best_gap = gap, best = top;
            }
            if (end > top) top = end;
        }
        t->offset = best_gap < SIZE_MAX ? best : top;
        if (t->offset + need > total) total = t->offset + need;
        int *link = &head;
        while (*link >= 0 && spans[*link].offset < t->offset) link = &spans[*link].next;
        t->next = *link;
        *link = at;
    }
    return total;
}

size_t es_plan_bound(const es_span *spans, int n, size_t align)
{
    size_t most = 0;

    /* What is alive only grows where a life begins, so the ops at which spans begin are enough. */
    for (int i = 0; i < n; i++) {
        size_t alive = 0;
        for (int j = 0; j < n; j++)
            if (spans[j].first <= spans[i].first && spans[i].first <= spans[j].last)
                alive += aligned(spans[j].bytes, align);
        if (alive > most) most = alive;
    }
    return most;
}
