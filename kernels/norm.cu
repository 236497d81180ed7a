/*
 * norm.cu - layernorm and rmsnorm on the device, with the residual in front.
 *
 * A warp per row while a row fits its registers (C <= 2048, a multiple of 16 bytes): 16-byte loads, every lane keeps its
 * share, so the second pass over the row for the variance is free and memory is read once. Gains and shifts come in 16
 * bytes as well: as single values they would cost a load of 8 lines each, and be the bound. Longer or odd rows take a block
 * each and read twice. Bound by bytes: read x (and r), write y (and x).
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

enum { WARPS = 4 };

template <class T, int CHUNKS, bool CENTRED>
static __global__ void norm_warp(T *y, T *x, const T *r, const float *g, const float *b, const int32_t *rows, int planned,
                                 int C, float eps)
{
    enum { N = es_vector<T>::N };
    int t = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    float v[CHUNKS][N], sum = 0, square = 0;

    if (t >= es_live_rows(rows, planned)) return;
    T *row = x + (size_t)t * (size_t)C;
    ES_UNROLL
    for (int k = 0; k < CHUNKS; k++) {
        int c = (k * 32 + lane) * N;
        if (c < C) {
            es_vector<T> a = es_load16(row + c);
            if (r) {
                es_vector<T> q = es_load16(r + (size_t)t * (size_t)C + c);
                ES_UNROLL
                for (int i = 0; i < N; i++) es_store(&a.v[i], es_load(&a.v[i]) + es_load(&q.v[i]));
                es_store16(row + c, a);
            }
            ES_UNROLL
            for (int i = 0; i < N; i++) {
                v[k][i] = es_load(&a.v[i]);
                sum += v[k][i];
            }
        } else {
            ES_UNROLL
            for (int i = 0; i < N; i++) v[k][i] = 0;
        }
    }
    float mean = CENTRED ? es_warp_sum(sum) / (float)C : 0;
    ES_UNROLL
    for (int k = 0; k < CHUNKS; k++) {
        if ((k * 32 + lane) * N < C) {
            ES_UNROLL
            for (int i = 0; i < N; i++) square = fmaf(v[k][i] - mean, v[k][i] - mean, square);
        }
    }
    float by = 1.0f / sqrtf(es_warp_sum(square) / (float)C + eps);
    ES_UNROLL
    for (int k = 0; k < CHUNKS; k++) {
        int c = (k * 32 + lane) * N;
        if (c < C) {
            float by_g[N], and_b[N];
            es_load_few<N>(by_g, g + c);
            if (CENTRED) es_load_few<N>(and_b, b + c);
            ES_UNROLL
            for (int i = 0; i < N; i++) v[k][i] = CENTRED ? (v[k][i] - mean) * by * by_g[i] + and_b[i] : v[k][i] * by * by_g[i];
            es_store_few<N>(y + (size_t)t * (size_t)C + c, v[k]);
        }
    }
}

template <class T, bool CENTRED>
static __global__ void norm_block(T *y, T *x, const T *r, const float *g, const float *b, const int32_t *rows, int planned,
                                  int C, float eps)
{
    ES_SHARED(float, part, 32);
    int t = (int)blockIdx.x, step = (int)blockDim.x;
    size_t at = (size_t)t * (size_t)C;
    float sum = 0, square = 0;

    if (t >= es_live_rows(rows, planned)) return;
    for (int c = (int)threadIdx.x; c < C; c += step) {
        if (r) es_store(x + at + c, es_load(x + at + c) + es_load(r + at + c));
        sum += es_load(x + at + c);
    }
    float mean = es_block_sum(sum, part) / (float)C;
    if (!CENTRED) mean = 0;
    for (int c = (int)threadIdx.x; c < C; c += step) {
        float d = es_load(x + at + c) - mean;
        square = fmaf(d, d, square);
    }
    float by = 1.0f / sqrtf(es_block_sum(square, part) / (float)C + eps);
    for (int c = (int)threadIdx.x; c < C; c += step) {
        float d = (es_load(x + at + c) - mean) * by * g[c];
        es_store(y + at + c, CENTRED ? d + b[c] : d);
    }
}

template <class T, bool CENTRED>
static void norm_rows(es_device *d, T *y, T *x, const T *r, const float *g, const float *b, const int32_t *rows, int T_,
                      int C, float eps)
{
    enum { N = es_vector<T>::N };
    int chunks = (C + 32 * N - 1) / (32 * N);
    unsigned blocks = (unsigned)((T_ + WARPS - 1) / WARPS);

    if (C % N == 0 && chunks <= 4)
        ES_LAUNCH(d, (norm_warp<T, 4, CENTRED>), blocks, WARPS * 32, 0, y, x, r, g, b, rows, T_, C, eps);
    else if (C % N == 0 && chunks <= 8)
        ES_LAUNCH(d, (norm_warp<T, 8, CENTRED>), blocks, WARPS * 32, 0, y, x, r, g, b, rows, T_, C, eps);
    else if (C % N == 0 && chunks * N <= 64)
        ES_LAUNCH(d, (norm_warp<T, 64 / N, CENTRED>), blocks, WARPS * 32, 0, y, x, r, g, b, rows, T_, C, eps);
    else ES_LAUNCH(d, (norm_block<T, CENTRED>), (unsigned)T_, 256, 0, y, x, r, g, b, rows, T_, C, eps);
}

void es_cuda_layernorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const float *b,
                       const int32_t *rows, int T_, int C, float eps)
{
    ES_SWITCH_FLOAT(t, T, norm_rows<T, true>(d, (T *)y, (T *)x, (const T *)r, g, b, rows, T_, C, eps))
}

void es_cuda_rmsnorm(es_device *d, es_dtype t, void *y, void *x, const void *r, const float *g, const int32_t *rows, int T_,
                     int C, float eps)
{
    ES_SWITCH_FLOAT(t, T, norm_rows<T, false>(d, (T *)y, (T *)x, (const T *)r, g, (const float *)NULL, rows, T_, C, eps))
}
