/*
 * campplus.h - CAM++: what a piece of speech says about its speaker, as 192 numbers to be compared by their cosine.
 *
 *     features [T, 80] -> residual convolutions over bands and frames -> [T, 10 * 32] -> 5 frames, stride 2 -> [T2, 128]
 *       -> blocks of 12, 24 and 16 layers, each adding 32 channels gated by what its surroundings sound like -> [T2, 512]
 *       -> mean and deviation over the piece -> [192]
 *
 * Wang, Zheng, Chen, Cheng and Chen, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
 * Masking" (2023). Everything is f32 on every backend. A piece's vector depends on its own frames only and has the same bits
 * in any company: pieces are packed one behind the other, and no op sees past the ends of one.
 */
#ifndef ES_CAMPPLUS_H
#define ES_CAMPPLUS_H

#include "models/notes.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { ES_CAMPPLUS_BINS = 80, ES_CAMPPLUS_VECTOR = 192, ES_CAMPPLUS_LEAST = 3 /* frames: below, there is no deviation */ };

typedef struct es_campplus es_campplus;

/* Enters the model into a plan for batches of at most `pieces` with at most `frames` frames together. w NULL plans the
 * published sizes. A pack whose config says other sizes than these is refused. notes: for tests, else NULL. */
int es_campplus_plan(es_campplus **out, es_plan *p, const char *name, const es_weights *w, int pieces, int frames,
                     es_notes *notes, es_err *err);
void es_campplus_close(es_campplus *m); /* accepts NULL */
void es_campplus_start(es_campplus *m, es_arena *a); /* after es_arena_load */
int es_campplus_pieces(const es_campplus *m);
int es_campplus_frames(const es_campplus *m);

/* features: the pieces' frames one behind the other, each piece less its own mean (es_fbank_center); frames[n], each at
 * least ES_CAMPPLUS_LEAST. vectors [n, 192], not of unit length: a large one means little evidence. */
int es_campplus_run(es_campplus *m, const float *features, const int *frames, int n, float *vectors, es_err *err);

#endif
