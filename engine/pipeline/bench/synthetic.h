/*
 * synthetic.h - a speech model of any released size, measured without its weights: noise in their place, noise to hear.
 *
 * What is measured is arithmetic and memory, from the samples of windows to their tokens, at the real shapes and at the
 * batch that the budget allows; a window says 100 tokens, whatever it hears. Needs only the rooms runtime and models,
 * so that it also runs where nothing else can be built.
 */
#ifndef ES_SYNTHETIC_H
#define ES_SYNTHETIC_H

#include "base/err.h"
#include "kernels/kernels.h"

typedef struct es_synthetic_options {
    const char *name; /* "distil-large-v3", ...; "two-layers": the least there is, for an emulator */
    es_backend backend;
    int index, threads;
    uint64_t budget;       /* bytes; 0: no bound */
    int slots, tokens;     /* most slots, tokens a window; 0: as the file's essay says */
    int rounds;            /* of which the middle one counts; 0: three on a device, one on the CPU */
    double tflops, gbytes; /* what the card reaches; 0: what an H200 does */
    bool json;
} es_synthetic_options;

/* *text is the caller's to free. */
int es_synthetic_asr(const es_synthetic_options *o, char **text, size_t *bytes, es_err *err);

#endif
