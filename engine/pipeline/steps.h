/*
 * steps.h - one recording's way into the library, step by step: what ingest.c walks one after the other and flow.c for
 * many at once. Only for those two.
 */
#ifndef ES_STEPS_H
#define ES_STEPS_H

#include "media/decode.h"
#include "pipeline/ingest.h"
#include "pipeline/kept.h"
#include "pipeline/speakers/names.h"
#include "pipeline/walk.h"
#include "store/claim.h"
#include "store/journal.h"

/* The file that is told about. */
typedef struct es_steps_view {
    size_t index;
    double file_began, stage_began, listened, told;
    const char *stage;
    int64_t audio_ms;
    double fraction, speed;
} es_steps_view;

typedef struct es_ingest_walk {
    const es_ingest_job *job;
    es_claims *claims;
    es_hear *hear;    /* once the models are ready */
    es_people people; /* who is enrolled */
    es_journal *journal;
    es_walk list;
    char *settings; /* canonical JSON of the job's settings */
    es_ingest_tally tally;
    double began;

    es_steps_view at; /* the file at work */

    /* for the estimate of what is left */
    double bytes_done, seconds_done; /* of files that were computed */
    double flow_done, flow_all; /* bytes of files done in part, of all that cost something; 0: one after the other */
    bool sequential;
    bool cancelled;
    bool hopeless; /* what failed is not this file's but every file's */
} es_ingest_walk;

double es_steps_now(void); /* seconds */

/* ---- telling ---- */
int es_steps_tell(es_ingest_walk *w, es_ingest_kind kind, uint64_t words, const char *text);
void es_steps_begin(es_ingest_walk *w, const char *stage);
/* Called by every stage many times a second; passes on what a person can read. Anything but 0: cancelled. */
int es_steps_progress(es_ingest_walk *w, double fraction, double speed);
int es_steps_on_read(void *user, const char *what, int64_t done, int64_t all); /* user: the walk */
int es_steps_on_decode(void *user, const char *what, int64_t done, int64_t all);
int es_steps_on_speech(void *user, const char *what, int64_t done_ms, int64_t all_ms);
double es_steps_heard_share(const es_ingest_walk *w); /* where the share of transcription begins */

/* ---- in this order ---- */
/* The content hash, from the cache where the file is the one that was read before. */
int es_steps_identify(es_ingest_walk *w, es_media_info *info, const char *path, es_err *err);
/* True when the recording is in the library and is to stay as it is; then it has been told. */
bool es_steps_is_known(es_ingest_walk *w, const es_media_info *info, const char *path);
/* What is to be made of a recording that is claimed, as a set of parts; the others are in r, from the library (again.h). */
int es_steps_take(es_ingest_walk *w, es_result *r, unsigned *parts, const char *path, es_err *err);
int es_steps_ready(es_ingest_walk *w, es_err *err);
int es_steps_unchanged(const es_result *r, const char *path, const es_media_info *seen, es_err *err);
void es_steps_note_damage(es_ingest_walk *w, const es_media_info *m);
/* What is kept of the recording from here on, *kept being the caller's; note is told what an earlier run has done of it.
 * spool: NULL where the sound is not needed. */
int es_steps_keep(es_ingest_walk *w, es_kept **kept, const es_result *r, const es_spool *spool,
                  void (*note)(void *user, const char *sentence), void *user, es_err *err);
int es_steps_hear(es_ingest_walk *w, es_result *r, unsigned parts, es_spool *spool, es_kept *kept, es_err *err);
/* From the transcript to the library. */
int es_steps_finish(es_ingest_walk *w, es_result *r, unsigned parts, es_kept *kept, es_err *err);
void es_steps_stored(es_ingest_walk *w, const es_result *r); /* counts and tells it */

/* What makes every other file fail, too. */
bool es_steps_is_fatal(int rc);
int es_steps_wait(es_ingest_walk *w); /* for another process, a moment */

#endif
