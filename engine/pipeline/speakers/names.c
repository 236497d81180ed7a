/*
 * names.c - how speakers are called, who there is, and whom the user means.
 *
 * Names are compared as NFC: the same name typed on two keyboards is one person. A library that is open for reading
 * only may have conclusions that are out of date; then they are drawn in memory, so that both ways the same is shown.
 */
#define _GNU_SOURCE
#include "pipeline/speakers/names_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/account.h"
#include "speech/identify.h"
#include "text/normal.h"
#include "text/unicode.h"

int es_names_no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the voices of the library");
}

int es_names_conclude(es_people *all, es_err *err)
{
    es_work work;

    if (es_account_work(&work, es_identify_all_bytes(all))) return es_names_no_memory(err);
    es_identify_all(all, &work);
    es_account_free(&work);
    return ES_OK;
}

int es_names_note_models(es_store *s, const es_session *session, es_err *err)
{
    static const char *const architectures[] = {
        [ES_SPEAKER_CAMPPLUS] = "campplus", [ES_SPEAKER_RESNET34] = "resnet34", [ES_SPEAKER_ECAPA] = "ecapa"};
    static const enum es_stage stages[] = {ES_STAGE_DIARIZER, ES_STAGE_VOICE};
    int rc = ES_OK;

    for (size_t i = 0; i < sizeof stages / sizeof *stages && rc == ES_OK; i++) {
        const es_speaker_dims *d =
            es_session_has(session, stages[i]) ? es_session_speaker_dims(session, stages[i]) : NULL;
        es_maker maker = es_session_maker(session, stages[i]);
        es_space space = {.hash = maker.hash, .width = d ? d->vector : 0};
        if (!d) continue;
        snprintf(space.model, sizeof space.model, "%s", maker.name);
        snprintf(space.architecture, sizeof space.architecture, "%s", architectures[d->kind]);
        rc = es_voices_note_space(s, &space, err);
    }
    return rc;
}

static int derive(void *user, es_people *all, es_err *err)
{
    (void)user;
    return es_names_conclude(all, err);
}

int es_names_refresh(es_store *s, es_err *err)
{
    if (!es_store_tmp(s) || es_voices_fresh(s)) return ES_OK;
    return es_voices_edit(s, derive, NULL, err);
}

/* Everything, with conclusions that follow from it, whether they can be stored or not. */
static int read_fresh(es_store *s, es_people *all, es_err *err)
{
    int rc = es_names_refresh(s, err);
    bool fresh = !rc && es_voices_fresh(s);

    *all = (es_people){0};
    if (!rc) rc = es_voices_read(s, all, err);
    if (!rc && !fresh) rc = es_names_conclude(all, err);
    if (rc) es_people_done(all);
    return rc;
}

/* ---- labels ---- */

void es_names_label(char *out, size_t room, const es_people *all, const es_identity *i)
{
    const es_profile *p = es_identity_named(i) ? es_people_find(all, i->person) : NULL;

    if (p) snprintf(out, room, "%s", p->name);
    else snprintf(out, room, "Speaker %u", (unsigned)i->number);
}

int es_names_of(es_store *s, es_hash128 content, int track, es_names *out, es_err *err)
{
    es_people all = {0};
    es_identity *at = NULL;
    int n = 0, rc = es_names_refresh(s, err);
    bool fresh = !rc && es_voices_fresh(s);

    *out = (es_names){0};
    if (!rc) rc = es_voices_of(s, content, track, &at, &n, err);
    if (!rc && n && !fresh) { /* open for reading only, and out of date */
        rc = read_fresh(s, &all, err);
        for (size_t i = 0; i < all.n_voices && !rc; i++)
            if (es_hash_same(all.voices[i].content, content) && all.voices[i].track == track &&
                all.voices[i].speaker < n)
                at[all.voices[i].speaker] = all.voices[i].identity;
    }
    if (!rc && n && !(out->at = calloc((size_t)n, sizeof *out->at))) rc = es_names_no_memory(err);
    for (int i = 0; i < n && !rc; i++, out->n++) {
        struct es_name *to = &out->at[i];
        to->identity = at[i];
        if (!es_identity_named(&at[i]) || !es_voices_name(s, at[i].person, to->label))
            es_names_label(to->label, sizeof to->label, &all, &at[i]);
        if (!at[i].number) snprintf(to->label, sizeof to->label, "Speaker %d", i + 1); /* its record is damaged */
    }
    es_people_done(&all);
    free(at);
    if (rc) es_names_done(out);
    return rc;
}

void es_names_done(es_names *n)
{
    free(n->at);
    *n = (es_names){0};
}

const char *es_speaker_label(char *room, const es_names *names, int speaker)
{
    if (names && speaker >= 0 && speaker < names->n) return names->at[speaker].label;
    snprintf(room, ES_PERSON_BYTES + 1, "Speaker %d", speaker + 1);
    return room;
}

/* ---- who is meant ---- */

/* NULL when memory is out; the caller frees. */
static char *composed(const char *name)
{
    size_t bytes = 0;
    char *nfc = es_normal_nfc(name, strlen(name), &bytes), *out = nfc ? strndup(nfc, bytes) : NULL;

    free(nfc);
    return out;
}

/* The name as it is kept; the caller frees. */
int es_names_read(char **out, const char *name, es_err *err)
{
    int rc = es_person_check(name, err); /* before NFC, which would hide what is not UTF-8 */

    *out = rc ? NULL : composed(name);
    if (!rc && !*out) rc = es_names_no_memory(err);
    if (!rc) rc = es_person_check(*out, err);
    if (rc) free(*out), *out = NULL;
    return rc;
}

static bool same_letters(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), i = 0, k = 0;

    while (i < n && k < m) {
        int32_t x, y;
        i += es_unicode_next(a + i, n - i, &x);
        k += es_unicode_next(b + k, m - k, &y);
        if (es_normal_lower(x) != es_normal_lower(y)) return false;
    }
    return i == n && k == m;
}

bool es_names_is_of(const es_voice *v, const es_meant *m)
{
    if (m->profile)
        return es_identity_named(&v->identity) && es_hash_same(v->identity.person, es_person_of(m->profile->name));
    return !es_identity_named(&v->identity) && v->identity.number == m->number;
}

int es_names_meant(es_meant *out, const es_people *all, const char *who, es_err *err)
{
    char shown[300], *name = NULL;
    size_t n = 0;

    *out = (es_meant){.number = es_person_number(who)};
    es_printable(shown, sizeof shown, who);
    if (out->number) {
        for (size_t i = 0; i < all->n_voices; i++)
            if (es_names_is_of(&all->voices[i], out)) return ES_OK;
        return es_fail(err, ES_ENOTFOUND, "%s: nobody in the library is called so; `earshot speakers` lists all",
                       shown);
    }
    name = composed(who);
    if (!name) return es_names_no_memory(err);
    for (int exact = 1; exact >= 0 && !n; exact--)
        for (size_t i = 0; i < all->n_profiles; i++)
            if (exact ? !strcmp(all->profiles[i].name, name) : same_letters(all->profiles[i].name, name))
                out->profile = &all->profiles[i], n++;
    free(name);
    if (n > 1)
        return es_fail(err, ES_EARG,
                       "%s: %zu people are called so but for the case of letters; write the name as it is", shown, n);
    if (!n)
        return es_fail(err, ES_ENOTFOUND, "%s: nobody is enrolled under this name; `earshot speakers` lists all",
                       shown);
    return ES_OK;
}

/* ---- listing ---- */

static es_place place_of(const es_voice *v)
{
    return (es_place){v->content, v->track, v->speaker};
}

int es_names_find(es_store *s, const char *who, es_place **out, size_t *n, es_err *err)
{
    es_people all;
    es_meant m;
    int rc = read_fresh(s, &all, err);

    *out = NULL, *n = 0;
    if (rc) return rc;
    rc = es_names_meant(&m, &all, who, err);
    if (!rc && !(*out = malloc((all.n_voices + 1) * sizeof **out))) rc = es_names_no_memory(err);
    for (size_t i = 0; i < all.n_voices && !rc; i++)
        if (es_names_is_of(&all.voices[i], &m)) (*out)[(*n)++] = place_of(&all.voices[i]);
    es_people_done(&all);
    return rc;
}

/* Tells of one person; places has room for all voices. */
static int tell(const es_people *all, const es_meant *m, es_place *places,
                int (*visit)(void *user, const es_names_person *p), void *user)
{
    char number[32], models[400] = "";
    es_names_person p = {.name = m->profile ? m->profile->name : number,
                         .enrolled = m->profile != NULL,
                         .models = models,
                         .places = places};

    snprintf(number, sizeof number, "Speaker %u", (unsigned)m->number);
    for (size_t i = 0; m->profile && i < m->profile->n; i++) {
        const es_clip *c = &m->profile->clips[i];
        const es_space *space = es_people_space(all, c->space);
        bool again = false;
        size_t used = strlen(models);
        p.clips++, p.net_ms += c->net_ms;
        for (size_t k = 0; k < i; k++) again = again || es_hash_same(m->profile->clips[k].space, c->space);
        if (!again)
            snprintf(models + used, sizeof models - used, "%s%s", used ? ", " : "",
                     space && space->model[0] ? space->model : "an unknown model");
    }
    p.comparable = p.clips > 0;
    for (size_t i = 0; i < all->n_voices; i++) {
        const es_voice *v = &all->voices[i];
        if (!es_names_is_of(v, m)) continue;
        places[p.voices++] = place_of(v);
        if (!m->profile) p.net_ms += v->alone_ms;
        for (int k = 0; k < v->width && !p.comparable; k++) p.comparable = v->vector[k] != 0;
    }
    return visit(user, &p);
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int es_names_list(es_store *s, int (*visit)(void *user, const es_names_person *p), void *user, es_err *err)
{
    es_people all;
    int stop = 0, rc = read_fresh(s, &all, err);

    if (rc) return rc;
    es_place *places = malloc((all.n_voices + 1) * sizeof *places);
    uint32_t *numbers = malloc((all.n_voices + 1) * sizeof *numbers);
    size_t n = 0;
    if (!places || !numbers) rc = es_names_no_memory(err);
    for (size_t i = 0; i < all.n_profiles && !rc && !stop; i++)
        stop = tell(&all, &(es_meant){.profile = &all.profiles[i]}, places, visit, user);
    for (size_t i = 0; i < all.n_voices && !rc; i++)
        if (!es_identity_named(&all.voices[i].identity)) numbers[n++] = all.voices[i].identity.number;
    if (n) qsort(numbers, n, sizeof *numbers, ascending);
    for (size_t i = 0; i < n && !rc && !stop; i++)
        if (!i || numbers[i] != numbers[i - 1])
            stop = tell(&all, &(es_meant){.number = numbers[i]}, places, visit, user);
    free(places), free(numbers);
    es_people_done(&all);
    return rc;
}
