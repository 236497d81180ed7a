/*
 * record.c - what a library, a recording, a path, a file and a time are on disk. Their fellows: record_said.c and
 * record_found.c.
 *
 * Each kind has a writer and a reader side by side, in the order of the bytes. Writers always write the newest version.
 * Readers get the version from the header and follow it: a field that came with version 2 is read `if (in.version >=
 * 2)` and otherwise takes the value that version 1 implied. That is all the migration a single record needs; what
 * concerns whole tables is in migrate.c.
 *
 *   recording 1 16 B content; u64 bytes; i32 track, n_tracks; text container, codec; i32 sample_rate, channels;
 *               i64 duration_ms, damaged_packets; u8 truncated; text settings, asr; 16 B asr_hash; text program;
 *               u64 n_segments, n_words, n_tokens, n_text; text language; f32 language_probability
 *   recording 2 recording 1; u8 n, then n x (text name, 16 B hash) makers of the stages after asr; u32 n_passages;
 *               u8 has_who; 16 B space of the passages' vectors, zeros where there are none
 *   path 1      text path
 *   file 1      u64 bytes; i64 mtime_ns; 16 B content
 *   time 1      i64 at_ms; i64 mtime_ns
 *   library 1   u32 schema; text program
 *
 * The checksum finds damage that still parses, such as one letter of a text for another.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "store/field.h"

/* ---- library ---- */

int es_record_write_library(es_record *r, const es_library *l, es_err *err)
{
    es_field_begin(r, ES_RECORD_LIBRARY);
    es_field_put_u32(r, l->schema);
    es_field_put_name(r, l->program, sizeof l->program);
    return es_field_end(r, err);
}

int es_record_read_library(es_bytes b, es_library *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_LIBRARY, err);

    *out = (es_library){0};
    if (rc) return rc;
    out->schema = es_field_get_u32(&in);
    es_field_get_name(&in, out->program, sizeof out->program);
    return es_field_close(&in, err);
}

/* ---- recording ---- */

/* All stages but the speech model's, which stands where version 1 has it. */
static void put_makers(es_record *r, const es_made *made)
{
    es_field_put_u8(r, ES_N_STAGES - 1);
    for (int i = 0; i < ES_N_STAGES; i++) {
        if (i == ES_STAGE_ASR) continue;
        es_field_put_name(r, made->by[i].name, sizeof made->by[i].name);
        es_field_put_bytes(r, made->by[i].hash.b, sizeof made->by[i].hash.b);
    }
}

static void get_makers(es_fields *in, es_made *made)
{
    uint64_t n = es_field_get_le(in, 1);

    es_field_check(in, n == ES_N_STAGES - 1, "it knows other stages");
    for (int i = 0; i < ES_N_STAGES; i++) {
        if (i == ES_STAGE_ASR) continue;
        es_field_get_name(in, made->by[i].name, sizeof made->by[i].name);
        made->by[i].hash = es_field_get_hash(in);
    }
}

int es_record_write_recording(es_record *r, const es_stored *x, es_err *err)
{
    const es_media_info *m = &x->media;
    const es_made *made = &x->made;

    es_field_begin(r, ES_RECORD_RECORDING);
    es_field_put_bytes(r, m->content.b, sizeof m->content.b);
    es_field_put_u64(r, m->bytes);
    es_field_put_i32(r, m->track);
    es_field_put_i32(r, m->n_tracks);
    es_field_put_name(r, m->container, sizeof m->container);
    es_field_put_name(r, m->codec, sizeof m->codec);
    es_field_put_i32(r, m->sample_rate);
    es_field_put_i32(r, m->channels);
    es_field_put_i64(r, m->duration_ms);
    es_field_put_i64(r, m->damaged_packets);
    es_field_put_u8(r, m->truncated ? 1 : 0);
    es_field_put_string(r, made->settings);
    es_field_put_name(r, made->by[ES_STAGE_ASR].name, sizeof made->by[ES_STAGE_ASR].name);
    es_field_put_bytes(r, made->by[ES_STAGE_ASR].hash.b, sizeof made->by[ES_STAGE_ASR].hash.b);
    es_field_put_name(r, made->program, sizeof made->program);
    es_field_put_u64(r, x->n_segments);
    es_field_put_u64(r, x->n_words);
    es_field_put_u64(r, x->n_tokens);
    es_field_put_u64(r, x->n_text);
    es_field_put_name(r, x->language, sizeof x->language);
    es_field_put_f32(r, x->language_probability);
    put_makers(r, made);
    es_field_put_u32(r, x->n_passages);
    es_field_put_u8(r, x->has_who ? 1 : 0);
    es_field_put_bytes(r, x->text_space.b, sizeof x->text_space.b);
    return es_field_end(r, err);
}

static bool get_bool(es_fields *in)
{
    uint64_t v = es_field_get_le(in, 1);

    es_field_check(in, v <= 1, "a yes-or-no in it is neither");
    return v == 1;
}

int es_record_read_recording(es_bytes b, es_stored *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_RECORDING, err);

    *out = (es_stored){0};
    if (rc) return rc;
    out->media.content = es_field_get_hash(&in);
    out->media.bytes = es_field_get_u64(&in);
    out->media.track = es_field_get_i32(&in);
    out->media.n_tracks = es_field_get_i32(&in);
    es_field_get_name(&in, out->media.container, sizeof out->media.container);
    es_field_get_name(&in, out->media.codec, sizeof out->media.codec);
    out->media.sample_rate = es_field_get_i32(&in);
    out->media.channels = es_field_get_i32(&in);
    out->media.duration_ms = es_field_get_i64(&in);
    out->media.damaged_packets = es_field_get_i64(&in);
    out->media.truncated = get_bool(&in);
    out->made.settings = es_field_get_string(&in);
    es_field_get_name(&in, out->made.by[ES_STAGE_ASR].name, sizeof out->made.by[ES_STAGE_ASR].name);
    out->made.by[ES_STAGE_ASR].hash = es_field_get_hash(&in);
    es_field_get_name(&in, out->made.program, sizeof out->made.program);
    out->n_segments = es_field_get_u64(&in);
    out->n_words = es_field_get_u64(&in);
    out->n_tokens = es_field_get_u64(&in);
    out->n_text = es_field_get_u64(&in);
    es_field_get_name(&in, out->language, sizeof out->language);
    out->language_probability = es_field_get_f32(&in);
    if (in.version >= 2) { /* before it there was nothing but a transcript */
        get_makers(&in, &out->made);
        out->n_passages = es_field_get_u32(&in);
        out->has_who = get_bool(&in);
        out->text_space = es_field_get_hash(&in);
    }
    es_field_check(&in, out->media.track >= 0 && out->media.track <= UINT16_MAX, "its track is out of range");
    rc = es_field_close(&in, err);
    if (rc) es_stored_done(out);
    return rc;
}

es_stored es_stored_of(const es_result *x)
{
    const es_transcript *t = &x->transcript;
    const es_diarization *d = &x->who;
    es_stored s = {.media = x->media,
                   .made = x->made,
                   .n_segments = t->n_segments,
                   .n_words = t->n_words,
                   .n_tokens = t->n_tokens,
                   .language_probability = t->language_probability};

    /* Counted, not taken from n_text, so that it is the same for a transcript that was put together another way. */
    for (size_t i = 0; i < t->n_segments; i++) s.n_text += t->segments[i].text_bytes;
    for (size_t i = 0; i < t->n_words; i++) s.n_text += t->words[i].text_bytes;
    memcpy(s.language, t->language, sizeof s.language);
    s.n_passages = (uint32_t)x->passages.n;
    if (x->passages.vectors.n) s.text_space = x->passages.vectors.space;
    s.has_who = d->n_speakers || d->n_turns || d->n_exclusive || d->n_speech;
    return s;
}

void es_stored_done(es_stored *r)
{
    if (!r) return;
    es_media_info_done(&r->media);
    es_made_done(&r->made);
    *r = (es_stored){0};
}

/* ---- path, file, time ---- */

int es_record_write_path(es_record *r, const char *path, es_err *err)
{
    es_field_begin(r, ES_RECORD_PATH);
    es_field_put_string(r, path);
    return es_field_end(r, err);
}

int es_record_read_path(es_bytes b, char **out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_PATH, err);

    *out = NULL;
    if (rc) return rc;
    *out = es_field_get_string(&in);
    rc = es_field_close(&in, err);
    if (rc) {
        free(*out);
        *out = NULL;
    }
    return rc;
}

int es_record_write_file(es_record *r, const es_file *f, es_err *err)
{
    es_field_begin(r, ES_RECORD_FILE);
    es_field_put_u64(r, f->bytes);
    es_field_put_i64(r, f->mtime_ns);
    es_field_put_bytes(r, f->content.b, sizeof f->content.b);
    return es_field_end(r, err);
}

int es_record_read_file(es_bytes b, es_file *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_FILE, err);

    *out = (es_file){0};
    if (rc) return rc;
    out->bytes = es_field_get_u64(&in);
    out->mtime_ns = es_field_get_i64(&in);
    out->content = es_field_get_hash(&in);
    return es_field_close(&in, err);
}

int es_record_write_time(es_record *r, const es_time *t, es_err *err)
{
    es_field_begin(r, ES_RECORD_TIME);
    es_field_put_i64(r, t->at_ms);
    es_field_put_i64(r, t->mtime_ns);
    return es_field_end(r, err);
}

int es_record_read_time(es_bytes b, es_time *out, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_TIME, err);

    *out = (es_time){0};
    if (rc) return rc;
    out->at_ms = es_field_get_i64(&in);
    out->mtime_ns = es_field_get_i64(&in);
    return es_field_close(&in, err);
}
