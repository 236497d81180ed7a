/*
 * table.c - the CPU's op table, the names of dtypes, and what things weigh on either backend.
 *
 * The CUDA weights of a plan can be known without CUDA: matrices are row-major there, the convolution's unfolded rows
 * and the front end's spectra lie in scratch.
 */
#include "kernels/cpu.h"

/* An estimate for the cards of the last generations with all kernels loaded at open; `earshot doctor` on a card tells what
 * is free there. */
enum { CUDA_OUTSIDE = 600 * 1000 * 1000 };

const es_ops es_cpu_ops = {
    .name = "cpu",
    .matrix_load = es_cpu_matrix_load,
    .linear = es_cpu_linear,
    .conv1d = es_cpu_conv1d,
    .layernorm = es_cpu_layernorm,
    .rmsnorm = es_cpu_rmsnorm,
    .attend = es_cpu_attend,
    .kv_store = es_cpu_kv_store,
    .attend_cached = es_cpu_attend_cached,
    .embed = es_cpu_embed,
    .gather = es_cpu_gather,
    .cast = es_cpu_cast,
    .rope = es_cpu_rope,
    .swiglu = es_cpu_swiglu,
    .pool = es_cpu_pool,
    .maxpool = es_cpu_maxpool,
    .norm_time = es_cpu_norm_time,
    .lstm = es_cpu_lstm,
    .conv2d = es_cpu_conv2d,
    .affine = es_cpu_affine,
    .segment_means = es_cpu_segment_means,
    .gate_segments = es_cpu_gate_segments,
    .by_piece = es_cpu_by_piece,
    .mean_deviation = es_cpu_mean_deviation,
    .weighed_deviation = es_cpu_weighed_deviation,
    .logmel = es_cpu_logmel,
    .logmel_top = es_cpu_logmel_top,
    .pick = es_cpu_pick,
    .prob_at = es_cpu_prob_at,
};

const char *es_dtype_name(es_dtype t)
{
    static const char *const names[ES_N_DTYPES] = {"F32", "F16", "BF16", "I32", "I16", "U8"};

    return t >= 0 && t < ES_N_DTYPES ? names[t] : "?";
}

/* ---- the CPU ---- */

static size_t cpu_matrix_bytes(es_dtype t, int O, int I)
{
    return ((size_t)O + ES_LANES - 1) / ES_LANES * ES_LANES * (size_t)I * es_dtype_bytes(t);
}

static size_t cpu_workspace(int threads)
{
    return ES_SHARED_BYTES + (size_t)es_cpu_threads(threads) * ES_THREAD_BYTES;
}

/* A row of a convolution is copied straight from the signal. */
static size_t cpu_conv1d_scratch(es_dtype t, int B, int To, int C, int K)
{
    (void)t, (void)B, (void)To, (void)C, (void)K;
    return 0;
}

static size_t cpu_logmel_scratch(int B, int M)
{
    return (size_t)B * ES_MEL_FRAMES * ((size_t)M * sizeof(float) + sizeof(float) / 4);
}

/* ---- CUDA ---- */

static size_t cuda_matrix_bytes(es_dtype t, int O, int I)
{
    return (size_t)O * (size_t)I * es_dtype_bytes(t);
}

static size_t cuda_workspace(int threads)
{
    (void)threads;
    return (size_t)32 << 20;
}

/* Rows that the library cannot take (no multiple of 16 bytes) are never unfolded: linear.cu. */
static size_t cuda_conv1d_scratch(es_dtype t, int B, int To, int C, int K)
{
    if ((size_t)C * (size_t)K * es_dtype_bytes(t) % 16 != 0) return 0;
    return (size_t)B * (size_t)To * (size_t)C * (size_t)K * es_dtype_bytes(t);
}

/* Of B windows: the logarithms of every frame, the largest of each, and the window's. */
static size_t cuda_logmel_scratch(int B, int M)
{
    return (size_t)B * (ES_MEL_FRAMES * ((size_t)M + 1) + 1) * sizeof(float);
}

const es_traits *es_backend_traits(es_backend b)
{
    static const es_traits traits[ES_N_BACKENDS] = {
        [ES_CPU] = {.name = "cpu",
                    .align = 64,
                    .matrix_bytes = cpu_matrix_bytes,
                    .workspace_bytes = cpu_workspace,
                    .conv1d_scratch = cpu_conv1d_scratch,
                    .logmel_scratch = cpu_logmel_scratch,
                    .mel_tables_bytes = es_mel_tables_bytes,
                    .mel_tables_fill = es_mel_tables_fill},
        [ES_CUDA] = {.name = "cuda",
                     .align = 256,
                     .matrix_bytes = cuda_matrix_bytes,
                     .workspace_bytes = cuda_workspace,
                     .conv1d_scratch = cuda_conv1d_scratch,
                     .logmel_scratch = cuda_logmel_scratch,
                     .mel_tables_bytes = es_mel_tables_bytes,
                     .mel_tables_fill = es_mel_tables_fill,
                     .outside_bytes = CUDA_OUTSIDE},
    };

    return &traits[b];
}
