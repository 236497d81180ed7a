/*
 * ingest.c - from files to the library, and what happens to each on the way. Read this first.
 *
 *     path ---- read ---> content hash             the name a recording has for ever, whatever its file is called
 *          ---- look up -> known? say so, next     unless it is to be computed again
 *          ---- claim --->                         other processes at work on the library take other recordings
 *          ---- take ----> what is not made anew   of --again STAGE: from the library, see again.h; a step whose part of
 *                                                  the result is there does nothing
 *          ---- decode --> spool of 16 kHz samples in the library's tmp folder: memory does not grow with length
 *          ---- hear ----> who speaks when         and where anyone does, see diarize.c
 *          ---- speech --> transcript              windows of at most 30 s through the model: batch.c, transcribe.c
 *          ---- words ---> whose each word is      segments end where the speaker changes, see attribute.c
 *          ---- meaning -> passages, vectors       pieces of a speaker's speech and what they mean, see passages.c
 *          ---- store ---> one transaction         all of the result, or nothing
 *
 * By default many recordings are on this way at once, each at a step of its own, and their windows go through the model
 * side by side: flow.c. Here they go one after the other, and so do the windows of each, as --sequential wants it and
 * as windows must that follow each other's words. The steps themselves are the same ones: steps.c.
 *
 * Nothing of a file is in the library before its last step, so an end at any moment - Ctrl-C, a kill, a full disk -
 * leaves whole recordings only. A recording that another process has claimed is put off: when all others are done this
 * one waits for it, and then usually finds it stored.
 */
#define _GNU_SOURCE
#include "pipeline/ingest.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/words/batch.h"
#include "pipeline/flow.h"
#include "pipeline/speakers/names.h"
#include "pipeline/search/search.h"
#include "pipeline/steps.h"
#include "text/language.h"

static int stop_walk(void *user)
{
    (void)user; /* listing folders takes no time worth a question */
    return 0;
}

static int speech(es_ingest_walk *w, es_result *r, es_spool *spool, es_kept *kept, es_err *err)
{
    static const es_heard nowhere; /* no regions: not "unknown", but none */
    es_transcribe_options o = w->job->speech;
    es_sound sound = es_sound_of(spool);

    if (es_hear_knows_speech(r)) {
        o.speech = r->who.speech ? r->who.speech : &nowhere;
        o.n_speech = r->who.n_speech;
    }

    o.content = r->media.content;
    o.progress = es_steps_on_speech;
    o.user = w;
    o.times = &w->tally.times;
    o.kept = kept;
    return es_transcribe(es_session_transcriber(w->job->session), &sound, &o, &r->transcript, err);
}

static void on_kept(void *user, const char *sentence)
{
    es_steps_tell(user, ES_INGEST_NOTE, 0, sentence);
}

/* st: the file as it was when its hash was taken. */
static int decode(es_ingest_walk *w, es_spool **spool, es_result *r, const char *path, const es_media_info *st,
                  es_err *err)
{
    const es_ingest_job *job = w->job;
    int rc;

    es_steps_begin(w, "decoding");
    rc = es_media_decode(spool, &r->media, path, job->track, es_store_tmp(job->store), es_steps_on_decode, w, err);
    w->tally.decode_seconds += es_steps_now() - w->at.stage_began;
    if (rc == ES_OK) rc = es_steps_unchanged(r, path, st, err);
    if (rc != ES_OK) return rc;
    w->at.audio_ms = r->media.duration_ms;
    es_steps_note_damage(w, &r->media);
    return ES_OK;
}

static int compute(es_ingest_walk *w, es_result *r, const char *path, const es_media_info *st, es_err *err)
{
    es_spool *spool = NULL;
    es_kept *kept = NULL;
    unsigned parts;
    double t;
    int rc = es_steps_take(w, r, &parts, path, err);

    if (rc == ES_OK) rc = es_steps_ready(w, err);
    if (rc == ES_OK && parts & ES_PARTS_OF_SOUND) rc = decode(w, &spool, r, path, st, err);
    if (rc == ES_OK) rc = es_steps_keep(w, &kept, r, spool, on_kept, w, err);
    if (rc == ES_OK) rc = es_steps_hear(w, r, parts, spool, kept, err);
    if (rc == ES_OK && parts & ES_PART_WORDS) {
        es_steps_begin(w, "listening");
        w->at.listened = t = es_steps_now();
        rc = speech(w, r, spool, kept, err);
        t = es_steps_now() - t;
        w->tally.speech_seconds += t;
        w->at.speed = t > 0 ? (double)w->at.audio_ms / 1000 / t : 0;
    }
    if (rc == ES_OK) rc = es_steps_finish(w, r, parts, kept, err);
    es_kept_close(kept);
    es_spool_close(spool);
    return rc;
}

/* ES_EBUSY: another process is at work on it, and nothing was told. */
static int ingest_file(es_ingest_walk *w, const char *path, es_err *err)
{
    es_result r = {0};
    double t;
    int rc;

    w->at.audio_ms = 0, w->at.fraction = 0, w->at.speed = 0;
    w->at.file_began = es_steps_now();
    rc = es_steps_identify(w, &r.media, path, err);
    if (rc != ES_OK) goto out;
    r.media.track = w->job->track;
    if (!w->job->again && es_steps_is_known(w, &r.media, path)) goto out;
    rc = es_claims_take(w->claims, r.media.content, err);
    if (rc != ES_OK) goto out;
    /* Between looking and claiming another process may have finished it. */
    if (w->job->again || !es_steps_is_known(w, &r.media, path)) {
        const es_media_info seen = {.bytes = r.media.bytes, .mtime_ns = r.media.mtime_ns};
        rc = compute(w, &r, path, &seen, err);
        if (rc == ES_OK) es_steps_stored(w, &r);
    }
    es_claims_drop(w->claims, r.media.content);
    t = es_steps_now() - w->at.file_began;
    w->bytes_done += (double)w->list.files[w->at.index].bytes;
    w->seconds_done += t;
out:
    es_result_done(&r);
    return rc;
}

/* Wishes no file could fulfil are refused before the first one is read. */
static int check_speech(const es_ingest_job *job, es_err *err)
{
    const es_whisper_dims *dims = es_session_dims(job->session);
    const char *language = job->speech.language;
    char shown[100];
    int index = -1;

    if (language && strcmp(language, "auto") && strcmp(language, "each")) {
        index = es_language_index(language);
        if (index < 0)
            return es_fail(err, ES_EARG,
                           "there is no language %s; it is a code such as en, a name such as german, auto or each",
                           es_printable(shown, sizeof shown, language));
        if (!dims->multilingual && index > 0)
            return es_fail(err, ES_EARG, "%s knows only English", es_session_asr_name(job->session));
        if (dims->multilingual && index >= dims->n_languages)
            return es_fail(err, ES_EARG, "%s knows %d languages, and %s is not among them",
                           es_session_asr_name(job->session), dims->n_languages, es_language_name(index));
    }
    if (job->speech.translate && !dims->multilingual)
        return es_fail(err, ES_EARG, "%s knows only English and cannot translate", es_session_asr_name(job->session));
    return ES_OK;
}

/* ---- all files ---- */

static int each_file(es_ingest_walk *w, bool *put_off, es_err *err)
{
    size_t n = w->list.n;
    bool waiting = false;

    for (size_t pass = 0, left = n; left && !w->cancelled; pass++) {
        left = 0;
        for (size_t i = 0; i < n && !w->cancelled; i++) {
            es_walk_file *f = &w->list.files[i];
            es_err why = {0};
            int rc;
            if (pass && !put_off[i]) continue;
            put_off[i] = false;
            w->at.index = i, w->at.stage = "reading", w->at.fraction = 0, w->at.audio_ms = 0, w->at.speed = 0;
            w->at.file_began = es_steps_now();
            if (!waiting && es_steps_tell(w, ES_INGEST_START, 0, NULL)) break;
            rc = f->fault ? es_fail(&why, ES_ENOTFOUND, "%s", f->fault) : ingest_file(w, f->path, &why);
            if (rc == ES_EBUSY) {
                put_off[i] = true;
                left++;
            } else if (rc != ES_OK && (w->hopeless || es_steps_is_fatal(rc))) {
                return es_fail(err, rc, "%s", why.text);
            } else if (rc != ES_OK) {
                w->tally.failed++;
                es_steps_tell(w, ES_INGEST_FAILED, 0, why.text);
            }
        }
        waiting = left > 0;
        if (waiting && es_steps_wait(w)) break;
    }
    return w->cancelled ? es_fail(err, ES_ECANCELLED, "cancelled") : ES_OK;
}

int es_ingest(const es_ingest_job *job, const char *const *paths, size_t n, es_ingest_tally *tally, es_err *err)
{
    es_ingest_walk w = {.job = job, .began = es_steps_now(), .sequential = !es_batch_serves(&job->speech)};
    bool *put_off = NULL;
    int rc = check_speech(job, err);

    if (rc == ES_OK) rc = es_hear_check(job->session, &job->hear, false, err);
    if (rc == ES_OK) rc = es_again_check(job->session, &job->hear, job->again, err);
    for (size_t i = 0; i < n && rc == ES_OK; i++) rc = es_walk_add(&w.list, paths[i], stop_walk, &w, err);
    if (rc == ES_OK) {
        w.tally.files = w.list.n;
        w.settings = es_ingest_settings(job->session, &job->speech, &job->hear, w.sequential);
        put_off = calloc(w.list.n + 1, sizeof *put_off);
        if (!w.settings || !put_off) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    }
    if (rc == ES_OK && !es_store_tmp(job->store))
        rc = es_fail(err, ES_ELIBRARY, "the library is open for reading only, and nothing can be added to it");
    if (rc == ES_OK) es_search_note_space(job->store, es_session_embedding(job->session));
    if (rc == ES_OK) rc = es_journal_open(&w.journal, job->store, job->keep_seconds, err);
    if (rc == ES_OK) rc = es_claims_open(&w.claims, es_store_dir(job->store), err);
    if (rc == ES_OK) rc = w.sequential ? each_file(&w, put_off, err) : es_flow(&w, err);
    /* Also after an end by the user: whoever is in the library is to have a name. And also where nothing is new: the run
     * that stored it may have died before it came to this. */
    if ((rc == ES_OK || rc == ES_ECANCELLED) && (w.tally.stored || w.tally.known)) {
        es_err why = {0};
        double began = es_steps_now();
        int named = es_names_refresh(job->store, &why);
        w.tally.names_seconds += es_steps_now() - began;
        if (named != ES_OK && rc == ES_OK) rc = es_fail(err, named, "%s", why.text);
    }
    w.tally.seconds = es_steps_now() - w.began;
    if (tally) *tally = w.tally;
    es_journal_close(w.journal);
    es_hear_close(w.hear);
    es_people_done(&w.people);
    es_claims_close(w.claims);
    es_walk_done(&w.list);
    free(w.settings);
    free(put_off);
    return rc;
}
