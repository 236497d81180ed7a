/*
 * batch_kept.c - windows and languages of recordings that outlive a run which is ended: written to the journal (kept.h),
 * and read from it before the first window of a recording is encoded.
 */
#include "pipeline/words/batch_parts.h"

enum { VOTES = 3 };

size_t es_batch_voters(const es_batch_recording *r)
{
    return r->n < VOTES ? r->n : VOTES;
}

typedef struct taking {
    es_batch_recording *r;
    int64_t windows;
    int n_languages;
} taking;

static int take_language(void *user, es_journal_entry *e, es_err *err)
{
    const taking *t = user;

    (void)err;
    if (e->language < 0 || e->language >= t->n_languages) return ES_OK;
    t->r->language = e->language;
    t->r->probability = e->probability;
    t->r->votes = es_batch_voters(t->r);
    return ES_OK;
}

static int take_words(void *user, es_journal_entry *e, es_err *err)
{
    taking *t = user;
    es_batch_recording *r = t->r;
    es_batch_chain *c = e->number < r->n ? &r->chains[e->number] : NULL;

    (void)err;
    if (!c || e->seek < c->seek || e->seek > c->end || e->language >= t->n_languages) return ES_OK;
    r->frames_done += e->over ? c->end - c->seek : e->seek - c->seek;
    r->done += e->over;
    c->over = e->over;
    c->seek = e->seek;
    c->said_until = e->said_until;
    c->language = e->language;
    c->probability = e->probability;
    c->part = e->part; /* the chain's from here on */
    e->part = (es_transcript){0};
    t->windows++;
    return ES_OK;
}

void es_batch_skip_over(es_batch_recording *r)
{
    while (r->fresh < r->n && r->chains[r->fresh].over) r->fresh++;
}

/* What was said before its language was known
 * cannot be there, so without that nothing is. */
int es_batch_take_up(es_batch_recording *r, const es_cut *cuts, int n_languages, bool each, es_err *err)
{
    size_t bytes = r->n * sizeof *cuts;
    taking t = {.r = r, .n_languages = n_languages};
    int rc = es_kept_read(r->file->kept, ES_JOURNAL_LANGUAGE, cuts, bytes, take_language, &t, err);

    if (rc == ES_OK && (r->language >= 0 || each))
        rc = es_kept_read(r->file->kept, ES_JOURNAL_WORDS, cuts, bytes, take_words, &t, err);
    if (rc == ES_OK) es_kept_took(r->file->kept, ES_JOURNAL_WORDS, t.windows, (int64_t)r->n);
    es_batch_skip_over(r);
    return rc;
}

int es_batch_keep_chain(es_batch_recording *r, es_batch_chain *c, es_err *err)
{
    es_journal_entry e = {.kind = ES_JOURNAL_WORDS,
                          .number = (uint32_t)(c - r->chains),
                          .seek = c->seek,
                          .said_until = c->said_until,
                          .language = c->language,
                          .probability = c->probability,
                          .over = c->over,
                          .part = c->part};

    return es_kept_add(r->file->kept, &e, err);
}

int es_batch_keep_language(const es_batch_recording *r, es_err *err)
{
    es_journal_entry e = {.kind = ES_JOURNAL_LANGUAGE, .language = r->language, .probability = r->probability};

    return es_kept_add(r->file->kept, &e, err);
}
