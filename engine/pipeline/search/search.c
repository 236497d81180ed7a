/*
 * search.c - one question, two rankings, one answer.
 *
 *     query ---- its instruction, its vector ----> nearest passages     \
 *           ---- its telling words ---------- ---> passages with them    > fused by rank -> texts, times, speakers
 *           (both through the same filter)                              /
 *
 * The ranking by words enters only with passages that have a fair part of what the words weigh together. Without that bound
 * a passage with one of five words would be high in one ranking and somewhere in the other, and reciprocal ranks count that
 * more than to be the very best in meaning. What a word weighs is its best score in the library when it is asked alone; one
 * that is nowhere weighs as much as the heaviest of the others.
 *
 * A hit is a passage, and a passage may last a minute. Where it has words of the query, the time is that of the sentence
 * with most of them, found by laying the recording's words beside the passage's text.
 */
#define _GNU_SOURCE
#include "pipeline/search/search.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pipeline/search/fuse.h"
#include "pipeline/search/moment.h"
#include "pipeline/speakers/names.h"
#include "pipeline/session/packs.h"
#include "pipeline/search/query.h"
#include "text/unicode.h"

enum { HITS = 10, DEPTH = 100, MOST_DEPTH = 10000, MARKS = 256, WEIGHED_WORDS = 16 };

/* The part of the words' weight that a passage must have: two of five equal words are enough, one of three is not. */
#define FAIR_PART 0.4

typedef struct asking {
    es_store *s;
    const es_search_wish *wish;
    es_filter_set *filter;
    const char *query;
    size_t bytes, depth;
    es_hit *hits; /* [depth] */
    es_ranked *lists[ES_FUSE_LISTS];
    size_t n[ES_FUSE_LISTS];
    es_search_fn visit;
    void *user;
} asking;

static int no_memory(es_err *err)
{
    return es_fail(err, ES_ENOMEM, "not enough memory for the search");
}

static size_t wanted(const es_search_wish *w)
{
    return w->k > 0 ? (size_t)w->k : HITS;
}

static void asking_done(asking *a)
{
    es_filter_close(a->filter);
    free(a->hits);
    for (int i = 0; i < ES_FUSE_LISTS; i++) free(a->lists[i]);
}

static int asking_begin(asking *a, es_store *s, const es_search_wish *wish, es_search_fn visit, void *user, es_err *err)
{
    size_t depth = 5 * wanted(wish);

    *a = (asking){.s = s, .wish = wish, .visit = visit, .user = user, .query = ""};
    a->depth = depth < DEPTH ? DEPTH : depth > MOST_DEPTH ? MOST_DEPTH : depth;
    a->hits = malloc(a->depth * sizeof *a->hits);
    for (int i = 0; i < ES_FUSE_LISTS; i++) a->lists[i] = malloc(a->depth * sizeof **a->lists);
    if (!a->hits || !a->lists[0] || !a->lists[1]) return no_memory(err);
    return es_filter_open(&a->filter, s, &wish->where, err);
}

/* ---- which space ---- */

typedef struct spaces {
    es_text_space best;
} spaces;

static int take_larger(void *user, const es_text_space *space)
{
    spaces *all = user;

    if (space->n_vectors > all->best.n_vectors) all->best = *space;
    return 0;
}

int es_search_space(es_store *s, es_text_space *out, es_err *err)
{
    spaces all = {0};
    int rc = es_store_spaces(s, take_larger, &all, err);

    *out = all.best;
    return rc;
}

/* A recording with vectors, and what made them. */
typedef struct made_by {
    es_hash128 content;
    int track;
    char name[64];
} made_by;

typedef struct makers {
    made_by *at;
    size_t n, room;
} makers;

static int note_maker(void *user, const es_entry *e)
{
    const char *name = e->made.by[ES_STAGE_EMBEDDER].name;
    makers *m = user;

    if (!*name) return 0;
    if (m->n == m->room) {
        size_t room = m->room ? 2 * m->room : 64;
        made_by *moved = realloc(m->at, room * sizeof *moved);
        if (!moved) return 1;
        m->at = moved, m->room = room;
    }
    m->at[m->n] = (made_by){.content = e->media.content, .track = e->media.track};
    snprintf(m->at[m->n++].name, sizeof m->at->name, "%s", name);
    return 0;
}

/* "minilm", or the beginning of the space's hash where no recording says. */
static const char *maker_of(es_store *s, es_hash128 space, char *out, size_t room)
{
    makers m = {0};
    char hex[33];
    bool has = false;

    es_store_list(s, note_maker, &m, NULL);
    for (size_t i = 0; i < m.n && !has; i++)
        if (es_store_has_vectors(s, m.at[i].content, m.at[i].track, space, &has, NULL) == ES_OK && has)
            es_printable(out, room, m.at[i].name);
    free(m.at);
    es_hash_hex(hex, space);
    if (!has) snprintf(out, room, "a text encoder with the hash %.10s", hex);
    return out;
}

static bool same(es_hash128 a, es_hash128 b)
{
    return !memcmp(&a, &b, sizeof a);
}

static int count_recording(void *user, const es_entry *e)
{
    *(uint64_t *)user += e->n_words > 0 || e->n_passages > 0;
    return 0;
}

/* What has no vectors in the space is not found by meaning: whoever searches should know. */
static void note_coverage(es_store *s, const es_text_space *space)
{
    uint64_t all = 0;

    if (es_store_list(s, count_recording, &all, NULL) == ES_OK && all > space->n_recordings)
        es_log(ES_LOG_NOTE, "%" PRIu64 " of %" PRIu64 " recordings are found by their words alone; `earshot reembed` makes their vectors",
               all - space->n_recordings, all);
}

void es_search_note_space(es_store *s, const es_embedding *e)
{
    es_text_space space;
    char of[100];

    if (!e || !es_embedding_has_tokens(e) || es_search_space(s, &space, NULL) != ES_OK || !space.n_vectors) return;
    if (same(es_embedding_space(e), space.space)) return;
    es_log(ES_LOG_NOTE,
           "the library's vectors are those of %s, and %s makes others: what is taken in now is found by its words alone until "
           "`earshot reembed` makes all vectors anew",
           maker_of(s, space.space, of, sizeof of), es_embedding_name(e));
}

int es_search_encoder(es_store *s, es_embedding **out, const es_embedding_options *o, es_err *err)
{
    es_embedding_options chosen = *o;
    es_packs packs = {0};
    es_text_space space;
    char of[100], shown[300];
    int rc = es_search_space(s, &space, err);

    *out = NULL;
    if (rc != ES_OK) return rc;
    if (!space.n_vectors)
        return es_fail(err, ES_ENOTFOUND, "%s has no vectors of what was said; `earshot reembed` makes them",
                       es_printable(shown, sizeof shown, es_store_dir(s)));
    if (o->model) {
        rc = es_embedding_open(out, o, err);
        if (rc != ES_OK) return rc;
        if (same(es_embedding_space(*out), space.space)) {
            note_coverage(s, &space);
            return ES_OK;
        }
        const char *name = es_embedding_name(*out);
        rc = es_fail(err, ES_EMODEL,
                     "the library's vectors are those of %s (%d numbers), and %s makes others (%d): they cannot be compared; "
                     "`earshot reembed --embedder %s` makes new ones of all that was said",
                     maker_of(s, space.space, of, sizeof of), space.width, name, es_embedding_width(*out), name);
        es_embedding_close(*out);
        *out = NULL;
        return rc;
    }
    rc = es_packs_scan(&packs, o->models, err);
    const char *path = NULL;
    for (size_t i = 0; i < packs.n && rc == ES_OK && !path; i++)
        if (!packs.at[i].fault && same(packs.at[i].space, space.space)) path = packs.at[i].path;
    if (rc == ES_OK && !path)
        rc = es_fail(err, ES_ENOTFOUND,
                     "the library's vectors are those of %s, which is not among the packs in %s; `earshot reembed` makes new ones "
                     "with what is there",
                     maker_of(s, space.space, of, sizeof of), es_printable(shown, sizeof shown, o->models));
    chosen.models = path;
    if (rc == ES_OK) rc = es_embedding_open(out, &chosen, err);
    if (rc == ES_OK) note_coverage(s, &space);
    es_packs_done(&packs);
    return rc;
}

/* ---- the two rankings ---- */

static void rank(asking *a, int list, size_t n)
{
    for (size_t i = 0; i < n; i++) a->lists[list][i] = (es_ranked){.passage = a->hits[i].id, .score = (double)a->hits[i].score};
    a->n[list] = n;
}

static int rank_vector(asking *a, const es_text_space *space, const float *vector, es_err *err)
{
    es_filter filter = es_filter_of(a->filter);
    size_t n = 0;
    int rc = es_store_find_vectors(a->s, space->space, vector, space->width, &filter, a->wish->threads, a->depth, a->hits, &n, err);

    if (rc == ES_OK) rank(a, 0, n);
    return rc;
}

static int rank_meaning(asking *a, es_embedding *e, es_err *err)
{
    es_text_space space;
    float *vector = malloc((size_t)es_embedding_width(e) * sizeof *vector);
    int rc = vector ? es_search_space(a->s, &space, err) : no_memory(err);

    if (rc == ES_OK && (!same(es_embedding_space(e), space.space) || space.width != es_embedding_width(e)))
        rc = es_fail(err, ES_EMODEL, "the library's vectors are not those of %s; open the library's encoder again, or `earshot reembed`",
                     es_embedding_name(e));
    if (rc == ES_OK) rc = es_embedding_texts(e, &a->query, &a->bytes, 1, true, vector, err);
    if (rc == ES_OK) rc = rank_vector(a, &space, vector, err);
    free(vector);
    return rc;
}

/* What the words of a query weigh together; 0 where that is not asked: for a single one, and for very many. */
static int weigh(asking *a, const char *words, size_t bytes, double *weight, es_err *err)
{
    es_query_piece p;
    double known = 0, heaviest = 0;
    size_t at = 0, n = 0, nowhere = 0;
    int rc = ES_OK;

    *weight = 0;
    while (n <= WEIGHED_WORDS && es_query_next(&p, words, bytes, &at)) n++;
    if (n < 2 || n > WEIGHED_WORDS) return ES_OK;
    for (at = 0; rc == ES_OK && es_query_next(&p, words, bytes, &at);) {
        es_hit best;
        size_t found = 0;
        rc = es_store_find_words(a->s, p.text, p.bytes, NULL, 1, &best, &found, err);
        if (found) known += (double)best.score;
        else nowhere++;
        if (found && (double)best.score > heaviest) heaviest = (double)best.score;
    }
    *weight = known + (double)nowhere * heaviest;
    return rc;
}

static int rank_words(asking *a, bool fused, es_err *err)
{
    es_filter filter = es_filter_of(a->filter);
    char *telling = fused ? malloc(2 * a->bytes + 1) : NULL;
    const char *words = a->query;
    size_t bytes = a->bytes, n = 0;
    double weight = 0;
    int rc = ES_OK;

    if (fused && !telling) return no_memory(err);
    if (fused) bytes = es_query_telling(telling, a->query, a->bytes), words = telling;
    rc = es_store_find_words(a->s, words, bytes, &filter, a->depth, a->hits, &n, err);
    if (rc == ES_OK && fused && n) rc = weigh(a, words, bytes, &weight, err);
    while (n && (double)a->hits[n - 1].score < FAIR_PART * weight) n--;
    if (rc == ES_OK) rank(a, 1, n);
    free(telling);
    return rc;
}

/* ---- where in a passage ---- */

/* The start of the sentence whose marks have the most bytes, and so the rarest words as a rule; the first of equal ones. */
static size_t best_sentence(const es_found *f, const es_stretch *marks, size_t n)
{
    size_t start = 0, best = 0, most = 0, weight = 0, m = 0;

    for (size_t i = 0; i < f->bytes;) {
        int32_t c;
        size_t used = es_unicode_next(f->text + i, f->bytes - i, &c);
        for (; m < n && marks[m].from <= i; m++) weight += marks[m].to - marks[m].from;
        i += used;
        bool ends = c == '.' || c == '?' || c == '!' || c == 0x3002 || c == 0xFF1F || c == 0xFF01;
        if (!ends && i < f->bytes) continue;
        if (weight > most) most = weight, best = start;
        weight = 0;
        while (i < f->bytes) { /* the next one begins behind blanks and closing signs */
            used = es_unicode_next(f->text + i, f->bytes - i, &c);
            if (!es_unicode_is_space(c) && c != '"' && c != 0x201D && c != '.') break;
            i += used;
        }
        start = i;
    }
    return best;
}

/* When the byte `at` of a passage's text is said: by the recording's words where they are the text, else in proportion. */
static int64_t time_of(const es_transcript *t, const es_found *f, size_t at)
{
    size_t bytes = 0, skip = 0;
    int64_t when = -1;
    bool same = true;

    for (size_t i = 0; i < t->n_segments && same; i++) {
        const es_segment *s = &t->segments[i];
        for (uint32_t k = 0; k < s->n_words && same; k++) {
            const es_word *w = &t->words[s->first_word + k];
            int speaker = w->speaker >= 0 ? w->speaker : s->speaker;
            const char *text = t->text + w->text_at;
            size_t n = w->text_bytes;
            if (w->start_ms < f->start_ms || w->end_ms > f->end_ms || speaker != f->speaker || bytes - skip >= f->bytes) continue;
            if (!bytes) { /* a passage begins behind the blank of its first word */
                const char *inner = es_unicode_strip(text, &n);
                skip = (size_t)(inner - text);
                n = w->text_bytes;
            }
            size_t from = bytes ? bytes - skip : 0, lead = bytes ? 0 : skip;
            size_t left = f->bytes - from, compared = n - lead < left ? n - lead : left;
            same = n >= lead && !memcmp(text + lead, f->text + from, compared);
            bytes += n;
            if (same && when < 0 && bytes - skip > at) when = w->start_ms;
        }
    }
    if (same && when >= 0) return when;
    double part = f->bytes ? (double)at / (double)f->bytes : 0;
    return f->start_ms + (int64_t)((double)(f->end_ms - f->start_ms) * part);
}

/* What hits of one recording share, kept for the next one. */
typedef struct recording {
    es_hash128 content;
    int track;
    bool known, has_words;
    es_transcript transcript;
    es_names names;
} recording;

static void recording_done(recording *r)
{
    es_transcript_done(&r->transcript);
    es_names_done(&r->names);
    *r = (recording){0};
}

static int recording_of(asking *a, recording *r, const es_found *f, es_err *err)
{
    if (r->known && !memcmp(&r->content, &f->media.content, sizeof r->content) && r->track == f->media.track) return ES_OK;
    recording_done(r);
    r->content = f->media.content, r->track = f->media.track, r->known = true;
    return es_names_of(a->s, r->content, r->track, &r->names, err);
}

static int words_of(asking *a, recording *r, es_err *err)
{
    es_result result = {0};
    int rc;

    if (r->has_words) return ES_OK;
    rc = es_store_get(a->s, r->content, r->track, &result, err);
    if (rc == ES_OK) {
        r->transcript = result.transcript;
        result.transcript = (es_transcript){0};
        r->has_words = true;
    }
    es_result_done(&result);
    return rc;
}

/* ---- the answer ---- */

/* 1 where the visitor has had enough. */
static int show(asking *a, recording *r, const es_fused *f, int number, es_err *err)
{
    es_found found = {0};
    es_stretch marks[MARKS];
    char label[ES_PERSON_BYTES + 1];
    int stop = 0, rc = es_store_passage(a->s, f->passage, &found, err);

    if (rc == ES_OK) rc = recording_of(a, r, &found, err);
    if (rc == ES_OK) {
        es_search_hit hit = {.rank = number, .found = &found, .speaker = "", .marks = marks, .at_ms = found.start_ms, .score = f->score,
                             .meaning_rank = f->rank[0], .words_rank = f->rank[1], .similarity = f->own[0], .words_score = f->own[1]};
        if (found.speaker >= 0) hit.speaker = es_speaker_label(label, &r->names, found.speaker);
        hit.n_marks = a->bytes ? es_find_marks(a->query, a->bytes, found.text, found.bytes, found.language, marks, MARKS) : 0;
        if (hit.n_marks > MARKS) hit.n_marks = MARKS;
        if (hit.n_marks) hit.best = best_sentence(&found, marks, hit.n_marks);
        if (hit.best) rc = words_of(a, r, err);
        if (rc == ES_OK && hit.best) hit.at_ms = time_of(&r->transcript, &found, hit.best);
        if (rc == ES_OK) stop = a->visit(a->user, &hit);
    }
    es_found_done(&found);
    return rc != ES_OK ? rc : stop ? 1 : ES_OK;
}

static int answer(asking *a, const es_passage_id *but, es_err *err)
{
    const es_ranked *const lists[ES_FUSE_LISTS] = {a->lists[0], a->lists[1]};
    es_fused *fused = malloc((a->n[0] + a->n[1] + 1) * sizeof *fused);
    recording r = {0};
    int rc = fused ? ES_OK : no_memory(err), number = 0;

    size_t n = fused ? es_fuse(fused, lists, a->n) : 0;
    for (size_t i = 0; i < n && rc == ES_OK && (size_t)number < wanted(a->wish); i++) {
        if (but && !es_fuse_compare(but, &fused[i].passage)) continue;
        rc = show(a, &r, &fused[i], ++number, err);
    }
    recording_done(&r);
    free(fused);
    return rc > 0 ? ES_OK : rc;
}

int es_search(es_store *s, es_embedding *e, const char *query, size_t bytes, const es_search_wish *wish, es_search_fn visit,
              void *user, es_err *err)
{
    asking a;
    size_t solid = bytes;
    int rc;

    es_unicode_strip(query, &solid);
    if (!solid) return es_fail(err, ES_EARG, "the query is empty");
    if (wish->mode == ES_SEARCH_MEANING && !e) return es_fail(err, ES_EARG, "a search by meaning needs the library's text encoder");
    rc = asking_begin(&a, s, wish, visit, user, err);
    a.query = query, a.bytes = bytes;
    if (rc == ES_OK && e && wish->mode != ES_SEARCH_WORDS) rc = rank_meaning(&a, e, err);
    if (rc == ES_OK && wish->mode != ES_SEARCH_MEANING) rc = rank_words(&a, e && wish->mode == ES_SEARCH_FUSED, err);
    if (rc == ES_OK) rc = answer(&a, NULL, err);
    asking_done(&a);
    return rc;
}

/* ---- similar ---- */

/* The passage that is said at a time: the last one that has begun, if its end has not long passed; with overlapping speech
 * that is the one that answers. */
static size_t passage_at(const es_passages *p, int64_t ms)
{
    size_t best = SIZE_MAX;
    int64_t nearest = INT64_MAX;

    for (size_t i = 0; i < p->n; i++) {
        int64_t off = ms < p->at[i].start_ms ? p->at[i].start_ms - ms : ms > p->at[i].end_ms ? ms - p->at[i].end_ms : 0;
        if (off > nearest) continue;
        nearest = off, best = i;
    }
    return best;
}

int es_search_similar(es_store *s, const char *moment, const es_search_wish *wish, es_search_fn visit, void *user, es_err *err)
{
    char name[4096], shown[256];
    es_media_info media = {0};
    es_made made = {0};
    es_passages p = {0};
    es_hash128 content;
    es_text_space space;
    asking a = {0};
    int64_t ms;
    int track = -1, rc = es_moment_split(name, sizeof name, &ms, moment, err);

    if (rc == ES_OK) rc = es_store_resolve(s, name, &content, &track, err);
    if (rc == ES_OK) rc = es_store_get_info(s, content, track, &media, &made, err);
    track = media.track; /* which of several it was */
    if (rc == ES_OK) rc = es_search_space(s, &space, err);
    if (rc == ES_OK) rc = es_store_get_passages(s, content, track, true, &p, err);
    es_printable(shown, sizeof shown, name);
    if (rc == ES_OK && !p.n) rc = es_fail(err, ES_ENOTFOUND, "%s has no passages: nothing is said in it", shown);
    if (rc == ES_OK && (p.vectors.n != p.n || !same(p.vectors.space, space.space)))
        rc = es_fail(err, ES_ENOTFOUND, "%s has no vectors that can be compared with the library's; `earshot reembed` makes them", shown);
    if (rc == ES_OK) rc = asking_begin(&a, s, wish, visit, user, err);
    if (rc == ES_OK) {
        size_t i = passage_at(&p, ms);
        const es_passage_id itself = {es_hash_id(content), track, (uint32_t)i};
        rc = rank_vector(&a, &space, p.vectors.rows + i * (size_t)p.vectors.width, err);
        if (rc == ES_OK) rc = answer(&a, &itself, err);
    }
    asking_done(&a);
    es_passages_done(&p);
    es_media_info_done(&media);
    es_made_done(&made);
    return rc;
}
