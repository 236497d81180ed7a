/*
 * test_batch.c - many recordings at once: where they are cut, that what one says depends on no other, on no slot and on
 * no order, that one's failure is its own, and that the slots are kept busy.
 *
 * The model is the seeded one. What it says means nothing, but every bit of it has a cause.
 */
#include "whisper_rig.h"

#include "base/hash.h"
#include "media/decode.h"
#include "pipeline/words/batch.h"
#include "pipeline/words/cut.h"
#include "seeded.h"

/* ---- recordings ---- */

enum { FILES = 4, SILENT = 3, MOST = 8 }; /* a run may hold a recording more than once */
static const double length[FILES] = {31.3, 6.2, 61.0, 4.0}; /* seconds */

/* Noise in syllables, with pauses; the last recording is silent. */
static float *recording(int i, int64_t *n)
{
    int64_t count = (int64_t)(length[i] * 16000);
    float *x = malloc((size_t)count * sizeof *x);
    es_noise noise = {(uint64_t)i + 1};

    es_noise_fill(&noise, x, (size_t)count, 0.05);
    for (int64_t k = 0; k < count; k++) {
        int64_t piece = k / 4000;
        x[k] *= i == SILENT ? 0 : (float)((piece * 7 + i) % 11) / 10;
    }
    *n = count;
    return x;
}

typedef struct sound_of {
    const float *x;
    int64_t n, fails_at; /* the sample that cannot be read; -1: all can */
} sound_of;

static int read_samples(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    const sound_of *s = user;

    if (s->fails_at >= 0 && first <= s->fails_at && s->fails_at < first + n)
        return es_fail(err, ES_EIO, "sample %lld cannot be read", (long long)s->fails_at);
    for (int64_t i = 0; i < n; i++) out[i] = first + i >= 0 && first + i < s->n ? s->x[first + i] : 0;
    return ES_OK;
}

/* ---- running ---- */

typedef struct run {
    sound_of sound[MOST];
    es_batch_file file[MOST];
    es_transcript said[MOST];
    int rc[MOST], told[MOST], order[MOST], given, n, done;
    char why[MOST][1024];
    int cancel_at, calls;
    es_batch_figures figures;
} run;

static int give(void *user, bool wait, es_batch_file **file, es_err *err)
{
    run *r = user;

    (void)wait, (void)err;
    *file = r->given < r->n ? &r->file[r->order[r->given++]] : NULL;
    return ES_OK;
}

static int take(void *user, es_batch_file *file, int rc, const es_err *why, es_err *err)
{
    run *r = user;
    int i = (int)(file - r->file);

    (void)err;
    r->rc[i] = rc;
    r->told[i]++;
    r->done++;
    if (rc) snprintf(r->why[i], sizeof r->why[i], "%s", why->text);
    return ES_OK;
}

static int hear_progress(void *user, es_batch_file *file, int64_t done_ms, int64_t all_ms)
{
    run *r = user;

    CHECK(done_ms <= all_ms && all_ms > 0, "recording %d is at %lld of %lld ms", (int)(file - r->file),
          (long long)done_ms, (long long)all_ms);
    return ++r->calls == r->cancel_at;
}

static uint64_t hash_of(const es_transcript *t)
{
    es_hasher *h = es_hasher_open();

    es_hasher_add(h, t->language, sizeof t->language);
    es_hasher_add(h, &t->language_probability, sizeof t->language_probability);
    for (size_t i = 0; i < t->n_segments; i++) {
        const es_segment *s = &t->segments[i];
        es_hasher_add(h, &s->start_ms, sizeof s->start_ms);
        es_hasher_add(h, &s->end_ms, sizeof s->end_ms);
        es_hasher_add(h, &s->avg_logprob, sizeof s->avg_logprob);
        es_hasher_add(h, &s->temperature, sizeof s->temperature);
        es_hasher_add(h, &s->first_word, sizeof s->first_word);
        es_hasher_add(h, s->language, sizeof s->language);
    }
    for (size_t i = 0; i < t->n_words; i++) {
        es_hasher_add(h, &t->words[i].start_ms, sizeof t->words[i].start_ms);
        es_hasher_add(h, &t->words[i].probability, sizeof t->words[i].probability);
    }
    if (t->n_tokens) es_hasher_add(h, t->tokens, t->n_tokens * sizeof *t->tokens);
    if (t->n_text) es_hasher_add(h, t->text, t->n_text);
    uint64_t v = es_hash_id(es_hasher_value(h));
    es_hasher_close(h);
    return v;
}

static void run_done(run *r)
{
    for (int i = 0; i < MOST; i++) es_transcript_done(&r->said[i]);
}

static float *samples[FILES];
static int64_t n_samples[FILES];

static void make_samples(void)
{
    for (int i = 0; i < FILES && !samples[i]; i++) samples[i] = recording(i, &n_samples[i]);
}

/* Runs recordings in the order given; fails: the one whose sound breaks off, or -1. */
static int run_all(run *r, es_batch *b, const es_transcribe_options *o, const int *order, int n, int fails, es_err *err)
{
    es_batch_source source = {give, take, hear_progress, r};

    memcpy(r->order, order, (size_t)n * sizeof *order);
    r->n = n;
    for (int i = 0; i < MOST; i++) {
        int k = i % FILES;
        r->sound[i] = (sound_of){samples[k], n_samples[k], i == fails ? n_samples[k] / 2 : -1};
        r->file[i] = (es_batch_file){.sound = {read_samples, &r->sound[i], n_samples[k]}, .to = &r->said[i]};
        memset(&r->file[i].content, i + 1, sizeof r->file[i].content);
    }
    return es_batch_run(b, o, &source, &r->figures, err);
}

/* A model of noise never satisfies, and six attempts a window would take long. */
static es_transcribe_options options(const char *language, int temperatures, bool words)
{
    es_transcribe_options o = es_transcribe_defaults();

    o.language = language;
    o.n_temperatures = temperatures;
    o.words = words;
    return o;
}

/* The least model that all of this can be seen with. */
static bool open_rig(es_whisper_rig *g, int windows, int slots)
{
    es_whisper_limits limits = {.windows = windows, .slots = slots, .prompt_rows = 16, .align = true};
    es_seeded_whisper s = {.seed = 7, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true};
    char path[4096];

    make_samples();
    snprintf(path, sizeof path, "%s/seeded.pack", es_test_folder());
    CHECK(es_seeded_whisper_write(path, &s) == 0, "cannot write %s", path);
    return es_whisper_rig_open(g, path, limits, 2);
}

/* ---- tests ---- */

/* 1, 3 and 8 slots, one or four windows encoded at once, every order, alone or together: the same bits. */
static void the_same_beside_others(const char *language, int temperatures, bool words)
{
    static const int orders[3][FILES] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
    static const int sizes[3][2] = {{1, 8}, {4, 3}, {1, 1}};
    uint64_t want[FILES] = {0};
    es_transcribe_options o = options(language, temperatures, words);

    for (int k = 0; k < 3; k++) {
        es_whisper_rig g;
        es_batch *b = NULL;
        if (!open_rig(&g, sizes[k][0], sizes[k][1])) return;
        OK(es_batch_open(&b, g.m, g.bpe, &g.err), g.err);
        for (int alone = 0; alone < (k == 0 && !language ? 2 : 1); alone++) {
            for (int first = 0; first < (alone ? FILES : 1); first++) {
                run r = {0};
                OK(run_all(&r, b, &o, alone ? &orders[0][first] : orders[k], alone ? 1 : FILES, -1, &g.err), g.err);
                CHECK_INT(r.done, alone ? 1 : FILES);
                for (int i = alone ? first : 0; i < (alone ? first + 1 : FILES); i++) {
                    uint64_t h = hash_of(&r.said[i]);
                    CHECK_INT(r.rc[i], ES_OK);
                    if (k == 0 && !alone) want[i] = h;
                    CHECK(h == want[i], "recording %d says something else with %d slots%s", i, sizes[k][1],
                          alone ? ", alone" : "");
                    CHECK(i == SILENT ? r.said[i].n_segments == 0 && (language || !r.said[i].language[0])
                                      : r.said[i].n_segments > 0,
                          "recording %d has %zu segments", i, r.said[i].n_segments);
                }
                run_done(&r);
            }
        }
        es_batch_close(b);
        es_whisper_rig_close(&g);
    }
}

static void language_given(void)
{
    the_same_beside_others("de", 2, true);
}

static void language_heard(void)
{
    the_same_beside_others(NULL, 1, false);
}

static void language_of_each_window(void)
{
    the_same_beside_others("each", 1, false);
}

/* A recording that cannot be read fails with its own sentence; the others are what they are without it. */
static void faults_stay_alone(void)
{
    static const int order[FILES] = {0, 1, 2, 3};
    es_whisper_rig g;
    es_batch *b = NULL;
    es_transcribe_options o = options(NULL, 1, false);
    run whole = {0}, broken = {0};

    if (!open_rig(&g, 1, 3)) return;
    OK(es_batch_open(&b, g.m, g.bpe, &g.err), g.err);
    OK(run_all(&whole, b, &o, order, FILES, -1, &g.err), g.err);
    OK(run_all(&broken, b, &o, order, FILES, 2, &g.err), g.err);
    for (int i = 0; i < FILES; i++) {
        CHECK_INT(broken.told[i], 1);
        CHECK_INT(broken.rc[i], i == 2 ? ES_EIO : ES_OK);
        CHECK(i == 2 || hash_of(&whole.said[i]) == hash_of(&broken.said[i]), "recording %d suffers from another", i);
    }
    CHECK(strstr(broken.why[2], "cannot be read") != NULL, "%s", broken.why[2]);
    run_done(&whole);
    run_done(&broken);

    /* Cancelled in the middle, and used again. */
    run cut = {.cancel_at = 4}, after = {0};
    CHECK_INT(run_all(&cut, b, &o, order, FILES, -1, &g.err), ES_ECANCELLED);
    OK(run_all(&after, b, &o, order, 2, -1, &g.err), g.err);
    CHECK_INT(after.done, 2);
    run_done(&cut);
    run_done(&after);

    /* What these windows cannot do is refused. */
    o.previous_text = true;
    run refused = {0};
    CHECK_INT(run_all(&refused, b, &o, order, 1, -1, &g.err), ES_EARG);
    es_batch_close(b);
    es_whisper_rig_close(&g);
}

/* While windows wait, at least 85 % of the slots are at work. */
static void slots_are_kept_busy(void)
{
    static const int order[MOST] = {2, 0, 3, 1, 6, 5, 4, 7};
    es_whisper_rig g;
    es_batch *b = NULL;
    es_transcribe_options o = options("de", 1, false);
    run r = {0};

    if (!open_rig(&g, 1, 8)) return;
    OK(es_batch_open(&b, g.m, g.bpe, &g.err), g.err);
    OK(run_all(&r, b, &o, order, MOST, -1, &g.err), g.err);
    const es_batch_figures *f = &r.figures;
    CHECK(f->full_all > 0 && f->steps >= f->full_steps && f->slot_steps >= f->full_slot_steps, "nothing was counted");
    CHECK((double)f->full_slot_steps >= 0.85 * (double)f->full_all,
          "%lld of %lld slots were at work while windows waited", (long long)f->full_slot_steps,
          (long long)f->full_all);
    run_done(&r);
    es_batch_close(b);
    es_whisper_rig_close(&g);
}

/* ---- cuts ---- */

static void check_cuts(const es_cut *c, size_t n, int64_t frames)
{
    for (size_t i = 0; i < n; i++) {
        CHECK(c[i].first < c[i].end && c[i].end - c[i].first <= 3000, "piece %zu: %lld to %lld", i,
              (long long)c[i].first, (long long)c[i].end);
        CHECK(c[i].first >= (i ? c[i - 1].end : 0) && c[i].end <= frames, "piece %zu begins at %lld", i,
              (long long)c[i].first);
    }
}

static void cuts(void)
{
    enum { SECONDS = 100 };
    int64_t n = SECONDS * 16000;
    float *x = calloc((size_t)n, sizeof *x);
    sound_of s = {x, n, -1};
    es_sound sound = {read_samples, &s, n};
    es_noise noise = {3};
    es_err err = {0};
    es_cut *c = NULL;
    size_t k = 0;

    /* Loud from 10 s to 80 s, with a hush at 37.5 s: three windows would do for it, and the first of them ends there. */
    es_noise_fill(&noise, x + 160000, 70 * 16000, 0.1);
    for (int64_t i = 374 * 1600; i < 376 * 1600; i++) x[i] *= 0.01f;
    OK(es_cut_sound(&c, &k, &sound, NULL, 0, -70, &err), err);
    check_cuts(c, k, n / 160);
    CHECK(k == 3 && c[0].first == 1000 - 20 && c[k - 1].end == 8000 + 20, "%zu pieces", k);
    CHECK(c[0].end >= 3745 && c[0].end <= 3755 && c[1].first == c[0].end, "the first piece ends at %lld",
          (long long)c[0].end);
    free(c);

    /* Stretches that fit together are one piece, which ends where nobody speaks if it can; long silence is nobody's. */
    const es_heard heard[] = {{1000, 5000},   {4000, 9000},   {12000, 20000},
                              {26000, 45000}, {90000, 90300}, {99900, 120000}};
    OK(es_cut_sound(&c, &k, &sound, heard, 6, -70, &err), err);
    check_cuts(c, k, n / 160);
    CHECK_INT(k, 3);
    if (k == 3) {
        CHECK_INT(c[0].first, 80);
        CHECK(c[0].end == 2020 && c[1].first == 2580 && c[1].end == 4520, "%lld, %lld to %lld", (long long)c[0].end,
              (long long)c[1].first, (long long)c[1].end);
        CHECK(c[2].first == 8980 && c[2].end == 10000, "%lld to %lld", (long long)c[2].first, (long long)c[2].end);
    }
    free(c);
    OK(es_cut_sound(&c, &k, &sound, heard, 0, -70, &err), err);
    CHECK_INT(k, 0);
    free(c);
    memset(x, 0, (size_t)n * sizeof *x);
    OK(es_cut_sound(&c, &k, &sound, NULL, 0, -70, &err), err);
    CHECK_INT(k, 0);
    free(c);
    free(x);
}

/* Speech made up of sentences of `words` words: a third of a second each, 50 ms of hush between them, and a pause of 600
 * ms after the sentence. pause: their samples, first and end. */
static float *sentences(int64_t n, int words, int64_t (*pause)[2], int *n_pauses)
{
    float *x = malloc((size_t)n * sizeof *x);
    es_noise noise = {11};

    es_noise_fill(&noise, x, (size_t)n, 0.1);
    *n_pauses = 0;
    for (int64_t at = 0, word = 1; at < n; word++) {
        bool last = word % words == 0;
        int64_t from = at + 5333, to = from + (last ? 9600 : 800);
        for (int64_t i = from; i < to && i < n; i++) x[i] *= 0.003f;
        if (last && to < n) pause[*n_pauses][0] = from, pause[(*n_pauses)++][1] = to;
        at = to;
    }
    return x;
}

/* Pieces are few, and end in pauses between sentences; speech without any is cut nevertheless. */
static void cuts_are_few_and_in_pauses(void)
{
    enum { SECONDS = 600, LEAST = SECONDS / 30 };
    static int64_t pause[SECONDS][2];
    int64_t n = SECONDS * 16000;
    int n_pauses, outside = 0;
    float *x = sentences(n, 9, pause, &n_pauses);
    sound_of s = {x, n, -1};
    es_sound sound = {read_samples, &s, n};
    const es_heard all = {0, SECONDS * 1000};
    es_err err = {0};
    es_cut *c = NULL;
    size_t k = 0;

    OK(es_cut_sound(&c, &k, &sound, &all, 1, -70, &err), err);
    check_cuts(c, k, n / 160);
    CHECK(k >= LEAST && k <= LEAST + LEAST / 8, "%zu pieces of %d s", k, SECONDS);
    for (size_t i = 0; i + 1 < k; i++) {
        bool inside = false;
        for (int p = 0; p < n_pauses && !inside; p++)
            inside = c[i].end * 160 >= pause[p][0] && c[i].end * 160 <= pause[p][1];
        outside += !inside;
        CHECK(c[i].end == c[i + 1].first, "something between %lld and %lld is lost", (long long)c[i].end,
              (long long)c[i + 1].first);
    }
    CHECK_INT(outside, 0);
    CHECK(k && c[0].first == 0 && c[k - 1].end == n / 160, "the ends are lost");
    free(c);

    for (int64_t i = 0; i < n; i++) x[i] = i % 2 ? 0.1f : -0.1f; /* as loud everywhere */
    OK(es_cut_sound(&c, &k, &sound, &all, 1, -70, &err), err);
    check_cuts(c, k, n / 160);
    CHECK(k >= LEAST && k <= LEAST + 1, "%zu pieces of %d s", k, SECONDS);
    free(c);
    free(x);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"cuts", cuts},
        {"cuts_are_few_and_in_pauses", cuts_are_few_and_in_pauses},
        {"language_given", language_given},
        {"language_heard", language_heard},
        {"language_of_each_window", language_of_each_window},
        {"faults_stay_alone", faults_stay_alone},
        {"slots_are_kept_busy", slots_are_kept_busy},
    };
    int rc = es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);

    for (int i = 0; i < FILES; i++) free(samples[i]);
    return rc;
}
