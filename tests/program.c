/*
 * program.c - starts the program in the test's folder, collects what it prints, and compares.
 */
#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 48 };

const char *program_path(void)
{
    return ES_BINARY_DIR "/earshot";
}

/* In the child: the environment of somebody who has just installed the program. */
static void surround(void)
{
    char path[8192];
    const char *old = getenv("PATH");

    snprintf(path, sizeof path, "%s:%s", ES_BINARY_DIR, old ? old : "/usr/bin:/bin");
    setenv("PATH", path, 1);
    setenv("HOME", es_test_folder(), 1);
    setenv("XDG_CONFIG_HOME", at("xdg"), 1);
    setenv("XDG_DATA_HOME", at("data"), 1);
    setenv("TZ", "UTC", 1);
    setenv("EMBEDDING_DEVICE", "cpu", 0); /* as every test asks for speech on the CPU */
    setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99", 0);
}

pid_t program_start(const program_setting *s, const char *const *argv)
{
    const char *out = s && s->out ? s->out : at("stdout"), *err = s && s->err ? s->err : at("stderr");

    fflush(NULL);
    pid_t pid = fork();
    if (pid) return pid;
    int null = open("/dev/null", O_RDONLY), o = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0666);
    int e = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0666);
    if (null < 0 || o < 0 || e < 0) _exit(119);
    dup2(null, 0), dup2(o, 1), dup2(e, 2);
    surround();
    for (const char *const *more = s ? s->environment : NULL; more && *more; more++) putenv((char *)(uintptr_t)*more);
    if (s && s->file_limit) {
        const struct rlimit limit = {s->file_limit, s->file_limit};
        signal(SIGXFSZ, SIG_IGN); /* a write past it fails instead of killing */
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    int program = open(argv[0], O_RDONLY | O_CLOEXEC); /* somebody else may not walk through the folders it lies in */
    if (s && s->uid && (setgid(s->uid) || setuid(s->uid))) _exit(120);
    fexecve(program, (char *const *)(uintptr_t)argv, environ);
    _exit(121);
}

int program_finish(pid_t pid, long *peak_kib)
{
    struct rusage used = {0};
    int status = 0;

    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR) return 2000;
    if (peak_kib) *peak_kib = used.ru_maxrss;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static ended run(const program_setting *s, const char *const *argv)
{
    ended e = {0};

    e.code = program_finish(program_start(s, argv), &e.peak_kib);
    e.out = read_file(s && s->out ? s->out : at("stdout"), &e.n_out);
    e.err = read_file(s && s->err ? s->err : at("stderr"), NULL);
    return e;
}

ended program_run(const program_setting *s, ...)
{
    const char *argv[WORDS] = {program_path()};
    va_list ap;
    int n = 1;

    va_start(ap, s);
    while ((argv[n] = va_arg(ap, const char *)) && ++n < WORDS) {}
    va_end(ap);
    if (n == WORDS) abort(); /* a test with more words than the table has */
    return run(s, argv);
}

ended program_line(const char *format, ...)
{
    static const char go[] = "cd \"$HOME\" && ";
    char line[12000];
    const char *argv[] = {"/bin/sh", "-c", line, NULL};
    va_list ap;

    va_start(ap, format);
    memcpy(line, go, sizeof go);
    int n = vsnprintf(line + sizeof go - 1, sizeof line - sizeof go, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line - sizeof go) abort(); /* a test with a longer line */
    return run(NULL, argv);
}

void ended_done(ended *e)
{
    free(e->out), free(e->err);
    *e = (ended){0};
}

void program_expect(const char *file, int line, ended *e, int code, const char *in_out, const char *in_err)
{
    if (e->code != code) es_test_fail(file, line, "it ended with %d, expected %d; it said: %s%s", e->code, code, e->out, e->err);
    if (in_out && !strstr(e->out, in_out)) es_test_fail(file, line, "\"%s\" is not in its output: %s", in_out, e->out);
    if (in_err && !strstr(e->err, in_err)) es_test_fail(file, line, "\"%s\" is not in its complaint: %s", in_err, e->err);
    if (strstr(e->err, "ERROR: AddressSanitizer") || strstr(e->err, "runtime error")) es_test_fail(file, line, "%s", e->err);
    ended_done(e);
}

void check_said(const char *name, const char *text)
{
    char *said = read_file(at(name), NULL);

    CHECK(strstr(said, text), "\"%s\" is not in %s: %s", text, name, said);
    free(said);
}

int count_in(const char *text, const char *what)
{
    int n = 0;

    for (const char *p = text; (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}
