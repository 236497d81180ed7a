/*
 * cmd_export.c - `earshot export`: one file for each recording and format, or one recording to standard output.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "earshot.h"
#include "term.h"

typedef struct exporter {
    const cli_settings *s;
    size_t written;
    int code;
} exporter;

static int written(void *user, const char *path, const es_error *failed)
{
    exporter *x = user;

    if (failed) {
        x->code = cli_fail_input(failed);
    } else {
        x->written++;
        if (!x->s->quiet) puts(cli_shown(!strncmp(path, "./", 2) ? path + 2 : path));
    }
    return cli_interrupted();
}

static int to_stdout(const cli_settings *s, es_library *library, const es_subtitle_options *options)
{
    es_error error = {0};
    es_speech *speech = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int code = CLI_OK;

    if (s->n_args != 1 || (s->format && strchr(s->format, ','))) {
        cli_say("-o - takes one recording and one format");
        return CLI_USAGE;
    }
    if (es_library_find(library, s->args[0], NULL, NULL, &speech, &error) ||
        es_speech_export(speech, s->format ? s->format : "srt", options, &text, &bytes, &error))
        code = cli_fail_input(&error);
    else fwrite(text, 1, bytes, stdout);
    es_free(text);
    es_speech_close(speech);
    return code;
}

int cli_run_export(const cli_settings *s)
{
    es_subtitle_options options = ES_SUBTITLE_OPTIONS;
    es_error error = {0};
    es_library *library = NULL;
    exporter x = {.s = s};

    options.max_line_width = (int)s->max_line_width;
    options.max_lines = (int)s->max_lines;
    options.vtt_words = s->vtt_words;
    cli_signals_catch();
    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (s->output && !strcmp(s->output, "-")) {
        x.code = to_stdout(s, library, &options);
    } else if (es_library_export(library, s->args, (size_t)s->n_args, s->format, s->output, &options, written, &x,
                                 &error)) {
        x.code = cli_fail(&error);
    } else if (!s->n_args && !x.written && !x.code && !s->quiet) {
        cli_say("the library holds no recordings yet");
    }
    es_library_close(library);
    return x.code;
}
