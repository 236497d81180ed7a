/*
 * ops.c - from a model's statement to the backend's call, and in the planning walk to a note of who is used when.
 *
 * Every op has the same five lines: it states what must be true of its arguments, creates its result, lists the tensors
 * it reads and writes (begin, reads, writes, changes, fact), and calls the backend if go() says that this walk is a
 * run.
 *
 *     plan   go() appends (name, hash) to the program's list and stretches the life of each block it touches
 *     run    go() demands the same hash at the same place, and that nothing written overlaps anything else in use
 *
 * The hash covers the op's name, the shape, dtype and block of each tensor, matrices and sizes. It does not cover
 * addresses, which the planning walk has none of. A run that differs from the plan would overwrite memory in use, so it
 * stops there and then, in every build: es_run_broken().
 *
 * With ES_PLAN_POISON a block is filled with 0xFF (a NaN in every float type) before its first and after its last use;
 * under AddressSanitizer it is closed outside that time. Both find an op that reads what it should not.
 */
#include "runtime/ops.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/guard.h"
#include "runtime/layout.h"

const es_tensor es_no_rows = {.id = -1};

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) es_run_broken(r, #condition);                                                                \
    } while (0)

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

static void begin(es_run *r, const char *name)
{
    r->name = name;
    r->n_uses = 0;
    r->hash = 0;
    for (const char *c = name; *c; c++) r->hash = es_plan_mix(r->hash, (unsigned char)*c);
}

static void fact(es_run *r, int64_t value)
{
    r->hash = es_plan_mix(r->hash, (uint64_t)value);
}

static void matrix(es_run *r, es_matrix m)
{
    MUST(m.O > 0 && m.I > 0);
    MUST(!r->arena || m.p);
    fact(r, m.dtype);
    fact(r, m.O);
    fact(r, m.I);
}

static void use(es_run *r, es_tensor t, bool read, bool written)
{
    MUST(r->n_uses < ES_RUN_USES);
    fact(r, (int64_t)read * 2 + (int64_t)written);
    fact(r, t.id);
    fact(r, t.dtype);
    fact(r, t.n_dims);
    for (int i = 0; i < t.n_dims; i++) fact(r, t.dim[i]);
    if (t.n_dims == 0) return; /* es_no_rows and the like: an argument left out */
    MUST(!r->arena || t.p || es_tensor_bytes(t) == 0);
    MUST(t.id < r->next);
    r->uses[r->n_uses++] = (es_use){.t = t, .read = read, .written = written};
}

static void reads(es_run *r, es_tensor t)
{
    use(r, t, true, false);
}

static void writes(es_run *r, es_tensor t)
{
    use(r, t, false, true);
}

static void changes(es_run *r, es_tensor t)
{
    use(r, t, true, true);
}

/* The live count that the op reads, if the program set one. */
static const int32_t *live(es_run *r)
{
    reads(r, r->rows);
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

    return x < y + es_tensor_bytes(b) && y < x + es_tensor_bytes(a);
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

/* True when the backend is to be called; done() must follow then. */
static bool go(es_run *r)
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

static void done(es_run *r)
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

/* Memory that an op needs while it works: a temporary of one op's life. */
static es_tensor scratch(es_run *r, size_t bytes)
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

/* All dimensions but the last, multiplied: the rows of a tensor seen as a table. */
static int rows_of(es_tensor x)
{
    return (int)(es_tensor_count(x) / (size_t)(x.dim[x.n_dims - 1] ? x.dim[x.n_dims - 1] : 1));
}

static int width_of(es_tensor x)
{
    return x.dim[x.n_dims - 1];
}

static const void *column(es_cols c)
{
    return (const char *)c.of.p + (size_t)c.c0 * es_dtype_bytes(c.of.dtype);
}

static bool is_ints(es_tensor t, size_t n)
{
    return t.dtype == ES_I32 && es_tensor_count(t) >= n;
}

/* ---- products ---- */

static void linear(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act, bool add)
{
    MUST(x.n_dims >= 1 && width_of(x) == w.I);
    MUST(width_of(y) == w.O && rows_of(y) == rows_of(x));
    begin(r, add ? "linear_add" : "linear");
    reads(r, x);
    if (add) changes(r, y);
    else writes(r, y);
    matrix(r, w);
    fact(r, act);
    const int32_t *rows = live(r);
    if (!go(r)) return;
    r->arena->ops->linear(r->arena->device, y.p, y.dtype, x.p, x.dtype, w, b, rows, rows_of(x), act, add);
    done(r);
}

static es_tensor with_width(es_run *r, es_tensor x, es_dtype dtype, int width)
{
    int dims[4] = {x.dim[0], x.dim[1], x.dim[2], x.dim[3]};

    dims[x.n_dims - 1] = width;
    return es_new(r, dtype, x.n_dims, dims);
}

es_tensor es_linear(es_run *r, es_tensor x, es_matrix w, const float *b, es_act act)
{
    es_tensor y = with_width(r, x, x.dtype, w.O);

    linear(r, y, x, w, b, act, false);
    return y;
}

es_tensor es_linear_f32(es_run *r, es_tensor x, es_matrix w, const float *b)
{
    es_tensor y = with_width(r, x, ES_F32, w.O);

    linear(r, y, x, w, b, ES_ACT_NONE, false);
    return y;
}

es_tensor es_linear_add(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b)
{
    linear(r, y, x, w, b, ES_ACT_NONE, true);
    return y;
}

void es_linear_to(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act)
{
    linear(r, y, x, w, b, act, false);
}

es_tensor es_conv1d(es_run *r, es_tensor x, es_matrix w, const float *b, const float *pos, int K, int stride, int pad,
                    int dilation, es_act act)
{
    int B = x.dim[0], Ti = x.dim[1], C = x.dim[2];

    MUST(x.n_dims == 3 && K > 0 && stride > 0 && dilation > 0 && pad >= 0);
    MUST(w.I == K * C && Ti + 2 * pad >= dilation * (K - 1) + 1);
    int To = (Ti + 2 * pad - dilation * (K - 1) - 1) / stride + 1;
    es_tensor y = es_new(r, x.dtype, 3, (const int[]){B, To, w.O});
    es_tensor work = scratch(r, r->program->model->plan->traits->conv1d_scratch(x.dtype, B, To, C, K));
    begin(r, "conv1d");
    reads(r, x);
    writes(r, y);
    writes(r, work);
    matrix(r, w);
    fact(r, K), fact(r, stride), fact(r, pad), fact(r, dilation), fact(r, act);
    const int32_t *batches = live(r);
    if (!go(r)) return y;
    r->arena->ops->conv1d(r->arena->device, x.dtype, y.p, x.p, w, b, pos, batches, B, Ti, C, K, stride, pad, dilation,
                          act, work.p);
    done(r);
    return y;
}

/* ---- norms ---- */

es_tensor es_layernorm(es_run *r, es_tensor x, const float *g, const float *b, float eps)
{
    es_tensor y = with_width(r, x, x.dtype, width_of(x));

    begin(r, "layernorm");
    reads(r, x);
    writes(r, y);
    const int32_t *rows = live(r);
    if (!go(r)) return y;
    r->arena->ops->layernorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, b, rows, rows_of(x), width_of(x), eps);
    done(r);
    return y;
}

es_tensor es_rmsnorm(es_run *r, es_tensor x, const float *g, float eps)
{
    es_tensor y = with_width(r, x, x.dtype, width_of(x));

    begin(r, "rmsnorm");
    reads(r, x);
    writes(r, y);
    const int32_t *rows = live(r);
    if (!go(r)) return y;
    r->arena->ops->rmsnorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, rows, rows_of(x), width_of(x), eps);
    done(r);
    return y;
}

/* ---- attention ---- */

es_tensor es_attend(es_run *r, es_cols q, es_cols k, es_cols v, es_tensor bounds, int T_max, int H, int Hkv,
                    es_mask mask)
{
    int N = q.of.dim[0], S = (int)es_tensor_count(bounds) - 1;

    MUST(H > 0 && Hkv > 0 && H % Hkv == 0 && q.n % H == 0);
    int D = q.n / H;
    MUST(k.n == Hkv * D && v.n == Hkv * D && k.of.dim[0] == N && v.of.dim[0] == N);
    MUST(k.of.dtype == q.of.dtype && v.of.dtype == q.of.dtype);
    MUST(S >= 0 && is_ints(bounds, 1) && T_max >= 0);
    es_tensor y = es_new2(r, q.of.dtype, N, q.n);
    begin(r, "attend");
    reads(r, q.of);
    reads(r, k.of);
    reads(r, v.of);
    reads(r, bounds);
    writes(r, y);
    fact(r, q.c0), fact(r, k.c0), fact(r, v.c0), fact(r, T_max), fact(r, H), fact(r, Hkv), fact(r, mask);
    if (!go(r)) return y;
    r->arena->ops->attend(r->arena->device, q.of.dtype, y.p, column(q), q.of.dim[1], column(k), k.of.dim[1], column(v),
                          v.of.dim[1], bounds.p, S, N, T_max, H, Hkv, D, 1.0f / sqrtf((float)D), mask);
    done(r);
    return y;
}

void es_kv_store(es_run *r, es_tensor K, es_tensor V, es_cols k, es_cols v, es_tensor slot, es_tensor pos)
{
    int R = k.of.dim[0], H = K.dim[1], T = K.dim[2], D = K.dim[3];

    MUST(K.n_dims == 4 && V.n_dims == 4 && es_tensor_count(K) == es_tensor_count(V));
    MUST(k.n == H * D && v.n == H * D && v.of.dim[0] == R);
    MUST(k.of.dtype == K.dtype && v.of.dtype == K.dtype && V.dtype == K.dtype);
    MUST(is_ints(slot, (size_t)R) && is_ints(pos, (size_t)R));
    begin(r, "kv_store");
    reads(r, k.of);
    reads(r, v.of);
    reads(r, slot);
    reads(r, pos);
    changes(r, K);
    changes(r, V);
    fact(r, k.c0), fact(r, v.c0);
    const int32_t *rows = live(r);
    if (!go(r)) return;
    r->arena->ops->kv_store(r->arena->device, K.dtype, K.p, V.p, column(k), k.of.dim[1], column(v), v.of.dim[1], slot.p,
                            pos.p, rows, R, T, H, D);
    done(r);
}

es_tensor es_attend_cached(es_run *r, es_cols q, es_tensor K, es_tensor V, es_tensor slot, es_tensor len,
                           es_tensor parent, es_tensor scores, const int32_t *heads, int n_pairs)
{
    int R = q.of.dim[0], H = K.dim[1], T = K.dim[2], D = K.dim[3];

    MUST(K.n_dims == 4 && V.n_dims == 4 && es_tensor_count(K) == es_tensor_count(V));
    MUST(q.n == H * D && q.of.dtype == K.dtype && V.dtype == K.dtype);
    MUST(is_ints(slot, (size_t)R) && (len.n_dims == 0 || is_ints(len, (size_t)R)));
    MUST(parent.n_dims == 0 || is_ints(parent, (size_t)K.dim[0] * (size_t)T));
    MUST(scores.n_dims == 0 ||
         (scores.dtype == ES_F32 && es_tensor_count(scores) >= (size_t)R * (size_t)n_pairs * (size_t)T));
    es_tensor y = es_new2(r, q.of.dtype, R, q.n);
    begin(r, "attend_cached");
    reads(r, q.of);
    reads(r, K);
    reads(r, V);
    reads(r, slot);
    reads(r, len);
    reads(r, parent);
    writes(r, scores);
    writes(r, y);
    fact(r, q.c0), fact(r, n_pairs);
    const int32_t *rows = live(r);
    if (!go(r)) return y;
    r->arena->ops->attend_cached(r->arena->device, K.dtype, y.p, column(q), q.of.dim[1], K.p, V.p, slot.p, len.p,
                                 parent.p, rows, R, T, H, D, 1.0f / sqrtf((float)D), scores.p, heads, n_pairs);
    done(r);
    return y;
}

/* ---- rows ---- */

es_tensor es_embed(es_run *r, es_matrix E, const float *P, es_tensor id, es_tensor pos)
{
    int R = (int)es_tensor_count(id);

    MUST(is_ints(id, 0) && (pos.n_dims == 0 || is_ints(pos, (size_t)R)));
    es_tensor y = es_new2(r, es_run_dtype(r), R, E.I);
    begin(r, "embed");
    matrix(r, E);
    reads(r, id);
    reads(r, pos);
    writes(r, y);
    const int32_t *rows = live(r);
    if (!go(r)) return y;
    MUST(!P || pos.p);
    r->arena->ops->embed(r->arena->device, y.dtype, y.p, E, P, id.p, pos.p, rows, R);
    done(r);
    return y;
}

es_tensor es_gather(es_run *r, es_tensor x, es_tensor idx)
{
    int G = (int)es_tensor_count(idx), C = width_of(x);

    MUST(is_ints(idx, 0));
    es_tensor y = es_new2(r, x.dtype, G, C);
    begin(r, "gather");
    reads(r, x);
    reads(r, idx);
    writes(r, y);
    if (!go(r)) return y;
    r->arena->ops->gather(r->arena->device, x.dtype, y.p, x.p, idx.p, G, C);
    done(r);
    return y;
}

void es_cast_to(es_run *r, es_tensor y, es_tensor x)
{
    MUST(es_tensor_count(y) == es_tensor_count(x));
    begin(r, "cast");
    reads(r, x);
    writes(r, y);
    if (!go(r)) return;
    r->arena->ops->cast(r->arena->device, y.p, y.dtype, x.p, x.dtype, es_tensor_count(x));
    done(r);
}

es_tensor es_cast(es_run *r, es_tensor x, es_dtype dtype)
{
    es_tensor y = es_new(r, dtype, x.n_dims, x.dim);

    es_cast_to(r, y, x);
    return y;
}

/* ---- sound ---- */

/* A window is 30 s and, on either side, the half frame that the first and the last transform reach into. */
static void check_windows(es_run *r, es_tensor pcm, es_tensor frames)
{
    MUST(pcm.n_dims == 2 && pcm.dtype == ES_F32 && pcm.dim[1] == ES_MEL_SAMPLES + 2 * ES_MEL_PAD);
    MUST(is_ints(frames, (size_t)pcm.dim[0]));
}

es_tensor es_logmel(es_run *r, es_tensor pcm, es_tensor frames, es_tensor top, es_tensor fill, const void *tables,
                    int M)
{
    int B = pcm.dim[0];

    check_windows(r, pcm, frames);
    MUST(top.dtype == ES_F32 && es_tensor_count(top) >= (size_t)B);
    MUST(fill.dtype == ES_F32 && es_tensor_count(fill) >= (size_t)B);
    es_tensor y = es_new(r, es_run_dtype(r), 3, (const int[]){B, ES_MEL_FRAMES, M});
    es_tensor work = scratch(r, r->program->model->plan->traits->logmel_scratch(B, M));
    begin(r, "logmel");
    reads(r, pcm);
    reads(r, frames);
    reads(r, top);
    reads(r, fill);
    writes(r, y);
    writes(r, work);
    const int32_t *batches = live(r);
    if (!go(r)) return y;
    r->arena->ops->logmel(r->arena->device, y.dtype, y.p, pcm.p, frames.p, top.p, fill.p, tables, batches, B, M,
                          work.p);
    done(r);
    return y;
}

void es_logmel_top(es_run *r, es_tensor max, es_tensor pcm, es_tensor frames, const void *tables, int M)
{
    int B = pcm.dim[0];

    check_windows(r, pcm, frames);
    MUST(max.dtype == ES_F32 && es_tensor_count(max) >= (size_t)B);
    es_tensor work = scratch(r, r->program->model->plan->traits->logmel_scratch(B, M));
    begin(r, "logmel_top");
    reads(r, pcm);
    reads(r, frames);
    writes(r, max);
    writes(r, work);
    fact(r, M);
    const int32_t *batches = live(r);
    if (!go(r)) return;
    r->arena->ops->logmel_top(r->arena->device, max.p, pcm.p, frames.p, tables, batches, B, M, work.p);
    done(r);
}

/* ---- decoding ---- */

void es_pick(es_run *r, es_tensor slots, es_tensor logits, es_tensor sot_logits, es_tensor suppress,
             es_pick_vocab vocab, es_tensor tokens, es_tensor id, es_tensor pos, es_tensor slot, es_tensor len)
{
    int B = logits.dim[0];
    size_t n = (size_t)B;

    MUST(logits.n_dims == 2 && logits.dtype == ES_F32 && logits.dim[1] == vocab.V);
    MUST(sot_logits.n_dims == 0 || (sot_logits.dtype == ES_F32 && es_tensor_count(sot_logits) >= n * (size_t)vocab.V));
    MUST(es_tensor_bytes(slots) >= n * sizeof(es_pick_slot));
    MUST(es_tensor_bytes(suppress) >= ((size_t)vocab.V + 31) / 32 * 4);
    MUST(is_ints(tokens, n * (size_t)vocab.max_pos));
    MUST(is_ints(id, n) && is_ints(pos, n) && is_ints(slot, n) && is_ints(len, n));
    begin(r, "pick");
    changes(r, slots);
    reads(r, logits);
    reads(r, sot_logits);
    reads(r, suppress);
    changes(r, tokens);
    changes(r, id);
    changes(r, pos);
    changes(r, slot);
    changes(r, len);
    fact(r, vocab.V), fact(r, vocab.eot), fact(r, vocab.timestamp_begin), fact(r, vocab.max_pos);
    if (!go(r)) return;
    r->arena->ops->pick(r->arena->device, slots.p, logits.p, sot_logits.p, suppress.p, vocab, tokens.p, id.p, pos.p,
                        slot.p, len.p, B);
    done(r);
}

void es_prob_at(es_run *r, es_tensor p, es_tensor logits, es_tensor id, int n)
{
    int R = logits.dim[0], V = logits.dim[1];

    MUST(logits.n_dims == 2 && logits.dtype == ES_F32 && n > 0 && n <= V);
    MUST(p.dtype == ES_F32 && es_tensor_count(p) >= (size_t)R && is_ints(id, (size_t)R));
    begin(r, "prob_at");
    reads(r, logits);
    reads(r, id);
    writes(r, p);
    fact(r, n);
    const int32_t *rows = live(r);
    if (!go(r)) return;
    r->arena->ops->prob_at(r->arena->device, p.p, logits.p, id.p, rows, R, V, n);
    done(r);
}

void es_keep(es_run *r, es_tensor x)
{
    begin(r, "keep");
    reads(r, x);
    if (go(r)) done(r);
}
