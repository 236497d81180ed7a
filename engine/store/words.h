/*
 * words.h - a query taken apart: what has to be looked up, and what may match in a text.
 */
#ifndef ES_WORDS_H
#define ES_WORDS_H

#include "store/index.h"

enum { ES_WORDS_MOST = 64 /* elements of a query; what comes after them is left out */ };

enum es_words_how {
    ES_WORDS_STEM, /* all words with the same stem, in the language of their text */
    ES_WORDS_WRITTEN,
    ES_WORDS_BEGIN /* all that begin so */
};

typedef struct es_words_element {
    enum es_words_how how;
    char text[ES_TERM_BYTES];
    size_t n;
    uint32_t offset; /* from the first element of its item, in words */
} es_words_element;

/* Items are what is ranked: an element by itself, or several that must stand side by side as in the query. */
typedef struct es_words_item {
    int first, n; /* elements */
    bool phrase;  /* in quotes: a passage without it is not found */
} es_words_item;

typedef struct es_words {
    es_words_element elements[ES_WORDS_MOST];
    es_words_item items[ES_WORDS_MOST];
    int n_elements, n_items;
    bool cut; /* the query was longer */
} es_words;

void es_words_parse(es_words *w, const char *query, size_t bytes);

/* BM25 of a term that is `count` times in a text of `words`, where texts have `average` words. */
double es_words_weight(double count, double words, double average);
/* What a term in `with` of `all` passages is worth. */
double es_words_rarity(double all, double with);

#endif
