/*
 * unkept.c - pipeline/kept.h where there is no library to keep anything in: for programs built without a store.
 *
 * es_kept is NULL there, and a NULL keeps nothing.
 */
#include "pipeline/kept.h"

int es_kept_read(es_kept *k, enum es_journal_kind kind, const void *of, size_t bytes,
                 int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err)
{
    (void)k, (void)kind, (void)of, (void)bytes, (void)visit, (void)user, (void)err;
    return ES_OK;
}

int es_kept_add(es_kept *k, es_journal_entry *e, es_err *err)
{
    (void)k, (void)e, (void)err;
    return ES_OK;
}

void es_kept_took(const es_kept *k, enum es_journal_kind kind, int64_t n, int64_t all)
{
    (void)k, (void)kind, (void)n, (void)all;
}
