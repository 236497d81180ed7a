/*
 * account.h - who spoke when, in arrays of a recording's own: what the speech room says, with the memory that it needs.
 *
 * That room computes in memory it is given and writes to arrays it is given; how long those are follows from the recording.
 * These functions ask for it, hand it over, and free it. All return 0, or -1 when memory is out.
 */
#ifndef ES_ACCOUNT_H
#define ES_ACCOUNT_H

#include "base/types.h"
#include "pipeline/speakers/diarize.h"
#include "speech/windows.h"
#include "speech/work.h"

/* So many bytes of work, for es_account_free(). */
int es_account_work(es_work *work, size_t bytes);
void es_account_free(es_work *work);

/* Turns of clusters as es_windows_turns() has them. *turns is the caller's to free. */
int es_account_turns(es_turn **turns, size_t *n, const es_diarize_windows *w, const int16_t *cluster, const uint8_t *count, int K,
                     int most);
/* The stretches in which one alone speaks. *alone is the caller's to free. */
int es_account_alone(es_turn **alone, size_t *m, const es_turn *turns, size_t n);

/* Where anyone speaks: *speech is the caller's to free. */
int es_account_heard(es_heard **speech, size_t *n, const es_diarize_windows *w);
/* The turns of out, their exclusive form and how long each speaker is heard alone, from turns by speakers' numbers. */
int es_account_speakers(es_diarization *out, int speakers, const es_turn *turns, size_t n, const es_turn *exclusive, size_t m);

#endif
