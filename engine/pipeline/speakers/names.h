/*
 * names.h - names for the speakers of recordings: what the library shows them as, and what the user may say about them.
 *
 * Everybody who was heard has a name that can be shown. It is that of a person who was enrolled, or "Speaker N", where
 * N is the same in every recording in which the same unknown person speaks. Both are derived (speech/identify.h) from
 * what the library holds, once after each change, and kept in it; nothing of a recording is read again, and no model is
 * needed.
 */
#ifndef ES_NAMES_H
#define ES_NAMES_H

#include "base/people.h"
#include "pipeline/session/session.h"
#include "store/store.h"
#include "store/voices.h"

/* Notes the models behind the vectors of recordings that a session makes, so that their cosines can be judged. */
int es_names_note_models(es_store *s, const es_session *session, es_err *err);

/* Draws the conclusions anew where the library has changed since. One that is open for reading only stays as it is. */
int es_names_refresh(es_store *s, es_err *err);

/* ---- how the speakers of a recording are called ---- */

typedef struct es_names {
    struct es_name {
        char label[ES_PERSON_BYTES + 1]; /* never empty */
        es_identity identity;
    } * at; /* of each speaker; owned */
    int n;
} es_names;
/* Empty where nobody was looked for in the recording. */
int es_names_of(es_store *s, es_hash128 content, int track, es_names *out, es_err *err);
void es_names_done(es_names *n); /* accepts what is zeroed */
/* The one answer to how a speaker is shown, everywhere: the label, or a number within the recording (from 1) where
 * names is NULL or does not reach so far. room: of ES_PERSON_BYTES + 1. */
const char *es_speaker_label(char *room, const es_names *names, int speaker);

/* ---- who there is ---- */

/* A person, with or without a name. */
typedef struct es_names_person {
    const char *name; /* or "Speaker 12" */
    bool enrolled;
    size_t clips, voices;   /* what they are known by; speakers of recordings that are theirs */
    int64_t net_ms;         /* of speech in the clips, or alone in the recordings where there are none */
    const char *models;     /* of the clips, separated by commas; "" without */
    const es_place *places; /* of the voices */
    bool comparable;        /* there are clips or vectors: false once nothing but turns is left */
} es_names_person;
/* Those with names in the order of their names, then the others by number; visit returns 0 to go on. */
int es_names_list(es_store *s, int (*visit)(void *user, const es_names_person *p), void *user, es_err *err);
/* Where a person speaks. who: a name, in the case of letters as it is or not, or "Speaker 12". *out is the caller's to
 * free; ES_ENOTFOUND with a sentence. */
int es_names_find(es_store *s, const char *who, es_place **out, size_t *n, es_err *err);

/* ---- what the user says ---- */

/* What a change led to. */
typedef struct es_names_change {
    size_t voices, recordings; /* speakers whose name is another one now, and in how many recordings they are */
    /* After enrolling: somebody else whose voice is so like that both may be one person; "" where there is nobody. */
    char like[ES_PERSON_BYTES + 1];
    double like_score;
    size_t strangers; /* after enrolling: voices of the library that no clip can be compared with, as other models made
                         them */
} es_names_change;

/* Adds clips to a person, who is new or not; their vectors are taken over, whatever comes of it. ES_EARG where one of
 * them is there already. */
int es_names_enroll(es_store *s, const char *name, const es_space *space, es_clip *clips, size_t n,
                    es_names_change *change, es_err *err);
/* A name for "Speaker 12", or another one for somebody who has one. */
int es_names_rename(es_store *s, const char *from, const char *to, es_names_change *change, es_err *err);
/* Both are one person, who goes by the first name. */
int es_names_merge(es_store *s, const char *into, const char *from, es_names_change *change, es_err *err);
/* Who speaks in this recording is somebody else. */
int es_names_split(es_store *s, const char *who, es_hash128 content, int track, es_names_change *change, es_err *err);
/* Removes the name and every vector of the person, also those of recordings in which they speak. */
int es_names_forget(es_store *s, const char *who, es_names_change *change, es_err *err);

#endif
