/*
 * window.c - a window's prompt, the judgement over its text, and the way from tokens to segments.
 *
 * The prompt is what the decoder was trained to continue:
 *
 *     [sot_prev, text before ...]  sot  [language, task]  [no_timestamps]
 *
 * A text is judged by three signs that greedy decoding went astray: it packs too well (it repeats itself), it is too
 * unlikely (a guess), or it says the same four words more than five times in a row, which short loops can do without
 * packing well. A text that fails is decoded again at the next temperature. If all fail, the most likely one of those
 * that do not repeat themselves holds, or the most likely one where all do; OpenAI's transcription would keep the last,
 * which is the one that was sampled most wildly. A text that is unlikely where the model also believes that nothing is
 * said is silence and is not tried again.
 *
 * Timestamps come in pairs: a piece's end and the next one's start. Text after the last pair is not complete, and the
 * next window starts at that pair, so that it is heard again whole.
 *
 * Now and then the timestamps are wrong: a window says all it hears and claims that it took half the time, or says
 * something twice to fill the time it claims. The alignment shows both. What is said without sound gets no time there,
 * and a piece without time is not written. And where the next window hears again what was already said, its words fall
 * before the last word's end, and the piece is not written either.
 */
#include "pipeline/words/window.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "text/language.h"
#include "text/unicode.h"

/* The least a window moves on: 0.2 s. Only a text that closes its first piece at once would move less, and a recording
 * that makes the model do so again and again must not take a decoding for every 20 ms. */
enum { LEAST_ADVANCE = 20 };

static bool is_time(const es_window_rules *r, int32_t token)
{
    return token >= r->ids.timestamp_begin;
}

/* ---- decoding ---- */

/* The start of the transcript, and what says which language and task; the part that aligning needs again. */
static int sot_sequence(const es_window_rules *r, int language, int32_t out[3])
{
    out[0] = r->ids.sot;
    if (!r->multilingual) return 1;
    out[1] = r->ids.lang_begin + language;
    out[2] = r->translate ? r->ids.translate : r->ids.transcribe;
    return 3;
}

void es_window_begin(es_window *w, const es_window_rules *r, int64_t seek, int frames, int slot, int language,
                     const int32_t *history, size_t n_history)
{
    *w = (es_window){.seek = seek, .frames = frames, .slot = slot, .language = language};
    assert(frames >= 1 && frames <= ES_WHISPER_FRAMES);
    if (n_history > 0) {
        size_t n = n_history < ES_WINDOW_HISTORY ? n_history : ES_WINDOW_HISTORY;
        w->prompt[w->n_prompt++] = r->ids.sot_prev;
        memcpy(w->prompt + w->n_prompt, history + n_history - n, n * sizeof *history);
        w->n_prompt += (int)n;
    }
    w->sot_at = w->n_prompt;
    w->n_prompt += sot_sequence(r, language, w->prompt + w->n_prompt);
    if (!r->timestamps) w->prompt[w->n_prompt++] = r->ids.no_timestamps;
}

es_whisper_request es_window_request(const es_window *w, const es_window_rules *r)
{
    assert(w->attempts < r->n_temperatures);
    return (es_whisper_request){
        .slot = w->slot,
        .prompt = w->prompt,
        .n_prompt = w->n_prompt,
        .sot_at = w->sot_at,
        .timestamps = r->timestamps,
        .max_initial = r->max_initial,
        .least_end = w->least_end,
        .temperature = r->temperature[w->attempts],
        /* No part of the key depends on what was decoded before or beside this window. */
        .key = {(uint32_t)r->content, (uint32_t)(r->content >> 32), (uint32_t)w->seek, (uint32_t)w->attempts},
    };
}

static bool loops(const es_window_rules *r, int language, const char *text, size_t n)
{
    bool characters = es_language_without_blanks(r->multilingual && !r->translate ? es_language_code(language) : "en");

    return es_text_longest_repeat(text, n, characters) > ES_WINDOW_REPEATS;
}

bool es_window_judge(es_window *w, const es_window_rules *r, const es_whisper_output *out, es_window_scratch *s)
{
    size_t n = es_bpe_decode(r->bpe, out->tokens, (size_t)out->n, r->ids.eot, s->text, sizeof s->text);
    const char *text = es_unicode_strip(s->text, &n);
    float compression = (float)es_text_compression_ratio(text, n);
    bool looped = loops(r, w->language, text, n), in_order = !looped && compression <= r->most_compression;
    bool likely = out->avg_logprob >= r->least_logprob;
    bool silence = !likely && out->no_speech > r->most_no_speech;
    bool good = (in_order && likely) || silence;
    bool better = in_order != w->in_order ? in_order : out->avg_logprob > w->out.avg_logprob;

    w->last_temperature = r->temperature[w->attempts];
    if (w->attempts == 0 || good || better) {
        w->out = *out;
        w->temperature = w->last_temperature;
        w->compression = compression;
        w->looped = looped;
        w->in_order = in_order;
    }
    w->attempts++;
    return good || w->attempts == r->n_temperatures;
}

bool es_window_is_silence(const es_window *w, const es_window_rules *r)
{
    return w->out.no_speech > r->most_no_speech && !(w->out.avg_logprob > r->least_logprob);
}

/* ---- pieces ---- */

int es_window_split(const es_window *w, const es_window_rules *r, es_window_piece *pieces, int64_t *next, bool *ends)
{
    const int32_t *t = w->out.tokens;
    int n = w->out.n, from = 0, count = 0, first = r->ids.timestamp_begin;
    double offset = (double)w->seek * 0.01;
    bool single_end = n >= 2 && !is_time(r, t[n - 2]) && is_time(r, t[n - 1]);

    for (int i = 1; i <= n; i++) {
        bool pair = i < n && is_time(r, t[i]) && is_time(r, t[i - 1]);
        bool last = i == n && single_end && from > 0;
        if (!pair && !last) continue;
        assert(count < ES_WINDOW_PIECES);
        pieces[count++] = (es_window_piece){.start = offset + (t[from] - first) * 0.02,
                                            .end = offset + (t[i - 1] - first) * 0.02,
                                            .first_token = from,
                                            .n_tokens = i - from};
        from = i;
    }
    *next = w->seek + w->frames;
    *ends = single_end;
    if (count > 0) {
        if (!single_end) *next = w->seek + 2 * (t[from - 1] - first);
    } else {
        int at = n;
        while (at > 0 && !is_time(r, t[at - 1])) at--;
        double seconds = at > 0 && t[at - 1] != first ? (t[at - 1] - first) * 0.02 : w->frames * 0.01;
        pieces[count++] = (es_window_piece){.start = offset, .end = offset + seconds, .n_tokens = n};
    }
    if (*next < w->seek + LEAST_ADVANCE) *next = w->seek + LEAST_ADVANCE;
    return count;
}

static double hundredths(double seconds)
{
    return nearbyint(seconds * 100) / 100;
}

/* The words of one piece, from word `at` of `all` on; returns the word after them. What was merged away is squeezed
 * out, so that a piece's words lie side by side. */
static int take_words(es_window_piece *piece, int text_tokens, double offset, es_timed_word *words, int at, int all,
                      int *kept)
{
    piece->first_word = *kept;
    for (int taken = 0; at < all && taken < text_tokens; at++) {
        es_timed_word word = words[at];
        taken += word.n_tokens;
        if (!word.text_bytes) continue;
        word.start = hundredths(offset + word.start);
        word.end = hundredths(offset + word.end);
        words[(*kept)++] = word; /* never past at: what is overwritten was taken before */
        piece->n_words++;
    }
    return at;
}

int es_window_align(const es_window *w, const es_window_rules *r, es_whisper *m, es_window_piece *pieces, int n_pieces,
                    double *said_until, es_window_scratch *s, es_err *err)
{
    int32_t sot[3];
    int n_sot = sot_sequence(r, w->language, sot), n = 0, at = 0, kept = 0;
    double offset = (double)w->seek * 0.01, median, longest;

    for (int i = 0; i < n_pieces; i++)
        for (int k = 0; k < pieces[i].n_tokens; k++) {
            int32_t token = w->out.tokens[pieces[i].first_token + k];
            if (token < r->ids.eot) s->tokens[n++] = token;
        }
    if (n == 0 || w->frames < 2) return ES_OK; /* less than one step of the encoder: nothing to look at */
    int rc = es_whisper_align(m, w->slot, sot, n_sot, s->tokens, n, w->frames, s->start_frame, s->p, err);
    if (rc != ES_OK) return rc;
    const char *language = r->multilingual && !r->translate ? es_language_code(w->language) : "en";
    int all = (int)es_words_group(r->bpe, language, s->tokens, (size_t)n, r->ids.eot, s->start_frame, s->p, s->words,
                                  s->unit, s->text, &median, &longest);
    for (int i = 0; i < n_pieces; i++) {
        es_window_piece *piece = &pieces[i];
        int text_tokens = 0;
        for (int k = 0; k < piece->n_tokens; k++) text_tokens += w->out.tokens[piece->first_token + k] < r->ids.eot;
        at = take_words(piece, text_tokens, offset, s->words, at, all, &kept);
        if (piece->n_words == 0) continue;
        es_words_place(s->words + piece->first_word, (size_t)piece->n_words, &piece->start, &piece->end, *said_until,
                       median, longest);
        *said_until = piece->end;
    }
    *said_until = kept > 0 ? s->words[kept - 1].end : pieces[n_pieces - 1].end;
    return ES_OK;
}

int64_t es_window_after_words(const es_window *w, double said_until, int64_t next)
{
    int64_t last = llrint(said_until * 100);

    if (last <= w->seek) return next;
    return last < w->seek + LEAST_ADVANCE ? w->seek + LEAST_ADVANCE : last;
}

/* ---- what was said before ---- */

static size_t text_of(const es_window *w, const es_window_rules *r, const es_window_piece *piece, es_window_scratch *s)
{
    return es_bpe_decode(r->bpe, w->out.tokens + piece->first_token, (size_t)piece->n_tokens, r->ids.eot, s->said,
                         sizeof s->said);
}

/* Squeezes text to its letters and digits, ASCII ones in lower case, so that signs make no difference. */
static size_t squeeze(char *text, size_t n)
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        bool keeps = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80);
        if (keeps) text[to++] = c;
    }
    return to;
}

static bool contains(const char *text, size_t n, const char *part, size_t k)
{
    for (size_t i = 0; i + k <= n; i++)
        if (memcmp(text + i, part, k) == 0) return true;
    return false;
}

void es_window_unsay(const es_window *w, const es_window_rules *r, es_window_piece *pieces, int n_pieces,
                     double said_until, const es_transcript *before, es_window_scratch *s)
{
    /* A last word may overlap its window's end a little, and a short answer may fall under it: within a second of the
     * last word's end a piece must also repeat the words that stand there. */
    static const double surely = 1.0;

    for (int i = 0; i < n_pieces; i++) {
        es_window_piece *piece = &pieces[i];
        double middle = (piece->start + piece->end) / 2;
        if (piece->n_words == 0 || middle >= said_until) continue;
        piece->again = middle < said_until - surely;
        size_t k = squeeze(s->said, text_of(w, r, piece, s));
        for (size_t at = before->n_segments; !piece->again && at-- > 0;) {
            const es_segment *g = &before->segments[at];
            if ((double)g->end_ms < piece->start * 1000) break;
            size_t n = g->text_bytes < sizeof s->before ? g->text_bytes : sizeof s->before;
            memcpy(s->before, before->text + g->text_at, n);
            piece->again = contains(s->before, squeeze(s->before, n), s->said, k);
        }
    }
}

/* ---- segments ---- */

static int64_t milliseconds(double seconds, int64_t least, int64_t most)
{
    int64_t ms = llrint(seconds * 1000);

    return ms < least ? least : ms > most ? most : ms;
}

bool es_window_says(const es_window *w, const es_window_rules *r, const es_window_piece *piece)
{
    es_bpe_reader reader = {
        .b = r->bpe, .ids = w->out.tokens + piece->first_token, .n = (size_t)piece->n_tokens, .eot = r->ids.eot};
    int32_t c;

    if (piece->again || piece->start == piece->end) return false;
    while (es_bpe_next(&reader, &c))
        if (!es_unicode_is_space(c)) return true;
    return false;
}

/* A loop may lie within pieces or run over all of them; in the second case each one bears the mark. */
static bool any_piece_loops(const es_window *w, const es_window_rules *r, const es_window_piece *pieces, int n_pieces,
                            es_window_scratch *s)
{
    bool any = false;

    for (int i = 0; i < n_pieces && !any; i++) any = loops(r, w->language, s->said, text_of(w, r, &pieces[i], s));
    return any;
}

static int write_words(const es_window_piece *piece, const es_segment *segment, es_transcript *to,
                       const es_window_scratch *s)
{
    int64_t at = segment->start_ms;

    for (int i = 0; i < piece->n_words; i++) {
        const es_timed_word *from = &s->words[piece->first_word + i];
        es_word word = {.start_ms = milliseconds(from->start, at, segment->end_ms),
                        .probability = from->probability,
                        .speaker = -1};
        word.end_ms = milliseconds(from->end, word.start_ms, segment->end_ms);
        if (es_transcript_add_word(to, &word, from->text, from->text_bytes)) return -1;
        at = word.start_ms;
    }
    return 0;
}

int es_window_write(const es_window *w, const es_window_rules *r, const es_window_piece *pieces, int n_pieces,
                    int64_t duration_ms, es_transcript *to, es_window_scratch *s, es_err *err)
{
    bool within_pieces = w->looped && any_piece_loops(w, r, pieces, n_pieces, s);

    for (int i = 0; i < n_pieces; i++) {
        const es_window_piece *piece = &pieces[i];
        if (!es_window_says(w, r, piece)) continue;
        es_segment segment = {.start_ms = milliseconds(piece->start, 0, duration_ms),
                              .avg_logprob = w->out.avg_logprob,
                              .no_speech = w->out.no_speech,
                              .compression_ratio = w->compression,
                              .temperature = w->temperature,
                              .speaker = -1};
        segment.end_ms = milliseconds(piece->end, segment.start_ms, duration_ms);
        size_t n = text_of(w, r, piece, s);
        if (w->looped && (!within_pieces || loops(r, w->language, s->said, n))) segment.flags |= ES_SEGMENT_LOOPED;
        strcpy(segment.language, es_language_code(w->language));
        if (es_transcript_add_segment(to, &segment, s->said, n, w->out.tokens + piece->first_token,
                                      (size_t)piece->n_tokens) ||
            write_words(piece, &segment, to, s))
            return es_fail(err, ES_ENOMEM, "no memory for segment %zu of a transcript", to->n_segments);
    }
    return ES_OK;
}
