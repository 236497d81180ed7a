/*
 * test_diarize.c - whole diarizations against recorded runs of the reference and against people's references; what is not
 * speech; wishes that cannot be met.
 */
#include "recorded.h"

#include "pipeline/speakers/diarize.h"
#include "pipeline/speakers/plda.h"
#include "speech/rttm.h"
#include "speech/score.h"
#include "weights/convert/convert.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { WIDTH = 192, WHOLE = SANITIZED ? 1 : 3, SECONDS = SANITIZED ? 11 : 25 }; /* real networks take long under a sanitizer */

/* ---- models ---- */

typedef struct rig {
    es_weights *segmentation, *voices;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_diarize_models m;
    es_err err;
} rig;

static const char *pack(const char *folder, const char *name)
{
    static char paths[2][4096];
    int which = !strcmp(name, "campplus");
    const char *source = es_test_data(folder);
    es_convert_report rep;
    es_err err = {0};

    if (!source) {
        es_test_skip(folder);
        return NULL;
    }
    snprintf(paths[which], sizeof paths[which], "%s/%s.pack", es_test_folder(), name);
    es_convert_options o = {.source = source, .output = paths[which], .name = name};
    if (es_convert(&o, &rep, &err) != ES_OK) {
        es_test_fail(__FILE__, __LINE__, "%s", err.text);
        return NULL;
    }
    return paths[which];
}

static void rig_close(rig *g)
{
    es_pyannet_close(g->m.segmentation);
    es_speaker_close(g->m.diarizer);
    es_speaker_close(g->m.voice);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->segmentation);
    es_weights_close(g->voices);
    *g = (rig){0};
}

/* named: with a network for names beside it, which is CAM++ once more. */
static bool rig_open_with(rig *g, int windows, int pieces, bool named)
{
    const char *segmentation = pack("models/pyannote-segmentation-3.0", "segmentation-3.0");
    const char *voices = segmentation ? pack("models/campplus", "campplus") : NULL;
    es_speaker_limits limits = {.answers = pieces, .rows = 998 * (pieces > 2 ? 2 : 1)};
    es_speaker_dims dims;
    es_fault fault = {0};
    int rc;

    *g = (rig){0};
    if (!voices) return false;
    rc = es_pack_open(&g->segmentation, segmentation, &g->err);
    if (!rc) rc = es_pack_open(&g->voices, voices, &g->err);
    if (!rc) rc = es_plan_open(&g->p, ES_CPU, 2, &g->err);
    if (!rc) rc = es_pyannet_plan(&g->m.segmentation, g->p, "segmentation", g->segmentation, windows, &g->err);
    if (!rc) rc = es_speaker_dims_read(&dims, g->voices, &g->err);
    if (!rc) rc = es_speaker_plan(&g->m.diarizer, g->p, "campplus", g->voices, &dims, limits, &g->err);
    if (!rc && named) rc = es_speaker_plan(&g->m.voice, g->p, "voice", g->voices, &dims, limits, &g->err);
    if (!rc) rc = es_plan_finish(g->p, 0, &g->err);
    if (!rc && es_device_open(&g->d, ES_CPU, 0, 2, NULL, &fault)) rc = es_fail(&g->err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &g->err);
    if (!rc) rc = es_arena_load(g->a, &g->err);
    if (!rc) es_pyannet_start(g->m.segmentation, g->a), es_speaker_start(g->m.diarizer, g->a);
    if (!rc && named) es_speaker_start(g->m.voice, g->a);
    if (rc) {
        es_test_fail(__FILE__, __LINE__, "%s", g->err.text);
        rig_close(g);
    }
    return rc == ES_OK;
}

static bool rig_open(rig *g, int windows, int pieces)
{
    return rig_open_with(g, windows, pieces, false);
}

/* ---- scores ---- */

/* The rate between a diarization's turns and an RTTM, over the whole recording. */
static double rate(const es_diarization *d, const char *rttm, const char *uri, int64_t samples)
{
    es_turn *turns = malloc((d->n_turns + 1) * sizeof *turns);
    es_score_span all = {0, samples * 125 / 2};
    es_rttm ref = {0};
    es_err err = {0};
    es_der der = {0};

    for (size_t i = 0; i < d->n_turns; i++)
        turns[i] = (es_turn){d->turns[i].start_ms * 1000, d->turns[i].end_ms * 1000, d->turns[i].speaker};
    CHECK(es_rttm_read(&ref, es_test_data(rttm), uri, &err) == ES_OK, "%s", err.text);
    CHECK(ref.n > 0, "%s has no turns of %s", rttm, uri ? uri : "any file");
    CHECK(es_score_der(&der, ref.turns, ref.n, turns, d->n_turns, &all, 1, 0, NULL, 0) == 0);
    es_rttm_done(&ref);
    free(turns);
    return es_der_rate(der);
}

static bool is_sound(const es_diarization *d, int64_t samples)
{
    int64_t end = samples / 16 + 1;
    bool good = true;
    int seen = 0;

    for (size_t i = 0; i < d->n_turns; i++) {
        const es_spoken *t = &d->turns[i];
        good = good && t->start_ms < t->end_ms && t->end_ms <= end && t->speaker <= seen;
        if (t->speaker == seen) seen++;
        if (i) good = good && d->turns[i - 1].start_ms <= t->start_ms;
    }
    for (size_t i = 1; i < d->n_exclusive; i++) good = good && d->exclusive[i - 1].end_ms <= d->exclusive[i].start_ms;
    for (size_t i = 0; i < d->n_exclusive; i++) good = good && d->exclusive[i].speaker < d->n_speakers;
    for (size_t i = 1; i < d->n_speech; i++) good = good && d->speech[i - 1].end_ms < d->speech[i].start_ms;
    return good && seen == d->n_speakers && d->centers.n == (size_t)d->n_speakers;
}

static const struct {
    const char *name, *wav, *human, *uri;
    double reached; /* by the reference, against people */
    int speakers;
} recordings[] = {
    {"sample", "audio/pyannote_sample/sample.wav", "audio/pyannote_sample/sample.rttm", "sample", 0.0521, 2},
    {"dev00", "audio/ami/dev00.wav", "audio/ami/debug.development.rttm", "dev00", 0.2664, 2},
    {"mix3", "audio/librispeech_mix/mix3.wav", "audio/librispeech_mix/mix3.rttm", "mix3", 0.2523, 3},
};
enum { N_RECORDINGS = sizeof recordings / sizeof recordings[0] };

static void whole(void)
{
    rig g;

    if (!rig_open(&g, 8, 6)) return;
    g.m.space.b[3] = 7;
    for (int i = 0; i < WHOLE; i++) {
        es_diarize_times times = {0};
        es_diarize_options o = es_diarize_defaults();
        es_diarization d = {0};
        char golden[64];
        recording r;
        if (!load(&r, recordings[i].wav)) continue;
        es_sound s = sound_of(&r);
        o.times = &times;
        CHECK(es_diarize(&d, &g.m, &s, &o, &g.err) == ES_OK, "%s: %s", recordings[i].name, g.err.text);
        CHECK(is_sound(&d, r.n), "%s: turns, speakers or speech are out of order", recordings[i].name);
        CHECK_INT(d.n_speakers, recordings[i].speakers);
        CHECK(d.centers.width == WIDTH && d.centers.space.b[3] == 7);
        snprintf(golden, sizeof golden, "goldens/speakers/%s.rttm", recordings[i].name);
        double same = rate(&d, golden, NULL, r.n), human = rate(&d, recordings[i].human, recordings[i].uri, r.n);
        CHECK(same <= 0.005, "%s: %.2f %% from the reference's turns", recordings[i].name, 100 * same);
        CHECK(human <= recordings[i].reached + 0.003, "%s: DER %.2f %%, the reference has %.2f %%", recordings[i].name, 100 * human,
              100 * recordings[i].reached);
        printf("    %s: %.3f %% from the reference's turns, DER %.2f %% (reference %.2f %%); %.2f s segmentation, %.2f s vectors, %.3f s clusters\n",
               recordings[i].name, 100 * same, 100 * human, 100 * recordings[i].reached, times.segment, times.embed, times.cluster);
        es_diarization_done(&d);
        free(r.x);
    }
    rig_close(&g);
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < WIDTH; i++) ab += (double)a[i] * (double)b[i], aa += (double)a[i] * (double)a[i], bb += (double)b[i] * (double)b[i];
    return ab / sqrt(aa * bb);
}

/* The vectors for names are those of the same people as the centres, of unit length, in the space of their own pack. */
static void voices(void)
{
    es_diarize_options o = es_diarize_defaults();
    es_diarization d = {0};
    recording r;
    rig g;

    if (!load(&r, recordings[0].wav)) return;
    if (rig_open_with(&g, 4, 6, true)) {
        es_sound s = sound_of(&r);
        g.m.voice_space.b[0] = 9;
        o.step_samples = 32000;
        CHECK(es_diarize(&d, &g.m, &s, &o, &g.err) == ES_OK, "%s", g.err.text);
        CHECK(d.n_speakers == 2 && d.voices.n == 2 && d.voices.width == WIDTH && d.voices.space.b[0] == 9, "%d speakers, %zu voices",
              d.n_speakers, d.voices.n);
        for (int i = 0; i < 2 && d.voices.n == 2; i++) {
            const float *v = d.voices.rows + i * WIDTH, *c = d.centers.rows;
            double length = 0;
            for (int k = 0; k < WIDTH; k++) length += (double)v[k] * (double)v[k];
            CHECK(fabs(length - 1) < 1e-5, "voice %d is %.6f long", i, sqrt(length));
            CHECK(cosine(v, c + i * WIDTH) > 0.7 && cosine(v, c + (1 - i) * WIDTH) < 0.5, "voice %d: %.2f to its own centre, %.2f to the other", i,
                  cosine(v, c + i * WIDTH), cosine(v, c + (1 - i) * WIDTH));
        }
        es_diarization_done(&d);
        rig_close(&g);
    }
    free(r.x);
}

/* ---- from recorded windows ---- */

static char told[256];
static void note(void *user, const char *sentence)
{
    (void)user;
    snprintf(told, sizeof told, "%s", sentence);
}

static void from_recorded_windows(void)
{
    for (int i = 0; i < N_RECORDINGS; i++) {
        es_diarize_models m = {0};
        es_diarize_options o = es_diarize_defaults();
        es_diarization d = {0};
        es_diarize_windows w;
        es_err err = {0};
        char path[64];
        recording r;
        size_t dims[4];
        int n_dims;
        if (!load(&r, recordings[i].wav)) return;
        CHECK(recorded(&w, recordings[i].name), "%s.npz cannot be read", recordings[i].name);
        w.samples = r.n;
        CHECK(es_diarize_conclude(&d, &w, &m, &o, &err) == ES_OK, "%s", err.text);
        snprintf(path, sizeof path, "goldens/speakers/%s.npz", recordings[i].name);
        double *want = es_test_npz(es_test_data(path), "turns", &n_dims, dims);
        CHECK(want && d.n_turns == dims[0], "%s: %zu turns, the reference has %zu", recordings[i].name, d.n_turns, want ? dims[0] : 0);
        int name[8];
        for (int k = 0; k < 8; k++) name[k] = -1;
        for (size_t t = 0; want && t < dims[0] && t < d.n_turns; t++) {
            const es_spoken *have = &d.turns[t];
            int cluster = (int)want[3 * t + 2];
            if (name[cluster] < 0) name[cluster] = have->speaker;
            CHECK(fabs((double)have->start_ms - 1000 * want[3 * t]) < 1 && fabs((double)have->end_ms - 1000 * want[3 * t + 1]) < 1 &&
                      name[cluster] == have->speaker,
                  "%s: turn %zu is %lld to %lld ms of %d, the reference has %.0f to %.0f of %d", recordings[i].name, t,
                  (long long)have->start_ms, (long long)have->end_ms, have->speaker, 1000 * want[3 * t], 1000 * want[3 * t + 1], cluster);
        }
        free(want);
        free(r.x);
        es_diarization_done(&d);
        es_diarize_windows_done(&w);
    }
}

/* community-1 from the reference's windows and ResNet34 vectors, with its PLDA out of a pack. */
static void community_1(void)
{
    const char *folder = "audio/pyannote_golden/02_pyannote_sample", *source = es_test_data("models/pyannote-plda");
    char path[4096], file[128];
    es_convert_report rep;
    es_speaker_limits limits = {.answers = 1, .rows = 998};
    es_speaker_dims dims;
    es_diarize_models m = {0};
    es_diarize_options o = es_diarize_defaults();
    es_diarize_windows w = {.step = 16000, .width = ES_PLDA_IN, .samples = 480000};
    es_diarization d = {0};
    es_plda *plda = NULL;
    es_plan *p = NULL;
    es_err err = {0};
    size_t dims4[4];
    int n_dims;

    if (!source || !es_test_data(folder)) {
        es_test_skip("audio/pyannote_golden and models/pyannote-plda");
        return;
    }
    snprintf(path, sizeof path, "%s/plda.pack", es_test_folder());
    es_convert_options c = {.source = source, .output = path, .name = "plda"};
    CHECK(es_convert(&c, &rep, &err) == ES_OK && es_plda_open(&plda, path, &err) == ES_OK, "%s", err.text);
    CHECK(!plda || fabs(plda->psi[0] - 25.88) < 0.01, "the first variance is %g", plda ? plda->psi[0] : 0);
    /* A network is only asked what it is. */
    CHECK(es_speaker_preset(&dims, "resnet34") && es_plan_open(&p, ES_CPU, 1, &err) == ES_OK &&
              es_speaker_plan(&m.diarizer, p, "resnet34", NULL, &dims, limits, &err) == ES_OK,
          "%s", err.text);
    snprintf(file, sizeof file, "%s/segmentations.npz", folder);
    double *seg = es_test_npz(es_test_data(file), "segmentations", &n_dims, dims4);
    w.n = seg ? (int64_t)dims4[0] : 0;
    snprintf(file, sizeof file, "%s/raw_embeddings.npz", folder);
    double *raw = es_test_npz(es_test_data(file), "embeddings", &n_dims, dims4);
    if (plda && m.diarizer && seg && raw) {
        size_t slots = (size_t)w.n * ES_WINDOW_SLOTS;
        w.classes = calloc((size_t)w.n * ES_WINDOW_FRAMES, 1);
        w.row = malloc(slots * sizeof *w.row), w.clean = malloc(slots * sizeof *w.clean);
        w.vectors = malloc(slots * ES_PLDA_IN * sizeof *w.vectors);
        for (int64_t i = 0; i < w.n * ES_WINDOW_FRAMES; i++)
            for (uint8_t k = 0; k < ES_WINDOW_CLASSES; k++)
                if (es_windows_slots(k) == (unsigned)(seg[3 * i] + 2 * seg[3 * i + 1] + 4 * seg[3 * i + 2])) w.classes[i] = k;
        for (int64_t i = 0; i < w.n; i++) {
            int active[3], clean[3];
            es_windows_masks(w.classes + i * ES_WINDOW_FRAMES, 2, active, clean, NULL);
            for (int q = 0; q < 3; q++) {
                w.clean[3 * i + q] = (int16_t)clean[q];
                w.row[3 * i + q] = active[q] ? (int32_t)w.n_vectors : -1;
                for (int j = 0; j < ES_PLDA_IN && active[q]; j++)
                    w.vectors[w.n_vectors * ES_PLDA_IN + (size_t)j] = (float)raw[(size_t)(3 * i + q) * ES_PLDA_IN + (size_t)j];
                w.n_vectors += active[q] > 0;
            }
        }
        m.plda = plda;
        o.note = note;
        told[0] = 0;
        CHECK(es_diarize_conclude(&d, &w, &m, &o, &err) == ES_OK, "%s", err.text);
        snprintf(file, sizeof file, "%s/reference.rttm", folder);
        double off = rate(&d, file, NULL, w.samples);
        CHECK(off < 0.001 && is_sound(&d, w.samples), "%.3f %% from the recorded turns", 100 * off);
        CHECK(strstr(told, "short"), "nothing was said of a short recording");
        es_diarization_done(&d);
        o.configuration = "3.1";
        CHECK(es_diarize_conclude(&d, &w, &m, &o, &err) == ES_OK && d.n_speakers >= 1 && is_sound(&d, w.samples), "%s", err.text);
        es_diarization_done(&d);
    }
    es_diarize_windows_done(&w);
    es_speaker_close(m.diarizer);
    es_plan_close(p);
    free(seg), free(raw), free(plda);
}

/* ---- the same whatever is computed together ---- */

static bool equal_turns(const es_spoken *a, const es_spoken *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].start_ms != b[i].start_ms || a[i].end_ms != b[i].end_ms || a[i].speaker != b[i].speaker) return false;
    return true;
}

static bool equal(const es_diarization *a, const es_diarization *b)
{
    return a->n_turns == b->n_turns && a->n_exclusive == b->n_exclusive && a->n_speech == b->n_speech && a->n_speakers == b->n_speakers &&
           equal_turns(a->turns, b->turns, a->n_turns) && equal_turns(a->exclusive, b->exclusive, a->n_exclusive) &&
           !memcmp(a->speech, b->speech, a->n_speech * sizeof *a->speech) &&
           !memcmp(a->centers.rows, b->centers.rows, a->centers.n * (size_t)a->centers.width * sizeof(float));
}

static void the_same_bits(void)
{
    es_diarize_options o = es_diarize_defaults();
    es_diarization one = {0}, many = {0};
    recording r;
    rig g;

    if (!load(&r, recordings[0].wav)) return;
    r.n = 16000 * 14;
    es_sound s = sound_of(&r);
    if (rig_open(&g, 1, 1)) {
        CHECK(es_diarize(&one, &g.m, &s, &o, &g.err) == ES_OK, "%s", g.err.text);
        rig_close(&g);
    }
    if (rig_open(&g, 5, 7)) {
        CHECK(es_diarize(&many, &g.m, &s, &o, &g.err) == ES_OK, "%s", g.err.text);
        CHECK(one.n_turns > 0, "no turns");
        CHECK(equal(&one, &many), "other bits with five windows at once: %zu and %zu turns, %d and %d speakers", one.n_turns, many.n_turns,
              one.n_speakers, many.n_speakers);
        rig_close(&g);
    }
    es_diarization_done(&one);
    es_diarization_done(&many);
    free(r.x);
}

/* ---- what is asked for ---- */

static void number_of_speakers(void)
{
    static const struct {
        const char *text;
        int least, most;
    } good[] = {{"2", 2, 2}, {"1-5", 1, 5}, {"7-7", 7, 7}};
    static const char *const bad[] = {"", "0", "-3", "3-", "4-2", "two", "2 ", "1-2-3", " 2", "99999", "1.5"};
    es_diarize_models m = {0};
    es_diarize_windows w;
    recording r;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        es_speaker_range range = {0};
        CHECK(es_diarize_speakers_parse(&range, good[i].text) && range.least == good[i].least && range.most == good[i].most, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        es_speaker_range range = {0};
        CHECK(!es_diarize_speakers_parse(&range, bad[i]), "\"%s\" was taken", bad[i]);
    }
    if (!load(&r, recordings[2].wav) || !recorded(&w, recordings[2].name)) return;
    w.samples = r.n;
    for (int i = 0; i < 4; i++) {
        static const int asked[] = {1, 2, 3, 40};
        int most = asked[i];
        es_diarize_options o = es_diarize_defaults();
        es_diarization d = {0};
        es_err err = {0};
        o.speakers = (es_speaker_range){most, most};
        o.note = note;
        told[0] = 0;
        CHECK(es_diarize_conclude(&d, &w, &m, &o, &err) == ES_OK, "%s", err.text);
        CHECK(is_sound(&d, r.n));
        /* Of three people two can be made by joining, and forty cannot be made at all: then it is said. */
        if (most <= 3) CHECK_INT(d.n_speakers, most);
        else CHECK(d.n_speakers < most && strstr(told, "40 were asked for"), "%d speakers, \"%s\"", d.n_speakers, told);
        es_diarization_done(&d);
    }
    es_diarize_windows_done(&w);
    free(r.x);
}

static void configurations(void)
{
    static const struct {
        const char *network, *asked, *becomes; /* NULL: refused, with a sentence that has `says` */
        bool plda;
        const char *says;
    } cases[] = {
        {"campplus", NULL, "campplus", false, NULL},
        {"campplus", NULL, "campplus", true, NULL},
        {"campplus", "community-1", NULL, true, "ResNet34"},
        {"campplus", "3.1", NULL, true, "CAM++"},
        {"resnet34", NULL, "3.1", false, NULL},
        {"resnet34", NULL, "community-1", true, NULL},
        {"resnet34", "3.1", "3.1", true, NULL},
        {"resnet34", "community-1", NULL, false, "PLDA"},
        {"resnet34", "campplus", NULL, true, "CAM++"},
        {"ecapa", NULL, NULL, true, "ECAPA"},
        {"campplus", "4.2", NULL, true, "4.2"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        es_diarize_options o = es_diarize_defaults();
        const char *name = NULL;
        es_speaker_dims dims;
        es_err err = {0};
        o.configuration = cases[i].asked;
        CHECK(es_speaker_preset(&dims, cases[i].network), "%s", cases[i].network);
        int rc = es_diarize_check(&dims, cases[i].plda, &o, &name, &err);
        if (cases[i].becomes) CHECK(rc == ES_OK && name && !strcmp(name, cases[i].becomes), "%zu: %s %s", i, name ? name : "", err.text);
        else CHECK(rc == ES_EARG && strstr(err.text, cases[i].says), "%zu: %s", i, err.text);
    }
}

static void refused(void)
{
    es_diarize_options o = es_diarize_defaults();
    es_err err = {0};

    o.step_samples = 16001;
    CHECK(es_diarize_check(NULL, false, &o, NULL, &err) == ES_EARG && strstr(err.text, "apart"), "%s", err.text);
    o.step_samples = 176000;
    CHECK(es_diarize_check(NULL, false, &o, NULL, &err) == ES_EARG);
    o.step_samples = 16000;
    o.speakers = (es_speaker_range){.least = 3, .most = 2};
    err = (es_err){0};
    CHECK(es_diarize_check(NULL, false, &o, NULL, &err) == ES_EARG && strstr(err.text, "at least 3"), "%s", err.text);
}

/* ---- what is not speech ---- */

static void not_speech(void)
{
    static const char *const names[] = {"nothing", "a moment", "silence", "noise", "music"};
    es_noise noise = {11};
    rig g;

    if (!rig_open(&g, 8, 6)) return;
    for (int kind = 0; kind < 5; kind++) {
        recording r = {.n = kind == 0 ? 0 : kind == 1 ? 300 : 16000 * SECONDS};
        es_diarize_options o = es_diarize_defaults();
        es_diarization d = {0};
        r.x = calloc((size_t)r.n + 1, sizeof *r.x);
        if (kind == 3) es_noise_fill(&noise, r.x, (size_t)r.n, 0.1);
        for (int64_t i = 0; kind == 4 && i < r.n; i++) { /* a chord a second, struck and fading */
            static const double chord[4][3] = {{262, 330, 392}, {220, 262, 330}, {175, 220, 262}, {196, 247, 294}};
            double t = (double)(i % 16000) / 16000;
            for (int j = 0; j < 3; j++) r.x[i] += (float)(0.15 * exp(-2 * t) * sin(6.283185307 * chord[i / 16000 % 4][j] * t));
        }
        es_sound s = sound_of(&r);
        CHECK(es_diarize(&d, &g.m, &s, &o, &g.err) == ES_OK, "%s: %s", names[kind], g.err.text);
        CHECK(d.n_speakers == 0 && d.n_turns == 0 && d.n_exclusive == 0, "%s: %d speakers", names[kind], d.n_speakers);
        es_diarization_done(&d);
        free(r.x);
    }
    rig_close(&g);
}

/* A word among silence has one speaker, who is heard where the word is. */
static void one_word(void)
{
    recording r, all;
    rig g;

    if (!load(&all, recordings[0].wav)) return;
    if (!rig_open(&g, 4, 6)) {
        free(all.x);
        return;
    }
    r = (recording){.n = 16000 * 6, .x = calloc(16000 * 6, sizeof(float))};
    for (int i = 0; i < 9600; i++) r.x[32000 + i] = all.x[144000 + i]; /* 0.6 s of someone at 9 s */
    es_diarize_options o = es_diarize_defaults();
    es_diarization d = {0};
    es_sound s = sound_of(&r);
    CHECK(es_diarize(&d, &g.m, &s, &o, &g.err) == ES_OK, "%s", g.err.text);
    CHECK(d.n_speakers == 1 && is_sound(&d, r.n), "%d speakers", d.n_speakers);
    if (d.n_turns)
        CHECK(d.turns[0].start_ms > 1700 && d.turns[0].end_ms < 3000, "heard from %lld to %lld ms", (long long)d.turns[0].start_ms,
              (long long)d.turns[0].end_ms);
    es_diarization_done(&d);
    free(r.x), free(all.x);
    rig_close(&g);
}

static int stop_at_once(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)done, (void)all;
    return ++*(int *)user > 1;
}

static void cancelled(void)
{
    es_diarize_options o = es_diarize_defaults();
    es_diarization d = {0};
    int calls = 0;
    recording r = {.n = 16000 * 13, .x = calloc(16000 * 13, sizeof(float))};
    rig g;

    o.progress = stop_at_once;
    o.user = &calls;
    es_sound s = sound_of(&r);
    if (rig_open(&g, 1, 1)) {
        CHECK(es_diarize(&d, &g.m, &s, &o, &g.err) == ES_ECANCELLED, "%s", g.err.text);
        CHECK(calls == 2 && !d.turns && !d.n_speakers);
        rig_close(&g);
    }
    free(r.x);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"whole", whole},
        {"voices", voices},
        {"from_recorded_windows", from_recorded_windows},
        {"community_1", community_1},
        {"the_same_bits", the_same_bits},
        {"number_of_speakers", number_of_speakers},
        {"configurations", configurations},
        {"refused", refused},
        {"not_speech", not_speech},
        {"one_word", one_word},
        {"cancelled", cancelled},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
