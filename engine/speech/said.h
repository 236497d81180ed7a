/*
 * said.h - whose each word is: words with times against turns.
 */
#ifndef ES_SAID_H
#define ES_SAID_H

#include "base/types.h"
#include "speech/work.h"

/* A word, or a whole segment where there are no words. */
typedef struct es_said {
    int64_t start_ms, end_ms;
    bool ends_sentence; /* . ? ! or the like stand behind it */
    int speaker;        /* set by the call: -1 where nobody was found in the whole recording */
    bool unsupported;   /* set by the call: no turn within a second */
} es_said;

/* words in the order in which they are said; turns of one speaker at a time, in order. */
void es_said_by(es_said *words, size_t n, const es_spoken *turns, size_t m, int speakers, es_work *work);
size_t es_said_bytes(size_t n, int speakers);

/* Who else speaks while a word is said: the speaker other than `speaker` with the longest turns inside at least a quarter
 * of it, or -1. turns may overlap. *from: 0 before the first of a row of words that start one after the other. */
int es_said_meanwhile(const es_spoken *turns, size_t m, int64_t start_ms, int64_t end_ms, int speaker, size_t *from);

#endif
