/*
 * fuzz_torch.c - the PyTorch readers on any bytes: archive, pickle, storages and views. The first byte of the input chooses
 * between a whole file and the body of a pickle, which mutations reach more easily without an archive around it.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "weights/convert/pickle.h"
#include "weights/convert/source.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void whole_file(const unsigned char *data, size_t size)
{
    static float out[4096];
    static volatile float sink;
    int fd = memfd_create("model", MFD_CLOEXEC);
    char path[64];
    es_source *s = NULL;
    es_err err = {0};

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    if (!es_source_open(&s, path, "/nowhere", &err) && !es_torch_read(s, path, &err)) {
        for (int i = 0; i < s->n_tensors; i++) {
            size_t n = s->tensors[i].count;
            es_source_read(&s->tensors[i], 0, n < 4096 ? n : 4096, out);
            if (n > 4096) es_source_read(&s->tensors[i], n - 4096, 4096, out);
            sink = n ? out[0] : 0;
        }
    } else if (!err.text[0]) {
        abort(); /* a refusal without a sentence */
    }
    es_source_close(s);
    close(fd);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    es_pickle *k = NULL;
    es_err err = {0};
    size_t used;

    if (!size) return 0;
    if (*data != 'p') {
        whole_file(data, size);
        return 0;
    }
    if (es_pickle_read(&k, data + 1, size - 1, &used, "fuzz", &err) && !err.text[0]) abort();
    es_pickle_close(k);
    return 0;
}
