/*
 * hash.c - XXH3-128, the only door to xxHash.
 *
 * XXH3 finds equal content and accidental damage; it is no defence against someone who makes two files with one hash.
 */
#include "base/hash.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

/* es_hasher is never defined: a pointer to it is the library's state, whose type stays behind this door. */

static es_hash128 canonical(XXH128_hash_t h)
{
    XXH128_canonical_t c;
    es_hash128 out;

    _Static_assert(sizeof c.digest == sizeof out.b, "a hash is 16 bytes");
    XXH128_canonicalFromHash(&c, h);
    memcpy(out.b, c.digest, sizeof out.b);
    return out;
}

es_hash128 es_hash_bytes(const void *p, size_t n)
{
    return canonical(XXH3_128bits(p, n));
}

void es_hash_hex(char out[33], es_hash128 h)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[h.b[i] >> 4];
        out[2 * i + 1] = digits[h.b[i] & 15];
    }
    out[32] = 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int es_hash_parse(es_hash128 *out, const char *hex)
{
    es_hash128 h;

    if (!hex || strlen(hex) != 32) return -1;
    for (int i = 0; i < 16; i++) {
        int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return -1;
        h.b[i] = (uint8_t)(high << 4 | low);
    }
    *out = h;
    return 0;
}

uint64_t es_hash_id(es_hash128 h)
{
    uint64_t id = 0;

    for (int i = 0; i < 8; i++) id = id << 8 | h.b[i];
    return id ? id : 1; /* 0 is kept free to mean "none" */
}

es_hasher *es_hasher_open(void)
{
    XXH3_state_t *state = XXH3_createState(); /* aligned to 64 bytes, which malloc does not promise */

    if (!state) return NULL;
    if (XXH3_128bits_reset(state) != XXH_OK) {
        XXH3_freeState(state);
        return NULL;
    }
    return (es_hasher *)state;
}

void es_hasher_add(es_hasher *h, const void *p, size_t n)
{
    if (n == 0) return;
    XXH_errorcode rc = XXH3_128bits_update((XXH3_state_t *)h, p, n);
    assert(rc == XXH_OK); /* fails only on NULL */
    (void)rc;
}

es_hash128 es_hasher_value(const es_hasher *h)
{
    return canonical(XXH3_128bits_digest((const XXH3_state_t *)h));
}

void es_hasher_close(es_hasher *h)
{
    if (h) XXH3_freeState((XXH3_state_t *)h);
}
