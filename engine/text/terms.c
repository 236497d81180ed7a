/*
 * terms.c - one walk over a text, a character at a time.
 *
 * An apostrophe ends a word: what elision joins in French or Italian (l'homme) is found by its second half, and an
 * English 's or n't becomes a short word that a ranking gives no weight. A search splits its query in the same way, so
 * both sides agree whatever the rule is.
 */
#include "text/terms.h"

#include <libstemmer.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

typedef struct tongue {
    const char *code, *algorithm;
} tongue;

/* By number; a new one goes to the end. */
static const tongue languages[ES_TERMS_LANGUAGES] = {
    {"", NULL},           {"ar", "arabic"},   {"hy", "armenian"},   {"eu", "basque"},    {"ca", "catalan"},
    {"da", "danish"},     {"nl", "dutch"},    {"en", "english"},    {"fi", "finnish"},   {"fr", "french"},
    {"de", "german"},     {"el", "greek"},    {"hi", "hindi"},      {"hu", "hungarian"}, {"id", "indonesian"},
    {"ga", "irish"},      {"it", "italian"},  {"lt", "lithuanian"}, {"ne", "nepali"},    {"no", "norwegian"},
    {"pt", "portuguese"}, {"ro", "romanian"}, {"ru", "russian"},    {"sr", "serbian"},   {"es", "spanish"},
    {"sv", "swedish"},    {"ta", "tamil"},    {"tr", "turkish"},    {"yi", "yiddish"},
};

struct es_terms {
    struct sb_stemmer *stemmers[ES_TERMS_LANGUAGES];
    bool tried[ES_TERMS_LANGUAGES];
};

es_terms *es_terms_open(void)
{
    return calloc(1, sizeof(es_terms));
}

void es_terms_close(es_terms *t)
{
    if (!t) return;
    for (int i = 0; i < ES_TERMS_LANGUAGES; i++) sb_stemmer_delete(t->stemmers[i]);
    free(t);
}

int es_terms_language(const char *code)
{
    if (!strcmp(code, "nn") || !strcmp(code, "nb")) code = "no";
    for (int i = 1; i < ES_TERMS_LANGUAGES; i++)
        if (!strcmp(code, languages[i].code)) return i;
    return 0;
}

const char *es_terms_stem(es_terms *t, int language, const char *word, size_t n, size_t *stem_bytes)
{
    const sb_symbol *stem;
    int bytes;

    *stem_bytes = n;
    if (language <= 0 || language >= ES_TERMS_LANGUAGES || n > ES_TERM_BYTES) return word;
    if (!t->tried[language]) {
        t->tried[language] = true;
        t->stemmers[language] = sb_stemmer_new(languages[language].algorithm, "UTF_8");
    }
    if (!t->stemmers[language]) return word; /* an older libstemmer knows fewer */
    stem = sb_stemmer_stem(t->stemmers[language], (const sb_symbol *)word, (int)n);
    bytes = stem ? sb_stemmer_length(t->stemmers[language]) : 0;
    if (bytes <= 0 || bytes > ES_TERM_BYTES) return word;
    *stem_bytes = (size_t)bytes;
    return (const char *)stem;
}

/* ---- the walk ---- */

enum { LETTER_BYTES = 32 };

typedef struct walk {
    const char *text;
    int (*visit)(void *user, const es_term *term);
    void *user;
    uint32_t position;
    size_t word_from, word_to, word_kept; /* a word being read: all of it, and the end of what is kept; to 0: none */
    char last[LETTER_BYTES];              /* the letter before, of a script without blanks */
    size_t last_n, last_from, last_to;    /* last_n 0: none */
} walk;

static int end_word(walk *w)
{
    char folded[ES_TERM_BYTES];
    es_term t = {.kind = ES_TERM_WORD, .text = folded, .from = w->word_from, .to = w->word_to};
    bool any = w->word_to > 0;

    w->word_to = 0;
    if (!any) return 0;
    t.n = es_unicode_fold(folded, sizeof folded, w->text + w->word_from, w->word_kept - w->word_from);
    if (!t.n) return 0;
    t.position = w->position++;
    return w->visit(w->user, &t);
}

static int end_run(walk *w)
{
    es_term t = {.kind = ES_TERM_LAST, .text = w->last, .n = w->last_n, .from = w->last_from, .to = w->last_to};

    if (!w->last_n) return 0;
    w->last_n = 0;
    t.position = w->position++;
    return w->visit(w->user, &t);
}

static int add_dense(walk *w, size_t from, size_t to)
{
    char letter[LETTER_BYTES], pair[2 * LETTER_BYTES];
    size_t n = es_unicode_fold(letter, sizeof letter, w->text + from, to - from);
    int rc = 0;

    if (!n) return 0;
    if (w->last_n) {
        es_term t = {.kind = ES_TERM_PAIR, .text = pair, .n = w->last_n + n, .from = w->last_from, .to = to};
        memcpy(pair, w->last, w->last_n);
        memcpy(pair + w->last_n, letter, n);
        t.position = w->position++;
        rc = w->visit(w->user, &t);
    }
    memcpy(w->last, letter, n);
    w->last_n = n;
    w->last_from = from;
    w->last_to = to;
    return rc;
}

static void add_letter(walk *w, size_t from, size_t to)
{
    if (!w->word_to) w->word_from = w->word_kept = from;
    /* What does not fit is passed over, together with all that follows it in this word. */
    if (to - w->word_from <= ES_TERM_BYTES && w->word_kept == (w->word_to ? w->word_to : from)) w->word_kept = to;
    w->word_to = to;
}

int es_terms_split(const char *text, size_t n, int (*visit)(void *user, const es_term *term), void *user)
{
    walk w = {.text = text, .visit = visit, .user = user};
    int rc = 0;

    for (size_t at = 0, next; at < n && !rc; at = next) {
        int32_t c;
        next = at + es_unicode_next(text + at, n - at, &c);
        bool joins = c >= 0x80 && (es_unicode_is_mark(c) || es_unicode_is_format(c));
        if (c >= 0 && es_unicode_is_dense(c) && (joins || es_unicode_is_letter(c) || es_unicode_is_number(c))) {
            rc = end_word(&w);
            if (!rc) rc = add_dense(&w, at, next);
        } else if (joins) { /* belongs to what stands before it, if that is a word */
            if (w.word_to) add_letter(&w, at, next);
        } else if (c >= 0 && (es_unicode_is_letter(c) || es_unicode_is_number(c))) {
            rc = end_run(&w);
            if (!rc) add_letter(&w, at, next);
        } else {
            rc = end_word(&w);
            if (!rc) rc = end_run(&w);
        }
    }
    if (!rc) rc = end_word(&w);
    if (!rc) rc = end_run(&w);
    return rc;
}
