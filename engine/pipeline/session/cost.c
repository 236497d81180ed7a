/*
 * cost.c - operations and bytes of each architecture, and what an hour of speech asks of it.
 *
 * An hour of speech is 130 windows of 30 s that are not all full, 100 tokens in each, 3600 windows of segmentation at a
 * second's distance, 16 000 tokens of text. The diarizer's frames depend on its kind: ResNet34 hears the ten seconds of
 * each of those windows, CAM++ pieces of 1.5 s that overlap by more than half. ECAPA only hears some sentences of each
 * speaker.
 */
#include "pipeline/session/cost.h"

#include <unistd.h>

enum { WINDOWS = 130, TOKENS = 100, SEGMENTS = 3600, TEXT_TOKENS = 16000, ROWS = 1500, SEGMENT_ROWS = 589 };

typedef struct machine {
    double flops, flops_f32; /* products of 16-bit and of 32-bit numbers, a second */
    double bytes;            /* a second */
    double launch;           /* seconds of an op that does nothing */
    double half;             /* rows */
    double value_bytes;      /* of an activation */
} machine;

/* A card of 16 GB of the current generation; a core with 512-bit vectors. */
static machine machine_of(es_backend backend, int threads)
{
    long cores = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);
    double n = cores < 1 ? 1 : (double)cores;

    if (backend == ES_CUDA) return (machine){90e12, 30e12, 800e9, 3e-6, 1000, 2};
    return (machine){60e9 * n, 60e9 * n, n < 4 ? 6e9 * n : 24e9, 2e-6, 8, 4};
}

static double step_seconds(const machine *k, double ops, double bytes, double flops, double peak, double rows)
{
    double moving = bytes / k->bytes, counting = flops / (peak * rows / (rows + k->half));

    return ops * k->launch + (moving > counting ? moving : counting);
}

/* ---- one step of each ---- */

static double encode(const es_whisper_dims *d, const machine *k, double n)
{
    double C = d->d_model, L = d->encoder_layers, Ld = d->decoder_layers, M = d->n_mels;
    double weights = L * 12 * C * C + Ld * 2 * C * C + 3 * C * (C + M);
    double flops = 2 * ROWS * weights + 2 * ROWS * 3 * M * C + 4 * (double)ROWS * ROWS * C * L;

    return step_seconds(k, 7 * L + 2 * Ld + 4, 2 * weights + n * L * 20 * ROWS * C * k->value_bytes, n * flops, k->flops, n * ROWS);
}

static double decode(const es_whisper_dims *d, const machine *k, double n)
{
    double C = d->d_model, L = d->decoder_layers, weights = L * 14 * C * C + (double)d->vocab * C;
    double kept = L * 2 * C * (ROWS + TOKENS) * k->value_bytes; /* keys and values of a slot, all read for each token */

    return step_seconds(k, 12 * L + 6, 2 * weights + n * kept, n * 2 * weights, k->flops, n);
}

static double segment(const machine *k, double n)
{
    /* The recurrence goes frame by frame through four layers, however many windows there are beside each other. */
    double serial = k->half > 100 ? 4 * SEGMENT_ROWS * 2e-6 : 0;

    return serial + step_seconds(k, 24, n * 60e6, n * 2.6e9, k->flops_f32, n * SEGMENT_ROWS);
}

static double speaker(const machine *k, double flops_a_frame, double ops, double n)
{
    return step_seconds(k, ops, n * flops_a_frame / 200, n * flops_a_frame, k->flops_f32, n);
}

static double embed(const es_embedder_dims *d, const machine *k, double n)
{
    double w = d->d_model, heads = (double)(d->heads + 2 * d->kv_heads) * d->head_dim;
    double weights = d->layers * (w * heads + (double)d->heads * d->head_dim * w + (d->qwen2 ? 3 : 2) * w * d->mlp);

    return step_seconds(k, 11.0 * d->layers, 2 * weights, n * 2 * weights, k->flops, n);
}

/* ---- an hour ---- */

const char *es_cost_unit(const es_lineup_model *m, bool slots)
{
    switch (m->kind) {
    case ES_LINEUP_WHISPER: return slots ? "slots" : "windows";
    case ES_LINEUP_PYANNET: return "windows";
    case ES_LINEUP_SPEAKER: return "frames";
    case ES_LINEUP_EMBEDDER: return "tokens";
    }
    return "";
}

/* Windows, tokens of slots, frames ... that an hour asks for. */
static double work(const es_lineup_model *m, bool slots)
{
    switch (m->kind) {
    case ES_LINEUP_WHISPER: return slots ? WINDOWS * TOKENS : WINDOWS;
    case ES_LINEUP_PYANNET: return SEGMENTS;
    case ES_LINEUP_SPEAKER:
        switch (m->speaker_dims.kind) {
        case ES_SPEAKER_CAMPPLUS: return 900e3;
        case ES_SPEAKER_RESNET34: return 3600e3;
        case ES_SPEAKER_ECAPA: return 60e3;
        }
        return 0;
    case ES_LINEUP_EMBEDDER: return TEXT_TOKENS;
    }
    return 0;
}

static double estimate(const es_lineup_model *m, const machine *k, bool slots, double n)
{
    switch (m->kind) {
    case ES_LINEUP_WHISPER: return slots ? decode(&m->whisper_dims, k, n) : encode(&m->whisper_dims, k, n);
    case ES_LINEUP_PYANNET: return segment(k, n);
    case ES_LINEUP_SPEAKER:
        switch (m->speaker_dims.kind) {
        case ES_SPEAKER_CAMPPLUS: return speaker(k, 9e6, 390, n);
        case ES_SPEAKER_RESNET34: return speaker(k, 46e6, 60, n);
        case ES_SPEAKER_ECAPA: return speaker(k, 29e6, 120, n);
        }
        return 0;
    case ES_LINEUP_EMBEDDER: return embed(&m->embedder_dims, k, n);
    }
    return 0;
}

double es_cost_hour(const es_lineup_model *m, es_backend backend, int threads, const es_costs *costs, bool slots, int n)
{
    machine k = machine_of(backend, threads);
    double measured = es_costs_step(costs, m->name, es_cost_unit(m, slots), n);

    return work(m, slots) / n * (measured > 0 ? measured : estimate(m, &k, slots, n));
}
