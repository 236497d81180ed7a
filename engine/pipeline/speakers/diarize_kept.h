/*
 * diarize_kept.h - the windows of diarization in the journal: only for diarize_windows.c.
 */
#ifndef ES_DIARIZE_KEPT_H
#define ES_DIARIZE_KEPT_H

#include "pipeline/speakers/diarize.h"

/* What an earlier run left: *done windows from the first on, as they were. w: with its classes' room, or after them with
 * its width and its rows all at -1. */
int es_diarize_kept_classes(es_diarize_windows *w, int64_t *done, es_kept *k, es_err *err);
int es_diarize_kept_voices(es_diarize_windows *w, int64_t *done, es_kept *k, es_err *err);

/* The windows [first, first + n) have their classes; [first, until) their vectors, of which those before n_before are older. */
int es_diarize_keep_classes(const es_diarize_windows *w, int64_t first, int64_t n, es_kept *k, es_err *err);
int es_diarize_keep_voices(const es_diarize_windows *w, int64_t first, int64_t until, size_t n_before, es_kept *k, es_err *err);

/* The vector of a slot, behind those that are there. */
int es_diarize_add_vector(es_diarize_windows *w, int64_t slot, const float *v, es_err *err);

#endif
