/*
 * meaning.h - what was said, made findable: the passages of a recording and, with a text encoder, their vectors.
 *
 * Passages belong to the transcript and the encoder's tokenizer, vectors to the encoder alone. When the model changes, the
 * passages of a recording stay and only their vectors are made anew.
 */
#ifndef ES_MEANING_H
#define ES_MEANING_H

#include "base/err.h"
#include "base/types.h"
#include "pipeline/kept.h"
#include "pipeline/session/session.h"
#include "store/store.h"

/* Cuts t into passages: by the encoder's tokens, or by a rule of thumb where e is NULL or has no tokenizer. No vectors. *out
 * is the caller's, to give to es_passages_done(). */
int es_meaning_cut(es_passages *out, const es_transcript *t, const es_embedding *e, es_err *err);
/* Where the time went, in seconds of wall clock; each call adds to it. */
typedef struct es_meaning_times {
    double cut, vectors;
    int64_t computed; /* vectors, without those that an earlier run had kept */
} es_meaning_times;

/* The vectors of passages, in e's space; what out held is freed. kept: where they are kept on their way; or NULL. times:
 * their number is added; or NULL. */
int es_meaning_vectors(es_vectors *out, const es_passages *p, es_embedding *e, es_kept *kept, es_meaning_times *times, es_err *err);

/* Both of a recording whose transcript, with its speakers, is there: what ingest does. Without a text encoder the passages
 * are found by their words alone. */
int es_meaning_add(es_result *r, es_session *session, es_kept *kept, es_meaning_times *times, es_err *err);

#endif
