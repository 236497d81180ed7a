/*
 * test_store.c - the library: what goes in comes out, whatever the order, whoever dies meanwhile; what is removed is gone.
 *
 * Everything runs in a folder of its own. Tests that need another process fork before they open anything, since an open
 * LMDB environment must not cross a fork.
 */
#define _GNU_SOURCE
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/inside.h"

#if defined(__SANITIZE_ADDRESS__)
#define ES_UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ES_UNDER_ASAN 1
#endif
#endif

/* ---- results made from a seed ---- */

static es_hash128 content_of(int seed)
{
    char name[32];

    snprintf(name, sizeof name, "content %d", seed);
    return es_hash_bytes(name, strlen(name));
}

/* n segments of three words each; everything follows from seed and n. */
static es_result make_result(int seed, int n, const char *path)
{
    es_result r = {.media = {.content = content_of(seed), .bytes = 1000u + (unsigned)seed, .path = strdup(path),
                             .mtime_ns = 1700000000000000000 + seed, .n_tracks = 2, .container = "mov,mp4",
                             .codec = "aac", .sample_rate = 44100, .channels = 2, .duration_ms = 2000 * n,
                             .damaged_packets = 3, .truncated = seed % 2 == 1},
                   .made = {.settings = strdup("{\"language\":\"auto\"}"), .asr = "whisper-base",
                            .asr_hash = content_of(-1), .program = "0.1.0"},
                   .transcript = {.language = "en", .language_probability = 0.75f}};

    for (int i = 0; i < n; i++) {
        int32_t tokens[] = {50364, 100 * seed + i, -1, 50414};
        es_segment s = {.start_ms = 2000 * i, .end_ms = 2000 * i + 1500, .avg_logprob = -0.25f, .no_speech = 0.01f,
                        .compression_ratio = 1.5f, .temperature = 0.2f, .flags = (uint32_t)i % 2, .speaker = -1,
                        .language = "en"};
        char text[128];
        snprintf(text, sizeof text, " recording %d sentence %d", seed, i);
        es_transcript_add_segment(&r.transcript, &s, text, strlen(text), tokens, 4);
        for (int w = 0; w < 3; w++) {
            es_word word = {.start_ms = s.start_ms + 500 * w, .end_ms = s.start_ms + 500 * w + 400,
                            .probability = 0.5f + 0.1f * (float)w, .speaker = w - 1};
            snprintf(text, sizeof text, " word%d-%d-%d", seed, i, w);
            es_transcript_add_word(&r.transcript, &word, text, strlen(text));
        }
    }
    return r;
}

static void put(es_store *s, int seed, int n, const char *path)
{
    es_result r = make_result(seed, n, path);
    es_err err = {0};

    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    es_result_done(&r);
}

static const char *in_folder(const char *name)
{
    static char ring[8][1024];
    static int at;
    char *path = ring[at++ % 8];

    snprintf(path, sizeof ring[0], "%s/%s", es_test_folder(), name);
    return path;
}

static es_store *open_store(const char *dir, unsigned flags)
{
    es_store *s = NULL;
    es_err err = {0};
    int rc = es_store_open(&s, dir, flags, &err);

    CHECK(rc == ES_OK, "%s", err.text);
    return s;
}

/* Opening must fail with this status and a sentence that holds this text. */
static void check_refused(const char *dir, unsigned flags, int status, const char *text)
{
    es_store *s = NULL;
    es_err err = {0};

    CHECK_INT(es_store_open(&s, dir, flags, &err), status);
    CHECK(s == NULL, "a store came out");
    CHECK(strstr(err.text, text), "\"%s\" does not say \"%s\"", err.text, text);
    es_store_close(s);
}

static void count_fault(void *user, const char *sentence)
{
    (void)user;
    printf("    fault: %s\n", sentence);
}

static void check_whole(es_store *s)
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

static void dump_add(dump *d, const void *p, size_t n)
{
    if (d->b.n + n > d->b.room) {
        d->b.room = 2 * (d->b.n + n);
        d->b.p = realloc(d->b.p, d->b.room);
    }
    if (n) memcpy(d->b.p + d->b.n, p, n);
    d->b.n += n;
}

static dump dump_store(es_store *s, bool with_times)
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

static bool same_dump(const dump *a, const dump *b)
{
    return a->b.n == b->b.n && !memcmp(a->b.p, b->b.p, a->b.n);
}

/* ---- the tests ---- */

static void test_put_get(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_result r = make_result(7, 20, "/films/a \"quoted\"\nname \xc3\xa9.mp4"), back;
    es_media_info m;
    es_made made;
    es_err err = {0};

    if (!s) return;
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    CHECK(es_store_get(s, r.media.content, -1, &back, &err) == ES_OK, "%s", err.text);
    CHECK_STR(back.media.path, r.media.path);
    CHECK_INT(back.media.bytes, 1007);
    CHECK_INT(back.media.mtime_ns, 1700000000000000007);
    CHECK_INT(back.media.track, 0);
    CHECK_INT(back.media.n_tracks, 2);
    CHECK_STR(back.media.container, "mov,mp4");
    CHECK_STR(back.media.codec, "aac");
    CHECK_INT(back.media.sample_rate, 44100);
    CHECK_INT(back.media.channels, 2);
    CHECK_INT(back.media.duration_ms, 40000);
    CHECK_INT(back.media.damaged_packets, 3);
    CHECK(back.media.truncated);
    CHECK_STR(back.made.settings, "{\"language\":\"auto\"}");
    CHECK_STR(back.made.asr, "whisper-base");
    CHECK(!memcmp(&back.made.asr_hash, &r.made.asr_hash, 16));
    CHECK_STR(back.made.program, "0.1.0");
    CHECK_STR(back.transcript.language, "en");
    CHECK(back.transcript.language_probability == 0.75f);
    CHECK_INT(back.transcript.n_segments, 20);
    CHECK_INT(back.transcript.n_words, 60);
    CHECK_INT(back.transcript.n_tokens, 80);
    CHECK_INT(back.transcript.n_text, r.transcript.n_text);
    CHECK(!memcmp(back.transcript.text, r.transcript.text, r.transcript.n_text), "the text differs");
    CHECK(!memcmp(back.transcript.tokens, r.transcript.tokens, 80 * sizeof(int32_t)), "the tokens differ");
    for (size_t i = 0; i < 20 && i < back.transcript.n_segments; i++) {
        es_segment *a = &back.transcript.segments[i], *b = &r.transcript.segments[i];
        CHECK(a->start_ms == b->start_ms && a->end_ms == b->end_ms && a->text_at == b->text_at &&
              a->text_bytes == b->text_bytes && a->first_token == b->first_token && a->n_tokens == b->n_tokens &&
              a->first_word == b->first_word && a->n_words == b->n_words && a->avg_logprob == b->avg_logprob &&
              a->no_speech == b->no_speech && a->compression_ratio == b->compression_ratio &&
              a->temperature == b->temperature && a->flags == b->flags && a->speaker == b->speaker &&
              !strcmp(a->language, b->language), "segment %zu differs", i);
    }
    for (size_t i = 0; i < 60 && i < back.transcript.n_words; i++) {
        es_word *a = &back.transcript.words[i], *b = &r.transcript.words[i];
        CHECK(a->start_ms == b->start_ms && a->end_ms == b->end_ms && a->probability == b->probability &&
              a->speaker == b->speaker && a->text_at == b->text_at && a->text_bytes == b->text_bytes,
              "word %zu differs", i);
    }
    CHECK_INT(es_store_get_info(s, r.media.content, 0, &m, &made, &err), ES_OK);
    CHECK_STR(m.path, r.media.path);
    CHECK_STR(made.asr, "whisper-base");
    es_media_info_done(&m);
    es_made_done(&made);
    CHECK_INT(es_store_get_info(s, r.media.content, 1, &m, &made, &err), ES_ENOTFOUND);
    CHECK(strstr(err.text, "no recording"), "%s", err.text);
    CHECK_INT(es_store_get_info(s, content_of(8), -1, &m, &made, NULL), ES_ENOTFOUND);
    check_whole(s);
    es_result_done(&back);
    es_result_done(&r);
    es_store_close(s);
}

static void test_replace(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE), *other;
    dump a, b;

    if (!s) return;
    put(s, 1, 50, "/a.wav");
    put(s, 1, 4, "/a.wav"); /* fewer: none of the old ones may show through */
    check_whole(s);
    a = dump_store(s, false);
    other = open_store(in_folder("other"), ES_STORE_CREATE);
    put(other, 1, 4, "/a.wav");
    b = dump_store(other, false);
    CHECK(same_dump(&a, &b), "the second result left something of the first");
    free(a.b.p), free(b.b.p);
    es_store_close(s);
    es_store_close(other);
}

static void test_order(void)
{
    enum { N = 12 };
    es_store *s[2] = {open_store(in_folder("one"), ES_STORE_CREATE), open_store(in_folder("two"), ES_STORE_CREATE)};
    es_err err = {0};
    dump d[2];

    if (!s[0] || !s[1]) return;
    for (int i = 0; i < N; i++) {
        char path[64], second[64];
        snprintf(path, sizeof path, "/films/%d.mp4", i);
        snprintf(second, sizeof second, "/again/%d.mp4", i);
        put(s[0], i, i + 1, path);
        CHECK(es_store_add_path(s[0], content_of(i), 0, second, &err) == ES_OK, "%s", err.text);
        CHECK_INT(es_store_cache_hash(s[0], 1, (uint64_t)i, 1000, 5, content_of(i), &err), ES_OK);
    }
    for (int k = 0; k < N; k++) {
        int i = k * 5 % N; /* another order, and each under its other name first */
        char path[64], second[64];
        snprintf(path, sizeof path, "/films/%d.mp4", i);
        snprintf(second, sizeof second, "/again/%d.mp4", i);
        CHECK_INT(es_store_cache_hash(s[1], 1, (uint64_t)i, 1000, 5, content_of(i), &err), ES_OK);
        put(s[1], i, i + 1, second);
        CHECK(es_store_add_path(s[1], content_of(i), 0, path, &err) == ES_OK, "%s", err.text);
    }
    for (int i = 0; i < 2; i++) {
        es_result r;
        check_whole(s[i]);
        d[i] = dump_store(s[i], false);
        CHECK_INT(es_store_get(s[i], content_of(3), 0, &r, &err), ES_OK);
        CHECK_STR(r.media.path, "/again/3.mp4");
        es_result_done(&r);
    }
    CHECK(d[0].records > 100, "only %llu records", (unsigned long long)d[0].records);
    CHECK(same_dump(&d[0], &d[1]), "the order of ingestion shows in the records");
    free(d[0].b.p), free(d[1].b.p);
    es_store_close(s[0]);
    es_store_close(s[1]);
}

static void test_collision(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_result r = make_result(5, 2, "/b.wav"), back;
    es_err err = {0};

    if (!s) return;
    put(s, 5, 3, "/a.wav");
    r.media.content.b[15] ^= 1; /* the first 64 bits stay */
    CHECK_INT(es_store_put(s, &r, &err), ES_ELIBRARY);
    CHECK(strstr(err.text, "share their first 64 bits"), "%s", err.text);
    CHECK_INT(es_store_get(s, r.media.content, 0, &back, NULL), ES_ENOTFOUND);
    CHECK_INT(es_store_get(s, content_of(5), 0, &back, NULL), ES_OK);
    CHECK_INT(back.transcript.n_segments, 3);
    es_result_done(&back);
    es_result_done(&r);
    check_whole(s);
    es_store_close(s);
}

static void test_tracks(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_result r = make_result(5, 2, "/a.mkv"), back;
    es_err err = {0};

    if (!s) return;
    r.media.track = 1;
    CHECK_INT(es_store_put(s, &r, &err), ES_OK);
    es_result_done(&r);
    CHECK_INT(es_store_get(s, content_of(5), -1, &back, &err), ES_OK);
    CHECK_INT(back.media.track, 1);
    CHECK_INT(back.transcript.n_segments, 2);
    es_result_done(&back);
    put(s, 5, 3, "/a.mkv");
    CHECK_INT(es_store_get(s, content_of(5), -1, &back, &err), ES_OK);
    CHECK_INT(back.transcript.n_segments, 3);
    es_result_done(&back);
    CHECK_INT(es_store_remove(s, content_of(5), 0, &err), ES_OK);
    CHECK_INT(es_store_get(s, content_of(5), 1, &back, &err), ES_OK);
    CHECK_STR(back.media.path, "/a.mkv");
    es_result_done(&back);
    r = make_result(6, 1, "/x");
    r.media.track = 65536;
    CHECK_INT(es_store_put(s, &r, &err), ES_EARG);
    es_result_done(&r);
    check_whole(s);
    es_store_close(s);
}

/* ---- list, paths, resolve ---- */

static int note_path(void *user, const es_entry *e)
{
    char *text = user;

    snprintf(text + strlen(text), 200 - strlen(text), "%s:%d ", e->media.path ? e->media.path : "-",
             (int)e->n_segments);
    CHECK(e->ingested_ms > 1600000000000, "no time of ingestion");
    return 0;
}

static int note_seen(void *user, const char *path, int64_t seen_ms)
{
    char *text = user;

    CHECK(seen_ms > 1600000000000, "no time");
    snprintf(text + strlen(text), 200 - strlen(text), "%s ", path);
    return 0;
}

static void test_list_resolve(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    char text[200] = "", hex[33];
    es_hash128 h;
    int track;
    es_err err = {0};

    if (!s) return;
    put(s, 1, 1, "/z/talk.mp4");
    put(s, 2, 2, "/b/talk.mp4");
    put(s, 3, 3, "/c/take #2.wav");
    put(s, 4, 4, "");
    CHECK_INT(es_store_list(s, note_path, text, &err), ES_OK);
    CHECK_STR(text, "-:4 /b/talk.mp4:2 /c/take #2.wav:3 /z/talk.mp4:1 ");
    usleep(3000);
    CHECK_INT(es_store_add_path(s, content_of(1), 0, "/a/other.mp4", &err), ES_OK);
    text[0] = 0;
    CHECK_INT(es_store_paths(s, content_of(1), note_seen, text, &err), ES_OK);
    CHECK_STR(text, "/a/other.mp4 /z/talk.mp4 ");
    CHECK_INT(es_store_resolve(s, "/z/talk.mp4", &h, &track, &err), ES_OK);
    CHECK(!memcmp(h.b, content_of(1).b, 16));
    CHECK_INT(es_store_resolve(s, "other.mp4", &h, &track, &err), ES_OK);
    CHECK(!memcmp(h.b, content_of(1).b, 16));
    CHECK_INT(es_store_resolve(s, "take #2.wav", &h, &track, &err), ES_OK);
    CHECK(!memcmp(h.b, content_of(3).b, 16));
    CHECK_INT(es_store_resolve(s, "other.mp4#0", &h, &track, &err), ES_OK);
    CHECK_INT(track, 0);
    CHECK_INT(es_store_resolve(s, "other.mp4#1", &h, &track, NULL), ES_ENOTFOUND);
    es_hash_hex(hex, content_of(4));
    hex[6] = 0;
    CHECK_INT(es_store_resolve(s, hex, &h, &track, &err), ES_OK);
    CHECK(!memcmp(h.b, content_of(4).b, 16));
    hex[5] = 0;
    CHECK_INT(es_store_resolve(s, hex, &h, &track, NULL), ES_ENOTFOUND);
    CHECK_INT(es_store_resolve(s, "talk.mp4", &h, &track, &err), ES_EARG);
    CHECK(strstr(err.text, "fits 2 recordings") && strstr(err.text, "/b/talk.mp4") && strstr(err.text, "/z/talk.mp4"),
          "%s", err.text);
    err = (es_err){0};
    CHECK_INT(es_store_resolve(s, "nothing", &h, &track, &err), ES_ENOTFOUND);
    CHECK(strstr(err.text, "nothing"), "%s", err.text);
    CHECK_INT(es_store_resolve(s, "", &h, &track, NULL), ES_OK); /* the one without a path */
    es_store_close(s);
}

static void test_cached_hash(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_hash128 h;
    es_err err = {0};

    if (!s) return;
    CHECK(!es_store_cached_hash(s, 1, 2, 3, 4, &h));
    CHECK_INT(es_store_cache_hash(s, 1, 2, 3, 4, content_of(9), &err), ES_OK);
    CHECK(es_store_cached_hash(s, 1, 2, 3, 4, &h) && !memcmp(h.b, content_of(9).b, 16));
    CHECK(!es_store_cached_hash(s, 1, 2, 3, 5, &h), "another time of change");
    CHECK(!es_store_cached_hash(s, 1, 2, 4, 4, &h), "another size");
    CHECK(!es_store_cached_hash(s, 2, 2, 3, 4, &h), "another device");
    CHECK_INT(es_store_cache_hash(s, 1, 2, 30, 40, content_of(10), &err), ES_OK);
    CHECK(es_store_cached_hash(s, 1, 2, 30, 40, &h) && !memcmp(h.b, content_of(10).b, 16));
    es_store_close(s);
}

/* ---- remove and compact ---- */

static struct {
    const char *what;
    size_t n;
    int found;
} needle;

static int search_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    FILE *f;
    char *p;

    (void)ftw;
    if (flag != FTW_F || st->st_size == 0) return 0;
    f = fopen(path, "rb");
    p = malloc((size_t)st->st_size);
    if (f && p && fread(p, 1, (size_t)st->st_size, f) == (size_t)st->st_size &&
        memmem(p, (size_t)st->st_size, needle.what, needle.n))
        needle.found++;
    if (f) fclose(f);
    free(p);
    return 0;
}

/* In how many files below dir the bytes occur. The library must be closed: see store_memory_testing on second opens. */
static int files_with(const char *dir, const void *what, size_t n)
{
    needle.what = what;
    needle.n = n;
    needle.found = 0;
    nftw(dir, search_file, 16, FTW_PHYS);
    return needle.found;
}

static void test_remove_compact(void)
{
    const char *dir = in_folder("lib");
    es_store *s = open_store(dir, ES_STORE_CREATE);
    uint64_t before = 0, after = 0;
    es_err err = {0};
    es_check c;
    dump was, is;
    es_hash128 gone = content_of(40);

    if (!s) return;
    for (int i = 0; i < 40; i++) {
        char path[64];
        snprintf(path, sizeof path, "/kept/%d.mp4", i);
        put(s, i, 8, path);
    }
    was = dump_store(s, true);
    put(s, 40, 300, "/secret/name.mp4");
    es_store_cache_hash(s, 8, 9, 10, 11, gone, &err);
    es_store_close(s);
    CHECK_INT(files_with(dir, "word40-", 7), 1);
    CHECK_INT(files_with(dir, "/secret/name", 12), 1);
    CHECK_INT(files_with(dir, gone.b, 16), 1);

    s = open_store(dir, 0);
    if (!s) return;
    CHECK(es_store_remove(s, gone, -1, &err) == ES_OK, "%s", err.text);
    CHECK_INT(es_store_remove(s, gone, -1, NULL), ES_ENOTFOUND);
    check_whole(s);
    CHECK(es_store_compact(s, &before, &after, &err) == ES_OK, "%s", err.text);
    CHECK(after < before, "%llu bytes became %llu", (unsigned long long)before, (unsigned long long)after);
    is = dump_store(s, true);
    CHECK(same_dump(&was, &is), "compacting or removing changed other records");
    CHECK(es_store_check(s, &c, count_fault, NULL, &err) == ES_OK, "%s", err.text);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 40);
    put(s, 41, 3, "/later.mp4"); /* it can be written as before */
    check_whole(s);
    es_store_close(s);
    CHECK_INT(files_with(dir, "recording 40", 12), 0);
    CHECK_INT(files_with(dir, "word40-", 7), 0);
    CHECK_INT(files_with(dir, "/secret/name", 12), 0);
    CHECK_INT(files_with(dir, gone.b, 16), 0);
    CHECK_INT(files_with(dir, gone.b, 8), 0);
    CHECK_INT(files_with(dir, "word39-", 7), 1);
    free(was.b.p), free(is.b.p);
}

/* Small recordings side by side on pages that live on: what is removed lies in the unused parts of used pages. */
static void test_compact_slack(void)
{
    const char *dir = in_folder("lib");
    es_store *s = open_store(dir, ES_STORE_CREATE);
    es_err err = {0};

    if (!s) return;
    for (int i = 0; i < 30; i++) put(s, i, 2, "/p.mp4");
    for (int i = 0; i < 30; i += 2) CHECK_INT(es_store_remove(s, content_of(i), -1, &err), ES_OK);
    CHECK_INT(es_store_compact(s, NULL, NULL, &err), ES_OK);
    check_whole(s);
    es_store_close(s);
    for (int i = 0; i < 30; i++) {
        char text[64];
        snprintf(text, sizeof text, "recording %d sentence", i);
        CHECK_INT(files_with(dir, text, strlen(text)), i % 2);
    }
}

static void test_backup(void)
{
    const char *dir = in_folder("lib"), *to = in_folder("copy");
    es_store *s = open_store(dir, ES_STORE_CREATE), *copy;
    es_err err = {0};
    dump a, b;

    if (!s) return;
    for (int i = 0; i < 10; i++) put(s, i, 20, "/x.mp4");
    CHECK(es_store_backup(s, to, &err) == ES_OK, "%s", err.text);
    CHECK_INT(es_store_backup(s, to, &err), ES_EARG);
    CHECK(strstr(err.text, "not empty"), "%s", err.text);
    copy = open_store(to, 0);
    if (!copy) return;
    check_whole(copy);
    a = dump_store(s, true);
    b = dump_store(copy, true);
    CHECK(same_dump(&a, &b), "the backup differs");
    free(a.b.p), free(b.b.p);
    es_store_close(copy);
    es_store_close(s);
    CHECK(access(in_folder("copy/unfinished"), F_OK) != 0);
}

/* ---- folders that are refused ---- */

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(p, 1, n, f) != n) CHECK(false, "%s cannot be written", path);
    if (f) fclose(f);
}

static void test_refused(void)
{
    const char *dir = in_folder("lib");
    struct stat st;
    es_store *s;
    char junk[8192];

    check_refused(dir, 0, ES_ENOTFOUND, "no library");
    check_refused(dir, ES_STORE_READ_ONLY, ES_ENOTFOUND, "no library");
    check_refused(dir, ES_STORE_READ_ONLY | ES_STORE_CREATE, ES_ENOTFOUND, "no library");
    CHECK(access(dir, F_OK) != 0, "a refusal made a folder");
    mkdir(dir, 0755);
    write_file(in_folder("lib/letter.txt"), "dear", 4);
    check_refused(dir, ES_STORE_CREATE, ES_ELIBRARY, "letter.txt");
    check_refused(in_folder("lib/letter.txt"), ES_STORE_CREATE, ES_ELIBRARY, "not a folder");
    unlink(in_folder("lib/letter.txt"));
    memset(junk, 'j', sizeof junk);
    write_file(in_folder("lib/data.mdb"), junk, sizeof junk);
    check_refused(dir, ES_STORE_CREATE, ES_ELIBRARY, "not a library");
    unlink(in_folder("lib/data.mdb"));

    s = open_store(in_folder("made/on/the way"), ES_STORE_CREATE);
    if (!s) return;
    for (int i = 0; i < 20; i++) put(s, i, 20, "/x");
    es_store_close(s);
    CHECK(stat(in_folder("made/on/the way"), &st) == 0 && (st.st_mode & 077) == 0, "others may look into it");
    CHECK(stat(in_folder("made/on/the way/data.mdb"), &st) == 0);
    CHECK(truncate(in_folder("made/on/the way/data.mdb"), st.st_size / 2) == 0);
    check_refused(in_folder("made/on/the way"), 0, ES_ELIBRARY, "cut short");
    check_refused(in_folder("made/on/the way"), ES_STORE_READ_ONLY, ES_ELIBRARY, "cut short");
}

static void test_network(void)
{
    static const long network[] = {0x6969, 0x517B, (long)0xFF534D42, (long)0xFE534D42, 0x65735546, 0x01021997,
                                   0x5346414F, 0x00C36400, 0x0BD00BD0, (int)0xFF534D42 /* as a 32-bit long shows it */};
    static const long local[] = {0xEF53 /* ext4 */, 0x58465342 /* xfs */, (long)0x9123683E /* btrfs */, 0x01021994 /* tmpfs */,
                                 0x794C7630 /* overlay */, 0x2FC12FC1 /* zfs */, (long)0xF2F52010 /* f2fs */, 0};

    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        CHECK(es_store_is_network(network[i]), "%lx is let through", (unsigned long)network[i]);
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        CHECK(!es_store_is_network(local[i]), "%lx is refused", (unsigned long)local[i]);
}

/* ---- other processes ---- */

/* Runs f in a child; its exit status, or -signal. */
static int in_child(int (*f)(const char *dir), const char *dir)
{
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) _exit(f(dir));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Without the rights of root, which ignores those of files. */
static int child_reads_only(const char *dir)
{
    es_store *s = NULL;
    es_result r;
    es_err err = {0}, put_err = {0};
    int rc;

    if (geteuid() == 0 && (setegid(65534) || seteuid(65534))) return 1;
    rc = es_store_open(&s, dir, ES_STORE_CREATE, &err);
    if (rc != ES_ELIBRARY || !strstr(err.text, "cannot be written") || !strstr(err.text, "still be read")) {
        printf("    %d %s\n", rc, err.text);
        return 2;
    }
    err = (es_err){0};
    if (es_store_open(&s, dir, ES_STORE_READ_ONLY, &err)) {
        printf("    %s\n", err.text);
        return 3;
    }
    rc = es_store_get(s, content_of(1), 0, &r, &err);
    es_result_done(&r);
    if (rc) return 4;
    r = make_result(2, 1, "/y");
    rc = es_store_put(s, &r, &put_err);
    es_result_done(&r);
    es_store_close(s);
    return rc == ES_ELIBRARY && strstr(put_err.text, "reading only") ? 0 : 5;
}

static int chmod_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    return chmod(path, flag == FTW_F ? 0444 : 0555);
}

static void test_read_only_folder(void)
{
    const char *dir = in_folder("lib");
    es_store *s = open_store(dir, ES_STORE_CREATE);

    if (!s) return;
    put(s, 1, 3, "/x");
    es_store_close(s);
    nftw(dir, chmod_one, 16, FTW_DEPTH | FTW_PHYS);
    chmod(es_test_folder(), 0755);
    CHECK_INT(in_child(child_reads_only, dir), 0);
    chmod(dir, 0755);
}

static int child_fills_disk(const char *dir)
{
    struct rlimit small = {.rlim_cur = 300000, .rlim_max = 300000};
    es_store *s = NULL;
    es_err err = {0};
    es_check c;
    int rc = 0, done = 0;

    signal(SIGXFSZ, SIG_IGN); /* as a full disk: write() fails, nothing else happens */
    if (setrlimit(RLIMIT_FSIZE, &small) || es_store_open(&s, dir, ES_STORE_CREATE, &err)) return 1;
    while (!rc && done < 1000) {
        es_result r = make_result(done, 50, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
        if (!rc) done++;
    }
    if (rc != ES_EIO || !strstr(err.text, "no room left") || done < 3) {
        printf("    after %d: %d %s\n", done, rc, err.text);
        return 2;
    }
    err = (es_err){0};
    if (es_store_check(s, &c, count_fault, NULL, &err) || c.faults || c.recordings != (uint64_t)done) return 3;
    if (es_store_backup(s, "/nonexistent/there", &err) == ES_OK || !strstr(err.text, "/nonexistent/there")) return 4;
    es_store_close(s);
    return 0;
}

static void test_disk_full(void)
{
    const char *dir = in_folder("lib");
    es_store *s;

    CHECK_INT(in_child(child_fills_disk, dir), 0);
    s = open_store(dir, 0);
    if (!s) return;
    check_whole(s);
    put(s, 2000, 100, "/y");
    check_whole(s);
    es_store_close(s);
}

/* On a disk of one megabyte that is really full: nothing more goes in, what is there stays and can be read, and when
 * there is a little room again it can be emptied. A new library is refused with a sentence instead of dying of SIGBUS. */
static int child_on_small_disk(const char *dir)
{
    char path[1024];
    es_store *s = NULL;
    es_err err = {0};
    es_check c;
    int rc = 0, done = 0;
    FILE *f;

    if (unshare(CLONE_NEWNS) ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
        return 77;
    snprintf(path, sizeof path, "%s/filler", dir);
    f = fopen(path, "wb");
    for (int i = 0; f && i < 100000; i++) fputc('x', f);
    if (!f || fclose(f)) return 1;
    snprintf(path, sizeof path, "%s/lib", dir);
    if (es_store_open(&s, path, ES_STORE_CREATE, &err)) return 1;
    for (; !rc && done < 1000; done += !rc) {
        es_result r = make_result(done, 50, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
    }
    if (rc != ES_EIO || !strstr(err.text, "no room left") || done < 3) return 2;
    snprintf(path, sizeof path, "%s/rest", dir);
    f = fopen(path, "wb");
    while (f && fputc('x', f) != EOF && fflush(f) == 0) {
    }
    if (f) fclose(f);
    if (es_store_compact(s, NULL, NULL, NULL) == ES_OK) return 3;
    if (es_store_check(s, &c, count_fault, NULL, NULL) || c.faults || c.recordings != (uint64_t)done) return 4;
    es_store_close(s);
    snprintf(path, sizeof path, "%s/other", dir);
    err = (es_err){0};
    if (es_store_open(&s, path, ES_STORE_CREATE, &err) == ES_OK || !strstr(err.text, "room left")) return 5;
    snprintf(path, sizeof path, "%s/lib", dir);
    err = (es_err){0};
    if (es_store_open(&s, path, 0, &err)) return 6;
    snprintf(path, sizeof path, "%s/filler", dir); /* deleting, too, takes a few new pages before it frees others */
    unlink(path);
    for (int i = 0; i < done; i++)
        if (es_store_remove(s, content_of(i), -1, &err)) return 7;
    if (es_store_check(s, &c, count_fault, NULL, NULL) || c.faults || c.recordings != 0) return 8;
    es_store_close(s);
    return 0;
}

static void test_small_disk(void)
{
    const char *dir = in_folder("disk");
    int status;

    CHECK(mkdir(dir, 0755) == 0);
    status = in_child(child_on_small_disk, dir);
    if (status == 77) printf("    no right to mount a small disk here; disk_full stands in for it\n");
    else CHECK_INT(status, 0);
}

/* Writes without end: results with ever other seeds, some replaced, some removed. */
static int child_writes(const char *dir)
{
    es_store *s = NULL;

    if (es_store_open(&s, dir, ES_STORE_CREATE, NULL)) return 1;
    for (int i = 0;; i++) {
        es_result r = make_result(i % 7, 5 + i % 11, "/x");
        if (es_store_put(s, &r, NULL)) return 2;
        if (i % 5 == 4 && es_store_remove(s, content_of((i - 2) % 7), -1, NULL) == ES_EIO) return 3;
        es_result_done(&r);
    }
}

/* The same, compacting in between. */
static int child_compacts(const char *dir)
{
    es_store *s = NULL;

    if (es_store_open(&s, dir, ES_STORE_CREATE, NULL)) return 1;
    for (int i = getpid();; i++) {
        es_result r = make_result(i % 7, 5 + i % 11, "/x");
        if (es_store_put(s, &r, NULL) || es_store_compact(s, NULL, NULL, NULL)) return 2;
        es_result_done(&r);
    }
}

/* Twenty times: a child works and is killed at some moment; the library is whole, and the next one goes on with it. */
static void kill_rounds(int (*child)(const char *dir))
{
    const char *dir = in_folder("lib");
    es_noise noise = {.state = 20};
    uint64_t most = 0;

    for (int round = 0; round < 20; round++) {
        struct timespec pause = {.tv_nsec = 5000000 + (long)(es_noise_uniform(&noise) * 60e6)};
        es_store *s;
        es_check c;
        es_err err = {0};
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) _exit(child(dir));
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        CHECK(WIFSIGNALED(status), "the writer ended by itself with %d", WEXITSTATUS(status));
        s = open_store(dir, ES_STORE_CREATE);
        if (!s) return;
        CHECK(es_store_check(s, &c, count_fault, NULL, &err) == ES_OK, "%s", err.text);
        CHECK_INT(c.faults, 0);
        if (c.recordings > most) most = c.recordings;
        es_store_close(s);
    }
    CHECK(most > 0, "no writer got anything done");
}

static void test_killed_writer(void)
{
    kill_rounds(child_writes);
}

static void test_killed_compact(void)
{
    kill_rounds(child_compacts);
}

static int child_writes_evens(const char *dir)
{
    es_store *s = NULL;
    es_err err = {0};
    int rc = es_store_open(&s, dir, ES_STORE_CREATE, &err);

    for (int i = 0; !rc && i < 40; i += 2) {
        es_result r = make_result(i, 5, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
    }
    if (rc) printf("    %s\n", err.text);
    es_store_close(s);
    return rc ? 1 : 0;
}

static void test_two_processes(void)
{
    const char *dir = in_folder("lib");
    es_store *s;
    es_check c;
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(child_writes_evens(dir));
    s = open_store(dir, ES_STORE_CREATE);
    if (!s) return;
    for (int i = 1; i < 40; i += 2) {
        es_result back;
        put(s, i, 5, "/x");
        CHECK_INT(es_store_get(s, content_of(i), 0, &back, NULL), ES_OK);
        es_result_done(&back);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, NULL), ES_OK);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 40);
    es_store_close(s);
}

/* A child with the library open, which says so through a pipe and waits to be killed. */
static pid_t start_holder(const char *dir)
{
    int ends[2];
    char c = 0;
    pid_t pid;

    if (pipe(ends)) return -1;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        es_store *s = NULL;
        c = es_store_open(&s, dir, ES_STORE_CREATE, NULL) == ES_OK ? 'y' : 'n';
        if (c == 'y') {
            char path[1024];
            snprintf(path, sizeof path, "%s/spool", es_store_tmp(s));
            FILE *f = fopen(path, "wb");
            if (f) fputs("left over", f), fclose(f);
        }
        if (write(ends[1], &c, 1) == 1) pause();
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], &c, 1) == 1 && c == 'y', "the other process cannot open the library");
    close(ends[0]);
    return pid;
}

static int entries_of(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static void test_busy_and_sweep(void)
{
    const char *dir = in_folder("lib"), *tmp = in_folder("lib/tmp");
    pid_t other = start_holder(dir);
    es_store *s = open_store(dir, ES_STORE_CREATE);
    es_err err = {0};

    if (!s || other < 0) return;
    put(s, 1, 5, "/x");
    CHECK_INT(entries_of(tmp), 3); /* lock, his and ours: the living are not swept */
    CHECK_INT(es_store_compact(s, NULL, NULL, &err), ES_EBUSY);
    CHECK(strstr(err.text, "another process"), "%s", err.text);
    put(s, 2, 5, "/x");
    check_whole(s);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    err = (es_err){0};
    CHECK(es_store_compact(s, NULL, NULL, &err) == ES_OK, "%s", err.text);
    check_whole(s);
    CHECK_INT(entries_of(es_store_tmp(s)), 1);
    es_store_close(s);
    s = open_store(dir, 0);
    if (!s) return;
    CHECK_INT(entries_of(tmp), 2);
    CHECK_INT(files_with(tmp, "left over", 9), 0);
    es_store_close(s);
    CHECK_INT(entries_of(tmp), 1);
}

/* ---- schema and records ---- */

static void write_schema(es_store *s, uint32_t schema)
{
    es_library l = {.schema = schema, .program = "test"};
    es_record r = {0};
    es_key k = es_key_schema();
    es_txn *x = NULL;

    es_record_write_library(&r, &l, NULL);
    CHECK_INT(es_inside_begin(s, true, &x, NULL), ES_OK);
    CHECK_INT(es_inside_end(s, x, es_txn_put(x, ES_TABLE_META, es_key_bytes(&k), (es_bytes){r.p, r.n}, NULL), NULL),
              ES_OK);
    free(r.p);
}

static int step_puts(es_txn *x, const char *key, es_err *err)
{
    return es_txn_put(x, ES_TABLE_META, (es_bytes){key, strlen(key)}, (es_bytes){"done", 4}, err);
}

static int to_two(es_txn *x, es_err *err)
{
    return step_puts(x, "a", err);
}

/* Needs what the step before it made. */
static int to_three(es_txn *x, es_err *err)
{
    es_bytes v;

    if (es_txn_get(x, ES_TABLE_META, (es_bytes){"a", 1}, &v, err)) return es_fail(err, ES_EFORMAT, "out of order");
    return step_puts(x, "b", err);
}

static int to_four_fails(es_txn *x, es_err *err)
{
    step_puts(x, "c", err);
    return es_fail(err, ES_EFORMAT, "the fourth schema cannot be reached");
}

static bool has_meta(es_store *s, const char *key)
{
    es_txn *x = NULL;
    es_bytes v;
    bool has;

    es_inside_begin(s, false, &x, NULL);
    has = es_txn_get(x, ES_TABLE_META, (es_bytes){key, strlen(key)}, &v, NULL) == ES_OK;
    es_inside_end(s, x, ES_OK, NULL);
    return has;
}

static void test_migration(void)
{
    static const es_migration steps[] = {{1, NULL}, {2, to_two}, {3, to_three}, {4, to_four_fails}};
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_err err = {0};

    if (!s) return;
    put(s, 1, 3, "/x");
    CHECK_INT(es_migrate_steps(s, steps, 4, 4, &err), ES_EFORMAT);
    CHECK(!has_meta(s, "a") && !has_meta(s, "b") && !has_meta(s, "c"), "a failed migration left something");
    err = (es_err){0};
    CHECK(es_migrate_steps(s, steps, 3, 3, &err) == ES_OK, "%s", err.text);
    CHECK(has_meta(s, "a") && has_meta(s, "b"), "the steps did not run");
    CHECK(es_migrate_steps(s, steps, 3, 3, &err) == ES_OK, "%s", err.text);
    CHECK_INT(es_migrate_steps(s, steps, 2, 2, &err), ES_ENEWER);
    es_store_close(s);
    check_refused(in_folder("lib"), 0, ES_ENEWER, "has schema 3, this program knows up to 1");
    check_refused(in_folder("lib"), ES_STORE_READ_ONLY, ES_ENEWER, "schema 3");
}

static void test_schema_without_way(void)
{
    static const es_migration steps[] = {{2, NULL}, {3, to_two}};
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_err err = {0};

    if (!s) return;
    write_schema(s, 1);
    CHECK_INT(es_migrate_steps(s, steps, 2, 3, &err), ES_ELIBRARY);
    CHECK(strstr(err.text, "no way leads"), "%s", err.text);
    es_store_close(s);
}

/* Every cut and every changed byte of a record: refused with a sentence, or read without harm. */
static void test_record_damage(void)
{
    es_result r = make_result(3, 2, "/x");
    es_record w = {0};
    es_stored rec;
    int passed = 0;

    CHECK_INT(es_record_write_segment(&w, &r.transcript, 1, NULL), ES_OK);
    for (size_t n = 0; n < w.n; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* its own block, so that a sanitizer sees a read past it */
        es_transcript t = {0};
        es_err err = {0};
        memcpy(cut, w.p, n);
        CHECK(es_record_read_segment((es_bytes){cut, n}, &t, &err) == ES_EFORMAT && err.text[0], "cut at %zu", n);
        if (n >= 8) { /* the same with a checksum that fits, so that the fields are looked at */
            uint32_t sum = es_record_checksum(cut, n);
            for (int i = 0; i < 4; i++) cut[4 + i] = (uint8_t)(sum >> 8 * i);
            err = (es_err){0};
            CHECK(es_record_read_segment((es_bytes){cut, n}, &t, &err) == ES_EFORMAT, "cut at %zu", n);
            CHECK_INT(t.n_segments, 0);
        }
        es_transcript_done(&t);
        free(cut);
    }
    for (size_t i = 0; i < w.n; i++) {
        es_transcript t = {0};
        es_err err = {0};
        w.p[i] ^= 0xFF;
        CHECK(es_record_read_segment((es_bytes){w.p, w.n}, &t, &err) != ES_OK, "byte %zu changed unseen", i);
        if (i >= 8) {
            uint32_t sum = es_record_checksum(w.p, w.n);
            uint8_t old[4];
            memcpy(old, w.p + 4, 4);
            for (int k = 0; k < 4; k++) w.p[4 + k] = (uint8_t)(sum >> 8 * k);
            passed += es_record_read_segment((es_bytes){w.p, w.n}, &t, NULL) == ES_OK;
            memcpy(w.p + 4, old, 4);
        }
        es_transcript_done(&t);
        w.p[i] ^= 0xFF;
    }
    CHECK(passed > 0, "not one changed number was read");
    w.p[2] = 2; /* version 2 */
    es_err err = {0};
    es_transcript t = {0};
    CHECK_INT(es_record_read_segment((es_bytes){w.p, w.n}, &t, &err), ES_ENEWER);
    CHECK(strstr(err.text, "version 2, this program knows up to 1"), "%s", err.text);
    w.p[2] = 0;
    CHECK_INT(es_record_read_segment((es_bytes){w.p, w.n}, &t, NULL), ES_EFORMAT);
    w.p[2] = 1;
    CHECK_INT(es_record_read_recording((es_bytes){w.p, w.n}, &rec, NULL), ES_EFORMAT);
    r.transcript.segments[0].n_words = 1000;
    err = (es_err){0};
    CHECK_INT(es_record_write_segment(&w, &r.transcript, 0, &err), ES_EARG);
    free(w.p);
    es_result_done(&r);
}

/* A segment's bytes, written down by hand from record.h. */
static void test_record_bytes(void)
{
    static const uint8_t body[] = {
        0x10, 0x27, 0, 0, 0, 0, 0, 0,       /* start 10000 */
        0xF8, 0x2A, 0, 0, 0, 0, 0, 0,       /* end 11000 */
        0, 0, 0x80, 0xBE,                   /* -0.25 */
        0, 0, 0x80, 0x3E,                   /* 0.25 */
        0, 0, 0xC0, 0x3F,                   /* 1.5 */
        0, 0, 0, 0,                         /* 0 */
        1, 0, 0, 0,                         /* looped */
        0xFF, 0xFF, 0xFF, 0xFF,             /* speaker -1 */
        2, 0, 0, 0, 'd', 'e',               /* language */
        3, 0, 0, 0, ' ', 'j', 'a',          /* text */
        1, 0, 0, 0, 0x2C, 1, 0, 0,          /* one token, 300 */
        1, 0, 0, 0,                         /* one word */
        0x74, 0x27, 0, 0, 0, 0, 0, 0,       /* 10100 */
        0xD8, 0x27, 0, 0, 0, 0, 0, 0,       /* 10200 */
        0, 0, 0, 0x3F,                      /* 0.5 */
        4, 0, 0, 0,                         /* speaker 4 */
        3, 0, 0, 0, ' ', 'j', 'a',
    };
    es_transcript t = {0};
    es_segment s = {.start_ms = 10000, .end_ms = 11000, .avg_logprob = -0.25f, .no_speech = 0.25f,
                    .compression_ratio = 1.5f, .flags = 1, .speaker = -1, .language = "de"};
    es_word word = {.start_ms = 10100, .end_ms = 10200, .probability = 0.5f, .speaker = 4};
    int32_t token = 300;
    es_record w = {0};

    es_transcript_add_segment(&t, &s, " ja", 3, &token, 1);
    es_transcript_add_word(&t, &word, " ja", 3);
    CHECK_INT(es_record_write_segment(&w, &t, 0, NULL), ES_OK);
    CHECK_INT(w.n, 8 + sizeof body);
    CHECK(w.n == 8 + sizeof body && !memcmp(w.p + 8, body, sizeof body), "the body differs");
    CHECK(w.p[0] == 3 && w.p[1] == 0 && w.p[2] == 1 && w.p[3] == 0, "the header differs");
    free(w.p);
    es_transcript_done(&t);
}

static int faults_told;

static void count_only(void *user, const char *sentence)
{
    const char *want = user;

    if (strstr(sentence, want)) faults_told++;
}

/* Changes one record behind the store's back; check must say so with these words, and get must survive it. */
static void check_finds(const char *what, void (*damage)(es_txn *x), const char *words)
{
    const char *dir = in_folder(what);
    es_store *s = open_store(dir, ES_STORE_CREATE);
    es_txn *x = NULL;
    es_result back;
    es_check c;

    if (!s) return;
    put(s, 1, 3, "/x");
    put(s, 2, 3, "/y");
    CHECK_INT(es_inside_begin(s, true, &x, NULL), ES_OK);
    damage(x);
    CHECK_INT(es_inside_end(s, x, ES_OK, NULL), ES_OK);
    faults_told = 0;
    CHECK_INT(es_store_check(s, &c, count_only, (void *)(uintptr_t)words, NULL), ES_OK);
    CHECK(c.faults >= 1 && faults_told >= 1, "%s: %d faults, %d with \"%s\"", what, (int)c.faults, faults_told, words);
    if (es_store_get(s, content_of(1), 0, &back, NULL) == ES_OK) es_result_done(&back);
    CHECK_INT(es_store_get(s, content_of(2), 0, &back, NULL), ES_OK);
    es_result_done(&back);
    es_store_remove(s, content_of(1), -1, NULL);
    es_store_close(s);
}

static void damage_text(es_txn *x)
{
    es_key k = es_key_segment(content_of(1), 0, 1);
    es_bytes v;
    uint8_t copy[2000];

    CHECK_INT(es_txn_get(x, ES_TABLE_SEGMENTS, es_key_bytes(&k), &v, NULL), ES_OK);
    memcpy(copy, v.p, v.n);
    copy[70] ^= 1;
    es_txn_put(x, ES_TABLE_SEGMENTS, es_key_bytes(&k), (es_bytes){copy, v.n}, NULL);
}

static void damage_missing(es_txn *x)
{
    es_key k = es_key_segment(content_of(1), 0, 1);

    CHECK_INT(es_txn_delete(x, ES_TABLE_SEGMENTS, es_key_bytes(&k), NULL), ES_OK);
}

static void damage_orphan(es_txn *x)
{
    es_key k = es_key_recording(content_of(1), 0);

    CHECK_INT(es_txn_delete(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), NULL), ES_OK);
}

static void damage_recording(es_txn *x)
{
    es_key k = es_key_recording(content_of(1), 0);

    es_txn_put(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), (es_bytes){"nonsense", 8}, NULL);
}

static void damage_path(es_txn *x)
{
    es_key k = es_key_path(content_of(1), "/z");
    es_record r = {0};

    es_record_write_path(&r, "/w", NULL);
    es_txn_put(x, ES_TABLE_PATHS, es_key_bytes(&k), (es_bytes){r.p, r.n}, NULL);
    free(r.p);
}

static void test_check_finds(void)
{
    check_finds("text", damage_text, "checksum");
    check_finds("missing", damage_missing, "segment 2 stands where 1 belongs");
    check_finds("count", damage_missing, "has 2 segments");
    check_finds("orphan", damage_orphan, "no recording belongs to it");
    check_finds("recording", damage_recording, "belongs");
    check_finds("path", damage_path, "is not the hash of /w");
}

#ifndef ES_UNDER_ASAN /* a sanitizer needs more addresses than are left here */
/* Few addresses: the map shrinks until it fits, and the library works. */
static void test_few_addresses(void)
{
    struct rlimit old, few;
    es_store *s;

    getrlimit(RLIMIT_AS, &old);
    few = old;
    few.rlim_cur = 600u << 20;
    CHECK(setrlimit(RLIMIT_AS, &few) == 0);
    s = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (s) {
        put(s, 1, 100, "/x");
        check_whole(s);
    }
    es_store_close(s);
    setrlimit(RLIMIT_AS, &old);
}
#endif

/* ---- threads ---- */

typedef struct worker {
    es_store *s;
    int seed;
    bool failed;
    char why[256];
} worker;

static void *work(void *user)
{
    worker *w = user;
    es_err err = {0};

    for (int i = 0; i < 8 && !w->failed; i++) {
        es_result r = make_result(w->seed + 10 * i, 4 + i, "/x"), back = {0};
        w->failed = es_store_put(w->s, &r, &err) || es_store_get(w->s, r.media.content, 0, &back, &err) ||
                    back.transcript.n_segments != r.transcript.n_segments ||
                    back.transcript.n_text != r.transcript.n_text ||
                    memcmp(back.transcript.text, r.transcript.text, r.transcript.n_text);
        es_result_done(&r);
        es_result_done(&back);
    }
    snprintf(w->why, sizeof w->why, "%.250s", err.text);
    return NULL;
}

/* Four threads write and read while a fifth compacts under them. */
static void test_threads(void)
{
    enum { N = 4 };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    pthread_t threads[N];
    worker workers[N];
    es_err err = {0};
    es_check c;

    if (!s) return;
    for (int i = 0; i < N; i++) {
        workers[i] = (worker){.s = s, .seed = i};
        CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 5; i++) CHECK(es_store_compact(s, NULL, NULL, &err) == ES_OK, "%s", err.text);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        CHECK(!workers[i].failed, "thread %d: %s", i, workers[i].why);
    }
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, &err), ES_OK);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 8 * N);
    es_store_close(s);
}

/* ---- the library of the first format ---- */

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char block[4096];
    size_t n;

    CHECK(in && out, "%s cannot be copied to %s", from, to);
    while (in && out && (n = fread(block, 1, sizeof block, in)) > 0) CHECK(fwrite(block, 1, n, out) == n);
    if (in) fclose(in);
    if (out) fclose(out);
}

/* tests/golden/library-1, made by its make.c with the program that first had the format; the values are those there. */
static void test_first_format(void)
{
    const char *from = es_test_golden("library-1/data.mdb");
    char text[400] = "", seen[400] = "";
    es_hash128 first, silent, h;
    es_result r;
    es_store *s;
    es_check c;
    int track;
    es_err err = {0};

    CHECK(from, "tests/golden/library-1/data.mdb is missing");
    if (!from) return;
    CHECK(mkdir(in_folder("lib"), 0755) == 0);
    copy_file(from, in_folder("lib/data.mdb"));
    s = open_store(in_folder("lib"), 0);
    if (!s) return;
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, &err), ES_OK);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 3);
    CHECK_INT(c.segments, 3);
    CHECK_INT(c.words, 5);
    CHECK_INT(es_store_list(s, note_path, text, &err), ES_OK);
    CHECK_STR(text, "/films/first \"take\"\n\xc3\xa9.mkv:2 /films/first \"take\"\n\xc3\xa9.mkv:1 /films/silence.wav:0 ");
    CHECK_INT(es_hash_parse(&first, "00112233445566778899aabbccddeeff"), 0);
    CHECK_INT(es_hash_parse(&silent, "ffeeddccbbaa99887766554433221100"), 0);
    CHECK_INT(es_store_paths(s, first, note_seen, seen, &err), ES_OK);
    CHECK(strstr(seen, "/other/first.mkv"), "%s", seen);
    CHECK(es_store_cached_hash(s, 66, 12345, 1000000, 1600000000123456789, &h) && !memcmp(h.b, first.b, 16));

    CHECK(es_store_get(s, first, 0, &r, &err) == ES_OK, "%s", err.text);
    CHECK_INT(r.media.bytes, 1000000);
    CHECK_INT(r.media.n_tracks, 2);
    CHECK_STR(r.media.container, "matroska,webm");
    CHECK_STR(r.media.codec, "opus");
    CHECK_INT(r.media.sample_rate, 48000);
    CHECK_INT(r.media.channels, 6);
    CHECK_INT(r.media.duration_ms, 7250);
    CHECK_INT(r.media.damaged_packets, 1);
    CHECK(r.media.truncated);
    CHECK_INT(r.media.mtime_ns, 1600000000123456789);
    CHECK_STR(r.made.settings, "{\"task\":\"transcribe\"}");
    CHECK_STR(r.made.asr, "whisper-tiny");
    CHECK(!memcmp(r.made.asr_hash.b, silent.b, 16), "the pack's hash differs");
    CHECK_STR(r.made.program, "0.1.0");
    CHECK_STR(r.transcript.language, "en");
    CHECK(r.transcript.language_probability == 0.875f);
    if (r.transcript.n_segments == 2 && r.transcript.n_words == 4 && r.transcript.n_tokens == 7) {
        const es_transcript *t = &r.transcript;
        const es_segment *g = t->segments;
        const es_word *w = t->words;
        static const int32_t tokens[] = {50364, 634, 1848, 50464, 50464, 865, 50514};
        CHECK(!memcmp(t->tokens, tokens, sizeof tokens), "the tokens differ");
        CHECK(g[0].text_bytes == 9 && !memcmp(t->text + g[0].text_at, " He said.", 9), "the first text differs");
        CHECK(g[1].text_bytes == 8 && !memcmp(t->text + g[1].text_at, " Na\xc3\xafve", 7), "the second text differs");
        CHECK(g[0].start_ms == 0 && g[0].end_ms == 2000 && g[1].start_ms == 2000 && g[1].end_ms == 3000);
        CHECK(g[0].avg_logprob == -0.25f && g[0].no_speech == 0.03125f && g[0].compression_ratio == 1.125f);
        CHECK(g[0].temperature == 0 && g[1].temperature == 0.5f && g[0].flags == 0 && g[1].flags == ES_SEGMENT_LOOPED);
        CHECK(g[0].speaker == -1 && g[1].speaker == 3 && !strcmp(g[0].language, "en") && !strcmp(g[1].language, "fr"));
        CHECK(g[0].first_token == 0 && g[0].n_tokens == 4 && g[1].first_token == 4 && g[1].n_tokens == 3);
        CHECK(g[0].n_words == 3 && g[1].first_word == 3 && g[1].n_words == 1);
        CHECK(w[1].start_ms == 400 && w[1].end_ms == 1900 && w[1].probability == 0.5f && w[1].speaker == -1);
        CHECK(w[1].text_bytes == 5 && !memcmp(t->text + w[1].text_at, " said", 5), "the second word differs");
        CHECK(w[3].speaker == 3, "the last word's speaker differs");
    } else {
        CHECK(false, "%zu segments, %zu words, %zu tokens", r.transcript.n_segments, r.transcript.n_words,
              r.transcript.n_tokens);
    }
    es_result_done(&r);
    CHECK_INT(es_store_resolve(s, "first.mkv#1", &h, &track, &err), ES_OK);
    CHECK_INT(track, 1);
    CHECK_INT(es_store_get(s, silent, 0, &r, &err), ES_OK);
    CHECK_INT(r.transcript.n_segments, 0);
    es_result_done(&r);
    put(s, 1, 2, "/new"); /* it goes on with today's records */
    check_whole(s);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"put_get", test_put_get},
        {"replace", test_replace},
        {"order", test_order},
        {"collision", test_collision},
        {"tracks", test_tracks},
        {"list_resolve", test_list_resolve},
        {"cached_hash", test_cached_hash},
        {"remove_compact", test_remove_compact},
        {"compact_slack", test_compact_slack},
        {"backup", test_backup},
        {"refused", test_refused},
        {"network", test_network},
        {"read_only_folder", test_read_only_folder},
        {"disk_full", test_disk_full},
        {"small_disk", test_small_disk},
        {"killed_writer", test_killed_writer},
        {"killed_compact", test_killed_compact},
        {"two_processes", test_two_processes},
        {"busy_and_sweep", test_busy_and_sweep},
        {"migration", test_migration},
        {"schema_without_way", test_schema_without_way},
        {"record_damage", test_record_damage},
        {"record_bytes", test_record_bytes},
        {"check_finds", test_check_finds},
#ifndef ES_UNDER_ASAN
        {"few_addresses", test_few_addresses},
#endif
        {"threads", test_threads},
        {"first_format", test_first_format},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
