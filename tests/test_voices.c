/*
 * test_voices.c - real voices through the real networks: who is enrolled from one clip is named in all others, nobody else
 * is; and what nobody should be known by is refused, beside its good twin that is taken.
 *
 * Needs ES_TEST_MODELS with campplus.pack and segmentation-3.0.pack, and the recordings of ES_TEST_DATA.
 */
#define _GNU_SOURCE
#include "library.h"

#include <sys/stat.h>

#include "pipeline/names.h"
#include "pipeline/voiceprint.h"
#include "speech/enroll.h"
#include "speech/identify.h"

static const struct clip {
    const char *file;
    int who;
} clips[] = {
    {"audio/librispeech/1688-142285-0000.flac", 0}, {"audio/librispeech/1688-142285-0001.flac", 0}, {"audio/librispeech/1688-142285-0003.flac", 0},
    {"audio/librispeech/1998-15444-0000.flac", 1},  {"audio/librispeech/1998-15444-0001.flac", 1},  {"audio/librispeech/1998-15444-0003.flac", 1},
    {"audio/librispeech/2033-164914-0000.flac", 2}, {"audio/librispeech/2033-164914-0001.flac", 2}, {"audio/librispeech/2033-164914-0003.flac", 2},
    {"audio/librispeech/mr_quilter_1272-128104-0000.wav", 3}, {"audio/librivox/sense_and_sensibility_01_austen_64kb-0870.wav", 4},
};
enum { CLIPS = sizeof clips / sizeof *clips, PEOPLE = 5, ENROLLED = 3 /* who have more than one clip */ };
static const char *const people[PEOPLE] = {"Reader 1688", "Reader 1998", "Reader 2033", "Mr. Quilter's", "Austen's"};

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
        *v = (es_voice){.content = {{(uint8_t)(i + 1)}}, .speaker = i, .space = taken[i].space, .width = taken[i].width, .alone_ms = taken[i].net_ms,
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
            if (p != without) add_profile(&all, people[p], &taken[longest[p]]);
        CHECK_INT(es_identify_all(&all), 0);
        for (size_t k = 0; k < all.n_voices; k++) {
            const es_identity *d = &all.voices[k].identity;
            int who = clips[all.voices[k].speaker].who;
            const char *file = clips[all.voices[k].speaker].file;
            if (who < ENROLLED && who != without) {
                CHECK(es_identity_named(d) && es_hash_same(d->person, es_person_of(people[who])), "%s: verdict %d, score %.3f, margin %.3f", file, d->verdict,
                      (double)d->score, (double)d->margin);
                if ((double)d->score < least) least = (double)d->score;
                if ((double)d->margin < margin) margin = (double)d->margin;
                n_right++;
            } else {
                CHECK(!es_identity_named(d), "%s: a stranger got a name, score %.3f, margin %.3f", file, (double)d->score, (double)d->margin);
                if ((double)d->score > nearest) nearest = (double)d->score;
                n_unnamed++;
            }
        }
        /* One number for each of them. */
        for (size_t a = 0; a < all.n_voices; a++)
            for (size_t b = 0; b < a; b++) {
                bool same = clips[all.voices[a].speaker].who == clips[all.voices[b].speaker].who;
                CHECK((all.voices[a].identity.number == all.voices[b].identity.number) == same, "%s and %s are %s one person",
                      clips[all.voices[a].speaker].file, clips[all.voices[b].speaker].file, same ? "not" : "taken for");
            }
        es_people_done(&all);
    }
    printf("    %d clips named, the least at %.3f with a margin of %.3f; %d of strangers not, the nearest at %.3f\n", n_right, least, margin, n_unnamed, nearest);
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

    fputs("RIFF", f), put32(f, 36 + 2 * (uint32_t)s->n), fputs("WAVEfmt ", f), put32(f, 16), put32(f, 1 | 1 << 16), put32(f, ES_RATE), put32(f, 2 * ES_RATE);
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
        CHECK(es_identify_cosine(c.vector, whole.vector, c.width) > 0.8, "%.3f", es_identify_cosine(c.vector, whole.vector, c.width));
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
        CHECK(es_identify_cosine(c.vector, whole.vector, c.width) > 0.95, "%.3f", es_identify_cosine(c.vector, whole.vector, c.width));
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
    static const char A[] = "audio/librispeech/1688-142285-0000.flac", OTHER[] = "audio/librispeech/1688-142285-0001.flac";
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
    CHECK(enroll(s, "Somebody else", es_test_data("audio/librispeech/1688-142285-0003.flac"), &c, &err) == ES_OK, "%s", err.text);
    CHECK_STR(c.like, "Li\xe2\x80\x99");
    CHECK(c.like_score > 0.6, "%g", c.like_score);
    CHECK(enroll(s, "A third", es_test_data("audio/librispeech/1998-15444-0000.flac"), &c, &err) == ES_OK, "%s", err.text);
    CHECK_STR(c.like, "");
    check_whole(s);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"named_and_unnamed", named_and_unnamed},
        {"good_and_bad", good_and_bad},
        {"same_file_twice", same_file_twice},
    };
    int rc = es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));

    return rc;
}
