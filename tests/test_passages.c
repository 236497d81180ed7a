/*
 * test_passages.c - words into passages: where they are cut, what they keep, and what no text may break.
 */
#include "test.h"

#include "pipeline/search/passages.h"

/* ---- transcripts by hand ---- */

static void add_segment(es_transcript *t, int64_t start_ms, int64_t end_ms, int speaker, const char *language, const char *text)
{
    es_segment s = {.start_ms = start_ms, .end_ms = end_ms, .speaker = speaker};

    snprintf(s.language, sizeof s.language, "%s", language);
    CHECK_INT(es_transcript_add_segment(t, &s, text, strlen(text), NULL, 0), 0);
}

static void add_word(es_transcript *t, int64_t start_ms, int64_t end_ms, int speaker, const char *text)
{
    es_word w = {.start_ms = start_ms, .end_ms = end_ms, .speaker = speaker};

    CHECK_INT(es_transcript_add_word(t, &w, text, strlen(text)), 0);
}

/* Words of a sentence, 200 ms each without gaps, from start_ms; returns where the last one ends. */
static int64_t say(es_transcript *t, int64_t start_ms, int speaker, const char *sentence)
{
    const char *p = sentence;

    add_segment(t, start_ms, start_ms, speaker, "en", sentence);
    while (*p) {
        char word[64];
        size_t n = strcspn(p + 1, " ") + 1;
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        add_word(t, start_ms, start_ms + 200, speaker, word);
        start_ms += 200;
        p += n;
    }
    t->segments[t->n_segments - 1].end_ms = start_ms;
    return start_ms;
}

static es_passages cut(const es_transcript *t, const es_passage_rule *rule)
{
    es_passages p = {0};
    es_err err = {0};

    CHECK(es_passages_cut(&p, t, rule, &err) == ES_OK, "%s", err.text);
    return p;
}

static void check_passage(const es_passages *p, size_t i, int64_t start_ms, int64_t end_ms, int speaker, const char *text)
{
    if (i >= p->n) {
        es_test_fail(__FILE__, __LINE__, "there is no passage %zu of %zu", i, p->n);
        return;
    }
    const es_passage *a = &p->at[i];
    char have[4096];
    snprintf(have, sizeof have, "%.*s", (int)a->text_bytes, p->text + a->text_at);
    CHECK(!strcmp(have, text), "passage %zu is \"%s\", expected \"%s\"", i, have, text);
    CHECK(a->start_ms == start_ms && a->end_ms == end_ms, "passage %zu lasts from %lld to %lld, expected %lld to %lld", i,
          (long long)a->start_ms, (long long)a->end_ms, (long long)start_ms, (long long)end_ms);
    CHECK_INT(a->speaker, speaker);
}

/* Every word one token, so that bounds can be counted by eye. */
static size_t count_words(void *user, const char *text, size_t n)
{
    size_t words = 0;

    (void)user;
    for (size_t i = 0; i < n; i++) words += text[i] != ' ' && (i == 0 || text[i - 1] == ' ');
    return words;
}

static size_t count_fails(void *user, const char *text, size_t n)
{
    (void)user, (void)text, (void)n;
    return SIZE_MAX;
}

/* ---- where they are cut ---- */

static void test_sentences(void)
{
    const es_passage_rule rule = {.least = 4, .most = 8, .count = count_words};
    es_transcript t = {0};
    int64_t at = say(&t, 1000, -1, " One two three.");
    at = say(&t, at, -1, " Four five six.");
    at = say(&t, at, -1, " Seven eight nine ten.");
    say(&t, at, -1, " Last.");
    es_passages p = cut(&t, &rule);

    /* Three words are too few; the rest of one word joins what it fits behind. */
    CHECK_INT(p.n, 2);
    check_passage(&p, 0, 1000, 2200, -1, "One two three. Four five six.");
    check_passage(&p, 1, 2200, 3200, -1, "Seven eight nine ten. Last.");
    CHECK_INT(p.at[0].first_segment, 0);
    CHECK_INT(p.at[0].n_segments, 2);
    CHECK_INT(p.at[1].first_segment, 2);
    CHECK_INT(p.at[1].n_segments, 2);
    CHECK_STR(p.at[1].language, "en");
    CHECK_INT(p.vectors.n, 0);
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_no_sentence_ends(void)
{
    const es_passage_rule rule = {.least = 3, .most = 6, .count = count_words};
    es_transcript t = {0};

    /* No sign anywhere: the longest gap behind the third word is where it ends, and no passage passes six. */
    add_segment(&t, 0, 4000, -1, "en", "");
    add_word(&t, 0, 100, -1, " a"), add_word(&t, 600, 700, -1, " b"), add_word(&t, 700, 800, -1, " c");
    add_word(&t, 800, 900, -1, " d"), add_word(&t, 1200, 1300, -1, " e"), add_word(&t, 1300, 1400, -1, " f");
    add_word(&t, 1400, 1500, -1, " g"), add_word(&t, 1500, 1600, -1, " h"), add_word(&t, 1600, 1700, -1, " i");
    es_passages p = cut(&t, &rule);
    CHECK_INT(p.n, 2);
    check_passage(&p, 0, 0, 900, -1, "a b c d");
    check_passage(&p, 1, 1200, 1700, -1, "e f g h i");
    es_passages_done(&p);

    /* A pause of a second ends it at once; one of ten seconds also where there are too few words. */
    es_transcript_done(&t);
    add_segment(&t, 0, 40000, -1, "en", "");
    add_word(&t, 0, 100, -1, " a"), add_word(&t, 100, 200, -1, " b"), add_word(&t, 200, 300, -1, " c");
    add_word(&t, 1300, 1400, -1, " d"), add_word(&t, 1400, 1500, -1, " e"), add_word(&t, 1500, 1600, -1, " f");
    add_word(&t, 11600, 11700, -1, " g");
    p = cut(&t, &rule);
    CHECK_INT(p.n, 3);
    check_passage(&p, 0, 0, 300, -1, "a b c");
    check_passage(&p, 1, 1300, 1600, -1, "d e f");
    check_passage(&p, 2, 11600, 11700, -1, "g");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_abbreviations(void)
{
    const es_passage_rule rule = {.least = 2, .most = 20, .count = count_words};
    es_transcript t = {0};

    say(&t, 0, -1, " Then Mr. Henry J. Dashwood came.");
    say(&t, 1200, -1, " \"Good day!\" Sure of it.");
    es_passages p = cut(&t, &rule);
    CHECK_INT(p.n, 3);
    check_passage(&p, 0, 0, 1200, -1, "Then Mr. Henry J. Dashwood came.");
    check_passage(&p, 1, 1200, 1600, -1, "\"Good day!\"");
    check_passage(&p, 2, 1600, 2200, -1, "Sure of it.");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_speakers(void)
{
    const es_passage_rule rule = {.least = 4, .most = 30, .count = count_words};
    es_transcript t = {0};
    int64_t at = say(&t, 0, 0, " I wanted to");
    at = say(&t, at, 1, " Yes.");
    at = say(&t, at, 0, " ask about the letter.");
    at = say(&t, at, 1, " Which of the many letters that came to this house since the last winter do you mean, and who of all those people wrote it?");
    say(&t, at, 0, " The first.");
    es_passages p = cut(&t, &rule);

    /* A word thrown in does not end the other's speech; a real answer does. */
    CHECK_INT(p.n, 3);
    check_passage(&p, 0, 0, 1600, 0, "I wanted to ask about the letter.");
    check_passage(&p, 1, 600, 6600, 1,
                  "Yes. Which of the many letters that came to this house since the last winter do you mean, and who of all those people wrote it?");
    check_passage(&p, 2, 6600, 7000, 0, "The first.");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_languages(void)
{
    es_transcript t = {0};

    add_segment(&t, 0, 1000, 0, "en", " Good morning.");
    add_segment(&t, 1000, 2000, 0, "de", " Guten Morgen.");
    es_passages p = cut(&t, NULL);
    CHECK_INT(p.n, 2);
    check_passage(&p, 0, 0, 1000, 0, "Good morning.");
    check_passage(&p, 1, 1000, 2000, 0, "Guten Morgen.");
    CHECK_STR(p.at[0].language, "en");
    CHECK_STR(p.at[1].language, "de");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_overlap(void)
{
    const es_passage_rule rule = {.least = 4, .most = 6, .overlap = 3, .count = count_words};
    es_transcript t = {0};
    int64_t at = say(&t, 0, -1, " A b c.");
    at = say(&t, at, -1, " D e.");
    at = say(&t, at, -1, " F g h i.");
    es_passages p = cut(&t, &rule);

    /* The second repeats the one whole sentence that fits in three tokens. */
    CHECK_INT(p.n, 2);
    check_passage(&p, 0, 0, 1000, -1, "A b c. D e.");
    check_passage(&p, 1, 600, 1800, -1, "D e. F g h i.");
    es_passages_done(&p);
    es_transcript_done(&t);
}

/* Segments without words: times in proportion to bytes, a blank put where the texts have none. */
static void test_without_words(void)
{
    const es_passage_rule rule = {.least = 2, .most = 2, .count = count_words};
    es_transcript t = {0};

    add_segment(&t, 0, 1000, 2, "en", " aaaa bbbb");
    add_segment(&t, 1000, 2000, 2, "en", "cccc ddddd");
    es_passages p = cut(&t, &rule);
    CHECK_INT(p.n, 2);
    check_passage(&p, 0, 0, 1000, 2, "aaaa bbbb");
    check_passage(&p, 1, 1000, 2000, 2, "cccc ddddd");
    es_passages_done(&p);
    const es_passage_rule all = {.least = 9, .most = 9, .count = count_words};
    p = cut(&t, &all);
    CHECK_INT(p.n, 1);
    check_passage(&p, 0, 0, 2000, 2, "aaaa bbbb cccc ddddd");
    es_passages_done(&p);

    es_transcript_done(&t);
    add_segment(&t, 0, 1000, -1, "ja", "\xE4\xBB\x8A\xE6\x97\xA5");
    add_segment(&t, 1000, 2000, -1, "ja", "\xE3\x81\xAF\xE3\x80\x82");
    p = cut(&t, NULL);
    CHECK_INT(p.n, 1);
    check_passage(&p, 0, 0, 2000, -1, "\xE4\xBB\x8A\xE6\x97\xA5\xE3\x81\xAF\xE3\x80\x82");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_default_bounds(void)
{
    es_transcript t = {0};
    int64_t at = 0;
    size_t words = 0;

    /* 400 sentences of five short words: five tokens each by the rule of thumb, so 13 sentences reach 64. */
    for (int i = 0; i < 400; i++) at = say(&t, at, -1, " The cat sat on it.");
    es_passages p = cut(&t, NULL);
    CHECK_INT(p.n, 30); /* 30 times 13 are 390, and the ten that are left join the last */
    for (size_t i = 0; i < p.n; i++) {
        const es_passage *a = &p.at[i];
        size_t n = count_words(NULL, p.text + a->text_at, a->text_bytes);
        CHECK_INT(n, i + 1 < p.n ? 65 : 115);
        words += n;
        CHECK(i == 0 || a->start_ms == p.at[i - 1].end_ms, "passage %zu does not begin where the last one ends", i);
    }
    CHECK_INT(words, 2000);
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_guess(void)
{
    CHECK_INT(es_passages_guess("", 0), 0);
    CHECK_INT(es_passages_guess(" \n ", 3), 0);
    CHECK_INT(es_passages_guess("the cat", 7), 2);
    CHECK_INT(es_passages_guess("sensibility", 11), 2);
    CHECK_INT(es_passages_guess("\xE4\xBB\x8A\xE6\x97\xA5 x", 8), 3);
}

/* ---- what no text may break ---- */

/* Any bytes give passages within the bounds, whose times lie within the segment's, in order, and which hold every byte that
 * is no blank. */
static void check_bounds(const char *name, const char *text, size_t n, bool as_word)
{
    es_transcript t = {0};
    es_segment s = {.start_ms = 1000, .end_ms = 61000, .speaker = -1, .language = "en"};
    es_word w = {.start_ms = 1000, .end_ms = 61000, .speaker = -1};
    es_passages p, again;
    size_t held = 0, solid = 0;

    CHECK_INT(es_transcript_add_segment(&t, &s, as_word ? "" : text, as_word ? 0 : n, NULL, 0), 0);
    if (as_word) CHECK_INT(es_transcript_add_word(&t, &w, text, n), 0);
    p = cut(&t, NULL);
    for (size_t i = 0; i < p.n; i++) {
        const es_passage *a = &p.at[i];
        CHECK(a->text_bytes > 0 && a->text_bytes <= 256 * 16, "%s: passage %zu has %u bytes", name, i, a->text_bytes);
        CHECK(es_passages_guess(p.text + a->text_at, a->text_bytes) <= 256, "%s: passage %zu is too long", name, i);
        CHECK(a->start_ms >= (i ? p.at[i - 1].start_ms : 1000) && a->end_ms <= 61000 && a->start_ms <= a->end_ms,
              "%s: passage %zu lasts from %lld to %lld", name, i, (long long)a->start_ms, (long long)a->end_ms);
        for (size_t k = 0; k < a->text_bytes; k++) held += p.text[a->text_at + k] != ' ';
    }
    for (size_t k = 0; k < n; k++) solid += text[k] != ' ';
    CHECK(held == solid, "%s: %zu bytes went in, %zu came out", name, solid, held);
    again = cut(&t, NULL);
    CHECK(again.n == p.n && again.n_text == p.n_text && (!p.n_text || !memcmp(again.text, p.text, p.n_text)),
          "%s: the same transcript gave other passages", name);
    es_passages_done(&again);
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_any_text(void)
{
    enum { MEGABYTE = 1000000, MARKS = 10000 };
    char *big = malloc(MEGABYTE);
    es_noise noise = {5};

    for (int as_word = 0; as_word < 2; as_word++) {
        check_bounds("nothing", "", 0, as_word);
        check_bounds("a blank", " ", 1, as_word);
        check_bounds("a NUL", "a\0b c", 5, as_word);
        check_bounds("broken UTF-8", "\xFF\xC3 \xE2\x82 ok\xF0\x9F", 10, as_word);
        memset(big, 'x', MEGABYTE);
        check_bounds("1 MB without a blank", big, MEGABYTE, as_word);
        for (size_t i = 0; i < MARKS; i++) memcpy(big + 2 * i, "\xCC\x81", 2);
        check_bounds("10,000 combining marks", big, 2 * MARKS, as_word);
        for (size_t i = 0; i < 20000; i++) big[i] = (char)es_noise_bits(&noise);
        for (size_t i = 0; i < 20000; i++) /* of blanks the plain one only, so that what comes out can be counted */
            if ((big[i] >= 9 && big[i] <= 13) || ((unsigned char)big[i] >= 0xC2)) big[i] = ' ';
        check_bounds("20,000 bytes of noise", big, 20000, as_word);
    }
    free(big);
}

static void test_hostile_times(void)
{
    es_transcript t = {0};

    add_segment(&t, INT64_MIN, INT64_MAX, -1, "en", " one two three");
    add_segment(&t, INT64_MAX, INT64_MIN, -1, "en", " four");
    add_segment(&t, 5, 5, -1, "en", "");
    add_word(&t, INT64_MAX, INT64_MIN, 7, " five");
    es_passages p = cut(&t, NULL);
    CHECK(p.n >= 1, "nothing came out");
    es_passages_done(&p);
    es_transcript_done(&t);
}

static void test_no_memory(void)
{
    const es_passage_rule rule = {.count = count_fails};
    es_transcript t = {0};
    es_passages p;
    es_err err = {0};

    say(&t, 0, -1, " A word.");
    CHECK_INT(es_passages_cut(&p, &t, &rule, &err), ES_ENOMEM);
    CHECK(p.n == 0 && !p.at && !p.text, "something came out");
    es_transcript_done(&t);
    p = cut(&t, NULL);
    CHECK_INT(p.n, 0);
    es_passages_done(&p);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"sentences", test_sentences},         {"no sentence ends", test_no_sentence_ends},
        {"abbreviations", test_abbreviations}, {"speakers", test_speakers},
        {"languages", test_languages},         {"overlap", test_overlap},
        {"without words", test_without_words}, {"default bounds", test_default_bounds},
        {"guess", test_guess},                 {"any text", test_any_text},
        {"hostile times", test_hostile_times}, {"no memory", test_no_memory},
    };
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
