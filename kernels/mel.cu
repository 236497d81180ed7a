/*
 * mel.cu - Whisper's log-mel on the device.
 *
 * A block takes 8 frames. The window is folded: with e[n] = x[n] + x[400-n] and o[n] = x[n] - x[400-n] a bin needs 201
 * cosines and 199 sines instead of 400 of each. A thread owns one bin and all 8 frames, so a table entry, fetched from
 * shared memory at a stride of its own, serves sixteen products. Sums are kept in pieces of 16 terms: a single chain of 200
 * would lose the bins 80 dB below a loud neighbour. What remains is the rounding of the windowed samples and of the cosines:
 * 3e-5 of the normalised levels in bins 50 dB down, a fourth of half a unit of f16 there. Bound by f32 arithmetic, 0.5 GFLOP a window: a tenth of a millisecond.
 *
 * Logarithms go to scratch with each frame's largest; a block per window finds the top; a last pass applies the floor and
 * the scale and writes the frames past the content. A maximum does not depend on the order it is taken in.
 */
#include "kernels/cuda.cuh"
#include "kernels/mel_tables.h"
#include "kernels/reduce.cuh"

enum { FRAMES = 8, THREADS = 224, HALF = 201, PIECE = 16, SPAN = ES_MEL_FFT + (FRAMES - 1) * ES_MEL_HOP,
       WINDOW = ES_MEL_SAMPLES + 2 * ES_MEL_PAD };

/* log10 of the mel power of FRAMES frames into logs [B, 3000, M], and the largest of each frame into peaks [B, 3000]. */
static __global__ void mel_frames(float *logs, float *peaks, const float *pcm, const int32_t *frames,
                                  const es_mel_tables *tables, const int32_t *batches, int B, int M)
{
    ES_SHARED(float, sound, SPAN);
    ES_SHARED(float, even, HALF *FRAMES);
    ES_SHARED(float, odd, HALF *FRAMES);
    ES_SHARED(float, cosine, ES_MEL_FFT);
    ES_SHARED(float, power, FRAMES *HALF);
    ES_SHARED(float, level, FRAMES *ES_MEL_MAX);
    int b = (int)blockIdx.y, f0 = (int)blockIdx.x * FRAMES, k = (int)threadIdx.x;

    if (b >= es_live_rows(batches, B) || f0 >= min(frames[b], (int)ES_MEL_FRAMES)) return;
    const float *x = pcm + (size_t)b * WINDOW + (size_t)f0 * ES_MEL_HOP;
    int have = WINDOW - f0 * ES_MEL_HOP; /* samples left in the window's buffer */
    for (int i = k; i < SPAN; i += THREADS) sound[i] = i < have ? x[i] : 0;
    for (int i = k; i < ES_MEL_FFT; i += THREADS) cosine[i] = (float)tables->cosine[i];
    ES_SYNC();
    for (int i = k; i < HALF * FRAMES; i += THREADS) {
        int n = i / FRAMES, f = i % FRAMES;
        float a = sound[f * ES_MEL_HOP + n] * (float)tables->window[n];
        float c = n > 0 && n < 200 ? sound[f * ES_MEL_HOP + ES_MEL_FFT - n] * (float)tables->window[ES_MEL_FFT - n] : 0;
        even[i] = a + c;
        odd[i] = a - c;
    }
    ES_SYNC();
    if (k < HALF) {
        float re[FRAMES] = {0}, im[FRAMES] = {0};
        int at = 0; /* k n mod 400 */
        for (int n0 = 0; n0 < HALF; n0 += PIECE) {
            float r[FRAMES] = {0}, s[FRAMES] = {0};
            for (int n = n0; n < n0 + PIECE && n < HALF; n++) {
                /* sin(2 pi i / 400) = cos(2 pi (i - 100) / 400) */
                float c = cosine[at], z = cosine[at >= 100 ? at - 100 : at + 300];
                ES_UNROLL
                for (int f = 0; f < FRAMES; f++) {
                    r[f] = fmaf(even[n * FRAMES + f], c, r[f]);
                    s[f] = fmaf(odd[n * FRAMES + f], z, s[f]);
                }
                at += k;
                if (at >= ES_MEL_FFT) at -= ES_MEL_FFT;
            }
            ES_UNROLL
            for (int f = 0; f < FRAMES; f++) re[f] += r[f], im[f] += s[f];
        }
        ES_UNROLL
        for (int f = 0; f < FRAMES; f++) power[f * HALF + k] = re[f] * re[f] + im[f] * im[f];
    }
    ES_SYNC();
    for (int i = k; i < FRAMES * M; i += THREADS) {
        int f = i / M, m = i % M;
        float s = 0;
        for (int j = 0; j < tables->count[m]; j++)
            s = fmaf(tables->weight[m][j], power[f * HALF + tables->first[m] + j], s);
        s = log10f(fmaxf(s, 1e-10f));
        level[f * ES_MEL_MAX + m] = s;
        if (f0 + f < ES_MEL_FRAMES) logs[((size_t)b * ES_MEL_FRAMES + (size_t)(f0 + f)) * (size_t)M + m] = s;
    }
    ES_SYNC();
    if (k < FRAMES && f0 + k < ES_MEL_FRAMES) {
        float top = -10;
        for (int m = 0; m < M; m++) top = fmaxf(top, level[k * ES_MEL_MAX + m]);
        peaks[(size_t)b * ES_MEL_FRAMES + (size_t)(f0 + k)] = top;
    }
}

/* The largest level of a window's content, or the one that was given. */
static __global__ void mel_top(float *out, const float *peaks, const int32_t *frames, const float *given,
                               const int32_t *batches, int B)
{
    ES_SHARED(float, part, 32);
    int b = (int)blockIdx.x;
    float top = -10;

    if (b >= es_live_rows(batches, B)) return;
    for (int f = (int)threadIdx.x; f < min(frames[b], (int)ES_MEL_FRAMES); f += (int)blockDim.x)
        top = fmaxf(top, peaks[(size_t)b * ES_MEL_FRAMES + (size_t)f]);
    top = es_block_max(top, part);
    if (threadIdx.x == 0) out[b] = given && given[b] == given[b] ? given[b] : top;
}

template <class T>
static __global__ void mel_scale(T *y, const float *logs, const float *top, const float *fill, const int32_t *frames,
                                 const int32_t *batches, int B, int M)
{
    int b = (int)blockIdx.y, f = (int)blockIdx.x;

    if (b >= es_live_rows(batches, B)) return;
    float low = top[b] - 8;
    size_t at = ((size_t)b * ES_MEL_FRAMES + (size_t)f) * (size_t)M;
    for (int m = (int)threadIdx.x; m < M; m += (int)blockDim.x) {
        float v = f < frames[b] ? (fmaxf(logs[at + (size_t)m], low) + 4) / 4 : fill[b];
        if (f >= frames[b] && !(v == v)) v = (fmaxf(-10.0f, low) + 4) / 4;
        es_store(y + at + m, v);
    }
}

/* scratch: logs, then peaks, then the tops. */
static float *levels(es_device *d, float *tops, const float *pcm, const int32_t *frames, const float *given,
                     const void *tables, const int32_t *batches, int B, int M, void *scratch)
{
    float *logs = (float *)scratch, *peaks = logs + (size_t)B * ES_MEL_FRAMES * (size_t)M;
    dim3 grid((ES_MEL_FRAMES + FRAMES - 1) / FRAMES, (unsigned)B);

    if (!tops) tops = peaks + (size_t)B * ES_MEL_FRAMES;
    ES_LAUNCH(d, mel_frames, grid, THREADS, 0, logs, peaks, pcm, frames, (const es_mel_tables *)tables, batches, B, M);
    ES_LAUNCH(d, mel_top, (unsigned)B, 256, 0, tops, peaks, frames, given, batches, B);
    return tops;
}

void es_cuda_logmel(es_device *d, es_dtype t, void *y, const float *pcm, const int32_t *frames, const float *top,
                    const float *fill, const void *tables, const int32_t *batches, int B, int M, void *scratch)
{
    const float *tops = levels(d, NULL, pcm, frames, top, tables, batches, B, M, scratch);
    dim3 grid(ES_MEL_FRAMES, (unsigned)B);

    ES_SWITCH_FLOAT(t, T,
                    ES_LAUNCH(d, mel_scale<T>, grid, 128, 0, (T *)y, (const float *)scratch, tops, fill, frames, batches, B, M))
}

void es_cuda_logmel_top(es_device *d, float *max, const float *pcm, const int32_t *frames, const void *tables,
                        const int32_t *batches, int B, int M, void *scratch)
{
    levels(d, max, pcm, frames, NULL, tables, batches, B, M, scratch);
}
