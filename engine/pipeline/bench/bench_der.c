/*
 * bench_der.c - `bench der` and `bench eer`: files of turns or scores into rates.
 *
 * Recordings are matched by the file column of RTTM; where each side has one recording alone, their names do not matter. Over
 * several recordings seconds are summed, not rates.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_voices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "speech/rttm.h"
#include "speech/score.h"

/* ---- regions ---- */

typedef struct regions {
    es_score_span *at;
    size_t n, room;
} regions;

static int by_start(const void *a, const void *b)
{
    const es_score_span *x = a, *y = b;

    return (x->start_us > y->start_us) - (x->start_us < y->start_us);
}

/* Those that overlap become one. */
static void join(regions *r)
{
    size_t n = 0;

    if (r->n) qsort(r->at, r->n, sizeof *r->at, by_start);
    for (size_t i = 0; i < r->n; i++) {
        if (n && r->at[i].start_us <= r->at[n - 1].end_us) {
            if (r->at[i].end_us > r->at[n - 1].end_us) r->at[n - 1].end_us = r->at[i].end_us;
        } else {
            r->at[n++] = r->at[i];
        }
    }
    r->n = n;
}

/* `file channel onset offset` a line. file NULL: of whatever recording. */
static int read_uem(regions *out, const char *path, const char *file, es_err *err)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, shown[512], *save;
    size_t room = 0;
    int rc = ES_OK;

    *out = (regions){0};
    es_printable(shown, sizeof shown, path);
    if (!f) return es_fail(err, ES_ENOTFOUND, "%s: cannot be opened", shown);
    for (int number = 1; rc == ES_OK && getline(&line, &room, f) >= 0; number++) {
        char *word[4] = {NULL}, *end = NULL;
        double from = NAN, to = NAN;
        int n = 0;
        for (char *w = strtok_r(line, " \t\r\n", &save); w && n < 4; w = strtok_r(NULL, " \t\r\n", &save)) word[n++] = w;
        if (n == 0 || !strncmp(word[0], ";;", 2)) continue;
        if (n == 4) {
            from = strtod(word[2], &end);
            if (end == word[2] || *end) from = NAN;
            to = strtod(word[3], &end);
            if (end == word[3] || *end) to = NAN;
        }
        if (!(from >= 0 && to > from && to <= 1e9)) {
            rc = es_fail(err, ES_EFORMAT, "%s, line %d: a region is a file, a channel, an onset and a later offset in seconds", shown, number);
            break;
        }
        if (file && strcmp(word[0], file)) continue;
        if (out->n == out->room) {
            size_t more = out->room ? 2 * out->room : 16;
            es_score_span *p = realloc(out->at, more * sizeof *p);
            if (!p) {
                rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate %zu regions", shown, more);
                break;
            }
            out->at = p, out->room = more;
        }
        out->at[out->n++] = (es_score_span){llround(from * 1e6), llround(to * 1e6)};
    }
    free(line);
    fclose(f);
    join(out);
    return rc;
}

/* ---- recordings ---- */

/* One recording's score, with the speakers that were taken for each other. */
typedef struct scored {
    es_rttm reference, system;
    es_der der;
    int *map;
} scored;

static void scored_done(scored *s)
{
    es_rttm_done(&s->reference);
    es_rttm_done(&s->system);
    free(s->map);
    *s = (scored){0};
}

/* ref_file, hyp_file: NULL for all turns of that side. */
static int score(scored *s, const char *reference, const char *ref_file, const char *hypothesis, const char *hyp_file, const char *uem,
                 double collar, es_err *err)
{
    regions r = {0};
    int rc = es_rttm_read(&s->reference, reference, ref_file, err);

    if (rc == ES_OK) rc = es_rttm_read(&s->system, hypothesis, hyp_file, err);
    if (rc == ES_OK && uem) {
        rc = read_uem(&r, uem, ref_file, err);
        if (rc == ES_OK && !r.n) rc = es_fail(err, ES_EFORMAT, "%s has no region of %s", uem, ref_file ? ref_file : reference);
    }
    if (rc == ES_OK) {
        s->map = malloc(((size_t)s->system.n_names + 1) * sizeof *s->map);
        if (!s->map || es_score_der(&s->der, s->reference.turns, s->reference.n, s->system.turns, s->system.n, r.at, r.n,
                                    llround(collar * 1e6), s->map, s->system.n_names))
            rc = es_fail(err, ES_ENOMEM, "not enough memory to score %zu turns", s->reference.n + s->system.n);
    }
    free(r.at);
    return rc;
}

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

static void add_text(FILE *f, const char *name, const scored *s)
{
    const es_der *d = &s->der;
    char shown[300];

    fprintf(f, "%-24s %8.2f %% %9.3f %12.3f %10.3f %10.3f\n", es_printable(shown, sizeof shown, name), 100 * es_der_rate(*d),
            seconds(d->miss_us), seconds(d->false_alarm_us), seconds(d->confusion_us), seconds(d->total_us));
    for (int i = 0; i < s->system.n_names; i++) {
        char ours[200], theirs[200];
        es_printable(ours, sizeof ours, s->system.names[i]);
        fprintf(f, "    %s = %s\n", ours,
                s->map[i] < 0 ? "nobody" : es_printable(theirs, sizeof theirs, s->reference.names[s->map[i]]));
    }
}

static void put_json(es_json_out *j, const char *name, const es_der *d)
{
    es_json_object(j, NULL);
    es_json_put_string(j, "file", name);
    es_json_put_fixed(j, "der", es_der_rate(*d), 6);
    es_json_put_fixed(j, "miss", seconds(d->miss_us), 3);
    es_json_put_fixed(j, "false_alarm", seconds(d->false_alarm_us), 3);
    es_json_put_fixed(j, "confusion", seconds(d->confusion_us), 3);
    es_json_put_fixed(j, "total", seconds(d->total_us), 3);
    es_json_end_object(j);
}

static bool among(char *const *list, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(list[i], name)) return true;
    return false;
}

int es_bench_der(const char *reference, const char *hypothesis, const char *uem, double collar, bool json, char **text, size_t *bytes,
                 es_err *err)
{
    char **ref = NULL, **hyp = NULL;
    int n_ref = 0, n_hyp = 0, rc;
    scored all = {0};
    es_json_out j;
    FILE *f;

    *text = NULL, *bytes = 0;
    if (!(collar >= 0 && collar <= 60)) return es_fail(err, ES_EARG, "a collar is 0 to 60 s, not %g", collar);
    rc = es_rttm_files(&ref, &n_ref, reference, err);
    if (rc == ES_OK) rc = es_rttm_files(&hyp, &n_hyp, hypothesis, err);
    if (rc == ES_OK && !n_ref) rc = es_fail(err, ES_EFORMAT, "%s has no turns", reference);
    for (int i = 0; i < n_hyp && rc == ES_OK && (n_ref > 1 || n_hyp > 1); i++)
        if (!among(ref, n_ref, hyp[i]))
            rc = es_fail(err, ES_EFORMAT, "%s has turns of %s, of which %s has none", hypothesis, hyp[i], reference);
    f = rc == ES_OK ? open_memstream(text, bytes) : NULL;
    if (rc == ES_OK && !f) rc = es_fail(err, ES_ENOMEM, "not enough memory to print");
    es_json_begin(&j, 2);
    es_json_object(&j, NULL);
    es_json_array(&j, "files");
    if (f && !json) fprintf(f, "%-24s %10s %9s %12s %10s %10s\n", "recording", "DER", "missed", "false alarm", "confused", "of seconds");
    for (int i = 0; i < n_ref && rc == ES_OK; i++) {
        bool alone = n_ref == 1 && n_hyp <= 1;
        scored s = {0};
        rc = score(&s, reference, ref[i], hypothesis, alone ? NULL : ref[i], uem, collar, err);
        if (rc == ES_OK) {
            if (json) put_json(&j, ref[i], &s.der);
            else add_text(f, ref[i], &s);
            all.der.miss_us += s.der.miss_us, all.der.false_alarm_us += s.der.false_alarm_us;
            all.der.confusion_us += s.der.confusion_us, all.der.total_us += s.der.total_us;
        }
        scored_done(&s);
    }
    es_json_end_array(&j);
    es_json_put_fixed(&j, "der", es_der_rate(all.der), 6);
    es_json_end_object(&j);
    if (rc == ES_OK && !json && n_ref > 1) add_text(f, "all", &all);
    if (rc == ES_OK && json) fprintf(f, "%s\n", j.failed ? "" : j.text);
    if (j.failed && rc == ES_OK) rc = es_fail(err, ES_ENOMEM, "not enough memory to print");
    free(j.text);
    if (f && fclose(f) && rc == ES_OK) rc = es_fail(err, ES_ENOMEM, "not enough memory to print");
    if (rc != ES_OK) {
        free(*text);
        *text = NULL, *bytes = 0;
    }
    for (int i = 0; i < n_ref; i++) free(ref[i]);
    for (int i = 0; i < n_hyp; i++) free(hyp[i]);
    free(ref), free(hyp);
    return rc;
}

/* ---- verification ---- */

typedef struct scores {
    double *at;
    size_t n, room;
} scores;

static int add_score(scores *s, double v, es_err *err)
{
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 256;
        double *p = realloc(s->at, room * sizeof *p);
        if (!p) return es_fail(err, ES_ENOMEM, "cannot allocate %zu scores", room);
        s->at = p, s->room = room;
    }
    s->at[s->n++] = v;
    return ES_OK;
}

static int read_scores(scores *targets, scores *others, const char *path, es_err *err)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, shown[512], *save;
    size_t room = 0;
    int rc = ES_OK;

    es_printable(shown, sizeof shown, path);
    if (!f) return es_fail(err, ES_ENOTFOUND, "%s: cannot be opened", shown);
    for (int number = 1; rc == ES_OK && getline(&line, &room, f) >= 0; number++) {
        char *label = strtok_r(line, " \t\r\n", &save), *word = label ? strtok_r(NULL, " \t\r\n", &save) : NULL, *end = NULL;
        double v = word ? strtod(word, &end) : NAN;
        if (!label) continue;
        bool target = !strcmp(label, "1") || !strcmp(label, "target"), other = !strcmp(label, "0") || !strcmp(label, "other");
        if ((!target && !other) || !word || *end || !isfinite(v))
            rc = es_fail(err, ES_EFORMAT, "%s, line %d: a score is a label (1 or target, 0 or other) and a number", shown, number);
        else rc = add_score(target ? targets : others, v, err);
    }
    free(line);
    fclose(f);
    if (rc == ES_OK && (!targets->n || !others->n))
        rc = es_fail(err, ES_EFORMAT, "%s has %zu scores of the same person and %zu of others; both are needed", shown, targets->n, others->n);
    return rc;
}

int es_bench_eer(const char *path, bool json, char **text, size_t *bytes, es_err *err)
{
    scores targets = {0}, others = {0};
    double threshold = 0, rate = 0;
    int rc = read_scores(&targets, &others, path, err), n = -1;

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) {
        rate = es_score_eer(targets.at, targets.n, others.at, others.n, &threshold);
        n = asprintf(text,
                     json ? "{\"eer\": %.6f, \"threshold\": %.6f, \"targets\": %zu, \"others\": %zu}\n"
                          : "equal error rate %.4f at a threshold of %.4f; %zu scores of the same person, %zu of others\n",
                     rate, threshold, targets.n, others.n);
        if (n < 0) *text = NULL, rc = es_fail(err, ES_ENOMEM, "not enough memory to print");
        else *bytes = (size_t)n;
    }
    free(targets.at), free(others.at);
    return rc;
}
