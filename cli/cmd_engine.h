/*
 * cmd_engine.h - the command line's options as the engine takes them.
 */
#ifndef CLI_CMD_ENGINE_H
#define CLI_CMD_ENGINE_H

#include "commands.h"
#include "earshot.h"

void cli_engine_options(es_engine_options *out, const cli_settings *s);
/* Of a text encoder that is used alone; 0, or an exit code after a sentence. */
int cli_encoder_options(es_encoder_options *out, const cli_settings *s);
void cli_speech_options(es_speech_options *out, const cli_settings *s);
/* What is told while something is measured: notes, and how far it is. user: the settings. */
int cli_bench_listen(void *user, const es_event *e);

#endif
