/*
 * test_cli_library.c - a library from the first recording to the last: what goes in is listed, shown, exported, backed up and
 * removed; and what happens to it beside other processes, on a full disk, without permission, and when the work is ended.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "ingest.h"

static void test_road(void)
{
    setup();
    wav("one.wav", NOISE, 6, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("one.wav"));
    EXPECT(0, "1 recording, 0:06.0", NULL, "list", "-L", at("lib"));
    EXPECT(0, "\"path\":", NULL, "list", "--json", "-L", at("lib"));
    EXPECT(0, "by small", NULL, "show", "-L", at("lib"), "one.wav");
    EXPECT(0, "\"segments\"", NULL, "show", "--json", "-L", at("lib"), "one.wav");
    EXPECT(1, NULL, "two.wav", "show", "-L", at("lib"), "two.wav");

    /* The same content is known, under any name and after a copy; no weights are read for it. */
    ended e = RUN(INGEST, "-v", at("one.wav"));
    CHECK(!strstr(e.err, "is loaded"), "weights were read for a known file: %s", e.err);
    ENDED(&e, 0, "known", NULL);
    EXPECT(0, NULL, "small is loaded", INGEST, "-v", "--again", at("one.wav"));
    LINE(0, NULL, NULL, "cp one.wav two.wav");
    EXPECT(0, "known, as", NULL, INGEST, at("two.wav"));
    EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
    /* Other settings are said and change nothing; --again does. */
    EXPECT(0, "language was en, now de", NULL, INGEST, "--language", "de", at("one.wav"));
    EXPECT(0, "seek was timestamps, now words", NULL, INGEST, "--seek", "words", at("one.wav"));
    EXPECT(0, "of sound", NULL, INGEST, "--language", "de", "--again", at("one.wav"));
    EXPECT(0, "language was de, now en", NULL, INGEST, at("one.wav"));

    check_whole(at("lib"));
    EXPECT(0, "backup", NULL, "backup", "-L", at("lib"), at("backup"));
    check_whole(at("backup"));
    EXPECT(0, "removed one.wav", NULL, "remove", "-L", at("lib"), "one.wav");
    EXPECT(1, NULL, "one.wav", "remove", "-L", at("lib"), "one.wav");
    EXPECT(0, ", was ", NULL, "compact", "-L", at("lib"));
    EXPECT(0, "holds no recordings yet", NULL, "list", "-L", at("lib"));
    EXPECT(0, "1 recording, 0:06.0", NULL, "list", "-L", at("backup"));
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
}

static void read_and_compare(const char *a, const char *b)
{
    char *x = read_file(a, NULL), *y = read_file(b, NULL);

    CHECK(*x != 0, "%s is empty", a);
    CHECK(!strcmp(x, y), "%s and %s differ", a, b);
    free(x), free(y);
}

static void test_export(void)
{
    setup();
    mkdir(at("a"), 0755), mkdir(at("b"), 0755);
    wav("a/talk.wav", NOISE, 4, 16000, 1);
    wav("b/talk.wav", NOISE, 5, 16000, 1);
    wav("b/other talk.wav", NOISE, 3, 8000, 2);
    EXPECT(0, "3 files: 3 stored, 0 known, 0 failed", NULL, INGEST, at("a"), at("b"));
    ended e = RUN("export", "-L", at("lib"), "-f", "txt,srt,vtt,json,tsv", "-o", at("out/deep"));
    CHECK_INT(count_in(e.out, "\n"), 15);
    ENDED(&e, 0, "out/deep/talk-2.srt", NULL);
    static const char *const name[] = {"talk", "talk-2", "other talk"}, *const format[] = {"txt", "srt", "vtt", "json",
                                                                                           "tsv"};
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 5; k++) {
            char path[64];
            snprintf(path, sizeof path, "out/deep/%s.%s", name[i], format[k]);
            CHECK(access(at(path), R_OK) == 0, "%s was not written", path);
        }
    EXPECT(0, "{", NULL, "export", "-L", at("lib"), "-f", "json", "-o", "-", "other talk.wav");
    EXPECT(2, NULL, "there is no format doc", "export", "-f", "srt,doc", "-L", at("lib"));
    EXPECT(2, NULL, "-o - takes one recording", "export", "-L", at("lib"), "-o", "-");
    EXPECT(1, NULL, "nowhere.wav", "export", "-L", at("lib"), "-o", at("out"), "nowhere.wav");

    /* Nothing in an export depends on the order or the time of the work. */
    EXPECT(0, "3 stored", NULL, INGEST_INTO(at("lib2")), "--threads", "1", at("b/talk.wav"), at("b/other talk.wav"),
           at("a"));
    EXPECT(0, NULL, NULL, "export", "-q", "-L", at("lib2"), "-f", "txt,srt,vtt,json,tsv", "-o", at("out2"));
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 5; k++) {
            char one[64], two[64];
            snprintf(one, sizeof one, "out/deep/%s.%s", name[i], format[k]);
            snprintf(two, sizeof two, "out2/%s.%s", name[i], format[k]);
            read_and_compare(at(one), at(two));
        }
}

/* ---- bad times ---- */

/* A folder that holds something else is no library, and says so. */
static void test_bad_library(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(3, NULL, "there is no library", "list", "-L", at("lib"));
    EXPECT(0, "not made yet", NULL, "doctor", "--models", at("models"), "-L", at("lib"));
    mkdir(at("lib"), 0755);
    write_file(at("lib/data.mdb"), "This was never a library.", 25);
    EXPECT(3, NULL, "data.mdb", INGEST, at("good.wav"));
    EXPECT(3, NULL, "data.mdb", "check", "-L", at("lib"));
    EXPECT(3, "data.mdb", NULL, "doctor", "--models", at("models"), "-L", at("lib"));
    char *kept = read_file(at("lib/data.mdb"), NULL);
    CHECK_STR(kept, "This was never a library.");
    free(kept);
    write_file(at("file"), "no folder", 9);
    EXPECT(3, NULL, "file", INGEST, "-L", at("file"), at("good.wav"));
}

static void test_read_only_library(void)
{
    const program_setting nobody = {.uid = 65534};

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    wav("more.wav", NOISE, 2, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("good.wav"));
    chmod(at("lib"), 0555);
    if (geteuid() == 0) { /* root may write anywhere: be somebody else, who reads the folder and no more */
        chmod(es_test_folder(), 0777);
        LINE(0, NULL, NULL, "chmod -R a+rX,go-w lib");
        ended e = program_run(&nobody, INGEST, at("more.wav"), NULL);
        ENDED(&e, 3, NULL, "lib");
        e = program_run(&nobody, "list", "-L", at("lib"), NULL);
        ENDED(&e, 0, "1 recording,", NULL);
        e = program_run(&nobody, "export", "-L", at("lib"), "-o", at("out"), NULL);
        ENDED(&e, 0, "good.srt", NULL);
    } else {
        EXPECT(3, NULL, "lib", INGEST, at("more.wav"));
        EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
    }
    chmod(at("lib"), 0755);
    check_whole(at("lib"));
}

/* Nothing can be written past some size: the spool does not fit, or the library itself. */
static void test_full_disk(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    wav("long.wav", NOISE, 60, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("good.wav"));
    const program_setting small = {.file_limit = 600000}, tiny = {.file_limit = 20000};
    ended e = program_run(&small, INGEST, at("long.wav"), NULL);
    CHECK(strstr(e.err, "long.wav") || strstr(e.err, "lib"), "%s", e.err);
    ENDED(&e, 1, NULL, NULL);
    e = program_run(&tiny, INGEST, "--again", at("good.wav"), NULL);
    CHECK(e.code == 1 || e.code == 3, "it ended with %d: %s", e.code, e.err);
    CHECK(*e.err != 0, "nothing was said");
    ended_done(&e);
    check_whole(at("lib"));
    EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
    check_nothing_left(at("lib"));
    EXPECT(0, "of sound", NULL, INGEST, at("long.wav"));
}

static void test_two_at_once(void)
{
    static const char *const outs[] = {"out0", "out1", "out2"}, *const errs[] = {"err0", "err1", "err2"};
    pid_t pid[3];
    int stored = 0, known = 0;

    setup();
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%d.wav", i);
        mkdir(at("many"), 0755);
        wav(name, NOISE, 3 + i, 16000, 1);
    }
    for (int i = 0; i < 3; i++) {
        const char *argv[] = {program_path(), INGEST, at("many"), NULL};
        pid[i] = program_start(&(program_setting){.out = at(outs[i]), .err = at(errs[i])}, argv);
    }
    for (int i = 0; i < 3; i++) {
        int code = program_finish(pid[i], NULL), s = -1, k = -1, f = -1;
        char *text = read_file(at(outs[i]), NULL), *said = read_file(at(errs[i]), NULL), *line = strstr(text, "4 files: ");
        CHECK(code == 0, "process %d ended with %d: %s", i, code, said);
        CHECK(line && sscanf(line, "4 files: %d stored, %d known, %d failed", &s, &k, &f) == 3 && f == 0, "%s", text);
        stored += s, known += k;
        free(text), free(said);
    }
    CHECK(stored == 4 && known == 8, "%d were computed and %d known, expected 4 and 8", stored, known);
    EXPECT(0, "4 recordings", NULL, "list", "-L", at("lib"));
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
}

static void test_interrupt(void)
{
    static const int number[] = {SIGINT, SIGTERM, SIGKILL};
    struct timespec wait = {.tv_nsec = 20000000};

    setup();
    wav("first.wav", NOISE, 1, 16000, 1);
    wav("long.wav", NOISE, 1800, 16000, 1);
    for (int k = 0; k < 3; k++) {
        char *text = NULL;
        const char *argv[] = {program_path(), INGEST, "--again", at("first.wav"), at("long.wav"), NULL};
        pid_t pid = program_start(NULL, argv);
        for (int i = 0; i < 3000; i++) { /* until the first file is stored, and a little longer */
            nanosleep(&wait, NULL);
            free(text);
            text = read_file(at("stdout"), NULL);
            if (strstr(text, "first.wav: ")) break;
        }
        for (int i = 0; i < 40; i++) nanosleep(&wait, NULL);
        kill(pid, number[k]);
        int code = program_finish(pid, NULL);
        char *said = read_file(at("stderr"), NULL);
        CHECK(code == (number[k] == SIGKILL ? 1000 + SIGKILL : 130), "it ended with %d: %s", code, said);
        CHECK(number[k] == SIGKILL || strstr(said, "the library is whole"), "%s", said);
        free(text), free(said);
        EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
        check_whole(at("lib"));
        if (number[k] != SIGKILL) check_nothing_left(at("lib"));
    }
    /* What the killed process left is swept by the next that writes. */
    EXPECT(0, "known", NULL, INGEST, at("first.wav"));
    check_nothing_left(at("lib"));
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"road", test_road},
        {"export", test_export},
        {"bad_library", test_bad_library},
        {"read_only_library", test_read_only_library},
        {"full_disk", test_full_disk},
        {"two_at_once", test_two_at_once},
        {"interrupt", test_interrupt},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
