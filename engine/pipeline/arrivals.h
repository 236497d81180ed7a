/*
 * arrivals.h - which files in some folders are complete, now and later.
 *
 * Files come in three ways: somebody writes them here and closes them, somebody moves them here whole, or they appear bit by
 * bit without a word, as on a file system of another machine. Of the first two the system tells (inotify, on Linux); the third
 * is seen by looking again, and such a file is complete when its size and times have stayed as they are for a while. Where the
 * system tells nothing, everything is the third kind.
 *
 * Passed over are names without a known media ending, hidden ones, empty files, and those that are on their way: a stem that
 * ends in .part, .tmp and the like, or a file beside it that is called so and shows that it is (talk.mp4 and talk.mp4.part).
 *
 * Each file is given once, and again when its bytes have changed. Used from one thread.
 */
#ifndef ES_ARRIVALS_H
#define ES_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct es_arrivals es_arrivals;

typedef struct es_arrivals_options {
    double settle_seconds; /* how long a file must stay as it is when nobody was seen to close it; <= 0: 5 */
    double look_seconds;   /* between looks where the system tells nothing; <= 0: 2 */
    bool poll;             /* do not ask the system, look */
    void (*note)(void *user, const char *path, const char *sentence); /* what the user should know of a folder; NULL: nobody */
    void *user;
} es_arrivals_options;

/* folders: there, and folders; else ES_ENOTFOUND or ES_EARG. What is in them is found at once. */
int es_arrivals_open(es_arrivals **out, const char *const *folders, size_t n, const es_arrivals_options *o, es_err *err);
void es_arrivals_close(es_arrivals *a); /* accepts NULL */

/* Hears what the system has told meanwhile, without waiting: often enough, and nothing is lost. */
void es_arrivals_hear(es_arrivals *a);
/* Waits until a file may be complete, at most so long, and hears what there is. A signal ends it early. */
void es_arrivals_wait(es_arrivals *a, int most_ms);
/* The complete files that were not given yet, in the order in which they were found; *paths and what it points to are valid
 * until the next call. ES_ENOMEM; nothing is lost then. */
int es_arrivals_take(es_arrivals *a, const char *const **paths, size_t *n, es_err *err);

/* For tests: false where it has to look, since the system tells nothing. */
bool es_arrivals_is_told(const es_arrivals *a);

#endif
