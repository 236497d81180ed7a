/*
 * kept.h - what the stages of one recording keep in the journal while they are at work, and find there from a run that was
 * ended in their middle.
 *
 *     stage begins   es_kept_read(): entries made of the same sound, by the same packs and settings, in their order
 *                    es_kept_took(): how much of the work is done already, which the user is told
 *     stage works    es_kept_add() after each step, as the step left it
 *
 * A result does not depend on the batch, so a stage that goes on in its middle ends where it would have ended. What is
 * cheap - hashing, decoding, cutting, clustering - is done anew: what it gives is what the entries are compared by.
 *
 * Every function accepts NULL as a recording of which nothing is kept.
 */
#ifndef ES_KEPT_H
#define ES_KEPT_H

#include "base/types.h"
#include "store/journal.h"

typedef struct es_kept es_kept;

/* What entries depend on, of whatever kind. */
typedef struct es_kept_of {
    es_hash128 content;
    int track;
    int64_t samples;           /* that it was decoded to */
    const char *settings;      /* canonical JSON */
    const char *device;        /* where results could have other bits than elsewhere: its name; else "cpu" */
    es_hash128 by[ES_N_STAGES]; /* data hashes of the packs */
} es_kept_of;

/* j: borrowed; note is told what the user may want to know, and may be NULL. */
int es_kept_open(es_kept **out, es_journal *j, const es_kept_of *of, void (*note)(void *user, const char *sentence), void *user,
                 es_err *err);
void es_kept_close(es_kept *k);  /* what waits reaches the library: while the recording is claimed */
void es_kept_forget(es_kept *k); /* before the recording is stored: it does not */

/* of: what else the entries of this kind depend on: a step, cuts, texts. visit as for es_journal_read(). Once for each kind,
 * before the first es_kept_add() of it. */
int es_kept_read(es_kept *k, enum es_journal_kind kind, const void *of, size_t bytes,
                 int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err);
int es_kept_add(es_kept *k, es_journal_entry *e, es_err *err); /* e->made_with is set by the call */
void es_kept_took(const es_kept *k, enum es_journal_kind kind, int64_t n, int64_t all);

#endif
