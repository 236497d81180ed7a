/*
 * meaning.c - passages and their vectors: what joins passages.c, which knows no model, and embedding.c, which knows no
 * recording.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/search/meaning.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline/search/passages.h"

/* Left free below what the model takes: its frame, and what a passage as a whole may have more than its words together. */
enum { SPARE_TOKENS = 8 };

typedef struct counter {
    const es_embedding *e;
    es_err err;
} counter;

static size_t count_tokens(void *user, const char *text, size_t bytes)
{
    counter *c = user;
    size_t n = 0;

    return es_embedding_tokenize(c->e, text, bytes, NULL, 0, &n, &c->err) == ES_OK ? n : SIZE_MAX;
}

int es_meaning_cut(es_passages *out, const es_transcript *t, const es_embedding *e, es_err *err)
{
    counter c = {.e = e};
    es_passage_rule rule = {0};

    if (e && es_embedding_has_tokens(e)) {
        int takes = es_embedding_takes(e) - SPARE_TOKENS;
        rule.count = count_tokens;
        rule.user = &c;
        if (takes > 0 && takes < 256) rule.most = takes;
    }
    return es_passages_cut(out, t, &rule, err);
}

/* Vectors on their way: those before `done` are there. */
typedef struct work {
    es_vectors *v;
    size_t done, from; /* from: where this run began */
    bool gap;
    es_kept *kept;
} work;

static int take_rows(void *user, es_journal_entry *e, es_err *err)
{
    work *k = user;

    (void)err;
    k->gap = k->gap || e->number != k->done || (int)e->width != k->v->width || e->n > k->v->n - k->done;
    if (k->gap) return ES_OK;
    memcpy(k->v->rows + k->done * (size_t)k->v->width, e->rows, (size_t)e->n * e->width * sizeof *e->rows);
    k->done += e->n;
    return ES_OK;
}

/* After each step of the encoder: n of the texts that it was given are done. */
static int keep_rows(void *user, size_t n, es_err *err)
{
    work *k = user;
    es_journal_entry e = {.kind = ES_JOURNAL_TEXTS,
                          .number = (uint32_t)k->done,
                          .n = (uint32_t)(k->from + n - k->done),
                          .width = (uint32_t)k->v->width,
                          .rows = k->v->rows + k->done * (size_t)k->v->width};

    if (!e.n) return ES_OK;
    k->done += e.n;
    return es_kept_add(k->kept, &e, err);
}

/* What vectors depend on beside the encoder: the texts, and where it computes. */
static int take_up(work *k, const es_passages *p, const es_embedding *e, es_err *err)
{
    es_hasher *h = es_hasher_open();
    es_hash128 of;
    int rc;

    if (!h) return es_fail(err, ES_ENOMEM, "not enough memory for the vectors of %zu passages", p->n);
    for (size_t i = 0; i < p->n; i++) es_hasher_add(h, &p->at[i].text_bytes, sizeof p->at[i].text_bytes);
    if (p->n_text) es_hasher_add(h, p->text, p->n_text);
    if (!es_embedding_on_cpu(e)) es_hasher_add(h, es_embedding_device_name(e), strlen(es_embedding_device_name(e)));
    of = es_hasher_value(h);
    es_hasher_close(h);
    rc = es_kept_read(k->kept, ES_JOURNAL_TEXTS, of.b, sizeof of.b, take_rows, k, err);
    if (rc == ES_OK) es_kept_took(k->kept, ES_JOURNAL_TEXTS, (int64_t)k->done, (int64_t)p->n);
    k->from = k->done;
    return rc;
}

int es_meaning_vectors(es_vectors *out, const es_passages *p, es_embedding *e, es_kept *kept, es_meaning_times *times, es_err *err)
{
    es_vectors v = {.space = es_embedding_space(e), .width = es_embedding_width(e), .n = p->n};
    work k = {.v = &v, .kept = kept};
    const char **texts = NULL;
    size_t *bytes = NULL;
    int rc = ES_OK;

    es_vectors_done(out);
    if (!p->n) return ES_OK;
    texts = malloc(p->n * sizeof *texts);
    bytes = malloc(p->n * sizeof *bytes);
    v.rows = malloc(p->n * (size_t)v.width * sizeof *v.rows);
    if (!texts || !bytes || !v.rows) rc = es_fail(err, ES_ENOMEM, "not enough memory for the vectors of %zu passages", p->n);
    for (size_t i = 0; i < p->n && rc == ES_OK; i++) {
        texts[i] = p->text + p->at[i].text_at;
        bytes[i] = p->at[i].text_bytes;
    }
    if (rc == ES_OK && kept) rc = es_embedding_ready(e, err);
    if (rc == ES_OK && kept) rc = take_up(&k, p, e, err);
    if (rc == ES_OK && k.from < p->n) {
        es_embedding_watch(e, kept ? keep_rows : NULL, &k);
        rc = es_embedding_texts(e, texts + k.from, bytes + k.from, p->n - k.from, false,
                                v.rows + k.from * (size_t)v.width, err);
        es_embedding_watch(e, NULL, NULL);
    }
    if (rc == ES_OK && times) times->computed += (int64_t)(p->n - k.from);
    if (rc == ES_OK) {
        *out = v;
        v.rows = NULL; /* the caller's from here on */
    }
    free(v.rows);
    free(texts);
    free(bytes);
    return rc;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int es_meaning_add(es_result *r, es_session *session, es_kept *kept, es_meaning_times *times, es_err *err)
{
    es_embedding *e = es_session_embedding(session);
    double began = seconds(), cut;
    int rc;

    es_passages_done(&r->passages);
    rc = es_meaning_cut(&r->passages, &r->transcript, e, err);
    cut = seconds();
    times->cut += cut - began;
    if (rc != ES_OK || !e || !es_embedding_has_tokens(e)) return rc;
    rc = es_meaning_vectors(&r->passages.vectors, &r->passages, e, kept, times, err);
    times->vectors += seconds() - cut;
    if (rc == ES_OK) r->made.by[ES_STAGE_EMBEDDER] = es_embedding_maker(e);
    return rc;
}
