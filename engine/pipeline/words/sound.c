/*
 * sound.c - samples that are safe to compute with, and windows of them.
 */
#include "pipeline/words/sound.h"

#include <math.h>

#include "audio/mel.h"

/* A caller's buffer may hold anything. What is no number is silence, and what is 30 dB over full scale is cut there:
 * one infinite sample would make the floor of the whole recording infinite. */
static void make_safe(float *x, int64_t n)
{
    enum { MOST = 32 };

    for (int64_t i = 0; i < n; i++) {
        if (fabsf(x[i]) <= MOST) continue;
        x[i] = isnan(x[i]) ? 0 : copysignf(MOST, x[i]);
    }
}

int es_sound_read(const es_sound *s, int64_t first, int64_t n, float *out, es_err *err)
{
    int rc = s->read(s->user, first, n, out, err);

    if (rc == ES_OK) make_safe(out, n);
    return rc;
}

int es_sound_window(const es_sound *s, int64_t seek, float *pcm, es_err *err)
{
    int64_t first = seek * ES_MEL_FRAME_SAMPLES;
    int rc = es_sound_read(s, first - ES_MEL_WINDOW_CONTEXT, ES_MEL_WINDOW_SAMPLES, pcm, err);

    if (rc == ES_OK) es_mel_reflect(pcm, first);
    return rc;
}

bool es_sound_is_quiet(const float *pcm, int frames, float dbfs)
{
    float loudest = 0, limit = powf(10.0f, dbfs / 20);

    pcm += ES_MEL_WINDOW_CONTEXT;
    for (int i = 0; i < frames * ES_MEL_FRAME_SAMPLES; i++) loudest = fmaxf(loudest, fabsf(pcm[i]));
    return loudest < limit;
}
