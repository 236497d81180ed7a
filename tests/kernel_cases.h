/*
 * kernel_cases.h - the op tests, written once for every backend.
 *
 * A rig is an open device with an arena; a case moves its inputs there with es_device_put, calls one op, and compares
 * what es_device_get brings back with ref.h. Every tensor lies between guard words, which are looked at after each
 * case.
 *
 * The bound is earned: the error may be at most twice that of the naive loop in float over the same stored values, plus
 * one rounding unit of the storage type. Both errors are taken as the largest of the tensor, and so is the size the
 * unit refers to.
 */
#ifndef ES_KERNEL_CASES_H
#define ES_KERNEL_CASES_H

#include "kernels/device.h"

typedef struct es_rig {
    es_device *d; /* borrowed; its arena is taken by es_rig_open */
    const es_ops *o;
    const es_traits *traits;
    char *arena;
    size_t start, at, bytes;
    double most_work; /* shapes with more multiplications are left out (an emulator is slow); 0: none are */
    uint64_t hash;    /* of the bytes of every output so far: equal bits, equal hash */
    int n_blocks;
    struct es_rig_block {
        char *p;
        size_t bytes;
    } blocks[64];
} es_rig;

/* 0, or -1 after a failure has been counted. threads: as the device was opened. */
int es_rig_open(es_rig *r, es_device *d, int threads, size_t bytes);

int es_kernel_cases(void);              /* how many there are */
const char *es_kernel_case_name(int i); /* "linear", "attend", ... */
void es_kernel_case_run(es_rig *r, int i);

#endif
