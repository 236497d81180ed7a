/*
 * record_journal.c - an entry of the journal on disk.
 *
 *   journal 1   u8 kind; u32 number; 16 B made_with; then by kind
 *     classes   u32 n windows, width; n x width bytes
 *     voices    u32 until, width, n; n x u32 slot; n x width x f32
 *     language  i32 language; f32 probability
 *     words     i64 seek; f64 said_until; i32 language; f32 probability; u8 over; u32 n, n x i32 tokens; u32 n, then n x
 *               text: segments, each a record of its own as in the table of segments
 *     texts     u32 n, width; n x width x f32
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "store/field.h"
#include "store/journal.h"

enum { SEGMENT_BYTES = 4 /* the least that a segment takes: its length */, MOST_WIDTH = 1 << 16 };

void es_journal_entry_done(es_journal_entry *e)
{
    free(e->classes), free(e->slots), free(e->rows), free(e->tokens);
    es_transcript_done(&e->part);
    *e = (es_journal_entry){.kind = e->kind};
}

/* ---- writing ---- */

static void put_rows(es_record *r, const es_journal_entry *e)
{
    for (size_t i = 0; i < (size_t)e->n * e->width; i++) es_field_put_f32(r, e->rows[i]);
}

static int put_segments(es_record *r, const es_transcript *t, es_err *err)
{
    es_record one = {0};
    int rc = ES_OK;

    es_field_put_u32(r, (uint32_t)t->n_segments);
    for (size_t i = 0; i < t->n_segments && rc == ES_OK; i++) {
        rc = es_record_write_segment(&one, t, i, err);
        if (rc == ES_OK) es_field_put_text(r, (const char *)one.p, one.n);
    }
    free(one.p);
    return rc;
}

static int put_words(es_record *r, const es_journal_entry *e, es_err *err)
{
    uint64_t said;

    memcpy(&said, &e->said_until, sizeof said);
    es_field_put_i64(r, e->seek);
    es_field_put_u64(r, said);
    es_field_put_i32(r, e->language);
    es_field_put_f32(r, e->probability);
    es_field_put_u8(r, e->over ? 1 : 0);
    es_field_put_u32(r, e->n);
    for (uint32_t i = 0; i < e->n; i++) es_field_put_i32(r, e->tokens[i]);
    return put_segments(r, &e->part, err);
}

int es_record_write_journal(es_record *r, const es_journal_entry *e, es_err *err)
{
    int rc = ES_OK;

    es_field_begin(r, ES_RECORD_JOURNAL);
    es_field_put_u8(r, (uint8_t)e->kind);
    es_field_put_u32(r, e->number);
    es_field_put_bytes(r, e->made_with.b, sizeof e->made_with.b);
    switch (e->kind) {
    case ES_JOURNAL_CLASSES:
        es_field_put_u32(r, e->n);
        es_field_put_u32(r, e->width);
        es_field_put_bytes(r, e->classes, (size_t)e->n * e->width);
        break;
    case ES_JOURNAL_VOICES:
        es_field_put_u32(r, e->until);
        es_field_put_u32(r, e->width);
        es_field_put_u32(r, e->n);
        for (uint32_t i = 0; i < e->n; i++) es_field_put_u32(r, e->slots[i]);
        put_rows(r, e);
        break;
    case ES_JOURNAL_LANGUAGE:
        es_field_put_i32(r, e->language);
        es_field_put_f32(r, e->probability);
        break;
    case ES_JOURNAL_WORDS: rc = put_words(r, e, err); break;
    case ES_JOURNAL_TEXTS:
        es_field_put_u32(r, e->n);
        es_field_put_u32(r, e->width);
        put_rows(r, e);
        break;
    default: rc = es_fail(err, ES_EARG, "a journal has no entries of the kind %d", (int)e->kind); break;
    }
    return rc == ES_OK ? es_field_end(r, err) : rc;
}

/* ---- reading ---- */

/* n x width numbers; memory for them only where the bytes are there. */
static void get_rows(es_fields *in, es_journal_entry *e)
{
    size_t n = (size_t)e->n * e->width;

    es_field_check(in, e->width >= 1 && e->width <= MOST_WIDTH, "its vectors have no width that could be");
    es_field_check(in, n <= es_field_left(in) / sizeof(float), "it counts more numbers than it has bytes for");
    if (in->fault || !n) return;
    e->rows = malloc(n * sizeof *e->rows);
    es_field_check(in, e->rows != NULL, "there is not enough memory");
    for (size_t i = 0; i < n && !in->fault; i++) e->rows[i] = es_field_get_f32(in);
}

static void get_classes(es_fields *in, es_journal_entry *e)
{
    const uint8_t *p;

    e->n = es_field_get_u32(in);
    e->width = es_field_get_u32(in);
    es_field_check(in, e->width >= 1 && e->width <= MOST_WIDTH, "its windows have no length that could be");
    p = es_field_get_bytes(in, in->fault ? 0 : (size_t)e->n * e->width);
    if (in->fault) return;
    e->classes = malloc((size_t)e->n * e->width + 1);
    es_field_check(in, e->classes != NULL, "there is not enough memory");
    if (e->classes) memcpy(e->classes, p, (size_t)e->n * e->width);
}

static void get_voices(es_fields *in, es_journal_entry *e)
{
    e->until = es_field_get_u32(in);
    e->width = es_field_get_u32(in);
    e->n = es_field_get_count(in, sizeof(uint32_t));
    e->slots = malloc(((size_t)e->n + 1) * sizeof *e->slots);
    es_field_check(in, e->slots != NULL, "there is not enough memory");
    es_field_check(in, e->until > e->number, "it ends before it begins");
    for (uint32_t i = 0; i < e->n && !in->fault; i++) e->slots[i] = es_field_get_u32(in);
    get_rows(in, e);
}

static void get_segments(es_fields *in, es_journal_entry *e)
{
    uint32_t n = es_field_get_count(in, SEGMENT_BYTES);
    es_err ignored = {0};

    for (uint32_t i = 0; i < n && !in->fault; i++) {
        es_bytes one = es_field_get_text(in);
        if (in->fault) return;
        int rc = es_record_read_segment(one, &e->part, &ignored);
        es_field_check(in, rc == ES_OK, rc == ES_ENOMEM ? "there is not enough memory" : "a segment in it does not parse");
    }
}

static void get_words(es_fields *in, es_journal_entry *e)
{
    uint64_t said, over;

    e->seek = es_field_get_i64(in);
    said = es_field_get_u64(in);
    memcpy(&e->said_until, &said, sizeof said);
    e->language = es_field_get_i32(in);
    e->probability = es_field_get_f32(in);
    over = es_field_get_le(in, 1);
    es_field_check(in, over <= 1, "a yes-or-no in it is neither");
    es_field_check(in, e->seek >= 0, "it goes on before the beginning");
    e->over = over == 1;
    e->n = es_field_get_count(in, sizeof(int32_t));
    e->tokens = malloc(((size_t)e->n + 1) * sizeof *e->tokens);
    es_field_check(in, e->tokens != NULL, "there is not enough memory");
    for (uint32_t i = 0; i < e->n && !in->fault; i++) e->tokens[i] = es_field_get_i32(in);
    get_segments(in, e);
}

int es_record_read_journal(es_bytes b, es_journal_entry *out, es_err *err)
{
    es_fields in;
    uint64_t kind;
    int rc = es_field_open(&in, b, ES_RECORD_JOURNAL, err);

    *out = (es_journal_entry){.kind = ES_JOURNAL_KINDS};
    if (rc) return rc;
    kind = es_field_get_le(&in, 1);
    es_field_check(&in, kind >= 1 && kind < ES_JOURNAL_KINDS, "it is of no known kind");
    out->number = es_field_get_u32(&in);
    out->made_with = es_field_get_hash(&in);
    if (!in.fault) out->kind = (enum es_journal_kind)kind;
    switch (out->kind) {
    case ES_JOURNAL_CLASSES: get_classes(&in, out); break;
    case ES_JOURNAL_VOICES: get_voices(&in, out); break;
    case ES_JOURNAL_LANGUAGE:
        out->language = es_field_get_i32(&in);
        out->probability = es_field_get_f32(&in);
        break;
    case ES_JOURNAL_WORDS: get_words(&in, out); break;
    case ES_JOURNAL_TEXTS:
        out->n = es_field_get_u32(&in);
        out->width = es_field_get_u32(&in);
        get_rows(&in, out);
        break;
    case ES_JOURNAL_KINDS: break;
    }
    rc = es_field_close(&in, err);
    if (rc) es_journal_entry_done(out);
    return rc;
}
