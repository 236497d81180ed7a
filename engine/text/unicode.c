/*
 * unicode.c - characters of UTF-8 and their categories.
 *
 * A sequence is well formed as in table 3-7 of the Unicode standard: the second byte's range depends on the first one,
 * which excludes overlong forms, surrogates and everything past U+10FFFF. Where a sequence breaks off, the bytes that
 * could still have become a character count as one invalid sequence and the byte that broke it starts the next one.
 * utf8proc's own reader takes another number of bytes there, so only its table of categories is used.
 */
#include "text/unicode.h"

#include <utf8proc.h>

#include "text/tables.h"

/* Letters and numbers of Unicode 15.1 and 16.0, which the references' regular expressions know and utf8proc 2.8 does not
 * yet: whole scripts, so that a text in one of them is cut as there. */
static const es_text_range newer_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85},
    {0x10EC2, 0x10EC4}, {0x11380, 0x11389}, {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C},
    {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
};
static const es_text_range newer_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
};
#define IN(table, c) es_text_in(table, (int)(sizeof(table) / sizeof *(table)), c)

size_t es_unicode_next(const char *s, size_t n, int32_t *c)
{
    const unsigned char *b = (const unsigned char *)s;
    unsigned least = 0x80, most = 0xBF; /* of the second byte */
    size_t more;
    int32_t value;

    *c = ES_UNICODE_INVALID;
    if (b[0] < 0x80) {
        *c = b[0];
        return 1;
    }
    if (b[0] >= 0xC2 && b[0] <= 0xDF) {
        more = 1, value = b[0] & 0x1F;
    } else if (b[0] >= 0xE0 && b[0] <= 0xEF) {
        more = 2, value = b[0] & 0x0F;
        if (b[0] == 0xE0) least = 0xA0;
        if (b[0] == 0xED) most = 0x9F;
    } else if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        more = 3, value = b[0] & 0x07;
        if (b[0] == 0xF0) least = 0x90;
        if (b[0] == 0xF4) most = 0x8F;
    } else {
        return 1;
    }
    for (size_t i = 1; i <= more; i++) {
        if (i == n || b[i] < least || b[i] > most) return i;
        value = (value << 6) | (b[i] & 0x3F);
        least = 0x80, most = 0xBF;
    }
    *c = value;
    return more + 1;
}

size_t es_unicode_put(char out[4], int32_t c)
{
    if (c < 0) c = ES_UNICODE_REPLACEMENT;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool es_unicode_is_letter(int32_t c)
{
    if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return true;
    case UTF8PROC_CATEGORY_CN: return IN(newer_letters, c);
    default: return false;
    }
}

bool es_unicode_is_number(int32_t c)
{
    if (c < 0x80) return c >= '0' && c <= '9';
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return true;
    case UTF8PROC_CATEGORY_CN: return IN(newer_numbers, c);
    default: return false;
    }
}

bool es_unicode_is_mark(int32_t c)
{
    switch (c < 0x300 ? UTF8PROC_CATEGORY_CN : utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return true;
    default: return false;
    }
}

bool es_unicode_is_format(int32_t c)
{
    return c >= 0xAD && utf8proc_category(c) == UTF8PROC_CATEGORY_CF;
}

bool es_unicode_is_dense(int32_t c)
{
    static const es_text_range dense[] = {
        {0x0E00, 0x0EFF} /* Thai, Lao */,   {0x1000, 0x109F} /* Myanmar */, {0x1780, 0x17FF} /* Khmer */,
        {0x2E80, 0x2FDF} /* radicals */,    {0x3005, 0x3007},               {0x3021, 0x3029},
        {0x3031, 0x3035},                   {0x3038, 0x303C},               {0x3040, 0x318F} /* kana, bopomofo, jamo */,
        {0x31A0, 0x31BF},                   {0x31F0, 0x31FF},               {0x3400, 0x4DBF},
        {0x4E00, 0x9FFF},                   {0xA960, 0xA97F},               {0xAC00, 0xD7FF} /* Hangul */,
        {0xF900, 0xFAFF},                   {0xFF66, 0xFFDC} /* narrow */,  {0x1B000, 0x1B16F},
        {0x20000, 0x3FFFD},
    };

    return c >= 0x0E00 && IN(dense, c);
}

size_t es_unicode_fold(char *out, size_t room, const char *s, size_t n)
{
    enum { MOST = 4096 };
    const utf8proc_option_t how =
        UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE;
    utf8proc_int32_t c[MOST];
    utf8proc_ssize_t k = 0;
    size_t at = 0, i;

    for (i = 0; i < n && i < room && (unsigned char)s[i] < 0x80; i++)
        out[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] + 'a' - 'A') : s[i];
    if (i == n || i == room) return i;
    /* One character becomes at most 18. */
    if (n <= MOST / 18) k = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, c, MOST, how);
    if (k > 0 && k <= MOST) k = utf8proc_normalize_utf32(c, k, how);
    for (utf8proc_ssize_t j = 0; j < k; j++) {
        char b[4];
        size_t bytes = es_unicode_put(b, c[j]);
        if (bytes > room - at) break;
        for (size_t m = 0; m < bytes; m++) out[at++] = b[m];
    }
    return at;
}

bool es_unicode_is_space(int32_t c)
{
    /* 25 characters, closed: Unicode has promised not to add any without need and has removed one since 2013. */
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

int es_unicode_width(int32_t c)
{
    return c == ES_UNICODE_INVALID ? 1 : utf8proc_charwidth(c);
}

const char *es_unicode_strip(const char *s, size_t *n)
{
    size_t from = 0, to = 0, at = 0;
    bool any = false;

    while (at < *n) {
        int32_t c;
        size_t k = es_unicode_next(s + at, *n - at, &c);
        if (!es_unicode_is_space(c)) {
            if (!any) from = at;
            any = true;
            to = at + k;
        }
        at += k;
    }
    *n = to - from;
    return s + from;
}
