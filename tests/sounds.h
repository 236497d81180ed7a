/*
 * sounds.h - recordings decoded whole, for the tests of the media room: their samples, their levels, and what is refused.
 */
#ifndef ES_TEST_SOUNDS_H
#define ES_TEST_SOUNDS_H

#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "media/decode.h"

/* ---- helpers ---- */
#define IS(condition) CHECK(condition, "%s", "not so: " #condition)

typedef struct sound {
    float *x;
    int64_t n;
    es_media_info info;
    int rc;
    es_err err;
} sound;

static inline int files_in(const char *folder)
{
    char command[4200];
    int n = -1;

    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *f = popen(command, "r");
    if (f && fscanf(f, "%d", &n) != 1) n = -1;
    if (f) pclose(f);
    return n;
}

static inline sound decode(const char *path, int track)
{
    sound s = {0};
    es_spool *spool = NULL;
    const char *tmp = at("spools");

    mkdir(tmp, 0700);
    s.rc = es_media_decode(&spool, &s.info, path, track, tmp, NULL, NULL, &s.err);
    CHECK_INT(s.rc, s.rc ? s.err.code : ES_OK);
    CHECK((s.rc == ES_OK) == (spool != NULL), "a spool and a status that disagree");
    if (spool) {
        s.n = es_spool_samples(spool);
        s.x = malloc((size_t)s.n * sizeof *s.x + 1);
        CHECK_INT(es_spool_read(spool, 0, s.n, s.x, &s.err), ES_OK);
        CHECK_INT(s.info.duration_ms, s.n * 1000 / 16000);
    }
    es_spool_close(spool);
    CHECK_INT(files_in(tmp), 0);
    return s;
}

static inline sound decode_well(const char *path)
{
    sound s = decode(path, 0);

    CHECK(s.rc == ES_OK, "%s: %s", path, s.err.text);
    return s;
}

static inline void drop(sound *s)
{
    free(s->x);
    es_media_info_done(&s->info);
}

/* Root mean square of seconds a to b; what lies outside the sound counts as silence. */
static inline double level(const sound *s, double a, double b)
{
    double sum = 0;
    int64_t first = (int64_t)(a * 16000), last = (int64_t)(b * 16000);

    for (int64_t i = first; i < last; i++)
        if (i >= 0 && i < s->n) sum += (double)s->x[i] * (double)s->x[i];
    return sqrt(sum / (double)(last - first));
}

#define CHECK_LEVEL(s, a, b, want, bound)                                                                              \
    do {                                                                                                               \
        double l_ = level(s, a, b);                                                                                    \
        CHECK(fabs(l_ - (want)) <= (bound), "level from %g s to %g s is %g, expected %g within %g", (double)(a),       \
              (double)(b), l_, (double)(want), (double)(bound));                                                       \
    } while (0)

#define CHECK_SECONDS(s, want, bound)                                                                                  \
    CHECK(fabs((double)(s)->n / 16000 - (want)) <= (bound), "%lld samples, expected %g within %g", (long long)(s)->n,  \
          (want) * 16000.0, (bound) * 16000.0)

static inline void check_sentence(const es_err *err, const char *must_hold)
{
    CHECK(strstr(err->text, must_hold), "\"%s\" does not hold \"%s\"", err->text, must_hold);
    CHECK(!strchr(err->text, '\n'), "\"%s\" has a line break", err->text);
}

/* ---- what is refused ---- */
static inline void refuse(const char *path, int code, const char *sentence)
{
    es_media_info info = {0};
    es_err err = {0};
    sound s = decode(path, 0);

    CHECK_INT(s.rc, code);
    check_sentence(&s.err, sentence);
    CHECK_INT(es_media_probe(&info, path, 0, &err), code);
    check_sentence(&err, sentence);
    es_media_info_done(&info);
    drop(&s);
}

/* ---- the hash ---- */
static inline int stop_at_once(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)done, (void)all;
    ++*(int *)user;
    return 1;
}

#endif
