/*
 * transcribe.h - a whole recording to text, one window after the other: the sequential way, as the reference does it.
 *
 *     first pass   the largest mel value of the recording, since the floor of every window hangs on it
 *     windows      each starts where the last complete segment of the one before ended
 *
 * Memory does not grow with the recording but for the transcript. The same recording, pack and options give the same
 * transcript, whatever came before. A transcriber serves one model and one thread.
 */
#ifndef ES_TRANSCRIBE_H
#define ES_TRANSCRIBE_H

#include "base/types.h"
#include "media/decode.h"
#include "models/whisper.h"
#include "pipeline/kept.h"
#include "pipeline/words/sound.h"
#include "text/bpe.h"

es_sound es_sound_of(es_spool *s); /* borrows the spool */

/* 0 to go on, else ES_ECANCELLED; what: "listening" (first pass) or "transcribing". */
typedef int (*es_transcribe_progress)(void *user, const char *what, int64_t done_ms, int64_t all_ms);

/* Where the time went, in seconds of wall clock; each call adds to it. */
typedef struct es_transcribe_times {
    double listen, encode, decode, align; /* first pass; mel and encoder; language and text; words */
    int64_t windows, attempts, tokens;    /* windows that reached the model, their decodings, tokens sampled */
} es_transcribe_times;

typedef struct es_transcribe_options {
    const char *language; /* code or name; NULL or "auto": of the first window with speech; "each": of every window */
    bool translate;       /* into English */
    bool sequential;      /* for ingest: one recording and one window after the other, as es_transcribe() always does */
    const char *prompt;   /* words that every window is told before it: names, spelling. NULL: none */
    bool previous_text;   /* each window is told what was said before it; helps style, and lets loops travel */
    bool timestamps;      /* false: windows of 30 s, one segment each */
    bool words;           /* times of words, which also show what is said without sound or twice; never moves the
                           * next window ... The model must be planned with align; one without alignment heads
                           * gives no words. */
    bool seek_words;      /* ... unless this is set: a window ends with its last word */
    float temperature[8]; /* tried in this order until a text is good; one value: no second attempt */
    int n_temperatures;
    float most_compression; /* text that packs better is decoded again */
    float least_logprob;    /* text less likely on average is decoded again */
    float most_no_speech;   /* above it unlikely text is silence */
    float max_initial;      /* seconds into a window where its first segment may start at the latest; < 0: no limit */
    float quiet_dbfs;       /* a window whose loudest sample is below this never reaches the model */
    const es_heard *speech; /* where there is speech, in order: windows that touch none of it never reach the model */
    size_t n_speech;        /* speech NULL: it is not known, and every window does */
    es_hash128 content;     /* of the recording: seeds the sampling at temperatures above 0 */
    es_transcribe_progress progress; /* NULL: none */
    void *user;
    es_transcribe_times *times; /* NULL: not measured */
    es_kept *kept; /* where finished windows are kept, and found from a run that was ended; NULL: nowhere */
} es_transcribe_options;

/* auto, transcribe, timestamps, words, no previous text, temperatures 0, 0.2 .. 1, limits 2.4, -1, 0.6, 1 s, -70 dB. */
es_transcribe_options es_transcribe_defaults(void);

typedef struct es_transcriber es_transcriber;

/* m: started, with at least one window and one slot; b: of its pack. Both borrowed. */
int es_transcriber_open(es_transcriber **out, es_whisper *m, const es_bpe *b, es_err *err);
void es_transcriber_close(es_transcriber *t); /* accepts NULL */

/* Fills *to, which must be empty; on failure it holds what was finished before. Slot 0 of the model must be free.
 * ES_EARG for options the model cannot serve. A recording without sound gives no segments and no language. */
int es_transcribe(es_transcriber *t, const es_sound *sound, const es_transcribe_options *o, es_transcript *to,
                  es_err *err);

#endif
