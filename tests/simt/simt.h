/*
 * simt.h - runs CUDA kernels on the CPU, thread by thread.
 *
 * A .cu file is compiled as host C++ with ES_SIMT defined and tests/simt/include in front, and its launches come here. Each
 * block's threads are fibers; a fiber runs until it meets a barrier, a warp collective, an asynchronous wait or its end.
 * Threads and blocks are taken in forward, reverse or shuffled order (simt::set_order): a result that depends on the order
 * is a missing barrier. A barrier that some threads never reach, a collective met by a part of its warp, or one met at two
 * places at once ends the launch with a report that names the kernel, the block, and the threads with their source lines.
 *
 * Shared memory is filled with 0xFF (NaN) at the start of a block, its arrays stand between guard words that are checked at
 * the end, and under AddressSanitizer the guards are poisoned, so a stray access is reported where it happens.
 */
#ifndef SIMT_H
#define SIMT_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#include <cuda_runtime.h>

namespace simt {

enum order { forward, reverse, shuffled };

/* Of threads and blocks, and of work on different streams: forward runs work as soon as it is given, reverse as late as
 * an event or a synchronisation allows. */
void set_order(order o, uint64_t seed); /* also by ES_SIMT_ORDER=forward|reverse|shuffled[:SEED] in the environment */

/* What to do with a report: by default print it and abort; tests of the emulator take it instead. */
typedef void (*report_fn)(void *user, const char *text);
void set_report(report_fn fn, void *user);
uint64_t launches(); /* kernels run so far */

/* Dynamic shared memory a block may have: that of the smallest card, or the KB in ES_SIMT_SHARED. */
size_t shared_limit();

void launch(const char *kernel, dim3 grid, dim3 block, size_t smem, cudaStream_t stream, std::function<void()> body);

/* ---- called by kernels ---- */
struct idx {
    unsigned x, y, z;
};
struct thread_view {
    idx thread, block;
    dim3 block_dim, grid_dim;
    int lane;
};
const thread_view &self();

void *shared(size_t bytes, size_t align, const char *file, int line);
void *dynamic_shared();
void sync_threads(const char *file, int line);

/* A warp collective: every live lane of the warp hands in `bytes` (at most 64) and gets what fn wrote for it. fn is run
 * once for the warp when the last lane has arrived; lanes that ended are absent (their `present` bit is 0). */
struct lane_io {
    alignas(16) unsigned char in[96];
    alignas(16) unsigned char out[64];
};
typedef void (*collective_fn)(lane_io *lanes, uint32_t present);
void collective(const char *name, collective_fn fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                const char *file, int line);

void sync_warp(const char *file, int line);
uint32_t ballot(bool p, const char *file, int line);

/* Asynchronous copies of one thread: carried out when a wait covers their group; until then the target holds 0xFF. */
void async_copy(void *to, const void *from, size_t bytes, size_t valid);
void async_commit();
void async_wait(int newest_left);

void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check_shared(const void *p, size_t bytes, size_t align, const char *what); /* inside the block's shared memory? */

/* ---- shuffles ---- */
void shuffle_bytes(const void *in, void *out, size_t bytes, int mode, int arg, const char *file, int line);
template <class T> T shuffle_any(T v, int mode, int arg, const char *file, int line)
{
    T r;
    static_assert(sizeof(T) <= 32, "shuffled value");
    shuffle_bytes(&v, &r, sizeof v, mode, arg, file, line);
    return r;
}
template <class T> T shuffle(T v, int lane, const char *f, int l)
{
    return shuffle_any(v, 0, lane, f, l);
}
template <class T> T shuffle_xor(T v, int bits, const char *f, int l)
{
    return shuffle_any(v, 1, bits, f, l);
}
template <class T> T shuffle_up(T v, int by, const char *f, int l)
{
    return shuffle_any(v, 2, by, f, l);
}
template <class T> T shuffle_down(T v, int by, const char *f, int l)
{
    return shuffle_any(v, 3, by, f, l);
}

} // namespace simt

#define threadIdx (simt::self().thread)
#define blockIdx (simt::self().block)
#define blockDim (simt::self().block_dim)
#define gridDim (simt::self().grid_dim)
#define warpSize 32

#endif
