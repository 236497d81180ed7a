/*
 * crash_rows.h - all that a library holds, record by record, for test_crash.c: read, compared with what an undisturbed run
 * stored, and what of recordings that are not complete its journal has.
 */
#ifndef ES_CRASH_ROWS_H
#define ES_CRASH_ROWS_H

#include <limits.h>
#include <unistd.h>

#include "store/folder.h"
#include "store/record.h"
#include "store/store.h"
#include "store/tables.h"
#include "test.h"

typedef struct row {
    int table;
    size_t n_key, n_value;
    uint8_t *bytes; /* the key, then the value */
} row;

typedef struct rows {
    row *row;
    size_t n, room;
} rows;

static void rows_done(rows *r)
{
    for (size_t i = 0; i < r->n; i++) free(r->row[i].bytes);
    free(r->row);
    *r = (rows){0};
}

static void rows_add(rows *r, int table, es_bytes key, es_bytes value)
{
    if (r->n == r->room) {
        r->room = r->room * 2 + 64;
        r->row = realloc(r->row, r->room * sizeof *r->row);
        if (!r->row) abort();
    }
    uint8_t *bytes = malloc(key.n + value.n + 1);
    if (!bytes) abort();
    memcpy(bytes, key.p, key.n);
    if (value.n) memcpy(bytes + key.n, value.p, value.n);
    r->row[r->n++] = (row){table, key.n, value.n, bytes};
}

/* All records but those of times, in the order of tables and keys. A library that is not there has none. */
static void rows_read(rows *r, const char *library)
{
    es_tables *t = NULL;
    es_txn *x = NULL;
    es_err err = {0};
    char data[PATH_MAX + 400];

    *r = (rows){0};
    snprintf(data, sizeof data, "%s/data.mdb", library);
    if (access(data, F_OK)) return;
    int rc = es_tables_open(&t, library, ES_TABLES_READ_ONLY, &err);
    if (!rc) rc = es_txn_begin(&x, t, false, &err);
    for (int table = 0; !rc && table < ES_N_TABLES; table++) {
        es_cursor *c = NULL;
        es_bytes key, value;
        if (table == ES_TABLE_TIMES) continue;
        rc = es_cursor_open(&c, x, table, &err);
        if (rc) break;
        for (rc = es_cursor_seek(c, (es_bytes){"", 0}, &key, &value, &err); !rc; rc = es_cursor_next(c, &key, &value, &err))
            rows_add(r, table, key, value);
        es_cursor_close(c);
        if (rc == ES_ENOTFOUND) rc = 0;
    }
    CHECK(!rc, "%s: %s", library, err.text);
    es_txn_drop(x);
    es_tables_close(t);
}

static bool same_key(const row *a, const row *b)
{
    return a->table == b->table && a->n_key == b->n_key && !memcmp(a->bytes, b->bytes, a->n_key);
}

static bool same(const row *a, const row *b)
{
    return same_key(a, b) && a->n_value == b->n_value && !memcmp(a->bytes, b->bytes, a->n_key + a->n_value);
}

/* Records whose key names the recording, by the 8 bytes of its content's hash: of the journal, or of any other table. */
static size_t rows_of(const rows *r, const uint8_t *id, bool journal)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += (r->row[i].table == ES_TABLE_JOURNAL) == journal && memmem(r->row[i].bytes, r->row[i].n_key, id, 8) != NULL;
    return n;
}

static bool has_recording(const rows *r, const uint8_t *id)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->row[i].table == ES_TABLE_RECORDINGS && !memcmp(r->row[i].bytes, id, 8)) return true;
    return false;
}

static void check_equal(const rows *have, const rows *want, const char *when)
{
    CHECK(have->n == want->n, "%s: %zu records, undisturbed %zu", when, have->n, want->n);
    for (size_t i = 0; i < have->n && i < want->n; i++)
        if (!same(&have->row[i], &want->row[i])) {
            CHECK(false, "%s: record %zu, of the table %s, is not that of an undisturbed run", when, i,
                  es_table_name(have->row[i].table));
            return;
        }
}

/* Whole recordings only, each as it will be in the end; how many there are. */
static int check_whole(const rows *have, const rows *want, const char *when)
{
    int n = 0;

    for (size_t i = 0; i < want->n; i++) {
        const row *r = &want->row[i];
        if (r->table != ES_TABLE_RECORDINGS) continue;
        bool there = has_recording(have, r->bytes);
        size_t some = rows_of(have, r->bytes, false), all = rows_of(want, r->bytes, false), kept = rows_of(have, r->bytes, true);
        n += there;
        CHECK(!there || !kept, "%s: %zu entries of the journal are left of a recording that is there", when, kept);
        CHECK(some == (there ? all : 0), "%s: %zu of %zu records of a recording that is %s", when, some, all,
              there ? "there" : "not there");
    }
    for (size_t i = 0, at_row = 0; i < have->n; i++) {
        const row *r = &have->row[i];
        if (r->table == ES_TABLE_META) continue; /* totals of what is there: `check` compares them */
        if (r->table == ES_TABLE_JOURNAL) continue; /* of recordings that are not */
        while (at_row < want->n && !same_key(&want->row[at_row], r)) at_row++;
        CHECK(at_row < want->n && same(&want->row[at_row], r), "%s: a record of the table %s is none of an undisturbed run", when,
              es_table_name(r->table));
        if (at_row == want->n) break;
    }
    return n;
}

static void on_fault(void *user, const char *sentence)
{
    CHECK(false, "%s: %s", (const char *)user, sentence);
}

/* ---- what its journal holds ---- */

/* Of recordings that are not there. */
typedef struct kept {
    long windows; /* written */
    long vectors; /* of passages */
    long sought, heard; /* windows of 10 s: in which speakers were sought, whose voices were heard */
} kept;

/* each: every window is an entry, not every chain of them. */
static kept kept_in(const rows *have, bool each)
{
    kept k = {0};

    for (size_t i = 0; i < have->n; i++) {
        const row *r = &have->row[i];
        es_journal_entry e;
        if (r->table != ES_TABLE_JOURNAL || es_record_read_journal((es_bytes){r->bytes + r->n_key, r->n_value}, &e, NULL)) continue;
        if (e.kind == ES_JOURNAL_WORDS) k.windows += each || e.over;
        if (e.kind == ES_JOURNAL_TEXTS) k.vectors += e.n;
        if (e.kind == ES_JOURNAL_CLASSES) k.sought += e.n;
        if (e.kind == ES_JOURNAL_VOICES) k.heard += e.until - e.number;
        es_journal_entry_done(&e);
    }
    return k;
}

#endif
