/*
 * test_speaker.c - the face over the speaker networks: masks, steps, what is too short or too long, and CAM++ behind it, block
 * by block beside the recorded stages.
 */
#include "test.h"

#include "audio/front.h"
#include "clips.h"
#include "speaker_rig.h"

enum { BINS = ES_FRONT_BINS, D = 192 };

static const char TRACE[] = "goldens/speakers/campplus_trace.json";

static float *noise(uint64_t seed, int rows)
{
    float *x = malloc((size_t)rows * BINS * sizeof *x);
    es_noise n = {seed};

    es_noise_fill(&n, x, (size_t)rows * BINS, 2);
    return x;
}

/* Every block on the features of campplus.md 7, which the network gets as they are but for their mean. */
static void blocks_of_campplus(void)
{
    static const struct {
        const char *stage, *note;
        int columns;
    } stages[] = {{"head.conv1", "head.conv1", 0},
                  {"head.layer1", "head.layer1", 0},
                  {"head.layer2", "head.layer2", 0},
                  {"head.conv2", "head.conv2", 0},
                  {"xvector.tdnn", "xvector.tdnn", 0},
                  {"xvector.block1.tdnnd1", "xvector.block1", 160},
                  {"xvector.block1", "xvector.block1", 0},
                  {"xvector.transit1", "xvector.transit1", 0},
                  {"xvector.block2.tdnnd1", "xvector.block2", 288},
                  {"xvector.block2", "xvector.block2", 0},
                  {"xvector.transit2", "xvector.transit2", 0},
                  {"xvector.block3.tdnnd1", "xvector.block3", 544},
                  {"xvector.block3", "xvector.block3", 0},
                  {"xvector.out_nonlinear", "xvector.out_nonlinear", 0},
                  {"xvector.stats", "xvector.stats", 0}};
    static const struct {
        const char *key;
        int from, to;
    } clips[] = {{"a", 169600, 217600}, {"b", 348800, 372000}, {"c", 107200, 113600}};
    const char *pack = clip_campplus(TRACE);
    es_json *j = NULL;
    es_front *front = NULL;
    es_err err = {0};
    int64_t n = 0;

    if (!pack) return;
    CHECK(!es_json_read(&j, es_test_data(TRACE), 1 << 20, &err) && !es_front_open(&front, ES_FRONT_POVEY, &err), "%s", err.text);
    float *pcm = es_speaker_wav("audio/pyannote_sample/sample.wav", &n);
    for (size_t i = 0; i < sizeof clips / sizeof *clips && pcm; i++) {
        int samples = clips[i].to - clips[i].from, rows = (int)es_front_rows(front, samples);
        const es_json_node *clip = es_json_get(es_json_root(j), clips[i].key);
        float *x = malloc((size_t)rows * BINS * sizeof *x), vector[D];
        es_speaker_rig g;
        es_front_run(front, x, pcm + clips[i].from, samples);
        if (es_speaker_rig_open(&g, pack, ES_CPU, 1, rows, 2, 0, true)) {
            es_speaker_rig_all(&g, vector, &(es_speaker_sound){x, rows, false}, 1);
            for (size_t k = 0; k < sizeof stages / sizeof *stages; k++)
                es_speaker_rig_stage(&g, stages[k].note, es_json_get(es_json_get(clip, "stages"), stages[k].stage), stages[k].columns, 1e-4);
            es_speaker_rig_close(&g);
        }
        free(x);
    }
    free(pcm);
    es_front_close(front);
    es_json_close(j);
}

/* Rows under a mask are those rows as a sound of their own, whatever else is asked, in however many steps. */
static void masks(void)
{
    enum { ROWS = 120, FRAMES = 71 };
    static uint8_t mask[3][FRAMES];
    const char *pack = clip_campplus(TRACE);
    es_speaker_rig wide, narrow;

    if (!pack || !es_speaker_rig_open(&wide, pack, ES_CPU, 8, 400, 2, ES_PLAN_POISON, false)) return;
    float *x = noise(3, ROWS), *cut = malloc(ROWS * BINS * sizeof *cut), alone[3 * D], together[8 * D], steps[8 * D];
    for (int t = 0; t < FRAMES; t++) mask[0][t] = t < 30, mask[1][t] = t % 3 != 0, mask[2][t] = t > 67;
    es_speaker_sound sounds[2] = {{x, ROWS, false}, {x + 20 * BINS, 60, false}};
    es_speaker_ask asks[8] = {{0, mask[0], FRAMES}, {0, mask[1], FRAMES}, {0, NULL, 0},         {1, NULL, 0},
                              {1, mask[1], FRAMES}, {0, mask[0], FRAMES}, {1, mask[0], FRAMES}, {0, mask[1], FRAMES}};
    for (int k = 0; k < 3; k++) {
        int n = 0;
        for (int t = 0; t < ROWS; t++)
            if (k == 2 || mask[k][t * FRAMES / ROWS]) memcpy(cut + n++ * BINS, x + t * BINS, BINS * sizeof *cut);
        es_speaker_rig_all(&wide, alone + k * D, &(es_speaker_sound){cut, n, false}, 1);
    }
    es_speaker_rig_ask(&wide, together, sounds, asks, 8);
    CHECK(!memcmp(together, alone, sizeof alone), "rows under a mask give another vector than the same rows alone");
    CHECK(!memcmp(together + 5 * D, alone, D * sizeof *alone) && !memcmp(together + 7 * D, alone + D, D * sizeof *alone), "asked again, answered otherwise");
    if (es_speaker_rig_open(&narrow, pack, ES_CPU, 2, 130, 1, 0, false)) {
        es_speaker_rig_ask(&narrow, steps, sounds, asks, 8);
        CHECK(!memcmp(together, steps, sizeof steps), "other vectors in smaller steps");
        es_speaker_rig_close(&narrow);
    }
    asks[1] = (es_speaker_ask){0, mask[2], FRAMES}; /* five rows: just enough */
    asks[2] = (es_speaker_ask){1, mask[2], FRAMES}; /* three */
    es_speaker_rig_ask(&wide, together, sounds, asks, 4);
    CHECK(isfinite(together[0]) && isfinite(together[D]) && isnan(together[2 * D]) && isnan(together[3 * D - 1]) && isfinite(together[3 * D]),
          "three rows are answered, or four are not");
    free(x), free(cut);
    es_speaker_rig_close(&wide);
}

static void too_long(void)
{
    const char *pack = clip_campplus(TRACE);
    es_speaker_rig g;
    es_err err = {0};
    float vector[D];

    if (!pack || !es_speaker_rig_open(&g, pack, ES_CPU, 1, 50, 1, 0, false)) return;
    float *x = noise(4, 51);
    CHECK(es_speaker_run(g.m, &(es_speaker_sound){x, 51, false}, &(es_speaker_ask){0, NULL, 0}, 1, vector, &err) == ES_EARG &&
              strstr(err.text, "51 rows") && strstr(err.text, "50"),
          "%s", err.text);
    err = (es_err){0};
    CHECK(!es_speaker_run(g.m, &(es_speaker_sound){x, 50, false}, &(es_speaker_ask){0, NULL, 0}, 1, vector, &err), "%s", err.text);
    x[7] = INFINITY;
    CHECK(es_speaker_run(g.m, &(es_speaker_sound){x, 50, false}, &(es_speaker_ask){0, NULL, 0}, 1, vector, &err) == ES_EMODEL &&
              strstr(err.text, "no finite vector"),
          "%s", err.text);
    free(x);
    es_speaker_rig_close(&g);
}

static void presets(void)
{
    for (int i = 0; es_speaker_preset_name(i); i++) {
        const char *name = es_speaker_preset_name(i);
        es_speaker_dims dims;
        es_plan *p = NULL;
        es_speaker *m = NULL;
        es_err err = {0};
        CHECK(es_speaker_preset(&dims, name) && dims.vector > 0, "%s", name);
        CHECK(!es_plan_open(&p, ES_CUDA, 1, &err) &&
                  !es_speaker_plan(&m, p, name, NULL, &dims, (es_speaker_limits){.answers = 8, .rows = 8 * 998}, &err) && !es_plan_finish(p, 0, &err),
              "%s: %s", name, err.text);
        es_speaker_close(m);
        es_plan_close(p);
    }
    CHECK(!es_speaker_preset(&(es_speaker_dims){0}, "whisper") && !es_speaker_is("whisper") && es_speaker_is("campplus"));
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"blocks of campplus", blocks_of_campplus}, {"masks", masks}, {"too long", too_long}, {"presets", presets}};

    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
