/*
 * parse.c - words of the command line into settings, by the table of commands.c.
 *
 * Words are taken as GNU programs take them: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, letters without values
 * joined (-qv), options and arguments in any order, `--` before arguments that begin with a dash. An option that may stand
 * without its value (--again) takes the next word for it only where that can be one.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "term.h"

static const cli_option *option_named(const cli_command *c, const char *name, size_t n)
{
    for (int i = 0; i < cli_n_options; i++)
        if (cli_command_takes(c, i) && strlen(cli_options[i].name) == n && !strncmp(cli_options[i].name, name, n))
            return &cli_options[i];
    return NULL;
}

static const cli_option *option_lettered(const cli_command *c, char letter)
{
    for (int i = 0; i < cli_n_options; i++)
        if (cli_command_takes(c, i) && cli_options[i].letter == letter) return &cli_options[i];
    return NULL;
}

static bool choice_holds(const char *choices, const char *value)
{
    size_t n = strlen(value);

    if (strchr(value, '|')) return false;
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (n && !strncmp(p, value, n) && (p[n] == '|' || !p[n])) return true;
    return false;
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    double value = strtod(text, &end), unit = 1;

    if (end == text || !isfinite(value) || value <= 0 || !isdigit((unsigned char)text[0])) return false;
    if (*end) {
        const char *u = strchr(units, toupper((unsigned char)*end));
        if (!u) return false;
        end++;
        double base = *end == 'i' ? 1024 : 1000;
        if (*end == 'i') end++;
        for (long k = 0; k <= u - units; k++) unit *= base;
        if (*end == 'B' || *end == 'b') end++;
    }
    if (*end || value * unit < 1 || value * unit > 1e18) return false;
    *out = (uint64_t)(value * unit);
    return true;
}

int cli_option_set(cli_settings *s, const cli_option *o, const char *shown, const char *value)
{
    char *at = (char *)s + o->offset, *end = NULL;

    switch (o->kind) {
    case CLI_FLAG: *(bool *)(void *)at = true; return 0;
    case CLI_CHOICE:
        if (!choice_holds(o->choices, value)) {
            cli_say("%s takes %s, not %s", shown, o->choices, cli_quoted(value));
            return -1;
        }
        *(const char **)(void *)at = value;
        return 0;
    case CLI_INT: {
        errno = 0;
        long long v = strtoll(value, &end, 10);
        if (end == value || *end || errno || v < o->least || v > o->most) {
            cli_say("%s takes a whole number from %lld to %lld, not %s", shown, (long long)o->least, (long long)o->most,
                    cli_quoted(value));
            return -1;
        }
        *(int64_t *)(void *)at = v;
        return 0;
    }
    case CLI_NUMBER: {
        double v = strtod(value, &end);
        if (end == value || *end || !(v >= 0 && v <= 10)) {
            cli_say("%s takes a number from 0 to 10, not %s", shown, cli_quoted(value));
            return -1;
        }
        *(double *)(void *)at = v;
        return 0;
    }
    case CLI_BYTES:
        if (!cli_parse_bytes(value, (uint64_t *)(void *)at)) {
            cli_say("%s takes an amount of memory such as 16G or 400M, not %s", shown, cli_quoted(value));
            return -1;
        }
        return 0;
    case CLI_TEXT:
    case CLI_FILE:
    case CLI_FOLDER:
        if (!*value) {
            cli_say("%s needs a value that is not empty", shown);
            return -1;
        }
        *(const char **)(void *)at = value;
        return 0;
    }
    return -1;
}

/* Whether the word behind an option that may stand alone is its value. */
static bool may_be_value(const cli_option *o, const char *word)
{
    return o->kind == CLI_CHOICE ? choice_holds(o->choices, word) : word[0] != '-';
}

static int unknown(const cli_command *c, const char *word)
{
    cli_say("%s has no option %s; see `earshot help %s`", c->name, cli_quoted(word), c->name);
    return CLI_USAGE;
}

int cli_parse(cli_settings *s, const cli_command *c, int n, char **words, const char **args)
{
    int n_args = 0;
    bool only_args = false;

    *s = (cli_settings){.temperature = -1, .step = -1, .keep = -1, .args = args};
    for (int i = 0; i < n; i++) {
        char *word = words[i], shown[64];
        const cli_option *o = NULL;
        const char *value = NULL;

        if (only_args || word[0] != '-' || !word[1]) {
            args[n_args++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            only_args = true;
            continue;
        }
        if (word[1] == '-') {
            char *equals = strchr(word, '=');
            o = option_named(c, word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
            if (!o) return unknown(c, word);
            snprintf(shown, sizeof shown, "--%s", o->name);
            value = equals ? equals + 1 : NULL;
            if (o->kind == CLI_FLAG && value) {
                cli_say("%s takes no value", shown);
                return CLI_USAGE;
            }
        } else {
            char *p = word + 1;
            for (;; p++) { /* letters without values may be joined */
                o = option_lettered(c, *p);
                if (!o) return unknown(c, word);
                if (o->kind != CLI_FLAG || !p[1]) break;
                cli_option_set(s, o, word, NULL);
                s->origin[o - cli_options].from = CLI_FROM_OPTION;
            }
            snprintf(shown, sizeof shown, "-%c", o->letter);
            if (o->kind != CLI_FLAG && p[1]) value = p + 1;
        }
        if (o->bare && !value && !(i + 1 < n && may_be_value(o, words[i + 1]))) {
            *(const char **)(void *)((char *)s + o->offset) = "";
            s->origin[o - cli_options].from = CLI_FROM_OPTION;
            continue;
        }
        if (o->kind != CLI_FLAG && !value) {
            if (i + 1 >= n) {
                cli_say("%s needs a value: %s", shown, o->value ? o->value : o->choices);
                return CLI_USAGE;
            }
            value = words[++i];
        }
        if (cli_option_set(s, o, shown, value)) return CLI_USAGE;
        s->origin[o - cli_options].from = CLI_FROM_OPTION;
    }
    s->n_args = n_args;
    if (s->help) return 0;
    if (n_args < c->least_args || (c->most_args >= 0 && n_args > c->most_args)) {
        if (n_args < c->least_args) cli_say("%s needs %s; see `earshot help %s`", c->name, c->arguments, c->name);
        else cli_say("%s does not take %s; see `earshot help %s`", c->name, cli_quoted(args[c->most_args]), c->name);
        return CLI_USAGE;
    }
    return 0;
}
