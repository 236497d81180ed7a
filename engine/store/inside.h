/*
 * inside.h - what the files of this room share and no other room sees: the store itself, its transactions and its keys.
 *
 * Keys. Numbers in keys are big-endian, so that LMDB's order of bytes is the order of numbers. A media is the first 64
 * bits of its content hash, a recording is a media and a track; everything that belongs to a recording has a key that
 * starts with the recording's, so that removing one is deleting a prefix in each table:
 *
 *   recordings   media 8, track 2                        segments  media 8, track 2, number 4
 *   paths        media 8, hash of the path 16            files     device 8, inode 8
 *   times        'r', media 8, track 2  (when its results were written)
 *                'p', media 8, hash of the path 16  (when it was last seen there)
 *   who          media 8, track 2                        outlines  media 8, track 2
 *   passages     media 8, track 2, number 4              terms     media 8, track 2
 *   vectors      use 2, space 16, media 8, track 2, part 4
 *   words        term, 0, media 8, track 2
 *   people       hash of the name 16                     spaces    space 16
 *   sayings      media 8, track 2, speaker 4             identities  the same; "fresh" while they follow from the rest
 *   journal      media 8, track 2, kind 1, number 4
 *
 * Vectors are sorted by space, so that a search reads one stretch of the file; their keys are of an even length, after
 * which LMDB puts a value on an even address. A term begins with a byte that says which kind it is and holds no zero.
 *
 * Two contents with the same 64 bits: the second is refused with a sentence. Looking for another free number would make
 * the keys depend on which came first; and among a million files the chance of one such pair is 3 in 10^8.
 */
#ifndef ES_INSIDE_H
#define ES_INSIDE_H

#include <pthread.h>

#include "store/folder.h"
#include "store/record.h"
#include "store/store.h"
#include "store/tables.h"

struct es_store {
    es_folder folder;
    es_tables *tables;
    unsigned flags;
    uint32_t schema;       /* older than this program's only in a library that is only read */
    pthread_rwlock_t gate; /* held shared during every transaction, alone while compacting exchanges the tables */
};

/* Begins a transaction with the gate held; es_inside_end() commits a writing one if rc is ES_OK, ends it, opens the
 * gate and returns rc or why the commit failed. A writer on a read-only store is refused with ES_ELIBRARY. */
int es_inside_begin(es_store *s, bool write, es_txn **x, es_err *err);
int es_inside_end(es_store *s, es_txn *x, int rc, es_err *err);

typedef struct es_key {
    uint8_t b[32];
    size_t n;
} es_key;

/* What vectors are of. */
enum es_use { ES_USE_PASSAGES = 1, ES_USE_CENTERS, ES_USE_VOICES };

es_bytes es_key_bytes(const es_key *k);
es_key es_key_media(es_hash128 content);
es_key es_key_recording(es_hash128 content, int track);
es_key es_key_segment(es_hash128 content, int track, uint32_t number);
es_key es_key_path(es_hash128 content, const char *path);
es_key es_key_file(uint64_t dev, uint64_t ino);
es_key es_key_recording_time(es_hash128 content, int track);
es_key es_key_path_time(es_hash128 content, const char *path);
es_key es_key_schema(void);
es_key es_key_totals(void);
es_key es_key_passage(es_hash128 content, int track, uint32_t number);
es_key es_key_space(enum es_use use, es_hash128 space);
es_key es_key_journal(es_hash128 content, int track, int kind, uint32_t number);
es_key es_key_vectors(enum es_use use, es_hash128 space, es_bytes recording, uint32_t part);
bool es_key_starts(es_bytes key, es_bytes prefix);
uint64_t es_key_number(const void *p, int n); /* n big-endian bytes */

int es_inside_put_record(es_txn *x, int table, es_key key, const es_record *r, es_err *err);
/* The recording's record with its path; ES_ENOTFOUND with a sentence. *track -1 becomes the first that is there. */
int es_inside_recording(es_store *s, es_txn *x, es_hash128 content, int *track, es_stored *out, es_err *err);
bool es_inside_has_prefix(es_txn *x, int table, es_bytes prefix); /* also true where that cannot be found out */

/* Appends; a segment that does not parse is noted and passed over. */
int es_inside_get_segments(es_txn *x, es_hash128 content, int track, es_transcript *out, es_err *err);

/* paths.c: notes a path, unless it is empty; drops the cached hashes of a content. r: bytes to write with. */
int es_inside_put_path(es_txn *x, es_record *r, es_hash128 content, const char *path, int64_t mtime_ns, es_err *err);
int es_inside_forget_files(es_txn *x, es_hash128 content, es_err *err);

/* vectors.c. recording: a key of one, or a prefix of it. Spaces are walked by jumping from one to the next. */
int es_inside_put_vectors(es_txn *x, es_record *r, enum es_use use, es_bytes recording, const es_vectors *v,
                          es_err *err);
/* Exactly n rows; ES_EFORMAT with a sentence where they are not all there. n 0: an empty *out. */
int es_inside_get_vectors(es_txn *x, enum es_use use, es_hash128 space, es_bytes recording, size_t n, es_vectors *out,
                          es_err *err);
int es_inside_delete_vectors(es_txn *x, enum es_use use, es_bytes recording, es_err *err); /* of every space */
/* The first space at or behind *space of those that have vectors for this use; ES_ENOTFOUND without a sentence. */
int es_inside_next_space(es_txn *x, enum es_use use, es_hash128 *space, es_err *err);
bool es_hash_step(es_hash128 *h); /* to the next one; false past the last */
bool es_hash_none(es_hash128 h);  /* all zeros */

/* voices.c. Conclusions about voices no longer follow from what is stored; and drops what is known of the voices of
 * recordings whose keys start so, before their results are deleted. next: who speaks in the one recording according to
 * the results that replace them: what the user said stays where it is the same; NULL: nothing replaces them. */
int es_inside_voices_stale(es_txn *x, es_err *err);
int es_inside_voices_drop(es_txn *x, es_bytes prefix, const es_diarization *next, es_err *err);

/* passages.c */
/* A search compares by inner products alone, which are cosines only between vectors of unit length. */
int es_inside_check_unit(const es_vectors *v, es_err *err);
int es_inside_put_passages(es_txn *x, es_record *r, es_hash128 content, int track, const es_passages *p, es_err *err);
/* What makes them searchable; of a recording without passages, its segments. It must not be in the index. */
int es_inside_put_index(es_txn *x, es_record *r, es_hash128 content, int track, const es_passages *p,
                        const es_transcript *t, es_err *err);
int es_inside_get_passages(es_txn *x, es_hash128 content, int track, es_passages *out, es_err *err);

/* ES_ELIBRARY in a library that is too old to be searched, and only read. */
int es_inside_can_search(const es_store *s, es_err *err);

/* Calls visit for every path of a media, in the order of the keys; stops where it does not return ES_OK. A path record
 * that does not parse is noted and passed over. */
int es_inside_paths(es_txn *x, es_hash128 content, int (*visit)(void *user, const char *path, const es_time *t),
                    void *user, es_err *err);

/* Brings the library's schema up to this program's, in one transaction. */
int es_migrate_library(es_store *s, es_err *err);

/* One way up: from the schema before `to` to `to`. */
typedef struct es_migration {
    uint32_t to;
    int (*run)(es_txn *x, es_err *err); /* NULL: nothing leads here; libraries begin with this schema */
} es_migration;
/* The steps, in the order of `to`, from the library's schema to `newest`. */
int es_migrate_steps(es_store *s, const es_migration *steps, int n, uint32_t newest, es_err *err);

#endif
