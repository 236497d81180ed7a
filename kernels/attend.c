/*
 * attend.c - attention of the CPU: whole sequences, and single queries against a cache.
 *
 * Whole sequences. A job is one head and a run of queries. Keys are taken 512 at a time: the block's keys become panels
 * [D][16 keys] and its values panels [16 columns of D][512], the layout of weights, so that both products are the same
 * microkernel. For a strip of queries:
 *
 *     s[q][k] = chain over D of (scale q) k        p = exp(s - m)        o[q][d] = chain over keys of p v
 *
 * with m the largest score so far. When a block raises m, sum and o are first multiplied by exp(old m - m). Blocks
 * start at the sequence's first key, so the order of every sum depends on the row alone.
 *
 * Single queries. Scores are sixteen-lane dot products, the softmax spans all keys at once, and o is one chain over the
 * keys. The bound is memory: each cached number is used once.
 */
#include "kernels/cpu.h"

#include <assert.h>
#include <math.h>

typedef struct attend_call {
    es_cpu *d;
    es_dtype t;
    void *y;
    const void *q, *k, *v;
    int ldq, ldk, ldv;
    const int32_t *bounds;
    int H, Hkv, D, query_blocks, query_rows;
    float scale;
    es_mask mask;
} attend_call;

enum {
    SCORES = ES_KEY_BLOCK + ES_ROW_PAD, /* stride of a row of scores */
    AHEAD = 16                          /* keys and values that are on their way while one is packed */
};

/* What a job keeps in its thread's scratch; the sizes are for the widest head, 256. */
typedef struct attend_room {
    float *k;         /* [512 / 16][D][16] */
    float *v;         /* [ceil(D / 16), even][512][16] */
    float *s;         /* [14][512 + 16] */
    float *q;         /* [14][D + 16] */
    float *o;         /* [rows of a job][D, padded to 32] */
    float *max, *sum; /* [rows of a job] */
    float *row;       /* [16][D] */
} attend_room;

/* Rows that a job may have: as many as fit where 252 of the widest head do. */
static int most_rows(int D)
{
    return ES_BLOCK_ROWS * ES_HEAD_MAX / ((D + 31) / 32 * 32);
}

static attend_room room_of(es_cpu *d, int thread, int D)
{
    size_t wide = ((size_t)D + 31) / 32 * 32, rows = (size_t)most_rows(D);
    attend_room r = {.k = es_cpu_scratch(d, thread)};

    r.v = r.k + ES_KEY_BLOCK * (size_t)D;
    r.s = r.v + ES_KEY_BLOCK * wide;
    r.q = r.s + ES_TILE_ROWS * SCORES;
    r.o = r.q + ES_TILE_ROWS * (size_t)(D + ES_ROW_PAD);
    r.max = r.o + rows * wide;
    r.sum = r.max + rows;
    r.row = r.sum + rows;
    return r;
}

/* A head's part of a row is a few lines, and the next row's are further away than a page: nothing that the processor
 * fetches by itself, so that each would be waited for. */
static void fetch_part(const attend_call *c, const void *x, size_t at)
{
    size_t bytes = es_dtype_bytes(c->t);

    es_cpu_fetch((const char *)x + at * bytes, (size_t)c->D * bytes);
}

static void fetch_key(const attend_call *c, size_t row, int head)
{
    fetch_part(c, c->k, row * (size_t)c->ldk + (size_t)(head * c->D));
    fetch_part(c, c->v, row * (size_t)c->ldv + (size_t)(head * c->D));
}

/* n keys and values of one head from row `at` into panels; what is past n in the last panels is zero. */
static void pack_keys(const attend_call *c, const attend_room *m, size_t at, int n, int head)
{
    const es_lanes *l = c->d->lanes;
    int D = c->D, padded = (n + 31) / 32 * 32, wide = (D + 31) / 32 * 32;

    for (int i = 0; i < es_min(n, AHEAD); i++) fetch_key(c, at + (size_t)i, head);
    for (int i0 = 0; i0 < padded; i0 += ES_LANES) {
        float *to = m->k + (size_t)i0 * (size_t)D;
        const float *x[ES_LANES];
        int live = es_min(n - i0, ES_LANES);
        for (int i = 0; i < live; i++) {
            if (i0 + i + AHEAD < n) fetch_key(c, at + (size_t)(i0 + i + AHEAD), head);
            size_t key = (at + (size_t)(i0 + i)) * (size_t)c->ldk + (size_t)(head * D);
            x[i] = es_read(l, c->k, c->t, key, (size_t)D, m->row + i * D);
        }
        for (int j = 0; j < D; j++)
            for (int i = 0; i < ES_LANES; i++) to[j * ES_LANES + i] = i < live ? x[i][j] : 0;
        for (int i = 0; i < live; i++) {
            size_t value = (at + (size_t)(i0 + i)) * (size_t)c->ldv + (size_t)(head * D);
            const float *v = es_read(l, c->v, c->t, value, (size_t)D, m->row);
            for (int j = 0; j < wide; j += ES_LANES) {
                float *row = m->v + ((size_t)(j / ES_LANES) * ES_KEY_BLOCK + (size_t)(i0 + i)) * ES_LANES;
                if (j + ES_LANES <= D) memcpy(row, v + j, ES_LANES * sizeof *row);
                else
                    for (int e = 0; e < ES_LANES; e++) row[e] = j + e < D ? v[j + e] : 0;
            }
        }
    }
}

/* A strip of rows, the first being query `first` of the sequence and row `r` of the job, against one block of keys. */
static void strip(const attend_call *c, const attend_room *m, size_t q_row, int first, int r, int rows, int key0,
                  int keys, int head)
{
    const es_lanes *l = c->d->lanes;
    int D = c->D, wide = (D + 31) / 32 * 32, lda = D + ES_ROW_PAD;

    for (int i = 0; i < rows; i++) {
        size_t at = (q_row + (size_t)i) * (size_t)c->ldq + (size_t)(head * D);
        l->scale(m->q + i * lda, es_read(l, c->q, c->t, at, (size_t)D, m->row), (size_t)D, c->scale);
    }
    for (int j = 0; j < keys; j += l->tile_cols)
        l->tile(rows, D, m->q, (size_t)lda, m->k + (size_t)j * (size_t)D, (size_t)D * ES_LANES, m->s + j, SCORES, true);
    for (int i = 0; i < rows; i++) {
        float *s = m->s + i * SCORES, *o = m->o + (r + i) * wide;
        int seen = c->mask == ES_MASK_CAUSAL ? es_min(keys, first + i - key0 + 1) : keys;
        float *max = &m->max[r + i], *sum = &m->sum[r + i], old = *max;
        if (seen < 0) seen = 0;
        float best = l->max(s, (size_t)seen);
        if (best > old) {
            float by;
            l->exp_sum(&by, &old, 1, best);
            *max = best;
            *sum *= by;
            if (key0) l->scale(o, o, (size_t)wide, by);
        }
        *sum += l->exp_sum(s, s, (size_t)seen, *max);
        for (int j = seen; j < keys; j++) s[j] = 0;
    }
    for (int j = 0; j < wide; j += l->tile_cols)
        l->tile(rows, keys, m->s, SCORES, m->v + (size_t)j * ES_KEY_BLOCK, ES_KEY_BLOCK * ES_LANES, m->o + r * wide + j,
                (size_t)wide, key0 == 0);
}

static void attend_job(void *arg, int job, int thread)
{
    const attend_call *c = arg;
    const es_lanes *l = c->d->lanes;
    int block = job % c->query_blocks, head = job / c->query_blocks % c->H, s = job / c->query_blocks / c->H;
    int start = c->bounds[s], n = c->bounds[s + 1] - start, q0 = block * c->query_rows;
    int rows = es_min(c->query_rows, n - q0), D = c->D, wide = (D + 31) / 32 * 32;
    attend_room m = room_of(c->d, thread, D);

    if (rows <= 0) return;
    for (int i = 0; i < rows; i++) m.max[i] = -INFINITY, m.sum[i] = 0;
    for (int key0 = 0; key0 < n; key0 += ES_KEY_BLOCK) {
        int keys = es_min(ES_KEY_BLOCK, n - key0);
        if (c->mask == ES_MASK_CAUSAL && key0 >= q0 + rows) break;
        pack_keys(c, &m, (size_t)start + (size_t)key0, keys, head * c->Hkv / c->H);
        for (int r = 0; r < rows; r += l->tile_rows) {
            int strip_rows = es_min(l->tile_rows, rows - r);
            if (c->mask == ES_MASK_CAUSAL && key0 >= q0 + r + strip_rows) continue;
            for (int i = 0; key0 == 0 && i < es_min(l->tile_rows, rows - r - strip_rows); i++)
                fetch_part(c, c->q,
                           ((size_t)start + (size_t)(q0 + r + strip_rows + i)) * (size_t)c->ldq + (size_t)(head * D));
            strip(c, &m, (size_t)start + (size_t)(q0 + r), q0 + r, r, strip_rows, key0, keys, head);
        }
    }
    for (int i = 0; i < rows; i++) {
        size_t at = ((size_t)start + (size_t)(q0 + i)) * (size_t)(c->H * D) + (size_t)(head * D);
        float *o = m.o + i * wide;
        l->scale(o, o, (size_t)D, 1.0f / m.sum[i]);
        es_narrow((char *)c->y + at * es_dtype_bytes(c->t), c->t, o, (size_t)D);
    }
}

void es_cpu_attend(es_device *dev, es_dtype t, void *y, const void *q, int ldq, const void *k, int ldk, const void *v,
                   int ldv, const int32_t *bounds, int S, int N, int T, int H, int Hkv, int D, float scale,
                   es_mask mask)
{
    es_cpu *d = es_cpu_of(dev);
    attend_call c = {.d = d,
                     .t = t,
                     .y = y,
                     .q = q,
                     .k = k,
                     .v = v,
                     .ldq = ldq,
                     .ldk = ldk,
                     .ldv = ldv,
                     .bounds = bounds,
                     .H = H,
                     .Hkv = Hkv,
                     .D = D,
                     .scale = scale,
                     .mask = mask};

    (void)N;
    assert(D % 8 == 0 && D <= ES_HEAD_MAX);
    /* Long runs of queries share the packing of keys; shorter ones where heads alone do not feed the threads. Whole
     * strips of any height (84 is a multiple of 14, 6 and 4), so that a strip starts at the same query in any case. */
    int jobs = d->threads > 1 ? 4 * d->threads : 1, blocks = (jobs + S * H - 1) / (S * H);
    int rows = ((T + blocks - 1) / blocks + 83) / 84 * 84;
    c.query_rows = es_min(rows, most_rows(D) / 84 * 84);
    c.query_blocks = (T + c.query_rows - 1) / c.query_rows;
    es_pool_run(d->pool, S * H * c.query_blocks, attend_job, &c);
}

/* ---- against a cache ---- */

typedef struct cached_call {
    es_cpu *d;
    es_dtype t;
    void *y;
    const void *q;
    int ldq;
    const void *K, *V;
    const int32_t *slot, *len, *parent, *heads;
    int T, H, D, n_pairs;
    float scale;
    float *scores;
} cached_call;

enum { JOB_VALUES = 8192 /* keys times D below which handing out a job costs more than doing it */ };

/* Where key i of a slot's head lies, and in *run how many keys from there on lie one behind the other: up to a key that
 * another slot holds, or one where keys are widened one by one. */
static size_t cached_run(const cached_call *c, int slot, int h, const int32_t *parent, int i, int n, int *run)
{
    int holder = parent ? parent[i] : slot, end = c->t == ES_F32 ? n : i + 1;

    for (int j = i + 1; parent && j < end; j++)
        if (parent[j] != holder) end = j;
    *run = end - i;
    return (((size_t)holder * (size_t)c->H + (size_t)h) * (size_t)c->T + (size_t)i) * (size_t)c->D;
}

static void cached_heads(void *arg, int first, int last, int thread)
{
    const cached_call *c = arg;
    const es_lanes *l = c->d->lanes;
    size_t D = (size_t)c->D, T = (size_t)c->T;
    float *q = es_cpu_scratch(c->d, thread), *room = q + D, *o = room + D, *s = o + D;

    for (int at = first; at < last; at++) {
        int r = at / c->H, h = at % c->H, slot = c->slot[r], n = c->len ? es_min(c->len[r], c->T) : c->T;
        if (slot < 0) continue;
        const int32_t *parent = c->parent ? c->parent + (size_t)slot * T : NULL;
        l->scale(q, es_read(l, c->q, c->t, (size_t)r * (size_t)c->ldq + (size_t)h * D, D, room), D, c->scale);
        for (int i = 0, run; i < n; i += run) {
            size_t from = cached_run(c, slot, h, parent, i, n, &run);
            l->dots(s + i, q, es_read(l, c->K, c->t, from, D, room), D, run, D);
        }
        for (int p = 0; c->scores && p < c->n_pairs; p++)
            if (c->heads[p] == h)
                memcpy(c->scores + ((size_t)r * (size_t)c->n_pairs + (size_t)p) * T, s, (size_t)n * sizeof *s);
        float sum = l->exp_sum(s, s, (size_t)n, l->max(s, (size_t)n));
        for (int i = 0, run; i < n; i += run) {
            size_t from = cached_run(c, slot, h, parent, i, n, &run);
            l->blend(o, s + i, es_read(l, c->V, c->t, from, D, room), D, run, D, i == 0);
        }
        l->scale(o, o, D, 1.0f / sum);
        es_narrow((char *)c->y + (size_t)at * D * es_dtype_bytes(c->t), c->t, o, D);
    }
}

void es_cpu_attend_cached(es_device *dev, es_dtype t, void *y, const void *q, int ldq, const void *K, const void *V,
                          const int32_t *slot, const int32_t *len, const int32_t *parent, const int32_t *rows, int R,
                          int T, int H, int D, float scale, float *scores, const int32_t *heads, int n_pairs)
{
    es_cpu *d = es_cpu_of(dev);
    cached_call c = {.d = d,
                     .t = t,
                     .y = y,
                     .q = q,
                     .ldq = ldq,
                     .K = K,
                     .V = V,
                     .slot = slot,
                     .len = len,
                     .parent = parent,
                     .heads = heads,
                     .T = T,
                     .H = H,
                     .D = D,
                     .n_pairs = n_pairs,
                     .scale = scale,
                     .scores = scores};

    assert(((size_t)T + 3 * (size_t)D) * sizeof(float) <= ES_THREAD_BYTES);
    /* Early in a text a head is a few keys: then several make a job. */
    int live = es_live(rows, R), longest = len ? 1 : T;
    for (int r = 0; len && r < live; r++) longest = len[r] > longest && slot[r] >= 0 ? len[r] : longest;
    es_cpu_for(d, live * H, JOB_VALUES / (longest * D) + 1, cached_heads, &c);
}
