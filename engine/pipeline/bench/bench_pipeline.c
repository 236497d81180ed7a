/*
 * bench_pipeline.c - what es_ingest() says of itself, as figures.
 *
 * What is measured is the job itself with a fresh library, not a copy of its loop. Files are decoded on other threads, beside
 * the models; all else follows each other on one. The models are made ready before the clock starts.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_pipeline.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/bench/machine.h"

typedef struct watcher {
    es_ingest_fn listen;
    void *user;
    es_device *device;
    uint64_t free_before, most_device, most_anonymous;
    char fault[1024];
} watcher;

static void look(watcher *w)
{
    es_device_facts facts;
    uint64_t own = es_machine_anonymous_bytes();

    if (own > w->most_anonymous) w->most_anonymous = own;
    if (es_device_backend(w->device) == ES_CPU) return;
    es_device_describe(w->device, &facts);
    uint64_t taken = w->free_before > facts.bytes_free ? w->free_before - facts.bytes_free : 0;
    if (taken > w->most_device) w->most_device = taken;
}

static int on_event(void *user, const es_ingest_event *e)
{
    watcher *w = user;

    look(w);
    if (e->kind == ES_INGEST_FAILED) snprintf(w->fault, sizeof w->fault, "%s", e->text ? e->text : "failed");
    return w->listen ? w->listen(w->user, e) : 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* The models by name, in the order in which they are needed. */
static void name_models(es_figures *f, const es_session *s)
{
    static const enum es_stage order[] = {ES_STAGE_SEGMENTATION, ES_STAGE_DIARIZER, ES_STAGE_VOICE, ES_STAGE_ASR, ES_STAGE_EMBEDDER};
    const char *told[ES_N_STAGES];
    es_maker maker[ES_N_STAGES];
    size_t n = 0;

    for (size_t i = 0, k = 0; i < sizeof order / sizeof order[0]; i++) {
        bool again = false;
        maker[i] = es_session_maker(s, order[i]);
        if (order[i] == ES_STAGE_ASR) snprintf(maker[i].name, sizeof maker[i].name, "%s", es_session_asr_name(s));
        for (size_t j = 0; j < k; j++) again = again || !strcmp(told[j], maker[i].name);
        if (again || !maker[i].name[0] || n >= sizeof f->what) continue;
        n += (size_t)snprintf(f->what + n, sizeof f->what - n, "%s%s", k ? "," : "", maker[i].name);
        told[k++] = maker[i].name;
    }
}

typedef struct fills {
    es_fill at[ES_N_STAGES];
} fills;

static fills fills_of(const es_session *s)
{
    fills f;

    for (enum es_stage i = 0; i < ES_N_STAGES; i++) f.at[i] = es_session_fill(s, i);
    return f;
}

static void write_stages(es_figures *f, const es_session *s, const es_ingest_tally *t, const fills *was)
{
    const es_transcribe_times *m = &t->times;
    bool finds = es_session_has(s, ES_STAGE_SEGMENTATION), tells = finds && es_session_has(s, ES_STAGE_DIARIZER);
    es_maker voice = es_session_maker(s, ES_STAGE_VOICE), diarizer = es_session_maker(s, ES_STAGE_DIARIZER);
    double fill[ES_N_STAGES], other = t->speech_seconds - m->listen - m->encode - m->decode - m->align;

    for (enum es_stage i = 0; i < ES_N_STAGES; i++) fill[i] = es_fill_since(was->at[i], es_session_fill(s, i));
    if (finds) es_figures_add(f, "find speech", t->heard.segment, fill[ES_STAGE_SEGMENTATION]);
    if (tells) {
        es_figures_add(f, "hear voices", t->heard.embed, fill[ES_STAGE_DIARIZER]);
        es_figures_add(f, "tell them apart", t->heard.cluster, -1);
        if (memcmp(&voice.hash, &diarizer.hash, sizeof voice.hash)) es_figures_add(f, "voices for names", t->heard.voices, fill[ES_STAGE_VOICE]);
    }
    if (m->listen > 0) es_figures_add(f, "mel maximum", m->listen, -1);
    es_figures_add(f, "mel and encoder", m->encode, fill[ES_STAGE_ASR]);
    es_figures_add(f, "decoder", m->decode, t->batch.full_all ? (double)t->batch.full_slot_steps / (double)t->batch.full_all : -1);
    es_figures_add(f, "word alignment", m->align, -1);
    es_figures_add(f, "rest of speech", fmax(0, other), -1);
    es_figures_add(f, "passages", t->meaning.cut, -1);
    if (es_session_has(s, ES_STAGE_EMBEDDER)) es_figures_add(f, "text vectors", t->meaning.vectors, fill[ES_STAGE_EMBEDDER]);
    es_figures_add(f, "store", t->store_seconds, -1);
    es_figures_add(f, "who is who", t->names_seconds, -1);
    es_figures_add_beside(f, "decode the files", t->decode_seconds);
}

/* The run itself; the session is ready. */
static int run(es_session *s, const char *const *paths, size_t n, es_ingest_job *job, watcher *w, es_figures *f, es_err *err)
{
    es_ingest_tally tally = {0};
    fills was = fills_of(s);
    uint64_t taken = es_device_allocations(w->device);
    es_energy energy;
    double cpu;
    int rc;

    look(w);
    es_machine_forget_peak();
    es_energy_open(&energy, es_device_backend(w->device));
    cpu = es_machine_cpu_seconds();
    rc = es_ingest(job, paths, n, &tally, err);
    f->cpu_seconds = es_machine_cpu_seconds() - cpu;
    f->joules = es_energy_joules(&energy);
    snprintf(f->energy, sizeof f->energy, "%s", energy.from);
    es_energy_close(&energy);
    look(w);
    if (rc == ES_OK && !tally.stored)
        rc = es_fail(err, ES_EIO, "%s", w->fault[0] ? w->fault : "there is nothing to measure");
    f->seconds = tally.seconds, f->recordings = (int64_t)tally.stored, f->audio_seconds = (double)tally.audio_ms / 1000;
    f->peak_bytes = es_machine_peak_bytes(), f->anonymous_bytes = w->most_anonymous, f->device_bytes = w->most_device;
    f->allocations = es_device_allocations(w->device) - taken;
    write_stages(f, s, &tally, &was);
    return rc;
}

int es_bench_pipeline(es_session *session, const char *const *paths, size_t n, const es_transcribe_options *speech,
                      const es_hear_options *hear, es_ingest_fn listen, void *user, es_figures *out, es_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char folder[4096], shown[512];
    watcher w = {.listen = listen, .user = user};
    es_ingest_job job = {.session = session, .speech = *speech, .hear = *hear, .keep_seconds = ES_INGEST_KEEP_SECONDS, .listen = on_event, .user = &w};
    es_store *store = NULL;
    es_plan_totals totals;
    es_device_facts facts;
    double began = es_machine_now();
    int rc;

    *out = (es_figures){.joules = -1};
    es_figures_sign(out);
    name_models(out, session);
    rc = es_hear_check(session, hear, false, err);
    snprintf(folder, sizeof folder, "%s/earshot-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (rc == ES_OK && !mkdtemp(folder))
        return es_fail(err, ES_EIO, "%s: the folder cannot be made: %s", es_printable(shown, sizeof shown, folder), strerror(errno));
    if (rc != ES_OK) return rc;
    rc = es_session_ready(session, err);
    out->load_seconds = es_machine_now() - began;
    if (rc == ES_OK) rc = es_store_open(&store, folder, ES_STORE_CREATE, err);
    if (rc == ES_OK) {
        job.store = store;
        w.device = es_session_device(session);
        es_device_describe(w.device, &facts);
        es_session_totals(session, &totals);
        w.free_before = facts.bytes_free + totals.arena; /* the arena is taken already */
        snprintf(out->device, sizeof out->device, "%s", facts.name);
        out->arena_bytes = totals.arena, out->plan_bytes = totals.total, out->budget_bytes = totals.budget;
        rc = run(session, paths, n, &job, &w, out, err);
    }
    es_store_close(store);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return rc;
}
