/*
 * ct2.c - CTranslate2's model.bin, binary versions 1 to 6.
 *
 *     u32 version; from 2 on: str spec name, u32 revision
 *     u32 variables, each: str name, u8 rank, u32 dim[rank], then
 *         from 4 on: u8 type, u32 bytes      before: u8 bytes of an element, u32 elements
 *         the data, row-major
 *     from 3 on: u32 aliases, each: str alias, str target
 *     str = u16 length with the closing NUL, the bytes, NUL
 *
 * Nothing is aligned: about half of the arrays of real files start at an odd offset. Quantised weights are whole numbers
 * beside a variable NAME_scale, one factor for each row (int8) or one for all (int16), value = number / factor; the pair
 * becomes one tensor here. An alias holds for the scale of its target too.
 */
#include "source.h"

#include <stdio.h>
#include <string.h>

typedef struct cursor {
    const unsigned char *p;
    size_t at, bytes;
    const char *path;
    es_err *err;
    int rc;
} cursor;

static bool has(cursor *c, size_t n, const char *what)
{
    if (c->rc) return false;
    if (c->bytes - c->at >= n) return true;
    c->rc = es_fail(c->err, ES_EFORMAT, "%s: cut off in %s at byte %zu: %zu bytes are needed, %zu are left", c->path, what,
                    c->at, n, c->bytes - c->at);
    return false;
}

static uint32_t number(cursor *c, size_t n, const char *what)
{
    uint32_t v = 0;

    if (!has(c, n, what)) return 0;
    for (size_t i = 0; i < n; i++) v |= (uint32_t)c->p[c->at + i] << (8 * i);
    c->at += n;
    return v;
}

/* A string in the file: *out points at it, the result is its length without the NUL. */
static size_t text(cursor *c, const char **out, const char *what)
{
    size_t start = c->at, n = number(c, 2, what);

    *out = "";
    if (c->rc || !has(c, n, what)) return 0;
    if (!n || c->p[c->at + n - 1] != 0 || memchr(c->p + c->at, 0, n - 1)) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: the length of %s at byte %zu is %zu, but no string of that length is there",
                        c->path, what, start, n);
        return 0;
    }
    *out = (const char *)c->p + c->at;
    c->at += n;
    return n - 1;
}

static es_num type_of(uint32_t code, uint32_t version)
{
    static const es_num types[] = {ES_NUM_F32, ES_NUM_I8, ES_NUM_I16, ES_NUM_I32, ES_NUM_F16, ES_NUM_BF16};

    if (version < 4) return code == 4 ? ES_NUM_F32 : code == 2 ? ES_NUM_I16 : code == 1 ? ES_NUM_I8 : ES_N_NUMS;
    return code < sizeof types / sizeof *types ? types[code] : ES_N_NUMS;
}

static void variable(es_source *s, cursor *c, uint32_t version)
{
    es_src_tensor t = {0};
    const char *name;
    size_t n = text(c, &name, "a variable's name"), bytes;
    uint32_t rank = number(c, 1, "a variable's rank"), code;
    char shown[128];

    if (!c->rc && rank > ES_SOURCE_MAX_DIMS) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: variable %s has %u dimensions, at most %d are expected", c->path,
                        es_printable(shown, sizeof shown, name), rank, ES_SOURCE_MAX_DIMS);
    }
    t.n_dims = c->rc ? 0 : (int)rank;
    for (int i = 0; i < t.n_dims; i++) t.dim[i] = number(c, 4, "a variable's shape");
    code = number(c, 1, "a variable's type");
    bytes = number(c, 4, "a variable's size");
    if (c->rc) return;
    t.num = type_of(code, version);
    if (t.num == ES_N_NUMS) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: variable %s has the unknown type %u", c->path,
                        es_printable(shown, sizeof shown, name), code);
        return;
    }
    if (version < 4) bytes *= code;
    if (!has(c, bytes, "a variable's data")) return;
    t.p = c->p + c->at;
    t.bytes = bytes;
    c->at += bytes;
    c->rc = es_source_add(s, &t, name, n, c->path, c->err);
    if (!c->rc && s->tensors[s->n_tensors - 1].bytes != bytes) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: variable %s has %zu bytes, its shape needs %zu", c->path,
                        es_printable(shown, sizeof shown, name), bytes, s->tensors[s->n_tensors - 1].bytes);
    }
}

/* Joins every quantised variable with its scale. */
static int join_scales(es_source *s, const char *path, es_err *err)
{
    char name[ES_SOURCE_MAX_NAME + 8], shown[128];

    for (int i = 0; i < s->n_tensors; i++) {
        es_src_tensor *t = &s->tensors[i], *scale;
        if (t->num != ES_NUM_I8 && t->num != ES_NUM_I16) continue;
        snprintf(name, sizeof name, "%s_scale", t->name);
        scale = es_source_find(s, name);
        if (!scale) continue;
        scale->used = true;
        if (scale->num != ES_NUM_F32 || !t->n_dims || !t->count || !scale->count ||
            (scale->count != 1 && scale->count != (size_t)t->dim[0])) {
            return es_fail(err, ES_EFORMAT, "%s: %s has %zu values of type %s, one or %lld of F32 are expected", path,
                           es_printable(shown, sizeof shown, name), scale->count, es_num_name(scale->num),
                           (long long)t->dim[0]);
        }
        for (size_t k = 0; k < scale->count; k++) {
            float f;
            memcpy(&f, scale->p + 4 * k, sizeof f);
            if (!(f > 0 && f <= 3.4e38f)) {
                return es_fail(err, ES_EFORMAT, "%s: value %zu of %s is %g, which is no scale", path, k,
                               es_printable(shown, sizeof shown, name), (double)f);
            }
        }
        t->scale = scale->p;
        t->n_scales = scale->count;
    }
    return ES_OK;
}

static void alias(es_source *s, cursor *c)
{
    const char *name, *target;
    size_t n = text(c, &name, "an alias"), m = text(c, &target, "an alias's target");
    char shown[128];
    es_src_tensor *t, copy;

    (void)m;
    if (c->rc) return;
    t = es_source_find(s, target);
    if (!t) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: an alias points at %s, which is not there", c->path,
                        es_printable(shown, sizeof shown, target));
        return;
    }
    copy = *t;
    c->rc = es_source_add(s, &copy, name, n, c->path, c->err);
    if (!c->rc) c->rc = es_source_ready(s, c->err);
}

int es_ct2_read(es_source *s, const char *path, es_err *err)
{
    cursor c = {.path = path, .err = err};
    const char *spec = "";
    uint32_t version, revision = 1, n;
    char shown[40];

    c.rc = es_source_map(s, path, &c.p, &c.bytes, err);
    version = number(&c, 4, "the version");
    if (!c.rc && (version < 1 || version > 6)) {
        return es_fail(err, version ? ES_ENEWER : ES_EFORMAT, "%s: binary version %u of CTranslate2, 1 to 6 are known", path,
                       version);
    }
    if (version >= 2) {
        text(&c, &spec, "the name of the specification");
        revision = number(&c, 4, "the revision of the specification");
    }
    n = number(&c, 4, "the number of variables");
    /* The smallest variable takes 9 bytes, the smallest alias 6. */
    if (!c.rc && n > (c.bytes - c.at) / 9) {
        return es_fail(err, ES_EFORMAT, "%s: %u variables cannot fit in %zu bytes", path, n, c.bytes - c.at);
    }
    for (uint32_t i = 0; i < n && !c.rc; i++) variable(s, &c, version);
    if (!c.rc) c.rc = es_source_ready(s, err);
    if (!c.rc) c.rc = join_scales(s, path, err);
    n = version >= 3 ? number(&c, 4, "the number of aliases") : 0;
    if (!c.rc && n > (c.bytes - c.at) / 6) {
        return es_fail(err, ES_EFORMAT, "%s: %u aliases cannot fit in %zu bytes", path, n, c.bytes - c.at);
    }
    for (uint32_t i = 0; i < n && !c.rc; i++) alias(s, &c);
    if (!c.rc && c.at != c.bytes) {
        return es_fail(err, ES_EFORMAT, "%s: %zu bytes follow the last entry", path, c.bytes - c.at);
    }
    if (c.rc) return c.rc;
    es_printable(shown, sizeof shown, spec);
    snprintf(s->format, sizeof s->format, "CTranslate2 version %u%s%s revision %u", version, *shown ? ", " : "", shown,
             revision);
    return ES_OK;
}
