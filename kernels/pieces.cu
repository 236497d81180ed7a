/*
 * pieces.cu - ops over packed pieces of different lengths: convolution over bands and frames, a scale and shift of rows,
 * means of segments, gates, statistics.
 *
 * The convolution is a product whose left side is gathered while it is loaded: a block makes 64 rows (bands of frames) of 32
 * outputs, its threads 4 by 2 of them, from slices of 32 inputs in shared memory. Every output is one chain over the inputs
 * in ascending order, so a piece has the same bits wherever it stands. Sums over a piece are likewise its own: one thread a
 * channel for a segment, 8 warps by turns for statistics.
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

enum { ROWS = 64, COLS = 32, DEPTH = 32, PITCH = DEPTH + 1, THREADS = 256, LANES = 32, WARPS = 8 };

/* The piece that row r belongs to. */
static __device__ __forceinline__ int piece_of(const int32_t *bounds, int S, int r)
{
    int low = 0, high = S - 1;

    while (low < high) {
        int mid = (low + high + 1) / 2;
        if (bounds[mid] <= r) low = mid;
        else high = mid - 1;
    }
    return low;
}

static __device__ __forceinline__ float piece_act(float v, int act)
{
    return act == ES_ACT_LEAKY ? (v > 0 ? v : 0.01f * v) : act == ES_ACT_RELU ? (v > 0 ? v : 0) : act == ES_ACT_TANH ? tanhf(v) : v;
}

static int act_is_known(es_device *d, const char *what, es_act act)
{
    if (act == ES_ACT_NONE || act == ES_ACT_LEAKY || act == ES_ACT_RELU || act == ES_ACT_TANH) return 1;
    es_cuda_keep_fault(d, what, "an activation that is not relu, leaky or tanh", 1);
    return 0;
}

/* ---- convolution ---- */

template <class T, class W>
static __global__ void conv_taps(T *y, const T *x, const W *w, int O, int I, const float *bias, const int32_t *from, const int32_t *to,
                                 int S, int N, int F, int bands, es_taps k, int act, int add)
{
    ES_SHARED(float, a, ROWS *PITCH);
    ES_SHARED(float, b, COLS *PITCH);
    ES_SHARED(int, start, ROWS);  /* of the row's piece in x; -1 for a row that is not there */
    ES_SHARED(int, frames, ROWS); /* of that piece */
    ES_SHARED(int, time, ROWS);   /* of the row's first tap */
    ES_SHARED(int, band, ROWS);
    int tid = (int)threadIdx.x, o0 = (int)blockIdx.y * COLS, r0 = (tid / 16) * 4, c0 = (tid % 16) * 2;
    size_t first = (size_t)blockIdx.x * ROWS, live = (size_t)min(to[S], N) * (size_t)bands;
    float sum[4][2] = {{0, 0}, {0, 0}, {0, 0}, {0, 0}};

    if (first >= live) return;
    if (tid < ROWS) {
        start[tid] = -1;
        if (first + (size_t)tid < live) {
            int row = (int)((first + (size_t)tid) / (size_t)bands), s = piece_of(to, S, row);
            start[tid] = from[s];
            frames[tid] = from[s + 1] - from[s];
            time[tid] = (row - to[s]) * k.stride_t - k.Kt / 2 * k.dilation;
            band[tid] = (int)((first + (size_t)tid) % (size_t)bands) * k.stride_f - k.Kf / 2;
        }
    }
    ES_SYNC();
    for (int k0 = 0; k0 < I; k0 += DEPTH) {
        int i = k0 + tid % DEPTH, tap = i / k.C, c = i % k.C;
        for (int r = tid / DEPTH; r < ROWS; r += THREADS / DEPTH) {
            float v = 0;
            if (i < I && start[r] >= 0) {
                int t = time[r] + tap % k.Kt * k.dilation, f = band[r] + tap / k.Kt;
                if (k.reflect) t = t < 0 ? -t : t < frames[r] ? t : 2 * (frames[r] - 1) - t;
                if (t >= 0 && t < frames[r] && f >= 0 && f < F)
                    v = es_load(x + ((size_t)(start[r] + t) * (size_t)F + (size_t)f) * (size_t)k.C + c);
            }
            a[r * PITCH + tid % DEPTH] = v;
        }
        for (int o = tid / DEPTH; o < COLS; o += THREADS / DEPTH)
            b[o * PITCH + tid % DEPTH] = i < I && o0 + o < O ? es_load(w + (size_t)(o0 + o) * (size_t)I + i) : 0.0f;
        ES_SYNC();
        int depth = min((int)DEPTH, I - k0);
        for (int q = 0; q < depth; q++) {
            float u = b[c0 * PITCH + q], v = b[(c0 + 1) * PITCH + q];
            ES_UNROLL
            for (int r = 0; r < 4; r++) {
                float left = a[(r0 + r) * PITCH + q];
                sum[r][0] = fmaf(left, u, sum[r][0]);
                sum[r][1] = fmaf(left, v, sum[r][1]);
            }
        }
        ES_SYNC();
    }
    for (int r = 0; r < 4; r++)
        for (int c = 0; c < 2; c++) {
            size_t row = first + (size_t)(r0 + r);
            int o = o0 + c0 + c;
            if (row >= live || o >= O) continue;
            T *to_y = y + row * (size_t)O + o;
            float v = sum[r][c] + (bias ? bias[o] : 0.0f);
            if (add) v += es_load(to_y);
            es_store(to_y, piece_act(v, act));
        }
}

void es_cuda_conv2d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from,
                    const int32_t *to, int S, int N, int F, es_taps k, es_act act, bool add)
{
    int bands = (F - 1) / k.stride_f + 1;
    dim3 grid((unsigned)(((size_t)N * (size_t)bands + ROWS - 1) / ROWS), (unsigned)((W.O + COLS - 1) / COLS));

    if (N == 0 || S == 0 || !act_is_known(d, "conv2d", act)) return;
    ES_SWITCH_FLOAT(t, T,
                    ES_SWITCH_FLOAT(W.dtype, WT,
                                    ES_LAUNCH(d, (conv_taps<T, WT>), grid, THREADS, 0, (T *)y, (const T *)x, (const WT *)W.p, W.O, W.I, b,
                                              from, to, S, N, F, bands, k, (int)act, (int)add)))
}

/* ---- scale and shift ---- */

template <class T>
static __global__ void scale_shift(T *y, int ldy, const T *x, int ldx, const float *g, const float *b, const int32_t *rows, int n, int C, int act)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x, r = i / (size_t)C;
    int c = (int)(i % (size_t)C);

    if (r >= (size_t)max(es_live_rows(rows, n), 0)) return;
    float v = es_load(x + r * (size_t)ldx + c);
    if (g) v = v * g[c] + b[c];
    es_store(y + r * (size_t)ldy + c, piece_act(v, act));
}

void es_cuda_affine(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *b,
                    const int32_t *rows, int T_, int C, es_act act)
{
    unsigned grid = (unsigned)(((size_t)T_ * (size_t)C + THREADS - 1) / THREADS);

    if (grid == 0 || !act_is_known(d, "affine", act)) return;
    ES_SWITCH_FLOAT(t, T, 
                    ES_LAUNCH(d, scale_shift<T>, grid, THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, b, rows, T_, C, (int)act))
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

template <class T>
static __global__ void gate(T *y, int ldy, const T *x, const float *g, const int32_t *bounds, const int32_t *segments, int S, int N, int C,
                            int length)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int r = (int)(i / (size_t)C), c = (int)(i % (size_t)C);

    if (r >= min(bounds[S], N)) return;
    int s = piece_of(bounds, S, r), j = segments[s] + (r - bounds[s]) / length;
    es_store(y + (size_t)r * (size_t)ldy + c, es_load(x + i) * g[(size_t)j * (size_t)C + c]);
}

void es_cuda_gate_segments(es_device *d, es_dtype t, void *y, int ldy, const void *x, const float *g, const int32_t *bounds,
                           const int32_t *segments, int S, int N, int C, int length)
{
    unsigned grid = (unsigned)(((size_t)N * (size_t)C + THREADS - 1) / THREADS);

    if (grid == 0 || S == 0) return;
    ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, gate<T>, grid, THREADS, 0, (T *)y, ldy, (const T *)x, g, bounds, segments, S, N, C, length))
}

/* ---- by piece ---- */

template <class T>
static __global__ void piece_rows(T *y, int ldy, const T *x, int ldx, const float *g, const float *c, const T *a, int lda,
                                  const int32_t *bounds, int S, int N, int C, int act)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int r = (int)(i / (size_t)C), k = (int)(i % (size_t)C);

    if (r >= min(bounds[S], N)) return;
    size_t at = (size_t)piece_of(bounds, S, r) * (size_t)C + k;
    float v = es_load(x + (size_t)r * (size_t)ldx + k);
    if (g) v *= g[at];
    if (c) v += c[at];
    if (a) v += es_load(a + (size_t)r * (size_t)lda + k);
    es_store(y + (size_t)r * (size_t)ldy + k, piece_act(v, act));
}

void es_cuda_by_piece(es_device *d, es_dtype t, void *y, int ldy, const void *x, int ldx, const float *g, const float *c, const void *a,
                      int lda, const int32_t *bounds, int S, int N, int C, es_act act)
{
    unsigned grid = (unsigned)(((size_t)N * (size_t)C + THREADS - 1) / THREADS);

    if (grid == 0 || S == 0 || !act_is_known(d, "by_piece", act)) return;
    ES_SWITCH_FLOAT(t, T,
                    ES_LAUNCH(d, piece_rows<T>, grid, THREADS, 0, (T *)y, ldy, (const T *)x, ldx, g, c, (const T *)a, lda, bounds, S, N, C,
                              (int)act))
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
        /* Every warp looks at all rows: a maximum does not care how often it is taken. */
        for (int t = 0; t < n && c < C; t++) top = fmaxf(top, es_load(z + first + (size_t)t * (size_t)C + c));
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
