/*
 * bench_pipeline.c - `earshot bench pipeline --synthetic` where the program itself cannot be built: kernels, runtime, models
 * and speech alone.
 *
 *     bench_pipeline [cpu|cuda] [BUDGET_BYTES] [SECONDS] [NAMES|-] [least|text] [TOKENS]     JSON; with text, Markdown
 *
 * SECONDS of made-up sound, 0 for an hour on a device. NAMES as `earshot plan --with` takes them, and two-layers,
 * two-layers-text; - for the five of a full house. least: the smallest steps. TOKENS that every window
 * says: few, for an emulator.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/bench/synthetic_pipeline.h"

int main(int argc, char **argv)
{
    es_synthetic_pipeline_options o = {.budget = 16000000000u};
    bool text = argc > 5 && !strcmp(argv[5], "text");
    es_figures f;
    es_err err = {0};
    char *shown = NULL;
    size_t bytes = 0;

    if (argc > 7 || (argc > 1 && strcmp(argv[1], "cpu") && strcmp(argv[1], "cuda")) || (argc > 5 && !text && strcmp(argv[5], "least"))) {
        fprintf(stderr, "usage: bench_pipeline [cpu|cuda] [BUDGET_BYTES] [SECONDS] [NAMES|-] [least|text] [TOKENS]\n");
        return 2;
    }
    o.backend = argc > 1 && !strcmp(argv[1], "cuda") ? ES_CUDA : ES_CPU;
    if (argc > 2) o.budget = strtoull(argv[2], NULL, 10);
    if (argc > 3) o.seconds = (int)strtol(argv[3], NULL, 10);
    if (argc > 4 && strcmp(argv[4], "-")) o.with = argv[4];
    o.least = argc > 5 && !text;
    if (argc > 6) o.tokens = (int)strtol(argv[6], NULL, 10);
    if (es_synthetic_pipeline(&o, &f, &err) || es_figures_show(&f, NULL, !text, &shown, &bytes, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    puts(shown);
    free(shown);
    return 0;
}
