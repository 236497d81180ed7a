/*
 * record.h - the bytes of a record, and their version.
 *
 * Every record starts with the same eight bytes:
 *
 *   0  u16  kind       what it is, ES_RECORD_*
 *   2  u16  version    of this kind, from 1
 *   4  u32  checksum   of all that follows: the first four bytes of its XXH3-128
 *   8       body       fields in the order of record*.c; little-endian, no padding, texts as u32 length and bytes
 *
 * A reader takes every version up to its own and refuses newer ones (ES_ENEWER). A record that is cut, has bytes left
 * over, or holds a number outside its field's range is ES_EFORMAT, with a sentence; it never reads past the bytes given
 * and never reserves memory for more than these bytes could hold. The meaning of a field never changes within a
 * version.
 */
#ifndef ES_RECORD_H
#define ES_RECORD_H

#include "base/people.h"
#include "store/journal.h"
#include "store/store.h"
#include "store/tables.h"

/* X(name, number on disk, version written today, word for sentences) */
#define ES_RECORD_MAP(X)                                                                                               \
    X(LIBRARY, 1, 1, "library")                                                                                        \
    X(RECORDING, 2, 2, "recording")                                                                                    \
    X(SEGMENT, 3, 1, "segment")                                                                                        \
    X(PATH, 4, 1, "path")                                                                                              \
    X(FILE, 5, 1, "file")                                                                                              \
    X(TIME, 6, 1, "time")                                                                                              \
    X(WHO, 7, 1, "who-spoke")                                                                                          \
    X(PASSAGE, 8, 1, "passage")                                                                                        \
    X(VECTORS, 9, 1, "vectors")                                                                                        \
    X(OUTLINE, 10, 1, "outline")                                                                                       \
    X(TERMS, 11, 1, "terms")                                                                                           \
    X(TOTALS, 12, 1, "totals")                                                                                         \
    X(PERSON, 13, 1, "person")                                                                                         \
    X(SPACE, 14, 1, "space")                                                                                           \
    X(SAYING, 15, 1, "saying")                                                                                         \
    X(IDENTITY, 16, 1, "identity")                                                                                     \
    X(DERIVED, 17, 1, "derived")                                                                                       \
    X(JOURNAL, 18, 1, "journal")

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
    uint32_t n_passages;
    bool has_who;          /* there is a record of who spoke */
    es_hash128 text_space; /* of the passages' vectors; zeros where there are none */
} es_stored;
es_stored es_stored_of(const es_result *x); /* its strings stay x's */
void es_stored_done(es_stored *r);

/* How many vectors belong to a record of who spoke; they lie in the table of vectors. */
typedef struct es_who_counts {
    uint32_t centers, voices;
} es_who_counts;

enum { ES_VECTORS_HEADER = 48 /* bytes: a value that has pages of its own starts 16 into one, so its rows at 64 */ };

/* Some rows of a space, of one recording. */
typedef struct es_rows {
    es_hash128 space;
    uint32_t first, n, width; /* the number of the first among the recording's */
    const void *half;         /* [n, width] in half precision, at an address of any kind; borrowed */
} es_rows;

/* What a search needs to know of a passage before it reads its text. */
typedef struct es_outline_row {
    int64_t start_ms, end_ms;
    int32_t speaker;  /* -1 unknown */
    uint32_t n_words; /* as the index counts them: letters of scripts without blanks count one each */
    char language[8];
} es_outline_row;

typedef struct es_outline {
    uint32_t n;
    bool segments;    /* the recording has no passages: its segments stand for them */
    const void *rows; /* [n] of es_outline_row, at an address of any kind; borrowed */
} es_outline;
es_outline_row es_outline_at(const es_outline *o, uint32_t i);

/* The whole library's, without which no passage can be ranked. */
typedef struct es_totals {
    uint64_t passages, words;
} es_totals;

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
int es_record_write_recording(es_record *r, const es_stored *x, es_err *err);
int es_record_write_segment(es_record *r, const es_transcript *t, size_t segment, es_err *err);
int es_record_write_who(es_record *r, const es_diarization *d, es_err *err);
int es_record_write_passage(es_record *r, const es_passages *all, size_t passage, es_err *err);
/* n rows from first on. ES_EARG where a number in them is not finite, or beyond the range of a half. */
int es_record_write_vectors(es_record *r, const es_vectors *v, size_t first, size_t n, es_err *err);
int es_record_write_outline(es_record *r, const es_outline_row *rows, uint32_t n, bool segments, es_err *err);
int es_record_write_terms(es_record *r, const es_bytes *terms, uint32_t n, uint64_t lists, es_err *err);
int es_record_write_totals(es_record *r, const es_totals *t, es_err *err);
int es_record_write_person(es_record *r, const es_profile *p, es_err *err);
int es_record_write_space(es_record *r, const es_space *s, es_err *err); /* without its hash, which is the key */
int es_record_write_saying(es_record *r, const es_saying *s, es_err *err);
int es_record_write_identity(es_record *r, const es_identity *i, es_err *err);
int es_record_write_derived(es_record *r, uint32_t rules, es_err *err);
int es_record_write_journal(es_record *r, const es_journal_entry *e, es_err *err); /* ES_EARG for what is no entry */
int es_record_write_path(es_record *r, const char *path, es_err *err);
int es_record_write_file(es_record *r, const es_file *f, es_err *err);
int es_record_write_time(es_record *r, const es_time *t, es_err *err);

int es_record_read_library(es_bytes b, es_library *out, es_err *err);
int es_record_read_recording(es_bytes b, es_stored *out, es_err *err); /* on failure *out is empty */
/* Appends the segment, its tokens and words; on failure the transcript holds whole segments only. */
int es_record_read_segment(es_bytes b, es_transcript *out, es_err *err);
/* Without vectors: counts says how many there are. On failure *out is empty. */
int es_record_read_who(es_bytes b, es_diarization *out, es_who_counts *counts, es_err *err);
int es_record_read_passage(es_bytes b, es_passage *out, es_bytes *text, es_err *err); /* text: borrowed from b */
/* check: also the checksum, for which all rows are read. What is handed out is borrowed from b. */
int es_record_read_vectors(es_bytes b, es_rows *out, bool check, es_err *err);
int es_record_read_outline(es_bytes b, es_outline *out, bool check, es_err *err);
/* visit is told each term and returns ES_OK to go on; lists: the hash over all their lists. */
int es_record_read_terms(es_bytes b, uint64_t *lists, uint32_t *n, int (*visit)(void *user, es_bytes term), void *user,
                         es_err *err);
int es_record_read_totals(es_bytes b, es_totals *out, es_err *err);
int es_record_read_person(es_bytes b, es_profile *out, es_err *err); /* on failure *out is empty */
int es_record_read_space(es_bytes b, es_space *out, es_err *err);
int es_record_read_saying(es_bytes b, es_saying *out, es_err *err);
int es_record_read_identity(es_bytes b, es_identity *out, es_err *err);
int es_record_read_derived(es_bytes b, uint32_t *rules, es_err *err);
int es_record_read_journal(es_bytes b, es_journal_entry *out, es_err *err); /* on failure *out is empty */
int es_record_read_path(es_bytes b, char **out, es_err *err); /* *out: the caller's to free */
int es_record_read_file(es_bytes b, es_file *out, es_err *err);
int es_record_read_time(es_bytes b, es_time *out, es_err *err);

/* The checksum that belongs to a record's bytes; n >= 8. */
uint32_t es_record_checksum(const uint8_t *p, size_t n);

#endif
