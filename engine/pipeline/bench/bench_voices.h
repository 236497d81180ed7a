/*
 * bench_voices.h - measuring who spoke when: how right it is, and what it costs.
 */
#ifndef ES_BENCH_VOICES_H
#define ES_BENCH_VOICES_H

#include "base/err.h"
#include "base/hash.h"
#include "pipeline/speakers/hear.h"

/* The diarization error rate of hypothesis against reference, both RTTM, recording by recording and over all: missed, false
 * alarm and confused seconds under the best map between their speakers. uem: regions that are scored, or NULL: from the first
 * onset to the last end of both. collar: seconds left out on either side of each boundary of the reference. */
int es_bench_der(const char *reference, const char *hypothesis, const char *uem, double collar, bool json, char **text, size_t *bytes,
                 es_err *err);

/* The equal error rate of the scores in a file, a line each: a label (1 or target, 0 or other), a blank, a number. */
int es_bench_eer(const char *path, bool json, char **text, size_t *bytes, es_err *err);

typedef struct es_bench_diarize_options {
    const char *models, *segmentation, *diarizer, *device;
    const char *synthetic; /* the name of a network that is measured without its weights, or NULL */
    uint64_t budget;
    int threads;
    es_hear_options hear;
    const char *rttm; /* where the turns go; NULL: nowhere */
    bool json;
} es_bench_diarize_options;

/* Tells the speakers of one file apart, without a speech model: seconds of each step. With synthetic weights, of ten minutes
 * of noise in which two people are made to take turns. */
int es_bench_diarize(const es_bench_diarize_options *o, const char *path, char **text, size_t *bytes, es_err *err);

#endif
