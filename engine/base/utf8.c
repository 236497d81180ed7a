/*
 * utf8.c - table 3-7 of the Unicode standard (well-formed byte sequences), spelled out.
 *
 * The bounds of the second byte are what rules out longer forms than needed (E0, F0), surrogates (ED) and numbers above
 * U+10FFFF (F4); the bytes after it are always 80 .. BF.
 */
#include "base/utf8.h"

size_t es_utf8_read(const char *s, size_t n, uint32_t *code)
{
    const unsigned char *b = (const unsigned char *)s;
    unsigned char least = 0x80, most = 0xBF;
    size_t length;
    uint32_t c;

    if (n == 0) return 0;
    if (b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    if (b[0] < 0xC2 || b[0] > 0xF4) return 0;
    length = b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    if (n < length) return 0;
    switch (b[0]) {
    case 0xE0: least = 0xA0; break;
    case 0xED: most = 0x9F; break;
    case 0xF0: least = 0x90; break;
    case 0xF4: most = 0x8F; break;
    default: break;
    }
    if (b[1] < least || b[1] > most) return 0;
    c = b[0] & (0xFFu >> (length + 1));
    c = c << 6 | (b[1] & 0x3Fu);
    for (size_t i = 2; i < length; i++) {
        if ((b[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (b[i] & 0x3Fu);
    }
    *code = c;
    return length;
}

size_t es_utf8_write(char out[4], uint32_t code)
{
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) code = 0xFFFD;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

bool es_utf8_valid(const char *s, size_t n)
{
    uint32_t code;

    for (size_t at = 0, length; at < n; at += length) {
        length = es_utf8_read(s + at, n - at, &code);
        if (length == 0) return false;
    }
    return true;
}
