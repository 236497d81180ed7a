/*
 * lines.c - see lines.h.
 *
 * A drawing ends behind the last line, without a newline; the next one goes up to the first line, writes each over and erases
 * what is left. If the window has become narrower meanwhile, terminals break the lines that no longer fit: a line of so many
 * columns then stands on more than one row, and the way up is that much longer.
 *
 * A drawing is one write, so that no half of it is ever seen.
 */
#define _GNU_SOURCE
#include "lines.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "earshot.h"

enum { LINE_BYTES = 2048 };

static int drawn[CLI_LINES_MOST]; /* columns of the lines that stand there */
static int n_drawn;
static volatile sig_atomic_t forgotten;

/* ---- the terminal ---- */

bool cli_is_terminal(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

bool cli_has_color(void)
{
    const char *plain = getenv("NO_COLOR");

    return cli_is_terminal() && !(plain && *plain);
}

int cli_columns(void)
{
    struct winsize size = {0};

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int cli_rows(void)
{
    struct winsize size = {0};

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* ---- widths ---- */

/* Bytes of what stands at p: a sequence of color, or a character; *columns that it takes. */
static size_t step(const char *p, int *columns)
{
    size_t n = 1;

    if (p[0] == '\033' && p[1] == '[') {
        for (n = 2; p[n] && !(p[n] >= '@' && p[n] <= '~');) n++;
        *columns = 0;
        return p[n] ? n + 1 : n;
    }
    while (((unsigned char)p[n] & 0xC0) == 0x80) n++;
    *columns = es_text_columns(p, n);
    return n;
}

/* Appends as much of a line as fits; sequences of color stay whole and are all kept, so that none is left open. */
static size_t append(char *out, size_t room, const char *line, int most, int *columns)
{
    size_t n = 0;
    bool full = false;

    *columns = 0;
    while (*line) {
        int w;
        size_t bytes = step(line, &w);
        full = full || (w && *columns + w > most);
        if ((!full || *line == '\033') && n + bytes < room) {
            memcpy(out + n, line, bytes);
            n += bytes;
            *columns += w;
        }
        line += bytes;
    }
    return n;
}

const char *cli_shortened(char *out, size_t room, const char *text, int columns)
{
    int keep = columns > 3 ? columns - 3 : 0, front = (keep + 1) / 2, head = 0, w;
    const char *p = text;
    size_t n = 0;

    if (es_text_columns(text, strlen(text)) <= columns) {
        snprintf(out, room, "%s", text);
        return out;
    }
    while (*p) {
        size_t bytes = step(p, &w);
        if (head + w > front || n + bytes + 4 >= room) break;
        memcpy(out + n, p, bytes);
        n += bytes, head += w, p += bytes;
    }
    for (int i = 0; i < 3 && i < columns && n + 1 < room; i++) out[n++] = '.';
    while (*p && es_text_columns(p, strlen(p)) > keep - head) p += step(p, &w);
    for (size_t bytes; *p && (bytes = step(p, &w), w == 0); p += bytes) continue; /* marks of what was left out */
    snprintf(out + n, room - n, "%s", p);
    return out;
}

/* ---- drawing ---- */

static int rows_up(int width)
{
    int rows = 0, most = cli_rows() - 1;

    for (int i = 0; i < n_drawn; i++) rows += drawn[i] > width ? (drawn[i] + width - 1) / width : 1;
    rows -= 1;
    return rows > most ? most : rows < 0 ? 0 : rows;
}

void cli_lines_show(const char *const *lines, size_t n)
{
    static char out[CLI_LINES_MOST * LINE_BYTES + 64];
    size_t at = 0;
    int width = cli_columns(), up;

    if (forgotten) forgotten = 0, n_drawn = 0;
    if (!n && !n_drawn) return;
    if (n && !cli_is_terminal()) return;
    if (n > CLI_LINES_MOST) n = CLI_LINES_MOST;
    if (n > (size_t)cli_rows()) n = (size_t)cli_rows();
    up = n_drawn ? rows_up(width) : 0;
    if (up) at += (size_t)snprintf(out, 32, "\033[%dA", up);
    out[at++] = '\r';
    n_drawn = 0;
    for (size_t i = 0; i < n; i++) {
        /* The last column would wrap on some terminals. */
        at += append(out + at, LINE_BYTES - 8, lines[i], width - 1, &drawn[i]);
        memcpy(out + at, "\033[K\n", 4);
        at += i + 1 < n ? 4 : 3;
        n_drawn++;
    }
    memcpy(out + at, "\033[J", 3);
    fwrite(out, 1, at + 3, stderr);
    fflush(stderr);
}

void cli_lines_forget(void)
{
    forgotten = 1;
}

void cli_progress_show(const char *line)
{
    cli_lines_show(&line, line && *line ? 1 : 0);
}
