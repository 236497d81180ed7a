/*
 * ingest.c - one recording after the other, from the file to the library. Read this first.
 *
 *     path ---- read ---> content hash             the name a recording has for ever, whatever its file is called
 *          ---- look up -> known? say so, next     unless it is to be computed again
 *          ---- claim --->                         other processes at work on the library take other recordings
 *          ---- decode --> spool of 16 kHz samples in the library's tmp folder: memory does not grow with length
 *          ---- hear ----> who speaks when         and where anyone does, see diarize.c
 *          ---- speech --> transcript              windows of 30 s through the model, see transcribe.c
 *          ---- words ---> whose each word is      segments end where the speaker changes, see attribute.c
 *          ---- meaning -> passages, vectors       pieces of a speaker's speech and what they mean, see passages.c
 *          ---- store ---> one transaction         all of the result, or nothing
 *
 * Nothing of a file is in the library before its last step, so an end at any moment - Ctrl-C, a kill, a full disk -
 * leaves whole recordings only. A recording that another process has claimed is put off: when all others are done this
 * one waits for it, and then usually finds it stored.
 *
 * Time is estimated from bytes: they are known for all files before the first is opened, durations are not. What a byte
 * costs is learnt from the files already done.
 */
#define _GNU_SOURCE
#include "pipeline/ingest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/json.h"
#include "media/decode.h"
#include "pipeline/meaning.h"
#include "pipeline/search.h"
#include "pipeline/names.h"
#include "pipeline/walk.h"
#include "store/claim.h"
#include "text/language.h"

/* Shares of a file's work, as measured on two cores with a small model: what the progress bar is made of. */
#define SHARE_READ   0.01
#define SHARE_DECODE 0.02
#define SHARE_HEAR   0.55 /* where speakers are told apart ... */
#define SHARE_FIND   0.35 /* ... of that: finding where they speak */
#define SHARE_LISTEN 0.02

enum { TOLD_EVERY_MS = 100, WAIT_MS = 200 };

typedef struct walk_state {
    const es_ingest_job *job;
    es_claims *claims;
    es_hear *hear; /* once the models are ready */
    es_people people; /* who is enrolled */
    es_walk list;
    char *settings; /* canonical JSON of the job's settings */
    es_ingest_tally tally;
    double began;

    /* the file at work */
    size_t index;
    double file_began, stage_began, listened, told;
    const char *stage;
    int64_t audio_ms;
    double fraction, speed;

    /* for the estimate of what is left */
    double bytes_done, seconds_done; /* of files that were computed */
    bool cancelled;
    bool hopeless; /* what failed is not this file's but every file's */
} walk_state;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- telling ---- */

static double eta_all(const walk_state *w, double file_seconds, double eta_file)
{
    double bytes = w->bytes_done, seconds = w->seconds_done, left = 0;
    const es_walk_file *f = &w->list.files[w->index];

    if (eta_file < 0) return -1;
    bytes += (double)f->bytes;
    seconds += file_seconds + eta_file;
    for (size_t i = w->index + 1; i < w->list.n; i++) left += (double)w->list.files[i].bytes;
    return eta_file + (bytes > 0 ? left * seconds / bytes : 0);
}

static int tell(walk_state *w, es_ingest_kind kind, uint64_t words, const char *text)
{
    const es_walk_file *f = &w->list.files[w->index];
    double t = now(), spent = t - w->file_began, eta = -1;

    if (!w->job->listen) return 0;
    if (kind == ES_INGEST_PROGRESS && w->fraction > 0.05 && spent > 0.5) eta = spent / w->fraction * (1 - w->fraction);
    es_ingest_event e = {.kind = kind,
                         .path = f->path,
                         .index = w->index,
                         .count = w->list.n,
                         .stage = w->stage,
                         .fraction = w->fraction,
                         .eta_seconds = eta,
                         .eta_all_seconds = eta_all(w, spent, eta),
                         .speed = w->speed,
                         .audio_ms = w->audio_ms,
                         .seconds = spent,
                         .words = words,
                         .text = text};
    w->told = t;
    if (w->job->listen(w->job->user, &e)) w->cancelled = true;
    return w->cancelled;
}

static void stage_begin(walk_state *w, const char *stage)
{
    w->stage = stage;
    w->stage_began = now();
    w->told = 0;
}

/* Called by every stage many times a second; passes on what a person can read. */
static int progress(walk_state *w, double fraction, double speed)
{
    if (w->cancelled) return 1;
    w->fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    w->speed = speed;
    if ((now() - w->told) * 1000 < TOLD_EVERY_MS) return 0;
    return tell(w, ES_INGEST_PROGRESS, 0, NULL);
}

static double part(int64_t done, int64_t all)
{
    return all > 0 ? (double)done / (double)all : 0;
}

static int on_read(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what;
    return progress(user, SHARE_READ * part(done, all), 0);
}

static int on_decode(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what;
    return progress(user, SHARE_READ + SHARE_DECODE * part(done, all), 0);
}

/* Where the share of transcription begins. */
static double heard_share(const walk_state *w)
{
    bool finds = es_session_has(w->job->session, ES_STAGE_SEGMENTATION), tells = finds && w->hear && es_hear_tells_apart(w->hear);

    return SHARE_READ + SHARE_DECODE + (tells ? SHARE_HEAR : finds ? SHARE_HEAR * SHARE_FIND : 0);
}

static int on_hear(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    walk_state *w = user;
    double before = SHARE_READ + SHARE_DECODE, find = SHARE_HEAR * SHARE_FIND, t = now() - w->listened, at = part(done_ms, all_ms);
    bool finding = !strcmp(what, "finding speech"), hearing = !strcmp(what, "hearing voices");

    if (strcmp(w->stage, what)) stage_begin(w, what);
    at = finding ? find * at : hearing ? find + (SHARE_HEAR - find) * at : SHARE_HEAR;
    return progress(w, before + at, finding && t > 0 ? (double)done_ms / 1000 / t : 0);
}

static void on_hear_note(void *user, const char *sentence)
{
    tell(user, ES_INGEST_NOTE, 0, sentence);
}

/* The first pass over the sound counts as little as it costs; the speed is that of the second, which begins when the
 * last word of the first was heard. */
static int on_speech(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    walk_state *w = user;
    double before = heard_share(w), t = now();

    if (strcmp(what, "transcribing")) {
        w->listened = t;
        return progress(w, before + SHARE_LISTEN * part(done_ms, all_ms), 0);
    }
    if (strcmp(w->stage, "transcribing")) stage_begin(w, "transcribing");
    before += SHARE_LISTEN;
    t -= w->listened;
    return progress(w, before + (1 - before) * part(done_ms, all_ms), t > 0 ? (double)done_ms / 1000 / t : 0);
}

static int stop_walk(void *user)
{
    (void)user; /* listing folders takes no time worth a question */
    return 0;
}

/* ---- settings: what a result was made with ---- */

char *es_ingest_settings(const es_session *s, const es_transcribe_options *o, const es_hear_options *hear)
{
    es_json_out j;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_string(&j, "language", o->language ? o->language : "auto");
    es_json_put_string(&j, "task", o->translate ? "translate" : "transcribe");
    es_json_put_string(&j, "prompt", o->prompt ? o->prompt : "");
    if (o->n_temperatures != 1) es_json_put_string(&j, "temperature", "fallback");
    else es_json_put_number(&j, "temperature", (double)o->temperature[0]);
    es_json_put_string(&j, "windows", "sequential");
    es_json_put_bool(&j, "words", o->words);
    es_json_put_string(&j, "seek", o->seek_words ? "words" : "timestamps");
    es_hear_settings(&j, s, hear);
    es_json_end_object(&j);
    if (j.failed) {
        free(j.text);
        return NULL;
    }
    return j.text;
}

/* A member's value as it is written, without the quotes of strings. */
static void value_shown(char *out, size_t room, const es_json_node *n)
{
    double number;
    bool truth;

    if (es_json_string(n)) es_printable(out, room, *es_json_string(n) ? es_json_string(n) : "none");
    else if (es_json_number(n, &number)) snprintf(out, room, "%g", number);
    else if (es_json_bool(n, &truth)) snprintf(out, room, "%s", truth ? "on" : "off");
    else snprintf(out, room, "?");
}

/* "language was auto, now en; the model was whisper-tiny, now whisper-base"; empty where nothing differs. */
static void differences(char *out, size_t room, const walk_state *w, const es_made *made)
{
    es_json *was = NULL, *is = NULL;
    es_hash128 hash = es_session_asr_hash(w->job->session);
    size_t n = 0;
    int more;

    *out = 0;
    if (memcmp(&hash, &made->by[ES_STAGE_ASR].hash, sizeof hash)) {
        char before[64], after[64];
        bool same_name = !strcmp(made->by[ES_STAGE_ASR].name, es_session_asr_name(w->job->session));
        es_printable(before, sizeof before, made->by[ES_STAGE_ASR].name);
        es_printable(after, sizeof after, es_session_asr_name(w->job->session));
        more = same_name ? snprintf(out, room, "the pack %s has other weights now", after)
                         : snprintf(out, room, "the model was %s, now %s", before, after);
        n += more > 0 ? (size_t)more : 0;
    }
    if (made->settings && strcmp(made->settings, w->settings) &&
        es_json_parse(&was, made->settings, strlen(made->settings), "settings", NULL) == ES_OK &&
        es_json_parse(&is, w->settings, strlen(w->settings), "settings", NULL) == ES_OK) {
        for (const es_json_node *i = es_json_first(es_json_root(is)); i && n + 1 < room; i = es_json_next(i)) {
            char before[64], after[64];
            value_shown(before, sizeof before, es_json_get(es_json_root(was), es_json_key(i)));
            value_shown(after, sizeof after, i);
            if (!strcmp(before, after)) continue;
            more = snprintf(out + n, room - n, "%s%s was %s, now %s", n ? "; " : "", es_json_key(i), before, after);
            n += more > 0 ? (size_t)more : 0;
        }
    }
    if (!n && made->settings && strcmp(made->settings, w->settings))
        snprintf(out, room, "it was made with other settings");
    es_json_close(was);
    es_json_close(is);
}

/* ---- one file ---- */

/* The content hash, from the cache where the file is the one that was read before. */
static int identify(walk_state *w, es_media_info *info, const char *path, es_err *err)
{
    struct stat st;
    bool there = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    uint64_t dev = 0, ino = 0, size = 0;
    int64_t mtime = 0;
    int rc;

    stage_begin(w, "reading");
    if (there) {
        dev = (uint64_t)st.st_dev, ino = (uint64_t)st.st_ino, size = (uint64_t)st.st_size;
        mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (size > 0 && es_store_cached_hash(w->job->store, dev, ino, size, mtime, &info->content)) {
            info->bytes = size, info->mtime_ns = mtime;
            return ES_OK;
        }
    }
    rc = es_media_hash(info, path, on_read, w, err);
    if (rc == ES_OK && there && info->bytes == size && info->mtime_ns == mtime)
        es_store_cache_hash(w->job->store, dev, ino, size, mtime, info->content, NULL); /* a cache: may fail */
    return rc;
}

/* True when the recording is in the library and is to stay as it is; then it has been told. */
static bool is_known(walk_state *w, const es_media_info *info, const char *path)
{
    es_media_info media = {0};
    es_made made = {0};
    es_err ignored = {0};
    char text[900], differs[700];
    bool known = false;

    if (es_store_get_info(w->job->store, info->content, w->job->track, &media, &made, &ignored) == ES_OK) {
        bool moved = false;
        char *whole = realpath(path, NULL), shown[300];
        if (whole && media.path && strcmp(whole, media.path)) {
            moved = true;
            es_store_add_path(w->job->store, info->content, w->job->track, whole, NULL);
        }
        differences(differs, sizeof differs, w, &made);
        es_printable(shown, sizeof shown, media.path ? media.path : "");
        if (*differs)
            snprintf(text, sizeof text, "known, and kept as it is, although %s (--again computes it anew)", differs);
        else if (moved) snprintf(text, sizeof text, "known, as %s", shown);
        else snprintf(text, sizeof text, "known");
        w->audio_ms = media.duration_ms;
        w->tally.known++;
        tell(w, ES_INGEST_KNOWN, 0, text);
        free(whole);
        known = true;
    }
    es_media_info_done(&media);
    es_made_done(&made);
    return known;
}

static void note_damage(walk_state *w, const es_media_info *m)
{
    char text[128];

    if (m->truncated) tell(w, ES_INGEST_NOTE, 0, "the file ends early; what was there is taken");
    if (m->damaged_packets) {
        snprintf(text, sizeof text, "%" PRId64 " damaged packet%s skipped", m->damaged_packets,
                 m->damaged_packets == 1 ? " was" : "s were");
        tell(w, ES_INGEST_NOTE, 0, text);
    }
}

/* Knows who is enrolled from here on, and the library whose vectors will come. */
static int hear_open(walk_state *w, es_err *err)
{
    es_hear_options o = w->job->hear;
    int rc = es_names_note_models(w->job->store, w->job->session, err);

    if (rc == ES_OK) rc = es_voices_read_people(w->job->store, &w->people, err);
    o.people = &w->people;
    return rc == ES_OK ? es_hear_open(&w->hear, w->job->session, &o, err) : rc;
}

static int hear(walk_state *w, es_result *r, es_spool *spool, es_err *err)
{
    const es_diarize_options told = {.progress = on_hear, .note = on_hear_note, .user = w, .times = &w->tally.heard};
    es_sound sound = es_sound_of(spool);
    double t = now();
    int rc;

    w->listened = t;
    rc = es_hear_speakers(w->hear, r, &sound, &told, err);
    w->tally.hear_seconds += now() - t;
    return rc;
}

static int speech(walk_state *w, es_result *r, es_spool *spool, es_err *err)
{
    static const es_heard nowhere; /* no regions: not "unknown", but none */
    es_transcribe_options o = w->job->speech;
    es_sound sound = es_sound_of(spool);

    if (es_hear_knows_speech(w->hear)) {
        o.speech = r->who.speech ? r->who.speech : &nowhere;
        o.n_speech = r->who.n_speech;
    }

    o.content = r->media.content;
    o.progress = on_speech;
    o.user = w;
    o.times = &w->tally.times;
    return es_transcribe(es_session_transcriber(w->job->session), &sound, &o, &r->transcript, err);
}

/* st: the file as it was when its hash was taken. */
static int compute(walk_state *w, es_result *r, const char *path, const es_media_info *st, es_err *err)
{
    const es_ingest_job *job = w->job;
    es_spool *spool = NULL;
    char shown[512];
    double t;
    int rc;

    stage_begin(w, "loading the model");
    tell(w, ES_INGEST_PROGRESS, 0, NULL);
    rc = es_session_ready(job->session, err);
    if (rc == ES_OK && !w->hear) rc = hear_open(w, err);
    if (rc != ES_OK) {
        w->hopeless = true;
        return rc;
    }
    stage_begin(w, "decoding");
    rc = es_media_decode(&spool, &r->media, path, job->track, es_store_tmp(job->store), on_decode, w, err);
    w->tally.decode_seconds += now() - w->stage_began;
    if (rc != ES_OK) goto out;
    if (st->bytes && (r->media.bytes != st->bytes || r->media.mtime_ns != st->mtime_ns)) {
        rc = es_fail(err, ES_EIO, "%s: the file was changed while it was read; ingest it again when it is complete",
                     es_printable(shown, sizeof shown, path));
        goto out;
    }
    w->audio_ms = r->media.duration_ms;
    note_damage(w, &r->media);

    rc = hear(w, r, spool, err);
    if (rc != ES_OK) goto out;

    stage_begin(w, "listening");
    w->listened = t = now();
    rc = speech(w, r, spool, err);
    t = now() - t;
    w->tally.speech_seconds += t;
    if (rc != ES_OK) goto out;
    w->speed = t > 0 ? (double)w->audio_ms / 1000 / t : 0;
    rc = es_hear_words(w->hear, r, err);
    if (rc != ES_OK) goto out;

    stage_begin(w, "embedding");
    rc = es_meaning_add(r, job->session, err);
    if (rc != ES_OK) goto out;

    stage_begin(w, "storing");
    r->made.settings = strdup(w->settings);
    if (!r->made.settings) {
        rc = es_fail(err, ES_ENOMEM, "not enough memory");
        goto out;
    }
    snprintf(r->made.by[ES_STAGE_ASR].name, sizeof r->made.by[ES_STAGE_ASR].name, "%s", es_session_asr_name(job->session));
    r->made.by[ES_STAGE_ASR].hash = es_session_asr_hash(job->session);
    snprintf(r->made.program, sizeof r->made.program, "%s", ES_VERSION);
    if (w->cancelled) rc = es_fail(err, ES_ECANCELLED, "cancelled");
    else rc = es_store_put(job->store, r, err);
    w->tally.store_seconds += now() - w->stage_began;
out:
    es_spool_close(spool);
    return rc;
}

/* ES_EBUSY: another process is at work on it, and nothing was told. */
static int ingest_file(walk_state *w, const char *path, es_err *err)
{
    es_result r = {0};
    double t;
    int rc;

    w->audio_ms = 0, w->fraction = 0, w->speed = 0;
    w->file_began = now();
    rc = identify(w, &r.media, path, err);
    if (rc != ES_OK) goto out;
    r.media.track = w->job->track;
    if (!w->job->again && is_known(w, &r.media, path)) goto out;
    rc = es_claims_take(w->claims, r.media.content, err);
    if (rc != ES_OK) goto out;
    /* Between looking and claiming another process may have finished it. */
    if (w->job->again || !is_known(w, &r.media, path)) {
        const es_media_info seen = {.bytes = r.media.bytes, .mtime_ns = r.media.mtime_ns};
        rc = compute(w, &r, path, &seen, err);
        if (rc == ES_OK) {
            w->tally.stored++;
            w->tally.audio_ms += r.media.duration_ms;
            char id[33];
            es_hash_hex(id, r.media.content);
            w->fraction = 1;
            tell(w, ES_INGEST_STORED, r.transcript.n_words, id);
        }
    }
    es_claims_drop(w->claims, r.media.content);
    t = now() - w->file_began;
    w->bytes_done += (double)w->list.files[w->index].bytes;
    w->seconds_done += t;
out:
    es_result_done(&r);
    return rc;
}

/* What makes every other file fail, too. */
static bool is_fatal(int rc)
{
    return rc == ES_ELIBRARY || rc == ES_ENEWER || rc == ES_EDEVICE || rc == ES_ECANCELLED || rc == ES_EMODEL;
}

static int wait_a_little(walk_state *w)
{
    struct timespec t = {.tv_nsec = WAIT_MS * 1000000L};

    nanosleep(&t, NULL);
    stage_begin(w, "waiting for another process");
    return progress(w, 0, 0);
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

static int each_file(walk_state *w, bool *put_off, es_err *err)
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
            w->index = i, w->stage = "reading", w->fraction = 0, w->audio_ms = 0, w->speed = 0;
            w->file_began = now();
            if (!waiting && tell(w, ES_INGEST_START, 0, NULL)) break;
            rc = f->fault ? es_fail(&why, ES_ENOTFOUND, "%s", f->fault) : ingest_file(w, f->path, &why);
            if (rc == ES_EBUSY) {
                put_off[i] = true;
                left++;
            } else if (rc != ES_OK && (w->hopeless || is_fatal(rc))) {
                return es_fail(err, rc, "%s", why.text);
            } else if (rc != ES_OK) {
                w->tally.failed++;
                tell(w, ES_INGEST_FAILED, 0, why.text);
            }
        }
        waiting = left > 0;
        if (waiting && wait_a_little(w)) break;
    }
    return w->cancelled ? es_fail(err, ES_ECANCELLED, "cancelled") : ES_OK;
}

int es_ingest(const es_ingest_job *job, const char *const *paths, size_t n, es_ingest_tally *tally, es_err *err)
{
    walk_state w = {.job = job, .began = now()};
    bool *put_off = NULL;
    int rc = check_speech(job, err);

    if (rc == ES_OK) rc = es_hear_check(job->session, &job->hear, err);
    for (size_t i = 0; i < n && rc == ES_OK; i++) rc = es_walk_add(&w.list, paths[i], stop_walk, &w, err);
    if (rc == ES_OK) {
        w.tally.files = w.list.n;
        w.settings = es_ingest_settings(job->session, &job->speech, &job->hear);
        put_off = calloc(w.list.n + 1, sizeof *put_off);
        if (!w.settings || !put_off) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    }
    if (rc == ES_OK && !es_store_tmp(job->store))
        rc = es_fail(err, ES_ELIBRARY, "the library is open for reading only, and nothing can be added to it");
    if (rc == ES_OK) es_search_note_space(job->store, es_session_embedding(job->session));
    if (rc == ES_OK) rc = es_claims_open(&w.claims, es_store_dir(job->store), err);
    if (rc == ES_OK) rc = each_file(&w, put_off, err);
    /* Also after an end by the user: whoever is in the library is to have a name. */
    if ((rc == ES_OK || rc == ES_ECANCELLED) && w.tally.stored) {
        es_err why = {0};
        int named = es_names_refresh(job->store, &why);
        if (named != ES_OK && rc == ES_OK) rc = es_fail(err, named, "%s", why.text);
    }
    w.tally.seconds = now() - w.began;
    if (tally) *tally = w.tally;
    es_hear_close(w.hear);
    es_people_done(&w.people);
    es_claims_close(w.claims);
    es_walk_done(&w.list);
    free(w.settings);
    free(put_off);
    return rc;
}
