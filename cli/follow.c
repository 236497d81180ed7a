/*
 * follow.c - see follow.h.
 *
 * Lines about files go to stdout, complaints to stderr; what failed is named again at the end, where it is seen.
 */
#define _GNU_SOURCE
#include "follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_lines.h"
#include "term.h"

static void hear_message(void *user, int level, const char *sentence)
{
    cli_follow *f = user;

    if (f->s->json_lines) {
        cli_json_message(level, sentence);
        return;
    }
    cli_progress_show(NULL);
    fprintf(stderr, "earshot: %s%s\n", level <= 1 ? "" : "note: ", sentence);
    cli_running_show(f->running);
}

void cli_follow_open(cli_follow *f, const cli_settings *s, bool keep_failed)
{
    *f = (cli_follow){.s = s, .keep_failed = keep_failed};
    if (cli_is_terminal() && !s->quiet && !s->json_lines) f->running = cli_running_open();
    es_messages_to(hear_message, f, s->quiet ? 0 : s->verbose ? 3 : 2);
}

void cli_follow_close(cli_follow *f)
{
    cli_progress_show(NULL);
    es_messages_to(NULL, NULL, 0);
    for (size_t i = 0; i < f->n_failed; i++) free(f->failed[i]);
    free(f->failed);
    cli_running_close(f->running);
    *f = (cli_follow){0};
}

static void remember(cli_follow *f, const char *line)
{
    if (!f->keep_failed) return;
    if (f->n_failed == f->room) {
        size_t room = f->room ? 2 * f->room : 16;
        char **more = realloc(f->failed, room * sizeof *more);
        if (!more) return;
        f->failed = more, f->room = room;
    }
    f->failed[f->n_failed] = strdup(line);
    if (f->failed[f->n_failed]) f->n_failed++;
}

/* The sentences of the engine begin with the name they are about; it is not said twice. */
static void complain(cli_follow *f, const char *path, const char *why)
{
    char *line = NULL;
    bool named = !strncmp(why, path, strlen(path));

    if (asprintf(&line, "%s%s%s", named ? "" : path, named ? "" : ": ", why) < 0) return;
    cli_say("%s", line);
    remember(f, line);
    free(line);
}

/* Once, when there is nothing to do any more. */
static void say_waiting(const cli_follow *f)
{
    char list[512];
    size_t n = 0;

    for (int i = 0; i < f->s->n_args && n < sizeof list; i++) {
        int more = snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", cli_shown(f->s->args[i]));
        n += more < 0 ? 0 : (size_t)more;
    }
    printf("waiting for files in %s\n", list);
}

static void say(cli_follow *f, const es_event *e)
{
    const char *path = cli_shown(e->path ? e->path : ""), *text = e->text ? e->text : "";

    switch (e->kind) {
    case ES_EVENT_START:
    case ES_EVENT_PROGRESS: break;
    case ES_EVENT_STORED:
        if (f->s->quiet) break;
        printf("%s: %" PRIu64 " word%s, %s of sound", path, e->words, e->words == 1 ? "" : "s", cli_length(e->audio_ms));
        if (e->speed > 0 && e->audio_ms >= 1000) printf(", %.1f × real time", e->speed);
        putchar('\n');
        break;
    case ES_EVENT_KNOWN:
        if (!f->s->quiet) printf("%s: %s\n", path, *text ? text : "known");
        break;
    case ES_EVENT_FAILED: complain(f, path, *text ? text : "failed"); break;
    case ES_EVENT_NOTE:
        if (!f->s->quiet) cli_say("%s: %s", path, text);
        break;
    case ES_EVENT_WAITING:
        if (!f->s->quiet && !f->waiting && !f->running) say_waiting(f);
        break;
    }
}

int cli_follow_hear(void *follow, const es_event *e)
{
    cli_follow *f = follow;
    bool again = e->kind == ES_EVENT_WAITING && f->waiting; /* told often, said once */

    if (f->s->json_lines) {
        if (!again) cli_json_event(e, f->s->quiet);
    } else {
        if (f->running && e->kind >= ES_EVENT_STORED && e->kind != ES_EVENT_WAITING) cli_progress_show(NULL);
        say(f, e);
        fflush(stdout);
        if (!again) cli_running_hear(f->running, e);
    }
    f->waiting = e->kind == ES_EVENT_WAITING;
    return cli_interrupted();
}

/* ---- the end ---- */

static void table(const es_ingest_summary *s)
{
    printf("\n  %-18s %9s %7s %12s %7s\n", "stage", "seconds", "busy", "x real time", "batch");
    for (size_t i = 0; i < s->n_stages; i++) {
        const es_stage_figures *t = &s->stages[i];
        printf("  %-18s %9.2f %5.0f %%", t->label, t->seconds, 100 * t->busy);
        if (t->speed > 0) printf(" %12.1f", t->speed);
        else if (t->fill >= 0) printf(" %12s", "");
        if (t->fill >= 0) printf(" %5.0f %%", 100 * t->fill);
        putchar('\n');
    }
    printf("\n  %" PRIu64 " windows, %" PRIu64 " tokens, %" PRIu64 " passages", s->windows, s->tokens, s->passages);
    if (s->passages && s->passages_per_second > 0) printf(" (%.1f a second)", s->passages_per_second);
    printf("; models %s", cli_bytes(s->arena_bytes));
    if (s->peak_bytes) printf(", the process at most %s", cli_bytes(s->peak_bytes));
    putchar('\n');
}

static void say_sum(const cli_follow *f, const es_ingest_summary *s)
{
    bool many = s->files > 1;

    if (!f->s->quiet && many) {
        printf("%zu files: %zu stored, %zu known, %zu failed", s->files, s->stored, s->known, s->failed);
        if (s->stored) printf("; %s of sound in %s", cli_length(s->audio_ms), cli_clock(s->seconds));
        if (s->stored && s->seconds > 0) printf(" (%.1f × real time, %.0f files an hour)", s->speed, s->files_per_hour);
        putchar('\n');
    }
    if (!f->s->quiet && s->stored && (many || f->s->verbose)) table(s);
    fflush(stdout);
    if (s->failed && many && f->keep_failed) {
        cli_say("%zu of %zu files failed:", s->failed, s->files);
        for (size_t i = 0; i < f->n_failed; i++) fprintf(stderr, "  %s\n", f->failed[i]);
    }
}

void cli_follow_sum(void *follow, const es_ingest_summary *summary)
{
    cli_follow *f = follow;

    cli_progress_show(NULL);
    cli_running_close(f->running);
    f->running = NULL;
    if (f->s->json_lines) cli_json_summary(summary);
    else if (!summary->cancelled) say_sum(f, summary);
}

int cli_follow_fail(cli_follow *f, const es_error *error)
{
    cli_progress_show(NULL);
    if (f->s->json_lines) cli_json_error(error);
    return cli_fail(error);
}
