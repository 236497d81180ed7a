/*
 * batch.h - many recordings at once: windows of all of them share the encoder's batch and the decoder's slots.
 *
 * Every recording is cut into windows that know nothing of each other (cut.h). A slot takes the next window of the
 * oldest recording that has one; as soon as its window ends the slot is filled again, and a recording is given back as
 * soon as its last window is done. What a recording says does not depend on the slots, on the batch, or on what ran
 * beside it.
 *
 * Where sequential windows hand each other their text and place (es_transcribe), these cannot: options that ask for
 * that are refused. The largest mel value is the window's own.
 */
#ifndef ES_BATCH_H
#define ES_BATCH_H

#include "pipeline/words/transcribe.h"

/* One recording. The caller's until it is given by next(), and again from done() on. */
typedef struct es_batch_file {
    es_sound sound;
    es_hash128 content;     /* seeds the sampling */
    const es_heard *speech; /* where anyone speaks; NULL: not known, and found by loudness */
    size_t n_speech;
    es_transcript *to; /* empty */
    es_kept *kept; /* where finished windows are kept, and found from a run that was ended; NULL: nowhere */
    void *user;
} es_batch_file;

/* Where recordings come from and go to; called on the thread of es_batch_run(). */
typedef struct es_batch_source {
    /* *file NULL: there is none now or, with wait, there will be no more. Anything but ES_OK ends the run. */
    int (*next)(void *user, bool wait, es_batch_file **file, es_err *err);
    /* rc ES_OK: *file->to is complete; else err says what failed, of this recording alone. Anything but ES_OK ends the
     * run. */
    int (*done)(void *user, es_batch_file *file, int rc, const es_err *why, es_err *err);
    /* After every window; anything but 0 ends the run with ES_ECANCELLED. NULL: nobody wants to know. */
    int (*progress)(void *user, es_batch_file *file, int64_t done_ms, int64_t all_ms);
    void *user;
} es_batch_source;

typedef struct es_batch_figures {
    es_transcribe_times times;
    int64_t steps, slot_steps;                     /* of the decoder; slots that were at work in them */
    int64_t full_steps, full_slot_steps, full_all; /* the same over steps while windows waited; and if all slots had
                                                    * worked then */
    int64_t encode_all; /* windows that the encoder's steps had room for; times.windows of them were there */
} es_batch_figures;

typedef struct es_batch es_batch;

/* True where the options can be served; else the windows must go one after the other. */
bool es_batch_serves(const es_transcribe_options *o);
/* m: started, all its slots free; b: of its pack. Both borrowed. */
int es_batch_open(es_batch **out, es_whisper *m, const es_bpe *b, es_err *err);
void es_batch_close(es_batch *b); /* accepts NULL */
/* Runs until the source has no more. o: for all recordings; its content, progress, user and times are not looked at.
 * When it fails, recordings that were not given back are the source's again, incomplete. figures: may be NULL; added
 * to. */
int es_batch_run(es_batch *b, const es_transcribe_options *o, const es_batch_source *source, es_batch_figures *figures,
                 es_err *err);

/* One recording alone, with the speech, content, progress and times of o: what es_transcribe() is for the other way. */
int es_batch_one(es_whisper *m, const es_bpe *b, const es_sound *sound, const es_transcribe_options *o,
                 es_transcript *to, es_err *err);

#endif
