/*
 * unicode.h - UTF-8 one character at a time, and what kind of character it is; the only door to utf8proc.
 *
 * Invalid bytes are never an error here: each maximal invalid sequence reads as one character ES_UNICODE_INVALID, which
 * is what Unicode recommends and what Python's errors="replace" shows as one U+FFFD.
 */
#ifndef ES_UNICODE_H
#define ES_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ES_UNICODE_INVALID = -1, ES_UNICODE_REPLACEMENT = 0xFFFD };

/* The character at s, n > 0 bytes; returns how many bytes it takes (1 .. 4). */
size_t es_unicode_next(const char *s, size_t n, int32_t *c);
/* Writes c (ES_UNICODE_INVALID as U+FFFD) as UTF-8; returns its bytes (1 .. 4). */
size_t es_unicode_put(char out[4], int32_t c);

bool es_unicode_is_letter(int32_t c); /* \p{L} */
bool es_unicode_is_number(int32_t c); /* \p{N} */
bool es_unicode_is_space(int32_t c);  /* the property White_Space */

bool es_unicode_is_mark(int32_t c);   /* \p{M}: accents and vowel signs that follow a letter */
bool es_unicode_is_format(int32_t c); /* \p{Cf}: soft hyphens, joiners: not seen, and part of the word around them */
/* Of a script whose words stand side by side without blanks: Chinese, Japanese, Thai, and Korean, whose particles cling. */
bool es_unicode_is_dense(int32_t c);

/* The form in which words are compared (NFKC_Casefold) of n bytes of valid UTF-8, into out; returns its bytes, at most
 * room: whole characters, and no more of them than fit. */
size_t es_unicode_fold(char *out, size_t room, const char *s, size_t n);

int es_unicode_width(int32_t c); /* columns it takes: 0 (marks, controls), 1, or 2 (wide East Asian, emoji) */

/* Narrows s[0 .. n) to what lies between its outer white space; returns the new start. */
const char *es_unicode_strip(const char *s, size_t *n);

#endif
