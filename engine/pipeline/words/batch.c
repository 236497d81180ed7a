/*
 * batch.c - which window is where: recordings, their cuts, and the slots.
 *
 *     recording -> cuts -> [waiting] -> slot: encode -> (language) -> decode, again while judged -> words -> written
 *                             ^                                                                        |
 *                             +----------- what the window left unsaid, as a window of its own <-------+
 *
 * Whisper is trained on windows that end anywhere, and so leaves a last sentence that it believes to go on beyond the
 * window to the next one. Here no window hears more of it, and one for a rest of a few seconds would cost as much as one
 * that is full: so a text may not end with such a promise before the window does, and says the sentence as far as it goes.
 *
 * A cut is a chain of windows: the first begins with it; if the text breaks off before the cut ends, because it is too
 * long or says that more will come, the next begins where the last complete segment ended, as in the sequential loop.
 * Only windows of one cut follow each other.
 *
 * The language of a recording is heard in its first three cuts: the one with the largest sum of probabilities. These
 * keep their slots, and so what was encoded, until all three have voted. Where there are too few slots for that one of
 * them is encoded anew later; its bits are the same.
 *
 * A text that fails is decoded again in its slot at once, since what was encoded is still there. It shares its steps
 * with whatever its neighbours are at, so nothing waits for it.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/words/batch.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/mel.h"
#include "pipeline/words/batch_parts.h"
#include "pipeline/words/window.h"
#include "text/language.h"

enum {
    LOOK_AROUND = 16, /* steps */
    LEAST_SAID = 80,  /* frames at the end of a window that may be left unsaid */
    LEAST_REST = 150, /* frames that a text left unsaid and that are worth a window */
    REFILL_PART = 8  /* windows are encoded when this part of the slots is free, if more than one goes at once */
};

typedef es_batch_chain chain;
typedef es_batch_recording recording;

typedef enum slot_state { SLOT_FREE, SLOT_ASKING, SLOT_VOTED, SLOT_DECODING } slot_state;

typedef struct slot {
    slot_state state;
    recording *r;
    chain *c;
    int frames;
    es_window window;
} slot;

struct es_batch {
    es_whisper *model;
    const es_bpe *bpe;
    es_whisper_limits limits;
    slot *slots;               /* [slots] */
    bool *ended;               /* [slots] */
    float *pcm;                /* [windows, ES_MEL_WINDOW_SAMPLES] */
    es_whisper_window *sounds; /* [windows] */
    es_window_piece pieces[ES_WINDOW_PIECES];
    es_window_scratch scratch;
    es_whisper_output out;

    /* the run */
    const es_transcribe_options *o;
    const es_batch_source *source;
    es_batch_figures figures;
    int32_t prompt[ES_WINDOW_HISTORY];
    size_t n_prompt;
    int language; /* that was asked for, or -1 */
    recording *first, *last;
    bool no_more;
    es_err *err;
};

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- recordings ---- */

static void drop_recording(recording *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->n; i++) es_transcript_done(&r->chains[i].part);
    free(r->chains);
    free(r);
}

static int fail_recording(recording *r, int rc, const es_err *why)
{
    if (r->rc == ES_OK) {
        r->rc = rc;
        r->why = *why;
    }
    return ES_OK;
}

/* ---- recordings on their way ---- */

/* Cuts a recording that came in; one that cannot be read fails alone. */
static int take_in(es_batch *b, es_batch_file *file)
{
    recording *r = calloc(1, sizeof *r);
    es_transcribe_options o = *b->o;
    es_cut *cuts = NULL;
    es_err why = {0};
    size_t n = 0;

    if (!r) return es_fail(b->err, ES_ENOMEM, "not enough memory for a recording");
    r->file = file;
    r->language = b->language;
    o.content = file->content;
    int rc = es_rules_make(&r->rules, es_whisper_dims_of(b->model), b->bpe, &o, &why);
    if (rc == ES_OK) rc = es_cut_sound(&cuts, &n, &file->sound, file->speech, file->n_speech, o.quiet_dbfs, &why);
    if (rc == ES_OK && n > 0 && !(r->chains = calloc(n, sizeof *r->chains)))
        rc = es_fail(&why, ES_ENOMEM, "no memory for %zu windows", n);
    for (size_t i = 0; i < n && rc == ES_OK; i++) {
        r->chains[i] = (chain){
            .seek = cuts[i].first, .end = cuts[i].end, .said_until = (double)cuts[i].first * 0.01, .language = -1};
        r->frames += cuts[i].end - cuts[i].first;
        r->n = i + 1;
    }
    if (rc == ES_OK) rc = es_batch_take_up(r, cuts, es_whisper_dims_of(b->model)->n_languages, es_rules_each(b->o), &why);
    if (rc != ES_OK) fail_recording(r, rc, &why);
    free(cuts);
    *(b->last ? &b->last->after : &b->first) = r;
    b->last = r;
    return ES_OK;
}

/* The parts of all chains as one transcript, and the language. */
static int conclude(es_batch *b, recording *r, es_err *err)
{
    es_transcript *to = r->file->to;
    int language = r->language;
    float probability = r->probability;

    for (size_t i = 0; i < r->n; i++) {
        chain *c = &r->chains[i];
        if (c->part.n_segments && es_rules_each(b->o) && language < 0)
            language = c->language, probability = c->probability;
        if (es_transcript_append(to, &c->part))
            return es_fail(err, ES_ENOMEM, "no memory for a transcript of %zu segments", to->n_segments);
        es_transcript_done(&c->part);
    }
    if (b->language >= 0) probability = 1;
    if (language >= 0 && (to->n_segments > 0 || b->language >= 0)) { /* noise has no language */
        strcpy(to->language, es_language_code(language));
        to->language_probability = probability;
    }
    return ES_OK;
}

static void leave(slot *s)
{
    s->r->busy--;
    s->state = SLOT_FREE;
    s->r = NULL;
    s->c = NULL;
}

/* Gives back every recording that has nothing left to do. */
static int give_back(es_batch *b)
{
    for (int i = 0; i < b->limits.slots; i++) /* of one that failed nothing is waited for */
        if (b->slots[i].state == SLOT_VOTED && b->slots[i].r->rc != ES_OK) leave(&b->slots[i]);
    for (recording **at = &b->first, *r; (r = *at);) {
        bool over = r->busy == 0 && (r->rc != ES_OK || r->done == r->n);
        if (!over) {
            at = &r->after;
            continue;
        }
        *at = r->after;
        if (b->last == r) {
            b->last = b->first;
            while (b->last && b->last->after) b->last = b->last->after;
        }
        es_err why = r->why;
        int rc = r->rc == ES_OK ? conclude(b, r, &why) : r->rc;
        es_batch_file *file = r->file;
        drop_recording(r);
        rc = b->source->done(b->source->user, file, rc, &why, b->err);
        if (rc != ES_OK) return rc;
    }
    return ES_OK;
}

/* ---- which window is next ---- */

static chain *next_of(es_batch *b, recording *r)
{
    bool knows = r->language >= 0 || es_rules_each(b->o);
    chain *c = NULL;

    if (r->rc != ES_OK) return NULL;
    if (knows && r->again) {
        c = r->again;
        r->again = c->after;
    } else if (r->fresh < r->n && (knows || r->fresh < es_batch_voters(r))) {
        c = &r->chains[r->fresh++];
        es_batch_skip_over(r);
    }
    return c;
}

static void wait_again(recording *r, chain *c)
{
    chain **at = &r->again;

    while (*at && *at < c) at = &(*at)->after; /* in the order of the recording */
    c->after = *at;
    *at = c;
}

static bool waits(const es_batch *b)
{
    for (const recording *r = b->first; r; r = r->after)
        if (r->rc == ES_OK && (r->again || r->fresh < r->n)) return true;
    return false;
}

/* *c NULL: there is none now. */
static int next_chain(es_batch *b, bool idle, recording **r, chain **c)
{
    *c = NULL;
    for (;;) {
        for (recording *i = b->first; i; i = i->after) {
            *c = next_of(b, i);
            *r = i;
            if (*c) return ES_OK;
        }
        if (b->no_more) return ES_OK;
        es_batch_file *file = NULL;
        int rc = b->source->next(b->source->user, idle, &file, b->err);
        if (rc != ES_OK) return rc;
        if (!file) {
            b->no_more = idle;
            return ES_OK;
        }
        rc = take_in(b, file);
        if (rc == ES_OK) rc = give_back(b); /* one without speech is complete */
        if (rc != ES_OK) return rc;
    }
}

/* ---- a window's way ---- */

static int tell(es_batch *b, recording *r, int64_t frames)
{
    r->frames_done += frames;
    if (!b->source->progress || !b->source->progress(b->source->user, r->file, r->frames_done * 10, r->frames * 10))
        return ES_OK;
    return es_fail(b->err, ES_ECANCELLED, "cancelled");
}

static void ask_language(es_batch *b, slot *s)
{
    int32_t sot = s->r->rules.ids.sot;
    es_whisper_request q = {.slot = (int)(s - b->slots), .prompt = &sot, .n_prompt = 1, .detect_language = true};

    es_whisper_begin(b->model, &q);
    s->state = SLOT_ASKING;
}

static void decode(es_batch *b, slot *s)
{
    int language = es_rules_each(b->o) && s->r->language < 0 ? s->c->language : s->r->language;

    es_window_begin(&s->window, &s->r->rules, s->c->seek, s->frames, (int)(s - b->slots), language, b->prompt,
                    b->n_prompt);
    if (s->frames > LEAST_SAID) s->window.least_end = (s->frames - LEAST_SAID) / 2;
    es_whisper_request q = es_window_request(&s->window, &s->r->rules);
    es_whisper_begin(b->model, &q);
    s->state = SLOT_DECODING;
}

/* The language with the largest sum; of equal ones the one heard first. */
static void count_votes(es_batch *b, recording *r)
{
    float best = -1;

    if (++r->votes < es_batch_voters(r)) return;
    for (size_t i = 0; i < es_batch_voters(r); i++) {
        float sum = 0, most = 0;
        if (r->chains[i].language < 0) continue;
        for (size_t k = 0; k < es_batch_voters(r); k++) {
            if (r->chains[k].language != r->chains[i].language) continue;
            sum += r->chains[k].probability;
            most = fmaxf(most, r->chains[k].probability);
        }
        if (sum > best) best = sum, r->language = r->chains[i].language, r->probability = most;
    }
    if (r->language < 0) r->language = 0; /* nothing was loud enough to be heard: no window is left, either */
    es_err why = {0};
    int rc = es_batch_keep_language(r, &why);
    if (rc != ES_OK) fail_recording(r, rc, &why);
    for (int i = 0; i < b->limits.slots; i++)
        if (b->slots[i].state == SLOT_VOTED && b->slots[i].r == r) decode(b, &b->slots[i]);
}

static int chain_over(es_batch *b, recording *r, chain *c, int64_t from)
{
    int64_t left = c->end - from;

    r->done++;
    return tell(b, r, left);
}

/* A text that came to its end may lack the last timestamp: in a window that goes on where the sound does, the next one
 * hears that part again. Here nobody does, and what is said lasts until the window ends. */
static int take_rest(const es_window *w, const es_window_rules *r, es_window_piece *pieces, int n, int64_t *next)
{
    const es_window_piece *last = &pieces[n - 1];
    int from = last->first_token + last->n_tokens, rest = w->out.n - from;

    if (!w->out.complete || rest < 2 || n >= ES_WINDOW_PIECES) return n;
    pieces[n] = (es_window_piece){.start = (double)w->seek * 0.01 + (w->out.tokens[from] - r->ids.timestamp_begin) * 0.02,
                                  .end = (double)(w->seek + w->frames) * 0.01,
                                  .first_token = from,
                                  .n_tokens = rest};
    *next = w->seek + w->frames;
    return n + 1;
}

/* The accepted text becomes segments; what it left unsaid waits again. */
static int write_window(es_batch *b, slot *s)
{
    recording *r = s->r;
    chain *c = s->c;
    es_window *w = &s->window;
    int64_t next = c->end, from = c->seek;
    es_err why = {0};
    int rc = ES_OK;
    bool ends;

    if (!es_window_is_silence(w, &r->rules)) {
        double before = c->said_until;
        int n = es_window_split(w, &r->rules, b->pieces, &next, &ends);
        if (!ends) n = take_rest(w, &r->rules, b->pieces, n, &next);
        int64_t most_ms = c->end * 10, duration_ms = r->file->sound.samples * 1000 / ES_RATE;
        if (b->o->words && es_whisper_dims_of(b->model)->n_pairs > 0) {
            double began = seconds();
            rc = es_window_align(w, &r->rules, b->model, b->pieces, n, &c->said_until, &b->scratch, &why);
            b->figures.times.align += seconds() - began;
            if (rc == ES_EDEVICE) return es_fail(b->err, rc, "%s", why.text);
            c->said_until = fmax(c->said_until, before);
            if (rc == ES_OK && c->part.n_segments > 0)
                es_window_unsay(w, &r->rules, b->pieces, n, before, &c->part, &b->scratch);
        }
        if (rc == ES_OK)
            rc = es_window_write(w, &r->rules, b->pieces, n, most_ms < duration_ms ? most_ms : duration_ms, &c->part,
                                 &b->scratch, &why);
    }
    leave(s);
    if (rc != ES_OK) return fail_recording(r, rc, &why);
    c->over = c->end - next < LEAST_REST;
    if (!c->over) c->seek = next;
    rc = es_batch_keep_chain(r, c, &why);
    if (rc != ES_OK) return fail_recording(r, rc, &why);
    if (c->over) return chain_over(b, r, c, from);
    wait_again(r, c);
    return tell(b, r, next - from);
}

/* What the model says of a slot. */
static int hear(es_batch *b, slot *s)
{
    es_whisper_take(b->model, (int)(s - b->slots), &b->out);
    if (s->r->rc != ES_OK) {
        leave(s);
        return ES_OK;
    }
    if (s->state == SLOT_ASKING) {
        s->c->language = b->out.tokens[0] - s->r->rules.ids.lang_begin;
        s->c->probability = b->out.language_probability;
        if (es_rules_each(b->o)) {
            decode(b, s);
            return ES_OK;
        }
        s->c->voted = true;
        s->state = SLOT_VOTED;
        count_votes(b, s->r);
        return ES_OK;
    }
    b->figures.times.attempts++;
    b->figures.times.tokens += b->out.n;
    if (es_window_judge(&s->window, &s->r->rules, &b->out, &b->scratch)) return write_window(b, s);
    es_whisper_request q = es_window_request(&s->window, &s->r->rules);
    es_whisper_begin(b->model, &q);
    return ES_OK;
}

/* ---- filling the slots ---- */

static int count(const es_batch *b, bool working)
{
    int n = 0;

    for (int i = 0; i < b->limits.slots; i++)
        n += working ? b->slots[i].state == SLOT_ASKING || b->slots[i].state == SLOT_DECODING
                     : b->slots[i].state == SLOT_FREE;
    return n;
}

/* Sound of a chain's next window. *quiet: it needs no model. */
static int read_sound(es_batch *b, recording *r, chain *c, float *pcm, int *frames, bool *quiet, es_err *why)
{
    int rc = es_sound_window(&r->file->sound, c->seek, pcm, why);
    int64_t n = c->end - c->seek;

    *frames = (int)n;
    if (rc != ES_OK) return rc;
    *quiet = es_sound_is_quiet(pcm, *frames, b->o->quiet_dbfs);
    /* What follows belongs to another window; a full one keeps the neighbours that its last frame sees. */
    if (n < ES_MEL_WINDOW_FRAMES) {
        size_t from = ES_MEL_WINDOW_CONTEXT + (size_t)n * ES_MEL_FRAME_SAMPLES;
        memset(pcm + from, 0, (ES_MEL_WINDOW_SAMPLES - from) * sizeof *pcm);
    }
    return ES_OK;
}

/* Encodes what waits into slots that are free, as many as go at once. *any: something was begun or came to an end. */
static int fill_some(es_batch *b, bool *any)
{
    int n = 0, rc = ES_OK, room = count(b, false);
    slot *taken[64];

    *any = false;
    if (room > b->limits.windows) room = b->limits.windows;
    if (room > 64) room = 64;
    while (n < room && rc == ES_OK) {
        recording *r = NULL;
        chain *c = NULL;
        es_err why = {0};
        float *pcm = b->pcm + (size_t)n * ES_MEL_WINDOW_SAMPLES;
        bool quiet = false;
        int frames;
        rc = next_chain(b, n == 0 && count(b, true) == 0 && !b->first, &r, &c);
        if (rc != ES_OK || !c) break;
        *any = true;
        int fault = read_sound(b, r, c, pcm, &frames, &quiet, &why);
        if (fault != ES_OK) {
            fail_recording(r, fault, &why);
            continue;
        }
        if (quiet) {
            rc = chain_over(b, r, c, c->seek);
            if (rc == ES_OK && !c->voted && r->language < 0 && !es_rules_each(b->o)) {
                c->voted = true;
                count_votes(b, r);
            }
            continue;
        }
        slot *s = b->slots;
        while (s->state != SLOT_FREE) s++;
        *s = (slot){.state = SLOT_VOTED, .r = r, .c = c, .frames = frames};
        r->busy++;
        b->sounds[n] =
            (es_whisper_window){.pcm = pcm, .frames = frames, .top = NAN, .fill = 0, .slot = (int)(s - b->slots)};
        taken[n++] = s;
    }
    if (rc != ES_OK || n == 0) return rc;
    double began = seconds();
    es_whisper_encode(b->model, b->sounds, n);
    b->figures.times.encode += seconds() - began;
    b->figures.times.windows += n;
    b->figures.encode_all += b->limits.windows;
    for (int i = 0; i < n; i++) {
        bool each = es_rules_each(b->o) && taken[i]->r->rules.multilingual;
        if (each || taken[i]->r->language < 0) ask_language(b, taken[i]);
        else decode(b, taken[i]);
    }
    return ES_OK;
}

/* Without a free slot and with nobody at work, all slots wait for a vote: one of them has to be given up for it. */
static void make_room(es_batch *b)
{
    for (int i = b->limits.slots - 1; i >= 0; i--) {
        slot *s = &b->slots[i];
        if (s->state != SLOT_VOTED) continue;
        wait_again(s->r, s->c);
        leave(s);
        return;
    }
}

static int fill(es_batch *b)
{
    int enough = b->limits.slots / REFILL_PART, rc;
    bool any;

    if (enough > b->limits.windows || b->limits.windows == 1) enough = b->limits.windows;
    if (enough < 1) enough = 1;
    do {
        if (count(b, true) > 0 && count(b, false) < enough) return ES_OK;
        rc = fill_some(b, &any);
        if (rc == ES_OK) rc = give_back(b);
        if (rc == ES_OK && !any && count(b, true) == 0 && b->first) {
            make_room(b);
            any = true;
        }
    } while (rc == ES_OK && any && count(b, false) > 0);
    return rc;
}

static int steps(es_batch *b)
{
    int working = count(b, true), S = b->limits.slots, rc;
    int64_t before = es_whisper_steps_run(b->model);
    double began = seconds();
    bool full = waits(b);

    es_whisper_steps_most(b->model, b->ended, LOOK_AROUND);
    rc = es_whisper_settle(b->model, b->err);
    b->figures.times.decode += seconds() - began;
    if (rc != ES_OK) return rc;
    int64_t n = es_whisper_steps_run(b->model) - before;
    b->figures.steps += n;
    b->figures.slot_steps += n * working;
    if (full) b->figures.full_steps += n, b->figures.full_slot_steps += n * working, b->figures.full_all += n * S;
    if (b->first) rc = tell(b, b->first, 0); /* large models take long for a window; the user is asked meanwhile */
    for (int i = 0; i < S && rc == ES_OK; i++)
        if (b->ended[i]) rc = hear(b, &b->slots[i]);
    return rc == ES_OK ? give_back(b) : rc;
}

/* ---- a run ---- */

bool es_batch_serves(const es_transcribe_options *o)
{
    return !o->sequential && !o->previous_text && !o->seek_words;
}

static void add_figures(es_batch_figures *to, const es_batch_figures *f)
{
    to->times.encode += f->times.encode, to->times.decode += f->times.decode, to->times.align += f->times.align;
    to->times.windows += f->times.windows, to->times.attempts += f->times.attempts, to->times.tokens += f->times.tokens;
    to->steps += f->steps, to->slot_steps += f->slot_steps;
    to->full_steps += f->full_steps, to->full_slot_steps += f->full_slot_steps, to->full_all += f->full_all;
    to->encode_all += f->encode_all;
}

int es_batch_run(es_batch *b, const es_transcribe_options *o, const es_batch_source *source, es_batch_figures *figures,
                 es_err *err)
{
    es_window_rules rules;
    int rc = ES_OK;

    if (!es_batch_serves(o))
        return es_fail(err, ES_EARG, "windows that follow each other's text or words cannot go side by side");
    b->o = o, b->source = source, b->err = err;
    b->figures = (es_batch_figures){0};
    b->no_more = false;
    rc = es_rules_make(&rules, es_whisper_dims_of(b->model), b->bpe, o, err);
    if (rc == ES_OK) rc = es_rules_language(&b->language, es_whisper_dims_of(b->model), o, err);
    if (rc == ES_OK) rc = es_rules_prompt(b->prompt, &b->n_prompt, b->bpe, o, err);
    while (rc == ES_OK) {
        rc = fill(b);
        if (rc != ES_OK || (count(b, true) == 0 && !b->first && b->no_more)) break;
        if (count(b, true) > 0) rc = steps(b);
    }
    if (rc != ES_OK) es_whisper_drop(b->model);
    for (int i = 0; i < b->limits.slots; i++) b->slots[i] = (slot){.state = SLOT_FREE};
    while (b->first) {
        recording *r = b->first;
        b->first = r->after;
        drop_recording(r);
    }
    b->last = NULL;
    if (figures) add_figures(figures, &b->figures);
    return rc;
}

int es_batch_open(es_batch **out, es_whisper *m, const es_bpe *bpe, es_err *err)
{
    const es_whisper_dims *dims = es_whisper_dims_of(m);
    es_whisper_ids ids = es_whisper_ids_of(dims);
    es_whisper_limits limits = es_whisper_limits_of(m);

    *out = NULL;
    if (es_bpe_count(bpe) != ids.eot)
        return es_fail(err, ES_EMODEL, "the token table has %d tokens, the model's vocabulary of %d needs %d",
                       es_bpe_count(bpe), dims->vocab, ids.eot);
    es_batch *b = calloc(1, sizeof *b);
    if (b) {
        b->model = m;
        b->bpe = bpe;
        b->limits = limits;
        b->slots = calloc((size_t)limits.slots, sizeof *b->slots);
        b->ended = calloc((size_t)limits.slots, sizeof *b->ended);
        b->pcm = malloc((size_t)limits.windows * ES_MEL_WINDOW_SAMPLES * sizeof *b->pcm);
        b->sounds = calloc((size_t)limits.windows, sizeof *b->sounds);
    }
    if (!b || !b->slots || !b->ended || !b->pcm || !b->sounds) {
        es_batch_close(b);
        return es_fail(err, ES_ENOMEM, "no memory for the windows of %d slots", limits.slots);
    }
    *out = b;
    return ES_OK;
}

void es_batch_close(es_batch *b)
{
    if (!b) return;
    free(b->slots);
    free(b->ended);
    free(b->pcm);
    free(b->sounds);
    free(b);
}
