/*
 * voices.c - everything about voices out of the library, and what changed back into it.
 *
 *   people      hash of the name 16                  a person with the vectors they are known by
 *   spaces      space 16                             the model behind vectors
 *   sayings     media 8, track 2, speaker 4          what the user said about a speaker
 *   identities  media 8, track 2, speaker 4          what was concluded
 *               "fresh"                              there while the identities follow from all the rest
 *
 * A change is made to a picture of all of it in memory, and the difference is written: identities hang on everything,
 * so everything has to be looked at anyway, and a command that fails half-way has changed nothing. 10,000 recordings
 * with four speakers each make a picture of 40 MB.
 *
 * A speaker's vector is the one that the network for names made, or the diarizer's where there was no such network. To
 * forget one its rows are overwritten with zeros in both places; the turns stay, and no vector ever means that speaker
 * again.
 */
#define _GNU_SOURCE
#include "store/voices.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/inside.h"

/* ---- keys ---- */

static es_key key_of_hash(es_hash128 h)
{
    es_key k = {.n = sizeof h.b};

    memcpy(k.b, h.b, sizeof h.b);
    return k;
}

static es_key key_of_speaker(es_hash128 content, int track, int speaker)
{
    es_key k = es_key_recording(content, track);

    for (int i = 3; i >= 0; i--) k.b[k.n++] = (uint8_t)((uint32_t)speaker >> 8 * i);
    return k;
}

static es_key key_fresh(void)
{
    return (es_key){.b = "fresh", .n = 5};
}

int es_inside_voices_stale(es_txn *x, es_err *err)
{
    es_key k = key_fresh();
    int rc = es_txn_delete(x, ES_TABLE_IDENTITIES, es_key_bytes(&k), err);

    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

static bool same_turns(es_bytes who, const es_diarization *next)
{
    es_diarization d = {0};
    es_who_counts counts;
    bool same = es_record_read_who(who, &d, &counts, NULL) == ES_OK && d.n_turns == next->n_turns &&
                d.n_speakers == next->n_speakers;

    for (size_t i = 0; same && i < d.n_turns; i++)
        same = d.turns[i].start_ms == next->turns[i].start_ms && d.turns[i].end_ms == next->turns[i].end_ms &&
               d.turns[i].speaker == next->turns[i].speaker;
    es_diarization_done(&d);
    return same;
}

int es_inside_voices_drop(es_txn *x, es_bytes prefix, const es_diarization *next, es_err *err)
{
    es_bytes who;
    bool keep = next && es_txn_get(x, ES_TABLE_WHO, prefix, &who, NULL) == ES_OK && same_turns(who, next);
    int rc = es_txn_delete_prefix(x, ES_TABLE_IDENTITIES, prefix, NULL, err);

    if (!rc && !keep) rc = es_txn_delete_prefix(x, ES_TABLE_SAYINGS, prefix, NULL, err);
    return rc ? rc : es_inside_voices_stale(x, err);
}

static bool is_fresh(es_txn *x)
{
    es_key k = key_fresh();
    es_bytes value;
    uint32_t rules;

    return es_txn_get(x, ES_TABLE_IDENTITIES, es_key_bytes(&k), &value, NULL) == ES_OK &&
           es_record_read_derived(value, &rules, NULL) == ES_OK && rules == ES_PEOPLE_RULES;
}

bool es_voices_fresh(es_store *s)
{
    es_txn *x = NULL;

    if (es_inside_begin(s, false, &x, NULL)) return false;
    bool fresh = is_fresh(x);
    es_inside_end(s, x, ES_OK, NULL);
    return fresh;
}

/* ---- reading ---- */

/* The array of n items with room for one more, possibly moved; NULL without memory. It grows at powers of two. */
static void *grown(void *p, size_t n, size_t item)
{
    return n & (n - 1) || (n == 0 && p) ? p : realloc(p, (n ? 2 * n : 1) * item);
}

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the voices of the library");
}

/* Records that do not parse are noted and passed over, as everywhere; newer ones are not. */
static int pass_over(int rc, const es_err *note, es_err *err)
{
    if (rc != ES_EFORMAT) return es_fail(err, rc, "%s", note->text);
    es_log(ES_LOG_WARN, "%s; it is passed over", note->text);
    return ES_OK;
}

static int read_table(es_txn *x, int table, es_people *all,
                      int (*each)(es_people *all, es_bytes key, es_bytes value, es_err *note), es_err *err)
{
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, table, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err); rc == ES_OK;
         rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        rc = each(all, key, value, &note);
        if (rc) rc = pass_over(rc, &note, err);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

static int read_person(es_people *all, es_bytes key, es_bytes value, es_err *note)
{
    es_profile *room = grown(all->profiles, all->n_profiles, sizeof *room);

    (void)key;
    if (!room) return no_memory(note);
    all->profiles = room;
    int rc = es_record_read_person(value, &all->profiles[all->n_profiles], note);
    if (rc == ES_OK) all->n_profiles++;
    return rc;
}

static int read_space(es_people *all, es_bytes key, es_bytes value, es_err *note)
{
    if (key.n != sizeof(es_hash128)) return es_fail(note, ES_EFORMAT, "a space record has a key of %zu bytes", key.n);
    es_space *room = grown(all->spaces, all->n_spaces, sizeof *room);
    if (!room) return no_memory(note);
    all->spaces = room;
    es_space *s = &room[all->n_spaces];
    int rc = es_record_read_space(value, s, note);
    if (rc) return rc;
    memcpy(s->hash.b, key.p, sizeof s->hash.b);
    all->n_spaces++;
    return ES_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const es_profile *)a)->name, ((const es_profile *)b)->name);
}

/* The speakers of one recording with their vectors. */
static int read_speakers(es_txn *x, es_people *all, es_bytes key, es_bytes value, es_err *err)
{
    es_diarization d = {0};
    es_vectors rows = {0};
    es_who_counts counts;
    es_stored r;
    es_bytes found;
    es_err note = {0};
    int rc = es_txn_get(x, ES_TABLE_RECORDINGS, key, &found, err);

    if (rc) return rc == ES_ENOTFOUND ? ES_OK : rc; /* es_store_check() tells of those */
    rc = es_record_read_recording(found, &r, &note);
    if (!rc) rc = es_record_read_who(value, &d, &counts, &note);
    if (!rc && counts.voices)
        rc = es_inside_get_vectors(x, ES_USE_VOICES, d.voices.space, key, counts.voices, &rows, &note);
    else if (!rc && counts.centers)
        rc = es_inside_get_vectors(x, ES_USE_CENTERS, d.centers.space, key, counts.centers, &rows, &note);
    for (int i = 0; i < d.n_speakers && !rc; i++) {
        es_voice v = {.content = r.media.content,
                      .track = r.media.track,
                      .speaker = i,
                      .alone_ms = d.alone_ms ? d.alone_ms[i] : 0};
        es_key k = key_of_speaker(v.content, v.track, i);
        es_voice *room = grown(all->voices, all->n_voices, sizeof *room);
        if (room) all->voices = room;
        else rc = no_memory(&note);
        if (!rc && rows.n == (size_t)d.n_speakers) {
            v.space = rows.space, v.width = rows.width;
            v.vector = malloc((size_t)rows.width * sizeof *v.vector);
            if (v.vector)
                memcpy(v.vector, rows.rows + (size_t)i * (size_t)rows.width, (size_t)rows.width * sizeof *v.vector);
            else rc = no_memory(&note);
        }
        if (rc) break;
        if (es_txn_get(x, ES_TABLE_SAYINGS, es_key_bytes(&k), &found, NULL) == ES_OK &&
            es_record_read_saying(found, &v.saying, NULL))
            v.saying = (es_saying){0};
        if (es_txn_get(x, ES_TABLE_IDENTITIES, es_key_bytes(&k), &found, NULL) == ES_OK)
            es_record_read_identity(found, &v.identity, NULL);
        all->voices[all->n_voices++] = v;
    }
    es_vectors_done(&rows);
    es_diarization_done(&d);
    es_stored_done(&r);
    return rc ? pass_over(rc, &note, err) : ES_OK;
}

static int by_place(const void *a, const void *b)
{
    const es_voice *x = a, *y = b;
    int order = memcmp(x->content.b, y->content.b, sizeof x->content.b);

    if (!order) order = x->track - y->track;
    return order ? order : x->speaker - y->speaker;
}

static int read_people(es_txn *x, es_people *all, es_err *err)
{
    int rc = read_table(x, ES_TABLE_SPACES, all, read_space, err);

    if (!rc) rc = read_table(x, ES_TABLE_PEOPLE, all, read_person, err);
    if (all->n_profiles) qsort(all->profiles, all->n_profiles, sizeof *all->profiles, by_name);
    return rc;
}

static int read_all(es_txn *x, es_people *all, es_err *err)
{
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = read_people(x, all, err);

    if (!rc) rc = es_cursor_open(&c, x, ES_TABLE_WHO, err);
    if (rc) return rc;
    for (rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err); rc == ES_OK;
         rc = es_cursor_next(c, &key, &value, err)) {
        rc = read_speakers(x, all, key, value, err);
        if (rc) break;
    }
    es_cursor_close(c);
    if (all->n_voices) qsort(all->voices, all->n_voices, sizeof *all->voices, by_place);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

int es_voices_read(es_store *s, es_people *out, es_err *err)
{
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_people){0};
    if (rc) return rc;
    rc = es_inside_end(s, x, read_all(x, out, err), err);
    if (rc) es_people_done(out);
    return rc;
}

int es_voices_read_people(es_store *s, es_people *out, es_err *err)
{
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_people){0};
    if (rc) return rc;
    rc = es_inside_end(s, x, read_people(x, out, err), err);
    if (rc) es_people_done(out);
    return rc;
}

int es_voices_of(es_store *s, es_hash128 content, int track, es_identity **out, int *n, es_err *err)
{
    es_key recording = es_key_recording(content, track);
    es_identity *at = NULL;
    es_diarization d = {0};
    es_who_counts counts;
    es_txn *x = NULL;
    es_bytes value;
    int rc = es_inside_begin(s, false, &x, err);

    *out = NULL, *n = 0;
    if (rc) return rc;
    rc = es_txn_get(x, ES_TABLE_WHO, es_key_bytes(&recording), &value, err);
    if (!rc) rc = es_record_read_who(value, &d, &counts, err);
    if (!rc && !(at = calloc((size_t)d.n_speakers + 1, sizeof *at))) rc = no_memory(err);
    for (int i = 0; i < d.n_speakers && !rc; i++) {
        es_key k = key_of_speaker(content, track, i);
        if (es_txn_get(x, ES_TABLE_IDENTITIES, es_key_bytes(&k), &value, NULL) == ES_OK)
            es_record_read_identity(value, &at[i], NULL);
    }
    rc = es_inside_end(s, x, rc, err);
    if (rc == ES_OK) {
        *out = at, *n = d.n_speakers;
        at = NULL; /* the caller's from here on */
    }
    free(at);
    es_diarization_done(&d);
    return rc == ES_ENOTFOUND ? ES_OK : rc; /* nobody was looked for in it */
}

bool es_voices_name(es_store *s, es_hash128 person, char name[ES_PERSON_BYTES + 1])
{
    es_key k = key_of_hash(person);
    es_profile p = {.n = 0};
    es_txn *x = NULL;
    es_bytes value;

    if (es_inside_begin(s, false, &x, NULL)) return false;
    bool found = es_txn_get(x, ES_TABLE_PEOPLE, es_key_bytes(&k), &value, NULL) == ES_OK &&
                 es_record_read_person(value, &p, NULL) == ES_OK;
    es_inside_end(s, x, ES_OK, NULL);
    if (found) memcpy(name, p.name, sizeof p.name);
    es_profile_done(&p);
    return found;
}

static bool is_same_person(const es_identity *a, const es_identity *as)
{
    if (es_identity_named(as)) return es_identity_named(a) && es_hash_same(a->person, as->person);
    return !es_identity_named(a) && a->number == as->number;
}

int es_voices_places(es_store *s, const es_identity *as, int (*visit)(void *user, const es_place *place), void *user,
                     es_err *err)
{
    es_txn *x = NULL;
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_inside_begin(s, false, &x, err);

    if (rc) return rc;
    rc = es_cursor_open(&c, x, ES_TABLE_IDENTITIES, err);
    if (!rc) rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err);
    for (; rc == ES_OK; rc = es_cursor_next(c, &key, &value, err)) {
        es_identity i;
        es_bytes found;
        es_stored r;
        if (key.n != 14 || es_record_read_identity(value, &i, NULL) || !is_same_person(&i, as)) continue;
        if (es_txn_get(x, ES_TABLE_RECORDINGS, (es_bytes){key.p, 10}, &found, NULL) ||
            es_record_read_recording(found, &r, NULL))
            continue;
        es_place place = {r.media.content, r.media.track, (int)es_key_number((const uint8_t *)key.p + 10, 4)};
        es_stored_done(&r);
        rc = visit(user, &place);
        if (rc) break;
    }
    es_cursor_close(c);
    return es_inside_end(s, x, rc == ES_ENOTFOUND ? ES_OK : rc, err);
}

/* ---- writing ---- */

/* Writes r where the table has something else. */
static int write_changed(es_txn *x, int table, es_key k, const es_record *r, es_err *err)
{
    es_bytes was;
    int rc = es_txn_get(x, table, es_key_bytes(&k), &was, err);

    if (rc == ES_OK && was.n == r->n && !memcmp(was.p, r->p, r->n)) return ES_OK;
    return rc && rc != ES_ENOTFOUND ? rc : es_inside_put_record(x, table, k, r, err);
}

static int delete_key(es_txn *x, int table, es_key k, es_err *err)
{
    int rc = es_txn_delete(x, table, es_key_bytes(&k), err);

    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* Deletes the people who are not among the profiles any more, one at a time: a cursor is not kept over a write. */
static int delete_people(es_txn *x, const es_people *all, es_err *err)
{
    for (;;) {
        es_cursor *c = NULL;
        es_bytes key, value;
        es_key gone = {.n = 0};
        int rc = es_cursor_open(&c, x, ES_TABLE_PEOPLE, err);
        if (rc) return rc;
        for (rc = es_cursor_seek(c, (es_bytes){0}, &key, &value, err); rc == ES_OK && !gone.n;
             rc = es_cursor_next(c, &key, &value, err)) {
            es_hash128 person = {{0}};
            if (key.n == sizeof person.b) memcpy(person.b, key.p, key.n);
            if (key.n <= sizeof gone.b && !es_people_find(all, person)) memcpy(gone.b, key.p, key.n), gone.n = key.n;
        }
        es_cursor_close(c);
        if (rc && rc != ES_ENOTFOUND) return rc;
        if (!gone.n) return ES_OK;
        rc = delete_key(x, ES_TABLE_PEOPLE, gone, err);
        if (rc) return rc;
    }
}

/* Overwrites the row of a speaker in one of the two spaces of the recording. */
static int clear_row(es_txn *x, es_record *r, enum es_use use, es_bytes recording, es_hash128 space, uint32_t n,
                     int speaker, es_err *err)
{
    es_vectors v = {0};
    int rc = n > (uint32_t)speaker ? es_inside_get_vectors(x, use, space, recording, n, &v, err) : ES_OK;

    if (!rc && v.n) {
        memset(v.rows + (size_t)speaker * (size_t)v.width, 0, (size_t)v.width * sizeof *v.rows);
        rc = es_inside_put_vectors(x, r, use, recording, &v, err);
    }
    es_vectors_done(&v);
    return rc;
}

static int forget_vector(es_txn *x, es_record *r, const es_voice *v, es_err *err)
{
    es_key k = es_key_recording(v->content, v->track);
    es_diarization d = {0};
    es_who_counts n;
    es_bytes value;
    int rc = es_txn_get(x, ES_TABLE_WHO, es_key_bytes(&k), &value, err);

    if (!rc) rc = es_record_read_who(value, &d, &n, err);
    if (!rc) rc = clear_row(x, r, ES_USE_CENTERS, es_key_bytes(&k), d.centers.space, n.centers, v->speaker, err);
    if (!rc) rc = clear_row(x, r, ES_USE_VOICES, es_key_bytes(&k), d.voices.space, n.voices, v->speaker, err);
    es_diarization_done(&d);
    return rc;
}

static int write_voice(es_txn *x, es_record *r, const es_voice *v, es_err *err)
{
    es_key k = key_of_speaker(v->content, v->track, v->speaker);
    int rc = ES_OK;

    if (v->forget) rc = forget_vector(x, r, v, err);
    if (!rc && v->saying.said == ES_SAID_NOTHING) rc = delete_key(x, ES_TABLE_SAYINGS, k, err);
    else if (!rc && !(rc = es_record_write_saying(r, &v->saying, err)))
        rc = write_changed(x, ES_TABLE_SAYINGS, k, r, err);
    if (!rc && v->identity.number == 0) return delete_key(x, ES_TABLE_IDENTITIES, k, err);
    if (!rc) rc = es_record_write_identity(r, &v->identity, err);
    return rc ? rc : write_changed(x, ES_TABLE_IDENTITIES, k, r, err);
}

static int write_all(es_txn *x, const es_people *all, es_err *err)
{
    es_record r = {0};
    es_key fresh = key_fresh();
    int rc = delete_people(x, all, err);

    for (size_t i = 0; i < all->n_profiles && !rc; i++) {
        rc = es_record_write_person(&r, &all->profiles[i], err);
        if (!rc) rc = write_changed(x, ES_TABLE_PEOPLE, key_of_hash(es_person_of(all->profiles[i].name)), &r, err);
    }
    for (size_t i = 0; i < all->n_spaces && !rc; i++) {
        rc = es_record_write_space(&r, &all->spaces[i], err);
        if (!rc) rc = write_changed(x, ES_TABLE_SPACES, key_of_hash(all->spaces[i].hash), &r, err);
    }
    for (size_t i = 0; i < all->n_voices && !rc; i++) rc = write_voice(x, &r, &all->voices[i], err);
    if (!rc) rc = es_record_write_derived(&r, ES_PEOPLE_RULES, err);
    if (!rc) rc = write_changed(x, ES_TABLE_IDENTITIES, fresh, &r, err);
    free(r.p);
    return rc;
}

int es_voices_edit(es_store *s, int (*edit)(void *user, es_people *all, es_err *err), void *user, es_err *err)
{
    es_people all = {0};
    es_txn *x = NULL;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = read_all(x, &all, err);
    if (!rc) rc = edit(user, &all, err);
    if (!rc) rc = write_all(x, &all, err);
    es_people_done(&all);
    return es_inside_end(s, x, rc, err);
}

int es_voices_note_space(es_store *s, const es_space *space, es_err *err)
{
    es_key k = key_of_hash(space->hash);
    es_record r = {0};
    es_txn *x = NULL;
    es_bytes was;
    int rc = es_record_write_space(&r, space, err);
    bool known = false;

    if (!rc) rc = es_inside_begin(s, false, &x, err);
    if (!rc) {
        known = es_txn_get(x, ES_TABLE_SPACES, es_key_bytes(&k), &was, NULL) == ES_OK && was.n == r.n &&
                !memcmp(was.p, r.p, r.n);
        es_inside_end(s, x, ES_OK, NULL);
    }
    if (!rc && !known) rc = es_inside_begin(s, true, &x, err);
    if (!rc && !known) {
        rc = es_inside_put_record(x, ES_TABLE_SPACES, k, &r, err);
        if (!rc) rc = es_inside_voices_stale(x, err);
        rc = es_inside_end(s, x, rc, err);
    }
    free(r.p);
    return rc;
}
