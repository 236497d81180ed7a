/*
 * cuda.cuh - the inside of the CUDA backend: the device, and what its ops share.
 *
 * Work goes to one stream in the order of the calls. Host and device exchange bytes through a ring of pinned pieces, so
 * that no copy waits for the pageable memory of the caller and nothing is allocated for it. The first error of a launch or
 * a library call is kept with the op's name.
 *
 *     arena  | workspace: products | narrowed biases | ... the plan's weights, state, scratch |
 */
#ifndef ES_CUDA_CUH
#define ES_CUDA_CUH

#include <cublasLt.h>

#include "kernels/backend.h"
#include "kernels/launch.cuh"

enum {
    ES_CUDA_RING = 4,                       /* pinned pieces */
    ES_CUDA_PIECE = 8 << 20,                /* bytes of each */
    ES_CUDA_BIAS_BYTES = 4 << 20,           /* of the workspace: biases in the dtype of their product's output */
    ES_CUDA_MAX_BIASES = 1024,
    ES_CUDA_MAX_GRAPHS = 128,
    ES_CUDA_MAX_PRODUCTS = 128,             /* shapes of products with an algorithm of their own */
    ES_CUDA_MANY_ROWS = 1024,               /* products of more planned rows belong to the large family: an encoder's, which
                                               has 1500 a window; a decoder's rows are its slots or a prompt's */
};

/* Entry points of cuBLASLt: found at run time, so that the program also starts where the library is not installed. */
typedef struct es_lt {
    cublasStatus_t (*create)(cublasLtHandle_t *);
    cublasStatus_t (*destroy)(cublasLtHandle_t);
    size_t (*version)(void);
    cublasStatus_t (*desc_create)(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t);
    cublasStatus_t (*desc_destroy)(cublasLtMatmulDesc_t);
    cublasStatus_t (*desc_set)(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void *, size_t);
    cublasStatus_t (*layout_create)(cublasLtMatrixLayout_t *, cudaDataType, uint64_t, uint64_t, int64_t);
    cublasStatus_t (*layout_destroy)(cublasLtMatrixLayout_t);
    cublasStatus_t (*preference_create)(cublasLtMatmulPreference_t *);
    cublasStatus_t (*preference_destroy)(cublasLtMatmulPreference_t);
    cublasStatus_t (*preference_set)(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void *,
                                     size_t);
    cublasStatus_t (*heuristic)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                                cublasLtMatmulHeuristicResult_t *, int *);
    cublasStatus_t (*config_get)(const cublasLtMatmulAlgo_t *, cublasLtMatmulAlgoConfigAttributes_t, void *, size_t,
                                 size_t *);
    cublasStatus_t (*check)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                            cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *,
                            cublasLtMatmulHeuristicResult_t *);
    cublasStatus_t (*matmul)(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *, cublasLtMatrixLayout_t,
                             const void *, cublasLtMatrixLayout_t, const void *, const void *, cublasLtMatrixLayout_t,
                             void *, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t);
    cublasLtHandle_t handle;
} es_lt;

/* A family of products that share one algorithm: the order of its sums, and so its bits, is the same for all its rows. */
typedef struct es_product {
    int O, I, many, bias, add;
    es_dtype w, y;
    int own; /* the library has none that will do: our kernel computes all of them */
    cublasLtMatmulAlgo_t algo;
} es_product;

typedef struct es_cuda {
    es_device base;
    int index, sms, recording;
    size_t block_shared;
    cudaStream_t stream, side; /* side: small preparations while the stream is being captured */
    void *arena;
    size_t arena_bytes;
    void *ring[ES_CUDA_RING];
    cudaEvent_t ring_free[ES_CUDA_RING];
    unsigned ring_at;
    es_fault fault;
    es_lt lt;
    es_product product[ES_CUDA_MAX_PRODUCTS];
    int n_products;
    const float *bias_from[ES_CUDA_MAX_BIASES];
    es_dtype bias_dtype[ES_CUDA_MAX_BIASES];
    int bias_count[ES_CUDA_MAX_BIASES];
    size_t bias_at[ES_CUDA_MAX_BIASES], bias_used;
    int n_biases;
    cudaGraphExec_t graph[ES_CUDA_MAX_GRAPHS];
    int n_graphs;
    uint64_t allocations; /* of device and pinned memory, all through es_cuda_take and es_cuda_take_pinned */
    uint64_t at_arena;    /* the same when the arena had been taken: the last one there should be */
} es_cuda;

static inline es_cuda *es_cuda_of(es_device *d)
{
    return (es_cuda *)d;
}

/* linear.cu: finds cuBLASLt; 0, or a code with the reason. */
int es_cuda_lt_open(es_lt *lt, es_fault *why);
void es_cuda_lt_close(es_lt *lt);
void es_cuda_keep_fault(es_device *d, const char *what, const char *reason, int code);
extern const es_ops es_cuda_ops;

/* Rows that are live, as a kernel reads them. */
static __device__ __forceinline__ int es_live_rows(const int32_t *rows, int planned)
{
    return rows ? min(*rows, planned) : planned;
}

#endif
