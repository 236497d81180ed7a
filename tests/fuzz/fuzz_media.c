/*
 * fuzz_media.c - any bytes as a recording: the walk over a container's frame, and the whole road into a spool.
 *
 * FFmpeg has fuzzers of its own; what is looked for here is our side of it: positions and times that overflow, formats
 * that change between frames, silence without end. A decode is given 2 s through the progress callback, so that a file
 * that is merely slow is no finding.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "media/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int two_seconds(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)done, (void)all;
    return clock() - *(clock_t *)user > 2 * CLOCKS_PER_SEC;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("input", MFD_CLOEXEC);
    clock_t start = clock();
    es_media_info info = {0};
    es_err err = {0};
    es_spool *spool = NULL;
    float block[512];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (es_media_decode(&spool, &info, path, 0, "/tmp", two_seconds, &start, &err) == ES_OK) {
        int64_t n = es_spool_samples(spool);
        if (n <= 0 || info.duration_ms != n * 1000 / ES_RATE || info.damaged_packets < 0) abort();
        if (es_spool_read(spool, n - 256, 512, block, &err)) abort();
        for (int i = 0; i < 512; i++)
            if (!(block[i] >= -1 && block[i] < 1)) abort();
    } else if (spool || !err.text[0]) {
        abort();
    }
    es_spool_close(spool);
    es_media_info_done(&info);
    close(fd);
    return 0;
}
