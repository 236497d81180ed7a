/*
 * mel.h - the host's part of Whisper's front end: which samples a window needs, and what stands before the first one.
 *
 * A mel frame is centred on every 160th sample and reaches 200 samples to either side. A window of 3000 frames
 * therefore needs its 480000 samples and 200 more on each side: the recording's own where it has them, zeros past its
 * end, and the mirror of its first samples before its start. The transform itself is an op (kernels.h, logmel).
 */
#ifndef ES_MEL_H
#define ES_MEL_H

#include <stdint.h>

enum {
    ES_MEL_WINDOW_SAMPLES = 200 + 480000 + 200,
    ES_MEL_WINDOW_CONTEXT = 200, /* samples before the window's own */
    ES_MEL_WINDOW_FRAMES = 3000,
    ES_MEL_FRAME_SAMPLES = 160
};

/* Frames of sound in a recording: those centred on one of its samples, but for a last one without 160 samples. */
int64_t es_mel_frames(int64_t n_samples);

/* window [ES_MEL_WINDOW_SAMPLES] holds the recording's samples first - 200 .. first + 480200, zero outside of it.
 * Writes the mirror image over what lies before sample 0; nothing where first >= 200. */
void es_mel_reflect(float *window, int64_t first);

#endif
