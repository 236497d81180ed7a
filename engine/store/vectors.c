/*
 * vectors.c - the table of vectors, sorted by use, space and recording.
 *
 * The rows of a recording lie in parts of at most PART_ROWS, so that no value is larger than a few megabytes: LMDB
 * needs its pages side by side, and a file in which large values come and go runs out of such stretches. A search of
 * one space reads one stretch of keys. A recording's own vectors are found by asking every space for them; a library
 * has one space for each model that ever ran on it, two or three.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "store/half.h"
#include "store/inside.h"

enum { PART_ROWS = 1024, MEDIA_AT = 18 /* behind use and space */ };

int es_inside_put_vectors(es_txn *x, es_record *r, enum es_use use, es_bytes recording, const es_vectors *v,
                          es_err *err)
{
    int rc = ES_OK;

    for (size_t first = 0; !rc && first < v->n; first += PART_ROWS) {
        size_t n = v->n - first < PART_ROWS ? v->n - first : PART_ROWS;
        es_key k = es_key_vectors(use, v->space, recording, (uint32_t)(first / PART_ROWS));
        rc = es_record_write_vectors(r, v, first, n, err);
        if (!rc) rc = es_inside_put_record(x, ES_TABLE_VECTORS, k, r, err);
    }
    return rc;
}

/* Appends the rows of one value; ES_EFORMAT unless they go on where the last ones ended. */
static int add_rows(es_bytes value, es_vectors *out, size_t have, size_t n, es_err *err)
{
    es_rows rows;
    const uint8_t *p;
    size_t numbers;
    int rc = es_record_read_vectors(value, &rows, true, err);

    if (rc) return rc;
    if (rows.first != have || rows.n > n - have || (out->rows && (int)rows.width != out->width))
        return es_fail(err, ES_EFORMAT, "vectors %u to %u stand where %zu to %zu belong", rows.first,
                       rows.first + rows.n, have, n);
    if (!out->rows) {
        out->width = (int)rows.width;
        if (n > SIZE_MAX / sizeof(float) / rows.width || rows.n != (n < PART_ROWS ? n : PART_ROWS))
            return es_fail(err, ES_EFORMAT, "%u vectors stand where %zu begin", rows.n, n);
        out->rows = malloc(n * rows.width * sizeof *out->rows);
        if (!out->rows) return es_fail(err, ES_ENOMEM, "not enough memory for %zu vectors", n);
    }
    numbers = (size_t)rows.n * rows.width;
    p = rows.half;
    for (size_t i = 0; i < numbers; i++)
        out->rows[have * rows.width + i] = es_half_value((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
    return ES_OK;
}

int es_inside_get_vectors(es_txn *x, enum es_use use, es_hash128 space, es_bytes recording, size_t n, es_vectors *out,
                          es_err *err)
{
    es_key prefix = es_key_vectors(use, space, recording, 0);
    es_cursor *c = NULL;
    es_bytes key, value;
    size_t have = 0;
    int rc;

    *out = (es_vectors){.space = space};
    if (!n) return ES_OK;
    prefix.n -= 4; /* all parts */
    rc = es_cursor_open(&c, x, ES_TABLE_VECTORS, err);
    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        rc = have < n ? add_rows(value, out, have, n, err)
                      : es_fail(err, ES_EFORMAT, "there are more vectors than the %zu that belong here", n);
        if (rc) break;
        have += n - have < PART_ROWS ? n - have : PART_ROWS;
    }
    es_cursor_close(c);
    if (rc == ES_ENOTFOUND) rc = ES_OK;
    if (!rc && have < n) rc = es_fail(err, ES_EFORMAT, "%zu vectors are there and %zu should be", have, n);
    if (rc) es_vectors_done(out);
    else out->n = n;
    return rc;
}

int es_inside_next_space(es_txn *x, enum es_use use, es_hash128 *space, es_err *err)
{
    es_key from = es_key_space(use, *space);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_VECTORS, err);

    if (rc) return rc;
    rc = es_cursor_seek(c, es_key_bytes(&from), &key, &value, err);
    if (!rc && (key.n < MEDIA_AT || memcmp(key.p, from.b, 2))) rc = ES_ENOTFOUND;
    if (!rc) memcpy(space->b, (const uint8_t *)key.p + 2, sizeof space->b);
    es_cursor_close(c);
    return rc;
}

int es_inside_delete_vectors(es_txn *x, enum es_use use, es_bytes recording, es_err *err)
{
    es_hash128 space = {{0}};
    int rc;

    while ((rc = es_inside_next_space(x, use, &space, err)) == ES_OK) {
        es_key prefix = es_key_vectors(use, space, recording, 0);
        prefix.n -= 4;
        rc = es_txn_delete_prefix(x, ES_TABLE_VECTORS, es_key_bytes(&prefix), NULL, err);
        if (rc) return rc;
        if (!es_hash_step(&space)) return ES_OK;
    }
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}
