/*
 * test_transcribe.c - recordings to text against reference transcripts, and what those do not show.
 *
 * References: faster-whisper on float32, one JSON file for each recording and setting (A greedy; B with words and the
 * next window after the last word; E English given). Short clean clips must agree token for token. On long ones a token
 * whose two best logits nearly tie may fall the other way and change what follows; there 95 % of the words
 * must agree.
 *
 * The whole set takes minutes; without ES_TEST_LONG=1 the larger model is tried on a few recordings only.
 */
#include "test.h"

#include "base/json.h"
#include "media/decode.h"
#include "pipeline/transcribe.h"
#include "runtime/arena.h"
#include "runtime/plan.h"
#include "runtime/weights.h"
#include "text/unicode.h"

/* ---- a model, ready to transcribe ---- */

typedef struct model {
    es_weights *pack;
    es_bpe *bpe;
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_whisper *whisper;
    es_transcriber *transcriber;
} model;

static void close_model(model *m)
{
    es_transcriber_close(m->transcriber);
    es_whisper_close(m->whisper);
    es_arena_close(m->arena);
    es_plan_close(m->plan);
    es_device_close(m->device);
    es_bpe_close(m->bpe);
    es_weights_close(m->pack);
    *m = (model){0};
}

static bool open_model(model *m, const char *file)
{
    const char *path = es_test_models(file);
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 32, .align = true};
    es_whisper_dims dims;
    es_err err = {0};
    es_fault fault = {0};
    int32_t never[128];
    int rc;

    *m = (model){0};
    if (!path) {
        es_test_skip("a model pack");
        return false;
    }
    if ((rc = es_pack_open(&m->pack, path, &err)) != ES_OK) goto out;
    const es_weight *tokens = es_weights_find(m->pack, "tokenizer.tokens");
    CHECK(tokens != NULL, "%s has no tokenizer.tokens", file);
    if (!tokens || (rc = es_bpe_open(&m->bpe, tokens->p, tokens->bytes, &err)) != ES_OK) goto out;
    if ((rc = es_whisper_dims_read(&dims, m->pack, &err)) != ES_OK) goto out;
    if ((rc = es_plan_open(&m->plan, ES_CPU, 2, &err)) != ES_OK) goto out;
    rc = es_whisper_plan(&m->whisper, m->plan, "whisper", m->pack, &dims, limits, never,
                         (int)es_bpe_non_speech(m->bpe, never, 128), es_bpe_find(m->bpe, " ", 1), &err);
    if (rc != ES_OK || (rc = es_plan_finish(m->plan, 0, &err)) != ES_OK) goto out;
    if ((rc = es_device_open(&m->device, ES_CPU, 0, 2, NULL, &fault)) != 0) goto out;
    if ((rc = es_arena_open(&m->arena, m->plan, m->device, &err)) != ES_OK) goto out;
    if ((rc = es_arena_load(m->arena, &err)) != ES_OK) goto out;
    if ((rc = es_whisper_start(m->whisper, m->arena, &err)) != ES_OK) goto out;
    rc = es_transcriber_open(&m->transcriber, m->whisper, m->bpe, &err);
out:
    CHECK(rc == ES_OK, "%s: %d %s %s", file, rc, err.text, fault.text);
    if (rc != ES_OK || !m->transcriber) close_model(m);
    return m->transcriber != NULL;
}

/* What the references were made with: one temperature, no previous text. */
static es_transcribe_options reference_options(void)
{
    es_transcribe_options o = es_transcribe_defaults();

    o.n_temperatures = 1;
    o.words = false;
    return o;
}

/* ---- references ---- */

typedef struct reference {
    es_json *json;
    const es_json_node *root;
    es_spool *sound;
    es_media_info info;
} reference;

static void close_reference(reference *r)
{
    es_json_close(r->json);
    es_spool_close(r->sound);
    es_media_info_done(&r->info);
    *r = (reference){0};
}

static bool open_reference(reference *r, const char *name, const char *setting, const char *recording)
{
    char path[512];
    es_err err = {0};
    int rc;

    *r = (reference){0};
    snprintf(path, sizeof path, "goldens/asr/%s/%s/%s.json", name, setting, recording);
    const char *file = es_test_data(path);
    if (!file) {
        es_test_skip("goldens/asr");
        return false;
    }
    if ((rc = es_json_read(&r->json, file, 1u << 24, &err)) == ES_OK) {
        r->root = es_json_root(r->json);
        snprintf(path, sizeof path, "audio/%s", es_json_string(es_json_get(r->root, "audio")));
        const char *audio = es_test_data(path);
        CHECK(audio != NULL, "%s is missing", path);
        if (audio) rc = es_media_decode(&r->sound, &r->info, audio, 0, es_test_folder(), NULL, NULL, &err);
    }
    CHECK(rc == ES_OK, "%s: %s", recording, err.text);
    if (rc != ES_OK || !r->sound) close_reference(r);
    return r->sound != NULL;
}

static double number(const es_json_node *o, const char *key)
{
    double v = 0;

    es_json_number(es_json_get(o, key), &v);
    return v;
}

static int64_t ms_of(double seconds)
{
    return llrint(seconds * 1000);
}

/* The tokens of all segments, one after the other. */
static size_t reference_tokens(const reference *r, int32_t *ids, size_t room)
{
    size_t n = 0;

    for (const es_json_node *s = es_json_first(es_json_get(r->root, "segments")); s; s = es_json_next(s))
        for (const es_json_node *t = es_json_first(es_json_get(s, "tokens")); t; t = es_json_next(t)) {
            int64_t id = -1;
            es_json_int(t, 0, 60000, &id);
            if (n < room) ids[n] = (int32_t)id;
            n++;
        }
    return n;
}

/* The reference's text up to where it becomes a guess, and the transcript's of the same time. tiny takes half a minute
 * of German for English; what it makes of that hangs on the last bits of the sound, which is resampled here. */
static void likely_text(const reference *r, const es_transcript *t, char *want, char *have, size_t room)
{
    size_t n = 0, m = 0;
    int64_t until = 0;

    for (const es_json_node *s = es_json_first(es_json_get(r->root, "segments")); s; s = es_json_next(s)) {
        const char *text = es_json_string(es_json_get(s, "text"));
        if (number(s, "avg_logprob") < -1 || n + strlen(text) >= room) break;
        memcpy(want + n, text, strlen(text));
        n += strlen(text);
        until = ms_of(number(s, "end"));
    }
    for (size_t i = 0; i < t->n_segments; i++) {
        const es_segment *g = &t->segments[i];
        if (g->start_ms >= until || m + g->text_bytes >= room) break;
        memcpy(have + m, t->text + g->text_at, g->text_bytes);
        m += g->text_bytes;
    }
    want[n] = have[m] = 0;
}

/* Words as they are compared: between blanks. */
static int split_words(const char *text, size_t n, size_t at[][2], int room)
{
    int count = 0;

    for (size_t i = 0; i < n && count < room;) {
        while (i < n && text[i] == ' ') i++;
        size_t from = i;
        while (i < n && text[i] != ' ') i++;
        if (i > from) at[count][0] = from, at[count][1] = i - from, count++;
    }
    return count;
}

/* Edits between the words of two texts. */
static int word_edits(const char *a, size_t na, const char *b, size_t nb, int *reference_words)
{
    enum { MOST = 1024 };
    static size_t wa[MOST][2], wb[MOST][2];
    static int row[MOST + 1];
    int n = split_words(a, na, wa, MOST), m = split_words(b, nb, wb, MOST);

    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            bool same = wa[i - 1][1] == wb[j - 1][1] && memcmp(a + wa[i - 1][0], b + wb[j - 1][0], wa[i - 1][1]) == 0;
            int best = diagonal + !same;
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    *reference_words = m;
    return row[m];
}

/* ---- comparing ---- */

typedef struct tally {
    int words, late; /* words compared, words whose times differ by more than 40 ms */
    int files, equal;
    double worst_logprob;
} tally;

static bool same_tokens(const es_transcript *t, const int32_t *ids, size_t n)
{
    return t->n_tokens == n && memcmp(t->tokens, ids, n * sizeof *ids) == 0;
}

/* bound: of likelihoods. Where the sound was resampled, another version of the resampler moves them. */
static void compare_segments(const char *name, const es_transcript *t, const reference *r, double bound, tally *sum)
{
    const es_json_node *s = es_json_first(es_json_get(r->root, "segments"));
    size_t i = 0;
    int64_t duration = r->info.duration_ms;

    for (; s && i < t->n_segments; s = es_json_next(s), i++) {
        const es_segment *have = &t->segments[i];
        const char *text = es_json_string(es_json_get(s, "text"));
        int64_t start = ms_of(number(s, "start")), end = ms_of(number(s, "end"));
        CHECK(have->text_bytes == strlen(text) && memcmp(t->text + have->text_at, text, have->text_bytes) == 0,
              "%s, segment %zu: \"%.*s\", expected \"%s\"", name, i, (int)have->text_bytes, t->text + have->text_at,
              text);
        if (have->n_words == 0) {
            CHECK(have->start_ms == (start < duration ? start : duration) &&
                      have->end_ms == (end < duration ? end : duration),
                  "%s, segment %zu: %lld to %lld ms, expected %lld to %lld", name, i, (long long)have->start_ms,
                  (long long)have->end_ms, (long long)start, (long long)end);
        }
        double off = fabs((double)have->avg_logprob - number(s, "avg_logprob"));
        if (off > sum->worst_logprob) sum->worst_logprob = off;
        CHECK(off < bound, "%s, segment %zu: avg_logprob %g, expected %g", name, i, (double)have->avg_logprob,
              number(s, "avg_logprob"));
        CHECK(fabs((double)have->no_speech - number(s, "no_speech_prob")) < bound,
              "%s, segment %zu: no_speech %g, expected %g", name, i, (double)have->no_speech,
              number(s, "no_speech_prob"));
        CHECK(fabs((double)have->compression_ratio - number(s, "compression_ratio")) < 1e-4,
              "%s, segment %zu: compression %g, expected %g", name, i, (double)have->compression_ratio,
              number(s, "compression_ratio"));
        size_t k = 0;
        for (const es_json_node *w = es_json_first(es_json_get(s, "words")); w && k < have->n_words;
             w = es_json_next(w), k++) {
            const es_word *word = &t->words[have->first_word + k];
            const es_json_node *from = es_json_first(w), *to = es_json_next(from), *said = es_json_next(to);
            double a = 0, b = 0;
            es_json_number(from, &a);
            es_json_number(to, &b);
            const char *wanted = es_json_string(said);
            CHECK(word->text_bytes == strlen(wanted) && memcmp(t->text + word->text_at, wanted, word->text_bytes) == 0,
                  "%s, segment %zu, word %zu: \"%.*s\", expected \"%s\"", name, i, k, (int)word->text_bytes,
                  t->text + word->text_at, wanted);
            sum->words++;
            sum->late += llabs(word->start_ms - ms_of(a)) > 40 || llabs(word->end_ms - ms_of(b)) > 40;
        }
    }
    CHECK(!s && i == t->n_segments, "%s: %zu segments", name, t->n_segments);
}

static void compare(model *m, const char *name, const char *setting, const char *recording, bool exact, tally *sum)
{
    es_transcribe_options o = reference_options();
    es_transcript t = {0};
    static int32_t ids[8192];
    reference r;
    es_err err = {0};
    char label[128];

    snprintf(label, sizeof label, "%s %s %s", name, setting, recording);
    if (!open_reference(&r, name, setting, recording)) return;
    o.words = o.seek_words = setting[0] == 'B';
    if (setting[0] == 'E') o.language = "en";
    es_sound sound = es_sound_of(r.sound);
    int rc = es_transcribe(m->transcriber, &sound, &o, &t, &err);
    CHECK(rc == ES_OK, "%s: %s", label, err.text);
    size_t n = reference_tokens(&r, ids, 8192);
    const char *language = es_json_string(es_json_get(r.root, "language"));
    CHECK(language && strcmp(t.language, language) == 0, "%s: language %s, expected %s", label, t.language, language);
    sum->files++;
    if (same_tokens(&t, ids, n)) {
        sum->equal++;
        compare_segments(label, &t, &r, exact ? 2e-4 : 1e-2, sum);
        CHECK(fabs((double)t.language_probability - number(r.root, "language_probability")) < 0.02 || setting[0] == 'E',
              "%s: language probability %g, expected %g", label, (double)t.language_probability,
              number(r.root, "language_probability"));
    } else {
        static char have[8192], want[8192];
        likely_text(&r, &t, want, have, sizeof want);
        int words, edits = word_edits(have, strlen(have), want, strlen(want), &words);
        if (getenv("ES_TEST_VERBOSE"))
            printf("    %s: %d of %d words differ\n      %s\n      %s\n", label, edits, words, have, want);
        CHECK(!exact, "%s: %zu tokens, expected the same %zu; \"%s\"", label, t.n_tokens, n, have);
        CHECK(words > 0 && edits * 20 <= words, "%s: %d of %d words differ", label, edits, words);
    }
    es_transcript_done(&t);
    close_reference(&r);
}

/* jfk and the read-aloud clips are clean; the others are long, noisy or in another language than they seem. */
static const struct {
    const char *name;
    bool exact, quick; /* quick: also for the larger model without ES_TEST_LONG */
} recordings[] = {
    {"jfk", true, true},
    {"short", true, true},
    {"mr_quilter_1272-128104-0000", true, false},
    {"sense_and_sensibility_01_austen_64kb-0870", true, false},
    {"sense_and_sensibility_01_austen_64kb-0880", true, true},
    {"sense_and_sensibility_01_austen_64kb-0890", true, false},
    {"1688-142285-0000", true, true},
    {"1688-142285-0001", true, false},
    {"1688-142285-0003", true, false},
    {"1998-15444-0000", true, false},
    {"1998-15444-0001", true, false},
    {"1998-15444-0003", true, false},
    {"2033-164914-0000", true, false},
    {"2033-164914-0001", true, false},
    {"2033-164914-0003", true, false},
    {"es_test_clip", true, false},
    {"dev00", false, false},
    {"mix3", false, true},
    {"en_de_multilingual", false, false},
    {"sample", false, false},
};

static void compare_all(const char *name, const char *setting, bool quick)
{
    model m;
    tally sum = {0};
    char file[64];

    snprintf(file, sizeof file, "%s.pack", name);
    if (!open_model(&m, file)) return;
    for (size_t i = 0; i < sizeof recordings / sizeof *recordings; i++) {
        if (quick && !recordings[i].quick && !getenv("ES_TEST_LONG")) continue;
        compare(&m, name, setting, recordings[i].name, recordings[i].exact, &sum);
    }
    if (getenv("ES_TEST_VERBOSE"))
        printf("    %s %s: %d of %d files equal, %d of %d words later than 40 ms, log-probability within %g\n", name,
               setting, sum.equal, sum.files, sum.late, sum.words, sum.worst_logprob);
    if (setting[0] == 'B')
        CHECK(sum.words > 50 && sum.late * 20 <= sum.words, "%d of %d words are off by more than 40 ms", sum.late,
              sum.words);
    close_model(&m);
}

static void tiny_greedy(void)
{
    compare_all("whisper-tiny", "A", false);
}

static void tiny_words(void)
{
    compare_all("whisper-tiny", "B", true);
}

static void base_greedy(void)
{
    compare_all("whisper-base", "A", true);
}

static void base_words(void)
{
    compare_all("whisper-base", "B", true);
}

static void base_language_given(void)
{
    model m;
    tally sum = {0};

    if (!open_model(&m, "whisper-base.pack")) return;
    compare(&m, "whisper-base", "E", "2033-164914-0001", true, &sum);
    close_model(&m);
}

/* ---- what the references do not show ---- */

/* A recording made of samples. */
static int run_samples(model *m, const float *x, int64_t n, const es_transcribe_options *o, es_transcript *t,
                       es_err *err)
{
    es_spool *spool = NULL;
    int rc = es_spool_from(&spool, x, n, err);

    *t = (es_transcript){0};
    if (rc == ES_OK) {
        es_sound sound = es_sound_of(spool);
        rc = es_transcribe(m->transcriber, &sound, o, t, err);
    }
    es_spool_close(spool);
    return rc;
}

/* jfk, eleven seconds of speech; the caller frees. */
static float *speech(int64_t *n)
{
    const char *path = es_test_data("audio/jfk/jfk.wav");
    es_media_info info = {0};
    es_spool *spool = NULL;
    es_err err = {0};
    float *x = NULL;

    if (!path) {
        es_test_skip("audio/jfk");
        return NULL;
    }
    if (es_media_decode(&spool, &info, path, 0, es_test_folder(), NULL, NULL, &err) == ES_OK) {
        *n = es_spool_samples(spool);
        x = malloc((size_t)*n * sizeof *x);
        CHECK_INT(es_spool_read(spool, 0, *n, x, &err), ES_OK);
    }
    CHECK(x != NULL, "%s", err.text);
    es_spool_close(spool);
    es_media_info_done(&info);
    return x;
}

typedef struct watch {
    int calls, cancel_at;
    int64_t last, all;
    bool backwards;
    char what[32];
} watch;

static int watch_progress(void *user, const char *what, int64_t done_ms, int64_t all_ms)
{
    watch *w = user;

    if (strcmp(w->what, what) != 0) snprintf(w->what, sizeof w->what, "%s", what), w->last = 0;
    w->backwards = w->backwards || done_ms < w->last || done_ms > all_ms;
    w->last = done_ms;
    w->all = all_ms;
    return ++w->calls == w->cancel_at;
}

/* Sound below the limit never reaches the model: no segments, no language, also from a whole minute of faint noise. */
static void quiet(void)
{
    model m;
    int64_t n = 60 * 16000 + 77;
    float *x = calloc((size_t)n, sizeof *x);
    es_transcribe_options o = es_transcribe_defaults();
    es_transcript t;
    es_err err = {0};
    es_noise noise = {11};
    watch w = {0};

    if (!open_model(&m, "whisper-tiny.pack")) {
        free(x);
        return;
    }
    o.progress = watch_progress, o.user = &w;
    for (int64_t i = 0; i < n; i++) x[i] = (float)(es_noise_uniform(&noise) * 6e-4 - 3e-4);
    CHECK_INT(run_samples(&m, x, n, &o, &t, &err), ES_OK);
    CHECK(t.n_segments == 0 && t.n_text == 0 && t.language[0] == 0, "%zu segments", t.n_segments);
    CHECK(w.calls == 5 && w.last == w.all && w.all == 60004 && !w.backwards, "%d calls, %lld of %lld ms", w.calls,
          (long long)w.last, (long long)w.all);
    es_transcript_done(&t);
    /* Nothing at all, and less than one frame. */
    for (int64_t few = 0; few <= 159; few += 159) {
        CHECK_INT(run_samples(&m, x, few, &o, &t, &err), ES_OK);
        CHECK_INT(t.n_segments, 0);
        es_transcript_done(&t);
    }
    /* One frame of loud sound is decoded, whatever the model makes of it, and its times stay inside. */
    for (int i = 0; i < 160; i++) x[i] = (float)(es_noise_uniform(&noise) - 0.5);
    CHECK_INT(run_samples(&m, x, 160, &o, &t, &err), ES_OK);
    for (size_t i = 0; i < t.n_segments; i++) CHECK(t.segments[i].end_ms <= 10);
    es_transcript_done(&t);
    close_model(&m);
    free(x);
}

/* Speech after half a minute of nothing, and of noise: found where it is, and its language with it. */
static void speech_later(void)
{
    model m;
    int64_t n, before = 33 * 16000;
    float *x = speech(&n), *late;
    es_transcribe_options o = es_transcribe_defaults();
    es_transcript t = {0};
    es_err err = {0};
    es_noise noise = {23};

    if (!x || !open_model(&m, "whisper-tiny.pack")) {
        free(x);
        return;
    }
    late = calloc((size_t)(before + n), sizeof *late);
    memcpy(late + before, x, (size_t)n * sizeof *x);
    for (int noisy = 0; noisy < 2; noisy++) {
        if (noisy) es_noise_fill(&noise, late, (size_t)before, 0.09);
        CHECK_INT(run_samples(&m, late, before + n, &o, &t, &err), ES_OK);
        CHECK(t.n_segments >= 1 && t.n_words > 15, "%zu segments, %zu words", t.n_segments, t.n_words);
        CHECK_STR(t.language, "en");
        for (size_t i = 0; i < t.n_words; i++) {
            const es_word *word = &t.words[i];
            CHECK(word->start_ms >= 33000 && word->end_ms >= word->start_ms && word->end_ms <= 44000,
                  "word %zu: %lld to %lld ms", i, (long long)word->start_ms, (long long)word->end_ms);
        }
        es_transcript_done(&t);
    }
    close_model(&m);
    free(late);
    free(x);
}

static bool same_transcript(const es_transcript *a, const es_transcript *b)
{
    return a->n_text == b->n_text && memcmp(a->text, b->text, a->n_text) == 0 && a->n_tokens == b->n_tokens &&
           memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens) == 0;
}

/* Sampling hangs on the recording and the window alone: not on what came before. What the model cannot serve fails. */
static void options(void)
{
    model m;
    int64_t n;
    float *x = speech(&n);
    es_transcribe_options o = reference_options(), sampled = reference_options();
    es_transcript greedy, first, again, other;
    es_err err = {0};
    watch w = {.cancel_at = 2};

    if (!x || !open_model(&m, "whisper-tiny.pack")) {
        free(x);
        return;
    }
    sampled.temperature[0] = 1.5f;
    CHECK_INT(run_samples(&m, x, n, &o, &greedy, &err), ES_OK);
    CHECK_INT(run_samples(&m, x, n, &sampled, &first, &err), ES_OK);
    sampled.content.b[0] = 1;
    CHECK_INT(run_samples(&m, x, n, &sampled, &other, &err), ES_OK);
    sampled.content.b[0] = 0;
    CHECK_INT(run_samples(&m, x, n, &sampled, &again, &err), ES_OK);
    CHECK(same_transcript(&first, &again));
    CHECK(!same_transcript(&first, &other) && !same_transcript(&first, &greedy));
    es_transcript_done(&first), es_transcript_done(&again), es_transcript_done(&other);

    /* Words do not change the text. */
    o.words = true;
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_OK);
    CHECK(first.n_tokens == greedy.n_tokens && first.n_words == 22, "%zu words", first.n_words);
    es_transcript_done(&first);
    /* A prompt is heard: after one that begins in the middle of something, the sentence begins in lower case. */
    o.prompt = "Fellow Americans, country";
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_OK);
    CHECK(first.n_words == 22 && memcmp(first.text, " and so", 7) == 0, "%.*s", (int)first.n_text, first.text);
    es_transcript_done(&first);
    o.prompt = NULL;
    /* Without timestamps: one segment for the window. */
    o.timestamps = o.words = false;
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_OK);
    CHECK(first.n_segments == 1 && first.segments[0].end_ms == 11000);
    es_transcript_done(&first);
    o.timestamps = true;

    static const struct {
        const char *language, *says;
        int temperatures;
        float temperature;
    } refused[] = {
        {"klingon", "klingon", 1, 0}, {"yue", "99", 1, 0}, {"en", "0 temperatures", 0, 0}, {"en", "-1", 1, -1}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        err = (es_err){0};
        o.language = refused[i].language;
        o.n_temperatures = refused[i].temperatures;
        o.temperature[0] = refused[i].temperature;
        CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_EARG);
        CHECK(strstr(err.text, refused[i].says), "%s", err.text);
        es_transcript_done(&first);
    }
    o = reference_options();
    o.language = "German";
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_OK);
    CHECK_STR(first.language, "de");
    es_transcript_done(&first);

    /* Cancelled between windows; the model serves the next recording as if nothing had happened. */
    err = (es_err){0};
    o = reference_options();
    o.progress = watch_progress, o.user = &w;
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_ECANCELLED);
    es_transcript_done(&first);
    o.progress = NULL;
    CHECK_INT(run_samples(&m, x, n, &o, &first, &err), ES_OK);
    CHECK(same_transcript(&first, &greedy));
    es_transcript_done(&first), es_transcript_done(&greedy);
    close_model(&m);
    free(x);
}

static bool has_text(const es_transcript *t, const char *part)
{
    size_t k = strlen(part);

    for (size_t i = 0; i + k <= t->n_text; i++)
        if (memcmp(t->text + i, part, k) == 0) return true;
    return false;
}

/* English for half a minute, then German. Detected once, the second half is taken for English or left out; detected for
 * each window, it is German. */
static void each_language(void)
{
    model m;
    reference r;
    es_transcribe_options o = es_transcribe_defaults();
    es_transcript t = {0};
    es_err err = {0};

    if (!open_reference(&r, "whisper-base", "A", "en_de_multilingual")) return;
    if (!open_model(&m, "whisper-base.pack")) {
        close_reference(&r);
        return;
    }
    es_sound sound = es_sound_of(r.sound);
    o.language = "each";
    CHECK_INT(es_transcribe(m.transcriber, &sound, &o, &t, &err), ES_OK);
    CHECK_STR(t.language, "en");
    CHECK(t.n_segments > 5 && strcmp(t.segments[t.n_segments - 1].language, "de") == 0);
    CHECK(has_text(&t, "Permission is hereby granted") && has_text(&t, "Jeden, der diese Software"));
    int64_t german = 0, last = 0;
    for (size_t i = 0; i < t.n_segments; i++) {
        const es_segment *g = &t.segments[i];
        if (strcmp(g->language, "de") == 0) german += g->end_ms - g->start_ms;
        CHECK(g->start_ms >= last - 1000 && g->end_ms <= r.info.duration_ms, "segment %zu starts at %lld ms", i,
              (long long)g->start_ms);
        last = g->end_ms;
    }
    CHECK(german > 20000, "%lld ms of German", (long long)german);
    es_transcript_done(&t);
    /* Spanish, into English. */
    close_reference(&r);
    if (open_reference(&r, "whisper-base", "A", "es_test_clip")) {
        sound = es_sound_of(r.sound);
        o.language = NULL, o.translate = true;
        CHECK_INT(es_transcribe(m.transcriber, &sound, &o, &t, &err), ES_OK);
        CHECK_STR(t.language, "es");
        CHECK(has_text(&t, "are public domain") || has_text(&t, "in the public domain"), "%.*s", (int)t.n_text, t.text);
        es_transcript_done(&t);
    }
    close_model(&m);
    close_reference(&r);
}

/* Told what was said before, the second window writes a name as the first did; the text stays the same otherwise. */
static void previous_text(void)
{
    model m;
    reference r;
    es_transcribe_options o = reference_options();
    es_transcript alone = {0}, told = {0};
    es_err err = {0};

    if (!open_reference(&r, "whisper-base", "A", "mix3")) return;
    if (!open_model(&m, "whisper-base.pack")) {
        close_reference(&r);
        return;
    }
    es_sound sound = es_sound_of(r.sound);
    CHECK_INT(es_transcribe(m.transcriber, &sound, &o, &alone, &err), ES_OK);
    o.previous_text = true;
    CHECK_INT(es_transcribe(m.transcriber, &sound, &o, &told, &err), ES_OK);
    CHECK(has_text(&alone, "Mr. Hale") && has_text(&alone, "Mr Thornton"));
    CHECK(has_text(&told, "Mr. Hale") && has_text(&told, "Mr. Thornton"));
    es_transcript_done(&alone), es_transcript_done(&told);
    close_model(&m);
    close_reference(&r);
}

/* The segments' texts, words in lower case without signs, joined by one blank. */
static size_t plain_words(const es_transcript *t, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_segments; i++) {
        const es_segment *g = &t->segments[i];
        for (size_t k = 0; k < g->text_bytes && n + 2 < room; k++) {
            char c = t->text[g->text_at + k];
            if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
            if ((c >= 'a' && c <= 'z') || (c == ' ' && n && out[n - 1] != ' ')) out[n++] = c;
        }
        if (n && out[n - 1] != ' ') out[n++] = ' ';
    }
    out[n] = 0;
    return n;
}

/* Greedy decoding of this telephone call writes timestamps of whole seconds, says half of the dialogue twice to fill
 * the time, and at some temperatures closes at half the time and hears the rest again. */
static void said_once(void)
{
    enum { PHRASE = 5 };
    model m;
    reference r;
    es_err err = {0};
    static char text[4096];
    static size_t at[1024][2];
    static const float temperature[] = {-1, 0, 0.2f, 0.4f}; /* -1: as they come */

    if (!open_reference(&r, "whisper-base", "A", "sample")) return;
    if (!open_model(&m, "whisper-base.pack")) {
        close_reference(&r);
        return;
    }
    for (size_t i = 0; i < sizeof temperature / sizeof *temperature; i++) {
        es_transcribe_options o = es_transcribe_defaults();
        es_transcript t = {0};
        if (temperature[i] >= 0) o.n_temperatures = 1, o.temperature[0] = temperature[i];
        o.content.b[0] = 1;
        es_sound sound = es_sound_of(r.sound);
        CHECK_INT(es_transcribe(m.transcriber, &sound, &o, &t, &err), ES_OK);
        size_t bytes = plain_words(&t, text, sizeof text);
        int n = split_words(text, bytes, at, 1024);
        CHECK(n > 60, "%d words", n);
        /* Both are "originally from Chicago" and one is "in New Jersey now" twice; no five words occur twice. */
        int twice = 0;
        for (int a = 0; a + PHRASE <= n; a++) {
            size_t length = at[a + PHRASE - 1][0] + at[a + PHRASE - 1][1] - at[a][0];
            for (int b = a + 1; b + PHRASE <= n; b++)
                if (at[b + PHRASE - 1][0] + at[b + PHRASE - 1][1] - at[b][0] == length &&
                    memcmp(text + at[a][0], text + at[b][0], length) == 0) {
                    twice++;
                    if (getenv("ES_TEST_VERBOSE")) printf("    twice: %.*s\n", (int)length, text + at[a][0]);
                }
        }
        CHECK(twice == 0, "at temperature %g, %d phrases of %d words are said twice: %s", (double)temperature[i], twice,
              PHRASE, text);
        es_transcript_done(&t);
        if (!getenv("ES_TEST_LONG") && i == 0) i++; /* the first temperature is 0 already */
    }
    close_model(&m);
    close_reference(&r);
}

static const es_test tests[] = {
    {"quiet", quiet},
    {"speech_later", speech_later},
    {"options", options},
    {"each_language", each_language},
    {"previous_text", previous_text},
    {"said_once", said_once},
    {"tiny_greedy", tiny_greedy},
    {"tiny_words", tiny_words},
    {"base_greedy", base_greedy},
    {"base_words", base_words},
    {"base_language_given", base_language_given},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
