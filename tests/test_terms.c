/*
 * test_terms.c - texts into terms: words, folding, stems, scripts without blanks, and texts that are none.
 */
#include "test.h"

#include "text/terms.h"

typedef struct list {
    char text[4000];
    int n;
    uint32_t last;
    size_t longest, end;
} list;

/* "word@position " for words, "=" before pairs, "-" before last letters. */
static int note(void *user, const es_term *t)
{
    list *l = user;
    size_t at = strlen(l->text);

    if (at < sizeof l->text - 300)
        snprintf(l->text + at, sizeof l->text - at, "%s%.*s@%u ",
                 t->kind == ES_TERM_PAIR   ? "="
                 : t->kind == ES_TERM_LAST ? "-"
                                           : "",
                 (int)t->n, t->text, t->position);
    CHECK(t->position >= l->last && t->from < t->to && t->n > 0 && t->n <= ES_TERM_BYTES, "position %u, %zu to %zu",
          t->position, t->from, t->to);
    l->last = t->position;
    if (t->n > l->longest) l->longest = t->n;
    l->end = t->to;
    l->n++;
    return 0;
}

static void check_terms(const char *text, const char *want)
{
    list l = {.n = 0};

    es_terms_split(text, strlen(text), note, &l);
    CHECK_STR(l.text, want);
}

static void test_split(void)
{
    check_terms("", "");
    check_terms("  ... !?", "");
    check_terms("Hello, World!", "hello@0 world@1 ");
    check_terms("a-b c_d 3.14 x2", "a@0 b@1 c@2 d@3 3@4 14@5 x2@6 ");
    check_terms("don't l'homme", "don@0 t@1 l@2 homme@3 ");
    check_terms("STRASSE Stra\xc3\x9f"
                "e",
                "strasse@0 strasse@1 ");                                    /* full case folding */
    check_terms("\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82", /* Sigma folds, also at the end */
                "\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83@0 ");
    check_terms("e\xcc\x81t\xc3\xa9 \xef\xbc\xa1\xef\xbd\x82", "\xc3\xa9t\xc3\xa9@0 ab@1 "); /* composed; full width */
    check_terms("co\xc2\xad"
                "operate",
                "cooperate@0 ");               /* a soft hyphen is not seen */
    check_terms("\xcc\x81 \xcc\x81x", "x@0 "); /* a mark on nothing */
    check_terms("\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2",
                "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82@0 ");
}

static void test_dense(void)
{
    /* Japanese: three letters are two pairs and the last one; a single one is the last one alone. */
    check_terms("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
                "=\xe6\x97\xa5\xe6\x9c\xac@0 =\xe6\x9c\xac\xe8\xaa\x9e@1 -\xe8\xaa\x9e@2 ");
    check_terms("\xe6\xb0\xb4", "-\xe6\xb0\xb4@0 ");
    check_terms("abc\xe6\x97\xa5\xe6\x9c\xac"
                "def, \xe6\x97\xa5",
                "abc@0 =\xe6\x97\xa5\xe6\x9c\xac@1 -\xe6\x9c\xac@2 def@3 -\xe6\x97\xa5@4 ");
    check_terms("\xef\xbd\xb6\xef\xbd\xb7", "=\xe3\x82\xab\xe3\x82\xad@0 -\xe3\x82\xad@1 "); /* narrow kana widen */
    check_terms(
        "\xe0\xb8\x99\xe0\xb9\x89\xe0\xb8\xb3", /* Thai: vowel signs and tones are letters here; am decomposes */
        "=\xe0\xb8\x99\xe0\xb9\x89@0 =\xe0\xb9\x89\xe0\xb9\x8d\xe0\xb8\xb2@1 -\xe0\xb9\x8d\xe0\xb8\xb2@2 ");
}

static void check_stem(const char *language, const char *word, const char *want)
{
    es_terms *t = es_terms_open();
    size_t n = 0;
    const char *stem = es_terms_stem(t, es_terms_language(language), word, strlen(word), &n);
    char text[300];

    snprintf(text, sizeof text, "%.*s", (int)n, stem);
    CHECK_STR(text, want);
    es_terms_close(t);
}

/* The words and stems of Snowball's own vocabulary samples. */
static void test_stem(void)
{
    check_stem("en", "running", "run");
    check_stem("en", "consolations", "consol");
    check_stem("de", "aufeinanderfolgenden", "aufeinanderfolg");
    check_stem("de", "h\xc3\xa4user", "haus");
    check_stem("fr", "continuellement", "continuel");
    check_stem("ru", "\xd0\xb2\xd0\xb0\xd0\xb6\xd0\xbd\xd0\xb0\xd1\x8f", "\xd0\xb2\xd0\xb0\xd0\xb6\xd0\xbd");
    check_stem("xx", "running", "running");
    check_stem("", "running", "running");
    CHECK_INT(es_terms_language("nn"), es_terms_language("no"));
    CHECK_INT(es_terms_language("en"), 7); /* libraries keep these numbers */
    CHECK_INT(es_terms_language("yi"), 28);
    CHECK_INT(es_terms_language("ja"), 0);
}

static void split_bytes(list *l, const char *p, size_t n)
{
    *l = (list){.n = 0};
    CHECK_INT(es_terms_split(p, n, note, l), 0);
}

static void test_no_text(void)
{
    enum { MEGA = 1 << 20 };
    char *p = malloc(MEGA);
    list l;

    split_bytes(&l, "one\0two", 7);
    CHECK_STR(l.text, "one@0 two@1 ");
    split_bytes(&l,
                "a\xff\xfe"
                "b\xe6\x97"
                "c",
                7);
    CHECK_STR(l.text, "a@0 b@1 c@2 ");
    split_bytes(&l, "\xf0\x9f", 2);
    CHECK_INT(l.n, 0);

    memset(p, 'x', MEGA); /* a megabyte without a blank is one word, known by its beginning */
    split_bytes(&l, p, MEGA);
    CHECK_INT(l.n, 1);
    CHECK_INT(l.longest, ES_TERM_BYTES);
    CHECK_INT(l.end, MEGA);

    p[0] = 'e'; /* ten thousand marks on one letter */
    for (int i = 0; i < 10000; i++) memcpy(p + 1 + 2 * i, i % 2 ? "\xcc\x81" : "\xcc\xa3", 2);
    memcpy(p + 20001, " end", 4);
    split_bytes(&l, p, 20005);
    CHECK_INT(l.n, 2);
    CHECK(strstr(l.text, "end@1"), "%s", l.text);

    for (int i = 0; i + 3 <= MEGA; i += 3) memcpy(p + i, "\xe6\x97\xa5", 3); /* and one of Chinese: all of it */
    split_bytes(&l, p, MEGA / 3 * 3);
    CHECK_INT(l.n, MEGA / 3);

    es_noise noise = {.state = 5};
    for (int i = 0; i < 20000; i++) p[i] = (char)es_noise_bits(&noise);
    for (int i = 0; i < 500; i++) split_bytes(&l, p + 37 * i, 37);
    free(p);
}

static int stop(void *user, const es_term *t)
{
    (void)t;
    return ++*(int *)user == 3 ? 42 : 0;
}

static void test_stops(void)
{
    int n = 0;

    CHECK_INT(es_terms_split("a b c d e", 9, stop, &n), 42);
    CHECK_INT(n, 3);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"split", test_split},     {"dense", test_dense}, {"stem", test_stem},
        {"no_text", test_no_text}, {"stops", test_stops},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
