/*
 * earshot_encoder.c - the public door, part for meaning: texts and token ids as vectors.
 */
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "encoder.h"
#include "pipeline/bench/bench_embed.h"
#include "pipeline/search/embedding.h"

int es_door_encoder_options(es_embedding_options *out, const es_encoder_options *options, char *models_room, size_t room,
                            es_err *err)
{
    es_encoder_options o = ES_ENCODER_OPTIONS;

    if (!es_door_options(&o, sizeof o, options)) return es_fail(err, ES_EARG, "es_encoder_options has no valid size");
    if (o.threads < 0 || o.threads > 1024) return es_fail(err, ES_EARG, "%d is no number of threads", o.threads);
    if (o.batch_size < 0) return es_fail(err, ES_EARG, "%d is no number of texts", o.batch_size);
    if (!o.models) {
        es_error place = {0};
        int rc = es_default_models(models_room, room, &place);
        if (rc != ES_OK) return es_fail(err, rc, "%s", place.text);
        o.models = models_room;
    }
    *out = (es_embedding_options){.models = o.models,
                                  .model = o.model,
                                  .device = o.device,
                                  .device_from = o.device_from,
                                  .budget = o.budget,
                                  .threads = o.threads,
                                  .texts = o.batch_size,
                                  .split = o.split};
    return ES_OK;
}

int es_encoder_open(es_encoder **out, const es_encoder_options *options, es_error *error)
{
    es_embedding_options inner;
    es_encoder *e = NULL;
    es_err err = {0};
    char models[4096];
    int rc = es_door_encoder_options(&inner, options, models, sizeof models, &err);

    *out = NULL;
    if (rc == ES_OK && !(e = calloc(1, sizeof *e))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = es_embedding_open(&e->embedding, &inner, &err);
    if (rc == ES_OK) {
        *out = e;
        e = NULL; /* the caller's from here on */
    }
    es_encoder_close(e);
    return es_door_give(error, rc, &err);
}

void es_encoder_close(es_encoder *encoder)
{
    if (!encoder) return;
    es_embedding_close(encoder->embedding);
    free(encoder);
}

int es_encoder_width(const es_encoder *encoder)
{
    return es_embedding_width(encoder->embedding);
}

int es_encoder_embed(es_encoder *encoder, const char *const *texts, const size_t *bytes, size_t n, bool query, float *vectors,
                     es_error *error)
{
    es_err err = {0};

    return es_door_give(error, es_embedding_texts(encoder->embedding, texts, bytes, n, query, vectors, &err), &err);
}

int es_encoder_embed_ids(es_encoder *encoder, const int32_t *ids, const size_t *bounds, size_t n, float *vectors, es_error *error)
{
    es_err err = {0};

    return es_door_give(error, es_embedding_ids(encoder->embedding, ids, bounds, n, vectors, &err), &err);
}

int es_encoder_tokenize(const es_encoder *encoder, const char *text, size_t bytes, int32_t *ids, size_t room, size_t *n,
                        es_error *error)
{
    es_err err = {0};

    return es_door_give(error, es_embedding_tokenize(encoder->embedding, text, bytes, ids, room, n, &err), &err);
}

int es_encoder_bench(const es_encoder_bench_options *options, const char *format, char **text, size_t *bytes, es_error *error)
{
    es_encoder_bench_options o = ES_ENCODER_BENCH_OPTIONS;
    es_bench_embed_options inner = {0};
    es_err err = {0};
    char models[4096];
    bool json = format && !strcmp(format, "json");
    int rc = ES_OK;

    *text = NULL, *bytes = 0;
    if (!es_door_options(&o, sizeof o, options)) rc = es_fail(&err, ES_EARG, "es_encoder_bench_options has no valid size");
    if (rc == ES_OK && format && !json && strcmp(format, "text")) rc = es_fail(&err, ES_EARG, "figures come as text or json");
    if (rc == ES_OK && (o.tokens < 0 || o.texts < 0)) rc = es_fail(&err, ES_EARG, "%d texts of %d tokens cannot be", o.texts, o.tokens);
    if (rc == ES_OK) rc = es_door_encoder_options(&inner.encoder, o.encoder, models, sizeof models, &err);
    inner.encoder.synthetic = o.synthetic;
    inner.tokens = o.tokens;
    inner.texts = o.texts;
    inner.sweep = o.sweep;
    if (rc == ES_OK) rc = es_bench_embed(&inner, json, text, bytes, &err);
    return es_door_give(error, rc, &err);
}
