/*
 * whisper_align.c - when each token was said: cross-attention scores of the alignment heads, and a path through them.
 *
 * The text of a window is run through the decoder once more, all tokens at once, and the alignment heads' scores are
 * kept: how much the state that predicts a token looks at each 20 ms of sound. From them, on the host:
 *
 *     w      = softmax over the frames that hold sound                          [heads, rows, F]
 *     w      = (w - mean) / deviation over the rows, for every head and frame
 *     w      = median of 7 frames, the ends reflected
 *     cost   = - mean of w over the heads
 *     path   = the cheapest monotone way from (first row, first frame) to (last, last)      dynamic time warping
 *
 * A token begins at the first frame of its row. Standardising takes away frames that every row looks at; the median
 * takes away single spikes.
 *
 * The scores stay on the device: 20 heads by 448 rows by 1500 frames are 54 MB. The host reads them twice, a few rows
 * at a time: once for the means and deviations, once for the rest.
 *
 * The probability of a token is taken over text tokens alone, from the same run. Logits are made for 32 rows at a time.
 */
#include "models/whisper_parts.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MEDIAN = 7, BLOCK = 8 /* rows of scores read at once */ };

void es_whisper_align_run(es_run *r, void *user)
{
    es_whisper *m = user;
    es_tensor x = es_whisper_decode_rows(r, m, &m->align, m->scores);

    x = es_layernorm(r, x, m->decoder_norm.g, m->decoder_norm.b, 1e-5f);
    for (int i = 0; i < ES_WHISPER_LOGIT_RUNS; i++) {
        int first = i * ES_WHISPER_LOGIT_ROWS;
        es_tensor some = es_row_range(x, first, ES_WHISPER_LOGIT_ROWS);
        es_tensor id = es_row_range(m->align_id, first, ES_WHISPER_LOGIT_ROWS);
        es_tensor p = es_row_range(m->align_p, first, ES_WHISPER_LOGIT_ROWS);
        es_run_rows(r, es_row_range(m->align_live, i, 1));
        es_tensor logits = es_linear_f32(r, some, m->tokens, NULL); /* [32, V] */
        es_prob_at(r, p, logits, id, m->ids.eot);
    }
}

/* ---- dynamic time warping ---- */

size_t es_whisper_dtw_bytes(int N, int M)
{
    return 2 * ((size_t)M + 1) * sizeof(float) + ((size_t)N + 1) * ((size_t)M + 1);
}

/* D[i, j] = cost[i-1, j-1] + the cheapest of D[i-1, j-1] (0), D[i-1, j] (1), D[i, j-1] (2); only a strictly cheapest 0
 * or 1 is taken. The step into every cell is kept, of D only two rows. */
int es_whisper_dtw(const float *cost, int N, int M, int *first_column, void *work)
{
    size_t width = (size_t)M + 1;
    float *above = work, *here = above + width;
    uint8_t *step = (uint8_t *)(here + width); /* [N + 1, M + 1] */
    int cells = 0;

    assert(N >= 1 && M >= 1);
    above[0] = 0;
    for (int j = 1; j <= M; j++) above[j] = INFINITY;
    memset(step, 2, width); /* along the top only sideways, along the left only upwards */
    for (int i = 1; i <= N; i++) {
        uint8_t *s = step + (size_t)i * width;
        const float *x = cost + (size_t)(i - 1) * (size_t)M;
        s[0] = 1;
        here[0] = INFINITY;
        for (int j = 1; j <= M; j++) {
            float c0 = above[j - 1], c1 = above[j], c2 = here[j - 1];
            if (c0 < c1 && c0 < c2) {
                s[j] = 0;
                here[j] = x[j - 1] + c0;
            } else if (c1 < c0 && c1 < c2) {
                s[j] = 1;
                here[j] = x[j - 1] + c1;
            } else {
                s[j] = 2;
                here[j] = x[j - 1] + c2;
            }
        }
        float *t = above;
        above = here;
        here = t;
    }
    for (int i = 0; i < N; i++) first_column[i] = 0;
    /* Backwards; the border is only met where the costs hold no numbers. */
    for (int i = N, j = M; i > 0 || j > 0;) {
        if (i > 0 && j > 0) {
            first_column[i - 1] = j - 1;
            cells++;
        }
        uint8_t s = step[(size_t)i * width + (size_t)j];
        if (s != 2) i--;
        if (s != 1) j--;
    }
    return cells;
}

/* ---- from scores to costs ---- */

/* The host's work memory, one block. */
typedef struct align_work {
    double *sum, *squares; /* [heads of a layer, F] */
    float *rows;           /* [BLOCK, heads of a layer, 1500] */
    float *line;           /* [1500 + MEDIAN] */
    float *cost;           /* [448, F], rows tightly packed */
    void *dtw;
} align_work;

static int most_heads(const es_whisper *m)
{
    int n = 0;
    for (int i = 0; i < m->dims.decoder_layers; i++)
        if (m->n_heads[i] > n) n = m->n_heads[i];
    return n;
}

enum { LINE = ES_WHISPER_AUDIO + 2 * MEDIAN };

size_t es_whisper_align_bytes(const es_whisper *m)
{
    size_t heads = (size_t)most_heads(m), F = ES_WHISPER_AUDIO;

    return 2 * heads * F * sizeof(double) + (BLOCK * heads * F + LINE + ES_WHISPER_POSITIONS * F) * sizeof(float) +
           es_whisper_dtw_bytes(ES_WHISPER_POSITIONS, ES_WHISPER_AUDIO);
}

static align_work work_of(const es_whisper *m)
{
    size_t heads = (size_t)most_heads(m), F = ES_WHISPER_AUDIO;
    align_work w = {.sum = m->align_work};

    w.squares = w.sum + heads * F;
    w.rows = (float *)(w.squares + heads * F);
    w.line = w.rows + BLOCK * heads * F;
    w.cost = w.line + LINE;
    w.dtw = w.cost + ES_WHISPER_POSITIONS * F;
    return w;
}

static void softmax(float *x, int n)
{
    float top = x[0];
    double sum = 0;

    for (int i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int i = 0; i < n; i++) {
        x[i] = expf(x[i] - top);
        sum += (double)x[i];
    }
    float scale = (float)(1 / sum);
    for (int i = 0; i < n; i++) x[i] *= scale;
}

static float median(const float *x)
{
    float s[MEDIAN];

    for (int i = 0; i < MEDIAN; i++) {
        int j = i;
        for (; j > 0 && s[j - 1] > x[i]; j--) s[j] = s[j - 1];
        s[j] = x[i];
    }
    return s[MEDIAN / 2];
}

/* line[MEDIAN / 2 + i] holds x[i] on entry; cost -= the median around each frame, the ends reflected without the edge.
 */
static void subtract_medians(float *cost, float *line, int F)
{
    enum { HALF = MEDIAN / 2 };

    if (F <= HALF) {
        for (int i = 0; i < F; i++) cost[i] -= line[HALF + i];
        return;
    }
    for (int i = 1; i <= HALF; i++) {
        line[HALF - i] = line[HALF + i];
        line[HALF + F - 1 + i] = line[HALF + F - 1 - i];
    }
    for (int i = 0; i < F; i++) cost[i] -= median(line + i);
}

/* Reads rows first .. first+n-1 of a layer's scores and takes the softmax of each over F frames. */
static void read_rows(es_whisper *m, const align_work *w, int layer, int first, int n, int F)
{
    size_t row = (size_t)m->n_heads[layer] * ES_WHISPER_AUDIO;

    es_state_get(m->arena, m->scores[layer], (size_t)first * row * sizeof(float), w->rows,
                 (size_t)n * row * sizeof(float));
    for (int i = 0; i < n * m->n_heads[layer]; i++) softmax(w->rows + (size_t)i * ES_WHISPER_AUDIO, F);
}

/* cost[r - first, F] of rows first .. first+n-1, from all `all` rows: minus the sum over the heads of a layer. */
static void add_layer(es_whisper *m, const align_work *w, int layer, int all, int first, int n, int F)
{
    int H = m->n_heads[layer];
    size_t stats = (size_t)H * (size_t)F;

    memset(w->sum, 0, stats * sizeof *w->sum);
    memset(w->squares, 0, stats * sizeof *w->squares);
    for (int at = 0; at < all; at += BLOCK) {
        int k = all - at < BLOCK ? all - at : BLOCK;
        read_rows(m, w, layer, at, k, F);
        for (int i = 0; i < k * H; i++) {
            const float *x = w->rows + (size_t)i * ES_WHISPER_AUDIO;
            double *sum = w->sum + (size_t)(i % H) * (size_t)F, *squares = w->squares + (size_t)(i % H) * (size_t)F;
            for (int f = 0; f < F; f++) {
                sum[f] += (double)x[f];
                squares[f] += (double)x[f] * (double)x[f];
            }
        }
    }
    /* Now sum holds the mean and squares one over the deviation; a frame that all rows see alike says nothing. */
    for (size_t i = 0; i < stats; i++) {
        double mean = w->sum[i] / all, variance = w->squares[i] / all - mean * mean;
        w->sum[i] = mean;
        w->squares[i] = variance > 1e-15 * mean * mean && variance > 0 ? 1 / sqrt(variance) : 0;
    }
    for (int at = first; at < first + n; at += BLOCK) {
        int k = first + n - at < BLOCK ? first + n - at : BLOCK;
        read_rows(m, w, layer, at, k, F);
        for (int i = 0; i < k * H; i++) {
            const float *x = w->rows + (size_t)i * ES_WHISPER_AUDIO;
            const double *mean = w->sum + (size_t)(i % H) * (size_t)F,
                         *scale = w->squares + (size_t)(i % H) * (size_t)F;
            for (int f = 0; f < F; f++) w->line[MEDIAN / 2 + f] = (float)(((double)x[f] - mean[f]) * scale[f]);
            subtract_medians(w->cost + (size_t)(at - first + i / H) * (size_t)F, w->line, F);
        }
    }
}

/* ---- the door ---- */

static void put_text(es_whisper *m, int slot, const int32_t *sot, int n_sot, const int32_t *text, int n_text)
{
    enum { R = ES_WHISPER_POSITIONS };
    int n = n_sot + n_text + 2;
    int32_t *rows = m->host_rows, live[ES_WHISPER_LOGIT_RUNS];

    for (int i = 0; i < n; i++) {
        rows[i] = i < n_sot             ? sot[i]
                  : i == n_sot          ? m->ids.no_timestamps
                  : i <= n_sot + n_text ? text[i - n_sot - 1]
                                        : m->ids.eot;
        rows[R + i] = i;
        rows[2 * R + i] = slot;
        rows[3 * R + i] = i + 1;
    }
    es_state_put(m->arena, m->align.id, 0, rows, (size_t)n * 4);
    es_state_put(m->arena, m->align.pos, 0, rows + R, (size_t)n * 4);
    es_state_put(m->arena, m->align.slot, 0, rows + 2 * R, (size_t)n * 4);
    es_state_put(m->arena, m->align.len, 0, rows + 3 * R, (size_t)n * 4);
    int32_t count = n;
    es_state_put(m->arena, m->align.live, 0, &count, 4);
    for (int i = 0; i < R; i++) rows[i] = i >= n_sot && i < n_sot + n_text ? text[i - n_sot] : -1;
    es_state_put(m->arena, m->align_id, 0, rows, (size_t)R * 4);
    /* Only rows that predict a text token need logits. */
    for (int i = 0; i < ES_WHISPER_LOGIT_RUNS; i++) {
        int left = n_sot + n_text - i * ES_WHISPER_LOGIT_ROWS;
        live[i] = left < 0 ? 0 : left > ES_WHISPER_LOGIT_ROWS ? ES_WHISPER_LOGIT_ROWS : left;
    }
    es_state_put(m->arena, m->align_live, 0, live, sizeof live);
}

int es_whisper_align(es_whisper *m, int slot, const int32_t *sot_sequence, int n_sot, const int32_t *text, int n_text,
                     int frames, int *start_frame, float *p, es_err *err)
{
    int all = n_sot + n_text + 2, F = frames / 2 < ES_WHISPER_AUDIO ? frames / 2 : ES_WHISPER_AUDIO;
    align_work w = work_of(m);
    es_fault fault;

    assert(m->limits.align && m->slots[slot].phase == ES_SLOT_FREE && n_sot >= 1 && n_text >= 0);
    if (all > ES_WHISPER_POSITIONS)
        return es_fail(err, ES_EARG, "%d tokens cannot be aligned, the decoder has %d positions", all,
                       ES_WHISPER_POSITIONS);
    put_text(m, slot, sot_sequence, n_sot, text, n_text);
    es_program_run(m->align_program, m->arena);
    es_state_get(m->arena, m->align_p, (size_t)n_sot * sizeof(float), p, (size_t)n_text * sizeof(float));
    for (int i = 0; i <= n_text; i++) start_frame[i] = 0;
    if (F > 0) {
        memset(w.cost, 0, (size_t)(n_text + 1) * (size_t)F * sizeof(float));
        for (int i = 0; i < m->dims.decoder_layers; i++)
            if (m->n_heads[i]) add_layer(m, &w, i, all, n_sot, n_text + 1, F);
        float scale = 1.0f / (float)m->dims.n_pairs;
        for (size_t i = 0; i < (size_t)(n_text + 1) * (size_t)F; i++) w.cost[i] *= scale;
        es_whisper_dtw(w.cost, n_text + 1, F, start_frame, w.dtw);
    }
    if (es_device_sync(m->device, &fault)) return es_fail(err, ES_EDEVICE, "aligning words: %s", fault.text);
    return ES_OK;
}
