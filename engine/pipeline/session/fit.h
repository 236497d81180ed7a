/*
 * fit.h - one plan for all models of a lineup, with the steps that make the work shortest within a budget.
 */
#ifndef ES_FIT_H
#define ES_FIT_H

#include "pipeline/session/costs.h"
#include "pipeline/session/lineup.h"

typedef struct es_fit_options {
    es_backend backend;
    int threads;
    uint64_t budget;        /* bytes on the device; 0: none, and then memory has a price */
    es_session_limits wish; /* steps that are asked for; 0: free */
    const es_costs *costs;  /* measured; NULL: all is estimated */
    bool least;             /* take the smallest steps, and as the budget what they need */
} es_fit_options;

/* Chooses steps, enters all models and finishes the plan. With ES_EBUDGET the sentence names what to drop. The same models
 * and options give the same plan everywhere, but that a plan without a number of threads asks for the machine's cores. */
int es_fit(es_plan **out, es_lineup *l, const es_fit_options *o, es_err *err);

#endif
