/*
 * err.c - sentences that may be shown as they are.
 *
 * A sentence quotes names that come from files and folders. Whatever could move a terminal's cursor, break a line or
 * turn the direction of the text is therefore written as \xNN when the sentence is made, once, and nobody has to think
 * of it again where it is printed.
 */
#include "base/err.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Controls (C0, DEL, C1), line and paragraph separators, and the marks that embed, override or isolate a direction. */
static bool is_harmless(uint32_t code)
{
    return code >= 0x20 && code != 0x7F && !(code >= 0x80 && code <= 0x9F) && !(code >= 0x2028 && code <= 0x202E) &&
           !(code >= 0x2066 && code <= 0x2069) && code != 0xFEFF;
}

const char *es_printable(char *out, unsigned long n, const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t left = name ? strlen(name) : 0, at = 0, cut = 0;

    assert(n >= 4);
    while (left > 0) {
        uint32_t code = 0;
        size_t length = es_utf8_read(name, left, &code);
        bool plain = length > 0 && is_harmless(code);
        if (length == 0) length = 1;
        size_t need = plain ? length : 4 * length;
        if (at + 4 <= n) cut = at; /* the dots of a cut still fit here */
        if (at + need >= n) {
            memcpy(out + cut, "...", 3);
            at = cut + 3;
            break;
        }
        for (size_t i = 0; i < length; i++) {
            unsigned char b = (unsigned char)name[i];
            if (plain) {
                out[at++] = name[i];
            } else {
                out[at++] = '\\';
                out[at++] = 'x';
                out[at++] = digits[b >> 4];
                out[at++] = digits[b & 15];
            }
        }
        name += length;
        left -= length;
    }
    out[at] = 0;
    return out;
}

int es_fail(es_err *err, int code, const char *format, ...)
{
    char raw[2 * sizeof err->text]; /* longer than what is kept, so that a cut shows as "..." */
    va_list ap;

    if (!err || err->code != ES_OK) return code;
    va_start(ap, format);
    if (vsnprintf(raw, sizeof raw, format, ap) < 0) raw[0] = 0;
    va_end(ap);
    err->code = code;
    es_printable(err->text, sizeof err->text, raw);
    return code;
}

const char *es_status_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                                           \
    case value: return text;
        ES_STATUS_MAP(X)
#undef X
    default: return "unknown status";
    }
}
