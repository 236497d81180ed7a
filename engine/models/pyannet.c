/*
 * pyannet.c - the forward pass of pyannote's segmentation-3.0.
 *
 * In every stage of the front the order is convolution, pool, norm over time, leaky; only after the first convolution the
 * absolute value is taken, which the pool does on the way. The inputs of an LSTM layer's gates are one product for all
 * frames of all windows; only the recurrence itself walks frame by frame.
 */
#include "models/pyannet.h"

#include <assert.h>
#include <stdlib.h>

#include "runtime/ops.h"

enum { FILTERS = 80, TAPS = 251, STRIDE = 10, WIDTH = 60, KERNEL = 5, POOL = 3, HIDDEN = 128, LAYERS = 4, DENSE = 128,
       CLASSES = ES_PYANNET_CLASSES, FRAMES = ES_PYANNET_FRAMES, SAMPLES = ES_PYANNET_SAMPLES };

static const float EPS = 1e-5f;

struct es_pyannet {
    int windows;
    es_fill fill;
    es_arena *arena;
    es_model *model;
    es_program *segment;
    const float *wave_g, *wave_b, *norm_g[3], *norm_b[3];
    es_matrix sinc, conv[2];
    const float *conv_b[2];
    es_matrix input[LAYERS], recurrent[LAYERS], linear[2], classifier;
    const float *input_b[LAYERS], *linear_b[2], *classifier_b;
    es_tensor pcm;    /* f32 [B, 160000, 1] */
    es_tensor n_live; /* i32 [1] */
    es_tensor n_rows; /* i32 [1]: n_live * 589 */
    es_tensor scores; /* f32 [B * 589, 7] */
};

static void bind(es_bind *b, void *user)
{
    es_pyannet *m = user;

    es_bind_vector(b, &m->wave_g, 1, "wave_norm.weight");
    es_bind_vector(b, &m->wave_b, 1, "wave_norm.bias");
    es_bind_matrix_f32(b, &m->sinc, FILTERS, TAPS, "sinc.weight");
    for (int i = 0; i < 3; i++) {
        es_bind_vector(b, &m->norm_g[i], i ? WIDTH : FILTERS, "norm%d.weight", i);
        es_bind_vector(b, &m->norm_b[i], i ? WIDTH : FILTERS, "norm%d.bias", i);
    }
    for (int i = 0; i < 2; i++) {
        es_bind_matrix_f32(b, &m->conv[i], WIDTH, KERNEL * (i ? WIDTH : FILTERS), "conv%d.weight", i + 1);
        es_bind_vector(b, &m->conv_b[i], WIDTH, "conv%d.bias", i + 1);
    }
    for (int i = 0; i < LAYERS; i++) {
        es_bind_matrix_f32(b, &m->input[i], 8 * HIDDEN, i ? 2 * HIDDEN : WIDTH, "lstm.%d.input.weight", i);
        es_bind_matrix_f32(b, &m->recurrent[i], 8 * HIDDEN, HIDDEN, "lstm.%d.recurrent.weight", i);
        es_bind_vector(b, &m->input_b[i], 8 * HIDDEN, "lstm.%d.bias", i);
    }
    for (int i = 0; i < 2; i++) {
        es_bind_matrix_f32(b, &m->linear[i], DENSE, i ? DENSE : 2 * HIDDEN, "linear.%d.weight", i);
        es_bind_vector(b, &m->linear_b[i], DENSE, "linear.%d.bias", i);
    }
    es_bind_matrix_f32(b, &m->classifier, CLASSES, DENSE, "classifier.weight");
    es_bind_vector(b, &m->classifier_b, CLASSES, "classifier.bias");
}

static void segment(es_run *r, void *user)
{
    const es_pyannet *m = user;
    int rows = m->windows * FRAMES;

    es_run_rows(r, m->n_live);
    es_tensor x = es_norm_time(r, m->pcm, m->wave_g, m->wave_b, EPS, ES_ACT_NONE);             /* [B, 160000, 1] */
    es_tensor y = es_conv1d(r, x, m->sinc, NULL, NULL, TAPS, STRIDE, 0, 1, ES_ACT_NONE);       /* [B, 15975, 80] */
    y = es_maxpool(r, y, POOL, true);                                                          /* [B, 5325, 80] */
    y = es_norm_time(r, y, m->norm_g[0], m->norm_b[0], EPS, ES_ACT_LEAKY);
    for (int i = 0; i < 2; i++) {
        y = es_conv1d(r, y, m->conv[i], m->conv_b[i], NULL, KERNEL, 1, 0, 1, ES_ACT_NONE);     /* [B, 5321 | 1769, 60] */
        y = es_maxpool(r, y, POOL, false);                                                     /* [B, 1773 | 589, 60] */
        y = es_norm_time(r, y, m->norm_g[i + 1], m->norm_b[i + 1], EPS, ES_ACT_LEAKY);
    }
    assert(y.dim[1] == FRAMES);
    for (int i = 0; i < LAYERS; i++) {
        es_run_rows(r, m->n_rows);
        es_tensor flat = es_reshape(y, 2, (int[]){rows, y.dim[2]});
        es_tensor gates = es_linear(r, flat, m->input[i], m->input_b[i], ES_ACT_NONE);         /* [B * 589, 1024] */
        es_run_rows(r, m->n_live);
        y = es_lstm(r, es_reshape(gates, 3, (int[]){m->windows, FRAMES, 8 * HIDDEN}), m->recurrent[i]); /* [B, 589, 256] */
    }
    es_run_rows(r, m->n_rows);
    es_tensor z = es_reshape(y, 2, (int[]){rows, 2 * HIDDEN});
    z = es_linear(r, z, m->linear[0], m->linear_b[0], ES_ACT_LEAKY); /* [B * 589, 128] */
    z = es_linear(r, z, m->linear[1], m->linear_b[1], ES_ACT_LEAKY);
    es_linear_to(r, m->scores, z, m->classifier, m->classifier_b, ES_ACT_NONE);
}

/* The pack's sizes, which this file knows by heart. */
static int check_config(const es_weights *w, es_err *err)
{
    static const struct {
        const char *key;
        int value;
    } known[] = {{"classes", CLASSES}, {"window_samples", SAMPLES}, {"hidden", HIDDEN}, {"lstm_layers", LAYERS}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int64_t v = -1;
        if (!es_json_int(es_json_get(es_pack_config(w), known[i].key), INT64_MIN, INT64_MAX, &v) || v != known[i].value)
            return es_fail(err, ES_EMODEL, "%s: config \"%s\" is %lld, and segmentation-3.0 has %d", es_weights_path(w),
                           known[i].key, (long long)v, known[i].value);
    }
    return ES_OK;
}

int es_pyannet_plan(es_pyannet **out, es_plan *p, const char *name, const es_weights *w, int windows, es_err *err)
{
    es_pyannet *m = calloc(1, sizeof *m);
    int rc = w ? check_config(w, err) : ES_OK;

    *out = NULL;
    assert(windows > 0);
    if (!m) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate the model", name);
    if (!rc) {
        m->windows = windows;
        rc = es_plan_model(p, &m->model, name, w, ES_F32, ES_F32, bind, m, err);
    }
    if (rc) {
        es_pyannet_close(m);
        return rc;
    }
    es_plan_state(m->model, &m->pcm, "sound", ES_F32, 3, (int[]){windows, SAMPLES, 1});
    es_plan_state(m->model, &m->n_live, "live windows", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->n_rows, "live frames", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->scores, "scores", ES_F32, 2, (int[]){windows * FRAMES, CLASSES});
    es_plan_program(m->model, &m->segment, "segment", segment, m);
    *out = m;
    return ES_OK;
}

void es_pyannet_close(es_pyannet *m)
{
    free(m);
}

void es_pyannet_start(es_pyannet *m, es_arena *a)
{
    m->arena = a;
}

int es_pyannet_windows(const es_pyannet *m)
{
    return m->windows;
}

es_fill es_pyannet_fill(const es_pyannet *m)
{
    return m->fill;
}

int es_pyannet_run(es_pyannet *m, const float *pcm, int n, float *scores, es_err *err)
{
    int32_t live = n, rows = n * FRAMES;
    es_fault fault = {0};

    assert(n > 0 && n <= m->windows);
    es_state_put(m->arena, m->pcm, 0, pcm, (size_t)n * SAMPLES * sizeof *pcm);
    es_state_put(m->arena, m->n_live, 0, &live, sizeof live);
    es_state_put(m->arena, m->n_rows, 0, &rows, sizeof rows);
    es_program_run(m->segment, m->arena);
    es_fill_add(&m->fill, n, m->windows);
    es_state_get(m->arena, m->scores, 0, scores, (size_t)rows * CLASSES * sizeof *scores);
    if (es_device_sync(es_arena_device(m->arena), &fault)) return es_fail(err, ES_EDEVICE, "%s", fault.text);
    return ES_OK;
}

void es_pyannet_classes(uint8_t *classes, const float *scores, int64_t frames)
{
    for (int64_t f = 0; f < frames; f++) {
        const float *s = scores + f * CLASSES;
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (s[c] > s[best]) best = c;
        classes[f] = (uint8_t)best;
    }
}
