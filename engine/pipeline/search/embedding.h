/*
 * embedding.h - texts in, vectors out: a text encoder's pack, its tokenizer, its plan and its device.
 *
 * es_embedding_open() maps the pack and opens the tokenizer; the model is planned, memory is taken and weights are read
 * when the first vector is asked for. Or the model lives in a session's plan, and this is its tokenizer and its steps.
 * Used from one thread.
 */
#ifndef ES_EMBEDDING_H
#define ES_EMBEDDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/types.h"
#include "models/embedder.h"

typedef struct es_embedding es_embedding;

typedef struct es_embedding_options {
    const char *models; /* folder of packs */
    const char *model;  /* a pack's path, or its name in that folder; NULL: the only text encoder there */
    const char *device; /* as es_session_options */
    const char *device_from; /* what the user wrote the device in, for sentences; NULL: --device */
    uint64_t budget;    /* bytes; 0: the device's default */
    int threads;        /* of the CPU; 0: its cores */
    int texts;          /* of one step, at most; 0: a default. How many tokens a step has follows from the budget */
    bool split;         /* longer texts are computed in parts; else they lose their end */
    bool preferred;     /* where no model is named: the one that ingest would take, not the only one */
    bool hushed;        /* the notes of a batch are told as information only */
    const char *synthetic; /* a preset's name (es_embedder_preset): seeded weights, no pack, ids only; NULL: a pack */
} es_embedding_options;

int es_embedding_open(es_embedding **out, const es_embedding_options *o, es_err *err);
/* The same over a model that others plan and load, as a session does with all of its models: the pack is borrowed during
 * the call, es_embedding_bind() gives the model once it has been started. Until then only the tokenizer works. */
int es_embedding_within(es_embedding **out, const es_weights *pack, es_err *err);
int es_embedding_bind(es_embedding *e, es_embedder *model, es_embedder_limits limits, es_err *err);
void es_embedding_tell(const es_embedding *e, const char *device); /* what is loaded, and where: done by es_embedding_ready() */
void es_embedding_close(es_embedding *e); /* accepts NULL */
int es_embedding_ready(es_embedding *e, es_err *err); /* does what costs time and memory; called again, nothing */

int es_embedding_width(const es_embedding *e); /* of a vector */
es_maker es_embedding_maker(const es_embedding *e); /* its pack; zeroed for a preset */
es_hash128 es_embedding_space(const es_embedding *e); /* es_packs_space() of it */
bool es_embedding_has_tokens(const es_embedding *e); /* else it takes ids only */
int es_embedding_takes(const es_embedding *e); /* tokens of a text as the model has it, whatever the plan; the frame counted */
/* Once ready: tokens that one text may have, the frame counted, and bytes of the arena. */
int es_embedding_longest(const es_embedding *e);
uint64_t es_embedding_arena_bytes(const es_embedding *e);
const char *es_embedding_name(const es_embedding *e); /* of the pack or preset */
const char *es_embedding_device_name(const es_embedding *e); /* once ready */
bool es_embedding_on_cpu(const es_embedding *e);
int es_embedding_vocabulary(const es_embedding *e); /* ids it knows */
/* Multiplications and additions of a text of that many tokens, two for each weight, attention included. */
double es_embedding_flops(const es_embedding *e, int tokens);

/* Ids of the text alone, as es_tokens_plain; *n: how many there are. ES_EMODEL where the pack has no tokenizer. */
int es_embedding_tokenize(const es_embedding *e, const char *text, size_t bytes, int32_t *ids, size_t room, size_t *n,
                          es_err *err);

/* vectors [n, width]. query: the texts ask for others (es_tokens_framed). A text that is longer than the model or the plan
 * takes loses its end, and a note counts those. Where the options say split, its tokens are cut into parts instead, as few
 * as possible and of lengths that differ by one at most, each framed by itself: the text's vector is the sum of theirs, each
 * times the tokens of its part, made as long as 1. */
int es_embedding_texts(es_embedding *e, const char *const *texts, const size_t *bytes, size_t n, bool query, float *vectors,
                       es_err *err);
/* From now on done is told after each step of es_embedding_texts() how many of its texts have their vectors, the first ones;
 * anything but ES_OK ends the call. Where long texts are split, vectors are complete at the end only. NULL: nobody. */
void es_embedding_watch(es_embedding *e, int (*done)(void *user, size_t n, es_err *err), void *user);
/* The same of ids as they are: text i is ids[bounds[i] .. bounds[i + 1]). Empty and too long ones are refused. */
int es_embedding_ids(es_embedding *e, const int32_t *ids, const size_t *bounds, size_t n, float *vectors, es_err *err);

#endif
