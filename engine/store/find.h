/*
 * find.h - passages found by the words in them, or by vectors near one.
 *
 * A passage is known by its recording and its number there. Where a recording has no passages, its segments stand for
 * them. Both searches are exact: what comes out are the k best of all passages that the filter lets through, the better
 * score first, and of equal scores the smaller id; the same on any number of threads and any processor.
 */
#ifndef ES_FIND_H
#define ES_FIND_H

#include "store/store.h"

typedef struct es_passage_id {
    uint64_t media; /* es_hash_id() of the content */
    int track;
    uint32_t number;
} es_passage_id;

typedef struct es_hit {
    es_passage_id id;
    float score;
} es_hit;

/* What is known of a passage before its text is read. */
typedef struct es_glance {
    es_passage_id id;
    int64_t start_ms, end_ms;
    int speaker; /* index in the recording, -1 unknown */
    char language[8];
} es_glance;

/* Which passages may be found; NULL where all may. Called from the thread that searches, on recordings in no particular
 * order; they must not use the store. A passage is asked for only when its recording passed. */
typedef struct es_filter {
    bool (*recording)(void *user, uint64_t media, int track);
    bool (*passage)(void *user, const es_glance *passage);
    void *user;
} es_filter;

/* Ranked by BM25 (k1 1.2, b 0.75) over the whole library. A query is words, of which any may occur, compared by their
 * stems; "a phrase" in quotes, which must occur as it is written; and a beginning* of words. hits: room for k; *n: how
 * many were found, 0 also for a query without a word. filter may be NULL. */
int es_store_find_words(es_store *s, const char *query, size_t bytes, const es_filter *filter, size_t k, es_hit *hits,
                        size_t *n, es_err *err);

/* Ranked by the inner product with query, of `width` numbers, over the passages' vectors in one space. threads: how
 * many may be used, 0 one for each processor. ES_EARG where the space has another width. */
int es_store_find_vectors(es_store *s, es_hash128 space, const float *query, int width, const es_filter *filter,
                          int threads, size_t k, es_hit *hits, size_t *n, es_err *err);

/* The parts of a text that a query's words match, in order; spans: room for `room`. Returns how many there are. */
typedef struct es_stretch {
    size_t from, to; /* bytes */
} es_stretch;
size_t es_find_marks(const char *query, size_t bytes, const char *text, size_t n, const char *language, es_stretch *spans,
                     size_t room);

/* A passage with its text, its neighbours' numbers aside: what a hit shows. */
typedef struct es_found {
    es_media_info media; /* path: the first in the order of bytes; NULL where none is known */
    es_passage_id id;
    int64_t start_ms, end_ms;
    int speaker;
    char language[8];
    char *text; /* UTF-8, with a NUL at its end; owned */
    size_t bytes;
} es_found;
int es_store_passage(es_store *s, es_passage_id id, es_found *out, es_err *err); /* ES_ENOTFOUND */
void es_found_done(es_found *f);                                                 /* accepts NULL */

/* ---- spaces of passages' vectors ---- */

typedef struct es_text_space {
    es_hash128 space; /* data hash of the pack */
    int width;
    uint64_t n_vectors, n_recordings;
} es_text_space;
/* In the order of their hashes; visit returns 0 to go on. */
int es_store_spaces(es_store *s, int (*visit)(void *user, const es_text_space *space), void *user, es_err *err);
/* Whether all passages of a recording have vectors in this space. A recording without passages does not. */
int es_store_has_vectors(es_store *s, es_hash128 content, int track, es_hash128 space, bool *has, es_err *err);

/* A recording's vectors in v's space, one for each of its passages, in one transaction: what it had there is replaced,
 * what it has in other spaces stays. From then on es_store_get() gives these, and `maker` as their maker. */
int es_store_put_vectors(es_store *s, es_hash128 content, int track, const es_vectors *v, const es_maker *maker,
                         es_err *err);
/* A recording's passages, in one transaction, with all that follows from them; its vectors in every space go. */
int es_store_put_passages(es_store *s, es_hash128 content, int track, const es_passages *p, const es_maker *maker,
                          es_err *err);
/* Removes a space. Recordings that had their vectors there have none; what was cut off is completed by a second call.
 */
int es_store_drop_space(es_store *s, es_hash128 space, es_err *err);

#endif
