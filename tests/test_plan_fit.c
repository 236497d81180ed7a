/*
 * test_plan_fit.c - how large batches are to be: within the budget, least in time, the same every time, and refused with a
 * sentence that helps.
 *
 * All of it from the names of architectures, without weights and without a device.
 */
#define _GNU_SOURCE
#include "pipeline/bench/bench_batches.h"
#include "pipeline/session/cost.h"
#include "pipeline/session/fit.h"
#include "pipeline/session/session.h"
#include "seeded.h"
#include "test.h"

static const char mission[] = "distil-large-v3,segmentation-3.0,ecapa,resnet34,gte-qwen2-1.5b";

/* What a plan says of itself. */
typedef struct outcome {
    int rc;
    es_plan_totals totals;
    double seconds; /* of an hour */
    es_session_limits step[ES_LINEUP_MOST];
    char why[1024];
} outcome;

static outcome fitted(const char *names, es_fit_options o)
{
    outcome r = {0};
    es_lineup l = {0};
    es_plan *p = NULL;
    es_err err = {0};

    o.threads = 2;
    r.rc = es_lineup_add_presets(&l, names, &err);
    if (r.rc == ES_OK) r.rc = es_fit(&p, &l, &o, &err);
    snprintf(r.why, sizeof r.why, "%s", err.text);
    if (p) es_plan_totals_get(p, &r.totals);
    for (int i = 0; i < l.n && r.rc == ES_OK; i++) {
        const es_session_limits *s = &l.at[i]->step;
        r.step[i] = *s;
        switch (l.at[i]->kind) {
        case ES_LINEUP_WHISPER:
            r.seconds += es_cost_hour(l.at[i], o.backend, 2, o.costs, false, s->windows) + es_cost_hour(l.at[i], o.backend, 2, o.costs, true, s->slots);
            break;
        case ES_LINEUP_PYANNET: r.seconds += es_cost_hour(l.at[i], o.backend, 2, o.costs, false, s->segments); break;
        case ES_LINEUP_SPEAKER: r.seconds += es_cost_hour(l.at[i], o.backend, 2, o.costs, false, s->frames); break;
        case ES_LINEUP_EMBEDDER: r.seconds += es_cost_hour(l.at[i], o.backend, 2, o.costs, false, s->tokens); break;
        }
    }
    es_lineup_done(&l);
    es_plan_close(p);
    return r;
}

/* More memory is never slower, and no plan is larger than its budget. */
static void budgets(void)
{
    static const double gigabytes[] = {5.6, 6, 7, 8, 10, 12, 16, 24, 48, 80};
    double last = INFINITY;

    for (size_t i = 0; i < sizeof gigabytes / sizeof gigabytes[0]; i++) {
        uint64_t budget = (uint64_t)(gigabytes[i] * 1e9);
        outcome r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = budget});
        CHECK(r.rc == ES_OK, "%.1f GB: %s", gigabytes[i], r.why);
        CHECK(r.totals.total <= budget, "%.1f GB: the plan takes %llu bytes", gigabytes[i], (unsigned long long)r.totals.total);
        CHECK(r.totals.outside > 0 && r.totals.total == r.totals.arena + r.totals.outside, "what lies outside is not counted");
        CHECK(r.seconds <= last * 1.011, "%.1f GB takes %.2f s, less memory took %.2f s", gigabytes[i], r.seconds, last);
        CHECK(r.step[0].windows <= r.step[0].slots, "%d windows for %d slots", r.step[0].windows, r.step[0].slots);
        last = r.seconds < last ? r.seconds : last;
    }
    CHECK(last < fitted(mission, (es_fit_options){.backend = ES_CUDA, .least = true}).seconds / 3, "batches gain nothing");
}

/* The smallest budget fits, one byte less does not, and what is then named to be dropped makes room. */
static void the_smallest_budget(void)
{
    outcome least = fitted(mission, (es_fit_options){.backend = ES_CUDA, .least = true});
    CHECK(least.rc == ES_OK && least.totals.budget == least.totals.total, "%s", least.why);
    outcome r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = least.totals.total});
    CHECK(r.rc == ES_OK && r.totals.total == least.totals.total, "%s", r.why);
    r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = least.totals.total - 1});
    CHECK(r.rc == ES_EBUDGET, "a byte too little is enough");
    /* The smallest model that is large enough is named first. */
    CHECK(strstr(r.why, "it fits without segmentation-3.0 or without resnet34"), "%s", r.why);
    outcome without = fitted("distil-large-v3,ecapa,resnet34,gte-qwen2-1.5b",
                             (es_fit_options){.backend = ES_CUDA, .budget = least.totals.total - 1});
    CHECK(without.rc == ES_OK, "%s", without.why);
    /* Where no single one makes room, several are named. */
    r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = 1000000000});
    CHECK(r.rc == ES_EBUDGET && strstr(r.why, "it fits without distil-large-v3 and gte-qwen2-1.5b"), "%s", r.why);
    without = fitted("segmentation-3.0,ecapa,resnet34", (es_fit_options){.backend = ES_CUDA, .budget = 1000000000});
    CHECK(without.rc == ES_OK, "%s", without.why);
    r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = 10000000});
    CHECK(r.rc == ES_EBUDGET && strstr(r.why, "no one of the models fits alone"), "%s", r.why);
    r = fitted("tiny", (es_fit_options){.backend = ES_CPU, .budget = 1000000});
    CHECK(r.rc == ES_EBUDGET && strstr(r.why, "1000000 bytes") && strstr(r.why, "the model does not fit"), "%s", r.why);
}

/* Two stages by trying everything: no combination that fits is faster by more than two hundredths. */
static void nothing_is_faster(void)
{
    static const int segments[] = {1, 2, 4, 8, 16, 32, 64, 128}, frames[] = {1024, 2048, 4096, 8192, 16384, 32768, 65536};
    enum { S = 8, F = 7, TRIES = 9 };
    static outcome all[S][F];
    uint64_t least = UINT64_MAX, most = 0;

    for (int i = 0; i < S; i++)
        for (int j = 0; j < F; j++) {
            all[i][j] = fitted("segmentation-3.0,campplus",
                               (es_fit_options){.backend = ES_CUDA, .wish = {.segments = segments[i], .frames = frames[j]}});
            CHECK(all[i][j].rc == ES_OK && all[i][j].step[0].segments == segments[i] && all[i][j].step[1].frames == frames[j],
                  "a wish is not granted: %s", all[i][j].why);
            if (all[i][j].totals.total < least) least = all[i][j].totals.total;
            if (all[i][j].totals.total > most) most = all[i][j].totals.total;
        }
    for (int k = 0; k < TRIES; k++) {
        uint64_t budget = least + (most - least) * (uint64_t)(k * k) / ((TRIES - 1) * (TRIES - 1));
        outcome r = fitted("segmentation-3.0,campplus", (es_fit_options){.backend = ES_CUDA, .budget = budget});
        double best = INFINITY;
        CHECK(r.rc == ES_OK && r.totals.total <= budget, "%s", r.why);
        for (int i = 0; i < S; i++)
            for (int j = 0; j < F; j++)
                if (all[i][j].totals.total <= budget && all[i][j].seconds < best) best = all[i][j].seconds;
        CHECK(r.seconds <= best * 1.02, "%llu bytes: %.3f s, but %.3f s is possible", (unsigned long long)budget, r.seconds, best);
    }
}

/* The same options, the same plan; and nothing in the environment changes it. */
static void plans_are_repeated(void)
{
    const es_session_options o = {.device = "cuda", .budget = 16000000000u, .threads = 2};
    char *text[3] = {NULL};
    size_t bytes[3];
    es_err err = {0};

    for (int i = 0; i < 3; i++) {
        if (i == 2) setenv("EMBEDDING_BATCH_SIZE", "256", 1);
        CHECK(es_session_plan(&o, mission, ES_LOOK_JSON, &text[i], &bytes[i], &err) == ES_OK, "%s", err.text);
        if (!text[i]) return;
        CHECK(!strcmp(text[i], text[0]), "plan %d is another", i);
    }
    unsetenv("EMBEDDING_BATCH_SIZE");
    CHECK(strstr(text[0], "\"head_room_bytes\"") && strstr(text[0], "\"batches\"") && strstr(text[0], "\"slots\""), "%s", text[0]);
    for (int i = 0; i < 3; i++) free(text[i]);
    CHECK(es_session_plan(&o, mission, ES_LOOK_SVG, &text[0], &bytes[0], &err) == ES_OK, "%s", err.text);
    static const char *const drawn[] = {"segmentation-3.0.segment", "resnet34.", "ecapa.", "gte-qwen2-1.5b.embed", "head room"};
    for (int i = 0; i < 5 && text[0]; i++) CHECK(strstr(text[0], drawn[i]), "%s is not drawn", drawn[i]);
    free(text[0]);
}

/* Without a budget memory has a price: the CPU's plan stays small, and what a session asks for it gets. */
static void without_a_budget(void)
{
    outcome r = fitted("base,segmentation-3.0,campplus,minilm", (es_fit_options){.backend = ES_CPU});
    outcome rich = fitted("base,segmentation-3.0,campplus,minilm", (es_fit_options){.backend = ES_CPU, .budget = 64000000000u});
    outcome one = fitted("base", (es_fit_options){.backend = ES_CPU, .wish = {.windows = 1, .slots = 1}});

    CHECK(r.rc == ES_OK && rich.rc == ES_OK && one.rc == ES_OK, "%s%s%s", r.why, rich.why, one.why);
    CHECK(r.step[0].slots >= 2 && r.step[0].slots <= 8, "%d slots on a CPU", r.step[0].slots);
    outcome base = fitted("base", (es_fit_options){.backend = ES_CPU});
    CHECK(base.step[0].slots >= 2 && base.totals.total < 350000000u, "%d slots, %llu bytes for a small model alone", base.step[0].slots,
          (unsigned long long)base.totals.total);
    CHECK(r.totals.total < 1200000000u && r.totals.total <= rich.totals.total, "%llu bytes", (unsigned long long)r.totals.total);
    CHECK(rich.seconds <= r.seconds, "more memory is slower");
    CHECK(one.step[0].windows == 1 && one.step[0].slots == 1, "a wish is not granted");
}

/* The number in gigabytes behind a text of the README; NaN where that is not there. */
static double number_behind(const char *readme, const char *text)
{
    const char *at = strstr(readme, text);
    return at ? strtod(at + strlen(text), NULL) : NAN;
}

/* The README's table is what the program prints, but for hundredths that a change of some op may move. */
static void the_readme_is_true(void)
{
    static const int gigabytes[] = {6, 8, 12, 16, 24, 80};
    FILE *f = fopen(ES_SOURCE_DIR "/README.md", "rb");
    static char readme[200000];
    char row[64];

    CHECK(f, "there is no README.md");
    if (!f) return;
    readme[fread(readme, 1, sizeof readme - 1, f)] = 0;
    fclose(f);
    for (size_t i = 0; i < sizeof gigabytes / sizeof gigabytes[0]; i++) {
        outcome r = fitted(mission, (es_fit_options){.backend = ES_CUDA, .budget = (uint64_t)gigabytes[i] * 1000000000u});
        snprintf(row, sizeof row, "| %d GB | ", gigabytes[i]);
        double taken = number_behind(readme, row), now = (double)r.totals.total * 1e-9;
        CHECK(r.rc == ES_OK && fabs(taken - now) < 0.03 * now, "the README's plan of %d GB takes %.2f GB, it takes %.2f", gigabytes[i], taken, now);
    }
    double now = (double)fitted(mission, (es_fit_options){.backend = ES_CUDA, .least = true}).totals.total * 1e-9;
    double told = number_behind(readme, "smallest budget of these five is ");
    CHECK(fabs(told - now) < 0.03 * now, "the README's smallest budget is %.2f GB, it is %.2f", told, now);
}

/* ---- measured steps ---- */

static void steps_between_points(void)
{
    es_costs c = {0};
    es_err err = {0};

    CHECK(es_costs_add(&c, "m", "windows", 8, 4, &err) == ES_OK && es_costs_add(&c, "m", "windows", 2, 1, &err) == ES_OK &&
              es_costs_add(&c, "n", "windows", 1, 7, &err) == ES_OK && es_costs_add(&c, "m", "slots", 1, 9, &err) == ES_OK,
          "%s", err.text);
    static const struct {
        const char *model, *unit;
        int n;
        double seconds;
    } want[] = {{"m", "windows", 2, 1}, {"m", "windows", 8, 4}, {"m", "windows", 4, 2}, {"m", "windows", 5, 2.5}, {"m", "windows", 1, 1},
                {"m", "windows", 16, 8}, {"m", "slots", 4, 36}, {"n", "windows", 1, 7}, {"n", "slots", 1, 0}, {"o", "windows", 1, 0}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        double have = es_costs_step(&c, want[i].model, want[i].unit, want[i].n);
        CHECK(fabs(have - want[i].seconds) < 1e-12, "%s, %d %s: %g s, expected %g", want[i].model, want[i].n, want[i].unit, have,
              want[i].seconds);
    }
    CHECK(es_costs_step(NULL, "m", "windows", 2) == 0, "nothing was measured");

    /* The file gives back what was written, and a file that cannot be is refused. */
    const char *folder = es_test_folder();
    es_costs back = {0};
    CHECK(es_costs_read(&back, folder, ES_CPU, &err) == ES_OK && back.n == 0, "an empty folder: %s", err.text);
    CHECK(es_costs_write(&c, folder, ES_CPU, "a \"machine\"", 2, &err) == ES_OK, "%s", err.text);
    CHECK(es_costs_read(&back, folder, ES_CPU, &err) == ES_OK && back.n == c.n, "%s", err.text);
    for (int i = 0; i < c.n && i < back.n; i++)
        CHECK(!strcmp(c.at[i].model, back.at[i].model) && !strcmp(c.at[i].unit, back.at[i].unit) && c.at[i].count == back.at[i].count &&
                  c.at[i].seconds == back.at[i].seconds,
              "point %d is another", i);
    es_costs_done(&back);
    CHECK(es_costs_read(&back, folder, ES_CUDA, &err) == ES_OK && back.n == 0, "the other backend's: %s", err.text);
    CHECK(es_costs_write(&c, "/nowhere/at/all", ES_CPU, "", 0, &err) == ES_EIO, "%s", err.text);
    static const char *const bad[] = {"{", "{\"steps\": [{}]}", "{\"steps\": [{\"model\": \"m\", \"unit\": \"windows\", \"count\": 0, \"seconds\": 1}]}",
                                      "{\"steps\": [{\"model\": \"m\", \"unit\": \"windows\", \"count\": 1, \"seconds\": -1}]}",
                                      "{\"steps\": [{\"model\": 3, \"unit\": \"windows\", \"count\": 1, \"seconds\": 1}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/costs-cpu.json", folder);
        FILE *f = fopen(path, "wb");
        if (f) fputs(bad[i], f), fclose(f);
        err = (es_err){0};
        CHECK(es_costs_read(&back, folder, ES_CPU, &err) != ES_OK && strstr(err.text, "costs-cpu.json") && !back.n, "%s: %s", bad[i], err.text);
    }
    es_costs_done(&c);
}

/* The planner goes by what was measured: a stage that gains nothing gets the least step, one that gains gets a larger one. */
static void measured_steps_decide(void)
{
    es_costs flat = {0}, steep = {0};
    es_err err = {0};
    const es_fit_options o = {.backend = ES_CUDA, .budget = 2000000000u};
    es_fit_options a = o, b = o;

    CHECK(es_costs_add(&flat, "segmentation-3.0", "windows", 1, 0.01, &err) == ES_OK, "%s", err.text); /* n windows take n times as long */
    CHECK(es_costs_add(&steep, "segmentation-3.0", "windows", 1, 1, &err) == ES_OK &&
              es_costs_add(&steep, "segmentation-3.0", "windows", 128, 1, &err) == ES_OK,
          "%s", err.text);
    a.costs = &flat, b.costs = &steep;
    CHECK_INT(fitted("segmentation-3.0", a).step[0].segments, 1);
    CHECK_INT(fitted("segmentation-3.0", b).step[0].segments, 64); /* 128 do not fit */
    es_costs_done(&flat);
    es_costs_done(&steep);
}

static void packs_are_measured(void)
{
    const es_seeded_whisper small = {
        .seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true, .alignment = "[[1, 0]]", .name = "small"};
    const char *folder = es_test_folder();
    const es_session_options o = {.models = folder, .device = "cpu", .threads = 1};
    char path[4096], *text = NULL;
    size_t bytes;
    es_costs c = {0};
    es_err err = {0};

    CHECK(es_bench_batches(&o, false, &text, &bytes, &err) == ES_ENOTFOUND && !text, "an empty folder: %s", err.text);
    snprintf(path, sizeof path, "%s/small.pack", folder);
    CHECK(es_seeded_whisper_write(path, &small) == 0, "cannot write a pack");
    CHECK(es_bench_batches(&o, false, &text, &bytes, &err) == ES_OK && strstr(text, "small"), "%s", err.text);
    CHECK(es_costs_read(&c, folder, ES_CPU, &err) == ES_OK && c.n == 6, "%d points: %s", c.n, err.text);
    CHECK(es_costs_step(&c, "small", "windows", 1) > 0 && es_costs_step(&c, "small", "slots", 16) > 0, "nothing was measured");
    es_costs_done(&c);
    free(text);
}

static void names_are_known(void)
{
    outcome r = fitted("base,whatever", (es_fit_options){.backend = ES_CPU});
    CHECK(r.rc == ES_EARG && strstr(r.why, "whatever") && strstr(r.why, "resnet34") && strstr(r.why, "ecapa"), "%s", r.why);
    CHECK_INT(fitted(",", (es_fit_options){.backend = ES_CPU}).rc, ES_EARG);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"budgets", budgets},
        {"the_smallest_budget", the_smallest_budget},
        {"nothing_is_faster", nothing_is_faster},
        {"plans_are_repeated", plans_are_repeated},
        {"without_a_budget", without_a_budget},
        {"the_readme_is_true", the_readme_is_true},
        {"steps_between_points", steps_between_points},
        {"measured_steps_decide", measured_steps_decide},
        {"packs_are_measured", packs_are_measured},
        {"names_are_known", names_are_known},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
