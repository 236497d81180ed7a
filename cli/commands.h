/*
 * commands.h - the one table behind everything the command line says and understands.
 *
 * Each option and each command is described once, in commands.c. Parsing, `earshot help`, the manual page and the
 * shells' completions are all read from there, so that none can say what another does not do.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A set of options: there are more than 64. Both compilers have a number that is wide enough, outside the standard. */
enum { CLI_MOST_OPTIONS = 128 };
__extension__ typedef unsigned __int128 cli_bits;

/* Where the value of an option comes from; each wins over those before it. */
typedef enum cli_from { CLI_FROM_DEFAULT, CLI_FROM_FILE, CLI_FROM_ENVIRONMENT, CLI_FROM_OPTION } cli_from;
typedef struct cli_origin {
    cli_from from;
    int line; /* of the file */
} cli_origin;

/* What the user asked for: every option of every command, at its default where it was not given. */
typedef struct cli_settings {
    const char *library, *models, *model, *asr, *segmentation, *diarizer, *voice, *embedder, *embedder_device, *device, *language,
        *task, *prompt, *name, *dtype, *attention, *with, *budgets, *svg, *output, *format;
    const char *long_texts;   /* "truncate" | "split" */
    const char *synthetic;    /* an architecture; "" where none is named */
    const char *compare;
    int64_t tokens, texts, seconds;
    bool sweep;
    const char *verify; /* a pack */
    const char *mode, *speaker, *in, *after, *before, *lang;
    const char *words, *seek; /* "on" | "off", "timestamps" | "words" */
    const char *again;        /* a stage; "" all of them; NULL: what is known stays */
    uint64_t budget;
    const char *diarization, *speakers, *uem;
    const char *fast_path; /* "auto" | "off" */
    double temperature; /* < 0: with fallback */
    double step;        /* < 0: the default */
    double keep;        /* the same */
    double collar;
    int64_t threads, batch_size, track, max_line_width, max_lines, limit;
    int64_t settle;
    bool json_lines, poll, ids, min, query, sequential, vtt_words, text, man, json, quiet, verbose, help;
    const char *const *args; /* what is not an option */
    int n_args;
    cli_origin origin[CLI_MOST_OPTIONS]; /* of each option */
    const char *config;                  /* the file with settings */
    bool config_missing;                 /* it is the default one, and is not there */
    char *config_text, *config_paths[CLI_MOST_OPTIONS + 1]; /* what values from the file point to */
    int n_config_paths;
} cli_settings;

typedef enum cli_kind {
    CLI_FLAG,   /* no value */
    CLI_TEXT,   /* any text */
    CLI_FILE,   /* a path, for completions */
    CLI_FOLDER, /* the same */
    CLI_CHOICE, /* one of choices */
    CLI_INT,    /* least .. most */
    CLI_NUMBER, /* 0 .. 10, a temperature */
    CLI_BYTES   /* 16G */
} cli_kind;

typedef struct cli_option {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    cli_kind kind;
    const char *value;   /* how the help names the value */
    const char *choices; /* CLI_CHOICE: separated by | */
    size_t offset;       /* of its member in cli_settings */
    int64_t least, most; /* CLI_INT */
    const char *help;    /* one or two sentences */
    bool bare;           /* may stand without its value: then it is "". A choice takes the next word where that is one of
                          * choices, any other kind where it is no option */
} cli_option;

typedef struct cli_command {
    const char *name;
    const char *arguments;     /* as the usage line shows them; "" for none */
    int least_args, most_args; /* most < 0: any number */
    const char *completes;     /* what arguments are: "file", "folder", "recording", "command", "shell" or "" */
    cli_bits options;          /* CLI_BIT() of each */
    const char *summary;       /* one line */
    const char *help;          /* paragraphs, separated by blank lines */
    const char *example;       /* lines that work as they are; may be NULL */
    int (*run)(const cli_settings *s);
} cli_command;

extern const cli_option cli_options[];
extern const int cli_n_options;
extern const cli_command cli_commands[];
extern const int cli_n_commands;

const cli_command *cli_command_find(const char *name); /* NULL where there is none */
static inline bool cli_command_takes(const cli_command *c, int option)
{
    return (c->options >> option & 1) != 0;
}

/* Fills *s from the words behind the command's name; args get room for them from the caller. 0, or CLI_USAGE after a
 * sentence on stderr. */
int cli_parse(cli_settings *s, const cli_command *c, int n, char **words, const char **args);

/* Stores a value as if the user had given it; 0, or -1 after a sentence that begins with shown. */
int cli_option_set(cli_settings *s, const cli_option *o, const char *shown, const char *value);
bool cli_option_is_setting(int option); /* may stand in the environment and in earshot.conf */
bool cli_command_has_settings(const cli_command *c); /* reads them from there */
cli_from cli_origin_of(const cli_settings *s, const char *name);

/* ---- config.c: what the command line leaves open ---- */
/* From the environment, then from the file; 0, or an exit code after a sentence. */
int cli_config_fill(cli_settings *s, const cli_command *c);
void cli_config_done(cli_settings *s);

/* "16G", "400M", "1.5Gi": powers of ten, with an i powers of two. False for anything else. */
bool cli_parse_bytes(const char *text, uint64_t *out);

/* ---- help.c: the table as text ---- */
void cli_help_overview(FILE *f);
void cli_help_command(FILE *f, const cli_command *c);
void cli_help_man(FILE *f);
int cli_help_completions(FILE *f, const char *shell); /* "bash", "zsh" or "fish"; -1 for another */

/* ---- the commands, one function each in cmd_*.c ---- */
int cli_run_convert(const cli_settings *s);
int cli_run_ingest(const cli_settings *s);
int cli_run_watch(const cli_settings *s);
int cli_run_list(const cli_settings *s);
int cli_run_show(const cli_settings *s);
int cli_run_search(const cli_settings *s);
int cli_run_similar(const cli_settings *s);
int cli_run_reembed(const cli_settings *s);
int cli_run_export(const cli_settings *s);
int cli_run_remove(const cli_settings *s);
int cli_run_compact(const cli_settings *s);
int cli_run_check(const cli_settings *s);
int cli_run_backup(const cli_settings *s);
int cli_run_enroll(const cli_settings *s);
int cli_run_speakers(const cli_settings *s);
int cli_run_embed(const cli_settings *s);
int cli_run_tokenize(const cli_settings *s);
int cli_run_plan(const cli_settings *s);
int cli_run_bench(const cli_settings *s);
bool cli_bench_is_voices(const cli_settings *s); /* der, eer or diarize */
int cli_run_bench_voices(const cli_settings *s);
int cli_run_bench_pipeline(const cli_settings *s);
int cli_run_bench_embed(const cli_settings *s); /* cmd_embed.c, for `bench embed` */
int cli_run_config(const cli_settings *s);
int cli_run_doctor(const cli_settings *s);
int cli_run_version(const cli_settings *s);
int cli_run_help(const cli_settings *s);
int cli_run_completions(const cli_settings *s);

#endif
