/*
 * flow.c - many recordings on their way, each at a step of its own.
 *
 *     files -> [hash] -> known? claimed? -> [decode] -> spool -> who speaks -> windows of all side by side -> stored
 *               readers                      readers    |                                                       |
 *                                            a few ahead                        each as soon as its last window is done
 *
 * Readers are threads that hash and decode, since that is the host's work and may take longer than what follows it on a
 * device. Everything else - looking up, claiming, all models, storing - happens on the thread that calls es_flow(),
 * which takes recordings from the readers whenever the batch has room for windows (es_batch_run asks for them) and
 * finishes those that the batch gives back. A few recordings are decoded ahead, no more: spools take room on the disk.
 *
 * A recording whose content is on its way already, under another name or in another process, is put off and looked up
 * once more when the others are done. What goes wrong with one recording is told and touches no other.
 */
#define _GNU_SOURCE
#include "pipeline/flow.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/words/batch.h"

enum { MOST_READERS = 16, LOOK_MS = 100 };

typedef enum step { TO_HASH, HASHED, TO_DECODE, DECODED } step;

/* A recording on its way. The step is guarded by the lock; the rest belongs to the reader while the step is TO_... */
typedef struct item {
    step step;
    bool taken; /* by a reader */
    size_t index;
    const char *path;
    es_steps_view at;
    es_result r;
    unsigned parts;     /* that are made; the others come from the library */
    es_media_info seen; /* bytes and time when the hash was taken */
    uint64_t dev, ino;  /* for the cache of hashes */
    bool claimed;
    es_spool *spool;
    es_kept *kept;
    es_batch_file file;
    int rc;
    es_err why;
    double hash_seconds, decode_seconds, given; /* seconds; when the batch got it */
    double counted;               /* the part of it that flow_done has */
    struct flow *flow;
    struct item *after;
} item;

typedef struct flow {
    es_ingest_walk *w;
    es_batch *batch;
    size_t next; /* of the list */
    bool *put_off;
    size_t n_put_off;
    bool waiting;         /* for another process: no file is told anew */
    item *ahead;          /* read or to be read, in order */
    item *given;          /* to the batch */
    item *focus;          /* whom w->at shows */
    es_batch_file *first; /* the one the batch is begun for */
    int n_ahead, most_ahead;
    double aside; /* seconds spent in what is not the batch's own */

    pthread_t reader[MOST_READERS];
    int n_readers;
    pthread_mutex_t lock;
    pthread_cond_t work, news;
    atomic_bool stop;
} flow;

/* ---- readers ---- */

static int on_bytes(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)done, (void)all;
    return atomic_load(&((flow *)user)->stop);
}

static void read_item(flow *f, item *i, step s)
{
    const es_ingest_job *job = f->w->job;
    double began = es_steps_now();

    if (s == TO_HASH) {
        i->rc = es_media_hash(&i->r.media, i->path, on_bytes, f, &i->why);
        i->hash_seconds = es_steps_now() - began;
        return;
    }
    i->rc =
        es_media_decode(&i->spool, &i->r.media, i->path, job->track, es_store_tmp(job->store), on_bytes, f, &i->why);
    i->decode_seconds = es_steps_now() - began;
}

static item *work_of(flow *f)
{
    for (item *i = f->ahead; i; i = i->after)
        if (!i->taken && (i->step == TO_HASH || i->step == TO_DECODE)) return i;
    return NULL;
}

static void *read_all(void *user)
{
    flow *f = user;

    pthread_mutex_lock(&f->lock);
    while (!atomic_load(&f->stop)) {
        item *i = work_of(f);
        if (!i) {
            pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        step s = i->step;
        i->taken = true;
        pthread_mutex_unlock(&f->lock);
        read_item(f, i, s);
        pthread_mutex_lock(&f->lock);
        i->taken = false;
        i->step = s == TO_HASH ? HASHED : DECODED;
        pthread_cond_signal(&f->news);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* So many readers in all. */
static int start_readers(flow *f, long n, es_err *err)
{
    if (n < 1) n = 1;
    if (n > MOST_READERS) n = MOST_READERS;
    f->most_ahead = (int)n + 1;
    for (; f->n_readers < n; f->n_readers++) {
        int fault = pthread_create(&f->reader[f->n_readers], NULL, read_all, f);
        if (fault && f->n_readers == 0)
            return es_fail(err, ES_ENOMEM, "no thread to read files with: %s", strerror(fault));
        if (fault) break;
    }
    return ES_OK;
}

static void stop_readers(flow *f)
{
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->stop, true);
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->n_readers; i++) pthread_join(f->reader[i], NULL);
    f->n_readers = 0;
}

static void set_step(flow *f, item *i, step s)
{
    pthread_mutex_lock(&f->lock);
    i->step = s;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
}

/* ---- items ---- */

/* From here on w->at is about this recording. */
static void look_at(flow *f, item *i)
{
    if (f->focus == i) return;
    if (f->focus) f->focus->at = f->w->at;
    f->focus = i;
    if (i) f->w->at = i->at;
}

static double bytes_of(const flow *f, const item *i)
{
    return (double)f->w->list.files[i->index].bytes;
}

static void count_part(flow *f, item *i, double fraction)
{
    f->w->flow_done += (fraction - i->counted) * bytes_of(f, i);
    i->counted = fraction;
}

static int tell_progress(flow *f, item *i, double fraction, double speed)
{
    es_ingest_walk *w = f->w;

    look_at(f, i);
    if (fraction < w->at.fraction) fraction = w->at.fraction;
    count_part(f, i, fraction);
    return es_steps_progress(w, fraction, speed);
}

static void unlink_from(item **list, item *i)
{
    while (*list && *list != i) list = &(*list)->after;
    if (*list) *list = i->after;
    i->after = NULL;
}

static void drop_item(flow *f, item *i)
{
    if (f->focus == i) f->focus = NULL;
    es_kept_close(i->kept);
    if (i->claimed) es_claims_drop(f->w->claims, i->r.media.content);
    es_spool_close(i->spool);
    es_result_done(&i->r);
    free(i);
}

static void leave_ahead(flow *f, item *i)
{
    pthread_mutex_lock(&f->lock);
    unlink_from(&f->ahead, i);
    f->n_ahead--;
    pthread_mutex_unlock(&f->lock);
}

/* A recording that cost nothing does not count for how long the others will take. */
static void free_of_cost(flow *f, item *i)
{
    es_ingest_walk *w = f->w;

    look_at(f, i);
    count_part(f, i, 0);
    w->flow_all -= bytes_of(f, i);
}

/* Tells what failed. The code ends the run where every other recording would fail, too. */
static int fail_item(flow *f, item *i, int rc, const es_err *why, es_err *err)
{
    es_ingest_walk *w = f->w;

    if (w->hopeless || es_steps_is_fatal(rc)) return es_fail(err, rc, "%s", why->text);
    free_of_cost(f, i);
    w->tally.failed++;
    return es_steps_tell(w, ES_INGEST_FAILED, 0, why->text) ? es_fail(err, ES_ECANCELLED, "cancelled") : ES_OK;
}

static void on_kept(void *user, const char *sentence)
{
    item *i = user;

    look_at(i->flow, i);
    es_steps_tell(i->flow->w, ES_INGEST_NOTE, 0, sentence);
}

/* The last steps of an item that is on no list any more, as far as rc is ES_OK; then it is gone. */
static int finish_item(flow *f, item *i, int rc, es_err *why, es_err *err)
{
    es_ingest_walk *w = f->w;

    es_spool_close(i->spool); /* its room on the disk may be wanted */
    i->spool = NULL;
    if (rc == ES_OK) rc = es_steps_finish(w, &i->r, i->parts, i->kept, why);
    if (rc == ES_OK) {
        double t = i->given > 0 ? es_steps_now() - i->given : 0;
        w->at.speed = t > 0 ? (double)w->at.audio_ms / 1000 / t : 0;
        count_part(f, i, 1);
        es_steps_stored(w, &i->r);
        if (w->cancelled) rc = es_fail(err, ES_ECANCELLED, "cancelled");
    } else {
        rc = fail_item(f, i, rc, why, err);
    }
    drop_item(f, i);
    return rc;
}

/* ---- the way to the batch ---- */

/* The next file of the list becomes an item. *any: there was one. */
static int begin_one(flow *f, bool *any, es_err *err)
{
    es_ingest_walk *w = f->w;
    struct stat st;

    while (f->next < w->list.n && f->waiting && !f->put_off[f->next]) f->next++;
    *any = f->next < w->list.n;
    if (!*any) return ES_OK;
    item *i = calloc(1, sizeof *i);
    if (!i) return es_fail(err, ES_ENOMEM, "not enough memory");
    size_t at = f->next++;
    const es_walk_file *file = &w->list.files[at];
    bool again = f->put_off[at];
    f->n_put_off -= again;
    f->put_off[at] = false;
    i->index = at;
    i->path = file->path;
    i->flow = f;
    i->at = (es_steps_view){.index = at, .file_began = es_steps_now(), .stage = "reading"};
    look_at(f, i);
    if (!again && es_steps_tell(w, ES_INGEST_START, 0, NULL)) {
        drop_item(f, i);
        return es_fail(err, ES_ECANCELLED, "cancelled");
    }
    i->step = TO_HASH;
    if (file->fault) {
        i->step = HASHED;
        i->rc = es_fail(&i->why, ES_ENOTFOUND, "%s", file->fault);
    } else if (stat(i->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        es_media_info *m = &i->r.media;
        int64_t mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        i->dev = (uint64_t)st.st_dev, i->ino = (uint64_t)st.st_ino;
        i->seen = (es_media_info){.bytes = (uint64_t)st.st_size, .mtime_ns = mtime};
        if (es_store_cached_hash(w->job->store, i->dev, i->ino, i->seen.bytes, mtime, &m->content)) {
            i->step = HASHED;
            m->bytes = i->seen.bytes, m->mtime_ns = mtime;
        }
    }
    pthread_mutex_lock(&f->lock);
    item **end = &f->ahead;
    while (*end) end = &(*end)->after;
    *end = i;
    f->n_ahead++;
    pthread_cond_signal(&f->work);
    pthread_mutex_unlock(&f->lock);
    return ES_OK;
}

static bool on_its_way(const item *list, const item *i)
{
    for (; list; list = list->after)
        if (list != i && list->claimed &&
            !memcmp(&list->r.media.content, &i->r.media.content, sizeof i->r.media.content))
            return true;
    return false;
}

/* The item was read for its hash: known, another's, or to be decoded. */
static int after_hash(flow *f, item *i, es_err *err)
{
    es_ingest_walk *w = f->w;
    es_media_info *m = &i->r.media;
    es_err why = i->why;
    int rc = i->rc;

    look_at(f, i);
    w->tally.read_seconds += i->hash_seconds;
    if (rc == ES_OK && i->seen.bytes && m->bytes == i->seen.bytes && m->mtime_ns == i->seen.mtime_ns)
        es_store_cache_hash(w->job->store, i->dev, i->ino, m->bytes, m->mtime_ns, m->content, NULL); /* may fail */
    m->track = w->job->track;
    i->seen = (es_media_info){.bytes = m->bytes, .mtime_ns = m->mtime_ns};
    if (rc == ES_OK && (on_its_way(f->ahead, i) || on_its_way(f->given, i))) rc = ES_EBUSY;
    bool known = rc == ES_OK && !w->job->again && es_steps_is_known(w, m, i->path);
    if (rc == ES_OK && !known) {
        rc = es_claims_take(w->claims, m->content, &why);
        i->claimed = rc == ES_OK;
        /* Between looking and claiming another process may have finished it. */
        known = rc == ES_OK && !w->job->again && es_steps_is_known(w, m, i->path);
    }
    if (rc == ES_OK && !known) rc = es_steps_take(w, &i->r, &i->parts, i->path, &why);
    if (rc == ES_OK && !known) rc = es_steps_ready(w, &why);
    if (rc == ES_OK && !known && i->parts & ES_PARTS_OF_SOUND) {
        es_steps_begin(w, "decoding");
        set_step(f, i, TO_DECODE);
        return w->cancelled ? es_fail(err, ES_ECANCELLED, "cancelled") : ES_OK;
    }
    leave_ahead(f, i);
    if (rc == ES_OK && !known) {
        rc = es_steps_keep(w, &i->kept, &i->r, NULL, on_kept, i, &why);
        return finish_item(f, i, rc, &why, err);
    }
    if (rc == ES_EBUSY) {
        f->put_off[i->index] = true;
        f->n_put_off++;
        rc = ES_OK;
    } else if (rc != ES_OK) {
        rc = fail_item(f, i, rc, &why, err);
    } else {
        free_of_cost(f, i);
        if (w->cancelled) rc = es_fail(err, ES_ECANCELLED, "cancelled");
    }
    drop_item(f, i);
    return rc;
}

/* The item was decoded: who speaks in it, then it is the batch's. *file NULL: it is not to be transcribed, or failed. */
static int after_decode(flow *f, item *i, es_batch_file **file, es_err *err)
{
    static const es_heard nowhere; /* no regions: not "unknown", but none */
    es_ingest_walk *w = f->w;
    es_err why = i->why;
    int rc = i->rc;

    leave_ahead(f, i);
    look_at(f, i);
    w->tally.decode_seconds += i->decode_seconds;
    if (rc == ES_OK) rc = es_steps_unchanged(&i->r, i->path, &i->seen, &why);
    if (rc == ES_OK) {
        w->at.audio_ms = i->r.media.duration_ms;
        es_steps_note_damage(w, &i->r.media);
        rc = es_steps_keep(w, &i->kept, &i->r, i->spool, on_kept, i, &why);
        if (rc == ES_OK) rc = es_steps_hear(w, &i->r, i->parts, i->spool, i->kept, &why);
    }
    if (rc != ES_OK || !(i->parts & ES_PART_WORDS)) return finish_item(f, i, rc, &why, err);
    es_steps_begin(w, "transcribing");
    i->given = es_steps_now();
    i->file = (es_batch_file){
        .sound = es_sound_of(i->spool), .content = i->r.media.content, .to = &i->r.transcript, .kept = i->kept, .user = i};
    if (es_hear_knows_speech(&i->r)) {
        i->file.speech = i->r.who.speech ? i->r.who.speech : &nowhere;
        i->file.n_speech = i->r.who.n_speech;
    }
    i->after = f->given;
    f->given = i;
    *file = &i->file;
    return ES_OK;
}

/* The first item that a reader is done with. */
static item *ready_item(flow *f, step *s)
{
    pthread_mutex_lock(&f->lock);
    item *i = f->ahead;
    while (i && i->step != HASHED && i->step != DECODED) i = i->after;
    if (i) *s = i->step;
    pthread_mutex_unlock(&f->lock);
    return i;
}

static void wait_for_news(flow *f)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    pthread_mutex_lock(&f->lock);
    bool news = false;
    for (const item *i = f->ahead; i && !news; i = i->after) news = i->step == HASHED || i->step == DECODED;
    if (!news) pthread_cond_timedwait(&f->news, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
}

/* Nothing is ahead and the list is at its end: those put off are looked at again when nothing of ours is on its way.
 * *more: there is something to look at. */
static int take_up_again(flow *f, bool wait, bool *more, es_err *err)
{
    *more = false;
    if (!f->n_put_off || f->given) return ES_OK;
    if (f->waiting) { /* so they are another process's */
        if (!wait) return ES_OK;
        if (es_steps_wait(f->w)) return es_fail(err, ES_ECANCELLED, "cancelled");
    }
    f->waiting = true;
    f->next = 0;
    *more = true;
    return ES_OK;
}

static int next_file(flow *f, bool wait, es_batch_file **file, es_err *err)
{
    int rc = ES_OK;

    *file = NULL;
    for (;;) {
        bool any = true;
        while (rc == ES_OK && any && f->n_ahead < f->most_ahead) rc = begin_one(f, &any, err);
        if (rc != ES_OK) return rc;
        step s = TO_HASH;
        item *i = ready_item(f, &s);
        if (i && s == HASHED) {
            rc = after_hash(f, i, err);
            if (rc != ES_OK) return rc;
            continue;
        }
        if (i) {
            rc = after_decode(f, i, file, err);
            if (rc != ES_OK || *file) return rc;
            continue;
        }
        if (!f->ahead) {
            bool more;
            rc = take_up_again(f, wait, &more, err);
            if (rc != ES_OK || !more) return rc;
            continue;
        }
        if (!wait) return ES_OK;
        wait_for_news(f);
        if (f->ahead && tell_progress(f, f->ahead, f->ahead->at.fraction, 0))
            return es_fail(err, ES_ECANCELLED, "cancelled");
    }
}

static int on_next(void *user, bool wait, es_batch_file **file, es_err *err)
{
    flow *f = user;
    double began = es_steps_now();
    int rc = ES_OK;

    *file = f->first;
    f->first = NULL;
    if (!*file) rc = next_file(f, wait, file, err);
    f->aside += es_steps_now() - began;
    return rc;
}

/* ---- the way from the batch ---- */

static int on_windows(void *user, es_batch_file *file, int64_t done_ms, int64_t all_ms)
{
    flow *f = user;
    item *i = file->user;
    double before = es_steps_heard_share(f->w), t = es_steps_now() - i->given;

    return tell_progress(f, i, before + (1 - before) * (all_ms > 0 ? (double)done_ms / (double)all_ms : 1),
                         t > 0 ? (double)done_ms / 1000 / t : 0);
}

static int on_done(void *user, es_batch_file *file, int rc, const es_err *why, es_err *err)
{
    flow *f = user;
    item *i = file->user;
    double began = es_steps_now();
    es_err fault = *why;

    look_at(f, i);
    unlink_from(&f->given, i);
    rc = finish_item(f, i, rc, &fault, err);
    f->aside += es_steps_now() - began;
    return rc;
}

/* ---- all ---- */

/* One reader until a recording needs the models: those that are known cost no loading. Then, on the CPU the models have
 * use for every core; beside a device two are kept for this thread and the device's, and the rest read. */
static int run(flow *f, es_batch_figures *figures, es_err *err)
{
    const es_batch_source source = {on_next, on_done, on_windows, f};
    es_session *session = f->w->job->session;
    int rc = start_readers(f, 1, err);

    if (rc == ES_OK) rc = next_file(f, true, &f->first, err);
    if (rc != ES_OK || !f->first) return rc;
    if (es_device_backend(es_session_device(session)) != ES_CPU)
        rc = start_readers(f, sysconf(_SC_NPROCESSORS_ONLN) - 2, err);
    if (rc == ES_OK) rc = es_batch_open(&f->batch, es_session_whisper(session), es_session_bpe(session), err);
    if (rc != ES_OK) return rc;
    double began = es_steps_now();
    rc = es_batch_run(f->batch, &f->w->job->speech, &source, figures, err);
    f->w->tally.speech_seconds += es_steps_now() - began - f->aside;
    return rc;
}

int es_flow(es_ingest_walk *w, es_err *err)
{
    flow f = {.w = w};
    int rc;

    f.put_off = calloc(w->list.n + 1, sizeof *f.put_off);
    if (!f.put_off) return es_fail(err, ES_ENOMEM, "not enough memory");
    pthread_mutex_init(&f.lock, NULL);
    pthread_cond_init(&f.work, NULL);
    pthread_cond_init(&f.news, NULL);
    for (size_t i = 0; i < w->list.n; i++) w->flow_all += (double)w->list.files[i].bytes;
    rc = run(&f, &w->tally.batch, err);
    es_transcribe_times *all = &w->tally.times, *t = &w->tally.batch.times;
    all->encode += t->encode, all->decode += t->decode, all->align += t->align;
    all->windows += t->windows, all->attempts += t->attempts, all->tokens += t->tokens;
    stop_readers(&f);
    while (f.ahead || f.given) {
        item **list = f.ahead ? &f.ahead : &f.given, *i = *list;
        *list = i->after;
        drop_item(&f, i);
    }
    es_batch_close(f.batch);
    pthread_cond_destroy(&f.news);
    pthread_cond_destroy(&f.work);
    pthread_mutex_destroy(&f.lock);
    free(f.put_off);
    return rc;
}
