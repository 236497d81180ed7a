/*
 * cluster.c - agglomerative clustering of speaker vectors with centroid linkage, in memory that grows with n.
 *
 * The distance of two clusters is that of their plain means, so the mean of each cluster and its nearest later neighbour
 * are all that is kept: a merge moves one mean, looks for that cluster's neighbour again, and the others only ask whether the
 * new mean is nearer than what they have. Where a neighbour was merged away its old distance stays as a lower bound, and the
 * row is searched again only if that bound is the smallest of all (Müllner, "Modern hierarchical, agglomerative clustering
 * algorithms", 2011). Heights may fall from one merge to the next (a mean can move towards a third cluster), so the tree is
 * cut by the largest height below a node.
 *
 * Most pairs are far apart: each is looked at in f32 first, and in f64 only if it could be nearer than the best so far, with
 * a margin many times the rounding. So the result is that of f64 alone.
 *
 * A cluster lives in the place of its part with the higher place, and a pair is found from its lower place; equal
 * distances take the lowest pair of nodes, as a search through all pairs would. Places that are empty are closed from time to
 * time.
 */
#include "speech/cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void es_cluster_unit(double *y, const float *x, int d)
{
    float sum = 0;

    /* Normalised in f32 and then widened, as the reference does. */
    for (int i = 0; i < d; i++) sum += x[i] * x[i];
    sum = sqrtf(sum);
    for (int i = 0; i < d; i++) y[i] = (double)(x[i] / (sum > 1e-12f ? sum : 1e-12f));
}

/* ---- linkage ---- */

enum { LANES = 4, STRIDE = 16, BLOCK = 8 }; /* a step of es_dot is four vectors of four */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

typedef struct linkage {
    double *mean;                /* [n, d] */
    float *rough, *square;       /* [n, width] the means in f32, filled up with zeros; [n] their squared lengths */
    int32_t *node, *size, *near; /* size 0: merged away; near: place of the nearest later cluster, -1 none */
    double *dist;                /* squared, to it; where it is stale, no other is nearer than that */
    bool *stale;
    int places, n, d, width; /* places in use now; n at first */
} linkage;

static double *mean_of(const linkage *l, int i)
{
    return l->mean + (size_t)i * (size_t)l->d;
}

static const float *rough_of(const linkage *l, int i)
{
    return l->rough + (size_t)i * (size_t)l->width;
}

static double squared(const double *a, const double *b, int d)
{
    double s[4] = {0, 0, 0, 0};
    int i = 0;

    for (; i + 4 <= d; i += 4)
        for (int k = 0; k < 4; k++) s[k] += (a[i + k] - b[i + k]) * (a[i + k] - b[i + k]);
    for (; i < d; i++) s[0] += (a[i] - b[i]) * (a[i] - b[i]);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static float rough_product(const float *a, const float *b, int width)
{
    lanes s[4] = {{0}, {0}, {0}, {0}};

    for (int i = 0; i < width; i += STRIDE)
        for (int k = 0; k < 4; k++) {
            lanes x, y;
            memcpy(&x, a + i + LANES * k, sizeof x);
            memcpy(&y, b + i + LANES * k, sizeof y);
            s[k] += x * y;
        }
    s[0] = (s[0] + s[1]) + (s[2] + s[3]);
    return (s[0][0] + s[0][1]) + (s[0][2] + s[0][3]);
}

/* Whether clusters i and j are surely farther apart than `than`. Means are at most 1 long: f32 errs by less than 1e-5. */
static bool farther(const linkage *l, int i, int j, double than)
{
    float s = l->square[i] + l->square[j] - 2 * rough_product(rough_of(l, i), rough_of(l, j), l->width);

    return (double)s > than + 5e-5;
}

static void refresh_rough(linkage *l, int i)
{
    float *r = l->rough + (size_t)i * (size_t)l->width;

    for (int c = 0; c < l->d; c++) r[c] = (float)mean_of(l, i)[c];
    l->square[i] = rough_product(r, r, l->width);
}

static int32_t low_node(const linkage *l, int i, int j)
{
    return l->node[i] < l->node[j] ? l->node[i] : l->node[j];
}

static int32_t high_node(const linkage *l, int i, int j)
{
    return l->node[i] < l->node[j] ? l->node[j] : l->node[i];
}

/* Whether the pair (i, j) at distance s comes before (k, m) at distance t. */
static bool before(const linkage *l, double s, int i, int j, double t, int k, int m)
{
    if (s != t) return s < t;
    if (low_node(l, i, j) != low_node(l, k, m)) return low_node(l, i, j) < low_node(l, k, m);
    return high_node(l, i, j) < high_node(l, k, m);
}

/* Cluster j as the nearest later one of i, where it is nearer. */
static void consider(linkage *l, int i, int j)
{
    if (l->size[j] == 0 || farther(l, i, j, l->dist[i])) return;
    double s = squared(mean_of(l, i), mean_of(l, j), l->d);
    if (l->near[i] < 0 || before(l, s, i, j, l->dist[i], i, l->near[i])) l->near[i] = j, l->dist[i] = s;
}

static void forget(linkage *l, int i)
{
    l->near[i] = -1;
    l->dist[i] = INFINITY;
    l->stale[i] = false;
}

static void seek(linkage *l, int i)
{
    forget(l, i);
    for (int j = i + 1; j < l->places; j++) consider(l, i, j);
}

/* The same for all, several at a time, so that what is far away in memory is fetched once for them. */
static void seek_all(linkage *l)
{
    for (int i = 0; i < l->places; i++) forget(l, i);
    for (int first = 0; first < l->places; first += BLOCK)
        for (int j = first + 1; j < l->places; j++)
            for (int i = first; i < first + BLOCK && i < j; i++) consider(l, i, j);
}

/* Merge t: cluster i with its nearest. */
static void merge(linkage *l, es_merge *out, int i, int t)
{
    int j = l->near[i];
    double *a = mean_of(l, i), *b = mean_of(l, j), n = l->size[i], m = l->size[j];

    *out = (es_merge){.a = low_node(l, i, j), .b = high_node(l, i, j), .size = l->size[i] + l->size[j],
                      .height = sqrt(l->dist[i])};
    for (int c = 0; c < l->d; c++) b[c] = (a[c] * n + b[c] * m) / (n + m);
    l->size[j] += l->size[i];
    l->size[i] = 0;
    l->node[j] = l->n + t;
    refresh_rough(l, j);
    seek(l, j);
    for (int k = 0; k < j; k++) {
        if (l->size[k] == 0) continue;
        bool lost = l->near[k] == i || l->near[k] == j;
        double s = farther(l, k, j, l->dist[k]) ? INFINITY : squared(mean_of(l, k), b, l->d);
        if (lost || l->stale[k]) {
            l->stale[k] = !(s < l->dist[k]); /* nothing else is nearer than what was lost */
            if (!l->stale[k]) l->near[k] = j, l->dist[k] = s;
        } else if (s < INFINITY && (l->near[k] < 0 || before(l, s, k, j, l->dist[k], k, l->near[k]))) {
            l->near[k] = j, l->dist[k] = s;
        }
    }
}

/* The place whose pair is the nearest of all. */
static int nearest(linkage *l)
{
    for (;;) {
        int best = -1;
        for (int i = 0; i < l->places; i++) {
            if (l->size[i] == 0 || (l->near[i] < 0 && !l->stale[i])) continue;
            if (best < 0 || l->dist[i] < l->dist[best] ||
                (l->dist[i] == l->dist[best] && !l->stale[best] &&
                 (l->stale[i] || before(l, l->dist[i], i, l->near[i], l->dist[best], best, l->near[best]))))
                best = i;
        }
        if (!l->stale[best]) return best;
        seek(l, best);
    }
}

/* Closes the places that are empty, in order; at[places] is room. */
static void close_up(linkage *l, int32_t *at)
{
    int n = 0;

    for (int i = 0; i < l->places; i++) at[i] = l->size[i] ? n++ : -1;
    for (int i = 0; i < l->places; i++) {
        int to = at[i];
        if (to < 0) continue;
        memmove(mean_of(l, to), mean_of(l, i), (size_t)l->d * sizeof *l->mean);
        memmove(l->rough + (size_t)to * (size_t)l->width, rough_of(l, i), (size_t)l->width * sizeof *l->rough);
        l->square[to] = l->square[i], l->node[to] = l->node[i], l->size[to] = l->size[i];
        l->dist[to] = l->dist[i], l->stale[to] = l->stale[i];
        l->near[to] = l->near[i] < 0 ? -1 : at[l->near[i]]; /* of a stale one it means nothing */
    }
    l->places = n;
}

static int width_of(int d)
{
    return (d + STRIDE - 1) / STRIDE * STRIDE;
}

/* x: at first means of x_size[i] vectors each (NULL: one). */
static void link_sized(es_merge *merges, const double *x, const int32_t *x_size, int n, int d, es_work *work)
{
    linkage l = {.n = n, .d = d, .places = n, .width = width_of(d)};
    size_t count = (size_t)n, mark = work->used;
    int32_t *room;

    if (n < 2) return;
    l.mean = es_work_take(work, count * (size_t)d, sizeof *l.mean);
    l.rough = es_work_take(work, count * (size_t)l.width, sizeof *l.rough);
    l.square = es_work_take(work, count, sizeof *l.square);
    l.node = es_work_take(work, count, sizeof *l.node);
    l.size = es_work_take(work, count, sizeof *l.size);
    l.near = es_work_take(work, count, sizeof *l.near);
    l.dist = es_work_take(work, count, sizeof *l.dist);
    l.stale = es_work_take(work, count, sizeof *l.stale);
    room = es_work_take(work, count, sizeof *room);
    memcpy(l.mean, x, count * (size_t)d * sizeof *l.mean);
    memset(l.rough, 0, count * (size_t)l.width * sizeof *l.rough);
    for (int i = 0; i < n; i++) {
        l.node[i] = i, l.size[i] = x_size ? x_size[i] : 1;
        refresh_rough(&l, i);
    }
    seek_all(&l);
    for (int t = 0; t < n - 1; t++) {
        if (n - t < 3 * l.places / 4) close_up(&l, room);
        merge(&l, &merges[t], nearest(&l), t);
    }
    es_work_drop(work, mark);
}

size_t es_cluster_link_bytes(int n, int d)
{
    size_t count = (size_t)n;

    return es_work_bytes(count * (size_t)d, sizeof(double)) + es_work_bytes(count * (size_t)width_of(d), sizeof(float)) +
           es_work_bytes(count, sizeof(float)) + 4 * es_work_bytes(count, sizeof(int32_t)) + es_work_bytes(count, sizeof(double)) +
           es_work_bytes(count, sizeof(bool));
}

void es_cluster_link(es_merge *merges, const double *x, int n, int d, es_work *work)
{
    link_sized(merges, x, NULL, n, d, work);
}

/* ---- two levels ---- */

/* Merges of parts of the vectors, one part after the other, and then those of what they left. Nodes are those of the whole. */
typedef struct forest {
    es_merge *merges; /* [n - 1] */
    int n, n_merges, d;
    double *mean;   /* [n_roots, d] of the trees */
    int32_t *root, *size; /* [n_roots] their nodes; the vectors below */
    int n_roots;
} forest;

static void graft(forest *f, es_merge m, int32_t a, int32_t b)
{
    m.a = a < b ? a : b;
    m.b = a < b ? b : a;
    f->merges[f->n_merges++] = m;
}

/* Links vectors first .. first + n and keeps the clusters that hold together within t. */
static void plant(forest *f, const double *x, int first, int n, double t, es_work *work)
{
    size_t mark = work->used;
    es_merge *merges = es_work_take(work, (size_t)n, sizeof *merges);
    double *top = es_work_take(work, (size_t)n, sizeof *top);
    int32_t *node = es_work_take(work, 2 * (size_t)n, sizeof *node);
    int32_t *tree = es_work_take(work, 2 * (size_t)n, sizeof *tree); /* the one a node belongs to */

    link_sized(merges, x + (size_t)first * (size_t)f->d, NULL, n, f->d, work);
    for (int i = 0; i < n; i++) node[i] = first + i;
    for (int i = 0; i < 2 * n - 1; i++) tree[i] = -1;
    for (int i = 0; i < n - 1; i++) {
        int32_t a = merges[i].a, b = merges[i].b;
        top[i] = merges[i].height;
        if (a >= n) top[i] = fmax(top[i], top[a - n]);
        if (b >= n) top[i] = fmax(top[i], top[b - n]);
        if (top[i] > t) continue;
        node[n + i] = f->n + f->n_merges;
        graft(f, merges[i], node[a], node[b]);
    }
    /* From the last merge down: a node that was kept belongs to its parent's tree, or begins one. */
    for (int v = 2 * n - 2; v >= 0; v--) {
        if (v >= n && top[v - n] > t) continue;
        if (tree[v] < 0) {
            tree[v] = f->n_roots;
            f->root[f->n_roots] = node[v];
            f->size[f->n_roots] = v >= n ? merges[v - n].size : 1;
            memset(f->mean + (size_t)f->n_roots * (size_t)f->d, 0, (size_t)f->d * sizeof *f->mean);
            f->n_roots++;
        }
        if (v >= n) {
            tree[merges[v - n].a] = tree[merges[v - n].b] = tree[v];
        } else {
            double *m = f->mean + (size_t)tree[v] * (size_t)f->d;
            for (int c = 0; c < f->d; c++) m[c] += x[(size_t)(first + v) * (size_t)f->d + (size_t)c] / f->size[tree[v]];
        }
    }
    es_work_drop(work, mark);
}

static size_t plant_bytes(int n, int d)
{
    return es_work_bytes((size_t)n, sizeof(es_merge)) + es_work_bytes((size_t)n, sizeof(double)) +
           2 * es_work_bytes(2 * (size_t)n, sizeof(int32_t)) + es_cluster_link_bytes(n, d);
}

/* As es_cluster_link, of parts of at most `part` vectors first and of their clusters then. */
static void link_parts(es_merge *merges, const double *x, int n, int d, double t, int part, es_work *work)
{
    size_t mark = work->used;
    forest f = {.merges = merges, .n = n, .d = d};
    int parts = (n + part - 1) / part, below;
    es_merge *last;

    f.mean = es_work_take(work, (size_t)n * (size_t)d, sizeof *f.mean);
    f.root = es_work_take(work, (size_t)n, sizeof *f.root);
    f.size = es_work_take(work, (size_t)n, sizeof *f.size);
    for (int i = 0; i < parts; i++) {
        int first = (int)((int64_t)n * i / parts), end = (int)((int64_t)n * (i + 1) / parts);
        plant(&f, x, first, end - first, t / 2, work);
    }
    below = f.n_merges;
    last = es_work_take(work, (size_t)f.n_roots, sizeof *last);
    link_sized(last, f.mean, f.size, f.n_roots, d, work);
    for (int i = 0; i < f.n_roots - 1; i++) {
        int32_t a = last[i].a, b = last[i].b;
        graft(&f, last[i], a < f.n_roots ? f.root[a] : n + below + a - f.n_roots, b < f.n_roots ? f.root[b] : n + below + b - f.n_roots);
    }
    es_work_drop(work, mark);
}

/* As if no part brought any two vectors together. */
static size_t link_parts_bytes(int n, int d, int part)
{
    return es_work_bytes((size_t)n * (size_t)d, sizeof(double)) + 2 * es_work_bytes((size_t)n, sizeof(int32_t)) +
           es_work_larger(plant_bytes(part, d), es_work_bytes((size_t)n, sizeof(es_merge)) + es_cluster_link_bytes(n, d));
}

/* ---- cutting the tree ---- */

/* By heights [n - 1] of the caller's. Walks without recursion: a chain of merges is as deep as it is long. On the stack a
 * node v is to be visited; ~v is a leaf that gets a number of its own, after its parent's inner children. */
static void cut_at(int32_t *label, const es_merge *merges, const double *height, int n, double t, es_work *work)
{
    size_t depth = 0, mark = work->used;
    double *most = es_work_take(work, (size_t)n, sizeof *most);
    int32_t *stack = es_work_take(work, 4 * (size_t)n, sizeof *stack), next = 0;

    if (n == 1) label[0] = 0;
    for (int i = 0; i < n - 1; i++) {
        most[i] = height[i];
        if (merges[i].a >= n) most[i] = fmax(most[i], most[merges[i].a - n]);
        if (merges[i].b >= n) most[i] = fmax(most[i], most[merges[i].b - n]);
    }
    if (n > 1) stack[depth++] = 2 * n - 2;
    while (depth) {
        int32_t v = stack[--depth];
        if (v < 0) {
            label[~v] = next++;
            continue;
        }
        const es_merge *m = &merges[v - n];
        if (most[v - n] > t) {
            if (m->b < n) stack[depth++] = ~m->b;
            if (m->a < n) stack[depth++] = ~m->a;
            if (m->b >= n) stack[depth++] = m->b;
            if (m->a >= n) stack[depth++] = m->a;
            continue;
        }
        size_t bottom = depth; /* one cluster: all leaves below */
        stack[depth++] = v;
        while (depth > bottom) {
            int32_t u = stack[--depth];
            if (u < n) {
                label[u] = next;
                continue;
            }
            stack[depth++] = merges[u - n].a;
            stack[depth++] = merges[u - n].b;
        }
        next++;
    }
    es_work_drop(work, mark);
}

static size_t cut_at_bytes(int n)
{
    return es_work_bytes((size_t)n, sizeof(double)) + es_work_bytes(4 * (size_t)n, sizeof(int32_t));
}

size_t es_cluster_cut_bytes(int n)
{
    return es_work_bytes((size_t)n, sizeof(double)) + cut_at_bytes(n);
}

void es_cluster_cut(int32_t *label, const es_merge *merges, int n, double t, es_work *work)
{
    size_t mark = work->used;
    double *height = es_work_take(work, (size_t)n, sizeof *height);

    for (int i = 0; i < n - 1; i++) height[i] = merges[i].height;
    cut_at(label, merges, height, n, t, work);
    es_work_drop(work, mark);
}

/* ---- clusters of a speaker's size ---- */

static int smallest(int n, int min_size)
{
    int tenth = (int)rint(0.1 * n);

    tenth = tenth < 1 ? 1 : tenth;
    return tenth < min_size ? tenth : min_size;
}

static int count_large(const int32_t *label, int n, int least, int32_t *size)
{
    int large = 0;

    memset(size, 0, (size_t)n * sizeof *size);
    for (int i = 0; i < n; i++) size[label[i]]++;
    for (int i = 0; i < n; i++) large += size[i] >= least;
    return large;
}

typedef struct by_distance {
    double off;
    int at;
} by_distance;

static int nearer(const void *a, const void *b)
{
    const by_distance *x = a, *y = b;

    if (x->off != y->off) return x->off < y->off ? -1 : 1;
    return x->at - y->at;
}

/* Another cut, nearest to t, that gives `target` large clusters, or as near to it as one comes. */
static void cut_for(int32_t *label, const es_merge *merges, int n, double t, int least, int target, int32_t *size, es_work *work)
{
    size_t mark = work->used;
    double *order = es_work_take(work, (size_t)n, sizeof *order);
    by_distance *by = es_work_take(work, (size_t)n, sizeof *by);
    int32_t *trial = es_work_take(work, (size_t)n, sizeof *trial);
    int best = count_large(label, n, least, size);

    for (int i = 0; i < n - 1; i++) {
        order[i] = i;
        by[i] = (by_distance){.off = fabs(merges[i].height - t), .at = i};
    }
    if (n > 1) qsort(by, (size_t)n - 1, sizeof *by, nearer);
    for (int i = 0; i < n - 1 && best != target; i++) {
        if (merges[by[i].at].size < least) continue;
        cut_at(trial, merges, order, n, by[i].at, work);
        int large = count_large(trial, n, least, size);
        if (abs(large - target) >= abs(best - target)) continue;
        best = large;
        memcpy(label, trial, (size_t)n * sizeof *trial);
    }
    es_work_drop(work, mark);
}

static size_t cut_for_bytes(int n)
{
    return es_work_bytes((size_t)n, sizeof(double)) + es_work_bytes((size_t)n, sizeof(by_distance)) +
           es_work_bytes((size_t)n, sizeof(int32_t)) + cut_at_bytes(n);
}

static double dot(const double *a, const double *b, int d)
{
    double s = 0;

    for (int i = 0; i < d; i++) s += a[i] * b[i];
    return s;
}

/* Small clusters join the large one whose mean of unit vectors is nearest in cosine; the rest is renumbered in order. */
static int join_small(int32_t *label, const double *x, int n, int d, int least, int32_t *size, es_work *work)
{
    size_t mark = work->used;
    int K = 0, kept = 0;
    double *mean;
    int32_t *to;

    if (count_large(label, n, least, size) == 0) {
        memset(label, 0, (size_t)n * sizeof *label);
        return 1;
    }
    for (int i = 0; i < n; i++) K = label[i] >= K ? label[i] + 1 : K;
    mean = es_work_take(work, (size_t)K * (size_t)d, sizeof *mean);
    to = es_work_take(work, (size_t)K, sizeof *to);
    memset(mean, 0, (size_t)K * (size_t)d * sizeof *mean);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < d; c++) mean[(size_t)label[i] * (size_t)d + (size_t)c] += x[(size_t)i * (size_t)d + (size_t)c];
    for (int k = 0; k < K; k++) {
        double *m = mean + (size_t)k * (size_t)d, norm = fmax(sqrt(dot(m, m, d)), 1e-12);
        for (int c = 0; c < d; c++) m[c] /= norm;
        to[k] = size[k] >= least ? kept++ : -1;
    }
    for (int k = 0; k < K; k++) {
        double best = -INFINITY;
        if (size[k] >= least) continue;
        for (int j = 0; j < K; j++) {
            if (size[j] < least) continue;
            double s = dot(mean + (size_t)k * (size_t)d, mean + (size_t)j * (size_t)d, d);
            if (s > best) best = s, to[k] = to[j];
        }
    }
    for (int i = 0; i < n; i++) label[i] = to[label[i]];
    es_work_drop(work, mark);
    return kept;
}

static size_t join_small_bytes(int n, int d)
{
    return es_work_bytes((size_t)n * (size_t)d, sizeof(double)) + es_work_bytes((size_t)n, sizeof(int32_t));
}

size_t es_cluster_vectors_bytes(int n, int d)
{
    return es_cluster_vectors_in_bytes(n, d, ES_CLUSTER_EXACT);
}

int es_cluster_vectors(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range, es_work *work)
{
    return es_cluster_vectors_in(label, x, n, d, t, min_size, range, ES_CLUSTER_EXACT, work);
}

size_t es_cluster_vectors_in_bytes(int n, int d, int exact)
{
    size_t most = n > exact ? link_parts_bytes(n, d, exact) : es_cluster_link_bytes(n, d); /* of one step after the other */

    most = es_work_larger(most, es_work_larger(es_cluster_cut_bytes(n), cut_for_bytes(n)));
    most = es_work_larger(most, join_small_bytes(n, d));
    return es_work_bytes((size_t)n * (size_t)d, sizeof(double)) + es_work_bytes((size_t)n, sizeof(es_merge)) +
           es_work_bytes((size_t)n, sizeof(int32_t)) + most;
}

int es_cluster_vectors_in(int32_t *label, const float *x, int n, int d, double t, int min_size, es_speaker_range range, int exact,
                          es_work *work)
{
    int least = smallest(n, min_size), low = range.least > 0 ? range.least : 1, high = range.most > 0 ? range.most : n, K;
    size_t mark = work->used;
    double *unit = es_work_take(work, (size_t)n * (size_t)d, sizeof *unit);
    es_merge *merges = es_work_take(work, (size_t)n, sizeof *merges);
    int32_t *size = es_work_take(work, (size_t)n, sizeof *size);

    low = low > n ? n : low;
    high = high > n ? n : high;
    if (n == 1 || high < 2) {
        memset(label, 0, (size_t)n * sizeof *label);
        es_work_drop(work, mark);
        return 1;
    }
    for (int i = 0; i < n; i++) es_cluster_unit(unit + (size_t)i * (size_t)d, x + (size_t)i * (size_t)d, d);
    if (n > exact) link_parts(merges, unit, n, d, t, exact, work);
    else es_cluster_link(merges, unit, n, d, work);
    es_cluster_cut(label, merges, n, t, work);
    int large = count_large(label, n, least, size), target = large < low ? low : large > high ? high : large;
    if (target != large) cut_for(label, merges, n, t, least, target, size, work);
    K = join_small(label, unit, n, d, least, size, work);
    es_work_drop(work, mark);
    return K;
}

void es_cluster_means(double *mean, const float *x, const int32_t *label, int n, int d, int K)
{
    memset(mean, 0, (size_t)K * (size_t)d * sizeof *mean);
    for (int k = 0; k < K; k++) {
        double *m = mean + (size_t)k * (size_t)d;
        int members = 0;
        for (int i = 0; i < n; i++) {
            if (label[i] != k) continue;
            members++;
            for (int c = 0; c < d; c++) m[c] += (double)x[(size_t)i * (size_t)d + (size_t)c];
        }
        for (int c = 0; c < d && members; c++) m[c] /= members;
    }
}
