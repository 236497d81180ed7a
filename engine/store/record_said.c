/*
 * record_said.c - what was said, by whom, and how it is cut into passages.
 *
 *   segment 1   i64 start, i64 end ms; f32 avg_logprob, no_speech, compression_ratio, temperature; u32 flags;
 *               i32 speaker; text language; text text; u32 n, then n x i32 tokens;
 *               u32 n, then n x (i64 start, i64 end, f32 probability, i32 speaker, text text) words
 *   who 1       u32 n speakers, then n x i64 alone_ms; u32 n, then n x (i64 start, i64 end, i32 speaker) turns; the
 * same for the exclusive ones; u32 n, then n x (i64 start, i64 end) speech; 16 B space of the centers, u32 n centers;
 * 16 B space of the voices, u32 n voices passage 1   i64 start, i64 end ms; i32 speaker; u32 first_segment, n_segments;
 * text language; text text
 *
 * Vectors are not part of these records: they have a table of their own, in the order in which a search reads them.
 */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/field.h"

enum { WORD_BYTES = 28 /* the least that a word takes */, TOKEN_BYTES = 4, TURN_BYTES = 20, HEARD_BYTES = 16 };

/* ---- segment ---- */

int es_record_write_segment(es_record *r, const es_transcript *t, size_t segment, es_err *err)
{
    const es_segment *s;

    assert(segment < t->n_segments);
    s = &t->segments[segment];
    if ((uint64_t)s->first_token + s->n_tokens > t->n_tokens || (uint64_t)s->first_word + s->n_words > t->n_words ||
        (uint64_t)s->text_at + s->text_bytes > t->n_text)
        return es_fail(err, ES_EARG, "segment %zu points past the end of its transcript", segment);
    es_field_begin(r, ES_RECORD_SEGMENT);
    es_field_put_i64(r, s->start_ms);
    es_field_put_i64(r, s->end_ms);
    es_field_put_f32(r, s->avg_logprob);
    es_field_put_f32(r, s->no_speech);
    es_field_put_f32(r, s->compression_ratio);
    es_field_put_f32(r, s->temperature);
    es_field_put_u32(r, s->flags);
    es_field_put_i32(r, s->speaker);
    es_field_put_name(r, s->language, sizeof s->language);
    es_field_put_text(r, t->text + s->text_at, s->text_bytes);
    es_field_put_u32(r, s->n_tokens);
    for (uint32_t i = 0; i < s->n_tokens; i++) es_field_put_i32(r, t->tokens[s->first_token + i]);
    es_field_put_u32(r, s->n_words);
    for (uint32_t i = 0; i < s->n_words; i++) {
        const es_word *w = &t->words[s->first_word + i];
        if ((uint64_t)w->text_at + w->text_bytes > t->n_text)
            return es_fail(err, ES_EARG, "word %u of segment %zu points past the end of its transcript", i, segment);
        es_field_put_i64(r, w->start_ms);
        es_field_put_i64(r, w->end_ms);
        es_field_put_f32(r, w->probability);
        es_field_put_i32(r, w->speaker);
        es_field_put_text(r, t->text + w->text_at, w->text_bytes);
    }
    return es_field_end(r, err);
}

/* Walks the words once without keeping them, so that nothing is appended unless all of it parses. */
static void skip_words(es_fields *in)
{
    uint32_t n = es_field_get_count(in, WORD_BYTES);

    for (uint32_t i = 0; i < n && !in->fault; i++) {
        es_field_get_bytes(in, WORD_BYTES - 4);
        es_field_get_text(in);
    }
}

static int add_words(es_fields *in, es_transcript *out)
{
    uint32_t n = es_field_get_count(in, WORD_BYTES);

    for (uint32_t i = 0; i < n; i++) {
        es_word w = {.start_ms = es_field_get_i64(in), .end_ms = 0};
        w.end_ms = es_field_get_i64(in);
        w.probability = es_field_get_f32(in);
        w.speaker = es_field_get_i32(in);
        es_bytes text = es_field_get_text(in);
        if (es_transcript_add_word(out, &w, text.p, text.n)) return -1;
    }
    return 0;
}

int es_record_read_segment(es_bytes b, es_transcript *out, es_err *err)
{
    es_fields in;
    es_segment s = {0};
    es_bytes text;
    uint32_t n_tokens;
    int32_t *tokens = NULL;
    size_t had_segments = out->n_segments, had_words = out->n_words, had_tokens = out->n_tokens, had_text = out->n_text;
    size_t words_at;
    int rc = es_field_open(&in, b, ES_RECORD_SEGMENT, err);

    if (rc) return rc;
    s.start_ms = es_field_get_i64(&in);
    s.end_ms = es_field_get_i64(&in);
    s.avg_logprob = es_field_get_f32(&in);
    s.no_speech = es_field_get_f32(&in);
    s.compression_ratio = es_field_get_f32(&in);
    s.temperature = es_field_get_f32(&in);
    s.flags = es_field_get_u32(&in);
    s.speaker = es_field_get_i32(&in);
    es_field_get_name(&in, s.language, sizeof s.language);
    text = es_field_get_text(&in);
    n_tokens = es_field_get_count(&in, TOKEN_BYTES);
    if (n_tokens) {
        tokens = malloc(n_tokens * sizeof *tokens);
        es_field_check(&in, tokens != NULL, "there is not enough memory");
        for (uint32_t i = 0; i < n_tokens && tokens; i++) tokens[i] = es_field_get_i32(&in);
    }
    words_at = in.at;
    skip_words(&in);
    rc = es_field_close(&in, err);
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

/* ---- who ---- */

static void put_turns(es_record *r, const es_spoken *t, size_t n)
{
    es_field_put_u32(r, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        es_field_put_i64(r, t[i].start_ms);
        es_field_put_i64(r, t[i].end_ms);
        es_field_put_i32(r, t[i].speaker);
    }
}

static bool known_speakers(const es_spoken *t, size_t n, int n_speakers)
{
    for (size_t i = 0; i < n; i++)
        if (t[i].speaker < 0 || t[i].speaker >= n_speakers) return false;
    return true;
}

int es_record_write_who(es_record *r, const es_diarization *d, es_err *err)
{
    if (d->n_speakers < 0 || !known_speakers(d->turns, d->n_turns, d->n_speakers) ||
        !known_speakers(d->exclusive, d->n_exclusive, d->n_speakers))
        return es_fail(err, ES_EARG, "a turn names a speaker outside 0 .. %d", d->n_speakers - 1);
    if (d->n_turns > UINT32_MAX || d->n_exclusive > UINT32_MAX || d->n_speech > UINT32_MAX)
        return es_fail(err, ES_EARG, "%zu turns are more than a record holds", d->n_turns);
    es_field_begin(r, ES_RECORD_WHO);
    es_field_put_u32(r, (uint32_t)d->n_speakers);
    for (int i = 0; i < d->n_speakers; i++) es_field_put_i64(r, d->alone_ms ? d->alone_ms[i] : 0);
    put_turns(r, d->turns, d->n_turns);
    put_turns(r, d->exclusive, d->n_exclusive);
    es_field_put_u32(r, (uint32_t)d->n_speech);
    for (size_t i = 0; i < d->n_speech; i++) {
        es_field_put_i64(r, d->speech[i].start_ms);
        es_field_put_i64(r, d->speech[i].end_ms);
    }
    es_field_put_bytes(r, d->centers.space.b, sizeof d->centers.space.b);
    es_field_put_u32(r, (uint32_t)d->centers.n);
    es_field_put_bytes(r, d->voices.space.b, sizeof d->voices.space.b);
    es_field_put_u32(r, (uint32_t)d->voices.n);
    return es_field_end(r, err);
}

/* Room for n items; NULL for none, and on a fault. */
static void *room_for(es_fields *in, uint32_t n, size_t bytes)
{
    void *p = n ? malloc(n * bytes) : NULL;

    es_field_check(in, p || !n, "there is not enough memory");
    return p;
}

static es_spoken *get_turns(es_fields *in, size_t *n, int n_speakers)
{
    uint32_t count = es_field_get_count(in, TURN_BYTES);
    es_spoken *t = room_for(in, count, sizeof *t);

    for (uint32_t i = 0; t && i < count; i++) {
        t[i].start_ms = es_field_get_i64(in);
        t[i].end_ms = es_field_get_i64(in);
        t[i].speaker = es_field_get_i32(in);
        es_field_check(in, t[i].speaker >= 0 && t[i].speaker < n_speakers, "a turn in it names no speaker of it");
    }
    *n = t ? count : 0;
    return t;
}

int es_record_read_who(es_bytes b, es_diarization *out, es_who_counts *counts, es_err *err)
{
    es_fields in;
    uint32_t n;
    int rc = es_field_open(&in, b, ES_RECORD_WHO, err);

    *out = (es_diarization){0};
    *counts = (es_who_counts){0};
    if (rc) return rc;
    n = es_field_get_count(&in, sizeof(int64_t));
    es_field_check(&in, n <= INT32_MAX, "it has too many speakers");
    out->alone_ms = room_for(&in, in.fault ? 0 : n, sizeof *out->alone_ms);
    for (uint32_t i = 0; out->alone_ms && i < n; i++) out->alone_ms[i] = es_field_get_i64(&in);
    out->n_speakers = in.fault ? 0 : (int)n;
    out->turns = get_turns(&in, &out->n_turns, out->n_speakers);
    out->exclusive = get_turns(&in, &out->n_exclusive, out->n_speakers);
    n = es_field_get_count(&in, HEARD_BYTES);
    out->speech = room_for(&in, n, sizeof *out->speech);
    for (uint32_t i = 0; out->speech && i < n; i++) {
        out->speech[i].start_ms = es_field_get_i64(&in);
        out->speech[i].end_ms = es_field_get_i64(&in);
    }
    out->n_speech = out->speech ? n : 0;
    out->centers.space = es_field_get_hash(&in);
    counts->centers = es_field_get_u32(&in);
    out->voices.space = es_field_get_hash(&in);
    counts->voices = es_field_get_u32(&in);
    rc = es_field_close(&in, err);
    if (rc) es_diarization_done(out);
    return rc;
}

/* ---- passage ---- */

int es_record_write_passage(es_record *r, const es_passages *all, size_t passage, es_err *err)
{
    const es_passage *p;

    assert(passage < all->n);
    p = &all->at[passage];
    if ((uint64_t)p->text_at + p->text_bytes > all->n_text)
        return es_fail(err, ES_EARG, "passage %zu points past the end of its text", passage);
    es_field_begin(r, ES_RECORD_PASSAGE);
    es_field_put_i64(r, p->start_ms);
    es_field_put_i64(r, p->end_ms);
    es_field_put_i32(r, p->speaker);
    es_field_put_u32(r, p->first_segment);
    es_field_put_u32(r, p->n_segments);
    es_field_put_name(r, p->language, sizeof p->language);
    es_field_put_text(r, all->text ? all->text + p->text_at : "", p->text_bytes);
    return es_field_end(r, err);
}

int es_record_read_passage(es_bytes b, es_passage *out, es_bytes *text, es_err *err)
{
    es_fields in;
    int rc = es_field_open(&in, b, ES_RECORD_PASSAGE, err);

    *out = (es_passage){0};
    *text = (es_bytes){0};
    if (rc) return rc;
    out->start_ms = es_field_get_i64(&in);
    out->end_ms = es_field_get_i64(&in);
    out->speaker = es_field_get_i32(&in);
    out->first_segment = es_field_get_u32(&in);
    out->n_segments = es_field_get_u32(&in);
    es_field_get_name(&in, out->language, sizeof out->language);
    *text = es_field_get_text(&in);
    out->text_bytes = (uint32_t)text->n;
    return es_field_close(&in, err);
}
