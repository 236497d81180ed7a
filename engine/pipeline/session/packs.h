/*
 * packs.h - the model packs of a folder: found, looked into, chosen from.
 *
 * A pack is known by its metadata, not by its file's name. One that cannot be used keeps its place in the list with the
 * reason, so that `doctor` can say it and a choice that falls on it can be refused with it.
 */
#ifndef ES_PACKS_H
#define ES_PACKS_H

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/types.h"
#include "runtime/weights.h"

typedef struct es_pack_entry {
    char *path;
    char name[64], architecture[32];
    es_hash128 hash; /* of its data, as the metadata states it */
    es_hash128 space; /* es_packs_space() */
    uint64_t bytes;
    char *fault; /* a sentence, or NULL */
} es_pack_entry;

typedef struct es_packs {
    char *folder;
    es_pack_entry *at; /* in the order of the paths' bytes */
    size_t n;
} es_packs;

/* where: a folder, or one pack. A folder that is not there is an empty list. */
/* What a pack's vectors are: its data, and the config that says how to compute with it (attention, pooling). Packs that
 * differ in either make vectors that cannot be compared. */
es_hash128 es_packs_space(const es_weights *pack);

int es_packs_scan(es_packs *out, const char *where, es_err *err);
void es_packs_done(es_packs *p);

/* The speech model: the one called name (by metadata or file name), or with NULL the only one. On failure the sentence
 * says what there is, or how to get a pack where there is none. *out is borrowed from the list. */
int es_packs_choose_asr(const es_packs *p, const char *name, const es_pack_entry **out, es_err *err);
/* The pack of another stage: the one called name, none at all for the name "none", or with NULL the only one of the
 * architecture that is preferred - resnet34 before campplus for telling speakers apart, ecapa for knowing them by name,
 * qwen2 before bert. *out is NULL where the folder has none. Several of the preferred one: one has to be named. */
int es_packs_choose(const es_packs *p, enum es_stage stage, const char *name, const es_pack_entry **out, es_err *err);
const char *es_packs_option(enum es_stage stage); /* "--diarizer" */
/* The first good pack of an architecture, or NULL. */
const es_pack_entry *es_packs_find(const es_packs *p, const char *architecture);
/* The text encoder (architecture bert or qwen2), in the same way. */
int es_packs_choose_encoder(const es_packs *p, const char *name, const es_pack_entry **out, es_err *err);

#endif
