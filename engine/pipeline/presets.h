/*
 * presets.h - architectures planned by name, without weights: what a model would take before it is fetched.
 */
#ifndef ES_PRESETS_H
#define ES_PRESETS_H

#include "models/embedder.h"
#include "models/pyannet.h"
#include "models/whisper.h"

enum { ES_PRESETS_MOST = 16 };

/* The models that were entered into a plan; they must stay until the plan is closed or no longer looked at. */
typedef struct es_presets {
    struct es_preset {
        es_whisper *whisper;
        es_embedder *embedder;
        es_pyannet *pyannet;
    } model[ES_PRESETS_MOST];
    int n;
} es_presets;

/* What a session plans a Whisper for: one recording at a time, one window after the other. */
es_whisper_limits es_presets_whisper_limits(const es_whisper_dims *dims);

/* with: names separated by commas. An unknown one is refused with a sentence that lists all. */
int es_presets_plan(es_presets *s, es_plan *p, const char *with, es_err *err);
void es_presets_done(es_presets *s);

#endif
