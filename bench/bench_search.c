/*
 * bench_search.c - how fast a library is searched: exactly by vectors, and by words.
 *
 *   bench_search [--vectors N] [--passages N] [--width N] [--threads N] [--folder DIR] [--keep DIR]
 *
 * A library is made in a folder of its own below DIR (else TMPDIR, else /tmp) and removed at the end. With --keep it is
 * made in DIR and stays; where one lies there already, that one is searched, and 0 for N leaves a part out. Vectors are
 * random ones of unit length, a thousand to a recording. Passages have 60 words drawn by Zipf's law from 100,000, a
 * hundred to a recording, which is about an hour of speech. Both are written as ingesting writes them, but many
 * recordings to a transaction, and lists sorted first: what lies in the file is the same.
 *
 * The scan is compared with a sum in double over the same vectors, and its rate with two others of this machine on as
 * many threads: that of memcpy, counting the bytes read and the bytes written, and that of reading the same vectors
 * where they lie and doing nothing with them but an exclusive or. The three take turns, so that what else the machine
 * and its neighbours do meets all. Every time is warm: the file is in memory when it is taken.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/dots.h"
#include "store/find.h"
#include "store/half.h"
#include "store/index.h"
#include "store/top.h"

enum { ROWS = 1000, K = 10, QUERIES = 3, ROUNDS = 9, PASSAGES = 100, WORDS = 60, VOCABULARY = 100000, ASKED = 100 };

static void must(int rc, const es_err *err)
{
    if (rc == ES_OK) return;
    fprintf(stderr, "bench_search: %s\n", err->text);
    exit(1);
}

static void *take(size_t bytes)
{
    void *p = malloc(bytes);

    if (p) return p;
    fprintf(stderr, "bench_search: %zu bytes cannot be had\n", bytes);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

static uint64_t state = 1;

static uint64_t bits(void) /* splitmix64 */
{
    uint64_t z = state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(void)
{
    return (double)(bits() >> 11) * 0x1p-53;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* ---- vectors ---- */

static void random_row(float *row, int width)
{
    double sum = 0;

    for (int i = 0; i < width; i += 2) {
        uint64_t z = bits();
        row[i] = (float)(int32_t)(uint32_t)z * 0x1p-31f;
        if (i + 1 < width) row[i + 1] = (float)(int32_t)(uint32_t)(z >> 32) * 0x1p-31f;
    }
    for (int i = 0; i < width; i++) sum += (double)row[i] * (double)row[i];
    for (int i = 0; i < width; i++) row[i] = (float)((double)row[i] / sqrt(sum));
}

static es_hash128 the_space(void)
{
    return es_hash_bytes("space", 5);
}

static void put_vectors(es_store *s, long n, int width)
{
    es_vectors v = {.space = the_space(), .width = width};
    es_record r = {0};
    es_txn *x = NULL;
    es_err err = {0};
    long batch = 200000000L / (2L * ROWS * width) + 1;
    double start = now();

    v.rows = take((size_t)ROWS * (size_t)width * sizeof *v.rows);
    for (long at = 0, m = 0; at < n; at += ROWS, m++) {
        es_key key = es_key_recording(es_hash_bytes(&m, sizeof m), 0);
        v.n = (size_t)(n - at < ROWS ? n - at : ROWS);
        for (size_t i = 0; i < v.n; i++) random_row(v.rows + i * (size_t)width, width);
        if (!x) must(es_inside_begin(s, true, &x, &err), &err);
        must(es_inside_put_vectors(x, &r, ES_USE_PASSAGES, es_key_bytes(&key), &v, &err), &err);
        if (m % batch == batch - 1 || at + ROWS >= n) {
            must(es_inside_end(s, x, ES_OK, &err), &err);
            x = NULL;
        }
    }
    es_vectors_done(&v);
    free(r.p);
    printf("vectors    written in %.1f s\n", now() - start);
}

/* The vectors of a library, where they lie in the map. */
typedef struct block {
    es_rows rows;
    uint64_t media;
} block;

typedef struct blocks {
    block *p;
    size_t n, room;
    size_t vectors, width;
    atomic_size_t next;
    atomic_uint_least64_t bits; /* of all, by exclusive or */
} blocks;

/* They stay where they are until the transaction ends. */
static void find_blocks(blocks *b, es_txn *x)
{
    es_key prefix = es_key_space(ES_USE_PASSAGES, the_space());
    es_cursor *c = NULL;
    es_bytes key, value;
    es_err err = {0};
    int rc;

    must(es_cursor_open(&c, x, ES_TABLE_VECTORS, &err), &err);
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, &err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, &err)) {
        if (b->n == b->room) {
            b->room = 2 * b->room + 64;
            b->p = realloc(b->p, b->room * sizeof *b->p);
            if (!b->p) exit(1);
        }
        must(es_record_read_vectors(value, &b->p[b->n].rows, true, &err), &err);
        b->p[b->n].media = es_key_number((const uint8_t *)key.p + prefix.n, 8);
        b->width = b->p[b->n].rows.width;
        b->vectors += b->p[b->n++].rows.n;
    }
    es_cursor_close(c);
}

/* The best of all by sums in double. */
static void sum_in_double(const blocks *b, float *const queries[QUERIES], es_top best[QUERIES])
{
    double *row = take(b->width * sizeof *row);

    for (size_t i = 0; i < b->n; i++) {
        const uint8_t *p = b->p[i].rows.half;
        for (uint32_t r = 0; r < b->p[i].rows.n; r++) {
            es_scored one = {.id = {b->p[i].media, 0, b->p[i].rows.first + r}};
            for (size_t k = 0; k < b->width; k++, p += 2) row[k] = (double)es_half_value((uint16_t)(p[0] | p[1] << 8));
            for (int q = 0; q < QUERIES; q++) {
                one.score = 0;
                for (size_t k = 0; k < b->width; k++) one.score += row[k] * (double)queries[q][k];
                es_top_add(&best[q], &one);
            }
        }
    }
    free(row);
}

/* Bytes read with nothing done to them, as they follow each other in memory. */
static void *only_read(void *user)
{
    typedef uint64_t V __attribute__((vector_size(64)));
    blocks *b = user;
    V sum[4] = {{0}};
    uint64_t all = 0;

    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->n;) {
        const uint8_t *p = b->p[i].rows.half;
        size_t bytes = (size_t)b->p[i].rows.n * b->width * 2;
        for (size_t k = 0; k + sizeof sum <= bytes; k += sizeof sum)
            for (int j = 0; j < 4; j++) {
                V v;
                memcpy(&v, p + k + (size_t)j * sizeof v, sizeof v);
                sum[j] ^= v;
            }
    }
    for (int k = 0; k < 8; k++) all ^= sum[0][k] ^ sum[1][k] ^ sum[2][k] ^ sum[3][k];
    atomic_fetch_xor(&b->bits, all);
    return NULL;
}

static double read_once(blocks *b, int threads)
{
    pthread_t t[64];
    double start = now();

    atomic_store(&b->next, 0);
    for (int i = 1; i < threads; i++) pthread_create(&t[i], NULL, only_read, b);
    only_read(b);
    for (int i = 1; i < threads; i++) pthread_join(t[i], NULL);
    return now() - start;
}

typedef struct copying {
    char *to;
    const char *from;
    size_t bytes;
} copying;

static void *copy(void *user)
{
    copying *c = user;

    memcpy(c->to, c->from, c->bytes);
    return NULL;
}

/* Seconds for `bytes`, which are read once and written once. */
static double copy_once(char *to, const char *from, size_t bytes, int threads)
{
    pthread_t t[64];
    copying c[64];
    size_t part = bytes / (size_t)threads;
    double start = now();

    for (int i = 0; i < threads; i++) {
        c[i] = (copying){to + (size_t)i * part, from + (size_t)i * part,
                         i + 1 < threads ? part : bytes - (size_t)i * part};
        if (i + 1 < threads) pthread_create(&t[i], NULL, copy, &c[i]);
    }
    copy(&c[threads - 1]);
    for (int i = 0; i + 1 < threads; i++) pthread_join(t[i], NULL);
    return now() - start;
}

/* How many of the hits are not those of the sums in double; where two of these are as good as equal, any order will do.
 */
static int count_wrong(const es_hit *hits, size_t found, const es_top *best)
{
    int wrong = 0;

    for (size_t i = 0; i < best->n; i++) {
        const es_scored *w = &best->at[i];
        bool tie =
            (i > 0 && fabs(w->score - w[-1].score) < 1e-7) || (i + 1 < best->n && fabs(w->score - w[1].score) < 1e-7);
        if (i >= found || fabs((double)hits[i].score - w->score) > 1e-6 ||
            (!tie && (hits[i].id.media != w->id.media || hits[i].id.number != w->id.number)))
            wrong++;
    }
    return wrong;
}

/* The median's rate beside the copy's median, the best beside its best. Sorts. */
static void print_rate(const char *name, double *seconds, int n, double bytes, double *copies, double copied)
{
    double median, best;

    qsort(seconds, (size_t)n, sizeof *seconds, by_size);
    qsort(copies, (size_t)n, sizeof *copies, by_size);
    median = bytes / seconds[n / 2], best = bytes / seconds[0];
    printf("%-10s median %.1f ms, best %.1f ms: %.1f and %.1f GB/s, %.0f and %.0f %% of the copy\n", name,
           1e3 * seconds[n / 2], 1e3 * seconds[0], 1e-9 * median, 1e-9 * best, 100 * median / (copied / copies[n / 2]),
           100 * best / (copied / copies[0]));
}

static int bench_vectors(es_store *s, int threads)
{
    float *queries[QUERIES];
    es_top best[QUERIES];
    es_hit hits[K];
    es_txn *x = NULL;
    blocks b = {.n = 0};
    double times[QUERIES * ROUNDS], reads[QUERIES * ROUNDS], copies[QUERIES * ROUNDS], cpu = 0, start, bytes;
    char *from, *to;
    size_t found, some;
    int wrong = 0, n = 0;
    es_err err = {0};
    uint64_t all = 0;

    must(es_inside_begin(s, false, &x, &err), &err);
    find_blocks(&b, x);
    bytes = 2.0 * (double)b.vectors * (double)b.width;
    printf("vectors    %zu of %zu numbers, %.2f GB\n", b.vectors, b.width, bytes * 1e-9);
    state = 7;
    for (int q = 0; q < QUERIES; q++) {
        queries[q] = take(b.width * sizeof(float));
        random_row(queries[q], (int)b.width);
        best[q] = (es_top){.at = take(K * sizeof(es_scored)), .k = K};
    }
    some = bytes < 1e9 ? (size_t)bytes : (size_t)1 << 30;
    from = take(some), to = take(some);
    memset(from, 1, some), memset(to, 2, some);
    start = now();
    sum_in_double(&b, queries, best);
    printf("sums       in double taken in %.1f s\n", now() - start);
    for (int q = 0; q < QUERIES; q++) es_top_sort(&best[q]);
    for (int round = -1; round < ROUNDS; round++) { /* the first warms */
        for (int q = 0; q < QUERIES; q++) {
            double copied = copy_once(to, from, some, threads), read = read_once(&b, threads);
            double used = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
            start = now();
            must(es_store_find_vectors(s, the_space(), queries[q], (int)b.width, NULL, threads, K, hits, &found, &err),
                 &err);
            if (round >= 0) {
                cpu += seconds_of(CLOCK_PROCESS_CPUTIME_ID) - used;
                times[n] = now() - start;
                copies[n] = copied;
                reads[n++] = read;
            }
            wrong += count_wrong(hits, found, &best[q]);
            all = 31 * all + es_hash_id(es_hash_bytes(hits, found * sizeof *hits));
        }
    }
    must(es_inside_end(s, x, ES_OK, &err), &err);
    print_rate("copy", copies, n, 2 * (double)some, copies, 2 * (double)some);
    print_rate("read", reads, n, bytes, copies, 2 * (double)some);
    print_rate("scan", times, n, bytes, copies, 2 * (double)some);
    printf("           of which the processors were at work for %.1f ms on %d threads\n", 1e3 * cpu / n, threads);
    printf("exact      %d of %d hits differ from the sums in double; hash %016" PRIx64 "\n", wrong,
           QUERIES * K * (ROUNDS + 1), all);
    for (int q = 0; q < QUERIES; q++) {
        free(queries[q]);
        free(best[q].at);
    }
    free(from);
    free(to);
    free(b.p);
    return wrong != 0;
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

static double zipf[VOCABULARY]; /* the share of the words up to each */

static void make_zipf(void)
{
    double sum = 0;

    for (int i = 0; i < VOCABULARY; i++) zipf[i] = sum += 1.0 / (i + 1);
    for (int i = 0; i < VOCABULARY; i++) zipf[i] /= sum;
}

static int zipf_word(void)
{
    double u = uniform();
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

static void put_words(es_store *s, long passages)
{
    gathering g = {.n = 0};
    es_record r = {0};
    es_totals totals = {0};
    es_err err = {0};
    char *text = take((size_t)PASSAGES * WORDS * 6);
    size_t batch = 0;
    double start = now();

    must(es_inside_begin(s, true, &g.x, &err), &err);
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
                p += write_word(p, zipf_word());
                *p++ = ' ';
            }
            texts[i].n = (size_t)(p - texts[i].p);
        }
        must(es_index_make(texts, PASSAGES, rows, &r, &sink, &err), &err);
        must(es_record_write_outline(&r, rows, PASSAGES, false, &err), &err);
        must(
            es_txn_put(g.x, ES_TABLE_OUTLINES, (es_bytes){g.recording, sizeof g.recording}, (es_bytes){r.p, r.n}, &err),
            &err);
        totals.passages += PASSAGES;
        totals.words += (uint64_t)PASSAGES * WORDS;
    }
    qsort_r(g.lists, g.n, sizeof *g.lists, by_key, g.bytes);
    for (size_t i = 0; i < g.n; i++) {
        const list *l = &g.lists[i];
        must(es_txn_append(g.x, ES_TABLE_WORDS, (es_bytes){g.bytes + l->at, l->key},
                           (es_bytes){g.bytes + l->at + l->key, l->value}, &err),
             &err);
        batch += l->key + l->value + 8;
        if (batch < (size_t)64 << 20) continue;
        must(es_inside_end(s, g.x, ES_OK, &err), &err);
        must(es_inside_begin(s, true, &g.x, &err), &err);
        batch = 0;
    }
    must(es_record_write_totals(&r, &totals, &err), &err);
    must(es_inside_put_record(g.x, ES_TABLE_META, es_key_totals(), &r, &err), &err);
    must(es_inside_end(s, g.x, ES_OK, &err), &err);
    printf("passages   of %d words in recordings of %d: %zu lists of %.1f bytes with their keys, written in %.1f s\n",
           WORDS, PASSAGES, g.n, (double)g.n_bytes / (double)g.n, now() - start);
    free(g.bytes);
    free(g.lists);
    free(text);
    free(r.p);
}

static void bench_words(es_store *s)
{
    double times[ASKED];
    char queries[ASKED][32];
    es_hit hits[K];
    size_t found;
    es_totals totals;
    es_txn *x = NULL;
    uint64_t all = 0;
    es_err err = {0};

    must(es_inside_begin(s, false, &x, &err), &err);
    must(es_inside_end(s, x, es_index_totals(x, &totals, &err), &err), &err);
    printf("passages   %" PRIu64 " of %" PRIu64 " words\n", totals.passages, totals.words);
    state = 11;
    for (int q = 0; q < ASKED; q++) {
        char *p = queries[q];
        for (int k = 0; k < 2 + q % 2; k++) {
            p += write_word(p, zipf_word());
            *p++ = ' ';
        }
        *p = 0;
    }
    for (int round = 0; round < 2; round++) { /* the first warms */
        for (int q = 0; q < ASKED; q++) {
            double start = now();
            must(es_store_find_words(s, queries[q], strlen(queries[q]), NULL, K, hits, &found, &err), &err);
            times[q] = now() - start;
            all = 31 * all + es_hash_id(es_hash_bytes(hits, found * sizeof *hits));
        }
    }
    qsort(times, ASKED, sizeof *times, by_size);
    printf("words      %d queries of 2 and 3 words: median %.2f ms, 9 of 10 below %.2f ms, longest %.2f ms; hash "
           "%016" PRIx64 "\n",
           ASKED, 1e3 * times[ASKED / 2], 1e3 * times[ASKED * 9 / 10], 1e3 * times[ASKED - 1], all);
}

int main(int argc, char **argv)
{
    long vectors = 200000, passages = 200000;
    int width = 1536, threads = (int)sysconf(_SC_NPROCESSORS_ONLN), wrong = 0;
    const char *below = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", *keep = NULL;
    char dir[4096];
    bool there;
    es_store *s = NULL;
    es_err err = {0};

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--vectors")) vectors = strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--passages")) passages = strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--width")) width = (int)strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--threads")) threads = (int)strtol(value, NULL, 10);
        else if (!strcmp(argv[i], "--folder")) below = value;
        else if (!strcmp(argv[i], "--keep")) keep = value;
        else {
            fprintf(stderr, "usage: bench_search [--vectors N] [--passages N] [--width N] [--threads N] [--folder DIR] "
                            "[--keep DIR]\n");
            return 2;
        }
    }
    if (vectors < 0 || passages < 0 || width < 1 || threads < 1 || threads > 64) return 2;
    snprintf(dir, sizeof dir, "%s/data.mdb", keep ? keep : "");
    there = keep && access(dir, F_OK) == 0;
    if (keep) snprintf(dir, sizeof dir, "%s", keep);
    else snprintf(dir, sizeof dir, "%s/earshot-bench-XXXXXX", below);
    if (!keep && !mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* minutes pass between some lines */
    make_zipf();
    if (es_store_open(&s, dir, there ? 0 : ES_STORE_CREATE, &err) == ES_OK) {
        if (vectors && !there) put_vectors(s, vectors, width);
        if (passages && !there) put_words(s, passages);
        if (vectors) wrong = bench_vectors(s, threads);
        if (passages) bench_words(s);
    }
    es_store_close(s);
    if (!keep) es_folder_remove(dir);
    must(err.code, &err);
    return wrong;
}
