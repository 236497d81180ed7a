/*
 * folder.c - locks that die with their process, and a folder that is refused before it can do harm.
 *
 * LMDB needs a file system of this machine: on a network its locks and its shared map do not hold, and two writers
 * would destroy the file. The file system's type is known from statfs(), of the folder and, since it may be a link, of
 * data.mdb.
 *
 * tmp/ has one folder per process, with a file `lock` that its process keeps locked. Whoever opens the library removes
 * every folder whose lock can be had, for then its process is gone; process numbers would not do, since they come again
 * and mean nothing in another container. tmp/lock is held while a folder is made or swept, so that none is taken for
 * dead between its making and its locking.
 *
 * A reader that may not write lock.mdb cannot tell writers what it is reading. On a file system that is mounted
 * read-only nobody writes, so it needs no lock; elsewhere it holds earshot.lock alone and so keeps writers out while it
 * reads.
 */
#define _GNU_SOURCE
#include "store/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 500, LOCK_PAUSE_MS = 20 /* ten seconds in all */ };

const char *es_folder_network(long f_type)
{
    /* Numbers of the kernel's magic.h and of the file systems' own sources, as unsigned 32-bit values. */
    static const struct {
        uint32_t type;
        const char *name;
    } table[] = {
        {0x6969u, "NFS"},          {0x517Bu, "SMB"},        {0xFF534D42u, "CIFS"},   {0xFE534D42u, "SMB2"},
        {0x65735546u, "FUSE"},     {0x01021997u, "9p"},     {0x5346414Fu, "AFS"},    {0x6B414653u, "AFS"},
        {0x73757245u, "Coda"},     {0x564Cu, "NCP"},        {0x00C36400u, "Ceph"},   {0x0BD00BD0u, "Lustre"},
        {0x01161970u, "GFS2"},     {0x7461636Fu, "OCFS2"},  {0x47504653u, "GPFS"},   {0x19830326u, "BeeGFS"},
        {0x20030528u, "OrangeFS"}, {0x786F4256u, "vboxsf"}, {0xBACBACBCu, "VMHGFS"}, {0xAAD7AAEAu, "PanFS"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].type == (uint32_t)f_type) return table[i].name;
    return NULL;
}

static int refuse_network(const char *path, es_err *err)
{
    struct statfs fs;
    const char *name;

    if (statfs(path, &fs)) return ES_OK; /* what is wrong with it shows when it is opened */
    name = es_folder_network((long)fs.f_type);
    if (!name) return ES_OK;
    return es_fail(err, ES_ELIBRARY,
                   "%s: lies on %s, where locks and shared maps cannot be relied on; a library needs a "
                   "disk of this machine",
                   path, name);
}

/* a/b; NULL when memory is out. */
static char *join(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 2;
    char *s = malloc(n);

    if (s) snprintf(s, n, "%s/%s", a, b);
    return s;
}

static bool may(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* mkdir -p; the last folder is for its owner alone, since it will hold what people said. */
static int make_folders(const char *dir, es_err *err)
{
    char path[PATH_MAX];

    if (strlen(dir) >= sizeof path) return es_fail(err, ES_EARG, "%s: the name is too long", dir);
    strcpy(path, dir);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        if (mkdir(path, 0777) && errno != EEXIST && !is_folder(path))
            return es_fail(err, ES_ELIBRARY, "%s: cannot be made: %s", path, strerror(errno));
        *p = '/';
    }
    if (mkdir(path, 0700) && (errno != EEXIST || !is_folder(path)))
        return es_fail(err, ES_ELIBRARY, "%s: cannot be made: %s", path, strerror(errno));
    return ES_OK;
}

/* Without a data.mdb, only what an unfinished library leaves may lie in the folder. */
static int refuse_foreign(const char *dir, es_err *err)
{
    static const char *const ours[] = {
        ".",        "..",           "data.mdb" /* made a moment ago by another process */,
        "lock.mdb", "earshot.lock", "claims.lock",
        "tmp",      "lost+found"};
    DIR *d = opendir(dir);
    int rc = ES_OK;

    if (!d) return es_fail(err, ES_ELIBRARY, "%s: %s", dir, strerror(errno));
    for (struct dirent *e; rc == ES_OK && (e = readdir(d));) {
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) known = known || !strcmp(e->d_name, ours[i]);
        if (!known)
            rc = es_fail(err, ES_ELIBRARY,
                         "%s: holds something else than a library (%s); give an empty folder or a new "
                         "name",
                         dir, e->d_name);
    }
    closedir(d);
    return rc;
}

/* flock() with patience; ES_EBUSY after ten seconds. */
static int lock_patiently(int fd, int how, const char *dir, const char *why, es_err *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
        if (flock(fd, how | LOCK_NB) == 0) return ES_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return es_fail(err, ES_EIO, "%s: cannot be locked: %s", dir, strerror(errno));
        nanosleep(&pause, NULL);
    }
    return es_fail(err, ES_EBUSY, "%s: %s; try again later", dir, why);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

void es_folder_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Removes what dead processes left in tmp. Called with tmp/lock held. */
static void sweep(const char *tmp)
{
    DIR *d = opendir(tmp);

    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char *entry, *lock;
        int fd;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, "lock")) continue;
        entry = join(tmp, e->d_name);
        lock = entry ? join(entry, "lock") : NULL;
        if (lock) {
            fd = open(lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (fd < 0 ? errno == ENOENT || errno == ENOTDIR : flock(fd, LOCK_EX | LOCK_NB) == 0)
                es_folder_remove(entry);
            if (fd >= 0) close(fd);
        }
        free(lock);
        free(entry);
    }
    closedir(d);
}

/* A locked folder of our own below tmp/. */
static int take_tmp(es_folder *f, es_err *err)
{
    char *tmp = join(f->dir, "tmp"), *gate = tmp ? join(tmp, "lock") : NULL, *own = tmp ? join(tmp, "XXXXXX") : NULL;
    char *lock = NULL;
    int fd = -1, rc = ES_OK;

    if (!gate || !own) {
        rc = es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", f->dir);
        goto out;
    }
    if (mkdir(tmp, 0700) && errno != EEXIST) goto cannot;
    fd = open(gate, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) goto cannot;
    rc = lock_patiently(fd, LOCK_EX, tmp, "another process is clearing it", err);
    if (rc) goto out;
    sweep(tmp);
    if (!mkdtemp(own)) goto cannot;
    f->tmp = own;
    own = NULL;
    lock = join(f->tmp, "lock");
    if (lock) f->tmp_lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->tmp_lock < 0 || flock(f->tmp_lock, LOCK_EX | LOCK_NB)) goto cannot;
    goto out;
cannot:
    rc = es_fail(err, errno == EACCES || errno == EROFS || errno == EPERM ? ES_ELIBRARY : ES_EIO,
                 "%s: cannot be written: %s", tmp, strerror(errno));
out:
    if (fd >= 0) close(fd);
    free(tmp);
    free(gate);
    free(own);
    free(lock);
    return rc;
}

/* Whether the folder lets us do what was asked; decides on no_lock. */
static int check_rights(es_folder *f, es_err *err)
{
    char *lock = join(f->dir, "lock.mdb");
    bool lock_fits;

    if (!lock) return es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", f->dir);
    lock_fits = may(lock, F_OK) ? may(lock, R_OK | W_OK) : may(f->dir, W_OK | X_OK);
    free(lock);
    if (!may(f->dir, R_OK | X_OK) || (!f->is_new && !may(f->data, R_OK)))
        return es_fail(err, ES_ELIBRARY, "%s: cannot be read: %s", f->dir, strerror(errno));
    if (f->read_only) {
        f->no_lock = !lock_fits;
        return ES_OK;
    }
    if (!may(f->dir, W_OK | X_OK) || (!f->is_new && !may(f->data, W_OK)) || !lock_fits)
        return es_fail(err, ES_ELIBRARY, "%s: cannot be written: %s; what is in it can still be read", f->dir,
                       strerror(errno));
    return ES_OK;
}

static int take_lock(es_folder *f, es_err *err)
{
    char *path = join(f->dir, "earshot.lock");
    struct statvfs fs;
    int rc = ES_OK;

    if (!path) return es_fail(err, ES_ENOMEM, "%s: not enough memory to open it", f->dir);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int why = errno; /* not that of the second try, which makes nothing: on a full disk it says the file is not there */
    if (f->lock < 0) f->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (f->lock < 0 && !f->read_only) rc = es_fail(err, ES_ELIBRARY, "%s: %s", path, strerror(why));
    free(path);
    if (f->lock < 0) return rc;
    if (f->no_lock && !(statvfs(f->dir, &fs) == 0 && (fs.f_flag & ST_RDONLY)))
        return lock_patiently(f->lock, LOCK_EX, f->dir,
                              "another process has it open, and without the right to write "
                              "there it can only be read alone",
                              err);
    return es_folder_lock_shared(f, err);
}

int es_folder_open(es_folder *f, const char *dir, bool read_only, bool create, es_err *err)
{
    int rc = ES_OK;

    *f = (es_folder){.lock = -1, .tmp_lock = -1, .read_only = read_only};
    if (!is_folder(dir)) {
        if (may(dir, F_OK) && !is_folder(dir)) /* asked again: another process may have made it meanwhile */
            return es_fail(err, ES_ELIBRARY, "%s: is not a folder", dir);
        if (!is_folder(dir) && (!create || read_only))
            return es_fail(err, ES_ENOTFOUND, "%s: there is no library; `earshot ingest` makes one", dir);
        rc = make_folders(dir, err);
        if (rc) return rc;
    }
    f->dir = realpath(dir, NULL);
    f->data = f->dir ? join(f->dir, "data.mdb") : NULL;
    if (!f->data) return es_fail(err, ES_ELIBRARY, "%s: %s", dir, strerror(errno));
    f->is_new = !may(f->data, F_OK);
    rc = refuse_network(f->dir, err);
    if (!rc && !f->is_new) rc = refuse_network(f->data, err);
    if (!rc && f->is_new) rc = refuse_foreign(f->dir, err);
    if (!rc && f->is_new && (!create || read_only))
        rc = es_fail(err, ES_ENOTFOUND, "%s: there is no library; `earshot ingest` makes one", dir);
    if (!rc) rc = check_rights(f, err);
    if (!rc) rc = take_lock(f, err);
    if (!rc && !read_only) rc = take_tmp(f, err);
    return rc;
}

void es_folder_done(es_folder *f)
{
    if (f->tmp) es_folder_remove(f->tmp);
    if (f->tmp_lock >= 0) close(f->tmp_lock);
    if (f->lock >= 0) close(f->lock);
    free(f->tmp);
    free(f->data);
    free(f->dir);
    *f = (es_folder){.lock = -1, .tmp_lock = -1};
}

int es_folder_lock_alone(es_folder *f, es_err *err)
{
    if (f->lock >= 0 && flock(f->lock, LOCK_EX | LOCK_NB) == 0) return ES_OK;
    int rc = es_fail(err, ES_EBUSY, "%s: another process has the library open; end it and try again", f->dir);
    /* The exchange lets go of the shared lock before it fails. */
    if (f->lock >= 0) es_folder_lock_shared(f, NULL);
    return rc;
}

int es_folder_lock_shared(es_folder *f, es_err *err)
{
    return lock_patiently(f->lock, LOCK_SH, f->dir,
                          "another process has it alone (it is being compacted, or read "
                          "without the right to write)",
                          err);
}

int es_folder_sync(const char *dir, es_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = ES_OK;

    if (fd < 0 || fsync(fd)) rc = es_fail(err, ES_EIO, "%s: cannot be written to the disk: %s", dir, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}
