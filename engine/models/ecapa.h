/*
 * ecapa.h - ECAPA-TDNN: what a piece of speech says about its speaker, as 192 numbers to be compared by their cosine.
 *
 *     features [T, 80] -> 5 frames -> x [T, C]
 *       3 times: the channels in 8 chunks, each through 3 frames of the sum of itself and the one before; a gate; added to x
 *       -> the three side by side [T, 3C] -> [T, W] -> mean and deviation, the frames of each channel as much as attention says
 *       -> [192]
 *
 * Desplanques, Thienpondt and Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based
 * Speaker Verification" (2020), in the two forms that are in use, which differ in small things: SpeechBrain's mirrors the
 * frames at the ends of a piece, lets the first chunk pass, and hands each block the one before; TaoRuijie's has zeros at the
 * ends, lets the last chunk pass, and hands each block the sum of all before. Everything is f32 on every backend; a piece has
 * the same bits in any company.
 */
#ifndef ES_ECAPA_H
#define ES_ECAPA_H

#include "models/notes.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { ES_ECAPA_LEAST = 5 /* frames: what the widest mirror needs */ };

typedef struct es_ecapa_dims {
    bool taoruijie; /* else SpeechBrain's */
    int vector, channels, squeeze, wide, attention;
} es_ecapa_dims;

/* From a pack of architecture ecapa; checks every value. */
int es_ecapa_dims_read(es_ecapa_dims *out, const es_weights *pack, es_err *err);

typedef struct es_ecapa es_ecapa;

/* Enters the model into a plan for batches of at most `pieces` with at most `frames` frames together. w NULL plans dims without
 * weights. notes: for tests, else NULL. */
int es_ecapa_plan(es_ecapa **out, es_plan *p, const char *name, const es_weights *w, const es_ecapa_dims *dims, int pieces, int frames,
                  es_notes *notes, es_err *err);
void es_ecapa_close(es_ecapa *m); /* accepts NULL */
void es_ecapa_start(es_ecapa *m, es_arena *a); /* after es_arena_load */

/* features: the pieces' frames one behind the other, each piece less its own mean; frames[n], each at least ES_ECAPA_LEAST.
 * vectors [n, dims.vector], not of unit length. */
int es_ecapa_run(es_ecapa *m, const float *features, const int *frames, int n, float *vectors, es_err *err);

#endif
