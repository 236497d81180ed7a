/*
 * whisper_rig.c - see whisper_rig.h. Always with limits.keep, so that a test can look at mel, encoding and logits.
 */
#include "whisper_rig.h"

#include "audio/mel.h"
#include "runtime/weights.h"
#include "seeded.h"

void es_whisper_rig_close(es_whisper_rig *g)
{
    es_whisper_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_bpe_close(g->bpe);
    es_weights_close(g->w);
    *g = (es_whisper_rig){0};
}

bool es_whisper_rig_open_as(es_whisper_rig *g, const char *path, es_whisper_limits limits, int threads, unsigned flags)
{
    es_fault fault = {0};
    int32_t quiet[128];
    size_t n = 0;
    int rc;

    *g = (es_whisper_rig){0};
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
        es_whisper_rig_close(g);
    }
    return rc == ES_OK;
}

bool es_whisper_rig_open(es_whisper_rig *g, const char *path, es_whisper_limits limits, int threads)
{
    return es_whisper_rig_open_as(g, path, limits, threads, 0);
}

float *es_whisper_rig_copy(es_whisper_rig *g, const char *what)
{
    es_tensor t = es_whisper_debug(g->m, what);
    float *x = malloc(es_tensor_bytes(t));

    if (x) es_state_get(g->a, t, 0, x, es_tensor_bytes(t));
    return x;
}

es_whisper_request es_whisper_rig_request(const int32_t *prompt, int n)
{
    return (es_whisper_request){.prompt = prompt, .n_prompt = n, .timestamps = true, .max_initial = 50};
}

bool es_whisper_rig_seeded(char path[4096])
{
    es_seeded_whisper s = {
        .seed = 7, .width = ES_RIG_WIDTH, .layers = ES_RIG_LAYERS, .n_mels = 80, .vocab = 51865, .f16 = true};

    snprintf(path, 4096, "%s/seeded.pack", es_test_folder());
    bool ok = es_seeded_whisper_write(path, &s) == 0;
    CHECK(ok, "cannot write %s", path);
    return ok;
}

float *es_whisper_rig_noise(uint64_t seed)
{
    float *w = malloc(ES_MEL_WINDOW_SAMPLES * sizeof *w);
    es_noise n = {seed};

    es_noise_fill(&n, w, ES_MEL_WINDOW_SAMPLES, 0.1);
    for (int i = 0; i < ES_MEL_WINDOW_SAMPLES; i++) w[i] *= (float)(1 + (i / 8000 + (int)seed) % 7) / 7;
    return w;
}

void es_whisper_rig_told(const char *what, double worst)
{
    if (getenv("ES_TEST_VERBOSE")) printf("    %s: %.2g\n", what, worst);
}
