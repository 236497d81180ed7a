/*
 * ops_pieces.c - ops over packed pieces, see ops.c: convolutions in two directions, gates and statistics of a piece.
 */
#include "runtime/ops.h"
#include "runtime/run.h"

static void conv2d(es_run *r, es_tensor y, es_tensor x, es_matrix w, const float *b, es_tensor from, es_tensor to, es_taps k,
                   es_act act, bool add)
{
    int S = (int)es_tensor_count(to) - 1, F = x.dim[1];

    MUST(x.n_dims == 3 && y.n_dims == 3 && x.dim[2] == k.C && w.I == k.Kf * k.Kt * k.C && y.dim[2] == w.O);
    MUST(k.Kf % 2 == 1 && k.Kt % 2 == 1 && k.stride_f > 0 && k.stride_t > 0 && k.dilation > 0 && y.dtype == x.dtype);
    MUST(S >= 0 && es_tensor_is_ints(from, (size_t)S + 1) && es_tensor_is_ints(to, 1) && y.dim[1] == (F - 1) / k.stride_f + 1);
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
    r->arena->ops->affine(r->arena->device, y.of.dtype, es_run_column(y), y.of.dim[1], es_run_column(x), x.of.dim[1], g, b, rows, T, x.n, act);
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
    es_affine_to(r, y, es_columns(x, 0, es_tensor_width(x)), NULL, NULL, ES_ACT_NONE);
}

es_tensor es_segment_means(es_run *r, es_tensor x, es_tensor bounds, es_tensor segments, int n_segments, int length)
{
    int S = (int)es_tensor_count(bounds) - 1, C = es_tensor_width(x);

    MUST(x.n_dims == 2 && S >= 0 && es_tensor_is_ints(bounds, 1) && es_tensor_is_ints(segments, (size_t)S + 1) && length > 0);
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
    int S = (int)es_tensor_count(bounds) - 1, N = es_tensor_rows(x), C = es_tensor_width(x);

    MUST(S >= 0 && es_tensor_is_ints(bounds, 1) && es_tensor_is_ints(segments, (size_t)S + 1) && length > 0 && g.dtype == ES_F32 && es_tensor_width(g) == C);
    MUST(y.n == C && y.of.n_dims == 2 && y.of.dim[0] == N && y.of.dtype == x.dtype);
    es_run_begin(r, "gate_segments");
    es_run_reads(r, x);
    es_run_reads(r, g);
    es_run_reads(r, bounds);
    es_run_reads(r, segments);
    es_run_changes(r, y.of);
    es_run_fact(r, y.c0), es_run_fact(r, length);
    if (!es_run_go(r)) return;
    r->arena->ops->gate_segments(r->arena->device, x.dtype, es_run_column(y), y.of.dim[1], x.p, g.p, bounds.p, segments.p, S, N, C, length);
    es_run_done(r);
}

es_tensor es_by_piece(es_run *r, es_cols x, es_tensor g, es_tensor c, es_cols a, es_tensor bounds, es_act act)
{
    int S = (int)es_tensor_count(bounds) - 1, N = x.of.dim[0];
    es_tensor y = es_new2(r, x.of.dtype, N, x.n);

    MUST(x.of.n_dims == 2 && S >= 0 && es_tensor_is_ints(bounds, 1) && known_act(act));
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
    r->arena->ops->by_piece(r->arena->device, y.dtype, y.p, x.n, es_run_column(x), x.of.dim[1], g.p, c.p, a.of.n_dims ? es_run_column(a) : NULL,
                            a.of.dim[1], bounds.p, S, N, x.n, act);
    es_run_done(r);
    return y;
}

es_tensor es_mean_deviation(es_run *r, es_tensor x, es_tensor z, es_tensor bounds, int less, float least)
{
    int S = (int)es_tensor_count(bounds) - 1, C = es_tensor_width(x);

    MUST(x.n_dims == 2 && S >= 0 && es_tensor_is_ints(bounds, 1) && (z.n_dims == 0 || (z.dtype == x.dtype && es_tensor_count(z) == es_tensor_count(x))));
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
    int V = (int)es_tensor_count(of), N = es_tensor_rows(x), C = es_tensor_width(x);

    MUST(x.n_dims == 2 && es_tensor_is_ints(of, 1) && es_tensor_is_ints(bounds, 1) && w.dtype == ES_F32 && w.n_dims == 2 && w.dim[0] == V && w.dim[1] == N);
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
