/*
 * bench_pipeline.h - the main job on a queue of recordings, measured stage by stage.
 */
#ifndef ES_BENCH_PIPELINE_H
#define ES_BENCH_PIPELINE_H

#include "pipeline/bench/figures.h"
#include "pipeline/ingest.h"

/* Ingests paths, files or folders, into a library of their own in a temporary folder ($TMPDIR or /tmp), which is removed. A
 * file that fails is told to listen and has no part in the figures; when all fail the last one's sentence is the error. */
int es_bench_pipeline(es_session *session, const char *const *paths, size_t n, const es_transcribe_options *speech,
                      const es_hear_options *hear, es_ingest_fn listen, void *user, es_figures *out, es_err *err);

#endif
