/*
 * score.c - diarization and verification scores.
 *
 * Time is cut at every boundary of both accounts, of the regions and of the collars; within a piece nothing changes. The
 * pieces are walked twice: once for the time each pair of speakers shares, from which the map follows, and once for the
 * errors under that map. The map is a maximum assignment by shortest augmenting paths (Jonker and Volgenant, 1987).
 */
#include "speech/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- assignment ---- */

/* Minimum cost for n <= m rows; cost(i, j) = -gain. Rows and columns are counted from 1, as 0 is the start of a path. */
static void assign_wide(int *column, const double *gain, int n, int m, bool transposed, int real_m, es_work *work)
{
    size_t cols = (size_t)m + 1, mark = work->used;
    double *u = es_work_take(work, cols, sizeof *u), *v = es_work_take(work, cols, sizeof *v);
    double *least = es_work_take(work, cols, sizeof *least);
    int *row = es_work_take(work, cols, sizeof *row), *way = es_work_take(work, cols, sizeof *way);
    bool *done = es_work_take(work, cols, sizeof *done);

    for (int k = 0; k <= m; k++) u[k] = v[k] = 0, row[k] = 0;
    for (int i = 1; i <= n; i++) {
        int j = 0;
        row[0] = i;
        for (int k = 0; k <= m; k++) least[k] = INFINITY, done[k] = false;
        do {
            int r = row[j], next = 0;
            double delta = INFINITY;
            done[j] = true;
            for (int k = 1; k <= m; k++) {
                if (done[k]) continue;
                double g = transposed ? gain[(k - 1) * real_m + (r - 1)] : gain[(r - 1) * real_m + (k - 1)];
                double c = -g - u[r] - v[k];
                if (c < least[k]) least[k] = c, way[k] = j;
                if (least[k] < delta) delta = least[k], next = k;
            }
            for (int k = 0; k <= m; k++) {
                if (done[k]) u[row[k]] += delta, v[k] -= delta;
                else least[k] -= delta;
            }
            j = next;
        } while (row[j]);
        for (; j; j = way[j]) row[j] = row[way[j]];
    }
    for (int k = 1; k <= m; k++) {
        if (!row[k]) continue;
        if (transposed) column[k - 1] = row[k] - 1;
        else column[row[k] - 1] = k - 1;
    }
    es_work_drop(work, mark);
}

size_t es_score_assign_bytes(int n, int m)
{
    size_t wide = (size_t)(n > m ? n : m) + 1;

    return 3 * es_work_bytes(wide, sizeof(double)) + 2 * es_work_bytes(wide, sizeof(int)) + es_work_bytes(wide, sizeof(bool));
}

void es_score_assign(int *column, const double *gain, int n, int m, es_work *work)
{
    for (int i = 0; i < n; i++) column[i] = -1;
    if (!n || !m) return;
    if (n <= m) assign_wide(column, gain, n, m, false, m, work);
    else assign_wide(column, gain, m, n, true, m, work);
    for (int i = 0; i < n; i++) /* a pair that shares nothing is no pair */
        if (column[i] >= 0 && gain[i * m + column[i]] <= 0) column[i] = -1;
}

/* ---- diarization error rate ---- */

typedef struct account {
    const es_turn *turns;
    size_t n;
    int speakers;
    bool *active; /* of each speaker, in the piece at hand */
} account;

static int speakers_of(const es_turn *t, size_t n)
{
    int most = 0;

    for (size_t i = 0; i < n; i++) most = t[i].speaker >= most ? t[i].speaker + 1 : most;
    return most;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Who speaks at a moment, and how many. */
static int speaking(account *a, int64_t at)
{
    int n = 0;

    memset(a->active, 0, (size_t)a->speakers * sizeof *a->active);
    for (size_t i = 0; i < a->n; i++) {
        const es_turn *t = &a->turns[i];
        if (t->start_us > at || t->end_us <= at || a->active[t->speaker]) continue;
        a->active[t->speaker] = true;
        n++;
    }
    return n;
}

static bool is_scored(const account *ref, const es_score_span *regions, size_t n_regions, int64_t collar, int64_t at)
{
    bool in = n_regions == 0;

    for (size_t i = 0; i < n_regions; i++) in = in || (regions[i].start_us <= at && at < regions[i].end_us);
    for (size_t i = 0; i < ref->n && in && collar; i++) {
        const es_turn *t = &ref->turns[i];
        if ((at >= t->start_us - collar && at < t->start_us + collar) || (at >= t->end_us - collar && at < t->end_us + collar)) in = false;
    }
    return in;
}

int es_score_der(es_der *out, const es_turn *reference, size_t n, const es_turn *system, size_t m, const es_score_span *regions,
                 size_t n_regions, int64_t collar_us, int *map, int n_system)
{
    account ref = {.turns = reference, .n = n, .speakers = speakers_of(reference, n)};
    account sys = {.turns = system, .n = m, .speakers = speakers_of(system, m)};
    size_t most = 6 * n + 2 * m + 2 * n_regions + 1, cuts = 0, R = (size_t)ref.speakers, S = (size_t)sys.speakers;
    int64_t *cut = malloc(most * sizeof *cut);
    double *shared = calloc(R * S + 1, sizeof *shared);
    es_work work = {.bytes = es_score_assign_bytes(sys.speakers, ref.speakers)};
    int *of = malloc((S + 1) * sizeof *of), rc = -1;

    *out = (es_der){0};
    ref.active = malloc(R + 1);
    sys.active = malloc(S + 1);
    work.at = malloc(work.bytes);
    if (!work.at || !cut || !shared || !of || !ref.active || !sys.active) goto done;
    for (size_t i = 0; i < n; i++)
        for (int64_t c = -1; c <= 1; c++) {
            cut[cuts++] = reference[i].start_us + c * collar_us;
            cut[cuts++] = reference[i].end_us + c * collar_us;
        }
    for (size_t i = 0; i < m; i++) cut[cuts++] = system[i].start_us, cut[cuts++] = system[i].end_us;
    for (size_t i = 0; i < n_regions; i++) cut[cuts++] = regions[i].start_us, cut[cuts++] = regions[i].end_us;
    if (cuts) qsort(cut, cuts, sizeof *cut, ascending);
    rc = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i + 1 < cuts; i++) {
            int64_t length = cut[i + 1] - cut[i];
            if (!length || !is_scored(&ref, regions, n_regions, collar_us, cut[i])) continue;
            int a = speaking(&ref, cut[i]), b = speaking(&sys, cut[i]), right = 0;
            if (pass == 0) {
                for (size_t s = 0; s < S; s++)
                    for (size_t r = 0; r < R && sys.active[s]; r++)
                        if (ref.active[r]) shared[s * R + r] += (double)length;
                continue;
            }
            for (size_t s = 0; s < S; s++) right += sys.active[s] && of[s] >= 0 && ref.active[of[s]];
            out->miss_us += length * (a > b ? a - b : 0);
            out->false_alarm_us += length * (b > a ? b - a : 0);
            out->confusion_us += length * ((a < b ? a : b) - right);
            out->total_us += length * a;
        }
        if (pass == 0) es_score_assign(of, shared, sys.speakers, ref.speakers, &work);
    }
    for (int s = 0; s < n_system && map; s++) map[s] = s < sys.speakers ? of[s] : -1;
done:
    free(cut), free(shared), free(of), free(ref.active), free(sys.active), free(work.at);
    return rc;
}

/* ---- equal error rate ---- */

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x < y) - (x > y);
}

double es_score_eer(double *targets, size_t n, double *others, size_t m, double *threshold)
{
    double far = 0, frr = 1;
    size_t i = 0, j = 0;

    qsort(targets, n, sizeof *targets, falling);
    qsort(others, m, sizeof *others, falling);
    *threshold = NAN;
    while (i < n || j < m) {
        double t = i == n ? others[j] : j == m ? targets[i] : fmax(targets[i], others[j]);
        while (i < n && targets[i] >= t) i++; /* equal scores move together */
        while (j < m && others[j] >= t) j++;
        double next_far = (double)j / (double)m, next_frr = 1 - (double)i / (double)n;
        *threshold = t;
        if (next_far >= next_frr) {
            double d = (next_far - far) + (frr - next_frr), at = d > 0 ? (frr - far) / d : 0;
            return far + at * (next_far - far);
        }
        far = next_far;
        frr = next_frr;
    }
    return far;
}
