/*
 * passages.h - what was said, cut into passages: the pieces that are found again by their meaning and their words.
 *
 * A passage is some sentences of one speaker in one language, long enough to mean something and short enough to point at
 * a moment. Its length is counted in tokens of the text encoder that is to read it, or by words where there is none. The
 * same transcript and rule give the same passages.
 */
#ifndef ES_PASSAGES_H
#define ES_PASSAGES_H

#include "base/err.h"
#include "base/types.h"

typedef struct es_passage_rule {
    int least, most; /* tokens; 0: 64 and 256. least is what is aimed at, most what is never passed */
    int overlap;     /* tokens of the passage before that a passage of the same speech begins with, whole sentences; 0: none */
    /* Tokens of a text, or SIZE_MAX when memory is out; NULL: a rule of thumb that needs no model. */
    size_t (*count)(void *user, const char *text, size_t bytes);
    void *user;
} es_passage_rule;

/* From words and, in segments without any, from the segment's text with times in proportion. rule NULL: all defaults. On
 * success *out is the caller's, to give to es_passages_done(); on failure it is zeroed. Vectors are not made here. */
int es_passages_cut(es_passages *out, const es_transcript *t, const es_passage_rule *rule, es_err *err);

/* Tokens of a text as the rule of thumb has it: one for six letters of a word begun, one for each character of a script
 * without blanks. */
size_t es_passages_guess(const char *text, size_t bytes);

#endif
