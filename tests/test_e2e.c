/*
 * test_e2e.c - the whole road through the public door: a file in, a record out, found and exported again.
 *
 * What structure can show is shown with a seeded model whose words mean nothing; what speech can show needs the real
 * packs (ES_TEST_MODELS) and recordings (ES_TEST_DATA).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "earshot.h"
#include "files.h"
#include "pipeline/ingest.h"
#include "pipeline/session/session.h"
#include "seeded.h"
#include "store/store.h"
#include "test.h"
#include "text/words.h"

/* ---- a seeded model and noise ---- */

static void setup(void)
{
    CHECK(es_seeded_whisper_write(at("small.pack"), &es_seeded_small) == 0, "cannot write a pack");
}

static float *noise(int64_t n)
{
    es_noise source = {42};
    float *x = malloc((size_t)n * sizeof *x);

    for (int64_t i = 0; x && i < n; i++)
        x[i] = rintf((float)es_noise_normal(&source) * 3000) / 32768.0f; /* as s16 holds it */
    return x;
}

static es_engine *engine_open(const char *models)
{
    es_engine_options o = ES_ENGINE_OPTIONS;
    es_engine *e = NULL;
    es_error error = {0};

    o.models = models;
    o.device = "cpu";
    CHECK(es_engine_open(&e, &o, &error) == ES_DONE, "%s", error.text);
    return e;
}

static es_library *library_open(const char *path)
{
    es_library *l = NULL;
    es_error error = {0};

    CHECK(es_library_open(&l, path, ES_LIBRARY_CREATE, &error) == ES_DONE, "%s", error.text);
    return l;
}

/* ---- events ---- */

typedef struct heard {
    int kinds[6];
    double last_fraction;
    bool backwards, out_of_range;
    int cancel_after; /* progress events; 0: never */
    size_t last_index;
    char text[1024];
} heard;

static int hear(void *user, const es_event *e)
{
    heard *h = user;

    h->kinds[e->kind]++;
    if (e->kind == ES_EVENT_START) h->last_fraction = 0;
    if (e->kind == ES_EVENT_PROGRESS) {
        if (e->fraction < h->last_fraction) h->backwards = true;
        if (!(e->fraction >= 0 && e->fraction <= 1) || e->index >= e->count) h->out_of_range = true;
        h->last_fraction = e->fraction;
        if (h->cancel_after && h->kinds[ES_EVENT_PROGRESS] >= h->cancel_after) return 1;
    }
    if (e->text) snprintf(h->text, sizeof h->text, "%s", e->text);
    h->last_index = e->index;
    return 0;
}

static void test_events(void)
{
    es_ingest_options o = ES_INGEST_OPTIONS;
    es_speech_options speech = ES_SPEECH_OPTIONS;
    es_ingest_report r;
    es_error error = {0};
    heard h = {0};

    setup();
    speech.temperature = 0;
    o.speech = &speech;
    float *x = noise(20 * 16000);
    write_speech_wav(at("a.wav"), x, 20 * 16000);
    write_speech_wav(at("b.wav"), x, 5 * 16000);
    es_engine *e = engine_open(at("small.pack"));
    es_library *l = library_open(at("lib"));
    const char *paths[] = {at("a.wav"), at("nothing.wav"), at("b.wav")};
    CHECK(es_engine_ingest(e, l, paths, 3, &o, hear, &h, &r, &error) == ES_DONE, "%s", error.text);
    CHECK(r.files == 3 && r.stored == 2 && r.failed == 1 && r.known == 0, "%zu files, %zu stored, %zu failed", r.files,
          r.stored, r.failed);
    CHECK_INT(r.audio_ms, 25000);
    CHECK_INT(h.kinds[ES_EVENT_START], 3);
    CHECK_INT(h.kinds[ES_EVENT_STORED], 2);
    CHECK_INT(h.kinds[ES_EVENT_FAILED], 1);
    CHECK(h.kinds[ES_EVENT_PROGRESS] >= 2, "%d progress events", h.kinds[ES_EVENT_PROGRESS]);
    CHECK(!h.backwards && !h.out_of_range, "progress went back or out of range");

    h = (heard){0};
    CHECK(es_engine_ingest(e, l, paths, 1, &o, hear, &h, &r, &error) == ES_DONE && r.known == 1, "%s", error.text);
    CHECK_INT(h.kinds[ES_EVENT_KNOWN], 1);
    CHECK_STR(h.text, "known");

    /* A listener that says no ends the call, and what was there stays as it was. */
    h = (heard){.cancel_after = 2};
    o.again = true;
    CHECK_INT(es_engine_ingest(e, l, paths, 3, &o, hear, &h, &r, &error), ES_CANCELLED);
    CHECK_INT(r.stored, 0);
    es_library_report whole;
    CHECK(es_library_check(l, &whole, NULL, NULL, &error) == ES_DONE && whole.faults == 0 && whole.recordings == 2,
          "%llu recordings, %llu faults", (unsigned long long)whole.recordings, (unsigned long long)whole.faults);
    es_library_close(l);
    /* One that is open for reading only takes nothing. */
    l = NULL;
    CHECK(es_library_open(&l, at("lib"), ES_LIBRARY_READ_ONLY, &error) == ES_DONE, "%s", error.text);
    CHECK_INT(es_engine_ingest(e, l, paths, 1, &o, hear, &h, &r, &error), ES_BAD_LIBRARY);
    CHECK(strstr(error.text, "reading only"), "%s", error.text);
    es_library_close(l);
    es_engine_close(e);
    free(x);
}

static int note_recording(void *user, const es_recording *r)
{
    es_recording *to = user;

    *to = *r;
    to->path = to->asr = to->settings = to->container = NULL; /* gone after the call */
    CHECK_STR(r->asr, "small");
    CHECK_STR(r->container, "wav");
    CHECK(strstr(r->settings, "\"temperature\":"), "%s", r->settings);
    return 0;
}

/* Samples and the file that holds them give the same words, word for word and millisecond for millisecond. */
static void test_samples(void)
{
    es_speech_options speech = ES_SPEECH_OPTIONS;
    es_ingest_options o = ES_INGEST_OPTIONS;
    es_subtitle_options subtitles = ES_SUBTITLE_OPTIONS;
    es_speech *from_samples = NULL, *from_file = NULL;
    es_recording recording = {0};
    es_error error = {0};
    heard h = {0};
    enum { N = 40 * 16000 };

    setup();
    speech.temperature = 0;
    speech.language = "en";
    o.speech = &speech;
    float *x = noise(N);
    write_speech_wav(at("a.wav"), x, N);
    es_engine *e = engine_open(at("small.pack"));
    es_library *l = library_open(at("lib"));
    const char *path = at("a.wav");
    CHECK(es_engine_ingest(e, l, &path, 1, &o, NULL, NULL, NULL, &error) == ES_DONE, "%s", error.text);
    CHECK(es_engine_transcribe(e, &from_samples, x, N, &speech, hear, &h, &error) == ES_DONE, "%s", error.text);
    CHECK(es_library_find(l, "a.wav", note_recording, &recording, &from_file, &error) == ES_DONE, "%s", error.text);
    if (from_samples && from_file) {
        CHECK(recording.duration_ms == 40000 && recording.sample_rate == 16000 && recording.channels == 1, "%lld ms",
              (long long)recording.duration_ms);
        CHECK_INT(es_speech_segments(from_samples), es_speech_segments(from_file));
        CHECK_INT(es_speech_words(from_samples), es_speech_words(from_file));
        CHECK(es_speech_words(from_samples) > 0, "the seeded model says nothing: the comparison is empty");
        CHECK_STR(es_speech_language(from_file), "en");
        for (size_t i = 0; i < es_speech_words(from_file); i++) {
            es_word_view a, b;
            CHECK(es_speech_word(from_samples, i, &a) == ES_DONE && es_speech_word(from_file, i, &b) == ES_DONE,
                  "no word");
            CHECK(a.start_ms == b.start_ms && a.end_ms == b.end_ms && a.text_bytes == b.text_bytes &&
                      !memcmp(a.text, b.text, a.text_bytes),
                  "word %zu differs", i);
        }
        es_segment_view view;
        CHECK_INT(es_speech_segment(from_file, es_speech_segments(from_file), &view), ES_BAD_ARGUMENT);
        char *a = NULL, *b = NULL;
        size_t n_a = 0, n_b = 0;
        for (int i = 0; es_speech_format(i); i++) {
            const char *format = es_speech_format(i);
            CHECK(es_speech_export(from_file, format, &subtitles, &a, &n_a, &error) == ES_DONE && n_a == strlen(a),
                  "%s", error.text);
            CHECK(es_speech_export(from_file, format, NULL, &b, &n_b, &error) == ES_DONE && n_a == n_b &&
                      !memcmp(a, b, n_a),
                  "%s differs", format);
            es_free(a), es_free(b);
        }
        CHECK_INT(es_speech_export(from_file, "doc", NULL, &a, &n_a, &error), ES_BAD_ARGUMENT);
    }
    CHECK(h.kinds[ES_EVENT_PROGRESS] > 0 && !h.out_of_range, "no progress was told");
    es_speech_close(from_samples);
    CHECK_INT(es_engine_transcribe(e, &from_samples, x, N, &speech, hear, &(heard){.cancel_after = 1}, &error),
              ES_CANCELLED);
    CHECK(!from_samples, "a cancelled call gave something");
    CHECK(es_engine_transcribe(e, &from_samples, NULL, 0, &speech, NULL, NULL, &error) == ES_DONE, "%s", error.text);
    CHECK_INT(es_speech_segments(from_samples), 0);
    es_speech_close(from_samples);
    es_speech_close(from_file);
    es_library_close(l);
    es_engine_close(e);
    free(x);
}

/* A program built against another version of the header: its structs are shorter, or longer. */
static void test_struct_sizes(void)
{
    struct {
        es_engine_options o;
        char later[64];
    } longer = {.o = ES_ENGINE_OPTIONS};
    es_engine_options shorter = ES_ENGINE_OPTIONS, none = ES_ENGINE_OPTIONS;
    es_engine *e = NULL;
    es_error error = {0};

    setup();
    memset(longer.later, 0xFF, sizeof longer.later);
    longer.o.size = sizeof longer;
    longer.o.models = at("small.pack");
    CHECK(es_engine_open(&e, &longer.o, &error) == ES_DONE, "%s", error.text);
    es_engine_close(e);
    shorter.models = at("small.pack");
    shorter.size = offsetof(es_engine_options, asr);
    shorter.asr = "not to be read";
    shorter.threads = -5;
    CHECK(es_engine_open(&e, &shorter, &error) == ES_DONE, "%s", error.text);
    es_engine_close(e);
    none.size = 0;
    CHECK_INT(es_engine_open(&e, &none, &error), ES_BAD_ARGUMENT);
    CHECK(!e && strstr(error.text, "es_engine_options"), "%s", error.text);
    CHECK_INT(es_version_number(), ES_VERSION_NUMBER);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", ES_VERSION_MAJOR, ES_VERSION_MINOR, ES_VERSION_PATCH);
    CHECK_STR(es_version_text(), version);
    es_engine_close(NULL), es_library_close(NULL), es_speech_close(NULL), es_free(NULL);
}

static void test_plans(void)
{
    es_engine_options o = ES_ENGINE_OPTIONS;
    es_error error = {0};
    char *text = NULL;
    size_t n = 0;

    setup();
    o.device = "cuda";
    o.budget = 16000000000u;
    CHECK(es_engine_plan(&o, "distil-large-v3,tiny", "text", &text, &n, &error) == ES_DONE, "%s", error.text);
    CHECK(text && strstr(text, "distil-large-v3") && strstr(text, "arena"), "%s", text ? text : "");
    es_free(text);
    CHECK(es_engine_plan(&o, "large-v3", "json", &text, &n, &error) == ES_DONE && text[0] == '{', "%s", error.text);
    es_free(text);
    CHECK(es_engine_plan(&o, "base", "svg", &text, &n, &error) == ES_DONE && strstr(text, "<svg"), "%s", error.text);
    es_free(text);
    o.budget = 1000000;
    CHECK_INT(es_engine_plan(&o, "base", "text", &text, &n, &error), ES_OVER_BUDGET);
    CHECK(!text, "a plan that does not fit was printed");
    CHECK_INT(es_engine_plan(&o, "basic", "text", &text, &n, &error), ES_BAD_ARGUMENT);
    CHECK_INT(es_engine_plan(&o, "", "text", &text, &n, &error), ES_BAD_ARGUMENT);
    o.budget = 0;
    o.device = "cpu";
    o.models = at("small.pack");
    CHECK(es_engine_plan(&o, NULL, "text", &text, &n, &error) == ES_DONE && strstr(text, "small"), "%s", error.text);
    es_free(text);
}

/* ---- no allocation while a recording runs ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#else
#define SANITIZED 1
#endif

#ifndef SANITIZED
static bool counting;
static long n_allocations;

/* Counts calls from our own code: return addresses inside this program, not inside a shared library (FFmpeg, zlib). The
 * promise is that of kernels, runtime, audio and models; the one function of the text room that takes work memory for
 * each text is left out by its address. */
static void count(const void *from)
{
    static const void *base;
    const uintptr_t text = (uintptr_t)&es_text_longest_repeat, at_byte = (uintptr_t)from;
    Dl_info info;

    if (!counting) return;
    counting = false;
    if (!base && dladdr((void *)(uintptr_t)&setup, &info)) base = info.dli_fbase;
    bool of_text = at_byte >= text && at_byte < text + 4096;
    if (!of_text && dladdr(from, &info) && info.dli_fbase == base) n_allocations++;
    counting = true;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t m);
void *realloc(void *p, size_t n);

void *malloc(size_t n)
{
    count(__builtin_return_address(0));
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
    count(__builtin_return_address(0));
    return __libc_calloc(n, m);
}

void *realloc(void *p, size_t n)
{
    count(__builtin_return_address(0));
    return __libc_realloc(p, n);
}
#endif

typedef struct tape {
    const float *x;
    int64_t n;
} tape;

static int read_tape(void *user, int64_t first, int64_t n, float *out, es_err *err)
{
    const tape *t = user;

    (void)err;
    for (int64_t i = 0; i < n; i++) out[i] = first + i >= 0 && first + i < t->n ? t->x[first + i] : 0;
    return ES_OK;
}

static void test_no_allocation(void)
{
    const es_session_options options = {.models = NULL, .device = "cpu"};
    es_session_options o = options;
    es_session *s = NULL;
    es_err err = {0};
    enum { SHORT = 30 * 16000, LONG = 150 * 16000 };

    setup();
    o.models = at("small.pack");
    float *x = noise(LONG);
    tape t = {x, SHORT};
    es_sound sound = {read_tape, &t, SHORT};
    es_transcribe_options how = es_transcribe_defaults();
    how.words = true;
    how.n_temperatures = 2; /* every path of a window: the seeded text is bad, so it is decoded twice */
    CHECK(es_session_open(&s, &o, &err) == ES_OK && es_session_ready(s, &err) == ES_OK, "%s", err.text);
    es_transcript first = {0}, second = {0};
    CHECK(es_transcribe(es_session_transcriber(s), &sound, &how, &first, &err) == ES_OK, "%s", err.text);
    /* The transcript itself grows with what is said: give it room beforehand. */
    second.segments = calloc(second.room_segments = 20000, sizeof *second.segments);
    second.words = calloc(second.room_words = 100000, sizeof *second.words);
    second.tokens = calloc(second.room_tokens = 100000, sizeof *second.tokens);
    second.text = calloc(second.room_text = 4000000, 1);
    t.n = sound.samples = LONG;
    uint64_t before = es_device_allocations(es_session_device(s));
#ifndef SANITIZED
    counting = true;
#endif
    int rc = es_transcribe(es_session_transcriber(s), &sound, &how, &second, &err);
#ifndef SANITIZED
    counting = false;
    CHECK(n_allocations == 0, "a second, longer recording made our code allocate %ld times", n_allocations);
    void *volatile one;
    counting = true; /* the counter itself counts */
    one = malloc(1);
    counting = false;
    free(one);
    CHECK(n_allocations == 1, "the counter counted %ld, expected 1", n_allocations);
#endif
    CHECK(rc == ES_OK, "%s", err.text);
    CHECK(second.n_tokens > first.n_tokens, "the longer recording says no more than the shorter");
    CHECK_INT(es_device_allocations(es_session_device(s)) - before, 0);
    es_transcript_done(&first);
    es_transcript_done(&second);
    es_session_close(s);
    free(x);
}

/* ---- real speech ---- */

/* Words in small letters without signs, joined by blanks. */
static char *plain_words(const es_speech *speech)
{
    char *out = calloc(1, 100000);
    size_t n = 0;

    for (size_t i = 0; out && i < es_speech_words(speech); i++) {
        es_word_view w;
        es_speech_word(speech, i, &w);
        if (n) out[n++] = ' ';
        for (size_t k = 0; k < w.text_bytes && n < 99990; k++)
            if (isalnum((unsigned char)w.text[k])) out[n++] = (char)tolower((unsigned char)w.text[k]);
    }
    return out;
}

/* The same speech in six kinds of file. */
static void test_containers(void)
{
    static const char *const given[] = {"audio/jfk/jfk.wav", "audio/jfk/jfk.flac", "audio/jfk/jfk.mp3",
                                        "audio/video/jfk_testpattern_h264_aac.mp4",
                                        "audio/video/jfk_testpattern_vp9_opus.webm"};
    static const char said[] =
        "and so my fellow americans ask not what your country can do for you ask what you can do for "
        "your country";
    const char *models = es_test_models("whisper-tiny.pack"), *wav = es_test_data(given[0]);

    if (!wav) {
        es_test_skip("ES_TEST_DATA");
        return;
    }
    if (!models) {
        es_test_skip("ES_TEST_MODELS");
        return;
    }
    es_engine *e = engine_open(models);
    es_library *l = library_open(at("lib"));
    int n = ffmpeg("-i '%s' -f lavfi -i testsrc2=size=64x64:rate=5 -t 11 -c:v mpeg4 -c:a libvorbis jfk.mkv", wav) ? 6 : 5;
    for (int i = 0; i < n; i++) {
        const char *path = i < 5 ? es_test_data(given[i]) : at("jfk.mkv");
        es_speech *speech = NULL;
        es_error error = {0};
        es_ingest_report r = {0};
        CHECK(path != NULL, "%s is missing", given[i % 5]);
        if (!path) continue;
        CHECK(es_engine_ingest(e, l, &path, 1, NULL, NULL, NULL, &r, &error) == ES_DONE && r.stored == 1, "%s: %s",
              path, error.text);
        if (es_library_find(l, path, NULL, NULL, &speech, &error) == ES_DONE) {
            char *words = plain_words(speech);
            CHECK_STR(words, said);
            free(words);
        } else {
            CHECK(false, "%s", error.text);
        }
        es_speech_close(speech);
    }
    es_library_close(l);
    es_engine_close(e);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"events", test_events},
        {"samples", test_samples},
        {"struct_sizes", test_struct_sizes},
        {"plans", test_plans},
        {"no_allocation", test_no_allocation},
        {"containers", test_containers},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
