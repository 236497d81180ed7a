/*
 * session.h - the models of a process: chosen packs, one plan, one arena, one device.
 *
 * es_session_open() is cheap: it looks at the packs, chooses, and refuses what cannot work. es_session_ready() does
 * what costs time and memory - plan, device, arena, weights - the first time it is called, so that a command that finds
 * everything in the library already reads no weights. Used from one thread.
 *
 * A stage that no pack serves is left out: es_session_has() says which. Only the speech model must be there.
 */
#ifndef ES_SESSION_H
#define ES_SESSION_H

#include <stdbool.h>

#include "audio/front.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/types.h"
#include "kernels/device.h"
#include "pipeline/search/embedding.h"
#include "pipeline/session/lineup.h"
#include "pipeline/words/transcribe.h"
#include "text/bpe.h"

typedef struct es_session es_session;

typedef struct es_session_options {
    const char *models; /* folder of packs, or one pack */
    const char *asr;    /* name of the speech model; NULL: the only one */
    const char *segmentation, *diarizer, *voice, *embedder; /* names; NULL: es_packs_choose(); "none": leave it out */
    const char *device;          /* "auto", "cpu", "cuda", "cuda:N"; NULL: auto */
    int embedder_texts;          /* computed together by the text encoder, at most; 0: as many as the plan allows */
    const char *embedder_device; /* the text encoder's own, if it is another: then it has a plan of its own there */
    uint64_t budget;             /* bytes; 0: the device's default */
    int threads;                 /* of the CPU; 0: its cores */
    es_session_limits limits;    /* steps that are asked for; 0: the planner's choice */
    bool least;                  /* es_session_plan: the smallest steps, and the budget that they need */
} es_session_options;

int es_session_open(es_session **out, const es_session_options *o, es_err *err);
void es_session_close(es_session *s); /* accepts NULL */
int es_session_ready(es_session *s, es_err *err);

/* ---- known once open ---- */
bool es_session_has(const es_session *s, enum es_stage stage);
bool es_session_declined(const es_session *s, enum es_stage stage); /* asked to be left out */
/* The pack of a stage; its name is empty where the stage has none. Voices are known by the diarizer's network where there
 * is none of their own. */
es_maker es_session_maker(const es_session *s, enum es_stage stage);
/* The PLDA that goes with resnet34 as the diarizer: the path of its pack, or NULL; maker may be NULL. */
const char *es_session_plda(const es_session *s, es_maker *maker);
/* Of ES_STAGE_DIARIZER or ES_STAGE_VOICE; NULL where the stage has no pack. */
const es_speaker_dims *es_session_speaker_dims(const es_session *s, enum es_stage stage);
const char *es_session_asr_name(const es_session *s);
es_hash128 es_session_asr_hash(const es_session *s);
const es_whisper_dims *es_session_dims(const es_session *s);
const es_bpe *es_session_bpe(const es_session *s);

/* Its tokenizer works once the session is open, its vectors once it is ready. NULL where there is none. */
es_embedding *es_session_embedding(es_session *s);

/* ---- known once ready; NULL where the stage has no pack ---- */
es_transcriber *es_session_transcriber(es_session *s);
es_whisper *es_session_whisper(es_session *s);
es_pyannet *es_session_pyannet(es_session *s);
/* Of ES_STAGE_DIARIZER or ES_STAGE_VOICE: the same one where both are served by one pack. */
es_speaker *es_session_speaker(es_session *s, enum es_stage stage);
/* Of the same: what makes the rows that it hears. Its tables are made with the rest, not when the first recording is heard. */
const es_front *es_session_front(const es_session *s, enum es_stage stage);
/* What the planner decided, zero for what is not there. */
es_session_limits es_session_limits_of(const es_session *s);
es_device *es_session_device(es_session *s);
uint64_t es_session_arena_bytes(const es_session *s);
void es_session_totals(const es_session *s, es_plan_totals *out);
/* How full the steps of a stage's model were so far; of the speech model its encoder's. Zero for what is not there, or has a
 * plan of its own. */
es_fill es_session_fill(const es_session *s, enum es_stage stage);

/* ---- the plan alone, without device or weights ---- */
typedef enum es_session_look { ES_LOOK_TEXT, ES_LOOK_JSON, ES_LOOK_SVG, ES_LOOK_ROW } es_session_look;
/* with: names of architectures separated by commas, or NULL for the packs that o chooses; as text then also the second plan
 * of a text encoder with a device of its own. *text is the caller's to free. With ES_EBUDGET the sentence says what would be needed and *text is NULL. */
int es_session_plan(const es_session_options *o, const char *with, es_session_look look, char **text, size_t *bytes,
                    es_err *err);

/* ---- devices ---- */
typedef struct es_device_choice {
    es_backend backend;
    int index;
    char why_cpu[256]; /* set where auto fell back to the CPU */
} es_device_choice;
/* Reads "auto", "cpu", "cuda", "cuda:N". must_be_there: a GPU that is asked for and missing is an error. */
int es_session_choose(es_device_choice *out, const char *device, bool must_be_there, es_err *err);
/* The same; named: what the user wrote it in, for sentences, instead of --device. */
int es_session_choose_named(es_device_choice *out, const char *device, const char *named, bool must_be_there, es_err *err);
/* What the engine may hold on a device with so many bytes free, when the user names no budget; 0: no bound. */
uint64_t es_session_default_budget(es_backend backend, uint64_t bytes_free);

#endif
