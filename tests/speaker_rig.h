/*
 * speaker_rig.h - a speaker network behind its face, opened from a pack, and its blocks' outputs beside recorded ones.
 */
#ifndef ES_SPEAKER_RIG_H
#define ES_SPEAKER_RIG_H

#include "base/json.h"
#include "models/speaker.h"
#include "test.h"

typedef struct es_speaker_rig {
    es_speaker_dims dims;
    es_notes notes;
    es_weights *w;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_speaker *m;
} es_speaker_rig;

/* Fails the test and returns false where it cannot. keep: with notes. */
bool es_speaker_rig_open(es_speaker_rig *g, const char *pack, es_backend backend, int answers, int rows, int threads, unsigned flags,
                         bool keep);
void es_speaker_rig_close(es_speaker_rig *g);
/* One vector for each sound, or for each ask about them. */
void es_speaker_rig_all(es_speaker_rig *g, float *vectors, const es_speaker_sound *sounds, int n);
void es_speaker_rig_ask(es_speaker_rig *g, float *vectors, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n);

double es_speaker_cosine(const float *a, const double *b, int n);
/* A recorded stage {"shape" [1, C, ..., time], "mean", "std", "first": the first times of channel 0} beside a note [time, ...,
 * channels] of which `columns` of each row are compared (0: all). */
void es_speaker_rig_stage(es_speaker_rig *g, const char *note, const es_json_node *want, int columns, double tolerance);

/* The samples of a 16 kHz mono wav of s16 in the test data, the caller's to free; NULL (and skipped or failed) where it is not. */
float *es_speaker_wav(const char *file, int64_t *n);

#endif
