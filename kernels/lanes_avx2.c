/*
 * lanes_avx2.c - the inner loops with AVX2, FMA and F16C: 6 rows by 16 columns, 12 of 16 registers accumulate.
 */
#include "kernels/lanes.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define TILE_ROWS 6
#define TILE_REGS 2
#define FEW_REGS  8

#include "kernels/lanes_body.h"

const es_lanes es_lanes_avx2 = LANES_TABLE("avx2");
#endif
