/*
 * earshot_search.c - the public door, part for finding: searches, the library's encoder, vectors made anew.
 */
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "library.h"
#include "encoder.h"
#include "pipeline/search/reembed.h"
#include "pipeline/search/search.h"

enum { MARKS = 256 };

int es_library_encoder(es_library *library, es_encoder **out, const es_encoder_options *options, es_error *error)
{
    es_embedding_options inner;
    es_encoder *e = NULL;
    es_err err = {0};
    char models[4096];
    int rc = es_door_encoder_options(&inner, options, models, sizeof models, &err);

    *out = NULL;
    inner.hushed = true; /* one question is no batch that anybody waits for */
    inner.texts = 1;
    if (rc == ES_OK && !(e = calloc(1, sizeof *e))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = es_search_encoder(library->store, &e->embedding, &inner, &err);
    if (rc == ES_OK) {
        *out = e;
        e = NULL; /* the caller's from here on */
    }
    es_encoder_close(e);
    return es_door_give(error, rc, &err);
}

/* ---- hits on their way out ---- */

typedef struct visitor {
    int (*visit)(void *user, const es_match *match);
    void *user;
} visitor;

static int pass_hit(void *user, const es_search_hit *h)
{
    const visitor *v = user;
    const es_found *f = h->found;
    char id[33];
    es_mark marks[MARKS];
    es_match m = {.rank = h->rank,
                  .id = id,
                  .track = f->media.track,
                  .path = f->media.path ? f->media.path : "",
                  .start_ms = f->start_ms,
                  .end_ms = f->end_ms,
                  .at_ms = h->at_ms,
                  .at = (uint32_t)h->best,
                  .speaker = f->speaker,
                  .speaker_name = h->speaker,
                  .language = f->language,
                  .text = f->text,
                  .text_bytes = f->bytes,
                  .marks = marks,
                  .score = h->score,
                  .meaning_rank = h->meaning_rank,
                  .words_rank = h->words_rank,
                  .similarity = h->similarity,
                  .words_score = h->words_score};

    es_hash_hex(id, f->media.content);
    for (; m.n_marks < h->n_marks && m.n_marks < MARKS; m.n_marks++) {
        const es_stretch *s = &h->marks[m.n_marks];
        marks[m.n_marks] = (es_mark){(uint32_t)s->from, (uint32_t)(s->to - s->from)};
    }
    return v->visit(v->user, &m);
}

static int wish_of(es_search_wish *out, const es_search_options *options, es_err *err)
{
    es_search_options o = ES_SEARCH_OPTIONS;
    char shown[64];

    if (!es_door_options(&o, sizeof o, options)) return es_fail(err, ES_EARG, "es_search_options has no valid size");
    if (o.limit < 0) return es_fail(err, ES_EARG, "%d is no number of hits", o.limit);
    *out = (es_search_wish){
        .where = {.speaker = o.speaker, .in = o.in, .after = o.after, .before = o.before, .language = o.language}, .k = o.limit};
    if (!o.mode) out->mode = ES_SEARCH_FUSED;
    else if (!strcmp(o.mode, "meaning")) out->mode = ES_SEARCH_MEANING;
    else if (!strcmp(o.mode, "words")) out->mode = ES_SEARCH_WORDS;
    else return es_fail(err, ES_EARG, "a search is by meaning or by words, not by %s", es_printable(shown, sizeof shown, o.mode));
    return ES_OK;
}

int es_library_search(es_library *library, es_encoder *encoder, const char *query, size_t bytes, const es_search_options *options,
                      int (*visit)(void *user, const es_match *match), void *user, es_error *error)
{
    visitor v = {visit, user};
    es_search_wish wish;
    es_err err = {0};
    int rc = wish_of(&wish, options, &err);

    if (rc == ES_OK) rc = es_search(library->store, encoder ? encoder->embedding : NULL, query, bytes, &wish, pass_hit, &v, &err);
    return es_door_give(error, rc, &err);
}

int es_library_similar(es_library *library, const char *moment, const es_search_options *options,
                       int (*visit)(void *user, const es_match *match), void *user, es_error *error)
{
    visitor v = {visit, user};
    es_search_wish wish;
    es_err err = {0};
    int rc = wish_of(&wish, options, &err);

    if (rc == ES_OK) rc = es_search_similar(library->store, moment, &wish, pass_hit, &v, &err);
    return es_door_give(error, rc, &err);
}

/* ---- vectors anew ---- */

typedef struct listener {
    es_event_fn listen;
    void *user;
} listener;

static int pass_event(void *user, const es_reembed_event *e)
{
    const listener *l = user;
    const es_event out = {.kind = e->kind == ES_REEMBED_AT     ? ES_EVENT_PROGRESS
                                  : e->kind == ES_REEMBED_DONE ? ES_EVENT_STORED
                                                               : ES_EVENT_FAILED,
                          .path = e->path,
                          .index = e->index,
                          .count = e->count,
                          .stage = "embedding",
                          .fraction = e->kind == ES_REEMBED_AT ? 0 : 1,
                          .fraction_all = e->count ? (double)(e->index + (e->kind != ES_REEMBED_AT)) / (double)e->count : -1,
                          .eta_seconds = -1,
                          .eta_all_seconds = -1,
                          .text = e->text};

    return l->listen ? l->listen(l->user, &out) : 0;
}

int es_library_reembed(es_library *library, const es_encoder_options *options, es_event_fn listen, void *user,
                       es_ingest_report *report, es_error *error)
{
    listener l = {listen, user};
    es_embedding_options inner;
    es_embedding *e = NULL;
    es_reembed_tally t = {0};
    es_err err = {0};
    char models[4096];
    int rc = es_door_encoder_options(&inner, options, models, sizeof models, &err);

    inner.preferred = true;
    if (rc == ES_OK) rc = es_embedding_open(&e, &inner, &err);
    if (rc == ES_OK) rc = es_reembed(library->store, e, pass_event, &l, &t, &err);
    es_embedding_close(e);
    if (report) *report = (es_ingest_report){.files = t.recordings, .stored = t.made, .known = t.known, .failed = t.failed};
    return es_door_give(error, rc, &err);
}
