/*
 * seeded_networks.c - packs of the models beside the speech model: each is planned without weights, so that its own code names
 * the tensors, and written with seeded ones.
 */
#include <stdio.h>
#include <string.h>

#include "models/embedder.h"
#include "models/pyannet.h"
#include "seeded.h"

static int written(int rc, const char *path, const char *architecture, const char *config, const es_plan *p, const char *tokens,
                   size_t n_tokens, uint64_t seed, es_err *err)
{
    if (rc == ES_OK && es_seeded_write(path, architecture, config, p, tokens, n_tokens, seed))
        rc = es_fail(err, ES_EIO, "%s: the pack cannot be written", path);
    return rc;
}

int es_seeded_segmentation_write(const char *path, uint64_t seed, es_err *err)
{
    es_plan *p = NULL;
    es_pyannet *m = NULL;
    int rc = es_plan_open(&p, ES_CPU, 1, err);

    if (rc == ES_OK) rc = es_pyannet_plan(&m, p, "segmentation", NULL, 1, err);
    rc = written(rc, path, "pyannet",
                 "{\\\"classes\\\":7,\\\"speakers\\\":3,\\\"simultaneous\\\":2,\\\"window_samples\\\":160000,\\\"hidden\\\":128,"
                 "\\\"lstm_layers\\\":4}",
                 p, NULL, 0, seed, err);
    es_pyannet_close(m);
    es_plan_close(p);
    return rc;
}

int es_seeded_speaker_write(const char *path, const char *architecture, const char *config, const es_speaker_dims *dims, uint64_t seed,
                            es_err *err)
{
    es_plan *p = NULL;
    es_speaker *m = NULL;
    int rc = es_plan_open(&p, ES_CPU, 1, err);

    if (rc == ES_OK) rc = es_speaker_plan(&m, p, "voices", NULL, dims, (es_speaker_limits){.answers = 1, .rows = 16}, err);
    rc = written(rc, path, architecture, config, p, NULL, 0, seed, err);
    es_speaker_close(m);
    es_plan_close(p);
    return rc;
}

int es_seeded_campplus_write(const char *path, uint64_t seed, es_err *err)
{
    es_speaker_dims d;

    if (!es_speaker_preset(&d, "campplus")) return es_fail(err, ES_EMODEL, "there is no network called campplus");
    return es_seeded_speaker_write(path, "campplus",
                                   "{\\\"n_mels\\\":80,\\\"embedding\\\":192,\\\"head_channels\\\":32,\\\"growth\\\":32,"
                                   "\\\"segment_frames\\\":100,\\\"blocks\\\":[[12,1],[24,2],[16,2]]}",
                                   &d, seed, err);
}

int es_seeded_resnet34_write(const char *path, uint64_t seed, es_err *err)
{
    const es_speaker_dims d = {.kind = ES_SPEAKER_RESNET34,
                               .vector = 24,
                               .resnet34 = {.vector = 24, .channels = {8, 16, 24, 40}, .blocks = {1, 2, 1, 1}}};

    return es_seeded_speaker_write(
        path, "resnet34", "{\\\"n_mels\\\":80,\\\"embedding\\\":24,\\\"channels\\\":[8,16,24,40],\\\"blocks\\\":[1,2,1,1]}", &d, seed, err);
}

int es_seeded_ecapa_write(const char *path, bool taoruijie, uint64_t seed, es_err *err)
{
    es_speaker_dims d = {
        .kind = ES_SPEAKER_ECAPA,
        .vector = 24,
        .ecapa = {.taoruijie = taoruijie, .vector = 24, .channels = 64, .squeeze = 16, .wide = 96, .attention = 32}};
    char config[256];

    snprintf(config, sizeof config,
             "{\\\"family\\\":\\\"%s\\\",\\\"n_mels\\\":80,\\\"channels\\\":64,\\\"scale\\\":8,\\\"squeeze\\\":16,\\\"wide\\\":96,"
             "\\\"attention\\\":32,\\\"embedding\\\":24}",
             taoruijie ? "taoruijie" : "speechbrain");
    return es_seeded_speaker_write(path, "ecapa", config, &d, seed, err);
}

int es_seeded_encoder_write(const char *path, uint64_t seed, es_err *err)
{
    static const char *const frame[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    static const char known[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const es_embedder_dims dims = {.d_model = 64, .heads = 2, .kv_heads = 2, .head_dim = 32, .layers = 2, .mlp = 128, .vocab = 77,
                                   .positions = 80, .longest = 80, .eps = 1e-12f, .mask = ES_MASK_NONE, .pooling = ES_POOL_MEAN};
    char tokens[512];
    size_t n = 0;
    es_plan *p = NULL;
    es_embedder *m = NULL;
    int rc = es_plan_open(&p, ES_CPU, 1, err);

    for (size_t i = 0; i < sizeof frame / sizeof frame[0]; i++)
        n += (size_t)snprintf(tokens + n, sizeof tokens - n, "%c%s", (int)strlen(frame[i]), frame[i]);
    for (size_t i = 0; known[i]; i++) n += (size_t)snprintf(tokens + n, sizeof tokens - n, "\1%c\3##%c", known[i], known[i]);
    if (rc == ES_OK) rc = es_embedder_plan(&m, p, "encoder", NULL, &dims, (es_embedder_limits){.tokens = 16, .texts = 1}, err);
    rc = written(rc, path, "bert",
                 "{\\\"d_model\\\":64,\\\"heads\\\":2,\\\"layers\\\":2,\\\"mlp\\\":128,\\\"vocab\\\":77,\\\"positions\\\":80,"
                 "\\\"max_tokens\\\":80,\\\"eps\\\":1e-12,\\\"pooling\\\":\\\"mean\\\",\\\"lowercase\\\":true,"
                 "\\\"tokenizer\\\":\\\"wordpiece\\\"}",
                 p, tokens, n, seed, err);
    es_embedder_close(m);
    es_plan_close(p);
    return rc;
}
