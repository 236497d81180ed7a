/*
 * run.c - a walk through a program: the planning walk notes who is used when, the run holds to the plan.
 *
 *     plan   es_run_go() appends (name, hash) to the program's list and stretches the life of each block it touches
 *     run    es_run_go() demands the same hash at the same place, and that what is written overlaps nothing in use
 *
 * The hash covers the op's name, the shape, dtype and block of each tensor, matrices and sizes. It does not cover
 * addresses, which the planning walk has none of. A run that differs from the plan would overwrite memory in use, so it
 * stops there and then, in every build: es_run_broken().
 *
 * With ES_PLAN_POISON a block is filled with 0xFF (a NaN in every float type) before its first and after its last use;
 * under AddressSanitizer it is closed outside that time. Both find an op that reads what it should not.
 */
#include "runtime/run.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/guard.h"

const es_tensor es_no_rows = {.id = -1};

_Noreturn void es_run_broken(const es_run *r, const char *sentence)
{
    fprintf(stderr, "earshot: %s.%s, op %d (%s): not as planned: %s\n", r->program->model->name, r->program->name,
            r->op, r->name ? r->name : "before it", sentence);
    abort();
}

void es_run_walk(es_program *g, es_arena *a)
{
    es_run r = {.program = g, .arena = a, .rows = es_no_rows};

    if (a) r.scratch = a->base + a->plan->scratch_at;
    g->fn(&r, g->user);
    if (a && r.op != g->n_ops) es_run_broken(&r, "the run ended before the plan did");
    if (a && r.next != g->n_blocks) es_run_broken(&r, "the run made fewer tensors than the plan");
}

es_dtype es_run_dtype(const es_run *r)
{
    return r->program->model->act;
}

es_backend es_run_backend(const es_run *r)
{
    return r->program->model->plan->backend;
}

void es_run_rows(es_run *r, es_tensor rows)
{
    MUST(rows.n_dims == 0 || (rows.dtype == ES_I32 && rows.id < 0 && es_tensor_count(rows) >= 1));
    r->rows = rows;
}

/* ---- the op in hand ---- */

void es_run_begin(es_run *r, const char *name)
{
    r->name = name;
    r->n_uses = 0;
    r->hash = 0;
    for (const char *c = name; *c; c++) r->hash = es_plan_mix(r->hash, (unsigned char)*c);
}

void es_run_fact(es_run *r, int64_t value)
{
    r->hash = es_plan_mix(r->hash, (uint64_t)value);
}

void es_run_matrix(es_run *r, es_matrix m)
{
    MUST(m.O > 0 && m.I > 0);
    MUST(!r->arena || m.p);
    es_run_fact(r, m.dtype);
    es_run_fact(r, m.O);
    es_run_fact(r, m.I);
}

static void use(es_run *r, es_tensor t, bool read, bool written)
{
    MUST(r->n_uses < ES_RUN_USES);
    es_run_fact(r, (int64_t)read * 2 + (int64_t)written);
    es_run_fact(r, t.id);
    es_run_fact(r, t.dtype);
    es_run_fact(r, t.n_dims);
    for (int i = 0; i < t.n_dims; i++) es_run_fact(r, t.dim[i]);
    if (t.n_dims == 0) return; /* es_no_rows and the like: an argument left out */
    MUST(!r->arena || t.p || es_tensor_bytes(t) == 0);
    MUST(t.id < r->next);
    r->uses[r->n_uses++] = (es_use){.t = t, .read = read, .written = written};
}

void es_run_reads(es_run *r, es_tensor t)
{
    use(r, t, true, false);
}

void es_run_writes(es_run *r, es_tensor t)
{
    use(r, t, false, true);
}

void es_run_changes(es_run *r, es_tensor t)
{
    use(r, t, true, true);
}

const int32_t *es_run_live(es_run *r)
{
    es_run_reads(r, r->rows);
    return r->rows.p;
}

static void note(es_run *r)
{
    es_program *g = r->program;
    es_plan *p = g->model->plan;
    void *ops = g->ops;

    for (int i = 0; i < r->n_uses; i++) {
        const es_use *u = &r->uses[i];
        if (u->t.id < 0 || u->t.id >= g->n_blocks) continue;
        es_block *b = &g->blocks[u->t.id];
        /* Written by this very op or by an earlier one, or the op reads what nobody wrote. */
        if (u->read && b->first < 0) es_run_broken(r, "a tensor is read that no op has written");
        if (b->first < 0) b->first = r->op;
        b->last = r->op;
    }
    if (!es_plan_grow(p, &ops, &g->room_ops, g->n_ops, sizeof *g->ops)) return;
    g->ops = ops;
    g->ops[g->n_ops++] = (es_op_note){.name = r->name, .hash = r->hash};
    g->hash = es_plan_mix(g->hash, r->hash);
}

static bool overlap(es_tensor a, es_tensor b)
{
    uintptr_t x = (uintptr_t)a.p, y = (uintptr_t)b.p;
    size_t n = es_tensor_bytes(a), m = es_tensor_bytes(b);

    return n && m && x < y + m && y < x + n;
}

static void check(es_run *r)
{
    const es_program *g = r->program;

    if (r->op >= g->n_ops) es_run_broken(r, "the plan has no more ops");
    if (g->ops[r->op].hash != r->hash) {
        char sentence[128];
        snprintf(sentence, sizeof sentence, "the plan has %s of other shapes here", g->ops[r->op].name);
        es_run_broken(r, sentence);
    }
    for (int i = 0; i < r->n_uses; i++)
        for (int j = 0; j < r->n_uses; j++)
            if (i != j && r->uses[i].written && overlap(r->uses[i].t, r->uses[j].t))
                es_run_broken(r, "a tensor that is written overlaps another of the same op");
}

/* Opens the blocks that this op is the first to use, closes those that it is the last to use. */
static void edge(es_run *r, bool before)
{
    const es_arena *a = r->arena;

    for (int i = 0; i < r->n_uses; i++) {
        int id = r->uses[i].t.id;
        bool again = false; /* three columns of one tensor are one block */
        for (int j = 0; j < i; j++) again = again || r->uses[j].t.id == id;
        if (id < 0 || again) continue;
        const es_block *b = &r->program->blocks[id];
        if ((before ? b->first : b->last) != r->op || b->bytes == 0) continue;
        char *p = r->scratch + b->offset;
        if (before) es_guard_open(a, p, b->bytes);
        if (a->plan->flags & ES_PLAN_POISON) es_device_fill(a->device, p, 0xFF, b->bytes);
        if (!before) es_guard_close(a, p, b->bytes);
    }
}

bool es_run_go(es_run *r)
{
    if (!r->arena) {
        note(r);
        r->op++;
        r->name = NULL;
        return false;
    }
    check(r);
    edge(r, true);
    return true;
}

void es_run_done(es_run *r)
{
    edge(r, false);
    r->op++;
    r->name = NULL;
}

/* ---- temporaries ---- */

es_tensor es_new(es_run *r, es_dtype dtype, int n_dims, const int *dims)
{
    es_program *g = r->program;
    es_plan *p = g->model->plan;
    es_tensor t = {.dtype = dtype, .n_dims = n_dims, .dim = {1, 1, 1, 1}, .id = r->next++};
    uint64_t bytes = es_plan_tensor_bytes(dtype, n_dims, dims);

    MUST(n_dims >= 1 && n_dims <= 4);
    for (int i = 0; i < n_dims; i++) {
        MUST(dims[i] >= 0);
        t.dim[i] = dims[i];
    }
    if (r->arena) {
        MUST(t.id < g->n_blocks);
        const es_block *b = &g->blocks[t.id];
        MUST(b->bytes == bytes);
        t.p = r->scratch + b->offset;
        return t;
    }
    void *blocks = g->blocks;
    if (es_plan_grow(p, &blocks, &g->room_blocks, g->n_blocks, sizeof *g->blocks)) {
        g->blocks = blocks;
        g->blocks[g->n_blocks++] = (es_block){.shape = t, .bytes = bytes, .first = -1, .last = -1, .born = r->op};
    }
    return t;
}

es_tensor es_new2(es_run *r, es_dtype dtype, int d0, int d1)
{
    return es_new(r, dtype, 2, (const int[]){d0, d1});
}

es_tensor es_run_scratch(es_run *r, size_t bytes)
{
    /* Rows of 4096 bytes, since a dimension is an int and a scratch may exceed 2 GiB. */
    if (bytes == 0) return es_no_rows;
    return es_new2(r, ES_U8, (int)((bytes + 4095) / 4096), 4096);
}

es_cols es_columns(es_tensor x, int c0, int n)
{
    assert(x.n_dims == 2 && c0 >= 0 && n > 0 && c0 <= x.dim[1] - n);
    return (es_cols){.of = x, .c0 = c0, .n = n};
}

es_tensor es_reshape(es_tensor x, int n_dims, const int *dims)
{
    es_tensor y = x;

    assert(n_dims >= 1 && n_dims <= 4);
    y.n_dims = n_dims;
    for (int i = 0; i < 4; i++) y.dim[i] = i < n_dims ? dims[i] : 1;
    assert(es_tensor_count(y) == es_tensor_count(x));
    return y;
}

es_tensor es_row_range(es_tensor x, int first, int n)
{
    es_tensor y = x;

    assert(x.n_dims <= 2 && first >= 0 && n >= 0 && first <= x.dim[0] - n);
    y.dim[0] = n;
    if (x.p) y.p = (char *)x.p + (size_t)first * (size_t)x.dim[1] * es_dtype_bytes(x.dtype);
    return y;
}
