/*
 * test_whisper.c - Whisper against its published sizes, a naive twin in double, and a reference implementation's
 * numbers.
 *
 * Three layers. Facts: parameter counts, ids, alignment heads, refusals, warping vectors. Structure, on a seeded model
 * of two layers: the whole network against a twin written here in double, straight from the equations; slots and
 * windows that do not notice each other. Values, where trained packs and references are at hand: mel, encoder output,
 * logits, probabilities, tokens and word times of whisper-tiny and whisper-base.
 */
#include "test.h"

#include "audio/mel.h"
#include "base/json.h"
#include "models/whisper.h"
#include "runtime/weights.h"
#include "seeded.h"
#include "text/bpe.h"

#define OK(call, err)                                                                                                  \
    do {                                                                                                               \
        if ((call) != ES_OK) {                                                                                         \
            es_test_fail(__FILE__, __LINE__, "%s: %s", #call, (err).text);                                             \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- counting allocations ---- */

static unsigned long n_allocations;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ES_OWN_MALLOC 0
#endif
#endif
#ifndef ES_OWN_MALLOC
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define ES_OWN_MALLOC 1
#else
#define ES_OWN_MALLOC 0
#endif
#endif

/* The program's own malloc stands before the library's, for every caller; sanitizers bring one of theirs. */
#if ES_OWN_MALLOC
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    n_allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    n_allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    n_allocations++;
    return __libc_realloc(p, n);
}
#endif

/* ---- a model that runs ---- */

typedef struct rig {
    es_weights *w;
    es_whisper_dims dims;
    es_whisper_ids ids;
    es_bpe *bpe;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_whisper *m;
    es_err err;
} rig;

static void rig_close(rig *g)
{
    es_whisper_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_bpe_close(g->bpe);
    es_weights_close(g->w);
    *g = (rig){0};
}

/* flags: es_plan_flags. */
static bool rig_open_as(rig *g, const char *path, es_whisper_limits limits, int threads, unsigned flags)
{
    es_fault fault = {0};
    int32_t quiet[128];
    size_t n = 0;
    int rc;

    *g = (rig){0};
    limits.keep = true;
    rc = es_pack_open(&g->w, path, &g->err);
    if (!rc) rc = es_whisper_dims_read(&g->dims, g->w, &g->err);
    if (!rc) {
        const es_weight *t = es_weights_find(g->w, "tokenizer.tokens");
        g->ids = es_whisper_ids_of(&g->dims);
        rc = t ? es_bpe_open(&g->bpe, t->p, t->bytes, &g->err) : ES_EMODEL;
    }
    if (!rc) n = es_bpe_non_speech(g->bpe, quiet, 128);
    if (!rc) rc = es_plan_open(&g->p, ES_CPU, threads, &g->err);
    if (!rc) es_plan_flags(g->p, flags, 5);
    if (!rc) rc = es_whisper_plan(&g->m, g->p, "whisper", g->w, &g->dims, limits, quiet, (int)n, 220, &g->err);
    if (!rc) rc = es_plan_finish(g->p, 0, &g->err);
    if (!rc) {
        rc = es_device_open(&g->d, ES_CPU, 0, threads, NULL, &fault) ? ES_EDEVICE : ES_OK;
        if (rc) es_fail(&g->err, rc, "%s", fault.text);
    }
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &g->err);
    if (!rc) rc = es_arena_load(g->a, &g->err);
    if (!rc) rc = es_whisper_start(g->m, g->a, &g->err);
    if (rc) {
        es_test_fail(__FILE__, __LINE__, "%s: %s", path, g->err.text);
        rig_close(g);
    }
    return rc == ES_OK;
}

static bool rig_open(rig *g, const char *path, es_whisper_limits limits, int threads)
{
    return rig_open_as(g, path, limits, threads, 0);
}

static float *debug_copy(rig *g, const char *what)
{
    es_tensor t = es_whisper_debug(g->m, what);
    float *x = malloc(es_tensor_bytes(t));

    if (x) es_state_get(g->a, t, 0, x, es_tensor_bytes(t));
    return x;
}

static es_whisper_request request(const rig *g, const int32_t *prompt, int n)
{
    (void)g;
    return (es_whisper_request){.prompt = prompt, .n_prompt = n, .timestamps = true, .max_initial = 50};
}

/* ---- facts ---- */

static void presets(void)
{
    static const struct {
        const char *name;
        int64_t parameters;
        int n_pairs;
    } want[] = {
        {"tiny.en", 37760256, 8},
        {"tiny", 37760640, 6},
        {"base.en", 72593408, 5},
        {"base", 72593920, 8},
        {"small.en", 241734144, 19},
        {"small", 241734912, 10},
        {"medium.en", 763856896, 18},
        {"medium", 763857920, 6},
        {"large-v1", 1543304960, 9},
        {"large-v2", 1543304960, 23},
        {"large-v3", 1543490560, 10},
        {"large-v3-turbo", 808878080, 6},
        {"distil-large-v2", 756220160, 20},
        {"distil-large-v3", 756405760, 20},
        {"distil-large-v3.5", 756405760, 20},
        {"distil-medium.en", 394375168, 16},
        {"distil-small.en", 166132224, 8},
    };
    int n = 0;

    while (es_whisper_preset_name(n)) n++;
    CHECK_INT(n, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        es_whisper_dims d;
        es_plan *p = NULL;
        es_whisper *m = NULL;
        es_err err = {0};
        if (!es_whisper_preset(&d, want[i].name)) {
            CHECK(false, "preset %s is not known", want[i].name);
            continue;
        }
        OK(es_plan_open(&p, ES_CPU, 2, &err), err);
        es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 227, .align = true};
        OK(es_whisper_plan(&m, p, want[i].name, NULL, &d, limits, NULL, 0, 220, &err), err);
        OK(es_plan_finish(p, 0, &err), err);
        CHECK(es_whisper_parameters(m) == want[i].parameters, "%s: %lld parameters, published %lld", want[i].name,
              (long long)es_whisper_parameters(m), (long long)want[i].parameters);
        CHECK(d.n_pairs == want[i].n_pairs, "%s: %d alignment heads, expected %d", want[i].name, d.n_pairs,
              want[i].n_pairs);
        for (int j = 0; j < d.n_pairs; j++)
            CHECK(d.pair[j][0] < d.decoder_layers && d.pair[j][1] < d.heads, "%s: head %d does not exist", want[i].name,
                  j);
        es_whisper_close(m);
        es_plan_close(p);
    }
    es_whisper_dims d;
    CHECK(es_whisper_preset(&d, "whisper-base") && d.d_model == 512, "whisper-base is not base");
    CHECK(es_whisper_preset(&d, "turbo") && d.decoder_layers == 4 && d.n_mels == 128, "turbo is not turbo");
    CHECK(!es_whisper_preset(&d, "huge"), "huge is known");
}

static void ids(void)
{
    static const struct {
        const char *name;
        int eot, lang, languages, translate, sot_prev, no_speech, times;
    } want[] = {{"tiny.en", 50256, 50258, 99, 50357, 50360, 50361, 50363},
                {"base", 50257, 50259, 99, 50358, 50361, 50362, 50364},
                {"large-v3", 50257, 50259, 100, 50359, 50362, 50363, 50365}};

    for (int i = 0; i < 3; i++) {
        es_whisper_dims d = {0};
        CHECK(es_whisper_preset(&d, want[i].name), "%s is not known", want[i].name);
        es_whisper_ids t = es_whisper_ids_of(&d);
        CHECK_INT(t.eot, want[i].eot);
        CHECK_INT(t.sot, want[i].eot + 1);
        CHECK_INT(t.lang_begin, want[i].lang);
        CHECK_INT(t.n_lang, want[i].languages);
        CHECK_INT(t.translate, want[i].translate);
        CHECK_INT(t.transcribe, want[i].translate + 1);
        CHECK_INT(t.sot_prev, want[i].sot_prev);
        CHECK_INT(t.no_speech, want[i].no_speech);
        CHECK_INT(t.no_timestamps, want[i].no_speech + 1);
        CHECK_INT(t.timestamp_begin, want[i].times);
        CHECK_INT(d.vocab, want[i].times + 1501);
        CHECK_INT(d.multilingual, i > 0);
    }
}

static void warping(void)
{
    static const float scores[24] = {9, 8, 1, 0, 0, 0, 0, 1, 7, 2, 0, 0, 0, 0, 1, 6, 8, 1, 0, 0, 0, 0, 1, 9};
    static const int first[4] = {0, 1, 3, 4};
    float cost[24], none[6] = {0}, bad[6] = {NAN, NAN, NAN, NAN, NAN, NAN};
    int have[4] = {-1, -1, -1, -1};
    void *work = malloc(es_whisper_dtw_bytes(4, 6));

    for (int i = 0; i < 24; i++) cost[i] = -scores[i];
    CHECK_INT(es_whisper_dtw(cost, 4, 6, have, work), 9);
    for (int i = 0; i < 4; i++) CHECK(have[i] == first[i], "row %d begins at %d, expected %d", i, have[i], first[i]);
    CHECK_INT(es_whisper_dtw(none, 2, 3, have, work), 4); /* (0,0)(1,0)(1,1)(1,2) */
    CHECK_INT(have[0], 0);
    CHECK_INT(have[1], 0);
    CHECK(es_whisper_dtw(bad, 2, 3, have, work) > 0, "no path through costs that are no numbers");
    for (int i = 0; i < 2; i++) CHECK(have[i] >= 0 && have[i] < 3, "row %d begins at %d", i, have[i]);
    CHECK_INT(es_whisper_dtw(cost, 1, 1, have, work), 1);
    free(work);
}

static void refusals(void)
{
    static const struct {
        const char *heads, *says;
    } bad[] = {{"[[2,0]]", "does not exist"},     {"[[0,1]]", "does not exist"},        {"[[0,0],[0,0]]", "twice"},
               {"[[0]]", "is not [layer, head]"}, {"[[0,-1]]", "is not [layer, head]"}, {"7", "is not a list"}};
    es_whisper_dims d;
    char path[4096];

    snprintf(path, sizeof path, "%s/heads.pack", es_test_folder());
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        bool good = i == sizeof bad / sizeof bad[0];
        es_seeded_whisper s = {.seed = 1,
                               .width = 64,
                               .layers = 2,
                               .n_mels = 80,
                               .vocab = 51864,
                               .f16 = true,
                               .alignment = good ? NULL : bad[i].heads};
        es_weights *w = NULL;
        es_err err = {0};
        CHECK(es_seeded_whisper_write(path, &s) == 0, "cannot write %s", path);
        OK(es_pack_open(&w, path, &err), err);
        int rc = es_whisper_dims_read(&d, w, &err);
        if (good) {
            CHECK(rc == ES_OK && d.n_pairs == 1 && d.pair[0][0] == 1, "no list: %s", err.text);
        } else {
            CHECK(rc == ES_EMODEL && strstr(err.text, bad[i].says), "%s: %s", bad[i].heads, err.text);
        }
        es_weights_close(w);
    }
}

static void mirror(void)
{
    float *w = calloc(ES_MEL_WINDOW_SAMPLES, sizeof *w);

    CHECK_INT(es_mel_frames(0), 0);
    CHECK_INT(es_mel_frames(176000), 1100);
    CHECK_INT(es_mel_frames(176159), 1100);
    for (int64_t first = 0; first <= 320; first += 160) {
        for (int i = 0; i < ES_MEL_WINDOW_SAMPLES; i++) {
            int64_t s = first - 200 + i;
            w[i] = s < 0 ? 0 : (float)s;
        }
        es_mel_reflect(w, first);
        for (int i = 0; i < 600; i++) {
            int64_t s = first - 200 + i, want = s < 0 ? -s : s;
            CHECK(w[i] == (float)want, "window from %d, sample %d: %g", (int)first, (int)s, (double)w[i]);
        }
    }
    free(w);
}

/* A plan for a card that is not here, of a model that is not here. */
static void cuda_plan(void)
{
    es_whisper_dims d;
    es_plan *p = NULL;
    es_whisper *m = NULL;
    es_plan_totals t;
    es_err err = {0};

    CHECK(es_whisper_preset(&d, "distil-large-v3"), "distil-large-v3 is not known");
    OK(es_plan_open(&p, ES_CUDA, 0, &err), err);
    es_whisper_limits limits = {.windows = 8, .slots = 32, .prompt_rows = 227, .align = true};
    OK(es_whisper_plan(&m, p, "distil-large-v3", NULL, &d, limits, NULL, 0, 220, &err), err);
    OK(es_plan_finish(p, 16000000000u, &err), err);
    es_plan_totals_get(p, &t);
    CHECK(t.weights > 2 * 756405760u && t.weights < 2 * 756405760u + 20000000u, "weights %llu",
          (unsigned long long)t.weights);
    /* 15.36 MB of cross and 4.59 MB of self keys and values a slot, f16. */
    CHECK(t.state > 32u * (15360000u + 4587520u), "state %llu", (unsigned long long)t.state);
    es_whisper_close(m);
    es_plan_close(p);
}

/* ---- structure: a seeded model, and its twin in double ---- */

enum { WIDTH = 128, HEADS = 2, LAYERS = 2, AUDIO = 1500 };

static bool seeded_pack(char path[4096])
{
    es_seeded_whisper s = {.seed = 7, .width = WIDTH, .layers = LAYERS, .n_mels = 80, .vocab = 51865, .f16 = true};

    snprintf(path, 4096, "%s/seeded.pack", es_test_folder());
    bool ok = es_seeded_whisper_write(path, &s) == 0;
    CHECK(ok, "cannot write %s", path);
    return ok;
}

/* Noise with a slow envelope, so that windows and frames differ. */
static float *noise_window(uint64_t seed)
{
    float *w = malloc(ES_MEL_WINDOW_SAMPLES * sizeof *w);
    es_noise n = {seed};

    es_noise_fill(&n, w, ES_MEL_WINDOW_SAMPLES, 0.1);
    for (int i = 0; i < ES_MEL_WINDOW_SAMPLES; i++) w[i] *= (float)(1 + (i / 8000 + (int)seed) % 7) / 7;
    return w;
}

static double half_value(uint16_t h)
{
    int e = h >> 10 & 31, f = h & 1023;
    double v = e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);

    return h & 0x8000 ? -v : v;
}

/* A tensor of the pack in double; the caller frees. */
static double *stored(const rig *g, const char *stack, int layer, const char *name)
{
    char full[128];
    const es_weight *t;
    double *x = NULL;

    if (layer < 0) snprintf(full, sizeof full, "%s.%s", stack, name);
    else snprintf(full, sizeof full, "%s.layers.%d.%s", stack, layer, name);
    t = es_weights_find(g->w, full);
    CHECK(t != NULL, "no tensor %s", full);
    if (!t) exit(2);
    size_t n = t->bytes / es_dtype_bytes(t->dtype);
    x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        float f;
        uint16_t h;
        if (t->dtype == ES_F32) memcpy(&f, (const char *)t->p + 4 * i, 4), x[i] = (double)f;
        if (t->dtype == ES_F16) memcpy(&h, (const char *)t->p + 2 * i, 2), x[i] = half_value(h);
    }
    return x;
}

/* y[T, O] (+)= x[T, I] W[O, I]^T + b. W is turned first, so that the inner loop runs along outputs. */
static void twin_product(double *y, const double *x, const double *W, const double *b, int T, int I, int O, bool add)
{
    double *turned = malloc((size_t)I * (size_t)O * sizeof *turned);

    for (int o = 0; o < O; o++)
        for (int i = 0; i < I; i++) turned[i * O + o] = W[o * I + i];
    for (int t = 0; t < T; t++) {
        double *row = y + (size_t)t * (size_t)O;
        for (int o = 0; o < O; o++) row[o] = (add ? row[o] : 0) + (b ? b[o] : 0);
        for (int i = 0; i < I; i++) {
            double v = x[(size_t)t * (size_t)I + (size_t)i];
            for (int o = 0; o < O; o++) row[o] += v * turned[i * O + o];
        }
    }
    free(turned);
}

static void twin_linear(const rig *g, double *y, const double *x, const char *stack, int layer, const char *name, int T,
                        int I, int O, bool add)
{
    char full[64];

    snprintf(full, sizeof full, "%s.weight", name);
    double *W = stored(g, stack, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    double *b = stored(g, stack, layer, full);
    twin_product(y, x, W, b, T, I, O, add);
    free(W);
    free(b);
}

static void twin_norm(const rig *g, double *y, const double *x, const char *stack, int layer, const char *name, int T)
{
    char full[64];

    snprintf(full, sizeof full, "%s.weight", name);
    double *w = stored(g, stack, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    double *b = stored(g, stack, layer, full);
    for (int t = 0; t < T; t++) {
        const double *r = x + t * WIDTH;
        double mean = 0, var = 0;
        for (int c = 0; c < WIDTH; c++) mean += r[c] / WIDTH;
        for (int c = 0; c < WIDTH; c++) var += (r[c] - mean) * (r[c] - mean) / WIDTH;
        for (int c = 0; c < WIDTH; c++) y[t * WIDTH + c] = (r[c] - mean) / sqrt(var + 1e-5) * w[c] + b[c];
    }
    free(w);
    free(b);
}

static void twin_gelu(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 0.5 * x[i] * (1 + erf(x[i] / sqrt(2)));
}

/* y[Tq, WIDTH]; rows of q, k, v lie ldq, ldkv apart. causal: row t sees rows 0 .. t. */
static void twin_attend(double *y, const double *q, int ldq, const double *k, const double *v, int ldkv, int Tq, int Tk,
                        bool causal)
{
    double *p = malloc((size_t)Tk * sizeof *p);

    for (int h = 0; h < HEADS; h++) {
        for (int t = 0; t < Tq; t++) {
            int n = causal ? t + 1 : Tk;
            double top = -INFINITY, sum = 0, *out = y + t * WIDTH + h * 64;
            for (int j = 0; j < n; j++) {
                double s = 0;
                for (int c = 0; c < 64; c++) s += q[t * ldq + h * 64 + c] * k[j * ldkv + h * 64 + c];
                p[j] = s / 8;
                if (p[j] > top) top = p[j];
            }
            for (int c = 0; c < 64; c++) out[c] = 0;
            for (int j = 0; j < n; j++) {
                double e = exp(p[j] - top);
                sum += e;
                for (int c = 0; c < 64; c++) out[c] += e * v[j * ldkv + h * 64 + c];
            }
            for (int c = 0; c < 64; c++) out[c] /= sum;
        }
    }
    free(p);
}

static void twin_mlp(const rig *g, double *x, const char *stack, int layer, int T)
{
    double *n = malloc((size_t)T * WIDTH * sizeof *n), *h = malloc((size_t)T * 4 * WIDTH * sizeof *h);

    twin_norm(g, n, x, stack, layer, "mlp_norm", T);
    twin_linear(g, h, n, stack, layer, "up", T, WIDTH, 4 * WIDTH, false);
    twin_gelu(h, (size_t)T * 4 * WIDTH);
    twin_linear(g, x, h, stack, layer, "down", T, 4 * WIDTH, WIDTH, true);
    free(n);
    free(h);
}

/* x += out(attend(qkv(norm(x)))) */
static void twin_self(const rig *g, double *x, const char *stack, int layer, int T, bool causal)
{
    double *n = malloc((size_t)T * WIDTH * sizeof *n), *qkv = malloc((size_t)T * 3 * WIDTH * sizeof *qkv);

    twin_norm(g, n, x, stack, layer, "attn_norm", T);
    twin_linear(g, qkv, n, stack, layer, "qkv", T, WIDTH, 3 * WIDTH, false);
    twin_attend(n, qkv, 3 * WIDTH, qkv + WIDTH, qkv + 2 * WIDTH, 3 * WIDTH, T, T, causal);
    twin_linear(g, x, n, stack, layer, "out", T, WIDTH, WIDTH, true);
    free(n);
    free(qkv);
}

/* y[To, O] = gelu(conv of width 3 over x[T, I], one row of zeros around it). */
static double *twin_conv(const rig *g, const double *x, const char *name, int T, int I, int stride)
{
    int To = (T - 1) / stride + 1;
    double *rows = calloc((size_t)To * 3 * (size_t)I, sizeof *rows), *y = malloc((size_t)To * WIDTH * sizeof *y);

    for (int t = 0; t < To; t++)
        for (int k = 0; k < 3; k++)
            if (t * stride + k >= 1 && t * stride + k - 1 < T)
                memcpy(rows + (t * 3 + k) * I, x + (t * stride + k - 1) * I, (size_t)I * sizeof *rows);
    twin_linear(g, y, rows, "encoder", -1, name, To, 3 * I, WIDTH, false);
    twin_gelu(y, (size_t)To * WIDTH);
    free(rows);
    return y;
}

static double *twin_encode(const rig *g, const float *mel)
{
    double *m = malloc(3000 * 80 * sizeof *m), *e = malloc(AUDIO * WIDTH * sizeof *e);

    for (int i = 0; i < 3000 * 80; i++) m[i] = (double)mel[i];
    double *c = twin_conv(g, m, "conv1", 3000, 80, 1), *x = twin_conv(g, c, "conv2", 3000, WIDTH, 2);
    double *positions = stored(g, "encoder", -1, "positions");
    for (int i = 0; i < AUDIO * WIDTH; i++) x[i] += positions[i];
    for (int l = 0; l < LAYERS; l++) {
        twin_self(g, x, "encoder", l, AUDIO, false);
        twin_mlp(g, x, "encoder", l, AUDIO);
    }
    twin_norm(g, e, x, "encoder", -1, "norm", AUDIO);
    free(m);
    free(c);
    free(x);
    free(positions);
    return e;
}

/* logits [n, V] of all rows. */
static double *twin_decode(const rig *g, const double *e, const int32_t *ids, int n)
{
    int V = g->dims.vocab;
    double *tokens = stored(g, "decoder", -1, "tokens"), *positions = stored(g, "decoder", -1, "positions");
    double *x = malloc((size_t)n * WIDTH * sizeof *x), *y = malloc((size_t)n * WIDTH * sizeof *y),
           *q = malloc((size_t)n * WIDTH * sizeof *q), *kv = malloc(AUDIO * 2 * WIDTH * sizeof *kv),
           *logits = malloc((size_t)n * (size_t)V * sizeof *logits);

    for (int i = 0; i < n * WIDTH; i++) x[i] = tokens[ids[i / WIDTH] * WIDTH + i % WIDTH] + positions[i];
    for (int l = 0; l < LAYERS; l++) {
        twin_self(g, x, "decoder", l, n, true);
        twin_norm(g, y, x, "decoder", l, "cross_norm", n);
        twin_linear(g, q, y, "decoder", l, "cross_q", n, WIDTH, WIDTH, false);
        twin_linear(g, kv, e, "decoder", l, "cross_kv", AUDIO, WIDTH, 2 * WIDTH, false);
        twin_attend(y, q, WIDTH, kv, kv + WIDTH, 2 * WIDTH, n, AUDIO, false);
        twin_linear(g, x, y, "decoder", l, "cross_out", n, WIDTH, WIDTH, true);
        twin_mlp(g, x, "decoder", l, n);
    }
    twin_norm(g, y, x, "decoder", -1, "norm", n);
    twin_product(logits, y, tokens, NULL, n, WIDTH, V, false);
    free(tokens);
    free(positions);
    free(x);
    free(y);
    free(q);
    free(kv);
    return logits;
}

static void told(const char *what, double worst)
{
    if (getenv("ES_TEST_VERBOSE")) printf("    %s: %.2g\n", what, worst);
}

static void twin(void)
{
    enum { PROMPT = 9, SOT_AT = 5, TEXT = 5 };
    static const int32_t prompt[PROMPT] = {50361, 11, 4000, 50364, 77, 50258, 50259, 50359, 50364};
    static const int32_t text[TEXT] = {400, 370, 452, 7177, 13};
    char path[4096];
    rig g;
    es_whisper_output out;

    if (!seeded_pack(path)) return;
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 16, .align = true};
    if (!rig_open(&g, path, limits, 2)) return;
    size_t V = (size_t)g.dims.vocab;
    float *pcm = noise_window(3);
    es_whisper_window w = {.pcm = pcm, .frames = 2500, .top = NAN, .fill = 0};
    es_whisper_encode(g.m, &w, 1);
    float *mel = debug_copy(&g, "mel"), *have_e = debug_copy(&g, "encoder");
    double *e = twin_encode(&g, mel);
    told("encoder", CHECK_CLOSE("encoder", have_e, e, AUDIO * WIDTH, 2e-5, 0));

    es_whisper_request q = request(&g, prompt, PROMPT);
    q.sot_at = SOT_AT;
    q.max_tokens = 1;
    OK(es_whisper_decode(g.m, &q, &out, &g.err), g.err);
    double *logits = twin_decode(&g, e, prompt, PROMPT);
    float *last = debug_copy(&g, "logits"), *sot = debug_copy(&g, "sot");
    told("logits", CHECK_CLOSE("logits of the newest row", last, logits + (PROMPT - 1) * V, V, 5e-5, 0));
    CHECK_CLOSE("logits of the sot row", sot, logits + SOT_AT * V, V, 5e-5, 0);
    free(last);
    free(logits);

    /* The same row by steps: a shorter prompt, and the token that the first step took. */
    q.n_prompt = PROMPT - 1;
    q.max_tokens = 2;
    OK(es_whisper_decode(g.m, &q, &out, &g.err), g.err);
    int32_t all[PROMPT];
    memcpy(all, prompt, sizeof all);
    all[PROMPT - 1] = out.tokens[0];
    CHECK_INT(out.n, 2);
    CHECK(out.tokens[0] >= g.ids.timestamp_begin && out.tokens[0] <= g.ids.timestamp_begin + 50,
          "the first token is %d, not an early timestamp", out.tokens[0]);
    last = debug_copy(&g, "logits");
    logits = twin_decode(&g, e, all, PROMPT);
    CHECK_CLOSE("logits of a step", last, logits + (PROMPT - 1) * V, V, 5e-5, 0);
    free(last);
    free(logits);

    /* Probabilities of words: over the text tokens alone, each from the row before it. */
    int first[TEXT + 1];
    float p[TEXT];
    OK(es_whisper_align(g.m, 0, prompt + SOT_AT, 3, text, TEXT, 2500, first, p, &g.err), g.err);
    int32_t rows[3 + 1 + TEXT + 1] = {prompt[SOT_AT], prompt[SOT_AT + 1], prompt[SOT_AT + 2], g.ids.no_timestamps};
    memcpy(rows + 4, text, sizeof text);
    rows[4 + TEXT] = g.ids.eot;
    logits = twin_decode(&g, e, rows, 5 + TEXT);
    for (int i = 0; i < TEXT; i++) {
        const double *l = logits + (size_t)(3 + i) * V;
        double sum = 0;
        for (int v = 0; v < g.ids.eot; v++) sum += exp(l[v] - l[text[i]]);
        CHECK(fabs((double)p[i] * sum - 1) < 1e-3, "text token %d: probability %g, expected %g", i, (double)p[i],
              1 / sum);
        CHECK(first[i] <= first[i + 1] && first[i] >= 0 && first[i + 1] < 1250, "token %d begins at %d, the next at %d",
              i, first[i], first[i + 1]);
    }
    CHECK_INT(first[0], 0);
    free(logits);
    free(sot);
    free(e);
    free(mel);
    free(have_e);
    free(pcm);
    rig_close(&g);
}

/* ---- structure: nobody notices the neighbours ---- */

enum { CASES = 3, LONG = 30 };

/* Three windows with prompts of their own; case 1 has previous text, case 2 is sampled. */
static es_whisper_request case_request(const rig *g, int i)
{
    static int32_t prompts[CASES][LONG];
    static const int n[CASES] = {3, LONG, 3};
    int32_t *p = prompts[i];

    for (int j = 0; j < n[i] - 3; j++) p[j] = j ? 300 + 7 * j : g->ids.sot_prev;
    p[n[i] - 3] = g->ids.sot;
    p[n[i] - 2] = g->ids.lang_begin + i;
    p[n[i] - 1] = g->ids.transcribe;
    es_whisper_request q = request(g, p, n[i]);
    q.sot_at = n[i] - 3;
    q.max_tokens = i == 0 ? 6 : 14;
    q.temperature = i == 2 ? 0.8f : 0;
    for (int k = 0; k < 4; k++) q.key[k] = (uint32_t)(1000 * i + k);
    return q;
}

static void same_output(const char *what, int i, const es_whisper_output *a, const es_whisper_output *b)
{
    CHECK(a->n == b->n, "%s, case %d: %d tokens, alone %d", what, i, a->n, b->n);
    CHECK(!memcmp(a->tokens, b->tokens, (size_t)a->n * 4), "%s, case %d: other tokens than alone", what, i);
    CHECK(!memcmp(&a->sum_logprob, &b->sum_logprob, 4), "%s, case %d: log-probability %.9g, alone %.9g", what, i,
          (double)a->sum_logprob, (double)b->sum_logprob);
    CHECK(!memcmp(&a->no_speech, &b->no_speech, 4), "%s, case %d: no speech %.9g, alone %.9g", what, i,
          (double)a->no_speech, (double)b->no_speech);
}

static void independence(void)
{
    static const int frames[CASES] = {3000, 1700, 2222};
    char path[4096];
    rig alone, many;
    es_whisper_output want[CASES], have;
    float *pcm[CASES], *encoded[CASES];
    bool ended[CASES];
    size_t bytes = AUDIO * WIDTH * sizeof(float);

    if (!seeded_pack(path)) return;
    /* One thread, one window, one slot, prompts in pieces of 8 rows; against two threads and whole prompts. */
    es_whisper_limits one = {.windows = 1, .slots = 1, .prompt_rows = 8},
                      all = {.windows = 2, .slots = 3, .prompt_rows = 40};
    if (!rig_open(&alone, path, one, 1)) return;
    if (!rig_open(&many, path, all, 2)) return;
    es_whisper_window w[CASES];
    for (int i = 0; i < CASES; i++) {
        pcm[i] = noise_window((uint64_t)i + 10);
        w[i] = (es_whisper_window){.pcm = pcm[i], .frames = frames[i], .top = i == 1 ? 0.5f : NAN};
        es_whisper_encode(alone.m, &w[i], 1);
        encoded[i] = debug_copy(&alone, "encoder");
        es_whisper_request q = case_request(&alone, i);
        OK(es_whisper_decode(alone.m, &q, &want[i], &alone.err), alone.err);
    }
    CHECK(memcmp(encoded[0], encoded[1], bytes) != 0, "two windows have one encoding");

    /* Windows 0 and 1 together, 2 later and alone in a plan for two. */
    for (int i = 0; i < CASES; i++) w[i].slot = (i + 1) % CASES;
    es_whisper_encode(many.m, w, 2);
    float *e = debug_copy(&many, "encoder");
    CHECK(!memcmp(e, encoded[0], bytes), "window 0 is not as alone");
    CHECK(!memcmp(e + AUDIO * WIDTH, encoded[1], bytes), "window 1 is not as alone");
    free(e);
    es_whisper_encode(many.m, &w[2], 1);

    /* 0 and 1 begin together; 2 joins when the first has ended, while the other is in the middle. */
    int began = 2, taken = 0;
    for (int i = 0; i < 2; i++) {
        es_whisper_request q = case_request(&many, i);
        q.slot = w[i].slot;
        es_whisper_begin(many.m, &q);
    }
    for (int rounds = 0; taken < CASES && rounds < 20; rounds++) {
        es_whisper_steps(many.m, ended);
        for (int i = 0; i < began; i++) {
            if (!ended[w[i].slot]) continue;
            es_whisper_take(many.m, w[i].slot, &have);
            same_output("together", i, &have, &want[i]);
            taken++;
        }
        if (began == 2 && taken) {
            es_whisper_request q = case_request(&many, 2);
            q.slot = w[2].slot;
            es_whisper_begin(many.m, &q);
            began = 3;
        }
    }
    CHECK_INT(taken, CASES);
    CHECK_INT(want[0].n, 6);
    CHECK_INT(es_whisper_steps(many.m, ended), 0);
    for (int i = 0; i < CASES; i++) {
        free(pcm[i]);
        free(encoded[i]);
    }
    rig_close(&alone);
    rig_close(&many);
}

/* ---- structure: memory ---- */

enum { SAID = 4 };

typedef struct window_result {
    float *encoded, *logits;
    es_whisper_output out;
    int first[SAID + 1];
    float p[SAID];
} window_result;

/* Everything that is done to a window. */
static void whole_window(rig *g, const float *pcm, int frames, window_result *r)
{
    static const int32_t text[SAID] = {400, 370, 452, 7177};
    es_whisper_window w = {.pcm = pcm, .frames = frames, .fill = 0};
    es_whisper_request q = case_request(g, 1);

    es_whisper_tops(g->m, &pcm, &frames, 1, &w.top);
    es_whisper_encode(g->m, &w, 1);
    OK(es_whisper_decode(g->m, &q, &r->out, &g->err), g->err);
    es_tensor e = es_whisper_debug(g->m, "encoder"), l = es_whisper_debug(g->m, "logits");
    es_state_get(g->a, e, 0, r->encoded, es_tensor_bytes(e));
    es_state_get(g->a, l, 0, r->logits, es_tensor_bytes(l));
    OK(es_whisper_align(g->m, 0, q.prompt + q.sot_at, 3, text, SAID, frames, r->first, r->p, &g->err), g->err);
}

/* A plan whose tensors share memory gives the bits of one where each has its own, wherever they were put. */
static void sharing(void)
{
    static const unsigned flags[3] = {ES_PLAN_SEPARATE | ES_PLAN_POISON, 0, ES_PLAN_SHUFFLE | ES_PLAN_POISON};
    char path[4096];
    rig g;
    window_result r[3];
    float *pcm = noise_window(21);
    size_t encoded = AUDIO * WIDTH * sizeof(float), logits = 51865 * sizeof(float);

    if (!seeded_pack(path)) return;
    for (int i = 0; i < 3; i++) {
        es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 40, .align = true};
        if (!rig_open_as(&g, path, limits, 2, flags[i])) return;
        r[i].encoded = malloc(encoded);
        r[i].logits = malloc(logits);
        whole_window(&g, pcm, 2900, &r[i]);
        rig_close(&g);
        CHECK(!memcmp(r[i].encoded, r[0].encoded, encoded), "plan %d: another encoding", i);
        CHECK(!memcmp(r[i].logits, r[0].logits, logits), "plan %d: other logits", i);
        CHECK(!memcmp(r[i].first, r[0].first, sizeof r[0].first), "plan %d: other times", i);
        CHECK(!memcmp(r[i].p, r[0].p, sizeof r[0].p), "plan %d: other probabilities", i);
        same_output("plan", i, &r[i].out, &r[0].out);
    }
    for (int i = 0; i < 3; i++) {
        free(r[i].encoded);
        free(r[i].logits);
    }
    free(pcm);
}

/* After the first window nothing is allocated: by the backend's own count, and by ours of malloc. */
static void allocations(void)
{
    char path[4096];
    rig g;
    float *pcm = noise_window(4);
    window_result r = {.encoded = malloc(AUDIO * WIDTH * sizeof(float)), .logits = malloc(51865 * sizeof(float))};

    if (!seeded_pack(path)) return;
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 40, .align = true};
    if (!rig_open(&g, path, limits, 2)) return;
    whole_window(&g, pcm, 1000, &r);
    uint64_t device = es_device_allocations(g.d);
    unsigned long host = n_allocations;
    CHECK(host > 0 || !ES_OWN_MALLOC, "allocations are not counted");
    whole_window(&g, pcm, 3000, &r);
    CHECK_INT(n_allocations - host, 0);
    CHECK_INT(es_device_allocations(g.d) - device, 0);
    free(r.encoded);
    free(r.logits);
    free(pcm);
    rig_close(&g);
}

/* Windows with next to no sound, prompts that fill the positions, texts that do not fit. */
static void edges(void)
{
    static const int frames[6] = {0, 1, 2, 6, 9, 3000};
    static int32_t prompt[448], text[448];
    static float p[448];
    static int first[449];
    char path[4096];
    rig g;
    es_whisper_output out;
    float *pcm = noise_window(8);

    if (!seeded_pack(path)) return;
    es_whisper_limits limits = {.windows = 2, .slots = 1, .prompt_rows = 16, .align = true};
    if (!rig_open(&g, path, limits, 2)) return;
    for (int i = 0; i < 448; i++) text[i] = 1000 + i;
    for (int i = 0; i < 6; i++) {
        int F = frames[i] / 2, n = i == 5 ? 443 : i;
        es_whisper_window w = {.pcm = pcm, .frames = frames[i], .top = NAN};
        int32_t sot[3] = {g.ids.sot, g.ids.lang_begin, g.ids.transcribe};
        es_whisper_encode(g.m, &w, 1);
        float *e = debug_copy(&g, "encoder");
        for (int j = 0; j < AUDIO * WIDTH; j++)
            if (!isfinite((double)e[j])) {
                CHECK(false, "%d frames: value %d of the encoding is no number", frames[i], j);
                break;
            }
        free(e);
        OK(es_whisper_align(g.m, 0, sot, 3, text, n, frames[i], first, p, &g.err), g.err);
        for (int j = 0; j <= n; j++)
            CHECK(first[j] >= 0 && first[j] < (F ? F : 1) && (j == 0 || first[j] >= first[j - 1]),
                  "%d frames, token %d begins at %d", frames[i], j, first[j]);
        for (int j = 0; j < n; j++) CHECK(p[j] > 0 && p[j] < 1, "token %d has probability %g", j, (double)p[j]);
        if (i < 5) continue;
        CHECK_INT(es_whisper_align(g.m, 0, sot, 3, text, 444, 3000, first, p, &g.err), ES_EARG);
        CHECK(strstr(g.err.text, "449") && strstr(g.err.text, "448"), "%s", g.err.text);
    }

    /* The maximum of a window is that of a file of one window. */
    const float *both[3] = {pcm, pcm, pcm};
    int some[3] = {3000, 1, 2000};
    float tops[3];
    es_whisper_tops(g.m, both, some, 3, tops);
    CHECK(tops[1] <= tops[2] && tops[2] <= tops[0], "maxima %g %g %g", (double)tops[1], (double)tops[2],
          (double)tops[0]);
    for (int i = 0; i < 3; i += 2) {
        es_whisper_window own = {.pcm = pcm, .frames = some[i], .top = NAN}, given = own;
        given.top = tops[i];
        size_t bytes = 3000 * 80 * sizeof(float);
        es_whisper_encode(g.m, &own, 1);
        float *a = debug_copy(&g, "mel");
        es_whisper_encode(g.m, &given, 1);
        float *b = debug_copy(&g, "mel");
        CHECK(!memcmp(a, b, bytes), "%d frames: the mel differs where its maximum is given", some[i]);
        free(a);
        free(b);
    }

    /* The last position is the prompt's: one token is sampled, none is fed back. */
    for (int i = 0; i < 448; i++) prompt[i] = i < 445 ? 500 + i : g.ids.sot + i - 445;
    prompt[447] = g.ids.transcribe;
    for (int n = 446; n <= 448; n++) {
        es_whisper_request q = request(&g, prompt + 448 - n, n);
        q.sot_at = n - 3;
        OK(es_whisper_decode(g.m, &q, &out, &g.err), g.err);
        CHECK(out.n + out.complete == 449 - n, "a prompt of %d tokens is followed by %d", n, out.n);
    }
    free(pcm);
    rig_close(&g);
}

/* ---- values: trained packs against a reference implementation ---- */

/* A 16-bit mono wav at 16 kHz as floats; the caller frees. */
static float *read_wav(const char *path, int64_t *n)
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    unsigned char head[12], chunk[8];
    float *x = NULL;

    *n = 0;
    if (!f || fread(head, 1, 12, f) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4)) goto out;
    while (fread(chunk, 1, 8, f) == 8) {
        long bytes = (long)chunk[4] | (long)chunk[5] << 8 | (long)chunk[6] << 16 | (long)chunk[7] << 24;
        if (memcmp(chunk, "data", 4) != 0) {
            if (fseek(f, bytes + (bytes & 1), SEEK_CUR)) goto out;
            continue;
        }
        x = malloc((size_t)(bytes / 2 + 1) * sizeof *x);
        for (unsigned char s[2]; x && *n < bytes / 2 && fread(s, 1, 2, f) == 2; ++*n)
            x[*n] = (float)(int16_t)(uint16_t)(s[0] | s[1] << 8) / 32768.0f;
        goto out;
    }
out:
    if (f) fclose(f);
    return x;
}

/* The first window of n samples; the caller frees. */
static float *window_of(const float *x, int64_t n)
{
    float *w = calloc(ES_MEL_WINDOW_SAMPLES, sizeof *w);

    for (int64_t i = 0; w && i < n && i < ES_MEL_WINDOW_SAMPLES - 200; i++) w[200 + i] = x[i];
    if (w) es_mel_reflect(w, 0);
    return w;
}

static double number(const es_json_node *o, const char *key)
{
    double v = (double)NAN;

    es_json_number(es_json_get(o, key), &v);
    return v;
}

/* Whole numbers of a list; returns how many. */
static int whole(const es_json_node *a, int32_t *out, int room)
{
    int n = 0;

    for (const es_json_node *e = es_json_first(a); e && n < room; e = es_json_next(e)) {
        int64_t v;
        if (es_json_int(e, 0, INT32_MAX, &v)) out[n++] = (int32_t)v;
    }
    return n;
}

/* Frames from .. from+count-1 of our mel [3000, 80] against the reference's [80, count]. */
static void check_mel(const float *mel, const char *variant, const char *part, int from)
{
    char name[256];
    int n_dims;
    size_t dims[4];

    snprintf(name, sizeof name, "goldens/asr/internals/mel_%s_%s.npy", variant, part);
    double *want = es_test_npy(es_test_data(name), &n_dims, dims);
    CHECK(want && n_dims == 2 && dims[0] == 80, "cannot read %s", name);
    if (!want) return;
    float *have = malloc(dims[0] * dims[1] * sizeof *have);
    for (size_t b = 0; b < 80; b++)
        for (size_t t = 0; t < dims[1]; t++) have[b * dims[1] + t] = mel[((size_t)from + t) * 80 + b];
    double worst = CHECK_CLOSE(name, have, want, dims[0] * dims[1], 1e-4, 0);
    told(name, worst);
    free(have);
    free(want);
}

static void check_encoder(const float *e, const char *model, const char *variant, int C, double sum_of_squares)
{
    char name[256];
    int n_dims;
    size_t dims[4], row = (size_t)C;
    double squares = 0;

    snprintf(name, sizeof name, "goldens/asr/internals/%s/encoder_%s_first4_last4.npy", model, variant);
    double *want = es_test_npy(es_test_data(name), &n_dims, dims);
    CHECK(want && n_dims == 2 && dims[0] == 8 && dims[1] == row, "cannot read %s", name);
    if (!want) return;
    float *have = malloc(8 * row * sizeof *have);
    memcpy(have, e, 4 * row * sizeof *have);
    memcpy(have + 4 * row, e + 1496 * row, 4 * row * sizeof *have);
    double worst = CHECK_CLOSE(name, have, want, 8 * row, 2e-3, 0);
    for (size_t i = 0; i < 1500 * row; i++) squares += (double)e[i] * (double)e[i];
    CHECK(fabs(squares - sum_of_squares) < 1e-5 * sum_of_squares, "%s: sum of squares %.9g, expected %.9g", name,
          squares, sum_of_squares);
    told(name, worst);
    free(have);
    free(want);
}

/* The logits behind each of the first steps, as a prompt and as steps: the same bits, and the reference's values. */
static void check_logits(rig *g, const es_json_node *steps, const int32_t *prompt, int n_prompt, const int32_t *tokens)
{
    es_whisper_output out;
    int32_t all[64], top[20];
    int k = 0;
    double worst = 0;

    memcpy(all, prompt, (size_t)n_prompt * 4);
    for (const es_json_node *s = es_json_first(steps); s && k < 12; s = es_json_next(s), k++) {
        if (k) all[n_prompt + k - 1] = tokens[k - 1];
        es_whisper_request q = request(g, all, n_prompt + k);
        q.max_tokens = 1;
        OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
        float *by_prompt = debug_copy(g, "logits");
        q = request(g, prompt, n_prompt);
        q.max_tokens = k + 1;
        OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
        float *by_steps = debug_copy(g, "logits");
        CHECK(!memcmp(by_prompt, by_steps, (size_t)g->dims.vocab * 4), "step %d: the prompt's logits differ", k);
        const es_json_node *v = es_json_first(es_json_get(s, "top_logits"));
        int n = whole(es_json_get(s, "top_ids"), top, 20);
        CHECK_INT(n, 20);
        for (int i = 0; i < n; i++, v = es_json_next(v)) {
            double want = 0, have = (double)by_steps[top[i]];
            es_json_number(v, &want);
            if (fabs(have - want) > worst) worst = fabs(have - want);
            CHECK(fabs(have - want) < 5e-4, "step %d, token %d: logit %.6f, expected %.6f", k, top[i], have, want);
        }
        free(by_prompt);
        free(by_steps);
    }
    CHECK_INT(k, 12);
    told("logits", worst);
}

static void check_variant(rig *g, const char *model, const char *variant, const es_json_node *v, const float *window)
{
    bool zero_fill = !strcmp(variant, "zero_fill");
    es_whisper_window w = {.pcm = window, .frames = 1100, .top = NAN, .fill = zero_fill ? 0 : NAN, .slot = 0};
    const es_json_node *lang = es_json_first(es_json_get(v, "language_top5"));
    int frames = 1101; /* the reference takes the maximum over one frame more than it keeps */
    int32_t want[448], sot = g->ids.sot;
    int n = whole(es_json_get(v, "greedy_tokens"), want, 448);
    es_whisper_output out;

    if (zero_fill) es_whisper_tops(g->m, &window, &frames, 1, &w.top);
    es_whisper_encode(g->m, &w, 1);
    float *mel = debug_copy(g, "mel"), *e = debug_copy(g, "encoder");
    check_mel(mel, variant, "first300", 0);
    check_mel(mel, variant, "frames1090_1109", 1090);
    check_encoder(e, model, variant, g->dims.d_model, number(es_json_get(v, "encoder_output"), "sum_of_squares"));
    free(mel);
    free(e);

    es_whisper_request q = request(g, &sot, 1);
    double p = 0;
    int64_t id = 0;
    q.detect_language = true;
    OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
    es_json_int(es_json_first(lang), 0, INT32_MAX, &id);
    es_json_number(es_json_next(es_json_first(lang)), &p);
    CHECK_INT(out.tokens[0], id);
    CHECK(fabs((double)out.language_probability - p) < 1e-4, "language: %.6f, expected %.6f",
          (double)out.language_probability, p);

    int32_t prompt[3] = {sot, (int32_t)id, g->ids.transcribe};
    q = request(g, prompt, 3);
    OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
    CHECK_INT(out.n, n);
    CHECK(out.complete, "%s %s: not ended by eot", model, variant);
    for (int i = 0; i < out.n && i < n; i++)
        CHECK(out.tokens[i] == want[i], "%s %s: token %d is %d, expected %d", model, variant, i, out.tokens[i],
              want[i]);
    CHECK(fabs((double)out.no_speech - number(v, "no_speech_prob")) < 1e-4, "no speech: %.6f, expected %.6f",
          (double)out.no_speech, number(v, "no_speech_prob"));
    CHECK(fabs((double)out.avg_logprob - number(v, "greedy_avg_logprob")) < 1e-4,
          "log-probability: %.6f, expected %.6f", (double)out.avg_logprob, number(v, "greedy_avg_logprob"));
    check_logits(g, es_json_get(v, "steps"), prompt, 3, want);
}

/* Words of the reference that are one token each: when they begin and how sure they are. A segment's first and last
 * times are the segment's own in the reference, so a segment's first word is left out. */
static void check_words(rig *g, const char *model, const float *window)
{
    char name[256];
    es_json *j = NULL;
    es_whisper_window w = {.pcm = window, .frames = 1100, .top = NAN, .fill = 0, .slot = 0};
    int32_t text[448], sot[3] = {g->ids.sot, g->ids.lang_begin, g->ids.transcribe};
    int n = 0, first[449], frames = 1101, compared = 0;
    float p[448];

    snprintf(name, sizeof name, "goldens/asr/%s/B/jfk.json", model);
    if (!es_test_data(name)) {
        es_test_skip(name);
        return;
    }
    OK(es_json_read(&j, es_test_data(name), 1 << 20, &g->err), g->err);
    const es_json_node *segments = es_json_get(es_json_root(j), "segments");
    for (const es_json_node *s = es_json_first(segments); s; s = es_json_next(s)) {
        int32_t tokens[448];
        int k = whole(es_json_get(s, "tokens"), tokens, 448);
        for (int i = 0; i < k; i++)
            if (tokens[i] < g->ids.eot) text[n++] = tokens[i];
    }
    es_whisper_tops(g->m, &window, &frames, 1, &w.top);
    es_whisper_encode(g->m, &w, 1);
    OK(es_whisper_align(g->m, 0, sot, 3, text, n, 1100, first, p, &g->err), g->err);
    int at = 0;
    for (const es_json_node *s = es_json_first(segments); s; s = es_json_next(s)) {
        bool opening = true;
        for (const es_json_node *word = es_json_first(es_json_get(s, "words")); word; word = es_json_next(word)) {
            const es_json_node *start = es_json_first(word), *said = es_json_next(es_json_next(start));
            const char *t = es_json_string(said);
            double want_start = 0, want_p = 0;
            size_t bytes;
            const char *token = es_bpe_bytes(g->bpe, text[at], &bytes);
            es_json_number(start, &want_start);
            es_json_number(es_json_next(said), &want_p);
            CHECK(at < n && t && !strncmp(t, token, bytes), "word %s is not token %d", t ? t : "?", text[at]);
            double have = first[at] * 0.02;
            if (!opening)
                CHECK(fabs(have - want_start) < 0.041, "%s begins at %.2f, expected %.2f", t, have, want_start);
            CHECK(fabs((double)p[at] - want_p) < 1e-3, "%s has probability %.5f, expected %.5f", t, (double)p[at],
                  want_p);
            opening = false;
            compared++;
            at++;
            if (t && strlen(t) > bytes) at++; /* the comma or full stop that was joined to it */
        }
    }
    CHECK_INT(at, n);
    CHECK_INT(compared, 22);
    es_json_close(j);
}

static void values(const char *model)
{
    char name[256];
    rig g;
    es_json *j = NULL;
    int64_t n;
    const char *pack;

    snprintf(name, sizeof name, "%s.pack", model);
    pack = es_test_models(name);
    if (!pack) {
        es_test_skip("a converted pack (ES_TEST_MODELS)");
        return;
    }
    snprintf(name, sizeof name, "goldens/asr/internals/%s/internals.json", model);
    const char *golden = es_test_data(name), *audio = es_test_data("audio/jfk/jfk.wav");
    if (!golden || !audio) {
        es_test_skip("goldens/asr/internals and audio/jfk (ES_TEST_DATA)");
        return;
    }
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 227, .align = true};
    if (!rig_open(&g, pack, limits, 0)) return;
    OK(es_json_read(&j, golden, 1 << 24, &g.err), g.err);
    float *x = read_wav(audio, &n), *window = window_of(x, n);
    CHECK_INT(n, 176000);
    const es_json_node *variants = es_json_get(es_json_root(j), "variants");
    check_variant(&g, model, "zero_fill", es_json_get(variants, "zero_fill"), window);
    check_variant(&g, model, "wave_pad", es_json_get(variants, "wave_pad"), window);
    check_words(&g, model, window);
    free(x);
    free(window);
    es_json_close(j);
    rig_close(&g);
}

static void tiny_values(void)
{
    values("whisper-tiny");
}

static void base_values(void)
{
    values("whisper-base");
}

static const es_test tests[] = {
    {"presets", presets},
    {"ids", ids},
    {"warping", warping},
    {"refusals", refusals},
    {"mirror", mirror},
    {"cuda_plan", cuda_plan},
    {"twin", twin},
    {"independence", independence},
    {"sharing", sharing},
    {"allocations", allocations},
    {"edges", edges},
    {"tiny_values", tiny_values},
    {"base_values", base_values},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
