/*
 * bench_asr.c - `earshot bench asr --synthetic` where the program itself cannot be built: kernels, runtime and models
 * alone.
 *
 *     bench_asr NAME [cpu|cuda] [BUDGET_BYTES] [TFLOPS] [GBYTES [TOKENS SLOTS]]     one line of JSON
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/bench/synthetic.h"

int main(int argc, char **argv)
{
    es_synthetic_options o = {.json = true, .budget = 16000000000u};
    es_err err = {0};
    char *text = NULL;
    size_t bytes;

    if (argc < 2 || argc > 8 || (argc > 2 && strcmp(argv[2], "cpu") && strcmp(argv[2], "cuda"))) {
        fprintf(stderr, "usage: bench_asr NAME [cpu|cuda] [BUDGET_BYTES] [TFLOPS] [GBYTES [TOKENS SLOTS]]\n");
        return 2;
    }
    o.name = argv[1];
    o.backend = argc > 2 && !strcmp(argv[2], "cuda") ? ES_CUDA : ES_CPU;
    if (argc > 3) o.budget = strtoull(argv[3], NULL, 10);
    if (argc > 4) o.tflops = strtod(argv[4], NULL);
    if (argc > 5) o.gbytes = strtod(argv[5], NULL);
    if (argc > 6) o.tokens = (int)strtol(argv[6], NULL, 10);
    if (argc > 7) o.slots = (int)strtol(argv[7], NULL, 10), o.rounds = 1;
    if (es_synthetic_asr(&o, &text, &bytes, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    puts(text);
    free(text);
    return 0;
}
