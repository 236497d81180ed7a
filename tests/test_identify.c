/*
 * test_identify.c - names and numbers for voices made from a seed, whose cosines are known; what makes a recording good
 * enough to know a voice by; names that can be names.
 */
#include "work.h"

#include "base/people.h"
#include "speech/enroll.h"
#include "speech/identify.h"
#include "speech/windows.h"

enum { W = 64, PEOPLE = 6 };

static const es_space SPACE = {.hash = {{1}}, .model = "cam", .architecture = "campplus", .width = W};
static const es_space OTHER = {.hash = {{2}}, .model = "res", .architecture = "resnet34", .width = W};

/* A direction of its own for every person: the axes. */
static void person(float *x, int who)
{
    for (int i = 0; i < W; i++) x[i] = i == who ? 1 : 0;
}

/* A voice with exactly this cosine to its person; the rest of it is on an axis that no other voice has. */
static void voice(float *x, int who, double cosine, int own)
{
    person(x, who);
    for (int i = 0; i < W; i++) x[i] = (float)((double)x[i] * cosine);
    x[PEOPLE + own % (W - PEOPLE)] = (float)sqrt(1 - cosine * cosine);
}

/* ---- a library in memory ---- */

static void add_voice(es_people *all, int recording, int speaker, const es_space *space, const float *x, int64_t ms)
{
    es_voice *v;

    all->voices = realloc(all->voices, (all->n_voices + 1) * sizeof *v);
    v = &all->voices[all->n_voices++];
    *v = (es_voice){.content = {{(uint8_t)recording}},
                    .speaker = speaker,
                    .space = space->hash,
                    .width = W,
                    .alone_ms = ms,
                    .vector = malloc(W * sizeof *x)};
    memcpy(v->vector, x, W * sizeof *x);
}

static void add_profile(es_people *all, const char *name, const es_space *space, const float *const *x, int n)
{
    es_profile *p;

    all->profiles = realloc(all->profiles, (all->n_profiles + 1) * sizeof *p);
    p = &all->profiles[all->n_profiles++];
    *p = (es_profile){.n = (size_t)n, .clips = calloc((size_t)n, sizeof *p->clips)};
    snprintf(p->name, sizeof p->name, "%s", name);
    for (int i = 0; i < n; i++) {
        p->clips[i] = (es_clip){.content = {{(uint8_t)(100 + i)}},
                                .space = space->hash,
                                .width = W,
                                .net_ms = 10000,
                                .vector = malloc(W * sizeof(float))};
        memcpy(p->clips[i].vector, x[i], W * sizeof(float));
    }
}

static es_people empty(void)
{
    es_people all = {.spaces = malloc(2 * sizeof *all.spaces), .n_spaces = 2};

    all.spaces[0] = SPACE, all.spaces[1] = OTHER;
    return all;
}

static void identify(es_people *all)
{
    es_work w = work_of(es_identify_all_bytes(all));

    es_identify_all(all, &w);
    work_done(&w);
}

/* ---- names ---- */

static void thresholds(void)
{
    const es_identify_rule *r = es_identify_rule_of("campplus");
    double last = 0;

    CHECK(r->same == 0.60 && es_identify_threshold(r, 0) == 0.60, "one person: %g", es_identify_threshold(r, 0));
    CHECK(fabs(es_identify_threshold(r, 1) - r->same) < 1e-12);
    for (size_t n = 1; n < 100000; n *= 3) {
        double t = es_identify_threshold(r, n), z = (t - r->others) / r->spread;
        CHECK(t > last && t < 0.95, "%zu people: %g", n, t);
        /* The definition: each chance is an n-th. */
        double one = erfc((r->same - r->others) / r->spread / sqrt(2));
        CHECK(fabs(erfc(z / sqrt(2)) * (double)n / one - 1) < 1e-6, "%zu people: the chances add up to %g", n,
              erfc(z / sqrt(2)) * (double)n / one);
        last = t;
    }
    CHECK_STR(es_identify_rule_of("ecapa")->architecture, "ecapa");
    CHECK_STR(es_identify_rule_of("something else")->architecture, "");
}

static void check_verdict(const es_people *all, size_t i, int verdict, double score, double margin)
{
    const es_identity *d = &all->voices[i].identity;

    CHECK_INT(d->verdict, verdict);
    CHECK(fabs((double)d->score - score) < 1e-5, "voice %zu: score %g, expected %g", i, (double)d->score, score);
    CHECK(fabs((double)d->margin - margin) < 1e-5, "voice %zu: margin %g, expected %g", i, (double)d->margin, margin);
}

static void names(void)
{
    float a[W], b[W], x[W], short_one[W];
    es_people all = empty();

    person(a, 0), person(b, 1);
    add_profile(&all, "Anna", &SPACE, (const float *const[]){a}, 1);
    add_profile(&all, "Bert", &SPACE, (const float *const[]){b}, 1);
    add_profile(&all, "Cleo", &OTHER, (const float *const[]){a}, 1); /* of another model: never compared */
    voice(x, 0, 0.8, 0), add_voice(&all, 1, 0, &SPACE, x, 9000);     /* Anna */
    voice(x, 2, 0.9, 1), add_voice(&all, 1, 1, &SPACE, x, 9000);     /* nobody */
    voice(x, 0, 0.55, 2), add_voice(&all, 2, 0, &SPACE, x, 9000);    /* perhaps Anna */
    person(x, 1), x[1] = 0.72f, x[0] = 0.67f, add_voice(&all, 3, 0, &SPACE, x, 9000); /* Bert, but Anna as well */
    voice(x, 1, 0.8, 4), add_voice(&all, 4, 0, &SPACE, x, 9000); /* two voices of one recording are like Bert */
    voice(x, 1, 0.75, 5), add_voice(&all, 4, 1, &SPACE, x, 9000);
    voice(short_one, 0, 0.9, 6), add_voice(&all, 5, 0, &SPACE, short_one, 1999); /* too short */
    memset(x, 0, sizeof x), add_voice(&all, 6, 0, &SPACE, x, 9000);              /* forgotten */
    identify(&all);
    check_verdict(&all, 0, ES_VERDICT_NAMED, 0.8, 0.8);
    CHECK(es_hash_same(all.voices[0].identity.person, es_person_of("Anna")));
    check_verdict(&all, 1, ES_VERDICT_UNKNOWN, 0, -0.8); /* another voice there is that much nearer to Anna */
    check_verdict(&all, 2, ES_VERDICT_MAYBE, 0.55, 0.55);
    double length = sqrt(0.72 * 0.72 + 0.67 * 0.67);
    check_verdict(&all, 3, ES_VERDICT_CLOSE, 0.72 / length, 0.05 / length);
    check_verdict(&all, 4, ES_VERDICT_CLOSE, 0.8, 0.05);
    check_verdict(&all, 5, ES_VERDICT_CLOSE, 0.75, -0.05);
    check_verdict(&all, 6, ES_VERDICT_SHORT, 0, 0);
    check_verdict(&all, 7, ES_VERDICT_SHORT, 0, 0);
    es_people_done(&all);

    /* Only profiles of another model: said, and not compared although the numbers would fit. */
    all = empty();
    add_profile(&all, "Cleo", &OTHER, (const float *const[]){a}, 1);
    add_voice(&all, 1, 0, &SPACE, a, 9000);
    add_voice(&all, 2, 0, &OTHER, a, 9000);
    identify(&all);
    check_verdict(&all, 0, ES_VERDICT_INCOMPARABLE, 0, 0);
    check_verdict(&all, 1, ES_VERDICT_NAMED, 1, 1);
    es_people_done(&all);
}

/* The best three clips of a person may be nearer than their mean. */
static void best_clips(void)
{
    float c[5][W], x[W];
    const float *clips[5];
    es_people all = empty();

    for (int i = 0; i < 5; i++) person(c[i], i < 3 ? 0 : 1), clips[i] = c[i]; /* two days with another microphone */
    add_profile(&all, "Anna", &SPACE, clips, 5);
    person(x, 0), add_voice(&all, 1, 0, &SPACE, x, 9000);
    person(x, 1), add_voice(&all, 2, 0, &SPACE, x, 9000);
    identify(&all);
    check_verdict(&all, 0, ES_VERDICT_NAMED, 1, 1);
    /* mean direction (3, 2)/sqrt(13), and the best three are 1, 1, 0 */
    check_verdict(&all, 1, ES_VERDICT_NAMED, 2.0 / 3, 2.0 / 3);
    es_people_done(&all);
}

/* ---- numbers ---- */

static uint32_t number(const es_people *all, size_t i)
{
    return all->voices[i].identity.number;
}

static void numbers(void)
{
    float x[W];
    es_people all = empty();

    voice(x, 0, 0.9, 0), add_voice(&all, 1, 0, &SPACE, x, 9000);
    voice(x, 1, 0.9, 1), add_voice(&all, 1, 1, &SPACE, x, 9000);
    voice(x, 1, 0.9, 2), add_voice(&all, 2, 0, &SPACE, x, 9000);
    voice(x, 0, 0.9, 3), add_voice(&all, 2, 1, &SPACE, x, 9000);
    voice(x, 0, 0.95, 4),
        add_voice(&all, 2, 2, &SPACE, x, 9000); /* of two that are like one, the nearer one is the person */
    voice(x, 0, 0.9, 5), add_voice(&all, 3, 0, &OTHER, x, 9000); /* of another model: somebody else */
    voice(x, 0, 0.9, 6), add_voice(&all, 4, 0, &SPACE, x, 1000); /* too short to be anybody */
    voice(x, 3, 0.9, 7), add_voice(&all, 5, 0, &SPACE, x, 9000);
    identify(&all);
    static const uint32_t want[] = {1, 2, 2, 3, 1, 4, 5, 6};
    for (size_t i = 0; i < all.n_voices; i++)
        CHECK(number(&all, i) == want[i], "voice %zu is Speaker %u, expected %u", i, number(&all, i), want[i]);

    /* Enrolling somebody names, and renumbers nobody. */
    person(x, 0);
    add_profile(&all, "Anna", &SPACE, (const float *const[]){x}, 1);
    identify(&all);
    for (size_t i = 0; i < all.n_voices; i++) CHECK_INT(number(&all, i), want[i]);
    CHECK_INT(all.voices[0].identity.verdict, ES_VERDICT_NAMED);
    CHECK_INT(all.voices[4].identity.verdict, ES_VERDICT_CLOSE); /* another voice there is as near */

    /* What the user says stands above what is heard. */
    all.voices[3].saying = (es_saying){ES_SAID_IS, es_person_of("Anna")};
    all.voices[7].saying = (es_saying){ES_SAID_IS, {{9}}}; /* a group: the same as voice 1 */
    all.voices[1].saying = (es_saying){ES_SAID_IS, {{9}}};
    all.voices[0].saying = (es_saying){.said = ES_SAID_APART};
    identify(&all);
    CHECK_INT(all.voices[3].identity.verdict, ES_VERDICT_TOLD);
    CHECK(number(&all, 7) == number(&all, 1), "the voices of a group are %u and %u", number(&all, 1), number(&all, 7));
    CHECK(all.voices[0].identity.verdict == ES_VERDICT_UNKNOWN, "a voice that is said to be nobody's got a name");
    for (size_t i = 1; i < all.n_voices; i++)
        CHECK(number(&all, i) != number(&all, 0), "voice %zu joined one that is apart", i);
    es_people_done(&all);
}

/* 40 recordings of 12 people with noise: every voice finds its person, and nothing depends on how the arrays were
 * filled. */
static void many(void)
{
    es_noise noise = {11};
    es_people all = empty();
    int who[200], n = 0;
    uint32_t of[12] = {0}, seen = 0;

    for (int r = 0; r < 40; r++)
        for (int k = 0, first = (int)(es_noise_uniform(&noise) * 12); k < 1 + r % 4; k++) {
            float x[W];
            int p = (first + 5 * k) % 12;
            es_noise_fill(&noise, x, W, 0.06);
            x[p] += 1;
            add_voice(&all, r + 1, k, &SPACE, x, 3000 + 100 * r);
            who[n++] = p;
        }
    identify(&all);
    for (int i = 0; i < n; i++) {
        if (!of[who[i]]) of[who[i]] = ++seen;
        CHECK(number(&all, (size_t)i) == of[who[i]], "voice %d of person %d is Speaker %u, expected %u", i, who[i],
              number(&all, (size_t)i), of[who[i]]);
    }
    CHECK_INT(seen, 12);
    es_people_done(&all);
}

/* ---- enrolment ---- */

static void pieces(void)
{
    static const struct {
        int64_t samples;
        int n;
    } cases[] = {{0, 0}, {23999, 0}, {24000, 1}, {48000, 1}, {48001, 2}, {72000, 2}, {72001, 3}, {160000, 6}};
    int64_t from[16];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(es_enroll_pieces(NULL, cases[i].samples), cases[i].n);
        CHECK_INT(es_enroll_pieces(from, cases[i].samples), cases[i].n);
        for (int k = 0; k < cases[i].n; k++)
            CHECK(from[k] == 24000 * k && cases[i].samples - from[k] >= 24000, "a piece of %lld",
                  (long long)(cases[i].samples - from[k]));
    }
}

static void mean_of(float *mean, es_enrolled *how, double *share, int *left_out, const float *pieces, int n, int width,
                    const es_identify_rule *rule)
{
    es_work w = work_of(es_enroll_mean_bytes(n, width));

    es_enroll_mean(mean, how, share, left_out, pieces, n, width, rule, &w);
    work_done(&w);
}

static void one_voice(void)
{
    const es_identify_rule *rule = es_identify_rule_of("campplus");
    float x[20 * W], mean[W], want[W];
    es_enrolled how;
    double share;
    int left_out;

    /* One person in 20 pieces, one of which is somebody else's cough. */
    for (int i = 0; i < 20; i++) voice(x + i * W, i == 7 ? 1 : 0, 0.85, i);
    mean_of(mean, &how, &share, &left_out, x, 20, W, rule);
    CHECK_INT(how, ES_ENROLLED_OK);
    CHECK_INT(left_out, 1);
    person(want, 0);
    CHECK(es_identify_cosine(mean, want, W) > 0.98 && mean[1] == 0, "the mean is at %g",
          es_identify_cosine(mean, want, W));
    CHECK(fabs(es_identify_cosine(mean, mean, W) - 1) < 1e-6);
    /* One piece alone. */
    mean_of(mean, &how, &share, &left_out, x, 1, W, rule);
    CHECK_INT(how, ES_ENROLLED_OK);
    CHECK(fabs(es_identify_cosine(mean, x, W) - 1) < 1e-6);
    /* Two people, one after the other, and each in turn. */
    for (int turns = 0; turns < 2; turns++) {
        for (int i = 0; i < 20; i++) voice(x + i * W, turns ? i % 2 : i >= 12, 0.85, i);
        mean_of(mean, &how, &share, &left_out, x, 20, W, rule);
        CHECK_INT(how, ES_ENROLLED_TWO);
        CHECK(fabs(share - (turns ? 0.5 : 0.4)) < 1e-9, "the second voice has %g", share);
    }
    /* Noise is no voice. */
    es_noise noise = {3};
    es_noise_fill(&noise, x, 20 * W, 1);
    mean_of(mean, &how, &share, &left_out, x, 20, W, rule);
    CHECK(how == ES_ENROLLED_UNLIKE || how == ES_ENROLLED_TWO, "noise was taken for a voice");
}

static void quality(void)
{
    enum { N = 64000 };
    float *x = malloc(N * sizeof *x);
    es_noise noise = {5};
    es_stretch *s = NULL, all = {16000, 48000};
    size_t n = 0;

    /* Noise of 30 dB less around a loud middle. */
    for (int i = 0; i < N; i++) x[i] = (float)es_noise_normal(&noise) * (i >= 16000 && i < 48000 ? 0.1f : 0.1f / 31.6f);
    es_enroll_quality q = es_enroll_measure(x, N, &all, 1);
    CHECK(q.clipped < 0.001 && fabs(q.noise_db - 30) < 0.5, "clipped %g, %g dB", q.clipped, q.noise_db);
    /* Cut off at one deviation, then turned down: as flat as before. */
    for (int i = 0; i < N; i++) x[i] = 0.3f * fminf(fmaxf(x[i], -0.1f), 0.1f);
    q = es_enroll_measure(x, N, &all, 1);
    CHECK(q.clipped > 0.25 && q.clipped < 0.4, "clipped %g", q.clipped);
    for (int i = 0; i < N; i++)
        if (i < 16000 || i >= 48000) x[i] = 1e-5f;
    CHECK_INT(es_enroll_loud(&s, &n, x, N), 0);
    CHECK_INT(n, 1);
    CHECK(n == 1 && s[0].from == 16000 - 1600 && s[0].to == 48000 + 1600, "loud from %lld to %lld",
          (long long)s[0].from, (long long)s[0].to);
    free(s);
    for (int i = 0; i < N; i++) x[i] = 0;
    CHECK_INT(es_enroll_loud(&s, &n, x, N), 0);
    CHECK_INT(n, 0);
    q = es_enroll_measure(x, N, s, n);
    CHECK(q.clipped == 0);
    free(s), free(x);
}

/* Classes of windows that hear slot 0 alone in the first half, then what `second` says. */
static double second_share(uint8_t second, es_stretch **s, size_t *n)
{
    enum { C = 3 };
    uint8_t classes[C * ES_WINDOW_FRAMES];
    double share = -1;

    for (int c = 0; c < C; c++)
        for (int f = 0; f < ES_WINDOW_FRAMES; f++) classes[c * ES_WINDOW_FRAMES + f] = f < 295 ? 1 : second;
    CHECK_INT(es_enroll_alone(s, n, &share, classes, C, 240000), 0);
    return share;
}

static void alone(void)
{
    es_stretch *s = NULL;
    size_t n = 0;

    CHECK(second_share(1, &s, &n) == 0);
    CHECK(n == 1 && es_enroll_samples(s, n) > 239000, "%zu stretches of %lld samples", n,
          (long long)es_enroll_samples(s, n));
    free(s);
    CHECK(fabs(second_share(2, &s, &n) - 294.0 / 589) < 1e-9); /* another slot */
    free(s);
    CHECK(fabs(second_share(4, &s, &n) - 294.0 / (589 + 294)) < 1e-9); /* both at once */
    CHECK(es_enroll_samples(s, n) < 200000, "overlapped speech was taken");
    free(s);
    CHECK(second_share(0, &s, &n) == 0);
    free(s);
}

static int alone_of(const es_people *all, const es_space *space, const float *pieces, int n, char *why, size_t room)
{
    es_work w = work_of(es_identify_some_bytes(all, space, n));
    int found = es_identify_alone(all, space, pieces, n, why, room, &w);

    work_done(&w);
    return found;
}

static void alone_throughout(void)
{
    float a[W], b[W], x[10 * W];
    es_people all = empty();
    char why[300];

    person(a, 0), person(b, 1);
    CHECK_INT(alone_of(&all, &SPACE, a, 1, why, sizeof why), -1);
    CHECK(strstr(why, "nobody is enrolled"), "%s", why);
    add_profile(&all, "Anna", &SPACE, (const float *const[]){a}, 1);
    add_profile(&all, "Bert", &SPACE, (const float *const[]){b}, 1);
    for (int i = 0; i < 10; i++) voice(x + i * W, 1, 0.75, i);
    CHECK_INT(alone_of(&all, &SPACE, x, 10, why, sizeof why), 1);
    CHECK(strstr(why, "Bert") && strstr(why, "10 pieces"), "%s", why);
    CHECK_INT(alone_of(&all, &SPACE, x, 0, why, sizeof why), -1);
    voice(x + 4 * W, 1, 0.4, 4); /* the weakest decides, not the mean */
    CHECK_INT(alone_of(&all, &SPACE, x, 10, why, sizeof why), -1);
    CHECK(strstr(why, "1 of 10 pieces are unlike"), "%s", why);
    voice(x + 4 * W, 0, 0.9, 4);
    CHECK_INT(alone_of(&all, &SPACE, x, 10, why, sizeof why), -1);
    CHECK(strstr(why, "another enrolled voice"), "%s", why);
    for (int i = 0; i < 10; i++) voice(x + i * W, 2, 0.9, i);
    CHECK_INT(alone_of(&all, &SPACE, x, 10, why, sizeof why), -1);
    CHECK(strstr(why, "nobody's who is enrolled"), "%s", why);
    CHECK_INT(alone_of(&all, &OTHER, x, 10, why, sizeof why), -1);
    CHECK(strstr(why, "with the model res"), "%s", why);
    es_people_done(&all);
}

static void good_and_bad_names(void)
{
    static const char *const good[] = {"Anna",
                                       "Jos\xc3\xa9 da Silva",
                                       "\xe6\x9d\x8e\xe5\xb0\x8f\xe9\xbe\x99",
                                       "O'Brien/Smith",
                                       "../anna",
                                       "a",
                                       "Speaker",
                                       "Speaker 012",
                                       "Speaker Anna",
                                       "Speaker 12b",
                                       "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae"};
    static const struct {
        const char *name, *says;
    } bad[] = {{"", "empty"},
               {"a\nb", "U+000A"},
               {"a\tb", "U+0009"},
               {"\x1b[31mred", "U+001B"},
               {"a\x7f", "U+007F"},
               {"a\xc2\x85", "U+0085"},
               {"a\xe2\x80\xae", "U+202E"},
               {"a\xff", "not UTF-8 at byte 2"},
               {"\xed\xa0\x80", "not UTF-8 at byte 1"},
               {" Anna", "begins with a blank"},
               {"Anna ", "ends with a blank"},
               {"Anna\xc2\xa0", "ends with a blank"},
               {"Speaker 12", "somebody without a name"}};
    char longest[ES_PERSON_BYTES + 2];
    es_err err = {0};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        err = (es_err){0};
        CHECK(es_person_check(good[i], &err) == ES_OK, "%s: %s", good[i], err.text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (es_err){0};
        CHECK_INT(es_person_check(bad[i].name, &err), ES_EARG);
        CHECK(strstr(err.text, bad[i].says), "\"%s\" does not say \"%s\"", err.text, bad[i].says);
        for (const char *p = err.text; *p; p++)
            CHECK((unsigned char)*p >= 0x20, "the sentence holds a control character");
    }
    memset(longest, 'x', sizeof longest);
    longest[ES_PERSON_BYTES] = 0;
    CHECK_INT(es_person_check(longest, NULL), ES_OK);
    longest[ES_PERSON_BYTES] = 'x', longest[ES_PERSON_BYTES + 1] = 0;
    CHECK_INT(es_person_check(longest, NULL), ES_EARG);
    CHECK_INT(es_person_number("Speaker 12"), 12);
    CHECK_INT(es_person_number("Speaker 0"), 0);
    CHECK_INT(es_person_number("speaker 12"), 0);
    CHECK_INT(es_person_number("Speaker 99999999999"), 0);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"thresholds", thresholds},
        {"names", names},
        {"best_clips", best_clips},
        {"numbers", numbers},
        {"many", many},
        {"pieces", pieces},
        {"one_voice", one_voice},
        {"quality", quality},
        {"alone", alone},
        {"alone_throughout", alone_throughout},
        {"good_and_bad_names", good_and_bad_names},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
