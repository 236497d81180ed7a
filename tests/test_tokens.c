/*
 * test_tokens.c - Qwen2's tokenizer on its published vocabulary against the reference's ids, on texts nobody would write,
 * and the frames around the ids of both tokenizers.
 *
 * The vocabulary is read here from vocab.json itself, so that neither the converter nor a pack stands between it and the
 * tokenizer.
 */
#include "test.h"

#include "base/json.h"
#include "base/utf8.h"
#include "text/normal.h"
#include "text/qwen2_tokens.h"
#include "text/tokens.h"

enum { BASE = 151643, END = 151643, MOST = 1 << 21 };

static const char added_table[] = "\x5B\x50\x02\0\x0D<|endoftext|>\x5C\x50\x02\0\x0C<|im_start|>\x5D\x50\x02\0\x0A<|im_end|>";
static uint8_t *table;
static size_t table_bytes;
static int32_t ids[MOST];

/* The byte a character of the vocabulary stands for: visible Latin-1 is itself, the other 68 bytes follow from U+0100. */
static int byte_of(uint32_t c)
{
    int byte = 0, k = 0;

    if (c < 0x100) return (int)c;
    for (; byte < 256; byte++) {
        bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        if (!visible && k++ == (int)c - 0x100) break;
    }
    return byte;
}

/* Reads the vocabulary once; false, and the test is skipped, where it is not at hand. */
static bool vocabulary(void)
{
    const char *path = es_test_data("models/qwen2-tokenizer/vocab.json");
    es_json *j = NULL;
    es_err err = {0};

    if (table) return true;
    if (!path) {
        es_test_skip("ES_TEST_DATA/models/qwen2-tokenizer");
        return false;
    }
    CHECK(es_json_read(&j, path, 1 << 24, &err) == ES_OK, "%s", err.text);
    const char **token = calloc(BASE, sizeof *token);
    for (const es_json_node *n = es_json_first(es_json_root(j)); n; n = es_json_next(n)) {
        int64_t id;
        if (es_json_int(n, 0, BASE - 1, &id)) token[id] = es_json_key(n);
    }
    table = malloc(4 << 20);
    for (int i = 0; i < BASE; i++) {
        uint8_t *length = table + table_bytes++;
        const char *p = token[i] ? token[i] : "";
        for (uint32_t c; *p;) {
            p += es_utf8_read(p, strlen(p), &c);
            table[table_bytes++] = (uint8_t)byte_of(c);
        }
        *length = (uint8_t)(table + table_bytes - length - 1);
    }
    free(token);
    es_json_close(j);
    return true;
}

static es_qwen2_tokens *opened(void)
{
    es_qwen2_tokens *t = NULL;
    es_err err = {0};

    if (!vocabulary()) return NULL;
    int rc = es_qwen2_tokens_open(&t, table, table_bytes, (const uint8_t *)added_table, sizeof added_table - 1, &err);
    CHECK(rc == ES_OK, "%s", err.text);
    return t;
}

static void compare(const char *what, const int32_t *have, size_t n, const es_json_node *want)
{
    const es_json_node *w = es_json_first(want);
    int64_t v = -1;

    CHECK(n == (size_t)es_json_count(want), "%s: %zu ids, expected %d", what, n, es_json_count(want));
    for (size_t i = 0; w && i < n; i++, w = es_json_next(w))
        CHECK(es_json_int(w, 0, 1 << 20, &v) && v == have[i], "%s: id %zu is %d, expected %lld", what, i, have[i], (long long)v);
}

static uint32_t four_digits(const char *p)
{
    char digits[5] = {p[0], p[1], p[2], p[3], 0};

    return (uint32_t)strtoul(digits, NULL, 16);
}

/* The member "text" of a line of ASCII JSON. The reader of JSON gives C strings, and some of these texts hold a NUL. */
static size_t text_of(const char *line, char *out)
{
    static const char letters[] = "nrtbf", meant[] = "\n\r\t\b\f";
    const char *p = strstr(line, "\"text\": \"");
    size_t n = 0;

    for (p = p ? p + 9 : ""; *p && *p != '"'; p++) {
        if (*p != '\\') {
            out[n++] = *p;
        } else if (*++p == 'u') {
            uint32_t c = four_digits(p + 1);
            p += 4;
            if (c >> 10 == 0xD800 >> 10) c = 0x10000 + ((c & 0x3FF) << 10 | (four_digits(p + 3) & 0x3FF)), p += 6;
            n += es_utf8_write(out + n, c);
        } else {
            const char *letter = strchr(letters, *p);
            out[n++] = letter ? meant[letter - letters] : *p;
        }
    }
    return n;
}

static void goldens(void)
{
    const char *path = es_test_data("goldens/text/qwen2_tokenizer.jsonl");
    es_qwen2_tokens *t = opened();
    FILE *f = path ? fopen(path, "rb") : NULL;
    static char line[1 << 16], text[1 << 16];
    char what[32];
    int n = 0;

    if (!t || !f) {
        if (t) es_test_skip("ES_TEST_DATA/goldens/text");
        es_qwen2_tokens_close(t);
        return;
    }
    for (; fgets(line, sizeof line, f); n++) {
        es_json *j = NULL;
        es_err err = {0};
        CHECK(es_json_parse(&j, line, strlen(line), path, &err) == ES_OK, "%s", err.text);
        size_t bytes = text_of(line, text);
        snprintf(what, sizeof what, "line %d", n + 1);
        compare(what, ids, es_qwen2_tokens_encode(t, text, bytes, true, ids, MOST), es_json_get(es_json_root(j), "ids"));
        es_json_close(j);
    }
    CHECK_INT(n, 300);
    fclose(f);
    es_qwen2_tokens_close(t);
}

#define VECTOR(t, text, ...)                                                                                           \
    do {                                                                                                               \
        static const int32_t want_[] = {__VA_ARGS__};                                                                  \
        size_t n_ = es_qwen2_tokens_encode(t, text, sizeof text - 1, true, ids, MOST);                                 \
        CHECK_INT(n_, sizeof want_ / sizeof *want_);                                                                   \
        CHECK(memcmp(ids, want_, sizeof want_) == 0, "\"%s\" has other ids", text);                                    \
    } while (0)

static void vectors(void)
{
    es_qwen2_tokens *t = opened();

    if (!t) return;
    VECTOR(t, "Hello world", 9707, 1879);
    VECTOR(t, " Hello world", 21927, 1879);
    VECTOR(t, "12345", 16, 17, 18, 19, 20);
    VECTOR(t, "I'M  here\n\n  x", 40, 27603, 220, 1588, 271, 220, 856);
    VECTOR(t, "\xC3\xA9 e\xCC\x81", 963, 3958);
    VECTOR(t, "What is Deep Learning?", 3838, 374, 18183, 20909, 30);
    VECTOR(t, "Deep Learning is...", 33464, 20909, 374, 1112);
    VECTOR(t, "GPU vectorization must remain deterministic and offline.", 49891, 4621, 2022, 1969, 7146, 72349, 323, 26166, 13);
    VECTOR(t, "Vinterlys over K\u00F8benhavn \u2014 \u6771\u4EAC\u306E\u8A18\u61B6 \u2014 "
              "\u0645\u0631\u062D\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
           53, 2245, 60392, 916, 730, 6151, 40977, 1959, 60596, 109, 46553, 15767, 60204, 119173, 1959, 23364, 126860, 124671,
           124476, 129634);
    VECTOR(t, "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: how to preserve vector "
              "space identity",
           641, 1235, 25, 16246, 264, 3482, 2711, 3239, 11, 17179, 9760, 46769, 429, 4226, 279, 3239, 198, 2859, 25, 1246, 311,
           21129, 4621, 3550, 9569);
    /* A letter of Unicode 16.0 makes a word with the sign before it, and the contraction behind it is one. */
    VECTOR(t, "$\U00013DB4're", 3, 124373, 114, 112, 2299);
    /* Added tokens come first, and the rest is split as if there were a wall. */
    VECTOR(t, "Hello world<|endoftext|> Hello world", 9707, 1879, END, 21927, 1879);
    VECTOR(t, "<|im_start|><|im_end|>", 151644, 151645);
    CHECK_INT(es_qwen2_tokens_encode(t, "", 0, true, NULL, 0), 0);
    CHECK(es_qwen2_tokens_encode(t, "<|endoftext|>", 13, false, ids, MOST) > 1, "an added token was taken where none is wanted");
    CHECK_INT(es_qwen2_tokens_added(t, "<|im_end|>", 10), 151645);
    CHECK_INT(es_qwen2_tokens_added(t, "<|im_end|", 9), -1);
    /* The room decides what is written, never how many there are. */
    memset(ids, 0, 4 * sizeof *ids);
    CHECK_INT(es_qwen2_tokens_encode(t, "12345<|im_end|>6", 16, true, ids, 2), 7);
    CHECK(ids[0] == 16 && ids[1] == 17 && ids[2] == 0 && ids[3] == 0, "ids were written past the room for them");
    es_qwen2_tokens_close(t);
}

/* Marks are ordered by their classes and composed, but those that are younger than Unicode 9.0 are walls, also where the
 * library that knows the classes is of a later version. */
static void young_marks(void)
{
    static const char *const pairs[][2] = {
        {"a\u0302\u0323", "\u1EAD"},                            /* circumflex, dot below: a with both */
        {"q\u0301\u0323", "q\u0323\u0301"},                     /* ordered, without a character of their own */
        {"\u07FD\u0301", "\u07FD\u0301"},                       /* 11.0, class 220 */
        {"a\u0301\u07FD\u0323", "\u00E1\u07FD\u0323"},         /* a wall between two marks */
        {"\U00011935\U00011930", "\U00011935\U00011930"},       /* 13.0, a pair that has a composition */
        {"a\u0599\U0001E4EE", "a\u0599\U0001E4EE"},             /* 15.0, class 220 behind class 230 */
        {"\U0001E4ED\u033B", "\U0001E4ED\u033B"},               /* 15.0, class 232 before class 220 */
        {"a\U00010EFF\u20D2", "a\U00010EFF\u20D2"},             /* 15.0, class 220 before class 1 */
        {"a\u0897\u0323", "a\u0897\u0323"},                     /* 16.0, class 230 before class 220 */
        {"\uAC00\u11A8", "\uAC01"},                            /* Hangul by arithmetic */
        {"\u1100\u1161\u11A8", "\uAC01"},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        size_t n = 0;
        char *have = es_normal_nfc(pairs[i][0], strlen(pairs[i][0]), &n);
        CHECK(have && n == strlen(pairs[i][1]) && !memcmp(have, pairs[i][1], n), "pair %zu: %.*s, expected %s", i, (int)n, have ? have : "",
              pairs[i][1]);
        free(have);
    }
}

static void check_back(const es_qwen2_tokens *t, const char *what, const char *text, size_t n, size_t most)
{
    size_t count = es_qwen2_tokens_encode(t, text, n, true, ids, MOST), bytes = 0;

    CHECK(count <= most && (count > 0 || n == 0), "%s: %zu ids", what, count);
    /* Offsets of the tokens, to read them back. */
    static uint32_t at[BASE + 1];
    if (!at[0])
        for (size_t i = 0, k = 0; k < BASE; i += 1 + table[i], k++) at[k] = (uint32_t)i + 1;
    for (size_t i = 0; i < count; i++) {
        size_t length = ids[i] < BASE ? table[at[ids[i]] - 1] : 0;
        if (bytes + length > n || memcmp(text + bytes, table + at[ids[i]], length)) {
            es_test_fail(__FILE__, __LINE__, "%s: token %zu does not give the text back", what, i);
            return;
        }
        bytes += length;
    }
    CHECK(bytes == n, "%s: the tokens hold %zu of %zu bytes", what, bytes, n);
}

/* A megabyte that is one piece, or a million pieces. Time that grew with its square would be hours. */
static void megabytes(void)
{
    static const char *const units[] = {"a", "ab", "\n", " ", "'", "'s", "<", "<|endoftext", "1", "\u4E2D", " \n", "\u00B2"};
    enum { N = 1 << 20 };
    es_qwen2_tokens *t = opened();
    char *text = malloc(N + 16);
    es_noise noise = {5};

    for (size_t u = 0; t && u < sizeof units / sizeof *units; u++) {
        size_t n = 0, length = strlen(units[u]);
        for (; n + length <= N; n += length) memcpy(text + n, units[u], length);
        check_back(t, units[u], text, n, n);
    }
    for (size_t i = 0; i < N; i++) text[i] = (char)('a' + es_noise_bits(&noise) % 26);
    if (t) check_back(t, "random letters", text, N, N);
    free(text);
    es_qwen2_tokens_close(t);
}

static void odd_texts(void)
{
    es_qwen2_tokens *t = opened();
    char text[30000];

    if (!t) return;
    /* Byte 0 is a token like any other, a text goes on behind it. */
    VECTOR(t, "a\0b", 64, 188, 65);
    /* Invalid bytes are one U+FFFD each maximal sequence, whatever stands around them. */
    size_t n = es_qwen2_tokens_encode(t, "x\xEF\xBF\xBDy", 5, true, ids, MOST);
    int32_t *again = ids + n;
    CHECK_INT(es_qwen2_tokens_encode(t, "x\xFFy", 3, true, again, 16), n);
    CHECK(memcmp(ids, again, n * sizeof *ids) == 0, "an invalid byte is not U+FFFD");
    CHECK_INT(es_qwen2_tokens_encode(t, "x\xF0\x9F\x98y", 5, true, again, 16), n);
    CHECK(memcmp(ids, again, n * sizeof *ids) == 0, "an unfinished character is not one U+FFFD");
    /* 10,000 marks of two classes on one letter: ordered, composed, and done in no time. */
    text[0] = 'e';
    for (int i = 0; i < 10000; i++) memcpy(text + 1 + 2 * i, i % 2 ? "\xCC\xA3" : "\xCC\x81", 2);
    n = es_qwen2_tokens_encode(t, text, 20001, true, ids, MOST);
    CHECK(n > 1000 && n <= 20001, "%zu ids", n);
    /* The same marks sorted by hand are the same text. */
    for (int i = 0; i < 10000; i++) memcpy(text + 1 + 2 * i, i < 5000 ? "\xCC\xA3" : "\xCC\x81", 2);
    again = ids + n;
    CHECK_INT(es_qwen2_tokens_encode(t, text, 20001, true, again, MOST / 2), n);
    CHECK(memcmp(ids, again, n * sizeof *ids) == 0, "the order of marks of different classes matters");
    es_qwen2_tokens_close(t);
}

static void refuse(const char *word, const uint8_t *tokens, size_t bytes, const char *added, size_t added_bytes)
{
    es_qwen2_tokens *t = NULL;
    es_err err = {0};
    int rc = es_qwen2_tokens_open(&t, tokens, bytes, (const uint8_t *)added, added_bytes, &err);

    CHECK(rc == ES_EFORMAT && !t, "tables were taken that have no \"%s\"", word);
    CHECK(strstr(err.text, word) != NULL, "\"%s\" is not in \"%s\"", word, err.text);
    es_qwen2_tokens_close(t);
}

static void bad_tables(void)
{
    static uint8_t small[1024];
    size_t n = 512;
    es_qwen2_tokens *t = NULL;
    es_err err = {0};

    for (int i = 0; i < 256; i++) small[2 * i] = 1, small[2 * i + 1] = (uint8_t)(255 - i);
    memcpy(small + n, "\2ab\3abc", 7);
    CHECK(es_qwen2_tokens_open(&t, small, n + 7, NULL, 0, &err) == ES_OK, "%s", err.text);
    if (t) {
        VECTOR(t, "abcab", 257, 256);
    }
    es_qwen2_tokens_close(t);
    memcpy(small + n, "\3abc\2ab", 7);
    refuse("union", small, n + 7, "", 0);
    memcpy(small + n, "\2ab\2ab", 6);
    refuse("same as an earlier", small, n + 6, "", 0);
    memcpy(small + n, "\2ab\0", 4);
    refuse("empty", small, n + 4, "", 0);
    memcpy(small + n, "\5ab", 3);
    refuse("ends in token", small, n + 3, "", 0);
    memcpy(small + n, "\2ab", 3);
    refuse("ends inside token", small, n + 3, "\0\2\0\0\5abc", 8);
    refuse("ends inside token", small, n + 3, "\0\2\0", 3);
    refuse("ids rise", small, n + 3, "\0\1\0\0\1a", 6); /* 256 is a base token */
    refuse("ids rise", small, n + 3, "\0\2\0\0\1a\0\2\0\0\1b", 12);
    refuse("ids rise", small, n + 3, "\0\2\0\0\0", 5);
    refuse("ids rise", small, n + 3, "\0\0\0\x80\1a", 6);
    refuse("single byte", small, n - 2, "", 0);
}

/* Leftmost first, then the longest; agreeing beginnings do not hide each other. */
static void added_tokens(void)
{
    static const char more[] = "\0\2\0\0\2aa\1\2\0\0\4aabb\2\2\0\0\3aab\3\2\0\0\1z\4\2\0\0\3bza";
    static uint8_t small[512];
    es_qwen2_tokens *t = NULL;
    es_err err = {0};

    for (int i = 0; i < 256; i++) small[2 * i] = 1, small[2 * i + 1] = (uint8_t)i;
    CHECK(es_qwen2_tokens_open(&t, small, sizeof small, (const uint8_t *)more, sizeof more - 1, &err) == ES_OK, "%s", err.text);
    if (!t) return;
    VECTOR(t, "aaa", 512, 'a');
    VECTOR(t, "aabc", 514, 'c');
    VECTOR(t, "aabb", 513);
    VECTOR(t, "aaabb", 512, 'a', 'b', 'b');
    VECTOR(t, "bz", 'b', 515);
    VECTOR(t, "bzaabb", 516, 'a', 'b', 'b');
    es_qwen2_tokens_close(t);
}

static es_tokens *door(const char *config, const es_token_tables *tables, const char *refused)
{
    es_tokens *t = NULL;
    es_json *j = NULL;
    es_err err = {0};

    CHECK(es_json_parse(&j, config, strlen(config), "config", &err) == ES_OK, "%s", err.text);
    int rc = es_tokens_open(&t, tables, es_json_root(j), "a.pack", &err);
    if (refused) CHECK(rc == ES_EMODEL && !t && strstr(err.text, refused), "\"%s\" is not in \"%s\"", refused, err.text);
    else CHECK(rc == ES_OK, "%s", err.text);
    es_json_close(j);
    return t;
}

static void frames(void)
{
    static const char vocab[] = "\5[PAD]\5[UNK]\5[CLS]\5[SEP]\6[MASK]\5hello\5world";
    const es_token_tables bert = {.tokens = (const uint8_t *)vocab, .tokens_bytes = sizeof vocab - 1}, none = {0};
    size_t all = 0;

    es_tokens *t = door("{\"tokenizer\":\"wordpiece\"}", &bert, NULL);
    if (t) {
        CHECK_INT(es_tokens_framed(t, "Hello world world", 17, false, ids, 16, &all), 5);
        CHECK(ids[0] == 2 && ids[1] == 5 && ids[2] == 6 && ids[3] == 6 && ids[4] == 3, "[CLS] hello world world [SEP] looks otherwise");
        CHECK_INT(all, 5);
        CHECK_INT(es_tokens_framed(t, "Hello world world", 17, true, ids, 4, &all), 4);
        CHECK(ids[0] == 2 && ids[1] == 5 && ids[2] == 6 && ids[3] == 3, "the cut text is not in its frame");
        CHECK_INT(all, 5);
        CHECK_INT(es_tokens_framed(t, "", 0, false, ids, 4, &all), 2);
        CHECK_INT(es_tokens_plain(t, "hello", 5, ids, 4), 1);
    }
    es_tokens_close(t);
    CHECK(!door("{\"tokenizer\":\"none\"}", &none, NULL), "a tokenizer where there is none");
    door("{\"tokenizer\":\"wordpiece\"}", &none, "tokenizer.tokens");
    door("{\"tokenizer\":\"sentencepiece\"}", &bert, "not wordpiece, qwen2 or none");
    door("{}", &bert, "not wordpiece, qwen2 or none");
    if (!vocabulary()) return;
    const es_token_tables qwen2 = {table, (const uint8_t *)added_table, table_bytes, sizeof added_table - 1};
    door("{\"tokenizer\":\"qwen2\",\"eos\":-1}", &qwen2, "ends a text");
    if (!(t = door("{\"tokenizer\":\"qwen2\",\"eos\":151643}", &qwen2, NULL))) return;
    CHECK_INT(es_tokens_framed(t, "", 0, false, ids, 8, &all), 1);
    CHECK(ids[0] == END && all == 1, "an empty text is not its end alone");
    CHECK_INT(es_tokens_framed(t, "12345", 5, false, ids, 4, &all), 4);
    CHECK(ids[0] == 16 && ids[2] == 18 && ids[3] == END && all == 6, "the cut text is not in its frame");
    static const char question[] = "how to preserve vector space identity";
    CHECK_INT(es_tokens_framed(t, question, sizeof question - 1, true, ids, 64, &all), 26);
    CHECK(ids[0] == 641 && ids[18] == 25 && ids[19] == 1246 && ids[24] == 9569 && ids[25] == END, "the instruction is not joined");
    es_tokens_close(t);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"goldens", goldens},       {"vectors", vectors},           {"megabytes", megabytes}, {"odd_texts", odd_texts},
        {"young_marks", young_marks}, {"bad_tables", bad_tables}, {"added_tokens", added_tokens}, {"frames", frames},
    };
    int rc = es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);

    free(table);
    return rc;
}
