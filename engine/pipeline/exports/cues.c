/*
 * cues.c - words into subtitles.
 *
 *   segment -> pieces -> cues of at most max_lines lines -> times
 *
 * Pieces. Each word of a segment gives one or more pieces with its times; a segment without word times is cut at its
 * blanks, and its time is shared out by characters. A line may break before a piece that had a blank before it, and
 * anywhere in a script without blanks except before a closing mark or behind an opening one; what may not be broken
 * apart is one piece. Where another speaker begins, the name stands before the words. A piece wider than a line is cut between characters, never before a combining mark.
 *
 * Cues. A cue ends with its segment, before a pause of more than three seconds, and when its lines are full. When they
 * are full it ends rather at the last end of a sentence, else at the last comma, if at least half of the cue stands
 * before it: a reader reads a clause, not a full screen. The lines of a cue are then made as even as their number
 * allows (the least width that needs no more lines).
 *
 * Times. A cue starts with its first word and ends with its last one. Overlaps are cut at the later start. A cue that
 * would have to be read faster than chars_per_second stays into the silence behind it, at most until the next one.
 * Nothing is moved earlier: a line that appears before it is said gives the joke away.
 */
#include "pipeline/exports/cues.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text/language.h"
#include "text/unicode.h"

enum { LONG_PAUSE_MS = 3000 };

/* ---- growing ---- */

static void *grow(void *items, size_t *room, size_t n, size_t more, size_t item_bytes)
{
    size_t grown = *room ? *room : 64;
    void *moved;

    if (items && n + more <= *room) return items;
    while (grown < n + more) grown *= 2;
    moved = realloc(items, grown * item_bytes);
    if (moved) *room = grown;
    return moved;
}

static int add_text(es_cues *c, int32_t code)
{
    char *moved = grow(c->text, &c->room_text, c->n_text, 4, 1);

    if (!moved) return -1;
    c->text = moved;
    c->n_text += es_unicode_put(c->text + c->n_text, code);
    return 0;
}

static es_cue_piece *add_piece(es_cues *c)
{
    es_cue_piece *moved = grow(c->pieces, &c->room_pieces, c->n_pieces, 1, sizeof *moved);

    if (!moved) return NULL;
    c->pieces = moved;
    moved += c->n_pieces++;
    *moved = (es_cue_piece){.at = c->n_text};
    return moved;
}

static es_cue *add_cue(es_cues *c)
{
    es_cue *moved = grow(c->cues, &c->room_cues, c->n_cues, 1, sizeof *moved);

    if (!moved) return NULL;
    c->cues = moved;
    moved += c->n_cues++;
    *moved = (es_cue){0};
    return moved;
}

/* ---- pieces ---- */

static bool in_list(int32_t code, const char *list)
{
    size_t n = strlen(list);

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(list + at, n - at, &c);
        if (c == code) return true;
    }
    return false;
}

static bool closes(int32_t c)
{
    /* > among them: an arrow must not be pulled apart before it is found. */
    return in_list(
        c,
        ".,;:!?)]}>%\"'\xE2\x80\x99\xE2\x80\x9D\xC2\xBB\xE2\x80\xA6\xE3\x80\x81\xE3\x80\x82\xEF\xBC\x8C"
        "\xEF\xBC\x8E\xEF\xBC\x9A\xEF\xBC\x9B\xEF\xBC\x81\xEF\xBC\x9F\xEF\xBC\x89\xE3\x80\x8D\xE3\x80\x8F"
        "\xE3\x80\x91\xE3\x80\x8B\xE3\x83\xBC\xE3\x80\x85"); /* ’ ” » … 、 。 ， ． ： ； ！ ？ ） 」 』 】 》 ー 々 */
}

static bool opens(int32_t c)
{
    return in_list(c,
                   "([{\xE2\x80\x98\xE2\x80\x9C\xC2\xAB\xC2\xBF\xC2\xA1\xEF\xBC\x88\xE3\x80\x8C\xE3\x80\x8E\xE3\x80\x90"
                   "\xE3\x80\x8A"); /* ‘ “ « ¿ ¡ （ 「 『 【 《 */
}

/* Never seen and not to be copied: a control character may move a cursor or end a cue. */
static bool is_control(int32_t c)
{
    return (c >= 0 && c < 0x20) || (c >= 0x7F && c <= 0x9F);
}

/* The state of cutting one segment into pieces. */
typedef struct cutter {
    es_cues *c;
    size_t first; /* piece of the segment */
    int max_width;
    bool without_blanks; /* the language: any two words may be parted */
    bool blank;          /* one was passed since the last character */
    bool new_word;       /* no character of the present word was taken yet */
    int32_t last;        /* character */
} cutter;

/* Whether a line may break before code. */
static bool may_break(const cutter *k, int32_t code, int width)
{
    if (k->c->n_pieces == k->first || k->blank) return true;
    if (closes(code) || opens(k->last)) return false;
    if (width == 2 || es_unicode_width(k->last) == 2) return true;
    return k->without_blanks && k->new_word;
}

/* "-->" would end the times of a cue for many a reader: while the piece, the last one, ends with it, a dash is left
 * out. Done as the piece grows, so that its width is known before it is decided whether another character fits. */
static void defuse_arrow(es_cues *c, es_cue_piece *p)
{
    while (p->bytes >= 3 && !memcmp(c->text + c->n_text - 3, "-->", 3)) {
        c->text[c->n_text - 2] = '>';
        c->n_text--;
        p->bytes--;
        p->width--;
        p->chars--;
    }
}

/* Takes one character that is said from start to end. */
static int take(cutter *k, int32_t code, int64_t start_ms, int64_t end_ms)
{
    int width = es_unicode_width(code);
    es_cue_piece *p = k->c->n_pieces > k->first ? &k->c->pieces[k->c->n_pieces - 1] : NULL;

    if (es_unicode_is_space(code)) {
        k->blank = true;
        return 0;
    }
    if (is_control(code)) return 0;
    /* A mark without width belongs to what is before it, also where that fills the line. */
    if (!p || (width > 0 && may_break(k, code, width)) || (width > 0 && p->width + width > k->max_width) || k->blank) {
        p = add_piece(k->c);
        if (!p) return -1;
        p->start_ms = start_ms;
        p->end_ms = end_ms;
        p->blank_before = k->blank && k->c->n_pieces - 1 > k->first;
    }
    if (add_text(k->c, code)) return -1;
    p->bytes = k->c->n_text - p->at;
    p->width += width;
    p->chars += width > 0 ? 1 : 0;
    defuse_arrow(k->c, p);
    if (start_ms < p->start_ms) p->start_ms = start_ms;
    if (end_ms > p->end_ms) p->end_ms = end_ms;
    k->blank = false;
    k->new_word = false;
    k->last = code;
    return 0;
}

/* Takes text said from start to end; its time is shared out evenly among its characters. */
static int take_text(cutter *k, const char *text, size_t n, int64_t start_ms, int64_t end_ms)
{
    int64_t chars = 0, i = 0, span = end_ms > start_ms ? end_ms - start_ms : 0;
    int32_t code;

    k->new_word = true;
    for (size_t at = 0; at < n;) {
        at += es_unicode_next(text + at, n - at, &code);
        chars += !es_unicode_is_space(code) && !is_control(code);
    }
    for (size_t at = 0; at < n;) {
        at += es_unicode_next(text + at, n - at, &code);
        bool counts = !es_unicode_is_space(code) && !is_control(code);
        if (take(k, code, start_ms + (counts ? span * i / chars : 0), start_ms + (counts ? span * (i + 1) / chars : 0)))
            return -1;
        i += counts;
    }
    return 0;
}

static int cut_segment(es_cues *c, const es_transcript *t, const es_segment *s, const es_cue_rules *rules, int *speaker)
{
    cutter k = {.c = c, .first = c->n_pieces, .max_width = rules->max_line_width};
    const char *language = s->language[0] ? s->language : t->language;

    k.without_blanks = es_language_without_blanks(language);
    if (s->speaker >= 0 && s->speaker != *speaker && rules->introduce) {
        char name[256];
        rules->introduce(rules->user, s->speaker, name, sizeof name);
        if (take_text(&k, name, strlen(name), s->start_ms, s->start_ms)) return -1;
        k.blank = *name != 0;
    }
    if (s->speaker >= 0) *speaker = s->speaker;
    for (uint32_t i = 0; i < s->n_words; i++) {
        const es_word *w = &t->words[s->first_word + i];
        if (take_text(&k, t->text + w->text_at, w->text_bytes, w->start_ms, w->end_ms)) return -1;
    }
    if (s->n_words == 0 && take_text(&k, t->text + s->text_at, s->text_bytes, s->start_ms, s->end_ms)) return -1;
    return 0;
}

/* ---- lines and cues ---- */

/* Places pieces first .. end on lines of at most `width` columns; marks the starts of lines where mark. Returns the
 * first piece that found no room on max_lines lines (end where all did), and *lines. */
static size_t place(es_cues *c, size_t first, size_t end, int width, int max_lines, bool mark, int *lines)
{
    int at = 0;

    *lines = 0;
    for (size_t i = first; i < end; i++) {
        es_cue_piece *p = &c->pieces[i];
        int need = p->width + (p->blank_before ? 1 : 0);
        bool starts = *lines == 0 || at + need > width;
        if (starts && *lines == max_lines) return i;
        if (starts) {
            ++*lines;
            at = p->width;
        } else {
            at += need;
        }
        if (mark) p->starts_line = starts;
    }
    return end;
}

static int32_t last_char(const es_cues *c, const es_cue_piece *p)
{
    int32_t code = 0, previous = 0;

    for (size_t at = 0; at < p->bytes;) {
        previous = code;
        at += es_unicode_next(c->text + p->at + at, p->bytes - at, &code);
    }
    /* A quotation mark behind a full stop. */
    if (in_list(code, "\"')\xE2\x80\x9D\xE2\x80\x99\xC2\xBB\xE3\x80\x8D")) return previous;
    return code;
}

/* 2 where a sentence ends with the piece, 1 where a clause does, else 0. */
static int stop_after(const es_cues *c, const es_cue_piece *p)
{
    int32_t code = last_char(c, p);

    if (in_list(code, ".?!\xE2\x80\xA6\xE3\x80\x82\xEF\xBC\x8E\xEF\xBC\x9F\xEF\xBC\x81")) return 2; /* … 。 ． ？ ！ */
    if (in_list(code, ",;:\xE3\x80\x81\xEF\xBC\x8C\xEF\xBC\x9A\xEF\xBC\x9B")) return 1; /* 、 ， ： ； */
    return 0;
}

/* Where a full cue first .. end ends best. */
static size_t good_end(const es_cues *c, size_t first, size_t end)
{
    int total = 0, so_far = 0, best_stop = 0;
    size_t best = end;

    for (size_t i = first; i < end; i++) total += c->pieces[i].width;
    for (size_t i = first; i < end; i++) {
        int stop = stop_after(c, &c->pieces[i]);
        so_far += c->pieces[i].width;
        if (stop && stop >= best_stop && 2 * so_far >= total) best_stop = stop, best = i + 1;
    }
    return best;
}

static int make_cue(es_cues *c, size_t first, size_t end, const es_cue_rules *rules)
{
    es_cue *cue = add_cue(c);
    int lines, width = rules->max_line_width, fewer;

    if (!cue) return -1;
    place(c, first, end, width, rules->max_lines, false, &lines);
    while (width > 1 && place(c, first, end, width - 1, lines, false, &fewer) == end) {
        int widest = 0; /* a piece wider than the line would stand on it all the same */
        for (size_t i = first; i < end; i++)
            if (c->pieces[i].width > widest) widest = c->pieces[i].width;
        if (width - 1 < widest) break;
        width--;
    }
    place(c, first, end, width, lines, true, &lines);
    cue->first = first;
    cue->n = end - first;
    cue->start_ms = c->pieces[first].start_ms;
    cue->end_ms = c->pieces[first].end_ms;
    for (size_t i = first; i < end; i++) {
        if (c->pieces[i].start_ms < cue->start_ms) cue->start_ms = c->pieces[i].start_ms;
        if (c->pieces[i].end_ms > cue->end_ms) cue->end_ms = c->pieces[i].end_ms;
    }
    return 0;
}

/* Pieces first .. end, of one segment, into cues. */
static int make_cues(es_cues *c, size_t first, size_t end, const es_cue_rules *rules)
{
    while (first < end) {
        size_t stop = first + 1, fit;
        int lines;
        while (stop < end && c->pieces[stop].start_ms - c->pieces[stop - 1].end_ms <= LONG_PAUSE_MS) stop++;
        fit = place(c, first, stop, rules->max_line_width, rules->max_lines, false, &lines);
        if (fit < stop) fit = good_end(c, first, fit);
        if (make_cue(c, first, fit, rules)) return -1;
        first = fit;
    }
    return 0;
}

/* ---- times ---- */

static int64_t reading_ms(const es_cues *c, const es_cue *cue, int chars_per_second)
{
    int64_t chars = 0;

    for (size_t i = 0; i < cue->n; i++) {
        const es_cue_piece *p = &c->pieces[cue->first + i];
        chars += p->chars + (i && p->blank_before && !p->starts_line ? 1 : 0);
    }
    return (chars * 1000 + chars_per_second - 1) / chars_per_second;
}

static void set_times(es_cues *c, int64_t duration_ms, int chars_per_second)
{
    int64_t free_from = 0; /* where the cue before ends */

    for (size_t i = 0; i < c->n_cues; i++) {
        es_cue *cue = &c->cues[i];
        int64_t need = reading_ms(c, cue, chars_per_second), limit = INT64_MAX;
        if (cue->start_ms < free_from) cue->start_ms = free_from;
        if (cue->end_ms < cue->start_ms) cue->end_ms = cue->start_ms;
        if (i + 1 < c->n_cues) limit = c->cues[i + 1].start_ms;
        else if (duration_ms > cue->end_ms) limit = duration_ms;
        if (cue->end_ms < cue->start_ms + need) cue->end_ms = cue->start_ms + need;
        if (cue->end_ms > limit) cue->end_ms = limit;
        /* Two that begin at once: the first is seen for as long as it takes to read, the second after it. */
        if (cue->end_ms <= cue->start_ms) cue->end_ms = cue->start_ms + (need > 0 ? need : 1);
        free_from = cue->end_ms;
    }
}

int es_cues_make(es_cues *out, const es_transcript *t, int64_t duration_ms, const es_cue_rules *rules)
{
    int speaker = -1;

    assert(rules->max_line_width >= 2 && rules->max_lines >= 1 && rules->chars_per_second >= 1);
    *out = (es_cues){0};
    for (size_t i = 0; i < t->n_segments; i++) {
        size_t first = out->n_pieces, cues = out->n_cues;
        if (cut_segment(out, t, &t->segments[i], rules, &speaker) || make_cues(out, first, out->n_pieces, rules)) return -1;
        for (; cues < out->n_cues; cues++) out->cues[cues].speaker = t->segments[i].speaker;
    }
    set_times(out, duration_ms, rules->chars_per_second);
    return 0;
}

void es_cues_done(es_cues *c)
{
    if (!c) return;
    free(c->cues);
    free(c->pieces);
    free(c->text);
    *c = (es_cues){0};
}
