/*
 * cost.h - about how long the steps of a model take, by counting: what the planner compares batches with.
 *
 *     step = ops * launch + max(bytes / bandwidth, flops / (peak * rows / (rows + half)))
 *
 * A product of few rows leaves most of a machine idle, one of many none of it; half is the number of rows at which half of
 * the peak is reached. The figures are of a machine of a kind, not of this one: they only have to tell which stage gains
 * most by more memory, and where more gains nothing. Where a model was measured, that is believed. No result depends on it.
 */
#ifndef ES_COST_H
#define ES_COST_H

#include "pipeline/session/costs.h"
#include "pipeline/session/lineup.h"

const char *es_cost_unit(const es_lineup_model *m, bool slots); /* "windows", "slots", "frames", "tokens" */
/* Seconds that an hour of recorded speech takes in steps of size n; slots: of a speech model's decoder, else of its encoder.
 * costs: what was measured, which counts before any estimate; or NULL. */
double es_cost_hour(const es_lineup_model *m, es_backend backend, int threads, const es_costs *costs, bool slots, int n);

#endif
