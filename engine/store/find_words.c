/*
 * find_words.c - the k best passages for a query of words.
 *
 * Each element of the query gathers its posting lists, one for each recording it occurs in, without reading them: their
 * heads say how many passages and how large a score at most. Then one recording after the other is scored whole, the
 * most promising first: as soon as the best that the next one could give is below what is kept, nothing that follows
 * can change the result. (Turtle and Flood, "Query Evaluation: Strategies and Optimizations", 1995; that lists are cut
 * by recordings makes these the blocks of block-max ranking.)
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/postings.h"
#include "store/top.h"
#include "store/words.h"

/* One list that an element leads to. */
typedef struct entry {
    uint64_t media;
    uint32_t track;
    uint32_t n, most, least;
    es_bytes list;
} entry;

typedef struct entries {
    entry *p;
    size_t n, room;
    uint64_t passages; /* sum of n */
} entries;

/* A recording that some list is of, and what of each element's lists is its. */
typedef struct candidate {
    double bound; /* no passage in it scores more */
    uint64_t media;
    uint32_t track;
    const size_t *first; /* by element: its first list that is not of an earlier recording */
} candidate;

typedef struct search {
    es_txn *x;
    const es_filter *filter;
    es_words words;
    entries lists[ES_WORDS_MOST]; /* by element, sorted by recording */
    double rarity[ES_WORDS_MOST]; /* by item */
    double average;
    es_top top;
    /* of the recording at hand */
    es_outline outline;
    uint32_t room; /* passages that the arrays have room for */
    double *scores;
    uint32_t *counts;
    uint8_t *phrases;          /* how many of the query's each passage has */
    uint64_t *places, *others; /* passage << 32 | position */
    size_t n_places, room_places, n_others, room_others;
    uint32_t *raw; /* positions in one passage */
    size_t room_raw;
} search;

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory to search the library");
}

/* ---- gathering ---- */

static int by_recording(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->media != y->media) return x->media < y->media ? -1 : 1;
    if (x->track != y->track) return x->track < y->track ? -1 : 1;
    return (x->list.p > y->list.p) - (x->list.p < y->list.p); /* any order will do: their counts are added */
}

static int add_entry(entries *l, es_bytes recording, es_bytes list, es_err *err)
{
    const uint8_t *r = recording.p;
    es_postings head;

    if (!es_postings_open(&head, list)) {
        es_log(ES_LOG_WARN, "a list of the index is damaged; it is passed over");
        return ES_OK;
    }
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        entry *moved = realloc(l->p, room * sizeof *moved);
        if (!moved) return no_memory(err);
        l->p = moved;
        l->room = room;
    }
    l->p[l->n++] = (entry){.media = es_key_number(r, 8),
                           .track = (uint32_t)es_key_number(r + 8, 2),
                           .n = head.n,
                           .most = head.most,
                           .least = head.least,
                           .list = list};
    l->passages += head.n;
    return ES_OK;
}

/* All lists of one term, or of all terms that begin so. */
static int gather_term(search *s, entries *l, int kind, const char *text, size_t n, bool beginning, es_err *err)
{
    uint8_t bytes[1 + ES_TERM_BYTES], key_bytes[ES_INDEX_KEY_BYTES];
    es_bytes from = {bytes, n + 1}, key, value;
    es_cursor *c = NULL;
    int rc = es_cursor_open(&c, s->x, ES_TABLE_WORDS, err);

    if (rc) return rc;
    bytes[0] = (uint8_t)kind;
    memcpy(bytes + 1, text, n);
    if (!beginning) from = (es_bytes){key_bytes, es_index_key(key_bytes, from, (es_bytes){0})};
    for (rc = es_cursor_seek(c, from, &key, &value, err); rc == ES_OK && es_key_starts(key, from);
         rc = es_cursor_next(c, &key, &value, err)) {
        es_bytes term, recording;
        if (es_index_split(key, &term, &recording)) rc = add_entry(l, recording, value, err);
        if (rc) break;
    }
    es_cursor_close(c);
    return rc == ES_ENOTFOUND ? ES_OK : rc;
}

static int gather_element(search *s, es_terms *stemmer, int i, es_err *err)
{
    const es_words_element *e = &s->words.elements[i];
    entries *l = &s->lists[i];
    int rc = ES_OK;

    if (e->how != ES_WORDS_STEM) {
        rc = gather_term(s, l, ES_INDEX_WRITTEN, e->text, e->n, e->how == ES_WORDS_BEGIN, err);
    } else {
        for (int language = 0; !rc && language < ES_TERMS_LANGUAGES; language++) {
            size_t n;
            const char *stem = es_terms_stem(stemmer, language, e->text, e->n, &n);
            rc = gather_term(s, l, ES_INDEX_STEMS + language, stem, n, false, err);
        }
    }
    /* One term's lists come sorted. */
    for (size_t k = 1; k < l->n; k++) {
        if (by_recording(&l->p[k - 1], &l->p[k]) <= 0) continue;
        qsort(l->p, l->n, sizeof *l->p, by_recording);
        break;
    }
    return rc;
}

static int gather(search *s, double all, es_err *err)
{
    es_terms *stemmer = es_terms_open();
    int rc = stemmer ? ES_OK : no_memory(err);

    for (int i = 0; !rc && i < s->words.n_elements; i++) rc = gather_element(s, stemmer, i, err);
    es_terms_close(stemmer);
    for (int i = 0; !rc && i < s->words.n_items; i++) {
        const es_words_item *item = &s->words.items[i];
        s->rarity[i] = 0;
        for (int k = item->first; k < item->first + item->n; k++) {
            double with = (double)s->lists[k].passages; /* of a beginning: at most so many, as words may share one */
            s->rarity[i] += es_words_rarity(all, with < all ? with : all);
        }
    }
    return rc;
}

/* ---- scoring one recording ---- */

static uint32_t words_of(const search *s, uint32_t passage)
{
    uint32_t n;

    memcpy(&n,
           (const char *)s->outline.rows + (size_t)passage * sizeof(es_outline_row) + offsetof(es_outline_row, n_words),
           sizeof n);
    return n;
}

static bool is_of(const entries *l, size_t at, const candidate *c)
{
    return at < l->n && l->p[at].media == c->media && l->p[at].track == c->track;
}

/* Adds what one element by itself is worth to each passage it is in. */
static void score_word(search *s, const candidate *c, int item)
{
    const es_words_item *it = &s->words.items[item];
    const entries *l = &s->lists[it->first];
    size_t from = c->first[it->first], to = from;
    es_postings p;

    while (is_of(l, to, c)) to++;
    if (to - from == 1) {
        if (!es_postings_open(&p, l->p[from].list)) return;
        while (es_postings_next(&p))
            if (p.passage < s->outline.n)
                s->scores[p.passage] += s->rarity[item] * es_words_weight(p.count, words_of(s, p.passage), s->average);
        return;
    }
    if (to == from) return;
    memset(s->counts, 0, s->outline.n * sizeof *s->counts);
    for (size_t i = from; i < to; i++) {
        if (!es_postings_open(&p, l->p[i].list)) continue;
        while (es_postings_next(&p))
            if (p.passage < s->outline.n) s->counts[p.passage] += p.count;
    }
    for (uint32_t i = 0; i < s->outline.n; i++)
        if (s->counts[i]) s->scores[i] += s->rarity[item] * es_words_weight(s->counts[i], words_of(s, i), s->average);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int grow_places(uint64_t **places, size_t *room, size_t n)
{
    uint64_t *moved;

    if (n <= *room) return 0;
    moved = realloc(*places, 2 * n * sizeof *moved);
    if (!moved) return -1;
    *places = moved;
    *room = 2 * n;
    return 0;
}

static int grow_raw(search *s, size_t n)
{
    uint32_t *moved;

    if (n <= s->room_raw) return 0;
    moved = realloc(s->raw, 2 * n * sizeof *moved);
    if (!moved) return -1;
    s->raw = moved;
    s->room_raw = 2 * n;
    return 0;
}

/* Every place of one element in the recording, less its offset in the phrase: where the phrase would begin. */
static int read_places(search *s, const candidate *c, int element, uint64_t **places, size_t *n, size_t *room)
{
    const entries *l = &s->lists[element];
    uint32_t offset = s->words.elements[element].offset;
    bool several = false;

    *n = 0;
    for (size_t i = c->first[element]; is_of(l, i, c); i++) {
        es_postings p;
        if (!es_postings_open(&p, l->p[i].list)) continue;
        several = several || *n;
        while (es_postings_next(&p)) {
            size_t most = (size_t)(p.all_end - p.places); /* each place takes a byte at least */
            uint32_t count = p.count < most ? p.count : (uint32_t)most, kept;
            if (grow_places(places, room, *n + count) || grow_raw(s, count)) return -1;
            kept = es_postings_places(&p, s->raw, count);
            for (uint32_t k = 0; k < kept; k++)
                if (s->raw[k] >= offset && p.passage < s->outline.n)
                    (*places)[(*n)++] = (uint64_t)p.passage << 32 | (s->raw[k] - offset);
        }
    }
    if (several) qsort(*places, *n, sizeof **places, by_number);
    return 0;
}

static int score_phrase(search *s, const candidate *c, int item)
{
    const es_words_item *it = &s->words.items[item];
    size_t n;

    if (read_places(s, c, it->first, &s->places, &s->n_places, &s->room_places)) return -1;
    for (int e = it->first + 1; e < it->first + it->n && s->n_places; e++) {
        size_t k = 0, kept = 0;
        if (read_places(s, c, e, &s->others, &s->n_others, &s->room_others)) return -1;
        for (size_t i = 0; i < s->n_places; i++) {
            while (k < s->n_others && s->others[k] < s->places[i]) k++;
            if (k < s->n_others && s->others[k] == s->places[i]) s->places[kept++] = s->places[i];
        }
        s->n_places = kept;
    }
    for (size_t i = 0; i < s->n_places; i += n) {
        uint32_t passage = (uint32_t)(s->places[i] >> 32);
        for (n = 1; i + n < s->n_places && s->places[i + n] >> 32 == passage; n++) {}
        s->phrases[passage]++;
        s->scores[passage] += s->rarity[item] * es_words_weight((double)n, words_of(s, passage), s->average);
    }
    return 0;
}

static int make_room(search *s, uint32_t n)
{
    if (n > s->room) {
        free(s->scores), free(s->counts), free(s->phrases);
        s->room = 0;
        s->scores = malloc(n * sizeof *s->scores);
        s->counts = malloc(n * sizeof *s->counts);
        s->phrases = malloc(n);
        if (!s->scores || !s->counts || !s->phrases) return -1;
        s->room = n;
    }
    memset(s->scores, 0, n * sizeof *s->scores);
    memset(s->phrases, 0, n);
    return 0;
}

static int score_recording(search *s, const candidate *c, es_err *err)
{
    int n_phrases = 0, rc;
    uint8_t key[RECORDING_BYTES];
    es_bytes value;

    for (int i = 0; i < 8; i++) key[i] = (uint8_t)(c->media >> 8 * (7 - i));
    key[8] = (uint8_t)(c->track >> 8), key[9] = (uint8_t)c->track;
    rc = es_txn_get(s->x, ES_TABLE_OUTLINES, (es_bytes){key, sizeof key}, &value, err);
    if (rc) return rc == ES_ENOTFOUND ? ES_OK : rc;
    if (es_record_read_outline(value, &s->outline, false, NULL) || !s->outline.n) return ES_OK;
    if (make_room(s, s->outline.n)) return no_memory(err);
    for (int i = 0; i < s->words.n_items; i++) {
        if (!s->words.items[i].phrase) {
            score_word(s, c, i);
        } else {
            n_phrases++;
            if (score_phrase(s, c, i)) return no_memory(err);
        }
    }
    for (uint32_t i = 0; i < s->outline.n; i++) {
        es_scored hit = {.score = s->scores[i], .id = {c->media, (int)c->track, i}};
        if (hit.score <= 0 || s->phrases[i] < n_phrases || !es_top_takes(&s->top, hit.score)) continue;
        if (s->filter && s->filter->passage) {
            es_outline_row row = es_outline_at(&s->outline, i);
            es_glance g = {.id = hit.id, .start_ms = row.start_ms, .end_ms = row.end_ms, .speaker = row.speaker};
            memcpy(g.language, row.language, sizeof g.language);
            if (!s->filter->passage(s->filter->user, &g)) continue;
        }
        es_top_add(&s->top, &hit);
    }
    return ES_OK;
}

/* ---- the recordings ---- */

/* What an item is worth at most in the recording whose lists begin at c->first; less than 0 where a phrase cannot be.
 */
static double bound_of(const search *s, const candidate *c, int item)
{
    const es_words_item *it = &s->words.items[item];
    double most = 0, least = 0;
    bool there = false;

    for (int e = it->first; e < it->first + it->n; e++) {
        double count = 0, words = 0;
        for (size_t i = c->first[e]; is_of(&s->lists[e], i, c); i++) {
            const entry *l = &s->lists[e].p[i];
            if (count == 0 || l->least < words) words = l->least;
            count += l->most;
        }
        if (count == 0) {
            if (it->phrase) return -1;
            continue;
        }
        if (!there || count < most) most = count; /* a phrase is there as often as its rarest word at most */
        if (!there || words > least) least = words;
        there = true;
    }
    return there ? s->rarity[item] * es_words_weight(most, least, s->average) : 0;
}

static int by_bound(const void *a, const void *b)
{
    const candidate *const *x = a, *const *y = b;

    if ((*x)->bound != (*y)->bound) return (*x)->bound > (*y)->bound ? -1 : 1;
    if ((*x)->media != (*y)->media) return (*x)->media < (*y)->media ? -1 : 1;
    return ((*x)->track > (*y)->track) - ((*x)->track < (*y)->track);
}

/* Walks the sorted lists of all elements side by side, and hands out each recording once. firsts: room for as many
 * times n_elements as there are lists. Returns how many there are. */
static size_t merge(search *s, candidate *c, size_t *firsts)
{
    int n_elements = s->words.n_elements;
    size_t at[ES_WORDS_MOST] = {0}, n = 0;

    for (;; n++) {
        const entry *least = NULL;
        for (int e = 0; e < n_elements; e++) {
            const entry *next = at[e] < s->lists[e].n ? &s->lists[e].p[at[e]] : NULL;
            if (next &&
                (!least || next->media < least->media || (next->media == least->media && next->track < least->track)))
                least = next;
        }
        if (!least) return n;
        c[n] = (candidate){.media = least->media, .track = least->track, .first = firsts};
        memcpy(firsts, at, (size_t)n_elements * sizeof *firsts);
        firsts += n_elements;
        for (int e = 0; e < n_elements; e++)
            while (is_of(&s->lists[e], at[e], &c[n])) at[e]++;
    }
}

static int rank(search *s, es_err *err)
{
    size_t lists = 0, n, kept = 0;
    candidate *c, **order;
    size_t *firsts;
    int rc = ES_OK;

    for (int e = 0; e < s->words.n_elements; e++) lists += s->lists[e].n;
    if (!lists) return ES_OK;
    c = malloc(lists * sizeof *c);
    order = malloc(lists * sizeof *order);
    firsts = malloc(lists * (size_t)s->words.n_elements * sizeof *firsts);
    if (!c || !order || !firsts) rc = no_memory(err);
    n = rc ? 0 : merge(s, c, firsts);
    for (size_t i = 0; i < n; i++) {
        bool possible = true;
        c[i].bound = 0;
        for (int item = 0; possible && item < s->words.n_items; item++) {
            double most = bound_of(s, &c[i], item);
            possible = most >= 0;
            c[i].bound += most;
        }
        c[i].bound *= 1 + 1e-9; /* above any sum of the same numbers, however it was rounded */
        if (possible) order[kept++] = &c[i];
    }
    if (kept) qsort(order, kept, sizeof *order, by_bound);
    for (size_t i = 0; !rc && i < kept && es_top_takes(&s->top, order[i]->bound); i++) {
        if (s->filter && s->filter->recording &&
            !s->filter->recording(s->filter->user, order[i]->media, (int)order[i]->track))
            continue;
        rc = score_recording(s, order[i], err);
    }
    free(c);
    free(order);
    free(firsts);
    return rc;
}

static void search_done(search *s)
{
    if (!s) return;
    for (int e = 0; e < s->words.n_elements; e++) free(s->lists[e].p);
    free(s->top.at);
    free(s->scores);
    free(s->counts);
    free(s->phrases);
    free(s->places);
    free(s->others);
    free(s->raw);
    free(s);
}

int es_store_find_words(es_store *st, const char *query, size_t bytes, const es_filter *filter, size_t k, es_hit *hits,
                        size_t *n, es_err *err)
{
    search *s = calloc(1, sizeof *s);
    es_totals totals;
    int rc;

    *n = 0;
    if (s) s->top = (es_top){.at = malloc((k ? k : 1) * sizeof *s->top.at), .k = k};
    if (!s || !s->top.at) {
        free(s);
        return no_memory(err);
    }
    s->filter = filter;
    es_words_parse(&s->words, query, bytes);
    if (s->words.cut) es_log(ES_LOG_WARN, "the query is long: its first %d words are searched for", ES_WORDS_MOST);
    rc = es_inside_can_search(st, err);
    if (!rc) rc = es_inside_begin(st, false, &s->x, err);
    if (rc) {
        search_done(s);
        return rc;
    }
    rc = es_index_totals(s->x, &totals, err);
    if (!rc && totals.passages && s->words.n_elements) {
        s->average = totals.words ? (double)totals.words / (double)totals.passages : 1;
        rc = gather(s, (double)totals.passages, err);
        if (!rc) rc = rank(s, err);
    }
    rc = es_inside_end(st, s->x, rc, err);
    es_top_sort(&s->top);
    for (size_t i = 0; !rc && i < s->top.n; i++) hits[i] = (es_hit){s->top.at[i].id, (float)s->top.at[i].score};
    *n = rc ? 0 : s->top.n;
    search_done(s);
    return rc;
}
