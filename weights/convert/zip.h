/*
 * zip.h - the members of a zip archive that are stored as they are, as PyTorch and NumPy write them.
 */
#ifndef ES_ZIP_H
#define ES_ZIP_H

#include "source.h"

typedef struct es_zip_member {
    const char *name; /* in the archive, not NUL-terminated */
    size_t name_bytes;
    const unsigned char *p;
    size_t bytes;
} es_zip_member;

typedef struct es_zip {
    es_zip_member *members; /* sorted by name; owned */
    int n;
} es_zip;

/* The archive's bytes must outlive z. Compressed, encrypted, overlapping and repeated members are refused. */
int es_zip_read(es_zip *z, const unsigned char *p, size_t bytes, const char *what, es_err *err);
void es_zip_done(es_zip *z);
const es_zip_member *es_zip_find(const es_zip *z, const char *name, size_t n); /* NULL where there is none */

#endif
