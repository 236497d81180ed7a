/*
 * weights.c - a safetensors file, believed only where it has been checked.
 *
 *     u64 n | n bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ..., "__metadata__": {...}} |
 * data
 *
 * What is checked at open, in this order: the length against the file; the JSON; of each tensor its members, its dtype
 * among those the format knows, its dimensions, their product without overflow, and that the product is what the
 * offsets span; then over all tensors that no name occurs twice and that, sorted by offset, each begins where the one
 * before ends, from 0 to the last byte of the file. So every byte of data belongs to one tensor, and a file cut
 * anywhere is refused.
 *
 * Names come from the file, hence: UTF-8 only, and no escaped NUL, which would let two names look alike in C.
 *
 * The file is mapped, not read: opening a model of gigabytes costs its header. A file that is cut by someone else while
 * it is mapped takes the process down with SIGBUS, as with every mapping; packs are replaced by renaming, never in
 * place.
 */
#define _GNU_SOURCE
#include "runtime/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/utf8.h"

enum {
    MAX_HEADER =
        16 * 1000 * 1000, /* a hundred times that of the largest speech model; parsed, it may take 30 times as much */
    MAX_DIMS = 8,
    MAX_META = 4096, /* entries of __metadata__ */
};

struct es_weights {
    char *path;
    const unsigned char *base; /* of the file */
    size_t bytes;
    bool mapped;
    const unsigned char *data; /* behind the header */
    size_t data_bytes;
    es_json *header; /* owns all names */
    const es_json_node *meta;
    es_weight *tensors; /* [n], in the order of the data */
    int *by_name;       /* [n], indexes in the order of the names */
    int n;
    es_json *config; /* of a pack */
};

typedef struct stored_type {
    const char *name;
    size_t bytes;
    es_dtype dtype;
} stored_type;

static const stored_type types[] = {
    {"F32", 4, ES_F32},       {"F16", 2, ES_F16},          {"BF16", 2, ES_BF16},
    {"I32", 4, ES_I32},       {"I16", 2, ES_I16},          {"U8", 1, ES_U8},
    {"F64", 8, ES_N_DTYPES},  {"I64", 8, ES_N_DTYPES},     {"U64", 8, ES_N_DTYPES},
    {"U32", 4, ES_N_DTYPES},  {"U16", 2, ES_N_DTYPES},     {"I8", 1, ES_N_DTYPES},
    {"BOOL", 1, ES_N_DTYPES}, {"F8_E5M2", 1, ES_N_DTYPES}, {"F8_E4M3", 1, ES_N_DTYPES},
};

static const stored_type *type_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
}

/* ---- one tensor ---- */

static int read_shape(const es_weights *w, es_weight *t, const es_json_node *shape, size_t item, uint64_t *bytes,
                      es_err *err)
{
    int n = es_json_count(shape), i = 0;

    if (!es_json_is_array(shape))
        return es_fail(err, ES_EFORMAT, "%s: tensor %s: has no list \"shape\"", w->path, t->name);
    if (n > MAX_DIMS)
        return es_fail(err, ES_EFORMAT, "%s: tensor %s: has %d dimensions, where at most %d are read", w->path, t->name,
                       n, MAX_DIMS);
    t->n_dims = n;
    *bytes = item;
    for (const es_json_node *d = es_json_first(shape); d; d = es_json_next(d), i++) {
        if (!es_json_int(d, 0, INT64_MAX, &t->dim[i]))
            return es_fail(err, ES_EFORMAT, "%s: tensor %s: dimension %d is not a size", w->path, t->name, i);
        if (t->dim[i] && *bytes > (uint64_t)INT64_MAX / (uint64_t)t->dim[i])
            return es_fail(err, ES_EFORMAT,
                           "%s: tensor %s: its dimensions multiply to more than 2^63 bytes (dimension %d is %" PRId64
                           ")",
                           w->path, t->name, i, t->dim[i]);
        *bytes *= (uint64_t)t->dim[i];
    }
    return ES_OK;
}

static int read_tensor(const es_weights *w, es_weight *t, const es_json_node *node, es_err *err)
{
    const char *type_name = es_json_string(es_json_get(node, "dtype"));
    const stored_type *type = type_of(type_name);
    const es_json_node *offsets = es_json_get(node, "data_offsets");
    int64_t begin, end;
    uint64_t bytes = 0;
    int rc;

    *t = (es_weight){.name = es_json_key(node)};
    if (!*t->name || !es_utf8_valid(t->name, strlen(t->name)))
        return es_fail(err, ES_EFORMAT, "%s: the name of tensor \"%s\" is %s", w->path, t->name,
                       *t->name ? "not UTF-8" : "empty");
    if (!es_json_is_object(node))
        return es_fail(err, ES_EFORMAT, "%s: tensor %s: is described by something else than an object", w->path,
                       t->name);
    if (!type)
        return es_fail(err, ES_EFORMAT, "%s: tensor %s: unknown dtype \"%s\"", w->path, t->name,
                       type_name ? type_name : "(none)");
    t->dtype = type->dtype;
    t->type = type->name;
    rc = read_shape(w, t, es_json_get(node, "shape"), type->bytes, &bytes, err);
    if (rc) return rc;
    if (!es_json_is_array(offsets) || es_json_count(offsets) != 2 ||
        !es_json_int(es_json_first(offsets), 0, INT64_MAX, &begin) ||
        !es_json_int(es_json_next(es_json_first(offsets)), 0, INT64_MAX, &end))
        return es_fail(err, ES_EFORMAT, "%s: tensor %s: has no pair of sizes \"data_offsets\"", w->path, t->name);
    if (begin > end || (uint64_t)end > w->data_bytes)
        return es_fail(err, ES_EFORMAT,
                       "%s: tensor %s: its data at [%" PRId64 ", %" PRId64 ") is not within the %zu bytes of data",
                       w->path, t->name, begin, end, w->data_bytes);
    if ((uint64_t)(end - begin) != bytes)
        return es_fail(err, ES_EFORMAT,
                       "%s: tensor %s: its data has %" PRId64 " bytes, where dtype %s and shape need %" PRIu64, w->path,
                       t->name, end - begin, t->type, bytes);
    t->p = w->data + begin;
    t->bytes = (size_t)bytes;
    return ES_OK;
}

/* ---- all tensors ---- */

/* By offset; of several at one offset the empty ones come first. The name settles the rest, for one order everywhere.
 */
static int by_offset(const void *a, const void *b)
{
    const es_weight *x = a, *y = b;

    if (x->p != y->p) return (uintptr_t)x->p < (uintptr_t)y->p ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, void *user)
{
    const es_weight *tensors = user;

    return strcmp(tensors[*(const int *)a].name, tensors[*(const int *)b].name);
}

static int check_all(es_weights *w, es_err *err)
{
    const unsigned char *at = w->data;

    for (int i = 0; i < w->n; i++) w->by_name[i] = i;
    qsort(w->tensors, (size_t)w->n, sizeof *w->tensors, by_offset);
    qsort_r(w->by_name, (size_t)w->n, sizeof *w->by_name, by_name, w->tensors);
    for (int i = 1; i < w->n; i++) {
        const char *name = w->tensors[w->by_name[i]].name;
        if (!strcmp(w->tensors[w->by_name[i - 1]].name, name))
            return es_fail(err, ES_EFORMAT, "%s: tensor %s: occurs twice", w->path, name);
    }
    for (int i = 0; i < w->n; i++) {
        const es_weight *t = &w->tensors[i];
        const unsigned char *p = t->p;
        if (p != at)
            return es_fail(err, ES_EFORMAT,
                           "%s: tensor %s: its data begins at %zu, where the data before it ends at %zu (%s)", w->path,
                           t->name, (size_t)(p - w->data), (size_t)(at - w->data), p < at ? "an overlap" : "a hole");
        at += t->bytes;
    }
    if ((size_t)(at - w->data) != w->data_bytes)
        return es_fail(err, ES_EFORMAT, "%s: its tensors end after %zu of %zu bytes of data", w->path,
                       (size_t)(at - w->data), w->data_bytes);
    return ES_OK;
}

static int read_meta(es_weights *w, const es_json_node *meta, es_err *err)
{
    if (w->meta) return es_fail(err, ES_EFORMAT, "%s: has __metadata__ twice", w->path);
    if (!es_json_is_object(meta) || es_json_count(meta) > MAX_META)
        return es_fail(err, ES_EFORMAT, "%s: __metadata__ is not an object of at most %d members", w->path, MAX_META);
    for (const es_json_node *m = es_json_first(meta); m; m = es_json_next(m)) {
        const char *text = es_json_string(m), *key = es_json_key(m);
        if (!text || !es_utf8_valid(text, strlen(text)) || !es_utf8_valid(key, strlen(key)))
            return es_fail(err, ES_EFORMAT, "%s: __metadata__ %s is not a text in UTF-8", w->path, key);
        if (es_json_get(meta, key) != m)
            return es_fail(err, ES_EFORMAT, "%s: __metadata__ %s occurs twice", w->path, key);
    }
    w->meta = meta;
    return ES_OK;
}

static bool has_escaped_nul(const char *text, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (text[i] != '\\') continue;
        if (i + 6 <= n && !memcmp(text + i, "\\u0000", 6)) return true;
        i++; /* whatever is escaped, a second backslash most of all */
    }
    return false;
}

static int read_header(es_weights *w, es_err *err)
{
    const char *text = (const char *)w->base + 8;
    uint64_t length = 0;
    int count, rc;

    if (w->bytes < 8)
        return es_fail(err, ES_EFORMAT, "%s: %zu bytes are too few for a safetensors file", w->path, w->bytes);
    for (int i = 7; i >= 0; i--) length = length << 8 | w->base[i];
    if (length > w->bytes - 8)
        return es_fail(err, ES_EFORMAT, "%s: says that its header has %" PRIu64 " bytes, but only %zu follow", w->path,
                       length, w->bytes - 8);
    if (length > MAX_HEADER)
        return es_fail(err, ES_EFORMAT, "%s: its header has %" PRIu64 " bytes, where at most %d are read", w->path,
                       length, MAX_HEADER);
    if (length < 2 || text[0] != '{')
        return es_fail(err, ES_EFORMAT, "%s: is not a safetensors file (a header of %" PRIu64 " bytes)", w->path,
                       length);
    w->data = w->base + 8 + length;
    w->data_bytes = w->bytes - 8 - (size_t)length;
    if (has_escaped_nul(text, (size_t)length))
        return es_fail(err, ES_EFORMAT, "%s: its header holds a zero character", w->path);
    rc = es_json_parse(&w->header, text, (size_t)length, w->path, err);
    if (rc) return rc;
    if (!es_json_is_object(es_json_root(w->header)))
        return es_fail(err, ES_EFORMAT, "%s: its header is not an object", w->path);
    count = es_json_count(es_json_root(w->header));
    w->tensors = calloc((size_t)count + 1, sizeof *w->tensors);
    w->by_name = calloc((size_t)count + 1, sizeof *w->by_name);
    if (!w->tensors || !w->by_name) return es_fail(err, ES_ENOMEM, "%s: no memory to list %d tensors", w->path, count);
    for (const es_json_node *m = es_json_first(es_json_root(w->header)); m; m = es_json_next(m)) {
        if (!strcmp(es_json_key(m), "__metadata__")) rc = read_meta(w, m, err);
        else rc = read_tensor(w, &w->tensors[w->n++], m, err);
        if (rc) return rc;
    }
    return check_all(w, err);
}

/* ---- opening ---- */

int es_weights_from(es_weights **out, const void *bytes, size_t n, const char *name, es_err *err)
{
    es_weights *w = calloc(1, sizeof *w);
    int rc = ES_OK;

    *out = NULL;
    if (!w || !(w->path = strdup(name))) {
        rc = es_fail(err, ES_ENOMEM, "%s: no memory to open it", name);
        goto out;
    }
    w->base = bytes;
    w->bytes = n;
    rc = read_header(w, err);
    if (rc) goto out;
    *out = w;
    w = NULL; /* owned by the caller from here on */
out:
    es_weights_close(w);
    return rc;
}

int es_weights_open(es_weights **out, const char *path, es_err *err)
{
    void *base = MAP_FAILED;
    size_t bytes = 0;
    struct stat st;
    int fd, rc = ES_OK;

    *out = NULL;
    es_err why = {0};
    fd = es_files_open(path, &why);
    if (fd < 0) return es_fail(err, why.code, "%s", why.text);
    if (fstat(fd, &st)) {
        rc = es_fail(err, ES_EIO, "%s: %s", path, strerror(errno));
        goto out;
    }
    bytes = (size_t)st.st_size;
    if (bytes < 8) {
        rc = es_fail(err, ES_EFORMAT, "%s: %zu bytes are too few for a safetensors file", path, bytes);
        goto out;
    }
    base = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED) {
        rc = es_fail(err, ES_ENOMEM, "%s: cannot map %zu bytes: %s", path, bytes, strerror(errno));
        goto out;
    }
    rc = es_weights_from(out, base, bytes, path, err);
    if (rc) goto out;
    (*out)->mapped = true;
    base = MAP_FAILED; /* owned by *out from here on */
out:
    if (base != MAP_FAILED) munmap(base, bytes);
    close(fd);
    return rc;
}

void es_weights_close(es_weights *w)
{
    if (!w) return;
    if (w->mapped) munmap((void *)(uintptr_t)w->base, w->bytes);
    es_json_close(w->header);
    es_json_close(w->config);
    free(w->tensors);
    free(w->by_name);
    free(w->path);
    free(w);
}

const char *es_weights_path(const es_weights *w)
{
    return w->path;
}

int es_weights_count(const es_weights *w)
{
    return w->n;
}

const es_weight *es_weights_at(const es_weights *w, int i)
{
    return i >= 0 && i < w->n ? &w->tensors[i] : NULL;
}

const es_weight *es_weights_find(const es_weights *w, const char *name)
{
    int low = 0, high = w->n;

    while (low < high) {
        int middle = low + (high - low) / 2;
        const es_weight *t = &w->tensors[w->by_name[middle]];
        int order = strcmp(name, t->name);
        if (order == 0) return t;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return NULL;
}

const char *es_weights_meta(const es_weights *w, const char *key)
{
    return es_json_string(es_json_get(w->meta, key));
}

void es_weights_forget_pages(const es_weights *w)
{
    /* Advice only: what is read again is mapped again. */
    if (w->mapped) madvise((void *)(uintptr_t)w->base, w->bytes, MADV_DONTNEED);
}

/* ---- packs ---- */

enum { PACK_FORMAT = 1 };

static const char *const architectures[] = {"whisper",  "pyannet", "resnet34", "ecapa",
                                            "campplus", "plda",    "qwen2",    "bert"};

static int check_pack(es_weights *w, es_err *err)
{
    const char *format = es_weights_meta(w, "earshot_pack"), *architecture = es_weights_meta(w, "architecture");
    const char *config = es_weights_meta(w, "config"), *name = es_weights_meta(w, "name");
    bool known = false;
    char *end;
    long version;
    int rc;

    if (!format)
        return es_fail(err, ES_EMODEL, "%s: is not a model pack; `earshot convert` makes one from a downloaded model",
                       w->path);
    version = strtol(format, &end, 10);
    if (*format < '1' || *format > '9' || *end)
        return es_fail(err, ES_EMODEL, "%s: its pack format \"%s\" is not a number", w->path, format);
    if (version > PACK_FORMAT)
        return es_fail(err, ES_ENEWER, "%s: is a pack of format %ld; this version reads %d", w->path, version,
                       PACK_FORMAT);
    for (size_t i = 0; architecture && i < sizeof architectures / sizeof *architectures; i++)
        known = known || !strcmp(architectures[i], architecture);
    if (!known)
        return es_fail(err, ES_EMODEL, "%s: holds a model of the architecture \"%s\", which this version does not know",
                       w->path, architecture ? architecture : "(none)");
    if (!name || !*name) return es_fail(err, ES_EMODEL, "%s: the pack has no name", w->path);
    if (!config) return es_fail(err, ES_EMODEL, "%s: the pack has no config", w->path);
    rc = es_json_parse(&w->config, config, strlen(config), w->path, err);
    if (rc) return rc;
    if (!es_json_is_object(es_json_root(w->config)))
        return es_fail(err, ES_EMODEL, "%s: the config of the pack is not an object", w->path);
    for (int i = 0; i < w->n; i++)
        if (w->tensors[i].dtype == ES_N_DTYPES)
            return es_fail(err, ES_EMODEL, "%s: tensor %s is stored as %s, which no model uses", w->path,
                           w->tensors[i].name, w->tensors[i].type);
    return ES_OK;
}

int es_pack_open_bytes(es_weights **out, const void *bytes, size_t n, const char *name, es_err *err)
{
    int rc = es_weights_from(out, bytes, n, name, err);

    if (rc == ES_OK) rc = check_pack(*out, err);
    if (rc) {
        es_weights_close(*out);
        *out = NULL;
    }
    return rc;
}

int es_pack_open(es_weights **out, const char *path, es_err *err)
{
    int rc = es_weights_open(out, path, err);

    if (rc == ES_OK) rc = check_pack(*out, err);
    if (rc) {
        es_weights_close(*out);
        *out = NULL;
    }
    return rc;
}

const char *es_pack_architecture(const es_weights *w)
{
    return es_weights_meta(w, "architecture");
}

const char *es_pack_name(const es_weights *w)
{
    return es_weights_meta(w, "name");
}

const es_json_node *es_pack_config(const es_weights *w)
{
    return es_json_root(w->config);
}

int es_pack_verify(const es_weights *w, es_err *err)
{
    const char *stated = es_weights_meta(w, "data_hash");
    es_hash128 want, have = es_hash_bytes(w->data, w->data_bytes);
    char hex[33];

    es_weights_forget_pages(w);
    if (!stated || es_hash_parse(&want, stated))
        return es_fail(err, ES_EMODEL, "%s: the pack has no hash of its data", w->path);
    if (memcmp(&want, &have, sizeof want)) {
        es_hash_hex(hex, have);
        return es_fail(err, ES_EMODEL, "%s: is damaged: its data has the hash %s, where %s is stated", w->path, hex,
                       stated);
    }
    return ES_OK;
}
