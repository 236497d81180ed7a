/*
 * earshot_engine.c - the public door, second part: models that listen, to files and to samples.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "door.h"
#include "library.h"
#include "media/decode.h"
#include "pipeline/words/batch.h"
#include "pipeline/bench/bench.h"
#include "pipeline/bench/bench_batches.h"
#include "pipeline/bench/bench_pipeline.h"
#include "pipeline/bench/bench_voices.h"
#include "pipeline/ingest.h"
#include "pipeline/summary.h"
#include "pipeline/watch.h"
#include "pipeline/bench/synthetic.h"
#include "pipeline/bench/synthetic_pipeline.h"
#include "pipeline/words/transcribe.h"

int es_engine_open(es_engine **out, const es_engine_options *options, es_error *error)
{
    es_session_options o;
    es_engine *e = NULL;
    es_err err = {0};
    char models[4096];
    int rc = es_door_session_options(&o, options, models, sizeof models, &err);

    *out = NULL;
    if (rc == ES_OK && !(e = calloc(1, sizeof *e))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = es_session_open(&e->session, &o, &err);
    if (rc == ES_OK) {
        *out = e;
        e = NULL; /* the caller's from here on */
    }
    es_engine_close(e);
    return es_door_give(error, rc, &err);
}

void es_engine_close(es_engine *engine)
{
    if (!engine) return;
    es_session_close(engine->session);
    free(engine);
}

/* ---- options and events, from the door's words into the rooms' ---- */

static int speech_options(es_transcribe_options *out, es_hear_options *hear, const es_speech_options *options, es_err *err)
{
    es_speech_options o = ES_SPEECH_OPTIONS;
    char shown[100];

    if (!es_door_options(&o, sizeof o, options)) return es_fail(err, ES_EARG, "es_speech_options has no valid size");
    *out = es_transcribe_defaults();
    out->language = o.language;
    out->prompt = o.prompt;
    out->words = !o.no_words;
    out->seek_words = o.seek_words && !o.no_words;
    out->sequential = o.sequential;
    if (o.task && !strcmp(o.task, "translate")) out->translate = true;
    else if (o.task && strcmp(o.task, "transcribe"))
        return es_fail(err, ES_EARG, "the task is transcribe or translate, not %s",
                       es_printable(shown, sizeof shown, o.task));
    if (o.seek_words && o.no_words)
        return es_fail(err, ES_EARG, "windows cannot follow the words when no words are wanted");
    if (isnan(o.temperature) || o.temperature > 10)
        return es_fail(err, ES_EARG, "the temperature %g is not between 0 and 10", o.temperature);
    *hear = (es_hear_options){.diarization = o.diarization, .no_fast_path = o.no_fast_path};
    if (o.speakers && !es_diarize_speakers_parse(&hear->speakers, o.speakers))
        return es_fail(err, ES_EARG, "speakers are a number such as 2 or a range such as 2-5, not %s", es_printable(shown, sizeof shown, o.speakers));
    if (isnan(o.step) || o.step > 10 || (o.step > 0 && (o.step < 0.005 || fabs(o.step * 100 - rint(o.step * 100)) > 1e-6)))
        return es_fail(err, ES_EARG, "windows may be 0.01 to 10 s apart, in whole hundredths, not %g", o.step);
    if (o.step > 0) hear->step_samples = (int)lrint(o.step * 100) * (ES_RATE / 100);
    if (o.temperature >= 0) {
        out->temperature[0] = (float)o.temperature;
        out->n_temperatures = 1;
    }
    return ES_OK;
}

typedef struct passer {
    es_event_fn listen;
    void *user;
} passer;

_Static_assert((int)ES_EVENT_START == ES_INGEST_START && (int)ES_EVENT_PROGRESS == ES_INGEST_PROGRESS &&
                   (int)ES_EVENT_STORED == ES_INGEST_STORED && (int)ES_EVENT_KNOWN == ES_INGEST_KNOWN &&
                   (int)ES_EVENT_FAILED == ES_INGEST_FAILED && (int)ES_EVENT_NOTE == ES_INGEST_NOTE &&
                   (int)ES_EVENT_WAITING == ES_INGEST_WAITING,
               "the kinds of events are the same numbers");

static int pass_event(void *user, const es_ingest_event *e)
{
    const passer *p = user;
    es_event out = {.kind = (es_event_kind)e->kind,
                    .path = e->path,
                    .index = e->index,
                    .count = e->count,
                    .stage = e->stage,
                    .fraction = e->fraction,
                    .fraction_all = e->fraction_all,
                    .eta_seconds = e->eta_seconds,
                    .eta_all_seconds = e->eta_all_seconds,
                    .speed = e->speed,
                    .audio_ms = e->audio_ms,
                    .seconds = e->seconds,
                    .words = e->words,
                    .text = e->text};

    return p->listen(p->user, &out);
}

/* ---- files ---- */

/* The room's figures in the door's structs. */
static void tell_summary(const es_ingest_options *o, void *user, const es_engine *engine, const es_ingest_tally *t, bool cancelled)
{
    es_stage_figures stages[ES_SUMMARY_STAGES];
    es_summary s;

    if (!o->summary) return;
    es_summary_make(&s, t, engine->session);
    for (size_t i = 0; i < s.n; i++)
        stages[i] = (es_stage_figures){.name = s.stage[i].name,
                                       .label = s.stage[i].label,
                                       .seconds = s.stage[i].seconds,
                                       .busy = s.stage[i].busy,
                                       .speed = s.stage[i].speed,
                                       .fill = s.stage[i].fill};
    const es_ingest_summary out = {.size = sizeof out,
                                   .files = t->files,
                                   .stored = t->stored,
                                   .known = t->known,
                                   .failed = t->failed,
                                   .audio_ms = t->audio_ms,
                                   .seconds = t->seconds,
                                   .speed = s.speed,
                                   .files_per_hour = s.files_per_hour,
                                   .windows = (uint64_t)t->times.windows,
                                   .tokens = (uint64_t)t->times.tokens,
                                   .passages = t->passages,
                                   .passages_per_second = s.passages_per_second,
                                   .arena_bytes = s.arena_bytes,
                                   .peak_bytes = s.peak_bytes,
                                   .stages = stages,
                                   .n_stages = s.n,
                                   .cancelled = cancelled,
                                   .vectors = (uint64_t)t->meaning.computed};
    o->summary(user, &out);
}

/* The job that options describe; p says to whom it is told. */
static int job_of(es_ingest_job *job, es_ingest_options *o, es_engine *engine, es_library *library, const es_ingest_options *options,
                  passer *p, es_err *err)
{
    char shown[100];

    *o = (es_ingest_options)ES_INGEST_OPTIONS;
    if (!es_door_options(o, sizeof *o, options)) return es_fail(err, ES_EARG, "es_ingest_options has no valid size");
    if (o->track < 0) return es_fail(err, ES_EARG, "there is no audio stream %d", o->track);
    if (o->again && !es_again_parts(o->again_stage))
        return es_fail(err, ES_EARG, "the stages that can be computed again are words, speakers and meaning, not %s",
                       es_printable(shown, sizeof shown, o->again_stage));
    if (!o->again && o->again_stage) return es_fail(err, ES_EARG, "a stage is named, but nothing is to be computed again");
    *job = (es_ingest_job){.session = engine->session,
                           .store = library->store,
                           .track = o->track,
                           .again = o->again ? es_again_parts(o->again_stage) : 0,
                           .keep_seconds = o->keep_seconds < 0 || isnan(o->keep_seconds) ? ES_INGEST_KEEP_SECONDS : o->keep_seconds,
                           .listen = p->listen ? pass_event : NULL,
                           .user = p};
    return speech_options(&job->speech, &job->hear, o->speech, err);
}

int es_engine_ingest(es_engine *engine, es_library *library, const char *const *paths, size_t n,
                     const es_ingest_options *options, es_event_fn listen, void *user, es_ingest_report *report,
                     es_error *error)
{
    es_ingest_options o;
    es_ingest_job job;
    es_ingest_tally tally = {0};
    passer p = {listen, user};
    es_err err = {0};
    int rc = job_of(&job, &o, engine, library, options, &p, &err);

    if (rc == ES_OK) {
        rc = es_ingest(&job, paths, n, &tally, &err);
        tell_summary(&o, user, engine, &tally, rc != ES_OK);
    }
    if (report)
        *report = (es_ingest_report){.files = tally.files,
                                     .stored = tally.stored,
                                     .known = tally.known,
                                     .failed = tally.failed,
                                     .audio_ms = tally.audio_ms,
                                     .seconds = tally.seconds};
    return es_door_give(error, rc, &err);
}

int es_engine_watch(es_engine *engine, es_library *library, const char *const *folders, size_t n,
                    const es_watch_options *options, es_event_fn listen, void *user, es_error *error)
{
    es_watch_options w = ES_WATCH_OPTIONS;
    es_ingest_options o;
    es_ingest_job job;
    es_ingest_tally tally = {0};
    passer p = {listen, user};
    es_err err = {0};
    int rc = ES_OK;

    if (!es_door_options(&w, sizeof w, options)) rc = es_fail(&err, ES_EARG, "es_watch_options has no valid size");
    if (rc == ES_OK && !listen) rc = es_fail(&err, ES_EARG, "a watch that nobody listens to would never end");
    if (rc == ES_OK && isnan(w.settle_seconds)) rc = es_fail(&err, ES_EARG, "a file cannot rest for %g seconds", w.settle_seconds);
    if (rc == ES_OK) rc = job_of(&job, &o, engine, library, w.ingest, &p, &err);
    if (rc == ES_OK) {
        const es_arrivals_options how = {.settle_seconds = w.settle_seconds, .poll = w.poll};
        rc = es_watch(&job, folders, n, &how, &tally, &err);
        tell_summary(&o, user, engine, &tally, rc != ES_OK);
    }
    return es_door_give(error, rc, &err);
}

int es_engine_bench(es_engine *engine, const char *path, const es_speech_options *options, const char *format,
                    es_event_fn listen, void *user, char **text, size_t *bytes, es_error *error)
{
    es_transcribe_options speech;
    es_hear_options hear;
    passer p = {listen, user};
    es_err err = {0};
    bool json = format && !strcmp(format, "json");
    int rc = speech_options(&speech, &hear, options, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK && format && !json && strcmp(format, "text"))
        rc = es_fail(&err, ES_EARG, "figures come as text or json");
    if (rc == ES_OK)
        rc = es_bench(engine->session, path, &speech, &hear, json, listen ? pass_event : NULL, &p, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

int es_engine_bench_batches(const es_engine_options *options, const char *format, char **text, size_t *bytes, es_error *error)
{
    es_session_options o;
    es_err err = {0};
    char models[4096];
    bool json = format && !strcmp(format, "json");
    int rc = es_door_session_options(&o, options, models, sizeof models, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK && format && !json && strcmp(format, "text")) rc = es_fail(&err, ES_EARG, "figures come as text or json");
    if (rc == ES_OK) rc = es_bench_batches(&o, json, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

int es_engine_bench_synthetic(const es_engine_options *options, const char *name, const char *format, char **text,
                              size_t *bytes, es_error *error)
{
    bool json = format && !strcmp(format, "json");
    es_session_options s;
    es_device_choice where;
    es_err err = {0};
    char models[4096];
    int rc = es_door_session_options(&s, options, models, sizeof models, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK && format && !json && strcmp(format, "text"))
        rc = es_fail(&err, ES_EARG, "figures come as text or json");
    if (rc == ES_OK) rc = es_session_choose(&where, s.device, true, &err);
    if (rc == ES_OK) {
        es_synthetic_options o = {.name = name,
                                  .backend = where.backend,
                                  .index = where.index,
                                  .threads = s.threads,
                                  .budget = s.budget ? s.budget : es_session_default_budget(where.backend, 0),
                                  .json = json};
        rc = es_synthetic_asr(&o, text, bytes, &err);
    }
    return es_door_give(error, rc, &err);
}

/* ---- who spoke when, measured ---- */

static int text_or_json(bool *json, const char *format, es_err *err)
{
    *json = format && !strcmp(format, "json");
    return !format || *json || !strcmp(format, "text") ? ES_OK : es_fail(err, ES_EARG, "figures come as text or json");
}

int es_score_turns(const char *reference, const char *hypothesis, const char *uem, double collar, const char *format, char **text,
                   size_t *bytes, es_error *error)
{
    es_err err = {0};
    bool json;
    int rc = text_or_json(&json, format, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) rc = es_bench_der(reference, hypothesis, uem, collar, json, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

int es_score_voices(const char *path, const char *format, char **text, size_t *bytes, es_error *error)
{
    es_err err = {0};
    bool json;
    int rc = text_or_json(&json, format, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) rc = es_bench_eer(path, json, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

int es_engine_bench_diarize(const es_engine_options *options, const char *path, const char *synthetic, const es_speech_options *speech,
                            const char *rttm, const char *format, char **text, size_t *bytes, es_error *error)
{
    es_bench_diarize_options o = {.synthetic = synthetic, .rttm = rttm};
    es_transcribe_options unused;
    es_session_options s;
    es_err err = {0};
    char models[4096];
    int rc = es_door_session_options(&s, options, models, sizeof models, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK) rc = text_or_json(&o.json, format, &err);
    if (rc == ES_OK) rc = speech_options(&unused, &o.hear, speech, &err);
    o.models = s.models, o.segmentation = s.segmentation, o.diarizer = s.diarizer, o.device = s.device;
    o.budget = s.budget, o.threads = s.threads;
    if (rc == ES_OK) rc = es_bench_diarize(&o, path, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

/* ---- the whole pipeline, measured ---- */

/* The stages of a run without files, as events of one nameless recording. */
static int tell_stage(void *user, const char *stage, double fraction)
{
    const passer *p = user;
    const es_event e = {.kind = ES_EVENT_PROGRESS, .path = "", .count = 1, .stage = stage, .fraction = fraction, .eta_seconds = -1, .eta_all_seconds = -1};

    return p->listen(p->user, &e);
}

static int pipeline_synthetic(const es_session_options *s, const es_pipeline_bench_options *o, const passer *p, es_figures *f, es_err *err)
{
    es_device_choice where;
    int rc = es_session_choose(&where, s->device, true, err);

    if (rc != ES_OK) return rc;
    const es_synthetic_pipeline_options inner = {.with = o->with,
                                                 .backend = where.backend,
                                                 .index = where.index,
                                                 .threads = s->threads,
                                                 .budget = s->budget ? s->budget : es_session_default_budget(where.backend, 0),
                                                 .seconds = o->seconds,
                                                 .tell = p->listen ? tell_stage : NULL,
                                                 .user = (void *)p};
    return es_synthetic_pipeline(&inner, f, err);
}

int es_engine_bench_pipeline(const es_engine_options *options, const char *const *paths, size_t n,
                             const es_pipeline_bench_options *bench, const char *format, es_event_fn listen, void *user,
                             char **text, size_t *bytes, es_error *error)
{
    es_pipeline_bench_options o = ES_PIPELINE_BENCH_OPTIONS;
    es_transcribe_options speech;
    es_hear_options hear;
    es_session_options s;
    es_session *session = NULL;
    es_figures now, before;
    passer p = {listen, user};
    es_err err = {0};
    char models[4096];
    bool json;
    int rc = es_door_session_options(&s, options, models, sizeof models, &err);

    *text = NULL, *bytes = 0;
    if (rc == ES_OK && !es_door_options(&o, sizeof o, bench)) rc = es_fail(&err, ES_EARG, "es_pipeline_bench_options has no valid size");
    if (rc == ES_OK) rc = text_or_json(&json, format, &err);
    if (rc == ES_OK) rc = speech_options(&speech, &hear, o.speech, &err);
    if (rc == ES_OK && (o.synthetic ? n > 0 : n == 0))
        rc = es_fail(&err, ES_EARG, o.synthetic ? "made-up sound is measured alone, without files" : "there are no files to measure");
    if (rc == ES_OK && o.compare) rc = es_figures_read(&before, o.compare, &err); /* before what takes long */
    if (rc == ES_OK && o.synthetic) {
        rc = pipeline_synthetic(&s, &o, &p, &now, &err);
    } else if (rc == ES_OK) {
        rc = es_session_open(&session, &s, &err);
        if (rc == ES_OK) rc = es_bench_pipeline(session, paths, n, &speech, &hear, listen ? pass_event : NULL, &p, &now, &err);
        es_session_close(session);
    }
    if (rc == ES_OK) rc = es_figures_show(&now, o.compare ? &before : NULL, json, text, bytes, &err);
    return es_door_give(error, rc, &err);
}

/* ---- samples ---- */

typedef struct hearing {
    const passer *p;
    double began;
} hearing;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int on_progress(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    const hearing *h = user;
    double spent = now() - h->began, fraction = all_ms > 0 ? (double)done_ms / (double)all_ms : 1;
    es_event e = {.kind = ES_EVENT_PROGRESS,
                  .path = "",
                  .count = 1,
                  .stage = what,
                  .fraction = fraction,
                  .fraction_all = fraction,
                  .eta_seconds = fraction > 0 ? spent / fraction - spent : -1,
                  .eta_all_seconds = -1,
                  .speed = spent > 0 ? (double)done_ms / 1000 / spent : 0,
                  .audio_ms = all_ms,
                  .seconds = spent};

    e.eta_all_seconds = e.eta_seconds;
    return h->p->listen(h->p->user, &e);
}

/* Who speaks, what is said, whose it is; r is empty but for its media. */
static int hear_and_transcribe(es_session *session, es_result *r, const es_sound *sound, es_transcribe_options *o, const es_hear_options *hear,
                               es_err *err)
{
    static const es_heard nowhere;
    const es_diarize_options told = {.progress = o->progress, .user = o->user};
    es_hear *h = NULL;
    int rc = es_hear_check(session, hear, false, err);

    if (rc == ES_OK) rc = es_session_ready(session, err);
    if (rc == ES_OK) rc = es_hear_open(&h, session, hear, err);
    if (rc == ES_OK) rc = es_hear_speakers(h, r, sound, &told, err);
    if (rc == ES_OK && es_hear_knows_speech(r)) {
        o->speech = r->who.speech ? r->who.speech : &nowhere;
        o->n_speech = r->who.n_speech;
    }
    if (rc == ES_OK)
        rc = es_batch_serves(o) ? es_batch_one(es_session_whisper(session), es_session_bpe(session), sound, o, &r->transcript, err)
                                : es_transcribe(es_session_transcriber(session), sound, o, &r->transcript, err);
    if (rc == ES_OK) rc = es_hear_words(h, r, err);
    es_hear_close(h);
    return rc;
}

int es_engine_transcribe(es_engine *engine, es_speech **out, const float *samples, int64_t n,
                         const es_speech_options *options, es_event_fn listen, void *user, es_error *error)
{
    es_transcribe_options o;
    es_hear_options hear;
    passer p = {listen, user};
    hearing h = {&p, now()};
    es_spool *spool = NULL;
    es_speech *s = NULL;
    es_result r = {0};
    es_err err = {0};
    int rc = speech_options(&o, &hear, options, &err);

    *out = NULL;
    if (rc == ES_OK && (n < 0 || (n > 0 && !samples))) rc = es_fail(&err, ES_EARG, "there are no samples");
    if (rc == ES_OK && !(s = calloc(1, sizeof *s))) rc = es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) rc = es_spool_from(&spool, samples, n, &err);
    if (rc == ES_OK) {
        es_sound sound = es_sound_of(spool);
        o.content = es_hash_bytes(samples, (size_t)n * sizeof *samples);
        o.progress = listen ? on_progress : NULL;
        o.user = &h;
        rc = hear_and_transcribe(engine->session, &r, &sound, &o, &hear, &err);
    }
    if (rc == ES_OK) {
        s->media.duration_ms = n * 1000 / ES_RATE;
        s->transcript = r.transcript, s->who = r.who;
        r.transcript = (es_transcript){0}, r.who = (es_diarization){0}; /* the speech's from here on */
        *out = s;
        s = NULL; /* the caller's from here on */
    }
    es_result_done(&r);
    es_spool_close(spool);
    es_speech_close(s);
    return es_door_give(error, rc, &err);
}
