/*
 * test_cuda.c - a whole model on the CUDA backend beside its CPU twin: the same programs, the plan's addresses, the .cu
 * kernels. Runs on a card, or under the emulator of tests/simt, where the device is named after it.
 */
#include "test.h"

#include "kernels/device.h"
#include "models/whisper.h"
#include "seeded.h"

typedef struct rig {
    es_weights *w;
    es_whisper_dims dims;
    es_whisper_ids ids;
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
    es_weights_close(g->w);
    *g = (rig){0};
}

static bool rig_open(rig *g, const char *path, es_backend backend, es_whisper_limits limits)
{
    es_fault fault = {0};
    int rc;

    *g = (rig){0};
    limits.keep = true;
    rc = es_pack_open(&g->w, path, &g->err);
    if (!rc) rc = es_whisper_dims_read(&g->dims, g->w, &g->err);
    if (!rc) g->ids = es_whisper_ids_of(&g->dims);
    if (!rc) rc = es_plan_open(&g->p, backend, 2, &g->err);
    if (!rc) rc = es_whisper_plan(&g->m, g->p, "whisper", g->w, &g->dims, limits, NULL, 0, 220, &g->err);
    if (!rc) rc = es_plan_finish(g->p, 0, &g->err);
    if (!rc && es_device_open(&g->d, backend, 0, 2, NULL, &fault)) rc = es_fail(&g->err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &g->err);
    if (!rc) rc = es_arena_load(g->a, &g->err);
    if (!rc) rc = es_whisper_start(g->m, g->a, &g->err);
    if (rc) {
        es_test_fail(__FILE__, __LINE__, "%s: %s", path, g->err.text);
        rig_close(g);
    }
    return rc == ES_OK;
}

static bool have_device(void)
{
    es_fault why = {0};

    if (es_device_count(ES_CUDA, &why) > 0) return true;
    es_test_skip("a GPU or the emulator");
    return false;
}

/* A window of noise under a slow envelope, or of speech-like sweeps. */
static float *window_of(uint64_t seed)
{
    enum { N = ES_MEL_SAMPLES + 2 * ES_MEL_PAD };
    float *x = malloc(N * sizeof *x);
    es_noise n = {seed};

    es_noise_fill(&n, x, N, 0.05);
    for (int i = 0; i < N; i++) x[i] *= (float)(1 + (i / 8000 + (int)seed) % 7) / 7;
    return x;
}

/* The norm of the difference of the two encodings of a window, and the norm of the CPU's. */
static double encoder_difference(rig *cpu, rig *cuda, double *norm)
{
    es_tensor a = es_whisper_debug(cpu->m, "encoder"), b = es_whisper_debug(cuda->m, "encoder");
    size_t n = es_tensor_count(a);
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    double s = 0;

    CHECK(a.dtype == ES_F32 && b.dtype == ES_F32 && es_tensor_count(b) == n, "the encodings are not kept alike");
    es_state_get(cpu->a, a, 0, x, n * sizeof *x);
    es_state_get(cuda->a, b, 0, y, n * sizeof *y);
    *norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)y[i] - (double)x[i];
        s += d * d;
        *norm += (double)x[i] * (double)x[i];
    }
    free(x);
    free(y);
    *norm = sqrt(*norm);
    return sqrt(s);
}

/* Relative distance of the encodings, and the tokens of a greedy decode, against the CPU twin. */
static void beside_the_twin(const char *pack, int n_tokens, bool same_tokens)
{
    es_whisper_limits limits = {.windows = 1, .slots = 2, .prompt_rows = 8, .align = true};
    rig cpu, cuda;
    float *pcm = window_of(3);
    es_whisper_output want, have, again;
    double norm, off;

    if (!rig_open(&cpu, pack, ES_CPU, limits)) goto out;
    if (!rig_open(&cuda, pack, ES_CUDA, limits)) {
        rig_close(&cpu);
        goto out;
    }
    int32_t prompt[3] = {cpu.ids.sot, cpu.ids.lang_begin, cpu.ids.transcribe};
    es_whisper_request q = {.prompt = prompt, .n_prompt = cpu.dims.multilingual ? 3 : 1, .timestamps = true, .max_initial = 50,
                            .max_tokens = n_tokens};
    es_whisper_window w = {.pcm = pcm, .frames = 2500, .top = NAN, .fill = 0};
    rig *both[2] = {&cpu, &cuda};
    es_whisper_output *outs[2] = {&want, &have};
    uint64_t before = 0;
    for (int i = 0; i < 2; i++) {
        es_whisper_encode(both[i]->m, &w, 1);
        before = es_device_allocations(both[i]->d);
        CHECK(es_whisper_decode(both[i]->m, &q, outs[i], &both[i]->err) == ES_OK, "%s", both[i]->err.text);
        CHECK(es_device_allocations(both[i]->d) == before, "memory was taken after open");
    }
    off = encoder_difference(&cpu, &cuda, &norm);
    CHECK(off <= 5e-3 * norm, "the encoding is %.3g of its norm away from the CPU's", off / norm);
    CHECK(fabsf(want.no_speech - have.no_speech) < 2e-3f, "no speech %.6f, on the CPU %.6f", (double)have.no_speech,
          (double)want.no_speech);
    if (same_tokens) {
        CHECK_INT(have.n, want.n);
        for (int i = 0; i < want.n && i < have.n; i++) CHECK_INT(have.tokens[i], want.tokens[i]);
        CHECK(fabsf(want.sum_logprob - have.sum_logprob) < 0.05f, "log-probability %.6f, on the CPU %.6f",
              (double)have.sum_logprob, (double)want.sum_logprob);
    }
    /* The same slot again, and the other one: the same bits. */
    w.slot = q.slot = 1;
    es_whisper_encode(cuda.m, &w, 1);
    CHECK(es_whisper_decode(cuda.m, &q, &again, &cuda.err) == ES_OK, "%s", cuda.err.text);
    CHECK(again.n == have.n && !memcmp(again.tokens, have.tokens, (size_t)have.n * 4), "another slot, other tokens");
    CHECK(!memcmp(&again.sum_logprob, &have.sum_logprob, 4), "another slot, another log-probability: %.9g, %.9g",
          (double)again.sum_logprob, (double)have.sum_logprob);
    rig_close(&cuda);
    rig_close(&cpu);
out:
    free(pcm);
}

static void a_seeded_whisper(void)
{
    es_seeded_whisper s = {.seed = 11, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true};
    char path[4096];

    if (!have_device()) return;
    snprintf(path, sizeof path, "%s/seeded.pack", es_test_folder());
    CHECK(es_seeded_whisper_write(path, &s) == 0, "cannot write %s", path);
    beside_the_twin(path, 5, true);
}

/* The real encoder and decoder for a few tokens. */
static void whisper_tiny(void)
{
    const char *pack = es_test_models("whisper-tiny.pack");

    if (!have_device()) return;
    if (!pack) {
        es_test_skip("ES_TEST_MODELS/whisper-tiny.pack");
        return;
    }
    beside_the_twin(pack, 4, true);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"a_seeded_whisper", a_seeded_whisper},
        {"whisper_tiny", whisper_tiny},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
