/*
 * tables.h - sorted tables of bytes in one file, with transactions; the only door to LMDB.
 *
 * A transaction sees the tables as they were when it began. One transaction writes at a time, over all processes; any
 * number read meanwhile. Bytes handed out belong to the transaction: borrowed until it ends or writes next.
 *
 * Reading transactions may be begun and ended on any thread; a writing one stays on its own.
 */
#ifndef ES_TABLES_H
#define ES_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* X(name, first word of the table's purpose). Their names on disk are those words; the order here is free. */
#define ES_TABLE_MAP(X)                                                                                                \
    X(META, "meta")             /* "schema" -> what the whole library is */                                            \
    X(RECORDINGS, "recordings") /* recording -> what it is and what its results were made with */                      \
    X(SEGMENTS, "segments")     /* recording, number -> a segment with its words and tokens */                         \
    X(PATHS, "paths")           /* media, hash of the path -> where it was seen */                                     \
    X(FILES, "files")           /* device, inode -> the content hash last read there */                                \
    X(TIMES, "times")           /* what happened when; nothing derives from it */                                      \
    X(WHO, "who")               /* recording -> who spoke when in it */                                                \
    X(PASSAGES, "passages")     /* recording, number -> a passage with its text */                                     \
    X(VECTORS, "vectors")       /* use, space, recording, part -> rows of numbers */                                   \
    X(OUTLINES, "outlines")     /* recording -> what a search asks of its passages before it reads them */             \
    X(WORDS, "words")           /* term, recording -> where in the recording the term occurs */                        \
    X(TERMS, "terms")           /* recording -> the terms that lead to it */                                           \
    X(PEOPLE, "people")         /* hash of the name -> a person and what they are known by */                          \
    X(SPACES, "spaces")         /* space -> the model behind its vectors */                                            \
    X(SAYINGS, "sayings")       /* recording, speaker -> what the user said about them */                              \
    X(IDENTITIES, "identities") /* recording, speaker -> what was concluded about them */                              \
    X(JOURNAL, "journal")       /* recording, kind, number -> work that is done of one that is not complete */

enum es_table {
#define X(name, text) ES_TABLE_##name,
    ES_TABLE_MAP(X)
#undef X
        ES_N_TABLES
};
const char *es_table_name(int table);

typedef struct es_bytes {
    const void *p;
    size_t n;
} es_bytes;

typedef struct es_tables es_tables;
typedef struct es_txn es_txn;
typedef struct es_cursor es_cursor;

enum es_tables_flags {
    ES_TABLES_READ_ONLY = 1,
    ES_TABLES_NO_LOCK = 2, /* the caller sees to it that nobody else has the file open */
    ES_TABLES_FRESH = 4    /* a new file that is thrown away unless es_tables_sync() succeeds: commits do not wait */
};

/* dir: a folder, for data.mdb and lock.mdb. Makes the tables that are missing unless ES_TABLES_READ_ONLY, in which case
 * they read as empty. On failure *out is NULL. */
int es_tables_open(es_tables **out, const char *dir, unsigned flags, es_err *err);
void es_tables_close(es_tables *t); /* accepts NULL; no transaction may be open */
int es_tables_sync(es_tables *t, es_err *err);

/* Walks the file's own structure in one snapshot, without LMDB (pages.h): with all the whole of it, else what
 * es_tables_open needs. fault is told each fault, *faults counts them. */
int es_tables_walk(es_tables *t, bool all, void (*fault)(void *user, const char *sentence), void *user,
                   uint64_t *faults, es_err *err);

int es_txn_begin(es_txn **out, es_tables *t, bool write, es_err *err);
int es_txn_commit(es_txn *x, es_err *err); /* ends x also when it fails; then nothing was written */
void es_txn_drop(es_txn *x);               /* accepts NULL */
bool es_txn_writes(const es_txn *x);

/* ES_ENOTFOUND comes without a sentence. */
int es_txn_get(es_txn *x, int table, es_bytes key, es_bytes *value, es_err *err);
int es_txn_put(es_txn *x, int table, es_bytes key, es_bytes value, es_err *err);
int es_txn_append(es_txn *x, int table, es_bytes key, es_bytes value, es_err *err); /* key above all others */
int es_txn_delete(es_txn *x, int table, es_bytes key, es_err *err);
/* Deletes every key that starts with prefix, of at least one byte; *n (may be NULL): how many. */
int es_txn_delete_prefix(es_txn *x, int table, es_bytes prefix, uint64_t *n, es_err *err);
uint64_t es_txn_count(es_txn *x, int table);

int es_cursor_open(es_cursor **out, es_txn *x, int table, es_err *err);
void es_cursor_close(es_cursor *c); /* accepts NULL; before its transaction ends */
/* The first key that is not below from, then the next ones; ES_ENOTFOUND without a sentence past the last. */
int es_cursor_seek(es_cursor *c, es_bytes from, es_bytes *key, es_bytes *value, es_err *err);
int es_cursor_next(es_cursor *c, es_bytes *key, es_bytes *value, es_err *err);

#endif
