/*
 * passages.c - words into passages.
 *
 *     words, or segments without words -> units -> runs -> passages
 *
 * A *unit* is a word with its times, speaker and language. A segment whose words were not aligned is cut at its blanks,
 * and times are shared out by bytes; a unit that alone is longer than a passage may be (a recording of a language without
 * blanks, or noise) is cut between characters in the same way. So everything behind this step sees units that fit.
 *
 * A *run* is what one speaker says in one language, without a silence of LONG_MS. A word thrown in by someone else -
 * "yes", "I see" - does not end it: the speaker goes on in the same thought, and passages cut at every such word would
 * mean nothing. What was thrown in is a run of its own.
 *
 * A run is cut into passages from its start: once a passage has the least number of tokens, it ends at the first end of a
 * sentence or pause; where neither comes before the most, it ends at the longest of the gaps behind the least. A rest that
 * is shorter than the least joins the passage before it where both fit together, so that "Good night." is not found in
 * place of what it ended.
 *
 * Tokens are counted unit by unit and summed. For text with blanks that is exactly what the tokenizers do; elsewhere it
 * differs by a few, which is why `most` should leave a little room below what the model takes.
 */
#include "pipeline/search/passages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text/language.h"
#include "text/unicode.h"

enum {
    LEAST = 64,
    MOST = 256,
    PAUSE_MS = 1000,    /* ends a passage that is long enough */
    LONG_MS = 10000,    /* ends a run: what follows is another matter */
    THROWN_IN = 24,     /* tokens of others that do not end a run */
    GUESS_LETTERS = 6,  /* of a word to a token: 1.3 tokens a word in English, as with the encoders' own vocabularies */
    MOST_BYTES = 16,    /* of a token, on average */
    NONE = -1
};

typedef struct unit {
    int64_t start_ms, end_ms;
    const char *text; /* in the transcript */
    size_t bytes;
    size_t tokens, segment;
    int speaker;
    bool blank_before; /* put one between this and the unit before it: the text has none there */
    bool ends;         /* a sentence */
    int64_t next;      /* unit of the same run, or NONE */
} unit;

/* A run while its units are gathered. */
typedef struct run {
    size_t first, last;
    int64_t end_ms;
    size_t said;    /* tokens of all speakers up to the end of its last unit */
    char language[8];
    int speaker;
} run;

typedef struct cutter {
    const es_transcript *t;
    es_passage_rule rule;
    unit *units;
    size_t n, room;
    run *runs;
    size_t n_runs, room_runs;
    es_passages *out;
    size_t room_at, room_text;
    size_t *in_run; /* the units of the run at work */
} cutter;

/* ---- growing ---- */

static void *grown(void *items, size_t *room, size_t need, size_t item_bytes)
{
    size_t more = *room < 16 ? 32 : *room * 2;
    void *moved;

    if (items && need <= *room) return items;
    if (more < need) more = need;
    if (more > SIZE_MAX / item_bytes) return NULL;
    moved = realloc(items, more * item_bytes);
    if (moved) *room = more;
    return moved;
}

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the passages");
}

/* ---- units ---- */

/* Han, kana, Hangul and the scripts of mainland South-East Asia: written without blanks, a token a character. */
static bool stands_alone(int32_t c)
{
    return (c >= 0x0E00 && c < 0x1100) || (c >= 0x1780 && c < 0x1800) || (c >= 0x2E80 && c < 0xE000) ||
           (c >= 0xF900 && c < 0xFB00) || (c >= 0x20000 && c < 0x40000);
}

size_t es_passages_guess(const char *text, size_t n)
{
    size_t tokens = 0, letters = 0;

    while (n) {
        int32_t c;
        size_t used = es_unicode_next(text, n, &c);
        text += used, n -= used;
        if (es_unicode_is_space(c)) letters = 0;
        else if (stands_alone(c)) letters = 0, tokens++;
        else if (letters++ % GUESS_LETTERS == 0) tokens++;
    }
    return tokens;
}

/* However few tokens a tokenizer sees in it (noise is one unknown word, combining marks are none), text has a length. */
static size_t count(const cutter *c, const char *text, size_t bytes)
{
    size_t tokens = c->rule.count ? c->rule.count(c->rule.user, text, bytes) : es_passages_guess(text, bytes);

    return tokens < bytes / MOST_BYTES ? bytes / MOST_BYTES : tokens;
}

static bool closes(int32_t c)
{
    return c == '"' || c == '\'' || c == ')' || c == ']' || c == '}' || c == 0xBB || c == 0x2019 || c == 0x201D ||
           c == 0x300D || c == 0x300F || c == 0xFF09 || es_unicode_is_space(c);
}

/* Whether a sentence ends with this unit. A full stop behind one to three letters, the first of them a capital, is taken
 * for an abbreviation ("Mr.", "J."): to miss an end costs a longer passage, to see one that is none tears a sentence. */
static bool ends_sentence(const char *text, size_t n)
{
    int32_t last = 0, first = 0;
    size_t letters = 0;

    while (n) {
        int32_t c;
        size_t used = es_unicode_next(text, n, &c);
        text += used, n -= used;
        if (closes(c)) continue;
        if (es_unicode_is_letter(c)) {
            if (!letters) first = c;
            letters++;
        }
        last = c;
    }
    if (last == '.') return !(letters >= 1 && letters <= 3 && first >= 'A' && first <= 'Z');
    return last == '?' || last == '!' || last == 0x2026 || last == 0x3002 || last == 0xFF01 || last == 0xFF1F ||
           last == 0xFF0E || last == 0x061F || last == 0x06D4 || last == 0x0964;
}

static int add_unit(cutter *c, unit u, es_err *err)
{
    unit *moved = grown(c->units, &c->room, c->n + 1, sizeof *moved);

    if (!moved) return no_memory(err);
    c->units = moved;
    u.next = NONE;
    u.ends = ends_sentence(u.text, u.bytes);
    moved[c->n++] = u;
    return ES_OK;
}

/* Bytes of the first characters of a text that have at most `most` tokens: halves until they fit, at least one. */
static size_t head_that_fits(const cutter *c, const char *text, size_t n, size_t *tokens)
{
    /* What cannot fit by its bytes alone is never counted whole. */
    size_t take = n / MOST_BYTES > (size_t)c->rule.most ? (size_t)c->rule.most * MOST_BYTES : n;

    for (;; take /= 2) {
        size_t at = 0;
        while (at < take) {
            int32_t character;
            size_t used = es_unicode_next(text + at, n - at, &character);
            if (at && at + used > take) break;
            at += used;
        }
        *tokens = count(c, text, at);
        if (*tokens == SIZE_MAX || *tokens <= (size_t)c->rule.most || take <= 1) return at;
    }
}

/* Differences of times must not overflow, whatever a record says. */
static int64_t sane(int64_t ms)
{
    const int64_t most = (int64_t)1 << 52;

    return ms > most ? most : ms < -most ? -most : ms;
}

static int64_t between(int64_t start, int64_t end, size_t part, size_t all)
{
    return all ? start + (int64_t)((double)(end - start) * (double)part / (double)all) : start;
}

/* A unit of any length as one or several. */
static int add_fitting(cutter *c, unit u, es_err *err)
{
    const char *text = u.text;
    size_t all = u.bytes, at = 0;
    int64_t start = sane(u.start_ms), end = sane(u.end_ms);

    while (at < all) {
        size_t tokens, used = head_that_fits(c, text + at, all - at, &tokens);
        if (tokens == SIZE_MAX) return no_memory(err);
        u.text = text + at, u.bytes = used, u.tokens = tokens;
        u.start_ms = between(start, end, at, all);
        u.end_ms = at + used == all ? end : between(start, end, at + used, all);
        int rc = add_unit(c, u, err);
        if (rc != ES_OK) return rc;
        u.blank_before = false;
        at += used;
    }
    return ES_OK;
}

static bool begins_blank(const char *text, size_t n)
{
    int32_t c;

    if (!n) return false;
    es_unicode_next(text, n, &c);
    return es_unicode_is_space(c);
}

/* A segment without words: its text at its blanks. */
static int units_of_text(cutter *c, const es_segment *s, size_t index, es_err *err)
{
    const char *text = c->t->text + s->text_at;
    size_t all = s->text_bytes, at = 0;
    /* Speech models write a blank before each segment where the language has one; others' transcripts may not. */
    bool blank = !begins_blank(text, all) && !es_language_without_blanks(s->language);
    int64_t from = sane(s->start_ms), to = sane(s->end_ms);

    while (at < all) {
        size_t end = at;
        bool word = false;
        while (end < all) { /* blanks, then what is none */
            int32_t character;
            size_t used = es_unicode_next(text + end, all - end, &character);
            if (es_unicode_is_space(character) && word) break;
            word = word || !es_unicode_is_space(character);
            end += used;
        }
        unit u = {.start_ms = between(from, to, at, all),
                  .end_ms = end == all ? to : between(from, to, end, all),
                  .text = text + at,
                  .bytes = end - at,
                  .segment = index,
                  .speaker = s->speaker,
                  .blank_before = blank && at == 0};
        int rc = word ? add_fitting(c, u, err) : ES_OK;
        if (rc != ES_OK) return rc;
        at = end;
    }
    return ES_OK;
}

static int gather_units(cutter *c, es_err *err)
{
    const es_transcript *t = c->t;
    int rc = ES_OK;

    for (size_t i = 0; i < t->n_segments && rc == ES_OK; i++) {
        const es_segment *s = &t->segments[i];
        if (!s->n_words) rc = units_of_text(c, s, i, err);
        for (uint32_t k = 0; k < s->n_words && rc == ES_OK; k++) {
            const es_word *w = &t->words[s->first_word + k];
            unit u = {.start_ms = w->start_ms,
                      .end_ms = w->end_ms,
                      .text = t->text + w->text_at,
                      .bytes = w->text_bytes,
                      .segment = i,
                      .speaker = w->speaker >= 0 ? w->speaker : s->speaker};
            rc = add_fitting(c, u, err);
        }
    }
    return rc;
}

/* ---- runs ---- */

/* The run that the unit goes on with, or NONE. The last few are looked at: an older one has ended for certain. */
static int64_t run_of(const cutter *c, const unit *u, const char *language, size_t said)
{
    for (size_t i = c->n_runs; i-- > 0 && c->n_runs - i <= 8;) {
        const run *r = &c->runs[i];
        if (r->speaker != u->speaker || strcmp(r->language, language)) continue;
        return u->start_ms - r->end_ms < LONG_MS && said - r->said <= THROWN_IN ? (int64_t)i : NONE;
    }
    return NONE;
}

static int gather_runs(cutter *c, es_err *err)
{
    size_t said = 0;

    for (size_t i = 0; i < c->n; i++) {
        unit *u = &c->units[i];
        const char *language = c->t->segments[u->segment].language;
        if (!*language) language = c->t->language;
        int64_t at = run_of(c, u, language, said);
        if (at == NONE) {
            run *moved = grown(c->runs, &c->room_runs, c->n_runs + 1, sizeof *moved);
            if (!moved) return no_memory(err);
            c->runs = moved;
            at = (int64_t)c->n_runs++;
            moved[at] = (run){.first = i, .last = i, .speaker = u->speaker};
            memcpy(moved[at].language, language, sizeof moved[at].language);
            moved[at].language[sizeof moved[at].language - 1] = 0;
        } else {
            c->units[c->runs[at].last].next = (int64_t)i;
        }
        said += u->tokens;
        run *r = &c->runs[at];
        r->last = i;
        r->end_ms = u->end_ms > r->end_ms ? u->end_ms : r->end_ms;
        r->said = said;
    }
    return ES_OK;
}

/* ---- passages ---- */

/* Units in_run[from .. to) as a passage. Its text is theirs without the outer blanks. */
static int put_passage(cutter *c, const run *r, size_t from, size_t to, es_err *err)
{
    es_passages *out = c->out;
    const unit *u = &c->units[c->in_run[from]];
    es_passage p = {.start_ms = u->start_ms, .end_ms = u->end_ms, .speaker = r->speaker, .text_at = (uint32_t)out->n_text,
                    .first_segment = (uint32_t)u->segment};
    size_t last_segment = u->segment, bytes = 0;
    char *text;

    for (size_t i = from; i < to; i++) bytes += c->units[c->in_run[i]].bytes + 1;
    if (bytes > UINT32_MAX - out->n_text) return es_fail(err, ES_EARG, "the passages of a recording have more than 4 GB of text");
    text = grown(out->text, &c->room_text, out->n_text + bytes, 1);
    if (!text) return no_memory(err);
    out->text = text;
    text += out->n_text, bytes = 0;
    for (size_t i = from; i < to; i++) {
        u = &c->units[c->in_run[i]];
        if (u->blank_before && bytes) text[bytes++] = ' ';
        memcpy(text + bytes, u->text, u->bytes);
        bytes += u->bytes;
        if (u->start_ms < p.start_ms) p.start_ms = u->start_ms;
        if (u->end_ms > p.end_ms) p.end_ms = u->end_ms;
        last_segment = u->segment;
    }
    const char *stripped = es_unicode_strip(text, &bytes);
    if (!bytes) return ES_OK; /* blanks alone mean nothing */
    memmove(text, stripped, bytes);
    p.text_bytes = (uint32_t)bytes;
    p.n_segments = (uint32_t)(last_segment - p.first_segment + 1);
    memcpy(p.language, r->language, sizeof p.language);
    es_passage *at = grown(out->at, &c->room_at, out->n + 1, sizeof *at);
    if (!at) return no_memory(err);
    out->at = at;
    at[out->n++] = p;
    out->n_text += bytes;
    return ES_OK;
}

static int64_t gap_behind(const cutter *c, size_t i)
{
    return c->units[c->in_run[i + 1]].start_ms - c->units[c->in_run[i]].end_ms;
}

/* Where the passage that begins at `from` ends: behind its last unit. */
static size_t end_of(const cutter *c, size_t from, size_t n)
{
    size_t tokens = 0, best = 0;
    int64_t best_gap = INT64_MIN;

    for (size_t i = from; i < n; i++) {
        const unit *u = &c->units[c->in_run[i]];
        if (i > from && tokens + u->tokens > (size_t)c->rule.most) return best ? best : i;
        tokens += u->tokens;
        if (i + 1 == n || tokens < (size_t)c->rule.least) continue;
        if (u->ends || gap_behind(c, i) >= PAUSE_MS) return i + 1;
        if (gap_behind(c, i) >= best_gap) best_gap = gap_behind(c, i), best = i + 1;
    }
    return n;
}

static size_t tokens_of(const cutter *c, size_t from, size_t to)
{
    size_t tokens = 0;

    for (size_t i = from; i < to; i++) tokens += c->units[c->in_run[i]].tokens;
    return tokens;
}

/* Where a passage that follows one ending at `end` begins to repeat: at the start of a sentence of the one before. */
static size_t with_overlap(const cutter *c, size_t from, size_t end)
{
    size_t tokens = 0, at = end;

    for (size_t i = end; i-- > from + 1 && c->rule.overlap > 0;) {
        tokens += c->units[c->in_run[i]].tokens;
        if (tokens > (size_t)c->rule.overlap) break;
        if (c->units[c->in_run[i - 1]].ends) at = i;
    }
    return at;
}

static int cut_run(cutter *c, const run *r, es_err *err)
{
    size_t n = 0, from = 0;
    int rc = ES_OK;

    for (int64_t u = (int64_t)r->first; u != NONE; u = c->units[u].next) c->in_run[n++] = (size_t)u;
    while (from < n && rc == ES_OK) {
        size_t end = end_of(c, from, n);
        size_t rest = tokens_of(c, end, n);
        if (rest && rest < (size_t)c->rule.least && tokens_of(c, from, end) + rest <= (size_t)c->rule.most) end = n;
        rc = put_passage(c, r, from, end, err);
        if (end == n) break;
        size_t again = with_overlap(c, from, end);
        from = again > from ? again : end;
    }
    return rc;
}

static int by_start(const void *a, const void *b)
{
    const es_passage *x = a, *y = b;

    if (x->start_ms != y->start_ms) return x->start_ms < y->start_ms ? -1 : 1;
    if (x->speaker != y->speaker) return x->speaker < y->speaker ? -1 : 1;
    return x->text_at < y->text_at ? -1 : x->text_at > y->text_at; /* no two are equal: the order is one */
}

int es_passages_cut(es_passages *out, const es_transcript *t, const es_passage_rule *rule, es_err *err)
{
    cutter c = {.t = t, .out = out};
    int rc;

    *out = (es_passages){0};
    if (rule) c.rule = *rule;
    if (c.rule.most <= 0) c.rule.most = MOST;
    if (c.rule.least <= 0) c.rule.least = LEAST;
    if (c.rule.least > c.rule.most) c.rule.least = c.rule.most;
    rc = gather_units(&c, err);
    if (rc == ES_OK) rc = gather_runs(&c, err);
    if (rc == ES_OK && !(c.in_run = malloc((c.n + 1) * sizeof *c.in_run))) rc = no_memory(err);
    for (size_t i = 0; i < c.n_runs && rc == ES_OK; i++) rc = cut_run(&c, &c.runs[i], err);
    if (rc == ES_OK && out->n) qsort(out->at, out->n, sizeof *out->at, by_start);
    if (rc != ES_OK) es_passages_done(out);
    free(c.units);
    free(c.runs);
    free(c.in_run);
    return rc;
}
