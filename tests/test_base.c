/*
 * test_base.c - sentences, UTF-8, hashes, JSON, the log and the shared structs.
 *
 * Hashes are compared with values that the xxhash package 4.1.0 of Python (xxHash 0.8.4) printed, numbers with what
 * strtod reads back.
 */
#include <locale.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/types.h"
#include "base/utf8.h"
#include "test.h"

/* ---- err ---- */

static void first_sentence_stays(void)
{
    es_err err = {0};

    CHECK_INT(es_fail(&err, ES_EIO, "%s: %d of %d", "a.wav", 3, 4), ES_EIO);
    CHECK_INT(es_fail(&err, ES_ENOMEM, "later"), ES_ENOMEM);
    CHECK_INT(err.code, ES_EIO);
    CHECK_STR(err.text, "a.wav: 3 of 4");
    CHECK_INT(es_fail(NULL, ES_EARG, "nobody listens"), ES_EARG);
    CHECK_STR(es_status_text(ES_EBUDGET), "the memory budget is too small");
    CHECK_STR(es_status_text(77), "unknown status");
}

static void sentences_are_harmless(void)
{
    es_err err = {0};
    char out[32], small[8];
    char long_name[3000];

    es_fail(&err, ES_EIO, "%s: gone",
            "a\x1b[2J\nb\xff"
            "c\xc2\x9b"
            "d");
    CHECK_STR(err.text, "a\\x1B[2J\\x0Ab\\xFFc\\xC2\\x9Bd: gone");
    CHECK_STR(es_printable(out, sizeof out,
                           "\xe2\x80\xae"
                           "abc"),
              "\\xE2\\x80\\xAE"
              "abc"); /* right-to-left override */
    CHECK_STR(es_printable(out, sizeof out, "grün 日本"), "grün 日本");
    CHECK_STR(es_printable(out, sizeof out, "a\x7f"), "a\\x7F");
    CHECK_STR(es_printable(small, sizeof small, "abcdefg"), "abcdefg");
    CHECK_STR(es_printable(small, sizeof small, "abcdefgh"), "abcd...");
    CHECK_STR(es_printable(small, sizeof small, "abc\n"), "abc\\x0A");
    CHECK_STR(es_printable(small, sizeof small, "abcd\n"), "abcd...");
    CHECK_STR(es_printable(small, sizeof small, NULL), "");
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    err = (es_err){0};
    es_fail(&err, ES_EIO, "%s", long_name);
    CHECK_INT(strlen(err.text), sizeof err.text - 1);
    CHECK_STR(err.text + sizeof err.text - 5, "x...");
}

/* ---- utf8 ---- */

static void utf8_is_strict(void)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xe2\x82",
                                      "\xff"};
    uint32_t code;
    char out[4];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!es_utf8_valid(bad[i], strlen(bad[i])), "bad sequence %zu passes", i);
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        size_t n = es_utf8_write(out, c);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        if (es_utf8_read(out, n, &code) != n || code != (surrogate ? 0xFFFD : c)) {
            CHECK(false, "U+%04X comes back as U+%04X", (unsigned)c, (unsigned)code);
            break;
        }
        if (n > 1 && es_utf8_read(out, n - 1, &code) != 0) {
            CHECK(false, "U+%04X cut short passes", (unsigned)c);
            break;
        }
    }
    CHECK_INT(es_utf8_read("", 0, &code), 0);
}

/* ---- hash ---- */

/* xxh3_128_hexdigest of the first n bytes of 0, 1, 2, ... 255, 0, 1, ...: every length at which XXH3 changes its path.
 */
static const struct {
    size_t n;
    const char *hex;
} hashes[] = {
    {0, "99aa06d3014798d86001c324468d497f"},    {1, "a6cd5e9392000f6ac44bdff4074eecdb"},
    {3, "e3b55f57945a17cf5f4299fc161c9cbb"},    {4, "eb70bf5fc779e9e6a6111d53e80a3db5"},
    {8, "e1e4432a62217fe4cfd50c61c8bb98c1"},    {9, "16c769d83e4aebce907931979dca3746"},
    {16, "72950631827607e2842812cc870dcae2"},   {17, "685bc458b37d057fc06e233df7729217"},
    {128, "14792fc3af88dc6c05321a0b64d67b41"},  {129, "dd5e74ac6b45f54ebc30b63382b09a3b"},
    {240, "65b5be86da5540e7c92b68e16f83bbb6"},  {241, "1da1cb61bcb8a2a102e8cd95421c6d02"},
    {512, "111d5771df64cbcb1059105ad19bfa09"},  {1024, "83885e853bb6640ca870f92984398d22"},
    {1025, "e1e508f110763b4678c86e91ee939852"}, {2048, "df73e0768dd183fadd420471ff96bd00"},
};

static void hashes_are_canonical(void)
{
    unsigned char bytes[2048];
    char hex[33];

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        es_hash128 h = es_hash_bytes(bytes, hashes[i].n), parsed;
        es_hash_hex(hex, h);
        CHECK_STR(hex, hashes[i].hex);
        CHECK(es_hash_parse(&parsed, hashes[i].hex) == 0 && !memcmp(&parsed, &h, sizeof h));
        for (size_t step = 1; step < 600; step = step * 3 + 1) {
            es_hasher *hasher = es_hasher_open();
            CHECK(hasher);
            for (size_t at = 0; at < hashes[i].n; at += step)
                es_hasher_add(hasher, bytes + at, at + step < hashes[i].n ? step : hashes[i].n - at);
            es_hash128 streamed = es_hasher_value(hasher);
            CHECK(!memcmp(&streamed, &h, sizeof h), "%zu bytes in steps of %zu", hashes[i].n, step);
            es_hasher_close(hasher);
        }
    }
    es_hasher_close(NULL);
}

static void hashes_parse_strictly(void)
{
    es_hash128 h = {{0}};

    CHECK_INT(es_hash_parse(&h, "0123456789abcdef0123456789ABCDEF"), 0);
    CHECK(es_hash_id(h) == 0x0123456789abcdefu);
    CHECK_INT(es_hash_parse(&h, "0123456789abcdef0123456789ABCDE"), -1);
    CHECK_INT(es_hash_parse(&h, "0123456789abcdef0123456789ABCDEF0"), -1);
    CHECK_INT(es_hash_parse(&h, "0123456789abcdef0123456789ABCDEg"), -1);
    CHECK_INT(es_hash_parse(&h, NULL), -1);
    CHECK(es_hash_id((es_hash128){{0}}) == 1);
}

/* ---- json ---- */

static es_json *parsed(const char *text)
{
    es_json *j = NULL;

    es_json_parse(&j, text, strlen(text), "text", NULL);
    return j;
}

static void json_reads_what_is_there(void)
{
    es_json *j = parsed("{\"a\": 3, \"b\": [1, 2.5, \"x\", true], \"c\": {\"d\": null}, \"big\": 9007199254740993, "
                        "\"huge\": -1e300, \"large\": 9007199254740991}");
    const es_json_node *root = es_json_root(j), *b = es_json_get(root, "b");
    int64_t i = -7;
    double d = 0;
    bool t = false;

    CHECK(j);
    CHECK(es_json_int(es_json_get(root, "a"), 0, 3, &i) && i == 3);
    CHECK(!es_json_int(es_json_get(root, "a"), 4, 9, &i) && i == 3);
    CHECK(!es_json_int(es_json_get(root, "A"), 0, 9, &i));
    CHECK_INT(es_json_count(b), 4);
    CHECK(!es_json_int(es_json_next(es_json_first(b)), 0, 9, &i)); /* 2.5 */
    CHECK(es_json_number(es_json_next(es_json_first(b)), &d) && d == 2.5);
    CHECK_STR(es_json_string(es_json_next(es_json_next(es_json_first(b)))), "x");
    CHECK(es_json_bool(es_json_next(es_json_next(es_json_next(es_json_first(b)))), &t) && t);
    CHECK(!es_json_string(es_json_first(b)));
    CHECK(es_json_is_object(es_json_get(root, "c")) && !es_json_is_array(es_json_get(root, "c")));
    CHECK_STR(es_json_key(es_json_first(es_json_get(root, "c"))), "d");
    CHECK(!es_json_int(es_json_get(root, "big"), 0, INT64_MAX, &i)); /* 2^53 + 1 is not what a double would keep */
    CHECK(!es_json_int(es_json_get(root, "huge"), INT64_MIN, INT64_MAX, &i));
    CHECK(es_json_int(es_json_get(root, "large"), 0, INT64_MAX, &i) && i == 9007199254740991);
    CHECK(!es_json_get(NULL, "a") && es_json_count(NULL) == 0 && !es_json_first(NULL) && !es_json_next(NULL));
    CHECK(!es_json_number(NULL, &d) && !es_json_bool(NULL, &t) && !es_json_string(NULL) && !es_json_key(NULL));
    es_json_close(j);
    es_json_close(NULL);
}

static void json_refuses_what_is_not(void)
{
    static const char *const bad[] = {"",       "{",         "{\"a\":1,",   "{\"a\":1} x", "[1,]",    "nul",
                                      "{\"a\"", "\"unended", "{\"a\":1}{}", "[\"\\u12\"]", "{'a':1}", "+1"};
    char *deep = malloc(200001);
    es_err err = {0};
    es_json *j;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        j = parsed(bad[i]);
        CHECK(!j, "\"%s\" passes", bad[i]);
        es_json_close(j);
    }
    CHECK_INT(es_json_parse(&j, "{}\0{}", 5, "text", &err), ES_EFORMAT);
    CHECK(strstr(err.text, "zero byte at 2"));
    memset(deep, '[', 200000);
    deep[200000] = 0;
    j = parsed(deep);
    CHECK(!j);
    free(deep);
    err = (es_err){0};
    CHECK_INT(es_json_parse(&j, "{\n\"a\": 1,\n]", 11, "config.json", &err), ES_EFORMAT);
    CHECK(strstr(err.text, "config.json") && strstr(err.text, "line 3"), "%s", err.text);
}

static void json_file_is_bounded(void)
{
    char path[512];
    es_json *j;
    es_err err = {0};

    snprintf(path, sizeof path, "%s/x.json", es_test_folder());
    CHECK_INT(es_json_read(&j, path, 100, &err), ES_ENOTFOUND);
    FILE *f = fopen(path, "w");
    fputs("{\"a\": [1, 2, 3]}\n", f);
    fclose(f);
    CHECK_INT(es_json_read(&j, path, 17, NULL), ES_OK);
    CHECK_INT(es_json_count(es_json_get(es_json_root(j), "a")), 3);
    es_json_close(j);
    err = (es_err){0};
    CHECK_INT(es_json_read(&j, path, 16, &err), ES_EFORMAT);
    CHECK(!j && strstr(err.text, "16 bytes"));
}

static void json_writes_in_order(void)
{
    es_json_out o;

    es_json_begin(&o, 0);
    es_json_object(&o, NULL);
    es_json_put_string(&o, "s",
                       "a\"\\\n\t\r\x01\x7fz\xff"
                       "ü");
    es_json_array(&o, "list");
    es_json_put_int(&o, NULL, INT64_MIN);
    es_json_put_uint(&o, NULL, UINT64_MAX);
    es_json_put_bool(&o, NULL, false);
    es_json_put_null(&o, NULL);
    es_json_end_array(&o);
    es_json_array(&o, "empty");
    es_json_end_array(&o);
    es_json_put_fixed(&o, "f", 1.5, 2);
    es_json_put_number(&o, "nan", (double)NAN);
    es_json_end_object(&o);
    CHECK_STR(o.text, "{\"s\":\"a\\\"\\\\\\n\\t\\r\\u0001\\u007fz\xEF\xBF\xBDü\",\"list\":[-9223372036854775808,"
                      "18446744073709551615,false,null],\"empty\":[],\"f\":1.50,\"nan\":null}");
    CHECK(!o.failed && o.n == strlen(o.text));
    free(o.text);
    es_json_begin(&o, 2);
    es_json_object(&o, NULL);
    es_json_put_int(&o, "a", 1);
    es_json_object(&o, "b");
    es_json_end_object(&o);
    es_json_array(&o, "c");
    es_json_put_int(&o, NULL, 2);
    es_json_end_array(&o);
    es_json_end_object(&o);
    CHECK_STR(o.text, "{\n  \"a\": 1,\n  \"b\": {},\n  \"c\": [\n    2\n  ]\n}");
    free(o.text);
}

static void json_numbers_come_back(void)
{
    static const struct {
        double value;
        const char *text;
    } known[] = {{0.1, "0.1"}, {1.0, "1"}, {-2.5, "-2.5"}, {1e300, "1e+300"}, {0.1 + 0.2, "0.30000000000000004"}};
    es_noise noise = {.state = 7};
    es_json_out o;

    for (int pass = 0; pass < 2; pass++) {
        /* A locale with a comma, where the machine has one; the bytes must not change. */
        if (pass && !setlocale(LC_ALL, "de_DE.UTF-8")) break;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            es_json_begin(&o, 0);
            es_json_put_number(&o, NULL, known[i].value);
            CHECK_STR(o.text, known[i].text);
            free(o.text);
        }
    }
    setlocale(LC_ALL, "C");
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = es_noise_bits(&noise);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) continue;
        es_json_begin(&o, 0);
        es_json_put_number(&o, NULL, v);
        CHECK(strtod(o.text, NULL) == v, "%a is written as %s", v, o.text);
        free(o.text);
    }
    es_json_begin(&o, 0);
    es_json_array(&o, NULL);
    for (int i = 0; i < 100000; i++) es_json_put_int(&o, NULL, i);
    es_json_end_array(&o);
    es_json *j = parsed(o.text);
    CHECK_INT(es_json_count(es_json_root(j)), 100000);
    es_json_close(j);
    free(o.text);
}

/* ---- log ---- */

typedef struct heard {
    int n;
    es_log_level level;
    char last[1024];
} heard;

static void hear(void *user, es_log_level level, const char *sentence)
{
    heard *h = user;

    h->n++;
    h->level = level;
    snprintf(h->last, sizeof h->last, "%s", sentence);
}

static void log_has_levels(void)
{
    heard h = {0};

    es_log(ES_LOG_ERROR, "silent by default");
    es_log_set(hear, &h, ES_LOG_NOTE);
    es_log(ES_LOG_INFO, "not this");
    es_log(ES_LOG_WARN, "this %d\n", 1);
    CHECK_INT(h.n, 1);
    CHECK_INT(h.level, ES_LOG_WARN);
    CHECK_STR(h.last, "this 1\\x0A");
    es_log_set(NULL, NULL, ES_LOG_ERROR);
    es_log(ES_LOG_ERROR, "nobody");
    CHECK_INT(h.n, 1);
}

/* ---- types ---- */

static void transcript_grows(void)
{
    es_transcript t = {0};
    char text[16];
    uint32_t at;

    for (int i = 0; i < 1000; i++) {
        const int32_t tokens[] = {i, i + 1, i + 2};
        int n = snprintf(text, sizeof text, "s%d", i);
        es_segment s = {.start_ms = i, .speaker = -1, .n_words = 99};
        CHECK_INT(es_transcript_add_segment(&t, &s, text, (size_t)n, tokens, (size_t)(i % 4)), 0);
        for (int j = 0; j < i % 3; j++) {
            es_word w = {.start_ms = i * 10 + j};
            n = snprintf(text, sizeof text, "w%d.%d", i, j);
            CHECK_INT(es_transcript_add_word(&t, &w, text, (size_t)n), 0);
        }
    }
    CHECK_INT(es_transcript_add_text(&t, &at, "end", 3), 0);
    CHECK_INT(at, t.n_text - 3);
    CHECK_INT(t.n_segments, 1000);
    CHECK_INT(t.n_words, 999);
    CHECK_INT(t.n_tokens, 250 * 6);
    for (int i = 0; i < 1000; i++) {
        const es_segment *s = &t.segments[i];
        int n = snprintf(text, sizeof text, "s%d", i);
        CHECK(s->text_bytes == (uint32_t)n && !memcmp(t.text + s->text_at, text, (size_t)n), "segment %d", i);
        CHECK(s->n_tokens == (uint32_t)(i % 4) && s->n_words == (uint32_t)(i % 3), "counts of %d", i);
        if (s->n_tokens) CHECK_INT(t.tokens[s->first_token], i);
        if (s->n_words) CHECK_INT(t.words[s->first_word].start_ms, i * 10);
    }
    es_transcript_done(&t);
    CHECK(!t.segments && t.n_text == 0);
    es_transcript_done(&t);
    es_transcript_done(NULL);
}

static void media_info_is_copied(void)
{
    char path[] = "/a/b.wav";
    es_media_info a = {.bytes = 7, .path = path}, b = {0};

    CHECK_INT(es_media_info_copy(&b, &a), 0);
    path[1] = 'x';
    CHECK_STR(b.path, "/a/b.wav");
    CHECK_INT(b.bytes, 7);
    es_media_info_done(&b);
    es_media_info_done(&b);
    es_media_info_done(NULL);
}

static const es_test tests[] = {
    {"first_sentence_stays", first_sentence_stays},
    {"sentences_are_harmless", sentences_are_harmless},
    {"utf8_is_strict", utf8_is_strict},
    {"hashes_are_canonical", hashes_are_canonical},
    {"hashes_parse_strictly", hashes_parse_strictly},
    {"json_reads_what_is_there", json_reads_what_is_there},
    {"json_refuses_what_is_not", json_refuses_what_is_not},
    {"json_file_is_bounded", json_file_is_bounded},
    {"json_writes_in_order", json_writes_in_order},
    {"json_numbers_come_back", json_numbers_come_back},
    {"log_has_levels", log_has_levels},
    {"transcript_grows", transcript_grows},
    {"media_info_is_copied", media_info_is_copied},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
