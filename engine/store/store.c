/*
 * store.c - a recording's results go in and come out, each in one transaction.
 *
 * What is stored. Everything said of a recording follows from its bytes, the settings and the packs, so two libraries
 * that took in the same files in different orders hold the same records, byte for byte, but for the table `times`.
 * Paths are a set without an order; which of them was seen last is told by `times`.
 *
 *   put     segments and recording are replaced as a whole; older ones never show through
 *   get     one snapshot: a writer at work meanwhile changes nothing in it
 *   remove  all prefixes of the recording; what is the media's goes with its last recording. Freed pages keep their
 *           bytes until compact.c rebuilds the file
 *
 * Tables that later come with more results (turns, voices, passages, text vectors) hang on the recording's key in the
 * same way: they are added to of_recording below, written in put_all() and so committed with the rest.
 */
#define _GNU_SOURCE
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "store/inside.h"

static const int of_recording[] = {ES_TABLE_RECORDINGS, ES_TABLE_SEGMENTS};
static const int of_media[] = {ES_TABLE_PATHS};

/* ---- keys ---- */

static void key_add(es_key *k, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--) k->b[k->n++] = (uint8_t)(v >> 8 * i);
}

static void key_add_path(es_key *k, const char *path)
{
    es_hash128 h = es_hash_bytes(path, strlen(path));

    memcpy(k->b + k->n, h.b, sizeof h.b);
    k->n += sizeof h.b;
}

es_bytes es_key_bytes(const es_key *k)
{
    return (es_bytes){.p = k->b, .n = k->n};
}

es_key es_key_media(es_hash128 content)
{
    es_key k = {.n = 0};

    key_add(&k, es_hash_id(content), 8);
    return k;
}

es_key es_key_recording(es_hash128 content, int track)
{
    es_key k = es_key_media(content);

    key_add(&k, (uint64_t)track, 2);
    return k;
}

es_key es_key_segment(es_hash128 content, int track, uint32_t number)
{
    es_key k = es_key_recording(content, track);

    key_add(&k, number, 4);
    return k;
}

es_key es_key_path(es_hash128 content, const char *path)
{
    es_key k = es_key_media(content);

    key_add_path(&k, path);
    return k;
}

es_key es_key_file(uint64_t dev, uint64_t ino)
{
    es_key k = {.n = 0};

    key_add(&k, dev, 8);
    key_add(&k, ino, 8);
    return k;
}

es_key es_key_recording_time(es_hash128 content, int track)
{
    es_key k = {.b = {'r'}, .n = 1};

    key_add(&k, es_hash_id(content), 8);
    key_add(&k, (uint64_t)track, 2);
    return k;
}

es_key es_key_path_time(es_hash128 content, const char *path)
{
    es_key k = {.b = {'p'}, .n = 1};

    key_add(&k, es_hash_id(content), 8);
    key_add_path(&k, path);
    return k;
}

es_key es_key_schema(void)
{
    return (es_key){.b = "schema", .n = 6};
}

bool es_key_starts(es_bytes key, es_bytes prefix)
{
    return key.n >= prefix.n && !memcmp(key.p, prefix.p, prefix.n);
}

uint64_t es_key_number(const void *p, int n)
{
    const uint8_t *b = p;
    uint64_t v = 0;

    for (int i = 0; i < n; i++) v = v << 8 | b[i];
    return v;
}

/* ---- open, close, transactions ---- */

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

/* ---- results ---- */

void es_made_done(es_made *m)
{
    if (!m) return;
    free(m->settings);
    *m = (es_made){0};
}

void es_result_done(es_result *r)
{
    if (!r) return;
    es_media_info_done(&r->media);
    es_made_done(&r->made);
    es_transcript_done(&r->transcript);
    es_diarization_done(&r->who);
    es_passages_done(&r->passages);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int check_track(const es_store *s, int track, es_err *err)
{
    if (track >= 0 && track <= UINT16_MAX) return ES_OK;
    return es_fail(err, ES_EARG, "%s: track %d is outside 0 .. %d", s->folder.dir, track, UINT16_MAX);
}

/* The first recording of a media that parses; ES_ENOTFOUND without a sentence where there is none. */
static int first_of_media(es_txn *x, es_hash128 content, es_stored *out, int *track, es_err *err)
{
    es_key prefix = es_key_media(content);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_RECORDINGS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err); rc == ES_OK;
         rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        if (!es_key_starts(key, es_key_bytes(&prefix)) || key.n != 10) {
            rc = ES_ENOTFOUND;
            break;
        }
        if (es_record_read_recording(value, out, &note) == ES_OK) {
            *track = (int)es_key_number((const uint8_t *)key.p + 8, 2);
            break;
        }
        if (note.code == ES_ENEWER) {
            rc = es_fail(err, note.code, "%s", note.text);
            break;
        }
        es_log(ES_LOG_WARN, "%s", note.text);
    }
    es_cursor_close(c);
    return rc;
}

/* Another content with the same 64 bits. */
static int refuse_collision(es_txn *x, es_hash128 content, es_err *err)
{
    es_stored r;
    char have[33], want[33];
    int track, rc = first_of_media(x, content, &r, &track, err);

    if (rc == ES_ENOTFOUND) return ES_OK;
    if (rc) return rc;
    if (memcmp(r.media.content.b, content.b, sizeof content.b)) {
        es_hash_hex(have, r.media.content);
        es_hash_hex(want, content);
        rc = es_fail(err, ES_ELIBRARY,
                     "the contents %s and %s share their first 64 bits; a library can hold only one "
                     "of them",
                     want, have);
    }
    es_stored_done(&r);
    return rc;
}

static int put_record(es_txn *x, int table, es_key key, const es_record *r, es_err *err)
{
    return es_txn_put(x, table, es_key_bytes(&key), (es_bytes){r->p, r->n}, err);
}

static int put_path(es_txn *x, es_record *r, es_hash128 content, const char *path, int64_t mtime_ns, es_err *err)
{
    es_time seen = {.at_ms = now_ms(), .mtime_ns = mtime_ns};
    int rc;

    if (!path || !*path) return ES_OK; /* samples from memory have none */
    rc = es_record_write_path(r, path, err);
    if (!rc) rc = put_record(x, ES_TABLE_PATHS, es_key_path(content, path), r, err);
    if (!rc) rc = es_record_write_time(r, &seen, err);
    if (!rc) rc = put_record(x, ES_TABLE_TIMES, es_key_path_time(content, path), r, err);
    return rc;
}

static int put_all(es_txn *x, es_record *r, const es_result *result, es_err *err)
{
    const es_media_info *m = &result->media;
    es_time written = {.at_ms = now_ms()};
    es_key recording = es_key_recording(m->content, m->track);
    int rc = refuse_collision(x, m->content, err);

    for (size_t i = 0; !rc && i < sizeof of_recording / sizeof *of_recording; i++)
        rc = es_txn_delete_prefix(x, of_recording[i], es_key_bytes(&recording), NULL, err);
    if (!rc) rc = es_record_write_recording(r, result, err);
    if (!rc) rc = put_record(x, ES_TABLE_RECORDINGS, recording, r, err);
    for (size_t i = 0; !rc && i < result->transcript.n_segments; i++) {
        rc = es_record_write_segment(r, &result->transcript, i, err);
        if (!rc) rc = put_record(x, ES_TABLE_SEGMENTS, es_key_segment(m->content, m->track, (uint32_t)i), r, err);
    }
    if (!rc) rc = put_path(x, r, m->content, m->path, m->mtime_ns, err);
    if (!rc) rc = es_record_write_time(r, &written, err);
    if (!rc) rc = put_record(x, ES_TABLE_TIMES, es_key_recording_time(m->content, m->track), r, err);
    return rc;
}

int es_store_put(es_store *s, const es_result *r, es_err *err)
{
    es_record record = {0};
    es_txn *x = NULL;
    int rc = check_track(s, r->media.track, err);

    if (!rc) rc = es_inside_begin(s, true, &x, err);
    if (rc) return rc;
    rc = put_all(x, &record, r, err);
    rc = es_inside_end(s, x, rc, err);
    free(record.p);
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

/* Keeps the path that comes first in the order of bytes: which one it is must not depend on which was seen first. */
static int keep_first_path(void *user, const char *path, const es_time *t)
{
    es_media_info *m = user;
    char *copy;

    if (m->path && strcmp(m->path, path) <= 0) return ES_OK;
    copy = strdup(path);
    if (!copy) return ES_ENOMEM;
    free(m->path);
    m->path = copy;
    m->mtime_ns = t->mtime_ns;
    return ES_OK;
}

/* The recording's record with its path; ES_ENOTFOUND with a sentence. *track -1 becomes the first that is there. */
static int get_recording(es_store *s, es_txn *x, es_hash128 content, int *track, es_stored *out, es_err *err)
{
    char hex[33];
    int rc;

    *out = (es_stored){0};
    if (*track < 0) {
        rc = first_of_media(x, content, out, track, err);
    } else {
        es_key k = es_key_recording(content, *track);
        es_bytes value;
        rc = check_track(s, *track, err);
        if (!rc) rc = es_txn_get(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), &value, err);
        if (!rc) rc = es_record_read_recording(value, out, err);
    }
    if (!rc && memcmp(out->media.content.b, content.b, sizeof content.b)) rc = ES_ENOTFOUND;
    if (!rc) rc = es_inside_paths(x, content, keep_first_path, &out->media, err);
    if (rc) es_stored_done(out);
    es_hash_hex(hex, content);
    if (rc == ES_ENOTFOUND) es_fail(err, rc, "%s: has no recording with the content %s", s->folder.dir, hex);
    if (rc == ES_ENOMEM) es_fail(err, rc, "not enough memory to read the recording %s", hex);
    return rc;
}

static int get_segments(es_txn *x, es_hash128 content, int track, es_transcript *out, es_err *err)
{
    es_key prefix = es_key_recording(content, track);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_SEGMENTS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        int parsed = es_record_read_segment(value, out, &note);
        if (parsed == ES_EFORMAT) es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
        else if (parsed) rc = es_fail(err, parsed, "%s", note.text);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

int es_store_get(es_store *s, es_hash128 content, int track, es_result *out, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_result){0};
    if (rc) return rc;
    rc = get_recording(s, x, content, &track, &r, err);
    if (!rc) {
        *out = (es_result){.media = r.media, .made = r.made}; /* owned by out from here on */
        memcpy(out->transcript.language, r.language, sizeof r.language);
        out->transcript.language_probability = r.language_probability;
        rc = get_segments(x, content, track, &out->transcript, err);
    }
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_result_done(out);
    return rc;
}

int es_store_get_info(es_store *s, es_hash128 content, int track, es_media_info *media, es_made *made, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *media = (es_media_info){0};
    *made = (es_made){0};
    if (rc) return rc;
    rc = get_recording(s, x, content, &track, &r, err);
    rc = es_inside_end(s, x, rc, err);
    if (rc) return rc;
    *media = r.media;
    *made = r.made;
    return ES_OK;
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
    rc = get_recording(s, x, content, &track, &known, err);
    if (!rc) rc = put_path(x, &r, content, path, mtime_ns, err);
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
        rc = put_record(x, ES_TABLE_FILES, es_key_file(dev, ino), &r, err);
        rc = es_inside_end(s, x, rc, err);
    }
    free(r.p);
    return rc;
}

/* ---- remove ---- */

/* Deletes the cached hashes that are this content's: the first entry found is deleted and the search goes on behind it,
 * since a cursor is not kept over a write. */
static int forget_files(es_txn *x, es_hash128 content, es_err *err)
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

static int forget_media(es_txn *x, es_hash128 content, es_err *err)
{
    es_key media = es_key_media(content), seen = {.b = {'p'}, .n = 1};
    int rc = ES_OK;

    for (size_t i = 0; !rc && i < sizeof of_media / sizeof *of_media; i++)
        rc = es_txn_delete_prefix(x, of_media[i], es_key_bytes(&media), NULL, err);
    key_add(&seen, es_hash_id(content), 8);
    if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_TIMES, es_key_bytes(&seen), NULL, err);
    if (!rc) rc = forget_files(x, content, err);
    return rc;
}

static bool has_prefix(es_txn *x, int table, es_bytes prefix)
{
    es_cursor *c = NULL;
    es_bytes key, value;
    bool found = false;

    if (es_cursor_open(&c, x, table, NULL)) return true; /* rather keep the paths */
    found = es_cursor_seek(c, prefix, &key, &value, NULL) == ES_OK && es_key_starts(key, prefix);
    es_cursor_close(c);
    return found;
}

int es_store_remove(es_store *s, es_hash128 content, int track, es_err *err)
{
    es_key prefix, times, media = es_key_media(content);
    es_stored known;
    es_err note = {0};
    es_txn *x = NULL;
    int first = track, rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = get_recording(s, x, content, &first, &known, &note);
    if (rc == ES_OK) es_stored_done(&known);
    else if (rc == ES_EFORMAT) rc = ES_OK; /* a damaged record can at least be removed */
    else es_fail(err, rc, "%s", note.text);
    prefix = track < 0 ? media : es_key_recording(content, track);
    times = (es_key){.b = {'r'}, .n = 1 + prefix.n};
    memcpy(times.b + 1, prefix.b, prefix.n);
    for (size_t i = 0; !rc && i < sizeof of_recording / sizeof *of_recording; i++)
        rc = es_txn_delete_prefix(x, of_recording[i], es_key_bytes(&prefix), NULL, err);
    if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_TIMES, es_key_bytes(&times), NULL, err);
    if (!rc && !has_prefix(x, ES_TABLE_RECORDINGS, es_key_bytes(&media))) rc = forget_media(x, content, err);
    return es_inside_end(s, x, rc, err);
}
