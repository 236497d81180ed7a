/*
 * dots.c - the loop with what every processor has, and the choice among the others.
 */
#include "store/dots.h"

#include "store/dots_body.h"

const es_dots es_dots_portable = dots;

es_dots es_dots_best(void)
{
#if defined(__x86_64__)
    if (es_dots_avx512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return es_dots_avx512;
    if (es_dots_avx2 && __builtin_cpu_supports("avx2")) return es_dots_avx2; /* there is none without F16C */
#endif
    return es_dots_portable;
}
