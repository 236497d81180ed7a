/*
 * synthetic_pipeline.h - the whole pipeline without media, packs or a library: seeded weights of any released sizes, made-up
 * sound, all models in one plan of a budget.
 *
 * Says beforehand what a machine would make of a queue of recordings. Needs only the rooms runtime, models and speech, so that
 * it also runs where nothing else can be built.
 */
#ifndef ES_SYNTHETIC_PIPELINE_H
#define ES_SYNTHETIC_PIPELINE_H

#include "kernels/kernels.h"
#include "pipeline/bench/figures.h"

typedef struct es_synthetic_pipeline_options {
    const char *with; /* names as `plan --with` takes them, and "two-layers" and "two-layers-text": the least speech model and
                       * the least text encoder there are, for an emulator. NULL: the five of a full house */
    es_backend backend;
    int index, threads;
    uint64_t budget; /* bytes; 0: no bound */
    bool least;      /* the smallest steps, whatever the budget allows */
    int seconds;     /* of sound; 0: an hour on a device, a minute on the CPU */
    int tokens;      /* that every window says; 0: 60 to 140 */
    int (*tell)(void *user, const char *stage, double fraction); /* anything but 0 cancels; NULL: nobody listens */
    void *user;
} es_synthetic_pipeline_options;

int es_synthetic_pipeline(const es_synthetic_pipeline_options *o, es_figures *out, es_err *err);

#endif
