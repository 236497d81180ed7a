/*
 * pickle.h - Python's pickles read as data: a stack machine with a closed list of opcodes and names.
 *
 * Nothing is looked up, imported or called. A few names stand for things this reader builds itself (an ordered
 * dictionary, a tensor over a storage); a closed list of others, which training tools leave beside the weights, becomes
 * opaque values that nobody looks into; every other name is refused, by that name, where it stands. Memory is bounded by
 * fixed limits, values lie in one array and refer to each other by index, and a container inside itself is refused.
 * Text points into the bytes given, which must outlive the result.
 */
#ifndef ES_PICKLE_H
#define ES_PICKLE_H

#include "source.h"

typedef enum es_pickle_kind {
    ES_PICKLE_NONE, ES_PICKLE_BOOL, ES_PICKLE_INT, ES_PICKLE_FLOAT, ES_PICKLE_TEXT, ES_PICKLE_TUPLE, ES_PICKLE_LIST,
    ES_PICKLE_DICT, ES_PICKLE_GLOBAL, ES_PICKLE_STORAGE, ES_PICKLE_TENSOR, ES_PICKLE_OPAQUE
} es_pickle_kind;

typedef struct es_pickle_value {
    es_pickle_kind kind;
    uint32_t n, room;   /* of items; of a dictionary: keys and values, twice its members */
    uint32_t *items;    /* indices of values; owned */
    const char *text;   /* TEXT: bytes, not NUL-terminated; GLOBAL: "module\nname" */
    size_t bytes;
    int64_t i;          /* BOOL, INT; GLOBAL: what it stands for; STORAGE: index among the storages */
    double f;
    int32_t tensor;     /* index among the tensors */
} es_pickle_value;

/* What a persistent id names: a run of numbers kept elsewhere. */
typedef struct es_pickle_storage {
    const char *key;
    size_t key_bytes;
    es_num num;
    int64_t count;
} es_pickle_storage;

/* A view into a storage; offset and strides in elements, checked to lie within it. */
typedef struct es_pickle_tensor {
    int storage;
    int64_t offset;
    int n_dims;
    int64_t dim[ES_SOURCE_MAX_DIMS], stride[ES_SOURCE_MAX_DIMS];
} es_pickle_tensor;

typedef struct es_pickle {
    es_pickle_value *values;
    uint32_t n_values, room_values;
    es_pickle_storage *storages; /* each key once */
    int n_storages, room_storages;
    es_pickle_tensor *tensors;
    int n_tensors, room_tensors;
    uint32_t root;
} es_pickle;

/* One pickle at the start of p; *used: its length. what: the file, for messages. */
int es_pickle_read(es_pickle **out, const unsigned char *p, size_t n, size_t *used, const char *what, es_err *err);
void es_pickle_close(es_pickle *k); /* accepts NULL */

/* The value of a text key; NULL where d is no dictionary or has no such key. */
const es_pickle_value *es_pickle_get(const es_pickle *k, const es_pickle_value *d, const char *key);
bool es_pickle_is_text(const es_pickle_value *v, const char *text);

#endif
