/*
 * ops.c - from a model's statement to the backend's call, with all that must be true of its arguments.
 *
 * The ops stand in the order of kernels.h, which says what each computes. Shapes follow from the arguments; what does
 * not fit is our own mistake and stops the program (MUST), while planning as well as while running. How an op tells the
 * walk about itself stands in run.h.
 */
#include "runtime/ops.h"

#include <math.h>

#include "runtime/run.h"

/* ---- products ---- */

static void linear(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act, bool add)
{
    MUST(x.n_dims >= 1 && es_tensor_width(x) == w.I);
    MUST(es_tensor_width(y) == w.O && es_tensor_rows(y) == es_tensor_rows(x));
    es_run_begin(r, add ? "linear_add" : "linear");
    es_run_reads(r, x);
    if (add) es_run_changes(r, y);
    else es_run_writes(r, y);
    es_run_matrix(r, w);
    es_run_fact(r, act);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->linear(r->arena->device, y.p, y.dtype, x.p, x.dtype, w, b, rows, es_tensor_rows(x), act, add);
    es_run_done(r);
}

static es_tensor with_width(es_run *r, es_tensor x, es_dtype dtype, int width)
{
    int dims[4] = {x.dim[0], x.dim[1], x.dim[2], x.dim[3]};

    dims[x.n_dims - 1] = width;
    return es_new(r, dtype, x.n_dims, dims);
}

es_tensor es_linear(es_run *r, es_tensor x, es_matrix w, const float *b, es_act act)
{
    es_tensor y = with_width(r, x, x.dtype, w.O);

    linear(r, y, x, w, b, act, false);
    return y;
}

es_tensor es_linear_f32(es_run *r, es_tensor x, es_matrix w, const float *b)
{
    es_tensor y = with_width(r, x, ES_F32, w.O);

    linear(r, y, x, w, b, ES_ACT_NONE, false);
    return y;
}

es_tensor es_linear_add(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b)
{
    linear(r, y, x, w, b, ES_ACT_NONE, true);
    return y;
}

void es_linear_to(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act)
{
    linear(r, y, x, w, b, act, false);
}

es_tensor es_conv1d(es_run *r, es_tensor x, es_matrix w, const float *b, const float *pos, int K, int stride, int pad,
                    int dilation, es_act act)
{
    int B = x.dim[0], Ti = x.dim[1], C = x.dim[2];

    MUST(x.n_dims == 3 && K > 0 && stride > 0 && dilation > 0 && pad >= 0);
    MUST(w.I == K * C && Ti + 2 * pad >= dilation * (K - 1) + 1);
    int To = (Ti + 2 * pad - dilation * (K - 1) - 1) / stride + 1;
    es_tensor y = es_new(r, x.dtype, 3, (const int[]){B, To, w.O});
    es_tensor work = es_run_scratch(r, r->program->model->plan->traits->conv1d_scratch(x.dtype, B, To, C, K));
    es_run_begin(r, "conv1d");
    es_run_reads(r, x);
    es_run_writes(r, y);
    es_run_writes(r, work);
    es_run_matrix(r, w);
    es_run_fact(r, K), es_run_fact(r, stride), es_run_fact(r, pad), es_run_fact(r, dilation), es_run_fact(r, act);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->conv1d(r->arena->device, x.dtype, y.p, x.p, w, b, pos, batches, B, Ti, C, K, stride, pad, dilation,
                          act, work.p);
    es_run_done(r);
    return y;
}

/* ---- norms ---- */

es_tensor es_layernorm(es_run *r, es_tensor x, const float *g, const float *b, float eps)
{
    es_tensor y = with_width(r, x, x.dtype, es_tensor_width(x));

    es_run_begin(r, "layernorm");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->layernorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, b, rows, es_tensor_rows(x), es_tensor_width(x), eps);
    es_run_done(r);
    return y;
}

es_tensor es_rmsnorm(es_run *r, es_tensor x, const float *g, float eps)
{
    es_tensor y = with_width(r, x, x.dtype, es_tensor_width(x));

    es_run_begin(r, "rmsnorm");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->rmsnorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, rows, es_tensor_rows(x), es_tensor_width(x), eps);
    es_run_done(r);
    return y;
}

/* ---- attention ---- */

es_tensor es_attend(es_run *r, es_cols q, es_cols k, es_cols v, es_tensor bounds, int T_max, int H, int Hkv,
                    es_mask mask)
{
    int N = q.of.dim[0], S = (int)es_tensor_count(bounds) - 1;

    MUST(H > 0 && Hkv > 0 && H % Hkv == 0 && q.n % H == 0);
    int D = q.n / H;
    MUST(k.n == Hkv * D && v.n == Hkv * D && k.of.dim[0] == N && v.of.dim[0] == N);
    MUST(k.of.dtype == q.of.dtype && v.of.dtype == q.of.dtype);
    MUST(S >= 0 && es_tensor_is_ints(bounds, 1) && T_max >= 0);
    es_tensor y = es_new2(r, q.of.dtype, N, q.n);
    es_run_begin(r, "attend");
    es_run_reads(r, q.of);
    es_run_reads(r, k.of);
    es_run_reads(r, v.of);
    es_run_reads(r, bounds);
    es_run_writes(r, y);
    es_run_fact(r, q.c0), es_run_fact(r, k.c0), es_run_fact(r, v.c0), es_run_fact(r, T_max), es_run_fact(r, H),
        es_run_fact(r, Hkv), es_run_fact(r, mask);
    if (!es_run_go(r)) return y;
    r->arena->ops->attend(r->arena->device, q.of.dtype, y.p, es_run_column(q), q.of.dim[1], es_run_column(k), k.of.dim[1], es_run_column(v),
                          v.of.dim[1], bounds.p, S, N, T_max, H, Hkv, D, 1.0f / sqrtf((float)D), mask);
    es_run_done(r);
    return y;
}

void es_kv_store(es_run *r, es_tensor K, es_tensor V, es_cols k, es_cols v, es_tensor slot, es_tensor pos)
{
    int R = k.of.dim[0], H = K.dim[1], T = K.dim[2], D = K.dim[3];

    MUST(K.n_dims == 4 && V.n_dims == 4 && es_tensor_count(K) == es_tensor_count(V));
    MUST(k.n == H * D && v.n == H * D && v.of.dim[0] == R);
    MUST(k.of.dtype == K.dtype && v.of.dtype == K.dtype && V.dtype == K.dtype);
    MUST(es_tensor_is_ints(slot, (size_t)R) && es_tensor_is_ints(pos, (size_t)R));
    es_run_begin(r, "kv_store");
    es_run_reads(r, k.of);
    es_run_reads(r, v.of);
    es_run_reads(r, slot);
    es_run_reads(r, pos);
    es_run_changes(r, K);
    es_run_changes(r, V);
    es_run_fact(r, k.c0), es_run_fact(r, v.c0);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->kv_store(r->arena->device, K.dtype, K.p, V.p, es_run_column(k), k.of.dim[1], es_run_column(v), v.of.dim[1], slot.p,
                            pos.p, rows, R, T, H, D);
    es_run_done(r);
}

es_tensor es_attend_cached(es_run *r, es_cols q, es_tensor K, es_tensor V, es_tensor slot, es_tensor len,
                           es_tensor parent, es_tensor scores, const int32_t *heads, int n_pairs)
{
    int R = q.of.dim[0], H = K.dim[1], T = K.dim[2], D = K.dim[3];

    MUST(K.n_dims == 4 && V.n_dims == 4 && es_tensor_count(K) == es_tensor_count(V));
    MUST(q.n == H * D && q.of.dtype == K.dtype && V.dtype == K.dtype);
    MUST(es_tensor_is_ints(slot, (size_t)R) && (len.n_dims == 0 || es_tensor_is_ints(len, (size_t)R)));
    MUST(parent.n_dims == 0 || es_tensor_is_ints(parent, (size_t)K.dim[0] * (size_t)T));
    MUST(scores.n_dims == 0 ||
         (scores.dtype == ES_F32 && es_tensor_count(scores) >= (size_t)R * (size_t)n_pairs * (size_t)T));
    es_tensor y = es_new2(r, q.of.dtype, R, q.n);
    es_run_begin(r, "attend_cached");
    es_run_reads(r, q.of);
    es_run_reads(r, K);
    es_run_reads(r, V);
    es_run_reads(r, slot);
    es_run_reads(r, len);
    es_run_reads(r, parent);
    es_run_writes(r, scores);
    es_run_writes(r, y);
    es_run_fact(r, q.c0), es_run_fact(r, n_pairs);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->attend_cached(r->arena->device, K.dtype, y.p, es_run_column(q), q.of.dim[1], K.p, V.p, slot.p, len.p,
                                 parent.p, rows, R, T, H, D, 1.0f / sqrtf((float)D), scores.p, heads, n_pairs);
    es_run_done(r);
    return y;
}

/* ---- rows ---- */

es_tensor es_embed(es_run *r, es_matrix E, const float *P, es_tensor id, es_tensor pos)
{
    int R = (int)es_tensor_count(id);

    MUST(es_tensor_is_ints(id, 0) && (pos.n_dims == 0 || es_tensor_is_ints(pos, (size_t)R)));
    es_tensor y = es_new2(r, es_run_dtype(r), R, E.I);
    es_run_begin(r, "embed");
    es_run_matrix(r, E);
    es_run_reads(r, id);
    es_run_reads(r, pos);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    MUST(!P || pos.p);
    r->arena->ops->embed(r->arena->device, y.dtype, y.p, E, P, id.p, pos.p, rows, R);
    es_run_done(r);
    return y;
}

es_tensor es_gather(es_run *r, es_tensor x, es_tensor idx)
{
    int G = (int)es_tensor_count(idx), C = es_tensor_width(x);

    MUST(es_tensor_is_ints(idx, 0));
    es_tensor y = es_new2(r, x.dtype, G, C);
    es_run_begin(r, "gather");
    es_run_reads(r, x);
    es_run_reads(r, idx);
    es_run_writes(r, y);
    if (!es_run_go(r)) return y;
    r->arena->ops->gather(r->arena->device, x.dtype, y.p, x.p, idx.p, G, C);
    es_run_done(r);
    return y;
}

void es_cast_to(es_run *r, es_tensor y, es_tensor x)
{
    MUST(es_tensor_count(y) == es_tensor_count(x));
    es_run_begin(r, "cast");
    es_run_reads(r, x);
    es_run_writes(r, y);
    if (!es_run_go(r)) return;
    r->arena->ops->cast(r->arena->device, y.p, y.dtype, x.p, x.dtype, es_tensor_count(x));
    es_run_done(r);
}

es_tensor es_cast(es_run *r, es_tensor x, es_dtype dtype)
{
    es_tensor y = es_new(r, dtype, x.n_dims, x.dim);

    es_cast_to(r, y, x);
    return y;
}

/* ---- text encoders ---- */

void es_rope(es_run *r, es_cols x, const float *table, es_tensor pos, int H)
{
    int T = x.of.dim[0];

    MUST(H > 0 && x.n % (2 * H) == 0 && es_tensor_is_ints(pos, (size_t)T));
    es_run_begin(r, "rope");
    es_run_changes(r, x.of);
    es_run_reads(r, pos);
    es_run_fact(r, x.c0), es_run_fact(r, x.n), es_run_fact(r, H);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->rope(r->arena->device, x.of.dtype, es_run_column(x), x.of.dim[1], table, pos.p, rows, T, H, x.n / H);
    es_run_done(r);
}

es_tensor es_swiglu(es_run *r, es_tensor x)
{
    int I = es_tensor_width(x) / 2;

    MUST(I > 0 && es_tensor_width(x) == 2 * I);
    es_tensor y = with_width(r, x, x.dtype, I);
    es_run_begin(r, "swiglu");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->swiglu(r->arena->device, x.dtype, y.p, x.p, rows, es_tensor_rows(x), I);
    es_run_done(r);
    return y;
}

void es_pool_to(es_run *r, es_tensor y, es_tensor x, es_tensor bounds, es_pooling how, bool unit)
{
    int S = (int)es_tensor_count(bounds) - 1, C = es_tensor_width(x);

    MUST(es_tensor_is_ints(bounds, 1) && x.n_dims == 2);
    MUST(y.dtype == ES_F32 && es_tensor_count(y) >= (size_t)S * (size_t)C);
    es_run_begin(r, "pool");
    es_run_reads(r, x);
    es_run_reads(r, bounds);
    es_run_writes(r, y);
    es_run_fact(r, how), es_run_fact(r, unit);
    if (!es_run_go(r)) return;
    r->arena->ops->pool(r->arena->device, y.p, x.dtype, x.p, bounds.p, S, C, how, unit);
    es_run_done(r);
}

es_tensor es_pool(es_run *r, es_tensor x, es_tensor bounds, es_pooling how, bool unit)
{
    es_tensor y = es_new2(r, ES_F32, (int)es_tensor_count(bounds) - 1, es_tensor_width(x));

    es_pool_to(r, y, x, bounds, how, unit);
    return y;
}

/* ---- along time ---- */

es_tensor es_maxpool(es_run *r, es_tensor x, int K, bool absolute)
{
    MUST(x.n_dims == 3 && K > 0 && x.dim[1] >= K);
    int dims[3] = {x.dim[0], x.dim[1] / K, x.dim[2]};
    es_tensor y = es_new(r, x.dtype, 3, dims);

    es_run_begin(r, "maxpool");
    es_run_reads(r, x);
    es_run_writes(r, y);
    es_run_fact(r, K), es_run_fact(r, absolute);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->maxpool(r->arena->device, x.dtype, y.p, x.p, batches, x.dim[0], x.dim[1], x.dim[2], K, absolute);
    es_run_done(r);
    return y;
}

es_tensor es_norm_time(es_run *r, es_tensor x, const float *g, const float *b, float eps, es_act act)
{
    MUST(x.n_dims == 3);
    es_tensor y = es_new(r, x.dtype, 3, x.dim);

    es_run_begin(r, "norm_time");
    es_run_reads(r, x);
    es_run_writes(r, y);
    es_run_fact(r, act);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->norm_time(r->arena->device, x.dtype, y.p, x.p, g, b, batches, x.dim[0], x.dim[1], x.dim[2], eps, act);
    es_run_done(r);
    return y;
}

es_tensor es_lstm(es_run *r, es_tensor x, es_matrix W)
{
    int h = W.I;

    MUST(x.n_dims == 3 && x.dtype == ES_F32 && W.O == 8 * h && x.dim[2] == 8 * h);
    int dims[3] = {x.dim[0], x.dim[1], 2 * h};
    es_tensor y = es_new(r, ES_F32, 3, dims);

    es_run_begin(r, "lstm");
    es_run_reads(r, x);
    es_run_writes(r, y);
    es_run_matrix(r, W);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->lstm(r->arena->device, y.p, x.p, W, batches, x.dim[0], x.dim[1], h);
    es_run_done(r);
    return y;
}

/* ---- sound ---- */

/* A window is 30 s and, on either side, the half frame that the first and the last transform reach into. */
static void check_windows(es_run *r, es_tensor pcm, es_tensor frames)
{
    MUST(pcm.n_dims == 2 && pcm.dtype == ES_F32 && pcm.dim[1] == ES_MEL_SAMPLES + 2 * ES_MEL_PAD);
    MUST(es_tensor_is_ints(frames, (size_t)pcm.dim[0]));
}

es_tensor es_logmel(es_run *r, es_tensor pcm, es_tensor frames, es_tensor top, es_tensor fill, const void *tables,
                    int M)
{
    int B = pcm.dim[0];

    check_windows(r, pcm, frames);
    MUST(top.dtype == ES_F32 && es_tensor_count(top) >= (size_t)B);
    MUST(fill.dtype == ES_F32 && es_tensor_count(fill) >= (size_t)B);
    es_tensor y = es_new(r, es_run_dtype(r), 3, (const int[]){B, ES_MEL_FRAMES, M});
    es_tensor work = es_run_scratch(r, r->program->model->plan->traits->logmel_scratch(B, M));
    es_run_begin(r, "logmel");
    es_run_reads(r, pcm);
    es_run_reads(r, frames);
    es_run_reads(r, top);
    es_run_reads(r, fill);
    es_run_writes(r, y);
    es_run_writes(r, work);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->logmel(r->arena->device, y.dtype, y.p, pcm.p, frames.p, top.p, fill.p, tables, batches, B, M,
                          work.p);
    es_run_done(r);
    return y;
}

void es_logmel_top(es_run *r, es_tensor max, es_tensor pcm, es_tensor frames, const void *tables, int M)
{
    int B = pcm.dim[0];

    check_windows(r, pcm, frames);
    MUST(max.dtype == ES_F32 && es_tensor_count(max) >= (size_t)B);
    es_tensor work = es_run_scratch(r, r->program->model->plan->traits->logmel_scratch(B, M));
    es_run_begin(r, "logmel_top");
    es_run_reads(r, pcm);
    es_run_reads(r, frames);
    es_run_writes(r, max);
    es_run_writes(r, work);
    es_run_fact(r, M);
    const int32_t *batches = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->logmel_top(r->arena->device, max.p, pcm.p, frames.p, tables, batches, B, M, work.p);
    es_run_done(r);
}

/* ---- decoding ---- */

void es_pick(es_run *r, es_tensor slots, es_tensor logits, es_tensor sot_logits, es_tensor suppress,
             es_pick_vocab vocab, es_tensor tokens, es_tensor id, es_tensor pos, es_tensor slot, es_tensor len)
{
    int B = logits.dim[0];
    size_t n = (size_t)B;

    MUST(logits.n_dims == 2 && logits.dtype == ES_F32 && logits.dim[1] == vocab.V);
    MUST(sot_logits.n_dims == 0 || (sot_logits.dtype == ES_F32 && es_tensor_count(sot_logits) >= n * (size_t)vocab.V));
    MUST(es_tensor_bytes(slots) >= n * sizeof(es_pick_slot));
    MUST(es_tensor_bytes(suppress) >= ((size_t)vocab.V + 31) / 32 * 4);
    MUST(es_tensor_is_ints(tokens, n * (size_t)vocab.max_pos));
    MUST(es_tensor_is_ints(id, n) && es_tensor_is_ints(pos, n) && es_tensor_is_ints(slot, n) && es_tensor_is_ints(len, n));
    es_run_begin(r, "pick");
    es_run_changes(r, slots);
    es_run_reads(r, logits);
    es_run_reads(r, sot_logits);
    es_run_reads(r, suppress);
    es_run_changes(r, tokens);
    es_run_changes(r, id);
    es_run_changes(r, pos);
    es_run_changes(r, slot);
    es_run_changes(r, len);
    es_run_fact(r, vocab.V), es_run_fact(r, vocab.eot), es_run_fact(r, vocab.timestamp_begin),
        es_run_fact(r, vocab.max_pos);
    if (!es_run_go(r)) return;
    r->arena->ops->pick(r->arena->device, slots.p, logits.p, sot_logits.p, suppress.p, vocab, tokens.p, id.p, pos.p,
                        slot.p, len.p, B);
    es_run_done(r);
}

void es_prob_at(es_run *r, es_tensor p, es_tensor logits, es_tensor id, int n)
{
    int R = logits.dim[0], V = logits.dim[1];

    MUST(logits.n_dims == 2 && logits.dtype == ES_F32 && n > 0 && n <= V);
    MUST(p.dtype == ES_F32 && es_tensor_count(p) >= (size_t)R && es_tensor_is_ints(id, (size_t)R));
    es_run_begin(r, "prob_at");
    es_run_reads(r, logits);
    es_run_reads(r, id);
    es_run_writes(r, p);
    es_run_fact(r, n);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->prob_at(r->arena->device, p.p, logits.p, id.p, rows, R, V, n);
    es_run_done(r);
}

void es_keep(es_run *r, es_tensor x)
{
    es_run_begin(r, "keep");
    es_run_reads(r, x);
    if (es_run_go(r)) es_run_done(r);
}
