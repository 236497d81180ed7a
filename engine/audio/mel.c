/*
 * mel.c - see mel.h. The mirror leaves out the edge: sample -i is sample i. At the end of a recording the reference
 * appends zeros before it mirrors, so that no frame of sound ever sees that mirror; zeros are all that is needed.
 */
#include "audio/mel.h"

int64_t es_mel_frames(int64_t n_samples)
{
    return n_samples / ES_MEL_FRAME_SAMPLES;
}

void es_mel_reflect(float *window, int64_t first)
{
    /* window[i] is sample first - 200 + i, so sample s stands at s - first + 200. */
    for (int64_t s = first - ES_MEL_WINDOW_CONTEXT; s < 0; s++)
        window[s - first + ES_MEL_WINDOW_CONTEXT] = window[-s - first + ES_MEL_WINDOW_CONTEXT];
}
