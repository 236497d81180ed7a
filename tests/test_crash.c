/*
 * test_crash.c - `earshot ingest` is ended at any of its writes and syncs, by a kill, a full disk or a power cut; nothing
 * that was stored is lost.
 *
 * Three recordings go through a seeded model of two layers into a library, by the program that users run. crash_shim.c,
 * preloaded into it, numbers the operations on the library's files and ends the process at the one that is asked for,
 * lets the disk be full from there on, or writes them all down, so that what a power cut leaves can be put together from
 * any beginning of them: what was synced, and of the rest nothing, all, or a random choice of sectors. Whatever happened,
 *
 *     the library opens, `check` finds it whole, and nothing of the dead process is left in tmp
 *     it holds whole recordings only: every record of one that is there, none of one that is not
 *     the next ingest makes it the library of a run that nobody disturbed, record by record, but for the table of times
 *
 * By default a share of the operations is tried, so that this takes half a minute of one core; with ES_TEST_SOAK set, as
 * by `tools/soak kill`, all of them, whole and torn, hundreds of kills at random times, and ten power cuts a state.
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
#include "store/folder.h"
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
    es_folder_remove(at(library));
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

/* ---- at random times ---- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wait_for(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};

    nanosleep(&t, NULL);
}

/* Where ES_TEST_SEED is set, the times come from it; they are not the same on two machines in any case. */
static es_noise times_of_day(void)
{
    const char *seed = getenv("ES_TEST_SEED");

    return (es_noise){seed ? strtoull(seed, NULL, 10) : 5};
}

static void killed_at_random_times(void)
{
    rows want = {0};
    long all = 0, seen[FILES + 1] = {0}, late = 0;
    int runs = soak() ? 200 : 6;
    es_noise noise = times_of_day();

    if (!setup()) return;
    double began = now();
    if (!undisturbed(&want, &all)) return;
    double whole = now() - began;
    for (int i = 0; i < runs; i++) {
        char when[100];
        double after = (0.3 + 0.7 * es_noise_uniform(&noise)) * whole; /* models are read before the first write */
        snprintf(when, sizeof when, "kill %d, after %.3f of %.3f s", i, after, whole);
        remove_library("lib");
        pid_t pid = begin("lib", (how){0});
        wait_for(after);
        kill(pid, SIGKILL);
        int code = end(pid);
        late += code == 0;
        CHECK(code == 0 || code == 1000 + SIGKILL, "%s: it ended with %d: %s", when, code, said());
        seen[check_and_resume(&want, when)]++;
    }
    printf("    %d kills, %ld of them too late; recordings kept: none %ld, one %ld, two %ld, all %ld\n", runs, late, seen[0], seen[1],
           seen[2], seen[3]);
    rows_done(&want);
}

/* Two processes take the same recordings, from both ends. One is killed; the other goes on as if it were alone, or is
 * killed, too. */
static void two_processes(void)
{
    rows want = {0}, have;
    long all = 0, seen[FILES + 1] = {0}, survived = 0;
    int runs = soak() ? 50 : 4;
    es_noise noise = times_of_day();

    if (!setup()) return;
    double began = now();
    if (!undisturbed(&want, &all)) return;
    double whole = now() - began;
    for (int i = 0; i < runs; i++) {
        char when[100];
        double after = es_noise_uniform(&noise) * 1.5 * whole;
        snprintf(when, sizeof when, "pair %d, one killed after %.3f s", i, after);
        remove_library("lib");
        pid_t pid[2] = {begin("lib", (how){0}), begin("lib", (how){.backwards = true})};
        wait_for(after);
        kill(pid[i & 1], SIGKILL);
        int code = end(pid[i & 1]);
        CHECK(code == 0 || code == 1000 + SIGKILL, "%s: it ended with %d: %s", when, code, said());
        if (i / 2 & 1) {
            wait_for(es_noise_uniform(&noise) * whole / 2);
            kill(pid[!(i & 1)], SIGKILL);
        }
        code = end(pid[!(i & 1)]);
        CHECK(code == 0 || (i / 2 & 1 && code == 1000 + SIGKILL), "%s: the other ended with %d: %s", when, code, said());
        if (code == 0) {
            survived++;
            rows_read(&have, "lib");
            check_equal(&have, &want, when);
            rows_done(&have);
        }
        seen[check_and_resume(&want, when)]++;
    }
    printf("    %d pairs, in %ld one came to its end; recordings kept: none %ld, one %ld, two %ld, all %ld\n", runs, survived, seen[0],
           seen[1], seen[2], seen[3]);
    rows_done(&want);
}

/* ---- power ---- */

typedef struct op {
    int kind;
    char name[200];
    int64_t offset;
    size_t bytes;
    uint8_t *data;
} op;

static op *read_log(long *n)
{
    FILE *f = fopen(at("log"), "rb");
    op *ops = NULL;
    es_shim_record r;

    for (*n = 0; f && fread(&r, sizeof r, 1, f) == 1; ++*n) {
        bool has_data = r.kind == ES_SHIM_WRITE || r.kind == ES_SHIM_WRITE_THROUGH || r.kind == ES_SHIM_LINK || r.kind == ES_SHIM_RENAME;
        op o = {.kind = r.kind, .offset = r.offset, .bytes = has_data ? (size_t)r.bytes : 0};
        ops = realloc(ops, (size_t)(*n + 1) * sizeof *ops);
        o.data = malloc(o.bytes + 1);
        if (!ops || !o.data || r.name < 0 || r.name >= (int32_t)sizeof o.name) abort();
        if (fread(o.name, 1, (size_t)r.name, f) != (size_t)r.name || fread(o.data, 1, o.bytes, f) != o.bytes) abort();
        ops[*n] = o;
    }
    if (f) fclose(f);
    return ops;
}

enum { SECTOR = 512 };
typedef enum luck { NONE, SOME, ALL } luck; /* how much of what was not synced is on the disk */

typedef struct platter {
    uint8_t *p;
    size_t n, room;
} platter;

/* The write reaches the disk, or those of its sectors that are lucky. */
static void reach(platter *d, const op *o, luck how_much, es_noise *noise)
{
    size_t end_of = (size_t)o->offset + o->bytes;

    if (d->room < end_of) {
        d->p = realloc(d->p, end_of);
        if (!d->p) abort();
        memset(d->p + d->room, 0, end_of - d->room);
        d->room = end_of;
    }
    for (size_t i = 0, step; i < o->bytes; i += step) {
        size_t to = (size_t)o->offset + i;
        step = SECTOR - to % SECTOR < o->bytes - i ? SECTOR - to % SECTOR : o->bytes - i;
        if (how_much == NONE || (how_much == SOME && es_noise_bits(noise) & 1)) continue;
        memcpy(d->p + to, o->data + i, step);
        if (d->n < to + step) d->n = to + step;
    }
}

/* The library's file as the disk has it when the power fails after the first k operations; false: it has no name yet.
 * Before the file has its name it lies aside; what is in tmp otherwise is never looked at again. */
static bool power_fails(platter *d, const op *ops, long k, luck how_much, es_noise *noise)
{
    static const char aside[] = "/new/data.mdb";
    long since = 0; /* operations before it are synced */
    bool named = false, safe = false;

    d->n = 0, memset(d->p, 0, d->room);
    for (int pass = 0; pass < 2; pass++) /* what is synced, then what is not */
        for (long i = pass ? since : 0; i < k; i++) {
            const op *o = &ops[i];
            size_t length = strlen(o->name), tail = sizeof aside - 1;
            bool file = !strcmp(o->name, "data.mdb") || (length > tail && !strcmp(o->name + length - tail, aside));
            if (!pass && !*o->name && o->kind == ES_SHIM_SYNC) safe = named;
            if (!file) continue;
            if (!pass && !strcmp(o->name, "data.mdb") && (o->kind == ES_SHIM_LINK || o->kind == ES_SHIM_CREATE)) named = true;
            if (!pass && o->kind == ES_SHIM_SYNC) {
                for (long j = since; j < i; j++)
                    if (ops[j].kind == ES_SHIM_WRITE && (!strcmp(ops[j].name, "data.mdb") || strstr(ops[j].name, aside)))
                        reach(d, &ops[j], ALL, noise);
                since = i;
            }
            if (!pass && o->kind == ES_SHIM_WRITE_THROUGH) reach(d, o, ALL, noise);
            if (pass && o->kind == ES_SHIM_WRITE) reach(d, o, how_much, noise);
        }
    return how_much == NONE ? safe : named && (safe || how_much == ALL || es_noise_bits(noise) & 1);
}

/* The power fails after each operation of a run: of what was written since the last sync the disk has nothing, some
 * sectors or all of it. What a commit had said was stored must be there. */
static void power_fails_after_every_operation(void)
{
    rows want = {0}, have;
    long all = 0, n = 0, tried = 0, resumed = 0, seen[FILES + 1] = {0};
    es_noise noise = {77};
    int least = 0;
    platter d = {malloc(1), 0, 0};

    if (!d.p || !setup() || !undisturbed(&want, &all)) {
        free(d.p);
        return;
    }
    op *ops = read_log(&n);
    for (long k = 0; k <= n; k++)
        for (int variant = 0; variant < (soak() ? 10 : 3); variant++, tried++) {
            static const char *const what[] = {"nothing", "some", "all"};
            luck how_much = variant == 0 ? NONE : variant == 1 ? ALL : SOME;
            char when[160], path[PATH_MAX + 400];
            snprintf(when, sizeof when, "the power fails after %ld of %ld, with %s of what was not synced", k, n, what[how_much]);
            remove_library("lib");
            bool named = power_fails(&d, ops, k, how_much, &noise);
            mkdir(at("lib"), 0700);
            snprintf(path, sizeof path, "%s/data.mdb", at("lib"));
            FILE *f = named ? fopen(path, "wb") : NULL;
            CHECK(!named || (f && fwrite(d.p, 1, d.n, f) == d.n), "cannot write %s", path);
            if (f) fclose(f);
            int there;
            if (variant == 2 && k % (soak() ? 1 : 12) == 0) {
                there = check_and_resume(&want, when);
                resumed++;
            } else {
                if (named) check_opens("lib", when);
                rows_read(&have, "lib");
                there = check_whole(&have, &want, when);
                rows_done(&have);
            }
            CHECK(there >= least, "%s: %d recordings, %d were stored", when, there, least);
            if (how_much == NONE) least = there;
            seen[there]++;
        }
    CHECK_INT(least, FILES);
    printf("    %ld states after %ld operations, %ld resumed; recordings kept: none %ld, one %ld, two %ld, all %ld\n", tried, n, resumed,
           seen[0], seen[1], seen[2], seen[3]);
    for (long i = 0; i < n; i++) free(ops[i].data);
    free(ops);
    free(d.p);
    rows_done(&want);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"killed_at_every_operation", killed_at_every_operation},
        {"full_disk", full_disk},
        {"killed_at_random_times", killed_at_random_times},
        {"two_processes", two_processes},
        {"power_fails_after_every_operation", power_fails_after_every_operation},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
