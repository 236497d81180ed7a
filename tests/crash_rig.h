/*
 * crash_rig.h - what test_crash.c does its work with: three recordings and a small model, the program begun and ended, and
 * everything that a library holds, to be compared.
 */
#ifndef ES_CRASH_RIG_H
#define ES_CRASH_RIG_H

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
#include "store/record.h"
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
static const uint32_t lengths[FILES] = {2, 3, 33}; /* seconds: the last has windows enough to be ended between them */

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
    for (unsigned i = 0; i < FILES; i++) write_wav(at(names[i]), i + 1, lengths[i]);
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
    bool counts;               /* what it says is for programs, and says how many windows it computed */
} how;

/* Begins `earshot ingest` on the library; what it says goes to the file `out`. */
static pid_t begin(const char *library, how h)
{
    pid_t pid = fork();

    if (pid) return pid;
    const char *under = at(library), *words[26] = {getenv("EARSHOT") ? getenv("EARSHOT") : ES_BINARY_DIR "/earshot",
                                                   "ingest", h.counts ? "--json-lines" : "-q", "--keep", "0", "--threads", "1", "--device", "cpu", "--language", "en",
                                                   "--temperature", "0", "--models", at("small.pack"), "-L", under};
    char n[32];
    int count = 17, fd = open(at("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
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
    static char text[1 << 16];
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

/* Records whose key names the recording, by the 8 bytes of its content's hash: of the journal, or of any other table. */
static size_t rows_of(const rows *r, const uint8_t *id, bool journal)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        n += (r->row[i].table == ES_TABLE_JOURNAL) == journal && memmem(r->row[i].bytes, r->row[i].n_key, id, 8) != NULL;
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
        size_t some = rows_of(have, r->bytes, false), all = rows_of(want, r->bytes, false), kept = rows_of(have, r->bytes, true);
        n += there;
        CHECK(!there || !kept, "%s: %zu entries of the journal are left of a recording that is there", when, kept);
        CHECK(some == (there ? all : 0), "%s: %zu of %zu records of a recording that is %s", when, some, all,
              there ? "there" : "not there");
    }
    for (size_t i = 0, at_row = 0; i < have->n; i++) {
        const row *r = &have->row[i];
        if (r->table == ES_TABLE_META) continue; /* totals of what is there: `check` compares them */
        if (r->table == ES_TABLE_JOURNAL) continue; /* of recordings that are not */
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

/* The number behind a name in the last line that has it, of what the program said for programs; -1: none has. */
static long counted(const char *name)
{
    const char *p = said(), *last = NULL;

    for (p = strstr(p, name); p; p = strstr(p + 1, name)) last = p;
    return last ? strtol(last + strlen(name), NULL, 10) : -1;
}

/* Windows that a library's journal holds as written, of recordings that are not there. */
static long windows_kept(const rows *have)
{
    long n = 0;

    for (size_t i = 0; i < have->n; i++) {
        const row *r = &have->row[i];
        es_journal_entry e;
        if (r->table != ES_TABLE_JOURNAL || es_record_read_journal((es_bytes){r->bytes + r->n_key, r->n_value}, &e, NULL)) continue;
        n += e.kind == ES_JOURNAL_WORDS && e.over;
        es_journal_entry_done(&e);
    }
    return n;
}

/* What resuming cost, over all the runs of a test. */
typedef struct tally {
    long runs, kept_runs;  /* ... that found windows of an earlier one */
    long kept, computed;   /* windows, of these */
    long whole;            /* windows of a run from the beginning */
} tally;

/* After whatever happened: opens, whole, and the next run completes it. How many recordings were there before that. */
static int check_and_resume(const rows *want, tally *t, const char *when)
{
    rows have;
    int n, code;
    long kept, computed;

    check_opens("lib", when);
    rows_read(&have, "lib");
    n = check_whole(&have, want, when);
    kept = windows_kept(&have);
    rows_done(&have);
    code = end(begin("lib", (how){.counts = true}));
    CHECK(code == 0, "%s: the next run ends with %d: %s", when, code, said());
    computed = counted("\"windows\":");
    CHECK(computed >= 0, "%s: the next run says no number of windows: %s", when, said());
    if (n == 0 && !kept && computed > t->whole) t->whole = computed;
    /* Chains of windows differ in length, so it is not told which of them a number of windows is; but nothing is twice. */
    CHECK(n || !t->whole || computed <= t->whole - kept, "%s: %ld windows were kept, and %ld of %ld were computed", when, kept, computed,
          t->whole);
    t->runs++;
    if (kept) t->kept_runs++, t->kept += kept, t->computed += computed;
    rows_read(&have, "lib");
    check_equal(&have, want, when);
    rows_done(&have);
    check_opens("lib", when);
    return n;
}

static void tell(const tally *t)
{
    printf("    %ld of %ld runs went on inside a recording: %ld windows were there, %ld were computed\n", t->kept_runs, t->runs, t->kept,
           t->computed);
}

#endif
