/*
 * ingest.h - recordings that are made up, a small model that hears something in them, and the library they go into: what the
 * tests of `earshot ingest` and of the commands after it share.
 *
 * The model has seeded random weights, so that no download is needed; what it hears means nothing, and the tests look at files,
 * codes and records instead. After every bad input the library is checked to be whole.
 */
#ifndef ES_TEST_INGEST_H
#define ES_TEST_INGEST_H

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"
#include "seeded.h"

enum { SILENCE, NOISE, NANS };

/* A wav file in the test's folder: 16-bit, or 32-bit float for NANS. Long silence takes no room on the disk. */
static inline const char *wav(const char *name, int what, double seconds, int rate, int channels)
{
    const char *path = at(name);
    uint64_t frames = (uint64_t)llrint(seconds * rate), n = frames * (uint64_t)channels, bytes = what == NANS ? 4 : 2;
    uint8_t head[44];
    es_noise noise = {7};
    FILE *f = fopen(path, "wb");

    CHECK(f, "cannot write %s", path);
    if (!f) return path;
    wav_head(head, rate, channels, (int)(8 * bytes), n * bytes);
    fwrite(head, 1, sizeof head, f);
    for (uint64_t i = 0; what != SILENCE && i < n; i++) {
        int16_t s = (int16_t)(es_noise_normal(&noise) * 3000);
        uint32_t bits = i % 3 == 0 ? 0x7FC00000u : i % 7 == 0 ? 0x7F800000u : 0x3D000000u;
        if (what == NANS) fwrite(&bits, 4, 1, f);
        else fwrite(&s, 2, 1, f);
    }
    fflush(f);
    CHECK(ftruncate(fileno(f), (off_t)(44 + n * bytes)) == 0, "%s", strerror(errno));
    fclose(f);
    return path;
}

/* models/small.pack in the test's folder. */
static inline void setup(void)
{
    chmod(es_test_folder(), 0755);
    mkdir(at("models"), 0755);
    CHECK(es_seeded_whisper_write(at("models/small.pack"), &es_seeded_small) == 0, "cannot write a pack");
}

/* Every ingest of these tests: greedy, English given, the small model. */
#define INGEST_INTO(library)                                                                                           \
    "ingest", "-L", library, "--models", at("models"), "--device", "cpu", "--temperature", "0", "--language", "en"
#define INGEST INGEST_INTO(at("lib"))

static inline void check_whole(const char *library)
{
    EXPECT(0, ": whole", NULL, "check", "-L", library);
}

/* A file below the folder that is not LMDB's own is left over; the walk ends there. */
static inline int check_not_left_over(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    bool ours = flag != FTW_F || strstr(path + ftw->base, ".mdb") || strstr(path + ftw->base, "lock");

    (void)st;
    CHECK(ours, "%s was left behind", path);
    return !ours;
}

static inline void check_nothing_left(const char *library)
{
    nftw(library, check_not_left_over, 16, FTW_PHYS);
}

#endif
