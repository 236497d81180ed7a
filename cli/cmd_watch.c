/*
 * cmd_watch.c - `earshot watch`: ingest that goes on until it is stopped, which is its good end.
 */
#include "cmd_engine.h"
#include "commands.h"
#include "earshot.h"
#include "follow.h"
#include "term.h"

int cli_run_watch(const cli_settings *s)
{
    es_engine_options engine_options;
    es_speech_options speech;
    es_ingest_options ingest = ES_INGEST_OPTIONS;
    es_watch_options options = ES_WATCH_OPTIONS;
    es_error error = {0};
    es_engine *engine = NULL;
    es_library *library = NULL;
    cli_follow follow;
    int code = CLI_OK;

    cli_engine_options(&engine_options, s);
    cli_speech_options(&speech, s);
    ingest.speech = &speech;
    ingest.track = (int)s->track;
    ingest.summary = cli_follow_sum;
    ingest.keep_seconds = s->keep;
    options.ingest = &ingest;
    options.settle_seconds = (double)s->settle;
    options.poll = s->poll;
    cli_signals_catch();
    cli_follow_open(&follow, s, false);
    if (es_engine_open(&engine, &engine_options, &error) || es_library_open(&library, s->library, ES_LIBRARY_CREATE, &error) ||
        es_engine_watch(engine, library, s->args, (size_t)s->n_args, &options, cli_follow_hear, &follow, &error))
        code = cli_follow_fail(&follow, &error);
    cli_follow_close(&follow);
    es_library_close(library);
    es_engine_close(engine);
    return code;
}
