/*
 * cmd_help.c - `earshot help`, `version` and `completions`: the command table, printed.
 */
#include <stdio.h>

#include "commands.h"
#include "earshot.h"
#include "term.h"

int cli_run_help(const cli_settings *s)
{
    if (s->man) {
        cli_help_man(stdout);
        return CLI_OK;
    }
    if (!s->n_args) {
        cli_help_overview(stdout);
        return CLI_OK;
    }
    const cli_command *c = cli_command_find(s->args[0]);
    if (!c) {
        cli_say("there is no command %s; `earshot help` lists them", cli_quoted(s->args[0]));
        return CLI_USAGE;
    }
    cli_help_command(stdout, c);
    return CLI_OK;
}

int cli_run_version(const cli_settings *s)
{
    (void)s;
    printf("earshot %s\n", es_version_text());
    return CLI_OK;
}

int cli_run_completions(const cli_settings *s)
{
    if (cli_help_completions(stdout, s->args[0])) {
        cli_say("completions are for bash, zsh or fish, not %s", cli_quoted(s->args[0]));
        return CLI_USAGE;
    }
    return CLI_OK;
}
