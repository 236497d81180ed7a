/*
 * field.c - numbers and texts into bytes and back.
 */
#define _POSIX_C_SOURCE 200809L
#include "store/field.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 8 };

static const char *kind_text(int kind)
{
    switch (kind) {
#define X(name, number, version, text)                                                                                 \
    case number: return text;
        ES_RECORD_MAP(X)
#undef X
    default: return "unknown";
    }
}

static int kind_version(int kind)
{
    switch (kind) {
#define X(name, number, version, text)                                                                                 \
    case number: return version;
        ES_RECORD_MAP(X)
#undef X
    default: return 0;
    }
}

uint32_t es_record_checksum(const uint8_t *p, size_t n)
{
    es_hash128 h = es_hash_bytes(p + HEADER_BYTES, n - HEADER_BYTES);

    return (uint32_t)h.b[0] | (uint32_t)h.b[1] << 8 | (uint32_t)h.b[2] << 16 | (uint32_t)h.b[3] << 24;
}

/* ---- writing ---- */

void es_field_put_bytes(es_record *r, const void *p, size_t n)
{
    if (r->failed || n == 0) return;
    if (n > r->room - r->n) {
        size_t room = r->room ? r->room : 256;
        uint8_t *moved;
        while (room - r->n < n && room <= SIZE_MAX / 2) room *= 2;
        moved = room - r->n < n ? NULL : realloc(r->p, room);
        if (!moved) {
            r->failed = true;
            return;
        }
        r->p = moved;
        r->room = room;
    }
    memcpy(r->p + r->n, p, n);
    r->n += n;
}

void es_field_put_le(es_record *r, uint64_t v, int n)
{
    uint8_t b[8];

    for (int i = 0; i < n; i++) b[i] = (uint8_t)(v >> 8 * i);
    es_field_put_bytes(r, b, (size_t)n);
}

void es_field_put_u8(es_record *r, uint8_t v)
{
    es_field_put_le(r, v, 1);
}

void es_field_put_u32(es_record *r, uint32_t v)
{
    es_field_put_le(r, v, 4);
}

void es_field_put_i32(es_record *r, int32_t v)
{
    es_field_put_le(r, (uint32_t)v, 4);
}

void es_field_put_u64(es_record *r, uint64_t v)
{
    es_field_put_le(r, v, 8);
}

void es_field_put_i64(es_record *r, int64_t v)
{
    es_field_put_le(r, (uint64_t)v, 8);
}

void es_field_put_f32(es_record *r, float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    es_field_put_le(r, u, 4);
}

void es_field_put_text(es_record *r, const char *text, size_t n)
{
    if (n > UINT32_MAX) r->failed = true;
    es_field_put_u32(r, (uint32_t)n);
    es_field_put_bytes(r, text, n);
}

void es_field_put_string(es_record *r, const char *text)
{
    es_field_put_text(r, text ? text : "", text ? strlen(text) : 0);
}

/* A name kept in a fixed array, which may be full and without its NUL. */
void es_field_put_name(es_record *r, const char *text, size_t room)
{
    es_field_put_text(r, text, strnlen(text, room - 1));
}

void es_field_begin(es_record *r, int kind)
{
    r->n = 0;
    r->failed = false;
    es_field_put_le(r, (uint64_t)kind, 2);
    es_field_put_le(r, (uint64_t)kind_version(kind), 2);
    es_field_put_u32(r, 0);
}

int es_field_end(es_record *r, es_err *err)
{
    uint32_t sum;

    if (r->failed) return es_fail(err, ES_ENOMEM, "not enough memory to write a record");
    sum = es_record_checksum(r->p, r->n);
    for (int i = 0; i < 4; i++) r->p[4 + i] = (uint8_t)(sum >> 8 * i);
    return ES_OK;
}

/* ---- reading ---- */

size_t es_field_left(const es_fields *in)
{
    return in->n - in->at;
}

const uint8_t *es_field_get_bytes(es_fields *in, size_t n)
{
    const uint8_t *p = in->p + in->at;

    if (in->fault) return NULL;
    if (n > es_field_left(in)) {
        in->fault = "it is cut short";
        return NULL;
    }
    in->at += n;
    return p;
}

uint64_t es_field_get_le(es_fields *in, int n)
{
    const uint8_t *p = es_field_get_bytes(in, (size_t)n);
    uint64_t v = 0;

    for (int i = 0; p && i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

uint32_t es_field_get_u32(es_fields *in)
{
    return (uint32_t)es_field_get_le(in, 4);
}

int32_t es_field_get_i32(es_fields *in)
{
    uint32_t u = es_field_get_u32(in);
    int32_t v;

    memcpy(&v, &u, sizeof v);
    return v;
}

uint64_t es_field_get_u64(es_fields *in)
{
    return es_field_get_le(in, 8);
}

int64_t es_field_get_i64(es_fields *in)
{
    uint64_t u = es_field_get_u64(in);
    int64_t v;

    memcpy(&v, &u, sizeof v);
    return v;
}

float es_field_get_f32(es_fields *in)
{
    uint32_t u = es_field_get_u32(in);
    float v;

    memcpy(&v, &u, sizeof v);
    return v;
}

es_hash128 es_field_get_hash(es_fields *in)
{
    es_hash128 h = {{0}};
    const uint8_t *p = es_field_get_bytes(in, sizeof h.b);

    if (p) memcpy(h.b, p, sizeof h.b);
    return h;
}

es_bytes es_field_get_text(es_fields *in)
{
    uint32_t n = es_field_get_u32(in);
    const uint8_t *p = es_field_get_bytes(in, n);

    return (es_bytes){.p = p, .n = p ? n : 0};
}

/* A text that becomes a C string of its own; NULL on a fault. */
char *es_field_get_string(es_fields *in)
{
    es_bytes b = es_field_get_text(in);
    char *s;

    if (in->fault) return NULL;
    if (b.n && memchr(b.p, 0, b.n)) {
        in->fault = "a name in it holds a NUL";
        return NULL;
    }
    s = malloc(b.n + 1);
    if (!s) {
        in->fault = "there is not enough memory";
        return NULL;
    }
    if (b.n) memcpy(s, b.p, b.n);
    s[b.n] = 0;
    return s;
}

void es_field_get_name(es_fields *in, char *out, size_t room)
{
    es_bytes b = es_field_get_text(in);

    if (in->fault) return;
    if (b.n >= room || (b.n && memchr(b.p, 0, b.n))) {
        in->fault = "a name in it is too long";
        return;
    }
    if (b.n) memcpy(out, b.p, b.n);
    out[b.n] = 0;
}

uint32_t es_field_get_count(es_fields *in, size_t item_bytes)
{
    uint32_t n = es_field_get_u32(in);

    if (!in->fault && n > es_field_left(in) / item_bytes) in->fault = "it counts more items than it has bytes for";
    return in->fault ? 0 : n;
}

void es_field_check(es_fields *in, bool holds, const char *fault)
{
    if (!in->fault && !holds) in->fault = fault;
}

int es_field_open_unchecked(es_fields *in, es_bytes b, int kind, es_err *err)
{
    int found;

    *in = (es_fields){.p = b.p, .n = b.n, .kind = kind};
    found = (int)es_field_get_le(in, 2);
    in->version = (int)es_field_get_le(in, 2);
    es_field_get_u32(in);
    if (in->fault)
        return es_fail(err, ES_EFORMAT, "a %s record has %zu bytes, fewer than its header", kind_text(kind), b.n);
    if (found != kind)
        return es_fail(err, ES_EFORMAT, "a %s record (%d) stands where a %s record (%d) belongs", kind_text(found),
                       found, kind_text(kind), kind);
    if (in->version > kind_version(kind))
        return es_fail(err, ES_ENEWER, "a %s record has version %d, this program knows up to %d: use the newer program",
                       kind_text(kind), in->version, kind_version(kind));
    if (in->version < 1) return es_fail(err, ES_EFORMAT, "a %s record has version 0", kind_text(kind));
    return ES_OK;
}

int es_field_open(es_fields *in, es_bytes b, int kind, es_err *err)
{
    int rc = es_field_open_unchecked(in, b, kind, err);
    uint32_t have, sum;

    if (rc) return rc;
    have = (uint32_t)in->p[4] | (uint32_t)in->p[5] << 8 | (uint32_t)in->p[6] << 16 | (uint32_t)in->p[7] << 24;
    sum = es_record_checksum(b.p, b.n);
    if (have == sum) return ES_OK;
    return es_fail(err, ES_EFORMAT, "a %s record is damaged: its checksum is %08x, its bytes give %08x",
                   kind_text(kind), (unsigned)have, (unsigned)sum);
}

int es_field_close(es_fields *in, es_err *err)
{
    es_field_check(in, es_field_left(in) == 0, "it has bytes left over");
    if (!in->fault) return ES_OK;
    return es_fail(err, ES_EFORMAT, "a %s record does not parse at byte %zu of %zu: %s", kind_text(in->kind), in->at,
                   in->n, in->fault);
}
