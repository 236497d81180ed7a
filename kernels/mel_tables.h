/*
 * mel_tables.h - the constants of the log-mel front end, as they lie in the arena of either backend.
 *
 * Made in double by es_mel_tables_fill (whisper's window, Slaney's scale and normalisation); every filter is a run of
 * at most 14 bins of the 201, and bins 0 and 200 have no weight anywhere.
 */
#ifndef ES_MEL_TABLES_H
#define ES_MEL_TABLES_H

#include <stdint.h>

enum { ES_MEL_MAX = 128, ES_MEL_BINS = 201, ES_MEL_WIDEST = 16 };

typedef struct es_mel_tables {
    double window[400]; /* periodic Hann */
    double cosine[400]; /* of 2 pi k / 400 */
    double sine[400];
    int32_t first[ES_MEL_MAX]; /* the first bin of a filter */
    int32_t count[ES_MEL_MAX]; /* its bins */
    float weight[ES_MEL_MAX][ES_MEL_WIDEST];
} es_mel_tables;

#endif
