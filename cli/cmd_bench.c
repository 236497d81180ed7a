/*
 * cmd_bench.c - `earshot bench der`, `eer` and `diarize`: who spoke when, how right and at what cost; and `bench pipeline`: all of it.
 */
#include <stdio.h>
#include <string.h>

#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "term.h"

bool cli_bench_is_voices(const cli_settings *s)
{
    return !strcmp(s->args[0], "der") || !strcmp(s->args[0], "eer") || !strcmp(s->args[0], "diarize");
}

int cli_run_bench_voices(const cli_settings *s)
{
    const char *what = s->args[0], *format = s->json ? "json" : "text";
    es_engine_options engine;
    es_speech_options speech;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;
    int rc;

    if (!strcmp(what, "der")) {
        if (s->n_args != 3) {
            cli_say("bench der takes two files: the reference and what is to be scored");
            return CLI_USAGE;
        }
        rc = es_score_turns(s->args[1], s->args[2], s->uem, s->collar, format, &text, &bytes, &error);
    } else if (!strcmp(what, "eer")) {
        if (s->n_args != 2) {
            cli_say("bench eer takes one file of scores");
            return CLI_USAGE;
        }
        rc = es_score_voices(s->args[1], format, &text, &bytes, &error);
    } else {
        if (s->n_args != (s->synthetic ? 1 : 2)) {
            cli_say("bench diarize takes one file, or --synthetic campplus|resnet34|ecapa and none");
            return CLI_USAGE;
        }
        cli_engine_options(&engine, s);
        cli_speech_options(&speech, s);
        rc = es_engine_bench_diarize(&engine, s->synthetic ? NULL : s->args[1], s->synthetic, &speech, s->output, format, &text, &bytes, &error);
    }
    if (rc) return cli_fail_input(&error);
    fwrite(text, 1, bytes, stdout);
    es_free(text);
    return CLI_OK;
}

int cli_run_bench_pipeline(const cli_settings *s)
{
    es_pipeline_bench_options bench = ES_PIPELINE_BENCH_OPTIONS;
    es_engine_options engine;
    es_speech_options speech;
    cli_settings copy = *s;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0, n = (size_t)s->n_args - 1;

    if (s->synthetic ? n > 0 || *s->synthetic : n == 0) {
        cli_say("bench pipeline takes files or folders, or --synthetic with neither; sizes are chosen by --with");
        return CLI_USAGE;
    }
    if (!s->synthetic && (s->with || s->seconds)) {
        cli_say("%s is for bench pipeline --synthetic", s->with ? "--with" : "--seconds");
        return CLI_USAGE;
    }
    cli_engine_options(&engine, s);
    cli_speech_options(&speech, s);
    bench.speech = &speech;
    bench.synthetic = s->synthetic != NULL;
    bench.with = s->with;
    bench.seconds = (int)s->seconds;
    bench.compare = s->compare;
    cli_signals_catch();
    if (es_engine_bench_pipeline(&engine, s->args + 1, n, &bench, s->json ? "json" : "text", cli_bench_listen, &copy, &text, &bytes, &error))
        return cli_fail_input(&error);
    cli_progress_show(NULL);
    fwrite(text, 1, bytes, stdout);
    if (s->json) putchar('\n');
    es_free(text);
    return CLI_OK;
}
