/*
 * test_score_files.c - error rates from files: several recordings, regions, collars, lines that are no turns.
 */
#include "test.h"

#include "base/json.h"
#include "pipeline/bench/bench_voices.h"

static const char *write_file(const char *name, const char *text)
{
    static char path[4][4200];
    static int next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof path[0], "%s/%s", es_test_folder(), name);
    FILE *f = fopen(p, "w");
    CHECK(f && fputs(text, f) >= 0 && !fclose(f), "%s cannot be written", p);
    return p;
}

/* A number of the JSON answer, of recording i or over all (-1). */
static double member(const char *text, size_t bytes, int i, const char *key)
{
    es_json *j = NULL;
    double v = NAN;

    if (es_json_parse(&j, text, bytes, "figures", NULL) != ES_OK) return NAN;
    const es_json_node *n = i < 0 ? es_json_root(j) : es_json_first(es_json_get(es_json_root(j), "files"));
    for (int k = 0; k < i; k++) n = es_json_next(n);
    es_json_number(es_json_get(n, key), &v);
    es_json_close(j);
    return v;
}

#define A(at, long, who) "SPEAKER a 1 " #at " " #long " <NA> <NA> " who " <NA> <NA>\n"
#define B(at, long, who) "SPEAKER b 1 " #at " " #long " <NA> <NA> " who " <NA> <NA>\n"

static void rates(void)
{
    const char *ref = write_file("ref.rttm", A(0, 10, "x") A(10, 10, "y") B(5, 10, "x"));
    /* a: the speakers' names are others; 1 s of y is missed, 2 s of x are given to the other. b: 1 s too much. */
    const char *hyp = write_file("hyp.rttm", ";; a comment\n\n" A(0, 8, "2") A(8, 11, "1") B(5, 11, "7"));
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    CHECK(es_bench_der(ref, hyp, NULL, 0, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    CHECK(fabs(member(text, bytes, 0, "der") - 0.15) < 1e-6 && fabs(member(text, bytes, 0, "confusion") - 2) < 1e-6 &&
              fabs(member(text, bytes, 0, "miss") - 1) < 1e-6,
          "%s", text);
    CHECK(fabs(member(text, bytes, 1, "der") - 0.1) < 1e-6 && fabs(member(text, bytes, -1, "der") - 4.0 / 30) < 1e-6, "%s", text);
    free(text);
    /* In a region of b nothing is wrong; in that of a the confusion is; a collar of 2 s hides it. */
    const char *uem = write_file("some.uem", "a 1 0 9\nb 1 6 9\nb 1 8 12\n");
    CHECK(es_bench_der(ref, hyp, uem, 0, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    CHECK(fabs(member(text, bytes, 0, "confusion") - 1) < 1e-6 && fabs(member(text, bytes, 1, "total") - 6) < 1e-6, "%s", text);
    free(text);
    CHECK(es_bench_der(ref, hyp, NULL, 2, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    CHECK(member(text, bytes, -1, "der") == 0, "%s", text);
    free(text);
    CHECK(es_bench_der(ref, hyp, NULL, 0, false, &text, &bytes, &err) == ES_OK && strstr(text, "2 = x") && strstr(text, "13.33 %"), "%s",
          text ? text : err.text);
    free(text);
    /* One recording on either side: what they are called does not matter. */
    const char *other = write_file("other.rttm", B(5, 10, "z")), *same = write_file("same.rttm", A(5, 10, "q"));
    CHECK(es_bench_der(other, same, NULL, 0, true, &text, &bytes, &err) == ES_OK && member(text, bytes, -1, "der") == 0, "%s", err.text);
    free(text);
    /* Nothing was heard. */
    const char *silent = write_file("silent.rttm", "");
    CHECK(es_bench_der(other, silent, NULL, 0, true, &text, &bytes, &err) == ES_OK && member(text, bytes, -1, "der") == 1, "%s", err.text);
    free(text);
}

static void bad_files(void)
{
    static const struct {
        const char *ref, *hyp, *uem, *says;
    } cases[] = {
        {A(0, 1, "x") "SPEAKER a 1 x 1 <NA> <NA> y <NA> <NA>\n", A(0, 1, "x"), NULL, "line 2"},
        {A(0, 1, "x"), A(0, 1, "x") "\nSPEAKER a 1\n", NULL, "line 3"},
        {A(0, 1, "x"), A(0, -1, "x"), NULL, "line 1"},
        {"", A(0, 1, "x"), NULL, "no turns"},
        {A(0, 1, "x") B(0, 1, "x"), "SPEAKER c 1 0 1 <NA> <NA> x <NA> <NA>\n", NULL, "turns of c"},
        {A(0, 1, "x"), A(0, 1, "x"), "a 1 0\n", "line 1"},
        {A(0, 1, "x"), A(0, 1, "x"), ";; regions\na 1 5 2\n", "line 2"},
        {A(0, 1, "x"), A(0, 1, "x"), "other 1 0 9\n", "no region"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *ref = write_file("ref", cases[i].ref), *hyp = write_file("hyp", cases[i].hyp);
        const char *uem = cases[i].uem ? write_file("uem", cases[i].uem) : NULL;
        char *text = NULL;
        size_t bytes = 0;
        es_err err = {0};
        int rc = es_bench_der(ref, hyp, uem, 0, false, &text, &bytes, &err);
        CHECK(rc == ES_EFORMAT && strstr(err.text, cases[i].says) && !text, "case %zu: %d, \"%s\"", i, rc, err.text);
        free(text);
    }
}

static void equal_errors(void)
{
    const char *good = write_file("good", "1 0.9\ntarget 0.8\n\n0 0.85\nother 0.1\n"), *bad = write_file("bad", "1 0.5\n2 0.5\n");
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    CHECK(es_bench_eer(good, true, &text, &bytes, &err) == ES_OK && fabs(member(text, bytes, -1, "eer") - 0.5) < 1e-6, "%s", err.text);
    free(text);
    CHECK(es_bench_eer(bad, false, &text, &bytes, &err) == ES_EFORMAT && strstr(err.text, "line 2"), "%s", err.text);
    err = (es_err){0};
    CHECK(es_bench_eer(write_file("one", "1 0.5\n"), false, &text, &bytes, &err) == ES_EFORMAT && strstr(err.text, "both"), "%s", err.text);
}

/* Names of what is no network for telling speakers apart. */
static void not_measured(void)
{
    static const struct {
        const char *network, *says;
    } cases[] = {{"ecapa", "names voices"}, {"base", "knows voices"}, {"nix", "nix"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        es_bench_diarize_options o = {.synthetic = cases[i].network, .device = "cpu", .threads = 1};
        char *text = NULL;
        size_t bytes = 0;
        es_err err = {0};
        CHECK(es_bench_diarize(&o, NULL, &text, &bytes, &err) == ES_EARG && strstr(err.text, cases[i].says), "%s: \"%s\"", cases[i].network,
              err.text);
        free(text);
    }
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"rates", rates},
        {"bad_files", bad_files},
        {"equal_errors", equal_errors},
        {"not_measured", not_measured},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
