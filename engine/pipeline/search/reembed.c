/*
 * reembed.c - one recording after the other into another space.
 */
#define _GNU_SOURCE
#include "pipeline/search/reembed.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/search/meaning.h"
#include "store/find.h"

typedef struct recording {
    es_hash128 content;
    int track;
    char *path; /* owned */
} recording;

typedef struct work {
    es_store *s;
    es_embedding *e;
    recording *at;
    size_t n, room;
    int (*listen)(void *user, const es_reembed_event *event);
    void *user;
    es_reembed_tally tally;
    bool no_memory;
} work;

static int note_recording(void *user, const es_entry *e)
{
    work *w = user;

    if (w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        recording *moved = realloc(w->at, room * sizeof *moved);
        if (!moved) {
            w->no_memory = true;
            return 1;
        }
        w->at = moved, w->room = room;
    }
    w->at[w->n] = (recording){.content = e->media.content, .track = e->media.track, .path = strdup(e->media.path ? e->media.path : "")};
    w->no_memory = !w->at[w->n].path;
    w->n += !w->no_memory;
    return w->no_memory;
}

static int tell(const work *w, es_reembed_kind kind, size_t i, const char *text)
{
    const es_reembed_event event = {.kind = kind, .path = w->at[i].path, .index = i, .count = w->n, .text = text};

    return w->listen ? w->listen(w->user, &event) : 0;
}

/* Passages for a recording that has none, or that an older version stored without: from what was said, which stays. */
static int cut(work *w, const recording *r, es_passages *p, es_err *err)
{
    es_result result = {0};
    int rc = es_store_get(w->s, r->content, r->track, &result, err);

    if (rc == ES_OK) rc = es_meaning_cut(p, &result.transcript, w->e, err);
    es_result_done(&result);
    return rc;
}

/* *made: whether there was something to do. A recording in which nothing is said has no passages, and needs no vectors. */
static int one(work *w, const recording *r, bool *made, es_err *err)
{
    es_passages p = {0};
    es_maker maker = es_embedding_maker(w->e);
    bool has = false, fresh = false;
    int rc = es_store_has_vectors(w->s, r->content, r->track, es_embedding_space(w->e), &has, err);

    *made = false;
    if (rc != ES_OK || has) return rc;
    rc = es_store_get_passages(w->s, r->content, r->track, false, &p, err);
    if (rc == ES_OK && !p.n) {
        fresh = true;
        rc = cut(w, r, &p, err);
    }
    if (rc == ES_OK && p.n) {
        rc = es_meaning_vectors(&p.vectors, &p, w->e, NULL, NULL, err);
        if (rc == ES_OK && fresh) rc = es_store_put_passages(w->s, r->content, r->track, &p, &maker, err);
        else if (rc == ES_OK) rc = es_store_put_vectors(w->s, r->content, r->track, &p.vectors, &maker, err);
        *made = rc == ES_OK;
    }
    es_passages_done(&p);
    /* Removed by another process meanwhile: then there is nothing to be done about it. */
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

typedef struct others {
    es_hash128 keep, at[64];
    size_t n;
} others;

static int note_other(void *user, const es_text_space *space)
{
    others *o = user;

    if (memcmp(&space->space, &o->keep, sizeof o->keep)) o->at[o->n++] = space->space;
    return o->n == sizeof o->at / sizeof *o->at;
}

static int drop_others(work *w, es_err *err)
{
    others o = {.keep = es_embedding_space(w->e)};
    int rc = es_store_spaces(w->s, note_other, &o, err);

    if (rc > 0) rc = ES_OK; /* stopped by us: the rest goes with the next call */
    for (size_t i = 0; i < o.n && rc == ES_OK; i++) {
        rc = es_store_drop_space(w->s, o.at[i], err);
        if (rc == ES_OK) w->tally.dropped++;
    }
    return rc;
}

/* What makes every other recording fail, too. */
static bool is_fatal(int rc)
{
    return rc == ES_ELIBRARY || rc == ES_ENEWER || rc == ES_EDEVICE || rc == ES_EMODEL || rc == ES_EBUDGET || rc == ES_ECANCELLED;
}

static int list(work *w, es_err *err)
{
    int rc;

    for (size_t i = 0; i < w->n; i++) free(w->at[i].path);
    w->n = 0;
    rc = es_store_list(w->s, note_recording, w, err);
    return w->no_memory ? es_fail(err, ES_ENOMEM, "not enough memory for the list of recordings") : rc;
}

/* All recordings once; *made: how many got vectors. */
static int pass(work *w, size_t *made, es_err *err)
{
    int rc = ES_OK;

    w->tally = (es_reembed_tally){.recordings = w->n, .made = w->tally.made};
    *made = 0;
    for (size_t i = 0; i < w->n && rc == ES_OK; i++) {
        es_err why = {0};
        bool anew;
        if (tell(w, ES_REEMBED_AT, i, NULL)) return es_fail(err, ES_ECANCELLED, "cancelled");
        int failed = one(w, &w->at[i], &anew, &why), stop = 0;
        if (failed && is_fatal(failed)) return es_fail(err, failed, "%s", why.text);
        if (failed) {
            w->tally.failed++;
            stop = tell(w, ES_REEMBED_FAILED, i, why.text);
        } else if (anew) {
            w->tally.made++, (*made)++;
            stop = tell(w, ES_REEMBED_DONE, i, NULL);
        }
        if (stop) rc = es_fail(err, ES_ECANCELLED, "cancelled");
    }
    return rc;
}

int es_reembed(es_store *s, es_embedding *e, int (*listen)(void *user, const es_reembed_event *event), void *user,
               es_reembed_tally *tally, es_err *err)
{
    work w = {.s = s, .e = e, .listen = listen, .user = user};
    size_t made = 1;
    int rc = es_embedding_has_tokens(e)
                 ? ES_OK
                 : es_fail(err, ES_EMODEL, "%s has no tokenizer: it takes token ids, not what was said", es_embedding_name(e));

    /* Until a pass has nothing to do: other processes may have taken in recordings with the old model meanwhile. */
    while (rc == ES_OK && made) {
        rc = list(&w, err);
        if (rc == ES_OK) rc = pass(&w, &made, err);
    }
    if (rc == ES_OK && !w.tally.failed) rc = drop_others(&w, err);
    w.tally.known = w.tally.recordings - w.tally.failed - (w.tally.made < w.tally.recordings ? w.tally.made : w.tally.recordings);
    if (tally) *tally = w.tally;
    for (size_t i = 0; i < w.n; i++) free(w.at[i].path);
    free(w.at);
    return rc;
}
