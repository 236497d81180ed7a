/*
 * plda.h - the PLDA of community-1 from its pack.
 */
#ifndef ES_PLDA_H
#define ES_PLDA_H

#include "base/err.h"
#include "speech/cluster.h"

/* *out is the caller's to free(). A pack of other sizes than community-1's is refused. */
int es_plda_open(es_plda **out, const char *path, es_err *err);

#endif
