/*
 * whisper_twin.h - Whisper once more, naive and in double, straight from the equations: the definition that the
 * engine's model is compared with. Only for the sizes of the seeded pack (whisper_rig.h).
 */
#ifndef ES_WHISPER_TWIN_H
#define ES_WHISPER_TWIN_H

#include "whisper_rig.h"

/* mel [3000, 80] -> [1500, width]; the caller frees. */
double *es_whisper_twin_encode(const es_whisper_rig *g, const float *mel);
/* logits [n, V] of every row of the tokens ids, after the encoding e; the caller frees. */
double *es_whisper_twin_decode(const es_whisper_rig *g, const double *e, const int32_t *ids, int n);

#endif
