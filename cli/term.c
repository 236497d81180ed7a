/*
 * term.c - exit codes, messages, and names made safe to print.
 */
#define _GNU_SOURCE
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

void cli_say(const char *format, ...)
{
    va_list ap;

    cli_progress_show(NULL);
    fputs("earshot: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int cli_fail(const es_error *error)
{
    if (error->code == ES_CANCELLED) {
        cli_say("interrupted");
        return CLI_INTERRUPTED;
    }
    cli_say("%s", error->text[0] ? error->text : es_code_text(error->code));
    return error->code == ES_BAD_ARGUMENT ? CLI_USAGE : CLI_UNUSABLE;
}

int cli_fail_input(const es_error *error)
{
    int code = cli_fail(error);

    return code == CLI_INTERRUPTED                                                                     ? code
           : error->code == ES_BAD_LIBRARY || error->code == ES_TOO_NEW || error->code == ES_BAD_MODEL ? CLI_UNUSABLE
                                                                                                       : CLI_INPUT;
}

/* ---- signals ---- */

static void on_signal(int number)
{
    static const char text[] = "\nearshot: stopping; once more ends it at once\n";
    int kept = errno;

    interrupted = number;
    /* The window at work is finished first, which takes seconds: say that the key was heard. */
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) errno = 0;
    cli_lines_forget();
    errno = kept;
}

void cli_signals_catch(void)
{
    struct sigaction act = {.sa_handler = on_signal};

    act.sa_flags = (int)SA_RESETHAND; /* the second one is the system's own: it ends the process */
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    signal(SIGPIPE, SIG_DFL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

/* ---- names and numbers ---- */

enum { RING = 8, RING_BYTES = 4096 };

static char *ring_next(void)
{
    static char ring[RING][RING_BYTES];
    static int at;

    at = (at + 1) % RING;
    return ring[at];
}

const char *cli_shown(const char *name)
{
    return es_name_shown(ring_next(), RING_BYTES, name ? name : "");
}

const char *cli_quoted(const char *word)
{
    char *out = ring_next();
    size_t n = 0;
    bool plain = *word != 0, control = false;

    for (const unsigned char *p = (const unsigned char *)word; *p; p++) {
        bool safe = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p >= 0x80 ||
                    strchr("_-./:,+@%=", *p) != NULL;
        plain = plain && safe;
        control = control || *p < 0x20 || *p == 0x7F;
    }
    if (plain) {
        snprintf(out, RING_BYTES, "%s", word);
        return out;
    }
    /* $'...' is the only form of bash, zsh and newer sh that can hold control characters without printing them. */
    if (control) out[n++] = '$';
    out[n++] = '\'';
    for (const unsigned char *p = (const unsigned char *)word; *p && n < RING_BYTES - 16; p++) {
        if (control && (*p < 0x20 || *p == 0x7F)) n += (size_t)snprintf(out + n, 8, "\\%03o", *p);
        else if (control && (*p == '\'' || *p == '\\')) out[n++] = '\\', out[n++] = (char)*p;
        else if (*p == '\'') memcpy(out + n, "'\\''", 4), n += 4;
        else out[n++] = (char)*p;
    }
    out[n++] = '\'';
    out[n] = 0;
    return out;
}

const char *cli_clock(double seconds)
{
    char *out = ring_next();
    long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;

    if (s >= 3600) snprintf(out, RING_BYTES, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(out, RING_BYTES, "%lld:%02lld", s / 60, s % 60);
    return out;
}

const char *cli_length(int64_t ms)
{
    char *out = ring_next();
    long long t = (ms + 50) / 100;

    if (t >= 36000) snprintf(out, RING_BYTES, "%lld:%02lld:%02lld.%lld", t / 36000, t / 600 % 60, t / 10 % 60, t % 10);
    else snprintf(out, RING_BYTES, "%lld:%02lld.%lld", t / 600, t / 10 % 60, t % 10);
    return out;
}

const char *cli_bytes(uint64_t bytes)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    char *out = ring_next();
    double v = (double)bytes;
    int u = 0;

    while (v >= 999.5 && u < 4) v /= 1000, u++;
    snprintf(out, RING_BYTES, u == 0 ? "%.0f %s" : v < 10 ? "%.2f %s" : v < 100 ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}

/* ---- JSON ---- */

/* Bytes of the well-formed character at p, n > 0 bytes left; 0 where there is none. */
static size_t character(const unsigned char *p, size_t n)
{
    size_t bytes = *p < 0x80 ? 1 : *p < 0xC2 ? 0 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : *p < 0xF5 ? 4 : 0;

    if (bytes > n) return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    /* Overlong forms, surrogates, and what lies above U+10FFFF. */
    if ((*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F) || (*p == 0xF0 && p[1] < 0x90) || (*p == 0xF4 && p[1] > 0x8F))
        return 0;
    return bytes;
}

void cli_json_bytes(const char *text, size_t n)
{
    putchar('"');
    for (size_t at = 0; at < n;) {
        const unsigned char *p = (const unsigned char *)text + at;
        size_t bytes = character(p, n - at);
        if (!bytes) fputs("\\ufffd", stdout);
        else if (*p == '"' || *p == '\\') printf("\\%c", *p);
        else if (*p < 0x20) printf("\\u%04x", *p);
        else fwrite(p, 1, bytes, stdout);
        at += bytes ? bytes : 1;
    }
    putchar('"');
}

bool cli_json_is_text(const char *text)
{
    size_t n = strlen(text), bytes = 1;

    for (size_t at = 0; at < n && bytes; at += bytes) bytes = character((const unsigned char *)text + at, n - at);
    return bytes > 0;
}

void cli_json_string(const char *text)
{
    cli_json_bytes(text, strlen(text));
}

int cli_write_file(const char *path, const char *text, size_t bytes)
{
    size_t room = strlen(path) + 32;
    char *temporary = malloc(room);
    int fd = -1, failed = -1, kept;

    if (!temporary) return -1;
    snprintf(temporary, room, "%s.tmp-%ld", path, (long)getpid());
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) goto out;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, text + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) goto out;
        done += (size_t)n;
    }
    if (close(fd)) {
        fd = -1;
        goto out;
    }
    fd = -1;
    if (rename(temporary, path)) goto out;
    failed = 0;
out:
    kept = errno;
    if (fd >= 0) close(fd);
    if (failed && kept != EEXIST) unlink(temporary);
    free(temporary);
    errno = kept;
    return failed;
}
