/*
 * record_found.c - what search reads: vectors, the outline of a recording's passages, its terms, the library's totals.
 *
 *   vectors 1   u32 format (1: half precision), width, first, n; 16 B space; 8 B zeros; n x width halves
 *   outline 1   u32 n; u32 1 where segments stand for passages; n x (i64 start, i64 end ms, i32 speaker, u32 words,
 *               8 B language, filled up with zeros)
 *   terms 1     u64 hash of the lists; u32 n, then n x text term
 *   totals 1    u64 passages, u64 words
 *
 * Vectors and outlines are read where they lie: their fields have fixed places, and what comes out points into the map.
 * A search of a million of them would spend its time on checksums; it asks for none, and checks lengths alone.
 */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/field.h"
#include "store/half.h"

enum { SOME = 256, FORMAT_HALF = 1, MOST_WIDTH = 1 << 20, LANGUAGE_BYTES = 8 };

_Static_assert(sizeof(es_outline_row) == 32, "outline rows are on disk as they are in memory");

/* ---- vectors ---- */

int es_record_write_vectors(es_record *r, const es_vectors *v, size_t first, size_t n, es_err *err)
{
    static const uint8_t zeros[8];

    assert(first <= v->n && n <= v->n - first);
    if (v->width < 1 || v->width > MOST_WIDTH || v->n > UINT32_MAX)
        return es_fail(err, ES_EARG, "%zu vectors of %d numbers cannot be kept", v->n, v->width);
    es_field_begin(r, ES_RECORD_VECTORS);
    es_field_put_u32(r, FORMAT_HALF);
    es_field_put_u32(r, (uint32_t)v->width);
    es_field_put_u32(r, (uint32_t)first);
    es_field_put_u32(r, (uint32_t)n);
    es_field_put_bytes(r, v->space.b, sizeof v->space.b);
    es_field_put_bytes(r, zeros, sizeof zeros);
    assert(r->failed || r->n == ES_VECTORS_HEADER);
    for (size_t i = first * (size_t)v->width, to = (first + n) * (size_t)v->width, k; i < to; i += k) {
        uint8_t halves[2 * SOME];
        for (k = 0; k < SOME && i + k < to; k++) {
            float x = v->rows[i + k];
            if (!(fabsf(x) < 65520.0f))
                return es_fail(err, ES_EARG, "number %zu of vector %zu is %g, which half precision does not hold",
                               (i + k) % (size_t)v->width, (i + k) / (size_t)v->width, (double)x);
            uint16_t h = es_half_of(x);
            halves[2 * k] = (uint8_t)h, halves[2 * k + 1] = (uint8_t)(h >> 8);
        }
        es_field_put_bytes(r, halves, 2 * k);
    }
    return es_field_end(r, err);
}

int es_record_read_vectors(es_bytes b, es_rows *out, bool check, es_err *err)
{
    es_fields in;
    uint32_t format;
    int rc =
        check ? es_field_open(&in, b, ES_RECORD_VECTORS, err) : es_field_open_unchecked(&in, b, ES_RECORD_VECTORS, err);

    *out = (es_rows){0};
    if (rc) return rc;
    format = es_field_get_u32(&in);
    out->width = es_field_get_u32(&in);
    out->first = es_field_get_u32(&in);
    out->n = es_field_get_u32(&in);
    out->space = es_field_get_hash(&in);
    es_field_check(&in, es_field_get_u64(&in) == 0, "bytes without a meaning are set");
    es_field_check(&in, format == FORMAT_HALF, "its numbers are of an unknown kind");
    es_field_check(&in, out->width >= 1 && out->width <= MOST_WIDTH, "its width is out of range");
    es_field_check(&in, out->n <= UINT32_MAX - out->first, "it counts too many rows");
    es_field_check(&in, (uint64_t)out->n * out->width * 2 == es_field_left(&in), "its rows do not fill it");
    out->half = es_field_get_bytes(&in, es_field_left(&in));
    rc = es_field_close(&in, err);
    if (rc) *out = (es_rows){0};
    return rc;
}

/* ---- outline ---- */

int es_record_write_outline(es_record *r, const es_outline_row *rows, uint32_t n, bool segments, es_err *err)
{
    es_field_begin(r, ES_RECORD_OUTLINE);
    es_field_put_u32(r, n);
    es_field_put_u32(r, segments ? 1 : 0);
    for (uint32_t i = 0; i < n; i++) {
        char language[LANGUAGE_BYTES] = "";
        memcpy(language, rows[i].language, strnlen(rows[i].language, LANGUAGE_BYTES - 1));
        es_field_put_i64(r, rows[i].start_ms);
        es_field_put_i64(r, rows[i].end_ms);
        es_field_put_i32(r, rows[i].speaker);
        es_field_put_u32(r, rows[i].n_words);
        es_field_put_bytes(r, language, sizeof language);
    }
    return es_field_end(r, err);
}

int es_record_read_outline(es_bytes b, es_outline *out, bool check, es_err *err)
{
    es_fields in;
    uint32_t flag;
    int rc =
        check ? es_field_open(&in, b, ES_RECORD_OUTLINE, err) : es_field_open_unchecked(&in, b, ES_RECORD_OUTLINE, err);

    *out = (es_outline){0};
    if (rc) return rc;
    out->n = es_field_get_u32(&in);
    flag = es_field_get_u32(&in);
    out->segments = flag == 1;
    es_field_check(&in, flag <= 1, "a yes-or-no in it is neither");
    es_field_check(&in, (uint64_t)out->n * sizeof(es_outline_row) == es_field_left(&in), "its rows do not fill it");
    out->rows = es_field_get_bytes(&in, es_field_left(&in));
    for (uint32_t i = 0; check && !in.fault && i < out->n; i++)
        es_field_check(&in, ((const char *)out->rows)[i * sizeof(es_outline_row) + 31] == 0, "a language has no end");
    rc = es_field_close(&in, err);
    if (rc) *out = (es_outline){0};
    return rc;
}

es_outline_row es_outline_at(const es_outline *o, uint32_t i)
{
    es_outline_row row;

    assert(i < o->n);
    memcpy(&row, (const char *)o->rows + (size_t)i * sizeof row, sizeof row); /* little-endian, as the machine is */
    row.language[LANGUAGE_BYTES - 1] = 0;
    return row;
}

/* ---- terms ---- */

int es_record_write_terms(es_record *r, const es_bytes *terms, uint32_t n, uint64_t lists, es_err *err)
{
    es_field_begin(r, ES_RECORD_TERMS);
    es_field_put_u64(r, lists);
    es_field_put_u32(r, n);
    for (uint32_t i = 0; i < n; i++) es_field_put_text(r, terms[i].p, terms[i].n);
    return es_field_end(r, err);
}

int es_record_read_terms(es_bytes b, uint64_t *lists, uint32_t *n, int (*visit)(void *user, es_bytes term), void *user,
                         es_err *err)
{
    es_fields in;
    size_t at;
    int rc = es_field_open(&in, b, ES_RECORD_TERMS, err);

    *lists = 0;
    *n = 0;
    if (rc) return rc;
    *lists = es_field_get_u64(&in);
    *n = es_field_get_count(&in, 4);
    at = in.at;
    for (uint32_t i = 0; i < *n && !in.fault; i++) es_field_get_text(&in); /* nothing is told of what does not parse */
    rc = es_field_close(&in, err);
    in.at = at;
    for (uint32_t i = 0; i < *n && !rc && visit; i++) rc = visit(user, es_field_get_text(&in));
    return rc;
}

/* ---- totals ---- */

int es_record_write_totals(es_record *r, const es_totals *t, es_err *err)
{
    es_field_begin(r, ES_RECORD_TOTALS);
    es_field_put_u64(r, t->passages);
    es_field_put_u64(r, t->words);
    return es_field_end(r, err);
}

int es_record_read_totals(es_bytes b, es_totals *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_TOTALS, err);

    *out = (es_totals){0};
    if (rc) return rc;
    out->passages = es_field_get_u64(&in);
    out->words = es_field_get_u64(&in);
    return es_field_close(&in, err);
}
