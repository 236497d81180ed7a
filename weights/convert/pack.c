/*
 * pack.c - writes a model pack: header, tensors in falling order of their alignment, hash of the data.
 *
 * The header names the hash of data that follow it, so it is written twice: with zeros first, to hold its place, and
 * again, of the same length, when the last tensor has passed through the hash. Tensors of 4-byte types come first, then
 * 2-byte ones, then bytes, each group in the order of the description: no tensor needs padding, which safetensors does
 * not allow, and each starts at a multiple of its element's size.
 *
 * Everything passes through f32 a slice at a time. That is exact for f16 and bf16 (their values are f32 values, and
 * rounding a value to the type it came from gives its bits back), so keeping a dtype keeps the bits.
 */
#define _GNU_SOURCE
#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "number.h"

enum { SLICE = 1 << 16 /* elements written at a time */ };

typedef struct piece {
    const es_src_tensor *t; /* NULL: values, bytes, or zeros */
    size_t first, count;
    es_order order;
    float *values;        /* owned */
    unsigned char *bytes; /* owned */
} piece;

typedef struct entry {
    char *name; /* owned */
    es_dtype dtype;
    int n_dims;
    int64_t dim[ES_SOURCE_MAX_DIMS];
    size_t count;
    piece *pieces; /* owned */
    int n_pieces;
} entry;

typedef struct es_pack {
    entry *entries;
    int n_entries;
    char **meta; /* key, value, key, value; owned */
    int n_meta;
    bool failed; /* out of memory */
    const es_source *source; /* or NULL */
} es_pack;

/* ---- description ---- */

es_pack *es_pack_begin(void)
{
    return calloc(1, sizeof(es_pack));
}

void es_pack_drop(es_pack *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_entries; i++) {
        for (int k = 0; k < p->entries[i].n_pieces; k++) {
            free(p->entries[i].pieces[k].values);
            free(p->entries[i].pieces[k].bytes);
        }
        free(p->entries[i].pieces);
        free(p->entries[i].name);
    }
    for (int i = 0; i < p->n_meta; i++) free(p->meta[i]);
    free(p->entries);
    free(p->meta);
    free(p);
}

void es_pack_meta(es_pack *p, const char *key, const char *value)
{
    char **grown = realloc(p->meta, ((size_t)p->n_meta + 2) * sizeof *grown);

    if (grown) p->meta = grown;
    char *k = grown ? strdup(key) : NULL, *v = grown ? strdup(value) : NULL;
    if (!k || !v) {
        free(k);
        free(v);
        p->failed = true;
        return;
    }
    p->meta[p->n_meta++] = k;
    p->meta[p->n_meta++] = v;
}

void es_pack_add(es_pack *p, const char *name, es_dtype dtype, int n_dims, const int64_t *dim)
{
    entry *grown = realloc(p->entries, ((size_t)p->n_entries + 1) * sizeof *grown), *e;

    if (grown) p->entries = grown;
    char *copy = grown ? strdup(name) : NULL;
    if (!copy) {
        p->failed = true;
        return;
    }
    e = &p->entries[p->n_entries++];
    *e = (entry){.name = copy, .dtype = dtype, .n_dims = n_dims, .count = 1};
    for (int i = 0; i < n_dims; i++) {
        e->dim[i] = dim[i];
        e->count *= (size_t)dim[i];
    }
}

static void add_piece(es_pack *p, piece a)
{
    entry *e = p->n_entries ? &p->entries[p->n_entries - 1] : NULL;
    piece *grown = p->failed || !e ? NULL : realloc(e->pieces, ((size_t)e->n_pieces + 1) * sizeof *grown);

    if (!grown) {
        free(a.values);
        free(a.bytes);
        p->failed = true;
        return;
    }
    e->pieces = grown;
    e->pieces[e->n_pieces++] = a;
}

void es_pack_from(es_pack *p, const es_src_tensor *t, es_order order)
{
    add_piece(p, (piece){.t = t, .count = t->count, .order = order});
}

void es_pack_rows(es_pack *p, const es_src_tensor *t, size_t first, size_t n)
{
    add_piece(p, (piece){.t = t, .first = first, .count = n});
}

void es_pack_zeros(es_pack *p, size_t n)
{
    add_piece(p, (piece){.count = n});
}

void es_pack_values(es_pack *p, const float *values, size_t n)
{
    float *copy = malloc(n * sizeof *copy + 1);

    if (copy) memcpy(copy, values, n * sizeof *copy);
    else p->failed = true;
    add_piece(p, (piece){.count = n, .values = copy});
}

void es_pack_bytes(es_pack *p, const void *bytes, size_t n)
{
    unsigned char *copy = malloc(n + 1);

    if (copy) memcpy(copy, bytes, n);
    else p->failed = true;
    add_piece(p, (piece){.count = n, .bytes = copy});
}

int es_pack_tensors(const es_pack *p)
{
    return p->n_entries;
}

void es_pack_dtypes(const es_pack *p, char *out, size_t n)
{
    size_t at = 0;

    *out = 0;
    for (int k = 0; k < ES_N_DTYPES; k++) {
        int count = 0;
        for (int i = 0; i < p->n_entries; i++) count += (int)p->entries[i].dtype == k;
        if (count && at < n) {
            at += (size_t)snprintf(out + at, n - at, "%s%s %d", at ? ", " : "", es_dtype_name((es_dtype)k), count);
        }
    }
}

/* ---- writing ---- */

typedef struct out {
    int fd;
    const char *path;
    es_hasher *hash;
    unsigned char *bytes; /* [4 * SLICE] */
    float *values, *row;  /* [SLICE], [SLICE]: a slice, and a row that is put in another order */
    uint64_t written;
} out;

static int put(out *o, const void *p, size_t n, es_err *err)
{
    const unsigned char *at = p;

    while (n) {
        ssize_t w = write(o->fd, at, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return es_fail(err, ES_EIO, "%s: cannot be written (%s)", o->path, strerror(w ? errno : ENOSPC));
        at += w;
        n -= (size_t)w;
        o->written += (uint64_t)w;
    }
    return ES_OK;
}

/* n elements from index `at` of the piece, in the order of the pack; n <= SLICE. */
static void take(out *o, const piece *a, size_t at, size_t n)
{
    const es_src_tensor *t = a->t;

    if (a->values) {
        memcpy(o->values, a->values + at, n * sizeof *o->values);
    } else if (!t) {
        memset(o->values, 0, n * sizeof *o->values);
    } else if (a->order == ES_ORDER_PLAIN) {
        es_source_read(t, a->first + at, n, o->values);
    } else {
        /* A row of [C, K] at a time where it fits, else one element after another: small matrices only. */
        size_t C = (size_t)(a->order == ES_ORDER_TAPS ? t->dim[1] : t->dim[0]), per, K, held = SIZE_MAX;
        per = a->order == ES_ORDER_TAPS ? t->count / (size_t)t->dim[0] : t->count;
        K = per / C;
        for (size_t i = 0; i < n; i++) {
            size_t row = (at + i) / per, rest = (at + i) % per, from = rest % C * K + rest / C;
            if (per > SLICE) {
                es_source_read(t, row * per + from, 1, o->values + i);
                continue;
            }
            if (row != held) es_source_read(t, row * per, per, o->row);
            held = row;
            o->values[i] = o->row[from];
        }
    }
}

/* Narrows a slice into bytes; refuses what the type cannot hold. */
static int narrow(out *o, const entry *e, size_t n, es_err *err)
{
    for (size_t i = 0; i < n; i++) {
        float f = o->values[i];
        uint16_t h = 0;

        if (!isfinite(f)) {
            return es_fail(err, ES_EFORMAT, "tensor %s holds a value that is not finite (%g)", e->name, (double)f);
        }
        if (e->dtype == ES_F32) {
            memcpy(o->bytes + 4 * i, &f, 4);
            continue;
        }
        h = e->dtype == ES_F16 ? es_number_to_f16(f) : es_number_to_bf16(f);
        if (!isfinite(e->dtype == ES_F16 ? es_number_from_f16(h) : es_number_from_bf16(h))) {
            return es_fail(err, ES_EFORMAT, "tensor %s holds %g, which %s cannot hold: convert with --dtype f32", e->name,
                           (double)f, es_dtype_name(e->dtype));
        }
        o->bytes[2 * i] = (unsigned char)h;
        o->bytes[2 * i + 1] = (unsigned char)(h >> 8);
    }
    return ES_OK;
}

static int put_entry(out *o, const entry *e, es_err *err)
{
    size_t sum = 0;
    int rc = ES_OK;

    for (int k = 0; k < e->n_pieces && !rc; k++) {
        const piece *a = &e->pieces[k];
        for (size_t at = 0; at < a->count && !rc; at += SLICE) {
            size_t n = a->count - at < SLICE ? a->count - at : SLICE, bytes = n * es_dtype_bytes(e->dtype);
            if (a->bytes) {
                memcpy(o->bytes, a->bytes + at, n);
            } else {
                take(o, a, at, n);
                rc = narrow(o, e, n, err);
            }
            if (!rc) es_hasher_add(o->hash, o->bytes, bytes);
            if (!rc) rc = put(o, o->bytes, bytes, err);
        }
        if (a->t) es_source_forget(a->t);
        sum += a->count;
    }
    if (!rc && sum != e->count) {
        return es_fail(err, ES_EFORMAT, "tensor %s has %zu elements, its shape needs %zu", e->name, sum, e->count);
    }
    return rc;
}

/* The JSON of the header, padded so that the data start at a multiple of 64. The caller frees *text. */
static int header(const es_pack *p, const char *hash, char **text, size_t *n, es_err *err)
{
    es_json_out j;
    uint64_t at = 0;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_object(&j, "__metadata__");
    for (int i = 0; i < p->n_meta; i += 2) es_json_put_string(&j, p->meta[i], p->meta[i + 1]);
    es_json_put_string(&j, "data_hash", hash);
    es_json_end_object(&j);
    for (size_t size = 4; size; size /= 2) {
        for (int i = 0; i < p->n_entries; i++) {
            const entry *e = &p->entries[i];
            if (es_dtype_bytes(e->dtype) != size) continue;
            es_json_object(&j, e->name);
            es_json_put_string(&j, "dtype", es_dtype_name(e->dtype));
            es_json_array(&j, "shape");
            for (int d = 0; d < e->n_dims; d++) es_json_put_int(&j, NULL, e->dim[d]);
            es_json_end_array(&j);
            es_json_array(&j, "data_offsets");
            es_json_put_uint(&j, NULL, at);
            es_json_put_uint(&j, NULL, at += e->count * size);
            es_json_end_array(&j);
            es_json_end_object(&j);
        }
    }
    es_json_end_object(&j);
    size_t used = j.failed ? 0 : strlen(j.text);
    while (used && j.text[used - 1] == '\n') used--;
    size_t all = (8 + used + 63) / 64 * 64;
    char *padded = j.failed ? NULL : malloc(all);
    if (!padded) {
        free(j.text);
        return es_fail(err, ES_ENOMEM, "out of memory for the header of the pack");
    }
    for (size_t i = 0; i < 8; i++) padded[i] = (char)((uint64_t)(all - 8) >> (8 * i) & 255);
    memcpy(padded + 8, j.text, used);
    memset(padded + 8 + used, ' ', all - 8 - used);
    free(j.text);
    *text = padded;
    *n = all;
    return ES_OK;
}

/* A new file beside path; *name is the caller's to free. */
static int temporary(const char *path, char **name, es_err *err)
{
    int fd = -1;

    *name = malloc(strlen(path) + 48);
    if (!*name) {
        es_fail(err, ES_ENOMEM, "%s: out of memory", path);
        return -1;
    }
    for (int i = 0; i < 100; i++) {
        sprintf(*name, "%s.%ld.%d.part", path, (long)getpid(), i);
        fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) break;
    }
    if (fd < 0) {
        es_fail(err, ES_EIO, "%s: cannot be written (%s)", path, strerror(errno));
        free(*name);
        *name = NULL;
    }
    return fd;
}

/* The folder's entry too, so that the rename survives a power cut. A folder that cannot be opened is left alone. */
static void sync_folder(const char *path)
{
    char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
    int fd;

    if (slash) slash[slash == copy] = 0;
    fd = copy ? open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(copy);
}

void es_pack_of(es_pack *p, const es_source *s)
{
    p->source = s;
}

int es_pack_write(es_pack *p, const char *path, uint64_t *bytes, es_err *err)
{
    static const char none[33] = "00000000000000000000000000000000";
    out o = {.fd = -1, .path = path};
    char *name = NULL, *text = NULL, hex[33];
    size_t n = 0, held = 0;
    int rc;

    o.bytes = malloc((size_t)SLICE * 4);
    o.values = malloc((size_t)SLICE * sizeof *o.values);
    o.row = malloc((size_t)SLICE * sizeof *o.row);
    o.hash = es_hasher_open();
    if (p->failed || !o.bytes || !o.values || !o.row || !o.hash) {
        rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
        goto out;
    }
    rc = header(p, none, &text, &n, err);
    if (rc) goto out;
    o.fd = temporary(path, &name, err);
    if (o.fd < 0) {
        rc = ES_EIO;
        goto out;
    }
    rc = put(&o, text, n, err);
    for (size_t size = 4; size && !rc; size /= 2) {
        for (int i = 0; i < p->n_entries && !rc; i++) {
            if (es_dtype_bytes(p->entries[i].dtype) == size) rc = put_entry(&o, &p->entries[i], err);
        }
    }
    if (rc) goto out;
    es_hash_hex(hex, es_hasher_value(o.hash));
    held = n;
    free(text);
    text = NULL;
    rc = header(p, hex, &text, &n, err);
    if (rc) goto out;
    if (n != held || lseek(o.fd, 0, SEEK_SET) != 0) {
        rc = es_fail(err, ES_EIO, "%s: the header cannot be written again", path);
        goto out;
    }
    uint64_t size = o.written;
    rc = put(&o, text, n, err);
    if (!rc && (fsync(o.fd) || close(o.fd))) rc = es_fail(err, ES_EIO, "%s: cannot be written (%s)", path, strerror(errno));
    else if (!rc) o.fd = -1;
    if (!rc && p->source) rc = es_source_unchanged(p->source, err);
    if (!rc && rename(name, path)) rc = es_fail(err, ES_EIO, "%s: cannot be put in place (%s)", path, strerror(errno));
    if (rc) goto out;
    free(name);
    name = NULL; /* it is the pack now */
    sync_folder(path);
    if (bytes) *bytes = size;
out:
    if (o.fd >= 0) close(o.fd);
    if (name) unlink(name);
    free(name);
    free(text);
    es_hasher_close(o.hash);
    free(o.row);
    free(o.values);
    free(o.bytes);
    return rc;
}
