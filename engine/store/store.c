/*
 * store.c - the library is opened and closed, and its transactions begin and end here.
 */
#define _GNU_SOURCE
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/inside.h"

/* LMDB writes the first two pages of a new file without waiting for them, and what ends it there leaves a file that it
 * takes for no library. So a new file is made aside, with its tables, and gets its name only when it is on the disk. */
static int make_new(es_folder *f, es_err *err)
{
    static const char aside[] = "new", file[] = "new/data.mdb";
    size_t room = strlen(f->tmp) + sizeof file + 2;
    char *dir = malloc(room), *fresh = malloc(room);
    es_tables *t = NULL;
    int rc = ES_OK;

    if (!dir || !fresh) {
        rc = es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", f->dir);
        goto out;
    }
    snprintf(dir, room, "%s/%s", f->tmp, aside);
    snprintf(fresh, room, "%s/%s", f->tmp, file);
    if (mkdir(dir, 0700)) {
        rc = es_fail(err, ES_EIO, "%s: cannot be made: %s", dir, strerror(errno));
        goto out;
    }
    rc = es_tables_open(&t, dir, ES_TABLES_FRESH | ES_TABLES_NO_LOCK, err);
    if (!rc) rc = es_tables_sync(t, err);
    es_tables_close(t);
    /* Another process may have been first; and where no file can have a second name, LMDB makes it in its place. */
    if (!rc && link(fresh, f->data) && errno != EEXIST && errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
        rc = es_fail(err, ES_EIO, "%s: cannot be made: %s", f->data, strerror(errno));
    if (!rc) rc = es_folder_sync(f->dir, err);
    es_folder_remove(dir);
out:
    free(dir);
    free(fresh);
    return rc;
}

int es_store_open(es_store **out, const char *dir, unsigned flags, es_err *err)
{
    static const union {
        uint16_t number;
        uint8_t first;
    } order = {.number = 1};
    bool read_only = flags & ES_STORE_READ_ONLY;
    es_store *s = NULL;
    unsigned how;
    int rc;

    *out = NULL;
    if (order.first != 1) return es_fail(err, ES_ELIBRARY, "%s: libraries are little-endian, this machine is not", dir);
    s = calloc(1, sizeof *s);
    if (!s) return es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", dir);
    s->flags = flags;
    pthread_rwlock_init(&s->gate, NULL);
    rc = es_folder_open(&s->folder, dir, read_only, flags & ES_STORE_CREATE, err);
    how = (read_only ? ES_TABLES_READ_ONLY : 0u) | (s->folder.no_lock ? ES_TABLES_NO_LOCK : 0u);
    if (!rc && s->folder.is_new && s->folder.tmp) rc = make_new(&s->folder, err);
    if (!rc) rc = es_tables_open(&s->tables, s->folder.dir, how, err);
    if (!rc) rc = es_migrate_library(s, err);
    if (rc) {
        es_store_close(s);
        return rc;
    }
    *out = s;
    return ES_OK;
}

void es_store_close(es_store *s)
{
    if (!s) return;
    es_tables_close(s->tables);
    es_folder_done(&s->folder);
    pthread_rwlock_destroy(&s->gate);
    free(s);
}

const char *es_store_dir(const es_store *s)
{
    return s->folder.dir;
}

const char *es_store_tmp(const es_store *s)
{
    return s->folder.tmp;
}

bool es_store_is_network(long f_type)
{
    return es_folder_network(f_type) != NULL;
}

int es_inside_begin(es_store *s, bool write, es_txn **x, es_err *err)
{
    int rc;

    *x = NULL;
    if (write && (s->flags & ES_STORE_READ_ONLY))
        return es_fail(err, ES_ELIBRARY, "%s: is open for reading only", s->folder.dir);
    pthread_rwlock_rdlock(&s->gate);
    rc = s->tables ? es_txn_begin(x, s->tables, write, err)
                   : es_fail(err, ES_ELIBRARY, "%s: could not be opened again after compacting", s->folder.dir);
    if (rc) pthread_rwlock_unlock(&s->gate);
    return rc;
}

int es_inside_end(es_store *s, es_txn *x, int rc, es_err *err)
{
    if (!rc && es_txn_writes(x)) rc = es_txn_commit(x, err);
    else es_txn_drop(x);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}
