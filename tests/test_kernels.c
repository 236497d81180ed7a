/*
 * test_kernels.c - the CPU's op table against ref.c, on every instruction set of the machine; equal bits across them
 * and across numbers of threads; the front end against published vectors; the pool and the device.
 */
#define _GNU_SOURCE
#include "kernel_cases.h"
#include "kernels/mel_tables.h"
#include "kernels/pool.h"
#include "ref.h"
#include "test.h"

#include <time.h>

enum { ARENA = 64 << 20 };

static const char *const sets[] = {"portable", "avx2", "avx512"};

static es_device *open_cpu(const char *set, int threads)
{
    es_device *d;
    es_fault why;

    return es_device_open(&d, ES_CPU, 0, threads, set, &why) ? NULL : d;
}

/* ---- every op against the definition, and the same bits everywhere ---- */

static void everywhere(int i)
{
    static const struct {
        int set, threads;
    } machines[] = {{0, 3}, {1, 1}, {2, 1}, {2, 2}};
    uint64_t hash = 0;
    bool first = true;

    for (int m = 0; m < 4; m++) {
        const char *set = sets[machines[m].set];
        es_device *d = open_cpu(set, machines[m].threads);
        es_rig r;
        if (!d) continue; /* the machine lacks it; test_chains says so */
        if (es_rig_open(&r, d, machines[m].threads, ARENA) == 0) {
            es_kernel_case_run(&r, i);
            CHECK(first || r.hash == hash, "other bits on %s with %d threads", set, machines[m].threads);
            hash = r.hash;
            first = false;
        }
        es_device_close(d);
    }
}

#define CASES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) \
    X(19) X(20) X(21) X(22) X(23)
#define CASE(i)                                                                                                        \
    static void case_##i(void)                                                                                         \
    {                                                                                                                  \
        everywhere(i);                                                                                                 \
    }
CASES(CASE)

/* A product is one chain of fused multiply-adds, whatever the form: compared with that chain itself. */
static void test_chains(void)
{
    enum { I = 1030, O = 83, MOST = 103 };
    static const int counts[] = {1, 2, 7, 8, 64, MOST};
    static const es_dtype types[] = {ES_F32, ES_F16, ES_BF16};
    es_noise s = {31};
    float *x = malloc(MOST * I * sizeof *x), *w = malloc(O * I * sizeof *w), *y = malloc(MOST * O * sizeof *y), b[O],
          *want = malloc(MOST * O * sizeof *want);
    double *exact = malloc(O * I * sizeof *exact);
    void *stored = malloc(O * I * 4);

    es_noise_fill(&s, x, MOST * I, 1);
    es_noise_fill(&s, b, O, 1);
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < O * I; i++) exact[i] = ref_round(es_noise_normal(&s), types[t]);
        ref_store(stored, types[t], exact, O * I);
        for (int i = 0; i < O * I; i++) w[i] = (float)exact[i];
        for (int r = 0; r < MOST; r++)
            for (int o = 0; o < O; o++) {
                float sum = 0;
                for (int i = 0; i < I; i++) sum = fmaf(x[r * I + i], w[o * I + i], sum);
                want[r * O + o] = sum + b[o];
            }
        for (int set = 0; set < 3; set++)
            for (int threads = 1; threads <= 3; threads++) {
                es_device *d = open_cpu(sets[set], threads);
                es_rig r;
                if (!d) continue;
                if (es_rig_open(&r, d, threads, ARENA)) {
                    es_device_close(d);
                    return;
                }
                char *base = r.arena + r.start, *dx = base, *dy = dx + MOST * I * 4, *db = dy + MOST * O * 4 + 64,
                     *dw = db + 4096;
                es_matrix W = {.p = dw, .dtype = types[t], .O = O, .I = I};
                r.o->matrix_load(d, dw, W, stored, types[t]);
                es_device_put(d, dx, x, MOST * I * 4);
                es_device_put(d, db, b, sizeof b);
                for (int c = 0; c < 6; c++) {
                    size_t n = (size_t)counts[c] * O;
                    r.o->linear(d, dy, ES_F32, dx, ES_F32, W, (float *)(void *)db, NULL, counts[c], ES_ACT_NONE, false);
                    es_device_get(d, y, dy, n * sizeof *y);
                    CHECK(!memcmp(y, want, n * sizeof *y), "%d rows of %s on %s, %d threads: not the chain's bits",
                          counts[c], es_dtype_name(types[t]), sets[set], threads);
                }
                es_device_close(d);
            }
    }
    free(x), free(w), free(y), free(want), free(exact), free(stored);
}

/* A row's result does not depend on how many rows there are, nor a sequence's on its neighbours. */
static void test_alone_or_together(void)
{
    enum { H = 2, D = 64, N = 700, C = H * D, ROW = 3 * C };
    es_device *d = open_cpu(NULL, 2);
    es_rig r;
    es_noise s = {32};
    float *x = malloc(N * ROW * sizeof *x), *all = malloc(N * C * sizeof *all), *one = malloc(N * C * sizeof *one);

    es_noise_fill(&s, x, N * ROW, 1);
    if (es_rig_open(&r, d, 2, ARENA) == 0) {
        char *base = r.arena + r.start, *dx = base, *dy = dx + N * ROW * 4, *db = dy + N * C * 4;
        const int32_t three[] = {0, 30, 650, N}, alone[] = {0, 620};
        for (int mask = 0; mask < 2; mask++) {
            es_device_put(d, dx, x, N * ROW * 4);
            es_device_put(d, db, three, sizeof three);
            r.o->attend(d, ES_F32, dy, dx, ROW, dx + C * 4, ROW, dx + 2 * C * 4, ROW, (int32_t *)(void *)db, 3, N, 620,
                        H, H, D, 0.125f, mask ? ES_MASK_CAUSAL : ES_MASK_NONE);
            es_device_get(d, all, dy, N * C * 4);
            es_device_put(d, dx, x + 30 * ROW, 620 * ROW * 4);
            es_device_put(d, db, alone, sizeof alone);
            r.o->attend(d, ES_F32, dy, dx, ROW, dx + C * 4, ROW, dx + 2 * C * 4, ROW, (int32_t *)(void *)db, 1, 620,
                        620, H, H, D, 0.125f, mask ? ES_MASK_CAUSAL : ES_MASK_NONE);
            es_device_get(d, one, dy, 620 * C * 4);
            CHECK(!memcmp(one, all + 30 * C, 620 * C * 4), "a sequence differs beside others, mask %d", mask);
        }
    }
    es_device_close(d);
    free(x), free(all), free(one);
}

/* ---- functions of one value ---- */

static void test_activations(void)
{
    enum { N = 40001 };
    es_device *d = open_cpu(NULL, 1);
    es_rig r;
    float *y = malloc(N * sizeof *y), *x = malloc(N * sizeof *x);
    static const struct {
        es_act act;
        double absolute, relative; /* measured, with a little room */
    } bounds[] = {{ES_ACT_GELU, 2.5e-7, 2e-7},
                  {ES_ACT_TANH, 0, 2.5e-7},
                  {ES_ACT_SIGMOID, 1e-45, 2.5e-7},
                  {ES_ACT_SILU, 1e-43, 3e-7}};

    if (es_rig_open(&r, d, 1, ARENA) == 0) {
        char *dx = r.arena + r.start, *dy = dx + N * 4, *dw = dy + N * 4;
        float one = 1;
        es_matrix W = {.p = dw, .dtype = ES_F32, .O = 1, .I = 1};
        r.o->matrix_load(d, dw, W, &one, ES_F32);
        for (int i = 0; i < N; i++) x[i] = (float)((i - N / 2) * 0.0025 + 1e-4 * (i % 7));
        es_device_put(d, dx, x, N * 4);
        for (int a = 0; a < 4; a++) {
            r.o->linear(d, dy, ES_F32, dx, ES_F32, W, NULL, NULL, N, bounds[a].act, false);
            es_device_get(d, y, dy, N * 4);
            int bad = 0;
            double worst = 0;
            for (int i = 0; i < N; i++) {
                double v = (double)x[i], want = bounds[a].act == ES_ACT_GELU      ? 0.5 * v * erfc(-v * sqrt(0.5))
                                                : bounds[a].act == ES_ACT_TANH    ? tanh(v)
                                                : bounds[a].act == ES_ACT_SIGMOID ? 1 / (1 + exp(-v))
                                                                                  : v / (1 + exp(-v));
                double over = fabs((double)y[i] - want) - bounds[a].absolute - bounds[a].relative * fabs(want);
                if (over > worst || isnan(over)) worst = over, bad = i;
            }
            CHECK(worst <= 0, "activation %d at %.7g: %.9g, over its bound by %.3g", bounds[a].act, (double)x[bad],
                  (double)y[bad], worst);
        }
    }
    es_device_close(d);
    free(x), free(y);
}

/* ---- the front end against published numbers ---- */

typedef struct vector {
    int M;
    int signal;
    double max, min, mean, at0, at50, at100, last;
} vector;

static double signal_at(int kind, int n)
{
    const double pi = acos(-1), s = n / 16000.0;

    switch (kind) {
    case 0: return 0;
    case 1: return 0.5 * sin(2 * pi * 1000 * n / 16000);
    case 2: return n == 8000;
    case 3: return 0.25 * sin(2 * pi * (50 * s + 7850.0 / 60 * s * s));
    default: return n < 16000 ? 0.1 * sin(2 * pi * 440 * n / 16000) : 0;
    }
}

static void test_mel_vectors(void)
{
    static const vector vectors[] = {
        {80, 0, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5},
        {128, 0, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5, -1.5},
        {80, 1, 1.439652, -0.560348, -0.466490, 0.799748, -0.560348, -0.560348, -0.418026},
        {128, 1, 1.474446, -0.525554, -0.451751, 0.723989, -0.525554, -0.525554, -0.418543},
        {80, 2, 0.607791, -1.392209, -1.390558, -1.392209, 0.598887, -1.392209, -1.392209},
        {128, 2, 0.654986, -1.345014, -1.343413, -1.345014, 0.523127, -1.345014, -1.345014},
        {80, 3, 1.302084, -0.697916, -0.600034, 1.179707, -0.077954, -0.662199, 1.008186},
        {128, 3, 1.353907, -0.646093, -0.564802, 1.103948, 0.841167, 0.008398, 1.106879},
        {80, 4, 1.088719, -0.911281, -0.907147, 0.633794, 0.999253, 0.317900, -0.911281},
        {128, 4, 1.135869, -0.864131, -0.860754, 0.558035, -0.864131, 0.886209, -0.864131},
    };
    enum { N = 480000, PAD = 200 };
    es_device *d = open_cpu(NULL, 2);
    es_rig r;
    float *pcm = malloc((N + 2 * PAD) * sizeof *pcm), *y = malloc(3000 * 128 * sizeof *y), top = NAN, fill = 0;
    int32_t frames = 3000;
    void *tables = malloc(es_backend_traits(ES_CPU)->mel_tables_bytes(128));

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors && es_device_ops(d); i++) {
        const vector *v = &vectors[i];
        if (i == 0 && es_rig_open(&r, d, 2, ARENA)) break;
        size_t n = 3000 * (size_t)v->M;
        for (int j = 0; j < N; j++) pcm[PAD + j] = (float)signal_at(v->signal, j);
        for (int j = 1; j <= PAD; j++) pcm[PAD - j] = pcm[PAD + j], pcm[PAD + N - 1 + j] = pcm[PAD + N - 1 - j];
        char *at = r.arena + r.start;
        float *dp = (float *)(void *)at, *dy = dp + N + 2 * PAD, *dtop = dy + n, *dfill = dtop + 16;
        int32_t *df = (int32_t *)(void *)(dfill + 16);
        char *dt = (char *)(dfill + 64), *scratch = dt + (1 << 16);
        r.traits->mel_tables_fill(tables, v->M);
        es_device_put(d, dp, pcm, (N + 2 * PAD) * sizeof *pcm);
        es_device_put(d, dtop, &top, sizeof top);
        es_device_put(d, dfill, &fill, sizeof fill);
        es_device_put(d, df, &frames, sizeof frames);
        es_device_put(d, dt, tables, r.traits->mel_tables_bytes(v->M));
        r.o->logmel(d, ES_F32, dy, dp, df, dtop, dfill, dt, NULL, 1, v->M, scratch);
        es_device_get(d, y, dy, n * sizeof *y);
        double max = -INFINITY, min = INFINITY, mean = 0;
        for (size_t j = 0; j < n; j++) {
            max = fmax(max, (double)y[j]), min = fmin(min, (double)y[j]);
            mean += (double)y[j] / (double)n;
        }
        const float have[7] = {(float)max,        (float)min,         (float)mean, y[0],
                               y[50 * v->M + 10], y[100 * v->M + 20], y[n - 1]};
        const double want[7] = {v->max, v->min, v->mean, v->at0, v->at50, v->at100, v->last};
        char what[64];
        snprintf(what, sizeof what, "log-mel %d of signal %d", v->M, v->signal);
        CHECK_CLOSE(what, have, want, 7, 5e-6, 0);
        if (v->M == 128 && v->signal == 1) {
            const double extra = 1.350502;
            CHECK_CLOSE("log-mel 128 at frame 1500, bin 40", &y[1500 * 128 + 40], &extra, 1, 5e-6, 0);
        }
    }
    es_device_close(d);
    free(pcm), free(y), free(tables);
}

static void test_mel_filters(void)
{
    static const struct {
        int M, nonzero, widest;
        double sum, largest;
        int row[3], first[3], count[3];
        double weight[3];
    } want[] = {
        {80, 391, 14, 1.99902409, 0.02588068, {0, 40, 79}, {1, 42, 186}, {1, 3, 14}, {0.0248625949, 0.00541111, -1}},
        {128, 394, 9, 3.19098554, 0.04168175, {0, 64, 127}, {1, 42, 191}, {1, 2, 9}, {0.0123739867, 0.00674968, -1}},
    };
    es_mel_tables *t = malloc(sizeof *t);

    for (int i = 0; i < 2; i++) {
        int nonzero = 0, widest = 0;
        double sum = 0, largest = 0;
        es_backend_traits(ES_CPU)->mel_tables_fill(t, want[i].M);
        for (int m = 0; m < want[i].M; m++) {
            nonzero += t->count[m];
            widest = t->count[m] > widest ? t->count[m] : widest;
            for (int k = 0; k < t->count[m]; k++) {
                sum += (double)t->weight[m][k];
                largest = fmax(largest, (double)t->weight[m][k]);
            }
        }
        CHECK_INT(nonzero, want[i].nonzero);
        CHECK_INT(widest, want[i].widest);
        CHECK(fabs(sum - want[i].sum) < 1e-7, "filters %d: sum %.9f", want[i].M, sum);
        CHECK(fabs(largest - want[i].largest) < 1e-8, "filters %d: largest %.9f", want[i].M, largest);
        for (int j = 0; j < 3; j++) {
            int m = want[i].row[j];
            CHECK_INT(t->first[m], want[i].first[j]);
            CHECK_INT(t->count[m], want[i].count[j]);
            CHECK(want[i].weight[j] < 0 || fabs((double)t->weight[m][0] - want[i].weight[j]) < 1e-8,
                  "filter %d: first weight %.9f", m, (double)t->weight[m][0]);
        }
    }
    free(t);
}

/* ---- sampling ---- */

/* The published test vector of Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011). */
static void test_philox(void)
{
    static const uint32_t in[3][6] = {{0, 0, 0, 0, 0, 0},
                                      {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                                      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
    static const uint32_t out[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};

    for (int i = 0; i < 3; i++) {
        uint32_t c[4];
        memcpy(c, in[i], sizeof c);
        ref_philox(c, in[i] + 4);
        CHECK(!memcmp(c, out[i], sizeof c), "vector %d: %08x %08x %08x %08x", i, c[0], c[1], c[2], c[3]);
    }
}

/* Drawn frequencies follow the softmax at the temperature asked for. */
static void test_sampling(void)
{
    enum { V = 64, DRAWS = 20000 };
    const es_pick_vocab v = {.V = V,
                             .eot = 60,
                             .sot = 61,
                             .no_speech = 62,
                             .no_timestamps = 62,
                             .timestamp_begin = 63,
                             .blank = -1,
                             .max_pos = 448};
    es_device *d = open_cpu(NULL, 1);
    es_rig r;
    float logits[V];
    double p[V], sum = 0;
    int count[V] = {0};

    if (es_rig_open(&r, d, 1, 1 << 16) == 0) {
        char *at = r.arena + r.start;
        es_pick_slot *ds = (void *)at;
        float *dl = (float *)(void *)(at + 256);
        uint32_t *dm = (uint32_t *)(void *)(at + 1024);
        int32_t *dt = (int32_t *)(void *)(at + 2048), *next = (int32_t *)(void *)(at + 8192);
        for (int i = 0; i < V; i++) logits[i] = i < 6 ? (float)i * 0.5f : -30;
        for (int i = 0; i < V; i++) sum += p[i] = exp((double)logits[i] / 0.7);
        es_device_put(d, dl, logits, sizeof logits);
        es_device_fill(d, dm, 0, 8);
        for (int i = 0; i < DRAWS; i++) {
            es_pick_slot s = {.mode = ES_PICK_TEXT,
                              .n = 1,
                              .n_max = 100,
                              .last = 5,
                              .last2 = -1,
                              .last_time = -1,
                              .temperature = 0.7f,
                              .key = {(uint32_t)i, 7, 8, 9},
                              .pos = 5};
            es_device_put(d, ds, &s, sizeof s);
            r.o->pick(d, ds, dl, NULL, dm, v, dt, next, next + 1, next + 2, next + 3, 1);
            es_device_get(d, &s, ds, sizeof s);
            if (s.last >= 0 && s.last < V) count[s.last]++;
        }
        for (int i = 0; i < 6; i++) {
            double want = p[i] / sum, sd = sqrt(want * (1 - want) / DRAWS), have = (double)count[i] / DRAWS;
            CHECK(fabs(have - want) < 4.5 * sd, "token %d drawn %.4f of the time, expected %.4f", i, have, want);
        }
    }
    es_device_close(d);
}

/* ---- the pool ---- */

typedef struct tally {
    int done[300];    /* times a job ran; a job touches its own entry alone */
    int threads[300]; /* which thread took it */
} tally;

static void count_job(void *arg, int job, int thread)
{
    tally *t = arg;

    t->done[job]++;
    t->threads[job] = thread;
}

/* Every job runs once, whether the workers are spinning, asleep or late. */
static void test_pool(void)
{
    es_noise dice = {51};

    for (int threads = 1; threads <= 5; threads += 2) {
        es_pool *p = es_pool_open(threads);
        CHECK(p != NULL, "no pool of %d threads", threads);
        for (int call = 0; p && call < 2000; call++) {
            tally t = {{0}, {0}};
            int jobs = (int)(es_noise_bits(&dice) % 300), bad = -1;
            es_pool_run(p, jobs, count_job, &t);
            for (int i = 0; i < 300; i++)
                if (t.done[i] != (i < jobs) || t.threads[i] < 0 || t.threads[i] >= threads) bad = i;
            CHECK(bad < 0, "call %d of %d jobs on %d threads: job %d ran %d times, on thread %d", call, jobs, threads,
                  bad, t.done[bad < 0 ? 0 : bad], t.threads[bad < 0 ? 0 : bad]);
            if (call % 200 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL); /* let the workers sleep */
        }
        es_pool_close(p);
    }
    es_pool_close(NULL);
}

/* ---- the device ---- */

static void test_device(void)
{
    es_device *d = NULL;
    es_fault why;
    es_device_facts facts;

    CHECK_INT(es_device_count(ES_CPU, &why), 1);
    CHECK(es_device_open(&d, ES_CPU, 1, 0, NULL, &why) != 0 && !d && why.text[0], "device 1 of the CPU was opened");
    CHECK(es_device_open(&d, ES_CPU, 0, 0, "mmx", &why) != 0 && !d && strstr(why.text, "mmx"), "%s", why.text);
    d = open_cpu("portable", 3);
    CHECK(d && es_device_backend(d) == ES_CPU, "no portable CPU device");
    if (!d) return;
    es_device_describe(d, &facts);
    CHECK_INT(facts.threads, 3);
    CHECK(strstr(facts.name, "portable") && facts.bytes > 0, "%s", facts.name);
    CHECK(!es_device_take_arena(d, (size_t)1 << 60, &why) && why.text[0], "an exabyte was there");
    unsigned char *p = es_device_take_arena(d, 1 << 20, &why), back[16];
    CHECK(p && (uintptr_t)p % 4096 == 0, "the arena starts at %p", (void *)p);
    CHECK(!es_device_take_arena(d, 1 << 20, &why) && strstr(why.text, "already"), "%s", why.text);
    es_device_fill(d, p, 0x5A, 16);
    es_device_put(d, p + 4, "abcd", 4);
    es_device_get(d, back, p, 16);
    CHECK(!memcmp(back + 4, "abcd", 4) && back[0] == 0x5A && back[15] == 0x5A, "copies do not arrive");
    es_device_record(d);
    es_device_replay(d, es_device_record_end(d));
    CHECK_INT(es_device_sync(d, &why), 0);
    CHECK_INT(es_device_allocations(d), 0);
    es_device_close(d);
    es_device_close(NULL);
}

int main(int argc, char **argv)
{
#define ROW(i) {.run = case_##i},
    es_test tests[] = {
        CASES(ROW) /* named below, after the op */
        {"thread_pool", test_pool},
        {"device", test_device},
        {"chains", test_chains},
        {"alone_or_together", test_alone_or_together},
        {"activations", test_activations},
        {"mel_filters", test_mel_filters},
        {"mel_vectors", test_mel_vectors},
        {"philox", test_philox},
        {"sampling", test_sampling},
    };

    for (int i = 0; i < es_kernel_cases(); i++) tests[i].name = es_kernel_case_name(i);
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
