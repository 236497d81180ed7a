/*
 * build.c - taking tensors from a source and putting them into a pack, with the first failure kept.
 */
#define _GNU_SOURCE
#include "build.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"

void es_build_note(es_build *b, const char *format, ...)
{
    char text[512];
    va_list ap;

    if (!b->options->note) return;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    b->options->note(b->options->user, text);
}

int es_build_fail(es_build *b, const char *format, ...)
{
    char text[768];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!b->rc) b->rc = es_fail(b->err, ES_EMODEL, "%s: %s", b->source->path, text);
    return b->rc;
}

/* ---- taking ---- */

static es_src_tensor *find(const es_build *b, char *name, size_t n, const char *format, va_list ap)
{
    vsnprintf(name, n, format, ap);
    return es_source_find(b->source, name);
}

/* True when the shape is the wanted one, but for sizes of 1 at its end. */
static bool fits(const es_src_tensor *t, int n_dims, const int64_t *dim)
{
    for (int i = 0; i < n_dims || i < t->n_dims; i++) {
        int64_t have = i < t->n_dims ? t->dim[i] : 1, want = i < n_dims ? dim[i] : 1;
        if (want == -1 ? i >= t->n_dims || have < 1 : have != want) return false;
    }
    return true;
}

const es_src_tensor *es_build_take(es_build *b, int n_dims, const int64_t *dim, const char *format, ...)
{
    char name[ES_SOURCE_MAX_NAME], have[128], want[128], shown[160];
    es_src_tensor *t;
    va_list ap;

    if (b->rc) return NULL;
    va_start(ap, format);
    t = find(b, name, sizeof name, format, ap);
    va_end(ap);
    es_printable(shown, sizeof shown, name);
    if (!t) {
        es_build_fail(b, "tensor %s is missing", shown);
        return NULL;
    }
    if (!fits(t, n_dims, dim)) {
        es_source_shape_text(have, sizeof have, t->n_dims, t->dim);
        es_source_shape_text(want, sizeof want, n_dims, dim);
        es_build_fail(b, "tensor %s has the shape %s, %s is needed%s", shown, have, want,
                      strstr(want, "-1") ? " (-1: any size)" : "");
        return NULL;
    }
    t->used = true;
    return t;
}

bool es_build_has(const es_build *b, const char *format, ...)
{
    char name[ES_SOURCE_MAX_NAME];
    es_src_tensor *t;
    va_list ap;

    va_start(ap, format);
    t = find(b, name, sizeof name, format, ap);
    va_end(ap);
    return t != NULL;
}

void es_build_skip(es_build *b, const char *format, ...)
{
    char name[ES_SOURCE_MAX_NAME];
    es_src_tensor *t;
    va_list ap;

    va_start(ap, format);
    t = find(b, name, sizeof name, format, ap);
    va_end(ap);
    if (t) t->used = true;
}

void es_build_leftover(es_build *b)
{
    char shown[160], shape[128];
    int n = 0;
    const es_src_tensor *first = NULL;

    for (int i = 0; i < b->source->n_tensors; i++) {
        if (b->source->tensors[i].used) continue;
        if (!first) first = &b->source->tensors[i];
        n++;
    }
    if (!n || b->rc) return;
    es_source_shape_text(shape, sizeof shape, first->n_dims, first->dim);
    es_build_fail(b, "%d tensor%s do%s not belong to this architecture, the first is %s %s", n, n == 1 ? "" : "s",
                  n == 1 ? "es" : "", es_printable(shown, sizeof shown, first->name), shape);
}

/* ---- putting ---- */

es_dtype es_build_matrix_dtype(const es_build *b, const es_src_tensor *const *t, int n)
{
    es_dtype all = ES_N_DTYPES;

    if (b->options->dtype == ES_CONVERT_F32) return ES_F32;
    if (b->options->dtype == ES_CONVERT_F16) return ES_F16;
    for (int i = 0; i < n; i++) {
        if (!t[i]) continue;
        es_dtype one = t[i]->num == ES_NUM_F32 || t[i]->num == ES_NUM_F64 ? ES_F32
                       : t[i]->num == ES_NUM_BF16                         ? ES_BF16
                                                                          : ES_F16;
        all = all == ES_N_DTYPES || all == one ? one : ES_F32;
    }
    return all == ES_N_DTYPES ? ES_F32 : all;
}

es_dtype es_build_vector_dtype(const es_build *b, const es_src_tensor *const *t, int n)
{
    bool half = true, any = false;

    for (int i = 0; i < n; i++) {
        if (!t[i]) continue;
        any = true;
        half = half && t[i]->num == ES_NUM_F16;
    }
    return any && half && b->options->dtype != ES_CONVERT_F32 ? ES_F16 : ES_F32;
}

void es_build_put(es_build *b, const char *name, es_dtype dtype, int n_dims, const int64_t *dim,
                  const es_src_tensor *const *t, int n, es_order order)
{
    const es_src_tensor *like = NULL;

    if (b->rc) return;
    for (int i = 0; i < n && !like; i++) like = t[i];
    if (!like) {
        es_build_fail(b, "nothing to make %s of", name);
        return;
    }
    es_pack_add(b->pack, name, dtype, n_dims, dim);
    for (int i = 0; i < n; i++) {
        if (t[i]) es_pack_from(b->pack, t[i], order);
        else es_pack_zeros(b->pack, like->count);
    }
}

void es_build_put_values(es_build *b, const char *name, const float *values, int n_dims, const int64_t *dim)
{
    size_t n = 1;

    if (b->rc) return;
    for (int i = 0; i < n_dims; i++) n *= (size_t)dim[i];
    es_pack_add(b->pack, name, ES_F32, n_dims, dim);
    es_pack_values(b->pack, values, n);
}

void es_build_put_bytes(es_build *b, const char *name, const void *bytes, size_t n)
{
    int64_t dim = (int64_t)n;

    if (b->rc) return;
    es_pack_add(b->pack, name, ES_U8, 1, &dim);
    es_pack_bytes(b->pack, bytes, n);
}

bool es_build_batchnorm(es_build *b, const char *prefix, int64_t n, double eps, double *scale, double *shift)
{
    const int64_t dim[1] = {n};
    bool affine = es_build_has(b, "%s.weight", prefix) || es_build_has(b, "%s.bias", prefix);
    const es_src_tensor *t[4] = {
        affine ? es_build_take(b, 1, dim, "%s.weight", prefix) : NULL,
        affine ? es_build_take(b, 1, dim, "%s.bias", prefix) : NULL,
        es_build_take(b, 1, dim, "%s.running_mean", prefix),
        es_build_take(b, 1, dim, "%s.running_var", prefix),
    };

    es_build_skip(b, "%s.num_batches_tracked", prefix);
    for (int64_t i = 0; i < n && !b->rc; i++) {
        float v[4] = {1, 0, 0, 0};
        for (int k = 0; k < 4; k++) {
            if (t[k]) es_source_read(t[k], (size_t)i, 1, &v[k]);
        }
        if (!(v[3] >= 0)) es_build_fail(b, "%s.running_var holds %g, a variance", prefix, (double)v[3]);
        scale[i] = (double)v[0] / sqrt((double)v[3] + eps);
        shift[i] = (double)v[1] - (double)v[2] * scale[i];
    }
    return !b->rc;
}

void es_build_put_folded(es_build *b, const char *name, const es_src_tensor *w, const es_src_tensor *bias,
                         const double *scale, const double *shift)
{
    float *row = NULL, *out = NULL, *add = NULL, value = 0;
    size_t O, in, C, K;
    char to[160];

    if (b->rc || !w || !w->count) return;
    O = (size_t)w->dim[0];
    in = w->count / O;
    C = (size_t)w->dim[1];
    K = in / C;
    row = malloc(in * sizeof *row);
    out = malloc(in * sizeof *out);
    add = malloc(O * sizeof *add);
    snprintf(to, sizeof to, "%s.weight", name);
    if (row && out && add) {
        es_pack_add(b->pack, to, es_build_matrix_dtype(b, &w, 1), 2, (const int64_t[]){(int64_t)O, (int64_t)in});
        for (size_t o = 0; o < O; o++) {
            double s = scale ? scale[o] : 1;
            es_source_read(w, o * in, in, row);
            for (size_t c = 0; c < C; c++) {
                for (size_t k = 0; k < K; k++) out[k * C + c] = (float)((double)row[c * K + k] * s);
            }
            es_pack_values(b->pack, out, in);
            value = 0;
            if (bias) es_source_read(bias, o, 1, &value);
            add[o] = (float)((double)value * s + (shift ? shift[o] : 0));
        }
        snprintf(to, sizeof to, "%s.bias", name);
        es_build_put_values(b, to, add, 1, (const int64_t[]){(int64_t)O});
    } else {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    }
    free(row);
    free(out);
    free(add);
}

void es_build_put_vector(es_build *b, const char *name, const es_src_tensor *t)
{
    if (!b->rc && t) es_build_put(b, name, es_build_vector_dtype(b, &t, 1), t->n_dims, t->dim, &t, 1, ES_ORDER_PLAIN);
}

void es_build_agree(es_build *b, const es_json_node *config, const char *key, int64_t have)
{
    const es_json_node *n = es_json_get(config, key);
    int64_t said;

    if (b->rc || !n) return;
    if (!es_json_int(n, INT32_MIN, INT32_MAX, &said)) es_build_fail(b, "config.json: \"%s\" is not a whole number", key);
    else if (said != have) {
        es_build_fail(b, "config.json says \"%s\" is %lld, the tensors say %lld", key, (long long)said, (long long)have);
    }
}

float *es_build_read(es_build *b, const es_src_tensor *t)
{
    float *out = b->rc || !t ? NULL : malloc(t->count * sizeof *out + 1);

    if (b->rc || !t) return NULL;
    if (!out) {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
        return NULL;
    }
    es_source_read(t, 0, t->count, out);
    return out;
}

es_json *es_build_json(es_build *b, const char *name, size_t max_bytes)
{
    char *path;
    es_json *j = NULL;

    for (int i = 0; i < b->source->n_texts && !b->rc; i++) {
        const struct es_src_text *t = &b->source->texts[i];
        if (strcmp(t->name, name)) continue;
        b->rc = es_json_parse(&j, t->text, t->bytes, name, b->err);
        return j;
    }
    path = b->rc ? NULL : es_source_join(b->source->folder, name);
    if (!b->rc && !path) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    if (path && !access(path, F_OK)) b->rc = es_json_read(&j, path, max_bytes, b->err);
    free(path);
    return j;
}

char *es_build_text(es_build *b, const char *name, size_t max_bytes, size_t *bytes)
{
    char *path = b->rc ? NULL : es_source_join(b->source->folder, name), *out = NULL;
    es_err why = {0};
    FILE *f = path ? es_files_stream(path, &why) : NULL;
    size_t n = 0, room = 0;

    if (!b->rc && !path) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    if (!b->rc && !f && why.code != ES_ENOTFOUND) b->rc = es_fail(b->err, why.code, "%s", why.text);
    while (f && !b->rc) {
        if (n + 1 >= room) {
            char *grown = room >= max_bytes ? NULL : realloc(out, room = room ? room * 2 : 65536);
            if (!grown) {
                b->rc = es_fail(b->err, ES_EFORMAT, "%s: larger than %zu bytes", path, max_bytes);
                break;
            }
            out = grown;
        }
        size_t got = fread(out + n, 1, room - n - 1, f);
        n += got;
        if (got) continue;
        if (ferror(f)) b->rc = es_fail(b->err, ES_EIO, "%s: cannot be read", path);
        break;
    }
    if (f) fclose(f);
    free(path);
    if (!f || b->rc) {
        free(out);
        return NULL;
    }
    out[n] = 0;
    *bytes = n;
    return out;
}

void es_build_meta(es_build *b, const char *architecture, const char *config, const char *converter)
{
    char hex[33], from[512];
    es_hash128 hash;
    size_t at;

    snprintf(b->report->architecture, sizeof b->report->architecture, "%s", architecture);
    if (!b->rc) b->rc = es_source_hash(b->source, &hash, b->err);
    if (b->rc) return;
    es_hash_hex(hex, hash);
    at = (size_t)snprintf(from, sizeof from, "%s:", b->source->format);
    for (int i = 0; i < b->source->n_files && at < sizeof from; i++) {
        at += (size_t)snprintf(from + at, sizeof from - at, "%s %s", i ? "," : "", es_source_base(b->source->files[i]));
    }
    es_pack_meta(b->pack, "earshot_pack", "1");
    es_pack_meta(b->pack, "architecture", architecture);
    es_pack_meta(b->pack, "name", b->report->name);
    es_pack_meta(b->pack, "config", config);
    es_pack_meta(b->pack, "source", from);
    es_pack_meta(b->pack, "source_hash", hex);
    es_pack_meta(b->pack, "converter", converter);
}
