/*
 * cmd_library.c - the commands that look after the library as a whole: remove, compact, check, backup.
 */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "earshot.h"
#include "term.h"

int cli_run_remove(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, 0, &error)) return cli_fail(&error);
    for (int i = 0; i < s->n_args; i++) {
        error = (es_error){0};
        if (es_library_remove(library, s->args[i], &error)) code = cli_fail_input(&error);
        else if (!s->quiet) printf("removed %s\n", cli_shown(s->args[i]));
    }
    es_library_close(library);
    return code;
}

int cli_run_compact(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    uint64_t before = 0, after = 0;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, 0, &error)) return cli_fail(&error);
    if (es_library_compact(library, &before, &after, &error)) code = cli_fail(&error);
    else if (!s->quiet) printf("%s, was %s\n", cli_bytes(after), cli_bytes(before));
    es_library_close(library);
    return code;
}

static void tell_fault(void *user, const char *sentence)
{
    (void)user;
    cli_say("%s", sentence);
}

int cli_run_check(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    es_library_report r = {0};
    int code = CLI_OK;

    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (es_library_check(library, &r, tell_fault, NULL, &error)) {
        code = cli_fail(&error);
    } else if (s->json) {
        printf("{\"recordings\": %" PRIu64 ", \"segments\": %" PRIu64 ", \"words\": %" PRIu64 ", \"records\": %" PRIu64
               ", \"faults\": %" PRIu64 "}\n",
               r.recordings, r.segments, r.words, r.records, r.faults);
    } else if (!s->quiet || r.faults) {
        printf("%" PRIu64 " recording%s, %" PRIu64 " segment%s, %" PRIu64 " words in %" PRIu64 " records: ",
               r.recordings, r.recordings == 1 ? "" : "s", r.segments, r.segments == 1 ? "" : "s", r.words, r.records);
        if (r.faults) printf("%" PRIu64 " fault%s\n", r.faults, r.faults == 1 ? "" : "s");
        else puts("whole");
    }
    es_library_close(library);
    return code == CLI_OK && r.faults ? CLI_UNUSABLE : code;
}

int cli_run_backup(const cli_settings *s)
{
    es_error error = {0};
    es_library *library = NULL;
    int code = CLI_OK;

    if (es_library_open(&library, s->library, ES_LIBRARY_READ_ONLY, &error)) return cli_fail(&error);
    if (es_library_backup(library, s->args[0], &error)) code = cli_fail(&error);
    else if (!s->quiet) printf("%s\n", cli_shown(s->args[0]));
    es_library_close(library);
    return code;
}
