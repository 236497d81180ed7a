/*
 * test_store.c - the library: what goes in comes out, in whatever order it went in; what is removed is gone.
 */
#define _GNU_SOURCE
#include "library.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

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
    CHECK_STR(back.made.by[ES_STAGE_ASR].name, "whisper-base");
    CHECK(!memcmp(&back.made.by[ES_STAGE_ASR].hash, &r.made.by[ES_STAGE_ASR].hash, 16));
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
                  !strcmp(a->language, b->language),
              "segment %zu differs", i);
    }
    for (size_t i = 0; i < 60 && i < back.transcript.n_words; i++) {
        es_word *a = &back.transcript.words[i], *b = &r.transcript.words[i];
        CHECK(a->start_ms == b->start_ms && a->end_ms == b->end_ms && a->probability == b->probability &&
                  a->speaker == b->speaker && a->text_at == b->text_at && a->text_bytes == b->text_bytes,
              "word %zu differs", i);
    }
    CHECK_INT(es_store_get_info(s, r.media.content, 0, &m, &made, &err), ES_OK);
    CHECK_STR(m.path, r.media.path);
    CHECK_STR(made.by[ES_STAGE_ASR].name, "whisper-base");
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

/* Who spoke, passages and vectors: all of it comes back, the cheap ways give the same, and an empty one stays empty. */
static void check_who_same(const es_diarization *a, const es_diarization *b)
{
    CHECK_INT(a->n_speakers, b->n_speakers);
    CHECK(a->n_turns == b->n_turns && a->n_exclusive == b->n_exclusive && a->n_speech == b->n_speech, "counts differ");
    if (a->n_turns != b->n_turns || a->n_exclusive != b->n_exclusive || a->n_speech != b->n_speech) return;
    for (int i = 0; i < a->n_speakers; i++) CHECK_INT(a->alone_ms[i], b->alone_ms[i]);
    for (size_t i = 0; i < a->n_turns; i++)
        CHECK(a->turns[i].start_ms == b->turns[i].start_ms && a->turns[i].end_ms == b->turns[i].end_ms &&
                  a->turns[i].speaker == b->turns[i].speaker,
              "turn %zu differs", i);
    for (size_t i = 0; i < a->n_exclusive; i++)
        CHECK(a->exclusive[i].start_ms == b->exclusive[i].start_ms &&
                  a->exclusive[i].end_ms == b->exclusive[i].end_ms &&
                  a->exclusive[i].speaker == b->exclusive[i].speaker,
              "exclusive turn %zu differs", i);
    for (size_t i = 0; i < a->n_speech; i++)
        CHECK(a->speech[i].start_ms == b->speech[i].start_ms && a->speech[i].end_ms == b->speech[i].end_ms,
              "speech %zu differs", i);
}

static void check_passages_same(const es_passages *a, const es_passages *b)
{
    CHECK_INT(a->n, b->n);
    CHECK(a->n_text == b->n_text && !memcmp(a->text, b->text, a->n_text), "the texts differ");
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const es_passage *p = &a->at[i], *q = &b->at[i];
        CHECK(p->start_ms == q->start_ms && p->end_ms == q->end_ms && p->speaker == q->speaker &&
                  p->text_at == q->text_at && p->text_bytes == q->text_bytes && p->first_segment == q->first_segment &&
                  p->n_segments == q->n_segments && !strcmp(p->language, q->language),
              "passage %zu differs", i);
    }
}

static void test_put_get_found(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_err err = {0};

    for (int n = 4; s && n <= 2600; n += 2596) { /* two passages, and 1300: more than one part holds */
        es_result r = make_result(7, n, "/a.mp4"), back;
        es_diarization who;
        es_passages passages;
        add_found(&r, 7, 384);
        CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
        CHECK(es_store_get(s, r.media.content, 0, &back, &err) == ES_OK, "%s", err.text);
        check_who_same(&back.who, &r.who);
        CHECK(same_vectors(&back.who.centers, &r.who.centers), "the centers differ");
        CHECK(same_vectors(&back.who.voices, &r.who.voices), "the voices differ");
        check_passages_same(&back.passages, &r.passages);
        CHECK(same_vectors(&back.passages.vectors, &r.passages.vectors), "the vectors differ");
        for (int i = 0; i < ES_N_STAGES; i++)
            CHECK(!strcmp(back.made.by[i].name, r.made.by[i].name) &&
                      !memcmp(back.made.by[i].hash.b, r.made.by[i].hash.b, 16),
                  "maker %d differs", i);
        CHECK(es_store_get_who(s, r.media.content, -1, true, &who, &err) == ES_OK, "%s", err.text);
        check_who_same(&who, &r.who);
        CHECK(same_vectors(&who.voices, &r.who.voices), "the voices differ");
        es_diarization_done(&who);
        CHECK(es_store_get_who(s, r.media.content, 0, false, &who, &err) == ES_OK && who.voices.n == 0, "%s", err.text);
        es_diarization_done(&who);
        CHECK(es_store_get_passages(s, r.media.content, 0, false, &passages, &err) == ES_OK, "%s", err.text);
        check_passages_same(&passages, &r.passages);
        CHECK_INT(passages.vectors.n, 0);
        es_passages_done(&passages);
        CHECK(es_store_get_passages(s, r.media.content, 0, true, &passages, &err) == ES_OK, "%s", err.text);
        CHECK(same_vectors(&passages.vectors, &r.passages.vectors), "the vectors differ");
        es_passages_done(&passages);
        check_whole(s);
        es_result_done(&back);
        es_result_done(&r);
    }
    if (!s) return;
    put(s, 8, 3, "/b.mp4"); /* without */
    es_diarization who;
    es_passages passages;
    CHECK(es_store_get_who(s, content_of(8), 0, true, &who, &err) == ES_OK && !who.n_speakers && !who.turns, "%s",
          err.text);
    CHECK(es_store_get_passages(s, content_of(8), 0, true, &passages, &err) == ES_OK && !passages.n, "%s", err.text);
    CHECK_INT(es_store_get_who(s, content_of(9), 0, true, &who, NULL), ES_ENOTFOUND);
    check_whole(s);
    es_store_close(s);
}

/* What cannot be kept is refused with a sentence, and nothing of it stays. */
static void check_not_kept(es_store *s, es_result *r, const char *words)
{
    es_result back;
    es_err err = {0};

    CHECK_INT(es_store_put(s, r, &err), ES_EARG);
    CHECK(strstr(err.text, words), "\"%s\" does not say \"%s\"", err.text, words);
    CHECK_INT(es_store_get(s, r->media.content, 0, &back, NULL), ES_ENOTFOUND);
}

static void test_refused_results(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_result r = make_result(3, 6, "/a.mp4");
    es_err err = {0};
    float was;

    if (!s) return;
    add_found(&r, 3, 384);
    was = r.passages.vectors.rows[3]; /* the one number of the first vector that is not zero */
    r.passages.vectors.rows[0] = NAN;
    check_not_kept(s, &r, "length");
    r.passages.vectors.rows[0] = 0.9f;
    r.passages.vectors.rows[3] = 0.9f;
    check_not_kept(s, &r, "passage 0 has the length");
    r.passages.vectors.rows[0] = 0;
    r.passages.vectors.rows[3] = was;
    r.passages.vectors.n = 2;
    check_not_kept(s, &r, "3 passages come with 2 vectors");
    r.passages.vectors.n = 3;
    was = r.who.centers.rows[5];
    r.who.centers.rows[5] = 70000;
    check_not_kept(s, &r, "half precision does not hold");
    r.who.centers.rows[5] = INFINITY;
    check_not_kept(s, &r, "half precision does not hold");
    r.who.centers.rows[5] = was;
    r.who.turns[1].speaker = 2;
    check_not_kept(s, &r, "outside 0 .. 1");
    r.who.turns[1].speaker = 1;
    r.passages.at[1].text_bytes = 100000;
    check_not_kept(s, &r, "points past the end");
    r.passages.at[1].text_bytes = 1;
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    check_whole(s);
    es_result_done(&r);
    es_store_close(s);
}

/* A library in which a recording was and is no more is the one it never was in, whatever it had in it. */
static void test_put_remove_nothing(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_err err = {0};
    dump was, is;

    if (!s) return;
    put_found(s, 1, 9, "/a.mp4");
    put(s, 2, 5, "/b.mp4");
    was = dump_store(s, true);
    put_found(s, 3, 40, "/c.mp4");
    put(s, 4, 5, "/d.mp4");
    CHECK_INT(es_store_remove(s, content_of(3), -1, &err), ES_OK);
    CHECK_INT(es_store_remove(s, content_of(4), 0, &err), ES_OK);
    is = dump_store(s, true);
    CHECK(same_dump(&was, &is), "removing left something: %d records, then %d", (int)was.records, (int)is.records);
    check_whole(s);
    CHECK_INT(es_store_remove(s, content_of(1), -1, &err), ES_OK);
    CHECK_INT(es_store_remove(s, content_of(2), -1, &err), ES_OK);
    free(is.b.p);
    is = dump_store(s, true);
    CHECK_INT(is.records, 1); /* the schema */
    free(was.b.p), free(is.b.p);
    es_store_close(s);
}

static void test_replace(void)
{
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE), *other;
    dump a, b;

    if (!s) return;
    put_found(s, 1, 50, "/a.wav");
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
        put_found(s[0], i, i + 1, path);
        CHECK(es_store_add_path(s[0], content_of(i), 0, second, &err) == ES_OK, "%s", err.text);
        CHECK_INT(es_store_cache_hash(s[0], 1, (uint64_t)i, 1000, 5, content_of(i), &err), ES_OK);
    }
    for (int k = 0; k < N; k++) {
        int i = k * 5 % N; /* another order, and each under its other name first */
        char path[64], second[64];
        snprintf(path, sizeof path, "/films/%d.mp4", i);
        snprintf(second, sizeof second, "/again/%d.mp4", i);
        CHECK_INT(es_store_cache_hash(s[1], 1, (uint64_t)i, 1000, 5, content_of(i), &err), ES_OK);
        put_found(s[1], i, i + 1, second);
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
        put_found(s, i, 8, path);
    }
    was = dump_store(s, true);
    put_found(s, 40, 300, "/secret/name.mp4");
    es_store_cache_hash(s, 8, 9, 10, 11, gone, &err);
    es_store_close(s);
    CHECK_INT(files_with(dir, "word40-", 7), 1);
    CHECK_INT(files_with(dir, "rarely40", 8), 1);
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
    CHECK_INT(files_with(dir, "rarely40", 8), 0);
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
    for (int i = 0; i < 10; i++) put_found(s, i, 20, "/x.mp4");
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

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"put_get", test_put_get},
        {"put_get_found", test_put_get_found},
        {"refused_results", test_refused_results},
        {"put_remove_nothing", test_put_remove_nothing},
        {"replace", test_replace},
        {"order", test_order},
        {"collision", test_collision},
        {"tracks", test_tracks},
        {"list_resolve", test_list_resolve},
        {"cached_hash", test_cached_hash},
        {"remove_compact", test_remove_compact},
        {"compact_slack", test_compact_slack},
        {"backup", test_backup},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
