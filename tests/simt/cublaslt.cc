/*
 * cublaslt.cc - matrix products of the emulated cuBLASLt.
 *
 * D = alpha op(A) op(B) + beta C (+ bias per row of D), column-major. The heuristic offers five algorithms, the good one
 * last: two split the sum (and really do, in another order), one chooses its split by the number of columns, one runs only
 * for some numbers of columns. A caller that wants the same bits for every size must refuse them.
 */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct simt_lt {
    int unused;
};
struct simt_lt_desc {
    cublasComputeType_t compute;
    cudaDataType_t scale, bias_type;
    cublasOperation_t a, b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};
struct simt_lt_layout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};
struct simt_lt_preference {
    uint64_t workspace, aligned;
    uint32_t reductions;
};

/* parts: as the library tells it, -1 where an algorithm chooses for itself (here by the number of columns). */
static const struct {
    int parts;
    bool by_eight; /* runs only for a multiple of eight columns */
} offers[] = {{4, false}, {-1, false}, {1, true}, {2, false}, {1, false}};

static uint64_t workspace_of(const cublasLtMatmulAlgo_t &algo, const simt_lt_layout *D)
{
    int parts = offers[algo.data[0]].parts;

    return parts > 1 ? D->rows * D->cols * 4 * uint64_t(parts) : 0;
}

static void unknown(const char *what, int value)
{
    fprintf(stderr, "simt: %s %d is not known to the emulated cublasLt\n", what, value);
    abort();
}


static float get(const void *p, cudaDataType_t t, size_t i)
{
    if (t == CUDA_R_32F) return static_cast<const float *>(p)[i];
    if (t == CUDA_R_16F) return __half2float(static_cast<const __half *>(p)[i]);
    return __bfloat162float(static_cast<const __nv_bfloat16 *>(p)[i]);
}

static void set(void *p, cudaDataType_t t, size_t i, float v)
{
    if (t == CUDA_R_32F) static_cast<float *>(p)[i] = v;
    else if (t == CUDA_R_16F) static_cast<__half *>(p)[i] = __float2half_rn(v);
    else static_cast<__nv_bfloat16 *>(p)[i] = __float2bfloat16_rn(v);
}

/* One term of m chains. The clone with fused multiply-adds in hardware gives the bits of the one that calls fmaf. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("default", "avx2,fma")))
#endif
static void chain(float *sum, const float *a, float b, uint64_t m)
{
    for (uint64_t i = 0; i < m; i++) sum[i] = __builtin_fmaf(a[i], b, sum[i]);
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = new simt_lt{0};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete h;
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_PEDANTIC) unknown("compute type", compute);
    if (scale != CUDA_R_32F) unknown("scale type", scale);
    *d = new simt_lt_desc{compute, scale, CUDA_R_32F, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete d;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *p,
                                              size_t bytes)
{
    size_t want = a == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : sizeof(int32_t);

    if (bytes != want) return CUBLAS_STATUS_INVALID_VALUE;
    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA: memcpy(&d->a, p, bytes); break;
    case CUBLASLT_MATMUL_DESC_TRANSB: memcpy(&d->b, p, bytes); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        memcpy(&d->epilogue, p, bytes);
        if (d->epilogue != CUBLASLT_EPILOGUE_DEFAULT && d->epilogue != CUBLASLT_EPILOGUE_BIAS)
            unknown("epilogue", d->epilogue);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: memcpy(&d->bias, p, bytes); break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: memcpy(&d->bias_type, p, bytes); break;
    default: unknown("matmul attribute", a);
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows, uint64_t cols,
                                          int64_t ld)
{
    if (type != CUDA_R_32F && type != CUDA_R_16F && type != CUDA_R_16BF) unknown("data type", type);
    if (ld < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
    *l = new simt_lt_layout{type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete l;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = new simt_lt_preference{0, 256, CUBLASLT_REDUCTION_SCHEME_MASK};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete p;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a,
                                                    const void *v, size_t bytes)
{
    if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && bytes == sizeof p->workspace) memcpy(&p->workspace, v, bytes);
    else if (a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK && bytes == sizeof p->reductions)
        memcpy(&p->reductions, v, bytes);
    else if (a >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES && a <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES &&
             bytes == sizeof(uint32_t)) {
        uint32_t n;
        memcpy(&n, v, bytes);
        p->aligned = std::min<uint64_t>(p->aligned, n);
    } else unknown("preference", a);
    return CUBLAS_STATUS_SUCCESS;
}

/* data[0]: algorithm number; data[1]: parts of the sum; data[2]: workspace in bytes. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t D,
                                              cublasLtMatmulPreference_t p, int asked,
                                              cublasLtMatmulHeuristicResult_t *out, int *n)
{
    *n = 0;
    for (int i = 0; i < int(sizeof offers / sizeof *offers) && *n < asked; i++) {
        cublasLtMatmulAlgo_t algo = {{uint64_t(i), p->aligned, 0, 0, 0, 0, 0, 0}};
        if (offers[i].parts > 1 && !p->reductions) continue;
        if (offers[i].by_eight && D->cols % 8) continue;
        if (workspace_of(algo, D) > p->workspace) continue;
        cublasLtMatmulHeuristicResult_t *r = &out[(*n)++];
        memset(r, 0, sizeof *r);
        r->algo = algo;
        r->workspaceSize = workspace_of(algo, D);
        r->wavesCount = 1;
    }
    return *n ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t D, const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *r)
{
    memset(r, 0, sizeof *r);
    r->algo = *algo;
    r->workspaceSize = workspace_of(*algo, D);
    r->state = offers[algo->data[0]].by_eight && D->cols % 8 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
    return r->state;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t a, void *p, size_t bytes,
                                                    size_t *written)
{
    int32_t v = 0;

    switch (a) {
    case CUBLASLT_ALGO_CONFIG_ID: v = static_cast<int32_t>(algo->data[0]); break;
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM: v = offers[algo->data[0]].parts; break;
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
        v = offers[algo->data[0]].parts > 1 ? 2 : CUBLASLT_REDUCTION_SCHEME_NONE;
        break;
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION: v = 0; break;
    default: unknown("algorithm attribute", a);
    }
    if (bytes != sizeof v) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(p, &v, sizeof v);
    if (written) *written = sizeof v;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *A,
                              cublasLtMatrixLayout_t pa, const void *B, cublasLtMatrixLayout_t pb, const void *beta,
                              const void *C, cublasLtMatrixLayout_t pc, void *D, cublasLtMatrixLayout_t pd,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes, cudaStream_t s)
{
    const simt_lt_desc d = *desc;
    const simt_lt_layout la = *pa, lb = *pb, lc = *pc, ld = *pd;
    uint64_t m = d.a == CUBLAS_OP_N ? la.rows : la.cols, k = d.a == CUBLAS_OP_N ? la.cols : la.rows;
    uint64_t n = d.b == CUBLAS_OP_N ? lb.cols : lb.rows, kb = d.b == CUBLAS_OP_N ? lb.rows : lb.cols;
    int said = algo ? offers[algo->data[0]].parts : 1;
    uint64_t parts = said > 0 ? uint64_t(said) : 1 + n % 3, aligned = algo ? algo->data[1] : 16;
    float al, be;

    if (k != kb || ld.rows != m || ld.cols != n || lc.rows != m || lc.cols != n || lc.type != ld.type)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (la.type != lb.type || (ld.type != la.type && ld.type != CUDA_R_32F)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (reinterpret_cast<uintptr_t>(A) % aligned || reinterpret_cast<uintptr_t>(B) % aligned ||
        reinterpret_cast<uintptr_t>(C) % aligned || reinterpret_cast<uintptr_t>(D) % aligned)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* what the caller promised the heuristic */
    if (algo && offers[algo->data[0]].by_eight && n % 8) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (algo && workspace_of(*algo, pd) && (!workspace || workspace_bytes < workspace_of(*algo, pd)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (d.epilogue == CUBLASLT_EPILOGUE_BIAS && !d.bias) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&al, alpha, sizeof al);
    memcpy(&be, beta, sizeof be);
    simt_runtime_enqueue(s, [=]() {
        /* op(A) widened once to [k][m], so that the inner loop runs along the outputs; the chain of each is the same. */
        std::vector<float> wide(m * k), column(k), sum(m), part(m);
        for (uint64_t q = 0; q < k; q++)
            for (uint64_t i = 0; i < m; i++)
                wide[q * m + i] = get(A, la.type, d.a == CUBLAS_OP_N ? q * size_t(la.ld) + i : i * size_t(la.ld) + q);
        for (uint64_t j = 0; j < n; j++) {
            for (uint64_t q = 0; q < k; q++)
                column[q] = get(B, lb.type, d.b == CUBLAS_OP_N ? j * size_t(lb.ld) + q : q * size_t(lb.ld) + j);
            for (uint64_t p = 0; p < parts; p++) {
                float *to = p ? part.data() : sum.data();
                std::fill(to, to + m, 0.0f);
                for (uint64_t q = k * p / parts; q < k * (p + 1) / parts; q++) chain(to, &wide[q * m], column[q], m);
                for (uint64_t i = 0; p && i < m; i++) sum[i] += part[i];
            }
            for (uint64_t i = 0; i < m; i++) {
                float v = al * sum[i];
                if (be != 0) v = fmaf(be, get(C, lc.type, j * size_t(lc.ld) + i), v);
                if (d.epilogue == CUBLASLT_EPILOGUE_BIAS) v += get(d.bias, d.bias_type, i);
                set(D, ld.type, j * size_t(ld.ld) + i, v);
            }
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}
