/*
 * earshot_people.c - the public door, part for people: enrolling voices, and what may be said about them.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "library.h"
#include "pipeline/speakers/names.h"
#include "pipeline/speakers/voiceprint.h"

char **es_door_labels(es_store *s, es_hash128 content, int track, int n, es_err *err)
{
    char **labels = n > 0 ? calloc((size_t)n, sizeof *labels) : NULL, room[ES_PERSON_BYTES + 1];
    es_names names = {0};
    bool whole = labels && es_names_of(s, content, track, &names, err) == ES_OK;

    for (int i = 0; i < n && whole; i++) whole = (labels[i] = strdup(es_speaker_label(room, &names, i))) != NULL;
    es_names_done(&names);
    if (!whole) es_door_labels_done(&labels, n);
    return labels;
}

es_door_voice *es_door_voices(es_store *s, es_hash128 content, int track, int n)
{
    es_names names = {0};
    es_door_voice *v = NULL;

    if (n > 0 && es_names_of(s, content, track, &names, NULL) == ES_OK && names.n == n) v = calloc((size_t)n, sizeof *v);
    for (int i = 0; v && i < n; i++) {
        v[i].identity = names.at[i].identity;
        if (!es_person_none(v[i].identity.person) && !es_voices_name(s, v[i].identity.person, v[i].nearest)) v[i].nearest[0] = 0;
    }
    es_names_done(&names);
    return v;
}

int es_speech_likeness(const es_speech *speech, int speaker, es_likeness *out)
{
    static const char *const words[ES_N_VERDICTS] = {
        [ES_VERDICT_UNKNOWN] = "unknown", [ES_VERDICT_NAMED] = "named", [ES_VERDICT_MAYBE] = "maybe",
        [ES_VERDICT_CLOSE] = "close",     [ES_VERDICT_SHORT] = "short", [ES_VERDICT_INCOMPARABLE] = "incomparable",
        [ES_VERDICT_TOLD] = "told",
    };

    if (!speech->voices || speaker < 0 || speaker >= speech->who.n_speakers) return ES_NOT_FOUND;
    const es_door_voice *v = &speech->voices[speaker];
    *out = (es_likeness){.name = v->nearest,
                      .verdict = words[v->identity.verdict],
                      .score = (double)v->identity.score,
                      .margin = (double)v->identity.margin};
    return ES_DONE;
}

void es_door_labels_done(char ***labels, int n)
{
    for (int i = 0; *labels && i < n; i++) free((*labels)[i]);
    free(*labels);
    *labels = NULL;
}

/* ---- who there is ---- */

/* Paths of recordings, without doubles. */
typedef struct paths {
    char **at;
    size_t n;
} paths;

static void paths_done(paths *p)
{
    for (size_t i = 0; i < p->n; i++) free(p->at[i]);
    free(p->at);
    *p = (paths){0};
}

static int paths_of(paths *p, es_store *s, const es_place *places, size_t n, es_err *err)
{
    *p = (paths){.at = calloc(n + 1, sizeof *p->at)};
    if (!p->at) return es_fail(err, ES_ENOMEM, "not enough memory");
    for (size_t i = 0; i < n; i++) {
        es_media_info media = {0};
        es_made made = {0};
        if (i && places[i].track == places[i - 1].track && es_hash_same(places[i].content, places[i - 1].content))
            continue;
        if (es_store_get_info(s, places[i].content, places[i].track, &media, &made, NULL) == ES_OK && media.path) {
            p->at[p->n++] = media.path;
            media.path = NULL; /* ours from here on */
        }
        es_media_info_done(&media);
        es_made_done(&made);
    }
    return ES_OK;
}

typedef struct passer {
    es_store *store;
    int (*visit)(void *user, const es_person *person);
    void *user;
    es_err *err;
    int rc;
} passer;

static int pass_person(void *user, const es_names_person *p)
{
    passer *x = user;
    paths found;
    int stop = 1;

    x->rc = paths_of(&found, x->store, p->places, p->voices, x->err);
    if (x->rc == ES_OK) {
        const es_person out = {.name = p->name,
                               .enrolled = p->enrolled,
                               .clips = p->clips,
                               .speech_ms = p->net_ms,
                               .models = p->models,
                               .recordings = found.n,
                               .paths = (const char *const *)found.at,
                               .comparable = p->comparable};
        stop = x->visit(x->user, &out);
    }
    paths_done(&found);
    return stop;
}

int es_library_people(es_library *library, int (*visit)(void *user, const es_person *person), void *user,
                      es_error *error)
{
    es_err err = {0};
    passer x = {library->store, visit, user, &err, ES_OK};
    int rc = es_names_list(library->store, pass_person, &x, &err);

    return es_door_give(error, rc ? rc : x.rc, &err);
}

int es_library_speaks_in(es_library *library, const char *who, int (*visit)(void *user, const char *path), void *user,
                         es_error *error)
{
    es_place *places = NULL;
    paths found = {0};
    es_err err = {0};
    size_t n = 0;
    int rc = es_names_find(library->store, who, &places, &n, &err), stop = 0;

    if (rc == ES_OK) rc = paths_of(&found, library->store, places, n, &err);
    for (size_t i = 0; rc == ES_OK && i < found.n && !stop; i++) stop = visit(user, found.at[i]);
    paths_done(&found);
    free(places);
    return es_door_give(error, rc, &err);
}

/* ---- what the user says ---- */

static int give_change(es_relabeled *out, const es_names_change *c, int rc, es_error *error, const es_err *err)
{
    if (out) *out = (es_relabeled){.speakers = c->voices, .recordings = c->recordings};
    return es_door_give(error, rc, err);
}

int es_library_rename_speaker(es_library *library, const char *who, const char *name, es_relabeled *out,
                              es_error *error)
{
    es_names_change c = {.voices = 0};
    es_err err = {0};
    int rc = es_names_rename(library->store, who, name, &c, &err);

    return give_change(out, &c, rc, error, &err);
}

int es_library_merge_speakers(es_library *library, const char *who, const char *other, es_relabeled *out,
                              es_error *error)
{
    es_names_change c = {.voices = 0};
    es_err err = {0};
    int rc = es_names_merge(library->store, who, other, &c, &err);

    return give_change(out, &c, rc, error, &err);
}

int es_library_split_speaker(es_library *library, const char *who, const char *recording, es_relabeled *out,
                             es_error *error)
{
    es_names_change c = {.voices = 0};
    es_hash128 content;
    es_err err = {0};
    int track = -1, rc = es_store_resolve(library->store, recording, &content, &track, &err);

    if (rc == ES_OK) rc = es_names_split(library->store, who, content, track, &c, &err);
    return give_change(out, &c, rc, error, &err);
}

int es_library_forget_speaker(es_library *library, const char *who, es_relabeled *out, es_error *error)
{
    es_names_change c = {.voices = 0};
    es_err err = {0};
    int rc = es_names_forget(library->store, who, &c, &err);

    return give_change(out, &c, rc, error, &err);
}

/* ---- enrolling ---- */

typedef struct enrolling {
    es_enroll_fn tell;
    void *user;
    const char *path; /* of the file at work */
} enrolling;

static void pass_note(void *user, const char *sentence)
{
    const enrolling *e = user;

    if (e->tell) e->tell(e->user, e->path, false, sentence);
}

/* The clips of all files that are good enough; the others are told. */
static int take_all(es_clip *clips, size_t *n_clips, es_library *library, es_voiceprint *v, const char *const *files,
                    size_t n, int track, enrolling *e, es_err *err)
{
    for (size_t i = 0; i < n; i++) {
        es_clip *c = &clips[*n_clips];
        char shown[600];
        es_err why = {0};
        e->path = files[i];
        int rc = es_voiceprint_take(v, c, files[i], track, es_store_tmp(library->store), pass_note, e, &why);
        for (size_t k = 0; rc == ES_OK && k < *n_clips; k++)
            if (es_hash_same(clips[k].content, c->content)) {
                free(c->vector);
                *c = (es_clip){.width = 0};
                rc = es_fail(&why, ES_EARG, "%s: the same recording was named before; it says nothing new",
                             es_printable(shown, sizeof shown, files[i]));
            }
        if (rc == ES_OK) {
            ++*n_clips;
            continue;
        }
        if (rc == ES_EBUDGET || rc == ES_EDEVICE || rc == ES_EMODEL || rc == ES_ENOMEM || n == 1)
            return es_fail(err, rc, "%s", why.text);
        if (e->tell) e->tell(e->user, files[i], true, why.text);
    }
    return *n_clips ? ES_OK : es_fail(err, ES_EARG, "none of the %zu files can be a person's voice", n);
}

int es_library_enroll(es_library *library, const char *name, const char *const *files, size_t n, int track,
                      const es_engine_options *options, es_enroll_fn tell, void *user, es_enrolled_report *out,
                      es_error *error)
{
    enrolling e = {tell, user, ""};
    es_names_change c = {.voices = 0};
    es_session_options o;
    es_voiceprint *v = NULL;
    es_clip *clips = NULL;
    es_err err = {0};
    char models[4096], shown[300], text[900];
    size_t n_clips = 0;
    int rc = es_person_check(name, &err); /* before models are read and files decoded */

    if (rc == ES_OK && !es_store_tmp(library->store))
        rc = es_fail(&err, ES_ELIBRARY, "the library is open for reading only, and nobody can be added to it");
    if (rc == ES_OK && n == 0) rc = es_fail(&err, ES_EARG, "a voice needs a recording of it");
    if (rc == ES_OK) rc = es_door_session_options(&o, options, models, sizeof models, &err);
    if (rc == ES_OK) rc = es_voiceprint_open(&v, &o, &err);
    if (rc == ES_OK && !(clips = calloc(n, sizeof *clips))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = take_all(clips, &n_clips, library, v, files, n, track, &e, &err);
    int64_t net_ms = 0;
    for (size_t i = 0; i < n_clips; i++) net_ms += clips[i].net_ms;
    if (rc == ES_OK) rc = es_names_enroll(library->store, name, es_voiceprint_space(v), clips, n_clips, &c, &err);
    else
        for (size_t i = 0; i < n_clips; i++) free(clips[i].vector);
    if (rc == ES_OK && c.like[0] && tell) {
        snprintf(text, sizeof text,
                 "this voice is %.2f like that of %s: if both are one person, `earshot speakers merge` says so",
                 c.like_score, es_printable(shown, sizeof shown, c.like));
        tell(user, "", false, text);
    }
    if (rc == ES_OK && c.strangers && tell) {
        snprintf(text, sizeof text, "%zu voices of the library were made by other models than %s and were not compared",
                 c.strangers, es_voiceprint_space(v)->model);
        tell(user, "", false, text);
    }
    if (out)
        *out = (es_enrolled_report){
            .clips = rc ? 0 : n_clips, .speech_ms = rc ? 0 : net_ms, .speakers = c.voices, .recordings = c.recordings};
    free(clips);
    es_voiceprint_close(v);
    return es_door_give(error, rc, &err);
}
