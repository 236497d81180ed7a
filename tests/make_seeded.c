/*
 * make_seeded.c - writes a small Whisper pack with random weights for tools/soak: make_seeded FILE [WIDTH LAYERS].
 */
#include <stdio.h>
#include <stdlib.h>

#include "seeded.h"

int main(int argc, char **argv)
{
    es_seeded_whisper s = {.seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true};

    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: make_seeded FILE [WIDTH LAYERS]\n");
        return 2;
    }
    if (argc == 4) s.width = (int)strtol(argv[2], NULL, 10), s.layers = (int)strtol(argv[3], NULL, 10);
    if (es_seeded_whisper_write(argv[1], &s)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
