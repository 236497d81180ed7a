/*
 * mma.cuh - tensor-core tiles and asynchronous copies: the only inline PTX of the project, each with its plain twin.
 *
 * The instructions are those that run from sm_80 to sm_120: mma.sync m16n8k16, ldmatrix, cp.async. Under the emulator the
 * twins are warp collectives that gather the fragments of 32 lanes, so a kernel that calls them from a part of a warp, or
 * reads a tile before its copy was waited for, is caught there.
 *
 * Fragments of m16n8k16, lane = 4 g + t (g = lane / 4, t = lane % 4):
 *     A [16, 16] row-major   a0 = {A[g][2t], +1}   a1 = {A[g+8][2t], +1}   a2 = {A[g][2t+8], +1}   a3 = {A[g+8][2t+8], +1}
 *     B [16, 8]  (k, n)      b0 = {B[2t][g], B[2t+1][g]}                   b1 = {B[2t+8][g], B[2t+9][g]}
 *     C, D [16, 8] f32       c0, c1 = C[g][2t], +1                         c2, c3 = C[g+8][2t], +1
 */
#ifndef ES_MMA_CUH
#define ES_MMA_CUH

#include "kernels/launch.cuh"

#ifdef ES_SIMT

struct es_mma_in {
    uint32_t a[4], b[2];
    float c[4];
    int bf16;
};

static inline float es_mma_part(uint32_t pair, int high, int bf16)
{
    uint16_t h = static_cast<uint16_t>(high ? pair >> 16 : pair);

    return bf16 ? __uint_as_float(static_cast<unsigned>(h) << 16) : simt_half_to_float(h);
}

static inline void es_mma_twin(simt::lane_io *lanes, uint32_t)
{
    static thread_local float A[16][16], B[16][8];
    es_mma_in in;

    for (int l = 0; l < 32; l++) {
        int g = l / 4, t = l % 4;
        memcpy(&in, lanes[l].in, sizeof in);
        for (int e = 0; e < 2; e++) {
            A[g][2 * t + e] = es_mma_part(in.a[0], e, in.bf16);
            A[g + 8][2 * t + e] = es_mma_part(in.a[1], e, in.bf16);
            A[g][2 * t + 8 + e] = es_mma_part(in.a[2], e, in.bf16);
            A[g + 8][2 * t + 8 + e] = es_mma_part(in.a[3], e, in.bf16);
            B[2 * t + e][g] = es_mma_part(in.b[0], e, in.bf16);
            B[2 * t + 8 + e][g] = es_mma_part(in.b[1], e, in.bf16);
        }
    }
    for (int l = 0; l < 32; l++) {
        int g = l / 4, t = l % 4;
        float d[4];
        memcpy(&in, lanes[l].in, sizeof in);
        for (int e = 0; e < 4; e++) {
            float s = in.c[e];
            for (int k = 0; k < 16; k++) s = __builtin_fmaf(A[g + (e / 2) * 8][k], B[k][2 * t + e % 2], s);
            d[e] = s;
        }
        memcpy(lanes[l].out, d, sizeof d);
    }
}

static inline void es_mma_any(float *c, const uint32_t *a, const uint32_t *b, int bf16, int line)
{
    es_mma_in in;

    memcpy(in.a, a, sizeof in.a);
    memcpy(in.b, b, sizeof in.b);
    memcpy(in.c, c, sizeof in.c);
    in.bf16 = bf16;
    simt::collective("mma.sync", es_mma_twin, &in, sizeof in, c, 4 * sizeof(float), __FILE__, line);
}

struct es_ldmatrix_in {
    const void *row;
    int n, trans;
};

static inline void es_ldmatrix_twin(simt::lane_io *lanes, uint32_t)
{
    uint16_t tile[4][8][8];
    es_ldmatrix_in in, first;

    memcpy(&first, lanes[0].in, sizeof first);
    for (int l = 0; l < 8 * first.n; l++) {
        memcpy(&in, lanes[l].in, sizeof in);
        simt::check_shared(in.row, 16, 16, "ldmatrix");
        memcpy(tile[l / 8][l % 8], in.row, 16);
    }
    for (int l = 0; l < 32; l++) {
        for (int j = 0; j < first.n; j++) {
            int r = l / 4, c = 2 * (l % 4);
            uint32_t lo = first.trans ? tile[j][c][r] : tile[j][r][c];
            uint32_t hi = first.trans ? tile[j][c + 1][r] : tile[j][r][c + 1];
            uint32_t v = lo | hi << 16;
            memcpy(lanes[l].out + 4 * j, &v, 4);
        }
    }
}

static inline void es_ldmatrix_any(uint32_t *r, int n, const void *row, int trans, int line)
{
    es_ldmatrix_in in = {row, n, trans};

    simt::collective("ldmatrix", es_ldmatrix_twin, &in, sizeof in, r, 4 * static_cast<size_t>(n), __FILE__, line);
}

static inline void es_mma_first(float *c, const uint32_t *a, const uint32_t *b, int bf16, int line)
{
    c[0] = c[1] = c[2] = c[3] = 0;
    es_mma_any(c, a, b, bf16, line);
}

#define es_mma_f16(c, a, b)        es_mma_any(c, a, b, 0, __LINE__)
#define es_mma_bf16(c, a, b)       es_mma_any(c, a, b, 1, __LINE__)
#define es_mma_first_f16(c, a, b)  es_mma_first(c, a, b, 0, __LINE__)
#define es_mma_first_bf16(c, a, b) es_mma_first(c, a, b, 1, __LINE__)
#define es_ldmatrix_x2(r, p)       es_ldmatrix_any(r, 2, p, 0, __LINE__)
#define es_ldmatrix_x4(r, p)       es_ldmatrix_any(r, 4, p, 0, __LINE__)
#define es_ldmatrix_x2_trans(r, p) es_ldmatrix_any(r, 2, p, 1, __LINE__)
#define es_ldmatrix_x4_trans(r, p) es_ldmatrix_any(r, 4, p, 1, __LINE__)
#define es_exp2(v)                 exp2f(v)
#define es_cp_async16(to, from, valid) simt::async_copy(to, from, 16, (valid) ? 16 : 0)
#define es_cp_async_commit()       simt::async_commit()
#define es_cp_async_wait(left)     simt::async_wait(left)

#else

static __device__ __forceinline__ unsigned es_shared_address(const void *p)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

/* c += a b; a 4, b 2 registers of two f16 each. */
static __device__ __forceinline__ void es_mma_f16(float *c, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
static __device__ __forceinline__ void es_mma_bf16(float *c, const uint32_t *a, const uint32_t *b)
{
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* c = a b: the first of a chain, which need not be set to zero before. */
static __device__ __forceinline__ void es_mma_first_f16(float *c, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};\n"
                 : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
}
static __device__ __forceinline__ void es_mma_first_bf16(float *c, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};\n"
                 : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
}

/* Lanes 8j .. 8j+7 give the row addresses (16 bytes each, aligned) of the 8 x 8 matrix j; lane i gets two elements. */
static __device__ __forceinline__ void es_ldmatrix_x2(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(es_shared_address(row))
                 : "memory");
}
static __device__ __forceinline__ void es_ldmatrix_x4(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(es_shared_address(row))
                 : "memory");
}
static __device__ __forceinline__ void es_ldmatrix_x2_trans(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(es_shared_address(row))
                 : "memory");
}
static __device__ __forceinline__ void es_ldmatrix_x4_trans(uint32_t *r, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(es_shared_address(row))
                 : "memory");
}

/* 2^v, what is subnormal zero: exp2f() spends three instructions more on those. */
static __device__ __forceinline__ float es_exp2(float v)
{
    float r;

    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(r) : "f"(v));
    return r;
}

/* 16 bytes from global to shared memory; zeros when not valid (from must still be an address of the tensor). */
static __device__ __forceinline__ void es_cp_async16(void *to, const void *from, bool valid)
{
    int bytes = valid ? 16 : 0;

    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(es_shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}
static __device__ __forceinline__ void es_cp_async_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}
/* Waits until at most `left` of the newest groups are under way; left must be a constant. */
#define es_cp_async_wait(left) asm volatile("cp.async.wait_group %0;\n" ::"n"(left) : "memory")

#endif
#endif
