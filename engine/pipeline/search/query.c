/*
 * query.c - a question's telling words.
 *
 * The list is of English, the language of the default encoder; its words are such in no other language as nouns or verbs
 * that anybody would look for without others beside them. It is sorted, and looked up by halves.
 */
#include "pipeline/search/query.h"

#include <ctype.h>
#include <string.h>

#include "text/unicode.h"

enum { LONGEST = 10 };

static const char *const common[] = {
    "a",     "about", "after",  "again", "all",   "also",  "am",    "an",    "and",   "any",    "are",   "as",    "at",
    "be",    "been",  "before", "being", "but",   "by",    "can",   "could", "did",   "do",     "does",  "done",  "for",
    "from",  "get",   "got",    "had",   "has",   "have",  "he",    "her",   "here",  "hers",   "him",   "his",   "how",
    "i",     "if",    "in",     "into",  "is",    "it",    "its",   "just",  "me",    "more",   "most",  "my",    "no",
    "not",   "now",   "of",     "on",    "one",   "or",    "our",   "out",   "over",  "she",    "should", "so",   "some",
    "such",  "than",  "that",   "the",   "their", "them",  "then",  "there", "these", "they",   "this",  "those", "to",
    "too",   "up",    "us",     "very",  "was",   "we",    "were",  "what",  "when",  "where",  "which", "who",   "whom",
    "whose", "why",   "will",   "with",  "would", "you",   "your",  "yours",
};

bool es_query_next(es_query_piece *out, const char *query, size_t n, size_t *at)
{
    size_t i = *at;
    int32_t c;

    while (i < n) {
        size_t used = es_unicode_next(query + i, n - i, &c);
        if (!es_unicode_is_space(c)) break;
        i += used;
    }
    if (i == n) return false;
    size_t from = i;
    if (query[i] == '"') {
        const char *end = memchr(query + i + 1, '"', n - i - 1);
        i = end ? (size_t)(end - query) + 1 : n;
    } else {
        while (i < n && query[i] != '"') {
            size_t used = es_unicode_next(query + i, n - i, &c);
            if (es_unicode_is_space(c)) break;
            i += used;
        }
    }
    *out = (es_query_piece){query + from, i - from};
    *at = i;
    return true;
}

/* Bytes of the word without what an apostrophe adds to it: 's 'm 'd 't 're 've 'll. *negated: it was n't. */
static size_t without_ending(const char *text, size_t n, bool *negated)
{
    for (size_t letters = 1; letters <= 2; letters++) {
        size_t sign = n > letters + 1 && text[n - letters - 1] == '\'' ? 1
                      : n > letters + 3 && !memcmp(text + n - letters - 3, "\xE2\x80\x99", 3) ? 3 : 0;
        if (!sign) continue;
        *negated = letters == 1 && (text[n - 1] == 't' || text[n - 1] == 'T');
        return n - letters - sign;
    }
    *negated = false;
    return n;
}

bool es_query_is_common(const es_query_piece *p)
{
    char word[LONGEST + 1];
    size_t n = p->bytes, low = 0, high = sizeof common / sizeof *common;
    const char *text = p->text;
    bool negated;

    while (n && ispunct((unsigned char)*text) && *text != '"') text++, n--;
    while (n && ispunct((unsigned char)text[n - 1]) && text[n - 1] != '*' && text[n - 1] != '"') n--;
    n = without_ending(text, n, &negated);
    if (negated) return true; /* didn't, won't, can't: there are no others */
    if (!n || n > LONGEST) return n == 0; /* signs alone are no word */
    for (size_t i = 0; i < n; i++) word[i] = (char)tolower((unsigned char)text[i]);
    word[n] = 0;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(word, common[middle]);
        if (!order) return true;
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return false;
}

size_t es_query_telling(char *out, const char *query, size_t n)
{
    es_query_piece p;
    size_t at = 0, bytes = 0;

    while (es_query_next(&p, query, n, &at)) {
        bool negated;
        if (es_query_is_common(&p)) continue;
        if (p.text[0] != '"') p.bytes = without_ending(p.text, p.bytes, &negated); /* else the s were a word of its own */
        if (bytes) out[bytes++] = ' ';
        memcpy(out + bytes, p.text, p.bytes);
        bytes += p.bytes;
    }
    if (!bytes) memcpy(out, query, bytes = n);
    out[bytes] = 0;
    return bytes;
}
