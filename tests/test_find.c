/*
 * test_find.c - passages found again by words, against a ranking written down here from its formula: phrases, beginnings, stems,
 * scripts without blanks; what filters let through; nothing left of what was removed.
 */
#define _GNU_SOURCE
#include "found.h"

#include "store/index.h"
#include "store/postings.h"
#include "store/top.h"
#include "text/terms.h"

static void test_words(void)
{
    static const said all[] = {
        {1, "en", "The runner was running along the river."},
        {1, "en", "He never runs on Sundays, and nobody minds."},
        {1, "en", "A river runs through it."},
        {2, "de", "Die H\xc3\xa4user am Fluss sind alt."},
        {2, "de", "Ein altes Haus, sagt man."},
        {3, "ja", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x82\x92\xe8\xa9\xb1\xe3\x81\x99"}, /* nihongo o hanasu */
        {3, "ja", "\xe6\x9c\xac\xe6\x97\xa5\xe3\x81\xaf"},                                     /* honjitsu wa */
        {4, "xx", "Zyx Zyxa zyxb, river!"},
    };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);

    if (!s) return;
    put_said(s, all, sizeof all / sizeof *all);
    check_whole(s);
    CHECK_STR(hits_of(s, "", 9), "");
    CHECK_STR(hits_of(s, " .,- ", 9), "");
    CHECK_STR(hits_of(s, "nothing", 9), "");
    CHECK_STR(hits_of(s, "sunday", 9), "1:1");  /* by stem */
    CHECK_STR(hits_of(s, "MINDING", 9), "1:1"); /* also the query's */
    CHECK(strstr(hits_of(s, "haus", 9), "2:0") && strstr(hits_of(s, "haus", 9), "2:1"), "%s", hits_of(s, "haus", 9));
    CHECK_STR(hits_of(s, "h\xc3\xa4user", 1), "2:1"); /* the shorter of two with the same stem */
    CHECK_STR(hits_of(s, "\"runs on\"", 9), "1:1");
    CHECK_STR(hits_of(s, "\"run on\"", 9), ""); /* a phrase is compared as it is written */
    CHECK_STR(hits_of(s, "\"river runs\"", 9), "1:2");
    CHECK_STR(hits_of(s, "\"runs river\"", 9), "");
    CHECK_STR(hits_of(s, "\"altes haus\" fluss", 9), "2:1"); /* a phrase must be there, words may */
    CHECK_STR(hits_of(s, "\"a river\" \"through it\"", 9), "1:2");
    CHECK_STR(hits_of(s, "\"a river\" \"on sundays\"", 9), "");
    CHECK_STR(hits_of(s, "runn*", 9), "1:0");
    CHECK_STR(hits_of(s, "zyx*", 9), "4:0");
    CHECK_STR(hits_of(s, "zyxb*", 9), "4:0");
    CHECK_STR(hits_of(s, "zyxc*", 9), "");
    CHECK_STR(hits_of(s, "\xe6\x97\xa5\xe6\x9c\xac", 9), "3:0");                            /* Japan */
    CHECK_STR(hits_of(s, "\xe6\x9c\xac\xe6\x97\xa5", 9), "3:1");                            /* today */
    CHECK(strlen(hits_of(s, "\xe6\x97\xa5", 9)) == 7, "%s", hits_of(s, "\xe6\x97\xa5", 9)); /* a single letter: both */
    CHECK_STR(hits_of(s, "\"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\"", 9), "3:0");
    CHECK_STR(hits_of(s, "\"\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\"", 9), "");
    CHECK_STR(hits_of(s, "\"\xe8\xaa\x9e", 9), "3:0"); /* a quote that is not closed */
    es_store_close(s);
}

/* ---- the ranking, from its formula ---- */

enum { VOCABULARY = 60, MOST_WORDS = 40 };

typedef struct brute {
    int media, n; /* words: -1 ends a sentence no phrase crosses; none here does */
    uint32_t number;
    int words[MOST_WORDS];
} brute;

/* Words that the English stemmer leaves alone, so that the formula needs no stems. */
static const char *word_of(int i)
{
    static char ring[8][8];
    static int at;
    char *w = ring[at++ % 8];

    snprintf(w, 8, "q%c%dk", "bcdfgmnprt"[i / 10 % 10], i % 10);
    return w;
}

static double bm25(double all, double with, double count, double words, double average)
{
    return log(1 + (all - with + 0.5) / (with + 0.5)) * count * 2.2 /
           (count + 1.2 * (1 - 0.75 + 0.75 * words / average));
}

static int count_word(const brute *b, int word)
{
    int n = 0;

    for (int i = 0; i < b->n; i++) n += b->words[i] == word;
    return n;
}

static int count_phrase(const brute *b, const int *phrase, int n)
{
    int found = 0;

    for (int i = 0; i + n <= b->n; i++) found += !memcmp(b->words + i, phrase, (size_t)n * sizeof *phrase);
    return found;
}

static int with_word(const brute *all, int n, int word)
{
    int with = 0;

    for (int i = 0; i < n; i++) with += count_word(&all[i], word) > 0;
    return with;
}

/* Words w[0 .. n_words), then one phrase of n_phrase words, as the library ranks them. */
static void check_ranking(es_store *s, const brute *all, int n, const int *w, int n_words, const int *phrase,
                          int n_phrase, size_t k)
{
    es_scored *want = calloc((size_t)n, sizeof *want);
    es_hit *hits = calloc(k, sizeof *hits);
    size_t n_want = 0, n_hits = 0, at = 0;
    double average = 0;
    char query[400] = "";
    es_top top = {.at = want, .k = (size_t)n};
    es_err err = {0};

    for (int i = 0; i < n; i++) average += all[i].n;
    average /= n;
    for (int i = 0; i < n_words; i++) at += (size_t)snprintf(query + at, sizeof query - at, "%s ", word_of(w[i]));
    for (int i = 0; i < n_phrase; i++)
        at += (size_t)snprintf(query + at, sizeof query - at, "%s%s", i ? " " : "\"", word_of(phrase[i]));
    if (n_phrase) snprintf(query + at, sizeof query - at, "\"");
    for (int i = 0; i < n; i++) {
        double score = 0;
        int found = n_phrase ? count_phrase(&all[i], phrase, n_phrase) : 0;
        for (int j = 0; j < n_words; j++) {
            int count = count_word(&all[i], w[j]);
            if (count) score += bm25(n, with_word(all, n, w[j]), count, all[i].n, average);
        }
        for (int j = 0; found && j < n_phrase; j++)
            score += bm25(n, with_word(all, n, phrase[j]), found, all[i].n, average);
        if (score <= 0 || (n_phrase && !found)) continue;
        es_scored one = {.score = score, .id = {es_hash_id(content_of(all[i].media)), 0, all[i].number}};
        es_top_add(&top, &one);
    }
    es_top_sort(&top);
    n_want = top.n < k ? top.n : k;
    CHECK(es_store_find_words(s, query, strlen(query), NULL, k, hits, &n_hits, &err) == ES_OK, "%s", err.text);
    CHECK(n_hits == n_want, "%s: %zu hits, expected %zu", query, n_hits, n_want);
    for (size_t i = 0; i < n_hits && i < n_want; i++) {
        CHECK(fabs(hits[i].score - want[i].score) <= 1e-5 * want[i].score, "%s: hit %zu scores %g, expected %g", query,
              i, (double)hits[i].score, want[i].score);
        bool tie = (i > 0 && fabs(want[i - 1].score - want[i].score) < 1e-9) ||
                   (i + 1 < top.n && fabs(want[i + 1].score - want[i].score) < 1e-9);
        CHECK(tie || (hits[i].id.media == want[i].id.media && hits[i].id.number == want[i].id.number),
              "%s: hit %zu is another passage", query, i);
        CHECK(i == 0 || hits[i - 1].score >= hits[i].score, "%s: out of order at %zu", query, i);
    }
    free(want);
    free(hits);
}

static void test_ranking(void)
{
    enum { RECORDINGS = 30, MOST = 30 * 20 };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    brute *all = calloc(MOST, sizeof *all);
    es_noise noise = {.state = 11};
    int n = 0;
    es_err err = {0};

    if (!s) return;
    for (int m = 0; m < RECORDINGS; m++) {
        es_result r = make_result(m, 1, "/x.wav");
        int passages = 1 + (int)(es_noise_bits(&noise) % 20);
        for (int i = 0; i < passages; i++) {
            char text[MOST_WORDS * 8] = "";
            brute *b = &all[n++];
            *b = (brute){.media = m, .number = (uint32_t)i, .n = 1 + (int)(es_noise_bits(&noise) % MOST_WORDS)};
            for (int k = 0; k < b->n; k++) { /* small numbers often, large ones rarely */
                double u = es_noise_uniform(&noise);
                b->words[k] = (int)(VOCABULARY * u * u * u);
                snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", word_of(b->words[k]));
            }
            add_passage(&r, m % 4 == 3 ? "xx" : "en", text, strlen(text), -1);
        }
        CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
        es_result_done(&r);
    }
    check_whole(s);
    for (int i = 0; i < 300; i++) {
        int w[4], phrase[3], n_words = (int)(es_noise_bits(&noise) % 4), n_phrase = 0;
        for (int k = 0; k < n_words; k++)
            w[k] = (int)(VOCABULARY * es_noise_uniform(&noise) * es_noise_uniform(&noise));
        if (n_words < 2) {
            const brute *b = &all[es_noise_bits(&noise) % (uint64_t)n];
            n_phrase = b->n < 3 ? b->n : 1 + i % 3;
            memcpy(phrase, b->words + (b->n - n_phrase) / 2, (size_t)n_phrase * sizeof *phrase);
        }
        check_ranking(s, all, n, w, n_words, phrase, n_phrase, i % 2 ? 10 : 1 + (size_t)i % 50);
    }
    es_store_close(s);
    free(all);
}

/* ---- filters ---- */

typedef struct asked {
    uint64_t only_media;
    int only_speaker;
    int asked;
} asked;

static bool one_recording(void *user, uint64_t media, int track)
{
    asked *a = user;

    CHECK_INT(track, 0);
    return media == a->only_media;
}

static bool one_speaker(void *user, const es_glance *g)
{
    asked *a = user;

    a->asked++;
    CHECK_INT(g->start_ms, 1000 * (int64_t)g->id.number);
    CHECK_INT(g->end_ms, 1000 * (int64_t)g->id.number + 900);
    CHECK_STR(g->language, "en");
    return g->speaker == a->only_speaker;
}

static void test_filters(void)
{
    static const said all[] = {
        {1, "en", "alpha beta"}, {1, "en", "alpha"}, {1, "en", "alpha gamma delta"}, {1, "en", "alpha again and again"},
        {2, "en", "alpha"},      {2, "en", "beta"},
    };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    asked a = {.only_media = es_hash_id(content_of(1)), .only_speaker = 0};
    es_filter f = {.recording = one_recording, .user = &a};
    es_hit hits[8];
    size_t n;
    es_err err = {0};

    if (!s) return;
    put_said(s, all, sizeof all / sizeof *all);
    CHECK_INT(es_store_find_words(s, "alpha", 5, &f, 8, hits, &n, &err), ES_OK);
    CHECK_INT(n, 4);
    f.passage = one_speaker;
    CHECK_INT(es_store_find_words(s, "alpha", 5, &f, 8, hits, &n, &err), ES_OK);
    CHECK_INT(n, 2); /* passages 0 and 3 */
    for (size_t i = 0; i < n; i++) CHECK(hits[i].id.number % 3 == 0, "passage %u", hits[i].id.number);
    CHECK_INT(a.asked, 4);
    a.only_speaker = 7;
    CHECK_INT(es_store_find_words(s, "alpha", 5, &f, 8, hits, &n, &err), ES_OK);
    CHECK_INT(n, 0);
    CHECK_INT(es_store_find_words(s, "alpha", 5, NULL, 0, hits, &n, &err), ES_OK);
    CHECK_INT(n, 0);
    es_store_close(s);
}

/* ---- texts that are none ---- */

static void test_strange(void)
{
    enum { MEGA = 1 << 20 };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    es_result r = make_result(1, 1, "/x.wav");
    char *p = malloc(MEGA);
    es_hit hits[4];
    size_t n = 7;
    es_err err = {0};
    dump was, is;

    if (!s) return;
    CHECK_INT(es_store_find_words(s, "anything", 8, NULL, 4, hits, &n, &err), ES_OK); /* the library is empty */
    CHECK_INT(n, 0);
    was = dump_store(s, true);
    memset(p, 'y', MEGA);
    add_passage(&r, "en", p, MEGA, 0);
    add_passage(&r, "en", "", 0, 0);
    add_passage(&r, "en", "zero\0one", 8, 0);
    add_passage(&r, "en", "bad\xff\xfe\xc0utf", 9, 0);
    p[0] = 'e';
    for (int i = 0; i < 10000; i++) memcpy(p + 1 + 2 * i, "\xcc\x81", 2);
    memcpy(p + 20001, " marked", 7);
    add_passage(&r, "en", p, 20008, 0);
    for (int i = 0; i + 3 <= MEGA; i += 3) memcpy(p + i, i % 2 ? "\xe6\x97\xa5" : "\xe6\x9c\xac", 3);
    add_passage(&r, "zh", p, MEGA / 3 * 3, 0);
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    check_whole(s);
    CHECK_STR(hits_of(s, "one", 4), "1:2");
    CHECK_STR(hits_of(s, "utf", 4), "1:3");
    CHECK_STR(hits_of(s, "\"marked\"", 4), "1:4");
    CHECK_STR(hits_of(s, "yyyyyyyyyyyyyyyyyyyy*", 4), "1:0");
    memset(p, 'y', MEGA); /* the same as a query */
    CHECK_INT(es_store_find_words(s, p, MEGA, NULL, 4, hits, &n, &err), ES_OK);
    CHECK_INT(n, 1);
    for (int i = 0; i < MEGA; i += 2) p[i] = ' '; /* and one of half a million words */
    CHECK_INT(es_store_find_words(s, p, MEGA, NULL, 4, hits, &n, &err), ES_OK);
    CHECK_INT(es_store_find_words(s, "\0\xff\"", 3, NULL, 4, hits, &n, &err), ES_OK);
    CHECK_INT(n, 0);
    CHECK_INT(es_store_remove(s, content_of(1), -1, &err), ES_OK);
    is = dump_store(s, true);
    CHECK(same_dump(&was, &is), "something of it is left");
    free(was.b.p), free(is.b.p);
    es_result_done(&r);
    free(p);
    es_store_close(s);
}

/* ---- marks ---- */

static void check_marks(const char *query, const char *text, const char *language, const char *want)
{
    es_stretch spans[20];
    char marked[400] = "";
    size_t n = es_find_marks(query, strlen(query), text, strlen(text), language, spans, 20), at = 0;

    for (size_t i = 0; i < n; i++) {
        snprintf(marked + strlen(marked), sizeof marked - strlen(marked), "%.*s[%.*s]", (int)(spans[i].from - at),
                 text + at, (int)(spans[i].to - spans[i].from), text + spans[i].from);
        at = spans[i].to;
    }
    snprintf(marked + strlen(marked), sizeof marked - strlen(marked), "%s", text + at);
    CHECK_STR(marked, want);
}

static void test_marks(void)
{
    check_marks("runs river", "The River: he was running.", "en", "The [River]: he was [running].");
    check_marks("runs", "running", "xx", "running");
    check_marks("\"he was\" runn*", "He was not running, he ran.", "en", "[He] [was] not [running], [he] ran.");
    check_marks("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "\xe5\xb0\x8f\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xaf",
                "ja", "\xe5\xb0\x8f[\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e]\xe3\x81\xaf");
    check_marks("", "nothing", "en", "nothing");
}

/* ---- lists ---- */

static void test_postings(void)
{
    es_posting p[3000];
    uint32_t lengths[1000], places[3000];
    es_noise noise = {.state = 6};
    es_record r = {0};

    for (int i = 0; i < 1000; i++) lengths[i] = 7 + (uint32_t)(es_noise_bits(&noise) % 1000000);
    for (int round = 0; round < 40; round++) {
        size_t n = 1 + es_noise_bits(&noise) % (round < 20 ? 5 : 3000), at = 0;
        uint32_t passage = (uint32_t)(es_noise_bits(&noise) % 10), position = 0;
        es_postings l;
        for (size_t i = 0; i < n; i++) {
            if (es_noise_bits(&noise) % 3 == 0 && passage < 990)
                passage += 1 + (uint32_t)(es_noise_bits(&noise) % 3), position = 0;
            if (passage > 999) passage = 999;
            position += 1 + (uint32_t)(es_noise_bits(&noise) % (round % 2 ? 10 : 100000));
            p[i] = (es_posting){passage, position};
        }
        CHECK_INT(es_postings_write(&r, p, n, true, lengths, NULL), ES_OK);
        CHECK(es_postings_check((es_bytes){r.p, r.n}, true, 1000), "round %d: not whole", round);
        CHECK(!es_postings_check((es_bytes){r.p, r.n}, true, passage), "round %d: too few passages pass", round);
        CHECK(es_postings_open(&l, (es_bytes){r.p, r.n}), "round %d: no head", round);
        while (es_postings_next(&l)) {
            uint32_t count = es_postings_places(&l, places, 3000);
            CHECK_INT(count, l.count);
            CHECK(l.least <= lengths[l.passage] && l.count <= l.most, "round %d: the head lies", round);
            for (uint32_t i = 0; i < count; i++, at++)
                CHECK(p[at].passage == l.passage && p[at].position == places[i], "round %d: posting %zu", round, at);
        }
        CHECK_INT(at, n);
        for (size_t cut = 0; cut < r.n && round < 25; cut++) { /* cut off anywhere: seen, and never read past */
            uint8_t *copy = malloc(cut ? cut : 1);
            memcpy(copy, r.p, cut);
            CHECK(!es_postings_check((es_bytes){copy, cut}, true, 1000), "round %d: cut at %zu passes", round, cut);
            free(copy);
        }
    }
    free(r.p);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"words", test_words},
        {"ranking", test_ranking},
        {"filters", test_filters},
        {"strange", test_strange},
        {"marks", test_marks},
        {"postings", test_postings},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
