/*
 * follow.h - what ingest and watch say while they work: to people at a terminal, to a log, or to a program.
 *
 *     terminal     a line for each recording at work and one for all, written over; what is done goes above them
 *     no terminal  a line for each recording when it is done
 *     JSON lines   an object for each event, see json_lines.h; nothing but fatal errors goes to stderr then
 */
#ifndef CLI_FOLLOW_H
#define CLI_FOLLOW_H

#include "commands.h"
#include "earshot.h"
#include "running.h"

typedef struct cli_follow {
    const cli_settings *s;
    cli_running *running; /* on a terminal; else NULL */
    bool keep_failed;     /* say at the end what failed */
    bool waiting;
    char **failed; /* names with their sentences, for the end */
    size_t n_failed, room;
} cli_follow;

/* From here on the library's messages come this way, too. keep_failed: false where a run has no end. */
void cli_follow_open(cli_follow *f, const cli_settings *s, bool keep_failed);
void cli_follow_close(cli_follow *f);
int cli_follow_hear(void *follow, const es_event *e);                   /* for es_engine_ingest() and es_engine_watch() */
void cli_follow_sum(void *follow, const es_ingest_summary *summary);    /* for their options */
/* Says what failed altogether, and gives the exit code that it means. */
int cli_follow_fail(cli_follow *f, const es_error *error);

#endif
