/*
 * pointwise.cu - what a text encoder needs between its products: rotary positions, gated units, one row a text.
 *
 * A block per row (rope, swiglu), a thread per N pairs or values, where rows come in units of 16 bytes, else per one; a block
 * per text for pooling, a thread per column, rows in ascending order, so the sum's order does not depend on what else is in
 * the batch. All are bound by bytes.
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

template <class T, int N>
static __global__ void rope_rows(T *x, int ld, const float *table, const int32_t *pos, const int32_t *rows, int planned, int H,
                                 int D)
{
    int r = (int)blockIdx.x, half_width = D / 2, units = half_width / N;

    if (r >= es_live_rows(rows, planned)) return;
    const float *cosine = table + (size_t)pos[r] * (size_t)D, *sine = cosine + half_width;
    for (int i = (int)threadIdx.x; i < H * units; i += (int)blockDim.x) {
        int h = i / units, at = (i - h * units) * N;
        T *a = x + (size_t)r * (size_t)ld + (size_t)h * (size_t)D + (size_t)at, *b = a + half_width;
        float u[N], v[N], c[N], s[N], turned[N];
        es_load_few<N>(u, a);
        es_load_few<N>(v, b);
        es_load_few<N>(c, cosine + at);
        es_load_few<N>(s, sine + at);
        ES_UNROLL
        for (int k = 0; k < N; k++) turned[k] = u[k] * c[k] - v[k] * s[k];
        es_store_few<N>(a, turned);
        ES_UNROLL
        for (int k = 0; k < N; k++) turned[k] = v[k] * c[k] + u[k] * s[k];
        es_store_few<N>(b, turned);
    }
}

template <class T, int N> static __global__ void swiglu_rows(T *y, const T *x, const int32_t *rows, int planned, int I)
{
    int r = (int)blockIdx.x;

    if (r >= es_live_rows(rows, planned)) return;
    const T *gate = x + 2 * (size_t)r * (size_t)I, *up = gate + I;
    for (int i = (int)threadIdx.x * N; i < I; i += (int)blockDim.x * N) {
        float g[N], u[N];
        es_load_few<N>(g, gate + i);
        es_load_few<N>(u, up + i);
        ES_UNROLL
        for (int k = 0; k < N; k++) u[k] *= g[k] / (1.0f + expf(-g[k]));
        es_store_few<N>(y + (size_t)r * (size_t)I + i, u);
    }
}

template <class T>
static __global__ void pool_texts(float *y, const T *x, const int32_t *bounds, int C, int how, int unit)
{
    ES_SHARED(float, part, 32);
    int s = (int)blockIdx.x, from = bounds[s], to = bounds[s + 1];
    float *out = y + (size_t)s * (size_t)C, square = 0;

    if (how == ES_POOL_FIRST) to = min(to, from + 1);
    if (how == ES_POOL_LAST) from = max(from, to - 1);
    for (int c = (int)threadIdx.x; c < C; c += (int)blockDim.x) {
        float sum = 0;
        for (int r = from; r < to; r++) sum += es_load(x + (size_t)r * (size_t)C + c);
        if (to > from) sum /= (float)(to - from);
        out[c] = sum;
        square = fmaf(sum, sum, square);
    }
    if (!unit) return;
    float norm = fmaxf(sqrtf(es_block_sum(square, part)), 1e-12f);
    for (int c = (int)threadIdx.x; c < C; c += (int)blockDim.x) out[c] /= norm;
}

template <class T>
static void rope(es_device *d, T *x, int ld, const float *table, const int32_t *pos, const int32_t *rows, int T_, int H, int D)
{
    enum { N = es_vector<T>::N };

    if (D / 2 % N == 0 && ld % N == 0 && es_aligned16(x) && es_aligned16(table))
        ES_LAUNCH(d, (rope_rows<T, N>), (unsigned)T_, 128, 0, x, ld, table, pos, rows, T_, H, D);
    else ES_LAUNCH(d, (rope_rows<T, 1>), (unsigned)T_, 256, 0, x, ld, table, pos, rows, T_, H, D);
}

template <class T> static void swiglu(es_device *d, T *y, const T *x, const int32_t *rows, int T_, int I)
{
    enum { N = es_vector<T>::N };

    if (I % N == 0 && es_aligned16(x) && es_aligned16(y))
        ES_LAUNCH(d, (swiglu_rows<T, N>), (unsigned)T_, 256, 0, y, x, rows, T_, I);
    else ES_LAUNCH(d, (swiglu_rows<T, 1>), (unsigned)T_, 256, 0, y, x, rows, T_, I);
}

void es_cuda_rope(es_device *d, es_dtype t, void *x, int ld, const float *table, const int32_t *pos, const int32_t *rows, int T_,
                  int H, int D)
{
    ES_SWITCH_FLOAT(t, T, rope(d, (T *)x, ld, table, pos, rows, T_, H, D))
}

void es_cuda_swiglu(es_device *d, es_dtype t, void *y, const void *x, const int32_t *rows, int T_, int I)
{
    ES_SWITCH_FLOAT(t, T, swiglu(d, (T *)y, (const T *)x, rows, T_, I))
}

void es_cuda_pool(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, int S, int C, es_pooling how,
                  bool unit)
{
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, pool_texts<T>, (unsigned)S, 128, 0, y, (const T *)x, bounds, C, (int)how, (int)unit))
}
