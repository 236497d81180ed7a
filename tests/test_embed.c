/*
 * test_embed.c - text encoders: WordPiece and MiniLM on the published weights, Qwen2 on seeded ones, against transformers'
 * ids, activations and vectors; the same bits alone and together; memory that follows from the plan.
 */
#include "test.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include "base/json.h"
#include "weights/convert/convert.h"
#include "models/embedder.h"
#include "text/wordpiece.h"

typedef struct rig {
    es_weights *w;
    es_embedder_dims dims;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_embedder *m;
    es_err err;
} rig;

static void rig_close(rig *g)
{
    es_embedder_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->w);
    *g = (rig){0};
}

static bool rig_open(rig *g, const char *pack, es_embedder_limits limits, int threads, uint64_t budget)
{
    es_fault fault = {0};
    int rc;

    *g = (rig){0};
    rc = es_pack_open(&g->w, pack, &g->err);
    if (!rc) rc = es_embedder_dims_read(&g->dims, g->w, &g->err);
    if (!rc) rc = es_plan_open(&g->p, ES_CPU, threads, &g->err);
    if (!rc) rc = es_embedder_plan(&g->m, g->p, "embedder", g->w, &g->dims, limits, &g->err);
    if (!rc) rc = es_plan_finish(g->p, budget, &g->err);
    if (!rc && es_device_open(&g->d, ES_CPU, 0, threads, NULL, &fault)) rc = es_fail(&g->err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &g->err);
    if (!rc) rc = es_arena_load(g->a, &g->err);
    if (!rc) es_embedder_start(g->m, g->a);
    if (rc) {
        es_test_fail(__FILE__, __LINE__, "%s: %s", pack, g->err.text);
        rig_close(g);
    }
    return rc == ES_OK;
}

/* Converts a folder into this test's own; NULL after a failure. */
static const char *pack_of(const char *folder, const char *name, const char *attention)
{
    static char path[4096];
    es_convert_report rep;
    es_err err = {0};

    snprintf(path, sizeof path, "%s/%s.pack", es_test_folder(), name);
    es_convert_options o = {.source = folder, .output = path, .name = name, .attention = attention};
    int rc = es_convert(&o, &rep, &err);
    CHECK(rc == ES_OK, "%s: %s", folder, err.text);
    return rc ? NULL : path;
}

static double cosine(const float *a, const double *b, int n)
{
    double ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < n; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * (double)a[i], bb += b[i] * b[i];
    return ab / sqrt(aa * bb);
}

/* ---- MiniLM ---- */

enum { MOST = 512 };

static void minilm(void)
{
    const char *folder = es_test_data("models/minilm"), *golden = es_test_data("goldens/text/minilm.json"), *pack;
    const char *vectors = es_test_data("goldens/text/minilm_vectors_fp16_weights.npy");
    es_json *j = NULL;
    es_wordpiece *t = NULL;
    rig g = {0};
    int dims_n;
    size_t dims[4];
    static int32_t tokens[64 * MOST];
    int64_t bounds[65] = {0};
    int n = 0;

    if (!folder || !golden || !vectors) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return;
    }
    double *want = es_test_npy(vectors, &dims_n, dims);
    if (!(pack = pack_of(folder, "minilm", NULL)) || !rig_open(&g, pack, (es_embedder_limits){.tokens = 512, .texts = 16}, 2, 0))
        goto out;
    CHECK_INT(g.dims.longest, 256);
    const es_weight *table = es_weights_find(g.w, "tokenizer.tokens");
    CHECK(table && es_wordpiece_open(&t, table->p, table->bytes, &g.err) == ES_OK, "%s", g.err.text);
    CHECK(es_json_read(&j, golden, 1 << 24, &g.err) == ES_OK, "%s", g.err.text);
    if (!t || !j) goto out;
    CHECK_INT(es_wordpiece_count(t), 30522);
    for (const es_json_node *e = es_json_first(es_json_get(es_json_root(j), "texts")); e && n < 64; e = es_json_next(e), n++) {
        /* One text holds a NUL, which a C string of the JSON reader cannot. */
        static const char with_nul[] = "tab\tnewline\ncarriage\r\nnull\0zero\u200bwidth\u00adsoft\ufeff"
                                       "bom\ufffd"
                                       "end";
        const char *text = es_json_string(es_json_get(e, "text"));
        size_t length = strlen(text);
        if (!strncmp(text, with_nul, length) && length < sizeof with_nul - 1 && length > 20) {
            text = with_nul;
            length = sizeof with_nul - 1;
        }
        const es_json_node *ids = es_json_get(e, "ids"), *id = es_json_first(ids);
        int32_t *to = tokens + bounds[n];
        size_t k = es_wordpiece_encode(t, text, length, true, to + 1, MOST - 2);
        if (k > 254) k = 254;
        to[0] = es_wordpiece_first(t);
        to[k + 1] = es_wordpiece_last(t);
        bounds[n + 1] = bounds[n] + (int64_t)k + 2;
        CHECK_INT(k + 2, es_json_count(ids));
        for (size_t i = 0; id && i < k + 2; i++, id = es_json_next(id)) {
            int64_t v = -1;
            es_json_int(id, 0, 1 << 20, &v);
            if (v != to[i]) es_test_fail(__FILE__, __LINE__, "text %d, token %zu: %d, expected %lld", n, i, to[i], (long long)v);
        }
    }
    CHECK_INT(n, 40);
    CHECK(want && dims[0] == 40 && dims[1] == 384, "%s has another shape", vectors);
    static float have[64 * 384], alone[384];
    int64_t steps;
    CHECK(es_embedder_run(g.m, tokens, bounds, n, have, &steps, &g.err) == ES_OK, "%s", g.err.text);
    double worst = 1, largest = 0;
    for (int i = 0; i < n && want; i++) {
        double c = cosine(have + i * 384, want + i * 384, 384);
        worst = c < worst ? c : worst;
        for (int k = 0; k < 384; k++) largest = fmax(largest, fabs((double)have[i * 384 + k] - want[i * 384 + k]));
        /* The same text by itself, to the last bit. */
        int64_t one[2] = {0, bounds[i + 1] - bounds[i]};
        CHECK(es_embedder_run(g.m, tokens + bounds[i], one, 1, alone, NULL, &g.err) == ES_OK, "%s", g.err.text);
        CHECK(!memcmp(alone, have + i * 384, sizeof alone), "text %d has other bits alone", i);
    }
    printf("    minilm: worst cosine 1 - %.3g, coordinate %.3g, %lld steps\n", 1 - worst, largest, (long long)steps);
    CHECK(worst >= 1 - 1e-7 && largest <= 1e-6, "worst cosine 1 - %.3g, coordinate %.3g", 1 - worst, largest);
out:
    free(want);
    es_json_close(j);
    es_wordpiece_close(t);
    rig_close(&g);
}

/* ---- Qwen2, seeded by a formula ---- */

typedef struct shape {
    const char *name;
    int d, layers, heads, kv, mlp, vocab;
} shape;

static const shape shapes[3] = {{"a", 128, 3, 4, 2, 352, 512}, {"b", 1536, 1, 12, 2, 512, 256}, {"c", 1536, 2, 12, 2, 512, 256}};
static const int lengths[5] = {1, 2, 7, 64, 300};
enum { SEED = 1 };

static int64_t formula(uint64_t t, uint64_t i)
{
    uint64_t z = SEED * 0x9E3779B97F4A7C15u + t * 0xD1B54A32D192ED03u + i + 0x9E3779B97F4A7C15u;

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (int64_t)(z >> 33);
}

typedef struct writer {
    FILE *f;
    char head[1 << 14];
    size_t n, at;
    struct {
        size_t count;
        int shift; /* -1: a norm */
    } tensor[64];
    int n_tensors;
} writer;

static void tensor(writer *w, const char *name, int rows, int cols, int shift)
{
    size_t count = (size_t)rows * (size_t)(cols ? cols : 1);

    w->n += (size_t)snprintf(w->head + w->n, sizeof w->head - w->n, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%d", w->n > 1 ? "," : "",
                             name, rows);
    if (cols) w->n += (size_t)snprintf(w->head + w->n, sizeof w->head - w->n, ",%d", cols);
    w->n += (size_t)snprintf(w->head + w->n, sizeof w->head - w->n, "],\"data_offsets\":[%zu,%zu]}", w->at, w->at + 2 * count);
    w->at += 2 * count;
    w->tensor[w->n_tensors].count = count;
    w->tensor[w->n_tensors++].shift = shift;
}

/* A checkpoint folder as the recipe describes it. */
static bool checkpoint(const char *folder, const shape *s)
{
    static writer w;
    int big = s->d < 512 ? 0 : 1, kv = s->d / s->heads * s->kv;
    char path[4096], name[128];
    const char *config = es_test_data(!strcmp(s->name, "a")   ? "goldens/text/qwen2_random/a.config.json"
                                      : !strcmp(s->name, "b") ? "goldens/text/qwen2_random/b.config.json"
                                                              : "goldens/text/qwen2_random/c.config.json");
    FILE *in = config ? fopen(config, "rb") : NULL;

    memset(&w, 0, sizeof w);
    mkdir(folder, 0700);
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *out = fopen(path, "wb");
    for (int c; in && out && (c = getc(in)) != EOF;) putc(c, out);
    if (in) fclose(in);
    if (out) fclose(out);
    w.head[w.n++] = '{';
    tensor(&w, "model.embed_tokens.weight", s->vocab, s->d, 6);
    for (int i = 0; i < s->layers; i++) {
        const struct {
            const char *name;
            int rows, cols, shift;
        } parts[] = {
            {"input_layernorm.weight", s->d, 0, -1},
            {"self_attn.q_proj.weight", s->d, s->d, 9 + 2 * big},
            {"self_attn.q_proj.bias", s->d, 0, 7},
            {"self_attn.k_proj.weight", kv, s->d, 9 + 2 * big},
            {"self_attn.k_proj.bias", kv, 0, 7},
            {"self_attn.v_proj.weight", kv, s->d, 10 + 2 * big},
            {"self_attn.v_proj.bias", kv, 0, 7},
            {"self_attn.o_proj.weight", s->d, s->d, 10 + 2 * big},
            {"post_attention_layernorm.weight", s->d, 0, -1},
            {"mlp.gate_proj.weight", s->mlp, s->d, 10 + 2 * big},
            {"mlp.up_proj.weight", s->mlp, s->d, 10 + 2 * big},
            {"mlp.down_proj.weight", s->d, s->mlp, 10 + big},
        };
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", i, parts[p].name);
            tensor(&w, name, parts[p].rows, parts[p].cols, parts[p].shift);
        }
    }
    tensor(&w, "model.norm.weight", s->d, 0, -1);
    w.head[w.n++] = '}';
    while (w.n % 8) w.head[w.n++] = ' ';
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (!(w.f = fopen(path, "wb"))) return false;
    uint64_t n = w.n;
    fwrite(&n, 8, 1, w.f);
    fwrite(w.head, 1, w.n, w.f);
    for (int t = 0; t < w.n_tensors; t++) {
        for (size_t i = 0; i < w.tensor[t].count; i++) {
            int64_t k = formula((uint64_t)t, i) % 255 - 127;
            float v = w.tensor[t].shift < 0 ? (float)(128 + k / 2) / 128 : ldexpf((float)k, -w.tensor[t].shift);
            uint32_t bits;
            memcpy(&bits, &v, 4);
            uint16_t half = (uint16_t)(bits >> 16);
            fwrite(&half, 2, 1, w.f);
        }
    }
    return fclose(w.f) == 0;
}

static void qwen2_mode(const shape *s, const char *folder, const char *mode)
{
    char name[256], file[256];
    rig g = {0};
    const char *pack = pack_of(folder, s->name, mode);
    int n_dims;
    size_t dims[4];
    static int32_t tokens[1024];
    int64_t bounds[6] = {0};
    float *have = malloc(5 * (size_t)s->d * sizeof *have);
    double *want, *blocks;

    snprintf(file, sizeof file, "goldens/text/qwen2_random/%s_vectors_%s.npy", s->name, mode);
    want = es_test_npy(es_test_data(file), &n_dims, dims);
    snprintf(file, sizeof file, "goldens/text/qwen2_random/%s_len7_%s.npy", s->name, mode);
    blocks = es_test_npy(es_test_data(file), &n_dims, dims);
    CHECK(want && blocks, "%s: no reference arrays", file);
    if (!pack || !want || !blocks ||
        !rig_open(&g, pack, (es_embedder_limits){.tokens = 380, .texts = 5, .keep = true}, 2, 0))
        goto out;
    CHECK_INT(g.dims.mask, !strcmp(mode, "causal") ? ES_MASK_CAUSAL : ES_MASK_NONE);
    for (int i = 0; i < 5; i++) {
        for (int t = 0; t < lengths[i]; t++)
            tokens[bounds[i] + t] = (int32_t)(formula(1000 + (uint64_t)lengths[i], (uint64_t)t) % s->vocab);
        bounds[i + 1] = bounds[i] + lengths[i];
    }
    CHECK(es_embedder_run(g.m, tokens, bounds, 5, have, NULL, &g.err) == ES_OK, "%s", g.err.text);
    double worst = 1;
    for (int i = 0; i < 5; i++) worst = fmin(worst, cosine(have + i * s->d, want + i * s->d, s->d));
    CHECK(worst >= 0.99999, "%s %s: cosine 1 - %.3g", s->name, mode, 1 - worst);
    /* x after each block of the text of 7 tokens. */
    size_t each = 7 * (size_t)s->d, all = (size_t)(s->layers + 1) * 380 * (size_t)s->d;
    float *kept = malloc(all * sizeof *kept);
    CHECK(es_embedder_run(g.m, tokens + bounds[2], (int64_t[]){0, 7}, 1, have, NULL, &g.err) == ES_OK, "%s", g.err.text);
    es_state_get(g.a, es_embedder_debug(g.m), 0, kept, all * sizeof *kept);
    for (int l = 0; l < s->layers; l++) {
        snprintf(name, sizeof name, "%s %s, block %d", s->name, mode, l);
        CHECK_CLOSE(name, kept + (size_t)(l + 1) * 380 * (size_t)s->d, blocks + (size_t)l * each, each, 1e-4, 1e-4);
    }
    printf("    qwen2 %s %s: worst cosine 1 - %.3g\n", s->name, mode, 1 - worst);
    free(kept);
out:
    free(want);
    free(blocks);
    free(have);
    rig_close(&g);
}

static void qwen2_one(const shape *s)
{
    char folder[2048];

    if (!es_test_data("goldens/text/qwen2_random/a.json")) {
        es_test_skip("ES_TEST_DATA/goldens/text/qwen2_random");
        return;
    }
    snprintf(folder, sizeof folder, "%s/%s", es_test_folder(), s->name);
    CHECK(checkpoint(folder, s), "cannot write %s", folder);
    qwen2_mode(s, folder, "causal");
    qwen2_mode(s, folder, "bidirectional");
}

static void qwen2_a(void)
{
    qwen2_one(&shapes[0]);
}
static void qwen2_b(void)
{
    qwen2_one(&shapes[1]);
}
static void qwen2_c(void)
{
    qwen2_one(&shapes[2]);
}

/* ---- presets and memory ---- */

static void presets(void)
{
    static const struct {
        const char *name;
        int64_t parameters;
    } known[] = {{"minilm", 0}, {"gte-qwen2-1.5b", 1543268864}, {"gte-qwen2-7b", 7069121024}};

    for (int i = 0; i < 3; i++) {
        es_embedder_dims d;
        es_plan *p = NULL;
        es_embedder *m = NULL;
        es_plan_totals t;
        es_err err = {0};
        CHECK(es_embedder_preset(&d, known[i].name), "%s is not known", known[i].name);
        CHECK(es_plan_open(&p, ES_CUDA, 0, &err) == ES_OK, "%s", err.text);
        CHECK(es_embedder_plan(&m, p, known[i].name, NULL, &d, (es_embedder_limits){.tokens = 8192, .texts = 256}, &err) == ES_OK,
              "%s", err.text);
        CHECK(es_plan_finish(p, 0, &err) == ES_OK, "%s", err.text);
        es_plan_totals_get(p, &t);
        if (i) CHECK_INT(es_embedder_parameters(m), known[i].parameters);
        CHECK(t.weights > 0 && t.scratch >= t.scratch_bound, "%s: weights %llu", known[i].name, (unsigned long long)t.weights);
        es_embedder_close(m);
        es_plan_close(p);
    }
}

/* 103 texts under a ceiling of 256: as many steps as it takes, within the plan that was made. */
static void many_texts_under_a_small_plan(void)
{
    const char *folder = es_test_data("models/minilm"), *pack;
    rig g = {0};
    enum { N = 103 };
    static int32_t tokens[N * 256];
    static float have[N * 384], again[N * 384];
    int64_t bounds[N + 1] = {0}, steps;
    struct rusage before, after;

    if (!folder) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return;
    }
    if (!(pack = pack_of(folder, "minilm", NULL)) ||
        !rig_open(&g, pack, (es_embedder_limits){.tokens = 512, .texts = 256}, 2, 64000000))
        return;
    for (int i = 0; i < N; i++) {
        int length = 1 + (i * 37) % 256;
        for (int t = 0; t < length; t++) tokens[bounds[i] + t] = 1000 + (i * 131 + t * 17) % 20000;
        bounds[i + 1] = bounds[i] + length;
    }
    CHECK(es_embedder_run(g.m, tokens, bounds, N, have, &steps, &g.err) == ES_OK, "%s", g.err.text);
    CHECK(steps > bounds[N] / 512 && steps < N, "%lld steps for %lld tokens", (long long)steps, (long long)bounds[N]);
    getrusage(RUSAGE_SELF, &before);
    CHECK(es_embedder_run(g.m, tokens, bounds, N, again, &steps, &g.err) == ES_OK, "%s", g.err.text);
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 256, "the peak grew by %ld KiB", after.ru_maxrss - before.ru_maxrss);
    CHECK(!memcmp(have, again, sizeof have), "other bits the second time");
    rig_close(&g);
}

static void wrong_tokens_are_refused(void)
{
    const char *folder = es_test_data("models/minilm"), *pack;
    rig g = {0};
    float v[384];

    if (!folder) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return;
    }
    if (!(pack = pack_of(folder, "minilm", NULL)) || !rig_open(&g, pack, (es_embedder_limits){.tokens = 64, .texts = 2}, 1, 0)) return;
    int32_t bad[3] = {101, 30522, 102};
    CHECK(es_embedder_step(g.m, bad, (int32_t[]){0, 3}, 1, v, &g.err) == ES_EARG, "a token past the vocabulary was taken");
    CHECK(strstr(g.err.text, "30522") && strstr(g.err.text, "30521"), "\"%s\" lacks a value", g.err.text);
    rig_close(&g);
}

/* ---- models of sizes alone ---- */

static const es_embedder_dims kinds[] = {
    {.qwen2 = true, .d_model = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .layers = 28, .mlp = 704, .vocab = 1000, .positions = 512,
     .longest = 512, .theta = 1e6, .eps = 1e-6f, .mask = ES_MASK_NONE, .pooling = ES_POOL_LAST},
    {.d_model = 96, .heads = 3, .kv_heads = 3, .head_dim = 32, .layers = 12, .mlp = 384, .vocab = 1000, .positions = 512,
     .longest = 256, .eps = 1e-12f, .mask = ES_MASK_NONE, .pooling = ES_POOL_MEAN},
};

static bool seeded_open(rig *g, int kind, int layers, es_embedder_limits limits, int threads, uint64_t seed)
{
    es_fault fault = {0};

    *g = (rig){.dims = kinds[kind]};
    if (layers) g->dims.layers = layers;
    bool made = !es_plan_open(&g->p, ES_CPU, threads, &g->err) &&
                !es_embedder_plan(&g->m, g->p, "seeded", NULL, &g->dims, limits, &g->err) && !es_plan_finish(g->p, 0, &g->err) &&
                !es_device_open(&g->d, ES_CPU, 0, threads, NULL, &fault) && !es_arena_open(&g->a, g->p, g->d, &g->err);
    CHECK(made, "%s%s", g->err.text, fault.text);
    if (made) {
        CHECK(es_arena_load(g->a, &g->err) == ES_EMODEL && strstr(g->err.text, "no weights"), "weights came from nowhere");
        CHECK(es_arena_seed(g->a, seed, &g->err) == ES_OK, "%s", g->err.text);
        es_embedder_start(g->m, g->a);
    }
    return made;
}

/* The same bits from the same seed and others from another, numbers that neither vanish nor overflow over many layers, texts
 * that differ. */
static void seeded_weights(void)
{
    static float have[3][2 * 256];
    int32_t tokens[40], bounds[3] = {0, 16, 40};

    for (int i = 0; i < 40; i++) tokens[i] = (i * 389 + 17) % 1000;
    for (int k = 0; k < 2; k++) {
        int d = kinds[k].d_model;
        for (int i = 0; i < 3; i++) {
            rig g;
            if (seeded_open(&g, k, 0, (es_embedder_limits){.tokens = 64, .texts = 4, .keep = true}, 1, i == 2 ? 8 : 7)) {
                CHECK(es_embedder_step(g.m, tokens, bounds, 2, have[i], &g.err) == ES_OK, "%s", g.err.text);
                size_t each = 64 * (size_t)d, all = (size_t)(g.dims.layers + 1) * each;
                float *x = malloc(all * sizeof *x);
                es_state_get(g.a, es_embedder_debug(g.m), 0, x, all * sizeof *x);
                double sum = 0;
                for (int j = 0; j < 40 * d; j++) sum += pow((double)x[(size_t)g.dims.layers * each + (size_t)j], 2);
                double rms = sqrt(sum / (40 * d));
                CHECK(rms > 0.1 && rms < 1000, "x is %g after %d layers", rms, g.dims.layers);
                free(x);
            }
            rig_close(&g);
        }
        CHECK(!memcmp(have[0], have[1], 2 * (size_t)d * sizeof(float)), "other bits from the same seed");
        CHECK(memcmp(have[0], have[2], 2 * (size_t)d * sizeof(float)) != 0, "the same bits from another seed");
        double dot = 0, norm = 0;
        for (int j = 0; j < d; j++) dot += (double)have[0][j] * (double)have[0][d + j], norm += (double)have[0][j] * (double)have[0][j];
        CHECK(fabs(norm - 1) < 1e-5 && fabs(dot) < 0.999, "norm %g, cosine of two texts %g", norm, dot);
    }
}

/* A text's vector, to the last bit, whatever is computed with it: alone, with one other, among 103 in three orders, in steps
 * of several sizes, on 1 and 2 threads. */
static void same_bits_in_any_company(void)
{
    enum { N = 103, MOST_LENGTH = 70 };
    static const struct {
        int tokens, texts, threads, group, stride; /* group: texts of one call; stride: which text comes next, modulo N */
    } way[] = {{512, 256, 1, N, 1}, {512, 256, 2, N, 1}, {512, 256, 2, N, 102}, {4096, 256, 2, N, 38}, {512, 256, 2, 2, 1},
               {128, 3, 1, 2, 51},  {128, 1, 2, 1, 1},   {4096, 256, 1, N, 17}};
    static int32_t tokens[N][MOST_LENGTH], call[N * MOST_LENGTH];
    static float first[N * 256], out[N * 256];
    int length[N];

    for (int i = 0; i < N; i++) {
        length[i] = 1 + i * 37 % MOST_LENGTH;
        for (int t = 0; t < length[i]; t++) tokens[i][t] = (i * 131 + t * t * 17) % 1000;
    }
    for (int k = 0; k < 2; k++) {
        size_t width = (size_t)kinds[k].d_model;
        for (size_t w = 0; w < sizeof way / sizeof *way; w++) {
            rig g;
            int wrong = 0;
            if (!seeded_open(&g, k, 2, (es_embedder_limits){.tokens = way[w].tokens, .texts = way[w].texts}, way[w].threads, 3)) return;
            for (int at = 0; at < N; at += way[w].group) {
                int64_t bounds[N + 1] = {0};
                int n = at + way[w].group < N ? way[w].group : N - at;
                for (int i = 0; i < n; i++) {
                    int text = (at + i) * way[w].stride % N;
                    memcpy(call + bounds[i], tokens[text], (size_t)length[text] * sizeof *call);
                    bounds[i + 1] = bounds[i] + length[text];
                }
                CHECK(es_embedder_run(g.m, call, bounds, n, out, NULL, &g.err) == ES_OK, "%s", g.err.text);
                for (int i = 0; i < n; i++) {
                    float *want = first + (size_t)((at + i) * way[w].stride % N) * width;
                    if (!w) memcpy(want, out + (size_t)i * width, width * sizeof *out);
                    wrong += memcmp(want, out + (size_t)i * width, width * sizeof *out) != 0;
                }
            }
            CHECK(!wrong, "%s, way %zu: %d of %d texts have other bits", k ? "bert" : "qwen2", w, wrong, N);
            rig_close(&g);
        }
        for (int i = 1; i < N; i++) CHECK(memcmp(first, first + (size_t)i * width, width * sizeof *first) != 0, "texts 0 and %d are one", i);
    }
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"minilm", minilm},
        {"qwen2_a", qwen2_a},
        {"qwen2_b", qwen2_b},
        {"qwen2_c", qwen2_c},
        {"presets", presets},
        {"seeded_weights", seeded_weights},
        {"same_bits_in_any_company", same_bits_in_any_company},
        {"many_texts_under_a_small_plan", many_texts_under_a_small_plan},
        {"wrong_tokens_are_refused", wrong_tokens_are_refused},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
