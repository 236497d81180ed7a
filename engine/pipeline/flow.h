/*
 * flow.h - all recordings of a command at once: the default way of ingest. Only for ingest.c.
 */
#ifndef ES_FLOW_H
#define ES_FLOW_H

#include "pipeline/steps.h"

/* Every file of w->list into the library; told and counted as ingest.h says. */
int es_flow(es_ingest_walk *w, es_err *err);

#endif
