/*
 * bench.h - the main job on one file, measured.
 */
#ifndef ES_BENCH_H
#define ES_BENCH_H

#include "pipeline/ingest.h"

/* Ingests path into a library of its own in a temporary folder ($TMPDIR or /tmp), which is removed. *text, the caller's
 * to free, holds seconds of each stage, times real time and the peak of memory, for people or as JSON. */
int es_bench(es_session *session, const char *path, const es_transcribe_options *speech, const es_hear_options *hear, bool json,
             es_ingest_fn listen, void *user, char **text, size_t *bytes, es_err *err);

#endif
