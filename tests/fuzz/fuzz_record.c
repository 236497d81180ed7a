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

static const int kinds[] = {ES_RECORD_LIBRARY, ES_RECORD_RECORDING, ES_RECORD_SEGMENT,
                            ES_RECORD_PATH,    ES_RECORD_FILE,      ES_RECORD_TIME};

static void must_be_same(const es_record *w, es_bytes b)
{
    if (w->n != b.n || memcmp(w->p, b.p, b.n)) abort();
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
    case ES_RECORD_RECORDING: /* its counts are of a transcript that is not here, so it is not written again */
        rc = es_record_read_recording(b, &recording, &err);
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
    default:
        rc = es_record_read_time(b, &time, &err);
        if (!rc && !es_record_write_time(&w, &time, NULL)) must_be_same(&w, b);
        break;
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
    memcpy(whole, (const uint8_t[8]){(uint8_t)kind, 0, 1, 0}, 8);
    memcpy(whole + 8, data, size);
    sum = es_record_checksum(whole, 8 + size);
    for (int i = 0; i < 4; i++) whole[4 + i] = (uint8_t)(sum >> 8 * i);
    read_and_write(kind, (es_bytes){whole, 8 + size});
    free(whole);
    return 0;
}
