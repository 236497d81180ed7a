/*
 * costs.c - measured steps, kept as JSON.
 *
 *     {"device": "...", "threads": 2, "steps": [{"model": "whisper-base", "unit": "slots", "count": 8, "seconds": 0.021}, ...]}
 *
 * Nothing in the file is trusted: a count or a time that cannot be is refused with its place in the list. The device and the
 * threads are for people; who measures on one machine and runs on another gets a plan for the first, which is still right.
 */
#define _GNU_SOURCE
#include "pipeline/session/costs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

enum { MOST_BYTES = 1 << 20, MOST_COUNT = 10000000 };

static char *path_of(const char *folder, es_backend backend)
{
    char *path = NULL;

    return asprintf(&path, "%s/costs-%s.json", folder, es_backend_traits(backend)->name) < 0 ? NULL : path;
}

static int by_name_and_count(const void *a, const void *b)
{
    const es_cost_point *x = a, *y = b;
    int order = strcmp(x->model, y->model);

    if (!order) order = strcmp(x->unit, y->unit);
    return order ? order : (x->count > y->count) - (x->count < y->count);
}

int es_costs_add(es_costs *c, const char *model, const char *unit, int count, double seconds, es_err *err)
{
    es_cost_point *more = realloc(c->at, ((size_t)c->n + 1) * sizeof *more);

    if (!more) return es_fail(err, ES_ENOMEM, "not enough memory for measured steps");
    c->at = more;
    es_cost_point *p = &c->at[c->n++];
    *p = (es_cost_point){.count = count, .seconds = seconds};
    snprintf(p->model, sizeof p->model, "%s", model);
    snprintf(p->unit, sizeof p->unit, "%s", unit);
    qsort(c->at, (size_t)c->n, sizeof *c->at, by_name_and_count);
    return ES_OK;
}

void es_costs_done(es_costs *c)
{
    free(c->at);
    *c = (es_costs){0};
}

static int read_steps(es_costs *out, const es_json_node *steps, const char *path, es_err *err)
{
    char shown[400];
    int i = 0;

    for (const es_json_node *s = es_json_first(steps); s; s = es_json_next(s), i++) {
        const char *model = es_json_string(es_json_get(s, "model")), *unit = es_json_string(es_json_get(s, "unit"));
        int64_t count = 0;
        double seconds = 0;
        bool whole = model && unit && es_json_int(es_json_get(s, "count"), 1, MOST_COUNT, &count) &&
                     es_json_number(es_json_get(s, "seconds"), &seconds) && isfinite(seconds) && seconds > 0 && seconds < 1e6;
        if (!whole)
            return es_fail(err, ES_EFORMAT, "%s: step %d has no model, unit, count and seconds that can be",
                           es_printable(shown, sizeof shown, path), i + 1);
        int rc = es_costs_add(out, model, unit, (int)count, seconds, err);
        if (rc != ES_OK) return rc;
    }
    return ES_OK;
}

int es_costs_read(es_costs *out, const char *folder, es_backend backend, es_err *err)
{
    char *path = path_of(folder, backend);
    es_json *j = NULL;
    int rc = path ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = (es_costs){0};
    if (rc == ES_OK && access(path, F_OK) == 0) {
        rc = es_json_read(&j, path, MOST_BYTES, err);
        if (rc == ES_OK) rc = read_steps(out, es_json_get(es_json_root(j), "steps"), path, err);
    }
    es_json_close(j);
    free(path);
    if (rc != ES_OK) es_costs_done(out);
    return rc;
}

int es_costs_write(const es_costs *c, const char *folder, es_backend backend, const char *device, int threads, es_err *err)
{
    char *path = path_of(folder, backend), *next = NULL, shown[400];
    es_json_out o;
    FILE *f = NULL;
    bool failed = true;

    if (!path || asprintf(&next, "%s.new", path) < 0) {
        free(path);
        return es_fail(err, ES_ENOMEM, "not enough memory");
    }
    es_json_begin(&o, 2);
    es_json_object(&o, NULL);
    es_json_put_string(&o, "device", device);
    es_json_put_int(&o, "threads", threads);
    es_json_array(&o, "steps");
    for (int i = 0; i < c->n; i++) {
        es_json_object(&o, NULL);
        es_json_put_string(&o, "model", c->at[i].model);
        es_json_put_string(&o, "unit", c->at[i].unit);
        es_json_put_int(&o, "count", c->at[i].count);
        es_json_put_number(&o, "seconds", c->at[i].seconds);
        es_json_end_object(&o);
    }
    es_json_end_array(&o);
    es_json_end_object(&o);
    if (!o.failed && (f = fopen(next, "wb"))) {
        failed = fwrite(o.text, 1, o.n, f) != o.n || fputc('\n', f) == EOF;
        failed = fclose(f) || failed;
        failed = failed || rename(next, path);
    }
    int rc = failed ? es_fail(err, ES_EIO, "%s cannot be written: %s", es_printable(shown, sizeof shown, path), strerror(errno)) : ES_OK;
    if (failed && f) unlink(next);
    free(o.text);
    free(path);
    free(next);
    return rc;
}

double es_costs_step(const es_costs *c, const char *model, const char *unit, int n)
{
    const es_cost_point *below = NULL, *above = NULL;

    for (int i = 0; c && i < c->n; i++) {
        const es_cost_point *p = &c->at[i];
        if (strcmp(p->model, model) || strcmp(p->unit, unit)) continue;
        if (p->count <= n) below = p;
        else if (!above) above = p;
    }
    if (!below && !above) return 0;
    if (!above) return below->seconds * n / below->count; /* past the last: no faster than there */
    if (!below) return above->seconds;                    /* a smaller step takes no longer */
    return below->seconds + (above->seconds - below->seconds) * (n - below->count) / (above->count - below->count);
}
