/*
 * words.c - queries into elements, elements against texts, and the two formulas of BM25.
 *
 * Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the rarity that is
 * never negative (plus one inside the logarithm).
 */
#define _GNU_SOURCE
#include "store/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "store/find.h"

/* ---- a query ---- */

typedef struct parsing {
    es_words *w;
    const char *text;
    size_t n;
    bool quoted;
    es_term before; /* its text is gone; kind, place and extent are what is asked for */
    bool any;
} parsing;

static bool two_letters(const char *p, size_t n)
{
    uint32_t c;
    size_t first = es_utf8_read(p, n, &c);

    return first < n;
}

static int parse_term(void *user, const es_term *t)
{
    parsing *p = user;
    es_words *w = p->w;
    bool tail = t->kind == ES_TERM_LAST && p->any && p->before.kind == ES_TERM_PAIR && p->before.to == t->to;
    bool star = !p->quoted && t->to < p->n && p->text[t->to] == '*' && t->kind == ES_TERM_WORD;
    es_words_item *item;
    es_words_element *e;

    if (!tail) { /* the last letter of a run is in the pair before it, and may go on in a text */
        if (w->n_elements == ES_WORDS_MOST) {
            w->cut = true;
            return 1;
        }
        if (!p->quoted || !p->any)
            w->items[w->n_items++] = (es_words_item){.first = w->n_elements, .phrase = p->quoted};
        item = &w->items[w->n_items - 1];
        e = &w->elements[w->n_elements++];
        *e = (es_words_element){.n = t->n};
        memcpy(e->text, t->text, t->n);
        if (t->kind == ES_TERM_LAST || (star && two_letters(t->text, t->n))) e->how = ES_WORDS_BEGIN;
        else e->how = p->quoted || t->kind == ES_TERM_PAIR ? ES_WORDS_WRITTEN : ES_WORDS_STEM;
        e->offset = t->position; /* of a phrase's text, which begins with 0 */
        item->n++;
    }
    p->before = *t;
    p->any = true;
    return 0;
}

static void parse_part(es_words *w, const char *text, size_t n, bool quoted)
{
    parsing p = {.w = w, .text = text, .n = n, .quoted = quoted};

    es_terms_split(text, n, parse_term, &p);
}

void es_words_parse(es_words *w, const char *query, size_t bytes)
{
    const char *at = query, *end = query + bytes;

    w->n_elements = w->n_items = 0;
    w->cut = false;
    while (at < end && !w->cut) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *close = quote ? memchr(quote + 1, '"', (size_t)(end - quote - 1)) : NULL;
        if (!close) { /* a quote that is never closed is no quote */
            parse_part(w, at, (size_t)(end - at), false);
            return;
        }
        parse_part(w, at, (size_t)(quote - at), false);
        if (!w->cut) parse_part(w, quote + 1, (size_t)(close - quote - 1), true);
        at = close + 1;
    }
}

/* ---- marks ---- */

typedef struct marking {
    const es_words *w;
    es_terms *stemmer;
    int language;
    char stems[ES_WORDS_MOST][ES_TERM_BYTES]; /* of the elements that are compared by stem */
    size_t stem_n[ES_WORDS_MOST];
    es_stretch *spans;
    size_t n, room;
} marking;

static bool matches(marking *m, int i, const es_term *t)
{
    const es_words_element *e = &m->w->elements[i];
    size_t n;

    switch (e->how) {
    case ES_WORDS_WRITTEN: return t->n == e->n && !memcmp(t->text, e->text, e->n);
    case ES_WORDS_BEGIN: return t->n >= e->n && !memcmp(t->text, e->text, e->n);
    case ES_WORDS_STEM: break;
    }
    if (t->kind != ES_TERM_WORD) return false;
    const char *stem = es_terms_stem(m->stemmer, m->language, t->text, t->n, &n);
    return n == m->stem_n[i] && !memcmp(stem, m->stems[i], n);
}

static int mark_term(void *user, const es_term *t)
{
    marking *m = user;
    es_stretch *last = m->n ? &m->spans[m->n - 1] : NULL;
    bool any = false;

    for (int i = 0; !any && i < m->w->n_elements; i++) any = matches(m, i, t);
    if (!any) return 0;
    if (last && t->from <= last->to) {
        if (t->to > last->to) last->to = t->to;
        return 0;
    }
    if (m->n == m->room) return 1;
    m->spans[m->n++] = (es_stretch){t->from, t->to};
    return 0;
}

size_t es_find_marks(const char *query, size_t bytes, const char *text, size_t n, const char *language, es_stretch *spans,
                     size_t room)
{
    es_words *w = malloc(sizeof *w);
    marking *m = calloc(1, sizeof *m);
    size_t found = 0;

    if (w && m) {
        es_words_parse(w, query, bytes);
        *m = (marking){
            .w = w, .stemmer = es_terms_open(), .language = es_terms_language(language), .spans = spans, .room = room};
    }
    if (w && m && m->stemmer) {
        for (int i = 0; i < w->n_elements; i++) {
            const es_words_element *e = &w->elements[i];
            const char *stem = es_terms_stem(m->stemmer, m->language, e->text, e->n, &m->stem_n[i]);
            memcpy(m->stems[i], stem, m->stem_n[i]);
        }
        es_terms_split(text, n, mark_term, m);
        found = m->n;
        es_terms_close(m->stemmer);
    }
    free(w);
    free(m);
    return found;
}

/* ---- BM25 ---- */

double es_words_weight(double count, double words, double average)
{
    const double k1 = 1.2, b = 0.75;

    return count * (k1 + 1) / (count + k1 * (1 - b + b * words / average));
}

double es_words_rarity(double all, double with)
{
    return log(1 + (all - with + 0.5) / (with + 0.5));
}
