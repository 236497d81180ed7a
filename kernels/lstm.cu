/*
 * lstm.cu - a recurrent layer in both directions; its CPU twin is in frames.c.
 *
 *     sums[4h] = x[t] + W state    cell = s(f) cell + s(i) tanh(g)    state = s(o) tanh(cell)
 *
 * What the inputs give the gates is a product for all frames, made before. What is left is a chain: at width 128, 65,536
 * multiply-adds a frame, window and direction, in which all of W, 256 KB of f32 a direction, is needed in every frame. A block
 * per window that reads it from the second-level cache moves 1.2 GB a window through 4 layers of 589 frames. So, at width 128
 * with weights in f32:
 *
 * A block takes one direction of 8 windows and walks all frames. Its 16 warps have 8 units each, with all four gates of them:
 * 32 rows of W, two tiles of the tensor cores, whose other side is the state of the 8 windows. The rows lie in the tiles such
 * that a thread ends up with the four gates of one unit in two windows: gates and cells never leave its registers, the state is
 * all that is exchanged, and with two copies of it one barrier a frame is enough. Windows do not meet in any sum, so a window
 * has the same bits wherever it stands.
 *
 * Precision is f32's. A value v is split into halves, v = a + b, a the f16 nearest v, b the f16 nearest v - a: 24 bits. Of the
 * product's four parts three are computed; b of W times b of the state is below the last bit. Rows of W are scaled by the power
 * of two that puts their largest value just below 2^15, the state by 2^15, so that no half is subnormal that matters; that is
 * exact. The sums of a times a are taken outside of the tensor cores, 16 inputs at a time, because those cut where f32 rounds
 * (Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores", 2022).
 *
 * W stays on the chip: of a warp's 16 tiles the a of 14 in registers (56 a thread), of 2 in shared memory; the b of as many as
 * the card's shared memory takes (8 KB each, pairs: all 16 where a block may have 152 KB, 8 where 99 KB). The other b are
 * split off W again in every frame, with the same result.
 *
 * A frame of a block, counted and not measured. Tiles: 3 x 256 of m16n8k16, 1 to 1.6 cycles each on an H100, 2 on an A100, 8 on
 * cards that sum in f32 at half speed: 1230, 1536, 6144 cycles. Shared memory at 128 bytes a cycle: 144 KB of W and 128 KB of
 * states, 2200 cycles, beside the tiles. 1024 cells of 3 sigmoids and 2 tangents: some 350 instructions a thread, 4 warps a
 * scheduler, 1400 cycles, which the barrier keeps from running beside much else. So 3000 to 3600 cycles, 2 us on an H100; 589
 * frames of 4 layers are 4.7 ms for any number of windows up to 8 on half of its multiprocessors, 528: 37 us a window in batches
 * of 128. Cards of half speed: 7500 cycles. Bound by the chain, then by shared memory or the tensor cores; from memory come 16
 * KB of x a frame, asked for one frame ahead.
 *
 * Other widths and weights: a block per direction and window, a thread per gate row. Not fast; no model has one.
 */
#include "kernels/cuda.cuh"
#include "kernels/mma.cuh"
#include "kernels/reduce.cuh"

static __device__ __forceinline__ float sigmoid(float v)
{
    return 1.0f / (1.0f + expf(-v));
}

/* ---- width 128 ---- */

enum { H = 128, WINDOWS = 8, WARPS = H / 8, THREADS = 32 * WARPS, DEPTHS = H / 16, TILES = 2 * DEPTHS /* of a warp */ };
enum { STATE = WINDOWS * H * 2 /* halves of one copy of the state */, TILE_BYTES = THREADS * 16,
       HELD = 14 /* tiles of a warp whose a stand in registers */ };

/* Where a window's units 4 q .. 4 q + 3 stand: their a, then their b, 16 bytes. Shuffled such that neither the reading of a
 * fragment (two windows, four q) nor the writing of a unit (four windows, two q) meets a bank twice. */
static __device__ __forceinline__ unsigned state_at(unsigned window, unsigned q)
{
    return window * H * 2 + (q ^ ((window & 1) << 2 ^ (window >> 1) << 1)) * 8;
}

static __device__ __forceinline__ uint32_t pack(__half low, __half high)
{
    return (uint32_t)__half_as_ushort(low) | (uint32_t)__half_as_ushort(high) << 16;
}

/* Four weights of a row, as f32. The order of inputs in a tile is the lanes' own: lane t has inputs 4 t .. 4 t + 3 where the
 * instruction speaks of 2 t, 2 t + 1, 2 t + 8 and 2 t + 9; the state is read the same way. */
static __device__ __forceinline__ void four(float *v, const float *w)
{
    es_vector<float> r = es_load16(w);
    ES_UNROLL
    for (int i = 0; i < 4; i++) v[i] = r.v[i];
}

/* The scales of a thread's four rows are 2^(15 - power), so that a sum of products with the scaled state is worth 2^(power - 30)
 * of its value. Kept as one register: a byte for each, of the exponent of 2^(power - 30). From the lanes that share the rows. */
static __device__ __forceinline__ unsigned powers_of(const float *row)
{
    unsigned all = 0;

    ES_ROLLED
    for (int q = 0; q < 4; q++) {
        float most = 0, v[4];
        int power = 0;
        ES_ROLLED
        for (int i = 0; i < DEPTHS; i++) {
            four(v, row + q * H * H + i * 16);
            ES_UNROLL
            for (int e = 0; e < 4; e++) most = fmaxf(most, fabsf(v[e]));
        }
        most = fmaxf(most, ES_SHFL_XOR(most, 1));
        most = fmaxf(most, ES_SHFL_XOR(most, 2));
        frexpf(most, &power);
        all |= (unsigned)(min(max(power, -40), 128) - 30 + 127) << 8 * q;
    }
    return all;
}
static __device__ __forceinline__ float scale(unsigned powers, int q) /* 2^(15 - power) */
{
    return __uint_as_float((239u - (powers >> 8 * q & 255u)) << 23);
}
static __device__ __forceinline__ float raise(unsigned powers, int q) /* 2^(30 - power) */
{
    return __uint_as_float((254u - (powers >> 8 * q & 255u)) << 23);
}
static __device__ __forceinline__ float lower(unsigned powers, int q) /* 2^(power - 30) */
{
    return __uint_as_float((powers >> 8 * q & 255u) << 23);
}

/* The fragment of tile m, inputs 16 k .. 16 k + 15: a of the scaled weights, or with `rest` b. row: gate i of the lane's unit. */
static __device__ __forceinline__ void tile_of(uint32_t *f, const float *row, int k, int m, unsigned powers, bool rest)
{
    ES_UNROLL
    for (int r = 0; r < 2; r++) {
        float v[4], by = scale(powers, 2 * m + r);
        __half h[4];
        four(v, row + (2 * m + r) * H * H + 16 * k);
        ES_UNROLL
        for (int i = 0; i < 4; i++) {
            h[i] = __float2half_rn(v[i] * by);
            if (rest) h[i] = __float2half_rn(v[i] * by - __half2float(h[i]));
        }
        f[r] = pack(h[0], h[1]);
        f[2 + r] = pack(h[2], h[3]);
    }
}

/* a and b of inputs 16 k .. 16 k + 15 of the state of the lane's window; read: state_at(window, t). */
static __device__ __forceinline__ es_vector<uint32_t> state_of(const __half *state, unsigned read, int k)
{
    return es_load16(reinterpret_cast<const uint32_t *>(state + (read ^ (unsigned)(k % 2 * 32)) + k / 2 * 64));
}

static __device__ __forceinline__ void large_parts(float *sum, float *small, const uint32_t *a, const uint32_t *h)
{
    float part[4] = {0, 0, 0, 0};

    es_mma_f16(part, a, h);
    es_mma_f16(small, a, h + 2);
    ES_UNROLL
    for (int e = 0; e < 4; e++) sum[e] += part[e];
}

/* kept: tiles of a warp whose b stand in shared memory, an even number. */
static __global__ void __launch_bounds__(THREADS)
    lstm_tiles(float *y, const float *x, const float *weights, const int32_t *batches, int B, int T, int kept)
{
    ES_SMEM(unsigned char, shared);
    unsigned t = threadIdx.x % 4, unit = threadIdx.x / 4; /* warp * 8 + g */
    int dir = (int)blockIdx.y;
    int first = (int)blockIdx.x * WINDOWS, live = es_live_rows(batches, B);
    __half *state = reinterpret_cast<__half *>(shared);
    uint32_t *more = reinterpret_cast<uint32_t *>(shared + 2 * STATE * sizeof(__half)) + threadIdx.x * 4; /* the other tiles' a */
    uint32_t *rest = more + (TILES - HELD) * THREADS * 4;                                                 /* b */
    const float *row = weights + ((size_t)dir * 4 * H + unit) * H + t * 4; /* of gate i; the others' are H rows on */
    float sum[2][4], cell[2] = {0, 0};
    uint32_t a[HELD][4];

    if (first >= live) return;
    unsigned powers = powers_of(row);
    ES_ROLLED
    for (int i = 0; i < kept; i++) tile_of(rest + i * THREADS * 4, row, i / 2, i % 2, powers, true);
    for (int i = (int)threadIdx.x; i < STATE; i += THREADS) state[i] = __float2half_rn(0.0f);
    /* By way of shared memory: else the compiler asks for all of W first, and has no registers left for it. */
    ES_UNROLL
    for (int i = 0; i < TILES; i++) {
        uint32_t *to = i < HELD ? more : more + (i - HELD) * THREADS * 4;
        tile_of(to, row, i / 2, i % 2, powers, false);
        ES_SYNC();
        if (i >= HELD) continue;
        es_vector<uint32_t> f = es_load16(to);
        ES_UNROLL
        for (int e = 0; e < 4; e++) a[i][e] = f.v[e];
    }

    /* This thread's windows are 2 t and 2 t + 1; `frame` counts from the block's first window, within which 31 bits are enough. */
    int here[2] = {first + 2 * (int)t < live, first + 2 * (int)t + 1 < live}, frame = 2 * (int)t * T + (dir ? T - 1 : 0), step = dir ? -1 : 1;
    unsigned read = state_at(unit % 8, t), write = STATE + state_at(2 * t, unit / 4) + unit % 4; /* the copies are exchanged by ^ STATE */
    const float *in = x + (size_t)first * (size_t)T * 8 * H + dir * 4 * H;
    float *out = y + (size_t)first * (size_t)T * 2 * H + dir * H;

    ES_UNROLL
    for (int q = 0; q < 4; q++) {
        ES_UNROLL
        for (int e = 0; e < 2; e++) sum[q / 2][q % 2 * 2 + e] = here[e] ? in[(frame + e * T) * 8 * H + q * H + (int)unit] : 0;
    }
    ES_SYNC();
    for (int left = T; left > 0; left--) {
        float small[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}}, gate[4][2];
        ES_OPAQUE(powers); /* else eight registers hold the scales through all frames */
        ES_UNROLL
        for (int i = 0; i < 8; i++) sum[i / 4][i % 4] *= raise(powers, i / 2);
        ES_UNROLL
        for (int k = 0; k < HELD / 2; k++) {
            es_vector<uint32_t> h = state_of(state, read, k);
            ES_UNROLL
            for (int m = 0; m < 2; m++) large_parts(sum[m], small[m], a[2 * k + m], h.v);
        }
        ES_ROLLED
        for (int k = 0; k < DEPTHS; k++) {
            es_vector<uint32_t> h = state_of(state, read, k), f;
            ES_UNROLL
            for (int m = 0; m < 2; m++) {
                if (k >= HELD / 2) {
                    f = es_load16(more + (2 * k + m - HELD) * THREADS * 4);
                    large_parts(sum[m], small[m], f.v, h.v);
                }
                if (2 * k < kept) f = es_load16(rest + (2 * k + m) * THREADS * 4);
                else tile_of(f.v, row, k, m, powers, true);
                es_mma_f16(small[m], f.v, h.v);
            }
        }
        ES_UNROLL
        for (int i = 0; i < 8; i++) gate[i / 2][i % 2] = (sum[i / 4][i % 4] + small[i / 4][i % 4]) * lower(powers, i / 2);
        /* The next frame's x is on its way while the cells are computed. */
        ES_UNROLL
        for (int q = 0; q < 4; q++) {
            ES_UNROLL
            for (int e = 0; e < 2; e++)
                sum[q / 2][q % 2 * 2 + e] = here[e] && left > 1 ? in[(frame + step + e * T) * 8 * H + q * H + (int)unit] : 0;
        }
        ES_UNROLL
        for (int e = 0; e < 2; e++) {
            cell[e] = sigmoid(gate[1][e]) * cell[e] + sigmoid(gate[0][e]) * tanhf(gate[2][e]);
            float v = sigmoid(gate[3][e]) * tanhf(cell[e]), scaled = v * 0x1p15f;
            __half high = __float2half_rn(scaled), *to = state + (e ? (write ^ 32) + 2 * H : write); /* state_at(2 * t + e, ..) */
            if (here[e]) out[(frame + e * T) * 2 * H + (int)unit] = v;
            to[0] = high;
            to[4] = __float2half_rn(scaled - __half2float(high));
        }
        frame += step;
        read ^= STATE;
        write ^= STATE;
        ES_SYNC();
    }
}

/* ---- any width ---- */

enum { MOST_WIDTH = 256, MOST_FRAMES = 1 << 17 /* of the other form */ };

template <class W>
static __global__ void lstm_rows(float *y, const float *x, const W *weights, const int32_t *batches, int B, int T, int h)
{
    ES_SHARED(float, state, MOST_WIDTH);
    ES_SHARED(float, cell, MOST_WIDTH);
    ES_SHARED(float, gate, 4 * MOST_WIDTH);
    int b = (int)blockIdx.x, dir = (int)blockIdx.y;

    if (b >= es_live_rows(batches, B)) return;
    for (int k = (int)threadIdx.x; k < h; k += (int)blockDim.x) state[k] = cell[k] = 0;
    ES_SYNC();
    for (int s = 0; s < T; s++) {
        size_t frame = (size_t)b * (size_t)T + (size_t)(dir ? T - 1 - s : s);
        for (int r = (int)threadIdx.x; r < 4 * h; r += (int)blockDim.x) {
            const W *row = weights + ((size_t)dir * 4 * (size_t)h + (size_t)r) * (size_t)h;
            float v = 0;
            for (int k = 0; k < h; k++) v = fmaf(state[k], es_load(row + k), v);
            v += x[frame * 8 * (size_t)h + (size_t)dir * 4 * (size_t)h + (size_t)r];
            gate[r] = r / h == 2 ? tanhf(v) : sigmoid(v);
        }
        ES_SYNC();
        for (int k = (int)threadIdx.x; k < h; k += (int)blockDim.x) {
            cell[k] = gate[h + k] * cell[k] + gate[k] * gate[2 * h + k];
            state[k] = gate[3 * h + k] * tanhf(cell[k]);
            y[frame * 2 * (size_t)h + (size_t)dir * (size_t)h + (size_t)k] = state[k];
        }
        ES_SYNC();
    }
}

/* ---- launchers ---- */

static void launch_tiles(es_device *d, float *y, const float *x, const float *W, const int32_t *batches, int B, int T)
{
    dim3 grid((unsigned)((B + WINDOWS - 1) / WINDOWS), 2);
    size_t bytes = 2 * STATE * sizeof(__half) + (size_t)(TILES - HELD) * TILE_BYTES;
    int kept = min((int)TILES, (int)((es_cuda_block_shared(d) - bytes) / TILE_BYTES) & ~1);

    bytes += (size_t)kept * TILE_BYTES;
    ES_ALLOW_SMEM(lstm_tiles, bytes);
    ES_LAUNCH(d, lstm_tiles, grid, THREADS, bytes, y, x, W, batches, B, T, kept);
}

void es_cuda_lstm(es_device *d, float *y, const float *x, es_matrix W, const int32_t *batches, int B, int T, int h)
{
    if (h > MOST_WIDTH) es_cuda_keep_fault(d, "lstm", "a layer wider than 256", 1);
    else if (h == H && W.dtype == ES_F32 && T <= MOST_FRAMES) launch_tiles(d, y, x, (const float *)W.p, batches, B, T);
    else {
        ES_SWITCH_FLOAT(W.dtype, WT, ES_LAUNCH(d, lstm_rows<WT>, dim3((unsigned)B, 2), 512, 0, y, x, (const WT *)W.p, batches, B, T, h))
    }
}
