/*
 * dots_avx512.c - sixteen lanes to a register.
 */
#include "store/dots.h"

#if defined(__AVX512F__)
#include "store/dots_body.h"
const es_dots es_dots_avx512 = dots;
#else
const es_dots es_dots_avx512 = NULL;
#endif
