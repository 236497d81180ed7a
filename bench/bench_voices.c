/*
 * bench_voices.c - the networks that hear who speaks, alone: the time of a window of 10 s.
 *
 *     bench_voices PACK [THREADS [AT_ONCE [RUNS]]]
 *
 * The pack is of a segmentation or a speaker network. Each run takes AT_ONCE windows of noise under an envelope (all of their
 * rows, for a speaker network); the line is the median of the runs and ends in a hash of the output, so that a change of bits
 * shows beside a change of speed. "busy" is the time of all threads on their processors, which other work disturbs less.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/front.h"
#include "base/hash.h"
#include "models/pyannet.h"
#include "models/speaker.h"

enum { WINDOW = ES_PYANNET_SAMPLES, MOST_RUNS = 101 };

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sound(float *x, int n)
{
    uint32_t s = 1;

    for (int i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = ((float)(s >> 8) / 8388608.0f - 1) * 0.1f * (float)(1 + i / 8000 % 7) / 7;
    }
}

static int fail(const es_err *err)
{
    fprintf(stderr, "%s\n", err->text);
    return 1;
}

int main(int argc, char **argv)
{
    int threads = argc > 2 ? atoi(argv[2]) : 0, n = argc > 3 ? atoi(argv[3]) : 8, runs = argc > 4 ? atoi(argv[4]) : 9;
    es_weights *w = NULL;
    es_plan *p = NULL;
    es_device *d = NULL;
    es_arena *a = NULL;
    es_pyannet *segmentation = NULL;
    es_speaker *voices = NULL;
    es_front *front = NULL;
    es_speaker_dims dims = {0};
    es_fault fault = {0};
    es_err err = {0};
    double times[MOST_RUNS], busy[MOST_RUNS];
    char hex[33];

    if (argc < 2 || n < 1 || runs < 1 || runs > MOST_RUNS) {
        fprintf(stderr, "usage: bench_voices PACK [THREADS [AT_ONCE [RUNS]]]\n");
        return 2;
    }
    if (es_pack_open(&w, argv[1], &err) || es_plan_open(&p, ES_CPU, threads, &err)) return fail(&err);
    bool pyannet = !strcmp(es_pack_architecture(w), "pyannet");
    if (!pyannet && (es_speaker_dims_read(&dims, w, &err) || es_front_open(&front, es_speaker_front(&dims), &err))) return fail(&err);
    int rows = pyannet ? 0 : (int)es_front_rows(front, WINDOW);
    if (pyannet ? es_pyannet_plan(&segmentation, p, "segmentation", w, n, &err)
                : es_speaker_plan(&voices, p, "voices", w, &dims, (es_speaker_limits){.answers = n, .rows = n * rows}, &err))
        return fail(&err);
    if (es_plan_finish(p, 0, &err)) return fail(&err);
    if (es_device_open(&d, ES_CPU, 0, threads, NULL, &fault)) {
        fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    if (es_arena_open(&a, p, d, &err) || es_arena_load(a, &err)) return fail(&err);
    if (pyannet) es_pyannet_start(segmentation, a);
    else es_speaker_start(voices, a);

    size_t results = (size_t)n * (pyannet ? (size_t)(ES_PYANNET_FRAMES * ES_PYANNET_CLASSES) : (size_t)dims.vector);
    float *pcm = malloc((size_t)n * WINDOW * sizeof *pcm), *out = malloc(results * sizeof *out),
          *x = malloc((size_t)(n * rows) * ES_FRONT_BINS * sizeof *x + 1);
    es_speaker_sound *sounds = calloc((size_t)n, sizeof *sounds);
    es_speaker_ask *asks = calloc((size_t)n, sizeof *asks);
    if (!pcm || !out || !x || !sounds || !asks) return 1;
    sound(pcm, n * WINDOW);
    double heard = now(CLOCK_MONOTONIC);
    for (int i = 0; i < n && !pyannet; i++) {
        es_front_run(front, x + (size_t)(i * rows) * ES_FRONT_BINS, pcm + (size_t)i * WINDOW, WINDOW);
        sounds[i] = (es_speaker_sound){x + (size_t)(i * rows) * ES_FRONT_BINS, rows, false};
        asks[i].sound = i;
    }
    heard = (now(CLOCK_MONOTONIC) - heard) / n;
    for (int r = -1; r < runs; r++) {
        double start = now(CLOCK_MONOTONIC), begun = now(CLOCK_PROCESS_CPUTIME_ID);
        if (pyannet ? es_pyannet_run(segmentation, pcm, n, out, &err) : es_speaker_run(voices, sounds, asks, n, out, &err)) return fail(&err);
        if (r < 0) continue;
        times[r] = (now(CLOCK_MONOTONIC) - start) / n;
        busy[r] = (now(CLOCK_PROCESS_CPUTIME_ID) - begun) / n;
    }
    qsort(times, (size_t)runs, sizeof *times, ascending);
    qsort(busy, (size_t)runs, sizeof *busy, ascending);
    es_hash_hex(hex, es_hash_bytes(out, results * sizeof *out));
    printf("%s: %d threads, %d at once: %.2f ms a window, fastest %.2f, busy %.2f%s", es_pack_name(w), threads, n, 1e3 * times[runs / 2], 1e3 * times[0],
           1e3 * busy[runs / 2], pyannet ? "" : ", front end ");
    if (!pyannet) printf("%.2f", 1e3 * heard);
    printf("  %s\n", hex);
    free(pcm), free(out), free(x), free(sounds), free(asks);
    es_front_close(front);
    es_speaker_close(voices);
    es_pyannet_close(segmentation);
    es_arena_close(a);
    es_device_close(d);
    es_plan_close(p);
    es_weights_close(w);
    return 0;
}
