/*
 * lanes_avx512.c - the inner loops with AVX-512: 14 rows by 32 columns, 28 of 32 registers accumulate.
 */
#include "kernels/lanes.h"

#if defined(__AVX512F__)
#define TILE_ROWS 14
#define TILE_REGS 2
#define FEW_REGS  16

#include "kernels/lanes_body.h"

const es_lanes es_lanes_avx512 = LANES_TABLE("avx512");
#endif
