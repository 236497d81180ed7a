/*
 * test.h - what every test program shares: a table of functions, CHECK, the tolerance table, seeded noise, test data.
 *
 * A test program is a main() that hands a table to es_test_main(). `./test_x name...` runs the tests whose name contains
 * one of the words, or is the word behind a `=`; `--list` names all. Each prints `ok`, `FAIL` or `skip`, and the program ends with `N passed, N failed, N skipped`.
 */
#ifndef ES_TEST_H
#define ES_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct es_test {
    const char *name;
    void (*run)(void);
} es_test;

int es_test_main(int argc, char **argv, const es_test *tests, int n);

/* Counts a failure of the running test and prints file, line and the sentence. */
void es_test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Marks the running test as skipped; what: the thing that is missing. */
void es_test_skip(const char *what);

/* CHECK(condition) says the condition, CHECK(condition, format, ...) the sentence. C11 knows no empty "...", hence the
 * choice by the number of arguments. */
#define ES_CHECK_ALONE(condition)                                                                                      \
    do {                                                                                                               \
        if (!(condition)) es_test_fail(__FILE__, __LINE__, "%s", "does not hold: " #condition);                        \
    } while (0)
#define ES_CHECK_SAYING(condition, ...)                                                                                \
    do {                                                                                                               \
        if (!(condition)) es_test_fail(__FILE__, __LINE__, __VA_ARGS__);                                               \
    } while (0)
#define ES_CHECK_S ES_CHECK_SAYING
#define ES_CHECK_13TH(a, b, c, d, e, f, g, h, i, j, k, l, chosen, ...) chosen
#define CHECK(...)                                                                                                     \
    ES_CHECK_13TH(__VA_ARGS__, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S,     \
                  ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_S, ES_CHECK_ALONE, 0)(__VA_ARGS__)
#define CHECK_INT(have, want)                                                                                          \
    do {                                                                                                               \
        long long h_ = (long long)(have), w_ = (long long)(want);                                                      \
        if (h_ != w_) es_test_fail(__FILE__, __LINE__, "%s: %lld, expected %lld", #have, h_, w_);                      \
    } while (0)
#define CHECK_STR(have, want)                                                                                          \
    do {                                                                                                               \
        const char *h_ = (have), *w_ = (want);                                                                         \
        if (!h_ || strcmp(h_, w_)) es_test_fail(__FILE__, __LINE__, "%s: \"%s\", expected \"%s\"", #have,              \
                                                h_ ? h_ : "(null)", w_);                                               \
    } while (0)

/* |have - want| <= absolute + relative * |want| at every index; reports the worst one. Returns the largest difference. */
double es_check_close(const char *file, int line, const char *what, const float *have, const double *want, size_t n,
                      double absolute, double relative);
#define CHECK_CLOSE(what, have, want, n, absolute, relative)                                                           \
    es_check_close(__FILE__, __LINE__, what, have, want, n, absolute, relative)

/* splitmix64: the same numbers everywhere. */
typedef struct es_noise {
    uint64_t state;
} es_noise;
uint64_t es_noise_bits(es_noise *n);
double es_noise_uniform(es_noise *n);                       /* [0, 1) */
double es_noise_normal(es_noise *n);                        /* sum of 12 uniforms less 6: exact, no libm */
void es_noise_fill(es_noise *n, float *x, size_t count, double scale); /* normal * scale */

/* Path of a file of the test data folder (ES_TEST_DATA), in a static ring of buffers; NULL when the variable is unset or
 * the file is not there. es_test_golden: the same below tests/golden of the source tree. es_test_models: a pack made by
 * tools/fetch-models (ES_TEST_MODELS). */
const char *es_test_data(const char *name);
const char *es_test_golden(const char *name);
const char *es_test_models(const char *name);
/* An empty folder of this test's own, removed at exit unless ES_TEST_KEEP is set. */
const char *es_test_folder(void);
/* A .npy file of f16, f32, f64, i8, i16, i32, i64, u8 or bool, C order, as f64; dims[4] with unused ones 1. The caller frees; NULL on failure. */
double *es_test_npy(const char *path, int *n_dims, size_t dims[4]);
/* The array called name in a .npz, stored or deflated. */
double *es_test_npz(const char *path, const char *name, int *n_dims, size_t dims[4]);

#ifdef __cplusplus
}
#endif
#endif
