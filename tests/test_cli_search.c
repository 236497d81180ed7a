/*
 * test_cli_search.c - `earshot search` and `similar` as a user runs them: by meaning and by words, through filters, for people
 * and as JSON, and with any bytes as the question.
 */
#define _GNU_SOURCE
#include <ctype.h>

#include "talks.h"

/* ---- meaning ---- */

static void next_word(const char **p, char *out, size_t room)
{
    size_t n = 0;

    while (**p && !isalnum((unsigned char)**p)) (*p)++;
    for (; isalnum((unsigned char)**p); (*p)++)
        if (n + 1 < room) out[n++] = (char)tolower((unsigned char)**p);
    out[n] = 0;
}

static bool share_a_word(const char *a, const char *b)
{
    char x[64], y[64];

    for (const char *p = a; next_word(&p, x, sizeof x), *x;)
        for (const char *q = b; next_word(&q, y, sizeof y), *y;)
            if (!strcmp(x, y)) return true;
    return false;
}

static void no_word_in_common(void)
{
    static const struct {
        const char *query, *path, *begins;
        int64_t start_ms;
    } asked[] = {
        {"egoist husband, unkind wife", "/media/books/Sense and Sensibility.mp4", "And Mr. John", 0},
        {"Dallas or Houston", "/media/calls/telephone call.mkv", "Hello? Neither", 7634},
        {"nickname for northerners", "/media/calls/telephone call.mkv", "Hello? Neither", 7634},
        {"surprised by some sound on the line", "/media/calls/telephone call.mkv", "Hello? Oh", 6680},
        {"kitchen instructions", "/media/kitchen/bread.mp3", "Mix the", 1000},
        {"shipwreck rescue", "/media/news/harbour.ogg", "The storm", 0},
    };
    hit h[10];

    if (!setup()) return;
    for (size_t i = 0; i < COUNT(asked); i++) {
        LINE(0, NULL, NULL, "earshot search --json -L library --models models '%s'", asked[i].query);
        CHECK(hits_of(h, 10) == PASSAGES, "\"%s\" does not rank all passages", asked[i].query);
        CHECK(!share_a_word(asked[i].query, h[0].text), "\"%s\" shares a word with: %s", asked[i].query, h[0].text);
        CHECK(!strcmp(h[0].path, asked[i].path) && !strncmp(h[0].text, asked[i].begins, strlen(asked[i].begins)),
              "\"%s\" found %s first: %s", asked[i].query, h[0].path, h[0].text);
        CHECK_INT(h[0].at_ms, asked[i].start_ms);
        CHECK_INT(h[0].meaning_rank, 1);
        CHECK_INT(h[0].n_marks, 0);
    }
}

static void by_words(void)
{
    hit h[10];

    if (!setup()) return;
    check_first("--mode words", "Yankee", "/media/calls/telephone call.mkv", label(&talks[TELEPHONE], 1));
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].marked, "Yankee|");
    CHECK_INT(h[0].meaning_rank, -1);
    CHECK_INT(h[0].words_rank, 1);
    CHECK_INT(h[0].start_ms, 7634);
    CHECK_INT(h[0].at_ms, 24058); /* where the sentence with the word begins */
    CHECK_STR(h[0].play, "mpv --start=24 '/media/calls/telephone call.mkv'");
    /* Stems, phrases, beginnings. */
    check_first("--mode words", "marrying", "/media/books/Sense and Sensibility.mp4", "");
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].marked, "married|");
    CHECK_INT(h[0].at_ms, 16000);
    check_first("--mode words", "\"oven door\"", "/media/kitchen/bread.mp3", label(&talks[BREAD], 0));
    LINE(0, NULL, "nothing was found", "earshot search -L library --mode words '\"door oven\"'");
    LINE(0, NULL, NULL, "earshot search --json -L library --mode words 'helicop*'");
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].path, "/media/news/harbour.ogg");
    /* Fused, a name that is only in one place is first, and found both ways. */
    check_first("", "Dashwood", "/media/books/Sense and Sensibility.mp4", "");
    hits_of(h, 10);
    CHECK_INT(h[0].words_rank, 1);
}

/* ---- filters ---- */

static size_t found_in(const char *options, const char *path)
{
    hit h[20];

    LINE(0, NULL, NULL, "earshot search --json -L library --models models %s 'what is said'", options);
    size_t n = hits_of(h, 20);
    for (size_t i = 0; i < n; i++) CHECK(!strncmp(h[i].path, path, strlen(path)), "%s found %s", options, h[i].path);
    return n;
}

static void filters(void)
{
    hit h[20];

    if (!setup()) return;
    CHECK_INT(found_in("", "/media/"), PASSAGES);
    CHECK_INT(found_in("-k 2", "/media/"), 2);
    CHECK_INT(found_in("--in /media/news", "/media/news/"), 2);
    CHECK_INT(found_in("--in /media/news/", "/media/news/"), 2);
    CHECK_INT(found_in("--in bread.mp3", "/media/kitchen/bread.mp3"), 1);
    CHECK_INT(found_in("--lang de", "/media/news/it's"), 1);
    CHECK_INT(found_in("--lang German", "/media/news/it's"), 1);
    CHECK_INT(found_in("--after 0:05", "/media/calls"), 3); /* passages that begin at 6.7, 7.6 and 29.1 s */
    CHECK_INT(found_in("--after 7 --before 0:29", "/media/calls"), 1);
    CHECK_INT(found_in("--before 0:00.5", "/media/"), 3);
    CHECK_INT(found_in("--after 2026-05-01", "/media/news/"), 2);
    CHECK_INT(found_in("--after 2026-05-02", "/media/news/it's"), 1);
    CHECK_INT(found_in("--before 2025-07", "/media/books"), 1);
    CHECK_INT(found_in("--after 2025-07 --before 2026-01-01", "/media/calls"), 3);
    LINE(0, NULL, NULL, "earshot search --json -L library --models models --speaker '%s' 'what is said'", label(&talks[TELEPHONE], 1));
    CHECK_INT(hits_of(h, 20), 1);
    CHECK(!strncmp(h[0].text, "Hello? Neither did I.", 21), "the second speaker said: %s", h[0].text);
    /* What is not there is refused with what comes near. */
    LINE(1, NULL, "did you mean \"bread.mp3\"", "earshot search -L library --models models --in bred.mp3 x");
    LINE(1, NULL, "nowhere.mp4", "earshot search -L library --models models --in nowhere.mp4 x");
    LINE(1, NULL, "did you mean \"Speaker", "earshot search -L library --models models --speaker 'Speeker 2' x");
    LINE(1, NULL, "Zacharias", "earshot search -L library --models models --speaker Zacharias x");
    LINE(2, NULL, "--after takes a time", "earshot search -L library --models models --after yesterday x");
    LINE(2, NULL, "2026-13-01", "earshot search -L library --models models --before 2026-13-01 x");
    LINE(2, NULL, "no language", "earshot search -L library --models models --lang Klingon x");
    LINE(2, NULL, "-k takes a whole number", "earshot search -L library -k 0 x");
    LINE(2, NULL, "--mode takes", "earshot search -L library --mode luck x");
}

/* ---- what a person sees ---- */

static void for_people(void)
{
    if (!setup()) return;
    char head[200];
    ended e = program_line("earshot search -L library --models models -k 1 Yankee");
    snprintf(head, sizeof head, " 1  telephone call.mkv  0:24.1  %s\n", label(&talks[TELEPHONE], 1));
    CHECK(strstr(e.out, head) && strstr(e.out, "Yankee down here"), "\"%s\" is not in %s", head, e.out);
    CHECK(!strchr(e.out, 27), "it colours what is no terminal: %s", e.out);
    ENDED(&e, 0, "\n    mpv --start=24 '/media/calls/telephone call.mkv'\n", NULL);
    /* A name that would steer the terminal, and quotes in it. */
    e = program_line("earshot search -L library --models models --lang de Verspätung");
    CHECK(!strchr(e.out, 27), "an escape came out: %s", e.out);
    CHECK(strstr(e.out, "it's \\x1B[31mlate.wav"), "the name is not shown: %s", e.out);
    ENDED(&e, 0, "mpv --start=0 $'/media/news/it\\'s \\033[31mlate.wav'", NULL);
    LINE(0, "--speaker", NULL, "earshot help search");
    LINE(0, "reembed", NULL, "earshot help --man");
}

static void queries_by_line(void)
{
    hit h[10];
    size_t n = 0;

    if (!setup()) return;
    write_file(at("queries"), "Yankee\n\nhelicopter\r\n", 20);
    ended e = program_line("earshot search --json -L library --mode words <queries");
    for (char *p = e.out, *end; (end = strstr(p, "]}\n")); p = end + 3, n++) {
        CHECK_INT(read_hits(p, (size_t)(end + 2 - p), h, 10), 1);
        CHECK_STR(h[0].marked, n ? "helicopter|" : "Yankee|");
    }
    CHECK_INT(n, 2);
    ENDED(&e, 0, NULL, NULL);
    LINE(0, "? helicopter\n 1  harbour.ogg", NULL, "earshot search -L library --mode words <queries");
}

static void similar(void)
{
    hit h[10];

    if (!setup()) return;
    LINE(0, NULL, NULL, "earshot similar --json -L library 'telephone call.mkv@0:09'");
    CHECK_INT(hits_of(h, 10), PASSAGES - 1); /* all but itself */
    CHECK(!strcmp(h[0].path, "/media/calls/telephone call.mkv"), "the other side of the call is not first but %s", h[0].path);
    LINE(0, NULL, NULL, "earshot similar --json -L library 'telephone call.mkv@0:09' --in /media/news -k 1");
    CHECK_INT(hits_of(h, 10), 1);
    LINE(2, NULL, "FILE@12:34", "earshot similar -L library 'telephone call.mkv'");
    LINE(1, NULL, "nobody.mp4", "earshot similar -L library nobody.mp4@0:01");
    LINE(2, NULL, "soon", "earshot similar -L library bread.mp3@soon");
}

/* ---- bad input ---- */

/* Any query ends well, by meaning and by words, and as JSON that is JSON. */
static void check_query(const char *name, const char *text, size_t n)
{
    hit h[10];

    write_file(at("query"), text, n);
    ended e = program_line("earshot search --json -L library --models models <query");
    CHECK(e.code == 0, "%s: it ended with %d and said: %s", name, e.code, e.err);
    if (e.n_out) read_hits(e.out, e.n_out, h, 10);
    ENDED(&e, 0, NULL, NULL);
}

static void any_query(void)
{
    enum { MEGABYTE = 1000000, MARKS = 10000 };
    char *big = malloc(MEGABYTE);

    if (!setup()) {
        free(big);
        return;
    }
    LINE(2, NULL, "the query is empty", "earshot search -L library --models models ''");
    LINE(2, NULL, "the query is empty", "earshot search -L library --models models ' '");
    check_query("nothing", "", 0);
    check_query("a blank line", "\n", 1);
    check_query("NUL bytes", "a\0b\0\0", 5);
    check_query("broken UTF-8", "\xFF\xC3 \xE2\x82 storm \xF0\x9F", 14);
    check_query("quotes that stay open", "\"the storm", 10);
    check_query("signs", "*** \"\" ** ?! -", 14);
    memset(big, 'x', MEGABYTE);
    check_query("1 MB without a blank", big, MEGABYTE);
    for (size_t i = 0; i < MEGABYTE / 2; i++) memcpy(big + 2 * i, "x ", 2);
    check_query("500,000 words", big, MEGABYTE);
    for (size_t i = 0; i < MARKS; i++) memcpy(big + 2 * i, "\xCC\x81", 2);
    check_query("10,000 combining marks", big, 2 * MARKS);
    free(big);
}

static void empty_and_missing(void)
{
    if (!models()) return;
    LINE(3, NULL, "library", "earshot search -L library --models models x");
    es_store_close(open_library(ES_STORE_CREATE));
    LINE(0, NULL, "holds no recordings yet", "earshot search -L library --models models x");
    LINE(0, NULL, "holds no recordings yet", "earshot search -L library --models nowhere x");
    LINE(0, "\"hits\": []", NULL, "earshot search --json -L library --models models x");
    /* Without the encoder's pack: words alone, said once; by meaning, not at all. */
    fill(true);
    LINE(0, NULL, "words alone are searched", "earshot search -L library --models nowhere Yankee");
    check_said("stderr", "minilm");
    check_said("stdout", "telephone call.mkv");
    LINE(3, NULL, "minilm", "earshot search -L library --models nowhere --mode meaning Yankee");
    /* The notes of a batch are none of a question's. */
    ended e = program_line("earshot search -L library --models models Yankee");
    CHECK(!*e.err, "it said: %s", e.err);
    ENDED(&e, 0, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"no_word_in_common", no_word_in_common},
        {"by_words", by_words},
        {"filters", filters},
        {"for_people", for_people},
        {"queries_by_line", queries_by_line},
        {"similar", similar},
        {"any_query", any_query},
        {"empty_and_missing", empty_and_missing},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
