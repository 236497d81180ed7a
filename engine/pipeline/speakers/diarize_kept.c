/*
 * diarize_kept.c - see diarize_kept.h. Entries follow each other without a gap, as they were written; the first one that does
 * not fit is the end of what is taken.
 */
#include "pipeline/speakers/diarize_kept.h"

#include <stdlib.h>
#include <string.h>

#include "speech/windows.h"

enum { SLOTS = ES_WINDOW_SLOTS, FRAMES = ES_WINDOW_FRAMES };

typedef struct taking {
    es_diarize_windows *w;
    int64_t done;
    bool gap;
} taking;

int es_diarize_add_vector(es_diarize_windows *w, int64_t slot, const float *v, es_err *err)
{
    size_t d = (size_t)w->width;

    if (w->n_vectors == w->room) {
        size_t room = w->room ? 2 * w->room : 256;
        float *p = realloc(w->vectors, room * d * sizeof *p);
        if (!p) return es_fail(err, ES_ENOMEM, "cannot allocate %zu vectors of voices", room);
        w->vectors = p, w->room = room;
    }
    memcpy(w->vectors + w->n_vectors * d, v, d * sizeof *v);
    w->row[slot] = (int32_t)w->n_vectors++;
    return ES_OK;
}

/* ---- classes ---- */

static int take_classes(void *user, es_journal_entry *e, es_err *err)
{
    taking *t = user;
    size_t bytes = (size_t)e->n * FRAMES;

    (void)err;
    t->gap = t->gap || e->number != t->done || e->width != FRAMES || e->n > t->w->n - t->done;
    for (size_t i = 0; i < bytes && !t->gap; i++) t->gap = e->classes[i] >= ES_WINDOW_CLASSES;
    if (t->gap) return ES_OK;
    memcpy(t->w->classes + t->done * FRAMES, e->classes, bytes);
    t->done += e->n;
    return ES_OK;
}

int es_diarize_kept_classes(es_diarize_windows *w, int64_t *done, es_kept *k, es_err *err)
{
    taking t = {.w = w};
    int rc = es_kept_read(k, ES_JOURNAL_CLASSES, &w->step, sizeof w->step, take_classes, &t, err);

    *done = t.done;
    if (rc == ES_OK) es_kept_took(k, ES_JOURNAL_CLASSES, t.done, w->n);
    return rc;
}

int es_diarize_keep_classes(const es_diarize_windows *w, int64_t first, int64_t n, es_kept *k, es_err *err)
{
    es_journal_entry e = {.kind = ES_JOURNAL_CLASSES,
                          .number = (uint32_t)first,
                          .n = (uint32_t)n,
                          .width = FRAMES,
                          .classes = w->classes + first * FRAMES};

    return es_kept_add(k, &e, err);
}

/* ---- voices ---- */

static int take_voices(void *user, es_journal_entry *e, es_err *err)
{
    taking *t = user;
    int rc = ES_OK;

    t->gap = t->gap || e->number != t->done || e->until > t->w->n || (int)e->width != t->w->width;
    for (uint32_t i = 0; i < e->n && !t->gap; i++)
        t->gap = e->slots[i] < (i ? e->slots[i - 1] + 1 : e->number * SLOTS) || e->slots[i] >= e->until * SLOTS;
    if (t->gap) return ES_OK;
    for (uint32_t i = 0; i < e->n && rc == ES_OK; i++)
        rc = es_diarize_add_vector(t->w, e->slots[i], e->rows + (size_t)i * e->width, err);
    t->done = e->until;
    return rc;
}

int es_diarize_kept_voices(es_diarize_windows *w, int64_t *done, es_kept *k, es_err *err)
{
    taking t = {.w = w};
    int rc = es_kept_read(k, ES_JOURNAL_VOICES, &w->step, sizeof w->step, take_voices, &t, err);

    *done = t.done;
    if (rc == ES_OK) es_kept_took(k, ES_JOURNAL_VOICES, t.done, w->n);
    return rc;
}

int es_diarize_keep_voices(const es_diarize_windows *w, int64_t first, int64_t until, size_t n_before, es_kept *k, es_err *err)
{
    size_t n = 0;
    es_journal_entry e = {.kind = ES_JOURNAL_VOICES,
                          .number = (uint32_t)first,
                          .until = (uint32_t)until,
                          .width = (uint32_t)w->width,
                          .rows = w->vectors ? w->vectors + n_before * (size_t)w->width : NULL};
    int rc;

    if (!k || until <= first) return ES_OK;
    e.slots = malloc((size_t)(until - first) * SLOTS * sizeof *e.slots);
    if (!e.slots) return es_fail(err, ES_ENOMEM, "not enough memory to keep the voices of %lld windows", (long long)(until - first));
    for (int64_t s = first * SLOTS; s < until * SLOTS; s++)
        if (w->row[s] >= 0) e.slots[n++] = (uint32_t)s;
    e.n = (uint32_t)n;
    rc = es_kept_add(k, &e, err);
    free(e.slots);
    return rc;
}
