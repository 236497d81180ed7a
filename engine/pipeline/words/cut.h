/*
 * cut.h - a recording in pieces of at most 30 s, cut where it is quiet: windows that know nothing of each other.
 *
 *     speech      |--|  |-----|      |----------------------------------------| |---|
 *     cuts      [              ]    [                              ][                ]
 *
 * Together the pieces are as few as the 30 s allow, nearly: each ends where nobody speaks, or at a pause, as long a one
 * as can be had without many more pieces. Silences between two pieces belong to neither; those within one to it.
 */
#ifndef ES_CUT_H
#define ES_CUT_H

#include "pipeline/words/transcribe.h"

typedef struct es_cut {
    int64_t first, end; /* frames of 10 ms; end - first <= ES_MEL_WINDOW_FRAMES */
} es_cut;

/* *out is the caller's to free. speech: where anyone speaks, in order of start; NULL: wherever a sample is as loud as
 * quiet_dbfs. The sound is read once. Pieces are in order and do not overlap. */
int es_cut_sound(es_cut **out, size_t *n, const es_sound *sound, const es_heard *speech, size_t n_speech,
                 float quiet_dbfs, es_err *err);

#endif
