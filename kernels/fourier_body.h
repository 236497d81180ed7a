/*
 * fourier_body.h - the power spectrum of 400 real samples, eight frames side by side in double precision.
 *
 *     z[n] = x[2n] + i x[2n+1]  ->  Z = 200-point transform (5 * 5 * 4 * 2)  ->  X[k], k = 0 .. 200, from Z[k],
 * Z[200-k]
 *
 * The transform is Stockham's: each stage reads one array and writes the other in order, so no digit reversal. A lane
 * is a frame, so no arithmetic crosses lanes and every instruction set gives the same bits. Double, because the mel
 * floor lies 80 dB below the loudest bin of the window and this whole stage is 1 % of the smallest encoder.
 */
#include "kernels/mel_tables.h"

enum { HALF_N = 200, DL = VW / 2 /* doubles in a register */ };

typedef struct spectrum {
    VD re[HALF_N], im[HALF_N];
} spectrum;

/* b[k] = sum_j a[j] e^(-2 pi i j k / 5): sums and differences of opposite points, two rotations. */
INLINE void five(VD re[5], VD im[5])
{
    const double c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;
    const double s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;
    VD ar = re[1] + re[4], ai = im[1] + im[4], br = re[2] + re[3], bi = im[2] + im[3];
    VD cr = re[1] - re[4], ci = im[1] - im[4], dr = re[2] - re[3], di = im[2] - im[3];
    VD pr = re[0] + c1 * ar + c2 * br, pi = im[0] + c1 * ai + c2 * bi;
    VD qr = re[0] + c2 * ar + c1 * br, qi = im[0] + c2 * ai + c1 * bi;
    VD ur = s1 * cr + s2 * dr, ui = s1 * ci + s2 * di;
    VD vr = s2 * cr - s1 * dr, vi = s2 * ci - s1 * di;

    re[0] = re[0] + ar + br, im[0] = im[0] + ai + bi;
    re[1] = pr + ui, im[1] = pi - ur;
    re[4] = pr - ui, im[4] = pi + ur;
    re[2] = qr + vi, im[2] = qi - vr;
    re[3] = qr - vi, im[3] = qi + vr;
}

INLINE void four(VD re[4], VD im[4])
{
    VD ar = re[0] + re[2], ai = im[0] + im[2], br = re[0] - re[2], bi = im[0] - im[2];
    VD cr = re[1] + re[3], ci = im[1] + im[3], dr = re[1] - re[3], di = im[1] - im[3];

    re[0] = ar + cr, im[0] = ai + ci;
    re[1] = br + di, im[1] = bi - dr;
    re[2] = ar - cr, im[2] = ai - ci;
    re[3] = br - di, im[3] = bi + dr;
}

INLINE void two(VD re[2], VD im[2])
{
    VD ar = re[0], ai = im[0];

    re[0] = ar + re[1], im[0] = ai + im[1];
    re[1] = ar - re[1], im[1] = ai - im[1];
}

/* One stage: length n = 200 / s is split by the radix. */
INLINE void stage(const int radix, int s, const spectrum *x, spectrum *y, const es_mel_tables *t)
{
    int m = HALF_N / s / radix;

    for (int p = 0; p < m; p++)
        for (int q = 0; q < s; q++) {
            VD re[5], im[5];
            for (int j = 0; j < radix; j++) re[j] = x->re[q + s * (p + m * j)], im[j] = x->im[q + s * (p + m * j)];
            if (radix == 5) five(re, im);
            else if (radix == 4) four(re, im);
            else two(re, im);
            for (int j = 0; j < radix; j++) {
                int turn = 2 * s * p * j; /* in four-hundredths of a circle; below 400 */
                double c = t->cosine[turn], w = t->sine[turn];
                y->re[q + s * (radix * p + j)] = re[j] * c + im[j] * w;
                y->im[q + s * (radix * p + j)] = im[j] * c - re[j] * w;
            }
        }
}

static void power_lanes(double *p, const float *x, const es_mel_tables *t)
{
    spectrum a, b;

    for (int n = 0; n < HALF_N; n++)
        for (int l = 0; l < DL; l++) {
            const float *f = x + l * ES_MEL_HOP + 2 * n;
            a.re[n][l] = (double)f[0] * t->window[2 * n];
            a.im[n][l] = (double)f[1] * t->window[2 * n + 1];
        }
    stage(5, 1, &a, &b, t);
    stage(5, 5, &b, &a, t);
    stage(4, 25, &a, &b, t);
    stage(2, 100, &b, &a, t);
    for (int k = 0; k <= HALF_N; k++) {
        int i = k % HALF_N, o = (HALF_N - k) % HALF_N;
        VD er = (a.re[i] + a.re[o]) * 0.5, ei = (a.im[i] - a.im[o]) * 0.5; /* of the even samples */
        VD dr = (a.im[i] + a.im[o]) * 0.5, di = (a.re[o] - a.re[i]) * 0.5; /* of the odd ones */
        double c = t->cosine[k], w = t->sine[k];
        VD re = er + dr * c + di * w, im = ei + di * c - dr * w;
        VD both = re * re + im * im;
        memcpy(p + (size_t)k * ES_MEL_LANES, &both, sizeof both);
    }
}

static void power(double *p, const float *x, const es_mel_tables *t)
{
    for (int l = 0; l < ES_MEL_LANES; l += DL) power_lanes(p + l, x + l * ES_MEL_HOP, t);
}
