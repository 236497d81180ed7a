/*
 * test_text.c - the text room against published vectors: BPE of both vocabularies, what is never said, whole
 * characters, words with times, repetition and languages.
 */
#include "test.h"
#include "text/bpe.h"
#include "text/unicode.h"
#include "text/words.h"

/* ---- vocabularies: the token table of a pack, built from the file form the vocabularies are published in ---- */

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;

    return p ? (int)(p - digits) : -1;
}

/* Lines of "base64 of the token, blank, rank", ranks ascending. */
static uint8_t *table_of(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    uint8_t *table = malloc(4u << 20);
    char line[512];

    *bytes = 0;
    while (f && table && fgets(line, sizeof line, f)) {
        uint8_t token[256];
        size_t n = 0;
        unsigned bits = 0;
        int have = 0, v;
        for (const char *p = line; (v = base64_value(*p)) >= 0; p++) {
            bits = (bits << 6 | (unsigned)v) & 0xFFFF;
            have += 6;
            if (have >= 8) token[n++] = (uint8_t)(bits >> (have -= 8));
        }
        if (!strchr(line, ' ')) break;
        table[(*bytes)++] = (uint8_t)n;
        memcpy(table + *bytes, token, n);
        *bytes += n;
    }
    if (f) fclose(f);
    return table;
}

enum { ENGLISH, MULTILINGUAL };

static es_bpe *vocabulary(int which)
{
    const char *name =
        which == ENGLISH ? "models/whisper-assets/gpt2.tiktoken" : "models/whisper-assets/multilingual.tiktoken";
    const char *path = es_test_data(name);
    es_err err = {0};
    es_bpe *b = NULL;
    size_t bytes;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/whisper-assets");
        return NULL;
    }
    uint8_t *table = table_of(path, &bytes);
    CHECK_INT(es_bpe_open(&b, table, bytes, &err), ES_OK);
    free(table);
    CHECK_INT(b ? es_bpe_count(b) : 0, which == ENGLISH ? 50256 : 50257);
    return b;
}

/* 256 single bytes and the merges a test needs. */
static es_bpe *small_vocabulary(const char *const *more, size_t n)
{
    uint8_t table[4096];
    size_t bytes = 0;
    es_bpe *b = NULL;
    es_err err = {0};

    for (int i = 0; i < 256; i++) table[bytes++] = 1, table[bytes++] = (uint8_t)i;
    for (size_t i = 0; i < n; i++) {
        size_t k = strlen(more[i]);
        table[bytes++] = (uint8_t)k;
        memcpy(table + bytes, more[i], k);
        bytes += k;
    }
    CHECK_INT(es_bpe_open(&b, table, bytes, &err), ES_OK);
    return b;
}

/* ---- encoding and decoding ---- */

typedef struct vector {
    const char *text;
    int n[2];
    int32_t ids[2][48];
} vector;

static const vector vectors[] = {
    {" And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
     {25, 25},
     {{843, 523, 616, 5891, 3399, 11,  1265, 407, 644, 534, 1499, 460, 466,
       329, 345, 11,  1265, 644,  345, 460,  466, 329, 534, 1499, 13},
      {400, 370, 452, 7177, 6280, 11,  1029, 406, 437, 428, 1941, 393, 360,
       337, 291, 11,  1029, 437,  291, 393,  360, 337, 428, 1941, 13}}},
    {" Hello world", {2, 2}, {{18435, 995}, {2425, 1002}}},
    {"It's 12:30 p.m.",
     {9, 9},
     {{1026, 338, 1105, 25, 1270, 279, 13, 76, 13}, {3522, 311, 2272, 25, 3446, 280, 13, 76, 13}}},
    {"a  b   c", {6, 6}, {{64, 220, 275, 220, 220, 269}, {64, 220, 272, 220, 220, 269}}},
    {"don't DON'T", {5, 5}, {{9099, 470, 23917, 6, 51}, {13966, 380, 20403, 6, 51}}},
    {" 1234567890", {4, 5}, {{17031, 2231, 30924, 3829}, {34466, 8465, 22452, 23, 7771}}},
    {" naïve café", {2, 4}, {{41492, 40304}, {1667, 15487, 303, 25118}}},
    {"😀", {2, 2}, {{47249, 222}, {13125, 222}}},
    {" 你好,世界", {10, 4}, {{220, 19526, 254, 25001, 121, 11, 10310, 244, 45911, 234}, {10930, 2131, 11, 24486}}},
    {"다람쥐 헌 쳇바퀴에 타고파",
     {34, 16},
     {{46695, 97,  167, 252, 234, 168, 98,  238, 220, 169, 245, 234, 23821, 111, 229, 167, 108,
       242,   169, 222, 112, 168, 245, 238, 220, 169, 225, 222, 166, 111,   254, 169, 234, 234},
      {9835, 22855, 168, 98, 238, 13431, 234, 43517, 229, 47053, 169, 222, 19086, 19840, 1313, 17974}}},
    {"हिन्दी",
     {12, 7},
     {{11976, 117, 11976, 123, 11976, 101, 24231, 235, 11976, 99, 24231, 222},
      {44500, 33279, 35082, 27099, 3941, 99, 31881}}},
};

static void encode(void)
{
    for (int which = 0; which < 2; which++) {
        es_bpe *b = vocabulary(which);
        if (!b) return;
        for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
            const vector *x = &vectors[v];
            int32_t ids[64];
            char text[512];
            size_t n = es_bpe_encode(b, x->text, strlen(x->text), ids, 64);
            CHECK(n == (size_t)x->n[which], "%s: %zu tokens, expected %d", x->text, n, x->n[which]);
            for (size_t i = 0; i < n && i < (size_t)x->n[which]; i++)
                CHECK(ids[i] == x->ids[which][i], "%s: token %zu is %d, expected %d", x->text, i, ids[i],
                      x->ids[which][i]);
            n = es_bpe_decode(b, x->ids[which], (size_t)x->n[which], 50256, text, sizeof text);
            CHECK(n == strlen(x->text) && memcmp(text, x->text, n) == 0, "%s comes back as %.*s", x->text, (int)n,
                  text);
        }
        es_bpe_close(b);
    }
}

static void encode_rules(void)
{
    es_bpe *b = vocabulary(MULTILINGUAL);
    int32_t ids[64], part[2];

    if (!b) return;
    /* What looks like a special token is text; it comes back unchanged from ordinary ids. */
    const char *special = "<|endoftext|>";
    size_t n = es_bpe_encode(b, special, strlen(special), ids, 64);
    CHECK(n > 1 && n < 14, "%zu", n);
    for (size_t i = 0; i < n && i < 64; i++) CHECK(ids[i] < 50257);
    /* The count does not depend on the room. */
    CHECK_INT(es_bpe_encode(b, special, strlen(special), part, 2), n);
    CHECK(part[0] == ids[0] && part[1] == ids[1]);
    CHECK_INT(es_bpe_encode(b, "", 0, ids, 64), 0);
    /* Blanks before a word: the last one joins it. A newline does not join. No-break spaces are white space. */
    CHECK_INT(es_bpe_encode(b, " a   b", 6, ids, 64), 4);
    CHECK_INT(es_bpe_encode(b, " b", 2, part, 2), 1);
    CHECK_INT(ids[3], part[0]);
    n = es_bpe_encode(b, "\n\nHello", 7, ids, 64);
    size_t apart = es_bpe_encode(b, "\n", 1, ids, 64) * 2 + es_bpe_encode(b, "Hello", 5, ids, 64);
    CHECK_INT(n, apart);
    /* Invalid bytes are U+FFFD: the same ids as of the repaired text. */
    int32_t repaired[16];
    n = es_bpe_encode(b, "a\xFF\xE2\x82z", 5, ids, 64);
    size_t m = es_bpe_encode(b, "a\xEF\xBF\xBD\xEF\xBF\xBDz", 8, repaired, 16);
    CHECK(n == m && memcmp(ids, repaired, n * sizeof *ids) == 0, "%zu and %zu tokens", n, m);
    CHECK_INT(es_bpe_find(b, " ", 1), 220);
    CHECK_INT(es_bpe_find(b, "", 0), -1);
    es_bpe_bytes(b, 50256, &n);
    CHECK_INT(n, 0);
    es_bpe_bytes(b, -1, &n);
    CHECK_INT(n, 0);
    es_bpe_close(b);
}

/* The same merges by the definition: look for the lowest pair, merge it, start again. */
static size_t merge_slowly(const es_bpe *b, const char *s, size_t n, int32_t *ids)
{
    size_t at[256], parts = n;

    for (size_t i = 0; i <= n; i++) at[i] = i;
    for (;;) {
        int lowest = -1;
        size_t where = 0;
        for (size_t i = 0; i + 1 < parts; i++) {
            int id = es_bpe_find(b, s + at[i], at[i + 2] - at[i]);
            if (id >= 0 && (lowest < 0 || id < lowest)) lowest = id, where = i;
        }
        if (lowest < 0) break;
        memmove(at + where + 1, at + where + 2, (parts - where - 1) * sizeof *at);
        parts--;
    }
    for (size_t i = 0; i < parts; i++) ids[i] = es_bpe_find(b, s + at[i], at[i + 1] - at[i]);
    return parts;
}

static void encode_merges(void)
{
    static const char *const merges[] = {"ab", "abab", "ba", "aa", "bab", "aaaa", "aab", "bb", "abb", "aba", "babab"};
    es_bpe *b = small_vocabulary(merges, sizeof merges / sizeof *merges);
    es_noise noise = {17};
    char text[201];
    int32_t have[200], want[200];

    for (int round = 0; round < 2000; round++) {
        size_t length = 2 + es_noise_bits(&noise) % 199;
        for (size_t i = 0; i < length; i++) text[i] = es_noise_bits(&noise) & 1 ? 'a' : 'b';
        text[length] = 0;
        size_t n = es_bpe_encode(b, text, length, have, 200), m = merge_slowly(b, text, length, want);
        if (es_bpe_find(b, text, length) >= 0) continue;
        CHECK(n == m && memcmp(have, want, n * sizeof *have) == 0, "%s", text);
    }
    es_bpe_close(b);
}

/* A megabyte in one piece: quadratic merging would take hours, and this test with it. */
static void encode_long(void)
{
    es_bpe *b = vocabulary(MULTILINGUAL);
    size_t n = 1u << 20;
    char *text = malloc(n), *back = malloc(n);
    int32_t *ids = malloc(n * sizeof *ids);
    es_noise noise = {5};

    for (int kind = 0; b && kind < 2; kind++) {
        for (size_t i = 0; i < n; i++) text[i] = kind ? 'a' : (char)('a' + es_noise_bits(&noise) % 26);
        size_t count = es_bpe_encode(b, text, n, ids, n);
        CHECK(count > 1000 && count <= n, "%zu tokens", count);
        if (count > n) break;
        CHECK_INT(es_bpe_decode(b, ids, count, 50257, back, n), n);
        CHECK(memcmp(text, back, n) == 0);
    }
    free(text), free(back), free(ids);
    es_bpe_close(b);
}

static void decode_replaces(void)
{
    es_bpe *b = small_vocabulary(NULL, 0);
    /* Bytes in, U+FFFD for each sequence that breaks off: what Python's bytes.decode("utf-8", "replace") gives. */
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"plain", "plain"},
        {"\xC3\xA9", "\xC3\xA9"},
        {"a\x80z", "a\xEF\xBF\xBDz"},
        {"\xE2\x82", "\xEF\xBF\xBD"},
        {"\xE2\x82z", "\xEF\xBF\xBDz"},
        {"\xE2\x28\xA1", "\xEF\xBF\xBD(\xEF\xBF\xBD"},
        {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\xF0\x9F", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xF5\xFF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[16];
        char text[64];
        size_t n = strlen(cases[i].bytes);
        for (size_t k = 0; k < n; k++) ids[k] = (unsigned char)cases[i].bytes[k]; /* one byte a token */
        size_t length = es_bpe_decode(b, ids, n, 300, text, sizeof text - 1);
        text[length] = 0;
        CHECK_STR(text, cases[i].text);
        /* Ids from eot on are not text, wherever they stand; room limits what is written and not what is counted. */
        ids[n] = 300;
        CHECK_INT(es_bpe_decode(b, ids, n + 1, 300, text, 1), length);
    }
    es_bpe_close(b);
}

static void open_refuses(void)
{
    es_err err = {0};
    es_bpe *b = NULL;
    uint8_t table[512];

    for (int i = 0; i < 256; i++) table[2 * i] = 1, table[2 * i + 1] = (uint8_t)i;
    CHECK_INT(es_bpe_open(&b, table, 512, &err), ES_OK);
    es_bpe_close(b);
    CHECK_INT(es_bpe_open(&b, table, 511, &err), ES_EFORMAT);
    CHECK(strstr(err.text, "token 255"), "%s", err.text);
    err = (es_err){0};
    CHECK_INT(es_bpe_open(&b, table, 510, &err), ES_EFORMAT);
    CHECK(strstr(err.text, "0xFF"), "%s", err.text);
    CHECK(b == NULL);
    err = (es_err){0};
    CHECK_INT(es_bpe_open(&b, table, 0, &err), ES_EFORMAT);
}

/* ---- what is never said ---- */

static const int32_t never_english[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,    29,    31,    58,
    59,    60,    61,    62,    63,    90,    91,    92,    93,    357,   366,   438,   532,   685,
    705,   796,   930,   1058,  1220,  1267,  1279,  1303,  1343,  1377,  1391,  1635,  1782,  1875,
    2162,  2361,  2488,  3467,  4008,  4211,  4600,  4808,  5299,  5855,  6329,  7203,  9609,  9959,
    10563, 10786, 11420, 11709, 11907, 13163, 13697, 13700, 14808, 15306, 16410, 16791, 17992, 19203,
    19510, 20724, 22305, 22935, 27007, 30109, 30420, 33409, 34949, 40283, 40493, 40549, 47282, 49146,
};
static const int32_t never_multilingual[] = {
    1,     2,     7,     8,     9,     10,    14,    25,    26,    27,    28,    29,    31,    58,
    59,    60,    61,    62,    63,    90,    91,    92,    93,    359,   503,   522,   542,   873,
    893,   902,   918,   922,   931,   1350,  1853,  1982,  2460,  2627,  3246,  3253,  3268,  3536,
    3846,  3961,  4183,  4667,  6585,  6647,  7273,  9061,  9383,  10428, 10929, 11938, 12033, 12331,
    12562, 13793, 14157, 14635, 15265, 15618, 16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130,
    26161, 26435, 28279, 29464, 31650, 32302, 32470, 36865, 42863, 47425, 49870, 50254,
};

static void non_speech(void)
{
    for (int which = 0; which < 2; which++) {
        const int32_t *want = which == ENGLISH ? never_english : never_multilingual;
        size_t count =
            which == ENGLISH ? sizeof never_english / sizeof *want : sizeof never_multilingual / sizeof *want;
        es_bpe *b = vocabulary(which);
        int32_t ids[128];
        if (!b) return;
        size_t n = es_bpe_non_speech(b, ids, 128);
        CHECK_INT(n, count);
        for (size_t i = 0; i < n && i < count; i++) CHECK_INT(ids[i], want[i]);
        es_bpe_close(b);
    }
}

/* ---- words ---- */

static void units(void)
{
    static const int32_t tokens[] = {8404, 871, 287, 6, 246, 526, 3210, 20378};
    static const char *const texts[] = {" elle", " est", " l", "'", "\xEF\xBF\xBD", "é", "rit", "oire"};
    es_bpe *b = vocabulary(MULTILINGUAL);
    uint32_t first[9];

    if (!b) return;
    size_t n = es_words_units(b, tokens, 8, 50257, first);
    CHECK_INT(n, 8);
    for (size_t i = 0; i < n && i < 8; i++) {
        char text[32];
        size_t k = es_bpe_decode(b, tokens + first[i], first[i + 1] - first[i], 50257, text, 31);
        text[k] = 0;
        CHECK_STR(text, texts[i]);
    }
    /* A character of several tokens is one unit. */
    int32_t ids[16];
    const char *emoji = "a😀b";
    size_t count = es_bpe_encode(b, emoji, strlen(emoji), ids, 16);
    n = es_words_units(b, ids, count, 50257, first);
    CHECK(count > 3);
    CHECK_INT(n, 3);
    /* A character that breaks off at the end belongs to the last unit; nothing is lost. */
    n = es_words_units(b, ids, count - 2, 50257, first);
    CHECK(n >= 2 && first[n] == count - 2, "%zu units", n);
    es_bpe_close(b);
}

typedef struct grouped {
    es_timed_word words[64];
    uint32_t unit[65];
    char text[1024];
    size_t n;
    double median, longest;
} grouped;

static void group(grouped *g, const es_bpe *b, const char *language, const char *text, const int *frames)
{
    int32_t ids[64];
    float p[64];
    size_t n = es_bpe_encode(b, text, strlen(text), ids, 64);

    for (size_t i = 0; i < n; i++) p[i] = 1.0f / (float)(i + 1);
    g->n = es_words_group(b, language, ids, n, 50257, frames, p, g->words, g->unit, g->text, &g->median, &g->longest);
}

static void check_word(const grouped *g, size_t i, const char *text, double start, double end)
{
    const es_timed_word *w = &g->words[i];

    CHECK(i < g->n, "%zu words", g->n);
    CHECK(w->text_bytes == strlen(text) && memcmp(w->text, text, w->text_bytes) == 0,
          "word %zu is \"%.*s\", expected \"%s\"", i, (int)w->text_bytes, w->text, text);
    CHECK(fabs(w->start - start) < 1e-9 && fabs(w->end - end) < 1e-9, "word %zu \"%s\": %g to %g, expected %g to %g", i,
          text, w->start, w->end, start, end);
}

static void words(void)
{
    es_bpe *b = vocabulary(MULTILINGUAL);
    static grouped g;

    if (!b) return;
    /* Tokens: |And| so|,| "|my| fellow|."| : signs join their words, which keep their own times. */
    static const int frames[] = {0, 10, 20, 25, 30, 40, 60, 65, 70};
    const char *text = " And so, \"my fellow.";
    int32_t ids[16];
    CHECK_INT(es_bpe_encode(b, text, strlen(text), ids, 16), 7);
    group(&g, b, "en", text, frames);
    CHECK_INT(g.n, 6); /* "my" follows the sign without a blank: one word of two tokens at once */
    check_word(&g, 0, " And", 0.0, 0.2);
    check_word(&g, 1, " so,", 0.2, 0.4);
    CHECK_INT(g.words[1].n_tokens, 2);
    int tokens = 0;
    for (size_t i = 0; i < g.n; i++) tokens += g.words[i].n_tokens;
    CHECK_INT(tokens, 7);
    CHECK(fabs((double)g.words[1].probability - 0.5) < 1e-6, "%g", (double)g.words[1].probability);

    /* Long words beside the end of a sentence are cut to twice the median: here the full stop and the word after it. */
    static const int stretched[] = {0, 10, 20, 120, 200, 210, 220};
    text = " so it. Then he left";
    CHECK_INT(es_bpe_encode(b, text, strlen(text), ids, 16), 6);
    group(&g, b, "en", text, stretched);
    CHECK(fabs(g.median - 0.2) < 1e-9 && fabs(g.longest - 0.4) < 1e-9, "median %g", g.median);
    check_word(&g, 0, " so", 0.0, 0.2);
    check_word(&g, 1, " it.", 0.2, 0.4);
    check_word(&g, 2, "", 2.4 - 2.0, 0.8);
    check_word(&g, 3, " Then", 4.0 - 1.6 + 1.2, 4.0);
    check_word(&g, 4, " he", 4.0, 4.2);

    /* In a language without blanks every unit is a word, but signs still join. */
    static const int even[] = {0, 5, 10, 15, 20, 25, 30, 35, 40};
    text = " 你好,世界";
    group(&g, b, "zh", text, even);
    CHECK_INT(g.n, 4);
    check_word(&g, 0, " 你", 0.0, 0.1);
    check_word(&g, 1, "好,", 0.1, 0.2);
    check_word(&g, 3, "世界", 0.3, 0.4);
    group(&g, b, "en", text, even);
    CHECK_INT(g.n, 2);
    check_word(&g, 0, " 你好", 0.0, 0.2);
    check_word(&g, 1, ",世界", 0.2, 0.4);

    group(&g, b, "en", "", even);
    CHECK_INT(g.n, 0);
    es_bpe_close(b);
}

static void place(void)
{
    /* A first word that reaches back over a pause of 10 s is cut to twice the median before its end. */
    es_timed_word w[2] = {{.start = 2.0, .end = 12.0}, {.start = 12.0, .end = 12.3}};
    double start = 2.0, end = 12.5;
    es_words_place(w, 2, &start, &end, 1.0, 0.3, 0.6);
    CHECK(fabs(w[0].start - 11.4) < 1e-9 && fabs(start - 11.4) < 1e-9, "%g %g", w[0].start, start);
    CHECK(fabs(end - 12.3) < 1e-9, "%g", end);
    /* Both long: the second gives way up to twice the median before its end. */
    w[0] = (es_timed_word){.start = 2.0, .end = 10.0}, w[1] = (es_timed_word){.start = 10.0, .end = 13.0};
    start = 2.0, end = 13.0;
    es_words_place(w, 2, &start, &end, 0.0, 0.3, 0.6);
    CHECK(fabs(w[0].end - 12.4) < 1e-9 && fabs(w[1].start - 12.4) < 1e-9 && fabs(w[0].start - 11.8) < 1e-9, "%g",
          w[0].end);
    /* The segment's own start is better where the first word begins more than half a second before it. */
    w[0] = (es_timed_word){.start = 0.0, .end = 1.2}, w[1] = (es_timed_word){.start = 1.2, .end = 1.4};
    start = 1.0, end = 0.5;
    es_words_place(w, 2, &start, &end, 0.0, 0.3, 0.6);
    CHECK(fabs(w[0].start - 0.9) < 1e-9 && fabs(start - 1.0) < 1e-9, "%g %g", w[0].start, start);
    /* ... and so is its end where the last word runs more than half a second past it. */
    w[0] = (es_timed_word){.start = 1.0, .end = 3.0};
    start = 1.0, end = 2.0;
    es_words_place(w, 1, &start, &end, 1.0, 0.3, 5.0);
    CHECK(fabs(w[0].end - 2.0) < 1e-9 && fabs(end - 2.0) < 1e-9, "%g %g", w[0].end, end);
}

/* ---- repetition ---- */

static char *repeated(const char *what, int times)
{
    size_t n = strlen(what);
    char *s = calloc(n * (size_t)times + 1, 1);

    for (int i = 0; s && i < times; i++) memcpy(s + n * (size_t)i, what, n);
    return s;
}

static void compression(void)
{
    static const struct {
        const char *what;
        int times;
        double bytes, packed;
    } cases[] = {
        {"a", 100, 100, 12},
        {"thank you. ", 20, 220, 22},
        {"I'm going to go to the store. ", 6, 180, 38},
        {"And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
         1, 107, 79},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *s = repeated(cases[i].what, cases[i].times);
        double ratio = es_text_compression_ratio(s, strlen(s));
        CHECK(fabs(ratio - cases[i].bytes / cases[i].packed) < 1e-9, "%s: %g", cases[i].what, ratio);
        free(s);
    }
    CHECK(es_text_compression_ratio("", 0) == 0);
    /* More than one buffer of packed output: noise does not pack, and its ratio stays near one. */
    char *noise = malloc(100000);
    es_noise seed = {3};
    for (size_t i = 0; i < 100000; i++) noise[i] = (char)es_noise_bits(&seed);
    double ratio = es_text_compression_ratio(noise, 100000);
    CHECK(ratio > 0.99 && ratio < 1.0, "%g", ratio);
    free(noise);
}

static void repeats(void)
{
    static const struct {
        const char *what;
        int times, want;
        bool characters;
    } cases[] = {
        {"one two three four ", 6, 6, false},
        {"one two three four five ", 7, 7, false},
        {"thank you ", 12, 6, false},
        {"sa ", 24, 6, false},
        {"I love you ", 12, 6, false},
        {"no ", 3, 1, false},
        {"一二三四", 6, 6, true},
        {"一二三四", 6, 1, false},
        {"And so my fellow Americans ", 1, 1, false},
        {"", 1, 1, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *s = repeated(cases[i].what, cases[i].times);
        int have = es_text_longest_repeat(s, strlen(s), cases[i].characters);
        CHECK(have == cases[i].want, "%d times \"%s\": %d, expected %d", cases[i].times, cases[i].what, have,
              cases[i].want);
        free(s);
    }
    /* In the middle of other words. */
    const char *text = "well a b c d a b c d a b c d and so on";
    CHECK_INT(es_text_longest_repeat(text, strlen(text), false), 3);
}

/* ---- languages ---- */

static void languages(void)
{
    CHECK_STR(es_language_code(0), "en");
    CHECK_STR(es_language_code(98), "su");
    CHECK_STR(es_language_code(99), "yue");
    CHECK(!es_language_code(100) && !es_language_code(-1));
    for (int i = 0; i < 100; i++) {
        CHECK_INT(es_language_index(es_language_code(i)), i);
        CHECK_INT(es_language_index(es_language_name(i)), i);
    }
    CHECK_INT(es_language_index("German"), 2);
    CHECK_INT(es_language_index("FLEMISH"), es_language_index("nl"));
    CHECK_INT(es_language_index("mandarin"), 1);
    CHECK_INT(es_language_index("klingon"), -1);
    CHECK_INT(es_language_index(""), -1);
    CHECK_INT(es_language_index(NULL), -1);
    CHECK(es_language_without_blanks("yue") && es_language_without_blanks("my") && !es_language_without_blanks("ko"));
}

static void unicode(void)
{
    CHECK(es_unicode_is_letter('a') && es_unicode_is_letter(0xE9) && es_unicode_is_letter(0x4F60) &&
          es_unicode_is_letter(0x1D400));
    CHECK(!es_unicode_is_letter(0x0301) && !es_unicode_is_letter('1') && !es_unicode_is_letter(0x1F600));
    CHECK(es_unicode_is_number('7') && es_unicode_is_number(0xBD) && es_unicode_is_number(0x0967) &&
          !es_unicode_is_number('x'));
    CHECK(es_unicode_is_space(0xA0) && es_unicode_is_space(0x3000) && !es_unicode_is_space(0x200B) &&
          !es_unicode_is_space(0x1C));
    for (int32_t c = 0; c <= 0x10FFFF; c++) { /* every character comes back as it was */
        char s[4];
        int32_t back;
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        size_t n = es_unicode_put(s, c);
        if (es_unicode_next(s, n, &back) != n || back != c) {
            CHECK(false, "U+%04X reads as %d", (unsigned)c, (int)back);
            break;
        }
    }
    size_t n = 7;
    const char *s = es_unicode_strip(" \xC2\xA0 a b ", &n);
    CHECK(n == 3 && memcmp(s, "a b", 3) == 0, "%zu", n);
    n = 2;
    es_unicode_strip("  ", &n);
    CHECK_INT(n, 0);
}

static const es_test tests[] = {
    {"unicode", unicode},
    {"encode", encode},
    {"encode_rules", encode_rules},
    {"encode_merges", encode_merges},
    {"encode_long", encode_long},
    {"decode_replaces", decode_replaces},
    {"open_refuses", open_refuses},
    {"non_speech", non_speech},
    {"units", units},
    {"words", words},
    {"place", place},
    {"compression", compression},
    {"repeats", repeats},
    {"languages", languages},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
