/*
 * test_speech.c - from segmentation classes and speaker vectors to turns, against recorded runs of the reference pipelines.
 */
#include "work.h"

#include "speech/cluster.h"
#include "speech/rttm.h"
#include "speech/score.h"
#include "speech/windows.h"

enum { STEP = 16000 };

typedef struct array {
    double *x;
    size_t dim[4];
} array;

static array load(const char *file, const char *name)
{
    array a = {0};
    int n;
    const char *path = es_test_data(file);

    a.x = es_test_npz(path, name, &n, a.dim);
    if (path) CHECK(a.x != NULL, "%s has no array %s", file, name);
    return a;
}

/* Whether two labellings are one up to their numbers; unlabelled (below 0) must agree. */
static bool same_labels(const int32_t *a, const double *b, int n)
{
    int map[1024], back[1024];

    memset(map, -1, sizeof map);
    memset(back, -1, sizeof back);
    for (int i = 0; i < n; i++) {
        int y = (int)b[i];
        if (a[i] < 0 || y < 0) {
            if ((a[i] < 0) != (y < 0)) return false;
            continue;
        }
        if (map[a[i]] < 0 && back[y] < 0) map[a[i]] = y, back[y] = a[i];
        if (map[a[i]] != y || back[y] != a[i]) return false;
    }
    return true;
}

static uint8_t *bytes_of(array a)
{
    size_t n = a.dim[0] * a.dim[1] * a.dim[2];
    uint8_t *b = malloc(n + 1);

    for (size_t i = 0; i < n; i++) b[i] = (uint8_t)a.x[i];
    return b;
}

/* ---- the line of time ---- */

static void grids(void)
{
    CHECK_INT(es_windows_count(0, STEP), 0);
    CHECK_INT(es_windows_count(1, STEP), 1);
    CHECK_INT(es_windows_count(160000, STEP), 1);
    CHECK_INT(es_windows_count(160001, STEP), 2);
    CHECK_INT(es_windows_count(480000, STEP), 21);
    CHECK_INT(es_windows_count((int64_t)3600 * 16000, STEP), 3591);
    CHECK_INT(es_windows_grid(1, STEP), 594);
    CHECK_INT(es_windows_grid(21, STEP), 1779);
    CHECK_INT(es_windows_grid(51, STEP), 3557);
    CHECK_INT(es_windows_start(1, STEP), 59);
    CHECK_INT(es_windows_start(2, STEP), 119);
    for (int64_t c = 0; c < 40000; c++) CHECK_INT(es_windows_start(c, STEP), (int64_t)rint(16000.0 * (double)c / 270));
    CHECK_INT(es_windows_slots(0), 0);
    CHECK_INT(es_windows_slots(4), 3);
    CHECK_INT(es_windows_slots(5), 5);
    CHECK_INT(es_windows_slots(6), 6);
    CHECK_INT(es_windows_slots(7), 0);
}

/* ---- CAM++'s configuration: a whole recording from its classes and vectors ---- */

static void whole(const char *file)
{
    array classes = load(file, "classes"), want_count = load(file, "count"), vectors = load(file, "embeddings"),
          clean_frames = load(file, "clean_frames"), train = load(file, "train"), linkage = load(file, "linkage"),
          flat = load(file, "flat"), labels = load(file, "labels"), hard = load(file, "hard"), turns = load(file, "turns");
    int64_t C = (int64_t)classes.dim[0];
    uint8_t *cls = bytes_of(classes), *count = malloc((size_t)es_windows_grid(C, STEP));
    int n = 0, d = (int)vectors.dim[2];
    float *x = malloc((size_t)C * 3 * (size_t)d * sizeof *x);
    int32_t *label = malloc((size_t)C * 3 * sizeof *label);
    int16_t *cluster = malloc((size_t)C * 3 * sizeof *cluster);

    es_windows_speakers(count, cls, C, STEP, 0);
    for (size_t g = 0; g < want_count.dim[0]; g++)
        if (count[g] != want_count.x[g]) es_test_fail(__FILE__, __LINE__, "%s: count at frame %zu: %d, expected %g", file, g, count[g], want_count.x[g]);
    for (int64_t c = 0; c < C; c++) {
        int active[3], clean[3];
        es_windows_masks(cls + c * ES_WINDOW_FRAMES, 2, active, clean, NULL);
        for (int k = 0; k < 3; k++) {
            const double *v = vectors.x + ((size_t)c * 3 + (size_t)k) * (size_t)d;
            CHECK(clean[k] == clean_frames.x[c * 3 + k], "%s: window %lld slot %d: %d clean frames", file, (long long)c, k, clean[k]);
            if (!es_windows_trains(clean[k]) || isnan(v[0])) continue;
            CHECK(n < (int)train.dim[0] && train.x[2 * n] == (double)c && train.x[2 * n + 1] == k, "%s: vector %d is not the reference's", file, n);
            for (int i = 0; i < d; i++) x[(size_t)n * (size_t)d + (size_t)i] = (float)v[i];
            n++;
        }
    }
    CHECK_INT(n, train.dim[0]);
    /* The tree, merge for merge. */
    double *unit = malloc((size_t)n * (size_t)d * sizeof *unit);
    es_merge *merges = malloc((size_t)n * sizeof *merges);
    for (int i = 0; i < n; i++) es_cluster_unit(unit + (size_t)i * (size_t)d, x + (size_t)i * (size_t)d, d);
    link_all(merges, unit, n, d);
    for (int i = 0; i < n - 1; i++) {
        const double *w = linkage.x + 4 * (size_t)i;
        CHECK(merges[i].a == (w[0] < w[1] ? w[0] : w[1]) && merges[i].b == (w[0] < w[1] ? w[1] : w[0]) && merges[i].size == w[3],
              "%s: merge %d is (%d, %d), expected (%g, %g)", file, i, merges[i].a, merges[i].b, w[0], w[1]);
        CHECK(fabs(merges[i].height - w[2]) < 1e-6, "%s: merge %d at %.9g, expected %.9g", file, i, merges[i].height, w[2]);
    }
    cut_all(label, merges, n, 0.90);
    for (int i = 0; i < n; i++) CHECK(label[i] == flat.x[i], "%s: vector %d is in %d, expected %g", file, i, label[i], flat.x[i]);
    int K = cluster_all(label, x, n, d, 0.90, 12, (es_speaker_range){0});
    for (int i = 0; i < n; i++) CHECK(label[i] == labels.x[i], "%s: vector %d is of %d, expected %g", file, i, label[i], labels.x[i]);
    /* Slots to clusters, and turns. */
    double *mean = malloc((size_t)K * (size_t)d * sizeof *mean), *score = malloc(3 * (size_t)K * sizeof *score);
    es_cluster_means(mean, x, label, n, d, K);
    for (int64_t c = 0; c < C; c++) {
        bool active[3];
        int got[3], frames[3], clean[3];
        es_windows_masks(cls + c * ES_WINDOW_FRAMES, 2, frames, clean, NULL);
        for (int k = 0; k < 3; k++) {
            const double *v = vectors.x + ((size_t)c * 3 + (size_t)k) * (size_t)d;
            active[k] = frames[k] > 0 && !isnan(v[0]);
            for (int j = 0; j < K; j++) {
                double ab = 0, aa = 0, bb = 0;
                for (int i = 0; i < d; i++) {
                    double m = mean[(size_t)j * (size_t)d + (size_t)i];
                    ab += v[i] * m, aa += v[i] * v[i], bb += m * m;
                }
                score[k * K + j] = active[k] ? 1 + ab / sqrt(aa * bb) : 0;
            }
        }
        es_windows_assign(got, score, K, active);
        for (int k = 0; k < 3; k++) {
            cluster[c * 3 + k] = (int16_t)got[k];
            CHECK(got[k] == hard.x[c * 3 + k], "%s: window %lld slot %d is of %d, expected %g", file, (long long)c, k, got[k], hard.x[c * 3 + k]);
        }
    }
    es_turn *t = NULL;
    size_t n_turns = 0;
    n_turns = cluster_turns(&t, cls, cluster, count, C, STEP, K);
    CHECK(n_turns >= turns.dim[0], "%s: %zu turns, expected %zu", file, n_turns, turns.dim[0]);
    for (size_t i = 0; i < turns.dim[0] && i < n_turns; i++) {
        const double *w = turns.x + 3 * i;
        CHECK(fabs((double)t[i].start_us * 1e-6 - w[0]) < 1e-3 && t[i].speaker == w[2], "%s: turn %zu begins at %.6f by %d, expected %.6f by %g", file,
              i, (double)t[i].start_us * 1e-6, t[i].speaker, w[0], w[2]);
        /* The reference cuts at the end of the recording. */
        CHECK((double)t[i].end_us * 1e-6 > w[1] - 1e-3, "%s: turn %zu ends at %.6f, expected %.6f", file, i, (double)t[i].end_us * 1e-6, w[1]);
    }
    free(t), free(mean), free(score), free(unit), free(merges), free(label), free(cluster), free(x), free(cls), free(count);
    array all[] = {classes, want_count, vectors, clean_frames, train, linkage, flat, labels, hard, turns};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].x);
}

static bool have(const char *file)
{
    if (es_test_data(file)) return true;
    es_test_skip("ES_TEST_DATA/goldens/speakers");
    return false;
}

static void sample(void)
{
    if (have("goldens/speakers/sample.npz")) whole("goldens/speakers/sample.npz");
}
static void dev00(void)
{
    if (have("goldens/speakers/dev00.npz")) whole("goldens/speakers/dev00.npz");
}
static void mix3(void)
{
    if (have("goldens/speakers/mix3.npz")) whole("goldens/speakers/mix3.npz");
}

/* ---- community-1 from recorded vectors ---- */

#define FOLDER "audio/pyannote_golden/02_pyannote_sample/"

static bool read_plda(es_plda *p)
{
    array mean1 = load("models/pyannote-plda/xvec_transform.npz", "mean1"), mean2 = load("models/pyannote-plda/xvec_transform.npz", "mean2"),
          lda = load("models/pyannote-plda/xvec_transform.npz", "lda"), mu = load("models/pyannote-plda/plda.npz", "mu"),
          tr = load("models/pyannote-plda/plda.npz", "tr"), psi = load("models/pyannote-plda/plda.npz", "psi");
    bool ok = mean1.x && mean2.x && lda.x && mu.x && tr.x && psi.x;

    if (ok) {
        memcpy(p->mean1, mean1.x, sizeof p->mean1);
        memcpy(p->mean2, mean2.x, sizeof p->mean2);
        memcpy(p->lda, lda.x, sizeof p->lda);
        memcpy(p->mu, mu.x, sizeof p->mu);
        memcpy(p->tr, tr.x, sizeof p->tr);
        memcpy(p->psi, psi.x, sizeof p->psi);
    }
    free(mean1.x), free(mean2.x), free(lda.x), free(mu.x), free(tr.x), free(psi.x);
    return ok;
}

/* A class for a recorded set of active slots. */
static uint8_t class_of(const double *seg)
{
    unsigned bits = (unsigned)(seg[0] + 2 * seg[1] + 4 * seg[2]);

    for (uint8_t c = 0; c < ES_WINDOW_CLASSES; c++)
        if (es_windows_slots(c) == bits) return c;
    return 0;
}

static void community_1(void)
{
    static es_plda plda;
    if (!have(FOLDER "segmentations.npz")) return;
    array seg = load(FOLDER "segmentations.npz", "segmentations"), raw = load(FOLDER "raw_embeddings.npz", "embeddings"),
          chunk = load(FOLDER "plda_embeddings.npz", "train_chunk_idx"), slot = load(FOLDER "plda_embeddings.npz", "train_speaker_idx"),
          projected = load(FOLDER "plda_embeddings.npz", "post_plda"), q_final = load(FOLDER "vbx_state.npz", "q_final"),
          elbo = load(FOLDER "vbx_state.npz", "elbo_trajectory"), hard = load(FOLDER "clustering.npz", "hard_clusters"),
          want_count = load(FOLDER "reconstruction.npz", "count");
    int64_t C = (int64_t)seg.dim[0];
    uint8_t *cls = malloc((size_t)C * ES_WINDOW_FRAMES), *count = malloc((size_t)es_windows_grid(C, STEP));
    int n = 0;
    float *x = malloc((size_t)C * 3 * ES_PLDA_IN * sizeof *x);

    if (!read_plda(&plda) || !seg.x || !raw.x) return;
    for (int64_t i = 0; i < C * ES_WINDOW_FRAMES; i++) cls[i] = class_of(seg.x + 3 * i);
    es_windows_speakers(count, cls, C, STEP, 0);
    for (size_t g = 0; g < want_count.dim[0]; g++) CHECK(count[g] == want_count.x[g], "count at frame %zu: %d, expected %g", g, count[g], want_count.x[g]);
    for (int64_t c = 0; c < C; c++) {
        int active[3], clean[3];
        es_windows_masks(cls + c * ES_WINDOW_FRAMES, 2, active, clean, NULL);
        for (int k = 0; k < 3; k++) {
            const double *v = raw.x + ((size_t)c * 3 + (size_t)k) * ES_PLDA_IN;
            if (!es_windows_trains(clean[k])) continue;
            CHECK(n < (int)chunk.dim[0] && chunk.x[n] == (double)c && slot.x[n] == k, "training vector %d is not the reference's", n);
            for (int i = 0; i < ES_PLDA_IN; i++) x[(size_t)n * ES_PLDA_IN + (size_t)i] = (float)v[i];
            n++;
        }
    }
    CHECK_INT(n, chunk.dim[0]);
    /* The projection; the rows of tr may have either sign. */
    double *f = malloc((size_t)n * ES_PLDA_OUT * sizeof *f), worst = 0;
    for (int i = 0; i < n; i++) es_plda_project(f + (size_t)i * ES_PLDA_OUT, &plda, x + (size_t)i * ES_PLDA_IN);
    for (size_t i = 0; i < (size_t)n * ES_PLDA_OUT; i++) worst = fmax(worst, fabs(fabs(f[i]) - fabs(projected.x[i])));
    CHECK(worst < 2e-3, "the projection is off by %.3g", worst);
    /* Initial labels and VBx's posteriors. */
    int n_dims;
    size_t dims[4];
    double *first = es_test_npy(es_test_data(FOLDER "ahc_init_labels.npy"), &n_dims, dims);
    double *unit = malloc((size_t)n * ES_PLDA_IN * sizeof *unit);
    es_merge *merges = malloc((size_t)n * sizeof *merges);
    int32_t *label = malloc((size_t)n * sizeof *label);
    int S = 0;
    for (int i = 0; i < n; i++) es_cluster_unit(unit + (size_t)i * ES_PLDA_IN, x + (size_t)i * ES_PLDA_IN, ES_PLDA_IN);
    link_all(merges, unit, n, ES_PLDA_IN);
    cut_all(label, merges, n, 0.6);
    CHECK(first && same_labels(label, first, n), "the initial labels differ");
    for (int i = 0; i < n; i++) S = label[i] >= S ? label[i] + 1 : S;
    double *q = malloc((size_t)n * (size_t)S * sizeof *q), *pi = malloc((size_t)S * sizeof *pi);
    es_work work = work_of(es_vbx_bytes(n, S));
    int rounds = es_vbx(q, pi, f, label, n, S, plda.psi, 0.07, 0.8, &work);
    work_done(&work);
    CHECK_INT(rounds, elbo.dim[0]);
    worst = 0;
    for (int i = 0; i < n; i++)
        for (int s = 0; s < S; s++) {
            double best = INFINITY; /* columns may be numbered otherwise */
            for (size_t t = 0; t < q_final.dim[1]; t++) best = fmin(best, fabs(q[i * S + s] - q_final.x[(size_t)i * q_final.dim[1] + t]));
            worst = fmax(worst, best);
        }
    CHECK(worst < 1e-4, "a posterior is off by %.3g", worst);
    /* Centroids, assignment. */
    const es_speaker_range any = {0};
    double *mean = malloc((size_t)es_cluster_vbx_most(n, S, any) * ES_PLDA_IN * sizeof *mean), *score;
    bool constrained;
    work = work_of(es_cluster_vbx_labels_bytes(n));
    CHECK_INT(es_cluster_vbx_labels(label, x, n, any, &work), S);
    CHECK(same_labels(label, first, n), "the initial labels differ");
    work_done(&work);
    work = work_of(es_cluster_vbx_bytes(n, S, any));
    int K = es_cluster_vbx(mean, &constrained, &plda, x, label, n, S, any, &work);
    work_done(&work);
    CHECK(constrained, "the number of speakers was forced");
    score = malloc(3 * (size_t)K * sizeof *score);
    int32_t *mine = malloc((size_t)C * 3 * sizeof *mine);
    double *theirs = malloc((size_t)C * 3 * sizeof *theirs);
    int slots = 0;
    int16_t *cluster = malloc((size_t)C * 3 * sizeof *cluster);
    for (int64_t c = 0; c < C; c++) {
        bool active[3];
        int got[3], frames[3], clean[3];
        es_windows_masks(cls + c * ES_WINDOW_FRAMES, 2, frames, clean, NULL);
        for (int k = 0; k < 3; k++) {
            const double *v = raw.x + ((size_t)c * 3 + (size_t)k) * ES_PLDA_IN;
            active[k] = frames[k] > 0;
            for (int j = 0; j < K; j++) {
                double ab = 0, aa = 0, bb = 0;
                for (int i = 0; i < ES_PLDA_IN; i++) {
                    double m = mean[(size_t)j * ES_PLDA_IN + (size_t)i];
                    ab += v[i] * m, aa += v[i] * v[i], bb += m * m;
                }
                score[k * K + j] = 1 + ab / sqrt(aa * bb);
            }
        }
        es_windows_assign(got, score, K, active);
        for (int k = 0; k < 3; k++) {
            cluster[c * 3 + k] = (int16_t)got[k];
            if (active[k]) mine[slots] = got[k], theirs[slots++] = hard.x[c * 3 + k];
        }
    }
    CHECK(same_labels(mine, theirs, slots), "active slots have other clusters");
    /* Turns against the recorded ones: one RTTM line each, 1 ms. */
    es_turn *t = NULL;
    size_t n_turns = 0;
    FILE *rttm = fopen(es_test_data(FOLDER "reference.rttm"), "r");
    char line[256], name[64];
    double start, length;
    int map[64];
    size_t read = 0;
    memset(map, -1, sizeof map);
    n_turns = cluster_turns(&t, cls, cluster, count, C, STEP, K);
    while (rttm && fgets(line, sizeof line, rttm)) {
        if (sscanf(line, "SPEAKER %*s %*s %lf %lf %*s %*s SPEAKER_%63s", &start, &length, name) != 3) continue;
        int who = atoi(name), found = -1;
        for (size_t i = 0; i < n_turns; i++)
            if (fabs((double)t[i].start_us * 1e-6 - start) < 1.5e-3 && fabs((double)t[i].end_us * 1e-6 - start - length) < 2.5e-3 &&
                (map[t[i].speaker] < 0 || map[t[i].speaker] == who))
                found = (int)i, map[t[i].speaker] = who;
        CHECK(found >= 0, "no turn like the recorded one at %.3f for %.3f s by %d", start, length, who);
        read++;
    }
    CHECK_INT(n_turns, read);
    if (rttm) fclose(rttm);
    free(t), free(mean), free(score), free(mine), free(theirs), free(cluster), free(q), free(pi), free(label), free(merges), free(unit), free(first);
    free(f), free(x), free(cls), free(count);
    array all[] = {seg, raw, chunk, slot, projected, q_final, elbo, hard, want_count};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i].x);
}

/* ---- properties ---- */

/* Speakers around random directions: as many as were made are found, told or not; the order of vectors does not matter. */
static void made_speakers(void)
{
    enum { D = 32, EACH = 30, MOST = 30 };
    static const int speakers[] = {1, 2, 5, MOST};
    float *x = malloc(MOST * EACH * D * sizeof *x), *y = malloc(MOST * EACH * D * sizeof *y);
    int32_t label[MOST * EACH], other[MOST * EACH];
    double as_double[MOST * EACH];

    for (int s = 0; s < 4; s++) {
        int n = speakers[s] * EACH;
        es_noise noise = {(uint64_t)s + 1};
        float centre[MOST][D];
        for (int k = 0; k < speakers[s]; k++) es_noise_fill(&noise, centre[k], D, 1);
        for (int i = 0; i < n; i++)
            for (int d = 0; d < D; d++) x[i * D + d] = centre[i % speakers[s]][d] + (float)(0.25 * es_noise_normal(&noise));
        CHECK_INT(cluster_all(label, x, n, D, 0.9, 12, (es_speaker_range){0}), speakers[s]);
        for (int i = 0; i < n; i++) CHECK(label[i] == label[i % speakers[s]], "vector %d of %d speakers", i, speakers[s]);
        for (int i = 0; i < n; i++) memcpy(y + (n - 1 - i) * D, x + i * D, D * sizeof *x);
        cluster_all(other, y, n, D, 0.9, 12, (es_speaker_range){0});
        for (int i = 0; i < n; i++) as_double[i] = other[n - 1 - i];
        CHECK(same_labels(label, as_double, n), "another order of %d speakers, another result", speakers[s]);
    }
    /* Told how many: three where five were found, and more than there are vectors. */
    es_noise noise = {9};
    for (int i = 0; i < 100 * D; i++) x[i] = (float)es_noise_normal(&noise) * 0.3f + (i / D % 5 == i % D % 5 ? 2.0f : 0);
    CHECK_INT(cluster_all(label, x, 100, D, 0.9, 12, (es_speaker_range){.least = 3, .most = 3}), 3);
    CHECK_INT(cluster_all(label, x, 100, D, 0.9, 12, (es_speaker_range){.least = 1, .most = 1}), 1);
    CHECK(cluster_all(label, x, 2, D, 0.9, 12, (es_speaker_range){.least = 7, .most = 7}) <= 2, "more speakers than vectors");
    CHECK_INT(cluster_all(label, x, 1, D, 0.9, 12, (es_speaker_range){0}), 1);
    free(x), free(y);
}

static void assignments(void)
{
    const double score[3][2] = {{1.9, 1.8}, {1.8, 1.0}, {0.2, 0.1}};
    int got[3];

    es_windows_assign(got, &score[0][0], 2, (bool[]){true, true, false});
    CHECK(got[0] == 1 && got[1] == 0 && got[2] == ES_NO_CLUSTER, "(%d, %d, %d), expected (1, 0, none)", got[0], got[1], got[2]);
    es_windows_assign(got, &score[0][0], 2, (bool[]){true, true, true});
    CHECK(got[0] == 1 && got[1] == 0 && got[2] == ES_NO_CLUSTER, "three slots for two clusters: (%d, %d, %d)", got[0], got[1], got[2]);
    es_windows_assign(got, &score[0][0], 0, (bool[]){true, true, true});
    CHECK(got[0] == ES_NO_CLUSTER && got[2] == ES_NO_CLUSTER, "a cluster where there is none");
}

/* ---- scores ---- */

/* The reference's own turns against the human ones: its published score. */
static void scored(const char *file, const char *ours, const char *theirs, int64_t from_us, int64_t to_us, double miss, double fa, double conf, double total)
{
    es_rttm a, b;
    es_err err = {0};
    es_der d;
    es_score_span all = {from_us, to_us};

    if (!es_test_data(ours)) {
        es_test_skip("ES_TEST_DATA/goldens/speakers");
        return;
    }
    CHECK(es_rttm_read(&a, es_test_data(theirs), file, &err) == ES_OK && es_rttm_read(&b, es_test_data(ours), NULL, &err) == ES_OK, "%s", err.text);
    CHECK_INT(es_score_der(&d, a.turns, a.n, b.turns, b.n, &all, 1, 0, NULL, 0), 0);
    /* The turns were scored before they were rounded to the milliseconds of their file. */
    CHECK(fabs((double)d.miss_us * 1e-6 - miss) < 0.02 && fabs((double)d.false_alarm_us * 1e-6 - fa) < 0.02 &&
              fabs((double)d.confusion_us * 1e-6 - conf) < 0.02 && fabs((double)d.total_us * 1e-6 - total) < 0.002,
          "%s: missed %.3f, false alarm %.3f, confused %.3f of %.3f s", ours, (double)d.miss_us * 1e-6, (double)d.false_alarm_us * 1e-6,
          (double)d.confusion_us * 1e-6, (double)d.total_us * 1e-6);
    /* Against itself: nothing. */
    CHECK_INT(es_score_der(&d, a.turns, a.n, a.turns, a.n, NULL, 0, 0, NULL, 0), 0);
    CHECK(d.miss_us + d.false_alarm_us + d.confusion_us == 0 && es_der_rate(d) == 0, "an account differs from itself");
    es_rttm_done(&a);
    es_rttm_done(&b);
}

static void published_scores(void)
{
    scored("sample", "goldens/speakers/sample.rttm", "audio/pyannote_sample/sample.rttm", 0, 30000000, 0.4884, 0.4722, 0.3074, 24.35);
    scored("dev00", "goldens/speakers/dev00.rttm", "audio/ami/debug.development.rttm", 0, 30000063, 2.1217, 0.4381, 5.0318, 28.497);
    scored("mix3", "goldens/speakers/mix3.rttm", "audio/librispeech_mix/mix3.rttm", 0, 45515000, 9.2394, 0.0, 1.7888, 43.715);
}

static void small_scores(void)
{
    const es_turn ref[] = {{0, 10, 0}, {5, 15, 1}}, sys[] = {{0, 8, 1}, {8, 20, 0}};
    es_der d;
    int map[2];
    double gain[] = {1, 9, 2, 8, 3, 9, 7, 8, 1}, wide[] = {1, 2, 0, 5, 0, 0};
    int column[3];

    /* 0-5: ref {0}, sys {1 = 0}. 5-8: both, one missed. 8-10: both, one missed. 10-15: right. 15-20: false alarm. */
    CHECK_INT(es_score_der(&d, ref, 2, sys, 2, NULL, 0, 0, map, 2), 0);
    CHECK(d.miss_us == 5 && d.false_alarm_us == 5 && d.confusion_us == 0 && d.total_us == 20, "%lld, %lld, %lld of %lld", (long long)d.miss_us,
          (long long)d.false_alarm_us, (long long)d.confusion_us, (long long)d.total_us);
    CHECK(map[0] == 1 && map[1] == 0, "mapped to %d and %d", map[0], map[1]);
    /* One microsecond left out around 0, 5, 10 and 15. */
    CHECK_INT(es_score_der(&d, ref, 2, sys, 2, NULL, 0, 1, NULL, 0), 0);
    CHECK(d.miss_us == 3 && d.false_alarm_us == 4 && d.total_us == 12, "with a collar %lld, %lld of %lld", (long long)d.miss_us,
          (long long)d.false_alarm_us, (long long)d.total_us);
    CHECK_INT(es_score_der(&d, ref, 2, NULL, 0, NULL, 0, 0, NULL, 0), 0);
    CHECK(d.miss_us == 20 && es_der_rate(d) == 1, "nothing was said: %lld missed", (long long)d.miss_us);
    CHECK_INT(es_score_der(&d, NULL, 0, sys, 2, NULL, 0, 0, NULL, 0), 0);
    CHECK(d.false_alarm_us == 20 && es_der_rate(d) == 1, "nobody spoke: %lld of false alarm", (long long)d.false_alarm_us);

    assign_all(column, gain, 3, 3);
    CHECK(gain[column[0]] + gain[3 + column[1]] + gain[6 + column[2]] == 25, "columns %d, %d, %d", column[0], column[1], column[2]);
    assign_all(column, wide, 2, 3);
    CHECK(column[0] == 1 && column[1] == 0, "columns %d and %d, expected 1 and 0", column[0], column[1]);
    assign_all(column, wide, 3, 2);
    CHECK(column[0] == 0 && column[1] == 1 && column[2] == -1, "columns %d, %d and %d", column[0], column[1], column[2]);

    double targets[] = {0.9, 0.8, 0.4, 0.7}, others[] = {0.1, 0.5, 0.3, 0.2}, t;
    CHECK(es_score_eer(targets, 4, others, 4, &t) == 0.25, "an equal error rate of %g", es_score_eer(targets, 4, others, 4, &t));
    double apart[] = {2, 3}, below[] = {0, 1};
    CHECK(es_score_eer(apart, 2, below, 2, &t) == 0 && t >= 1 && t <= 2, "apart, and yet not 0");
}

static void rttm_lines(void)
{
    const char *folder = es_test_folder();
    char path[2048], text[512];
    es_rttm r;
    es_err err = {0};
    FILE *f;
    const es_turn turns[] = {{1000000, 2500000, 0}, {2400400, 3000600, 1}};
    const char *const names[] = {"Ada Lovelace", "Zo\xc3\xab"};

    snprintf(path, sizeof path, "%s/a.rttm", folder);
    f = fopen(path, "w");
    es_rttm_write(f, "a file", turns, 2, names);
    fputs("\n;; a comment\nSPKR-INFO a_file 1 <NA> <NA> <NA> unknown x <NA> <NA>\nSPEAKER other 1 0 1 <NA> <NA> x <NA> <NA>\n", f);
    fclose(f);
    f = fopen(path, "r");
    CHECK(f && fgets(text, sizeof text, f), "nothing was written");
    CHECK_STR(text, "SPEAKER a_file 1 1.000 1.500 <NA> <NA> Ada_Lovelace <NA> <NA>\n");
    fclose(f);
    CHECK(es_rttm_read(&r, path, "a_file", &err) == ES_OK, "%s", err.text);
    CHECK(r.n == 2 && r.n_names == 2, "%zu turns of %d speakers", r.n, r.n_names);
    CHECK(r.turns[1].start_us == 2400000 && r.turns[1].end_us == 3001000, "%lld to %lld", (long long)r.turns[1].start_us, (long long)r.turns[1].end_us);
    CHECK_STR(r.names[1], "Zo\xc3\xab");
    es_rttm_done(&r);
    static const char *const bad[] = {"SPEAKER x 1 zero 1 <NA> <NA> a <NA> <NA>", "SPEAKER x 1 -1 1 <NA> <NA> a <NA> <NA>", "SPEAKER x 1 1 nan <NA> <NA> a",
                                      "SPEAKER x 1 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f = fopen(path, "w");
        fprintf(f, "\n%s\n", bad[i]);
        fclose(f);
        err = (es_err){0};
        CHECK(es_rttm_read(&r, path, NULL, &err) == ES_EFORMAT && strstr(err.text, "line 2"), "\"%s\": %s", bad[i], err.text);
    }
    err = (es_err){0};
    snprintf(path, sizeof path, "%s/none.rttm", folder);
    CHECK(es_rttm_read(&r, path, NULL, &err) == ES_EIO, "a file that is not there");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"grids", grids},           {"sample", sample},           {"dev00", dev00},           {"mix3", mix3},
        {"community_1", community_1}, {"made_speakers", made_speakers}, {"assignments", assignments},
        {"published_scores", published_scores}, {"small_scores", small_scores}, {"rttm_lines", rttm_lines},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
