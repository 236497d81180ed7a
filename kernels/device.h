/*
 * device.h - a device: its one block of memory, copies, captured graphs and the sticky fault.
 *
 * A CPU device owns a pool of threads; a CUDA device a context, one compute stream and a pinned staging ring. Memory is
 * taken once (es_device_take_arena) and given back at close; nothing is allocated in between. Used from one thread at a
 * time. A fault on the device does not interrupt the program: it is kept, with the name of the op that met it, and given
 * by es_device_sync().
 */
#ifndef ES_DEVICE_H
#define ES_DEVICE_H

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct es_fault {
    int code; /* 0: none */
    char text[256];
} es_fault;

typedef struct es_device_facts {
    char name[128];          /* "NVIDIA GeForce RTX 5080", "AMD EPYC ... (AVX-512)" */
    char driver[64];         /* versions, or what is missing */
    int sm;                  /* 120; 0 on the CPU */
    int threads;             /* of the pool; 0 on CUDA */
    uint64_t bytes, bytes_free;
} es_device_facts;

/* Number of usable devices of a backend; 0 with the reason in *why (may be NULL) where there is none. */
int es_device_count(es_backend b, es_fault *why);

/* threads: CPU only, 0 takes the machine's cores. isa: NULL, or "portable", "avx2", "avx512" to hold the CPU back for
 * tests. On failure *out is NULL and *why says it. */
int es_device_open(es_device **out, es_backend b, int index, int threads, const char *isa, es_fault *why);
void es_device_close(es_device *d); /* accepts NULL; gives the arena back */

const es_ops *es_device_ops(const es_device *d);
es_backend es_device_backend(const es_device *d);
void es_device_describe(const es_device *d, es_device_facts *out);

/* The one allocation. May be called once. The first workspace_bytes() of it are the ops' own. On the CPU every page is
 * touched, so that a lack of memory shows here. NULL with *why set on failure. */
void *es_device_take_arena(es_device *d, size_t bytes, es_fault *why);

/* Copies between the host and the arena, ordered with the ops. put returns when src may be reused; get when dst holds
 * the bytes. */
void es_device_put(es_device *d, void *dst, const void *src, size_t bytes);
void es_device_get(es_device *d, void *dst, const void *src, size_t bytes);
void es_device_fill(es_device *d, void *dst, int byte, size_t bytes);

/* A program as a graph: ops called between begin and end are recorded (and on the CPU simply run). */
typedef struct es_graph es_graph;
void es_device_record(es_device *d);
es_graph *es_device_record_end(es_device *d); /* the device's own, freed at close; NULL on the CPU */
void es_device_replay(es_device *d, es_graph *g);

/* Waits for everything asked for; 0, or the first fault since open with its op's name. */
int es_device_sync(es_device *d, es_fault *fault);

/* Allocations the backend made since open (device memory, and on the CPU malloc of our own code): tests ask for 0. */
uint64_t es_device_allocations(const es_device *d);

#ifdef __cplusplus
}
#endif
#endif
