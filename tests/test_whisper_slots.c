/*
 * test_whisper_slots.c - what Whisper's slots, windows and memory owe each other, on a seeded model of two layers.
 *
 * A slot gives the same bits whoever its neighbours are; a plan that shares memory gives those of one that does not;
 * the second window allocates nothing; the shortest window and the longest prompt are like any other.
 */
#include "whisper_rig.h"

/* ---- counting allocations ---- */

static unsigned long n_allocations;

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ES_OWN_MALLOC 0
#endif
#endif
#ifndef ES_OWN_MALLOC
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define ES_OWN_MALLOC 1
#else
#define ES_OWN_MALLOC 0
#endif
#endif

/* The program's own malloc stands before the library's, for every caller; sanitizers bring one of theirs. */
#if ES_OWN_MALLOC
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    n_allocations++;
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    n_allocations++;
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    n_allocations++;
    return __libc_realloc(p, n);
}
#endif

/* ---- nobody notices the neighbours ---- */

enum { CASES = 3, LONG = 30 };

/* Three windows with prompts of their own; case 1 has previous text, case 2 is sampled. */
static es_whisper_request case_request(const es_whisper_rig *g, int i)
{
    static int32_t prompts[CASES][LONG];
    static const int n[CASES] = {3, LONG, 3};
    int32_t *p = prompts[i];

    for (int j = 0; j < n[i] - 3; j++) p[j] = j ? 300 + 7 * j : g->ids.sot_prev;
    p[n[i] - 3] = g->ids.sot;
    p[n[i] - 2] = g->ids.lang_begin + i;
    p[n[i] - 1] = g->ids.transcribe;
    es_whisper_request q = es_whisper_rig_request(p, n[i]);
    q.sot_at = n[i] - 3;
    q.max_tokens = i == 0 ? 6 : 14;
    q.temperature = i == 2 ? 0.8f : 0;
    for (int k = 0; k < 4; k++) q.key[k] = (uint32_t)(1000 * i + k);
    return q;
}

static void same_output(const char *what, int i, const es_whisper_output *a, const es_whisper_output *b)
{
    CHECK(a->n == b->n, "%s, case %d: %d tokens, alone %d", what, i, a->n, b->n);
    CHECK(!memcmp(a->tokens, b->tokens, (size_t)a->n * 4), "%s, case %d: other tokens than alone", what, i);
    CHECK(!memcmp(&a->sum_logprob, &b->sum_logprob, 4), "%s, case %d: log-probability %.9g, alone %.9g", what, i,
          (double)a->sum_logprob, (double)b->sum_logprob);
    CHECK(!memcmp(&a->no_speech, &b->no_speech, 4), "%s, case %d: no speech %.9g, alone %.9g", what, i,
          (double)a->no_speech, (double)b->no_speech);
}

static void independence(void)
{
    static const int frames[CASES] = {3000, 1700, 2222};
    char path[4096];
    es_whisper_rig alone, many;
    es_whisper_output want[CASES], have;
    float *pcm[CASES], *encoded[CASES];
    bool ended[CASES];
    size_t bytes = ES_RIG_AUDIO * ES_RIG_WIDTH * sizeof(float);

    if (!es_whisper_rig_seeded(path)) return;
    /* One thread, one window, one slot, prompts in pieces of 8 rows; against two threads and whole prompts. */
    es_whisper_limits one = {.windows = 1, .slots = 1, .prompt_rows = 8},
                      all = {.windows = 2, .slots = 3, .prompt_rows = 40};
    if (!es_whisper_rig_open(&alone, path, one, 1)) return;
    if (!es_whisper_rig_open(&many, path, all, 2)) return;
    es_whisper_window w[CASES];
    for (int i = 0; i < CASES; i++) {
        pcm[i] = es_whisper_rig_noise((uint64_t)i + 10);
        w[i] = (es_whisper_window){.pcm = pcm[i], .frames = frames[i], .top = i == 1 ? 0.5f : NAN};
        es_whisper_encode(alone.m, &w[i], 1);
        encoded[i] = es_whisper_rig_copy(&alone, "encoder");
        es_whisper_request q = case_request(&alone, i);
        OK(es_whisper_decode(alone.m, &q, &want[i], &alone.err), alone.err);
    }
    CHECK(memcmp(encoded[0], encoded[1], bytes) != 0, "two windows have one encoding");

    /* Windows 0 and 1 together, 2 later and alone in a plan for two. */
    for (int i = 0; i < CASES; i++) w[i].slot = (i + 1) % CASES;
    es_whisper_encode(many.m, w, 2);
    float *e = es_whisper_rig_copy(&many, "encoder");
    CHECK(!memcmp(e, encoded[0], bytes), "window 0 is not as alone");
    CHECK(!memcmp(e + ES_RIG_AUDIO * ES_RIG_WIDTH, encoded[1], bytes), "window 1 is not as alone");
    free(e);
    es_whisper_encode(many.m, &w[2], 1);

    /* 0 and 1 begin together; 2 joins when the first has ended, while the other is in the middle. */
    int began = 2, taken = 0;
    for (int i = 0; i < 2; i++) {
        es_whisper_request q = case_request(&many, i);
        q.slot = w[i].slot;
        es_whisper_begin(many.m, &q);
    }
    for (int rounds = 0; taken < CASES && rounds < 20; rounds++) {
        es_whisper_steps(many.m, ended);
        for (int i = 0; i < began; i++) {
            if (!ended[w[i].slot]) continue;
            es_whisper_take(many.m, w[i].slot, &have);
            same_output("together", i, &have, &want[i]);
            taken++;
        }
        if (began == 2 && taken) {
            es_whisper_request q = case_request(&many, 2);
            q.slot = w[2].slot;
            es_whisper_begin(many.m, &q);
            began = 3;
        }
    }
    CHECK_INT(taken, CASES);
    CHECK_INT(want[0].n, 6);
    CHECK_INT(es_whisper_steps(many.m, ended), 0);
    for (int i = 0; i < CASES; i++) {
        free(pcm[i]);
        free(encoded[i]);
    }
    es_whisper_rig_close(&alone);
    es_whisper_rig_close(&many);
}

/* ---- memory ---- */

enum { SAID = 4 };

typedef struct window_result {
    float *encoded, *logits;
    es_whisper_output out;
    int first[SAID + 1];
    float p[SAID];
} window_result;

/* Everything that is done to a window. */
static void whole_window(es_whisper_rig *g, const float *pcm, int frames, window_result *r)
{
    static const int32_t text[SAID] = {400, 370, 452, 7177};
    es_whisper_window w = {.pcm = pcm, .frames = frames, .fill = 0};
    es_whisper_request q = case_request(g, 1);

    es_whisper_tops(g->m, &pcm, &frames, 1, &w.top);
    es_whisper_encode(g->m, &w, 1);
    OK(es_whisper_decode(g->m, &q, &r->out, &g->err), g->err);
    es_tensor e = es_whisper_debug(g->m, "encoder"), l = es_whisper_debug(g->m, "logits");
    es_state_get(g->a, e, 0, r->encoded, es_tensor_bytes(e));
    es_state_get(g->a, l, 0, r->logits, es_tensor_bytes(l));
    OK(es_whisper_align(g->m, 0, q.prompt + q.sot_at, 3, text, SAID, frames, r->first, r->p, &g->err), g->err);
}

/* A plan whose tensors share memory gives the bits of one where each has its own, wherever they were put. */
static void sharing(void)
{
    static const unsigned flags[3] = {ES_PLAN_SEPARATE | ES_PLAN_POISON, 0, ES_PLAN_SHUFFLE | ES_PLAN_POISON};
    char path[4096];
    es_whisper_rig g;
    window_result r[3];
    float *pcm = es_whisper_rig_noise(21);
    size_t encoded = ES_RIG_AUDIO * ES_RIG_WIDTH * sizeof(float), logits = 51865 * sizeof(float);

    if (!es_whisper_rig_seeded(path)) return;
    for (int i = 0; i < 3; i++) {
        es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 40, .align = true};
        if (!es_whisper_rig_open_as(&g, path, limits, 2, flags[i])) return;
        r[i].encoded = malloc(encoded);
        r[i].logits = malloc(logits);
        whole_window(&g, pcm, 2900, &r[i]);
        es_whisper_rig_close(&g);
        CHECK(!memcmp(r[i].encoded, r[0].encoded, encoded), "plan %d: another encoding", i);
        CHECK(!memcmp(r[i].logits, r[0].logits, logits), "plan %d: other logits", i);
        CHECK(!memcmp(r[i].first, r[0].first, sizeof r[0].first), "plan %d: other times", i);
        CHECK(!memcmp(r[i].p, r[0].p, sizeof r[0].p), "plan %d: other probabilities", i);
        same_output("plan", i, &r[i].out, &r[0].out);
    }
    for (int i = 0; i < 3; i++) {
        free(r[i].encoded);
        free(r[i].logits);
    }
    free(pcm);
}

/* After the first window nothing is allocated: by the backend's own count, and by ours of malloc. */
static void allocations(void)
{
    char path[4096];
    es_whisper_rig g;
    float *pcm = es_whisper_rig_noise(4);
    window_result r = {.encoded = malloc(ES_RIG_AUDIO * ES_RIG_WIDTH * sizeof(float)),
                       .logits = malloc(51865 * sizeof(float))};

    if (!es_whisper_rig_seeded(path)) return;
    es_whisper_limits limits = {.windows = 1, .slots = 1, .prompt_rows = 40, .align = true};
    if (!es_whisper_rig_open(&g, path, limits, 2)) return;
    whole_window(&g, pcm, 1000, &r);
    uint64_t device = es_device_allocations(g.d);
    unsigned long host = n_allocations;
    CHECK(host > 0 || !ES_OWN_MALLOC, "allocations are not counted");
    whole_window(&g, pcm, 3000, &r);
    CHECK_INT(n_allocations - host, 0);
    CHECK_INT(es_device_allocations(g.d) - device, 0);
    free(r.encoded);
    free(r.logits);
    free(pcm);
    es_whisper_rig_close(&g);
}

/* Windows with next to no sound, prompts that fill the positions, texts that do not fit. */
static void edges(void)
{
    static const int frames[6] = {0, 1, 2, 6, 9, 3000};
    static int32_t prompt[448], text[448];
    static float p[448];
    static int first[449];
    char path[4096];
    es_whisper_rig g;
    es_whisper_output out;
    float *pcm = es_whisper_rig_noise(8);

    if (!es_whisper_rig_seeded(path)) return;
    es_whisper_limits limits = {.windows = 2, .slots = 1, .prompt_rows = 16, .align = true};
    if (!es_whisper_rig_open(&g, path, limits, 2)) return;
    for (int i = 0; i < 448; i++) text[i] = 1000 + i;
    for (int i = 0; i < 6; i++) {
        int F = frames[i] / 2, n = i == 5 ? 443 : i;
        es_whisper_window w = {.pcm = pcm, .frames = frames[i], .top = NAN};
        int32_t sot[3] = {g.ids.sot, g.ids.lang_begin, g.ids.transcribe};
        es_whisper_encode(g.m, &w, 1);
        float *e = es_whisper_rig_copy(&g, "encoder");
        for (int j = 0; j < ES_RIG_AUDIO * ES_RIG_WIDTH; j++)
            if (!isfinite((double)e[j])) {
                CHECK(false, "%d frames: value %d of the encoding is no number", frames[i], j);
                break;
            }
        free(e);
        OK(es_whisper_align(g.m, 0, sot, 3, text, n, frames[i], first, p, &g.err), g.err);
        for (int j = 0; j <= n; j++)
            CHECK(first[j] >= 0 && first[j] < (F ? F : 1) && (j == 0 || first[j] >= first[j - 1]),
                  "%d frames, token %d begins at %d", frames[i], j, first[j]);
        for (int j = 0; j < n; j++) CHECK(p[j] > 0 && p[j] < 1, "token %d has probability %g", j, (double)p[j]);
        if (i < 5) continue;
        CHECK_INT(es_whisper_align(g.m, 0, sot, 3, text, 444, 3000, first, p, &g.err), ES_EARG);
        CHECK(strstr(g.err.text, "449") && strstr(g.err.text, "448"), "%s", g.err.text);
    }

    /* The maximum of a window is that of a file of one window. */
    const float *both[3] = {pcm, pcm, pcm};
    int some[3] = {3000, 1, 2000};
    float tops[3];
    es_whisper_tops(g.m, both, some, 3, tops);
    CHECK(tops[1] <= tops[2] && tops[2] <= tops[0], "maxima %g %g %g", (double)tops[1], (double)tops[2],
          (double)tops[0]);
    for (int i = 0; i < 3; i += 2) {
        es_whisper_window own = {.pcm = pcm, .frames = some[i], .top = NAN}, given = own;
        given.top = tops[i];
        size_t bytes = 3000 * 80 * sizeof(float);
        es_whisper_encode(g.m, &own, 1);
        float *a = es_whisper_rig_copy(&g, "mel");
        es_whisper_encode(g.m, &given, 1);
        float *b = es_whisper_rig_copy(&g, "mel");
        CHECK(!memcmp(a, b, bytes), "%d frames: the mel differs where its maximum is given", some[i]);
        free(a);
        free(b);
    }

    /* The last position is the prompt's: one token is sampled, none is fed back. */
    for (int i = 0; i < 448; i++) prompt[i] = i < 445 ? 500 + i : g.ids.sot + i - 445;
    prompt[447] = g.ids.transcribe;
    for (int n = 446; n <= 448; n++) {
        es_whisper_request q = es_whisper_rig_request(prompt + 448 - n, n);
        q.sot_at = n - 3;
        OK(es_whisper_decode(g.m, &q, &out, &g.err), g.err);
        CHECK(out.n + out.complete == 449 - n, "a prompt of %d tokens is followed by %d", n, out.n);
    }
    free(pcm);
    es_whisper_rig_close(&g);
}

static const es_test tests[] = {
    {"independence", independence},
    {"sharing", sharing},
    {"allocations", allocations},
    {"edges", edges},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
