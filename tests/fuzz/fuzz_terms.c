/*
 * fuzz_terms.c - any bytes as a text that is split into terms, as a query, and as a posting list.
 */
#include <stdlib.h>
#include <string.h>

#include "store/find.h"
#include "store/postings.h"
#include "text/terms.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    es_terms *stemmer;
    const char *text;
    size_t n;
    uint32_t next;
    size_t from;
    int language;
} seen;

static int look(void *user, const es_term *t)
{
    seen *s = user;
    size_t n;

    if (t->position != s->next || t->from < s->from || t->to <= t->from || t->to > s->n) abort();
    if (!t->n || t->n > ES_TERM_BYTES || memchr(t->text, 0, t->n)) abort(); /* keys end with a zero */
    es_terms_stem(s->stemmer, s->language, t->text, t->n, &n);
    if (!n || n > ES_TERM_BYTES) abort();
    s->next = t->position + 1;
    s->from = t->from;
    return 0;
}

static void read_list(const uint8_t *data, size_t size)
{
    es_bytes b = {data, size};
    uint32_t places[8];
    es_postings l;
    bool whole = es_postings_check(b, true, 1000), bare = es_postings_check(b, false, 1000);
    uint32_t n = 0;

    if (!es_postings_open(&l, b)) {
        if (whole || bare) abort();
        return;
    }
    while (es_postings_next(&l)) {
        if (++n > l.n) abort();
        if (whole && l.passage >= 1000) abort();
        es_postings_places(&l, places, 8);
    }
    if (whole && (l.damaged || n != l.n)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const languages[] = {"en", "de", "ru", "ar", "tr", "hi", "xx", "ja"};
    seen s = {.text = (const char *)data + 1};
    es_stretch spans[8];
    size_t half, n;

    if (size < 2) return 0;
    s.n = size - 1;
    s.stemmer = es_terms_open();
    if (!s.stemmer) return 0;
    s.language = data[0] % ES_TERMS_LANGUAGES;
    if (es_terms_split(s.text, s.n, look, &s)) abort();
    es_terms_close(s.stemmer);
    half = s.n / 2;
    n = es_find_marks(s.text, half, s.text + half, s.n - half, languages[data[0] % 8], spans, 8);
    if (n > 8) abort();
    for (size_t i = 0; i < n; i++)
        if (spans[i].from >= spans[i].to || spans[i].to > s.n - half || (i && spans[i].from <= spans[i - 1].to)) abort();
    read_list(data + 1, size - 1);
    return 0;
}
