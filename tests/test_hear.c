/*
 * test_hear.c - what a segmentation pack changes for the speech model: nothing where people speak, everything where none do.
 */
#define _GNU_SOURCE
#include "recorded.h"

#include "earshot.h"

static bool open_engine(es_engine **e, const char *segmentation)
{
    const char *pack = es_test_models("whisper-tiny.pack");
    es_engine_options o = ES_ENGINE_OPTIONS;
    es_error error = {0};
    char folder[4096];

    *e = NULL;
    if (!pack || !es_test_models("segmentation-3.0.pack")) {
        es_test_skip("ES_TEST_MODELS: whisper-tiny and segmentation-3.0");
        return false;
    }
    snprintf(folder, sizeof folder, "%s", pack);
    *strrchr(folder, '/') = 0;
    o.models = folder;
    o.asr = "whisper-tiny";
    o.segmentation = segmentation;
    o.diarizer = o.voice = o.embedder = "none";
    o.device = "cpu";
    o.threads = 2;
    CHECK(es_engine_open(e, &o, &error) == ES_DONE, "%s", error.text);
    return *e != NULL;
}

static char *text_of(es_engine *e, const recording *r)
{
    es_speech *speech = NULL;
    es_error error = {0};
    char *text = NULL;
    size_t bytes = 0;
    es_speech_options o = ES_SPEECH_OPTIONS;

    o.sequential = true; /* side by side, pieces are cut after the regions themselves */
    CHECK(es_engine_transcribe(e, &speech, r->x, r->n, &o, NULL, NULL, &error) == ES_DONE &&
              es_speech_export(speech, "tsv", NULL, &text, &bytes, &error) == ES_DONE,
          "%s", error.text);
    es_speech_close(speech);
    return text;
}

/* Regions of speech only leave windows out: words and their times elsewhere are the same. */
static void words_stay(void)
{
    static const char *const files[] = {"audio/pyannote_sample/sample.wav", "audio/librispeech/mr_quilter_1272-128104-0000.wav"};
    es_engine *with = NULL, *without = NULL;

    if (!open_engine(&with, NULL) || !open_engine(&without, "none")) {
        es_engine_close(with);
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        recording r;
        if (!load(&r, files[i])) continue;
        char *have = text_of(with, &r), *want = text_of(without, &r);
        CHECK(have && want && strlen(want) > 20 && !strcmp(have, want), "%s: with regions of speech:\n%swithout:\n%s", files[i], have ? have : "",
              want ? want : "");
        es_free(have), es_free(want);
        free(r.x);
    }
    es_engine_close(with), es_engine_close(without);
}

static void nothing_is_said(void)
{
    enum { SECONDS = 75 };
    static const char *const names[] = {"silence", "noise", "hum", "music"};
    es_engine *e = NULL;
    es_noise noise = {3};

    if (!open_engine(&e, NULL)) return;
    for (int kind = 0; kind < 4; kind++) {
        recording r = {.n = 16000 * SECONDS, .x = calloc(16000 * SECONDS, sizeof(float))};
        if (kind == 1) es_noise_fill(&noise, r.x, (size_t)r.n, 0.1);
        for (int64_t i = 0; i < r.n; i++) {
            static const double chord[4][3] = {{262, 330, 392}, {220, 262, 330}, {175, 220, 262}, {196, 247, 294}};
            double t = (double)(i % 16000) / 16000;
            if (kind == 2) r.x[i] = (float)(0.05 * sin(6.283185307 * 50 * (double)i / 16000) + 0.002 * es_noise_normal(&noise));
            for (int j = 0; j < 3 && kind == 3; j++) r.x[i] += (float)(0.15 * exp(-2 * t) * sin(6.283185307 * chord[i / 16000 % 4][j] * t));
        }
        char *text = text_of(e, &r);
        CHECK(text && !strcmp(text, "start\tend\ttext\n"), "%s: \"%s\"", names[kind], text ? text : "");
        es_free(text);
        free(r.x);
    }
    es_engine_close(e);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"words_stay", words_stay},
        {"nothing_is_said", nothing_is_said},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
