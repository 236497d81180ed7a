/*
 * arrivals.c - see arrivals.h.
 *
 *     inotify -> [close, move]  -> closed      complete a moment later: programs close and open once more
 *             -> [change]       -> writing     not complete until it is closed, however long the pauses are
 *     a look  -> size and times -> unchanged   complete when that has lasted
 *
 * A look at everything is the answer to whatever events may have left out: at the start, when the queue ran over, every
 * minute, and every few seconds where the folders lie on another machine or cannot be listened to. Nothing depends on an event
 * but how soon a file is taken - except `writing`, which an overflow therefore forgets.
 *
 * What does not show: a copy over the network that pauses longer than a file has to rest. It is taken too early, and then
 * either fails, since it changed while it was read, or is taken again when it has grown.
 */
#define _GNU_SOURCE
#include "pipeline/arrivals.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/inotify.h>
#include <sys/vfs.h>
#endif

#include "pipeline/seen.h"
#include "pipeline/walk.h"

#define SETTLE       5.0  /* seconds */
#define LOOK_TOLD    60.0 /* between looks where the system tells of changes */
#define LOOK_UNTOLD  2.0
#define LOOK_SHARE   20   /* of the time at most one part is spent looking */

typedef struct folder {
    int watch;
    char *path;
} folder;

struct es_arrivals {
    char **roots;
    bool *missing; /* told so */
    size_t n_roots;
    es_arrivals_options o;
    int fd;            /* of inotify, -1 where there is none */
    bool remote;       /* a root lies where changes come from elsewhere */
    folder *folders;   /* that are listened to, by number */
    size_t n_folders, room_folders;
    es_seen seen;
    char **taken;
    size_t n_taken;
    double looked, look_seconds;
    bool look_now;
};

/* ---- folders ---- */

#ifdef __linux__

static void unlisten(es_arrivals *a, size_t i, bool remove)
{
    if (remove) inotify_rm_watch(a->fd, a->folders[i].watch);
    free(a->folders[i].path);
    a->folders[i] = a->folders[--a->n_folders];
}

static folder *folder_of(es_arrivals *a, int watch)
{
    for (size_t i = a->n_folders; i-- > 0;)
        if (a->folders[i].watch == watch) return &a->folders[i];
    return NULL;
}

/* No more events from here on: everything is looked at instead. */
static void stop_listening(es_arrivals *a, const char *why)
{
    char text[256];

    if (a->fd < 0) return;
    close(a->fd);
    a->fd = -1;
    for (size_t i = 0; i < a->n_folders; i++) free(a->folders[i].path);
    a->n_folders = 0;
    for (size_t i = 0; i < a->seen.n; i++) a->seen.files[i].writing = false;
    snprintf(text, sizeof text, "the system does not tell of changes (%s); every few seconds all files are looked at", why);
    if (a->o.note) a->o.note(a->o.user, a->roots[0], text);
}

/* The same folder has the same number, under whatever name it is listened to. */
static void listen_to(void *user, const char *path)
{
    const uint32_t mask = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;
    es_arrivals *a = user;

    if (a->fd < 0) return;
    int watch = inotify_add_watch(a->fd, path, mask);
    if (watch < 0) {
        /* A folder that is gone or may not be read is the walk's to tell. */
        if (errno == ENOSPC || errno == ENOMEM)
            stop_listening(a, errno == ENOSPC ? "fs.inotify.max_user_watches is used up" : strerror(errno));
        return;
    }
    char *kept = strdup(path);
    folder *f = folder_of(a, watch);
    if (!f && a->n_folders == a->room_folders) {
        size_t room = a->room_folders ? 2 * a->room_folders : 16;
        folder *folders = realloc(a->folders, room * sizeof *folders);
        if (folders) a->folders = folders, a->room_folders = room;
    }
    if (!kept || (!f && a->n_folders == a->room_folders)) {
        free(kept);
        stop_listening(a, "not enough memory");
        return;
    }
    if (!f) {
        f = &a->folders[a->n_folders++];
        *f = (folder){.watch = watch};
    }
    free(f->path);
    f->path = kept;
}

static bool is_below(const char *path, const char *folder_path)
{
    size_t n = strlen(folder_path);

    return !strncmp(path, folder_path, n) && (path[n] == '/' || !path[n]);
}

static void forget_below(es_arrivals *a, const char *path)
{
    for (size_t i = a->n_folders; i-- > 0;)
        if (is_below(a->folders[i].path, path)) unlisten(a, i, true);
    for (size_t i = 0; i < a->seen.n; i++)
        if (a->seen.files[i].path && is_below(a->seen.files[i].path, path)) es_seen_forget(&a->seen, &a->seen.files[i]);
}

/* True for what other machines may change without this one's being told. */
static bool is_remote(const char *path)
{
    static const unsigned long kind[] = {0x6969 /* NFS */,   0x517B /* SMB */,       0xFF534D42 /* CIFS */, 0xFE534D42 /* SMB2 */,
                                         0x65735546 /* FUSE */, 0x01021997 /* 9P */, 0x00C36400 /* Ceph */, 0x5346414F /* AFS */};
    struct statfs fs;

    if (statfs(path, &fs)) return false;
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++)
        if (((unsigned long)fs.f_type & 0xFFFFFFFFul) == kind[i]) return true;
    return false;
}

#else
static void listen_to(void *user, const char *path)
{
    (void)user, (void)path;
}
#endif

/* ---- looking ---- */

static void see(es_arrivals *a, const char *path, es_news news)
{
    if (!es_seen_note(&a->seen, path, news)) a->look_now = true; /* it is found again when there is memory */
}

/* Everything in a folder and below it; root: its number, or SIZE_MAX for one that just came. */
static void look_below(es_arrivals *a, const char *path, size_t root)
{
    es_walk walk = {.may_be_empty = true, .enter = listen_to, .user = a};
    es_err err = {0};
    struct stat st;
    bool there = stat(path, &st) == 0 && S_ISDIR(st.st_mode);

    if (root != SIZE_MAX && !there && !a->missing[root] && a->o.note)
        a->o.note(a->o.user, path, "the folder is not there any more; it is looked for again and again");
    if (root != SIZE_MAX) a->missing[root] = !there;
    if (!there) return;
    if (es_walk_add(&walk, path, NULL, NULL, &err) != ES_OK) a->look_now = true; /* out of memory: once more, later */
    for (size_t i = 0; i < walk.n; i++)
        if (!walk.files[i].fault) see(a, walk.files[i].path, ES_NEWS_FOUND);
    es_walk_done(&walk);
}

static void look(es_arrivals *a)
{
    double began = es_seen_now();
    bool whole = true;

    a->seen.look++;
    a->look_now = false;
    for (size_t i = 0; i < a->n_roots; i++) {
        look_below(a, a->roots[i], i);
        whole = whole && !a->missing[i];
    }
    /* What was not seen is gone; but a disk that was unplugged will come back, and its files are known then. */
    for (size_t i = 0; i < a->seen.n && whole && !a->look_now; i++)
        if (a->seen.files[i].path && a->seen.files[i].look != a->seen.look) es_seen_forget(&a->seen, &a->seen.files[i]);
    a->looked = es_seen_now();
    a->look_seconds = a->looked - began;
}

/* Seconds between looks. */
static double pause_of(const es_arrivals *a)
{
    bool told = a->fd >= 0 && !a->remote;

    for (size_t i = 0; i < a->n_roots; i++) told = told && !a->missing[i];
    double pause = told ? LOOK_TOLD : a->o.look_seconds;
    return a->look_seconds * LOOK_SHARE > pause ? a->look_seconds * LOOK_SHARE : pause;
}

/* ---- hearing ---- */

#ifdef __linux__
static void hear_one(es_arrivals *a, const struct inotify_event *e)
{
    char *path = NULL;

    if (e->mask & IN_Q_OVERFLOW) {
        for (size_t i = 0; i < a->seen.n; i++) a->seen.files[i].writing = false; /* its end may be among what was lost */
        a->look_now = true;
        return;
    }
    folder *f = folder_of(a, e->wd);
    if (!f) return; /* of a folder that was moved away meanwhile */
    if (e->mask & (IN_IGNORED | IN_UNMOUNT)) {
        unlisten(a, (size_t)(f - a->folders), false);
        a->look_now = true; /* it may be a root, and may be there again */
        return;
    }
    if (!e->len || e->name[0] == '.') return;
    if (asprintf(&path, "%s%s%s", f->path, f->path[strlen(f->path) - 1] == '/' ? "" : "/", e->name) < 0) {
        a->look_now = true;
        return;
    }
    if (e->mask & IN_ISDIR) {
        if (e->mask & IN_MOVED_FROM) forget_below(a, path);
        if (e->mask & (IN_CREATE | IN_MOVED_TO)) look_below(a, path, SIZE_MAX);
    } else if (e->mask & (IN_MOVED_FROM | IN_DELETE)) {
        es_seen_file *gone = es_seen_find(&a->seen, path);
        if (gone) es_seen_forget(&a->seen, gone);
    } else {
        see(a, path, e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO) ? ES_NEWS_WHOLE : e->mask & IN_MODIFY ? ES_NEWS_CHANGED : ES_NEWS_FOUND);
    }
    free(path);
}

void es_arrivals_hear(es_arrivals *a)
{
    _Alignas(struct inotify_event) char bytes[16384];

    while (a->fd >= 0) {
        ssize_t n = read(a->fd, bytes, sizeof bytes);
        if (n <= 0) return;
        for (ssize_t at = 0; at < n && a->fd >= 0;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)(bytes + at);
            at += (ssize_t)(sizeof *e + e->len);
            hear_one(a, e);
        }
    }
}
#else
void es_arrivals_hear(es_arrivals *a)
{
    (void)a;
}
#endif

void es_arrivals_wait(es_arrivals *a, int most_ms)
{
    double least = a->looked + pause_of(a) - es_seen_now();

    for (size_t i = 0; i < a->seen.n; i++) {
        double d = es_seen_due(&a->seen, &a->seen.files[i]);
        if (d >= 0 && d < least) least = d < 0.02 ? 0.02 : d;
    }
    if (least < 0 || a->look_now) least = 0;
    int ms = least * 1000 < most_ms ? (int)(least * 1000) + 1 : most_ms;
    struct pollfd p = {.fd = a->fd, .events = POLLIN};
    poll(&p, a->fd >= 0 ? 1 : 0, ms);
    es_arrivals_hear(a);
}

int es_arrivals_take(es_arrivals *a, const char *const **paths, size_t *n, es_err *err)
{
    size_t count = 0;

    *paths = NULL, *n = 0;
    es_arrivals_hear(a);
    if (a->look_now || es_seen_now() - a->looked >= pause_of(a)) look(a);
    for (size_t i = 0; i < a->n_taken; i++) free(a->taken[i]);
    free(a->taken);
    a->taken = NULL, a->n_taken = 0;
    for (size_t i = 0; i < a->seen.n; i++) count += es_seen_due(&a->seen, &a->seen.files[i]) == 0;
    if (!count) return ES_OK;
    a->taken = calloc(count, sizeof *a->taken);
    if (!a->taken) return es_fail(err, ES_ENOMEM, "not enough memory for the names of %zu files", count);
    for (size_t i = 0; i < a->seen.n && a->n_taken < count; i++) {
        es_seen_file *f = &a->seen.files[i];
        if (es_seen_due(&a->seen, f) != 0 || !es_seen_is_whole(&a->seen, f)) continue;
        char *copy = strdup(f->path);
        if (!copy) break; /* given the next time */
        a->taken[a->n_taken++] = copy;
        f->given = true;
    }
    *paths = (const char *const *)a->taken;
    *n = a->n_taken;
    return ES_OK;
}

/* ---- open and close ---- */

bool es_arrivals_is_told(const es_arrivals *a)
{
    return a->fd >= 0;
}

static int add_root(es_arrivals *a, const char *path, es_err *err)
{
    char shown[700];
    struct stat st;
    size_t n = strlen(path);

    es_printable(shown, sizeof shown, path);
    if (stat(path, &st))
        return es_fail(err, ES_ENOTFOUND, "%s: %s", shown, errno == ENOENT ? "no such folder" : strerror(errno));
    if (!S_ISDIR(st.st_mode)) return es_fail(err, ES_EARG, "%s: this is a file, and only folders can be watched", shown);
    while (n > 1 && path[n - 1] == '/') n--;
    a->roots[a->n_roots] = strndup(path, n);
    if (!a->roots[a->n_roots]) return es_fail(err, ES_ENOMEM, "not enough memory");
    a->n_roots++;
    return ES_OK;
}

int es_arrivals_open(es_arrivals **out, const char *const *folders, size_t n, const es_arrivals_options *o, es_err *err)
{
    es_arrivals *a = calloc(1, sizeof *a);
    int rc = ES_OK;

    *out = NULL;
    if (!a) return es_fail(err, ES_ENOMEM, "not enough memory");
    a->fd = -1;
    if (o) a->o = *o;
    a->seen.settle_seconds = a->o.settle_seconds > 0 ? a->o.settle_seconds : SETTLE;
    if (!(a->o.look_seconds > 0)) a->o.look_seconds = LOOK_UNTOLD;
    a->roots = calloc(n + 1, sizeof *a->roots);
    a->missing = calloc(n + 1, sizeof *a->missing);
    if (!a->roots || !a->missing) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK && !n) rc = es_fail(err, ES_EARG, "there is no folder to watch");
    for (size_t i = 0; i < n && rc == ES_OK; i++) rc = add_root(a, folders[i], err);
    if (rc != ES_OK) {
        es_arrivals_close(a);
        return rc;
    }
#ifdef __linux__
    if (!a->o.poll) a->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    for (size_t i = 0; i < a->n_roots; i++) a->remote = a->remote || is_remote(a->roots[i]);
#endif
    look(a);
    *out = a;
    return ES_OK;
}

void es_arrivals_close(es_arrivals *a)
{
    if (!a) return;
    if (a->fd >= 0) close(a->fd);
    for (size_t i = 0; i < a->n_roots; i++) free(a->roots[i]);
    for (size_t i = 0; i < a->n_folders; i++) free(a->folders[i].path);
    for (size_t i = 0; i < a->n_taken; i++) free(a->taken[i]);
    free(a->roots);
    free(a->missing);
    free(a->folders);
    es_seen_done(&a->seen);
    free(a->taken);
    free(a);
}
