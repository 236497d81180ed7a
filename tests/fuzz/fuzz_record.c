/*
 * fuzz_record.c - any bytes as a record of the library.
 *
 * The first byte chooses the kind; the rest is taken twice: as the whole record, and as a body behind a header that
 * fits, for otherwise the checksum would turn every input away. What reads must write the same bytes again: there is
 * one way to write a record down.
 */
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int kinds[] = {ES_RECORD_LIBRARY, ES_RECORD_RECORDING, ES_RECORD_SEGMENT, ES_RECORD_PATH,
                            ES_RECORD_FILE,    ES_RECORD_TIME,      ES_RECORD_WHO,     ES_RECORD_PASSAGE,
                            ES_RECORD_VECTORS, ES_RECORD_OUTLINE,   ES_RECORD_TERMS,   ES_RECORD_TOTALS,
                            ES_RECORD_PERSON,  ES_RECORD_SPACE,     ES_RECORD_SAYING,  ES_RECORD_IDENTITY,
                            ES_RECORD_DERIVED, ES_RECORD_JOURNAL};

static void must_be_same(const es_record *w, es_bytes b)
{
    if (w->n != b.n || memcmp(w->p, b.p, b.n)) abort();
}

typedef struct terms {
    es_bytes at[64];
    uint32_t n;
} terms;

static int keep_term(void *user, es_bytes term)
{
    terms *t = user;

    if (t->n < sizeof t->at / sizeof *t->at) t->at[t->n++] = term;
    return ES_OK;
}

/* What was found in a recording: who spoke, passages, vectors, and what search reads. */
static int read_found(int kind, es_bytes b, es_record *w, es_err *err)
{
    es_diarization who;
    es_who_counts counts;
    es_passage passage;
    es_bytes text;
    es_rows rows;
    es_outline outline;
    es_totals totals;
    terms list = {.n = 0};
    uint64_t lists;
    uint32_t n;
    int rc;

    switch (kind) {
    case ES_RECORD_WHO:
        rc = es_record_read_who(b, &who, &counts, err);
        if (!rc) { /* vectors are counted, and none are here */
            who.centers.n = counts.centers, who.voices.n = counts.voices;
            if (!es_record_write_who(w, &who, NULL)) must_be_same(w, b);
            who.centers.n = who.voices.n = 0;
        }
        es_diarization_done(&who);
        return rc;
    case ES_RECORD_PASSAGE:
        rc = es_record_read_passage(b, &passage, &text, err);
        if (!rc) {
            es_passages one = {.at = &passage, .n = 1, .text = (char *)(uintptr_t)text.p, .n_text = text.n};
            if (!es_record_write_passage(w, &one, 0, NULL)) must_be_same(w, b);
        }
        return rc;
    case ES_RECORD_VECTORS: /* every number is looked at, for the sanitizer's sake */
        rc = es_record_read_vectors(b, &rows, true, err);
        if (!rc && rows.n) {
            const uint8_t *last = (const uint8_t *)rows.half + (size_t)rows.n * rows.width * 2 - 1;
            if (last != (const uint8_t *)b.p + b.n - 1) abort();
        }
        return rc;
    case ES_RECORD_OUTLINE:
        rc = es_record_read_outline(b, &outline, true, err);
        for (uint32_t i = 0; !rc && i < outline.n; i++)
            if (strlen(es_outline_at(&outline, i).language) > 7) abort();
        return rc;
    case ES_RECORD_TERMS:
        rc = es_record_read_terms(b, &lists, &n, keep_term, &list, err);
        if (!rc && list.n == n && !es_record_write_terms(w, list.at, n, lists, NULL)) must_be_same(w, b);
        return rc;
    default:
        rc = es_record_read_totals(b, &totals, err);
        if (!rc && !es_record_write_totals(w, &totals, NULL)) must_be_same(w, b);
        return rc;
    }
}

/* Names for voices. */
static int read_people(int kind, es_bytes b, es_record *w, es_err *err)
{
    es_profile person;
    es_space space;
    es_saying saying;
    es_identity identity;
    uint32_t rules;
    int rc;

    switch (kind) {
    case ES_RECORD_PERSON:
        rc = es_record_read_person(b, &person, err);
        if (!rc && !es_record_write_person(w, &person, NULL)) must_be_same(w, b);
        es_profile_done(&person);
        return rc;
    case ES_RECORD_SPACE:
        rc = es_record_read_space(b, &space, err);
        if (!rc && !es_record_write_space(w, &space, NULL)) must_be_same(w, b);
        return rc;
    case ES_RECORD_SAYING:
        rc = es_record_read_saying(b, &saying, err);
        if (!rc && !es_record_write_saying(w, &saying, NULL)) must_be_same(w, b);
        return rc;
    case ES_RECORD_IDENTITY:
        rc = es_record_read_identity(b, &identity, err);
        if (!rc && !es_record_write_identity(w, &identity, NULL)) must_be_same(w, b);
        return rc;
    default:
        rc = es_record_read_derived(b, &rules, err);
        if (!rc && !es_record_write_derived(w, rules, NULL)) must_be_same(w, b);
        return rc;
    }
}

static int read_journal(es_bytes b, es_record *w, es_err *err)
{
    es_journal_entry e;
    int rc = es_record_read_journal(b, &e, err);

    if (!rc && !es_record_write_journal(w, &e, NULL)) must_be_same(w, b);
    es_journal_entry_done(&e);
    return rc;
}

static void read_and_write(int kind, es_bytes b)
{
    es_record w = {0};
    es_err err = {0};
    es_library library;
    es_stored recording;
    es_transcript transcript = {0};
    es_file file;
    es_time time;
    char *path = NULL;
    int rc = ES_OK;

    switch (kind) {
    case ES_RECORD_LIBRARY:
        rc = es_record_read_library(b, &library, &err);
        if (!rc && !es_record_write_library(&w, &library, NULL)) must_be_same(&w, b);
        break;
    case ES_RECORD_RECORDING: /* an older version is written as the newest one, longer than it was */
        rc = es_record_read_recording(b, &recording, &err);
        if (!rc && !es_record_write_recording(&w, &recording, NULL) && ((const uint8_t *)b.p)[2] == 2)
            must_be_same(&w, b);
        es_stored_done(&recording);
        break;
    case ES_RECORD_SEGMENT:
        rc = es_record_read_segment(b, &transcript, &err);
        if ((rc == ES_OK) != (transcript.n_segments == 1)) abort();
        if (!rc && !es_record_write_segment(&w, &transcript, 0, NULL)) must_be_same(&w, b);
        es_transcript_done(&transcript);
        break;
    case ES_RECORD_PATH:
        rc = es_record_read_path(b, &path, &err);
        if (!rc && !es_record_write_path(&w, path, NULL)) must_be_same(&w, b);
        free(path);
        break;
    case ES_RECORD_FILE:
        rc = es_record_read_file(b, &file, &err);
        if (!rc && !es_record_write_file(&w, &file, NULL)) must_be_same(&w, b);
        break;
    case ES_RECORD_TIME:
        rc = es_record_read_time(b, &time, &err);
        if (!rc && !es_record_write_time(&w, &time, NULL)) must_be_same(&w, b);
        break;
    case ES_RECORD_PERSON:
    case ES_RECORD_SPACE:
    case ES_RECORD_SAYING:
    case ES_RECORD_IDENTITY:
    case ES_RECORD_DERIVED: rc = read_people(kind, b, &w, &err); break;
    case ES_RECORD_JOURNAL: rc = read_journal(b, &w, &err); break;
    default: rc = read_found(kind, b, &w, &err); break;
    }
    if (rc && (err.code != rc || !err.text[0])) abort(); /* a refusal comes with a sentence */
    free(w.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *whole;
    uint32_t sum;
    int kind;

    if (size < 1) return 0;
    kind = kinds[data[0] % (sizeof kinds / sizeof *kinds)];
    data++, size--;
    read_and_write(kind, (es_bytes){data, size});
    whole = malloc(8 + size);
    if (!whole) return 0;
    memcpy(whole, (const uint8_t[8]){(uint8_t)kind, 0, kind == ES_RECORD_RECORDING ? 2 : 1, 0}, 8);
    memcpy(whole + 8, data, size);
    sum = es_record_checksum(whole, 8 + size);
    for (int i = 0; i < 4; i++) whole[4 + i] = (uint8_t)(sum >> 8 * i);
    read_and_write(kind, (es_bytes){whole, 8 + size});
    free(whole);
    return 0;
}
