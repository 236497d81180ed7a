/*
 * convert.c - finds out what a source is, picks its reader and its architecture, and has the pack written.
 *
 * A folder is searched for the weight files that tools write, in the order of the list below; a file is told by its
 * first bytes. Only then do the names of the tensors say which network it is. The report is filled on the way, so that
 * the user sees what was found even when a later step fails.
 */
#define _GNU_SOURCE
#include "convert.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "build.h"

/* Weight files of a folder, the first that is there counts. */
static const char *const weight_files[] = {"model.safetensors.index.json", "model.safetensors", "model.bin",
                                           "pytorch_model.bin",            "avg_model.pt",      "embedding_model.ckpt",
                                           "embedding_model.safetensors",  "plda.npz"};
enum { N_WEIGHT_FILES = sizeof weight_files / sizeof *weight_files };

const char *es_convert_dtype_name(es_convert_dtype d)
{
    return d == ES_CONVERT_F16 ? "f16" : d == ES_CONVERT_F32 ? "f32" : "keep";
}

/* ---- what it is ---- */

typedef int reader(es_source *s, const char *path, es_err *err);

/* The reader for a file, by its first bytes; NULL when no format begins so. */
static reader *reader_of(const char *path)
{
    unsigned char p[16] = {0};
    es_err none = {0};
    FILE *f = es_files_stream(path, &none);
    size_t n = f ? fread(p, 1, sizeof p, f) : 0;

    if (f) fclose(f);
    if (n < 9) return NULL;
    if (p[0] == '{' && strlen(path) > 5 && !strcmp(path + strlen(path) - 5, ".json")) return es_safetensors_read;
    if (p[8] == '{') return es_safetensors_read;
    if (!memcmp(p, "GGUF", 4)) return es_gguf_read;
    if (!memcmp(p, "lmgg", 4)) return es_ggml_read;
    if (!memcmp(p, "PK\3\4", 4) && strlen(path) > 4 && !strcmp(path + strlen(path) - 4, ".npz")) return es_npz_read;
    if (!memcmp(p, "PK\3\4", 4) || (p[0] == 0x80 && p[2] == 0x8a)) return es_torch_read;
    /* CTranslate2: a small version number; from 2 on a short string follows. */
    if (p[0] && !p[1] && !p[2] && !p[3]) return es_ct2_read;
    return NULL;
}

static const struct {
    const char *name;
    bool (*is)(const es_source *s);
    void (*build)(es_build *b);
} architectures[] = {
#define X(name) {#name, es_##name##_is, es_##name##_build},
    ES_ARCHITECTURE_MAP(X)
#undef X
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

/* ---- paths ---- */

/* The weight file and the folder of its side files; both the caller's. */
static int locate(const char *source, char **file, char **folder, es_err *err)
{
    struct stat st;

    *file = *folder = NULL;
    if (stat(source, &st)) return es_fail(err, ES_ENOTFOUND, "%s: %s", source, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        *folder = strdup(source);
        for (int i = 0; i < N_WEIGHT_FILES && *folder; i++) {
            *file = es_source_join(source, weight_files[i]);
            if (*file && !access(*file, F_OK)) return ES_OK;
            free(*file);
            *file = NULL;
        }
        return es_fail(err, ES_ENOTFOUND,
                       "%s: no weights in this folder: model.safetensors, its index, pytorch_model.bin, or CTranslate2's "
                       "model.bin is needed; other files are named themselves",
                       source);
    }
    if (!S_ISREG(st.st_mode)) return es_fail(err, ES_EFORMAT, "%s: neither a file nor a folder", source);
    *file = strdup(source);
    *folder = strdup(source);
    if (!*file || !*folder) return es_fail(err, ES_ENOMEM, "%s: out of memory", source);
    char *slash = strrchr(*folder, '/');
    if (slash) slash[slash == *folder] = 0;
    else strcpy(*folder, "."); /* a file's name has at least one character */
    return ES_OK;
}

/* The last part of a path that says something: not "model.safetensors", not "snapshots/0f3a...", not ".". */
static void name_after(char *out, size_t n, const char *path, bool is_file)
{
    char *real = realpath(path, NULL), *base, *dot;

    snprintf(out, n, "model");
    if (!real) return;
    base = (char *)(uintptr_t)es_source_base(real);
    if (is_file) {
        dot = strrchr(base, '.');
        if (dot && dot != base) *dot = 0;
        if (!strcmp(base, "model") || !strcmp(base, "pytorch_model") || !strcmp(base, "model.safetensors.index") ||
            !strcmp(base, "consolidated")) {
            if (base > real) base[-1] = 0;
            base = (char *)(uintptr_t)es_source_base(real);
        }
    }
    /* A cache keeps models--OWNER--NAME/snapshots/COMMIT. */
    char *models = strstr(real, "/models--"), *snap = models ? strstr(models, "/snapshots/") : NULL;
    if (snap) {
        *snap = 0;
        base = models + strlen("/models--");
        for (char *p = base; (p = strstr(p, "--")); base = p += 2) {
        }
    }
    if (*base) snprintf(out, n, "%s", base);
    free(real);
    for (char *p = out; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '/') *p = '_';
    }
}

static int output_path(char *out, size_t n, const es_convert_options *o, const char *name, es_err *err)
{
    struct stat to, from;
    int k;

    if (!o->output) k = snprintf(out, n, "%s.pack", name);
    else if (!stat(o->output, &to) && S_ISDIR(to.st_mode)) k = snprintf(out, n, "%s/%s.pack", o->output, name);
    else k = snprintf(out, n, "%s", o->output);
    if (k < 0 || (size_t)k >= n) return es_fail(err, ES_EARG, "the path of the pack is longer than %zu bytes", n - 1);
    if (!stat(out, &to) && !stat(o->source, &from) && to.st_dev == from.st_dev && to.st_ino == from.st_ino) {
        return es_fail(err, ES_EARG, "%s: the pack would overwrite its source", out);
    }
    return ES_OK;
}

/* ---- report ---- */

static void count_dtypes(char *out, size_t n, const es_source *s)
{
    size_t at = 0;

    *out = 0;
    for (int k = 0; k < ES_N_NUMS; k++) {
        int count = 0;
        for (int i = 0; i < s->n_tensors; i++) count += (int)s->tensors[i].num == k;
        if (count && at < n) {
            at += (size_t)snprintf(out + at, n - at, "%s%s %d", at ? ", " : "", es_num_name((es_num)k), count);
        }
    }
}

int es_convert(const es_convert_options *o, es_convert_report *rep, es_err *err)
{
    es_build b = {.options = o, .report = rep, .err = err};
    char *file = NULL, *folder = NULL;
    reader *read = NULL;
    int rc, which = -1;

    memset(rep, 0, sizeof *rep);
    rc = locate(o->source, &file, &folder, err);
    if (rc) goto out;
    read = reader_of(file);
    if (!read) {
        rc = es_fail(err, ES_EFORMAT, "%s: not a weight file of a known format (safetensors, CTranslate2, PyTorch, GGUF, ggml, npz)", file);
        goto out;
    }
    if (o->name && *o->name) snprintf(rep->name, sizeof rep->name, "%s", o->name);
    else name_after(rep->name, sizeof rep->name, o->source, strcmp(file, o->source) == 0);
    if (strchr(rep->name, '/') || rep->name[0] == '.') {
        rc = es_fail(err, ES_EARG, "\"%s\" is not a name for a model: no slash, and no dot at its start", rep->name);
        goto out;
    }
    rc = output_path(rep->path, sizeof rep->path, o, rep->name, err);
    if (!rc) rc = es_source_open(&b.source, file, folder, err);
    if (!rc) rc = read(b.source, file, err);
    if (rc) goto out;
    snprintf(rep->format, sizeof rep->format, "%s", b.source->format);
    rep->tensors_in = b.source->n_tensors;
    rep->bytes_in = es_source_bytes(b.source);
    count_dtypes(rep->dtypes_in, sizeof rep->dtypes_in, b.source);
    for (int i = 0; i < N_ARCHITECTURES && which < 0; i++) {
        if (architectures[i].is(b.source)) which = i;
    }
    if (which < 0) {
        rc = es_fail(err, ES_EMODEL, "%s: %s with %d tensors, but of no architecture that is known", file, rep->format,
                     rep->tensors_in);
        goto out;
    }
    b.pack = es_pack_begin();
    if (!b.pack) {
        rc = es_fail(err, ES_ENOMEM, "%s: out of memory", file);
        goto out;
    }
    es_pack_of(b.pack, b.source);
    architectures[which].build(&b);
    rc = b.rc;
    if (rc) goto out;
    rep->tensors_out = es_pack_tensors(b.pack);
    es_pack_dtypes(b.pack, rep->dtypes_out, sizeof rep->dtypes_out);
    rc = es_pack_write(b.pack, rep->path, &rep->bytes_out, err);
out:
    es_pack_drop(b.pack);
    es_source_close(b.source);
    free(file);
    free(folder);
    return rc;
}
