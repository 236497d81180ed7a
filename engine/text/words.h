/*
 * words.h - tokens with times into words with times, and two measures of text that says the same thing again.
 *
 * Alignment gives each text token its first frame. Here tokens become words: characters that are split across tokens
 * are put together, tokens join until a blank or a sign begins the next word, signs join their neighbours, and
 * durations that only exist because a word was stretched over a pause are cut. All as OpenAI's transcription does it,
 * so that times can be compared.
 */
#ifndef ES_WORDS_H
#define ES_WORDS_H

#include "text/bpe.h"
#include "text/language.h"

/* A word of a window before it is placed: tokens first_token .. +n_tokens-1 of the list given. */
typedef struct es_timed_word {
    double start, end; /* seconds from the start of the window */
    float probability;
    int first_token, n_tokens;
    char *text; /* in the caller's buffer, not NUL-terminated; empty for a word that was merged into a neighbour */
    size_t text_bytes;
} es_timed_word;

/* The smallest groups of tokens that make whole characters: first[i] is the first token of group i, first[groups] = n.
 * first: room for n + 1. Returns the number of groups. */
size_t es_words_units(const es_bpe *b, const int32_t *tokens, size_t n, int eot, uint32_t *first);

/* Groups text tokens into words, gives them times from start_frame [n + 1] (20 ms each) and probabilities p [n],
 * applies the duration rules and merges punctuation. words: room for n; unit: room for n + 1, scratch; text: room for 3
 * * the bytes of the tokens. *median, *longest: seconds, for placing (may be NULL). Returns the number of words, merged
 * ones (n_tokens 0) included. */
size_t es_words_group(const es_bpe *b, const char *language, const int32_t *tokens, size_t n, int eot,
                      const int *start_frame, const float *p, es_timed_word *words, uint32_t *unit, char *text,
                      double *median, double *longest);

/* Places the words of one segment, whose times are seconds of the recording by now: a first word that reaches back over
 * a pause is cut, and segment and outer words agree on where speech starts and ends. said_until: the end of the last
 * word before. n > 0; none of the words is empty. */
void es_words_place(es_timed_word *words, size_t n, double *segment_start, double *segment_end, double said_until,
                    double median, double longest);

/* bytes / bytes of zlib's level 6; 0 for an empty text (or when memory is out). The only door to zlib's deflate. */
double es_text_compression_ratio(const char *text, size_t n);

/* How often in a row the text says the same four words or more (a longer phrase as a whole, a shorter one as often as
 * four words of it fill the run); 1 where nothing repeats. Words are separated by blanks; in languages without blanks
 * (characters true) each character counts as one. Phrases of up to 64 words are found. */
int es_text_longest_repeat(const char *text, size_t n, bool characters);

#endif
