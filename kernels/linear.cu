/*
 * linear.cu - products on the device: cuBLASLt with the bias and the residual in its epilogue, the activation after it.
 *
 *     y[T,O] = act(x[T,I] W[O,I]^T + b) (+ y)
 *
 * Row-major y is column-major [O, T] = W^T-view x-view: A is W with op T and leading dimension I, B is x with op N.
 *
 * Same bits: an algorithm is chosen once for a family of products (shape of the weight, dtypes, epilogue, few or many
 * rows), at one reference row count that no budget moves; algorithms that split the sum are refused, and so are those that
 * the library would not run at some other number of rows. So the order of a sum does not depend on how many there are. A
 * family without such an algorithm is computed by our own kernel, always.
 *
 * The epilogue's bias has the dtype of the output, the arena's is f32: a bias is narrowed once, when its program is
 * captured, into a corner of the workspace. Checkpoints store biases in half precision, so nothing is lost. The GELU of the
 * library is the tanh form, ours is erf: so an activation is a pass of its own over y, with the bias in it. That pass is
 * bound by bytes.
 *
 * Where the types of x and W differ, or cuBLASLt has no algorithm (odd sizes), a kernel of our own computes the product:
 * 64 x 64 outputs a block, 16 x 16 threads, f32 chains in ascending order.
 *
 * A convolution is unfolded rows, then the product; where that is our own kernel anyway (251 taps over a waveform), it takes
 * its rows straight from the signal: unfolded they would be 16 MB for ten seconds, written once and read twice.
 */
#include <cstdio>
#include <cstring>

#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

#ifndef ES_SIMT
#include <dlfcn.h>
#endif

/* ---- the library ---- */

int es_cuda_lt_open(es_lt *lt, es_fault *why)
{
#ifdef ES_SIMT
#define ES_LT_ENTRY(field, name) lt->field = name;
#else
    /* Of the release that this was compiled with, if it is there. */
    static const char *const names[] = {CUDART_VERSION >= 13000 ? "libcublasLt.so.13" : "libcublasLt.so.12",
#ifdef ES_CUDA_LIBRARIES
                                        ES_CUDA_LIBRARIES "/libcublasLt.so",
                                        CUDART_VERSION >= 13000 ? ES_CUDA_LIBRARIES "/libcublasLt.so.13"
                                                                : ES_CUDA_LIBRARIES "/libcublasLt.so.12",
#endif
                                        "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    void *library = NULL;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++) library = dlopen(names[i], RTLD_NOW);
    if (!library) return es_fault_set(why, 1, "cuBLASLt cannot be loaded: %s", dlerror());
#define ES_LT_ENTRY(field, name)                                                                                       \
    *(void **)&lt->field = dlsym(library, #name);                                                                      \
    if (!lt->field) return es_fault_set(why, 1, "cuBLASLt has no entry %s", #name);
#endif
    ES_LT_ENTRY(create, cublasLtCreate)
    ES_LT_ENTRY(destroy, cublasLtDestroy)
    ES_LT_ENTRY(version, cublasLtGetVersion)
    ES_LT_ENTRY(desc_create, cublasLtMatmulDescCreate)
    ES_LT_ENTRY(desc_destroy, cublasLtMatmulDescDestroy)
    ES_LT_ENTRY(desc_set, cublasLtMatmulDescSetAttribute)
    ES_LT_ENTRY(layout_create, cublasLtMatrixLayoutCreate)
    ES_LT_ENTRY(layout_destroy, cublasLtMatrixLayoutDestroy)
    ES_LT_ENTRY(preference_create, cublasLtMatmulPreferenceCreate)
    ES_LT_ENTRY(preference_destroy, cublasLtMatmulPreferenceDestroy)
    ES_LT_ENTRY(preference_set, cublasLtMatmulPreferenceSetAttribute)
    ES_LT_ENTRY(heuristic, cublasLtMatmulAlgoGetHeuristic)
    ES_LT_ENTRY(config_get, cublasLtMatmulAlgoConfigGetAttribute)
    ES_LT_ENTRY(check, cublasLtMatmulAlgoCheck)
    ES_LT_ENTRY(matmul, cublasLtMatmul)
#undef ES_LT_ENTRY
    cublasStatus_t s = lt->create(&lt->handle);
    if (s != CUBLAS_STATUS_SUCCESS) return es_fault_set(why, (int)s, "cuBLASLt cannot be started: status %d", (int)s);
    return 0;
}

void es_cuda_lt_close(es_lt *lt)
{
    if (lt->handle) lt->destroy(lt->handle);
    lt->handle = NULL;
}

/* ---- kernels ---- */

static __device__ __forceinline__ float es_activate(float v, int act)
{
    switch (act) {
    case ES_ACT_GELU: return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f));
    case ES_ACT_RELU: return v > 0 ? v : 0;
    case ES_ACT_LEAKY: return v > 0 ? v : 0.01f * v;
    case ES_ACT_TANH: return tanhf(v);
    case ES_ACT_SIGMOID: return 1.0f / (1.0f + expf(-v));
    case ES_ACT_SILU: return v / (1.0f + expf(-v));
    default: return v;
    }
}

/* y[t, o] = act(y[t, o] + b[o]): a block per row, coalesced along it. */
template <class T> static __global__ void finish_rows(T *y, const float *b, const int32_t *rows, int planned, int O, int act)
{
    int t = (int)blockIdx.x;

    if (t >= es_live_rows(rows, planned)) return;
    for (int o = (int)threadIdx.x; o < O; o += (int)blockDim.x) {
        T *p = y + (size_t)t * (size_t)O + o;
        es_store(p, es_activate(es_load(p) + (b ? b[o] : 0), act));
    }
}

/* The same with 16 bytes a thread: rows of a multiple of that. */
template <class T>
static __global__ void finish_vectors(T *y, const float *b, const int32_t *rows, int planned, int O, int act)
{
    enum { N = es_vector<T>::N };
    int t = (int)blockIdx.x;

    if (t >= es_live_rows(rows, planned)) return;
    for (int o = (int)threadIdx.x * N; o < O; o += (int)blockDim.x * N) {
        T *p = y + (size_t)t * (size_t)O + o;
        float v[N], and_b[N] = {0};
        es_load_few<N>(v, p);
        if (b) es_load_few<N>(and_b, b + o);
        ES_UNROLL
        for (int i = 0; i < N; i++) v[i] = es_activate(v[i] + and_b[i], act);
        es_store_few<N>(p, v);
    }
}

template <class T> static void finish(es_device *d, T *y, const float *b, const int32_t *rows, int planned, int O, int act)
{
    int N = (int)es_vector<T>::N, threads = O / N < 128 ? 64 : O / N < 256 ? 128 : 256;

    if (O % N == 0 && es_aligned16(y) && es_aligned16(b))
        ES_LAUNCH(d, finish_vectors<T>, (unsigned)planned, threads, 0, y, b, rows, planned, O, act);
    else ES_LAUNCH(d, finish_rows<T>, (unsigned)planned, 128, 0, y, b, rows, planned, O, act);
}

static __global__ void narrow_half(__half *y, const float *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n) es_store(y + i, x[i]);
}

static __global__ void narrow_bfloat(__nv_bfloat16 *y, const float *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n) es_store(y + i, x[i]);
}

/* How rows of a product lie in a signal x [B, Ti, C]: row b * To + to, input k * C + c is x[b, to * stride + k * dilation - pad,
 * c], zero outside. */
typedef struct taps {
    int To, Ti, C, stride, pad, dilation;
} taps;

/* One thread owns 4 x 4 outputs of a 64 x 64 tile; tiles of 16 inputs pass through shared memory. Rows of x are those of a
 * matrix, or FOLDED in a signal; then `rows` counts live windows of k.To rows. */
enum { TILE = 64, DEPTH = 16, SIDE = 16, LOADS = TILE / SIDE /* rows that a thread loads an input of */ };

template <class X, class W, class Y, bool FOLDED>
static __global__ void own_product(Y *y, const X *x, const W *w, const float *b, const int32_t *rows, int planned, int I,
                                   int O, int act, int add, taps k)
{
    ES_SHARED(float, xs, DEPTH *(TILE + 1));
    ES_SHARED(float, ws, DEPTH *(TILE + 1));
    int live = es_live_rows(rows, planned) * (FOLDED ? k.To : 1), t0 = (int)blockIdx.x * TILE, o0 = (int)blockIdx.y * TILE;
    int tx = (int)threadIdx.x, ty = (int)threadIdx.y, me = ty * SIDE + tx, i = me % DEPTH, first = me / DEPTH;
    float sum[4][4] = {{0}};
    const X *from[LOADS]; /* a row, or the start of its window */
    int time[LOADS];      /* of a row's first tap */

    if (t0 >= live) return;
    ES_UNROLL
    for (int e = 0; e < LOADS; e++) {
        int t = t0 + first + SIDE * e, window = FOLDED ? t / k.To : 0;
        from[e] = FOLDED ? x + (size_t)window * (size_t)k.Ti * (size_t)k.C : x + (size_t)t * (size_t)I;
        time[e] = FOLDED ? (t - window * k.To) * k.stride - k.pad : 0;
    }
    for (int i0 = 0; i0 < I; i0 += DEPTH) {
        int tap = FOLDED ? (i0 + i) / k.C : 0, at = FOLDED ? i0 + i - tap * k.C : i0 + i;
        ES_SYNC();
        ES_UNROLL
        for (int e = 0; e < LOADS; e++) {
            int r = first + SIDE * e, t = time[e] + tap * k.dilation;
            bool in = i0 + i < I, there = in && t0 + r < live && (!FOLDED || (t >= 0 && t < k.Ti));
            xs[i * (TILE + 1) + r] = there ? es_load(from[e] + (FOLDED ? (size_t)t * (size_t)k.C : 0) + (size_t)at) : 0;
            ws[i * (TILE + 1) + r] = in && o0 + r < O ? es_load(w + (size_t)(o0 + r) * (size_t)I + (size_t)(i0 + i)) : 0;
        }
        ES_SYNC();
        for (int j = 0; j < DEPTH && i0 + j < I; j++) {
            float xv[4], wv[4];
            ES_UNROLL
            for (int e = 0; e < 4; e++) {
                xv[e] = xs[j * (TILE + 1) + ty + SIDE * e];
                wv[e] = ws[j * (TILE + 1) + tx + SIDE * e];
            }
            ES_UNROLL
            for (int r = 0; r < 4; r++) {
                ES_UNROLL
                for (int c = 0; c < 4; c++) sum[r][c] = fmaf(xv[r], wv[c], sum[r][c]);
            }
        }
    }
    ES_UNROLL
    for (int r = 0; r < 4; r++) {
        ES_UNROLL
        for (int c = 0; c < 4; c++) {
            int t = t0 + ty + SIDE * r, o = o0 + tx + SIDE * c;
            if (t >= live || o >= O) continue;
            Y *p = y + (size_t)t * (size_t)O + o;
            float v = es_activate(sum[r][c] + (b ? b[o] : 0), act);
            es_store(p, add ? v + es_load(p) : v);
        }
    }
}

/* ---- launchers ---- */

static cudaDataType_t type_of(es_dtype t)
{
    return t == ES_F16 ? CUDA_R_16F : t == ES_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* The f32 bias as the product's output dtype, in the workspace's corner; NULL when the corner is full. While a program is
 * captured the copy is made at once, on the side stream: it is no part of the graph. */
static const void *narrowed(es_device *dev, const float *b, es_dtype t, int n)
{
    es_cuda *d = es_cuda_of(dev);
    size_t room;
    char *corner = (char *)es_cuda_workspace(dev, &room) + room;
    int i = 0;

    if (t == ES_F32) return b;
    while (i < d->n_biases && (d->bias_from[i] != b || d->bias_dtype[i] != t || d->bias_count[i] != n)) i++;
    if (i == d->n_biases) {
        size_t bytes = ((size_t)n * 2 + 255) & ~(size_t)255;
        if (i == ES_CUDA_MAX_BIASES || d->bias_used + bytes > ES_CUDA_BIAS_BYTES) return NULL;
        d->bias_from[i] = b;
        d->bias_dtype[i] = t;
        d->bias_count[i] = n;
        d->bias_at[i] = d->bias_used;
        d->bias_used += bytes;
        d->n_biases++;
    }
    cudaStream_t main = d->stream;
    if (d->recording) d->stream = d->side;
    if (t == ES_F16) ES_LAUNCH(dev, narrow_half, (n + 255) / 256, 256, 0, (__half *)(corner + d->bias_at[i]), b, n);
    else ES_LAUNCH(dev, narrow_bfloat, (n + 255) / 256, 256, 0, (__nv_bfloat16 *)(corner + d->bias_at[i]), b, n);
    d->stream = main;
    return corner + d->bias_at[i];
}

typedef struct lt_call {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
} lt_call;

static void drop_layouts(const es_lt *lt, lt_call *c)
{
    if (c->w) lt->layout_destroy(c->w);
    if (c->x) lt->layout_destroy(c->x);
    if (c->y) lt->layout_destroy(c->y);
    c->w = c->x = c->y = NULL;
}

/* The layouts of a product of T rows: 0, or -1. */
static int lay_out(const es_lt *lt, lt_call *c, const es_product *p, int T)
{
    uint64_t O = (uint64_t)p->O, I = (uint64_t)p->I, n = (uint64_t)T;

    if (lt->layout_create(&c->w, type_of(p->w), I, O, (int64_t)I) != CUBLAS_STATUS_SUCCESS) return -1;
    if (lt->layout_create(&c->x, type_of(p->w), I, n, (int64_t)I) != CUBLAS_STATUS_SUCCESS) return -1;
    return lt->layout_create(&c->y, type_of(p->y), O, n, (int64_t)O) == CUBLAS_STATUS_SUCCESS ? 0 : -1;
}

/* Whether the order of an algorithm's sums is independent of the number of rows, as far as it tells. */
static bool keeps_order(const es_lt *lt, const cublasLtMatmulAlgo_t *a)
{
    int32_t parts = 1, scheme = 0;
    size_t got;

    if (lt->config_get(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts, sizeof parts, &got) != CUBLAS_STATUS_SUCCESS) return false;
    if (lt->config_get(a, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme, sizeof scheme, &got) != CUBLAS_STATUS_SUCCESS)
        return false;
    return (parts == 0 || parts == 1) && scheme == CUBLASLT_REDUCTION_SCHEME_NONE;
}

/* Whether the library runs an algorithm at every kind of row count of its family, in the workspace there is. */
static bool runs_everywhere(const es_lt *lt, const lt_call *c, const es_product *p, size_t room)
{
    static const int few[] = {1, 2, 7, 8, 64, 103, ES_CUDA_MANY_ROWS}, many[] = {ES_CUDA_MANY_ROWS + 1, 1500, 24000, 100003};
    const int *T = p->many ? many : few;
    int n = p->many ? (int)(sizeof many / sizeof *many) : (int)(sizeof few / sizeof *few);

    for (int i = 0; i < n; i++) {
        lt_call at = {};
        cublasLtMatmulHeuristicResult_t r;
        bool good = lay_out(lt, &at, p, T[i]) == 0 &&
                    lt->check(lt->handle, c->desc, at.w, at.x, at.y, at.y, &p->algo, &r) == CUBLAS_STATUS_SUCCESS &&
                    r.state == CUBLAS_STATUS_SUCCESS && r.workspaceSize <= room;
        drop_layouts(lt, &at);
        if (!good) return false;
    }
    return true;
}

/* The algorithm of a product's family, asked for when it is met first. NULL: there are more families than places. */
static const es_product *family(es_cuda *d, cublasLtMatmulDesc_t desc, es_product want)
{
    enum { ASKED = 32 };
    const es_lt *lt = &d->lt;
    cublasLtMatmulHeuristicResult_t found[ASKED];
    cublasLtMatmulPreference_t p = NULL;
    lt_call reference = {desc, NULL, NULL, NULL};
    size_t room;
    int n = 0;

    for (int i = 0; i < d->n_products; i++) {
        const es_product *have = &d->product[i];
        if (have->O == want.O && have->I == want.I && have->many == want.many && have->bias == want.bias &&
            have->add == want.add && have->w == want.w && have->y == want.y)
            return have;
    }
    if (d->n_products == ES_CUDA_MAX_PRODUCTS) return NULL;
    es_cuda_workspace(&d->base, &room);
    uint64_t most = room;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE, aligned = 16;
    if (lay_out(lt, &reference, &want, want.many ? 8192 : 64) == 0 && lt->preference_create(&p) == CUBLAS_STATUS_SUCCESS) {
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions, sizeof reductions);
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &aligned, sizeof aligned);
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &aligned, sizeof aligned);
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &aligned, sizeof aligned);
        lt->preference_set(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &aligned, sizeof aligned);
        if (lt->heuristic(lt->handle, desc, reference.w, reference.x, reference.y, reference.y, p, ASKED, found, &n) !=
            CUBLAS_STATUS_SUCCESS)
            n = 0;
        lt->preference_destroy(p);
    }
    drop_layouts(lt, &reference);
    want.own = 1;
    for (int i = 0; i < n && want.own; i++) {
        if (found[i].state != CUBLAS_STATUS_SUCCESS || !keeps_order(lt, &found[i].algo)) continue;
        want.algo = found[i].algo;
        want.own = !runs_everywhere(lt, &reference, &want, room);
    }
    d->product[d->n_products] = want;
    return &d->product[d->n_products++];
}

/* True when cuBLASLt took the product, without its activation. */
static bool by_library(es_device *dev, void *y, es_dtype yt, const void *x, es_matrix W, const float *b, int T, bool add)
{
    es_cuda *d = es_cuda_of(dev);
    const es_lt *lt = &d->lt;
    lt_call c = {};
    es_product want = {};
    const es_product *f;
    cublasOperation_t transposed = CUBLAS_OP_T;
    const void *bias = b ? narrowed(dev, b, yt, W.O) : NULL;
    size_t room;
    float one = 1, beta = add ? 1.0f : 0.0f;
    bool done = false;

    want.O = W.O, want.I = W.I, want.w = W.dtype, want.y = yt, want.add = add, want.bias = bias != NULL;
    want.many = T > ES_CUDA_MANY_ROWS;
    if ((b && !bias) || lt->desc_create(&c.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS) return false;
    lt->desc_set(c.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (bias) {
        cublasLtEpilogue_t e = CUBLASLT_EPILOGUE_BIAS;
        cudaDataType_t bt = type_of(yt);
        lt->desc_set(c.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &e, sizeof e);
        lt->desc_set(c.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
        lt->desc_set(c.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bt, sizeof bt);
    }
    f = family(d, c.desc, want);
    if (f && !f->own && lay_out(lt, &c, f, T) == 0) {
        void *workspace = es_cuda_workspace(dev, &room);
        cublasStatus_t s = lt->matmul(lt->handle, c.desc, &one, W.p, c.w, x, c.x, &beta, y, c.y, y, c.y, &f->algo, workspace,
                                      room, es_cuda_stream(dev));
        /* Computing it otherwise now would change the bits with the number of rows. */
        if (s != CUBLAS_STATUS_SUCCESS)
            es_cuda_keep_fault(dev, "linear", "cuBLASLt refuses a product whose algorithm it had agreed to", (int)s);
        done = true;
    }
    drop_layouts(lt, &c);
    lt->desc_destroy(c.desc);
    return done;
}

/* Rows across: a grid has 2^31 - 1 blocks that way, and 65,535 the other. */
static dim3 own_grid(int T, int O)
{
    return dim3((unsigned)((T + TILE - 1) / TILE), (unsigned)((O + TILE - 1) / TILE));
}

template <class X, class W, class Y>
static void by_own(es_device *d, Y *y, const X *x, const W *w, const float *b, const int32_t *rows, int T, int I, int O,
                   int act, bool add)
{
    ES_LAUNCH(d, (own_product<X, W, Y, false>), own_grid(T, O), dim3(SIDE, SIDE), 0, y, x, w, b, rows, T, I, O, act, (int)add, taps{});
}

/* Rows of x and W must start at multiples of 16 bytes; those of y (a vocabulary of 51,866) need not, but y itself must. */
static bool suits_library(const void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W)
{
    int per16 = (int)(16 / es_dtype_bytes(W.dtype));

    return xt == W.dtype && (yt == xt || yt == ES_F32) && W.I % per16 == 0 && (uintptr_t)x % 16 == 0 &&
           (uintptr_t)y % 16 == 0 && (uintptr_t)W.p % 16 == 0;
}

void es_cuda_linear(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W, const float *b,
                    const int32_t *rows, int T, es_act act, bool add)
{
    bool apart = act != ES_ACT_NONE;

    if (suits_library(y, yt, x, xt, W) && by_library(d, y, yt, x, W, apart ? NULL : b, T, add)) {
        if (apart) ES_SWITCH_FLOAT(yt, Y, finish(d, (Y *)y, b, rows, T, W.O, (int)act))
        return;
    }
    ES_SWITCH_FLOAT(xt, X,
                    ES_SWITCH_FLOAT(W.dtype, WT,
                                    ES_SWITCH_FLOAT(yt, Y,
                                                    by_own(d, (Y *)y, (const X *)x, (const WT *)W.p, b, rows, T, W.I, W.O,
                                                           (int)act, add))))
}

/* ---- convolution ---- */

/* u[b, to, i] = the input i of row b * To + to. A block a row; 16 bytes a thread where EVEN: no unit has two taps. */
template <class T, bool EVEN> static __global__ void unfold(T *u, const T *x, const int32_t *batches, int B, int I, taps k)
{
    enum { N = EVEN ? (int)es_vector<T>::N : 1 };
    int b = (int)blockIdx.y, to = (int)blockIdx.x;

    if (b >= es_live_rows(batches, B)) return;
    T *row = u + ((size_t)b * (size_t)k.To + (size_t)to) * (size_t)I;
    for (int i = (int)threadIdx.x * N; i < I; i += (int)blockDim.x * N) {
        int tap = i / k.C, t = to * k.stride + tap * k.dilation - k.pad;
        const T *from = x + ((size_t)b * (size_t)k.Ti + (size_t)t) * (size_t)k.C + (size_t)(i - tap * k.C);
        float v[N] = {0};
        if (t >= 0 && t < k.Ti) es_load_few<N>(v, from);
        es_store_few<N>(row + i, v);
    }
}

template <class T>
static __global__ void add_positions(T *y, const float *pos, const int32_t *batches, int B, int To, int O)
{
    int b = (int)blockIdx.y, to = (int)blockIdx.x;

    if (b >= es_live_rows(batches, B)) return;
    T *row = y + ((size_t)b * (size_t)To + (size_t)to) * (size_t)O;
    for (int o = (int)threadIdx.x; o < O; o += (int)blockDim.x) es_store(row + o, es_load(row + o) + pos[(size_t)to * (size_t)O + o]);
}

void es_cuda_conv1d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const float *pos,
                    const int32_t *batches, int B, int Ti, int C, int K, int stride, int pad, int dilation, es_act act,
                    void *scratch)
{
    int To = (Ti + 2 * pad - dilation * (K - 1) - 1) / stride + 1, I = K * C, N = (int)(16 / es_dtype_bytes(t));
    taps k = {To, Ti, C, stride, pad, dilation};
    dim3 grid((unsigned)To, (unsigned)B);

    /* Unfolded only for the library; scratch is as large as that asks for. */
    if (I % N != 0 || W.dtype != t) {
        ES_SWITCH_FLOAT(t, T,
                        ES_SWITCH_FLOAT(W.dtype, WT,
                                        ES_LAUNCH(d, (own_product<T, WT, T, true>), own_grid(B * To, W.O), dim3(SIDE, SIDE), 0, (T *)y,
                                                  (const T *)x, (const WT *)W.p, b, batches, B, I, W.O, (int)act, 0, k)))
    } else {
        ES_SWITCH_FLOAT(t, T,
                        if (C % N == 0 && es_aligned16(x))
                            ES_LAUNCH(d, (unfold<T, true>), grid, 128, 0, (T *)scratch, (const T *)x, batches, B, I, k);
                        else ES_LAUNCH(d, (unfold<T, false>), grid, 128, 0, (T *)scratch, (const T *)x, batches, B, I, k))
        es_cuda_linear(d, y, t, scratch, t, W, b, NULL, B * To, act, false);
    }
    if (pos) ES_SWITCH_FLOAT(t, T, ES_LAUNCH(d, add_positions<T>, grid, 128, 0, (T *)y, pos, batches, B, To, W.O))
}

/* ---- weights ---- */

/* Row-major on the device as on the host; converted on the way, a piece at a time, in pinned memory. */
void es_cuda_matrix_load(es_device *dev, void *dst, es_matrix W, const void *src, es_dtype from)
{
    es_cuda *d = es_cuda_of(dev);
    size_t n = (size_t)W.O * (size_t)W.I, step = 1 << 20;

    if (from == W.dtype) {
        es_device_put(dev, dst, src, n * es_dtype_bytes(from));
        return;
    }
    for (size_t at = 0; at < n; at += step) {
        size_t count = n - at < step ? n - at : step;
        unsigned piece = d->ring_at++ % ES_CUDA_RING;
        cudaEventSynchronize(d->ring_free[piece]);
        for (size_t i = 0; i < count; i++) {
            float v = from == ES_F16    ? __half2float(((const __half *)src)[at + i])
                      : from == ES_BF16 ? __bfloat162float(((const __nv_bfloat16 *)src)[at + i])
                                        : ((const float *)src)[at + i];
            if (W.dtype == ES_F16)
                ((__half *)d->ring[piece])[i] = __float2half_rn(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v);
            else if (W.dtype == ES_BF16) ((__nv_bfloat16 *)d->ring[piece])[i] = __float2bfloat16_rn(v);
            else ((float *)d->ring[piece])[i] = v;
        }
        size_t e = es_dtype_bytes(W.dtype);
        cudaMemcpyAsync((char *)dst + at * e, d->ring[piece], count * e, cudaMemcpyHostToDevice, d->stream);
        cudaEventRecord(d->ring_free[piece], d->stream);
        es_cuda_note(dev, "matrix_load");
    }
}
