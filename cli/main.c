/*
 * main.c - finds the command, reads its options, runs it.
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "earshot.h"
#include "term.h"

/* Notes and warnings of the library; -v hears more, -q only what is wrong. */
static void hear(void *user, int level, const char *sentence)
{
    (void)user;
    cli_progress_show(NULL);
    fprintf(stderr, "earshot: %s%s\n", level <= 1 ? "" : "note: ", sentence);
}

/* "ingets" means ingest: the command at the smallest distance, if it is at most 2. */
static const char *nearest(const char *word)
{
    const char *best = NULL;
    int best_distance = 3;

    for (int i = 0; i < cli_n_commands; i++) {
        const char *name = cli_commands[i].name;
        int row[64], n = (int)strlen(name), m = (int)strlen(word);
        if (n > 60 || m > 60) continue;
        for (int b = 0; b <= n; b++) row[b] = b;
        for (int a = 1; a <= m; a++) {
            int diagonal = row[0];
            row[0] = a;
            for (int b = 1; b <= n; b++) {
                int swap = diagonal + (word[a - 1] != name[b - 1]);
                diagonal = row[b];
                int step = (row[b] < row[b - 1] ? row[b] : row[b - 1]) + 1;
                row[b] = swap < step ? swap : step;
            }
        }
        if (row[n] < best_distance) best_distance = row[n], best = name;
    }
    return best;
}

int main(int argc, char **argv)
{
    cli_settings s;
    const cli_command *c;
    const char **args;
    int code;

    setlocale(LC_CTYPE, ""); /* and nothing else: numbers are written with a point everywhere */
    if (argc < 2) {
        cli_help_overview(stderr);
        return CLI_USAGE;
    }
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) word = "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) word = "version";
    c = cli_command_find(word);
    if (!c) {
        const char *meant = nearest(word);
        if (meant) cli_say("there is no command %s; did you mean %s?", cli_quoted(word), meant);
        else cli_say("there is no command %s; `earshot help` lists them", cli_quoted(word));
        return CLI_USAGE;
    }
    args = calloc((size_t)argc, sizeof *args);
    if (!args) {
        cli_say("not enough memory");
        return CLI_UNUSABLE;
    }
    code = cli_parse(&s, c, argc - 2, argv + 2, args);
    if (code == 0 && !s.help) code = cli_config_fill(&s, c);
    if (code == 0 && s.help) {
        cli_help_command(stdout, c);
    } else if (code == 0) {
        es_messages_to(hear, NULL, s.quiet ? 0 : s.verbose ? 3 : 2);
        code = c->run(&s);
    }
    cli_config_done(&s);
    free(args);
    /* A full disk or a closed pipe behind stdout is a failure, too. */
    if (fflush(stdout) || ferror(stdout)) {
        if (code == CLI_OK) {
            cli_say("cannot write to standard output");
            code = CLI_INPUT;
        }
    }
    return code;
}
