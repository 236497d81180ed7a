/*
 * device.cu - a CUDA device: the one allocation, copies through pinned memory, captured graphs, the sticky fault.
 *
 * Everything that CUDA itself would allocate is made to happen at open: the context, the streams, the pinned ring, the
 * library handle; kernels are loaded eagerly (CUDA_MODULE_LOADING=EAGER is set before the first call). A captured graph is
 * sent to the device when its capture ends, not at its first launch. After the programs are captured the device's free
 * memory does not change until close.
 *
 * put() copies the caller's bytes into a pinned piece and starts the transfer on the compute stream, so it is ordered with
 * the ops and the caller may reuse its memory at once; a piece is written again only after its event. get() waits.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda.cuh"

void es_cuda_keep_fault(es_device *dev, const char *what, const char *reason, int code)
{
    es_cuda *d = es_cuda_of(dev);

    if (!d->fault.code) es_fault_set(&d->fault, code, "%s: %s", what, reason);
}

/* The current device belongs to the calling thread, which need not be the one that opened this one. */
cudaStream_t es_cuda_stream(es_device *d)
{
    cudaSetDevice(es_cuda_of(d)->index);
    return es_cuda_of(d)->stream;
}

void es_cuda_note(es_device *d, const char *what)
{
    cudaError_t e = cudaGetLastError();

    if (e != cudaSuccess) es_cuda_keep_fault(d, what, cudaGetErrorString(e), (int)e);
}

void *es_cuda_workspace(es_device *dev, size_t *bytes)
{
    es_cuda *d = es_cuda_of(dev);

    *bytes = es_backend_traits(ES_CUDA)->workspace_bytes(0) - ES_CUDA_BIAS_BYTES;
    return d->arena;
}

int es_cuda_sms(const es_device *d)
{
    return ((const es_cuda *)d)->sms;
}

size_t es_cuda_block_shared(const es_device *d)
{
    return ((const es_cuda *)d)->block_shared;
}

static void check(es_cuda *d, const char *what, cudaError_t e)
{
    if (e != cudaSuccess) es_cuda_keep_fault(&d->base, what, cudaGetErrorString(e), (int)e);
}

/* ---- open and close ---- */

/* The only places of the backend that ask CUDA for memory. */
static cudaError_t take(es_cuda *d, void **p, size_t bytes)
{
    d->allocations++;
    return cudaMalloc(p, bytes);
}

static cudaError_t take_pinned(es_cuda *d, void **p, size_t bytes)
{
    d->allocations++;
    return cudaHostAlloc(p, bytes, cudaHostAllocDefault);
}

/* Launched once at open: a program without code for the card says so there, and local memory is set up. */
static __global__ void nothing()
{
}

static void cuda_close(es_device *dev)
{
    es_cuda *d = es_cuda_of(dev);

    cudaSetDevice(d->index);
    if (d->stream) cudaStreamSynchronize(d->stream);
    for (int i = 0; i < d->n_graphs; i++) cudaGraphExecDestroy(d->graph[i]);
    es_cuda_lt_close(&d->lt);
    for (int i = 0; i < ES_CUDA_RING; i++) {
        if (d->ring_free[i]) cudaEventDestroy(d->ring_free[i]);
        if (d->ring[i]) cudaFreeHost(d->ring[i]);
    }
    if (d->arena) cudaFree(d->arena);
    if (d->side) cudaStreamDestroy(d->side);
    if (d->stream) cudaStreamDestroy(d->stream);
    free(d);
}

static void cuda_describe(const es_device *dev, es_device_facts *out)
{
    const es_cuda *d = (const es_cuda *)dev;
    cudaDeviceProp p;
    size_t left = 0, all = 0;
    int driver = 0, runtime = 0;

    memset(out, 0, sizeof *out);
    cudaSetDevice(d->index);
    if (cudaGetDeviceProperties(&p, d->index) == cudaSuccess) {
        snprintf(out->name, sizeof out->name, "%.100s", p.name);
        out->sm = p.major * 10 + p.minor;
    }
    cudaMemGetInfo(&left, &all);
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    out->bytes = all;
    out->bytes_free = left;
    snprintf(out->driver, sizeof out->driver, "driver %d.%d, runtime %d.%d, cublasLt %zu", driver / 1000,
             driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, d->lt.version ? d->lt.version() : 0);
}

static void *cuda_take_arena(es_device *dev, size_t bytes, es_fault *why)
{
    es_cuda *d = es_cuda_of(dev);
    size_t left = 0, all = 0;
    cudaError_t e;

    if (d->arena) {
        es_fault_set(why, 1, "the arena of this device is already taken");
        return NULL;
    }
    cudaSetDevice(d->index);
    cudaMemGetInfo(&left, &all);
    e = take(d, &d->arena, bytes);
    if (e != cudaSuccess) {
        cudaGetLastError();
        d->arena = NULL;
        es_fault_set(why, (int)e, "cannot take %zu bytes: %zu of %zu are free (%s)", bytes, left, all,
                     cudaGetErrorString(e));
        return NULL;
    }
    d->arena_bytes = bytes;
    d->at_arena = d->allocations;
    return d->arena;
}

/* ---- copies ---- */

static void cuda_put(es_device *dev, void *dst, const void *src, size_t bytes)
{
    es_cuda *d = es_cuda_of(dev);

    cudaSetDevice(d->index);
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < ES_CUDA_PIECE ? bytes - at : (size_t)ES_CUDA_PIECE;
        unsigned piece = d->ring_at++ % ES_CUDA_RING;
        check(d, "put", cudaEventSynchronize(d->ring_free[piece]));
        memcpy(d->ring[piece], (const char *)src + at, n);
        check(d, "put", cudaMemcpyAsync((char *)dst + at, d->ring[piece], n, cudaMemcpyHostToDevice, d->stream));
        check(d, "put", cudaEventRecord(d->ring_free[piece], d->stream));
        at += n;
    }
}

static void cuda_get(es_device *dev, void *dst, const void *src, size_t bytes)
{
    es_cuda *d = es_cuda_of(dev);

    cudaSetDevice(d->index);
    for (size_t at = 0; at < bytes;) {
        size_t n = bytes - at < ES_CUDA_PIECE ? bytes - at : (size_t)ES_CUDA_PIECE;
        unsigned piece = d->ring_at++ % ES_CUDA_RING;
        check(d, "get", cudaEventSynchronize(d->ring_free[piece]));
        check(d, "get", cudaMemcpyAsync(d->ring[piece], (const char *)src + at, n, cudaMemcpyDeviceToHost, d->stream));
        check(d, "get", cudaStreamSynchronize(d->stream));
        memcpy((char *)dst + at, d->ring[piece], n);
        at += n;
    }
}

static void cuda_fill(es_device *dev, void *dst, int byte, size_t bytes)
{
    es_cuda *d = es_cuda_of(dev);

    cudaSetDevice(d->index);
    if (bytes) check(d, "fill", cudaMemsetAsync(dst, byte, bytes, d->stream));
}

/* ---- graphs ---- */

static void cuda_record(es_device *dev)
{
    es_cuda *d = es_cuda_of(dev);

    /* What has been put on the device is there before the side stream reads it. */
    cudaSetDevice(d->index);
    check(d, "record", cudaStreamSynchronize(d->stream));
    /* Relaxed: preparations on the side stream are allowed meanwhile. */
    check(d, "record", cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeRelaxed));
    d->recording = 1;
}

static es_graph *cuda_record_end(es_device *dev)
{
    es_cuda *d = es_cuda_of(dev);
    cudaGraph_t g = NULL;
    cudaError_t e;

    d->recording = 0;
    e = cudaStreamEndCapture(d->stream, &g);
    check(d, "record", e);
    if (e == cudaSuccess && d->n_graphs == ES_CUDA_MAX_GRAPHS)
        es_cuda_keep_fault(dev, "record", "more programs than graphs", 1);
    else if (e == cudaSuccess)
        check(d, "record", cudaGraphInstantiate(&d->graph[d->n_graphs], g, 0));
    if (g) cudaGraphDestroy(g);
    check(d, "record", cudaStreamSynchronize(d->side));
    if (d->fault.code) return (es_graph *)d; /* replay does nothing then, and sync tells */
    check(d, "record", cudaGraphUpload(d->graph[d->n_graphs], d->stream));
    return (es_graph *)&d->graph[d->n_graphs++];
}

static void cuda_replay(es_device *dev, es_graph *g)
{
    es_cuda *d = es_cuda_of(dev);

    if (d->fault.code) return;
    cudaSetDevice(d->index);
    check(d, "replay", cudaGraphLaunch(*(cudaGraphExec_t *)g, d->stream));
}

static int cuda_sync(es_device *dev, es_fault *fault)
{
    es_cuda *d = es_cuda_of(dev);

    cudaSetDevice(d->index);
    check(d, "the last program", cudaStreamSynchronize(d->stream));
    if (fault) *fault = d->fault;
    return d->fault.code;
}

static uint64_t cuda_allocations(const es_device *dev)
{
    const es_cuda *d = (const es_cuda *)dev;

    return d->arena ? d->allocations - d->at_arena : 0;
}

static const es_device_calls cuda_calls = {cuda_close, cuda_describe, cuda_take_arena, cuda_put,    cuda_get, cuda_fill,
                                           cuda_record, cuda_record_end, cuda_replay,  cuda_sync, cuda_allocations};

extern "C" int es_cuda_count(es_fault *why)
{
    int n = 0, driver = 0;
    cudaError_t e;

    setenv("CUDA_MODULE_LOADING", "EAGER", 0);
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
        es_fault_set(why, 1, "no CUDA device can be used: there is no NVIDIA driver on this machine");
        return 0;
    }
    e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess) {
        cudaGetLastError();
        es_fault_set(why, (int)e, "no CUDA device can be used: %s", cudaGetErrorString(e));
        return 0;
    }
    if (n == 0) es_fault_set(why, 1, "there is no CUDA device");
    return n;
}

extern "C" int es_cuda_open(es_device **out, int index, es_fault *why)
{
    es_cuda *d;
    cudaDeviceProp p;
    cudaError_t e;
    int n = es_cuda_count(why);

    *out = NULL;
    if (n == 0) return why && why->code ? why->code : 1;
    if (index < 0 || index >= n) return es_fault_set(why, 1, "there is no CUDA device %d: %d found", index, n);
    d = (es_cuda *)calloc(1, sizeof *d);
    if (!d) return es_fault_set(why, 1, "cannot allocate the device");
    d->base.backend = ES_CUDA;
    d->base.ops = &es_cuda_ops;
    d->base.calls = &cuda_calls;
    d->index = index;
    e = cudaSetDevice(index);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&p, index);
    if (e == cudaSuccess && p.major < 8) {
        free(d);
        return es_fault_set(why, 1, "CUDA device %d (%.100s) is sm_%d%d; sm_80 or newer is needed", index, p.name, p.major,
                            p.minor);
    }
    if (e == cudaSuccess) d->sms = p.multiProcessorCount, d->block_shared = p.sharedMemPerBlockOptin;
    if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking);
    if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&d->side, cudaStreamNonBlocking);
    for (int i = 0; i < ES_CUDA_RING && e == cudaSuccess; i++) {
        e = take_pinned(d, &d->ring[i], ES_CUDA_PIECE);
        if (e == cudaSuccess) e = cudaEventCreateWithFlags(&d->ring_free[i], cudaEventDisableTiming);
    }
    if (e == cudaSuccess) {
        ES_LAUNCH(&d->base, nothing, 1, 32, 0);
        if (!d->fault.code) check(d, "open", cudaStreamSynchronize(d->stream));
        if (d->fault.code) {
            es_fault_set(why, d->fault.code, "CUDA device %d (%.100s, sm_%d%d) cannot run this program: %s", index, p.name,
                         p.major, p.minor, d->fault.text);
            cuda_close(&d->base);
            return 1;
        }
    }
    if (e != cudaSuccess) {
        es_fault_set(why, (int)e, "CUDA device %d cannot be opened: %s", index, cudaGetErrorString(e));
        cuda_close(&d->base);
        return (int)e;
    }
    if (es_cuda_lt_open(&d->lt, why)) {
        cuda_close(&d->base);
        return 1;
    }
    *out = &d->base;
    return 0;
}
