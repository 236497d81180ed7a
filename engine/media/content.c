/*
 * content.c - a media file as bytes.
 *
 * Opening refuses what is no regular file before open() could block on it (a pipe) or wake it (a device), and looks
 * again after, since the name may have changed hands in between. Hashing reads it all in sequence, once.
 *
 * FFmpeg reads a file that ends early without saying so: it hands out what is there and then reports an ordinary end.
 * Three families of containers write the length of their parts ahead of them, so the outermost lengths tell whether the
 * file is whole, and nothing inside has to be understood:
 *
 *   mp4, mov   boxes [u32 size, 4 letters, (u64 size if 1)] one after the other; 0: to the end of the file
 *   wav, avi   "RIFF" [u32 size]; 0, 2^32 - 1 and RF64 are what writers leave that could not seek back
 *   mkv, webm  elements [id, size], each a number whose leading zero bits say its length; all ones: unknown
 *
 * The same walk tells an mp4 whose index was never written (a recorder that lost power) from one that is no mp4 at all.
 */
#define _GNU_SOURCE
#include "media/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 20,   /* at a time while hashing */
    PEEK_BYTES = 4096,      /* looked at to tell text */
    MAX_PARTS = 4096,       /* walked before giving up: a fragmented mp4 of hours has more, then nothing is claimed */
    TICK_NS = 100 * 1000000 /* between calls of progress */
};

/* ---- opening ---- */
static int set_path(es_media_info *info, const char *path, es_err *err)
{
    char *whole = NULL, *here = NULL;

    if (path[0] == '/') {
        whole = strdup(path);
    } else if ((here = getcwd(NULL, 0))) {
        size_t room = strlen(here) + strlen(path) + 2;
        whole = malloc(room);
        if (whole) snprintf(whole, room, "%s/%s", strcmp(here, "/") ? here : "", path);
        free(here);
    } else {
        whole = strdup(path); /* the working folder is gone; the name still opens */
    }
    if (!whole) return es_fail(err, ES_ENOMEM, "no memory for a file name");
    free(info->path);
    info->path = whole;
    return ES_OK;
}

static int refuse_kind(const char *shown, mode_t mode, es_err *err)
{
    if (S_ISDIR(mode)) return es_fail(err, ES_EARG, "%s: is a folder, not a recording", shown);
    return es_fail(err, ES_EARG, "%s: is %s, not a file", shown,
                   S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device");
}

int es_content_open(int *fd, es_media_info *info, const char *path, es_err *err)
{
    struct stat st;
    char shown[400];
    int rc;

    *fd = -1;
    es_printable(shown, sizeof shown, path);
    if (stat(path, &st)) {
        if (errno == ENOENT || errno == ENOTDIR) return es_fail(err, ES_ENOTFOUND, "%s: no such file", shown);
        return es_fail(err, ES_EIO, "%s: cannot be looked at: %s", shown, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) return refuse_kind(shown, st.st_mode, err);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0 || fstat(*fd, &st)) {
        rc = es_fail(err, errno == ENOENT ? ES_ENOTFOUND : ES_EIO, "%s: cannot be opened: %s", shown, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        rc = refuse_kind(shown, st.st_mode, err);
    } else if (st.st_size == 0) {
        rc = es_fail(err, ES_EFORMAT, "%s: is empty (0 bytes)", shown);
    } else {
        rc = set_path(info, path, err);
    }
    if (rc) {
        if (*fd >= 0) close(*fd);
        *fd = -1;
        return rc;
    }
    info->bytes = (uint64_t)st.st_size;
    info->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return ES_OK;
}

/* ---- hashing ---- */
int es_media_hash(es_media_info *info, const char *path, es_media_progress progress, void *user, es_err *err)
{
    es_hasher *hasher = es_hasher_open();
    uint8_t *block = malloc(READ_BYTES);
    struct stat after;
    struct timespec last = {0}, now;
    uint64_t done = 0;
    char shown[400];
    int fd = -1, rc;

    es_printable(shown, sizeof shown, path);
    if (!hasher || !block) {
        rc = es_fail(err, ES_ENOMEM, "no memory to read %s", shown);
        goto out;
    }
    rc = es_content_open(&fd, info, path, err);
    if (rc) goto out;
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint; that it may fail is no matter */
    for (;;) {
        ssize_t n = read(fd, block, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            rc = es_fail(err, ES_EIO, "%s: cannot be read after %llu bytes: %s", shown, (unsigned long long)done,
                         strerror(errno));
            goto out;
        }
        if (n == 0) break;
        es_hasher_add(hasher, block, (size_t)n);
        done += (uint64_t)n;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (progress && (now.tv_sec - last.tv_sec) * 1000000000 + (now.tv_nsec - last.tv_nsec) > TICK_NS) {
            last = now;
            if (progress(user, "reading", (int64_t)done, (int64_t)info->bytes)) {
                rc = es_fail(err, ES_ECANCELLED, "%s: cancelled while reading", shown);
                goto out;
            }
        }
    }
    if (fstat(fd, &after) || done != info->bytes ||
        (int64_t)after.st_mtim.tv_sec * 1000000000 + after.st_mtim.tv_nsec != info->mtime_ns) {
        rc = es_fail(err, ES_EIO, "%s: changed while it was read (%llu bytes at first, %llu now)", shown,
                     (unsigned long long)info->bytes, (unsigned long long)done);
        goto out;
    }
    info->content = es_hasher_value(hasher);
out:
    if (fd >= 0) close(fd);
    es_hasher_close(hasher);
    free(block);
    return rc;
}

/* ---- the frame of a file ---- */
/* Up to n bytes from at; how many there were. */
static size_t peek(int fd, uint64_t at, uint8_t *to, size_t n)
{
    size_t have = 0;

    while (have < n) {
        ssize_t got = pread(fd, to + have, n - have, (off_t)(at + have));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        have += (size_t)got;
    }
    return have;
}

static uint64_t big_endian(const uint8_t *p, int n)
{
    uint64_t v = 0;

    for (int i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

/* Boxes that stand at the top of real files; the first one has to be among them, which is what makes it this kind. */
static bool known_box(const uint8_t *name)
{
    static const char names[][5] = {"ftyp", "moov", "mdat", "free", "skip", "wide", "pnot", "styp", "moof", "sidx", "uuid"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!memcmp(name, names[i], 4)) return true;
    return false;
}

static void walk_boxes(es_content_shape *shape, int fd, uint64_t bytes)
{
    uint64_t at = 0, size;
    uint8_t head[16];

    for (int parts = 0; at < bytes && parts < MAX_PARTS; parts++, at += size) {
        size_t have = peek(fd, at, head, sizeof head);
        uint64_t least = 8;
        if (have < 8) {
            shape->cut = true; /* not even a head */
            return;
        }
        size = big_endian(head, 4);
        if (size == 1 && have == 16) size = big_endian(head + 8, 8), least = 16;
        else if (size == 0) size = bytes - at;
        if (size < least) return; /* nonsense: padding behind the last box, or damage; claim nothing */
        if (!memcmp(head + 4, "moov", 4)) shape->has_index = size <= bytes - at;
        if (size > bytes - at) {
            shape->cut = true;
            return;
        }
    }
}

/* An EBML number of at most 8 bytes; its length, or 0. Keeps the marker bit of ids and drops it from sizes. */
static int ebml_number(const uint8_t *p, size_t have, bool id, uint64_t *value, bool *unknown)
{
    int n = 1;

    if (!have || !p[0]) return 0;
    while (!(p[0] & 0x80 >> (n - 1))) n++;
    if ((size_t)n > have) return 0;
    *value = big_endian(p, n);
    if (!id) {
        uint64_t ones = ((uint64_t)1 << (7 * n)) - 1;
        *value &= ones;
        *unknown = *value == ones;
    }
    return n;
}

static void walk_ebml(es_content_shape *shape, int fd, uint64_t bytes)
{
    uint64_t at = 0, id, size;
    bool unknown = false;

    for (int parts = 0; at < bytes && parts < MAX_PARTS; parts++) {
        uint8_t head[16];
        size_t have = peek(fd, at, head, sizeof head);
        int a = ebml_number(head, have, true, &id, &unknown), b;
        if (!a || !(b = ebml_number(head + a, have - (size_t)a, false, &size, &unknown)) || unknown) return;
        at += (uint64_t)(a + b);
        if (at > bytes || size > bytes - at) {
            shape->cut = true;
            return;
        }
        at += size;
    }
}

static bool is_text(const uint8_t *p, size_t n, bool whole)
{
    for (size_t i = 0; i < n;) {
        int more = p[i] < 0x80 ? 0 : p[i] >> 5 == 6 ? 1 : p[i] >> 4 == 14 ? 2 : p[i] >> 3 == 30 ? 3 : -1;
        if (more < 0 || p[i] == 0x7f || (p[i] < 0x20 && !strchr("\t\n\f\r\033", p[i])) || !p[i]) return false;
        for (i++; more > 0; more--, i++) {
            if (i >= n) return !whole; /* cut inside a letter by where we stopped looking */
            if (p[i] >> 6 != 2) return false;
        }
    }
    return n > 0;
}

/* Playlists by their first line; FFmpeg also knows them, but newer versions only under their own endings. */
static bool is_playlist(const uint8_t *p, size_t n)
{
    static const char *const marks[] = {"#EXTM3U", "ffconcat version", "[playlist]"};

    if (n >= 3 && !memcmp(p, "\xef\xbb\xbf", 3)) p += 3, n -= 3;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (n >= strlen(marks[i]) && !memcmp(p, marks[i], strlen(marks[i]))) return true;
    for (size_t i = 0; i + 5 < n; i++)
        if (!memcmp(p + i, "<MPD", 4) || !memcmp(p + i, "<smil", 5)) return true;
    return false;
}

es_content_shape es_content_look(int fd, uint64_t bytes)
{
    es_content_shape shape = {.kind = ES_CONTENT_UNKNOWN};
    uint8_t head[PEEK_BYTES];
    size_t n = peek(fd, 0, head, sizeof head);

    if (n >= 8 && known_box(head + 4)) {
        shape.kind = ES_CONTENT_BOXES;
        walk_boxes(&shape, fd, bytes);
    } else if (n >= 12 && !memcmp(head, "RIFF", 4)) {
        uint64_t size = (uint64_t)head[4] | (uint64_t)head[5] << 8 | (uint64_t)head[6] << 16 | (uint64_t)head[7] << 24;
        shape.kind = ES_CONTENT_RIFF;
        shape.cut = size && size != UINT32_MAX && size + 8 > bytes + 1; /* some leave out the last padding byte */
    } else if (n >= 4 && !memcmp(head, "\x1a\x45\xdf\xa3", 4)) {
        shape.kind = ES_CONTENT_EBML;
        walk_ebml(&shape, fd, bytes);
    } else if (is_text(head, n, n == bytes)) {
        shape.kind = is_playlist(head, n) ? ES_CONTENT_PLAYLIST : ES_CONTENT_TEXT;
    }
    return shape;
}

/* ---- names ---- */
bool es_media_is_media_name(const char *path)
{
    static const char *const endings[] = {
        "3g2", "3gp", "aac",  "ac3", "aif",  "aifc", "aiff", "amr", "ape", "asf", "au",  "avi", "awb", "caf",  "divx",
        "dts", "dv",  "eac3", "f4v", "flac", "flv",  "gsm",  "m2t", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov",
        "mp2", "mp3", "mp4",  "mpa", "mpeg", "mpg",  "mts",  "mxf", "nut", "oga", "ogg", "ogm", "ogv", "opus", "ra",
        "rf64", "rm", "rmvb", "snd", "spx",  "tta",  "vob",  "w64", "wav", "webm", "wma", "wmv", "wtv", "wv",
    };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    if (!dot || dot == name) return false; /* ".mp3" is a hidden file without an ending */
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot + 1, endings[i])) return true;
    if (!strcasecmp(dot + 1, "ts")) {
        uint8_t packet[189] = {0};
        struct stat st;
        int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
        size_t n = fd >= 0 ? peek(fd, 0, packet, sizeof packet) : 0;
        if (fd >= 0) close(fd);
        return n == sizeof packet && packet[0] == 0x47 && packet[188] == 0x47; /* two packets of 188 bytes */
    }
    return false;
}
