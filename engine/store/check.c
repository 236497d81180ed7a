/*
 * check.c - whether a library is whole: first the file's own structure, then every record, then what records say of
 * each other.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/index.h"
#include "store/postings.h"

typedef struct checking {
    es_check *out;
    void (*fault)(void *user, const char *sentence);
    void *user;
    es_txn *x;
    uint32_t schema;
    uint64_t lists;   /* of the index that belong to a recording */
    es_totals totals; /* of all recordings */
} checking;

static void tell(checking *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(checking *c, const char *format, ...)
{
    char raw[1024], text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(raw, sizeof raw, format, ap);
    va_end(ap);
    c->out->faults++;
    if (c->fault) c->fault(c->user, es_printable(text, sizeof text, raw));
}

/* A key as hexadecimal digits. */
static const char *key_hex(char out[80], es_bytes key)
{
    size_t n = key.n < 32 ? key.n : 32;

    for (size_t i = 0; i < n; i++) snprintf(out + 2 * i, 3, "%02x", ((const uint8_t *)key.p)[i]);
    out[2 * n] = 0;
    return out;
}

/* Parses the segments of one recording and compares them with what the recording says of itself. */
static int check_segments(checking *c, es_bytes recording_key, const es_stored *r, es_err *err)
{
    es_transcript t = {0};
    es_cursor *cursor = NULL;
    es_bytes key, value;
    char name[33];
    uint64_t at = 0, seen = 0;
    int rc = es_cursor_open(&cursor, c->x, ES_TABLE_SEGMENTS, err);

    if (rc) return rc;
    es_hash_hex(name, r->media.content);
    for (rc = es_cursor_seek(cursor, recording_key, &key, &value, err);
         rc == ES_OK && es_key_starts(key, recording_key); rc = es_cursor_next(cursor, &key, &value, err)) {
        es_err note = {0};
        uint64_t number = key.n == 14 ? es_key_number((const uint8_t *)key.p + 10, 4) : UINT64_MAX;
        if (number != at)
            tell(c, "recording %s track %d: segment %llu stands where %llu belongs", name, r->media.track,
                 (unsigned long long)number, (unsigned long long)at);
        at = number + 1;
        seen++;
        if (es_record_read_segment(value, &t, &note))
            tell(c, "recording %s track %d: segment %llu: %s", name, r->media.track, (unsigned long long)number,
                 note.text);
    }
    es_cursor_close(cursor);
    c->out->segments += seen;
    c->out->words += t.n_words;
    if (seen != r->n_segments || t.n_words != r->n_words || t.n_tokens != r->n_tokens || t.n_text != r->n_text)
        tell(c,
             "recording %s track %d: has %llu segments, %zu words, %zu tokens and %zu bytes of text, and should have "
             "%llu, %llu, %llu and %llu",
             name, r->media.track, (unsigned long long)seen, t.n_words, t.n_tokens, t.n_text,
             (unsigned long long)r->n_segments, (unsigned long long)r->n_words, (unsigned long long)r->n_tokens,
             (unsigned long long)r->n_text);
    es_transcript_done(&t);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* Who spoke in a recording, with the vectors that belong to it. */
static int check_who(checking *c, es_bytes key, const es_stored *r, es_err *err)
{
    es_diarization d = {0};
    es_vectors v = {0};
    es_who_counts n = {0};
    es_bytes value;
    es_err note = {0};
    char hex[80];
    int rc = es_txn_get(c->x, ES_TABLE_WHO, key, &value, err);

    if (rc && rc != ES_ENOTFOUND) return rc;
    if ((rc == ES_OK) != r->has_who)
        tell(c, "recording %s: a record of who spoke is %s", key_hex(hex, key), rc ? "missing" : "not expected");
    if (rc) return ES_OK;
    rc = es_record_read_who(value, &d, &n, &note);
    if (!rc) rc = es_inside_get_vectors(c->x, ES_USE_CENTERS, d.centers.space, key, n.centers, &v, &note);
    es_vectors_done(&v);
    if (!rc) rc = es_inside_get_vectors(c->x, ES_USE_VOICES, d.voices.space, key, n.voices, &v, &note);
    es_vectors_done(&v);
    es_diarization_done(&d);
    if (rc == ES_ENOMEM) return es_fail(err, rc, "%s", note.text);
    if (rc) tell(c, "recording %s: who spoke: %s", key_hex(hex, key), note.text);
    return ES_OK;
}

/* Its passages, counted and parsed, and the vectors of all the spaces they have some in. */
static int check_passages(checking *c, es_bytes recording, const es_stored *r, es_err *err)
{
    es_hash128 space = {{0}};
    es_cursor *cursor = NULL;
    es_bytes key, value, text;
    char hex[80];
    uint64_t n = 0;
    bool found = es_hash_none(r->text_space);
    int rc = es_cursor_open(&cursor, c->x, ES_TABLE_PASSAGES, err);

    if (rc) return rc;
    for (rc = es_cursor_seek(cursor, recording, &key, &value, err); rc == ES_OK && es_key_starts(key, recording);
         rc = es_cursor_next(cursor, &key, &value, err), n++) {
        es_passage p;
        es_err note = {0};
        if (key.n != 14 || es_key_number((const uint8_t *)key.p + 10, 4) != n)
            tell(c, "passage %s: stands where number %llu belongs", key_hex(hex, key), (unsigned long long)n);
        if (es_record_read_passage(value, &p, &text, &note)) tell(c, "passage %s: %s", key_hex(hex, key), note.text);
    }
    es_cursor_close(cursor);
    if (rc && rc != ES_ENOTFOUND) return rc;
    c->out->passages += n;
    if (n != r->n_passages)
        tell(c, "recording %s: has %llu passages, and should have %u", key_hex(hex, recording), (unsigned long long)n,
             r->n_passages);
    while ((rc = es_inside_next_space(c->x, ES_USE_PASSAGES, &space, err)) == ES_OK) {
        es_key k = es_key_vectors(ES_USE_PASSAGES, space, recording, 0);
        es_vectors v = {0};
        es_err note = {0};
        k.n -= 4;
        if (es_inside_has_prefix(c->x, ES_TABLE_VECTORS, es_key_bytes(&k))) {
            rc = es_inside_get_vectors(c->x, ES_USE_PASSAGES, space, recording, n, &v, &note);
            if (rc == ES_ENOMEM) return es_fail(err, rc, "%s", note.text);
            if (rc || !n)
                tell(c, "recording %s: %s", key_hex(hex, recording), rc ? note.text : "vectors without passages");
            found = found || !memcmp(space.b, r->text_space.b, sizeof space.b);
            es_vectors_done(&v);
        }
        if (!es_hash_step(&space)) break;
    }
    if (!found) tell(c, "recording %s: has no vectors in the space it names", key_hex(hex, recording));
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

/* One term of a recording: its list is read, and taken into the hash over all of them. */
typedef struct listing {
    checking *c;
    es_bytes recording;
    uint32_t n_passages;
    es_hasher *hash;
    uint64_t words; /* occurrences of words as they are written */
} listing;

static int check_list(void *user, es_bytes term)
{
    listing *l = user;
    uint8_t key[ES_INDEX_KEY_BYTES];
    es_bytes value;
    es_postings p;
    char hex[80];
    bool written;

    if (term.n < 2 || term.n > 1 + ES_TERM_BYTES) {
        tell(l->c, "recording %s: one of its terms has %zu bytes", key_hex(hex, l->recording), term.n);
        return ES_OK;
    }
    written = *(const char *)term.p == ES_INDEX_WRITTEN;
    if (es_txn_get(l->c->x, ES_TABLE_WORDS, (es_bytes){key, es_index_key(key, term, l->recording)}, &value, NULL)) {
        tell(l->c, "recording %s: the index has lost one of its terms", key_hex(hex, l->recording));
        return ES_OK;
    }
    es_hasher_add(l->hash, term.p, term.n);
    es_hasher_add(l->hash, value.p, value.n);
    l->c->lists++;
    if (!es_postings_check(value, written, l->n_passages))
        tell(l->c, "recording %s: a list of the index does not parse", key_hex(hex, l->recording));
    else if (written && es_postings_open(&p, value))
        while (es_postings_next(&p)) l->words += p.count;
    return ES_OK;
}

/* Its outline and its part of the index. */
static int check_index(checking *c, es_bytes recording, const es_stored *r, es_err *err)
{
    uint64_t n = r->n_passages ? r->n_passages : r->n_segments, hash = 0, words = 0;
    listing l = {.c = c, .recording = recording, .hash = es_hasher_open()};
    es_outline o = {0};
    es_bytes value;
    es_err note = {0};
    uint32_t n_terms;
    char hex[80];
    int rc = l.hash ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory to check the index");

    if (!rc) rc = es_txn_get(c->x, ES_TABLE_OUTLINES, recording, &value, err);
    if (!rc && es_record_read_outline(value, &o, true, &note))
        tell(c, "outline %s: %s", key_hex(hex, recording), note.text);
    else if (rc == ES_OK || rc == ES_ENOTFOUND) {
        if (o.n != n || (n && o.segments != (r->n_passages == 0)))
            tell(c, "recording %s: the index knows %u passages of it, and should know %llu", key_hex(hex, recording),
                 o.n, (unsigned long long)n);
    }
    for (uint32_t i = 0; i < o.n; i++) words += es_outline_at(&o, i).n_words;
    c->totals.passages += o.n;
    c->totals.words += words;
    l.n_passages = o.n;
    if (rc == ES_OK || rc == ES_ENOTFOUND) rc = es_txn_get(c->x, ES_TABLE_TERMS, recording, &value, err);
    note = (es_err){0};
    if (!rc && es_record_read_terms(value, &hash, &n_terms, check_list, &l, &note))
        tell(c, "terms %s: %s", key_hex(hex, recording), note.text);
    else if (!rc && (hash != es_hash_id(es_hasher_value(l.hash)) || l.words != words))
        tell(c, "recording %s: its part of the index is damaged", key_hex(hex, recording));
    if (rc == ES_ENOTFOUND && n) tell(c, "recording %s: its terms are not listed", key_hex(hex, recording));
    es_hasher_close(l.hash);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

static int check_recording(checking *c, es_bytes key, es_bytes value, es_err *err)
{
    es_stored r;
    es_err note = {0};
    char hex[80];
    int rc = ES_OK;

    if (es_record_read_recording(value, &r, &note)) {
        tell(c, "recording %s: %s", key_hex(hex, key), note.text);
        return ES_OK;
    }
    es_key want = es_key_recording(r.media.content, r.media.track);
    es_key time = es_key_recording_time(r.media.content, r.media.track);
    es_bytes found;
    if (key.n != want.n || memcmp(key.p, want.b, want.n))
        tell(c, "recording %s: its record belongs under another key", key_hex(hex, key));
    if (es_txn_get(c->x, ES_TABLE_TIMES, es_key_bytes(&time), &found, NULL))
        tell(c, "recording %s: the table times does not know it", key_hex(hex, key));
    c->out->recordings++;
    rc = check_segments(c, key, &r, err);
    if (!rc) rc = check_who(c, key, &r, err);
    if (!rc) rc = check_passages(c, key, &r, err);
    if (!rc && c->schema >= 2) rc = check_index(c, key, &r, err); /* before it there was none */
    es_stored_done(&r);
    return rc;
}

static void check_path(checking *c, es_bytes key, es_bytes value)
{
    es_err note = {0};
    char hex[80], *path = NULL;

    if (es_record_read_path(value, &path, &note)) {
        tell(c, "path %s: %s", key_hex(hex, key), note.text);
        return;
    }
    es_hash128 h = es_hash_bytes(path, strlen(path));
    if (key.n != 24 || memcmp((const uint8_t *)key.p + 8, h.b, sizeof h.b))
        tell(c, "path %s: the key is not the hash of %s", key_hex(hex, key), path);
    else if (!es_inside_has_prefix(c->x, ES_TABLE_RECORDINGS, (es_bytes){key.p, 8}))
        tell(c, "path %s: no recording belongs to %s", key_hex(hex, key), path);
    free(path);
}

static void check_time(checking *c, es_bytes key, es_bytes value)
{
    const uint8_t *p = key.p;
    es_err note = {0};
    es_time t;
    es_bytes found;
    char hex[80];

    if (es_record_read_time(value, &t, &note)) {
        tell(c, "time %s: %s", key_hex(hex, key), note.text);
    } else if (key.n == 11 && p[0] == 'r') {
        if (es_txn_get(c->x, ES_TABLE_RECORDINGS, (es_bytes){p + 1, 10}, &found, NULL))
            tell(c, "time %s: no recording belongs to it", key_hex(hex, key));
    } else if (key.n == 25 && p[0] == 'p') {
        if (es_txn_get(c->x, ES_TABLE_PATHS, (es_bytes){p + 1, 24}, &found, NULL))
            tell(c, "time %s: no path belongs to it", key_hex(hex, key));
    } else {
        tell(c, "time %s: the key is of no known kind", key_hex(hex, key));
    }
}

/* Everything of a recording: its key holds the recording's from byte `at` on. What it says is parsed with its
 * recording. */
static void check_owned(checking *c, const char *what, es_bytes key, size_t at, size_t n)
{
    es_bytes found;
    char hex[80];

    if (key.n != n || es_txn_get(c->x, ES_TABLE_RECORDINGS, (es_bytes){(const uint8_t *)key.p + at, 10}, &found, NULL))
        tell(c, "%s %s: no recording belongs to it", what, key_hex(hex, key));
}

/* Names for voices. */
static void check_people(checking *c, int table, es_bytes key, es_bytes value)
{
    es_err note = {0};
    es_profile person = {.n = 0};
    es_space space;
    es_saying saying;
    es_identity identity;
    uint32_t rules;
    char hex[80];
    int rc = ES_OK;

    switch (table) {
    case ES_TABLE_PEOPLE:
        rc = es_record_read_person(value, &person, &note);
        es_hash128 h = es_person_of(person.name);
        if (!rc && (key.n != sizeof h.b || memcmp(key.p, h.b, sizeof h.b)))
            tell(c, "person %s: the key is not the hash of the name", key_hex(hex, key));
        for (size_t i = 0; i < person.n; i++)
            if (!es_inside_has_prefix(c->x, ES_TABLE_SPACES,
                                      (es_bytes){person.clips[i].space.b, sizeof person.clips[i].space.b}))
                tell(c, "person %s: the model of vector %zu is not known", key_hex(hex, key), i + 1);
        es_profile_done(&person);
        break;
    case ES_TABLE_SPACES:
        rc = es_record_read_space(value, &space, &note);
        if (key.n != sizeof(es_hash128)) tell(c, "space %s: the key is no hash", key_hex(hex, key));
        break;
    case ES_TABLE_SAYINGS:
        rc = es_record_read_saying(value, &saying, &note);
        check_owned(c, "saying", key, 0, 14);
        break;
    default:
        if (key.n == 5 && !memcmp(key.p, "fresh", 5)) {
            rc = es_record_read_derived(value, &rules, &note);
        } else {
            rc = es_record_read_identity(value, &identity, &note);
            check_owned(c, "identity", key, 0, 14);
        }
        break;
    }
    if (rc) tell(c, "%s %s: %s", es_table_name(table), key_hex(hex, key), note.text);
}

/* Its recording need not be there; it must parse, and stand where it says it belongs. */
static void check_journal(checking *c, es_bytes key, es_bytes value)
{
    es_journal_entry e;
    es_err note = {0};
    char hex[80];

    if (es_record_read_journal(value, &e, &note)) {
        tell(c, "journal %s: %s", key_hex(hex, key), note.text);
        return;
    }
    es_key want = es_key_journal((es_hash128){{0}}, 0, (int)e.kind, e.number);
    if (key.n != want.n || memcmp((const uint8_t *)key.p + 10, want.b + 10, want.n - 10))
        tell(c, "journal %s: its entry belongs under another key", key_hex(hex, key));
    es_journal_entry_done(&e);
}

static int check_record(checking *c, int table, es_bytes key, es_bytes value, es_err *err)
{
    es_err note = {0};
    es_library l;
    es_file f;
    char hex[80];

    switch (table) {
    case ES_TABLE_META:
        if (key.n == 6 && !memcmp(key.p, "totals", 6)) break; /* compared at the end */
        if (es_record_read_library(value, &l, &note)) tell(c, "library record %s: %s", key_hex(hex, key), note.text);
        break;
    case ES_TABLE_RECORDINGS: return check_recording(c, key, value, err);
    case ES_TABLE_SEGMENTS: /* parsed with their recording */
        if (key.n != 14 || es_txn_get(c->x, ES_TABLE_RECORDINGS, (es_bytes){key.p, 10}, &value, NULL))
            tell(c, "segment %s: no recording belongs to it", key_hex(hex, key));
        break;
    case ES_TABLE_PASSAGES: check_owned(c, "passage", key, 0, 14); break;
    case ES_TABLE_WHO: check_owned(c, "who", key, 0, 10); break;
    case ES_TABLE_OUTLINES: check_owned(c, "outline", key, 0, 10); break;
    case ES_TABLE_TERMS: check_owned(c, "terms", key, 0, 10); break;
    case ES_TABLE_VECTORS: check_owned(c, "vectors", key, 18, 32); break;
    case ES_TABLE_PATHS: check_path(c, key, value); break;
    case ES_TABLE_FILES:
        if (es_record_read_file(value, &f, &note)) tell(c, "file %s: %s", key_hex(hex, key), note.text);
        break;
    case ES_TABLE_TIMES: check_time(c, key, value); break;
    case ES_TABLE_JOURNAL: check_journal(c, key, value); break;
    case ES_TABLE_PEOPLE:
    case ES_TABLE_SPACES:
    case ES_TABLE_SAYINGS:
    case ES_TABLE_IDENTITIES: check_people(c, table, key, value); break;
    default: break;
    }
    return ES_OK;
}

/* What the whole index holds against what all recordings have in it. */
static int check_totals(checking *c, es_err *err)
{
    es_totals t;
    es_err note = {0};
    int rc = es_index_totals(c->x, &t, &note);

    if (rc == ES_EFORMAT || rc == ES_ENEWER) tell(c, "totals: %s", note.text);
    else if (rc) return es_fail(err, rc, "%s", note.text);
    else if (t.passages != c->totals.passages || t.words != c->totals.words)
        tell(c, "the index counts %llu passages and %llu words, and there are %llu and %llu",
             (unsigned long long)t.passages, (unsigned long long)t.words, (unsigned long long)c->totals.passages,
             (unsigned long long)c->totals.words);
    if (es_txn_count(c->x, ES_TABLE_WORDS) != c->lists)
        tell(c, "the index has %llu lists, and recordings know of %llu",
             (unsigned long long)es_txn_count(c->x, ES_TABLE_WORDS), (unsigned long long)c->lists);
    return ES_OK;
}

int es_store_check(es_store *s, es_check *out, void (*fault)(void *user, const char *sentence), void *user, es_err *err)
{
    checking c = {.out = out, .fault = fault, .user = user, .schema = s->schema};
    int rc = es_inside_begin(s, false, &c.x, err);

    *out = (es_check){0};
    if (rc) return rc;
    rc = es_tables_walk(s->tables, true, fault, user, &out->faults, err);
    if (rc || out->faults) return es_inside_end(s, c.x, rc, err); /* LMDB could not be trusted with such a file */
    for (int table = 0; !rc && table < ES_N_TABLES; table++) {
        es_cursor *cursor = NULL;
        es_bytes key, value;
        uint64_t walked = 0;
        rc = es_cursor_open(&cursor, c.x, table, err);
        if (!rc) rc = es_cursor_seek(cursor, (es_bytes){0}, &key, &value, err);
        while (rc == ES_OK) {
            walked++;
            rc = check_record(&c, table, key, value, err);
            if (!rc) rc = es_cursor_next(cursor, &key, &value, err);
        }
        es_cursor_close(cursor);
        if (rc == ES_ENOTFOUND) rc = ES_OK;
        out->records += walked;
        if (!rc && walked != es_txn_count(c.x, table))
            tell(&c, "the table %s has %llu records and counts %llu", es_table_name(table), (unsigned long long)walked,
                 (unsigned long long)es_txn_count(c.x, table));
    }
    if (!rc && s->schema >= 2) rc = check_totals(&c, err);
    return es_inside_end(s, c.x, rc, err);
}
