/*
 * vocab.c - tokenizer files to the token table of a pack: raw bytes in id order.
 *
 * GPT-2's byte-level vocabularies are written as text by giving each byte a printable character: bytes 0x21-0x7E,
 * 0xA1-0xAC and 0xAE-0xFF stand for themselves, the other 68 take U+0100, U+0101, ... in rising order. Undoing that
 * gives the bytes of a token. The order of the merges is the order of the ids, so the table is all a reader needs.
 *
 * Four files carry the same vocabulary: tokenizer.json (model.vocab, token to id), vocab.json (the same object by itself),
 * CTranslate2's vocabulary.json (a list) and OpenAI's own *.tiktoken (lines of base64 and id). Multilingual Whisper has an empty token, 50256, which some files
 * leave out.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_JSON = 64 << 20 };

typedef struct table {
    unsigned char (*bytes)[256]; /* [n]: length, then the bytes */
    bool *has;                   /* [n] */
    int n;
    const char *file;
} table;

/* Characters below U+0144 to bytes, -1 for those that stand for none. */
static void byte_of_character(int map[0x144])
{
    int next = 0x100;

    for (int c = 0; c < 0x144; c++) map[c] = -1;
    for (int byte = 0; byte < 256; byte++) {
        bool self = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        map[self ? byte : next++] = byte;
    }
}

int es_vocab_undo(const char *text, unsigned char out[255])
{
    const unsigned char *p = (const unsigned char *)text;
    int n = 0, map[0x144];

    byte_of_character(map);
    while (*p) {
        int c = *p++;
        if (c >= 0x80) {
            /* All of them lie below U+0144, so two bytes are the longest form. */
            if (c < 0xc2 || c > 0xc5 || (*p & 0xc0) != 0x80) return -1;
            c = (c & 31) << 6 | (*p++ & 63);
        }
        if (c >= 0x144 || map[c] < 0 || n == 255) return -1;
        out[n++] = (unsigned char)map[c];
    }
    return n;
}

static void set(es_build *b, table *t, int64_t id, const char *text)
{
    char shown[96];
    int n;

    if (b->rc || id >= t->n) return; /* special tokens, which follow from the size of the vocabulary */
    if (t->has[id]) {
        es_build_fail(b, "%s gives token %lld twice", t->file, (long long)id);
        return;
    }
    n = es_vocab_undo(text, t->bytes[id] + 1);
    if (n < 0) {
        es_build_fail(b, "%s: token %lld, \"%s\", is not in the byte alphabet of GPT-2", t->file, (long long)id,
                      es_printable(shown, sizeof shown, text));
        return;
    }
    t->bytes[id][0] = (unsigned char)n;
    t->has[id] = true;
}

static void read_object(es_build *b, table *t, const es_json_node *vocab)
{
    for (const es_json_node *n = es_json_first(vocab); n && !b->rc; n = es_json_next(n)) {
        int64_t id;
        if (!es_json_int(n, 0, INT32_MAX, &id)) {
            es_build_fail(b, "%s: the id of a token is not a whole number", t->file);
            return;
        }
        set(b, t, id, es_json_key(n));
    }
}

static void read_list(es_build *b, table *t, const es_json_node *list)
{
    int64_t id = 0;

    for (const es_json_node *n = es_json_first(list); n && !b->rc; n = es_json_next(n), id++) {
        const char *text = es_json_string(n);
        if (!text) {
            es_build_fail(b, "%s: entry %lld is not a string", t->file, (long long)id);
            return;
        }
        set(b, t, id, text);
    }
}

static int sixtyfour(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Lines of "base64 id"; the empty token is written as "=". */
static void read_lines(es_build *b, table *t, const char *text)
{
    for (int line = 1; *text && !b->rc; line++) {
        unsigned char out[256];
        int n = 0, bits = 0;
        unsigned held = 0;
        char *end;

        for (int v; n < 255 && (v = sixtyfour(*text)) >= 0; text++) {
            held = (held << 6 | (unsigned)v) & 0xffff;
            bits += 6;
            if (bits >= 8) out[n++] = (unsigned char)(held >> (bits -= 8));
        }
        while (*text == '=') text++;
        long id = strtol(text, &end, 10);
        if (*text != ' ' || end == text || id < 0 || id >= t->n || (*end && *end != '\n') || t->has[id]) {
            es_build_fail(b, "%s: line %d is not a token and an id of its own", t->file, line);
            return;
        }
        t->bytes[id][0] = (unsigned char)n;
        memcpy(t->bytes[id] + 1, out, (size_t)n);
        t->has[id] = true;
        text = *end ? end + 1 : end;
    }
}

static void put(es_build *b, const table *t)
{
    unsigned char *flat = malloc((size_t)t->n * 256);
    size_t n = 0;

    if (!flat) {
        b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
        return;
    }
    for (int i = 0; i < t->n && !b->rc; i++) {
        if (!t->has[i] && i != 50256) {
            es_build_fail(b, "%s has no token %d of the %d that this model speaks", t->file, i, t->n);
        } else if (!t->bytes[i][0] && i != 50256) {
            es_build_fail(b, "%s: token %d is empty", t->file, i);
        }
        memcpy(flat + n, t->bytes[i], 1u + t->bytes[i][0]);
        n += 1u + t->bytes[i][0];
    }
    es_build_put_bytes(b, "tokenizer.tokens", flat, n);
    free(flat);
}

void es_vocab_whisper(es_build *b, int n)
{
    static const char *const files[] = {"tokenizer.json", "vocab.json", "vocabulary.json"};
    table t = {.n = n};
    es_json *j = NULL;

    if (b->rc) return;
    t.bytes = calloc((size_t)n, 256);
    t.has = calloc((size_t)n, sizeof *t.has);
    if (!t.bytes || !t.has) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    for (size_t i = 0; i < sizeof files / sizeof *files && !b->rc && !j; i++) {
        t.file = files[i];
        j = es_build_json(b, t.file, MAX_JSON);
    }
    if (j) {
        const es_json_node *root = es_json_root(j), *vocab = es_json_get(es_json_get(root, "model"), "vocab");
        if (es_json_is_array(root)) read_list(b, &t, root);
        else read_object(b, &t, es_json_is_object(vocab) ? vocab : root);
        put(b, &t);
    } else if (!b->rc) {
        size_t bytes;
        t.file = n == 50257 ? "multilingual.tiktoken" : "gpt2.tiktoken";
        char *lines = es_build_text(b, t.file, MAX_JSON, &bytes);
        if (lines) {
            read_lines(b, &t, lines);
            put(b, &t);
        } else {
            es_build_fail(b, "no tokenizer beside the weights: tokenizer.json, vocab.json, vocabulary.json or %s is needed", t.file);
        }
        free(lines);
    }
    es_json_close(j);
    free(t.bytes);
    free(t.has);
}
