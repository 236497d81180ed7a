/*
 * lineup_packs.c - models by their packs.
 *
 * What a model needs of its pack before there are weights in memory - sizes, tokens, the ids that are never said - is
 * read when it is added, so that a pack that cannot work is refused before any memory is taken.
 */
#include <stdio.h>
#include <string.h>

#include "pipeline/session/lineup.h"

/* The token table of a speech model's pack, and the ids that are never sampled as text. */
static int open_tokens(es_lineup_model *m, es_err *err)
{
    const es_weight *t = es_weights_find(m->pack, "tokenizer.tokens");
    char shown[512];
    size_t n;
    int rc;

    es_printable(shown, sizeof shown, es_weights_path(m->pack));
    if (!t || t->dtype != ES_U8)
        return es_fail(err, ES_EMODEL, "%s: the tensor tokenizer.tokens of bytes is missing; convert the model again", shown);
    rc = es_bpe_open(&m->bpe, t->p, t->bytes, err);
    m->close_bpe = es_bpe_close;
    if (rc != ES_OK) return rc;
    n = es_bpe_non_speech(m->bpe, m->suppress, ES_LINEUP_SUPPRESSED);
    if (n > ES_LINEUP_SUPPRESSED)
        return es_fail(err, ES_EMODEL, "%s: the token table has %zu tokens that are not speech, more than %d", shown, n,
                       ES_LINEUP_SUPPRESSED);
    m->n_suppress = (int)n;
    if (es_bpe_encode(m->bpe, " ", 1, &m->blank, 1) != 1) m->blank = -1;
    return ES_OK;
}

int es_lineup_add_pack(es_lineup *l, const char *path, es_err *err)
{
    es_lineup_model *m = NULL;
    const char *architecture;
    char shown[512];
    int rc = es_lineup_new(&m, l, err);

    if (rc == ES_OK) rc = es_pack_open(&m->pack, path, err);
    if (rc != ES_OK) return rc;
    architecture = es_pack_architecture(m->pack);
    snprintf(m->name, sizeof m->name, "%s", es_pack_name(m->pack));
    if (!strcmp(architecture, "whisper")) {
        m->kind = ES_LINEUP_WHISPER;
        rc = es_whisper_dims_read(&m->whisper_dims, m->pack, err);
        return rc == ES_OK ? open_tokens(m, err) : rc;
    }
    if (!strcmp(architecture, "bert") || !strcmp(architecture, "qwen2")) {
        m->kind = ES_LINEUP_EMBEDDER;
        return es_embedder_dims_read(&m->embedder_dims, m->pack, err);
    }
    if (es_speaker_is(architecture)) {
        m->kind = ES_LINEUP_SPEAKER;
        return es_speaker_dims_read(&m->speaker_dims, m->pack, err);
    }
    if (!strcmp(architecture, "pyannet")) m->kind = ES_LINEUP_PYANNET;
    else
        return es_fail(err, ES_EMODEL, "%s: a model of the architecture %s cannot be run", es_printable(shown, sizeof shown, path),
                       architecture);
    return ES_OK;
}
