/*
 * presets.c - names of architectures, and how much of each is planned.
 *
 * Whisper is planned for one recording at a time, one window after the other: the driver of the sequential loop needs no
 * more, and on the CPU a larger batch takes more memory without being faster; 227 rows take the longest prompt at once. A text encoder is planned for a step of 8192 tokens of at most
 * 256 texts on a device and 2048 on the CPU, segmentation for 32 windows and for 8: larger steps are not faster.
 */
#define _GNU_SOURCE
#include "pipeline/presets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS = 1, SLOTS = 1, PROMPT_ROWS = 227, TEXTS = 256, TOKENS = 8192, TOKENS_CPU = 2048, SEGMENTS = 32, SEGMENTS_CPU = 8 };

static const char segmentation[] = "segmentation-3.0";

es_whisper_limits es_presets_whisper_limits(const es_whisper_dims *dims)
{
    return (es_whisper_limits){.windows = WINDOWS, .slots = SLOTS, .prompt_rows = PROMPT_ROWS, .align = dims->n_pairs > 0};
}

static int unknown(const char *name, es_err *err)
{
    char list[700] = "", shown[100];
    size_t n = 0;

    for (int i = 0; es_whisper_preset_name(i) && n + 40 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s, ", es_whisper_preset_name(i));
    for (int i = 0; es_embedder_preset_name(i) && n + 40 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s, ", es_embedder_preset_name(i));
    return es_fail(err, ES_EARG, "there is no architecture called %s; there are %s%s",
                   es_printable(shown, sizeof shown, name), list, segmentation);
}

static int plan_one(struct es_preset *m, es_plan *p, const char *name, es_err *err)
{
    bool cpu = es_plan_backend(p) == ES_CPU;
    es_whisper_dims whisper;
    es_embedder_dims embedder;

    if (es_whisper_preset(&whisper, name))
        return es_whisper_plan(&m->whisper, p, name, NULL, &whisper, es_presets_whisper_limits(&whisper), NULL, 0, -1, err);
    if (es_embedder_preset(&embedder, name)) {
        es_embedder_limits limits = {.tokens = cpu ? TOKENS_CPU : TOKENS, .texts = TEXTS};
        return es_embedder_plan(&m->embedder, p, name, NULL, &embedder, limits, err);
    }
    if (!strcmp(name, segmentation)) return es_pyannet_plan(&m->pyannet, p, name, NULL, cpu ? SEGMENTS_CPU : SEGMENTS, err);
    return unknown(name, err);
}

int es_presets_plan(es_presets *s, es_plan *p, const char *with, es_err *err)
{
    char *list = strdup(with), *save = NULL;
    int rc = list ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    for (char *name = list ? strtok_r(list, ",", &save) : NULL; name && rc == ES_OK; name = strtok_r(NULL, ",", &save)) {
        if (s->n == ES_PRESETS_MOST) rc = es_fail(err, ES_EARG, "--with takes at most %d names", ES_PRESETS_MOST);
        else rc = plan_one(&s->model[s->n++], p, name, err);
    }
    if (rc == ES_OK && s->n == 0) rc = es_fail(err, ES_EARG, "--with names no architecture");
    free(list);
    return rc;
}

void es_presets_done(es_presets *s)
{
    for (int i = 0; i < s->n; i++) {
        es_whisper_close(s->model[i].whisper);
        es_embedder_close(s->model[i].embedder);
        es_pyannet_close(s->model[i].pyannet);
    }
    *s = (es_presets){0};
}
