/*
 * source.c - the list of tensors that every reader fills and every architecture takes from.
 *
 * Reading a range of elements is one switch over the stored type, outside the loop over elements. Strided tensors (views
 * into a shared storage, as PyTorch saves them) are walked by their indices; block types are decoded block by block into
 * a small buffer. Integers that stand for fractions are divided by the scale of their row.
 */
#define _GNU_SOURCE
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/utf8.h"
#include "blocks.h"
#include "number.h"

typedef struct es_map {
    void *p;
    size_t bytes; /* of a mapping; 0: p is memory from calloc */
    es_weights *weights;
} es_map;

static const struct {
    const char *name;
    size_t elements, bytes;
} nums[ES_N_NUMS] = {
#define X(name, elements, bytes) {#name, elements, bytes},
    ES_NUM_MAP(X)
#undef X
};

const char *es_num_name(es_num n)
{
    return nums[n].name;
}

size_t es_num_block(es_num n)
{
    return nums[n].elements;
}

size_t es_num_bytes(es_num n)
{
    return nums[n].bytes;
}

int es_source_open(es_source **out, const char *path, const char *folder, es_err *err)
{
    es_source *s = calloc(1, sizeof *s);

    *out = NULL;
    if (s) {
        s->path = strdup(path);
        s->folder = strdup(folder);
    }
    if (!s || !s->path || !s->folder) {
        es_source_close(s);
        return es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    }
    *out = s;
    return ES_OK;
}

void es_source_close(es_source *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_tensors; i++) free((void *)(uintptr_t)s->tensors[i].name);
    free(s->tensors);
    for (int i = 0; i < s->n_files; i++) free(s->files[i]);
    free(s->files);
    free(s->states);
    for (int i = 0; i < s->n_maps; i++) {
        es_weights_close(s->maps[i].weights);
        if (s->maps[i].bytes) munmap(s->maps[i].p, s->maps[i].bytes);
        else free(s->maps[i].p);
    }
    free(s->maps);
    for (int i = 0; i < s->n_texts; i++) {
        free(s->texts[i].name);
        free(s->texts[i].text);
    }
    free(s->path);
    free(s->folder);
    free(s);
}

char *es_source_join(const char *folder, const char *name)
{
    size_t a = strlen(folder), b = strlen(name);
    char *out = malloc(a + b + 2);

    if (!out) return NULL;
    memcpy(out, folder, a);
    if (a && folder[a - 1] != '/') out[a++] = '/';
    memcpy(out + a, name, b + 1);
    return out;
}

const char *es_source_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int es_source_add_text(es_source *s, const char *name, char *text, es_err *err)
{
    char *copy = strdup(name);

    if (!copy || !text || s->n_texts == (int)(sizeof s->texts / sizeof *s->texts)) {
        free(copy);
        free(text);
        return es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
    }
    s->texts[s->n_texts++] = (struct es_src_text){copy, text, strlen(text)};
    return ES_OK;
}

/* ---- files ---- */

/* A free place in the list of things that live as long as the source, or NULL. */
static es_map *new_map(es_source *s)
{
    es_map *grown = realloc(s->maps, ((size_t)s->n_maps + 1) * sizeof *grown);

    if (!grown) return NULL;
    s->maps = grown;
    s->maps[s->n_maps] = (es_map){0};
    return &s->maps[s->n_maps++];
}

/* What shows that a file is another one, or has other bytes; all -1 where it is gone. */
static struct es_src_state state_of(const char *path)
{
    struct stat st;

    if (stat(path, &st)) return (struct es_src_state){-1, -1, -1, -1};
    return (struct es_src_state){(int64_t)st.st_size, (int64_t)st.st_ino, (int64_t)st.st_mtim.tv_sec, (int64_t)st.st_mtim.tv_nsec};
}

int es_source_add_file(es_source *s, const char *path, es_err *err)
{
    char **grown = realloc(s->files, ((size_t)s->n_files + 1) * sizeof *grown);
    int at;

    if (grown) s->files = grown;
    struct es_src_state *states = realloc(s->states, ((size_t)s->n_files + 1) * sizeof *states);
    if (states) s->states = states;
    char *copy = grown && states ? strdup(path) : NULL;
    if (!copy) return es_fail(err, ES_ENOMEM, "%s: out of memory", path);
    for (at = s->n_files; at > 0 && strcmp(s->files[at - 1], copy) > 0; at--) {
        s->files[at] = s->files[at - 1];
        s->states[at] = s->states[at - 1];
    }
    s->files[at] = copy;
    s->states[at] = state_of(path);
    s->n_files++;
    return ES_OK;
}

int es_source_unchanged(const es_source *s, es_err *err)
{
    for (int i = 0; i < s->n_files; i++) {
        struct es_src_state was = s->states[i], is = state_of(s->files[i]);
        if (was.size != is.size || was.file != is.file || was.seconds != is.seconds || was.nanoseconds != is.nanoseconds)
            return es_fail(err, ES_EIO, "%s: the file was changed while it was read, from %lld bytes to %lld", s->files[i],
                           (long long)was.size, (long long)is.size);
    }
    return ES_OK;
}

int es_source_map(es_source *s, const char *path, const unsigned char **p, size_t *bytes, es_err *err)
{
    int fd = es_files_open(path, err), rc = fd < 0 ? err->code : ES_OK;
    void *base = MAP_FAILED;
    struct stat st;
    es_map *m;

    if (fd < 0) return rc;
    if (fstat(fd, &st) || st.st_size <= 0) {
        rc = es_fail(err, ES_EFORMAT, "%s: the file is empty", path);
        goto out;
    }
    base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    m = base == MAP_FAILED ? NULL : new_map(s);
    if (!m) {
        rc = es_fail(err, ES_ENOMEM, "%s: cannot map %lld bytes", path, (long long)st.st_size);
        goto out;
    }
    *m = (es_map){.p = base, .bytes = (size_t)st.st_size};
    *p = base;
    *bytes = (size_t)st.st_size;
    base = MAP_FAILED; /* the source's from here on */
    rc = es_source_add_file(s, path, err);
out:
    if (base != MAP_FAILED) munmap(base, (size_t)st.st_size);
    if (fd >= 0) close(fd);
    return rc;
}

int es_source_keep_weights(es_source *s, es_weights *w, es_err *err)
{
    es_map *m = new_map(s);

    if (!m) {
        es_weights_close(w);
        return es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
    }
    m->weights = w;
    return ES_OK;
}

const es_weights *es_source_weights(const es_source *s, const char *path)
{
    for (int i = 0; i < s->n_maps; i++)
        if (s->maps[i].weights && !strcmp(es_weights_path(s->maps[i].weights), path)) return s->maps[i].weights;
    return NULL;
}

void *es_source_keep(es_source *s, size_t bytes, es_err *err)
{
    es_map *m = new_map(s);

    if (m) m->p = calloc(1, bytes ? bytes : 1);
    if (m && m->p) return m->p;
    es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
    return NULL;
}

int es_source_hash(const es_source *s, es_hash128 *out, es_err *err)
{
    enum { CHUNK = 1 << 20 };
    unsigned char *buffer = malloc(CHUNK);
    es_hasher *h = es_hasher_open();
    int fd = -1, rc = ES_OK;

    if (!buffer || !h) {
        rc = es_fail(err, ES_ENOMEM, "%s: out of memory", s->path);
        goto out;
    }
    for (int i = 0; i < s->n_files; i++) {
        ssize_t n;

        fd = open(s->files[i], O_RDONLY | O_CLOEXEC);
        while (fd >= 0 && ((n = read(fd, buffer, CHUNK)) > 0 || (n < 0 && errno == EINTR))) {
            if (n > 0) es_hasher_add(h, buffer, (size_t)n);
        }
        if (fd < 0 || n < 0) {
            rc = es_fail(err, ES_EIO, "%s: cannot be read (%s)", s->files[i], strerror(errno));
            goto out;
        }
        close(fd);
        fd = -1;
    }
    *out = es_hasher_value(h);
out:
    if (fd >= 0) close(fd);
    es_hasher_close(h);
    free(buffer);
    return rc;
}

uint64_t es_source_bytes(const es_source *s)
{
    uint64_t sum = 0;
    struct stat st;

    for (int i = 0; i < s->n_files; i++) sum += stat(s->files[i], &st) ? 0 : (uint64_t)st.st_size;
    return sum;
}

/* ---- tensors ---- */

void es_source_shape_text(char *out, size_t n, int n_dims, const int64_t *dim)
{
    size_t at = (size_t)snprintf(out, n, "[");

    for (int i = 0; i < n_dims && at < n; i++) {
        at += (size_t)snprintf(out + at, n - at, i ? ", %lld" : "%lld", (long long)dim[i]);
    }
    if (at < n) snprintf(out + at, n - at, "]");
}

int es_source_add(es_source *s, const es_src_tensor *t, const char *name, size_t n, const char *what, es_err *err)
{
    char shown[128];
    char *copy;
    size_t count = 1, need;

    if (!n || n > ES_SOURCE_MAX_NAME || memchr(name, 0, n)) {
        return es_fail(err, ES_EFORMAT, "%s: a tensor's name has %zu bytes or a NUL in it; 1 to %d without one are expected",
                       what, n, ES_SOURCE_MAX_NAME);
    }
    copy = strndup(name, n);
    if (!copy) return es_fail(err, ES_ENOMEM, "%s: out of memory", what);
    es_printable(shown, sizeof shown, copy);
    if (!es_utf8_valid(copy, n)) {
        free(copy);
        return es_fail(err, ES_EFORMAT, "%s: the name of a tensor, %s, is not UTF-8", what, shown);
    }
    for (int i = 0; i < t->n_dims; i++) {
        if (t->dim[i] < 0 || __builtin_mul_overflow(count, (size_t)t->dim[i], &count)) count = SIZE_MAX;
    }
    if (count > SIZE_MAX / 16 || count % es_num_block(t->num) ||
        (es_num_block(t->num) > 1 && (!t->n_dims || t->dim[t->n_dims - 1] % (int64_t)es_num_block(t->num)))) {
        es_source_shape_text(shown + strlen(shown), sizeof shown - strlen(shown), t->n_dims, t->dim);
        free(copy);
        return es_fail(err, ES_EFORMAT, "%s: the shape of tensor %s is impossible", what, shown);
    }
    need = count / es_num_block(t->num) * es_num_bytes(t->num);
    if (!t->strided && need > t->bytes) {
        free(copy);
        return es_fail(err, ES_EFORMAT, "%s: tensor %s needs %zu bytes and has %zu", what, shown, need, t->bytes);
    }
    if (s->n_tensors >= ES_SOURCE_MAX_TENSORS) {
        free(copy);
        return es_fail(err, ES_EFORMAT, "%s: more than %d tensors", what, ES_SOURCE_MAX_TENSORS);
    }
    if (s->n_tensors == s->room) {
        int room = s->room ? s->room * 2 : 256;
        es_src_tensor *grown = realloc(s->tensors, (size_t)room * sizeof *grown);
        if (!grown) {
            free(copy);
            return es_fail(err, ES_ENOMEM, "%s: out of memory", what);
        }
        s->tensors = grown;
        s->room = room;
    }
    s->tensors[s->n_tensors] = *t;
    s->tensors[s->n_tensors].name = copy;
    s->tensors[s->n_tensors].count = count;
    s->tensors[s->n_tensors].used = false;
    if (!t->strided) s->tensors[s->n_tensors].bytes = need;
    s->n_tensors++;
    s->sorted = false;
    return ES_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const es_src_tensor *)a)->name, ((const es_src_tensor *)b)->name);
}

int es_source_ready(es_source *s, es_err *err)
{
    char shown[128];

    if (s->n_tensors) qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, by_name);
    for (int i = 1; i < s->n_tensors; i++) {
        if (!strcmp(s->tensors[i - 1].name, s->tensors[i].name)) {
            return es_fail(err, ES_EFORMAT, "%s: tensor %s is there twice", s->path,
                           es_printable(shown, sizeof shown, s->tensors[i].name));
        }
    }
    s->sorted = true;
    return ES_OK;
}

es_src_tensor *es_source_find(const es_source *s, const char *name)
{
    es_src_tensor key = {.name = name};

    if (!s->sorted || !s->n_tensors) return NULL;
    return bsearch(&key, s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, by_name);
}

void es_source_forget(const es_src_tensor *t)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->p, to = from + t->bytes;

    if (t->strided) return; /* its storage may be another tensor's too */
    from = (from + page - 1) / page * page;
    to = to / page * page;
    /* Only whole pages inside the tensor; they are clean pages of a file and come back when they are touched again. */
    if (to > from) madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- elements ---- */

static float scale_of(const es_src_tensor *t, size_t element)
{
    size_t row = t->n_scales == 1 ? 0 : element / (t->count / t->n_scales);
    float f;

    memcpy(&f, t->scale + row * sizeof f, sizeof f);
    return f;
}

#define EACH(type, expression)                                                                                         \
    for (size_t i = 0; i < n; i++, p += sizeof(type)) {                                                                \
        type v;                                                                                                        \
        memcpy(&v, p, sizeof v);                                                                                       \
        out[i] = (float)(expression);                                                                                  \
    }                                                                                                                  \
    break

/* n packed elements from p. */
static void read_plain(es_num num, const unsigned char *p, size_t n, float *out)
{
    switch (num) {
    case ES_NUM_F32: memcpy(out, p, n * sizeof *out); break;
    case ES_NUM_F16: EACH(uint16_t, es_number_from_f16(v));
    case ES_NUM_BF16: EACH(uint16_t, es_number_from_bf16(v));
    case ES_NUM_F64: EACH(double, v);
    case ES_NUM_I64: EACH(int64_t, v);
    case ES_NUM_I32: EACH(int32_t, v);
    case ES_NUM_I16: EACH(int16_t, v);
    case ES_NUM_I8: EACH(int8_t, v);
    case ES_NUM_U8: EACH(uint8_t, v);
    case ES_NUM_BOOL: EACH(uint8_t, v != 0);
    default: break;
    }
}

/* Where in its storage an element of a strided tensor stands. */
static size_t place_of(const es_src_tensor *t, size_t element)
{
    size_t at = 0;

    for (int d = t->n_dims; d-- > 0;) {
        at += element % (size_t)t->dim[d] * (size_t)t->stride[d];
        element /= (size_t)t->dim[d];
    }
    return at;
}

void es_source_read(const es_src_tensor *t, size_t first, size_t n, float *out)
{
    size_t block = es_num_block(t->num), bytes = es_num_bytes(t->num);

    if (block > 1) {
        float values[256];
        for (size_t done = 0; done < n;) {
            size_t at = first + done, within = at % block, some = block - within;
            if (some > n - done) some = n - done;
            es_blocks_decode(t->num, t->p + at / block * bytes, values);
            memcpy(out + done, values + within, some * sizeof *out);
            done += some;
        }
        return;
    }
    if (t->strided) {
        for (size_t i = 0; i < n; i++) read_plain(t->num, t->p + place_of(t, first + i) * bytes, 1, out + i);
    } else {
        read_plain(t->num, t->p + first * bytes, n, out);
    }
    if (t->scale) {
        for (size_t i = 0; i < n; i++) out[i] /= scale_of(t, first + i);
    }
}

void es_source_read_double(const es_src_tensor *t, size_t first, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        float f;

        if (t->num == ES_NUM_F64) {
            memcpy(out + i, t->p + 8 * (t->strided ? place_of(t, first + i) : first + i), 8);
        } else {
            es_source_read(t, first + i, 1, &f);
            out[i] = (double)f;
        }
    }
}
