/*
 * lanes_body.h - the inner loops of the CPU backend, compiled once for each instruction set.
 *
 * Included by lanes_portable.c, lanes_avx2.c and lanes_avx512.c after they have defined TILE_ROWS (the height of the
 * microkernel) and TILE_REGS (its width in registers). Everything is static but the table at the end of those files.
 *
 * The rule that keeps the bits equal: elementwise work does not care how wide a register is, a product is one chain an
 * output, and a sum over a row is sixteen chains joined by one tree, here VN registers to the sixteen lanes. Tails of
 * rows go through a buffer, never through other arithmetic.
 */
#include "kernels/fourier_body.h"

/* ---- rows ---- */

/* The first n values of a register's worth at x, the rest `fill`. Where n is VW by construction this is one load. */
INLINE V load_some(const float *x, size_t n, float fill)
{
    float room[VW];

    if (n >= VW) return v_load(x);
    for (size_t i = 0; i < VW; i++) room[i] = i < n ? x[i] : fill;
    return v_load(room);
}

INLINE void store_some(float *y, V v, size_t n)
{
    float room[VW];

    if (n >= VW) {
        v_store(y, v);
        return;
    }
    v_store(room, v);
    memcpy(y, room, n * sizeof *y);
}

/* Runs the body on every register's worth of n values: `at` is its place, `left` how many of them there are. */
#define EACH(n, ...)                                                                                                   \
    do {                                                                                                               \
        size_t at = 0;                                                                                                 \
        for (; at + VW <= (n); at += VW) {                                                                             \
            const size_t left = VW;                                                                                    \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
        if (at < (n)) {                                                                                                \
            const size_t left = (n)-at;                                                                                \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

/* The same in sixteens, for sums: register j holds lanes j * VW on. `left` may be 0 in the last sixteen. */
#define SIXTEENS(n, ...)                                                                                               \
    do {                                                                                                               \
        size_t whole_ = (n) & ~(size_t)(ES_LANES - 1);                                                                 \
        for (size_t i_ = 0; i_ < whole_; i_ += ES_LANES)                                                               \
            UNROLL (j, VN) {                                                                                           \
                const size_t at = i_ + (size_t)j * VW, left = VW;                                                      \
                __VA_ARGS__;                                                                                           \
            }                                                                                                          \
        for (int j = 0; j < VN && whole_ < (n); j++) {                                                                 \
            const size_t at = whole_ + (size_t)j * VW, left = at < (n) ? (n)-at : 0;                                   \
            __VA_ARGS__;                                                                                               \
        }                                                                                                              \
    } while (0)

static void widen(float *y, const void *x, es_dtype t, size_t n)
{
    size_t i = 0;

    if (t == ES_F32) {
        memcpy(y, x, n * sizeof *y);
        return;
    }
    if (t == ES_F16)
        for (; i + VW <= n; i += VW) v_store(y + i, v_widen(x, i, ES_F16));
    else
        for (; i + VW <= n; i += VW) v_store(y + i, v_widen(x, i, ES_BF16));
    const uint16_t *h = x;
    for (; i < n; i++) y[i] = t == ES_F16 ? es_half_to_float(h[i]) : es_bfloat_to_float(h[i]);
}

INLINE void finish_as(float *y, const float *s, size_t n, es_finish f, es_act act)
{
    EACH(n, {
        V v = load_some(s + at, left, 0);
        if (f.b) v = v + load_some(f.b + at, left, 0);
        v = v_act(v, act);
        if (f.add) v = v + load_some(y + at, left, 0);
        if (f.pos) v = v + load_some(f.pos + at, left, 0);
        store_some(y + at, v, left);
    });
}

static void finish(float *y, const float *s, size_t n, es_finish f)
{
    switch (f.act) {
    case ES_ACT_NONE: finish_as(y, s, n, f, ES_ACT_NONE); return;
    case ES_ACT_GELU: finish_as(y, s, n, f, ES_ACT_GELU); return;
    case ES_ACT_RELU: finish_as(y, s, n, f, ES_ACT_RELU); return;
    case ES_ACT_LEAKY: finish_as(y, s, n, f, ES_ACT_LEAKY); return;
    case ES_ACT_TANH: finish_as(y, s, n, f, ES_ACT_TANH); return;
    case ES_ACT_SIGMOID: finish_as(y, s, n, f, ES_ACT_SIGMOID); return;
    case ES_ACT_SILU: finish_as(y, s, n, f, ES_ACT_SILU); return;
    }
}

static float sum(const float *x, size_t n)
{
    V s[VN] = {{0}};

    SIXTEENS(n, s[j] = s[j] + load_some(x + at, left, 0));
    return v_join(s);
}

static float sum_square(const float *x, size_t n, float mean)
{
    V s[VN] = {{0}};

    SIXTEENS(n, {
        V v = load_some(x + at, left, mean) - v_set(mean);
        s[j] = v_fma(v, v, s[j]);
    });
    return v_join(s);
}

/* Four rows at once, so that their chains overlap. */
static void dots(float *y, const float *x, const float *k, size_t ld, int rows, size_t n)
{
    int r = 0;

    for (; r + 4 <= rows; r += 4, k += 4 * ld) {
        V a[VN] = {{0}}, b[VN] = {{0}}, c[VN] = {{0}}, d[VN] = {{0}};
        SIXTEENS(n, {
            V v = load_some(x + at, left, 0);
            a[j] = v_fma(v, load_some(k + at, left, 0), a[j]);
            b[j] = v_fma(v, load_some(k + ld + at, left, 0), b[j]);
            c[j] = v_fma(v, load_some(k + 2 * ld + at, left, 0), c[j]);
            d[j] = v_fma(v, load_some(k + 3 * ld + at, left, 0), d[j]);
        });
        v_join_four(y + r, a, b, c, d);
    }
    for (; r < rows; r++, k += ld) {
        V s[VN] = {{0}};
        SIXTEENS(n, s[j] = v_fma(load_some(x + at, left, 0), load_some(k + at, left, 0), s[j]));
        y[r] = v_join(s);
    }
}

static float row_max(const float *x, size_t n)
{
    V m[4] = {v_set(-INFINITY), v_set(-INFINITY), v_set(-INFINITY), v_set(-INFINITY)};
    float room[VW], best = -INFINITY;
    size_t whole = n / (4 * VW) * (4 * VW);

    for (size_t i = 0; i < whole; i += 4 * VW)
        UNROLL (j, 4) {
            V v = v_load(x + i + (size_t)j * VW);
            m[j] = v_if(v > m[j], v, m[j]);
        }
    EACH(n - whole, {
        V v = load_some(x + whole + at, left, -INFINITY);
        m[0] = v_if(v > m[0], v, m[0]);
    });
    UNROLL (j, 4) m[0] = v_if(m[j] > m[0], m[j], m[0]);
    v_store(room, m[0]);
    for (int i = 0; i < VW; i++) best = room[i] > best ? room[i] : best;
    return best;
}

static float exp_sum(float *y, const float *x, size_t n, float max)
{
    V s[VN] = {{0}};

    SIXTEENS(n, {
        if (left == 0) break;
        V v = v_exp(load_some(x + at, left, -INFINITY) - v_set(max));
        store_some(y + at, v, left);
        s[j] = s[j] + v;
    });
    return v_join(s);
}

static void scale(float *y, const float *x, size_t n, float by)
{
    EACH(n, store_some(y + at, load_some(x + at, left, 0) * v_set(by), left));
}

static void norm(float *y, const float *x, const float *g, const float *b, size_t n, float mean, float by)
{
    EACH(n, {
        V v = (load_some(x + at, left, 0) - v_set(mean)) * v_set(by) * load_some(g + at, left, 0);
        if (b) v = v + load_some(b + at, left, 0);
        store_some(y + at, v, left);
    });
}

static void blend(float *y, const float *p, const float *v, size_t ld, int rows, size_t n, bool first)
{
    size_t i = 0;

    for (; i + 4 * VW <= n; i += 4 * VW) {
        V a = v_set(0), b = a, c = a, d = a;
        if (!first) a = v_load(y + i), b = v_load(y + i + VW), c = v_load(y + i + 2 * VW), d = v_load(y + i + 3 * VW);
        for (int r = 0; r < rows; r++) {
            const float *row = v + (size_t)r * ld + i;
            V w = v_set(p[r]);
            a = v_fma(w, v_load(row), a);
            b = v_fma(w, v_load(row + VW), b);
            c = v_fma(w, v_load(row + 2 * VW), c);
            d = v_fma(w, v_load(row + 3 * VW), d);
        }
        v_store(y + i, a), v_store(y + i + VW, b), v_store(y + i + 2 * VW, c), v_store(y + i + 3 * VW, d);
    }
    EACH(n - i, {
        V a = first ? v_set(0) : load_some(y + i + at, left, 0);
        for (int r = 0; r < rows; r++) a = v_fma(v_set(p[r]), load_some(v + (size_t)r * ld + i + at, left, 0), a);
        store_some(y + i + at, a, left);
    });
}

/* ---- products ---- */

/* One microkernel of m rows, m known when it is compiled: TILE_REGS accumulators a row stay in registers. */
INLINE void tile_of(const int m, int k, const float *a, size_t lda, const float *b, size_t panel, float *c, size_t ldc,
                    bool first)
{
    V acc[TILE_ROWS][TILE_REGS];

    UNROLL (r, m)
        UNROLL (j, TILE_REGS) acc[r][j] = first ? v_set(0) : v_load(c + (size_t)r * ldc + (size_t)j * VW);
    for (int i = 0; i < k; i++) {
        V w[TILE_REGS];
        UNROLL (j, TILE_REGS)
            w[j] = v_load(b + (size_t)(j / VN) * panel + (size_t)i * ES_LANES + (size_t)(j % VN) * VW);
        UNROLL (r, m) {
            V x = v_set(a[(size_t)r * lda + (size_t)i]);
            UNROLL (j, TILE_REGS) acc[r][j] = v_fma(x, w[j], acc[r][j]);
        }
    }
    UNROLL (r, m)
        UNROLL (j, TILE_REGS) v_store(c + (size_t)r * ldc + (size_t)j * VW, acc[r][j]);
}

#define TILE_CASE(m)                                                                                                   \
    case m: tile_of(m, k, a, lda, b, panel, c, ldc, first); return

static void tile(int m, int k, const float *a, size_t lda, const float *b, size_t panel, float *c, size_t ldc,
                 bool first)
{
    switch (m) {
        TILE_CASE(1);
        TILE_CASE(2);
        TILE_CASE(3);
        TILE_CASE(4);
#if TILE_ROWS > 4
        TILE_CASE(5);
        TILE_CASE(6);
#endif
#if TILE_ROWS > 6
        TILE_CASE(7);
        TILE_CASE(8);
        TILE_CASE(9);
        TILE_CASE(10);
        TILE_CASE(11);
        TILE_CASE(12);
        TILE_CASE(13);
        TILE_CASE(14);
#endif
    }
}

/* m rows against `panels` panels at once: m * panels * VN chains, enough of them to hide the latency of one. */
INLINE void few_of(const int m, const int panels, const es_dtype t, int I, const float *x, size_t ldx, const char *w,
                   float *c, size_t ldc)
{
    size_t panel = (size_t)I * ES_LANES;
    V acc[ES_FEW_ROWS][4 * VN];

    UNROLL (r, m)
        UNROLL (j, panels * VN) acc[r][j] = v_set(0);
    for (int i = 0; i < I; i++) {
        UNROLL (j, panels * VN) {
            V v = v_widen(w, (size_t)(j / VN) * panel + (size_t)i * ES_LANES + (size_t)(j % VN) * VW, t);
            UNROLL (r, m) acc[r][j] = v_fma(v_set(x[(size_t)r * ldx + (size_t)i]), v, acc[r][j]);
        }
    }
    UNROLL (r, m)
        UNROLL (j, panels * VN) v_store(c + (size_t)r * ldc + (size_t)j * VW, acc[r][j]);
}

/* Panels at once: as many as leave the accumulators in registers. */
#define FEW_PANELS(m) ((m)*4 * VN <= FEW_REGS ? 4 : (m)*2 * VN <= FEW_REGS ? 2 : 1)
#define FEW_CASE(m)                                                                                                    \
    case m:                                                                                                            \
        for (; n >= FEW_PANELS(m); n -= FEW_PANELS(m), w += (size_t)FEW_PANELS(m) * bytes, c += FEW_PANELS(m) * 16)    \
            few_of(m, FEW_PANELS(m), t, I, x, ldx, w, c, ldc);                                                         \
        for (; n > 0; n--, w += bytes, c += ES_LANES) few_of(m, 1, t, I, x, ldx, w, c, ldc);                           \
        return

INLINE void few_as(const es_dtype t, int m, int n, int I, const float *x, size_t ldx, const char *w, float *c,
                   size_t ldc)
{
    size_t bytes = (size_t)I * ES_LANES * es_dtype_bytes(t);

    switch (m) {
        FEW_CASE(1);
        FEW_CASE(2);
        FEW_CASE(3);
        FEW_CASE(4);
        FEW_CASE(5);
        FEW_CASE(6);
        FEW_CASE(7);
        FEW_CASE(8);
    }
}

static void few(int m, int n, int I, const float *x, size_t ldx, const void *w, es_dtype t, float *c, size_t ldc)
{
    if (t == ES_F16) few_as(ES_F16, m, n, I, x, ldx, w, c, ldc);
    else if (t == ES_BF16) few_as(ES_BF16, m, n, I, x, ldx, w, c, ldc);
    else few_as(ES_F32, m, n, I, x, ldx, w, c, ldc);
}

#define LANES_TABLE(NAME)                                                                                              \
    {                                                                                                                  \
        .name = NAME, .tile_rows = TILE_ROWS, .tile_cols = TILE_REGS * VW, .tile = tile, .few = few, .widen = widen,   \
        .finish = finish, .sum = sum, .sum_square = sum_square, .dots = dots, .max = row_max, .exp_sum = exp_sum,      \
        .scale = scale, .norm = norm, .blend = blend, .power = power                                                   \
    }
