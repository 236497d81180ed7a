/*
 * crash_shim.c - stands between the program and the disk, for test_crash.c: a module for LD_PRELOAD.
 *
 * Every call by which the program changes a file below one folder is an operation, numbered from 1 in the order in which
 * they happen: writes, syncs, names that come and go. The environment says what becomes of them:
 *
 *     ES_SHIM_UNDER=FOLDER     the folder, as realpath() has it; without it nothing is done
 *     ES_SHIM_CRASH_AT=N       the process dies by SIGKILL in place of operation N
 *     ES_SHIM_TEAR=1           ... and if that is a write of several pages, the first half of them is written
 *     ES_SHIM_FULL_AT=N        from operation N on the disk is full: nothing can be made or written any more, though a
 *                              write that makes a file longer first takes what still fits, half of it
 *     ES_SHIM_ROOM=BYTES       so many bytes can be written, then the disk is full: the write in which they end takes what
 *                              still fits
 *     ES_SHIM_LOG=FILE         every operation is written there, with its bytes: es_shim_record, the name, the data
 *
 * The product knows nothing of this, so what is tested is what is shipped. The C library's own calls (mkstemp, stdio) do
 * not come by here; no record of a library is written by those. Each operation is done under one lock: the log has the
 * order in which things happened. Syncs are counted and noted, not done: no power fails here, and what a killed process
 * has written stays; waiting for the disk would be most of the test's time.
 */
#define _GNU_SOURCE
#include "crash_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PAGE = 4096, FDS = 4096 };

static struct {
    pthread_mutex_t lock;
    bool ready, tear;
    bool through[FDS]; /* of descriptors below the folder: writes are to be on the disk when they return */
    char under[PATH_MAX];
    size_t n_under;
    long at, crash_at, full_at; /* operations so far; 0: never */
    long room;                  /* bytes; < 0: no end of them */
    int log;
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER, .log = -1};

static long number(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

static void get_ready(void)
{
    const char *under = getenv("ES_SHIM_UNDER"), *log = getenv("ES_SHIM_LOG");

    if (shim.ready) return;
    shim.ready = true;
    shim.tear = number("ES_SHIM_TEAR") != 0;
    shim.crash_at = number("ES_SHIM_CRASH_AT");
    shim.full_at = number("ES_SHIM_FULL_AT");
    shim.room = getenv("ES_SHIM_ROOM") ? number("ES_SHIM_ROOM") : -1;
    if (!under) return;
    snprintf(shim.under, sizeof shim.under, "%s/", under);
    shim.n_under = strlen(shim.under);
    if (log) shim.log = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* What follows the folder's name, NULL for what lies elsewhere. */
static const char *inside(const char *path)
{
    get_ready();
    return shim.n_under && !strncmp(path, shim.under, shim.n_under) ? path + shim.n_under : NULL;
}

static const char *inside_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return inside(path);
}

static void put(const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t took = syscall(SYS_write, shim.log, at, n);
        if (took <= 0) return;
        at += took, n -= (size_t)took;
    }
}

static void note(int kind, const char *name, int64_t offset, const void *data, size_t bytes)
{
    const es_shim_record r = {.kind = kind, .name = (int32_t)strlen(name), .offset = offset, .bytes = (int64_t)bytes};

    if (shim.log < 0) return;
    put(&r, sizeof r);
    put(name, (size_t)r.name);
    put(data, data ? bytes : 0);
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts an operation that is no write; false where it must fail, with errno set. Called with the lock held. */
static bool counted(bool makes)
{
    shim.at++;
    if (shim.at == shim.crash_at) die();
    if (!makes || !shim.full_at || shim.at < shim.full_at) return true;
    errno = ENOSPC;
    return false;
}

static ssize_t write_there(int fd, const void *p, size_t n, off_t offset, bool in_place)
{
    return in_place ? syscall(SYS_pwrite64, fd, p, n, offset) : syscall(SYS_write, fd, p, n);
}

static ssize_t one_write(int fd, const char *name, const void *p, size_t n, off_t offset, bool in_place)
{
    off_t at = in_place ? offset : lseek(fd, 0, SEEK_CUR);
    struct stat st = {0};
    ssize_t took;

    shim.at++;
    if (shim.at == shim.crash_at) {
        size_t half = n / PAGE / 2 * PAGE;
        if (shim.tear && half) write_there(fd, p, half, offset, in_place);
        die();
    }
    if (shim.full_at && shim.at >= shim.full_at) {
        bool grows = fstat(fd, &st) == 0 && at + (off_t)n > st.st_size;
        if (shim.at > shim.full_at || !grows || n < 2) {
            errno = ENOSPC;
            return -1;
        }
        n /= 2;
    }
    if (shim.room >= 0 && (long)n > shim.room) {
        shim.full_at = shim.at;
        n = (size_t)shim.room;
        if (!n) {
            errno = ENOSPC;
            return -1;
        }
    }
    took = write_there(fd, p, n, offset, in_place);
    if (took > 0) {
        if (shim.room >= 0) shim.room -= took;
        bool through = fd < FDS && shim.through[fd];
        note(through ? ES_SHIM_WRITE_THROUGH : ES_SHIM_WRITE, name, at, p, (size_t)took);
    }
    return took;
}

static ssize_t any_write(int fd, const void *p, size_t n, off_t offset, bool in_place)
{
    char path[PATH_MAX];
    const char *name = inside_fd(fd, path);
    ssize_t took;

    if (!name) return write_there(fd, p, n, offset, in_place);
    pthread_mutex_lock(&shim.lock);
    took = one_write(fd, name, p, n, offset, in_place);
    pthread_mutex_unlock(&shim.lock);
    return took;
}

/* Its pieces in one. */
static ssize_t gathered(int fd, const struct iovec *v, int n_v, off_t offset, bool in_place)
{
    size_t n = 0, at = 0;
    ssize_t took = -1;
    char *all;

    for (int i = 0; i < n_v; i++) n += v[i].iov_len;
    all = malloc(n + 1);
    for (int i = 0; all && i < n_v; at += v[i++].iov_len)
        if (v[i].iov_len) memcpy(all + at, v[i].iov_base, v[i].iov_len);
    if (all) took = any_write(fd, all, n, offset, in_place);
    free(all);
    return took;
}

static int sync_fd(int fd, long which)
{
    char path[PATH_MAX];
    const char *name = inside_fd(fd, path);

    /* The folder itself: its entries. */
    if (!name && shim.n_under && !strncmp(path, shim.under, shim.n_under - 1) && strlen(path) == shim.n_under - 1) name = "";
    if (!name) return (int)syscall(which, fd);
    pthread_mutex_lock(&shim.lock);
    counted(false);
    note(ES_SHIM_SYNC, name, 0, NULL, 0);
    pthread_mutex_unlock(&shim.lock);
    return 0;
}

static int any_open(const char *path, int flags, mode_t mode)
{
    const char *name = inside(path);
    bool new;
    int fd = -1;

    if (!name) return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&shim.lock);
    new = flags & O_CREAT && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    if (!new || counted(true)) fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags & ~O_DSYNC, mode);
    if (fd >= 0 && fd < FDS) shim.through[fd] = flags & O_DSYNC;
    if (fd >= 0 && new) note(ES_SHIM_CREATE, name, 0, NULL, 0);
    pthread_mutex_unlock(&shim.lock);
    return fd;
}

static int drop(const char *path, int flags)
{
    const char *name = inside(path);
    int rc;

    if (!name) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
    pthread_mutex_lock(&shim.lock);
    counted(false);
    rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
    if (rc == 0) note(ES_SHIM_UNLINK, name, 0, NULL, 0);
    pthread_mutex_unlock(&shim.lock);
    return rc;
}

/* A second name, or another one: data is the old name. */
static int name_again(const char *from, const char *to, bool link)
{
    const char *name = inside(to), *old = inside(from);
    int rc = -1;

    if (!name) return (int)(link ? syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0) : syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
    pthread_mutex_lock(&shim.lock);
    if (counted(true))
        rc = (int)(link ? syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0) : syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
    if (rc == 0 && old) note(link ? ES_SHIM_LINK : ES_SHIM_RENAME, name, 0, old, strlen(old));
    pthread_mutex_unlock(&shim.lock);
    return rc;
}

/* ---- the names of the C library ---- */

ssize_t write(int fd, const void *p, size_t n)
{
    return any_write(fd, p, n, 0, false);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    return any_write(fd, p, n, offset, true);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset)
{
    return any_write(fd, p, n, offset, true);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    return gathered(fd, v, n, 0, false);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
    return gathered(fd, v, n, offset, true);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t offset)
{
    return gathered(fd, v, n, offset, true);
}

int fsync(int fd)
{
    return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_fd(fd, SYS_fdatasync);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    va_start(ap, flags);
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) mode = va_arg(ap, mode_t);
    va_end(ap);
    return any_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode = 0;

    va_start(ap, flags);
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) mode = va_arg(ap, mode_t);
    va_end(ap);
    return any_open(path, flags, mode);
}

static int set_length(int fd, off_t from, off_t length, bool whole)
{
    char path[PATH_MAX];
    const char *name = inside_fd(fd, path);
    int rc = -1;

    if (name) pthread_mutex_lock(&shim.lock);
    if (!name || counted(true)) rc = (int)(whole ? syscall(SYS_ftruncate, fd, length) : syscall(SYS_fallocate, fd, 0, from, length));
    if (name && rc == 0) note(ES_SHIM_LENGTH, name, from + length, NULL, 0);
    if (name) pthread_mutex_unlock(&shim.lock);
    return rc;
}

int ftruncate(int fd, off_t length)
{
    return set_length(fd, 0, length, true);
}

int ftruncate64(int fd, off_t length)
{
    return set_length(fd, 0, length, true);
}

int fallocate(int fd, int mode, off_t from, off_t length)
{
    return mode ? (int)syscall(SYS_fallocate, fd, mode, from, length) : set_length(fd, from, length, false);
}

int fallocate64(int fd, int mode, off_t from, off_t length)
{
    return fallocate(fd, mode, from, length);
}

int mkdir(const char *path, mode_t mode)
{
    const char *name = inside(path);
    int rc = -1;

    if (!name) return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&shim.lock);
    if (counted(true)) rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_unlock(&shim.lock);
    return rc;
}

int unlink(const char *path)
{
    return drop(path, 0);
}

int rmdir(const char *path)
{
    return drop(path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    struct stat st;

    return drop(path, lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

int rename(const char *from, const char *to)
{
    return name_again(from, to, false);
}

int link(const char *from, const char *to)
{
    return name_again(from, to, true);
}
