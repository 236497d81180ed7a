/*
 * packs.c - which packs a folder holds, and which of them serves which stage.
 *
 * Only the header of each file is read: a folder of large packs is scanned in milliseconds. Whether the bytes still are
 * those that were written is another question, which reads them all (es_pack_verify) and which `doctor` asks.
 */
#define _GNU_SOURCE
#include "pipeline/session/packs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/weights.h"

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the list of packs");
}

es_hash128 es_packs_space(const es_weights *w)
{
    const char *const parts[] = {es_weights_meta(w, "data_hash"), es_pack_architecture(w), es_weights_meta(w, "config")};
    es_hasher *h = es_hasher_open();
    es_hash128 space = {{0}};

    if (!h) return space; /* nobody's space: then nothing is compared with it */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i]) es_hasher_add(h, parts[i], strlen(parts[i]) + 1);
    space = es_hasher_value(h);
    es_hasher_close(h);
    return space;
}

/* Fills an entry from the file; what is wrong with it becomes its fault. Fails only without memory. */
static int look(es_pack_entry *e, const char *path, es_err *err)
{
    es_weights *w = NULL;
    es_err why = {0};
    struct stat st;
    const char *hash;

    *e = (es_pack_entry){.path = strdup(path)};
    if (!e->path) return no_memory(err);
    if (stat(path, &st) == 0) e->bytes = (uint64_t)st.st_size;
    if (es_pack_open(&w, path, &why) == ES_OK) {
        snprintf(e->name, sizeof e->name, "%s", es_pack_name(w));
        snprintf(e->architecture, sizeof e->architecture, "%s", es_pack_architecture(w));
        hash = es_weights_meta(w, "data_hash");
        if (!hash || es_hash_parse(&e->hash, hash)) {
            char shown[512];
            es_fail(&why, ES_EMODEL, "%s: its metadata states no data_hash of 32 hexadecimal digits",
                    es_printable(shown, sizeof shown, path));
        }
        e->space = es_packs_space(w);
        es_weights_close(w);
    }
    if (why.code) {
        e->fault = strdup(why.text);
        if (!e->fault) return no_memory(err);
    }
    return ES_OK;
}

static int is_pack_name(const struct dirent *d)
{
    size_t n = strlen(d->d_name);

    return d->d_name[0] != '.' && n > 5 && !strcmp(d->d_name + n - 5, ".pack");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int es_packs_scan(es_packs *out, const char *where, es_err *err)
{
    struct dirent **names = NULL;
    struct stat st;
    char shown[512];
    int n = 0, rc = ES_OK;

    *out = (es_packs){.folder = strdup(where)};
    if (!out->folder) return no_memory(err);
    es_printable(shown, sizeof shown, where);
    if (stat(where, &st)) {
        if (errno == ENOENT || errno == ENOTDIR) return ES_OK;
        return es_fail(err, ES_EMODEL, "%s: %s", shown, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        out->at = calloc(1, sizeof *out->at);
        if (!out->at) return no_memory(err);
        out->n = 1;
        return look(&out->at[0], where, err);
    }
    n = scandir(where, &names, is_pack_name, by_bytes);
    if (n < 0) return es_fail(err, ES_EMODEL, "%s: the folder of models cannot be read: %s", shown, strerror(errno));
    out->at = calloc((size_t)n + 1, sizeof *out->at);
    if (!out->at) rc = no_memory(err);
    for (int i = 0; i < n && rc == ES_OK; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s%s%s", where, where[strlen(where) - 1] == '/' ? "" : "/", names[i]->d_name) < 0) {
            rc = no_memory(err);
            break;
        }
        rc = look(&out->at[out->n++], path, err);
        free(path);
    }
    for (int i = 0; i < n; i++) free(names[i]);
    free(names);
    return rc;
}

void es_packs_done(es_packs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->at[i].path);
        free(p->at[i].fault);
    }
    free(p->at);
    free(p->folder);
    *p = (es_packs){0};
}

/* "whisper-base, whisper-tiny": names of the good packs of an architecture, or (NULL) "x (campplus)" of all. */
static void names_of(char *out, size_t room, const es_packs *p, const char *architecture)
{
    size_t n = 0;

    *out = 0;
    for (size_t i = 0; i < p->n && n + 1 < room; i++) {
        const es_pack_entry *e = &p->at[i];
        char shown[128];
        if (e->fault || (architecture && strcmp(e->architecture, architecture))) continue;
        es_printable(shown, sizeof shown, e->name);
        int more = architecture ? snprintf(out + n, room - n, "%s%s", n ? ", " : "", shown)
                                : snprintf(out + n, room - n, "%s%s (%s)", n ? ", " : "", shown, e->architecture);
        n += more > 0 ? (size_t)more : 0;
    }
}

/* The pack's name, or that of its file with or without the ending. */
static bool is_called(const es_pack_entry *e, const char *name)
{
    const char *base = strrchr(e->path, '/') ? strrchr(e->path, '/') + 1 : e->path;
    size_t n = strlen(name);

    return !strcmp(e->name, name) || !strcmp(base, name) || (!strncmp(base, name, n) && !strcmp(base + n, ".pack"));
}

int es_packs_choose_asr(const es_packs *p, const char *name, const es_pack_entry **out, es_err *err)
{
    const es_pack_entry *only = NULL, *broken = NULL;
    char shown[400], wanted[100], names[400];
    size_t n_whisper = 0;

    *out = NULL;
    es_printable(shown, sizeof shown, p->folder);
    es_printable(wanted, sizeof wanted, name ? name : "");
    for (size_t i = 0; i < p->n; i++) {
        const es_pack_entry *e = &p->at[i];
        if (name && is_called(e, name)) {
            if (e->fault) return es_fail(err, ES_EMODEL, "%s", e->fault);
            if (strcmp(e->architecture, "whisper"))
                return es_fail(err, ES_EMODEL, "%s is a pack of the architecture %s; a speech model has whisper",
                               wanted, e->architecture);
            *out = e;
            return ES_OK;
        }
        if (e->fault) {
            broken = e;
        } else if (!strcmp(e->architecture, "whisper")) {
            only = e;
            n_whisper++;
        }
    }
    if (name && n_whisper) {
        names_of(names, sizeof names, p, "whisper");
        return es_fail(err, ES_ENOTFOUND, "%s: there is no speech model called %s here, only %s", shown, wanted, names);
    }
    if (n_whisper > 1) {
        names_of(names, sizeof names, p, "whisper");
        return es_fail(err, ES_EARG, "%s holds several speech models; choose with --asr: %s", shown, names);
    }
    if (n_whisper == 1) {
        *out = only;
        return ES_OK;
    }
    if (broken) return es_fail(err, ES_EMODEL, "%s", broken->fault);
    if (p->n) {
        names_of(names, sizeof names, p, NULL);
        return es_fail(err, ES_EMODEL,
                       "%s holds no speech model, only %s; make one with `earshot convert FOLDER` from a Whisper model",
                       shown, names);
    }
    return es_fail(err, ES_ENOTFOUND,
                   "%s: there is no model pack here; make one with `earshot convert FOLDER` from a Whisper model "
                   "(CTranslate2 or Hugging Face), or run tools/fetch-models",
                   shown);
}

/* "minilm, gte": names of the good packs that encode text. */
static void encoders_of(char *out, size_t room, const es_packs *p)
{
    char bert[190], qwen2[190];

    names_of(bert, sizeof bert, p, "bert");
    names_of(qwen2, sizeof qwen2, p, "qwen2");
    snprintf(out, room, "%s%s%s", bert, *bert && *qwen2 ? ", " : "", qwen2);
}

int es_packs_choose_encoder(const es_packs *p, const char *name, const es_pack_entry **out, es_err *err)
{
    const es_pack_entry *only = NULL, *broken = NULL;
    char shown[400], wanted[100], names[400] = "";
    size_t n = 0;

    *out = NULL;
    es_printable(shown, sizeof shown, p->folder);
    es_printable(wanted, sizeof wanted, name ? name : "");
    for (size_t i = 0; i < p->n; i++) {
        const es_pack_entry *e = &p->at[i];
        bool encodes = !e->fault && (!strcmp(e->architecture, "bert") || !strcmp(e->architecture, "qwen2"));
        if (name && is_called(e, name)) {
            if (e->fault) return es_fail(err, ES_EMODEL, "%s", e->fault);
            if (!encodes)
                return es_fail(err, ES_EMODEL, "%s is a pack of the architecture %s; a text encoder has bert or qwen2", wanted,
                               e->architecture);
            *out = e;
            return ES_OK;
        }
        if (e->fault) broken = e;
        if (encodes) only = e, n++;
    }
    if (n) encoders_of(names, sizeof names, p);
    if (name && n) return es_fail(err, ES_ENOTFOUND, "%s: there is no text encoder called %s here, only %s", shown, wanted, names);
    if (n > 1) return es_fail(err, ES_EARG, "%s holds several text encoders; choose with --model: %s", shown, names);
    if (n == 1) {
        *out = only;
        return ES_OK;
    }
    if (broken && p->n == 1) return es_fail(err, ES_EMODEL, "%s", broken->fault);
    return es_fail(err, ES_ENOTFOUND,
                   "%s: there is no text encoder%s%s here; make one with `earshot convert FOLDER` from all-MiniLM-L6-v2 or "
                   "gte-Qwen2, or run tools/fetch-models",
                   shown, name ? " called " : "", wanted);
}

/* ---- the stages that may be missing ---- */

/* What may serve a stage, in the order in which it is taken where nothing is named; by_name: only where it is. */
typedef struct service {
    const char *option, *what; /* "a speaker network" */
    const char *taken[2], *by_name[2];
} service;

static const service services[ES_N_STAGES] = {
    [ES_STAGE_ASR] = {"--asr", "a speech model", {"whisper"}, {NULL}},
    [ES_STAGE_SEGMENTATION] = {"--segmentation", "a segmentation", {"pyannet"}, {NULL}},
    [ES_STAGE_DIARIZER] = {"--diarizer", "a network that tells speakers apart", {"resnet34", "campplus"}, {NULL}},
    [ES_STAGE_VOICE] = {"--voice", "a network that knows voices", {"ecapa"}, {"resnet34", "campplus"}},
    [ES_STAGE_EMBEDDER] = {"--embedder", "a text encoder", {"qwen2", "bert"}, {NULL}},
};

const char *es_packs_option(enum es_stage stage)
{
    return services[stage].option;
}

const es_pack_entry *es_packs_find(const es_packs *p, const char *architecture)
{
    for (size_t i = 0; i < p->n; i++)
        if (!p->at[i].fault && !strcmp(p->at[i].architecture, architecture)) return &p->at[i];
    return NULL;
}

static bool serves(const service *s, const es_pack_entry *e)
{
    for (int i = 0; i < 2; i++)
        if ((s->taken[i] && !strcmp(s->taken[i], e->architecture)) || (s->by_name[i] && !strcmp(s->by_name[i], e->architecture)))
            return true;
    return false;
}

static int choose_named(const es_packs *p, const service *s, const char *name, const es_pack_entry **out, es_err *err)
{
    char shown[400], wanted[100], names[400] = "";
    size_t n = 0;

    es_printable(shown, sizeof shown, p->folder);
    es_printable(wanted, sizeof wanted, name);
    for (size_t i = 0; i < p->n; i++) {
        const es_pack_entry *e = &p->at[i];
        char one[80];
        if (is_called(e, name)) {
            if (e->fault) return es_fail(err, ES_EMODEL, "%s", e->fault);
            if (!serves(s, e))
                return es_fail(err, ES_EMODEL, "%s %s: it is a pack of the architecture %s, not %s", s->option, wanted, e->architecture,
                               s->what);
            *out = e;
            return ES_OK;
        }
        if (e->fault || !serves(s, e) || n >= sizeof names - 1) continue;
        int more = snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", es_printable(one, sizeof one, e->name));
        n += more > 0 ? (size_t)more : 0;
    }
    return es_fail(err, ES_ENOTFOUND, "%s %s: %s has no such pack%s%s", s->option, wanted, shown, n ? ", only " : "", names);
}

int es_packs_choose(const es_packs *p, enum es_stage stage, const char *name, const es_pack_entry **out, es_err *err)
{
    const service *s = &services[stage];
    char shown[400], names[400];

    *out = NULL;
    if (name && !strcmp(name, "none")) return ES_OK;
    if (name) return choose_named(p, s, name, out, err);
    for (int k = 0; k < 2 && s->taken[k] && !*out; k++) {
        for (size_t i = 0; i < p->n; i++) {
            const es_pack_entry *e = &p->at[i];
            if (e->fault || strcmp(e->architecture, s->taken[k])) continue;
            if (*out) {
                names_of(names, sizeof names, p, s->taken[k]);
                *out = NULL;
                return es_fail(err, ES_EARG, "%s holds several packs of the architecture %s; choose with %s: %s",
                               es_printable(shown, sizeof shown, p->folder), s->taken[k], s->option, names);
            }
            *out = e;
        }
    }
    return ES_OK;
}
