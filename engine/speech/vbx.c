/*
 * vbx.c - community-1's clustering: PLDA projection, and variational Bayes over a mixture without transitions.
 *
 * x [256] is centred, brought to length sqrt(256), reduced by LDA to 128, centred, brought to sqrt(128), and turned so that
 * the within-speaker covariance is the identity and the between-speaker one is diagonal (psi). Each speaker then is a
 * Gaussian around a mean drawn with variance psi; the rounds alternate between the speakers' posteriors and whose each
 * vector is. Superfluous speakers lose their weight. Everything is double.
 */
#include "speech/cluster.h"

#include <math.h>
#include <string.h>

enum { IN = ES_PLDA_IN, OUT = ES_PLDA_OUT, ROUNDS = 20, RESTARTS = 3, LLOYD_ROUNDS = 300 };

static void to_length(double *y, int n, double length)
{
    double s = 0;

    for (int i = 0; i < n; i++) s += y[i] * y[i];
    s = length / fmax(sqrt(s), 1e-300);
    for (int i = 0; i < n; i++) y[i] *= s;
}

void es_plda_project(double *y, const es_plda *p, const float *x)
{
    double a[IN], b[OUT];

    for (int i = 0; i < IN; i++) a[i] = (double)x[i] - p->mean1[i];
    to_length(a, IN, sqrt(IN));
    for (int j = 0; j < OUT; j++) {
        b[j] = -p->mean2[j];
        for (int i = 0; i < IN; i++) b[j] += p->lda[i][j] * a[i];
    }
    to_length(b, OUT, sqrt(OUT));
    for (int j = 0; j < OUT; j++) b[j] -= p->mu[j];
    for (int j = 0; j < OUT; j++) {
        y[j] = 0;
        for (int i = 0; i < OUT; i++) y[j] += p->tr[j][i] * b[i];
    }
}

/* One speaker's posterior from its share of the vectors: its mean alpha, and the constant of its scores; adds to *bound. */
static double speaker(double *alpha, const double *q, const double *rho, int n, int S, int s, const double *psi,
                      double ratio, double *bound)
{
    double share = 0, constant = 0;

    memset(alpha, 0, OUT * sizeof *alpha);
    for (int i = 0; i < n; i++) {
        double w = q[i * S + s];
        share += w;
        for (int d = 0; d < OUT; d++) alpha[d] += w * rho[i * OUT + d];
    }
    for (int d = 0; d < OUT; d++) {
        double inverse = 1 / (1 + ratio * share * psi[d]);
        alpha[d] *= ratio * inverse;
        constant += (inverse + alpha[d] * alpha[d]) * psi[d];
        *bound += log(inverse) - inverse - alpha[d] * alpha[d] + 1;
    }
    return constant / 2;
}

int es_vbx(double *q, double *pi, const double *f, const int32_t *label, int n, int S, const double *psi, double Fa,
           double Fb, es_work *work)
{
    size_t mark = work->used;
    double *rho = es_work_take(work, (size_t)n * OUT, sizeof *rho), *G = es_work_take(work, (size_t)n, sizeof *G);
    double *alpha = es_work_take(work, (size_t)S * OUT, sizeof *alpha), *constant = es_work_take(work, (size_t)S, sizeof *constant);
    double last = 0, on = exp(7) / (exp(7) + S - 1), off = 1 / (exp(7) + S - 1);
    int round;

    for (int i = 0; i < n; i++) {
        G[i] = OUT * log(2 * 3.14159265358979323846);
        for (int d = 0; d < OUT; d++) {
            G[i] += f[i * OUT + d] * f[i * OUT + d];
            rho[i * OUT + d] = f[i * OUT + d] * sqrt(psi[d]);
        }
        G[i] *= -0.5;
        for (int s = 0; s < S; s++) q[i * S + s] = s == label[i] ? on : off;
    }
    for (int s = 0; s < S; s++) pi[s] = 1.0 / S;
    for (round = 0; round < ROUNDS;) {
        double bound = 0, sum = 0;
        for (int s = 0; s < S; s++) constant[s] = speaker(alpha + s * OUT, q, rho, n, S, s, psi, Fa / Fb, &bound);
        for (int i = 0; i < n; i++) {
            double top = -INFINITY, mass = 0, *row = q + i * S;
            for (int s = 0; s < S; s++) {
                double product = 0;
                for (int d = 0; d < OUT; d++) product += rho[i * OUT + d] * alpha[s * OUT + d];
                row[s] = Fa * (product - constant[s] + G[i]) + log(pi[s] + 1e-8);
                top = fmax(top, row[s]);
            }
            for (int s = 0; s < S; s++) mass += exp(row[s] - top);
            mass = top + log(mass);
            for (int s = 0; s < S; s++) row[s] = exp(row[s] - mass);
            sum += mass;
        }
        for (int s = 0; s < S; s++) {
            pi[s] = 0;
            for (int i = 0; i < n; i++) pi[s] += q[i * S + s];
            pi[s] /= n;
        }
        bound = sum + bound * Fb / 2;
        if (round++ > 0 && bound - last < 1e-4) break;
        last = bound;
    }
    es_work_drop(work, mark);
    return round;
}

size_t es_vbx_bytes(int n, int S)
{
    return es_work_bytes((size_t)n * OUT, sizeof(double)) + es_work_bytes((size_t)n, sizeof(double)) +
           es_work_bytes((size_t)S * OUT, sizeof(double)) + es_work_bytes((size_t)S, sizeof(double));
}

/* ---- a number of speakers that was asked for ---- */

static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double squared(const double *a, const double *b)
{
    double s = 0;

    for (int i = 0; i < IN; i++) s += (a[i] - b[i]) * (a[i] - b[i]);
    return s;
}

/* Centres by k-means++: each next one with a probability that grows with the square of the distance to those there are. */
static void seed_centres(double *centre, const double *x, int n, int K, uint64_t *state, double *near)
{
    for (int k = 0; k < K; k++) {
        double total = 0, at;
        int pick = n - 1;
        for (int i = 0; i < n; i++) {
            double d = k ? squared(x + (size_t)i * IN, centre + (size_t)(k - 1) * IN) : 1;
            near[i] = k > 1 ? fmin(near[i], d) : d;
            total += near[i];
        }
        at = (double)(next_bits(state) >> 11) * 0x1p-53 * total;
        for (int i = 0; i < n && at >= 0; i++) {
            at -= near[i];
            if (at < 0) pick = i;
        }
        memcpy(centre + (size_t)k * IN, x + (size_t)pick * IN, IN * sizeof *centre);
    }
}

/* Lloyd's rounds on unit vectors; the inertia of the result. near [n] is room. */
static double k_means(int32_t *label, const double *x, int n, int K, uint64_t *state, double *centre, double *near)
{
    double inertia = INFINITY;

    seed_centres(centre, x, n, K, state, near);
    for (int round = 0; round < LLOYD_ROUNDS; round++) {
        double now = 0;
        for (int i = 0; i < n; i++) {
            double best = INFINITY;
            for (int k = 0; k < K; k++) {
                double d = squared(x + (size_t)i * IN, centre + (size_t)k * IN);
                if (d < best) best = d, label[i] = k;
            }
            now += best;
        }
        if (now >= inertia) break;
        inertia = now;
        for (int k = 0; k < K; k++) {
            double *c = centre + (size_t)k * IN;
            int members = 0;
            for (int i = 0; i < n; i++) members += label[i] == k;
            if (!members) continue;
            memset(c, 0, IN * sizeof *c);
            for (int i = 0; i < n; i++)
                for (int d = 0; d < IN && label[i] == k; d++) c[d] += x[(size_t)i * IN + (size_t)d] / members;
        }
    }
    return inertia;
}

/* Exactly K clusters: the best of a few starts; their means of raw vectors. */
static void forced(double *centroids, const float *x, int n, int K, es_work *work)
{
    size_t mark = work->used;
    double *unit = es_work_take(work, (size_t)n * IN, sizeof *unit);
    int32_t *label = es_work_take(work, (size_t)n, sizeof *label), *best = es_work_take(work, (size_t)n, sizeof *best);
    double *centre = es_work_take(work, (size_t)K * IN, sizeof *centre), *near = es_work_take(work, (size_t)n, sizeof *near);
    double least = INFINITY;
    uint64_t state = 42;

    for (int i = 0; i < n; i++) es_cluster_unit(unit + (size_t)i * IN, x + (size_t)i * IN, IN);
    for (int r = 0; r < RESTARTS; r++) {
        double inertia = k_means(label, unit, n, K, &state, centre, near);
        if (inertia < least) least = inertia, memcpy(best, label, (size_t)n * sizeof *best);
    }
    es_cluster_means(centroids, x, best, n, IN, K);
    es_work_drop(work, mark);
}

static size_t forced_bytes(int n, int K)
{
    return es_work_bytes((size_t)n * IN, sizeof(double)) + 2 * es_work_bytes((size_t)n, sizeof(int32_t)) +
           es_work_bytes((size_t)K * IN, sizeof(double)) + es_work_bytes((size_t)n, sizeof(double));
}

/* Means of the raw vectors, weighted by whose they are, of the speakers that kept weight. Returns how many those are. */
static int weighted_means(double *centroids, const float *x, const double *q, const double *pi, int n, int S)
{
    int kept = 0;

    for (int s = 0; s < S; s++) {
        double *c = centroids + (size_t)kept * IN, mass = 0;
        if (pi[s] <= 1e-7) continue;
        memset(c, 0, IN * sizeof *c);
        for (int i = 0; i < n; i++) {
            double w = q[i * S + s];
            mass += w;
            for (int d = 0; d < IN; d++) c[d] += w * (double)x[(size_t)i * IN + (size_t)d];
        }
        for (int d = 0; d < IN; d++) c[d] /= mass;
        kept++;
    }
    return kept;
}

/* ---- both steps ---- */

/* At least and at most so many speakers of n vectors. */
static es_speaker_range limits(es_speaker_range range, int n)
{
    int low = range.least > 0 ? range.least : 1, high = range.most > 0 ? range.most : n;

    return (es_speaker_range){.least = low > n ? n : low, .most = high > n ? n : high};
}

int es_cluster_vbx_labels(int32_t *label, const float *x, int n, es_speaker_range range, es_work *work)
{
    const double t = 0.6;
    size_t mark = work->used;
    int S = 1;

    memset(label, 0, (size_t)n * sizeof *label);
    if (n < 2 || limits(range, n).most < 2) return 1;
    double *unit = es_work_take(work, (size_t)n * IN, sizeof *unit);
    es_merge *merges = es_work_take(work, (size_t)n, sizeof *merges);
    for (int i = 0; i < n; i++) es_cluster_unit(unit + (size_t)i * IN, x + (size_t)i * IN, IN);
    es_cluster_link(merges, unit, n, IN, work);
    es_cluster_cut(label, merges, n, t, work);
    for (int i = 0; i < n; i++) S = label[i] >= S ? label[i] + 1 : S;
    es_work_drop(work, mark);
    return S;
}

size_t es_cluster_vbx_labels_bytes(int n)
{
    return es_work_bytes((size_t)n * IN, sizeof(double)) + es_work_bytes((size_t)n, sizeof(es_merge)) +
           es_work_larger(es_cluster_link_bytes(n, IN), es_cluster_cut_bytes(n));
}

int es_cluster_vbx_most(int n, int S, es_speaker_range range)
{
    int low = limits(range, n).least;

    return S > low ? S : low; /* kept is at most S, or what was asked for */
}

int es_cluster_vbx(double *centroids, bool *constrained, const es_plda *p, const float *x, const int32_t *label, int n, int S,
                   es_speaker_range range, es_work *work)
{
    const double Fa = 0.07, Fb = 0.8;
    es_speaker_range in = limits(range, n);
    size_t mark = work->used;
    int kept;

    *constrained = true;
    if (n < 2 || in.most < 2) {
        es_cluster_means(centroids, x, label, n, IN, 1);
        return 1;
    }
    double *q = es_work_take(work, (size_t)n * (size_t)S, sizeof *q), *pi = es_work_take(work, (size_t)S, sizeof *pi);
    double *f = es_work_take(work, (size_t)n * OUT, sizeof *f);
    for (int i = 0; i < n; i++) es_plda_project(f + (size_t)i * OUT, p, x + (size_t)i * IN);
    es_vbx(q, pi, f, label, n, S, p->psi, Fa, Fb, work);
    kept = weighted_means(centroids, x, q, pi, n, S);
    if (kept < in.least || kept > in.most) {
        *constrained = false;
        kept = kept < in.least ? in.least : in.most;
        forced(centroids, x, n, kept, work);
    }
    es_work_drop(work, mark);
    return kept;
}

size_t es_cluster_vbx_bytes(int n, int S, es_speaker_range range)
{
    return es_work_bytes((size_t)n * (size_t)S, sizeof(double)) + es_work_bytes((size_t)S, sizeof(double)) +
           es_work_bytes((size_t)n * OUT, sizeof(double)) +
           es_work_larger(es_vbx_bytes(n, S), forced_bytes(n, es_cluster_vbx_most(n, S, range)));
}
