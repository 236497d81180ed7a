/*
 * sound.h - where the models' samples come from: a decoded file, a caller's buffer, or nothing but a rule.
 */
#ifndef ES_SOUND_H
#define ES_SOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* n samples at 16 kHz from `first`, zeros outside of the recording. */
typedef struct es_sound {
    int (*read)(void *user, int64_t first, int64_t n, float *out, es_err *err);
    void *user;
    int64_t samples;
} es_sound;

/* Samples that are safe to compute with: what is no number is 0, and nothing is more than 30 dB over full scale. */
int es_sound_read(const es_sound *s, int64_t first, int64_t n, float *out, es_err *err);
/* pcm [ES_MEL_WINDOW_SAMPLES]: the window that starts at frame seek, with the samples around it that its edges see. */
int es_sound_window(const es_sound *s, int64_t seek, float *pcm, es_err *err);
/* Of such a window: no sample of its first frames is as loud as dbfs. */
bool es_sound_is_quiet(const float *pcm, int frames, float dbfs);

#endif
