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
 *     the next ingest makes it the library of a run that nobody disturbed, record by record, but for the table of times,
 *     and computes no window again that the journal holds
 *
 * By default a share of the operations is tried, so that this takes half a minute of one core; with ES_TEST_SOAK set, as
 * by `tools/soak kill`, all of them, whole and torn, hundreds of kills at random times, and ten power cuts a state.
 */
#define _GNU_SOURCE
#include "crash_rig.h"

/* ---- the tests ---- */

/* A kill in place of operation n; that a write of many pages is done by half is tried at every other one. */
static void killed_at_every_operation(void)
{
    tally t = {0};
    rows want = {0};
    long all = 0, stride = soak() ? 1 : 7, tried = 0, torn = 0, seen[FILES + 1] = {0};

    if (!setup() || !undisturbed(&want, &all)) return;
    for (int pass = 0; pass < (soak() ? 2 : 1); pass++)
        for (long n = 1; n <= all; n += stride, tried++) {
            char when[100];
            bool tear = soak() ? pass : tried & 1;
            torn += tear;
            snprintf(when, sizeof when, "killed at operation %ld of %ld%s", n, all, tear ? ", in its middle" : "");
            remove_library("lib");
            int code = end(begin("lib", (how){.crash_at = n, .tear = tear}));
            /* How many entries of the journal share a commit depends on when windows end, so that a run may have a few less. */
            CHECK(code == 1000 + SIGKILL || (code == 0 && n > all * 3 / 4), "%s: it ended with %d: %s", when, code, said());
            seen[check_and_resume(&want, &t, when)]++;
        }
    printf("    %ld of %ld operations, %ld of them as the middle of a write; recordings kept: none %ld, one %ld, two %ld, all %ld\n",
           tried, all, torn, seen[0], seen[1], seen[2], seen[3]);
    tell(&t);
    if (soak()) CHECK(seen[0] && seen[1] && seen[2] && seen[3], "a number of recordings was never met"); /* a share may leap over one */
    CHECK(t.kept_runs && t.kept, "no run went on inside a recording");
    rows_done(&want);
}

/* The disk is full from operation n on: the program says so and ends by itself; with room again, the next run goes on. */
static void full_disk(void)
{
    tally t = {0};
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
        seen[check_and_resume(&want, &t, when)]++;
    }
    printf("    %ld of %ld operations; recordings kept: none %ld, one %ld, two %ld, all %ld; %ld ended well\n", tried, all, seen[0],
           seen[1], seen[2], seen[3], complete);
    tell(&t);
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
    tally t = {0};
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
        seen[check_and_resume(&want, &t, when)]++;
    }
    printf("    %d kills, %ld of them too late; recordings kept: none %ld, one %ld, two %ld, all %ld\n", runs, late, seen[0], seen[1],
           seen[2], seen[3]);
    tell(&t);
    rows_done(&want);
}

/* Two processes take the same recordings, from both ends. One is killed; the other goes on as if it were alone, or is
 * killed, too. */
static void two_processes(void)
{
    tally t = {0};
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
        seen[check_and_resume(&want, &t, when)]++;
    }
    printf("    %d pairs, in %ld one came to its end; recordings kept: none %ld, one %ld, two %ld, all %ld\n", runs, survived, seen[0],
           seen[1], seen[2], seen[3]);
    tell(&t);
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
    tally t = {0};
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
                there = check_and_resume(&want, &t, when);
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
    tell(&t);
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
