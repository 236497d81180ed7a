/*
 * window.h - one window of a recording, from its sound's place to the segments it says. Knows no loop and no file.
 *
 *     begin   the prompt of the window
 *     request the next attempt at decoding it: prompt, temperature, key
 *     judge   takes an attempt's output; says whether the window is done or wants another attempt
 *     split   the accepted tokens become pieces: start, end, tokens; and the place of the next window
 *     align   the pieces' words get times
 *     unsay   pieces that were said by the window before are marked
 *     write   the pieces become segments of a transcript
 *
 * A window is a plain struct, so that many windows of many recordings may be on their way at once, each in a slot of
 * the decoder of its own; the functions share nothing but the rules.
 */
#ifndef ES_WINDOW_H
#define ES_WINDOW_H

#include "base/types.h"
#include "models/whisper.h"
#include "text/bpe.h"
#include "text/words.h"

enum {
    ES_WINDOW_TEMPERATURES = 8,
    ES_WINDOW_PIECES = ES_WHISPER_POSITIONS / 2 + 1,
    ES_WINDOW_HISTORY = ES_WHISPER_POSITIONS / 2 - 1, /* tokens of text before the window, at most */
    ES_WINDOW_REPEATS = 5                             /* times in a row that four words may be said */
};

/* What holds for all windows of a recording. */
typedef struct es_window_rules {
    const es_bpe *bpe; /* borrowed */
    es_whisper_ids ids;
    bool multilingual, translate, timestamps;
    float temperature[ES_WINDOW_TEMPERATURES]; /* tried in this order */
    int n_temperatures;                        /* 1: no second attempt */
    float most_compression;                    /* a text that packs better than this repeats itself */
    float least_logprob;                       /* a text less likely than this is a guess */
    float most_no_speech;                      /* above it an unlikely text is silence */
    int max_initial;                           /* index of the largest first timestamp, -1: no limit */
    uint64_t content;                          /* of the recording, for the sampling */
} es_window_rules;

/* A part of a window's text between two timestamps. */
typedef struct es_window_piece {
    double start, end; /* seconds of the recording */
    int first_token, n_tokens;
    int first_word, n_words; /* in the scratch's words */
    bool again;              /* said before: not written */
} es_window_piece;

typedef struct es_window {
    int64_t seek; /* frames of 10 ms from the start of the recording */
    int frames;   /* of content, 1 .. 3000 */
    int language; /* index */
    int slot;
    int32_t prompt[ES_WHISPER_POSITIONS];
    int n_prompt, sot_at;
    int least_end; /* index of a timestamp before which a pair does not end the text; begin() says 0 */
    int attempts; /* judged so far */
    /* The attempt that holds, once judge() says the window is done; before that the best one so far. */
    es_whisper_output out;
    float temperature, compression;
    bool looped;            /* the same words more than ES_WINDOW_REPEATS times in a row */
    bool in_order;          /* neither looped nor packing too well */
    float last_temperature; /* of the last attempt: what the next prompt depends on */
} es_window;

/* Work memory of align() and write(); large, keep one per thread. */
typedef struct es_window_scratch {
    char text[3 * 255 * ES_WHISPER_POSITIONS];   /* of words, which point into it */
    char said[3 * 255 * ES_WHISPER_POSITIONS];   /* of a segment */
    char before[3 * 255 * ES_WHISPER_POSITIONS]; /* of one that was said before */
    int32_t tokens[ES_WHISPER_POSITIONS];
    int start_frame[ES_WHISPER_POSITIONS + 1];
    float p[ES_WHISPER_POSITIONS];
    es_timed_word words[ES_WHISPER_POSITIONS];
    uint32_t unit[ES_WHISPER_POSITIONS + 1];
} es_window_scratch;

/* history: what was said before, newest last; only the last ES_WINDOW_HISTORY tokens count. language: index. */
void es_window_begin(es_window *w, const es_window_rules *r, int64_t seek, int frames, int slot, int language,
                     const int32_t *history, size_t n_history);
/* The request borrows the window's prompt. */
es_whisper_request es_window_request(const es_window *w, const es_window_rules *r);
/* True when the window is done. */
bool es_window_judge(es_window *w, const es_window_rules *r, const es_whisper_output *out, es_window_scratch *s);
/* Of a window that is done: nothing was said in it. */
bool es_window_is_silence(const es_window *w, const es_window_rules *r);

/* Cuts the text into pieces [ES_WINDOW_PIECES]; returns how many. *next: the frame where the next window starts, always
 * past this one's start. *ends: nothing is said after the last piece. */
int es_window_split(const es_window *w, const es_window_rules *r, es_window_piece *pieces, int64_t *next, bool *ends);
/* Gives the pieces words with times, and the pieces the times of their words. said_until: seconds, where the last word
 * before the window ended; becomes the end of the last word here. The window must still be encoded in its slot. */
int es_window_align(const es_window *w, const es_window_rules *r, es_whisper *m, es_window_piece *pieces, int n_pieces,
                    double *said_until, es_window_scratch *s, es_err *err);
/* The frame where the next window starts if this one ends with its last word. */
int64_t es_window_after_words(const es_window *w, double said_until, int64_t next);
/* Marks aligned pieces that lie where words were said already: until said_until, the value before align(). */
void es_window_unsay(const es_window *w, const es_window_rules *r, es_window_piece *pieces, int n_pieces,
                     double said_until, const es_transcript *before, es_window_scratch *s);
/* Appends the pieces that say something and last some time, with times kept within 0 .. duration_ms. */
int es_window_write(const es_window *w, const es_window_rules *r, const es_window_piece *pieces, int n_pieces,
                    int64_t duration_ms, es_transcript *to, es_window_scratch *s, es_err *err);
/* Whether write() takes the piece. */
bool es_window_says(const es_window *w, const es_window_rules *r, const es_window_piece *piece);

#endif
