/*
 * show.c - a plan as a table for the terminal, as JSON for programs and as a picture.
 *
 * The picture has one panel for each program: its ops from left to right, the addresses of scratch from bottom to top,
 * a rectangle for each tensor over the ops during which it lives. Two rectangles never overlap; what is left white is
 * the price of the placement. Sizes are in MB of 10^6 bytes everywhere, as memory cards and budgets are sold.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/layout.h"

enum { LARGEST = 10 };

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

/* 1234567 as 1,234,567. */
static const char *exact(char out[32], uint64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

/* "[1500, 384] F32" */
static const char *shape_text(char out[96], es_tensor t)
{
    size_t at = 0;

    for (int i = 0; i < t.n_dims; i++) at += (size_t)snprintf(out + at, 96 - at, "%s%d", i ? ", " : "[", t.dim[i]);
    snprintf(out + at, 96 - at, "] %s", es_dtype_name(t.dtype));
    return out;
}

static const char *op_name(const es_program *g, int op)
{
    return op >= 0 && op < g->n_ops ? g->ops[op].name : "unused";
}

/* The name of the op that first writes a block says what kind of tensor it is. */
static const char *made_by(const es_program *g, const es_block *b)
{
    return op_name(g, b->first);
}

/* ---- the largest blocks of a plan ---- */

/* Blocks of one program that look alike, as those of its layers do: same shape, same first and last op by name. */
typedef struct large {
    const es_program *program;
    const es_block *block; /* the first of them */
    int n;
} large;

static bool alike(const large *l, const es_program *g, const es_block *b)
{
    const es_block *x = l->block;

    return l->program == g && x->shape.dtype == b->shape.dtype && x->shape.n_dims == b->shape.n_dims &&
           !memcmp(x->shape.dim, b->shape.dim, sizeof b->shape.dim) && !strcmp(made_by(g, x), made_by(g, b)) &&
           !strcmp(op_name(g, x->last), op_name(g, b->last));
}

/* Enters a block among the n <= LARGEST largest, in falling order; of equal ones the first met stays first. */
static int enter_block(large *out, int n, const es_program *g, const es_block *b)
{
    int at;

    for (int i = 0; i < n; i++) {
        if (!alike(&out[i], g, b)) continue;
        out[i].n++;
        return n;
    }
    at = n < LARGEST ? n++ : LARGEST;
    for (; at > 0 && out[at - 1].block->bytes < b->bytes; at--)
        if (at < LARGEST) out[at] = out[at - 1];
    if (at < LARGEST) out[at] = (large){.program = g, .block = b, .n = 1};
    return n;
}

static int find_largest(const es_plan *p, large *out)
{
    int n = 0;

    for (int i = 0; i < p->n_models; i++) {
        for (int j = 0; j < p->models[i]->n_programs; j++) {
            const es_program *g = p->models[i]->programs[j];
            for (int k = 0; k < g->n_blocks; k++) n = enter_block(out, n, g, &g->blocks[k]);
        }
    }
    return n;
}

/* ---- as a table ---- */

static void print_region(FILE *f, const char *name, uint64_t bytes, const char *note)
{
    char text[32];

    fprintf(f, "  %-12s %12.1f  %20s%s%s\n", name, mb(bytes), exact(text, bytes), *note ? "  " : "", note);
}

static bool same_state(const es_state *a, const es_state *b)
{
    return !strcmp(a->name, b->name) && a->bytes == b->bytes && a->shape.dtype == b->shape.dtype;
}

/* What is kept between programs, where it is a tenth of a megabyte or more; the layers of a model in one line. */
static void print_states(const es_plan *p, FILE *f)
{
    char full[160], shape[96];
    bool headed = false;

    for (int i = 0; i < p->n_models; i++) {
        const es_model *m = p->models[i];
        for (int j = 0; j < m->n_states; j++) {
            const es_state *s = &m->states[j];
            int n = 0, first = j;
            for (int k = 0; k < m->n_states; k++) {
                if (!same_state(s, &m->states[k])) continue;
                if (k < first) first = k;
                n++;
            }
            if (first < j || s->bytes < 100 * 1000) continue;
            if (!headed) fprintf(f, "\n  %-28s %12s %7s  %s\n", "state", "MB each", "of them", "tensor");
            headed = true;
            snprintf(full, sizeof full, "%.60s.%.60s", m->name, s->name);
            fprintf(f, "  %-28s %12.1f %7d  %s\n", full, mb(s->bytes), n, shape_text(shape, s->shape));
        }
    }
}

/* How much each model takes at once, and what that makes of an hour of speech by the counts of its operations. */
static void print_steps(const es_plan *p, FILE *f)
{
    double all = 0;

    if (!p->n_steps) return;
    fprintf(f, "\n  %-28s %12s          %14s\n", "batch of", "at most", "s an hour");
    for (int i = 0; i < p->n_steps; i++) {
        const es_step_note *s = &p->steps[i];
        fprintf(f, "  %-28s %12d %-8s %14.2f\n", s->model, s->count, s->unit, s->hour_seconds);
        all += s->hour_seconds;
    }
    fprintf(f, "  %-28s %12s %-8s %14.2f  estimated for an hour of speech\n", "all", "", "", all);
}

void es_plan_print(const es_plan *p, FILE *f)
{
    const es_plan_totals *t = &p->totals;
    large most[LARGEST] = {{0}};
    int n_most = find_largest(p, most);
    char note[160], shape[96], full[160];

    fprintf(f, "Memory plan for %s", p->traits->name);
    if (t->budget) fprintf(f, ", budget %.1f MB", mb(t->budget));
    fprintf(f, "\n\n  %-12s %12s  %20s\n", "region", "MB", "bytes");
    print_region(f, "workspace", t->workspace, "of the ops");
    print_region(f, "weights", t->weights, "");
    print_region(f, "state", t->state, "kept between programs");
    snprintf(note, sizeof note, "the largest program; at least %.1f MB, without sharing %.1f MB", mb(t->scratch_bound),
             mb(t->scratch_naive));
    print_region(f, "scratch", t->scratch, note);
    print_region(f, "arena", t->arena, "taken at start, all of it");
    for (int i = 0; i < p->n_outside; i++) print_region(f, "beside it", p->outside[i].bytes, p->outside[i].name);
    print_region(f, "total", t->total, "");
    if (t->budget && t->budget >= t->total) print_region(f, "head room", t->budget - t->total, "left of the budget");

    fprintf(f, "\n  %-28s %12s %12s %10s\n", "model", "weights MB", "state MB", "tensors");
    for (int i = 0; i < p->n_models; i++) {
        const es_model *m = p->models[i];
        fprintf(f, "  %-28s %12.1f %12.1f %10d\n", m->name, mb(m->weight_bytes), mb(m->state_bytes), m->n_items);
    }
    print_steps(p, f);
    fprintf(f, "\n  %-28s %6s %8s %12s %12s %12s\n", "program", "ops", "tensors", "peak MB", "least MB", "naive MB");
    for (int i = 0; i < p->n_models; i++) {
        for (int j = 0; j < p->models[i]->n_programs; j++) {
            const es_program *g = p->models[i]->programs[j];
            snprintf(full, sizeof full, "%.60s.%.60s", p->models[i]->name, g->name);
            fprintf(f, "  %-28s %6d %8d %12.1f %12.1f %12.1f\n", full, g->n_ops, g->n_blocks, mb(g->peak), mb(g->bound),
                    mb(g->naive));
        }
    }
    if (n_most)
        fprintf(f, "\n  %-28s %12s %7s  %-22s %s\n", "largest in scratch", "MB each", "of them", "tensor", "lives");
    for (int i = 0; i < n_most; i++) {
        const es_program *g = most[i].program;
        const es_block *b = most[i].block;
        snprintf(full, sizeof full, "%.60s.%.60s", g->model->name, g->name);
        fprintf(f, "  %-28s %12.1f %7d  %-22s %d %s .. %d %s\n", full, mb(b->bytes), most[i].n,
                shape_text(shape, b->shape), b->first, op_name(g, b->first), b->last, op_name(g, b->last));
    }
    print_states(p, f);
}

/* ---- as a row ---- */

/* The next model's batches: "32 windows, 128 slots". Gives the note behind them. */
static int row_steps(const es_plan *p, int at, char *out, size_t room)
{
    size_t n = 0;
    int first = at;

    *out = 0;
    for (; at < p->n_steps && !strcmp(p->steps[at].model, p->steps[first].model) && n < room; at++)
        n += (size_t)snprintf(out + n, room - n, "%s%d %s", n ? ", " : "", p->steps[at].count, p->steps[at].unit);
    return at;
}

void es_plan_row(const es_plan *p, FILE *f)
{
    const es_plan_totals *t = &p->totals;
    char text[160];
    double seconds = 0;
    int columns = 4;

    fputs("| budget | taken | head room |", f);
    for (int i = 0; i < p->n_steps; columns++) {
        fprintf(f, " %s |", p->steps[i].model);
        i = row_steps(p, i, text, sizeof text);
    }
    fputs(" an hour of speech |\n|", f);
    for (int i = 0; i < columns; i++) fputs("---|", f);
    if (t->budget) fprintf(f, "\n| %.4g GB | %.2f GB | %.2f GB |", (double)t->budget / 1e9, (double)t->total / 1e9, (double)(t->budget - t->total) / 1e9);
    else fprintf(f, "\n| none | %.2f GB | |", (double)t->total / 1e9);
    for (int i = 0; i < p->n_steps;) {
        i = row_steps(p, i, text, sizeof text);
        fprintf(f, " %s |", text);
    }
    for (int i = 0; i < p->n_steps; i++) seconds += p->steps[i].hour_seconds;
    fprintf(f, " %.1f s |\n", seconds);
}

/* ---- as JSON ---- */

static void json_program(const es_program *g, es_json_out *o)
{
    char text[96];

    es_json_object(o, NULL);
    es_json_put_string(o, "name", g->name);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)g->hash);
    es_json_put_string(o, "hash", text);
    es_json_put_uint(o, "peak_bytes", g->peak);
    es_json_put_uint(o, "least_bytes", g->bound);
    es_json_put_uint(o, "naive_bytes", g->naive);
    es_json_array(o, "ops");
    for (int i = 0; i < g->n_ops; i++) es_json_put_string(o, NULL, g->ops[i].name);
    es_json_end_array(o);
    es_json_array(o, "tensors");
    for (int i = 0; i < g->n_blocks; i++) {
        const es_block *b = &g->blocks[i];
        es_json_object(o, NULL);
        es_json_put_string(o, "tensor", shape_text(text, b->shape));
        es_json_put_uint(o, "bytes", b->bytes);
        es_json_put_uint(o, "offset", b->offset);
        es_json_put_int(o, "first", b->first);
        es_json_put_int(o, "last", b->last);
        es_json_end_object(o);
    }
    es_json_end_array(o);
    es_json_end_object(o);
}

void es_plan_json(const es_plan *p, es_json_out *o)
{
    const es_plan_totals *t = &p->totals;

    es_json_object(o, NULL);
    es_json_put_string(o, "backend", p->traits->name);
    if (t->budget) es_json_put_uint(o, "budget_bytes", t->budget);
    else es_json_put_null(o, "budget_bytes");
    es_json_put_uint(o, "workspace_bytes", t->workspace);
    es_json_put_uint(o, "weights_bytes", t->weights);
    es_json_put_uint(o, "state_bytes", t->state);
    es_json_put_uint(o, "scratch_bytes", t->scratch);
    es_json_put_uint(o, "scratch_least_bytes", t->scratch_bound);
    es_json_put_uint(o, "scratch_naive_bytes", t->scratch_naive);
    es_json_put_uint(o, "arena_bytes", t->arena);
    es_json_put_uint(o, "outside_bytes", t->outside);
    es_json_put_uint(o, "total_bytes", t->total);
    if (t->budget && t->budget >= t->total) es_json_put_uint(o, "head_room_bytes", t->budget - t->total);
    es_json_array(o, "batches");
    for (int i = 0; i < p->n_steps; i++) {
        es_json_object(o, NULL);
        es_json_put_string(o, "model", p->steps[i].model);
        es_json_put_string(o, "unit", p->steps[i].unit);
        es_json_put_int(o, "count", p->steps[i].count);
        es_json_put_number(o, "seconds_an_hour", p->steps[i].hour_seconds);
        es_json_end_object(o);
    }
    es_json_end_array(o);
    es_json_array(o, "models");
    for (int i = 0; i < p->n_models; i++) {
        const es_model *m = p->models[i];
        es_json_object(o, NULL);
        es_json_put_string(o, "name", m->name);
        es_json_put_uint(o, "weights_bytes", m->weight_bytes);
        es_json_put_uint(o, "state_bytes", m->state_bytes);
        es_json_array(o, "programs");
        for (int j = 0; j < m->n_programs; j++) json_program(m->programs[j], o);
        es_json_end_array(o);
        es_json_end_object(o);
    }
    es_json_end_array(o);
    es_json_end_object(o);
}

/* ---- as a picture ---- */

enum { LEFT = 110, WIDTH = 1000, RIGHT = 30, TOP = 130, PANEL = 220, GAP = 64 };

typedef struct kind {
    const char *label, *color;
    const char *ops; /* names of ops, each between blanks */
} kind;

static const kind kinds[] = {
    {"products", "#4477aa", " linear linear_add "},
    {"convolutions", "#66ccee", " conv1d conv2d "},
    {"norms", "#228833", " layernorm rmsnorm "},
    {"attention", "#ee6677", " attend attend_cached "},
    {"sound", "#ccbb44", " logmel logmel_top "},
    {"recurrence", "#aa3377", " lstm "},
    {"others", "#bbbbbb", ""},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const kind *kind_of(const char *op)
{
    char padded[64];

    snprintf(padded, sizeof padded, " %s ", op);
    for (int i = 0; i < N_KINDS - 1; i++)
        if (strstr(kinds[i].ops, padded)) return &kinds[i];
    return &kinds[N_KINDS - 1];
}

static void put_escaped(FILE *f, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '"': fputs("&quot;", f); break;
        default:
            /* Control characters are not allowed in XML even when escaped. */
            if ((unsigned char)*text >= 0x20) fputc(*text, f);
        }
    }
}

static void svg_text(FILE *f, double x, double y, const char *anchor, const char *text)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    put_escaped(f, text);
    fputs("</text>\n", f);
}

/* The whole budget as one bar: the arena, what lies beside it, what is left. Under it how much each model takes at once. */
static void svg_arena(const es_plan *p, FILE *f)
{
    const es_plan_totals *t = &p->totals;
    const struct {
        const char *name, *color;
        uint64_t bytes;
    } parts[] = {{"workspace", "#dddddd", t->workspace},
                 {"weights", "#ddaa33", t->weights},
                 {"state", "#88ccaa", t->state},
                 {"scratch", "#99bbdd", t->scratch},
                 {"beside it", "#ccaacc", t->outside},
                 {"head room", "#ffffff", t->budget > t->total ? t->budget - t->total : 0}};
    uint64_t whole = t->budget > t->total ? t->budget : t->total;
    double x = LEFT, all = whole ? (double)whole : 1;
    char text[160], batches[600] = "";
    size_t n = 0;

    snprintf(text, sizeof text, "Memory plan for %s: arena of %.1f MB", p->traits->name, mb(t->arena));
    svg_text(f, LEFT, 24, "start", text);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        double w = WIDTH * (double)parts[i].bytes / all;
        fprintf(f, "<rect x=\"%.2f\" y=\"36\" width=\"%.2f\" height=\"26\" fill=\"%s\" stroke=\"#ffffff\">", x, w,
                parts[i].color);
        fprintf(f, "<title>%s: %.1f MB</title></rect>\n", parts[i].name, mb(parts[i].bytes));
        snprintf(text, sizeof text, "%s %.1f MB", parts[i].name, mb(parts[i].bytes));
        if (w > 7.0 * (double)strlen(text)) svg_text(f, x + w / 2, 53, "middle", text);
        x += w;
    }
    for (int i = 0; i < p->n_steps && n < sizeof batches;) {
        const char *model = p->steps[i].model;
        i = row_steps(p, i, text, sizeof text);
        n += (size_t)snprintf(batches + n, sizeof batches - n, "%s%.40s: %s", n ? "; " : "", model, text);
    }
    svg_text(f, LEFT, 102, "start", batches);
    x = LEFT;
    for (int i = 0; i < N_KINDS; i++) {
        fprintf(f, "<rect x=\"%.1f\" y=\"74\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", x, kinds[i].color);
        svg_text(f, x + 18, 84, "start", kinds[i].label);
        x += 34 + 7.0 * (double)strlen(kinds[i].label);
    }
}

static void svg_program(const es_program *g, FILE *f, double y)
{
    double ops = g->n_ops ? (double)g->n_ops : 1, peak = g->peak ? (double)g->peak : 1;
    char text[256], shape[96];

    snprintf(text, sizeof text, "%.60s.%.60s: %d ops, %d tensors, %.1f MB (at least %.1f, without sharing %.1f)",
             g->model->name, g->name, g->n_ops, g->n_blocks, mb(g->peak), mb(g->bound), mb(g->naive));
    svg_text(f, LEFT, y - 10, "start", text);
    fprintf(f, "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"#ffffff\" stroke=\"#888888\"/>\n", LEFT, y,
            WIDTH, PANEL);
    snprintf(text, sizeof text, "%.1f MB", mb(g->peak));
    svg_text(f, LEFT - 8, y + 10, "end", text);
    svg_text(f, LEFT - 8, y + PANEL, "end", "0");
    for (int i = 0; i < g->n_blocks; i++) {
        const es_block *b = &g->blocks[i];
        if (b->first < 0 || b->bytes == 0) continue;
        double x0 = WIDTH * b->first / ops, x1 = WIDTH * (b->last + 1) / ops;
        double h = PANEL * (double)b->bytes / peak, at = PANEL * (double)b->offset / peak;
        fprintf(f,
                "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" stroke=\"#ffffff\" "
                "stroke-width=\"0.4\">",
                LEFT + x0, y + PANEL - at - h, x1 - x0, h, kind_of(made_by(g, b))->color);
        fprintf(f, "<title>%s, %.2f MB at %.2f, op %d %s to %d %s</title></rect>\n", shape_text(shape, b->shape),
                mb(b->bytes), mb(b->offset), b->first, op_name(g, b->first), b->last, op_name(g, b->last));
    }
    snprintf(text, sizeof text, "op %d", g->n_ops - 1);
    svg_text(f, LEFT, y + PANEL + 16, "start", "op 0");
    svg_text(f, LEFT + WIDTH, y + PANEL + 16, "end", text);
}

int es_plan_svg(const es_plan *p, FILE *f)
{
    int n = 0;
    double y = TOP + 30;

    for (int i = 0; i < p->n_models; i++) n += p->models[i]->n_programs;
    int width = LEFT + WIDTH + RIGHT, height = TOP + n * (PANEL + GAP) + 10;
    fprintf(f,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#f7f7f7\"/>\n",
            width, height, width, height, width, height);
    svg_arena(p, f);
    for (int i = 0; i < p->n_models; i++) {
        for (int j = 0; j < p->models[i]->n_programs; j++) {
            svg_program(p->models[i]->programs[j], f, y);
            y += PANEL + GAP;
        }
    }
    fputs("</svg>\n", f);
    return ferror(f) ? -1 : 0;
}
