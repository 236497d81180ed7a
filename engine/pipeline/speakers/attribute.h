/*
 * attribute.h - a transcript learns who said it: each word its speaker, and segments that end where the speaker changes.
 */
#ifndef ES_ATTRIBUTE_H
#define ES_ATTRIBUTE_H

#include "base/err.h"
#include "base/types.h"
#include "text/bpe.h"

/* Words get speakers from the exclusive turns of who (speech/said.h); a segment with words of several is cut into one for
 * each row of words, its tokens shared out by the bytes they spell. b: of the model that wrote the tokens. Where nobody was
 * heard nothing changes. On failure the transcript is as it was. */
int es_attribute(es_transcript *t, const es_diarization *who, const es_bpe *b, es_err *err);

/* Takes that back: what was cut is joined, and nobody is said to have said anything. same: b is known to be of the model
 * that wrote the tokens; else it must spell the text that is there, or it is ES_EARG and the transcript is as it was. */
int es_attribute_undo(es_transcript *t, const es_bpe *b, bool same, es_err *err);

#endif
