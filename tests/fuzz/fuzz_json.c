/*
 * fuzz_json.c - any bytes as JSON: what is read is written, read again and written again, and both texts are the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void rewrite(es_json_out *o, const char *key, const es_json_node *n)
{
    double number;
    bool truth;

    if (es_json_is_object(n) || es_json_is_array(n)) {
        bool object = es_json_is_object(n);
        int count = 0;
        if (object) es_json_object(o, key);
        else es_json_array(o, key);
        for (const es_json_node *m = es_json_first(n); m; m = es_json_next(m), count++)
            rewrite(o, object ? es_json_key(m) : NULL, m);
        if (count != es_json_count(n)) abort();
        if (object) es_json_end_object(o);
        else es_json_end_array(o);
    } else if (es_json_string(n)) {
        es_json_put_string(o, key, es_json_string(n));
    } else if (es_json_number(n, &number)) {
        int64_t whole;
        if (es_json_int(n, INT64_MIN, INT64_MAX, &whole) && (double)whole != number) abort();
        es_json_put_number(o, key, number);
    } else if (es_json_bool(n, &truth)) {
        es_json_put_bool(o, key, truth);
    } else {
        es_json_put_null(o, key);
    }
}

static char *text_of(const es_json *j)
{
    es_json_out o;

    es_json_begin(&o, 1);
    rewrite(&o, NULL, es_json_root(j));
    return o.text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    es_err err = {0};
    es_json *j, *again;

    if (es_json_parse(&j, (const char *)data, n, "fuzz", &err)) {
        if (j || !err.text[0]) abort();
        return 0;
    }
    char *first = text_of(j);
    if (es_json_parse(&again, first, strlen(first), "rewritten", NULL)) abort();
    char *second = text_of(again);
    if (strcmp(first, second)) abort();
    free(first);
    free(second);
    es_json_close(again);
    es_json_close(j);
    return 0;
}
