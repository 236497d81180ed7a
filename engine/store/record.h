/*
 * record.h - the bytes of a record, and their version.
 *
 * Every record starts with the same eight bytes:
 *
 *   0  u16  kind       what it is, ES_RECORD_*
 *   2  u16  version    of this kind, from 1
 *   4  u32  checksum   of all that follows: the first four bytes of its XXH3-128
 *   8       body       fields in the order of record.c; little-endian, no padding, texts as u32 length and bytes
 *
 * A reader takes every version up to its own and refuses newer ones (ES_ENEWER). A record that is cut, has bytes left
 * over, or holds a number outside its field's range is ES_EFORMAT, with a sentence; it never reads past the bytes given
 * and never reserves memory for more than these bytes could hold. The meaning of a field never changes within a
 * version.
 */
#ifndef ES_RECORD_H
#define ES_RECORD_H

#include "store/store.h"
#include "store/tables.h"

/* X(name, number on disk, version written today, word for sentences) */
#define ES_RECORD_MAP(X)                                                                                               \
    X(LIBRARY, 1, 1, "library")                                                                                        \
    X(RECORDING, 2, 1, "recording")                                                                                    \
    X(SEGMENT, 3, 1, "segment")                                                                                        \
    X(PATH, 4, 1, "path")                                                                                              \
    X(FILE, 5, 1, "file")                                                                                              \
    X(TIME, 6, 1, "time")

enum es_record_kind {
#define X(name, number, version, text) ES_RECORD_##name = number,
    ES_RECORD_MAP(X)
#undef X
};

/* Bytes being written. Reused from record to record; free(p) in the end. */
typedef struct es_record {
    uint8_t *p;
    size_t n, room;
    bool failed; /* memory ran out; told by es_record_end() */
} es_record;

/* The library as a whole: the record "schema" of the table meta. */
typedef struct es_library {
    uint32_t schema;
    char program[32]; /* that wrote this schema first */
} es_library;

/* A recording without its transcript; media.path and media.mtime_ns are not part of it, they live in other tables. */
typedef struct es_stored {
    es_media_info media;
    es_made made;
    uint64_t n_segments, n_words, n_tokens, n_text;
    char language[8];
    float language_probability;
} es_stored;
void es_stored_done(es_stored *r);

typedef struct es_file {
    uint64_t bytes;
    int64_t mtime_ns;
    es_hash128 content;
} es_file;

typedef struct es_time {
    int64_t at_ms;    /* wall clock, since 1970 */
    int64_t mtime_ns; /* of the file then; 0 unknown or not a file */
} es_time;

/* Writers begin r anew and return ES_OK or ES_ENOMEM. */
int es_record_write_library(es_record *r, const es_library *l, es_err *err);
int es_record_write_recording(es_record *r, const es_result *x, es_err *err);
int es_record_write_segment(es_record *r, const es_transcript *t, size_t segment, es_err *err);
int es_record_write_path(es_record *r, const char *path, es_err *err);
int es_record_write_file(es_record *r, const es_file *f, es_err *err);
int es_record_write_time(es_record *r, const es_time *t, es_err *err);

int es_record_read_library(es_bytes b, es_library *out, es_err *err);
int es_record_read_recording(es_bytes b, es_stored *out, es_err *err); /* on failure *out is empty */
/* Appends the segment, its tokens and words; on failure the transcript holds whole segments only. */
int es_record_read_segment(es_bytes b, es_transcript *out, es_err *err);
int es_record_read_path(es_bytes b, char **out, es_err *err); /* *out: the caller's to free */
int es_record_read_file(es_bytes b, es_file *out, es_err *err);
int es_record_read_time(es_bytes b, es_time *out, es_err *err);

/* The checksum that belongs to a record's bytes; n >= 8. */
uint32_t es_record_checksum(const uint8_t *p, size_t n);

#endif
