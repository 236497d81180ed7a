/*
 * cmd_search.c - `earshot search`, `earshot similar` and `earshot reembed`: finding moments, and keeping them findable.
 *
 *     1  Sense and Sensibility.mp4  0:12.3  Anna
 *        The family of Dashwood had long been settled in Sussex. ...
 *        mpv --start=12 '/videos/Sense and Sensibility.mp4'
 *
 * Texts come from recordings, that is from anywhere: what would steer a terminal is shown as \xNN. A long passage is cut
 * around the first thing that matched; JSON has all of it.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd_engine.h"
#include "term.h"

enum { EXCERPT = 400, BEFORE_MATCH = 120, INDENT = 4, LEAST_COLUMNS = 40 };

typedef struct shown_state {
    const cli_settings *s;
    bool color;
    int columns; /* to wrap at; 0: not at all */
    size_t n;    /* hits of the query at work */
    const char *query;
    size_t query_bytes;
} shown_state;

/* ---- text ---- */

static size_t character_bytes(const char *text, size_t n)
{
    unsigned char c = (unsigned char)*text;
    size_t bytes = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;

    return bytes < n ? bytes : n;
}

/* One character, or \xNN; the columns it takes, near enough for wrapping. */
static int put_character(const char *text, size_t bytes)
{
    char one[8] = {0}, shown[40];

    if (!*text) {
        fputs("\\x00", stdout);
        return 4;
    }
    memcpy(one, text, bytes);
    es_name_shown(shown, sizeof shown, one);
    fputs(shown, stdout);
    return shown[0] == '\\' ? (int)strlen(shown) : 1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The bytes of the word at text, for wrapping. */
static size_t word_bytes(const char *text, size_t n)
{
    size_t i = 0;

    while (i < n && !is_blank(text[i])) i++;
    return i;
}

static int columns_of(const char *text, size_t n)
{
    int columns = 0;

    for (size_t i = 0; i < n; i++) columns += ((unsigned char)text[i] & 0xC0) != 0x80;
    return columns;
}

/* text[from .. to) with the marks in it, wrapped where a terminal is wide enough to. */
static void put_text(const shown_state *w, const es_match *h, size_t from, size_t to)
{
    const char *text = h->text;
    size_t mark = 0;
    int column = INDENT;
    bool inside = false;

    printf("%*s%s", INDENT, "", from ? "... " : "");
    column += from ? 4 : 0;
    for (size_t at = from; at < to;) {
        while (mark < h->n_marks && h->marks[mark].at + h->marks[mark].bytes <= at) mark++;
        bool marked = mark < h->n_marks && at >= h->marks[mark].at;
        if (marked != inside && w->color) fputs(marked ? "\033[1;33m" : "\033[0m", stdout);
        inside = marked;
        if (is_blank(text[at])) {
            int next = columns_of(text + at + 1, word_bytes(text + at + 1, to - at - 1));
            if (w->columns && column + 1 + next > w->columns && column > INDENT) {
                if (inside && w->color) fputs("\033[0m", stdout);
                printf("\n%*s", INDENT, "");
                if (inside && w->color) fputs("\033[1;33m", stdout);
                column = INDENT;
            } else {
                putchar(' ');
                column++;
            }
            at++;
            continue;
        }
        size_t bytes = character_bytes(text + at, to - at);
        column += put_character(text + at, bytes);
        at += bytes;
    }
    if (inside && w->color) fputs("\033[0m", stdout);
    fputs(to < h->text_bytes ? " ...\n" : "\n", stdout);
}

/* Moves a place in the text to the next start of a word, so that an excerpt does not begin inside one; where there is no
 * blank, at least to the start of a character. */
static size_t at_word(const es_match *h, size_t at, size_t limit)
{
    size_t i = at;

    if (!at) return 0;
    while (i < limit && !is_blank(h->text[i])) i++;
    if (i < limit) return i + 1;
    while (at < limit && ((unsigned char)h->text[at] & 0xC0) == 0x80) at++;
    return at;
}

static void excerpt(const es_match *h, size_t *from, size_t *to)
{
    *from = 0, *to = h->text_bytes;
    if (h->text_bytes <= EXCERPT) return;
    size_t first = h->n_marks ? h->marks[0].at : h->at;
    if (first > BEFORE_MATCH) *from = at_word(h, first - BEFORE_MATCH, first);
    if (*from + EXCERPT < h->text_bytes) {
        *to = *from + EXCERPT;
        while (*to > *from && !is_blank(h->text[*to])) (*to)--;
        if (*to == *from) *to = at_word(h, *from + EXCERPT, h->text_bytes);
    }
}

/* ---- a hit ---- */

/* A line that opens the moment in a player. */
static const char *player(const es_match *h, char *out, size_t room)
{
    snprintf(out, room, "mpv --start=%" PRId64 " %s", h->at_ms > 0 ? h->at_ms / 1000 : 0, cli_quoted(h->path));
    return out;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static void show_hit(const shown_state *w, const es_match *h)
{
    char line[5000];
    size_t from, to;

    if (w->n > 1) putchar('\n');
    printf("%s%2d  %s%s", w->color ? "\033[1m" : "", h->rank, cli_shown(file_name(h->path)), w->color ? "\033[0m" : "");
    if (h->track) printf(" (track %d)", h->track);
    printf("  %s", cli_length(h->at_ms));
    if (*h->speaker_name) printf("  %s%s%s", w->color ? "\033[36m" : "", cli_shown(h->speaker_name), w->color ? "\033[0m" : "");
    if (w->s->verbose) {
        if (h->meaning_rank) printf("  meaning %d (%.3f)", h->meaning_rank, h->similarity);
        if (h->words_rank) printf("  words %d (%.2f)", h->words_rank, h->words_score);
    }
    putchar('\n');
    excerpt(h, &from, &to);
    put_text(w, h, from, to);
    printf("%*s%s%s%s\n", INDENT, "", w->color ? "\033[2m" : "", player(h, line, sizeof line), w->color ? "\033[0m" : "");
}

static void json_hit(const shown_state *w, const es_match *h)
{
    char line[5000];

    printf("%s\n  {\"rank\": %d, \"id\": \"%s\", \"track\": %d, \"path\": ", w->n > 1 ? "," : "", h->rank, h->id, h->track);
    cli_json_string(h->path);
    printf(", \"start_ms\": %" PRId64 ", \"end_ms\": %" PRId64 ", \"at_ms\": %" PRId64 ", \"speaker\": ", h->start_ms, h->end_ms,
           h->at_ms);
    if (*h->speaker_name) cli_json_string(h->speaker_name);
    else fputs("null", stdout);
    fputs(", \"language\": ", stdout);
    cli_json_string(h->language);
    printf(", \"score\": %.6f, \"meaning\": ", h->score);
    if (h->meaning_rank) printf("{\"rank\": %d, \"similarity\": %.6f}", h->meaning_rank, h->similarity);
    else fputs("null", stdout);
    fputs(", \"words\": ", stdout);
    if (h->words_rank) printf("{\"rank\": %d, \"score\": %.6f}", h->words_rank, h->words_score);
    else fputs("null", stdout);
    fputs(", \"text\": ", stdout);
    cli_json_bytes(h->text, h->text_bytes);
    fputs(", \"marks\": [", stdout);
    for (size_t i = 0; i < h->n_marks; i++)
        printf("%s[%" PRIu32 ", %" PRIu32 "]", i ? ", " : "", h->marks[i].at, h->marks[i].bytes);
    fputs("], \"play\": ", stdout);
    cli_json_string(player(h, line, sizeof line));
    putchar('}');
}

static int on_hit(void *user, const es_match *h)
{
    shown_state *w = user;

    w->n++;
    if (w->s->json) json_hit(w, h);
    else show_hit(w, h);
    return cli_interrupted();
}

/* ---- search ---- */

static void search_options(es_search_options *o, const cli_settings *s)
{
    *o = (es_search_options)ES_SEARCH_OPTIONS;
    o->mode = s->mode;
    o->speaker = s->speaker;
    o->in = s->in;
    o->after = s->after;
    o->before = s->before;
    o->language = s->lang;
    o->limit = (int)s->limit;
}

static shown_state shown_begin(const cli_settings *s)
{
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    bool terminal = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0;
    int columns = terminal ? cli_columns() : 0;

    return (shown_state){
        .s = s, .color = terminal && !(plain && *plain), .columns = columns >= LEAST_COLUMNS ? columns : 0};
}

/* What was asked for makes no sense, or is not there. */
static int fail(const es_error *error)
{
    return error->code == ES_BAD_ARGUMENT ? cli_fail(error) : cli_fail_input(error);
}

/* One query, from the command line or a line of standard input. */
static int ask(shown_state *w, es_library *library, es_encoder *encoder, const es_search_options *o, const char *query,
               size_t bytes)
{
    es_error error = {0};

    w->n = 0;
    if (w->s->json) {
        fputs("{\"query\": ", stdout);
        cli_json_bytes(query, bytes);
        fputs(", \"hits\": [", stdout);
    }
    int rc = es_library_search(library, encoder, query, bytes, o, on_hit, w, &error);
    if (w->s->json) puts(w->n ? "\n]}" : "]}");
    fflush(stdout);
    if (rc) return fail(&error);
    if (!w->n && !w->s->json && !w->s->quiet) cli_say("nothing was found");
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

static int ask_lines(shown_state *w, es_library *library, es_encoder *encoder, const es_search_options *o)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int code = CLI_OK;
    bool person = isatty(STDIN_FILENO) && !w->s->quiet, asked = false;

    while (!cli_interrupted()) {
        if (person) fputs("search: ", stderr);
        n = getline(&line, &room, stdin);
        if (n < 0) break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
        if (strspn(line, " \t") == (size_t)n) continue; /* blank */
        if (asked && !w->s->json) putchar('\n');
        if (!person && !w->s->json && !w->s->quiet) {
            fputs("? ", stdout);
            for (ssize_t at = 0; at < n;) {
                size_t bytes = character_bytes(line + at, (size_t)(n - at));
                put_character(line + at, bytes);
                at += (ssize_t)bytes;
            }
            putchar('\n');
        }
        asked = true;
        int one = ask(w, library, encoder, o, line, (size_t)n);
        if (one != CLI_OK && (code == CLI_OK || one > code)) code = one;
        if (one == CLI_UNUSABLE) break; /* the next query would fail in the same way */
    }
    if (person) fputc('\n', stderr);
    free(line);
    return cli_interrupted() ? CLI_INTERRUPTED : code;
}

/* The words of the command line, with a blank between them. NULL without memory. */
static char *joined(const cli_settings *s)
{
    size_t bytes = 1, n = 0;
    char *out;

    for (int i = 0; i < s->n_args; i++) bytes += strlen(s->args[i]) + 1;
    out = malloc(bytes);
    for (int i = 0; out && i < s->n_args; i++) {
        size_t more = strlen(s->args[i]);
        if (i) out[n++] = ' ';
        memcpy(out + n, s->args[i], more);
        n += more;
    }
    if (out) out[n] = 0;
    return out;
}

static int encoder_options(es_encoder_options *o, const cli_settings *s)
{
    int code = cli_encoder_options(o, s);

    o->model = s->embedder;
    return code;
}

static int note_recording(void *user, const es_recording *r)
{
    (void)r;
    *(bool *)user = true;
    return 1;
}

/* Whether there is anything to search; where not, that is said. */
static bool holds_recordings(es_library *library, const cli_settings *s)
{
    bool any = false;

    es_library_list(library, note_recording, &any, NULL);
    if (!any && !s->quiet) cli_say("%s holds no recordings yet; `earshot ingest` adds them", cli_shown(es_library_folder(library)));
    return any;
}

int cli_run_search(const cli_settings *s)
{
    es_search_options o;
    es_encoder_options e;
    es_error error = {0};
    es_library *library = NULL;
    es_encoder *encoder = NULL;
    shown_state w = shown_begin(s);
    char *query = NULL;
    int code = CLI_OK;

    search_options(&o, s);
    cli_signals_catch();
    if (s->n_args && !(query = joined(s))) {
        cli_say("not enough memory");
        return CLI_UNUSABLE;
    }
    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) {
        code = cli_fail(&error);
        goto out;
    }
    bool any = holds_recordings(library, s);
    if (!any && !s->json) goto out;
    /* The words are found without any model; one that is wrong for this library is told and ends a search by meaning. */
    bool without = s->embedder && !strcmp(s->embedder, "none");
    if (any && !without && (!s->mode || strcmp(s->mode, "words"))) {
        if ((code = encoder_options(&e, s))) goto out;
        if (es_library_encoder(library, &encoder, &e, &error)) {
            if (error.code != ES_NOT_FOUND || s->embedder || s->mode) {
                code = cli_fail(&error);
                goto out;
            }
            if (!s->quiet) cli_say("note: %s; words alone are searched", error.text);
        }
    }
    if (query) code = ask(&w, library, encoder, &o, query, strlen(query));
    else code = ask_lines(&w, library, encoder, &o);
out:
    free(query);
    es_encoder_close(encoder);
    es_library_close(library);
    return code;
}

int cli_run_similar(const cli_settings *s)
{
    es_search_options o;
    es_error error = {0};
    es_library *library = NULL;
    shown_state w = shown_begin(s);
    int code = CLI_OK;

    search_options(&o, s);
    cli_signals_catch();
    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (s->json) {
        fputs("{\"moment\": ", stdout);
        cli_json_string(s->args[0]);
        fputs(", \"hits\": [", stdout);
    }
    if (es_library_similar(library, s->args[0], &o, on_hit, &w, &error)) code = fail(&error);
    if (s->json) puts(w.n ? "\n]}" : "]}");
    else if (code == CLI_OK && !w.n && !s->quiet) cli_say("nothing else is like it");
    es_library_close(library);
    return code == CLI_OK && cli_interrupted() ? CLI_INTERRUPTED : code;
}

/* ---- reembed ---- */

static int on_reembed(void *user, const es_event *e)
{
    const cli_settings *s = user;
    char line[1024];

    if (e->kind == ES_EVENT_PROGRESS && !s->quiet && cli_is_terminal()) {
        snprintf(line, sizeof line, "%zu of %zu  %s", e->index + 1, e->count, cli_shown(e->path ? file_name(e->path) : ""));
        cli_progress_show(line);
    } else if (e->kind == ES_EVENT_FAILED) {
        cli_say("%s: %s", cli_shown(e->path ? e->path : ""), e->text ? e->text : "failed");
    } else if (e->kind == ES_EVENT_STORED && s->verbose) {
        cli_say("%s", cli_shown(e->path ? e->path : ""));
    }
    return cli_interrupted();
}

int cli_run_reembed(const cli_settings *s)
{
    es_encoder_options e;
    es_error error = {0};
    es_library *library = NULL;
    es_ingest_report r = {0};
    cli_settings copy = *s;
    int code = CLI_OK;

    cli_signals_catch();
    if (encoder_options(&e, s)) return CLI_USAGE;
    if (es_library_open(&library, s->library, 0, &error) || es_library_reembed(library, &e, on_reembed, &copy, &r, &error)) {
        code = cli_fail(&error);
    } else {
        cli_progress_show(NULL);
        if (!s->quiet)
            printf("%zu recording%s: %zu made anew, %zu were so already%s\n", r.files, r.files == 1 ? "" : "s", r.stored, r.known,
                   r.failed ? "" : "; the library has one space of meanings");
        if (r.failed) code = CLI_INPUT;
    }
    es_library_close(library);
    return code;
}
