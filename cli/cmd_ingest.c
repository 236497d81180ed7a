/*
 * cmd_ingest.c - `earshot ingest`: the main job, with its progress, its summary and its clean end.
 *
 * On a terminal one line is written over and over; elsewhere each file has one line when it is done. Lines about files
 * go to stdout, complaints to stderr; what failed is named again at the end, where it is seen.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "term.h"

typedef struct listener {
    const cli_settings *s;
    bool terminal;
    char **failed; /* names with their sentences, for the end */
    size_t n_failed, room;
} listener;

static void remember(listener *l, const char *path, const char *why)
{
    size_t bytes = strlen(path) + strlen(why) + 3;
    char *line = malloc(bytes);

    if (!line) return;
    /* The sentences of the engine begin with the name they are about; do not say it twice. */
    if (!strncmp(why, path, strlen(path))) snprintf(line, bytes, "%s", why);
    else snprintf(line, bytes, "%s: %s", path, why);
    if (l->n_failed == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        char **more = realloc(l->failed, room * sizeof *more);
        if (!more) {
            free(line);
            return;
        }
        l->failed = more, l->room = room;
    }
    l->failed[l->n_failed++] = line;
}

static void show_progress(const es_event *e)
{
    char line[512], count[48] = "", speed[48] = "", eta[64] = "", all[64] = "";
    const char *base = strrchr(e->path, '/') ? strrchr(e->path, '/') + 1 : e->path;

    if (e->count > 1) snprintf(count, sizeof count, "[%zu/%zu] ", e->index + 1, e->count);
    if (e->speed > 0) snprintf(speed, sizeof speed, "  %.1f × real time", e->speed);
    if (e->eta_seconds >= 0) snprintf(eta, sizeof eta, "  %s left", cli_clock(e->eta_seconds));
    if (e->count > 1 && e->eta_all_seconds >= 0)
        snprintf(all, sizeof all, "  (all: %s)", cli_clock(e->eta_all_seconds));
    snprintf(line, sizeof line, "%s%.60s  %s %3d %%%s%s%s", count, cli_shown(base), e->stage ? e->stage : "",
             (int)(100 * e->fraction), speed, eta, all);
    cli_progress_show(line);
}

static int listen(void *user, const es_event *e)
{
    listener *l = user;
    const char *path = cli_shown(e->path ? e->path : "");

    if (e->kind != ES_EVENT_START && e->kind != ES_EVENT_PROGRESS && l->terminal) cli_progress_show(NULL);
    switch (e->kind) {
    case ES_EVENT_START:
    case ES_EVENT_PROGRESS:
        if (l->terminal && !l->s->quiet) show_progress(e);
        break;
    case ES_EVENT_STORED:
        if (l->s->quiet) break;
        printf("%s: %" PRIu64 " word%s, %s of sound", path, e->words, e->words == 1 ? "" : "s",
               cli_length(e->audio_ms));
        if (e->speed > 0 && e->audio_ms >= 1000) printf(", %.1f × real time", e->speed);
        putchar('\n');
        break;
    case ES_EVENT_KNOWN:
        if (!l->s->quiet) printf("%s: %s\n", path, e->text ? e->text : "known");
        break;
    case ES_EVENT_FAILED:
        cli_say("%s%s%s", e->text && !strncmp(e->text, path, strlen(path)) ? "" : path,
                e->text && !strncmp(e->text, path, strlen(path)) ? "" : ": ", e->text ? e->text : "failed");
        remember(l, path, e->text ? e->text : "failed");
        break;
    case ES_EVENT_NOTE:
        if (!l->s->quiet) cli_say("%s: %s", path, e->text ? e->text : "");
        break;
    }
    fflush(stdout);
    return cli_interrupted();
}

static void summary(const listener *l, const es_ingest_report *r)
{
    if (!l->s->quiet && r->files > 1) {
        printf("%zu files: %zu stored, %zu known, %zu failed", r->files, r->stored, r->known, r->failed);
        if (r->stored) printf("; %s of sound in %s", cli_length(r->audio_ms), cli_clock(r->seconds));
        if (r->stored && r->seconds > 0) printf(" (%.1f × real time)", (double)r->audio_ms / 1000 / r->seconds);
        putchar('\n');
    }
    fflush(stdout);
    if (r->failed && r->files > 1) {
        cli_say("%zu of %zu file%s failed:", r->failed, r->files, r->files == 1 ? "" : "s");
        for (size_t i = 0; i < l->n_failed; i++) fprintf(stderr, "  %s\n", l->failed[i]);
    }
}

int cli_run_ingest(const cli_settings *s)
{
    es_engine_options engine_options;
    es_speech_options speech;
    es_ingest_options options = ES_INGEST_OPTIONS;
    es_ingest_report report = {0};
    es_error error = {0};
    es_engine *engine = NULL;
    es_library *library = NULL;
    listener l = {.s = s, .terminal = cli_is_terminal()};
    int code = CLI_OK;

    cli_engine_options(&engine_options, s);
    cli_speech_options(&speech, s);
    options.speech = &speech;
    options.track = (int)s->track;
    options.again = s->again;
    cli_signals_catch();
    if (es_engine_open(&engine, &engine_options, &error) ||
        es_library_open(&library, s->library, ES_LIBRARY_CREATE, &error)) {
        code = cli_fail(&error);
        goto out;
    }
    if (es_engine_ingest(engine, library, s->args, (size_t)s->n_args, &options, listen, &l, &report, &error)) {
        cli_progress_show(NULL);
        code = cli_fail(&error);
        if (code == CLI_INTERRUPTED && !s->quiet)
            cli_say("%zu of %zu file%s stored; the library is whole, ingest again to go on",
                    report.stored + report.known, report.files, report.files == 1 ? "" : "s");
        goto out;
    }
    cli_progress_show(NULL);
    summary(&l, &report);
    if (report.failed) code = CLI_INPUT;
out:
    for (size_t i = 0; i < l.n_failed; i++) free(l.failed[i]);
    free(l.failed);
    es_library_close(library);
    es_engine_close(engine);
    return code;
}
