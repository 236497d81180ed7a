/*
 * test_config.c - settings of the file, of the environment and of the command line: which wins, where each is said to come
 * from, and what is said about lines that mean nothing.
 */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "program.h"

static char out[65536];

static void conf(const char *text)
{
    write_file(at("c.conf"), text, strlen(text));
}

/* Runs a line of the shell in the folder, `earshot` standing for the program; both outputs go to `out`. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char words[4096];
    va_list ap;

    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    ended e = program_line("{ %s ; } 2>&1", words);
    int code = e.code;
    snprintf(out, sizeof out, "%s", e.out);
    ended_done(&e);
    return code;
}

/* The line of `earshot config` about a setting holds these words, with blanks between them. */
static void in_force(const char *name, const char *value, const char *origin)
{
    char want[400], have[400] = "";

    for (const char *line = out; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, strlen(name)) || line[strlen(name)] != ' ') continue;
        size_t n = 0;
        for (const char *p = line; *p && *p != '\n' && n < sizeof have - 1; p++)
            if (*p != ' ' || (n && have[n - 1] != ' ')) have[n++] = *p;
        have[n] = 0;
    }
    snprintf(want, sizeof want, "%s %s %s", name, value, origin);
    CHECK_STR(have, want);
}

static void which_wins(void)
{
    conf("# who listens\n\n  language=en  \nbudget = 8G\r\nvtt-words = on\nmax-lines = 3\nprompt = \"  a # b \"\nlibrary = ~/lib\n"
         "threads = 2\nquiet = off\n");
    CHECK_INT(run("earshot config -c c.conf"), 0);
    in_force("language", "en", "line 3");
    in_force("budget", "8000000000", "line 4");
    in_force("vtt-words", "on", "line 5");
    in_force("max-lines", "3", "line 6");
    in_force("quiet", "off", "line 10");
    in_force("asr", "-", "default");
    CHECK(strstr(out, "  a # b "), "quoted blanks: %s", out);
    in_force("library", at("lib"), "line 8");
    CHECK_INT(run("EARSHOT_LANGUAGE=de EARSHOT_MAX_LINES=1 EARSHOT_ASR= EMBEDDING_DEVICE=cpu earshot config -c c.conf --threads 5 --max-lines 4"), 0);
    in_force("language", "de", "environment EARSHOT_LANGUAGE");
    in_force("embedder-device", "cpu", "environment EMBEDDING_DEVICE");
    in_force("max-lines", "4", "option --max-lines");
    in_force("threads", "5", "option --threads");
    in_force("budget", "8000000000", "line 4");
    in_force("asr", "-", "default");
    CHECK_INT(run("EARSHOT_EMBEDDER_DEVICE=auto EMBEDDING_DEVICE=cpu earshot config"), 0);
    in_force("embedder-device", "auto", "environment EARSHOT_EMBEDDER_DEVICE");
    CHECK_INT(run("earshot config -c c.conf --json"), 0);
    CHECK(strstr(out, "{\"name\": \"language\", \"value\": \"en\", \"from\": \"line 3\"}"), "%s", out);
    CHECK(strstr(out, "{\"name\": \"asr\", \"value\": null, \"from\": \"default\"}"), "%s", out);
}

/* What is in force reaches the commands, and only those that know it. */
static void settings_reach_commands(void)
{
    conf("threads = 2\nbudget = 1M\nmax-lines = 3\n");
    CHECK_INT(run("earshot plan -c c.conf --with tiny"), 3);
    CHECK(strstr(out, "the memory budget of 1.0 MB"), "%s", out);
    CHECK_INT(run("EARSHOT_BUDGET=2M earshot plan -c c.conf --with tiny"), 3);
    CHECK(strstr(out, "the memory budget of 2.0 MB"), "%s", out);
    CHECK_INT(run("EARSHOT_BUDGET=2M earshot plan -c c.conf --with tiny --budget 1G"), 0);
    CHECK_INT(run("earshot plan --with tiny"), 0); /* another file is not read */
    CHECK_INT(run("EARSHOT_BUDGET=x earshot list"), 3); /* no library; what does not concern it is not looked at */
    CHECK(!strstr(out, "EARSHOT_BUDGET"), "%s", out);
    /* The default place. */
    CHECK_INT(run("earshot config"), 0);
    CHECK(strstr(out, "/xdg/earshot/earshot.conf is not there"), "%s", out);
    CHECK_INT(run("mkdir -p xdg/earshot && cp c.conf xdg/earshot/earshot.conf && earshot config"), 0);
    in_force("budget", "1000000", "line 2");
    CHECK_INT(run("earshot plan --with tiny"), 3);
    CHECK_INT(run("mkdir -p .config/earshot && echo 'language = fr' >.config/earshot/earshot.conf && XDG_CONFIG_HOME=relative earshot config"), 0);
    in_force("language", "fr", "line 1");
    CHECK_INT(run("unset HOME XDG_CONFIG_HOME; earshot config"), 0);
    in_force("language", "-", "default");
    CHECK_INT(run("rm -r xdg .config; XDG_CONFIG_HOME= HOME= earshot config"), 0);
    CHECK_INT(run("earshot version"), 0);
}

static void bad_lines(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {{"language = en\n\nlanguag = de\n", "c.conf, line 3: there is no setting languag"},
               {"# x\nlanguage\n", "c.conf, line 2: a setting is NAME = VALUE, not language"},
               {"threads = many\n", "c.conf, line 1: threads takes a whole number from 0 to 1024, not many"},
               {"budget = 16X\n", "c.conf, line 1: budget takes an amount of memory"},
               {"words = maybe\n", "c.conf, line 1: words takes on|off, not maybe"},
               {"vtt-words = yes\n", "c.conf, line 1: vtt-words takes on or off, not yes"},
               {"asr =\n", "c.conf, line 1: asr needs a value that is not empty"},
               {"asr = a\nbudget = 1G\nasr = b\n", "c.conf, line 3: asr is set on line 1 already"},
               {"temperature = 11\n", "c.conf, line 1: temperature takes a number from 0 to 10, not 11"},
               {"again = on\n", "c.conf, line 1: there is no setting again"},
               {"json = on\n", "there is no setting json"},
               {"= x\n", "c.conf, line 1: there is no setting"},
               {"\x01\x02\n", "c.conf, line 1: a setting is NAME = VALUE"}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        conf(bad[i].text);
        CHECK_INT(run("earshot config -c c.conf"), 2);
        CHECK(strstr(out, bad[i].says), "\"%s\" is not in: %s", bad[i].says, out);
    }
    conf("threads = many\n");
    CHECK_INT(run("earshot list -c c.conf"), 2); /* the whole file is checked */
    CHECK(strstr(out, "line 1: threads"), "%s", out);
    CHECK_INT(run("earshot config -c c.conf --threads 2"), 2);
    CHECK_INT(run("earshot help -h -c c.conf; earshot version"), 0); /* what reads no settings goes on */
    write_file(at("c.conf"), "asr = x\n\0\n", 10);
    CHECK_INT(run("earshot config -c c.conf"), 2);
    CHECK(strstr(out, "zero byte"), "%s", out);
    CHECK_INT(run("earshot config -c nowhere.conf"), 2);
    CHECK(strstr(out, "nowhere.conf: the settings cannot be read"), "%s", out);
    CHECK_INT(run("earshot config -c ."), 2);
    CHECK_INT(run("head -c 1100000 /dev/zero | tr '\\0' '#' >c.conf; earshot config -c c.conf"), 2);
    CHECK(strstr(out, "larger than 1 MiB"), "%s", out);
    CHECK_INT(run("EARSHOT_THREADS=x earshot config"), 2);
    CHECK(strstr(out, "EARSHOT_THREADS takes a whole number"), "%s", out);
    CHECK_INT(run("EARSHOT_THREADS=x earshot config --threads 1"), 0); /* it is not in force */
    conf(""); /* nothing at all, and no newline at the end */
    CHECK_INT(run("earshot config -c c.conf"), 0);
    conf("language = en");
    CHECK_INT(run("earshot config -c c.conf"), 0);
    in_force("language", "en", "line 1");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"which_wins", which_wins},
        {"settings_reach_commands", settings_reach_commands},
        {"bad_lines", bad_lines},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
