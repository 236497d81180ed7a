/*
 * wordpiece.c - BERT's uncased WordPiece.
 *
 *   text -> special tokens are cut out of the raw text -> the rest is cleaned (controls deleted, blanks made equal), CJK
 *   characters get blanks around them, everything is decomposed, marks are deleted, letters are lowered -> words at blanks
 *   and at punctuation, which is a word itself -> the longest known beginning, then the longest known `##` continuation,
 *   and so on; a word that cannot be spelled so is one [UNK], and so is one of more than 100 characters
 *
 * Marks are deleted before the run they stand in is ordered: ordering is stable and only moves marks among each other, so
 * what is left comes out in the same order, and a text of marks alone costs nothing.
 *
 * No token is longer than the longest in the table, so a word of n characters takes at most n times that many look-ups.
 */
#include "text/wordpiece.h"

#include <stdlib.h>
#include <string.h>

#include "text/normal.h"
#include "text/tables.h"
#include "text/unicode.h"

enum { MAX_TOKENS = 1 << 20, MAX_WORD = 100, N_SPECIALS = 5 };

static const char *const special_names[N_SPECIALS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

struct es_wordpiece {
    int count;
    size_t longest; /* bytes of the longest token */
    char *bytes;
    uint32_t *at;   /* [count + 1] */
    int32_t *slots; /* hash table of ids, -1 empty, linear probing */
    uint32_t mask;
    int special[N_SPECIALS]; /* -1: not in the table */
};

/* ---- the table ---- */

static uint32_t hash_of(const char *p, size_t n, bool inner)
{
    uint64_t h = inner ? 0x84222325CBF29CE4u : 0xCBF29CE484222325u;

    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)p[i]) * 0x100000001B3u;
    return (uint32_t)(h ^ (h >> 32));
}

/* Tokens beginning with ## are kept apart: they are found without it. */
static bool is_inner(const es_wordpiece *w, int id, const char **text, size_t *n)
{
    *text = w->bytes + w->at[id];
    *n = w->at[id + 1] - w->at[id];
    bool inner = *n > 2 && !memcmp(*text, "##", 2);
    if (inner) *text += 2, *n -= 2;
    return inner;
}

static int find(const es_wordpiece *w, const char *p, size_t n, bool inner)
{
    if (n == 0 || n > w->longest) return -1;
    for (uint32_t s = hash_of(p, n, inner) & w->mask;; s = (s + 1) & w->mask) {
        const char *text;
        size_t length;
        int id = w->slots[s];
        if (id < 0) return -1;
        if (is_inner(w, id, &text, &length) == inner && length == n && !memcmp(text, p, n)) return id;
    }
}

int es_wordpiece_open(es_wordpiece **out, const uint8_t *table, size_t bytes, es_err *err)
{
    es_wordpiece *w = calloc(1, sizeof *w);
    size_t n = 0, total = 0, slots = 64;
    int rc = ES_OK;

    *out = NULL;
    for (size_t at = 0; at < bytes; at += 1 + (size_t)table[at], n++) {
        if (table[at] > bytes - at - 1) {
            rc = es_fail(err, ES_EFORMAT, "the tokenizer table ends inside token %zu: %zu bytes left, %d needed", n,
                         bytes - at - 1, table[at]);
            goto out;
        }
        total += table[at];
    }
    if (n == 0 || n > MAX_TOKENS) {
        rc = es_fail(err, ES_EFORMAT, "the tokenizer table holds %zu tokens, not 1 to %d", n, MAX_TOKENS);
        goto out;
    }
    while (slots < 2 * n) slots *= 2;
    if (w) {
        w->bytes = malloc(total + 1);
        w->at = malloc((n + 1) * sizeof *w->at);
        w->slots = malloc(slots * sizeof *w->slots);
    }
    if (!w || !w->bytes || !w->at || !w->slots) {
        rc = es_fail(err, ES_ENOMEM, "cannot allocate a tokenizer of %zu tokens", n);
        goto out;
    }
    memset(w->slots, 0xFF, slots * sizeof *w->slots);
    w->mask = (uint32_t)slots - 1;
    w->count = (int)n;
    w->at[0] = 0;
    for (size_t at = 0, i = 0; i < n; at += 1 + (size_t)table[at], i++) {
        memcpy(w->bytes + w->at[i], table + at + 1, table[at]);
        w->at[i + 1] = w->at[i] + table[at];
        if (table[at] > w->longest) w->longest = table[at];
    }
    for (int i = 0; i < w->count; i++) {
        const char *text;
        size_t length;
        bool inner = is_inner(w, i, &text, &length);
        if (length == 0 || find(w, text, length, inner) >= 0) continue; /* of equal tokens the first counts */
        uint32_t s = hash_of(text, length, inner) & w->mask;
        while (w->slots[s] >= 0) s = (s + 1) & w->mask;
        w->slots[s] = i;
    }
    for (int i = 0; i < N_SPECIALS; i++) {
        w->special[i] = find(w, special_names[i], strlen(special_names[i]), false);
        if (w->special[i] < 0 && i > 0 && i < 4) {
            rc = es_fail(err, ES_EFORMAT, "the tokenizer table of %d tokens has no %s", w->count, special_names[i]);
            goto out;
        }
    }
    *out = w;
    w = NULL;
out:
    es_wordpiece_close(w);
    return rc;
}

void es_wordpiece_close(es_wordpiece *w)
{
    if (!w) return;
    free(w->bytes);
    free(w->at);
    free(w->slots);
    free(w);
}

int es_wordpiece_count(const es_wordpiece *w)
{
    return w->count;
}

int es_wordpiece_first(const es_wordpiece *w)
{
    return w->special[2];
}

int es_wordpiece_last(const es_wordpiece *w)
{
    return w->special[3];
}

/* ---- normalisation ---- */

static bool is_cjk(int32_t c)
{
    /* The sixth range begins at 2B920 in the reference library, and at 2B820 nowhere but in its ancestor. */
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

#define IN(table, c) es_text_in(es_text_##table, es_text_n_##table, c)

/* Orders the marks that were kept since `from` and lowers everything since then. */
static int close_run(es_characters *t, size_t from)
{
    if (t->n - from > 1 && es_normal_order(t->c + from, t->n - from)) return -1;
    for (size_t i = from; i < t->n; i++) t->c[i] = es_normal_lower(t->c[i]);
    return 0;
}

/* What the reference's normaliser makes of a stretch without special tokens. */
static int normalise(es_characters *out, const char *text, size_t n)
{
    es_characters parts = {0};
    size_t run = 0; /* where the marks begin that may still have to be ordered */
    int rc = 0;

    for (size_t at = 0; at < n && !rc;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        if (c < 0 || IN(deleted, c) || c == ES_UNICODE_REPLACEMENT) continue;
        if (IN(space, c)) c = ' ';
        parts.n = 0;
        if (is_cjk(c)) rc = es_characters_add(&parts, ' ') || es_normal_decompose(&parts, c) || es_characters_add(&parts, ' ');
        else rc = es_normal_decompose(&parts, c);
        for (size_t i = 0; i < parts.n && !rc; i++) {
            int32_t p = parts.c[i];
            if (es_normal_class(p) == 0) {
                rc = close_run(out, run);
                if (!rc && !IN(mark, p)) rc = es_characters_add(out, p);
                if (!rc) rc = close_run(out, out->n ? out->n - 1 : 0);
                run = out->n;
            } else if (!IN(mark, p)) {
                rc = es_characters_add(out, p);
            }
        }
    }
    if (!rc) rc = close_run(out, run);
    free(parts.c);
    return rc ? -1 : 0;
}

/* ---- words ---- */

typedef struct sink {
    int32_t *ids;
    size_t n, room;
} sink;

static void emit(sink *s, int id)
{
    if (s->n < s->room) s->ids[s->n] = id;
    s->n++;
}

static void encode_word(const es_wordpiece *w, sink *s, const int32_t *c, size_t n)
{
    char text[4 * MAX_WORD];
    size_t ends[MAX_WORD + 1] = {0}, kept = s->n;

    if (n > MAX_WORD) {
        emit(s, w->special[1]);
        return;
    }
    for (size_t i = 0; i < n; i++) ends[i + 1] = ends[i] + es_unicode_put(text + ends[i], c[i]);
    for (size_t at = 0; at < n;) {
        size_t end = n;
        int id = -1;
        while (end > at && ends[end] - ends[at] > w->longest) end--;
        for (; end > at; end--)
            if ((id = find(w, text + ends[at], ends[end] - ends[at], at > 0)) >= 0) break;
        if (id < 0) { /* the pieces found so far do not count either */
            s->n = kept;
            emit(s, w->special[1]);
            return;
        }
        emit(s, id);
        at = end;
    }
}

static int encode_stretch(const es_wordpiece *w, sink *s, const char *text, size_t n)
{
    es_characters t = {0};
    int rc = normalise(&t, text, n);

    for (size_t i = 0; i < t.n && !rc;) {
        size_t j = i;
        while (j < t.n && !IN(space, t.c[j]) && !IN(punct, t.c[j])) j++;
        if (j > i) encode_word(w, s, t.c + i, j - i);
        if (j < t.n && IN(punct, t.c[j])) encode_word(w, s, t.c + j, 1);
        i = j + 1;
    }
    free(t.c);
    return rc;
}

/* The special token that is spelled at s; its id and bytes. */
static int special_at(const es_wordpiece *w, const char *s, size_t n, size_t *bytes)
{
    for (int i = 0; i < N_SPECIALS && n && *s == '['; i++) {
        *bytes = strlen(special_names[i]);
        if (w->special[i] >= 0 && n >= *bytes && !memcmp(s, special_names[i], *bytes)) return w->special[i];
    }
    return -1;
}

size_t es_wordpiece_encode(const es_wordpiece *w, const char *text, size_t n, bool specials, int32_t *ids, size_t room)
{
    sink s = {.ids = ids, .room = room};
    size_t from = 0, bytes = 0;

    for (size_t at = 0; specials && at < n;) {
        int id = special_at(w, text + at, n - at, &bytes);
        if (id < 0) {
            at++;
            continue;
        }
        if (encode_stretch(w, &s, text + from, at - from)) return SIZE_MAX;
        emit(&s, id);
        from = at = at + bytes;
    }
    return encode_stretch(w, &s, text + from, n - from) ? SIZE_MAX : s.n;
}
