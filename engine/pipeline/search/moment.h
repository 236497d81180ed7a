/*
 * moment.h - times and names as a person writes them: "12:34", "2026-05-01", "talk.mp4@1:02:03", and what was meant by a
 * name that is not there.
 */
#ifndef ES_MOMENT_H
#define ES_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A bound in time: within a recording, or a day of the calendar. */
typedef struct es_bound {
    bool is_date;
    int64_t ms; /* from the start of the recording; of a date, from 1970, at the start of that day where the machine is */
} es_bound;

/* "754" and "754.5" seconds, "12:34", "1:02:03", "2026-05", "2026-05-01", "2026-05-01T18:30". what names the option in
 * sentences. */
int es_moment_bound(es_bound *out, const char *text, const char *what, es_err *err);
/* A time in a recording alone. */
int es_moment_read(int64_t *ms, const char *text, es_err *err);
/* "NAME@TIME": at the last @. name: the caller's room. */
int es_moment_split(char *name, size_t room, int64_t *ms, const char *text, es_err *err);

/* How far two names are apart: letters to change, add or leave out to make one of the other, capitals of ASCII not told
 * apart; 0 where one holds the other. */
size_t es_moment_distance(const char *a, const char *b);
/* Writes the candidates that come near to name, best first, as "A", "B" or "C" into out; false, and out empty, where none
 * does. Names are made printable. */
bool es_moment_near(char *out, size_t room, const char *name, const char *const *candidates, size_t n);

#endif
