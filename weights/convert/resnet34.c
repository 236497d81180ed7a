/*
 * resnet34.c - WeSpeaker's ResNet34 speaker vectors, from its own files or pyannote's (prefix "resnet.").
 *
 * Every batch norm follows a convolution and is folded into it, in double. The last feature map [channel, frequency] is
 * flattened frequency first here, as it lies in memory when channels are innermost, so the columns of the final product
 * are reordered to match, for means and deviations alike.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

enum { STAGES = 4, MELS = 80, FREQUENCIES = 10, WIDEST = 2048, MAX_BLOCKS = 64 };

typedef struct model {
    es_build *b;
    const char *prefix;
    double scale[WIDEST], shift[WIDEST];
} model;

static const char *prefix_of(const es_source *s)
{
    if (es_source_find(s, "resnet.conv1.weight") && es_source_find(s, "resnet.seg_1.weight")) return "resnet.";
    return es_source_find(s, "conv1.weight") && es_source_find(s, "seg_1.weight") ? "" : NULL;
}

bool es_resnet34_is(const es_source *s)
{
    return prefix_of(s) && es_source_find(s, prefix_of(s)[0] ? "resnet.layer4.0.conv1.weight" : "layer4.0.conv1.weight");
}

static void folded(model *m, const char *to, const char *from, const char *bn, int64_t O, int64_t I, int64_t k)
{
    const es_src_tensor *w = es_build_take(m->b, 4, SHAPE(O, I, k, k), "%s%s.weight", m->prefix, from);
    char name[96];

    snprintf(name, sizeof name, "%s%s", m->prefix, bn);
    if (O > WIDEST) es_build_fail(m->b, "%s has %lld channels, at most %d are known", from, (long long)O, (int)WIDEST);
    if (m->b->rc || !es_build_batchnorm(m->b, name, O, 1e-5, m->scale, m->shift)) return;
    es_build_put_folded(m->b, to, w, NULL, m->scale, m->shift);
}

static void block(model *m, int stage, int i, int64_t in, int64_t out)
{
    char to[64], from[64], bn[64];

    for (int k = 1; k <= 2; k++) {
        snprintf(to, sizeof to, "layers.%d.%d.conv%d", stage, i, k);
        snprintf(from, sizeof from, "layer%d.%d.conv%d", stage + 1, i, k);
        snprintf(bn, sizeof bn, "layer%d.%d.bn%d", stage + 1, i, k);
        folded(m, to, from, bn, out, k == 1 ? in : out, 3);
    }
    if (!es_build_has(m->b, "%slayer%d.%d.shortcut.0.weight", m->prefix, stage + 1, i)) {
        if (in != out) es_build_fail(m->b, "layer%d.%d has no shortcut", stage + 1, i);
        return;
    }
    snprintf(to, sizeof to, "layers.%d.%d.shortcut", stage, i);
    snprintf(from, sizeof from, "layer%d.%d.shortcut.0", stage + 1, i);
    snprintf(bn, sizeof bn, "layer%d.%d.shortcut.1", stage + 1, i);
    folded(m, to, from, bn, out, in, 1);
}

static void head(model *m, int64_t embedding, int64_t channels)
{
    const int64_t n = FREQUENCIES * channels;
    const es_src_tensor *w = es_build_take(m->b, 2, SHAPE(embedding, 2 * n), "%sseg_1.weight", m->prefix);
    const es_src_tensor *bias = es_build_take(m->b, 1, SHAPE(embedding), "%sseg_1.bias", m->prefix);
    float *row = malloc((size_t)(2 * n) * sizeof *row), *sorted = malloc((size_t)(2 * n) * sizeof *sorted);

    if (!m->b->rc && (!row || !sorted)) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    if (!m->b->rc) {
        es_pack_add(m->b->pack, "head.weight", es_build_matrix_dtype(m->b, &w, 1), 2, SHAPE(embedding, 2 * n));
        for (int64_t o = 0; o < embedding; o++) {
            es_source_read(w, (size_t)(o * 2 * n), (size_t)(2 * n), row);
            for (int64_t i = 0; i < 2 * n; i++) {
                int64_t c = i % n / FREQUENCIES, f = i % FREQUENCIES;
                sorted[i / n * n + f * channels + c] = row[i];
            }
            es_pack_values(m->b->pack, sorted, (size_t)(2 * n));
        }
        es_build_put(m->b, "head.bias", ES_F32, 1, SHAPE(embedding), &bias, 1, ES_ORDER_PLAIN);
    }
    free(row);
    free(sorted);
}

void es_resnet34_build(es_build *b)
{
    model *m = calloc(1, sizeof *m);
    const es_src_tensor *t;
    int64_t channels[STAGES] = {0}, in, embedding;
    int blocks[STAGES] = {0};
    char config[256];

    if (!m) {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
        return;
    }
    m->b = b;
    m->prefix = prefix_of(b->source);
    for (int s = 0; s < STAGES; s++) {
        t = es_build_take(b, 4, SHAPE(-1, -1, 3, 3), "%slayer%d.0.conv1.weight", m->prefix, s + 1);
        channels[s] = t ? t->dim[0] : 0;
        while (blocks[s] < MAX_BLOCKS && es_build_has(b, "%slayer%d.%d.conv1.weight", m->prefix, s + 1, blocks[s])) blocks[s]++;
    }
    t = es_build_take(b, 2, SHAPE(-1, -1), "%sseg_1.weight", m->prefix);
    embedding = t ? t->dim[0] : 0;
    snprintf(config, sizeof config,
             "{\"n_mels\":%d,\"embedding\":%d,\"channels\":[%d,%d,%d,%d],\"blocks\":[%d,%d,%d,%d]}", MELS, (int)embedding,
             (int)channels[0], (int)channels[1], (int)channels[2], (int)channels[3], blocks[0], blocks[1], blocks[2], blocks[3]);
    es_build_meta(b, "resnet34", config, "1");
    snprintf(b->report->sizes, sizeof b->report->sizes, "%d mel bands, %d + %d + %d + %d blocks, vectors of %d", MELS,
             blocks[0], blocks[1], blocks[2], blocks[3], (int)embedding);

    folded(m, "conv1", "conv1", "bn1", channels[0], 1, 3);
    in = channels[0];
    for (int s = 0; s < STAGES; s++) {
        for (int i = 0; i < blocks[s] && !b->rc; i++, in = channels[s]) block(m, s, i, in, channels[s]);
    }
    head(m, embedding, channels[STAGES - 1]);
    /* The training classifier of WeSpeaker's own files. */
    for (int i = 0; i < b->source->n_tensors; i++) {
        if (!strncmp(b->source->tensors[i].name, "projection.", 11)) b->source->tensors[i].used = true;
    }
    es_build_leftover(b);
    free(m);
}
