/*
 * zip.c - the central directory of a zip archive, 32 and 64 bits.
 *
 * Only the directory at the end is believed: local headers of files that were written in one go hold no sizes. From a
 * local header just the lengths of name and extra field are taken, to find where the data start. Every range is checked
 * against the file, and members may not overlap: two names for one run of bytes is a trick, not an archive.
 */
#include "zip.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MEMBERS = 100000, END = 22, ENTRY = 46, LOCAL = 30 };

static uint64_t number(const unsigned char *p, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Where the end record is: at the end, but for a comment of up to 64 KiB. */
static const unsigned char *find_end(const unsigned char *p, size_t bytes)
{
    for (size_t back = END; back <= bytes && back <= END + 65535; back++) {
        const unsigned char *e = p + bytes - back;
        if (number(e, 4) == 0x06054b50 && number(e + 20, 2) == back - END) return e;
    }
    return NULL;
}

/* Replaces what stands as all ones by its 64-bit form from the extra field. */
static bool wide(const unsigned char *extra, size_t n, uint64_t *size, uint64_t *packed, uint64_t *offset)
{
    uint64_t *const fields[3] = {size, packed, offset};

    if (*size != 0xffffffff && *packed != 0xffffffff && *offset != 0xffffffff) return true;
    for (size_t at = 0; at + 4 <= n;) {
        size_t id = number(extra + at, 2), have = number(extra + at + 2, 2), k = at + 4;
        if (have > n - k) return false;
        if (id == 1) {
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != 0xffffffff) continue;
                if (k + 8 > at + 4 + have) return false;
                *fields[i] = number(extra + k, 8);
                k += 8;
            }
            return true;
        }
        at = k + have;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    const es_zip_member *x = a, *y = b;
    size_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    int c = memcmp(x->name, y->name, n);

    return c ? c : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static int by_place(const void *a, const void *b)
{
    const es_zip_member *x = a, *y = b;

    return (x->p > y->p) - (x->p < y->p);
}

static int read_directory(es_zip *z, const unsigned char *p, size_t bytes, uint64_t at, uint64_t n, const char *what,
                          es_err *err)
{
    char name[128], shown[160];

    for (uint64_t i = 0; i < n; i++) {
        if (at > bytes || bytes - at < ENTRY || number(p + at, 4) != 0x02014b50) {
            return es_fail(err, ES_EFORMAT, "%s: entry %llu of the archive's directory is not there", what,
                           (unsigned long long)i);
        }
        const unsigned char *e = p + at;
        size_t flags = number(e + 8, 2), method = number(e + 10, 2), nn = number(e + 28, 2), extra = number(e + 30, 2);
        uint64_t packed = number(e + 20, 4), size = number(e + 24, 4), offset = number(e + 42, 4);
        uint64_t length = ENTRY + nn + extra + number(e + 32, 2);
        if (length > bytes - at) return es_fail(err, ES_EFORMAT, "%s: the archive's directory is cut off", what);
        snprintf(name, sizeof name, "%.*s", nn > 100 ? 100 : (int)nn, (const char *)e + ENTRY);
        es_printable(shown, sizeof shown, name);
        if (!wide(e + ENTRY + nn, extra, &size, &packed, &offset)) {
            return es_fail(err, ES_EFORMAT, "%s: member %s has no 64-bit sizes", what, shown);
        }
        if (!nn || memchr(e + ENTRY, 0, nn) || method || flags & 1 || packed != size) {
            return es_fail(err, ES_EFORMAT, "%s: member %s is compressed, encrypted or nameless; it must be stored as it is",
                           what, shown);
        }
        if (offset > bytes || bytes - offset < LOCAL || number(p + offset, 4) != 0x04034b50) {
            return es_fail(err, ES_EFORMAT, "%s: member %s is not where the directory says", what, shown);
        }
        uint64_t start = offset + LOCAL + number(p + offset + 26, 2) + number(p + offset + 28, 2);
        if (start > bytes || size > bytes - start) {
            return es_fail(err, ES_EFORMAT, "%s: member %s has %llu bytes at %llu, the file %zu", what, shown,
                           (unsigned long long)size, (unsigned long long)start, bytes);
        }
        z->members[z->n++] = (es_zip_member){(const char *)e + ENTRY, nn, p + start, (size_t)size};
        at += length;
    }
    return ES_OK;
}

int es_zip_read(es_zip *z, const unsigned char *p, size_t bytes, const char *what, es_err *err)
{
    const unsigned char *end = find_end(p, bytes);
    uint64_t n, at;
    int rc;

    *z = (es_zip){0};
    if (!end) return es_fail(err, ES_EFORMAT, "%s: the archive has no end record: it is cut off", what);
    n = number(end + 10, 2);
    at = number(end + 16, 4);
    if (n == 0xffff || at == 0xffffffff) {
        const unsigned char *locator = end - p >= 20 ? end - 20 : NULL;
        uint64_t record = locator && number(locator, 4) == 0x07064b50 ? number(locator + 8, 8) : UINT64_MAX;
        if (record > bytes || bytes - record < 56 || number(p + record, 4) != 0x06064b50) {
            return es_fail(err, ES_EFORMAT, "%s: the 64-bit end record of the archive is not there", what);
        }
        n = number(p + record + 32, 8);
        at = number(p + record + 48, 8);
    }
    if (n > MAX_MEMBERS || n > bytes / ENTRY) {
        return es_fail(err, ES_EFORMAT, "%s: %llu members cannot be in %zu bytes", what, (unsigned long long)n, bytes);
    }
    z->members = calloc((size_t)n + 1, sizeof *z->members);
    if (!z->members) return es_fail(err, ES_ENOMEM, "%s: out of memory", what);
    rc = read_directory(z, p, bytes, at, n, what, err);
    if (!rc) qsort(z->members, (size_t)z->n, sizeof *z->members, by_place);
    for (int i = 1; i < z->n && !rc; i++) {
        const es_zip_member *a = &z->members[i - 1], *b = &z->members[i];
        if (a->bytes && b->bytes && a->p + a->bytes > b->p) rc = es_fail(err, ES_EFORMAT, "%s: members of the archive overlap", what);
    }
    if (!rc) qsort(z->members, (size_t)z->n, sizeof *z->members, by_name);
    for (int i = 1; i < z->n && !rc; i++) {
        if (!by_name(&z->members[i - 1], &z->members[i])) rc = es_fail(err, ES_EFORMAT, "%s: a member of the archive is there twice", what);
    }
    if (rc) es_zip_done(z);
    return rc;
}

void es_zip_done(es_zip *z)
{
    free(z->members);
    *z = (es_zip){0};
}

const es_zip_member *es_zip_find(const es_zip *z, const char *name, size_t n)
{
    es_zip_member key = {.name = name, .name_bytes = n};

    return z->n ? bsearch(&key, z->members, (size_t)z->n, sizeof key, by_name) : NULL;
}
