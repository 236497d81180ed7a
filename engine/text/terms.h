/*
 * terms.h - the words of a text as a search knows them: folded, stemmed, counted; the only door to libstemmer.
 *
 * A word is a run of letters, numbers and the marks on them. Its form for comparing is NFKC_Casefold; its stem follows
 * the Snowball algorithm of the text's language, and is the word itself where there is none. Scripts without blanks
 * between words (Chinese, Japanese, Thai ...) have no words that could be found without a dictionary: each two
 * letters that stand side by side are a term, and the last letter of a run is one of its own, so that each letter
 * begins exactly one term and a single letter is found by the terms that begin with it.
 *
 * Nothing is an error: invalid bytes, NULs and all that is no letter end a word. A word longer than ES_TERM_BYTES is
 * known by its beginning.
 */
#ifndef ES_TERMS_H
#define ES_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ES_TERM_BYTES = 200 };

enum es_term_kind {
    ES_TERM_WORD,
    ES_TERM_PAIR, /* two letters of a script without blanks */
    ES_TERM_LAST  /* the last one of a run; also the only one */
};

typedef struct es_term {
    enum es_term_kind kind;
    const char *text; /* folded; at most ES_TERM_BYTES; borrowed until the visit ends */
    size_t n;
    uint32_t position; /* among the words of the text, each letter of a script without blanks counting as one */
    size_t from, to;   /* bytes of the text that it covers */
} es_term;

/* The stemmers used so far. For one thread at a time. */
typedef struct es_terms es_terms;
es_terms *es_terms_open(void);    /* NULL when memory is out */
void es_terms_close(es_terms *t); /* accepts NULL */

/* Tells every term in the order of the text; visit returns 0 to go on, and what it returns otherwise is returned. */
int es_terms_split(const char *text, size_t n, int (*visit)(void *user, const es_term *term), void *user);

/* Languages are known by small numbers that never change, since libraries keep them: 0 for one without a stemmer. */
enum { ES_TERMS_LANGUAGES = 29 };
int es_terms_language(const char *code); /* "en" */
/* The stem of a folded word: borrowed until the next call. */
const char *es_terms_stem(es_terms *t, int language, const char *word, size_t n, size_t *stem_bytes);

#endif
