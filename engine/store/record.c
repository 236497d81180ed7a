/*
 * record.c - records field by field.
 *
 * Each kind has a writer and a reader side by side, in the order of the bytes. Writers always write the newest version.
 * Readers get the version from the header and follow it: a field that came with version 2 is read `if (in.version >=
 * 2)` and otherwise takes the value that version 1 implied. That is all the migration a single record needs; what
 * concerns whole tables is in migrate.c.
 *
 *   segment 1   i64 start, i64 end ms; f32 avg_logprob, no_speech, compression_ratio, temperature; u32 flags;
 *               i32 speaker; text language; text text; u32 n, then n x i32 tokens;
 *               u32 n, then n x (i64 start, i64 end, f32 probability, i32 speaker, text text) words
 *   recording 1 16 B content; u64 bytes; i32 track, n_tracks; text container, codec; i32 sample_rate, channels;
 *               i64 duration_ms, damaged_packets; u8 truncated; text settings, asr; 16 B asr_hash; text program;
 *               u64 n_segments, n_words, n_tokens, n_text; text language; f32 language_probability
 *   path 1      text path
 *   file 1      u64 bytes; i64 mtime_ns; 16 B content
 *   time 1      i64 at_ms; i64 mtime_ns
 *   library 1   u32 schema; text program
 *
 * The checksum finds damage that still parses, such as one letter of a text for another.
 */
#define _POSIX_C_SOURCE 200809L
#include "store/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 8, WORD_BYTES = 28 /* the least that a word takes */, TOKEN_BYTES = 4 };

static const char *kind_text(int kind)
{
    switch (kind) {
#define X(name, number, version, text)                                                                                 \
    case number: return text;
        ES_RECORD_MAP(X)
#undef X
    default: return "unknown";
    }
}

static int kind_version(int kind)
{
    switch (kind) {
#define X(name, number, version, text)                                                                                 \
    case number: return version;
        ES_RECORD_MAP(X)
#undef X
    default: return 0;
    }
}

uint32_t es_record_checksum(const uint8_t *p, size_t n)
{
    es_hash128 h = es_hash_bytes(p + HEADER_BYTES, n - HEADER_BYTES);

    return (uint32_t)h.b[0] | (uint32_t)h.b[1] << 8 | (uint32_t)h.b[2] << 16 | (uint32_t)h.b[3] << 24;
}

/* ---- writing ---- */

static void put_bytes(es_record *r, const void *p, size_t n)
{
    if (r->failed || n == 0) return;
    if (n > r->room - r->n) {
        size_t room = r->room ? r->room : 256;
        uint8_t *moved;
        while (room - r->n < n && room <= SIZE_MAX / 2) room *= 2;
        moved = room - r->n < n ? NULL : realloc(r->p, room);
        if (!moved) {
            r->failed = true;
            return;
        }
        r->p = moved;
        r->room = room;
    }
    memcpy(r->p + r->n, p, n);
    r->n += n;
}

static void put_le(es_record *r, uint64_t v, int n)
{
    uint8_t b[8];

    for (int i = 0; i < n; i++) b[i] = (uint8_t)(v >> 8 * i);
    put_bytes(r, b, (size_t)n);
}

static void put_u8(es_record *r, uint8_t v)
{
    put_le(r, v, 1);
}

static void put_u32(es_record *r, uint32_t v)
{
    put_le(r, v, 4);
}

static void put_i32(es_record *r, int32_t v)
{
    put_le(r, (uint32_t)v, 4);
}

static void put_u64(es_record *r, uint64_t v)
{
    put_le(r, v, 8);
}

static void put_i64(es_record *r, int64_t v)
{
    put_le(r, (uint64_t)v, 8);
}

static void put_f32(es_record *r, float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    put_le(r, u, 4);
}

static void put_text(es_record *r, const char *text, size_t n)
{
    if (n > UINT32_MAX) r->failed = true;
    put_u32(r, (uint32_t)n);
    put_bytes(r, text, n);
}

static void put_string(es_record *r, const char *text)
{
    put_text(r, text ? text : "", text ? strlen(text) : 0);
}

/* A name kept in a fixed array, which may be full and without its NUL. */
static void put_name(es_record *r, const char *text, size_t room)
{
    put_text(r, text, strnlen(text, room - 1));
}

static void begin(es_record *r, int kind)
{
    r->n = 0;
    r->failed = false;
    put_le(r, (uint64_t)kind, 2);
    put_le(r, (uint64_t)kind_version(kind), 2);
    put_u32(r, 0);
}

static int end(es_record *r, es_err *err)
{
    uint32_t sum;

    if (r->failed) return es_fail(err, ES_ENOMEM, "not enough memory to write a record");
    sum = es_record_checksum(r->p, r->n);
    for (int i = 0; i < 4; i++) r->p[4 + i] = (uint8_t)(sum >> 8 * i);
    return ES_OK;
}

/* ---- reading ---- */

typedef struct input {
    const uint8_t *p;
    size_t n, at;
    int kind, version;
    const char *fault; /* the first thing that was wrong */
} input;

static size_t left(const input *in)
{
    return in->n - in->at;
}

static const uint8_t *get_bytes(input *in, size_t n)
{
    const uint8_t *p = in->p + in->at;

    if (in->fault) return NULL;
    if (n > left(in)) {
        in->fault = "it is cut short";
        return NULL;
    }
    in->at += n;
    return p;
}

static uint64_t get_le(input *in, int n)
{
    const uint8_t *p = get_bytes(in, (size_t)n);
    uint64_t v = 0;

    for (int i = 0; p && i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint32_t get_u32(input *in)
{
    return (uint32_t)get_le(in, 4);
}

static int32_t get_i32(input *in)
{
    uint32_t u = get_u32(in);
    int32_t v;

    memcpy(&v, &u, sizeof v);
    return v;
}

static uint64_t get_u64(input *in)
{
    return get_le(in, 8);
}

static int64_t get_i64(input *in)
{
    uint64_t u = get_u64(in);
    int64_t v;

    memcpy(&v, &u, sizeof v);
    return v;
}

static float get_f32(input *in)
{
    uint32_t u = get_u32(in);
    float v;

    memcpy(&v, &u, sizeof v);
    return v;
}

static es_hash128 get_hash(input *in)
{
    es_hash128 h = {{0}};
    const uint8_t *p = get_bytes(in, sizeof h.b);

    if (p) memcpy(h.b, p, sizeof h.b);
    return h;
}

static es_bytes get_text(input *in)
{
    uint32_t n = get_u32(in);
    const uint8_t *p = get_bytes(in, n);

    return (es_bytes){.p = p, .n = p ? n : 0};
}

/* A text that becomes a C string of its own; NULL on a fault. */
static char *get_string(input *in)
{
    es_bytes b = get_text(in);
    char *s;

    if (in->fault) return NULL;
    if (b.n && memchr(b.p, 0, b.n)) {
        in->fault = "a name in it holds a NUL";
        return NULL;
    }
    s = malloc(b.n + 1);
    if (!s) {
        in->fault = "there is not enough memory";
        return NULL;
    }
    if (b.n) memcpy(s, b.p, b.n);
    s[b.n] = 0;
    return s;
}

static void get_name(input *in, char *out, size_t room)
{
    es_bytes b = get_text(in);

    if (in->fault) return;
    if (b.n >= room || (b.n && memchr(b.p, 0, b.n))) {
        in->fault = "a name in it is too long";
        return;
    }
    if (b.n) memcpy(out, b.p, b.n);
    out[b.n] = 0;
}

/* How many items of at least item_bytes follow: never more than the bytes left can hold. */
static uint32_t get_count(input *in, size_t item_bytes)
{
    uint32_t n = get_u32(in);

    if (!in->fault && n > left(in) / item_bytes) in->fault = "it counts more items than it has bytes for";
    return in->fault ? 0 : n;
}

static void check(input *in, bool holds, const char *fault)
{
    if (!in->fault && !holds) in->fault = fault;
}

static int open_record(input *in, es_bytes b, int kind, es_err *err)
{
    int found;
    uint32_t sum;

    *in = (input){.p = b.p, .n = b.n, .kind = kind};
    found = (int)get_le(in, 2);
    in->version = (int)get_le(in, 2);
    sum = get_u32(in);
    if (in->fault)
        return es_fail(err, ES_EFORMAT, "a %s record has %zu bytes, fewer than its header", kind_text(kind), b.n);
    if (found != kind)
        return es_fail(err, ES_EFORMAT, "a %s record (%d) stands where a %s record (%d) belongs", kind_text(found),
                       found, kind_text(kind), kind);
    if (in->version > kind_version(kind))
        return es_fail(err, ES_ENEWER, "a %s record has version %d, this program knows up to %d: use the newer program",
                       kind_text(kind), in->version, kind_version(kind));
    if (in->version < 1) return es_fail(err, ES_EFORMAT, "a %s record has version 0", kind_text(kind));
    if (sum != es_record_checksum(b.p, b.n))
        return es_fail(err, ES_EFORMAT, "a %s record is damaged: its checksum is %08x, its bytes give %08x",
                       kind_text(kind), (unsigned)sum, (unsigned)es_record_checksum(b.p, b.n));
    return ES_OK;
}

static int close_record(input *in, es_err *err)
{
    check(in, left(in) == 0, "it has bytes left over");
    if (!in->fault) return ES_OK;
    return es_fail(err, ES_EFORMAT, "a %s record does not parse at byte %zu of %zu: %s", kind_text(in->kind), in->at,
                   in->n, in->fault);
}

/* ---- library ---- */

int es_record_write_library(es_record *r, const es_library *l, es_err *err)
{
    begin(r, ES_RECORD_LIBRARY);
    put_u32(r, l->schema);
    put_name(r, l->program, sizeof l->program);
    return end(r, err);
}

int es_record_read_library(es_bytes b, es_library *out, es_err *err)
{
    input in;
    int rc = open_record(&in, b, ES_RECORD_LIBRARY, err);

    *out = (es_library){0};
    if (rc) return rc;
    out->schema = get_u32(&in);
    get_name(&in, out->program, sizeof out->program);
    return close_record(&in, err);
}

/* ---- recording ---- */

int es_record_write_recording(es_record *r, const es_result *x, es_err *err)
{
    const es_media_info *m = &x->media;
    const es_made *made = &x->made;
    const es_transcript *t = &x->transcript;
    uint64_t n_text = 0;

    /* Counted, not taken from n_text, so that it is the same for a transcript that was put together another way. */
    for (size_t i = 0; i < t->n_segments; i++) n_text += t->segments[i].text_bytes;
    for (size_t i = 0; i < t->n_words; i++) n_text += t->words[i].text_bytes;
    begin(r, ES_RECORD_RECORDING);
    put_bytes(r, m->content.b, sizeof m->content.b);
    put_u64(r, m->bytes);
    put_i32(r, m->track);
    put_i32(r, m->n_tracks);
    put_name(r, m->container, sizeof m->container);
    put_name(r, m->codec, sizeof m->codec);
    put_i32(r, m->sample_rate);
    put_i32(r, m->channels);
    put_i64(r, m->duration_ms);
    put_i64(r, m->damaged_packets);
    put_u8(r, m->truncated ? 1 : 0);
    put_string(r, made->settings);
    put_name(r, made->by[ES_STAGE_ASR].name, sizeof made->by[ES_STAGE_ASR].name);
    put_bytes(r, made->by[ES_STAGE_ASR].hash.b, sizeof made->by[ES_STAGE_ASR].hash.b);
    put_name(r, made->program, sizeof made->program);
    put_u64(r, t->n_segments);
    put_u64(r, t->n_words);
    put_u64(r, t->n_tokens);
    put_u64(r, n_text);
    put_name(r, t->language, sizeof t->language);
    put_f32(r, t->language_probability);
    return end(r, err);
}

int es_record_read_recording(es_bytes b, es_stored *out, es_err *err)
{
    input in;
    uint64_t truncated;
    int rc = open_record(&in, b, ES_RECORD_RECORDING, err);

    *out = (es_stored){0};
    if (rc) return rc;
    out->media.content = get_hash(&in);
    out->media.bytes = get_u64(&in);
    out->media.track = get_i32(&in);
    out->media.n_tracks = get_i32(&in);
    get_name(&in, out->media.container, sizeof out->media.container);
    get_name(&in, out->media.codec, sizeof out->media.codec);
    out->media.sample_rate = get_i32(&in);
    out->media.channels = get_i32(&in);
    out->media.duration_ms = get_i64(&in);
    out->media.damaged_packets = get_i64(&in);
    truncated = get_le(&in, 1);
    check(&in, truncated <= 1, "a yes-or-no in it is neither");
    out->media.truncated = truncated == 1;
    out->made.settings = get_string(&in);
    get_name(&in, out->made.by[ES_STAGE_ASR].name, sizeof out->made.by[ES_STAGE_ASR].name);
    out->made.by[ES_STAGE_ASR].hash = get_hash(&in);
    get_name(&in, out->made.program, sizeof out->made.program);
    out->n_segments = get_u64(&in);
    out->n_words = get_u64(&in);
    out->n_tokens = get_u64(&in);
    out->n_text = get_u64(&in);
    get_name(&in, out->language, sizeof out->language);
    out->language_probability = get_f32(&in);
    check(&in, out->media.track >= 0 && out->media.track <= UINT16_MAX, "its track is out of range");
    rc = close_record(&in, err);
    if (rc) es_stored_done(out);
    return rc;
}

void es_stored_done(es_stored *r)
{
    if (!r) return;
    es_media_info_done(&r->media);
    es_made_done(&r->made);
    *r = (es_stored){0};
}

/* ---- segment ---- */

int es_record_write_segment(es_record *r, const es_transcript *t, size_t segment, es_err *err)
{
    const es_segment *s;

    assert(segment < t->n_segments);
    s = &t->segments[segment];
    if ((uint64_t)s->first_token + s->n_tokens > t->n_tokens || (uint64_t)s->first_word + s->n_words > t->n_words ||
        (uint64_t)s->text_at + s->text_bytes > t->n_text)
        return es_fail(err, ES_EARG, "segment %zu points past the end of its transcript", segment);
    begin(r, ES_RECORD_SEGMENT);
    put_i64(r, s->start_ms);
    put_i64(r, s->end_ms);
    put_f32(r, s->avg_logprob);
    put_f32(r, s->no_speech);
    put_f32(r, s->compression_ratio);
    put_f32(r, s->temperature);
    put_u32(r, s->flags);
    put_i32(r, s->speaker);
    put_name(r, s->language, sizeof s->language);
    put_text(r, t->text + s->text_at, s->text_bytes);
    put_u32(r, s->n_tokens);
    for (uint32_t i = 0; i < s->n_tokens; i++) put_i32(r, t->tokens[s->first_token + i]);
    put_u32(r, s->n_words);
    for (uint32_t i = 0; i < s->n_words; i++) {
        const es_word *w = &t->words[s->first_word + i];
        if ((uint64_t)w->text_at + w->text_bytes > t->n_text)
            return es_fail(err, ES_EARG, "word %u of segment %zu points past the end of its transcript", i, segment);
        put_i64(r, w->start_ms);
        put_i64(r, w->end_ms);
        put_f32(r, w->probability);
        put_i32(r, w->speaker);
        put_text(r, t->text + w->text_at, w->text_bytes);
    }
    return end(r, err);
}

/* Walks the words once without keeping them, so that nothing is appended unless all of it parses. */
static void skip_words(input *in)
{
    uint32_t n = get_count(in, WORD_BYTES);

    for (uint32_t i = 0; i < n && !in->fault; i++) {
        get_bytes(in, WORD_BYTES - 4);
        get_text(in);
    }
}

static int add_words(input *in, es_transcript *out)
{
    uint32_t n = get_count(in, WORD_BYTES);

    for (uint32_t i = 0; i < n; i++) {
        es_word w = {.start_ms = get_i64(in), .end_ms = 0};
        w.end_ms = get_i64(in);
        w.probability = get_f32(in);
        w.speaker = get_i32(in);
        es_bytes text = get_text(in);
        if (es_transcript_add_word(out, &w, text.p, text.n)) return -1;
    }
    return 0;
}

int es_record_read_segment(es_bytes b, es_transcript *out, es_err *err)
{
    input in;
    es_segment s = {0};
    es_bytes text;
    uint32_t n_tokens;
    int32_t *tokens = NULL;
    size_t had_segments = out->n_segments, had_words = out->n_words, had_tokens = out->n_tokens, had_text = out->n_text;
    size_t words_at;
    int rc = open_record(&in, b, ES_RECORD_SEGMENT, err);

    if (rc) return rc;
    s.start_ms = get_i64(&in);
    s.end_ms = get_i64(&in);
    s.avg_logprob = get_f32(&in);
    s.no_speech = get_f32(&in);
    s.compression_ratio = get_f32(&in);
    s.temperature = get_f32(&in);
    s.flags = get_u32(&in);
    s.speaker = get_i32(&in);
    get_name(&in, s.language, sizeof s.language);
    text = get_text(&in);
    n_tokens = get_count(&in, TOKEN_BYTES);
    if (n_tokens) {
        tokens = malloc(n_tokens * sizeof *tokens);
        check(&in, tokens != NULL, "there is not enough memory");
        for (uint32_t i = 0; i < n_tokens && tokens; i++) tokens[i] = get_i32(&in);
    }
    words_at = in.at;
    skip_words(&in);
    rc = close_record(&in, err);
    if (rc) goto out;
    in.at = words_at;
    if (es_transcript_add_segment(out, &s, text.p, text.n, tokens, n_tokens) || add_words(&in, out)) {
        out->n_segments = had_segments;
        out->n_words = had_words;
        out->n_tokens = had_tokens;
        out->n_text = had_text;
        rc = es_fail(err, ES_ENOMEM, "not enough memory for a transcript of %zu segments", had_segments);
    }
out:
    free(tokens);
    return rc;
}

/* ---- path, file, time ---- */

int es_record_write_path(es_record *r, const char *path, es_err *err)
{
    begin(r, ES_RECORD_PATH);
    put_string(r, path);
    return end(r, err);
}

int es_record_read_path(es_bytes b, char **out, es_err *err)
{
    input in;
    int rc = open_record(&in, b, ES_RECORD_PATH, err);

    *out = NULL;
    if (rc) return rc;
    *out = get_string(&in);
    rc = close_record(&in, err);
    if (rc) {
        free(*out);
        *out = NULL;
    }
    return rc;
}

int es_record_write_file(es_record *r, const es_file *f, es_err *err)
{
    begin(r, ES_RECORD_FILE);
    put_u64(r, f->bytes);
    put_i64(r, f->mtime_ns);
    put_bytes(r, f->content.b, sizeof f->content.b);
    return end(r, err);
}

int es_record_read_file(es_bytes b, es_file *out, es_err *err)
{
    input in;
    int rc = open_record(&in, b, ES_RECORD_FILE, err);

    *out = (es_file){0};
    if (rc) return rc;
    out->bytes = get_u64(&in);
    out->mtime_ns = get_i64(&in);
    out->content = get_hash(&in);
    return close_record(&in, err);
}

int es_record_write_time(es_record *r, const es_time *t, es_err *err)
{
    begin(r, ES_RECORD_TIME);
    put_i64(r, t->at_ms);
    put_i64(r, t->mtime_ns);
    return end(r, err);
}

int es_record_read_time(es_bytes b, es_time *out, es_err *err)
{
    input in;
    int rc = open_record(&in, b, ES_RECORD_TIME, err);

    *out = (es_time){0};
    if (rc) return rc;
    out->at_ms = get_i64(&in);
    out->mtime_ns = get_i64(&in);
    return close_record(&in, err);
}
