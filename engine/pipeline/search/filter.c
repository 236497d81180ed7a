/*
 * filter.c - names, folders, times and languages into what the store asks of each passage.
 *
 * What is said of whole recordings - a file, a folder, a date - becomes one sorted list of recordings before the search
 * begins; so does a speaker, as the places where they speak. What is left for each passage is two comparisons.
 */
#define _GNU_SOURCE
#include "pipeline/search/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/search/moment.h"
#include "pipeline/speakers/names.h"
#include "text/language.h"

/* A recording or, with a speaker from 0 on, one voice in it. */
typedef struct place {
    uint64_t media;
    int track, speaker;
} place;

typedef struct places {
    place *at;
    size_t n, room;
} places;

struct es_filter_set {
    bool by_recording, by_speaker;
    places recordings, voices; /* sorted */
    int64_t after_ms, before_ms;
    const char *language; /* a code of the table, or NULL */
};

static int compare(const void *a, const void *b)
{
    const place *x = a, *y = b;

    if (x->media != y->media) return x->media < y->media ? -1 : 1;
    if (x->track != y->track) return x->track < y->track ? -1 : 1;
    return x->speaker < y->speaker ? -1 : x->speaker > y->speaker;
}

static int add(places *p, uint64_t media, int track, int speaker)
{
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 64;
        place *moved = realloc(p->at, room * sizeof *moved);
        if (!moved) return -1;
        p->at = moved, p->room = room;
    }
    p->at[p->n++] = (place){media, track, speaker};
    return 0;
}

static bool holds(const places *p, uint64_t media, int track, int speaker)
{
    const place wanted = {media, track, speaker};

    return p->n && bsearch(&wanted, p->at, p->n, sizeof wanted, compare) != NULL;
}

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the filter");
}

/* ---- recordings: files, folders, dates ---- */

typedef struct entry {
    es_hash128 content;
    int track;
    char *path; /* owned; may be NULL */
} entry;

typedef struct entries {
    entry *at;
    size_t n, room;
    bool no_memory;
} entries;

static int note_entry(void *user, const es_entry *e)
{
    entries *list = user;

    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        entry *moved = realloc(list->at, room * sizeof *moved);
        if (!moved) {
            list->no_memory = true;
            return 1;
        }
        list->at = moved, list->room = room;
    }
    list->at[list->n++] = (entry){.content = e->media.content,
                                  .track = e->media.track,
                                  .path = e->media.path ? strdup(e->media.path) : NULL};
    return 0;
}

static void entries_done(entries *list)
{
    for (size_t i = 0; i < list->n; i++) free(list->at[i].path);
    free(list->at);
    *list = (entries){0};
}

typedef struct below {
    const char *folder; /* absolute, without a slash at its end but for "/" */
    bool found;
} below;

static bool lies_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return !strcmp(folder, "/") || (!strncmp(path, folder, n) && path[n] == '/');
}

static int look_below(void *user, const char *path, int64_t seen_ms)
{
    below *b = user;

    (void)seen_ms;
    b->found = b->found || lies_below(path, b->folder);
    return b->found;
}

/* A folder's path as the library has it: from the file system, or as it was written where it is not there any more. */
static char *absolute(const char *name)
{
    char *real = realpath(name, NULL), *joined = NULL, *here;
    size_t n;

    if (real) return real;
    if (name[0] == '/') {
        joined = strdup(name);
    } else if ((here = getcwd(NULL, 0))) {
        if (asprintf(&joined, "%s/%s", here, name) < 0) joined = NULL;
        free(here);
    }
    n = joined ? strlen(joined) : 0;
    while (n > 1 && joined[n - 1] == '/') joined[--n] = 0;
    return joined;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static int refuse_in(const entries *list, const char *in, const char *why, es_err *err)
{
    const char **names = malloc((list->n + 1) * sizeof *names);
    char near[512] = "", shown[256];
    size_t n = 0;

    for (size_t i = 0; names && i < list->n; i++)
        if (list->at[i].path) names[n++] = file_name(list->at[i].path);
    if (names) es_moment_near(near, sizeof near, file_name(in), names, n);
    free(names);
    if (*near)
        return es_fail(err, ES_ENOTFOUND, "%s is no recording in the library and no folder of one; did you mean %s?",
                       es_printable(shown, sizeof shown, in), near);
    return es_fail(err, ES_ENOTFOUND, "%s", why);
}

/* The entries that `in` names stay in the list. */
static int narrow_in(es_store *s, entries *list, const char *in, es_err *err)
{
    es_hash128 content;
    es_err why = {0};
    int track = -1, rc = es_store_resolve(s, in, &content, &track, &why);
    size_t kept = 0;
    char *folder;

    if (rc != ES_OK && rc != ES_ENOTFOUND) return es_fail(err, rc, "%s", why.text);
    folder = rc == ES_OK ? NULL : absolute(in);
    if (rc != ES_OK && !folder) return no_memory(err);
    for (size_t i = 0; i < list->n; i++) {
        entry *e = &list->at[i];
        below b = {.folder = folder};
        if (folder) es_store_paths(s, e->content, look_below, &b, NULL); /* one that is gone by now lies nowhere */
        bool named = !folder && !memcmp(&e->content, &content, sizeof content) && (track < 0 || track == e->track);
        if (named || b.found) {
            entry keep = *e;
            *e = list->at[kept];
            list->at[kept++] = keep;
        }
    }
    free(folder);
    if (!kept) return refuse_in(list, in, why.text, err);
    for (size_t i = kept; i < list->n; i++) free(list->at[i].path);
    list->n = kept;
    return ES_OK;
}

/* When the file was last changed that the recording is first known by; before all dates where that is not known. */
static int64_t changed_ms(es_store *s, const entry *e)
{
    es_media_info media = {0};
    es_made made = {0};
    int64_t ms = INT64_MIN;

    if (es_store_get_info(s, e->content, e->track, &media, &made, NULL) == ES_OK) ms = media.mtime_ns / 1000000;
    es_media_info_done(&media);
    es_made_done(&made);
    return ms;
}

static int take_recordings(es_filter_set *f, es_store *s, const es_where *w, const es_bound *after, const es_bound *before, es_err *err)
{
    entries list = {0};
    bool dated = (w->after && after->is_date) || (w->before && before->is_date);
    int rc = es_store_list(s, note_entry, &list, err);

    if (list.no_memory) rc = no_memory(err);
    if (rc == ES_OK && w->in) rc = narrow_in(s, &list, w->in, err);
    for (size_t i = 0; i < list.n && rc == ES_OK; i++) {
        int64_t ms = dated ? changed_ms(s, &list.at[i]) : 0;
        if (w->after && after->is_date && ms < after->ms) continue;
        if (w->before && before->is_date && ms >= before->ms) continue;
        if (add(&f->recordings, es_hash_id(list.at[i].content), list.at[i].track, 0)) rc = no_memory(err);
    }
    if (f->recordings.n) qsort(f->recordings.at, f->recordings.n, sizeof *f->recordings.at, compare);
    entries_done(&list);
    return rc;
}

/* ---- speakers ---- */

typedef struct people_list {
    char **at;
    size_t n, room;
} people_list;

static int note_person(void *user, const es_names_person *p)
{
    people_list *list = user;

    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        char **moved = realloc(list->at, room * sizeof *moved);
        if (!moved) return -1;
        list->at = moved, list->room = room;
    }
    list->at[list->n] = strdup(p->name);
    return list->at[list->n] ? (list->n++, 0) : -1;
}

static int refuse_speaker(es_store *s, const char *who, const char *why, es_err *err)
{
    people_list list = {0};
    char near[512] = "", shown[256];

    es_names_list(s, note_person, &list, NULL);
    es_moment_near(near, sizeof near, who, (const char *const *)list.at, list.n);
    size_t n = list.n;
    for (size_t i = 0; i < list.n; i++) free(list.at[i]);
    free(list.at);
    es_printable(shown, sizeof shown, who);
    if (*near) return es_fail(err, ES_ENOTFOUND, "nobody in the library is called %s; did you mean %s?", shown, near);
    if (!n) return es_fail(err, ES_ENOTFOUND, "%s cannot be looked for: it is not known of any recording who speaks in it", shown);
    return es_fail(err, ES_ENOTFOUND, "%s", why);
}

static int take_voices(es_filter_set *f, es_store *s, const char *who, es_err *err)
{
    es_place *found = NULL;
    es_err why = {0};
    size_t n = 0;
    int rc = es_names_find(s, who, &found, &n, &why);

    if (rc == ES_ENOTFOUND) return refuse_speaker(s, who, why.text, err);
    if (rc != ES_OK) return es_fail(err, rc, "%s", why.text);
    for (size_t i = 0; i < n && rc == ES_OK; i++)
        if (add(&f->voices, es_hash_id(found[i].content), found[i].track, found[i].speaker)) rc = no_memory(err);
    if (f->voices.n) qsort(f->voices.at, f->voices.n, sizeof *f->voices.at, compare);
    free(found);
    return rc;
}

/* ---- all together ---- */

static int read_bounds(es_filter_set *f, const es_where *w, es_bound *after, es_bound *before, es_err *err)
{
    int rc = w->after ? es_moment_bound(after, w->after, "--after", err) : ES_OK;

    if (rc == ES_OK && w->before) rc = es_moment_bound(before, w->before, "--before", err);
    if (rc != ES_OK) return rc;
    f->after_ms = w->after && !after->is_date ? after->ms : INT64_MIN;
    f->before_ms = w->before && !before->is_date ? before->ms : INT64_MAX;
    return ES_OK;
}

int es_filter_open(es_filter_set **out, es_store *s, const es_where *w, es_err *err)
{
    es_filter_set *f = calloc(1, sizeof *f);
    es_bound after = {0}, before = {0};
    char shown[64];
    int rc = f ? read_bounds(f, w, &after, &before, err) : no_memory(err);

    *out = NULL;
    if (rc == ES_OK && w->language) {
        int i = es_language_index(w->language);
        if (i < 0)
            rc = es_fail(err, ES_EARG, "there is no language %s; it is a code such as en or a name such as german",
                         es_printable(shown, sizeof shown, w->language));
        else f->language = es_language_code(i);
    }
    if (rc == ES_OK && w->speaker) {
        f->by_speaker = true;
        rc = take_voices(f, s, w->speaker, err);
    }
    if (rc == ES_OK && (w->in || (w->after && after.is_date) || (w->before && before.is_date))) {
        f->by_recording = true;
        rc = take_recordings(f, s, w, &after, &before, err);
    }
    if (rc == ES_OK) {
        *out = f;
        f = NULL; /* the caller's from here on */
    }
    es_filter_close(f);
    return rc;
}

void es_filter_close(es_filter_set *f)
{
    if (!f) return;
    free(f->recordings.at);
    free(f->voices.at);
    free(f);
}

static bool recording_passes(void *user, uint64_t media, int track)
{
    const es_filter_set *f = user;

    return !f->by_recording || holds(&f->recordings, media, track, 0);
}

static bool passage_passes(void *user, const es_glance *p)
{
    const es_filter_set *f = user;

    if (p->start_ms < f->after_ms || p->start_ms >= f->before_ms) return false;
    if (f->language && strcmp(f->language, p->language)) return false;
    return !f->by_speaker || (p->speaker >= 0 && holds(&f->voices, p->id.media, p->id.track, p->speaker));
}

es_filter es_filter_of(es_filter_set *f)
{
    return (es_filter){.recording = recording_passes, .passage = passage_passes, .user = f};
}
