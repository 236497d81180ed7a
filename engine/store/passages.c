/*
 * passages.c - the passages of a recording, their vectors, and what makes them searchable, written together.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/index.h"

int es_inside_check_unit(const es_vectors *v, es_err *err)
{
    for (size_t i = 0; i < v->n; i++) {
        const float *row = v->rows + i * (size_t)v->width;
        double sum = 0;
        for (int k = 0; k < v->width; k++) sum += (double)row[k] * (double)row[k];
        if (!(fabs(sqrt(sum) - 1) <= 1e-3))
            return es_fail(err, ES_EARG, "the vector of passage %zu has the length %g, and should have 1", i,
                           sqrt(sum));
    }
    return ES_OK;
}

int es_inside_put_passages(es_txn *x, es_record *r, es_hash128 content, int track, const es_passages *p, es_err *err)
{
    es_key recording = es_key_recording(content, track);
    int rc = es_inside_check_unit(&p->vectors, err);

    if (!rc && p->vectors.n && p->vectors.n != p->n)
        rc = es_fail(err, ES_EARG, "%zu passages come with %zu vectors", p->n, p->vectors.n);
    for (size_t i = 0; !rc && i < p->n; i++) {
        rc = es_record_write_passage(r, p, i, err);
        if (!rc) rc = es_inside_put_record(x, ES_TABLE_PASSAGES, es_key_passage(content, track, (uint32_t)i), r, err);
    }
    if (!rc) rc = es_inside_put_vectors(x, r, ES_USE_PASSAGES, es_key_bytes(&recording), &p->vectors, err);
    return rc;
}

int es_inside_put_index(es_txn *x, es_record *r, es_hash128 content, int track, const es_passages *p,
                        const es_transcript *t, es_err *err)
{
    es_key recording = es_key_recording(content, track);
    size_t n = p->n ? p->n : t->n_segments;
    es_index_text *texts = malloc((n ? n : 1) * sizeof *texts);
    es_outline_row *rows = calloc(n ? n : 1, sizeof *rows);
    int rc = texts && rows && n <= UINT32_MAX ? ES_OK
                                              : es_fail(err, ES_ENOMEM, "not enough memory to index %zu passages", n);

    for (size_t i = 0; !rc && i < n; i++) {
        if (p->n) {
            const es_passage *a = &p->at[i];
            rows[i] = (es_outline_row){.start_ms = a->start_ms, .end_ms = a->end_ms, .speaker = a->speaker};
            memcpy(rows[i].language, a->language, sizeof rows[i].language);
            texts[i] = (es_index_text){a->text_bytes ? p->text + a->text_at : "", a->text_bytes};
        } else {
            const es_segment *a = &t->segments[i];
            rows[i] = (es_outline_row){.start_ms = a->start_ms, .end_ms = a->end_ms, .speaker = a->speaker};
            memcpy(rows[i].language, a->language, sizeof rows[i].language);
            texts[i] = (es_index_text){a->text_bytes ? t->text + a->text_at : "", a->text_bytes};
        }
        rows[i].language[sizeof rows[i].language - 1] = 0;
    }
    if (!rc) rc = es_index_put(x, r, es_key_bytes(&recording), texts, rows, (uint32_t)n, !p->n, err);
    free(texts);
    free(rows);
    return rc;
}

/* Room for one more passage, and more bytes of text. */
static int grow(es_passages *p, size_t *room, size_t *room_text, size_t more)
{
    if (p->n == *room) {
        size_t n = *room ? 2 * *room : 16;
        es_passage *moved = realloc(p->at, n * sizeof *moved);
        if (!moved) return -1;
        p->at = moved;
        *room = n;
    }
    if (more > UINT32_MAX - p->n_text) return -1;
    if (p->n_text + more > *room_text) {
        size_t n = 2 * (p->n_text + more);
        char *moved = realloc(p->text, n);
        if (!moved) return -1;
        p->text = moved;
        *room_text = n;
    }
    return 0;
}

int es_inside_get_passages(es_txn *x, es_hash128 content, int track, es_passages *out, es_err *err)
{
    es_key prefix = es_key_recording(content, track);
    size_t room = 0, room_text = 0;
    es_cursor *c = NULL;
    es_bytes key, value, text;
    int rc = es_cursor_open(&c, x, ES_TABLE_PASSAGES, err);

    *out = (es_passages){0};
    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        es_passage p;
        int parsed = es_record_read_passage(value, &p, &text, &note);
        if (parsed == ES_EFORMAT) {
            es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
            continue;
        }
        if (parsed) rc = es_fail(err, parsed, "%s", note.text);
        else if (grow(out, &room, &room_text, text.n))
            rc = es_fail(err, ES_ENOMEM, "not enough memory for %zu passages", out->n);
        if (rc) break;
        p.text_at = (uint32_t)out->n_text;
        if (text.n) memcpy(out->text + out->n_text, text.p, text.n);
        out->n_text += text.n;
        out->at[out->n++] = p;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}
