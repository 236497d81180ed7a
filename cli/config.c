/*
 * config.c - settings that are not on the command line: from the environment, then from earshot.conf.
 *
 *     # who listens
 *     asr = whisper-base
 *     language = en
 *     vtt-words = on
 *
 * A line is the long name of an option, "=", its value to the end of the line without the blanks around it; "#" begins a line
 * that is passed over. Flags take on and off. "~/" at the start of a path is the home folder. A value in double quotes keeps
 * its blanks. The whole file is checked whatever the command is: a line that means nothing is an error with its number, since
 * a setting that is silently not in force is worse than none.
 *
 * An option on the command line wins over the environment, the environment over the file. In the environment an option is
 * called EARSHOT_ and its name (EARSHOT_MAX_LINES); two have the names by which other programs know them as well.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "term.h"

enum { MOST_BYTES = 1 << 20 };

/* ---- names in the environment ---- */

static const struct {
    const char *option, *variable;
} also[] = {{"embedder-device", "EMBEDDING_DEVICE"}, {"batch-size", "EMBEDDING_BATCH_SIZE"}};

/* The variable that is set for an option, or NULL. An empty one is as none. */
static const char *variable_of(const cli_option *o, char name[64], const char **value)
{
    size_t n = (size_t)snprintf(name, 64, "EARSHOT_%s", o->name);

    for (size_t i = 0; i < n && i < 63; i++) name[i] = name[i] == '-' ? '_' : (char)toupper((unsigned char)name[i]);
    *value = getenv(name);
    if (*value && **value) return name;
    for (size_t i = 0; i < sizeof also / sizeof also[0]; i++) {
        if (strcmp(also[i].option, o->name)) continue;
        snprintf(name, 64, "%s", also[i].variable);
        *value = getenv(name);
        if (*value && **value) return name;
    }
    return NULL;
}

/* ---- one setting ---- */

/* on and off for flags, else as on the command line. */
static int set(cli_settings *s, int option, const char *shown, const char *value)
{
    const cli_option *o = &cli_options[option];

    if (o->kind != CLI_FLAG) return cli_option_set(s, o, shown, value);
    if (!strcmp(value, "on") || !strcmp(value, "off")) {
        *(bool *)(void *)((char *)s + o->offset) = value[1] == 'n';
        return 0;
    }
    cli_say("%s takes on or off, not %s", shown, cli_quoted(value));
    return -1;
}

static int from_environment(cli_settings *s, const cli_command *c)
{
    for (int i = 0; i < cli_n_options; i++) {
        char name[64];
        const char *value;
        if (!cli_option_is_setting(i) || !cli_command_takes(c, i) || s->origin[i].from == CLI_FROM_OPTION) continue;
        if (!variable_of(&cli_options[i], name, &value)) continue;
        if (set(s, i, name, value)) return CLI_USAGE;
        s->origin[i].from = CLI_FROM_ENVIRONMENT;
    }
    return 0;
}

/* ---- the file ---- */

/* A text that lives as long as the settings; NULL where memory is out. There is one for each option at most, and the path. */
static char *kept(cli_settings *s, const char *first, const char *second)
{
    char *out = NULL;

    if (asprintf(&out, "%s%s", first, second) < 0) {
        cli_say("not enough memory");
        return NULL;
    }
    return s->config_paths[s->n_config_paths++] = out;
}

/* Where the file lies by default; NULL where neither variable is set. A relative XDG_CONFIG_HOME is to be ignored. */
static const char *default_path(cli_settings *s)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (config && config[0] == '/') return kept(s, config, "/earshot/earshot.conf");
    return home && home[0] ? kept(s, home, "/.config/earshot/earshot.conf") : NULL;
}

/* The file's bytes with a NUL behind them, the caller's; NULL with *code set, or with 0 where a default file is not there. */
static char *slurp(const char *path, bool must_be_there, size_t *bytes, int *code)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;

    *code = 0;
    if (!f) {
        if (!must_be_there && (errno == ENOENT || errno == ENOTDIR)) return NULL;
        cli_say("%s: the settings cannot be read: %s", cli_shown(path), strerror(errno));
        *code = CLI_USAGE;
        return NULL;
    }
    text = malloc(MOST_BYTES + 1);
    *bytes = text ? fread(text, 1, MOST_BYTES, f) : 0;
    if (!text) {
        cli_say("not enough memory");
        *code = CLI_UNUSABLE;
    } else if (ferror(f) || !feof(f)) {
        cli_say("%s: the settings cannot be read: %s", cli_shown(path), ferror(f) ? strerror(errno) : "the file is larger than 1 MiB");
        *code = CLI_USAGE;
    } else {
        text[*bytes] = 0;
    }
    fclose(f);
    if (*code) free(text), text = NULL;
    return text;
}

/* Cuts blanks off both ends; the text is changed. */
static char *trimmed(char *text)
{
    char *end = text + strlen(text);

    while (*text == ' ' || *text == '\t') text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) end--;
    *end = 0;
    return text;
}

static int setting_named(const char *name)
{
    for (int i = 0; i < cli_n_options; i++)
        if (cli_option_is_setting(i) && !strcmp(cli_options[i].name, name)) return i;
    return -1;
}

/* One line. lines: of each option, where the file has it. */
static int take_line(cli_settings *s, const cli_command *c, char *line, int number, int *lines)
{
    char shown[200], *equals = strchr(line, '='), *name, *value;
    size_t n;

    line = trimmed(line);
    if (!*line || *line == '#') return 0;
    snprintf(shown, sizeof shown, "%.150s, line %d", cli_shown(s->config), number);
    if (!equals) {
        cli_say("%s: a setting is NAME = VALUE, not %s", shown, cli_quoted(line));
        return CLI_USAGE;
    }
    *equals = 0;
    name = trimmed(line);
    value = trimmed(equals + 1);
    n = strlen(value);
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') value[n - 1] = 0, value++;
    int option = setting_named(name);
    if (option < 0) {
        cli_say("%s: there is no setting %s; `earshot config` lists all", shown, cli_quoted(name));
        return CLI_USAGE;
    }
    if (lines[option]) {
        cli_say("%s: %s is set on line %d already", shown, name, lines[option]);
        return CLI_USAGE;
    }
    lines[option] = number;
    if (cli_options[option].kind == CLI_FOLDER && !strncmp(value, "~/", 2)) {
        value = kept(s, getenv("HOME") ? getenv("HOME") : "", value + 1);
        if (!value) return CLI_UNUSABLE;
    }
    n = strlen(shown);
    snprintf(shown + n, sizeof shown - n, ": %s", name);
    /* Checked also where the command does not take it or a stronger source has it. */
    cli_settings tried = *s;
    if (set(&tried, option, shown, value)) return CLI_USAGE;
    if (!cli_command_takes(c, option) || s->origin[option].from != CLI_FROM_DEFAULT) return 0;
    s->origin[option] = (cli_origin){CLI_FROM_FILE, number};
    return set(s, option, shown, value) ? CLI_USAGE : 0;
}

static int from_file(cli_settings *s, const cli_command *c)
{
    int lines[CLI_MOST_OPTIONS] = {0}, code = 0, number = 0;
    bool named = s->config != NULL;
    size_t bytes = 0;

    if (!named) s->config = default_path(s);
    if (!s->config) return 0;
    s->config_text = slurp(s->config, named, &bytes, &code);
    if (!s->config_text) {
        if (!named) s->config_missing = true;
        return code;
    }
    if (strlen(s->config_text) != bytes) {
        cli_say("%s: the settings are not text: there is a zero byte in them", cli_shown(s->config));
        return CLI_USAGE;
    }
    for (char *line = s->config_text, *next; line && !code; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        code = take_line(s, c, line, ++number, lines);
    }
    return code;
}

int cli_config_fill(cli_settings *s, const cli_command *c)
{
    if (!cli_command_has_settings(c)) return 0;
    int code = from_environment(s, c);
    return code ? code : from_file(s, c);
}

void cli_config_done(cli_settings *s)
{
    for (int i = 0; i < s->n_config_paths; i++) free(s->config_paths[i]);
    free(s->config_text);
    s->config_text = NULL, s->n_config_paths = 0;
}

/* ---- earshot config ---- */

static void value_text(char *out, size_t room, const cli_settings *s, const cli_option *o)
{
    const char *at = (const char *)s + o->offset;

    switch (o->kind) {
    case CLI_FLAG: snprintf(out, room, "%s", *(const bool *)(const void *)at ? "on" : "off"); break;
    case CLI_INT: snprintf(out, room, "%lld", (long long)*(const int64_t *)(const void *)at); break;
    case CLI_NUMBER: snprintf(out, room, "%g", *(const double *)(const void *)at); break;
    case CLI_BYTES: snprintf(out, room, "%llu", (unsigned long long)*(const uint64_t *)(const void *)at); break;
    case CLI_CHOICE:
    case CLI_TEXT:
    case CLI_FILE:
    case CLI_FOLDER: {
        const char *text = *(const char *const *)(const void *)at;
        snprintf(out, room, "%s", text ? text : "");
        break;
    }
    }
}

static void origin_text(char *out, size_t room, const cli_settings *s, int option)
{
    char name[64];
    const char *value;

    switch (s->origin[option].from) {
    case CLI_FROM_DEFAULT: snprintf(out, room, "default"); break;
    case CLI_FROM_OPTION: snprintf(out, room, "option --%s", cli_options[option].name); break;
    case CLI_FROM_ENVIRONMENT:
        snprintf(out, room, "environment %s", variable_of(&cli_options[option], name, &value) ? name : "");
        break;
    case CLI_FROM_FILE: snprintf(out, room, "line %d", s->origin[option].line); break;
    }
}

int cli_run_config(const cli_settings *s)
{
    char value[4096], origin[100];

    if (s->json) {
        printf("{\n  \"file\": ");
        cli_json_string(s->config ? s->config : "");
        printf(",\n  \"there\": %s,\n  \"settings\": [", s->config && !s->config_missing ? "true" : "false");
    } else if (s->config) {
        printf("%s%s\n\n", cli_shown(s->config), s->config_missing ? " is not there" : "");
    }
    for (int i = 0, n = 0; i < cli_n_options; i++) {
        bool set_somewhere = s->origin[i].from != CLI_FROM_DEFAULT;
        if (!cli_option_is_setting(i)) continue;
        value_text(value, sizeof value, s, &cli_options[i]);
        origin_text(origin, sizeof origin, s, i);
        if (s->json) {
            printf("%s\n    {\"name\": ", n++ ? "," : "");
            cli_json_string(cli_options[i].name);
            printf(", \"value\": ");
            if (set_somewhere) cli_json_string(value);
            else printf("null");
            printf(", \"from\": ");
            cli_json_string(origin);
            putchar('}');
        } else {
            printf("%-18s %-28s %s\n", cli_options[i].name, set_somewhere ? cli_shown(value) : "-", origin);
        }
    }
    if (s->json) printf("\n  ]\n}\n");
    return CLI_OK;
}
