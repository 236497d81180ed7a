/*
 * fuzz_query.c - what people type and what models wrote: queries, times and names, and any text as passages.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/search/moment.h"
#include "pipeline/search/passages.h"
#include "pipeline/search/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void passages(const char *text, size_t n, bool as_word)
{
    const es_passage_rule rule = {.least = 8, .most = 32, .overlap = 6};
    es_segment s = {.start_ms = 0, .end_ms = 60000, .speaker = -1, .language = "en"};
    es_word w = {.start_ms = 0, .end_ms = 60000, .speaker = -1};
    es_transcript t = {0};
    es_passages p;

    if (es_transcript_add_segment(&t, &s, as_word ? "" : text, as_word ? 0 : n, NULL, 0)) abort();
    if (as_word && es_transcript_add_word(&t, &w, text, n)) abort();
    if (es_passages_cut(&p, &t, &rule, NULL) != ES_OK) abort();
    for (size_t i = 0; i < p.n; i++) {
        assert(p.at[i].text_bytes > 0 && (size_t)p.at[i].text_at + p.at[i].text_bytes <= p.n_text);
        assert(p.at[i].start_ms <= p.at[i].end_ms && p.at[i].n_segments == 1);
        assert(i == 0 || p.at[i].start_ms >= p.at[i - 1].start_ms);
    }
    es_passages_done(&p);
    es_transcript_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *telling = malloc(2 * n + 1), name[64];
    es_query_piece piece;
    es_bound bound;
    int64_t ms;
    size_t at = 0;

    if (!text || !telling) abort();
    memcpy(text, data, n);
    text[n] = 0;
    while (es_query_next(&piece, text, n, &at)) assert(piece.bytes > 0 && piece.text + piece.bytes <= text + n);
    assert(es_query_telling(telling, text, n) <= 2 * n);
    es_moment_bound(&bound, text, "--after", NULL);
    es_moment_split(name, sizeof name, &ms, text, NULL);
    es_moment_distance(text, "Anna");
    passages(text, n, false);
    passages(text, n, true);
    free(telling);
    free(text);
    return 0;
}
