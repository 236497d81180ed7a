/*
 * test_again.c - one stage of a recording anew, the others from the library: with the same models and settings the
 * library it was, with others the one that a fresh ingest with those makes, record by record.
 *
 * The models have seeded random weights: what they hear means nothing, but it has segments, speakers who take turns
 * inside them, and passages.
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"
#include "pipeline/ingest.h"
#include "pipeline/session/session.h"
#include "pipeline/speakers/names.h"
#include "seeded.h"

enum { FILES = 3, RATE = 16000 };
static const char *const sounds[FILES] = {"a.wav", "b.wav", "c.wav"};

/* ---- recordings and models ---- */

/* Hum, tones and noise by turns, so that the segmentation hears now this one and now that one. */
static void write_sound(const char *path, uint64_t seed, int seconds)
{
    es_noise noise = {seed};
    uint32_t n = (uint32_t)(seconds * RATE), head[11];
    double low = 0, phase = 0, x = 0;
    FILE *f = fopen(path, "wb");

    memcpy(head, "RIFF\0\0\0\0WAVEfmt \20\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\20\0data", 40);
    head[1] = 2 * n + 36, head[10] = 2 * n;
    CHECK(f && fwrite(head, 1, sizeof head, f) == sizeof head, "cannot write %s", path);
    for (uint32_t i = 0; f && i < n; i++) {
        int kind = (int)((i / 28000 + seed) % 5);
        double white = es_noise_normal(&noise);
        low += 0.05 * (white - low);
        phase += 0.02 * (1 + kind) + 0.01 * sin(i * 0.0011);
        x = kind == 0   ? 0.001 * low
            : kind == 1 ? 0.3 * sin(phase)
            : kind == 2 ? low
            : kind == 3 ? 0.2 * sin(phase) * sin(i * 0.0007)
                        : 0.1 * white;
        int16_t s = (int16_t)lrint(fmax(-1, fmin(1, x)) * 20000);
        fwrite(&s, sizeof s, 1, f);
    }
    if (f) fclose(f);
}

static void setup(void)
{
    es_seeded_whisper small = es_seeded_small, other = es_seeded_small;
    es_err err = {0};

    mkdir(in_folder("models"), 0755);
    small.seed = 2, other.name = "other";
    CHECK(es_seeded_whisper_write(in_folder("models/small.pack"), &small) == 0 &&
              es_seeded_whisper_write(in_folder("models/other.pack"), &other) == 0,
          "cannot write a pack");
    CHECK(es_seeded_segmentation_write(in_folder("models/segmentation.pack"), 5, &err) == ES_OK &&
              es_seeded_resnet34_write(in_folder("models/voices.pack"), 5, &err) == ES_OK &&
              es_seeded_ecapa_write(in_folder("models/names.pack"), false, 5, &err) == ES_OK &&
              es_seeded_encoder_write(in_folder("models/text.pack"), 5, &err) == ES_OK &&
              es_seeded_encoder_write(in_folder("models/text2.pack"), 6, &err) == ES_OK,
          "%s", err.text);
    for (int i = 0; i < FILES; i++) write_sound(in_folder(sounds[i]), (uint64_t)i + 1, 6 + 3 * i);
}

/* ---- one run ---- */

typedef struct how {
    const char *asr, *segmentation, *embedder, *language; /* NULL: small, its own, text, auto; embedder "": any */
    float temperature;
    int speakers, step;    /* seconds */
    bool sequential, deaf; /* deaf: no window has words */
    unsigned again;
    int files; /* the first of them */
    int (*listen)(void *user, const es_ingest_event *e);
} how;

/* What was told. */
static char told[4000];
static es_store *at_work;

static int hear(void *user, const es_ingest_event *e)
{
    const how *h = user;
    size_t n = strlen(told);

    if (e->text && e->kind != ES_INGEST_STORED) snprintf(told + n, sizeof told - n, "%s\n", e->text);
    return h->listen ? h->listen(user, e) : 0;
}

/* Into the library at_work; the status, with what was counted. */
static int ingest(how h, es_ingest_tally *tally, es_err *err)
{
    const es_session_options o = {.models = in_folder("models"),
                                  .asr = h.asr ? h.asr : "small",
                                  .segmentation = h.segmentation,
                                  .embedder = !h.embedder   ? "text"
                                              : *h.embedder ? h.embedder
                                                            : NULL,
                                  .device = "cpu",
                                  .threads = 2};
    const char *paths[FILES];
    es_session *s = NULL;

    told[0] = 0;
    *tally = (es_ingest_tally){0};
    for (int i = 0; i < FILES; i++) paths[i] = in_folder(sounds[i]);
    int rc = es_session_open(&s, &o, err);
    if (rc != ES_OK) return rc;
    es_ingest_job job = {.session = s,
                         .store = at_work,
                         .speech = es_transcribe_defaults(),
                         .again = h.again,
                         .keep_seconds = 0,
                         .listen = hear,
                         .user = &h};
    job.speech.words = true;
    job.speech.sequential = h.sequential;
    job.speech.language = h.language;
    job.speech.temperature[0] = h.temperature, job.speech.n_temperatures = 1;
    if (h.deaf) job.speech.most_no_speech = -1, job.speech.least_logprob = 100;
    job.hear.speakers = (es_speaker_range){h.speakers, h.speakers};
    job.hear.step_samples = h.step * RATE;
    rc = es_ingest(&job, paths, (size_t)h.files, tally, err);
    es_session_close(s);
    return rc;
}

static void ingest_well(how h, const char *what)
{
    es_ingest_tally tally;
    es_err err = {0};

    CHECK(ingest(h, &tally, &err) == ES_OK, "%s: %s", what, err.text);
    CHECK(tally.stored == ((size_t)h.files), "%s: %zu are stored: %s", what, tally.stored, told);
}

/* ---- two libraries ---- */

/* name: what differs, where something does; both are freed. */
static void check_same(dump a, dump b, const char *what)
{
    size_t at = 0;

    while (at < a.b.n && at < b.b.n) {
        uint32_t x[3], y[3];
        memcpy(x, a.b.p + at, sizeof x), memcpy(y, b.b.p + at, sizeof y);
        size_t n = sizeof x + x[1] + x[2];
        if (memcmp(x, y, sizeof x) || memcmp(a.b.p + at, b.b.p + at, n)) {
            CHECK(false, "%s: a record of the table %s (or %s) is another one", what, es_table_name((int)x[0]),
                  es_table_name((int)y[0]));
            break;
        }
        at += n;
    }
    CHECK(a.records == b.records && same_dump(&a, &b), "%s: %llu records, expected %llu", what,
          (unsigned long long)a.records, (unsigned long long)b.records);
    free(a.b.p), free(b.b.p);
}

/* The library at_work against one that a fresh ingest makes. */
static void check_fresh(how h, const char *what)
{
    static int n;
    char name[32];
    es_store *again = at_work;

    snprintf(name, sizeof name, "fresh %d", n++);
    h.again = 0;
    at_work = open_store(in_folder(name), ES_STORE_CREATE);
    ingest_well(h, what);
    check_same(dump_store(again, false), dump_store(at_work, false), what);
    es_store_close(at_work);
    at_work = again;
    check_whole(at_work);
}

static es_hash128 content_at(int i)
{
    struct stat st;
    es_hash128 content = {{0}};

    stat(in_folder(sounds[i]), &st);
    CHECK(es_store_cached_hash(at_work, (uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
                               (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, &content),
          "%s is not known", sounds[i]);
    return content;
}

static es_result result_at(int i)
{
    es_result r = {0};
    es_err err = {0};

    CHECK(es_store_get(at_work, content_at(i), 0, &r, &err) == ES_OK, "%s", err.text);
    return r;
}

static const how usual = {.language = "en", .speakers = 2, .step = 2, .files = 2};
static const struct {
    const char *stage;
    unsigned parts;
} stages[] = {{"words", ES_PART_WORDS | ES_PART_MEANING},
              {"speakers", ES_PART_SPEAKERS | ES_PART_MEANING},
              {"meaning", ES_PART_MEANING}};

static void stage_names(void)
{
    for (size_t i = 0; i < 3; i++) CHECK_INT(es_again_parts(stages[i].stage), stages[i].parts);
    CHECK_INT(es_again_parts(NULL), ES_PARTS_ALL);
    CHECK_INT(es_again_parts("word"), 0);
}

/* ---- the same, and with another setting ---- */

/* Speakers must take turns inside of segments, or nothing is tested. */
static void check_cut(void)
{
    size_t cut = 0, speakers = 0;

    for (int i = 0; i < FILES; i++) {
        es_result r = result_at(i);
        const es_transcript *t = &r.transcript;
        for (size_t k = 0; k < t->n_segments; k++)
            cut += !t->segments[k].n_tokens || t->tokens[t->segments[k].first_token] < 50257;
        speakers += (size_t)r.who.n_speakers;
        es_result_done(&r);
    }
    CHECK(cut > 0 && speakers > FILES, "%zu segments are cut, %zu speakers in all", cut, speakers);
}

static void stage_by_stage(bool sequential)
{
    how h = usual;
    char what[100];

    setup();
    h.sequential = sequential, h.files = FILES;
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    ingest_well(h, "at first");
    check_cut();
    for (size_t i = 0; i < 3; i++) {
        how other = h; /* what other stages would be made with matters to none */
        dump before = dump_store(at_work, false);
        other.again = stages[i].parts;
        if (i != 0) other.asr = "other", other.language = "de", other.temperature = 0.4f;
        if (i != 1) other.speakers = 1, other.step = 4;
        if (i == 2) other.segmentation = "none", other.speakers = other.step = 0;
        snprintf(what, sizeof what, "%s once more", stages[i].stage);
        ingest_well(other, what);
        check_same(before, dump_store(at_work, false), what);
        CHECK(!strstr(told, "words were heard") && !strstr(told, "yet"), "%s: %s", what, told);
    }
    h.again = stages[1].parts, h.speakers = 1;
    ingest_well(h, "one speaker");
    check_fresh(h, "one speaker");
    h.again = stages[0].parts, h.language = "de", h.temperature = 0.4f;
    ingest_well(h, "other words");
    check_fresh(h, "other words");
    h.again = stages[1].parts, h.speakers = 2;
    ingest_well(h, "two speakers");
    check_fresh(h, "two speakers");
    if (sequential) { /* the rest has no windows */
        es_store_close(at_work);
        return;
    }
    h.again = stages[2].parts, h.embedder = "text2";
    ingest_well(h, "other vectors");
    check_fresh(h, "other vectors");
    h.embedder = "none";
    ingest_well(h, "no vectors");
    check_fresh(h, "no vectors");
    es_store_close(at_work);
}

static void side_by_side(void)
{
    stage_by_stage(false);
}

static void one_by_one(void)
{
    stage_by_stage(true);
}

/* Where speech is found elsewhere, words stay, with a note; who speaks is what a fresh ingest finds. */
static void other_step(void)
{
    how h = usual;
    es_diarization who[FILES];
    es_store *again;
    es_err err = {0};

    setup();
    h.step = 4, h.files = FILES;
    again = open_store(in_folder("lib"), ES_STORE_CREATE);
    at_work = open_store(in_folder("fresh"), ES_STORE_CREATE);
    if (!again || !at_work) return;
    ingest_well(h, "a step of 4 s");
    for (int i = 0; i < FILES; i++)
        CHECK(es_store_get_who(at_work, content_at(i), 0, true, &who[i], &err) == ES_OK, "%s", err.text);
    es_store_close(at_work);
    at_work = again;
    h.step = 2;
    ingest_well(h, "at first");
    es_result before = result_at(2);
    h.step = 4;
    h.again = stages[1].parts;
    ingest_well(h, "another step");
    CHECK(strstr(told, "speech is found elsewhere than when its words were heard"), "%s", told);
    es_result after = result_at(2);
    CHECK(strstr(before.made.settings, "\"step\":2") && strstr(after.made.settings, "\"step\":4"), "%s",
          after.made.settings);
    CHECK(before.transcript.n_tokens == after.transcript.n_tokens &&
              before.transcript.n_words == after.transcript.n_words &&
              !memcmp(before.transcript.tokens, after.transcript.tokens, before.transcript.n_tokens * sizeof(int32_t)),
          "other words");
    for (int i = 0; i < FILES; i++) {
        es_result r = result_at(i);
        CHECK(r.who.n_turns == who[i].n_turns && same_vectors(&r.who.centers, &who[i].centers) &&
                  same_vectors(&r.who.voices, &who[i].voices) && r.who.n_speech == who[i].n_speech,
              "%s: others speak than a fresh ingest finds", sounds[i]);
        es_result_done(&r);
        es_diarization_done(&who[i]);
    }
    es_result_done(&before), es_result_done(&after);
    /* From here on words are heard where speech is found now. */
    h.again = stages[0].parts;
    ingest_well(h, "words where speech is now");
    check_fresh(h, "words where speech is now");
    es_store_close(at_work);
}

/* ---- what is not there to be kept ---- */

static void not_there_yet(void)
{
    how h = usual;

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    h.files = 1;
    ingest_well(h, "one of two");
    h.files = 2, h.again = stages[0].parts;
    ingest_well(h, "and the other");
    CHECK(strstr(told, "it is not in the library yet: everything is made"), "%s", told);
    check_fresh(h, "and the other");
    es_store_close(at_work);
}

/* Of a recording in which no word was heard it is not known who speaks. */
static void nobody_spoke(void)
{
    how h = usual;

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    h.deaf = true;
    ingest_well(h, "no words");
    es_result r = result_at(0);
    CHECK(!r.transcript.n_segments && !r.who.n_speakers && r.who.n_speech, "somebody speaks");
    es_result_done(&r);
    h.deaf = false, h.again = stages[0].parts;
    ingest_well(h, "words");
    CHECK(strstr(told, "speakers are sought anew, too"), "%s", told);
    check_fresh(h, "words");
    h.deaf = true;
    ingest_well(h, "no words again");
    check_fresh(h, "no words again");
    es_store_close(at_work);
}

/* A stage without a pack is refused, and nothing is changed. */
static void no_pack(void)
{
    es_ingest_tally tally;
    es_err err = {0};
    how h = usual;

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    ingest_well(h, "at first");
    dump before = dump_store(at_work, true);
    h.again = stages[1].parts, h.segmentation = "none", h.speakers = 0;
    CHECK_INT(ingest(h, &tally, &err), ES_ENOTFOUND);
    CHECK(strstr(err.text, "there is no pack that finds who speaks when"), "%s", err.text);
    err = (es_err){0};
    unlink(in_folder("models/text.pack")), unlink(in_folder("models/text2.pack"));
    h.again = stages[2].parts, h.segmentation = NULL, h.embedder = "";
    CHECK_INT(ingest(h, &tally, &err), ES_ENOTFOUND);
    CHECK(strstr(err.text, "there is no pack of a text encoder"), "%s", err.text);
    check_same(before, dump_store(at_work, true), "without packs");
    es_store_close(at_work);
}

/* ---- what happens meanwhile ---- */

static int stop_in_words(void *user, const es_ingest_event *e)
{
    (void)user;
    return e->kind == ES_INGEST_PROGRESS && !strcmp(e->stage, "transcribing") && e->fraction > 0.5;
}

/* Ended in its middle it has changed nothing; the next one goes on, whichever stage it is of. */
static void interrupted(void)
{
    how h = usual;
    es_ingest_tally tally;
    es_err err = {0};

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    h.files = FILES;
    ingest_well(h, "at first");
    es_result before = result_at(2);
    h.sequential = true; /* a window after the other: the last recording is not done when it is ended */
    h.again = stages[0].parts, h.language = "de", h.listen = stop_in_words;
    CHECK_INT(ingest(h, &tally, &err), ES_ECANCELLED);
    CHECK(tally.stored < FILES, "it was not ended");
    es_result after = result_at(2);
    CHECK_STR(after.made.settings, before.made.settings);
    CHECK(after.transcript.n_tokens == before.transcript.n_tokens, "half a result");
    check_whole(at_work);
    es_result_done(&before), es_result_done(&after);
    h.listen = NULL;
    how other = usual;
    other.again = stages[1].parts, other.speakers = 1, other.files = 2; /* takes up nothing of that */
    ingest_well(other, "another stage between");
    other = h, other.again = ES_PARTS_ALL, other.files = 2;
    ingest_well(other, "everything");
    h.again = stages[0].parts;
    ingest_well(h, "taken up");
    h.again = ES_PARTS_ALL;
    dump have = dump_store(at_work, false);
    ingest_well(h, "everything");
    check_same(have, dump_store(at_work, false), "taken up");
    es_store_close(at_work);
}

static int forget_one(void *user, const es_ingest_event *e)
{
    how *h = user;
    es_names_change change;
    es_names names = {0};
    es_err err = {0};

    if (e->kind != ES_INGEST_PROGRESS || strcmp(e->stage, "transcribing")) return 0;
    CHECK(es_names_of(at_work, content_at(0), 0, &names, &err) == ES_OK && names.n > 0, "%s", err.text);
    if (names.n) CHECK(es_names_forget(at_work, names.at[0].label, &change, &err) == ES_OK, "%s", err.text);
    es_names_done(&names);
    h->listen = NULL;
    return 0;
}

static int remove_one(void *user, const es_ingest_event *e)
{
    how *h = user;
    es_err err = {0};

    if (e->kind != ES_INGEST_PROGRESS || strcmp(e->stage, "transcribing")) return 0;
    CHECK(es_store_remove(at_work, content_at(0), -1, &err) == ES_OK, "%s", err.text);
    h->listen = NULL;
    return 0;
}

/* A voice that is forgotten while words are heard stays forgotten, and a recording that is removed stays removed. */
static void forgotten_meanwhile(void)
{
    how h = usual;
    es_ingest_tally tally;
    es_err err = {0};
    double sum = 0;

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    h.files = 1;
    ingest_well(h, "at first");
    h.again = stages[0].parts, h.listen = forget_one;
    ingest_well(h, "words");
    es_result r = result_at(0);
    for (int i = 0; i < r.who.voices.width; i++) sum += fabs((double)r.who.voices.rows[i]);
    CHECK(r.who.voices.n && sum == 0, "a forgotten voice has a vector of the sum %g", sum);
    es_result_done(&r);
    h.listen = remove_one;
    CHECK_INT(ingest(h, &tally, &err), ES_OK);
    CHECK(tally.failed == 1 && strstr(told, "has no recording"), "%s", told);
    CHECK(es_store_get(at_work, r.media.content, 0, &r, &err) == ES_ENOTFOUND, "it is back");
    check_whole(at_work);
    es_store_close(at_work);
}

/* ---- records that are damaged, sound that cannot be read, tokens of another model ---- */

static void odd_inputs(void)
{
    how h = usual;
    es_ingest_tally tally;
    es_err err = {0};
    es_txn *x = NULL;

    setup();
    at_work = open_store(in_folder("lib"), ES_STORE_CREATE);
    if (!at_work) return;
    h.files = 1;
    ingest_well(h, "at first");

    /* The tokens of the other model spell the same; the words stay the first one's. */
    h.again = stages[1].parts, h.asr = "other";
    ingest_well(h, "another speech model");
    es_result r = result_at(0);
    CHECK_STR(r.made.by[ES_STAGE_ASR].name, "small");
    h.asr = NULL, h.again = 0;
    h.files = 1;
    check_fresh(h, "another speech model");

    /* Bytes that are no media, but known: meaning needs no more. */
    static const char junk[] = "nothing that could be decoded";
    FILE *f = fopen(in_folder(sounds[0]), "wb");
    CHECK(f && fwrite(junk, 1, sizeof junk, f) == sizeof junk, "cannot write");
    if (f) fclose(f);
    r.media.content = es_hash_bytes(junk, sizeof junk);
    CHECK(es_store_put(at_work, &r, &err) == ES_OK && es_names_refresh(at_work, &err) == ES_OK, "%s", err.text);
    h.again = stages[0].parts;
    CHECK_INT(ingest(h, &tally, &err), ES_OK);
    CHECK(tally.failed == 1, "junk was decoded");
    dump before = dump_store(at_work, false);
    h.again = stages[2].parts;
    ingest_well(h, "meaning of what cannot be decoded");
    check_same(before, dump_store(at_work, false), "meaning of what cannot be decoded");

    /* A segment that is lost is not lost for good by what is stored around it. */
    es_key k = es_key_segment(r.media.content, 0, 0);
    CHECK(es_inside_begin(at_work, true, &x, &err) == ES_OK &&
              es_txn_delete(x, ES_TABLE_SEGMENTS, es_key_bytes(&k), &err) == ES_OK,
          "%s", err.text);
    es_inside_end(at_work, x, ES_OK, NULL);
    before = dump_store(at_work, true);
    CHECK_INT(ingest(h, &tally, &err), ES_OK);
    CHECK(tally.failed == 1 && strstr(told, "its record is damaged") && strstr(told, "--again alone"), "%s", told);
    check_same(before, dump_store(at_work, true), "a damaged record");
    es_result_done(&r);
    es_store_close(at_work);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"stage_names", stage_names}, {"side_by_side", side_by_side},   {"one_by_one", one_by_one},
        {"other_step", other_step},   {"not_there_yet", not_there_yet}, {"nobody_spoke", nobody_spoke},
        {"no_pack", no_pack},         {"interrupted", interrupted},     {"forgotten_meanwhile", forgotten_meanwhile},
        {"odd_inputs", odd_inputs}};

    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
