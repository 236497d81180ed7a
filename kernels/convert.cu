/*
 * convert.cu - rows and dtypes on the device: embedding, gathering, casts, and what a convolution unfolds.
 *
 * A block per row, threads along it; all are bound by bytes and read what they write once.
 */
#include "kernels/cuda.cuh"

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

template <class Y, class X> static __global__ void cast_all(Y *y, const X *x, size_t n)
{
    size_t step = (size_t)gridDim.x * blockDim.x;

    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) es_store(y + i, es_load(x + i));
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
    size_t blocks = (n + 255) / 256, most = (size_t)es_cuda_sms(d) * 16;

    if (n == 0) return;
    if (blocks > most) blocks = most;
    ES_SWITCH_FLOAT(yt, Y,
                    ES_SWITCH_FLOAT(xt, X, ES_LAUNCH(d, (cast_all<Y, X>), (unsigned)blocks, 256, 0, (Y *)y, (const X *)x, n)))
}
