/*
 * make_seeded.c - writes small packs with random weights for tools/soak: make_seeded FILE [WIDTH LAYERS] a Whisper,
 * make_seeded --stages FOLDER one for each stage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seeded.h"

static const char *in(const char *folder, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int stages(const char *folder, const es_seeded_whisper *s)
{
    es_err err = {0};

    if (es_seeded_whisper_write(in(folder, "speech.pack"), s)) {
        perror(folder);
        return 1;
    }
    if (es_seeded_segmentation_write(in(folder, "segmentation.pack"), 5, &err) ||
        es_seeded_resnet34_write(in(folder, "voices.pack"), 5, &err) ||
        es_seeded_encoder_write(in(folder, "text.pack"), 5, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    es_seeded_whisper s = {.seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true};
    bool all = argc == 3 && !strcmp(argv[1], "--stages");

    if (argc != 2 && argc != 4 && !all) {
        fprintf(stderr, "usage: make_seeded FILE [WIDTH LAYERS], or make_seeded --stages FOLDER\n");
        return 2;
    }
    if (all) return stages(argv[2], &s);
    if (argc == 4) s.width = (int)strtol(argv[2], NULL, 10), s.layers = (int)strtol(argv[3], NULL, 10);
    if (es_seeded_whisper_write(argv[1], &s)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
