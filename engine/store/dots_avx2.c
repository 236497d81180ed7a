/*
 * dots_avx2.c - eight lanes to a register, halves widened by F16C.
 */
#include "store/dots.h"

#if defined(__AVX2__) && defined(__F16C__)
#include "store/dots_body.h"
const es_dots es_dots_avx2 = dots;
#else
const es_dots es_dots_avx2 = NULL;
#endif
