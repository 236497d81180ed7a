/*
 * small_whisper.c - writes the small Whisper of small_whisper.h in the formats that convert reads.
 */
#define _GNU_SOURCE
#include "small_whisper.h"

#include <sys/stat.h>

#include "weights/convert/number.h"

/* ---- growing bytes ---- */

void es_bytes_add(es_bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->room) {
        b->room = (b->n + n) * 2 + 4096;
        b->p = realloc(b->p, b->room);
        if (!b->p) abort();
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

void es_bytes_num(es_bytes *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) es_bytes_add(b, &(unsigned char){(unsigned char)(v >> (8 * i))}, 1);
}

void es_small_save(const char *folder, const char *name, const void *p, size_t n)
{
    char path[4096];
    FILE *f;

    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    CHECK(f && fwrite(p, 1, n, f) == n, "%s cannot be written", path);
    if (f) fclose(f);
}

void es_small_save_text(const char *folder, const char *name, const char *text)
{
    es_small_save(folder, name, text, strlen(text));
}

/* ---- the model: its tensors, by the names of the pack ---- */

/* k of element i of a tensor; zero where the pack must have a zero (the keys' bias). */
int es_small_value(const char *name, size_t i)
{
    uint64_t h = 1469598103934665603u;
    size_t stem = strlen(name);

    for (size_t c = 0; c < stem; c++) h = (h ^ (unsigned char)name[c]) * 1099511628211u;
    if (stem > 8 && !strcmp(name + stem - 8, "qkv.bias") && i >= ES_SMALL_D && i < 2 * ES_SMALL_D) return 0;
    if (stem > 13 && !strcmp(name + stem - 13, "cross_kv.bias") && i < ES_SMALL_D) return 0;
    h += i * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    return (int)((h >> 40) % 255) - 127;
}

#define L "encoder.layers.0."
#define M "decoder.layers.0."
#define CL "encoder/layer_0/"
#define CM "decoder/layer_0/"
#define A "self_attn."
#define X "encoder_attn."
const es_small_tensor es_small_model[ES_SMALL_N] = {
    {"encoder.conv1.weight", "encoder/conv1/weight", "encoder.conv1.weight", {ES_SMALL_D, ES_SMALL_MELS, 3}, true},
    {"encoder.conv1.bias", "encoder/conv1/bias", "encoder.conv1.bias", {ES_SMALL_D}, false},
    {"encoder.conv2.weight", "encoder/conv2/weight", "encoder.conv2.weight", {ES_SMALL_D, ES_SMALL_D, 3}, true},
    {"encoder.conv2.bias", "encoder/conv2/bias", "encoder.conv2.bias", {ES_SMALL_D}, false},
    {"encoder.positions", "encoder/position_encodings/encodings", "encoder.embed_positions.weight", {1500, ES_SMALL_D}, false},
    {L "attn_norm.weight", CL "self_attention/layer_norm/gamma", L "self_attn_layer_norm.weight", {ES_SMALL_D}, false},
    {L "attn_norm.bias", CL "self_attention/layer_norm/beta", L "self_attn_layer_norm.bias", {ES_SMALL_D}, false},
    {L "qkv.weight", CL "self_attention/linear_0/weight",
     L A "q_proj.weight|" L A "k_proj.weight|" L A "v_proj.weight", {3 * ES_SMALL_D, ES_SMALL_D}, true},
    {L "qkv.bias", CL "self_attention/linear_0/bias", L A "q_proj.bias|-|" L A "v_proj.bias", {3 * ES_SMALL_D}, false},
    {L "out.weight", CL "self_attention/linear_1/weight", L A "out_proj.weight", {ES_SMALL_D, ES_SMALL_D}, true},
    {L "out.bias", CL "self_attention/linear_1/bias", L A "out_proj.bias", {ES_SMALL_D}, false},
    {L "mlp_norm.weight", CL "ffn/layer_norm/gamma", L "final_layer_norm.weight", {ES_SMALL_D}, false},
    {L "mlp_norm.bias", CL "ffn/layer_norm/beta", L "final_layer_norm.bias", {ES_SMALL_D}, false},
    {L "up.weight", CL "ffn/linear_0/weight", L "fc1.weight", {ES_SMALL_MLP, ES_SMALL_D}, true},
    {L "up.bias", CL "ffn/linear_0/bias", L "fc1.bias", {ES_SMALL_MLP}, false},
    {L "down.weight", CL "ffn/linear_1/weight", L "fc2.weight", {ES_SMALL_D, ES_SMALL_MLP}, true},
    {L "down.bias", CL "ffn/linear_1/bias", L "fc2.bias", {ES_SMALL_D}, false},
    {"encoder.norm.weight", "encoder/layer_norm/gamma", "encoder.layer_norm.weight", {ES_SMALL_D}, false},
    {"encoder.norm.bias", "encoder/layer_norm/beta", "encoder.layer_norm.bias", {ES_SMALL_D}, false},
    {"decoder.tokens", "decoder/embeddings/weight", "decoder.embed_tokens.weight", {ES_SMALL_VOCAB, ES_SMALL_D}, true},
    {"decoder.positions", "decoder/position_encodings/encodings", "decoder.embed_positions.weight", {448, ES_SMALL_D}, false},
    {M "attn_norm.weight", CM "self_attention/layer_norm/gamma", M "self_attn_layer_norm.weight", {ES_SMALL_D}, false},
    {M "attn_norm.bias", CM "self_attention/layer_norm/beta", M "self_attn_layer_norm.bias", {ES_SMALL_D}, false},
    {M "qkv.weight", CM "self_attention/linear_0/weight",
     M A "q_proj.weight|" M A "k_proj.weight|" M A "v_proj.weight", {3 * ES_SMALL_D, ES_SMALL_D}, true},
    {M "qkv.bias", CM "self_attention/linear_0/bias", M A "q_proj.bias|-|" M A "v_proj.bias", {3 * ES_SMALL_D}, false},
    {M "out.weight", CM "self_attention/linear_1/weight", M A "out_proj.weight", {ES_SMALL_D, ES_SMALL_D}, true},
    {M "out.bias", CM "self_attention/linear_1/bias", M A "out_proj.bias", {ES_SMALL_D}, false},
    {M "cross_norm.weight", CM "attention/layer_norm/gamma", M "encoder_attn_layer_norm.weight", {ES_SMALL_D}, false},
    {M "cross_norm.bias", CM "attention/layer_norm/beta", M "encoder_attn_layer_norm.bias", {ES_SMALL_D}, false},
    {M "cross_q.weight", CM "attention/linear_0/weight", M X "q_proj.weight", {ES_SMALL_D, ES_SMALL_D}, true},
    {M "cross_q.bias", CM "attention/linear_0/bias", M X "q_proj.bias", {ES_SMALL_D}, false},
    {M "cross_kv.weight", CM "attention/linear_1/weight", M X "k_proj.weight|" M X "v_proj.weight", {2 * ES_SMALL_D, ES_SMALL_D}, true},
    {M "cross_kv.bias", CM "attention/linear_1/bias", "-|" M X "v_proj.bias", {2 * ES_SMALL_D}, false},
    {M "cross_out.weight", CM "attention/linear_2/weight", M X "out_proj.weight", {ES_SMALL_D, ES_SMALL_D}, true},
    {M "cross_out.bias", CM "attention/linear_2/bias", M X "out_proj.bias", {ES_SMALL_D}, false},
    {M "mlp_norm.weight", CM "ffn/layer_norm/gamma", M "final_layer_norm.weight", {ES_SMALL_D}, false},
    {M "mlp_norm.bias", CM "ffn/layer_norm/beta", M "final_layer_norm.bias", {ES_SMALL_D}, false},
    {M "up.weight", CM "ffn/linear_0/weight", M "fc1.weight", {ES_SMALL_MLP, ES_SMALL_D}, true},
    {M "up.bias", CM "ffn/linear_0/bias", M "fc1.bias", {ES_SMALL_MLP}, false},
    {M "down.weight", CM "ffn/linear_1/weight", M "fc2.weight", {ES_SMALL_D, ES_SMALL_MLP}, true},
    {M "down.bias", CM "ffn/linear_1/bias", M "fc2.bias", {ES_SMALL_D}, false},
    {"decoder.norm.weight", "decoder/layer_norm/gamma", "decoder.layer_norm.weight", {ES_SMALL_D}, false},
    {"decoder.norm.bias", "decoder/layer_norm/beta", "decoder.layer_norm.bias", {ES_SMALL_D}, false},
};

size_t es_small_count(const es_small_tensor *t)
{
    size_t n = 1;

    for (int i = 0; i < 3 && t->dim[i]; i++) n *= (size_t)t->dim[i];
    return n;
}

/* What a source stores for element i of the pack's tensor `name`. */
static void element(es_bytes *b, const char *name, size_t i, const char *type)
{
    int k = es_small_value(name, i);
    float f = (float)k / 8;

    if (!strcmp(type, "F32")) es_bytes_add(b, &f, 4);
    else if (!strcmp(type, "F16")) es_bytes_num(b, es_number_to_f16(f), 2);
    else if (!strcmp(type, "BF16")) es_bytes_num(b, es_number_to_bf16(f), 2);
    else if (!strcmp(type, "I8")) es_bytes_num(b, (uint64_t)(int64_t)k, 1);
    else es_bytes_num(b, (uint64_t)(int64_t)(k * 4), 2); /* I16, in units of 1/32 */
}

/* ---- CTranslate2 files ---- */

static void ct2_text(es_bytes *b, const char *text)
{
    es_bytes_num(b, strlen(text) + 1, 2);
    es_bytes_add(b, text, strlen(text) + 1);
}

static void ct2_head(es_bytes *b, const char *name, int rank, const int *dim, const char *type, size_t n, int version)
{
    static const char *const types[] = {"F32", "I8", "I16", "I32", "F16", "BF16"};
    int code = 0, size = !strcmp(type, "F32") ? 4 : !strcmp(type, "I8") ? 1 : 2;

    while (strcmp(types[code], type)) code++;
    ct2_text(b, name);
    es_bytes_num(b, (uint64_t)rank, 1);
    for (int i = 0; i < rank; i++) es_bytes_num(b, (uint64_t)dim[i], 4);
    es_bytes_num(b, (uint64_t)(version < 4 ? size : code), 1);
    es_bytes_num(b, version < 4 ? n : n * (size_t)size, 4);
}

/* type: of the matrices; whole numbers come with their scales and f32 vectors. */
void es_small_ct2(es_bytes *b, int version, const char *type)
{
    bool quantised = type[0] == 'I';
    static const char *const sides[] = {"decoder", "encoder"};
    char name[256];
    int n = ES_SMALL_N + 4;

    for (int i = 0; i < ES_SMALL_N; i++) n += quantised && es_small_model[i].matrix;
    if (version < 3) n++;
    b->n = 0;
    es_bytes_num(b, (uint64_t)version, 4);
    if (version >= 2) {
        ct2_text(b, "WhisperSpec");
        es_bytes_num(b, 3, 4);
    }
    es_bytes_num(b, (uint64_t)n, 4);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/num_heads", sides[i]);
        ct2_head(b, name, 0, NULL, "I16", 1, version);
        es_bytes_num(b, 2, 2);
        snprintf(name, sizeof name, "%s/activation", sides[i]);
        ct2_head(b, name, 0, NULL, "I8", 1, version);
        es_bytes_num(b, 3, 1);
    }
    for (int i = 0; i < ES_SMALL_N + (version < 3); i++) {
        const es_small_tensor *t = i < ES_SMALL_N ? &es_small_model[i] : &es_small_model[19];
        int rank = t->dim[2] ? 3 : t->dim[1] ? 2 : 1;
        const char *own = t->matrix || !quantised ? type : "F32";
        snprintf(name, sizeof name, "%s", i < ES_SMALL_N ? t->ct2 : "decoder/projection/weight");
        ct2_head(b, name, rank, t->dim, own, es_small_count(t), version);
        for (size_t k = 0; k < es_small_count(t); k++) element(b, t->pack, k, own);
        if (!quantised || !t->matrix || i == ES_SMALL_N) continue;
        int rows = own[1] == '8' ? t->dim[0] : 1;
        snprintf(name, sizeof name, "%s_scale", t->ct2);
        ct2_head(b, name, 1, &rows, "F32", (size_t)rows, version);
        for (int k = 0; k < rows; k++) es_bytes_add(b, &(float){own[1] == '8' ? 8 : 32}, 4);
    }
    if (version >= 3) {
        es_bytes_num(b, 1, 4);
        ct2_text(b, "decoder/projection/weight");
        ct2_text(b, "decoder/embeddings/weight");
    }
}

/* ---- vocabularies: the 256 bytes, then "a" and a number ---- */

void es_small_token(char *out, int id, bool raw)
{
    int next = 0x100;

    if (id >= 256) {
        sprintf(out, "a%d", id);
        return;
    }
    for (int b = 0; b <= id; b++) {
        bool self = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
        int c = self ? b : next++;
        if (b != id) continue;
        if (raw) out[0] = (char)b, out[1] = 0;
        else if (c < 0x80) out[0] = (char)c, out[1] = 0;
        else out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), out[2] = 0;
    }
}

void es_small_vocabulary(const char *folder, const char *name, bool list)
{
    es_bytes b = {0};
    char token[32], line[64];

    es_bytes_add(&b, list ? "[" : "{", 1);
    for (int i = 0; i < (list ? ES_SMALL_VOCAB : ES_SMALL_BASE); i++) {
        es_small_token(token, i, false);
        if (i >= ES_SMALL_BASE) snprintf(token, sizeof token, "<|%d|>", i);
        const char *slash = !strcmp(token, "\"") || !strcmp(token, "\\") ? "\\" : "";
        int n = list ? snprintf(line, sizeof line, "%s\"%s%s\"", i ? "," : "", slash, token)
                     : snprintf(line, sizeof line, "%s\"%s%s\":%d", i ? "," : "", slash, token, i);
        es_bytes_add(&b, line, (size_t)n);
    }
    es_bytes_add(&b, list ? "]" : "}", 1);
    es_small_save(folder, name, b.p, b.n);
    free(b.p);
}

/* ---- safetensors files ---- */

static void openai_name(char out[160], const char *hf);

/* Only tensors with first <= index < last. */
static void write_safetensors(const char *folder, const char *name, const char *prefix, const char *type, int first, int last,
                              const char *extra, bool openai)
{
    es_bytes head = {0}, data = {0}, all = {0};
    char line[512];

    es_bytes_add(&head, "{", 1);
    for (int i = first; i < last; i++) {
        const es_small_tensor *t = &es_small_model[i];
        int parts = 1, rank = t->dim[2] ? 3 : t->dim[1] ? 2 : 1;
        char names[256];
        snprintf(names, sizeof names, "%s", t->hf);
        for (const char *p = names; *p; p++) parts += *p == '|';
        size_t per = es_small_count(t) / (size_t)parts, at = 0;
        for (char *save_at, *p = strtok_r(names, "|", &save_at); p; p = strtok_r(NULL, "|", &save_at), at += per) {
            size_t from = data.n;
            if (!strcmp(p, "-")) continue;
            for (size_t k = 0; k < per; k++) element(&data, t->pack, at + k, type);
            char other[160];
            if (openai) openai_name(other, p);
            int n = snprintf(line, sizeof line, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[%d", head.n > 1 ? "," : "", prefix,
                             openai ? other : p, type, t->dim[0] / parts);
            for (int d = 1; d < rank; d++) n += snprintf(line + n, sizeof line - (size_t)n, ",%d", t->dim[d]);
            n += snprintf(line + n, sizeof line - (size_t)n, "],\"data_offsets\":[%zu,%zu]}", from, data.n);
            es_bytes_add(&head, line, (size_t)n);
        }
    }
    if (extra) {
        int n = snprintf(line, sizeof line, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}", extra,
                         data.n, data.n + 4);
        es_bytes_add(&head, line, (size_t)n);
        es_bytes_num(&data, 0, 4);
    }
    es_bytes_add(&head, "}", 1);
    es_bytes_num(&all, head.n, 8);
    es_bytes_add(&all, head.p, head.n);
    es_bytes_add(&all, data.p, data.n);
    es_small_save(folder, name, all.p, all.n);
    free(head.p), free(data.p), free(all.p);
}

void es_small_safetensors(const char *folder, const char *name, const char *prefix, const char *type, int first, int last,
                          const char *extra)
{
    write_safetensors(folder, name, prefix, type, first, last, extra, false);
}

void es_small_openai(const char *folder, const char *name, const char *type)
{
    write_safetensors(folder, name, "", type, 0, ES_SMALL_N, NULL, true);
}

/* ---- OpenAI's names ---- */

/* A name of Hugging Face as OpenAI has it. */
static void openai_name(char out[160], const char *hf)
{
    static const char *const pairs[][2] = {
        {"encoder_attn_layer_norm", "cross_attn_ln"}, {"self_attn_layer_norm", "attn_ln"}, {"final_layer_norm", "mlp_ln"},
        {"encoder.layer_norm", "encoder.ln_post"},    {"decoder.layer_norm", "decoder.ln"}, {".layers.", ".blocks."},
        {"encoder_attn.", "cross_attn."},             {"self_attn.", "attn."},              {"q_proj", "query"},
        {"k_proj", "key"},                            {"v_proj", "value"},                  {"out_proj", "out"},
        {".fc1.", ".mlp.0."},                         {".fc2.", ".mlp.2."},                 {"embed_tokens", "token_embedding"},
        {"embed_positions.weight", "positional_embedding"},
    };
    char text[160];

    snprintf(out, 160, "%s", hf);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *at = strstr(out, pairs[i][0]);
        if (!at) continue;
        snprintf(text, sizeof text, "%s", at + strlen(pairs[i][0]));
        snprintf(at, 160 - (size_t)(at - out), "%s%s", pairs[i][1], text);
    }
}

/* ---- whisper.cpp ---- */

static void ggml_tensor(es_bytes *b, const char *name, int rank, const int *dim, int type)
{
    es_bytes_num(b, (uint64_t)rank, 4);
    es_bytes_num(b, strlen(name), 4);
    es_bytes_num(b, (uint64_t)type, 4);
    for (int i = rank; i-- > 0;) es_bytes_num(b, (uint64_t)dim[i], 4);
    es_bytes_add(b, name, strlen(name));
}

void es_small_ggml(es_bytes *b, bool blocks)
{
    const int head[] = {ES_SMALL_VOCAB, 1500, ES_SMALL_D, 2, 1, 448, ES_SMALL_D, 2, 1, ES_SMALL_MELS, blocks ? 2007 : 1};
    char token[32], name[160];

    b->n = 0;
    es_bytes_num(b, 0x67676d6c, 4);
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) es_bytes_num(b, (uint64_t)head[i], 4);
    es_bytes_num(b, ES_SMALL_MELS, 4);
    es_bytes_num(b, 201, 4);
    for (int i = 0; i < ES_SMALL_MELS * 201; i++) es_bytes_num(b, 0, 4);
    es_bytes_num(b, ES_SMALL_BASE, 4);
    for (int i = 0; i < ES_SMALL_BASE; i++) {
        es_small_token(token, i, true);
        size_t n = i < 256 ? 1 : strlen(token);
        es_bytes_num(b, n, 4);
        es_bytes_add(b, token, n);
    }
    for (int i = 0; i < ES_SMALL_N; i++) {
        const es_small_tensor *t = &es_small_model[i];
        int parts = 1, rank = t->dim[2] ? 3 : t->dim[1] ? 2 : 1, dim[3] = {t->dim[0], t->dim[1], t->dim[2]};
        bool eight = blocks && t->matrix && rank == 2 && t->dim[1] == ES_SMALL_MLP;
        char names[256];
        snprintf(names, sizeof names, "%s", t->hf);
        for (const char *p = names; *p; p++) parts += *p == '|';
        dim[0] /= parts;
        if (strstr(t->pack, "conv") && rank == 1) dim[rank++] = 1; /* biases of the convolutions are columns there */
        size_t per = es_small_count(t) / (size_t)parts, at = 0;
        for (char *s, *p = strtok_r(names, "|", &s); p; p = strtok_r(NULL, "|", &s), at += per) {
            if (!strcmp(p, "-")) continue;
            openai_name(name, p);
            ggml_tensor(b, name, rank, dim, eight ? 8 : t->matrix);
            for (size_t k = 0; k < per; k++) {
                if (eight && k % 32 == 0) es_bytes_num(b, es_number_to_f16(0.125f), 2);
                element(b, t->pack, at + k, eight ? "I8" : t->matrix ? "F16" : "F32");
            }
        }
    }
}
