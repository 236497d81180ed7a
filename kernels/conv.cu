/*
 * conv.cu - the convolution over packed pieces, bands and frames; its CPU twin is in linear.c.
 *
 * A product whose left side is gathered while it is loaded: row = a band of a frame, input = a channel under a tap. Two forms,
 * of the same definition:
 *
 * - f16 and bf16 whose channels come in eights: a block makes 128 rows of 32 or 64 outputs on the tensor cores, 8 warps of 16
 *   or 32 rows by 32 columns, from slices of 32 inputs. Three slices are under way: 16 bytes a copy, each 8 channels of one tap,
 *   zeros where the tap is outside. Rows of a slice lie 80 bytes apart, so that the 8 rows of a fragment meet different banks.
 *   Sums are f32.
 * - all else: a block makes 64 rows of 32 outputs, its threads 4 by 2 of them, from slices of 32 inputs in shared memory.
 *
 * Every output is one chain over the inputs in ascending order, whatever stands beside it, so a piece has the same bits
 * wherever it stands. Bound by arithmetic where there are many channels, by reading where there is one.
 */
#include "kernels/mma.cuh"
#include "kernels/pieces.cuh"

enum { ROWS = 64, COLS = 32, DEPTH = 32, PITCH = DEPTH + 1, THREADS = 256 };

/* What a row of a block begins with: its piece's first row in x (-1: no such row), its frames, its first tap's time and band. */
static __device__ __forceinline__ void describe_row(int r, size_t first, size_t live, const int32_t *from, const int32_t *to, int S,
                                                    int bands, es_taps k, int *start, int *frames, int *time, int *band)
{
    start[r] = -1;
    frames[r] = time[r] = band[r] = 0;
    if (first + (size_t)r >= live) return;
    int row = (int)((first + (size_t)r) / (size_t)bands), s = piece_of(to, S, row);
    start[r] = from[s];
    frames[r] = from[s + 1] - from[s];
    time[r] = (row - to[s]) * k.stride_t - k.Kt / 2 * k.dilation;
    band[r] = (int)((first + (size_t)r) % (size_t)bands) * k.stride_f - k.Kf / 2;
}

/* ---- plain ---- */

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
    if (tid < ROWS) describe_row(tid, first, live, from, to, S, bands, k, start, frames, time, band);
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

/* ---- tensor cores ---- */

enum { M = 128, K = 32, LD = K + 8, STAGES = 3 };

static __device__ __forceinline__ void multiply(float *c, const uint32_t *a, const uint32_t *b, const __half *)
{
    es_mma_f16(c, a, b);
}
static __device__ __forceinline__ void multiply(float *c, const uint32_t *a, const uint32_t *b, const __nv_bfloat16 *)
{
    es_mma_bf16(c, a, b);
}

/* What a thread fetches: the same 8 inputs of a slice in RUNS rows of x and one of the weights. Where those 8 lie - channel, tap
 * in time, frame and band from those of the first tap - is kept up from slice to slice by adding, and what a row is by itself
 * stands in registers: a slice costs no division and no look into shared memory. */
enum { UNITS = K / 8, RUN = THREADS / UNITS, RUNS = M / RUN };

template <class T> struct gathering {
    const T *x[RUNS], *w; /* the rows' pieces; the row of weights, NULL where there is none */
    int frames[RUNS], time[RUNS], band[RUNS];
    int at, c, j, t, f;
};

template <class T> static __device__ __forceinline__ void settle(gathering<T> *p, const es_taps &k)
{
    while (p->c >= k.C) {
        p->c -= k.C;
        p->t += k.dilation;
        if (++p->j == k.Kt) p->j = p->t = 0, p->f++;
    }
}

/* The next slice on its way to a stage; a piece has less than 2^31 values. */
template <class T, int N>
static __device__ __forceinline__ void fetch(T *as, T *bs, const T *x, gathering<T> *p, int I, int F, const es_taps &k)
{
    int part = (int)threadIdx.x % UNITS * 8, r = (int)threadIdx.x / UNITS;

    ES_UNROLL
    for (int e = 0; e < RUNS; e++) {
        int t = p->time[e] + p->t, f = p->band[e] + p->f, n = p->frames[e], mirrored = t < 0 ? -t : t < n ? t : 2 * (n - 1) - t;
        t = k.reflect ? mirrored : t;
        bool in = p->at < I && (unsigned)t < (unsigned)n && (unsigned)f < (unsigned)F;
        es_cp_async16(as + (r + RUN * e) * LD + part, in ? p->x[e] + ((t * F + f) * k.C + p->c) : x, in);
    }
    if (N >= RUN || r < N) es_cp_async16(bs + r * LD + part, p->w && p->at < I ? p->w + p->at : x, p->w && p->at < I);
    p->at += K;
    p->c += K;
    settle(p, k);
}

template <class T, int N>
static __global__ void conv_tiles(T *y, const T *x, const T *w, int O, int I, const float *bias, const int32_t *from, const int32_t *to,
                                  int S, int planned, int F, int bands, es_taps k, int act, int add)
{
    enum { WIDE = N / 32, TALL = 8 / WIDE, TILES = M / TALL / 16 }; /* warps across and down; tiles of 16 rows of a warp */
    ES_SMEM(T, shared);
    ES_SHARED(int, start, M);
    ES_SHARED(int, frames, M);
    ES_SHARED(int, time, M);
    ES_SHARED(int, band, M);
    T *as = shared, *bs = shared + STAGES * M * LD;
    int tid = (int)threadIdx.x, lane = tid % 32, r0 = tid / 32 % TALL * TILES * 16, c0 = tid / 32 / TALL * 32, o0 = (int)blockIdx.y * N;
    int slices = (I + K - 1) / K;
    size_t first = (size_t)blockIdx.x * M, live = (size_t)min(to[S], planned) * (size_t)bands;
    float sum[TILES][4][4];

    if (first >= live) return;
    ES_UNROLL
    for (int i = 0; i < TILES * 16; i++) sum[i / 16][i / 4 % 4][i % 4] = 0;
    if (tid < M) describe_row(tid, first, live, from, to, S, bands, k, start, frames, time, band);
    ES_SYNC();
    gathering<T> p = {};
    p.at = p.c = tid % UNITS * 8;
    settle(&p, k);
    ES_UNROLL
    for (int e = 0; e < RUNS; e++) {
        int r = tid / UNITS + RUN * e;
        p.x[e] = x + (size_t)max(start[r], 0) * (size_t)F * (size_t)k.C;
        p.frames[e] = frames[r];
        p.time[e] = time[r];
        p.band[e] = band[r];
    }
    if (tid / UNITS < N && o0 + tid / UNITS < O) p.w = w + (size_t)(o0 + tid / UNITS) * (size_t)I;
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < slices) fetch<T, N>(as + s * M * LD, bs + s * N * LD, x, &p, I, F, k);
        es_cp_async_commit();
    }
    for (int s = 0; s < slices; s++) {
        int next = s + STAGES - 1, stage = s % STAGES, free = next % STAGES;
        es_cp_async_wait(STAGES - 2);
        ES_SYNC(); /* the slice is there for all, and all are done with the one that `next` overwrites */
        if (next < slices) fetch<T, N>(as + free * M * LD, bs + free * N * LD, x, &p, I, F, k);
        es_cp_async_commit();
        for (int q = 0; q < K; q += 16) {
            uint32_t a[TILES][4], b[4];
            ES_UNROLL
            for (int i = 0; i < TILES; i++) es_ldmatrix_x4(a[i], as + (stage * M + r0 + i * 16 + lane % 16) * LD + q + lane / 16 * 8);
            ES_UNROLL
            for (int j = 0; j < 4; j += 2) {
                es_ldmatrix_x4(b, bs + (stage * N + c0 + j * 8 + lane / 16 * 8 + lane % 8) * LD + q + lane / 8 % 2 * 8);
                ES_UNROLL
                for (int i = 0; i < TILES; i++) {
                    multiply(sum[i][j], a[i], b, x);
                    multiply(sum[i][j + 1], a[i], b + 2, x);
                }
            }
        }
    }
    es_cp_async_wait(0);
    ES_UNROLL
    for (int u = 0; u < TILES * 16; u++) {
        int i = u / 16, j = u / 4 % 4, e = u % 4, o = o0 + c0 + j * 8 + lane % 4 * 2 + e % 2;
        size_t row = first + (size_t)(r0 + i * 16 + lane / 4 + e / 2 * 8);
        if (row >= live || o >= O) continue;
        T *to_y = y + row * (size_t)O + o;
        float v = sum[i][j][e] + (bias ? bias[o] : 0.0f);
        if (add) v += es_load(to_y);
        es_store(to_y, piece_act(v, act));
    }
}

template <class T, int N>
static void launch_tiles(es_device *d, T *y, const T *x, es_matrix W, const float *b, const int32_t *from, const int32_t *to, int S, int rows,
                         int F, int bands, es_taps k, int act, int add)
{
    dim3 grid((unsigned)(((size_t)rows * (size_t)bands + M - 1) / M), (unsigned)((W.O + N - 1) / N));

    ES_LAUNCH(d, (conv_tiles<T, N>), grid, THREADS, (size_t)STAGES * (M + N) * LD * sizeof(T), y, x, (const T *)W.p, W.O, W.I, b, from, to, S,
              rows, F, bands, k, act, add);
}

void es_cuda_conv2d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from, const int32_t *to,
                    int S, int N, int F, es_taps k, es_act act, bool add)
{
    int bands = (F - 1) / k.stride_f + 1;
    dim3 grid((unsigned)(((size_t)N * (size_t)bands + ROWS - 1) / ROWS), (unsigned)((W.O + COLS - 1) / COLS));

    if (N == 0 || S == 0 || !act_is_known(d, "conv2d", act)) return;
    if (t == W.dtype && t != ES_F32 && k.C % 8 == 0) {
        if (t == ES_F16) {
            if (W.O <= 32) launch_tiles<__half, 32>(d, (__half *)y, (const __half *)x, W, b, from, to, S, N, F, bands, k, (int)act, (int)add);
            else launch_tiles<__half, 64>(d, (__half *)y, (const __half *)x, W, b, from, to, S, N, F, bands, k, (int)act, (int)add);
        } else {
            typedef __nv_bfloat16 T;
            if (W.O <= 32) launch_tiles<T, 32>(d, (T *)y, (const T *)x, W, b, from, to, S, N, F, bands, k, (int)act, (int)add);
            else launch_tiles<T, 64>(d, (T *)y, (const T *)x, W, b, from, to, S, N, F, bands, k, (int)act, (int)add);
        }
        return;
    }
    ES_SWITCH_FLOAT(t, T,
                    ES_SWITCH_FLOAT(W.dtype, WT,
                                    ES_LAUNCH(d, (conv_taps<T, WT>), grid, THREADS, 0, (T *)y, (const T *)x, (const WT *)W.p, W.O, W.I, b,
                                              from, to, S, N, F, bands, k, (int)act, (int)add)))
}
