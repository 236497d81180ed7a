/*
 * ingest.h - media files in; their words, speakers and meaning in the library.
 *
 * Every file goes through the same steps - read for its hash, looked up, decoded, transcribed, stored - and is in the
 * library either whole or not at all. A file that fails is told and passed over; what makes every file fail (no memory
 * for the model, a broken library) ends the walk.
 */
#ifndef ES_INGEST_H
#define ES_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pipeline/again.h"
#include "pipeline/words/batch.h"
#include "pipeline/speakers/hear.h"
#include "pipeline/search/meaning.h"
#include "pipeline/session/session.h"
#include "pipeline/words/transcribe.h"
#include "store/store.h"

typedef enum es_ingest_kind {
    ES_INGEST_START,
    ES_INGEST_PROGRESS,
    ES_INGEST_STORED,
    ES_INGEST_KNOWN,
    ES_INGEST_FAILED,
    ES_INGEST_NOTE,
    ES_INGEST_WAITING /* of a watch: there is nothing to do */
} es_ingest_kind;

typedef struct es_ingest_event {
    es_ingest_kind kind;
    const char *path;
    size_t index, count;
    const char *stage;
    double fraction, fraction_all;       /* 0 .. 1 of this file's work, of all; < 0: not known */
    double eta_seconds, eta_all_seconds; /* < 0: not known */
    double speed;                        /* seconds of sound a second; 0: not known */
    int64_t audio_ms;
    double seconds;
    uint64_t words;
    const char *text;
} es_ingest_event;

/* Anything but 0 cancels. Progress comes at most ten times a second. */
typedef int (*es_ingest_fn)(void *user, const es_ingest_event *e);

/* A transaction of the journal costs some milliseconds of waiting for the disk: a few thousandths of the time. */
#define ES_INGEST_KEEP_SECONDS 2.0

typedef struct es_ingest_job {
    es_session *session;
    es_store *store;
    es_transcribe_options speech;
    es_hear_options hear;
    int track;           /* from 0 */
    unsigned again;      /* parts of what is known that are made once more, see again.h; 0: it stays as it is */
    double keep_seconds; /* between transactions of the journal: what an end at any moment costs; see kept.h */
    es_ingest_fn listen; /* may be NULL */
    void *user;
} es_ingest_job;

typedef struct es_ingest_tally {
    size_t files, stored, known, failed;
    int64_t audio_ms;
    double seconds;
    double decode_seconds, hear_seconds, speech_seconds, store_seconds; /* of the stages, over all files */
    double read_seconds, load_seconds, meaning_seconds, names_seconds;  /* hashes; models; passages and vectors; who is who */
    uint64_t passages;
    es_diarize_times heard;                                             /* inside hear */
    es_transcribe_times times;                                          /* inside speech */
    es_meaning_times meaning;                                           /* inside meaning_seconds */
    es_batch_figures batch;                                             /* the same where recordings go side by side */
} es_ingest_tally;

/* ES_OK also when files failed. tally may be NULL. */
int es_ingest(const es_ingest_job *job, const char *const *paths, size_t n, es_ingest_tally *tally, es_err *err);

/* The settings that can change a result, as canonical JSON; the caller frees. NULL without memory. */
char *es_ingest_settings(const es_session *s, const es_transcribe_options *speech, const es_hear_options *hear,
                         bool sequential);

#endif
