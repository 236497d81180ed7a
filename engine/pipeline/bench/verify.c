/*
 * verify.c - published outputs, computed again.
 *
 *     all-MiniLM-L6-v2          three similarities of the example with which sentence-transformers introduces itself
 *     gte-Qwen2-1.5B-instruct   vectors that text-embeddings-inference and hmem recorded of it, which attention in one
 *                               direction only misses by far; and the scores of the model card's example. The card does not
 *                               say which attention they were computed with, so they are told and do not decide
 *     Whisper                   recordings whose words are known: the sentence that OpenAI's own test listens to, and two
 *                               that come with the package pocketsphinx-testdata
 *
 * Of segmentation, speaker and PLDA models the sources publish error rates over whole corpora, and no output of a single
 * input.
 */
#define _GNU_SOURCE
#include "pipeline/bench/verify.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/decode.h"
#include "models/embedder.h"
#include "pipeline/search/embedding.h"
#include "pipeline/session/packs.h"
#include "pipeline/session/session.h"

static const char testdata[] = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";

/* Three texts with ids as they are published, and numbers of their vectors: the first ones and, of two, the last ones. */
enum { GTE_WIDTH = 1536, GTE_LAYERS = 28, GTE_VOCABULARY = 151646, HEAD = 8, TAIL = 4 };
static const struct {
    const char *text;
    int32_t ids[12];
    int n;
    double head[HEAD], tail[TAIL];
    bool has_tail;
} gte[] = {
    {"What is Deep Learning?",
     {3838, 374, 18183, 20909, 30, 151643},
     6,
     {-0.028368, 0.038615, -0.009304, -0.018232, 0.040034, -0.002894, -0.015614, -0.008733},
     {-0.023488, -0.025307, -0.044315, -0.019030},
     true},
    {"Deep Learning is...",
     {33464, 20909, 374, 1112, 151643},
     5,
     {-0.014848, 0.034231, 0.008051, -0.018347, 0.028148, -0.014837, -0.000952, -0.000368},
     {0},
     false},
    {"GPU vectorization must remain deterministic and offline.",
     {49891, 4621, 2022, 1969, 7146, 72349, 323, 26166, 13, 151643},
     10,
     {0.0080179, 0.0160913, -0.0302944, 0.0157581, 0.0036966, 0.0175352, -0.0019160, 0.0082886},
     {0},
     false},
};
static const double gte_similarity = 0.77917; /* of the first two */
static const char *const gte_queries[2] = {"how much protein should a female eat", "summit define"};
static const char *const gte_documents[2] = {
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day. But, as you "
    "can see from this chart, you'll need to increase that if you're expecting or training for a marathon. Check out the chart "
    "below to see how much protein you should be eating each day.",
    "Definition of summit for English Language Learners. : 1  the highest point of a mountain : the top of a mountain. : 2  the "
    "highest level. : 3  a meeting or series of meetings between the leaders of two or more governments."};
static const double gte_scores[2][2] = {{70.0067, 8.1849}, {14.6242, 77.7141}};

static const char *const minilm_texts[3] = {"The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."};
static const double minilm_similarity[3] = {0.6660, 0.1046, 0.1411}; /* of texts 0 and 1, 0 and 2, 1 and 2 */

static const struct {
    const char *source, *words;
} spoken[] = {
    {"the recording of OpenAI's own test of Whisper, jfk",
     "and so my fellow americans ask not what your country can do for you ask what you can do for your country"},
    {"the transcript in pocketsphinx-testdata, sentence 0870",
     "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do for them"},
    {"the transcript in pocketsphinx-testdata, sentence 0880", "he was not an ill disposed young man"},
};
enum { N_SPOKEN = sizeof spoken / sizeof *spoken, MOST_WORDS = 200 };

bool es_verify_holds(const es_verify_number *n)
{
    return fabs(n->have - n->want) <= n->within; /* false for what is no number */
}

static es_verify_number *add(es_verify_result *r, double have, double want, double within, bool decides)
{
    es_verify_number *n = &r->number[r->n < ES_VERIFY_MOST - 1 ? r->n++ : ES_VERIFY_MOST - 1];

    *n = (es_verify_number){.have = have, .want = want, .within = within, .decides = decides};
    return n;
}

#define NAME(number, ...)                                                                                              \
    do {                                                                                                               \
        es_verify_number *n_ = (number);                                                                               \
        snprintf(n_->what, sizeof n_->what, __VA_ARGS__);                                                              \
    } while (0)

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ---- text encoders ---- */

static int embed(es_embedding *e, const char *const *texts, size_t n, bool query, float *vectors, es_err *err)
{
    size_t bytes[4];

    for (size_t i = 0; i < n; i++) bytes[i] = strlen(texts[i]);
    return es_embedding_texts(e, texts, bytes, n, query, vectors, err);
}

static int minilm(es_verify_result *r, es_embedding *e, es_err *err)
{
    static const int pair[3][2] = {{0, 1}, {0, 2}, {1, 2}};
    int width = es_embedding_width(e), rc;
    float *v = calloc(3, (size_t)width * sizeof *v);

    if (!v) return es_fail(err, ES_ENOMEM, "not enough memory");
    snprintf(r->against, sizeof r->against, "%s", "the example in the documentation of sentence-transformers for all-MiniLM-L6-v2");
    rc = embed(e, minilm_texts, 3, false, v, err);
    for (int i = 0; rc == ES_OK && i < 3; i++) {
        int a = pair[i][0], b = pair[i][1];
        /* Four digits are published; weights of f16 move the fourth. */
        NAME(add(r, dot(v + a * width, v + b * width, width), minilm_similarity[i], 0.001, true), "\"%s\" and \"%s\"", minilm_texts[a],
             minilm_texts[b]);
    }
    free(v);
    return rc;
}

static int gte_vectors(es_verify_result *r, es_embedding *e, es_err *err)
{
    enum { N = sizeof gte / sizeof *gte };
    int32_t ids[N * 12], have[12];
    size_t bounds[N + 1] = {0}, n;
    float *v = calloc(N, GTE_WIDTH * sizeof *v);
    int rc = v ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    for (int i = 0; i < N; i++) {
        memcpy(ids + bounds[i], gte[i].ids, (size_t)gte[i].n * sizeof *ids);
        bounds[i + 1] = bounds[i] + (size_t)gte[i].n;
    }
    if (rc == ES_OK) rc = es_embedding_ids(e, ids, bounds, N, v, err);
    for (int i = 0; i < N && rc == ES_OK; i++) {
        const float *x = v + i * GTE_WIDTH;
        double worst = 0;
        for (int k = 0; k < HEAD; k++) worst = fmax(worst, fabs((double)x[k] - gte[i].head[k]));
        for (int k = 0; k < TAIL && gte[i].has_tail; k++)
            worst = fmax(worst, fabs((double)x[GTE_WIDTH - TAIL + k] - gte[i].tail[k]));
        NAME(add(r, worst, 0, 0.002, true), "\"%s\": the largest difference of a coordinate", gte[i].text);
        if (es_embedding_tokenize(e, gte[i].text, strlen(gte[i].text), have, 12, &n, err) == ES_OK)
            NAME(add(r, n + 1 == (size_t)gte[i].n && !memcmp(have, gte[i].ids, n * sizeof *have), 1, 0, true), "\"%s\": the same token ids",
                 gte[i].text);
    }
    if (rc == ES_OK) NAME(add(r, dot(v, v + GTE_WIDTH, GTE_WIDTH), gte_similarity, 0.003, true), "similarity of the first two");
    free(v);
    return rc;
}

static int gte_card(es_verify_result *r, es_embedding *e, es_err *err)
{
    float *v = calloc(4, GTE_WIDTH * sizeof *v);
    es_err none = {0};
    size_t n;
    int rc = v ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    /* A pack without a tokenizer takes ids only. */
    bool texts = es_embedding_tokenize(e, "", 0, NULL, 0, &n, &none) == ES_OK;
    if (rc == ES_OK && texts) rc = embed(e, gte_queries, 2, true, v, err);
    if (rc == ES_OK && texts) rc = embed(e, gte_documents, 2, false, v + 2 * GTE_WIDTH, err);
    for (int q = 0; q < 2 && rc == ES_OK && texts; q++)
        for (int d = 0; d < 2; d++)
            NAME(add(r, 100 * dot(v + q * GTE_WIDTH, v + (2 + d) * GTE_WIDTH, GTE_WIDTH), gte_scores[q][d], 1, false),
                 "model card, \"%s\" and its document %d", gte_queries[q], d + 1);
    free(v);
    return rc;
}

static int text_encoder(es_verify_result *r, const es_verify_options *o, const char *path, es_err *err)
{
    const es_embedding_options options = {
        .model = path, .models = o->models, .device = o->device, .budget = o->budget, .threads = o->threads, .hushed = true};
    es_embedder_dims dims;
    es_weights *w = NULL;
    es_embedding *e = NULL;
    int rc = es_pack_open(&w, path, err);

    if (rc == ES_OK) rc = es_embedder_dims_read(&dims, w, err);
    es_weights_close(w);
    if (rc != ES_OK) return rc;
    bool is_minilm = !dims.qwen2 && dims.d_model == 384 && dims.layers == 6 && dims.vocab == 30522;
    bool is_gte = dims.qwen2 && dims.d_model == GTE_WIDTH && dims.layers == GTE_LAYERS && dims.vocab == GTE_VOCABULARY;
    if (!is_minilm && !is_gte) {
        snprintf(r->against, sizeof r->against, "it has neither the shape of all-MiniLM-L6-v2 nor that of gte-Qwen2-1.5B-instruct, "
                                                "and of no other text encoder numbers are known here");
        return ES_OK;
    }
    rc = es_embedding_open(&e, &options, err);
    if (rc == ES_OK && is_minilm) rc = minilm(r, e, err);
    if (rc == ES_OK && is_gte) {
        snprintf(r->against, sizeof r->against,
                 "vectors of gte-Qwen2-1.5B-instruct recorded by text-embeddings-inference and by hmem, attention in both directions "
                 "(this pack: %s); and the model card's scores, which do not say theirs",
                 dims.mask == ES_MASK_CAUSAL ? "causal" : "both directions");
        rc = gte_vectors(r, e, err);
        if (rc == ES_OK) rc = gte_card(r, e, err);
    }
    es_embedding_close(e);
    return rc;
}

/* ---- speech ---- */

/* Words in lower case without signs: up to `most` of them, cut apart in place. */
static int words_of(char *text, const char *words[], int most)
{
    int n = 0;

    for (char *p = text; *p;) {
        while (*p && !isalnum((unsigned char)*p)) p++;
        if (!*p || n == most) break;
        char *to = p;
        words[n++] = p;
        for (; *p && (isalnum((unsigned char)*p) || *p == '\''); p++)
            if (*p != '\'') *to++ = (char)tolower((unsigned char)*p);
        if (*p) p++;
        *to = 0;
        if (!strcmp(words[n - 1], "mr")) words[n - 1] = "mister";
    }
    return n;
}

/* The least number of words to change, add or leave out. */
static int edits(const char *const *a, int n, const char *const *b, int m)
{
    int row[MOST_WORDS + 1];

    for (int k = 0; k <= m; k++) row[k] = k;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int k = 1; k <= m; k++) {
            int change = diagonal + (strcmp(a[i - 1], b[k - 1]) != 0);
            diagonal = row[k];
            int other = (row[k - 1] < row[k] ? row[k - 1] : row[k]) + 1;
            row[k] = change < other ? change : other;
        }
    }
    return row[m];
}

static int listen(char *heard, size_t room, const es_verify_options *o, const char *path, const char *recording, es_err *err)
{
    const es_session_options options = {.models = path,
                                        .segmentation = "none",
                                        .diarizer = "none",
                                        .voice = "none",
                                        .embedder = "none",
                                        .device = o->device,
                                        .budget = o->budget,
                                        .threads = o->threads};
    es_transcribe_options how = es_transcribe_defaults();
    es_transcript t = {0};
    es_media_info info = {0};
    es_session *session = NULL;
    es_spool *spool = NULL;
    const char *tmp = getenv("TMPDIR");
    int rc = es_session_open(&session, &options, err);

    if (rc == ES_OK) rc = es_session_ready(session, err);
    if (rc == ES_OK) rc = es_media_decode(&spool, &info, recording, 0, tmp && *tmp ? tmp : "/tmp", NULL, NULL, err);
    if (rc == ES_OK) {
        es_sound sound = es_sound_of(spool);
        how.language = "en";
        how.words = false;
        how.temperature[0] = 0;
        how.n_temperatures = 1;
        rc = es_transcribe(es_session_transcriber(session), &sound, &how, &t, err);
    }
    size_t n = 0;
    for (size_t i = 0; rc == ES_OK && i < t.n_segments && n < room; i++) {
        const char *text = t.text + t.segments[i].text_at;
        size_t bytes = t.segments[i].text_bytes, blank = !n && bytes && *text == ' '; /* words bring the blank before them */
        n += (size_t)snprintf(heard + n, room - n, "%.*s", (int)(bytes - blank), text + blank);
    }
    es_transcript_done(&t);
    es_spool_close(spool);
    es_media_info_done(&info);
    es_session_close(session);
    return rc;
}

static int speech(es_verify_result *r, const es_verify_options *o, const char *path, es_err *err)
{
    const char *recording = o->recording ? o->recording : !access(testdata, R_OK) ? testdata : NULL;
    const char *have[MOST_WORDS], *want[MOST_WORDS];
    char text[sizeof r->heard], words[512];
    int best = -1, least = 0, length = 0, rc;

    if (!recording) {
        snprintf(r->against, sizeof r->against, "a recording whose words are known is needed: jfk.wav or jfk.flac, with which Whisper is "
                                                "tested, as an argument, or the package pocketsphinx-testdata");
        return ES_OK;
    }
    rc = listen(r->heard, sizeof r->heard, o, path, recording, err);
    if (rc != ES_OK) return rc;
    for (int i = 0; i < N_SPOKEN; i++) {
        snprintf(text, sizeof text, "%s", r->heard);
        snprintf(words, sizeof words, "%s", spoken[i].words);
        int n = words_of(text, have, MOST_WORDS), m = words_of(words, want, MOST_WORDS), differ = edits(have, n, want, m);
        if (best < 0 || differ * length < least * m) best = i, least = differ, length = m;
    }
    if (2 * least > length) {
        snprintf(r->against, sizeof r->against, "what was heard is none of the %d sentences that are known here", N_SPOKEN);
        NAME(add(r, least, 0, 0, true), "words that differ from the nearest of them, of %d", length);
        return ES_OK;
    }
    snprintf(r->against, sizeof r->against, "%s", spoken[best].source);
    NAME(add(r, least, 0, length / 10, true), "words that differ, of %d", length); /* small models mishear one or two */
    return ES_OK;
}

/* ---- which pack, which way ---- */

static int find(es_packs *packs, const es_pack_entry **out, const es_verify_options *o, es_err *err)
{
    struct stat st;
    char shown[256];
    bool is_file = !stat(o->pack, &st) && S_ISREG(st.st_mode);
    int rc = es_packs_scan(packs, is_file ? o->pack : o->models, err);

    *out = NULL;
    for (size_t i = 0; rc == ES_OK && i < packs->n; i++) {
        const char *slash = strrchr(packs->at[i].path, '/'), *file = slash ? slash + 1 : packs->at[i].path;
        size_t n = strlen(o->pack);
        bool named = !strcmp(packs->at[i].name, o->pack) || (!strncmp(file, o->pack, n) && !strcmp(file + n, ".pack"));
        if (!*out && (is_file || named)) *out = &packs->at[i];
    }
    if (rc != ES_OK || *out) return rc;
    return es_fail(err, ES_ENOTFOUND, "%s: there is no such pack, and none of that name in the folder of models",
                   es_printable(shown, sizeof shown, o->pack));
}

int es_verify(es_verify_result *out, const es_verify_options *o, es_err *err)
{
    const es_pack_entry *entry;
    es_packs packs = {0};
    es_weights *w = NULL;
    int rc = find(&packs, &entry, o, err);

    *out = (es_verify_result){.equal = true};
    if (rc == ES_OK && entry->fault) rc = es_fail(err, ES_EMODEL, "%s", entry->fault);
    if (rc == ES_OK) rc = es_pack_open(&w, entry->path, err);
    if (rc == ES_OK) rc = es_pack_verify(w, err); /* other bytes than were written need no computing */
    es_weights_close(w);
    if (rc == ES_OK) {
        snprintf(out->name, sizeof out->name, "%s", entry->name);
        snprintf(out->architecture, sizeof out->architecture, "%s", entry->architecture);
        if (!strcmp(entry->architecture, "bert") || !strcmp(entry->architecture, "qwen2")) rc = text_encoder(out, o, entry->path, err);
        else if (!strcmp(entry->architecture, "whisper")) rc = speech(out, o, entry->path, err);
        else
            snprintf(out->against, sizeof out->against, "of %s models error rates over whole corpora are published, and no output of a "
                                                        "single input",
                     entry->architecture);
    }
    for (int i = 0; i < out->n; i++)
        if (out->number[i].decides && !es_verify_holds(&out->number[i])) out->equal = false;
    es_packs_done(&packs);
    return rc;
}
