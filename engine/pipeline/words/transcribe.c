/*
 * transcribe.c - the loop over the windows of one recording.
 *
 *     seek = 0
 *     until the recording ends:
 *         window  = 30 s from seek, or what is left; the rest of the mel is 0
 *         quiet?    next window
 *         encode;  language, the first time or each time;  decode and judge until it holds;  silence? next window
 *         pieces, and where the next window starts;  words;  segments
 *         history  = the tokens of the pieces, if the next window is to know them
 *
 * The window's samples are read with 200 more on either side, so that frames at its edges see their true neighbours,
 * and a recording's first frames see the mirror of its start: the same values as one transform of the whole recording
 * gives, window by window. The largest value is that of the whole recording with one frame after its end, as the
 * reference pads it.
 *
 * What the user tells beforehand (prompt) goes before every window, not only the first: without the previous text it
 * would otherwise be forgotten after 30 seconds. The history gets the room that the prompt leaves.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/words/transcribe.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audio/mel.h"
#include "pipeline/words/rules.h"
#include "pipeline/words/window.h"
#include "text/language.h"

enum { SLOT = 0, SPEECH_EDGE_MS = 500 };

static const float forget_above = 0.5f; /* a text sampled at a higher temperature is no guide for the next window */

struct es_transcriber {
    es_whisper *model;
    const es_bpe *bpe;
    float pcm[ES_MEL_WINDOW_SAMPLES];
    es_window window;
    es_window_piece pieces[ES_WINDOW_PIECES];
    es_window_scratch scratch;
    int32_t history[2 * ES_WHISPER_POSITIONS]; /* prompt, then tokens said before */
    size_t n_prompt, n_history;                /* n_history counts both */
};

/* One recording on its way. */
typedef struct job {
    es_transcriber *t;
    const es_sound *sound;
    const es_transcribe_options *o;
    es_window_rules rules;
    int64_t frames, duration_ms; /* of content */
    float top;                   /* largest log10 of the mel */
    int language;                /* index, -1 not known yet */
    bool detects;                /* the language is not given */
    double said_until;           /* seconds */
    es_transcript *to;
    es_transcribe_times times;
    uint32_t n_kept;    /* entries in the journal */
    size_t kept_until;  /* segments that they hold */
    es_err *err;
} job;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void add_times(es_transcribe_times *to, const es_transcribe_times *t)
{
    to->listen += t->listen, to->encode += t->encode, to->decode += t->decode, to->align += t->align;
    to->windows += t->windows, to->attempts += t->attempts, to->tokens += t->tokens;
}

/* ---- options ---- */

es_transcribe_options es_transcribe_defaults(void)
{
    return (es_transcribe_options){
        .timestamps = true,
        .words = true,
        .temperature = {0.0f, 0.2f, 0.4f, 0.6f, 0.8f, 1.0f},
        .n_temperatures = 6,
        .most_compression = 2.4f,
        .least_logprob = -1.0f,
        .most_no_speech = 0.6f,
        .max_initial = 1.0f,
        .quiet_dbfs = -70.0f,
    };
}

/* ---- sound ---- */

static int read_spool(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    return es_spool_read(user, first, n, out, err);
}

es_sound es_sound_of(es_spool *s)
{
    return (es_sound){.read = read_spool, .user = s, .samples = es_spool_samples(s)};
}

static int read_window(job *j, int64_t seek)
{
    return es_sound_window(j->sound, seek, j->t->pcm, j->err);
}

/* Whether nobody speaks in a window or within half a second of it: a region's edges are not sharp. Windows keep their
 * places, so that what is said elsewhere is heard as if nothing had been left out. */
static bool is_unspoken(const job *j, int64_t seek, int frames)
{
    const es_transcribe_options *o = j->o;
    int64_t start_ms = seek * 10 - SPEECH_EDGE_MS, end_ms = (seek + frames) * 10 + SPEECH_EDGE_MS;

    if (!o->speech) return false;
    for (size_t i = 0; i < o->n_speech; i++)
        if (o->speech[i].start_ms < end_ms && o->speech[i].end_ms > start_ms) return false;
    return true;
}

static int tell(const job *j, const char *what, int64_t frames)
{
    int64_t done = frames < j->frames ? frames * 10 : j->duration_ms;

    if (j->o->progress && j->o->progress(j->o->user, what, done, j->duration_ms))
        return es_fail(j->err, ES_ECANCELLED, "cancelled at %lld of %lld ms while %s", (long long)done,
                       (long long)j->duration_ms, what);
    return ES_OK;
}

static int find_top(job *j)
{
    int64_t all = j->frames + 1;
    int rc = ES_OK;

    j->top = -10;
    for (int64_t seek = 0; rc == ES_OK && seek < all; seek += ES_MEL_WINDOW_FRAMES) {
        int frames = (int)(all - seek < ES_MEL_WINDOW_FRAMES ? all - seek : ES_MEL_WINDOW_FRAMES);
        float top;
        const float *pcm = j->t->pcm;
        rc = read_window(j, seek);
        if (rc != ES_OK) break;
        es_whisper_tops(j->t->model, &pcm, &frames, 1, &top);
        j->top = fmaxf(j->top, top);
        rc = tell(j, "listening", seek + frames);
    }
    return rc;
}

/* ---- windows ---- */

static int detect_language(job *j)
{
    int32_t sot = j->rules.ids.sot;
    es_whisper_request request = {.slot = SLOT, .prompt = &sot, .n_prompt = 1, .detect_language = true};
    es_whisper_output *out = &j->t->window.out;
    int rc = es_whisper_decode(j->t->model, &request, out, j->err);

    if (rc != ES_OK) return rc;
    j->language = out->tokens[0] - j->rules.ids.lang_begin;
    assert(j->language >= 0 && es_language_code(j->language));
    if (!j->to->language[0]) {
        strcpy(j->to->language, es_language_code(j->language));
        j->to->language_probability = out->language_probability;
    }
    return ES_OK;
}

static int decode_window(job *j, int64_t seek, int frames)
{
    es_transcriber *t = j->t;
    es_window *w = &t->window;
    es_whisper_window sound = {.pcm = t->pcm, .frames = frames, .top = j->top, .fill = 0, .slot = SLOT};
    es_whisper_output out;
    int rc = ES_OK;
    bool done = false;
    double began = seconds();

    es_whisper_encode(t->model, &sound, 1);
    j->times.encode += seconds() - began;
    j->times.windows++;
    began = seconds();
    if (j->language < 0 || (es_rules_each(j->o) && j->rules.multilingual)) rc = detect_language(j);
    if (rc != ES_OK) return rc;
    es_window_begin(w, &j->rules, seek, frames, SLOT, j->language, t->history, t->n_history);
    while (!done) {
        es_whisper_request request = es_window_request(w, &j->rules);
        rc = es_whisper_decode(t->model, &request, &out, j->err);
        if (rc != ES_OK) return rc;
        done = es_window_judge(w, &j->rules, &out, &t->scratch);
        j->times.attempts++;
        j->times.tokens += out.n;
    }
    j->times.decode += seconds() - began;
    return ES_OK;
}

/* The tokens of the pieces that were written become text before the next window, or everything but the prompt goes. */
static void remember(job *j, int n_pieces)
{
    es_transcriber *t = j->t;
    const es_window *w = &t->window;

    if (!j->o->previous_text || w->last_temperature > forget_above) {
        t->n_history = t->n_prompt;
        return;
    }
    size_t room = ES_WINDOW_HISTORY - t->n_prompt;
    for (int i = 0; i < n_pieces; i++) {
        const es_window_piece *piece = &t->pieces[i];
        if (!es_window_says(w, &j->rules, piece)) continue;
        size_t n = (size_t)piece->n_tokens, old = t->n_history - t->n_prompt, drop;
        const int32_t *tokens = w->out.tokens + piece->first_token;
        if (n > room) tokens += n - room, n = room;
        drop = old + n > room ? old + n - room : 0;
        memmove(t->history + t->n_prompt, t->history + t->n_prompt + drop, (old - drop) * sizeof *tokens);
        memcpy(t->history + t->n_prompt + old - drop, tokens, n * sizeof *tokens);
        t->n_history = t->n_prompt + old - drop + n;
    }
}

/* Noise has no language; where nothing was said yet, the next window is asked again. */
static void forget_language(job *j)
{
    if (!j->detects || j->to->n_segments > 0) return;
    j->language = -1;
    j->to->language[0] = 0;
    j->to->language_probability = 0;
}

/* Transcribes the window at seek; *next is where the one after it starts. */
static int take_window(job *j, int64_t seek, int frames, int64_t *next)
{
    es_transcriber *t = j->t;
    es_window *w = &t->window;
    double said_until = j->said_until;
    bool ends;

    *next = seek + frames;
    int rc = decode_window(j, seek, frames);
    if (rc != ES_OK) return rc;
    if (es_window_is_silence(w, &j->rules)) {
        forget_language(j);
        return ES_OK;
    }
    int n = es_window_split(w, &j->rules, t->pieces, next, &ends);
    if (j->o->words && es_whisper_dims_of(t->model)->n_pairs > 0) {
        double began = seconds();
        rc = es_window_align(w, &j->rules, t->model, t->pieces, n, &j->said_until, &t->scratch, j->err);
        j->times.align += seconds() - began;
        if (rc != ES_OK) return rc;
        j->said_until = fmax(j->said_until, said_until);
        if (!j->o->seek_words) es_window_unsay(w, &j->rules, t->pieces, n, said_until, j->to, &t->scratch);
        if (j->o->seek_words && !ends) *next = es_window_after_words(w, j->said_until, *next);
    }
    rc = es_window_write(w, &j->rules, t->pieces, n, j->duration_ms, j->to, &t->scratch, j->err);
    remember(j, n);
    return rc;
}

/* ---- what an earlier run left ---- */

typedef struct taking {
    job *j;
    int64_t *seek;
    bool gap;
} taking;

/* The state behind a window, and the segments that came with it. */
static int take_kept(void *user, es_journal_entry *e, es_err *err)
{
    taking *t = user;
    job *j = t->j;
    es_transcriber *x = j->t;

    t->gap = t->gap || e->number != j->n_kept || e->seek <= *t->seek || e->n > ES_WINDOW_HISTORY - x->n_prompt ||
             (e->language >= 0 && !es_language_code(e->language));
    if (t->gap) return ES_OK;
    if (es_transcript_append(j->to, &e->part))
        return es_fail(err, ES_ENOMEM, "no memory for a transcript of %zu segments", j->to->n_segments);
    *t->seek = e->seek;
    j->n_kept++;
    j->kept_until = j->to->n_segments;
    j->said_until = e->said_until;
    if (e->n) memcpy(x->history + x->n_prompt, e->tokens, e->n * sizeof *e->tokens);
    x->n_history = x->n_prompt + e->n;
    if (!j->detects) return ES_OK;
    j->language = e->language;
    snprintf(j->to->language, sizeof j->to->language, "%s", e->language >= 0 ? es_language_code(e->language) : "");
    j->to->language_probability = e->probability;
    return ES_OK;
}

static int take_up(job *j, int64_t *seek)
{
    const es_transcribe_options *o = j->o;
    taking t = {.j = j, .seek = seek};
    es_hash128 of[2] = {{{o->speech != NULL}}, es_hash_bytes(o->n_speech ? (const void *)o->speech : "", o->n_speech * sizeof *o->speech)};
    int rc = es_kept_read(o->kept, ES_JOURNAL_WORDS, of, sizeof of, take_kept, &t, j->err);

    if (rc == ES_OK) es_kept_took(o->kept, ES_JOURNAL_WORDS, j->n_kept, 0);
    return rc;
}

/* The loop goes on at `seek`. */
static int keep(job *j, int64_t seek)
{
    const es_transcriber *t = j->t;
    es_journal_entry e = {.kind = ES_JOURNAL_WORDS,
                          .number = j->n_kept++,
                          .seek = seek,
                          .said_until = j->said_until,
                          .language = j->to->language[0] ? es_language_index(j->to->language) : -1,
                          .probability = j->to->language_probability,
                          .over = seek >= j->frames,
                          .n = (uint32_t)(t->n_history - t->n_prompt),
                          .part = *j->to};

    if (!j->o->kept) return ES_OK;
    e.tokens = (int32_t *)(uintptr_t)(t->history + t->n_prompt);
    if (j->kept_until) e.part.segments += j->kept_until; /* the texts and words they point to are where they were */
    e.part.n_segments -= j->kept_until;
    j->kept_until = j->to->n_segments;
    return es_kept_add(j->o->kept, &e, j->err);
}

int es_transcribe(es_transcriber *t, const es_sound *sound, const es_transcribe_options *o, es_transcript *to,
                  es_err *err)
{
    job j = {.t = t, .sound = sound, .o = o, .to = to, .err = err};
    int rc;

    j.frames = es_mel_frames(sound->samples);
    j.duration_ms = sound->samples * 1000 / ES_RATE;
    rc = es_rules_make(&j.rules, es_whisper_dims_of(t->model), t->bpe, o, err);
    if (rc == ES_OK) rc = es_rules_language(&j.language, es_whisper_dims_of(t->model), o, err);
    if (rc == ES_OK) rc = es_rules_prompt(t->history, &t->n_prompt, t->bpe, o, err);
    if (rc != ES_OK) return rc;
    j.detects = j.language < 0;
    t->n_history = t->n_prompt;
    if (j.language >= 0) {
        strcpy(to->language, es_language_code(j.language));
        to->language_probability = 1;
    }
    double began = seconds();
    int64_t from = 0;
    rc = find_top(&j);
    if (rc == ES_OK) rc = take_up(&j, &from);
    j.times.listen = seconds() - began;
    for (int64_t seek = from, next; rc == ES_OK && seek < j.frames; seek = next) {
        int frames = (int)(j.frames - seek < ES_MEL_WINDOW_FRAMES ? j.frames - seek : ES_MEL_WINDOW_FRAMES);
        next = seek + frames;
        rc = read_window(&j, seek);
        if (rc == ES_OK && !es_sound_is_quiet(j.t->pcm, frames, o->quiet_dbfs) && !is_unspoken(&j, seek, frames)) {
            rc = take_window(&j, seek, frames, &next);
            if (rc == ES_OK) rc = keep(&j, next);
        }
        if (rc == ES_OK) rc = tell(&j, "transcribing", next);
    }
    if (o->times) add_times(o->times, &j.times);
    return rc;
}

int es_transcriber_open(es_transcriber **out, es_whisper *m, const es_bpe *b, es_err *err)
{
    const es_whisper_dims *dims = es_whisper_dims_of(m);
    es_whisper_ids ids = es_whisper_ids_of(dims);

    *out = NULL;
    if (es_bpe_count(b) != ids.eot)
        return es_fail(err, ES_EMODEL, "the token table has %d tokens, the model's vocabulary of %d needs %d",
                       es_bpe_count(b), dims->vocab, ids.eot);
    es_transcriber *t = malloc(sizeof *t);
    if (!t) return es_fail(err, ES_ENOMEM, "no memory for a transcriber of %zu bytes", sizeof *t);
    t->model = m;
    t->bpe = b;
    t->n_prompt = t->n_history = 0;
    *out = t;
    return ES_OK;
}

void es_transcriber_close(es_transcriber *t)
{
    free(t);
}
