/*
 * migrate.c - a library made by an older program, brought up to date.
 *
 * The record "schema" of the table meta says which tables there are and what their keys mean. A single record that
 * gains a field needs nothing here: it has a version of its own (record.c). A step here adds or fills a table, or
 * changes keys. All steps that a library needs run in the writing transaction that also writes the new schema: after a
 * crash it is either as old as before or as new as it should be. A library opened only for reading stays as it is, and
 * is read if it is not newer than this program.
 */
#define _GNU_SOURCE
#include "store/inside.h"

#include <stdlib.h>
#include <string.h>

/* A recording whose results came before there was an index. */
static int index_one(es_txn *x, es_record *r, const es_stored *of, es_err *err)
{
    es_hash128 content = of->media.content;
    es_transcript t = {0};
    es_passages p = {0};
    int rc = es_inside_get_segments(x, content, of->media.track, &t, err);

    if (!rc) rc = es_inside_put_index(x, r, content, of->media.track, &p, &t, err);
    es_transcript_done(&t);
    return rc;
}

/* New tables, which are made wherever they are missing: the index is filled from the segments, the others have nothing
 * in them for what was taken in before. */
static int to_two(es_txn *x, es_err *err)
{
    es_key at = {.b = {0}, .n = 1};
    es_record r = {0};
    int rc = ES_OK;

    while (!rc) {
        es_cursor *c = NULL;
        es_bytes key, value;
        es_stored of = {0};
        es_err note = {0};
        int parsed;
        rc = es_cursor_open(&c, x, ES_TABLE_RECORDINGS, err);
        if (rc) break;
        rc = es_cursor_seek(c, es_key_bytes(&at), &key, &value, err);
        if (!rc && key.n >= sizeof at.b) rc = es_fail(err, ES_EFORMAT, "a recording's key has %zu bytes", key.n);
        if (rc) {
            es_cursor_close(c);
            break;
        }
        memcpy(at.b, key.p, key.n);
        at.b[key.n] = 0; /* the next key from here on, wherever it is: a cursor is not kept over a write */
        at.n = key.n + 1;
        parsed = es_record_read_recording(value, &of, &note);
        es_cursor_close(c);
        if (!parsed) rc = index_one(x, &r, &of, err);
        es_stored_done(&of);
    }
    free(r.p);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

static const es_migration migrations[] = {
    {.to = 1, .run = NULL},   /* the first format */
    {.to = 2, .run = to_two}, /* who spoke, passages, vectors, words */
};

static int write_schema(es_txn *x, uint32_t schema, es_err *err)
{
    es_library l = {.schema = schema, .program = ES_VERSION};
    es_record r = {0};
    es_key k = es_key_schema();
    int rc = es_record_write_library(&r, &l, err);

    if (!rc) rc = es_txn_put(x, ES_TABLE_META, es_key_bytes(&k), (es_bytes){r.p, r.n}, err);
    free(r.p);
    return rc;
}

/* *schema 0 where none is written and the library is empty. */
static int read_schema(es_txn *x, const char *dir, uint32_t *schema, es_err *err)
{
    es_key k = es_key_schema();
    es_bytes value;
    es_library l;
    int rc = es_txn_get(x, ES_TABLE_META, es_key_bytes(&k), &value, err);

    *schema = 0;
    if (rc == ES_ENOTFOUND) {
        for (int t = 0; t < ES_N_TABLES; t++)
            if (es_txn_count(x, t))
                return es_fail(err, ES_ELIBRARY,
                               "%s: has records but does not say which schema they follow; restore a "
                               "backup",
                               dir);
        return ES_OK;
    }
    if (!rc) rc = es_record_read_library(value, &l, err);
    if (rc) return rc;
    *schema = l.schema;
    return ES_OK;
}

static int climb(es_txn *x, const char *dir, uint32_t schema, const es_migration *steps, int n, es_err *err)
{
    for (int i = 0; i < n; i++) {
        int rc;
        if (steps[i].to <= schema) continue;
        if (!steps[i].run)
            return es_fail(err, ES_ELIBRARY, "%s: has schema %u, and no way leads from it to %u", dir, (unsigned)schema,
                           (unsigned)steps[i].to);
        rc = steps[i].run(x, err);
        if (rc) return rc;
        schema = steps[i].to;
    }
    return ES_OK;
}

int es_migrate_steps(es_store *s, const es_migration *steps, int n, uint32_t newest, es_err *err)
{
    const char *dir = s->folder.dir;
    es_txn *x = NULL;
    uint32_t schema = 0;
    bool fresh = false;
    int rc = es_inside_begin(s, false, &x, err);

    if (rc) return rc;
    rc = read_schema(x, dir, &schema, err);
    rc = es_inside_end(s, x, rc, err);
    if (rc) return rc;
    if (schema > newest)
        return es_fail(err, ES_ENEWER, "%s: has schema %u, this program knows up to %u: use the newer program", dir,
                       (unsigned)schema, (unsigned)newest);
    s->schema = schema;
    if (schema == newest || (s->flags & ES_STORE_READ_ONLY)) return ES_OK;
    rc = es_inside_begin(s, true, &x, err);
    if (rc) return rc;
    rc = read_schema(x, dir, &schema, err); /* again: another process may have been faster */
    fresh = !rc && schema == 0;
    if (!rc && !fresh) rc = climb(x, dir, schema, steps, n, err);
    if (!rc && schema < newest) rc = write_schema(x, newest, err);
    rc = es_inside_end(s, x, rc, err);
    if (!rc) s->schema = newest;
    return rc;
}

int es_inside_can_search(const es_store *s, es_err *err)
{
    if (s->schema >= 2) return ES_OK;
    return es_fail(err, ES_ELIBRARY,
                   "%s: was made by an older version and cannot be searched; `earshot reembed` brings it up to date", s->folder.dir);
}

int es_migrate_library(es_store *s, es_err *err)
{
    return es_migrate_steps(s, migrations, (int)(sizeof migrations / sizeof *migrations), ES_STORE_SCHEMA, err);
}
