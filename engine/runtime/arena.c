/*
 * arena.c - takes the block, tells every tensor its address, loads the weights and runs programs.
 *
 * Addresses are handed out by writing them into the models: each weight and each state tensor was noted in the plan
 * together with the field that wants it. From then on the models hold plain pointers.
 */
#include "runtime/arena.h"

#include <assert.h>
#include <stdlib.h>

#include "runtime/guard.h"
#include "runtime/layout.h"

/* What lies between two tensors, and all of scratch until an op of a program opens it. */
static void close_gaps(const es_arena *a)
{
    const es_plan *p = a->plan;

    for (int i = 0; i < p->n_models; i++) {
        const es_model *m = p->models[i];
        for (int j = 0; j < m->n_items; j++) {
            const es_item *item = &m->items[j];
            es_guard_close(a, a->base + item->offset + item->bytes, es_plan_aligned(item->bytes) - item->bytes);
        }
        for (int j = 0; j < m->n_states; j++) {
            const es_state *s = &m->states[j];
            es_guard_close(a, a->base + s->offset + s->bytes, es_plan_aligned(s->bytes) - s->bytes);
        }
    }
    es_guard_close(a, a->base + p->scratch_at, p->totals.scratch);
}

int es_arena_open(es_arena **out, es_plan *p, es_device *d, es_err *err)
{
    es_arena *a = NULL;
    es_device_facts facts;
    es_fault fault = {0};
    int rc = ES_OK;

    *out = NULL;
    assert(p->finished && es_device_backend(d) == p->backend);
    /* The ops' workspace has a part for each thread. */
    es_device_describe(d, &facts);
    if (p->traits->workspace_bytes(facts.threads) > p->totals.workspace)
        return es_fail(err, ES_EARG, "the device has %d threads, more than the plan was made for", facts.threads);
    a = calloc(1, sizeof *a);
    if (!a) return es_fail(err, ES_ENOMEM, "arena: no memory for %zu bytes", sizeof *a);
    a->plan = p;
    a->device = d;
    a->ops = es_device_ops(d);
    a->base = es_device_take_arena(d, p->totals.arena ? p->totals.arena : ES_PLAN_ALIGN, &fault);
    if (!a->base) {
        rc = es_fail(err, ES_ENOMEM, "no memory for the arena of %.1f MB (%llu bytes): %s",
                     (double)p->totals.arena / 1e6, (unsigned long long)p->totals.arena, fault.text);
        goto out;
    }
    for (int i = 0; i < p->n_models; i++) {
        es_model *m = p->models[i];
        for (int j = 0; j < m->n_items; j++) {
            const es_item *item = &m->items[j];
            void *at = a->base + item->offset;
            switch (item->kind) {
            case ES_ITEM_MATRIX: item->matrix->p = at; break;
            case ES_ITEM_VECTOR: *item->vector = at; break;
            case ES_ITEM_MADE: *item->made = at; break;
            }
        }
        for (int j = 0; j < m->n_states; j++) m->states[j].t->p = a->base + m->states[j].offset;
    }
    if (p->totals.state) es_device_fill(d, a->base + p->state_at, 0, p->totals.state);
    close_gaps(a);
    *out = a;
    a = NULL; /* owned by the caller from here on */
out:
    free(a);
    return rc;
}

int es_arena_load(es_arena *a, es_err *err)
{
    es_fault fault = {0};

    for (int i = 0; i < a->plan->n_models; i++) {
        int rc = es_bind_load(a, a->plan->models[i], err);
        if (rc) return rc;
    }
    if (es_device_sync(a->device, &fault)) return es_fail(err, ES_EDEVICE, "loading weights: %s", fault.text);
    for (int i = 0; i < a->plan->n_models; i++)
        if (a->plan->models[i]->weights) es_weights_forget_pages(a->plan->models[i]->weights);
    return ES_OK;
}

void es_arena_close(es_arena *a)
{
    if (!a) return;
    es_guard_open(a, a->base, a->plan->totals.arena);
    free(a);
}

es_device *es_arena_device(es_arena *a)
{
    return a->device;
}

void es_program_run(es_program *g, es_arena *a)
{
    assert(g->model->plan == a->plan);
    if (!g->graph) {
        es_device_record(a->device);
        es_run_walk(g, a);
        g->graph = es_device_record_end(a->device);
        if (!g->graph) return; /* without graphs the walk was the run */
    }
    es_device_replay(a->device, g->graph);
}

void es_state_put(es_arena *a, es_tensor t, size_t offset, const void *src, size_t bytes)
{
    assert(t.p && offset <= es_tensor_bytes(t) && bytes <= es_tensor_bytes(t) - offset);
    if (bytes) es_device_put(a->device, (char *)t.p + offset, src, bytes);
}

void es_state_get(es_arena *a, es_tensor t, size_t offset, void *dst, size_t bytes)
{
    assert(t.p && offset <= es_tensor_bytes(t) && bytes <= es_tensor_bytes(t) - offset);
    if (bytes) es_device_get(a->device, dst, (char *)t.p + offset, bytes);
}
