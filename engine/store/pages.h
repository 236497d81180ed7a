/*
 * pages.h - whether data.mdb is built as LMDB expects, found out without LMDB.
 *
 * LMDB follows page numbers and offsets as it finds them, so that a damaged file ends the process instead of a call.
 * What passes here can be read through it.
 */
#ifndef ES_PAGES_H
#define ES_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* The first page: magic, version, page size, length. An empty or missing file is in order: LMDB will fill it. */
int es_pages_head(const char *file, es_err *err);

typedef void (*es_pages_fault)(void *user, const char *sentence);

/* Walks the trees of the snapshot with this transaction number, which the caller keeps alive by reading in it: the tree
 * of trees, the root of each other one, and with all also everything below. fault is told what is wrong, up to a
 * hundred times; *faults counts. ES_EBUSY where the snapshot is none of the two that the file names. */
int es_pages_walk(const char *file, uint64_t snapshot, bool all, es_pages_fault fault, void *user, uint64_t *faults,
                  es_err *err);

#endif
