/*
 * figures.h - what a run of the whole pipeline cost, as a value: filled in by those who run it, then printed as Markdown,
 * kept as JSON, and compared with what another run has kept.
 *
 * Stages follow each other on one thread, so that their seconds add up to no more than the whole; what is left of it is
 * shown as a line of its own. What went on beside them, on other threads, has no part in the sum.
 */
#ifndef ES_FIGURES_H
#define ES_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { ES_FIGURES_STAGES = 16, ES_FIGURES_CHANGES = ES_FIGURES_STAGES + 8 };

typedef struct es_figures_stage {
    char name[32];
    double seconds;
    double fill; /* of its steps, 0 .. 1; negative: it has none, or they were not counted */
    bool beside;
} es_figures_stage;

typedef struct es_figures {
    char what[400]; /* the models, by name */
    bool synthetic;
    char commit[64], date[32], machine[96], device[128];
    int64_t recordings;
    double audio_seconds;
    double load_seconds; /* until the models were ready: beside the whole */
    double seconds;      /* the whole */
    double cpu_seconds;  /* of all threads, meanwhile */
    es_figures_stage stage[ES_FIGURES_STAGES];
    int n_stages;
    uint64_t budget_bytes; /* 0: none */
    uint64_t arena_bytes;
    uint64_t plan_bytes;      /* the arena and what is planned beside it on the device */
    uint64_t device_bytes;    /* taken of a device's own memory, at the most; 0: the arena is the host's */
    uint64_t peak_bytes;      /* of the process, mapped files included */
    uint64_t anonymous_bytes; /* of the process, as often as it was looked at */
    uint64_t allocations;     /* after open */
    double joules;            /* negative: not told */
    char energy[160];         /* by whom, or why not */
} es_figures;

/* Where and when, and of which program: what es_machine_...() say. */
void es_figures_sign(es_figures *f);
void es_figures_add(es_figures *f, const char *stage, double seconds, double fill);
void es_figures_add_beside(es_figures *f, const char *stage, double seconds);
double es_figures_sum(const es_figures *f);  /* seconds of the stages, without those beside */
double es_figures_speed(const es_figures *f); /* seconds of sound in one */

/* What `bench pipeline --json` printed. One sentence names what is wrong with a file that is none of it. */
int es_figures_read(es_figures *out, const char *path, es_err *err);

typedef struct es_figures_change {
    char line[64];
    double before, now; /* NaN: there was no such line */
    double percent;     /* NaN: nothing to compare with */
} es_figures_change;

/* Seconds an hour of sound takes, stage by stage and as a whole; memory in MB; energy. At most ES_FIGURES_CHANGES lines. */
int es_figures_compare(es_figures_change *out, const es_figures *now, const es_figures *before);

/* before: to compare with, or NULL. *text is the caller's to free. */
int es_figures_show(const es_figures *f, const es_figures *before, bool json, char **text, size_t *bytes, es_err *err);

#endif
