/*
 * words.h - tokens with times into words with times (whisper.md 5.9.4, 5.9.5), the compression ratio, and languages.
 */
#ifndef ES_WORDS_H
#define ES_WORDS_H

#include "text/bpe.h"

/* A word of a window before it is placed: tokens first_token .. +n_tokens-1 of the list given. */
typedef struct es_timed_word {
    double start, end; /* seconds from the start of the window */
    float probability;
    int first_token, n_tokens;
    char *text; /* in the caller's buffer; empty for a word that was merged into a neighbour */
    size_t text_bytes;
} es_timed_word;

/* Groups text tokens into words, gives them times from start_frame [n + 1] (20 ms each) and probabilities p [n], applies
 * the duration rules and merges punctuation. words: room for n + 1; text: room for text_room bytes (4 * the bytes of
 * the tokens is enough). *median, *longest: seconds, for placing (may be NULL). Returns the number of words. */
size_t es_words_group(const es_bpe *b, const char *language, const int32_t *tokens, size_t n, int eot,
                      const int *start_frame, const float *p, es_timed_word *words, char *text, size_t text_room,
                      double *median, double *longest);

/* bytes / bytes of zlib's level 6; 0 for an empty text. The only door to zlib's deflate. */
double es_text_compression_ratio(const char *text, size_t n);
/* How often in a row the longest-repeated 4-gram of blank-separated words (or characters in languages without blanks)
 * is said; 1 where nothing repeats. */
int es_text_longest_repeat(const char *text, size_t n);

const char *es_language_code(int i);           /* 0 .. 99, "en" ...; NULL past the last */
int es_language_index(const char *code_or_name); /* -1 unknown; accepts the names and aliases of whisper.md 4.2 */
bool es_language_without_blanks(const char *code); /* zh ja th lo my yue */

#endif
