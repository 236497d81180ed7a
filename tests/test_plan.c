/*
 * test_plan.c - placing and planning: no two live tensors overlap, on 10^5 random graphs and in whole plans; the budget is kept;
 * what a plan says of itself holds together, as text, picture and JSON; and nothing at all is a size, too.
 */
#define _GNU_SOURCE
#include "small_plan.h"

/* ---- placing ---- */

static size_t up(size_t bytes, size_t align)
{
    return (bytes + align - 1) / align * align;
}

static void check_placed(const es_span *s, int n, size_t align, size_t total, const char *what)
{
    size_t top = 0, naive = 0;

    for (int i = 0; i < n; i++) {
        size_t end = s[i].offset + up(s[i].bytes, align);
        naive += up(s[i].bytes, align);
        if (s[i].bytes && end > top) top = end;
        if (s[i].offset % align) CHECK(false, "%s: span %d at %zu is not aligned", what, i, s[i].offset);
        for (int j = 0; j < i; j++) {
            bool meet = s[i].first <= s[j].last && s[j].first <= s[i].last;
            bool apart = end <= s[j].offset || s[j].offset + up(s[j].bytes, align) <= s[i].offset;
            if (meet && !apart && s[i].bytes && s[j].bytes)
                CHECK(false, "%s: spans %d and %d of %d overlap", what, i, j, n);
        }
    }
    if (total != top) CHECK(false, "%s: total %zu, but the spans end at %zu", what, total, top);
    if (total < es_plan_bound(s, n, align)) CHECK(false, "%s: total below the bound", what);
    if (total > naive) CHECK(false, "%s: total above the sum of all", what);
}

/* The bound again, by its definition: op by op. */
static size_t bound_by_ops(const es_span *s, int n, size_t align)
{
    size_t most = 0;

    for (int op = 0; op < 64; op++) {
        size_t alive = 0;
        for (int i = 0; i < n; i++)
            if (s[i].first <= op && op <= s[i].last) alive += up(s[i].bytes, align);
        if (alive > most) most = alive;
    }
    return most;
}

static void placing_never_overlaps(void)
{
    es_noise noise = {.state = 11};
    es_span s[24], again[24];
    double worst = 1, sum = 0;
    int graphs = 100000;

    for (int g = 0; g < graphs; g++) {
        int n = 1 + (int)(es_noise_bits(&noise) % 24), style = (int)(es_noise_bits(&noise) % 4);
        size_t align = style == 3 ? 1 : 256;
        for (int i = 0; i < n; i++) {
            int first = (int)(es_noise_bits(&noise) % 20);
            size_t bytes = es_noise_bits(&noise) % 5000;
            if (style == 1) bytes = 1024; /* all equal */
            if (style == 2 && es_noise_bits(&noise) % 3 == 0) bytes = 0;
            s[i] = (es_span){.bytes = bytes, .first = first, .last = first + (int)(es_noise_bits(&noise) % 8)};
        }
        size_t bound = es_plan_bound(s, n, align);
        if (bound != bound_by_ops(s, n, align)) CHECK(false, "graph %d: bound %zu", g, bound);
        size_t total = es_plan_place(s, n, align, 0);
        check_placed(s, n, align, total, "by size");
        memcpy(again, s, sizeof s);
        CHECK(es_plan_place(again, n, align, 0) == total && !memcmp(s, again, (size_t)n * sizeof *s),
              "graph %d: not the same twice", g);
        if (bound) {
            double excess = (double)total / (double)bound;
            sum += excess;
            if (excess > worst) worst = excess;
        } else {
            sum += 1;
        }
        uint64_t seed = es_noise_bits(&noise) | 1;
        total = es_plan_place(s, n, align, seed);
        check_placed(s, n, align, total, "at random");
    }
    /* No promise, but a placer that loses its gap search shows here: the mean is 1.014, the worst 1.58. */
    CHECK(sum / graphs < 1.02, "mean excess over the bound %.4f", sum / graphs);
    CHECK(worst < 1.7, "worst excess over the bound %.4f", worst);
}

static void placing_finds_the_gap(void)
{
    /* Two blocks alive throughout with a hole between them that opens at op 2: the small one must go into it. */
    es_span s[] = {{.bytes = 400, .first = 0, .last = 9},
                   {.bytes = 300, .first = 0, .last = 1},
                   {.bytes = 200, .first = 0, .last = 9},
                   {.bytes = 100, .first = 2, .last = 9},
                   {.bytes = 0, .first = 0, .last = 9}};

    CHECK_INT(es_plan_place(s, 5, 100, 0), 900);
    CHECK_INT(s[3].offset, 400);
    CHECK_INT(es_plan_place(s, 1, 256, 0), 512);
    CHECK_INT(es_plan_place(s, 0, 256, 0), 0);
    CHECK_INT(es_plan_bound(s, 0, 256), 0);
    CHECK_INT(es_plan_bound(s, 5, 100), 900);
}

/* ---- the layout that comes out ---- */

typedef struct lives {
    es_tensor source;
    es_noise noise; /* as it was before the walk: both walks draw the same */
} lives;

enum { LONGEST = 4000 };

/* Thirty tensors of random sizes, each kept for some ops. */
static void live_at_random(es_run *r, void *user)
{
    const lives *l = user;
    es_noise noise = l->noise;
    es_tensor t[30];
    int until[30];

    for (int i = 0; i < 30; i++) {
        t[i] = es_new(r, ES_F32, 1, (const int[]){1 + (int)(es_noise_bits(&noise) % LONGEST)});
        until[i] = i + (int)(es_noise_bits(&noise) % 5);
        es_cast_to(r, t[i], es_row_range(l->source, 0, t[i].dim[0]));
        for (int j = 0; j < i; j++)
            if (until[j] == i) es_keep(r, t[j]);
    }
}

static int64_t member(const es_json_node *o, const char *key)
{
    int64_t v = -9;

    CHECK(es_json_int(es_json_get(o, key), -1, INT64_MAX, &v), "no %s", key);
    return v;
}

/* What the plan says of itself must hold together, also where a random order won over the order of sizes. */
static void layouts_hold_together(void)
{
    int misses = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        es_plan *p = NULL;
        es_model *model;
        es_program *g;
        small m = {0};
        lives l = {.noise = {.state = seed}};
        es_json_out o;
        es_json *j = NULL;
        int64_t top = 0;
        es_plan_open(&p, ES_CPU, 1, NULL);
        CHECK_INT(es_plan_model(p, &model, "lives", NULL, ES_F16, ES_F32, bind_small, &m, NULL), ES_OK);
        es_plan_state(model, &l.source, "source", ES_F32, 1, (const int[]){LONGEST});
        es_plan_program(model, &g, "lives", live_at_random, &l);
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_json_begin(&o, 0);
        es_plan_json(p, &o);
        CHECK_INT(es_json_parse(&j, o.text, o.n, "plan", NULL), ES_OK);
        const es_json_node *program =
            es_json_first(es_json_get(es_json_first(es_json_get(es_json_root(j), "models")), "programs"));
        const es_json_node *tensors = es_json_get(program, "tensors");
        CHECK_INT(es_json_count(tensors), 30);
        for (const es_json_node *x = es_json_first(tensors); x; x = es_json_next(x)) {
            int64_t x0 = member(x, "offset"), x1 = x0 + member(x, "bytes");
            if (x1 > top) top = x1;
            for (const es_json_node *y = es_json_next(x); y; y = es_json_next(y)) {
                int64_t y0 = member(y, "offset"), y1 = y0 + member(y, "bytes");
                bool meet = member(x, "first") <= member(y, "last") && member(y, "first") <= member(x, "last");
                CHECK(!meet || x1 <= y0 || y1 <= x0, "seed %d: two tensors overlap", (int)seed);
            }
        }
        int64_t peak = member(program, "peak_bytes"), least = member(program, "least_bytes");
        CHECK(top <= peak && peak < top + ES_PLAN_ALIGN, "seed %d: a peak of %lld, tensors up to %lld", (int)seed,
              (long long)peak, (long long)top);
        CHECK(peak >= least);
        misses += peak > least;
        es_json_close(j);
        free(o.text);
        es_plan_close(p);
    }
    CHECK(misses < 12, "%d of 60 random programs are placed above their bound", misses); /* 3; by size alone 27 */
}

/* ---- the budget ---- */

static void budget_is_kept(void)
{
    for (int backend = 0; backend < ES_N_BACKENDS; backend++) {
        es_plan_totals t = {0};
        for (int step = 0; step < 3; step++) {
            es_err err = {0};
            es_plan *p = NULL;
            small m = {0};
            es_plan_open(&p, (es_backend)backend, 2, NULL);
            enter_small(p, &m, NULL, ES_F32);
            es_plan_outside(p, "the context", 12345678);
            uint64_t budget = step == 0 ? 0 : step == 1 ? t.total : t.total - 1;
            int rc = es_plan_finish(p, budget, &err);
            CHECK_INT(rc, step == 2 ? ES_EBUDGET : ES_OK);
            es_plan_totals_get(p, &t);
            CHECK_INT(t.total, t.arena + 12345678);
            CHECK_INT(t.arena, t.workspace + t.weights + t.state + t.scratch);
            CHECK_INT(t.outside, 12345678);
            CHECK(t.scratch >= t.scratch_bound && t.scratch <= t.scratch_naive);
            if (step == 2) {
                char number[32];
                snprintf(number, sizeof number, "%llu", (unsigned long long)t.total);
                CHECK(strstr(err.text, number) && strstr(err.text, "the context 12.3 MB"), "%s", err.text);
            }
            es_plan_close(p);
        }
    }
}

static void absurd_sizes_are_refused(void)
{
    const int huge[] = {2000000000, 2000000000, 2000000000, 2000000000};
    es_err err = {0};
    es_plan *p = NULL;
    es_model *model;
    small m = {0};
    es_tensor t;

    es_plan_open(&p, ES_CPU, 1, NULL);
    CHECK_INT(es_plan_model(p, &model, "small", NULL, ES_F16, ES_F32, bind_small, &m, NULL), ES_OK);
    for (int i = 0; i < 40; i++) es_plan_state(model, &t, "huge", ES_F32, 4, huge);
    CHECK_INT(es_plan_finish(p, 0, &err), ES_ENOMEM);
    es_plan_close(p);
}

/* ---- looking at a plan ---- */

/* Well-formed enough for XML: tags nest, attributes are quoted, no bare & or <. Returns the number of elements, or -1.
 */
static int xml_elements(const char *s)
{
    char stack[16][32];
    int depth = 0, n = 0;

    if (strncmp(s, "<?xml", 5)) return -1;
    s = strstr(s, "?>");
    for (s = s ? s + 2 : ""; *s;) {
        if (*s == '&' && strncmp(s, "&amp;", 5) && strncmp(s, "&lt;", 4) && strncmp(s, "&gt;", 4) &&
            strncmp(s, "&quot;", 6))
            return -1;
        if (*s != '<') {
            if (depth == 0 && *s != '\n') return -1;
            s++;
            continue;
        }
        bool closing = s[1] == '/';
        char name[32];
        int length = 0;
        for (s += closing ? 2 : 1; *s && !strchr(" />", *s) && length < 31; s++) name[length++] = *s;
        name[length] = 0;
        bool quoted = false, empty = false;
        for (; *s && (quoted || *s != '>'); s++) {
            if (*s == '"') quoted = !quoted;
            if (*s == '<') return -1;
            empty = *s == '/';
        }
        if (!*s || quoted) return -1;
        s++;
        if (closing) {
            if (depth == 0 || strcmp(stack[--depth], name)) return -1;
        } else {
            n++;
            if (empty) continue;
            if (depth == 16) return -1;
            strcpy(stack[depth++], name);
        }
    }
    return depth == 0 ? n : -1;
}

static char *printed(const es_plan *p, bool svg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    if (svg) CHECK_INT(es_plan_svg(p, f), 0);
    else es_plan_print(p, f);
    fclose(f);
    return text;
}

static void plans_can_be_looked_at(void)
{
    for (int backend = 0; backend < ES_N_BACKENDS; backend++) {
        es_plan *p = NULL;
        es_model *second;
        small m = {0}, m2 = {0};
        es_plan_totals t;
        es_json_out o;
        es_json *j = NULL;
        int64_t v = 0;

        CHECK_INT(es_plan_open(&p, (es_backend)backend, 2, NULL), ES_OK);
        CHECK_INT(es_plan_backend(p), backend);
        enter_small(p, &m, NULL, backend == ES_CPU ? ES_F32 : ES_F16);
        CHECK_INT(es_plan_model(p, &second, "<a & \"b\">", NULL, ES_F16, ES_F32, bind_small, &m2, NULL), ES_OK);
        es_plan_state(second, &m2.in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
        es_plan_program(second, &m2.copy, "copy", copy, &m2);
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_plan_totals_get(p, &t);

        char *text = printed(p, false);
        CHECK(strstr(text, "small.forward") && strstr(text, "workspace") && strstr(text, "attend"), "%s", text);
        free(text);

        text = printed(p, true);
        int elements = xml_elements(text);
        CHECK(elements > 40, "the picture is not well-formed, or empty: %d elements", elements);
        CHECK(!strstr(text, "script") && strstr(text, "&lt;a &amp; &quot;b&quot;&gt;"));
        free(text);

        es_json_begin(&o, 2);
        es_plan_json(p, &o);
        CHECK(es_json_parse(&j, o.text, o.n, "plan", NULL) == ES_OK, "%s", o.text);
        CHECK(es_json_int(es_json_get(es_json_root(j), "total_bytes"), 0, INT64_MAX, &v) && (uint64_t)v == t.total);
        const es_json_node *models = es_json_get(es_json_root(j), "models");
        const es_json_node *programs = es_json_get(es_json_first(models), "programs");
        CHECK_INT(es_json_count(models), 2);
        CHECK_INT(es_json_count(programs), 2);
        CHECK_INT(es_json_count(es_json_get(es_json_first(programs), "ops")), 2 + LAYERS * 7);
        CHECK_INT(es_json_count(es_json_get(es_json_first(programs), "tensors")), 1 + LAYERS * 5);
        es_json_close(j);
        free(o.text);
        es_plan_close(p);
    }
}

/* ---- nothing at all ---- */

static void no_rows(es_run *r, void *user)
{
    small *m = user;
    es_tensor none = es_new2(r, ES_F32, 0, WIDE);

    es_cast_to(r, none, es_row_range(m->in, 3, 0));
    es_tensor y = es_linear(r, none, m->layers[0].out, NULL, ES_ACT_NONE);
    es_cast_to(r, es_row_range(m->out, 0, 0), y);
}

static void nothing_is_a_size(void)
{
    unsigned char *bytes;
    es_weights *w = open_pack(&bytes, "F32");
    float out[ROWS * WIDE];
    es_err err = {0};

    for (int with_model = 0; with_model < 2; with_model++) {
        es_plan *p = NULL;
        es_model *model = NULL;
        es_device *d = NULL;
        es_arena *a = NULL;
        es_program *g = NULL;
        es_plan_totals t;
        small m = {0};
        CHECK_INT(es_plan_open(&p, ES_CPU, 1, NULL), ES_OK);
        if (with_model) {
            CHECK_INT(es_plan_model(p, &model, "small", w, ES_F32, ES_F32, bind_small, &m, NULL), ES_OK);
            es_plan_state(model, &m.in, "in", ES_F32, 2, (const int[]){ROWS, WIDE});
            es_plan_state(model, &m.out, "out", ES_F32, 2, (const int[]){ROWS, WIDE});
            es_plan_program(model, &g, "no_rows", no_rows, &m);
        }
        CHECK_INT(es_plan_finish(p, 0, NULL), ES_OK);
        es_plan_totals_get(p, &t);
        CHECK_INT(t.scratch, 0);
        free(printed(p, false));
        char *svg = printed(p, true);
        CHECK(xml_elements(svg) > 5);
        free(svg);
        CHECK_INT(es_device_open(&d, ES_CPU, 0, 1, NULL, NULL), 0);
        CHECK(es_arena_open(&a, p, d, &err) == ES_OK, "%s", err.text);
        if (a && with_model) {
            CHECK_INT(es_arena_load(a, NULL), ES_OK);
            es_program_run(g, a);
            es_state_get(a, m.out, 0, out, sizeof out);
            for (int i = 0; i < ROWS * WIDE; i++) CHECK(out[i] == 0, "an op of no rows wrote at %d", i);
        }
        es_arena_close(a);
        es_device_close(d);
        es_plan_close(p);
    }
    es_weights_close(w);
    free(bytes);
}

static void wrong_devices_are_refused(void)
{
    es_plan *p = NULL;
    es_device *d = NULL;
    es_arena *a = NULL;
    es_err err = {0};

    es_plan_open(&p, ES_CPU, 1, NULL);
    es_plan_finish(p, 0, NULL);
    CHECK_INT(es_device_open(&d, ES_CPU, 0, 4, NULL, NULL), 0);
    CHECK_INT(es_arena_open(&a, p, d, &err), ES_EARG); /* a workspace for one thread, a device with four */
    CHECK(!a && strstr(err.text, "4 threads"), "%s", err.text);
    es_device_close(d);
    es_plan_close(p);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"placing_never_overlaps", placing_never_overlaps},
        {"placing_finds_the_gap", placing_finds_the_gap},
        {"layouts_hold_together", layouts_hold_together},
        {"budget_is_kept", budget_is_kept},
        {"absurd_sizes_are_refused", absurd_sizes_are_refused},
        {"plans_can_be_looked_at", plans_can_be_looked_at},
        {"nothing_is_a_size", nothing_is_a_size},
        {"wrong_devices_are_refused", wrong_devices_are_refused},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
