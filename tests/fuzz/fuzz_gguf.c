/*
 * fuzz_gguf.c - the readers of GGUF, of whisper.cpp's files and of NumPy's archives on any bytes, by their first ones.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "weights/convert/source.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static float out[4096];
    static volatile float sink;
    int fd = memfd_create("model", MFD_CLOEXEC), rc;
    char path[64];
    es_source *s = NULL;
    es_err err = {0};

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    rc = es_source_open(&s, path, "/nowhere", &err);
    if (!rc && size > 4 && !memcmp(data, "lmgg", 4)) rc = es_ggml_read(s, path, &err);
    else if (!rc && size > 2 && !memcmp(data, "PK", 2)) rc = es_npz_read(s, path, &err);
    else if (!rc) rc = es_gguf_read(s, path, &err);
    for (int i = 0; !rc && i < s->n_tensors; i++) {
        size_t n = s->tensors[i].count;
        es_source_read(&s->tensors[i], 0, n < 4096 ? n : 4096, out);
        if (n > 4096) es_source_read(&s->tensors[i], n - 4096, 4096, out);
        sink = n ? out[0] : 0;
    }
    if (rc && !err.text[0]) abort(); /* a refusal without a sentence */
    es_source_close(s);
    close(fd);
    return 0;
}
