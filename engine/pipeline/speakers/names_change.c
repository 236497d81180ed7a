/*
 * names_change.c - what the user says about voices, and what follows from it.
 *
 * Every command is one edit of es_voices_edit(): conclusions are drawn from what is there (they are what the user saw),
 * the picture of all voices is changed, conclusions are drawn again, and the labels before and after are compared. So
 * enrolling somebody names them in all recordings of the past from the vectors alone, and the number of speakers that
 * got another name is exact. A command that is refused leaves nothing behind.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/speakers/names_parts.h"
#include "pipeline/account.h"
#include "speech/enroll.h"

typedef struct change {
    int (*make)(struct change *c, es_people *all, es_err *err);
    const char *who, *other;
    const es_space *space;
    es_clip *clips;
    size_t n;
    es_hash128 content;
    int track;
    es_names_change result;
} change;

static bool same_recording(const es_voice *a, const es_voice *b)
{
    return a->track == b->track && es_hash_same(a->content, b->content);
}

static int run_change(void *user, es_people *all, es_err *err)
{
    change *c = user;
    char(*before)[ES_PERSON_BYTES + 1] = NULL;
    const es_voice *last = NULL;
    int rc = es_names_conclude(all, err);

    c->result = (es_names_change){.voices = 0};
    if (!rc && !(before = malloc((all->n_voices + 1) * sizeof *before))) rc = es_names_no_memory(err);
    for (size_t i = 0; i < all->n_voices && !rc; i++)
        es_names_label(before[i], sizeof *before, all, &all->voices[i].identity);
    if (!rc) rc = c->make(c, all, err);
    if (!rc) rc = es_names_conclude(all, err);
    for (size_t i = 0; i < all->n_voices && !rc; i++) {
        char after[ES_PERSON_BYTES + 1];
        es_names_label(after, sizeof after, all, &all->voices[i].identity);
        /* From one number to another is no change of a name. */
        if (!strcmp(before[i], after) || (es_person_number(before[i]) && es_person_number(after))) continue;
        c->result.voices++;
        if (!last || !same_recording(last, &all->voices[i])) c->result.recordings++;
        last = &all->voices[i];
    }
    free(before);
    return rc;
}

static int edit(es_store *s, change *c, es_names_change *out, es_err *err)
{
    int rc = es_voices_edit(s, run_change, c, err);

    if (out) *out = rc ? (es_names_change){.voices = 0} : c->result;
    return rc;
}

static es_profile *add_profile(es_people *all, const char *name)
{
    es_profile *more = realloc(all->profiles, (all->n_profiles + 1) * sizeof *more);
    size_t at = 0;

    if (!more) return NULL;
    all->profiles = more;
    while (at < all->n_profiles && strcmp(more[at].name, name) < 0) at++;
    memmove(more + at + 1, more + at, (all->n_profiles - at) * sizeof *more);
    more[at] = (es_profile){.n = 0};
    snprintf(more[at].name, sizeof more[at].name, "%s", name);
    all->n_profiles++;
    return &more[at];
}

static void drop_profile(es_people *all, es_profile *p)
{
    size_t at = (size_t)(p - all->profiles);

    es_profile_done(p);
    memmove(p, p + 1, (all->n_profiles - at - 1) * sizeof *p);
    all->n_profiles--;
}

static int by_space(const void *a, const void *b)
{
    const es_clip *x = a, *y = b;
    int order = memcmp(x->space.b, y->space.b, sizeof x->space.b);

    return order ? order : memcmp(x->content.b, y->content.b, sizeof x->content.b);
}

/* Takes the clip over where the person does not have it yet; of more than ES_PERSON_CLIPS in a space the shortest
 * leaves. */
static int add_clip(es_profile *p, es_clip *c)
{
    size_t same = 0, least = SIZE_MAX;
    es_clip *more = realloc(p->clips, (p->n + 1) * sizeof *more);

    if (!more) return -1;
    p->clips = more;
    for (size_t i = 0; i < p->n; i++) {
        if (!es_hash_same(more[i].space, c->space)) continue;
        if (es_hash_same(more[i].content, c->content)) return 0;
        same++;
        if (least == SIZE_MAX || more[i].net_ms < more[least].net_ms) least = i;
    }
    if (same >= ES_PERSON_CLIPS) {
        if (more[least].net_ms >= c->net_ms) return 0;
        free(more[least].vector);
        more[least] = *c;
    } else {
        more[p->n++] = *c;
    }
    c->vector = NULL; /* the profile's from here on */
    qsort(p->clips, p->n, sizeof *p->clips, by_space);
    return 0;
}

/* Clips from the speakers of recordings that are this person's, as many as are long enough. */
static int add_heard(es_profile *p, const es_people *all, const bool *theirs, int64_t *net_ms)
{
    *net_ms = 0;
    for (size_t i = 0; i < all->n_voices; i++) {
        const es_voice *v = &all->voices[i];
        double length = v->width ? es_identify_cosine(v->vector, v->vector, v->width) : 0; /* 1, or 0 for zeros */
        if (!theirs[i] || v->alone_ms < ES_IDENTIFY_LEAST_MS || !(length > 0)) continue;
        es_clip c = {.content = v->content,
                     .space = v->space,
                     .width = v->width,
                     .net_ms = v->alone_ms,
                     .heard = true,
                     .vector = malloc((size_t)v->width * sizeof(float))};
        if (!c.vector) return -1;
        es_identify_unit(c.vector, v->vector, v->width);
        *net_ms += v->alone_ms;
        int rc = add_clip(p, &c);
        free(c.vector); /* NULL where it was taken over */
        if (rc) return rc;
    }
    return 0;
}

static es_profile *find_profile(es_people *all, const char *name)
{
    for (size_t i = 0; i < all->n_profiles; i++)
        if (!strcmp(all->profiles[i].name, name)) return &all->profiles[i];
    return NULL;
}

/* Whom the clips are like, if it is somebody else: they may be one person under two names. */
static void find_like(change *c, const es_people *all)
{
    es_work work;

    if (es_account_work(&work, es_identify_some_bytes(all, c->space, 1))) return; /* it is a hint and no more */
    for (size_t k = 0; k < c->n; k++) {
        double score = 0;
        int at = es_identify_nearest(all, c->space, c->clips[k].vector, &score, &work);
        if (at < 0 || !strcmp(all->profiles[at].name, c->who) || score <= c->result.like_score) continue;
        snprintf(c->result.like, sizeof c->result.like, "%s", all->profiles[at].name);
        c->result.like_score = score;
    }
    es_account_free(&work);
}

static int make_enroll(change *c, es_people *all, es_err *err)
{
    es_profile *p = find_profile(all, c->who);
    char shown[300], hex[33];

    es_printable(shown, sizeof shown, c->who);
    for (size_t i = 0; p && i < p->n; i++)
        for (size_t k = 0; k < c->n; k++)
            if (es_hash_same(p->clips[i].content, c->clips[k].content) &&
                es_hash_same(p->clips[i].space, c->clips[k].space)) {
                es_hash_hex(hex, c->clips[k].content);
                return es_fail(err, ES_EARG,
                               "%s is enrolled from the recording %.12s already; the same one says nothing new", shown,
                               hex);
            }
    if (!es_people_space(all, c->space->hash)) {
        es_space *more = realloc(all->spaces, (all->n_spaces + 1) * sizeof *more);
        size_t at = 0;
        if (!more) return es_names_no_memory(err);
        all->spaces = more;
        while (at < all->n_spaces && memcmp(more[at].hash.b, c->space->hash.b, sizeof more->hash.b) < 0) at++;
        memmove(more + at + 1, more + at, (all->n_spaces - at) * sizeof *more);
        more[at] = *c->space;
        all->n_spaces++;
    }
    find_like(c, all);
    if (!(p = find_profile(all, c->who)) && !(p = add_profile(all, c->who))) return es_names_no_memory(err);
    for (size_t k = 0; k < c->n; k++)
        if (add_clip(p, &c->clips[k])) return es_names_no_memory(err);
    for (size_t i = 0; i < all->n_voices; i++)
        c->result.strangers += all->voices[i].width && !es_hash_same(all->voices[i].space, c->space->hash);
    return ES_OK;
}

int es_names_enroll(es_store *s, const char *name, const es_space *space, es_clip *clips, size_t n,
                    es_names_change *out, es_err *err)
{
    change c = {.make = make_enroll, .space = space, .clips = clips, .n = n};
    char *kept = NULL;
    int rc = es_names_read(&kept, name, err);

    c.who = kept;
    if (!rc) rc = edit(s, &c, out, err);
    for (size_t i = 0; i < n; i++) free(clips[i].vector), clips[i].vector = NULL;
    free(kept);
    return rc;
}

static int already_there(const es_people *all, const char *name, es_err *err)
{
    char shown[300];

    for (size_t i = 0; i < all->n_profiles; i++)
        if (!strcmp(all->profiles[i].name, name))
            return es_fail(err, ES_EARG,
                           "%s is enrolled already; if both are one person, `earshot speakers merge` says so",
                           es_printable(shown, sizeof shown, name));
    return ES_OK;
}

static bool *voices_of(const es_people *all, const es_meant *m)
{
    bool *theirs = calloc(all->n_voices + 1, sizeof *theirs);

    for (size_t i = 0; theirs && i < all->n_voices; i++) theirs[i] = es_names_is_of(&all->voices[i], m);
    return theirs;
}

static void say_is(es_people *all, const bool *theirs, es_hash128 person)
{
    for (size_t i = 0; i < all->n_voices; i++)
        if (theirs[i]) all->voices[i].saying = (es_saying){ES_SAID_IS, person};
}

/* Somebody without a name gets one: their voices become clips of a profile. */
static int name_somebody(es_people *all, const es_meant *m, const char *name, es_err *err)
{
    bool *theirs = voices_of(all, m);
    es_profile *p = theirs ? add_profile(all, name) : NULL;
    int64_t net_ms = 0;
    int rc = p && !add_heard(p, all, theirs, &net_ms) ? ES_OK : es_names_no_memory(err);

    if (!rc && net_ms < ES_ENROLL_LEAST_MS)
        rc =
            es_fail(err, ES_EARG,
                    "Speaker %u speaks alone for %.1f s that can be compared, and %.0f s are needed to know a voice by",
                    (unsigned)m->number, (double)net_ms / 1000, ES_ENROLL_LEAST_MS / 1000.0);
    if (!rc) say_is(all, theirs, es_person_of(name));
    free(theirs);
    return rc;
}

static int make_rename(change *c, es_people *all, es_err *err)
{
    es_meant m;
    int rc = es_names_meant(&m, all, c->who, err);

    if (!rc && m.profile && !strcmp(m.profile->name, c->other)) return ES_OK;
    if (!rc) rc = already_there(all, c->other, err);
    if (rc) return rc;
    if (!m.profile) return name_somebody(all, &m, c->other, err);
    es_hash128 was = es_person_of(m.profile->name), is = es_person_of(c->other);
    es_profile moved = *m.profile;
    *m.profile = (es_profile){.n = 0};
    drop_profile(all, m.profile);
    es_profile *p = add_profile(all, c->other);
    if (!p) {
        es_profile_done(&moved);
        return es_names_no_memory(err);
    }
    p->clips = moved.clips, p->n = moved.n;
    for (size_t i = 0; i < all->n_voices; i++)
        if (all->voices[i].saying.said == ES_SAID_IS && es_hash_same(all->voices[i].saying.person, was))
            all->voices[i].saying.person = is;
    return ES_OK;
}

int es_names_rename(es_store *s, const char *from, const char *to, es_names_change *out, es_err *err)
{
    change c = {.make = make_rename, .who = from};
    char *kept = NULL;
    int rc = es_names_read(&kept, to, err);

    c.other = kept;
    if (!rc) rc = edit(s, &c, out, err);
    free(kept);
    return rc;
}

/* A hash for a group of voices without a name: that of its first voice's place. */
static es_hash128 group_hash(const es_people *all, const es_meant *a, const es_meant *b)
{
    for (size_t i = 0; i < all->n_voices; i++) {
        const es_voice *v = &all->voices[i];
        char text[96], hex[33];
        if (!es_names_is_of(v, a) && !es_names_is_of(v, b)) continue;
        es_hash_hex(hex, v->content);
        snprintf(text, sizeof text, "group of %s %d %d", hex, v->track, v->speaker);
        return es_hash_bytes(text, strlen(text));
    }
    return (es_hash128){{0}};
}

static int make_merge(change *c, es_people *all, es_err *err)
{
    es_meant into, from;
    bool *theirs = NULL;
    int64_t net_ms;
    int rc = es_names_meant(&into, all, c->who, err);

    if (!rc) rc = es_names_meant(&from, all, c->other, err);
    if (rc) return rc;
    if (into.profile == from.profile && into.number == from.number)
        return es_fail(err, ES_EARG, "one person cannot be merged with themselves");
    if (!into.profile && from.profile) { /* a name outlives a number */
        es_meant swap = into;
        into = from, from = swap;
    }
    theirs = voices_of(all, &from);
    if (!theirs) return es_names_no_memory(err);
    if (into.profile && from.profile) {
        es_hash128 was = es_person_of(from.profile->name), is = es_person_of(into.profile->name);
        for (size_t i = 0; i < from.profile->n && !rc; i++)
            if (add_clip(into.profile, &from.profile->clips[i])) rc = es_names_no_memory(err);
        for (size_t i = 0; i < all->n_voices; i++)
            if (all->voices[i].saying.said == ES_SAID_IS && es_hash_same(all->voices[i].saying.person, was))
                all->voices[i].saying.person = is;
        drop_profile(all, from.profile);
    } else if (into.profile) {
        if (add_heard(into.profile, all, theirs, &net_ms)) rc = es_names_no_memory(err);
        say_is(all, theirs, es_person_of(into.profile->name));
    } else {
        bool *ours = voices_of(all, &into);
        es_hash128 group = group_hash(all, &into, &from);
        if (ours) say_is(all, theirs, group), say_is(all, ours, group);
        else rc = es_names_no_memory(err);
        free(ours);
    }
    free(theirs);
    return rc;
}

int es_names_merge(es_store *s, const char *into, const char *from, es_names_change *out, es_err *err)
{
    change c = {.make = make_merge, .who = into, .other = from};

    return edit(s, &c, out, err);
}

static int make_split(change *c, es_people *all, es_err *err)
{
    char shown[300];
    size_t n = 0;
    es_meant m;
    int rc = es_names_meant(&m, all, c->who, err);

    if (rc) return rc;
    for (size_t i = 0; i < all->n_voices; i++) {
        es_voice *v = &all->voices[i];
        if (v->track != c->track || !es_hash_same(v->content, c->content) || !es_names_is_of(v, &m)) continue;
        v->saying = (es_saying){.said = ES_SAID_APART};
        n++;
    }
    es_printable(shown, sizeof shown, c->who);
    if (!n) return es_fail(err, ES_ENOTFOUND, "%s does not speak in this recording", shown);
    /* The person must not go on being known by the voice that is somebody else's. */
    for (size_t i = 0; m.profile && i < m.profile->n;) {
        es_clip *clip = &m.profile->clips[i];
        if (!es_hash_same(clip->content, c->content)) {
            i++;
            continue;
        }
        if (m.profile->n == 1)
            return es_fail(err, ES_EARG,
                           "%s is known by this recording alone; `earshot speakers forget` removes the name", shown);
        free(clip->vector);
        memmove(clip, clip + 1, (m.profile->n - i - 1) * sizeof *clip);
        m.profile->n--;
    }
    return ES_OK;
}

int es_names_split(es_store *s, const char *who, es_hash128 content, int track, es_names_change *out, es_err *err)
{
    change c = {.make = make_split, .who = who, .content = content, .track = track};

    return edit(s, &c, out, err);
}

/* Whether a voice may well be this person's, though there was too little of it, or too much beside it, to name it. */
static bool may_be(const es_people *all, const es_voice *v, const es_profile *p)
{
    const es_space *space = es_people_space(all, v->space);

    if (!space || !v->width || es_identity_named(&v->identity)) return false;
    const es_identify_rule *rule = es_identify_rule_of(space->architecture);
    for (size_t i = 0; i < p->n; i++)
        if (es_hash_same(p->clips[i].space, v->space) && p->clips[i].width == v->width &&
            es_identify_cosine(p->clips[i].vector, v->vector, v->width) >= rule->same - rule->maybe)
            return true;
    return false;
}

static int make_forget(change *c, es_people *all, es_err *err)
{
    es_meant m;
    int rc = es_names_meant(&m, all, c->who, err);

    if (rc) return rc;
    for (size_t i = 0; i < all->n_voices; i++) {
        es_voice *v = &all->voices[i];
        if (!es_names_is_of(v, &m) && !(m.profile && may_be(all, v, m.profile))) continue;
        v->forget = true;
        v->saying = (es_saying){0};
        if (v->width) memset(v->vector, 0, (size_t)v->width * sizeof *v->vector);
    }
    if (m.profile) { /* also sayings about voices that are not theirs any more */
        es_hash128 person = es_person_of(m.profile->name);
        for (size_t i = 0; i < all->n_voices; i++)
            if (es_hash_same(all->voices[i].saying.person, person)) all->voices[i].saying = (es_saying){0};
        drop_profile(all, m.profile);
    }
    return ES_OK;
}

int es_names_forget(es_store *s, const char *who, es_names_change *out, es_err *err)
{
    change c = {.make = make_forget, .who = who};

    return edit(s, &c, out, err);
}
