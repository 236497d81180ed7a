/*
 * test_convert.c - Whisper from both its folders, good ones and hostile ones, down to the bits of the pack.
 *
 * The small models here are written by the test: one layer, 8 wide, every element k / 8 with a whole k of at most 127, so
 * that f32, f16, bf16, int8 and int16 files all hold the very same values and every pack can be compared exactly. They
 * have the full English vocabulary, as no other size is Whisper's.
 */
#define _GNU_SOURCE
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "runtime/weights.h"
#include "weights/convert/convert.h"
#include "weights/convert/number.h"

enum { D = 8, MELS = 80, VOCAB = 51864, BASE = 50256, MLP = 32 };

/* ---- growing bytes ---- */

typedef struct bytes {
    unsigned char *p;
    size_t n, room;
} bytes;

static void add(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->room) {
        b->room = (b->n + n) * 2 + 4096;
        b->p = realloc(b->p, b->room);
        if (!b->p) abort();
    }
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void num(bytes *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) add(b, &(unsigned char){(unsigned char)(v >> (8 * i))}, 1);
}

static void save(const char *folder, const char *name, const void *p, size_t n)
{
    char path[4096];
    FILE *f;

    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    CHECK(f && fwrite(p, 1, n, f) == n, "%s cannot be written", path);
    if (f) fclose(f);
}

static void save_text(const char *folder, const char *name, const char *text)
{
    save(folder, name, text, strlen(text));
}

static const char *sub(const char *name)
{
    static char path[4][4096];
    static int at;

    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", es_test_folder(), name);
    return path[at];
}

/* The folder of the running test; stays until the next call. */
static const char *new_folder(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", es_test_folder(), name);
    mkdir(path, 0777);
    return path;
}

/* ---- the model: its tensors, by the names of the pack ---- */

/* k of element i of a tensor; zero where the pack must have a zero (the keys' bias). */
static int value(const char *name, size_t i)
{
    uint64_t h = 1469598103934665603u;
    size_t stem = strlen(name);

    for (size_t c = 0; c < stem; c++) h = (h ^ (unsigned char)name[c]) * 1099511628211u;
    if (stem > 8 && !strcmp(name + stem - 8, "qkv.bias") && i >= D && i < 2 * D) return 0;
    if (stem > 13 && !strcmp(name + stem - 13, "cross_kv.bias") && i < D) return 0;
    h += i * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    return (int)((h >> 40) % 255) - 127;
}

typedef struct tensor {
    const char *pack, *ct2, *hf; /* hf: names of the parts, '|' between them, "-" for zeros; a leading name is enough */
    int dim[3];                  /* as the sources store it; 0: not there */
    bool matrix;
} tensor;

#define L "encoder.layers.0."
#define M "decoder.layers.0."
#define CL "encoder/layer_0/"
#define CM "decoder/layer_0/"
#define A "self_attn."
#define X "encoder_attn."
static const tensor model[] = {
    {"encoder.conv1.weight", "encoder/conv1/weight", "encoder.conv1.weight", {D, MELS, 3}, true},
    {"encoder.conv1.bias", "encoder/conv1/bias", "encoder.conv1.bias", {D}, false},
    {"encoder.conv2.weight", "encoder/conv2/weight", "encoder.conv2.weight", {D, D, 3}, true},
    {"encoder.conv2.bias", "encoder/conv2/bias", "encoder.conv2.bias", {D}, false},
    {"encoder.positions", "encoder/position_encodings/encodings", "encoder.embed_positions.weight", {1500, D}, false},
    {L "attn_norm.weight", CL "self_attention/layer_norm/gamma", L "self_attn_layer_norm.weight", {D}, false},
    {L "attn_norm.bias", CL "self_attention/layer_norm/beta", L "self_attn_layer_norm.bias", {D}, false},
    {L "qkv.weight", CL "self_attention/linear_0/weight",
     L A "q_proj.weight|" L A "k_proj.weight|" L A "v_proj.weight", {3 * D, D}, true},
    {L "qkv.bias", CL "self_attention/linear_0/bias", L A "q_proj.bias|-|" L A "v_proj.bias", {3 * D}, false},
    {L "out.weight", CL "self_attention/linear_1/weight", L A "out_proj.weight", {D, D}, true},
    {L "out.bias", CL "self_attention/linear_1/bias", L A "out_proj.bias", {D}, false},
    {L "mlp_norm.weight", CL "ffn/layer_norm/gamma", L "final_layer_norm.weight", {D}, false},
    {L "mlp_norm.bias", CL "ffn/layer_norm/beta", L "final_layer_norm.bias", {D}, false},
    {L "up.weight", CL "ffn/linear_0/weight", L "fc1.weight", {MLP, D}, true},
    {L "up.bias", CL "ffn/linear_0/bias", L "fc1.bias", {MLP}, false},
    {L "down.weight", CL "ffn/linear_1/weight", L "fc2.weight", {D, MLP}, true},
    {L "down.bias", CL "ffn/linear_1/bias", L "fc2.bias", {D}, false},
    {"encoder.norm.weight", "encoder/layer_norm/gamma", "encoder.layer_norm.weight", {D}, false},
    {"encoder.norm.bias", "encoder/layer_norm/beta", "encoder.layer_norm.bias", {D}, false},
    {"decoder.tokens", "decoder/embeddings/weight", "decoder.embed_tokens.weight", {VOCAB, D}, true},
    {"decoder.positions", "decoder/position_encodings/encodings", "decoder.embed_positions.weight", {448, D}, false},
    {M "attn_norm.weight", CM "self_attention/layer_norm/gamma", M "self_attn_layer_norm.weight", {D}, false},
    {M "attn_norm.bias", CM "self_attention/layer_norm/beta", M "self_attn_layer_norm.bias", {D}, false},
    {M "qkv.weight", CM "self_attention/linear_0/weight",
     M A "q_proj.weight|" M A "k_proj.weight|" M A "v_proj.weight", {3 * D, D}, true},
    {M "qkv.bias", CM "self_attention/linear_0/bias", M A "q_proj.bias|-|" M A "v_proj.bias", {3 * D}, false},
    {M "out.weight", CM "self_attention/linear_1/weight", M A "out_proj.weight", {D, D}, true},
    {M "out.bias", CM "self_attention/linear_1/bias", M A "out_proj.bias", {D}, false},
    {M "cross_norm.weight", CM "attention/layer_norm/gamma", M "encoder_attn_layer_norm.weight", {D}, false},
    {M "cross_norm.bias", CM "attention/layer_norm/beta", M "encoder_attn_layer_norm.bias", {D}, false},
    {M "cross_q.weight", CM "attention/linear_0/weight", M X "q_proj.weight", {D, D}, true},
    {M "cross_q.bias", CM "attention/linear_0/bias", M X "q_proj.bias", {D}, false},
    {M "cross_kv.weight", CM "attention/linear_1/weight", M X "k_proj.weight|" M X "v_proj.weight", {2 * D, D}, true},
    {M "cross_kv.bias", CM "attention/linear_1/bias", "-|" M X "v_proj.bias", {2 * D}, false},
    {M "cross_out.weight", CM "attention/linear_2/weight", M X "out_proj.weight", {D, D}, true},
    {M "cross_out.bias", CM "attention/linear_2/bias", M X "out_proj.bias", {D}, false},
    {M "mlp_norm.weight", CM "ffn/layer_norm/gamma", M "final_layer_norm.weight", {D}, false},
    {M "mlp_norm.bias", CM "ffn/layer_norm/beta", M "final_layer_norm.bias", {D}, false},
    {M "up.weight", CM "ffn/linear_0/weight", M "fc1.weight", {MLP, D}, true},
    {M "up.bias", CM "ffn/linear_0/bias", M "fc1.bias", {MLP}, false},
    {M "down.weight", CM "ffn/linear_1/weight", M "fc2.weight", {D, MLP}, true},
    {M "down.bias", CM "ffn/linear_1/bias", M "fc2.bias", {D}, false},
    {"decoder.norm.weight", "decoder/layer_norm/gamma", "decoder.layer_norm.weight", {D}, false},
    {"decoder.norm.bias", "decoder/layer_norm/beta", "decoder.layer_norm.bias", {D}, false},
};
enum { N_MODEL = sizeof model / sizeof *model };

static size_t count_of(const tensor *t)
{
    size_t n = 1;

    for (int i = 0; i < 3 && t->dim[i]; i++) n *= (size_t)t->dim[i];
    return n;
}

/* What a source stores for element i of the pack's tensor `name`. */
static void element(bytes *b, const char *name, size_t i, const char *type)
{
    int k = value(name, i);
    float f = (float)k / 8;

    if (!strcmp(type, "F32")) add(b, &f, 4);
    else if (!strcmp(type, "F16")) num(b, es_number_to_f16(f), 2);
    else if (!strcmp(type, "BF16")) num(b, es_number_to_bf16(f), 2);
    else if (!strcmp(type, "I8")) num(b, (uint64_t)(int64_t)k, 1);
    else num(b, (uint64_t)(int64_t)(k * 4), 2); /* I16, in units of 1/32 */
}

/* ---- CTranslate2 files ---- */

static void ct2_text(bytes *b, const char *text)
{
    num(b, strlen(text) + 1, 2);
    add(b, text, strlen(text) + 1);
}

static void ct2_head(bytes *b, const char *name, int rank, const int *dim, const char *type, size_t n, int version)
{
    static const char *const types[] = {"F32", "I8", "I16", "I32", "F16", "BF16"};
    int code = 0, size = !strcmp(type, "F32") ? 4 : !strcmp(type, "I8") ? 1 : 2;

    while (strcmp(types[code], type)) code++;
    ct2_text(b, name);
    num(b, (uint64_t)rank, 1);
    for (int i = 0; i < rank; i++) num(b, (uint64_t)dim[i], 4);
    num(b, (uint64_t)(version < 4 ? size : code), 1);
    num(b, version < 4 ? n : n * (size_t)size, 4);
}

/* type: of the matrices; whole numbers come with their scales and f32 vectors. */
static void ct2_file(bytes *b, int version, const char *type)
{
    bool quantised = type[0] == 'I';
    static const char *const sides[] = {"decoder", "encoder"};
    char name[256];
    int n = N_MODEL + 4;

    for (int i = 0; i < N_MODEL; i++) n += quantised && model[i].matrix;
    if (version < 3) n++;
    b->n = 0;
    num(b, (uint64_t)version, 4);
    if (version >= 2) {
        ct2_text(b, "WhisperSpec");
        num(b, 3, 4);
    }
    num(b, (uint64_t)n, 4);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/num_heads", sides[i]);
        ct2_head(b, name, 0, NULL, "I16", 1, version);
        num(b, 2, 2);
        snprintf(name, sizeof name, "%s/activation", sides[i]);
        ct2_head(b, name, 0, NULL, "I8", 1, version);
        num(b, 3, 1);
    }
    for (int i = 0; i < N_MODEL + (version < 3); i++) {
        const tensor *t = i < N_MODEL ? &model[i] : &model[19];
        int rank = t->dim[2] ? 3 : t->dim[1] ? 2 : 1;
        const char *own = t->matrix || !quantised ? type : "F32";
        snprintf(name, sizeof name, "%s", i < N_MODEL ? t->ct2 : "decoder/projection/weight");
        ct2_head(b, name, rank, t->dim, own, count_of(t), version);
        for (size_t k = 0; k < count_of(t); k++) element(b, t->pack, k, own);
        if (!quantised || !t->matrix || i == N_MODEL) continue;
        int rows = own[1] == '8' ? t->dim[0] : 1;
        snprintf(name, sizeof name, "%s_scale", t->ct2);
        ct2_head(b, name, 1, &rows, "F32", (size_t)rows, version);
        for (int k = 0; k < rows; k++) add(b, &(float){own[1] == '8' ? 8 : 32}, 4);
    }
    if (version >= 3) {
        num(b, 1, 4);
        ct2_text(b, "decoder/projection/weight");
        ct2_text(b, "decoder/embeddings/weight");
    }
}

/* ---- vocabularies: the 256 bytes, then "a" and a number ---- */

static void token_text(char *out, int id, bool raw)
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

static void vocabulary(const char *folder, const char *name, bool list)
{
    bytes b = {0};
    char token[32], line[64];

    add(&b, list ? "[" : "{", 1);
    for (int i = 0; i < (list ? VOCAB : BASE); i++) {
        token_text(token, i, false);
        if (i >= BASE) snprintf(token, sizeof token, "<|%d|>", i);
        const char *slash = !strcmp(token, "\"") || !strcmp(token, "\\") ? "\\" : "";
        int n = list ? snprintf(line, sizeof line, "%s\"%s%s\"", i ? "," : "", slash, token)
                     : snprintf(line, sizeof line, "%s\"%s%s\":%d", i ? "," : "", slash, token, i);
        add(&b, line, (size_t)n);
    }
    add(&b, list ? "]" : "}", 1);
    save(folder, name, b.p, b.n);
    free(b.p);
}

/* ---- safetensors files ---- */

/* Only tensors with first <= index < last; extra: one more name, or NULL. */
static void st_file(const char *folder, const char *name, const char *prefix, const char *type, int first, int last,
                    const char *extra)
{
    bytes head = {0}, data = {0}, all = {0};
    char line[512];

    add(&head, "{", 1);
    for (int i = first; i < last; i++) {
        const tensor *t = &model[i];
        int parts = 1, rank = t->dim[2] ? 3 : t->dim[1] ? 2 : 1;
        char names[256];
        snprintf(names, sizeof names, "%s", t->hf);
        for (const char *p = names; *p; p++) parts += *p == '|';
        size_t per = count_of(t) / (size_t)parts, at = 0;
        for (char *save_at, *p = strtok_r(names, "|", &save_at); p; p = strtok_r(NULL, "|", &save_at), at += per) {
            size_t from = data.n;
            if (!strcmp(p, "-")) continue;
            for (size_t k = 0; k < per; k++) element(&data, t->pack, at + k, type);
            int n = snprintf(line, sizeof line, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[%d", head.n > 1 ? "," : "", prefix,
                             p, type, t->dim[0] / parts);
            for (int d = 1; d < rank; d++) n += snprintf(line + n, sizeof line - (size_t)n, ",%d", t->dim[d]);
            n += snprintf(line + n, sizeof line - (size_t)n, "],\"data_offsets\":[%zu,%zu]}", from, data.n);
            add(&head, line, (size_t)n);
        }
    }
    if (extra) {
        int n = snprintf(line, sizeof line, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}", extra,
                         data.n, data.n + 4);
        add(&head, line, (size_t)n);
        num(&data, 0, 4);
    }
    add(&head, "}", 1);
    num(&all, head.n, 8);
    add(&all, head.p, head.n);
    add(&all, data.p, data.n);
    save(folder, name, all.p, all.n);
    free(head.p), free(data.p), free(all.p);
}

/* ---- running and checking ---- */

static char notes[2048];

static void note(void *user, const char *sentence)
{
    size_t at = strlen(notes);

    (void)user;
    snprintf(notes + at, sizeof notes - at, "%s\n", sentence);
}

static int convert(const char *source, const char *out, es_convert_dtype dtype, es_convert_report *rep, es_err *err)
{
    es_convert_options o = {.source = source, .output = out, .dtype = dtype, .note = note};

    *err = (es_err){0};
    notes[0] = 0;
    return es_convert(&o, rep, err);
}

/* Converting must fail, with a sentence that holds `word`, and leave nothing behind. */
static void refused(const char *source, const char *word)
{
    es_convert_report rep;
    es_err err;
    int rc = convert(source, sub("refused.pack"), ES_CONVERT_KEEP, &rep, &err);

    CHECK(rc != ES_OK, "%s was taken", source);
    CHECK(strstr(err.text, word), "the sentence is \"%s\", \"%s\" is not in it", err.text, word);
    CHECK(access(sub("refused.pack"), F_OK) != 0, "a pack was left behind");
}

static float at(const es_weight *w, size_t i)
{
    float f;
    uint16_t h;

    if (w->dtype == ES_F32) {
        memcpy(&f, (const char *)w->p + 4 * i, 4);
        return f;
    }
    memcpy(&h, (const char *)w->p + 2 * i, 2);
    return w->dtype == ES_F16 ? es_number_from_f16(h) : es_number_from_bf16(h);
}

/* Every tensor of the pack has the model's values and the stated types. */
static void check_pack(const char *path, es_dtype matrix, es_dtype vector)
{
    es_err err = {0};
    es_weights *w;
    char token[32];
    int64_t heads;

    CHECK(es_pack_open(&w, path, &err) == ES_OK, "%s", err.text);
    if (!w) return;
    CHECK(es_pack_verify(w, &err) == ES_OK, "%s", err.text);
    CHECK_STR(es_pack_architecture(w), "whisper");
    CHECK(es_json_int(es_json_get(es_pack_config(w), "heads"), 0, 99, &heads), "no heads");
    CHECK_INT(es_weights_count(w), N_MODEL + 1);
    for (int i = 0; i < N_MODEL; i++) {
        const tensor *t = &model[i];
        const es_weight *have = es_weights_find(w, t->pack);
        size_t bad = 0, first = 0;
        CHECK(have, "%s is missing", t->pack);
        if (!have) continue;
        CHECK(have->dtype == (t->matrix ? matrix : vector), "%s is %s", t->pack, have->type);
        CHECK(have->bytes == count_of(t) * es_dtype_bytes(have->dtype), "%s has %zu bytes", t->pack, have->bytes);
        CHECK_INT(have->dim[0], t->dim[0]);
        if (have->bytes != count_of(t) * es_dtype_bytes(have->dtype)) continue;
        for (size_t k = 0; k < count_of(t); k++) {
            size_t from = k;
            if (t->dim[2]) { /* [O, 3, C] here, [O, C, 3] there */
                size_t in = (size_t)t->dim[1], row = k / (3 * in), rest = k % (3 * in);
                from = row * 3 * in + rest % in * 3 + rest / in;
            }
            if (at(have, k) == (float)value(t->pack, from) / 8) continue;
            if (!bad++) first = k;
        }
        CHECK(!bad, "%s: %zu elements differ, the first at %zu: %g, expected %g", t->pack, bad, first,
              (double)at(have, first), value(t->pack, first) / 8.0);
    }
    const es_weight *tokens = es_weights_find(w, "tokenizer.tokens");
    const unsigned char *p = tokens ? tokens->p : NULL, *end = p ? p + tokens->bytes : NULL;
    for (int i = 0; i < BASE && p && p < end; i++) {
        token_text(token, i, true);
        size_t n = i ? strlen(token) : 1; /* token 0 is the byte NUL... and stands first */
        n = i < 256 ? 1 : n;
        if (*p != n || memcmp(p + 1, token, n)) {
            CHECK(0, "token %d has %d bytes and begins with %d", i, p[0], p[1]);
            break;
        }
        p += 1 + *p;
    }
    CHECK(p == end, "the token table ends %td bytes early", end - p);
    es_weights_close(w);
}

static unsigned char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    unsigned char *p = NULL;

    *n = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    p = malloc(*n + 1);
    if (p && fread(p, 1, *n, f) != *n) *n = 0;
    fclose(f);
    return p;
}

static void same_bytes(const char *a, const char *b)
{
    size_t n, m;
    unsigned char *p = slurp(a, &n), *q = slurp(b, &m);

    CHECK(p && q && n == m && !memcmp(p, q, n), "%s and %s differ", a, b);
    free(p), free(q);
}

/* ---- tests ---- */

static void ct2_versions_and_types(void)
{
    static const struct {
        int version;
        const char *type;
        es_dtype matrix, vector;
    } cases[] = {
        {6, "F32", ES_F32, ES_F32}, {6, "F16", ES_F16, ES_F16}, {6, "BF16", ES_BF16, ES_F32}, {6, "I8", ES_F16, ES_F32},
        {6, "I16", ES_F16, ES_F32}, {5, "F16", ES_F16, ES_F16}, {4, "I8", ES_F16, ES_F32},    {3, "F32", ES_F32, ES_F32},
        {3, "I8", ES_F16, ES_F32},  {2, "F32", ES_F32, ES_F32}, {1, "I16", ES_F16, ES_F32},
    };
    const char *folder = new_folder("ct2");
    bytes b = {0};
    es_convert_report rep;
    es_err err;
    char word[64];

    vocabulary(folder, "vocabulary.json", true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ct2_file(&b, cases[i].version, cases[i].type);
        save(folder, "model.bin", b.p, b.n);
        int rc = convert(folder, sub("ct2.pack"), ES_CONVERT_KEEP, &rep, &err);
        CHECK(rc == ES_OK, "version %d, %s: %s", cases[i].version, cases[i].type, err.text);
        if (rc) continue;
        check_pack(sub("ct2.pack"), cases[i].matrix, cases[i].vector);
        snprintf(word, sizeof word, "CTranslate2 version %d", cases[i].version);
        CHECK(strstr(rep.format, word), "the format is \"%s\"", rep.format);
        CHECK_STR(rep.name, "ct2");
        CHECK_INT(rep.tensors_out, N_MODEL + 1);
    }
    CHECK(convert(folder, sub("ct2.pack"), ES_CONVERT_F32, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("ct2.pack"), ES_F32, ES_F32);
    CHECK(convert(folder, sub("ct2.pack"), ES_CONVERT_F16, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("ct2.pack"), ES_F16, ES_F32);
    free(b.p);
}

static void hugging_face(void)
{
    const char *folder = new_folder("hf");
    es_convert_report rep;
    es_err err;

    vocabulary(folder, "vocab.json", false);
    save_text(folder, "config.json", "{\"d_model\":8,\"encoder_attention_heads\":2,\"decoder_attention_heads\":2,"
                                     "\"vocab_size\":51864,\"decoder_start_token_id\":7}");
    st_file(folder, "model.safetensors", "model.", "F32", 0, N_MODEL, NULL);
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_F32, ES_F32);
    CHECK(strstr(notes, "none are published"), "notes: %s", notes);
    CHECK(convert(folder, sub("again.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    same_bytes(sub("hf.pack"), sub("again.pack"));

    /* The prefix may be missing; bf16 stays bf16; a valid list of alignment heads is taken, an impossible one is not. */
    st_file(folder, "model.safetensors", "", "BF16", 0, N_MODEL, NULL);
    save_text(folder, "generation_config.json", "{\"alignment_heads\":[[0,1]]}");
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_BF16, ES_F32);
    CHECK(strstr(rep.sizes, " 1 alignment heads"), "%s", rep.sizes);
    save_text(folder, "generation_config.json", "{\"alignment_heads\":[[0,1],[1,0]]}");
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK(strstr(rep.sizes, " 2 alignment heads") && strstr(notes, "do not fit"), "%s, %s", rep.sizes, notes);

    /* Two shards and their index; a shard elsewhere, and a tensor in neither. */
    unlink(sub("hf/model.safetensors"));
    st_file(folder, "one.safetensors", "model.", "F16", 0, 19, NULL);
    st_file(folder, "two.safetensors", "model.", "F16", 19, N_MODEL, NULL);
    bytes b = {0};
    char line[256], names[256];
    add(&b, "{\"weight_map\":{", 15);
    for (int i = 0; i < N_MODEL; i++) {
        snprintf(names, sizeof names, "%s", model[i].hf);
        for (char *s, *p = strtok_r(names, "|", &s); p; p = strtok_r(NULL, "|", &s)) {
            if (!strcmp(p, "-")) continue;
            int n = snprintf(line, sizeof line, "%s\"model.%s\":\"%s.safetensors\"", b.n > 15 ? "," : "", p,
                             i < 19 ? "one" : "two");
            add(&b, line, (size_t)n);
        }
    }
    size_t whole = b.n;
    add(&b, "}}", 2);
    save(folder, "model.safetensors.index.json", b.p, b.n);
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_F16, ES_F16);
    CHECK_STR(rep.format, "safetensors in 2 shards");
    b.n = whole;
    add(&b, ",\"x\":\"../hf/one.safetensors\"}}", 30);
    save(folder, "model.safetensors.index.json", b.p, b.n);
    refused(folder, "not the name of a file beside the index");
    b.n = whole;
    add(&b, ",\"x\":\"one.safetensors\"}}", 24);
    save(folder, "model.safetensors.index.json", b.p, b.n);
    refused(folder, "tensor x is in none of the shards");
    free(b.p);
}

static void hugging_face_refused(void)
{
    const char *folder = new_folder("bad");

    st_file(folder, "model.safetensors", "model.", "F16", 0, N_MODEL, NULL);
    refused(folder, "0 heads do not divide a width of 8");
    save_text(folder, "config.json", "{\"encoder_attention_heads\":2}");
    refused(folder, "no tokenizer beside the weights");
    vocabulary(folder, "vocab.json", false);
    save_text(folder, "config.json", "{\"encoder_attention_heads\":2,\"d_model\":16}");
    refused(folder, "\"d_model\" is 16, the tensors say 8");
    save_text(folder, "config.json", "{\"encoder_attention_heads\":3}");
    refused(folder, "3 heads do not divide a width of 8");
    save_text(folder, "config.json", "{\"encoder_attention_heads\":2}");
    st_file(folder, "model.safetensors", "model.", "F16", 0, N_MODEL, "model.encoder.surprise");
    refused(folder, "model.encoder.surprise");
    st_file(folder, "model.safetensors", "model.", "F16", 0, N_MODEL - 1, NULL);
    refused(folder, "model.decoder.layer_norm.bias is missing");
    st_file(folder, "model.safetensors", "model.", "F16", 1, N_MODEL, NULL);
    refused(folder, "model.encoder.conv1.weight is missing");
    save_text(folder, "vocab.json", "{\"!\":0,\"a\":1}");
    st_file(folder, "model.safetensors", "model.", "F16", 0, N_MODEL, NULL);
    refused(folder, "vocab.json has no token 2");
    save_text(folder, "vocab.json", "{\"!\":0,\"a b\":1}");
    refused(folder, "not in the byte alphabet");
    save(folder, "model.safetensors", "\0\0\0\0\0\0\0\x80{\"a\":1}", 15);
    refused(folder, "model.safetensors");
    save(folder, "model.safetensors", "{}", 2);
    refused(folder, "not a weight file");
    unlink(sub("bad/model.safetensors"));
    refused(folder, "no weights in this folder");
    refused(sub("nothing"), "nothing");
}

/* Puts v of n bytes at `at`, converts, puts the old bytes back. */
static void poke(const char *folder, bytes *b, size_t where, uint64_t v, int n, const char *word)
{
    unsigned char old[8];

    memcpy(old, b->p + where, (size_t)n);
    for (int i = 0; i < n; i++) b->p[where + (size_t)i] = (unsigned char)(v >> (8 * i));
    save(folder, "model.bin", b->p, b->n);
    refused(folder, word);
    memcpy(b->p + where, old, (size_t)n);
}

static size_t find(const bytes *b, const char *text)
{
    const unsigned char *p = memmem(b->p, b->n, text, strlen(text) + 1);

    CHECK(p, "%s is not in the file", text);
    return p ? (size_t)(p - b->p) : 0;
}

static void ct2_refused(void)
{
    const char *folder = new_folder("ct2bad");
    bytes b = {0};

    vocabulary(folder, "vocabulary.json", true);
    ct2_file(&b, 6, "F16");
    size_t name = find(&b, "encoder/conv1/weight"), after = name + strlen("encoder/conv1/weight") + 1;
    poke(folder, &b, 0, 7, 4, "binary version 7");
    poke(folder, &b, name - 2, 5, 2, "the length of a variable's name");
    poke(folder, &b, name - 2, 65535, 2, "no string of that length");
    poke(folder, &b, name - 2, 0, 2, "no string of that length");
    poke(folder, &b, after, 200, 1, "200 dimensions");
    poke(folder, &b, after + 1, 0xffffffff, 4, "encoder/conv1/weight");
    poke(folder, &b, after + 13, 9, 1, "unknown type 9");
    poke(folder, &b, after + 14, 0xfffffff0, 4, "cut off in a variable's data");
    poke(folder, &b, after + 14, 3 * 8 * 80 * 2 - 2, 4, "encoder/conv1/weight");
    poke(folder, &b, after + 18, 0x7c00, 2, "not finite");
    poke(folder, &b, 4 + 2 + 12 + 4, 0xffffffff, 4, "4294967295 variables cannot fit");
    poke(folder, &b, name + 13, 'X', 1, "is missing");
    poke(folder, &b, find(&b, "encoder/activation") + 19 + 1 + 1 + 4, 1, 1, "encoder/activation is 1");
    poke(folder, &b, find(&b, "encoder/num_heads") + 18 + 1 + 1 + 4, 5, 2, "5 heads");
    poke(folder, &b, find(&b, CL "self_attention/linear_0/bias") + 44 + 2 + D * 2 + 9, 0x3c00, 2, "have a bias");
    size_t alias = b.n - strlen("decoder/embeddings/weight") - 1;
    poke(folder, &b, alias, 'X', 1, "which is not there");
    add(&b, "x", 1);
    save(folder, "model.bin", b.p, b.n);
    refused(folder, "1 bytes follow the last entry");
    b.n--;
    for (size_t cut = 4096; cut < b.n; cut += 4096) {
        save(folder, "model.bin", b.p, cut);
        refused(folder, "cut off");
    }
    save(folder, "model.bin", b.p, 3);
    refused(folder, "not a weight file");

    ct2_file(&b, 6, "I8");
    poke(folder, &b, find(&b, "encoder/conv1/weight_scale") + 27 + 1 + 4 + 5, 0, 4, "is no scale");
    poke(folder, &b, find(&b, "encoder/conv1/weight_scale") + 27 + 1 + 4 + 5, 0x7fc00000, 4, "is no scale");
    save(folder, "model.bin", b.p, b.n);
    es_convert_report rep;
    es_err err;
    CHECK(convert(folder, sub("good.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    free(b.p);
}

/* What f16 cannot hold is refused by name, not flattened to infinity. */
static void too_large_for_f16(void)
{
    const char *folder = new_folder("large");
    bytes b = {0};
    es_convert_report rep;
    es_err err;

    vocabulary(folder, "vocabulary.json", true);
    ct2_file(&b, 6, "F32");
    size_t value_at = find(&b, "encoder/conv1/weight") + 21 + 1 + 12 + 5;
    memcpy(b.p + value_at, &(float){70000}, 4);
    save(folder, "model.bin", b.p, b.n);
    CHECK(convert(folder, sub("large.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK(convert(folder, sub("large.pack"), ES_CONVERT_F16, &rep, &err) != ES_OK, "70000 became an f16");
    CHECK(strstr(err.text, "encoder.conv1.weight") && strstr(err.text, "70000"), "%s", err.text);
    free(b.p);
}

static void pack_cut_anywhere(void)
{
    const char *folder = new_folder("cut");
    bytes b = {0};
    es_convert_report rep;
    es_err err;
    size_t n;

    vocabulary(folder, "vocabulary.json", true);
    ct2_file(&b, 6, "F16");
    save(folder, "model.bin", b.p, b.n);
    CHECK(convert(folder, folder, ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK_STR(rep.path, sub("cut/cut.pack"));
    unsigned char *p = slurp(sub("cut/cut.pack"), &n);
    CHECK(p && n == rep.bytes_out, "%zu bytes, the report says %llu", n, (unsigned long long)rep.bytes_out);
    for (size_t cut = 0; p && cut < n; cut += 4096) {
        es_weights *w;
        err = (es_err){0};
        save(folder, "short.pack", p, cut);
        CHECK(es_pack_open(&w, sub("cut/short.pack"), &err) != ES_OK && !w, "a pack cut at %zu was opened", cut);
        CHECK(err.text[0], "no sentence for a pack cut at %zu", cut);
        es_weights_close(w);
    }
    free(p), free(b.p);
}

/* The writer leaves an older pack alone when it fails. */
static void failure_keeps_the_old_pack(void)
{
    const char *folder = new_folder("keep");
    bytes b = {0};
    es_convert_report rep;
    es_err err;

    vocabulary(folder, "vocabulary.json", true);
    ct2_file(&b, 6, "F16");
    save_text(es_test_folder(), "keep.pack", "the old one");
    memcpy(b.p + find(&b, "decoder/layer_norm/beta") + 24 + 1 + 4 + 5, "\0\x7e", 2);
    save(folder, "model.bin", b.p, b.n);
    CHECK(convert(folder, sub("keep.pack"), ES_CONVERT_KEEP, &rep, &err) != ES_OK, "NaN was taken");
    size_t n;
    unsigned char *p = slurp(sub("keep.pack"), &n);
    CHECK(n == 11 && !memcmp(p, "the old one", 11), "the old pack is gone");
    free(p);
    CHECK(convert(folder, sub("no such folder/x.pack"), ES_CONVERT_KEEP, &rep, &err) != ES_OK, "it was written");
    CHECK(strstr(err.text, "no such folder"), "%s", err.text);
    CHECK(convert(sub("keep/model.bin"), sub("keep/model.bin"), ES_CONVERT_KEEP, &rep, &err) != ES_OK, "it was written");
    CHECK(strstr(err.text, "overwrite its source"), "%s", err.text);
    free(b.p);
}

/* The published layout: every bit of the source is in the pack, in its place. */
static void whisper_tiny(void)
{
    const char *source = es_test_data("models/whisper-tiny/model.safetensors");
    es_convert_report rep;
    es_err err = {0};
    es_weights *from = NULL, *to = NULL;
    size_t bad = 0;

    if (!source) {
        es_test_skip("ES_TEST_DATA: models/whisper-tiny");
        return;
    }
    CHECK(convert(source, sub("tiny.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK_STR(rep.name, "whisper-tiny");
    CHECK(!es_weights_open(&from, source, &err) && !es_pack_open(&to, sub("tiny.pack"), &err), "%s", err.text);
    if (!from || !to) goto out;
    static const struct {
        const char *pack;
        size_t offset; /* in elements */
        const char *source;
    } same[] = {
        {"encoder.layers.2.qkv.weight", 0, "model.encoder.layers.2.self_attn.q_proj.weight"},
        {"encoder.layers.2.qkv.weight", 384 * 384, "model.encoder.layers.2.self_attn.k_proj.weight"},
        {"encoder.layers.2.qkv.weight", 2 * 384 * 384, "model.encoder.layers.2.self_attn.v_proj.weight"},
        {"encoder.layers.2.qkv.bias", 768, "model.encoder.layers.2.self_attn.v_proj.bias"},
        {"decoder.layers.3.cross_kv.weight", 384 * 384, "model.decoder.layers.3.encoder_attn.v_proj.weight"},
        {"decoder.layers.3.mlp_norm.weight", 0, "model.decoder.layers.3.final_layer_norm.weight"},
        {"decoder.tokens", 0, "model.decoder.embed_tokens.weight"},
        {"encoder.positions", 0, "model.encoder.embed_positions.weight"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const es_weight *a = es_weights_find(to, same[i].pack), *b = es_weights_find(from, same[i].source);
        CHECK(a && b && a->dtype == ES_F16 && a->bytes >= same[i].offset * 2 + b->bytes &&
                  !memcmp((const char *)a->p + 2 * same[i].offset, b->p, b->bytes),
              "%s differs from %s", same[i].pack, same[i].source);
    }
    const es_weight *a = es_weights_find(to, "encoder.conv2.weight"), *b = es_weights_find(from, "model.encoder.conv2.weight");
    for (size_t o = 0; o < 384 && a && b; o++) {
        for (size_t k = 0; k < 3 * 384; k++) bad += at(a, o * 1152 + k) != at(b, o * 1152 + k % 384 * 3 + k / 384);
    }
    CHECK(a && b && !bad, "encoder.conv2.weight: %zu elements differ", bad);
out:
    es_weights_close(from);
    es_weights_close(to);
}

/* Whisper's encoder positions are sinusoids, halves concatenated; the published f16 file holds them rounded to f16. */
static void whisper_base_positions(void)
{
    const char *path = es_test_models("whisper-base.pack");
    es_err err = {0};
    es_weights *w;
    size_t bad = 0;

    if (!path) {
        es_test_skip("ES_TEST_MODELS: whisper-base.pack");
        return;
    }
    CHECK(es_pack_open(&w, path, &err) == ES_OK && es_pack_verify(w, &err) == ES_OK, "%s", err.text);
    const es_weight *p = w ? es_weights_find(w, "encoder.positions") : NULL;
    CHECK(p && p->dtype == ES_F16 && p->dim[0] == 1500 && p->dim[1] == 512, "not whisper-base");
    for (size_t i = 0; p && i < 1500 * 512; i++) {
        double rate = exp(-log(10000.0) / 255 * (double)(i % 256)), angle = (double)(i / 512) * rate;
        float want = (float)(i % 512 < 256 ? sin(angle) : cos(angle));
        bad += at(p, i) != es_number_from_f16(es_number_to_f16(want));
    }
    CHECK_INT(bad, 0);
    es_weights_close(w);
}

/* Every half and every bf16 goes to f32 and back as itself; rounding is to nearest, ties to even. */
static void numbers(void)
{
    int bad = 0;

    for (uint32_t h = 0; h < 65536; h++) {
        if ((h & 0x7c00) != 0x7c00 || !(h & 0x3ff)) bad += es_number_to_f16(es_number_from_f16((uint16_t)h)) != h;
        if ((h & 0x7f80) != 0x7f80 || !(h & 0x7f)) bad += es_number_to_bf16(es_number_from_bf16((uint16_t)h)) != h;
    }
    CHECK_INT(bad, 0);
    CHECK_INT(es_number_to_f16(1.00048828125f), 0x3c00); /* 1 + 2^-11: a tie, down to even */
    CHECK_INT(es_number_to_f16(1.00146484375f), 0x3c02); /* 1 + 3 * 2^-11: a tie, up to even */
    CHECK_INT(es_number_to_f16(0x1p-25f), 0);            /* half of the least subnormal: to even */
    CHECK_INT(es_number_to_f16(0x1.8p-25f), 1);
    CHECK_INT(es_number_to_f16(65519.0f), 0x7bff);
    CHECK_INT(es_number_to_f16(65520.0f), 0x7c00);
    CHECK(es_number_from_f16(1) == 0x1p-24f && es_number_from_f16(0x83ff) == -0x1.ff8p-15f, "subnormal halves");
}

static const es_test tests[] = {
    {"numbers", numbers},
    {"ct2_versions_and_types", ct2_versions_and_types},
    {"ct2_refused", ct2_refused},
    {"hugging_face", hugging_face},
    {"hugging_face_refused", hugging_face_refused},
    {"too_large_for_f16", too_large_for_f16},
    {"pack_cut_anywhere", pack_cut_anywhere},
    {"failure_keeps_the_old_pack", failure_keeps_the_old_pack},
    {"whisper_tiny", whisper_tiny},
    {"whisper_base_positions", whisper_base_positions},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
