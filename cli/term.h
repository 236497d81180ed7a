/*
 * term.h - what all commands share when they speak to a person: exit codes, messages, safe names; and, of lines.h, progress.
 *
 * Results go to stdout, everything else to stderr. Names come from file systems and may hold anything: they are printed
 * with control characters escaped, and inside command lines they are quoted for a shell.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "earshot.h"
#include "lines.h"

enum { CLI_OK = 0, CLI_INPUT = 1, CLI_USAGE = 2, CLI_UNUSABLE = 3, CLI_INTERRUPTED = 130 };

/* "earshot: sentence" on stderr. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says the error and gives the exit code it means: for what the whole command needs (engine, library) ... */
int cli_fail(const es_error *error);
/* ... and for one input among others. */
int cli_fail_input(const es_error *error);

/* Ctrl-C and SIGTERM set a flag that callbacks ask for; a second one ends the process at once. */
void cli_signals_catch(void);
bool cli_interrupted(void);

const char *cli_shown(const char *name);  /* printable, in a ring of static buffers */
const char *cli_quoted(const char *word); /* as a shell reads it back, in the same kind of ring */
const char *cli_clock(double seconds);    /* "3:21", "1:02:03" */
const char *cli_length(int64_t ms);       /* the same with tenths: "0:11.0" */
const char *cli_bytes(uint64_t bytes);    /* "1.25 GB", powers of ten */

/* Prints a string as JSON has it, with its quotes. Bytes that are not UTF-8 (names and texts may hold any) become U+FFFD. */
void cli_json_string(const char *text);
void cli_json_bytes(const char *text, size_t n); /* the same of n bytes */
bool cli_json_is_text(const char *text);         /* all of it is UTF-8 */

/* Writes a whole file through a temporary name in the same folder. 0, or -1 with errno set. */
int cli_write_file(const char *path, const char *text, size_t bytes);

#endif
