/*
 * json_lines.c - see json_lines.h.
 */
#include "json_lines.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "term.h"

/* ---- members ---- */

static void begin(const char *event)
{
    printf("{\"event\": \"%s\"", event);
}

static void end(void)
{
    fputs("}\n", stdout);
    fflush(stdout);
}

static void put_text(const char *key, const char *text)
{
    printf(", \"%s\": ", key);
    if (text) cli_json_string(text);
    else fputs("null", stdout);
}

static void put_count(const char *key, uint64_t n)
{
    printf(", \"%s\": %" PRIu64, key, n);
}

static void put_number(const char *key, double value, bool known)
{
    printf(", \"%s\": ", key);
    if (known && isfinite(value)) printf("%.4f", value);
    else fputs("null", stdout);
}

static void put_path(const es_event *e)
{
    const char *path = e->path ? e->path : "";

    put_text("path", path);
    if (!cli_json_is_text(path)) {
        fputs(", \"path_hex\": \"", stdout);
        for (const unsigned char *p = (const unsigned char *)path; *p; p++) printf("%02x", *p);
        putchar('"');
    }
    put_count("index", e->index);
    put_count("count", e->count);
}

/* ---- lines ---- */

static void put_progress(const es_event *e)
{
    put_text("stage", e->stage);
    put_number("fraction", e->fraction, true);
    put_number("speed", e->speed, e->speed > 0);
    put_number("seconds", e->seconds, true);
    if (e->audio_ms > 0) put_count("audio_ms", (uint64_t)e->audio_ms);
    else put_text("audio_ms", NULL);
    put_number("eta_seconds", e->eta_seconds, e->eta_seconds >= 0);
    put_number("fraction_all", e->fraction_all, e->fraction_all >= 0);
    put_number("eta_all_seconds", e->eta_all_seconds, e->eta_all_seconds >= 0);
}

void cli_json_event(const es_event *e, bool quiet)
{
    static const char *const name[] = {[ES_EVENT_START] = "start",   [ES_EVENT_PROGRESS] = "progress", [ES_EVENT_STORED] = "stored",
                                       [ES_EVENT_KNOWN] = "known",   [ES_EVENT_FAILED] = "failed",     [ES_EVENT_NOTE] = "note",
                                       [ES_EVENT_WAITING] = "waiting"};

    if (quiet && e->kind != ES_EVENT_FAILED) return;
    begin(name[e->kind]);
    if (e->kind != ES_EVENT_WAITING) put_path(e);
    switch (e->kind) {
    case ES_EVENT_START:
    case ES_EVENT_WAITING: break;
    case ES_EVENT_PROGRESS: put_progress(e); break;
    case ES_EVENT_STORED:
        put_text("id", e->text);
        put_count("words", e->words);
        put_number("speed", e->speed, e->speed > 0);
        put_number("seconds", e->seconds, true);
        put_count("audio_ms", (uint64_t)(e->audio_ms > 0 ? e->audio_ms : 0));
        break;
    case ES_EVENT_KNOWN:
    case ES_EVENT_FAILED:
    case ES_EVENT_NOTE: put_text("text", e->text); break;
    }
    end();
}

void cli_json_message(int level, const char *sentence)
{
    static const char *const name[] = {"error", "warning", "note", "information", "debugging"};

    begin("message");
    put_text("level", name[level < 0 ? 0 : level > 4 ? 4 : level]);
    put_text("text", sentence);
    end();
}

void cli_json_summary(const es_ingest_summary *s)
{
    begin("summary");
    put_count("files", s->files);
    put_count("stored", s->stored);
    put_count("known", s->known);
    put_count("failed", s->failed);
    put_count("audio_ms", (uint64_t)s->audio_ms);
    put_number("seconds", s->seconds, true);
    put_number("speed", s->speed, s->speed > 0);
    put_number("files_per_hour", s->files_per_hour, true);
    put_count("windows", s->windows);
    put_count("tokens", s->tokens);
    put_count("passages", s->passages);
    put_count("vectors", s->vectors);
    put_number("passages_per_second", s->passages_per_second, s->passages_per_second > 0);
    put_count("arena_bytes", s->arena_bytes);
    put_count("peak_bytes", s->peak_bytes);
    printf(", \"cancelled\": %s, \"stages\": [", s->cancelled ? "true" : "false");
    for (size_t i = 0; i < s->n_stages; i++) {
        const es_stage_figures *t = &s->stages[i];
        printf("%s{\"stage\": \"%s\"", i ? ", " : "", t->name);
        put_text("label", t->label);
        put_number("seconds", t->seconds, true);
        put_number("busy", t->busy, true);
        put_number("speed", t->speed, t->speed > 0);
        put_number("fill", t->fill, t->fill >= 0);
        putchar('}');
    }
    putchar(']');
    end();
}

void cli_json_error(const es_error *error)
{
    begin("error");
    put_text("code", es_code_text(error->code));
    put_text("text", error->text);
    end();
}
