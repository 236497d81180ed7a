/*
 * test_together.c - models of all stages in one arena, many recordings in one run: what is said, who says it and what it
 * means is what each recording gives by itself; memory stays within the plan; and the rooms that compute take none.
 *
 * With the real small models a handful of recordings by default. ES_TEST_RECORDINGS=20 takes all and the larger speech model,
 * which needs minutes. With seeded ones, for which nothing has to be there, noise.
 *
 * Allocations are counted by who asks for them: malloc notes the address it returns to, and addr2line tells afterwards in
 * which file that is. Files of kernels, runtime, audio, models and speech must not be among them from the moment the models
 * are open, the first recording included.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "pipeline/ingest.h"
#include "pipeline/session/session.h"
#include "seeded.h"
#include "store/store.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

/* ---- who allocates ---- */

enum { CALLERS = 4096 };

static atomic_bool counting;

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTED 1
static _Atomic(uintptr_t) caller[CALLERS];
static atomic_long n_calls[CALLERS];

extern const char __executable_start, etext; /* of the linker: this program's own code lies between them */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t item);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t to, size_t n);

static void note(const void *address)
{
    uintptr_t a = (uintptr_t)address;

    if (!atomic_load_explicit(&counting, memory_order_relaxed)) return;
    if (a < (uintptr_t)&__executable_start || a >= (uintptr_t)&etext) return;
    for (size_t i = a * 0x9E3779B97F4A7C15u >> 52, k = 0; k < CALLERS; i = (i + 1) % CALLERS, k++) {
        uintptr_t empty = 0;
        if (atomic_load(&caller[i]) == a || atomic_compare_exchange_strong(&caller[i], &empty, a) || empty == a) {
            atomic_fetch_add(&n_calls[i], 1);
            return;
        }
    }
}

void *malloc(size_t n)
{
    note(__builtin_return_address(0));
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t item)
{
    note(__builtin_return_address(0));
    return __libc_calloc(n, item);
}

void *realloc(void *p, size_t n)
{
    note(__builtin_return_address(0));
    return __libc_realloc(p, n);
}

void *aligned_alloc(size_t to, size_t n)
{
    note(__builtin_return_address(0));
    return __libc_memalign(to, n);
}
#endif

/* Calls from files below each folder; false where addresses cannot be told. */
static bool calls_from(const char *const *folders, size_t n, long *calls)
{
#ifdef COUNTED
    static char command[40 * CALLERS + 100];
    long count[CALLERS];
    size_t at = (size_t)snprintf(command, sizeof command, "addr2line -e /proc/%d/exe", (int)getpid()), k = 0;
    char line[4096];

    for (size_t i = 0; i < CALLERS; i++) {
        if (!caller[i]) continue;
        /* The return address may already be in the next line; and the program is loaded somewhere. */
        at += (size_t)snprintf(command + at, sizeof command - at, " 0x%zx", (size_t)(caller[i] - 1 - (uintptr_t)&__executable_start));
        count[k++] = n_calls[i];
    }
    memset(calls, 0, n * sizeof *calls);
    if (!k) return true;
    FILE *p = popen(command, "r");
    size_t told = 0;
    for (; p && fgets(line, sizeof line, p) && told < k; told++)
        for (size_t f = 0; f < n; f++)
            if (strstr(line, folders[f])) {
                calls[f] += count[told];
                if (getenv("ES_TEST_CALLERS")) printf("    %6ld %s", count[told], line);
            }
    if (p) pclose(p);
    return told == k;
#else
    (void)folders, (void)n, (void)calls;
    return false;
#endif
}

/* ---- recordings ---- */

/* Those that come first are the ones of a short run: four containers, one to three speakers, two languages. */
static const char *const recordings[] = {"audio/jfk/jfk.flac",
                                         "audio/video/jfk_testpattern_h264_aac.mp4",
                                         "audio/librispeech/1688-142285-0001.flac",
                                         "audio/video/jfk_testpattern_vp9_opus.webm",
                                         "audio/pyannote_sample/sample.wav",
                                         "audio/multilingual/es_test_clip.wav",
                                         "audio/video/meeting_ami_dev00_testpattern_h264_mp3.mkv",
                                         "audio/jfk/jfk.mp3",
                                         "audio/jfk/jfk.wav",
                                         "audio/ami/dev00.wav",
                                         "audio/multilingual/en_de_multilingual.mp3",
                                         "audio/librispeech_mix/mix3.wav",
                                         "audio/librispeech/1688-142285-0000.flac",
                                         "audio/librispeech/1998-15444-0000.flac",
                                         "audio/librispeech/1998-15444-0001.flac",
                                         "audio/librispeech/2033-164914-0000.flac",
                                         "audio/librispeech/2033-164914-0003.flac",
                                         "audio/librispeech/mr_quilter_1272-128104-0000.wav",
                                         "audio/librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
                                         "audio/librivox/sense_and_sensibility_01_austen_64kb-0880.wav"};
enum { ALL = sizeof recordings / sizeof recordings[0], FEW = 4 };

static int chosen(const char *path[ALL])
{
    static char paths[ALL][4096];
    const char *given = getenv("ES_TEST_RECORDINGS");
    int n = given ? atoi(given) : FEW;

    if (n < 2) n = 2;
    if (n > ALL) n = ALL;
    for (int i = 0; i < n; i++) {
        const char *p = es_test_data(recordings[i]);
        if (!p) {
            es_test_skip("recordings of ES_TEST_DATA");
            return 0;
        }
        snprintf(paths[i], sizeof paths[i], "%s", p);
        path[i] = paths[i];
    }
    return n;
}

/* ---- one run ---- */

static bool link_models(bool large)
{
    const char *const packs[] = {large ? "whisper-base.pack" : "whisper-tiny.pack", "segmentation-3.0.pack", "campplus.pack", "minilm.pack"};
    static char path[4096];

    mkdir(at("models"), 0755);
    for (size_t i = 0; i < sizeof packs / sizeof packs[0]; i++) {
        const char *pack = es_test_models(packs[i]);
        if (!pack) {
            snprintf(path, sizeof path, "ES_TEST_MODELS/%s", packs[i]);
            es_test_skip(path);
            return false;
        }
        snprintf(path, sizeof path, "%s/%s", at("models"), packs[i]);
        CHECK(symlink(pack, path) == 0, "no link to %s", pack);
    }
    return true;
}

/* Five stages: names have a network of their own. */
static bool make_models(void)
{
    es_err err = {0};

    mkdir(at("models"), 0755);
    int rc = es_seeded_whisper_write(at("models/small.pack"), &es_seeded_small);
    if (!rc) rc = es_seeded_segmentation_write(at("models/segmentation.pack"), 54, &err);
    if (!rc) rc = es_seeded_campplus_write(at("models/campplus.pack"), 51, &err);
    if (!rc) rc = es_seeded_ecapa_write(at("models/ecapa.pack"), false, 53, &err);
    if (!rc) rc = es_seeded_encoder_write(at("models/encoder.pack"), 55, &err);
    CHECK(!rc, "no packs: %s", err.text);
    return !rc;
}

static uint64_t anonymous_bytes(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    return kib * 1024;
}

typedef struct watch {
    uint64_t most; /* of anonymous memory */
} watch;

static int look(void *user, const es_ingest_event *e)
{
    watch *w = user;
    bool was = atomic_exchange(&counting, false);
    uint64_t now = anonymous_bytes();

    if (now > w->most) w->most = now;
    CHECK(e->kind != ES_INGEST_FAILED, "%s: %s", e->path, e->text);
    atomic_store(&counting, was);
    return 0;
}

static es_session *ready(es_session_limits limits)
{
    const es_session_options o = {.models = at("models"), .device = "cpu", .limits = limits};
    es_session *s = NULL;
    es_err err = {0};

    CHECK(es_session_open(&s, &o, &err) == ES_OK && es_session_ready(s, &err) == ES_OK, "%s", err.text);
    return s;
}

typedef enum how { AS_USUAL, GREEDY, SEQUENTIAL } how; /* greedy: a text that fails is taken all the same */

static void ingest(es_session *s, es_store *store, how h, const char *const *path, int n, watch *w)
{
    es_ingest_tally tally = {0};
    es_err err = {0};
    es_ingest_job job = {.session = s, .store = store, .speech = es_transcribe_defaults(), .listen = look, .user = w};

    job.speech.words = true;
    job.speech.sequential = h == SEQUENTIAL;
    if (h != AS_USUAL) job.speech.n_temperatures = 1; /* seeded models would try all */
    CHECK(es_ingest(&job, path, (size_t)n, &tally, &err) == ES_OK, "%s", err.text);
    CHECK(tally.stored == (size_t)n, "%zu of %d recordings are stored", tally.stored, n);
}

static es_store *library(const char *name)
{
    char path[2048];
    es_store *s = NULL;
    es_err err = {0};

    snprintf(path, sizeof path, "%s/%s", es_test_folder(), name);
    CHECK(es_store_open(&s, path, ES_STORE_CREATE, &err) == ES_OK, "%s", err.text);
    return s;
}

/* ---- the same ---- */

static bool same_vectors(const es_vectors *a, const es_vectors *b)
{
    return a->n == b->n && a->width == b->width && !memcmp(&a->space, &b->space, sizeof a->space) &&
           (!a->n || !memcmp(a->rows, b->rows, a->n * (size_t)a->width * sizeof *a->rows));
}

static bool same_turns(const es_spoken *a, size_t n, const es_spoken *b, size_t m)
{
    if (n != m) return false;
    for (size_t i = 0; i < n; i++)
        if (a[i].start_ms != b[i].start_ms || a[i].end_ms != b[i].end_ms || a[i].speaker != b[i].speaker) return false;
    return true;
}

static bool same_passages(const es_passages *a, const es_passages *b)
{
    if (a->n != b->n || a->n_text != b->n_text || (a->n_text && memcmp(a->text, b->text, a->n_text))) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->at[i].start_ms != b->at[i].start_ms || a->at[i].end_ms != b->at[i].end_ms || a->at[i].speaker != b->at[i].speaker ||
            a->at[i].text_at != b->at[i].text_at || a->at[i].text_bytes != b->at[i].text_bytes)
            return false;
    return true;
}

static void same_results(const es_result *a, const es_result *b, const char *name)
{
    const es_transcript *t = &a->transcript, *u = &b->transcript;

    CHECK(t->n_segments == u->n_segments && t->n_words == u->n_words && t->n_tokens == u->n_tokens && t->n_text == u->n_text &&
              (!t->n_tokens || !memcmp(t->tokens, u->tokens, t->n_tokens * sizeof *t->tokens)) &&
              (!t->n_text || !memcmp(t->text, u->text, t->n_text)),
          "%s: other words", name);
    for (size_t i = 0; i < t->n_words && i < u->n_words; i++)
        if (t->words[i].start_ms != u->words[i].start_ms || t->words[i].end_ms != u->words[i].end_ms ||
            t->words[i].speaker != u->words[i].speaker) {
            CHECK(false, "%s: word %zu has another time or speaker", name, i);
            break;
        }
    CHECK(same_turns(a->who.turns, a->who.n_turns, b->who.turns, b->who.n_turns) &&
              same_turns(a->who.exclusive, a->who.n_exclusive, b->who.exclusive, b->who.n_exclusive),
          "%s: other turns", name);
    CHECK(same_vectors(&a->who.centers, &b->who.centers) && same_vectors(&a->who.voices, &b->who.voices), "%s: other voices", name);
    CHECK(same_passages(&a->passages, &b->passages), "%s: other passages", name);
    CHECK(same_vectors(&a->passages.vectors, &b->passages.vectors), "%s: other vectors of text", name);
}

typedef struct pair {
    es_store *all, *alone;
    size_t n, spoken, speakers, passages;
} pair;

static int compare_one(void *user, const es_entry *e)
{
    pair *p = user;
    es_result a = {0}, b = {0};
    es_err err = {0};

    CHECK(es_store_get(p->all, e->media.content, 0, &a, &err) == ES_OK, "%s", err.text);
    CHECK(es_store_get(p->alone, e->media.content, 0, &b, &err) == ES_OK, "%s: %s", e->media.path, err.text);
    same_results(&a, &b, e->media.path);
    p->n++;
    p->spoken += a.transcript.n_words, p->speakers += (size_t)a.who.n_speakers, p->passages += a.passages.vectors.n;
    es_result_done(&a);
    es_result_done(&b);
    return 0;
}

/* Peak of anonymous memory beside the arena: FFmpeg's buffers, the library, the results, what the recordings are clustered
 * in, threads' stacks. */
enum { BESIDE = 96 << 20 };

/* What was counted: nothing in the rooms that compute. */
static void check_calls(int n)
{
    static const char *const rooms[] = {"/kernels/", "/engine/runtime/", "/engine/audio/", "/engine/models/", "/engine/speech/", "/engine/pipeline/"};
    enum { PIPELINE = 5, ROOMS = 6 };
    long calls[ROOMS];

    if (!calls_from(rooms, ROOMS, calls)) return;
    for (int i = 0; i < PIPELINE; i++) CHECK(calls[i] == 0, "%s: %ld allocations for %d recordings", rooms[i], calls[i], n);
    CHECK(calls[PIPELINE] > 0, "nothing is counted");
}

/* All recordings at once into one library, each alone into another. The caller closes both. */
static bool run_both(pair *both, how h, const char *const *path, int n)
{
    watch all = {0}, alone = {0};
    es_session *s = ready((es_session_limits){0}); /* as the planner has it: recordings share its batches */

    *both = (pair){.all = library("all"), .alone = library("alone")};
    if (!s || !both->all || !both->alone) return false;
    uint64_t plan = es_session_arena_bytes(s), allocations = es_device_allocations(es_session_device(s));
    atomic_store(&counting, true);
    ingest(s, both->all, h, path, n, &all);
    atomic_store(&counting, false);
    CHECK_INT(es_device_allocations(es_session_device(s)) - allocations, 0);
#ifndef SANITIZED /* which keep what was freed */
    CHECK(all.most <= plan + BESIDE, "anonymous memory grows to %.1f MiB: the plan is %.1f MiB", (double)all.most / 1048576,
          (double)plan / 1048576);
#endif
    printf("    plan %.1f MiB, anonymous at its peak %.1f MiB\n", (double)plan / 1048576, (double)all.most / 1048576);
    es_session_close(s);
    check_calls(n);

    /* Each in a session of its own, which holds nothing of the one before, with other steps and one slot. */
    for (int i = 0; i < n; i++) {
        s = ready((es_session_limits){.windows = 1, .slots = 1, .segments = 3, .frames = 1500, .tokens = 600});
        if (!s) return false;
        ingest(s, both->alone, h, &path[i], 1, &alone);
        es_session_close(s);
    }
    es_err err = {0};
    CHECK(es_store_list(both->all, compare_one, both, &err) == ES_OK, "%s", err.text);
    return true;
}

static void together_as_alone(void)
{
    const char *path[ALL];
    int n = chosen(path);
    pair both = {0};

    if (!n || !link_models(n == ALL)) return;
    if (run_both(&both, AS_USUAL, path, n))
        CHECK(both.n == (size_t)n && both.spoken > 20 * (size_t)n / 2 && both.speakers >= (size_t)n && both.passages >= (size_t)n,
              "%zu recordings, %zu words, %zu speakers, %zu passages", both.n, both.spoken, both.speakers, both.passages);
    es_store_close(both.all);
    es_store_close(both.alone);
}

/* The same without anything that has to be there; and one window after the other. */
static void seeded_together(void)
{
    static const int seconds[] = {3, 5, 11};
    enum { N = sizeof seconds / sizeof seconds[0] };
    static char paths[N][4400];
    const char *path[N];
    pair both = {0};
    watch w = {0};

    if (!make_models()) return;
    for (int i = 0; i < N; i++) {
        char name[] = "a.wav";
        es_noise noise = {(uint64_t)i + 1};
        int64_t n = 16000 * (int64_t)seconds[i];
        float *x = malloc((size_t)n * sizeof *x);
        if (!x) abort();
        name[0] = (char)('a' + i);
        es_noise_fill(&noise, x, (size_t)n, 0.05);
        for (int64_t k = 0; k < n; k++) x[k] *= (float)(1 + k / 8000 % 7) / 7;
        snprintf(paths[i], sizeof paths[i], "%s", at(name));
        path[i] = paths[i];
        write_speech_wav(path[i], x, n);
        free(x);
    }
    if (run_both(&both, GREEDY, path, N))
        CHECK(both.n == N && both.spoken && both.speakers && both.passages, "%zu recordings, %zu words, %zu speakers, %zu passages", both.n,
              both.spoken, both.speakers, both.passages);
    es_store_close(both.all);
    es_store_close(both.alone);

    es_store *store = library("sequential");
    es_session *s = ready((es_session_limits){0});
    atomic_store(&counting, true);
    if (s && store) ingest(s, store, SEQUENTIAL, path, N, &w);
    atomic_store(&counting, false);
    es_session_close(s);
    es_store_close(store);
    check_calls(N);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {{"together_as_alone", together_as_alone}, {"seeded_together", seeded_together}};

    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
