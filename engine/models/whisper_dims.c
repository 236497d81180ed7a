/*
 * whisper_dims.c - the sizes of every released Whisper, what a pack's config may say, and the special tokens' ids.
 *
 * Five numbers tell the sizes apart: encoder and decoder layers, width, mel bins, vocabulary. The rest follows: heads
 * are 64 wide, the inner layer is four widths, the positions are 1500 and 448. The vocabulary tells English-only models
 * from multilingual ones (one base token more, or less) and how many languages there are, and from that the id of every
 * special token: they are appended in a fixed order behind the base tokens. Published configs disagree with each other
 * about these ids, so none is read from a file.
 *
 * Alignment heads are the cross-attention heads whose weights follow the sound in time, found by the models' authors.
 * Distilled decoders have few layers, so a list copied from the teacher names layers they lack; such lists are refused.
 */
#include "models/whisper_parts.h"

#include <stdio.h>
#include <string.h>

enum {
    BASE_TOKENS_ENGLISH = 50256,
    TIMES = 1501,
    FIXED_SPECIALS = 8 /* eot sot, two tasks, lm prev silence notimes */
};

typedef struct size_row {
    const char *name;
    int encoder_layers, decoder_layers, d_model, n_mels, vocab;
    int n_pairs;
    const int8_t *pairs; /* layer, head, layer, head ...; NULL: every head of the upper half of the layers */
} size_row;

static const int8_t tiny_en[] = {1, 0, 2, 0, 2, 5, 3, 0, 3, 1, 3, 2, 3, 3, 3, 4};
static const int8_t tiny[] = {2, 2, 3, 0, 3, 2, 3, 3, 3, 4, 3, 5};
static const int8_t base_en[] = {3, 3, 4, 7, 5, 1, 5, 5, 5, 7};
static const int8_t base[] = {3, 1, 4, 2, 4, 3, 4, 7, 5, 1, 5, 2, 5, 4, 5, 6};
static const int8_t small_en[] = {6, 6, 7,  0,  7, 3,  7, 8,  8, 2,  8, 5,  8, 7,  9,  0,  9, 4,  9,
                                  8, 9, 10, 10, 0, 10, 1, 10, 2, 10, 3, 10, 6, 10, 11, 11, 2, 11, 4};
static const int8_t small[] = {5, 3, 5, 9, 8, 0, 8, 4, 8, 7, 8, 8, 9, 0, 9, 7, 9, 9, 10, 5};
static const int8_t medium_en[] = {11, 4,  14, 1, 14, 12, 14, 14, 15, 4, 16, 0, 16, 4, 16, 9,  17, 12,
                                   17, 14, 18, 7, 18, 10, 18, 15, 20, 0, 20, 3, 20, 9, 20, 14, 21, 12};
static const int8_t medium[] = {13, 15, 15, 4, 15, 15, 16, 1, 20, 0, 23, 4};
static const int8_t large_v1[] = {9, 19, 11, 2, 11, 4, 11, 17, 22, 7, 22, 11, 22, 17, 23, 2, 23, 15};
static const int8_t large_v2[] = {10, 12, 13, 17, 16, 11, 16, 12, 16, 13, 17, 15, 17, 16, 18, 4,
                                  18, 11, 18, 19, 19, 11, 21, 2,  21, 3,  22, 3,  22, 9,  22, 12,
                                  23, 5,  23, 7,  23, 13, 25, 5,  26, 1,  26, 12, 27, 15};
static const int8_t large_v3[] = {7, 0, 10, 17, 12, 18, 13, 12, 16, 1, 17, 14, 19, 11, 21, 4, 24, 1, 25, 6};
static const int8_t turbo[] = {2, 4, 2, 11, 3, 3, 3, 6, 3, 11, 3, 14};
static const int8_t distil_small_en[] = {1, 7, 2, 0, 2, 3, 2, 4, 3, 2, 3, 4, 3, 5, 3, 10};

#define PAIRS(a) (int)(sizeof(a) / 2), a
static const size_row sizes[] = {
    {"tiny.en", 4, 4, 384, 80, 51864, PAIRS(tiny_en)},
    {"tiny", 4, 4, 384, 80, 51865, PAIRS(tiny)},
    {"base.en", 6, 6, 512, 80, 51864, PAIRS(base_en)},
    {"base", 6, 6, 512, 80, 51865, PAIRS(base)},
    {"small.en", 12, 12, 768, 80, 51864, PAIRS(small_en)},
    {"small", 12, 12, 768, 80, 51865, PAIRS(small)},
    {"medium.en", 24, 24, 1024, 80, 51864, PAIRS(medium_en)},
    {"medium", 24, 24, 1024, 80, 51865, PAIRS(medium)},
    /* v2 stands before v1: of two equal sizes the later training counts. */
    {"large-v2", 32, 32, 1280, 80, 51865, PAIRS(large_v2)},
    {"large-v1", 32, 32, 1280, 80, 51865, PAIRS(large_v1)},
    {"large-v3", 32, 32, 1280, 128, 51866, PAIRS(large_v3)},
    {"large-v3-turbo", 32, 4, 1280, 128, 51866, PAIRS(turbo)},
    {"distil-large-v2", 32, 2, 1280, 80, 51865, 0, NULL},
    {"distil-large-v3", 32, 2, 1280, 128, 51866, 0, NULL},
    {"distil-large-v3.5", 32, 2, 1280, 128, 51866, 0, NULL},
    {"distil-medium.en", 24, 2, 1024, 80, 51864, 0, NULL},
    {"distil-small.en", 12, 4, 768, 80, 51864, PAIRS(distil_small_en)},
};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

/* What the vocabulary's size says. */
static void read_vocabulary(es_whisper_dims *d)
{
    d->multilingual = d->vocab > BASE_TOKENS_ENGLISH + FIXED_SPECIALS + TIMES + 99;
    d->n_languages = d->vocab - (BASE_TOKENS_ENGLISH + FIXED_SPECIALS + TIMES) - d->multilingual;
}

/* Without a list, the heads of the upper half of the layers vote together. A deep decoder has more of them than the
 * table holds; then the last layers, which follow the sound best, are taken. */
static void default_pairs(es_whisper_dims *d)
{
    int first = d->decoder_layers / 2;

    while ((d->decoder_layers - first) * d->heads > ES_WHISPER_MAX_PAIRS) first++;
    d->n_pairs = 0;
    for (int l = first; l < d->decoder_layers; l++) {
        for (int h = 0; h < d->heads; h++) {
            d->pair[d->n_pairs][0] = l;
            d->pair[d->n_pairs++][1] = h;
        }
    }
}

static void take_pairs(es_whisper_dims *d, const size_row *s)
{
    if (!s || !s->pairs) {
        default_pairs(d);
        return;
    }
    d->n_pairs = s->n_pairs;
    for (int i = 0; i < s->n_pairs; i++) {
        d->pair[i][0] = s->pairs[2 * i];
        d->pair[i][1] = s->pairs[2 * i + 1];
    }
}

const char *es_whisper_preset_name(int i)
{
    return i >= 0 && i < N_SIZES ? sizes[i].name : NULL;
}

bool es_whisper_preset(es_whisper_dims *out, const char *name)
{
    if (!strncmp(name, "whisper-", 8)) name += 8;
    if (!strcmp(name, "large")) name = "large-v3";
    if (!strcmp(name, "turbo")) name = "large-v3-turbo";
    for (int i = 0; i < N_SIZES; i++) {
        const size_row *s = &sizes[i];
        if (strcmp(name, s->name) != 0) continue;
        *out = (es_whisper_dims){.d_model = s->d_model,
                                 .heads = s->d_model / ES_WHISPER_HEAD,
                                 .encoder_layers = s->encoder_layers,
                                 .decoder_layers = s->decoder_layers,
                                 .n_mels = s->n_mels,
                                 .vocab = s->vocab};
        read_vocabulary(out);
        take_pairs(out, s);
        return true;
    }
    return false;
}

static const size_row *same_sizes(const es_whisper_dims *d)
{
    for (int i = 0; i < N_SIZES; i++) {
        const size_row *s = &sizes[i];
        if (s->encoder_layers == d->encoder_layers && s->decoder_layers == d->decoder_layers &&
            s->d_model == d->d_model && s->n_mels == d->n_mels && s->vocab == d->vocab)
            return s;
    }
    return NULL;
}

static int read_int(const es_json_node *config, const char *path, const char *key, int least, int most, int *out,
                    es_err *err)
{
    int64_t v;

    if (!es_json_int(es_json_get(config, key), least, most, &v))
        return es_fail(err, ES_EMODEL, "%s: config: \"%s\" is not a whole number from %d to %d", path, key, least,
                       most);
    *out = (int)v;
    return ES_OK;
}

static int read_pairs(es_whisper_dims *d, const es_json_node *list, const char *path, es_err *err)
{
    int n = es_json_count(list);

    if (list && (!es_json_is_array(list) || n > ES_WHISPER_MAX_PAIRS))
        return es_fail(err, ES_EMODEL, "%s: config: \"alignment_heads\" is not a list of at most %d pairs", path,
                       ES_WHISPER_MAX_PAIRS);
    if (n == 0) {
        take_pairs(d, same_sizes(d));
        return ES_OK;
    }
    d->n_pairs = 0;
    for (const es_json_node *p = es_json_first(list); p; p = es_json_next(p)) {
        int64_t layer, head;
        const es_json_node *first = es_json_first(p);
        if (!es_json_is_array(p) || es_json_count(p) != 2 || !es_json_int(first, 0, INT32_MAX, &layer) ||
            !es_json_int(es_json_next(first), 0, INT32_MAX, &head))
            return es_fail(err, ES_EMODEL, "%s: config: alignment head %d is not [layer, head]", path, d->n_pairs);
        if (layer >= d->decoder_layers || head >= d->heads)
            return es_fail(
                err, ES_EMODEL,
                "%s: config: alignment head [%lld, %lld] does not exist, the decoder has %d layers of %d heads", path,
                (long long)layer, (long long)head, d->decoder_layers, d->heads);
        for (int i = 0; i < d->n_pairs; i++)
            if (d->pair[i][0] == layer && d->pair[i][1] == head)
                return es_fail(err, ES_EMODEL, "%s: config: alignment head [%lld, %lld] is named twice", path,
                               (long long)layer, (long long)head);
        d->pair[d->n_pairs][0] = (int32_t)layer;
        d->pair[d->n_pairs++][1] = (int32_t)head;
    }
    return ES_OK;
}

int es_whisper_dims_read(es_whisper_dims *out, const es_weights *pack, es_err *err)
{
    const es_json_node *c = es_pack_config(pack);
    const char *path = es_weights_path(pack), *arch = es_pack_architecture(pack), *mel;
    es_whisper_dims d = {0};
    int rc, n_languages = 0, positions = 0, text_positions = 0;
    char want[16];

    if (!arch || strcmp(arch, "whisper") != 0)
        return es_fail(err, ES_EMODEL, "%s: its architecture is \"%s\", not \"whisper\"", path, arch ? arch : "");
    if ((rc = read_int(c, path, "d_model", ES_WHISPER_HEAD, 4096, &d.d_model, err)) ||
        (rc = read_int(c, path, "heads", 1, 64, &d.heads, err)) ||
        (rc = read_int(c, path, "encoder_layers", 1, ES_WHISPER_MAX_LAYERS, &d.encoder_layers, err)) ||
        (rc = read_int(c, path, "decoder_layers", 1, ES_WHISPER_MAX_LAYERS, &d.decoder_layers, err)) ||
        (rc = read_int(c, path, "n_mels", 80, 128, &d.n_mels, err)) ||
        (rc = read_int(c, path, "vocab", 51864, 51866, &d.vocab, err)) ||
        (rc = read_int(c, path, "audio_positions", 1500, 1500, &positions, err)) ||
        (rc = read_int(c, path, "text_positions", ES_WHISPER_POSITIONS, ES_WHISPER_POSITIONS, &text_positions, err)) ||
        (rc = read_int(c, path, "n_languages", 0, 1000, &n_languages, err)))
        return rc;
    read_vocabulary(&d);
    if (d.d_model != d.heads * ES_WHISPER_HEAD)
        return es_fail(err, ES_EMODEL, "%s: config: %d heads of %d do not make a width of %d", path, d.heads,
                       ES_WHISPER_HEAD, d.d_model);
    if (d.multilingual && n_languages != d.n_languages)
        return es_fail(err, ES_EMODEL, "%s: config: %d languages, but a vocabulary of %d has %d", path, n_languages,
                       d.vocab, d.n_languages);
    if (d.n_mels != 80 && d.n_mels != 128)
        return es_fail(err, ES_EMODEL, "%s: config: %d mel bins, but Whisper has 80 or 128", path, d.n_mels);
    snprintf(want, sizeof want, "slaney-%d", d.n_mels);
    mel = es_json_string(es_json_get(c, "mel"));
    if (!mel || strcmp(mel, want) != 0)
        return es_fail(err, ES_EMODEL, "%s: config: mel is \"%s\", but %d bins are \"%s\"", path, mel ? mel : "",
                       d.n_mels, want);
    rc = read_pairs(&d, es_json_get(c, "alignment_heads"), path, err);
    if (rc == ES_OK) *out = d;
    return rc;
}

es_whisper_ids es_whisper_ids_of(const es_whisper_dims *d)
{
    es_whisper_ids i = {.eot = BASE_TOKENS_ENGLISH + d->multilingual};

    i.sot = i.eot + 1;
    i.lang_begin = i.sot + 1;
    i.n_lang = d->n_languages;
    i.translate = i.lang_begin + i.n_lang;
    i.transcribe = i.translate + 1;
    i.sot_lm = i.translate + 2;
    i.sot_prev = i.translate + 3;
    i.no_speech = i.translate + 4;
    i.no_timestamps = i.translate + 5;
    i.timestamp_begin = i.translate + 6;
    return i;
}
