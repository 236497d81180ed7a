/*
 * made_library.c - see made_library.h.
 *
 * Both parts are written as ingesting writes them, but many recordings to a transaction, and posting lists are sorted
 * first: what lies in the file is the same, and it takes minutes instead of hours.
 */
#define _GNU_SOURCE
#include "made_library.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/index.h"

enum { ROWS = 1000, PASSAGES = 100, WORDS = 60, VOCABULARY = 100000 };

void es_made_must(int rc, const es_err *err)
{
    if (rc == ES_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

void *es_made_take(size_t bytes)
{
    void *p = malloc(bytes);

    if (p) return p;
    fprintf(stderr, "%zu bytes cannot be had\n", bytes);
    exit(1);
}

double es_made_seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t bits(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(uint64_t *state)
{
    return (double)(bits(state) >> 11) * 0x1p-53;
}

/* ---- vectors ---- */

void es_made_row(uint64_t *state, float *row, int width)
{
    double sum = 0;

    for (int i = 0; i < width; i += 2) {
        uint64_t z = bits(state);
        row[i] = (float)(int32_t)(uint32_t)z * 0x1p-31f;
        if (i + 1 < width) row[i + 1] = (float)(int32_t)(uint32_t)(z >> 32) * 0x1p-31f;
    }
    for (int i = 0; i < width; i++) sum += (double)row[i] * (double)row[i];
    for (int i = 0; i < width; i++) row[i] = (float)((double)row[i] / sqrt(sum));
}

es_hash128 es_made_space(void)
{
    return es_hash_bytes("space", 5);
}

void es_made_vectors(es_store *s, long n, int width)
{
    uint64_t state = 1;
    es_vectors v = {.space = es_made_space(), .width = width};
    es_record r = {0};
    es_txn *x = NULL;
    es_err err = {0};
    long batch = 200000000L / (2L * ROWS * width) + 1;
    double start = es_made_seconds(CLOCK_MONOTONIC);

    v.rows = es_made_take((size_t)ROWS * (size_t)width * sizeof *v.rows);
    for (long at = 0, m = 0; at < n; at += ROWS, m++) {
        es_key key = es_key_recording(es_hash_bytes(&m, sizeof m), 0);
        v.n = (size_t)(n - at < ROWS ? n - at : ROWS);
        for (size_t i = 0; i < v.n; i++) es_made_row(&state, v.rows + i * (size_t)width, width);
        if (!x) es_made_must(es_inside_begin(s, true, &x, &err), &err);
        es_made_must(es_inside_put_vectors(x, &r, ES_USE_PASSAGES, es_key_bytes(&key), &v, &err), &err);
        if (m % batch == batch - 1 || at + ROWS >= n) {
            es_made_must(es_inside_end(s, x, ES_OK, &err), &err);
            x = NULL;
        }
    }
    es_vectors_done(&v);
    free(r.p);
    printf("vectors    written in %.1f s\n", es_made_seconds(CLOCK_MONOTONIC) - start);
}

/* ---- words ---- */

/* A list on its way into the table: its key, then its value, in `bytes`. */
typedef struct list {
    size_t at;
    uint32_t key, value;
} list;

typedef struct gathering {
    uint8_t *bytes;
    size_t n_bytes, room_bytes;
    list *lists;
    size_t n, room;
    uint8_t recording[RECORDING_BYTES];
    es_txn *x;
} gathering;

static void keep(gathering *g, es_bytes term, es_bytes value)
{
    if (g->n_bytes + ES_INDEX_KEY_BYTES + value.n > g->room_bytes) {
        g->room_bytes = 2 * g->room_bytes + value.n + ((size_t)1 << 20);
        g->bytes = realloc(g->bytes, g->room_bytes);
    }
    if (g->n == g->room) {
        g->room = 2 * g->room + 1024;
        g->lists = realloc(g->lists, g->room * sizeof *g->lists);
    }
    if (!g->bytes || !g->lists) exit(1);
    size_t key = es_index_key(g->bytes + g->n_bytes, term, (es_bytes){g->recording, sizeof g->recording});
    memcpy(g->bytes + g->n_bytes + key, value.p, value.n);
    g->lists[g->n++] = (list){g->n_bytes, (uint32_t)key, (uint32_t)value.n};
    g->n_bytes += key + value.n;
}

static int keep_list(void *user, es_bytes term, es_bytes value, es_err *err)
{
    (void)err;
    keep(user, term, value);
    return ES_OK;
}

static int keep_terms(void *user, es_bytes record, es_err *err)
{
    gathering *g = user;

    return es_txn_put(g->x, ES_TABLE_TERMS, (es_bytes){g->recording, sizeof g->recording}, record, err);
}

static int by_key(const void *a, const void *b, void *user)
{
    const list *x = a, *y = b;
    const uint8_t *bytes = user;
    int order = memcmp(bytes + x->at, bytes + y->at, x->key < y->key ? x->key : y->key);

    return order ? order : (x->key > y->key) - (x->key < y->key);
}

double *es_made_zipf(void)
{
    double *zipf = es_made_take(VOCABULARY * sizeof *zipf), sum = 0;

    for (int i = 0; i < VOCABULARY; i++) zipf[i] = sum += 1.0 / (i + 1);
    for (int i = 0; i < VOCABULARY; i++) zipf[i] /= sum;
    return zipf;
}

static int zipf_word(uint64_t *state, const double *zipf)
{
    double u = uniform(state);
    int from = 0, to = VOCABULARY - 1;

    while (from < to) {
        int middle = (from + to) / 2;
        if (zipf[middle] < u) from = middle + 1;
        else to = middle;
    }
    return from;
}

/* Letters in an order that has nothing to do with how often a word is said. */
static int write_word(char *p, int word)
{
    uint32_t v =
        (uint32_t)word * 2654435761u % 11881376u; /* 26^5: no two words meet, as the factor is odd and prime to it */

    for (int i = 0; i < 5; i++, v /= 26) p[i] = (char)('a' + v % 26);
    return 5;
}

void es_made_query(uint64_t *state, const double *zipf, char *query, int words)
{
    for (int k = 0; k < words; k++) {
        query += write_word(query, zipf_word(state, zipf));
        *query++ = ' ';
    }
    *query = 0;
}

void es_made_words(es_store *s, long passages)
{
    uint64_t state = 2;
    double *zipf = es_made_zipf();
    gathering g = {.n = 0};
    es_record r = {0};
    es_totals totals = {0};
    es_err err = {0};
    char *text = es_made_take((size_t)PASSAGES * WORDS * 6);
    size_t batch = 0;
    double start = es_made_seconds(CLOCK_MONOTONIC);

    es_made_must(es_inside_begin(s, true, &g.x, &err), &err);
    for (long at = 0, m = 0; at < passages; at += PASSAGES, m++) {
        es_index_text texts[PASSAGES];
        es_outline_row rows[PASSAGES] = {{0}};
        es_index_sink sink = {.list = keep_list, .terms = keep_terms, .user = &g};
        es_key key = es_key_recording(es_hash_bytes(&m, sizeof m), 0);
        char *p = text;
        memcpy(g.recording, key.b, sizeof g.recording);
        for (int i = 0; i < PASSAGES; i++) {
            texts[i].p = p;
            for (int k = 0; k < WORDS; k++) {
                p += write_word(p, zipf_word(&state, zipf));
                *p++ = ' ';
            }
            texts[i].n = (size_t)(p - texts[i].p);
        }
        es_made_must(es_index_make(texts, PASSAGES, rows, &r, &sink, &err), &err);
        es_made_must(es_record_write_outline(&r, rows, PASSAGES, false, &err), &err);
        es_made_must(
            es_txn_put(g.x, ES_TABLE_OUTLINES, (es_bytes){g.recording, sizeof g.recording}, (es_bytes){r.p, r.n}, &err),
            &err);
        totals.passages += PASSAGES;
        totals.words += (uint64_t)PASSAGES * WORDS;
    }
    qsort_r(g.lists, g.n, sizeof *g.lists, by_key, g.bytes);
    for (size_t i = 0; i < g.n; i++) {
        const list *l = &g.lists[i];
        es_made_must(es_txn_append(g.x, ES_TABLE_WORDS, (es_bytes){g.bytes + l->at, l->key},
                                   (es_bytes){g.bytes + l->at + l->key, l->value}, &err),
                     &err);
        batch += l->key + l->value + 8;
        if (batch < (size_t)64 << 20) continue;
        es_made_must(es_inside_end(s, g.x, ES_OK, &err), &err);
        es_made_must(es_inside_begin(s, true, &g.x, &err), &err);
        batch = 0;
    }
    es_made_must(es_record_write_totals(&r, &totals, &err), &err);
    es_made_must(es_inside_put_record(g.x, ES_TABLE_META, es_key_totals(), &r, &err), &err);
    es_made_must(es_inside_end(s, g.x, ES_OK, &err), &err);
    printf("passages   of %d words in recordings of %d: %zu lists of %.1f bytes with their keys, written in %.1f s\n",
           WORDS, PASSAGES, g.n, (double)g.n_bytes / (double)g.n, es_made_seconds(CLOCK_MONOTONIC) - start);
    free(g.bytes);
    free(g.lists);
    free(zipf);
    free(text);
    free(r.p);
}
