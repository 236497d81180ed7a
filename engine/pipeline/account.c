/*
 * account.c - see account.h. How many turns or stretches there are is found by one call and their array filled by a second:
 * both together take a few milliseconds for an hour of speech, less than any bound that holds beforehand would waste.
 */
#include "pipeline/account.h"

#include <stdlib.h>

#include "speech/speakers.h"

int es_account_work(es_work *work, size_t bytes)
{
    *work = (es_work){.at = malloc(bytes + 1), .bytes = bytes};
    return work->at ? 0 : -1;
}

void es_account_free(es_work *work)
{
    free(work->at);
    *work = (es_work){0};
}

int es_account_turns(es_turn **turns, size_t *n, const es_diarize_windows *w, const int16_t *cluster, const uint8_t *count, int K,
                     int most)
{
    int64_t us = w->samples * 125 / 2; /* 1,000,000 / 16,000 */
    es_work work;

    *turns = NULL, *n = 0;
    if (es_account_work(&work, es_windows_turns_bytes(K))) return -1;
    size_t room = es_windows_turns(NULL, 0, w->classes, cluster, count, w->n, w->step, K, most, us, &work);
    *turns = malloc((room + 1) * sizeof **turns);
    if (*turns) *n = es_windows_turns(*turns, room, w->classes, cluster, count, w->n, w->step, K, most, us, &work);
    es_account_free(&work);
    return *turns ? 0 : -1;
}

int es_account_alone(es_turn **alone, size_t *m, const es_turn *turns, size_t n)
{
    es_work work;

    *alone = malloc((2 * n + 1) * sizeof **alone), *m = 0;
    if (!*alone || es_account_work(&work, es_speakers_alone_turns_bytes(n))) {
        free(*alone);
        *alone = NULL;
        return -1;
    }
    *m = es_speakers_alone_turns(*alone, turns, n, &work);
    es_account_free(&work);
    return 0;
}

int es_account_heard(es_heard **speech, size_t *n, const es_diarize_windows *w)
{
    size_t room = es_speakers_heard(NULL, 0, w->classes, w->n, w->step, w->samples);

    *speech = malloc((room + 1) * sizeof **speech), *n = 0;
    if (!*speech) return -1;
    *n = es_speakers_heard(*speech, room, w->classes, w->n, w->step, w->samples);
    return 0;
}

int es_account_speakers(es_diarization *out, int speakers, const es_turn *turns, size_t n, const es_turn *exclusive, size_t m)
{
    es_work work;

    out->n_speakers = speakers;
    out->alone_ms = calloc((size_t)speakers + 1, sizeof *out->alone_ms);
    out->turns = malloc((n + 1) * sizeof *out->turns);
    out->exclusive = malloc((m + 1) * sizeof *out->exclusive);
    if (!out->alone_ms || !out->turns || !out->exclusive || es_account_work(&work, es_speakers_alone_bytes(n))) return -1;
    es_speakers_alone(out->alone_ms, turns, n, speakers, &work);
    out->n_turns = es_speakers_spoken(out->turns, turns, n);
    out->n_exclusive = es_speakers_spoken(out->exclusive, exclusive, m);
    es_account_free(&work);
    return 0;
}
