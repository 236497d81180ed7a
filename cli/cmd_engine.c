/*
 * cmd_engine.c - the commands about models and machine: convert, plan, bench, doctor.
 */
#define _POSIX_C_SOURCE 200809L
#include "cmd_engine.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "term.h"

void cli_engine_options(es_engine_options *out, const cli_settings *s)
{
    *out = (es_engine_options)ES_ENGINE_OPTIONS;
    out->models = s->models;
    out->asr = s->asr;
    out->sequential = s->sequential;
    out->least = s->min;
    out->segmentation = s->segmentation;
    out->diarizer = s->diarizer;
    out->voice = s->voice;
    out->embedder = s->embedder;
    out->embedder_device = s->embedder_device;
    out->embedder_batch_size = (int)s->batch_size;
    out->device = s->device;
    out->budget = s->budget;
    out->threads = (int)s->threads;
}

/* Here --device is the encoder's own; what is settled for it alone wins over what is settled for all models. */
int cli_encoder_options(es_encoder_options *out, const cli_settings *s)
{
    bool own = s->embedder_device && cli_origin_of(s, "device") != CLI_FROM_OPTION;

    *out = (es_encoder_options)ES_ENCODER_OPTIONS;
    out->models = s->models;
    out->model = s->model;
    out->device = own ? s->embedder_device : s->device;
    if (own) out->device_from = cli_origin_of(s, "embedder-device") == CLI_FROM_ENVIRONMENT ? "EMBEDDING_DEVICE" : "--embedder-device";
    out->budget = s->budget;
    out->threads = (int)s->threads;
    out->split = s->long_texts && !strcmp(s->long_texts, "split");
    out->batch_size = (int)s->batch_size;
    return CLI_OK;
}

void cli_speech_options(es_speech_options *out, const cli_settings *s)
{
    *out = (es_speech_options)ES_SPEECH_OPTIONS;
    out->language = s->language;
    out->task = s->task;
    out->prompt = s->prompt;
    out->temperature = s->temperature;
    out->no_words = s->words && !strcmp(s->words, "off");
    out->sequential = s->sequential;
    out->seek_words = s->seek && !strcmp(s->seek, "words");
    out->diarization = s->diarization;
    out->speakers = s->speakers;
    out->no_fast_path = s->fast_path && !strcmp(s->fast_path, "off");
    out->step = s->step == 0 ? 1e-9 : s->step; /* 0 is refused, not the default */
}

static void tell(void *user, const char *sentence)
{
    const cli_settings *s = user;

    if (!s->quiet) printf("%s\n", sentence);
}

int cli_run_convert(const cli_settings *s)
{
    es_models_options options = ES_MODELS_OPTIONS;
    es_error error = {0};
    cli_settings copy = *s;

    options.to = s->output;
    options.name = s->name;
    options.dtype = s->dtype;
    options.attention = s->attention;
    if (es_models_convert(s->args[0], &options, tell, &copy, &error)) return cli_fail_input(&error);
    return CLI_OK;
}

/* The rows of several plans under one head. */
static int print_budgets(const cli_settings *s, es_engine_options *options)
{
    char *list = strdup(s->budgets), *save = NULL, early[1024] = ""; /* rows that come before there is a head */
    bool headed = false;
    size_t n = 0;
    int code = CLI_OK;

    if (!list) return CLI_UNUSABLE;
    for (char *one = strtok_r(list, ",", &save); one && code == CLI_OK; one = strtok_r(NULL, ",", &save)) {
        es_error error = {0};
        char *text = NULL;
        size_t bytes = 0;
        if (!cli_parse_bytes(one, &options->budget)) {
            cli_say("--budgets takes amounts of memory such as 8G,16G, not %s", cli_quoted(one));
            code = CLI_USAGE;
            break;
        }
        int rc = es_engine_plan(options, s->with, "row", &text, &bytes, &error);
        if (rc == ES_OVER_BUDGET) {
            char row[64];
            snprintf(row, sizeof row, "| %.4g GB | does not fit |\n", (double)options->budget * 1e-9);
            if (headed) fputs(row, stdout);
            else if (n < sizeof early) n += (size_t)snprintf(early + n, sizeof early - n, "%s", row);
        } else if (rc) {
            code = cli_fail(&error);
        } else {
            char *row = strrchr(text, '|'); /* the last line, behind the head and its rule */
            while (row > text && row[-1] != '\n') row--;
            if (!headed) printf("%.*s%s", (int)(row - text), text, early);
            fputs(row, stdout);
            headed = true;
        }
        es_free(text);
    }
    if (!headed) fputs(early, stdout);
    free(list);
    return code;
}

int cli_run_plan(const cli_settings *s)
{
    es_engine_options options;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;

    cli_engine_options(&options, s);
    if (s->budgets) return print_budgets(s, &options);
    if (es_engine_plan(&options, s->with, s->json ? "json" : "text", &text, &bytes, &error)) return cli_fail(&error);
    fwrite(text, 1, bytes, stdout);
    es_free(text);
    if (!s->svg) return CLI_OK;
    text = NULL;
    if (es_engine_plan(&options, s->with, "svg", &text, &bytes, &error)) return cli_fail(&error);
    int failed = cli_write_file(s->svg, text, bytes);
    es_free(text);
    if (failed) {
        cli_say("cannot write %s: %s", cli_shown(s->svg), strerror(errno));
        return CLI_INPUT;
    }
    return CLI_OK;
}

int cli_bench_listen(void *user, const es_event *e)
{
    const cli_settings *s = user;
    char line[256];

    if (e->kind == ES_EVENT_NOTE && !s->quiet) cli_say("%s", e->text ? e->text : "");
    if (e->kind == ES_EVENT_PROGRESS && !s->quiet && cli_is_terminal()) {
        snprintf(line, sizeof line, "%s %3d %%", e->stage ? e->stage : "", (int)(100 * e->fraction));
        cli_progress_show(line);
    }
    return cli_interrupted();
}

static int bench_synthetic(const cli_settings *s)
{
    es_engine_options options;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;

    if (strcmp(s->args[0], "asr")) {
        cli_say("--synthetic measures asr, not %s", cli_shown(s->args[0]));
        return CLI_USAGE;
    }
    cli_engine_options(&options, s);
    if (es_engine_bench_synthetic(&options, s->synthetic, s->json ? "json" : "text", &text, &bytes, &error))
        return cli_fail(&error);
    fwrite(text, 1, bytes, stdout);
    if (s->json) putchar('\n');
    es_free(text);
    return CLI_OK;
}

static int bench_batches(const cli_settings *s)
{
    es_engine_options options;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;

    cli_engine_options(&options, s);
    if (es_engine_bench_batches(&options, s->json ? "json" : "text", &text, &bytes, &error)) return cli_fail(&error);
    fwrite(text, 1, bytes, stdout);
    es_free(text);
    return CLI_OK;
}

int cli_run_bench(const cli_settings *s)
{
    es_engine_options options;
    es_speech_options speech;
    es_error error = {0};
    es_engine *engine = NULL;
    cli_settings copy = *s;
    char *text = NULL;
    size_t bytes = 0;
    int code = CLI_OK;

    if (s->synthetic && !*s->synthetic && strcmp(s->args[0], "pipeline")) {
        cli_say("--synthetic needs a value: NAME");
        return CLI_USAGE;
    }
    if (cli_bench_is_voices(s)) return cli_run_bench_voices(s);
    if (!strcmp(s->args[0], "pipeline")) return cli_run_bench_pipeline(s);
    if (s->n_args > 1) {
        cli_say("bench does not take %s", cli_quoted(s->args[1]));
        return CLI_USAGE;
    }
    if (!strcmp(s->args[0], "batches")) return bench_batches(s);
    if (!strcmp(s->args[0], "embed")) return cli_run_bench_embed(s);
    if (s->synthetic) return bench_synthetic(s);
    cli_engine_options(&options, s);
    cli_speech_options(&speech, s);
    cli_signals_catch();
    if (es_engine_open(&engine, &options, &error)) return cli_fail(&error);
    if (es_engine_bench(engine, s->args[0], &speech, s->json ? "json" : "text", cli_bench_listen, &copy, &text, &bytes,
                        &error)) {
        code = cli_fail_input(&error);
    } else {
        cli_progress_show(NULL);
        fwrite(text, 1, bytes, stdout);
    }
    es_free(text);
    es_engine_close(engine);
    return code;
}

int cli_run_doctor(const cli_settings *s)
{
    es_engine_options options;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;
    int faults = 0;

    cli_engine_options(&options, s);
    if (s->n_args && !s->verify) {
        cli_say("a recording is for --verify: %s", cli_shown(s->args[0]));
        return CLI_USAGE;
    }
    if (s->verify ? es_engine_verify(&options, s->verify, s->n_args ? s->args[0] : NULL, s->json ? "json" : "text", &text, &bytes,
                                     &faults, &error)
                  : es_engine_doctor(&options, s->library, s->json ? "json" : "text", &text, &bytes, &faults, &error))
        return cli_fail(&error);
    fwrite(text, 1, bytes, stdout);
    es_free(text);
    return faults ? CLI_UNUSABLE : CLI_OK;
}
