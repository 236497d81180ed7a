/*
 * people.c - names that may be given to a person, and freeing the structs of people.h.
 *
 * A name is shown in terminals, subtitles and exports and is compared byte by byte, so what cannot be seen is refused:
 * control characters, and the marks of Unicode that turn the direction of the text around them. The two joiners stay:
 * Persian names need them.
 */
#include "base/people.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void es_profile_done(es_profile *p)
{
    for (size_t i = 0; i < p->n; i++) free(p->clips[i].vector);
    free(p->clips);
    *p = (es_profile){0};
}

void es_people_done(es_people *p)
{
    for (size_t i = 0; i < p->n_profiles; i++) es_profile_done(&p->profiles[i]);
    for (size_t i = 0; i < p->n_voices; i++) free(p->voices[i].vector);
    free(p->spaces);
    free(p->profiles);
    free(p->voices);
    *p = (es_people){0};
}

es_hash128 es_person_of(const char *name)
{
    return es_hash_bytes(name, strlen(name));
}

static bool is_unseen(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200B || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || c == 0xFFFD ||
           (c & 0xFFFE) == 0xFFFE;
}

static bool is_blank(uint32_t c)
{
    return c == ' ' || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

uint32_t es_person_number(const char *text)
{
    static const char word[] = "Speaker ";
    uint32_t n = 0;

    if (strncmp(text, word, sizeof word - 1)) return 0;
    for (const char *p = text + sizeof word - 1; *p; p++) {
        if (*p < '0' || *p > '9' || n > 100000000 || (!n && *p == '0')) return 0;
        n = 10 * n + (uint32_t)(*p - '0');
    }
    return n;
}

int es_person_check(const char *name, es_err *err)
{
    size_t n = strlen(name);
    uint32_t code = 0, last = 0;
    char shown[300];

    es_printable(shown, sizeof shown, name);
    if (!n) return es_fail(err, ES_EARG, "a name cannot be empty");
    if (n > ES_PERSON_BYTES)
        return es_fail(err, ES_EARG, "a name has at most %d bytes, and this one %zu: %s", ES_PERSON_BYTES, n, shown);
    for (size_t at = 0; at < n;) {
        size_t step = es_utf8_read(name + at, n - at, &code);
        if (!step) return es_fail(err, ES_EARG, "the name %s is not UTF-8 at byte %zu", shown, at + 1);
        if (is_unseen(code))
            return es_fail(err, ES_EARG, "the name %s holds the control character U+%04X", shown, (unsigned)code);
        if (at == 0 && is_blank(code)) return es_fail(err, ES_EARG, "the name \"%s\" begins with a blank", shown);
        at += step;
        last = code;
    }
    if (is_blank(last)) return es_fail(err, ES_EARG, "the name \"%s\" ends with a blank", shown);
    if (es_person_number(name))
        return es_fail(err, ES_EARG, "%s stands for somebody without a name; choose another one", shown);
    return ES_OK;
}

const es_profile *es_people_find(const es_people *all, es_hash128 person)
{
    for (size_t i = 0; i < all->n_profiles; i++)
        if (es_hash_same(es_person_of(all->profiles[i].name), person)) return &all->profiles[i];
    return NULL;
}

const es_space *es_people_space(const es_people *all, es_hash128 hash)
{
    for (size_t i = 0; i < all->n_spaces; i++)
        if (es_hash_same(all->spaces[i].hash, hash)) return &all->spaces[i];
    return NULL;
}
