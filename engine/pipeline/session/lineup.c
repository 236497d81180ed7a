/*
 * lineup.c - models by name, entered in a plan; lineup_packs.c adds those that have weights.
 *
 * What is here needs no other room than runtime and models, so that it also serves where nothing else can be built.
 */
#define _GNU_SOURCE
#include "pipeline/session/lineup.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 227 rows take the longest prompt at once. An answer about a voice takes 100 frames or more, a text some tokens; a bound of
 * either that is met ends a step early and costs nothing else. */
enum { PROMPT_ROWS = 227, FRAMES_AN_ANSWER = 100, TEXTS = 256 };

static const char segmentation[] = "segmentation-3.0";

/* ---- adding ---- */

int es_lineup_new(es_lineup_model **out, es_lineup *l, es_err *err)
{
    es_lineup_model *m;

    if (l->n == ES_LINEUP_MOST) return es_fail(err, ES_EARG, "at most %d models live together", ES_LINEUP_MOST);
    m = calloc(1, sizeof *m);
    if (!m) return es_fail(err, ES_ENOMEM, "not enough memory for a list of models");
    m->blank = -1;
    l->at[l->n++] = m;
    *out = m;
    return ES_OK;
}

static int unknown(const char *name, es_err *err)
{
    char list[700] = "", shown[100];
    size_t n = 0;

    for (int i = 0; es_whisper_preset_name(i) && n + 40 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s, ", es_whisper_preset_name(i));
    for (int i = 0; es_embedder_preset_name(i) && n + 40 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s, ", es_embedder_preset_name(i));
    for (int i = 0; es_speaker_preset_name(i) && n + 40 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s, ", es_speaker_preset_name(i));
    return es_fail(err, ES_EARG, "there is no architecture called %s; there are %s%s",
                   es_printable(shown, sizeof shown, name), list, segmentation);
}

static int add_preset(es_lineup *l, const char *name, es_err *err)
{
    es_lineup_model *m = NULL;
    int rc = es_lineup_new(&m, l, err);

    if (rc != ES_OK) return rc;
    snprintf(m->name, sizeof m->name, "%s", name);
    if (es_whisper_preset(&m->whisper_dims, name)) m->kind = ES_LINEUP_WHISPER;
    else if (es_embedder_preset(&m->embedder_dims, name)) m->kind = ES_LINEUP_EMBEDDER;
    else if (!strcmp(name, segmentation)) m->kind = ES_LINEUP_PYANNET;
    else if (es_speaker_preset(&m->speaker_dims, name)) m->kind = ES_LINEUP_SPEAKER;
    else return unknown(name, err);
    return ES_OK;
}

int es_lineup_add_presets(es_lineup *l, const char *names, es_err *err)
{
    char *list = strdup(names), *save = NULL;
    int rc = list ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");
    int before = l->n;

    for (char *name = list ? strtok_r(list, ",", &save) : NULL; name && rc == ES_OK; name = strtok_r(NULL, ",", &save))
        rc = add_preset(l, name, err);
    if (rc == ES_OK && l->n == before) rc = es_fail(err, ES_EARG, "--with names no architecture");
    free(list);
    return rc;
}

void es_lineup_done(es_lineup *l)
{
    es_lineup_leave(l);
    for (int i = 0; i < l->n; i++) {
        if (l->at[i]->bpe) l->at[i]->close_bpe(l->at[i]->bpe);
        es_weights_close(l->at[i]->pack);
        free(l->at[i]);
    }
    *l = (es_lineup){0};
}

/* ---- in a plan ---- */

es_embedder_limits es_lineup_embedder_limits(const es_lineup_model *m)
{
    return (es_embedder_limits){.tokens = m->step.tokens, .texts = m->step.tokens < TEXTS ? m->step.tokens : TEXTS};
}

static int enter(es_lineup_model *m, es_plan *p, es_err *err)
{
    const es_session_limits *s = &m->step;

    switch (m->kind) {
    case ES_LINEUP_WHISPER: {
        es_whisper_limits limits = {.windows = s->windows,
                                    .slots = s->slots,
                                    .prompt_rows = PROMPT_ROWS,
                                    .align = m->whisper_dims.n_pairs > 0};
        return es_whisper_plan(&m->whisper, p, m->name, m->pack, &m->whisper_dims, limits, m->suppress, m->n_suppress,
                               m->blank, err);
    }
    case ES_LINEUP_PYANNET: return es_pyannet_plan(&m->pyannet, p, m->name, m->pack, s->segments, err);
    case ES_LINEUP_SPEAKER: {
        es_speaker_limits limits = {.answers = s->frames / FRAMES_AN_ANSWER + 1, .rows = s->frames};
        return es_speaker_plan(&m->speaker, p, m->name, m->pack, &m->speaker_dims, limits, err);
    }
    case ES_LINEUP_EMBEDDER:
        return es_embedder_plan(&m->embedder, p, m->name, m->pack, &m->embedder_dims, es_lineup_embedder_limits(m), err);
    }
    return ES_OK;
}

int es_lineup_enter(es_lineup *l, es_plan *p, es_err *err)
{
    for (int i = 0; i < l->n; i++) {
        int rc = enter(l->at[i], p, err);
        if (rc != ES_OK) return rc;
    }
    return ES_OK;
}

void es_lineup_leave(es_lineup *l)
{
    for (int i = 0; i < l->n; i++) {
        es_lineup_model *m = l->at[i];
        es_whisper_close(m->whisper);
        es_pyannet_close(m->pyannet);
        es_speaker_close(m->speaker);
        es_embedder_close(m->embedder);
        m->whisper = NULL, m->pyannet = NULL, m->speaker = NULL, m->embedder = NULL;
    }
}

int es_lineup_start(es_lineup *l, es_arena *a, es_err *err)
{
    for (int i = 0; i < l->n; i++) {
        es_lineup_model *m = l->at[i];
        int rc = ES_OK;
        es_weights_close(m->pack);
        m->pack = NULL;
        switch (m->kind) {
        case ES_LINEUP_WHISPER: rc = es_whisper_start(m->whisper, a, err); break;
        case ES_LINEUP_PYANNET: es_pyannet_start(m->pyannet, a); break;
        case ES_LINEUP_SPEAKER: es_speaker_start(m->speaker, a); break;
        case ES_LINEUP_EMBEDDER: es_embedder_start(m->embedder, a); break;
        }
        if (rc != ES_OK) return rc;
    }
    return ES_OK;
}
