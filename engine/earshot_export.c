/*
 * earshot_export.c - the public door, fifth part: words as files for others.
 *
 * A file is named after its recording, and numbered where two recordings would take one name. Names are given over the
 * whole library, whatever part of it is exported: the same recording has the same name each time.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "library.h"
#include "pipeline/exports/export.h"

static int export_options(es_export_options *out, const es_subtitle_options *options, es_err *err)
{
    es_subtitle_options o = ES_SUBTITLE_OPTIONS;

    if (!es_door_options(&o, sizeof o, options)) return es_fail(err, ES_EARG, "es_subtitle_options has no valid size");
    if (o.max_line_width < 0 || o.max_lines < 0) return es_fail(err, ES_EARG, "a subtitle's sizes cannot be negative");
    *out = (es_export_options){.max_line_width = o.max_line_width, .max_lines = o.max_lines, .vtt_words = o.vtt_words};
    return ES_OK;
}

const char *es_speech_format(int i)
{
    return es_export_suffix(i);
}

static int unknown_format(const char *format, es_err *err)
{
    char shown[64];

    return es_fail(err, ES_EARG, "there is no format %s; there are srt, vtt, txt, json, tsv and rttm",
                   es_printable(shown, sizeof shown, format));
}

int es_speech_export(const es_speech *speech, const char *format, const es_subtitle_options *options, char **text,
                     size_t *bytes, es_error *error)
{
    const es_result r = {.media = speech->media, .made = speech->made, .transcript = speech->transcript, .who = speech->who}; /* borrowed */
    es_export_options o;
    es_err err = {0};
    int which = format ? es_export_format_of(format) : -1;
    int rc = which < 0 ? unknown_format(format ? format : "", &err) : export_options(&o, options, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) {
        o.speakers = (const char *const *)speech->labels;
        o.n_speakers = speech->labels ? speech->who.n_speakers : 0;
        rc = es_export_text(text, bytes, (es_export_format)which, &r, &o, &err);
    }
    return es_door_give(error, rc, &err);
}

/* ---- many recordings ---- */

typedef struct items {
    es_export_item *at;
    size_t n, room;
} items;

static int note_entry(void *user, const es_entry *e)
{
    items *all = user;

    if (all->n == all->room) {
        size_t room = all->room ? 2 * all->room : 64;
        es_export_item *more = realloc(all->at, room * sizeof *more);
        if (!more) return -1;
        all->at = more, all->room = room;
    }
    char *path = strdup(e->media.path ? e->media.path : "");
    if (!path) return -1;
    all->at[all->n++] = (es_export_item){.path = path, .content = e->media.content, .track = e->media.track};
    return 0;
}

static void items_done(items *all)
{
    for (size_t i = 0; i < all->n; i++) free((char *)(uintptr_t)all->at[i].path);
    free(all->at);
}

/* All names of the library. */
static int collect(items *all, es_store *s, es_err *err)
{
    int rc = es_store_list(s, note_entry, all, err);

    if (rc == ES_OK && es_export_stems(all->at, all->n))
        rc = es_fail(err, ES_ENOMEM, "not enough memory for the names");
    return rc;
}

typedef struct writer {
    es_library *library;
    const char *folder;
    es_export_options options;
    int format[ES_N_EXPORTS], n_formats;
    int (*written)(void *user, const char *path, const es_error *failed);
    void *user;
} writer;

/* Tells of a file, or of what failed; anything but 0 ends the export. */
static int tell(const writer *w, const char *path, const es_err *failed)
{
    es_error e = {0};

    if (!w->written) return 0;
    if (failed) es_door_give(&e, failed->code, failed);
    return w->written(w->user, path, failed ? &e : NULL);
}

static int export_one(const writer *w, const es_export_item *it)
{
    es_export_options o = w->options;
    es_result r = {0};
    es_err err = {0};
    char **labels = NULL;
    int stop = 0;

    if (es_store_get(w->library->store, it->content, it->track, &r, &err) != ES_OK) stop = tell(w, it->path, &err);
    else {
        labels = es_door_labels(w->library->store, it->content, it->track, r.who.n_speakers, NULL);
        o.speakers = (const char *const *)labels;
        o.n_speakers = labels ? r.who.n_speakers : 0;
        for (int i = 0; i < w->n_formats && !stop; i++) {
            char *path = NULL, *text = NULL;
            size_t bytes = 0;
            es_err why = {0};
            if (asprintf(&path, "%s%s%s.%s", w->folder, w->folder[strlen(w->folder) - 1] == '/' ? "" : "/", it->stem,
                         es_export_suffix(w->format[i])) < 0) {
                path = NULL;
                es_fail(&why, ES_ENOMEM, "not enough memory");
            }
            if (!why.code) es_export_text(&text, &bytes, (es_export_format)w->format[i], &r, &o, &why);
            if (!why.code) es_export_write(path, text, bytes, &why);
            stop = tell(w, path ? path : it->path, why.code ? &why : NULL);
            free(path), free(text);
        }
    }
    es_door_labels_done(&labels, r.who.n_speakers);
    es_result_done(&r);
    return stop;
}

static int formats_read(writer *w, const char *formats, es_err *err)
{
    char *list = strdup(formats), *save = NULL;
    int rc = list ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    for (char *p = list ? strtok_r(list, ",", &save) : NULL; p && rc == ES_OK; p = strtok_r(NULL, ",", &save)) {
        int which = es_export_format_of(p);
        bool twice = false;
        for (int i = 0; i < w->n_formats; i++) twice = twice || w->format[i] == which;
        if (which < 0) rc = unknown_format(p, err);
        else if (!twice) w->format[w->n_formats++] = which;
    }
    if (rc == ES_OK && !w->n_formats) rc = es_fail(err, ES_EARG, "no format is named");
    free(list);
    return rc;
}

int es_library_export(es_library *library, const char *const *names, size_t n, const char *formats, const char *folder,
                      const es_subtitle_options *options,
                      int (*written)(void *user, const char *path, const es_error *failed), void *user, es_error *error)
{
    writer w = {.library = library, .folder = folder && *folder ? folder : ".", .written = written, .user = user};
    items all = {0};
    es_err err = {0};
    int stop = 0, rc = formats_read(&w, formats ? formats : "srt", &err);

    if (rc == ES_OK) rc = export_options(&w.options, options, &err);
    if (rc == ES_OK) rc = collect(&all, library->store, &err);
    if (rc == ES_OK && (n || all.n)) rc = es_door_make_folders(w.folder, &err);
    for (size_t i = 0; rc == ES_OK && !n && i < all.n && !stop; i++) stop = export_one(&w, &all.at[i]);
    for (size_t i = 0; rc == ES_OK && i < n && !stop; i++) {
        es_hash128 content;
        es_err why = {0};
        int track = -1;
        if (es_store_resolve(library->store, names[i], &content, &track, &why) != ES_OK) {
            stop = tell(&w, names[i], &why);
            continue;
        }
        for (size_t k = 0; k < all.n && !stop; k++)
            if (!memcmp(&all.at[k].content, &content, sizeof content) && (track < 0 || all.at[k].track == track))
                stop = export_one(&w, &all.at[k]);
    }
    if (rc == ES_OK && stop) rc = es_fail(&err, ES_ECANCELLED, "cancelled");
    items_done(&all);
    return es_door_give(error, rc, &err);
}
