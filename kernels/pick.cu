/*
 * pick.cu - choosing the next token on the device, and word probabilities.
 *
 * A block per slot; the rules of pick.c, in the same order, settled first as bounds by every thread for itself. Three passes
 * over the row of logits, which is in the second-level cache after the first: the largest text and timestamp logit with
 * their lowest ids, the sums of exponentials below each, and, at a temperature, Gumbel's arg-max with Philox. Sums join in
 * one fixed order. The draw is in double as on the CPU, so that it takes the same tokens. Thread 0 writes the slot: a step
 * moves a few bytes to the host, and the logits never.
 */
#include "kernels/cuda.cuh"
#include "kernels/reduce.cuh"

enum { THREADS = 512 };

/* Which ids a slot may take; see pick.c. */
struct es_rules {
    int first_token, goes_on, no_timestamps, lowest, time_low, time_high;
};

static __device__ es_rules rules_of(const es_pick_slot &s, const es_pick_vocab &v)
{
    es_rules r = {s.n == 0, 0, 0, 0, v.timestamp_begin, v.V - 1};

    if (!s.timestamps) {
        r.time_high = v.timestamp_begin - 1;
        return r;
    }
    bool last_time = s.n >= 1 && s.last >= v.timestamp_begin, before_time = s.n < 2 || s.last2 >= v.timestamp_begin;
    r.no_timestamps = 1;
    if (last_time && before_time) r.time_high = v.timestamp_begin - 1;
    else if (last_time) r.lowest = v.eot;
    r.goes_on = s.n >= 2 && last_time && before_time && s.last < v.timestamp_begin + s.least_end;
    if (s.last_time >= 0) r.time_low = last_time && !before_time ? s.last_time : s.last_time + 1;
    if (s.n == 0) {
        r.lowest = v.timestamp_begin;
        if (s.max_initial >= 0) r.time_high = min(r.time_high, v.timestamp_begin + s.max_initial);
    }
    return r;
}

static __device__ __forceinline__ bool allowed(int i, const es_rules &r, const es_pick_vocab &v, const uint32_t *suppress)
{
    if (suppress[i / 32] >> (i % 32) & 1u) return false;
    if (r.first_token && (i == v.blank || i == v.eot)) return false;
    if (r.goes_on && i == v.eot) return false;
    if (r.no_timestamps && i == v.no_timestamps) return false;
    if (i < r.lowest) return false;
    return i < v.timestamp_begin || (i >= r.time_low && i <= r.time_high);
}

/* The largest value of the block and its lowest id. */
template <class V> static __device__ void block_best(V *value, int *at, double *values, int *ids)
{
    int me = (int)threadIdx.x;

    ES_SYNC();
    values[me] = *value;
    ids[me] = *at;
    ES_SYNC();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (me < step) {
            double o = values[me + step];
            int oi = ids[me + step];
            if (o > values[me] || (o == values[me] && oi < ids[me])) values[me] = o, ids[me] = oi;
        }
        ES_SYNC();
    }
    *value = (V)values[0];
    *at = ids[0];
}

/* log of the sum of exponentials of ids first .. end-1 that may be taken (all of them without rules); -inf for none. */
static __device__ float block_log_sum(const float *logits, int first, int end, float top, const es_rules *r,
                                      const es_pick_vocab &v, const uint32_t *suppress, float *part)
{
    float s = 0;

    for (int i = first + (int)threadIdx.x; i < end; i += THREADS) {
        if (!r || allowed(i, *r, v, suppress)) s += expf(logits[i] - top);
    }
    s = es_block_sum(s, part);
    return s > 0 ? top + logf(s) : -INFINITY;
}

static __device__ float block_top(const float *logits, int first, int end, int *at, double *values, int *ids)
{
    float top = -INFINITY;

    *at = end;
    for (int i = first + (int)threadIdx.x; i < end; i += THREADS) {
        if (logits[i] > top) top = logits[i], *at = i;
    }
    block_best(&top, at, values, ids);
    return top;
}

static __device__ void philox(uint32_t *c, uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint32_t a_hi = __umulhi(0xD2511F53u, c[0]), a = 0xD2511F53u * c[0];
        uint32_t b_hi = __umulhi(0xCD9E8D57u, c[2]), b = 0xCD9E8D57u * c[2];
        uint32_t x = b_hi ^ c[1] ^ k0, z = a_hi ^ c[3] ^ k1;
        c[1] = b, c[3] = a, c[0] = x, c[2] = z;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

static __global__ void pick_slots(es_pick_slot *slots, const float *logits_all, const float *sot_all, const uint32_t *suppress,
                                  es_pick_vocab v, int32_t *tokens, int32_t *id, int32_t *pos, int32_t *slot, int32_t *len)
{
    ES_SHARED(double, values, THREADS);
    ES_SHARED(int, ids, THREADS);
    ES_SHARED(float, part, 32);
    int b = (int)blockIdx.x, token;
    es_pick_slot s = slots[b];
    const float *logits = logits_all + (size_t)b * (size_t)v.V;

    if (s.mode == ES_PICK_IDLE) return;
    if (s.n == 0 && sot_all) {
        const float *row = sot_all + (size_t)b * (size_t)v.V;
        int at;
        float top = block_top(row, 0, v.V, &at, values, ids);
        s.no_speech = expf(row[v.no_speech] - block_log_sum(row, 0, v.V, top, NULL, v, suppress, part));
    }
    if (s.mode == ES_PICK_LANG) {
        float top = block_top(logits, v.lang_begin, v.lang_begin + v.n_lang, &token, values, ids);
        s.lang_prob = expf(top - block_log_sum(logits, v.lang_begin, v.lang_begin + v.n_lang, top, NULL, v, suppress, part));
        s.ended = 1;
    } else {
        es_rules r = rules_of(s, v);
        float best[2] = {-INFINITY, -INFINITY}; /* text, timestamps */
        int at[2] = {v.V, v.V};
        for (int i = (int)threadIdx.x; i < v.V; i += THREADS) {
            int kind = i >= v.timestamp_begin;
            float l = logits[i];
            if (l > best[kind] && allowed(i, r, v, suppress)) best[kind] = l, at[kind] = i;
        }
        block_best(&best[0], &at[0], values, ids);
        block_best(&best[1], &at[1], values, ids);
        float time = best[1] == -INFINITY
                         ? -INFINITY
                         : block_log_sum(logits, v.timestamp_begin, v.V, best[1], &r, v, suppress, part);
        float text;
        if (s.timestamps && time > best[0]) {
            r.lowest = max(r.lowest, v.timestamp_begin);
            best[0] = -INFINITY, at[0] = v.V;
        }
        text = best[0] == -INFINITY ? -INFINITY
                                    : block_log_sum(logits, 0, v.timestamp_begin, best[0], &r, v, suppress, part);
        token = best[1] > best[0] ? at[1] : at[0];
        if (token >= v.V) token = v.eot; /* nothing may be taken, or the logits are not numbers */
        if (s.temperature > 0) {
            double score = -(double)INFINITY;
            int drawn = v.V;
            for (int q = (int)threadIdx.x; q * 4 < v.V; q += THREADS) {
                uint32_t c[4] = {(uint32_t)s.n, (uint32_t)q, s.key[2], s.key[3]};
                philox(c, s.key[0], s.key[1]);
                for (int j = 0; j < 4 && q * 4 + j < v.V; j++) {
                    int i = q * 4 + j;
                    if (!allowed(i, r, v, suppress)) continue;
                    double u = ((double)(c[j] >> 9) + 0.5) * 0x1p-23;
                    double g = (double)logits[i] / (double)s.temperature - log(-log(u));
                    if (g > score) score = g, drawn = i;
                }
            }
            block_best(&score, &drawn, values, ids);
            if (drawn < v.V) token = drawn;
        }
        float hi = fmaxf(text, time), lo = fminf(text, time);
        float all = hi == -INFINITY ? 0 : hi + log1pf(expf(lo - hi));
        s.sum_logprob += logits[token] - all;
        s.ended = token == v.eot ? 1 : s.n + 1 >= s.n_max || s.pos >= v.max_pos ? 2 : 0;
    }
    if (threadIdx.x != 0) return;
    if (s.n < v.max_pos) tokens[(size_t)b * (size_t)v.max_pos + (size_t)s.n] = token;
    s.n++;
    s.last2 = s.last;
    s.last = token;
    if (token >= v.timestamp_begin) s.last_time = token;
    id[b] = s.ended ? -1 : token;
    pos[b] = s.ended ? 0 : s.pos;
    slot[b] = s.ended ? -1 : b;
    len[b] = s.ended ? 0 : s.pos + 1;
    s.pos++;
    if (s.ended) s.mode = ES_PICK_IDLE;
    slots[b] = s;
}

static __global__ void prob_rows(float *p, const float *logits, const int32_t *id, const int32_t *rows, int planned, int V, int n)
{
    ES_SHARED(double, values, THREADS);
    ES_SHARED(int, ids, THREADS);
    ES_SHARED(float, part, 32);
    int r = (int)blockIdx.x, at;
    es_pick_vocab none = {};

    if (r >= es_live_rows(rows, planned) || id[r] < 0) return;
    const float *row = logits + (size_t)r * (size_t)V;
    float top = block_top(row, 0, n, &at, values, ids);
    float all = block_log_sum(row, 0, n, top, NULL, none, NULL, part);
    if (threadIdx.x == 0) p[r] = expf(row[id[r]] - all);
}

void es_cuda_pick(es_device *d, es_pick_slot *slots, const float *logits, const float *sot_logits, const uint32_t *suppress,
                  es_pick_vocab vocab, int32_t *tokens, int32_t *id, int32_t *pos, int32_t *slot, int32_t *len, int B)
{
    ES_LAUNCH(d, pick_slots, (unsigned)B, THREADS, 0, slots, logits, sot_logits, suppress, vocab, tokens, id, pos, slot, len);
}

void es_cuda_prob_at(es_device *d, float *p, const float *logits, const int32_t *id, const int32_t *rows, int R, int V, int n)
{
    ES_LAUNCH(d, prob_rows, (unsigned)R, THREADS, 0, p, logits, id, rows, R, V, n);
}
