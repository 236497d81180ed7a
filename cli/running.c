/*
 * running.c - see running.h.
 *
 * Recordings are told apart by their index, which is theirs in one call of ingest; a watch makes many calls, and at the end of
 * each nothing is at work.
 */
#define _GNU_SOURCE
#include "running.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lines.h"
#include "term.h"

enum { DRAWN_MS = 80, LEAST_NAME = 12, GAP = 2, PERCENT = 5 };

typedef struct one {
    size_t index;
    char *name; /* printable */
    const char *stage;
    double fraction, speed, eta;
    int64_t audio_ms;
} one;

struct cli_running {
    one *at;
    size_t n, room;
    size_t done, failed, count; /* of the call */
    int64_t stored_ms;
    double began, drawn, fraction_all, eta_all;
    bool waiting;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

cli_running *cli_running_open(void)
{
    cli_running *r = calloc(1, sizeof *r);

    if (r) r->fraction_all = r->eta_all = -1, r->began = now();
    return r;
}

void cli_running_close(cli_running *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->n; i++) free(r->at[i].name);
    free(r->at);
    free(r);
}

/* ---- who is at work ---- */

static one *entry(cli_running *r, const es_event *e)
{
    size_t i = 0;

    while (i < r->n && r->at[i].index < e->index) i++;
    if (i < r->n && r->at[i].index == e->index) return &r->at[i];
    if (r->n == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        one *more = realloc(r->at, room * sizeof *more);
        if (!more) return NULL;
        r->at = more, r->room = room;
    }
    const char *base = strrchr(e->path, '/') ? strrchr(e->path, '/') + 1 : e->path;
    char *name = strdup(cli_shown(base));
    if (!name) return NULL;
    memmove(r->at + i + 1, r->at + i, (r->n - i) * sizeof *r->at);
    r->at[i] = (one){.index = e->index, .name = name, .stage = "", .eta = -1};
    r->n++;
    return &r->at[i];
}

static void leave(cli_running *r, size_t index)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->at[i].index != index) continue;
        free(r->at[i].name);
        memmove(r->at + i, r->at + i + 1, (--r->n - i) * sizeof *r->at);
        return;
    }
}

void cli_running_hear(cli_running *r, const es_event *e)
{
    if (!r) return;
    if (r->waiting && e->kind != ES_EVENT_WAITING) /* another call begins */
        r->waiting = false, r->done = r->failed = 0, r->stored_ms = 0, r->fraction_all = r->eta_all = -1, r->began = now();
    if (e->kind == ES_EVENT_START || e->kind == ES_EVENT_PROGRESS) {
        one *o = entry(r, e);
        r->count = e->count;
        r->fraction_all = e->fraction_all, r->eta_all = e->eta_all_seconds;
        if (o) o->stage = e->stage ? e->stage : "", o->fraction = e->fraction, o->speed = e->speed, o->eta = e->eta_seconds, o->audio_ms = e->audio_ms;
    } else if (e->kind == ES_EVENT_WAITING) {
        r->waiting = true;
        while (r->n) leave(r, r->at[0].index);
    } else if (e->kind != ES_EVENT_NOTE) {
        r->done++;
        r->failed += e->kind == ES_EVENT_FAILED;
        if (e->kind == ES_EVENT_STORED) r->stored_ms += e->audio_ms;
        leave(r, e->index);
    }
    if (e->kind != ES_EVENT_PROGRESS || (now() - r->drawn) * 1000 >= DRAWN_MS) cli_running_show(r);
}

/* ---- lines ---- */

/* What of a recording is shown, and how wide each column is. */
typedef struct layout {
    bool stage, speed, real_time, eta;
    int name_w, stage_w, speed_w, eta_w;
} layout;

static void speed_text(char *out, size_t room, const one *o, bool long_form)
{
    out[0] = 0;
    if (o->speed > 0) snprintf(out, room, long_form ? "%.1f × real time" : "%.1f ×", o->speed);
}

static void eta_text(char *out, size_t room, const one *o)
{
    out[0] = 0;
    if (o->eta >= 0) snprintf(out, room, "%s left", cli_clock(o->eta));
}

static int widths(layout *l, const one *at, size_t n)
{
    char text[64];

    l->name_w = l->stage_w = l->speed_w = l->eta_w = 0;
    for (size_t i = 0; i < n; i++) {
        int w = es_text_columns(at[i].name, strlen(at[i].name));
        if (w > l->name_w) l->name_w = w;
        w = (int)strlen(at[i].stage);
        if (l->stage && w > l->stage_w) l->stage_w = w;
        speed_text(text, sizeof text, &at[i], l->real_time);
        w = es_text_columns(text, strlen(text));
        if (l->speed && w > l->speed_w) l->speed_w = w;
        eta_text(text, sizeof text, &at[i]);
        if (l->eta && (int)strlen(text) > l->eta_w) l->eta_w = (int)strlen(text);
    }
    return PERCENT + GAP + (l->stage_w ? GAP + l->stage_w : 0) + (l->speed_w ? GAP + l->speed_w : 0) + (l->eta_w ? GAP + l->eta_w : 0);
}

/* As much as fits beside a name that can still be told from others. */
static layout choose(const one *at, size_t n, int width)
{
    static const layout forms[] = {{.stage = true, .speed = true, .real_time = true, .eta = true},
                                   {.stage = true, .speed = true, .eta = true},
                                   {.stage = true, .eta = true},
                                   {.eta = true},
                                   {.eta = false}};
    enum { N = sizeof forms / sizeof forms[0] };
    layout l = {0};

    for (size_t i = 0; i < N; i++) {
        l = forms[i];
        int others = widths(&l, at, n), left = width - others;
        if (left < l.name_w && left < LEAST_NAME && i + 1 < N) continue;
        if (l.name_w > left) l.name_w = left;
        if (l.name_w < 1) l.name_w = 1;
        break;
    }
    return l;
}

static void pad(char *out, size_t room, size_t *n, int columns)
{
    while (columns-- > 0 && *n + 1 < room) out[(*n)++] = ' ';
    out[*n] = 0;
}

static void add(char *out, size_t room, size_t *n, const char *text)
{
    int more = snprintf(out + *n, room - *n, "%s", text);

    *n += more < 0 ? 0 : (size_t)more < room - *n ? (size_t)more : room - *n - 1;
}

/* A column of so many columns, on the left side of it or on the right. */
static void column(char *out, size_t room, size_t *n, const char *text, int columns, bool right, const char *color)
{
    int left = columns - es_text_columns(text, strlen(text));

    if (right) pad(out, room, n, left);
    if (*color) add(out, room, n, color);
    add(out, room, n, text);
    if (*color) add(out, room, n, "\033[0m");
    if (!right) pad(out, room, n, left);
}

static void line_of(char *out, size_t room, const one *o, const layout *l, bool color)
{
    char text[1024];
    size_t n = 0;

    snprintf(text, sizeof text, "%3d %%", (int)(100 * o->fraction));
    column(out, room, &n, text, PERCENT, true, color ? "\033[1m" : "");
    pad(out, room, &n, GAP);
    column(out, room, &n, cli_shortened(text, sizeof text, o->name, l->name_w), l->name_w, false, "");
    if (l->stage_w) {
        pad(out, room, &n, GAP);
        column(out, room, &n, o->stage, l->stage_w, false, color ? "\033[2m" : "");
    }
    if (l->speed_w) {
        pad(out, room, &n, GAP);
        speed_text(text, sizeof text, o, l->real_time);
        column(out, room, &n, text, l->speed_w, true, "");
    }
    if (l->eta_w) {
        pad(out, room, &n, GAP);
        eta_text(text, sizeof text, o);
        column(out, room, &n, text, l->eta_w, true, "");
    }
}

static void total_of(char *out, size_t room, const cli_running *r, size_t hidden, bool color)
{
    char text[128];
    size_t n = 0;
    double heard = (double)r->stored_ms / 1000, spent = now() - r->began;

    for (size_t i = 0; i < r->n; i++) heard += r->at[i].fraction * (double)r->at[i].audio_ms / 1000;
    snprintf(text, sizeof text, "%zu of %zu files", r->done, r->count);
    add(out, room, &n, color ? "\033[1m" : "");
    add(out, room, &n, text);
    add(out, room, &n, color ? "\033[0m" : "");
    if (r->failed) {
        snprintf(text, sizeof text, ", %s%zu failed%s", color ? "\033[31m" : "", r->failed, color ? "\033[0m" : "");
        add(out, room, &n, text);
    }
    if (r->fraction_all >= 0) {
        snprintf(text, sizeof text, ", %d %%", (int)(100 * r->fraction_all));
        add(out, room, &n, text);
    }
    if (r->eta_all >= 0) {
        snprintf(text, sizeof text, "  %s left", cli_clock(r->eta_all));
        add(out, room, &n, text);
    }
    if (heard > 0 && spent > 1) {
        snprintf(text, sizeof text, "  %.1f × real time", heard / spent);
        add(out, room, &n, text);
    }
    if (hidden) {
        snprintf(text, sizeof text, "  (%zu more at work)", hidden);
        add(out, room, &n, text);
    }
}

void cli_running_show(cli_running *r)
{
    static char text[CLI_LINES_MOST][2048];
    const char *lines[CLI_LINES_MOST];
    bool color = cli_has_color();
    size_t n = 0, most = (size_t)(cli_rows() > 3 ? cli_rows() - 2 : 1);

    if (!r || !cli_is_terminal()) return;
    r->drawn = now();
    if (r->waiting) {
        cli_progress_show("waiting for files");
        return;
    }
    if (most > CLI_LINES_MOST - 1) most = CLI_LINES_MOST - 1;
    size_t shown = r->n < most ? r->n : most;
    layout l = choose(r->at, shown, cli_columns() - 1);
    for (; n < shown; n++) line_of(text[n], sizeof text[n], &r->at[n], &l, color);
    if (r->count > 1) total_of(text[n], sizeof text[n], r, r->n - shown, color), n++;
    for (size_t i = 0; i < n; i++) lines[i] = text[i];
    cli_lines_show(lines, n);
}
