/*
 * help.c - the command table as text: for a terminal, for man, and for the completions of three shells.
 */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "earshot.h"

enum { WIDTH = 79, INDENT = 2, COLUMN = 26 };

/* Width in columns of UTF-8 whose characters all have one: bytes that do not continue a character. */
static int columns(const char *text, size_t n)
{
    int w = 0;

    for (size_t i = 0; i < n; i++) w += ((unsigned char)text[i] & 0xC0) != 0x80;
    return w;
}

/* Prints words from column `at`, wrapped, with later lines indented; blank lines in the text stay. */
static void wrapped(FILE *f, const char *text, int at, int indent)
{
    int column = at;
    bool first = true;

    while (*text) {
        if (*text == '\n') {
            fputs(text[1] == '\n' ? "\n\n" : "\n", f);
            text += text[1] == '\n' ? 2 : 1;
            fprintf(f, "%*s", indent, "");
            column = indent, first = true;
            continue;
        }
        size_t n = strcspn(text, " \n");
        int w = columns(text, n);
        if (!first && column + 1 + w > WIDTH) {
            fprintf(f, "\n%*s", indent, "");
            column = indent, first = true;
        }
        if (!first) fputc(' ', f), column++;
        fwrite(text, 1, n, f);
        column += w, first = false;
        text += n;
        while (*text == ' ') text++;
    }
    fputc('\n', f);
}

static const char *value_of(const cli_option *o)
{
    return o->kind == CLI_FLAG ? NULL : o->value ? o->value : o->choices;
}

void cli_help_overview(FILE *f)
{
    fputs("earshot - what was said in recordings, on this machine, kept and found again\n\n"
          "usage: earshot COMMAND [options] ...\n\n",
          f);
    for (int i = 0; i < cli_n_commands; i++) fprintf(f, "  %-12s %s\n", cli_commands[i].name, cli_commands[i].summary);
    fputs("\n`earshot help COMMAND` explains one. The first steps:\n\n"
          "  earshot convert FOLDER   a Whisper model, from CTranslate2 or Hugging Face\n"
          "  earshot ingest FILE...   its words into the library\n"
          "  earshot show NAME        what was said\n"
          "  earshot export           subtitles, into the current folder\n",
          f);
}

void cli_help_command(FILE *f, const cli_command *c)
{
    char left[96];

    fprintf(f, "usage: earshot %s [options]%s%s\n\n", c->name, *c->arguments ? " " : "", c->arguments);
    fprintf(f, "earshot %s: ", c->name);
    wrapped(f, c->summary, (int)strlen(c->name) + 10, 0);
    if (*c->help) {
        fputc('\n', f);
        wrapped(f, c->help, 0, 0);
    }
    fputs("\noptions:\n", f);
    for (int i = 0; i < cli_n_options; i++) {
        const cli_option *o = &cli_options[i];
        const char *value = value_of(o);
        if (!cli_command_takes(c, i)) continue;
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                 o->letter ? "," : " ", o->name, value ? " " : "", value ? value : "");
        fprintf(f, "%*s%s", INDENT, "", left);
        int at = INDENT + (int)strlen(left);
        if (at + 1 > COLUMN) {
            fprintf(f, "\n%*s", COLUMN, "");
        } else {
            fprintf(f, "%*s", COLUMN - at, "");
        }
        wrapped(f, o->help, COLUMN, COLUMN);
    }
    if (c->example) {
        fputs("\nexample:\n", f);
        for (const char *p = c->example; *p;) {
            size_t n = strcspn(p, "\n");
            fprintf(f, "%*s%.*s\n", INDENT, "", (int)n, p);
            p += n + (p[n] == '\n');
        }
    }
}

/* ---- the manual page ---- */

/* roff takes a backslash, and a dot or quote at the start of a line, as its own. Dashes of options must be minus signs.
 */
static void roff(FILE *f, const char *text)
{
    bool start = true;

    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\'')) fputs("\\&", f);
        if (*text == '\\') fputs("\\e", f);
        else if (*text == '-') fputs("\\-", f);
        else if (*text == '\n') fputs(text[1] == '\n' ? (text++, "\n.PP\n") : "\n", f);
        else fputc(*text, f);
        start = *text == '\n';
    }
    fputc('\n', f);
}

void cli_help_man(FILE *f)
{
    fprintf(f, ".TH EARSHOT 1 \"\" \"earshot %s\" \"User commands\"\n", es_version_text());
    fputs(".SH NAME\nearshot \\- what was said in recordings, on this machine, kept and found again\n"
          ".SH SYNOPSIS\n.B earshot\n.I command\n[options] ...\n"
          ".SH DESCRIPTION\n"
          "earshot transcribes sound and video files with Whisper models in its own inference engine and keeps the\n"
          "words, with their times, in a library: one folder, found again by the content of the files. Nothing leaves\n"
          "the machine.\n"
          ".SH COMMANDS\n",
          f);
    for (int i = 0; i < cli_n_commands; i++) {
        const cli_command *c = &cli_commands[i];
        fprintf(f, ".SS earshot %s ", c->name);
        roff(f, c->arguments);
        fputc(c->summary[0] & ~0x20, f);
        roff(f, c->summary + 1);
        fputs(".PP\n", f);
        if (*c->help) {
            roff(f, c->help);
        }
        for (int k = 0; k < cli_n_options; k++) {
            const cli_option *o = &cli_options[k];
            if (!cli_command_takes(c, k)) continue;
            fputs(".TP\n.B ", f);
            if (o->letter) fprintf(f, "\\-%c, ", o->letter);
            fputs("\\-\\-", f);
            for (const char *p = o->name; *p; p++) fputs(*p == '-' ? "\\-" : (char[2]){*p, 0}, f);
            if (value_of(o)) fprintf(f, " \\fI%s\\fR", value_of(o));
            fputc('\n', f);
            roff(f, o->help);
        }
        if (c->example) {
            fputs(".PP\nExample:\n.PP\n.nf\n.RS\n", f);
            roff(f, c->example);
            fputs(".RE\n.fi\n", f);
        }
    }
    fputs(
        ".SH EXIT STATUS\n"
        ".TP\n.B 0\nDone.\n"
        ".TP\n.B 1\nSome input failed; the others were done.\n"
        ".TP\n.B 2\nThe command line was not understood.\n"
        ".TP\n.B 3\nThe library or a model cannot be used.\n"
        ".TP\n.B 130\nInterrupted.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.B XDG_DATA_HOME\nWhere the library and the models lie by default; ~/.local/share where it is not set.\n"
        ".TP\n.B XDG_CONFIG_HOME\nWhere earshot/earshot.conf lies by default; ~/.config where it is not set.\n"
        ".TP\n.B EARSHOT_NAME\nAny option that `earshot config' lists: EARSHOT_MAX_LINES is --max-lines. Options win.\n"
        ".TP\n.B EMBEDDING_DEVICE, EMBEDDING_BATCH_SIZE\n--embedder-device and --batch-size.\n"
        ".SH FILES\n"
        ".TP\n.I ~/.config/earshot/earshot.conf\nSettings, a line NAME = VALUE each; the environment wins over them.\n"
        ".TP\n.I ~/.local/share/earshot/library\nThe library.\n"
        ".TP\n.I ~/.local/share/earshot/models\nModel packs, NAME.pack.\n",
        f);
}

/* ---- completions ---- */

static void bash(FILE *f)
{
    fputs("# Completions of earshot for bash, printed by `earshot completions bash`.\n_earshot()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= wants=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '",
          f);
    for (int i = 0; i < cli_n_commands; i++) fprintf(f, "%s%s", i ? " " : "", cli_commands[i].name);
    fputs("' -- \"$word\"))\n        return\n    fi\n    case \"${COMP_WORDS[1]} $before\" in\n", f);
    for (int i = 0; i < cli_n_commands; i++)
        for (int k = 0; k < cli_n_options; k++) {
            const cli_option *o = &cli_options[k];
            if (!cli_command_takes(&cli_commands[i], k) || o->kind == CLI_FLAG) continue;
            fprintf(f, "    '%s --%s'", cli_commands[i].name, o->name);
            if (o->letter) fprintf(f, "|'%s -%c'", cli_commands[i].name, o->letter);
            if (o->kind == CLI_CHOICE) {
                fputs(") COMPREPLY=($(compgen -W '", f);
                for (const char *p = o->choices; *p; p++) fputc(*p == '|' ? ' ' : *p, f);
                fprintf(f, "' -- \"$word\"))%s ;;\n", o->bare ? "" : "; return"); /* bare: or whatever comes next */
            } else if (o->kind == CLI_FOLDER) {
                fputs(") COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n", f);
            } else if (o->kind == CLI_FILE) {
                fputs(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", f);
            } else {
                fputs(") return ;;\n", f);
            }
        }
    fputs("    esac\n    case ${COMP_WORDS[1]} in\n", f);
    for (int i = 0; i < cli_n_commands; i++) {
        const cli_command *c = &cli_commands[i];
        fprintf(f, "    %s) options='", c->name);
        for (int k = 0, n = 0; k < cli_n_options; k++)
            if (cli_command_takes(c, k)) fprintf(f, "%s--%s", n++ ? " " : "", cli_options[k].name);
        fprintf(f, "'; wants=%s ;;\n", *c->completes ? c->completes : "nothing");
    }
    fputs("    esac\n"
          "    case $word in\n"
          "    -*) COMPREPLY+=($(compgen -W \"$options\" -- \"$word\")); return ;;\n"
          "    esac\n"
          "    case $wants in\n"
          "    file|recording) compopt -o filenames 2>/dev/null; COMPREPLY+=($(compgen -f -- \"$word\")) ;;\n"
          "    folder) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$word\")) ;;\n"
          "    shell) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\")) ;;\n"
          "    command) COMPREPLY=($(compgen -W '",
          f);
    for (int i = 0; i < cli_n_commands; i++) fprintf(f, "%s%s", i ? " " : "", cli_commands[i].name);
    fputs("' -- \"$word\")) ;;\n    esac\n}\ncomplete -F _earshot earshot\n", f);
}

/* Text inside single quotes of zsh's _arguments, where brackets and colons mean something too. */
static void zsh_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') fputs("'\\''", f);
        else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\') fprintf(f, "\\%c", *text);
        else fputc(*text, f);
    }
}

static void zsh(FILE *f)
{
    fputs("#compdef earshot\n# Completions of earshot for zsh, printed by `earshot completions zsh`.\n_earshot() {\n"
          "  local -a commands\n  commands=(\n",
          f);
    for (int i = 0; i < cli_n_commands; i++) {
        fprintf(f, "    '%s:", cli_commands[i].name);
        zsh_text(f, cli_commands[i].summary);
        fputs("'\n", f);
    }
    fputs("  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
          "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n",
          f);
    for (int i = 0; i < cli_n_commands; i++) {
        const cli_command *c = &cli_commands[i];
        const char *wants = c->completes;
        fprintf(f, "  %s)\n    _arguments -s", c->name);
        for (int k = 0; k < cli_n_options; k++) {
            const cli_option *o = &cli_options[k];
            if (!cli_command_takes(c, k)) continue;
            fputs(" \\\n      ", f);
            if (o->letter) fprintf(f, "'(-%c --%s)'{-%c,--%s}", o->letter, o->name, o->letter, o->name);
            else fprintf(f, "--%s", o->name);
            fputs("'[", f);
            zsh_text(f, o->help);
            fputc(']', f);
            if (o->kind == CLI_CHOICE) {
                fprintf(f, "%s:%s:(", o->bare ? ":" : "", o->name);
                for (const char *p = o->choices; *p; p++) fputc(*p == '|' ? ' ' : *p, f);
                fputc(')', f);
            } else if (o->kind != CLI_FLAG) {
                fprintf(f, "%s:%s:%s", o->bare ? ":" : "", o->name,
                        o->kind == CLI_FOLDER ? "_files -/"
                        : o->kind == CLI_FILE ? "_files"
                                              : " ");
            }
            fputc('\'', f);
        }
        if (!strcmp(wants, "file") || !strcmp(wants, "recording")) fputs(" \\\n      '*:file:_files'", f);
        if (!strcmp(wants, "folder")) fputs(" \\\n      '*:folder:_files -/'", f);
        if (!strcmp(wants, "shell")) fputs(" \\\n      '1:shell:(bash zsh fish)'", f);
        if (!strcmp(wants, "command")) {
            fputs(" \\\n      '1:command:(", f);
            for (int k = 0; k < cli_n_commands; k++) fprintf(f, "%s%s", k ? " " : "", cli_commands[k].name);
            fputs(")'", f);
        }
        fputs(" ;;\n", f);
    }
    fputs("  esac\n}\n_earshot \"$@\"\n", f);
}

static void fish_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') fputc('\\', f);
        fputc(*text, f);
    }
}

static void fish(FILE *f)
{
    fputs("# Completions of earshot for fish, printed by `earshot completions fish`.\ncomplete -c earshot -f\n", f);
    for (int i = 0; i < cli_n_commands; i++) {
        const cli_command *c = &cli_commands[i];
        const char *wants = c->completes;
        fprintf(f, "complete -c earshot -n __fish_use_subcommand -a %s -d '", c->name);
        fish_text(f, c->summary);
        fputs("'\n", f);
        for (int k = 0; k < cli_n_options; k++) {
            const cli_option *o = &cli_options[k];
            if (!cli_command_takes(c, k)) continue;
            fprintf(f, "complete -c earshot -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
            if (o->letter) fprintf(f, " -s %c", o->letter);
            if (o->kind == CLI_FILE || o->kind == CLI_FOLDER) fputs(" -r -F", f);
            else if (o->kind == CLI_CHOICE && !o->bare) {
                fputs(" -x -a '", f);
                for (const char *p = o->choices; *p; p++) fputc(*p == '|' ? ' ' : *p, f);
                fputc('\'', f);
            } else if (o->kind != CLI_FLAG && !o->bare) fputs(" -x", f);
            fputs(" -d '", f);
            fish_text(f, o->help);
            fputs("'\n", f);
            if (o->kind != CLI_CHOICE || !o->bare) continue; /* a value that may be left out is a word of its own to fish */
            fprintf(f, "complete -c earshot -n '__fish_seen_subcommand_from %s; and contains -- --%s (commandline -opc)[-1]' -a '",
                    c->name, o->name);
            for (const char *p = o->choices; *p; p++) fputc(*p == '|' ? ' ' : *p, f);
            fputs("'\n", f);
        }
        if (!strcmp(wants, "file") || !strcmp(wants, "recording") || !strcmp(wants, "folder"))
            fprintf(f, "complete -c earshot -n '__fish_seen_subcommand_from %s' -F\n", c->name);
        if (!strcmp(wants, "shell"))
            fprintf(f, "complete -c earshot -n '__fish_seen_subcommand_from %s' -a 'bash zsh fish'\n", c->name);
        if (!strcmp(wants, "command")) {
            fprintf(f, "complete -c earshot -n '__fish_seen_subcommand_from %s' -a '", c->name);
            for (int k = 0; k < cli_n_commands; k++) fprintf(f, "%s%s", k ? " " : "", cli_commands[k].name);
            fputs("'\n", f);
        }
    }
}

int cli_help_completions(FILE *f, const char *shell)
{
    if (!strcmp(shell, "bash")) bash(f);
    else if (!strcmp(shell, "zsh")) zsh(f);
    else if (!strcmp(shell, "fish")) fish(f);
    else return -1;
    return 0;
}
