/*
 * seen.c - see seen.h.
 *
 * A file is complete a moment after it was closed, since programs close and open once more; or when it has stayed as it is for
 * a while; or at once where its own times say that it has done so long before it was found. One that is changed by somebody who
 * has it open is not, however long the pauses are.
 *
 * Its bytes are known by where they are, how many, and when they were changed. The time of the inode is asked only for whether
 * a file rests; a changed owner makes no new recording.
 */
#define _GNU_SOURCE
#include "pipeline/seen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "media/decode.h"

#define CLOSED        0.3  /* seconds that a closed file must stay closed */
#define OLD           60.0 /* by the clock of the file system: found like this, it is complete */
#define PARTNER_AGAIN 1.0  /* between looks for talk.mp4.part */

double es_seen_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- names ---- */

static bool ends_in(const char *name, size_t n, const char *ending)
{
    size_t k = strlen(ending);

    return n > k && !strncasecmp(name + n - k, ending, k);
}

/* talk.part.mp4 and its like: of a program that names the file anew when it is complete. */
static bool is_on_its_way(const char *name)
{
    static const char *const stem[] = {".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".incomplete", ".unfinished"};
    const char *dot = strrchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);

    if (*name == '.' || *name == '~') return true;
    for (size_t i = 0; i < sizeof stem / sizeof stem[0]; i++)
        if (ends_in(name, n, stem[i])) return true;
    return false;
}

/* Something beside it says that it is on its way. */
static bool has_partner(const char *path)
{
    static const char *const ending[] = {".part", ".aria2", ".crdownload", ".!qB", ".!ut", ".tmp"};
    char *beside = NULL;
    bool any = false;

    for (size_t i = 0; i < sizeof ending / sizeof ending[0] && !any; i++) {
        if (asprintf(&beside, "%s%s", path, ending[i]) < 0) return false;
        any = access(beside, F_OK) == 0;
        free(beside);
    }
    return any;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_wanted(const char *path)
{
    return !is_on_its_way(base_of(path)) && es_media_is_media_name(path);
}

/* ---- the table of files ---- */

static size_t slot_of(const es_seen *s, const char *path)
{
    es_hash128 h = es_hash_bytes(path, strlen(path));
    uint64_t at = 0;

    memcpy(&at, h.b, sizeof at);
    for (size_t i = (size_t)(at % s->n_slots);; i = (i + 1) % s->n_slots) {
        if (!s->slots[i]) return i;
        const es_seen_file *f = &s->files[s->slots[i] - 1];
        if (f->path && !strcmp(f->path, path)) return i;
    }
}

es_seen_file *es_seen_find(const es_seen *s, const char *path)
{
    size_t i = s->n_slots ? slot_of(s, path) : 0;

    return s->n_slots && s->slots[i] ? &s->files[s->slots[i] - 1] : NULL;
}

/* Packs the files and makes the table anew, with room for more. */
static bool rebuild(es_seen *s)
{
    size_t n = 0, n_slots = 64;

    while (n_slots < 4 * (s->n - s->n_gone + 1)) n_slots *= 2;
    size_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < s->n; i++)
        if (s->files[i].path) s->files[n++] = s->files[i];
    s->n = n, s->n_gone = 0;
    free(s->slots);
    s->slots = slots, s->n_slots = n_slots;
    for (size_t i = 0; i < n; i++) s->slots[slot_of(s, s->files[i].path)] = i + 1;
    return true;
}

static es_seen_file *add(es_seen *s, const char *path)
{
    if (2 * (s->n + 1) > s->n_slots && !rebuild(s)) return NULL;
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        es_seen_file *files = realloc(s->files, room * sizeof *files);
        if (!files) return NULL;
        s->files = files, s->room = room;
    }
    char *kept = strdup(path);
    if (!kept) return NULL;
    size_t slot = slot_of(s, kept);
    s->files[s->n] = (es_seen_file){.path = kept};
    s->slots[slot] = ++s->n;
    return &s->files[s->n - 1];
}

void es_seen_forget(es_seen *s, es_seen_file *f)
{
    free(f->path);
    f->path = NULL; /* its slot stays taken until the table is made anew */
    s->n_gone++;
}

/* ---- what is seen of a file ---- */

static bool same_bytes(const es_stamp *x, const es_stamp *y)
{
    return x->dev == y->dev && x->ino == y->ino && x->bytes == y->bytes && x->mtime_ns == y->mtime_ns;
}

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* True where its times say that nobody has touched it for long. A clock that runs ahead says nothing. */
static bool has_rested(const es_stamp *at)
{
    struct timespec t;
    int64_t last = at->mtime_ns > at->ctime_ns ? at->mtime_ns : at->ctime_ns;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)(ns_of(t) - last) * 1e-9 >= OLD;
}

/* The file as it is now; false where there is none any more. */
static bool stamp_of(es_stamp *at, const char *path)
{
    struct stat st;

    if (stat(path, &st) || !S_ISREG(st.st_mode)) return false;
    *at = (es_stamp){.dev = (uint64_t)st.st_dev,
                     .ino = (uint64_t)st.st_ino,
                     .bytes = (uint64_t)st.st_size,
                     .mtime_ns = ns_of(st.st_mtim),
                     .ctime_ns = ns_of(st.st_ctim)};
    return true;
}

/* Takes the stamp over, with what it says. */
static void update(es_seen_file *f, const es_stamp *at, es_news news)
{
    bool changed = !same_bytes(&f->at, at);

    if (changed || f->at.ctime_ns != at->ctime_ns || news != ES_NEWS_FOUND) f->since = es_seen_now();
    if (changed || news == ES_NEWS_CHANGED) f->given = f->closed = f->old = false;
    if (news == ES_NEWS_CHANGED) f->writing = true;
    if (news == ES_NEWS_WHOLE) f->writing = false, f->closed = true;
    f->at = *at;
}

bool es_seen_note(es_seen *s, const char *path, es_news news)
{
    es_stamp at;
    es_seen_file *f;

    if (!is_wanted(path)) return true;
    f = es_seen_find(s, path);
    if (!stamp_of(&at, path)) {
        if (f) es_seen_forget(s, f);
        return true;
    }
    if (!f) {
        f = add(s, path);
        if (!f) return false;
        f->at = at, f->since = es_seen_now();
        f->old = news == ES_NEWS_FOUND && has_rested(&at);
    }
    update(f, &at, news);
    f->look = s->look;
    return true;
}

static double rest_of(const es_seen *s, const es_seen_file *f)
{
    return f->closed ? CLOSED : f->old ? 0 : s->settle_seconds;
}

double es_seen_due(const es_seen *s, const es_seen_file *f)
{
    if (!f->path || f->given || f->writing || !f->at.bytes) return -1;
    double left = f->since + rest_of(s, f) - es_seen_now();
    return left > 0 ? left : 0;
}

bool es_seen_is_whole(es_seen *s, es_seen_file *f)
{
    es_stamp at;

    if (!stamp_of(&at, f->path)) {
        es_seen_forget(s, f);
        return false;
    }
    if (!same_bytes(&at, &f->at) || at.ctime_ns != f->at.ctime_ns) { /* it did not rest after all */
        update(f, &at, ES_NEWS_FOUND);
        return false;
    }
    if (!has_partner(f->path)) return true;
    f->since = es_seen_now() + PARTNER_AGAIN - rest_of(s, f);
    return false;
}

void es_seen_done(es_seen *s)
{
    for (size_t i = 0; i < s->n; i++) free(s->files[i].path);
    free(s->files);
    free(s->slots);
    *s = (es_seen){0};
}
