/*
 * pieces.cu - ops over packed pieces of different lengths: a scale and shift of rows, means of segments, gates, statistics.
 *
 * Sums over a piece are its own, so that it has the same bits wherever it stands: one thread a channel for a segment, 8 warps
 * by turns for statistics. What goes row by row has a warp a row, which looks its piece up once. All are bound by bytes. The
 * convolution over pieces is in conv.cu.
 */
#include "kernels/pieces.cuh"
#include "kernels/reduce.cuh"

enum { THREADS = 256, LANES = 32, WARPS = 8 };

/* ---- rows: a warp each, 16 bytes a lane where they come in such units ---- */

static __device__ __forceinline__ int row_of()
{
    return (int)(blockIdx.x * WARPS + threadIdx.x / LANES);
}
static __device__ __forceinline__ int lane_of()
{
    return (int)threadIdx.x % LANES;
}
static unsigned warps_for(int rows)
{
    return (unsigned)((rows + WARPS - 1) / WARPS);
}
/* Whether rows of C values at stride ld are whole units of 16 bytes. */
template <class T> static bool in_units(const T *p, int ld, int C)
{
    enum { N = es_vector<T>::N };

    return C % N == 0 && ld % N == 0 && es_aligned16(p);
}

/* ---- scale and shift ---- */

template <class T, int N>
static __global__ void scale_shift(T *y, int ldy, const T *x, int ldx, const float *g, const float *b, const int32_t *rows, int n, int C, int act)
{
    int r = row_of();

    if (r >= es_live_rows(rows, n)) return;
    for (int c = lane_of() * N; c < C; c += LANES * N) {
        float v[N], by[N], more[N];
        es_load_few<N>(v, x + (size_t)r * (size_t)ldx + c);
        if (g) {
            es_load_few<N>(by, g + c);
            es_load_few<N>(more, b + c);
            ES_UNROLL
            for (int i = 0; i < N; i++) v[i] = v[i] * by[i] + more[i];
        }
        ES_UNROLL
        for (int i = 0; i < N; i++) v[i] = piece_act(v[i], act);
        es_store_few<N>(y + (size_t)r * (size_t)ldy + c, v);
    }
}

void es_cuda_affine(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                    const int32_t *rows, int T_, int C, es_act act)
{
    if (T_ == 0 || !act_is_known(d, "affine", act)) return;
    ES_SWITCH_FLOAT(t, T,
                    if (in_units((const T *)x, ldx, C) && in_units((T *)y, ldy, C) && es_aligned16(g) && es_aligned16(b))
                        ES_LAUNCH(d, (scale_shift<T, es_vector<T>::N>), warps_for(T_), THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, b,
                                  rows, T_, C, (int)act);
                    else ES_LAUNCH(d, (scale_shift<T, 1>), warps_for(T_), THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, b, rows, T_, C,
                                   (int)act))
}

/* ---- segments ---- */

/* y[segment] = the sum of its rows; a block per segment and 128 channels. */
template <class T>
static __global__ void sum_segments(float *y, const T *x, const int32_t *bounds, const int32_t *segments, int S, int C, int length)
{
    int j = (int)blockIdx.x, c = (int)(blockIdx.y * blockDim.x + threadIdx.x);

    if (j >= segments[S] || c >= C) return;
    int s = piece_of(segments, S, j), first = bounds[s] + (j - segments[s]) * length, last = min(first + length, (int)bounds[s + 1]);
    float sum = 0;
    for (int r = first; r < last; r++) sum += es_load(x + (size_t)r * (size_t)C + c);
    y[(size_t)j * (size_t)C + c] = sum;
}

/* From the sums of a piece's segments to their means and its own; a block per piece and 128 channels. */
static __global__ void join_segments(float *y, const int32_t *bounds, const int32_t *segments, int C, int length)
{
    int s = (int)blockIdx.x, c = (int)(blockIdx.y * blockDim.x + threadIdx.x), n = bounds[s + 1] - bounds[s];
    float all = 0;

    if (c >= C || n <= 0) return;
    for (int j = segments[s]; j < segments[s + 1]; j++) all += y[(size_t)j * (size_t)C + c];
    all /= (float)n;
    for (int j = segments[s]; j < segments[s + 1]; j++) {
        float *to = y + (size_t)j * (size_t)C + c;
        *to = *to / (float)min(length, n - (j - segments[s]) * length) + all;
    }
}

void es_cuda_segment_means(es_device *d, float *y, es_dtype t, const void *x, const int32_t *bounds, const int32_t *segments, int S,
                           int n_segments, int C, int length)
{
    unsigned wide = (unsigned)((C + 127) / 128);

    if (S == 0 || n_segments == 0) return;
    ES_SWITCH_FLOAT(t, T,
                    ES_LAUNCH(d, sum_segments<T>, dim3((unsigned)n_segments, wide), 128, 0, y, (const T *)x, bounds, segments, S, C, length))
    ES_LAUNCH(d, join_segments, dim3((unsigned)S, wide), 128, 0, y, bounds, segments, C, length);
}

template <class T, int N>
static __global__ void gate(T *y, int ldy, const T *x, const float *g, const int32_t *bounds, const int32_t *segments, int S, int planned,
                            int C, int length)
{
    int r = row_of();

    if (r >= min(bounds[S], planned)) return;
    int s = piece_of(bounds, S, r), j = segments[s] + (r - bounds[s]) / length;
    for (int c = lane_of() * N; c < C; c += LANES * N) {
        float v[N], by[N];
        es_load_few<N>(v, x + (size_t)r * (size_t)C + c);
        es_load_few<N>(by, g + (size_t)j * (size_t)C + c);
        ES_UNROLL
        for (int i = 0; i < N; i++) v[i] *= by[i];
        es_store_few<N>(y + (size_t)r * (size_t)ldy + c, v);
    }
}

void es_cuda_gate_segments(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g, const int32_t *bounds,
                           const int32_t *segments, int S, int N, int C, int length)
{
    if (N == 0 || S == 0) return;
    ES_SWITCH_FLOAT(t, T,
                    if (in_units((const T *)x, C, C) && in_units((T *)y, ldy, C) && es_aligned16(g))
                        ES_LAUNCH(d, (gate<T, es_vector<T>::N>), warps_for(N), THREADS, 0, (T *)y, ldy, (const T *)x, g, bounds, segments,
                                  S, N, C, length);
                    else ES_LAUNCH(d, (gate<T, 1>), warps_for(N), THREADS, 0, (T *)y, ldy, (const T *)x, g, bounds, segments, S, N, C,
                                   length))
}

/* ---- by piece ---- */

template <class T, int N>
static __global__ void piece_rows(T *y, int ldy, const T *x, int ldx, const float *g, const float *c, const T *a, int lda,
                                  const int32_t *bounds, int S, int planned, int C, int act)
{
    int r = row_of();

    if (r >= min(bounds[S], planned)) return;
    size_t piece = (size_t)piece_of(bounds, S, r) * (size_t)C;
    for (int k = lane_of() * N; k < C; k += LANES * N) {
        float v[N], more[N];
        es_load_few<N>(v, x + (size_t)r * (size_t)ldx + k);
        if (g) {
            es_load_few<N>(more, g + piece + k);
            ES_UNROLL
            for (int i = 0; i < N; i++) v[i] *= more[i];
        }
        if (c) {
            es_load_few<N>(more, c + piece + k);
            ES_UNROLL
            for (int i = 0; i < N; i++) v[i] += more[i];
        }
        if (a) {
            es_load_few<N>(more, a + (size_t)r * (size_t)lda + k);
            ES_UNROLL
            for (int i = 0; i < N; i++) v[i] += more[i];
        }
        ES_UNROLL
        for (int i = 0; i < N; i++) v[i] = piece_act(v[i], act);
        es_store_few<N>(y + (size_t)r * (size_t)ldy + k, v);
    }
}

void es_cuda_by_piece(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c, const void *a,
                      int lda, const int32_t *bounds, int S, int N, int C, es_act act)
{
    if (N == 0 || S == 0 || !act_is_known(d, "by_piece", act)) return;
    ES_SWITCH_FLOAT(t, T,
                    if (in_units((const T *)x, ldx, C) && in_units((T *)y, ldy, C) && (!a || in_units((const T *)a, lda, C)) &&
                        es_aligned16(g) && es_aligned16(c))
                        ES_LAUNCH(d, (piece_rows<T, es_vector<T>::N>), warps_for(N), THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, c,
                                  (const T *)a, lda, bounds, S, N, C, (int)act);
                    else ES_LAUNCH(d, (piece_rows<T, 1>), warps_for(N), THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, c, (const T *)a, lda,
                                   bounds, S, N, C, (int)act))
}

/* ---- statistics: 8 warps by turns over the rows, a lane a channel ---- */

template <class T>
static __global__ void describe(float *y, const T *x, const T *z, const int32_t *bounds, int C, int less, float least)
{
    ES_SHARED(float, part, WARPS *LANES);
    int s = (int)blockIdx.y, c = (int)blockIdx.x * LANES + (int)threadIdx.x % LANES, warp = (int)threadIdx.x / LANES;
    int n = bounds[s + 1] - bounds[s];
    size_t first = (size_t)bounds[s] * (size_t)C;
    float sum = 0, square = 0, all = (float)n, top = -INFINITY;

    if (z) {
        for (int t = warp; t < n && c < C; t += WARPS) top = fmaxf(top, es_load(z + first + (size_t)t * (size_t)C + c));
        top = es_lane_max(top, part);
        float some = 0;
        for (int t = warp; t < n && c < C; t += WARPS) some += expf(es_load(z + first + (size_t)t * (size_t)C + c) - top);
        all = es_lane_sum(some, part);
    }
    for (int t = warp; t < n && c < C; t += WARPS) {
        size_t at = first + (size_t)t * (size_t)C + c;
        sum = fmaf(z ? expf(es_load(z + at) - top) : 1.0f, es_load(x + at), sum);
    }
    float mean = es_lane_sum(sum, part) / (n > 0 ? all : 1.0f);
    for (int t = warp; t < n && c < C; t += WARPS) {
        size_t at = first + (size_t)t * (size_t)C + c;
        float e = es_load(x + at) - mean;
        square = fmaf(z ? expf(es_load(z + at) - top) : 1.0f, e * e, square);
    }
    square = es_lane_sum(square, part);
    if (warp != 0 || c >= C) return;
    float by = z ? all : (float)(n - less);
    y[(size_t)s * 2 * (size_t)C + c] = mean;
    y[(size_t)s * 2 * (size_t)C + (size_t)(C + c)] = n > 0 ? sqrtf(fmaxf(by > 0 ? square / by : 0.0f, least)) : 0.0f;
}

void es_cuda_mean_deviation(es_device *d, float *y, es_dtype t, const void *x, const void *z, const int32_t *bounds, int S, int C,
                            int less, float least)
{
    dim3 grid((unsigned)((C + LANES - 1) / LANES), (unsigned)S);

    if (S == 0) return;
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, describe<T>, grid, LANES * WARPS, 0, y, (const T *)x, (const T *)z, bounds, C, less, least))
}

template <class T>
static __global__ void weigh(float *y, const T *x, const float *w, const int32_t *of, const int32_t *bounds, int N, int C)
{
    ES_SHARED(float, part, WARPS *LANES);
    int v = (int)blockIdx.y, c = (int)blockIdx.x * LANES + (int)threadIdx.x % LANES, warp = (int)threadIdx.x / LANES;
    int s = of[v], n = s < 0 ? 0 : bounds[s + 1] - bounds[s];
    const T *in = x + (s < 0 ? 0 : (size_t)bounds[s] * (size_t)C);
    const float *weight = w + (size_t)v * (size_t)N;
    float one = 0, two = 0, sum = 0, square = 0;

    for (int t = warp; t < n; t += WARPS) one += weight[t], two = fmaf(weight[t], weight[t], two);
    float v1 = es_lane_sum(one, part) + 1e-8f, v2 = es_lane_sum(two, part), by = v1 - v2 / v1 + 1e-8f;
    for (int t = warp; t < n && c < C; t += WARPS) sum = fmaf(weight[t], es_load(in + (size_t)t * (size_t)C + c), sum);
    float mean = es_lane_sum(sum, part) / v1;
    for (int t = warp; t < n && c < C; t += WARPS) {
        float e = es_load(in + (size_t)t * (size_t)C + c) - mean;
        square = fmaf(weight[t], e * e, square);
    }
    square = es_lane_sum(square, part);
    if (warp != 0 || c >= C) return;
    y[(size_t)v * 2 * (size_t)C + c] = mean;
    y[(size_t)v * 2 * (size_t)C + (size_t)(C + c)] = sqrtf(square / by);
}

void es_cuda_weighed_deviation(es_device *d, float *y, es_dtype t, const void *x, const float *w, const int32_t *of, const int32_t *bounds,
                               int V, int N, int C)
{
    dim3 grid((unsigned)((C + LANES - 1) / LANES), (unsigned)V);

    if (V == 0) return;
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, weigh<T>, grid, LANES * WARPS, 0, y, (const T *)x, w, of, bounds, N, C))
}
