/*
 * key.c - the keys that inside.h draws.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <string.h>

#include "store/inside.h"

static void key_add(es_key *k, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--) k->b[k->n++] = (uint8_t)(v >> 8 * i);
}

static void key_add_path(es_key *k, const char *path)
{
    es_hash128 h = es_hash_bytes(path, strlen(path));

    memcpy(k->b + k->n, h.b, sizeof h.b);
    k->n += sizeof h.b;
}

es_bytes es_key_bytes(const es_key *k)
{
    return (es_bytes){.p = k->b, .n = k->n};
}

es_key es_key_media(es_hash128 content)
{
    es_key k = {.n = 0};

    key_add(&k, es_hash_id(content), 8);
    return k;
}

es_key es_key_recording(es_hash128 content, int track)
{
    es_key k = es_key_media(content);

    key_add(&k, (uint64_t)track, 2);
    return k;
}

es_key es_key_segment(es_hash128 content, int track, uint32_t number)
{
    es_key k = es_key_recording(content, track);

    key_add(&k, number, 4);
    return k;
}

es_key es_key_path(es_hash128 content, const char *path)
{
    es_key k = es_key_media(content);

    key_add_path(&k, path);
    return k;
}

es_key es_key_file(uint64_t dev, uint64_t ino)
{
    es_key k = {.n = 0};

    key_add(&k, dev, 8);
    key_add(&k, ino, 8);
    return k;
}

es_key es_key_recording_time(es_hash128 content, int track)
{
    es_key k = {.b = {'r'}, .n = 1};

    key_add(&k, es_hash_id(content), 8);
    key_add(&k, (uint64_t)track, 2);
    return k;
}

es_key es_key_path_time(es_hash128 content, const char *path)
{
    es_key k = {.b = {'p'}, .n = 1};

    key_add(&k, es_hash_id(content), 8);
    key_add_path(&k, path);
    return k;
}

es_key es_key_schema(void)
{
    return (es_key){.b = "schema", .n = 6};
}

es_key es_key_totals(void)
{
    return (es_key){.b = "totals", .n = 6};
}

es_key es_key_passage(es_hash128 content, int track, uint32_t number)
{
    return es_key_segment(content, track, number); /* in another table */
}

es_key es_key_journal(es_hash128 content, int track, int kind, uint32_t number)
{
    es_key k = es_key_recording(content, track);

    key_add(&k, (uint64_t)kind, 1);
    key_add(&k, number, 4);
    return k;
}

es_key es_key_space(enum es_use use, es_hash128 space)
{
    es_key k = {.n = 0};

    key_add(&k, (uint64_t)use, 2);
    memcpy(k.b + k.n, space.b, sizeof space.b);
    k.n += sizeof space.b;
    return k;
}

es_key es_key_vectors(enum es_use use, es_hash128 space, es_bytes recording, uint32_t part)
{
    es_key k = es_key_space(use, space);

    assert(k.n + recording.n + 4 <= sizeof k.b);
    memcpy(k.b + k.n, recording.p, recording.n);
    k.n += recording.n;
    key_add(&k, part, 4);
    return k;
}

bool es_key_starts(es_bytes key, es_bytes prefix)
{
    return key.n >= prefix.n && !memcmp(key.p, prefix.p, prefix.n);
}

bool es_hash_step(es_hash128 *h)
{
    for (int i = (int)sizeof h->b - 1; i >= 0; i--)
        if (++h->b[i]) return true;
    return false;
}

bool es_hash_none(es_hash128 h)
{
    static const es_hash128 none;

    return !memcmp(h.b, none.b, sizeof none.b);
}

uint64_t es_key_number(const void *p, int n)
{
    const uint8_t *b = p;
    uint64_t v = 0;

    for (int i = 0; i < n; i++) v = v << 8 | b[i];
    return v;
}
