/*
 * walk.h - the files that paths stand for: themselves, or what lies below a folder and has a known media ending.
 *
 * Folders are walked in the order of their names' bytes, whatever the file system's own order; links are followed, and
 * a folder that is reached a second time, by a link or twice on the command line, is not walked again. Names that begin
 * with a dot are passed over inside folders.
 */
#ifndef ES_WALK_H
#define ES_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct es_walk_file {
    char *path; /* as given, or the given folder's with the way below it */
    uint64_t bytes;
    char *fault; /* why there is nothing to take here: a sentence; else NULL */
} es_walk_file;

typedef struct es_walk {
    es_walk_file *files;
    size_t n, room;
    struct es_walk_seen *seen; /* folders walked so far */
    size_t n_seen, room_seen;
    bool may_be_empty;                           /* a folder without media is no fault */
    void (*enter)(void *user, const char *path); /* told of each folder before it is read; NULL: nobody asks */
    void *user;
} es_walk;

/* Adds what path stands for. A path that is not there, or a folder without media, becomes an entry with a fault; the
 * function itself fails only when memory is out, or with ES_ECANCELLED when stop says so. */
int es_walk_add(es_walk *w, const char *path, int (*stop)(void *user), void *user, es_err *err);
void es_walk_done(es_walk *w);

#endif
