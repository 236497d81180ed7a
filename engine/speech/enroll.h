/*
 * enroll.h - what of a recording may stand for one person's voice: the frames where somebody speaks alone, whether it
 * is one voice, and the vector that remains when pieces unlike the rest are left out.
 *
 *     samples -> loud enough, not clipped -> frames with one speaker -> net speech, one behind the other
 *             -> pieces of 3 s, every 1.5 s -> vectors (elsewhere) -> one voice? -> mean
 */
#ifndef ES_ENROLL_H
#define ES_ENROLL_H

#include "speech/identify.h"
#include "speech/work.h"

enum {
    ES_ENROLL_STEP = 40000,    /* samples between windows of the segmentation network: four look at each moment */
    ES_ENROLL_PIECE = 48000,   /* samples of a piece */
    ES_ENROLL_HOP = 24000,     /* between the starts of two */
    ES_ENROLL_LEAST_MS = 3000, /* of net speech: below, nobody is enrolled */
    ES_ENROLL_GOOD_MS = 5000,  /* below, with a warning */
    ES_ENROLL_BEST_MS = 10000  /* recommended */
};
#define ES_ENROLL_CLIPPED 0.01 /* share of the speech's samples at the limit, from which on a recording is refused */
#define ES_ENROLL_SECOND  0.10 /* share of the speech that may be a second voice's */

/* A stretch of samples. */
typedef struct es_stretch {
    int64_t from, to;
} es_stretch;

/* Where exactly one speaks, by the classes [C, 589] of windows ES_ENROLL_STEP apart, in n samples. *second: the share
 * of the speech that is not of the window's main voice. *out is the caller's to free; -1 when memory is out. */
int es_enroll_alone(es_stretch **out, size_t *n_out, double *second, const uint8_t *classes, int64_t C, int64_t n);
/* The same from the sound's level alone, for want of a segmentation network: what is within 30 dB of the loudest. */
int es_enroll_loud(es_stretch **out, size_t *n_out, const float *x, int64_t n);
int64_t es_enroll_samples(const es_stretch *s, size_t n); /* of all stretches together */

/* How good the sound is. clipped: share of the samples of the stretches at the recording's own limit; noise_db: speech
 * over what lies between the stretches, 99 where that is too little to say. */
typedef struct es_enroll_quality {
    double clipped, noise_db;
} es_enroll_quality;
es_enroll_quality es_enroll_measure(const float *x, int64_t n, const es_stretch *s, size_t n_stretches);

/* Pieces of n samples of net speech: *from [count], each ES_ENROLL_PIECE long but for the last, which is at least half
 * as long; less than that is no piece. from may be NULL to count. */
int es_enroll_pieces(int64_t *from, int64_t n);

typedef enum es_enrolled {
    ES_ENROLLED_OK,
    ES_ENROLLED_TWO,   /* two voices */
    ES_ENROLLED_UNLIKE /* over a quarter of the pieces are unlike the rest */
} es_enrolled;
/* The mean of pieces [n, width], n > 0, as a vector of unit length; pieces unlike the rest are left out, *left_out says
 * how many. share: of the pieces that are the second voice's, or unlike the rest. */
void es_enroll_mean(float *mean, es_enrolled *how, double *share, int *left_out, const float *pieces, int n, int width,
                    const es_identify_rule *rule, es_work *work);
size_t es_enroll_mean_bytes(int n, int width);

#endif
