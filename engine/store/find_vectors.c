/*
 * find_vectors.c - the k nearest passages of a space, by reading all of it.
 *
 * A space of a million vectors of 1536 numbers is 3 GB, which two cores read in a fraction of a second: until libraries
 * are far larger, an exact answer needs no graph, no training and no second copy of the vectors. What the filter lets
 * through is gathered first, as stretches of rows that lie in the map; threads take stretches until none are left, each
 * with a heap of its own. Which thread took what does not show, since hits have an order without ties.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/dots.h"
#include "store/inside.h"
#include "store/top.h"

enum { STRETCH_ROWS = 256, MEDIA_AT = 18 /* of a key: behind use and space */, MOST_THREADS = 64 };

/* Rows side by side. */
typedef struct stretch {
    const uint8_t *rows;
    uint64_t media;
    uint32_t track, first, n;
} stretch;

typedef struct scan {
    stretch *p;
    size_t n, room;
    size_t width;
    float *query; /* filled up with zeros to a multiple of the lanes */
    es_dots dots;
    atomic_size_t next;
} scan;

typedef struct worker {
    scan *scan;
    es_top top;
    pthread_t thread;
    bool started;
} worker;

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory to search the library");
}

/* ---- gathering ---- */

static int add(scan *s, const es_rows *r, uint32_t from, uint32_t n, uint64_t media, uint32_t track, es_err *err)
{
    for (uint32_t at = 0, k; at < n; at += k) {
        k = n - at < STRETCH_ROWS ? n - at : STRETCH_ROWS;
        if (s->n == s->room) {
            size_t room = s->room ? 2 * s->room : 256;
            stretch *moved = realloc(s->p, room * sizeof *moved);
            if (!moved) return no_memory(err);
            s->p = moved;
            s->room = room;
        }
        s->p[s->n++] = (stretch){.rows = (const uint8_t *)r->half + (size_t)(from + at) * r->width * 2,
                                 .media = media,
                                 .track = track,
                                 .first = r->first + from + at,
                                 .n = k};
    }
    return ES_OK;
}

/* Only the rows whose passages the filter lets through, in stretches as long as they come. */
static int add_filtered(scan *s, const es_rows *r, const es_outline *o, const es_filter *f, uint64_t media,
                        uint32_t track, es_err *err)
{
    int rc = ES_OK;
    uint32_t from = 0, i = 0;

    for (; !rc && i <= r->n; i++) {
        bool passes = false;
        if (i < r->n && r->first + i < o->n) {
            es_outline_row row = es_outline_at(o, r->first + i);
            es_glance g = {.id = {media, (int)track, r->first + i},
                           .start_ms = row.start_ms,
                           .end_ms = row.end_ms,
                           .speaker = row.speaker};
            memcpy(g.language, row.language, sizeof g.language);
            passes = f->passage(f->user, &g);
        }
        if (passes) continue;
        if (i > from) rc = add(s, r, from, i - from, media, track, err);
        from = i + 1;
    }
    return rc;
}

/* One value of the table: some rows of one recording. */
static int gather_rows(scan *s, es_txn *x, const es_filter *f, es_bytes key, es_bytes value, es_err *err)
{
    es_bytes recording = {(const uint8_t *)key.p + MEDIA_AT, 10}, outline;
    uint64_t media = es_key_number(recording.p, 8);
    uint32_t track = (uint32_t)es_key_number((const uint8_t *)recording.p + 8, 2);
    es_outline o = {0};
    es_err note = {0};
    es_rows r;
    int rc;

    if (f && f->recording && !f->recording(f->user, media, (int)track)) return ES_OK;
    if (es_record_read_vectors(value, &r, false, &note)) {
        es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
        return ES_OK;
    }
    if (r.width != s->width)
        return es_fail(err, ES_EARG, "the query has %zu numbers, vectors of this space have %u", s->width, r.width);
    if (!f || !f->passage) return add(s, &r, 0, r.n, media, track, err);
    rc = es_txn_get(x, ES_TABLE_OUTLINES, recording, &outline, err);
    if (rc == ES_ENOTFOUND || (!rc && es_record_read_outline(outline, &o, false, NULL))) return ES_OK;
    return rc ? rc : add_filtered(s, &r, &o, f, media, track, err);
}

static int gather(scan *s, es_txn *x, es_hash128 space, const es_filter *f, es_err *err)
{
    es_key prefix = es_key_space(ES_USE_PASSAGES, space);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_VECTORS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        if (key.n == MEDIA_AT + 10 + 4) rc = gather_rows(s, x, f, key, value, err);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* ---- scanning ---- */

static void *work(void *user)
{
    worker *w = user;
    scan *s = w->scan;
    float scores[STRETCH_ROWS];
    size_t i;

    while ((i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed)) < s->n) {
        const stretch *p = &s->p[i];
        s->dots(scores, p->rows, p->n, s->width, s->query);
        for (uint32_t k = 0; k < p->n; k++) {
            if (!es_top_takes(&w->top, (double)scores[k])) continue;
            if (!(scores[k] >= -3e38f && scores[k] <= 3e38f)) continue; /* damage that no checksum was asked about */
            es_scored hit = {.score = (double)scores[k], .id = {p->media, (int)p->track, p->first + k}};
            es_top_add(&w->top, &hit);
        }
    }
    return NULL;
}

/* Runs the scan on n threads, this one among them, and brings their heaps together in the first. */
static int run(scan *s, worker *workers, int n, size_t k, es_err *err)
{
    es_scored *room = malloc((size_t)n * (k ? k : 1) * sizeof *room);

    if (!room) return no_memory(err);
    for (int i = 0; i < n; i++) workers[i] = (worker){.scan = s, .top = {.at = room + (size_t)i * k, .k = k}};
    for (int i = 1; i < n; i++) /* where no thread can be had, the others do its part */
        workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    work(&workers[0]);
    for (int i = 1; i < n; i++) {
        if (!workers[i].started) continue;
        pthread_join(workers[i].thread, NULL);
        for (size_t h = 0; h < workers[i].top.n; h++) es_top_add(&workers[0].top, &workers[i].top.at[h]);
    }
    es_top_sort(&workers[0].top);
    return ES_OK;
}

int es_store_find_vectors(es_store *st, es_hash128 space, const float *query, int width, const es_filter *filter,
                          int threads, size_t k, es_hit *hits, size_t *n, es_err *err)
{
    scan s = {.width = (size_t)width, .dots = es_dots_best()};
    worker workers[MOST_THREADS] = {{0}};
    size_t lanes = (s.width + ES_DOTS_LANES - 1) / ES_DOTS_LANES * ES_DOTS_LANES;
    es_txn *x = NULL;
    int rc;

    *n = 0;
    if (width < 1) return es_fail(err, ES_EARG, "a query of %d numbers", width);
    if (threads <= 0) threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    s.query = calloc(lanes, sizeof *s.query);
    if (!s.query) return no_memory(err);
    memcpy(s.query, query, s.width * sizeof *query);
    atomic_init(&s.next, 0);
    rc = es_inside_can_search(st, err);
    if (!rc) rc = es_inside_begin(st, false, &x, err);
    if (!rc) {
        rc = gather(&s, x, space, filter, err);
        if ((size_t)threads > s.n) threads = s.n ? (int)s.n : 1;
        if (!rc) rc = run(&s, workers, threads, k, err);
        rc = es_inside_end(st, x, rc, err);
    }
    for (size_t i = 0; !rc && i < workers[0].top.n; i++)
        hits[i] = (es_hit){workers[0].top.at[i].id, (float)workers[0].top.at[i].score};
    *n = rc ? 0 : workers[0].top.n;
    free(workers[0].top.at);
    free(s.query);
    free(s.p);
    return rc;
}
