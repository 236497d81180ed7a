/*
 * reembed.h - vectors of another text encoder for all that was said, without the recordings.
 *
 * Recording by recording, each in a transaction of its own: what has its vectors already is passed over, so a run that is
 * cut off at any moment goes on where it was. Until all have them the library has two spaces, and searches go on in the old
 * one; then the others are dropped. Recordings of older libraries get their passages here.
 */
#ifndef ES_REEMBED_H
#define ES_REEMBED_H

#include "base/err.h"
#include "pipeline/search/embedding.h"
#include "store/store.h"

typedef enum es_reembed_kind { ES_REEMBED_AT, ES_REEMBED_DONE, ES_REEMBED_FAILED } es_reembed_kind;

typedef struct es_reembed_event {
    es_reembed_kind kind;
    const char *path;
    size_t index, count;
    const char *text; /* why it failed */
} es_reembed_event;

typedef struct es_reembed_tally {
    size_t recordings, made, known, failed;
    size_t dropped; /* spaces */
} es_reembed_tally;

/* listen: anything but 0 cancels; may be NULL. Other spaces are dropped only where nothing failed. */
int es_reembed(es_store *s, es_embedding *e, int (*listen)(void *user, const es_reembed_event *event), void *user,
               es_reembed_tally *tally, es_err *err);

#endif
