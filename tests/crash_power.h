/*
 * crash_power.h - what the disk has of a library when the power fails, put together from the log of a run for test_crash.c.
 */
#ifndef ES_CRASH_POWER_H
#define ES_CRASH_POWER_H

#include "crash_shim.h"
#include "files.h"

typedef struct op {
    int kind;
    char name[200];
    int64_t offset;
    size_t bytes;
    uint8_t *data;
} op;

static op *read_log(long *n)
{
    FILE *f = fopen(at("log"), "rb");
    op *ops = NULL;
    es_shim_record r;

    for (*n = 0; f && fread(&r, sizeof r, 1, f) == 1; ++*n) {
        bool has_data = r.kind == ES_SHIM_WRITE || r.kind == ES_SHIM_WRITE_THROUGH || r.kind == ES_SHIM_LINK || r.kind == ES_SHIM_RENAME;
        op o = {.kind = r.kind, .offset = r.offset, .bytes = has_data ? (size_t)r.bytes : 0};
        ops = realloc(ops, (size_t)(*n + 1) * sizeof *ops);
        o.data = malloc(o.bytes + 1);
        if (!ops || !o.data || r.name < 0 || r.name >= (int32_t)sizeof o.name) abort();
        if (fread(o.name, 1, (size_t)r.name, f) != (size_t)r.name || fread(o.data, 1, o.bytes, f) != o.bytes) abort();
        ops[*n] = o;
    }
    if (f) fclose(f);
    return ops;
}

enum { SECTOR = 512 };
typedef enum luck { NONE, SOME, ALL } luck; /* how much of what was not synced is on the disk */

typedef struct platter {
    uint8_t *p;
    size_t n, room;
} platter;

/* The write reaches the disk, or those of its sectors that are lucky. */
static void reach(platter *d, const op *o, luck how_much, es_noise *noise)
{
    size_t end_of = (size_t)o->offset + o->bytes;

    if (d->room < end_of) {
        d->p = realloc(d->p, end_of);
        if (!d->p) abort();
        memset(d->p + d->room, 0, end_of - d->room);
        d->room = end_of;
    }
    for (size_t i = 0, step; i < o->bytes; i += step) {
        size_t to = (size_t)o->offset + i;
        step = SECTOR - to % SECTOR < o->bytes - i ? SECTOR - to % SECTOR : o->bytes - i;
        if (how_much == NONE || (how_much == SOME && es_noise_bits(noise) & 1)) continue;
        memcpy(d->p + to, o->data + i, step);
        if (d->n < to + step) d->n = to + step;
    }
}

/* The library's file as the disk has it when the power fails after the first k operations; false: it has no name yet.
 * Before the file has its name it lies aside; what is in tmp otherwise is never looked at again. */
static bool platter_has(platter *d, const op *ops, long k, luck how_much, es_noise *noise)
{
    static const char aside[] = "/new/data.mdb";
    long since = 0; /* operations before it are synced */
    bool named = false, safe = false;

    d->n = 0, memset(d->p, 0, d->room);
    for (int pass = 0; pass < 2; pass++) /* what is synced, then what is not */
        for (long i = pass ? since : 0; i < k; i++) {
            const op *o = &ops[i];
            size_t length = strlen(o->name), tail = sizeof aside - 1;
            bool file = !strcmp(o->name, "data.mdb") || (length > tail && !strcmp(o->name + length - tail, aside));
            if (!pass && !*o->name && o->kind == ES_SHIM_SYNC) safe = named;
            if (!file) continue;
            if (!pass && !strcmp(o->name, "data.mdb") && (o->kind == ES_SHIM_LINK || o->kind == ES_SHIM_CREATE)) named = true;
            if (!pass && o->kind == ES_SHIM_SYNC) {
                for (long j = since; j < i; j++)
                    if (ops[j].kind == ES_SHIM_WRITE && (!strcmp(ops[j].name, "data.mdb") || strstr(ops[j].name, aside)))
                        reach(d, &ops[j], ALL, noise);
                since = i;
            }
            if (!pass && o->kind == ES_SHIM_WRITE_THROUGH) reach(d, o, ALL, noise);
            if (pass && o->kind == ES_SHIM_WRITE) reach(d, o, how_much, noise);
        }
    return how_much == NONE ? safe : named && (safe || how_much == ALL || es_noise_bits(noise) & 1);
}

#endif
