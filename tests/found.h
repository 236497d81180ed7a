/*
 * found.h - libraries of passages for the tests of search in the store, and what a query finds in them.
 */
#ifndef ES_TEST_FOUND_H
#define ES_TEST_FOUND_H

#include "library.h"

#include "store/find.h"

typedef struct said {
    int seed; /* the recording */
    const char *language, *text;
} said;

static inline void add_passage(es_result *r, const char *language, const char *text, size_t n, int speaker)
{
    es_passages *p = &r->passages;
    es_passage *at;

    p->at = realloc(p->at, (p->n + 1) * sizeof *p->at);
    p->text = realloc(p->text, p->n_text + n + 1);
    at = &p->at[p->n];
    *at = (es_passage){.start_ms = 1000 * (int64_t)p->n,
                       .end_ms = 1000 * (int64_t)p->n + 900,
                       .speaker = speaker,
                       .text_at = (uint32_t)p->n_text,
                       .text_bytes = (uint32_t)n};
    snprintf(at->language, sizeof at->language, "%s", language);
    if (n) memcpy(p->text + p->n_text, text, n);
    p->n_text += n;
    p->n++;
}

/* Consecutive ones with the same seed make one recording. */
static inline void put_said(es_store *s, const said *all, size_t n)
{
    for (size_t i = 0, to; i < n; i = to) {
        char path[64];
        es_err err = {0};
        snprintf(path, sizeof path, "/said/%d.wav", all[i].seed);
        es_result r = make_result(all[i].seed, 1, path);
        for (to = i; to < n && all[to].seed == all[i].seed; to++)
            add_passage(&r, all[to].language, all[to].text, strlen(all[to].text), (int)(to - i) % 3);
        CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
        es_result_done(&r);
    }
}

/* The hits of a query as "seed:number seed:number", and whether their texts can be read. */
static const char *hits_of(es_store *s, const char *query, size_t k)
{
    static char text[2000];
    es_hit *hits = calloc(k + 1, sizeof *hits);
    size_t n = 0;
    es_err err = {0};

    text[0] = 0;
    CHECK(es_store_find_words(s, query, strlen(query), NULL, k, hits, &n, &err) == ES_OK, "%s", err.text);
    for (size_t i = 0; i < n; i++) {
        int seed;
        size_t at = strlen(text);
        es_found f;
        for (seed = 0; seed < 100 && es_hash_id(content_of(seed)) != hits[i].id.media; seed++) {}
        snprintf(text + at, sizeof text - at, "%s%d:%u", i ? " " : "", seed, hits[i].id.number);
        CHECK(es_store_passage(s, hits[i].id, &f, &err) == ES_OK && f.text && strlen(f.text) >= 1, "%s", err.text);
        es_found_done(&f);
    }
    free(hits);
    return text;
}

#endif
