/*
 * seeded.h - small model packs with random weights, the same bytes for the same seed: what structure is tested on where
 * no trained model is at hand. What they say means nothing.
 */
#ifndef ES_SEEDED_H
#define ES_SEEDED_H

#include <stdbool.h>
#include <stdint.h>

#include "models/speaker.h"
#include "runtime/plan.h"

typedef struct es_seeded_whisper {
    uint64_t seed;
    int width, layers;     /* a multiple of 64; of each stack */
    int n_mels, vocab;     /* 80 or 128; 51864 .. 51866 */
    bool f16;              /* weights f16, else f32 */
    const char *alignment; /* JSON list for the config; NULL: left out */
    const char *name;      /* NULL: "seeded-whisper" */
} es_seeded_whisper;

/* The usual one, called small: two layers of 64, multilingual, with heads to align words by. */
extern const es_seeded_whisper es_seeded_small;

/* 0, or -1 when the file cannot be written. */
int es_seeded_whisper_write(const char *path, const es_seeded_whisper *s);

/* A pack of any architecture, f32, with the tensors that a model names when it is planned without weights: it is the only one
 * of that plan. config: JSON with its quotes escaped, as it stands in the header. tokens: of a tokenizer, one length byte and
 * the text of each; NULL: it has none. */
int es_seeded_write(const char *path, const char *architecture, const char *config, const es_plan *plan, const char *tokens,
                    size_t n_tokens, uint64_t seed);

/* ---- the other stages' models (seeded_networks.c): 0, or an error's code and its sentence ---- */

int es_seeded_segmentation_write(const char *path, uint64_t seed, es_err *err); /* of the published size */
int es_seeded_speaker_write(const char *path, const char *architecture, const char *config, const es_speaker_dims *dims, uint64_t seed,
                            es_err *err);
int es_seeded_campplus_write(const char *path, uint64_t seed, es_err *err); /* of the published size */
int es_seeded_resnet34_write(const char *path, uint64_t seed, es_err *err);              /* vectors of 24 */
int es_seeded_ecapa_write(const char *path, bool taoruijie, uint64_t seed, es_err *err); /* vectors of 24 */
/* Two layers of 64, vectors of 64, a WordPiece tokenizer that knows letters and digits: each is a token, and 80 are a text at
 * most, so that little speech has many passages. */
int es_seeded_encoder_write(const char *path, uint64_t seed, es_err *err);

#endif
