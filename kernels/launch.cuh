/*
 * launch.cuh - how the .cu files reach a device: one launch macro, shared memory, the dtype switch.
 *
 * The same source is compiled twice: by nvcc for cards, and as host C++ with ES_SIMT defined for the emulator in tests/simt,
 * which runs every thread on the CPU. So nothing here or in a kernel uses <<<>>>, `__shared__` or `extern __shared__` bare:
 *
 *   ES_LAUNCH(d, kernel, grid, block, smem_bytes, args...)   kernel in parentheses when its template list has a comma
 *   ES_SHARED(float, tile, 64 * 16);                          a static array of a block
 *   ES_SMEM(float, buffer);                                   the block's dynamic shared memory
 *   ES_SYNC(); ES_SYNC_WARP(); ES_SHFL_XOR(v, lane) ...       barriers and shuffles of a full warp
 *
 * A launch goes to the device's stream; its error is kept with the op's name and given by es_device_sync().
 */
#ifndef ES_LAUNCH_CUH
#define ES_LAUNCH_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/kernels.h"

#ifdef ES_SIMT
#include "simt.h"
#define ES_LAUNCH(d, kernel, grid, block, smem, ...)                                                                   \
    do {                                                                                                               \
        simt::launch(#kernel, dim3(grid), dim3(block), smem, es_cuda_stream(d), [=]() { kernel(__VA_ARGS__); });       \
        es_cuda_note(d, #kernel);                                                                                      \
    } while (0)
#define ES_SHARED(type, name, count)                                                                                   \
    type *name = static_cast<type *>(simt::shared(sizeof(type) * (count), alignof(type), __FILE__, __LINE__))
#define ES_SMEM(type, name) type *name = reinterpret_cast<type *>(simt::dynamic_shared())
#define ES_SYNC() simt::sync_threads(__FILE__, __LINE__)
#define ES_SYNC_WARP() simt::sync_warp(__FILE__, __LINE__)
#define ES_SHFL_XOR(v, bits) simt::shuffle_xor(v, bits, __FILE__, __LINE__)
#define ES_SHFL_DOWN(v, by) simt::shuffle_down(v, by, __FILE__, __LINE__)
#define ES_SHFL_UP(v, by) simt::shuffle_up(v, by, __FILE__, __LINE__)
#define ES_SHFL(v, lane) simt::shuffle(v, lane, __FILE__, __LINE__)
#define ES_BALLOT(p) simt::ballot(p, __FILE__, __LINE__)
#define ES_UNROLL
#define ES_ROLLED
#define ES_OPAQUE(v) (void)(v)
#else
#define ES_LAUNCH(d, kernel, grid, block, smem, ...)                                                                   \
    do {                                                                                                               \
        kernel<<<grid, block, smem, es_cuda_stream(d)>>>(__VA_ARGS__);                                                 \
        es_cuda_note(d, #kernel);                                                                                      \
    } while (0)
#define ES_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define ES_SMEM(type, name)                                                                                            \
    extern __shared__ __align__(128) unsigned char es_smem_bytes[];                                                    \
    type *name = reinterpret_cast<type *>(es_smem_bytes)
#define ES_SYNC() __syncthreads()
#define ES_SYNC_WARP() __syncwarp()
#define ES_SHFL_XOR(v, bits) __shfl_xor_sync(0xffffffffu, v, bits)
#define ES_SHFL_DOWN(v, by) __shfl_down_sync(0xffffffffu, v, by)
#define ES_SHFL_UP(v, by) __shfl_up_sync(0xffffffffu, v, by)
#define ES_SHFL(v, lane) __shfl_sync(0xffffffffu, v, lane)
#define ES_BALLOT(p) __ballot_sync(0xffffffffu, p)
#define ES_UNROLL _Pragma("unroll")
#define ES_ROLLED _Pragma("unroll 1")
#define ES_OPAQUE(v) asm volatile("" : "+r"(v)) /* what follows from v is computed behind this, not ahead of a loop */
#endif

/* device.cu: the stream of a CUDA device, and a place to keep the first error of a launch with its name. */
cudaStream_t es_cuda_stream(es_device *d);
void es_cuda_note(es_device *d, const char *what);
/* The device's workspace at the start of its arena, for the op that is running. */
void *es_cuda_workspace(es_device *d, size_t *bytes);
/* Multiprocessors of the card: grids of persistent kernels. */
int es_cuda_sms(const es_device *d);
/* Bytes of shared memory that a block may ask for. */
size_t es_cuda_block_shared(const es_device *d);

/* Raises the limit of dynamic shared memory of a kernel; called before launches that want more than 48 KB. */
#define ES_ALLOW_SMEM(kernel, bytes)                                                                                   \
    cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes))

/* Storage types by dtype: a switch in the launcher, templates below it. body sees the type T. */
#define ES_SWITCH_FLOAT(dtype, T, ...)                                                                                 \
    switch (dtype) {                                                                                                   \
    case ES_F16: {                                                                                                     \
        typedef __half T;                                                                                              \
        __VA_ARGS__;                                                                                                   \
    } break;                                                                                                           \
    case ES_BF16: {                                                                                                    \
        typedef __nv_bfloat16 T;                                                                                       \
        __VA_ARGS__;                                                                                                   \
    } break;                                                                                                           \
    default: {                                                                                                         \
        typedef float T;                                                                                               \
        __VA_ARGS__;                                                                                                   \
    } break;                                                                                                           \
    }

static __device__ __forceinline__ float es_load(const float *p)
{
    return *p;
}
static __device__ __forceinline__ float es_load(const __half *p)
{
    return __half2float(*p);
}
static __device__ __forceinline__ float es_load(const __nv_bfloat16 *p)
{
    return __bfloat162float(*p);
}
static __device__ __forceinline__ void es_store(float *p, float v)
{
    *p = v;
}
/* Saturating: an activation beyond f16 becomes the largest finite value, never infinity; NaN stays NaN. */
static __device__ __forceinline__ void es_store(__half *p, float v)
{
    *p = __float2half_rn(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v);
}
static __device__ __forceinline__ void es_store(__nv_bfloat16 *p, float v)
{
    *p = __float2bfloat16_rn(v);
}

#endif
