/*
 * fuzz_safetensors.c - any bytes as a safetensors file: refused with a sentence, or consistent in all that can be
 * asked.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    es_weights *w;
    es_err err = {0};
    size_t sum = 0;
    volatile unsigned char sink = 0;

    if (es_weights_from(&w, data, n, "fuzz", &err)) {
        if (w || err.code == ES_OK || !err.text[0]) abort();
        return 0;
    }
    for (int i = 0; i < es_weights_count(w); i++) {
        const es_weight *t = es_weights_at(w, i);
        const unsigned char *p = t->p;
        if (es_weights_find(w, t->name) != t) abort();
        for (size_t k = 0; k < t->bytes; k++) sink = p[k]; /* every byte is inside the input */
        sum += t->bytes;
    }
    if (sum > n) abort();
    (void)sink;
    es_weights_close(w);
    return 0;
}
