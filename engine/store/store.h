/*
 * store.h - the library: everything known of every recording, in one LMDB environment; the only door to LMDB.
 *
 * A folder that folder.h draws. Media is known by the hash of its bytes; all results of a file are written in one
 * transaction, whole or not at all. Any number of processes may read and write; a process opens a library once.
 * Records are versioned, little-endian, and trusted by nobody: a record that does not parse is reported by
 * es_store_check() and skipped elsewhere with a note.
 *
 * One es_store may be used by several threads: readers are pooled, writers take turns.
 */
#ifndef ES_STORE_H
#define ES_STORE_H

#include "base/err.h"
#include "base/json.h"
#include "base/types.h"

typedef struct es_store es_store;

enum { ES_STORE_SCHEMA = 2 };
enum es_store_flags { ES_STORE_READ_ONLY = 1, ES_STORE_CREATE = 2 };

/* Whether statfs() names a network or cluster file system, on which a library is refused. */
bool es_store_is_network(long f_type);

/* Refuses network file systems, newer schemas, other byte orders and folders that hold something else. */
int es_store_open(es_store **out, const char *dir, unsigned flags, es_err *err);
void es_store_close(es_store *s); /* accepts NULL */
const char *es_store_dir(const es_store *s);
/* This process's own folder for spools, gone when the store is closed; those of dead processes are swept at open. NULL
 * when open for reading only. */
const char *es_store_tmp(const es_store *s);

/* What results were made with: part of their identity. */
typedef struct es_made {
    char *settings; /* canonical JSON of every setting that can change a result; owned */
    es_maker by[ES_N_STAGES];
    char program[32]; /* version of earshot */
} es_made;

/* A recording and all that was found in it. */
typedef struct es_result {
    es_media_info media;
    es_made made;
    es_transcript transcript;
    es_diarization who;
    es_passages passages;
} es_result;
void es_made_done(es_made *m); /* accept NULL */
void es_result_done(es_result *r);

/* One transaction: replaces an older result of the same media and track. */
int es_store_put(es_store *s, const es_result *r, es_err *err);
/* The same where a part of the result was taken from the library, which must still have the recording: ES_ENOTFOUND. who:
 * who spoke is what the library says by now, vectors included, so that a voice forgotten meanwhile stays forgotten. */
int es_store_put_again(es_store *s, const es_result *r, bool who, es_err *err);
/* ES_ENOTFOUND where the content is not in the library. track -1: any. */
int es_store_get(es_store *s, es_hash128 content, int track, es_result *out, es_err *err);
/* The same without its passages, for a result that is to be stored again: where anything is damaged, ES_EFORMAT. */
int es_store_get_whole(es_store *s, es_hash128 content, int track, es_result *out, es_err *err);
/* What is known of one side alone, empty where nothing is; vectors: also theirs, which are most of the bytes. */
int es_store_get_who(es_store *s, es_hash128 content, int track, bool vectors, es_diarization *out, es_err *err);
int es_store_get_passages(es_store *s, es_hash128 content, int track, bool vectors, es_passages *out, es_err *err);
/* media.path is the first of its paths in the order of bytes, so that it does not depend on which was seen first.
 * The same without the transcript: cheap. made: the caller's, to give to es_made_done(). */
int es_store_get_info(es_store *s, es_hash128 content, int track, es_media_info *media, es_made *made, es_err *err);
/* Notes another path of known content. */
int es_store_add_path(es_store *s, es_hash128 content, int track, const char *path, es_err *err);
/* All paths under which the content was seen, the one seen last first; visit returns 0 to go on. */
int es_store_paths(es_store *s, es_hash128 content, int (*visit)(void *user, const char *path, int64_t seen_ms),
                   void *user, es_err *err);
/* The content hash cached for (device, inode, size, mtime); false where there is none. */
bool es_store_cached_hash(es_store *s, uint64_t dev, uint64_t ino, uint64_t size, int64_t mtime_ns, es_hash128 *out);
int es_store_cache_hash(es_store *s, uint64_t dev, uint64_t ino, uint64_t size, int64_t mtime_ns, es_hash128 content,
                        es_err *err);

/* In the order of the paths' bytes, then of the hashes; visit returns 0 to go on. */
typedef struct es_entry {
    es_media_info media;
    es_made made;
    uint64_t n_segments, n_words, n_passages;
    bool has_who; /* it is known who spoke */
    char language[8];
    int64_t ingested_ms; /* wall-clock, from the table of its own */
} es_entry;
int es_store_list(es_store *s, int (*visit)(void *user, const es_entry *e), void *user, es_err *err);
/* Names a recording by path, file name, or the first 6 or more digits of its hash; ES_ENOTFOUND, or ES_EARG naming the
 * candidates when several fit. */
int es_store_resolve(es_store *s, const char *name, es_hash128 *content, int *track, es_err *err);

int es_store_remove(es_store *s, es_hash128 content, int track, es_err *err);
int es_store_compact(es_store *s, uint64_t *before, uint64_t *after, es_err *err); /* nothing removed is left */
int es_store_backup(es_store *s, const char *to_dir, es_err *err);

typedef struct es_check {
    uint64_t recordings, segments, words, passages, records;
    uint64_t faults; /* each told to the sink */
} es_check;
int es_store_check(es_store *s, es_check *out, void (*fault)(void *user, const char *sentence), void *user,
                   es_err *err);

#endif
