/*
 * result.c - a recording's results go in and come out, each in one transaction.
 *
 * What is stored. Everything said of a recording follows from its bytes, the settings and the packs, so two libraries
 * that took in the same files in different orders hold the same records, byte for byte, but for the table `times`.
 *
 *   put     all that was found is replaced as a whole; older results never show through
 *   get     one snapshot: a writer at work meanwhile changes nothing in it
 *   remove  all prefixes of the recording; what is the media's goes with its last recording. Freed pages keep their
 *           bytes until care.c rebuilds the file
 *
 * Most tables hang on the recording's key and are listed in of_recording below. Vectors are sorted by their space and
 * posting lists by their term, the order in which they are searched: vectors.c and index.c find a recording's there.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/index.h"

static const int of_recording[] = {ES_TABLE_RECORDINGS, ES_TABLE_SEGMENTS, ES_TABLE_WHO, ES_TABLE_PASSAGES,
                                   ES_TABLE_JOURNAL};
static const int of_media[] = {ES_TABLE_PATHS};

/* ---- results ---- */

void es_made_done(es_made *m)
{
    if (!m) return;
    free(m->settings);
    *m = (es_made){0};
}

void es_result_done(es_result *r)
{
    if (!r) return;
    es_media_info_done(&r->media);
    es_made_done(&r->made);
    es_transcript_done(&r->transcript);
    es_diarization_done(&r->who);
    es_passages_done(&r->passages);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int check_track(const es_store *s, int track, es_err *err)
{
    if (track >= 0 && track <= UINT16_MAX) return ES_OK;
    return es_fail(err, ES_EARG, "%s: track %d is outside 0 .. %d", s->folder.dir, track, UINT16_MAX);
}

/* The first recording of a media that parses; ES_ENOTFOUND without a sentence where there is none. */
static int first_of_media(es_txn *x, es_hash128 content, es_stored *out, int *track, es_err *err)
{
    es_key prefix = es_key_media(content);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_RECORDINGS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err); rc == ES_OK;
         rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        if (!es_key_starts(key, es_key_bytes(&prefix)) || key.n != 10) {
            rc = ES_ENOTFOUND;
            break;
        }
        if (es_record_read_recording(value, out, &note) == ES_OK) {
            *track = (int)es_key_number((const uint8_t *)key.p + 8, 2);
            break;
        }
        if (note.code == ES_ENEWER) {
            rc = es_fail(err, note.code, "%s", note.text);
            break;
        }
        es_log(ES_LOG_WARN, "%s", note.text);
    }
    es_cursor_close(c);
    return rc;
}

/* Another content with the same 64 bits. */
static int refuse_collision(es_txn *x, es_hash128 content, es_err *err)
{
    es_stored r;
    char have[33], want[33];
    int track, rc = first_of_media(x, content, &r, &track, err);

    if (rc == ES_ENOTFOUND) return ES_OK;
    if (rc) return rc;
    if (memcmp(r.media.content.b, content.b, sizeof content.b)) {
        es_hash_hex(have, r.media.content);
        es_hash_hex(want, content);
        rc = es_fail(err, ES_ELIBRARY,
                     "the contents %s and %s share their first 64 bits; a library can hold only one "
                     "of them",
                     want, have);
    }
    es_stored_done(&r);
    return rc;
}

int es_inside_put_record(es_txn *x, int table, es_key key, const es_record *r, es_err *err)
{
    return es_txn_put(x, table, es_key_bytes(&key), (es_bytes){r->p, r->n}, err);
}

/* Of all recordings whose keys start so: everything but the times, which outlive a result that is replaced. */
static int delete_results(es_txn *x, es_record *r, es_bytes prefix, es_err *err)
{
    int rc = es_inside_delete_vectors(x, ES_USE_PASSAGES, prefix, err);

    if (!rc) rc = es_inside_delete_vectors(x, ES_USE_CENTERS, prefix, err);
    if (!rc) rc = es_inside_delete_vectors(x, ES_USE_VOICES, prefix, err);
    if (!rc) rc = es_index_delete(x, r, prefix, err);
    for (size_t i = 0; !rc && i < sizeof of_recording / sizeof *of_recording; i++)
        rc = es_txn_delete_prefix(x, of_recording[i], prefix, NULL, err);
    return rc;
}

static int put_who(es_txn *x, es_record *r, es_key recording, const es_diarization *d, es_err *err)
{
    es_bytes key = es_key_bytes(&recording);
    int rc = es_record_write_who(r, d, err);

    if (!rc) rc = es_inside_put_record(x, ES_TABLE_WHO, recording, r, err);
    if (!rc) rc = es_inside_put_vectors(x, r, ES_USE_CENTERS, key, &d->centers, err);
    if (!rc) rc = es_inside_put_vectors(x, r, ES_USE_VOICES, key, &d->voices, err);
    return rc;
}

static int put_all(es_txn *x, es_record *r, const es_result *result, es_err *err)
{
    const es_media_info *m = &result->media;
    es_time written = {.at_ms = now_ms()};
    es_key recording = es_key_recording(m->content, m->track);
    es_stored stored = es_stored_of(result);
    int rc = refuse_collision(x, m->content, err);

    if (!rc) rc = es_inside_voices_drop(x, es_key_bytes(&recording), &result->who, err);
    if (!rc) rc = delete_results(x, r, es_key_bytes(&recording), err);
    if (!rc) rc = es_record_write_recording(r, &stored, err);
    if (!rc) rc = es_inside_put_record(x, ES_TABLE_RECORDINGS, recording, r, err);
    for (size_t i = 0; !rc && i < result->transcript.n_segments; i++) {
        rc = es_record_write_segment(r, &result->transcript, i, err);
        if (!rc)
            rc = es_inside_put_record(x, ES_TABLE_SEGMENTS, es_key_segment(m->content, m->track, (uint32_t)i), r, err);
    }
    if (!rc && stored.has_who) rc = put_who(x, r, recording, &result->who, err);
    if (!rc) rc = es_inside_put_passages(x, r, m->content, m->track, &result->passages, err);
    if (!rc) rc = es_inside_put_index(x, r, m->content, m->track, &result->passages, &result->transcript, err);
    if (!rc) rc = es_inside_put_path(x, r, m->content, m->path, m->mtime_ns, err);
    if (!rc) rc = es_record_write_time(r, &written, err);
    if (!rc) rc = es_inside_put_record(x, ES_TABLE_TIMES, es_key_recording_time(m->content, m->track), r, err);
    return rc;
}

int es_store_put(es_store *s, const es_result *r, es_err *err)
{
    es_record record = {0};
    es_txn *x = NULL;
    int rc = check_track(s, r->media.track, err);

    if (!rc) rc = es_inside_begin(s, true, &x, err);
    if (rc) return rc;
    rc = put_all(x, &record, r, err);
    rc = es_inside_end(s, x, rc, err);
    free(record.p);
    return rc;
}

/* Keeps the path that comes first in the order of bytes: which one it is must not depend on which was seen first. */
static int keep_first_path(void *user, const char *path, const es_time *t)
{
    es_media_info *m = user;
    char *copy;

    if (m->path && strcmp(m->path, path) <= 0) return ES_OK;
    copy = strdup(path);
    if (!copy) return ES_ENOMEM;
    free(m->path);
    m->path = copy;
    m->mtime_ns = t->mtime_ns;
    return ES_OK;
}

int es_inside_recording(es_store *s, es_txn *x, es_hash128 content, int *track, es_stored *out, es_err *err)
{
    char hex[33];
    int rc;

    *out = (es_stored){0};
    if (*track < 0) {
        rc = first_of_media(x, content, out, track, err);
    } else {
        es_key k = es_key_recording(content, *track);
        es_bytes value;
        rc = check_track(s, *track, err);
        if (!rc) rc = es_txn_get(x, ES_TABLE_RECORDINGS, es_key_bytes(&k), &value, err);
        if (!rc) rc = es_record_read_recording(value, out, err);
    }
    if (!rc && memcmp(out->media.content.b, content.b, sizeof content.b)) rc = ES_ENOTFOUND;
    if (!rc) rc = es_inside_paths(x, content, keep_first_path, &out->media, err);
    if (rc) es_stored_done(out);
    es_hash_hex(hex, content);
    if (rc == ES_ENOTFOUND) es_fail(err, rc, "%s: has no recording with the content %s", s->folder.dir, hex);
    if (rc == ES_ENOMEM) es_fail(err, rc, "not enough memory to read the recording %s", hex);
    return rc;
}

int es_inside_get_segments(es_txn *x, es_hash128 content, int track, es_transcript *out, es_err *err)
{
    es_key prefix = es_key_recording(content, track);
    es_cursor *c = NULL;
    es_bytes key, value;
    int rc = es_cursor_open(&c, x, ES_TABLE_SEGMENTS, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(c, es_key_bytes(&prefix), &key, &value, err);
         rc == ES_OK && es_key_starts(key, es_key_bytes(&prefix)); rc = es_cursor_next(c, &key, &value, err)) {
        es_err note = {0};
        int parsed = es_record_read_segment(value, out, &note);
        if (parsed == ES_EFORMAT) es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
        else if (parsed) rc = es_fail(err, parsed, "%s", note.text);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* Who spoke, with or without the vectors; an empty *out where that is not known. */
static int read_who(es_txn *x, es_hash128 content, int track, bool vectors, es_diarization *out, es_err *err)
{
    es_key k = es_key_recording(content, track);
    es_who_counts n;
    es_bytes value;
    int rc = es_txn_get(x, ES_TABLE_WHO, es_key_bytes(&k), &value, err);

    *out = (es_diarization){0};
    if (rc) return rc == ES_ENOTFOUND ? ES_OK : rc;
    rc = es_record_read_who(value, out, &n, err);
    if (!rc && vectors)
        rc = es_inside_get_vectors(x, ES_USE_CENTERS, out->centers.space, es_key_bytes(&k), n.centers, &out->centers,
                                   err);
    if (!rc && vectors)
        rc = es_inside_get_vectors(x, ES_USE_VOICES, out->voices.space, es_key_bytes(&k), n.voices, &out->voices, err);
    return rc;
}

/* The same; what is damaged is noted and left out: a recording is worth more than nothing without it. */
static int get_who(es_txn *x, es_hash128 content, int track, bool vectors, es_diarization *out, es_err *err)
{
    es_err note = {0};
    int rc = read_who(x, content, track, vectors, out, &note);

    if (rc == ES_EFORMAT) {
        es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
        return ES_OK;
    }
    return rc ? es_fail(err, rc, "%s", note.text) : ES_OK;
}

/* The vectors of the passages that were just read; left out, with a note, where they do not fit them. */
static int get_passage_vectors(es_txn *x, const es_stored *r, es_passages *p, es_err *err)
{
    es_key k = es_key_recording(r->media.content, r->media.track);
    es_err note = {0};
    int rc;

    if (es_hash_none(r->text_space) || !p->n || p->n != r->n_passages) return ES_OK;
    rc = es_inside_get_vectors(x, ES_USE_PASSAGES, r->text_space, es_key_bytes(&k), p->n, &p->vectors, &note);
    if (rc == ES_EFORMAT) {
        es_log(ES_LOG_WARN, "%s; it is passed over", note.text);
        return ES_OK;
    }
    return rc ? es_fail(err, rc, "%s", note.text) : ES_OK;
}

/* The recording and what was said in it. r: its record, whose strings are out's. */
static int get_said(es_store *s, es_txn *x, es_hash128 content, int *track, es_stored *r, es_result *out, es_err *err)
{
    int rc = es_inside_recording(s, x, content, track, r, err);

    if (rc) return rc;
    *out = (es_result){.media = r->media, .made = r->made}; /* owned by out from here on */
    memcpy(out->transcript.language, r->language, sizeof r->language);
    out->transcript.language_probability = r->language_probability;
    return es_inside_get_segments(x, content, *track, &out->transcript, err);
}

int es_store_get(es_store *s, es_hash128 content, int track, es_result *out, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_result){0};
    if (rc) return rc;
    rc = get_said(s, x, content, &track, &r, out, err);
    if (!rc) rc = get_who(x, content, track, true, &out->who, err);
    if (!rc) rc = es_inside_get_passages(x, content, track, &out->passages, err);
    if (!rc) rc = get_passage_vectors(x, &r, &out->passages, err);
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_result_done(out);
    return rc;
}

int es_store_get_whole(es_store *s, es_hash128 content, int track, es_result *out, es_err *err)
{
    const es_transcript *t = &out->transcript;
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_result){0};
    if (rc) return rc;
    rc = get_said(s, x, content, &track, &r, out, err);
    if (!rc && (t->n_segments != r.n_segments || t->n_words != r.n_words || t->n_tokens != r.n_tokens))
        rc = es_fail(err, ES_EFORMAT, "its record is damaged: of %llu segments %zu can be read",
                     (unsigned long long)r.n_segments, t->n_segments);
    if (!rc) rc = read_who(x, content, track, true, &out->who, err);
    if (!rc && r.has_who && !es_stored_of(out).has_who)
        rc = es_fail(err, ES_EFORMAT, "its record is damaged: who spoke in it is not there");
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_result_done(out);
    return rc;
}

int es_store_put_again(es_store *s, const es_result *r, bool who, es_err *err)
{
    int track = r->media.track;
    es_result whole = *r; /* borrows all of it, but for who spoke */
    es_diarization now = {0};
    es_record record = {0};
    es_stored there;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = es_inside_recording(s, x, r->media.content, &track, &there, err);
    if (!rc && who) rc = read_who(x, r->media.content, track, true, &now, err);
    if (!rc && who) whole.who = now;
    if (!rc) rc = put_all(x, &record, &whole, err);
    rc = es_inside_end(s, x, rc, err);
    es_stored_done(&there);
    es_diarization_done(&now);
    free(record.p);
    return rc;
}

int es_store_get_who(es_store *s, es_hash128 content, int track, bool vectors, es_diarization *out, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_diarization){0};
    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &r, err);
    if (!rc) rc = get_who(x, content, track, vectors, out, err);
    es_stored_done(&r);
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_diarization_done(out);
    return rc;
}

int es_store_get_passages(es_store *s, es_hash128 content, int track, bool vectors, es_passages *out, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *out = (es_passages){0};
    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &r, err);
    if (!rc) rc = es_inside_get_passages(x, content, track, out, err);
    if (!rc && vectors) rc = get_passage_vectors(x, &r, out, err);
    es_stored_done(&r);
    rc = es_inside_end(s, x, rc, err);
    if (rc) es_passages_done(out);
    return rc;
}

int es_store_get_info(es_store *s, es_hash128 content, int track, es_media_info *media, es_made *made, es_err *err)
{
    es_stored r;
    es_txn *x = NULL;
    int rc = es_inside_begin(s, false, &x, err);

    *media = (es_media_info){0};
    *made = (es_made){0};
    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &track, &r, err);
    rc = es_inside_end(s, x, rc, err);
    if (rc) return rc;
    *media = r.media;
    *made = r.made;
    return ES_OK;
}

/* ---- remove ---- */

static int forget_media(es_txn *x, es_hash128 content, es_err *err)
{
    es_key media = es_key_media(content), seen = {.b = {'p'}, .n = 1};
    int rc = ES_OK;

    for (size_t i = 0; !rc && i < sizeof of_media / sizeof *of_media; i++)
        rc = es_txn_delete_prefix(x, of_media[i], es_key_bytes(&media), NULL, err);
    memcpy(seen.b + 1, media.b, media.n);
    seen.n += media.n;
    if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_TIMES, es_key_bytes(&seen), NULL, err);
    if (!rc) rc = es_inside_forget_files(x, content, err);
    return rc;
}

bool es_inside_has_prefix(es_txn *x, int table, es_bytes prefix)
{
    es_cursor *c = NULL;
    es_bytes key, value;
    bool found = false;

    if (es_cursor_open(&c, x, table, NULL)) return true; /* rather keep the paths */
    found = es_cursor_seek(c, prefix, &key, &value, NULL) == ES_OK && es_key_starts(key, prefix);
    es_cursor_close(c);
    return found;
}

int es_store_remove(es_store *s, es_hash128 content, int track, es_err *err)
{
    es_key prefix, times, media = es_key_media(content);
    es_stored known;
    es_err note = {0};
    es_record r = {0};
    es_txn *x = NULL;
    int first = track, rc = es_inside_begin(s, true, &x, err);

    if (rc) return rc;
    rc = es_inside_recording(s, x, content, &first, &known, &note);
    if (rc == ES_OK) es_stored_done(&known);
    else if (rc == ES_EFORMAT) rc = ES_OK; /* a damaged record can at least be removed */
    else es_fail(err, rc, "%s", note.text);
    prefix = track < 0 ? media : es_key_recording(content, track);
    times = (es_key){.b = {'r'}, .n = 1 + prefix.n};
    memcpy(times.b + 1, prefix.b, prefix.n);
    if (!rc) rc = es_inside_voices_drop(x, es_key_bytes(&prefix), NULL, err);
    if (!rc) rc = delete_results(x, &r, es_key_bytes(&prefix), err);
    if (!rc) rc = es_txn_delete_prefix(x, ES_TABLE_TIMES, es_key_bytes(&times), NULL, err);
    if (!rc && !es_inside_has_prefix(x, ES_TABLE_RECORDINGS, es_key_bytes(&media))) rc = forget_media(x, content, err);
    free(r.p);
    return es_inside_end(s, x, rc, err);
}
