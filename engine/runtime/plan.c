/*
 * plan.c - models, state and programs in; offsets out.
 *
 * es_plan_model() lets a model name its weights, es_plan_state() and es_plan_program() note what it keeps and what it
 * does, and es_plan_finish() lays everything out:
 *
 *     | workspace | weights: model by model, in the order bound | state: the same | scratch |
 *
 * Scratch is as large as the hungriest program, because programs run one after the other and nothing in scratch
 * outlives one. Within a program each temporary lives from the first op that writes it to the last that reads it;
 * place.c finds offsets. The layout depends on sizes alone, so a plan can be made, printed and refused on a machine
 * that has neither the device nor the weights.
 */
#define _POSIX_C_SOURCE 200809L
#include "runtime/layout.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PLACE_TRIES = 48 }; /* random orders tried where size order misses the bound; more has not been seen to help */

/* ---- small tools ---- */

/* Sums that would overflow stick here: no machine has as much, so the budget or the device refuses the plan. */
static const uint64_t far_too_much = UINT64_C(1) << 60;

uint64_t es_plan_add(uint64_t a, uint64_t b)
{
    return a > far_too_much - (b < far_too_much ? b : far_too_much) ? far_too_much : a + b;
}

uint64_t es_plan_aligned(uint64_t bytes)
{
    if (bytes >= far_too_much) return far_too_much;
    return (bytes + ES_PLAN_ALIGN - 1) / ES_PLAN_ALIGN * ES_PLAN_ALIGN;
}

uint64_t es_plan_tensor_bytes(es_dtype dtype, int n_dims, const int *dims)
{
    uint64_t n = es_dtype_bytes(dtype);

    for (int i = 0; i < n_dims; i++) {
        if (dims[i] == 0) return 0;
        if (n > far_too_much / (uint64_t)dims[i]) return far_too_much;
        n *= (uint64_t)dims[i];
    }
    return n;
}

uint64_t es_plan_mix(uint64_t hash, uint64_t value)
{
    uint64_t z = (hash ^ value) + 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

bool es_plan_grow(es_plan *p, void **items, int *room, int n, size_t item_bytes)
{
    int grown;
    void *moved;

    if (n < *room) return true;
    grown = *room < 8 ? 16 : 2 * *room;
    moved = *room < 1 << 28 ? realloc(*items, (size_t)grown * item_bytes) : NULL;
    if (!moved) {
        es_fail(&p->late, ES_ENOMEM, "plan: no memory to note %d things of %zu bytes", grown, item_bytes);
        return false;
    }
    *items = moved;
    *room = grown;
    return true;
}

char *es_plan_copy(es_plan *p, const char *text)
{
    char *copy = strdup(text);

    if (!copy) es_fail(&p->late, ES_ENOMEM, "plan: no memory to note \"%s\"", text);
    return copy;
}

/* ---- opening and closing ---- */

int es_plan_open(es_plan **out, es_backend backend, int threads, es_err *err)
{
    es_plan *p = calloc(1, sizeof *p);

    *out = NULL;
    assert(backend < ES_N_BACKENDS && threads >= 0);
    if (!p) return es_fail(err, ES_ENOMEM, "plan: no memory for %zu bytes", sizeof *p);
    p->backend = backend;
    p->traits = es_backend_traits(backend);
    p->threads = threads;
    assert(ES_PLAN_ALIGN % p->traits->align == 0);
    *out = p;
    return ES_OK;
}

es_backend es_plan_backend(const es_plan *p)
{
    return p->backend;
}

static void drop_program(es_program *g)
{
    if (!g) return;
    free(g->name);
    free(g->ops);
    free(g->blocks);
    free(g);
}

static void drop_model(es_model *m)
{
    if (!m) return;
    for (int i = 0; i < m->n_items; i++) free(m->items[i].name);
    for (int i = 0; i < m->n_states; i++) free(m->states[i].name);
    for (int i = 0; i < m->n_programs; i++) drop_program(m->programs[i]);
    free(m->items);
    free(m->states);
    free(m->programs);
    free(m->name);
    free(m);
}

void es_plan_close(es_plan *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_models; i++) drop_model(p->models[i]);
    for (int i = 0; i < p->n_outside; i++) free(p->outside[i].name);
    for (int i = 0; i < p->n_steps; i++) free(p->steps[i].model), free(p->steps[i].unit);
    free(p->steps);
    free(p->models);
    free(p->outside);
    free(p);
}

void es_plan_flags(es_plan *p, unsigned flags, uint64_t seed)
{
    assert(!p->finished);
    p->flags = flags;
    p->seed = seed;
}

/* ---- what enters a plan ---- */

int es_plan_model(es_plan *p, es_model **out, const char *name, const es_weights *w, es_dtype preset, es_dtype act,
                  es_bind_fn bind, void *user, es_err *err)
{
    void *models = p->models;
    es_model *m = calloc(1, sizeof *m);
    int rc;

    *out = NULL;
    assert(!p->finished);
    if (!m || !(m->name = strdup(name)) || !es_plan_grow(p, &models, &p->room_models, p->n_models, sizeof *p->models)) {
        p->models = models;
        drop_model(m);
        return es_fail(err, ES_ENOMEM, "plan: no memory to note the model %s", name);
    }
    p->models = models;
    m->plan = p;
    m->weights = w;
    m->preset = preset;
    m->act = act;
    rc = es_bind_model(m, bind, user, err);
    if (rc) {
        drop_model(m);
        return rc;
    }
    p->models[p->n_models++] = m;
    *out = m;
    return ES_OK;
}

void es_plan_state(es_model *m, es_tensor *t, const char *name, es_dtype dtype, int n_dims, const int *dims)
{
    es_plan *p = m->plan;
    void *states = m->states;
    es_state s = {.t = t};

    assert(!p->finished && n_dims >= 1 && n_dims <= 4);
    *t = (es_tensor){.dtype = dtype, .n_dims = n_dims, .id = -1};
    for (int i = 0; i < 4; i++) t->dim[i] = i < n_dims ? dims[i] : 1;
    for (int i = 0; i < n_dims; i++) assert(dims[i] >= 0);
    s.bytes = es_plan_tensor_bytes(dtype, n_dims, dims);
    s.shape = *t;
    s.name = es_plan_copy(p, name);
    if (!s.name) return;
    if (!es_plan_grow(p, &states, &m->room_states, m->n_states, sizeof *m->states)) {
        free(s.name);
        return;
    }
    m->states = states;
    m->states[m->n_states++] = s;
}

void es_plan_program(es_model *m, es_program **out, const char *name, es_program_fn fn, void *user)
{
    es_plan *p = m->plan;
    void *programs = m->programs;
    es_program *g = calloc(1, sizeof *g);

    *out = NULL;
    assert(!p->finished);
    if (!g || !(g->name = strdup(name))) {
        es_fail(&p->late, ES_ENOMEM, "plan: no memory to note the program %s.%s", m->name, name);
        drop_program(g);
        return;
    }
    if (!es_plan_grow(p, &programs, &m->room_programs, m->n_programs, sizeof *m->programs)) {
        drop_program(g);
        return;
    }
    m->programs = programs;
    m->programs[m->n_programs++] = g;
    g->model = m;
    g->fn = fn;
    g->user = user;
    es_run_walk(g, NULL);
    *out = g;
}

void es_plan_outside(es_plan *p, const char *what, uint64_t bytes)
{
    void *outside = p->outside;
    char *name = es_plan_copy(p, what);

    assert(!p->finished);
    if (!name) return;
    if (!es_plan_grow(p, &outside, &p->room_outside, p->n_outside, sizeof *p->outside)) {
        free(name);
        return;
    }
    p->outside = outside;
    p->outside[p->n_outside++] = (es_outside){.name = name, .bytes = bytes};
}

void es_plan_step(es_plan *p, const char *model, const char *unit, int count, double hour_seconds)
{
    void *steps = p->steps;
    es_step_note s = {es_plan_copy(p, model), es_plan_copy(p, unit), count, hour_seconds};

    assert(!p->finished);
    if (!s.model || !s.unit || !es_plan_grow(p, &steps, &p->room_steps, p->n_steps, sizeof *p->steps)) {
        free(s.model);
        free(s.unit);
        return;
    }
    p->steps = steps;
    p->steps[p->n_steps++] = s;
}

/* ---- laying out ---- */

static uint64_t place_program(es_plan *p, es_program *g, es_span *spans)
{
    uint64_t naive = 0, best;
    uint64_t best_seed = 0;

    for (int i = 0; i < g->n_blocks; i++) {
        es_block *b = &g->blocks[i];
        bool used = b->first >= 0;
        spans[i] = (es_span){.bytes = b->bytes, .first = used ? b->first : b->born, .last = used ? b->last : b->born};
        naive = es_plan_add(naive, es_plan_aligned(b->bytes));
    }
    g->naive = naive;
    if (naive >= far_too_much) {
        g->bound = naive;
        return naive;
    }
    g->bound = es_plan_bound(spans, g->n_blocks, ES_PLAN_ALIGN);
    if (p->flags & ES_PLAN_SEPARATE) {
        best = 0;
        for (int i = 0; i < g->n_blocks; i++) {
            spans[i].offset = best;
            best += es_plan_aligned(spans[i].bytes);
        }
    } else if (p->flags & ES_PLAN_SHUFFLE) {
        best = es_plan_place(spans, g->n_blocks, ES_PLAN_ALIGN, es_plan_mix(p->seed, g->hash) | 1);
    } else {
        best = es_plan_place(spans, g->n_blocks, ES_PLAN_ALIGN, 0);
        for (uint64_t seed = 1; seed <= PLACE_TRIES && best > g->bound; seed++) {
            uint64_t total = es_plan_place(spans, g->n_blocks, ES_PLAN_ALIGN, seed);
            if (total < best) best = total, best_seed = seed;
        }
        best = es_plan_place(spans, g->n_blocks, ES_PLAN_ALIGN, best_seed);
    }
    for (int i = 0; i < g->n_blocks; i++) g->blocks[i].offset = spans[i].offset;
    return best;
}

static int place_programs(es_plan *p, es_err *err)
{
    es_span *spans = NULL;
    int most = 0;

    for (int i = 0; i < p->n_models; i++)
        for (int j = 0; j < p->models[i]->n_programs; j++)
            if (p->models[i]->programs[j]->n_blocks > most) most = p->models[i]->programs[j]->n_blocks;
    spans = calloc((size_t)most + 1, sizeof *spans);
    if (!spans) return es_fail(err, ES_ENOMEM, "plan: no memory to place %d tensors", most);
    for (int i = 0; i < p->n_models; i++) {
        for (int j = 0; j < p->models[i]->n_programs; j++) {
            es_program *g = p->models[i]->programs[j];
            g->peak = place_program(p, g, spans);
            if (g->peak > p->totals.scratch) p->totals.scratch = g->peak;
            if (g->bound > p->totals.scratch_bound) p->totals.scratch_bound = g->bound;
            if (g->naive > p->totals.scratch_naive) p->totals.scratch_naive = g->naive;
        }
    }
    free(spans);
    return ES_OK;
}

static void place_weights(es_plan *p)
{
    uint64_t at = p->weights_at;

    for (int i = 0; i < p->n_models; i++) {
        es_model *m = p->models[i];
        uint64_t start = at;
        for (int j = 0; j < m->n_items; j++) {
            m->items[j].offset = at;
            at = es_plan_add(at, es_plan_aligned(m->items[j].bytes));
        }
        m->weight_bytes = at - start;
    }
    p->totals.weights = at - p->weights_at;
    p->state_at = at;
}

static void place_states(es_plan *p)
{
    uint64_t at = p->state_at;

    for (int i = 0; i < p->n_models; i++) {
        es_model *m = p->models[i];
        uint64_t start = at;
        for (int j = 0; j < m->n_states; j++) {
            m->states[j].offset = at;
            at = es_plan_add(at, es_plan_aligned(m->states[j].bytes));
        }
        m->state_bytes = at - start;
    }
    p->totals.state = at - p->state_at;
    p->scratch_at = at;
}

/* ---- the budget ---- */

typedef struct part {
    char what[128];
    uint64_t bytes;
} part;

static int larger_part(const void *a, const void *b)
{
    const part *x = a, *y = b;

    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return strcmp(x->what, y->what);
}

/* One sentence: what was given, what is needed, and the largest parts, so that it is clear what to drop or to shrink.
 */
static int refuse(const es_plan *p, es_err *err)
{
    char text[640] = "";
    size_t at = 0;
    int n = 0, shown = 0;
    size_t room = 2 * (size_t)p->n_models + (size_t)p->n_outside + 1;
    part *parts;

    for (int i = 0; i < p->n_models; i++) room += (size_t)p->models[i]->n_programs;
    parts = calloc(room, sizeof *parts);
    if (parts) {
        for (int i = 0; i < p->n_models; i++) {
            const es_model *m = p->models[i];
            snprintf(parts[n].what, sizeof parts[n].what, "weights of %.100s", m->name);
            parts[n++].bytes = m->weight_bytes;
            snprintf(parts[n].what, sizeof parts[n].what, "state of %.100s", m->name);
            parts[n++].bytes = m->state_bytes;
            /* Programs share scratch: only the one that sets its size is a part. */
            for (int j = 0; j < m->n_programs; j++) {
                if (m->programs[j]->peak != p->totals.scratch) continue;
                snprintf(parts[n].what, sizeof parts[n].what, "scratch for %.50s.%.50s", m->name, m->programs[j]->name);
                parts[n++].bytes = m->programs[j]->peak;
            }
        }
        for (int i = 0; i < p->n_outside; i++) {
            snprintf(parts[n].what, sizeof parts[n].what, "%.100s", p->outside[i].name);
            parts[n++].bytes = p->outside[i].bytes;
        }
        qsort(parts, (size_t)n, sizeof *parts, larger_part);
        for (int i = 0; i < n && shown < 4 && parts[i].bytes > 0; i++, shown++) {
            int wrote = snprintf(text + at, sizeof text - at, "%s%s %.1f MB", shown ? ", " : "", parts[i].what,
                                 (double)parts[i].bytes / 1e6);
            if (wrote < 0 || (size_t)wrote >= sizeof text - at) break;
            at += (size_t)wrote;
        }
        free(parts);
    }
    return es_fail(err, ES_EBUDGET,
                   "the memory budget of %.1f MB (%llu bytes) is too small: the plan needs %.1f MB (%llu bytes); "
                   "the largest parts are %s",
                   (double)p->totals.budget / 1e6, (unsigned long long)p->totals.budget, (double)p->totals.total / 1e6,
                   (unsigned long long)p->totals.total, text);
}

int es_plan_finish(es_plan *p, uint64_t budget, es_err *err)
{
    es_plan_totals *t = &p->totals;
    int rc;

    assert(!p->finished);
    if (p->late.code) return es_fail(err, p->late.code, "%s", p->late.text);
    *t = (es_plan_totals){.budget = budget};
    t->workspace = es_plan_aligned(p->traits->workspace_bytes(p->threads));
    p->weights_at = t->workspace;
    place_weights(p);
    place_states(p);
    rc = place_programs(p, err);
    if (rc) return rc;
    for (int i = 0; i < p->n_outside; i++) t->outside = es_plan_add(t->outside, p->outside[i].bytes);
    t->arena = es_plan_add(p->scratch_at, t->scratch);
    t->total = es_plan_add(t->arena, t->outside);
    p->finished = true;
    if (budget && t->total > budget) return refuse(p, err);
    if (t->total >= far_too_much)
        return es_fail(err, ES_ENOMEM, "the plan needs more than %llu bytes: no machine has as much",
                       (unsigned long long)far_too_much);
    return ES_OK;
}

void es_plan_totals_get(const es_plan *p, es_plan_totals *out)
{
    *out = p->totals;
}
