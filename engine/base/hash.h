/*
 * hash.h - XXH3-128 behind a few functions; the only door to xxHash.
 */
#ifndef ES_HASH_H
#define ES_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Canonical form: big-endian bytes, the high 64 bits first. */
typedef struct es_hash128 {
    uint8_t b[16];
} es_hash128;

es_hash128 es_hash_bytes(const void *p, size_t n);
void es_hash_hex(char out[33], es_hash128 h);
int es_hash_parse(es_hash128 *out, const char *hex); /* 0, or -1 unless exactly 32 hexadecimal digits */
uint64_t es_hash_id(es_hash128 h);                   /* the first 8 bytes as a number; never 0 */

typedef struct es_hasher es_hasher;
es_hasher *es_hasher_open(void); /* NULL when out of memory */
void es_hasher_add(es_hasher *h, const void *p, size_t n);
es_hash128 es_hasher_value(const es_hasher *h);
void es_hasher_close(es_hasher *h); /* accepts NULL */

#endif
