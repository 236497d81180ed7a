/*
 * files.h - what tests do with files: paths in the test's folder, whole files read and written, plain wav files, and what the
 * ffmpeg program makes.
 *
 * In a header, since each test program is one file; what a program does not call costs it nothing.
 */
#ifndef ES_TEST_FILES_H
#define ES_TEST_FILES_H

#include <stdarg.h>

#include "test.h"

/* A path in the test's folder; valid until sixteen more have been asked for. */
static inline const char *at(const char *name)
{
    static char ring[16][4400];
    static int i;

    i = (i + 1) % 16;
    snprintf(ring[i], sizeof ring[i], "%s/%s", es_test_folder(), name);
    return ring[i];
}

/* The bytes of a file with a NUL behind them, the caller's to free; none where it cannot be read. n: how many, or NULL. */
static inline char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    size_t have = 0, room = 0;
    char *bytes = NULL;

    do {
        if (have + 65537 > room && !(bytes = realloc(bytes, room = 2 * room + 65537))) abort();
        if (f) have += fread(bytes + have, 1, room - have - 1, f);
    } while (f && !feof(f) && !ferror(f));
    if (f) fclose(f);
    bytes[have] = 0;
    if (n) *n = have;
    return bytes;
}

static inline void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(bytes, 1, n, f) == n, "%s: cannot be written", path);
    if (f) fclose(f);
}

static inline void put_little(uint8_t *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(v >> (8 * i));
}

/* The head of a plain wav without named channels, before `bytes` of samples: 16 bits are integers, 32 and 64 floats. */
static inline void wav_head(uint8_t head[44], int rate, int channels, int bits, uint64_t bytes)
{
    int width = channels * bits / 8;

    memcpy(head, "RIFF    WAVEfmt ", 16);
    put_little(head + 4, 36 + bytes, 4);
    put_little(head + 16, 16, 4);
    put_little(head + 20, bits > 16 ? 3 : 1, 2);
    put_little(head + 22, (uint64_t)channels, 2);
    put_little(head + 24, (uint64_t)rate, 4);
    put_little(head + 28, (uint64_t)rate * (uint64_t)width, 4);
    put_little(head + 32, (uint64_t)width, 2);
    put_little(head + 34, (uint64_t)bits, 2);
    memcpy(head + 36, "data", 4);
    put_little(head + 40, bytes, 4);
}

static inline void write_wav(const char *path, int rate, int channels, int bits, const void *data, size_t bytes)
{
    uint8_t *file = malloc(44 + bytes);

    wav_head(file, rate, channels, bits, bytes);
    memcpy(file + 44, data, bytes);
    write_file(path, file, 44 + bytes);
    free(file);
}

/* 16 kHz, mono, 16 bits: what es_media_decode() gives back as exactly these samples, if they are multiples of 1 / 32768. */
static inline void write_speech_wav(const char *path, const float *x, int64_t n)
{
    int16_t *samples = malloc((size_t)n * sizeof *samples + 1);

    for (int64_t i = 0; i < n; i++) samples[i] = (int16_t)lrintf(x[i] * 32768);
    write_wav(path, 16000, 1, 16, samples, (size_t)n * sizeof *samples);
    free(samples);
}

/* Runs ffmpeg in the test's folder with these arguments; false, and the test is skipped, where it is not installed. */
static inline bool ffmpeg(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline bool ffmpeg(const char *format, ...)
{
    char arguments[9000], line[14000];
    va_list ap;

    if (system("command -v ffmpeg >/dev/null 2>&1") != 0) {
        es_test_skip("the ffmpeg program");
        return false;
    }
    va_start(ap, format);
    vsnprintf(arguments, sizeof arguments, format, ap);
    va_end(ap);
    snprintf(line, sizeof line, "cd '%s' && ffmpeg -hide_banner -loglevel error -nostdin -y %s", es_test_folder(), arguments);
    if (system(line) == 0) return true;
    CHECK(false, "ffmpeg fails: %s", arguments);
    return false;
}

#endif
