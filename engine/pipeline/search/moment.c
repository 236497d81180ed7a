/*
 * moment.c - reading times and finding the names that come near to one that is not there.
 *
 * A time has colons, a date has dashes: one option takes either, and no other sign is needed to tell them apart.
 */
#define _GNU_SOURCE
#include "pipeline/search/moment.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LONGEST_NAME = 256, NEAREST = 3, MOST_HOURS = 10000 };

/* ---- times ---- */

/* Reads digits, at most `most` of them; the number, or -1. */
static int64_t digits(const char **p, int most)
{
    int64_t n = 0;
    int i = 0;

    for (; i < most && isdigit((unsigned char)**p); i++, (*p)++) n = n * 10 + (**p - '0');
    return i ? n : -1;
}

static bool read_time(int64_t *ms, const char *text)
{
    int64_t part[3] = {0}, thousandths = 0;
    int n = 0;
    const char *p = text;

    for (;; p++) {
        part[n] = digits(&p, n ? 2 : 8);
        if (part[n] < 0 || (n && part[n] >= 60)) return false;
        n++;
        if (*p != ':' || n == 3) break;
    }
    if (*p == '.') {
        const char *from = ++p;
        int64_t f = digits(&p, 3);
        if (f < 0) return false;
        for (long k = p - from; k < 3; k++) f *= 10;
        thousandths = f;
    }
    if (*p) return false;
    int64_t seconds = n == 1 ? part[0] : n == 2 ? part[0] * 60 + part[1] : part[0] * 3600 + part[1] * 60 + part[2];
    if (seconds > (int64_t)MOST_HOURS * 3600) return false;
    *ms = seconds * 1000 + thousandths;
    return true;
}

static bool read_date(int64_t *ms, const char *text)
{
    struct tm t = {.tm_isdst = -1, .tm_mday = 1}, asked;
    const char *p = text;
    int64_t n = digits(&p, 4);

    if (n < 1970 || *p++ != '-') return false;
    t.tm_year = (int)n - 1900;
    n = digits(&p, 2);
    if (n < 1 || n > 12) return false;
    t.tm_mon = (int)n - 1;
    if (*p == '-') {
        p++;
        n = digits(&p, 2);
        if (n < 1 || n > 31) return false;
        t.tm_mday = (int)n;
        if (*p == 'T' || *p == ' ') {
            p++;
            int64_t hour = digits(&p, 2), minute = *p == ':' ? (p++, digits(&p, 2)) : -1;
            if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return false;
            t.tm_hour = (int)hour, t.tm_min = (int)minute;
        }
    }
    if (*p) return false;
    asked = t;
    time_t at = mktime(&t);
    /* mktime() turns February 30 into March 2. */
    if (at == (time_t)-1 || t.tm_mday != asked.tm_mday || t.tm_mon != asked.tm_mon) return false;
    *ms = (int64_t)at * 1000;
    return true;
}

int es_moment_bound(es_bound *out, const char *text, const char *what, es_err *err)
{
    char shown[128];

    *out = (es_bound){.is_date = strchr(text, '-') != NULL};
    if (out->is_date ? read_date(&out->ms, text) : read_time(&out->ms, text)) return ES_OK;
    return es_fail(err, ES_EARG, "%s takes a time in the recording such as 12:34 or a date such as 2026-05-01, not %s", what,
                   es_printable(shown, sizeof shown, text));
}

int es_moment_read(int64_t *ms, const char *text, es_err *err)
{
    char shown[128];

    if (read_time(ms, text)) return ES_OK;
    return es_fail(err, ES_EARG, "%s is no time in a recording; it is written as 12:34, 1:02:03 or seconds",
                   es_printable(shown, sizeof shown, text));
}

int es_moment_split(char *name, size_t room, int64_t *ms, const char *text, es_err *err)
{
    const char *at = strrchr(text, '@');
    char shown[128];

    if (!at || at == text || !at[1])
        return es_fail(err, ES_EARG, "%s names no moment; it is written as FILE@12:34",
                       es_printable(shown, sizeof shown, text));
    if ((size_t)(at - text) >= room) return es_fail(err, ES_EARG, "the name before @ is longer than %zu bytes", room - 1);
    snprintf(name, room, "%.*s", (int)(at - text), text);
    return es_moment_read(ms, at + 1, err);
}

/* ---- names ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t es_moment_distance(const char *a, const char *b)
{
    size_t row[LONGEST_NAME + 1], n = strlen(a), m = strlen(b);

    if (n && m && (strcasestr(a, b) || strcasestr(b, a))) return 0;
    if (n > LONGEST_NAME || m > LONGEST_NAME) return n + m;
    for (size_t i = 0; i <= m; i++) row[i] = i;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            size_t swap = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[k - 1]));
            diagonal = row[k];
            row[k] = least(swap, least(row[k], row[k - 1]) + 1);
        }
    }
    return row[m];
}

bool es_moment_near(char *out, size_t room, const char *name, const char *const *candidates, size_t n)
{
    const char *best[NEAREST] = {0};
    size_t distance[NEAREST] = {0}, found = 0, used = 0, most = (strlen(name) + 2) / 3;

    if (room) *out = 0;
    for (size_t i = 0; i < n; i++) {
        size_t d = es_moment_distance(name, candidates[i]), at = found;
        bool twice = false;
        for (size_t k = 0; k < found; k++) twice = twice || !strcmp(best[k], candidates[i]);
        if (d > most || twice) continue;
        while (at > 0 && distance[at - 1] > d) at--; /* equal ones stay in the order of the candidates */
        if (at >= NEAREST) continue;
        if (found < NEAREST) found++;
        for (size_t k = found - 1; k > at; k--) best[k] = best[k - 1], distance[k] = distance[k - 1];
        best[at] = candidates[i], distance[at] = d;
    }
    for (size_t k = 0; k < found && used + 1 < room; k++) {
        char shown[128];
        int more = snprintf(out + used, room - used, "%s\"%s\"", !k ? "" : k + 1 < found ? ", " : " or ",
                            es_printable(shown, sizeof shown, best[k]));
        used += more > 0 ? (size_t)more : 0;
    }
    return found > 0;
}
