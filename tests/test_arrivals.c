/*
 * test_arrivals.c - which files of a folder are complete, and when: each given once, none while it is on its way.
 *
 * Nothing here waits for a time: it is waited for a file, and that another one was not given is looked at when a file that came
 * later was.
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "pipeline/arrivals.h"

typedef struct taken {
    char *path[64];
    int n;
} taken;

static void take(es_arrivals *a, taken *t)
{
    const char *const *paths = NULL;
    size_t n = 0;
    es_err err = {0};

    CHECK(es_arrivals_take(a, &paths, &n, &err) == ES_OK, "%s", err.text);
    for (size_t i = 0; i < n && t->n < 64; i++) t->path[t->n++] = strdup(paths[i]);
}

static int times(const taken *t, const char *name)
{
    int n = 0;

    for (int i = 0; i < t->n; i++) n += !strcmp(t->path[i], at(name));
    return n;
}

/* Until the file was given so often; a minute is for machines that are busy. */
static void until(es_arrivals *a, taken *t, const char *name, int count)
{
    struct timespec now, began;

    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        take(a, t);
        if (times(t, name) >= count) break;
        es_arrivals_wait(a, 50);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - began.tv_sec < 60);
    CHECK(times(t, name) == count, "%s was given %d times, not %d", name, times(t, name), count);
}

static void done(es_arrivals *a, taken *t)
{
    es_arrivals_close(a);
    for (int i = 0; i < t->n; i++) free(t->path[i]);
    *t = (taken){0};
}

static es_arrivals *open_in(bool poll, double settle)
{
    const es_arrivals_options o = {.settle_seconds = settle, .look_seconds = 0.05, .poll = poll};
    const char *folder = at("in");
    es_arrivals *a = NULL;
    es_err err = {0};

    CHECK(es_arrivals_open(&a, &folder, 1, &o, &err) == ES_OK, "%s", err.text);
    return a;
}

static void empty_in(void)
{
    char line[9000];

    snprintf(line, sizeof line, "rm -rf '%s' && mkdir '%s'", at("in"), at("in"));
    CHECK(system(line) == 0, "no folder");
}

/* Found, written, moved here, in new folders; whether the system tells or not. */
static void comes(bool poll)
{
    taken t = {0};

    empty_in();
    mkdir(at("in/old"), 0755);
    write_file(at("in/old/first.wav"), "x", 1);
    es_arrivals *a = open_in(poll, 0.05);
    if (!a) return;
    until(a, &t, "in/old/first.wav", 1);
    write_file(at("in/second.wav"), "xy", 2);
    until(a, &t, "in/second.wav", 1);
    write_file(at("third.wav"), "xyz", 3);
    CHECK(rename(at("third.wav"), at("in/third.wav")) == 0, "cannot move a file");
    until(a, &t, "in/third.wav", 1);
    mkdir(at("in/new"), 0755);
    mkdir(at("in/new/deep"), 0755);
    write_file(at("in/new/deep/fourth.wav"), "xyzw", 4);
    until(a, &t, "in/new/deep/fourth.wav", 1);
    mkdir(at("whole"), 0755);
    write_file(at("whole/fifth.wav"), "12345", 5);
    CHECK(rename(at("whole"), at("in/whole")) == 0, "cannot move a folder");
    until(a, &t, "in/whole/fifth.wav", 1);
    /* What it is called now is new; what its folder was called is gone. */
    CHECK(rename(at("in/whole"), at("in/renamed")) == 0, "cannot move a folder");
    until(a, &t, "in/renamed/fifth.wav", 1);
    write_file(at("in/renamed/sixth.wav"), "123456", 6);
    until(a, &t, "in/renamed/sixth.wav", 1);
    /* Once more when it has changed, and never without. */
    write_file(at("in/second.wav"), "other", 5);
    until(a, &t, "in/second.wav", 2);
    CHECK_INT(t.n, 8);
    done(a, &t);
}

static void test_told(void)
{
    comes(false);
}

static void test_looked(void)
{
    comes(true);
}

/* What is on its way is not given, whatever comes meanwhile, and is given when it has arrived. */
static void on_its_way(bool poll)
{
    static const char *const never[] = {"in/.hidden.wav",     "in/a.part.wav",   "in/b.tmp.mp4", "in/c.wav.part",
                                        "in/d.mkv.crdownload", "in/notes.txt", "in/empty.wav"};
    enum { NEVER = sizeof never / sizeof never[0] };
    taken t = {0};

    empty_in();
    es_arrivals *a = open_in(poll, 0.05);
    if (!a) return;
    for (int i = 0; i < NEVER; i++) write_file(at(never[i]), "part", strcmp(never[i], "in/empty.wav") ? 4 : 0);
    write_file(at("in/c.wav"), "not yet whole", 13); /* beside c.wav.part */
    write_file(at("in/later.wav"), "later", 5);
    until(a, &t, "in/later.wav", 1);
    take(a, &t);
    for (int i = 0; i < NEVER; i++) CHECK_INT(times(&t, never[i]), 0);
    CHECK_INT(times(&t, "in/c.wav"), 0);
    CHECK(rename(at("in/c.wav.part"), at("in/c.wav")) == 0 && rename(at("in/a.part.wav"), at("in/a.wav")) == 0, "cannot move");
    until(a, &t, "in/c.wav", 1);
    until(a, &t, "in/a.wav", 1);
    CHECK_INT(t.n, 3);
    done(a, &t);
}

static void test_on_its_way(void)
{
    on_its_way(false);
    on_its_way(true);
}

/* Somebody has it open and writes now and then: it is not complete, however long it rests. */
static void test_open(void)
{
    taken t = {0};

    empty_in();
    es_arrivals *a = open_in(false, 0.01);
    if (!a) return;
    if (!es_arrivals_is_told(a)) {
        es_test_skip("inotify");
        done(a, &t);
        return;
    }
    FILE *f = fopen(at("in/slow.wav"), "wb");
    CHECK(f, "cannot write");
    for (int i = 0; f && i < 3; i++) {
        char name[32];
        CHECK(fwrite("bytes", 1, 5, f) == 5 && fflush(f) == 0, "cannot write");
        snprintf(name, sizeof name, "in/other %d.wav", i);
        write_file(at(name), "other", 5);
        until(a, &t, name, 1); /* which takes longer than a file has to rest */
        CHECK_INT(times(&t, "in/slow.wav"), 0);
    }
    if (f) fclose(f);
    until(a, &t, "in/slow.wav", 1);
    CHECK_INT(t.n, 4);
    done(a, &t);
}

static void test_refused(void)
{
    const char *paths[] = {at("nowhere"), at("file.wav"), at("in")};
    es_arrivals *a = NULL;
    es_err err = {0};

    empty_in();
    write_file(at("file.wav"), "x", 1);
    CHECK_INT(es_arrivals_open(&a, &paths[0], 1, NULL, &err), ES_ENOTFOUND);
    CHECK(strstr(err.text, "nowhere: no such folder"), "%s", err.text);
    err = (es_err){0};
    CHECK_INT(es_arrivals_open(&a, &paths[1], 1, NULL, &err), ES_EARG);
    CHECK(strstr(err.text, "only folders"), "%s", err.text);
    err = (es_err){0};
    CHECK_INT(es_arrivals_open(&a, paths, 0, NULL, &err), ES_EARG);
    CHECK(!a, "something was opened");
    es_arrivals_close(NULL);
}

/* Many files, the folder given twice and a link to itself in it: each once. */
static void test_many(void)
{
    const es_arrivals_options o = {.settle_seconds = 0.05};
    char in[4400]; /* longer than at() keeps it */
    snprintf(in, sizeof in, "%s", at("in"));
    const char *folders[] = {in, in};
    es_arrivals *a = NULL;
    taken t = {0};
    es_err err = {0};
    char name[32];
    size_t all = 0, n;
    const char *const *paths;

    empty_in();
    CHECK(symlink(".", at("in/loop")) == 0, "no link");
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "in/%d.wav", i);
        write_file(at(name), "x", 1);
    }
    CHECK(es_arrivals_open(&a, folders, 2, &o, &err) == ES_OK, "%s", err.text);
    for (int round = 0; a && round < 600 && all < 400; round++) {
        CHECK(es_arrivals_take(a, &paths, &n, &err) == ES_OK, "%s", err.text);
        if (all < 300 && all + n >= 300)
            for (int i = 300; i < 400; i++) {
                snprintf(name, sizeof name, "in/%d.wav", i);
                write_file(at(name), "x", 1);
            }
        all += n;
        es_arrivals_wait(a, 100);
    }
    CHECK_INT(all, 400);
    if (a) {
        take(a, &t);
        CHECK_INT(t.n, 0);
    }
    done(a, &t);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"told", test_told},       {"looked", test_looked}, {"on_its_way", test_on_its_way}, {"open", test_open},
        {"refused", test_refused}, {"many", test_many},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
