/*
 * fit.c - how large the step of each stage is to be.
 *
 *     total = workspace + weights + state of every model, at its step + the largest scratch of any of them + outside
 *
 * Weights are what they are. State adds up, scratch is shared: once one stage has a large scratch the others may use it for
 * nothing. So every size that scratch could have is tried as a bound; under it the stages begin with their least steps and
 * buy larger ones, each time the one that saves most seconds for a byte of state, while the budget lasts and there is
 * something to gain. Of the bounds the one with the shortest total time wins; of those that are within a hundredth of it,
 * the smallest.
 *
 * What a step costs in memory is found by planning the model alone with it: the placing is exact and takes milliseconds.
 * The two steps of a speech model touch different tensors and different programs, so it is planned along each axis only:
 * state adds up, scratch is the larger one.
 *
 * With a budget memory is free up to it. Without one, on the CPU, it has a price, or every machine would be filled for the
 * last thousandth of time: the more it is beside the weights, which are there in any case, the more time it must save.
 */
#include "pipeline/session/fit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/session/cost.h"

enum { MOST_RUNGS = 16, MOST_BOUNDS = ES_LINEUP_MOST * 2 * MOST_RUNGS };

/* A gain below this part of the whole is none; and where there is no budget, as much memory as the weights take costs this
 * part of the time. */
static const double least_gain = 0.002, price_of_weights = 0.2;

/* ---- rungs ---- */

typedef struct rungs {
    const char *unit;
    int n, step[MOST_RUNGS];
    uint64_t state[MOST_RUNGS], scratch[MOST_RUNGS]; /* with the other axis at its first rung */
    double seconds[MOST_RUNGS];                      /* of an hour of speech */
    int *field;                                      /* of the model's step */
} rungs;

typedef struct entrant {
    es_lineup_model *model;
    rungs axis[2]; /* a second one has only the speech model: slots */
    int n_axes, at[2];
    uint64_t weights;
} entrant;

typedef struct problem {
    entrant e[ES_LINEUP_MOST];
    int n;
    uint64_t fixed; /* workspace, weights and what lies outside */
    uint64_t bounds[MOST_BOUNDS];
    int n_bounds;
} problem;

/* Least first. Past the last ones nothing is to be gained. The least frames hold a window of ten seconds, the least tokens the
 * longest passage, so that no budget changes what is said of either. */
static void ladder(rungs *r, const char *unit, int *field, int wish, const int *steps)
{
    *r = (rungs){.unit = unit, .field = field};
    if (wish) {
        r->step[r->n++] = wish;
        return;
    }
    while (steps[r->n]) {
        r->step[r->n] = steps[r->n];
        r->n++;
    }
}

static void ladders(entrant *e, es_lineup_model *m, const es_session_limits *wish)
{
    static const int windows[] = {1, 2, 4, 8, 16, 32, 0}, slots[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 0};
    static const int segments[] = {1, 2, 4, 8, 16, 32, 64, 128, 0};
    static const int frames[] = {1024, 2048, 4096, 8192, 16384, 32768, 65536, 0};
    static const int tokens[] = {512, 1024, 2048, 4096, 8192, 0};

    *e = (entrant){.model = m, .n_axes = 1};
    switch (m->kind) {
    case ES_LINEUP_WHISPER:
        ladder(&e->axis[0], es_cost_unit(m, false), &m->step.windows, wish->windows, windows);
        ladder(&e->axis[1], es_cost_unit(m, true), &m->step.slots, wish->slots, slots);
        e->n_axes = 2;
        break;
    case ES_LINEUP_PYANNET: ladder(&e->axis[0], es_cost_unit(m, false), &m->step.segments, wish->segments, segments); break;
    case ES_LINEUP_SPEAKER: ladder(&e->axis[0], es_cost_unit(m, false), &m->step.frames, wish->frames, frames); break;
    case ES_LINEUP_EMBEDDER: ladder(&e->axis[0], es_cost_unit(m, false), &m->step.tokens, wish->tokens, tokens); break;
    }
}

/* A model planned alone. */
static int plan_alone(es_lineup_model *m, const es_fit_options *o, es_plan_totals *t, es_err *err)
{
    es_lineup one = {.at = {m}, .n = 1};
    es_plan *p = NULL;
    int rc = es_plan_open(&p, o->backend, o->threads, err);

    if (rc == ES_OK) rc = es_lineup_enter(&one, p, err);
    if (rc == ES_OK) rc = es_plan_finish(p, 0, err);
    if (rc == ES_OK) es_plan_totals_get(p, t);
    es_lineup_leave(&one);
    es_plan_close(p);
    return rc;
}

static void put_steps(entrant *e)
{
    for (int k = 0; k < e->n_axes; k++) *e->axis[k].field = e->axis[k].step[e->at[k]];
}

static int measure(entrant *e, const es_fit_options *o, uint64_t *workspace, es_err *err)
{
    es_plan_totals t;

    for (int k = 0; k < e->n_axes; k++) {
        rungs *r = &e->axis[k];
        for (int i = 0; i < (o->least ? 1 : r->n); i++) {
            e->at[k] = i;
            put_steps(e);
            int rc = plan_alone(e->model, o, &t, err);
            if (rc != ES_OK) return rc;
            if (i == 0) e->weights = t.weights;
            *workspace = t.workspace;
            r->state[i] = t.state + (t.weights - e->weights); /* tables that are as long as a step count with it */
            r->scratch[i] = t.scratch;
            r->seconds[i] = es_cost_hour(e->model, o->backend, o->threads, o->costs, k == 1, r->step[i]);
        }
        e->at[k] = 0;
        if (o->least) r->n = 1;
    }
    return ES_OK;
}

/* ---- a choice: the rungs of one model ---- */

static uint64_t state_at(const entrant *e, int i, int j)
{
    return e->n_axes == 2 ? e->axis[0].state[i] + e->axis[1].state[j] - e->axis[0].state[0] : e->axis[0].state[i];
}

static uint64_t scratch_at(const entrant *e, int i, int j)
{
    uint64_t a = e->axis[0].scratch[i], b = e->n_axes == 2 ? e->axis[1].scratch[j] : 0;
    return a > b ? a : b;
}

static double seconds_at(const entrant *e, int i, int j)
{
    return e->axis[0].seconds[i] + (e->n_axes == 2 ? e->axis[1].seconds[j] : 0);
}

/* Windows are encoded into slots: more of them than slots would wait. Asked for, both are taken as they are. */
static bool makes_sense(const entrant *e, int i, int j)
{
    return e->n_axes == 1 || e->axis[0].n == 1 || e->axis[0].step[i] <= e->axis[1].step[j];
}

/* ---- the search ---- */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sizes that scratch may have: no bound below the largest of the least steps is any use. */
static void find_bounds(problem *p)
{
    uint64_t least = 0;
    int n = 0, kept = 0;

    for (int m = 0; m < p->n; m++)
        if (scratch_at(&p->e[m], 0, 0) > least) least = scratch_at(&p->e[m], 0, 0);
    for (int m = 0; m < p->n; m++)
        for (int k = 0; k < p->e[m].n_axes; k++)
            for (int i = 0; i < p->e[m].axis[k].n; i++)
                if (p->e[m].axis[k].scratch[i] >= least) p->bounds[n++] = p->e[m].axis[k].scratch[i];
    qsort(p->bounds, (size_t)n, sizeof *p->bounds, by_size);
    for (int i = 0; i < n; i++)
        if (!kept || p->bounds[kept - 1] != p->bounds[i]) p->bounds[kept++] = p->bounds[i];
    p->n_bounds = kept;
}

typedef struct offer {
    int model, i, j;
    double worth; /* seconds saved for a byte */
} offer;

/* The best larger step that the room allows; false where there is none. */
static bool best_offer(offer *best, const problem *p, uint64_t bound, uint64_t state, uint64_t room, double total, double price)
{
    bool any = false;

    for (int m = 0; m < p->n; m++) {
        const entrant *e = &p->e[m];
        uint64_t now = state_at(e, e->at[0], e->at[1]);
        double seconds = seconds_at(e, e->at[0], e->at[1]);
        for (int i = 0; i < e->axis[0].n; i++) {
            for (int j = 0; j < (e->n_axes == 2 ? e->axis[1].n : 1); j++) {
                uint64_t then = state_at(e, i, j);
                double saved = seconds - seconds_at(e, i, j);
                if (!makes_sense(e, i, j) || scratch_at(e, i, j) > bound || state - now + then > room) continue;
                double more = then > now ? (double)(then - now) : 1;
                if (saved <= least_gain * total || saved <= price * more * total) continue;
                if (any && saved / more <= best->worth) continue;
                *best = (offer){m, i, j, saved / more};
                any = true;
            }
        }
    }
    return any;
}

/* Steps under one bound of scratch. Gives the total time, or a negative number where not even the least steps have room. */
static double try_bound(problem *p, uint64_t bound, uint64_t budget, double price, uint64_t *state)
{
    uint64_t room = UINT64_MAX;
    double total = 0;
    offer o;

    *state = 0;
    if (budget) {
        if (p->fixed + bound > budget) return -1;
        room = budget - p->fixed - bound;
    }
    for (int m = 0; m < p->n; m++) {
        p->e[m].at[0] = p->e[m].at[1] = 0;
        *state += state_at(&p->e[m], 0, 0);
        total += seconds_at(&p->e[m], 0, 0);
    }
    if (*state > room) return -1;
    while (best_offer(&o, p, bound, *state, room, total, price)) {
        entrant *e = &p->e[o.model];
        *state += state_at(e, o.i, o.j) - state_at(e, e->at[0], e->at[1]);
        total += seconds_at(e, o.i, o.j) - seconds_at(e, e->at[0], e->at[1]);
        e->at[0] = o.i, e->at[1] = o.j;
    }
    return total;
}

/* Leaves the chosen rungs in p; false where nothing fits. */
static bool search(problem *p, uint64_t budget)
{
    double price = 0, best = -1, score[MOST_BOUNDS];
    uint64_t state, weights = 1;

    for (int m = 0; m < p->n; m++) weights += p->e[m].weights;
    if (!budget) price = price_of_weights / (double)weights;
    find_bounds(p);
    for (int b = 0; b < p->n_bounds; b++) {
        double total = try_bound(p, p->bounds[b], budget, price, &state);
        score[b] = total < 0 ? -1 : total * (1 + price * ((double)p->bounds[b] + (double)state));
        if (score[b] >= 0 && (best < 0 || score[b] < best)) best = score[b];
    }
    if (best < 0) return false;
    for (int b = 0; b < p->n_bounds; b++) {
        if (score[b] < 0 || score[b] > best * 1.01) continue;
        try_bound(p, p->bounds[b], budget, price, &state);
        return true;
    }
    return false;
}

/* ---- what to drop ---- */

/* What the models take at their least steps without those that are left out. */
static uint64_t least_total(const problem *p, uint64_t workspace_and_outside, const bool *left_out)
{
    uint64_t total = workspace_and_outside, scratch = 0;

    for (int m = 0; m < p->n; m++) {
        if (left_out[m]) continue;
        total += p->e[m].weights + state_at(&p->e[m], 0, 0);
        if (scratch_at(&p->e[m], 0, 0) > scratch) scratch = scratch_at(&p->e[m], 0, 0);
    }
    return total + scratch;
}

/* "without a, or without b": each model that alone makes room, the smallest first; else the largest ones together. */
static void what_to_drop(char *out, size_t room, const problem *p, uint64_t beside, uint64_t budget)
{
    bool left_out[ES_LINEUP_MOST] = {false}, told[ES_LINEUP_MOST] = {false};
    size_t n = 0;

    *out = 0;
    for (int k = 0; k < p->n && p->n > 1; k++) {
        int next = -1;
        for (int m = 0; m < p->n; m++)
            if (!told[m] && (next < 0 || p->e[m].weights < p->e[next].weights)) next = m;
        told[next] = left_out[next] = true;
        if (least_total(p, beside, left_out) <= budget && n < room)
            n += (size_t)snprintf(out + n, room - n, "%s%s", n ? " or without " : "it fits without ", p->e[next].model->name);
        left_out[next] = false;
    }
    for (int k = 0; k < p->n - 1 && !n; k++) { /* at least one has to stay */
        int next = -1;
        for (int m = 0; m < p->n; m++)
            if (!left_out[m] && (next < 0 || p->e[m].weights > p->e[next].weights)) next = m;
        left_out[next] = true;
        if (least_total(p, beside, left_out) > budget) continue;
        for (int m = 0; m < p->n; m++)
            if (left_out[m] && n < room)
                n += (size_t)snprintf(out + n, room - n, "%s%s", n ? " and " : "it fits without ", p->e[m].model->name);
    }
    if (!n) snprintf(out, room, "%s", p->n > 1 ? "no one of the models fits alone" : "the model does not fit");
}

/* ---- the plan ---- */

static int enter_all(es_plan **out, es_lineup *l, problem *p, const es_fit_options *o, uint64_t budget, es_err *err)
{
    uint64_t outside = es_backend_traits(o->backend)->outside_bytes;
    int rc = es_plan_open(out, o->backend, o->threads, err);

    if (rc != ES_OK) return rc;
    for (int m = 0; m < p->n; m++) put_steps(&p->e[m]);
    rc = es_lineup_enter(l, *out, err);
    if (rc != ES_OK) return rc;
    if (outside) es_plan_outside(*out, "the driver's context, kernels, library handles", outside);
    for (int m = 0; m < p->n; m++)
        for (int k = 0; k < p->e[m].n_axes; k++) {
            const rungs *r = &p->e[m].axis[k];
            es_plan_step(*out, p->e[m].model->name, r->unit, r->step[p->e[m].at[k]], r->seconds[p->e[m].at[k]]);
        }
    return es_plan_finish(*out, budget, err);
}

static int fit(es_plan **out, es_lineup *l, problem *p, const es_fit_options *o, es_err *err)
{
    static const bool all[ES_LINEUP_MOST] = {false};
    uint64_t workspace = 0, beside, least;
    es_err why = {0};

    for (p->n = 0; p->n < l->n; p->n++) {
        ladders(&p->e[p->n], l->at[p->n], &o->wish);
        int rc = measure(&p->e[p->n], o, &workspace, err);
        if (rc != ES_OK) return rc;
    }
    beside = workspace + es_backend_traits(o->backend)->outside_bytes;
    p->fixed = beside;
    for (int m = 0; m < p->n; m++) p->fixed += p->e[m].weights;
    least = least_total(p, beside, all);
    if (o->least) return enter_all(out, l, p, o, least, err);
    if (search(p, o->budget)) return enter_all(out, l, p, o, o->budget, err);
    for (int m = 0; m < p->n; m++) p->e[m].at[0] = p->e[m].at[1] = 0;
    int rc = enter_all(out, l, p, o, o->budget, &why);
    if (rc == ES_EBUDGET) {
        char drop[400];
        what_to_drop(drop, sizeof drop, p, beside, o->budget);
        return es_fail(err, rc, "%s; %s", why.text, drop);
    }
    return es_fail(err, rc, "%s", why.text);
}

int es_fit(es_plan **out, es_lineup *l, const es_fit_options *o, es_err *err)
{
    problem *p = calloc(1, sizeof *p);
    int rc = p ? fit(out, l, p, o, err) : es_fail(err, ES_ENOMEM, "not enough memory to plan");

    free(p);
    return rc;
}
