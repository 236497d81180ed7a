/*
 * windows.h - from windows of a segmentation network to one line of time: frames, counts, who may be embedded, turns.
 *
 * A window is 10 s of sound, 589 frames of one class each; a class is a set of at most two of three local speakers
 * (slots). Windows start a step apart. All of them lie on one grid of frames 270 samples apart, whose frame g is centred
 * on sample 270 g + 495.5.
 *
 *     classes [C, 589] -> count per grid frame -> (vectors, clusters) -> activity per cluster -> the count loudest -> turns
 *
 * Bredin, "pyannote.audio 2.1 speaker diarization pipeline" (2023); Plaquet and Bredin, "Powerset multi-class cross entropy
 * loss for neural speaker diarization" (2023). Arrays are the caller's, and so is the work (work.h); nothing here keeps state.
 */
#ifndef ES_WINDOWS_H
#define ES_WINDOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "speech/work.h"

enum {
    ES_WINDOW_SAMPLES = 160000,
    ES_WINDOW_FRAMES = 589,
    ES_WINDOW_SLOTS = 3,
    ES_WINDOW_CLASSES = 7,
    ES_FRAME_STEP = 270, /* samples */
    ES_NO_CLUSTER = -2,  /* of a slot that is silent or was left out */
};

/* Windows of a recording of n samples at a step in samples: those that fit, and one more for the rest. */
int64_t es_windows_count(int64_t n, int64_t step);
/* The grid frame at which window c begins, and the frames of the grid of C windows. */
int64_t es_windows_start(int64_t c, int64_t step);
int64_t es_windows_grid(int64_t C, int64_t step);

/* Bit k: slot k speaks in a frame of this class. */
static inline unsigned es_windows_slots(uint8_t class_index)
{
    static const uint8_t slots[ES_WINDOW_CLASSES] = {0, 1, 2, 4, 3, 5, 6};
    return class_index < ES_WINDOW_CLASSES ? slots[class_index] : 0;
}

/* count [G]: how many speak in each grid frame, the mean over the windows that cover it, half to even; at most `most`
 * (0: no limit). Returns the largest. */
int es_windows_speakers(uint8_t *count, const uint8_t *classes, int64_t C, int64_t step, int most);

/* Of one window: active and clean (alone) frames of each slot, and the mask a slot is embedded with: its clean frames if
 * they are more than `fewest`, else all of its frames. mask may be NULL. */
void es_windows_masks(const uint8_t *classes /* [589] */, int fewest, int active[ES_WINDOW_SLOTS],
                      int clean[ES_WINDOW_SLOTS], uint8_t (*mask)[ES_WINDOW_FRAMES] /* [3] */);
/* A slot takes part in clustering from this many clean frames on: a fifth of the window. */
static inline bool es_windows_trains(int clean)
{
    return 5 * clean >= ES_WINDOW_FRAMES;
}

/* Clusters for the active slots of one window so that no two share one and the sum of score [3][K] is largest; where there
 * are fewer clusters than slots the rest get ES_NO_CLUSTER. */
void es_windows_assign(int cluster[ES_WINDOW_SLOTS], const double *score, int K, const bool active[ES_WINDOW_SLOTS]);

typedef struct es_turn {
    int64_t start_us, end_us;
    int speaker; /* a cluster */
} es_turn;

/* The count[g] clusters most active in each frame, as turns in order of start, then speaker; cut at duration_us.
 * cluster [C, 3]. most: at most so many at once (0: as counted; 1: the exclusive form). Returns how many turns there are;
 * where those are more than the room in turns (which may be NULL for none), they are to be had by another call. */
size_t es_windows_turns(es_turn *turns, size_t room, const uint8_t *classes, const int16_t *cluster, const uint8_t *count,
                        int64_t C, int64_t step, int K, int most, int64_t duration_us, es_work *work);
size_t es_windows_turns_bytes(int K);

#endif
