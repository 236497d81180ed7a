/*
 * cmd_show.c - `earshot list` and `earshot show`: what is in the library, for people or as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "earshot.h"
#include "term.h"

typedef struct listing {
    bool json;
    uint64_t n, words;
    int64_t ms;
} listing;

static int list_one(void *user, const es_recording *r)
{
    listing *l = user;

    if (l->json) {
        printf("%s\n  {\"id\": \"%s\", \"track\": %d, \"path\": ", l->n ? "," : "", r->id, r->track);
        cli_json_string(r->path);
        printf(", \"bytes\": %" PRIu64 ", \"duration_ms\": %" PRId64 ", \"container\": ", r->bytes, r->duration_ms);
        cli_json_string(r->container);
        fputs(", \"codec\": ", stdout);
        cli_json_string(r->codec);
        fputs(", \"language\": ", stdout);
        cli_json_string(r->language);
        printf(", \"segments\": %" PRIu64 ", \"words\": %" PRIu64 ", \"speakers\": %d, \"asr\": ", r->segments, r->words,
               r->speakers);
        cli_json_string(r->asr);
        printf(", \"settings\": %s, \"ingested_ms\": %" PRId64 "}", *r->settings ? r->settings : "{}", r->ingested_ms);
    } else {
        char speakers[32] = "";
        if (r->speakers) snprintf(speakers, sizeof speakers, "%2d speaker%s  ", r->speakers, r->speakers == 1 ? " " : "s");
        printf("%.10s  %9s  %-4s %6" PRIu64 " words  %s%s", r->id, cli_length(r->duration_ms),
               *r->language ? r->language : "-", r->words, speakers, cli_shown(r->path));
        if (r->track) printf(" (track %d)", r->track);
        putchar('\n');
    }
    l->n++, l->words += r->words, l->ms += r->duration_ms;
    return cli_interrupted();
}

int cli_run_list(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    listing l = {.json = s->json};
    int code = CLI_OK;

    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (s->json) putchar('[');
    if (es_library_list(library, list_one, &l, &error)) code = cli_fail(&error);
    if (s->json) puts(l.n ? "\n]" : "]");
    else if (!s->quiet && !l.n) printf("%s holds no recordings yet\n", cli_shown(es_library_folder(library)));
    else if (!s->quiet)
        printf("%" PRIu64 " recording%s, %s, %" PRIu64 " words\n", l.n, l.n == 1 ? "" : "s", cli_length(l.ms), l.words);
    es_library_close(library);
    return code;
}

/* FFmpeg names some containers by all their endings: "mov,mp4,m4a". Of these the file's own, else the first. */
static const char *container_of(const es_recording *r, char out[32])
{
    const char *dot = strrchr(r->path, '.');

    for (const char *p = r->container; dot && *p; p += strcspn(p, ","), p += *p == ',')
        if (strlen(dot + 1) == strcspn(p, ",") && !strncmp(p, dot + 1, strlen(dot + 1))) {
            snprintf(out, 32, "%s", dot + 1);
            return out;
        }
    snprintf(out, 32, "%.*s", (int)strcspn(r->container, ","), r->container);
    return out;
}

/* What is shown of a recording before its words. */
typedef struct heading {
    bool quiet;
    char path[4096];
} heading;

static int show_head(void *user, const es_recording *r)
{
    heading *h = user;
    char container[32];

    snprintf(h->path, sizeof h->path, "%s", r->path);
    if (h->quiet) return 0;
    printf("%s\n", cli_shown(r->path));
    printf("  %s, %s/%s, %d Hz, %d channel%s, id %.10s\n", cli_length(r->duration_ms),
           cli_shown(container_of(r, container)), cli_shown(r->codec), r->sample_rate, r->channels,
           r->channels == 1 ? "" : "s", r->id);
    printf("  %" PRIu64 " words", r->words);
    if (*r->language) printf(" (%s)", r->language);
    if (*r->asr) printf(", by %s", cli_shown(r->asr));
    putchar('\n');
    if (r->damaged_packets) printf("  %" PRId64 " damaged packets were skipped\n", r->damaged_packets);
    if (r->truncated) puts("  the file ends early: what was there was taken");
    putchar('\n');
    return 0;
}

typedef struct elsewhere {
    const char *here; /* path of the recording that is shown */
    size_t n;
} elsewhere;

static int note_elsewhere(void *user, const char *path)
{
    enum { SHOWN = 3 };
    elsewhere *e = user;
    const char *slash = strrchr(path, '/');

    if (!strcmp(path, e->here)) return 0;
    if (e->n < SHOWN) printf("%s%s", e->n ? ", " : "; also speaks in ", cli_shown(slash ? slash + 1 : path));
    e->n++;
    return 0;
}

/* Who it may be, where it is not certain, and how certain it is. */
static void show_match(const es_speech *speech, int speaker)
{
    es_likeness m;

    if (es_speech_likeness(speech, speaker, &m) || !*m.name) return;
    if (!strcmp(m.verdict, "named")) printf("; %.2f like the voice enrolled", m.score);
    if (!strcmp(m.verdict, "maybe")) printf("; perhaps %s, %.2f like the voice enrolled", cli_shown(m.name), m.score);
    if (!strcmp(m.verdict, "close")) printf("; like %s (%.2f), and somebody else is nearly as like", cli_shown(m.name), m.score);
}

/* Behind the head: who speaks, for how long, and where else. */
static void show_speakers(es_library *library, const es_speech *speech, const char *path)
{
    int n = es_speech_speakers(speech);
    char name[256];
    es_turn_view t;

    for (int s = 0; s < n; s++) {
        int64_t ms = 0;
        for (size_t i = 0; i < es_speech_turns(speech); i++)
            if (!es_speech_turn(speech, i, &t) && t.speaker == s) ms += t.end_ms - t.start_ms;
        elsewhere e = {.here = path};
        printf("  %s speaks for %s", cli_shown(es_speech_speaker(speech, s, name, sizeof name)), cli_length(ms));
        es_library_speaks_in(library, name, note_elsewhere, &e, NULL);
        if (e.n > 3) printf(" and %zu more", e.n - 3);
        show_match(speech, s);
        putchar('\n');
    }
    if (n) putchar('\n');
}

static void show_speech(const es_speech *speech, bool text_only)
{
    es_segment_view v;
    char name[256];

    for (size_t i = 0; i < es_speech_segments(speech); i++) {
        if (es_speech_segment(speech, i, &v)) continue;
        size_t skip = 0;
        while (skip < v.text_bytes && v.text[skip] == ' ') skip++;
        if (!text_only) printf("%9s  ", cli_length(v.start_ms));
        if (!text_only && v.speaker >= 0) printf("%s: ", cli_shown(es_speech_speaker(speech, v.speaker, name, sizeof name)));
        printf("%.*s\n", (int)(v.text_bytes - skip), v.text + skip);
    }
}

int cli_run_show(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    for (int i = 0; i < s->n_args && !cli_interrupted(); i++) {
        es_speech *speech = NULL;
        char *text = NULL;
        size_t bytes = 0;
        heading head = {.quiet = s->quiet};
        error = (es_error){0};
        if (i && !s->json && !s->text) putchar('\n');
        if (es_library_find(library, s->args[i], s->json || s->text ? NULL : show_head, &head, &speech, &error)) {
            code = cli_fail_input(&error);
        } else if (!s->json) {
            if (!s->text && !s->quiet) show_speakers(library, speech, head.path);
            show_speech(speech, s->text);
        } else if (es_speech_export(speech, "json", NULL, &text, &bytes, &error)) {
            code = cli_fail_input(&error);
        } else {
            fwrite(text, 1, bytes, stdout);
            if (bytes && text[bytes - 1] != '\n') putchar('\n');
        }
        es_free(text);
        es_speech_close(speech);
    }
    es_library_close(library);
    return code;
}
