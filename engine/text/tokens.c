/*
 * tokens.c - one door to the tokenizers of text encoders, and the frames that their models were trained with.
 *
 * Whether a text that spells an added token ("<|endoftext|>") means it is the caller's question everywhere but here: the
 * references say yes, and vectors are to equal theirs.
 */
#include "text/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/qwen2_tokens.h"
#include "text/wordpiece.h"

/* The instruction that gte-Qwen2 was trained with for questions to a search engine; the blank at its end joins the first
 * word of the question, so the two are one text. */
static const char instruction[] =
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ";

struct es_tokens {
    es_wordpiece *wordpiece; /* one of these two */
    es_qwen2_tokens *qwen2;
    int32_t eos;
};

int es_tokens_open(es_tokens **out, const es_token_tables *tables, const es_json_node *config, const char *what, es_err *err)
{
    const char *name = es_json_string(es_json_get(config, "tokenizer"));
    es_tokens *t = NULL;
    es_err why = {0};
    char shown[512];
    int64_t eos = -1;
    bool lowercase = true;
    int rc;

    *out = NULL;
    es_printable(shown, sizeof shown, what);
    if (name && !strcmp(name, "none")) return ES_OK;
    if (!name || (strcmp(name, "wordpiece") && strcmp(name, "qwen2"))) {
        char other[64];
        return es_fail(err, ES_EMODEL, "%s: its tokenizer is \"%s\", not wordpiece, qwen2 or none", shown,
                       es_printable(other, sizeof other, name ? name : ""));
    }
    if (!tables->tokens)
        return es_fail(err, ES_EMODEL, "%s: the tensor tokenizer.tokens of bytes is missing; convert the model again", shown);
    /* A cased vocabulary would be looked up in lower case: every id plausible, and wrong. */
    if (*name == 'w' && es_json_bool(es_json_get(config, "lowercase"), &lowercase) && !lowercase)
        return es_fail(err, ES_EMODEL, "%s: its WordPiece keeps upper case, and only the uncased one is known", shown);
    if (!(t = calloc(1, sizeof *t))) return es_fail(err, ES_ENOMEM, "no memory for a tokenizer");
    if (*name == 'w') {
        rc = es_wordpiece_open(&t->wordpiece, tables->tokens, tables->tokens_bytes, &why);
    } else {
        rc = es_qwen2_tokens_open(&t->qwen2, tables->tokens, tables->tokens_bytes, tables->added, tables->added_bytes, &why);
        if (rc == ES_OK && !es_json_int(es_json_get(config, "eos"), 0, INT32_MAX, &eos))
            rc = es_fail(&why, ES_EMODEL, "config \"eos\" is not the id of the token that ends a text");
        t->eos = (int32_t)eos;
    }
    if (rc != ES_OK) {
        es_tokens_close(t);
        return es_fail(err, rc, "%s: %s", shown, why.text);
    }
    *out = t;
    return ES_OK;
}

void es_tokens_close(es_tokens *t)
{
    if (!t) return;
    es_wordpiece_close(t->wordpiece);
    es_qwen2_tokens_close(t->qwen2);
    free(t);
}

size_t es_tokens_plain(const es_tokens *t, const char *text, size_t n, int32_t *ids, size_t room)
{
    return t->qwen2 ? es_qwen2_tokens_encode(t->qwen2, text, n, true, ids, room)
                    : es_wordpiece_encode(t->wordpiece, text, n, true, ids, room);
}

int es_tokens_frame(const es_tokens *t)
{
    return t->qwen2 ? 1 : 2;
}

/* The ids of the instruction and the text behind it. */
static size_t asked(const es_tokens *t, const char *text, size_t n, int32_t *ids, size_t room)
{
    size_t head = sizeof instruction - 1;
    char *both = malloc(head + n + 1);

    if (!both) return SIZE_MAX;
    memcpy(both, instruction, head);
    if (n) memcpy(both + head, text, n);
    size_t count = es_tokens_plain(t, both, head + n, ids, room);
    free(both);
    return count;
}

size_t es_tokens_inner(const es_tokens *t, const char *text, size_t n, bool query, int32_t *ids, size_t room)
{
    return query && t->qwen2 ? asked(t, text, n, ids, room) : es_tokens_plain(t, text, n, ids, room);
}

int es_tokens_lead(const es_tokens *t)
{
    return t->qwen2 ? 0 : 1;
}

size_t es_tokens_put_frame(const es_tokens *t, int32_t *ids, size_t count)
{
    if (t->qwen2) {
        ids[count] = t->eos;
    } else {
        ids[0] = es_wordpiece_first(t->wordpiece);
        ids[count + 1] = es_wordpiece_last(t->wordpiece);
    }
    return count + (size_t)es_tokens_frame(t);
}

size_t es_tokens_framed(const es_tokens *t, const char *text, size_t n, bool query, int32_t *ids, size_t limit, size_t *all)
{
    size_t frame = (size_t)es_tokens_frame(t), room = limit > frame ? limit - frame : 0;
    size_t count = es_tokens_inner(t, text, n, query, ids + es_tokens_lead(t), room);

    if (count == SIZE_MAX) return SIZE_MAX;
    if (all) *all = count + frame;
    return es_tokens_put_frame(t, ids, count < room ? count : room);
}
