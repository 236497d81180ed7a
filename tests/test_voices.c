/*
 * test_voices.c - real voices through the real networks: who is enrolled from one clip is named in all others, nobody
 * else is; and what nobody should be known by is refused, beside its good twin that is taken.
 *
 * Needs ES_TEST_MODELS with campplus.pack and segmentation-3.0.pack, and the recordings of ES_TEST_DATA.
 */
#define _GNU_SOURCE
#include "library.h"
#include "work.h"

#include <sys/stat.h>

#include "pipeline/alone.h"
#include "pipeline/speakers/names.h"
#include "pipeline/speakers/voiceprint.h"
#include "speech/enroll.h"
#include "speech/identify.h"
#include "speech/score.h"

static const struct clip {
    const char *file;
    int who;
} clips[] = {
    {"audio/librispeech/1688-142285-0000.flac", 0},
    {"audio/librispeech/1688-142285-0001.flac", 0},
    {"audio/librispeech/1688-142285-0003.flac", 0},
    {"audio/librispeech/1998-15444-0000.flac", 1},
    {"audio/librispeech/1998-15444-0001.flac", 1},
    {"audio/librispeech/1998-15444-0003.flac", 1},
    {"audio/librispeech/2033-164914-0000.flac", 2},
    {"audio/librispeech/2033-164914-0001.flac", 2},
    {"audio/librispeech/2033-164914-0003.flac", 2},
    {"audio/librispeech/mr_quilter_1272-128104-0000.wav", 3},
    {"audio/librivox/sense_and_sensibility_01_austen_64kb-0870.wav", 4},
};
enum { CLIPS = sizeof clips / sizeof *clips, PEOPLE = 5, ENROLLED = 3 /* who have more than one clip */ };
static const char *const readers[PEOPLE] = {"Reader 1688", "Reader 1998", "Reader 2033", "Mr. Quilter's", "Austen's"};

/* ---- one set of networks for all tests ---- */

static es_voiceprint *networks(void)
{
    static es_voiceprint *v;
    const char *pack = es_test_models("campplus.pack"), *other = es_test_models("segmentation-3.0.pack");
    char folder[4096];
    es_err err = {0};

    if (v) return v;
    if (!pack || !other) {
        es_test_skip(pack ? "ES_TEST_MODELS/segmentation-3.0.pack" : "ES_TEST_MODELS/campplus.pack");
        return NULL;
    }
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(pack, '/') - pack), pack);
    es_session_options o = {.models = folder, .device = "cpu", .voice = "campplus", .threads = 1};
    CHECK(es_voiceprint_open(&v, &o, &err) == ES_OK, "%s", err.text);
    return v;
}

static void note(void *user, const char *sentence)
{
    char *text = user;

    if (text) snprintf(text + strlen(text), 1000 - strlen(text), "%s\n", sentence);
}

static bool have_clips(void)
{
    for (int i = 0; i < CLIPS; i++)
        if (!es_test_data(clips[i].file)) {
            es_test_skip(clips[i].file);
            return false;
        }
    return true;
}

static bool take(es_clip *c, const char *path, char *notes)
{
    es_err err = {0};

    if (notes) notes[0] = 0;
    CHECK(es_voiceprint_take(networks(), c, path, 0, es_test_folder(), note, notes, &err) == ES_OK, "%s", err.text);
    return c->vector != NULL;
}

static void refuse(const char *path, const char *says)
{
    es_clip c;
    es_err err = {0};

    CHECK_INT(es_voiceprint_take(networks(), &c, path, 0, es_test_folder(), note, NULL, &err), ES_EARG);
    CHECK(strstr(err.text, says), "\"%s\" does not say \"%s\"", err.text, says);
    CHECK(strstr(err.text, strrchr(path, '/') + 1), "\"%s\" does not name the file", err.text);
    CHECK(!c.vector);
    free(c.vector);
}

/* ---- who is who ---- */

static void add_profile(es_people *all, const char *name, const es_clip *c)
{
    es_profile *p;

    all->profiles = realloc(all->profiles, (all->n_profiles + 1) * sizeof *p);
    p = &all->profiles[all->n_profiles++];
    *p = (es_profile){.clips = malloc(sizeof *p->clips), .n = 1};
    snprintf(p->name, sizeof p->name, "%s", name);
    p->clips[0] = *c;
    p->clips[0].vector = malloc((size_t)c->width * sizeof(float));
    memcpy(p->clips[0].vector, c->vector, (size_t)c->width * sizeof(float));
}

/* Every other clip as a recording of its own, as ingest would store it. */
static es_people library_of(const es_clip *taken, const int *longest)
{
    es_people all = {.spaces = malloc(sizeof *all.spaces), .n_spaces = 1, .voices = calloc(CLIPS, sizeof *all.voices)};

    all.spaces[0] = *es_voiceprint_space(networks());
    for (int i = 0; i < CLIPS; i++) {
        if (longest[clips[i].who] == i) continue;
        es_voice *v = &all.voices[all.n_voices++];
        *v = (es_voice){.content = {{(uint8_t)(i + 1)}},
                        .speaker = i,
                        .space = taken[i].space,
                        .width = taken[i].width,
                        .alone_ms = taken[i].net_ms,
                        .vector = malloc((size_t)taken[i].width * sizeof(float))};
        memcpy(v->vector, taken[i].vector, (size_t)taken[i].width * sizeof(float));
    }
    return all;
}

static void named_and_unnamed(void)
{
    es_clip taken[CLIPS] = {{.width = 0}};
    int longest[PEOPLE] = {-1, -1, -1, -1, -1}, n_right = 0, n_unnamed = 0;
    double least = 1, margin = 1, nearest = 0;

    if (!networks() || !have_clips()) return;
    for (int i = 0; i < CLIPS; i++) {
        if (!take(&taken[i], es_test_data(clips[i].file), NULL)) return;
        int who = clips[i].who;
        if (who < ENROLLED && (longest[who] < 0 || taken[i].net_ms > taken[longest[who]].net_ms)) longest[who] = i;
    }
    /* Everybody enrolled but one: -1 leaves nobody out. */
    for (int without = -1; without < ENROLLED; without++) {
        es_people all = library_of(taken, longest);
        for (int p = 0; p < ENROLLED; p++)
            if (p != without) add_profile(&all, readers[p], &taken[longest[p]]);
        es_work w = work_of(es_identify_all_bytes(&all));
        es_identify_all(&all, &w);
        work_done(&w);
        for (size_t k = 0; k < all.n_voices; k++) {
            const es_identity *d = &all.voices[k].identity;
            int who = clips[all.voices[k].speaker].who;
            const char *file = clips[all.voices[k].speaker].file;
            if (who < ENROLLED && who != without) {
                CHECK(es_identity_named(d) && es_hash_same(d->person, es_person_of(readers[who])),
                      "%s: verdict %d, score %.3f, margin %.3f", file, d->verdict, (double)d->score, (double)d->margin);
                if ((double)d->score < least) least = (double)d->score;
                if ((double)d->margin < margin) margin = (double)d->margin;
                n_right++;
            } else {
                CHECK(!es_identity_named(d), "%s: a stranger got a name, score %.3f, margin %.3f", file,
                      (double)d->score, (double)d->margin);
                if ((double)d->score > nearest) nearest = (double)d->score;
                n_unnamed++;
            }
        }
        /* One number for each of them. */
        for (size_t a = 0; a < all.n_voices; a++)
            for (size_t b = 0; b < a; b++) {
                bool same = clips[all.voices[a].speaker].who == clips[all.voices[b].speaker].who;
                CHECK((all.voices[a].identity.number == all.voices[b].identity.number) == same,
                      "%s and %s are %s one person", clips[all.voices[a].speaker].file,
                      clips[all.voices[b].speaker].file, same ? "not" : "taken for");
            }
        es_people_done(&all);
    }
    printf("    %d clips named, the least at %.3f with a margin of %.3f; %d of strangers not, the nearest at %.3f\n",
           n_right, least, margin, n_unnamed, nearest);
    for (int i = 0; i < CLIPS; i++) free(taken[i].vector);
}

/* ---- what nobody should be known by ---- */

typedef struct sound {
    float *x;
    int64_t n;
} sound;

/* Appends [from, to) seconds of a file, to < 0: all, with a gain and cut off at a limit. */
static void append(sound *s, const char *file, double from, double to, float gain, float limit)
{
    const char *path = es_test_data(file);
    es_media_info info = {0};
    es_spool *spool = NULL;
    es_err err = {0};

    CHECK(es_media_decode(&spool, &info, path, 0, es_test_folder(), NULL, NULL, &err) == ES_OK, "%s", err.text);
    if (!spool) return;
    int64_t first = (int64_t)(from * ES_RATE), end = to < 0 ? es_spool_samples(spool) : (int64_t)(to * ES_RATE);
    s->x = realloc(s->x, (size_t)(s->n + end - first) * sizeof *s->x);
    CHECK(es_spool_read(spool, first, end - first, s->x + s->n, &err) == ES_OK, "%s", err.text);
    for (int64_t i = s->n; i < s->n + end - first; i++) s->x[i] = fminf(fmaxf(s->x[i] * gain, -limit), limit);
    s->n += end - first;
    es_spool_close(spool);
    es_media_info_done(&info);
}

static void put32(FILE *f, uint32_t v)
{
    for (int i = 0; i < 4; i++) fputc((int)(v >> 8 * i & 255), f);
}

/* A wav of it in the test's folder; the sound is freed. */
static const char *written(const char *name, sound *s)
{
    const char *path = in_folder(name);
    FILE *f = fopen(path, "wb");

    fputs("RIFF", f), put32(f, 36 + 2 * (uint32_t)s->n), fputs("WAVEfmt ", f), put32(f, 16), put32(f, 1 | 1 << 16),
        put32(f, ES_RATE), put32(f, 2 * ES_RATE);
    put32(f, 2 | 16 << 16), fputs("data", f), put32(f, 2 * (uint32_t)s->n);
    for (int64_t i = 0; i < s->n; i++) {
        int v = (int)lrintf(s->x[i] * 32767);
        fputc(v & 255, f), fputc(v >> 8 & 255, f);
    }
    fclose(f);
    free(s->x);
    *s = (sound){0};
    return path;
}

static void good_and_bad(void)
{
    static const char A[] = "audio/librispeech/1688-142285-0000.flac", B[] = "audio/librispeech/1998-15444-0000.flac",
                      TALK[] = "audio/pyannote_sample/sample.wav";
    char notes[1000];
    es_clip c, whole;
    sound s = {0};

    if (!networks() || !have_clips()) return;
    if (!es_test_data(TALK)) {
        es_test_skip(TALK);
        return;
    }
    /* A quarter of a minute of one person is taken without a word. */
    append(&s, A, 0, -1, 1, 1);
    if (!take(&whole, written("whole.wav", &s), notes)) return;
    CHECK_STR(notes, "");
    CHECK(whole.net_ms > 8000 && whole.net_ms < 15000, "%lld ms", (long long)whole.net_ms); /* without its pauses */

    /* 1 s is not; nor 2.5; six with their pauses are, with a warning, and are the same voice. */
    append(&s, A, 2, 3, 1, 1);
    refuse(written("one second.wav", &s), "s in which one voice speaks alone; 3 s are the least");
    append(&s, A, 2, 4.5, 1, 1);
    refuse(written("two and a half.wav", &s), "3 s are the least");
    append(&s, A, 2, 8, 1, 1);
    if (take(&c, written("six.wav", &s), notes)) {
        CHECK(strstr(notes, "of speech: names will be missed"), "%s", notes);
        CHECK(es_identify_cosine(c.vector, whole.vector, c.width) > 0.8, "%.3f",
              es_identify_cosine(c.vector, whole.vector, c.width));
        free(c.vector);
    }

    /* Two people: one after the other, and talking to each other. */
    append(&s, A, 0, -1, 1, 1);
    append(&s, B, 0, -1, 1, 1);
    refuse(written("one after the other.wav", &s), "more than one voice");
    refuse(es_test_data(TALK), "more than one voice");
    /* Twice the same person is one. */
    append(&s, A, 0, -1, 1, 1);
    append(&s, "audio/librispeech/1688-142285-0001.flac", 0, -1, 1, 1);
    if (take(&c, written("one person.wav", &s), notes)) {
        CHECK(!strstr(notes, "noise") && !strstr(notes, "only"), "%s", notes);
        free(c.vector);
    }

    /* Clipped, and clipped and then turned down; loud but whole is taken. */
    append(&s, A, 0, -1, 20, 1);
    refuse(written("clipped.wav", &s), "the sound is clipped");
    append(&s, A, 0, -1, 4, 0.2f);
    refuse(written("clipped and soft.wav", &s), "the sound is clipped");
    append(&s, A, 0, -1, 0.2f, 1);
    if (take(&c, written("soft.wav", &s), notes)) {
        CHECK_STR(notes, "");
        CHECK(es_identify_cosine(c.vector, whole.vector, c.width) > 0.95, "%.3f",
              es_identify_cosine(c.vector, whole.vector, c.width));
        free(c.vector);
    }

    /* Silence and noise hold no voice. */
    s = (sound){calloc(20 * ES_RATE, sizeof(float)), 20 * ES_RATE};
    refuse(written("silence.wav", &s), "0.0 s in which one voice speaks alone");
    s = (sound){calloc(20 * ES_RATE, sizeof(float)), 20 * ES_RATE};
    es_noise n = {1};
    es_noise_fill(&n, s.x, (size_t)s.n, 0.1);
    refuse(written("noise.wav", &s), "one voice speaks alone");
    free(whole.vector);
}

/* ---- into a library ---- */

static int enroll(es_store *s, const char *name, const char *path, es_names_change *change, es_err *err)
{
    es_clip c;
    int rc = es_voiceprint_take(networks(), &c, path, 0, es_test_folder(), note, NULL, err);

    return rc ? rc : es_names_enroll(s, name, es_voiceprint_space(networks()), &c, 1, change, err);
}

static void same_file_twice(void)
{
    static const char A[] = "audio/librispeech/1688-142285-0000.flac",
                      OTHER[] = "audio/librispeech/1688-142285-0001.flac";
    es_store *s;
    es_names_change c;
    es_err err = {0};

    if (!networks() || !have_clips() || !(s = open_store(in_folder("lib"), ES_STORE_CREATE))) return;
    CHECK(enroll(s, "Li\xe2\x80\x99", es_test_data(A), &c, &err) == ES_OK, "%s", err.text);
    CHECK(enroll(s, "Li\xe2\x80\x99", es_test_data(OTHER), &c, &err) == ES_OK, "%s", err.text);
    CHECK_INT(enroll(s, "Li\xe2\x80\x99", es_test_data(A), &c, &err), ES_EARG);
    CHECK(strstr(err.text, "already; the same one says nothing new"), "%s", err.text);
    err = (es_err){0};
    /* The same voice under another name is taken, and said. */
    CHECK(enroll(s, "Somebody else", es_test_data("audio/librispeech/1688-142285-0003.flac"), &c, &err) == ES_OK, "%s",
          err.text);
    CHECK_STR(c.like, "Li\xe2\x80\x99");
    CHECK(c.like_score > 0.6, "%g", c.like_score);
    CHECK(enroll(s, "A third", es_test_data("audio/librispeech/1998-15444-0000.flac"), &c, &err) == ES_OK, "%s",
          err.text);
    CHECK_STR(c.like, "");
    check_whole(s);
    es_store_close(s);
}

/* ---- one voice alone ---- */

typedef struct rig {
    es_weights *segmentation, *voices;
    es_plan *p;
    es_device *d;
    es_arena *a;
    es_diarize_models m;
} rig;

static void rig_close(rig *g)
{
    es_pyannet_close(g->m.segmentation);
    es_speaker_close(g->m.diarizer);
    es_arena_close(g->a);
    es_device_close(g->d);
    es_plan_close(g->p);
    es_weights_close(g->segmentation);
    es_weights_close(g->voices);
}

static bool rig_open(rig *g)
{
    es_speaker_dims dims;
    es_fault fault = {0};
    es_err err = {0};
    int rc = es_pack_open(&g->segmentation, es_test_models("segmentation-3.0.pack"), &err);

    if (!rc) rc = es_pack_open(&g->voices, es_test_models("campplus.pack"), &err);
    if (!rc) rc = es_plan_open(&g->p, ES_CPU, 1, &err);
    if (!rc) rc = es_pyannet_plan(&g->m.segmentation, g->p, "segmentation", g->segmentation, 4, &err);
    if (!rc) rc = es_speaker_dims_read(&dims, g->voices, &err);
    if (!rc)
        rc = es_speaker_plan(&g->m.diarizer, g->p, "campplus", g->voices, &dims,
                             (es_speaker_limits){.answers = 3, .rows = 2000}, &err);
    if (!rc) rc = es_plan_finish(g->p, 0, &err);
    if (!rc && es_device_open(&g->d, ES_CPU, 0, 1, NULL, &fault)) rc = es_fail(&err, ES_EDEVICE, "%s", fault.text);
    if (!rc) rc = es_arena_open(&g->a, g->p, g->d, &err);
    if (!rc) rc = es_arena_load(g->a, &err);
    if (!rc) es_pyannet_start(g->m.segmentation, g->a), es_speaker_start(g->m.diarizer, g->a);
    CHECK(!rc, "%s", err.text);
    g->m.space = es_voiceprint_space(networks())->hash;
    return !rc;
}

/* The short way over a sound; true where it was taken. who: NULL, or where the diarization goes. */
static bool try_alone(rig *g, const sound *s, const es_people *people, int least_speakers, char *why,
                      es_diarization *who)
{
    es_diarize_options o = es_diarize_defaults();
    es_diarize_windows w = {0};
    es_diarization d = {0};
    es_spool *spool = NULL;
    es_err err = {0};
    bool taken = false;

    o.step_samples = 40000;
    o.speakers.least = o.speakers.most = least_speakers;
    CHECK(es_spool_from(&spool, s->x, s->n, &err) == ES_OK, "%s", err.text);
    es_sound whole = es_sound_of(spool);
    CHECK(es_diarize_segment(&w, &g->m, &whole, &o, &err) == ES_OK, "%s", err.text);
    CHECK(es_alone_try(&d, &taken, why, 400, &g->m, &w, &whole, people, &o, &err) == ES_OK, "%s", err.text);
    CHECK(taken == (d.n_speakers == 1) && (taken || !d.turns), "%d speakers", d.n_speakers);
    es_diarize_windows_done(&w);
    if (who) *who = d;
    else es_diarization_done(&d);
    es_spool_close(spool);
    return taken;
}

static es_turn *turns_of(const es_diarization *d)
{
    es_turn *t = malloc((d->n_turns + 1) * sizeof *t);

    for (size_t i = 0; i < d->n_turns; i++)
        t[i] = (es_turn){d->turns[i].start_ms * 1000, d->turns[i].end_ms * 1000, d->turns[i].speaker};
    return t;
}

static void fast_path(void)
{
    static const char A0[] = "audio/librispeech/1688-142285-0000.flac",
                      A1[] = "audio/librispeech/1688-142285-0001.flac",
                      A3[] = "audio/librispeech/1688-142285-0003.flac", B[] = "audio/librispeech/1998-15444-0001.flac",
                      TALK[] = "audio/pyannote_sample/sample.wav";
    es_people nobody = {.spaces = NULL}, people = {.spaces = malloc(sizeof *people.spaces), .n_spaces = 1};
    es_diarization fast = {0}, full = {0};
    es_diarize_options o = es_diarize_defaults();
    es_spool *spool = NULL;
    es_err err = {0};
    sound s = {0};
    es_clip c;
    rig g = {0};
    char why[400];

    if (!networks() || !have_clips() || !rig_open(&g) || !take(&c, es_test_data(A0), NULL)) goto out;
    people.spaces[0] = *es_voiceprint_space(networks());
    add_profile(&people, "Li", &c);
    free(c.vector);

    /* One enrolled person: the same as the whole way finds, for less. */
    append(&s, A1, 0, -1, 1, 1), append(&s, A3, 0, -1, 1, 1);
    CHECK(try_alone(&g, &s, &people, 0, why, &fast), "%s", why);
    CHECK(strstr(why, "like the voice of Li, the least at 0."), "%s", why);
    o.step_samples = 40000;
    CHECK(es_spool_from(&spool, s.x, s.n, &err) == ES_OK, "%s", err.text);
    es_sound whole = es_sound_of(spool);
    CHECK(es_diarize(&full, &g.m, &whole, &o, &err) == ES_OK, "%s", err.text);
    CHECK_INT(full.n_speakers, 1);
    es_der der = {0};
    es_turn *a = turns_of(&full), *b = turns_of(&fast);
    es_score_der(&der, a, full.n_turns, b, fast.n_turns, NULL, 0, 0, NULL, 0);
    CHECK(es_der_rate(der) < 0.001, "the short way is %.2f %% from the whole one", 100 * es_der_rate(der));
    free(a), free(b);
    if (full.centers.n && fast.centers.n) {
        double same = es_identify_cosine(full.centers.rows, fast.centers.rows, fast.centers.width);
        CHECK(same > 0.9, "the voices' cosine is %.3f", same);
    }
    CHECK(fast.alone_ms && full.alone_ms && llabs(fast.alone_ms[0] - full.alone_ms[0]) < 50, "alone for another time");
    es_diarization_done(&fast), es_diarization_done(&full);
    es_spool_close(spool);
    CHECK(!try_alone(&g, &s, &people, 2, why, NULL) && strstr(why, "2 speakers are asked for"), "%s", why);
    CHECK(!try_alone(&g, &s, &nobody, 0, why, NULL) && !*why, "%s", why);

    /* Somebody else for six seconds after her: a mean would hide him. */
    append(&s, B, 0, -1, 1, 1);
    CHECK(!try_alone(&g, &s, &people, 0, why, NULL), "%s", why);
    CHECK(strstr(why, "unlike the voice of Li") || strstr(why, "more than one voice is heard"), "%s", why);
    free(s.x), s = (sound){0};
    append(&s, B, 0, -1, 1, 1);
    CHECK(!try_alone(&g, &s, &people, 0, why, NULL) && strstr(why, "nobody's who is enrolled"), "%s", why);
    free(s.x), s = (sound){0};
    if (es_test_data(TALK)) append(&s, TALK, 0, -1, 1, 1);
    if (s.n)
        CHECK(!try_alone(&g, &s, &people, 0, why, NULL) &&
                  (strstr(why, "two voices at once") || strstr(why, "more than one voice")),
              "%s", why);
out:
    free(s.x);
    es_people_done(&people);
    rig_close(&g);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"named_and_unnamed", named_and_unnamed},
        {"good_and_bad", good_and_bad},
        {"same_file_twice", same_file_twice},
        {"fast_path", fast_path},
    };
    int rc = es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));

    return rc;
}
