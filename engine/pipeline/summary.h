/*
 * summary.h - what a run of ingest cost, stage by stage, in figures that people compare.
 *
 * They follow from the tally that the run kept; nothing is measured here but the process' memory. Runs add up: a watch is
 * the sum of its runs.
 */
#ifndef ES_SUMMARY_H
#define ES_SUMMARY_H

#include "pipeline/ingest.h"

enum { ES_SUMMARY_STAGES = 13 };

typedef struct es_summary_stage {
    const char *name, *label; /* for programs, for people */
    double seconds;           /* at work, of one thread or several */
    double busy;              /* seconds over those of the run */
    double speed;             /* seconds of sound a second at work; 0: not known */
    double fill;              /* 0 .. 1 of the places of its batch; < 0: not counted */
} es_summary_stage;

typedef struct es_summary {
    double speed, files_per_hour, passages_per_second; /* of the run, of the run, of the stage that embeds */
    uint64_t arena_bytes, peak_bytes;
    es_summary_stage stage[ES_SUMMARY_STAGES]; /* those that did anything, in the order of their work */
    size_t n;
} es_summary;

void es_summary_make(es_summary *out, const es_ingest_tally *t, const es_session *s);
/* a += b, but for the peak of memory, which a process has once. */
void es_summary_add(es_ingest_tally *a, const es_ingest_tally *b);

#endif
