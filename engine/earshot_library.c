/*
 * earshot_library.c - the public door, third part: what is in the library, and its care.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "library.h"
#include "pipeline/speakers/names.h"

int es_library_open(es_library **out, const char *folder, unsigned flags, es_error *error)
{
    es_library *l = NULL;
    es_err err = {0};
    char room[4096];
    unsigned store_flags = 0;
    int rc = ES_OK;

    *out = NULL;
    if (!folder) {
        es_error place = {0};
        rc = es_default_library(room, sizeof room, &place);
        if (rc != ES_OK) rc = es_fail(&err, rc, "%s", place.text);
        folder = room;
    }
    if (flags & ES_LIBRARY_READ_ONLY) store_flags |= ES_STORE_READ_ONLY;
    if (flags & ES_LIBRARY_CREATE) store_flags |= ES_STORE_CREATE;
    if (rc == ES_OK && !(l = calloc(1, sizeof *l))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = es_store_open(&l->store, folder, store_flags, &err);
    if (rc == ES_OK) {
        *out = l;
        l = NULL; /* the caller's from here on */
    }
    es_library_close(l);
    return es_door_give(error, rc, &err);
}

void es_library_close(es_library *library)
{
    if (!library) return;
    if (library->removed) es_names_refresh(library->store, NULL); /* if it fails, whoever asks next draws them */
    es_store_close(library->store);
    free(library);
}

const char *es_library_folder(const es_library *library)
{
    return es_store_dir(library->store);
}

/* ---- looking ---- */

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static es_recording view(const es_media_info *m, const es_made *made)
{
    es_recording r = {.track = m->track,
                      .tracks = m->n_tracks,
                      .path = text_or_empty(m->path),
                      .bytes = m->bytes,
                      .duration_ms = m->duration_ms,
                      .container = m->container,
                      .codec = m->codec,
                      .sample_rate = m->sample_rate,
                      .channels = m->channels,
                      .damaged_packets = m->damaged_packets,
                      .truncated = m->truncated,
                      .language = "",
                      .asr = made->by[ES_STAGE_ASR].name,
                      .settings = text_or_empty(made->settings),
                      .program = made->program};

    es_hash_hex(r.id, m->content);
    return r;
}

typedef struct visitor {
    int (*visit)(void *user, const es_recording *r);
    void *user;
    es_store *store;
} visitor;

/* How many were told apart; 0 also where nobody was looked for. */
static int speakers_of(es_store *s, const es_entry *e)
{
    es_diarization who = {0};
    es_err ignored = {0};
    int n = 0;

    if (e->has_who && es_store_get_who(s, e->media.content, e->media.track, false, &who, &ignored) == ES_OK) n = who.n_speakers;
    es_diarization_done(&who);
    return n;
}

static int pass_entry(void *user, const es_entry *e)
{
    const visitor *v = user;
    es_recording r = view(&e->media, &e->made);

    r.language = e->language;
    r.segments = e->n_segments, r.words = e->n_words;
    r.speakers = speakers_of(v->store, e);
    r.ingested_ms = e->ingested_ms;
    return v->visit(v->user, &r);
}

int es_library_list(es_library *library, int (*visit)(void *user, const es_recording *r), void *user, es_error *error)
{
    visitor v = {visit, user, library->store};
    es_err err = {0};

    return es_door_give(error, es_store_list(library->store, pass_entry, &v, &err), &err);
}

int es_library_find(es_library *library, const char *name, int (*visit)(void *user, const es_recording *r), void *user,
                    es_speech **speech, es_error *error)
{
    es_hash128 content;
    es_result result = {0};
    es_speech *s = NULL;
    es_err err = {0};
    int track = -1, rc = es_store_resolve(library->store, name, &content, &track, &err);

    if (speech) *speech = NULL;
    if (rc == ES_OK) rc = es_store_get(library->store, content, track, &result, &err);
    if (rc == ES_OK && visit) {
        es_recording r = view(&result.media, &result.made);
        r.language = result.transcript.language;
        r.segments = result.transcript.n_segments, r.words = result.transcript.n_words;
        r.speakers = result.who.n_speakers;
        visit(user, &r);
    }
    if (rc == ES_OK && speech) {
        s = calloc(1, sizeof *s);
        if (!s) {
            rc = es_fail(&err, ES_ENOMEM, "not enough memory");
        } else {
            s->transcript = result.transcript;
            s->media = result.media;
            s->made = result.made;
            s->who = result.who;
            s->labels = es_door_labels(library->store, content, track, s->who.n_speakers, NULL);
            s->voices = es_door_voices(library->store, content, track, s->who.n_speakers);
            /* The speech's from here on. */
            result.media = (es_media_info){0}, result.made = (es_made){0};
            result.transcript = (es_transcript){0}, result.who = (es_diarization){0};
            *speech = s;
        }
    }
    es_result_done(&result);
    return es_door_give(error, rc, &err);
}

/* ---- care ---- */

int es_library_remove(es_library *library, const char *name, es_error *error)
{
    es_hash128 content;
    es_err err = {0};
    int track = -1, rc = es_store_resolve(library->store, name, &content, &track, &err);

    if (rc == ES_OK) rc = es_store_remove(library->store, content, track, &err);
    if (rc == ES_OK) library->removed = true;
    return es_door_give(error, rc, &err);
}

int es_library_compact(es_library *library, uint64_t *before, uint64_t *after, es_error *error)
{
    es_err err = {0};
    uint64_t was = 0, is = 0;
    int rc = es_store_compact(library->store, &was, &is, &err);

    if (before) *before = was;
    if (after) *after = is;
    return es_door_give(error, rc, &err);
}

int es_library_backup(es_library *library, const char *to_folder, es_error *error)
{
    es_err err = {0};

    return es_door_give(error, es_store_backup(library->store, to_folder, &err), &err);
}

int es_library_check(es_library *library, es_library_report *out, void (*fault)(void *user, const char *sentence),
                     void *user, es_error *error)
{
    es_check c = {0};
    es_err err = {0};
    int rc = es_store_check(library->store, &c, fault, user, &err);

    if (out)
        *out = (es_library_report){.recordings = c.recordings,
                                   .segments = c.segments,
                                   .words = c.words,
                                   .records = c.records,
                                   .faults = c.faults};
    return es_door_give(error, rc, &err);
}
