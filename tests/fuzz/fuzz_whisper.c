/*
 * fuzz_whisper.c - any text as the config of a Whisper pack: what is accepted must be a model that can be planned.
 *
 * The text becomes the "config" of a pack without tensors. Sizes that pass are planned as a preset, on both backends,
 * and must place; the pack itself must then be refused, because it holds none of the tensors that it promises.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/whisper.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CONFIG_MOST = 4096, DEPTH = 2 /* layers planned in full: deeper ones repeat them */ };

static const char before[] =
    "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"whisper\",\"name\":\"fuzz\",\"config\":\"";
static const char after[] = "\",\"source\":\"fuzz\",\"source_hash\":\"00000000000000000000000000000000\","
                            "\"data_hash\":\"00000000000000000000000000000000\",\"converter\":\"1\"}}";

/* The length, the header with the config as a JSON string, blanks up to a multiple of 64. */
static size_t pack_of(uint8_t *out, const uint8_t *config, size_t n)
{
    size_t at = 8;

    memcpy(out + at, before, sizeof before - 1);
    at += sizeof before - 1;
    for (size_t i = 0; i < n; i++) {
        if (config[i] == '"' || config[i] == '\\') out[at++] = '\\';
        out[at++] = config[i] < 32 ? ' ' : config[i];
    }
    memcpy(out + at, after, sizeof after - 1);
    at += sizeof after - 1;
    while (at % 64) out[at++] = ' ';
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)((uint64_t)(at - 8) >> (8 * i));
    return at;
}

static void plan(es_backend backend, const es_weights *w, const es_whisper_dims *d)
{
    const es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 8, .align = true};
    es_err err = {0};
    es_plan *p = NULL;
    es_whisper *m = NULL;

    if (es_plan_open(&p, backend, 1, &err)) return;
    int rc = es_whisper_plan(&m, p, "fuzz", w, d, limits, NULL, 0, 220, &err);
    if (w ? rc != ES_EMODEL || m || !err.text[0] : rc != ES_OK || es_plan_finish(p, 0, &err) != ES_OK) abort();
    es_whisper_close(m);
    es_plan_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t pack[sizeof before + sizeof after + 2 * CONFIG_MOST + 128];
    es_weights *w;
    es_whisper_dims d = {0};
    es_err err = {0};

    if (n > CONFIG_MOST) return -1;
    size_t bytes = pack_of(pack, data, n);
    if (es_pack_open_bytes(&w, pack, bytes, "fuzz", &err)) return 0;
    int rc = es_whisper_dims_read(&d, w, &err);
    if (rc != ES_OK && !err.text[0]) abort();
    if (rc == ES_OK) {
        es_whisper_ids ids = es_whisper_ids_of(&d);
        if (d.n_pairs < 1 || d.n_pairs > ES_WHISPER_MAX_PAIRS || ids.timestamp_begin + 1501 != d.vocab) abort();
        for (int i = 0; i < d.n_pairs; i++)
            if (d.pair[i][0] < 0 || d.pair[i][0] >= d.decoder_layers || d.pair[i][1] < 0 || d.pair[i][1] >= d.heads)
                abort();
        plan(ES_CPU, w, &d);
        if (d.encoder_layers <= DEPTH && d.decoder_layers <= DEPTH) {
            plan(ES_CPU, NULL, &d);
            plan(ES_CUDA, NULL, &d);
        }
    }
    es_weights_close(w);
    return 0;
}
