/*
 * test_twins.c - the networks that hear who speaks, on the CUDA backend beside their CPU twins: the same programs with seeded
 * weights, on a card or under the emulator of tests/simt; the published ones where ES_TEST_MODELS has them. The recurrent and
 * the mirrored, the gated and the weighed are all in them.
 */
#include "test.h"

#include "kernels/device.h"
#include "models/pyannet.h"
#include "seeded.h"
#include "speaker_rig.h"

enum { BINS = ES_FRONT_BINS };

static bool have_device(void)
{
    es_fault why = {0};

    if (es_device_count(ES_CUDA, &why) > 0) return true;
    es_test_skip("a GPU or the emulator");
    return false;
}

/* How far b is from a, in norms of a. */
static double distance(const float *a, const float *b, size_t n)
{
    double square = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        square += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)a[i] * (double)a[i];
    }
    return norm > 0 && isfinite(square) ? sqrt(square / norm) : INFINITY;
}

/* ---- speaker networks ---- */

/* Two short sounds, whole and under a mask: near the CPU's vectors, and the last one alone with the bits it has in company. */
static void beside_the_twin(const char *pack)
{
    enum { FIRST = 26, SECOND = 11, FRAMES = 13, N = 3 };
    static const uint8_t mask[FRAMES] = {0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0};
    float x[(FIRST + SECOND) * BINS], *cpu = NULL, *cuda = NULL, *alone = NULL;
    es_speaker_sound sounds[2] = {{x, FIRST, false}, {x + FIRST * BINS, SECOND, false}};
    es_speaker_ask asks[N] = {{0, NULL, 0}, {0, mask, FRAMES}, {1, NULL, 0}};
    es_noise noise = {12};
    es_speaker_rig g;

    es_noise_fill(&noise, x, (FIRST + SECOND) * BINS, 1);
    if (!pack || !es_speaker_rig_open(&g, pack, ES_CPU, N, 2 * FIRST + SECOND, 2, 0, false)) return;
    size_t width = (size_t)g.dims.vector;
    cpu = malloc(3 * N * width * sizeof *cpu), cuda = cpu + N * width, alone = cuda + N * width;
    es_speaker_rig_ask(&g, cpu, sounds, asks, N);
    es_speaker_rig_close(&g);
    if (es_speaker_rig_open(&g, pack, ES_CUDA, N, 2 * FIRST + SECOND, 2, ES_PLAN_POISON, false)) {
        es_speaker_rig_ask(&g, cuda, sounds, asks, N);
        for (int i = 0; i < N; i++) {
            double off = distance(cpu + (size_t)i * width, cuda + (size_t)i * width, width);
            CHECK(off < (es_speaker_weighs(&g.dims) ? 5e-3 : 1e-4), "answer %d is %.3g of its norm away from the CPU's", i, off); /* f16 or f32 */
        }
        es_speaker_rig_ask(&g, alone, sounds, &asks[2], 1);
        CHECK(!memcmp(alone, cuda + 2 * width, width * sizeof *alone), "a piece has another vector in company");
        es_speaker_rig_close(&g);
    }
    free(cpu);
}

static void campplus(void)
{
    char path[4096];
    es_err err = {0};

    if (!have_device()) return;
    snprintf(path, sizeof path, "%s/campplus.pack", es_test_folder());
    CHECK(es_seeded_campplus_write(path, 51, &err) == ES_OK, "%s", err.text);
    beside_the_twin(path);
}

static void resnet34(void)
{
    es_speaker_dims d = {.kind = ES_SPEAKER_RESNET34, .vector = 24, .resnet34 = {.vector = 24, .channels = {8, 16, 24, 40}, .blocks = {1, 2, 1, 1}}};
    char path[4096];
    es_err err = {0};

    if (!have_device()) return;
    snprintf(path, sizeof path, "%s/resnet34.pack", es_test_folder());
    CHECK(es_seeded_speaker_write(path, "resnet34",
                                  "{\\\"n_mels\\\":80,\\\"embedding\\\":24,\\\"channels\\\":[8,16,24,40],\\\"blocks\\\":[1,2,1,1]}", &d, 52,
                                  &err) == ES_OK,
          "%s", err.text);
    beside_the_twin(path);
}

static void ecapa(void)
{
    char path[4096];
    es_err err = {0};

    for (int tao = 0; tao < 2; tao++) {
        if (!have_device()) return;
        snprintf(path, sizeof path, "%s/ecapa.pack", es_test_folder());
        CHECK(es_seeded_ecapa_write(path, tao, 53, &err) == ES_OK, "%s", err.text);
        beside_the_twin(path);
    }
}

static void campplus_published(void)
{
    const char *pack = es_test_models("campplus.pack");

    if (!have_device()) return;
    if (pack) beside_the_twin(pack);
    else es_test_skip("ES_TEST_MODELS/campplus.pack");
}

/* ---- segmentation ---- */

typedef struct rig {
    es_weights *w;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_pyannet *m;
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

static bool rig_open(rig *g, const char *pack, es_backend backend)
{
    es_fault fault = {0};
    es_err err = {0};

    *g = (rig){0};
    int rc = es_pack_open(&g->w, pack, &err);
    if (!rc) rc = es_plan_open(&g->p, backend, 2, &err);
    if (!rc) rc = es_pyannet_plan(&g->m, g->p, "segmentation", g->w, 2, &err);
    if (!rc) rc = es_plan_finish(g->p, 0, &err);
    if (!rc && es_device_open(&g->d, backend, 0, 2, NULL, &fault)) rc = es_fail(&err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &err);
    if (!rc) rc = es_arena_load(g->a, &err);
    CHECK(!rc, "%s: %s", pack, err.text);
    if (rc) rig_close(g);
    else es_pyannet_start(g->m, g->a);
    return !rc;
}

/* One window of noise under a slow envelope: the scores beside the CPU's. */
static void segmentation_of(const char *pack)
{
    enum { N = ES_PYANNET_FRAMES * ES_PYANNET_CLASSES };
    float *x = malloc(ES_PYANNET_SAMPLES * sizeof *x), *scores = malloc(2 * N * sizeof *scores);
    es_noise noise = {14};
    es_err err = {0};
    rig g;

    es_noise_fill(&noise, x, ES_PYANNET_SAMPLES, 0.05);
    for (int i = 0; i < ES_PYANNET_SAMPLES; i++) x[i] *= (float)(1 + i / 8000 % 7) / 7;
    for (int i = 0; i < 2; i++) {
        if (!rig_open(&g, pack, i ? ES_CUDA : ES_CPU)) goto out;
        CHECK(!es_pyannet_run(g.m, x, 1, scores + (size_t)i * N, &err), "%s", err.text);
        rig_close(&g);
    }
    double off = distance(scores, scores + N, N);
    CHECK(off < 1e-3, "the scores are %.3g of their norm away from the CPU's", off);
out:
    free(x), free(scores);
}

static void segmentation(void)
{
    char path[4096];
    es_err err = {0};

    if (!have_device()) return;
    snprintf(path, sizeof path, "%s/pyannet.pack", es_test_folder());
    CHECK(es_seeded_segmentation_write(path, 54, &err) == ES_OK, "%s", err.text);
    segmentation_of(path);
}

static void segmentation_published(void)
{
    const char *pack = es_test_models("segmentation-3.0.pack");

    if (!have_device()) return;
    if (pack) segmentation_of(pack);
    else es_test_skip("ES_TEST_MODELS/segmentation-3.0.pack");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"seeded_campplus", campplus},         {"seeded_resnet34", resnet34},
        {"seeded_ecapa", ecapa},               {"seeded_segmentation", segmentation},
        {"campplus_published", campplus_published}, {"segmentation_published", segmentation_published},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
