/*
 * test_speaker_blocks.c - ResNet34 and ECAPA-TDNN beside seeded models of the reference implementations, block by block; the
 * front ends beside their definitions; a small trained ECAPA on real voices.
 */
#include "test.h"

#include "audio/front.h"
#include "clips.h"
#include "media/decode.h"
#include "speaker_rig.h"

enum { BINS = ES_FRONT_BINS, MOST = 256 /* numbers of a vector */ };

static const char *pack_from(const char *source, const char *name)
{
    static char path[4096];
    es_convert_report rep;
    es_err err = {0};

    snprintf(path, sizeof path, "%s/%s.pack", es_test_folder(), name);
    es_convert_options o = {.source = source, .output = path, .name = name};
    int rc = es_convert(&o, &rep, &err);
    CHECK(rc == ES_OK, "%s", err.text);
    return rc ? NULL : path;
}

static const char *pack_of(const char *source, const char *name)
{
    if (es_test_data(source)) return pack_from(es_test_data(source), name);
    es_test_skip(source);
    return NULL;
}

static float *recorded(const char *npz, const char *name, int *rows)
{
    int n_dims;
    size_t dims[4];
    double *v = es_test_npz(es_test_data(npz), name, &n_dims, dims);
    float *x = v ? malloc(dims[0] * dims[1] * sizeof *x) : NULL;

    *rows = 0;
    CHECK(v != NULL, "%s has no %s", npz, name);
    for (size_t i = 0; x && i < dims[0] * dims[1]; i++) x[i] = (float)v[i];
    if (x) *rows = (int)dims[0];
    free(v);
    return x;
}

static void vector_beside(const char *what, const float *have, const double *want, int n)
{
    double same = want ? es_speaker_cosine(have, want, n) : 0;

    CHECK(want && same >= 0.99999, "%s: cosine %.7f", what, same);
    if (want) CHECK_CLOSE(what, have, want, (size_t)n, 1e-4, 1e-4);
}

/* ---- ResNet34 ---- */

static const char RESNET[] = "goldens/speakers/resnet34_random/model.safetensors", RESNET_IO[] = "goldens/speakers/resnet34_random/io.npz",
                  RESNET_STAGES[] = "goldens/speakers/resnet34_random/stages.json";

/* The statistics of answer v beside a recorded row, which has channels outermost where ours has bands. */
static void pool_beside(es_speaker_rig *g, int v, const es_json_node *want, const char *what)
{
    es_tensor t = es_notes_get(&g->notes, "pool");
    const es_json_node *first = es_json_first(es_json_get(want, "first"));
    int n = t.dim[1], channels = n / 20;
    float *x = malloc((size_t)n * sizeof *x);
    double mean = 0, want_mean = 0, value;

    es_state_get(g->a, t, (size_t)v * (size_t)n * sizeof *x, x, (size_t)n * sizeof *x);
    for (int i = 0; i < n; i++) mean += (double)x[i] / n;
    CHECK(es_json_number(es_json_get(want, "mean"), &want_mean) && fabs(mean - want_mean) < 1e-4, "%s: mean %.9g, recorded %.9g", what, mean, want_mean);
    for (int i = 0; i < 8 && es_json_number(first, &value); i++, first = es_json_next(first)) {
        float have = x[i % 10 * channels + i / 10];
        CHECK(fabs((double)have - value) < 1e-4 * (1 + fabs(value)), "%s[%d] is %.9g, recorded %.9g", what, i, (double)have, value);
    }
    free(x);
}

static void resnet34(void)
{
    static const char *const masks[] = {"none", "half", "one", "zero"};
    static const int lengths[] = {98, 298};
    const char *pack = pack_of(RESNET, "resnet34");
    es_json *j = NULL;
    es_err err = {0};

    if (!pack) return;
    CHECK(!es_json_read(&j, es_test_data(RESNET_STAGES), 1 << 20, &err), "%s", err.text);
    for (int i = 0; i < 2; i++) {
        char name[64];
        int rows, n_dims;
        size_t dims[4];
        es_speaker_rig g;
        snprintf(name, sizeof name, "%d", lengths[i]);
        const es_json_node *stages = es_json_get(es_json_get(es_json_root(j), "cases"), name);
        snprintf(name, sizeof name, "input_%d", lengths[i]);
        float *x = recorded(RESNET_IO, name, &rows);
        if (!x || !es_speaker_rig_open(&g, pack, ES_CPU, 4, rows, 2, 0, true)) {
            free(x);
            continue;
        }
        CHECK(g.dims.vector == 32 && es_speaker_weighs(&g.dims) && es_speaker_front(&g.dims) == ES_FRONT_HAMMING);
        /* Once with a single answer, so that the notes hold nothing but this piece. */
        es_speaker_ask asks[4] = {{0, NULL, 0}};
        uint8_t mask[4][589] = {{0}};
        float vectors[4 * 32];
        es_speaker_sound sound = {x, rows, true};
        for (int k = 1; k < 4; k++) {
            snprintf(name, sizeof name, "mask_%d_%s", lengths[i], masks[k]);
            double *m = es_test_npz(es_test_data(RESNET_IO), name, &n_dims, dims);
            for (int t = 0; t < 589 && m; t++) mask[k][t] = (uint8_t)m[t];
            free(m);
            asks[k] = (es_speaker_ask){0, mask[k], 589};
        }
        es_speaker_rig_ask(&g, vectors, &sound, asks, 4);
        es_speaker_rig_stage(&g, "conv1", es_json_get(stages, "conv1"), 0, 1e-4);
        static const int blocks[] = {3, 4, 6, 3};
        for (int s = 0; s < 4; s++)
            for (int b = 0; b < blocks[s]; b++) {
                snprintf(name, sizeof name, "layer%d.%d", s + 1, b);
                es_speaker_rig_stage(&g, name, es_json_get(stages, name), 0, 1e-4);
            }
        es_speaker_rig_stage(&g, "layer4.2", es_json_get(stages, "rows"), 0, 1e-4);
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof name, "pool %s", masks[k]);
            pool_beside(&g, k, es_json_get(stages, name), name);
            snprintf(name, sizeof name, "embedding_%d_%s", lengths[i], masks[k]);
            double *want = es_test_npz(es_test_data(RESNET_IO), name, &n_dims, dims);
            vector_beside(name, vectors + k * 32, want, 32);
            free(want);
        }
        CHECK(isnan(vectors[3 * 32]) && isnan(vectors[4 * 32 - 1]), "a mask without a frame is answered");
        free(x);
        es_speaker_rig_close(&g);
    }
    es_json_close(j);
}

/* Sounds of several lengths with several masks: alone, together, in small steps, on three threads, in memory of their own. */
static void company(const char *pack)
{
    static const int lengths[] = {41, 9, 120, 64};
    enum { SOUNDS = 4, N = 6 };
    static uint8_t mask[71];
    static const unsigned flags[] = {0, ES_PLAN_SEPARATE, ES_PLAN_POISON | ES_PLAN_SHUFFLE};
    float *x = malloc(234 * BINS * sizeof *x), *alone = malloc(N * MOST * sizeof *alone), *together = malloc(N * MOST * sizeof *together);
    es_speaker_sound sounds[SOUNDS];
    es_speaker_ask asks[N] = {{0, NULL, 0}, {0, mask, 71}, {1, NULL, 0}, {2, mask, 71}, {2, NULL, 0}, {3, NULL, 0}};
    es_noise noise = {31};
    es_speaker_rig g;

    es_noise_fill(&noise, x, 234 * BINS, 3);
    for (int t = 0; t < 71; t++) mask[t] = t % 5 != 2 && t > 20;
    for (int i = 0, at = 0; i < SOUNDS; at += lengths[i++]) sounds[i] = (es_speaker_sound){x + at * BINS, lengths[i], false};
    if (es_speaker_rig_open(&g, pack, ES_CPU, 1, 120, 1, 0, false)) {
        size_t width = (size_t)g.dims.vector;
        for (int i = 0; i < N; i++) es_speaker_rig_ask(&g, alone + (size_t)i * width, sounds, &asks[i], 1);
        es_speaker_rig_close(&g);
        for (int f = 0; f < 3; f++)
            for (int small = 0; small < 2; small++) {
                if (!es_speaker_rig_open(&g, pack, ES_CPU, small ? 2 : 9, small ? 170 : 420, 3, flags[f], false)) break;
                es_speaker_rig_ask(&g, together, sounds, asks, N);
                CHECK(!memcmp(alone, together, N * width * sizeof *alone), "other vectors in company, flags %u, steps %d", flags[f], small);
                es_speaker_rig_close(&g);
            }
    }
    free(x), free(alone), free(together);
}

static void resnet34_company(void)
{
    const char *pack = pack_of(RESNET, "resnet34");

    if (pack) company(pack);
}

/* ---- ECAPA ---- */

static const char ECAPA[] = "goldens/speakers/ecapa_random/embedding_model.safetensors", ECAPA_IO[] = "goldens/speakers/ecapa_random/io.npz",
                  ECAPA_STAGES[] = "goldens/speakers/ecapa_random/stages.json";

/* What the attention gives each frame of a channel, from the logits that were kept. */
static void attention_beside(es_speaker_rig *g, const es_json_node *want, int rows)
{
    es_tensor t = es_notes_get(&g->notes, "asp logits");
    const es_json_node *first = es_json_first(es_json_get(want, "first"));
    int C = t.dim[1];
    float *z = malloc(es_tensor_bytes(t));
    double square = 0, deviation = 0, value;

    es_state_get(g->a, t, 0, z, es_tensor_bytes(t));
    for (int c = 0; c < C; c++) {
        double sum = 0;
        for (int r = 0; r < rows; r++) sum += exp((double)z[r * C + c]);
        for (int r = 0; r < rows; r++) {
            double a = exp((double)z[r * C + c]) / sum;
            square += (a - 1.0 / rows) * (a - 1.0 / rows) / (rows * C);
            int i = c * rows + r;
            if (i < 8 && es_json_number(first, &value)) {
                CHECK(fabs(a - value) < 1e-5, "attention[%d] is %.9g, recorded %.9g", i, a, value);
                first = es_json_next(first);
            }
        }
    }
    CHECK(es_json_number(es_json_get(want, "std"), &deviation) && fabs(sqrt(square) - deviation) < 1e-5, "attention deviates by %.9g, recorded %.9g",
          sqrt(square), deviation);
    free(z);
}

static void ecapa(void)
{
    static const int lengths[] = {5, 37, 150};
    static const char *const parts[] = {".tdnn1", ".res2net_block", ".tdnn2", ".se gate", ""};
    const char *pack = pack_of(ECAPA, "ecapa");
    es_json *j = NULL;
    es_err err = {0};

    if (!pack) return;
    CHECK(!es_json_read(&j, es_test_data(ECAPA_STAGES), 1 << 20, &err), "%s", err.text);
    for (int i = 0; i < 3; i++) {
        char name[64];
        int rows, n_dims;
        size_t dims[4];
        float vector[48];
        es_speaker_rig g;
        snprintf(name, sizeof name, "%d", lengths[i]);
        const es_json_node *stages = es_json_get(es_json_get(es_json_root(j), "cases"), name);
        snprintf(name, sizeof name, "input_%d", lengths[i]);
        float *x = recorded(ECAPA_IO, name, &rows);
        if (!x || !es_speaker_rig_open(&g, pack, ES_CPU, 1, rows, 2, 0, true)) {
            free(x);
            continue;
        }
        CHECK(g.dims.vector == 48 && es_speaker_front(&g.dims) == ES_FRONT_SPEECHBRAIN && !es_speaker_weighs(&g.dims));
        es_speaker_rig_all(&g, vector, &(es_speaker_sound){x, rows, true}, 1);
        es_speaker_rig_stage(&g, "blocks.0", es_json_get(stages, "blocks.0"), 0, 1e-4);
        for (int b = 1; b <= 3; b++)
            for (int k = 0; k < 5; k++) {
                snprintf(name, sizeof name, "blocks.%d%s", b, parts[k]);
                es_speaker_rig_stage(&g, name, es_json_get(stages, name), 0, 1e-4);
            }
        es_speaker_rig_stage(&g, "mfa", es_json_get(stages, "mfa"), 0, 1e-4);
        es_speaker_rig_stage(&g, "asp.tdnn", es_json_get(stages, "asp.tdnn"), 0, 1e-4);
        attention_beside(&g, es_json_get(stages, "asp attention"), rows);
        es_speaker_rig_stage(&g, "asp", es_json_get(stages, "asp"), 0, 1e-4);
        snprintf(name, sizeof name, "embedding_%d", lengths[i]);
        double *want = es_test_npz(es_test_data(ECAPA_IO), name, &n_dims, dims);
        vector_beside(name, vector, want, 48);
        free(want), free(x);
        es_speaker_rig_close(&g);
    }
    es_json_close(j);
}

/* The other form, against outputs that tests/golden/ecapa-taoruijie/make.py made after the paper and that project's names. */
static void taoruijie(void)
{
    static const char *const parts[] = {".tdnn1", ".res2net_block", ".tdnn2", ".se gate", ""};
    const char *pack = pack_from(es_test_golden("ecapa-taoruijie/model.safetensors"), "taoruijie");
    es_json *j = NULL;
    es_err err = {0};

    if (!pack) return;
    company(pack);
    CHECK(!es_json_read(&j, es_test_golden("ecapa-taoruijie/cases.json"), 1 << 20, &err), "%s", err.text);
    for (const es_json_node *c = es_json_first(es_json_get(es_json_root(j), "cases")); c; c = es_json_next(c)) {
        static float x[40 * BINS];
        const es_json_node *stages = es_json_get(c, "stages"), *n = es_json_first(es_json_get(c, "features"));
        double want[12] = {0}, value, rows = 0;
        float vector[12];
        es_speaker_rig g;
        CHECK(es_json_number(es_json_get(c, "rows"), &rows) && rows <= 40);
        for (int i = 0; i < (int)rows * BINS && es_json_number(n, &value); i++, n = es_json_next(n)) x[i] = (float)value;
        n = es_json_first(es_json_get(c, "vector"));
        for (int i = 0; i < 12 && es_json_number(n, &value); i++, n = es_json_next(n)) want[i] = value;
        if (!es_speaker_rig_open(&g, pack, ES_CPU, 1, (int)rows, 2, 0, true)) break;
        CHECK(g.dims.ecapa.taoruijie && es_speaker_front(&g.dims) == ES_FRONT_TAORUIJIE && g.dims.vector == 12);
        es_speaker_rig_all(&g, vector, &(es_speaker_sound){x, (int)rows, true}, 1);
        es_speaker_rig_stage(&g, "blocks.0", es_json_get(stages, "conv1"), 0, 1e-4);
        for (int b = 1; b <= 3; b++)
            for (int k = 0; k < 5; k++) {
                char note[48], stage[48];
                snprintf(note, sizeof note, "blocks.%d%s", b, parts[k]);
                snprintf(stage, sizeof stage, "layer%d%s", b, parts[k]);
                es_speaker_rig_stage(&g, note, es_json_get(stages, stage), 0, 1e-4);
            }
        es_speaker_rig_stage(&g, "mfa", es_json_get(stages, "layer4"), 0, 1e-4);
        es_speaker_rig_stage(&g, "asp.tdnn", es_json_get(stages, "attention.2"), 0, 1e-4);
        es_speaker_rig_stage(&g, "asp", es_json_get(stages, "pool"), 0, 1e-4);
        vector_beside("taoruijie", vector, want, 12);
        es_speaker_rig_close(&g);
    }
    es_json_close(j);
}

static void ecapa_company(void)
{
    const char *pack = pack_of(ECAPA, "ecapa");

    if (pack) company(pack);
}

/* Weights trained for minutes, on clean read speech: the same voice is nearer than another, through the real front end. */
static void ecapa_small(void)
{
    static const char *const files[] = {"1688-142285-0000", "1688-142285-0001", "1688-142285-0003", "1998-15444-0000", "1998-15444-0001",
                                        "1998-15444-0003",  "2033-164914-0000", "2033-164914-0001", "2033-164914-0003"};
    enum { N = 9, D = 192 };
    const char *pack = pack_of("models/ecapa-small/embedding_model.safetensors", "ecapa-small");
    static double vectors[N][D];
    es_speaker_rig g;
    es_front *front = NULL;
    es_err err = {0};
    double same = 2, other = -2;

    if (!pack || !es_speaker_rig_open(&g, pack, ES_CPU, 1, 3100, 2, 0, false)) return;
    CHECK(g.dims.ecapa.channels == 128 && g.dims.vector == D && !g.dims.ecapa.taoruijie);
    CHECK(!es_front_open(&front, es_speaker_front(&g.dims), &err), "%s", err.text);
    for (int i = 0; i < N; i++) {
        char name[128];
        int64_t n = 0;
        float v[D];
        snprintf(name, sizeof name, "audio/librispeech/%s.flac", files[i]);
        float *pcm = clip_sound(name, &n), *x = malloc((size_t)es_front_rows(front, n) * BINS * sizeof *x + 1);
        CHECK(pcm != NULL, "%s", name);
        if (pcm) {
            es_front_run(front, x, pcm, n);
            es_speaker_rig_all(&g, v, &(es_speaker_sound){x, (int)es_front_rows(front, n), false}, 1);
            for (int k = 0; k < D; k++) vectors[i][k] = (double)v[k];
            for (int k = 0; k < i; k++) {
                double c = es_speaker_cosine(v, vectors[k], D);
                if (k / 3 == i / 3) same = c < same ? c : same;
                else other = c > other ? c : other;
            }
        }
        free(pcm), free(x);
    }
    printf("    the same voice at least %.3f, another at most %.3f\n", same, other);
    CHECK(same > other, "a voice is nearer to another (%.4f) than to itself (%.4f)", other, same);
    es_front_close(front);
    es_speaker_rig_close(&g);
}

/* ---- front ends ---- */

/* The formulas as they are written down: samples by index, a slow transform, filters line by line. */
static void naive_row(double *y, const float *pcm, int n, int t, bool brain)
{
    const double pi = acos(-1);
    int size = brain ? 400 : 512;
    double low = brain ? 0 : 2595 * log10(1 + 20 / 700.0), high = 2595 * log10(1 + (brain ? 8000 : 7600) / 700.0), x[512] = {0}, power[257];

    for (int i = 0; i < 400; i++) {
        int at = 160 * t - 200 + i;
        double v;
        if (brain) {
            v = at < 0 || at >= n ? 0 : (double)pcm[at];
        } else {
            at = at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at;
            v = (double)pcm[at] - 0.97 * (double)pcm[at == 0 ? 1 : at - 1];
        }
        x[(size - 400) / 2 + i] = v * (0.54 - 0.46 * cos(2 * pi * i / 400));
    }
    for (int k = 0; k <= size / 2; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < size; i++) re += x[i] * cos(2 * pi * (k * i % size) / size), im -= x[i] * sin(2 * pi * (k * i % size) / size);
        power[k] = re * re + im * im;
    }
    for (int b = 0; b < BINS; b++) {
        double hz[3], e = 0;
        for (int i = 0; i < 3; i++) hz[i] = 700 * (pow(10, (low + (high - low) * (b + i) / 81) / 2595) - 1);
        if (brain) hz[2] = 2 * hz[1] - hz[0];
        for (int k = 0; k <= size / 2; k++) {
            double f = 16000.0 * k / size;
            e += power[k] * fmax(0, fmin((f - hz[0]) / (hz[1] - hz[0]), (hz[2] - f) / (hz[2] - hz[1])));
        }
        y[b] = brain ? 10 * log10(fmax(e, 1e-10)) : log(e + 1e-6);
    }
}

static void front_ends(void)
{
    float pcm[1700], silence[1000] = {0};
    es_noise noise = {41};

    es_noise_fill(&noise, pcm, 1700, 0.1);
    for (int kind = ES_FRONT_SPEECHBRAIN; kind <= ES_FRONT_TAORUIJIE; kind++) {
        bool brain = kind == ES_FRONT_SPEECHBRAIN;
        es_front *f = NULL;
        es_err err = {0};
        double want[BINS];
        CHECK(!es_front_open(&f, (es_front_kind)kind, &err), "%s", err.text);
        CHECK_INT(es_front_rows(f, 16000), 101);
        CHECK_INT(es_front_rows(f, 48000), 301);
        CHECK_INT(es_front_rows(f, 0), 0);
        CHECK_INT(es_front_rows(f, 256), brain ? 2 : 0);
        CHECK_INT(es_front_rows(f, 1700), 11);
        float *y = malloc(11 * BINS * sizeof *y);
        es_front_run(f, y, pcm, 1700);
        for (int t = 0; t < 11; t++) {
            naive_row(want, pcm, 1700, t, brain);
            CHECK_CLOSE("a row against its definition", y + t * BINS, want, BINS, 1e-4, 1e-5);
        }
        es_front_run(f, y, silence, 1000);
        for (int i = 0; i < 7 * BINS; i++) CHECK(fabs((double)y[i] - (brain ? -100 : log(1e-6))) < 1e-5, "silence gives %g", (double)y[i]);
        free(y);
        es_front_close(f);
    }
}

/* ---- packs that cannot be ---- */

/* Packs that say other sizes, by something of their config changed in place; what is left as it was is read. */
static void other_sizes(void)
{
    static const struct {
        const char *source, *from, *to, *says;
    } cases[] = {
        {RESNET, "[3,4,6,3]", "[3,4,6,3]", NULL},
        {RESNET, "[3,4,6,3]", "[3,4,0,3]", "\"blocks\" is not 4 whole numbers from 1 to 16"},
        {RESNET, "[3,4,6,3]", "[3,4,  3]", "\"blocks\" is not 4"},
        {RESNET, "[3,4,6,3]", "[3,4,5,3]", "not part of the model"},
        {RESNET, "[8,16,32,64]", "[8,16,32,63]", "layers.3.0.conv1.weight"},
        {RESNET, "n_mels\\\":80", "n_mels\\\":81", "\"n_mels\" is not 80"},
        {ECAPA, "speechbrain", "speechbrane", "\"family\" is \"speechbrane\""},
        {ECAPA, "scale\\\":8", "scale\\\":4", "\"scale\" is not a whole number from 8 to 8"},
        {ECAPA, "channels\\\":64", "channels\\\":63", "63 channels"},
        {ECAPA, "wide\\\":192", "wide\\\":184", "mfa.weight"},
    };
    enum { ROOM = 8 << 20 };
    char *bytes = malloc(ROOM);

    for (size_t i = 0; i < sizeof cases / sizeof *cases && bytes; i++) {
        const char *path = pack_of(cases[i].source, "altered");
        FILE *f = path ? fopen(path, "rb") : NULL;
        size_t n = f ? fread(bytes, 1, ROOM, f) : 0, head = n < 4096 ? n : 4096, length = strlen(cases[i].from), at = 0;
        es_weights *w = NULL;
        es_plan *p = NULL;
        es_speaker *m = NULL;
        es_speaker_dims dims;
        es_err err = {0};
        if (!f) break;
        fclose(f);
        while (at + length < head && memcmp(bytes + at, cases[i].from, length)) at++;
        CHECK(at + length < head, "the pack's config has no %s", cases[i].from);
        if (at + length >= head) break;
        memcpy(bytes + at, cases[i].to, length);
        int rc = es_pack_open_bytes(&w, bytes, n, "altered.pack", &err);
        if (!rc) rc = es_speaker_dims_read(&dims, w, &err);
        if (!rc) rc = es_plan_open(&p, ES_CPU, 1, &err);
        if (!rc) rc = es_speaker_plan(&m, p, "voices", w, &dims, (es_speaker_limits){.answers = 1, .rows = 100}, &err);
        if (cases[i].says) CHECK(rc == ES_EMODEL && m == NULL && strstr(err.text, cases[i].says), "%s: %s", cases[i].to, err.text);
        else CHECK(rc == ES_OK, "%s", err.text);
        es_speaker_close(m);
        es_plan_close(p);
        es_weights_close(w);
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {{"front ends", front_ends},       {"resnet34", resnet34},           {"resnet34 company", resnet34_company},
                                    {"ecapa", ecapa},                 {"ecapa company", ecapa_company}, {"ecapa small", ecapa_small},
                                    {"taoruijie", taoruijie},         {"other sizes", other_sizes}};

    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
