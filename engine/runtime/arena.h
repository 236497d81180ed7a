/*
 * arena.h - one block per device, laid out by a plan.
 *
 *     | workspace      | weights            | state                | scratch            |
 *     | within one op  | as long as it is   | between programs,    | within one program |
 *     |                | open               | zeroed at open       |                    |
 *
 * es_arena_open() takes the block, writes every address into the field of the model that wants it, and zeroes state;
 * es_arena_load() fills the weights. After that nothing is allocated until es_arena_close(): memory cannot run out
 * half-way through a file, and a forward pass needs no error branch. The plan and the device must outlive the arena.
 * One thread at a time.
 */
#ifndef ES_ARENA_H
#define ES_ARENA_H

#include "runtime/plan.h"

typedef struct es_arena es_arena;

int es_arena_open(es_arena **out, es_plan *p, es_device *d, es_err *err);
/* Copies every model's weights to their places; the packs may be closed afterwards. */
int es_arena_load(es_arena *a, es_err *err);
/* Noise of a seed instead of weights, sized so that numbers stay tame through any depth: what a preset, which has no
 * pack, is measured with. */
int es_arena_seed(es_arena *a, uint64_t seed, es_err *err);
void es_arena_close(es_arena *a); /* accepts NULL; the block itself goes back with the device */
es_device *es_arena_device(es_arena *a);

/* Runs a program of the arena's plan: walks it the first time, replays its graph where the device has graphs. Cannot
 * fail; a fault is kept and given by es_device_sync(). Asserts the op sequence that was planned. */
void es_program_run(es_program *g, es_arena *a);

/* Host <-> state. Whole tensors, or bytes of them. */
void es_state_put(es_arena *a, es_tensor t, size_t offset, const void *src, size_t bytes);
void es_state_get(es_arena *a, es_tensor t, size_t offset, void *dst, size_t bytes);

#endif
