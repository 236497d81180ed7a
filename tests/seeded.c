/*
 * seeded.c - see seeded.h. Written on its own, without the converter, so that a reader of packs is tested against bytes
 * that its own project's writer did not make. Matrices are normal noise over the root of their inputs, so that values
 * keep their size through the layers; norms are near 1 and 0. The tokenizer's table has every byte at the place where a
 * blank is id 220, then words of letters.
 */
#include "seeded.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/layout.h"
#include "test.h"

typedef struct writer {
    es_noise noise;
    bool f16;
    int pass; /* of two: 4-byte tensors, then 2-byte ones */
    char *header;
    size_t n_header, room;
    unsigned char *data;
    size_t n_data, data_room;
    bool failed;
} writer;

static void say(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(writer *w, const char *format, ...)
{
    va_list ap;

    if (w->room - w->n_header < 512) {
        char *more = realloc(w->header, w->room * 2 + 4096);
        if (!more) {
            w->failed = true;
            return;
        }
        w->header = more;
        w->room = w->room * 2 + 4096;
    }
    va_start(ap, format);
    w->n_header += (size_t)vsnprintf(w->header + w->n_header, w->room - w->n_header, format, ap);
    va_end(ap);
}

static unsigned char *more_data(writer *w, size_t bytes)
{
    if (w->data_room - w->n_data < bytes) {
        size_t room = (w->data_room + bytes) * 2;
        unsigned char *more = realloc(w->data, room);
        if (!more) {
            w->failed = true;
            return NULL;
        }
        w->data = more;
        w->data_room = room;
    }
    w->n_data += bytes;
    return w->data + w->n_data - bytes;
}

/* Half precision of a normal value well inside its range, rounded to nearest, ties away; tiny values become zero. */
static uint16_t half(float x)
{
    uint32_t b;
    memcpy(&b, &x, 4);
    uint32_t sign = b >> 16 & 0x8000u, magnitude = b & 0x7fffffffu;

    if (magnitude < 0x38800000u) return (uint16_t)sign;
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0x1000u) >> 13));
}

/* One tensor of mean + scale * noise. Vectors are f32, matrices what the pack's weights are. */
static void tensor(writer *w, const char *name, int rows, int columns, double mean, double scale)
{
    bool is_half = w->f16 && columns > 0;
    size_t n = (size_t)rows * (size_t)(columns ? columns : 1), bytes = n * (is_half ? 2 : 4), begin = w->n_data;

    if (is_half != (w->pass == 1)) return;
    unsigned char *p = more_data(w, bytes);
    if (!p) return;
    for (size_t i = 0; i < n; i++) {
        float x = (float)(mean + scale * es_noise_normal(&w->noise));
        uint16_t h = half(x);
        if (is_half) memcpy(p + 2 * i, &h, 2);
        else memcpy(p + 4 * i, &x, 4);
    }
    say(w, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%d", name, is_half ? "F16" : "F32", rows);
    if (columns) say(w, ",%d", columns);
    say(w, "],\"data_offsets\":[%zu,%zu]}", begin, begin + bytes);
}

static void linear(writer *w, const char *stack, int layer, const char *name, int O, int I, int zero_from, int zero_to)
{
    char full[128];

    snprintf(full, sizeof full, "%s.layers.%d.%s.weight", stack, layer, name);
    tensor(w, full, O, I, 0, 1.3 / sqrt((double)I));
    size_t before = w->n_data;
    snprintf(full, sizeof full, "%s.layers.%d.%s.bias", stack, layer, name);
    tensor(w, full, O, 0, 0, 0.1);
    if (w->n_data > before) memset(w->data + before + 4 * (size_t)zero_from, 0, 4 * (size_t)(zero_to - zero_from));
}

static void norm(writer *w, const char *stack, int layer, const char *name, int C)
{
    char full[128], at[32] = "";

    if (layer >= 0) snprintf(at, sizeof at, "layers.%d.", layer);
    snprintf(full, sizeof full, "%s.%s%s.weight", stack, at, name);
    tensor(w, full, C, 0, 1, 0.1);
    snprintf(full, sizeof full, "%s.%s%s.bias", stack, at, name);
    tensor(w, full, C, 0, 0, 0.1);
}

static void layer(writer *w, const char *stack, int i, int C, bool cross)
{
    norm(w, stack, i, "attn_norm", C);
    linear(w, stack, i, "qkv", 3 * C, C, C, 2 * C);
    linear(w, stack, i, "out", C, C, 0, 0);
    if (cross) {
        norm(w, stack, i, "cross_norm", C);
        linear(w, stack, i, "cross_q", C, C, 0, 0);
        linear(w, stack, i, "cross_kv", 2 * C, C, 0, C);
        linear(w, stack, i, "cross_out", C, C, 0, 0);
    }
    norm(w, stack, i, "mlp_norm", C);
    linear(w, stack, i, "up", 4 * C, C, 0, 0);
    linear(w, stack, i, "down", C, 4 * C, 0, 0);
}

static void tokenizer(writer *w, int n)
{
    size_t begin = w->n_data;

    for (int i = 0; i < n; i++) {
        unsigned char text[8];
        size_t k = 0;
        if (i < 256) {
            text[k++] = (unsigned char)(i == 220 ? 32 : i == 32 ? 220 : i);
        } else if (i < 50256) {
            if (i % 3) text[k++] = ' ';
            for (int v = i; v > 0; v /= 26) text[k++] = (unsigned char)('a' + v % 26);
        }
        unsigned char *p = more_data(w, 1 + k);
        if (!p) return;
        p[0] = (unsigned char)k;
        memcpy(p + 1, text, k);
    }
    say(w, ",\"tokenizer.tokens\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}", w->n_data - begin,
        begin, w->n_data);
}

/* start: n bytes of the header, which the tensors follow. */
static int file_of(const writer *w, const char *path, const char *start, int n)
{
    size_t length = (size_t)n + w->n_header + 1, padded = (length + 8 + 63) / 64 * 64 - 8;
    unsigned char size[8];
    FILE *f = fopen(path, "wb");

    if (!f) return -1;
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    fwrite(size, 1, 8, f);
    fwrite(start, 1, (size_t)n, f);
    fwrite(w->header, 1, w->n_header, f);
    fputc('}', f);
    for (size_t i = length; i < padded; i++) fputc(' ', f);
    fwrite(w->data, 1, w->n_data, f);
    int rc = ferror(f) ? -1 : 0;
    return fclose(f) ? -1 : rc;
}

const es_seeded_whisper es_seeded_small = {
    .seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true, .alignment = "[[1, 0]]", .name = "small"};

int es_seeded_whisper_write(const char *path, const es_seeded_whisper *s)
{
    writer w = {.noise = {s->seed}, .f16 = s->f16};
    int C = s->width, multilingual = s->vocab > 51864, rc = -1;
    const char *name = s->name ? s->name : "seeded-whisper";
    char start[2048], hex[33];

    for (w.pass = 0; w.pass < 2; w.pass++) {
        tensor(&w, "encoder.conv1.weight", C, 3 * s->n_mels, 0, 1.5 / sqrt(3.0 * s->n_mels));
        tensor(&w, "encoder.conv1.bias", C, 0, 0, 0.1);
        tensor(&w, "encoder.conv2.weight", C, 3 * C, 0, 1.5 / sqrt(3.0 * C));
        tensor(&w, "encoder.conv2.bias", C, 0, 0, 0.1);
        tensor(&w, "encoder.positions", 1500, C, 0, 0.3);
        for (int i = 0; i < s->layers; i++) layer(&w, "encoder", i, C, false);
        norm(&w, "encoder", -1, "norm", C);
        tensor(&w, "decoder.tokens", s->vocab, C, 0, 0.3);
        tensor(&w, "decoder.positions", 448, C, 0, 0.3);
        for (int i = 0; i < s->layers; i++) layer(&w, "decoder", i, C, true);
        norm(&w, "decoder", -1, "norm", C);
    }
    tokenizer(&w, 50256 + multilingual);
    if (w.failed) goto out;

    es_hash_hex(hex, es_hash_bytes(w.data, w.n_data));
    int n =
        snprintf(start, sizeof start,
                 "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"whisper\",\"name\":\"%s\",\"config\":\""
                 "{\\\"d_model\\\":%d,\\\"heads\\\":%d,\\\"encoder_layers\\\":%d,\\\"decoder_layers\\\":%d,"
                 "\\\"n_mels\\\":%d,\\\"vocab\\\":%d,\\\"audio_positions\\\":1500,\\\"text_positions\\\":448,"
                 "\\\"multilingual\\\":%s,\\\"n_languages\\\":%d,\\\"mel\\\":\\\"slaney-%d\\\","
                 "\\\"tokenizer\\\":\\\"whisper-%s\\\"%s%s}\",\"source\":\"seed %llu\",\"source_hash\":\"%s\","
                 "\"data_hash\":\"%s\",\"converter\":\"1\"}",
                 name, C, C / 64, s->layers, s->layers, s->n_mels, s->vocab, multilingual ? "true" : "false",
                 s->vocab - 51765 - multilingual, s->n_mels, multilingual ? "multilingual" : "english",
                 s->alignment ? ",\\\"alignment_heads\\\":" : "", s->alignment ? s->alignment : "",
                 (unsigned long long)s->seed, hex, hex);
    if (n < 0 || (size_t)n >= sizeof start) goto out;
    rc = file_of(&w, path, start, n);
out:
    free(w.header);
    free(w.data);
    return rc;
}

/* Matrices as those of Whisper; of the vectors, what multiplies is near one and what adds near zero. */
int es_seeded_write(const char *path, const char *architecture, const char *config, const es_plan *plan, const char *tokens,
                    size_t n_tokens, uint64_t seed)
{
    const es_model *m = plan->models[0];
    writer w = {.noise = {seed}};
    char start[2048], hex[33];
    int rc = -1;

    for (int i = 0; i < m->n_items; i++) {
        const es_item *t = &m->items[i];
        const char *last = strrchr(t->name, '.');
        bool factor = last && (!strcmp(last, ".scale") || !strcmp(last, ".weight"));
        if (t->kind == ES_ITEM_MATRIX) tensor(&w, t->name, t->O, t->I, 0, 1.3 / sqrt((double)t->I));
        if (t->kind == ES_ITEM_VECTOR) tensor(&w, t->name, t->O, 0, factor ? 1 : 0, 0.1);
    }
    unsigned char *table = tokens ? more_data(&w, n_tokens) : NULL;
    if (table) {
        memcpy(table, tokens, n_tokens);
        say(&w, ",\"tokenizer.tokens\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}", n_tokens, w.n_data - n_tokens,
            w.n_data);
    }
    if (w.failed) goto out;
    es_hash_hex(hex, es_hash_bytes(w.data, w.n_data));
    int n = snprintf(start, sizeof start,
                     "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"%s\",\"name\":\"seeded-%s\",\"config\":\"%s\","
                     "\"source\":\"seed %llu\",\"source_hash\":\"%s\",\"data_hash\":\"%s\",\"converter\":\"1\"}",
                     architecture, architecture, config, (unsigned long long)seed, hex, hex);
    if (n > 0 && (size_t)n < sizeof start) rc = file_of(&w, path, start, n);
out:
    free(w.header);
    free(w.data);
    return rc;
}
