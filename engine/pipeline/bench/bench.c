/*
 * bench.c - seconds of each stage, times real time, peak of memory.
 *
 * What is measured is the job itself: es_ingest() with a fresh library, not a copy of its loop. Loading the model is a
 * stage of its own, so that the rest can be compared across lengths of recordings. A hash of the words stands beside
 * the times: two runs that are compared should have done the same work.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "pipeline/bench/machine.h"

typedef struct outcome {
    es_ingest_fn listen;
    void *user;
    uint64_t words;
    char fault[1024];
} outcome;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int on_event(void *user, const es_ingest_event *e)
{
    outcome *o = user;

    if (e->kind == ES_INGEST_STORED) o->words = e->words;
    if (e->kind == ES_INGEST_FAILED) snprintf(o->fault, sizeof o->fault, "%s", e->text ? e->text : "failed");
    return o->listen ? o->listen(o->user, e) : 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int note_entry(void *user, const es_entry *e)
{
    *(es_hash128 *)user = e->media.content;
    return 0;
}

/* A hash of the words and their times, from the library itself. */
static int words_hash(es_store *store, char hex[33], es_err *err)
{
    es_hasher *h = es_hasher_open();
    es_hash128 content = {{0}};
    es_result r = {0};
    int rc;

    if (!h) return es_fail(err, ES_ENOMEM, "not enough memory");
    rc = es_store_list(store, note_entry, &content, err);
    if (rc == ES_OK) rc = es_store_get(store, content, -1, &r, err);
    if (rc == ES_OK) {
        for (size_t i = 0; i < r.transcript.n_segments; i++) {
            const es_segment *s = &r.transcript.segments[i];
            es_hasher_add(h, &s->start_ms, sizeof s->start_ms);
            es_hasher_add(h, &s->end_ms, sizeof s->end_ms);
            es_hasher_add(h, r.transcript.text + s->text_at, s->text_bytes);
        }
        es_hash_hex(hex, es_hasher_value(h));
    }
    es_result_done(&r);
    es_hasher_close(h);
    return rc;
}

static double times_real(double audio_seconds, double seconds)
{
    return seconds > 0 ? audio_seconds / seconds : 0;
}

static void figures_text(FILE *f, const es_session *s, const char *path, const es_ingest_tally *t, double load,
                         uint64_t words, const char *hash)
{
    const es_transcribe_times *m = &t->times;
    double audio = (double)t->audio_ms / 1000, work = t->seconds;
    double other = t->speech_seconds - m->listen - m->encode - m->decode - m->align;
    const struct {
        const char *name;
        double seconds;
    } stage[] = {{"decode the file", t->decode_seconds},
                 {"find speech", t->heard.segment},
                 {"hear voices", t->heard.embed},
                 {"tell them apart", t->heard.cluster},
                 {"mel maximum", m->listen},
                 {"mel and encoder", m->encode},
                 {"decoder", m->decode},
                 {"word alignment", m->align},
                 {"rest of speech", other},
                 {"store", t->store_seconds}};
    char shown[512];

    fprintf(f, "%s: %.1f s of sound, %s\n\n", es_printable(shown, sizeof shown, path), audio, es_session_asr_name(s));
    fprintf(f, "  %-18s %9s %8s %14s\n", "stage", "seconds", "share", "x real time");
    for (size_t i = 0; i < sizeof stage / sizeof stage[0]; i++)
        fprintf(f, "  %-18s %9.3f %6.1f %% %14.1f\n", stage[i].name, stage[i].seconds,
                work > 0 ? 100 * stage[i].seconds / work : 0, times_real(audio, stage[i].seconds));
    fprintf(f, "  %-18s %9.3f %8s %14.1f\n\n", "all", work, "", times_real(audio, work));
    fprintf(f, "  loading the model took %.3f s beside that\n", load);
    fprintf(f, "  %" PRId64 " windows, %" PRId64 " decodings, %" PRId64 " tokens (%.1f ms each), %" PRIu64 " words\n",
            m->windows, m->attempts, m->tokens, m->tokens ? 1000 * m->decode / (double)m->tokens : 0, words);
    if (t->batch.full_all)
        fprintf(f, "  %.1f %% of the decoder's slots at work while windows waited\n",
                100 * (double)t->batch.full_slot_steps / (double)t->batch.full_all);
    if (t->heard.windows)
        fprintf(f, "  %" PRId64 " windows of 10 s, %" PRId64 " voices in them, %" PRId64 " clustered\n", t->heard.windows, t->heard.vectors,
                t->heard.trained);
    fprintf(f, "  arena %.1f MB, peak of the process %.1f MiB\n", (double)es_session_arena_bytes(s) * 1e-6,
            (double)es_machine_peak_bytes() / 1048576);
    fprintf(f, "  words %s\n", hash);
}

static void figures_json(es_json_out *j, const es_session *s, const char *path, const es_ingest_tally *t, double load,
                         uint64_t words, const char *hash)
{
    const es_transcribe_times *m = &t->times;
    double audio = (double)t->audio_ms / 1000;

    es_json_begin(j, 2);
    es_json_object(j, NULL);
    es_json_put_string(j, "path", path);
    es_json_put_string(j, "asr", es_session_asr_name(s));
    es_json_put_fixed(j, "audio_seconds", audio, 3);
    es_json_object(j, "seconds");
    es_json_put_fixed(j, "load", load, 4);
    es_json_put_fixed(j, "media", t->decode_seconds, 4);
    es_json_put_fixed(j, "segment", t->heard.segment, 4);
    es_json_put_fixed(j, "voices", t->heard.embed, 4);
    es_json_put_fixed(j, "cluster", t->heard.cluster, 4);
    es_json_put_fixed(j, "listen", m->listen, 4);
    es_json_put_fixed(j, "encode", m->encode, 4);
    es_json_put_fixed(j, "decode", m->decode, 4);
    es_json_put_fixed(j, "align", m->align, 4);
    es_json_put_fixed(j, "store", t->store_seconds, 4);
    es_json_put_fixed(j, "all", t->seconds, 4);
    es_json_end_object(j);
    es_json_put_fixed(j, "times_real_time", times_real(audio, t->seconds), 2);
    es_json_put_int(j, "windows", m->windows);
    es_json_put_int(j, "decodings", m->attempts);
    if (t->batch.full_all) es_json_put_fixed(j, "slots_busy", (double)t->batch.full_slot_steps / (double)t->batch.full_all, 4);
    es_json_put_int(j, "tokens", m->tokens);
    es_json_put_uint(j, "words", words);
    es_json_put_uint(j, "arena_bytes", es_session_arena_bytes(s));
    es_json_put_uint(j, "peak_bytes", es_machine_peak_bytes());
    es_json_put_string(j, "words_hash", hash);
    es_json_end_object(j);
}

int es_bench(es_session *session, const char *path, const es_transcribe_options *speech, const es_hear_options *hear, bool json,
             es_ingest_fn listen, void *user, char **text, size_t *bytes, es_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char folder[4096], shown[512], hash[33] = "";
    outcome o = {.listen = listen, .user = user};
    es_ingest_job job = {.session = session, .speech = *speech, .hear = *hear, .keep_seconds = ES_INGEST_KEEP_SECONDS, .listen = on_event, .user = &o};
    es_ingest_tally tally = {0};
    es_store *store = NULL;
    struct stat st;
    double load = now();
    int rc;

    *text = NULL, *bytes = 0;
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return es_fail(err, ES_ENOTFOUND, "%s: bench takes one file, and this is none",
                       es_printable(shown, sizeof shown, path));
    snprintf(folder, sizeof folder, "%s/earshot-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return es_fail(err, ES_EIO, "%s: the folder cannot be made: %s", es_printable(shown, sizeof shown, folder),
                       strerror(errno));
    rc = es_session_ready(session, err);
    load = now() - load;
    if (rc == ES_OK) rc = es_store_open(&store, folder, ES_STORE_CREATE, err);
    job.store = store;
    if (rc == ES_OK) rc = es_ingest(&job, &path, 1, &tally, err);
    if (rc == ES_OK && tally.failed) rc = es_fail(err, ES_EIO, "%s", o.fault);
    if (rc == ES_OK) rc = words_hash(store, hash, err);
    es_store_close(store);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (rc != ES_OK) return rc;
    if (json) {
        es_json_out j;
        figures_json(&j, session, path, &tally, load, o.words, hash);
        if (j.failed) {
            free(j.text);
            return es_fail(err, ES_ENOMEM, "not enough memory to print");
        }
        *text = j.text, *bytes = j.n;
        return ES_OK;
    }
    FILE *f = open_memstream(text, bytes);
    if (f) figures_text(f, session, path, &tally, load, o.words, hash);
    if (!f || fclose(f)) return es_fail(err, ES_ENOMEM, "not enough memory to print");
    return ES_OK;
}
