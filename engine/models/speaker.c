/*
 * speaker.c - see speaker.h: rows under masks, less their means, in steps as large as planned.
 */
#include "models/speaker.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/campplus.h"

enum { BINS = ES_FRONT_BINS };

struct es_speaker {
    es_speaker_dims dims;
    es_speaker_limits limits;
    es_campplus *campplus; /* one of the three, by kind */
    es_resnet34 *resnet34;
    es_ecapa *ecapa;
    /* Room of a step, on the host. */
    float *rows;    /* [limits.rows, 80] */
    float *vectors; /* [limits.answers, width] */
    int *n_rows;    /* of each answer of the step; of each sound where masks weigh */
    int *asked;     /* which ask it is the answer to */
    es_resnet34_answer *answers;
    es_fill fill;
};

/* ---- sizes ---- */

static const struct {
    const char *name;
    es_speaker_dims dims;
} presets[] = {
    {"campplus", {.kind = ES_SPEAKER_CAMPPLUS, .vector = ES_CAMPPLUS_VECTOR}},
    {"resnet34",
     {.kind = ES_SPEAKER_RESNET34, .vector = 256, .resnet34 = {.vector = 256, .channels = {32, 64, 128, 256}, .blocks = {3, 4, 6, 3}}}},
    {"ecapa",
     {.kind = ES_SPEAKER_ECAPA, .vector = 192, .ecapa = {.vector = 192, .channels = 1024, .squeeze = 128, .wide = 3072, .attention = 128}}},
    {"ecapa-taoruijie",
     {.kind = ES_SPEAKER_ECAPA, .vector = 192,
      .ecapa = {.taoruijie = true, .vector = 192, .channels = 1024, .squeeze = 128, .wide = 1536, .attention = 256}}},
};

enum { N_PRESETS = sizeof presets / sizeof presets[0] };

bool es_speaker_preset(es_speaker_dims *out, const char *name)
{
    for (int i = 0; i < N_PRESETS; i++) {
        if (strcmp(presets[i].name, name)) continue;
        *out = presets[i].dims;
        return true;
    }
    return false;
}

const char *es_speaker_preset_name(int i)
{
    return i >= 0 && i < N_PRESETS ? presets[i].name : NULL;
}

bool es_speaker_is(const char *architecture)
{
    return !strcmp(architecture, "campplus") || !strcmp(architecture, "resnet34") || !strcmp(architecture, "ecapa");
}

int es_speaker_dims_read(es_speaker_dims *out, const es_weights *w, es_err *err)
{
    const char *arch = es_pack_architecture(w);
    es_speaker_dims d = presets[0].dims; /* CAM++ is known in one size, which its plan checks */
    int rc = ES_OK;

    if (!es_speaker_is(arch))
        return es_fail(err, ES_EMODEL, "%s: a pack of architecture %s, and a speaker network is campplus, resnet34 or ecapa",
                       es_weights_path(w), arch);
    if (!strcmp(arch, "resnet34")) {
        d.kind = ES_SPEAKER_RESNET34;
        rc = es_resnet34_dims_read(&d.resnet34, w, err);
        d.vector = d.resnet34.vector;
    } else if (!strcmp(arch, "ecapa")) {
        d.kind = ES_SPEAKER_ECAPA;
        rc = es_ecapa_dims_read(&d.ecapa, w, err);
        d.vector = d.ecapa.vector;
    }
    if (!rc) *out = d;
    return rc;
}

es_front_kind es_speaker_front(const es_speaker_dims *d)
{
    return d->kind == ES_SPEAKER_RESNET34 ? ES_FRONT_HAMMING
           : d->kind == ES_SPEAKER_CAMPPLUS ? ES_FRONT_POVEY
           : d->ecapa.taoruijie           ? ES_FRONT_TAORUIJIE
                                          : ES_FRONT_SPEECHBRAIN;
}

bool es_speaker_weighs(const es_speaker_dims *d)
{
    return d->kind == ES_SPEAKER_RESNET34;
}

int es_speaker_least(const es_speaker_dims *d)
{
    /* CAM++ computes from three on; below five there is next to nothing to hear. */
    return d->kind == ES_SPEAKER_RESNET34 ? ES_RESNET34_LEAST : d->kind == ES_SPEAKER_ECAPA ? ES_ECAPA_LEAST : 5;
}

const es_speaker_dims *es_speaker_dims_of(const es_speaker *m)
{
    return &m->dims;
}

es_speaker_limits es_speaker_limits_of(const es_speaker *m)
{
    return m->limits;
}

es_fill es_speaker_fill(const es_speaker *m)
{
    return m->fill;
}

/* ---- plan ---- */

int es_speaker_plan(es_speaker **out, es_plan *p, const char *name, const es_weights *w, const es_speaker_dims *dims,
                    es_speaker_limits limits, es_err *err)
{
    es_speaker *m = calloc(1, sizeof *m);
    int rc = ES_OK;

    *out = NULL;
    assert(limits.answers > 0 && limits.rows >= es_speaker_least(dims));
    if (m) {
        m->dims = *dims;
        m->limits = limits;
        m->rows = malloc((size_t)limits.rows * BINS * sizeof *m->rows);
        m->vectors = malloc((size_t)limits.answers * (size_t)dims->vector * sizeof *m->vectors);
        m->n_rows = malloc((size_t)limits.answers * sizeof *m->n_rows);
        m->asked = malloc((size_t)limits.answers * sizeof *m->asked);
        m->answers = malloc((size_t)limits.answers * sizeof *m->answers);
    }
    if (!m || !m->rows || !m->vectors || !m->n_rows || !m->asked || !m->answers)
        rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate %d rows for %d answers", name, limits.rows, limits.answers);
    if (!rc && dims->kind == ES_SPEAKER_CAMPPLUS)
        rc = es_campplus_plan(&m->campplus, p, name, w, limits.answers, limits.rows, limits.notes, err);
    if (!rc && dims->kind == ES_SPEAKER_RESNET34)
        rc = es_resnet34_plan(&m->resnet34, p, name, w, &dims->resnet34, limits.answers, limits.rows, limits.notes, err);
    if (!rc && dims->kind == ES_SPEAKER_ECAPA)
        rc = es_ecapa_plan(&m->ecapa, p, name, w, &dims->ecapa, limits.answers, limits.rows, limits.notes, err);
    if (rc) {
        es_speaker_close(m);
        return rc;
    }
    *out = m;
    return ES_OK;
}

void es_speaker_close(es_speaker *m)
{
    if (!m) return;
    es_campplus_close(m->campplus);
    es_resnet34_close(m->resnet34);
    es_ecapa_close(m->ecapa);
    free(m->rows);
    free(m->vectors);
    free(m->n_rows);
    free(m->asked);
    free(m->answers);
    free(m);
}

void es_speaker_start(es_speaker *m, es_arena *a)
{
    if (m->campplus) es_campplus_start(m->campplus, a);
    if (m->resnet34) es_resnet34_start(m->resnet34, a);
    if (m->ecapa) es_ecapa_start(m->ecapa, a);
}

/* ---- rows ---- */

/* Whether frame t of n is under the mask. */
static bool under(const es_speaker_ask *a, int t, int n)
{
    return !a->mask || a->mask[(int64_t)t * a->n_mask / n];
}

static int count_rows(const es_speaker_ask *a, int n)
{
    int k = 0;

    for (int t = 0; t < n; t++) k += under(a, t, n);
    return k;
}

/* What the front end left to be done for these rows together: SpeechBrain's has nothing more than 80 dB below the loudest bin;
 * then each bin loses its mean. */
static void settle(const es_speaker *m, float *x, int n)
{
    if (es_speaker_front(&m->dims) == ES_FRONT_SPEECHBRAIN) {
        float top = x[0];
        for (int i = 1; i < n * BINS; i++) top = x[i] > top ? x[i] : top;
        for (int i = 0; i < n * BINS; i++) x[i] = x[i] < top - 80 ? top - 80 : x[i];
    }
    for (int b = 0; b < BINS; b++) {
        double mean = 0;
        for (int t = 0; t < n; t++) mean += (double)x[t * BINS + b];
        mean /= n;
        for (int t = 0; t < n; t++) x[t * BINS + b] = (float)((double)x[t * BINS + b] - mean);
    }
}

/* ---- steps ---- */

/* Makes k vectors from the rows in m->rows, of k pieces or, where masks weigh, of so many sounds, and hands them out. */
static int step(es_speaker *m, int k, int sounds, float *vectors, es_err *err)
{
    size_t width = (size_t)m->dims.vector;
    int rows = 0, rc = ES_OK;

    if (k == 0) return ES_OK;
    for (int i = 0; i < sounds; i++) rows += m->n_rows[i];
    es_fill_add(&m->fill, rows, m->limits.rows);
    if (m->campplus) rc = es_campplus_run(m->campplus, m->rows, m->n_rows, k, m->vectors, err);
    else if (m->ecapa) rc = es_ecapa_run(m->ecapa, m->rows, m->n_rows, k, m->vectors, err);
    else rc = es_resnet34_run(m->resnet34, m->rows, m->n_rows, sounds, m->answers, k, m->vectors, err);
    for (int i = 0; i < k && !rc; i++) {
        const float *v = m->vectors + (size_t)i * width;
        for (size_t j = 0; j < width && !rc; j++)
            if (!isfinite(v[j])) rc = es_fail(err, ES_EMODEL, "the speaker network gives no finite vector for answer %d", m->asked[i]);
        if (!rc) memcpy(vectors + (size_t)m->asked[i] * width, v, width * sizeof *v);
    }
    return rc;
}

static void no_answer(const es_speaker *m, float *vectors, int i)
{
    float *v = vectors + (size_t)i * (size_t)m->dims.vector;

    for (int j = 0; j < m->dims.vector; j++) v[j] = NAN;
}

static int too_long(const es_speaker *m, int rows, es_err *err)
{
    return es_fail(err, ES_EARG, "%d rows for one answer, and %d were planned", rows, m->limits.rows);
}

/* A piece for each ask: its rows, one behind the other. */
static int run_cut(es_speaker *m, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n, float *vectors, es_err *err)
{
    int k = 0, at = 0, rc = ES_OK;

    for (int i = 0; i < n && !rc; i++) {
        const es_speaker_ask *a = &asks[i];
        const es_speaker_sound *s = &sounds[a->sound];
        int taken = count_rows(a, s->n);
        float *to;
        if (taken < es_speaker_least(&m->dims)) {
            no_answer(m, vectors, i);
            continue;
        }
        if (taken > m->limits.rows) return too_long(m, taken, err);
        if (k == m->limits.answers || at + taken > m->limits.rows) {
            rc = step(m, k, k, vectors, err);
            k = at = 0;
        }
        to = m->rows + (size_t)at * BINS;
        for (int t = 0, row = 0; t < s->n; t++)
            if (under(a, t, s->n)) memcpy(to + (size_t)row++ * BINS, s->rows + (size_t)t * BINS, BINS * sizeof *to);
        if (!s->as_they_are) settle(m, to, taken);
        m->n_rows[k] = taken, m->asked[k] = i;
        k++, at += taken;
    }
    return rc ? rc : step(m, k, k, vectors, err);
}

/* A piece for each sound, as long as the asks stay with it; the masks go along. */
static int run_weighed(es_speaker *m, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n, float *vectors, es_err *err)
{
    int k = 0, pieces = 0, at = 0, in_hand = -1, rc = ES_OK;

    for (int i = 0; i < n && !rc; i++) {
        const es_speaker_ask *a = &asks[i];
        const es_speaker_sound *s = &sounds[a->sound];
        if (s->n < es_speaker_least(&m->dims) || count_rows(a, es_resnet34_pooled(s->n)) == 0) {
            no_answer(m, vectors, i);
            continue;
        }
        if (s->n > m->limits.rows) return too_long(m, s->n, err);
        if (k == m->limits.answers || (a->sound != in_hand && at + s->n > m->limits.rows)) {
            rc = step(m, k, pieces, vectors, err);
            k = pieces = at = 0;
            in_hand = -1;
        }
        if (a->sound != in_hand) {
            float *to = m->rows + (size_t)at * BINS;
            memcpy(to, s->rows, (size_t)s->n * BINS * sizeof *to);
            if (!s->as_they_are) settle(m, to, s->n);
            m->n_rows[pieces++] = s->n;
            at += s->n;
            in_hand = a->sound;
        }
        m->answers[k] = (es_resnet34_answer){.piece = pieces - 1, .mask = a->mask, .n_mask = a->n_mask};
        m->asked[k++] = i;
    }
    return rc ? rc : step(m, k, pieces, vectors, err);
}

int es_speaker_run(es_speaker *m, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n, float *vectors, es_err *err)
{
    return es_speaker_weighs(&m->dims) ? run_weighed(m, sounds, asks, n, vectors, err) : run_cut(m, sounds, asks, n, vectors, err);
}
