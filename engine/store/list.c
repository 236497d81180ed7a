/*
 * list.c - all recordings in order, and the one that a name means.
 *
 * Both gather (path, content, track) of everything first and let the snapshot go before the caller is called: a visitor
 * may take its time, or write, and a long reading transaction would keep old pages alive. A recording of a media with
 * several paths is gathered once for the list (under the first path in the order of bytes) and once per path for a
 * name.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/inside.h"

typedef struct item {
    char *path; /* "" where none is known; owned */
    es_hash128 content;
    int track;
} item;

typedef struct items {
    item *p;
    size_t n, room;
    es_hash128 content; /* of the media whose paths are being gathered */
    int track;
    bool all_paths;
    bool had_path;
} items;

static void items_done(items *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->p[i].path);
    free(l->p);
}

static int add_item(items *l, const char *path)
{
    char *copy = strdup(path);

    if (copy && l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        item *moved = realloc(l->p, room * sizeof *moved);
        if (!moved) {
            free(copy);
            return ES_ENOMEM;
        }
        l->p = moved;
        l->room = room;
    }
    if (!copy) return ES_ENOMEM;
    l->p[l->n++] = (item){.path = copy, .content = l->content, .track = l->track};
    return ES_OK;
}

static int add_path(void *user, const char *path, const es_time *t)
{
    items *l = user;
    item *last = l->n ? &l->p[l->n - 1] : NULL;

    (void)t;
    if (l->had_path && !l->all_paths) { /* the list shows the first in the order of bytes */
        char *copy;
        if (strcmp(last->path, path) <= 0) return ES_OK;
        copy = strdup(path);
        if (!copy) return ES_ENOMEM;
        free(last->path);
        last->path = copy;
        return ES_OK;
    }
    l->had_path = true;
    return add_item(l, path);
}

static int by_path(const void *a, const void *b)
{
    const item *x = a, *y = b;
    int order = strcmp(x->path, y->path);

    if (order == 0) order = memcmp(x->content.b, y->content.b, sizeof x->content.b);
    return order ? order : x->track - y->track;
}

static int gather(es_store *s, items *l, bool all_paths, es_err *err)
{
    es_txn *x = NULL;
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_inside_begin(s, false, &x, err);

    *l = (items){.all_paths = all_paths};
    if (rc) return rc;
    rc = es_cursor_open(&c, x, ES_TABLE_RECORDINGS, err);
    if (!rc) rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err);
    for (; rc == ES_OK; rc = es_cursor_next(c, &key, &value, err)) {
        es_stored r;
        es_err note = {0};
        if (es_record_read_recording(value, &r, &note)) {
            es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
            continue;
        }
        l->content = r.media.content;
        l->track = r.media.track;
        l->had_path = false;
        es_stored_done(&r);
        rc = es_inside_paths(x, l->content, add_path, l, err);
        if (!rc && !l->had_path) rc = add_item(l, "");
        if (rc) break;
    }
    es_cursor_close(c);
    if (rc == ES_ENOTFOUND) rc = ES_OK;
    if (rc == ES_ENOMEM) es_fail(err, rc, "not enough memory to list the library");
    rc = es_inside_end(s, x, rc, err);
    if (rc) {
        items_done(l);
        *l = (items){0};
    } else if (l->n) {
        qsort(l->p, l->n, sizeof *l->p, by_path);
    }
    return rc;
}

/* What the list shows of one recording; ES_ENOTFOUND where it has gone since it was gathered. */
static int read_entry(es_store *s, const item *i, es_entry *e, es_err *err)
{
    es_key k = es_key_recording(i->content, i->track), time_key = es_key_recording_time(i->content, i->track);
    es_stored r = {0};
    es_time t = {0};
    es_txn *x = NULL;
    es_bytes value;
    int rc = es_inside_begin(s, false, &x, err);

    if (rc) return rc;
    rc = es_txn_get(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), &value, err);
    if (!rc) rc = es_record_read_recording(value, &r, err);
    if (!rc && es_txn_get(x, ES_TABLE_TIMES, es_key_bytes(&time_key), &value, NULL) == ES_OK)
        es_record_read_time(value, &t, NULL);
    rc = es_inside_end(s, x, rc, err);
    if (rc) return rc;
    *e = (es_entry){.media = r.media,
                    .made = r.made,
                    .n_segments = r.n_segments,
                    .n_words = r.n_words,
                    .n_passages = r.n_passages,
                    .has_who = r.has_who,
                    .ingested_ms = t.at_ms};
    memcpy(e->language, r.language, sizeof r.language);
    return ES_OK;
}

int es_store_list(es_store *s, int (*visit)(void *user, const es_entry *e), void *user, es_err *err)
{
    items l;
    int rc = gather(s, &l, false, err);

    for (size_t i = 0; !rc && i < l.n; i++) {
        es_entry e;
        es_err note = {0};
        int read = read_entry(s, &l.p[i], &e, &note);
        if (read == ES_ENOTFOUND || read == ES_EFORMAT) continue;
        if (read) {
            rc = es_fail(err, read, "%s", note.text);
            break;
        }
        if (l.p[i].path[0]) {
            e.media.path = l.p[i].path; /* owned by e from here on */
            l.p[i].path = NULL;
        }
        rc = visit(user, &e);
        es_media_info_done(&e.media);
        es_made_done(&e.made);
    }
    items_done(&l);
    return rc;
}

/* ---- paths of one content ---- */

typedef struct seen {
    char *path;
    int64_t at_ms;
} seen;

typedef struct seen_list {
    seen *p;
    size_t n;
} seen_list;

static int add_seen(void *user, const char *path, const es_time *t)
{
    seen_list *l = user;
    seen *moved = realloc(l->p, (l->n + 1) * sizeof *moved);

    if (!moved) return ES_ENOMEM;
    l->p = moved;
    l->p[l->n] = (seen){.path = strdup(path), .at_ms = t->at_ms};
    return l->p[l->n++].path ? ES_OK : ES_ENOMEM;
}

static int by_time(const void *a, const void *b)
{
    const seen *x = a, *y = b;

    if (x->at_ms != y->at_ms) return x->at_ms > y->at_ms ? -1 : 1;
    return strcmp(x->path, y->path);
}

int es_store_paths(es_store *s, es_hash128 content, int (*visit)(void *user, const char *path, int64_t seen_ms),
                   void *user, es_err *err)
{
    seen_list l = {0};
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    if (rc) return rc;
    rc = es_inside_paths(x, content, add_seen, &l, err);
    rc = es_inside_end(s, x, rc, err);
    if (rc == ES_ENOMEM) es_fail(err, rc, "not enough memory to list the paths of a recording");
    if (!rc && l.n) qsort(l.p, l.n, sizeof *l.p, by_time);
    for (size_t i = 0; !rc && i < l.n; i++) rc = visit(user, l.p[i].path, l.p[i].at_ms);
    for (size_t i = 0; i < l.n; i++) free(l.p[i].path);
    free(l.p);
    return rc;
}

/* ---- names ---- */

enum { LEAST_DIGITS = 6, TOLD_CANDIDATES = 4 };

typedef bool (*fits)(const item *i, const char *name);

static bool fits_path(const item *i, const char *name)
{
    return !strcmp(i->path, name);
}

static bool fits_file_name(const item *i, const char *name)
{
    const char *slash = strrchr(i->path, '/');

    return *name && !strcmp(slash ? slash + 1 : i->path, name);
}

static bool fits_hash(const item *i, const char *name)
{
    char hex[33];
    size_t n = strlen(name);

    es_hash_hex(hex, i->content);
    return n >= LEAST_DIGITS && n <= 32 && !strncasecmp(hex, name, n);
}

static bool same(const item *a, const item *b)
{
    return a->track == b->track && !memcmp(a->content.b, b->content.b, sizeof a->content.b);
}

static void tell_candidates(const items *l, fits fit, const char *name, int track, es_err *err)
{
    char text[700] = "", hex[33];
    int told = 0;

    for (size_t i = 0; i < l->n; i++) {
        size_t at = strlen(text);
        if (!fit(&l->p[i], name) || (track >= 0 && l->p[i].track != track)) continue;
        if (told++ >= TOLD_CANDIDATES) continue;
        es_hash_hex(hex, l->p[i].content);
        snprintf(text + at, sizeof text - at, "%s%.12s#%d %.120s", at ? ", " : "", hex, l->p[i].track, l->p[i].path);
    }
    if (told > TOLD_CANDIDATES)
        es_fail(err, ES_EARG, "%s: fits %d recordings: %s and %d more; name one by its digits", name, told, text,
                told - TOLD_CANDIDATES);
    else es_fail(err, ES_EARG, "%s: fits %d recordings: %s; name one by its digits", name, told, text);
}

/* ES_OK, ES_ENOTFOUND without a sentence, or ES_EARG. */
static int find(const items *l, fits fit, const char *name, int track, const item **out, es_err *err)
{
    const item *found = NULL;

    for (size_t i = 0; i < l->n; i++) {
        if (!fit(&l->p[i], name) || (track >= 0 && l->p[i].track != track)) continue;
        if (found && !same(found, &l->p[i])) {
            tell_candidates(l, fit, name, track, err);
            return ES_EARG;
        }
        found = &l->p[i];
    }
    *out = found;
    return found ? ES_OK : ES_ENOTFOUND;
}

static int find_any(const items *l, const char *name, int track, const item **out, es_err *err)
{
    static const fits ways[] = {fits_path, fits_path, fits_file_name, fits_hash};
    int rc = ES_ENOTFOUND;

    for (size_t i = 0; rc == ES_ENOTFOUND && i < sizeof ways / sizeof *ways; i++) {
        char *real = i == 1 ? realpath(name, NULL) : NULL; /* the second way: as the library would have noted it */
        if (i != 1 || real) rc = find(l, ways[i], real ? real : name, track, out, err);
        free(real);
    }
    return rc;
}

/* name without a trailing #N, and N; false where there is none. */
static bool split_track(const char *name, char **bare, int *track)
{
    const char *mark = strrchr(name, '#');
    char *end;
    long n;

    *bare = NULL;
    if (!mark || mark == name || mark[1] < '0' || mark[1] > '9') return false;
    n = strtol(mark + 1, &end, 10);
    if (*end || n > UINT16_MAX) return false;
    *track = (int)n;
    *bare = strndup(name, (size_t)(mark - name));
    return *bare != NULL;
}

int es_store_resolve(es_store *s, const char *name, es_hash128 *content, int *track, es_err *err)
{
    items l;
    const item *found = NULL;
    char *bare = NULL;
    int wanted = -1, rc = gather(s, &l, true, err);

    if (rc) return rc;
    rc = find_any(&l, name, -1, &found, err); /* a file may well have a # in its name */
    if (rc == ES_ENOTFOUND && split_track(name, &bare, &wanted)) rc = find_any(&l, bare, wanted, &found, err);
    if (rc == ES_ENOTFOUND)
        es_fail(err, rc, "%s: no recording in %s has this path, file name or hash", name, s->folder.dir);
    if (!rc) {
        *content = found->content;
        *track = found->track;
    }
    free(bare);
    items_done(&l);
    return rc;
}
