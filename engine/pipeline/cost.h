/*
 * cost.h - about how long the steps of a model take, by counting: what the planner compares batches with.
 *
 *     step = ops * launch + max(bytes / bandwidth, flops / (peak * rows / (rows + half)))
 *
 * A product of few rows leaves most of a machine idle, one of many none of it; half is the number of rows at which half of
 * the peak is reached. The figures are of a machine of a kind, not of this one: they only have to tell which stage gains
 * most by more memory, and where more gains nothing. No result depends on them.
 */
#ifndef ES_COST_H
#define ES_COST_H

#include "pipeline/lineup.h"

/* Seconds that an hour of recorded speech takes in steps of size n: of the windows, or of the slots (else windows). */
double es_cost_hour(const es_lineup_model *m, es_backend backend, int threads, bool slots, int n);

#endif
