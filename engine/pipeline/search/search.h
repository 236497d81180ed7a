/*
 * search.h - the query: passages that mean what is asked or have its words, ranked together.
 */
#ifndef ES_SEARCH_H
#define ES_SEARCH_H

#include "base/err.h"
#include "pipeline/search/embedding.h"
#include "pipeline/search/filter.h"
#include "store/find.h"

typedef enum es_search_mode { ES_SEARCH_FUSED, ES_SEARCH_MEANING, ES_SEARCH_WORDS } es_search_mode;

typedef struct es_search_wish {
    es_search_mode mode;
    es_where where;
    int k;       /* hits, at most; 0: 10 */
    int threads; /* of the CPU; 0: its cores */
} es_search_wish;

/* One hit; borrowed during the visit. */
typedef struct es_search_hit {
    int rank; /* from 1 */
    const es_found *found;
    const char *speaker;  /* as people call them; "" where nobody was looked for */
    const es_stretch *marks; /* words of the query in the text, in order */
    size_t n_marks;
    size_t best;   /* byte of the text at which the sentence begins that has most of the query's words; 0 where none has any */
    int64_t at_ms; /* when that is said */
    double score;
    int meaning_rank, words_rank; /* from 1; 0: not among the best there */
    double similarity, words_score;
} es_search_hit;

/* Returns 0 to go on. */
typedef int (*es_search_fn)(void *user, const es_search_hit *hit);

/* e: the encoder of the library's vectors (es_search_encoder), or NULL: then there are words alone, and a wish for meaning is
 * refused. ES_EARG for a query without anything in it. */
int es_search(es_store *s, es_embedding *e, const char *query, size_t bytes, const es_search_wish *wish, es_search_fn visit,
              void *user, es_err *err);
/* Passages near in meaning to the one at a moment, "FILE@12:34", which itself is left out. mode is not looked at. */
int es_search_similar(es_store *s, const char *moment, const es_search_wish *wish, es_search_fn visit, void *user, es_err *err);

/* The space that a search uses: the one with most vectors, of equal ones the first by hash. n_vectors 0: there is none. */
int es_search_space(es_store *s, es_text_space *out, es_err *err);
/* The encoder of that space, from a folder of packs: o->model names one, or the one that fits is found. ES_ENOTFOUND where the
 * library has no vectors or the pack is not there, ES_EMODEL where the one that was named makes others. */
int es_search_encoder(es_store *s, es_embedding **out, const es_embedding_options *o, es_err *err);
/* Notes that what e makes cannot be compared with what the library has, where that is so; e may be NULL. For ingest. */
void es_search_note_space(es_store *s, const es_embedding *e);

#endif
