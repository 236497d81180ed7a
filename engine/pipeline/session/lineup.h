/*
 * lineup.h - the models that live together in one plan and one arena, and how large a step of each is.
 *
 * A model enters from its pack or, without weights, by the name of its architecture. What a lineup holds can be planned
 * again and again with other steps until one fits; only the last plan counts. A step is what a model computes at once:
 * windows, frames, tokens. No result depends on it.
 *
 *     es_lineup_add_pack / _preset -> es_lineup_enter(plan) -> es_plan_finish, arena, es_arena_load -> es_lineup_start
 */
#ifndef ES_LINEUP_H
#define ES_LINEUP_H

#include "models/embedder.h"
#include "models/pyannet.h"
#include "models/speaker.h"
#include "models/whisper.h"
#include "text/bpe.h"

enum { ES_LINEUP_MOST = 16, ES_LINEUP_SUPPRESSED = 256 };

/* 0 where the planner is to choose. Pieces of speech and texts follow from frames and tokens. */
typedef struct es_session_limits {
    int windows, slots; /* of the speech model: windows of 30 s encoded at once, and decoded at once */
    int segments;       /* windows of 10 s of the segmentation at once */
    int frames;         /* of 10 ms, of a speaker network at once */
    int tokens;         /* of the text encoder at once */
} es_session_limits;

typedef enum es_lineup_kind { ES_LINEUP_WHISPER, ES_LINEUP_PYANNET, ES_LINEUP_SPEAKER, ES_LINEUP_EMBEDDER } es_lineup_kind;

typedef struct es_lineup_model {
    es_lineup_kind kind;
    char name[64];
    es_weights *pack; /* NULL: by name, or loaded already */
    es_session_limits step;
    es_bpe *bpe; /* of a speech model from a pack */
    void (*close_bpe)(es_bpe *b);
    int32_t suppress[ES_LINEUP_SUPPRESSED], blank;
    int n_suppress;
    es_whisper_dims whisper_dims;
    es_speaker_dims speaker_dims;
    es_embedder_dims embedder_dims;
    /* One of them, while the model is entered in a plan. */
    es_whisper *whisper;
    es_pyannet *pyannet;
    es_speaker *speaker;
    es_embedder *embedder;
} es_lineup_model;

typedef struct es_lineup {
    es_lineup_model *at[ES_LINEUP_MOST];
    int n;
} es_lineup;

/* An empty one, the last of them, to be filled in. */
int es_lineup_new(es_lineup_model **out, es_lineup *l, es_err *err);
/* The new model is the last one. A pack's header is read and checked, its weights are not. */
int es_lineup_add_pack(es_lineup *l, const char *path, es_err *err);
/* names: separated by commas. An unknown one is refused with a sentence that lists all. */
int es_lineup_add_presets(es_lineup *l, const char *names, es_err *err);
void es_lineup_done(es_lineup *l); /* before the plan is closed */

/* Enters every model in a plan with the step it has. */
int es_lineup_enter(es_lineup *l, es_plan *p, es_err *err);
/* Takes the models back out of a plan that is given up. */
void es_lineup_leave(es_lineup *l);
es_embedder_limits es_lineup_embedder_limits(const es_lineup_model *m);
/* After es_arena_load(): the packs are closed, or every weight would be resident twice. */
int es_lineup_start(es_lineup *l, es_arena *a, es_err *err);

#endif
