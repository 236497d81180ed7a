/*
 * cmd_people.c - `earshot enroll` and `earshot speakers`: who is who.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "term.h"

enum { SHOWN_PATHS = 3 };

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static void say_change(const char *name, size_t speakers, size_t recordings)
{
    if (!speakers) puts("no recording is affected");
    else if (name)
        printf("%zu speaker%s in %zu recording%s %s called %s now\n", speakers, plural(speakers), recordings,
               plural(recordings), speakers == 1 ? "is" : "are", cli_shown(name));
    else
        printf("%zu speaker%s in %zu recording%s %s called otherwise now\n", speakers, plural(speakers), recordings,
               plural(recordings), speakers == 1 ? "is" : "are");
}

/* ---- enroll ---- */

typedef struct enrolling {
    const cli_settings *s;
    int code;
} enrolling;

static void hear_enrolling(void *user, const char *path, bool refused, const char *sentence)
{
    enrolling *e = user;

    (void)path; /* the sentence names it */
    if (refused) e->code = CLI_INPUT;
    if (refused || !e->s->quiet) cli_say("%s%s", refused ? "" : "note: ", sentence);
}

int cli_run_enroll(const cli_settings *s)
{
    enrolling e = {.s = s};
    es_engine_options options;
    es_enrolled_report r = {0};
    es_error error = {0};
    es_library *library = NULL;

    cli_engine_options(&options, s);
    if (es_library_open(&library, s->library, ES_LIBRARY_CREATE, &error)) return cli_fail(&error);
    if (es_library_enroll(library, s->args[0], s->args + 1, (size_t)s->n_args - 1, (int)s->track, &options,
                          hear_enrolling, &e, &r, &error)) {
        e.code = cli_fail_input(&error);
    } else if (!s->quiet) {
        printf("%s is known by %s of speech in %zu file%s; ", cli_shown(s->args[0]), cli_length(r.speech_ms), r.clips,
               plural(r.clips));
        say_change(s->args[0], r.speakers, r.recordings);
    }
    es_library_close(library);
    return e.code;
}

/* ---- speakers ---- */

typedef struct listing {
    bool json;
    size_t n;
} listing;

static void list_json(listing *l, const es_person *p)
{
    printf("%s\n  {\"name\": ", l->n ? "," : "");
    cli_json_string(p->name);
    printf(", \"enrolled\": %s, \"clips\": %zu, \"speech_ms\": %" PRId64 ", \"models\": ",
           p->enrolled ? "true" : "false", p->clips, p->speech_ms);
    cli_json_string(p->models);
    fputs(", \"recordings\": [", stdout);
    for (size_t i = 0; i < p->recordings; i++) {
        if (i) fputs(", ", stdout);
        cli_json_string(p->paths[i]);
    }
    printf("], \"comparable\": %s}", p->comparable ? "true" : "false");
}

static int list_person(void *user, const es_person *p)
{
    listing *l = user;

    if (l->json) {
        list_json(l, p);
    } else {
        printf("%s", cli_shown(p->name));
        if (p->enrolled)
            printf(", known by %s in %zu recording%s (%s)", cli_length(p->speech_ms), p->clips, plural(p->clips),
                   cli_shown(p->models));
        else if (!p->comparable) printf(", %s", p->speech_ms ? "forgotten" : "who never speaks alone");
        else printf(", %s alone", cli_length(p->speech_ms));
        if (p->recordings) printf(", speaks in ");
        for (size_t i = 0; i < p->recordings && i < SHOWN_PATHS; i++)
            printf("%s%s", i ? ", " : "", cli_shown(base_of(p->paths[i])));
        if (p->recordings > SHOWN_PATHS) printf(" and %zu more", p->recordings - SHOWN_PATHS);
        putchar('\n');
    }
    l->n++;
    return cli_interrupted();
}

static int list_all(const cli_settings *s)
{
    listing l = {.json = s->json};
    es_error error = {0};
    es_library *library = NULL;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (s->json) putchar('[');
    if (es_library_people(library, list_person, &l, &error)) code = cli_fail(&error);
    if (s->json) puts(l.n ? "\n]" : "]");
    else if (!s->quiet && !l.n && code == CLI_OK)
        puts("nobody is enrolled, and nobody was told apart in a recording yet");
    es_library_close(library);
    return code;
}

/* The words after `speakers`. */
typedef struct word {
    const char *name, *arguments;
    int n; /* of its arguments */
    int (*run)(es_library *library, const char *const *args, es_relabeled *out, es_error *error);
} word;

static int run_rename(es_library *library, const char *const *args, es_relabeled *out, es_error *error)
{
    return es_library_rename_speaker(library, args[0], args[1], out, error);
}

static int run_merge(es_library *library, const char *const *args, es_relabeled *out, es_error *error)
{
    return es_library_merge_speakers(library, args[0], args[1], out, error);
}

static int run_split(es_library *library, const char *const *args, es_relabeled *out, es_error *error)
{
    return es_library_split_speaker(library, args[0], args[1], out, error);
}

static int run_forget(es_library *library, const char *const *args, es_relabeled *out, es_error *error)
{
    return es_library_forget_speaker(library, args[0], out, error);
}

static const word words[] = {
    {"rename", "WHO NAME", 2, run_rename},
    {"merge", "WHO OTHER", 2, run_merge},
    {"split", "WHO RECORDING", 2, run_split},
    {"forget", "WHO", 1, run_forget},
};

static int change(const cli_settings *s, const word *w)
{
    es_relabeled r = {0};
    es_error error = {0};
    es_library *library = NULL;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, 0, &error)) return cli_fail(&error);
    if (w->run(library, s->args + 1, &r, &error)) code = cli_fail_input(&error);
    else if (!s->quiet) say_change(w->run == run_rename ? s->args[2] : NULL, r.speakers, r.recordings);
    if (code == CLI_OK && !s->quiet && w->run == run_forget)
        puts("`earshot compact` leaves no byte of the name and of the vectors");
    es_library_close(library);
    return code;
}

int cli_run_speakers(const cli_settings *s)
{
    const char *first = s->n_args ? s->args[0] : "list";

    if (!strcmp(first, "list")) {
        if (s->n_args <= 1) return list_all(s);
        cli_say("speakers list does not take %s", cli_quoted(s->args[1]));
        return CLI_USAGE;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(first, words[i].name)) continue;
        if (s->n_args == 1 + words[i].n) return change(s, &words[i]);
        cli_say("speakers %s takes %s; see `earshot help speakers`", first, words[i].arguments);
        return CLI_USAGE;
    }
    cli_say("speakers takes list, rename, merge, split or forget, not %s", cli_quoted(first));
    return CLI_USAGE;
}
