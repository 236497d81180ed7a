/*
 * test_convert.c - Whisper from both its folders, good ones and hostile ones, down to the bits of the pack.
 *
 * The small models are those of small_whisper.h, whose packs are known to the last bit whatever format they come from.
 */
#define _GNU_SOURCE
#include "small_whisper.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "runtime/weights.h"
#include "weights/convert/convert.h"
#include "weights/convert/number.h"

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
    CHECK_INT(es_weights_count(w), ES_SMALL_N + 1);
    for (int i = 0; i < ES_SMALL_N; i++) {
        const es_small_tensor *t = &es_small_model[i];
        const es_weight *have = es_weights_find(w, t->pack);
        size_t bad = 0, first = 0;
        CHECK(have, "%s is missing", t->pack);
        if (!have) continue;
        CHECK(have->dtype == (t->matrix ? matrix : vector), "%s is %s", t->pack, have->type);
        CHECK(have->bytes == es_small_count(t) * es_dtype_bytes(have->dtype), "%s has %zu bytes", t->pack, have->bytes);
        CHECK_INT(have->dim[0], t->dim[0]);
        if (have->bytes != es_small_count(t) * es_dtype_bytes(have->dtype)) continue;
        for (size_t k = 0; k < es_small_count(t); k++) {
            size_t from = k;
            if (t->dim[2]) { /* [O, 3, C] here, [O, C, 3] there */
                size_t in = (size_t)t->dim[1], row = k / (3 * in), rest = k % (3 * in);
                from = row * 3 * in + rest % in * 3 + rest / in;
            }
            if (at(have, k) == (float)es_small_value(t->pack, from) / 8) continue;
            if (!bad++) first = k;
        }
        CHECK(!bad, "%s: %zu elements differ, the first at %zu: %g, expected %g", t->pack, bad, first,
              (double)at(have, first), es_small_value(t->pack, first) / 8.0);
    }
    const es_weight *tokens = es_weights_find(w, "tokenizer.tokens");
    const unsigned char *p = tokens ? tokens->p : NULL, *end = p ? p + tokens->bytes : NULL;
    for (int i = 0; i < ES_SMALL_BASE && p && p < end; i++) {
        es_small_token(token, i, true);
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
    es_bytes b = {0};
    es_convert_report rep;
    es_err err;
    char word[64];

    es_small_vocabulary(folder, "vocabulary.json", true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_small_ct2(&b, cases[i].version, cases[i].type);
        es_small_save(folder, "model.bin", b.p, b.n);
        int rc = convert(folder, sub("ct2.pack"), ES_CONVERT_KEEP, &rep, &err);
        CHECK(rc == ES_OK, "version %d, %s: %s", cases[i].version, cases[i].type, err.text);
        if (rc) continue;
        check_pack(sub("ct2.pack"), cases[i].matrix, cases[i].vector);
        snprintf(word, sizeof word, "CTranslate2 version %d", cases[i].version);
        CHECK(strstr(rep.format, word), "the format is \"%s\"", rep.format);
        CHECK_STR(rep.name, "ct2");
        CHECK_INT(rep.tensors_out, ES_SMALL_N + 1);
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

    es_small_vocabulary(folder, "vocab.json", false);
    es_small_save_text(folder, "config.json", "{\"d_model\":8,\"encoder_attention_heads\":2,\"decoder_attention_heads\":2,"
                                     "\"vocab_size\":51864,\"decoder_start_token_id\":7}");
    es_small_safetensors(folder, "model.safetensors", "model.", "F32", 0, ES_SMALL_N, NULL);
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_F32, ES_F32);
    CHECK(strstr(notes, "none are published"), "notes: %s", notes);
    CHECK(convert(folder, sub("again.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    same_bytes(sub("hf.pack"), sub("again.pack"));

    /* The prefix may be missing; bf16 stays bf16; a valid list of alignment heads is taken, an impossible one is not. */
    es_small_safetensors(folder, "model.safetensors", "", "BF16", 0, ES_SMALL_N, NULL);
    es_small_save_text(folder, "generation_config.json", "{\"alignment_heads\":[[0,1]]}");
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_BF16, ES_F32);
    CHECK(strstr(rep.sizes, " 1 alignment heads"), "%s", rep.sizes);
    es_small_save_text(folder, "generation_config.json", "{\"alignment_heads\":[[0,1],[1,0]]}");
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK(strstr(rep.sizes, " 2 alignment heads") && strstr(notes, "do not fit"), "%s, %s", rep.sizes, notes);

    /* Two shards and their index; a shard elsewhere, and a tensor in neither. */
    unlink(sub("hf/model.safetensors"));
    es_small_safetensors(folder, "one.safetensors", "model.", "F16", 0, 19, NULL);
    es_small_safetensors(folder, "two.safetensors", "model.", "F16", 19, ES_SMALL_N, NULL);
    es_bytes b = {0};
    char line[256], names[256];
    es_bytes_add(&b, "{\"weight_map\":{", 15);
    for (int i = 0; i < ES_SMALL_N; i++) {
        snprintf(names, sizeof names, "%s", es_small_model[i].hf);
        for (char *s, *p = strtok_r(names, "|", &s); p; p = strtok_r(NULL, "|", &s)) {
            if (!strcmp(p, "-")) continue;
            int n = snprintf(line, sizeof line, "%s\"model.%s\":\"%s.safetensors\"", b.n > 15 ? "," : "", p,
                             i < 19 ? "one" : "two");
            es_bytes_add(&b, line, (size_t)n);
        }
    }
    size_t whole = b.n;
    es_bytes_add(&b, "}}", 2);
    es_small_save(folder, "model.safetensors.index.json", b.p, b.n);
    CHECK(convert(folder, sub("hf.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("hf.pack"), ES_F16, ES_F16);
    CHECK_STR(rep.format, "safetensors in 2 shards");
    b.n = whole;
    es_bytes_add(&b, ",\"x\":\"../hf/one.safetensors\"}}", 30);
    es_small_save(folder, "model.safetensors.index.json", b.p, b.n);
    refused(folder, "not the name of a file beside the index");
    b.n = whole;
    es_bytes_add(&b, ",\"x\":\"one.safetensors\"}}", 24);
    es_small_save(folder, "model.safetensors.index.json", b.p, b.n);
    refused(folder, "tensor x is in none of the shards");
    /* A tensor that the index places in the wrong shard. */
    b.n = whole;
    es_bytes_add(&b, "}}", 3);
    char *first = strstr((char *)b.p, "\"one.safetensors\"");
    CHECK(first != NULL, "the first shard is not named");
    if (first) memcpy(first + 1, "two", 3);
    es_small_save(folder, "model.safetensors.index.json", b.p, b.n - 1);
    refused(folder, "where it should be, but in another shard");
    free(b.p);
}

/* Pipes would keep their reader waiting for ever. */
static void pipes_are_refused(void)
{
    static const char *const names[] = {"model.safetensors", "config.json"};

    for (int i = 0; i < 2; i++) {
        char folder[4096], path[8192];
        snprintf(folder, sizeof folder, "%s/pipe%d", es_test_folder(), i);
        mkdir(folder, 0777);
        if (i) es_small_safetensors(folder, "model.safetensors", "model.", "F16", 0, ES_SMALL_N, NULL);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        CHECK(mkfifo(path, 0600) == 0, "%s cannot be made", path);
        refused(folder, i ? "is not a regular file" : "not a weight file");
    }
}

static void hugging_face_refused(void)
{
    const char *folder = new_folder("bad");

    es_small_safetensors(folder, "model.safetensors", "model.", "F16", 0, ES_SMALL_N, NULL);
    refused(folder, "0 heads do not divide a width of 8");
    es_small_save_text(folder, "config.json", "{\"encoder_attention_heads\":2}");
    refused(folder, "no tokenizer beside the weights");
    es_small_vocabulary(folder, "vocab.json", false);
    es_small_save_text(folder, "config.json", "{\"encoder_attention_heads\":2,\"d_model\":16}");
    refused(folder, "\"d_model\" is 16, the tensors say 8");
    es_small_save_text(folder, "config.json", "{\"encoder_attention_heads\":3}");
    refused(folder, "3 heads do not divide a width of 8");
    es_small_save_text(folder, "config.json", "{\"encoder_attention_heads\":2}");
    es_small_safetensors(folder, "model.safetensors", "model.", "F16", 0, ES_SMALL_N, "model.encoder.surprise");
    refused(folder, "model.encoder.surprise");
    es_small_safetensors(folder, "model.safetensors", "model.", "F16", 0, ES_SMALL_N - 1, NULL);
    refused(folder, "model.decoder.layer_norm.bias is missing");
    es_small_safetensors(folder, "model.safetensors", "model.", "F16", 1, ES_SMALL_N, NULL);
    refused(folder, "model.encoder.conv1.weight is missing");
    es_small_save_text(folder, "vocab.json", "{\"!\":0,\"a\":1}");
    es_small_safetensors(folder, "model.safetensors", "model.", "F16", 0, ES_SMALL_N, NULL);
    refused(folder, "vocab.json has no token 2");
    es_small_save_text(folder, "vocab.json", "{\"!\":0,\"a b\":1}");
    refused(folder, "not in the byte alphabet");
    es_small_save(folder, "model.safetensors", "\0\0\0\0\0\0\0\x80{\"a\":1}", 15);
    refused(folder, "model.safetensors");
    es_small_save(folder, "model.safetensors", "{}", 2);
    refused(folder, "not a weight file");
    unlink(sub("bad/model.safetensors"));
    refused(folder, "no weights in this folder");
    refused(sub("nothing"), "nothing");
}

/* Puts v of n bytes at `at`, converts, puts the old bytes back. */
static void poke(const char *folder, es_bytes *b, size_t where, uint64_t v, int n, const char *word)
{
    unsigned char old[8];

    memcpy(old, b->p + where, (size_t)n);
    for (int i = 0; i < n; i++) b->p[where + (size_t)i] = (unsigned char)(v >> (8 * i));
    es_small_save(folder, "model.bin", b->p, b->n);
    refused(folder, word);
    memcpy(b->p + where, old, (size_t)n);
}

static size_t find(const es_bytes *b, const char *text)
{
    const unsigned char *p = memmem(b->p, b->n, text, strlen(text) + 1);

    CHECK(p, "%s is not in the file", text);
    return p ? (size_t)(p - b->p) : 0;
}

static void ct2_refused(void)
{
    const char *folder = new_folder("ct2bad");
    es_bytes b = {0};

    es_small_vocabulary(folder, "vocabulary.json", true);
    es_small_ct2(&b, 6, "F16");
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
    poke(folder, &b, find(&b, "encoder/layer_0/self_attention/linear_0/bias") + 44 + 2 + ES_SMALL_D * 2 + 9, 0x3c00, 2, "have a bias");
    size_t alias = b.n - strlen("decoder/embeddings/weight") - 1;
    poke(folder, &b, alias, 'X', 1, "which is not there");
    es_bytes_add(&b, "x", 1);
    es_small_save(folder, "model.bin", b.p, b.n);
    refused(folder, "1 bytes follow the last entry");
    b.n--;
    for (size_t cut = 4096; cut < b.n; cut += 4096) {
        es_small_save(folder, "model.bin", b.p, cut);
        refused(folder, "cut off");
    }
    es_small_save(folder, "model.bin", b.p, 3);
    refused(folder, "not a weight file");

    es_small_ct2(&b, 6, "I8");
    poke(folder, &b, find(&b, "encoder/conv1/weight_scale") + 27 + 1 + 4 + 5, 0, 4, "is no scale");
    poke(folder, &b, find(&b, "encoder/conv1/weight_scale") + 27 + 1 + 4 + 5, 0x7fc00000, 4, "is no scale");
    es_small_save(folder, "model.bin", b.p, b.n);
    es_convert_report rep;
    es_err err;
    CHECK(convert(folder, sub("good.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    free(b.p);
}

/* OpenAI's names, with a rank file as vocabulary, and whisper.cpp's files, plain and quantised. */
static void openai_and_ggml(void)
{
    const char *folder = new_folder("openai");
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    es_bytes b = {0};
    es_convert_report rep;
    es_err err;
    char token[32], line[64];

    for (int i = 0; i < ES_SMALL_BASE; i++) {
        es_small_token(token, i, true);
        size_t n = i < 256 ? 1 : strlen(token), at = 0;
        for (size_t k = 0; k < n; k += 3) {
            uint32_t v = (uint32_t)(unsigned char)token[k] << 16;
            if (k + 1 < n) v |= (uint32_t)(unsigned char)token[k + 1] << 8;
            if (k + 2 < n) v |= (unsigned char)token[k + 2];
            for (int d = 0; d < 4; d++) line[at++] = (size_t)d > n - k ? '=' : digits[v >> (18 - 6 * d) & 63];
        }
        es_bytes_add(&b, line, at);
        es_bytes_add(&b, line, (size_t)snprintf(line, sizeof line, " %d\n", i));
    }
    es_small_save(folder, "gpt2.tiktoken", b.p, b.n);
    es_small_save_text(folder, "config.json", "{\"encoder_attention_heads\":2}");
    es_small_openai(folder, "model.safetensors", "F16");
    CHECK(convert(folder, sub("openai.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    check_pack(sub("openai.pack"), ES_F16, ES_F16);
    b.p[0] = ' ';
    es_small_save(folder, "gpt2.tiktoken", b.p, b.n);
    refused(folder, "line 1 is not a token");

    for (int blocks = 0; blocks < 2; blocks++) {
        es_small_ggml(&b, blocks);
        es_small_save(folder, "ggml.bin", b.p, b.n);
        CHECK(convert(sub("openai/ggml.bin"), sub("ggml.pack"), ES_CONVERT_F16, &rep, &err) == ES_OK, "%s", err.text);
        check_pack(sub("ggml.pack"), ES_F16, ES_F32);
        CHECK(!blocks || strstr(rep.dtypes_in, "Q8_0 2"), "%s", rep.dtypes_in);
    }
    b.p[4 + 4 * 11 - 4] = 7, b.p[4 + 4 * 11 - 3] = 0; /* blocks of the form before */
    es_small_save(folder, "ggml.bin", b.p, b.n);
    refused(sub("openai/ggml.bin"), "blocks of form 0");
    es_small_ggml(&b, false);
    for (size_t cut = 16; cut < b.n; cut += 65536) {
        es_small_save(folder, "ggml.bin", b.p, cut);
        refused(sub("openai/ggml.bin"), "cut off");
    }
    free(b.p);
}

/* What f16 cannot hold is refused by name, not flattened to infinity. */
static void too_large_for_f16(void)
{
    const char *folder = new_folder("large");
    es_bytes b = {0};
    es_convert_report rep;
    es_err err;

    es_small_vocabulary(folder, "vocabulary.json", true);
    es_small_ct2(&b, 6, "F32");
    size_t value_at = find(&b, "encoder/conv1/weight") + 21 + 1 + 12 + 5;
    memcpy(b.p + value_at, &(float){70000}, 4);
    es_small_save(folder, "model.bin", b.p, b.n);
    CHECK(convert(folder, sub("large.pack"), ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK(convert(folder, sub("large.pack"), ES_CONVERT_F16, &rep, &err) != ES_OK, "70000 became an f16");
    CHECK(strstr(err.text, "encoder.conv1.weight") && strstr(err.text, "70000"), "%s", err.text);
    free(b.p);
}

static void pack_cut_anywhere(void)
{
    const char *folder = new_folder("cut");
    es_bytes b = {0};
    es_convert_report rep;
    es_err err;
    size_t n;

    es_small_vocabulary(folder, "vocabulary.json", true);
    es_small_ct2(&b, 6, "F16");
    es_small_save(folder, "model.bin", b.p, b.n);
    CHECK(convert(folder, folder, ES_CONVERT_KEEP, &rep, &err) == ES_OK, "%s", err.text);
    CHECK_STR(rep.path, sub("cut/cut.pack"));
    unsigned char *p = slurp(sub("cut/cut.pack"), &n);
    CHECK(p && n == rep.bytes_out, "%zu bytes, the report says %llu", n, (unsigned long long)rep.bytes_out);
    for (size_t cut = 0; p && cut < n; cut += 4096) {
        es_weights *w;
        err = (es_err){0};
        es_small_save(folder, "short.pack", p, cut);
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
    es_bytes b = {0};
    es_convert_report rep;
    es_err err;

    es_small_vocabulary(folder, "vocabulary.json", true);
    es_small_ct2(&b, 6, "F16");
    es_small_save_text(es_test_folder(), "keep.pack", "the old one");
    memcpy(b.p + find(&b, "decoder/layer_norm/beta") + 24 + 1 + 4 + 5, "\0\x7e", 2);
    es_small_save(folder, "model.bin", b.p, b.n);
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
    {"hugging_face_refused", hugging_face_refused}, {"pipes_are_refused", pipes_are_refused},
    {"openai_and_ggml", openai_and_ggml},
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
