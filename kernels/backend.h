/*
 * backend.h - what a backend owes device.c: an es_device whose first member is this struct, and a table of calls.
 *
 * Seen by the files of kernels/ only. A backend is opened by its own function (es_cpu_open, es_cuda_open) and from then
 * on reached through these two tables.
 */
#ifndef ES_BACKEND_H
#define ES_BACKEND_H

#include "kernels/device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct es_device_calls {
    void (*close)(es_device *d);
    void (*describe)(const es_device *d, es_device_facts *out);
    void *(*take_arena)(es_device *d, size_t bytes, es_fault *why);
    void (*put)(es_device *d, void *dst, const void *src, size_t bytes);
    void (*get)(es_device *d, void *dst, const void *src, size_t bytes);
    void (*fill)(es_device *d, void *dst, int byte, size_t bytes);
    void (*record)(es_device *d);
    es_graph *(*record_end)(es_device *d);
    void (*replay)(es_device *d, es_graph *g);
    int (*sync)(es_device *d, es_fault *fault);
    uint64_t (*allocations)(const es_device *d);
} es_device_calls;

struct es_device {
    es_backend backend;
    const es_ops *ops;
    const es_device_calls *calls;
};

/* Fills *why (which may be NULL) and returns code. */
int es_fault_set(es_fault *why, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

int es_cpu_open(es_device **out, int threads, const char *isa, es_fault *why);
extern const es_ops es_cpu_ops;

/* Defined by the files of the CUDA backend, where it is built (ES_HAVE_CUDA). */
int es_cuda_count(es_fault *why);
int es_cuda_open(es_device **out, int index, es_fault *why);

#ifdef __cplusplus
}
#endif
#endif
