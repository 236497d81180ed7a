/*
 * fuzz_pages.c - any bytes as the file of a library: walked page by page without LMDB, to the end, inside its bounds.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hear(void *user, const char *sentence)
{
    uint64_t *heard = user;

    if (!sentence[0]) abort();
    ++*heard;
}

static void walk(const char *path, uint64_t snapshot)
{
    for (int all = 0; all < 2; all++) {
        es_err err = {0};
        uint64_t faults = 0, heard = 0;
        int rc = es_pages_walk(path, snapshot, all, hear, &heard, &faults, &err);
        if (heard > faults || (faults && !heard)) abort();
        if (rc && rc != ES_EBUSY && !err.text[0]) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("pages", 0);
    char path[64];
    uint64_t snapshot = 0;

    if (fd < 0) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, data, size) == (ssize_t)size) {
        es_pages_head(path, NULL);
        if (size >= 152) memcpy(&snapshot, data + 144, 8); /* as the first meta page has it */
        walk(path, snapshot);
        walk(path, snapshot + 1);
    }
    close(fd);
    return 0;
}
