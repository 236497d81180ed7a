/*
 * test_simt.cc - the emulator itself: good kernels give the right result in every order, broken ones are caught.
 */
#include <cublasLt.h>

#include "kernels/mma.cuh"
#include "kernels/reduce.cuh"

#include "tests/test.h"

#include <string>

cudaStream_t es_cuda_stream(es_device *)
{
    static cudaStream_t s;
    if (!s) cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    return s;
}
void es_cuda_note(es_device *, const char *)
{
}

static std::string heard;
static void listen(void *, const char *text)
{
    if (heard.empty()) heard = text;
}

static const simt::order orders[3] = {simt::forward, simt::reverse, simt::shuffled};
static es_device *const none = nullptr;

static void sync()
{
    cudaStreamSynchronize(es_cuda_stream(none));
}

/* ---- kernels: each has a good form and broken ones ---- */

template <int BARRIER> static __global__ void reverse_block(float *y, const float *x, int n)
{
    ES_SMEM(float, tile);
    int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);

    tile[threadIdx.x] = i < n ? x[i] : 0;
    if (BARRIER) ES_SYNC();
    if (i < n) y[i] = tile[blockDim.x - 1 - threadIdx.x];
}

static __global__ void divergent(float *y)
{
    if (threadIdx.x < 20) ES_SYNC();
    y[threadIdx.x] = 1;
}

static __global__ void two_places(float *y)
{
    if (threadIdx.x % 2) ES_SYNC();
    else ES_SYNC();
    y[threadIdx.x] = 1;
}

static __global__ void part_of_a_warp(float *y)
{
    if (threadIdx.x < 7) return;
    y[threadIdx.x] = es_warp_sum(1.0f);
}

static __global__ void overflow(float *y, int extra)
{
    ES_SHARED(float, a, 32);
    volatile float *p = a;
    if (threadIdx.x == 0) p[31 + extra] = 1;
    y[threadIdx.x] = 0;
}

template <int WAIT> static __global__ void async_rows(float *y, const float *x)
{
    ES_SHARED(float, a, 128);
    es_cp_async16(a + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x < 16);
    es_cp_async_commit();
    if (WAIT) es_cp_async_wait(0);
    ES_SYNC();
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + static_cast<unsigned>(i)] = a[127 - (4 * threadIdx.x + static_cast<unsigned>(i))];
    if (!WAIT) es_cp_async_wait(0);
}

static __global__ void block_sums(float *y, const float *x, int n)
{
    ES_SHARED(float, part, 32);
    float s = 0;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) s += x[i];
    s = es_block_sum(s, part);
    float m = es_block_max(x[threadIdx.x], part);
    if (threadIdx.x == 0) y[0] = s, y[1] = m;
}

/* C[16,8] = A[16,16] B[8,16]^T through ldmatrix and mma. */
static __global__ void tile_product(float *c, const __half *a, const __half *b)
{
    ES_SHARED(__half, sa, 256);
    ES_SHARED(__half, sb, 128);
    uint32_t ra[4], rb[2];
    float rc[4] = {0, 0, 0, 0};
    unsigned lane = threadIdx.x;

    for (unsigned i = lane; i < 256; i += 32) sa[i] = a[i];
    for (unsigned i = lane; i < 128; i += 32) sb[i] = b[i];
    ES_SYNC();
    es_ldmatrix_x4(ra, sa + (lane % 16) * 16 + (lane / 16) * 8);
    es_ldmatrix_x2(rb, sb + (lane % 8) * 16 + (lane / 8 % 2) * 8);
    es_mma_f16(rc, ra, rb);
    unsigned g = lane / 4, t = lane % 4;
    c[g * 8 + 2 * t] = rc[0];
    c[g * 8 + 2 * t + 1] = rc[1];
    c[(g + 8) * 8 + 2 * t] = rc[2];
    c[(g + 8) * 8 + 2 * t + 1] = rc[3];
}

static __global__ void add_one(float *x, int n)
{
    int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) x[i] += 1;
}

/* ---- tests ---- */

static void good_kernels_agree_in_every_order()
{
    enum { N = 300 };
    static float x[N], y[3][N];
    es_noise noise = {1};

    es_noise_fill(&noise, x, N, 1);
    for (int o = 0; o < 3; o++) {
        simt::set_order(orders[o], 7);
        ES_LAUNCH(none, reverse_block<1>, 3, 128, 128 * sizeof(float), y[o], x, int(N));
        sync();
        CHECK(!memcmp(y[o], y[0], 256 * sizeof(float)), "order %d differs", o);
        for (int i = 0; i < 256; i++) CHECK(y[o][i] == x[i / 128 * 128 + 127 - i % 128], "at %d: %g", i, (double)y[o][i]);
    }
}

static void a_missing_barrier_shows()
{
    enum { N = 128 };
    static float x[N], y[3][N];
    es_noise noise = {2};
    bool same = true;

    es_noise_fill(&noise, x, N, 1);
    for (int o = 0; o < 3; o++) {
        simt::set_order(orders[o], 7);
        ES_LAUNCH(none, reverse_block<0>, 1, N, N * sizeof(float), y[o], x, int(N));
        sync();
        same = same && !memcmp(y[o], y[0], sizeof y[0]);
    }
    CHECK(!same, "the three orders agree on a kernel without its barrier");
}

static void expect_report(const char *part)
{
    sync();
    CHECK(heard.find(part) != std::string::npos, "no report with \"%s\": \"%s\"", part, heard.c_str());
    heard.clear();
}

static void broken_kernels_are_reported()
{
    static float y[64];

    simt::set_report(listen, nullptr);
    for (int o = 0; o < 3; o++) {
        simt::set_order(orders[o], 3);
        ES_LAUNCH(none, divergent, 1, 64, 0, y);
        expect_report("divergent barrier");
        ES_LAUNCH(none, two_places, 1, 64, 0, y);
        expect_report("divergent barrier: threads meet at different ones");
        ES_LAUNCH(none, part_of_a_warp, 1, 64, 0, y);
        expect_report("some lanes of the warp ended");
#ifndef __SANITIZE_ADDRESS__ /* which would end the program at the write itself */
        ES_LAUNCH(none, overflow, 1, 32, 0, y, 1);
        expect_report("past the end of a shared array");
#endif
        ES_LAUNCH(none, overflow, 1, 32, 0, y, 0);
        sync();
        CHECK(heard.empty(), "a good kernel was reported: %s", heard.c_str());
        ES_LAUNCH(none, add_one, 1, 2048, 0, y, 1);
        expect_report("launch of");
    }
    simt::set_report(nullptr, nullptr);
}

static void asynchronous_copies_need_their_wait()
{
    static float y[128];
    float *x;

    cudaMalloc(&x, 128 * sizeof(float));
    for (int i = 0; i < 128; i++) x[i] = static_cast<float>(i);
    simt::set_order(simt::forward, 0);
    ES_LAUNCH(none, async_rows<1>, 1, 32, 0, y, x);
    sync();
    for (int i = 0; i < 128; i++) CHECK(y[i] == (127 - i < 64 ? static_cast<float>(127 - i) : 0), "at %d: %g", i, (double)y[i]);
    ES_LAUNCH(none, async_rows<0>, 1, 32, 0, y, x);
    sync();
    CHECK(y[0] != y[0], "a tile read before its wait holds %g", (double)y[0]);
    cudaFree(x);
}

static void sums_are_the_same_in_every_order()
{
    static float x[1000], y[3][2];
    es_noise noise = {4};

    es_noise_fill(&noise, x, 1000, 1);
    for (int o = 0; o < 3; o++) {
        simt::set_order(orders[o], 5);
        ES_LAUNCH(none, block_sums, 1, 96, 0, y[o], x, 1000);
        sync();
        CHECK(!memcmp(y[o], y[0], sizeof y[0]), "order %d: %.9g, %.9g", o, (double)y[o][0], (double)y[0][0]);
    }
    double s = 0, m = -1e9;
    for (int i = 0; i < 1000; i++) s += (double)x[i];
    for (int i = 0; i < 96; i++) m = (double)x[i] > m ? (double)x[i] : m;
    CHECK(fabs(s - (double)y[0][0]) < 1e-3, "%g, expected %g", (double)y[0][0], s);
    CHECK(m == (double)y[0][1], "%g, expected %g", (double)y[0][1], m);
}

static void mma_multiplies_its_fragments()
{
    static __half a[256], b[128];
    static float c[128];

    for (int i = 0; i < 256; i++) a[i] = __float2half_rn(static_cast<float>((i * 7 + i / 16) % 11 - 5));
    for (int i = 0; i < 128; i++) b[i] = __float2half_rn(static_cast<float>((i * 5 + i / 16) % 13 - 6));
    ES_LAUNCH(none, tile_product, 1, 32, 0, c, a, b);
    sync();
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            float s = 0;
            for (int k = 0; k < 16; k++) s += __half2float(a[i * 16 + k]) * __half2float(b[j * 16 + k]);
            CHECK(c[i * 8 + j] == s, "(%d, %d): %g, expected %g", i, j, (double)c[i * 8 + j], (double)s);
        }
    }
}

/* A copy on one stream and a kernel on another, joined by an event; without the wait the late order must show it. */
static float through_two_streams(bool wait, simt::order o)
{
    cudaStream_t copies;
    cudaEvent_t e;
    static float from[4] = {41, 41, 41, 41};
    float *x, r;

    simt::set_order(o, 1);
    cudaMalloc(&x, sizeof from);
    cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
    cudaMemcpyAsync(x, from, sizeof from, cudaMemcpyHostToDevice, copies);
    cudaEventRecord(e, copies);
    if (wait) cudaStreamWaitEvent(es_cuda_stream(none), e);
    ES_LAUNCH(none, add_one, 1, 32, 0, x, 4);
    sync();
    r = x[0];
    cudaStreamDestroy(copies);
    cudaEventDestroy(e);
    cudaFree(x);
    return r;
}

static void a_missing_event_wait_shows()
{
    for (int o = 0; o < 3; o++)
        CHECK(through_two_streams(true, orders[o]) == 42, "order %d", o);
    CHECK(through_two_streams(false, simt::reverse) != 42, "a missing wait gives the right result");
}

static void graphs_replay_what_was_captured()
{
    cudaStream_t s = es_cuda_stream(none);
    cudaGraph_t g;
    cudaGraphExec_t x;
    static float v[8];

    memset(v, 0, sizeof v);
    for (int o = 0; o < 3; o++) {
        simt::set_order(orders[o], 2);
        memset(v, 0, sizeof v);
        CHECK_INT(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        ES_LAUNCH(none, add_one, 1, 32, 0, v, 8);
        ES_LAUNCH(none, add_one, 1, 32, 0, v, 4);
        CHECK_INT(cudaStreamEndCapture(s, &g), cudaSuccess);
        CHECK(v[0] == 0, "capture ran the kernels");
        CHECK_INT(cudaGraphInstantiate(&x, g), cudaSuccess);
        cudaGraphDestroy(g);
        for (int i = 0; i < 3; i++) cudaGraphLaunch(x, s);
        sync();
        CHECK(v[0] == 6 && v[7] == 3, "%g and %g, expected 6 and 3", (double)v[0], (double)v[7]);
        cudaGraphExecDestroy(x);
    }
}

static void products_follow_cublaslt()
{
    enum { T = 5, I = 7, O = 6, LD = 8 };
    cublasLtHandle_t h;
    cublasLtMatmulDesc_t d;
    cublasLtMatrixLayout_t la, lb, lc;
    cublasOperation_t yes = CUBLAS_OP_T;
    cublasLtEpilogue_t bias_epilogue = CUBLASLT_EPILOGUE_BIAS;
    float *x, *w, *y, *b, one = 1;
    es_noise noise = {9};

    cudaMalloc(&x, T * LD * 4);
    cudaMalloc(&w, O * LD * 4);
    cudaMalloc(&y, T * O * 4);
    cudaMalloc(&b, O * 4);
    es_noise_fill(&noise, x, T * LD, 1);
    es_noise_fill(&noise, w, O * LD, 1);
    es_noise_fill(&noise, b, O, 1);
    es_noise_fill(&noise, y, T * O, 1);
    std::string before(reinterpret_cast<char *>(y), T * O * 4);
    CHECK_INT(cublasLtCreate(&h), CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &yes, sizeof yes);
    cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias_epilogue, sizeof bias_epilogue);
    cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &b, sizeof b);
    cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, I, O, LD);
    cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, I, T, LD);
    cublasLtMatrixLayoutCreate(&lc, CUDA_R_32F, O, T, O);
    CHECK_INT(cublasLtMatmul(h, d, &one, w, la, x, lb, &one, y, lc, y, lc, nullptr, nullptr, 0, es_cuda_stream(none)),
              CUBLAS_STATUS_SUCCESS);
    sync();
    for (int t = 0; t < T; t++) {
        for (int o = 0; o < O; o++) {
            float old;
            double s;
            memcpy(&old, before.data() + 4 * (t * O + o), 4);
            s = (double)old + (double)b[o];
            for (int i = 0; i < I; i++) s += (double)x[t * LD + i] * (double)w[o * LD + i];
            CHECK(fabs(s - (double)y[t * O + o]) < 1e-5, "(%d, %d): %g, expected %g", t, o, (double)y[t * O + o], s);
        }
    }
    CHECK_INT(cublasLtMatmul(h, d, &one, w, lb, x, lb, &one, y, lc, y, lc, nullptr, nullptr, 0, es_cuda_stream(none)),
              CUBLAS_STATUS_INVALID_VALUE);
    cublasLtMatrixLayoutDestroy(la);
    cublasLtMatrixLayoutDestroy(lb);
    cublasLtMatrixLayoutDestroy(lc);
    cublasLtMatmulDescDestroy(d);
    cublasLtDestroy(h);
    cudaFree(x);
    cudaFree(w);
    cudaFree(y);
    cudaFree(b);
}

static void halves_convert_exactly()
{
    for (unsigned u = 0; u < 65536; u++) {
        float f = simt_half_to_float(static_cast<uint16_t>(u));
        if (f != f) continue;
        CHECK(simt_float_to_half(f) == u, "0x%04x becomes 0x%04x", u, simt_float_to_half(f));
    }
    CHECK_INT(simt_float_to_half(65519.0f), 0x7BFF);
    CHECK_INT(simt_float_to_half(65520.0f), 0x7C00);
    CHECK_INT(simt_float_to_half(0x1p-25f), 0);
    CHECK_INT(simt_float_to_half(0x1.000002p-25f), 1);
    CHECK_INT(simt_float_to_half(1.0f + 0x1p-11f), 0x3C00);
    CHECK_INT(simt_float_to_half(1.0f + 3 * 0x1p-11f), 0x3C02);
    CHECK_INT(simt_float_to_bfloat(1.0f + 0x1p-8f), 0x3F80);
    CHECK_INT(simt_float_to_bfloat(1.0f + 3 * 0x1p-8f), 0x3F82);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"good_kernels_agree_in_every_order", good_kernels_agree_in_every_order},
        {"a_missing_barrier_shows", a_missing_barrier_shows},
        {"broken_kernels_are_reported", broken_kernels_are_reported},
        {"asynchronous_copies_need_their_wait", asynchronous_copies_need_their_wait},
        {"sums_are_the_same_in_every_order", sums_are_the_same_in_every_order},
        {"mma_multiplies_its_fragments", mma_multiplies_its_fragments},
        {"a_missing_event_wait_shows", a_missing_event_wait_shows},
        {"graphs_replay_what_was_captured", graphs_replay_what_was_captured},
        {"products_follow_cublaslt", products_follow_cublaslt},
        {"halves_convert_exactly", halves_convert_exactly},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
