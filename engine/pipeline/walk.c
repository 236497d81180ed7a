/*
 * walk.c - paths into files.
 *
 * A file that is named is taken whatever it is called: only decoding can tell what is in it. Inside folders the ending
 * decides, or a walk through a music collection would complain of every cover. The depth is bounded by the folders seen
 * (each is walked once), the stack by an explicit limit that no real tree reaches.
 */
#define _GNU_SOURCE
#include "pipeline/walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "media/decode.h"

enum { DEEPEST = 200 };

struct es_walk_seen {
    dev_t dev;
    ino_t ino;
};

typedef struct walker {
    es_walk *w;
    int (*stop)(void *user);
    void *user;
    es_err *err;
} walker;

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the list of files");
}

/* Takes path and fault over, also on failure. */
static int add(walker *k, char *path, uint64_t bytes, char *fault)
{
    es_walk *w = k->w;

    if (path && w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        es_walk_file *files = realloc(w->files, room * sizeof *files);
        if (files) w->files = files, w->room = room;
    }
    if (!path || w->n == w->room) {
        free(path), free(fault);
        return no_memory(k->err);
    }
    w->files[w->n++] = (es_walk_file){.path = path, .bytes = bytes, .fault = fault};
    return ES_OK;
}

static int add_fault(walker *k, const char *path, const char *what)
{
    char shown[700], *fault = NULL;

    if (asprintf(&fault, "%s: %s", es_printable(shown, sizeof shown, path), what) < 0) return no_memory(k->err);
    return add(k, strdup(path), 0, fault);
}

/* 1: new and now noted; 0: was walked before; < 0: no memory. */
static int note_folder(walker *k, const struct stat *st)
{
    es_walk *w = k->w;

    for (size_t i = 0; i < w->n_seen; i++)
        if (w->seen[i].dev == st->st_dev && w->seen[i].ino == st->st_ino) return 0;
    if (w->n_seen == w->room_seen) {
        size_t room = w->room_seen ? 2 * w->room_seen : 64;
        struct es_walk_seen *seen = realloc(w->seen, room * sizeof *seen);
        if (!seen) return no_memory(k->err);
        w->seen = seen, w->room_seen = room;
    }
    w->seen[w->n_seen++] = (struct es_walk_seen){st->st_dev, st->st_ino};
    return 1;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int folder(walker *k, const char *path, int depth)
{
    struct dirent **names = NULL;
    int n, rc = ES_OK;

    if (k->w->enter) k->w->enter(k->w->user, path);
    n = scandir(path, &names, NULL, by_bytes);
    if (n < 0) {
        char what[128];
        snprintf(what, sizeof what, "the folder cannot be read: %s", strerror(errno));
        return errno == ENOMEM ? no_memory(k->err) : add_fault(k, path, what);
    }
    for (int i = 0; i < n && rc == ES_OK; i++) {
        const char *name = names[i]->d_name;
        struct stat st;
        char *below = NULL;
        if (name[0] == '.') continue;
        if (k->stop && k->stop(k->user)) {
            rc = es_fail(k->err, ES_ECANCELLED, "cancelled");
            break;
        }
        if (asprintf(&below, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", name) < 0) {
            rc = no_memory(k->err);
            break;
        }
        if (stat(below, &st) == 0) { /* a dangling link is passed over like any other thing that is not media */
            if (S_ISDIR(st.st_mode) && depth < DEEPEST) {
                rc = note_folder(k, &st);
                if (rc > 0) rc = folder(k, below, depth + 1);
            } else if (S_ISREG(st.st_mode) && es_media_is_media_name(below)) {
                rc = add(k, below, (uint64_t)st.st_size, NULL);
                below = NULL; /* the list's from here on */
            }
        }
        free(below);
    }
    for (int i = 0; i < n; i++) free(names[i]);
    free(names);
    return rc;
}

int es_walk_add(es_walk *w, const char *path, int (*stop)(void *user), void *user, es_err *err)
{
    walker k = {w, stop, user, err};
    size_t before = w->n;
    struct stat st;
    int rc;

    if (!*path) return add_fault(&k, path, "an empty name names no file");
    if (stat(path, &st)) return add_fault(&k, path, errno == ENOENT ? "no such file or folder" : strerror(errno));
    if (!S_ISDIR(st.st_mode)) return add(&k, strdup(path), (uint64_t)st.st_size, NULL);
    rc = note_folder(&k, &st);
    if (rc <= 0) return rc; /* walked before */
    rc = folder(&k, path, 0);
    if (rc == ES_OK && w->n == before && !w->may_be_empty) rc = add_fault(&k, path, "the folder holds nothing with a known media ending");
    return rc;
}

void es_walk_done(es_walk *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->files[i].path);
        free(w->files[i].fault);
    }
    free(w->files);
    free(w->seen);
    *w = (es_walk){0};
}
