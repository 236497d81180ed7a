/*
 * tables.c - LMDB behind a few functions.
 *
 * LMDB is a copy-on-write B+tree in one mapped file. A commit writes the changed pages, syncs, and then writes one of
 * two meta pages in turn, so that a crash at any point leaves the last finished commit whole. These are its default
 * flags; those that trade this for speed are used only on files that nobody has yet (ES_TABLES_FRESH).
 *
 * Map size. The file grows only as pages are used, and the map only reserves addresses, so we ask for 1 TiB at once and
 * never resize; where the process may not have so many addresses (RLIMIT_AS), for the largest power of two that it is
 * given. A full map is then the address limit, not the disk.
 *
 * Readers. LMDB notes each reader's snapshot in a slot of lock.mdb, since pages that a reader may still see are not
 * written again. MDB_NOTLS ties the slot to the transaction, not to the thread, so finished reading transactions are
 * kept in a pool (reset, then renewed) and a read costs no search for a free slot. Slots of dead processes are swept at
 * open and whenever slots run out.
 *
 * LMDB trusts its file: one wrong page number or a cut file ends the process. So pages.c looks at the first pages
 * before LMDB opens the file, and at the tree of tables before its names are looked up; es_tables_walk() looks at
 * everything.
 */
#define _GNU_SOURCE
#include "store/tables.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/pages.h"

enum {
    MAX_READERS = 1024,
    MAX_POOL = 32,
    MAX_TABLES = 64,
    LOCK_BYTES = 64 * (MAX_READERS + 16) /* a slot is a cache line; the head of the file takes a few */
};

struct es_tables {
    MDB_env *env;
    unsigned flags;
    MDB_dbi dbi[ES_N_TABLES];
    bool have[ES_N_TABLES]; /* false: not in the file, which is read-only */
    pthread_mutex_t pool_lock;
    MDB_txn *pool[MAX_POOL]; /* finished reading transactions */
    int n_pool;
    char *file;
};

struct es_txn {
    es_tables *tables;
    MDB_txn *txn;
    bool write;
};

struct es_cursor {
    MDB_cursor *cursor; /* NULL over a table that is not there */
    es_txn *txn;
    int table;
};

const char *es_table_name(int table)
{
    static const char *const names[ES_N_TABLES] = {
#define X(name, text) [ES_TABLE_##name] = text,
        ES_TABLE_MAP(X)
#undef X
    };

    assert(table >= 0 && table < ES_N_TABLES);
    return names[table];
}

/* LMDB's answer as a status and a sentence. doing: "open", "read", ... */
static int fail(es_err *err, const es_tables *t, int rc, const char *doing)
{
    switch (rc) {
    case MDB_MAP_FULL:
        return es_fail(err, ES_ELIBRARY,
                       "%s: cannot %s: the library has used up the addresses this process may map "
                       "(ulimit -v)",
                       t->file, doing);
    case MDB_MAP_RESIZED:
        return es_fail(err, ES_ELIBRARY,
                       "%s: cannot %s: the library is larger than the addresses this process may "
                       "map (ulimit -v)",
                       t->file, doing);
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return es_fail(err, ES_ELIBRARY, "%s: cannot %s: not a library, or one of another LMDB format (%s)", t->file,
                       doing, mdb_strerror(rc));
    case MDB_PANIC: /* since the second of a commit's two steps failed; the first one's failure has a code of its own */
        return es_fail(err, ES_ELIBRARY,
                       "%s: cannot %s: an earlier write to it failed, as on a full disk; what was there before is whole, "
                       "and the next start goes on from there",
                       t->file, doing);
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
        return es_fail(err, ES_ELIBRARY, "%s: cannot %s: the file is damaged (%s); restore a backup", t->file, doing,
                       mdb_strerror(rc));
    case MDB_READERS_FULL:
        return es_fail(err, ES_EBUSY, "%s: cannot %s: %d readers are at work already", t->file, doing, MAX_READERS);
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* of the library as a whole: nothing else could be stored either */
        return es_fail(err, ES_ELIBRARY, "%s: cannot %s: no room left on the disk (%s); what was there before is whole",
                       t->file, doing, strerror(rc));
    case EIO: /* also LMDB's word for a write that was cut short, which is how a full disk mostly shows */
        return es_fail(err, ES_ELIBRARY,
                       "%s: cannot %s: no room left on the disk, or the disk has a fault; what was there "
                       "before is whole",
                       t->file, doing);
    case ENOMEM: return es_fail(err, ES_ENOMEM, "%s: cannot %s: not enough memory", t->file, doing);
    case EACCES:
    case EPERM:
    case EROFS: return es_fail(err, ES_ELIBRARY, "%s: cannot %s: %s", t->file, doing, strerror(rc));
    default: return es_fail(err, ES_EIO, "%s: cannot %s: %s", t->file, doing, mdb_strerror(rc));
    }
}

static size_t first_map_bytes(void)
{
    size_t bytes = (size_t)1 << 40;
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        while (bytes > limit.rlim_cur / 2) bytes /= 2;
    return bytes;
}

/* Sees to it that lock.mdb has its blocks on the disk. LMDB only sets its length and then writes to it through a map,
 * where a full disk is not an error but a signal that ends the process. An existing length is kept: other processes may
 * have the file mapped and count its slots by it. */
static int reserve_lock(es_tables *t, const char *dir, es_err *err)
{
    char *path = malloc(strlen(dir) + sizeof "/lock.mdb");
    struct stat st;
    int fd, rc = ES_OK;

    if (!path) return fail(err, t, ENOMEM, "open");
    strcat(strcpy(path, dir), "/lock.mdb");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || fstat(fd, &st)) rc = fail(err, t, errno, "open");
    else if (fallocate(fd, 0, 0, st.st_size ? st.st_size : LOCK_BYTES) && (errno == ENOSPC || errno == EDQUOT))
        rc = fail(err, t, errno, "open");
    if (fd >= 0) close(fd); /* drops this process's locks on it, of which there are none yet */
    free(path);
    return rc;
}

/* Opens the environment at the largest map that the process gets. */
static int open_env(es_tables *t, const char *dir, es_err *err)
{
    unsigned flags = MDB_NOTLS;
    size_t bytes = first_map_bytes(), least = (size_t)1 << 24;
    int rc;

    if (t->flags & ES_TABLES_READ_ONLY) flags |= MDB_RDONLY;
    if (t->flags & ES_TABLES_NO_LOCK) flags |= MDB_NOLOCK;
    if (t->flags & ES_TABLES_FRESH) flags |= MDB_NOSYNC;
    for (;; bytes /= 2) {
        rc = mdb_env_create(&t->env);
        if (rc) return fail(err, t, rc, "open");
        mdb_env_set_maxdbs(t->env, MAX_TABLES);
        mdb_env_set_maxreaders(t->env, MAX_READERS);
        rc = mdb_env_set_mapsize(t->env, bytes);
        if (rc == 0) rc = mdb_env_open(t->env, dir, flags, 0666);
        if (rc == 0) return ES_OK;
        mdb_env_close(t->env);
        t->env = NULL;
        if (rc != ENOMEM || bytes / 2 < least) return fail(err, t, rc, "open");
    }
}

int es_tables_walk(es_tables *t, bool all, void (*fault)(void *user, const char *sentence), void *user,
                   uint64_t *faults, es_err *err)
{
    enum { TRIES = 100 };
    int rc = ES_EBUSY;

    *faults = 0;
    /* Writers at work may have replaced both meta pages between the beginning of our transaction and their reading. */
    for (int i = 0; rc == ES_EBUSY && i < TRIES; i++) {
        MDB_txn *txn = NULL;
        int begun = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn);
        if (begun) return fail(err, t, begun, "read");
        rc = es_pages_walk(t->file, mdb_txn_id(txn), all, fault, user, faults, err);
        mdb_txn_abort(txn);
    }
    if (rc == ES_EBUSY) es_fail(err, rc, "%s: is written too fast to be checked", t->file);
    return rc;
}

/* Keeps the first sentence. */
static void keep_fault(void *user, const char *sentence)
{
    char *first = user;

    if (!*first) snprintf(first, 500, "%s", sentence);
}

static int check_shape(es_tables *t, es_err *err)
{
    char first[500] = "";
    uint64_t faults = 0;
    int rc = es_tables_walk(t, false, keep_fault, first, &faults, err);

    if (!rc && faults) rc = es_fail(err, ES_ELIBRARY, "%s: is damaged, restore a backup: %s", t->file, first);
    return rc;
}

/* Looks the tables up, in a reading transaction first: only where one is missing is a writing one worth its lock. */
static int open_tables(es_tables *t, es_err *err)
{
    bool may_create = !(t->flags & ES_TABLES_READ_ONLY);

    for (int create = 0; create <= (may_create ? 1 : 0); create++) {
        MDB_txn *txn = NULL;
        bool complete = true;
        int rc = mdb_txn_begin(t->env, NULL, create ? 0 : MDB_RDONLY, &txn);
        if (rc) return fail(err, t, rc, create ? "write" : "read");
        for (int i = 0; i < ES_N_TABLES && rc == 0; i++) {
            rc = mdb_dbi_open(txn, es_table_name(i), create ? MDB_CREATE : 0, &t->dbi[i]);
            t->have[i] = rc == 0;
            if (rc == MDB_NOTFOUND) rc = 0, complete = false;
        }
        if (rc) {
            mdb_txn_abort(txn);
            return fail(err, t, rc, "open the tables");
        }
        rc = mdb_txn_commit(txn); /* also after reading: it is what keeps the handles */
        if (rc) return fail(err, t, rc, "make the tables");
        if (complete) break;
    }
    return ES_OK;
}

int es_tables_open(es_tables **out, const char *dir, unsigned flags, es_err *err)
{
    es_tables *t = calloc(1, sizeof *t);
    int rc = ES_OK, dead = 0;

    *out = NULL;
    if (t) t->file = malloc(strlen(dir) + sizeof "/data.mdb");
    if (!t || !t->file) {
        free(t);
        return es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", dir);
    }
    strcat(strcpy(t->file, dir), "/data.mdb");
    t->flags = flags;
    pthread_mutex_init(&t->pool_lock, NULL);
    rc = es_pages_head(t->file, err);
    if (!rc && !(flags & ES_TABLES_NO_LOCK)) rc = reserve_lock(t, dir, err);
    if (!rc) rc = open_env(t, dir, err);
    if (!rc && !(flags & ES_TABLES_NO_LOCK)) mdb_reader_check(t->env, &dead);
    if (!rc) rc = check_shape(t, err);
    if (!rc) rc = open_tables(t, err);
    if (rc) {
        es_tables_close(t);
        return rc;
    }
    *out = t;
    return ES_OK;
}

void es_tables_close(es_tables *t)
{
    if (!t) return;
    for (int i = 0; i < t->n_pool; i++) mdb_txn_abort(t->pool[i]);
    if (t->env) mdb_env_close(t->env);
    pthread_mutex_destroy(&t->pool_lock);
    free(t->file);
    free(t);
}

int es_tables_sync(es_tables *t, es_err *err)
{
    int rc = mdb_env_sync(t->env, 1);

    return rc ? fail(err, t, rc, "write") : ES_OK;
}

/* ---- transactions ---- */

static int begin_read(es_tables *t, MDB_txn **out)
{
    int rc;

    *out = NULL;
    pthread_mutex_lock(&t->pool_lock);
    if (t->n_pool) *out = t->pool[--t->n_pool];
    pthread_mutex_unlock(&t->pool_lock);
    if (*out) {
        rc = mdb_txn_renew(*out);
        if (rc == 0) return 0;
        mdb_txn_abort(*out);
    }
    rc = mdb_txn_begin(t->env, NULL, MDB_RDONLY, out);
    if (rc == MDB_READERS_FULL) {
        int dead = 0;
        mdb_reader_check(t->env, &dead);
        if (dead) rc = mdb_txn_begin(t->env, NULL, MDB_RDONLY, out);
    }
    return rc;
}

int es_txn_begin(es_txn **out, es_tables *t, bool write, es_err *err)
{
    es_txn *x = calloc(1, sizeof *x);
    int rc;

    *out = NULL;
    if (!x) return es_fail(err, ES_ENOMEM, "%s: not enough memory for a transaction", t->file);
    assert(!write || !(t->flags & ES_TABLES_READ_ONLY));
    rc = write ? mdb_txn_begin(t->env, NULL, 0, &x->txn) : begin_read(t, &x->txn);
    if (rc) {
        free(x);
        return fail(err, t, rc, write ? "write" : "read");
    }
    x->tables = t;
    x->write = write;
    *out = x;
    return ES_OK;
}

int es_txn_commit(es_txn *x, es_err *err)
{
    es_tables *t = x->tables;
    int rc = 0;

    assert(x->write);
    rc = mdb_txn_commit(x->txn);
    free(x);
    return rc ? fail(err, t, rc, "write") : ES_OK;
}

void es_txn_drop(es_txn *x)
{
    es_tables *t;

    if (!x) return;
    t = x->tables;
    if (!x->write) {
        mdb_txn_reset(x->txn);
        pthread_mutex_lock(&t->pool_lock);
        if (t->n_pool < MAX_POOL) {
            t->pool[t->n_pool++] = x->txn;
            x->txn = NULL;
        }
        pthread_mutex_unlock(&t->pool_lock);
    }
    if (x->txn) mdb_txn_abort(x->txn);
    free(x);
}

bool es_txn_writes(const es_txn *x)
{
    return x->write;
}

/* ---- keys and values ---- */

static MDB_val val(es_bytes b)
{
    return (MDB_val){.mv_size = b.n, .mv_data = (void *)(uintptr_t)b.p}; /* LMDB does not write through it */
}

static es_bytes bytes(MDB_val v)
{
    return (es_bytes){.p = v.mv_data, .n = v.mv_size};
}

int es_txn_get(es_txn *x, int table, es_bytes key, es_bytes *value, es_err *err)
{
    MDB_val k = val(key), v;
    int rc;

    if (!x->tables->have[table]) return ES_ENOTFOUND;
    rc = mdb_get(x->txn, x->tables->dbi[table], &k, &v);
    if (rc == MDB_NOTFOUND) return ES_ENOTFOUND;
    if (rc) return fail(err, x->tables, rc, "read");
    *value = bytes(v);
    return ES_OK;
}

static int put(es_txn *x, int table, es_bytes key, es_bytes value, unsigned flags, es_err *err)
{
    MDB_val k = val(key), v = val(value);
    int rc = mdb_put(x->txn, x->tables->dbi[table], &k, &v, flags);

    return rc ? fail(err, x->tables, rc, "write") : ES_OK;
}

int es_txn_put(es_txn *x, int table, es_bytes key, es_bytes value, es_err *err)
{
    return put(x, table, key, value, 0, err);
}

int es_txn_append(es_txn *x, int table, es_bytes key, es_bytes value, es_err *err)
{
    return put(x, table, key, value, MDB_APPEND, err);
}

int es_txn_delete(es_txn *x, int table, es_bytes key, es_err *err)
{
    MDB_val k = val(key);
    int rc = mdb_del(x->txn, x->tables->dbi[table], &k, NULL);

    if (rc == MDB_NOTFOUND) return ES_ENOTFOUND;
    return rc ? fail(err, x->tables, rc, "write") : ES_OK;
}

int es_txn_delete_prefix(es_txn *x, int table, es_bytes prefix, uint64_t *n, es_err *err)
{
    MDB_cursor *cursor = NULL;
    uint64_t deleted = 0;
    int rc;

    assert(prefix.n > 0);
    rc = mdb_cursor_open(x->txn, x->tables->dbi[table], &cursor);
    /* Sought anew each time: where a cursor stands after a deletion differs between versions of LMDB. */
    while (rc == 0) {
        MDB_val k = val(prefix), v;
        rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (rc || k.mv_size < prefix.n || memcmp(k.mv_data, prefix.p, prefix.n)) break;
        rc = mdb_cursor_del(cursor, 0);
        deleted++;
    }
    if (cursor) mdb_cursor_close(cursor);
    if (n) *n = deleted;
    return rc && rc != MDB_NOTFOUND ? fail(err, x->tables, rc, "write") : ES_OK;
}

uint64_t es_txn_count(es_txn *x, int table)
{
    MDB_stat st;

    if (!x->tables->have[table] || mdb_stat(x->txn, x->tables->dbi[table], &st)) return 0;
    return st.ms_entries;
}

/* ---- cursors ---- */

int es_cursor_open(es_cursor **out, es_txn *x, int table, es_err *err)
{
    es_cursor *c = calloc(1, sizeof *c);

    *out = NULL;
    if (!c) return es_fail(err, ES_ENOMEM, "%s: not enough memory for a cursor", x->tables->file);
    c->txn = x;
    c->table = table;
    if (x->tables->have[table]) {
        int rc = mdb_cursor_open(x->txn, x->tables->dbi[table], &c->cursor);
        if (rc) {
            free(c);
            return fail(err, x->tables, rc, "read");
        }
    }
    *out = c;
    return ES_OK;
}

void es_cursor_close(es_cursor *c)
{
    if (!c) return;
    if (c->cursor) mdb_cursor_close(c->cursor);
    free(c);
}

static int move(es_cursor *c, MDB_val *k, MDB_cursor_op op, es_bytes *key, es_bytes *value, es_err *err)
{
    MDB_val v;
    int rc = c->cursor ? mdb_cursor_get(c->cursor, k, &v, op) : MDB_NOTFOUND;

    if (rc == MDB_NOTFOUND) return ES_ENOTFOUND;
    if (rc) return fail(err, c->txn->tables, rc, "read");
    *key = bytes(*k);
    *value = bytes(v);
    return ES_OK;
}

int es_cursor_seek(es_cursor *c, es_bytes from, es_bytes *key, es_bytes *value, es_err *err)
{
    MDB_val k = val(from);

    return move(c, &k, from.n ? MDB_SET_RANGE : MDB_FIRST, key, value, err);
}

int es_cursor_next(es_cursor *c, es_bytes *key, es_bytes *value, es_err *err)
{
    MDB_val k = {0};

    return move(c, &k, MDB_NEXT, key, value, err);
}
