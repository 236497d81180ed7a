/*
 * campplus.c - CAM++ speaker vectors (3D-Speaker; Wang et al., "CAM++: A Fast and Efficient Network for Speaker
 * Verification Using Context-Aware Masking", 2023).
 *
 * Every batch norm that directly follows a product is folded into it, in double. The 52 norms in front of the dense
 * layers and the 3 in front of the transitions cannot be: they see channels that later layers see too, each with its own
 * scale. They stay as one multiply-add. The head's output [channel, frequency] is flattened frequency first here, as it
 * lies in memory when channels are innermost, so the columns of the layer behind it are reordered to match.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

enum { HEAD = 32, MELS = 80, FREQUENCIES = 10, GROWTH = 32, WIDEST = 4096, BLOCKS = 3, SEGMENT = 100 };

typedef struct model {
    es_build *b;
    double scale[WIDEST], shift[WIDEST]; /* of the norm at hand */
} model;

bool es_campplus_is(const es_source *s)
{
    return es_source_find(s, "head.conv1.weight") && es_source_find(s, "xvector.tdnn.linear.weight");
}

/* `from`.weight, followed by the batch norm `bn`, as `to`. */
static void folded(model *m, const char *to, const char *from, const char *bn, int n_dims, const int64_t *dim)
{
    const es_src_tensor *w = es_build_take(m->b, n_dims, dim, "%s.weight", from);

    if (es_build_batchnorm(m->b, bn, dim[0], 1e-5, m->scale, m->shift)) {
        es_build_put_folded(m->b, to, w, NULL, m->scale, m->shift);
    }
}

/* A norm in front of a relu: `to`.scale and .shift. */
static void before(model *m, const char *to, const char *from, int64_t n)
{
    char name[96];
    float *v;

    if (n > WIDEST) es_build_fail(m->b, "%s is %lld wide, at most %d is known", from, (long long)n, (int)WIDEST);
    if (m->b->rc || !es_build_batchnorm(m->b, from, n, 1e-5, m->scale, m->shift)) return;
    v = malloc((size_t)n * sizeof *v);
    for (int k = 0; k < 2 && v; k++) {
        for (int64_t i = 0; i < n; i++) v[i] = (float)(k ? m->shift[i] : m->scale[i]);
        snprintf(name, sizeof name, "%s.%s", to, k ? "shift" : "scale");
        es_build_put_values(m->b, name, v, 1, SHAPE(n));
    }
    if (!v) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    free(v);
}

/* A 1x1 product with its own bias. */
static void biased(model *m, const char *to, const char *from, int64_t O, int64_t I)
{
    const es_src_tensor *w = es_build_take(m->b, 2, SHAPE(O, I), "%s.weight", from);
    const es_src_tensor *bias = es_build_take(m->b, 1, SHAPE(O), "%s.bias", from);

    es_build_put_folded(m->b, to, w, bias, NULL, NULL);
}

static void head(model *m)
{
    char to[64], from[64], bn[64];

    folded(m, "head.conv1", "head.conv1", "head.bn1", 4, SHAPE(HEAD, 1, 3, 3));
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            for (int k = 1; k <= 2; k++) {
                snprintf(to, sizeof to, "head.%d.%d.conv%d", i, j, k);
                snprintf(from, sizeof from, "head.layer%d.%d.conv%d", i + 1, j, k);
                snprintf(bn, sizeof bn, "head.layer%d.%d.bn%d", i + 1, j, k);
                folded(m, to, from, bn, 4, SHAPE(HEAD, HEAD, 3, 3));
            }
        }
        snprintf(to, sizeof to, "head.%d.0.shortcut", i);
        snprintf(from, sizeof from, "head.layer%d.0.shortcut.0", i + 1);
        snprintf(bn, sizeof bn, "head.layer%d.0.shortcut.1", i + 1);
        folded(m, to, from, bn, 4, SHAPE(HEAD, HEAD, 1, 1));
    }
    folded(m, "head.conv2", "head.conv2", "head.bn2", 4, SHAPE(HEAD, HEAD, 3, 3));
}

/* The first 1-D layer: columns k * 320 + f * 32 + c out of [O, c * 10 + f, k]. */
static void tdnn(model *m, int64_t *out)
{
    const int64_t in = HEAD * FREQUENCIES;
    const es_src_tensor *w = es_build_take(m->b, 3, SHAPE(-1, in, 5), "xvector.tdnn.linear.weight");
    float row[HEAD * FREQUENCIES * 5], sorted[HEAD * FREQUENCIES * 5], *shift;

    *out = w ? w->dim[0] : 0;
    if (!w || !es_build_batchnorm(m->b, "xvector.tdnn.nonlinear.batchnorm", *out, 1e-5, m->scale, m->shift)) return;
    shift = malloc((size_t)*out * sizeof *shift);
    if (!shift) {
        m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
        return;
    }
    es_pack_add(m->b->pack, "tdnn.weight", es_build_matrix_dtype(m->b, &w, 1), 2, SHAPE(*out, 5 * in));
    for (int64_t o = 0; o < *out; o++) {
        es_source_read(w, (size_t)(o * 5 * in), (size_t)(5 * in), row);
        for (int c = 0; c < HEAD; c++) {
            for (int f = 0; f < FREQUENCIES; f++) {
                for (int k = 0; k < 5; k++) {
                    sorted[k * in + f * HEAD + c] = (float)((double)row[(c * FREQUENCIES + f) * 5 + k] * m->scale[o]);
                }
            }
        }
        es_pack_values(m->b->pack, sorted, (size_t)(5 * in));
        shift[o] = (float)m->shift[o];
    }
    es_build_put_values(m->b, "tdnn.bias", shift, 1, SHAPE(*out));
    free(shift);
}

/* One layer of a dense block over `in` channels. */
static void dense(model *m, int block, int i, int64_t in, int64_t wide)
{
    char to[64], from[96], bn[128];
    const es_src_tensor *w;

    snprintf(to, sizeof to, "blocks.%d.%d.norm", block, i);
    snprintf(from, sizeof from, "xvector.block%d.tdnnd%d.nonlinear1.batchnorm", block + 1, i + 1);
    before(m, to, from, in);
    snprintf(to, sizeof to, "blocks.%d.%d.bottleneck", block, i);
    snprintf(from, sizeof from, "xvector.block%d.tdnnd%d.linear1", block + 1, i + 1);
    snprintf(bn, sizeof bn, "xvector.block%d.tdnnd%d.nonlinear2.batchnorm", block + 1, i + 1);
    folded(m, to, from, bn, 3, SHAPE(wide, in, 1));
    snprintf(from, sizeof from, "xvector.block%d.tdnnd%d.cam_layer", block + 1, i + 1);
    w = es_build_take(m->b, 3, SHAPE(GROWTH, wide, 3), "%s.linear_local.weight", from);
    snprintf(to, sizeof to, "blocks.%d.%d.local.weight", block, i);
    es_build_put(m->b, to, es_build_matrix_dtype(m->b, &w, 1), 2, SHAPE(GROWTH, 3 * wide), &w, 1, ES_ORDER_TAPS);
    snprintf(to, sizeof to, "blocks.%d.%d.context", block, i);
    snprintf(bn, sizeof bn, "%s.linear1", from);
    biased(m, to, bn, wide / 2, wide);
    snprintf(to, sizeof to, "blocks.%d.%d.gate", block, i);
    snprintf(bn, sizeof bn, "%s.linear2", from);
    biased(m, to, bn, GROWTH, wide / 2);
}

/* Halves the channels; the last one is followed by the norm in front of the pooling, which folds into it. */
static int64_t transit(model *m, int block, int64_t in)
{
    char to[64], from[96];
    const es_src_tensor *w;
    bool last = block == BLOCKS - 1;

    snprintf(to, sizeof to, "transit.%d.norm", block);
    snprintf(from, sizeof from, "xvector.transit%d.nonlinear.batchnorm", block + 1);
    before(m, to, from, in);
    w = es_build_take(m->b, 3, SHAPE(in / 2, in, 1), "xvector.transit%d.linear.weight", block + 1);
    if (last && !es_build_batchnorm(m->b, "xvector.out_nonlinear.batchnorm", in / 2, 1e-5, m->scale, m->shift)) return 0;
    snprintf(to, sizeof to, "transit.%d", block);
    es_build_put_folded(m->b, to, w, NULL, last ? m->scale : NULL, last ? m->shift : NULL);
    return in / 2;
}

void es_campplus_build(es_build *b)
{
    static const int dilation[BLOCKS] = {1, 2, 2};
    model *m = calloc(1, sizeof *m);
    const es_src_tensor *w;
    int64_t channels = 0, wide = 0, start, embedding = 0;
    int layers[BLOCKS] = {0};
    char config[256];

    if (!m) {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
        return;
    }
    m->b = b;
    for (int k = 0; k < BLOCKS; k++) {
        while (layers[k] < 100 && es_build_has(b, "xvector.block%d.tdnnd%d.linear1.weight", k + 1, layers[k] + 1)) layers[k]++;
    }
    w = es_build_take(b, 2, SHAPE(-1, -1), "xvector.dense.linear.weight");
    embedding = w ? w->dim[0] : 0;
    snprintf(config, sizeof config,
             "{\"n_mels\":%d,\"embedding\":%d,\"head_channels\":%d,\"growth\":%d,\"segment_frames\":%d,"
             "\"blocks\":[[%d,%d],[%d,%d],[%d,%d]]}",
             MELS, (int)embedding, HEAD, GROWTH, SEGMENT, layers[0], dilation[0], layers[1], dilation[1], layers[2],
             dilation[2]);
    es_build_meta(b, "campplus", config, "1");
    snprintf(b->report->sizes, sizeof b->report->sizes, "%d mel bands, %d + %d + %d dense layers, vectors of %d", MELS,
             layers[0], layers[1], layers[2], (int)embedding);
    head(m);
    tdnn(m, &channels);
    w = es_build_take(b, 2, SHAPE(-1, channels), "xvector.block1.tdnnd1.linear1.weight");
    wide = w ? w->dim[0] : 0;
    for (int k = 0; k < BLOCKS && !b->rc; k++) {
        start = channels;
        for (int i = 0; i < layers[k]; i++, channels += GROWTH) dense(m, k, i, channels, wide);
        if (channels == start) es_build_fail(b, "block %d has no layers", k + 1);
        channels = transit(m, k, channels);
    }
    folded(m, "dense", "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm", 3, SHAPE(embedding, 2 * channels, 1));
    es_build_leftover(b);
    free(m);
}
