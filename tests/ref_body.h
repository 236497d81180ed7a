/*
 * ref_body.h - every op of the table as a naive loop over REAL; ref.c includes it for double (the definition) and for
 * float (the yardstick: what a plain loop in the sum type of the backends loses).
 *
 * Tensors are dense arrays of REAL that already hold the values of their storage type. NAME(x) is ref64_x or ref32_x.
 */

static REAL NAME(activate)(REAL x, es_act act)
{
    switch (act) {
    case ES_ACT_NONE: return x;
    case ES_ACT_GELU: return (REAL)0.5 * x * (1 + M(erf)(x * (REAL)0.70710678118654752440));
    case ES_ACT_RELU: return x < 0 ? 0 : x;
    case ES_ACT_LEAKY: return x < 0 ? x * (REAL)0.01 : x;
    case ES_ACT_TANH: return M(tanh)(x);
    case ES_ACT_SIGMOID: return 1 / (1 + M(exp)(-x));
    case ES_ACT_SILU: return x / (1 + M(exp)(-x));
    }
    return x;
}

void NAME(linear)(REAL *y, const REAL *x, const REAL *W, const REAL *b, int T, int I, int O, es_act act, bool add)
{
    for (int t = 0; t < T; t++)
        for (int o = 0; o < O; o++) {
            REAL s = 0;
            for (int i = 0; i < I; i++) s += x[t * I + i] * W[o * I + i];
            if (b) s += b[o];
            s = NAME(activate)(s, act);
            y[t * O + o] = add ? y[t * O + o] + s : s;
        }
}

void NAME(conv1d)(REAL *y, const REAL *x, const REAL *W, const REAL *b, const REAL *pos, int B, int Ti, int C, int O,
                  int K, int stride, int pad, int dilation, es_act act)
{
    int To = (Ti + 2 * pad - dilation * (K - 1) - 1) / stride + 1;

    for (int n = 0; n < B; n++)
        for (int t = 0; t < To; t++)
            for (int o = 0; o < O; o++) {
                REAL s = 0;
                for (int k = 0; k < K; k++) {
                    int ti = t * stride + k * dilation - pad;
                    for (int c = 0; c < C && ti >= 0 && ti < Ti; c++)
                        s += W[(o * K + k) * C + c] * x[(n * Ti + ti) * C + c];
                }
                if (b) s += b[o];
                s = NAME(activate)(s, act);
                y[(n * To + t) * O + o] = pos ? s + pos[t * O + o] : s;
            }
}

/* b NULL: rmsnorm */
void NAME(norm)(REAL *y, const REAL *x, const REAL *g, const REAL *b, int T, int C, REAL eps, bool centred)
{
    for (int t = 0; t < T; t++) {
        REAL mean = 0, var = 0;
        for (int c = 0; c < C && centred; c++) mean += x[t * C + c];
        mean /= (REAL)C;
        for (int c = 0; c < C; c++) var += (x[t * C + c] - mean) * (x[t * C + c] - mean);
        var /= (REAL)C;
        for (int c = 0; c < C; c++) y[t * C + c] = (x[t * C + c] - mean) / M(sqrt)(var + eps) * g[c] + (b ? b[c] : 0);
    }
}

/* One query against n keys at a stride; s: n numbers of room, left holding the scaled scores. */
static void NAME(query)(REAL *y, const REAL *q, const REAL *const *k, const REAL *const *v, int n, int D, REAL scale,
                        REAL *s, REAL *p)
{
    REAL max = -INFINITY, sum = 0;

    for (int i = 0; i < n; i++) {
        s[i] = 0;
        for (int d = 0; d < D; d++) s[i] += q[d] * k[i][d];
        s[i] *= scale;
        max = s[i] > max ? s[i] : max;
    }
    for (int i = 0; i < n; i++) sum += p[i] = M(exp)(s[i] - max);
    for (int d = 0; d < D; d++) {
        y[d] = 0;
        for (int i = 0; i < n; i++) y[d] += p[i] / sum * v[i][d];
    }
}

void NAME(attend)(REAL *y, const REAL *qkv, const int32_t *bounds, int S, int H, int Hkv, int D, REAL scale,
                  es_mask mask)
{
    int row = (H + 2 * Hkv) * D, N = bounds[S];
    const REAL **k = malloc((size_t)N * sizeof *k), **v = malloc((size_t)N * sizeof *v);
    REAL *s = malloc((size_t)N * 2 * sizeof *s);

    for (int n = 0; n < S; n++)
        for (int i = bounds[n]; i < bounds[n + 1]; i++)
            for (int h = 0; h < H; h++) {
                int end = mask == ES_MASK_CAUSAL ? i + 1 : bounds[n + 1], keys = 0, hk = h * Hkv / H;
                for (int j = bounds[n]; j < end; j++, keys++) {
                    k[keys] = qkv + j * row + (H + hk) * D;
                    v[keys] = qkv + j * row + (H + Hkv + hk) * D;
                }
                NAME(query)(y + (i * H + h) * D, qkv + i * row + h * D, k, v, keys, D, scale, s, s + N);
            }
    free(k);
    free(v);
    free(s);
}

void NAME(attend_cached)(REAL *y, const REAL *q, const REAL *K, const REAL *V, const int32_t *slot, const int32_t *len,
                         const int32_t *parent, int R, int T, int H, int D, REAL scale, REAL *scores,
                         const int32_t *heads, int n_pairs)
{
    const REAL **k = malloc((size_t)T * sizeof *k), **v = malloc((size_t)T * sizeof *v);
    REAL *s = malloc((size_t)T * 2 * sizeof *s);

    for (int r = 0; r < R; r++)
        for (int h = 0; h < H && slot[r] >= 0; h++) {
            int n = len ? len[r] : T;
            for (int i = 0; i < n; i++) {
                int from = parent ? parent[slot[r] * T + i] : slot[r];
                k[i] = K + ((from * H + h) * T + i) * D;
                v[i] = V + ((from * H + h) * T + i) * D;
            }
            NAME(query)(y + (r * H + h) * D, q + (r * H + h) * D, k, v, n, D, scale, s, s + T);
            for (int p = 0; p < n_pairs; p++)
                if (heads[p] == h) memcpy(scores + (r * n_pairs + p) * T, s, (size_t)n * sizeof *s);
        }
    free(k);
    free(v);
    free(s);
}

void NAME(prob_at)(REAL *p, const REAL *logits, const int32_t *id, int R, int V, int n)
{
    for (int r = 0; r < R; r++) {
        REAL max = -INFINITY, sum = 0;
        for (int i = 0; i < n; i++) max = logits[r * V + i] > max ? logits[r * V + i] : max;
        for (int i = 0; i < n; i++) sum += M(exp)(logits[r * V + i] - max);
        if (id[r] >= 0) p[r] = M(exp)(logits[r * V + id[r]] - max) / sum;
    }
}

void NAME(rope)(REAL *x, int ld, const REAL *table, const int32_t *pos, int T, int H, int D)
{
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++)
            for (int i = 0; i < D / 2; i++) {
                REAL *a = x + t * ld + h * D + i, *b = a + D / 2, c = table[pos[t] * D + i],
                     s = table[pos[t] * D + D / 2 + i], p = *a * c - *b * s, q = *b * c + *a * s;
                *a = p;
                *b = q;
            }
}

void NAME(swiglu)(REAL *y, const REAL *x, int T, int I)
{
    for (int t = 0; t < T; t++)
        for (int i = 0; i < I; i++)
            y[t * I + i] = NAME(activate)(x[2 * t * I + i], ES_ACT_SILU) * x[(2 * t + 1) * I + i];
}

void NAME(pool)(REAL *y, const REAL *x, const int32_t *bounds, int S, int C, es_pooling how, bool unit)
{
    for (int n = 0; n < S; n++) {
        int first = bounds[n], rows = bounds[n + 1] - first;
        REAL square = 0;
        for (int c = 0; c < C; c++) {
            REAL s = 0;
            for (int r = 0; r < rows && how == ES_POOL_MEAN; r++) s += x[(first + r) * C + c];
            if (rows > 0 && how == ES_POOL_MEAN) s /= (REAL)rows;
            if (rows > 0 && how == ES_POOL_FIRST) s = x[first * C + c];
            if (rows > 0 && how == ES_POOL_LAST) s = x[(first + rows - 1) * C + c];
            y[n * C + c] = s;
            square += s * s;
        }
        REAL norm = M(sqrt)(square);
        for (int c = 0; c < C && unit; c++) y[n * C + c] /= norm > (REAL)1e-12 ? norm : (REAL)1e-12;
    }
}

void NAME(maxpool)(REAL *y, const REAL *x, int B, int Ti, int C, int K, bool absolute)
{
    int To = Ti / K;

    for (int b = 0; b < B; b++)
        for (int t = 0; t < To; t++)
            for (int c = 0; c < C; c++) {
                REAL best = -INFINITY;
                for (int k = 0; k < K; k++) {
                    REAL v = x[(b * Ti + t * K + k) * C + c];
                    v = absolute && v < 0 ? -v : v;
                    best = v > best ? v : best;
                }
                y[(b * To + t) * C + c] = best;
            }
}

void NAME(norm_time)(REAL *y, const REAL *x, const REAL *g, const REAL *b, int B, int T, int C, REAL eps, es_act act)
{
    for (int n = 0; n < B; n++)
        for (int c = 0; c < C; c++) {
            REAL mean = 0, var = 0;
            for (int t = 0; t < T; t++) mean += x[(n * T + t) * C + c];
            mean /= (REAL)T;
            for (int t = 0; t < T; t++) var += (x[(n * T + t) * C + c] - mean) * (x[(n * T + t) * C + c] - mean);
            var /= (REAL)T;
            for (int t = 0; t < T; t++)
                y[(n * T + t) * C + c] =
                    NAME(activate)((x[(n * T + t) * C + c] - mean) / M(sqrt)(var + eps) * g[c] + b[c], act);
        }
}

void NAME(lstm)(REAL *y, const REAL *x, const REAL *W, int B, int T, int h)
{
    REAL *state = malloc((size_t)(6 * h) * sizeof *state), *cell = state + h, *gate = cell + h;

    for (int n = 0; n < B; n++)
        for (int dir = 0; dir < 2; dir++) {
            for (int i = 0; i < 2 * h; i++) state[i] = 0;
            for (int s = 0; s < T; s++) {
                int t = dir ? T - 1 - s : s;
                for (int r = 0; r < 4 * h; r++) {
                    gate[r] = x[(n * T + t) * 8 * h + dir * 4 * h + r];
                    for (int k = 0; k < h; k++) gate[r] += W[(dir * 4 * h + r) * h + k] * state[k];
                }
                for (int k = 0; k < h; k++) {
                    REAL i = NAME(activate)(gate[k], ES_ACT_SIGMOID), f = NAME(activate)(gate[h + k], ES_ACT_SIGMOID),
                         c = NAME(activate)(gate[2 * h + k], ES_ACT_TANH), o = NAME(activate)(gate[3 * h + k], ES_ACT_SIGMOID);
                    cell[k] = f * cell[k] + i * c;
                    gate[k] = o * M(tanh)(cell[k]); /* the state of this frame; the gates of this one are done with */
                    y[(n * T + t) * 2 * h + dir * h + k] = gate[k];
                }
                for (int k = 0; k < h; k++) state[k] = gate[k];
            }
        }
    free(state);
}

/* A sum over every tap; those that fall outside are passed over. */
void NAME(conv2d)(REAL *y, const REAL *x, const REAL *W, const REAL *b, const int32_t *from, const int32_t *to, int S, int F,
                  int O, es_taps k, es_act act, bool add)
{
    int bands = (F - 1) / k.stride_f + 1;

    for (int s = 0; s < S; s++)
        for (int t = 0; t < to[s + 1] - to[s]; t++)
            for (int f = 0; f < bands; f++)
                for (int o = 0; o < O; o++) {
                    REAL v = 0, *out = &y[((to[s] + t) * bands + f) * O + o];
                    for (int i = 0; i < k.Kf; i++)
                        for (int j = 0; j < k.Kt; j++) {
                            int ti = t * k.stride_t + (j - k.Kt / 2) * k.dilation, fi = f * k.stride_f + i - k.Kf / 2, n = from[s + 1] - from[s];
                            if (k.reflect) ti = ti < 0 ? -ti : ti < n ? ti : 2 * (n - 1) - ti;
                            if (ti < 0 || ti >= n || fi < 0 || fi >= F) continue;
                            for (int c = 0; c < k.C; c++)
                                v += W[((o * k.Kf + i) * k.Kt + j) * k.C + c] * x[((from[s] + ti) * F + fi) * k.C + c];
                        }
                    if (b) v += b[o];
                    if (add) v += *out;
                    *out = NAME(activate)(v, act);
                }
}

void NAME(affine)(REAL *y, int ldy, const REAL *x, int ldx, const REAL *g, const REAL *b, int T, int C, es_act act)
{
    for (int t = 0; t < T; t++)
        for (int c = 0; c < C; c++) {
            REAL v = x[t * ldx + c];
            y[t * ldy + c] = NAME(activate)(g ? v * g[c] + b[c] : v, act);
        }
}

void NAME(segment_means)(REAL *y, const REAL *x, const int32_t *bounds, int S, int C, int length)
{
    for (int s = 0; s < S; s++)
        for (int r = bounds[s]; r < bounds[s + 1]; r += length, y += C) {
            int end = r + length < bounds[s + 1] ? r + length : bounds[s + 1];
            for (int c = 0; c < C; c++) {
                REAL all = 0, some = 0;
                for (int i = bounds[s]; i < bounds[s + 1]; i++) all += x[i * C + c];
                for (int i = r; i < end; i++) some += x[i * C + c];
                y[c] = all / (REAL)(bounds[s + 1] - bounds[s]) + some / (REAL)(end - r);
            }
        }
}

void NAME(gate_segments)(REAL *y, int ldy, const REAL *x, const REAL *g, const int32_t *bounds, int S, int C, int length)
{
    for (int s = 0; s < S; s++)
        for (int r = bounds[s]; r < bounds[s + 1]; r += length, g += C)
            for (int i = r; i < r + length && i < bounds[s + 1]; i++)
                for (int c = 0; c < C; c++) y[i * ldy + c] = x[i * C + c] * g[c];
}

void NAME(by_piece)(REAL *y, int ldy, const REAL *x, int ldx, const REAL *g, const REAL *c, const REAL *a, int lda,
                    const int32_t *bounds, int S, int C, es_act act)
{
    for (int s = 0; s < S; s++)
        for (int r = bounds[s]; r < bounds[s + 1]; r++)
            for (int i = 0; i < C; i++)
                y[r * ldy + i] = NAME(activate)(x[r * ldx + i] * (g ? g[s * C + i] : 1) + (c ? c[s * C + i] : 0) + (a ? a[r * lda + i] : 0), act);
}

/* p: how much each row counts. */
void NAME(mean_deviation)(REAL *y, const REAL *x, const REAL *z, const int32_t *bounds, int S, int C, int less, REAL least)
{
    for (int s = 0; s < S; s++)
        for (int c = 0; c < C; c++) {
            int first = bounds[s], n = bounds[s + 1] - first;
            REAL mean = 0, square = 0, all = 0, *p = malloc((size_t)(n + 1) * sizeof *p);
            for (int t = 0; t < n; t++) p[t] = z ? M(exp)(z[(first + t) * C + c]) : 1, all += p[t];
            for (int t = 0; t < n; t++) mean += p[t] * x[(first + t) * C + c] / all;
            for (int t = 0; t < n; t++) square += p[t] * (x[(first + t) * C + c] - mean) * (x[(first + t) * C + c] - mean);
            if (!z) all -= (REAL)less;
            square = all > 0 ? square / all : 0;
            y[s * 2 * C + c] = mean;
            y[s * 2 * C + C + c] = n > 0 ? M(sqrt)(square > least ? square : least) : 0;
            free(p);
        }
}

/* Its small numbers mean what they mean in f32, whatever REAL is. */
void NAME(weighed_deviation)(REAL *y, const REAL *x, const REAL *w, const int32_t *of, const int32_t *bounds, int V, int N, int C)
{
    for (int v = 0; v < V; v++)
        for (int c = 0; c < C; c++) {
            int first = of[v] < 0 ? 0 : bounds[of[v]], n = of[v] < 0 ? 0 : bounds[of[v] + 1] - first;
            REAL mean = 0, square = 0, one = 0, two = 0;
            for (int t = 0; t < n; t++) one += w[v * N + t], two += w[v * N + t] * w[v * N + t];
            float v1 = (float)one + 1e-8f, v2 = (float)two;
            for (int t = 0; t < n; t++) mean += w[v * N + t] * x[(first + t) * C + c] / (REAL)v1;
            for (int t = 0; t < n; t++) square += w[v * N + t] * (x[(first + t) * C + c] - mean) * (x[(first + t) * C + c] - mean);
            y[v * 2 * C + c] = mean;
            y[v * 2 * C + C + c] = M(sqrt)(square / (REAL)(v1 - v2 / v1 + 1e-8f));
        }
}
