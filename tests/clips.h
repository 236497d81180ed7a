/*
 * clips.h - what the tests of the voices' networks share: a recording as samples, and CAM++ converted from the test data.
 *
 * In a header, since each of these programs is one file; what a program does not call costs it nothing.
 */
#ifndef ES_CLIPS_H
#define ES_CLIPS_H

#include <stdlib.h>

#include "media/decode.h"
#include "test.h"
#include "weights/convert/convert.h"

/* The whole recording at 16 kHz, the caller's to free; NULL after a failure or where the file is not there. */
static inline float *clip_sound(const char *file, int64_t *n)
{
    const char *path = es_test_data(file);
    es_media_info info = {0};
    es_spool *s = NULL;
    es_err err = {0};
    float *x = NULL;

    if (!path) return NULL;
    int rc = es_media_decode(&s, &info, path, 0, es_test_folder(), NULL, NULL, &err);
    if (!rc) {
        *n = es_spool_samples(s);
        x = malloc((size_t)*n * sizeof *x + 1);
        rc = es_spool_read(s, 0, *n, x, &err);
    }
    CHECK(!rc, "%s: %s", file, err.text);
    es_spool_close(s);
    es_media_info_done(&info);
    return x;
}

/* The published weights as a pack in the test's folder; NULL, and the test skipped, without them or the file `needed`. */
static inline const char *clip_campplus(const char *needed)
{
    static char path[4096];
    es_convert_report rep;
    es_err err = {0};

    if (!es_test_data("models/campplus") || !es_test_data(needed)) {
        es_test_skip("ES_TEST_DATA/models/campplus");
        return NULL;
    }
    snprintf(path, sizeof path, "%s/campplus.pack", es_test_folder());
    es_convert_options o = {.source = es_test_data("models/campplus"), .output = path, .name = "campplus"};
    int rc = es_convert(&o, &rep, &err);
    CHECK(rc == ES_OK, "%s", err.text);
    return rc ? NULL : path;
}

#endif
