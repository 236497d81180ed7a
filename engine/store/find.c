/*
 * find.c - what a hit is: the passage itself, with its text and where it was seen.
 */
#define _GNU_SOURCE
#include "store/find.h"

#include <stdlib.h>
#include <string.h>

#include "store/index.h"

void es_found_done(es_found *f)
{
    if (!f) return;
    es_media_info_done(&f->media);
    free(f->text);
    *f = (es_found){0};
}

static int keep_text(es_found *out, const char *text, size_t n, es_err *err)
{
    out->text = malloc(n + 1);
    if (!out->text) return es_fail(err, ES_ENOMEM, "not enough memory for a text of %zu bytes", n);
    if (n) memcpy(out->text, text, n);
    out->text[n] = 0;
    out->bytes = n;
    return ES_OK;
}

static int read_passage(es_txn *x, es_found *out, es_err *err)
{
    es_key k = es_key_passage(out->media.content, out->id.track, out->id.number);
    es_passage p;
    es_bytes value, text;
    int rc = es_txn_get(x, ES_TABLE_PASSAGES, es_key_bytes(&k), &value, err);

    if (!rc) rc = es_record_read_passage(value, &p, &text, err);
    if (rc) return rc;
    out->start_ms = p.start_ms;
    out->end_ms = p.end_ms;
    out->speaker = p.speaker;
    memcpy(out->language, p.language, sizeof out->language);
    return keep_text(out, text.p, text.n, err);
}

/* A segment that stands for a passage. */
static int read_segment(es_txn *x, es_found *out, es_err *err)
{
    es_key k = es_key_segment(out->media.content, out->id.track, out->id.number);
    es_transcript t = {0};
    es_bytes value;
    int rc = es_txn_get(x, ES_TABLE_SEGMENTS, es_key_bytes(&k), &value, err);

    if (!rc) rc = es_record_read_segment(value, &t, err);
    if (!rc) {
        const es_segment *s = &t.segments[0];
        out->start_ms = s->start_ms;
        out->end_ms = s->end_ms;
        out->speaker = s->speaker;
        memcpy(out->language, s->language, sizeof out->language);
        rc = keep_text(out, t.text + s->text_at, s->text_bytes, err);
    }
    es_transcript_done(&t);
    return rc;
}

int es_store_passage(es_store *s, es_passage_id id, es_found *out, es_err *err)
{
    es_hash128 content = {{0}};
    es_stored r = {0};
    es_txn *x = NULL;
    es_bytes value;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_found){.id = id};
    if (rc) return rc;
    for (int i = 0; i < 8; i++) content.b[i] = (uint8_t)(id.media >> 8 * (7 - i)); /* as far as the key goes */
    es_key k = es_key_recording(content, id.track);
    rc = es_txn_get(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), &value, err);
    if (!rc) rc = es_record_read_recording(value, &r, err);
    if (!rc) {
        content = r.media.content;
        es_stored_done(&r);
        rc = es_inside_recording(s, x, content, &id.track, &r, err);
    }
    if (!rc) {
        out->media = r.media; /* owned by out from here on */
        es_made_done(&r.made);
        rc = r.n_passages ? read_passage(x, out, err) : read_segment(x, out, err);
    }
    if (rc == ES_ENOTFOUND)
        es_fail(err, rc, "%s: has no passage %u of the recording %016llx track %d", s->folder.dir, id.number,
                (unsigned long long)id.media, id.track);
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_found_done(out);
    return rc;
}
