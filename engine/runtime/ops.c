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

/* All dimensions but the last, multiplied: the rows of a tensor seen as a table. */
static int rows_of(es_tensor x)
{
    return (int)(es_tensor_count(x) / (size_t)(x.dim[x.n_dims - 1] ? x.dim[x.n_dims - 1] : 1));
}

static int width_of(es_tensor x)
{
    return x.dim[x.n_dims - 1];
}

static void *column(es_cols c)
{
    return (char *)c.of.p + (size_t)c.c0 * es_dtype_bytes(c.of.dtype);
}

static bool is_ints(es_tensor t, size_t n)
{
    return t.dtype == ES_I32 && es_tensor_count(t) >= n;
}

/* ---- products ---- */

static void linear(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_act act, bool add)
{
    MUST(x.n_dims >= 1 && width_of(x) == w.I);
    MUST(width_of(y) == w.O && rows_of(y) == rows_of(x));
    es_run_begin(r, add ? "linear_add" : "linear");
    es_run_reads(r, x);
    if (add) es_run_changes(r, y);
    else es_run_writes(r, y);
    es_run_matrix(r, w);
    es_run_fact(r, act);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->linear(r->arena->device, y.p, y.dtype, x.p, x.dtype, w, b, rows, rows_of(x), act, add);
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
    es_tensor y = with_width(r, x, x.dtype, width_of(x));

    es_run_begin(r, "layernorm");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->layernorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, b, rows, rows_of(x), width_of(x), eps);
    es_run_done(r);
    return y;
}

es_tensor es_rmsnorm(es_run *r, es_tensor x, const float *g, float eps)
{
    es_tensor y = with_width(r, x, x.dtype, width_of(x));

    es_run_begin(r, "rmsnorm");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->rmsnorm(r->arena->device, x.dtype, y.p, x.p, NULL, g, rows, rows_of(x), width_of(x), eps);
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
    MUST(S >= 0 && is_ints(bounds, 1) && T_max >= 0);
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
    r->arena->ops->attend(r->arena->device, q.of.dtype, y.p, column(q), q.of.dim[1], column(k), k.of.dim[1], column(v),
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
    MUST(is_ints(slot, (size_t)R) && is_ints(pos, (size_t)R));
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
    r->arena->ops->kv_store(r->arena->device, K.dtype, K.p, V.p, column(k), k.of.dim[1], column(v), v.of.dim[1], slot.p,
                            pos.p, rows, R, T, H, D);
    es_run_done(r);
}

es_tensor es_attend_cached(es_run *r, es_cols q, es_tensor K, es_tensor V, es_tensor slot, es_tensor len,
                           es_tensor parent, es_tensor scores, const int32_t *heads, int n_pairs)
{
    int R = q.of.dim[0], H = K.dim[1], T = K.dim[2], D = K.dim[3];

    MUST(K.n_dims == 4 && V.n_dims == 4 && es_tensor_count(K) == es_tensor_count(V));
    MUST(q.n == H * D && q.of.dtype == K.dtype && V.dtype == K.dtype);
    MUST(is_ints(slot, (size_t)R) && (len.n_dims == 0 || is_ints(len, (size_t)R)));
    MUST(parent.n_dims == 0 || is_ints(parent, (size_t)K.dim[0] * (size_t)T));
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
    r->arena->ops->attend_cached(r->arena->device, K.dtype, y.p, column(q), q.of.dim[1], K.p, V.p, slot.p, len.p,
                                 parent.p, rows, R, T, H, D, 1.0f / sqrtf((float)D), scores.p, heads, n_pairs);
    es_run_done(r);
    return y;
}

/* ---- rows ---- */

es_tensor es_embed(es_run *r, es_matrix E, const float *P, es_tensor id, es_tensor pos)
{
    int R = (int)es_tensor_count(id);

    MUST(is_ints(id, 0) && (pos.n_dims == 0 || is_ints(pos, (size_t)R)));
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
    int G = (int)es_tensor_count(idx), C = width_of(x);

    MUST(is_ints(idx, 0));
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

    MUST(H > 0 && x.n % (2 * H) == 0 && is_ints(pos, (size_t)T));
    es_run_begin(r, "rope");
    es_run_changes(r, x.of);
    es_run_reads(r, pos);
    es_run_fact(r, x.c0), es_run_fact(r, x.n), es_run_fact(r, H);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->rope(r->arena->device, x.of.dtype, column(x), x.of.dim[1], table, pos.p, rows, T, H, x.n / H);
    es_run_done(r);
}

es_tensor es_swiglu(es_run *r, es_tensor x)
{
    int I = width_of(x) / 2;

    MUST(I > 0 && width_of(x) == 2 * I);
    es_tensor y = with_width(r, x, x.dtype, I);
    es_run_begin(r, "swiglu");
    es_run_reads(r, x);
    es_run_writes(r, y);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return y;
    r->arena->ops->swiglu(r->arena->device, x.dtype, y.p, x.p, rows, rows_of(x), I);
    es_run_done(r);
    return y;
}

void es_pool_to(es_run *r, es_tensor y, es_tensor x, es_tensor bounds, es_pooling how, bool unit)
{
    int S = (int)es_tensor_count(bounds) - 1, C = width_of(x);

    MUST(is_ints(bounds, 1) && x.n_dims == 2);
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
    es_tensor y = es_new2(r, ES_F32, (int)es_tensor_count(bounds) - 1, width_of(x));

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

/* ---- over packed pieces ---- */

static void conv2d(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_tensor from, es_tensor to, es_taps k,
                   es_act act, bool add)
{
    int S = (int)es_tensor_count(to) - 1, F = x.dim[1];

    MUST(x.n_dims == 3 && y.n_dims == 3 && x.dim[2] == k.C && w.I == k.Kf * k.Kt * k.C && y.dim[2] == w.O);
    MUST(k.Kf % 2 == 1 && k.Kt % 2 == 1 && k.stride_f > 0 && k.stride_t > 0 && k.dilation > 0 && y.dtype == x.dtype);
    MUST(S >= 0 && is_ints(from, (size_t)S + 1) && is_ints(to, 1) && y.dim[1] == (F - 1) / k.stride_f + 1);
    es_run_begin(r, add ? "conv2d_add" : "conv2d");
    es_run_reads(r, x);
    es_run_reads(r, from);
    es_run_reads(r, to);
    if (add) es_run_changes(r, y);
    else es_run_writes(r, y);
    es_run_matrix(r, w);
    es_run_fact(r, k.Kf), es_run_fact(r, k.Kt), es_run_fact(r, k.stride_f), es_run_fact(r, k.stride_t), es_run_fact(r, k.dilation),
        es_run_fact(r, k.reflect), es_run_fact(r, act);
    if (!es_run_go(r)) return;
    r->arena->ops->conv2d(r->arena->device, x.dtype, y.p, x.p, w, b, from.p, to.p, S, y.dim[0], F, k, act, add);
    es_run_done(r);
}

es_tensor es_conv2d(es_run *r, es_tensor x, es_matrix w, const float *b, es_tensor from, es_tensor to, int No, es_taps k,
                    es_act act)
{
    es_tensor y = es_new(r, x.dtype, 3, (const int[]){No, (x.dim[1] - 1) / k.stride_f + 1, w.O});

    conv2d(r, y, x, w, b, from, to, k, act, false);
    return y;
}

es_tensor es_conv2d_add(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_tensor bounds, es_taps k,
                        es_act act)
{
    MUST(k.stride_t == 1 && y.dim[0] == x.dim[0]);
    conv2d(r, y, x, w, b, bounds, bounds, k, act, true);
    return y;
}

static bool known_act(es_act act) /* what every backend's ops over pieces know */
{
    return act == ES_ACT_NONE || act == ES_ACT_RELU || act == ES_ACT_LEAKY || act == ES_ACT_TANH;
}

void es_affine_to(es_run *r, es_cols y, es_cols x, const float *g, const float *b, es_act act)
{
    int T = x.of.dim[0];

    MUST(x.of.n_dims == 2 && y.of.n_dims == 2 && y.of.dim[0] == T && y.n == x.n && y.of.dtype == x.of.dtype);
    MUST(known_act(act));
    es_run_begin(r, "affine");
    es_run_reads(r, x.of);
    es_run_writes(r, y.of);
    es_run_fact(r, x.c0), es_run_fact(r, y.c0), es_run_fact(r, x.n), es_run_fact(r, act);
    const int32_t *rows = es_run_live(r);
    if (!es_run_go(r)) return;
    r->arena->ops->affine(r->arena->device, y.of.dtype, column(y), y.of.dim[1], column(x), x.of.dim[1], g, b, rows, T, x.n, act);
    es_run_done(r);
}

es_tensor es_affine(es_run *r, es_cols x, const float *g, const float *b, es_act act)
{
    es_tensor y = es_new2(r, x.of.dtype, x.of.dim[0], x.n);

    es_affine_to(r, es_columns(y, 0, x.n), x, g, b, act);
    return y;
}

void es_copy_columns(es_run *r, es_cols y, es_tensor x)
{
    es_affine_to(r, y, es_columns(x, 0, width_of(x)), NULL, NULL, ES_ACT_NONE);
}

es_tensor es_segment_means(es_run *r, es_tensor x, es_tensor bounds, es_tensor segments, int n_segments, int length)
{
    int S = (int)es_tensor_count(bounds) - 1, C = width_of(x);

    MUST(x.n_dims == 2 && S >= 0 && is_ints(bounds, 1) && is_ints(segments, (size_t)S + 1) && length > 0);
    es_tensor y = es_new2(r, ES_F32, n_segments, C);
    es_run_begin(r, "segment_means");
    es_run_reads(r, x);
    es_run_reads(r, bounds);
    es_run_reads(r, segments);
    es_run_writes(r, y);
    es_run_fact(r, length);
    if (!es_run_go(r)) return y;
    r->arena->ops->segment_means(r->arena->device, y.p, x.dtype, x.p, bounds.p, segments.p, S, n_segments, C, length);
    es_run_done(r);
    return y;
}

void es_gate_segments(es_run *r, es_cols y, es_tensor x, es_tensor g, es_tensor bounds, es_tensor segments, int length)
{
    int S = (int)es_tensor_count(bounds) - 1, N = rows_of(x), C = width_of(x);

    MUST(S >= 0 && is_ints(bounds, 1) && is_ints(segments, (size_t)S + 1) && length > 0 && g.dtype == ES_F32 && width_of(g) == C);
    MUST(y.n == C && y.of.n_dims == 2 && y.of.dim[0] == N && y.of.dtype == x.dtype);
    es_run_begin(r, "gate_segments");
    es_run_reads(r, x);
    es_run_reads(r, g);
    es_run_reads(r, bounds);
    es_run_reads(r, segments);
    es_run_changes(r, y.of);
    es_run_fact(r, y.c0), es_run_fact(r, length);
    if (!es_run_go(r)) return;
    r->arena->ops->gate_segments(r->arena->device, x.dtype, column(y), y.of.dim[1], x.p, g.p, bounds.p, segments.p, S, N, C, length);
    es_run_done(r);
}

es_tensor es_by_piece(es_run *r, es_cols x, es_tensor g, es_tensor c, es_cols a, es_tensor bounds, es_act act)
{
    int S = (int)es_tensor_count(bounds) - 1, N = x.of.dim[0];
    es_tensor y = es_new2(r, x.of.dtype, N, x.n);

    MUST(x.of.n_dims == 2 && S >= 0 && is_ints(bounds, 1) && known_act(act));
    MUST(g.n_dims == 0 || (g.dtype == ES_F32 && es_tensor_count(g) >= (size_t)S * (size_t)x.n));
    MUST(c.n_dims == 0 || (c.dtype == ES_F32 && es_tensor_count(c) >= (size_t)S * (size_t)x.n));
    MUST(a.of.n_dims == 0 || (a.of.n_dims == 2 && a.of.dim[0] == N && a.n == x.n && a.of.dtype == x.of.dtype));
    es_run_begin(r, "by_piece");
    es_run_reads(r, x.of);
    es_run_reads(r, g);
    es_run_reads(r, c);
    es_run_reads(r, a.of);
    es_run_reads(r, bounds);
    es_run_writes(r, y);
    es_run_fact(r, x.c0), es_run_fact(r, x.n), es_run_fact(r, a.c0), es_run_fact(r, act);
    if (!es_run_go(r)) return y;
    r->arena->ops->by_piece(r->arena->device, y.dtype, y.p, x.n, column(x), x.of.dim[1], g.p, c.p, a.of.n_dims ? column(a) : NULL,
                            a.of.dim[1], bounds.p, S, N, x.n, act);
    es_run_done(r);
    return y;
}

es_tensor es_mean_deviation(es_run *r, es_tensor x, es_tensor z, es_tensor bounds, int less, float least)
{
    int S = (int)es_tensor_count(bounds) - 1, C = width_of(x);

    MUST(x.n_dims == 2 && S >= 0 && is_ints(bounds, 1) && (z.n_dims == 0 || (z.dtype == x.dtype && es_tensor_count(z) == es_tensor_count(x))));
    es_tensor y = es_new2(r, ES_F32, S, 2 * C);
    es_run_begin(r, "mean_deviation");
    es_run_reads(r, x);
    es_run_reads(r, z);
    es_run_reads(r, bounds);
    es_run_writes(r, y);
    es_run_fact(r, less);
    if (!es_run_go(r)) return y;
    r->arena->ops->mean_deviation(r->arena->device, y.p, x.dtype, x.p, z.p, bounds.p, S, C, less, least);
    es_run_done(r);
    return y;
}

es_tensor es_weighed_deviation(es_run *r, es_tensor x, es_tensor w, es_tensor of, es_tensor bounds)
{
    int V = (int)es_tensor_count(of), N = rows_of(x), C = width_of(x);

    MUST(x.n_dims == 2 && is_ints(of, 1) && is_ints(bounds, 1) && w.dtype == ES_F32 && w.n_dims == 2 && w.dim[0] == V && w.dim[1] == N);
    es_tensor y = es_new2(r, ES_F32, V, 2 * C);
    es_run_begin(r, "weighed_deviation");
    es_run_reads(r, x);
    es_run_reads(r, w);
    es_run_reads(r, of);
    es_run_reads(r, bounds);
    es_run_writes(r, y);
    if (!es_run_go(r)) return y;
    r->arena->ops->weighed_deviation(r->arena->device, y.p, x.dtype, x.p, w.p, of.p, bounds.p, V, N, C);
    es_run_done(r);
    return y;
}

/* ---- sound ---- */

/* A window is 30 s and, on either side, the half frame that the first and the last transform reach into. */
static void check_windows(es_run *r, es_tensor pcm, es_tensor frames)
{
    MUST(pcm.n_dims == 2 && pcm.dtype == ES_F32 && pcm.dim[1] == ES_MEL_SAMPLES + 2 * ES_MEL_PAD);
    MUST(is_ints(frames, (size_t)pcm.dim[0]));
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
    MUST(is_ints(tokens, n * (size_t)vocab.max_pos));
    MUST(is_ints(id, n) && is_ints(pos, n) && is_ints(slot, n) && is_ints(len, n));
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
    MUST(p.dtype == ES_F32 && es_tensor_count(p) >= (size_t)R && is_ints(id, (size_t)R));
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
