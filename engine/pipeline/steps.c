/*
 * steps.c - the steps of one recording, and what is told of them.
 *
 * Time is estimated from bytes: they are known for all files before the first is opened, durations are not. What a byte
 * costs is learnt from the files already done.
 */
#define _GNU_SOURCE
#include "pipeline/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/json.h"
#include "pipeline/search/meaning.h"
#include "pipeline/speakers/names.h"

/* Shares of a file's work, as measured on two cores with a small model: what the progress bar is made of. */
#define SHARE_READ   0.01
#define SHARE_DECODE 0.02
#define SHARE_HEAR   0.55 /* where speakers are told apart ... */
#define SHARE_FIND   0.35 /* ... of that: finding where they speak */
#define SHARE_LISTEN 0.02

enum { TOLD_EVERY_MS = 100, WAIT_MS = 200 };

double es_steps_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- telling ---- */

static double eta_all(const es_ingest_walk *w, double file_seconds, double eta_file)
{
    double bytes = w->bytes_done, seconds = w->seconds_done, left = 0;
    const es_walk_file *f = &w->list.files[w->at.index];

    if (w->flow_all > 0) {
        double spent = es_steps_now() - w->began;
        return w->flow_done > 0 && spent > 1 ? spent / w->flow_done * (w->flow_all - w->flow_done) : -1;
    }
    if (eta_file < 0) return -1;
    bytes += (double)f->bytes;
    seconds += file_seconds + eta_file;
    for (size_t i = w->at.index + 1; i < w->list.n; i++) left += (double)w->list.files[i].bytes;
    return eta_file + (bytes > 0 ? left * seconds / bytes : 0);
}

/* The share of all files that is done, by their bytes; < 0 where nothing costs anything. */
static double fraction_all(const es_ingest_walk *w)
{
    double done = 0, all = 0;

    if (w->flow_all > 0) return w->flow_done < w->flow_all ? w->flow_done / w->flow_all : 1;
    for (size_t i = 0; i < w->list.n; i++) {
        double bytes = (double)w->list.files[i].bytes;
        all += bytes;
        done += i < w->at.index ? bytes : i == w->at.index ? bytes * w->at.fraction : 0;
    }
    return all > 0 ? done / all : -1;
}

int es_steps_tell(es_ingest_walk *w, es_ingest_kind kind, uint64_t words, const char *text)
{
    const es_walk_file *f = &w->list.files[w->at.index];
    double t = es_steps_now(), spent = t - w->at.file_began, eta = -1;

    if (!w->job->listen) return 0;
    if (kind == ES_INGEST_PROGRESS && w->at.fraction > 0.05 && spent > 0.5)
        eta = spent / w->at.fraction * (1 - w->at.fraction);
    es_ingest_event e = {.kind = kind,
                         .path = f->path,
                         .index = w->at.index,
                         .count = w->list.n,
                         .stage = w->at.stage,
                         .fraction = w->at.fraction,
                         .fraction_all = fraction_all(w),
                         .eta_seconds = eta,
                         .eta_all_seconds = eta_all(w, spent, eta),
                         .speed = w->at.speed,
                         .audio_ms = w->at.audio_ms,
                         .seconds = spent,
                         .words = words,
                         .text = text};
    w->at.told = t;
    if (w->job->listen(w->job->user, &e)) w->cancelled = true;
    return w->cancelled;
}

void es_steps_begin(es_ingest_walk *w, const char *stage)
{
    w->at.stage = stage;
    w->at.stage_began = es_steps_now();
    w->at.told = 0;
}

/* Called by every stage many times a second; passes on what a person can read. */
int es_steps_progress(es_ingest_walk *w, double fraction, double speed)
{
    if (w->cancelled) return 1;
    w->at.fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    w->at.speed = speed;
    if ((es_steps_now() - w->at.told) * 1000 < TOLD_EVERY_MS) return 0;
    return es_steps_tell(w, ES_INGEST_PROGRESS, 0, NULL);
}

static double part(int64_t done, int64_t all)
{
    return all > 0 ? (double)done / (double)all : 0;
}

int es_steps_on_read(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what;
    return es_steps_progress(user, SHARE_READ * part(done, all), 0);
}

int es_steps_on_decode(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what;
    return es_steps_progress(user, SHARE_READ + SHARE_DECODE * part(done, all), 0);
}

/* Where the share of transcription begins. */
double es_steps_heard_share(const es_ingest_walk *w)
{
    unsigned again = w->job->again;
    bool kept = again && !(again & ES_PART_SPEAKERS),
         finds = !kept && es_session_has(w->job->session, ES_STAGE_SEGMENTATION),
         tells = finds && w->hear && es_hear_tells_apart(w->hear);

    return SHARE_READ + SHARE_DECODE + (tells ? SHARE_HEAR : finds ? SHARE_HEAR * SHARE_FIND : 0);
}

static int on_hear(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    es_ingest_walk *w = user;
    double before = SHARE_READ + SHARE_DECODE, find = SHARE_HEAR * SHARE_FIND, t = es_steps_now() - w->at.listened,
           at = part(done_ms, all_ms);
    bool finding = !strcmp(what, "finding speech"), hearing = !strcmp(what, "hearing voices");

    if (strcmp(w->at.stage, what)) es_steps_begin(w, what);
    at = finding ? find * at : hearing ? find + (SHARE_HEAR - find) * at : SHARE_HEAR;
    return es_steps_progress(w, before + at, finding && t > 0 ? (double)done_ms / 1000 / t : 0);
}

/* The first pass over the sound counts as little as it costs; the speed is that of the second, which begins when the
 * last word of the first was heard. */
int es_steps_on_speech(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    es_ingest_walk *w = user;
    double before = es_steps_heard_share(w), t = es_steps_now();

    if (strcmp(what, "transcribing")) {
        w->at.listened = t;
        return es_steps_progress(w, before + SHARE_LISTEN * part(done_ms, all_ms), 0);
    }
    if (strcmp(w->at.stage, "transcribing")) es_steps_begin(w, "transcribing");
    before += SHARE_LISTEN;
    t -= w->at.listened;
    return es_steps_progress(w, before + (1 - before) * part(done_ms, all_ms), t > 0 ? (double)done_ms / 1000 / t : 0);
}

/* ---- settings: what a result was made with ---- */

char *es_ingest_settings(const es_session *s, const es_transcribe_options *o, const es_hear_options *hear,
                         bool sequential)
{
    es_json_out j;

    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    es_json_put_string(&j, "language", o->language ? o->language : "auto");
    es_json_put_string(&j, "task", o->translate ? "translate" : "transcribe");
    es_json_put_string(&j, "prompt", o->prompt ? o->prompt : "");
    if (o->n_temperatures != 1) es_json_put_string(&j, "temperature", "fallback");
    else es_json_put_number(&j, "temperature", (double)o->temperature[0]);
    es_json_put_string(&j, "windows", sequential ? "sequential" : "batched");
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
static void differences(char *out, size_t room, const es_ingest_walk *w, const es_made *made)
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

/* ---- the steps ---- */

/* The content hash, from the cache where the file is the one that was read before. */
int es_steps_identify(es_ingest_walk *w, es_media_info *info, const char *path, es_err *err)
{
    struct stat st;
    bool there = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    uint64_t dev = 0, ino = 0, size = 0;
    int64_t mtime = 0;
    int rc;

    es_steps_begin(w, "reading");
    if (there) {
        dev = (uint64_t)st.st_dev, ino = (uint64_t)st.st_ino, size = (uint64_t)st.st_size;
        mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (size > 0 && es_store_cached_hash(w->job->store, dev, ino, size, mtime, &info->content)) {
            info->bytes = size, info->mtime_ns = mtime;
            return ES_OK;
        }
    }
    rc = es_media_hash(info, path, es_steps_on_read, w, err);
    w->tally.read_seconds += es_steps_now() - w->at.stage_began;
    if (rc == ES_OK && there && info->bytes == size && info->mtime_ns == mtime)
        es_store_cache_hash(w->job->store, dev, ino, size, mtime, info->content, NULL); /* a cache: may fail */
    return rc;
}

/* True when the recording is in the library and is to stay as it is; then it has been told. */
bool es_steps_is_known(es_ingest_walk *w, const es_media_info *info, const char *path)
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
        w->at.audio_ms = media.duration_ms;
        w->tally.known++;
        es_steps_tell(w, ES_INGEST_KNOWN, 0, text);
        free(whole);
        known = true;
    }
    es_media_info_done(&media);
    es_made_done(&made);
    return known;
}

void es_steps_note_damage(es_ingest_walk *w, const es_media_info *m)
{
    char text[128];

    if (m->truncated) es_steps_tell(w, ES_INGEST_NOTE, 0, "the file ends early; what was there is taken");
    if (m->damaged_packets) {
        snprintf(text, sizeof text, "%" PRId64 " damaged packet%s skipped", m->damaged_packets,
                 m->damaged_packets == 1 ? " was" : "s were");
        es_steps_tell(w, ES_INGEST_NOTE, 0, text);
    }
}

static void on_note(void *user, const char *sentence)
{
    es_steps_tell(user, ES_INGEST_NOTE, 0, sentence);
}

int es_steps_take(es_ingest_walk *w, es_result *r, unsigned *parts, const char *path, es_err *err)
{
    const es_ingest_job *job = w->job;
    int rc;

    *parts = job->again ? job->again : ES_PARTS_ALL;
    rc = es_again_take(r, parts, job->store, job->session, w->settings, on_note, w, err);
    if (rc != ES_OK || *parts & ES_PARTS_OF_SOUND) return rc; /* whoever decodes it says the rest */
    w->at.audio_ms = r->media.duration_ms;
    free(r->media.path);
    r->media.path = realpath(path, NULL);
    return ES_OK;
}

/* Knows who is enrolled from here on, and the library whose vectors will come. */
static int hear_open(es_ingest_walk *w, es_err *err)
{
    es_hear_options o = w->job->hear;
    int rc = es_names_note_models(w->job->store, w->job->session, err);

    if (rc == ES_OK) rc = es_voices_read_people(w->job->store, &w->people, err);
    o.people = &w->people;
    return rc == ES_OK ? es_hear_open(&w->hear, w->job->session, &o, err) : rc;
}

int es_steps_keep(es_ingest_walk *w, es_kept **kept, const es_result *r, const es_spool *spool,
                  void (*note)(void *user, const char *sentence), void *user, es_err *err)
{
    es_session *s = w->job->session;
    es_device_facts facts = {.name = "cpu"}; /* where every machine's bits are the same */
    es_kept_of of = {.content = r->media.content,
                     .track = r->media.track,
                     .samples = spool ? es_spool_samples(spool) : 0,
                     .settings = r->made.settings};

    if (es_device_backend(es_session_device(s)) != ES_CPU) es_device_describe(es_session_device(s), &facts);
    of.device = facts.name;
    for (int i = 0; i < ES_N_STAGES; i++) of.by[i] = es_session_maker(s, (enum es_stage)i).hash;
    return es_kept_open(kept, w->journal, &of, note, user, err);
}

static bool same_speech(const es_diarization *a, const es_diarization *b)
{
    bool same = a->n_speech == b->n_speech;

    for (size_t i = 0; i < a->n_speech && same; i++)
        same = a->speech[i].start_ms == b->speech[i].start_ms && a->speech[i].end_ms == b->speech[i].end_ms;
    return same;
}

int es_steps_hear(es_ingest_walk *w, es_result *r, unsigned parts, es_spool *spool, es_kept *kept, es_err *err)
{
    const es_diarize_options told = {
        .progress = on_hear, .note = on_note, .user = w, .times = &w->tally.heard, .kept = kept};
    es_diarization was = r->who; /* empty, but where words are kept: what they were heard in */
    double t = es_steps_now();
    int rc;

    if (!(parts & ES_PART_SPEAKERS)) return ES_OK;
    es_sound sound = es_sound_of(spool);
    w->at.listened = t;
    r->who = (es_diarization){0};
    rc = es_hear_speakers(w->hear, r, &sound, &told, err);
    if (rc == ES_OK && !(parts & ES_PART_WORDS) && !same_speech(&was, &r->who))
        on_note(w, "speech is found elsewhere than when its words were heard; they stay (--again alone hears them anew)");
    es_diarization_done(&was);
    w->tally.hear_seconds += es_steps_now() - t;
    return rc;
}

/* The models, before the first recording that needs them. */
int es_steps_ready(es_ingest_walk *w, es_err *err)
{
    const es_ingest_job *job = w->job;
    int rc;

    es_steps_begin(w, "loading the model");
    es_steps_tell(w, ES_INGEST_PROGRESS, 0, NULL);
    double began = es_steps_now();
    rc = es_session_ready(job->session, err);
    if (rc == ES_OK && !w->hear) rc = hear_open(w, err);
    w->tally.load_seconds += es_steps_now() - began;
    if (rc != ES_OK) {
        w->hopeless = true;
        return rc;
    }
    return ES_OK;
}

/* seen: the file as it was when its hash was taken. */
int es_steps_unchanged(const es_result *r, const char *path, const es_media_info *seen, es_err *err)
{
    char shown[512];

    if (seen->bytes && (r->media.bytes != seen->bytes || r->media.mtime_ns != seen->mtime_ns))
        return es_fail(err, ES_EIO, "%s: the file was changed while it was read; ingest it again when it is complete",
                       es_printable(shown, sizeof shown, path));
    return ES_OK;
}

/* Who spoke is the library's where it was kept, and somebody still speaks. */
static int put(es_store *s, const es_result *r, unsigned parts, es_err *err)
{
    if (parts == ES_PARTS_ALL) return es_store_put(s, r, err);
    return es_store_put_again(s, r, !(parts & ES_PART_SPEAKERS) && r->who.n_speakers, err);
}

int es_steps_finish(es_ingest_walk *w, es_result *r, unsigned parts, es_kept *kept, es_err *err)
{
    const es_ingest_job *job = w->job;
    int rc = parts & ES_PARTS_OF_SOUND ? es_hear_words(w->hear, r, err) : ES_OK;

    if (rc != ES_OK) return rc;

    es_steps_begin(w, "embedding");
    rc = es_meaning_add(r, job->session, kept, &w->tally.meaning, err);
    w->tally.meaning_seconds += es_steps_now() - w->at.stage_began;
    w->tally.passages += r->passages.n;
    if (rc != ES_OK) return rc;

    es_steps_begin(w, "storing");
    if (parts & ES_PART_WORDS) {
        snprintf(r->made.by[ES_STAGE_ASR].name, sizeof r->made.by[ES_STAGE_ASR].name, "%s",
                 es_session_asr_name(job->session));
        r->made.by[ES_STAGE_ASR].hash = es_session_asr_hash(job->session);
    }
    snprintf(r->made.program, sizeof r->made.program, "%s", ES_VERSION);
    if (w->cancelled) rc = es_fail(err, ES_ECANCELLED, "cancelled");
    else es_kept_forget(kept), rc = put(job->store, r, parts, err);
    w->tally.store_seconds += es_steps_now() - w->at.stage_began;
    return rc;
}

void es_steps_stored(es_ingest_walk *w, const es_result *r)
{
    char id[33];

    w->tally.stored++;
    w->tally.audio_ms += r->media.duration_ms;
    es_hash_hex(id, r->media.content);
    w->at.fraction = 1;
    es_steps_tell(w, ES_INGEST_STORED, r->transcript.n_words, id);
}

/* What makes every other file fail, too. */
bool es_steps_is_fatal(int rc)
{
    return rc == ES_ELIBRARY || rc == ES_ENEWER || rc == ES_EDEVICE || rc == ES_ECANCELLED || rc == ES_EMODEL;
}

int es_steps_wait(es_ingest_walk *w)
{
    struct timespec t = {.tv_nsec = WAIT_MS * 1000000L};

    nanosleep(&t, NULL);
    es_steps_begin(w, "waiting for another process");
    return es_steps_progress(w, 0, 0);
}
