/*
 * bench_embed.h - a text encoder, measured: texts and tokens a second, and the memory they took.
 */
#ifndef ES_BENCH_EMBED_H
#define ES_BENCH_EMBED_H

#include "pipeline/search/embedding.h"

typedef struct es_bench_embed_options {
    es_embedding_options encoder; /* synthetic: a preset instead of a pack */
    int tokens;                   /* of each text; 0: 64 */
    int texts;                    /* of each run; 0: as many as the batch */
    bool sweep;                   /* the CPU with batches of 128 and, where there is one, the GPU with 32 to 256 */
} es_bench_embed_options;

/* Texts of random ids, computed once to warm up and then until five runs or ten seconds are over; the median counts. *text
 * is the caller's to free. */
int es_bench_embed(const es_bench_embed_options *o, bool json, char **text, size_t *bytes, es_err *err);

#endif
