/*
 * weights.h - a safetensors file, mapped read-only: a converted model pack, or a foreign file for `convert`.
 *
 * Nothing in the file is trusted: header length, JSON, dtypes, shapes, overflow, overlaps, holes and bounds are checked
 * at open; a file that fails is refused with a sentence naming the file, the tensor and both values. Pointers stay
 * valid until es_weights_close(). Safe to share between threads once open. The bytes of a tensor may be unaligned:
 * copy.
 */
#ifndef ES_WEIGHTS_H
#define ES_WEIGHTS_H

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "kernels/kernels.h"

typedef struct es_weights es_weights;

typedef struct es_weight {
    const char *name;
    es_dtype dtype;   /* ES_N_DTYPES where the file's type is none of ours: F64, I64, U32, I8, BOOL, ... */
    const char *type; /* as the file names it */
    int n_dims;
    int64_t dim[8];
    const void *p;
    size_t bytes;
} es_weight;

/* On success *out is the caller's, to give to es_weights_close(); on failure it is NULL. */
int es_weights_open(es_weights **out, const char *path, es_err *err);
/* The same over bytes that the caller keeps until es_weights_close(); name stands for the path in sentences. */
int es_weights_from(es_weights **out, const void *bytes, size_t n, const char *name, es_err *err);
void es_weights_close(es_weights *w); /* accepts NULL */
const char *es_weights_path(const es_weights *w);

int es_weights_count(const es_weights *w);
const es_weight *es_weights_at(const es_weights *w, int i);              /* in the order of the file's data */
const es_weight *es_weights_find(const es_weights *w, const char *name); /* NULL where there is none */
const char *es_weights_meta(const es_weights *w, const char *key);       /* of __metadata__, NULL where there is none */
void es_weights_forget_pages(const es_weights *w);                       /* give resident pages back to the system */

/* ---- packs (weights/FORMAT.md) ---- */
/* Opens a file and requires it to be a pack of a known format version and architecture. */
int es_pack_open(es_weights **out, const char *path, es_err *err);
/* The same over bytes in memory, as es_weights_from. */
int es_pack_open_bytes(es_weights **out, const void *bytes, size_t n, const char *name, es_err *err);
const char *es_pack_architecture(const es_weights *w);   /* "whisper", "pyannet", "campplus", ... */
const char *es_pack_name(const es_weights *w);           /* "whisper-base" */
const es_json_node *es_pack_config(const es_weights *w); /* the object in metadata "config" */
/* Compares the XXH3-128 of the data area with metadata "data_hash"; reads the whole file. */
int es_pack_verify(const es_weights *w, es_err *err);

#endif
