/*
 * front.h - one face over the front ends of the speaker networks: samples in, rows of 80 bins out, one every 10 ms.
 *
 *     povey, hamming   Kaldi's filter bank (fbank.h): whole frames of 400 samples, row t from sample 160 t on
 *     speechbrain      transform of 400 around sample 160 t, zeros beyond the ends -> |.|^2 -> 80 triangles from 0 to 8000 Hz,
 *                      each as wide on the right as it is on the left -> 10 log10, at least 1e-10
 *     taoruijie        x[i] - 0.97 x[i-1] -> transform of 512 around sample 160 t (a window of 400 in its middle), the signal
 *                      mirrored at the ends -> |.|^2 -> 80 triangles from 20 to 7600 Hz -> logarithm of it and 1e-6
 *
 * A row is made from the samples under it alone. What belongs to a piece as a whole (its mean, its loudest bin) is left to
 * models/speaker.h, which knows which rows of a piece are taken. So the rows of Kaldi's front ends may be made once for a
 * recording and shared by overlapping windows. Everything is computed in f64 and given as f32.
 */
#ifndef ES_FRONT_H
#define ES_FRONT_H

#include <stdint.h>

#include "base/err.h"
#include "base/types.h"

typedef struct es_front es_front;

int es_front_open(es_front **out, es_front_kind kind, es_err *err);
void es_front_close(es_front *f); /* accepts NULL */

int64_t es_front_rows(const es_front *f, int64_t samples); /* 0 where there are too few */
/* y [es_front_rows(f, samples), 80] from pcm[samples] in [-1, 1]. Many threads may share f. */
void es_front_run(const es_front *f, float *y, const float *pcm, int64_t samples);

#endif
