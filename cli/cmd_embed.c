/*
 * cmd_embed.c - `earshot embed` and `earshot tokenize`: a text a line in, a vector or its token ids a line out; and
 * `earshot bench embed`.
 *
 * Lines end at LF and nowhere else; what is between two of them is a text, byte by byte, be it empty. A last line without
 * its LF is a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "term.h"

/* The lines of a file, and where each begins. */
typedef struct lines {
    char *text;
    size_t bytes, n;
    const char **line;
    size_t *length;
} lines;

static void lines_done(lines *l)
{
    free(l->text), free(l->line), free(l->length);
    *l = (lines){0};
}

static int no_memory(void)
{
    cli_say("not enough memory");
    return CLI_UNUSABLE;
}

static int lines_read(lines *out, const char *path)
{
    FILE *f = path && strcmp(path, "-") ? fopen(path, "rb") : stdin;
    size_t room = 0, got = 1;
    lines l = {0};

    *out = l;
    if (!f) {
        cli_say("cannot read %s: %s", cli_shown(path), strerror(errno));
        return CLI_INPUT;
    }
    while (got) {
        if (l.bytes == room) {
            char *more = realloc(l.text, room = 2 * room + 65536);
            if (!more) break;
            l.text = more;
        }
        l.bytes += got = fread(l.text + l.bytes, 1, room - l.bytes, f);
    }
    int failed = ferror(f) ? errno ? errno : EIO : 0;
    if (f != stdin) fclose(f);
    if (failed) {
        cli_say("cannot read %s: %s", path ? cli_shown(path) : "standard input", strerror(failed));
        lines_done(&l);
        return CLI_INPUT;
    }
    for (size_t i = 0; i < l.bytes; i++) l.n += l.text[i] == '\n';
    if (l.bytes && l.text[l.bytes - 1] != '\n') l.n++;
    l.line = calloc(l.n + 1, sizeof *l.line);
    l.length = calloc(l.n + 1, sizeof *l.length);
    if (got || !l.line || !l.length) {
        lines_done(&l);
        return no_memory();
    }
    for (size_t i = 0, at = 0; i < l.n; i++) {
        const char *end = memchr(l.text + at, '\n', l.bytes - at);
        l.line[i] = l.text + at;
        l.length[i] = end ? (size_t)(end - l.line[i]) : l.bytes - at;
        at += l.length[i] + 1;
    }
    *out = l;
    return CLI_OK;
}

/* ---- vectors out ---- */

/* numpy's format, version 1.0: a header padded so that the numbers begin at a multiple of 64. */
static void put_npy(FILE *f, const float *vectors, size_t n, int width)
{
    char head[128];
    const uint16_t one = 1;
    int size = snprintf(head, sizeof head, "\x93NUMPY%c%c..{'descr': '%cf4', 'fortran_order': False, 'shape': (%zu, %d), }", 1, 0,
                        *(const char *)&one ? '<' : '>', n, width);

    memset(head + size, ' ', sizeof head - (size_t)size);
    head[sizeof head - 1] = '\n';
    head[8] = sizeof head - 10, head[9] = 0;
    fwrite(head, 1, sizeof head, f);
    fwrite(vectors, sizeof *vectors * (size_t)width, n, f);
}

/* A list a line; nine digits give the same float back. */
static void put_jsonl(FILE *f, const float *vectors, size_t n, int width)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < width; k++)
            fprintf(f, "%c%.9g%s", k ? ',' : '[', (double)vectors[i * (size_t)width + (size_t)k], k == width - 1 ? "]\n" : "");
}

static int put(const cli_settings *s, const float *vectors, size_t n, int width)
{
    size_t name = s->output ? strlen(s->output) : 0, bytes = 0;
    bool as_named = name > 6 && !strcmp(s->output + name - 6, ".jsonl");
    bool jsonl = s->format ? !strcmp(s->format, "jsonl") : as_named, to_stdout = !s->output || !strcmp(s->output, "-");
    char *text = NULL;

    if (to_stdout) {
        (jsonl ? put_jsonl : put_npy)(stdout, vectors, n, width);
        return CLI_OK;
    }
    FILE *f = open_memstream(&text, &bytes);
    if (!f) return no_memory();
    (jsonl ? put_jsonl : put_npy)(f, vectors, n, width);
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(text);
        return no_memory();
    }
    failed = cli_write_file(s->output, text, bytes);
    free(text);
    if (!failed) return CLI_OK;
    cli_say("cannot write %s: %s", cli_shown(s->output), strerror(errno));
    return CLI_INPUT;
}

/* ---- ids in ---- */

typedef struct id_lines {
    int32_t *ids;
    size_t *bounds;
} id_lines;

static int read_ids(id_lines *out, const lines *l)
{
    size_t n = 0;

    /* Two bytes make an id and what parts it from the next one. */
    out->ids = malloc((l->bytes / 2 + l->n + 1) * sizeof *out->ids);
    out->bounds = calloc(l->n + 1, sizeof *out->bounds);
    if (!out->ids || !out->bounds) return no_memory();
    for (size_t i = 0; i < l->n; i++) {
        const char *p = l->line[i], *end = p + l->length[i];
        while (p < end) {
            int64_t v = 0;
            const char *from = p;
            if (*p == ' ' || *p == '\t' || *p == '\r') {
                p++;
                continue;
            }
            for (; p < end && *p >= '0' && *p <= '9' && v <= INT32_MAX; p++) v = 10 * v + (*p - '0');
            if (p == from || v > INT32_MAX || (p < end && !strchr(" \t\r", *p)) || (p < end && !*p)) {
                cli_say("line %zu: at byte %zu there is no token id: whole numbers are taken, separated by blanks", i + 1,
                        (size_t)(from - l->line[i]) + 1);
                return CLI_INPUT;
            }
            out->ids[n++] = (int32_t)v;
        }
        out->bounds[i + 1] = n;
        if (n == out->bounds[i]) {
            cli_say("line %zu has no token ids: a text has one at least", i + 1);
            return CLI_INPUT;
        }
    }
    return CLI_OK;
}

/* ---- the commands ---- */

int cli_run_embed(const cli_settings *s)
{
    es_encoder_options options;
    es_error error = {0};
    es_encoder *encoder = NULL;
    id_lines ids = {0};
    lines l = {0};
    float *vectors = NULL;
    int code = cli_encoder_options(&options, s), width = 0;

    if (code == CLI_OK && (!s->output || !strcmp(s->output, "-")) && isatty(1) && !(s->format && !strcmp(s->format, "jsonl"))) {
        cli_say("npy is nothing for a terminal: name a file with -o, or take --format jsonl");
        return CLI_USAGE;
    }
    if (s->ids && s->query) {
        cli_say("--ids takes ids as they are, and --query would add to them");
        return CLI_USAGE;
    }
    if (s->ids && s->long_texts) {
        cli_say("--ids takes ids as they are, and --long is about texts");
        return CLI_USAGE;
    }
    if (code == CLI_OK && es_encoder_open(&encoder, &options, &error)) code = cli_fail(&error);
    if (code == CLI_OK) code = lines_read(&l, s->n_args ? s->args[0] : NULL);
    if (code == CLI_OK && s->ids) code = read_ids(&ids, &l);
    if (code == CLI_OK) {
        width = es_encoder_width(encoder);
        vectors = calloc(l.n + 1, (size_t)width * sizeof *vectors);
        if (!vectors) code = no_memory();
    }
    if (code == CLI_OK) {
        int rc = s->ids ? es_encoder_embed_ids(encoder, ids.ids, ids.bounds, l.n, vectors, &error)
                        : es_encoder_embed(encoder, l.line, l.length, l.n, s->query, vectors, &error);
        /* Ids that the model does not have are the input's fault, everything else the model's or the machine's. */
        if (rc) code = rc == ES_BAD_ARGUMENT ? cli_fail_input(&error) : cli_fail(&error);
    }
    if (code == CLI_OK) code = put(s, vectors, l.n, width);
    free(vectors);
    free(ids.ids), free(ids.bounds);
    lines_done(&l);
    es_encoder_close(encoder);
    return code;
}

/* One line of ids; grows the room for them. */
static int print_ids(const es_tokenizer *tokenizer, const char *text, size_t n, int32_t **ids, size_t *room)
{
    es_error error = {0};
    size_t count = 0;

    if (es_tokenizer_ids(tokenizer, text, n, *ids, *room, &count, &error)) return cli_fail_input(&error);
    if (count > *room) {
        int32_t *more = realloc(*ids, count * sizeof *more);
        if (!more) return no_memory();
        *ids = more, *room = count;
        if (es_tokenizer_ids(tokenizer, text, n, *ids, *room, &count, &error)) return cli_fail_input(&error);
    }
    for (size_t i = 0; i < count; i++) printf("%s%d", i ? " " : "", (int)(*ids)[i]);
    putchar('\n');
    return CLI_OK;
}

int cli_run_tokenize(const cli_settings *s)
{
    es_error error = {0};
    es_tokenizer *tokenizer = NULL;
    int32_t *ids = NULL;
    char *line = NULL;
    size_t room = 0, line_room = 0;
    ssize_t n;
    int code = CLI_OK;

    if (es_tokenizer_open(&tokenizer, s->models, s->model, &error)) return cli_fail(&error);
    while (code == CLI_OK && (n = getline(&line, &line_room, stdin)) >= 0) {
        if (n && line[n - 1] == '\n') n--;
        code = print_ids(tokenizer, line, (size_t)n, &ids, &room);
    }
    if (code == CLI_OK && ferror(stdin)) {
        cli_say("cannot read standard input: %s", strerror(errno));
        code = CLI_INPUT;
    }
    free(line);
    free(ids);
    es_tokenizer_close(tokenizer);
    return code;
}

int cli_run_bench_embed(const cli_settings *s)
{
    es_encoder_bench_options options = ES_ENCODER_BENCH_OPTIONS;
    es_encoder_options encoder;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;
    int code = cli_encoder_options(&encoder, s);

    if (code != CLI_OK) return code;
    if (s->synthetic && s->model) {
        cli_say("--synthetic makes a model up, and --model names one: only one of them can be measured");
        return CLI_USAGE;
    }
    if (s->sweep && (s->device || s->batch_size)) {
        cli_say("--sweep chooses devices and batch sizes itself");
        return CLI_USAGE;
    }
    options.encoder = &encoder;
    options.synthetic = s->synthetic;
    options.tokens = (int)s->tokens;
    options.texts = (int)s->texts;
    options.sweep = s->sweep;
    if (es_encoder_bench(&options, s->json ? "json" : "text", &text, &bytes, &error)) return cli_fail(&error);
    fwrite(text, 1, bytes, stdout);
    es_free(text);
    return CLI_OK;
}
