/*
 * speaker_rig.c - see speaker_rig.h.
 */
#include "speaker_rig.h"

void es_speaker_rig_close(es_speaker_rig *g)
{
    es_speaker_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->w);
    g->m = NULL, g->a = NULL, g->d = NULL, g->p = NULL, g->w = NULL;
}

bool es_speaker_rig_open(es_speaker_rig *g, const char *pack, es_backend backend, int answers, int rows, int threads, unsigned flags,
                         bool keep)
{
    es_fault fault = {0};
    es_err err = {0};
    int rc;

    memset(g, 0, sizeof *g);
    rc = es_pack_open(&g->w, pack, &err);
    if (!rc) rc = es_speaker_dims_read(&g->dims, g->w, &err);
    if (!rc) rc = es_plan_open(&g->p, backend, threads, &err);
    if (!rc) es_plan_flags(g->p, flags, 3);
    if (!rc)
        rc = es_speaker_plan(&g->m, g->p, "voices", g->w, &g->dims,
                             (es_speaker_limits){.answers = answers, .rows = rows, .notes = keep ? &g->notes : NULL}, &err);
    if (!rc) rc = es_plan_finish(g->p, 0, &err);
    if (!rc && es_device_open(&g->d, backend, 0, threads, NULL, &fault)) rc = es_fail(&err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &err);
    if (!rc) rc = es_arena_load(g->a, &err);
    CHECK(!rc, "%s: %s", pack, err.text);
    if (rc) es_speaker_rig_close(g);
    else es_speaker_start(g->m, g->a);
    return !rc;
}

void es_speaker_rig_ask(es_speaker_rig *g, float *vectors, const es_speaker_sound *sounds, const es_speaker_ask *asks, int n)
{
    es_err err = {0};

    CHECK(!es_speaker_run(g->m, sounds, asks, n, vectors, &err), "%s", err.text);
}

void es_speaker_rig_all(es_speaker_rig *g, float *vectors, const es_speaker_sound *sounds, int n)
{
    es_speaker_ask *asks = calloc((size_t)n, sizeof *asks);

    for (int i = 0; i < n; i++) asks[i].sound = i;
    es_speaker_rig_ask(g, vectors, sounds, asks, n);
    free(asks);
}

double es_speaker_cosine(const float *a, const double *b, int n)
{
    double ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < n; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * (double)a[i], bb += b[i] * b[i];
    return ab / sqrt(aa * bb);
}

void es_speaker_rig_stage(es_speaker_rig *g, const char *note, const es_json_node *want, int columns, double tolerance)
{
    es_tensor t = es_notes_get(&g->notes, note);
    const es_json_node *shape = es_json_get(want, "shape"), *first = es_json_first(es_json_get(want, "first"));
    double mean, deviation, sum = 0, square = 0, value, count = 1;

    CHECK(t.n_dims > 0, "%s was not kept", note);
    CHECK(want && es_json_number(es_json_get(want, "mean"), &mean) && es_json_number(es_json_get(want, "std"), &deviation),
          "%s is not among the recorded stages", note);
    if (t.n_dims == 0 || !want) return;
    size_t row = (size_t)(columns ? columns : 1), stride = 1, rows = (size_t)t.dim[0];
    for (int i = 1; i < t.n_dims; i++) stride *= (size_t)t.dim[i];
    if (!columns) row = stride;
    /* The note may have room for more rows than the piece has: pieces that are not there may each round up. */
    for (const es_json_node *n = es_json_first(shape); n; n = es_json_next(n)) {
        if (!es_json_number(n, &value)) break;
        count *= value;
        if (!es_json_next(n) && es_json_count(shape) > 2 && (size_t)value < rows) rows = (size_t)value;
    }
    CHECK(count == (double)(rows * row), "%s has %zu values, the reference %.0f", note, rows * row, count);
    float *x = malloc(es_tensor_bytes(t) + 4);
    es_state_get(g->a, t, 0, x, es_tensor_bytes(t));
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < row; c++) sum += (double)x[r * stride + c];
    sum /= count;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < row; c++) square += ((double)x[r * stride + c] - sum) * ((double)x[r * stride + c] - sum);
    square = sqrt(square / count);
    CHECK(fabs(sum - mean) <= tolerance && fabs(square - deviation) <= tolerance, "%s: mean %.9g, deviation %.9g, recorded %.9g, %.9g", note, sum,
          square, mean, deviation);
    /* Eight values in the reference's order: times of channel 0, then, for what has no time, the next channels. */
    for (size_t i = 0; i < 8 && first; i++, first = es_json_next(first)) {
        size_t at = rows == 1 ? i : (i % rows) * stride + i / rows;
        if (!es_json_number(first, &value)) break;
        CHECK(fabs((double)x[at] - value) <= tolerance * (1 + fabs(value)), "%s[%zu] is %.9g, recorded %.9g", note, i, (double)x[at], value);
    }
    free(x);
}

float *es_speaker_wav(const char *file, int64_t *n)
{
    const char *path = es_test_data(file);
    FILE *f = path ? fopen(path, "rb") : NULL;
    unsigned char *bytes = f ? malloc(4 << 20) : NULL;
    size_t size = bytes ? fread(bytes, 1, 4 << 20, f) : 0;
    float *x = NULL;

    *n = 0;
    if (f) fclose(f);
    else es_test_skip(file);
    for (size_t at = 12; at + 8 <= size && !x;) {
        uint32_t length;
        memcpy(&length, bytes + at + 4, 4);
        if (!memcmp(bytes + at, "data", 4)) {
            *n = (int64_t)((size - at - 8 < length ? size - at - 8 : length) / 2);
            x = malloc((size_t)*n * sizeof *x + 1);
            for (int64_t i = 0; i < *n; i++) {
                int16_t s;
                memcpy(&s, bytes + at + 8 + 2 * i, 2);
                x[i] = (float)s / 32768;
            }
        }
        at += 8 + length + (length & 1);
    }
    free(bytes);
    CHECK(!f || x, "%s holds no samples", file);
    return x;
}
