/*
 * tokenizer.c - a folder's tokenizer without its model: ids can be had before the weights are.
 *
 * Which tokenizer it is, tokenizer.json says in "model"."type": WordPiece is BERT's, BPE is taken for Qwen2's and proved to
 * be it (vocab_text.c). A vocab.txt by itself is WordPiece.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build.h"

enum { MAX_TEXT = 64 << 20, MAX_IDS = 1 << 20 };

static bool has(const char *folder, const char *name)
{
    char *path = es_source_join(folder, name);
    bool there = path && !access(path, F_OK);

    free(path);
    return there;
}

bool es_convert_tokens_in(const char *folder)
{
    return has(folder, "tokenizer.json") || has(folder, "vocab.txt");
}

/* True for WordPiece, false for BPE; anything else fails. */
static bool is_wordpiece(es_build *b)
{
    es_json *j = es_build_json(b, "tokenizer.json", MAX_TEXT);
    const es_json_node *model = es_json_get(es_json_root(j), "model");
    const char *type = es_json_string(es_json_get(model, "type"));
    char shown[64];

    /* Old files do not name the type; merges are what only BPE has. */
    bool bpe = type ? !strcmp(type, "BPE") : es_json_get(model, "merges") != NULL, wordpiece = !j || !type || !strcmp(type, "WordPiece");
    if (!b->rc && !bpe && !wordpiece)
        es_build_fail(b, "tokenizer.json: its model is %s, and WordPiece and BPE are known", es_printable(shown, sizeof shown, type));
    es_json_close(j);
    return !bpe;
}

static char *config_of(es_build *b, bool wordpiece, bool lowercase, int eos)
{
    es_json_out j;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_string(&j, "tokenizer", wordpiece ? "wordpiece" : "qwen2");
    if (wordpiece) es_json_put_bool(&j, "lowercase", lowercase);
    else es_json_put_int(&j, "eos", eos);
    es_json_end_object(&j);
    if (j.failed && !b->rc) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    return j.text;
}

int es_convert_tokens_read(es_convert_tokens *out, const char *folder, es_err *err)
{
    const es_convert_options options = {.source = folder};
    es_convert_report report = {0};
    es_build b = {.options = &options, .report = &report, .err = err};
    es_vocab vocab = {0};
    int id[5] = {0}, eos = -1;
    bool lowercase = true;

    *out = (es_convert_tokens){0};
    b.rc = es_source_open(&b.source, folder, folder, err);
    if (b.rc) return b.rc;
    bool wordpiece = is_wordpiece(&b);
    if (!b.rc && wordpiece) es_vocab_wordpiece(&b, &vocab, 0, id, &lowercase);
    else if (!b.rc) es_vocab_qwen2(&b, &vocab, MAX_IDS, &eos);
    if (!b.rc && !wordpiece && eos < 0) es_build_fail(&b, "tokenizer.json has no <|endoftext|>, which ends every text");
    *out = (es_convert_tokens){.tokens = vocab.tokens,
                               .added = vocab.added,
                               .tokens_bytes = vocab.tokens_bytes,
                               .added_bytes = vocab.added_bytes,
                               .config = b.rc ? NULL : config_of(&b, wordpiece, lowercase, eos)};
    es_source_close(b.source);
    if (b.rc) es_convert_tokens_done(out);
    return b.rc;
}

void es_convert_tokens_done(es_convert_tokens *t)
{
    free(t->tokens);
    free(t->added);
    free(t->config);
    *t = (es_convert_tokens){0};
}
