/*
 * voices.h - names for voices in the library: who is enrolled, what the user said, and what was concluded from it.
 *
 * Four tables beside those of the recordings: people (with the vectors they are known by), spaces (the models that made
 * vectors), sayings (of the user, about one speaker of one recording) and identities. The last is derived from the
 * others and from the speakers' vectors of all recordings; whatever changes one of these makes it stale, in the same
 * transaction, and es_voices_edit() makes it fresh.
 */
#ifndef ES_VOICES_H
#define ES_VOICES_H

#include "base/people.h"
#include "store/store.h"

/* One snapshot of everything about voices. *out is the caller's, to give to es_people_done(). */
int es_voices_read(es_store *s, es_people *out, es_err *err);

/* The same without voices: who is enrolled, and the models behind vectors. */
int es_voices_read_people(es_store *s, es_people *out, es_err *err);

/* One writing transaction: reads everything, lets edit change it, writes what is different and marks the identities as
 * fresh. edit may change profiles, sayings, identities and the marks to forget; arrays stay in their order. Where edit
 * does not return ES_OK nothing is written and its status is returned. Other writers wait meanwhile. */
int es_voices_edit(es_store *s, int (*edit)(void *user, es_people *all, es_err *err), void *user, es_err *err);

/* Whether the identities follow from what the library holds now. */
bool es_voices_fresh(es_store *s);

/* What is known of the speakers of a recording: identities [*n], number 0 where none was derived. *out is the caller's
 * to free. */
int es_voices_of(es_store *s, es_hash128 content, int track, es_identity **out, int *n, es_err *err);
/* The name of a person; false where nobody enrolled has this hash. */
bool es_voices_name(es_store *s, es_hash128 person, char name[ES_PERSON_BYTES + 1]);

/* Every speaker of every recording who is the one of `as`: of its person where it is named, else of its number and
 * without a name. In the order of the recordings' keys; visit returns ES_OK to go on. */
typedef struct es_place {
    es_hash128 content;
    int track, speaker;
} es_place;
int es_voices_places(es_store *s, const es_identity *as, int (*visit)(void *user, const es_place *place), void *user,
                     es_err *err);

/* Notes the model behind a space; before or with the first vectors of it. */
int es_voices_note_space(es_store *s, const es_space *space, es_err *err);

#endif
