/*
 * err.h - the status every fallible function returns, and the one sentence that says why.
 *
 * The outside world failing is a status: ES_OK or a negative ES_E*, and a sentence that names the thing and both values
 * (what was found, what was needed). Our own mistake is an assert.
 */
#ifndef ES_ERR_H
#define ES_ERR_H

#include <stdarg.h>

#define ES_STATUS_MAP(X)                                                                                               \
    X(OK, 0, "done")                                                                                                   \
    X(EARG, -1, "bad argument")                                                                                        \
    X(EIO, -2, "input or output failed")                                                                               \
    X(EFORMAT, -3, "not in the expected form")                                                                         \
    X(ENOMEM, -4, "not enough memory")                                                                                 \
    X(EBUDGET, -5, "the memory budget is too small")                                                                   \
    X(EMODEL, -6, "the model cannot be used")                                                                          \
    X(ELIBRARY, -7, "the library cannot be used")                                                                      \
    X(ENOTFOUND, -8, "not found")                                                                                      \
    X(ENOMEDIA, -9, "no sound in it")                                                                                  \
    X(EDEVICE, -10, "the device failed")                                                                               \
    X(ECANCELLED, -11, "cancelled")                                                                                    \
    X(ENEWER, -12, "made by a newer version")                                                                          \
    X(EBUSY, -13, "in use by another process")

typedef enum es_status {
#define X(name, value, text) ES_##name = value,
    ES_STATUS_MAP(X)
#undef X
} es_status;

typedef struct es_err {
    int code;        /* an es_status */
    char text[1024]; /* one sentence, no newline, UTF-8; control characters of names are escaped */
} es_err;

/* Fills err (which may be NULL) and returns code, so that callers write `return es_fail(err, ...)`. The first sentence
 * stays: a second call on an err that already holds one keeps the older text. es_err must start zeroed. */
int es_fail(es_err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *es_status_text(int code);

/* A name as it may be printed: control characters and invalid UTF-8 as \xNN, into out[n], cut with "..." */
const char *es_printable(char *out, unsigned long n, const char *name);

#endif
