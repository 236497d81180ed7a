/*
 * test_cli_follow.c - what ingest and watch say while they work: JSON lines, the lines on a terminal, and a watch from its
 * first file to its end.
 *
 * A watch is followed by its own JSON lines: every step of the test waits for one, none for a time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/json.h"
#include "ingest.h"

/* ---- JSON lines ---- */

/* What every object of a kind has, separated by blanks. */
static const struct {
    const char *event, *members;
} kinds[] = {
    {"start", "path index count"},
    {"progress", "path index count stage fraction speed seconds audio_ms eta_seconds fraction_all eta_all_seconds"},
    {"stored", "path index count id words speed seconds audio_ms"},
    {"known", "path index count text"},
    {"failed", "path index count text"},
    {"note", "path index count text"},
    {"message", "level text"},
    {"waiting", ""},
    {"summary", "files stored known failed audio_ms seconds speed files_per_hour windows tokens passages vectors passages_per_second "
                "arena_bytes peak_bytes cancelled stages"},
    {"error", "code text"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static int has_members(const es_json_node *o, const char *members)
{
    char list[400], *save = NULL;
    int n = 0;

    snprintf(list, sizeof list, "%s", members);
    for (char *m = strtok_r(list, " ", &save); m; m = strtok_r(NULL, " ", &save), n++)
        CHECK(es_json_get(o, m), "an object has no %s", m);
    return n;
}

/* Every line is an object of a known kind with all of its members and no others; path_hex where the path is not UTF-8. How
 * often each kind came goes to count[KINDS]. */
static void check_lines(const char *text, int *count)
{
    char *copy = strdup(text), *save = NULL;

    memset(count, 0, KINDS * sizeof *count);
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        es_json *j = NULL;
        es_err err = {0};
        int k = 0, n = 0;
        CHECK(es_json_parse(&j, line, strlen(line), "line", &err) == ES_OK, "%s: %s", err.text, line);
        if (!j) continue;
        const es_json_node *o = es_json_root(j);
        const char *event = es_json_string(es_json_get(o, "event")), *path = es_json_string(es_json_get(o, "path"));
        while (k < KINDS && event && strcmp(kinds[k].event, event)) k++;
        CHECK(event && k < KINDS, "no event is called so: %s", line);
        if (event && k < KINDS) {
            int want = 1 + has_members(o, kinds[k].members) + (es_json_get(o, "path_hex") != NULL);
            for (const es_json_node *m = es_json_first(o); m; m = es_json_next(m)) n++;
            CHECK(n == want, "%d members, not %d: %s", n, want, line);
            count[k]++;
        }
        CHECK(!path || (strstr(path, "\xef\xbf\xbd") != NULL) == (es_json_get(o, "path_hex") != NULL), "%s", line);
        for (const es_json_node *s = es_json_first(es_json_get(o, "stages")); s; s = es_json_next(s))
            has_members(s, "stage label seconds busy speed fill");
        es_json_close(j);
    }
    free(copy);
}

static int count_of(const int *count, const char *event)
{
    for (int k = 0; k < KINDS; k++)
        if (!strcmp(kinds[k].event, event)) return count[k];
    return -1;
}

static void test_json_lines(void)
{
    static const char *const name[] = {"in/with \"quotes\".wav", "in/two\nlines.wav", "in/broken\xff.wav", "in/\xc3\xa4\xe8\xaa\x9e.wav"};
    int count[KINDS];

    setup();
    mkdir(at("in"), 0755);
    for (int i = 0; i < 4; i++) wav(name[i], NOISE, 1 + 0.2 * i, 16000, 1);
    write_file(at("in/bad.wav"), "no sound", 8);
    ended e = RUN(INGEST, "--json-lines", at("in"));
    check_lines(e.out, count);
    CHECK(count_of(count, "start") == 5 && count_of(count, "stored") == 4 && count_of(count, "failed") == 1 &&
              count_of(count, "summary") == 1 && count_of(count, "progress") > 0 && count_of(count, "error") == 0,
          "%s", e.out);
    CHECK(strstr(e.out, "\"path_hex\": \"") && strstr(e.out, "62726f6b656eff2e776176\""), "%s", e.out); /* broken\xff.wav */
    CHECK(strstr(e.out, "{\"stage\": \"encode\"") && strstr(e.out, "{\"stage\": \"text\"") && strstr(e.out, "{\"stage\": \"load\""), "%s",
          e.out);
    CHECK(!strstr(e.err, "bad.wav"), "what a program was told is said once more: %s", e.err);
    ENDED(&e, 1, "\"files\": 5, \"stored\": 4, \"known\": 0, \"failed\": 1", NULL);

    e = RUN(INGEST, "--json-lines", "-q", at("in"));
    check_lines(e.out, count);
    CHECK(count_of(count, "failed") == 1 && count_of(count, "summary") == 1 && count_in(e.out, "\n") == 2, "%s", e.out);
    ENDED(&e, 1, "\"known\": 4", NULL);

    e = RUN("ingest", "--json-lines", "-L", at("lib"), "--models", at("nowhere"), at("in"));
    check_lines(e.out, count);
    CHECK_INT(count_of(count, "error"), 1);
    ENDED(&e, 3, "\"code\": \"not found\"", "there is no model pack here");
}

/* The summary for people: after several files, or with -v. */
static void test_summary(void)
{
    setup();
    mkdir(at("in"), 0755);
    wav("in/a.wav", NOISE, 2, 16000, 1);
    wav("in/b.wav", NOISE, 3, 16000, 1);
    ended e = RUN(INGEST, at("in"));
    CHECK(strstr(e.out, "files an hour") && strstr(e.out, "x real time") && strstr(e.out, "mel and encoder") && strstr(e.out, "decoder") &&
              strstr(e.out, "tokens"),
          "%s", e.out);
    ENDED(&e, 0, "2 files: 2 stored, 0 known, 0 failed; 0:05.0 of sound", NULL);
    e = RUN(INGEST, "-q", "--again", at("in"));
    CHECK_STR(e.out, "");
    ENDED(&e, 0, NULL, NULL);
    EXPECT(0, "mel and encoder", NULL, INGEST, "-v", "--again", at("in/a.wav"));
}

/* ---- a terminal ---- */

/* Runs ingest of the folder "in" on a terminal of so many columns; what it wrote to it, the caller's to free. */
static char *on_terminal(int columns, const char *term)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    char *text = calloc(1, 1 << 20);
    size_t n = 0;

    CHECK(master >= 0 && !grantpt(master) && !unlockpt(master), "no pseudo terminal");
    const char *name = ptsname(master);
    int slave = open(name, O_RDWR | O_NOCTTY);
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = 24};
    ioctl(slave, TIOCSWINSZ, &size);
    setenv("TERM", term, 1);
    const char *argv[] = {program_path(), INGEST, "--again", at("in"), NULL};
    pid_t pid = program_start(&(program_setting){.err = name}, argv);
    close(slave);
    for (;;) {
        struct pollfd p = {.fd = master, .events = POLLIN};
        if (poll(&p, 1, 60000) <= 0) break;
        ssize_t got = read(master, text + n, (1 << 20) - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    CHECK_INT(program_finish(pid, NULL), 0);
    close(master);
    return text;
}

/* Columns of each line without its sequences; a wide character of these names has three bytes and two columns. */
static void check_columns(const char *text, int most)
{
    int width = 0;

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (!strncmp(p, "earshot: ", 9)) p = strchr(p, '\n') ? strchr(p, '\n') : p; /* a message, which may be longer */
        c = (unsigned char)*p;
        if (c == '\r' || c == '\n') width = 0;
        if (c == '\033') {
            while (p[1] && !(p[1] >= 'A' && p[1] <= 'Z') && !(p[1] >= 'a' && p[1] <= 'z')) p++;
            if (p[1]) p++;
            continue;
        }
        width += c < 0x20 || (c & 0xC0) == 0x80 ? 0 : c >= 0xE0 ? 2 : 1;
        CHECK(width <= most, "a line of more than %d columns: %.200s", most, p > text + 100 ? p - 100 : text);
        if (width > most) return;
    }
}

static void test_terminal(void)
{
    setup();
    mkdir(at("in"), 0755);
    wav("in/one.wav", NOISE, 12, 16000, 1);
    wav("in/\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c\xe4\xba\x8c.wav", NOISE, 10, 16000, 1);
    wav("in/a name that is much longer than any terminal of this test has columns, and then some.wav", NOISE, 8, 16000, 1);
    setenv("NO_COLOR", "1", 1);
    for (int columns = 100; columns >= 25; columns /= 2) {
        char *text = on_terminal(columns, "xterm");
        CHECK(strstr(text, "one.wav") && strstr(text, " of 3 files") && strstr(text, "%"), "%d columns: %.500s", columns, text);
        CHECK(strstr(text, "\033[2A") || strstr(text, "\033[3A"), "not several lines: %.500s", text);
        CHECK(!strstr(text, "\033[1m"), "color, although there is to be none");
        check_columns(text, columns - 1);
        free(text);
    }
    unsetenv("NO_COLOR");
    char *text = on_terminal(80, "xterm");
    CHECK(strstr(text, "\033[1m") && strstr(text, "\033[0m"), "no color: %.500s", text);
    free(text);
    text = on_terminal(80, "dumb");
    CHECK(!strchr(text, '\033') && !strstr(text, "files"), "a dumb terminal was written to: %.500s", text);
    free(text);
}

/* ---- watch ---- */

typedef struct watch {
    pid_t pid;
    char out[4400], *text;
} watch;

static watch begin_watch(const char *option)
{
    watch w = {0};

    snprintf(w.out, sizeof w.out, "%s", at("lines"));
    const char *argv[] = {program_path(), "watch", "-L", at("lib"), "--models", at("models"), "--device", "cpu", "--temperature", "0",
                          "--language", "en", "--json-lines", "--settle", "1", at("in"), option, NULL};
    unlink(w.out);
    w.pid = program_start(&(program_setting){.out = w.out}, argv);
    return w;
}

/* Until there are so many lines of this event about this file (NULL: whatever). */
static void until(watch *w, const char *event, const char *file, int count)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    char what[64];
    int n = 0;

    snprintf(what, sizeof what, "{\"event\": \"%s\"", event);
    for (int tries = 0; tries < 6000 && n < count; tries++) {
        if (tries) nanosleep(&moment, NULL);
        free(w->text);
        w->text = read_file(w->out, NULL);
        n = 0;
        for (const char *p = w->text; (p = strstr(p, what)); p++) {
            const char *ends = strchr(p, '\n'), *at_name = file ? strstr(p, file) : p;
            n += ends && at_name && at_name < ends;
        }
    }
    CHECK(n == count, "%d times %s of %s, not %d: %s", n, event, file ? file : "anything", count, w->text);
}

static void end_watch(watch *w, int number)
{
    int count[KINDS];

    kill(w->pid, number);
    CHECK_INT(program_finish(w->pid, NULL), 0);
    until(w, "summary", NULL, 1);
    check_lines(w->text, count);
    CHECK_INT(count_of(count, "error"), 0);
    free(w->text);
    w->text = NULL;
}

static void test_watch(void)
{
    setup();
    mkdir(at("in"), 0755);
    wav("in/there.wav", NOISE, 1, 16000, 1);
    watch w = begin_watch(NULL);
    until(&w, "stored", "there.wav", 1);
    until(&w, "waiting", NULL, 2); /* once before it has rested, and when it was done */

    /* One is written slowly, while others come: it is not touched before it is closed. */
    size_t n = 0;
    char *bytes = read_file(wav("slow source.wav", NOISE, 1.2, 16000, 1), &n);
    FILE *f = fopen(at("in/slow.wav"), "wb");
    CHECK(f && fwrite(bytes, 1, n / 2, f) == n / 2 && fflush(f) == 0, "cannot write");
    wav("moved.wav", NOISE, 1.4, 16000, 1);
    CHECK(rename(at("moved.wav"), at("in/moved.wav")) == 0, "cannot move a file");
    until(&w, "stored", "moved.wav", 1);
    mkdir(at("in/new"), 0755);
    wav("in/new/below.wav.part", NOISE, 1.6, 16000, 1);
    CHECK(rename(at("in/new/below.wav.part"), at("in/new/below.wav")) == 0, "cannot move a file");
    until(&w, "stored", "below.wav", 1);
    write_file(at("in/bad.wav"), "no sound", 8);
    until(&w, "failed", "bad.wav", 1);
    CHECK(!strstr(w.text, "slow.wav"), "a file was taken while it was written: %s", w.text);
    if (f) fwrite(bytes + n / 2, 1, n - n / 2, f), fclose(f);
    free(bytes);
    until(&w, "stored", "slow.wav", 1);
    /* A copy of what is known, and a file that is mended after it failed. */
    wav("again.wav", NOISE, 1, 16000, 1);
    CHECK(rename(at("again.wav"), at("in/again.wav")) == 0, "cannot move a file");
    until(&w, "known", "again.wav", 1);
    wav("mended.wav", NOISE, 1.8, 16000, 1);
    CHECK(rename(at("mended.wav"), at("in/bad.wav")) == 0, "cannot move a file");
    until(&w, "stored", "bad.wav", 1);
    CHECK_INT(count_in(w.text, "{\"event\": \"stored\""), 5);
    CHECK_INT(count_in(w.text, "small is loaded"), 0); /* that is information, which -v asks for */
    end_watch(&w, SIGTERM);
    EXPECT(0, "5 recordings,", NULL, "list", "-L", at("lib"));
    check_whole(at("lib"));
    check_nothing_left(at("lib"));

    /* The next one knows them, and Ctrl-C is as good an end, also while it looks instead of being told. */
    w = begin_watch("--poll");
    until(&w, "known", NULL, 6);
    wav("in/last.wav", NOISE, 2, 16000, 1);
    until(&w, "stored", "last.wav", 1);
    end_watch(&w, SIGINT);
    EXPECT(0, "6 recordings,", NULL, "list", "-L", at("lib"));
    check_whole(at("lib"));
}

static void test_watch_refused(void)
{
    setup();
    EXPECT(3, NULL, "nowhere: no such folder", "watch", "-L", at("lib"), "--models", at("models"), "--device", "cpu", at("nowhere"));
    EXPECT(2, NULL, "only folders can be watched", "watch", "-L", at("lib"), "--models", at("models"), "--device", "cpu",
           wav("one.wav", NOISE, 1, 16000, 1));
    EXPECT(2, NULL, "there is no language klingon", "watch", "-L", at("lib"), "--models", at("models"), "--device", "cpu",
           "--language", "klingon", es_test_folder());
    EXPECT(2, NULL, "watch needs FOLDER", "watch");
    EXPECT(2, NULL, "--settle takes a whole number", "watch", "--settle", "0", es_test_folder());
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"json_lines", test_json_lines}, {"summary", test_summary}, {"terminal", test_terminal},
        {"watch_refused", test_watch_refused}, {"watch", test_watch},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
