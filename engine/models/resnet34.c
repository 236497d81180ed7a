/*
 * resnet34.c - the forward pass of ResNet34.
 *
 * Rows are frames, of bands, of channels: a stage that halves bands and frames reads the bounds of the stage before it and
 * writes those of its own. Norms are folded into the convolutions by the converter. A window of 10 s is 22.6 billion
 * multiply-adds; pooling and the last product, the only parts that are made for each answer, are 1.3 million.
 *
 * On the CPU everything is f32. On CUDA what lies between the first convolution and the pooling is f16 with f32 sums, for the
 * tensor cores; the features, the first convolution, the statistics and the last product stay f32.
 */
#include "models/resnet34.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/ops.h"

enum { BINS = 80, BANDS = 10 /* after three halvings */, STAGES = ES_RESNET34_STAGES, MOST_BLOCKS = ES_RESNET34_MOST_BLOCKS };

typedef struct product {
    es_matrix w;
    const float *b;
} product;

typedef struct block {
    product conv[2], shortcut;
    bool has_shortcut;
} block;

struct es_resnet34 {
    es_resnet34_dims dims;
    es_dtype inner; /* of the feature maps and their convolutions */
    int answers, frames[STAGES]; /* planned, of each stage */
    es_notes *notes;
    es_arena *arena;
    es_model *model;
    es_program *embed;
    product first, head;
    block blocks[STAGES][MOST_BLOCKS];
    int32_t *table;           /* host room: bounds of every stage, then pieces of the answers */
    float *host_weights;      /* host room [answers, frames of the last stage] */
    es_tensor features;       /* f32 [frames, 80, 1] */
    es_tensor bounds[STAGES]; /* i32 [answers + 1]: of pieces, of which there are at most as many as answers */
    es_tensor of;             /* i32 [answers]: the piece each is about, -1 for none */
    es_tensor n_answers;      /* i32 [1] */
    es_tensor weights;        /* f32 [answers, frames of the last stage] */
    es_tensor vectors;        /* f32 [answers, vector] */
};

/* ---- sizes ---- */

static int numbers(const es_weights *w, const char *key, int least, int most, int out[STAGES], es_err *err)
{
    const es_json_node *list = es_json_get(es_pack_config(w), key), *n = es_json_first(list);

    for (int i = 0; i < STAGES; i++, n = es_json_next(n)) {
        int64_t v = -1;
        if (!n || !es_json_int(n, least, most, &v) || es_json_count(list) != STAGES)
            return es_fail(err, ES_EMODEL, "%s: config \"%s\" is not %d whole numbers from %d to %d", es_weights_path(w), key, STAGES, least,
                           most);
        out[i] = (int)v;
    }
    return ES_OK;
}

int es_resnet34_dims_read(es_resnet34_dims *out, const es_weights *w, es_err *err)
{
    es_resnet34_dims d = {0};
    int64_t bins = 0, vector = 0;
    int rc;

    if (!es_json_int(es_json_get(es_pack_config(w), "n_mels"), BINS, BINS, &bins) ||
        !es_json_int(es_json_get(es_pack_config(w), "embedding"), 1, 8192, &vector))
        return es_fail(err, ES_EMODEL, "%s: config \"n_mels\" is not %d, or \"embedding\" is no number from 1 to 8192", es_weights_path(w), BINS);
    if ((rc = numbers(w, "channels", 1, 1024, d.channels, err)) || (rc = numbers(w, "blocks", 1, MOST_BLOCKS, d.blocks, err))) return rc;
    d.vector = (int)vector;
    *out = d;
    return ES_OK;
}

int es_resnet34_pooled(int frames)
{
    for (int s = 1; s < STAGES; s++) frames = (frames + 1) / 2;
    return frames;
}

/* ---- weights ---- */

static void bind(es_bind *b, void *user)
{
    es_resnet34 *m = user;
    int in = m->dims.channels[0];

    es_bind_matrix_f32(b, &m->first.w, in, 9, "conv1.weight");
    es_bind_vector(b, &m->first.b, in, "conv1.bias");
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < m->dims.blocks[s]; i++) {
            block *k = &m->blocks[s][i];
            int out = m->dims.channels[s];
            for (int j = 0; j < 2; j++) {
                es_bind_matrix_as(b, &k->conv[j].w, m->inner, out, 9 * (j == 0 ? in : out), "layers.%d.%d.conv%d.weight", s, i, j + 1);
                es_bind_vector(b, &k->conv[j].b, out, "layers.%d.%d.conv%d.bias", s, i, j + 1);
            }
            k->has_shortcut = i == 0 && (s > 0 || in != out);
            if (k->has_shortcut) {
                es_bind_matrix_as(b, &k->shortcut.w, m->inner, out, in, "layers.%d.%d.shortcut.weight", s, i);
                es_bind_vector(b, &k->shortcut.b, out, "layers.%d.%d.shortcut.bias", s, i);
            }
            in = out;
        }
    es_bind_matrix_f32(b, &m->head.w, m->dims.vector, 2 * BANDS * in, "head.weight");
    es_bind_vector(b, &m->head.b, m->dims.vector, "head.bias");
}

/* ---- the forward pass ---- */

static es_taps taps(int C, int size, int stride)
{
    return (es_taps){.C = C, .Kf = size, .Kt = size, .stride_f = stride, .stride_t = stride, .dilation = 1};
}

/* Convolution, relu, convolution, added to the input (or to its shortcut where bands and frames are halved), relu. */
static es_tensor residual(es_run *r, const es_resnet34 *m, es_tensor x, int s, int i)
{
    const block *k = &m->blocks[s][i];
    int stride = s > 0 && i == 0 ? 2 : 1, in = x.dim[2], out = m->dims.channels[s], N = m->frames[s];
    es_tensor from = m->bounds[stride == 2 ? s - 1 : s], to = m->bounds[s], y = x;
    es_tensor u = es_conv2d(r, x, k->conv[0].w, k->conv[0].b, from, to, N, taps(in, 3, stride), ES_ACT_RELU);

    if (k->has_shortcut) y = es_conv2d(r, x, k->shortcut.w, k->shortcut.b, from, to, N, taps(in, 1, stride), ES_ACT_NONE);
    return es_conv2d_add(r, y, u, k->conv[1].w, k->conv[1].b, to, taps(out, 3, 1), ES_ACT_RELU);
}

static void embed(es_run *r, void *user)
{
    const es_resnet34 *m = user;
    int last = STAGES - 1;
    es_tensor x = es_conv2d(r, m->features, m->first.w, m->first.b, m->bounds[0], m->bounds[0], m->frames[0], taps(1, 3, 1), ES_ACT_RELU);

    es_note(m->notes, r, x, "conv1");
    if (m->inner != ES_F32) x = es_cast(r, x, m->inner);
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < m->dims.blocks[s]; i++) {
            x = residual(r, m, x, s, i);
            es_note(m->notes, r, x, "layer%d.%d", s + 1, i);
        }
    x = es_reshape(x, 2, (int[]){m->frames[last], BANDS * m->dims.channels[last]});
    x = es_weighed_deviation(r, x, m->weights, m->of, m->bounds[last]);
    es_note(m->notes, r, x, "pool");
    es_run_rows(r, m->n_answers);
    es_linear_to(r, m->vectors, x, m->head.w, m->head.b, ES_ACT_NONE);
}

/* ---- the model ---- */

int es_resnet34_plan(es_resnet34 **out, es_plan *p, const char *name, const es_weights *w, const es_resnet34_dims *dims, int answers,
                     int frames, es_notes *notes, es_err *err)
{
    static const char *const names[STAGES] = {"bounds of pieces", "bounds, halved", "bounds, halved twice", "bounds, halved three times"};
    es_resnet34 *m = calloc(1, sizeof *m);
    int rc = ES_OK, most = 0;

    *out = NULL;
    assert(answers > 0 && frames >= ES_RESNET34_LEAST);
    for (int s = 0; s < STAGES; s++) most = dims->channels[s] > most ? dims->channels[s] : most;
    if (frames > INT32_MAX / (BINS * most)) rc = es_fail(err, ES_EARG, "%s: %d frames in a step are too many", name, frames);
    if (m && !rc) {
        m->dims = *dims;
        m->inner = es_plan_backend(p) == ES_CPU ? ES_F32 : ES_F16;
        m->answers = answers;
        m->frames[0] = frames;
        for (int s = 1; s < STAGES; s++) m->frames[s] = (m->frames[s - 1] + answers) / 2; /* each piece may round up once */
        m->table = calloc((STAGES + 1) * ((size_t)answers + 1), sizeof *m->table);
        m->host_weights = calloc((size_t)answers * (size_t)m->frames[STAGES - 1], sizeof *m->host_weights);
    }
    if (!rc && (!m || !m->table || !m->host_weights)) rc = es_fail(err, ES_ENOMEM, "%s: cannot allocate the model", name);
    if (!rc) rc = es_plan_model(p, &m->model, name, w, ES_F32, ES_F32, bind, m, err);
    if (rc) {
        es_resnet34_close(m);
        return rc;
    }
    if (notes) notes->model = m->model;
    m->notes = notes;
    es_plan_state(m->model, &m->features, "features", ES_F32, 3, (int[]){frames, BINS, 1});
    for (int s = 0; s < STAGES; s++) es_plan_state(m->model, &m->bounds[s], names[s], ES_I32, 1, (int[]){answers + 1});
    es_plan_state(m->model, &m->of, "pieces of answers", ES_I32, 1, (int[]){answers});
    es_plan_state(m->model, &m->n_answers, "live answers", ES_I32, 1, (int[]){1});
    es_plan_state(m->model, &m->weights, "weights of frames", ES_F32, 2, (int[]){answers, m->frames[STAGES - 1]});
    es_plan_state(m->model, &m->vectors, "vectors", ES_F32, 2, (int[]){answers, dims->vector});
    es_plan_program(m->model, &m->embed, "embed", embed, m);
    *out = m;
    return ES_OK;
}

void es_resnet34_close(es_resnet34 *m)
{
    if (!m) return;
    free(m->table);
    free(m->host_weights);
    free(m);
}

void es_resnet34_start(es_resnet34 *m, es_arena *a)
{
    m->arena = a;
}

int es_resnet34_run(es_resnet34 *m, const float *features, const int *frames, int pieces, const es_resnet34_answer *answers, int n,
                    float *vectors, es_err *err)
{
    size_t ends = (size_t)m->answers + 1, row = (size_t)m->frames[STAGES - 1];
    int32_t *bounds = m->table, *of = m->table + STAGES * ends, live = n;
    es_fault fault = {0};

    assert(pieces > 0 && pieces <= m->answers && n > 0 && n <= m->answers);
    for (int s = 0; s < STAGES; s++) bounds[(size_t)s * ends] = 0;
    for (int i = 0; i < m->answers; i++) { /* pieces that are not there are empty ones at the end */
        int T = i < pieces ? frames[i] : 0;
        assert(i >= pieces || (T >= ES_RESNET34_LEAST && T <= m->frames[0] - bounds[i]));
        for (int s = 0; s < STAGES; s++, T = (T + 1) / 2) bounds[(size_t)s * ends + (size_t)i + 1] = bounds[(size_t)s * ends + (size_t)i] + T;
    }
    for (int i = 0; i < m->answers; i++) {
        const es_resnet34_answer *a = &answers[i < n ? i : 0];
        float *w = m->host_weights + (size_t)i * row;
        int T = i < n ? es_resnet34_pooled(frames[a->piece]) : 0;
        of[i] = i < n ? a->piece : -1;
        for (int t = 0; t < T; t++) w[t] = !a->mask || a->mask[(int64_t)t * a->n_mask / T] ? 1 : 0;
    }
    es_state_put(m->arena, m->features, 0, features, (size_t)bounds[pieces] * BINS * sizeof *features);
    for (int s = 0; s < STAGES; s++) es_state_put(m->arena, m->bounds[s], 0, bounds + (size_t)s * ends, ends * sizeof *bounds);
    es_state_put(m->arena, m->of, 0, of, (size_t)m->answers * sizeof *of);
    es_state_put(m->arena, m->n_answers, 0, &live, sizeof live);
    es_state_put(m->arena, m->weights, 0, m->host_weights, (size_t)n * row * sizeof *m->host_weights);
    es_program_run(m->embed, m->arena);
    es_state_get(m->arena, m->vectors, 0, vectors, (size_t)n * (size_t)m->dims.vector * sizeof *vectors);
    if (es_device_sync(es_arena_device(m->arena), &fault)) return es_fail(err, ES_EDEVICE, "%s", fault.text);
    return ES_OK;
}
