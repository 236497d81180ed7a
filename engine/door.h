/*
 * door.h - what the files of the public door share: the handles' insides, and errors on their way out.
 *
 * Names of earshot.h never meet those of the rooms in one struct: the door copies. That costs a few lines and lets the
 * rooms change without a new version of the library.
 */
#ifndef ES_DOOR_H
#define ES_DOOR_H

#include "base/err.h"
#include "base/people.h"
#include "base/types.h"
#include "earshot.h"
#include "pipeline/session/session.h"
#include "store/store.h"

struct es_engine {
    es_session *session;
};

/* What a speaker is called, and whom they are like. */
typedef struct es_door_voice {
    char nearest[ES_PERSON_BYTES + 1];
    es_identity identity;
} es_door_voice;

struct es_speech {
    es_transcript transcript;
    es_media_info media; /* of a recording; for samples the length alone */
    es_made made;
    es_diarization who; /* empty where nobody was looked for */
    es_door_voice *voices; /* [who.n_speakers]; owned; NULL: not compared */
    char **labels;      /* [who.n_speakers] what speakers are called; owned; NULL: by their numbers */
};

/* Copies the sentence out and returns rc; error may be NULL. */
int es_door_give(es_error *error, int rc, const es_err *err);
/* A status of our own with a sentence. */
int es_door_fail(es_error *error, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A caller's struct of an older, shorter or a newer, longer form into ours; what it lacks keeps ours' default. False
 * when its size makes no sense. */
bool es_door_options(void *ours, size_t size, const void *theirs);

/* The session's options from the engine's; models_room holds the default folder where none is named. */
int es_door_session_options(es_session_options *out, const es_engine_options *options, char *models_room, size_t room,
                            es_err *err);

/* What the n speakers of a recording are called; NULL where there is none, or not enough memory. */
char **es_door_labels(es_store *s, es_hash128 content, int track, int n, es_err *err);
/* How they compare with those who are enrolled; NULL likewise. The caller's to free. */
es_door_voice *es_door_voices(es_store *s, es_hash128 content, int track, int n);
void es_door_labels_done(char ***labels, int n);

/* Makes a folder and those above it. */
int es_door_make_folders(const char *path, es_err *err);

#endif
