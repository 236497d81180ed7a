/*
 * fbank.h - Kaldi's filter bank, the front end of the speaker-vector networks.
 *
 *     400 samples every 160 -> less their mean -> x[i] - 0.97 x[i-1] -> window -> |transform of 512|^2 -> 80 triangles, equal
 *       in mel from 20 to 8000 Hz -> natural logarithm
 *
 * Povey et al., "The Kaldi Speech Recognition Toolkit" (2011). Only whole frames count and nothing is padded, so the frames
 * of a recording may be made a stretch at a time: frame t needs samples 160 t .. 160 t + 399. Everything is computed in f64
 * and given as f32.
 */
#ifndef ES_FBANK_H
#define ES_FBANK_H

#include <stdint.h>

#include "base/err.h"

enum { ES_FBANK_FRAME = 400, ES_FBANK_HOP = 160, ES_FBANK_BINS = 80 };

typedef struct es_fbank es_fbank;

/* What a network was trained with. The scale matters only through the floor of the logarithm. */
typedef enum es_fbank_kind {
    ES_FBANK_POVEY,  /* samples as they are, Povey's window: CAM++ */
    ES_FBANK_HAMMING /* samples times 32768, Hamming's window: WeSpeaker */
} es_fbank_kind;

int es_fbank_open(es_fbank **out, es_fbank_kind kind, es_err *err);
void es_fbank_close(es_fbank *f); /* accepts NULL */

int64_t es_fbank_frames(int64_t samples); /* whole frames in so many samples */
/* y [frames, 80] from pcm[0 .. 160 (frames - 1) + 399] in [-1, 1]. Many threads may share f. */
void es_fbank_run(const es_fbank *f, float *y, const float *pcm, int64_t frames);
/* Subtracts from each bin its mean over these frames: what the networks expect of a piece. */
void es_fbank_center(float *x, int64_t frames);

#endif
