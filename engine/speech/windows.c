/*
 * windows.c - windows on one line of time.
 *
 * Everything is linear in the length of the recording, and the largest array here is one number per cluster. Sums over
 * windows are of whole numbers, so no order of addition matters.
 */
#include "speech/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t es_windows_count(int64_t n, int64_t step)
{
    int64_t full = n >= ES_WINDOW_SAMPLES ? (n - ES_WINDOW_SAMPLES) / step + 1 : 0;

    if (n <= 0) return 0;
    return full + (n < ES_WINDOW_SAMPLES || (n - ES_WINDOW_SAMPLES) % step ? 1 : 0);
}

int64_t es_windows_start(int64_t c, int64_t step)
{
    return (2 * step * c + ES_FRAME_STEP) / (2 * ES_FRAME_STEP); /* to the nearest */
}

int64_t es_windows_grid(int64_t C, int64_t step)
{
    return (int64_t)rint((double)(ES_WINDOW_SAMPLES + (C - 1) * step) / ES_FRAME_STEP) + 1;
}

int es_windows_speakers(uint8_t *count, const uint8_t *classes, int64_t C, int64_t step, int most)
{
    int64_t G = es_windows_grid(C, step), from = 0; /* the first window that may still cover g */
    int largest = 0;

    for (int64_t g = 0; g < G; g++) {
        int sum = 0, n = 0;
        while (from < C && es_windows_start(from, step) + ES_WINDOW_FRAMES <= g) from++;
        for (int64_t c = from; c < C; c++) {
            int64_t f = g - es_windows_start(c, step);
            if (f < 0) break;
            sum += __builtin_popcount(es_windows_slots(classes[c * ES_WINDOW_FRAMES + f]));
            n++;
        }
        int k = n ? (int)rint((double)sum / n) : 0; /* half to even, as the reference rounds */
        if (most > 0 && k > most) k = most;
        count[g] = (uint8_t)k;
        largest = k > largest ? k : largest;
    }
    return largest;
}

void es_windows_masks(const uint8_t *classes, int fewest, int active[ES_WINDOW_SLOTS], int clean[ES_WINDOW_SLOTS],
                      uint8_t (*mask)[ES_WINDOW_FRAMES])
{
    for (int k = 0; k < ES_WINDOW_SLOTS; k++) active[k] = clean[k] = 0;
    for (int f = 0; f < ES_WINDOW_FRAMES; f++) {
        unsigned s = es_windows_slots(classes[f]);
        for (int k = 0; k < ES_WINDOW_SLOTS; k++) {
            active[k] += (s & 1u << k) != 0;
            clean[k] += s == 1u << k;
        }
    }
    for (int k = 0; mask && k < ES_WINDOW_SLOTS; k++)
        for (int f = 0; f < ES_WINDOW_FRAMES; f++) {
            unsigned s = es_windows_slots(classes[f]);
            bool speaks = clean[k] > fewest ? s == 1u << k : (s & 1u << k) != 0;
            mask[k][f] = speaks;
        }
}

/* ---- one cluster a slot ---- */

enum { WIDE = 3, COLUMNS = ES_WINDOW_SLOTS * WIDE };

typedef struct search {
    double score[ES_WINDOW_SLOTS][COLUMNS]; /* of the active slots, over the columns that may matter */
    int n, K;
    int pick[ES_WINDOW_SLOTS], best[ES_WINDOW_SLOTS];
    double top;
} search;

/* All choices for the slots from position p on; the first of equal sums stays. */
static void try_slot(search *s, int p, double sum, int skipped)
{
    if (p == s->n) {
        if (sum > s->top + 1e-12) {
            s->top = sum;
            memcpy(s->best, s->pick, sizeof s->best);
        }
        return;
    }
    for (int j = 0; j < s->K; j++) {
        bool taken = false;
        for (int q = 0; q < p; q++) taken = taken || s->pick[q] == j;
        if (taken) continue;
        s->pick[p] = j;
        try_slot(s, p + 1, sum + s->score[p][j], skipped);
    }
    if (skipped < s->n - s->K) {
        s->pick[p] = ES_NO_CLUSTER;
        try_slot(s, p + 1, sum, skipped + 1);
    }
}

static bool among(const int *list, int n, int v)
{
    for (int i = 0; i < n; i++)
        if (list[i] == v) return true;
    return false;
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void es_windows_assign(int cluster[ES_WINDOW_SLOTS], const double *score, int K, const bool active[ES_WINDOW_SLOTS])
{
    int slot[ES_WINDOW_SLOTS], n = 0, column[COLUMNS], k = 0;

    for (int q = 0; q < ES_WINDOW_SLOTS; q++) {
        cluster[q] = ES_NO_CLUSTER;
        if (active[q]) slot[n++] = q;
    }
    if (!n || K <= 0) return;
    /* With at most three slots only the three best columns of each can be in the best choice. */
    for (int p = 0; p < n; p++) {
        int mine[WIDE], m = 0;
        for (; m < WIDE && m < K; m++) {
            int best = -1;
            for (int j = 0; j < K; j++)
                if (!among(mine, m, j) && (best < 0 || score[slot[p] * K + j] > score[slot[p] * K + best])) best = j;
            mine[m] = best;
        }
        for (int i = 0; i < m; i++)
            if (!among(column, k, mine[i])) column[k++] = mine[i];
    }
    qsort(column, (size_t)k, sizeof *column, ascending); /* so that of equal sums the lower clusters are taken */
    search s = {.n = n, .K = k, .top = -INFINITY};
    for (int p = 0; p < n; p++)
        for (int i = 0; i < k; i++) s.score[p][i] = score[slot[p] * K + column[i]];
    try_slot(&s, 0, 0, 0);
    for (int p = 0; p < n; p++) cluster[slot[p]] = s.best[p] < 0 ? ES_NO_CLUSTER : column[s.best[p]];
}

/* ---- turns ---- */

static int by_start(const void *a, const void *b)
{
    const es_turn *x = a, *y = b;

    if (x->start_us != y->start_us) return x->start_us < y->start_us ? -1 : 1;
    if (x->speaker != y->speaker) return x->speaker < y->speaker ? -1 : 1;
    return (x->end_us > y->end_us) - (x->end_us < y->end_us);
}

/* (270 g + 495.5) / 16000 s, to the nearest microsecond. */
static int64_t centre_us(int64_t g)
{
    return ((2 * ES_FRAME_STEP * g + 991) * 1000000 + 16000) / 32000;
}

typedef struct turn_list {
    es_turn *at;
    size_t n, room; /* n may be more than room: those are only counted */
    int64_t duration_us;
} turn_list;

static void add_turn(turn_list *l, int64_t from, int64_t to, int speaker)
{
    es_turn t = {.start_us = centre_us(from), .end_us = centre_us(to), .speaker = speaker};

    if (t.end_us > l->duration_us) t.end_us = l->duration_us;
    if (t.start_us >= t.end_us) return;
    if (l->n < l->room) l->at[l->n] = t;
    l->n++;
}

/* Adds the clusters that speak in frame f of a window; two slots of one cluster count once. */
static void add_activity(uint16_t *sum, unsigned slots, const int16_t *cluster)
{
    for (int k = 0; k < ES_WINDOW_SLOTS; k++) {
        bool counted = false;
        if (!(slots >> k & 1) || cluster[k] < 0) continue;
        for (int q = 0; q < k; q++) counted = counted || ((slots >> q & 1) && cluster[q] == cluster[k]);
        if (!counted) sum[cluster[k]]++;
    }
}

size_t es_windows_turns_bytes(int K)
{
    size_t clusters = K > 0 ? (size_t)K : 0;

    return es_work_bytes(clusters, sizeof(uint16_t)) + es_work_bytes(clusters, sizeof(int64_t)) + es_work_bytes(clusters, sizeof(bool));
}

size_t es_windows_turns(es_turn *turns, size_t room, const uint8_t *classes, const int16_t *cluster, const uint8_t *count,
                        int64_t C, int64_t step, int K, int most, int64_t duration_us, es_work *work)
{
    int64_t G = es_windows_grid(C, step), from = 0, *since;
    turn_list l = {.at = turns, .room = room, .duration_us = duration_us};
    size_t mark = work->used;
    uint16_t *sum;
    bool *chosen;

    if (K <= 0 || C <= 0) return 0;
    sum = es_work_take(work, (size_t)K, sizeof *sum);
    since = es_work_take(work, (size_t)K, sizeof *since); /* the frame in which a cluster's turn began; -1: silent */
    chosen = es_work_take(work, (size_t)K, sizeof *chosen);
    for (int j = 0; j < K; j++) since[j] = -1;
    for (int64_t g = 0; g < G; g++) {
        int left = most > 0 && count[g] > most ? most : count[g];
        memset(sum, 0, (size_t)K * sizeof *sum);
        memset(chosen, 0, (size_t)K * sizeof *chosen);
        while (from < C && es_windows_start(from, step) + ES_WINDOW_FRAMES <= g) from++;
        for (int64_t c = from; c < C && left; c++) {
            int64_t f = g - es_windows_start(c, step);
            if (f < 0) break;
            add_activity(sum, es_windows_slots(classes[c * ES_WINDOW_FRAMES + f]), cluster + c * ES_WINDOW_SLOTS);
        }
        for (; left > 0; left--) { /* of equals the lowest */
            int best = -1;
            for (int j = 0; j < K; j++)
                if (!chosen[j] && (best < 0 || sum[j] > sum[best])) best = j;
            if (best < 0) break;
            chosen[best] = true;
        }
        for (int j = 0; j < K; j++) {
            if (chosen[j] && since[j] < 0) since[j] = g;
            if (chosen[j] || since[j] < 0) continue;
            add_turn(&l, since[j], g, j);
            since[j] = -1;
        }
    }
    for (int j = 0; j < K; j++)
        if (since[j] >= 0) add_turn(&l, since[j], G - 1, j);
    es_work_drop(work, mark);
    if (l.n && l.n <= room) qsort(turns, l.n, sizeof *turns, by_start);
    return l.n;
}
