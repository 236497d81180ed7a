/*
 * meaning.c - passages and their vectors: what joins passages.c, which knows no model, and embedding.c, which knows no
 * recording.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/search/meaning.h"

#include <stdlib.h>
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

int es_meaning_vectors(es_vectors *out, const es_passages *p, es_embedding *e, es_err *err)
{
    es_vectors v = {.space = es_embedding_space(e), .width = es_embedding_width(e), .n = p->n};
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
    if (rc == ES_OK) rc = es_embedding_texts(e, texts, bytes, p->n, false, v.rows, err);
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

int es_meaning_add(es_result *r, es_session *session, es_meaning_times *times, es_err *err)
{
    es_embedding *e = es_session_embedding(session);
    double began = seconds(), cut;
    int rc;

    es_passages_done(&r->passages);
    rc = es_meaning_cut(&r->passages, &r->transcript, e, err);
    cut = seconds();
    times->cut += cut - began;
    if (rc != ES_OK || !e || !es_embedding_has_tokens(e)) return rc;
    rc = es_meaning_vectors(&r->passages.vectors, &r->passages, e, err);
    times->vectors += seconds() - cut;
    if (rc == ES_OK) r->made.by[ES_STAGE_EMBEDDER] = es_embedding_maker(e);
    return rc;
}
