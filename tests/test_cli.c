/*
 * test_cli.c - the program itself, run as a user runs it: what it prints, how it ends, and what it leaves behind.
 *
 * The speech model is a small one with seeded random weights, so that no download is needed; what it hears means
 * nothing, and the tests look at files, codes and records instead. After every bad input the library is checked to be
 * whole.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <ftw.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "runtime/weights.h"
#include "seeded.h"
#include "test.h"

#ifndef ES_BINARY_DIR
#error "the folder of the build must be known"
#endif

/* ---- running ---- */

enum { ARGS = 48 };

typedef struct ended {
    int code;        /* exit code, or 1000 + signal */
    char *out, *err; /* what it printed; NUL-terminated */
} ended;

/* How the child differs from this process. */
typedef struct setting {
    uid_t uid;         /* 0: stay */
    rlim_t file_limit; /* largest file it may write; 0: none */
} setting;

static const char *folder; /* of the running test */

static const char *at(const char *name) /* a path in the test's folder, in a ring */
{
    static char ring[16][4400];
    static int i;

    i = (i + 1) % 16;
    snprintf(ring[i], sizeof ring[i], "%s/%s", folder, name);
    return ring[i];
}

static char *slurp(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t n = 0, room = 0;

    while (f && !feof(f)) {
        if (n + 65537 > room) text = realloc(text, room = 2 * room + 65537);
        n += fread(text + n, 1, room - n - 1, f);
        if (ferror(f)) break;
    }
    if (f) fclose(f);
    if (!text) text = calloc(1, 1);
    else text[n] = 0;
    return text;
}

static pid_t start(const setting *s, const char *out, const char *err, const char *const *argv)
{
    pid_t pid = fork();

    if (pid) return pid;
    int o = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666), e = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(o, 1), dup2(e, 2);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    setenv("XDG_DATA_HOME", at("data"), 1);
    setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99", 0);
    if (s && s->file_limit) {
        struct rlimit limit = {s->file_limit, s->file_limit};
        signal(SIGXFSZ, SIG_IGN); /* a write past it fails instead of killing */
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    int program = open(argv[0], O_RDONLY | O_CLOEXEC); /* somebody else may not walk through the folders it lies in */
    if (s && s->uid && (setgid(s->uid) || setuid(s->uid))) _exit(120);
    fexecve(program, (char *const *)(uintptr_t)argv, environ);
    _exit(121);
}

static int finish(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void ended_done(ended *e)
{
    free(e->out), free(e->err);
    *e = (ended){0};
}

static const char *program(void)
{
    return ES_BINARY_DIR "/earshot";
}

/* Runs earshot with the words that follow, up to NULL. */
static ended run_as(const setting *s, ...)
{
    const char *argv[ARGS] = {program()};
    va_list ap;
    int n = 1;

    va_start(ap, s);
    while (n < ARGS - 1 && (argv[n] = va_arg(ap, const char *))) n++;
    va_end(ap);
    argv[n] = NULL;
    ended e = {.code = finish(start(s, at("stdout"), at("stderr"), argv))};
    e.out = slurp(at("stdout")), e.err = slurp(at("stderr"));
    return e;
}
#define RUN(...) run_as(NULL, __VA_ARGS__, NULL)

static void expect(ended *e, int code, const char *in_out, const char *in_err)
{
    CHECK(e->code == code, "it ended with %d, expected %d; it said: %s%s", e->code, code, e->out, e->err);
    CHECK(!in_out || strstr(e->out, in_out), "\"%s\" is not in its output: %s", in_out, e->out);
    CHECK(!in_err || strstr(e->err, in_err), "\"%s\" is not in its complaint: %s", in_err, e->err);
    CHECK(!strstr(e->err, "ERROR: AddressSanitizer") && !strstr(e->err, "runtime error"), "%s", e->err);
    ended_done(e);
}
#define EXPECT(code, in_out, in_err, ...)                                                                              \
    do {                                                                                                               \
        ended e_ = RUN(__VA_ARGS__);                                                                                   \
        expect(&e_, code, in_out, in_err);                                                                             \
    } while (0)

/* ---- things to work on ---- */

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(bytes, 1, n, f) == n, "cannot write %s", path);
    if (f) fclose(f);
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8);
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v & 0xFFFF), put16(p + 2, v >> 16);
}

enum { SILENCE, NOISE, NANS };

/* A wav file: 16-bit, or 32-bit float for NANS. Long silence takes no room on the disk. */
static const char *wav(const char *name, int what, double seconds, int rate, int channels)
{
    uint8_t h[44] = "RIFF....WAVEfmt ";
    unsigned bytes = what == NANS ? 4 : 2;
    uint32_t frames = (uint32_t)lrint(seconds * rate), data = frames * bytes * (unsigned)channels;
    const char *path = at(name);
    es_noise noise = {7};
    FILE *f = fopen(path, "wb");

    put32(h + 4, 36 + data), put32(h + 16, 16), put16(h + 20, what == NANS ? 3 : 1);
    put16(h + 22, (unsigned)channels), put32(h + 24, (uint32_t)rate);
    put32(h + 28, (uint32_t)rate * bytes * (unsigned)channels), put16(h + 32, bytes * (unsigned)channels);
    put16(h + 34, 8 * bytes), memcpy(h + 36, "data", 4), put32(h + 40, data);
    if (!f) {
        CHECK(false, "cannot write %s", path);
        return path;
    }
    fwrite(h, 1, sizeof h, f);
    for (size_t i = 0; what != SILENCE && i < (size_t)frames * (size_t)channels; i++) {
        int16_t s = (int16_t)(es_noise_normal(&noise) * 3000);
        uint32_t bits = i % 3 == 0 ? 0x7FC00000u : i % 7 == 0 ? 0x7F800000u : 0x3D000000u;
        if (what == NANS) fwrite(&bits, 4, 1, f);
        else fwrite(&s, 2, 1, f);
    }
    fflush(f);
    CHECK(ftruncate(fileno(f), (off_t)(44 + (size_t)data)) == 0, "%s", strerror(errno));
    fclose(f);
    return path;
}

/* Puts a picture to noise, or leaves the sound out. False where ffmpeg is not installed. */
static bool ffmpeg(const char *arguments)
{
    char line[4400];

    snprintf(line, sizeof line, "cd '%s' && ffmpeg -v error -y %s </dev/null", folder, arguments);
    if (system("command -v ffmpeg >/dev/null 2>&1")) {
        es_test_skip("ffmpeg");
        return false;
    }
    CHECK(system(line) == 0, "%s failed", line);
    return true;
}

static void setup(void)
{
    const es_seeded_whisper small = {.seed = 1,
                                     .width = 64,
                                     .layers = 2,
                                     .n_mels = 80,
                                     .vocab = 51865,
                                     .f16 = true,
                                     .alignment = "[[1, 0]]",
                                     .name = "small"};

    folder = es_test_folder();
    chmod(folder, 0755);
    mkdir(at("models"), 0755);
    CHECK(es_seeded_whisper_write(at("models/small.pack"), &small) == 0, "cannot write a pack");
}

/* Every ingest of these tests: greedy, English given, the small model. */
#define INGEST                                                                                                         \
    "ingest", "-L", at("lib"), "--models", at("models"), "--device", "cpu", "--temperature", "0", "--language", "en"

static void check_whole(const char *library)
{
    ended e = RUN("check", "-L", library);

    expect(&e, 0, ": whole", NULL);
}

static int lines_with(const char *text, const char *what)
{
    int n = 0;

    for (const char *p = text; (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}

/* Files below a folder that are not LMDB's own. */
static char left_over[4400];
static int note_left_over(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    if (flag == FTW_F && !strstr(path + ftw->base, ".mdb") && !strstr(path + ftw->base, "lock"))
        snprintf(left_over, sizeof left_over, "%s", path);
    return 0;
}

static void check_nothing_left(const char *library)
{
    left_over[0] = 0;
    nftw(library, note_left_over, 16, FTW_PHYS);
    CHECK(!left_over[0], "%s was left behind", left_over);
}

/* ---- words of the command line ---- */

static void test_usage(void)
{
    setup();
    ended e = RUN("help");
    CHECK(strstr(e.out, "ingest") && strstr(e.out, "doctor"), "%s", e.out);
    expect(&e, 0, "usage: earshot COMMAND", NULL);
    e = run_as(NULL, NULL);
    expect(&e, 2, NULL, "usage: earshot");
    EXPECT(0, "earshot 0.", NULL, "version");
    EXPECT(0, "earshot 0.", NULL, "--version");
    EXPECT(0, "usage: earshot ingest", NULL, "help", "ingest");
    EXPECT(0, "usage: earshot ingest", NULL, "ingest", "--help");
    EXPECT(0, "--max-line-width", NULL, "export", "-h");
    EXPECT(2, NULL, "did you mean ingest?", "ingets");
    EXPECT(2, NULL, "there is no command frobnicate", "frobnicate");
    EXPECT(2, NULL, "ingest needs PATH", "ingest");
    EXPECT(2, NULL, "list does not take extra", "list", "extra");
    EXPECT(2, NULL, "ingest has no option --frob", "ingest", "--frob", "x");
    EXPECT(2, NULL, "ingest has no option -z", "ingest", "-z", "x");
    EXPECT(2, NULL, "--task takes transcribe|translate, not dance", "ingest", "--task", "dance", "x");
    EXPECT(2, NULL, "not 'transcribe|translate'", "ingest", "--task=transcribe|translate", "x");
    EXPECT(2, NULL, "--budget takes an amount of memory", "plan", "--budget", "lots");
    EXPECT(2, NULL, "--budget takes an amount of memory", "plan", "--budget", "-16G");
    EXPECT(2, NULL, "--threads takes a whole number from 0 to 1024", "plan", "--threads=4x");
    EXPECT(2, NULL, "--temperature takes a number from 0 to 10", "ingest", "--temperature", "nan", "x");
    EXPECT(2, NULL, "-L needs a value", "list", "-L");
    EXPECT(2, NULL, "--quiet takes no value", "list", "--quiet=yes");
    EXPECT(2, NULL, "there is no language klingon", "ingest", "-L", at("lib"), "--models", at("models"), "--language",
           "klingon", at("x.wav"));
    EXPECT(2, NULL, "a device is auto, cpu, cuda or cuda:N, not tpu", "plan", "--device", "tpu", "--with", "tiny");
    /* Words that would do something to a terminal are shown, not sent. */
    ended odd = RUN("\033[31mred");
    CHECK(!strchr(odd.err, '\033'), "an escape character was printed");
    expect(&odd, 2, NULL, "there is no command $'\\033[31mred'");
}

/* Every command and every option of its help is in the manual page and in the completions. */
static void test_papers(void)
{
    static const char *const shell[] = {"bash", "zsh", "fish"};
    char *completions[3], *manual;

    setup();
    ended e = RUN("help", "--man");
    manual = e.out, e.out = NULL;
    ended_done(&e);
    for (int i = 0; i < 3; i++) {
        e = RUN("completions", shell[i]);
        CHECK_INT(e.code, 0);
        completions[i] = e.out, e.out = NULL;
        ended_done(&e);
    }
    ended all = RUN("help");
    int commands = 0, options = 0;
    for (char *line = strtok(all.out, "\n"); line; line = strtok(NULL, "\n")) {
        char name[32];
        if (strncmp(line, "  ", 2) || !strncmp(line, "  earshot", 9) || sscanf(line, "  %31[a-z] ", name) != 1)
            continue;
        commands++;
        char section[64];
        snprintf(section, sizeof section, ".SS earshot %s ", name);
        CHECK(strstr(manual, section), "the manual page lacks %s", name);
        for (int i = 0; i < 3; i++) CHECK(strstr(completions[i], name), "%s lacks %s", shell[i], name);
        ended help = RUN("help", name);
        CHECK_INT(help.code, 0);
        for (char *p = help.out; (p = strstr(p, " --")); p++) {
            char option[32], in_man[64] = "\\-\\-";
            if (sscanf(p, " --%31[a-z-]", option) != 1) continue;
            options++;
            for (char *c = option; *c; c++) strcat(in_man, *c == '-' ? "\\-" : (char[2]){*c, 0});
            CHECK(strstr(manual, in_man), "the manual page lacks --%s", option);
            for (int i = 0; i < 3; i++) CHECK(strstr(completions[i], option), "%s lacks --%s", shell[i], option);
        }
        ended_done(&help);
    }
    CHECK(commands >= 12 && options > 60, "only %d commands and %d options were found", commands, options);
    ended_done(&all);
    for (int i = 0; i < 3; i++) free(completions[i]);
    free(manual);
}

/* ---- the road ---- */

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
    expect(&e, 0, "known", NULL);
    EXPECT(0, NULL, "small is loaded", INGEST, "-v", "--again", at("one.wav"));
    write_bytes(at("two.wav"), "", 0);
    char copy[9000];
    snprintf(copy, sizeof copy, "cp '%s' '%s'", at("one.wav"), at("two.wav"));
    CHECK_INT(system(copy), 0);
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

static int64_t member(const es_json_node *o, const char *key)
{
    int64_t value = -1;

    CHECK(es_json_int(es_json_get(o, key), 0, INT64_MAX, &value), "the plan has no %s", key);
    return value;
}

/* The regions of a plan make the arena, those of the models the regions, the largest program scratch; all fits. */
static void adds_up(const char *text)
{
    es_err err = {0};
    es_json *j = NULL;

    CHECK(es_json_parse(&j, text, strlen(text), "plan", &err) == ES_OK, "%s", err.text);
    const es_json_node *plan = es_json_root(j);
    int64_t weights = 0, state = 0, largest = 0;
    for (const es_json_node *m = es_json_first(es_json_get(plan, "models")); m; m = es_json_next(m)) {
        weights += member(m, "weights_bytes");
        state += member(m, "state_bytes");
        for (const es_json_node *g = es_json_first(es_json_get(m, "programs")); g; g = es_json_next(g))
            if (member(g, "peak_bytes") > largest) largest = member(g, "peak_bytes");
    }
    CHECK(weights > 1500000000 && state > 0 && largest > 0, "%" PRId64 " bytes of weights", weights);
    CHECK_INT(member(plan, "weights_bytes"), weights);
    CHECK_INT(member(plan, "state_bytes"), state);
    CHECK_INT(member(plan, "scratch_bytes"), largest);
    CHECK_INT(member(plan, "arena_bytes"), member(plan, "workspace_bytes") + weights + state + largest);
    CHECK_INT(member(plan, "total_bytes"), member(plan, "arena_bytes") + member(plan, "outside_bytes"));
    CHECK(member(plan, "total_bytes") <= member(plan, "budget_bytes"), "the plan is larger than its budget");
    es_json_close(j);
}

/* A speech model is measured without its weights; the parts make the whole. */
static void test_synthetic(void)
{
    setup();
    ended e = RUN("bench", "asr", "--synthetic", "tiny", "--device", "cpu", "--json");
    es_json *j = NULL;
    if (es_json_parse(&j, e.out, strlen(e.out), "bench", NULL) == ES_OK) {
        const es_json_node *o = es_json_root(j), *ms = es_json_get(o, "ms_a_window");
        double part, sum = 0, all = 0;
        for (const es_json_node *n = es_json_first(ms); n; n = es_json_next(n)) {
            CHECK(es_json_number(n, &part) && part >= 0, "%s takes no time", es_json_key(n));
            if (strcmp(es_json_key(n), "all")) sum += part;
            else all = part;
        }
        CHECK(all > 0 && sum >= 0.999 * all, "the parts take %g ms, all %g", sum, all);
        CHECK_INT(member(o, "allocations_after_open"), 0);
        CHECK(member(o, "arena_bytes") > 75000000, "the arena has no room for the weights");
    }
    es_json_close(j);
    expect(&e, 0, "\"times_real_time\"", NULL);
    EXPECT(2, NULL, "there is no speech model called nonsense", "bench", "asr", "--synthetic", "nonsense", "--device", "cpu");
    EXPECT(2, NULL, "--synthetic measures asr, not one.wav", "bench", "one.wav", "--synthetic", "tiny");
    EXPECT(3, NULL, "1.0 MB", "bench", "asr", "--synthetic", "tiny", "--device", "cpu", "--budget", "1M");
}

/* Where there is no GPU, auto says once that it runs on the CPU and why, and cuda is refused with one sentence. */
static void test_device(void)
{
    setup();
    wav("one.wav", NOISE, 1, 16000, 1);
    wav("two.wav", NOISE, 1.5, 16000, 1);
    EXPECT(2, NULL, "a device is auto, cpu, cuda or cuda:N", INGEST, "--device", "cuda:", at("one.wav"));
    EXPECT(3, NULL, "--device cuda:1000", INGEST, "--device", "cuda:1000", at("one.wav"));
    ended doctor = RUN("doctor", "--json", "--models", at("models"));
    bool none = strstr(doctor.out, "\"cuda\": []") != NULL;
    expect(&doctor, 0, "\"faults\": 0", NULL);
    if (!none) return;
    ended e = RUN(INGEST, "--device", "auto", at("one.wav"), at("two.wav"));
    CHECK_INT(lines_with(e.err, "models run on the CPU: "), 1);
    expect(&e, 0, "2 stored", NULL);
    e = RUN(INGEST, "--device", "cuda", at("one.wav"));
    CHECK_INT(lines_with(e.err, "\n"), 1);
    expect(&e, 3, NULL, "--device cuda: ");
    /* Planning for it needs no GPU. */
    ended plan = RUN("plan", "--device", "cuda", "--budget", "16G", "--with", "distil-large-v3", "--json");
    adds_up(plan.out);
    expect(&plan, 0, "distil-large-v3", NULL);
    /* Speech, segmentation and text vectors together on a card of 16 GB, and what is missing where they do not fit. */
    EXPECT(0, "gte-qwen2-1.5b.embed", NULL, "plan", "--device", "cuda", "--budget", "16G", "--with",
           "distil-large-v3,segmentation-3.0,gte-qwen2-1.5b");
    EXPECT(3, NULL, "5000", "plan", "--device", "cuda", "--budget", "5G", "--with",
           "distil-large-v3,segmentation-3.0,gte-qwen2-1.5b");
    EXPECT(2, NULL, "there is no architecture called nonsense", "plan", "--with", "minilm,nonsense");
}

static void read_and_compare(const char *a, const char *b)
{
    char *x = slurp(a), *y = slurp(b);

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
    CHECK_INT(lines_with(e.out, "\n"), 15);
    expect(&e, 0, "out/deep/talk-2.srt", NULL);
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
    EXPECT(0, "3 stored", NULL, "ingest", "-L", at("lib2"), "--models", at("models"), "--device", "cpu",
           "--temperature", "0", "--language", "en", "--threads", "1", at("b/talk.wav"), at("b/other talk.wav"),
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

/* ---- bad media: each is said, none stops the good one, and the library stays whole ---- */

static void refuse(const char *path, const char *sentence)
{
    ended e = RUN(INGEST, path, at("good.wav"));

    CHECK(lines_with(e.err, sentence) >= 1, "\"%s\" is not said of %s: %s", sentence, path, e.err);
    expect(&e, 1, "good.wav", "1 of 2 files failed");
    check_whole(at("lib"));
    EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
    check_nothing_left(at("lib"));
}

static void test_bad_files(void)
{
    static const char playlist[] = "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:5,\n";
    char text[9000];

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    refuse(at("missing.mp4"), "no such file or folder");
    mkdir(at("empty folder"), 0755);
    refuse(at("empty folder"), "nothing with a known media ending");
    mkdir(at("papers"), 0755);
    write_bytes(at("papers/notes.txt"), "words", 5);
    refuse(at("papers"), "nothing with a known media ending");
    write_bytes(at("text.mp4"), "This is no film, only a text about one.\n", 40);
    refuse(at("text.mp4"), "text.mp4: ");
    write_bytes(at("zero.mp3"), "", 0);
    refuse(at("zero.mp3"), "0 bytes");
    snprintf(text, sizeof text, "%s%s\n", playlist, at("good.wav"));
    write_bytes(at("hls.mp4"), text, strlen(text));
    refuse(at("hls.mp4"), "playlist");
    CHECK(mkfifo(at("pipe.wav"), 0644) == 0, "no pipe");
    refuse(at("pipe.wav"), "pipe.wav: ");
}

static void test_bad_video(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    wav("noise.wav", NOISE, 20, 16000, 1);
    if (!ffmpeg("-f lavfi -i testsrc2=size=64x64:rate=5 -t 1 -pix_fmt yuv420p silent.mp4")) return;
    refuse(at("silent.mp4"), "has no sound");
    if (!ffmpeg("-i noise.wav -f lavfi -i testsrc2=size=64x64:rate=5 -t 20 -c:v mpeg4 -c:a aac -movflags +faststart "
                "whole.mp4"))
        return;
    struct stat st;
    CHECK(stat(at("whole.mp4"), &st) == 0 && truncate(at("whole.mp4"), st.st_size / 2) == 0, "cannot cut a file");
    ended e = RUN(INGEST, at("whole.mp4"));
    CHECK(strstr(e.err, "the file ends early"), "nothing is said of a cut file: %s", e.err);
    expect(&e, 0, "whole.mp4: ", NULL);
    check_whole(at("lib"));
    /* Two sound tracks: the first, or the one that is asked for; the third is not there. */
    if (!ffmpeg("-i noise.wav -i good.wav -map 0 -map 1 -c:a flac two.mkv")) return;
    EXPECT(0, "0:20.0 of sound", NULL, INGEST, at("two.mkv"));
    EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--track", "1", at("two.mkv"));
    EXPECT(1, NULL, "has 2 audio tracks", INGEST, "--track", "2", at("two.mkv"));
    EXPECT(0, "(track 1)", NULL, "list", "-L", at("lib"));
    check_whole(at("lib"));
}

static void test_odd_sound(void)
{
    char name[64];

    setup();
    EXPECT(0, "0:00.1 of sound", NULL, INGEST, wav("short.wav", NOISE, 0.05, 16000, 1));
    EXPECT(0, "0 words, 1:00:00.0 of sound", NULL, INGEST, wav("silence.wav", SILENCE, 3600, 8000, 1));
    EXPECT(0, "not a number.wav: ", NULL, INGEST, wav("not a number.wav", NANS, 3, 16000, 1));
    for (int channels = 1; channels <= 8; channels++) {
        snprintf(name, sizeof name, "%d channels.wav", channels);
        EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--words", "off", wav(name, NOISE, 1, 16000, channels));
    }
    static const int rate[] = {8000, 11025, 22050, 44100, 48000, 96000, 192000};
    for (size_t i = 0; i < sizeof rate / sizeof rate[0]; i++) {
        snprintf(name, sizeof name, "%d Hz.wav", rate[i]);
        EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--words", "off", wav(name, NOISE, 1, rate[i], 2));
    }
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
}

static void test_odd_names(void)
{
    static const char *const name[] = {
        "with blank.wav",    "it's \"quoted\".wav", "two\nlines.wav", "\xc3\xa4\xe8\xaa\x9e.wav",
        "bell\a\033[1m.wav", "broken\xff.wav",      "-dash.wav"};

    setup();
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        wav(name[i], NOISE, 1 + 0.1 * (double)i, 16000, 1);
        ended e = RUN(INGEST, at(name[i]));
        CHECK(!strchr(e.out, '\a') && !strchr(e.out, '\033') && !strchr(e.err, '\033'),
              "a control character was printed");
        CHECK_INT(lines_with(e.out, "\n"), 1);
        expect(&e, 0, "of sound", NULL);
        EXPECT(0, "0:01.", NULL, "show", "-L", at("lib"), at(name[i]));
    }
    ended list = RUN("list", "-L", at("lib"));
    CHECK_INT(lines_with(list.out, "\n"), 8);
    CHECK(strstr(list.out, "two\\x0Alines.wav"), "%s", list.out);
    CHECK(strstr(list.out, "\xc3\xa4\xe8\xaa\x9e.wav"), "%s", list.out);
    expect(&list, 0, "7 recordings", NULL);
    EXPECT(0, "broken\xef\xbf\xbd.wav", NULL, "export", "-L", at("lib"), "-f", "json", "-o", "-", at("broken\xff.wav"));
    ended all = RUN("export", "-L", at("lib"), "-o", at("out"));
    CHECK_INT(lines_with(all.out, ".srt\n"), 7);
    expect(&all, 0, NULL, NULL);
    CHECK(access(at("out/with blank.srt"), R_OK) == 0 && access(at("out/it's \"quoted\".srt"), R_OK) == 0 &&
              access(at("out/two_lines.srt"), R_OK) == 0 && access(at("out/-dash.srt"), R_OK) == 0,
          "not every recording was exported");
    check_whole(at("lib"));
}

/* A folder with a link to itself, a hidden file, a cover and a film two levels down. */
static void test_folders(void)
{
    setup();
    mkdir(at("tree"), 0755), mkdir(at("tree/deep"), 0755), mkdir(at("tree/deep/er"), 0755);
    wav("tree/b.wav", NOISE, 1, 16000, 1);
    wav("tree/deep/er/a.wav", NOISE, 1.5, 16000, 1);
    wav("tree/.hidden.wav", NOISE, 2, 16000, 1);
    write_bytes(at("tree/cover.jpg"), "no picture", 10);
    CHECK(symlink("..", at("tree/deep/loop")) == 0 && symlink("gone", at("tree/dangling.wav")) == 0, "no links");
    ended e = RUN(INGEST, at("tree"), at("tree/deep"), at("tree"));
    CHECK(strstr(e.out, "b.wav") < strstr(e.out, "a.wav"), "names are not in the order of their bytes: %s", e.out);
    expect(&e, 0, "2 files: 2 stored, 0 known, 0 failed", NULL);
}

/* ---- bad models ---- */

static void test_no_pack(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(3, NULL, "make one with `earshot convert FOLDER`", "ingest", "-L", at("lib"), at("good.wav"));
    EXPECT(3, NULL, "there is no model pack here", "ingest", "-L", at("lib"), "--models", at("nowhere"),
           at("good.wav"));
    EXPECT(3, "there is no model pack here", NULL, "doctor", "--models", at("nowhere"));
    EXPECT(3, NULL, "no speech model called large", INGEST, "--asr", "large", at("good.wav"));
    EXPECT(3, NULL, "the memory budget of 1.0 MB", INGEST, "--budget", "1M", at("good.wav"));
    const es_seeded_whisper second = {
        .seed = 2, .width = 64, .layers = 1, .n_mels = 80, .vocab = 51864, .name = "second"};
    CHECK(es_seeded_whisper_write(at("models/second.pack"), &second) == 0, "cannot write a pack");
    EXPECT(2, NULL, "choose with --asr: second, small", INGEST, at("good.wav"));
    EXPECT(0, "of sound", NULL, INGEST, "--asr", "second", at("good.wav"));
    EXPECT(2, NULL, "second knows only English", INGEST, "--asr", "second", "--language", "de", at("good.wav"));
    EXPECT(0, "the model was second, now small", NULL, INGEST, "--asr", "small", at("good.wav"));
    check_whole(at("lib"));
}

/* A pack cut at any 4 KiB boundary is refused by name: the reader at every one, the program at some. */
static void test_cut_pack(void)
{
    struct stat st;
    const char *path = NULL;
    long refused = 0, cuts = 0;
    char kept[4400];

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("good.wav"));
    snprintf(kept, sizeof kept, "%s", at("models/small.pack"));
    path = kept;
    CHECK(stat(path, &st) == 0, "no pack");
    for (off_t at_byte = (st.st_size - 1) / 4096 * 4096; at_byte >= 0; at_byte -= 4096) {
        es_weights *w = NULL;
        es_err err = {0};
        CHECK(truncate(path, at_byte) == 0, "cannot cut");
        cuts++;
        refused += es_pack_open(&w, path, &err) != ES_OK && strstr(err.text, "small.pack") != NULL;
        es_weights_close(w);
        if (cuts % 300 == 1 || at_byte <= 8192) {
            ended e = RUN(INGEST, at("good.wav"));
            expect(&e, 3, NULL, "small.pack");
        }
    }
    CHECK(refused == cuts && cuts > 1000, "%ld of %ld cuts were refused", refused, cuts);
    EXPECT(3, "small.pack", NULL, "doctor", "--models", at("models"));
    check_whole(at("lib"));
}

/* A bit turned in the weights: only reading all of them can tell, and doctor does. */
static void test_turned_bit(void)
{
    setup();
    EXPECT(0, "whole", NULL, "doctor", "--models", at("models"));
    FILE *f = fopen(at("models/small.pack"), "r+b");
    if (f) {
        fseek(f, -1000, SEEK_END);
        int c = fgetc(f);
        fseek(f, -1000, SEEK_END);
        fputc(c ^ 1, f);
        fclose(f);
    }
    EXPECT(3, "small.pack", NULL, "doctor", "--models", at("models"));
}

/* A folder that holds something else is no library, and says so. */
static void test_bad_library(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(3, NULL, "there is no library", "list", "-L", at("lib"));
    EXPECT(0, "not made yet", NULL, "doctor", "--models", at("models"), "-L", at("lib"));
    mkdir(at("lib"), 0755);
    write_bytes(at("lib/data.mdb"), "This was never a library.", 25);
    EXPECT(3, NULL, "data.mdb", INGEST, at("good.wav"));
    EXPECT(3, NULL, "data.mdb", "check", "-L", at("lib"));
    EXPECT(3, "data.mdb", NULL, "doctor", "--models", at("models"), "-L", at("lib"));
    char *kept = slurp(at("lib/data.mdb"));
    CHECK_STR(kept, "This was never a library.");
    free(kept);
    write_bytes(at("file"), "no folder", 9);
    EXPECT(3, NULL, "file", INGEST, "-L", at("file"), at("good.wav"));
}

static void safetensors(const char *path, const char *header, size_t data)
{
    uint64_t n = (strlen(header) + 8 + 63) / 64 * 64 - 8;
    uint8_t length[8];
    FILE *f = fopen(path, "wb");

    if (!f) return;
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(n >> 8 * i);
    fwrite(length, 1, 8, f);
    fprintf(f, "%-*s", (int)n, header);
    for (size_t i = 0; i < data; i++) fputc(0, f);
    fclose(f);
}

static void test_other_architecture(void)
{
    char hex[33], header[600];
    const uint8_t zero[4] = {0};

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    es_hash_hex(hex, es_hash_bytes(zero, 4));
    snprintf(
        header, sizeof header,
        "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"ecapa\",\"name\":\"voice\",\"config\":\"{}\","
        "\"source\":\"x\",\"source_hash\":\"%s\",\"data_hash\":\"%s\",\"converter\":\"1\"},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        hex, hex);
    safetensors(at("voice.pack"), header, 4);
    EXPECT(3, NULL, "no speech model, only voice (ecapa)", "ingest", "-L", at("lib"), "--models", at("voice.pack"),
           at("good.wav"));
    EXPECT(3, NULL, "architecture ecapa", "ingest", "-L", at("lib"), "--models", at("voice.pack"), "--asr", "voice",
           at("good.wav"));
    /* Metadata that promises a Whisper and holds none. */
    char *whisper = strstr(header, "ecapa");
    memcpy(whisper, "whisper\"", 8);
    memmove(whisper + 8, whisper + 6, strlen(whisper + 6) + 1);
    safetensors(at("voice.pack"), header, 4);
    EXPECT(3, NULL, "voice", "ingest", "-L", at("lib"), "--models", at("voice.pack"), at("good.wav"));
}

static void test_bad_sources(void)
{
    static const uint8_t huge[16] = {0, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'};
    uint8_t ct2[64] = {6, 0, 0, 0, 0xFF, 0xFF, 'W', 'h', 'i'};

    setup();
    EXPECT(1, NULL, "nowhere", "convert", at("nowhere"), "-o", at("x.pack"));
    mkdir(at("empty"), 0755);
    EXPECT(1, NULL, "empty", "convert", at("empty"), "-o", at("x.pack"));
    mkdir(at("hf"), 0755);
    write_bytes(at("hf/model.safetensors"), huge, sizeof huge);
    write_bytes(at("hf/config.json"), "{}", 2);
    EXPECT(1, NULL, "model.safetensors", "convert", at("hf"), "-o", at("x.pack"));
    mkdir(at("ct2"), 0755);
    write_bytes(at("ct2/model.bin"), ct2, sizeof ct2);
    write_bytes(at("ct2/config.json"), "{}", 2);
    EXPECT(1, NULL, "model.bin", "convert", at("ct2"), "-o", at("x.pack"));
    CHECK(access(at("x.pack"), F_OK) != 0, "a pack was written");
    EXPECT(2, NULL, "--dtype takes f32|f16", "convert", "--dtype", "int3", at("hf"));
}

/* ---- bad times ---- */

static void test_read_only_library(void)
{
    const setting nobody = {.uid = 65534};

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    wav("more.wav", NOISE, 2, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("good.wav"));
    chmod(at("lib"), 0555);
    if (geteuid() == 0) { /* root may write anywhere: be somebody else, who reads the folder and no more */
        chmod(folder, 0777);
        char line[9000];
        snprintf(line, sizeof line, "chmod -R a+rX,go-w '%s'", at("lib"));
        CHECK_INT(system(line), 0);
        ended e = run_as(&nobody, INGEST, at("more.wav"), NULL);
        expect(&e, 3, NULL, "lib");
        e = run_as(&nobody, "list", "-L", at("lib"), NULL);
        expect(&e, 0, "1 recording,", NULL);
        e = run_as(&nobody, "export", "-L", at("lib"), "-o", at("out"), NULL);
        expect(&e, 0, "good.srt", NULL);
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
    const setting small = {.file_limit = 600000}, tiny = {.file_limit = 20000};
    ended e = run_as(&small, INGEST, at("long.wav"), NULL);
    CHECK(strstr(e.err, "long.wav") || strstr(e.err, "lib"), "%s", e.err);
    expect(&e, 1, NULL, NULL);
    e = run_as(&tiny, INGEST, "--again", at("good.wav"), NULL);
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
    pid_t pid[3];
    char out[3][4400], err[3][4400];
    int stored = 0, known = 0;

    setup();
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%d.wav", i);
        mkdir(at("many"), 0755);
        wav(name, NOISE, 3 + i, 16000, 1);
    }
    for (int i = 0; i < 3; i++) {
        const char *argv[] = {program(), INGEST, at("many"), NULL};
        snprintf(out[i], sizeof out[i], "%s/out%d", folder, i);
        snprintf(err[i], sizeof err[i], "%s/err%d", folder, i);
        pid[i] = start(NULL, out[i], err[i], argv);
    }
    for (int i = 0; i < 3; i++) {
        int code = finish(pid[i]), s = -1, k = -1, f = -1;
        char *text = slurp(out[i]), *said = slurp(err[i]), *line = strstr(text, "4 files: ");
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

/* Recordings that go side by side say what each says alone; a copy of one of them waits and is known; one that breaks off
 * touches no other. */
static void test_side_by_side(void)
{
    static const char *const name[] = {"side/a.wav", "side/b.wav", "side/c.wav"};

    setup();
    mkdir(at("side"), 0755);
    for (int i = 0; i < 3; i++) wav(name[i], NOISE, 1.5 + i, 16000, 1);
    wav("side/copy.wav", NOISE, 1.5, 16000, 1);
    FILE *f = fopen(at("side/broken.wav"), "wb");
    fputs("no sound", f);
    fclose(f);
    EXPECT(1, "5 files: 3 stored, 1 known, 1 failed", "broken.wav", INGEST, at("side"));
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
    for (int i = 0; i < 3; i++) {
        EXPECT(0, NULL, NULL, "ingest", "-L", at("alone"), "--models", at("models"), "--device", "cpu", "--temperature", "0",
               "--language", "en", "--quiet", at(name[i]));
        ended together = RUN("show", "-L", at("lib"), at(name[i]), "--json");
        ended alone = RUN("show", "-L", at("alone"), at(name[i]), "--json");
        CHECK(together.code == 0 && strlen(together.out) > 100 && !strcmp(together.out, alone.out), "%s: %s beside others, %s alone",
              name[i], together.out, alone.out);
        expect(&together, 0, NULL, NULL);
        expect(&alone, 0, NULL, NULL);
    }
    /* One after the other is another setting, and says so. */
    EXPECT(0, "windows was batched, now sequential", NULL, INGEST, "--sequential", at(name[0]));
    EXPECT(0, "word", NULL, INGEST, "--sequential", "--again", at(name[0]));
    EXPECT(0, "windows was sequential, now batched", NULL, INGEST, at(name[0]));
}

static void test_interrupt(void)
{
    static const int number[] = {SIGINT, SIGTERM, SIGKILL};
    struct timespec wait = {.tv_nsec = 20000000};

    setup();
    wav("first.wav", NOISE, 1, 16000, 1);
    wav("long.wav", NOISE, 1800, 16000, 1);
    for (int k = 0; k < 3; k++) {
        char out[4400], *text = NULL;
        snprintf(out, sizeof out, "%s", at("interrupted"));
        const char *argv[] = {program(), INGEST, "--again", at("first.wav"), at("long.wav"), NULL};
        pid_t pid = start(NULL, out, at("stderr"), argv);
        for (int i = 0; i < 3000; i++) { /* until the first file is stored, and a little longer */
            nanosleep(&wait, NULL);
            free(text);
            text = slurp(out);
            if (strstr(text, "first.wav: ")) break;
        }
        for (int i = 0; i < 40; i++) nanosleep(&wait, NULL);
        kill(pid, number[k]);
        int code = finish(pid);
        char *said = slurp(at("stderr"));
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

/* ---- a terminal ---- */

static void test_progress(void)
{
    char text[65536];
    size_t n = 0;
    int master = posix_openpt(O_RDWR | O_NOCTTY);

    setup();
    /* Long enough that an estimate is shown, which takes half a second of work. */
    wav("long.wav", NOISE, 900, 16000, 1);
    if (master < 0 || grantpt(master) || unlockpt(master)) {
        CHECK(false, "no pseudo terminal");
        return;
    }
    const char *name = ptsname(master);
    int slave = open(name, O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_col = 70, .ws_row = 24};
    ioctl(slave, TIOCSWINSZ, &size);
    setenv("TERM", "xterm", 1);
    const char *argv[] = {program(), INGEST, at("long.wav"), NULL};
    pid_t pid = start(NULL, at("stdout"), name, argv);
    close(slave);
    for (;;) {
        struct pollfd p = {.fd = master, .events = POLLIN};
        if (poll(&p, 1, 60000) <= 0) break;
        ssize_t got = read(master, text + n, sizeof text - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
        if (n >= sizeof text - 1) break;
    }
    text[n] = 0;
    CHECK_INT(finish(pid), 0);
    close(master);
    CHECK(strstr(text, "\r"), "no line is written over");
    CHECK(strstr(text, " %") && strstr(text, "transcribing"), "no percentage: %.500s", text);
    CHECK(strstr(text, "real time") && strstr(text, " left"), "no speed or estimate: %.500s", text);
    for (char *p = strtok(text, "\r\n"); p; p = strtok(NULL, "\r\n")) {
        int width = 0;
        for (const char *c = p; *c; c++) width += ((unsigned char)*c & 0xC0) != 0x80 && *c != '\033';
        CHECK(width <= 73 || strstr(p, "earshot: "), "a line of %d columns: %s", width, p); /* \033[K is 3 more */
    }
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"usage", test_usage},
        {"papers", test_papers},
        {"road", test_road},
        {"device", test_device},
        {"synthetic", test_synthetic},
        {"export", test_export},
        {"bad_files", test_bad_files},
        {"bad_video", test_bad_video},
        {"odd_sound", test_odd_sound},
        {"odd_names", test_odd_names},
        {"folders", test_folders},
        {"no_pack", test_no_pack},
        {"cut_pack", test_cut_pack},
        {"turned_bit", test_turned_bit},
        {"bad_library", test_bad_library},
        {"other_architecture", test_other_architecture},
        {"bad_sources", test_bad_sources},
        {"read_only_library", test_read_only_library},
        {"full_disk", test_full_disk},
        {"two_at_once", test_two_at_once},
        {"side_by_side", test_side_by_side},
        {"interrupt", test_interrupt},
        {"progress", test_progress},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
