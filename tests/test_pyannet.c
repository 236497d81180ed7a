/*
 * test_pyannet.c - segmentation with the published weights against recorded runs of the reference.
 */
#include "test.h"

#include "models/pyannet.h"
#include "weights/convert/convert.h"

enum { FRAMES = ES_PYANNET_FRAMES, SAMPLES = ES_PYANNET_SAMPLES };

typedef struct rig {
    es_weights *w;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_pyannet *m;
    es_err err;
} rig;

static void rig_close(rig *g)
{
    es_pyannet_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->w);
    *g = (rig){0};
}

static bool rig_open(rig *g, const char *pack, int windows, int threads, unsigned flags)
{
    es_fault fault = {0};
    int rc;

    *g = (rig){0};
    rc = es_pack_open(&g->w, pack, &g->err);
    if (!rc) rc = es_plan_open(&g->p, ES_CPU, threads, &g->err);
    if (!rc) es_plan_flags(g->p, flags, 3);
    if (!rc) rc = es_pyannet_plan(&g->m, g->p, "segmentation", g->w, windows, &g->err);
    if (!rc) rc = es_plan_finish(g->p, 0, &g->err);
    if (!rc && es_device_open(&g->d, ES_CPU, 0, threads, NULL, &fault)) rc = es_fail(&g->err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &g->err);
    if (!rc) rc = es_arena_load(g->a, &g->err);
    if (!rc) es_pyannet_start(g->m, g->a);
    if (rc) {
        es_test_fail(__FILE__, __LINE__, "%s: %s", pack, g->err.text);
        rig_close(g);
    }
    return rc == ES_OK;
}

static const char *pack(void)
{
    static char path[4096];
    const char *source = es_test_data("models/pyannote-segmentation-3.0/model.safetensors");
    es_convert_report rep;
    es_err err = {0};

    if (!source) {
        es_test_skip("ES_TEST_DATA/models/pyannote-segmentation-3.0");
        return NULL;
    }
    snprintf(path, sizeof path, "%s/segmentation.pack", es_test_folder());
    es_convert_options o = {.source = es_test_data("models/pyannote-segmentation-3.0"), .output = path, .name = "segmentation"};
    int rc = es_convert(&o, &rep, &err);
    CHECK(rc == ES_OK, "%s", err.text);
    return rc ? NULL : path;
}

/* The samples of a 16 kHz mono wav of s16 or f32. */
static size_t wav(const char *file, float *x, size_t room)
{
    static unsigned char bytes[4 << 20];
    const char *path = es_test_data(file);
    FILE *f = path ? fopen(path, "rb") : NULL;
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0, n = 0;
    unsigned format = 0;

    if (f) fclose(f);
    for (size_t at = 12; at + 8 <= size;) {
        uint32_t length;
        memcpy(&length, bytes + at + 4, 4);
        if (!memcmp(bytes + at, "fmt ", 4)) format = bytes[at + 8];
        if (!memcmp(bytes + at, "data", 4)) {
            size_t each = format == 3 ? 4 : 2;
            for (; n < room && (n + 1) * each <= length && at + 8 + (n + 1) * each <= size; n++) {
                int16_t s;
                memcpy(&s, bytes + at + 8 + n * each, 2);
                x[n] = (float)s / 32768;
                if (format == 3) memcpy(&x[n], bytes + at + 8 + n * each, 4);
            }
        }
        at += 8 + length + (length & 1);
    }
    return n;
}

/* Windows at a step of 1 s, the last one filled up with zeros. */
static float *windows_of(const char *file, int *n)
{
    static float s[16000 * 60];
    size_t samples = wav(file, s, sizeof s / sizeof *s);

    CHECK(samples > SAMPLES, "%s: %zu samples", file, samples);
    *n = samples < SAMPLES ? 0 : (int)((samples - SAMPLES) / 16000 + 1 + ((samples - SAMPLES) % 16000 ? 1 : 0));
    float *x = calloc((size_t)*n * SAMPLES + 1, sizeof *x);
    for (int w = 0; w < *n; w++)
        for (size_t i = 0; i < SAMPLES && (size_t)w * 16000 + i < samples; i++) x[(size_t)w * SAMPLES + i] = s[(size_t)w * 16000 + i];
    return x;
}

static void recording(rig *g, const char *file, const char *npz, bool probabilities)
{
    int n, n_dims;
    size_t dims[4];
    float *x = windows_of(file, &n), *scores = malloc((size_t)n * FRAMES * 7 * sizeof *scores + 1);
    uint8_t *classes = malloc((size_t)n * FRAMES + 1);
    double *want = es_test_npz(es_test_data(npz), "classes", &n_dims, dims), *margin, *logp;

    CHECK(want && (int)dims[0] == n, "%s: %d windows, the reference has %zu", file, n, want ? dims[0] : 0);
    margin = es_test_npz(es_test_data(npz), "margin", &n_dims, dims);
    logp = probabilities ? es_test_npz(es_test_data(npz), "logp", &n_dims, dims) : NULL;
    int all = es_pyannet_windows(g->m);
    for (int w = 0; w < n; w += all) {
        int k = n - w < all ? n - w : all;
        CHECK(es_pyannet_run(g->m, x + (size_t)w * SAMPLES, k, scores + (size_t)w * FRAMES * 7, &g->err) == ES_OK, "%s", g->err.text);
    }
    es_pyannet_classes(classes, scores, (int64_t)n * FRAMES);
    int wrong = 0, close_calls = 0;
    for (int i = 0; i < n * FRAMES && want && margin; i++) {
        if (classes[i] == want[i]) continue;
        if (margin[i] < 0.01) close_calls++;
        else wrong++;
    }
    CHECK(wrong == 0, "%s: %d frames of another class although the reference's margin is 0.01 or more", file, wrong);
    double worst = 0;
    for (int i = 0; i < n * FRAMES && logp; i++) {
        double sum = 0, top = -INFINITY;
        for (int c = 0; c < 7; c++) top = fmax(top, (double)scores[i * 7 + c]);
        for (int c = 0; c < 7; c++) sum += exp((double)scores[i * 7 + c] - top);
        for (int c = 0; c < 7; c++) worst = fmax(worst, fabs((double)scores[i * 7 + c] - top - log(sum) - logp[i * 7 + c]));
    }
    CHECK(worst < 1e-2, "%s: a log-probability is off by %.3g", file, worst);
    printf("    %s: %d windows, %d frames within the margin differ, log-probabilities within %.3g\n", file, n, close_calls, worst);
    free(x), free(scores), free(classes), free(want), free(margin), free(logp);
}

static void recordings(void)
{
    const char *path = pack();
    rig g;

    if (!path || !rig_open(&g, path, 8, 2, 0)) return;
    recording(&g, "audio/pyannote_sample/sample.wav", "goldens/speakers/sample.npz", true);
    recording(&g, "audio/ami/dev00.wav", "goldens/speakers/dev00.npz", false);
    recording(&g, "audio/librispeech_mix/mix3.wav", "goldens/speakers/mix3.npz", false);
    rig_close(&g);
}

/* One window alone on one thread, and among others on two in memory that shares nothing, is lazy or poisoned. */
static void the_same_bits(void)
{
    const char *path = pack();
    rig one, many;
    int n;

    if (!path) return;
    float *x = windows_of("audio/pyannote_sample/sample.wav", &n), *alone = malloc(FRAMES * 7 * sizeof *alone),
          *together = malloc(9 * FRAMES * 7 * sizeof *together);
    if (n >= 9 && rig_open(&one, path, 1, 1, 0)) {
        static const unsigned flags[] = {0, ES_PLAN_SEPARATE, ES_PLAN_POISON | ES_PLAN_SHUFFLE};
        CHECK(es_pyannet_run(one.m, x + 7 * (size_t)SAMPLES, 1, alone, &one.err) == ES_OK, "%s", one.err.text);
        for (int f = 0; f < 3 && rig_open(&many, path, 9, 2, flags[f]); f++) {
            CHECK(es_pyannet_run(many.m, x, 9, together, &many.err) == ES_OK, "%s", many.err.text);
            CHECK(!memcmp(together + 7 * FRAMES * 7, alone, FRAMES * 7 * sizeof *alone), "other bits among nine windows, flags %u", flags[f]);
            rig_close(&many);
        }
        rig_close(&one);
    }
    free(x), free(alone), free(together);
}

static void without_weights(void)
{
    es_plan *p = NULL;
    es_pyannet *m = NULL;
    es_plan_totals t;
    es_err err = {0};

    CHECK(es_plan_open(&p, ES_CUDA, 0, &err) == ES_OK && es_pyannet_plan(&m, p, "segmentation-3.0", NULL, 32, &err) == ES_OK &&
              es_plan_finish(p, 0, &err) == ES_OK,
          "%s", err.text);
    es_plan_totals_get(p, &t);
    /* 1,473,265 parameters less the 80 edges of the filters, plus the filters themselves; f32. */
    CHECK(t.weights > 4 * 1473000u && t.weights < 4 * 1473000u + 200000, "weights %llu", (unsigned long long)t.weights);
    es_pyannet_close(m);
    es_plan_close(p);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"recordings", recordings},
        {"the_same_bits", the_same_bits},
        {"without_weights", without_weights},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
