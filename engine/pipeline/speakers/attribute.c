/*
 * attribute.c - see attribute.h. A new transcript is built beside the old one and takes its place in the end: cutting a
 * segment moves everything behind it.
 */
#include "pipeline/speakers/attribute.h"

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
