/*
 * resnet34.h - WeSpeaker's ResNet34: whose voice is heard in some frames of a piece, as 256 numbers to be compared by their
 * cosine.
 *
 *     features [T, 80] -> convolution -> stages of 3, 4, 6 and 3 blocks, three times halving bands and frames -> [T / 8, 10 * 256]
 *       -> mean and deviation, each frame as much as its weight -> [256]
 *
 * Wang, Liang, Wang et al., "WeSpeaker: A Research and Production Oriented Speaker Embedding Learning Toolkit" (2023). The
 * convolutions see the whole piece; who is meant is said by weights at the very end, so one pass serves all speakers of a
 * window. An answer has the same bits in any company.
 */
#ifndef ES_RESNET34_H
#define ES_RESNET34_H

#include "models/notes.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { ES_RESNET34_STAGES = 4, ES_RESNET34_MOST_BLOCKS = 16, ES_RESNET34_LEAST = 9 /* frames: two after three halvings */ };

typedef struct es_resnet34_dims {
    int vector;
    int channels[ES_RESNET34_STAGES], blocks[ES_RESNET34_STAGES];
} es_resnet34_dims;

/* From a pack of architecture resnet34; checks every value. */
int es_resnet34_dims_read(es_resnet34_dims *out, const es_weights *pack, es_err *err);

typedef struct es_resnet34 es_resnet34;

/* Enters the model into a plan for steps of at most `answers` about pieces of at most `frames` frames together. w NULL plans
 * dims without weights. notes: for tests, else NULL. */
int es_resnet34_plan(es_resnet34 **out, es_plan *p, const char *name, const es_weights *w, const es_resnet34_dims *dims, int answers,
                     int frames, es_notes *notes, es_err *err);
void es_resnet34_close(es_resnet34 *m); /* accepts NULL */
void es_resnet34_start(es_resnet34 *m, es_arena *a); /* after es_arena_load */

/* An answer about a piece: pooled frame t of T counts where mask[t * n_mask / T] is not 0, or everywhere (mask NULL). */
typedef struct es_resnet34_answer {
    int piece;
    const uint8_t *mask;
    int n_mask;
} es_resnet34_answer;

int es_resnet34_pooled(int frames); /* frames after the three halvings */

/* features: the pieces' frames one behind the other, each piece less its own mean; frames[pieces], each at least
 * ES_RESNET34_LEAST. vectors [n, dims.vector], not of unit length. */
int es_resnet34_run(es_resnet34 *m, const float *features, const int *frames, int pieces, const es_resnet34_answer *answers, int n,
                    float *vectors, es_err *err);

#endif
