/*
 * index.c - what leads from a word to the passages it is in: made with a recording, undone with it.
 *
 * Each word of a passage makes two entries. As it is written (folded) it goes, with its place, where phrases and
 * beginnings of words are looked up; its stem goes, without one, where single words are. Stems are kept apart by
 * language: a query is stemmed by each of them and meets in each only texts that were stemmed alike, and a word of a
 * passage counts once. Pairs of letters of scripts without blanks are entered as written alone.
 *
 *   1, word         all words and pairs as written, with places
 *   16 + n, stem    stems of the language n (text/terms.h), without
 *
 * The terms of a recording are listed in the table `terms`, with a hash over their lists: removing does not depend on
 * splitting the texts again, by another libstemmer perhaps, and damage that still parses is found.
 */
#define _GNU_SOURCE
#include "store/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/postings.h"

/* ---- keys and totals ---- */

size_t es_index_key(uint8_t out[ES_INDEX_KEY_BYTES], es_bytes term, es_bytes recording)
{
    assert(term.n + 1 + recording.n <= ES_INDEX_KEY_BYTES);
    memcpy(out, term.p, term.n);
    out[term.n] = 0;
    if (recording.n) memcpy(out + term.n + 1, recording.p, recording.n);
    return term.n + 1 + recording.n;
}

bool es_index_split(es_bytes key, es_bytes *term, es_bytes *recording)
{
    const uint8_t *p = key.p;
    size_t n = key.n;

    if (n < 1 + 1 + 1 + RECORDING_BYTES || p[n - RECORDING_BYTES - 1] != 0) return false;
    *term = (es_bytes){p, n - RECORDING_BYTES - 1};
    *recording = (es_bytes){p + n - RECORDING_BYTES, RECORDING_BYTES};
    return !memchr(p, 0, term->n);
}

int es_index_totals(es_txn *x, es_totals *out, es_err *err)
{
    es_key k = es_key_totals();
    es_bytes value;
    int rc = es_txn_get(x, ES_TABLE_META, es_key_bytes(&k), &value, err);

    *out = (es_totals){0};
    if (rc) return rc == ES_ENOTFOUND ? ES_OK : rc;
    return es_record_read_totals(value, out, err);
}

static int put_totals(es_txn *x, es_record *r, const es_totals *t, es_err *err)
{
    es_key k = es_key_totals();
    int rc;

    if (!t->passages) {
        rc = es_txn_delete(x, ES_TABLE_META, es_key_bytes(&k), err);
        return rc == ES_ENOTFOUND ? ES_OK : rc;
    }
    rc = es_record_write_totals(r, t, err);
    return rc ? rc : es_inside_put_record(x, ES_TABLE_META, k, r, err);
}

/* ---- the terms of a recording, gathered ---- */

typedef struct term {
    uint32_t at, n; /* of its bytes in `bytes`, the kind's byte first */
    uint32_t count;
    size_t first; /* of its postings once they are sorted */
} term;

typedef struct occurrence {
    uint32_t term;
    es_posting where;
} occurrence;

typedef struct gathering {
    es_terms *splitter;
    uint32_t passage;
    int language;
    uint32_t n_words; /* of the passage so far */
    char *bytes;
    size_t n_bytes, room_bytes;
    term *terms;
    uint32_t n_terms, room_terms;
    uint32_t *slots; /* a power of two of them: 1 + the number of a term, 0 empty */
    uint32_t n_slots;
    occurrence *found;
    size_t n_found, room_found;
} gathering;

static void gathering_done(gathering *g)
{
    es_terms_close(g->splitter);
    free(g->bytes);
    free(g->terms);
    free(g->slots);
    free(g->found);
}

/* Room for one more item; the array, possibly moved, or NULL with the old one as it was. */
static void *grown(void *p, size_t n, size_t more, size_t *room, size_t bytes)
{
    size_t want = *room ? *room : 256;
    void *moved;

    if (p && n + more <= *room) return p;
    while (want < n + more) want *= 2;
    moved = realloc(p, want * bytes);
    if (moved) *room = want;
    return moved;
}

/* FNV-1a: short keys, and nothing depends on it but the time it takes. */
static uint32_t hash_of(const char *p, size_t n)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)p[i]) * 16777619u;
    return h;
}

static int rehash(gathering *g)
{
    uint32_t n = g->n_slots ? 2 * g->n_slots : 1024;
    uint32_t *slots = calloc(n, sizeof *slots);

    if (!slots) return -1;
    for (uint32_t i = 0; i < g->n_terms; i++) {
        uint32_t at = hash_of(g->bytes + g->terms[i].at, g->terms[i].n) & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = i + 1;
    }
    free(g->slots);
    g->slots = slots;
    g->n_slots = n;
    return 0;
}

/* The number of the term, new or known; -1 when memory is out. */
static int64_t number_of(gathering *g, const char *p, size_t n)
{
    size_t room = g->room_terms;
    uint32_t at;
    void *moved;

    if (g->n_terms >= g->n_slots / 2 && rehash(g)) return -1;
    for (at = hash_of(p, n) & (g->n_slots - 1); g->slots[at]; at = (at + 1) & (g->n_slots - 1)) {
        const term *t = &g->terms[g->slots[at] - 1];
        if (t->n == n && !memcmp(g->bytes + t->at, p, n)) return g->slots[at] - 1;
    }
    if (g->n_bytes > UINT32_MAX - n || g->n_terms == UINT32_MAX / 2) return -1;
    moved = grown(g->bytes, g->n_bytes, n, &g->room_bytes, 1);
    if (!moved) return -1;
    g->bytes = moved;
    moved = grown(g->terms, g->n_terms, 1, &room, sizeof *g->terms);
    if (!moved) return -1;
    g->terms = moved;
    g->room_terms = (uint32_t)room;
    memcpy(g->bytes + g->n_bytes, p, n);
    g->terms[g->n_terms] = (term){.at = (uint32_t)g->n_bytes, .n = (uint32_t)n};
    g->n_bytes += n;
    g->slots[at] = ++g->n_terms;
    return g->n_terms - 1;
}

static int add(gathering *g, int kind, const char *text, size_t n, uint32_t position)
{
    char key[1 + ES_TERM_BYTES];
    int64_t number;
    occurrence *moved;

    key[0] = (char)kind;
    memcpy(key + 1, text, n);
    number = number_of(g, key, n + 1);
    moved = number < 0 ? NULL : grown(g->found, g->n_found, 1, &g->room_found, sizeof *g->found);
    if (!moved) return ES_ENOMEM;
    g->found = moved;
    g->found[g->n_found++] = (occurrence){(uint32_t)number, {g->passage, position}};
    g->terms[number].count++;
    return ES_OK;
}

static int gather_term(void *user, const es_term *t)
{
    gathering *g = user;
    size_t n;
    int rc = add(g, ES_INDEX_WRITTEN, t->text, t->n, t->position);

    g->n_words = t->position + 1;
    if (rc || t->kind != ES_TERM_WORD) return rc;
    const char *stem = es_terms_stem(g->splitter, g->language, t->text, t->n, &n);
    return add(g, ES_INDEX_STEMS + g->language, stem, n, t->position);
}

/* The postings side by side by term, in the order in which they were found; NULL when memory is out. */
static es_posting *sort_found(gathering *g)
{
    es_posting *p = malloc((g->n_found ? g->n_found : 1) * sizeof *p);
    size_t at = 0;

    if (!p) return NULL;
    for (uint32_t i = 0; i < g->n_terms; i++) {
        g->terms[i].first = at;
        at += g->terms[i].count;
    }
    for (size_t i = 0; i < g->n_found; i++) p[g->terms[g->found[i].term].first++] = g->found[i].where;
    for (uint32_t i = 0; i < g->n_terms; i++) g->terms[i].first -= g->terms[i].count;
    return p;
}

static int by_bytes(const void *a, const void *b)
{
    const es_bytes *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* ---- written ---- */

/* All lists of a recording, in the order of their terms, and the record that lists these. order: room for the terms. */
static int write_lists(gathering *g, const es_posting *p, const uint32_t *lengths, es_bytes *order, es_record *r,
                       es_index_sink *sink, uint64_t *hash, es_err *err)
{
    es_hasher *all = es_hasher_open();
    int rc = all ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory to index a recording");

    for (uint32_t i = 0; i < g->n_terms; i++) order[i] = (es_bytes){g->bytes + g->terms[i].at, g->terms[i].n};
    if (g->n_terms) qsort(order, g->n_terms, sizeof *order, by_bytes);
    for (uint32_t i = 0; !rc && i < g->n_terms; i++) {
        const term *t = &g->terms[number_of(g, order[i].p, order[i].n)];
        rc = es_postings_write(r, p + t->first, t->count, *(const char *)order[i].p == ES_INDEX_WRITTEN, lengths, err);
        if (rc) break;
        es_hasher_add(all, order[i].p, order[i].n);
        es_hasher_add(all, r->p, r->n);
        rc = sink->list(sink->user, order[i], (es_bytes){r->p, r->n}, err);
    }
    if (!rc) *hash = es_hash_id(es_hasher_value(all));
    es_hasher_close(all);
    return rc;
}

int es_index_make(const es_index_text *texts, uint32_t n, es_outline_row *rows, es_record *r, es_index_sink *sink,
                  es_err *err)
{
    gathering g = {.splitter = es_terms_open()};
    uint32_t *lengths = malloc((n ? n : 1) * sizeof *lengths);
    es_posting *p = NULL;
    es_bytes *order = NULL;
    uint64_t hash = 0;
    int rc = g.splitter && lengths ? ES_OK : ES_ENOMEM;

    for (uint32_t i = 0; !rc && i < n; i++) {
        g.passage = i;
        g.language = es_terms_language(rows[i].language);
        g.n_words = 0;
        rc = es_terms_split(texts[i].p, texts[i].n, gather_term, &g);
        rows[i].n_words = lengths[i] = g.n_words;
    }
    if (!rc && rehash(&g)) rc = ES_ENOMEM; /* also where there is not one term */
    if (!rc) p = sort_found(&g);
    if (!rc) order = malloc((g.n_terms ? g.n_terms : 1) * sizeof *order);
    if (rc || !p || !order) rc = es_fail(err, ES_ENOMEM, "not enough memory to index %u passages", n);
    if (!rc) rc = write_lists(&g, p, lengths, order, r, sink, &hash, err);
    if (!rc) rc = es_record_write_terms(r, order, g.n_terms, hash, err);
    if (!rc) rc = sink->terms(sink->user, (es_bytes){r->p, r->n}, err);
    gathering_done(&g);
    free(lengths);
    free(p);
    free(order);
    return rc;
}

typedef struct writing {
    es_txn *x;
    es_bytes recording;
} writing;

static int put_list(void *user, es_bytes term_bytes, es_bytes list, es_err *err)
{
    writing *w = user;
    uint8_t key[ES_INDEX_KEY_BYTES];
    size_t n = es_index_key(key, term_bytes, w->recording);

    return es_txn_put(w->x, ES_TABLE_WORDS, (es_bytes){key, n}, list, err);
}

static int put_terms(void *user, es_bytes record, es_err *err)
{
    writing *w = user;

    return es_txn_put(w->x, ES_TABLE_TERMS, w->recording, record, err);
}

int es_index_put(es_txn *x, es_record *r, es_bytes recording, const es_index_text *texts, es_outline_row *rows,
                 uint32_t n, bool segments, es_err *err)
{
    writing w = {.x = x, .recording = recording};
    es_index_sink sink = {.list = put_list, .terms = put_terms, .user = &w};
    es_totals totals;
    int rc = es_index_totals(x, &totals, err);

    if (rc || !n) return rc;
    rc = es_index_make(texts, n, rows, r, &sink, err);
    if (!rc) rc = es_record_write_outline(r, rows, n, segments, err);
    if (!rc) rc = es_txn_put(x, ES_TABLE_OUTLINES, recording, (es_bytes){r->p, r->n}, err);
    totals.passages += n;
    for (uint32_t i = 0; i < n; i++) totals.words += rows[i].n_words;
    return rc ? rc : put_totals(x, r, &totals, err);
}

/* ---- undone ---- */

static int delete_list(void *user, es_bytes term_bytes)
{
    writing *w = user;
    uint8_t key[ES_INDEX_KEY_BYTES];
    int rc;

    if (term_bytes.n > 1 + ES_TERM_BYTES) return ES_EFORMAT;
    rc = es_txn_delete(w->x, ES_TABLE_WORDS, (es_bytes){key, es_index_key(key, term_bytes, w->recording)}, NULL);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* Where the list of a recording's terms is lost, every key of the table is asked whose it is. */
static int delete_searching(es_txn *x, es_bytes recording, es_err *err)
{
    uint8_t at[512];
    size_t n = 0;
    int rc;

    for (;;) { /* a cursor is not kept over a write */
        es_cursor *c = NULL;
        es_bytes key, value, t, whose;
        bool found = false;
        rc = es_cursor_open(&c, x, ES_TABLE_WORDS, err);
        if (rc) return rc;
        for (rc = es_cursor_seek(c, (es_bytes){at, n}, &key, &value, err); rc == ES_OK && !found;) {
            found = key.n <= sizeof at && es_index_split(key, &t, &whose) && !memcmp(whose.p, recording.p, whose.n);
            if (found) memcpy(at, key.p, n = key.n);
            else rc = es_cursor_next(c, &key, &value, err);
        }
        es_cursor_close(c);
        if (!found) return rc == ES_ENOTFOUND ? ES_OK : rc;
        rc = es_txn_delete(x, ES_TABLE_WORDS, (es_bytes){at, n}, err);
        if (rc) return rc;
    }
}

/* One recording's, of which there is a record of terms. */
static int delete_one(es_txn *x, es_record *r, es_bytes recording, es_bytes terms, es_err *err)
{
    writing w = {.x = x, .recording = recording};
    uint8_t *copy = malloc(terms.n);
    es_outline o;
    es_totals totals;
    es_bytes value;
    uint64_t hash;
    uint32_t n;
    es_err note = {0};
    int rc = copy ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory to remove a recording from the index");

    if (rc) return rc;
    memcpy(copy, terms.p, terms.n); /* what LMDB lends ends with the first write */
    rc = es_record_read_terms((es_bytes){copy, terms.n}, &hash, &n, delete_list, &w, &note);
    if (rc == ES_EFORMAT) {
        es_log(ES_LOG_WARN, "%s; the whole index is searched", note.text);
        rc = delete_searching(x, recording, err);
    } else if (rc) {
        es_fail(err, rc, "%s", note.text[0] ? note.text : "the index cannot be written");
    }
    free(copy);
    if (!rc) rc = es_txn_delete(x, ES_TABLE_TERMS, recording, err);
    if (!rc) rc = es_index_totals(x, &totals, err);
    if (rc) return rc;
    rc = es_txn_get(x, ES_TABLE_OUTLINES, recording, &value, err);
    if (!rc && es_record_read_outline(value, &o, true, NULL) == ES_OK) {
        totals.passages -= o.n < totals.passages ? o.n : totals.passages;
        for (uint32_t i = 0; i < o.n; i++) {
            uint32_t words = es_outline_at(&o, i).n_words;
            totals.words -= words < totals.words ? words : totals.words;
        }
    }
    if (!rc) rc = es_txn_delete(x, ES_TABLE_OUTLINES, recording, err);
    if (!rc || rc == ES_ENOTFOUND) rc = put_totals(x, r, &totals, err);
    return rc;
}

int es_index_delete(es_txn *x, es_record *r, es_bytes prefix, es_err *err)
{
    for (;;) {
        es_cursor *c = NULL;
        es_bytes key, value;
        uint8_t recording[RECORDING_BYTES];
        int rc = es_cursor_open(&c, x, ES_TABLE_TERMS, err);
        if (rc) return rc;
        rc = es_cursor_seek(c, prefix, &key, &value, err);
        es_cursor_close(c);
        if (rc || !es_key_starts(key, prefix)) return rc == ES_ENOTFOUND ? ES_OK : rc;
        if (key.n != sizeof recording) return es_fail(err, ES_EFORMAT, "a key of the table terms has %zu bytes", key.n);
        memcpy(recording, key.p, sizeof recording);
        rc = delete_one(x, r, (es_bytes){recording, sizeof recording}, value, err);
        if (rc) return rc;
    }
}
