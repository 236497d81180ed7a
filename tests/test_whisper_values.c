/*
 * test_whisper_values.c - trained packs against a reference implementation's numbers, where both are at hand.
 *
 * One recording, with both ways of filling the window after its end: mel, encoder output, the language's and silence's
 * probabilities, the tokens, the twenty largest logits of twelve steps, and when each word begins.
 */
#include "audio/mel.h"
#include "base/json.h"
#include "whisper_rig.h"

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
    es_whisper_rig_told(name, worst);
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
    es_whisper_rig_told(name, worst);
    free(have);
    free(want);
}

/* The logits behind each of the first steps, as a prompt and as steps: the same bits, and the reference's values. */
static void check_logits(es_whisper_rig *g, const es_json_node *steps, const int32_t *prompt, int n_prompt,
                         const int32_t *tokens)
{
    es_whisper_output out;
    int32_t all[64], top[20];
    int k = 0;
    double worst = 0;

    memcpy(all, prompt, (size_t)n_prompt * 4);
    for (const es_json_node *s = es_json_first(steps); s && k < 12; s = es_json_next(s), k++) {
        if (k) all[n_prompt + k - 1] = tokens[k - 1];
        es_whisper_request q = es_whisper_rig_request(all, n_prompt + k);
        q.max_tokens = 1;
        OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
        float *by_prompt = es_whisper_rig_copy(g, "logits");
        q = es_whisper_rig_request(prompt, n_prompt);
        q.max_tokens = k + 1;
        OK(es_whisper_decode(g->m, &q, &out, &g->err), g->err);
        float *by_steps = es_whisper_rig_copy(g, "logits");
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
    es_whisper_rig_told("logits", worst);
}

static void check_variant(es_whisper_rig *g, const char *model, const char *variant, const es_json_node *v,
                          const float *window)
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
    float *mel = es_whisper_rig_copy(g, "mel"), *e = es_whisper_rig_copy(g, "encoder");
    check_mel(mel, variant, "first300", 0);
    check_mel(mel, variant, "frames1090_1109", 1090);
    check_encoder(e, model, variant, g->dims.d_model, number(es_json_get(v, "encoder_output"), "sum_of_squares"));
    free(mel);
    free(e);

    es_whisper_request q = es_whisper_rig_request(&sot, 1);
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
    q = es_whisper_rig_request(prompt, 3);
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
static void check_words(es_whisper_rig *g, const char *model, const float *window)
{
    char name[256];
    es_json *j = NULL;
    es_whisper_window w = {.pcm = window, .frames = 1100, .top = NAN, .fill = 0, .slot = 0};
    int32_t text[448], sot[3] = {g->ids.sot, g->ids.lang_begin, g->ids.transcribe};
    int n = 0, first[449], frames = 1101, compared = 0;
    float p[448];

    snprintf(name, sizeof name, "goldens/asr/%s/B/jfk.json", model);
    if (!es_test_data(name)) {
        es_test_skip("ES_TEST_DATA/goldens/asr");
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
    es_whisper_rig g;
    es_json *j = NULL;
    int64_t n;
    const char *pack;

    snprintf(name, sizeof name, "%s.pack", model);
    pack = es_test_models(name);
    if (!pack) {
        es_test_skip("ES_TEST_MODELS/whisper-tiny.pack and whisper-base.pack");
        return;
    }
    snprintf(name, sizeof name, "goldens/asr/internals/%s/internals.json", model);
    const char *golden = es_test_data(name), *audio = es_test_data("audio/jfk/jfk.wav");
    if (!golden || !audio) {
        es_test_skip("ES_TEST_DATA/goldens/asr/internals and audio/jfk");
        return;
    }
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 227, .align = true};
    if (!es_whisper_rig_open(&g, pack, limits, 0)) return;
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
    es_whisper_rig_close(&g);
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
    {"tiny_values", tiny_values},
    {"base_values", base_values},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
