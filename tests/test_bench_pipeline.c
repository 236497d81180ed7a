/*
 * test_bench_pipeline.c - figures of the whole pipeline: what they add up to, what is kept and read again, how two runs are
 * compared, and which files are none of ours.
 */
#include "test.h"

#include "base/json.h"
#include "pipeline/bench/figures.h"
#include "pipeline/bench/synthetic_pipeline.h"

static const char *write_file(const char *name, const char *text, size_t bytes)
{
    static char path[4200];

    snprintf(path, sizeof path, "%s/%s", es_test_folder(), name);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(text, 1, bytes, f) == bytes && !fclose(f), "%s cannot be written", path);
    return path;
}

static es_figures made_up(void)
{
    es_figures f = {.what = "one,two", .device = "a device", .recordings = 4, .audio_seconds = 1800, .load_seconds = 2, .seconds = 100,
                    .cpu_seconds = 150, .budget_bytes = 16000000000, .arena_bytes = 1000000, .plan_bytes = 1500000, .peak_bytes = 2097152,
                    .anonymous_bytes = 1048576, .joules = 500, .energy = "a meter"};

    es_figures_sign(&f);
    es_figures_add(&f, "first", 60, 0.5);
    es_figures_add(&f, "second", 30, -1);
    es_figures_add_beside(&f, "beside", 200);
    return f;
}

static double change(const es_figures *now, const es_figures *before, const char *line, es_figures_change *found)
{
    es_figures_change c[ES_FIGURES_CHANGES];
    int n = es_figures_compare(c, now, before);

    for (int i = 0; i < n; i++) {
        if (strncmp(c[i].line, line, strlen(line)) || c[i].line[strlen(line)] != ',') continue;
        if (found) *found = c[i];
        return c[i].percent;
    }
    CHECK(false, "there is no line %s", line);
    return NAN;
}

/* What is beside has no part in the sum; what is kept is what comes back. */
static void kept(void)
{
    es_figures f = made_up(), back;
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    CHECK(fabs(es_figures_sum(&f) - 90) < 1e-9 && fabs(es_figures_speed(&f) - 18) < 1e-9, "sum %g, speed %g", es_figures_sum(&f), es_figures_speed(&f));
    CHECK(es_figures_show(&f, NULL, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    const char *path = write_file("kept.json", text, bytes);
    CHECK(es_figures_read(&back, path, &err) == ES_OK, "%s", err.text);
    CHECK(!strcmp(back.what, f.what) && !strcmp(back.commit, f.commit) && !strcmp(back.energy, f.energy) && back.recordings == 4 &&
              back.n_stages == 3 && back.stage[2].beside && back.stage[0].fill == 0.5 && back.stage[1].fill < 0 && back.joules == 500 &&
              back.peak_bytes == f.peak_bytes && back.budget_bytes == f.budget_bytes && fabs(back.seconds - 100) < 1e-9,
          "%s", text);
    free(text);
    CHECK(es_figures_show(&f, NULL, false, &text, &bytes, &err) == ES_OK, "%s", err.text);
    /* 4 recordings in 100 s are 144 an hour; a first stage of 60 s does 1800 s of sound 30 times as fast. */
    CHECK(strstr(text, "| first | 60.000 | 60.0 % | 30.0 | 50 % |") && strstr(text, "| the rest | 10.000 | 10.0 % |") &&
              strstr(text, "| whole | 100.000 | 100.0 % | 18.0 |") && strstr(text, "144.0 videos/h of 7.5 min") &&
              strstr(text, "| beside, beside | 200.000 |") && strstr(text, "most of it: first (60 %)"),
          "%s", text);
    free(text);
}

/* Twice the sound in twice the time is no change. */
static void compared(void)
{
    es_figures before = made_up(), now = made_up();
    es_figures_change c;
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    now.audio_seconds *= 2, now.seconds *= 2;
    now.stage[0].seconds = 150; /* 75 s in the half */
    now.stage[1].seconds = 30;  /* half of what it took */
    snprintf(now.stage[2].name, sizeof now.stage[2].name, "other");
    now.arena_bytes = 1200000, now.joules = 1000;
    CHECK(fabs(change(&now, &before, "first", &c) - 25) < 1e-9 && fabs(c.before - 120) < 1e-9 && fabs(c.now - 150) < 1e-9, "%g: %g, %g",
          c.percent, c.before, c.now);
    CHECK(fabs(change(&now, &before, "second", NULL) + 50) < 1e-9, "half the time is no half");
    CHECK(fabs(change(&now, &before, "whole", NULL)) < 1e-9, "the whole changed");
    CHECK(fabs(change(&now, &before, "the rest", NULL)) < 1e-9, "the rest changed");
    CHECK(fabs(change(&now, &before, "arena", NULL) - 20) < 1e-9, "the arena did not grow by a fifth");
    CHECK(fabs(change(&now, &before, "energy", NULL)) < 1e-9, "the energy changed");
    CHECK(isnan(change(&now, &before, "other", &c)) && isnan(c.before) && !isnan(c.now), "a new line has a past");
    CHECK(isnan(change(&now, &before, "beside", &c)) && isnan(c.now) && !isnan(c.before), "a line that is gone is there");
    CHECK(es_figures_show(&now, &before, false, &text, &bytes, &err) == ES_OK, "%s", err.text);
    CHECK(strstr(text, "| first, s an hour of sound | 120.00 | 150.00 | +25.0 % |") && strstr(text, "| 400.00 | new |") == NULL &&
              strstr(text, "| new |") && strstr(text, "| gone |"),
          "%s", text);
    free(text);
    CHECK(es_figures_show(&now, &before, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    es_json *j = NULL;
    CHECK(es_json_parse(&j, text, bytes, "figures", &err) == ES_OK, "%s", err.text);
    CHECK(es_json_count(es_json_get(es_json_get(es_json_root(j), "against"), "changes")) == 9, "%s", text);
    es_json_close(j);
    free(text);
}

/* Each is refused with a sentence that names the file, and the member that is wrong. */
static void bad_files(void)
{
    static const struct {
        const char *is, *becomes, *says;
    } cases[] = {
        {"\"pipeline\"", "\"asr\"", "\"bench\""},
        {"\"audio_seconds\": 1800.000", "\"audio_seconds\": 0", "\"audio_seconds\""},
        {"\"seconds\": 100.000000", "\"seconds\": -1", "\"seconds\""},
        {"\"seconds\": 60.000000", "\"seconds\": \"long\"", "\"stages\""},
        {"\"arena_bytes\": 1000000", "\"arena_bytes\": 0.5", "\"arena_bytes\""},
        {"\"joules\": 500.000", "\"joules\": \"many\"", "\"joules\""},
        {"\"device\"", "\"divice\"", "\"device\""},
        {"{", "[", "kept.json"},
    };
    es_figures f = made_up(), back;
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    CHECK(es_figures_show(&f, NULL, true, &text, &bytes, &err) == ES_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char bad[8192];
        const char *at = strstr(text, cases[i].is);
        CHECK(at != NULL, "%s is not there", cases[i].is);
        if (!at) continue;
        int n = snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, cases[i].becomes, at + strlen(cases[i].is));
        err = (es_err){0};
        int rc = es_figures_read(&back, write_file("kept.json", bad, (size_t)n), &err);
        CHECK(rc != ES_OK && strstr(err.text, cases[i].says) && strstr(err.text, "kept.json") && !strchr(err.text, '\n'), "case %zu: %d, \"%s\"", i,
              rc, err.text);
    }
    free(text);
    err = (es_err){0};
    CHECK(es_figures_read(&back, "/nowhere/at/all.json", &err) == ES_ENOTFOUND && strstr(err.text, "all.json"), "%s", err.text);
    err = (es_err){0};
    CHECK(es_figures_read(&back, write_file("kept.json", "", 0), &err) != ES_OK && *err.text, "an empty file is taken");
}

/* All stages of a run without media, packs or a library; their seconds are parts of the whole, memory is the plan's. */
static void synthetic(void)
{
    static const char *const stages[] = {"find speech", "hear voices", "tell them apart", "mel and encoder", "decoder", "word alignment", "text vectors"};
    const es_synthetic_pipeline_options o = {.with = "two-layers,segmentation-3.0,campplus,two-layers-text", .threads = 2, .seconds = 12};
    es_figures f;
    es_err err = {0};

    CHECK(es_synthetic_pipeline(&o, &f, &err) == ES_OK, "%s", err.text);
    CHECK_INT(f.n_stages, (int)(sizeof stages / sizeof stages[0]));
    for (int i = 0; i < f.n_stages; i++) {
        CHECK(!strcmp(f.stage[i].name, stages[i]), "stage %d is %s", i, f.stage[i].name);
        CHECK(f.stage[i].fill <= 1 && (f.stage[i].seconds > 0 || !strcmp(stages[i], "word alignment")), "%s: %g s, %g full", f.stage[i].name,
              f.stage[i].seconds, f.stage[i].fill);
    }
    CHECK(es_figures_sum(&f) <= f.seconds && es_figures_sum(&f) > 0.5 * f.seconds, "the stages take %g s, all %g", es_figures_sum(&f), f.seconds);
    CHECK_INT(f.allocations, 0);
    CHECK(f.recordings == 1 && f.audio_seconds == 12 && f.cpu_seconds > 0, "%d recordings of %g s", (int)f.recordings, f.audio_seconds);
    CHECK(f.arena_bytes > 30000000 && f.plan_bytes >= f.arena_bytes && f.peak_bytes > f.arena_bytes, "arena %llu, peak %llu",
          (unsigned long long)f.arena_bytes, (unsigned long long)f.peak_bytes);
}

static int stop_at_once(void *user, const char *stage, double fraction)
{
    (void)user, (void)stage, (void)fraction;
    return 1;
}

static void refused(void)
{
    static const struct {
        const char *with;
        uint64_t budget;
        int rc;
        const char *says;
    } cases[] = {{"tiny,base", 0, ES_EARG, "base is one too many"},
                 {"campplus,resnet34,ecapa", 0, ES_EARG, "ecapa is one too many"},
                 {"tiny,nonsense", 0, ES_EARG, "nonsense"},
                 {",", 0, ES_EARG, "no model is named"},
                 {"tiny", 1000000, ES_EBUDGET, "1.0 MB"}};
    es_synthetic_pipeline_options o = {.with = "two-layers-text", .threads = 1, .seconds = 12, .tell = stop_at_once};
    es_figures f;
    es_err err = {0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const es_synthetic_pipeline_options bad = {.with = cases[i].with, .threads = 1, .budget = cases[i].budget};
        err = (es_err){0};
        int rc = es_synthetic_pipeline(&bad, &f, &err);
        CHECK(rc == cases[i].rc && strstr(err.text, cases[i].says), "%s: %d, \"%s\"", cases[i].with, rc, err.text);
    }
    err = (es_err){0};
    CHECK(es_synthetic_pipeline(&o, &f, &err) == ES_ECANCELLED, "%s", err.text);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"kept", kept}, {"compared", compared}, {"bad_files", bad_files}, {"synthetic", synthetic}, {"refused", refused},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
