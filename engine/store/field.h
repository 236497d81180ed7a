/*
 * field.h - the fields of a record: written one behind the other, read back by a reader that trusts nothing.
 *
 * A record is begun, filled and ended, which sets its checksum; writing cannot fail before the end. A reader keeps the
 * first thing that was wrong: after it every field reads as zero and takes nothing, so that a caller may read them all
 * and ask once, in es_field_close().
 */
#ifndef ES_FIELD_H
#define ES_FIELD_H

#include "store/record.h"

void es_field_begin(es_record *r, int kind);
int es_field_end(es_record *r, es_err *err);
void es_field_put_bytes(es_record *r, const void *p, size_t n);
void es_field_put_le(es_record *r, uint64_t v, int n); /* n bytes, the lowest first */
void es_field_put_u8(es_record *r, uint8_t v);
void es_field_put_u32(es_record *r, uint32_t v);
void es_field_put_i32(es_record *r, int32_t v);
void es_field_put_u64(es_record *r, uint64_t v);
void es_field_put_i64(es_record *r, int64_t v);
void es_field_put_f32(es_record *r, float v);
void es_field_put_text(es_record *r, const char *text, size_t n);
void es_field_put_string(es_record *r, const char *text);            /* NULL as "" */
void es_field_put_name(es_record *r, const char *text, size_t room); /* a fixed array, which may be full */

typedef struct es_fields {
    const uint8_t *p;
    size_t n, at;
    int kind, version;
    const char *fault; /* the first thing that was wrong */
} es_fields;

int es_field_open(es_fields *in, es_bytes b, int kind, es_err *err);
int es_field_open_unchecked(es_fields *in, es_bytes b, int kind, es_err *err); /* without the checksum */
int es_field_close(es_fields *in, es_err *err);                                /* all must have been read */
void es_field_check(es_fields *in, bool holds, const char *fault);
size_t es_field_left(const es_fields *in);
const uint8_t *es_field_get_bytes(es_fields *in, size_t n);
uint64_t es_field_get_le(es_fields *in, int n);
uint32_t es_field_get_u32(es_fields *in);
int32_t es_field_get_i32(es_fields *in);
uint64_t es_field_get_u64(es_fields *in);
int64_t es_field_get_i64(es_fields *in);
float es_field_get_f32(es_fields *in);
es_hash128 es_field_get_hash(es_fields *in);
es_bytes es_field_get_text(es_fields *in);
char *es_field_get_string(es_fields *in); /* a C string of its own; NULL on a fault */
void es_field_get_name(es_fields *in, char *out, size_t room);
/* How many items of at least item_bytes follow: never more than the bytes left can hold. */
uint32_t es_field_get_count(es_fields *in, size_t item_bytes);

#endif
