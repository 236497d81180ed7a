/*
 * test_cli_models.c - models and devices as the commands see them: packs that are missing, cut, altered or of another kind,
 * sources that cannot be converted, plans for devices that are not there, and a model measured without its weights.
 */
#define _GNU_SOURCE
#include <inttypes.h>

#include "base/hash.h"
#include "base/json.h"
#include "ingest.h"
#include "runtime/weights.h"

static int64_t member(const es_json_node *o, const char *key)
{
    int64_t value = -1;

    CHECK(es_json_int(es_json_get(o, key), 0, INT64_MAX, &value), "the plan has no %s", key);
    return value;
}

/* The regions of a plan make the arena, those of the models the regions, the largest program scratch; all fits. */
static void adds_up(const char *text)
{
    es_err err = {0};
    es_json *j = NULL;

    CHECK(es_json_parse(&j, text, strlen(text), "plan", &err) == ES_OK, "%s", err.text);
    const es_json_node *plan = es_json_root(j);
    int64_t weights = 0, state = 0, largest = 0;
    for (const es_json_node *m = es_json_first(es_json_get(plan, "models")); m; m = es_json_next(m)) {
        weights += member(m, "weights_bytes");
        state += member(m, "state_bytes");
        for (const es_json_node *g = es_json_first(es_json_get(m, "programs")); g; g = es_json_next(g))
            if (member(g, "peak_bytes") > largest) largest = member(g, "peak_bytes");
    }
    CHECK(weights > 1500000000 && state > 0 && largest > 0, "%" PRId64 " bytes of weights", weights);
    CHECK_INT(member(plan, "weights_bytes"), weights);
    CHECK_INT(member(plan, "state_bytes"), state);
    CHECK_INT(member(plan, "scratch_bytes"), largest);
    CHECK_INT(member(plan, "arena_bytes"), member(plan, "workspace_bytes") + weights + state + largest);
    CHECK_INT(member(plan, "total_bytes"), member(plan, "arena_bytes") + member(plan, "outside_bytes"));
    CHECK(member(plan, "total_bytes") <= member(plan, "budget_bytes"), "the plan is larger than its budget");
    es_json_close(j);
}

/* Where there is no GPU, auto says once that it runs on the CPU and why, and cuda is refused with one sentence. */
static void test_device(void)
{
    setup();
    wav("one.wav", NOISE, 1, 16000, 1);
    wav("two.wav", NOISE, 1.5, 16000, 1);
    EXPECT(2, NULL, "a device is auto, cpu, cuda or cuda:N", INGEST, "--device", "cuda:", at("one.wav"));
    EXPECT(3, NULL, "--device cuda:1000", INGEST, "--device", "cuda:1000", at("one.wav"));
    ended doctor = RUN("doctor", "--json", "--models", at("models"));
    bool none = strstr(doctor.out, "\"cuda\": []") != NULL;
    ENDED(&doctor, 0, "\"faults\": 0", NULL);
    if (!none) return;
    ended e = RUN(INGEST, "--device", "auto", at("one.wav"), at("two.wav"));
    CHECK_INT(count_in(e.err, "models run on the CPU: "), 1);
    ENDED(&e, 0, "2 stored", NULL);
    e = RUN(INGEST, "--device", "cuda", at("one.wav"));
    CHECK_INT(count_in(e.err, "\n"), 1);
    ENDED(&e, 3, NULL, "--device cuda: ");
    /* Planning for it needs no GPU. */
    ended plan = RUN("plan", "--device", "cuda", "--budget", "16G", "--with", "distil-large-v3", "--json");
    adds_up(plan.out);
    ENDED(&plan, 0, "distil-large-v3", NULL);
    /* Speech, segmentation and text vectors together on a card of 16 GB, and what is missing where they do not fit. */
    EXPECT(0, "gte-qwen2-1.5b.embed", NULL, "plan", "--device", "cuda", "--budget", "16G", "--with",
           "distil-large-v3,segmentation-3.0,gte-qwen2-1.5b");
    EXPECT(3, NULL, "5000", "plan", "--device", "cuda", "--budget", "5G", "--with",
           "distil-large-v3,segmentation-3.0,gte-qwen2-1.5b");
    EXPECT(2, NULL, "there is no architecture called nonsense", "plan", "--with", "minilm,nonsense");
}

/* A speech model is measured without its weights; the parts make the whole. */
static void test_synthetic(void)
{
    setup();
    ended e = RUN("bench", "asr", "--synthetic", "tiny", "--device", "cpu", "--json");
    es_json *j = NULL;
    if (es_json_parse(&j, e.out, strlen(e.out), "bench", NULL) == ES_OK) {
        const es_json_node *o = es_json_root(j), *ms = es_json_get(o, "ms_a_window");
        double part, sum = 0, all = 0;
        for (const es_json_node *n = es_json_first(ms); n; n = es_json_next(n)) {
            CHECK(es_json_number(n, &part) && part >= 0, "%s takes no time", es_json_key(n));
            if (strcmp(es_json_key(n), "all")) sum += part;
            else all = part;
        }
        CHECK(all > 0 && sum >= 0.999 * all, "the parts take %g ms, all %g", sum, all);
        CHECK_INT(member(o, "allocations_after_open"), 0);
        CHECK(member(o, "arena_bytes") > 75000000, "the arena has no room for the weights");
    }
    es_json_close(j);
    ENDED(&e, 0, "\"times_real_time\"", NULL);
    EXPECT(2, NULL, "there is no speech model called nonsense", "bench", "asr", "--synthetic", "nonsense", "--device", "cpu");
    EXPECT(2, NULL, "--synthetic measures asr, not one.wav", "bench", "one.wav", "--synthetic", "tiny");
    EXPECT(3, NULL, "1.0 MB", "bench", "asr", "--synthetic", "tiny", "--device", "cpu", "--budget", "1M");
}

/* ---- bad models ---- */

static void test_no_pack(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(3, NULL, "make one with `earshot convert FOLDER`", "ingest", "-L", at("lib"), at("good.wav"));
    EXPECT(3, NULL, "there is no model pack here", "ingest", "-L", at("lib"), "--models", at("nowhere"),
           at("good.wav"));
    EXPECT(3, "there is no model pack here", NULL, "doctor", "--models", at("nowhere"));
    EXPECT(3, NULL, "no speech model called large", INGEST, "--asr", "large", at("good.wav"));
    EXPECT(3, NULL, "the memory budget of 1.0 MB", INGEST, "--budget", "1M", at("good.wav"));
    const es_seeded_whisper second = {
        .seed = 2, .width = 64, .layers = 1, .n_mels = 80, .vocab = 51864, .name = "second"};
    CHECK(es_seeded_whisper_write(at("models/second.pack"), &second) == 0, "cannot write a pack");
    EXPECT(2, NULL, "choose with --asr: second, small", INGEST, at("good.wav"));
    EXPECT(0, "of sound", NULL, INGEST, "--asr", "second", at("good.wav"));
    EXPECT(2, NULL, "second knows only English", INGEST, "--asr", "second", "--language", "de", at("good.wav"));
    EXPECT(0, "the model was second, now small", NULL, INGEST, "--asr", "small", at("good.wav"));
    check_whole(at("lib"));
}

/* A pack cut at any 4 KiB boundary is refused by name: the reader at every one, the program at some. */
static void test_cut_pack(void)
{
    struct stat st;
    const char *path = NULL;
    long refused = 0, cuts = 0;
    char kept[4400];

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    EXPECT(0, "of sound", NULL, INGEST, at("good.wav"));
    snprintf(kept, sizeof kept, "%s", at("models/small.pack"));
    path = kept;
    CHECK(stat(path, &st) == 0, "no pack");
    for (off_t at_byte = (st.st_size - 1) / 4096 * 4096; at_byte >= 0; at_byte -= 4096) {
        es_weights *w = NULL;
        es_err err = {0};
        CHECK(truncate(path, at_byte) == 0, "cannot cut");
        cuts++;
        refused += es_pack_open(&w, path, &err) != ES_OK && strstr(err.text, "small.pack") != NULL;
        es_weights_close(w);
        if (cuts % 300 == 1 || at_byte <= 8192) {
            ended e = RUN(INGEST, at("good.wav"));
            ENDED(&e, 3, NULL, "small.pack");
        }
    }
    CHECK(refused == cuts && cuts > 1000, "%ld of %ld cuts were refused", refused, cuts);
    EXPECT(3, "small.pack", NULL, "doctor", "--models", at("models"));
    check_whole(at("lib"));
}

/* A bit turned in the weights: only reading all of them can tell, and doctor does. */
static void test_turned_bit(void)
{
    setup();
    EXPECT(0, "whole", NULL, "doctor", "--models", at("models"));
    FILE *f = fopen(at("models/small.pack"), "r+b");
    if (f) {
        fseek(f, -1000, SEEK_END);
        int c = fgetc(f);
        fseek(f, -1000, SEEK_END);
        fputc(c ^ 1, f);
        fclose(f);
    }
    EXPECT(3, "small.pack", NULL, "doctor", "--models", at("models"));
}

static void safetensors(const char *path, const char *header, size_t data)
{
    uint64_t n = (strlen(header) + 8 + 63) / 64 * 64 - 8;
    uint8_t length[8];
    FILE *f = fopen(path, "wb");

    if (!f) return;
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)(n >> 8 * i);
    fwrite(length, 1, 8, f);
    fprintf(f, "%-*s", (int)n, header);
    for (size_t i = 0; i < data; i++) fputc(0, f);
    fclose(f);
}

static void test_other_architecture(void)
{
    char hex[33], header[600];
    const uint8_t zero[4] = {0};

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    es_hash_hex(hex, es_hash_bytes(zero, 4));
    snprintf(
        header, sizeof header,
        "{\"__metadata__\":{\"earshot_pack\":\"1\",\"architecture\":\"ecapa\",\"name\":\"voice\",\"config\":\"{}\","
        "\"source\":\"x\",\"source_hash\":\"%s\",\"data_hash\":\"%s\",\"converter\":\"1\"},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        hex, hex);
    safetensors(at("voice.pack"), header, 4);
    EXPECT(3, NULL, "no speech model, only voice (ecapa)", "ingest", "-L", at("lib"), "--models", at("voice.pack"),
           at("good.wav"));
    EXPECT(3, NULL, "architecture ecapa", "ingest", "-L", at("lib"), "--models", at("voice.pack"), "--asr", "voice",
           at("good.wav"));
    /* Metadata that promises a Whisper and holds none. */
    char *whisper = strstr(header, "ecapa");
    memcpy(whisper, "whisper\"", 8);
    memmove(whisper + 8, whisper + 6, strlen(whisper + 6) + 1);
    safetensors(at("voice.pack"), header, 4);
    EXPECT(3, NULL, "voice", "ingest", "-L", at("lib"), "--models", at("voice.pack"), at("good.wav"));
}

static void test_bad_sources(void)
{
    static const uint8_t huge[16] = {0, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'};
    uint8_t ct2[64] = {6, 0, 0, 0, 0xFF, 0xFF, 'W', 'h', 'i'};

    setup();
    EXPECT(1, NULL, "nowhere", "convert", at("nowhere"), "-o", at("x.pack"));
    mkdir(at("empty"), 0755);
    EXPECT(1, NULL, "empty", "convert", at("empty"), "-o", at("x.pack"));
    mkdir(at("hf"), 0755);
    write_file(at("hf/model.safetensors"), huge, sizeof huge);
    write_file(at("hf/config.json"), "{}", 2);
    EXPECT(1, NULL, "model.safetensors", "convert", at("hf"), "-o", at("x.pack"));
    mkdir(at("ct2"), 0755);
    write_file(at("ct2/model.bin"), ct2, sizeof ct2);
    write_file(at("ct2/config.json"), "{}", 2);
    EXPECT(1, NULL, "model.bin", "convert", at("ct2"), "-o", at("x.pack"));
    CHECK(access(at("x.pack"), F_OK) != 0, "a pack was written");
    EXPECT(2, NULL, "--dtype takes f32|f16", "convert", "--dtype", "int3", at("hf"));
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"device", test_device},
        {"synthetic", test_synthetic},
        {"no_pack", test_no_pack},
        {"cut_pack", test_cut_pack},
        {"turned_bit", test_turned_bit},
        {"other_architecture", test_other_architecture},
        {"bad_sources", test_bad_sources},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
