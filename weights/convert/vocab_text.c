/*
 * vocab_text.c - the tokenizers of text encoders: BERT's WordPiece and Qwen2's byte-level BPE.
 *
 * WordPiece is a list of strings; its file is vocab.txt, one token a line, or tokenizer.json. Qwen2's is in
 * tokenizer.json: 256 bytes, then one token for each merge, then added tokens that are matched as whole strings. Readers
 * of packs take the order of the ids for the order of the merges, so that is proved here: merge r must join two older
 * tokens into token 256 + r. A file in which it is otherwise is refused, and so is one that cuts words by another pattern.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 64 << 20, MAX_IDS = 1 << 20 };

/* ---- a table of tokens by id ---- */

typedef struct table {
    const char **text; /* [n], borrowed */
    int n;
} table;

static void set(es_build *b, table *t, int64_t id, const char *text, const char *file)
{
    char shown[96];

    if (b->rc) return;
    if (id < 0 || id >= t->n) {
        es_build_fail(b, "%s: token \"%s\" has the id %lld, the model has %d", file, es_printable(shown, sizeof shown, text),
                      (long long)id, t->n);
    } else if (t->text[id]) {
        es_build_fail(b, "%s: the id %lld is there twice", file, (long long)id);
    } else {
        t->text[id] = text;
    }
}

static void from_object(es_build *b, table *t, const es_json_node *vocab, const char *file)
{
    for (const es_json_node *n = es_json_first(vocab); n && !b->rc; n = es_json_next(n)) {
        int64_t id;
        if (!es_json_int(n, 0, MAX_IDS, &id)) es_build_fail(b, "%s: the id of a token is not a whole number", file);
        else set(b, t, id, es_json_key(n), file);
    }
}

/* ---- tables as a pack holds them ---- */

void es_vocab_done(es_vocab *v)
{
    free(v->tokens);
    free(v->added);
    *v = (es_vocab){0};
}

void es_vocab_put(es_build *b, es_vocab *v)
{
    es_build_put_bytes(b, "tokenizer.tokens", v->tokens, v->tokens_bytes);
    if (v->added_bytes) es_build_put_bytes(b, "tokenizer.added", v->added, v->added_bytes);
    es_vocab_done(v);
}

typedef struct flat {
    unsigned char *p;
    size_t n, room;
} flat;

static void append(es_build *b, flat *f, const void *p, size_t n)
{
    if (b->rc) return;
    if (f->n + n > f->room) {
        unsigned char *grown = realloc(f->p, f->room = (f->room + n) * 2 + 65536);
        if (!grown) {
            b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
            return;
        }
        f->p = grown;
    }
    memcpy(f->p + f->n, p, n);
    f->n += n;
}

static void append_token(es_build *b, flat *f, const void *p, size_t n, int id, const char *file)
{
    unsigned char length = (unsigned char)n;

    if (!n || n > 255) es_build_fail(b, "%s: token %d has %zu bytes, 1 to 255 are known", file, id, n);
    append(b, f, &length, 1);
    append(b, f, p, n);
}

/* ---- WordPiece ---- */

/* One token a line; the lines are cut apart in place. */
static void from_lines(es_build *b, table *t, char *text, size_t bytes, const char *file)
{
    int64_t id = 0;

    for (char *p = text, *end = text + bytes; p < end && !b->rc; id++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        *stop = 0;
        if (stop > p && stop[-1] == '\r') stop[-1] = 0;
        set(b, t, id, p, file);
        p = stop + 1;
    }
}

static void special_ids(es_build *b, const table *t, int id[5])
{
    static const char *const names[5] = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"};

    for (int k = 0; k < 5; k++) id[k] = -1;
    for (int i = 0; i < t->n; i++) {
        for (int k = 0; k < 5 && t->text[i]; k++) {
            if (!strcmp(t->text[i], names[k])) id[k] = i;
        }
    }
    for (int k = 0; k < 3; k++) {
        if (id[k] < 0) es_build_fail(b, "the vocabulary has no %s", names[k]);
    }
}

static int lines_of(const char *text, size_t bytes)
{
    size_t n = bytes && text[bytes - 1] != '\n';

    for (size_t i = 0; i < bytes; i++) n += text[i] == '\n';
    return n < MAX_IDS ? (int)n : MAX_IDS;
}

void es_vocab_wordpiece(es_build *b, es_vocab *out, int n, int id[5], bool *lowercase)
{
    table t = {0};
    flat f = {0};
    size_t bytes = 0;
    const char *file = "vocab.txt";
    char *lines = es_build_text(b, file, MAX_TEXT, &bytes);
    es_json *j = es_build_json(b, "tokenizer.json", MAX_TEXT), *config = es_build_json(b, "tokenizer_config.json", MAX_TEXT);
    const es_json_node *vocab = es_json_get(es_json_get(es_json_root(j), "model"), "vocab");

    *lowercase = true;
    *out = (es_vocab){0};
    if (!n) n = lines ? lines_of(lines, bytes) : es_json_count(vocab);
    t = (table){.n = n, .text = calloc((size_t)n + 1, sizeof *t.text)};
    if (!b->rc && !t.text) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    if (!b->rc && !lines && !vocab) es_build_fail(b, "no tokenizer beside the weights: vocab.txt or tokenizer.json is needed");
    if (!b->rc && lines) {
        from_lines(b, &t, lines, bytes, file);
    } else if (!b->rc) {
        file = "tokenizer.json";
        from_object(b, &t, vocab, file);
    }
    if (!b->rc) special_ids(b, &t, id);
    for (int i = 0, last = n; i < n && !b->rc; i++) {
        /* Rows of the table past the vocabulary pad it to a round number; a hole inside is an error. */
        if (!t.text[i]) last = i < last ? i : last;
        else if (last < i) es_build_fail(b, "%s has no token %d", file, last);
        else append_token(b, &f, t.text[i], strlen(t.text[i]), i, file);
    }
    if (!es_json_bool(es_json_get(es_json_get(es_json_root(j), "normalizer"), "lowercase"), lowercase)) {
        es_json_bool(es_json_get(es_json_root(config), "do_lower_case"), lowercase);
    }
    *out = (es_vocab){.tokens = f.p, .tokens_bytes = f.n};
    free(t.text);
    free(lines);
    es_json_close(j);
    es_json_close(config);
}

/* ---- Qwen2 ---- */

typedef struct known {
    const char *text;
    int id;
} known;

static int by_text(const void *a, const void *b)
{
    return strcmp(((const known *)a)->text, ((const known *)b)->text);
}

static int id_of(const known *sorted, int n, const char *text)
{
    known key = {.text = text}, *at = bsearch(&key, sorted, (size_t)n, sizeof key, by_text);

    return at ? at->id : -1;
}

/* The two halves of a merge: ["a", "b"] in newer files, "a b" in older ones. False when it is neither. */
static bool halves(const es_json_node *n, char a[1024], char c[1024])
{
    const char *x = es_json_string(n), *y = NULL;
    size_t k;

    if (x) {
        y = strchr(x, ' ');
        if (!y) return false;
        k = (size_t)(y++ - x);
    } else {
        const es_json_node *first = es_json_first(n);
        x = es_json_string(first);
        y = es_json_string(es_json_next(first));
        if (!x || !y) return false;
        k = strlen(x);
    }
    if (!k || k > 1023 || !*y || strlen(y) > 1023) return false;
    memcpy(a, x, k);
    a[k] = 0;
    memcpy(c, y, strlen(y) + 1);
    return true;
}

/* Proves that merge r joins two tokens older than 256 + r into it. */
static void check_merges(es_build *b, const table *t, const es_json_node *merges)
{
    known *sorted = malloc((size_t)t->n * sizeof *sorted);
    char a[1024], c[1024], joined[2048];
    int r = 0;

    if (!sorted) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    for (int i = 0; i < t->n && !b->rc; i++) sorted[i] = (known){t->text[i], i};
    if (sorted) qsort(sorted, (size_t)t->n, sizeof *sorted, by_text);
    for (const es_json_node *n = es_json_first(merges); n && !b->rc; n = es_json_next(n), r++) {
        if (!halves(n, a, c)) {
            es_build_fail(b, "tokenizer.json: merge %d is not a pair of tokens", r);
            break;
        }
        snprintf(joined, sizeof joined, "%s%s", a, c);
        int left = id_of(sorted, t->n, a), right = id_of(sorted, t->n, c), both = id_of(sorted, t->n, joined);
        if (left < 0 || right < 0 || left >= 256 + r || right >= 256 + r || both != 256 + r) {
            es_build_fail(b, "tokenizer.json: merge %d joins tokens %d and %d into %d, but older ones into %d are expected: "
                             "merges and vocabulary disagree", r, left, right, both, 256 + r);
        }
    }
    free(sorted);
}

typedef struct added {
    int id;
    const char *text;
} added;

static int by_id(const void *a, const void *b)
{
    int x = ((const added *)a)->id, y = ((const added *)b)->id;

    return (x > y) - (x < y);
}

/* Added tokens by rising id, and the id of the end of a text. */
static void read_added(es_build *b, es_vocab *out, const es_json_node *list, int base, int rows, int *eos)
{
    int n = es_json_count(list), k = 0;
    added *all = malloc(((size_t)n + 1) * sizeof *all);
    flat f = {0};

    if (!all) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    for (const es_json_node *a = es_json_first(list); a && !b->rc; a = es_json_next(a)) {
        const char *text = es_json_string(es_json_get(a, "content"));
        int64_t id;
        if (!text || !es_json_int(es_json_get(a, "id"), base, rows - 1, &id)) {
            es_build_fail(b, "tokenizer.json: added token %d has no text, or an id outside %d .. %d", k, base, rows - 1);
            break;
        }
        all[k++] = (added){(int)id, text};
        if (!strcmp(text, "<|endoftext|>")) *eos = (int)id;
    }
    if (!b->rc) qsort(all, (size_t)k, sizeof *all, by_id);
    for (int i = 0; i < k && !b->rc; i++) {
        unsigned char id[4] = {(unsigned char)all[i].id, (unsigned char)(all[i].id >> 8), (unsigned char)(all[i].id >> 16),
                               (unsigned char)(all[i].id >> 24)};
        if (i && all[i].id == all[i - 1].id) es_build_fail(b, "tokenizer.json: the id %d is there twice", all[i].id);
        append(b, &f, id, 4);
        append_token(b, &f, all[i].text, strlen(all[i].text), all[i].id, "tokenizer.json");
    }
    out->added = f.p;
    out->added_bytes = f.n;
    free(all);
}

/* How a text is cut into pieces is a pattern in the file; the reader of packs knows Qwen2's. A file without one passes. */
static void check_pattern(es_build *b, const es_json_node *before)
{
    static const char qwen2[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                                "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    const es_json_node *list = es_json_get(before, "pretokenizers");
    char shown[256];

    for (const es_json_node *n = list ? es_json_first(list) : before; n && !b->rc; n = list ? es_json_next(n) : NULL) {
        const char *pattern = es_json_string(es_json_get(es_json_get(n, "pattern"), "Regex"));
        if (!pattern || !strcmp(pattern, qwen2)) continue;
        es_build_fail(b, "tokenizer.json: it cuts texts by the pattern %s, and only Qwen2's is known",
                      es_printable(shown, sizeof shown, pattern));
    }
}

bool es_vocab_qwen2(es_build *b, es_vocab *out, int rows, int *eos)
{
    es_json *j = es_build_json(b, "tokenizer.json", MAX_TEXT);
    const es_json_node *model = es_json_get(es_json_root(j), "model"), *vocab = es_json_get(model, "vocab"),
                       *merges = es_json_get(model, "merges");
    table t = {.n = es_json_count(vocab)};
    flat f = {0};
    bool there = j != NULL;

    *eos = -1;
    *out = (es_vocab){0};
    if (!j || b->rc) goto out;
    check_pattern(b, es_json_get(es_json_root(j), "pre_tokenizer"));
    t.text = calloc((size_t)t.n + 1, sizeof *t.text);
    if (!t.text) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    if (t.n != 256 + es_json_count(merges) || t.n > rows) {
        es_build_fail(b, "tokenizer.json has %d tokens and %d merges for %d rows: 256 bytes and a token for each merge are "
                         "expected", t.n, es_json_count(merges), rows);
    }
    from_object(b, &t, vocab, "tokenizer.json");
    for (int i = 0; i < t.n && !b->rc; i++) {
        unsigned char bytes[255];
        int n = es_vocab_undo(t.text[i], bytes);
        if (n < 1 || (i < 256 && n != 1)) es_build_fail(b, "tokenizer.json: token %d is not in the byte alphabet of GPT-2", i);
        else append_token(b, &f, bytes, (size_t)n, i, "tokenizer.json");
    }
    if (!b->rc) check_merges(b, &t, merges);
    *out = (es_vocab){.tokens = f.p, .tokens_bytes = f.n};
    if (!b->rc) read_added(b, out, es_json_get(es_json_root(j), "added_tokens"), t.n, rows, eos);
out:
    free(t.text);
    es_json_close(j);
    return there && !b->rc;
}
