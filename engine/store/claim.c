/*
 * claim.c - claims as byte locks.
 *
 * The locks belong to the open file description, not to the process (F_OFD_SETLK), so that closing some other
 * descriptor of the same file in this process does not drop them. Two recordings whose hashes name the same byte (one
 * in 2^62) only wait for each other.
 */
#define _GNU_SOURCE
#include "store/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct es_claims {
    int fd;
    char *path;
};

int es_claims_open(es_claims **out, const char *dir, es_err *err)
{
    static const char name[] = "/claims.lock";
    es_claims *c = calloc(1, sizeof *c);
    int rc = ES_OK;

    *out = NULL;
    if (!c) return es_fail(err, ES_ENOMEM, "not enough memory");
    c->fd = -1;
    c->path = malloc(strlen(dir) + sizeof name);
    if (!c->path) {
        rc = es_fail(err, ES_ENOMEM, "not enough memory");
        goto out;
    }
    sprintf(c->path, "%s%s", dir, name);
    c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (c->fd < 0) {
        char shown[512];
        rc = es_fail(err, ES_ELIBRARY, "%s: cannot be opened for writing: %s",
                     es_printable(shown, sizeof shown, c->path), strerror(errno));
        goto out;
    }
    *out = c;
    c = NULL; /* the caller's from here on */
out:
    es_claims_close(c);
    return rc;
}

void es_claims_close(es_claims *c)
{
    if (!c) return;
    if (c->fd >= 0) close(c->fd);
    free(c->path);
    free(c);
}

static int lock_byte(const es_claims *c, es_hash128 content, short type)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)(es_hash_id(content) >> 2), .l_len = 1};
    int rc;

    do rc = fcntl(c->fd, F_OFD_SETLK, &lock);
    while (rc && errno == EINTR);
    return rc;
}

int es_claims_take(es_claims *c, es_hash128 content, es_err *err)
{
    char shown[512];

    if (lock_byte(c, content, F_WRLCK) == 0) return ES_OK;
    if (errno == EAGAIN || errno == EACCES)
        return es_fail(err, ES_EBUSY, "another process is at work on the same recording");
    return es_fail(err, ES_ELIBRARY, "%s: cannot be locked: %s", es_printable(shown, sizeof shown, c->path),
                   strerror(errno));
}

void es_claims_drop(es_claims *c, es_hash128 content)
{
    lock_byte(c, content, F_UNLCK);
}
