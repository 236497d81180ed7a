/*
 * spool.c - decoded sound in a file: written once, in order, then read anywhere.
 *
 *   s16 samples, 16 kHz mono, in the machine's byte order (the file never leaves the machine)
 *   trailer, 40 bytes: mark, number of samples, XXH3-128 of the samples and of their number
 *
 * The samples come first, so sample n lies at byte 2n and a read is one pread(). The trailer is written last: a file
 * whose writer died has none and is not taken up again. Long silence is left as a hole in the file, which costs neither
 * disk nor time; the hash runs over its zeros all the same.
 *
 * Memory is one write buffer while the spool is written and none after, whatever the length. A mapping was weighed and
 * dropped: a disk that fails under a mapping is a signal, under pread() a sentence.
 */
#define _GNU_SOURCE
#include "media/spool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER_SAMPLES = 1 << 16, /* 128 KiB a write: large enough that the calls do not show in a profile */
    CHUNK_SAMPLES = 1 << 13,  /* read at a time, on the stack */
    SHORT_SILENCE = 1 << 18,  /* samples; anything longer becomes a hole */
};

#define MARK UINT64_C(0x314c4f4f50535345) /* "ESSPOOL1" read as a little-endian number: another byte order shows */

typedef struct trailer {
    uint64_t mark, samples;
    uint8_t hash[16];
    uint64_t zero; /* reserved */
} trailer;
_Static_assert(sizeof(trailer) == 40, "the trailer is written as it lies in memory");

struct es_spool {
    int fd;             /* -1 for a spool in memory */
    char *path;         /* owned; NULL in memory */
    bool keep;          /* the file outlives the spool */
    int64_t samples;    /* all of them; while writing those in the buffer too */
    const float *memory; /* the caller's */
    int16_t *buffer;    /* [BUFFER_SAMPLES] while writing, else NULL */
    int64_t buffered;   /* samples in the buffer, not yet in the file */
    es_hasher *hasher;  /* while writing */
};

static int write_all(es_spool *s, const void *from, size_t bytes, int64_t at, es_err *err)
{
    const char *p = from;

    while (bytes) {
        ssize_t n = pwrite(s->fd, p, bytes, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            char shown[400];
            return es_fail(err, ES_EIO, "%s: cannot write the decoded sound after %lld bytes: %s",
                           es_printable(shown, sizeof shown, s->path), (long long)at,
                           n ? strerror(errno) : "nothing was taken");
        }
        p += n, at += n, bytes -= (size_t)n;
    }
    return ES_OK;
}

static int flush(es_spool *s, es_err *err)
{
    size_t bytes = (size_t)s->buffered * sizeof *s->buffer;
    int rc;

    if (!bytes) return ES_OK;
    rc = write_all(s, s->buffer, bytes, (s->samples - s->buffered) * (int64_t)sizeof *s->buffer, err);
    if (rc) return rc;
    es_hasher_add(s->hasher, s->buffer, bytes);
    s->buffered = 0;
    return ES_OK;
}

int es_spool_create(es_spool **out, const char *tmp_dir, es_err *err)
{
    es_spool *s = calloc(1, sizeof *s);
    size_t room = strlen(tmp_dir) + 64;
    char shown[400];
    int rc = ES_OK;

    *out = NULL;
    if (!s) return es_fail(err, ES_ENOMEM, "no memory for a spool of decoded sound");
    s->fd = -1;
    s->path = malloc(room);
    s->buffer = malloc(BUFFER_SAMPLES * sizeof *s->buffer);
    s->hasher = es_hasher_open();
    if (!s->path || !s->buffer || !s->hasher) {
        rc = es_fail(err, ES_ENOMEM, "no memory for a spool of decoded sound");
        goto out;
    }
    /* The process id lets a later run tell a living writer's file from one left by a crash. */
    snprintf(s->path, room, "%s/spool-%ld-XXXXXX", tmp_dir, (long)getpid());
    s->fd = mkostemp(s->path, O_CLOEXEC);
    if (s->fd < 0) {
        rc = es_fail(err, ES_EIO, "%s: cannot make a file for decoded sound: %s",
                     es_printable(shown, sizeof shown, tmp_dir), strerror(errno));
        goto out;
    }
    *out = s;
    s = NULL;
out:
    if (s && s->fd < 0) s->keep = true; /* there is no file to remove */
    es_spool_close(s);
    return rc;
}

int es_spool_append(es_spool *s, const int16_t *samples, int64_t n, es_err *err)
{
    assert(s->buffer && n >= 0);
    while (n) {
        int64_t room = BUFFER_SAMPLES - s->buffered, take = n < room ? n : room;
        memcpy(s->buffer + s->buffered, samples, (size_t)take * sizeof *samples);
        s->buffered += take, s->samples += take, samples += take, n -= take;
        if (s->buffered == BUFFER_SAMPLES) {
            int rc = flush(s, err);
            if (rc) return rc;
        }
    }
    return ES_OK;
}

int es_spool_append_silence(es_spool *s, int64_t n, es_err *err)
{
    int rc = ES_OK;

    assert(s->buffer && n >= 0);
    if (n > SHORT_SILENCE) {
        rc = flush(s, err);
        if (rc) return rc;
        memset(s->buffer, 0, BUFFER_SAMPLES * sizeof *s->buffer);
        for (int64_t left = n, take; left; left -= take) {
            take = left < BUFFER_SAMPLES ? left : BUFFER_SAMPLES;
            es_hasher_add(s->hasher, s->buffer, (size_t)take * sizeof *s->buffer);
        }
        s->samples += n; /* what is written next lands behind the hole */
        return ES_OK;
    }
    while (n && !rc) {
        int64_t room = BUFFER_SAMPLES - s->buffered, take = n < room ? n : room;
        memset(s->buffer + s->buffered, 0, (size_t)take * sizeof *s->buffer);
        s->buffered += take, s->samples += take, n -= take;
        if (s->buffered == BUFFER_SAMPLES) rc = flush(s, err);
    }
    return rc;
}

int es_spool_finish(es_spool *s, es_err *err)
{
    trailer t = {.mark = MARK};
    es_hash128 hash;
    int rc = flush(s, err);

    if (rc) return rc;
    t.samples = (uint64_t)s->samples;
    es_hasher_add(s->hasher, &t.samples, sizeof t.samples);
    hash = es_hasher_value(s->hasher);
    memcpy(t.hash, hash.b, sizeof t.hash);
    rc = write_all(s, &t, sizeof t, s->samples * (int64_t)sizeof(int16_t), err);
    if (rc) return rc;
    free(s->buffer);
    s->buffer = NULL;
    es_hasher_close(s->hasher);
    s->hasher = NULL;
    return ES_OK;
}

int es_spool_from(es_spool **out, const float *samples, int64_t n, es_err *err)
{
    assert(n >= 0);
    *out = calloc(1, sizeof **out);
    if (!*out) return es_fail(err, ES_ENOMEM, "no memory for a spool");
    **out = (es_spool){.fd = -1, .memory = samples, .samples = n, .keep = true};
    return ES_OK;
}

int64_t es_spool_samples(const es_spool *s)
{
    return s->samples;
}

/* Exactly bytes from at; a file that ends earlier is an error, since its length was known. */
static int read_all(const es_spool *s, void *to, size_t bytes, int64_t at, es_err *err)
{
    char *p = to;

    while (bytes) {
        ssize_t n = pread(s->fd, p, bytes, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            char shown[400];
            return es_fail(err, ES_EIO, "%s: cannot read decoded sound at byte %lld: %s",
                           es_printable(shown, sizeof shown, s->path), (long long)at,
                           n ? strerror(errno) : "the file ends there");
        }
        p += n, at += n, bytes -= (size_t)n;
    }
    return ES_OK;
}

int es_spool_read(es_spool *s, int64_t first, int64_t n, float *out, es_err *err)
{
    int16_t chunk[CHUNK_SAMPLES];
    int64_t before, inside;

    assert(!s->buffer && n >= 0);
    before = first >= 0 ? 0 : first <= -n ? n : -first;
    memset(out, 0, (size_t)before * sizeof *out);
    out += before, first += before, n -= before;
    inside = first >= s->samples ? 0 : n < s->samples - first ? n : s->samples - first;
    memset(out + inside, 0, (size_t)(n - inside) * sizeof *out);
    if (s->memory) {
        memcpy(out, s->memory + (inside ? first : 0), (size_t)inside * sizeof *out);
        return ES_OK;
    }
    while (inside) {
        int64_t take = inside < CHUNK_SAMPLES ? inside : CHUNK_SAMPLES;
        int rc = read_all(s, chunk, (size_t)take * sizeof *chunk, first * (int64_t)sizeof *chunk, err);
        if (rc) return rc;
        for (int64_t i = 0; i < take; i++) out[i] = (float)chunk[i] * (1.0f / 32768.0f);
        out += take, first += take, inside -= take;
    }
    return ES_OK;
}

int es_spool_keep(es_spool *s, const char *path, es_err *err)
{
    char shown[400], *name;

    assert(s->path && !s->buffer);
    name = strdup(path);
    if (!name) return es_fail(err, ES_ENOMEM, "no memory for a file name");
    /* The samples must be on the disk before the name is, or a crash leaves a name that promises what is not there; the
     * hash would show it, at the price of a decode for nothing. */
    if (fdatasync(s->fd) || rename(s->path, name)) {
        int why = errno;
        free(name);
        return es_fail(err, ES_EIO, "%s: cannot keep decoded sound under this name: %s",
                       es_printable(shown, sizeof shown, path), strerror(why));
    }
    free(s->path);
    s->path = name;
    s->keep = true;
    return ES_OK;
}

int es_spool_open(es_spool **out, const char *path, es_err *err)
{
    es_spool *s = calloc(1, sizeof *s);
    uint8_t *block = malloc(BUFFER_SAMPLES);
    es_hasher *hasher = es_hasher_open();
    struct stat st;
    trailer t;
    char shown[400];
    int rc = ES_OK;

    *out = NULL;
    es_printable(shown, sizeof shown, path);
    if (s) *s = (es_spool){.fd = -1, .keep = true, .path = strdup(path)};
    if (!s || !block || !hasher || !s->path) {
        rc = es_fail(err, ES_ENOMEM, "no memory to open a spool of decoded sound");
        goto out;
    }
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (s->fd < 0 || fstat(s->fd, &st)) {
        rc = es_fail(err, errno == ENOENT ? ES_ENOTFOUND : ES_EIO, "%s: cannot open decoded sound: %s", shown, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof t || st.st_size % 2) {
        rc = es_fail(err, ES_EFORMAT, "%s: is not a finished spool of decoded sound (%lld bytes)", shown,
                     (long long)st.st_size);
        goto out;
    }
    rc = read_all(s, &t, sizeof t, st.st_size - (off_t)sizeof t, err);
    if (rc) goto out;
    s->samples = ((int64_t)st.st_size - (int64_t)sizeof t) / 2;
    if (t.mark != MARK || t.samples != (uint64_t)s->samples) {
        rc = es_fail(err, ES_EFORMAT, "%s: is not a finished spool of decoded sound (mark %016llx, %llu samples, room for %lld)",
                     shown, (unsigned long long)t.mark, (unsigned long long)t.samples, (long long)s->samples);
        goto out;
    }
    for (int64_t at = 0, all = s->samples * 2, take; at < all; at += take) {
        take = all - at < BUFFER_SAMPLES ? all - at : BUFFER_SAMPLES;
        rc = read_all(s, block, (size_t)take, at, err);
        if (rc) goto out;
        es_hasher_add(hasher, block, (size_t)take);
    }
    es_hasher_add(hasher, &t.samples, sizeof t.samples);
    es_hash128 have = es_hasher_value(hasher);
    if (memcmp(have.b, t.hash, sizeof t.hash)) {
        char found[33], wanted[33];
        es_hash128 want;
        memcpy(want.b, t.hash, sizeof want.b);
        es_hash_hex(found, have);
        es_hash_hex(wanted, want);
        rc = es_fail(err, ES_EFORMAT, "%s: decoded sound was altered: its hash is %s, %s was written", shown, found, wanted);
        goto out;
    }
    *out = s;
    s = NULL;
out:
    es_spool_close(s);
    es_hasher_close(hasher);
    free(block);
    return rc;
}

void es_spool_remove(es_spool *s)
{
    s->keep = false;
}

void es_spool_close(es_spool *s)
{
    if (!s) return;
    if (s->path && !s->keep) unlink(s->path);
    if (s->fd >= 0) close(s->fd);
    es_hasher_close(s->hasher);
    free(s->buffer);
    free(s->path);
    free(s);
}
