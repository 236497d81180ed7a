/*
 * frames.cu - ops along time: pooling, and norms of a channel over its frames. The recurrent layer is in lstm.cu.
 *
 * maxpool: a thread per output. norm_time: a block per window and 32 channels, a warp's lanes on neighbouring channels so
 * that loads are whole lines; 8 warps share the frames, their sums join in the order of the warps; two passes. Where there is
 * one channel, a waveform, its 512 threads take 16 bytes each in turn.
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

enum { LANES = 32, WARPS = 8 };

static __device__ __forceinline__ float frame_act(float v, int act)
{
    return act == ES_ACT_LEAKY ? (v > 0 ? v : 0.01f * v) : act == ES_ACT_RELU ? (v > 0 ? v : 0) : v;
}

template <class T>
static __global__ void pool_frames(T *y, const T *x, const int32_t *batches, int B, int Ti, int To, int C, int K, int absolute)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int b = (int)blockIdx.y;

    if (b >= es_live_rows(batches, B) || i >= (size_t)To * (size_t)C) return;
    int t = (int)(i / (size_t)C), c = (int)(i % (size_t)C);
    float best = -INFINITY;
    for (int k = 0; k < K; k++) {
        float v = es_load(x + ((size_t)b * (size_t)Ti + (size_t)(t * K + k)) * (size_t)C + c);
        best = fmaxf(best, absolute ? fabsf(v) : v);
    }
    es_store(y + (size_t)b * (size_t)To * (size_t)C + i, best);
}

template <class T>
static __global__ void norm_channels(T *y, const T *x, const float *g, const float *bias, const int32_t *batches, int B, int n, int C,
                                     float eps, int act)
{
    ES_SHARED(float, part, WARPS *LANES);
    int b = (int)blockIdx.y, c = (int)blockIdx.x * LANES + (int)threadIdx.x % LANES, warp = (int)threadIdx.x / LANES;
    const T *in = x + (size_t)b * (size_t)n * (size_t)C;
    T *out = y + (size_t)b * (size_t)n * (size_t)C;
    float sum = 0, square = 0;

    if (b >= es_live_rows(batches, B)) return;
    for (int t = warp; t < n && c < C; t += WARPS) sum += es_load(in + (size_t)t * (size_t)C + c);
    float mean = es_lane_sum(sum, part) / (float)n;
    for (int t = warp; t < n && c < C; t += WARPS) {
        float d = es_load(in + (size_t)t * (size_t)C + c) - mean;
        square = fmaf(d, d, square);
    }
    float by = 1.0f / sqrtf(es_lane_sum(square, part) / (float)n + eps);
    for (int t = warp; t < n && c < C; t += WARPS)
        es_store(out + (size_t)t * (size_t)C + c, frame_act((es_load(in + (size_t)t * (size_t)C + c) - mean) * by * g[c] + bias[c], act));
}

template <class T, int N>
static __global__ void norm_wave(T *y, const T *x, const float *g, const float *bias, const int32_t *batches, int B, int n, float eps, int act)
{
    ES_SHARED(float, part, 32);
    int b = (int)blockIdx.x, step = (int)blockDim.x * N;
    const T *in = x + (size_t)b * (size_t)n;
    T *out = y + (size_t)b * (size_t)n;
    float sum = 0, square = 0, v[N];

    if (b >= es_live_rows(batches, B)) return;
    for (int t = (int)threadIdx.x * N; t < n; t += step) {
        es_load_few<N>(v, in + t);
        ES_UNROLL
        for (int i = 0; i < N; i++) sum += v[i];
    }
    float mean = es_block_sum(sum, part) / (float)n;
    for (int t = (int)threadIdx.x * N; t < n; t += step) {
        es_load_few<N>(v, in + t);
        ES_UNROLL
        for (int i = 0; i < N; i++) square = fmaf(v[i] - mean, v[i] - mean, square);
    }
    float by = 1.0f / sqrtf(es_block_sum(square, part) / (float)n + eps), gain = g[0], shift = bias[0];
    for (int t = (int)threadIdx.x * N; t < n; t += step) {
        es_load_few<N>(v, in + t);
        ES_UNROLL
        for (int i = 0; i < N; i++) v[i] = frame_act((v[i] - mean) * by * gain + shift, act);
        es_store_few<N>(out + t, v);
    }
}

void es_cuda_maxpool(es_device *d, es_dtype t, void *y, const void *x, const int32_t *batches, int B, int Ti, int C, int K,
                     bool absolute)
{
    int To = Ti / K;
    dim3 grid((unsigned)(((size_t)To * (size_t)C + 255) / 256), (unsigned)B);

    if (To == 0) return;
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, pool_frames<T>, grid, 256, 0, (T *)y, (const T *)x, batches, B, Ti, To, C, K, (int)absolute))
}

void es_cuda_norm_time(es_device *d, es_dtype t, void *y, const void *x, const float *g, const float *b, const int32_t *batches,
                       int B, int T_, int C, float eps, es_act act)
{
    dim3 grid((unsigned)((C + LANES - 1) / LANES), (unsigned)B);

    if (act != ES_ACT_NONE && act != ES_ACT_LEAKY && act != ES_ACT_RELU) {
        es_cuda_keep_fault(d, "norm_time", "an activation that is neither relu nor leaky", 1);
        return;
    }
    if (C == 1) {
        ES_SWITCH_FLOAT(t, T,
                        enum { N = es_vector<T>::N };
                        if (T_ % N == 0 && es_aligned16(x) && es_aligned16(y))
                            ES_LAUNCH(d, (norm_wave<T, N>), (unsigned)B, 512, 0, (T *)y, (const T *)x, g, b, batches, B, T_, eps, (int)act);
                        else ES_LAUNCH(d, (norm_wave<T, 1>), (unsigned)B, 512, 0, (T *)y, (const T *)x, g, b, batches, B, T_, eps, (int)act))
        return;
    }
    ES_SWITCH_FLOAT(t, T,
                    ES_LAUNCH(d, norm_channels<T>, grid, LANES * WARPS, 0, (T *)y, (const T *)x, g, b, batches, B, T_, C, eps, (int)act))
}
