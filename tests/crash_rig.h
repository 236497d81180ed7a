/*
 * crash_rig.h - what test_crash.c does its work with: three recordings and models, the program begun and ended, and what is
 * asked of a library after whatever happened to it. What a library holds, to be compared, is in crash_rows.h.
 */
#ifndef ES_CRASH_RIG_H
#define ES_CRASH_RIG_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crash_rows.h"
#include "crash_shim.h"
#include "program.h"
#include "seeded.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* How the recordings are ingested. */
typedef enum kind {
    TOGETHER, /* side by side, through a seeded speech model */
    IN_TURN,  /* one window after the other, the longest recording first; a seeded encoder makes vectors of the passages */
    REAL      /* recordings of people, through the real small models of all stages */
} kind;

enum { FILES = 3 };
static const char *const names[FILES] = {"a.wav", "b.wav", "c.wav"};
static const int seconds_of[2][FILES] = {[TOGETHER] = {2, 3, 33}, [IN_TURN] = {2, 3, 63}}; /* the last has windows enough to be ended between */
static const char *const real_names[FILES] = {"audio/pyannote_sample/sample.wav", "audio/jfk/jfk.flac", "audio/multilingual/es_test_clip.wav"};
static const char *const real_packs[] = {"whisper-tiny.pack", "segmentation-3.0.pack", "campplus.pack", "minilm.pack"};

/* What a test is about: an undisturbed run, which all others are compared with, and what was met on the way. */
typedef struct scene {
    kind kind;
    char path[FILES][4400]; /* of the recordings */
    rows want;              /* what the undisturbed run stores */
    long operations;        /* that it takes */
    long *writes, n_writes; /* bytes of each of its writes */
    long bytes;             /* of all of them */
    long windows, vectors;  /* that it computes */
    double seconds;         /* that it takes */
    long seen[FILES + 1];   /* how often so many recordings were there afterwards */
    long runs, kept_runs;   /* that went on; those that found work of an earlier one inside a recording */
    kept kept;              /* all that was found so */
    long computed;          /* windows, by these */
} scene;

static bool soak(void)
{
    return getenv("ES_TEST_SOAK") != NULL;
}

/* How often something is done that takes its time: by tools/soak, by default. */
static int times(int much, int little)
{
    return soak() ? much : little;
}

/* Where the library of this name lies, as the shim has it from the system. */
static const char *library_path(const char *name)
{
    static char ring[8][PATH_MAX + 300];
    static int i;
    char folder[PATH_MAX];

    i = (i + 1) % 8;
    CHECK(realpath(es_test_folder(), folder), "no folder");
    snprintf(ring[i], sizeof ring[i], "%s/%s", folder, name);
    return ring[i];
}

static void remove_library(const char *library)
{
    es_folder_remove(library_path(library));
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- recordings and models ---- */

static bool make_seeded(scene *s)
{
    es_err err = {0};

    for (int i = 0; i < FILES; i++) { /* noise, in which the model hears something */
        es_noise noise = {(uint64_t)i + 1};
        int64_t n = seconds_of[s->kind][i] * 16000;
        float *x = malloc((size_t)n * sizeof *x);
        if (!x) abort();
        es_noise_fill(&noise, x, (size_t)n, 3000.0 / 32768);
        snprintf(s->path[i], sizeof s->path[i], "%s", at(names[s->kind == IN_TURN ? FILES - 1 - i : i]));
        write_speech_wav(at(names[i]), x, n);
        free(x);
    }
    mkdir(at("models"), 0755);
    int rc = es_seeded_whisper_write(at("models/small.pack"), &es_seeded_small);
    if (!rc && s->kind == IN_TURN) rc = es_seeded_encoder_write(at("models/encoder.pack"), 55, &err);
    CHECK(!rc, "no packs: %s", err.text);
    return !rc;
}

static bool find_real(scene *s)
{
    mkdir(at("models"), 0755);
    for (size_t i = 0; i < sizeof real_packs / sizeof real_packs[0]; i++) {
        const char *pack = es_test_models(real_packs[i]);
        char link[100];
        snprintf(link, sizeof link, "models/%s", real_packs[i]);
        if (!pack) return es_test_skip("the real small packs in ES_TEST_MODELS"), false;
        CHECK(symlink(pack, at(link)) == 0, "no link to %s", pack);
    }
    for (int i = 0; i < FILES; i++) {
        const char *path = es_test_data(real_names[i]);
        if (!path) return es_test_skip("recordings of ES_TEST_DATA"), false;
        snprintf(s->path[i], sizeof s->path[i], "%s", path);
    }
    return true;
}

/* ---- the program ---- */

typedef struct how {
    long crash_at, full_at;
    long room; /* bytes of the disk, and one; 0: no end of them */
    bool tear, log, backwards; /* backwards: the last recording first */
    bool counts;               /* what it says is for programs, and says how many windows it computed */
} how;

/* Begins `earshot ingest` into the library. */
static pid_t begin(const scene *s, const char *library, how h)
{
    static char under[PATH_MAX + 400], log[PATH_MAX + 400], crash[64], full[64], room[64];
    const char *words[40] = {program_path(), "ingest", h.counts ? "--json-lines" : "-q", "--device", "cpu", "--models", at("models"), "-L",
                             library_path(library)};
    const char *environment[16] = {"LD_PRELOAD=" ES_CRASH_SHIM, under};
    int n = 9, e = 2;

    if (s->kind != REAL) {
        static const char *const quick[] = {"--keep", "0", "--threads", "1", "--language", "en", "--temperature", "0"};
        for (size_t i = 0; i < sizeof quick / sizeof quick[0]; i++) words[n++] = quick[i];
    }
    if (s->kind == REAL) words[n++] = "--keep", words[n++] = "0.2";
    if (s->kind == IN_TURN) words[n++] = "--sequential", environment[e++] = "EMBEDDING_BATCH_SIZE=1";
    for (int i = 0; i < FILES; i++) words[n++] = s->path[h.backwards ? FILES - 1 - i : i];
    snprintf(under, sizeof under, "ES_SHIM_UNDER=%s", library_path(library));
    snprintf(log, sizeof log, "ES_SHIM_LOG=%s", at("log"));
    snprintf(crash, sizeof crash, "ES_SHIM_CRASH_AT=%ld", h.crash_at);
    snprintf(full, sizeof full, "ES_SHIM_FULL_AT=%ld", h.full_at);
    snprintf(room, sizeof room, "ES_SHIM_ROOM=%ld", h.room - 1);
    if (h.log) environment[e++] = log;
    if (h.crash_at) environment[e++] = crash;
    if (h.full_at) environment[e++] = full;
    if (h.room) environment[e++] = room;
    if (h.tear) environment[e++] = "ES_SHIM_TEAR=1";
    /* Of two at a time each has files of its own. */
    return program_start(&(program_setting){.out = at(h.backwards ? "stdout2" : "stdout"), .err = at(h.backwards ? "stderr2" : "stderr"), .environment = environment}, words);
}

/* The exit code, or 1000 and the number of the signal. */
static int end(pid_t pid)
{
    return pid < 0 ? 2000 : program_finish(pid, NULL);
}

/* What the last program that began with the first recording has said. */
static const char *said(void)
{
    static char *text;
    size_t n, m;
    char *out = read_file(at("stdout"), &n), *err = read_file(at("stderr"), &m);

    free(text);
    text = realloc(out, n + m + 1);
    if (!text) abort();
    memcpy(text + n, err, m + 1);
    free(err);
    return text;
}

/* The number behind a name in the last line that has it, of what the program said for programs; -1: none has. */
static long counted(const char *name)
{
    const char *p = said(), *last = NULL;

    for (p = strstr(p, name); p; p = strstr(p + 1, name)) last = p;
    return last ? strtol(last + strlen(name), NULL, 10) : -1;
}

/* The sum of the numbers with which the program said of each recording how much of a kind of work an earlier run had done. */
static long noted(const char *what)
{
    static const char begins[] = "goes on where an earlier run was ended: ";
    long sum = 0;

    for (const char *p = said(); (p = strstr(p, begins)); p++) {
        const char *after = strstr(p, what), *stop = strchr(p, '\n');
        if (after && stop && after < stop) sum += strtol(p + sizeof begins - 1, NULL, 10);
    }
    return sum;
}

/* ---- a scene ---- */

/* Opens the library as the next user does and checks it. */
static void check_opens(const char *library, const char *when)
{
    es_store *s = NULL;
    es_check found;
    es_err err = {0};
    char path[PATH_MAX + 400], name[200];

    if (access(library_path(library), F_OK)) return; /* it was ended before there was one */
    int rc = es_store_open(&s, library_path(library), ES_STORE_CREATE, &err);
    snprintf(name, sizeof name, "%s", when);
    if (!rc) rc = es_store_check(s, &found, on_fault, name, &err);
    CHECK(!rc, "%s: %s", when, err.text);
    es_store_close(s);
    snprintf(path, sizeof path, "%s/tmp", library_path(library));
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        CHECK(e->d_name[0] == '.' || !strcmp(e->d_name, "lock"), "%s: tmp still holds %s", when, e->d_name);
    if (d) closedir(d);
}

/* What an undisturbed run makes, and what it takes. */
static bool undisturbed(scene *s)
{
    FILE *f;
    es_shim_record r;
    double began = now();

    remove_library("whole");
    int code = end(begin(s, "whole", (how){.log = true, .counts = true}));
    s->seconds = now() - began;
    s->windows = counted("\"windows\":"), s->vectors = counted("\"vectors\":");
    CHECK(code == 0 && s->windows >= FILES, "an undisturbed run ends with %d: %s", code, said());
    rows_read(&s->want, library_path("whole"));
    f = fopen(at("log"), "rb");
    for (; f && fread(&r, sizeof r, 1, f) == 1; s->operations++) {
        bool is_write = r.kind == ES_SHIM_WRITE || r.kind == ES_SHIM_WRITE_THROUGH;
        if (is_write) {
            s->writes = realloc(s->writes, (size_t)(s->n_writes + 1) * sizeof *s->writes);
            if (!s->writes) abort();
            s->writes[s->n_writes++] = (long)r.bytes, s->bytes += (long)r.bytes;
        }
        if (fseek(f, r.name + (is_write || r.kind == ES_SHIM_LINK || r.kind == ES_SHIM_RENAME ? (long)r.bytes : 0), SEEK_CUR)) break;
    }
    if (f) fclose(f);
    int stored = 0;
    for (size_t i = 0; i < s->want.n; i++) stored += s->want.row[i].table == ES_TABLE_RECORDINGS;
    CHECK(stored == FILES && s->operations > 30, "%d recordings, %ld operations: %s", stored, s->operations, said());
    CHECK(s->kind == TOGETHER || s->vectors > FILES, "%ld passages have vectors", s->vectors);
    return code == 0 && stored == FILES;
}

/* The caller gives it to scene_close(), also where it is false: then the test is over. */
static bool scene_open(scene *s, kind k)
{
    *s = (scene){.kind = k};
#ifdef SANITIZED
    (void)find_real, (void)make_seeded;
    es_test_skip("a preloaded module beside sanitizers");
    return false;
#endif
    return (k == REAL ? find_real(s) : make_seeded(s)) && undisturbed(s);
}

static void scene_close(scene *s, const char *what)
{
    static const char *const ways[] = {"side by side", "in turn, with vectors", "by the real models"};

    if (s->runs) {
        printf("    %s, %s; recordings kept: none %ld, one %ld, two %ld, all %ld\n", ways[s->kind], what, s->seen[0], s->seen[1], s->seen[2],
               s->seen[3]);
        printf("    %ld of %ld runs went on inside a recording: %ld windows and %ld vectors of text were there, %ld windows were computed; an "
               "undisturbed run has %ld and %ld\n",
               s->kept_runs, s->runs, s->kept.windows, s->kept.vectors, s->computed, s->windows, s->vectors);
        if (s->kind == REAL)
            printf("    of %ld windows it was known who speaks, of %ld with which voices\n", s->kept.sought, s->kept.heard);
    }
    rows_done(&s->want);
    free(s->writes);
}

/* What the next run says that it took up, and what it computed, beside what the journal held. */
static void check_nothing_twice(scene *s, const kept *k, int there, const char *when)
{
    long windows = counted("\"windows\":"), vectors = counted("\"vectors\":");

    CHECK(windows >= 0 && vectors >= 0, "%s: the next run says no number of windows: %s", when, said());
    /* Of a recording that is there at least one window is not computed. Chains of windows differ in length, so that where they
     * go side by side it is not told how many windows one is; in turn each is an entry. */
    CHECK(windows + k->windows <= s->windows - there, "%s: %ld windows were kept, and %ld of %ld were computed", when, k->windows, windows,
          s->windows);
    CHECK(vectors + k->vectors <= s->vectors, "%s: %ld vectors were kept, and %ld of %ld were computed", when, k->vectors, vectors, s->vectors);
    if (s->kind == IN_TURN && !there)
        CHECK(windows + k->windows == s->windows && vectors + k->vectors == s->vectors,
              "%s: %ld windows and %ld vectors were kept, %ld and %ld were computed, %ld and %ld there are", when, k->windows, k->vectors, windows,
              vectors, s->windows, s->vectors);
    CHECK(noted("windows in which speakers were sought") == k->sought && noted("windows whose voices were heard") == k->heard,
          "%s: of %ld windows it was known who speaks, of %ld with which voices; it said: %s", when, k->sought, k->heard, said());
    s->runs++;
    if (k->windows || k->vectors || k->sought) s->kept_runs++, s->computed += windows;
    s->kept.windows += k->windows, s->kept.vectors += k->vectors, s->kept.sought += k->sought, s->kept.heard += k->heard;
}

/* After whatever happened: opens, whole, and the next run completes it. How many recordings were there before that. */
static int check_and_resume(scene *s, const char *when)
{
    rows have;
    int n, code;
    kept k;

    check_opens("lib", when);
    rows_read(&have, library_path("lib"));
    n = check_whole(&have, &s->want, when);
    k = kept_in(&have, s->kind == IN_TURN);
    rows_done(&have);
    code = end(begin(s, "lib", (how){.counts = true}));
    CHECK(code == 0, "%s: the next run ends with %d: %s", when, code, said());
    check_nothing_twice(s, &k, n, when);
    rows_read(&have, library_path("lib"));
    check_equal(&have, &s->want, when);
    rows_done(&have);
    check_opens("lib", when);
    s->seen[n]++;
    return n;
}

#endif
