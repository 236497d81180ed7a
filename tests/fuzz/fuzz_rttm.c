/*
 * fuzz_rttm.c - any bytes as RTTM, as regions and as scores; what was read is scored against itself and written again.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pipeline/bench/bench_voices.h"
#include "speech/rttm.h"
#include "speech/score.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("turns", MFD_CLOEXEC);
    char path[64], *text = NULL;
    size_t bytes = 0;
    es_rttm r;
    es_der der;
    FILE *f;

    if (fd < 0 || size > 1 << 14 || write(fd, data, size) != (ssize_t)size) {
        if (fd >= 0) close(fd);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (es_rttm_read(&r, path, NULL, NULL) == ES_OK) {
        for (size_t i = 0; i < r.n; i++) {
            if (r.turns[i].start_us < 0 || r.turns[i].end_us <= r.turns[i].start_us) abort();
            if (r.turns[i].speaker < 0 || r.turns[i].speaker >= r.n_names) abort();
        }
        /* Against itself nothing is wrong. */
        if (r.n < 200 && (es_score_der(&der, r.turns, r.n, r.turns, r.n, NULL, 0, 0, NULL, 0) || der.miss_us || der.false_alarm_us || der.confusion_us))
            abort();
        if ((f = open_memstream(&text, &bytes))) {
            es_rttm_write(f, "x", r.turns, r.n, (const char *const *)r.names);
            fclose(f);
            free(text);
        }
        if (r.n < 200 && es_bench_der(path, path, NULL, 0, true, &text, &bytes, NULL) == ES_OK) free(text);
        if (r.n < 200 && es_bench_der(path, path, path, 0.1, false, &text, &bytes, NULL) == ES_OK) free(text);
        es_rttm_done(&r);
    }
    if (es_bench_eer(path, false, &text, &bytes, NULL) == ES_OK) free(text);
    close(fd);
    return 0;
}
