/*
 * test_record.c - the bytes of records, damage that is found, schemas old and new.
 */
#define _GNU_SOURCE
#include "library.h"

#include <sys/stat.h>

#include "store/find.h"
#include "store/index.h"

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
    write_schema(s, 1);
    CHECK_INT(es_migrate_steps(s, steps, 4, 4, &err), ES_EFORMAT);
    CHECK(!has_meta(s, "a") && !has_meta(s, "b") && !has_meta(s, "c"), "a failed migration left something");
    err = (es_err){0};
    CHECK(es_migrate_steps(s, steps, 3, 3, &err) == ES_OK, "%s", err.text);
    CHECK(has_meta(s, "a") && has_meta(s, "b"), "the steps did not run");
    CHECK(es_migrate_steps(s, steps, 3, 3, &err) == ES_OK, "%s", err.text);
    CHECK_INT(es_migrate_steps(s, steps, 2, 2, &err), ES_ENEWER);
    es_store_close(s);
    check_refused(in_folder("lib"), 0, ES_ENEWER, "has schema 3, this program knows up to 2");
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
        0x10, 0x27, 0,    0,    0,    0,   0,   0, /* start 10000 */
        0xF8, 0x2A, 0,    0,    0,    0,   0,   0, /* end 11000 */
        0,    0,    0x80, 0xBE,                    /* -0.25 */
        0,    0,    0x80, 0x3E,                    /* 0.25 */
        0,    0,    0xC0, 0x3F,                    /* 1.5 */
        0,    0,    0,    0,                       /* 0 */
        1,    0,    0,    0,                       /* looped */
        0xFF, 0xFF, 0xFF, 0xFF,                    /* speaker -1 */
        2,    0,    0,    0,    'd',  'e',         /* language */
        3,    0,    0,    0,    ' ',  'j', 'a',    /* text */
        1,    0,    0,    0,    0x2C, 1,   0,   0, /* one token, 300 */
        1,    0,    0,    0,                       /* one word */
        0x74, 0x27, 0,    0,    0,    0,   0,   0, /* 10100 */
        0xD8, 0x27, 0,    0,    0,    0,   0,   0, /* 10200 */
        0,    0,    0,    0x3F,                    /* 0.5 */
        4,    0,    0,    0,                       /* speaker 4 */
        3,    0,    0,    0,    ' ',  'j', 'a',
    };
    es_transcript t = {0};
    es_segment s = {.start_ms = 10000,
                    .end_ms = 11000,
                    .avg_logprob = -0.25f,
                    .no_speech = 0.25f,
                    .compression_ratio = 1.5f,
                    .flags = 1,
                    .speaker = -1,
                    .language = "de"};
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

/* The word "recording", which every segment of these recordings holds. */
static size_t word_key(uint8_t key[ES_INDEX_KEY_BYTES])
{
    static const char term[] = "\1recording";
    es_key recording = es_key_recording(content_of(1), 0);

    return es_index_key(key, (es_bytes){term, sizeof term - 1}, es_key_bytes(&recording));
}

static void damage_lost_list(es_txn *x)
{
    uint8_t key[ES_INDEX_KEY_BYTES];

    CHECK_INT(es_txn_delete(x, ES_TABLE_WORDS, (es_bytes){key, word_key(key)}, NULL), ES_OK);
}

static void damage_list(es_txn *x)
{
    uint8_t key[ES_INDEX_KEY_BYTES], copy[200];
    size_t n = word_key(key);
    es_bytes v;

    CHECK_INT(es_txn_get(x, ES_TABLE_WORDS, (es_bytes){key, n}, &v, NULL), ES_OK);
    memcpy(copy, v.p, v.n);
    copy[v.n - 1] ^= 1; /* a place: it still parses */
    es_txn_put(x, ES_TABLE_WORDS, (es_bytes){key, n}, (es_bytes){copy, v.n}, NULL);
}

static void damage_foreign_list(es_txn *x)
{
    uint8_t key[ES_INDEX_KEY_BYTES];
    size_t n = word_key(key);

    key[1] = 'q';
    es_txn_put(x, ES_TABLE_WORDS, (es_bytes){key, n}, (es_bytes){"\1\1\1\1\1\1", 6}, NULL);
}

static void damage_terms(es_txn *x)
{
    es_key k = es_key_recording(content_of(1), 0);

    es_txn_put(x, ES_TABLE_TERMS, es_key_bytes(&k), (es_bytes){"nonsense", 8}, NULL);
}

static void damage_outline(es_txn *x)
{
    es_key k = es_key_recording(content_of(1), 0);

    es_txn_delete(x, ES_TABLE_OUTLINES, es_key_bytes(&k), NULL);
}

static void damage_totals(es_txn *x)
{
    es_key k = es_key_totals();

    es_txn_delete(x, ES_TABLE_META, es_key_bytes(&k), NULL);
}

static void test_check_finds(void)
{
    check_finds("lost list", damage_lost_list, "lost one of its terms");
    check_finds("list", damage_list, "part of the index is damaged");
    check_finds("foreign list", damage_foreign_list, "lists, and recordings know of");
    check_finds("terms", damage_terms, "terms ");
    check_finds("outline", damage_outline, "knows 0 passages of it, and should know 3");
    check_finds("totals", damage_totals, "the index counts 0 passages");
    check_finds("text", damage_text, "checksum");
    check_finds("missing", damage_missing, "segment 2 stands where 1 belongs");
    check_finds("count", damage_missing, "has 2 segments");
    check_finds("orphan", damage_orphan, "no recording belongs to it");
    check_finds("recording", damage_recording, "belongs");
    check_finds("path", damage_path, "is not the hash of /w");
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
    CHECK_STR(text,
              "/films/first \"take\"\n\xc3\xa9.mkv:2 /films/first \"take\"\n\xc3\xa9.mkv:1 /films/silence.wav:0 ");
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
    CHECK_STR(r.made.by[ES_STAGE_ASR].name, "whisper-tiny");
    CHECK(!memcmp(r.made.by[ES_STAGE_ASR].hash.b, silent.b, 16), "the pack's hash differs");
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
    es_hit hits[4];
    size_t n;
    CHECK(es_store_find_words(s, "say na\xc3\xafve", 10, NULL, 4, hits, &n, &err) == ES_OK, "%s", err.text);
    CHECK_INT(n, 2); /* it was indexed when it was opened: the word in French, on both tracks; "said" has another stem */
    CHECK_INT(hits[0].id.media, es_hash_id(first));
    put(s, 1, 2, "/new"); /* it goes on with today's records */
    check_whole(s);
    es_store_close(s);
}

/* What is only read stays as it is: whole, and not to be searched. */
static void test_first_format_read_only(void)
{
    const char *from = es_test_golden("library-1/data.mdb");
    es_hit hit;
    es_hash128 space = {{0}};
    float query[1] = {1};
    size_t n;
    es_store *s;
    es_err err = {0};

    CHECK(from && mkdir(in_folder("lib"), 0755) == 0, "no library");
    if (!from) return;
    copy_file(from, in_folder("lib/data.mdb"));
    s = open_store(in_folder("lib"), ES_STORE_READ_ONLY);
    if (!s) return;
    check_whole(s);
    CHECK_INT(es_store_find_words(s, "said", 4, NULL, 1, &hit, &n, &err), ES_ELIBRARY);
    CHECK(strstr(err.text, "reembed"), "%s", err.text);
    CHECK_INT(es_store_find_vectors(s, space, query, 1, NULL, 1, 1, &hit, &n, NULL), ES_ELIBRARY);
    es_store_close(s);
}

static void check_found(es_store *s, const char *query, const char *hex, int number, const char *text)
{
    es_hash128 content;
    es_hit hits[4];
    size_t n;
    es_found f;
    es_err err = {0};

    es_hash_parse(&content, hex);
    CHECK(es_store_find_words(s, query, strlen(query), NULL, 4, hits, &n, &err) == ES_OK, "%s", err.text);
    CHECK(n == 1 && hits[0].id.media == es_hash_id(content) && hits[0].id.number == (uint32_t)number, "%s: %zu hits", query, n);
    if (n != 1) return;
    CHECK(es_store_passage(s, hits[0].id, &f, &err) == ES_OK, "%s", err.text);
    CHECK_STR(f.text, text);
    es_found_done(&f);
}

/* tests/golden/library-2, made by its make.c with the program that first had the format; the values are those there. */
static void test_second_format(void)
{
    const char *from = es_test_golden("library-2/data.mdb");
    const char *talk = "00112233445566778899aabbccddeeff", *bare = "ffeeddccbbaa99887766554433221100";
    static const float centers[] = {1, 0, -0.5f, 0.25f, 0, 2, 1.5f, -3}, voices[] = {0.5f, 0.5f, -0.5f, 0.5f, 0, 0, 1, 0};
    static const float rows[] = {0.5f, 0.5f, 0.5f, 0.5f, 0, -1, 0, 0, 0.5f, -0.5f, 0.5f, -0.5f};
    static const char *const makers[ES_N_STAGES] = {"whisper-tiny", "segmentation-3.0", "campplus", "ecapa", "minilm"};
    es_hash128 content, space;
    es_result r;
    es_hit hits[4];
    size_t n;
    es_store *s;
    es_check c;
    es_err err = {0};

    CHECK(from, "tests/golden/library-2/data.mdb is missing");
    if (!from) return;
    CHECK(mkdir(in_folder("lib"), 0755) == 0);
    copy_file(from, in_folder("lib/data.mdb"));
    s = open_store(in_folder("lib"), 0);
    if (!s) return;
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, &err), ES_OK);
    CHECK(c.faults == 0 && c.recordings == 2 && c.segments == 3 && c.passages == 3, "not what was put in");
    es_hash_parse(&content, talk);
    CHECK(es_store_get(s, content, 0, &r, &err) == ES_OK, "%s", err.text);
    for (int i = 0; i < ES_N_STAGES; i++) CHECK_STR(r.made.by[i].name, makers[i]);
    CHECK(r.who.n_speakers == 2 && r.who.n_turns == 2 && r.who.n_exclusive == 2 && r.who.n_speech == 1, "counts of who spoke");
    if (r.who.n_turns == 2 && r.who.n_exclusive == 2 && r.who.n_speech == 1) {
        CHECK(r.who.turns[1].start_ms == 3500 && r.who.turns[1].end_ms == 9000 && r.who.turns[1].speaker == 1, "a turn");
        CHECK(r.who.turns[0].end_ms == 4000 && r.who.exclusive[0].end_ms == 3500 && r.who.speech[0].end_ms == 9000, "an end");
        CHECK(r.who.alone_ms[0] == 3500 && r.who.alone_ms[1] == 5000, "alone");
    }
    CHECK(r.who.centers.n == 2 && r.who.centers.width == 4 && !memcmp(r.who.centers.rows, centers, sizeof centers), "centers");
    CHECK(r.who.voices.n == 2 && r.who.voices.width == 4 && !memcmp(r.who.voices.rows, voices, sizeof voices), "voices");
    CHECK(r.passages.n == 3 && r.passages.vectors.n == 3 && !memcmp(r.passages.vectors.rows, rows, sizeof rows), "vectors");
    if (r.passages.n == 3) {
        const es_passage *p = &r.passages.at[1];
        CHECK(p->start_ms == 4000 && p->end_ms == 9000 && p->speaker == 1 && p->first_segment == 1 && p->n_segments == 1 &&
                  !strcmp(p->language, "en") && p->text_bytes == 32 && !memcmp(r.passages.text + p->text_at, "The trains", 10),
              "the second passage differs");
    }
    es_result_done(&r);
    check_found(s, "train -- sunday", talk, 1, "The trains never run on Sundays.");
    check_found(s, "\"running late\"", talk, 0, "He was running late.");
    check_found(s, "\xe6\x9c\xac\xe8\xaa\x9e", talk, 2, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    check_found(s, "Haus", bare, 0, " Die alten H\xc3\xa4user.");
    es_hash_parse(&space, "e0000000000000000000000000000003");
    CHECK(es_store_find_vectors(s, space, rows + 8, 4, NULL, 0, 4, hits, &n, &err) == ES_OK, "%s", err.text);
    CHECK(n == 3 && hits[0].id.number == 2 && hits[0].score == 1 && hits[1].score == 0.5f, "%zu hits", n);
    CHECK_INT(es_store_remove(s, content, 0, &err), ES_OK);
    check_whole(s);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"migration", test_migration},         {"schema_without_way", test_schema_without_way},
        {"record_damage", test_record_damage}, {"record_bytes", test_record_bytes},
        {"check_finds", test_check_finds},     {"first_format", test_first_format},
        {"first_format_read_only", test_first_format_read_only}, {"second_format", test_second_format},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
