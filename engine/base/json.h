/*
 * json.h - reading foreign JSON and writing our own; the only door to cJSON.
 *
 * Reading trusts nothing: depth and size are bounded, numbers are checked to be whole and in range before they become
 * integers, a missing or wrongly typed member gives the default or an error, never a crash. Writing is deterministic:
 * members appear in the order they are written, numbers in the shortest form that reads back the same.
 */
#ifndef ES_JSON_H
#define ES_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* ---- reading ---- */
typedef struct es_json es_json;    /* a document; owns every node */
typedef struct cJSON es_json_node; /* borrowed until the document is closed */

int es_json_parse(es_json **out, const char *text, size_t bytes, const char *what, es_err *err);
int es_json_read(es_json **out, const char *path, size_t max_bytes, es_err *err);
void es_json_close(es_json *j); /* accepts NULL */
const es_json_node *es_json_root(const es_json *j);

/* All accept a NULL node and then answer as for a missing member. */
const es_json_node *es_json_get(const es_json_node *o, const char *key);
int es_json_count(const es_json_node *a); /* members of an array or object, else 0 */
const es_json_node *es_json_first(const es_json_node *a);
const es_json_node *es_json_next(const es_json_node *n);
const char *es_json_key(const es_json_node *n); /* name of a member, or NULL */
bool es_json_is_object(const es_json_node *n);
bool es_json_is_array(const es_json_node *n);
const char *es_json_string(const es_json_node *n); /* NULL unless a string */
/* A whole number within both bounds and below 2^53 in size. */
bool es_json_int(const es_json_node *n, int64_t least, int64_t most, int64_t *out);
bool es_json_number(const es_json_node *n, double *out);
bool es_json_bool(const es_json_node *n, bool *out);

/* ---- writing: to memory, then where the caller likes ---- */
typedef struct es_json_out {
    char *text; /* the caller's, free() it; NUL-terminated */
    size_t n, room;
    int depth, indent; /* indent 0: one line */
    bool first, failed;
} es_json_out;

void es_json_begin(es_json_out *o, int indent);
void es_json_object(es_json_out *o, const char *key); /* key NULL inside an array or at the top */
void es_json_array(es_json_out *o, const char *key);
void es_json_end_object(es_json_out *o);
void es_json_end_array(es_json_out *o);
void es_json_put_string(es_json_out *o, const char *key, const char *value); /* invalid UTF-8 becomes U+FFFD */
void es_json_put_int(es_json_out *o, const char *key, int64_t value);
void es_json_put_uint(es_json_out *o, const char *key, uint64_t value);
void es_json_put_number(es_json_out *o, const char *key, double value);              /* shortest; NaN as null */
void es_json_put_fixed(es_json_out *o, const char *key, double value, int decimals); /* 1.50 */
void es_json_put_bool(es_json_out *o, const char *key, bool value);
void es_json_put_null(es_json_out *o, const char *key);

#endif
