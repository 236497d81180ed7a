/*
 * spaces.c - the spaces of passages' vectors: which there are, and how a library goes from one to another.
 *
 * Each step is a transaction that leaves the library whole, so that embedding it anew can be cut off and taken up: a
 * recording that has its new vectors names the new space, the others the old one, and both are searched as long as they
 * are there. Vectors in a space that no recording names are in order too; dropping a space first takes the names away
 * and then the vectors, a few at a time, since a transaction keeps what it changes in memory.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "store/find.h"
#include "store/index.h"

enum { DROP_KEYS = 256, MEDIA_AT = 18 };

/* ---- what there is ---- */

/* Counts the vectors of one space, without looking at more than their heads. */
static int count_space(es_txn *x, es_text_space *out, es_err *err)
{
    es_key prefix = es_key_space(ES_USE_PASSAGES, out->space);
    es_cursor *c = NULL;
    es_bytes key, value;
    uint8_t last[RECORDING_BYTES] = {0};
    int rc = es_cursor_open(&c, x, ES_TABLE_VECTORS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        es_rows r;
        const uint8_t *recording = (const uint8_t *)key.p + MEDIA_AT;
        if (key.n != MEDIA_AT + RECORDING_BYTES + 4 || es_record_read_vectors(value, &r, false, NULL)) continue;
        if (!out->n_recordings || memcmp(last, recording, sizeof last)) out->n_recordings++;
        memcpy(last, recording, sizeof last);
        out->n_vectors += r.n;
        out->width = (int)r.width;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

int es_store_spaces(es_store *s, int (*visit)(void *user, const es_text_space *space), void *user, es_err *err)
{
    es_hash128 at = {{0}};
    int rc = ES_OK;

    for (bool more = true; more && !rc; more = es_hash_step(&at)) { /* no transaction is open while visit works */
        es_text_space space = {.n_vectors = 0};
        es_txn *x = NULL;
        rc = es_inside_begin(s, false, &x, err);
        if (rc) return rc;
        rc = es_inside_next_space(x, ES_USE_PASSAGES, &at, err);
        space.space = at;
        if (!rc) rc = count_space(x, &space, err);
        rc = es_inside_end(s, x, rc, err);
        if (!rc) rc = visit(user, &space);
    }
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

int es_store_has_vectors(es_store *s, es_hash128 content, int track, es_hash128 space, bool *has, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    es_bytes value;
    es_rows rows;
    uint64_t n = 0;
    int rc = es_inside_begin(s, false, &x, err);

    *has = false;
    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &r, err);
    if (!rc) {
        es_key recording = es_key_recording(content, track);
        for (uint32_t part = 0; !rc; part++) {
            es_key k = es_key_vectors(ES_USE_PASSAGES, space, es_key_bytes(&recording), part);
            rc = es_txn_get(x, ES_TABLE_VECTORS, es_key_bytes(&k), &value, err);
            if (!rc && es_record_read_vectors(value, &rows, false, NULL) == ES_OK) n += rows.n;
        }
        if (rc == ES_ENOTFOUND) rc = ES_OK;
        *has = r.n_passages && n == r.n_passages;
        es_stored_done(&r);
    }
    return es_inside_end(s, x, rc, err);
}

/* ---- from one to another ---- */

static int put_recording(es_txn *x, es_record *r, const es_stored *of, es_err *err)
{
    int rc = es_record_write_recording(r, of, err);

    return rc ? rc
              : es_inside_put_record(x, ES_TABLE_RECORDINGS, es_key_recording(of->media.content, of->media.track), r,
                                     err);
}

int es_store_put_vectors(es_store *s, es_hash128 content, int track, const es_vectors *v, const es_maker *maker,
                         es_err *err)
{
    es_stored of;
    es_record r = {0};
    es_txn *x = NULL;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &of, err);
    if (!rc) {
        es_key recording = es_key_recording(content, track);
        es_key old = es_key_vectors(ES_USE_PASSAGES, v->space, es_key_bytes(&recording), 0);
        old.n -= 4;
        of.made.by[ES_STAGE_EMBEDDER] = *maker;
        of.text_space = v->space;
        if (v->n != of.n_passages || !v->n)
            rc = es_fail(err, ES_EARG, "%zu vectors for a recording of %u passages", v->n, of.n_passages);
        if (!rc) rc = es_inside_check_unit(v, err);
        if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_VECTORS, es_key_bytes(&old), NULL, err);
        if (!rc) rc = es_inside_put_vectors(x, &r, ES_USE_PASSAGES, es_key_bytes(&recording), v, err);
        if (!rc) rc = put_recording(x, &r, &of, err);
        es_stored_done(&of);
    }
    rc = es_inside_end(s, x, rc, err);
    free(r.p);
    return rc;
}

int es_store_put_passages(es_store *s, es_hash128 content, int track, const es_passages *p, const es_maker *maker,
                          es_err *err)
{
    es_stored of;
    es_record r = {0};
    es_transcript t = {0};
    es_txn *x = NULL;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &of, err);
    if (!rc) {
        es_key recording = es_key_recording(content, track);
        es_bytes key = es_key_bytes(&recording);
        of.made.by[ES_STAGE_EMBEDDER] = *maker;
        of.text_space = p->vectors.n ? p->vectors.space : (es_hash128){{0}};
        of.n_passages = (uint32_t)p->n;
        rc = es_index_delete(x, &r, key, err);
        if (!rc) rc = es_inside_delete_vectors(x, ES_USE_PASSAGES, key, err);
        if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_PASSAGES, key, NULL, err);
        if (!rc) rc = es_inside_put_passages(x, &r, content, track, p, err);
        if (!rc) rc = es_inside_get_segments(x, content, track, &t, err);
        if (!rc) rc = es_inside_put_index(x, &r, content, track, p, &t, err);
        if (!rc) rc = put_recording(x, &r, &of, err);
        es_transcript_done(&t);
        es_stored_done(&of);
    }
    rc = es_inside_end(s, x, rc, err);
    free(r.p);
    return rc;
}

/* The next recording at or behind *at that names the space; *at moves behind it. ES_ENOTFOUND without a sentence. */
static int next_naming(es_txn *x, es_hash128 space, es_key *at, es_stored *out, es_err *err)
{
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_RECORDINGS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(at), &key, &value, err); rc == ES_OK;
         rc = es_cursor_next(c, &key, &value, err)) {
        if (key.n != RECORDING_BYTES || es_record_read_recording(value, out, NULL)) continue; /* check tells of it */
        if (!memcmp(out->text_space.b, space.b, sizeof space.b)) break;
        es_stored_done(out);
    }
    if (!rc) {
        memcpy(at->b, key.p, key.n);
        at->b[key.n] = 0;
        at->n = key.n + 1;
    }
    es_cursor_close(c);
    return rc;
}

static int take_names(es_store *s, es_hash128 space, es_err *err)
{
    es_key at = {.b = {0}, .n = 1};
    es_record r = {0};
    es_txn *x = NULL;
    es_stored of;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    while ((rc = next_naming(x, space, &at, &of, err)) == ES_OK) {
        of.text_space = (es_hash128){{0}};
        of.made.by[ES_STAGE_EMBEDDER] = (es_maker){.name = ""};
        rc = put_recording(x, &r, &of, err);
        es_stored_done(&of);
        if (rc) break;
    }
    free(r.p);
    return es_inside_end(s, x, rc == ES_ENOTFOUND ? ES_OK : rc, err);
}

int es_store_drop_space(es_store *s, es_hash128 space, es_err *err)
{
    es_key prefix = es_key_space(ES_USE_PASSAGES, space);
    int rc = take_names(s, space, err);

    for (bool more = true; more && !rc;) {
        es_txn *x = NULL;
        rc = es_inside_begin(s, true, &x, err);
        if (rc) return rc;
        for (int i = 0; i < DROP_KEYS && more && !rc; i++) {
            es_cursor *c = NULL;
            es_bytes key, value;
            es_key k = {.n = 0};
            rc = es_cursor_open(&c, x, ES_TABLE_VECTORS, err);
            if (rc) break;
            rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
            more = !rc && es_key_starts(key, es_key_bytes(&prefix)) && key.n <= sizeof k.b;
            if (more) memcpy(k.b, key.p, k.n = key.n);
            es_cursor_close(c);
            if (rc == ES_ENOTFOUND) rc = ES_OK;
            if (more) rc = es_txn_delete(x, ES_TABLE_VECTORS, es_key_bytes(&k), err);
        }
        rc = es_inside_end(s, x, rc, err);
    }
    return rc;
}
