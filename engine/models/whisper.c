/*
 * whisper.c - Whisper's weights, its state, and the encoder.
 *
 *     pcm -> mel [3000, M] -> conv k3 s1, gelu -> [3000, C] -> conv k3 s2, gelu, + positions -> x [1500, C]
 *     Le times: x += out(attend(qkv(norm(x)))); x += down(gelu(up(norm(x))))
 *     E = norm(x); for every decoder layer: keys, values = cross_kv(E), kept for the slot the window belongs to
 *
 * Robust Speech Recognition via Large-Scale Weak Supervision (Radford et al., 2022). There is no mask: the 1500
 * positions attend to each other whether or not there is sound. Windows lie one behind the other as rows, so that every
 * product has W * 1500 rows and attention is told where each begins.
 *
 * E itself is not kept: the decoder only ever sees the keys and values made from it. They are the largest state (2 Ld
 * 1500 C values a slot) and the reason why slots, not windows, limit the batch of a deep decoder.
 */
#include "models/whisper_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- weights ---- */

static void bind_norm(es_bind *b, es_whisper *m, es_whisper_norm *n, const char *stack, int layer, const char *name)
{
    int C = m->dims.d_model;

    m->parameters += 2 * (int64_t)C;
    es_bind_vector(b, &n->g, C, "%s.layers.%d.%s.weight", stack, layer, name);
    es_bind_vector(b, &n->b, C, "%s.layers.%d.%s.bias", stack, layer, name);
}

/* no_bias: how many entries of the bias are not trained (a key projection has none; the pack holds zeros). */
static void bind_linear(es_bind *b, es_whisper *m, es_whisper_linear *l, int O, int I, int no_bias, const char *stack,
                        int layer, const char *name)
{
    m->parameters += (int64_t)O * I + O - no_bias;
    es_bind_matrix(b, &l->w, O, I, "%s.layers.%d.%s.weight", stack, layer, name);
    es_bind_vector(b, &l->b, O, "%s.layers.%d.%s.bias", stack, layer, name);
}

static void bind_layer(es_bind *b, es_whisper *m, es_whisper_layer *l, const char *stack, int i, bool cross)
{
    int C = m->dims.d_model;

    bind_norm(b, m, &l->attn_norm, stack, i, "attn_norm");
    bind_linear(b, m, &l->qkv, 3 * C, C, C, stack, i, "qkv");
    bind_linear(b, m, &l->out, C, C, 0, stack, i, "out");
    if (cross) {
        bind_norm(b, m, &l->cross_norm, stack, i, "cross_norm");
        bind_linear(b, m, &l->cross_q, C, C, 0, stack, i, "cross_q");
        bind_linear(b, m, &l->cross_kv, 2 * C, C, C, stack, i, "cross_kv");
        bind_linear(b, m, &l->cross_out, C, C, 0, stack, i, "cross_out");
    }
    bind_norm(b, m, &l->mlp_norm, stack, i, "mlp_norm");
    bind_linear(b, m, &l->up, 4 * C, C, 0, stack, i, "up");
    bind_linear(b, m, &l->down, C, 4 * C, 0, stack, i, "down");
}

static void fill_mel_tables(void *host, void *user)
{
    const es_whisper *m = user;
    es_backend_traits(m->backend)->mel_tables_fill(host, m->dims.n_mels);
}

static void fill_heads(void *host, void *user)
{
    const struct es_whisper_heads *h = user;
    memcpy(host, h->head, (size_t)h->n * sizeof h->head[0]);
}

static void bind(es_bind *b, void *user)
{
    es_whisper *m = user;
    const es_whisper_dims *d = &m->dims;
    int C = d->d_model;

    es_bind_made(b, &m->mel_tables, es_backend_traits(m->backend)->mel_tables_bytes(d->n_mels), fill_mel_tables, m,
                 "mel_tables");
    es_bind_matrix(b, &m->conv1.w, C, 3 * d->n_mels, "encoder.conv1.weight");
    es_bind_vector(b, &m->conv1.b, C, "encoder.conv1.bias");
    es_bind_matrix(b, &m->conv2.w, C, 3 * C, "encoder.conv2.weight");
    es_bind_vector(b, &m->conv2.b, C, "encoder.conv2.bias");
    es_bind_vector(b, &m->encoder_positions, ES_WHISPER_AUDIO * C, "encoder.positions");
    for (int i = 0; i < d->encoder_layers; i++) bind_layer(b, m, &m->encoder[i], "encoder", i, false);
    es_bind_vector(b, &m->encoder_norm.g, C, "encoder.norm.weight");
    es_bind_vector(b, &m->encoder_norm.b, C, "encoder.norm.bias");
    es_bind_matrix(b, &m->tokens, d->vocab, C, "decoder.tokens");
    es_bind_vector(b, &m->decoder_positions, ES_WHISPER_POSITIONS * C, "decoder.positions");
    for (int i = 0; i < d->decoder_layers; i++) bind_layer(b, m, &m->decoder[i], "decoder", i, true);
    es_bind_vector(b, &m->decoder_norm.g, C, "decoder.norm.weight");
    es_bind_vector(b, &m->decoder_norm.b, C, "decoder.norm.bias");
    m->parameters += (int64_t)C * (3 * d->n_mels + 1) + (int64_t)C * (3 * C + 1) + (int64_t)C * ES_WHISPER_AUDIO +
                     (int64_t)C * d->vocab + (int64_t)C * ES_WHISPER_POSITIONS + 4 * (int64_t)C;
    for (int i = 0; i < d->decoder_layers; i++)
        if (m->n_heads[i])
            es_bind_made(b, &m->heads[i], (size_t)m->n_heads[i] * sizeof(int32_t), fill_heads, &m->head_list[i],
                         "alignment_heads");
}

/* ---- the encoder ---- */

es_tensor es_whisper_mlp(es_run *r, const es_whisper_layer *l, es_tensor x)
{
    es_tensor n = es_layernorm(r, x, l->mlp_norm.g, l->mlp_norm.b, 1e-5f);
    es_tensor h = es_linear(r, n, l->up.w, l->up.b, ES_ACT_GELU); /* [T, 4C] */

    return es_linear_add(r, x, h, l->down.w, l->down.b);
}

static es_tensor encoder_layer(es_run *r, const es_whisper *m, const es_whisper_layer *l, es_tensor x /* [T, C] */)
{
    int C = m->dims.d_model, H = m->dims.heads;
    es_tensor n = es_layernorm(r, x, l->attn_norm.g, l->attn_norm.b, 1e-5f);
    es_tensor qkv = es_linear(r, n, l->qkv.w, l->qkv.b, ES_ACT_NONE); /* [T, 3C] */
    es_tensor a = es_attend(r, es_columns(qkv, 0, C), es_columns(qkv, C, C), es_columns(qkv, 2 * C, C), m->bounds,
                            ES_WHISPER_AUDIO, H, H, ES_MASK_NONE);

    x = es_linear_add(r, x, a, l->out.w, l->out.b);
    return es_whisper_mlp(r, l, x);
}

static es_tensor mel_of(es_run *r, es_whisper *m)
{
    es_run_rows(r, m->n_windows);
    return es_logmel(r, m->pcm, m->frames, m->top, m->fill, m->mel_tables, m->dims.n_mels);
}

/* E [W * 1500, C] */
static es_tensor encoding_of(es_run *r, es_whisper *m)
{
    const es_whisper_dims *d = &m->dims;
    int C = d->d_model, dims[2] = {m->limits.windows * ES_WHISPER_AUDIO, C};
    es_tensor mel = mel_of(r, m);

    if (m->limits.keep) es_cast_to(r, m->kept_mel, mel);
    es_tensor c = es_conv1d(r, mel, m->conv1.w, m->conv1.b, NULL, 3, 1, 1, 1, ES_ACT_GELU); /* [W, 3000, C] */
    es_tensor x = es_conv1d(r, c, m->conv2.w, m->conv2.b, m->encoder_positions, 3, 2, 1, 1, ES_ACT_GELU);
    x = es_reshape(x, 2, dims); /* [W * 1500, C] */

    es_run_rows(r, m->n_rows);
    for (int i = 0; i < d->encoder_layers; i++) x = encoder_layer(r, m, &m->encoder[i], x);
    return es_layernorm(r, x, m->encoder_norm.g, m->encoder_norm.b, 1e-5f);
}

static void encode_run(es_run *r, void *user)
{
    es_whisper *m = user;
    int C = m->dims.d_model;
    es_tensor x = encoding_of(r, m);

    if (m->limits.keep) es_cast_to(r, m->kept_encoder, x);
    for (int i = 0; i < m->dims.decoder_layers; i++) {
        const es_whisper_linear *l = &m->decoder[i].cross_kv;
        es_tensor kv = es_linear(r, x, l->w, l->b, ES_ACT_NONE); /* [T, 2C] */
        es_kv_store(r, m->cross_k[i], m->cross_v[i], es_columns(kv, 0, C), es_columns(kv, C, C), m->row_slot,
                    m->row_pos);
    }
}

static void mel_run(es_run *r, void *user)
{
    mel_of(r, user);
}

static void encoding_run(es_run *r, void *user)
{
    encoding_of(r, user);
}

static void tops_run(es_run *r, void *user)
{
    es_whisper *m = user;

    es_run_rows(r, m->n_windows);
    es_logmel_top(r, m->window_top, m->pcm, m->frames, m->mel_tables, m->dims.n_mels);
}

/* ---- planning ---- */

static void state1(es_model *e, es_tensor *t, const char *name, es_dtype dtype, int n)
{
    es_plan_state(e, t, name, dtype, 1, &n);
}

void es_whisper_plan_rows(es_model *e, es_whisper_rows *rows, const char *name, int n)
{
    state1(e, &rows->id, name, ES_I32, n);
    state1(e, &rows->pos, name, ES_I32, n);
    state1(e, &rows->slot, name, ES_I32, n);
    state1(e, &rows->len, name, ES_I32, n);
    state1(e, &rows->live, name, ES_I32, 1);
}

static void plan_state(es_whisper *m, es_model *e, es_dtype act)
{
    const es_whisper_dims *d = &m->dims;
    int W = m->limits.windows, S = m->limits.slots;
    int pcm[2] = {W, ES_WHISPER_SAMPLES}, by_slot[2] = {S, ES_WHISPER_POSITIONS}, runs[2] = {ES_WHISPER_LOGIT_RUNS, 1};
    int cross[4] = {S, d->heads, ES_WHISPER_AUDIO, ES_WHISPER_HEAD};
    int self[4] = {S, d->heads, ES_WHISPER_POSITIONS, ES_WHISPER_HEAD};

    es_plan_state(e, &m->pcm, "pcm", ES_F32, 2, pcm);
    state1(e, &m->frames, "frames", ES_I32, W);
    state1(e, &m->top, "top", ES_F32, W);
    state1(e, &m->fill, "fill", ES_F32, W);
    state1(e, &m->window_top, "window_top", ES_F32, W);
    state1(e, &m->n_windows, "n_windows", ES_I32, 1);
    state1(e, &m->n_rows, "n_rows", ES_I32, 1);
    state1(e, &m->bounds, "bounds", ES_I32, W + 1);
    state1(e, &m->row_slot, "row_slot", ES_I32, W * ES_WHISPER_AUDIO);
    state1(e, &m->row_pos, "row_pos", ES_I32, W * ES_WHISPER_AUDIO);
    for (int i = 0; i < d->decoder_layers; i++) {
        es_plan_state(e, &m->cross_k[i], "cross_k", act, 4, cross);
        es_plan_state(e, &m->cross_v[i], "cross_v", act, 4, cross);
        es_plan_state(e, &m->self_k[i], "self_k", act, 4, self);
        es_plan_state(e, &m->self_v[i], "self_v", act, 4, self);
    }
    es_plan_state(e, &m->parent, "parent", ES_I32, 2, by_slot);
    state1(e, &m->pick, "pick", ES_U8, S * (int)sizeof(es_pick_slot));
    es_plan_state(e, &m->out, "tokens", ES_I32, 2, by_slot);
    state1(e, &m->suppress, "suppress", ES_I32, (d->vocab + 31) / 32);
    es_whisper_plan_rows(e, &m->prefill, "prefill_rows", m->limits.prompt_rows);
    es_whisper_plan_rows(e, &m->step, "step_rows", S);
    state1(e, &m->wanted, "wanted", ES_I32, 2 * S);
    if (m->limits.align) {
        es_whisper_plan_rows(e, &m->align, "align_rows", ES_WHISPER_POSITIONS);
        es_plan_state(e, &m->align_live, "align_live", ES_I32, 2, runs);
        es_plan_state(e, &m->align_id, "align_id", ES_I32, 2, (const int[]){ES_WHISPER_POSITIONS, 1});
        es_plan_state(e, &m->align_p, "align_p", ES_F32, 2, (const int[]){ES_WHISPER_POSITIONS, 1});
    }
    for (int i = 0; i < d->decoder_layers; i++) {
        int scores[3] = {ES_WHISPER_POSITIONS, m->n_heads[i], ES_WHISPER_AUDIO};
        m->scores[i] = es_no_rows;
        if (m->n_heads[i]) es_plan_state(e, &m->scores[i], "scores", ES_F32, 3, scores);
    }
    if (m->limits.keep) {
        es_plan_state(e, &m->kept_mel, "kept_mel", ES_F32, 3, (const int[]){W, ES_WHISPER_FRAMES, d->n_mels});
        es_plan_state(e, &m->kept_encoder, "kept_encoder", ES_F32, 2, (const int[]){W * ES_WHISPER_AUDIO, d->d_model});
        es_plan_state(e, &m->kept_logits, "kept_logits", ES_F32, 2, (const int[]){S, d->vocab});
        es_plan_state(e, &m->kept_sot, "kept_sot", ES_F32, 2, (const int[]){S, d->vocab});
    }
}

static void suppress_token(es_whisper *m, int id)
{
    if (id >= 0 && id < m->dims.vocab) m->mask[id / 32] |= 1u << (id % 32);
}

int es_whisper_plan(es_whisper **out, es_plan *p, const char *name, const es_weights *w, const es_whisper_dims *dims,
                    es_whisper_limits limits, const int32_t *suppress, int n_suppress, int blank, es_err *err)
{
    es_whisper *m = calloc(1, sizeof *m);
    es_model *e;
    int rc = ES_OK, most = limits.windows * ES_WHISPER_AUDIO, S = limits.slots;

    assert(limits.windows >= 1 && limits.slots >= 1 && limits.prompt_rows >= 1);
    *out = NULL;
    if (4 * limits.prompt_rows > most) most = 4 * limits.prompt_rows;
    if (most < 4 * ES_WHISPER_POSITIONS) most = 4 * ES_WHISPER_POSITIONS;
    if (m) {
        *m = (es_whisper){.dims = *dims, .ids = es_whisper_ids_of(dims), .limits = limits};
        m->slots = calloc((size_t)S, sizeof *m->slots);
        m->picks = calloc((size_t)S, sizeof *m->picks);
        m->fresh = calloc((size_t)S, sizeof *m->fresh);
        m->mask = calloc((size_t)(dims->vocab + 31) / 32, sizeof *m->mask);
        m->host_rows = calloc((size_t)most, sizeof *m->host_rows);
        m->host_values = calloc((size_t)limits.windows, sizeof *m->host_values);
        m->host_wanted = calloc((size_t)S * 2, sizeof *m->host_wanted);
    }
    if (!m || !m->slots || !m->picks || !m->fresh || !m->mask || !m->host_rows || !m->host_values || !m->host_wanted) {
        rc = es_fail(err, ES_ENOMEM, "%s: no memory for the tables of %d slots", name, S);
        goto out;
    }
    m->backend = es_plan_backend(p);
    m->vocab = (es_pick_vocab){.V = dims->vocab,
                               .eot = m->ids.eot,
                               .sot = m->ids.sot,
                               .lang_begin = m->ids.lang_begin,
                               .n_lang = m->ids.n_lang,
                               .no_speech = m->ids.no_speech,
                               .no_timestamps = m->ids.no_timestamps,
                               .timestamp_begin = m->ids.timestamp_begin,
                               .blank = blank,
                               .max_pos = ES_WHISPER_POSITIONS};
    for (int i = 0; i < n_suppress; i++) suppress_token(m, suppress[i]);
    suppress_token(m, m->ids.sot);
    suppress_token(m, m->ids.translate);
    suppress_token(m, m->ids.transcribe);
    suppress_token(m, m->ids.sot_lm);
    suppress_token(m, m->ids.sot_prev);
    suppress_token(m, m->ids.no_speech);
    for (int i = 0; i < dims->n_pairs && limits.align; i++) {
        struct es_whisper_heads *h = &m->head_list[dims->pair[i][0]];
        h->head[h->n++] = dims->pair[i][1];
        m->n_heads[dims->pair[i][0]] = h->n;
    }

    es_dtype act = m->backend == ES_CPU ? ES_F32 : ES_F16;
    rc = es_plan_model(p, &e, name, w, ES_F16, act, bind, m, err);
    if (rc) goto out;
    plan_state(m, e, act);
    es_plan_program(e, &m->encode_program, "encode", encode_run, m);
    es_plan_program(e, &m->tops_program, "tops", tops_run, m);
    es_plan_program(e, &m->prefill_program, "prefill", es_whisper_prefill_run, m);
    es_plan_program(e, &m->step_program, "step", es_whisper_step_run, m);
    if (limits.align) es_plan_program(e, &m->align_program, "align", es_whisper_align_run, m);
    if (limits.parts) {
        es_plan_program(e, &m->part_program[ES_WHISPER_MEL], "mel", mel_run, m);
        es_plan_program(e, &m->part_program[ES_WHISPER_ENCODER], "encoder", encoding_run, m);
    }
    *out = m;
    m = NULL;
out:
    es_whisper_close(m);
    return rc;
}

void es_whisper_close(es_whisper *m)
{
    if (!m) return;
    free(m->slots);
    free(m->picks);
    free(m->fresh);
    free(m->mask);
    free(m->host_rows);
    free(m->host_values);
    free(m->host_wanted);
    free(m->align_work);
    free(m);
}

const es_whisper_dims *es_whisper_dims_of(const es_whisper *m)
{
    return &m->dims;
}

es_whisper_limits es_whisper_limits_of(const es_whisper *m)
{
    return m->limits;
}

es_fill es_whisper_fill(const es_whisper *m)
{
    return m->encoded;
}

int64_t es_whisper_parameters(const es_whisper *m)
{
    return m->parameters;
}

int es_whisper_start(es_whisper *m, es_arena *a, es_err *err)
{
    int S = m->limits.slots;

    m->arena = a;
    m->device = es_arena_device(a);
    if (m->limits.align && !m->align_work) {
        m->align_work = malloc(es_whisper_align_bytes(m));
        if (!m->align_work)
            return es_fail(err, ES_ENOMEM, "no memory for %zu bytes to align words in", es_whisper_align_bytes(m));
    }
    es_state_put(a, m->suppress, 0, m->mask, es_tensor_bytes(m->suppress));
    for (int w = 0; w < m->limits.windows; w++)
        for (int i = 0; i < ES_WHISPER_AUDIO; i++) m->host_rows[w * ES_WHISPER_AUDIO + i] = i;
    es_state_put(a, m->row_pos, 0, m->host_rows, es_tensor_bytes(m->row_pos));
    for (int s = 0; s < S; s++) {
        for (int i = 0; i < ES_WHISPER_POSITIONS; i++) m->host_rows[i] = s;
        es_state_put(a, m->parent, (size_t)s * ES_WHISPER_POSITIONS * 4, m->host_rows, ES_WHISPER_POSITIONS * 4);
    }
    for (int s = 0; s < S; s++) m->host_wanted[s] = -1;
    es_state_put(a, m->step.slot, 0, m->host_wanted, (size_t)S * 4);
    return ES_OK;
}

/* ---- encoding ---- */

static void put_ints(es_whisper *m, es_tensor t, int n)
{
    es_state_put(m->arena, t, 0, m->host_rows, (size_t)n * sizeof *m->host_rows);
}

static void put_floats(es_whisper *m, es_tensor t, int n)
{
    es_state_put(m->arena, t, 0, m->host_values, (size_t)n * sizeof *m->host_values);
}

static void put_sound(es_whisper *m, int i, const float *pcm)
{
    size_t bytes = ES_WHISPER_SAMPLES * sizeof *pcm;

    es_state_put(m->arena, m->pcm, (size_t)i * bytes, pcm, bytes);
}

static void put_count(es_whisper *m, es_tensor t, int n)
{
    m->host_rows[0] = n;
    put_ints(m, t, 1);
}

static int32_t checked_frames(int frames)
{
    assert(frames >= 0 && frames <= ES_WHISPER_FRAMES);
    return frames;
}

void es_whisper_encode(es_whisper *m, const es_whisper_window *w, int n)
{
    assert(n >= 1 && n <= m->limits.windows);
    for (int i = 0; i < n; i++) {
        assert(w[i].slot >= 0 && w[i].slot < m->limits.slots && m->slots[w[i].slot].phase == ES_SLOT_FREE);
        put_sound(m, i, w[i].pcm);
    }
    /* Sound to the end of the window where no fill is given: the mel of zero samples is its own floor. */
    for (int i = 0; i < n; i++) m->host_rows[i] = isnan(w[i].fill) ? ES_WHISPER_FRAMES : checked_frames(w[i].frames);
    put_ints(m, m->frames, n);
    for (int i = 0; i < n; i++) m->host_values[i] = w[i].top;
    put_floats(m, m->top, n);
    for (int i = 0; i < n; i++) m->host_values[i] = isnan(w[i].fill) ? 0 : w[i].fill;
    put_floats(m, m->fill, n);
    for (int i = 0; i < n * ES_WHISPER_AUDIO; i++) m->host_rows[i] = w[i / ES_WHISPER_AUDIO].slot;
    put_ints(m, m->row_slot, n * ES_WHISPER_AUDIO);
    for (int i = 0; i <= m->limits.windows; i++) m->host_rows[i] = (i < n ? i : n) * ES_WHISPER_AUDIO;
    put_ints(m, m->bounds, m->limits.windows + 1);
    put_count(m, m->n_windows, n);
    put_count(m, m->n_rows, n * ES_WHISPER_AUDIO);
    es_program_run(m->encode_program, m->arena);
    es_fill_add(&m->encoded, n, m->limits.windows);
}

void es_whisper_encode_part(es_whisper *m, es_whisper_part part)
{
    assert(m->limits.parts);
    es_program_run(m->part_program[part], m->arena);
}

void es_whisper_tops(es_whisper *m, const float *const *pcm, const int *frames, int n, float *tops)
{
    for (int first = 0; first < n; first += m->limits.windows) {
        int k = n - first < m->limits.windows ? n - first : m->limits.windows;
        for (int i = 0; i < k; i++) put_sound(m, i, pcm[first + i]);
        for (int i = 0; i < k; i++) m->host_rows[i] = checked_frames(frames[first + i]);
        put_ints(m, m->frames, k);
        put_count(m, m->n_windows, k);
        es_program_run(m->tops_program, m->arena);
        es_state_get(m->arena, m->window_top, 0, tops + first, (size_t)k * sizeof *tops);
    }
}

es_tensor es_whisper_debug(const es_whisper *m, const char *what)
{
    es_tensor t = es_no_rows;

    assert(m->limits.keep);
    if (!strcmp(what, "mel")) t = m->kept_mel;
    if (!strcmp(what, "encoder")) t = m->kept_encoder;
    if (!strcmp(what, "logits")) t = m->kept_logits;
    if (!strcmp(what, "sot")) t = m->kept_sot;
    return t;
}
