/*
 * transcribe.c - the smallest program that links earshot: samples in, words out.
 *
 *     ffmpeg -v error -i talk.mp4 -f s16le -ac 1 -ar 16000 - | ./transcribe [FOLDER OF MODELS]
 *
 *     cc transcribe.c -o transcribe $(pkg-config --cflags --libs earshot)
 */
#include <earshot.h>
#include <stdio.h>
#include <stdlib.h>

/* All of standard input, 16-bit samples of this machine's byte order, as floats. */
static float *read_samples(int64_t *n)
{
    float *samples = NULL;
    int16_t block[4096];
    int64_t room = 0;
    size_t got;

    *n = 0;
    while ((got = fread(block, sizeof block[0], 4096, stdin)) > 0) {
        if (*n + 4096 > room) {
            room = 2 * room + 65536;
            float *more = realloc(samples, (size_t)room * sizeof *more);
            if (!more) {
                free(samples);
                return NULL;
            }
            samples = more;
        }
        for (size_t i = 0; i < got; i++) samples[(*n)++] = (float)block[i] / 32768.0f;
    }
    return samples ? samples : calloc(1, sizeof *samples);
}

int main(int argc, char **argv)
{
    es_engine_options options = ES_ENGINE_OPTIONS;
    es_engine *engine = NULL;
    es_speech *speech = NULL;
    es_error error = {0};
    int64_t n = 0;
    float *samples = read_samples(&n);
    int failed = 1;

    if (argc > 1) options.models = argv[1];
    if (samples && es_engine_open(&engine, &options, &error) == ES_DONE &&
        es_engine_transcribe(engine, &speech, samples, n, NULL, NULL, NULL, &error) == ES_DONE) {
        for (size_t i = 0; i < es_speech_segments(speech); i++) {
            es_segment_view s;
            es_speech_segment(speech, i, &s);
            printf("%8.2f %8.2f %.*s\n", (double)s.start_ms / 1000, (double)s.end_ms / 1000, (int)s.text_bytes, s.text);
        }
        printf("%zu segments, %zu words\n", es_speech_segments(speech), es_speech_words(speech));
        failed = 0;
    } else {
        fprintf(stderr, "transcribe: %s\n", samples ? error.text : "not enough memory");
    }
    es_speech_close(speech);
    es_engine_close(engine);
    free(samples);
    return failed;
}
