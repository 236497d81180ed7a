/*
 * run.h - what an op of ops.c or ops_pieces.c says of itself during a walk.
 *
 * Every op has the same five lines: it states what must be true of its arguments (MUST), creates its result, lists the
 * tensors it reads and writes and the sizes that matter, and calls the backend if es_run_go() says that this walk is a
 * run:
 *
 *     es_run_begin(r, "name"); es_run_reads(r, x); es_run_writes(r, y); es_run_fact(r, size);
 *     if (!es_run_go(r)) return y;
 *     ...the backend...
 *     es_run_done(r);
 */
#ifndef ES_RUN_H
#define ES_RUN_H

#include "runtime/layout.h"
#include "runtime/ops.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) es_run_broken(r, #condition);                                                                \
    } while (0)

void es_run_begin(es_run *r, const char *name); /* a literal */
void es_run_fact(es_run *r, int64_t value);     /* a size that must be the same in plan and run */
void es_run_matrix(es_run *r, es_matrix m);
/* A tensor without dimensions is an argument left out. */
void es_run_reads(es_run *r, es_tensor t);
void es_run_writes(es_run *r, es_tensor t);
void es_run_changes(es_run *r, es_tensor t);
const int32_t *es_run_live(es_run *r); /* the live count that the op reads, if the program set one */
/* True when the backend is to be called; es_run_done() must follow then. */
bool es_run_go(es_run *r);
void es_run_done(es_run *r);
/* Memory that an op needs while it works: a temporary of one op's life. */
es_tensor es_run_scratch(es_run *r, size_t bytes);

/* Where the columns of a row begin. */
static inline void *es_run_column(es_cols c)
{
    return (char *)c.of.p + (size_t)c.c0 * es_dtype_bytes(c.of.dtype);
}

#endif
