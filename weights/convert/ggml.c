/*
 * ggml.c - whisper.cpp's own model files.
 *
 *     i32 0x67676d6c; n_vocab, audio: context, width, heads, layers; text: the same; n_mels, ftype
 *     i32 n_mel, n_fft; f32 mel filters [n_mel, n_fft]           (computed by earshot itself, skipped)
 *     i32 n_tokens, each: i32 length, the raw bytes, in id order
 *     to the end: i32 dimensions, name length, type; i32 size of each (innermost first); name; data
 *
 * Tensors have OpenAI's names. Quantised files say which form of the blocks they hold (ftype / 1000); 2 is the one of
 * GGUF. Tokens become a vocab.json in GPT-2's byte alphabet, and the heads a config.json, as other sources have them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "source.h"

enum { HEADER = 12, MAX_TOKENS = 60000 };

typedef struct cursor {
    const unsigned char *p;
    size_t at, bytes;
    const char *path;
    es_err *err;
    int rc;
} cursor;

static const unsigned char *take(cursor *c, uint64_t n, const char *what)
{
    if (c->rc) return NULL;
    if (n > c->bytes - c->at) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: cut off in %s at byte %zu: %llu bytes are needed, %zu are left", c->path, what,
                        c->at, (unsigned long long)n, c->bytes - c->at);
        return NULL;
    }
    c->at += (size_t)n;
    return c->p + c->at - n;
}

static uint32_t number(cursor *c, const char *what)
{
    const unsigned char *p = take(c, 4, what);

    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

/* Raw bytes in the byte alphabet; out has room for two bytes each and a NUL. */
static void alphabet(char *out, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int next = 0x100, c = 0;
        for (int b = 0; b <= p[i]; b++) {
            bool self = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
            c = self ? b : next++;
        }
        if (c < 0x80) {
            *out++ = (char)c;
        } else {
            *out++ = (char)(0xc0 | c >> 6);
            *out++ = (char)(0x80 | (c & 63));
        }
    }
    *out = 0;
}

static void tokens(es_source *s, cursor *c)
{
    uint32_t n = number(c, "the tokens");
    es_json_out j;

    if (!c->rc && n > MAX_TOKENS) c->rc = es_fail(c->err, ES_EFORMAT, "%s: %u tokens, at most %d are expected", c->path, n, MAX_TOKENS);
    if (c->rc) return;
    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    for (uint32_t i = 0; i < n && !c->rc; i++) {
        uint32_t length = number(c, "a token");
        char text[2 * 255 + 1];
        if (!c->rc && length > 255) c->rc = es_fail(c->err, ES_EFORMAT, "%s: token %u has %u bytes", c->path, i, length);
        const unsigned char *p = take(c, length, "a token");
        if (!p) break;
        alphabet(text, p, length);
        if (length) es_json_put_uint(&j, text, i); /* only multilingual Whisper's 50256 is empty */
    }
    es_json_end_object(&j);
    if (c->rc || j.failed) {
        free(j.text);
        if (!c->rc) c->rc = es_fail(c->err, ES_ENOMEM, "%s: out of memory", c->path);
        return;
    }
    c->rc = es_source_add_text(s, "vocab.json", j.text, c->err);
}

static void config(es_source *s, cursor *c, const uint32_t head[HEADER])
{
    static const struct {
        const char *name;
        int at;
    } fields[] = {
        {"vocab_size", 1},     {"max_source_positions", 2},     {"d_model", 3},        {"encoder_attention_heads", 4},
        {"encoder_layers", 5}, {"decoder_attention_heads", 8},  {"decoder_layers", 9}, {"max_target_positions", 6},
        {"num_mel_bins", 10},
    };
    es_json_out j;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) es_json_put_uint(&j, fields[i].name, head[fields[i].at]);
    es_json_end_object(&j);
    if (j.failed) {
        free(j.text);
        c->rc = es_fail(c->err, ES_ENOMEM, "%s: out of memory", c->path);
        return;
    }
    c->rc = es_source_add_text(s, "config.json", j.text, c->err);
}

static void tensor(es_source *s, cursor *c, uint32_t form)
{
    es_src_tensor t = {0};
    uint32_t dims = number(c, "a tensor"), length = number(c, "a tensor"), type = number(c, "a tensor");
    const unsigned char *name;
    char text[65], shown[96];
    uint64_t count = 1;

    if (!c->rc && (dims < 1 || dims > 4 || !length || length > 64)) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: a tensor of %u dimensions with a name of %u bytes at byte %zu", c->path, dims,
                        length, c->at);
    }
    t.n_dims = c->rc ? 0 : (int)dims;
    for (int i = 0; i < t.n_dims; i++) t.dim[t.n_dims - 1 - i] = number(c, "a tensor's shape");
    name = take(c, length, "a tensor's name");
    if (!name) return;
    snprintf(text, sizeof text, "%.*s", (int)length, (const char *)name);
    es_printable(shown, sizeof shown, text);
    t.num = es_gguf_type(type);
    if (t.num == ES_N_NUMS) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: tensor %s has the type %u, which is not supported", c->path, shown, type);
        return;
    }
    if (es_num_block(t.num) > 1 && form != 2) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: blocks of form %u; those of form 2 are known: make the file again", c->path, form);
        return;
    }
    for (int i = 0; i < t.n_dims; i++) {
        if (!t.dim[i] || __builtin_mul_overflow(count, (uint64_t)t.dim[i], &count) || count > SIZE_MAX / 16) {
            c->rc = es_fail(c->err, ES_EFORMAT, "%s: the shape of tensor %s is impossible", c->path, shown);
            return;
        }
    }
    t.bytes = (size_t)(count / es_num_block(t.num) * es_num_bytes(t.num));
    t.p = take(c, t.bytes, "a tensor's data");
    if (t.p) c->rc = es_source_add(s, &t, (const char *)name, length, c->path, c->err);
}

int es_ggml_read(es_source *s, const char *path, es_err *err)
{
    cursor c = {.path = path, .err = err};
    uint32_t head[HEADER] = {0}, mels, bins;

    c.rc = es_source_map(s, path, &c.p, &c.bytes, err);
    for (int i = 0; i < HEADER; i++) head[i] = number(&c, "the header");
    mels = number(&c, "the mel filters");
    bins = number(&c, "the mel filters");
    take(&c, (uint64_t)mels * bins * 4, "the mel filters");
    if (!c.rc) tokens(s, &c);
    if (!c.rc) config(s, &c, head);
    while (!c.rc && c.at < c.bytes) tensor(s, &c, head[11] / 1000);
    if (!c.rc) c.rc = es_source_ready(s, err);
    if (!c.rc) snprintf(s->format, sizeof s->format, "ggml of whisper.cpp");
    return c.rc;
}
