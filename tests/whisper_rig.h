/*
 * whisper_rig.h - a Whisper that runs, from a pack, for the tests of its room; a small seeded pack, and noise to hear.
 */
#ifndef ES_WHISPER_RIG_H
#define ES_WHISPER_RIG_H

#include "models/whisper.h"
#include "test.h"
#include "text/bpe.h"

/* The seeded model: two layers of two heads in each stack, f16 weights. */
enum { ES_RIG_WIDTH = 128, ES_RIG_HEADS = 2, ES_RIG_LAYERS = 2, ES_RIG_AUDIO = 1500 };

#define OK(call, err)                                                                                                  \
    do {                                                                                                               \
        if ((call) != ES_OK) {                                                                                         \
            es_test_fail(__FILE__, __LINE__, "%s: %s", #call, (err).text);                                             \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

typedef struct es_whisper_rig {
    es_weights *w;
    es_whisper_dims dims;
    es_whisper_ids ids;
    es_bpe *bpe;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_whisper *m;
    es_err err;
} es_whisper_rig;

/* False, and a failure of the running test, when the pack does not open or does not run. flags: es_plan_flags. */
bool es_whisper_rig_open(es_whisper_rig *g, const char *path, es_whisper_limits limits, int threads);
bool es_whisper_rig_open_as(es_whisper_rig *g, const char *path, es_whisper_limits limits, int threads, unsigned flags);
void es_whisper_rig_close(es_whisper_rig *g);

/* What es_whisper_debug() shows; the caller frees. */
float *es_whisper_rig_copy(es_whisper_rig *g, const char *what);
es_whisper_request es_whisper_rig_request(const int32_t *prompt, int n);
/* Writes the seeded pack into the test's folder. */
bool es_whisper_rig_seeded(char path[4096]);
/* A window of noise with a slow envelope, so that windows and frames differ; the caller frees. */
float *es_whisper_rig_noise(uint64_t seed);
/* Prints a measured difference where ES_TEST_VERBOSE is set. */
void es_whisper_rig_told(const char *what, double worst);

#endif
