/*
 * attend.cu - attention on the device: packed sequences, and single rows against cached keys.
 *
 * attend, f16 and bf16, heads of 64 and 128: the flash form. A block takes 16 query rows a warp (8 warps at width 64, 4 at
 * 128: what fits the 99 KB of shared memory of the smallest card) and walks over tiles of 64 keys. Query fragments stay in
 * registers; key and value tiles arrive by cp.async in two stages; rows are swizzled in units of 16 bytes (unit u of row r
 * lies at u ^ r % 8), so ldmatrix meets no bank twice. Scores are f32, scaled into powers of two; the running maximum and
 * sum of a row are f32; the probabilities are rounded to the storage type for the second product. Tiles are taken in
 * ascending order whatever else is in the batch. The scale must be positive. Bound by tensor arithmetic.
 *
 * attend, other types and widths: a warp per query row, keys 32 at a time, a lane per key; f32 all through. Not fast; f32
 * models on a device are small.
 *
 * attend_cached: a block per row, head and slice of 256 keys. Its 4 warps compute the slice's scores (a few lanes per key,
 * 16-byte loads), then every thread sums a few columns of the values over its share of the keys. Partial maximum, sum and
 * output go to the workspace; a second kernel joins the slices in ascending order. The slice is the same for every batch,
 * so the bits are. Bound by bytes: each key and value of the row's slot once.
 */
#include "kernels/cuda.cuh"
#include "kernels/mma.cuh"
#include "kernels/reduce.cuh"

enum { KEYS = 64, SLICE = 256, CACHED_THREADS = 128 };

/* ---- flash ---- */

static __device__ __forceinline__ uint32_t es_pair(float a, float b, const __half *)
{
    __half lo, hi;
    es_store(&lo, a);
    es_store(&hi, b);
    return (uint32_t)__half_as_ushort(lo) | (uint32_t)__half_as_ushort(hi) << 16;
}
static __device__ __forceinline__ uint32_t es_pair(float a, float b, const __nv_bfloat16 *)
{
    return (__float_as_uint(__bfloat162float(__float2bfloat16_rn(a))) >> 16) |
           (__float_as_uint(__bfloat162float(__float2bfloat16_rn(b))) & 0xFFFF0000u);
}
/* The same for numbers from 0 to 1, which need no bound: one instruction. */
static __device__ __forceinline__ uint32_t es_pair_of_shares(float a, float b, const __half *)
{
    __half2 h = __floats2half2_rn(a, b);
    uint32_t r;
    memcpy(&r, &h, sizeof r);
    return r;
}
static __device__ __forceinline__ uint32_t es_pair_of_shares(float a, float b, const __nv_bfloat16 *)
{
    __nv_bfloat162 h = __floats2bfloat162_rn(a, b);
    uint32_t r;
    memcpy(&r, &h, sizeof r);
    return r;
}
#ifdef ES_SIMT
static __device__ __forceinline__ bool es_is_bfloat(const __half *)
{
    return false;
}
static __device__ __forceinline__ bool es_is_bfloat(const __nv_bfloat16 *)
{
    return true;
}
#define es_mma(c, a, b, type) es_mma_any(c, a, b, es_is_bfloat((const type *)nullptr), __LINE__)
#define es_mma_from_zero(c, a, b, type) es_mma_first(c, a, b, es_is_bfloat((const type *)nullptr), __LINE__)
#else
static __device__ __forceinline__ void es_mma_typed(float *c, const uint32_t *a, const uint32_t *b, const __half *)
{
    es_mma_f16(c, a, b);
}
static __device__ __forceinline__ void es_mma_typed(float *c, const uint32_t *a, const uint32_t *b, const __nv_bfloat16 *)
{
    es_mma_bf16(c, a, b);
}
static __device__ __forceinline__ void es_mma_first_typed(float *c, const uint32_t *a, const uint32_t *b, const __half *)
{
    es_mma_first_f16(c, a, b);
}
static __device__ __forceinline__ void es_mma_first_typed(float *c, const uint32_t *a, const uint32_t *b, const __nv_bfloat16 *)
{
    es_mma_first_bf16(c, a, b);
}
#define es_mma(c, a, b, type) es_mma_typed(c, a, b, (const type *)0)
#define es_mma_from_zero(c, a, b, type) es_mma_first_typed(c, a, b, (const type *)0)
#endif
/* Where unit u (8 values) of row r of a [rows, D] tile lies. */
template <int D> static __device__ __forceinline__ int tile_at(int r, int u)
{
    return r * D + ((u ^ (r & 7)) << 3);
}

/* N rows from row `first` of x on (zeros from row `end` on) into a tile: the head that begins at a column. */
template <class T, int D, int THREADS, int N>
static __device__ __forceinline__ void load_tile(T *tile, const T *x, int ld, int column, int first, int end)
{
    enum { UNITS = D / 8, STEP = THREADS / UNITS };
    int u = (int)threadIdx.x % UNITS, r = (int)threadIdx.x / UNITS;

    first += r;
    column += u * 8;
    ES_UNROLL
    for (int i = 0; i < N; i += STEP) {
        bool in = first + i < end;
        es_cp_async16(tile + tile_at<D>(r + i, u), in ? x + ((size_t)(first + i) * (size_t)ld + (size_t)column) : x, in);
    }
}

template <class T, int D, int WARPS>
static __global__ void __launch_bounds__(WARPS * 32)
    flash(T *y, const T *q, int ldq, const T *k, int ldk, const T *v, int ldv, const int32_t *bounds, int H, int Hkv,
          float scale2 /* scale * log2(e) */, int causal)
{
    enum { ROWS = WARPS * 16, THREADS = WARPS * 32, STEPS = D / 16, BLOCKS = D / 8, KEY_BLOCKS = KEYS / 8 };
    ES_SMEM(T, shared);
    T *qs = shared, *ks = shared + ROWS * D, *vs = ks + 2 * KEYS * D;
    int s = (int)blockIdx.z, h = (int)blockIdx.y, q0 = (int)blockIdx.x * ROWS;
    int first = bounds[s], len = bounds[s + 1] - first;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;

    if (q0 >= len) return;
    int column = h * Hkv / H * D; /* of the keys' and values' head */
    int seen = causal ? min(len, q0 + ROWS) : len; /* keys that any row of the block sees */

    load_tile<T, D, THREADS, ROWS>(qs, q, ldq, h * D, first + q0, first + len);
    load_tile<T, D, THREADS, KEYS>(ks, k, ldk, column, first, first + seen);
    load_tile<T, D, THREADS, KEYS>(vs, v, ldv, column, first, first + seen);
    es_cp_async_commit();

    /* Where a lane finds its first units of a tile's first rows. Rows 8 apart are swizzled alike, and the swizzle of unit u + n,
     * where u and n have no bit in common, is that of u with the bits of n turned. */
    int k_at = tile_at<D>(lane % 8, lane / 8), v_at = tile_at<D>(lane % 16, lane / 16),
        q_at = tile_at<D>(warp * 16 + lane % 16, lane / 16);

    uint32_t qa[STEPS][4];
    float o[BLOCKS][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    ES_UNROLL
    for (int n = 0; n < BLOCKS; n++) {
        ES_UNROLL
        for (int e = 0; e < 4; e++) o[n][e] = 0;
    }
    for (int j = 0; j * KEYS < seen; j++) {
        const T *kt = ks + (j % 2) * KEYS * D, *vt = kt + 2 * KEYS * D;
        if ((j + 1) * KEYS < seen) {
            load_tile<T, D, THREADS, KEYS>(ks + ((j + 1) % 2) * KEYS * D, k, ldk, column, first + (j + 1) * KEYS, first + seen);
            load_tile<T, D, THREADS, KEYS>(vs + ((j + 1) % 2) * KEYS * D, v, ldv, column, first + (j + 1) * KEYS, first + seen);
        }
        es_cp_async_commit();
        es_cp_async_wait(1);
        ES_SYNC();
        if (j == 0) {
            ES_UNROLL
            for (int i = 0; i < STEPS; i++) es_ldmatrix_x4(qa[i], qs + (q_at ^ i * 16));
        }
        /* scores of 16 rows against 64 keys */
        float c[KEY_BLOCKS][4];
        ES_UNROLL
        for (int i = 0; i < STEPS; i += 2) {
            ES_UNROLL
            for (int n = 0; n < KEY_BLOCKS; n++) {
                uint32_t b[4];
                es_ldmatrix_x4(b, kt + ((k_at ^ i * 16) + n * 8 * D));
                if (i == 0) es_mma_from_zero(c[n], qa[i], b, T);
                else es_mma(c[n], qa[i], b, T);
                es_mma(c[n], qa[i + 1], b + 2, T);
            }
        }
        /* Only tiles at the end of the sequence or on the diagonal hide anything. */
        if ((j + 1) * KEYS > seen || (causal && (j + 1) * KEYS > q0 + warp * 16)) {
            ES_UNROLL
            for (int n = 0; n < KEY_BLOCKS; n++) {
                ES_UNROLL
                for (int e = 0; e < 4; e++) {
                    int key = j * KEYS + n * 8 + 2 * t + e % 2, row = q0 + warp * 16 + g + (e / 2) * 8;
                    if (key >= seen || (causal && key > row)) c[n][e] = -INFINITY;
                }
            }
        }
        ES_UNROLL
        for (int r = 0; r < 2; r++) {
            float high = top[r];
            ES_UNROLL
            for (int n = 0; n < KEY_BLOCKS; n++) high = fmaxf(high, fmaxf(c[n][2 * r], c[n][2 * r + 1]));
            high = fmaxf(high, ES_SHFL_XOR(high, 1));
            high = fmaxf(high, ES_SHFL_XOR(high, 2));
            /* A row that has seen no key yet keeps everything at zero. */
            float shift = high == -INFINITY ? 0 : high * scale2, shrink = es_exp2(fmaf(top[r], scale2, -shift));
            top[r] = high;
            sum[r] *= shrink;
            ES_UNROLL
            for (int n = 0; n < BLOCKS; n++) {
                o[n][2 * r] *= shrink;
                o[n][2 * r + 1] *= shrink;
            }
            ES_UNROLL
            for (int n = 0; n < KEY_BLOCKS; n++) {
                ES_UNROLL
                for (int e = 2 * r; e < 2 * r + 2; e++) {
                    c[n][e] = es_exp2(fmaf(c[n][e], scale2, -shift));
                    sum[r] += c[n][e];
                }
            }
        }
        /* their probabilities times the values */
        ES_UNROLL
        for (int i = 0; i < KEYS / 16; i++) {
            uint32_t a[4] = {es_pair_of_shares(c[2 * i][0], c[2 * i][1], (const T *)0),
                             es_pair_of_shares(c[2 * i][2], c[2 * i][3], (const T *)0),
                             es_pair_of_shares(c[2 * i + 1][0], c[2 * i + 1][1], (const T *)0),
                             es_pair_of_shares(c[2 * i + 1][2], c[2 * i + 1][3], (const T *)0)};
            ES_UNROLL
            for (int n = 0; n < BLOCKS; n += 2) {
                uint32_t b[4];
                es_ldmatrix_x4_trans(b, vt + ((v_at ^ n * 8) + i * 16 * D));
                es_mma(o[n], a, b, T);
                es_mma(o[n + 1], a, b + 2, T);
            }
        }
        ES_SYNC();
    }
    es_cp_async_wait(0);
    ES_UNROLL
    for (int r = 0; r < 2; r++) {
        sum[r] += ES_SHFL_XOR(sum[r], 1);
        sum[r] += ES_SHFL_XOR(sum[r], 2);
        int row = q0 + warp * 16 + g + r * 8;
        float by = 1.0f / sum[r];
        if (row >= len) continue;
        T *out = y + ((size_t)first + (size_t)row) * (size_t)(H * D) + (size_t)h * D;
        ES_UNROLL
        for (int n = 0; n < BLOCKS; n++)
            *(uint32_t *)(out + n * 8 + 2 * t) = es_pair(o[n][2 * r] * by, o[n][2 * r + 1] * by, (const T *)0);
    }
}

/* ---- any type, any width up to 256 ---- */

enum { PLAIN_WARPS = 4, PLAIN_WIDEST = 256 };

template <class T>
static __global__ void plain(T *y, const T *q, int ldq, const T *k, int ldk, const T *v, int ldv, const int32_t *bounds,
                             int H, int Hkv, int D, float scale, int causal)
{
    ES_SHARED(float, qs, PLAIN_WARPS *PLAIN_WIDEST);
    ES_SHARED(float, ps, PLAIN_WARPS * 32);
    int s = (int)blockIdx.z, h = (int)blockIdx.y, warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int first = bounds[s], len = bounds[s + 1] - first, row = (int)blockIdx.x * PLAIN_WARPS + warp;
    float out[PLAIN_WIDEST / 32], top = -INFINITY, sum = 0;

    if (row >= len) return; /* a whole warp: nothing below meets another warp */
    int kv = h * Hkv / H, seen = causal ? row + 1 : len;
    for (int c = lane; c < D; c += 32) qs[warp * PLAIN_WIDEST + c] = es_load(q + (size_t)(first + row) * (size_t)ldq + h * D + c);
    ES_UNROLL
    for (int i = 0; i < PLAIN_WIDEST / 32; i++) out[i] = 0;
    ES_SYNC_WARP();
    for (int k0 = 0; k0 < seen; k0 += 32) {
        float score = -INFINITY;
        if (k0 + lane < seen) {
            const T *key = k + (size_t)(first + k0 + lane) * (size_t)ldk + (size_t)kv * (size_t)D;
            score = 0;
            for (int c = 0; c < D; c++) score = fmaf(qs[warp * PLAIN_WIDEST + c], es_load(key + c), score);
            score *= scale;
        }
        float high = fmaxf(top, es_warp_max(score)), shrink = expf(top - high), p = expf(score - high);
        top = high;
        sum = sum * shrink + es_warp_sum(p);
        ps[warp * 32 + lane] = p;
        ES_SYNC_WARP();
        ES_UNROLL
        for (int i = 0; i < PLAIN_WIDEST / 32; i++) {
            if (i * 32 + lane >= D) continue;
            float a = out[i] * shrink;
            for (int j = 0; j < 32 && k0 + j < seen; j++)
                a = fmaf(ps[warp * 32 + j], es_load(v + (size_t)(first + k0 + j) * (size_t)ldv + kv * D + i * 32 + lane), a);
            out[i] = a;
        }
        ES_SYNC_WARP();
    }
    ES_UNROLL
    for (int i = 0; i < PLAIN_WIDEST / 32; i++) {
        if (i * 32 + lane < D)
            es_store(y + ((size_t)first + (size_t)row) * (size_t)(H * D) + h * D + i * 32 + lane, out[i] / sum);
    }
}

template <class T, int D, int WARPS>
static void launch_flash(es_device *d, T *y, const T *q, int ldq, const T *k, int ldk, const T *v, int ldv,
                         const int32_t *bounds, int S, int T_, int H, int Hkv, float scale, int causal)
{
    size_t bytes = (size_t)(WARPS * 16 + 4 * KEYS) * D * sizeof(T);
    dim3 grid((unsigned)((T_ + WARPS * 16 - 1) / (WARPS * 16)), (unsigned)H, (unsigned)S);

    ES_ALLOW_SMEM((flash<T, D, WARPS>), bytes);
    ES_LAUNCH(d, (flash<T, D, WARPS>), grid, WARPS * 32, bytes, y, q, ldq, k, ldk, v, ldv, bounds, H, Hkv,
              scale * 1.44269504088896341f, causal);
}

template <class T>
static void attend_half(es_device *d, T *y, const T *q, int ldq, const T *k, int ldk, const T *v, int ldv,
                        const int32_t *bounds, int S, int T_, int H, int Hkv, int D, float scale, int causal)
{
    if (D == 64) launch_flash<T, 64, 8>(d, y, q, ldq, k, ldk, v, ldv, bounds, S, T_, H, Hkv, scale, causal);
    else launch_flash<T, 128, 4>(d, y, q, ldq, k, ldk, v, ldv, bounds, S, T_, H, Hkv, scale, causal);
}

void es_cuda_attend(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *k, int ldk, const void *v, int ldv,
                    const int32_t *bounds, int S, int N, int T_, int H, int Hkv, int D, float scale, es_mask mask)
{
    int causal = mask == ES_MASK_CAUSAL;
    bool even = ldq % 8 == 0 && ldk % 8 == 0 && ldv % 8 == 0 && (uintptr_t)q % 16 == 0 && (uintptr_t)k % 16 == 0 &&
                (uintptr_t)v % 16 == 0;
    dim3 grid((unsigned)((T_ + PLAIN_WARPS - 1) / PLAIN_WARPS), (unsigned)H, (unsigned)S);

    (void)N;
    if (D > PLAIN_WIDEST) {
        es_cuda_keep_fault(d, "attend", "a head wider than 256", 1);
        return;
    }
    if (t == ES_F16 && even && (D == 64 || D == 128))
        attend_half(d, (__half *)y, (const __half *)q, ldq, (const __half *)k, ldk, (const __half *)v, ldv, bounds, S, T_, H,
                    Hkv, D, scale, causal);
    else if (t == ES_BF16 && even && (D == 64 || D == 128))
        attend_half(d, (__nv_bfloat16 *)y, (const __nv_bfloat16 *)q, ldq, (const __nv_bfloat16 *)k, ldk,
                    (const __nv_bfloat16 *)v, ldv, bounds, S, T_, H, Hkv, D, scale, causal);
    else
        ES_SWITCH_FLOAT(t, T,
                        ES_LAUNCH(d, plain<T>, grid, PLAIN_WARPS * 32, 0, (T *)y, (const T *)q, ldq, (const T *)k, ldk,
                                  (const T *)v, ldv, bounds, H, Hkv, D, scale, causal))
}

/* ---- the caches ---- */

template <class T>
static __global__ void store_rows(T *K, T *V, const T *k, int ldk, const T *v, int ldv, const int32_t *slot,
                                  const int32_t *pos, const int32_t *rows, int planned, int T_, int H, int D)
{
    int r = (int)blockIdx.x;

    if (r >= es_live_rows(rows, planned) || slot[r] < 0) return;
    for (int c = (int)threadIdx.x; c < H * D; c += (int)blockDim.x) {
        size_t at = (((size_t)slot[r] * (size_t)H + (size_t)(c / D)) * (size_t)T_ + (size_t)pos[r]) * (size_t)D + (size_t)(c % D);
        K[at] = k[(size_t)r * (size_t)ldk + c];
        V[at] = v[(size_t)r * (size_t)ldv + c];
    }
}

void es_cuda_kv_store(es_device *d, es_dtype t, void *K, void *V, const void *k, int ldk, const void *v, int ldv,
                      const int32_t *slot, const int32_t *pos, const int32_t *rows, int R, int T_, int H, int D)
{
    ES_SWITCH_FLOAT(t, T,
                    ES_LAUNCH(d, store_rows<T>, (unsigned)R, 128, 0, (T *)K, (T *)V, (const T *)k, ldk, (const T *)v, ldv,
                              slot, pos, rows, R, T_, H, D))
}

/* Values at .. at+N-1 of a head of D, zeros past its end. EVEN: heads start and end at multiples of 16 bytes. */
template <class T, bool EVEN> static __device__ __forceinline__ es_vector<T> load_unit(const T *head, int at, int D)
{
    es_vector<T> a;

    if (EVEN && at < D) return es_load16(head + at);
    ES_UNROLL
    for (int i = 0; i < es_vector<T>::N; i++) {
        if (!EVEN && at + i < D) a.v[i] = head[at + i];
        else es_store(&a.v[i], 0.0f);
    }
    return a;
}

/* One slice of keys of one row and head; `lanes` (a power of two) threads share a key, each with N values of it.
 * part: [R, H, slices, D + 2]: maximum, sum, unnormalised output. */
template <class T, bool EVEN>
static __global__ void cached_slice(float *part, const T *q, int ldq, const T *K, const T *V, const int32_t *slot,
                                    const int32_t *len, const int32_t *parent, const int32_t *rows, int planned, int T_, int H,
                                    int D, float scale, float *scores, const int32_t *heads, int n_pairs, int slices, int lanes,
                                    int r0)
{
    enum { N = es_vector<T>::N };
    ES_SHARED(float, p, SLICE);
    ES_SHARED(float, qs, 256);
    ES_SHARED(float, join, CACHED_THREADS *N);
    ES_SHARED(float, red, 32);
    int r = r0 + (int)blockIdx.x, h = (int)blockIdx.y, k0 = (int)blockIdx.z * SLICE, me = (int)threadIdx.x;

    if (r >= es_live_rows(rows, planned) || slot[r] < 0) return;
    int n = min((len ? len[r] : T_) - k0, (int)SLICE), own = slot[r];
    if (n <= 0) return;
    for (int c = me; c < lanes * N; c += CACHED_THREADS) qs[c] = c < D ? es_load(q + (size_t)r * (size_t)ldq + h * D + c) : 0;
    ES_SYNC();

    int group = me / lanes, groups = CACHED_THREADS / lanes, unit = me % lanes;
    for (int j0 = 0; j0 < n; j0 += groups) { /* the same for all: shuffles need every lane */
        int j = j0 + group;
        float s = 0;
        if (j < n) {
            int from = parent ? parent[(size_t)own * (size_t)T_ + (size_t)(k0 + j)] : own;
            es_vector<T> a = load_unit<T, EVEN>(
                K + (((size_t)from * (size_t)H + (size_t)h) * (size_t)T_ + (size_t)(k0 + j)) * (size_t)D, unit * N, D);
            ES_UNROLL
            for (int i = 0; i < N; i++) s = fmaf(qs[unit * N + i], es_load(&a.v[i]), s);
        }
        for (int bits = lanes / 2; bits > 0; bits >>= 1) s += ES_SHFL_XOR(s, bits);
        if (unit == 0 && j < n) p[j] = s * scale;
    }
    ES_SYNC();
    if (scores) {
        for (int i = 0; i < n_pairs; i++) {
            if (heads[i] != h) continue;
            for (int j = me; j < n; j += CACHED_THREADS)
                scores[((size_t)r * (size_t)n_pairs + (size_t)i) * (size_t)T_ + (size_t)(k0 + j)] = p[j];
        }
    }
    float top = -INFINITY, sum = 0;
    for (int j = me; j < n; j += CACHED_THREADS) top = fmaxf(top, p[j]);
    top = es_block_max(top, red);
    ES_SYNC();
    for (int j = me; j < n; j += CACHED_THREADS) {
        p[j] = expf(p[j] - top);
        sum += p[j];
    }
    sum = es_block_sum(sum, red);
    ES_SYNC();

    float o[N];
    ES_UNROLL
    for (int i = 0; i < N; i++) o[i] = 0;
    for (int j = group; j < n; j += groups) {
        int from = parent ? parent[(size_t)own * (size_t)T_ + (size_t)(k0 + j)] : own;
        es_vector<T> a = load_unit<T, EVEN>(
            V + (((size_t)from * (size_t)H + (size_t)h) * (size_t)T_ + (size_t)(k0 + j)) * (size_t)D, unit * N, D);
        ES_UNROLL
        for (int i = 0; i < N; i++) o[i] = fmaf(p[j], es_load(&a.v[i]), o[i]);
    }
    ES_UNROLL
    for (int i = 0; i < N; i++) join[me * N + i] = o[i];
    ES_SYNC();
    float *to = part + (((size_t)blockIdx.x * (size_t)H + (size_t)h) * (size_t)slices + blockIdx.z) * (size_t)(D + 2);
    if (me == 0) to[0] = top, to[1] = sum;
    for (int c = me; c < D; c += CACHED_THREADS) {
        float a = 0;
        for (int g = 0; g < groups; g++) a += join[(g * lanes + c / N) * N + c % N];
        to[2 + c] = a;
    }
}

template <class T>
static __global__ void cached_join(T *y, const float *part, const int32_t *slot, const int32_t *len, const int32_t *rows,
                                   int planned, int T_, int H, int D, int slices, int r0)
{
    int r = r0 + (int)blockIdx.x, h = (int)blockIdx.y;

    if (r >= es_live_rows(rows, planned) || slot[r] < 0) return;
    int n = ((len ? len[r] : T_) + SLICE - 1) / SLICE;
    const float *from = part + ((size_t)blockIdx.x * (size_t)H + (size_t)h) * (size_t)slices * (size_t)(D + 2);
    float top = -INFINITY, sum = 0;
    for (int s = 0; s < n; s++) top = fmaxf(top, from[(size_t)s * (size_t)(D + 2)]);
    for (int s = 0; s < n; s++) sum += from[(size_t)s * (size_t)(D + 2) + 1] * expf(from[(size_t)s * (size_t)(D + 2)] - top);
    for (int c = (int)threadIdx.x; c < D; c += (int)blockDim.x) {
        float a = 0;
        for (int s = 0; s < n; s++) {
            const float *f = from + (size_t)s * (size_t)(D + 2);
            a = fmaf(f[2 + c], expf(f[0] - top), a);
        }
        es_store(y + (size_t)r * (size_t)(H * D) + h * D + c, n > 0 ? a / sum : 0);
    }
}

template <class T>
static void cached(es_device *d, T *y, const T *q, int ldq, const T *K, const T *V, const int32_t *slot, const int32_t *len,
                   const int32_t *parent, const int32_t *rows, int R, int T_, int H, int D, float scale, float *scores,
                   const int32_t *heads, int n_pairs)
{
    size_t room, row_bytes;
    float *part = (float *)es_cuda_workspace(d, &room);
    const int N = (int)es_vector<T>::N;
    int slices = (T_ + SLICE - 1) / SLICE, lanes = 1;

    while (lanes * N < D) lanes *= 2;
    if (lanes > 32) {
        es_cuda_keep_fault(d, "attend_cached", "a head wider than 512 bytes", 1);
        return;
    }
    row_bytes = (size_t)H * (size_t)slices * (size_t)(D + 2) * sizeof(float);
    for (int r0 = 0; r0 < R;) {
        int n = (int)(room / row_bytes) < R - r0 ? (int)(room / row_bytes) : R - r0;
        dim3 grid((unsigned)n, (unsigned)H, (unsigned)slices);
        if (D % N == 0)
            ES_LAUNCH(d, (cached_slice<T, true>), grid, CACHED_THREADS, 0, part, q, ldq, K, V, slot, len, parent, rows, R, T_, H,
                      D, scale, scores, heads, n_pairs, slices, lanes, r0);
        else
            ES_LAUNCH(d, (cached_slice<T, false>), grid, CACHED_THREADS, 0, part, q, ldq, K, V, slot, len, parent, rows, R, T_,
                      H, D, scale, scores, heads, n_pairs, slices, lanes, r0);
        ES_LAUNCH(d, cached_join<T>, dim3((unsigned)n, (unsigned)H), 64, 0, y, part, slot, len, rows, R, T_, H, D, slices, r0);
        r0 += n;
    }
}

void es_cuda_attend_cached(es_device *d, es_dtype t, void *y, const void *q, int ldq, const void *K, const void *V,
                           const int32_t *slot, const int32_t *len, const int32_t *parent, const int32_t *rows, int R, int T_,
                           int H, int D, float scale, float *scores, const int32_t *heads, int n_pairs)
{
    ES_SWITCH_FLOAT(t, T,
                    cached(d, (T *)y, (const T *)q, ldq, (const T *)K, (const T *)V, slot, len, parent, rows, R, T_, H, D,
                           scale, scores, heads, n_pairs))
}
