/*
 * program.h - the program run as a user runs it: by its words or by a line of shell, with what it prints and how it ends.
 *
 * Its home is the test's folder, and so are its settings, its library and its models by default, so that nothing of the person
 * who runs the tests is read or written. What it prints stays behind in the files "stdout" and "stderr" there.
 */
#ifndef ES_TEST_PROGRAM_H
#define ES_TEST_PROGRAM_H

#include <sys/types.h>

#include "files.h"

typedef struct ended {
    int code;        /* exit code, or 1000 + the signal that ended it */
    char *out, *err; /* what it printed, with a NUL behind it */
    size_t n_out;    /* bytes of out, among which there may be a NUL */
    long peak_kib;   /* the most memory it had, as the system counted it */
} ended;

/* How the process differs from this one. */
typedef struct program_setting {
    uid_t uid;             /* 0: stay */
    size_t file_limit;     /* bytes of the largest file it may write; 0: none */
    const char *out, *err; /* files; NULL: "stdout" and "stderr" in the test's folder */
    const char *const *environment; /* more of it, NAME=VALUE up to NULL; or NULL */
} program_setting;

/* The path of the program. */
const char *program_path(void);
/* Begins argv[0], words up to NULL, with nothing to read; s may be NULL. */
pid_t program_start(const program_setting *s, const char *const *argv);
/* Waits for it and returns the code of `ended`; peak_kib may be NULL. */
int program_finish(pid_t pid, long *peak_kib);

/* Runs earshot with the words that follow, up to NULL. The caller gives the result to ended_done() or program_expect(). */
ended program_run(const program_setting *s, ...) __attribute__((sentinel));
/* Runs a line of shell in the test's folder; `earshot` is the program. */
ended program_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ended_done(ended *e);
/* Checks the code, that out and err hold these texts (NULL: whatever), and that no sanitizer complains; frees *e. */
void program_expect(const char *file, int line, ended *e, int code, const char *in_out, const char *in_err);

#define RUN(...)                   program_run(NULL, __VA_ARGS__, (const char *)NULL)
#define ENDED(e, code, in_out, in_err) program_expect(__FILE__, __LINE__, e, code, in_out, in_err)

/* Runs it, by words or by a line of shell, and checks. */
#define EXPECT(code, in_out, in_err, ...)                                                                              \
    do {                                                                                                               \
        ended e_ = RUN(__VA_ARGS__);                                                                                   \
        program_expect(__FILE__, __LINE__, &e_, code, in_out, in_err);                                                 \
    } while (0)
#define LINE(code, in_out, in_err, ...)                                                                                \
    do {                                                                                                               \
        ended e_ = program_line(__VA_ARGS__);                                                                          \
        program_expect(__FILE__, __LINE__, &e_, code, in_out, in_err);                                                 \
    } while (0)

/* What the last line or words printed, as a file of the test's folder holds this text; and how often a text holds another. */
void check_said(const char *name, const char *text);
int count_in(const char *text, const char *what);

#endif
