/*
 * seen.h - what is known of each file in the folders that are watched: how it is, since when, and whether it was given. Only
 * for arrivals.c.
 */
#ifndef ES_SEEN_H
#define ES_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stat() says of a file's bytes, and the time of its inode. */
typedef struct es_stamp {
    uint64_t dev, ino, bytes;
    int64_t mtime_ns, ctime_ns;
} es_stamp;

typedef struct es_seen_file {
    char *path; /* NULL: forgotten */
    es_stamp at;
    double since;  /* when it was first seen like this */
    bool writing;  /* somebody has it open and changes it */
    bool closed;   /* whoever wrote it has closed it, or it was moved here */
    bool old;      /* had rested long when it was found */
    bool given;    /* as it is */
    unsigned look; /* that saw it last */
} es_seen_file;

typedef struct es_seen {
    es_seen_file *files; /* in the order in which they were found */
    size_t n, room, n_gone;
    size_t *slots; /* of a table by path: index + 1, 0 empty */
    size_t n_slots;
    double settle_seconds;
    unsigned look; /* at work */
} es_seen;

/* How it is known that a file is there: a look, an event of a change, or one that says that it is whole. */
typedef enum es_news { ES_NEWS_FOUND, ES_NEWS_CHANGED, ES_NEWS_WHOLE } es_news;

double es_seen_now(void); /* seconds */

/* Looks at a file of which there is news; what is not wanted or not there is forgotten. False without memory. */
bool es_seen_note(es_seen *s, const char *path, es_news news);
es_seen_file *es_seen_find(const es_seen *s, const char *path);
void es_seen_forget(es_seen *s, es_seen_file *f);
/* Seconds until it may be complete; < 0: an event must come first, or it was given. */
double es_seen_due(const es_seen *s, const es_seen_file *f);
/* Looks once more at a file that is due: true where it is complete. */
bool es_seen_is_whole(es_seen *s, es_seen_file *f);
void es_seen_done(es_seen *s);

#endif
