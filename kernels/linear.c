/*
 * linear.c - the matrix product of the CPU, in two forms with the same bits, and convolution as a product.
 *
 *     y[t][o] = finish(chain),  chain = 0; for i = 0 .. I-1: chain = fma(x[t][i], W[o][i], chain)
 *
 * Because every output is that one chain, the two forms below, any blocking and any number of threads agree bit for
 * bit:
 *
 * - Many rows (encoder, prefill): blocks of up to 252 rows by 512 columns. A block walks the inputs in slices of 256: the
 *   slice of the weights is unpacked to f32 once (512 KB, the second-level cache), rows are copied to a padded strip
 *   (15 KB, the first level), and the microkernel continues its chains in the block's f32 sums. Unpacking is shared by
 *   252 rows and copying by 512 columns, so both stay below 2 % of the multiplications (slices of 512 by 256 columns
 *   measured 3 % slower). Such rows as must be are copied: at a stride of 4096 bytes fourteen of them would share one
 *   set of an 8-way cache.
 * - At most 8 rows (decoding): the panels are streamed as they are stored, four at a time, each weight converted in a
 *   register and used for all rows. The bound is memory: half a byte of f16 per multiplication.
 *
 * A convolution's row is K runs of C inputs, so the same code serves it with another way of finding a row; nothing is
 * unfolded into memory. Without dilation the runs are one, and rows are evenly apart: the microkernel reads them where
 * they lie, and those of a linear too, where their stride is not a multiple of 2048 bytes. A convolution over packed
 * pieces is the same again: its row is a frame's band, and its runs are apart. To read those where they lie, tap by
 * tap, was tried and dropped: with 32 channels, taking up the sums nine times costs what copying does.
 */
#include "kernels/cpu.h"

#include <assert.h>

typedef struct product {
    es_cpu *d;
    void *y;
    es_dtype yt;
    const void *x;
    es_dtype xt;
    es_matrix W;
    es_finish f;
    const float *pos;                        /* [To, O] or NULL */
    int rows;                                /* live */
    int To, Ti, C, K, stride, pad, dilation; /* a linear is one tap over one long signal */
    int block_rows, block_cols, row_blocks;
    const int32_t *from, *to; /* bounds of packed pieces: then Ti, pad and dilation above say nothing, and To is bands of y */
    int S, F;
    es_taps k;
    es_act after;       /* of the finished sum, once added */
    const float *few_x; /* [rows, few_ld] f32 */
    size_t few_ld;
    int few_panels; /* of a job */
} product;

static size_t panels_of(int O)
{
    return ((size_t)O + ES_LANES - 1) / ES_LANES;
}

static const char *panel_at(es_matrix W, size_t panel, int input)
{
    return (const char *)W.p + (panel * (size_t)W.I + (size_t)input) * ES_LANES * es_dtype_bytes(W.dtype);
}

/* ---- weights ---- */

typedef struct load_call {
    char *dst;
    const void *src;
    es_matrix W;
    es_dtype from;
} load_call;

static float load_value(const void *src, es_dtype t, size_t at)
{
    const uint16_t *h = src;

    return t == ES_F32 ? ((const float *)src)[at] : t == ES_F16 ? es_half_to_float(h[at]) : es_bfloat_to_float(h[at]);
}

static void load_panels(void *arg, int first, int last, int thread)
{
    const load_call *c = arg;
    size_t I = (size_t)c->W.I, O = (size_t)c->W.O;

    (void)thread;
    for (size_t p = (size_t)first; p < (size_t)last; p++)
        for (size_t l = 0; l < ES_LANES; l++)
            for (size_t i = 0; i < I; i++) {
                size_t to = (p * I + i) * ES_LANES + l, o = p * ES_LANES + l, at = o * I + i;
                float *f = (float *)(void *)c->dst;
                uint16_t *h = (uint16_t *)(void *)c->dst;
                bool same = c->from == c->W.dtype;
                if (c->W.dtype == ES_F32) {
                    f[to] = o < O ? load_value(c->src, c->from, at) : 0;
                } else if (o >= O) {
                    h[to] = 0;
                } else if (same) {
                    h[to] = ((const uint16_t *)c->src)[at];
                } else {
                    float v = load_value(c->src, c->from, at);
                    h[to] = c->W.dtype == ES_F16 ? es_float_to_half(v) : es_float_to_bfloat(v);
                }
            }
}

void es_cpu_matrix_load(es_device *d, void *dst, es_matrix W, const void *src, es_dtype from)
{
    load_call c = {.dst = dst, .src = src, .W = W, .from = from};

    es_cpu_for(es_cpu_of(d), (int)panels_of(W.O), 8, load_panels, &c);
}

/* ---- rows of the left side ---- */

/* The piece that row r belongs to. */
static int piece_of(const int32_t *bounds, int S, int r)
{
    int low = 0, high = S - 1;

    while (low < high) {
        int mid = (low + high + 1) / 2;
        if (bounds[mid] <= r) low = mid;
        else high = mid - 1;
    }
    return low;
}

/* Short runs (a first convolution has one channel) are not worth a call. */
static void copy_run(const product *p, float *to, size_t at, int n)
{
    if (p->xt == ES_F32 && n < 8) {
        const float *x = (const float *)p->x + at;
        for (int i = 0; i < n; i++) to[i] = x[i];
    } else {
        p->d->lanes->widen(to, (const char *)p->x + at * es_dtype_bytes(p->xt), p->xt, (size_t)n);
    }
}

static void copy_taps(const product *p, int row, int k0, int n, float *to)
{
    es_taps k = p->k;
    int r = row / p->To, s = piece_of(p->to, p->S, r), first = p->from[s], frames = p->from[s + 1] - first;
    int t0 = (r - p->to[s]) * k.stride_t - k.Kt / 2 * k.dilation, f0 = row % p->To * k.stride_f - k.Kf / 2;

    while (n > 0) {
        int tap = k0 / k.C, c = k0 % k.C, take = es_min(k.C - c, n);
        int t = t0 + tap % k.Kt * k.dilation, f = f0 + tap / k.Kt;
        if (k.reflect) t = t < 0 ? -t : t < frames ? t : 2 * (frames - 1) - t;
        if (t < 0 || t >= frames || f < 0 || f >= p->F) {
            memset(to, 0, (size_t)take * sizeof *to);
        } else {
            copy_run(p, to, ((size_t)(first + t) * (size_t)p->F + (size_t)f) * (size_t)k.C + (size_t)c, take);
        }
        k0 += take, n -= take, to += take;
    }
}

/* Inputs k0 .. k0 + n - 1 of a row, as f32. */
static void copy_row(const product *p, int row, int k0, int n, float *to)
{
    int b = row / p->To, at = row % p->To;

    if (p->to) {
        copy_taps(p, row, k0, n, to);
        return;
    }
    while (n > 0) {
        int tap = k0 / p->C, c = k0 % p->C, take = es_min(p->C - c, n);
        int ti = at * p->stride + tap * p->dilation - p->pad;
        size_t from = ((size_t)b * (size_t)p->Ti + (size_t)ti) * (size_t)p->C + (size_t)c;
        if (p->dilation == 1 && ti >= 0 && ti + p->K - tap <= p->Ti) take = n; /* the rest lies in one run */
        if (ti < 0 || ti >= p->Ti) memset(to, 0, (size_t)take * sizeof *to);
        else copy_run(p, to, from, take);
        k0 += take, n -= take, to += take;
    }
}

/* Finished sums of one row, columns c0 .. c0 + n - 1, to y. room: n floats. */
static void put_row(const product *p, int row, int c0, int n, const float *s, float *room)
{
    const es_lanes *l = p->d->lanes;
    size_t at = (size_t)row * (size_t)p->W.O + (size_t)c0, e = es_dtype_bytes(p->yt);
    es_finish f = p->f;

    if (f.b) f.b += c0;
    if (p->pos) f.pos = p->pos + (size_t)(row % p->To) * (size_t)p->W.O + (size_t)c0;
    if (p->yt == ES_F32) {
        float *y = (float *)p->y + at;
        l->finish(y, s, (size_t)n, f);
        if (p->after != ES_ACT_NONE) l->finish(y, y, (size_t)n, (es_finish){.act = p->after});
        return;
    }
    if (f.add) l->widen(room, (const char *)p->y + at * e, p->yt, (size_t)n);
    l->finish(room, s, (size_t)n, f);
    if (p->after != ES_ACT_NONE) l->finish(room, room, (size_t)n, (es_finish){.act = p->after});
    es_narrow((char *)p->y + at * e, p->yt, room, (size_t)n);
}

/* ---- rows where they lie ---- */

/* The weights of a slice of inputs, for the columns of a block. */
typedef struct slice {
    const product *p;
    const float *w; /* of the slice's first input */
    size_t panel;   /* floats from one panel of w to the next */
    int n_panels;
} slice;

/* m rows `ld` floats apart from x on, over the k inputs of the slice. */
static void tiles(const slice *l, int m, const float *x, size_t ld, int k, float *s, bool first)
{
    const es_lanes *lanes = l->p->d->lanes;
    int step = lanes->tile_cols / ES_LANES;

    for (int j = 0; j < l->n_panels; j += step)
        lanes->tile(m, k, x, ld, l->w + (size_t)j * l->panel, l->panel, s + j * ES_LANES, ES_BLOCK_COLS, first);
}

/* Whether rows are read where they lie. Strides of whole half pages would put the rows of a strip into one set of a
 * cache. */
static bool lies_well(const product *p)
{
    return p->xt == ES_F32 && !p->to && p->dilation == 1 && p->C * p->stride % 512 != 0;
}

/* A strip of a plain convolution, if all its rows are of one window and within it. */
static bool strip_of_window(const slice *l, int row, int m, int k0, int k, float *s)
{
    const product *p = l->p;
    int b = row / p->To, at = row % p->To;
    int64_t from = (int64_t)at * p->stride - p->pad, to = (int64_t)(at + m - 1) * p->stride - p->pad + p->K;

    if (at + m > p->To || from < 0 || to > p->Ti) return false;
    tiles(l, m, (const float *)p->x + ((size_t)b * (size_t)p->Ti + (size_t)from) * (size_t)p->C + (size_t)k0,
          (size_t)(p->stride * p->C), k, s, k0 == 0);
    return true;
}

/* ---- many rows ---- */

/* The next strip's rows of a plain product, on their way while this strip is multiplied: each is a run of its own, and
 * the processor fetches only along one that it has begun. */
static void fetch_rows(const product *p, int row, int m, int k0, int k)
{
    if (p->to || p->K > 1) return;
    for (int i = 0; i < m; i++) {
        size_t at = (size_t)(row + i) * (size_t)p->C + (size_t)k0, bytes = es_dtype_bytes(p->xt);
        es_cpu_fetch((const char *)p->x + at * bytes, (size_t)k * bytes);
    }
}

static void block_job(void *arg, int job, int thread)
{
    const product *p = arg;
    const es_lanes *l = p->d->lanes;
    int col_blocks = (p->W.O + p->block_cols - 1) / p->block_cols;
    int r0 = job / col_blocks * p->block_rows, c0 = job % col_blocks * p->block_cols;
    int rows = es_min(p->block_rows, p->rows - r0), cols = es_min(p->block_cols, p->W.O - c0);
    int step = l->tile_cols / ES_LANES, n_panels = (cols + ES_LANES - 1) / ES_LANES;
    int I = p->W.I, lda = ES_BLOCK_DEPTH + ES_ROW_PAD;
    float *w = es_cpu_scratch(p->d, thread), *s = w + ES_BLOCK_DEPTH * ES_BLOCK_COLS,
          *a = s + ES_BLOCK_ROWS * ES_BLOCK_COLS, *room = a + ES_TILE_ROWS * (ES_BLOCK_DEPTH + ES_ROW_PAD);
    bool lies = lies_well(p);

    for (int k0 = 0; k0 < I; k0 += ES_BLOCK_DEPTH) {
        int k = es_min(ES_BLOCK_DEPTH, I - k0);
        slice part = {.p = p, .w = w, .panel = (size_t)k * ES_LANES, .n_panels = n_panels};
        if (p->W.dtype == ES_F32 && n_panels % step == 0) { /* as the microkernel wants them already */
            part.w = (const float *)(const void *)panel_at(p->W, (size_t)(c0 / ES_LANES), k0);
            part.panel = (size_t)I * ES_LANES;
        } else {
            for (int j = 0; j < n_panels; j++)
                l->widen(w + (size_t)j * part.panel, panel_at(p->W, (size_t)(c0 / ES_LANES + j), k0), p->W.dtype,
                         part.panel);
            /* The last pair of panels may have no second one: its columns are multiplied, if not used. */
            if (n_panels % step) memset(w + (size_t)n_panels * part.panel, 0, part.panel * sizeof *w);
        }
        for (int r = 0; r < rows; r += l->tile_rows) {
            int m = es_min(l->tile_rows, rows - r);
            float *to = s + r * ES_BLOCK_COLS;
            fetch_rows(p, r0 + r + m, es_min(l->tile_rows, rows - r - m), k0, k);
            if (!lies || !strip_of_window(&part, r0 + r, m, k0, k, to)) {
                for (int i = 0; i < m; i++) copy_row(p, r0 + r + i, k0, k, a + i * lda);
                tiles(&part, m, a, (size_t)lda, k, to, k0 == 0);
            }
        }
    }
    for (int r = 0; r < rows; r++) put_row(p, r0 + r, c0, cols, s + r * ES_BLOCK_COLS, room);
}

/* Blocks of as many whole strips as there is room for, all of nearly the same height, and as many for one thread as for
 * another. */
static void cut_rows(product *p, int most)
{
    int height = p->d->lanes->tile_rows, strips = (p->rows + height - 1) / height, threads = p->d->threads;
    int blocks = (strips * height + most - 1) / most;

    if (strips >= 4 * threads) blocks = (blocks + threads - 1) / threads * threads;
    p->block_rows = (strips + blocks - 1) / blocks * height;
    p->row_blocks = (p->rows + p->block_rows - 1) / p->block_rows;
}

static void run_blocks(product *p)
{
    int want = 3 * p->d->threads, most = ES_BLOCK_ROWS, col_blocks;

    /* Large blocks unless threads would go without: the result does not care. */
    p->block_cols = ES_BLOCK_COLS;
    for (;;) {
        cut_rows(p, most);
        col_blocks = (p->W.O + p->block_cols - 1) / p->block_cols;
        if (p->row_blocks * col_blocks >= want || p->d->threads == 1) break;
        if (p->block_cols > 64 && p->W.O > p->block_cols / 2) p->block_cols /= 2;
        else if (most > ES_BLOCK_ROWS / 3 && p->rows > most / 3) most /= 3;
        else break;
    }
    es_pool_run(p->d->pool, p->row_blocks * col_blocks, block_job, p);
}

/* ---- few rows ---- */

static void few_job(void *arg, int job, int thread)
{
    const product *p = arg;
    const es_lanes *l = p->d->lanes;
    int first = job * p->few_panels, n = es_min(p->few_panels, (int)panels_of(p->W.O) - first);
    int c0 = first * ES_LANES, cols = es_min(n * ES_LANES, p->W.O - c0);
    size_t ld = (size_t)n * ES_LANES;
    float *s = es_cpu_scratch(p->d, thread), *room = s + ES_FEW_ROWS * ld;

    l->few(p->rows, n, p->W.I, p->few_x, p->few_ld, panel_at(p->W, (size_t)first, 0), p->W.dtype, s, ld);
    for (int r = 0; r < p->rows; r++) put_row(p, r, c0, cols, s + (size_t)r * ld, room);
}

enum { FEW_PANELS_MOST = 64, FEW_BYTES_LEAST = 1 << 15 /* a job below this is not worth handing out */ };

static void run_few(product *p)
{
    int panels = (int)panels_of(p->W.O), n = 4;
    size_t bytes = (size_t)p->W.I * ES_LANES * es_dtype_bytes(p->W.dtype);

    if (p->xt == ES_F32 && !p->to && p->K == 1 && p->stride == 1 && p->pad == 0) {
        p->few_x = p->x;
        p->few_ld = (size_t)p->C;
    } else {
        float *to = es_cpu_shared(p->d);
        p->few_ld = (size_t)p->W.I + ES_ROW_PAD;
        for (int r = 0; r < p->rows; r++) copy_row(p, r, 0, p->W.I, to + (size_t)r * p->few_ld);
        p->few_x = to;
    }
    while (n < FEW_PANELS_MOST && (panels / n > 8 * p->d->threads || (size_t)n * bytes < FEW_BYTES_LEAST)) n *= 2;
    p->few_panels = n;
    es_pool_run(p->d->pool, (panels + n - 1) / n, few_job, p);
}

static void run(product *p)
{
    size_t shared = (size_t)p->rows * ((size_t)p->W.I + ES_ROW_PAD) * sizeof(float);

    assert(p->K * p->C == p->W.I);
    if (p->rows <= 0) return;
    if (p->rows <= ES_FEW_ROWS && shared <= ES_SHARED_BYTES) run_few(p);
    else run_blocks(p);
}

void es_cpu_linear(es_device *d, void *y, es_dtype yt, const void *x, es_dtype xt, es_matrix W, const float *b,
                   const int32_t *rows, int T, es_act act, bool add)
{
    int live = es_live(rows, T);

    assert(!add || act == ES_ACT_NONE);
    run(&(product){.d = es_cpu_of(d),
                   .y = y,
                   .yt = yt,
                   .x = x,
                   .xt = xt,
                   .W = W,
                   .f = {.b = b, .act = act, .add = add},
                   .rows = live,
                   .To = T,
                   .Ti = T,
                   .C = W.I,
                   .K = 1,
                   .stride = 1,
                   .dilation = 1});
}

void es_cpu_conv1d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const float *pos,
                   const int32_t *batches, int B, int Ti, int C, int K, int stride, int pad, int dilation, es_act act,
                   void *scratch)
{
    int To = (Ti + 2 * pad - dilation * (K - 1) - 1) / stride + 1;

    (void)scratch;
    run(&(product){.d = es_cpu_of(d),
                   .y = y,
                   .yt = t,
                   .x = x,
                   .xt = t,
                   .W = W,
                   .f = {.b = b, .act = act},
                   .pos = pos,
                   .rows = es_live(batches, B) * To,
                   .To = To,
                   .Ti = Ti,
                   .C = C,
                   .K = K,
                   .stride = stride,
                   .pad = pad,
                   .dilation = dilation});
}

void es_cpu_conv2d(es_device *d, es_dtype t, void *y, const void *x, es_matrix W, const float *b, const int32_t *from,
                   const int32_t *to, int S, int N, int F, es_taps k, es_act act, bool add)
{
    int bands = (F - 1) / k.stride_f + 1;

    run(&(product){.d = es_cpu_of(d),
                   .y = y,
                   .yt = t,
                   .x = x,
                   .xt = t,
                   .W = W,
                   .f = {.b = b, .act = add ? ES_ACT_NONE : act, .add = add},
                   .after = add ? act : ES_ACT_NONE,
                   .rows = es_live(to + S, N) * bands,
                   .To = bands,
                   .C = k.C,
                   .K = k.Kf * k.Kt,
                   .from = from,
                   .to = to,
                   .S = S,
                   .F = F,
                   .k = k});
}
