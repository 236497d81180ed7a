/*
 * spool.h - writing a spool; for this room only. Reading is in decode.h.
 */
#ifndef ES_SPOOL_H
#define ES_SPOOL_H

#include "media/decode.h"

/* An empty spool in a new file of tmp_dir. Only the calls below and es_spool_close may touch it until it is finished. */
int es_spool_create(es_spool **out, const char *tmp_dir, es_err *err);
int es_spool_append(es_spool *s, const int16_t *samples, int64_t n, es_err *err);
int es_spool_append_silence(es_spool *s, int64_t n, es_err *err);
/* Writes the trailer. From here on the spool is read only. */
int es_spool_finish(es_spool *s, es_err *err);

#endif
