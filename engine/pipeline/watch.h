/*
 * watch.h - ingest that does not end: what lies in some folders, then what arrives there.
 */
#ifndef ES_WATCH_H
#define ES_WATCH_H

#include "pipeline/arrivals.h"
#include "pipeline/ingest.h"

/* Runs until job->listen, which must be there, returns anything but 0: that is the good end, ES_OK. While there is nothing to
 * do it is told ES_INGEST_WAITING a few times a second. o: its note and user are not looked at; notes go to job->listen.
 * *tally, which may be NULL, is the sum over all that was ingested; it is set also where the watch failed. */
int es_watch(const es_ingest_job *job, const char *const *folders, size_t n, const es_arrivals_options *o,
             es_ingest_tally *tally, es_err *err);

#endif
