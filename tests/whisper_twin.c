/*
 * whisper_twin.c - see whisper_twin.h. Weights are read from the pack by name, so it also says what the pack's tensors
 * mean. Products turn the weights first, so that the inner loop runs along outputs: that is all the care for speed.
 */
#include "whisper_twin.h"

#include "runtime/weights.h"

static double half_value(uint16_t h)
{
    int e = h >> 10 & 31, f = h & 1023;
    double v = e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);

    return h & 0x8000 ? -v : v;
}

/* A tensor of the pack in double; the caller frees. */
static double *stored(const es_whisper_rig *g, const char *stack, int layer, const char *name)
{
    char full[128];
    const es_weight *t;
    double *x = NULL;

    if (layer < 0) snprintf(full, sizeof full, "%s.%s", stack, name);
    else snprintf(full, sizeof full, "%s.layers.%d.%s", stack, layer, name);
    t = es_weights_find(g->w, full);
    CHECK(t != NULL, "no tensor %s", full);
    if (!t) exit(2);
    size_t n = t->bytes / es_dtype_bytes(t->dtype);
    x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        float f;
        uint16_t h;
        if (t->dtype == ES_F32) memcpy(&f, (const char *)t->p + 4 * i, 4), x[i] = (double)f;
        if (t->dtype == ES_F16) memcpy(&h, (const char *)t->p + 2 * i, 2), x[i] = half_value(h);
    }
    return x;
}

/* y[T, O] (+)= x[T, I] W[O, I]^T + b. W is turned first, so that the inner loop runs along outputs. */
static void twin_product(double *y, const double *x, const double *W, const double *b, int T, int I, int O, bool add)
{
    double *turned = malloc((size_t)I * (size_t)O * sizeof *turned);

    for (int o = 0; o < O; o++)
        for (int i = 0; i < I; i++) turned[i * O + o] = W[o * I + i];
    for (int t = 0; t < T; t++) {
        double *row = y + (size_t)t * (size_t)O;
        for (int o = 0; o < O; o++) row[o] = (add ? row[o] : 0) + (b ? b[o] : 0);
        for (int i = 0; i < I; i++) {
            double v = x[(size_t)t * (size_t)I + (size_t)i];
            for (int o = 0; o < O; o++) row[o] += v * turned[i * O + o];
        }
    }
    free(turned);
}

static void twin_linear(const es_whisper_rig *g, double *y, const double *x, const char *stack, int layer,
                        const char *name, int T, int I, int O, bool add)
{
    char full[64];

    snprintf(full, sizeof full, "%s.weight", name);
    double *W = stored(g, stack, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    double *b = stored(g, stack, layer, full);
    twin_product(y, x, W, b, T, I, O, add);
    free(W);
    free(b);
}

static void twin_norm(const es_whisper_rig *g, double *y, const double *x, const char *stack, int layer,
                      const char *name, int T)
{
    char full[64];

    snprintf(full, sizeof full, "%s.weight", name);
    double *w = stored(g, stack, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    double *b = stored(g, stack, layer, full);
    for (int t = 0; t < T; t++) {
        const double *r = x + t * ES_RIG_WIDTH;
        double mean = 0, var = 0;
        for (int c = 0; c < ES_RIG_WIDTH; c++) mean += r[c] / ES_RIG_WIDTH;
        for (int c = 0; c < ES_RIG_WIDTH; c++) var += (r[c] - mean) * (r[c] - mean) / ES_RIG_WIDTH;
        for (int c = 0; c < ES_RIG_WIDTH; c++) y[t * ES_RIG_WIDTH + c] = (r[c] - mean) / sqrt(var + 1e-5) * w[c] + b[c];
    }
    free(w);
    free(b);
}

static void twin_gelu(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 0.5 * x[i] * (1 + erf(x[i] / sqrt(2)));
}

/* y[Tq, ES_RIG_WIDTH]; rows of q, k, v lie ldq, ldkv apart. causal: row t sees rows 0 .. t. */
static void twin_attend(double *y, const double *q, int ldq, const double *k, const double *v, int ldkv, int Tq, int Tk,
                        bool causal)
{
    double *p = malloc((size_t)Tk * sizeof *p);

    for (int h = 0; h < ES_RIG_HEADS; h++) {
        for (int t = 0; t < Tq; t++) {
            int n = causal ? t + 1 : Tk;
            double top = -INFINITY, sum = 0, *out = y + t * ES_RIG_WIDTH + h * 64;
            for (int j = 0; j < n; j++) {
                double s = 0;
                for (int c = 0; c < 64; c++) s += q[t * ldq + h * 64 + c] * k[j * ldkv + h * 64 + c];
                p[j] = s / 8;
                if (p[j] > top) top = p[j];
            }
            for (int c = 0; c < 64; c++) out[c] = 0;
            for (int j = 0; j < n; j++) {
                double e = exp(p[j] - top);
                sum += e;
                for (int c = 0; c < 64; c++) out[c] += e * v[j * ldkv + h * 64 + c];
            }
            for (int c = 0; c < 64; c++) out[c] /= sum;
        }
    }
    free(p);
}

static void twin_mlp(const es_whisper_rig *g, double *x, const char *stack, int layer, int T)
{
    double *n = malloc((size_t)T * ES_RIG_WIDTH * sizeof *n), *h = malloc((size_t)T * 4 * ES_RIG_WIDTH * sizeof *h);

    twin_norm(g, n, x, stack, layer, "mlp_norm", T);
    twin_linear(g, h, n, stack, layer, "up", T, ES_RIG_WIDTH, 4 * ES_RIG_WIDTH, false);
    twin_gelu(h, (size_t)T * 4 * ES_RIG_WIDTH);
    twin_linear(g, x, h, stack, layer, "down", T, 4 * ES_RIG_WIDTH, ES_RIG_WIDTH, true);
    free(n);
    free(h);
}

/* x += out(attend(qkv(norm(x)))) */
static void twin_self(const es_whisper_rig *g, double *x, const char *stack, int layer, int T, bool causal)
{
    double *n = malloc((size_t)T * ES_RIG_WIDTH * sizeof *n), *qkv = malloc((size_t)T * 3 * ES_RIG_WIDTH * sizeof *qkv);

    twin_norm(g, n, x, stack, layer, "attn_norm", T);
    twin_linear(g, qkv, n, stack, layer, "qkv", T, ES_RIG_WIDTH, 3 * ES_RIG_WIDTH, false);
    twin_attend(n, qkv, 3 * ES_RIG_WIDTH, qkv + ES_RIG_WIDTH, qkv + 2 * ES_RIG_WIDTH, 3 * ES_RIG_WIDTH, T, T, causal);
    twin_linear(g, x, n, stack, layer, "out", T, ES_RIG_WIDTH, ES_RIG_WIDTH, true);
    free(n);
    free(qkv);
}

/* y[To, O] = gelu(conv of width 3 over x[T, I], one row of zeros around it). */
static double *twin_conv(const es_whisper_rig *g, const double *x, const char *name, int T, int I, int stride)
{
    int To = (T - 1) / stride + 1;
    double *rows = calloc((size_t)To * 3 * (size_t)I, sizeof *rows), *y = malloc((size_t)To * ES_RIG_WIDTH * sizeof *y);

    for (int t = 0; t < To; t++)
        for (int k = 0; k < 3; k++)
            if (t * stride + k >= 1 && t * stride + k - 1 < T)
                memcpy(rows + (t * 3 + k) * I, x + (t * stride + k - 1) * I, (size_t)I * sizeof *rows);
    twin_linear(g, y, rows, "encoder", -1, name, To, 3 * I, ES_RIG_WIDTH, false);
    twin_gelu(y, (size_t)To * ES_RIG_WIDTH);
    free(rows);
    return y;
}

double *es_whisper_twin_encode(const es_whisper_rig *g, const float *mel)
{
    double *m = malloc(3000 * 80 * sizeof *m), *e = malloc(ES_RIG_AUDIO * ES_RIG_WIDTH * sizeof *e);

    for (int i = 0; i < 3000 * 80; i++) m[i] = (double)mel[i];
    double *c = twin_conv(g, m, "conv1", 3000, 80, 1), *x = twin_conv(g, c, "conv2", 3000, ES_RIG_WIDTH, 2);
    double *positions = stored(g, "encoder", -1, "positions");
    for (int i = 0; i < ES_RIG_AUDIO * ES_RIG_WIDTH; i++) x[i] += positions[i];
    for (int l = 0; l < ES_RIG_LAYERS; l++) {
        twin_self(g, x, "encoder", l, ES_RIG_AUDIO, false);
        twin_mlp(g, x, "encoder", l, ES_RIG_AUDIO);
    }
    twin_norm(g, e, x, "encoder", -1, "norm", ES_RIG_AUDIO);
    free(m);
    free(c);
    free(x);
    free(positions);
    return e;
}

double *es_whisper_twin_decode(const es_whisper_rig *g, const double *e, const int32_t *ids, int n)
{
    int V = g->dims.vocab;
    double *tokens = stored(g, "decoder", -1, "tokens"), *positions = stored(g, "decoder", -1, "positions");
    double *x = malloc((size_t)n * ES_RIG_WIDTH * sizeof *x), *y = malloc((size_t)n * ES_RIG_WIDTH * sizeof *y),
           *q = malloc((size_t)n * ES_RIG_WIDTH * sizeof *q),
           *kv = malloc(ES_RIG_AUDIO * 2 * ES_RIG_WIDTH * sizeof *kv),
           *logits = malloc((size_t)n * (size_t)V * sizeof *logits);

    for (int i = 0; i < n * ES_RIG_WIDTH; i++)
        x[i] = tokens[ids[i / ES_RIG_WIDTH] * ES_RIG_WIDTH + i % ES_RIG_WIDTH] + positions[i];
    for (int l = 0; l < ES_RIG_LAYERS; l++) {
        twin_self(g, x, "decoder", l, n, true);
        twin_norm(g, y, x, "decoder", l, "cross_norm", n);
        twin_linear(g, q, y, "decoder", l, "cross_q", n, ES_RIG_WIDTH, ES_RIG_WIDTH, false);
        twin_linear(g, kv, e, "decoder", l, "cross_kv", ES_RIG_AUDIO, ES_RIG_WIDTH, 2 * ES_RIG_WIDTH, false);
        twin_attend(y, q, ES_RIG_WIDTH, kv, kv + ES_RIG_WIDTH, 2 * ES_RIG_WIDTH, n, ES_RIG_AUDIO, false);
        twin_linear(g, x, y, "decoder", l, "cross_out", n, ES_RIG_WIDTH, ES_RIG_WIDTH, true);
        twin_mlp(g, x, "decoder", l, n);
    }
    twin_norm(g, y, x, "decoder", -1, "norm", n);
    twin_product(logits, y, tokens, NULL, n, ES_RIG_WIDTH, V, false);
    free(tokens);
    free(positions);
    free(x);
    free(y);
    free(q);
    free(kv);
    return logits;
}
