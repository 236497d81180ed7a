/*
 * normal.c - canonical forms of text.
 *
 * utf8proc knows the decompositions, the classes and the compositions; the ordering of marks is ours, because the
 * library's exchanges neighbours, which takes the square of the length of a run: a text of a million marks would not end.
 * A run is sorted by counting, in as many steps as it has marks.
 *
 * A character younger than Unicode 9.0 is a starter here that neither decomposes nor composes, so a text may be cut on
 * either side of it: the stretches between such characters are composed one by one.
 */
#include "text/normal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/tables.h"
#include "text/unicode.h"

static bool late(int32_t c)
{
    return c >= 0x300 && es_text_in(es_text_late, es_text_n_late, c);
}

int es_characters_add(es_characters *t, int32_t c)
{
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        int32_t *p = realloc(t->c, room * sizeof *p);
        if (!p) return -1;
        t->c = p;
        t->room = room;
    }
    t->c[t->n++] = c;
    return 0;
}

int es_normal_decompose(es_characters *t, int32_t c)
{
    utf8proc_int32_t parts[32];
    int boundary = 0;
    utf8proc_ssize_t n = 1;

    parts[0] = c;
    bool hangul = c >= 0xAC00 && c <= 0xD7A3;
    if (c >= 0xC0 && (hangul || (utf8proc_get_property(c)->decomp_seqindex != UINT16_MAX && !late(c))))
        n = utf8proc_decompose_char(c, parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 0 || n > 32) n = 1, parts[0] = c;
    for (utf8proc_ssize_t i = 0; i < n; i++)
        if (es_characters_add(t, parts[i])) return -1;
    return 0;
}

int es_normal_class(int32_t c)
{
    int k = c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;

    return k && late(c) ? 0 : k; /* the search is for marks alone */
}

int32_t es_normal_lower(int32_t c)
{
    return c < 0x80 ? (c >= 'A' && c <= 'Z' ? c + 32 : c) : utf8proc_tolower(c);
}

/* One run of non-starters. */
static int order_run(int32_t *c, size_t n)
{
    size_t at[256] = {0}, sum = 0;
    int32_t *copy;

    if (n < 32) {
        for (size_t i = 1; i < n; i++) {
            int32_t v = c[i];
            size_t j = i;
            for (int k = es_normal_class(v); j > 0 && es_normal_class(c[j - 1]) > k; j--) c[j] = c[j - 1];
            c[j] = v;
        }
        return 0;
    }
    if (!(copy = malloc(n * sizeof *copy))) return -1;
    memcpy(copy, c, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) at[es_normal_class(c[i])]++;
    for (int k = 0; k < 256; k++) {
        size_t count = at[k];
        at[k] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) c[at[es_normal_class(copy[i])]++] = copy[i];
    free(copy);
    return 0;
}

int es_normal_order(int32_t *c, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && es_normal_class(c[j]) != 0) j++;
        if (j - i > 1 && order_run(c + i, j - i)) return -1;
        i = j + 1;
    }
    return 0;
}

/* Composes the ordered characters in place, stretch by stretch; returns how many are left. */
static size_t compose(int32_t *c, size_t n)
{
    size_t to = 0;

    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && !late(c[j])) j++;
        if (j > i) {
            utf8proc_ssize_t k = utf8proc_normalize_utf32(c + i, (utf8proc_ssize_t)(j - i), UTF8PROC_COMPOSE | UTF8PROC_STABLE);
            if (k < 0) k = (utf8proc_ssize_t)(j - i);
            memmove(c + to, c + i, (size_t)k * sizeof *c);
            to += (size_t)k;
        }
        if (j < n) c[to++] = c[j++];
        i = j;
    }
    return to;
}

char *es_normal_nfc(const char *text, size_t n, size_t *bytes)
{
    es_characters t = {0};
    char *out = NULL;
    bool plain = true;
    size_t k = 0;

    for (size_t i = 0; i < n && plain; i++) plain = (unsigned char)text[i] < 0x80;
    if (plain) {
        if (!(out = malloc(n + 1))) return NULL;
        if (n) memcpy(out, text, n);
        *bytes = n;
        return out;
    }
    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        if (es_normal_decompose(&t, c < 0 ? ES_UNICODE_REPLACEMENT : c)) goto out;
    }
    if (es_normal_order(t.c, t.n)) goto out;
    t.n = compose(t.c, t.n);
    if (!(out = malloc(4 * t.n + 1))) goto out;
    for (size_t i = 0; i < t.n; i++) k += es_unicode_put(out + k, t.c[i]);
    *bytes = k;
out:
    free(t.c);
    return out;
}
