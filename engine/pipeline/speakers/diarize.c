/*
 * diarize.c - the last step of diarization, vectors into speakers and turns, and the walk through all three.
 *
 *     vectors of slots that are heard alone for a fifth of a window -> clusters -> their means
 *     every other vector -> the nearest mean, within a window no two slots the same (but in 3.1)
 *     activity of clusters on one line of time -> as many of them in each frame as speak there -> turns
 *     speakers numbered by their first turn; a cluster without a turn is no speaker
 *
 * In a recording so short that nobody is heard alone for long enough all vectors are clustered: one word has a speaker,
 * too. At other steps than a second the smallest cluster is scaled, since everyone leaves fewer vectors.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/speakers/diarize.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/account.h"
#include "speech/speakers.h"
#include "speech/windows.h"

enum { SLOTS = ES_WINDOW_SLOTS, MIN_SIZE = 12, FEW_VECTORS = 50 };

typedef struct configuration {
    const char *name;
    double threshold;
    bool constrained, plda, resnet;
} configuration;

static const configuration configurations[] = {
    {.name = "campplus", .threshold = 0.90, .constrained = true},
    {.name = "3.1", .threshold = 0.7045654963945799, .resnet = true},
    {.name = "community-1", .constrained = true, .plda = true, .resnet = true},
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- options ---- */

es_diarize_options es_diarize_defaults(void)
{
    return (es_diarize_options){.step_samples = ES_RATE};
}

bool es_diarize_speakers_parse(es_speaker_range *out, const char *text)
{
    char *end = NULL;
    long least = strtol(text, &end, 10), most = least;

    if (end == text || *text < '0' || *text > '9') return false;
    if (*end == '-') {
        const char *second = end + 1;
        if (*second < '0' || *second > '9') return false;
        most = strtol(second, &end, 10);
    }
    if (*end || least < 1 || most < least || most > 10000) return false;
    *out = (es_speaker_range){.least = (int)least, .most = (int)most};
    return true;
}

static const configuration *named(const char *name)
{
    for (size_t i = 0; i < sizeof configurations / sizeof configurations[0]; i++)
        if (!strcmp(configurations[i].name, name)) return &configurations[i];
    return NULL;
}

static int choose(const configuration **out, const es_speaker_dims *network, bool plda, const es_diarize_options *o, es_err *err)
{
    es_speaker_kind kind = network ? network->kind : ES_SPEAKER_CAMPPLUS;
    const char *own = kind == ES_SPEAKER_CAMPPLUS ? "campplus" : plda ? "community-1" : "3.1";
    const configuration *c = named(o->configuration ? o->configuration : own);
    char shown[64];

    if (!c)
        return es_fail(err, ES_EARG, "there is no diarization %s; there are campplus, 3.1 and community-1",
                       es_printable(shown, sizeof shown, o->configuration));
    if (kind == ES_SPEAKER_ECAPA)
        return es_fail(err, ES_EARG, "ECAPA names voices, it does not tell speakers apart: that is for ResNet34 or CAM++");
    if (c->resnet && kind != ES_SPEAKER_RESNET34)
        return es_fail(err, ES_EARG,
                       "the diarization %s belongs to ResNet34's vectors%s; CAM++ has its own, campplus", c->name,
                       c->plda ? " (its PLDA was trained on them)" : "");
    if (!c->resnet && kind == ES_SPEAKER_RESNET34)
        return es_fail(err, ES_EARG, "the diarization campplus belongs to CAM++'s vectors; ResNet34 has 3.1 and community-1");
    if (c->plda && !plda)
        return es_fail(err, ES_EARG, "the diarization %s needs a pack with its PLDA; `earshot convert` makes it of plda.npz and "
                       "xvec_transform.npz", c->name);
    if (c->plda && network->vector != ES_PLDA_IN)
        return es_fail(err, ES_EARG, "the diarization %s is for vectors of %d numbers, and these have %d", c->name, ES_PLDA_IN,
                       network->vector);
    if (o->step_samples < 160 || o->step_samples > ES_WINDOW_SAMPLES || o->step_samples % 160)
        return es_fail(err, ES_EARG, "windows may be 0.01 to 10 s apart, in whole hundredths, not %g", o->step_samples / (double)ES_RATE);
    if (o->speakers.most && o->speakers.least > o->speakers.most)
        return es_fail(err, ES_EARG, "at least %d and at most %d speakers cannot both be", o->speakers.least, o->speakers.most);
    *out = c;
    return ES_OK;
}

int es_diarize_check(const es_speaker_dims *network, bool plda, const es_diarize_options *o, const char **name, es_err *err)
{
    const configuration *c = NULL;
    int rc = choose(&c, network, plda, o, err);

    if (name) *name = c ? c->name : NULL;
    return rc;
}

static const es_speaker_dims *network_of(const es_diarize_models *m)
{
    return m->diarizer ? es_speaker_dims_of(m->diarizer) : NULL;
}

/* ---- clusters ---- */

/* The work of es_diarize_conclude(). */
typedef struct work {
    const es_diarize_windows *w;
    const configuration *c;
    const es_diarize_options *o;
    float *x;        /* [n, width] the vectors that are clustered */
    double *centre;  /* [K, width] */
    int16_t *cluster; /* [windows, 3] */
    uint8_t *count;  /* [grid] */
    int n, K;
    bool constrained;
} work;

static void say(const work *k, const char *sentence)
{
    if (k->o->note) k->o->note(k->o->user, sentence);
}

/* Copies the vectors that take part in clustering, windows first, slots within. */
static int gather(work *k, es_err *err)
{
    const es_diarize_windows *w = k->w;
    size_t bytes = (size_t)w->width * sizeof *k->x, n = 0;
    bool all = false;

    for (int64_t i = 0; i < w->n * SLOTS; i++) n += w->row[i] >= 0 && es_windows_trains(w->clean[i]);
    if (n == 0) all = true, n = w->n_vectors;
    if (n > INT32_MAX / 2) return es_fail(err, ES_ENOMEM, "%zu vectors of voices are more than can be told apart", n);
    k->x = malloc(n * bytes + 1);
    if (!k->x) return es_fail(err, ES_ENOMEM, "cannot allocate %zu vectors of voices", n);
    for (int64_t i = 0; i < w->n * SLOTS; i++) {
        if (w->row[i] < 0 || !(all || es_windows_trains(w->clean[i]))) continue;
        memcpy(k->x + (size_t)k->n * (size_t)w->width, w->vectors + (size_t)w->row[i] * (size_t)w->width, bytes);
        k->n++;
    }
    return ES_OK;
}

/* Vectors into labels [n], and the means of their clusters: by linkage. */
static int link_vectors(work *k, int32_t *label)
{
    int width = k->w->width, least = (int)lrint((double)MIN_SIZE * ES_RATE / (double)k->w->step);
    es_work room;

    if (k->n > ES_CLUSTER_EXACT)
        say(k, "the recording is so long that its voices are told apart in two levels; bench/bench_cluster says what that changes");
    if (es_account_work(&room, es_cluster_vectors_bytes(k->n, width))) return -1;
    k->K = es_cluster_vectors(label, k->x, k->n, width, k->c->threshold, least > 1 ? least : 1, k->o->speakers, &room);
    es_account_free(&room);
    k->centre = malloc((size_t)k->K * (size_t)width * sizeof *k->centre);
    if (k->centre) es_cluster_means(k->centre, k->x, label, k->n, width, k->K);
    return k->centre ? 0 : -1;
}

/* The same by PLDA and VBx. */
static int weigh_vectors(work *k, int32_t *label, const es_plda *plda)
{
    es_work room;

    assert(k->w->width == ES_PLDA_IN); /* es_diarize_check() */
    if (k->n < FEW_VECTORS && !k->o->speakers.least && !k->o->speakers.most)
        say(k, "the recording is short for community-1, which then tends to find one speaker; --speakers N or --diarization 3.1 may "
               "know better");
    if (es_account_work(&room, es_cluster_vbx_labels_bytes(k->n))) return -1;
    int S = es_cluster_vbx_labels(label, k->x, k->n, k->o->speakers, &room);
    es_account_free(&room);
    k->centre = malloc((size_t)es_cluster_vbx_most(k->n, S, k->o->speakers) * ES_PLDA_IN * sizeof *k->centre);
    if (!k->centre || es_account_work(&room, es_cluster_vbx_bytes(k->n, S, k->o->speakers))) return -1;
    k->K = es_cluster_vbx(k->centre, &k->constrained, plda, k->x, label, k->n, S, k->o->speakers, &room);
    es_account_free(&room);
    return 0;
}

static int cluster_vectors(work *k, const es_plda *plda, es_err *err)
{
    int32_t *label = malloc((size_t)k->n * sizeof *label);
    int rc = -1;

    k->constrained = k->c->constrained;
    if (label) rc = k->c->plda ? weigh_vectors(k, label, plda) : link_vectors(k, label);
    free(label);
    return rc ? es_fail(err, ES_ENOMEM, "cannot allocate the memory to tell %d voices apart", k->n) : ES_OK;
}

/* Every slot with a vector to a cluster. */
static int assign(work *k, es_err *err)
{
    const es_diarize_windows *w = k->w;
    size_t d = (size_t)w->width, K = (size_t)k->K;
    double *unit = malloc(K * d * sizeof *unit), *score = malloc(SLOTS * K * sizeof *score);

    k->cluster = malloc((size_t)w->n * SLOTS * sizeof *k->cluster);
    if (!unit || !score || !k->cluster || k->K > INT16_MAX) {
        free(unit), free(score);
        return es_fail(err, ES_ENOMEM, "cannot allocate the speakers of %lld windows", (long long)w->n);
    }
    for (size_t j = 0; j < K; j++) {
        double norm = 0;
        for (size_t i = 0; i < d; i++) norm += k->centre[j * d + i] * k->centre[j * d + i];
        norm = fmax(sqrt(norm), 1e-12);
        for (size_t i = 0; i < d; i++) unit[j * d + i] = k->centre[j * d + i] / norm;
    }
    for (int64_t c = 0; c < w->n; c++) {
        int chosen[SLOTS] = {ES_NO_CLUSTER, ES_NO_CLUSTER, ES_NO_CLUSTER};
        bool active[SLOTS];
        for (int q = 0; q < SLOTS; q++) {
            int32_t row = w->row[c * SLOTS + q];
            double best = -INFINITY, norm = 0;
            active[q] = row >= 0;
            if (row < 0) continue;
            const float *v = w->vectors + (size_t)row * d;
            for (size_t i = 0; i < d; i++) norm += (double)v[i] * (double)v[i];
            norm = fmax(sqrt(norm), 1e-12);
            for (size_t j = 0; j < K; j++) {
                double s = 0;
                for (size_t i = 0; i < d; i++) s += (double)v[i] * unit[j * d + i];
                score[(size_t)q * K + j] = 1 + s / norm;
                if (s > best) best = s, chosen[q] = (int)j;
            }
        }
        if (k->constrained) es_windows_assign(chosen, score, k->K, active);
        for (int q = 0; q < SLOTS; q++) k->cluster[c * SLOTS + q] = (int16_t)chosen[q];
    }
    free(unit), free(score);
    return ES_OK;
}

/* ---- turns ---- */

static int turns_of(work *k, es_turn **turns, size_t *n, int most, es_err *err)
{
    if (es_account_turns(turns, n, k->w, k->cluster, k->count, k->K, most))
        return es_fail(err, ES_ENOMEM, "cannot allocate the turns of %lld windows", (long long)k->w->n);
    return ES_OK;
}

/* Speakers by first appearance, and what belongs to each. */
static int write_speakers(es_diarization *out, const work *k, es_turn *turns, size_t n, es_turn *exclusive, size_t m,
                          const es_diarize_models *models, es_err *err)
{
    size_t d = (size_t)k->w->width;
    int *order = malloc((size_t)k->K * sizeof *order), found = order ? es_speakers_order(order, turns, n, k->K) : 0, rc = ES_OK;

    if (order) {
        es_speakers_renumber(turns, n, order);
        es_speakers_renumber(exclusive, m, order);
        out->centers = (es_vectors){.space = models->space, .width = k->w->width, .n = (size_t)found};
        out->centers.rows = malloc((size_t)found * d * sizeof(float) + 1);
    }
    if (!order || !out->centers.rows || es_account_speakers(out, found, turns, n, exclusive, m))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the turns of %d speakers", k->K);
    for (int j = 0; j < k->K && rc == ES_OK; j++)
        for (size_t i = 0; i < d && order[j] >= 0; i++)
            out->centers.rows[(size_t)order[j] * d + i] = (float)k->centre[(size_t)j * d + i];
    free(order);
    return rc;
}

static void note_speakers(const work *k, int found)
{
    int least = k->o->speakers.least, most = k->o->speakers.most;
    char text[160];

    if (!least && !most) return;
    if ((least && found < least) || (most && found > most)) {
        snprintf(text, sizeof text, "%d speaker%s found, although %s%d %s asked for", found, found == 1 ? " was" : "s were",
                 least == most ? "" : found < least ? "at least " : "at most ", found < least ? least : most,
                 (found < least ? least : most) == 1 ? "was" : "were");
        say(k, text);
    }
}

int es_diarize_conclude(es_diarization *out, const es_diarize_windows *w, const es_diarize_models *m,
                        const es_diarize_options *o, es_err *err)
{
    work k = {.w = w, .o = o};
    es_turn *turns = NULL, *exclusive = NULL;
    size_t n = 0, n_exclusive = 0, grid = w->n ? (size_t)es_windows_grid(w->n, w->step) : 0;
    double began = seconds();
    int rc = choose(&k.c, network_of(m), m->plda != NULL, o, err);

    if (rc != ES_OK || !es_diarize_anyone(w)) return rc;
    if (es_account_heard(&out->speech, &out->n_speech, w) || !(k.count = malloc(grid + 1)))
        rc = es_fail(err, ES_ENOMEM, "cannot allocate the speech of %lld windows", (long long)w->n);
    if (rc != ES_OK || !w->n_vectors || !es_windows_speakers(k.count, w->classes, w->n, w->step, o->speakers.most)) goto out;
    rc = gather(&k, err);
    if (rc == ES_OK) rc = cluster_vectors(&k, m->plda, err);
    if (rc == ES_OK) rc = assign(&k, err);
    if (rc == ES_OK) rc = turns_of(&k, &turns, &n, 0, err);
    if (rc == ES_OK) rc = turns_of(&k, &exclusive, &n_exclusive, 1, err);
    if (rc == ES_OK) rc = write_speakers(out, &k, turns, n, exclusive, n_exclusive, m, err);
    if (rc == ES_OK) note_speakers(&k, out->n_speakers);
out:
    if (o->times) o->times->cluster += seconds() - began, o->times->trained += k.n;
    free(turns), free(exclusive), free(k.x), free(k.centre), free(k.cluster), free(k.count);
    if (rc != ES_OK) es_diarization_done(out);
    return rc;
}

void es_diarize_windows_done(es_diarize_windows *w)
{
    if (!w) return;
    free(w->classes), free(w->row), free(w->clean), free(w->vectors);
    *w = (es_diarize_windows){0};
}

int es_diarize(es_diarization *out, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o, es_err *err)
{
    es_diarize_windows w = {0};
    int64_t ms = sound->samples * 1000 / ES_RATE;
    int rc = es_diarize_check(network_of(m), m->plda != NULL, o, NULL, err);

    if (rc == ES_OK) rc = es_diarize_segment(&w, m, sound, o, err);
    if (rc == ES_OK) rc = es_diarize_embed(&w, m, sound, o, err);
    if (rc == ES_OK && o->progress && o->progress(o->user, "telling speakers apart", ms, ms))
        rc = es_fail(err, ES_ECANCELLED, "cancelled while speakers were told apart");
    if (rc == ES_OK) rc = es_diarize_conclude(out, &w, m, o, err);
    if (rc == ES_OK) rc = es_diarize_voices(out, m, sound, o, err);
    es_diarize_windows_done(&w);
    return rc;
}
