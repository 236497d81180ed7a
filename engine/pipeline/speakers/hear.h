/*
 * hear.h - who speaks in a recording, as ingest asks for it: before its words are sought, and after they are found.
 *
 *     es_hear_speakers    sound -> r->who: turns, speakers, vectors, where there is speech at all
 *     es_hear_words       r->transcript, r->who -> a speaker for each word, segments that end where the speaker changes
 *
 * With a segmentation pack alone it is only known where there is speech; without one nothing is done.
 */
#ifndef ES_HEAR_H
#define ES_HEAR_H

#include "base/people.h"
#include "pipeline/speakers/diarize.h"
#include "pipeline/session/session.h"
#include "store/store.h"

typedef struct es_hear_options {
    const char *diarization;   /* by name; NULL: what goes with the packs; "none": speakers are not told apart */
    es_speaker_range speakers; /* as far as it is known */
    int step_samples;          /* 0: a second */
    bool no_fast_path;         /* tell speakers apart also where one enrolled person speaks alone; see alone.h */
    const es_people *people;   /* who is enrolled; borrowed until es_hear_close(). NULL: nobody */
} es_hear_options;

/* Refuses before the first recording what cannot be done with a session's packs; it need not be ready. must: speakers are
 * asked for, and packs that tell nobody apart will not do. */
int es_hear_check(const es_session *s, const es_hear_options *o, bool must, es_err *err);
/* Adds what can change a result to settings: "diarization", "speakers", "step" and "fast_path". */
void es_hear_settings(es_json_out *j, const es_session *s, const es_hear_options *o);
bool es_hear_has_setting(const char *name); /* is one of these */

typedef struct es_hear es_hear;

/* s: ready, and checked. */
int es_hear_open(es_hear **out, es_session *s, const es_hear_options *o, es_err *err);
void es_hear_close(es_hear *h); /* accepts NULL */

/* Fills r->who, which must be empty, and r->made of the stages that ran. progress, note, user and times as in diarize.h. */
int es_hear_speakers(es_hear *h, es_result *r, const es_sound *sound, const es_diarize_options *told, es_err *err);
/* True where r->who says where there is speech: then it gates transcription. */
bool es_hear_knows_speech(const es_result *r);
bool es_hear_tells_apart(const es_hear *h);
/* Where there are no words in the whole recording nobody speaks: r->who keeps only where speech was looked for. */
int es_hear_words(es_hear *h, es_result *r, es_err *err);

#endif
