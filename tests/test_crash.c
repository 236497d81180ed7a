/*
 * test_crash.c - `earshot ingest` is ended at any of its writes and syncs, by a kill or a full disk; nothing is lost.
 *
 * Three recordings go through a seeded model of two layers into a library, by the program that users run. crash_shim.c,
 * preloaded into it, numbers the operations on the library's files and ends the process at the one that is asked for, or
 * lets the disk be full from there on. Whatever happened, afterwards
 *
 *     the library opens, `check` finds it whole, and nothing of the dead process is left in tmp
 *     it holds whole recordings only: every record of one that is there, none of one that is not
 *     the next ingest makes it the library of a run that nobody disturbed, record by record, but for the table of times
 *
 * By default a share of the operations is tried, so that this takes half a minute on one core; with ES_TEST_SOAK set, as
 * `tools/soak kill` does it, all of them, whole and torn, and hundreds of kills at random times.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash_shim.h"
#include "seeded.h"
#include "store/store.h"
#include "store/tables.h"
#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { FILES = 3 };
static const char *const names[FILES] = {"a.wav", "b.wav", "c.wav"};

static char folder[PATH_MAX]; /* of the running test, as realpath() has it */

static const char *at(const char *name)
{
    static char ring[8][PATH_MAX + 300];
    static int i;

    i = (i + 1) % 8;
    snprintf(ring[i], sizeof ring[i], "%s/%s", folder, name);
    return ring[i];
}

static bool soak(void)
{
    return getenv("ES_TEST_SOAK") != NULL;
}

/* ---- recordings and a model ---- */

static void put(FILE *f, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) fputc((int)(v >> 8 * i & 0xFF), f);
}

/* 16 kHz, mono, 16 bits: noise, in which the model hears something. */
static void write_wav(const char *path, uint64_t seed, uint32_t seconds)
{
    es_noise noise = {seed};
    FILE *f = fopen(path, "wb");
    uint32_t n = seconds * 16000;

    CHECK(f, "cannot write %s", path);
    if (!f) return;
    fputs("RIFF", f), put(f, 36 + 2 * n, 4), fputs("WAVEfmt ", f), put(f, 16, 4), put(f, 1, 2), put(f, 1, 2);
    put(f, 16000, 4), put(f, 32000, 4), put(f, 2, 2), put(f, 16, 2), fputs("data", f), put(f, 2 * n, 4);
    for (uint32_t i = 0; i < n; i++) put(f, (uint32_t)lrint(es_noise_normal(&noise) * 3000) & 0xFFFF, 2);
    fclose(f);
}

static bool setup(void)
{
    const es_seeded_whisper small = {
        .seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true, .alignment = "[[1, 0]]", .name = "small"};

    CHECK(realpath(es_test_folder(), folder), "no folder");
    CHECK(es_seeded_whisper_write(at("small.pack"), &small) == 0, "cannot write a pack");
    for (unsigned i = 0; i < FILES; i++) write_wav(at(names[i]), i + 1, 2 + i);
#ifdef SANITIZED
    es_test_skip("a preloaded module beside sanitizers");
    return false;
#else
    return true;
#endif
}

/* ---- the program ---- */

typedef struct how {
    long crash_at, full_at;
    bool tear, log, backwards; /* backwards: the last recording first */
} how;

/* Begins `earshot ingest` on the library; what it says goes to the file `out`. */
static pid_t begin(const char *library, how h)
{
    pid_t pid = fork();

    if (pid) return pid;
    const char *under = at(library), *words[24] = {getenv("EARSHOT") ? getenv("EARSHOT") : ES_BINARY_DIR "/earshot",
                                                   "ingest", "-q", "--threads", "1", "--device", "cpu", "--language", "en",
                                                   "--temperature", "0", "--models", at("small.pack"), "-L", under};
    char n[32];
    int count = 15, fd = open(at("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; i < FILES; i++) words[count++] = at(names[h.backwards ? FILES - 1 - i : i]);
    dup2(fd, 1), dup2(fd, 2);
    setenv("LD_PRELOAD", ES_CRASH_SHIM, 1);
    setenv("ES_SHIM_UNDER", under, 1);
    if (h.crash_at) snprintf(n, sizeof n, "%ld", h.crash_at), setenv("ES_SHIM_CRASH_AT", n, 1);
    if (h.full_at) snprintf(n, sizeof n, "%ld", h.full_at), setenv("ES_SHIM_FULL_AT", n, 1);
    if (h.tear) setenv("ES_SHIM_TEAR", "1", 1);
    if (h.log) setenv("ES_SHIM_LOG", at("log"), 1);
    execv(words[0], (char *const *)(uintptr_t)words);
    _exit(127);
}

/* The exit code, or 1000 and the number of the signal. */
static int end(pid_t pid)
{
    int status = 0;

    if (pid < 0 || waitpid(pid, &status, 0) < 0) return 2000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static const char *said(void)
{
    static char text[4000];
    FILE *f = fopen(at("out"), "rb");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

    text[n] = 0;
    if (f) fclose(f);
    return text;
}

static void remove_library(const char *library)
{
    char line[PATH_MAX + 400];

    snprintf(line, sizeof line, "rm -rf '%s'", at(library));
    CHECK(system(line) == 0, "cannot remove %s", library);
}

/* ---- what a library holds ---- */

typedef struct row {
    int table;
    size_t n_key, n_value;
    uint8_t *bytes; /* the key, then the value */
} row;

typedef struct rows {
    row *row;
    size_t n, room;
} rows;

static void rows_done(rows *r)
{
    for (size_t i = 0; i < r->n; i++) free(r->row[i].bytes);
    free(r->row);
    *r = (rows){0};
}

static void rows_add(rows *r, int table, es_bytes key, es_bytes value)
{
    if (r->n == r->room) {
        r->room = r->room * 2 + 64;
        r->row = realloc(r->row, r->room * sizeof *r->row);
        if (!r->row) abort();
    }
    uint8_t *bytes = malloc(key.n + value.n + 1);
    if (!bytes) abort();
    memcpy(bytes, key.p, key.n);
    if (value.n) memcpy(bytes + key.n, value.p, value.n);
    r->row[r->n++] = (row){table, key.n, value.n, bytes};
}

/* All records but those of times, in the order of tables and keys. A library that is not there has none. */
static void rows_read(rows *r, const char *library)
{
    es_tables *t = NULL;
    es_txn *x = NULL;
    es_err err = {0};
    char data[PATH_MAX + 400];

    *r = (rows){0};
    snprintf(data, sizeof data, "%s/data.mdb", at(library));
    if (access(data, F_OK)) return;
    int rc = es_tables_open(&t, at(library), ES_TABLES_READ_ONLY, &err);
    if (!rc) rc = es_txn_begin(&x, t, false, &err);
    for (int table = 0; !rc && table < ES_N_TABLES; table++) {
        es_cursor *c = NULL;
        es_bytes key, value;
        if (table == ES_TABLE_TIMES) continue;
        rc = es_cursor_open(&c, x, table, &err);
        if (rc) break;
        for (rc = es_cursor_seek(c, (es_bytes){"", 0}, &key, &value, &err); !rc; rc = es_cursor_next(c, &key, &value, &err))
            rows_add(r, table, key, value);
        es_cursor_close(c);
        if (rc == ES_ENOTFOUND) rc = 0;
    }
    CHECK(!rc, "%s: %s", library, err.text);
    es_txn_drop(x);
    es_tables_close(t);
}

static bool same_key(const row *a, const row *b)
{
    return a->table == b->table && a->n_key == b->n_key && !memcmp(a->bytes, b->bytes, a->n_key);
}

static bool same(const row *a, const row *b)
{
    return same_key(a, b) && a->n_value == b->n_value && !memcmp(a->bytes, b->bytes, a->n_key + a->n_value);
}

/* Records of any table whose key names the recording, by the 8 bytes of its content's hash. */
static size_t rows_of(const rows *r, const uint8_t *id)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++) n += memmem(r->row[i].bytes, r->row[i].n_key, id, 8) != NULL;
    return n;
}

static bool has_recording(const rows *r, const uint8_t *id)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->row[i].table == ES_TABLE_RECORDINGS && !memcmp(r->row[i].bytes, id, 8)) return true;
    return false;
}

static void check_equal(const rows *have, const rows *want, const char *when)
{
    CHECK(have->n == want->n, "%s: %zu records, undisturbed %zu", when, have->n, want->n);
    for (size_t i = 0; i < have->n && i < want->n; i++)
        if (!same(&have->row[i], &want->row[i])) {
            CHECK(false, "%s: record %zu, of the table %s, is not that of an undisturbed run", when, i,
                  es_table_name(have->row[i].table));
            return;
        }
}

/* Whole recordings only, each as it will be in the end; how many there are. */
static int check_whole(const rows *have, const rows *want, const char *when)
{
    int n = 0;

    for (size_t i = 0; i < want->n; i++) {
        const row *r = &want->row[i];
        if (r->table != ES_TABLE_RECORDINGS) continue;
        bool there = has_recording(have, r->bytes);
        size_t some = rows_of(have, r->bytes), all = rows_of(want, r->bytes);
        n += there;
        CHECK(some == (there ? all : 0), "%s: %zu of %zu records of a recording that is %s", when, some, all,
              there ? "there" : "not there");
    }
    for (size_t i = 0, at_row = 0; i < have->n; i++) {
        const row *r = &have->row[i];
        if (r->table == ES_TABLE_META) continue; /* totals of what is there: `check` compares them */
        while (at_row < want->n && !same_key(&want->row[at_row], r)) at_row++;
        CHECK(at_row < want->n && same(&want->row[at_row], r), "%s: a record of the table %s is none of an undisturbed run", when,
              es_table_name(r->table));
        if (at_row == want->n) break;
    }
    return n;
}

static void on_fault(void *user, const char *sentence)
{
    CHECK(false, "%s: %s", (const char *)user, sentence);
}

/* Opens it as the next user does and checks it. */
static void check_opens(const char *library, const char *when)
{
    es_store *s = NULL;
    es_check found;
    es_err err = {0};
    char path[PATH_MAX + 400], name[200];

    if (access(at(library), F_OK)) return; /* it was ended before there was one */
    int rc = es_store_open(&s, at(library), ES_STORE_CREATE, &err);
    snprintf(name, sizeof name, "%s", when);
    if (!rc) rc = es_store_check(s, &found, on_fault, name, &err);
    CHECK(!rc, "%s: %s", when, err.text);
    es_store_close(s);
    snprintf(path, sizeof path, "%s/tmp", at(library));
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        CHECK(e->d_name[0] == '.' || !strcmp(e->d_name, "lock"), "%s: tmp still holds %s", when, e->d_name);
    if (d) closedir(d);
}

/* What an undisturbed run makes, and the operations it takes. */
static bool undisturbed(rows *want, long *operations)
{
    FILE *f;
    es_shim_record r;

    remove_library("whole");
    int code = end(begin("whole", (how){.log = true}));
    CHECK(code == 0, "an undisturbed run ends with %d: %s", code, said());
    rows_read(want, "whole");
    *operations = 0;
    f = fopen(at("log"), "rb");
    for (; f && fread(&r, sizeof r, 1, f) == 1; ++*operations) {
        bool has_data = r.kind == ES_SHIM_WRITE || r.kind == ES_SHIM_WRITE_THROUGH || r.kind == ES_SHIM_LINK || r.kind == ES_SHIM_RENAME;
        if (fseek(f, r.name + (has_data ? (long)r.bytes : 0), SEEK_CUR)) break;
    }
    if (f) fclose(f);
    int stored = 0;
    for (size_t i = 0; i < want->n; i++) stored += want->row[i].table == ES_TABLE_RECORDINGS;
    CHECK(stored == FILES && *operations > 30, "%d recordings, %ld operations: %s", stored, *operations, said());
    return code == 0 && stored == FILES;
}

/* After whatever happened: opens, whole, and the next run completes it. How many recordings were there before that. */
static int check_and_resume(const rows *want, const char *when)
{
    rows have;
    int n, code;

    check_opens("lib", when);
    rows_read(&have, "lib");
    n = check_whole(&have, want, when);
    rows_done(&have);
    code = end(begin("lib", (how){0}));
    CHECK(code == 0, "%s: the next run ends with %d: %s", when, code, said());
    rows_read(&have, "lib");
    check_equal(&have, want, when);
    rows_done(&have);
    check_opens("lib", when);
    return n;
}

/* ---- the tests ---- */

/* A kill in place of operation n; that a write of many pages is done by half is tried at every other one. */
static void killed_at_every_operation(void)
{
    rows want = {0};
    long all = 0, stride = soak() ? 1 : 3, tried = 0, torn = 0, seen[FILES + 1] = {0};

    if (!setup() || !undisturbed(&want, &all)) return;
    for (int pass = 0; pass < (soak() ? 2 : 1); pass++)
        for (long n = 1; n <= all; n += stride, tried++) {
            char when[100];
            bool tear = soak() ? pass : tried & 1;
            torn += tear;
            snprintf(when, sizeof when, "killed at operation %ld of %ld%s", n, all, tear ? ", in its middle" : "");
            remove_library("lib");
            int code = end(begin("lib", (how){.crash_at = n, .tear = tear}));
            CHECK(code == 1000 + SIGKILL, "%s: it ended with %d: %s", when, code, said());
            seen[check_and_resume(&want, when)]++;
        }
    printf("    %ld of %ld operations, %ld of them as the middle of a write; recordings kept: none %ld, one %ld, two %ld, all %ld\n",
           tried, all, torn, seen[0], seen[1], seen[2], seen[3]);
    CHECK(seen[0] && seen[1] && seen[2] && seen[3], "a number of recordings was never met");
    rows_done(&want);
}

/* The disk is full from operation n on: the program says so and ends by itself; with room again, the next run goes on. */
static void full_disk(void)
{
    rows want = {0};
    long all = 0, tried = 0, seen[FILES + 1] = {0}, complete = 0;

    if (!setup() || !undisturbed(&want, &all)) return;
    long times = soak() ? all : 12;
    for (long i = 0; i < times; i++, tried++) {
        char when[100];
        long n = 1 + i * (all - 1) / (times - 1);
        snprintf(when, sizeof when, "the disk full at operation %ld of %ld", n, all);
        remove_library("lib");
        int code = end(begin("lib", (how){.full_at = n}));
        const char *words = said();
        /* Once everything is stored only files are removed, which needs no room. */
        CHECK(code == 1 || code == 3 || (code == 0 && n > all * 3 / 4), "%s: it ended with %d: %s", when, code, words);
        CHECK(!code || strstr(words, "No space left on device") || strstr(words, "no room left on the disk") ||
                  strstr(words, "as on a full disk"),
              "%s: it said: %s", when, words);
        CHECK(!strstr(words, "damaged"), "%s: it said: %s", when, words);
        if (getenv("ES_TEST_SAYS")) printf("    %ld: %d: %s\n", n, code, words);
        complete += code == 0;
        seen[check_and_resume(&want, when)]++;
    }
    printf("    %ld of %ld operations; recordings kept: none %ld, one %ld, two %ld, all %ld; %ld ended well\n", tried, all, seen[0],
           seen[1], seen[2], seen[3], complete);
    rows_done(&want);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"killed_at_every_operation", killed_at_every_operation},
        {"full_disk", full_disk},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
