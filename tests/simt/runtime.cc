/*
 * runtime.cc - the emulated CUDA runtime: memory, streams as queues of work, events, captured graphs.
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "simt.h"

#include <cuda_runtime.h>

typedef std::function<void()> work;

/* A record is numbered when it is asked for; a wait refers to the number the event had at that moment. */
struct simt_event {
    uint64_t asked = 0, done = 0;
    simt_stream *stream = nullptr; /* of the newest record */
    std::chrono::steady_clock::time_point at;
};

struct task {
    work run;                 /* empty for a wait */
    simt_event *wait = nullptr;
    uint64_t number = 0;
};

struct simt_stream {
    std::deque<task> queue;
    bool capturing = false, draining = false;
    std::vector<task> captured;
};
struct simt_graph {
    std::vector<task> tasks;
};
struct simt_graph_exec {
    std::vector<task> tasks;
};

static bool lazy;
static uint64_t allocations;
static cudaError_t last, pending;

static void drain(simt_stream *s)
{
    if (s->draining) return; /* a wait that leads back here: the event is recorded later in this very stream */
    s->draining = true;
    while (!s->queue.empty()) {
        task t = s->queue.front();
        s->queue.pop_front();
        if (t.wait) {
            while (t.wait->done < t.number && t.wait->stream && !t.wait->stream->queue.empty()) {
                simt_stream *other = t.wait->stream;
                if (other->draining) break;
                drain(other);
            }
        } else {
            t.run();
        }
    }
    s->draining = false;
}

/* Runs a stream only as far as an event asks for. */
static void drain_until(simt_event *e, uint64_t number)
{
    simt_stream *s = e->stream;

    if (!s || s->draining) return;
    while (e->done < number && !s->queue.empty()) {
        task t = s->queue.front();
        s->queue.pop_front();
        if (t.wait) drain_until(t.wait, t.number);
        else t.run();
    }
}

static void give(simt_stream *s, task t)
{
    if (!s) {
        if (t.run) t.run();
        return;
    }
    if (s->capturing) {
        s->captured.push_back(std::move(t));
        return;
    }
    s->queue.push_back(std::move(t));
    if (!lazy) {
        while (!s->queue.empty()) {
            task next = s->queue.front();
            s->queue.pop_front();
            if (next.wait) drain_until(next.wait, next.number);
            else next.run();
        }
    }
}

void simt_runtime_enqueue(cudaStream_t s, work w)
{
    task t;
    t.run = std::move(w);
    give(s, std::move(t));
}
void simt_runtime_set_lazy(bool on)
{
    lazy = on;
}
uint64_t simt_runtime_allocations()
{
    return allocations;
}
void simt_runtime_set_fault(cudaError_t e)
{
    pending = e;
}

static cudaError_t note(cudaError_t e)
{
    if (e != cudaSuccess) last = e;
    return e;
}

const char *cudaGetErrorString(cudaError_t e)
{
    switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInitializationError: return "initialization error";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    }
    return "unknown error";
}
const char *cudaGetErrorName(cudaError_t e)
{
    return cudaGetErrorString(e);
}
cudaError_t cudaGetLastError()
{
    cudaError_t e = last;
    last = cudaSuccess;
    return e;
}
cudaError_t cudaPeekAtLastError()
{
    return last;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device)
{
    return note(device == 0 ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device != 0) return note(cudaErrorInvalidValue);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "SIMT emulator");
    p->totalGlobalMem = size_t(16) << 30;
    p->major = 8;
    p->minor = 0;
    p->multiProcessorCount = 4;
    p->sharedMemPerBlockOptin = simt::shared_limit();
    p->l2CacheSize = 1 << 20;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr a, int)
{
    switch (a) {
    case cudaDevAttrMultiProcessorCount: *v = 4; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *v = 8; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *v = 0; return cudaSuccess;
    }
    fprintf(stderr, "simt: cudaDeviceGetAttribute(%d) is not known here\n", int(a));
    abort();
}
cudaError_t cudaDriverGetVersion(int *v)
{
    *v = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *v)
{
    *v = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = size_t(16) << 30;
    *free = *total - (size_t(1) << 29);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    allocations++;
    if (bytes > size_t(16) << 30) return note(cudaErrorMemoryAllocation);
    *p = aligned_alloc(512, (bytes + 511) & ~size_t(511));
    if (!*p) return note(cudaErrorMemoryAllocation);
    memset(*p, 0xFF, bytes);
    return cudaSuccess;
}
cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags)
{
    if (flags != cudaHostAllocDefault) abort();
    return cudaMalloc(p, bytes);
}
cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    memmove(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t s)
{
    simt_runtime_enqueue(s, [=]() { memmove(to, from, bytes); });
    return cudaSuccess;
}
cudaError_t cudaMemset(void *p, int byte, size_t bytes)
{
    memset(p, byte, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *p, int byte, size_t bytes, cudaStream_t s)
{
    simt_runtime_enqueue(s, [=]() { memset(p, byte, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    if (flags != cudaStreamNonBlocking) {
        fprintf(stderr, "simt: a stream that synchronises with the default stream is not emulated\n");
        abort();
    }
    *s = new simt_stream;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    if (s) drain(s);
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    if (s && s->capturing) return note(cudaErrorInvalidValue);
    if (s) drain(s);
    cudaError_t e = pending;
    return note(e);
}
cudaError_t cudaStreamQuery(cudaStream_t s)
{
    return s->queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaDeviceSynchronize()
{
    return note(pending);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags)
{
    task t;
    if (flags) abort();
    t.wait = e;
    t.number = e->asked;
    if (t.number) give(s, std::move(t));
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    if (flags != cudaEventDefault && flags != cudaEventDisableTiming) abort();
    *e = new simt_event;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    uint64_t number = ++e->asked;
    e->stream = s;
    simt_runtime_enqueue(s, [=]() {
        e->done = number;
        e->at = std::chrono::steady_clock::now();
    });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    drain_until(e, e->asked);
    return note(pending);
}
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    return e->done == e->asked ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    *ms = std::chrono::duration<float, std::milli>(b->at - a->at).count();
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    if (!s || s->capturing) return note(cudaErrorInvalidValue);
    s->capturing = true;
    s->captured.clear();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g)
{
    if (!s || !s->capturing) return note(cudaErrorInvalidValue);
    s->capturing = false;
    *g = new simt_graph{std::move(s->captured)};
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags)
{
    if (flags) abort();
    *x = new simt_graph_exec{g->tasks};
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t x, cudaStream_t s)
{
    return note(x && s && !s->capturing ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s)
{
    for (const task &t : x->tasks) give(s, t);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    delete x;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute a, int v)
{
    if (a != cudaFuncAttributeMaxDynamicSharedMemorySize && a != cudaFuncAttributePreferredSharedMemoryCarveout) abort();
    if (a == cudaFuncAttributeMaxDynamicSharedMemorySize && size_t(v) > simt::shared_limit()) return note(cudaErrorInvalidValue);
    return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, const void *)
{
    memset(a, 0, sizeof *a);
    a->maxThreadsPerBlock = 1024;
    return cudaSuccess;
}
