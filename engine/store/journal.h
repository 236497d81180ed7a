/*
 * journal.h - what is known of recordings that are not complete yet, so that another run goes on where one was ended.
 *
 * An entry is some work of one recording: the classes of some windows, the vectors of their voices, the text of a window,
 * the vectors of some passages. It names what it was made with as one hash; an entry made with anything else is as good as
 * none. Entries wait in memory and go into the library together, every few seconds: what a kill costs is that, and what it
 * costs to have them is one small transaction then. A recording that is complete before ever has none.
 *
 * They leave in the transaction that stores the recording, or removes it. Those of recordings that never came back leave
 * with es_store_compact(), and no backup has any. Nothing else reads them: lists, searches and exports know complete
 * recordings only.
 */
#ifndef ES_JOURNAL_H
#define ES_JOURNAL_H

#include "base/types.h"
#include "store/store.h"

enum es_journal_kind {
    ES_JOURNAL_CLASSES = 1, /* number: the first window. n windows of `width` classes each */
    ES_JOURNAL_VOICES,      /* number: the first window; until: the one behind the last. n slots with their vectors */
    ES_JOURNAL_LANGUAGE,    /* number 0: what the whole recording is spoken in */
    ES_JOURNAL_WORDS,       /* number: of the cut, or of the window. What it says, and where its loop goes on */
    ES_JOURNAL_TEXTS,       /* number: the first passage. n rows */
    ES_JOURNAL_KINDS
};

/* Which members mean something follows from the kind. What es_journal_read() hands out belongs to the entry. */
typedef struct es_journal_entry {
    enum es_journal_kind kind;
    uint32_t number;
    es_hash128 made_with; /* all that can change what it says */
    uint32_t n, width, until;
    uint8_t *classes; /* [n, width] */
    uint32_t *slots;  /* [n] of the whole recording's */
    float *rows;      /* [n, width] */
    int language;     /* index, -1 unknown */
    float probability;
    int64_t seek;      /* frames of 10 ms: where the next window begins */
    double said_until; /* seconds */
    bool over;         /* no window follows */
    int32_t *tokens;   /* [n]: what the next window is told */
    es_transcript part;
} es_journal_entry;
void es_journal_entry_done(es_journal_entry *e); /* only of one that was read */

typedef struct es_journal es_journal;

/* seconds: between two transactions, 0 for one after every entry. Used from one thread; s borrowed. */
int es_journal_open(es_journal **out, es_store *s, double seconds, es_err *err);
/* Writes what waits, as far as that succeeds: whoever closes it is at the end, well or not. Accepts NULL. */
void es_journal_close(es_journal *j);

/* Takes the entry down; when the time has come, all that waits is written. One of the same recording, kind and number is
 * replaced. */
int es_journal_add(es_journal *j, es_hash128 content, int track, const es_journal_entry *e, es_err *err);
/* Forgets what waits of a recording: before it is stored, which removes the rest. */
void es_journal_forget(es_journal *j, es_hash128 content, int track);

/* Writes all that waits, if any of it is of this recording: before its claim is given back, behind which another process may
 * store it. What cannot be written is told as a message. */
void es_journal_settle(es_journal *j, es_hash128 content, int track);

/* Tells visit each entry of a kind, in the order of their numbers, that was made with made_with; it may take what the
 * entry owns, and ends the reading with anything but ES_OK. Entries that were made with anything else, or that do not
 * parse, are removed. */
int es_journal_read(es_journal *j, es_hash128 content, int track, enum es_journal_kind kind, es_hash128 made_with,
                    int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err);

#endif
