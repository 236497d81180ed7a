/*
 * verify.h - a pack's model against what its makers, or those who ran it before, published.
 *
 * Weights that are whole may still be the wrong ones, or be computed wrongly: bytes and hashes do not tell. Where numbers or
 * words are published for a model, they are computed here again and compared; where none are, that is said.
 */
#ifndef ES_VERIFY_H
#define ES_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { ES_VERIFY_MOST = 64 };

typedef struct es_verify_options {
    const char *pack;      /* a path, or the name of one in the folder */
    const char *models;    /* that folder */
    const char *recording; /* for speech models: one whose words are known; NULL: one is looked for */
    const char *device;
    uint64_t budget;
    int threads;
} es_verify_options;

/* One number: computed, published, and how far apart they may be. */
typedef struct es_verify_number {
    char what[128];
    double have, want, within;
    bool decides; /* else it is told, but the source does not say how it was computed */
} es_verify_number;

typedef struct es_verify_result {
    char name[64], architecture[32];
    char against[512]; /* what was compared with, or why nothing was */
    char heard[1024];  /* speech: the words */
    es_verify_number number[ES_VERIFY_MOST];
    int n; /* 0: nothing was compared */
    bool equal;
} es_verify_result;

bool es_verify_holds(const es_verify_number *n);
/* ES_OK also where the numbers differ: out->equal says so. Fails where the pack cannot be used. */
int es_verify(es_verify_result *out, const es_verify_options *o, es_err *err);

#endif
