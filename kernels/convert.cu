/*
 * convert.cu - rows and dtypes on the device: embedding, gathering, casts, and what a convolution unfolds.
 *
 * A block per row, threads along it; a cast takes 8 values a thread, 16 bytes or more a way, so that enough of them are under
 * way. All are bound by bytes and read what they write once.
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

enum { CAST = 8 };

template <class T, class E>
static __global__ void embed_rows(T *y, const E *table, const float *P, const int32_t *id, const int32_t *pos,
                                  const int32_t *rows, int planned, int C)
{
    int r = (int)blockIdx.x;

    if (r >= es_live_rows(rows, planned)) return;
    int token = id[r];
    size_t at = token < 0 ? 0 : (size_t)token * (size_t)C, place = P && token >= 0 ? (size_t)pos[r] * (size_t)C : 0;
    for (int c = (int)threadIdx.x; c < C; c += (int)blockDim.x) {
        float v = token < 0 ? 0 : es_load(table + at + c);
        es_store(y + (size_t)r * (size_t)C + c, P && token >= 0 ? v + P[place + (size_t)c] : v);
    }
}

template <class T> static __global__ void gather_rows(T *y, const T *x, const int32_t *idx, int C)
{
    int g = (int)blockIdx.x, from = idx[g];

    for (int c = (int)threadIdx.x; c < C; c += (int)blockDim.x) {
        T zero;
        es_store(&zero, 0.0f);
        y[(size_t)g * (size_t)C + c] = from < 0 ? zero : x[(size_t)from * (size_t)C + c];
    }
}

template <class Y, class X, int N> static __global__ void cast_all(Y *y, const X *x, size_t n)
{
    size_t step = (size_t)gridDim.x * blockDim.x, me = (size_t)blockIdx.x * blockDim.x + threadIdx.x, even = n / N * N;

    for (size_t i = me * N; i < even; i += step * N) {
        float v[N];
        es_load_few<N>(v, x + i);
        es_store_few<N>(y + i, v);
    }
    if (me < n - even) es_store(y + even + me, es_load(x + even + me));
}

void es_cuda_embed(es_device *d, es_dtype t, void *y, es_matrix E, const float *P, const int32_t *id, const int32_t *pos,
                   const int32_t *rows, int R)
{
    ES_SWITCH_FLOAT(t, T,
                    ES_SWITCH_FLOAT(E.dtype, W,
                                    ES_LAUNCH(d, (embed_rows<T, W>), (unsigned)R, 128, 0, (T *)y, (const W *)E.p, P, id, pos,
                                              rows, R, E.I)))
}

void es_cuda_gather(es_device *d, es_dtype t, void *y, const void *x, const int32_t *idx, int G, int C)
{
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, gather_rows<T>, (unsigned)G, 128, 0, (T *)y, (const T *)x, idx, C))
}

void es_cuda_cast(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, size_t n)
{
    bool even = es_aligned16(x) && es_aligned16(y);
    size_t each = even ? 256 * CAST : 256, blocks = (n + each - 1) / each, most = (size_t)es_cuda_sms(d) * 16;

    if (n == 0) return;
    if (blocks > most) blocks = most;
    ES_SWITCH_FLOAT(yt, Y,
                    ES_SWITCH_FLOAT(xt, X,
                                    if (even) ES_LAUNCH(d, (cast_all<Y, X, CAST>), (unsigned)blocks, 256, 0, (Y *)y, (const X *)x, n);
                                    else ES_LAUNCH(d, (cast_all<Y, X, 1>), (unsigned)blocks, 256, 0, (Y *)y, (const X *)x, n)))
}
