/*
 * test_models_convert.c - the converters of the speaker and text networks: every fold and reordering, against the formulas
 * of weights/FORMAT.md applied to the source's own numbers.
 */
#define _GNU_SOURCE
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "runtime/weights.h"
#include "weights/convert/convert.h"
#include "weights/convert/number.h"

static char notes[1024];

static void note(void *user, const char *sentence)
{
    (void)user;
    snprintf(notes, sizeof notes, "%s", sentence);
}

/* A pack of `source` in the test's folder; NULL with a failure of the test. */
static es_weights *converted(const char *source, es_convert_dtype dtype, es_convert_report *rep)
{
    char pack[4096];
    es_err err = {0};
    es_weights *w = NULL;

    snprintf(pack, sizeof pack, "%s/x.pack", es_test_folder());
    es_convert_options o = {.source = source, .output = pack, .dtype = dtype, .note = note};
    CHECK(!es_convert(&o, rep, &err), "%s", err.text);
    if (!err.text[0]) CHECK(!es_pack_open(&w, pack, &err) && !es_pack_verify(w, &err), "%s", err.text);
    return w;
}

static es_weights *source_of(const char *path)
{
    es_err err = {0};
    es_weights *w = NULL;

    CHECK(path && !es_weights_open(&w, path, &err), "%s", err.text);
    return w;
}

static float at(const es_weight *w, size_t i)
{
    float f;
    uint16_t h;

    if (w->dtype == ES_F32) {
        memcpy(&f, (const char *)w->p + 4 * i, 4);
        return f;
    }
    memcpy(&h, (const char *)w->p + 2 * i, 2);
    return w->dtype == ES_F16 ? es_number_from_f16(h) : es_number_from_bf16(h);
}

static const es_weight *need(const es_weights *w, const char *name)
{
    static const es_weight none;
    const es_weight *t = es_weights_find(w, name);

    CHECK(t, "%s: %s is missing", es_weights_path(w), name);
    return t ? t : &none;
}

/* The tensors of `parts` ('|' between them) one below the other are `name`, bit for bit. */
static void stacked(const es_weights *pack, const char *name, const es_weights *source, const char *parts)
{
    const es_weight *t = need(pack, name);
    char copy[512];
    size_t from = 0;

    snprintf(copy, sizeof copy, "%s", parts);
    for (char *s, *p = strtok_r(copy, "|", &s); p; p = strtok_r(NULL, "|", &s)) {
        const es_weight *part = need(source, p);
        bool same = from + part->bytes <= t->bytes && t->dtype == part->dtype;
        CHECK(same && !memcmp((const char *)t->p + from, part->p, part->bytes), "%s does not hold %s at %zu", name, p, from);
        from += part->bytes;
    }
    CHECK(from == t->bytes, "%s has %zu bytes, %zu expected", name, t->bytes, from);
}

/* name[o] = w[o] * scale and its bias, of a convolution [O, C, K] followed by a norm; taps outermost in the pack. */
static void folded(const es_weights *pack, const char *name, const es_weights *source, const char *conv, const char *bn, int C, int K)
{
    char text[160];
    const es_weight *w, *b, *from, *g[4];
    static const char *const ends[] = {"weight", "bias", "running_mean", "running_var"};
    size_t bad = 0;

    snprintf(text, sizeof text, "%s.weight", name);
    w = need(pack, text);
    snprintf(text, sizeof text, "%s.bias", name);
    b = need(pack, text);
    snprintf(text, sizeof text, "%s.weight", conv);
    from = need(source, text);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%s.%s", bn, ends[i]);
        g[i] = es_weights_find(source, text);
    }
    if (!w->p || !b->p || !from->p || !g[2] || !g[3]) return;
    CHECK_INT(w->dim[1], C * K);
    for (int64_t o = 0; o < w->dim[0]; o++) {
        double s = (g[0] ? (double)at(g[0], (size_t)o) : 1) / sqrt((double)at(g[3], (size_t)o) + 1e-5);
        double shift = (g[1] ? (double)at(g[1], (size_t)o) : 0) - (double)at(g[2], (size_t)o) * s;
        for (int k = 0; k < K; k++) {
            for (int c = 0; c < C; c++) {
                double want = (double)at(from, (size_t)((o * C + c) * K + k)) * s;
                bad += fabs((double)at(w, (size_t)(o * C * K + k * C + c)) - want) > 1e-7 * fabs(want) + 1e-12;
            }
        }
        bad += fabs((double)at(b, (size_t)o) - shift) > 1e-6 * fabs(shift) + 1e-9;
    }
    CHECK(!bad, "%s: %zu values are not those of %s folded with %s", name, bad, conv, bn);
}

/* ---- PyanNet ---- */

/* Filters by the closed form, here in long double, and what the published file is known to begin with. */
static void pyannet(void)
{
    const char *path = es_test_data("models/pyannote-segmentation-3.0/model.safetensors");
    es_convert_report rep;
    es_weights *s, *w;
    size_t bad = 0;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/pyannote-segmentation-3.0");
        return;
    }
    s = source_of(path);
    w = converted(path, ES_CONVERT_KEEP, &rep);
    if (!s || !w) goto out;
    CHECK_STR(es_pack_architecture(w), "pyannet");
    const es_weight *low = need(s, "sincnet.conv1d.0.filterbank.low_hz_"), *band = need(s, "sincnet.conv1d.0.filterbank.band_hz_");
    const es_weight *f = need(w, "sinc.weight");
    CHECK(fabs((double)at(low, 0) - 36.944653) < 1e-5 && fabs((double)at(band, 3) - 60.934536) < 1e-5, "not the published file");
    const long double pi = 3.14159265358979323846264338327950288L;
    for (int i = 0; i < 40; i++) {
        long double f1 = 50 + fabsl((long double)at(low, (size_t)i)), f2 = f1 + 50 + fabsl((long double)at(band, (size_t)i));
        if (f2 > 8000) f2 = 8000;
        for (int k = 0; k < 251; k++) {
            long double t = (k - 125) / 16000.0L, window = 0.54L - 0.46L * cosl(2 * pi * (125 - abs(k - 125)) / 250);
            long double even = k == 125 ? 1 : window * (sinl(2 * pi * f2 * t) - sinl(2 * pi * f1 * t)) / (2 * pi * (f2 - f1) * t);
            long double odd = k == 125 ? 0 : window * (cosl(2 * pi * f1 * t) - cosl(2 * pi * f2 * t)) / (2 * pi * (f2 - f1) * t);
            bad += fabs((double)at(f, (size_t)(i * 251 + k)) - (double)even) > 6e-8;
            bad += fabs((double)at(f, (size_t)((40 + i) * 251 + k)) - (double)odd) > 6e-8;
        }
    }
    CHECK(!bad, "%zu taps of the sinc filters differ", bad);
    stacked(w, "lstm.2.input.weight", s, "lstm.weight_ih_l2|lstm.weight_ih_l2_reverse");
    stacked(w, "lstm.0.recurrent.weight", s, "lstm.weight_hh_l0|lstm.weight_hh_l0_reverse");
    stacked(w, "classifier.bias", s, "classifier.bias");
    stacked(w, "wave_norm.weight", s, "sincnet.wav_norm1d.weight");
    const es_weight *sum = need(w, "lstm.3.bias");
    for (size_t i = 0; i < 1024; i++) {
        const char *end = i < 512 ? "" : "_reverse";
        char a[64], b[64];
        snprintf(a, sizeof a, "lstm.bias_ih_l3%s", end);
        snprintf(b, sizeof b, "lstm.bias_hh_l3%s", end);
        if (i % 512) continue;
        for (size_t k = 0; k < 512; k++) bad += at(sum, i + k) != at(need(s, a), k) + at(need(s, b), k);
    }
    const es_weight *conv = need(w, "conv1.weight"), *from = need(s, "sincnet.conv1d.1.weight");
    for (size_t i = 0; i < 60 * 400; i++) bad += at(conv, i) != at(from, i / 400 * 400 + i % 80 * 5 + i % 400 / 80);
    CHECK(!bad, "%zu values of the recurrent biases or the convolution differ", bad);
out:
    es_weights_close(s);
    es_weights_close(w);
}

/* ---- CAM++ ---- */

static void campplus(void)
{
    const char *path = es_test_data("models/campplus/model.safetensors");
    es_convert_report rep;
    es_weights *s, *w;
    size_t bad = 0;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/campplus");
        return;
    }
    s = source_of(path);
    w = converted(path, ES_CONVERT_KEEP, &rep);
    if (!s || !w) goto out;
    folded(w, "head.conv1", s, "head.conv1", "head.bn1", 1, 9);
    folded(w, "head.1.0.conv2", s, "head.layer2.0.conv2", "head.layer2.0.bn2", 32, 9);
    folded(w, "head.1.0.shortcut", s, "head.layer2.0.shortcut.0", "head.layer2.0.shortcut.1", 32, 1);
    folded(w, "blocks.1.23.bottleneck", s, "xvector.block2.tdnnd24.linear1", "xvector.block2.tdnnd24.nonlinear2.batchnorm",
           256 + 23 * 32, 1);
    folded(w, "transit.2", s, "xvector.transit3.linear", "xvector.out_nonlinear.batchnorm", 1024, 1);
    folded(w, "dense", s, "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm", 1024, 1);
    stacked(w, "blocks.0.0.gate.bias", s, "xvector.block1.tdnnd1.cam_layer.linear2.bias");
    stacked(w, "blocks.2.15.context.weight", s, "xvector.block3.tdnnd16.cam_layer.linear1.weight");
    /* The first 1-D layer: frequency, then channel, behind each tap. */
    const es_weight *tdnn = need(w, "tdnn.weight"), *from = need(s, "xvector.tdnn.linear.weight");
    const es_weight *gamma = need(s, "xvector.tdnn.nonlinear.batchnorm.weight"),
                    *var = need(s, "xvector.tdnn.nonlinear.batchnorm.running_var");
    for (size_t o = 0; o < 128; o++) {
        double scale = (double)at(gamma, o) / sqrt((double)at(var, o) + 1e-5);
        for (size_t i = 0; i < 1600; i++) {
            size_t k = i / 320, f = i % 320 / 32, c = i % 32;
            double want = (double)at(from, o * 1600 + (c * 10 + f) * 5 + k) * scale;
            bad += fabs((double)at(tdnn, o * 1600 + i) - want) > 1e-7 * fabs(want) + 1e-12;
        }
    }
    CHECK(!bad, "tdnn.weight: %zu values differ", bad);
    const es_weight *scale = need(w, "transit.0.norm.scale"), *g = need(s, "xvector.transit1.nonlinear.batchnorm.weight"),
                    *v = need(s, "xvector.transit1.nonlinear.batchnorm.running_var");
    for (size_t i = 0; i < 512; i++) {
        double want = (double)at(g, i) / sqrt((double)at(v, i) + 1e-5);
        bad += fabs((double)at(scale, i) - want) > 1e-6 * fabs(want);
    }
    CHECK(!bad, "transit.0.norm.scale: %zu values differ", bad);
out:
    es_weights_close(s);
    es_weights_close(w);
}

/* ---- ResNet34 ---- */

static void resnet34(void)
{
    const char *path = es_test_data("goldens/speakers/resnet34_random/model.safetensors");
    es_convert_report rep;
    es_weights *s, *w;
    size_t bad = 0;

    if (!path) {
        es_test_skip("ES_TEST_DATA: goldens/speakers/resnet34_random");
        return;
    }
    s = source_of(path);
    w = converted(path, ES_CONVERT_KEEP, &rep);
    if (!s || !w) goto out;
    const char *p = es_weights_find(s, "resnet.conv1.weight") ? "resnet." : "";
    char conv[96], bn[96];
    snprintf(conv, sizeof conv, "%sconv1", p), snprintf(bn, sizeof bn, "%sbn1", p);
    folded(w, "conv1", s, conv, bn, 1, 9);
    snprintf(conv, sizeof conv, "%slayer3.0.conv1", p), snprintf(bn, sizeof bn, "%slayer3.0.bn1", p);
    folded(w, "layers.2.0.conv1", s, conv, bn, 16, 9);
    snprintf(conv, sizeof conv, "%slayer4.0.shortcut.0", p), snprintf(bn, sizeof bn, "%slayer4.0.shortcut.1", p);
    folded(w, "layers.3.0.shortcut", s, conv, bn, 32, 1);
    snprintf(conv, sizeof conv, "%sseg_1.weight", p);
    const es_weight *head = need(w, "head.weight"), *from = need(s, conv);
    for (size_t i = 0; head->p && from->p && i < 32 * 1280; i++) {
        size_t half = i % 1280 / 640, f = i % 640 / 64, c = i % 64;
        bad += at(head, i) != at(from, i / 1280 * 1280 + half * 640 + c * 10 + f);
    }
    CHECK(!bad, "head.weight: %zu values differ", bad);
out:
    es_weights_close(s);
    es_weights_close(w);
}

/* ---- ECAPA ---- */

static void ecapa(void)
{
    const char *path = es_test_data("goldens/speakers/ecapa_random/embedding_model.safetensors");
    es_convert_report rep;
    es_weights *s, *w;
    size_t bad = 0;

    if (!path) {
        es_test_skip("ES_TEST_DATA: goldens/speakers/ecapa_random");
        return;
    }
    s = source_of(path);
    w = converted(path, ES_CONVERT_KEEP, &rep);
    if (!s || !w) goto out;
    stacked(w, "blocks.1.tdnn2.weight", s, "blocks.2.tdnn2.conv.conv.weight");
    stacked(w, "blocks.2.se2.bias", s, "blocks.3.se_block.conv2.conv.bias");
    stacked(w, "attention.weight", s, "asp.conv.conv.weight");
    const es_weight *res = need(w, "blocks.0.res.6.weight"), *conv = need(s, "blocks.1.res2net_block.blocks.6.conv.conv.weight");
    for (size_t i = 0; i < 8 * 24; i++) bad += at(res, i) != at(conv, i / 24 * 24 + i % 8 * 3 + i % 24 / 8);
    const es_weight *frame = need(w, "context.frame.weight"), *global = need(w, "context.global.weight"),
                    *all = need(s, "asp.tdnn.conv.conv.weight");
    for (size_t i = 0; i < 32 * 576; i++) {
        size_t o = i / 576, c = i % 576;
        bad += at(all, i) != (c < 192 ? at(frame, o * 192 + c) : at(global, o * 384 + c - 192));
    }
    CHECK(!bad, "%zu values of a chunk or of the context differ", bad);
    /* The norm before the last product, folded forward: the same vector out of some pooled one. */
    const es_weight *g = need(s, "asp_bn.norm.weight"), *b = need(s, "asp_bn.norm.bias"), *mean = need(s, "asp_bn.norm.running_mean"),
                    *var = need(s, "asp_bn.norm.running_var"), *fc = need(s, "fc.conv.weight"), *fb = need(s, "fc.conv.bias");
    const es_weight *e = need(w, "embedding.weight"), *eb = need(w, "embedding.bias");
    for (size_t o = 0; o < 48; o++) {
        double want = (double)at(fb, o), have = (double)at(eb, o);
        for (size_t i = 0; i < 384; i++) {
            double p = (double)((i * 37) % 101) / 50 - 1;
            double n = (p - (double)at(mean, i)) / sqrt((double)at(var, i) + 1e-5) * (double)at(g, i) + (double)at(b, i);
            want += (double)at(fc, o * 384 + i) * n;
            have += (double)at(e, o * 384 + i) * p;
        }
        CHECK(fabs(have - want) < 1e-5 * (1 + fabs(want)), "element %zu of the vector is %g, expected %g", o, have, want);
    }
out:
    es_weights_close(s);
    es_weights_close(w);
}

/* ---- text ---- */

static void minilm(void)
{
    const char *path = es_test_data("models/minilm/model.safetensors");
    es_convert_report rep;
    es_weights *s, *w;
    int64_t n = 0;
    bool lower = false;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/minilm");
        return;
    }
    s = source_of(path);
    w = converted(path, ES_CONVERT_KEEP, &rep);
    if (!s || !w) goto out;
    const es_json_node *config = es_pack_config(w);
    CHECK(es_json_int(es_json_get(config, "max_tokens"), 0, 9999, &n) && n == 256, "max_tokens is %lld", (long long)n);
    CHECK(es_json_int(es_json_get(config, "cls"), 0, 99999, &n) && n == 101, "cls is %lld", (long long)n);
    CHECK(es_json_int(es_json_get(config, "heads"), 0, 99, &n) && n == 12, "heads is %lld", (long long)n);
    CHECK(es_json_bool(es_json_get(config, "lowercase"), &lower) && lower, "it is uncased");
    stacked(w, "tokens", s, "embeddings.word_embeddings.weight");
    stacked(w, "layers.4.qkv.weight", s,
            "encoder.layer.4.attention.self.query.weight|encoder.layer.4.attention.self.key.weight|"
            "encoder.layer.4.attention.self.value.weight");
    stacked(w, "layers.4.qkv.bias", s,
            "encoder.layer.4.attention.self.query.bias|encoder.layer.4.attention.self.key.bias|"
            "encoder.layer.4.attention.self.value.bias");
    stacked(w, "layers.0.attn_norm.weight", s, "encoder.layer.0.attention.output.LayerNorm.weight");
    stacked(w, "layers.5.mlp_norm.bias", s, "encoder.layer.5.output.LayerNorm.bias");
    const es_weight *pos = need(w, "positions"), *p = need(s, "embeddings.position_embeddings.weight"),
                    *type = need(s, "embeddings.token_type_embeddings.weight");
    size_t bad = 0;
    for (size_t i = 0; i < 512 * 384; i++) bad += at(pos, i) != at(p, i) + at(type, i % 384);
    CHECK(!bad, "positions: %zu values differ", bad);
    /* Line 7592 of the vocabulary is "hello", 30521 the last. */
    const es_weight *tokens = need(w, "tokenizer.tokens");
    const unsigned char *t = tokens->p, *end = t + tokens->bytes;
    int id = 0;
    for (; t < end; t += 1 + *t, id++) {
        if (id == 7592) CHECK(*t == 5 && !memcmp(t + 1, "hello", 5), "token 7592 is not hello");
    }
    CHECK_INT(id, 30522);
out:
    es_weights_close(s);
    es_weights_close(w);
}

/* A Qwen2 folder of one layer, 4 wide, with as many rows as the tokenizer needs. */
static const char *qwen2_folder(const char *tokenizer, int rows, const char *config)
{
    static char folder[4096];
    char path[8192], *head = NULL;
    size_t n;
    const struct {
        const char *name;
        int O, I;
    } tensors[] = {
        {"model.embed_tokens.weight", rows, 4}, {"model.norm.weight", 4, 0},
        {"model.layers.0.input_layernorm.weight", 4, 0}, {"model.layers.0.post_attention_layernorm.weight", 4, 0},
        {"model.layers.0.self_attn.q_proj.weight", 4, 4}, {"model.layers.0.self_attn.q_proj.bias", 4, 0},
        {"model.layers.0.self_attn.k_proj.weight", 2, 4}, {"model.layers.0.self_attn.k_proj.bias", 2, 0},
        {"model.layers.0.self_attn.v_proj.weight", 2, 4}, {"model.layers.0.self_attn.v_proj.bias", 2, 0},
        {"model.layers.0.self_attn.o_proj.weight", 4, 4}, {"model.layers.0.mlp.gate_proj.weight", 8, 4},
        {"model.layers.0.mlp.up_proj.weight", 8, 4}, {"model.layers.0.mlp.down_proj.weight", 4, 8},
    };
    FILE *out = open_memstream(&head, &n), *f;
    size_t from = 0;

    snprintf(folder, sizeof folder, "%s/qwen2", es_test_folder());
    mkdir(folder, 0777);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        size_t count = (size_t)tensors[i].O * (size_t)(tensors[i].I ? tensors[i].I : 1);
        fprintf(out, "%c\"%s\":{\"dtype\":\"F16\",\"shape\":[%d", i ? ',' : '{', tensors[i].name, tensors[i].O);
        if (tensors[i].I) fprintf(out, ",%d", tensors[i].I);
        fprintf(out, "],\"data_offsets\":[%zu,%zu]}", from, from + 2 * count);
        from += 2 * count;
    }
    fprintf(out, "}");
    fclose(out);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    f = fopen(path, "wb");
    for (int i = 0; i < 8; i++) fputc((int)(n >> (8 * i) & 255), f);
    fwrite(head, 1, n, f);
    for (size_t i = 0; i < from; i += 2) {
        /* Element i / 2 of the file, as a small whole number. */
        uint16_t h = es_number_to_f16((float)(i / 2 % 2000));
        fwrite(&h, 2, 1, f);
    }
    fclose(f);
    free(head);
    snprintf(path, sizeof path, "%s/config.json", folder);
    f = fopen(path, "wb");
    fputs(config, f);
    fclose(f);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    unlink(path);
    if (tokenizer && tokenizer[0] == '/') {
        CHECK(!symlink(tokenizer, path), "no link to %s", tokenizer);
    } else if (tokenizer) {
        f = fopen(path, "wb");
        fputs(tokenizer, f);
        fclose(f);
    }
    return folder;
}

#define QWEN2_CONFIG "{\"num_attention_heads\":2,\"num_key_value_heads\":1,\"rope_theta\":1e6,\"rms_norm_eps\":1e-6"

static void qwen2_refused(const char *folder, const char *word)
{
    char pack[4096];
    es_err err = {0};
    es_convert_report rep;

    snprintf(pack, sizeof pack, "%s/y.pack", es_test_folder());
    es_convert_options o = {.source = folder, .output = pack, .note = note};
    CHECK(es_convert(&o, &rep, &err) && strstr(err.text, word), "\"%s\", without \"%s\"", err.text, word);
}

static void qwen2(void)
{
    es_convert_report rep;
    const char *folder = qwen2_folder(NULL, 300, QWEN2_CONFIG ",\"is_causal\":false}");
    es_weights *w = converted(folder, ES_CONVERT_KEEP, &rep), *s;
    char path[4096];

    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    s = source_of(path);
    if (w && s) {
        CHECK_STR(es_json_string(es_json_get(es_pack_config(w), "attention")), "bidirectional");
        CHECK_STR(es_json_string(es_json_get(es_pack_config(w), "tokenizer")), "none");
        stacked(w, "layers.0.qkv.weight", s,
                "model.layers.0.self_attn.q_proj.weight|model.layers.0.self_attn.k_proj.weight|model.layers.0.self_attn.v_proj.weight");
        stacked(w, "layers.0.qkv.bias", s,
                "model.layers.0.self_attn.q_proj.bias|model.layers.0.self_attn.k_proj.bias|model.layers.0.self_attn.v_proj.bias");
        stacked(w, "layers.0.gate_up.weight", s, "model.layers.0.mlp.gate_proj.weight|model.layers.0.mlp.up_proj.weight");
        stacked(w, "tokens", s, "model.embed_tokens.weight");
    }
    es_weights_close(w);
    es_weights_close(s);
    w = converted(qwen2_folder(NULL, 300, QWEN2_CONFIG ",\"auto_map\":{\"AutoModel\":\"modeling_qwen.Qwen2Model\"}}"), ES_CONVERT_KEEP,
                  &rep);
    if (w) CHECK_STR(es_json_string(es_json_get(es_pack_config(w), "attention")), "bidirectional");
    es_weights_close(w);
    w = converted(qwen2_folder(NULL, 300, QWEN2_CONFIG "}"), ES_CONVERT_KEEP, &rep);
    if (w) CHECK_STR(es_json_string(es_json_get(es_pack_config(w), "attention")), "causal");
    CHECK(strstr(notes, "causal is taken"), "\"%s\" is the last note", notes);
    es_weights_close(w);
    qwen2_refused(qwen2_folder(NULL, 300, "{\"num_attention_heads\":3}"), "does not divide");
    qwen2_refused(qwen2_folder(NULL, 300, QWEN2_CONFIG ",\"vocab_size\":301}"), "\"vocab_size\" is 301, the tensors say 300");
    qwen2_refused(qwen2_folder(NULL, 300, QWEN2_CONFIG ",\"use_sliding_window\":true}"), "sliding window");
    qwen2_refused(qwen2_folder("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", 300, QWEN2_CONFIG "}"), "256 bytes");
    qwen2_refused(qwen2_folder("{\"model\":", 300, QWEN2_CONFIG "}"), "tokenizer.json");
}

/* The published vocabulary passes the proof of its merges; with two ids exchanged it does not. */
static void qwen2_tokenizer(void)
{
    const char *path = es_test_data("models/qwen2-tokenizer/tokenizer.json");
    es_convert_report rep;
    es_weights *w;
    int64_t eos = 0;
    int n = 0;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/qwen2-tokenizer");
        return;
    }
    w = converted(qwen2_folder(path, 151936, QWEN2_CONFIG "}"), ES_CONVERT_KEEP, &rep);
    if (!w) return;
    CHECK(es_json_int(es_json_get(es_pack_config(w), "eos"), 0, 999999, &eos) && eos == 151643, "eos is %lld", (long long)eos);
    const es_weight *tokens = need(w, "tokenizer.tokens"), *added = need(w, "tokenizer.added");
    const unsigned char *p = tokens->p, *end = p ? p + tokens->bytes : NULL;
    for (; p < end; p += 1 + *p, n++) {
        if (n == 198) CHECK(*p == 1 && p[1] == '\n', "token 198 is not a line feed");
        if (n == 1879) CHECK(*p == 6 && !memcmp(p + 1, " world", 6), "token 1879 is not \" world\"");
    }
    CHECK_INT(n, 151643);
    p = added->p;
    CHECK(p && (p[0] | p[1] << 8 | p[2] << 16) == 151643 && p[4] == 13 && !memcmp(p + 5, "<|endoftext|>", 13),
          "the first added token is not <|endoftext|>");
    es_weights_close(w);
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 16 << 20);
    size_t bytes = f ? fread(text, 1, 16 << 20, f) : 0;
    if (f) fclose(f);
    /* " world" is made by merge 1623; naming it 1880 and its neighbour 1879 leaves a vocabulary that is whole, but not in order. */
    char *a = memmem(text, bytes, ": 1879", 6), *b = memmem(text, bytes, ": 1880", 6);
    if (!a) a = memmem(text, bytes, ":1879", 5), b = memmem(text, bytes, ":1880", 5);
    CHECK(a && b, "ids 1879 and 1880 are not in the file");
    if (a && b) {
        char *x = strstr(a, "1879"), *y = strstr(b, "1880");
        memcpy(x, "1880", 4), memcpy(y, "1879", 4);
        qwen2_refused(qwen2_folder(text, 151936, QWEN2_CONFIG "}"), "merges and vocabulary disagree");
    }
    free(text);
}

/* A file that changes between its first and its last reading gives no pack: here when the note about attention is told. */
static void note_and_change(void *user, const char *sentence)
{
    FILE *f = fopen(user, "ab");

    note(NULL, sentence);
    if (f) fputc(0, f), fclose(f);
}

static void changed_while_read(void)
{
    const char *folder = qwen2_folder(NULL, 300, QWEN2_CONFIG "}");
    char pack[4096], weights[8192];
    es_convert_report rep;
    es_err err = {0};

    snprintf(pack, sizeof pack, "%s/changed.pack", es_test_folder());
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    es_convert_options o = {.source = folder, .output = pack, .note = note_and_change, .user = weights};
    CHECK(es_convert(&o, &rep, &err) == ES_EIO && strstr(err.text, "was changed while it was read"), "\"%s\"", err.text);
    CHECK(access(pack, F_OK) != 0, "a pack was written");
}

static const es_test tests[] = {
    {"pyannet", pyannet}, {"campplus", campplus}, {"resnet34", resnet34}, {"ecapa", ecapa},
    {"minilm", minilm},   {"qwen2", qwen2},       {"qwen2_tokenizer", qwen2_tokenizer},
    {"changed_while_read", changed_while_read},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
