/*
 * lanes_portable.c - the inner loops with whatever the compiler takes for granted: SSE2 on x86-64, NEON on 64-bit ARM.
 *
 * On x86-64 every fused multiply-add is a call of the C library, which makes this the slow definition of the fast
 * twins' bits; on ARM it is the fast one (24 of 32 registers hold accumulators).
 */
#include "kernels/lanes.h"

#if defined(__aarch64__)
#define TILE_ROWS 6
#else
#define TILE_ROWS 4
#endif
#define TILE_REGS 4
#define FEW_REGS  16

#include "kernels/lanes_body.h"

const es_lanes es_lanes_portable = LANES_TABLE("portable");
