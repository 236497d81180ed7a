/*
 * normal.h - canonical decomposition and composition, as the tokenizers' references have them (Unicode 9.0's tables:
 * characters added later neither decompose nor reorder), in time that is linear but for sorting runs of marks.
 */
#ifndef ES_NORMAL_H
#define ES_NORMAL_H

#include <stddef.h>
#include <stdint.h>

/* Characters, growing. Zero it before use; free(c) after. */
typedef struct es_characters {
    int32_t *c;
    size_t n, room;
} es_characters;

int es_characters_add(es_characters *t, int32_t c); /* 0, or -1 when memory is out */

/* Appends the canonical decomposition of c, not yet ordered. */
int es_normal_decompose(es_characters *t, int32_t c);
/* Canonical combining class; 0 for starters. */
int es_normal_class(int32_t c);
/* Orders each run of non-starters by class, stably. 0, or -1 when memory is out. */
int es_normal_order(int32_t *c, size_t n);
/* The NFC form of UTF-8 text (invalid bytes as U+FFFD): a new string, the caller's to free; NULL when memory is out. */
char *es_normal_nfc(const char *text, size_t n, size_t *bytes);

int32_t es_normal_lower(int32_t c); /* simple lower case */

#endif
