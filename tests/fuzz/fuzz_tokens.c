/*
 * fuzz_tokens.c - token tables, added tokens and texts that nobody made on purpose, through the door to all tokenizers.
 *
 * The first byte chooses the tokenizer, the second how the rest is divided into a table, added tokens and a text. A table
 * that is refused is tried again behind one that is whole. The ids of a text must not depend on the room for them, and a
 * framed text is its plain ids, cut, inside the frame.
 */
#include <stdlib.h>
#include <string.h>

#include "text/tokens.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds) abort(); /* not assert(), which a release build leaves out */
}

static void try_text(const es_tokens *t, const char *text, size_t n)
{
    size_t room = 3 * n + 1, all = 0;
    int32_t *ids = malloc(room * sizeof *ids), cut[8], framed[8];
    size_t count = es_tokens_plain(t, text, n, ids, room), frame = (size_t)es_tokens_frame(t);

    must(ids != NULL && count <= room);
    must(es_tokens_plain(t, text, n, cut, 8) == count);
    must(memcmp(cut, ids, (count < 8 ? count : 8) * sizeof *ids) == 0);
    size_t k = es_tokens_framed(t, text, n, false, framed, 8, &all);
    must(all == count + frame && k == (all < 8 ? all : 8));
    must(memcmp(framed + frame / 2, ids, (k - frame) * sizeof *ids) == 0);
    must(es_tokens_framed(t, text, n, true, framed, 8, &all) <= 8 && all >= k);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const configs[2] = {"{\"tokenizer\":\"wordpiece\"}", "{\"tokenizer\":\"qwen2\",\"eos\":7}"};
    static const char special[] = "\5[PAD]\5[UNK]\5[CLS]\5[SEP]\6[MASK]";
    es_tokens *t = NULL;
    es_json *config = NULL;
    es_err err = {0};

    if (size < 2) return 0;
    int qwen2 = data[0] & 1;
    size_t n = size - 2, table = n * (data[1] & 15) / 32, added = n * (data[1] >> 4) / 32;
    const uint8_t *p = data + 2;
    must(es_json_parse(&config, configs[qwen2], strlen(configs[qwen2]), "config", &err) == ES_OK);
    es_token_tables tables = {.tokens = p, .tokens_bytes = table, .added = p + table, .added_bytes = added};
    if (es_tokens_open(&t, &tables, es_json_root(config), "tables", &err) != ES_OK) {
        uint8_t *whole = malloc(512 + sizeof special + table);
        size_t head = qwen2 ? 512 : sizeof special - 1;
        for (int i = 0; qwen2 && i < 256; i++) whole[2 * i] = 1, whole[2 * i + 1] = (uint8_t)i;
        if (!qwen2) memcpy(whole, special, head);
        if (table) memcpy(whole + head, p, table);
        tables.tokens = whole, tables.tokens_bytes = head + table;
        for (int i = 0; !t && i < 3; i++) { /* with all of it, without the table, without the added tokens */
            if (i == 1) tables.tokens_bytes = head;
            if (i == 2) tables.added_bytes = 0;
            err = (es_err){0};
            es_tokens_open(&t, &tables, es_json_root(config), "tables", &err);
        }
        free(whole);
    }
    must(t != NULL);
    try_text(t, (const char *)p + table + added, n - table - added);
    es_tokens_close(t);
    es_json_close(config);
    return 0;
}
