/*
 * test_cli.c - what the program says: usage and mistakes in it, the manual page and the completions, progress on a terminal.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "ingest.h"

static void test_usage(void)
{
    setup();
    ended e = RUN("help");
    CHECK(strstr(e.out, "ingest") && strstr(e.out, "doctor"), "%s", e.out);
    ENDED(&e, 0, "usage: earshot COMMAND", NULL);
    e = program_run(NULL, NULL);
    ENDED(&e, 2, NULL, "usage: earshot");
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
    ENDED(&odd, 2, NULL, "there is no command $'\\033[31mred'");
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
    setenv("NO_COLOR", "1", 1); /* so that columns can be counted */
    const char *argv[] = {program_path(), INGEST, at("long.wav"), NULL};
    pid_t pid = program_start(&(program_setting){.err = name}, argv);
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
    CHECK_INT(program_finish(pid, NULL), 0);
    close(master);
    CHECK(strstr(text, "\r"), "no line is written over");
    CHECK(strstr(text, " %") && strstr(text, "transcribing"), "no percentage: %.500s", text);
    CHECK(strstr(text, "real time") && strstr(text, " left"), "no speed or estimate: %.500s", text);
    for (char *p = strtok(text, "\r\n"); p; p = strtok(NULL, "\r\n")) {
        int width = 0;
        for (const char *c = p; *c; c++) width += ((unsigned char)*c & 0xC0) != 0x80 && *c != '\033';
        CHECK(width <= 73 || strstr(p, "earshot: "), "a line of %d columns: %s", width, p); /* [K and [J are 4 more */
    }
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"usage", test_usage},
        {"papers", test_papers},
        {"progress", test_progress},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
