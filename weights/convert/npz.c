/*
 * npz.c - NumPy's archives: a zip of arrays, each with a short text that says what it is.
 *
 *     "\x93NUMPY", major, minor, u16 (version 1) or u32 length, {'descr': '<f8', 'fortran_order': False, 'shape': (128, 128), }
 *
 * The text is Python's, but of fixed form; exactly that form is read. PLDA comes as two archives that belong together,
 * plda.npz and xvec_transform.npz: given the one, the other is read from the same folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"
#include "zip.h"

static int bad(const char *path, const char *name, const char *why, es_err *err)
{
    return es_fail(err, ES_EFORMAT, "%s: array %s: %s", path, name, why);
}

/* What follows 'key': in the text, or NULL. */
static const char *entry(const char *text, const char *key)
{
    const char *p = strstr(text, key);

    if (!p) return NULL;
    p += strlen(key);
    while (*p == ' ') p++;
    return p;
}

static int add_array(es_source *s, const es_zip_member *m, const char *path, es_err *err)
{
    char name[96], text[512];
    es_src_tensor t = {0};
    size_t stem = m->name_bytes > 4 ? m->name_bytes - 4 : 0, length, at;
    const char *type, *order, *shape;
    int64_t stride = 1;

    snprintf(name, sizeof name, "%.*s", stem > 80 ? 80 : (int)stem, m->name);
    if (!stem || memcmp(m->name + stem, ".npy", 4)) return bad(path, name, "its name does not end in .npy", err);
    if (m->bytes < 12 || memcmp(m->p, "\x93NUMPY", 6) || m->p[6] < 1 || m->p[6] > 3) return bad(path, name, "not an array of NumPy", err);
    at = m->p[6] == 1 ? 10 : 12;
    length = (size_t)m->p[8] | (size_t)m->p[9] << 8;
    if (m->p[6] > 1) length |= (size_t)m->p[10] << 16 | (size_t)m->p[11] << 24;
    if (length >= sizeof text || length > m->bytes - at) return bad(path, name, "its description is cut off or too long", err);
    memcpy(text, m->p + at, length);
    text[length] = 0;
    at += length;
    type = entry(text, "'descr':");
    order = entry(text, "'fortran_order':");
    shape = entry(text, "'shape':");
    if (!type || !order || !shape || *shape != '(') return bad(path, name, "its description is incomplete", err);
    if (!strncmp(type, "'<f8'", 5)) t.num = ES_NUM_F64;
    else if (!strncmp(type, "'<f4'", 5)) t.num = ES_NUM_F32;
    else return bad(path, name, "its type is neither <f4 nor <f8", err);
    for (const char *p = shape + 1; *p != ')';) {
        char *end;
        long long n = strtoll(p, &end, 10);
        if (end == p || n < 1 || n > 1 << 20 || t.n_dims == 4) return bad(path, name, "its shape is impossible", err);
        t.dim[t.n_dims++] = n;
        for (p = end; *p == ',' || *p == ' '; p++) {
        }
    }
    t.p = m->p + at;
    t.bytes = m->bytes - at;
    for (int i = 0; i < t.n_dims; i++) {
        t.stride[i] = stride;
        stride *= t.dim[i]; /* no overflow: a bounded size times what the bytes have bounded */
        if ((size_t)stride > t.bytes / es_num_bytes(t.num)) return bad(path, name, "it is cut off", err);
    }
    t.strided = t.n_dims > 1 && !strncmp(order, "True", 4);
    return es_source_add(s, &t, m->name, stem, path, err);
}

static int add_archive(es_source *s, const char *path, es_err *err)
{
    const unsigned char *p;
    size_t bytes;
    es_zip z = {0};
    int rc = es_source_map(s, path, &p, &bytes, err);

    if (!rc) rc = es_zip_read(&z, p, bytes, path, err);
    for (int i = 0; i < z.n && !rc; i++) rc = add_array(s, &z.members[i], path, err);
    es_zip_done(&z);
    return rc;
}

int es_npz_read(es_source *s, const char *path, es_err *err)
{
    const char *base = es_source_base(path);
    const char *other = !strcmp(base, "plda.npz") ? "xvec_transform.npz" : !strcmp(base, "xvec_transform.npz") ? "plda.npz" : NULL;
    char *companion = other ? es_source_join(s->folder, other) : NULL;
    int rc = add_archive(s, path, err);

    if (!rc && other && !companion) rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    if (!rc && companion && !access(companion, F_OK)) rc = add_archive(s, companion, err);
    if (!rc) rc = es_source_ready(s, err);
    if (!rc) snprintf(s->format, sizeof s->format, "NumPy archive");
    free(companion);
    return rc;
}
