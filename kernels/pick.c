/*
 * pick.c - choosing the next token of every live slot by the rules of Whisper's reference decoder, and word
 * probabilities.
 *
 * The rules only forbid: by a bit mask (suppression), by ranges of ids (timestamps) and two single ids (blank and eot
 * at the first token; eot also after a pair of timestamps, where the caller knows that more is said). So they are settled first as bounds, and a pass over the logits copies a piece of 1024 into a
 * buffer with the forbidden ones at -inf. Passes: the largest text and timestamp logits with the sum of exponentials of
 * both kinds (each piece f32 in sixteen lanes, pieces joined in double); if the timestamps' sum outweighs the largest
 * text logit, text is forbidden too. At temperature 0 the token is the arg-max, the lowest id on ties. Else it is the
 * arg-max of l / T + g, g = -log(-log u), Gumbel's way to draw from the softmax of l / T: it needs no running sum, so
 * the order of work cannot matter. u of id i is word i % 4 of Philox4x32-10 with counter (n, i / 4, key[2], key[3]) and
 * key (key[0], key[1]), as (w >> 9 + 1/2) 2^-23.
 */
#include "kernels/cpu.h"

#include <math.h>

enum { PIECE = 1024 };

typedef struct rules {
    bool first_token;        /* blank and eot are forbidden */
    bool goes_on;            /* eot is forbidden */
    bool no_timestamps;      /* the id of that name is forbidden */
    int lowest;              /* ids below are forbidden */
    int text_end;            /* ids in text_end .. time_begin-1 that are text: always timestamp_begin */
    int time_low, time_high; /* timestamps outside are forbidden */
} rules;

static rules rules_of(const es_pick_slot *s, const es_pick_vocab *v)
{
    rules r = {.first_token = s->n == 0,
               .text_end = v->timestamp_begin,
               .time_low = v->timestamp_begin,
               .time_high = v->V - 1};

    if (s->mode == ES_PICK_LANG) return r;
    if (!s->timestamps) {
        r.time_high = v->timestamp_begin - 1;
        return r;
    }
    bool last_time = s->n >= 1 && s->last >= v->timestamp_begin;
    bool before_time = s->n < 2 || s->last2 >= v->timestamp_begin;
    r.no_timestamps = true;
    r.goes_on = s->n >= 2 && last_time && before_time && s->last < v->timestamp_begin + s->least_end;
    if (last_time && before_time) r.time_high = v->timestamp_begin - 1; /* a pair is complete: text or the end */
    else if (last_time) r.lowest = v->eot;                              /* a segment closes: a timestamp or the end */
    if (s->last_time >= 0 && last_time && !before_time) r.time_low = s->last_time;
    else if (s->last_time >= 0) r.time_low = s->last_time + 1;
    if (s->n == 0) {
        r.lowest = v->timestamp_begin;
        if (s->max_initial >= 0) r.time_high = es_min(r.time_high, v->timestamp_begin + s->max_initial);
    }
    return r;
}

static void forbid(float *out, int at, int n, int first, int last)
{
    for (int i = first > at ? first : at; i < at + n && i <= last; i++) out[i - at] = -INFINITY;
}

/* ids at .. at + n - 1 of a row with the forbidden ones at -inf; at is a multiple of 32. */
static void filtered(float *out, const float *logits, int at, int n, const rules *r, const es_pick_vocab *v,
                     const uint32_t *suppress)
{
    memcpy(out, logits + at, (size_t)n * sizeof *out);
    for (int w = 0; w * 32 < n; w++)
        for (uint32_t bits = suppress[at / 32 + w]; bits; bits &= bits - 1) {
            int i = w * 32 + __builtin_ctz(bits);
            if (i < n) out[i] = -INFINITY;
        }
    if (r->first_token) {
        if (v->blank >= 0) forbid(out, at, n, v->blank, v->blank);
        forbid(out, at, n, v->eot, v->eot);
    }
    if (r->goes_on) forbid(out, at, n, v->eot, v->eot);
    if (r->no_timestamps) forbid(out, at, n, v->no_timestamps, v->no_timestamps);
    forbid(out, at, n, 0, r->lowest - 1);
    forbid(out, at, n, v->timestamp_begin, r->time_low - 1);
    forbid(out, at, n, r->time_high + 1, v->V - 1);
}

static void philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t x = (uint32_t)(b >> 32) ^ c[1] ^ k0, z = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b, c[3] = (uint32_t)a, c[0] = x, c[2] = z;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

/* Largest value, its lowest id, and sum of e^(value - max), over one kind of ids. */
typedef struct mass {
    float max;
    int at;
    double sum;
} mass;

static void add_mass(const es_lanes *l, mass *m, const float *x, int at, int n, float *room)
{
    float best = l->max(x, (size_t)n);

    if (best == -INFINITY) return;
    if (best > m->max) {
        for (m->at = 0; x[m->at] != best; m->at++) {}
        m->at += at;
        m->sum *= m->max == -INFINITY ? 0 : exp((double)m->max - (double)best);
        m->max = best;
    }
    m->sum += (double)l->exp_sum(room, x, (size_t)n, m->max);
}

static double mass_log(const mass *m)
{
    return m->max == -INFINITY ? -INFINITY : (double)m->max + log(m->sum);
}

/* The mass of ids first .. end-1 as they stand, for probabilities of unfiltered rows. */
static mass mass_of(const es_lanes *l, const float *logits, int first, int end)
{
    float room[PIECE];
    mass m = {.max = -INFINITY, .at = -1};

    for (int at = first; at < end; at += PIECE) add_mass(l, &m, logits + at, at, es_min(PIECE, end - at), room);
    return m;
}

static int draw(const float *logits, const rules *r, const es_pick_vocab *v, const uint32_t *suppress,
                const es_pick_slot *s)
{
    float piece[PIECE];
    double best = -INFINITY;
    int token = v->eot;

    for (int at = 0; at < v->V; at += PIECE) {
        int n = es_min(PIECE, v->V - at);
        filtered(piece, logits, at, n, r, v, suppress);
        for (int i = 0; i < n; i += 4) {
            uint32_t c[4] = {(uint32_t)s->n, (uint32_t)(at + i) / 4, s->key[2], s->key[3]};
            philox(c, s->key[0], s->key[1]);
            for (int j = 0; j < 4 && i + j < n; j++) {
                if (piece[i + j] == -INFINITY) continue;
                double u = ((double)(c[j] >> 9) + 0.5) * 0x1p-23;
                double score = (double)piece[i + j] / (double)s->temperature - log(-log(u));
                if (score > best) best = score, token = at + i + j;
            }
        }
    }
    return token;
}

/* Takes a token for a text slot and adds its log-probability. */
static int pick_text(const es_lanes *l, es_pick_slot *s, const float *logits, const es_pick_vocab *v,
                     const uint32_t *suppress)
{
    float piece[PIECE], room[PIECE];
    rules r = rules_of(s, v);
    mass text = {.max = -INFINITY, .at = v->eot}, time = {.max = -INFINITY, .at = v->eot};

    for (int at = 0; at < v->V; at += PIECE) {
        int n = es_min(PIECE, v->V - at), split = v->timestamp_begin - at;
        split = split < 0 ? 0 : es_min(split, n);
        filtered(piece, logits, at, n, &r, v, suppress);
        add_mass(l, &text, piece, at, split, room);
        add_mass(l, &time, piece + split, at + split, n - split, room);
    }
    if (s->timestamps && mass_log(&time) > (double)text.max) {
        r.lowest = v->timestamp_begin;
        text = (mass){.max = -INFINITY, .at = v->eot};
    }
    int token = time.max > text.max ? time.at : text.at;
    if (s->temperature > 0) token = draw(logits, &r, v, suppress, s);
    double a = mass_log(&text), b = mass_log(&time), hi = a > b ? a : b, lo = a > b ? b : a;
    double all = hi == -INFINITY ? 0 : hi + log1p(exp(lo - hi));
    s->sum_logprob += (float)((double)logits[token] - all);
    return token;
}

static void pick_one(const es_lanes *l, es_pick_slot *s, const float *logits, const float *sot_logits,
                     const uint32_t *suppress, const es_pick_vocab *v, int32_t *tokens, int32_t *id, int32_t *pos,
                     int32_t *slot, int32_t *len, int b)
{
    int token;

    if (s->n == 0 && sot_logits) {
        mass all = mass_of(l, sot_logits, 0, v->V);
        s->no_speech = (float)exp((double)sot_logits[v->no_speech] - mass_log(&all));
    }
    if (s->mode == ES_PICK_LANG) {
        mass all = mass_of(l, logits, v->lang_begin, v->lang_begin + v->n_lang);
        token = all.at;
        s->lang_prob = (float)exp((double)all.max - mass_log(&all));
        s->ended = 1;
    } else {
        token = pick_text(l, s, logits, v, suppress);
        s->ended = token == v->eot ? 1 : s->n + 1 >= s->n_max || s->pos >= v->max_pos ? 2 : 0;
    }
    if (s->n < v->max_pos) tokens[s->n] = token;
    s->n++;
    s->last2 = s->last;
    s->last = token;
    if (token >= v->timestamp_begin) s->last_time = token;
    id[b] = s->ended ? -1 : token;
    pos[b] = s->ended ? 0 : s->pos;
    slot[b] = s->ended ? -1 : b;
    len[b] = s->ended ? 0 : s->pos + 1;
    s->pos++;
    if (s->ended) s->mode = ES_PICK_IDLE;
}

typedef struct pick_call {
    es_cpu *d;
    es_pick_slot *slots;
    const float *logits, *sot_logits;
    const uint32_t *suppress;
    es_pick_vocab v;
    int32_t *tokens, *id, *pos, *slot, *len;
} pick_call;

static void pick_job(void *arg, int b, int thread)
{
    const pick_call *c = arg;
    size_t row = (size_t)b * (size_t)c->v.V;

    (void)thread;
    if (c->slots[b].mode == ES_PICK_IDLE) return;
    pick_one(c->d->lanes, &c->slots[b], c->logits + row, c->sot_logits ? c->sot_logits + row : NULL, c->suppress, &c->v,
             c->tokens + (size_t)b * (size_t)c->v.max_pos, c->id, c->pos, c->slot, c->len, b);
}

void es_cpu_pick(es_device *dev, es_pick_slot *slots, const float *logits, const float *sot_logits,
                 const uint32_t *suppress, es_pick_vocab vocab, int32_t *tokens, int32_t *id, int32_t *pos,
                 int32_t *slot, int32_t *len, int B)
{
    es_cpu *d = es_cpu_of(dev);
    pick_call c = {.d = d,
                   .slots = slots,
                   .logits = logits,
                   .sot_logits = sot_logits,
                   .suppress = suppress,
                   .v = vocab,
                   .tokens = tokens,
                   .id = id,
                   .pos = pos,
                   .slot = slot,
                   .len = len};

    es_pool_run(d->pool, B, pick_job, &c);
}

void es_cpu_prob_at(es_device *dev, float *p, const float *logits, const int32_t *id, const int32_t *rows, int R, int V,
                    int n)
{
    const es_cpu *d = es_cpu_of(dev);
    int live = es_live(rows, R);

    for (int r = 0; r < live; r++) {
        const float *row = logits + (size_t)r * (size_t)V;
        if (id[r] < 0) continue;
        mass all = mass_of(d->lanes, row, 0, n);
        p[r] = (float)exp((double)row[id[r]] - mass_log(&all));
    }
}
