/*
 * files.h - opening a file that someone else named.
 *
 * A name may lead to a pipe, a device or a folder. Opening a pipe waits for its other end, which may never come, so that
 * nothing but a plain file (or a link to one) is opened here, and without waiting.
 */
#ifndef ES_FILES_H
#define ES_FILES_H

#include <stdio.h>

#include "base/err.h"

/* To read from; a descriptor that is the caller's to close, or -1 with *err set: ES_ENOTFOUND, ES_EIO, or ES_EFORMAT for
 * what is no plain file. */
int es_files_open(const char *path, es_err *err);
FILE *es_files_stream(const char *path, es_err *err); /* the same; NULL */

#endif
