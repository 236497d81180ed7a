/*
 * qwen2_tokens.c - Qwen2's tokenizer.
 *
 *   text -> added tokens are found in the raw text, leftmost first, the longest of those that begin at one place
 *   the stretches between them -> NFC -> pieces -> byte-level BPE (bpe.c)
 *
 * Pieces are the matches of one regular expression, here a scanner. At each place the first of these that fits:
 *
 *   1  's 't 're 've 'm 'll 'd in any case                (?i:'s|'t|'re|'ve|'m|'ll|'d)
 *   2  letters, with one character before them that is     [^\r\n\p{L}\p{N}]?\p{L}+
 *      neither letter nor number nor an end of line
 *   3  one number: digits are never grouped                \p{N}
 *   4  other signs, with one blank before them and the      ?[^\s\p{L}\p{N}]+[\r\n]*
 *      ends of lines behind them
 *   5  white space up to its last end of line              \s*[\r\n]+
 *   6  white space, but for the character before a word    \s+(?!\S)|\s+
 *
 * "In any case" is Unicode's: the long s (U+017F) is an s. Every character is looked at a bounded number of times.
 *
 * Added tokens are kept sorted by their bytes. At each place where one can begin, the range of those that agree with the
 * text is narrowed byte by byte, so that a place costs at most the longest token's length, however many tokens there are.
 */
#include "text/qwen2_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/normal.h"
#include "text/unicode.h"

enum { LONG_S = 0x17F, MOST_ADDED = 1 << 20 };

typedef struct added_token {
    int32_t id;
    uint8_t n;
    const char *text; /* into bytes of the tokenizer */
} added_token;

struct es_qwen2_tokens {
    es_bpe *bpe;
    uint8_t *bytes;     /* a copy of the table of added tokens */
    added_token *added; /* by their bytes, the shorter of two that agree first */
    size_t n_added;
    bool begins[256]; /* an added token begins with this byte */
};

/* ---- the tables ---- */

static int by_text(const void *a, const void *b)
{
    const added_token *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);

    if (order) return order;
    return x->n != y->n ? (x->n > y->n) - (x->n < y->n) : (x->id > y->id) - (x->id < y->id);
}

static int read_added(es_qwen2_tokens *t, const uint8_t *table, size_t bytes, es_err *err)
{
    int64_t last = es_bpe_count(t->bpe) - 1;
    size_t room = bytes / 6 + 1; /* the shortest entry: an id, a length, one byte */

    if (room > MOST_ADDED)
        return es_fail(err, ES_EFORMAT, "the table of added tokens has %zu bytes, more than any tokenizer's", bytes);
    t->bytes = malloc(bytes + 1);
    t->added = calloc(room, sizeof *t->added);
    if (!t->bytes || !t->added) return es_fail(err, ES_ENOMEM, "no memory for %zu bytes of added tokens", bytes);
    if (bytes) memcpy(t->bytes, table, bytes);
    for (size_t at = 0; at < bytes;) {
        const uint8_t *p = t->bytes + at;
        if (bytes - at < 5 || bytes - at - 5 < p[4])
            return es_fail(err, ES_EFORMAT, "the table of added tokens ends inside token %zu: %zu bytes are left of %d",
                           t->n_added, bytes - at, bytes - at < 5 ? 5 : 5 + p[4]);
        uint32_t id = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        if (p[4] == 0 || id > INT32_MAX || (int64_t)id <= last)
            return es_fail(err, ES_EFORMAT, "added token %zu has %d bytes and the id %u, behind %lld: ids rise, texts are not empty",
                           t->n_added, p[4], (unsigned)id, (long long)last);
        last = id;
        t->added[t->n_added++] = (added_token){(int32_t)id, p[4], (const char *)p + 5};
        t->begins[p[5]] = true;
        at += 5 + (size_t)p[4];
    }
    if (t->n_added) qsort(t->added, t->n_added, sizeof *t->added, by_text);
    return ES_OK;
}

int es_qwen2_tokens_open(es_qwen2_tokens **out, const uint8_t *table, size_t bytes, const uint8_t *added, size_t added_bytes,
                         es_err *err)
{
    es_qwen2_tokens *t = calloc(1, sizeof *t);
    int rc = t ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for a tokenizer");

    *out = NULL;
    if (rc == ES_OK) rc = es_bpe_open(&t->bpe, table, bytes, err);
    if (rc == ES_OK) rc = es_bpe_check_order(t->bpe, err);
    if (rc == ES_OK) rc = read_added(t, added, added_bytes, err);
    if (rc == ES_OK) {
        *out = t;
        t = NULL; /* the caller's from here on */
    }
    es_qwen2_tokens_close(t);
    return rc;
}

void es_qwen2_tokens_close(es_qwen2_tokens *t)
{
    if (!t) return;
    es_bpe_close(t->bpe);
    free(t->bytes);
    free(t->added);
    free(t);
}

/* ---- added tokens ---- */

/* The longest added token at the beginning of s, or NULL. */
static const added_token *added_at(const es_qwen2_tokens *t, const char *s, size_t n)
{
    const added_token *found = NULL;
    size_t from = 0, to = t->n_added;

    /* [from, to): the tokens whose first k bytes are those of s. */
    for (size_t k = 0; from < to; k++) {
        if (t->added[from].n == k) { /* the shortest of the range is first, and its like behind it */
            found = &t->added[from];
            while (from < to && t->added[from].n == k) from++;
        }
        if (k == n) break;
        size_t low = from, high = to;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if ((uint8_t)t->added[middle].text[k] < (uint8_t)s[k]) low = middle + 1;
            else high = middle;
        }
        from = low, high = to;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if ((uint8_t)t->added[middle].text[k] <= (uint8_t)s[k]) low = middle + 1;
            else high = middle;
        }
        to = low;
    }
    return found;
}

int32_t es_qwen2_tokens_added(const es_qwen2_tokens *t, const char *text, size_t n)
{
    const added_token *a = n ? added_at(t, text, n) : NULL;

    return a && a->n == n ? a->id : -1;
}

/* ---- text to pieces ---- */

typedef enum kind { LETTER, NUMBER, SPACE, LINE, OTHER, END } kind; /* LINE: CR and LF, which are white space, too */

static kind kind_at(const char *s, size_t n, size_t at, size_t *bytes)
{
    int32_t c;

    *bytes = 0;
    if (at >= n) return END;
    unsigned char byte = (unsigned char)s[at];
    if (byte < 0x80) {
        *bytes = 1;
        if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return LETTER;
        if (byte >= '0' && byte <= '9') return NUMBER;
        if (byte == '\r' || byte == '\n') return LINE;
        return byte == ' ' || (byte >= '\t' && byte <= '\r') ? SPACE : OTHER;
    }
    *bytes = es_unicode_next(s + at, n - at, &c);
    return es_unicode_is_letter(c) ? LETTER : es_unicode_is_number(c) ? NUMBER : es_unicode_is_space(c) ? SPACE : OTHER;
}

static size_t run_of(const char *s, size_t n, size_t at, kind what)
{
    size_t bytes;

    while (kind_at(s, n, at, &bytes) == what) at += bytes;
    return at;
}

/* Rule 1: the end of a contraction whose apostrophe is at `at`, or 0. */
static size_t contraction(const char *s, size_t n, size_t at)
{
    static const char tails[][3] = {"s", "t", "re", "ve", "m", "ll", "d"};
    int32_t c = 0;

    if (at + 1 >= n) return 0;
    size_t bytes = es_unicode_next(s + at + 1, n - at - 1, &c);
    if (c == LONG_S) return at + 1 + bytes;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t length = strlen(tails[i]), k = 0;
        while (k < length && at + 1 + k < n && ((unsigned char)s[at + 1 + k] | 0x20) == tails[i][k]) k++;
        if (k == length) return at + 1 + length;
    }
    return 0;
}

static size_t white_space(const char *s, size_t n, size_t at)
{
    size_t from = at, last = at, line_end = 0, bytes;
    kind k;

    while ((k = kind_at(s, n, from, &bytes)) == SPACE || k == LINE) {
        last = from;
        from += bytes;
        if (k == LINE) line_end = from;
    }
    if (line_end) return line_end;
    return k == END || last == at ? from : last;
}

static size_t piece_end(const char *s, size_t n, size_t at)
{
    size_t bytes, next_bytes, end;
    kind k = kind_at(s, n, at, &bytes);

    if (s[at] == '\'' && (end = contraction(s, n, at))) return end;
    if (k == LETTER) return run_of(s, n, at + bytes, LETTER);
    if (k == NUMBER) return at + bytes;
    kind next = kind_at(s, n, at + bytes, &next_bytes);
    if (k != LINE && next == LETTER) return run_of(s, n, at + bytes + next_bytes, LETTER);
    if (k == OTHER || (s[at] == ' ' && next == OTHER)) {
        end = run_of(s, n, at + bytes, OTHER);
        return run_of(s, n, end, LINE);
    }
    return white_space(s, n, at);
}

/* ---- text to ids ---- */

/* A stretch without added tokens; false when memory is out. */
static bool encode_stretch(const es_qwen2_tokens *t, const char *text, size_t n, int32_t *ids, size_t room, size_t *count)
{
    size_t bytes = 0, at = *count < room ? *count : room;

    if (n == 0) return true;
    char *normal = es_normal_nfc(text, n, &bytes);
    size_t k = normal ? es_bpe_encode_pieces(t->bpe, piece_end, normal, bytes, ids ? ids + at : NULL, room - at) : SIZE_MAX;
    free(normal);
    if (k == SIZE_MAX) return false;
    *count += k;
    return true;
}

size_t es_qwen2_tokens_encode(const es_qwen2_tokens *t, const char *text, size_t n, bool added, int32_t *ids, size_t room)
{
    size_t count = 0, from = 0;

    for (size_t at = 0; added && at < n;) {
        const added_token *a = t->begins[(uint8_t)text[at]] ? added_at(t, text + at, n - at) : NULL;
        if (!a) {
            at++;
            continue;
        }
        if (!encode_stretch(t, text + from, at - from, ids, room, &count)) return SIZE_MAX;
        if (count < room) ids[count] = a->id;
        count++;
        at += a->n;
        from = at;
    }
    return encode_stretch(t, text + from, n - from, ids, room, &count) ? count : SIZE_MAX;
}
