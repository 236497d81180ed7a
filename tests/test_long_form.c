/*
 * test_long_form.c - what the reference transcripts do not show: quiet and noise, languages that change, prompts, what
 * is refused, cancelling, sampling that repeats, and speech that the model says twice.
 */
#include "speech.h"

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
        es_test_skip("ES_TEST_DATA: audio/jfk");
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

    /* Samples that are no numbers are silence: a few of them leave the words as they are. */
    float *broken = malloc((size_t)n * sizeof *broken);
    memcpy(broken, x, (size_t)n * sizeof *x);
    for (int64_t i = 170000; i < 170020; i++) broken[i] = NAN;
    CHECK_INT(run_samples(&m, broken, n, &o, &first, &err), ES_OK);
    CHECK_STR(first.language, "de");
    es_transcript_done(&first);
    o = reference_options();
    CHECK_INT(run_samples(&m, broken, n, &o, &first, &err), ES_OK);
    CHECK(same_transcript(&first, &greedy), "%.*s", (int)first.n_text, first.text);
    es_transcript_done(&first);
    broken[1000] = INFINITY, broken[2000] = -3e38f;
    CHECK_INT(run_samples(&m, broken, n, &o, &first, &err), ES_OK);
    for (size_t i = 0; i < first.n_segments; i++) CHECK(isfinite(first.segments[i].avg_logprob));
    es_transcript_done(&first);
    free(broken);

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
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
