/*
 * kept.c - see kept.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "media/decode.h"

struct es_kept {
    es_journal *journal;
    es_hash128 content;
    int track;
    es_hash128 base[ES_JOURNAL_KINDS]; /* of all that entries of a kind depend on, but for what their stage adds */
    es_hash128 made_with[ES_JOURNAL_KINDS];
    void (*note)(void *user, const char *sentence);
    void *user;
};

/* Whether entries of a kind follow from the pack of a stage. */
static bool depends(enum es_journal_kind kind, enum es_stage stage)
{
    switch (kind) {
    case ES_JOURNAL_CLASSES: return stage == ES_STAGE_SEGMENTATION;
    case ES_JOURNAL_VOICES: return stage == ES_STAGE_SEGMENTATION || stage == ES_STAGE_DIARIZER;
    case ES_JOURNAL_TEXTS: return stage == ES_STAGE_EMBEDDER;
    default: return stage == ES_STAGE_ASR;
    }
}

/* Also of this program's version and of the decoder's, either of which may change a bit. */
static int hash_base(es_hash128 *out, enum es_journal_kind kind, const es_kept_of *of)
{
    const char *const texts[] = {ES_VERSION, es_media_versions(), of->device,
                                 kind == ES_JOURNAL_LANGUAGE || kind == ES_JOURNAL_WORDS ? of->settings : ""};
    es_hasher *h = es_hasher_open();

    if (!h) return -1;
    es_hasher_add(h, of->content.b, sizeof of->content.b);
    es_hasher_add(h, &of->track, sizeof of->track);
    es_hasher_add(h, &of->samples, sizeof of->samples);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) es_hasher_add(h, texts[i], strlen(texts[i]) + 1);
    for (int s = 0; s < ES_N_STAGES; s++)
        if (depends(kind, (enum es_stage)s)) es_hasher_add(h, of->by[s].b, sizeof of->by[s].b);
    *out = es_hasher_value(h);
    es_hasher_close(h);
    return 0;
}

int es_kept_open(es_kept **out, es_journal *j, const es_kept_of *of, void (*note)(void *user, const char *sentence), void *user,
                 es_err *err)
{
    es_kept *k = calloc(1, sizeof *k);
    int rc = k ? 0 : -1;

    *out = NULL;
    for (int kind = 1; kind < ES_JOURNAL_KINDS && !rc; kind++) rc = hash_base(&k->base[kind], (enum es_journal_kind)kind, of);
    if (rc) {
        free(k);
        return es_fail(err, ES_ENOMEM, "not enough memory to keep a recording's work");
    }
    k->journal = j;
    k->content = of->content;
    k->track = of->track;
    k->note = note;
    k->user = user;
    *out = k;
    return ES_OK;
}

void es_kept_close(es_kept *k)
{
    if (k) es_journal_settle(k->journal, k->content, k->track);
    free(k);
}

void es_kept_forget(es_kept *k)
{
    if (k) es_journal_forget(k->journal, k->content, k->track);
}

int es_kept_read(es_kept *k, enum es_journal_kind kind, const void *of, size_t bytes,
                 int (*visit)(void *user, es_journal_entry *e, es_err *err), void *user, es_err *err)
{
    es_hash128 both[2];

    if (!k) return ES_OK;
    both[0] = k->base[kind];
    both[1] = es_hash_bytes(bytes ? of : "", bytes);
    k->made_with[kind] = es_hash_bytes(both, sizeof both);
    return es_journal_read(k->journal, k->content, k->track, kind, k->made_with[kind], visit, user, err);
}

int es_kept_add(es_kept *k, es_journal_entry *e, es_err *err)
{
    if (!k) return ES_OK;
    e->made_with = k->made_with[e->kind];
    return es_journal_add(k->journal, k->content, k->track, e, err);
}

void es_kept_took(const es_kept *k, enum es_journal_kind kind, int64_t n, int64_t all)
{
    static const char *const what[ES_JOURNAL_KINDS] = {[ES_JOURNAL_CLASSES] = "windows in which speakers were sought",
                                                       [ES_JOURNAL_VOICES] = "windows whose voices were heard",
                                                       [ES_JOURNAL_WORDS] = "windows that were transcribed",
                                                       [ES_JOURNAL_TEXTS] = "passages that have vectors"};
    char text[200];

    if (!k || !k->note || !n || !what[kind]) return;
    if (all > 0) snprintf(text, sizeof text, "goes on where an earlier run was ended: %lld of %lld %s", (long long)n, (long long)all, what[kind]);
    else snprintf(text, sizeof text, "goes on where an earlier run was ended: %lld %s", (long long)n, what[kind]);
    k->note(k->user, text);
}
