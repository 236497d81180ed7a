/*
 * plan.h - who lives where and when, settled before the first byte of media is read.
 *
 * A plan is the layout of one device's arena. Models enter it with three things, each described by code that is walked
 * twice, once to plan from sizes alone and once to run:
 *   - weights: a bind function that names every matrix and vector the model needs (es_bind_*);
 *   - state:   tensors that keep their place and content between programs (key/value caches, inputs, results);
 *   - programs: forward passes (es_program_fn) over the ops of ops.h, whose temporaries share the scratch region.
 *
 *     arena  | workspace | weights of all models | state of all models | scratch: the largest program |
 *
 * Scratch is where planning pays. A temporary lives from the op that first writes it to the op that last reads it, and
 * temporaries whose lives do not meet may have the same address. One layer of an encoder, ops from left to right:
 *
 *      op      norm    qkv     attend  out     norm    up      down
 *             +---------------+---------------+---------------+
 *      ^      | n  [T, C]     | a  [T, C]     | n  [T, C]     |
 *      |      +-------+-------+-------+-------+-------+-------+-------+
 *   address           | q  [T, 3C]    |               | h  [T, 4C]    |
 *      |      +-------+---------------+---------------+---------------+
 *      |      | x  [T, C], changed in place by out and down           |
 *             +-------------------------------------------------------+
 *
 * so the layers of a model take no more than one of them: 46 MB of scratch for Whisper large-v3's encoder, where every
 * tensor for itself would take 2983 MB. `earshot plan --svg` draws this picture of the real programs.
 *
 * A program takes no arguments: its inputs and outputs are state, its changing sizes are read from state by the ops, so
 * that every run issues the same calls on the same addresses, and CUDA replays a captured graph. The plan keeps a hash
 * of each program's op sequence; every run asserts it.
 *
 * The plan needs no device and no weights: es_plan_model() takes a pack or, with weights NULL, the sizes the bind
 * function itself knows (a preset). Not thread-safe. All offsets are multiples of 256 bytes.
 */
#ifndef ES_PLAN_H
#define ES_PLAN_H

#include <stdio.h>

#include "base/err.h"
#include "base/json.h"
#include "kernels/device.h"
#include "runtime/tensor.h"
#include "runtime/weights.h"

typedef struct es_plan es_plan;
typedef struct es_model es_model;     /* one model's share of a plan; owned by the plan */
typedef struct es_program es_program; /* owned by its model */
typedef struct es_bind es_bind;
typedef struct es_run es_run;

typedef void (*es_bind_fn)(es_bind *b, void *user);
typedef void (*es_program_fn)(es_run *r, void *user);

enum { ES_PLAN_ALIGN = 256 };
enum es_plan_flags {
    ES_PLAN_SEPARATE = 1, /* every temporary has memory of its own: the reference for the sharing test */
    ES_PLAN_POISON = 2,   /* temporaries are filled with 0xFF before first and after last use while running */
    ES_PLAN_SHUFFLE = 4,  /* place in an order drawn from the seed: another valid plan, for tests */
};

/* ---- making a plan ---- */

int es_plan_open(es_plan **out, es_backend backend, int threads, es_err *err);
es_backend es_plan_backend(const es_plan *p);
void es_plan_close(es_plan *p); /* accepts NULL; after the arena made from it is closed */
void es_plan_flags(es_plan *p, unsigned flags, uint64_t seed); /* before es_plan_finish */

/* act: the dtype of the model's activations (f32 on the CPU). w: borrowed until the weights are loaded; NULL plans a
 * preset whose matrices have dtype preset. Walks bind once; a tensor that is missing or of another shape is an error
 * whose sentence names the file, the tensor and both shapes; so are tensors of the pack that bind never named. */
int es_plan_model(es_plan *p, es_model **out, const char *name, const es_weights *w, es_dtype preset, es_dtype act,
                  es_bind_fn bind, void *user, es_err *err);
/* *t is filled now with its shape and, by es_arena_open, with its address; t must stay where it is. Zeroed at open. */
void es_plan_state(es_model *m, es_tensor *t, const char *name, es_dtype dtype, int n_dims, const int *dims);
/* Walks fn once in planning mode. */
void es_plan_program(es_model *m, es_program **out, const char *name, es_program_fn fn, void *user);
/* Memory of the device that the process holds beside the arena (context, libraries); counted against the budget. */
void es_plan_outside(es_plan *p, const char *what, uint64_t bytes);
/* For those who look: a step of a model holds at most count of a unit, and an hour of speech takes it about so long. */
void es_plan_step(es_plan *p, const char *model, const char *unit, int count, double hour_seconds);
/* Places everything; called once. budget 0: no limit; else ES_EBUDGET with one sentence holding the minimum and the
 * largest parts; the plan can then still be looked at. */
int es_plan_finish(es_plan *p, uint64_t budget, es_err *err);

/* ---- binding weights (inside a bind function) ---- */

/* name is a printf format. The matrix takes the dtype the pack stores (f32, f16, bf16) or the preset's. */
void es_bind_matrix(es_bind *b, es_matrix *m, int O, int I, const char *name, ...)
    __attribute__((format(printf, 5, 6)));
/* As es_bind_matrix, forced to f32 on the device: front ends that must not be rounded. */
void es_bind_matrix_f32(es_bind *b, es_matrix *m, int O, int I, const char *name, ...)
    __attribute__((format(printf, 5, 6)));
/* As es_bind_matrix, forced to f32, f16 or bf16. */
void es_bind_matrix_as(es_bind *b, es_matrix *m, es_dtype dtype, int O, int I, const char *name, ...)
    __attribute__((format(printf, 6, 7)));
/* n values, f32 on the device whatever the pack stores; the shape in the pack may have any number of dimensions. */
void es_bind_vector(es_bind *b, const float **v, int n, const char *name, ...) __attribute__((format(printf, 4, 5)));
bool es_bind_has(const es_bind *b, const char *name); /* false while planning a preset */
/* Bytes that are computed, not stored: fill writes them to host memory at load. */
void es_bind_made(es_bind *b, const void **p, size_t bytes, void (*fill)(void *host, void *user), void *user,
                  const char *name);

/* ---- looking at a plan ---- */

typedef struct es_plan_totals {
    uint64_t workspace, weights, state, scratch;
    uint64_t arena;         /* the sum of the four: what es_arena_open takes */
    uint64_t outside;       /* es_plan_outside */
    uint64_t total;         /* arena and outside: what the budget bounds */
    uint64_t scratch_bound; /* the largest sum of tensors alive at once in a program: no plan can be smaller */
    uint64_t scratch_naive; /* what the largest program would take without sharing */
    uint64_t budget;        /* as given to es_plan_finish */
} es_plan_totals;

void es_plan_totals_get(const es_plan *p, es_plan_totals *out);
void es_plan_print(const es_plan *p, FILE *f); /* models, regions, programs, the largest tensors, totals */
void es_plan_json(const es_plan *p, es_json_out *o);
void es_plan_row(const es_plan *p, FILE *f); /* a table in Markdown of one row: budget, totals, batches */
int es_plan_svg(const es_plan *p, FILE *f); /* a picture of scratch memory over the steps of each program */

/* ---- placing, alone (for its tests) ---- */

typedef struct es_span {
    size_t bytes;    /* in */
    int first, last; /* in: op indexes, both inclusive */
    size_t offset;   /* out */
    int order, next; /* work of the placer */
} es_span;

/* Greedy by size with best-fit gaps; returns the total. Deterministic; O(n^2). order_seed 0: by size. */
size_t es_plan_place(es_span *spans, int n, size_t align, uint64_t order_seed);
size_t es_plan_bound(const es_span *spans, int n, size_t align); /* the largest sum alive at one op */

#endif
