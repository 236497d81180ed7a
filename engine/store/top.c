/*
 * top.c - a binary heap.
 */
#include "store/top.h"

#include <stdlib.h>

static void sink(es_top *t, size_t i)
{
    es_scored s = t->at[i];

    for (size_t child; (child = 2 * i + 1) < t->n; i = child) {
        if (child + 1 < t->n && es_top_better(&t->at[child], &t->at[child + 1])) child++; /* the worse one */
        if (!es_top_better(&s, &t->at[child])) break;
        t->at[i] = t->at[child];
    }
    t->at[i] = s;
}

void es_top_add(es_top *t, const es_scored *s)
{
    size_t i;

    if (!t->k) return;
    if (t->n == t->k) {
        if (!es_top_better(s, &t->at[0])) return;
        t->at[0] = *s;
        sink(t, 0);
        return;
    }
    for (i = t->n++; i && es_top_better(&t->at[(i - 1) / 2], s); i = (i - 1) / 2) t->at[i] = t->at[(i - 1) / 2];
    t->at[i] = *s;
}

static int by_rank(const void *a, const void *b)
{
    return es_top_better(a, b) ? -1 : es_top_better(b, a) ? 1 : 0;
}

void es_top_sort(es_top *t)
{
    if (t->n) qsort(t->at, t->n, sizeof *t->at, by_rank);
}
