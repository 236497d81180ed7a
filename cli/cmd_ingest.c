/*
 * cmd_ingest.c - `earshot ingest`: the main job, and its clean end.
 */
#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "follow.h"
#include "term.h"

int cli_run_ingest(const cli_settings *s)
{
    es_engine_options engine_options;
    es_speech_options speech;
    es_ingest_options options = ES_INGEST_OPTIONS;
    es_ingest_report report = {0};
    es_error error = {0};
    es_engine *engine = NULL;
    es_library *library = NULL;
    cli_follow follow;
    int code = CLI_OK;

    cli_engine_options(&engine_options, s);
    cli_speech_options(&speech, s);
    options.speech = &speech;
    options.track = (int)s->track;
    options.again = s->again != NULL;
    options.again_stage = s->again && *s->again ? s->again : NULL;
    options.summary = cli_follow_sum;
    options.keep_seconds = s->keep;
    cli_signals_catch();
    cli_follow_open(&follow, s, true);
    if (es_engine_open(&engine, &engine_options, &error) ||
        es_library_open(&library, s->library, ES_LIBRARY_CREATE, &error)) {
        code = cli_follow_fail(&follow, &error);
        goto out;
    }
    if (es_engine_ingest(engine, library, s->args, (size_t)s->n_args, &options, cli_follow_hear, &follow, &report, &error)) {
        code = cli_follow_fail(&follow, &error);
        if (code == CLI_INTERRUPTED && !s->quiet)
            cli_say("%zu of %zu file%s stored; the library is whole, ingest again to go on",
                    report.stored + report.known, report.files, report.files == 1 ? "" : "s");
    } else if (report.failed) {
        code = CLI_INPUT;
    }
out:
    cli_follow_close(&follow);
    es_library_close(library);
    es_engine_close(engine);
    return code;
}
