/*
 * files.c - plain files only, opened without waiting.
 */
#define _GNU_SOURCE
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int es_files_open(const char *path, es_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* which a plain file does not notice */
    struct stat st;
    char shown[512];

    es_printable(shown, sizeof shown, path);
    if (fd < 0 || fstat(fd, &st)) {
        es_fail(err, errno == ENOENT ? ES_ENOTFOUND : ES_EIO, "%s: %s", shown, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    if (S_ISREG(st.st_mode)) return fd;
    close(fd);
    es_fail(err, ES_EFORMAT, "%s: is not a regular file", shown);
    return -1;
}

FILE *es_files_stream(const char *path, es_err *err)
{
    int fd = es_files_open(path, err);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");

    if (fd >= 0 && !f) {
        es_fail(err, ES_ENOMEM, "not enough memory");
        close(fd);
    }
    return f;
}
