/*
 * crash_shim.h - the log that crash_shim.c writes and test_crash.c reads.
 */
#ifndef ES_CRASH_SHIM_H
#define ES_CRASH_SHIM_H

#include <stdint.h>

enum {
    ES_SHIM_WRITE,
    ES_SHIM_WRITE_THROUGH, /* by a descriptor that syncs: on the disk when the call returns */
    ES_SHIM_SYNC,          /* of a file; of the folder itself: its name is empty */
    ES_SHIM_CREATE,
    ES_SHIM_LENGTH, /* offset: the new one */
    ES_SHIM_LINK,   /* data: the old name */
    ES_SHIM_RENAME,
    ES_SHIM_UNLINK
};

/* Followed by the name, without an end mark, and `bytes` of data where the kind has any. */
typedef struct es_shim_record {
    int32_t kind, name;
    int64_t offset, bytes;
} es_shim_record;

#endif
