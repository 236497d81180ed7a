/*
 * costs.h - how long steps took on this machine: costs-cpu.json and costs-cuda.json beside the packs, which
 * `earshot bench batches` writes and the planner believes more than its counts.
 */
#ifndef ES_COSTS_H
#define ES_COSTS_H

#include "base/err.h"
#include "kernels/kernels.h"

typedef struct es_cost_point {
    char model[64], unit[16]; /* a pack's name; "windows", "slots", "frames", "tokens" */
    int count;
    double seconds; /* of a step of so many */
} es_cost_point;

typedef struct es_costs {
    es_cost_point *at; /* in the order of model, unit, count; owned */
    int n;
} es_costs;

/* From a folder of packs; what is not there is empty. */
int es_costs_read(es_costs *out, const char *folder, es_backend backend, es_err *err);
int es_costs_write(const es_costs *c, const char *folder, es_backend backend, const char *device, int threads, es_err *err);
void es_costs_done(es_costs *c);
int es_costs_add(es_costs *c, const char *model, const char *unit, int count, double seconds, es_err *err);
/* Seconds of a step of n, on the straight line between the points around it; 0 where the model was not measured. */
double es_costs_step(const es_costs *c, const char *model, const char *unit, int n);

#endif
