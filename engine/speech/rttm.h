/*
 * rttm.h - turns as lines of text: `SPEAKER file 1 onset duration <NA> <NA> name <NA> <NA>`, seconds.
 */
#ifndef ES_RTTM_H
#define ES_RTTM_H

#include <stdio.h>

#include "base/err.h"
#include "speech/windows.h"

/* Turns of one recording, with the names their speakers' numbers stand for. */
typedef struct es_rttm {
    es_turn *turns; /* in order of start, then speaker; owned */
    size_t n;
    char **names; /* owned, in order of appearance */
    int n_names;
} es_rttm;

/* Reads the lines of type SPEAKER of a file; of them those whose file column is `file`, or all where it is NULL. A line
 * that cannot be read is an error with its number. */
int es_rttm_read(es_rttm *out, const char *path, const char *file, es_err *err);
void es_rttm_done(es_rttm *r);
/* The recordings that a file has turns of, in order of appearance; names and list are the caller's to free. */
int es_rttm_files(char ***files, int *n, const char *path, es_err *err);
/* One line a turn; blanks in names become underscores. names NULL: SPEAKER_00 and so on. */
void es_rttm_write(FILE *f, const char *file, const es_turn *turns, size_t n, const char *const *names);

#endif
