/*
 * paths.c - where a content was seen, and which content a file had when it was last read.
 *
 * Paths are a set without an order; which of them was seen last is told by the table `times`.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "store/inside.h"

/* The wall clock. */
static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int es_inside_put_path(es_txn *x, es_record *r, es_hash128 content, const char *path, int64_t mtime_ns, es_err *err)
{
    es_time seen = {.at_ms = now_ms(), .mtime_ns = mtime_ns};
    int rc;

    if (!path || !*path) return ES_OK; /* samples from memory have none */
    rc = es_record_write_path(r, path, err);
    if (!rc) rc = es_inside_put_record(x, ES_TABLE_PATHS, es_key_path(content, path), r, err);
    if (!rc) rc = es_record_write_time(r, &seen, err);
    if (!rc) rc = es_inside_put_record(x, ES_TABLE_TIMES, es_key_path_time(content, path), r, err);
    return rc;
}

int es_inside_paths(es_txn *x, es_hash128 content, int (*visit)(void *user, const char *path, const es_time *t),
                    void *user, es_err *err)
{
    es_key prefix = es_key_media(content);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_PATHS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        es_time t = {0};
        es_bytes time_value;
        char *path = NULL;
        if (es_record_read_path(value, &path, &note)) {
            es_log(ES_LOG_WARN, "%s", note.text);
            continue;
        }
        es_key time_key = es_key_path_time(content, path);
        if (es_txn_get(x, ES_TABLE_TIMES, es_key_bytes(&time_key), &time_value, NULL) == ES_OK)
            es_record_read_time(time_value, &t, NULL);
        rc = visit(user, path, &t);
        free(path);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

int es_store_add_path(es_store *s, es_hash128 content, int track, const char *path, es_err *err)
{
    es_stored known;
    es_record r = {0};
    es_txn *x = NULL;
    struct stat st;
    int64_t mtime_ns = stat(path, &st) ? 0 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &known, err);
    if (!rc) rc = es_inside_put_path(x, &r, content, path, mtime_ns, err);
    rc = es_inside_end(s, x, rc, err);
    es_stored_done(&known);
    free(r.p);
    return rc;
}

/* ---- content hashes by file ---- */

bool es_store_cached_hash(es_store *s, uint64_t dev, uint64_t ino, uint64_t size, int64_t mtime_ns, es_hash128 *out)
{
    es_key k = es_key_file(dev, ino);
    es_txn *x = NULL;
    es_bytes value;
    es_file f;
    bool found;

    if (es_inside_begin(s, false, &x, NULL)) return false;
    found = es_txn_get(x, ES_TABLE_FILES, es_key_bytes(&k), &value, NULL) == ES_OK &&
            es_record_read_file(value, &f, NULL) == ES_OK && f.bytes == size && f.mtime_ns == mtime_ns;
    es_inside_end(s, x, ES_OK, NULL);
    if (found) *out = f.content;
    return found;
}

int es_store_cache_hash(es_store *s, uint64_t dev, uint64_t ino, uint64_t size, int64_t mtime_ns, es_hash128 content,
                        es_err *err)
{
    es_file f = {.bytes = size, .mtime_ns = mtime_ns, .content = content};
    es_record r = {0};
    es_txn *x = NULL;
    int rc = es_record_write_file(&r, &f, err);

    if (!rc) rc = es_inside_begin(s, true, &x, err);
    if (!rc) {
        rc = es_inside_put_record(x, ES_TABLE_FILES, es_key_file(dev, ino), &r, err);
        rc = es_inside_end(s, x, rc, err);
    }
    free(r.p);
    return rc;
}

/* Deletes the cached hashes that are this content's: the first entry found is deleted and the search goes on behind it,
 * since a cursor is not kept over a write. */
int es_inside_forget_files(es_txn *x, es_hash128 content, es_err *err)
{
    es_key at = {.n = 0};
    int rc;

    for (;;) {
        es_cursor *c = NULL;
        es_bytes key, value;
        es_file f;
        bool found = false;
        rc = es_cursor_open(&c, x, ES_TABLE_FILES, err);
        if (rc) return rc;
        for (rc = es_cursor_seek(c, es_key_bytes(&at), &key, &value, err); rc == ES_OK;
             rc = es_cursor_next(c, &key, &value, err)) {
            found = es_record_read_file(value, &f, NULL) == ES_OK &&
                    !memcmp(f.content.b, content.b, sizeof content.b) && key.n <= sizeof at.b;
            if (found) break;
        }
        if (found) {
            memcpy(at.b, key.p, key.n);
            at.n = key.n;
        }
        es_cursor_close(c);
        if (!found) return rc == ES_ENOTFOUND ? ES_OK : rc;
        rc = es_txn_delete(x, ES_TABLE_FILES, es_key_bytes(&at), err);
        if (rc) return rc;
    }
}
