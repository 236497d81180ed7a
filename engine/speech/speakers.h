/*
 * speakers.h - turns of clusters into an account of who spoke: speakers in order, who was heard alone, where speech is.
 * Arrays are the caller's, and so is the work (work.h).
 */
#ifndef ES_SPEAKERS_H
#define ES_SPEAKERS_H

#include "base/types.h"
#include "speech/windows.h"

/* order[j]: the number of cluster j by its first turn, -1 where it has none. turns in order of start. Returns how many. */
int es_speakers_order(int *order, const es_turn *turns, size_t n, int K);
/* Gives turns their speakers' numbers; those of clusters without one must not be there. Keeps start, then speaker. */
void es_speakers_renumber(es_turn *turns, size_t n, const int *order);

/* Stretches in which one speaker alone is heard, in order of start: out [2 n]. Returns how many. */
size_t es_speakers_alone_turns(es_turn *out, const es_turn *turns, size_t n, es_work *work);
size_t es_speakers_alone_turns_bytes(size_t n);
/* alone_ms [speakers]: how long each is the only one who speaks. */
void es_speakers_alone(int64_t *alone_ms, const es_turn *turns, size_t n, int speakers, es_work *work);
size_t es_speakers_alone_bytes(size_t n);

/* Turns in milliseconds: out [n]; those that round to nothing are left out. Returns how many are left. */
size_t es_speakers_spoken(es_spoken *out, const es_turn *turns, size_t n);

/* Where any window hears anyone: more than what turns cover, which are what most windows agree upon, since a word that is
 * not looked for is lost. Returns how many stretches there are; where those are more than the room in out (which may be
 * NULL for none), they are to be had by another call. */
size_t es_speakers_heard(es_heard *out, size_t room, const uint8_t *classes, int64_t C, int64_t step, int64_t samples);

#endif
