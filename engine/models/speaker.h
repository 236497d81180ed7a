/*
 * speaker.h - one face over the networks that say whose voice a piece of sound is: rows of a front end in, vectors to be
 * compared by their cosine out.
 *
 *     campplus   CAM++, 192 numbers     an answer is made from the rows it asks for alone, as if they followed each other
 *     ecapa      ECAPA-TDNN, 192        likewise
 *     resnet34   WeSpeaker's, 256       the network hears the whole sound; the rows asked for count at the end alone, so that
 *                                       further answers to the same sound cost next to nothing
 *
 * A sound is some rows of audio/front.h, as they come: the mean of the rows (and, where the front end has it, the floor below
 * their loudest bin) is taken off here. An answer belongs to one sound and to all of its rows, or to those under a mask; so
 * the speakers of one window are several answers to the same sound. An answer has the same bits in any company, in any batch
 * and with any number of threads. Vectors of different packs are never comparable.
 */
#ifndef ES_SPEAKER_H
#define ES_SPEAKER_H

#include "base/types.h"
#include "models/ecapa.h"
#include "models/fill.h"
#include "models/notes.h"
#include "models/resnet34.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

typedef enum es_speaker_kind { ES_SPEAKER_CAMPPLUS, ES_SPEAKER_RESNET34, ES_SPEAKER_ECAPA } es_speaker_kind;

typedef struct es_speaker_dims {
    es_speaker_kind kind;
    int vector; /* numbers of an answer */
    es_resnet34_dims resnet34; /* of its kind */
    es_ecapa_dims ecapa;
} es_speaker_dims;

/* "campplus", "resnet34", "ecapa", "ecapa-taoruijie"; false for a name it does not know. */
bool es_speaker_preset(es_speaker_dims *out, const char *name);
const char *es_speaker_preset_name(int i); /* NULL past the last */
bool es_speaker_is(const char *architecture); /* whether packs of it are for here */
/* From a pack of such an architecture; checks every value. */
int es_speaker_dims_read(es_speaker_dims *out, const es_weights *pack, es_err *err);

es_front_kind es_speaker_front(const es_speaker_dims *d);
bool es_speaker_weighs(const es_speaker_dims *d); /* whether masks count at the end alone */
/* Fewest rows of an answer: of those under its mask, or of the sound where masks weigh (and one under the mask). */
int es_speaker_least(const es_speaker_dims *d);

/* Of one step; more are worked off in as many as it takes. */
typedef struct es_speaker_limits {
    int answers, rows; /* rows: together, of the answers (of their sounds where masks weigh), and so of the longest */
    es_notes *notes;   /* for tests: the blocks' outputs of the newest step; NULL: not kept */
} es_speaker_limits;

typedef struct es_speaker es_speaker;

/* Enters the model into a plan. w NULL plans dims without weights. */
int es_speaker_plan(es_speaker **out, es_plan *p, const char *name, const es_weights *w, const es_speaker_dims *dims,
                    es_speaker_limits limits, es_err *err);
void es_speaker_close(es_speaker *m); /* accepts NULL */
void es_speaker_start(es_speaker *m, es_arena *a); /* after es_arena_load */
const es_speaker_dims *es_speaker_dims_of(const es_speaker *m);
es_speaker_limits es_speaker_limits_of(const es_speaker *m);
es_fill es_speaker_fill(const es_speaker *m); /* in rows */

typedef struct es_speaker_sound {
    const float *rows; /* [n, 80] */
    int n;
    bool as_they_are; /* for tests: nothing is taken off the rows */
} es_speaker_sound;

/* Row t of a sound of n rows is asked for where mask[t * n_mask / n] is not 0: a mask in the segmentation's frames fits any
 * front end. mask NULL: all rows. */
typedef struct es_speaker_ask {
    int sound;
    const uint8_t *mask;
    int n_mask;
} es_speaker_ask;

/* vectors [n, width]: one for each ask. An ask with fewer rows than es_speaker_least() is answered with NaN throughout. Asks
 * about the same sound should stand together. A vector is not of unit length. */
int es_speaker_run(es_speaker *m, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n, float *vectors, es_err *err);

#endif
