/*
 * kernel_cases_rows.c - ops on rows, the sound front end, and the choice of tokens.
 */
#include "kernel_rig.h"
#include "ref.h"
#include "test.h"

/* ---- rows ---- */

void es_case_embed(es_rig *r)
{
    enum { V = 37, C = 40, P = 9, R = 6, LIVE = 5 };
    const int32_t id[R] = {0, 36, -1, 17, 16, 3}, pos[R] = {0, 8, 1, 2, 3, 4}, rows = LIVE;

    for (int t = 0; t < 9; t++)
        for (int with = 0; with < 2; with++) {
            es_dtype dt = es_rig_floats[t % 3], wt = es_rig_floats[t / 3];
            double *E = es_rig_noise(20, V * C, 1), *p = es_rig_noise(21, P * C, 1), want[LIVE * C];
            es_matrix M = {.dtype = wt, .O = V, .I = C};
            es_rig_begin(r);
            void *host = malloc(V * C * 4), *dE = es_rig_room(r, r->traits->matrix_bytes(wt, V, C));
            ref_store(host, wt, E, V * C);
            ref_fetch(E, host, wt, V * C);
            r->o->matrix_load(r->d, dE, M, host, wt);
            M.p = dE;
            void *dp = es_rig_put(r, p, P * C, ES_F32), *dy = es_rig_room(r, R * C * es_dtype_bytes(dt));
            const int32_t *did = es_rig_put_bytes(r, id, sizeof id), *dpos = es_rig_put_bytes(r, pos, sizeof pos),
                          *drows = es_rig_put_bytes(r, &rows, sizeof rows);
            r->o->embed(r->d, dt, dy, M, with ? dp : NULL, did, dpos, drows, R);
            for (int i = 0; i < LIVE; i++)
                for (int c = 0; c < C; c++) {
                    double x = id[i] < 0 ? 0 : E[id[i] * C + c];
                    if (with && id[i] >= 0) x = (double)((float)x + (float)p[pos[i] * C + c]);
                    want[i * C + c] = ref_round(x, dt);
                }
            double *have = es_rig_get(r, dy, LIVE * C, dt);
            CHECK(!memcmp(have, want, sizeof want), "embed %s into %s, positions %d", es_dtype_name(wt),
                  es_dtype_name(dt), with);
            es_rig_end(r, "embed");
            free(E), free(p), free(host), free(have);
        }
}

void es_case_gather(es_rig *r)
{
    enum { N = 9, C = 33, G = 5 };
    const int32_t idx[G] = {8, 0, -1, 3, 3};

    for (int t = 0; t < 3; t++) {
        double *x = es_rig_noise(22, N * C, 1), want[G * C];
        es_rig_begin(r);
        void *dx = es_rig_put(r, x, N * C, es_rig_floats[t]),
             *dy = es_rig_room(r, G * C * es_dtype_bytes(es_rig_floats[t]));
        const int32_t *didx = es_rig_put_bytes(r, idx, sizeof idx);
        r->o->gather(r->d, es_rig_floats[t], dy, dx, didx, G, C);
        for (int i = 0; i < G * C; i++) want[i] = idx[i / C] < 0 ? 0 : x[idx[i / C] * C + i % C];
        double *have = es_rig_get(r, dy, G * C, es_rig_floats[t]);
        CHECK(!memcmp(have, want, sizeof want), "gather %s", es_dtype_name(es_rig_floats[t]));
        es_rig_end(r, "gather");
        free(x), free(have);
    }
}

/* Every half and brain float there is, and floats around every edge of rounding. */
void es_case_cast(es_rig *r)
{
    enum { N = 65536 };
    uint16_t *half = malloc(N * sizeof *half);
    double *x = malloc(N * sizeof *x);
    es_noise s = {23};

    for (int i = 0; i < N; i++) half[i] = (uint16_t)i;
    for (int t = 1; t < 3; t++) {
        es_rig_begin(r);
        void *dx = es_rig_put_bytes(r, half, N * sizeof *half), *dy = es_rig_room(r, N * sizeof(float));
        r->o->cast(r->d, dy, ES_F32, dx, es_rig_floats[t], N);
        ref_fetch(x, half, es_rig_floats[t], N);
        double *have = es_rig_get(r, dy, N, ES_F32);
        int bad = -1;
        for (int i = 0; i < N; i++)
            if (have[i] != x[i] && !(isnan(have[i]) && isnan(x[i]))) bad = i;
        CHECK(bad < 0, "cast of %s 0x%04X: %.9g, expected %.9g", es_dtype_name(es_rig_floats[t]), (unsigned)bad,
              have[bad], x[bad]);
        es_rig_end(r, "cast to f32");
        free(have);
    }
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < N; i++) {
            double size = ldexp(1 + es_noise_uniform(&s), (int)(es_noise_bits(&s) % 48) - 30);
            if (i % 2)
                size = ref_round(size, es_rig_floats[t]) * (1 + ref_unit(es_rig_floats[t])); /* a tie, or next to one */
            x[i] = (double)(float)(i % 3 ? size : -size);
        }
        x[0] = 0, x[1] = INFINITY, x[2] = -INFINITY, x[3] = 65504, x[4] = 65519.99, x[5] = 65520, x[6] = 0x1p-25;
        x[7] = 0x1.8p-24, x[8] = 0x1.004p-15, x[9] = -0x1p-14, x[10] = 1e38, x[11] = (double)NAN;
        es_rig_begin(r);
        void *dx = es_rig_put(r, x, N, ES_F32), *dy = es_rig_room(r, N * es_dtype_bytes(es_rig_floats[t]));
        r->o->cast(r->d, dy, es_rig_floats[t], dx, ES_F32, N);
        double *have = es_rig_get(r, dy, N, es_rig_floats[t]);
        int bad = -1;
        for (int i = 0; i < N; i++) {
            double want = ref_round(x[i], es_rig_floats[t]);
            if (have[i] != want && !(isnan(have[i]) && isnan(want))) bad = i;
        }
        CHECK(bad < 0, "cast of %.9g to %s: %.9g", x[bad], es_dtype_name(es_rig_floats[t]), have[bad]);
        es_rig_end(r, "cast from f32");
        free(have);
    }
    /* Numbers that are no multiple of what a thread takes, from an address that is one of 16 bytes and from the next value. */
    static const int sizes[] = {1, 7, 8, 9, 2047, 2049};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int t = 0; t < 6; t++) {
            int n = sizes[i], shift = t / 3;
            es_dtype dt = es_rig_floats[t % 3];
            es_rig_begin(r);
            float *dx = es_rig_put(r, x + 12, (size_t)(n + shift), ES_F32);
            void *dy = es_rig_room(r, (size_t)n * es_dtype_bytes(dt));
            r->o->cast(r->d, dy, dt, dx + shift, ES_F32, (size_t)n);
            double *have = es_rig_get(r, dy, (size_t)n, dt);
            for (int k = 0; k < n; k++) {
                double want = ref_round(x[12 + shift + k], dt);
                CHECK(have[k] == want, "cast of %d to %s: %.9g at %d, expected %.9g", n, es_dtype_name(dt), have[k], k, want);
            }
            es_rig_end(r, "cast of some");
            free(have);
        }
    free(half), free(x);
}

/* ---- sound ---- */

void es_case_logmel(es_rig *r)
{
    enum { B = 2, N = 480400 };
    static const int pick[] = {0, 1, 7, 8, 100, 1499, 1500, 2990, 2999};
    /* The CPU transforms in double; a card in f32, which shows in bins far below a loud neighbour. */
    const double bound = es_device_backend(r->d) == ES_CPU ? 1e-5 : 5e-5;
    float *pcm = malloc(B * N * sizeof *pcm);
    es_noise s = {24};

    if (es_rig_too_much(r, 3000.0 * 80 * 400)) {
        free(pcm);
        return;
    }
    for (int i = 0; i < B * N; i++)
        pcm[i] = (float)(0.3 * sin(i * 0.05) * sin(i * 0.0003) + 0.01 * (es_noise_uniform(&s) - 0.5));
    for (int M = 80; M <= 128; M += 48) {
        /* One window of a whole file with a known maximum and a literal fill; one on its own, shorter than it could be.
         */
        int32_t frames[B] = {1501, 2995};
        float top[B] = {1.25f, NAN}, fill[B] = {0, NAN}, max[B];
        size_t row = (size_t)M, n = B * ES_MEL_FRAMES * row, bytes = r->traits->mel_tables_bytes(M);
        void *tables = malloc(bytes);
        double want[128];
        es_rig_begin(r);
        r->traits->mel_tables_fill(tables, M);
        const void *dt = es_rig_put_bytes(r, tables, bytes);
        const float *dp = es_rig_put_bytes(r, pcm, B * N * sizeof *pcm), *dtop = es_rig_put_bytes(r, top, sizeof top),
                    *dfill = es_rig_put_bytes(r, fill, sizeof fill);
        const int32_t *df = es_rig_put_bytes(r, frames, sizeof frames);
        float *dmax = es_rig_room(r, sizeof max), *dy = es_rig_room(r, n * sizeof *dy);
        void *scratch = es_rig_room(r, r->traits->logmel_scratch(B, M));
        r->o->logmel_top(r->d, dmax, dp, df, dt, NULL, B, M, scratch);
        r->o->logmel(r->d, ES_F32, dy, dp, df, dtop, dfill, dt, NULL, B, M, scratch);
        es_rig_get_bytes(r, max, dmax, sizeof max);
        double *have = es_rig_get(r, dy, n, ES_F32), low = ((double)max[1] - 8 + 4) / 4, seen = -INFINITY;
        for (int b = 0; b < B; b++)
            for (size_t i = 0; i < sizeof pick / sizeof *pick; i++) {
                double floor = (b == 0 ? (double)top[0] : (double)max[1]) - 8;
                const double *y = have + ((size_t)b * ES_MEL_FRAMES + (size_t)pick[i]) * row;
                ref_logmel_frame(want, pcm + b * N + pick[i] * ES_MEL_HOP, M);
                for (int m = 0; m < M; m++) {
                    double w = pick[i] >= frames[b] ? (b == 0 ? 0 : low) : (fmax(want[m], floor) + 4) / 4;
                    if (!(fabs(y[m] - w) <= bound))
                        es_test_fail(__FILE__, __LINE__, "logmel %d window %d frame %d bin %d: %.7f, expected %.7f", M,
                                     b, pick[i], m, y[m], w);
                    if (pick[i] < frames[b] && b == 1) seen = fmax(seen, want[m]);
                }
            }
        CHECK((double)max[1] >= seen - 1e-5, "logmel_top %.7f is below a frame's %.7f", (double)max[1], seen);
        double largest = -INFINITY;
        for (size_t i = ES_MEL_FRAMES * row; i < n; i++) largest = fmax(largest, have[i]);
        CHECK(fabs(largest * 4 - 4 - (double)max[1]) < 1e-5, "logmel_top %.7f, but the window reaches %.7f",
              (double)max[1], largest * 4 - 4);
        es_rig_end(r, "logmel");
        free(have), free(tables);
    }
    free(pcm);
}

/* ---- decoding ---- */

void es_case_pick(es_rig *r)
{
    enum { V = 2051, B = 6, ROUNDS = 120, MAX_POS = 40 };
    const es_pick_vocab v = {.V = V,
                             .eot = 500,
                             .sot = 501,
                             .lang_begin = 502,
                             .n_lang = 20,
                             .no_speech = 530,
                             .no_timestamps = 531,
                             .timestamp_begin = 532,
                             .blank = 22,
                             .max_pos = MAX_POS};
    uint32_t suppress[(V + 31) / 32] = {0};
    es_pick_slot slots[B], want[B];
    float *logits = malloc(B * V * sizeof *logits), *sot = malloc(B * V * sizeof *sot);
    double *row = malloc(V * sizeof *row), *sot_row = malloc(V * sizeof *sot_row);
    int32_t tokens[B * MAX_POS], next[4][B];
    es_noise s = {25};
    int near = 0, chosen = 0, kept_on = 0, banned[4];

    for (int i = 0; i < 40; i++) {
        uint32_t id = (uint32_t)(es_noise_bits(&s) % 500);
        suppress[id / 32] |= 1u << (id % 32);
        banned[i % 4] = (int)id;
    }
    suppress[501 / 32] |= 1u << (501 % 32);
    for (int round = 0; round < ROUNDS; round++) {
        /* Slots start afresh every so often: greedy, sampled, with and without timestamps, one for languages, one idle.
         */
        for (int b = 0; b < B && round % 15 == 0; b++) {
            slots[b] = (es_pick_slot){.mode = b == 4   ? ES_PICK_LANG
                                              : b == 5 ? ES_PICK_IDLE
                                                       : ES_PICK_TEXT,
                                      .n_max = 8 + round / 15 * 4,
                                      .last = -1,
                                      .last2 = -1,
                                      .last_time = -1,
                                      .timestamps = b != 1,
                                      .max_initial = b == 2 ? -1 : 50,
                                      .least_end = b == 0 && round % 30 ? 1400 : 0,
                                      .temperature = b >= 2 ? 0.2f * (float)b : 0,
                                      .pos = b == 3 ? MAX_POS - 5 : 4,
                                      .key = {1u + (uint32_t)round, (uint32_t)b, 3, 4}};
            for (int j = 0; j < 4; j++) next[j][b] = -7;
        }
        for (int i = 0; i < B * V; i++) {
            logits[i] = (float)(es_noise_normal(&s) * 3);
            sot[i] = (float)(es_noise_normal(&s) * 3);
            /* Text, timestamps and the end take turns at being likely. */
            if (i % V >= v.timestamp_begin) logits[i] -= (float)(round % 4) * 3;
        }
        if (round % 5 == 4)
            for (int b = 0; b < B; b++) logits[b * V + v.eot] += 12;
        /* What the rules forbid is what the model would like best: the edges of each rule in turn. */
        for (int b = 0; b < B && round % 2; b++) {
            const int time = slots[b].last_time >= 0 ? slots[b].last_time : v.timestamp_begin;
            const int tempting[] = {
                time,      time - 1,          time + 1, v.no_timestamps,        v.blank, v.eot,
                banned[2], v.timestamp_begin, V - 1,    v.timestamp_begin + 50, 7,       v.timestamp_begin + 51};
            logits[b * V + tempting[(round / 2 + b) % 12]] += 20;
            bool pair = slots[b].n >= 2 && slots[b].last >= v.timestamp_begin && slots[b].last2 >= v.timestamp_begin;
            if (pair && slots[b].mode == ES_PICK_TEXT) {
                logits[b * V + v.eot] += 40;
                if (slots[b].last - v.timestamp_begin < slots[b].least_end) kept_on++;
            }
        }
        memcpy(want, slots, sizeof want);
        memset(tokens, 0, sizeof tokens);
        es_rig_begin(r);
        es_pick_slot *ds = es_rig_put_bytes(r, slots, sizeof slots);
        const float *dl = es_rig_put_bytes(r, logits, B * V * sizeof *logits),
                    *dsot = es_rig_put_bytes(r, sot, B * V * sizeof *sot);
        const uint32_t *dm = es_rig_put_bytes(r, suppress, sizeof suppress);
        int32_t *dt = es_rig_put_bytes(r, tokens, sizeof tokens), *dn[4];
        for (int j = 0; j < 4; j++) dn[j] = es_rig_put_bytes(r, next[j], sizeof next[j]);
        r->o->pick(r->d, ds, dl, round % 2 ? NULL : dsot, dm, v, dt, dn[0], dn[1], dn[2], dn[3], B);
        es_device_get(r->d, slots, ds, sizeof slots);
        es_rig_get_bytes(r, tokens, dt, sizeof tokens);
        for (int j = 0; j < 4; j++) es_rig_get_bytes(r, next[j], dn[j], sizeof next[j]);
        for (int b = 0; b < B; b++) {
            es_pick_slot *w = &want[b], *h = &slots[b];
            int at = w->n, pos = w->pos;
            double margin;
            if (w->mode == ES_PICK_IDLE) {
                CHECK(!memcmp(w, h, sizeof *w), "pick: an idle slot changed");
                continue;
            }
            for (int i = 0; i < V; i++) row[i] = (double)logits[b * V + i], sot_row[i] = (double)sot[b * V + i];
            int token = ref_pick(w, row, round % 2 ? NULL : sot_row, suppress, v, &margin);
            chosen++;
            if (margin < 1e-4) { /* the arithmetic of the backends may break this one either way */
                near++;
                continue;
            }
            CHECK(h->n == at + 1 && tokens[b * MAX_POS + at] == token, "pick round %d slot %d: token %d, expected %d",
                  round, b, tokens[b * MAX_POS + at], token);
            CHECK(h->mode == w->mode && h->ended == w->ended && h->pos == w->pos,
                  "pick round %d slot %d: mode %d ended %d pos %d, expected %d %d %d", round, b, h->mode, h->ended,
                  h->pos, w->mode, w->ended, w->pos);
            CHECK(h->last == w->last && h->last2 == w->last2 && h->last_time == w->last_time,
                  "pick round %d slot %d: last %d %d, time %d, expected %d %d %d", round, b, h->last, h->last2,
                  h->last_time, w->last, w->last2, w->last_time);
            CHECK(fabsf(h->sum_logprob - w->sum_logprob) <= 2e-5f * (1 + fabsf(w->sum_logprob)),
                  "pick round %d slot %d: log-probability %.7f, expected %.7f", round, b, (double)h->sum_logprob,
                  (double)w->sum_logprob);
            CHECK(fabsf(h->no_speech - w->no_speech) <= 1e-5f * w->no_speech + 1e-12f,
                  "pick slot %d: no speech %.9g, expected %.9g", b, (double)h->no_speech, (double)w->no_speech);
            CHECK(fabsf(h->lang_prob - w->lang_prob) <= 1e-5f, "pick slot %d: language %.7f, expected %.7f", b,
                  (double)h->lang_prob, (double)w->lang_prob);
            bool over = w->ended != 0;
            CHECK(next[0][b] == (over ? -1 : token) && next[1][b] == (over ? 0 : pos) &&
                      next[2][b] == (over ? -1 : b) && next[3][b] == (over ? 0 : pos + 1),
                  "pick slot %d: next inputs %d %d %d %d", b, next[0][b], next[1][b], next[2][b], next[3][b]);
        }
        es_rig_end(r, "pick");
    }
    CHECK(kept_on > 0, "no text wanted to end too early");
    CHECK(near * 20 < chosen, "%d of %d choices were near ties", near, chosen);
    free(logits), free(sot), free(row), free(sot_row);
}

void es_case_prob_at(es_rig *r)
{
    enum { R = 4, LIVE = 3, V = 3001, N = 2800 };
    const int32_t id[R] = {0, -1, 2799, 5}, rows = LIVE;
    double *l = es_rig_noise(26, R * V, 4), p[R] = {0};
    float p4[R] = {0};

    es_rig_begin(r);
    for (int i = 0; i < LIVE; i++) l[i * V + N] = 1e6; /* past n: must not count */
    void *dl = es_rig_put(r, l, R * V, ES_F32), *dp = es_rig_room(r, R * sizeof(float));
    const int32_t *did = es_rig_put_bytes(r, id, sizeof id), *drows = es_rig_put_bytes(r, &rows, sizeof rows);
    r->o->prob_at(r->d, dp, dl, did, drows, R, V, N);
    float *l4 = es_rig_narrow(l, R * V);
    ref64_prob_at(p, l, id, LIVE, V, N);
    ref32_prob_at(p4, l4, id, LIVE, V, N);
    for (int i = 0; i < LIVE; i += 2) {
        double *have = es_rig_get(r, (float *)dp + i, 1, ES_F32);
        es_rig_compare("prob_at", have, p + i, p4 + i, 1, ES_F32);
        free(have);
    }
    es_rig_end(r, "prob_at");
    free(l), free(l4);
}
