/*
 * test_whisper.c - Whisper against its published sizes, and against a naive twin in double.
 *
 * Facts: parameter counts, ids, alignment heads, refusals, warping vectors. Structure, on a seeded model of two layers:
 * the whole network against the twin. What slots owe each other is in test_whisper_slots.c, trained models in
 * test_whisper_values.c.
 */
#include "audio/mel.h"
#include "runtime/weights.h"
#include "seeded.h"
#include "whisper_twin.h"

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

/* ---- structure ---- */

static void twin(void)
{
    enum { PROMPT = 9, SOT_AT = 5, TEXT = 5 };
    static const int32_t prompt[PROMPT] = {50361, 11, 4000, 50364, 77, 50258, 50259, 50359, 50364};
    static const int32_t text[TEXT] = {400, 370, 452, 7177, 13};
    char path[4096];
    es_whisper_rig g;
    es_whisper_output out;

    if (!es_whisper_rig_seeded(path)) return;
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 16, .align = true};
    if (!es_whisper_rig_open(&g, path, limits, 2)) return;
    size_t V = (size_t)g.dims.vocab;
    float *pcm = es_whisper_rig_noise(3);
    es_whisper_window w = {.pcm = pcm, .frames = 2500, .top = NAN, .fill = 0};
    es_whisper_encode(g.m, &w, 1);
    float *mel = es_whisper_rig_copy(&g, "mel"), *have_e = es_whisper_rig_copy(&g, "encoder");
    double *e = es_whisper_twin_encode(&g, mel);
    es_whisper_rig_told("encoder", CHECK_CLOSE("encoder", have_e, e, ES_RIG_AUDIO * ES_RIG_WIDTH, 2e-5, 0));

    es_whisper_request q = es_whisper_rig_request(prompt, PROMPT);
    q.sot_at = SOT_AT;
    q.max_tokens = 1;
    OK(es_whisper_decode(g.m, &q, &out, &g.err), g.err);
    double *logits = es_whisper_twin_decode(&g, e, prompt, PROMPT);
    float *last = es_whisper_rig_copy(&g, "logits"), *sot = es_whisper_rig_copy(&g, "sot");
    es_whisper_rig_told("logits", CHECK_CLOSE("logits of the newest row", last, logits + (PROMPT - 1) * V, V, 5e-5, 0));
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
    last = es_whisper_rig_copy(&g, "logits");
    logits = es_whisper_twin_decode(&g, e, all, PROMPT);
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
    logits = es_whisper_twin_decode(&g, e, rows, 5 + TEXT);
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
    es_whisper_rig_close(&g);
}

static const es_test tests[] = {
    {"presets", presets},     {"ids", ids},   {"warping", warping}, {"refusals", refusals}, {"mirror", mirror},
    {"cuda_plan", cuda_plan}, {"twin", twin},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
