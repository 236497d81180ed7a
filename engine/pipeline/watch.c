/*
 * watch.c - see watch.h.
 *
 *     arrivals -> complete files -> es_ingest() with all of them at once -> arrivals -> ... -> nothing: wait
 *
 * Each round is an ingest like any other, so that a watch leaves the library an ingest of the same files would leave, and can
 * be killed at any time as one can. The session, and with it every model, lives through all rounds. What arrives during a round
 * is heard of while it runs and is the next one's.
 */
#include "pipeline/watch.h"

#include "pipeline/summary.h"

enum { WAIT_MS = 250 };

typedef struct watcher {
    const es_ingest_job *job;
    es_arrivals *arrivals;
    bool enough; /* the listener has said so */
} watcher;

static int pass(void *user, const es_ingest_event *e)
{
    watcher *w = user;

    if (w->arrivals) es_arrivals_hear(w->arrivals);
    if (w->job->listen(w->job->user, e)) w->enough = true;
    return w->enough;
}

static void tell(watcher *w, es_ingest_kind kind, const char *path, const char *text)
{
    const es_ingest_event e = {
        .kind = kind, .path = path, .fraction_all = -1, .eta_seconds = -1, .eta_all_seconds = -1, .text = text};

    if (w->job->listen(w->job->user, &e)) w->enough = true;
}

static void note(void *user, const char *path, const char *sentence)
{
    tell(user, ES_INGEST_NOTE, path, sentence);
}

static int round_of(watcher *w, const char *const *paths, size_t n, es_ingest_tally *sum, es_err *err)
{
    es_ingest_job job = *w->job;
    es_ingest_tally tally = {0};
    int rc;

    job.listen = pass;
    job.user = w;
    rc = es_ingest(&job, paths, n, &tally, err);
    es_summary_add(sum, &tally);
    return rc == ES_ECANCELLED && w->enough ? ES_OK : rc;
}

int es_watch(const es_ingest_job *job, const char *const *folders, size_t n, const es_arrivals_options *o,
             es_ingest_tally *tally, es_err *err)
{
    watcher w = {.job = job};
    es_arrivals_options how = *o;
    es_ingest_tally sum = {0};
    int rc;

    how.note = note, how.user = &w;
    /* Settings that no file could be ingested with are refused now, not when the first one comes. */
    rc = round_of(&w, NULL, 0, &sum, err);
    if (rc == ES_OK) rc = es_arrivals_open(&w.arrivals, folders, n, &how, err);
    sum.seconds = 0; /* nothing was done yet */
    while (rc == ES_OK && !w.enough) {
        const char *const *paths = NULL;
        size_t count = 0;
        rc = es_arrivals_take(w.arrivals, &paths, &count, err);
        if (rc == ES_OK && count) {
            rc = round_of(&w, paths, count, &sum, err);
        } else if (rc == ES_OK) {
            tell(&w, ES_INGEST_WAITING, "", NULL);
            if (!w.enough) es_arrivals_wait(w.arrivals, WAIT_MS);
        }
    }
    if (tally) *tally = sum;
    es_arrivals_close(w.arrivals);
    return rc;
}
