/*
 * rttm.c - reading and writing RTTM.
 *
 * Lines of other types, blank lines and comments (;;) are passed over, as the format wants. Times are read as decimal
 * seconds and kept as whole microseconds.
 */
#define _GNU_SOURCE
#include "speech/rttm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 8, MOST_NAMES = 1 << 16 };

void es_rttm_done(es_rttm *r)
{
    for (int i = 0; i < r->n_names; i++) free(r->names[i]);
    free(r->names);
    free(r->turns);
    *r = (es_rttm){0};
}

/* The place of a name in a list, which it joins; -1 when memory is out. */
static int place_of(char ***names, int *n, const char *name)
{
    for (int i = 0; i < *n; i++)
        if (!strcmp((*names)[i], name)) return i;
    char **more = *n < MOST_NAMES ? realloc(*names, ((size_t)*n + 1) * sizeof *more) : NULL;
    if (!more) return -1;
    *names = more;
    if (!(more[*n] = strdup(name))) return -1;
    return (*n)++;
}

/* Decimal seconds as microseconds; false unless the whole word is a number from 0 to 10^9. */
static bool seconds_of(const char *word, int64_t *us)
{
    char *end;
    double v = strtod(word, &end);

    if (end == word || *end || !(v >= 0 && v <= 1e9)) return false;
    *us = (int64_t)llround(v * 1e6);
    return true;
}

static int by_start(const void *a, const void *b)
{
    const es_turn *x = a, *y = b;

    if (x->start_us != y->start_us) return x->start_us < y->start_us ? -1 : 1;
    if (x->speaker != y->speaker) return x->speaker < y->speaker ? -1 : 1;
    return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

int es_rttm_read(es_rttm *out, const char *path, const char *file, es_err *err)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, *word[FIELDS], shown[512], *save;
    size_t room = 0, turns = 0;
    int rc = ES_OK, number = 0;

    *out = (es_rttm){0};
    es_printable(shown, sizeof shown, path);
    if (!f) return es_fail(err, ES_EIO, "%s: cannot be opened", shown);
    while (rc == ES_OK && getline(&line, &room, f) >= 0) {
        int n = 0;
        es_turn t;
        number++;
        for (char *w = strtok_r(line, " \t\r\n", &save); w && n < FIELDS; w = strtok_r(NULL, " \t\r\n", &save)) word[n++] = w;
        if (n == 0 || strcmp(word[0], "SPEAKER")) continue;
        if (n < FIELDS) {
            rc = es_fail(err, ES_EFORMAT, "%s, line %d: %d columns, and a turn has at least %d", shown, number, n, FIELDS);
            break;
        }
        if (file && strcmp(word[1], file)) continue;
        if (!seconds_of(word[3], &t.start_us) || !seconds_of(word[4], &t.end_us)) {
            rc = es_fail(err, ES_EFORMAT, "%s, line %d: the onset and the duration are not both numbers of seconds", shown, number);
            break;
        }
        t.end_us += t.start_us;
        t.speaker = place_of(&out->names, &out->n_names, word[7]);
        if (out->n == turns) {
            es_turn *p = realloc(out->turns, (turns = turns ? 2 * turns : 64) * sizeof *p);
            if (p) out->turns = p;
            else t.speaker = -1;
        }
        if (t.speaker < 0) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate %zu turns", shown, turns);
        else if (t.end_us > t.start_us) out->turns[out->n++] = t;
    }
    if (rc == ES_OK && ferror(f)) rc = es_fail(err, ES_EIO, "%s: cannot be read", shown);
    free(line);
    fclose(f);
    if (rc) es_rttm_done(out);
    else if (out->n) qsort(out->turns, out->n, sizeof *out->turns, by_start);
    return rc;
}

int es_rttm_files(char ***files, int *n, const char *path, es_err *err)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, shown[512], *save;
    size_t room = 0;
    int rc = ES_OK;

    *files = NULL, *n = 0;
    es_printable(shown, sizeof shown, path);
    if (!f) return es_fail(err, ES_ENOTFOUND, "%s: cannot be opened", shown);
    while (rc == ES_OK && getline(&line, &room, f) >= 0) {
        char *type = strtok_r(line, " \t\r\n", &save), *file = type ? strtok_r(NULL, " \t\r\n", &save) : NULL;
        if (type && file && !strcmp(type, "SPEAKER") && place_of(files, n, file) < 0)
            rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate the names of its recordings", shown);
    }
    free(line);
    fclose(f);
    return rc;
}

/* A column may hold neither blanks nor control characters. */
static void column(FILE *f, const char *text)
{
    for (; *text; text++) fputc((unsigned char)*text <= ' ' || *text == 0x7F ? '_' : *text, f);
}

void es_rttm_write(FILE *f, const char *file, const es_turn *turns, size_t n, const char *const *names)
{
    for (size_t i = 0; i < n; i++) {
        int64_t start = (turns[i].start_us + 500) / 1000, end = (turns[i].end_us + 500) / 1000;
        fputs("SPEAKER ", f);
        column(f, file);
        fprintf(f, " 1 %.3f %.3f <NA> <NA> ", (double)start / 1000, (double)(end - start) / 1000);
        if (names) column(f, names[turns[i].speaker]);
        else fprintf(f, "SPEAKER_%02d", turns[i].speaker);
        fputs(" <NA> <NA>\n", f);
    }
}
