/*
 * enroll.c - whether a recording is good enough to know a person by.
 *
 * Three looks find a second voice, each where the others are blind. Within a window of the segmentation network the
 * slots tell voices apart however alike they sound, but a slot is another voice in each window: that finds
 * conversations. The pieces' vectors, clustered, find two people one after the other. The pieces one by one against the
 * mean of the others find what is neither: music, a ringing telephone, somebody in the background.
 *
 * Clipping is looked for at the recording's own limit, not at full scale alone: a clipped recording that was turned
 * down is as flat as before. Speech spends next to no time within a hundredth of its largest sample, a clipped wave
 * lies there.
 */
#include "speech/enroll.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "speech/cluster.h"
#include "speech/windows.h"

/* ---- where somebody speaks alone ---- */

static int append(es_stretch **at, size_t *n, size_t *room, int64_t from, int64_t to)
{
    if (to <= from) return 0;
    if (*n && (*at)[*n - 1].to == from) {
        (*at)[*n - 1].to = to;
        return 0;
    }
    if (*n == *room) {
        size_t more = *room ? 2 * *room : 32;
        es_stretch *moved = realloc(*at, more * sizeof *moved);
        if (!moved) return -1;
        *at = moved, *room = more;
    }
    (*at)[(*n)++] = (es_stretch){from, to};
    return 0;
}

int es_enroll_alone(es_stretch **out, size_t *n_out, double *second, const uint8_t *classes, int64_t C, int64_t n)
{
    int64_t G = es_windows_grid(C, ES_ENROLL_STEP), others = 0, all = 0;
    uint8_t *count = malloc((size_t)G + 1);
    es_stretch *at = NULL;
    size_t used = 0, room = 0;
    int rc = count ? 0 : -1;

    *out = NULL, *n_out = 0, *second = 0;
    for (int64_t c = 0; c < C; c++) {
        int active[ES_WINDOW_SLOTS], clean[ES_WINDOW_SLOTS], most = 0, sum = 0;
        es_windows_masks(classes + c * ES_WINDOW_FRAMES, 0, active, clean, NULL);
        for (int k = 0; k < ES_WINDOW_SLOTS; k++) {
            sum += active[k];
            if (active[k] > most) most = active[k];
        }
        all += sum, others += sum - most;
    }
    if (all) *second = (double)others / (double)all;
    if (!rc) es_windows_speakers(count, classes, C, ES_ENROLL_STEP, 0);
    /* A frame stands for the samples around its centre. */
    for (int64_t g = 0; g < G && !rc; g++) {
        int64_t from = ES_FRAME_STEP * g + 495 - ES_FRAME_STEP / 2, to = from + ES_FRAME_STEP;
        if (g == 0) from = 0;
        if (count[g] == 1) rc = append(&at, &used, &room, from < n ? from : n, to < n ? to : n);
    }
    free(count);
    if (rc) free(at), at = NULL, used = 0;
    *out = at, *n_out = used;
    return rc;
}

int es_enroll_loud(es_stretch **out, size_t *n_out, const float *x, int64_t n)
{
    enum { FRAME = 320, AROUND = 5 }; /* 20 ms; 0.1 s on either side of what is loud belongs to it */
    int64_t frames = n / FRAME;
    double *power = malloc(((size_t)frames + 1) * sizeof *power), top = 0;
    es_stretch *at = NULL;
    size_t used = 0, room = 0;
    int rc = power ? 0 : -1;

    *out = NULL, *n_out = 0;
    for (int64_t f = 0; f < frames && !rc; f++) {
        power[f] = 0;
        for (int i = 0; i < FRAME; i++) power[f] += (double)x[f * FRAME + i] * (double)x[f * FRAME + i] / FRAME;
        if (power[f] > top) top = power[f];
    }
    for (int64_t f = 0; f < frames && !rc; f++) {
        bool loud = false;
        for (int64_t k = f > AROUND ? f - AROUND : 0; k <= f + AROUND && k < frames; k++)
            loud = loud || (power[k] > 1e-3 * top && power[k] > 1e-8);
        if (loud) rc = append(&at, &used, &room, f * FRAME, (f + 1) * FRAME);
    }
    free(power);
    if (rc) free(at), at = NULL, used = 0;
    *out = at, *n_out = used;
    return rc;
}

int64_t es_enroll_samples(const es_stretch *s, size_t n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++) sum += s[i].to - s[i].from;
    return sum;
}

/* ---- how good it sounds ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The level between the stretches: of frames that lie wholly there the quiet fifth, since what was not taken for one
 * voice may be speech all the same. Negative where there are too few. */
static double noise_power(const float *x, int64_t n, const es_stretch *s, size_t n_stretches)
{
    enum { FRAME = 320, ENOUGH = 25 };
    double *power = malloc(((size_t)(n / FRAME) + 1) * sizeof *power), found = -1;
    size_t k = 0, frames = 0;

    for (int64_t at = 0; power && at + FRAME <= n; at += FRAME) {
        while (k < n_stretches && s[k].to <= at) k++;
        if (k < n_stretches && s[k].from < at + FRAME) continue;
        power[frames] = 0;
        for (int i = 0; i < FRAME; i++) power[frames] += (double)x[at + i] * (double)x[at + i] / FRAME;
        frames++;
    }
    if (frames >= ENOUGH) {
        qsort(power, frames, sizeof *power, ascending);
        found = power[frames / 5];
    }
    free(power);
    return found;
}

es_enroll_quality es_enroll_measure(const float *x, int64_t n, const es_stretch *s, size_t n_stretches)
{
    es_enroll_quality q = {.noise_db = 99};
    double speech = 0, noise = noise_power(x, n, s, n_stretches);
    int64_t in = 0, flat = 0;
    float top = 0;

    for (int64_t i = 0; i < n; i++) top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    for (size_t k = 0; k < n_stretches; k++)
        for (int64_t i = s[k].from; i < s[k].to; i++) {
            speech += (double)x[i] * (double)x[i];
            flat += top > 0 && fabsf(x[i]) >= 0.99f * top;
            in++;
        }
    if (in) q.clipped = (double)flat / (double)in;
    if (in && noise >= 0) {
        double power = speech / (double)in - noise;
        noise = fmax(noise, 1e-12);
        q.noise_db = power > 0 ? fmin(99, 10 * log10(power / noise)) : 0;
    }
    return q;
}

/* ---- pieces ---- */

int es_enroll_pieces(int64_t *from, int64_t n)
{
    int count = 0;

    for (int64_t at = 0; n - at >= ES_ENROLL_PIECE / 2; at += ES_ENROLL_HOP) {
        /* The piece before reaches to the end already: what is left of it is nothing new. */
        if (at && at - ES_ENROLL_HOP + ES_ENROLL_PIECE >= n) break;
        if (from) from[count] = at;
        count++;
    }
    return count;
}

/* The share of pieces outside the largest cluster that is not a stray: 0 where all are one voice. */
static double second_voice(const float *pieces, int n, int width, const es_identify_rule *rule, int32_t *label, es_work *work)
{
    double distance = sqrt(2 - 2 * rule->apart), share = 0;
    int size[64] = {0}, largest = 0;
    int K = es_cluster_vectors(label, pieces, n, width, distance, 1, (es_speaker_range){0, 0}, work);

    for (int i = 0; i < n; i++)
        if (label[i] < 64) size[label[i]]++;
    for (int k = 1; k < K && k < 64; k++) largest = size[k] > size[largest] ? k : largest;
    for (int k = 0; k < K && k < 64; k++) /* a stray piece is no voice: those fall to the pieces one by one */
        if (k != largest && size[k] >= 2) share += (double)size[k] / n;
    return share;
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

size_t es_enroll_mean_bytes(int n, int width)
{
    size_t N = (size_t)n, W = (size_t)width;

    return es_work_bytes(N * W, sizeof(double)) + es_work_bytes(W, sizeof(double)) + 2 * es_work_bytes(N, sizeof(double)) +
           es_work_bytes(N, sizeof(int32_t)) + es_cluster_vectors_bytes(n, width);
}

void es_enroll_mean(float *mean, es_enrolled *how, double *share, int *left_out, const float *pieces, int n, int width,
                    const es_identify_rule *rule, es_work *work)
{
    size_t W = (size_t)width, mark = work->used;
    double *unit = es_work_take(work, (size_t)n * W, sizeof *unit), *sum = es_work_take(work, W, sizeof *sum);
    double *like = es_work_take(work, (size_t)n, sizeof *like), *off = es_work_take(work, (size_t)n, sizeof *off);
    int32_t *label = es_work_take(work, (size_t)n, sizeof *label);
    int dropped = 0;
    double length = 0;

    *how = ES_ENROLLED_OK, *left_out = 0;
    for (size_t c = 0; c < W; c++) sum[c] = 0;
    *share = second_voice(pieces, n, width, rule, label, work);
    if (*share > ES_ENROLL_SECOND) {
        *how = ES_ENROLLED_TWO;
        goto out;
    }
    for (int i = 0; i < n; i++) {
        es_cluster_unit(unit + (size_t)i * W, pieces + (size_t)i * W, width);
        for (size_t c = 0; c < W; c++) sum[c] += unit[(size_t)i * W + c];
    }
    /* Each piece against the mean of all others. */
    for (int i = 0; i < n; i++) {
        double dot = 0, square = 0;
        for (size_t c = 0; c < W; c++) {
            double other = sum[c] - unit[(size_t)i * W + c];
            dot += other * unit[(size_t)i * W + c], square += other * other;
        }
        like[i] = n > 1 && square > 0 ? dot / sqrt(square) : 1;
    }
    memcpy(off, like, (size_t)n * sizeof *off);
    double middle = median(off, n);
    for (int i = 0; i < n; i++) off[i] = fabs(like[i] - middle);
    double spread = 1.4826 * median(off, n), least = middle - 3 * fmax(spread, 0.02);
    if (least < rule->same - rule->maybe)
        least = rule->same - rule->maybe; /* of pieces, which are shorter than clips */
    for (int i = 0; i < n; i++) {
        if (like[i] >= least) continue;
        dropped++;
        for (size_t c = 0; c < W; c++) sum[c] -= unit[(size_t)i * W + c];
    }
    *left_out = dropped;
    if (4 * dropped > n) {
        *how = ES_ENROLLED_UNLIKE;
        *share = (double)dropped / n;
        goto out;
    }
    for (size_t c = 0; c < W; c++) length += sum[c] * sum[c];
    length = sqrt(length);
    for (size_t c = 0; c < W; c++) mean[c] = length > 0 ? (float)(sum[c] / length) : 0;
out:
    es_work_drop(work, mark);
}
