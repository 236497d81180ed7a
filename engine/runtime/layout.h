/*
 * layout.h - what plan.c, bind.c, run.c, the ops, arena.c and show.c know together: the inside of a plan and of a walk.
 *
 * Not for other rooms. A plan owns models; a model owns items (weights), states and programs; a program owns the list
 * of its ops and the list of its blocks. A block is the memory of one temporary, known by the order of creation in the
 * walk, which is the same in every walk because a program is one straight line of calls.
 */
#ifndef ES_LAYOUT_H
#define ES_LAYOUT_H

#include "runtime/arena.h"
#include "runtime/plan.h"

/* ---- weights ---- */
typedef enum es_item_kind { ES_ITEM_MATRIX, ES_ITEM_VECTOR, ES_ITEM_MADE } es_item_kind;

typedef struct es_item {
    es_item_kind kind;
    char *name;
    es_matrix *matrix; /* where the model wants the address: one of the three, by kind */
    const float **vector;
    const void **made;
    const es_weight *from; /* NULL in a preset and for what is made */
    es_dtype dtype;        /* on the device */
    int O, I;              /* of a matrix; a vector has O values */
    void (*fill)(void *host, void *user);
    void *user;
    size_t bytes, offset; /* offset from the start of the arena */
} es_item;

typedef struct es_state {
    es_tensor *t;    /* the model's */
    es_tensor shape; /* as it was asked for: t may be gone before the plan is looked at */
    char *name;
    size_t bytes, offset;
} es_state;

/* ---- programs ---- */
typedef struct es_op_note {
    const char *name; /* a literal of the op */
    uint64_t hash;    /* of name, shapes, dtypes and blocks */
} es_op_note;

typedef struct es_block {
    es_tensor shape;
    size_t bytes, offset; /* offset from the start of scratch */
    int first, last;      /* ops that use it; first -1 while none does */
    int born;             /* the op after whose predecessor it was created */
} es_block;

struct es_program {
    es_model *model;
    char *name;
    es_program_fn fn;
    void *user;
    es_op_note *ops;
    es_block *blocks;
    int n_ops, room_ops, n_blocks, room_blocks;
    uint64_t hash;             /* of all ops in order */
    size_t peak, bound, naive; /* bytes of scratch: as placed, the least possible, without sharing */
    es_graph *graph;           /* the device's; NULL until recorded */
};

struct es_model {
    es_plan *plan;
    char *name;
    const es_weights *weights;
    es_dtype preset, act;
    es_item *items;
    es_state *states;
    es_program **programs;
    int n_items, room_items, n_states, room_states, n_programs, room_programs;
    uint64_t weight_bytes, state_bytes;
};

typedef struct es_outside {
    char *name;
    uint64_t bytes;
} es_outside;

typedef struct es_step_note {
    char *model, *unit;
    int count;
    double hour_seconds;
} es_step_note;

struct es_plan {
    es_backend backend;
    const es_traits *traits;
    int threads;
    unsigned flags;
    uint64_t seed;
    es_model **models;
    es_outside *outside;
    es_step_note *steps;
    int n_models, room_models, n_outside, room_outside, n_steps, room_steps;
    es_plan_totals totals;
    uint64_t weights_at, state_at, scratch_at; /* offsets of the regions */
    bool finished;
    es_err late; /* what went wrong in a call that returns nothing; told by es_plan_finish */
};

struct es_bind {
    es_model *model;
    bool *used; /* [tensors of the pack]: named by the model */
    es_err *err;
    int rc;
};

struct es_arena {
    es_plan *plan;
    es_device *device;
    const es_ops *ops;
    char *base; /* on the device */
};

/* ---- a walk ---- */
enum { ES_RUN_USES = 16 };

typedef struct es_use {
    es_tensor t;
    bool read, written;
} es_use;

struct es_run {
    es_program *program;
    es_arena *arena; /* NULL while planning */
    char *scratch;   /* start of the scratch region; NULL while planning */
    es_tensor rows;
    int op;   /* index of the op in hand */
    int next; /* temporaries created so far */
    /* The op in hand. */
    const char *name;
    es_use uses[ES_RUN_USES];
    int n_uses;
    uint64_t hash;
};

void es_run_walk(es_program *g, es_arena *a); /* a NULL: plan */
/* A program that does not do what was planned is our own mistake and would overwrite memory in use: says so on stderr
 * and aborts, in every build. */
_Noreturn void es_run_broken(const es_run *r, const char *sentence);

/* ---- small tools ---- */
/* Rounded up to ES_PLAN_ALIGN; far too much stays far too much instead of wrapping round. */
uint64_t es_plan_aligned(uint64_t bytes);
uint64_t es_plan_add(uint64_t a, uint64_t b);
uint64_t es_plan_tensor_bytes(es_dtype dtype, int n_dims, const int *dims);
/* Room for one more item in an array of the plan; false when memory is out, told later by es_plan_finish. */
bool es_plan_grow(es_plan *p, void **items, int *room, int n, size_t item_bytes);
char *es_plan_copy(es_plan *p, const char *text); /* owned; NULL as above */
uint64_t es_plan_mix(uint64_t hash, uint64_t value);

int es_bind_model(es_model *m, es_bind_fn bind, void *user, es_err *err); /* bind.c, for es_plan_model */
int es_bind_load(es_arena *a, es_model *m, es_err *err);                  /* bind.c, for es_arena_load */

#endif
