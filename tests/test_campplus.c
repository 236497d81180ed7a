/*
 * test_campplus.c - the filter bank and CAM++ against the recorded traces and vectors, and a piece alone against itself in
 * company.
 */
#include "test.h"

#include "audio/fbank.h"
#include "clips.h"
#include "media/decode.h"
#include "models/campplus.h"
#include "runtime/arena.h"
#include "speech/windows.h"

enum { BINS = ES_FBANK_BINS, D = ES_CAMPPLUS_VECTOR, WINDOW = 160000, WINDOW_FRAMES = 998 };

static const char TRACE[] = "goldens/speakers/campplus_trace.json", SAMPLE[] = "goldens/speakers/sample.npz",
                  LIBRI[] = "goldens/speakers/librispeech.npz", WAV[] = "audio/pyannote_sample/sample.wav";

static bool have(const char *file)
{
    if (es_test_data(file)) return true;
    es_test_skip(file);
    return false;
}

/* ---- sounds and features ---- */

static float *features(const float *pcm, int64_t samples, es_fbank_kind kind, int *frames)
{
    es_fbank *f = NULL;
    es_err err = {0};
    float *x;

    *frames = (int)es_fbank_frames(samples);
    x = malloc((size_t)*frames * BINS * sizeof *x + 1);
    CHECK(!es_fbank_open(&f, kind, &err), "%s", err.text);
    es_fbank_run(f, x, pcm, *frames);
    es_fbank_close(f);
    return x;
}

/* The formulas as they are written down: a slow transform, filters one by one. */
static void naive_frame(double *y, const float *pcm, bool hamming)
{
    double x[400], power[256], low = 1127 * log(1 + 20 / 700.0), step = (1127 * log(1 + 8000 / 700.0) - low) / 81, mean = 0;
    const double pi = acos(-1);

    for (int i = 0; i < 400; i++) x[i] = (double)pcm[i] * (hamming ? 32768.0 : 1.0), mean += x[i] / 400;
    for (int i = 0; i < 400; i++) x[i] -= mean;
    for (int i = 399; i >= 0; i--) x[i] -= 0.97 * x[i ? i - 1 : 0];
    for (int i = 0; i < 400; i++) {
        double c = cos(2 * pi * i / 399);
        x[i] *= hamming ? 0.54 - 0.46 * c : pow(0.5 - 0.5 * c, 0.85);
    }
    for (int k = 0; k < 256; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < 400; i++) re += x[i] * cos(2 * pi * (k * i % 512) / 512), im -= x[i] * sin(2 * pi * (k * i % 512) / 512);
        power[k] = re * re + im * im;
    }
    for (int b = 0; b < BINS; b++) {
        double left = low + b * step, e = 0;
        for (int k = 0; k < 256; k++) {
            double m = 1127 * log(1 + k * 31.25 / 700), w = fmin((m - left) / step, (left + 2 * step - m) / step);
            e += power[k] * fmax(0, w);
        }
        y[b] = log(fmax(e, 1.1920928955078125e-07));
    }
}

static void filter_bank(void)
{
    es_noise noise = {7};
    float pcm[1040] = {0};
    double want[BINS];
    int frames;

    CHECK_INT(es_fbank_frames(0), 0);
    CHECK_INT(es_fbank_frames(399), 0);
    CHECK_INT(es_fbank_frames(400), 1);
    CHECK_INT(es_fbank_frames(559), 1);
    CHECK_INT(es_fbank_frames(560), 2);
    CHECK_INT(es_fbank_frames(160000), 998);
    float *silence = features(pcm, 1040, ES_FBANK_POVEY, &frames);
    for (int i = 0; i < frames * BINS; i++) CHECK(fabs((double)silence[i] + 15.942385) < 1e-5, "silence gives %g", (double)silence[i]);
    free(silence);
    es_noise_fill(&noise, pcm, 1040, 0.1);
    for (int kind = 0; kind < 2; kind++) {
        float *x = features(pcm, 1040, kind ? ES_FBANK_HAMMING : ES_FBANK_POVEY, &frames);
        CHECK_INT(frames, 5);
        for (int t = 0; t < frames; t++) {
            naive_frame(want, pcm + 160 * t, kind == 1);
            CHECK_CLOSE("a frame against its definition", x + t * BINS, want, BINS, 1e-6, 1e-6);
        }
        free(x);
    }
}

/* ---- the model ---- */

typedef struct rig {
    es_weights *w;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_campplus *m;
} rig;

static void rig_close(rig *g)
{
    es_campplus_close(g->m);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->w);
    *g = (rig){0};
}

static bool rig_open(rig *g, es_backend backend, int pieces, int frames, int threads, unsigned flags)
{
    const char *pack = clip_campplus(TRACE);
    es_fault fault = {0};
    es_err err = {0};

    *g = (rig){0};
    if (!pack) return false;
    int rc = es_pack_open(&g->w, pack, &err);
    if (!rc) rc = es_plan_open(&g->p, backend, threads, &err);
    if (!rc) es_plan_flags(g->p, flags, 3);
    if (!rc) rc = es_campplus_plan(&g->m, g->p, "speakers", g->w, pieces, frames, NULL, &err);
    if (!rc) rc = es_plan_finish(g->p, 0, &err);
    if (!rc && es_device_open(&g->d, backend, 0, threads, NULL, &fault)) rc = es_fail(&err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &err);
    if (!rc) rc = es_arena_load(g->a, &err);
    CHECK(!rc, "%s", err.text);
    if (rc) rig_close(g);
    else es_campplus_start(g->m, g->a);
    return !rc;
}

static void embed(rig *g, float *vectors, const float *x, const int *frames, int n)
{
    es_err err = {0};

    CHECK(!es_campplus_run(g->m, x, frames, n, vectors, &err), "%s", err.text);
}

static double cosine(const float *a, const double *b)
{
    double ab = 0, aa = 0, bb = 0;

    for (int i = 0; i < D; i++) ab += (double)a[i] * b[i], aa += (double)a[i] * (double)a[i], bb += b[i] * b[i];
    return ab / sqrt(aa * bb);
}

static int numbers(double *to, int most, const es_json_node *a)
{
    int n = 0;

    for (const es_json_node *e = es_json_first(a); e && n < most; e = es_json_next(e)) n += es_json_number(e, &to[n]);
    return n;
}

static float *synthetic(void)
{
    float *x = malloc(150 * BINS * sizeof *x);

    for (int i = 0; i < 150 * BINS; i++) x[i] = (float)(37 * i % 101) / 50.0f - 1;
    return x;
}

/* Three clips and made-up features against the recorded vectors; the filter bank against its mean, deviation and start. */
static void trace(void)
{
    static const struct {
        const char *key;
        int from, to;
    } clips[] = {{"synthetic", 0, 0}, {"a", 169600, 217600}, {"b", 348800, 372000}, {"c", 107200, 113600}};
    es_json *j = NULL;
    es_err err = {0};
    rig g;
    int64_t n = 0;

    if (!have(WAV) || !rig_open(&g, ES_CPU, 1, 300, 1, ES_PLAN_POISON)) return;
    float *pcm = clip_sound(WAV, &n);
    CHECK(!es_json_read(&j, es_test_data(TRACE), 1 << 20, &err), "%s", err.text);
    for (size_t i = 0; i < sizeof clips / sizeof clips[0] && pcm; i++) {
        const es_json_node *clip = es_json_get(es_json_root(j), clips[i].key), *bank = es_json_get(clip, "fbank");
        double want[D], first[8], mean = 0, square = 0, want_mean = 0, want_std = 0;
        int frames = 150;
        float vector[D], *x = i == 0 ? synthetic() : features(pcm + clips[i].from, clips[i].to - clips[i].from, ES_FBANK_POVEY, &frames);
        if (i > 0) {
            int count = frames * BINS;
            CHECK_INT(numbers(first, 8, es_json_get(bank, "first")), 8);
            CHECK_CLOSE("the filter bank's first bins", x, first, 8, 1e-5, 0);
            for (int k = 0; k < count; k++) mean += (double)x[k] / count;
            for (int k = 0; k < count; k++) square += ((double)x[k] - mean) * ((double)x[k] - mean) / count;
            CHECK(es_json_number(es_json_get(bank, "mean"), &want_mean) && es_json_number(es_json_get(bank, "std"), &want_std));
            CHECK(fabs(mean - want_mean) < 1e-5 && fabs(sqrt(square) - want_std) < 1e-5, "%s: filter bank of mean %.9g, deviation %.9g", clips[i].key,
                  mean, sqrt(square));
            es_fbank_center(x, frames);
        }
        embed(&g, vector, x, &frames, 1);
        CHECK_INT(numbers(want, D, es_json_get(clip, "embedding")), D);
        CHECK_CLOSE(clips[i].key, vector, want, D, 1e-4, 0);
        free(x);
    }
    free(pcm);
    es_json_close(j);
    rig_close(&g);
}

/* ---- recorded vectors ---- */

/* Frame t of a window is taken where the slot's mask is set at frame t * 589 / 998 of the segmentation. */
static void windows_of_sample(void)
{
    static uint8_t mask[3][ES_WINDOW_FRAMES];
    rig g;
    int64_t n = 0;
    int n_dims, compared = 0;
    size_t dims[4];
    double worst = 1;

    if (!have(SAMPLE) || !have(WAV) || !rig_open(&g, ES_CPU, 3, 3 * WINDOW_FRAMES, 1, 0)) return;
    float *pcm = clip_sound(WAV, &n), *x = malloc(3 * WINDOW_FRAMES * BINS * sizeof *x);
    double *classes = es_test_npz(es_test_data(SAMPLE), "classes", &n_dims, dims);
    double *want = es_test_npz(es_test_data(SAMPLE), "embeddings", &n_dims, dims), *bank = es_test_npz(es_test_data(SAMPLE), "fbank12", &n_dims, dims);
    CHECK(pcm && classes && want && bank);
    for (int c = 0; c < 21 && pcm && classes && want && bank; c++) {
        uint8_t cls[ES_WINDOW_FRAMES];
        int frames, active[3], clean[3], pieces[3], slot[3], k = 0, at = 0;
        float vectors[3 * D], *f = features(pcm + (int64_t)c * 16000, WINDOW, ES_FBANK_POVEY, &frames);
        CHECK_INT(frames, WINDOW_FRAMES);
        if (c == 12) CHECK_CLOSE("filter bank of window 12", f, bank, (size_t)frames * BINS, 1e-5, 0);
        for (int t = 0; t < ES_WINDOW_FRAMES; t++) cls[t] = (uint8_t)classes[c * ES_WINDOW_FRAMES + t];
        es_windows_masks(cls, 2, active, clean, mask);
        for (int s = 0; s < 3; s++) {
            int taken = 0;
            for (int t = 0; t < WINDOW_FRAMES; t++)
                if (mask[s][t * ES_WINDOW_FRAMES / WINDOW_FRAMES])
                    memcpy(x + (size_t)(at + taken++) * BINS, f + (size_t)t * BINS, BINS * sizeof *x);
            if (active[s] == 0 || taken < 5) {
                CHECK(isnan(want[(c * 3 + s) * D]), "window %d slot %d has %d frames, and the reference a vector", c, s, taken);
                continue;
            }
            es_fbank_center(x + (size_t)at * BINS, taken);
            pieces[k] = taken, slot[k] = s, at += taken, k++;
        }
        if (k > 0) embed(&g, vectors, x, pieces, k);
        for (int i = 0; i < k; i++, compared++) {
            double same = cosine(vectors + i * D, want + (c * 3 + slot[i]) * D);
            CHECK(same >= 0.9999, "window %d slot %d, %d frames: cosine %.6f", c, slot[i], pieces[i], same);
            CHECK_CLOSE("a window's vector", vectors + i * D, want + (c * 3 + slot[i]) * D, D, 1e-3, 0);
            worst = same < worst ? same : worst;
        }
        free(f);
    }
    CHECK(compared >= 30, "%d vectors", compared);
    printf("    %d window vectors, smallest cosine %.7f\n", compared, worst);
    free(pcm), free(x), free(classes), free(want), free(bank);
    rig_close(&g);
}

static void whole_clips(void)
{
    static const char *const files[] = {"1688-142285-0000.flac", "1688-142285-0001.flac", "1688-142285-0003.flac", "1998-15444-0000.flac",
                                        "1998-15444-0001.flac",  "1998-15444-0003.flac",  "2033-164914-0000.flac", "2033-164914-0001.flac",
                                        "2033-164914-0003.flac", "mr_quilter_1272-128104-0000.wav"};
    rig g;
    double worst = 1;

    if (!have(LIBRI) || !rig_open(&g, ES_CPU, 1, 3000, 1, 0)) return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[128];
        int64_t n = 0;
        int frames, n_dims;
        size_t dims[4];
        float vector[D], *x, *pcm;
        double *want = es_test_npz(es_test_data(LIBRI), files[i], &n_dims, dims);
        snprintf(name, sizeof name, "audio/librispeech/%s", files[i]);
        pcm = clip_sound(name, &n);
        CHECK(pcm && want, "%s", files[i]);
        if (pcm && want) {
            x = features(pcm, n, ES_FBANK_POVEY, &frames);
            es_fbank_center(x, frames);
            embed(&g, vector, x, &frames, 1);
            double same = cosine(vector, want);
            CHECK(same >= 0.9999, "%s: cosine %.6f", files[i], same);
            worst = same < worst ? same : worst;
            free(x);
        }
        free(pcm), free(want);
    }
    printf("    %zu clips, smallest cosine %.7f\n", sizeof files / sizeof *files, worst);
    rig_close(&g);
}

/* ---- company ---- */

/* Pieces around the edges of segments, of 3 frames and more, together and alone, on one thread and on three. */
static void company(void)
{
    static const int frames[] = {198, 3, 199, 201, 7, 402, 150};
    enum { N = sizeof frames / sizeof *frames };
    float together[N * D], alone[D], threaded[N * D], *x;
    es_noise noise = {11};
    int all = 0;
    rig g, h;

    for (int i = 0; i < N; i++) all += frames[i];
    x = malloc((size_t)all * BINS * sizeof *x);
    es_noise_fill(&noise, x, (size_t)all * BINS, 1);
    if (rig_open(&g, ES_CPU, N + 2, all + 40, 1, ES_PLAN_POISON)) {
        embed(&g, together, x, frames, N);
        for (int i = 0, at = 0; i < N; at += frames[i++]) {
            embed(&g, alone, x + (size_t)at * BINS, &frames[i], 1);
            CHECK(!memcmp(alone, together + i * D, sizeof alone), "a piece of %d frames has another vector in company", frames[i]);
            CHECK(isfinite(alone[0]));
        }
        if (rig_open(&h, ES_CPU, N, all, 3, ES_PLAN_SEPARATE)) {
            embed(&h, threaded, x, frames, N);
            CHECK(!memcmp(together, threaded, sizeof threaded), "other vectors on three threads, without sharing memory");
            rig_close(&h);
        }
        rig_close(&g);
    }
    free(x);
}

/* The CUDA backend beside the CPU, and a piece alone there beside itself in company. Short pieces: it may be an emulator. */
static void twin(void)
{
    static const int frames[] = {11, 3, 24};
    float x[38 * BINS], cpu[3 * D], cuda[3 * D], alone[D];
    double want[3 * D];
    es_noise noise = {12};
    es_fault why = {0};
    rig g;

    if (es_device_count(ES_CUDA, &why) == 0) {
        es_test_skip("a GPU");
        return;
    }
    es_noise_fill(&noise, x, 38 * BINS, 1);
    if (!rig_open(&g, ES_CPU, 3, 38, 2, 0)) return;
    embed(&g, cpu, x, frames, 3);
    rig_close(&g);
    if (!rig_open(&g, ES_CUDA, 3, 38, 2, ES_PLAN_POISON)) return;
    embed(&g, cuda, x, frames, 3);
    for (int i = 0; i < 3 * D; i++) want[i] = (double)cpu[i];
    CHECK_CLOSE("a vector beside its twin", cuda, want, 3 * D, 1e-4, 1e-4);
    embed(&g, alone, x + 14 * BINS, &frames[2], 1);
    CHECK(!memcmp(alone, cuda + 2 * D, sizeof alone), "a piece has another vector in company");
    rig_close(&g);
}

/* A pack that says other sizes, by one number of its config changed in place. */
static void other_sizes(void)
{
    static const struct {
        const char *from, *to, *says;
    } cases[] = {{"growth\\\":32", "growth\\\":16", "\"growth\" is 16"}, {"[24,2]", "[25,2]", "25 layers of dilation 2"},
                 {"embedding\\\":192", "embedding\\\":512", "\"embedding\" is 512"}};
    const char *path = clip_campplus(TRACE);
    size_t size = (size_t)40 << 20, n = 0, head = 0;
    char *bytes = path ? malloc(size) : NULL;
    FILE *f = bytes ? fopen(path, "rb") : NULL;

    if (f) n = fread(bytes, 1, size, f), fclose(f);
    head = n < 4096 ? n : 4096;
    for (size_t i = 0; i < sizeof cases / sizeof *cases && n > 0; i++) {
        size_t length = strlen(cases[i].from), at = 0;
        es_weights *w = NULL;
        es_plan *p = NULL;
        es_campplus *m = NULL;
        es_err err = {0};
        while (at + length < head && memcmp(bytes + at, cases[i].from, length)) at++;
        CHECK(at + length < head, "the pack's config has no %s", cases[i].from);
        if (at + length >= head) break;
        memcpy(bytes + at, cases[i].to, length);
        int rc = es_pack_open_bytes(&w, bytes, n, "altered.pack", &err);
        if (!rc) rc = es_plan_open(&p, ES_CPU, 1, &err);
        if (!rc) rc = es_campplus_plan(&m, p, "speakers", w, 1, 100, NULL, &err);
        CHECK(rc && m == NULL && strstr(err.text, cases[i].says), "%s: %s", cases[i].to, err.text);
        es_plan_close(p);
        es_weights_close(w);
        memcpy(bytes + at, cases[i].from, length);
    }
    free(bytes);
}

/* A plan of the published sizes needs no pack. */
static void preset(void)
{
    es_plan *p = NULL;
    es_campplus *m = NULL;
    es_plan_totals t;
    es_err err = {0};

    CHECK(!es_plan_open(&p, ES_CUDA, 1, &err) && !es_campplus_plan(&m, p, "speakers", NULL, 32, 8000, NULL, &err) && !es_plan_finish(p, 0, &err), "%s",
          err.text);
    es_plan_totals_get(p, &t);
    CHECK(t.weights > 27000000 && t.weights < 28500000, "%llu bytes of weights", (unsigned long long)t.weights);
    CHECK_INT(es_campplus_pieces(m), 32);
    CHECK_INT(es_campplus_frames(m), 8000);
    es_campplus_close(m);
    es_plan_close(p);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {{"filter bank", filter_bank}, {"trace", trace},     {"windows", windows_of_sample},
                                    {"clips", whole_clips},       {"company", company}, {"twin", twin},
                                    {"other sizes", other_sizes},
                                    {"preset", preset}};

    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
