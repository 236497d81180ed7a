/*
 * embedding.c - from texts to vectors.
 *
 *     texts -> ids, framed and cut -> steps -> vectors, in the order of the texts
 *
 * A step takes texts while there is room for them, in tokens (which the plan decides) and in texts (which the caller
 * bounds). So the memory a step needs is known before the first text is read, whatever the ceiling in texts is: a budget
 * that is too small for the preferred number of tokens gets half of them, and half of that, until the plan fits. What a
 * step holds beside a text never changes the text's vector.
 */
#define _GNU_SOURCE
#include "pipeline/search/embedding.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "models/embedder.h"
#include "pipeline/session/packs.h"
#include "pipeline/session/session.h"
#include "text/tokens.h"

/* Tokens of a step. Past a few thousand a step only gets longer; Qwen2's models take texts of 8192 tokens by default. */
enum { TOKENS_BERT = 4096, TOKENS_QWEN2 = 8192, LEAST_TOKENS = 64, TEXTS = 256, MOST_TEXTS = 4096, SEED = 1 };

struct es_embedding {
    es_embedding_options options; /* its texts are not kept */
    es_device_choice where;
    char name[64];
    es_maker maker;   /* zeroed without a pack, as is space */
    es_hash128 space;
    es_weights *pack; /* until ready */
    bool seeded;      /* a preset: there is no pack */
    bool within;      /* the model is another's: no plan, device and arena here */
    es_embedder_dims dims;
    es_tokens *tokens; /* NULL: the pack takes ids only */
    es_plan *plan;
    es_device *device;
    es_arena *arena;
    es_embedder *embedder;
    char device_name[128];
    int32_t *ids;    /* [step tokens + longest]: the step's, then room for the next text */
    int32_t *bounds; /* [step texts + 1] */
    es_embedder_limits limits;
    bool ready;
    int (*done)(void *user, size_t n, es_err *err);
    void *done_user;
};

/* ---- opening ---- */

static int choose(char **path, const es_embedding_options *o, es_err *err)
{
    const es_pack_entry *entry = NULL;
    es_packs packs = {0};
    struct stat st;
    /* A bare name is a pack's; that a folder here happens to be called so means nothing. */
    bool is_path = o->model && stat(o->model, &st) == 0 && (S_ISREG(st.st_mode) || strchr(o->model, '/'));
    int rc = es_packs_scan(&packs, is_path ? o->model : o->models, err);

    if (rc == ES_OK && o->preferred && !o->model) rc = es_packs_choose(&packs, ES_STAGE_EMBEDDER, NULL, &entry, err);
    if (rc == ES_OK && !entry) rc = es_packs_choose_encoder(&packs, is_path ? NULL : o->model, &entry, err);
    if (rc == ES_OK && !(*path = strdup(entry->path))) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    es_packs_done(&packs);
    return rc;
}

static int open_tokens(es_embedding *e, const es_weights *pack, es_err *err)
{
    const es_weight *t = es_weights_find(pack, "tokenizer.tokens"), *added = es_weights_find(pack, "tokenizer.added");
    es_token_tables tables = {0};

    if (t && t->dtype == ES_U8) tables.tokens = t->p, tables.tokens_bytes = t->bytes;
    if (added && added->dtype == ES_U8) tables.added = added->p, tables.added_bytes = added->bytes;
    return es_tokens_open(&e->tokens, &tables, es_pack_config(pack), es_weights_path(pack), err);
}

static int open_preset(es_embedding *e, const char *name, es_err *err)
{
    char list[256] = "", shown[64];
    size_t n = 0;

    snprintf(e->name, sizeof e->name, "%s", name);
    if (es_embedder_preset(&e->dims, name)) return ES_OK;
    for (int i = 0; es_embedder_preset_name(i) && n + 64 < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", es_embedder_preset_name(i));
    return es_fail(err, ES_EARG, "there is no text encoder called %s to be made up; there are %s",
                   es_printable(shown, sizeof shown, name), list);
}

static void know(es_embedding *e, const es_weights *pack)
{
    const char *hash = es_weights_meta(pack, "data_hash");

    snprintf(e->name, sizeof e->name, "%s", es_pack_name(pack));
    snprintf(e->maker.name, sizeof e->maker.name, "%s", e->name);
    if (hash) es_hash_parse(&e->maker.hash, hash); /* one that is none stays zero */
    e->space = es_packs_space(pack);
}

int es_embedding_open(es_embedding **out, const es_embedding_options *o, es_err *err)
{
    es_embedding *e = calloc(1, sizeof *e);
    char *path = NULL;
    int rc = e ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = NULL;
    if (rc == ES_OK) {
        e->options = *o;
        e->options.models = e->options.model = e->options.device = e->options.device_from = NULL; /* not ours to keep */
        e->options.synthetic = NULL;
        e->seeded = o->synthetic != NULL;
        rc = es_session_choose_named(&e->where, o->device, o->device_from ? o->device_from : "--device", true, err);
    }
    if (rc == ES_OK && o->synthetic) {
        rc = open_preset(e, o->synthetic, err);
    } else {
        if (rc == ES_OK) rc = choose(&path, o, err);
        if (rc == ES_OK) rc = es_pack_open(&e->pack, path, err);
        if (rc == ES_OK) rc = es_embedder_dims_read(&e->dims, e->pack, err);
        if (rc == ES_OK) rc = open_tokens(e, e->pack, err);
        if (rc == ES_OK) know(e, e->pack);
    }
    if (rc == ES_OK) {
        *out = e;
        e = NULL; /* the caller's from here on */
    }
    free(path);
    es_embedding_close(e);
    return rc;
}

int es_embedding_within(es_embedding **out, const es_weights *pack, es_err *err)
{
    es_embedding *e = calloc(1, sizeof *e);
    int rc = e ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = NULL;
    if (rc == ES_OK) {
        e->within = true;
        know(e, pack);
        rc = es_embedder_dims_read(&e->dims, pack, err);
    }
    if (rc == ES_OK) rc = open_tokens(e, pack, err);
    if (rc == ES_OK) {
        *out = e;
        e = NULL; /* the caller's from here on */
    }
    es_embedding_close(e);
    return rc;
}

void es_embedding_close(es_embedding *e)
{
    if (!e) return;
    if (!e->within) es_embedder_close(e->embedder);
    es_arena_close(e->arena);
    es_plan_close(e->plan);
    es_device_close(e->device);
    es_tokens_close(e->tokens);
    es_weights_close(e->pack);
    free(e->ids);
    free(e->bounds);
    free(e);
}

/* ---- making ready ---- */

/* Plans steps of as many tokens as the budget allows. */
static int plan_steps(es_embedding *e, uint64_t budget, es_err *err)
{
    int tokens = e->dims.qwen2 ? TOKENS_QWEN2 : TOKENS_BERT, texts = e->options.texts ? e->options.texts : TEXTS;

    /* A few texts - a question is one - have no more tokens than the model takes of each. */
    const int64_t most = (int64_t)texts * e->dims.longest;
    if (most < tokens) tokens = most < LEAST_TOKENS ? LEAST_TOKENS : (int)most;
    for (;; tokens /= 2) {
        es_err why = {0};
        /* Every text has a token at least, so more texts than tokens are never in a step. */
        e->limits = (es_embedder_limits){.tokens = tokens, .texts = texts < MOST_TEXTS ? texts : MOST_TEXTS};
        if (e->limits.texts > tokens) e->limits.texts = tokens;
        int rc = es_plan_open(&e->plan, e->where.backend, e->options.threads, &why);
        if (rc == ES_OK) rc = es_embedder_plan(&e->embedder, e->plan, e->name, e->pack, &e->dims, e->limits, &why);
        if (rc == ES_OK) rc = es_plan_finish(e->plan, budget, &why);
        if (rc == ES_OK) return ES_OK;
        if (rc != ES_EBUDGET || tokens / 2 < LEAST_TOKENS) return es_fail(err, rc, "%s", why.text);
        es_embedder_close(e->embedder);
        es_plan_close(e->plan);
        e->embedder = NULL, e->plan = NULL;
    }
}

static int device_fault(const es_fault *why, es_err *err)
{
    return es_fail(err, ES_EDEVICE, "%s", why->text[0] ? why->text : "the device cannot be opened");
}

/* Room on the host for the tokens of a step and of the text behind it. */
static int take_room(es_embedding *e, es_err *err)
{
    e->ids = malloc(((size_t)e->limits.tokens + (size_t)es_embedder_longest(e->embedder)) * sizeof *e->ids);
    e->bounds = malloc(((size_t)e->limits.texts + 1) * sizeof *e->bounds);
    if (!e->ids || !e->bounds) return es_fail(err, ES_ENOMEM, "not enough memory for %d tokens", e->limits.tokens);
    e->ready = true;
    return ES_OK;
}

int es_embedding_bind(es_embedding *e, es_embedder *model, es_embedder_limits limits, es_err *err)
{
    e->embedder = model;
    e->limits = limits;
    return take_room(e, err);
}

static es_log_level note(const es_embedding *e)
{
    return e->options.hushed ? ES_LOG_INFO : ES_LOG_NOTE;
}

void es_embedding_tell(const es_embedding *e, const char *device)
{
    es_log(note(e), "Embedding model %s (%d dimensions, up to %d tokens a text) is loaded on %s", e->name, e->dims.d_model,
           es_embedder_longest(e->embedder), device);
}

int es_embedding_ready(es_embedding *e, es_err *err)
{
    uint64_t budget = e->options.budget;
    es_device_facts facts;
    es_fault why = {0};
    int rc = ES_OK;

    if (e->ready) return ES_OK;
    if (e->within) return es_fail(err, ES_EMODEL, "%s: the text encoder's model is not loaded yet", e->name);
    if (e->plan || e->device) return es_fail(err, ES_EMODEL, "the text encoder could not be made ready before; open it again");
    if (e->where.why_cpu[0]) es_log(ES_LOG_INFO, "the text encoder runs on the CPU: %s", e->where.why_cpu);
    if (es_device_open(&e->device, e->where.backend, e->where.index, e->options.threads, NULL, &why)) return device_fault(&why, err);
    es_device_describe(e->device, &facts);
    snprintf(e->device_name, sizeof e->device_name, "%s", facts.name);
    if (!budget) budget = es_session_default_budget(e->where.backend, facts.bytes_free);
    rc = plan_steps(e, budget, err);
    if (rc == ES_OK) rc = es_arena_open(&e->arena, e->plan, e->device, err);
    if (rc == ES_OK) rc = e->seeded ? es_arena_seed(e->arena, SEED, err) : es_arena_load(e->arena, err);
    if (rc == ES_OK && es_device_sync(e->device, &why)) rc = device_fault(&why, err);
    if (rc != ES_OK) return rc;
    es_embedder_start(e->embedder, e->arena);
    rc = take_room(e, err);
    if (rc != ES_OK) return rc;
    es_weights_close(e->pack); /* its weights are in the arena: mapped, they would be resident twice */
    e->pack = NULL;
    es_embedding_tell(e, facts.name);
    return ES_OK;
}

es_maker es_embedding_maker(const es_embedding *e)
{
    return e->maker;
}

es_hash128 es_embedding_space(const es_embedding *e)
{
    return e->space;
}

int es_embedding_width(const es_embedding *e)
{
    return e->dims.d_model;
}

bool es_embedding_has_tokens(const es_embedding *e)
{
    return e->tokens != NULL;
}

int es_embedding_takes(const es_embedding *e)
{
    return e->dims.longest;
}

int es_embedding_longest(const es_embedding *e)
{
    return e->embedder ? es_embedder_longest(e->embedder) : 0;
}

uint64_t es_embedding_arena_bytes(const es_embedding *e)
{
    es_plan_totals totals = {0};

    if (e->plan && e->ready) es_plan_totals_get(e->plan, &totals);
    return totals.arena;
}

const char *es_embedding_name(const es_embedding *e)
{
    return e->name;
}

const char *es_embedding_device_name(const es_embedding *e)
{
    return e->device_name;
}

bool es_embedding_on_cpu(const es_embedding *e)
{
    return e->where.backend == ES_CPU;
}

int es_embedding_vocabulary(const es_embedding *e)
{
    return e->dims.vocab;
}

double es_embedding_flops(const es_embedding *e, int tokens)
{
    const es_embedder_dims *d = &e->dims;
    double C = d->d_model, Q = d->heads * d->head_dim, KV = d->kv_heads * d->head_dim, N = tokens;
    double weights = C * (Q + 2 * KV) + Q * C + (d->qwen2 ? 3 : 2) * C * d->mlp, pairs = d->mask == ES_MASK_CAUSAL ? N * (N + 1) / 2 : N * N;

    return d->layers * (2 * weights * N + 4 * Q * pairs);
}

/* ---- texts to ids ---- */

static int need_tokens(const es_embedding *e, es_err *err)
{
    return e->tokens ? ES_OK
                     : es_fail(err, ES_EMODEL, "%s has no tokenizer: it takes token ids only (earshot embed --ids)", e->name);
}

int es_embedding_tokenize(const es_embedding *e, const char *text, size_t bytes, int32_t *ids, size_t room, size_t *n, es_err *err)
{
    int rc = need_tokens(e, err);

    *n = 0;
    if (rc != ES_OK) return rc;
    *n = es_tokens_plain(e->tokens, text, bytes, ids, room);
    return *n == SIZE_MAX ? es_fail(err, ES_ENOMEM, "not enough memory for the tokens of %zu bytes", bytes) : ES_OK;
}

/* ---- ids to vectors ---- */

/* A step that is being filled: texts and tokens so far, and where its vectors go. Parts of long texts have vectors that are
 * added up: then `parts` is the step's room for vectors and part[i] says whose its i-th one is and how much it counts. */
typedef struct part {
    size_t text;
    float weight; /* tokens of the part; 0: the text has no other, and its vector stays as it is */
} part;

typedef struct step {
    es_embedding *e;
    int texts;
    float *vectors;
    float *parts; /* [step texts, width], or NULL: vectors go where they belong at once */
    part *part;   /* [step texts] */
    size_t done;  /* texts before this step, or parts */
} step;

static void add_part(float *to, const float *v, float weight, int width)
{
    for (int k = 0; k < width; k++) to[k] = weight > 0 ? to[k] + weight * v[k] : v[k];
}

static int flush(step *s, es_err *err)
{
    int rc = ES_OK, width = s->e->dims.d_model;

    if (s->texts)
        rc = es_embedder_step(s->e->embedder, s->e->ids, s->e->bounds, s->texts, s->parts ? s->parts : s->vectors, err);
    for (int i = 0; s->parts && rc == ES_OK && i < s->texts; i++)
        add_part(s->vectors + s->part[i].text * (size_t)width, s->parts + (size_t)i * (size_t)width, s->part[i].weight, width);
    if (!s->parts) s->vectors += (size_t)s->texts * (size_t)width;
    s->done += (size_t)s->texts;
    s->texts = 0;
    if (rc == ES_OK && !s->parts && s->e->done) rc = s->e->done(s->e->done_user, s->done, err);
    return rc;
}

/* Takes the n ids that were written behind those of the step. */
static int take(step *s, int n, es_err *err)
{
    es_embedding *e = s->e;
    int used = s->texts ? e->bounds[s->texts] : 0, rc = ES_OK;

    if (used + n > e->limits.tokens || s->texts == e->limits.texts) {
        rc = flush(s, err);
        memmove(e->ids, e->ids + used, (size_t)n * sizeof *e->ids);
        used = 0;
    }
    e->bounds[s->texts++] = used;
    e->bounds[s->texts] = used + n;
    return rc;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void tell_rate(const es_embedding *e, size_t n, double began)
{
    double seconds = now() - began;

    es_log(note(e), "Embedding generation: %zu texts in %.2f s (%.1f texts/sec)", n, seconds,
           seconds > 0 ? (double)n / seconds : 0.0);
}

/* The texts, each cut where the model ends. */
static int cut_texts(step *s, const char *const *texts, const size_t *bytes, size_t n, bool query, es_err *err)
{
    es_embedding *e = s->e;
    size_t cut = 0, longest = (size_t)es_embedder_longest(e->embedder);
    int rc = ES_OK;

    for (size_t i = 0; i < n && rc == ES_OK; i++) {
        size_t all = 0, used = s->texts ? (size_t)e->bounds[s->texts] : 0;
        size_t k = es_tokens_framed(e->tokens, texts[i], bytes[i], query, e->ids + used, longest, &all);
        if (k == SIZE_MAX) return es_fail(err, ES_ENOMEM, "not enough memory for the tokens of text %zu, of %zu bytes", i + 1, bytes[i]);
        cut += all > k;
        rc = take(s, (int)k, err);
    }
    if (rc == ES_OK) rc = flush(s, err);
    if (rc == ES_OK && cut)
        es_log(ES_LOG_NOTE, "%zu of %zu texts have more than %zu tokens: what is behind them is left out", cut, n, longest);
    return rc;
}

/* One text in as many parts as it needs; *parts: how many. */
static int split_text(step *s, size_t i, const int32_t *ids, size_t count, size_t *parts, es_err *err)
{
    es_embedding *e = s->e;
    size_t room = (size_t)es_embedder_longest(e->embedder) - (size_t)es_tokens_frame(e->tokens);
    size_t n = count > room ? (count + room - 1) / room : 1;
    int rc = ES_OK;

    *parts = n;
    for (size_t p = 0, from = 0; p < n && rc == ES_OK; p++) {
        size_t length = count / n + (p < count % n), used = s->texts ? (size_t)e->bounds[s->texts] : 0;
        memcpy(e->ids + used + es_tokens_lead(e->tokens), ids + from, length * sizeof *ids);
        rc = take(s, (int)es_tokens_put_frame(e->tokens, e->ids + used, length), err);
        s->part[s->texts - 1] = (part){i, n > 1 ? (float)length : 0};
        from += length;
    }
    return rc;
}

static void unit(float *v, int width)
{
    double sum = 0;

    for (int k = 0; k < width; k++) sum += (double)v[k] * (double)v[k];
    double norm = sum > 1e-24 ? sqrt(sum) : 1e-12;
    for (int k = 0; k < width; k++) v[k] = (float)((double)v[k] / norm);
}

/* The texts, long ones in parts. The vectors of a text's parts are added in their order, whatever the steps are. */
static int split_texts(step *s, const char *const *texts, const size_t *bytes, size_t n, bool query, es_err *err)
{
    es_embedding *e = s->e;
    int width = e->dims.d_model, rc = ES_OK;
    size_t room = 0, longer = 0;
    int32_t *ids = NULL;
    bool *in_parts = calloc(n + 1, sizeof *in_parts);

    s->parts = malloc((size_t)e->limits.texts * (size_t)width * sizeof *s->parts);
    s->part = malloc((size_t)e->limits.texts * sizeof *s->part);
    if (!in_parts || !s->parts || !s->part) rc = es_fail(err, ES_ENOMEM, "not enough memory for the parts of %zu texts", n);
    else memset(s->vectors, 0, n * (size_t)width * sizeof *s->vectors);
    for (size_t i = 0; i < n && rc == ES_OK; i++) {
        size_t count = es_tokens_inner(e->tokens, texts[i], bytes[i], query, ids, room), parts = 0;
        if (count != SIZE_MAX && count > room) {
            int32_t *more = realloc(ids, count * sizeof *ids);
            if (more) ids = more, room = count;
            count = more ? es_tokens_inner(e->tokens, texts[i], bytes[i], query, ids, room) : SIZE_MAX;
        }
        if (count == SIZE_MAX) rc = es_fail(err, ES_ENOMEM, "not enough memory for the tokens of text %zu, of %zu bytes", i + 1, bytes[i]);
        else rc = split_text(s, i, ids, count, &parts, err);
        in_parts[i] = parts > 1;
        longer += parts > 1;
    }
    if (rc == ES_OK) rc = flush(s, err);
    for (size_t i = 0; i < n && rc == ES_OK; i++)
        if (in_parts[i]) unit(s->vectors + i * (size_t)width, width);
    if (rc == ES_OK && longer)
        es_log(ES_LOG_NOTE, "%zu of %zu texts have more than %d tokens: they were computed in parts", longer, n,
               es_embedder_longest(e->embedder));
    free(ids);
    free(in_parts);
    free(s->parts);
    free(s->part);
    return rc;
}

void es_embedding_watch(es_embedding *e, int (*done)(void *user, size_t n, es_err *err), void *user)
{
    e->done = done;
    e->done_user = user;
}

int es_embedding_texts(es_embedding *e, const char *const *texts, const size_t *bytes, size_t n, bool query, float *vectors,
                       es_err *err)
{
    step s = {.e = e, .vectors = vectors};
    double began;
    int rc = need_tokens(e, err);

    if (rc == ES_OK) rc = es_embedding_ready(e, err);
    if (rc != ES_OK) return rc;
    es_log(note(e), "Processing embedding batch: %zu total texts", n);
    began = now();
    rc = (e->options.split ? split_texts : cut_texts)(&s, texts, bytes, n, query, err);
    if (rc == ES_OK) tell_rate(e, n, began);
    return rc;
}

int es_embedding_ids(es_embedding *e, const int32_t *ids, const size_t *bounds, size_t n, float *vectors, es_err *err)
{
    step s = {.e = e, .vectors = vectors};
    int rc = es_embedding_ready(e, err);

    if (rc != ES_OK) return rc;
    /* Everything is looked at before anything is computed. */
    size_t longest = (size_t)es_embedder_longest(e->embedder);
    for (size_t i = 0; i < n; i++) {
        size_t length = bounds[i + 1] - bounds[i];
        if (length == 0 || length > longest)
            return es_fail(err, ES_EARG, "text %zu has %zu token ids: 1 to %zu are taken", i + 1, length, longest);
        for (size_t k = bounds[i]; k < bounds[i + 1]; k++)
            if (ids[k] < 0 || ids[k] >= e->dims.vocab)
                return es_fail(err, ES_EARG, "token %zu of text %zu is %d: %s has 0 to %d", k - bounds[i] + 1, i + 1, ids[k],
                               e->name, e->dims.vocab - 1);
    }
    es_log(note(e), "Processing embedding batch: %zu total texts", n);
    double began = now();
    for (size_t i = 0; i < n && rc == ES_OK; i++) {
        size_t length = bounds[i + 1] - bounds[i], used = s.texts ? (size_t)e->bounds[s.texts] : 0;
        memcpy(e->ids + used, ids + bounds[i], length * sizeof *ids);
        rc = take(&s, (int)length, err);
    }
    if (rc == ES_OK) rc = flush(&s, err);
    if (rc == ES_OK) tell_rate(e, n, began);
    return rc;
}
