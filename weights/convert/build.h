/*
 * build.h - what the architectures share: taking tensors by name and shape, putting them under their new names.
 *
 * The first failure stays in the build (rc and err) and every later call does nothing, so that an architecture reads as
 * a list of its tensors. A tensor that is missing, or has another shape, or is left over at the end, fails by name.
 */
#ifndef ES_BUILD_H
#define ES_BUILD_H

#include "convert.h"
#include "pack.h"
#include "source.h"

typedef struct es_build {
    const es_convert_options *options;
    es_convert_report *report;
    es_source *source;
    es_pack *pack;
    es_err *err;
    int rc;
} es_build;

/* A sentence to the user, by way of options->note. */
void es_build_note(es_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int es_build_fail(es_build *b, const char *format, ...) __attribute__((format(printf, 2, 3))); /* ES_EMODEL */

/* The tensor of that name and shape (dim -1: any size, read it from the tensor); NULL once the build has failed. A tensor
 * whose trailing dimensions of size 1 are all that differs is taken too. */
const es_src_tensor *es_build_take(es_build *b, int n_dims, const int64_t *dim, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool es_build_has(const es_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Marks a tensor as known and not needed; silent where it is missing. */
void es_build_skip(es_build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void es_build_leftover(es_build *b); /* fails on the first tensor nobody took */

/* What a matrix of these sources is stored as: the option, else their own type, the widest of them; whole numbers and
 * blocks become f16. For vectors: f16 stays f16, everything else is f32. */
es_dtype es_build_matrix_dtype(const es_build *b, const es_src_tensor *const *t, int n);
es_dtype es_build_vector_dtype(const es_build *b, const es_src_tensor *const *t, int n);

/* A tensor that is n sources one below the other (equal inner shape); NULL among them stands for zeros like the first
 * that is there. rows: of all together. */
void es_build_put(es_build *b, const char *name, es_dtype dtype, int n_dims, const int64_t *dim,
                  const es_src_tensor *const *t, int n, es_order order);
void es_build_put_values(es_build *b, const char *name, const float *values, int n_dims, const int64_t *dim); /* f32 */
void es_build_put_bytes(es_build *b, const char *name, const void *bytes, size_t n);

/* Reads a whole tensor as f32; the caller frees. NULL once the build has failed. For small tensors. */
float *es_build_read(es_build *b, const es_src_tensor *t);
/* A JSON file beside the source: NULL where it is not there (no failure) or cannot be read (failure). */
es_json *es_build_json(es_build *b, const char *name, size_t max_bytes);

/* Metadata every pack has; config: one JSON object. */
void es_build_meta(es_build *b, const char *architecture, const char *config, const char *converter);

/* ---- the architectures: each true when the source's tensors are of its kind, and then the conversion ---- */
bool es_whisper_is(const es_source *s);
void es_whisper_build(es_build *b);

/* ---- tokenizers (vocab.c) ---- */
/* "tokenizer.tokens": base tokens of Whisper, n of them, from tokenizer.json, vocab.json or vocabulary.json beside the
 * source, as one length byte and the raw bytes each. */
void es_vocab_whisper(es_build *b, int n);

#endif
