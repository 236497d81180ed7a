/*
 * test_names.c - names for voices through a library: the same whatever came first, past recordings renamed without
 * their sound, what the user says, and that forgetting leaves nothing.
 *
 * The voices are made from a seed: every person has a direction, every voice is that direction and some noise.
 */
#define _GNU_SOURCE
#include "library.h"

#include <dirent.h>

#include "pipeline/speakers/names.h"
#include "speech/identify.h"
#include "store/half.h"

enum { W = 48 };

static const es_space CAM = {.hash = {{7, 7}}, .model = "campplus", .architecture = "campplus", .width = W};
static const es_space RES = {.hash = {{8, 8}}, .model = "resnet34-lm", .architecture = "resnet34", .width = W};

static void voice(float *x, int who, int seed, double noise)
{
    es_noise n = {(uint64_t)seed * 1000003 + (uint64_t)who};

    es_noise_fill(&n, x, W, noise);
    x[who] += 3;
}

/* A recording whose speakers are these people, each alone for ten seconds; the vectors follow from the seed. */
static void put_voices(es_store *s, int seed, const es_space *space, const int *who, int n)
{
    char path[64];
    es_err err = {0};

    snprintf(path, sizeof path, "/recordings/%d.wav", seed);
    es_result r = make_result(seed, 2, path);
    es_diarization_done(&r.who);
    r.who = (es_diarization){
        .turns = calloc((size_t)n, sizeof(es_spoken)),
        .n_turns = (size_t)n,
        .exclusive = calloc((size_t)n, sizeof(es_spoken)),
        .n_exclusive = (size_t)n,
        .speech = calloc(1, sizeof(es_heard)),
        .n_speech = 1,
        .n_speakers = n,
        .alone_ms = calloc((size_t)n, sizeof(int64_t)),
        .centers = {.space = space->hash, .width = W, .n = (size_t)n, .rows = malloc((size_t)n * W * sizeof(float))}};
    r.who.speech[0] = (es_heard){0, 10000 * n};
    for (int i = 0; i < n; i++) {
        r.who.turns[i] = r.who.exclusive[i] = (es_spoken){10000 * i, 10000 * i + 10000, i};
        r.who.alone_ms[i] = 10000;
        voice(r.who.centers.rows + i * W, who[i], seed, 0.15);
    }
    for (size_t i = 0; i < r.transcript.n_words; i++) r.transcript.words[i].speaker = -1;
    CHECK(es_store_put(s, &r, &err) == ES_OK, "%s", err.text);
    es_result_done(&r);
}

static const struct recording {
    int seed, who[4], n;
} library[] = {{1, {0, 1}, 2}, {2, {1, 2}, 2},       {3, {2}, 1}, {4, {3, 0, 2}, 3},
               {5, {0}, 1},    {6, {4, 5, 1, 0}, 4}, {7, {5}, 1}, {8, {3, 1}, 2}};
enum { RECORDINGS = sizeof library / sizeof *library };

static es_store *filled(const char *name, const int *order)
{
    es_store *s = open_store(in_folder(name), ES_STORE_CREATE);
    es_err err = {0};

    if (!s) return NULL;
    CHECK(es_voices_note_space(s, &CAM, &err) == ES_OK, "%s", err.text);
    for (int i = 0; i < RECORDINGS; i++) {
        const struct recording *r = &library[order ? order[i] : i];
        put_voices(s, r->seed, &CAM, r->who, r->n);
    }
    return s;
}

static int enroll_as(es_store *s, const char *name, const es_space *space, int who, int seed, es_names_change *change,
                     es_err *err)
{
    es_clip c = {.content = content_of(1000 + seed),
                 .space = space->hash,
                 .width = W,
                 .vector = malloc(W * sizeof(float)),
                 .net_ms = 12000};
    float x[W];

    voice(x, who, 1000 + seed, 0.15);
    es_identify_unit(c.vector, x, W);
    return es_names_enroll(s, name, space, &c, 1, change, err);
}

static void enroll(es_store *s, const char *name, const es_space *space, int who, int seed, size_t voices,
                   size_t recordings)
{
    es_names_change change = {0};
    es_err err = {0};

    CHECK(enroll_as(s, name, space, who, seed, &change, &err) == ES_OK, "%s", err.text);
    CHECK(change.voices == voices && change.recordings == recordings,
          "%s: %zu voices in %zu recordings changed, expected %zu in %zu", name, change.voices, change.recordings,
          voices, recordings);
}

/* The label of a speaker. */
static const char *label(es_store *s, int seed, int speaker)
{
    static char text[4][ES_PERSON_BYTES + 1];
    static int at;
    char *to = text[at++ % 4];
    es_names n = {0};
    es_err err = {0};

    CHECK(es_names_of(s, content_of(seed), 0, &n, &err) == ES_OK, "%s", err.text);
    const char *is = es_speaker_label(to, &n, speaker);
    if (is != to) snprintf(to, sizeof text[0], "%s", is);
    es_names_done(&n);
    return to;
}

/* ---- the same whatever came first ---- */

static void shuffled(void)
{
    static const int orders[][RECORDINGS] = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1, 0}, {3, 0, 6, 1, 7, 5, 2, 4}, {5, 2, 7, 0, 4, 1, 6, 3}};
    dump first = {0};

    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        char name[16];
        es_err err = {0};
        snprintf(name, sizeof name, "lib%zu", o);
        es_store *s = open_store(in_folder(name), ES_STORE_CREATE);
        if (!s) return;
        CHECK(es_voices_note_space(s, &CAM, &err) == ES_OK, "%s", err.text);
        for (int i = 0; i < RECORDINGS; i++) {
            const struct recording *r = &library[orders[o][i]];
            put_voices(s, r->seed, &CAM, r->who, r->n);
            /* Concluding in between, as one process after the other does, must leave no trace. */
            if (o % 2) CHECK(es_names_refresh(s, &err) == ES_OK, "%s", err.text);
            if (i == 3 && o == 2)
                enroll(s, "Anna", &CAM, 0, 1, 2, 2); /* before most recordings came, and after them all */
        }
        if (o != 2) {
            es_names_change change;
            CHECK(enroll_as(s, "Anna", &CAM, 0, 1, &change, &err) == ES_OK, "%s", err.text);
        }
        CHECK(es_names_refresh(s, &err) == ES_OK, "%s", err.text);
        CHECK(es_voices_fresh(s), "the conclusions are not fresh");
        check_whole(s);
        dump d = dump_store(s, false);
        if (o == 0) first = d;
        else CHECK(same_dump(&first, &d), "order %zu leads to another library", o);
        if (o) free(d.b.p);
        es_store_close(s);
    }
    free(first.b.p);
}

/* One person has one number everywhere; two have two. */
static void one_number(void)
{
    es_store *s = filled("lib", NULL);
    char of[6][ES_PERSON_BYTES + 1] = {{0}};

    if (!s) return;
    for (int i = 0; i < RECORDINGS; i++)
        for (int k = 0; k < library[i].n; k++) {
            int who = library[i].who[k];
            const char *is = label(s, library[i].seed, k);
            CHECK(es_person_number(is) >= 1 && es_person_number(is) <= 6, "person %d is %s", who, is);
            if (!of[who][0]) snprintf(of[who], sizeof of[who], "%s", is);
            CHECK_STR(is, of[who]);
            for (int other = 0; other < 6; other++)
                CHECK(other == who || strcmp(of[other], is), "persons %d and %d are both %s", who, other, is);
        }
    es_store_close(s);
    /* A library that is open for reading only, with conclusions that are out of date, says the same. */
    s = open_store(in_folder("lib"), 0);
    es_err err = {0};
    CHECK(es_store_remove(s, content_of(7), 0, &err) == ES_OK, "%s", err.text);
    CHECK(!es_voices_fresh(s), "removing a recording left the conclusions as they were");
    es_store_close(s);
    s = open_store(in_folder("lib"), ES_STORE_READ_ONLY);
    char stale[ES_PERSON_BYTES + 1];
    snprintf(stale, sizeof stale, "%s", label(s, 6, 2));
    es_store_close(s);
    s = open_store(in_folder("lib"), 0);
    CHECK_STR(label(s, 6, 2), stale);
    CHECK(es_voices_fresh(s));
    es_store_close(s);
}

/* ---- enrolling and saying ---- */

static void relabel(void)
{
    es_store *s = filled("lib", NULL);
    es_names_change change;
    es_err err = {0};
    char before[ES_PERSON_BYTES + 1];

    if (!s) return;
    snprintf(before, sizeof before, "%s", label(s, 2, 0));
    enroll(s, "Anna", &CAM, 0, 1, 4, 4); /* in recordings 1, 4, 5 and 6 */
    CHECK_STR(label(s, 1, 0), "Anna");
    CHECK_STR(label(s, 4, 1), "Anna");
    CHECK_STR(label(s, 5, 0), "Anna");
    CHECK_STR(label(s, 6, 3), "Anna");
    CHECK_STR(label(s, 2, 0), before);   /* nobody else is called otherwise */
    enroll(s, "Anna", &CAM, 0, 2, 0, 0); /* another clip of hers */
    CHECK_INT(enroll_as(s, "Anna", &CAM, 0, 2, &change, &err), ES_EARG);
    CHECK(strstr(err.text, "already; the same one says nothing new"), "%s", err.text);
    /* A later recording is named when it comes. */
    put_voices(s, 20, &CAM, (const int[]){3, 0}, 2);
    CHECK_STR(label(s, 20, 1), "Anna");
    /* A profile of another model is never compared, and it is said. */
    err = (es_err){0};
    enroll(s, "Bert", &RES, 1, 3, 0, 0);
    CHECK_STR(label(s, 2, 0), before);
    put_voices(s, 21, &RES, (const int[]){0, 1}, 2);
    CHECK(strcmp(label(s, 21, 0), "Anna"), "a profile was compared with another model's vectors");
    CHECK_STR(label(s, 21, 1), "Bert");
    put_voices(s, 22, &(es_space){.hash = {{9}}, .width = W}, (const int[]){0},
               1); /* a model nobody has ever heard of */
    es_names n = {0};
    CHECK(es_names_of(s, content_of(22), 0, &n, &err) == ES_OK, "%s", err.text);
    CHECK(n.n == 1 && !es_identity_named(&n.at[0].identity) && es_person_number(n.at[0].label) > 0, "%s",
          n.n ? n.at[0].label : "nobody");
    es_names_done(&n);
    check_whole(s);
    es_store_close(s);
}

static void refused(es_err *err, int rc, int want, const char *says)
{
    CHECK_INT(rc, want);
    CHECK(strstr(err->text, says), "\"%s\" does not say \"%s\"", err->text, says);
    *err = (es_err){0};
}

static void rename_merge_split(void)
{
    es_store *s = filled("lib", NULL);
    es_names_change c;
    es_place *places = NULL;
    size_t n = 0;
    es_err err = {0};
    char bert[32], cleo[32];

    if (!s) return;
    snprintf(bert, sizeof bert, "%s", label(s, 1, 1));
    snprintf(cleo, sizeof cleo, "%s", label(s, 3, 0));
    /* A number becomes a name, in all recordings. */
    CHECK(es_names_rename(s, bert, "Bert", &c, &err) == ES_OK, "%s", err.text);
    CHECK(c.voices == 4 && c.recordings == 4, "%zu in %zu", c.voices, c.recordings);
    CHECK_STR(label(s, 8, 1), "Bert");
    put_voices(s, 30, &CAM, (const int[]){1}, 1); /* and in those that come, for what was heard is a voice to know by */
    CHECK_STR(label(s, 30, 0), "Bert");
    CHECK(es_names_rename(s, "bert", "Robert", &c, &err) == ES_OK, "%s", err.text);
    CHECK(c.voices == 5, "%zu", c.voices);
    CHECK_STR(label(s, 8, 1), "Robert");
    refused(&err, es_names_rename(s, "Bert", "X", &c, &err), ES_ENOTFOUND, "nobody is enrolled under this name");
    refused(&err, es_names_rename(s, "Speaker 99", "X", &c, &err), ES_ENOTFOUND, "nobody in the library is called so");
    refused(&err, es_names_rename(s, "Robert", "a\nb", &c, &err), ES_EARG, "U+000A");
    enroll(s, "Anna", &CAM, 0, 1, 4, 4);
    refused(&err, es_names_rename(s, "Anna", "Robert", &c, &err), ES_EARG, "is enrolled already");
    CHECK(es_names_rename(s, "Anna", "Anne/Marie", &c, &err) == ES_OK, "%s", err.text); /* a name is no path */
    CHECK_STR(label(s, 5, 0), "Anne/Marie");
    CHECK(es_names_rename(s, "Anne/Marie", "Jose\xcc\x81", &c, &err) == ES_OK, "%s", err.text);
    CHECK(es_names_find(s, "JOS\xc3\x89", &places, &n, &err) == ES_OK, "%s", err.text); /* composed, and in capitals */
    CHECK_INT(n, 4);
    free(places);

    /* Robert is Cleo, the user says; later, that in recording 3 she is not. */
    CHECK(es_names_merge(s, "Robert", cleo, &c, &err) == ES_OK, "%s", err.text);
    CHECK(c.voices == 3 && c.recordings == 3, "%zu in %zu", c.voices, c.recordings);
    CHECK_STR(label(s, 3, 0), "Robert");
    CHECK(es_names_split(s, "Robert", content_of(3), 0, &c, &err) == ES_OK, "%s", err.text);
    CHECK_INT(c.voices, 1);
    CHECK(es_person_number(label(s, 3, 0)) > 0, "%s", label(s, 3, 0));
    CHECK_STR(label(s, 4, 2), "Robert");
    refused(&err, es_names_split(s, "Robert", content_of(3), 0, &c, &err), ES_ENOTFOUND,
            "does not speak in this recording");
    refused(&err, es_names_merge(s, "Robert", "Robert", &c, &err), ES_EARG, "themselves");

    /* Two without names are one; and a name outlives a number, whichever is said first. */
    char a[32], b[32];
    snprintf(a, sizeof a, "%s", label(s, 4, 0));
    snprintf(b, sizeof b, "%s", label(s, 7, 0));
    CHECK(strcmp(a, b), "both are %s", a);
    CHECK(es_names_merge(s, a, b, &c, &err) == ES_OK, "%s", err.text);
    CHECK_STR(label(s, 4, 0), label(s, 7, 0));
    CHECK_STR(label(s, 8, 0), label(s, 6, 1));
    CHECK(es_names_merge(s, label(s, 4, 0), "Robert", &c, &err) == ES_OK, "%s", err.text);
    CHECK_STR(label(s, 7, 0), "Robert");
    /* What was said survives that the recording is computed again, if the same was found; not if it was not. */
    put_voices(s, 3, &CAM, (const int[]){2}, 1);
    CHECK(es_person_number(label(s, 3, 0)) > 0, "%s", label(s, 3, 0));
    put_voices(s, 7, &CAM, (const int[]){5, 4}, 2);
    check_whole(s);
    es_store_close(s);
}

/* ---- listing ---- */

typedef struct lines {
    char text[2000];
} lines;

static int note_person(void *user, const es_names_person *p)
{
    lines *l = user;
    size_t n = strlen(l->text);

    snprintf(l->text + n, sizeof l->text - n, "%s: %zu clips, %zu voices, %lld ms, %s%s\n", p->name, p->clips,
             p->voices, (long long)p->net_ms, p->models, p->comparable ? "" : ", no vectors");
    return 0;
}

static void listing(void)
{
    es_store *s = filled("lib", NULL);
    es_err err = {0};
    lines l = {""};
    es_names_change c;

    if (!s) return;
    enroll(s, "Zo\xc3\xab", &CAM, 2, 1, 3, 3);
    enroll(s, "Anna", &CAM, 0, 2, 4, 4);
    enroll(s, "Anna", &RES, 0, 3, 0, 0);
    CHECK(es_names_list(s, note_person, &l, &err) == ES_OK, "%s", err.text);
    CHECK(strstr(l.text, "Anna: 2 clips, 4 voices, 24000 ms, campplus, resnet34-lm\n") == l.text, "%s", l.text);
    CHECK(strstr(l.text, "Zo\xc3\xab: 1 clips, 3 voices, 12000 ms, campplus\nSpeaker "), "%s", l.text);
    CHECK(strstr(l.text, ": 0 clips, 4 voices, 40000 ms, \n"), "%s", l.text); /* person 1 */
    int people = 0;
    for (const char *p = l.text; (p = strchr(p, '\n')); p++) people++;
    CHECK_INT(people, 6);
    char who[32];
    snprintf(who, sizeof who, "%s", label(s, 7, 0));
    CHECK(es_names_forget(s, who, &c, &err) == ES_OK, "%s", err.text);
    l.text[0] = 0;
    CHECK(es_names_list(s, note_person, &l, &err) == ES_OK, "%s", err.text);
    CHECK(strstr(l.text, "no vectors"), "%s", l.text);
    es_store_close(s);
}

/* ---- forgetting ---- */

static bool holds(const char *p, size_t n, const void *what, size_t bytes)
{
    return memmem(p, n, what, bytes) != NULL;
}

/* Whether any file below the folder holds these bytes. */
static bool folder_holds(const char *dir, const void *what, size_t bytes)
{
    bool found = false;
    DIR *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));) {
        char path[2048];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (holds(e->d_name, strlen(e->d_name), what, bytes)) found = true;
        if (e->d_type == DT_DIR) {
            found = found || folder_holds(path, what, bytes);
            continue;
        }
        FILE *f = fopen(path, "rb");
        if (!f) continue;
        fseek(f, 0, SEEK_END);
        long n = ftell(f);
        rewind(f);
        char *all = n > 0 ? malloc((size_t)n) : NULL;
        if (all && fread(all, 1, (size_t)n, f) == (size_t)n) found = found || holds(all, (size_t)n, what, bytes);
        free(all);
        fclose(f);
    }
    if (d) closedir(d);
    return found;
}

/* Eight numbers of a vector in one of the two precisions: what a search for "any stored vector" looks for. */
static bool folder_holds_vector(const char *dir, const float *x, bool half)
{
    uint16_t h[W];

    for (int i = 0; i < W; i++) h[i] = es_half_of(x[i]);
    for (int at = 0; at + 8 <= W; at += 8)
        if (half ? folder_holds(dir, h + at, 16) : folder_holds(dir, x + at, 32)) return true;
    return false;
}

static void forget(void)
{
    static const char name[] = "Wilhelmina Quix";
    const char *dir = in_folder("lib");
    es_store *s = filled("lib", NULL);
    es_names_change c;
    es_err err = {0};
    float clip[W], heard[W], weak[W];
    es_hash128 person = es_person_of(name);

    if (!s) return;
    enroll(s, name, &CAM, 0, 1, 4, 4);
    /* Two voices of one recording that are both like her: neither is named, both are hers for all that is known. */
    put_voices(s, 40, &CAM, (const int[]){0, 0}, 2);
    CHECK(es_person_number(label(s, 40, 0)) > 0, "%s", label(s, 40, 0));
    es_clip extra = {.content = content_of(2000),
                     .space = CAM.hash,
                     .width = W,
                     .vector = malloc(W * sizeof(float)),
                     .net_ms = 9000};
    voice(clip, 0, 1001, 0.15), es_identify_unit(clip, clip, W);
    memcpy(extra.vector, clip, sizeof clip), extra.vector[3] += 0.125f;
    CHECK(es_names_enroll(s, name, &CAM, &extra, 1, &c, &err) == ES_OK, "%s", err.text);
    CHECK(es_names_merge(s, name, label(s, 7, 0), &c, &err) == ES_OK, "%s", err.text); /* told, not heard */
    voice(heard, 0, 1, 0.15), voice(weak, 0, 40, 0.15);
    es_store_close(s); /* so that all of it is in the file */
    CHECK(folder_holds(dir, name, sizeof name - 1), "the name was never there");
    CHECK(folder_holds_vector(dir, clip, false) && folder_holds_vector(dir, heard, true) &&
              folder_holds_vector(dir, weak, true),
          "a vector was never there");

    s = open_store(dir, 0);
    CHECK(es_names_forget(s, name, &c, &err) == ES_OK, "%s", err.text);
    CHECK(c.voices == 5 && c.recordings == 5, "%zu voices in %zu recordings", c.voices, c.recordings);
    CHECK(es_store_compact(s, NULL, NULL, &err) == ES_OK, "%s", err.text);
    CHECK(!folder_holds(dir, name, sizeof name - 1), "the name is still there");
    CHECK(!folder_holds(dir, person.b, sizeof person.b), "the hash of the name is still there");
    CHECK(!folder_holds_vector(dir, clip, false) && !folder_holds_vector(dir, clip, true),
          "a vector of a clip is still there");
    clip[3] += 0.125f;
    CHECK(!folder_holds_vector(dir, clip, false), "a vector of the other clip is still there");
    for (int i = 0; i < RECORDINGS; i++)
        for (int k = 0; k < library[i].n; k++) {
            bool gone = library[i].who[k] == 0 || (library[i].who[k] == 5);
            voice(heard, library[i].who[k], library[i].seed, 0.15);
            CHECK(folder_holds_vector(dir, heard, true) == !gone, "the vector of person %d in recording %d %s",
                  library[i].who[k], library[i].seed, gone ? "is still there" : "has gone");
        }
    CHECK(!folder_holds_vector(dir, weak, true), "a vector that may be hers is still there");
    /* Nobody is her any more, and the turns are still there. */
    CHECK(es_person_number(label(s, 1, 0)) > 0, "%s", label(s, 1, 0));
    es_result r = {0};
    CHECK(es_store_get(s, content_of(1), 0, &r, &err) == ES_OK, "%s", err.text);
    CHECK_INT(r.who.n_turns, 2);
    es_result_done(&r);
    check_whole(s);
    es_store_close(s);
}

/* Two processes' worth of changes: a recording that comes while another is being named. */
static void stale(void)
{
    es_store *s = filled("lib", NULL);
    es_err err = {0};

    if (!s) return;
    CHECK(es_names_refresh(s, &err) == ES_OK, "%s", err.text);
    CHECK(es_voices_fresh(s));
    put_voices(s, 50, &CAM, (const int[]){4}, 1);
    CHECK(!es_voices_fresh(s), "a new recording left the conclusions as they were");
    CHECK_STR(label(s, 50, 0), label(s, 6, 0));
    CHECK(es_voices_fresh(s));
    /* A second conclusion changes nothing at all. */
    dump a = dump_store(s, true);
    CHECK(es_voices_note_space(s, &CAM, &err) == ES_OK, "%s", err.text);
    CHECK(es_names_refresh(s, &err) == ES_OK, "%s", err.text);
    dump b = dump_store(s, true);
    CHECK(same_dump(&a, &b), "a second conclusion differs");
    free(a.b.p), free(b.b.p);
    es_store_close(s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"shuffled", shuffled}, {"one_number", one_number},
        {"relabel", relabel},   {"rename_merge_split", rename_merge_split},
        {"listing", listing},   {"forget", forget},
        {"stale", stale},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
