/*
 * recorded.h - recordings as sounds, and what the reference heard in their windows, for tests.
 */
#ifndef ES_TEST_RECORDED_H
#define ES_TEST_RECORDED_H

#include "test.h"

#include "pipeline/speakers/diarize.h"
#include "speech/windows.h"

typedef struct recording {
    float *x;
    int64_t n;
} recording;

static inline int read_recording(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    const recording *r = user;

    (void)err;
    for (int64_t i = 0; i < n; i++) out[i] = first + i >= 0 && first + i < r->n ? r->x[first + i] : 0;
    return ES_OK;
}

static inline es_sound sound_of(recording *r)
{
    return (es_sound){.read = read_recording, .user = r, .samples = r->n};
}

/* A 16 kHz mono wav of s16 or f32; r->x is the caller's to free. */
static inline bool load(recording *r, const char *file)
{
    const char *path = es_test_data(file);
    FILE *f = path ? fopen(path, "rb") : NULL;
    unsigned char *bytes = malloc(16 << 20);
    size_t size = f && bytes ? fread(bytes, 1, 16 << 20, f) : 0;
    unsigned format = 0;
    const int64_t most_samples = 16000 * 300;

    *r = (recording){.x = malloc((size_t)most_samples * sizeof(float))};
    if (f) fclose(f);
    for (size_t at = 12; at + 8 <= size;) {
        uint32_t length;
        memcpy(&length, bytes + at + 4, 4);
        if (!memcmp(bytes + at, "fmt ", 4)) format = bytes[at + 8];
        if (!memcmp(bytes + at, "data", 4)) {
            size_t each = format == 3 ? 4 : 2;
            for (size_t n = 0; r->n < most_samples && (n + 1) * each <= length && at + 8 + (n + 1) * each <= size; n++) {
                int16_t s;
                memcpy(&s, bytes + at + 8 + n * each, 2);
                r->x[r->n] = (float)s / 32768;
                if (format == 3) memcpy(&r->x[r->n], bytes + at + 8 + n * each, 4);
                r->n++;
            }
        }
        at += 8 + length + (length & 1);
    }
    free(bytes);
    if (!r->n) {
        free(r->x);
        es_test_skip(file);
    }
    return r->n > 0;
}

/* The reference's classes and vectors of a recording. */
static inline bool recorded(es_diarize_windows *w, const char *name)
{
    char path[64];
    int n_dims;
    size_t dims[4];
    enum { width = 192 };

    snprintf(path, sizeof path, "goldens/speakers/%s.npz", name);
    double *classes = es_test_npz(es_test_data(path), "classes", &n_dims, dims);
    *w = (es_diarize_windows){.n = classes ? (int64_t)dims[0] : 0, .step = 16000, .width = width};
    double *vectors = es_test_npz(es_test_data(path), "embeddings", &n_dims, dims);
    double *clean = es_test_npz(es_test_data(path), "clean_frames", &n_dims, dims);
    bool there = classes && vectors && clean;
    if (there) {
        size_t slots = (size_t)w->n * ES_WINDOW_SLOTS;
        w->classes = malloc((size_t)w->n * ES_WINDOW_FRAMES);
        w->row = malloc(slots * sizeof *w->row);
        w->clean = malloc(slots * sizeof *w->clean);
        w->vectors = malloc(slots * width * sizeof *w->vectors);
        for (size_t i = 0; i < (size_t)w->n * ES_WINDOW_FRAMES; i++) w->classes[i] = (uint8_t)classes[i];
        for (size_t i = 0; i < slots; i++) {
            w->clean[i] = (int16_t)clean[i];
            w->row[i] = isnan(vectors[i * width]) ? -1 : (int32_t)w->n_vectors;
            if (w->row[i] < 0) continue;
            for (int j = 0; j < width; j++) w->vectors[w->n_vectors * width + (size_t)j] = (float)vectors[i * width + (size_t)j];
            w->n_vectors++;
        }
    }
    free(classes), free(vectors), free(clean);
    return there;
}

#endif
