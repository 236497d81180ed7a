/*
 * folder.h - the library's folder: what may be in it, who has it open, and room for passing files.
 *
 *   data.mdb, lock.mdb    LMDB's
 *   earshot.lock          held shared by every process that has the library open, alone by one that compacts it
 *   claims.lock           see claim.h
 *   tmp/                  a folder for each process that writes, removed when it ends; those of the dead are swept
 *
 * The locks are the kernel's (flock) and die with the process that holds them.
 */
#ifndef ES_FOLDER_H
#define ES_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

typedef struct es_folder {
    char *dir, *data;   /* the folder, made absolute, and its data.mdb; owned */
    char *tmp;          /* this process's own folder below tmp/; NULL when only reading; owned */
    int lock, tmp_lock; /* descriptors of earshot.lock and of the lock in tmp; -1: none */
    bool read_only;
    bool no_lock; /* LMDB's own lock file cannot be written, so LMDB has to go without */
    bool is_new;  /* there was no data.mdb */
} es_folder;

/* Looks at the folder, takes the shared lock and the place in tmp/. create: makes what is missing. f is to be handed
 * to es_folder_done() also after a failure. */
int es_folder_open(es_folder *f, const char *dir, bool read_only, bool create, es_err *err);
void es_folder_done(es_folder *f);

/* Exchanges the shared lock for one that no other process shares, or ES_EBUSY; and back. */
int es_folder_lock_alone(es_folder *f, es_err *err);
int es_folder_lock_shared(es_folder *f, es_err *err);

/* The name of the network or cluster file system with this statfs() f_type, whose locks and maps LMDB cannot trust;
 * NULL for any other. */
const char *es_folder_network(long f_type);

/* Puts what was written to path's folder on the disk, names included. */
int es_folder_sync(const char *dir, es_err *err);
/* Removes a folder and all in it; links are removed, not followed. */
void es_folder_remove(const char *dir);

#endif
