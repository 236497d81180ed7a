/*
 * json.c - the only door to cJSON for reading, and a small writer of our own.
 *
 * Reading copies the text and ends it with a NUL before cJSON sees it: some releases look one byte past the end when an
 * object stops after a comma, and a mapped file has no byte there. cJSON bounds its own recursion (1000 levels); what
 * follows the document must be blank. Numbers are doubles inside, so whole numbers are exact below 2^53 and
 * what is not below is refused as an integer.
 *
 * Writing goes to one growing buffer. A lack of memory sets `failed`, later calls do nothing, and the caller looks
 * once, at the end. Numbers are tried with 1, 2, ... 17 digits until one reads back the same, and a comma that a locale
 * put in is turned into a point, so the same value gives the same bytes everywhere.
 */
#define _POSIX_C_SOURCE 200809L
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/files.h"
#include "base/utf8.h"

struct es_json {
    cJSON *root;
};

/* ---- reading ---- */

/* Line of the byte where reading stopped, counted from 1, for the sentence. */
static size_t line_of(const char *text, size_t at)
{
    size_t line = 1;

    for (size_t i = 0; i < at; i++) line += text[i] == '\n';
    return line;
}

int es_json_parse(es_json **out, const char *text, size_t bytes, const char *what, es_err *err)
{
    es_json *j = NULL;
    char *copy = NULL;
    const char *end = NULL;
    int rc = ES_OK;

    *out = NULL;
    if (bytes > SIZE_MAX - 1) return es_fail(err, ES_EFORMAT, "%s: too long to be JSON", what);
    copy = malloc(bytes + 1);
    j = calloc(1, sizeof *j);
    if (!copy || !j) {
        rc = es_fail(err, ES_ENOMEM, "%s: no memory to read %zu bytes of JSON", what, bytes);
        goto out;
    }
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = 0;
    /* cJSON would stop at a NUL and ignore the rest. */
    if (memchr(copy, 0, bytes)) {
        rc = es_fail(err, ES_EFORMAT, "%s: not JSON: a zero byte at %zu of %zu", what,
                     (size_t)((char *)memchr(copy, 0, bytes) - copy), bytes);
        goto out;
    }
    j->root = cJSON_ParseWithLengthOpts(copy, bytes + 1, &end, 1);
    if (!j->root) {
        size_t at = end && end >= copy && end <= copy + bytes ? (size_t)(end - copy) : 0;
        rc = es_fail(err, ES_EFORMAT, "%s: not JSON: cannot be read at byte %zu of %zu, line %zu", what, at, bytes,
                     line_of(copy, at));
        goto out;
    }
    *out = j;
    j = NULL; /* owned by the caller from here on */
out:
    free(copy);
    free(j);
    return rc;
}

int es_json_read(es_json **out, const char *path, size_t max_bytes, es_err *err)
{
    es_err why = {0};
    FILE *f = es_files_stream(path, &why);
    char *text = NULL;
    size_t n = 0, room = 0;
    int rc = ES_OK;

    *out = NULL;
    if (!f) return es_fail(err, why.code, "%s", why.text);
    for (;;) {
        if (n == room) {
            size_t grown = room ? 2 * room : 65536;
            char *moved = realloc(text, grown);
            if (!moved) {
                rc = es_fail(err, ES_ENOMEM, "%s: no memory for %zu bytes", path, grown);
                goto out;
            }
            text = moved;
            room = grown;
        }
        size_t got = fread(text + n, 1, room - n, f);
        if (got == 0) break;
        n += got;
        if (n > max_bytes) {
            rc = es_fail(err, ES_EFORMAT, "%s: more than the %zu bytes expected of it", path, max_bytes);
            goto out;
        }
    }
    if (ferror(f)) {
        rc = es_fail(err, ES_EIO, "%s: %s", path, strerror(errno));
        goto out;
    }
    rc = es_json_parse(out, text, n, path, err);
out:
    free(text);
    fclose(f);
    return rc;
}

void es_json_close(es_json *j)
{
    if (!j) return;
    cJSON_Delete(j->root);
    free(j);
}

const es_json_node *es_json_root(const es_json *j)
{
    return j ? j->root : NULL;
}

const es_json_node *es_json_get(const es_json_node *o, const char *key)
{
    return cJSON_IsObject(o) ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;
}

int es_json_count(const es_json_node *a)
{
    return cJSON_IsArray(a) || cJSON_IsObject(a) ? cJSON_GetArraySize(a) : 0;
}

const es_json_node *es_json_first(const es_json_node *a)
{
    return cJSON_IsArray(a) || cJSON_IsObject(a) ? a->child : NULL;
}

const es_json_node *es_json_next(const es_json_node *n)
{
    return n ? n->next : NULL;
}

const char *es_json_key(const es_json_node *n)
{
    return n ? n->string : NULL;
}

bool es_json_is_object(const es_json_node *n)
{
    return cJSON_IsObject(n);
}

bool es_json_is_array(const es_json_node *n)
{
    return cJSON_IsArray(n);
}

const char *es_json_string(const es_json_node *n)
{
    return cJSON_IsString(n) ? n->valuestring : NULL;
}

bool es_json_number(const es_json_node *n, double *out)
{
    if (!cJSON_IsNumber(n) || !isfinite(n->valuedouble)) return false;
    *out = n->valuedouble;
    return true;
}

bool es_json_int(const es_json_node *n, int64_t least, int64_t most, int64_t *out)
{
    double v;
    int64_t i;

    if (!es_json_number(n, &v) || fabs(v) >= 0x1p53 || v != floor(v)) return false;
    i = (int64_t)v;
    if (i < least || i > most) return false;
    *out = i;
    return true;
}

bool es_json_bool(const es_json_node *n, bool *out)
{
    if (!cJSON_IsBool(n)) return false;
    *out = cJSON_IsTrue(n);
    return true;
}

/* ---- writing ---- */

static void add(es_json_out *o, const char *text, size_t n)
{
    if (o->failed) return;
    if (n >= o->room - o->n) { /* one byte stays for the NUL */
        size_t need = n < SIZE_MAX - o->n ? o->n + n + 1 : 0;
        size_t grown = o->room < SIZE_MAX / 2 ? 2 * o->room : need;
        char *moved;
        if (grown < need) grown = need;
        moved = need ? realloc(o->text, grown) : NULL;
        if (!moved) {
            o->failed = true;
            return;
        }
        o->text = moved;
        o->room = grown;
    }
    memcpy(o->text + o->n, text, n);
    o->n += n;
    o->text[o->n] = 0;
}

static void add_text(es_json_out *o, const char *text)
{
    add(o, text, strlen(text));
}

static void add_line(es_json_out *o)
{
    if (o->indent == 0) return;
    add(o, "\n", 1);
    for (int i = 0; i < o->depth * o->indent; i++) add(o, " ", 1);
}

static void add_quoted(es_json_out *o, const char *s)
{
    size_t left = strlen(s);

    add(o, "\"", 1);
    while (left > 0) {
        uint32_t code;
        size_t length = es_utf8_read(s, left, &code);
        char escape[8];
        if (length == 0) {
            add(o, "\xEF\xBF\xBD", 3); /* U+FFFD for each byte that is not UTF-8 */
            length = 1;
        } else if (code == '"' || code == '\\') {
            escape[0] = '\\';
            escape[1] = (char)code;
            add(o, escape, 2);
        } else if (code == '\n') {
            add(o, "\\n", 2);
        } else if (code == '\t') {
            add(o, "\\t", 2);
        } else if (code == '\r') {
            add(o, "\\r", 2);
        } else if (code < 0x20 || code == 0x7F) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)code);
            add_text(o, escape);
        } else {
            add(o, s, length);
        }
        s += length;
        left -= length;
    }
    add(o, "\"", 1);
}

/* The comma and line before a member, and its name. */
static void begin_member(es_json_out *o, const char *key)
{
    if (!o->first) add(o, ",", 1);
    if (o->depth > 0) add_line(o);
    o->first = false;
    if (key) {
        add_quoted(o, key);
        add_text(o, o->indent ? ": " : ":");
    }
}

static void open_bracket(es_json_out *o, const char *key, const char *bracket)
{
    begin_member(o, key);
    add_text(o, bracket);
    o->depth++;
    o->first = true;
}

static void close_bracket(es_json_out *o, const char *bracket)
{
    assert(o->depth > 0);
    o->depth--;
    if (!o->first) add_line(o); /* an empty one stays on its line */
    add_text(o, bracket);
    o->first = false;
}

void es_json_begin(es_json_out *o, int indent)
{
    *o = (es_json_out){.indent = indent, .first = true, .room = 256};
    o->text = malloc(o->room);
    if (o->text) o->text[0] = 0;
    else o->failed = true;
}

void es_json_object(es_json_out *o, const char *key)
{
    open_bracket(o, key, "{");
}

void es_json_array(es_json_out *o, const char *key)
{
    open_bracket(o, key, "[");
}

void es_json_end_object(es_json_out *o)
{
    close_bracket(o, "}");
}

void es_json_end_array(es_json_out *o)
{
    close_bracket(o, "]");
}

void es_json_put_string(es_json_out *o, const char *key, const char *value)
{
    begin_member(o, key);
    if (value) add_quoted(o, value);
    else add_text(o, "null");
}

void es_json_put_int(es_json_out *o, const char *key, int64_t value)
{
    char text[32];

    begin_member(o, key);
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_text(o, text);
}

void es_json_put_uint(es_json_out *o, const char *key, uint64_t value)
{
    char text[32];

    begin_member(o, key);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    add_text(o, text);
}

/* A locale may have written its own decimal mark, of one byte or more. */
static void with_point(char *text)
{
    char *to = text;

    for (char *from = text; *from; from++) {
        bool part = (*from >= '0' && *from <= '9') || *from == '-' || *from == '+' || *from == 'e' || *from == '.';
        if (part) *to++ = *from;
        else if (to == text || to[-1] != '.') *to++ = '.';
    }
    *to = 0;
}

void es_json_put_number(es_json_out *o, const char *key, double value)
{
    char text[40];

    begin_member(o, key);
    if (!isfinite(value)) {
        add_text(o, "null");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    with_point(text);
    add_text(o, text);
}

void es_json_put_fixed(es_json_out *o, const char *key, double value, int decimals)
{
    char text[400]; /* the largest double has 309 digits before the point */

    assert(decimals >= 0 && decimals <= 20);
    begin_member(o, key);
    if (!isfinite(value)) {
        add_text(o, "null");
        return;
    }
    snprintf(text, sizeof text, "%.*f", decimals, value);
    with_point(text);
    add_text(o, text);
}

void es_json_put_bool(es_json_out *o, const char *key, bool value)
{
    begin_member(o, key);
    add_text(o, value ? "true" : "false");
}

void es_json_put_null(es_json_out *o, const char *key)
{
    begin_member(o, key);
    add_text(o, "null");
}
