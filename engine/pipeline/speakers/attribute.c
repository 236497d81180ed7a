/*
 * attribute.c - see attribute.h. A new transcript is built beside the old one and takes its place in the end: cutting a
 * segment moves everything behind it.
 *
 * A cut can be taken back without a note of it. The speech model opens every segment with a timestamp, and a timestamp spells
 * nothing and so never begins a later part; the first part has the segment's start, the last one its end, and both together
 * its tokens, whose bytes are its text.
 */
#include "pipeline/speakers/attribute.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/account.h"
#include "speech/said.h"
#include "text/unicode.h"

static bool ends_sentence(const char *text, size_t n)
{
    int32_t last = 0, before = 0;

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        if (es_unicode_is_space(c)) continue;
        before = last;
        last = c;
    }
    if (last == '"' || last == '\'' || last == ')' || last == 0x201D || last == 0x2019 || last == 0xBB || last == 0x300D) last = before;
    return last == '.' || last == '?' || last == '!' || last == 0x2026 || last == 0x3002 || last == 0xFF0E || last == 0xFF1F || last == 0xFF01;
}

/* Everything that gets a speaker: words, and segments without any. */
static es_said *gather(const es_transcript *t, size_t *n)
{
    es_said *all = malloc((t->n_words + t->n_segments + 1) * sizeof *all);

    *n = 0;
    for (size_t i = 0; i < t->n_segments && all; i++) {
        const es_segment *s = &t->segments[i];
        if (!s->n_words)
            all[(*n)++] = (es_said){s->start_ms, s->end_ms, ends_sentence(t->text + s->text_at, s->text_bytes), -1, false};
        for (uint32_t k = 0; k < s->n_words; k++) {
            const es_word *w = &t->words[s->first_word + k];
            all[(*n)++] = (es_said){w->start_ms, w->end_ms, ends_sentence(t->text + w->text_at, w->text_bytes), -1, false};
        }
    }
    return all;
}

/* How many of a segment's tokens, from `at` on, spell `bytes` bytes; what spells nothing goes with what is before it. A
 * token that reaches over the end belongs to the part it begins in. */
static uint32_t tokens_for(const es_bpe *b, const int32_t *tokens, uint32_t at, uint32_t n, size_t bytes)
{
    uint32_t to = at;

    for (size_t spelt = 0; to < n; to++) {
        size_t k;
        es_bpe_bytes(b, tokens[to], &k);
        if (k && spelt >= bytes) break;
        spelt += k;
    }
    return to - at;
}

/* Segment s of `from`, whose words have the speakers said[], becomes one or more of `to`. */
static int add_parts(es_transcript *to, const es_transcript *from, const es_segment *s, const es_said *said, const es_bpe *b)
{
    const int32_t *tokens = from->tokens + s->first_token;
    uint32_t token = 0;

    for (uint32_t first = 0, end; first < s->n_words || first == 0; first = end) {
        es_segment part = *s;
        const es_word *w = s->n_words ? &from->words[s->first_word + first] : NULL;
        const char *text = from->text + s->text_at;
        char *joined = NULL;
        size_t bytes = 0, at = 0;
        bool last;
        for (end = first + 1; end < s->n_words && said[end].speaker == said[first].speaker;) end++;
        last = end >= s->n_words;
        part.speaker = said[first].speaker;
        if (first) part.start_ms = w->start_ms;
        if (!last) part.end_ms = w[end - first - 1].end_ms > part.start_ms ? w[end - first - 1].end_ms : part.start_ms;
        if (part.end_ms < part.start_ms) part.end_ms = part.start_ms;
        if (first || !last) {
            for (uint32_t k = first; k < end; k++) bytes += w[k - first].text_bytes;
            joined = malloc(bytes + 1);
            for (uint32_t k = first; k < end && joined; at += w[k - first].text_bytes, k++)
                memcpy(joined + at, from->text + w[k - first].text_at, w[k - first].text_bytes);
            if (!joined) return -1;
            text = joined;
        } else {
            bytes = s->text_bytes;
        }
        uint32_t n = last ? s->n_tokens - token : tokens_for(b, tokens, token, s->n_tokens, bytes);
        int rc = es_transcript_add_segment(to, &part, text, bytes, tokens + token, n);
        free(joined);
        token += n;
        for (uint32_t k = first; k < end && k < s->n_words && !rc; k++) {
            es_word word = w[k - first];
            word.speaker = said[k].speaker;
            rc = es_transcript_add_word(to, &word, from->text + word.text_at, word.text_bytes);
        }
        if (rc) return rc;
    }
    return 0;
}

int es_attribute(es_transcript *t, const es_diarization *who, const es_bpe *b, es_err *err)
{
    es_transcript to = {.language_probability = t->language_probability};
    size_t n = 0, at = 0;
    es_work work = {0};
    es_said *said;
    int rc;

    if (!who->n_speakers || !who->n_exclusive || !t->n_segments) return ES_OK;
    said = gather(t, &n);
    rc = said ? es_account_work(&work, es_said_bytes(n, who->n_speakers)) : -1;
    if (!rc) es_said_by(said, n, who->exclusive, who->n_exclusive, who->n_speakers, &work);
    es_account_free(&work);
    memcpy(to.language, t->language, sizeof to.language);
    for (size_t i = 0; i < t->n_segments && !rc; i++) {
        const es_segment *s = &t->segments[i];
        rc = add_parts(&to, t, s, said + at, b);
        at += s->n_words ? s->n_words : 1;
    }
    free(said);
    if (rc) {
        es_transcript_done(&to);
        return es_fail(err, ES_ENOMEM, "not enough memory to say who said %zu words", t->n_words);
    }
    es_transcript_done(t);
    *t = to;
    return ES_OK;
}

/* ---- and back ---- */

/* Whether a segment's tokens begin with one that spells something: then they are the rest of another segment's, or unknown. */
static bool begins_inside(const es_bpe *b, const es_transcript *t, const es_segment *s)
{
    size_t bytes = 0;

    if (s->n_tokens) es_bpe_bytes(b, t->tokens[s->first_token], &bytes);
    return !s->n_tokens || bytes > 0;
}

/* How many segments from i on were one. */
static size_t parts_of(const es_bpe *b, const es_transcript *t, size_t i)
{
    const es_segment *s = t->segments;
    size_t n = 1;

    if (begins_inside(b, t, &s[i]) || !s[i].n_words) return 1;
    for (; i + n < t->n_segments; n++) {
        const es_segment *before = &s[i + n - 1], *next = &s[i + n];
        if (!next->n_words || next->speaker == before->speaker || !begins_inside(b, t, next)) break;
    }
    return n;
}

/* What the tokens of segments i .. i + n - 1 spell; the caller frees. NULL without memory. */
static char *spelt_by(const es_bpe *b, const es_transcript *t, size_t i, size_t n, size_t *bytes)
{
    const es_segment *first = &t->segments[i], *last = first + n - 1;
    const int32_t *tokens = t->tokens + first->first_token;
    size_t n_tokens = last->first_token + last->n_tokens - first->first_token;

    *bytes = es_bpe_decode(b, tokens, n_tokens, INT_MAX, NULL, 0);
    char *text = malloc(*bytes + 1);
    if (text) es_bpe_decode(b, tokens, n_tokens, INT_MAX, text, *bytes);
    return text;
}

/* Whether b spells the text that is there: 1, 0, or -1 without memory. Segments that were cut were made of their words: where
 * a word begins inside a character, or takes a sign from the segment behind, they have other bytes than their tokens. So
 * they say something only where there is no other. */
static int spells(const es_bpe *b, const es_transcript *t)
{
    size_t whole = 0, others = 0;

    for (size_t i = 0, n; i < t->n_segments; i += n) {
        const es_segment *s = &t->segments[i];
        size_t bytes, at = 0;
        n = parts_of(b, t, i);
        if (n == 1 && !s->n_tokens) continue;
        char *text = spelt_by(b, t, i, n, &bytes);
        if (!text) return -1;
        bool same = true;
        for (size_t k = 0; k < n && same; at += s[k].text_bytes, k++)
            same = at + s[k].text_bytes <= bytes && !memcmp(text + at, t->text + s[k].text_at, s[k].text_bytes);
        same = same && at == bytes;
        free(text);
        if (!same && n == 1) return 0;
        whole += n == 1, others += !same;
    }
    return whole || !others;
}

/* Segments i .. i + n - 1 of `from` become one of `to`, with the text that its tokens spell. */
static int join(es_transcript *to, const es_transcript *from, size_t i, size_t n, const es_bpe *b)
{
    const es_segment *parts = from->segments + i, *last = parts + n - 1;
    const int32_t *tokens = from->tokens + parts->first_token;
    es_segment whole = *parts;
    size_t bytes = parts->text_bytes;
    char *text = n > 1 ? spelt_by(b, from, i, n, &bytes) : NULL;
    int rc = n > 1 && !text ? -1 : 0;

    whole.speaker = -1;
    whole.end_ms = last->end_ms;
    if (!rc)
        rc = es_transcript_add_segment(to, &whole, text ? text : from->text + parts->text_at, bytes, tokens,
                                       last->first_token + last->n_tokens - parts->first_token);
    free(text);
    for (size_t k = 0; k < n && !rc; k++)
        for (uint32_t j = 0; j < parts[k].n_words && !rc; j++) {
            es_word word = from->words[parts[k].first_word + j];
            word.speaker = -1;
            rc = es_transcript_add_word(to, &word, from->text + word.text_at, word.text_bytes);
        }
    return rc;
}

int es_attribute_undo(es_transcript *t, const es_bpe *b, bool same, es_err *err)
{
    es_transcript to = {.language_probability = t->language_probability};
    int known = same ? 1 : spells(b, t), rc = known < 0 ? -1 : 0;

    if (!known) return es_fail(err, ES_EARG, "its words were written in tokens that this speech model does not have");
    memcpy(to.language, t->language, sizeof to.language);
    for (size_t i = 0, n; i < t->n_segments && !rc; i += n) {
        n = parts_of(b, t, i);
        rc = join(&to, t, i, n, b);
    }
    if (rc) {
        es_transcript_done(&to);
        return es_fail(err, ES_ENOMEM, "not enough memory to say anew who said %zu words", t->n_words);
    }
    es_transcript_done(t);
    *t = to;
    return ES_OK;
}
