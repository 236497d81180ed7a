/*
 * utf8.h - one code point at a time; enough to check, escape and mend text that comes from outside.
 *
 * Shortest forms only, no surrogates, nothing above U+10FFFF: what the Unicode standard calls well formed.
 */
#ifndef ES_UTF8_H
#define ES_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point that starts at s, of n bytes left: returns its length 1 .. 4 and sets *code, or 0 where the bytes are
 * not UTF-8 or n is 0. */
size_t es_utf8_read(const char *s, size_t n, uint32_t *code);
/* Writes code as UTF-8; returns 1 .. 4. A code that is no character is written as U+FFFD. */
size_t es_utf8_write(char out[4], uint32_t code);
bool es_utf8_valid(const char *s, size_t n);

#endif
