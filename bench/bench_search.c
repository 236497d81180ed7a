/*
 * bench_search.c - how fast a library is searched: exactly by vectors, and by words.
 *
 *   bench_search [--vectors N] [--passages N] [--width N] [--threads N] [--folder DIR] [--keep DIR]
 *
 * A library is made in a folder of its own below DIR (else TMPDIR, else /tmp) and removed at the end. With --keep it is
 * made in DIR and stays; where one lies there already, that one is searched, and 0 for N leaves a part out. What is in
 * it made_library.h tells.
 *
 * The scan is compared with a sum in double over the same vectors, and its rate with two others of this machine on as
 * many threads: that of memcpy, counting the bytes read and the bytes written, and that of reading the same vectors
 * where they lie and doing nothing with them but an exclusive or. The three take turns, so that what else the machine
 * and its neighbours do meets all. The first queries of words are asked once more for every passage there is, which
 * leaves no recording out: the best must be the same. Every time is warm: the file is in memory when it is taken.
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

#include "made_library.h"
#include "store/find.h"
#include "store/half.h"
#include "store/index.h"
#include "store/top.h"

enum { K = 10, QUERIES = 3, ROUNDS = 9, ASKED = 100, RANKED = 20 };

static double now(void)
{
    return es_made_seconds(CLOCK_MONOTONIC);
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Of what the hits say; the bytes between their fields say nothing. */
static uint64_t hash_of(const es_hit *hits, size_t n)
{
    uint64_t all = n;

    for (size_t i = 0; i < n; i++) {
        uint64_t fields[4] = {hits[i].id.media, (uint64_t)hits[i].id.track, hits[i].id.number};
        memcpy(&fields[3], &hits[i].score, sizeof hits[i].score);
        all = 31 * all + es_hash_id(es_hash_bytes(fields, sizeof fields));
    }
    return all;
}

/* ---- vectors ---- */

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
    es_key prefix = es_key_space(ES_USE_PASSAGES, es_made_space());
    es_cursor *c = NULL;
    es_bytes key, value;
    es_err err = {0};
    int rc;

    es_made_must(es_cursor_open(&c, x, ES_TABLE_VECTORS, &err), &err);
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, &err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, &err)) {
        if (b->n == b->room) {
            b->room = 2 * b->room + 64;
            b->p = realloc(b->p, b->room * sizeof *b->p);
            if (!b->p) exit(1);
        }
        es_made_must(es_record_read_vectors(value, &b->p[b->n].rows, true, &err), &err);
        b->p[b->n].media = es_key_number((const uint8_t *)key.p + prefix.n, 8);
        b->width = b->p[b->n].rows.width;
        b->vectors += b->p[b->n++].rows.n;
    }
    es_cursor_close(c);
}

/* The best of all by sums in double. */
static void sum_in_double(const blocks *b, float *const queries[QUERIES], es_top best[QUERIES])
{
    double *row = es_made_take(b->width * sizeof *row);

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
    uint64_t all = 0, state = 7;

    es_made_must(es_inside_begin(s, false, &x, &err), &err);
    find_blocks(&b, x);
    if (!b.n) { /* of a library that was kept */
        printf("vectors    none\n");
        return es_inside_end(s, x, ES_OK, &err);
    }
    bytes = 2.0 * (double)b.vectors * (double)b.width;
    printf("vectors    %zu of %zu numbers, %.2f GB\n", b.vectors, b.width, bytes * 1e-9);
    for (int q = 0; q < QUERIES; q++) {
        queries[q] = es_made_take(b.width * sizeof(float));
        es_made_row(&state, queries[q], (int)b.width);
        best[q] = (es_top){.at = es_made_take(K * sizeof(es_scored)), .k = K};
    }
    some = bytes < 1e9 ? (size_t)bytes : (size_t)1 << 30;
    from = es_made_take(some), to = es_made_take(some);
    memset(from, 1, some), memset(to, 2, some);
    start = now();
    sum_in_double(&b, queries, best);
    printf("sums       in double taken in %.1f s\n", now() - start);
    for (int q = 0; q < QUERIES; q++) es_top_sort(&best[q]);
    for (int round = -1; round < ROUNDS; round++) { /* the first warms */
        for (int q = 0; q < QUERIES; q++) {
            double copied = copy_once(to, from, some, threads), read = read_once(&b, threads);
            double used = es_made_seconds(CLOCK_PROCESS_CPUTIME_ID);
            start = now();
            es_made_must(es_store_find_vectors(s, es_made_space(), queries[q], (int)b.width, NULL, threads, K, hits,
                                               &found, &err),
                         &err);
            if (round >= 0) {
                cpu += es_made_seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
                times[n] = now() - start;
                copies[n] = copied;
                reads[n++] = read;
            }
            wrong += count_wrong(hits, found, &best[q]);
            all = 31 * all + hash_of(hits, found);
        }
    }
    es_made_must(es_inside_end(s, x, ES_OK, &err), &err);
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

/* How many of the first queries have other hits than a ranking that leaves nothing out. */
static int count_different(es_store *s, char queries[ASKED][ES_MADE_QUERY_BYTES], size_t passages)
{
    es_hit hits[K], *all = es_made_take((passages + 1) * sizeof *all);
    size_t found, n;
    int different = 0;
    es_err err = {0};

    for (int q = 0; q < RANKED; q++) {
        size_t bytes = strlen(queries[q]);
        es_made_must(es_store_find_words(s, queries[q], bytes, NULL, K, hits, &found, &err), &err);
        es_made_must(es_store_find_words(s, queries[q], bytes, NULL, passages, all, &n, &err), &err);
        if (found != (n < K ? n : K) || hash_of(hits, found) != hash_of(all, found)) different++;
    }
    free(all);
    return different;
}

static int bench_words(es_store *s)
{
    double times[ASKED], cpu = 0, *zipf = es_made_zipf();
    char queries[ASKED][ES_MADE_QUERY_BYTES];
    es_hit hits[K];
    size_t found;
    int different;
    es_totals totals;
    es_txn *x = NULL;
    uint64_t all = 0, state = 11;
    es_err err = {0};

    es_made_must(es_inside_begin(s, false, &x, &err), &err);
    es_made_must(es_inside_end(s, x, es_index_totals(x, &totals, &err), &err), &err);
    printf("passages   %" PRIu64 " of %" PRIu64 " words\n", totals.passages, totals.words);
    for (int q = 0; q < ASKED; q++) es_made_query(&state, zipf, queries[q], 2 + q % 2);
    free(zipf);
    for (int round = 0; round < 2; round++) { /* the first warms */
        cpu = es_made_seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int q = 0; q < ASKED; q++) {
            double start = now();
            es_made_must(es_store_find_words(s, queries[q], strlen(queries[q]), NULL, K, hits, &found, &err), &err);
            times[q] = now() - start;
            all = 31 * all + hash_of(hits, found);
        }
        cpu = es_made_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    }
    qsort(times, ASKED, sizeof *times, by_size);
    printf("words      %d queries of 2 and 3 words: median %.2f ms, 9 of 10 below %.2f ms, longest %.2f ms; on average "
           "%.2f ms of the processor; hash %016" PRIx64 "\n",
           ASKED, 1e3 * times[ASKED / 2], 1e3 * times[ASKED * 9 / 10], 1e3 * times[ASKED - 1], 1e3 * cpu / ASKED, all);
    different = count_different(s, queries, (size_t)totals.passages);
    printf("exact      %d of %d queries differ from a ranking of every passage\n", different, RANKED);
    return different != 0;
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
    if (es_store_open(&s, dir, there ? 0 : ES_STORE_CREATE, &err) == ES_OK) {
        if (vectors && !there) es_made_vectors(s, vectors, width);
        if (passages && !there) es_made_words(s, passages);
        if (vectors) wrong = bench_vectors(s, threads);
        if (passages) wrong |= bench_words(s);
    }
    es_store_close(s);
    if (!keep) es_folder_remove(dir);
    es_made_must(err.code, &err);
    return wrong;
}
