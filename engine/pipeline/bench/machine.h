/*
 * machine.h - what the machine says of a run: how much memory it held, how much energy it took, where and when it was.
 */
#ifndef ES_MACHINE_H
#define ES_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* The most memory this process had resident since its start or the last es_machine_forget_peak(), in bytes; 0 where the
 * system does not say. Files that are mapped and were read count, too. */
uint64_t es_machine_peak_bytes(void);
void es_machine_forget_peak(void); /* where the system lets us; else the peak stays that of the whole process */
uint64_t es_machine_anonymous_bytes(void); /* resident now, without what is mapped from files */

double es_machine_now(void);         /* seconds, of a clock that never jumps */
double es_machine_cpu_seconds(void); /* of all threads of this process so far */
void es_machine_name(char *out, size_t room);   /* "x86_64, 2 cores" */
void es_machine_date(char *out, size_t room);   /* "2026-11-24 01:02 UTC" */
void es_machine_commit(char *out, size_t room); /* what this program was built from, or its version */

/* ---- energy ---- */

enum { ES_ENERGY_COUNTERS = 16 };

/* CUDA: NVML, which is looked for when it is asked and linked by nobody, counts what one card takes. CPU: RAPL counts what
 * the packages of the whole machine take, other programs' share included. */
typedef struct es_energy {
    char from[160]; /* who counts; where nobody does, why */
    bool told;
    void *library, *card; /* NVML */
    char path[ES_ENERGY_COUNTERS][96];
    double last[ES_ENERGY_COUNTERS], wrap[ES_ENERGY_COUNTERS]; /* joules */
    int n;
    double joules;
} es_energy;

void es_energy_open(es_energy *e, es_backend backend);
/* Since es_energy_open(); negative where nobody counts. A counter of RAPL begins anew after some hours: calls must not be
 * further apart than that. */
double es_energy_joules(es_energy *e);
void es_energy_close(es_energy *e);

#endif
