/*
 * test_library.c - the library's folder and its other users: what is refused, full disks, writers that are killed, two
 * processes and many threads at once.
 */
#define _GNU_SOURCE
#include "library.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/claim.h"

/* ---- folders that are refused ---- */

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(p, 1, n, f) != n) CHECK(false, "%s cannot be written", path);
    if (f) fclose(f);
}

static void test_refused(void)
{
    const char *dir = in_folder("lib");
    struct stat st;
    es_store *s;
    char junk[8192];

    check_refused(dir, 0, ES_ENOTFOUND, "no library");
    check_refused(dir, ES_STORE_READ_ONLY, ES_ENOTFOUND, "no library");
    check_refused(dir, ES_STORE_READ_ONLY | ES_STORE_CREATE, ES_ENOTFOUND, "no library");
    CHECK(access(dir, F_OK) != 0, "a refusal made a folder");
    mkdir(dir, 0755);
    write_file(in_folder("lib/letter.txt"), "dear", 4);
    check_refused(dir, ES_STORE_CREATE, ES_ELIBRARY, "letter.txt");
    check_refused(in_folder("lib/letter.txt"), ES_STORE_CREATE, ES_ELIBRARY, "not a folder");
    unlink(in_folder("lib/letter.txt"));
    memset(junk, 'j', sizeof junk);
    write_file(in_folder("lib/data.mdb"), junk, sizeof junk);
    check_refused(dir, ES_STORE_CREATE, ES_ELIBRARY, "not a library");
    CHECK(access(in_folder("lib/lock.mdb"), F_OK) != 0, "a lock file was left there");
    unlink(in_folder("lib/data.mdb"));

    s = open_store(in_folder("made/on/the way"), ES_STORE_CREATE);
    if (!s) return;
    for (int i = 0; i < 20; i++) put(s, i, 20, "/x");
    es_store_close(s);
    CHECK(stat(in_folder("made/on/the way"), &st) == 0 && (st.st_mode & 077) == 0, "others may look into it");
    CHECK(stat(in_folder("made/on/the way/data.mdb"), &st) == 0);
    CHECK(truncate(in_folder("made/on/the way/data.mdb"), st.st_size / 2) == 0);
    check_refused(in_folder("made/on/the way"), 0, ES_ELIBRARY, "cut short");
    check_refused(in_folder("made/on/the way"), ES_STORE_READ_ONLY, ES_ELIBRARY, "cut short");
}

static void test_network(void)
{
    static const long network[] = {
        0x6969,     0x517B,     (long)0xFF534D42, (long)0xFE534D42, 0x65735546,
        0x01021997, 0x5346414F, 0x00C36400,       0x0BD00BD0,       (int)0xFF534D42 /* as a 32-bit long shows it */};
    static const long local[] = {
        0xEF53 /* ext4 */,        0x58465342 /* xfs */, (long)0x9123683E /* btrfs */, 0x01021994 /* tmpfs */,
        0x794C7630 /* overlay */, 0x2FC12FC1 /* zfs */, (long)0xF2F52010 /* f2fs */,  0};

    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        CHECK(es_store_is_network(network[i]), "%lx is let through", (unsigned long)network[i]);
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        CHECK(!es_store_is_network(local[i]), "%lx is refused", (unsigned long)local[i]);
}

/* ---- other processes ---- */

/* Runs f in a child; its exit status, or -signal. */
static int in_child(int (*f)(const char *dir), const char *dir)
{
    int status = 0;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) _exit(f(dir));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Without the rights of root, which ignores those of files. */
static int child_reads_only(const char *dir)
{
    es_store *s = NULL;
    es_result r;
    es_err err = {0}, put_err = {0};
    int rc;

    if (geteuid() == 0 && (setegid(65534) || seteuid(65534))) return 1;
    rc = es_store_open(&s, dir, ES_STORE_CREATE, &err);
    if (rc != ES_ELIBRARY || !strstr(err.text, "cannot be written") || !strstr(err.text, "still be read")) {
        printf("    %d %s\n", rc, err.text);
        return 2;
    }
    err = (es_err){0};
    if (es_store_open(&s, dir, ES_STORE_READ_ONLY, &err)) {
        printf("    %s\n", err.text);
        return 3;
    }
    rc = es_store_get(s, content_of(1), 0, &r, &err);
    es_result_done(&r);
    if (rc) return 4;
    r = make_result(2, 1, "/y");
    rc = es_store_put(s, &r, &put_err);
    es_result_done(&r);
    es_store_close(s);
    return rc == ES_ELIBRARY && strstr(put_err.text, "reading only") ? 0 : 5;
}

static int chmod_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    return chmod(path, flag == FTW_F ? 0444 : 0555);
}

static void test_read_only_folder(void)
{
    const char *dir = in_folder("lib");
    es_store *s = open_store(dir, ES_STORE_CREATE);

    if (!s) return;
    put(s, 1, 3, "/x");
    es_store_close(s);
    nftw(dir, chmod_one, 16, FTW_DEPTH | FTW_PHYS);
    chmod(es_test_folder(), 0755);
    CHECK_INT(in_child(child_reads_only, dir), 0);
    chmod(dir, 0755);
}

static int child_fills_disk(const char *dir)
{
    struct rlimit small = {.rlim_cur = 300000, .rlim_max = 300000};
    es_store *s = NULL;
    es_err err = {0};
    es_check c;
    int rc = 0, done = 0;

    signal(SIGXFSZ, SIG_IGN); /* as a full disk: write() fails, nothing else happens */
    if (setrlimit(RLIMIT_FSIZE, &small) || es_store_open(&s, dir, ES_STORE_CREATE, &err)) return 1;
    while (!rc && done < 1000) {
        es_result r = make_result(done, 50, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
        if (!rc) done++;
    }
    if (rc != ES_ELIBRARY || !strstr(err.text, "no room left") || done < 3) {
        printf("    after %d: %d %s\n", done, rc, err.text);
        return 2;
    }
    err = (es_err){0};
    if (es_store_check(s, &c, count_fault, NULL, &err) || c.faults || c.recordings != (uint64_t)done) return 3;
    if (es_store_backup(s, "/nonexistent/there", &err) == ES_OK || !strstr(err.text, "/nonexistent/there")) return 4;
    es_store_close(s);
    return 0;
}

static void test_disk_full(void)
{
    const char *dir = in_folder("lib");
    es_store *s;

    CHECK_INT(in_child(child_fills_disk, dir), 0);
    s = open_store(dir, 0);
    if (!s) return;
    check_whole(s);
    put(s, 2000, 100, "/y");
    check_whole(s);
    es_store_close(s);
}

/* On a disk of one megabyte that is really full: nothing more goes in, what is there stays and can be read, and when
 * there is a little room again it can be emptied. A new library is refused with a sentence instead of dying of SIGBUS.
 */
static int child_on_small_disk(const char *dir)
{
    char path[1024];
    es_store *s = NULL;
    es_err err = {0};
    es_check c;
    int rc = 0, done = 0;
    FILE *f;

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
        return 77;
    snprintf(path, sizeof path, "%s/filler", dir);
    f = fopen(path, "wb");
    for (int i = 0; f && i < 100000; i++) fputc('x', f);
    if (!f || fclose(f)) return 1;
    snprintf(path, sizeof path, "%s/lib", dir);
    if (es_store_open(&s, path, ES_STORE_CREATE, &err)) return 1;
    for (; !rc && done < 1000; done += !rc) {
        es_result r = make_result(done, 50, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
    }
    if (rc != ES_ELIBRARY || !strstr(err.text, "no room left") || done < 3) return 2;
    snprintf(path, sizeof path, "%s/rest", dir);
    f = fopen(path, "wb");
    while (f && fputc('x', f) != EOF && fflush(f) == 0) {}
    if (f) fclose(f);
    if (es_store_compact(s, NULL, NULL, NULL) == ES_OK) return 3;
    if (es_store_check(s, &c, count_fault, NULL, NULL) || c.faults || c.recordings != (uint64_t)done) return 4;
    es_store_close(s);
    snprintf(path, sizeof path, "%s/other", dir);
    err = (es_err){0};
    if (es_store_open(&s, path, ES_STORE_CREATE, &err) == ES_OK || !strstr(err.text, "room left")) return 5;
    snprintf(path, sizeof path, "%s/lib", dir);
    err = (es_err){0};
    if (es_store_open(&s, path, 0, &err)) return 6;
    snprintf(path, sizeof path, "%s/filler", dir); /* deleting, too, takes a few new pages before it frees others */
    unlink(path);
    for (int i = 0; i < done; i++)
        if (es_store_remove(s, content_of(i), -1, &err)) return 7;
    if (es_store_check(s, &c, count_fault, NULL, NULL) || c.faults || c.recordings != 0) return 8;
    es_store_close(s);
    return 0;
}

static void test_small_disk(void)
{
    const char *dir = in_folder("disk");
    int status;

    CHECK(mkdir(dir, 0755) == 0);
    status = in_child(child_on_small_disk, dir);
    if (status == 77) printf("    no right to mount a small disk here; disk_full stands in for it\n");
    else CHECK_INT(status, 0);
}

/* Writes without end: results with ever other seeds, some replaced, some removed. A byte to `ready` after the first. */
static int child_writes(const char *dir, int ready)
{
    es_store *s = NULL;

    if (es_store_open(&s, dir, ES_STORE_CREATE, NULL)) return 1;
    for (int i = 0;; i++) {
        es_result r = make_result(i % 7, 5 + i % 11, "/x");
        if (es_store_put(s, &r, NULL) || (i == 0 && write(ready, "", 1) != 1)) return 2;
        if (i % 5 == 4 && es_store_remove(s, content_of((i - 2) % 7), -1, NULL) == ES_ELIBRARY) return 3;
        es_result_done(&r);
    }
}

/* The same, compacting in between. */
static int child_compacts(const char *dir, int ready)
{
    es_store *s = NULL;

    if (es_store_open(&s, dir, ES_STORE_CREATE, NULL)) return 1;
    for (int i = getpid();; i++) {
        es_result r = make_result(i % 7, 5 + i % 11, "/x");
        if (es_store_put(s, &r, NULL) || write(ready, "", 1) != 1 || es_store_compact(s, NULL, NULL, NULL)) return 2;
        es_result_done(&r);
    }
}

/* Twenty times: a child works and is killed at some moment, which every other time is after its first result; the
 * library is whole, and the next one goes on with it. */
static void kill_rounds(int (*child)(const char *dir, int ready))
{
    const char *dir = in_folder("lib");
    es_noise noise = {.state = 20};
    uint64_t most = 0;

    for (int round = 0; round < 20; round++) {
        struct timespec pause = {.tv_nsec = 5000000 + (long)(es_noise_uniform(&noise) * 60e6)};
        es_store *s;
        es_check c;
        es_err err = {0};
        int status, ends[2];
        char byte;
        CHECK(pipe(ends) == 0);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) _exit(child(dir, ends[1]));
        close(ends[1]);
        if (round % 2) CHECK_INT(read(ends[0], &byte, 1), 1);
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        close(ends[0]);
        CHECK(WIFSIGNALED(status), "the writer ended by itself with %d", WEXITSTATUS(status));
        s = open_store(dir, ES_STORE_CREATE);
        if (!s) return;
        CHECK(es_store_check(s, &c, count_fault, NULL, &err) == ES_OK, "%s", err.text);
        CHECK_INT(c.faults, 0);
        if (c.recordings > most) most = c.recordings;
        es_store_close(s);
    }
    CHECK(most > 0, "no writer got anything done");
}

static void test_killed_writer(void)
{
    kill_rounds(child_writes);
}

static void test_killed_compact(void)
{
    kill_rounds(child_compacts);
}

static int child_writes_evens(const char *dir)
{
    es_store *s = NULL;
    es_err err = {0};
    int rc = es_store_open(&s, dir, ES_STORE_CREATE, &err);

    for (int i = 0; !rc && i < 40; i += 2) {
        es_result r = make_result(i, 5, "/x");
        rc = es_store_put(s, &r, &err);
        es_result_done(&r);
    }
    if (rc) printf("    %s\n", err.text);
    es_store_close(s);
    return rc ? 1 : 0;
}

static void test_two_processes(void)
{
    const char *dir = in_folder("lib");
    es_store *s;
    es_check c;
    int status = -1;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(child_writes_evens(dir));
    s = open_store(dir, ES_STORE_CREATE);
    if (!s) return;
    for (int i = 1; i < 40; i += 2) {
        es_result back;
        put(s, i, 5, "/x");
        CHECK_INT(es_store_get(s, content_of(i), 0, &back, NULL), ES_OK);
        es_result_done(&back);
    }
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, NULL), ES_OK);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 40);
    es_store_close(s);
}

/* A child with the library open, which says so through a pipe and waits to be killed. */
static pid_t start_holder(const char *dir)
{
    int ends[2];
    char c = 0;
    pid_t pid;

    if (pipe(ends)) return -1;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        es_store *s = NULL;
        c = es_store_open(&s, dir, ES_STORE_CREATE, NULL) == ES_OK ? 'y' : 'n';
        if (c == 'y') {
            char path[1024];
            snprintf(path, sizeof path, "%s/spool", es_store_tmp(s));
            FILE *f = fopen(path, "wb");
            if (f) fputs("left over", f), fclose(f);
        }
        if (write(ends[1], &c, 1) == 1) pause();
        _exit(0);
    }
    close(ends[1]);
    CHECK(read(ends[0], &c, 1) == 1 && c == 'y', "the other process cannot open the library");
    close(ends[0]);
    return pid;
}

static int entries_of(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static void test_busy_and_sweep(void)
{
    const char *dir = in_folder("lib"), *tmp = in_folder("lib/tmp");
    pid_t other = start_holder(dir);
    es_store *s = open_store(dir, ES_STORE_CREATE);
    es_err err = {0};

    if (!s || other < 0) return;
    put(s, 1, 5, "/x");
    CHECK_INT(entries_of(tmp), 3); /* lock, his and ours: the living are not swept */
    CHECK_INT(es_store_compact(s, NULL, NULL, &err), ES_EBUSY);
    CHECK(strstr(err.text, "another process"), "%s", err.text);
    put(s, 2, 5, "/x");
    check_whole(s);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    err = (es_err){0};
    CHECK(es_store_compact(s, NULL, NULL, &err) == ES_OK, "%s", err.text);
    check_whole(s);
    CHECK_INT(entries_of(es_store_tmp(s)), 1);
    es_store_close(s);
    s = open_store(dir, 0);
    if (!s) return;
    CHECK_INT(entries_of(tmp), 2);
    es_store_close(s);
    CHECK_INT(entries_of(tmp), 1);
}

#ifndef ES_UNDER_ASAN /* a sanitizer needs more addresses than are left here */
/* Few addresses: the map shrinks until it fits, and the library works. */
static void test_few_addresses(void)
{
    struct rlimit old, few;
    es_store *s;

    getrlimit(RLIMIT_AS, &old);
    few = old;
    few.rlim_cur = 600u << 20;
    CHECK(setrlimit(RLIMIT_AS, &few) == 0);
    s = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (s) {
        put(s, 1, 100, "/x");
        check_whole(s);
    }
    es_store_close(s);
    setrlimit(RLIMIT_AS, &old);
}
#endif

/* ---- damaged files ---- */

static int visit_and_get(void *user, const es_entry *e)
{
    es_store *s = user;
    es_result r;

    if (es_store_get(s, e->media.content, e->media.track, &r, NULL) == ES_OK) es_result_done(&r);
    return 0;
}

/* Opens what the parent has damaged and uses it if it is said to be whole. 0: whole, 3: refused or found damaged. */
static int child_uses_damaged(const char *dir)
{
    es_store *s = NULL;
    es_err err = {0};
    es_check c;
    bool whole;

    if (es_store_open(&s, dir, 0, &err)) return err.text[0] ? 3 : 1;
    if (es_store_check(s, &c, NULL, NULL, &err)) return 2;
    whole = c.faults == 0;
    if (whole) {
        es_result r = make_result(99, 30, "/new");
        es_store_list(s, visit_and_get, s, NULL);
        if (es_store_put(s, &r, &err) || es_store_remove(s, content_of(3), -1, NULL) == ES_ELIBRARY) return 4;
        es_result_done(&r);
        es_store_check(s, &c, NULL, NULL, NULL);
        if (c.faults) return 5;
    } else if (es_store_compact(s, NULL, NULL, NULL) == ES_OK && es_store_check(s, &c, NULL, NULL, NULL) == ES_OK &&
               c.faults == 0) {
        return 6; /* a copy of records that are damaged cannot be whole */
    }
    es_store_close(s);
    return whole ? 0 : 3;
}

/* Pages of noise, of nothing, of other pages; changed bytes in the heads of pages. None of it may end the process. */
static void test_damaged(void)
{
    const char *dir = in_folder("lib"), *file = in_folder("lib/data.mdb");
    es_noise noise = {.state = 5};
    es_store *s = open_store(dir, ES_STORE_CREATE);
    uint8_t *bytes, *copy;
    struct stat st;
    FILE *f;
    int whole = 0, found = 0;

    if (!s) return;
    for (int i = 0; i < 30; i++) {
        es_result r = make_result(i, 6, "/x");
        char text[9000]; /* more than a page holds: it goes into overflow pages */
        memset(text, 'a' + i % 26, sizeof text);
        es_segment segment = {.start_ms = 1};
        es_transcript_add_segment(&r.transcript, &segment, text, sizeof text, NULL, 0);
        CHECK_INT(es_store_put(s, &r, NULL), ES_OK);
        es_result_done(&r);
        if (i % 4 == 3) es_store_remove(s, content_of(i - 2), -1, NULL); /* pages are freed, lists of them kept */
    }
    es_store_close(s);
    CHECK(stat(file, &st) == 0 && st.st_size > 200000);
    bytes = malloc((size_t)st.st_size), copy = malloc((size_t)st.st_size);
    f = fopen(file, "rb");
    CHECK(f && fread(bytes, 1, (size_t)st.st_size, f) == (size_t)st.st_size);
    if (f) fclose(f);
    for (int round = 0; round < 80; round++) {
        size_t pages = (size_t)st.st_size / 4096, at = es_noise_bits(&noise) % pages * 4096;
        size_t other = es_noise_bits(&noise) % pages * 4096;
        int status;
        memcpy(copy, bytes, (size_t)st.st_size);
        switch (round % 4) {
        case 0:
            for (int i = 0; i < 4096; i++) copy[at + (size_t)i] = (uint8_t)es_noise_bits(&noise);
            break;
        case 1: memset(copy + at, 0, 4096); break;
        case 2: memcpy(copy + at, bytes + other, 4096); break;
        default: copy[at + es_noise_bits(&noise) % 64] ^= (uint8_t)(1 + es_noise_bits(&noise) % 255); break;
        }
        write_file(file, copy, (size_t)st.st_size);
        status = in_child(child_uses_damaged, dir);
        CHECK(status == 0 || status == 3, "round %d, page %zu: %d", round, at / 4096, status);
        whole += status == 0;
        found += status == 3;
    }
    CHECK(whole > 5 && found > 15, "%d taken for whole, %d found", whole, found);
    free(bytes);
    free(copy);
}

/* ---- claims ---- */

static int child_claims(const char *dir)
{
    es_claims *c = NULL;
    es_err err = {0};
    int rc = es_claims_open(&c, dir, &err);

    if (rc || es_claims_take(c, content_of(1), &err) != ES_EBUSY || !strstr(err.text, "another process")) return 1;
    if (es_claims_take(c, content_of(2), NULL)) return 2;
    _exit(0); /* dies with its claim */
}

static void test_claims(void)
{
    const char *dir = es_test_folder();
    es_claims *c = NULL;

    CHECK_INT(es_claims_open(&c, dir, NULL), ES_OK);
    if (!c) return;
    CHECK_INT(es_claims_take(c, content_of(1), NULL), ES_OK);
    CHECK_INT(in_child(child_claims, dir), 0);
    CHECK_INT(es_claims_take(c, content_of(2), NULL), ES_OK);
    es_claims_drop(c, content_of(1));
    es_claims_close(c);
}

/* ---- threads ---- */

typedef struct worker {
    es_store *s;
    int seed;
    bool failed;
    char why[256];
} worker;

static void *work(void *user)
{
    worker *w = user;
    es_err err = {0};

    for (int i = 0; i < 8 && !w->failed; i++) {
        es_result r = make_result(w->seed + 10 * i, 4 + i, "/x"), back = {0};
        w->failed = es_store_put(w->s, &r, &err) || es_store_get(w->s, r.media.content, 0, &back, &err) ||
                    back.transcript.n_segments != r.transcript.n_segments ||
                    back.transcript.n_text != r.transcript.n_text ||
                    memcmp(back.transcript.text, r.transcript.text, r.transcript.n_text);
        es_result_done(&r);
        es_result_done(&back);
    }
    snprintf(w->why, sizeof w->why, "%.250s", err.text);
    return NULL;
}

/* Four threads write and read while a fifth compacts under them. */
static void test_threads(void)
{
    enum { N = 4 };
    es_store *s = open_store(in_folder("lib"), ES_STORE_CREATE);
    pthread_t threads[N];
    worker workers[N];
    es_err err = {0};
    es_check c;

    if (!s) return;
    for (int i = 0; i < N; i++) {
        workers[i] = (worker){.s = s, .seed = i};
        CHECK_INT(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 5; i++) CHECK(es_store_compact(s, NULL, NULL, &err) == ES_OK, "%s", err.text);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        CHECK(!workers[i].failed, "thread %d: %s", i, workers[i].why);
    }
    CHECK_INT(es_store_check(s, &c, count_fault, NULL, &err), ES_OK);
    CHECK_INT(c.faults, 0);
    CHECK_INT(c.recordings, 8 * N);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"refused", test_refused},
        {"network", test_network},
        {"read_only_folder", test_read_only_folder},
        {"disk_full", test_disk_full},
        {"small_disk", test_small_disk},
        {"killed_writer", test_killed_writer},
        {"killed_compact", test_killed_compact},
        {"two_processes", test_two_processes},
        {"busy_and_sweep", test_busy_and_sweep},
#ifndef ES_UNDER_ASAN
        {"few_addresses", test_few_addresses},
#endif
        {"damaged", test_damaged},
        {"claims", test_claims},
        {"threads", test_threads},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
