/*
 * gguf.c - GGUF versions 2 and 3 as llama.cpp writes them for Qwen2.
 *
 *     "GGUF", u32 version, u64 tensors, u64 pairs
 *     pairs:    string key, u32 type, value           string = u64 length, bytes; array = u32 type, u64 count, elements
 *     tensors:  string name, u32 dimensions, u64 size of each (innermost first), u32 type, u64 offset in the data
 *     padding to the alignment; the data, each tensor padded to it
 *
 * Counts are compared with the bytes that are left before anything is allocated for them. Offsets must be the running sum
 * of the padded sizes, which is what writers do and which leaves no room for overlaps. The sizes of the network and its
 * tokenizer stand among the pairs; they are handed on as the JSON files that other sources have beside their weights.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "source.h"

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_TYPES };
static const size_t sizes[N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}; /* the least a value takes */

enum { MAX_PAIRS = 65536, MAX_KEY = 65535, MAX_TENSOR_NAME = 64 };

typedef struct pair {
    const char *key;
    size_t key_bytes;
    uint32_t type, of; /* of: of an array's elements */
    uint64_t count;    /* of an array */
    const unsigned char *p;
} pair;

typedef struct cursor {
    const unsigned char *p;
    size_t at, bytes;
    const char *path;
    es_err *err;
    int rc;
} cursor;

es_num es_gguf_type(uint32_t id)
{
    switch (id) {
    case 0: return ES_NUM_F32;
    case 1: return ES_NUM_F16;
    case 2: return ES_NUM_Q4_0;
    case 3: return ES_NUM_Q4_1;
    case 6: return ES_NUM_Q5_0;
    case 7: return ES_NUM_Q5_1;
    case 8: return ES_NUM_Q8_0;
    case 12: return ES_NUM_Q4_K;
    case 13: return ES_NUM_Q5_K;
    case 14: return ES_NUM_Q6_K;
    case 30: return ES_NUM_BF16;
    default: return ES_N_NUMS;
    }
}

static uint64_t little(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

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

static uint64_t number(cursor *c, size_t n, const char *what)
{
    const unsigned char *p = take(c, n, what);

    return p ? little(p, n) : 0;
}

/* A value of that type; its bytes stay where they are. */
static void value(cursor *c, pair *out, uint32_t type, const char *what)
{
    uint64_t n;

    if (!c->rc && type >= N_TYPES) c->rc = es_fail(c->err, ES_EFORMAT, "%s: %s has the unknown type %u", c->path, what, type);
    if (c->rc) return;
    out->p = c->p + c->at;
    if (type == STRING) {
        n = number(c, 8, what);
        take(c, n, what);
    } else if (type == ARRAY) {
        out->of = (uint32_t)number(c, 4, what);
        out->count = number(c, 8, what);
        if (!c->rc && (out->of >= N_TYPES || out->of == ARRAY || out->count > (c->bytes - c->at) / sizes[out->of])) {
            c->rc = es_fail(c->err, ES_EFORMAT, "%s: %s is an array of %llu elements of type %u, which cannot be", c->path, what,
                            (unsigned long long)out->count, out->of);
        }
        out->p = c->p + c->at;
        if (c->rc) return;
        if (out->of != STRING) take(c, out->count * sizes[out->of], what);
        for (uint64_t i = 0; out->of == STRING && i < out->count && !c->rc; i++) take(c, number(c, 8, what), what);
    } else {
        take(c, sizes[type], what);
    }
}

static int by_key(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    size_t n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    int k = memcmp(x->key, y->key, n);

    return k ? k : (x->key_bytes > y->key_bytes) - (x->key_bytes < y->key_bytes);
}

static const pair *find(const pair *pairs, size_t n, const char *key)
{
    pair wanted = {.key = key, .key_bytes = strlen(key)};

    return n ? bsearch(&wanted, pairs, n, sizeof wanted, by_key) : NULL;
}

/* Whole numbers of any width. */
static bool whole(const pair *p, int64_t *out)
{
    if (!p) return false;
    switch (p->type) {
    case U8: case BOOL: *out = p->p[0]; return true;
    case I8: *out = (int8_t)p->p[0]; return true;
    case U16: *out = (int64_t)little(p->p, 2); return true;
    case I16: *out = (int16_t)little(p->p, 2); return true;
    case U32: *out = (int64_t)little(p->p, 4); return true;
    case I32: *out = (int32_t)little(p->p, 4); return true;
    case U64: case I64: *out = (int64_t)little(p->p, 8); return *out >= 0;
    default: return false;
    }
}

static bool real(const pair *p, double *out)
{
    float f;

    if (!p || (p->type != F32 && p->type != F64)) return false;
    if (p->type == F64) {
        memcpy(out, p->p, 8);
        return true;
    }
    memcpy(&f, p->p, 4);
    *out = (double)f;
    return true;
}

static bool is_text(const pair *p, const char *text)
{
    return p && p->type == STRING && little(p->p, 8) == strlen(text) && !memcmp(p->p + 8, text, strlen(text));
}

/* ---- what the pairs say, as JSON ---- */

static int put_config(es_source *s, const pair *pairs, size_t n, es_err *err)
{
    static const struct {
        const char *key, *name;
    } numbers[] = {
        {"qwen2.attention.head_count", "num_attention_heads"}, {"qwen2.attention.head_count_kv", "num_key_value_heads"},
        {"qwen2.embedding_length", "hidden_size"},             {"qwen2.block_count", "num_hidden_layers"},
        {"qwen2.feed_forward_length", "intermediate_size"},    {"qwen2.context_length", "max_position_embeddings"},
        {"tokenizer.ggml.eos_token_id", "eos_token_id"},
    };
    es_json_out j;
    int64_t i;
    double f;
    const pair *causal = find(pairs, n, "qwen2.attention.causal");

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        if (whole(find(pairs, n, numbers[k].key), &i)) es_json_put_int(&j, numbers[k].name, i);
    }
    if (real(find(pairs, n, "qwen2.attention.layer_norm_rms_epsilon"), &f)) {
        /* Stored in f32: the nearest number of few digits is what was meant, 1e-6 and not 9.99999997e-7. */
        char text[32];
        snprintf(text, sizeof text, "%.6g", f);
        es_json_put_number(&j, "rms_norm_eps", strtod(text, NULL));
    }
    if (real(find(pairs, n, "qwen2.rope.freq_base"), &f)) es_json_put_number(&j, "rope_theta", f);
    if (causal && causal->type == BOOL) es_json_put_bool(&j, "is_causal", causal->p[0] != 0);
    es_json_put_string(&j, "hidden_act", "silu");
    es_json_end_object(&j);
    if (j.failed) {
        free(j.text);
        return es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
    }
    return es_source_add_text(s, "config.json", j.text, err);
}

/* The next string of an array, as NUL-terminated text in a buffer that grows; NULL when memory is out. */
static const char *next_text(const unsigned char **p, char **buffer, size_t *room)
{
    size_t n = (size_t)little(*p, 8);

    if (n + 1 > *room) {
        char *grown = realloc(*buffer, *room = n + 256);
        if (!grown) return NULL;
        *buffer = grown;
    }
    memcpy(*buffer, *p + 8, n);
    (*buffer)[n] = 0;
    *p += 8 + n;
    return *buffer;
}

/* Tokens and merges in the form of tokenizer.json; nothing where the file has none of that kind. */
static int put_tokenizer(es_source *s, const pair *pairs, size_t n, es_err *err)
{
    const pair *tokens = find(pairs, n, "tokenizer.ggml.tokens"), *merges = find(pairs, n, "tokenizer.ggml.merges"),
               *types = find(pairs, n, "tokenizer.ggml.token_type");
    const unsigned char *p;
    char *buffer = NULL;
    const char *text = "";
    size_t room = 0;
    uint64_t normal = 0;
    es_json_out j;

    if (!is_text(find(pairs, n, "tokenizer.ggml.model"), "gpt2") || !tokens || tokens->type != ARRAY || tokens->of != STRING ||
        !merges || merges->type != ARRAY || merges->of != STRING || !types || types->type != ARRAY ||
        (types->of != I32 && types->of != U32) || types->count != tokens->count) return ES_OK;
    for (uint64_t i = 0; i < types->count; i++) normal += little(types->p + 4 * i, 4) == 1;
    if (normal != 256 + merges->count) return ES_OK; /* not a byte-level vocabulary in the order of its merges */
    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_object(&j, "model");
    es_json_object(&j, "vocab");
    p = tokens->p;
    for (uint64_t i = 0; i < tokens->count && text; i++) {
        text = next_text(&p, &buffer, &room);
        if (text && little(types->p + 4 * i, 4) == 1) es_json_put_uint(&j, text, i);
    }
    es_json_end_object(&j);
    es_json_array(&j, "merges");
    p = merges->p;
    for (uint64_t i = 0; i < merges->count && text; i++) {
        text = next_text(&p, &buffer, &room);
        if (text) es_json_put_string(&j, NULL, text);
    }
    es_json_end_array(&j);
    es_json_end_object(&j);
    es_json_array(&j, "added_tokens");
    p = tokens->p;
    for (uint64_t i = 0; i < tokens->count && text; i++) {
        uint64_t kind = little(types->p + 4 * i, 4);
        text = next_text(&p, &buffer, &room);
        if (!text || (kind != 3 && kind != 4)) continue; /* control and user-defined; the rest pads the table */
        es_json_object(&j, NULL);
        es_json_put_uint(&j, "id", i);
        es_json_put_string(&j, "content", text);
        es_json_end_object(&j);
    }
    es_json_end_array(&j);
    es_json_end_object(&j);
    free(buffer);
    if (j.failed || !text) {
        free(j.text);
        return es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
    }
    return es_source_add_text(s, "tokenizer.json", j.text, err);
}

/* ---- tensors ---- */

static void tensor(es_source *s, cursor *c, uint64_t *sum, uint64_t alignment)
{
    es_src_tensor t = {0};
    char shown[96], name[MAX_TENSOR_NAME + 1];
    uint64_t n = number(c, 8, "a tensor's name"), offset, ne[4], bytes, count = 1;
    const unsigned char *p;
    uint32_t dims, type;

    if (!c->rc && n > MAX_TENSOR_NAME) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: the name of a tensor has %llu bytes, at most %d are expected", c->path,
                        (unsigned long long)n, MAX_TENSOR_NAME);
    }
    p = take(c, n, "a tensor's name");
    if (!p) return;
    snprintf(name, sizeof name, "%.*s", (int)n, (const char *)p);
    es_printable(shown, sizeof shown, name);
    dims = (uint32_t)number(c, 4, "a tensor's shape");
    if (!c->rc && (dims < 1 || dims > 4)) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: tensor %s has %u dimensions, 1 to 4 are expected", c->path, shown, dims);
    }
    for (uint32_t i = 0; i < dims && !c->rc; i++) {
        ne[i] = number(c, 8, "a tensor's shape");
        if (!c->rc && (!ne[i] || ne[i] > INT64_MAX || __builtin_mul_overflow(count, ne[i], &count) || count > SIZE_MAX / 16)) {
            c->rc = es_fail(c->err, ES_EFORMAT, "%s: the shape of tensor %s is impossible", c->path, shown);
        }
        if (!c->rc) t.dim[dims - 1 - i] = (int64_t)ne[i];
    }
    type = (uint32_t)number(c, 4, "a tensor's type");
    offset = number(c, 8, "a tensor's offset");
    if (c->rc) return;
    t.n_dims = (int)dims;
    t.num = es_gguf_type(type);
    if (t.num == ES_N_NUMS) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: tensor %s has the type %u, which is not supported", c->path, shown, type);
    } else if (ne[0] % es_num_block(t.num)) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: rows of %llu values of tensor %s are not made of blocks of %zu", c->path,
                        (unsigned long long)ne[0], shown, es_num_block(t.num));
    } else if (offset != *sum) {
        c->rc = es_fail(c->err, ES_EFORMAT, "%s: tensor %s is at %llu of the data, %llu is where the one before ends", c->path,
                        shown, (unsigned long long)offset, (unsigned long long)*sum);
    }
    if (c->rc) return;
    bytes = count / es_num_block(t.num) * es_num_bytes(t.num);
    t.bytes = (size_t)bytes;
    t.p = c->p;
    t.stride[0] = (int64_t)offset; /* until the start of the data is known */
    *sum = (offset + bytes + alignment - 1) / alignment * alignment;
    if (*sum > c->bytes + alignment) c->rc = es_fail(c->err, ES_EFORMAT, "%s: tensor %s ends past the file", c->path, shown);
    else c->rc = es_source_add(s, &t, (const char *)p, (size_t)n, c->path, c->err);
}

int es_gguf_read(es_source *s, const char *path, es_err *err)
{
    cursor c = {.path = path, .err = err};
    uint64_t n_tensors, n_pairs, sum = 0;
    uint32_t version;
    int64_t alignment = 32, pooling = 3;
    pair *pairs = NULL;
    size_t n = 0;

    c.rc = es_source_map(s, path, &c.p, &c.bytes, err);
    take(&c, 4, "the magic");
    version = (uint32_t)number(&c, 4, "the version");
    n_tensors = number(&c, 8, "the number of tensors");
    n_pairs = number(&c, 8, "the number of pairs");
    if (!c.rc && version != 2 && version != 3) {
        c.rc = es_fail(err, ES_EFORMAT, "%s: GGUF version %u; 2 and 3, little-endian, are known", path, version);
    }
    if (!c.rc && (n_pairs > MAX_PAIRS || n_pairs > c.bytes / 13 || n_tensors > c.bytes / 32)) {
        c.rc = es_fail(err, ES_EFORMAT, "%s: %llu pairs and %llu tensors cannot be in %zu bytes", path,
                       (unsigned long long)n_pairs, (unsigned long long)n_tensors, c.bytes);
    }
    if (!c.rc) pairs = calloc((size_t)n_pairs + 1, sizeof *pairs);
    if (!c.rc && !pairs) c.rc = es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    for (; n < n_pairs && !c.rc; n++) {
        uint64_t length = number(&c, 8, "a key");
        if (!c.rc && length > MAX_KEY) c.rc = es_fail(err, ES_EFORMAT, "%s: a key of %llu bytes", path, (unsigned long long)length);
        pairs[n].key = (const char *)take(&c, length, "a key");
        pairs[n].key_bytes = (size_t)length;
        pairs[n].type = (uint32_t)number(&c, 4, "the type of a value");
        value(&c, &pairs[n], pairs[n].type, "a value");
    }
    if (!c.rc) qsort(pairs, n, sizeof *pairs, by_key);
    for (size_t i = 1; i < n && !c.rc; i++) {
        if (!by_key(&pairs[i - 1], &pairs[i])) c.rc = es_fail(err, ES_EFORMAT, "%s: a key is there twice", path);
    }
    if (!c.rc && !is_text(find(pairs, n, "general.architecture"), "qwen2")) {
        c.rc = es_fail(err, ES_EMODEL, "%s: GGUF of an architecture that is not qwen2", path);
    }
    if (!c.rc && find(pairs, n, "general.alignment") &&
        (!whole(find(pairs, n, "general.alignment"), &alignment) || alignment < 8 || alignment > 1 << 20 ||
         (alignment & (alignment - 1)))) {
        c.rc = es_fail(err, ES_EFORMAT, "%s: the alignment is not a power of two from 8 on", path);
    }
    if (!c.rc && whole(find(pairs, n, "qwen2.pooling_type"), &pooling) && pooling != 3 && pooling != 0) {
        c.rc = es_fail(err, ES_EMODEL, "%s: pooling of kind %lld; the last token, 3, is known", path, (long long)pooling);
    }
    for (uint64_t i = 0; i < n_tensors && !c.rc; i++) tensor(s, &c, &sum, (uint64_t)alignment);
    if (!c.rc) {
        size_t start = (c.at + (size_t)alignment - 1) / (size_t)alignment * (size_t)alignment;
        for (int i = 0; i < s->n_tensors && !c.rc; i++) {
            es_src_tensor *t = &s->tensors[i];
            size_t offset = (size_t)t->stride[0];
            if (start > c.bytes || offset > c.bytes - start || t->bytes > c.bytes - start - offset) {
                c.rc = es_fail(err, ES_EFORMAT, "%s: tensor %s ends past the file", path, t->name);
            } else {
                t->p = c.p + start + offset;
            }
        }
    }
    if (!c.rc) c.rc = put_config(s, pairs, n, err);
    if (!c.rc) c.rc = put_tokenizer(s, pairs, n, err);
    if (!c.rc) c.rc = es_source_ready(s, err);
    if (!c.rc) snprintf(s->format, sizeof s->format, "GGUF version %u", version);
    free(pairs);
    return c.rc;
}
