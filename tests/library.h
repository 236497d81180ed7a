/*
 * library.h - what the tests of the store share: results that follow from a seed, a library to put them in, and a dump
 * of everything in it.
 *
 * Everything lies in the test's own folder. A test that needs another process forks before it opens a library, since an
 * open LMDB environment must not cross a fork.
 */
#ifndef ES_TEST_LIBRARY_H
#define ES_TEST_LIBRARY_H

#include "test.h"

#include "store/inside.h"

#if defined(__SANITIZE_ADDRESS__)
#define ES_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ES_UNDER_ASAN 1
#endif
#endif

/* ---- results made from a seed ---- */

static inline es_hash128 content_of(int seed)
{
    char name[32];

    snprintf(name, sizeof name, "content %d", seed);
    return es_hash_bytes(name, strlen(name));
}

/* n segments of three words each; everything follows from seed and n. */
static inline es_result make_result(int seed, int n, const char *path)
{
    es_result r = {.media = {.content = content_of(seed),
                             .bytes = 1000u + (unsigned)seed,
                             .path = strdup(path),
                             .mtime_ns = 1700000000000000000 + seed,
                             .n_tracks = 2,
                             .container = "mov,mp4",
                             .codec = "aac",
                             .sample_rate = 44100,
                             .channels = 2,
                             .duration_ms = 2000 * n,
                             .damaged_packets = 3,
                             .truncated = seed % 2 == 1},
                   .made = {.settings = strdup("{\"language\":\"auto\"}"),
                            .by[ES_STAGE_ASR].name = "whisper-base",
                            .by[ES_STAGE_ASR].hash = content_of(-1),
                            .program = "0.1.0"},
                   .transcript = {.language = "en", .language_probability = 0.75f}};

    for (int i = 0; i < n; i++) {
        int32_t tokens[] = {50364, 100 * seed + i, -1, 50414};
        es_segment s = {.start_ms = 2000 * i,
                        .end_ms = 2000 * i + 1500,
                        .avg_logprob = -0.25f,
                        .no_speech = 0.01f,
                        .compression_ratio = 1.5f,
                        .temperature = 0.2f,
                        .flags = (uint32_t)i % 2,
                        .speaker = -1,
                        .language = "en"};
        char text[128];
        snprintf(text, sizeof text, " recording %d sentence %d", seed, i);
        es_transcript_add_segment(&r.transcript, &s, text, strlen(text), tokens, 4);
        for (int w = 0; w < 3; w++) {
            es_word word = {.start_ms = s.start_ms + 500 * w,
                            .end_ms = s.start_ms + 500 * w + 400,
                            .probability = 0.5f + 0.1f * (float)w,
                            .speaker = w - 1};
            snprintf(text, sizeof text, " word%d-%d-%d", seed, i, w);
            es_transcript_add_word(&r.transcript, &word, text, strlen(text));
        }
    }
    return r;
}

/* Vectors of unit length whose numbers a half holds exactly: one and zeros, and 3/5 and 4/5 come close enough. */
static inline es_vectors make_vectors(int seed, size_t n, int width, int space)
{
    es_vectors v = {.space = content_of(space), .width = width, .n = n};

    v.rows = calloc(n * (size_t)width, sizeof *v.rows);
    for (size_t i = 0; i < n; i++) {
        size_t at = (i * 7 + (size_t)seed) % (size_t)width;
        v.rows[i * (size_t)width + at] = i % 2 ? 0.5f : -1.0f;
        if (i % 2) /* 1/4 + 3 times 1/4 */
            for (size_t k = 1; k < 4; k++) v.rows[i * (size_t)width + (at + k) % (size_t)width] = 0.5f;
    }
    return v;
}

/* Adds who spoke (two people, two turns for each three segments) and a passage for every two segments. */
static inline void add_found(es_result *r, int seed, int width)
{
    size_t n = (r->transcript.n_segments + 1) / 2;
    es_diarization *d = &r->who;
    es_passages *p = &r->passages;
    char text[128];

    d->n_speakers = 2;
    d->alone_ms = calloc(2, sizeof *d->alone_ms);
    d->n_turns = d->n_exclusive = d->n_speech = n;
    d->turns = calloc(n, sizeof *d->turns);
    d->exclusive = calloc(n, sizeof *d->exclusive);
    d->speech = calloc(n, sizeof *d->speech);
    for (size_t i = 0; i < n; i++) {
        d->turns[i] = (es_spoken){4000 * (int64_t)i, 4000 * (int64_t)i + 3500, (int)i % 2};
        d->exclusive[i] = (es_spoken){4000 * (int64_t)i, 4000 * (int64_t)i + 3400, (int)i % 2};
        d->speech[i] = (es_heard){4000 * (int64_t)i, 4000 * (int64_t)i + 3500};
        d->alone_ms[i % 2] += 3400;
    }
    d->centers = make_vectors(seed, 2, 192, -2);
    d->voices = make_vectors(seed + 1, 2, 192, -2);
    r->made.by[ES_STAGE_DIARIZER] = (es_maker){"campplus", content_of(-2)};
    r->made.by[ES_STAGE_EMBEDDER] = (es_maker){"minilm", content_of(-3)};
    p->at = calloc(n, sizeof *p->at);
    p->text = malloc(n * sizeof text);
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "passage %d of recording %d: rarely%d spoken", (int)i, seed, seed);
        p->at[p->n++] = (es_passage){.start_ms = 4000 * (int64_t)i,
                                     .end_ms = 4000 * (int64_t)i + 3500,
                                     .speaker = (int)i % 3 - 1,
                                     .text_at = (uint32_t)p->n_text,
                                     .text_bytes = (uint32_t)strlen(text),
                                     .first_segment = 2 * (uint32_t)i,
                                     .n_segments = 2,
                                     .language = "en"};
        memcpy(p->text + p->n_text, text, strlen(text));
        p->n_text += strlen(text);
    }
    p->vectors = make_vectors(seed, n, width, -3);
}

static inline void put_found(es_store *s, int seed, int n, const char *path)
{
    es_result r = make_result(seed, n, path);
    es_err err = {0};

    add_found(&r, seed, 384);
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    es_result_done(&r);
}

static inline bool same_vectors(const es_vectors *a, const es_vectors *b)
{
    return a->n == b->n && a->width == b->width && !memcmp(a->space.b, b->space.b, 16) &&
           (!a->n || !memcmp(a->rows, b->rows, a->n * (size_t)a->width * sizeof *a->rows));
}

static inline void put(es_store *s, int seed, int n, const char *path)
{
    es_result r = make_result(seed, n, path);
    es_err err = {0};

    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    es_result_done(&r);
}

static inline const char *in_folder(const char *name)
{
    static char ring[8][1024];
    static int at;
    char *path = ring[at++ % 8];

    snprintf(path, sizeof ring[0], "%s/%s", es_test_folder(), name);
    return path;
}

static inline es_store *open_store(const char *dir, unsigned flags)
{
    es_store *s = NULL;
    es_err err = {0};
    int rc = es_store_open(&s, dir, flags, &err);

    CHECK(rc == ES_OK, "%s", err.text);
    return s;
}

/* Opening must fail with this status and a sentence that holds this text. */
static inline void check_refused(const char *dir, unsigned flags, int status, const char *text)
{
    es_store *s = NULL;
    es_err err = {0};

    CHECK_INT(es_store_open(&s, dir, flags, &err), status);
    CHECK(s == NULL, "a store came out");
    CHECK(strstr(err.text, text), "\"%s\" does not say \"%s\"", err.text, text);
    es_store_close(s);
}

static inline void count_fault(void *user, const char *sentence)
{
    (void)user;
    printf("    fault: %s\n", sentence);
}

static inline void check_whole(es_store *s)
{
    es_check c;
    es_err err = {0};

    CHECK(es_store_check(s, &c, count_fault, NULL, &err) == ES_OK, "%s", err.text);
    CHECK_INT(c.faults, 0);
}

/* ---- dumps: every record of every table, as bytes ---- */

typedef struct dump {
    es_record b;
    uint64_t records;
} dump;

static inline void dump_add(dump *d, const void *p, size_t n)
{
    if (d->b.n + n > d->b.room) {
        d->b.room = 2 * (d->b.n + n);
        d->b.p = realloc(d->b.p, d->b.room);
    }
    if (n) memcpy(d->b.p + d->b.n, p, n);
    d->b.n += n;
}

static inline dump dump_store(es_store *s, bool with_times)
{
    dump d = {0};
    es_txn *x = NULL;

    if (es_inside_begin(s, false, &x, NULL)) return d;
    for (int t = 0; t < ES_N_TABLES; t++) {
        es_cursor *c = NULL;
        es_bytes key, value;
        if (t == ES_TABLE_TIMES && !with_times) continue;
        es_cursor_open(&c, x, t, NULL);
        for (int rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, NULL); rc == ES_OK;
             rc = es_cursor_next(c, &key, &value, NULL)) {
            uint32_t head[3] = {(uint32_t)t, (uint32_t)key.n, (uint32_t)value.n};
            dump_add(&d, head, sizeof head);
            dump_add(&d, key.p, key.n);
            dump_add(&d, value.p, value.n);
            d.records++;
        }
        es_cursor_close(c);
    }
    es_inside_end(s, x, ES_OK, NULL);
    return d;
}

static inline bool same_dump(const dump *a, const dump *b)
{
    return a->b.n == b->b.n && !memcmp(a->b.p, b->b.p, a->b.n);
}

/* ---- visitors that write down what they see, in 200 bytes ---- */

static inline int note_path(void *user, const es_entry *e)
{
    char *text = user;

    snprintf(text + strlen(text), 200 - strlen(text), "%s:%d ", e->media.path ? e->media.path : "-",
             (int)e->n_segments);
    CHECK(e->ingested_ms > 1600000000000, "no time of ingestion");
    return 0;
}

static inline int note_seen(void *user, const char *path, int64_t seen_ms)
{
    char *text = user;

    CHECK(seen_ms > 1600000000000, "no time");
    snprintf(text + strlen(text), 200 - strlen(text), "%s ", path);
    return 0;
}

#endif
