/*
 * filter.h - where a search looks: whose speech, in which recordings, at which times, in which language.
 *
 * A name that stands for nothing is not an empty search but a mistake, and is refused with the names that come near.
 */
#ifndef ES_FILTER_H
#define ES_FILTER_H

#include "base/err.h"
#include "store/find.h"

/* What is asked for; NULL: no bound. */
typedef struct es_where {
    const char *speaker;        /* a name, or "Speaker 12" */
    const char *in;             /* a recording, or a folder */
    const char *after, *before; /* times in the recording, or dates of the files: moment.h */
    const char *language;       /* code or name */
} es_where;

typedef struct es_filter_set es_filter_set;

int es_filter_open(es_filter_set **out, es_store *s, const es_where *where, es_err *err);
void es_filter_close(es_filter_set *f); /* accepts NULL */
/* As the store takes it; valid until es_filter_close(). */
es_filter es_filter_of(es_filter_set *f);

#endif
