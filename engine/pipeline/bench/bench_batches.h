/*
 * bench_batches.h - how long a step of each pack takes here, against its size: what the planner then goes by (costs.h).
 */
#ifndef ES_BENCH_BATCHES_H
#define ES_BENCH_BATCHES_H

#include "pipeline/session/session.h"

/* Measures every pack of the folder on the options' device, writes costs-BACKEND.json there and gives a table. *text is the
 * caller's to free. */
int es_bench_batches(const es_session_options *o, bool json, char **text, size_t *bytes, es_err *err);

#endif
