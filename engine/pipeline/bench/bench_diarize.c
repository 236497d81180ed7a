/*
 * bench_diarize.c - `bench diarize`: what telling speakers apart costs, without a speech model beside it.
 *
 * Made-up weights hear nothing in noise, so that after the segmentation was measured its classes are written over: two people
 * take turns of three seconds, now and then both at once, and the vectors of their windows are as many as a real conversation of
 * that length asks for. What clustering costs does not depend on the network: bench/bench_cluster measures it.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_voices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "media/decode.h"
#include "pipeline/bench/machine.h"
#include "pipeline/session/fit.h"
#include "pipeline/session/packs.h"
#include "pipeline/speakers/plda.h"
#include "runtime/arena.h"
#include "speech/rttm.h"
#include "speech/windows.h"

enum { NOISE_SECONDS = 600 };

typedef struct rig {
    es_device_choice where;
    es_lineup lineup;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_plda *plda;
    es_diarize_models m;
    const es_speaker_dims *dims;
    char network[64];
    es_plan_totals totals;
} rig;

typedef struct figures {
    es_diarize_times times;
    double audio, load, decode, all;
    int speakers;
    size_t turns;
} figures;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- models ---- */

static void rig_close(rig *g)
{
    es_lineup_done(&g->lineup);
    es_arena_close(g->arena);
    es_plan_close(g->plan);
    es_device_close(g->device);
    free(g->plda);
}

static int add_packs(rig *g, const es_bench_diarize_options *o, es_err *err)
{
    const es_pack_entry *segmentation = NULL, *diarizer = NULL, *plda;
    es_packs packs = {0};
    char shown[512];
    int rc = es_packs_scan(&packs, o->models, err);

    if (rc == ES_OK) rc = es_packs_choose(&packs, ES_STAGE_SEGMENTATION, o->segmentation, &segmentation, err);
    if (rc == ES_OK) rc = es_packs_choose(&packs, ES_STAGE_DIARIZER, o->diarizer, &diarizer, err);
    if (rc == ES_OK && (!segmentation || !diarizer))
        rc = es_fail(err, ES_ENOTFOUND, "%s: no pack %s is here", es_printable(shown, sizeof shown, packs.folder),
                     segmentation ? "that tells speakers apart (ResNet34 or CAM++)" : "that finds who speaks when (segmentation-3.0)");
    if (rc == ES_OK) rc = es_lineup_add_pack(&g->lineup, segmentation->path, err);
    if (rc == ES_OK) rc = es_lineup_add_pack(&g->lineup, diarizer->path, err);
    if (rc == ES_OK) g->m.space = diarizer->hash;
    if (rc == ES_OK && !strcmp(diarizer->architecture, "resnet34") && (plda = es_packs_find(&packs, "plda")))
        rc = es_plda_open(&g->plda, plda->path, err);
    es_packs_done(&packs);
    return rc;
}

static int rig_open(rig *g, const es_bench_diarize_options *o, es_err *err)
{
    es_fit_options fit = {.threads = o->threads, .budget = o->budget};
    es_device_facts facts;
    es_fault why = {0};
    char names[128];
    int rc = es_session_choose(&g->where, o->device, true, err);

    if (o->synthetic && strlen(o->synthetic) > 64) return es_fail(err, ES_EARG, "there is no network of that name");
    snprintf(names, sizeof names, "segmentation-3.0,%s", o->synthetic ? o->synthetic : "");
    if (rc == ES_OK) rc = o->synthetic ? es_lineup_add_presets(&g->lineup, names, err) : add_packs(g, o, err);
    if (rc == ES_OK && (g->lineup.n != 2 || g->lineup.at[1]->kind != ES_LINEUP_SPEAKER))
        rc = es_fail(err, ES_EARG, "%s is no network that knows voices; there are campplus, resnet34 and ecapa", o->synthetic);
    if (rc == ES_OK && es_device_open(&g->device, g->where.backend, g->where.index, o->threads, NULL, &why))
        rc = es_fail(err, ES_EDEVICE, "%s", why.text[0] ? why.text : "the device cannot be opened");
    if (rc == ES_OK) {
        es_device_describe(g->device, &facts);
        fit.backend = g->where.backend;
        if (!fit.budget) fit.budget = es_session_default_budget(fit.backend, facts.bytes_free);
        rc = es_fit(&g->plan, &g->lineup, &fit, err);
    }
    if (rc == ES_OK) rc = es_arena_open(&g->arena, g->plan, g->device, err);
    if (rc == ES_OK) rc = o->synthetic ? es_arena_seed(g->arena, 1, err) : es_arena_load(g->arena, err);
    if (rc == ES_OK) rc = es_lineup_start(&g->lineup, g->arena, err);
    if (rc == ES_OK) {
        g->m.segmentation = g->lineup.at[0]->pyannet;
        g->m.diarizer = g->lineup.at[1]->speaker;
        g->m.plda = g->plda;
        g->dims = es_speaker_dims_of(g->m.diarizer);
        snprintf(g->network, sizeof g->network, "%s", g->lineup.at[1]->name);
        es_plan_totals_get(g->plan, &g->totals);
    }
    return rc;
}

/* ---- a recording ---- */

static int write_rttm(const char *path, const char *recording, const es_diarization *d, es_err *err)
{
    es_turn *turns = malloc((d->n_turns + 1) * sizeof *turns);
    const char *slash = strrchr(recording, '/');
    char stem[256], shown[512];
    FILE *f = turns ? fopen(path, "w") : NULL;

    snprintf(stem, sizeof stem, "%s", slash ? slash + 1 : recording);
    if (strrchr(stem, '.') > stem) *strrchr(stem, '.') = 0;
    for (size_t i = 0; i < d->n_turns && f; i++)
        turns[i] = (es_turn){d->turns[i].start_ms * 1000, d->turns[i].end_ms * 1000, d->turns[i].speaker};
    if (f) es_rttm_write(f, stem, turns, d->n_turns, NULL);
    free(turns);
    if (!f || fclose(f)) return es_fail(err, ES_EIO, "%s: cannot be written", es_printable(shown, sizeof shown, path));
    return ES_OK;
}

static int run_file(rig *g, const es_bench_diarize_options *o, const es_diarize_options *d, const char *path, figures *f, es_err *err)
{
    const char *tmp = getenv("TMPDIR");
    char folder[4096], shown[512];
    es_media_info info = {0};
    es_diarization who = {0};
    es_spool *spool = NULL;
    double began = now();
    int rc;

    snprintf(folder, sizeof folder, "%s/earshot-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return es_fail(err, ES_EIO, "%s: the folder cannot be made", es_printable(shown, sizeof shown, folder));
    rc = es_media_decode(&spool, &info, path, 0, folder, NULL, NULL, err);
    f->decode = now() - began;
    if (rc == ES_OK) {
        es_sound sound = es_sound_of(spool);
        f->audio = (double)sound.samples / ES_RATE;
        rc = es_diarize(&who, &g->m, &sound, d, err);
    }
    f->all = now() - began;
    f->speakers = who.n_speakers;
    f->turns = who.n_turns;
    if (rc == ES_OK && o->rttm) rc = write_rttm(o->rttm, path, &who, err);
    es_diarization_done(&who);
    es_spool_close(spool);
    es_media_info_done(&info);
    rmdir(folder);
    return rc;
}

/* ---- without weights ---- */

static int read_noise(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    (void)user, (void)err;
    for (int64_t i = 0; i < n; i++) {
        uint64_t z = (uint64_t)(first + i) * 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 29)) * 0xBF58476D1CE4E5B9u;
        out[i] = 0.2f * ((float)(z >> 40) * 0x1p-24f - 0.5f);
    }
    return ES_OK;
}

/* Classes of a conversation: slot t mod 2 of each stretch of three seconds, every tenth with both. */
static void converse(es_diarize_windows *w)
{
    static const uint8_t class_of[4] = {1, 2, 1, 4};

    for (int64_t c = 0; c < w->n; c++)
        for (int f = 0; f < ES_WINDOW_FRAMES; f++) {
            int64_t sample = c * w->step + f * ES_FRAME_STEP, stretch = sample / (3 * ES_RATE);
            w->classes[c * ES_WINDOW_FRAMES + f] = class_of[stretch % 10 == 9 ? 3 : stretch % 2];
        }
}

static int run_noise(rig *g, const es_diarize_options *d, figures *f, es_err *err)
{
    es_sound sound = {.read = read_noise, .samples = (int64_t)NOISE_SECONDS * ES_RATE};
    es_diarize_windows w = {0};
    es_diarization who = {0};
    double began = now();
    int rc = es_diarize_segment(&w, &g->m, &sound, d, err);

    if (rc == ES_OK) {
        converse(&w);
        rc = es_diarize_embed(&w, &g->m, &sound, d, err);
    }
    if (rc == ES_OK) rc = es_diarize_conclude(&who, &w, &g->m, d, err);
    f->audio = NOISE_SECONDS;
    f->all = now() - began;
    es_diarization_done(&who);
    es_diarize_windows_done(&w);
    return rc;
}

/* ---- printing ---- */

static double times_real(double audio, double seconds)
{
    return seconds > 0 ? audio / seconds : 0;
}

static void print(FILE *out, const rig *g, const es_bench_diarize_options *o, const char *configuration, const figures *f)
{
    const es_diarize_times *t = &f->times;
    const struct {
        const char *name, *key;
        double seconds;
    } stage[] = {{"decode the file", "decode", f->decode}, {"find speech", "segment", t->segment}, {"hear voices", "voices", t->embed},
                 {"tell them apart", "cluster", t->cluster}, {"all", "all", f->all}};

    if (o->json) {
        fprintf(out, "{\"network\": \"%s\", \"diarization\": \"%s\", \"audio_seconds\": %.3f, \"seconds\": {\"load\": %.4f", g->network,
                configuration, f->audio, f->load);
        for (size_t i = 0; i < sizeof stage / sizeof stage[0]; i++) fprintf(out, ", \"%s\": %.4f", stage[i].key, stage[i].seconds);
        fprintf(out, "}, \"times_real_time\": %.2f, \"windows\": %lld, \"vectors\": %lld, \"clustered\": %lld, \"speakers\": %d, \"turns\": %zu, "
                     "\"arena_bytes\": %llu, \"peak_bytes\": %llu}\n",
                times_real(f->audio, f->all), (long long)t->windows, (long long)t->vectors, (long long)t->trained, f->speakers, f->turns,
                (unsigned long long)g->totals.arena, (unsigned long long)es_machine_peak_bytes());
        return;
    }
    fprintf(out, "%.1f s of sound, segmentation-3.0 and %s%s, %s, windows %g s apart\n\n", f->audio, g->network,
            o->synthetic ? " without their weights" : "", configuration,
            (o->hear.step_samples ? o->hear.step_samples : ES_RATE) / (double)ES_RATE);
    fprintf(out, "  %-18s %9s %14s\n", "stage", "seconds", "x real time");
    for (size_t i = 0; i < sizeof stage / sizeof stage[0]; i++)
        if (stage[i].seconds > 0)
            fprintf(out, "  %-18s %9.3f %14.1f\n", stage[i].name, stage[i].seconds, times_real(f->audio, stage[i].seconds));
    fprintf(out, "\n  loading the models took %.3f s beside that\n", f->load);
    fprintf(out, "  %lld windows, %lld voices in them, %lld clustered", (long long)t->windows, (long long)t->vectors, (long long)t->trained);
    if (!o->synthetic) fprintf(out, "; %d speaker%s, %zu turns", f->speakers, f->speakers == 1 ? "" : "s", f->turns);
    fprintf(out, "\n  arena %.1f MB, peak of the process %.1f MiB\n", (double)g->totals.arena * 1e-6, (double)es_machine_peak_bytes() / 1048576);
}

int es_bench_diarize(const es_bench_diarize_options *o, const char *path, char **text, size_t *bytes, es_err *err)
{
    es_diarize_options d = es_diarize_defaults();
    const char *configuration = NULL;
    figures f = {0};
    rig g = {0};
    double began = now();
    int rc = rig_open(&g, o, err);

    *text = NULL, *bytes = 0;
    f.load = now() - began;
    d.configuration = o->hear.diarization;
    d.speakers = o->hear.speakers;
    if (o->hear.step_samples) d.step_samples = o->hear.step_samples;
    d.times = &f.times;
    if (rc == ES_OK) rc = es_diarize_check(g.dims, g.plda != NULL, &d, &configuration, err);
    if (rc == ES_OK) rc = o->synthetic ? run_noise(&g, &d, &f, err) : run_file(&g, o, &d, path, &f, err);
    if (rc == ES_OK) {
        FILE *out = open_memstream(text, bytes);
        if (out) print(out, &g, o, configuration, &f);
        if (!out || fclose(out)) rc = es_fail(err, ES_ENOMEM, "not enough memory to print");
    }
    rig_close(&g);
    return rc;
}
