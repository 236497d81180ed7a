/*
 * figures.c - see figures.h. Whoever compares two runs wants numbers that do not depend on how long the recordings were:
 * seconds are those of an hour of sound there, and only there.
 */
#define _GNU_SOURCE
#include "pipeline/bench/figures.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "pipeline/bench/machine.h"

enum { MOST_FILE = 1 << 20 };

static const double mib = 1048576;
static const char rest[] = "the rest", whole[] = "whole";

/* ---- filling in ---- */

void es_figures_sign(es_figures *f)
{
    es_machine_commit(f->commit, sizeof f->commit);
    es_machine_date(f->date, sizeof f->date);
    es_machine_name(f->machine, sizeof f->machine);
}

static void add(es_figures *f, const char *name, double seconds, double fill, bool beside)
{
    if (f->n_stages == ES_FIGURES_STAGES) return;
    es_figures_stage *s = &f->stage[f->n_stages++];
    *s = (es_figures_stage){.seconds = seconds, .fill = fill, .beside = beside};
    snprintf(s->name, sizeof s->name, "%s", name);
}

void es_figures_add(es_figures *f, const char *stage, double seconds, double fill)
{
    add(f, stage, seconds, fill, false);
}

void es_figures_add_beside(es_figures *f, const char *stage, double seconds)
{
    add(f, stage, seconds, -1, true);
}

double es_figures_sum(const es_figures *f)
{
    double sum = 0;

    for (int i = 0; i < f->n_stages; i++) sum += f->stage[i].beside ? 0 : f->stage[i].seconds;
    return sum;
}

static double over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double es_figures_speed(const es_figures *f)
{
    return over(f->audio_seconds, f->seconds);
}

static double left_over(const es_figures *f)
{
    return fmax(0, f->seconds - es_figures_sum(f));
}

/* ---- reading ---- */

/* A number that cannot be negative, unless it may be missing: then it is `missing`. */
static bool number(const es_json_node *o, const char *key, double *out, const double *missing)
{
    double v;

    if (es_json_number(es_json_get(o, key), &v) && isfinite(v) && v >= 0) *out = v;
    else if (missing && !es_json_string(es_json_get(o, key))) *out = *missing;
    else return false;
    return true;
}

static bool count(const es_json_node *o, const char *key, uint64_t *out)
{
    int64_t v;
    bool good = es_json_int(es_json_get(o, key), 0, INT64_MAX, &v);

    if (good) *out = (uint64_t)v;
    return good;
}

static bool words(const es_json_node *o, const char *key, char *out, size_t room)
{
    const char *s = es_json_string(es_json_get(o, key));

    if (s) snprintf(out, room, "%s", s);
    return s != NULL;
}

static bool stages(es_figures *f, const es_json_node *list)
{
    const double none = -1;

    if (!es_json_is_array(list) || es_json_count(list) > ES_FIGURES_STAGES) return false;
    for (const es_json_node *n = es_json_first(list); n; n = es_json_next(n)) {
        es_figures_stage *s = &f->stage[f->n_stages++];
        if (!words(n, "stage", s->name, sizeof s->name) || !number(n, "seconds", &s->seconds, NULL) || !number(n, "fill", &s->fill, &none) ||
            !es_json_bool(es_json_get(n, "beside"), &s->beside))
            return false;
    }
    return true;
}

/* The name of what is missing or makes no sense; NULL: all is well. */
static const char *fill_in(es_figures *f, const es_json_node *o)
{
    const char *bench = es_json_string(es_json_get(o, "bench"));
    const double none = -1;
    uint64_t recordings = 0;

    if (!bench || strcmp(bench, "pipeline")) return "bench";
    if (!words(o, "models", f->what, sizeof f->what)) return "models";
    if (!es_json_bool(es_json_get(o, "synthetic"), &f->synthetic)) return "synthetic";
    if (!words(o, "commit", f->commit, sizeof f->commit)) return "commit";
    if (!words(o, "date", f->date, sizeof f->date)) return "date";
    if (!words(o, "machine", f->machine, sizeof f->machine)) return "machine";
    if (!words(o, "device", f->device, sizeof f->device)) return "device";
    if (!count(o, "recordings", &recordings)) return "recordings";
    if (!number(o, "audio_seconds", &f->audio_seconds, NULL) || f->audio_seconds <= 0) return "audio_seconds";
    if (!number(o, "load_seconds", &f->load_seconds, NULL)) return "load_seconds";
    if (!number(o, "seconds", &f->seconds, NULL) || f->seconds <= 0) return "seconds";
    if (!number(o, "cpu_seconds", &f->cpu_seconds, NULL)) return "cpu_seconds";
    if (!stages(f, es_json_get(o, "stages"))) return "stages";
    if (!count(o, "budget_bytes", &f->budget_bytes)) return "budget_bytes";
    if (!count(o, "arena_bytes", &f->arena_bytes)) return "arena_bytes";
    if (!count(o, "plan_bytes", &f->plan_bytes)) return "plan_bytes";
    if (!count(o, "device_bytes", &f->device_bytes)) return "device_bytes";
    if (!count(o, "peak_bytes", &f->peak_bytes)) return "peak_bytes";
    if (!count(o, "anonymous_bytes", &f->anonymous_bytes)) return "anonymous_bytes";
    if (!count(o, "allocations_after_open", &f->allocations)) return "allocations_after_open";
    if (!number(o, "joules", &f->joules, &none)) return "joules";
    if (!words(o, "energy", f->energy, sizeof f->energy)) return "energy";
    f->recordings = (int64_t)recordings;
    return NULL;
}

int es_figures_read(es_figures *out, const char *path, es_err *err)
{
    char shown[512];
    es_json *j = NULL;
    int rc = es_json_read(&j, path, MOST_FILE, err);

    *out = (es_figures){0};
    if (rc != ES_OK) return rc;
    const char *wrong = fill_in(out, es_json_root(j));
    es_json_close(j);
    if (!wrong) return ES_OK;
    return es_fail(err, ES_EFORMAT, "%s: not what `bench pipeline --json` prints: \"%s\" is missing or makes no sense",
                   es_printable(shown, sizeof shown, path), wrong);
}

/* ---- comparing ---- */

static double an_hour(const es_figures *f, double seconds)
{
    return seconds * 3600 / f->audio_seconds;
}

static const es_figures_stage *find(const es_figures *f, const char *name)
{
    for (int i = 0; i < f->n_stages; i++)
        if (!strcmp(f->stage[i].name, name)) return &f->stage[i];
    return NULL;
}

static int put(es_figures_change *out, int n, const char *line, const char *unit, double before, double now)
{
    if (n == ES_FIGURES_CHANGES) return n;
    out[n] = (es_figures_change){.before = before, .now = now, .percent = before > 0 ? 100 * (now / before - 1) : NAN};
    snprintf(out[n].line, sizeof out[n].line, "%s, %s", line, unit);
    return n + 1;
}

int es_figures_compare(es_figures_change *out, const es_figures *now, const es_figures *before)
{
    static const char hour[] = "s an hour of sound";
    int n = 0;

    for (int i = 0; i < now->n_stages; i++) {
        const es_figures_stage *s = &now->stage[i], *then = find(before, s->name);
        n = put(out, n, s->name, hour, then ? an_hour(before, then->seconds) : NAN, an_hour(now, s->seconds));
    }
    for (int i = 0; i < before->n_stages; i++)
        if (!find(now, before->stage[i].name)) n = put(out, n, before->stage[i].name, hour, an_hour(before, before->stage[i].seconds), NAN);
    n = put(out, n, rest, hour, an_hour(before, left_over(before)), an_hour(now, left_over(now)));
    n = put(out, n, whole, hour, an_hour(before, before->seconds), an_hour(now, now->seconds));
    n = put(out, n, "arena", "MB", (double)before->arena_bytes * 1e-6, (double)now->arena_bytes * 1e-6);
    n = put(out, n, "peak of the process", "MiB", (double)before->peak_bytes / mib, (double)now->peak_bytes / mib);
    if (before->joules >= 0 && now->joules >= 0)
        n = put(out, n, "energy", "J an hour of sound", an_hour(before, before->joules), an_hour(now, now->joules));
    return n;
}

/* ---- as Markdown ---- */

static void row(FILE *o, const es_figures *f, const es_figures_stage *s)
{
    fprintf(o, "| %s%s | %.3f | ", s->name, s->beside ? ", beside" : "", s->seconds);
    if (!s->beside) fprintf(o, "%.1f %%", 100 * over(s->seconds, f->seconds));
    fprintf(o, " | %.1f | ", over(f->audio_seconds, s->seconds));
    if (s->fill >= 0) fprintf(o, "%.0f %%", 100 * s->fill);
    fprintf(o, " |\n");
}

static void memory(FILE *o, const es_figures *f)
{
    fprintf(o, "Memory: arena %.1f MB, the plan %.1f MB", (double)f->arena_bytes * 1e-6, (double)f->plan_bytes * 1e-6);
    if (f->budget_bytes) fprintf(o, " of %.1f MB", (double)f->budget_bytes * 1e-6);
    if (f->device_bytes) fprintf(o, "; taken of the device %.1f MB", (double)f->device_bytes * 1e-6);
    fprintf(o, "; the process at its peak %.1f MiB, %.1f MiB of that its own and not mapped from files.\n", (double)f->peak_bytes / mib,
            (double)f->anonymous_bytes / mib);
    fprintf(o, "%" PRIu64 " allocation%s by the kernels after open. ", f->allocations, f->allocations == 1 ? "" : "s");
    if (f->joules >= 0)
        fprintf(o, "Energy: %.1f J, %.3f J a second of sound (%s).\n", f->joules, over(f->joules, f->audio_seconds), f->energy);
    else fprintf(o, "Energy: not told (%s).\n", f->energy);
}

static void changes(FILE *o, const es_figures *f, const es_figures *before)
{
    es_figures_change c[ES_FIGURES_CHANGES];
    int n = es_figures_compare(c, f, before);

    fprintf(o, "\nAgainst commit %s, %s, %s, %s%s%s:\n\n", before->commit, before->date, before->machine, before->device,
            strcmp(before->what, f->what) || before->synthetic != f->synthetic ? ", other models: " : "",
            strcmp(before->what, f->what) || before->synthetic != f->synthetic ? before->what : "");
    fprintf(o, "| | before | now | change |\n|---|---|---|---|\n");
    for (int i = 0; i < n; i++) {
        fprintf(o, "| %s | ", c[i].line);
        if (!isnan(c[i].before)) fprintf(o, "%.2f", c[i].before);
        fprintf(o, " | ");
        if (!isnan(c[i].now)) fprintf(o, "%.2f", c[i].now);
        fprintf(o, " | ");
        if (isnan(c[i].before)) fprintf(o, "new");
        else if (isnan(c[i].now)) fprintf(o, "gone");
        else if (!isnan(c[i].percent)) fprintf(o, "%+.1f %%", c[i].percent);
        fprintf(o, " |\n");
    }
}

static void as_text(FILE *o, const es_figures *f, const es_figures *before)
{
    const es_figures_stage *most = NULL;

    fprintf(o, "%s%s\n", f->what, f->synthetic ? ", all with seeded weights, on made-up sound" : "");
    fprintf(o, "commit %s, %s, %s, %s\n\n", f->commit, f->date, f->machine, f->device);
    fprintf(o, "| stage | seconds | share | × real time | steps full |\n|---|---|---|---|---|\n");
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < f->n_stages; i++) {
            const es_figures_stage *s = &f->stage[i];
            if (s->beside == (pass == 1)) row(o, f, s);
            if (!s->beside && (!most || s->seconds > most->seconds)) most = s;
        }
        if (pass == 1) break;
        fprintf(o, "| %s | %.3f | %.1f %% | | |\n", rest, left_over(f), 100 * over(left_over(f), f->seconds));
        fprintf(o, "| %s | %.3f | 100.0 %% | %.1f | |\n", whole, f->seconds, es_figures_speed(f));
    }
    fprintf(o, "\n%" PRId64 " recording%s, %.1f s of sound: %.1f × real time, %.1f videos/h of %.1f min, %.1f seconds of processors",
            f->recordings, f->recordings == 1 ? "" : "s", f->audio_seconds, es_figures_speed(f),
            over(3600 * (double)f->recordings, f->seconds), over(f->audio_seconds / 60, (double)f->recordings), f->cpu_seconds);
    if (most) fprintf(o, "; most of it: %s (%.0f %%)", most->name, 100 * over(most->seconds, f->seconds));
    fprintf(o, ".\nUntil the models were ready: %.3f s, beside that.\n", f->load_seconds);
    memory(o, f);
    if (before) changes(o, f, before);
}

/* ---- as JSON ---- */

static void put_changes(es_json_out *j, const es_figures *f, const es_figures *before)
{
    es_figures_change c[ES_FIGURES_CHANGES];
    int n = es_figures_compare(c, f, before);

    es_json_object(j, "against");
    es_json_put_string(j, "commit", before->commit);
    es_json_put_string(j, "date", before->date);
    es_json_array(j, "changes");
    for (int i = 0; i < n; i++) {
        es_json_object(j, NULL);
        es_json_put_string(j, "line", c[i].line);
        es_json_put_number(j, "before", c[i].before);
        es_json_put_number(j, "now", c[i].now);
        es_json_put_number(j, "percent", c[i].percent);
        es_json_end_object(j);
    }
    es_json_end_array(j);
    es_json_end_object(j);
}

static void as_json(es_json_out *j, const es_figures *f, const es_figures *before)
{
    es_json_begin(j, 2);
    es_json_object(j, NULL);
    es_json_put_string(j, "bench", "pipeline");
    es_json_put_string(j, "models", f->what);
    es_json_put_bool(j, "synthetic", f->synthetic);
    es_json_put_string(j, "commit", f->commit);
    es_json_put_string(j, "date", f->date);
    es_json_put_string(j, "machine", f->machine);
    es_json_put_string(j, "device", f->device);
    es_json_put_int(j, "recordings", f->recordings);
    es_json_put_fixed(j, "audio_seconds", f->audio_seconds, 3);
    es_json_put_fixed(j, "load_seconds", f->load_seconds, 4);
    es_json_put_fixed(j, "seconds", f->seconds, 6);
    es_json_put_fixed(j, "cpu_seconds", f->cpu_seconds, 3);
    es_json_put_fixed(j, "times_real_time", es_figures_speed(f), 3);
    es_json_put_fixed(j, "videos_per_hour", over(3600 * (double)f->recordings, f->seconds), 2);
    es_json_array(j, "stages");
    for (int i = 0; i < f->n_stages; i++) {
        const es_figures_stage *s = &f->stage[i];
        es_json_object(j, NULL);
        es_json_put_string(j, "stage", s->name);
        es_json_put_bool(j, "beside", s->beside);
        es_json_put_fixed(j, "seconds", s->seconds, 6);
        if (!s->beside) es_json_put_fixed(j, "share", over(s->seconds, f->seconds), 4);
        es_json_put_fixed(j, "times_real_time", over(f->audio_seconds, s->seconds), 2);
        if (s->fill >= 0) es_json_put_fixed(j, "fill", s->fill, 4);
        es_json_end_object(j);
    }
    es_json_end_array(j);
    es_json_put_fixed(j, "rest_seconds", left_over(f), 6);
    es_json_put_uint(j, "budget_bytes", f->budget_bytes);
    es_json_put_uint(j, "arena_bytes", f->arena_bytes);
    es_json_put_uint(j, "plan_bytes", f->plan_bytes);
    es_json_put_uint(j, "device_bytes", f->device_bytes);
    es_json_put_uint(j, "peak_bytes", f->peak_bytes);
    es_json_put_uint(j, "anonymous_bytes", f->anonymous_bytes);
    es_json_put_uint(j, "allocations_after_open", f->allocations);
    if (f->joules >= 0) es_json_put_fixed(j, "joules", f->joules, 3);
    es_json_put_string(j, "energy", f->energy);
    if (before) put_changes(j, f, before);
    es_json_end_object(j);
}

int es_figures_show(const es_figures *f, const es_figures *before, bool json, char **text, size_t *bytes, es_err *err)
{
    *text = NULL, *bytes = 0;
    if (json) {
        es_json_out j;
        as_json(&j, f, before);
        if (j.failed) {
            free(j.text);
            return es_fail(err, ES_ENOMEM, "not enough memory to print");
        }
        *text = j.text, *bytes = j.n;
        return ES_OK;
    }
    FILE *o = open_memstream(text, bytes);
    if (o) as_text(o, f, before);
    if (!o || fclose(o)) return es_fail(err, ES_ENOMEM, "not enough memory to print");
    return ES_OK;
}
