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

/* A batch norm in inference form as y = scale x + shift, computed in double from PREFIX.weight, .bias, .running_mean and
 * .running_var (weight and bias may be missing together); PREFIX.num_batches_tracked is skipped. False once failed. */
bool es_build_batchnorm(es_build *b, const char *prefix, int64_t n, double eps, double *scale, double *shift);
/* NAME.weight [O, in] and NAME.bias [O] (f32) of a convolution or product w [O, in...] (bias may be NULL) followed by the
 * batch norm; scale NULL: none. The taps of w become outermost where it has any. */
void es_build_put_folded(es_build *b, const char *name, const es_src_tensor *w, const es_src_tensor *bias,
                         const double *scale, const double *shift);
/* A vector under its new name, f16 or f32 as all vectors. */
void es_build_put_vector(es_build *b, const char *name, const es_src_tensor *t);

/* Reads a whole tensor as f32; the caller frees. NULL once the build has failed. For small tensors. */
float *es_build_read(es_build *b, const es_src_tensor *t);
/* A JSON file beside the source: NULL where it is not there (no failure) or cannot be read (failure). */
es_json *es_build_json(es_build *b, const char *name, size_t max_bytes);

/* Sizes of a config that must be the tensors'; silent where the config does not name them. */
void es_build_agree(es_build *b, const es_json_node *config, const char *key, int64_t have);

/* Metadata every pack has; config: one JSON object. */
void es_build_meta(es_build *b, const char *architecture, const char *config, const char *converter);

/* ---- the architectures: each true when the source's tensors are of its kind, and then the conversion ---- */
#define ES_ARCHITECTURE_MAP(X) X(whisper) X(pyannet) X(campplus) X(resnet34) X(ecapa) X(plda) X(bert) X(qwen2)

#define X(name)                                                                                                        \
    bool es_##name##_is(const es_source *s);                                                                           \
    void es_##name##_build(es_build *b);
ES_ARCHITECTURE_MAP(X)
#undef X

/* ---- tokenizers (vocab*.c) ---- */
/* A file beside the source as NUL-terminated text, the caller's to free; NULL where it is not there, or on failure. */
char *es_build_text(es_build *b, const char *name, size_t max_bytes, size_t *bytes);
/* Length in bytes of a token written in GPT-2's byte alphabet, or -1 when it is not, or is longer than 255. */
int es_vocab_undo(const char *text, unsigned char out[255]);
/* "tokenizer.tokens": base tokens of Whisper, n of them, from tokenizer.json, vocab.json or vocabulary.json beside the
 * source, as one length byte and the raw bytes each. */
void es_vocab_whisper(es_build *b, int n);
/* The tables of a text encoder: bytes of the tensors "tokenizer.tokens" and "tokenizer.added". */
typedef struct es_vocab {
    unsigned char *tokens, *added; /* es_vocab_done(), on failure too */
    size_t tokens_bytes, added_bytes;
} es_vocab;
void es_vocab_done(es_vocab *v);
void es_vocab_put(es_build *b, es_vocab *v); /* into the pack; v is done */
/* BERT's, n tokens (0: as many as the file has), from vocab.txt or tokenizer.json. id[5]: of [UNK], [CLS], [SEP], [PAD],
 * [MASK]. */
void es_vocab_wordpiece(es_build *b, es_vocab *out, int n, int id[5], bool *lowercase);
/* Qwen2's from tokenizer.json; false, without a failure, where there is none. Fails when the merges are not in the order of
 * the ids. rows: ids the model has. *eos: the id of <|endoftext|>, or -1. */
bool es_vocab_qwen2(es_build *b, es_vocab *out, int rows, int *eos);

#endif
