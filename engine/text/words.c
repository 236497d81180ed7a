/*
 * words.c - from tokens to words.
 *
 *   tokens  | el|le| est| l|'|\xc3|\xa9|rit|oire|
 *   units   | el|le| est| l|'|  é      |rit|oire|      whole characters
 *   words   | elle | est | l|' |éritoire|              a unit that starts with a blank, or is a sign, starts a word
 *   merged  | elle | est | l'  |éritoire|              signs join the word they belong to
 *
 * A unit ends where the decoded tokens show no replacement character, or show one where the decoded whole shows one
 * too: there the bytes are really broken and waiting for more would swallow the rest. The rule looks only at the first
 * replacement character, and so does the whole's reader here, which walks along instead of decoding again.
 *
 * The duration rules work around the alignment, not the language: a word beside a pause is often stretched over it,
 * because the path through the attention has to spend the frames of the pause somewhere.
 */
#include "text/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "text/unicode.h"

static const double frame_seconds = 0.02;
static const char sentence_ends[] = ".。!！?？";
static const char joins_next[] = "\"'“¿([{-";
static const char joins_previous[] = "\"'.。,，!！?？:：”)]}、";
static const char ascii_signs[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/* Whether the text is a part of the list: a run of signs in the list's order counts, and so does the empty text. */
static bool within(const char *text, size_t n, const char *list)
{
    size_t length = strlen(list);

    for (size_t at = 0; at + n <= length; at++)
        if (memcmp(list + at, text, n) == 0) return true;
    return false;
}

size_t es_words_units(const es_bpe *b, const int32_t *tokens, size_t n, int eot, uint32_t *first)
{
    es_bpe_reader whole = {.b = b, .ids = tokens, .n = n, .eot = eot}; /* stands where the unit begins */
    size_t units = 0, from = 0;

    for (size_t to = 1; to <= n; to++) {
        es_bpe_reader unit = {.b = b, .ids = tokens + from, .n = to - from, .eot = eot}, ahead = whole;
        int32_t c = 0, w = 0;
        bool more, known = true;
        while ((more = es_bpe_next(&unit, &c))) {
            known = es_bpe_next(&ahead, &w);
            if (c == ES_UNICODE_REPLACEMENT) break;
        }
        if (more && !(known && w == ES_UNICODE_REPLACEMENT)) continue;
        first[units++] = (uint32_t)from;
        from = to;
        while (more && es_bpe_next(&unit, &c)) es_bpe_next(&ahead, &w); /* past what follows the broken one */
        whole = ahead;
    }
    /* Bytes of one broken character split over tokens can leave a rest that never closes; it is the last unit. */
    if (from < n) first[units++] = (uint32_t)from;
    first[units] = (uint32_t)n;
    return units;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median of the durations that are not zero; 0 where there is none. */
static double median_duration(const es_timed_word *words, size_t n)
{
    double small[512], *all = n <= 512 ? small : malloc(n * sizeof *all), median = 0;
    size_t k = 0;

    if (!all) return 0;
    for (size_t i = 0; i < n; i++)
        if (words[i].end - words[i].start != 0) all[k++] = words[i].end - words[i].start;
    if (k) {
        qsort(all, k, sizeof *all, by_size);
        median = k % 2 ? all[k / 2] : (all[k / 2 - 1] + all[k / 2]) / 2;
    }
    if (all != small) free(all);
    return median;
}

static void cut_at_sentence_ends(es_timed_word *words, size_t n, double longest)
{
    for (size_t i = 1; i < n; i++) {
        if (!(words[i].end - words[i].start > longest)) continue;
        if (within(words[i].text, words[i].text_bytes, sentence_ends)) words[i].end = words[i].start + longest;
        else if (within(words[i - 1].text, words[i - 1].text_bytes, sentence_ends))
            words[i].start = words[i].end - longest;
    }
}

/* The texts and the tokens of neighbours lie side by side, so joining two is a matter of lengths. */
static void merge_punctuation(es_timed_word *words, size_t n)
{
    if (n < 2) return;
    for (size_t i = n - 1, next = n - 1; i-- > 0;) {
        es_timed_word *sign = &words[i], *word = &words[next];
        size_t bytes = sign->text_bytes;
        const char *stripped = es_unicode_strip(sign->text, &bytes);
        if (sign->text_bytes && sign->text[0] == ' ' && within(stripped, bytes, joins_next)) {
            word->text = sign->text;
            word->text_bytes += sign->text_bytes;
            word->first_token = sign->first_token;
            word->n_tokens += sign->n_tokens;
            sign->text_bytes = 0;
            sign->n_tokens = 0;
        } else {
            next = i;
        }
    }
    for (size_t i = 1, previous = 0; i < n; i++) {
        es_timed_word *word = &words[previous], *sign = &words[i];
        bool blank = word->text_bytes && word->text[word->text_bytes - 1] == ' ';
        if (!blank && within(sign->text, sign->text_bytes, joins_previous)) {
            if (sign->n_tokens && !word->n_tokens) word->text = sign->text, word->first_token = sign->first_token;
            word->text_bytes += sign->text_bytes;
            word->n_tokens += sign->n_tokens;
            sign->text_bytes = 0;
            sign->n_tokens = 0;
        } else {
            previous = i;
        }
    }
}

size_t es_words_group(const es_bpe *b, const char *language, const int32_t *tokens, size_t n, int eot,
                      const int *start_frame, const float *p, es_timed_word *words, uint32_t *unit, char *text,
                      double *median, double *longest)
{
    bool each = es_language_without_blanks(language);
    size_t units = es_words_units(b, tokens, n, eot, unit), count = 0;

    for (size_t u = 0; u < units; u++) {
        es_bpe_reader r = {.b = b, .ids = tokens + unit[u], .n = unit[u + 1] - unit[u], .eot = eot};
        char *from = text;
        int32_t c;
        while (es_bpe_next(&r, &c)) text += es_unicode_put(text, c);
        size_t bytes = (size_t)(text - from), stripped_bytes = bytes;
        const char *stripped = es_unicode_strip(from, &stripped_bytes);
        if (each || count == 0 || (bytes && from[0] == ' ') || within(stripped, stripped_bytes, ascii_signs))
            words[count++] = (es_timed_word){.first_token = (int)unit[u], .text = from};
        words[count - 1].n_tokens += (int)(unit[u + 1] - unit[u]);
        words[count - 1].text_bytes += bytes;
    }
    for (size_t i = 0; i < count; i++) {
        es_timed_word *w = &words[i];
        double sum = 0;
        for (int t = 0; t < w->n_tokens; t++) sum += (double)p[w->first_token + t];
        w->probability = (float)(sum / w->n_tokens);
        w->start = start_frame[w->first_token] * frame_seconds;
        w->end = start_frame[w->first_token + w->n_tokens] * frame_seconds;
    }
    double typical = fmin(0.7, median_duration(words, count));
    if (typical > 0) cut_at_sentence_ends(words, count, 2 * typical);
    merge_punctuation(words, count);
    if (median) *median = typical;
    if (longest) *longest = 2 * typical;
    return count;
}

void es_words_place(es_timed_word *words, size_t n, double *segment_start, double *segment_end, double said_until,
                    double median, double longest)
{
    es_timed_word *first = &words[0], *last = &words[n - 1];

    if (first->end - said_until > 4 * median &&
        (first->end - first->start > longest || (n > 1 && words[1].end - first->start > 2 * longest))) {
        if (n > 1 && words[1].end - words[1].start > longest) {
            double boundary = fmax(words[1].end / 2, words[1].end - longest);
            first->end = boundary;
            words[1].start = boundary;
        }
        first->start = fmax(0, first->end - longest);
    }
    if (*segment_start<first->end && * segment_start - 0.5> first->start)
        first->start = fmax(0, fmin(first->end - median, *segment_start));
    else *segment_start = first->start;
    if (*segment_end > last->start && *segment_end + 0.5 < last->end)
        last->end = fmax(last->start + median, *segment_end);
    else *segment_end = last->end;
}

/* ---- text that repeats itself ---- */

double es_text_compression_ratio(const char *text, size_t n)
{
    z_stream z = {0};
    unsigned char out[4096];
    size_t packed = 0;
    int rc = Z_OK;

    if (n == 0 || deflateInit(&z, 6) != Z_OK) return 0;
    /* zlib counts in unsigned int; the input goes in parts, the output is only counted. */
    for (size_t at = 0; rc == Z_OK && (at < n || z.avail_in);) {
        if (!z.avail_in) {
            size_t part = n - at < (1u << 30) ? n - at : 1u << 30;
            z.next_in = (Bytef *)(uintptr_t)(text + at);
            z.avail_in = (uInt)part;
            at += part;
        }
        z.next_out = out;
        z.avail_out = sizeof out;
        rc = deflate(&z, at < n ? Z_NO_FLUSH : Z_FINISH);
        packed += sizeof out - z.avail_out;
    }
    while (rc == Z_OK) {
        z.next_out = out;
        z.avail_out = sizeof out;
        rc = deflate(&z, Z_FINISH);
        packed += sizeof out - z.avail_out;
    }
    deflateEnd(&z);
    return (double)n / (double)packed;
}

/* 64-bit names of the words: equal words have equal names, and others differ but for one chance in 2^64. */
static size_t name_words(const char *text, size_t n, bool characters, uint64_t *names)
{
    size_t count = 0;
    uint64_t h = 0;
    bool inside = false;

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        bool blank = es_unicode_is_space(c);
        if (inside && (blank || characters)) names[count++] = h, inside = false;
        if (blank) continue;
        if (!inside) h = 0xCBF29CE484222325u, inside = true;
        h = (h ^ (uint64_t)(uint32_t)c) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    if (inside) names[count++] = h;
    return count;
}

int es_text_longest_repeat(const char *text, size_t n, bool characters)
{
    enum { MOST_WORDS = 64, GRAM = 4 };
    uint64_t *names = malloc((n + 1) * sizeof *names);
    size_t best = 1, count = names ? name_words(text, n, characters, names) : 0;

    for (size_t period = 1; period <= MOST_WORDS && period < count; period++) {
        size_t phrase = period; /* the shortest whole number of periods that holds four words */
        while (phrase < GRAM) phrase += period;
        size_t run = 0;
        for (size_t i = period; i < count; i++) {
            run = names[i] == names[i - period] ? run + 1 : 0;
            size_t times = (run + period) / phrase;
            if (run && times > best) best = times;
        }
    }
    free(names);
    return (int)best;
}
