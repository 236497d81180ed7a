/*
 * care.c - compact and backup.
 *
 * Compact and backup write a fresh file by walking the records of one snapshot into it, table by table and in the order
 * of the keys. So the file holds what was put into it and nothing else, by construction. LMDB's own compacting copy
 * (mdb_env_copy2 with MDB_CP_COMPACT) leaves out free pages, but what of a used page it copies is its own affair:
 * 0.9.24 passes over the unused part of leaf pages and copies overflow pages whole, whose ends may hold older bytes.
 * The walk also fills pages to the brim and gives the same file for the same records. (LMDB clears the pages it
 * allocates unless told not to, so nothing of the process's memory gets into their unused parts either.)
 *
 * The fresh file is synced, opened again and counted before it takes its place by rename(), so that at every moment one
 * whole library bears the name data.mdb. What the disk itself keeps of the old file's blocks is beyond a program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/inside.h"

/* A transaction may hold about 500 MB of changed pages; a smaller one keeps less memory. */
enum { BATCH_BYTES = 32 << 20 };

typedef struct counts {
    uint64_t n[ES_N_TABLES];
} counts;

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 2;
    char *s = malloc(n);

    if (s) snprintf(s, n, "%s/%s", a, b);
    return s;
}

/* ---- copying ---- */

static int copy_table(es_txn *from, es_tables *to, int table, uint64_t *n, es_err *err)
{
    es_cursor *c = NULL;
    es_txn *x = NULL;
    es_bytes key, value;
    size_t batch = 0;
    int rc = es_cursor_open(&c, from, table, err);

    if (rc) return rc;
    rc = es_txn_begin(&x, to, true, err);
    if (!rc) rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err);
    while (rc == ES_OK) {
        rc = es_txn_append(x, table, key, value, err);
        if (rc) break;
        ++*n;
        batch += key.n + value.n;
        if (batch >= BATCH_BYTES) {
            rc = es_txn_commit(x, err);
            x = NULL;
            if (!rc) rc = es_txn_begin(&x, to, true, err);
            batch = 0;
            if (rc) break;
        }
        rc = es_cursor_next(c, &key, &value, err);
    }
    es_cursor_close(c);
    if (rc == ES_ENOTFOUND) { /* past the last record: done */
        rc = es_txn_commit(x, err);
        x = NULL;
    }
    es_txn_drop(x);
    return rc;
}

/* Writes all records of the snapshot into a new data.mdb in the empty folder dir, and syncs it. The journal stays behind:
 * it is of recordings that are at work or never came back, and says what was said in them. */
static int copy_all(es_txn *from, const char *dir, counts *c, es_err *err)
{
    es_tables *to = NULL;
    int rc = es_tables_open(&to, dir, ES_TABLES_FRESH | ES_TABLES_NO_LOCK, err);

    *c = (counts){{0}};
    for (int t = 0; !rc && t < ES_N_TABLES; t++)
        if (t != ES_TABLE_JOURNAL) rc = copy_table(from, to, t, &c->n[t], err);
    if (!rc) rc = es_tables_sync(to, err);
    es_tables_close(to);
    return rc;
}

/* Opens what was written anew and counts it. */
static int verify(const char *dir, const counts *c, es_err *err)
{
    es_tables *t = NULL;
    es_txn *x = NULL;
    int rc = es_tables_open(&t, dir, ES_TABLES_READ_ONLY | ES_TABLES_NO_LOCK, err);

    if (!rc) rc = es_txn_begin(&x, t, false, err);
    for (int i = 0; !rc && i < ES_N_TABLES; i++) {
        uint64_t n = es_txn_count(x, i);
        if (n != c->n[i])
            rc = es_fail(err, ES_EIO, "%s: the copy has %llu records of %s, %llu were written", dir,
                         (unsigned long long)n, es_table_name(i), (unsigned long long)c->n[i]);
    }
    es_txn_drop(x);
    es_tables_close(t);
    return rc;
}

/* Before the old file is replaced or called a backup: LMDB reads a damaged one as it comes, if it survives it. */
static int refuse_damaged(es_store *s, es_err *err)
{
    uint64_t faults = 0;
    int rc = es_tables_walk(s->tables, true, NULL, NULL, &faults, err);

    if (!rc && faults)
        rc = es_fail(err, ES_ELIBRARY, "%s: is damaged in %llu places; restore a backup", s->folder.data,
                     (unsigned long long)faults);
    return rc;
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;

    return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

/* ---- compact ---- */

/* With the gate and the folder held alone: the new file takes the old one's place. */
static int exchange(es_store *s, const char *fresh, es_err *err)
{
    char *lock = join(s->folder.dir, "lock.mdb");
    int rc = lock ? ES_OK : es_fail(err, ES_ENOMEM, "%s: not enough memory to compact it", s->folder.dir);

    if (rc) return rc;
    es_tables_close(s->tables);
    s->tables = NULL;
    if (rename(fresh, s->folder.data)) {
        rc = es_fail(err, ES_EIO, "%s: cannot be replaced: %s", s->folder.data, strerror(errno));
    } else {
        unlink(lock); /* it speaks of the old file's transactions */
        rc = es_folder_sync(s->folder.dir, err);
    }
    free(lock);
    /* Whatever happened, a whole library lies there: open it again. */
    int opened = es_tables_open(&s->tables, s->folder.dir, 0, err);
    return rc ? rc : opened;
}

int es_store_compact(es_store *s, uint64_t *before, uint64_t *after, es_err *err)
{
    char *dir = NULL, *fresh = NULL;
    es_txn *x = NULL;
    counts c = {{0}};
    int rc, shared;

    if (s->flags & ES_STORE_READ_ONLY) return es_fail(err, ES_ELIBRARY, "%s: is open for reading only", s->folder.dir);
    pthread_rwlock_wrlock(&s->gate);
    rc = s->tables ? es_folder_lock_alone(&s->folder, err)
                   : es_fail(err, ES_ELIBRARY, "%s: could not be opened again after compacting", s->folder.dir);
    if (rc) goto out;
    if (before) *before = file_bytes(s->folder.data);
    dir = join(s->folder.tmp, "compact");
    fresh = dir ? join(dir, "data.mdb") : NULL;
    if (!fresh) rc = es_fail(err, ES_ENOMEM, "%s: not enough memory to compact it", s->folder.dir);
    if (!rc && mkdir(dir, 0700)) rc = es_fail(err, ES_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    if (!rc) rc = refuse_damaged(s, err);
    if (!rc) rc = es_txn_begin(&x, s->tables, false, err);
    if (!rc) rc = copy_all(x, dir, &c, err);
    es_txn_drop(x);
    if (!rc) rc = verify(dir, &c, err);
    if (!rc) rc = exchange(s, fresh, err);
    if (dir) es_folder_remove(dir);
    if (!rc && after) *after = file_bytes(s->folder.data);
    shared = es_folder_lock_shared(&s->folder, err);
    if (!rc) rc = shared;
out:
    pthread_rwlock_unlock(&s->gate);
    free(dir);
    free(fresh);
    return rc;
}

/* ---- backup ---- */

static int make_target(const char *dir, es_err *err)
{
    if (mkdir(dir, 0700) == 0) return ES_OK;
    if (errno == EEXIST && rmdir(dir) == 0 && mkdir(dir, 0700) == 0) return ES_OK; /* an empty folder will do */
    if (errno == ENOTEMPTY || errno == EEXIST)
        return es_fail(err, ES_EARG, "%s: is not empty; a backup needs a new or empty folder", dir);
    return es_fail(err, ES_EIO, "%s: cannot be made: %s", dir, strerror(errno));
}

int es_store_backup(es_store *s, const char *to_dir, es_err *err)
{
    char *part = join(to_dir, "unfinished"), *from = part ? join(part, "data.mdb") : NULL;
    char *to = join(to_dir, "data.mdb");
    es_txn *x = NULL;
    bool made = false;
    counts c = {{0}};
    int rc = from && to ? ES_OK : es_fail(err, ES_ENOMEM, "%s: not enough memory for a backup", to_dir);

    if (!rc) rc = make_target(to_dir, err);
    made = !rc;
    /* It becomes data.mdb only when it is whole: a backup that was cut off cannot be taken for a library. */
    if (!rc && mkdir(part, 0700)) rc = es_fail(err, ES_EIO, "%s: cannot be made: %s", part, strerror(errno));
    if (!rc) rc = es_inside_begin(s, false, &x, err);
    if (x) {
        rc = refuse_damaged(s, err);
        if (!rc) rc = copy_all(x, part, &c, err);
        rc = es_inside_end(s, x, rc, err);
    }
    if (!rc) rc = verify(part, &c, err);
    if (!rc && rename(from, to)) rc = es_fail(err, ES_EIO, "%s: cannot be made: %s", to, strerror(errno));
    if (!rc) rc = es_folder_sync(to_dir, err);
    if (made) es_folder_remove(part);
    if (rc && made) es_folder_remove(to_dir);
    free(part);
    free(from);
    free(to);
    return rc;
}
