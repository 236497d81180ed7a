/*
 * batch_parts.h - what the files of batch.h share: recordings on their way, and the chains of windows they are cut into.
 *
 * batch.c says what becomes of them; batch_kept.c is how they outlive a run that is ended. For these two alone.
 */
#ifndef ES_BATCH_PARTS_H
#define ES_BATCH_PARTS_H

#include "pipeline/words/batch.h"
#include "pipeline/words/cut.h"
#include "pipeline/words/rules.h"

typedef struct es_batch_chain {
    int64_t seek, end; /* frames: where its next window begins, where it ends */
    double said_until;
    es_transcript part;
    int language; /* index, -1 not known; of its own where each window has one */
    float probability;
    bool voted, over;
    struct es_batch_chain *after; /* in the list of those that wait */
} es_batch_chain;

typedef struct es_batch_recording {
    es_batch_file *file;
    es_window_rules rules;
    es_batch_chain *chains;
    size_t n, fresh, done; /* fresh: those before it were begun */
    es_batch_chain *again;          /* to be encoded once more, in this order */
    size_t busy;           /* slots that work for it */
    int64_t frames, frames_done;
    int language; /* index, -1 not known yet */
    float probability;
    size_t votes;
    int rc;
    es_err why;
    struct es_batch_recording *after;
} es_batch_recording;

/* Chains whose windows say which language a recording has: its first few. */
size_t es_batch_voters(const es_batch_recording *r);
/* Steps r->fresh over the chains that are over. */
void es_batch_skip_over(es_batch_recording *r);
/* Goes on where an earlier run of the same recording, cut the same, was ended. each: every window has a language of its own. */
int es_batch_take_up(es_batch_recording *r, const es_cut *cuts, int n_languages, bool each, es_err *err);
/* Keeps a chain as it is now: its last window was written. */
int es_batch_keep_chain(es_batch_recording *r, es_batch_chain *c, es_err *err);
int es_batch_keep_language(const es_batch_recording *r, es_err *err);

#endif
