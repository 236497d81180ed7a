/*
 * ref.c - the definition of every op, written to be checked by reading, not to be fast.
 *
 * The loops over tensors stand in ref_body.h and are compiled for double and for float. Here are the storage types, the
 * front end and the choice of tokens, which exist in double only.
 */
#include "ref.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REAL    double
#define NAME(x) ref64_##x
#define M(name) name
#include "ref_body.h"
#undef REAL
#undef NAME
#undef M
#define REAL    float
#define NAME(x) ref32_##x
#define M(name) name##f
#include "ref_body.h"

/* ---- storage ---- */

/* Rounds to `bits` bits of fraction above an exponent of at least `least`. */
static double round_to(double x, int bits, int least)
{
    int e;

    if (x == 0 || !isfinite(x)) return x;
    frexp(x, &e); /* |x| in [2^(e-1), 2^e) */
    double unit = ldexp(1, (e - 1 > least ? e - 1 : least) - bits);
    return rint(x / unit) * unit;
}

double ref_round(double x, es_dtype t)
{
    switch (t) {
    case ES_F16: x = round_to(x, 10, -14); return x > 65504 ? 65504 : x < -65504 ? -65504 : x;
    case ES_BF16: return round_to((double)(float)x, 7, -126);
    default: return (double)(float)x;
    }
}

double ref_unit(es_dtype t)
{
    return t == ES_F16 ? 0x1p-11 : t == ES_BF16 ? 0x1p-8 : 0x1p-24;
}

static uint16_t half_bits(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    int e;

    x = fabs(ref_round(x, ES_F16));
    if (isnan(x)) return 0x7E00;
    if (x < 0x1p-14) return (uint16_t)(sign | (uint16_t)(x * 0x1p24));
    double f = frexp(x, &e); /* [1/2, 1) */
    return (uint16_t)(sign | (e - 1 + 15) << 10 | ((int)(f * 2048) & 1023));
}

static double half_value(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double x = e == 31 ? (m ? (double)NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);

    return h & 0x8000 ? -x : x;
}

void ref_store(void *p, es_dtype t, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float f = (float)ref_round(x[i], t);
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        switch (t) {
        case ES_F32: ((float *)p)[i] = f; break;
        case ES_F16: ((uint16_t *)p)[i] = half_bits(x[i]); break;
        case ES_BF16: ((uint16_t *)p)[i] = (uint16_t)(u >> 16); break;
        case ES_I32: ((int32_t *)p)[i] = (int32_t)x[i]; break;
        case ES_I16: ((int16_t *)p)[i] = (int16_t)x[i]; break;
        case ES_U8: ((uint8_t *)p)[i] = (uint8_t)x[i]; break;
        case ES_N_DTYPES: assert(0); break;
        }
    }
}

void ref_fetch(double *x, const void *p, es_dtype t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (t) {
        case ES_F32: x[i] = (double)((const float *)p)[i]; break;
        case ES_F16: x[i] = half_value(((const uint16_t *)p)[i]); break;
        case ES_BF16: {
            uint32_t u = (uint32_t)((const uint16_t *)p)[i] << 16;
            float f;
            memcpy(&f, &u, sizeof f);
            x[i] = (double)f;
            break;
        }
        case ES_I32: x[i] = ((const int32_t *)p)[i]; break;
        case ES_I16: x[i] = ((const int16_t *)p)[i]; break;
        case ES_U8: x[i] = ((const uint8_t *)p)[i]; break;
        case ES_N_DTYPES: assert(0); break;
        }
    }
}

/* ---- sound ---- */

static double hz_of_mel(double m)
{
    return m < 15 ? m * 200 / 3 : 1000 * exp((m - 15) * log(6.4) / 27);
}

void ref_logmel_frame(double *L, const float *x, int M)
{
    const double pi = acos(-1);
    double P[201], top = 15 + 27 * log(8) / log(6.4);

    for (int k = 0; k < 201; k++) {
        double re = 0, im = 0;
        for (int n = 0; n < 400; n++) {
            double w = 0.5 * (1 - cos(2 * pi * n / 400)) * (double)x[n], a = 2 * pi * (k * n % 400) / 400;
            re += w * cos(a), im -= w * sin(a);
        }
        P[k] = re * re + im * im;
    }
    for (int m = 0; m < M; m++) {
        double e[3], s = 0;
        for (int i = 0; i < 3; i++) e[i] = hz_of_mel(top * (m + i) / (M + 1));
        for (int k = 0; k < 201; k++) {
            double w = fmin((40 * k - e[0]) / (e[1] - e[0]), (e[2] - 40 * k) / (e[2] - e[1])) * 2 / (e[2] - e[0]);
            if (w > 0) s += (double)(float)w * P[k];
        }
        L[m] = log10(fmax(s, 1e-10));
    }
}

/* ---- choosing tokens ---- */

void ref_philox(uint32_t c[4], const uint32_t key[2])
{
    uint32_t k[2] = {key[0], key[1]};

    for (int i = 0; i < 10; i++) {
        uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
        uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k[0], (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k[1],
                            (uint32_t)p0};
        memcpy(c, next, sizeof next);
        k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u;
    }
}

static double log_sum(const double *l, int first, int end)
{
    double max = -INFINITY, sum = 0;

    for (int i = first; i < end; i++) max = fmax(max, l[i]);
    if (max == -INFINITY) return max;
    for (int i = first; i < end; i++) sum += exp(l[i] - max);
    return max + log(sum);
}

static void mask(double *l, int first, int end)
{
    for (int i = first; i < end; i++) l[i] = -INFINITY;
}

/* The largest score, the lowest id on ties; -1 when all are -inf. margin: how far the second largest is behind. */
static int arg_max(const double *l, int first, int end, double *margin)
{
    double best = -INFINITY, second = -INFINITY;
    int at = -1;

    for (int i = first; i < end; i++) {
        if (l[i] > best) second = best, best = l[i], at = i;
        else if (l[i] > second) second = l[i];
    }
    *margin = best - second;
    return at;
}

int ref_pick(es_pick_slot *s, const double *logits, const double *sot_logits, const uint32_t *suppress, es_pick_vocab v,
             double *margin)
{
    const int TB = v.timestamp_begin;
    double *l = malloc((size_t)v.V * sizeof *l), rule = INFINITY;
    int token;

    memcpy(l, logits, (size_t)v.V * sizeof *l);
    if (s->n == 0 && sot_logits) s->no_speech = (float)exp(sot_logits[v.no_speech] - log_sum(sot_logits, 0, v.V));
    if (s->mode == ES_PICK_LANG) {
        token = arg_max(l, v.lang_begin, v.lang_begin + v.n_lang, margin);
        s->lang_prob = (float)exp(l[token] - log_sum(l, v.lang_begin, v.lang_begin + v.n_lang));
        s->ended = 1;
    } else {
        if (s->n == 0) {
            if (v.blank >= 0) mask(l, v.blank, v.blank + 1);
            mask(l, v.eot, v.eot + 1);
        }
        for (int i = 0; i < v.V; i++)
            if (suppress[i / 32] >> (i % 32) & 1) mask(l, i, i + 1);
        if (s->timestamps) {
            bool last_ts = s->n >= 1 && s->last >= TB, pen_ts = s->n < 2 || s->last2 >= TB;
            mask(l, v.no_timestamps, v.no_timestamps + 1);
            if (last_ts && pen_ts) mask(l, TB, v.V);
            if (last_ts && pen_ts && s->n >= 2 && s->last - TB < s->least_end) mask(l, v.eot, v.eot + 1);
            if (last_ts && !pen_ts) mask(l, 0, v.eot);
            if (s->last_time >= 0) mask(l, TB, last_ts && !pen_ts ? s->last_time : s->last_time + 1);
            if (s->n == 0) {
                mask(l, 0, TB);
                if (s->max_initial >= 0 && TB + s->max_initial + 1 < v.V) mask(l, TB + s->max_initial + 1, v.V);
            }
            double times = log_sum(l, TB, v.V), text = -INFINITY;
            for (int i = 0; i < TB; i++) text = fmax(text, l[i]);
            if (times > text) mask(l, 0, TB);
            rule = isfinite(times) && isfinite(text) ? fabs(times - text) : INFINITY;
        } else {
            mask(l, TB, v.V);
        }
        double all = log_sum(l, 0, v.V);
        if (s->temperature > 0) {
            double *g = malloc((size_t)v.V * sizeof *g);
            for (int i = 0; i < v.V; i++) {
                uint32_t c[4] = {(uint32_t)s->n, (uint32_t)i / 4, s->key[2], s->key[3]};
                ref_philox(c, s->key);
                g[i] = l[i] / (double)s->temperature - log(-log((floor(c[i % 4] / 512.0) + 0.5) / 0x1p23));
            }
            token = arg_max(g, 0, v.V, margin);
            free(g);
        } else {
            token = arg_max(l, 0, v.V, margin);
        }
        if (token < 0) token = v.eot;
        s->sum_logprob += (float)(logits[token] - (isfinite(all) ? all : 0));
        s->ended = token == v.eot ? 1 : s->n + 1 >= s->n_max || s->pos >= v.max_pos ? 2 : 0;
    }
    *margin = fmin(*margin, rule);
    s->n++;
    s->last2 = s->last, s->last = token;
    if (token >= TB) s->last_time = token;
    s->pos++;
    if (s->ended) s->mode = ES_PICK_IDLE;
    free(l);
    return token;
}
