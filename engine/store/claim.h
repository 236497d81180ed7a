/*
 * claim.h - which process works on which recording.
 *
 * Processes that share a library take different recordings: a claim is a kernel lock on one byte, at the place the
 * content hash names, of a file in the library's folder. It says nothing about what is stored, it dies with the
 * process, and the file stays empty.
 */
#ifndef ES_CLAIM_H
#define ES_CLAIM_H

#include "base/err.h"
#include "base/hash.h"

typedef struct es_claims es_claims;

/* dir: of the library. One per process and library, used from one thread. */
int es_claims_open(es_claims **out, const char *dir, es_err *err);
void es_claims_close(es_claims *c); /* accepts NULL; gives back every claim */

/* ES_EBUSY while another process holds it. */
int es_claims_take(es_claims *c, es_hash128 content, es_err *err);
void es_claims_drop(es_claims *c, es_hash128 content);

#endif
