/*
 * source.h - what a foreign file holds, whatever its format: named tensors over mapped bytes.
 *
 * A reader (safetensors, ct2, torch, gguf, ...) opens its files, checks every length in them and adds one es_src_tensor
 * for each; an architecture (whisper, bert, ...) takes tensors by name and exact shape. Elements are read as f32 in
 * row-major order, a range at a time, so that no tensor is ever held in memory as a whole. The bytes are little-endian
 * and may start anywhere: they are copied, never cast.
 *
 * One source per conversion, one thread.
 */
#ifndef ES_SOURCE_H
#define ES_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "runtime/weights.h"

/* name, elements of a block, bytes of a block */
#define ES_NUM_MAP(X)                                                                                                  \
    X(F32, 1, 4)                                                                                                       \
    X(F16, 1, 2)                                                                                                       \
    X(BF16, 1, 2)                                                                                                      \
    X(F64, 1, 8)                                                                                                       \
    X(I64, 1, 8)                                                                                                       \
    X(I32, 1, 4)                                                                                                       \
    X(I16, 1, 2)                                                                                                       \
    X(I8, 1, 1)                                                                                                        \
    X(U8, 1, 1)                                                                                                        \
    X(BOOL, 1, 1)                                                                                                      \
    X(Q4_0, 32, 18)                                                                                                    \
    X(Q4_1, 32, 20)                                                                                                    \
    X(Q5_0, 32, 22)                                                                                                    \
    X(Q5_1, 32, 24)                                                                                                    \
    X(Q8_0, 32, 34)                                                                                                    \
    X(Q4_K, 256, 144)                                                                                                  \
    X(Q5_K, 256, 176)                                                                                                  \
    X(Q6_K, 256, 210)

typedef enum es_num {
#define X(name, elements, bytes) ES_NUM_##name,
    ES_NUM_MAP(X)
#undef X
    ES_N_NUMS
} es_num;

enum { ES_SOURCE_MAX_DIMS = 8, ES_SOURCE_MAX_TENSORS = 100000, ES_SOURCE_MAX_NAME = 512 };

typedef struct es_src_tensor {
    const char *name; /* the source's */
    es_num num;
    int n_dims; /* 0: a scalar */
    int64_t dim[ES_SOURCE_MAX_DIMS];
    int64_t stride[ES_SOURCE_MAX_DIMS]; /* in elements; used when strided */
    bool strided;
    bool used;                  /* an architecture took it, or knows that it is not needed */
    const unsigned char *p;     /* first element */
    size_t bytes;               /* from p to the end of what belongs to it */
    size_t count;               /* product of dim */
    const unsigned char *scale; /* n_scales f32 where integers were quantised: value = q / scale of its row; or NULL */
    size_t n_scales;            /* 1 or dim[0] */
} es_src_tensor;

typedef struct es_source {
    char format[128];       /* "safetensors", "CTranslate2 version 6", ... */
    char *path, *folder;    /* as given; the folder in which side files lie */
    es_src_tensor *tensors; /* sorted by name once es_source_ready() returns */
    int n_tensors, room;
    bool sorted;
    char **files; /* paths of the weight files, in name order */
    struct es_src_state {
        int64_t size, file, seconds, nanoseconds;
    } *states; /* [n_files]: as they were when they were added */
    int n_files;
    struct es_map *maps; /* mapped files, and what else lives as long as the source */
    int n_maps;
    struct es_src_text {
        char *name, *text; /* "config.json" and the like, written by readers whose files say such things themselves */
        size_t bytes;
    } texts[4];
    int n_texts;
} es_source;

int es_source_open(es_source **out, const char *path, const char *folder, es_err *err);
void es_source_close(es_source *s); /* accepts NULL */

/* ---- for readers ---- */
/* Maps a file read-only for the life of the source and adds it to its weight files. An empty file is refused. */
int es_source_map(es_source *s, const char *path, const unsigned char **p, size_t *bytes, es_err *err);
int es_source_add_file(es_source *s, const char *path, es_err *err);   /* without mapping it */
int es_source_keep_weights(es_source *s, es_weights *w, es_err *err);  /* closed with the source, on failure too */
void *es_source_keep(es_source *s, size_t bytes, es_err *err);         /* zeroed memory that lives as long; or NULL */
/* Copies t and its name (n bytes, checked: not empty, no NUL, of bounded length) and computes count; what: the file,
 * for messages. Refuses shapes whose bytes exceed t->bytes. */
int es_source_add(es_source *s, const es_src_tensor *t, const char *name, size_t n, const char *what, es_err *err);
/* A JSON document that stands in for a side file of that name. Takes text, on failure too. */
int es_source_add_text(es_source *s, const char *name, char *text, es_err *err);
/* Refuses a source whose files are no longer as they were when they were added: what was read may be of two kinds. */
int es_source_unchanged(const es_source *s, es_err *err);
/* The weights of that path among those kept with the source, or NULL. */
const es_weights *es_source_weights(const es_source *s, const char *path);
int es_source_ready(es_source *s, es_err *err); /* sorts; refuses a name that is there twice */

/* ---- for architectures ---- */
es_src_tensor *es_source_find(const es_source *s, const char *name); /* NULL where there is none */
/* Elements first .. first + n - 1 in row-major order. */
void es_source_read(const es_src_tensor *t, size_t first, size_t n, float *out);
void es_source_read_double(const es_src_tensor *t, size_t first, size_t n, double *out); /* all digits of F64 */
void es_source_forget(const es_src_tensor *t); /* gives its resident pages back to the system */
const char *es_num_name(es_num n);
size_t es_num_block(es_num n); /* elements of a block */
size_t es_num_bytes(es_num n); /* bytes of a block */
void es_source_shape_text(char *out, size_t n, int n_dims, const int64_t *dim); /* "[3, 4]" */

int es_source_hash(const es_source *s, es_hash128 *out, es_err *err); /* of the files' bytes, in name order */
uint64_t es_source_bytes(const es_source *s);                         /* of the files */
/* Joins folder and name into a new string; NULL when memory is out. */
char *es_source_join(const char *folder, const char *name);
const char *es_source_base(const char *path); /* what follows the last slash */

/* ---- the readers; each fills an open source, then calls es_source_ready() ---- */
int es_safetensors_read(es_source *s, const char *path, es_err *err);         /* one file, or an index of shards */
int es_ct2_read(es_source *s, const char *path, es_err *err);                 /* model.bin of CTranslate2 */
int es_torch_read(es_source *s, const char *path, es_err *err);               /* a checkpoint, zip or legacy */
int es_gguf_read(es_source *s, const char *path, es_err *err);                /* GGUF 2 and 3, of Qwen2 */
int es_ggml_read(es_source *s, const char *path, es_err *err);                /* whisper.cpp's own files */
int es_npz_read(es_source *s, const char *path, es_err *err);                 /* an npz, and its companion for PLDA */
/* The block type of a ggml type number, ES_N_NUMS where it is not known. */
es_num es_gguf_type(uint32_t id);

#endif
