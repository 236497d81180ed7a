/*
 * test_crash.c - `earshot ingest` is ended at any of its writes and syncs, by a kill, a full disk or a power cut; nothing
 * that was stored is lost.
 *
 * Three recordings go through a seeded model of two layers into a library, by the program that users run: side by side, and
 * once more in turn, window by window, with vectors of what is said. crash_shim.c, preloaded into it, numbers the operations on
 * the library's files and ends the process at the one that is asked for, lets the disk be full from there on or after so many
 * bytes, or writes them all down, so that what a power cut leaves can be put together from any beginning of them: what was
 * synced, and of the rest nothing, all, or a random choice of sectors. Whatever happened,
 *
 *     the library opens, `check` finds it whole, and nothing of the dead process is left in tmp
 *     it holds whole recordings only: every record of one that is there, none of one that is not
 *     the next ingest makes it the library of a run that nobody disturbed, record by record, but for the table of times,
 *     and computes no window and no vector again that the journal holds
 *
 * By default a share of the operations is tried, so that this takes half a minute of one core; with ES_TEST_SOAK set, as
 * by `tools/soak kill`, all of them, whole and torn, hundreds of kills at random times, and ten power cuts a state. With
 * ES_TEST_REAL set to a number so many kills with the real small models come besides: `tools/soak kill-real`. Where ES_TEST_SEED
 * is set, times and sizes come from it; times are not the same on two machines in any case.
 */
#define _GNU_SOURCE
#include "crash_power.h"
#include "crash_rig.h"

static es_noise chance(void)
{
    const char *seed = getenv("ES_TEST_SEED");

    return (es_noise){seed ? strtoull(seed, NULL, 10) : 5};
}

/* ---- kills ---- */

/* A kill in place of operation n; that a write of many pages is done by half is tried at every other one. */
static void kill_at_operations(kind k, long stride)
{
    scene s;
    long tried = 0, torn = 0;
    char what[100];

    if (scene_open(&s, k)) {
        for (int pass = 0; pass < times(2, 1); pass++)
            for (long n = 1; n <= s.operations; n += stride, tried++) {
                char when[100];
                bool tear = soak() ? pass : tried & 1;
                torn += tear;
                snprintf(when, sizeof when, "killed at operation %ld of %ld%s", n, s.operations, tear ? ", in its middle" : "");
                remove_library("lib");
                int code = end(begin(&s, "lib", (how){.crash_at = n, .tear = tear}));
                /* How many entries of the journal share a commit depends on when windows end, so that a run may have a few less. */
                CHECK(code == 1000 + SIGKILL || (k == TOGETHER && code == 0 && n > s.operations * 3 / 4), "%s: it ended with %d: %s", when, code,
                      said());
                check_and_resume(&s, when);
            }
        if (soak()) CHECK(s.seen[0] && s.seen[1] && s.seen[2] && s.seen[3], "a number of recordings was never met"); /* a share may leap over one */
        CHECK(s.kept.windows && (k == TOGETHER || s.kept.vectors), "no run went on inside a recording");
    }
    snprintf(what, sizeof what, "%ld kills at %ld operations, %ld of them in the middle of one", tried, s.operations, torn);
    scene_close(&s, what);
}

static void killed_at_every_operation(void)
{
    kill_at_operations(TOGETHER, times(1, 7));
}

static void killed_in_turn(void)
{
    kill_at_operations(IN_TURN, times(1, 13));
}

static void wait_for(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};

    nanosleep(&t, NULL);
}

/* So many runs of one process, or of two that take the same recordings from both ends. One is killed; the other goes on as if
 * it were alone, or is killed, too. */
static void random_kills(kind k, int runs, int processes)
{
    scene s;
    rows have;
    long complete = 0;
    int hit = 0;
    es_noise noise = chance();
    char what[100];

    if (scene_open(&s, k)) {
        double whole = s.seconds;
        for (int i = 0; hit < runs && i < 3 * runs + 20; i++) {
            char when[100];
            /* Models are read before the first write; two take longer, and either may outlive the other. */
            double after = (processes > 1 ? 1.5 * es_noise_uniform(&noise) : 0.2 + 0.8 * es_noise_uniform(&noise)) * whole;
            int first = i % processes;
            bool late = false;
            pid_t pid[2];
            snprintf(when, sizeof when, "kill %d, after %.3f of %.3f s", i, after, whole);
            remove_library("lib");
            for (int p = 0; p < processes; p++) pid[p] = begin(&s, "lib", (how){.backwards = p});
            wait_for(after);
            for (int p = first, j = 0; j < processes; p = !p, j++) {
                bool killed = !j || i / 2 & 1;
                if (j && killed) wait_for(es_noise_uniform(&noise) * whole / 2);
                if (killed) kill(pid[p], SIGKILL);
                int code = end(pid[p]);
                CHECK(code == 0 || (killed && code == 1000 + SIGKILL), "%s: process %d ended with %d: %s", when, p, code, said());
                if (code) continue;
                late = late || killed;
                complete++;
                rows_read(&have, library_path("lib"));
                check_equal(&have, &s.want, when);
                rows_done(&have);
            }
            /* How long a run takes depends on what else the machine does just then. */
            long kept_before = s.kept_runs;
            bool early = check_and_resume(&s, when) == 0 && s.kept_runs == kept_before && after > whole / 2;
            whole *= late ? 0.8 : early ? 1.2 : 1;
            hit += !late; /* what was over before it was killed does not count */
        }
        CHECK(hit == runs, "%d of %d kills came in time", hit, runs);
    }
    snprintf(what, sizeof what, "%d %s, %ld processes came to their end", hit, processes > 1 ? "pairs, one or both killed" : "kills", complete);
    scene_close(&s, what);
}

static void killed_at_random_times(void)
{
    random_kills(TOGETHER, times(200, 6), 1);
}

static void killed_at_random_times_in_turn(void)
{
    random_kills(IN_TURN, times(100, 2), 1);
}

static void two_processes(void)
{
    random_kills(TOGETHER, times(50, 4), 2);
}

static void killed_with_real_models(void)
{
    random_kills(REAL, atoi(getenv("ES_TEST_REAL")), 1);
}

/* ---- a full disk ---- */

/* Says why, as one sentence for each thing it is about: a recording that was passed over, the library at the end. */
static void check_complaint(int code, const char *when)
{
    char *words = read_file(at("stderr"), NULL), *list = strstr(words, " files failed:"), *save = NULL;
    int lines = 0, about_library = 0;

    if (list) *list = 0; /* what was passed over is told once more behind it */
    for (char *line = strtok_r(words, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
        CHECK(strstr(line, "No space left on device") || strstr(line, "no room left on the disk") || strstr(line, "as on a full disk") || (list && !save[0]),
              "%s: it said: %s", when, line);
        CHECK(!strstr(line, "damaged"), "%s: it said: %s", when, line);
        about_library += strstr(line, "data.mdb: ") != NULL;
    }
    CHECK(lines >= (code != 0) && lines <= FILES + 1, "%s: it ended with %d and said %d lines", when, code, lines);
    CHECK(about_library <= 1, "%s: it said %d times that the library cannot be written: %s", when, about_library, said());
    free(words);
}

/* So many bytes that they end inside one of the writes; each write is as likely. */
static long random_room(const scene *s, es_noise *noise)
{
    long n = (long)((double)s->n_writes * es_noise_uniform(noise)), bytes = (long)((double)s->writes[n] * es_noise_uniform(noise));

    while (n > 0) bytes += s->writes[--n];
    return bytes;
}

/* Nothing can be written any more from operation n on, or once so many bytes are: the program says so and ends by itself; with
 * room again, the next run goes on. */
static void fill_disk(kind k, int tries, bool at_random)
{
    scene s;
    long complete = 0;
    es_noise noise = chance();
    char what[100];

    if (scene_open(&s, k)) {
        if (soak() && !at_random) tries = (int)s.operations;
        for (int i = 0; i < tries; i++) {
            char when[100];
            long n = 1 + (long)i * (s.operations - 1) / (tries > 1 ? tries - 1 : 1), bytes = random_room(&s, &noise);
            if (at_random) snprintf(when, sizeof when, "the disk full after %ld of %ld bytes", bytes, s.bytes);
            else snprintf(when, sizeof when, "the disk full at operation %ld of %ld", n, s.operations);
            remove_library("lib");
            int code = end(begin(&s, "lib", at_random ? (how){.room = bytes + 1} : (how){.full_at = n}));
            /* Once everything is stored only files are removed, which needs no room. */
            CHECK(code == 1 || code == 3 || (code == 0 && (at_random ? bytes > s.bytes / 2 : n > s.operations * 3 / 4)),
                  "%s: it ended with %d: %s", when, code, said());
            if (getenv("ES_TEST_SAYS")) printf("    %s: %d: %s\n", when, code, said());
            check_complaint(code, when);
            complete += code == 0;
            check_and_resume(&s, when);
        }
    }
    snprintf(what, sizeof what, "%ld times a full disk %s, %ld ended well", s.runs, at_random ? "at a random size" : "at an operation", complete);
    scene_close(&s, what);
}

static void full_disk(void)
{
    fill_disk(TOGETHER, 12, false);
}

static void full_disk_at_random(void)
{
    fill_disk(TOGETHER, times(20, 3), true);
    fill_disk(IN_TURN, times(20, 2), true);
}

/* ---- power ---- */

/* The power fails after each operation of a run: of what was written since the last sync the disk has nothing, some
 * sectors or all of it. What a commit had said was stored must be there. */
static void power_fails(kind k)
{
    scene s;
    rows have;
    long n = 0, tried = 0, seen[FILES + 1] = {0};
    es_noise noise = {77};
    int least = 0;
    platter d = {malloc(1), 0, 0};
    op *ops = NULL;

    if (!d.p) abort();
    if (scene_open(&s, k)) ops = read_log(&n);
    for (long at_op = 0; ops && at_op <= n; at_op++)
        for (int variant = 0; variant < times(10, 3); variant++, tried++) {
            static const char *const of[] = {"nothing", "some", "all"};
            luck how_much = variant == 0 ? NONE : variant == 1 ? ALL : SOME;
            char when[160], path[PATH_MAX + 400];
            snprintf(when, sizeof when, "the power fails after %ld of %ld, with %s of what was not synced", at_op, n, of[how_much]);
            remove_library("lib");
            bool named = platter_has(&d, ops, at_op, how_much, &noise);
            mkdir(library_path("lib"), 0700);
            snprintf(path, sizeof path, "%s/data.mdb", library_path("lib"));
            if (named) write_file(path, d.p, d.n);
            int there;
            if (variant == 2 && at_op % times(1, 12) == 0) {
                there = check_and_resume(&s, when);
            } else {
                if (named) check_opens("lib", when);
                rows_read(&have, library_path("lib"));
                there = check_whole(&have, &s.want, when);
                rows_done(&have);
            }
            CHECK(there >= least, "%s: %d recordings, %d were stored", when, there, least);
            if (how_much == NONE) least = there;
            seen[there]++;
        }
    if (ops) {
        CHECK_INT(least, FILES);
        printf("    %ld states after %ld operations, %ld resumed; recordings kept: none %ld, one %ld, two %ld, all %ld\n", tried, n, s.runs, seen[0],
               seen[1], seen[2], seen[3]);
    }
    for (long i = 0; i < n; i++) free(ops[i].data);
    free(ops);
    free(d.p);
    scene_close(&s, "of these");
}

static void power_fails_after_every_operation(void)
{
    power_fails(TOGETHER);
    if (soak()) power_fails(IN_TURN);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"killed_at_every_operation", killed_at_every_operation},
        {"killed_in_turn", killed_in_turn},
        {"full_disk", full_disk},
        {"full_disk_at_random", full_disk_at_random},
        {"killed_at_random_times", killed_at_random_times},
        {"killed_at_random_times_in_turn", killed_at_random_times_in_turn},
        {"two_processes", two_processes},
        {"power_fails_after_every_operation", power_fails_after_every_operation},
        {"killed_with_real_models", killed_with_real_models},
    };
    int n = sizeof tests / sizeof tests[0];

    return es_test_main(argc, argv, tests, getenv("ES_TEST_REAL") ? n : n - 1);
}
