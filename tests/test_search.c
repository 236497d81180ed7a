/*
 * test_search.c - what a search is put together from: rankings fused, times and names read.
 */
#define _GNU_SOURCE
#include "test.h"

#include "pipeline/search/fuse.h"
#include "pipeline/search/moment.h"
#include "pipeline/search/query.h"

/* ---- fusion ---- */

static es_ranked ranked(uint64_t media, uint32_t number, double score)
{
    return (es_ranked){.passage = {.media = media, .number = number}, .score = score};
}

static void fusion(void)
{
    const es_ranked meaning[] = {ranked(1, 0, 0.9), ranked(2, 5, 0.8), ranked(1, 7, 0.7)};
    const es_ranked words[] = {ranked(3, 1, 12.0), ranked(1, 7, 8.0)};
    const es_ranked *lists[] = {meaning, words};
    const size_t n[] = {3, 2};
    es_fused out[5];
    size_t found = es_fuse(out, lists, n);

    /* 1/63 + 1/62 beats 1/61; of the two at 1/61 the ranking by meaning decides. */
    CHECK_INT(found, 4);
    CHECK(out[0].passage.media == 1 && out[0].passage.number == 7, "the passage in both rankings is not first");
    CHECK(fabs(out[0].score - (1.0 / 63 + 1.0 / 62)) < 1e-15, "its score is %.17g", out[0].score);
    CHECK_INT(out[0].rank[0], 3);
    CHECK_INT(out[0].rank[1], 2);
    CHECK(fabs(out[0].own[0] - 0.7) < 1e-15 && fabs(out[0].own[1] - 8.0) < 1e-15, "its own scores are %g and %g", out[0].own[0],
          out[0].own[1]);
    CHECK(out[1].passage.media == 1 && out[1].passage.number == 0, "the best by meaning is not second");
    CHECK_INT(out[1].rank[1], 0);
    CHECK(out[2].passage.media == 3, "the best by words is not third");
    CHECK(out[3].passage.media == 2, "the second by meaning is not last");
}

static void fusion_of_nothing(void)
{
    const es_ranked one[] = {ranked(9, 9, 1)};
    const es_ranked *lists[] = {NULL, one};
    const size_t none[] = {0, 0}, some[] = {0, 1};
    es_fused out[1];

    CHECK_INT(es_fuse(out, lists, none), 0);
    CHECK_INT(es_fuse(out, lists, some), 1);
    CHECK_INT(out[0].rank[0], 0);
    CHECK_INT(out[0].rank[1], 1);
}

static void passage_order(void)
{
    const es_passage_id a = {.media = 1, .track = 0, .number = 9}, b = {.media = 1, .track = 1, .number = 0},
                        c = {.media = 2, .track = 0, .number = 0};

    CHECK(es_fuse_compare(&a, &b) < 0 && es_fuse_compare(&b, &c) < 0 && es_fuse_compare(&c, &a) > 0, "order");
    CHECK_INT(es_fuse_compare(&a, &a), 0);
}

/* ---- times ---- */

static void times(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0}, {"754", 754000}, {"754.5", 754500}, {"12:34", 754000}, {"1:02:03", 3723000}, {"1:02:03.25", 3723250}, {"90:00", 5400000}};
    static const char *const bad[] = {"", ":", "12:", "12:60", "1:60:00", "-5", "12:34 ", "1:2:3:4", "12:34.", "1e3", "999999999999999999999", "12.3456"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        es_bound b;
        es_err err = {0};
        CHECK(es_moment_bound(&b, good[i].text, "--after", &err) == ES_OK, "%s", err.text);
        CHECK(!b.is_date && b.ms == good[i].ms, "%s is %lld ms, expected %lld", good[i].text, (long long)b.ms, (long long)good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms;
        es_err err = {0};
        CHECK(es_moment_read(&ms, bad[i], &err) == ES_EARG, "\"%s\" was taken for a time", bad[i]);
        CHECK(strstr(err.text, "12:34"), "the sentence gives no example: %s", err.text);
    }
}

static void dates(void)
{
    static const char *const bad[] = {"2026-13", "2026-00-01", "2026-02-30", "2026-05-01T24:00", "26-05-01", "1969-01-01", "2026-05-01x", "-", "2026-"};
    es_bound day, month, hour;
    es_err err = {0};

    setenv("TZ", "UTC", 1);
    CHECK(es_moment_bound(&day, "2026-05-01", "--after", &err) == ES_OK, "%s", err.text);
    CHECK(es_moment_bound(&month, "2026-05", "--after", &err) == ES_OK, "%s", err.text);
    CHECK(es_moment_bound(&hour, "2026-05-01T18:30", "--after", &err) == ES_OK, "%s", err.text);
    CHECK(day.is_date && month.is_date && hour.is_date, "a date was taken for a time");
    CHECK_INT(day.ms, 1777593600000);
    CHECK_INT(month.ms, 1777593600000);
    CHECK_INT(hour.ms, 1777593600000 + (18 * 60 + 30) * 60000);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        es_bound b;
        err = (es_err){0};
        CHECK(es_moment_bound(&b, bad[i], "--before", &err) == ES_EARG, "\"%s\" was taken for a date", bad[i]);
        CHECK(strstr(err.text, "--before"), "the sentence does not name the option: %s", err.text);
    }
}

static void moments(void)
{
    static const char *const bad[] = {"", "@", "talk.mp4", "talk.mp4@", "@12:34", "talk.mp4@soon"};
    char name[64], small[4];
    int64_t ms;
    es_err err = {0};

    CHECK(es_moment_split(name, sizeof name, &ms, "me@home.mp4@1:00", &err) == ES_OK, "%s", err.text);
    CHECK_STR(name, "me@home.mp4");
    CHECK_INT(ms, 60000);
    CHECK_INT(es_moment_split(small, sizeof small, &ms, "talk.mp4@1:00", &err), ES_EARG);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (es_err){0};
        CHECK(es_moment_split(name, sizeof name, &ms, bad[i], &err) == ES_EARG && err.text[0], "\"%s\" was taken for a moment", bad[i]);
    }
}

/* ---- names ---- */

static void names(void)
{
    static const char *const people[] = {"Anna", "Annabelle", "Bob", "Hannah", "Anna", "Zo\x01"};
    char out[256], small[12];

    CHECK_INT(es_moment_distance("kitten", "sitting"), 3);
    CHECK_INT(es_moment_distance("ANNA", "anna"), 0);
    CHECK_INT(es_moment_distance("", "abc"), 3);
    CHECK(es_moment_near(out, sizeof out, "anna", people, 6), "nobody is near");
    CHECK_STR(out, "\"Anna\", \"Annabelle\" or \"Hannah\"");
    CHECK(es_moment_near(out, sizeof out, "Bop", people, 6), "nobody is near");
    CHECK_STR(out, "\"Bob\"");
    CHECK(es_moment_near(out, sizeof out, "Zoe", people, 6), "nobody is near");
    CHECK(!strchr(out, 1), "a control character came out");
    CHECK(!es_moment_near(out, sizeof out, "Christopher", people, 6), "%s came out", out);
    CHECK_STR(out, "");
    CHECK(es_moment_near(small, sizeof small, "anna", people, 6), "nobody is near");
    CHECK(strlen(small) < sizeof small, "cut");
}

/* ---- the words of a query ---- */

static void check_pieces(const char *query, const char *want)
{
    es_query_piece p;
    char have[256] = "";
    size_t at = 0;

    while (es_query_next(&p, query, strlen(query), &at))
        snprintf(have + strlen(have), sizeof have - strlen(have), "[%.*s]", (int)p.bytes, p.text);
    CHECK_STR(have, want);
}

static void pieces(void)
{
    check_pieces("", "");
    check_pieces(" \t\n", "");
    check_pieces("one  two\nthree", "[one][two][three]");
    check_pieces("say \"two words\" now", "[say][\"two words\"][now]");
    check_pieces("say\"cheese\"now", "[say][\"cheese\"][now]");
    check_pieces("an \"open end", "[an][\"open end]");
    check_pieces("\xC2\xA0thin\xE2\x80\x89space", "[thin][space]");
}

static void check_telling(const char *query, const char *want)
{
    char out[512];
    size_t n = es_query_telling(out, query, strlen(query));

    CHECK_STR(out, want);
    CHECK_INT(n, strlen(want));
}

static void telling(void)
{
    check_telling("where did they live as children", "live children");
    check_telling("What's the Budget?", "Budget?");
    check_telling("I'm sure they don't know Anna's brother", "sure know Anna brother");
    check_telling("Anna\xE2\x80\x99s didn\xE2\x80\x99t", "Anna");
    check_telling("to be or not to be", "to be or not to be");
    check_telling("\"to be\" or who", "\"to be\"");
    check_telling("who! -- (the) cat", "cat");
    check_telling("wh* a", "wh*");
    check_telling("x\"y\"", "x \"y\"");
    check_telling("\"y\"x\"z", "\"y\" x \"z");
    check_telling("", "");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"fusion", fusion}, {"fusion of nothing", fusion_of_nothing}, {"passage order", passage_order}, {"times", times},
        {"dates", dates},   {"moments", moments},                     {"names", names},
        {"pieces", pieces}, {"telling", telling},
    };
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
