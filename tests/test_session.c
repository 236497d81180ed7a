/*
 * test_session.c - which pack serves which stage, and models that live together in one plan and one arena.
 *
 * Choosing is tested on packs that are headers and one tensor: only their metadata is read. Living together is tested on
 * the real small models: each must give, to the last bit, what it gives alone.
 */
#define _GNU_SOURCE
#include <unistd.h>

#include "base/log.h"
#include "files.h"
#include "pipeline/session/packs.h"
#include "pipeline/session/session.h"
#include "runtime/arena.h"
#include "test.h"

/* ---- packs that are nothing but a header ---- */

static void header_only(const char *file, const char *architecture, const char *name)
{
    char header[1024];
    int n = snprintf(header, sizeof header,
                     "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"%s\",\"name\":\"%s\",\"config\":\"{}\","
                     "\"data_hash\":\"%032x\"},\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                     architecture, name, (unsigned)(strlen(name) * 131 + (unsigned char)name[0]));
    while (n % 64 != 56) header[n++] = ' ';
    uint64_t length = (uint64_t)n;
    FILE *f = fopen(at(file), "wb");
    CHECK(f && fwrite(&length, 8, 1, f) == 1 && fwrite(header, 1, (size_t)n, f) == (size_t)n && fwrite("\0\0\0\0", 4, 1, f) == 1,
          "%s cannot be written", file);
    if (f) fclose(f);
}

/* What is chosen for a stage, or the sentence. */
static void choice_is(enum es_stage stage, const char *name, int want, const char *expected)
{
    const es_pack_entry *e = NULL;
    es_packs packs = {0};
    es_err err = {0};
    int rc = es_packs_scan(&packs, es_test_folder(), &err);

    CHECK(rc == ES_OK, "%s", err.text);
    rc = es_packs_choose(&packs, stage, name, &e, &err);
    CHECK(rc == want, "%s %s: %d, expected %d: %s", es_packs_option(stage), name ? name : "(default)", rc, want, err.text);
    if (want == ES_OK && expected) CHECK_STR(e ? e->name : NULL, expected);
    if (want == ES_OK && !expected) CHECK(!e, "%s: %s was chosen, expected none", es_packs_option(stage), e->name);
    if (want != ES_OK) CHECK(!e && strstr(err.text, expected), "\"%s\" does not say \"%s\"", err.text, expected);
    es_packs_done(&packs);
}

static void packs_are_chosen(void)
{
    choice_is(ES_STAGE_DIARIZER, NULL, ES_OK, NULL); /* an empty folder serves nothing, and that is no error */
    choice_is(ES_STAGE_DIARIZER, "x", ES_ENOTFOUND, "--diarizer x");
    header_only("a.pack", "pyannet", "seg");
    header_only("b.pack", "campplus", "cam");
    header_only("c.pack", "bert", "mini");
    choice_is(ES_STAGE_SEGMENTATION, NULL, ES_OK, "seg");
    choice_is(ES_STAGE_DIARIZER, NULL, ES_OK, "cam");
    choice_is(ES_STAGE_VOICE, NULL, ES_OK, NULL); /* the session takes the diarizer's */
    choice_is(ES_STAGE_EMBEDDER, NULL, ES_OK, "mini");
    header_only("d.pack", "resnet34", "res");
    header_only("e.pack", "ecapa", "eca");
    header_only("f.pack", "qwen2", "gte");
    header_only("g.pack", "plda", "com");
    choice_is(ES_STAGE_DIARIZER, NULL, ES_OK, "res");
    choice_is(ES_STAGE_VOICE, NULL, ES_OK, "eca");
    choice_is(ES_STAGE_EMBEDDER, NULL, ES_OK, "gte");
    choice_is(ES_STAGE_DIARIZER, "cam", ES_OK, "cam"); /* by its name, by its file's */
    choice_is(ES_STAGE_DIARIZER, "b", ES_OK, "cam");
    choice_is(ES_STAGE_DIARIZER, "b.pack", ES_OK, "cam");
    choice_is(ES_STAGE_VOICE, "res", ES_OK, "res");
    choice_is(ES_STAGE_VOICE, "none", ES_OK, NULL);
    choice_is(ES_STAGE_EMBEDDER, "mini", ES_OK, "mini");
    choice_is(ES_STAGE_DIARIZER, "eca", ES_EMODEL, "of the architecture ecapa, not a network that tells speakers apart");
    choice_is(ES_STAGE_SEGMENTATION, "mini", ES_EMODEL, "--segmentation mini");
    choice_is(ES_STAGE_DIARIZER, "what", ES_ENOTFOUND, "only cam, res");
    header_only("h.pack", "resnet34", "res2");
    choice_is(ES_STAGE_DIARIZER, NULL, ES_EARG, "choose with --diarizer: res, res2");
    choice_is(ES_STAGE_DIARIZER, "res2", ES_OK, "res2");
    FILE *f = fopen(at("broken.pack"), "wb");
    if (f) fputs("no pack", f), fclose(f);
    choice_is(ES_STAGE_EMBEDDER, NULL, ES_OK, "gte"); /* what is broken is not in the way */
    choice_is(ES_STAGE_EMBEDDER, "broken", ES_EMODEL, "broken.pack");
}

/* ---- the real small models together ---- */

static const char *const real[] = {"whisper-tiny.pack", "segmentation-3.0.pack", "campplus.pack", "minilm.pack"};

static bool real_models(void)
{
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        const char *pack = es_test_models(real[i]);
        static char missing[80];
        snprintf(missing, sizeof missing, "ES_TEST_MODELS/%s", real[i]);
        if (!pack) {
            es_test_skip(missing);
            return false;
        }
        CHECK(symlink(pack, at(real[i])) == 0, "no link to %s", pack);
    }
    return true;
}

static float *noise(size_t n, uint64_t seed)
{
    es_noise r = {seed};
    float *x = malloc(n * sizeof *x);

    if (!x) abort();
    es_noise_fill(&r, x, n, 0.1);
    return x;
}

/* What the models say, all out of one arena. */
typedef struct answers {
    float scores[2 * ES_PYANNET_FRAMES * ES_PYANNET_CLASSES];
    float voices[2 * 192];
    float vectors[2 * 384];
} answers;

static void ask(answers *out, es_session *s, const float *sound, const float *features)
{
    static const char *const texts[] = {"The quick brown fox.", "Jumps over the lazy dog, again and again."};
    const size_t bytes[] = {strlen(texts[0]), strlen(texts[1])};
    const es_speaker_sound sounds[] = {{.rows = features, .n = 150}, {.rows = features + 150 * 80, .n = 97}};
    const es_speaker_ask asks[] = {{.sound = 0}, {.sound = 1}};
    es_err err = {0};
    es_pyannet *p = es_session_pyannet(s);
    es_speaker *c = es_session_speaker(s, ES_STAGE_DIARIZER);
    es_embedding *e = es_session_embedding(s);

    CHECK(!p || es_pyannet_run(p, sound, 2, out->scores, &err) == ES_OK, "%s", err.text);
    CHECK(!c || es_speaker_run(c, sounds, asks, 2, out->voices, &err) == ES_OK, "%s", err.text);
    CHECK(!e || es_embedding_texts(e, texts, bytes, 2, false, out->vectors, &err) == ES_OK, "%s", err.text);
}

static es_session *opened(es_session_options o)
{
    es_session *s = NULL;
    es_err err = {0};

    o.models = es_test_folder();
    o.device = o.device ? o.device : "cpu";
    CHECK(es_session_open(&s, &o, &err) == ES_OK && es_session_ready(s, &err) == ES_OK, "%s", err.text);
    return s;
}

/* All in one arena, each alone with the speech model, and with other steps: the same bits. */
static void together_as_alone(void)
{
    if (!real_models()) return;
    answers *all = calloc(1, sizeof *all), *one = calloc(1, sizeof *one), *other = calloc(1, sizeof *other);
    float *sound = noise(2 * ES_PYANNET_SAMPLES, 1), *features = noise(300 * 80, 2);
    es_session *s = opened((es_session_options){0});
    es_session_limits limits = s ? es_session_limits_of(s) : (es_session_limits){0};

    if (!s || !all || !one || !other) abort();
    for (int i = 0; i < ES_N_STAGES; i++) CHECK(es_session_has(s, (enum es_stage)i), "stage %d has no pack", i);
    CHECK_STR(es_session_maker(s, ES_STAGE_VOICE).name, "campplus");
    CHECK(es_session_speaker(s, ES_STAGE_VOICE) == es_session_speaker(s, ES_STAGE_DIARIZER), "one pack is loaded twice");
    CHECK(!es_session_plda(s, NULL), "a PLDA without resnet34");
    CHECK(limits.windows && limits.slots && limits.segments && limits.frames && limits.tokens, "a step of nothing");
    ask(all, s, sound, features);
    ask(all, s, sound, features); /* on used scratch */
    es_session_close(s);

    const es_session_options alone[] = {{.diarizer = "none", .voice = "none", .embedder = "none"},
                                        {.segmentation = "none", .embedder = "none"},
                                        {.segmentation = "none", .diarizer = "none", .voice = "none"}};
    for (int i = 0; i < 3; i++) {
        s = opened(alone[i]);
        CHECK(es_session_has(s, ES_STAGE_SEGMENTATION) == (i == 0) && es_session_has(s, ES_STAGE_DIARIZER) == (i == 1) &&
                  es_session_has(s, ES_STAGE_VOICE) == (i == 1) && es_session_has(s, ES_STAGE_EMBEDDER) == (i == 2),
              "case %d has other stages than it asks for", i);
        ask(one, s, sound, features);
        es_session_close(s);
    }
    CHECK(!memcmp(all, one, sizeof *all), "models in one arena say other things than alone");

    s = opened((es_session_options){.limits = {.segments = 3, .frames = 250, .tokens = 33, .slots = 2, .windows = 2}});
    limits = es_session_limits_of(s);
    CHECK(limits.segments == 3 && limits.frames == 250 && limits.tokens == 33 && limits.slots == 2 && limits.windows == 2,
          "a session has other steps than were asked for");
    ask(other, s, sound, features);
    es_session_close(s);
    CHECK(!memcmp(all, other, sizeof *all), "results depend on the size of steps");
    free(all), free(one), free(other);
    free(sound), free(features);
}

/* A text encoder on a device of its own has a plan and an arena there; nothing of it is needed to look. */
static void an_encoder_elsewhere(void)
{
    char *text = NULL;
    size_t bytes;
    es_err err = {0};

    if (!real_models()) return;
    const es_session_options o = {.models = es_test_folder(), .device = "cuda", .embedder_device = "cpu", .threads = 1};
    CHECK(es_session_plan(&o, NULL, ES_LOOK_TEXT, &text, &bytes, &err) == ES_OK, "%s", err.text);
    char *second = text ? strstr(text, "Memory plan for cpu") : NULL;
    CHECK(text && second && strlen(text) == bytes, "there is no second plan");
    if (second) {
        CHECK(strstr(second, "minilm") && !strstr(second, "campplus"), "%s", second);
        *second = 0;
        CHECK(strstr(text, "Memory plan for cuda") && strstr(text, "campplus") && !strstr(text, "minilm"), "%s", text);
    }
    free(text);
    es_session_options wrong = o;
    wrong.embedder_device = "tpu";
    CHECK(es_session_plan(&wrong, NULL, ES_LOOK_TEXT, &text, &bytes, &err) == ES_EARG && strstr(err.text, "--embedder-device"), "%s", err.text);
}

static int n_notes;
static char said[1024];

static void hear_note(void *user, es_log_level level, const char *sentence)
{
    (void)user;
    if (level != ES_LOG_NOTE) return;
    n_notes++;
    snprintf(said, sizeof said, "%s", sentence);
}

/* Only the speech model must be there. */
static void stages_may_be_missing(void)
{
    es_session *s = NULL;
    es_err err = {0};

    if (!real_models()) return;
    for (int i = 1; i < 4; i++) CHECK(unlink(at(real[i])) == 0, "%s stays", real[i]);
    es_log_set(hear_note, NULL, ES_LOG_NOTE);
    s = opened((es_session_options){0});
    CHECK(es_session_ready(s, &err) == ES_OK && n_notes == 1 && strstr(said, "who speaks") && strstr(said, "by its meaning"),
          "what is left out is said %d times: %s", n_notes, said);
    CHECK(es_session_has(s, ES_STAGE_ASR) && !es_session_has(s, ES_STAGE_SEGMENTATION) && !es_session_has(s, ES_STAGE_VOICE) &&
              !es_session_has(s, ES_STAGE_EMBEDDER),
          "stages without packs");
    CHECK(!es_session_pyannet(s) && !es_session_speaker(s, ES_STAGE_VOICE) && !es_session_embedding(s), "models without packs");
    es_session_close(s);
    s = opened((es_session_options){.diarizer = "none", .embedder = "none"});
    CHECK_INT(n_notes, 1); /* what was declined is not missed */
    es_session_close(s);
    es_log_set(NULL, NULL, ES_LOG_ERROR);
    es_session_options o = {.models = es_test_folder(), .device = "cpu", .embedder = "minilm"};
    CHECK(es_session_open(&s, &o, &err) == ES_ENOTFOUND && strstr(err.text, "--embedder minilm"), "%s", err.text);
    CHECK(unlink(at(real[0])) == 0, "%s stays", real[0]);
    o.embedder = NULL;
    CHECK(es_session_open(&s, &o, &err) == ES_ENOTFOUND, "%s", err.text);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"packs_are_chosen", packs_are_chosen},
        {"together_as_alone", together_as_alone},
        {"an_encoder_elsewhere", an_encoder_elsewhere},
        {"stages_may_be_missing", stages_may_be_missing},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
