/*
 * journal.c - entries wait in a list, each already in the bytes of its record, and go into the table together.
 *
 * A commit syncs the disk and costs some milliseconds whatever is in it, so all recordings on their way share one list and
 * one transaction. Nothing here decides whether an entry is any good: made_with does, and who asks for it computes that.
 */
#define _POSIX_C_SOURCE 200809L
#include "store/journal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/inside.h"

/* A transaction that holds more is written at once, whatever the time: memory is bounded by it. */
enum { MOST_BYTES = 8 << 20 };

typedef struct waiting {
    es_key key;
    es_record record;
} waiting;

struct es_journal {
    es_store *store;
    double seconds, written; /* between transactions; when the last one was */
    waiting *at;
    size_t n, room, bytes;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int es_journal_open(es_journal **out, es_store *s, double seconds, es_err *err)
{
    es_journal *j = calloc(1, sizeof *j);

    *out = j;
    if (!j) return es_fail(err, ES_ENOMEM, "not enough memory for a journal");
    j->store = s;
    j->seconds = seconds;
    j->written = now();
    return ES_OK;
}

static void drop_all(es_journal *j)
{
    for (size_t i = 0; i < j->n; i++) free(j->at[i].record.p);
    j->n = j->bytes = 0;
}

/* What waits is gone afterwards, also when it could not be written: the next entry would fail as this one did. */
static int write_all(es_journal *j, es_err *err)
{
    es_txn *x = NULL;
    int rc = j->n ? es_inside_begin(j->store, true, &x, err) : ES_OK;

    if (x) {
        for (size_t i = 0; i < j->n && rc == ES_OK; i++)
            rc = es_inside_put_record(x, ES_TABLE_JOURNAL, j->at[i].key, &j->at[i].record, err);
        rc = es_inside_end(j->store, x, rc, err);
    }
    drop_all(j);
    j->written = now();
    return rc;
}

static void write_or_tell(es_journal *j)
{
    es_err why = {0};

    if (write_all(j, &why) != ES_OK) es_log(ES_LOG_WARN, "the last seconds of work are not kept: %s", why.text);
}

void es_journal_close(es_journal *j)
{
    if (!j) return;
    write_or_tell(j);
    free(j->at);
    free(j);
}

void es_journal_settle(es_journal *j, es_hash128 content, int track)
{
    es_key prefix = es_key_recording(content, track);
    bool any = false;

    for (size_t i = 0; i < j->n && !any; i++) any = es_key_starts(es_key_bytes(&j->at[i].key), es_key_bytes(&prefix));
    if (any) write_or_tell(j);
}

static waiting *place_of(es_journal *j, const es_key *key)
{
    for (size_t i = j->n; i-- > 0;)
        if (j->at[i].key.n == key->n && !memcmp(j->at[i].key.b, key->b, key->n)) return &j->at[i];
    if (j->n == j->room) {
        size_t room = j->room ? 2 * j->room : 64;
        waiting *more = realloc(j->at, room * sizeof *more);
        if (!more) return NULL;
        j->at = more, j->room = room;
    }
    j->at[j->n] = (waiting){.key = *key};
    return &j->at[j->n++];
}

int es_journal_add(es_journal *j, es_hash128 content, int track, const es_journal_entry *e, es_err *err)
{
    es_key key = es_key_journal(content, track, (int)e->kind, e->number);
    waiting *w = place_of(j, &key);
    size_t before;
    int rc;

    if (!w) return es_fail(err, ES_ENOMEM, "not enough memory for a journal");
    before = w->record.n;
    rc = es_record_write_journal(&w->record, e, err);
    if (rc != ES_OK) { /* half an entry must not be written */
        free(w->record.p);
        *w = j->at[--j->n];
        j->bytes -= before;
        return rc;
    }
    j->bytes += w->record.n - before;
    return j->bytes > MOST_BYTES || now() - j->written >= j->seconds ? write_all(j, err) : ES_OK;
}

void es_journal_forget(es_journal *j, es_hash128 content, int track)
{
    es_key prefix = es_key_recording(content, track);
    size_t kept = 0;

    for (size_t i = 0; i < j->n; i++) {
        if (!es_key_starts(es_key_bytes(&j->at[i].key), es_key_bytes(&prefix))) {
            j->at[kept++] = j->at[i];
            continue;
        }
        j->bytes -= j->at[i].record.n;
        free(j->at[i].record.p);
    }
    j->n = kept;
}

/* ---- reading ---- */

/* One entry. Keys of entries that are of no use are noted for removal. */
static int tell_one(es_bytes value, es_hash128 made_with, bool *useless,
                    int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err)
{
    es_journal_entry e;
    es_err note = {0};
    int rc = es_record_read_journal(value, &e, &note);

    if (rc == ES_ENOMEM) return es_fail(err, rc, "%s", note.text);
    *useless = rc != ES_OK || memcmp(&e.made_with, &made_with, sizeof made_with) != 0;
    if (rc != ES_OK) es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
    rc = *useless ? ES_OK : visit(user, &e, err);
    es_journal_entry_done(&e);
    return rc;
}

/* Removes those entries of a kind that tell_one() had no use for: in a transaction of its own, since reading must not hold
 * up writers. */
static int remove_useless(es_store *s, es_bytes prefix, es_hash128 made_with, es_err *err)
{
    es_key at = {.n = 0};
    es_txn *x = NULL;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    memcpy(at.b, prefix.p, prefix.n);
    at.n = prefix.n;
    while (rc == ES_OK) {
        es_cursor *c = NULL;
        es_bytes key, value;
        es_journal_entry e;
        rc = es_cursor_open(&c, x, ES_TABLE_JOURNAL, err);
        if (rc) break;
        rc = es_cursor_seek(c, es_key_bytes(&at), &key, &value, err);
        if (rc == ES_OK && (!es_key_starts(key, prefix) || key.n >= sizeof at.b)) rc = ES_ENOTFOUND;
        bool useless = false;
        if (rc == ES_OK) {
            useless = es_record_read_journal(value, &e, NULL) != ES_OK ||
                      memcmp(&e.made_with, &made_with, sizeof made_with) != 0;
            es_journal_entry_done(&e);
            memcpy(at.b, key.p, key.n);
            at.n = key.n;
        }
        es_cursor_close(c);
        if (rc == ES_OK && useless) rc = es_txn_delete(x, ES_TABLE_JOURNAL, es_key_bytes(&at), err);
        at.b[at.n++] = 0; /* the next key from here on: a cursor is not kept over a write */
    }
    return es_inside_end(s, x, rc == ES_ENOTFOUND ? ES_OK : rc, err);
}

int es_journal_read(es_journal *j, es_hash128 content, int track, enum es_journal_kind kind, es_hash128 made_with,
                    int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err)
{
    es_key prefix = es_key_journal(content, track, (int)kind, 0);
    es_cursor *c = NULL;
    es_txn *x = NULL;
    es_bytes key, value;
    bool any_useless = false;
    int rc = es_inside_begin(j->store, false, &x, err);

    if (rc) return rc;
    prefix.n -= 4; /* all numbers */
    rc = es_cursor_open(&c, x, ES_TABLE_JOURNAL, err);
    if (rc == ES_OK) rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
    while (rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix))) {
        bool useless = false;
        rc = tell_one(value, made_with, &useless, visit, user, err);
        any_useless = any_useless || useless;
        if (rc == ES_OK) rc = es_cursor_next(c, &key, &value, err);
    }
    es_cursor_close(c);
    rc = es_inside_end(j->store, x, rc == ES_ENOTFOUND ? ES_OK : rc, err);
    if (rc == ES_OK && any_useless) rc = remove_useless(j->store, es_key_bytes(&prefix), made_with, err);
    return rc;
}
