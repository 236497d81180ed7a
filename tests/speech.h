/*
 * speech.h - a Whisper pack ready to transcribe, and recordings with their reference transcripts, for tests.
 */
#ifndef ES_TEST_SPEECH_H
#define ES_TEST_SPEECH_H

#include "test.h"

#include "base/json.h"
#include "media/decode.h"
#include "pipeline/words/transcribe.h"
#include "runtime/arena.h"
#include "runtime/plan.h"
#include "runtime/weights.h"

typedef struct model {
    es_weights *pack;
    es_bpe *bpe;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_whisper *whisper;
    es_transcriber *transcriber;
} model;

static void close_model(model *m)
{
    es_transcriber_close(m->transcriber);
    es_whisper_close(m->whisper);
    es_arena_close(m->arena);
    es_plan_close(m->plan);
    es_device_close(m->device);
    es_bpe_close(m->bpe);
    es_weights_close(m->pack);
    *m = (model){0};
}

static bool open_model(model *m, const char *file)
{
    const char *path = es_test_models(file);
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 32, .align = true};
    es_whisper_dims dims;
    es_err err = {0};
    es_fault fault = {0};
    int32_t never[128];
    int rc;

    *m = (model){0};
    if (!path) {
        es_test_skip("ES_TEST_MODELS: whisper packs");
        return false;
    }
    if ((rc = es_pack_open(&m->pack, path, &err)) != ES_OK) goto out;
    const es_weight *tokens = es_weights_find(m->pack, "tokenizer.tokens");
    CHECK(tokens != NULL, "%s has no tokenizer.tokens", file);
    if (!tokens || (rc = es_bpe_open(&m->bpe, tokens->p, tokens->bytes, &err)) != ES_OK) goto out;
    if ((rc = es_whisper_dims_read(&dims, m->pack, &err)) != ES_OK) goto out;
    if ((rc = es_plan_open(&m->plan, ES_CPU, 2, &err)) != ES_OK) goto out;
    rc = es_whisper_plan(&m->whisper, m->plan, "whisper", m->pack, &dims, limits, never,
                         (int)es_bpe_non_speech(m->bpe, never, 128), es_bpe_find(m->bpe, " ", 1), &err);
    if (rc != ES_OK || (rc = es_plan_finish(m->plan, 0, &err)) != ES_OK) goto out;
    if ((rc = es_device_open(&m->device, ES_CPU, 0, 2, NULL, &fault)) != 0) goto out;
    if ((rc = es_arena_open(&m->arena, m->plan, m->device, &err)) != ES_OK) goto out;
    if ((rc = es_arena_load(m->arena, &err)) != ES_OK) goto out;
    if ((rc = es_whisper_start(m->whisper, m->arena, &err)) != ES_OK) goto out;
    rc = es_transcriber_open(&m->transcriber, m->whisper, m->bpe, &err);
out:
    CHECK(rc == ES_OK, "%s: %d %s %s", file, rc, err.text, fault.text);
    if (rc != ES_OK || !m->transcriber) close_model(m);
    return m->transcriber != NULL;
}

/* What the references were made with: one temperature, no previous text. */
static es_transcribe_options reference_options(void)
{
    es_transcribe_options o = es_transcribe_defaults();

    o.n_temperatures = 1;
    o.words = false;
    return o;
}

/* ---- references ---- */

typedef struct reference {
    es_json *json;
    const es_json_node *root;
    es_spool *sound;
    es_media_info info;
} reference;

static void close_reference(reference *r)
{
    es_json_close(r->json);
    es_spool_close(r->sound);
    es_media_info_done(&r->info);
    *r = (reference){0};
}

static bool open_reference(reference *r, const char *name, const char *setting, const char *recording)
{
    char path[512];
    es_err err = {0};
    int rc;

    *r = (reference){0};
    snprintf(path, sizeof path, "goldens/asr/%s/%s/%s.json", name, setting, recording);
    const char *file = es_test_data(path);
    if (!file) {
        es_test_skip("ES_TEST_DATA: goldens/asr");
        return false;
    }
    if ((rc = es_json_read(&r->json, file, 1u << 24, &err)) == ES_OK) {
        r->root = es_json_root(r->json);
        snprintf(path, sizeof path, "audio/%s", es_json_string(es_json_get(r->root, "audio")));
        const char *audio = es_test_data(path);
        CHECK(audio != NULL, "%s is missing", path);
        if (audio) rc = es_media_decode(&r->sound, &r->info, audio, 0, es_test_folder(), NULL, NULL, &err);
    }
    CHECK(rc == ES_OK, "%s: %s", recording, err.text);
    if (rc != ES_OK || !r->sound) close_reference(r);
    return r->sound != NULL;
}

/* Words as they are compared: between blanks. */
static int split_words(const char *text, size_t n, size_t at[][2], int room)
{
    int count = 0;

    for (size_t i = 0; i < n && count < room;) {
        while (i < n && text[i] == ' ') i++;
        size_t from = i;
        while (i < n && text[i] != ' ') i++;
        if (i > from) at[count][0] = from, at[count][1] = i - from, count++;
    }
    return count;
}

#endif
