/*
 * ecapa.c - ECAPA-TDNN speaker vectors (Desplanques et al., 2020), as SpeechBrain and as TaoRuijie's project store them.
 *
 * Both are the same layers under different names; what they do differently (padding, the order of the chunks, what feeds a
 * block, the front end) is said by "family" in the config. A batch norm that follows a relu cannot be folded into the
 * product before it and stays as scale and shift. The norm in front of the last product is folded forward into it, and
 * the one behind it backward. The attention's first product reads [frame | mean | deviation]: the columns of the frame
 * and those of the two statistics, which are the same for all frames, become two matrices.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

enum { MELS = 80, SCALE = 8, BLOCKS = 3, WIDEST = 16384 };

typedef struct names {
    const char *family, *prefix;
    const char *first, *first_bn;
    const char *tdnn1, *tdnn1_bn, *res, *res_bn, *tdnn2, *tdnn2_bn, *se1, *se2; /* of block %d; res also of chunk %d */
    const char *mfa, *mfa_bn;                                                   /* mfa_bn NULL: none */
    const char *context, *context_bn, *attention, *pooled_bn, *last, *last_bn;  /* last_bn NULL: none */
} names;

static const names tables[] = {
    {"speechbrain", "", "blocks.0.conv.conv", "blocks.0.norm.norm", "blocks.%d.tdnn1.conv.conv", "blocks.%d.tdnn1.norm.norm",
     "blocks.%d.res2net_block.blocks.%d.conv.conv", "blocks.%d.res2net_block.blocks.%d.norm.norm", "blocks.%d.tdnn2.conv.conv",
     "blocks.%d.tdnn2.norm.norm", "blocks.%d.se_block.conv1.conv", "blocks.%d.se_block.conv2.conv", "mfa.conv.conv",
     "mfa.norm.norm", "asp.tdnn.conv.conv", "asp.tdnn.norm.norm", "asp.conv.conv", "asp_bn.norm", "fc.conv", NULL},
    {"taoruijie", "speaker_encoder.", "conv1", "bn1", "layer%d.conv1", "layer%d.bn1", "layer%d.convs.%d", "layer%d.bns.%d",
     "layer%d.conv3", "layer%d.bn3", "layer%d.se.se.1", "layer%d.se.se.3", "layer4", NULL, "attention.0", "attention.2",
     "attention.4", "bn5", "fc6", "bn6"},
};

typedef struct model {
    es_build *b;
    const names *n;
    double scale[WIDEST], shift[WIDEST];
} model;

static const names *find_names(const es_source *s)
{
    if (es_source_find(s, "blocks.0.conv.conv.weight") && es_source_find(s, "asp.tdnn.conv.conv.weight")) return &tables[0];
    return es_source_find(s, "speaker_encoder.layer4.weight") ? &tables[1] : NULL;
}

bool es_ecapa_is(const es_source *s)
{
    return find_names(s) != NULL;
}

/* Names with up to two numbers in them, with the prefix of the family before them. */
static void spell(const model *m, char out[128], const char *format, int block, int chunk)
{
    size_t n = (size_t)snprintf(out, 128, "%s", m->n->prefix);

    snprintf(out + n, 128 - n, format, block, chunk);
}

static void product(model *m, const char *to, const char *from, int64_t O, int64_t I, int64_t K)
{
    const es_src_tensor *w = es_build_take(m->b, 3, SHAPE(O, I, K), "%s.weight", from);
    const es_src_tensor *bias = es_build_take(m->b, 1, SHAPE(O), "%s.bias", from);

    es_build_put_folded(m->b, to, w, bias, NULL, NULL);
}

/* scale and shift of the norm behind a relu; ones and zeros where there is none. */
static void after(model *m, const char *to, const char *bn, int64_t n)
{
    float *v;
    char name[96];

    if (!m->b->rc && n > WIDEST) es_build_fail(m->b, "%s is %lld wide, at most %d are known", to, (long long)n, (int)WIDEST);
    if (m->b->rc || (bn && !es_build_batchnorm(m->b, bn, n, 1e-5, m->scale, m->shift))) return;
    v = malloc((size_t)n * sizeof *v);
    if (!v) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    for (int k = 0; k < 2 && v; k++) {
        for (int64_t i = 0; i < n; i++) v[i] = !bn ? (float)!k : (float)(k ? m->shift[i] : m->scale[i]);
        snprintf(name, sizeof name, "%s.%s", to, k ? "shift" : "scale");
        es_build_put_values(m->b, name, v, 1, SHAPE(n));
    }
    free(v);
}

static void tdnn(model *m, const char *to, const char *conv, const char *bn, int block, int chunk, int64_t O, int64_t I,
                 int64_t K)
{
    char from[128], norm[128];

    spell(m, from, conv, block, chunk);
    product(m, to, from, O, I, K);
    if (bn) spell(m, norm, bn, block, chunk);
    after(m, to, bn ? norm : NULL, O);
}

static void block(model *m, int i, int64_t channels, int64_t squeeze)
{
    char to[64], from[128];

    snprintf(to, sizeof to, "blocks.%d.tdnn1", i);
    tdnn(m, to, m->n->tdnn1, m->n->tdnn1_bn, i + 1, 0, channels, channels, 1);
    for (int k = 0; k < SCALE - 1; k++) {
        snprintf(to, sizeof to, "blocks.%d.res.%d", i, k);
        tdnn(m, to, m->n->res, m->n->res_bn, i + 1, k, channels / SCALE, channels / SCALE, 3);
    }
    snprintf(to, sizeof to, "blocks.%d.tdnn2", i);
    tdnn(m, to, m->n->tdnn2, m->n->tdnn2_bn, i + 1, 0, channels, channels, 1);
    snprintf(to, sizeof to, "blocks.%d.se1", i);
    spell(m, from, m->n->se1, i + 1, 0);
    product(m, to, from, squeeze, channels, 1);
    snprintf(to, sizeof to, "blocks.%d.se2", i);
    spell(m, from, m->n->se2, i + 1, 0);
    product(m, to, from, channels, squeeze, 1);
}

/* [a, 3 wide] as frame [a, wide] and global [a, 2 wide]; bias and norm stand with the former. */
static void context(model *m, int64_t a, int64_t wide)
{
    char from[128], norm[128];
    const es_src_tensor *w, *bias;

    spell(m, from, m->n->context, 0, 0);
    spell(m, norm, m->n->context_bn, 0, 0);
    w = es_build_take(m->b, 3, SHAPE(a, 3 * wide, 1), "%s.weight", from);
    bias = es_build_take(m->b, 1, SHAPE(a), "%s.bias", from);
    if (m->b->rc) return;
    for (int k = 0; k < 2; k++) {
        int64_t n = k ? 2 * wide : wide;
        es_pack_add(m->b->pack, k ? "context.global.weight" : "context.frame.weight", es_build_matrix_dtype(m->b, &w, 1), 2,
                    SHAPE(a, n));
        for (int64_t o = 0; o < a; o++) es_pack_rows(m->b->pack, w, (size_t)(o * 3 * wide + (k ? wide : 0)), (size_t)n);
    }
    es_build_put(m->b, "context.bias", ES_F32, 1, SHAPE(a), &bias, 1, ES_ORDER_PLAIN);
    after(m, "context", norm, a);
}

/* W (s p + t) + b, and behind it perhaps another norm: one product. */
static void last(model *m, int64_t embedding, int64_t n)
{
    char from[128], norm[128];
    const es_src_tensor *w, *bias;
    double *s = calloc((size_t)n, sizeof *s), *t = calloc((size_t)n, sizeof *t);
    float *row = calloc((size_t)n, sizeof *row), *add = calloc((size_t)embedding + 1, sizeof *add);

    spell(m, from, m->n->last, 0, 0);
    w = es_build_take(m->b, 3, SHAPE(embedding, n, 1), "%s.weight", from);
    bias = es_build_take(m->b, 1, SHAPE(embedding), "%s.bias", from);
    if (!m->b->rc && (!s || !t || !row || !add)) m->b->rc = es_fail(m->b->err, ES_ENOMEM, "%s: out of memory", m->b->source->path);
    spell(m, norm, m->n->pooled_bn, 0, 0);
    if (!m->b->rc) es_build_batchnorm(m->b, norm, n, 1e-5, s, t);
    for (int64_t o = 0; o < embedding && !m->b->rc; o++) m->scale[o] = 1, m->shift[o] = 0;
    if (!m->b->rc && m->n->last_bn) {
        spell(m, norm, m->n->last_bn, 0, 0);
        es_build_batchnorm(m->b, norm, embedding, 1e-5, m->scale, m->shift);
    }
    if (!m->b->rc) es_pack_add(m->b->pack, "embedding.weight", es_build_matrix_dtype(m->b, &w, 1), 2, SHAPE(embedding, n));
    for (int64_t o = 0; o < embedding && !m->b->rc; o++) {
        float b0;
        double sum = 0;
        es_source_read(w, (size_t)(o * n), (size_t)n, row);
        es_source_read(bias, (size_t)o, 1, &b0);
        for (int64_t i = 0; i < n; i++) {
            sum += (double)row[i] * t[i];
            row[i] = (float)((double)row[i] * s[i] * m->scale[o]);
        }
        es_pack_values(m->b->pack, row, (size_t)n);
        add[o] = (float)((sum + (double)b0) * m->scale[o] + m->shift[o]);
    }
    if (!m->b->rc) es_build_put_values(m->b, "embedding.bias", add, 1, SHAPE(embedding));
    free(s);
    free(t);
    free(row);
    free(add);
}

/* Rows of a product of a family's name, 0 once the build has failed. */
static int64_t rows(model *m, const char *format, int blk)
{
    char from[128];
    const es_src_tensor *t;

    spell(m, from, format, blk, 0);
    t = es_build_take(m->b, 2, SHAPE(-1, -1), "%s.weight", from);
    return t ? t->dim[0] : 0;
}

void es_ecapa_build(es_build *b)
{
    model *m = calloc(1, sizeof *m);
    int64_t channels, squeeze, wide, a, embedding;
    const es_src_tensor *t;
    char config[256], from[128];

    if (!m) {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
        return;
    }
    m->b = b;
    m->n = find_names(b->source);
    spell(m, from, m->n->first, 0, 0);
    t = es_build_take(b, 3, SHAPE(-1, MELS, 5), "%s.weight", from);
    channels = t ? t->dim[0] : 0;
    squeeze = rows(m, m->n->se1, 1);
    wide = rows(m, m->n->mfa, 0);
    a = rows(m, m->n->context, 0);
    embedding = rows(m, m->n->last, 0);
    if (!b->rc && (channels % SCALE || channels > WIDEST || 2 * wide > WIDEST || embedding > WIDEST || a > WIDEST)) {
        es_build_fail(b, "%lld channels and %lld at the end are no sizes that are known", (long long)channels, (long long)wide);
    }
    snprintf(config, sizeof config,
             "{\"family\":\"%s\",\"n_mels\":%d,\"channels\":%d,\"scale\":%d,\"squeeze\":%d,\"wide\":%d,\"attention\":%d,"
             "\"embedding\":%d}",
             m->n->family, MELS, (int)channels, SCALE, (int)squeeze, (int)wide, (int)a, (int)embedding);
    es_build_meta(b, "ecapa", config, "1");
    snprintf(b->report->sizes, sizeof b->report->sizes, "%s's, %d mel bands, %d channels, vectors of %d", m->n->family, MELS,
             (int)channels, (int)embedding);
    tdnn(m, "first", m->n->first, m->n->first_bn, 0, 0, channels, MELS, 5);
    for (int i = 0; i < BLOCKS && !b->rc; i++) block(m, i, channels, squeeze);
    tdnn(m, "mfa", m->n->mfa, m->n->mfa_bn, 0, 0, wide, BLOCKS * channels, 1);
    context(m, a, wide);
    spell(m, from, m->n->attention, 0, 0);
    product(m, "attention", from, wide, a, 1);
    if (!b->rc) last(m, embedding, 2 * wide);
    /* TaoRuijie's front end and training classifier; earshot computes the former. */
    es_build_skip(b, "speaker_encoder.torchfbank.0.flipped_filter");
    es_build_skip(b, "speaker_encoder.torchfbank.1.spectrogram.window");
    es_build_skip(b, "speaker_encoder.torchfbank.1.mel_scale.fb");
    es_build_skip(b, "speaker_loss.weight");
    es_build_leftover(b);
    free(m);
}
