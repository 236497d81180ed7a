/*
 * whisper_decode.c - Whisper's decoder: prompts in, one token a step for every live slot, until each has ended.
 *
 *     y = tokens[id] + positions[pos]                                                        [R, C]
 *     Ld times: keys and values of qkv(norm(y)) go to the slot's cache; y += out(attend(q, cache))
 *               y += cross_out(attend(cross_q(norm(y)), keys and values of the slot's window))
 *               y += down(gelu(up(norm(y))))
 *     logits = norm(y) tokens^T                                                              [R, V]
 *
 * A row is one token of one slot. Every row writes its key and value before any row attends, and sees the cache up to
 * its own position: that is the causal mask, whether the rows are a whole prompt (prefill) or one token of each slot
 * (step). A prefill may carry rows of several slots; only the newest row of a slot and its sot row reach the
 * vocabulary, which is most of the work.
 *
 * The choice of a token, its log-probability and the next step's inputs are made on the device by pick(), so that steps
 * follow each other without the host. The host looks at the slots after a step on the CPU, after a few on CUDA: a slot
 * that has ended idles through the rest.
 *
 * A prefill must not move slots that are in the middle of their windows: it is given a table of slots in which only the
 * new ones are awake (pick() leaves the inputs of the others alone), and its outcome is merged into the table of all.
 */
#include "models/whisper_parts.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

enum { MOST_NEW_TOKENS = ES_WHISPER_POSITIONS / 2 };

/* ---- programs ---- */

static es_tensor self_attention(es_run *r, es_whisper *m, const es_whisper_rows *rows, int layer, es_tensor x)
{
    const es_whisper_layer *l = &m->decoder[layer];
    int C = m->dims.d_model;
    es_tensor n = es_layernorm(r, x, l->attn_norm.g, l->attn_norm.b, 1e-5f);
    es_tensor qkv = es_linear(r, n, l->qkv.w, l->qkv.b, ES_ACT_NONE); /* [R, 3C] */

    es_kv_store(r, m->self_k[layer], m->self_v[layer], es_columns(qkv, C, C), es_columns(qkv, 2 * C, C), rows->slot,
                rows->pos);
    es_tensor a = es_attend_cached(r, es_columns(qkv, 0, C), m->self_k[layer], m->self_v[layer], rows->slot, rows->len,
                                   m->parent, es_no_rows, NULL, 0);
    return es_linear_add(r, x, a, l->out.w, l->out.b);
}

static es_tensor cross_attention(es_run *r, es_whisper *m, const es_whisper_rows *rows, int layer, es_tensor x,
                                 es_tensor scores)
{
    const es_whisper_layer *l = &m->decoder[layer];
    int C = m->dims.d_model, n_heads = scores.n_dims ? m->n_heads[layer] : 0;
    es_tensor n = es_layernorm(r, x, l->cross_norm.g, l->cross_norm.b, 1e-5f);
    es_tensor q = es_linear(r, n, l->cross_q.w, l->cross_q.b, ES_ACT_NONE); /* [R, C] */
    es_tensor a = es_attend_cached(r, es_columns(q, 0, C), m->cross_k[layer], m->cross_v[layer], rows->slot, es_no_rows,
                                   es_no_rows, scores, n_heads ? m->heads[layer] : NULL, n_heads);

    return es_linear_add(r, x, a, l->cross_out.w, l->cross_out.b);
}

es_tensor es_whisper_decode_rows(es_run *r, es_whisper *m, const es_whisper_rows *rows, const es_tensor *scores)
{
    es_run_rows(r, rows->live);
    es_tensor x = es_embed(r, m->tokens, m->decoder_positions, rows->id, rows->pos); /* [R, C] */
    for (int i = 0; i < m->dims.decoder_layers; i++) {
        x = self_attention(r, m, rows, i, x);
        x = cross_attention(r, m, rows, i, x, scores ? scores[i] : es_no_rows);
        x = es_whisper_mlp(r, &m->decoder[i], x);
    }
    return x;
}

void es_whisper_prefill_run(es_run *r, void *user)
{
    es_whisper *m = user;
    int S = m->limits.slots;
    es_tensor x = es_whisper_decode_rows(r, m, &m->prefill, NULL);

    es_run_rows(r, es_no_rows);
    es_tensor y = es_gather(r, x, m->wanted); /* [2S, C]: newest rows, sot rows */
    y = es_layernorm(r, y, m->decoder_norm.g, m->decoder_norm.b, 1e-5f);
    es_tensor logits = es_linear_f32(r, y, m->tokens, NULL); /* [2S, V] */
    es_pick(r, m->pick, es_row_range(logits, 0, S), es_row_range(logits, S, S), m->suppress, m->vocab, m->out,
            m->step.id, m->step.pos, m->step.slot, m->step.len);
    if (m->limits.keep) {
        es_cast_to(r, m->kept_logits, es_row_range(logits, 0, S));
        es_cast_to(r, m->kept_sot, es_row_range(logits, S, S));
    }
}

void es_whisper_step_run(es_run *r, void *user)
{
    es_whisper *m = user;
    es_tensor x = es_whisper_decode_rows(r, m, &m->step, NULL);

    x = es_layernorm(r, x, m->decoder_norm.g, m->decoder_norm.b, 1e-5f);
    es_tensor logits = es_linear_f32(r, x, m->tokens, NULL); /* [S, V] */
    es_pick(r, m->pick, logits, es_no_rows, m->suppress, m->vocab, m->out, m->step.id, m->step.pos, m->step.slot,
            m->step.len);
    if (m->limits.keep) es_cast_to(r, m->kept_logits, logits);
}

/* ---- slots ---- */

void es_whisper_begin(es_whisper *m, const es_whisper_request *q)
{
    es_whisper_slot *s = &m->slots[q->slot];
    int room = ES_WHISPER_POSITIONS + 1 - q->n_prompt, most = room < MOST_NEW_TOKENS ? room : MOST_NEW_TOKENS;

    assert(q->slot >= 0 && q->slot < m->limits.slots && s->phase == ES_SLOT_FREE);
    assert(q->n_prompt >= 1 && q->n_prompt <= ES_WHISPER_POSITIONS && q->sot_at >= 0 && q->sot_at < q->n_prompt);
    assert(q->n_prompt - q->sot_at <= m->limits.prompt_rows);
    s->phase = ES_SLOT_BEGUN;
    s->n_prompt = q->n_prompt;
    s->fed = 0;
    s->sot_at = q->sot_at;
    s->language = q->detect_language;
    memcpy(s->prompt, q->prompt, (size_t)q->n_prompt * sizeof s->prompt[0]);
    if (q->max_tokens > 0 && q->max_tokens < most) most = q->max_tokens;
    m->picks[q->slot] = (es_pick_slot){.mode = q->detect_language ? ES_PICK_LANG : ES_PICK_TEXT,
                                       .n_max = q->detect_language ? 1 : most,
                                       .last = -1,
                                       .last2 = -1,
                                       .last_time = -1,
                                       .timestamps = q->timestamps,
                                       .max_initial = q->max_initial,
                                       .least_end = q->least_end,
                                       .temperature = q->temperature,
                                       .key = {q->key[0], q->key[1], q->key[2], q->key[3]},
                                       .pos = q->n_prompt};
}

static void put_rows(es_whisper *m, const es_whisper_rows *to, const int32_t *rows /* [4, R] */, int R, int n)
{
    int32_t live = n;

    es_state_put(m->arena, to->id, 0, rows, (size_t)n * 4);
    es_state_put(m->arena, to->pos, 0, rows + R, (size_t)n * 4);
    es_state_put(m->arena, to->slot, 0, rows + 2 * R, (size_t)n * 4);
    es_state_put(m->arena, to->len, 0, rows + 3 * R, (size_t)n * 4);
    es_state_put(m->arena, to->live, 0, &live, 4);
}

/* The rows of slot s that go into a prefill with room for `room` more: all that are left, or as many as leave sot and
 * what follows for one later run. */
static int rows_now(const es_whisper_slot *s, int room)
{
    int left = s->n_prompt - s->fed, before_sot = s->sot_at - s->fed;

    if (left <= room) return left;
    if (before_sot <= 0) return 0;
    return before_sot < room ? before_sot : room;
}

/* One run of prefill over rows of the slots that wait for it. */
static void prefill_some(es_whisper *m)
{
    int S = m->limits.slots, R = m->limits.prompt_rows, n = 0;
    int32_t *rows = m->host_rows, *wanted = m->host_wanted;

    for (int i = 0; i < 2 * S; i++) wanted[i] = -1;
    for (int i = 0; i < S; i++) {
        es_whisper_slot *s = &m->slots[i];
        m->fresh[i] = (es_pick_slot){.mode = ES_PICK_IDLE};
        if (s->phase != ES_SLOT_BEGUN) continue;
        int k = rows_now(s, R - n);
        for (int j = 0; j < k; j++, n++, s->fed++) {
            rows[n] = s->prompt[s->fed];
            rows[R + n] = s->fed;
            rows[2 * R + n] = i;
            rows[3 * R + n] = s->fed + 1;
            if (s->fed == s->sot_at) wanted[S + i] = n;
        }
        if (s->fed < s->n_prompt) continue;
        wanted[i] = n - 1;
        m->fresh[i] = m->picks[i];
    }
    assert(n > 0);
    put_rows(m, &m->prefill, rows, R, n);
    es_state_put(m->arena, m->wanted, 0, wanted, (size_t)S * 8);
    es_state_put(m->arena, m->pick, 0, m->fresh, (size_t)S * sizeof *m->fresh);
    es_program_run(m->prefill_program, m->arena);
}

/* Runs the prompts of all begun slots and takes their first tokens; the others stay where they are. */
static void prefill_all(es_whisper *m)
{
    int S = m->limits.slots;

    for (;;) {
        int waiting = 0;
        for (int i = 0; i < S; i++) waiting += m->slots[i].phase == ES_SLOT_BEGUN;
        if (!waiting) return;
        prefill_some(m);
        es_state_get(m->arena, m->pick, 0, m->fresh, (size_t)S * sizeof *m->fresh);
        for (int i = 0; i < S; i++) {
            es_whisper_slot *s = &m->slots[i];
            if (s->phase != ES_SLOT_BEGUN || s->fed < s->n_prompt) continue;
            m->picks[i] = m->fresh[i];
            s->phase = m->fresh[i].mode == ES_PICK_IDLE ? ES_SLOT_ENDED : ES_SLOT_LIVE;
        }
        es_state_put(m->arena, m->pick, 0, m->picks, (size_t)S * sizeof *m->picks);
    }
}

/* A few steps, then a look at the slots. */
static void step_some(es_whisper *m)
{
    int S = m->limits.slots, n = m->backend == ES_CUDA ? ES_WHISPER_CUDA_STEPS : 1;
    int32_t live = 0;

    for (int i = 0; i < S; i++)
        if (m->slots[i].phase == ES_SLOT_LIVE) live = i + 1;
    if (live != m->step_live) es_state_put(m->arena, m->step.live, 0, &live, 4);
    m->step_live = live;
    for (int i = 0; i < n; i++) es_program_run(m->step_program, m->arena);
    m->steps_run += n;
    es_state_get(m->arena, m->pick, 0, m->picks, (size_t)S * sizeof *m->picks);
    for (int i = 0; i < S; i++)
        if (m->slots[i].phase == ES_SLOT_LIVE && m->picks[i].mode == ES_PICK_IDLE) m->slots[i].phase = ES_SLOT_ENDED;
}

int es_whisper_steps_most(es_whisper *m, bool *ended, int most)
{
    int64_t until = m->steps_run + most;

    prefill_all(m);
    for (;;) {
        int live = 0, done = 0;
        for (int i = 0; i < m->limits.slots; i++) {
            live += m->slots[i].phase == ES_SLOT_LIVE;
            ended[i] = m->slots[i].phase == ES_SLOT_ENDED;
            done += ended[i];
        }
        if (done || !live || m->steps_run >= until) return live;
        step_some(m);
    }
}

int es_whisper_steps(es_whisper *m, bool *ended)
{
    return es_whisper_steps_most(m, ended, INT_MAX);
}

void es_whisper_take(es_whisper *m, int slot, es_whisper_output *out)
{
    es_whisper_slot *s = &m->slots[slot];
    const es_pick_slot *p = &m->picks[slot];
    int n = p->n;

    assert(s->phase == ES_SLOT_ENDED && n >= 0 && n <= ES_WHISPER_POSITIONS);
    es_state_get(m->arena, m->out, (size_t)slot * sizeof out->tokens, out->tokens, (size_t)n * sizeof out->tokens[0]);
    out->complete = p->ended == 1;
    if (out->complete && !s->language) n--; /* eot */
    out->n = n;
    out->sum_logprob = p->sum_logprob;
    out->avg_logprob = p->sum_logprob / (float)(n + 1);
    out->no_speech = p->no_speech;
    out->language_probability = s->language ? p->lang_prob : 0;
    s->phase = ES_SLOT_FREE;
}

void es_whisper_drop(es_whisper *m)
{
    int S = m->limits.slots;

    for (int i = 0; i < S; i++) {
        m->slots[i].phase = ES_SLOT_FREE;
        m->picks[i] = (es_pick_slot){.mode = ES_PICK_IDLE};
    }
    es_state_put(m->arena, m->pick, 0, m->picks, (size_t)S * sizeof *m->picks);
}

int64_t es_whisper_steps_run(const es_whisper *m)
{
    return m->steps_run;
}

int es_whisper_settle(es_whisper *m, es_err *err)
{
    es_fault fault;

    if (es_device_sync(m->device, &fault)) return es_fail(err, ES_EDEVICE, "speech: %s", fault.text);
    return ES_OK;
}

int es_whisper_decode(es_whisper *m, const es_whisper_request *q, es_whisper_output *out, es_err *err)
{
    es_fault fault;

    es_whisper_begin(m, q);
    do {
        prefill_all(m);
        if (m->slots[q->slot].phase == ES_SLOT_LIVE) step_some(m);
    } while (m->slots[q->slot].phase != ES_SLOT_ENDED);
    es_whisper_take(m, q->slot, out);
    if (es_device_sync(m->device, &fault)) return es_fail(err, ES_EDEVICE, "decoding: %s", fault.text);
    return ES_OK;
}
