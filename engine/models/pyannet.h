/*
 * pyannet.h - pyannote's segmentation-3.0: who of up to three local speakers speaks in each frame of a window of 10 s.
 *
 *     x [160000] -> norm -> |sinc filters, stride 10| -> pool 3 -> norm -> conv 5 -> pool 3 -> norm -> conv 5 -> pool 3
 *       -> norm -> [589, 60] -> 4 bidirectional LSTM layers -> [589, 256] -> linear, linear -> [589, 7] scores of classes
 *
 * Bredin, "pyannote.audio 2.1" (2023); Ravanelli and Bengio, SincNet (2018). Everything is f32 on every backend: after the
 * first norm the signal rides on a constant four times its size, and the filters cancel that constant.
 */
#ifndef ES_PYANNET_H
#define ES_PYANNET_H

#include "models/fill.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { ES_PYANNET_SAMPLES = 160000, ES_PYANNET_FRAMES = 589, ES_PYANNET_CLASSES = 7 };

typedef struct es_pyannet es_pyannet;

/* Enters the model into a plan for batches of `windows`. w NULL plans the published sizes. A pack whose config says other
 * sizes than these is refused. */
int es_pyannet_plan(es_pyannet **out, es_plan *p, const char *name, const es_weights *w, int windows, es_err *err);
void es_pyannet_close(es_pyannet *m); /* accepts NULL */
void es_pyannet_start(es_pyannet *m, es_arena *a); /* after es_arena_load */
int es_pyannet_windows(const es_pyannet *m);
es_fill es_pyannet_fill(const es_pyannet *m); /* in windows */

/* pcm [n, 160000] in [-1, 1], n at most the planned windows; scores [n, 589, 7]: logits, whose softmax are the classes'
 * probabilities. A window's scores do not depend on the others. */
int es_pyannet_run(es_pyannet *m, const float *pcm, int n, float *scores, es_err *err);
/* The class of each frame: the largest score, the first of equals. frames = n * 589. */
void es_pyannet_classes(uint8_t *classes, const float *scores, int64_t frames);

#endif
