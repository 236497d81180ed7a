/*
 * blocks.h - the block formats of GGUF and ggml: one block of 32 or 256 quantised values to f32.
 */
#ifndef ES_BLOCKS_H
#define ES_BLOCKS_H

#include "source.h"

/* p: the bytes of one block of that type; out: room for 256. Other types leave out alone. */
void es_blocks_decode(es_num num, const unsigned char *p, float *out);

#endif
