/*
 * test_transcribe.c - recordings to text against reference transcripts.
 *
 * References: faster-whisper on float32, one JSON file for each recording and setting (A greedy; B with words and the
 * next window after the last word; E English given). Short clean clips must agree token for token. On long ones a token
 * whose two best logits nearly tie may fall the other way and change what follows; there 95 % of the words
 * must agree.
 *
 * The whole set takes minutes; without ES_TEST_LONG=1 the larger model is tried on a few recordings only.
 */
#include "speech.h"

static double number(const es_json_node *o, const char *key)
{
    double v = 0;

    es_json_number(es_json_get(o, key), &v);
    return v;
}

static int64_t ms_of(double seconds)
{
    return llrint(seconds * 1000);
}

/* The tokens of all segments, one after the other. */
static size_t reference_tokens(const reference *r, int32_t *ids, size_t room)
{
    size_t n = 0;

    for (const es_json_node *s = es_json_first(es_json_get(r->root, "segments")); s; s = es_json_next(s))
        for (const es_json_node *t = es_json_first(es_json_get(s, "tokens")); t; t = es_json_next(t)) {
            int64_t id = -1;
            es_json_int(t, 0, 60000, &id);
            if (n < room) ids[n] = (int32_t)id;
            n++;
        }
    return n;
}

/* The reference's text up to where it becomes a guess, and the transcript's of the same time. tiny takes half a minute
 * of German for English; what it makes of that hangs on the last bits of the sound, which is resampled here. */
static void likely_text(const reference *r, const es_transcript *t, char *want, char *have, size_t room)
{
    size_t n = 0, m = 0;
    int64_t until = 0;

    for (const es_json_node *s = es_json_first(es_json_get(r->root, "segments")); s; s = es_json_next(s)) {
        const char *text = es_json_string(es_json_get(s, "text"));
        if (number(s, "avg_logprob") < -1 || n + strlen(text) >= room) break;
        memcpy(want + n, text, strlen(text));
        n += strlen(text);
        until = ms_of(number(s, "end"));
    }
    for (size_t i = 0; i < t->n_segments; i++) {
        const es_segment *g = &t->segments[i];
        if (g->start_ms >= until || m + g->text_bytes >= room) break;
        memcpy(have + m, t->text + g->text_at, g->text_bytes);
        m += g->text_bytes;
    }
    want[n] = have[m] = 0;
}

/* Edits between the words of two texts. */
static int word_edits(const char *a, size_t na, const char *b, size_t nb, int *reference_words)
{
    enum { MOST = 1024 };
    static size_t wa[MOST][2], wb[MOST][2];
    static int row[MOST + 1];
    int n = split_words(a, na, wa, MOST), m = split_words(b, nb, wb, MOST);

    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            bool same = wa[i - 1][1] == wb[j - 1][1] && memcmp(a + wa[i - 1][0], b + wb[j - 1][0], wa[i - 1][1]) == 0;
            int best = diagonal + !same;
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    *reference_words = m;
    return row[m];
}

/* ---- comparing ---- */

typedef struct tally {
    int words, late; /* words compared, words whose times differ by more than 40 ms */
    int files, equal;
    double worst_logprob;
} tally;

static bool same_tokens(const es_transcript *t, const int32_t *ids, size_t n)
{
    return t->n_tokens == n && memcmp(t->tokens, ids, n * sizeof *ids) == 0;
}

/* bound: of likelihoods. Where the sound was resampled, another version of the resampler moves them. */
static void compare_segments(const char *name, const es_transcript *t, const reference *r, double bound, tally *sum)
{
    const es_json_node *s = es_json_first(es_json_get(r->root, "segments"));
    size_t i = 0;
    int64_t duration = r->info.duration_ms;

    for (; s && i < t->n_segments; s = es_json_next(s), i++) {
        const es_segment *have = &t->segments[i];
        const char *text = es_json_string(es_json_get(s, "text"));
        int64_t start = ms_of(number(s, "start")), end = ms_of(number(s, "end"));
        CHECK(have->text_bytes == strlen(text) && memcmp(t->text + have->text_at, text, have->text_bytes) == 0,
              "%s, segment %zu: \"%.*s\", expected \"%s\"", name, i, (int)have->text_bytes, t->text + have->text_at,
              text);
        if (have->n_words == 0) {
            CHECK(have->start_ms == (start < duration ? start : duration) &&
                      have->end_ms == (end < duration ? end : duration),
                  "%s, segment %zu: %lld to %lld ms, expected %lld to %lld", name, i, (long long)have->start_ms,
                  (long long)have->end_ms, (long long)start, (long long)end);
        }
        double off = fabs((double)have->avg_logprob - number(s, "avg_logprob"));
        if (off > sum->worst_logprob) sum->worst_logprob = off;
        CHECK(off < bound, "%s, segment %zu: avg_logprob %g, expected %g", name, i, (double)have->avg_logprob,
              number(s, "avg_logprob"));
        CHECK(fabs((double)have->no_speech - number(s, "no_speech_prob")) < bound,
              "%s, segment %zu: no_speech %g, expected %g", name, i, (double)have->no_speech,
              number(s, "no_speech_prob"));
        CHECK(fabs((double)have->compression_ratio - number(s, "compression_ratio")) < 1e-4,
              "%s, segment %zu: compression %g, expected %g", name, i, (double)have->compression_ratio,
              number(s, "compression_ratio"));
        size_t k = 0;
        for (const es_json_node *w = es_json_first(es_json_get(s, "words")); w && k < have->n_words;
             w = es_json_next(w), k++) {
            const es_word *word = &t->words[have->first_word + k];
            const es_json_node *from = es_json_first(w), *to = es_json_next(from), *said = es_json_next(to);
            double a = 0, b = 0;
            es_json_number(from, &a);
            es_json_number(to, &b);
            const char *wanted = es_json_string(said);
            CHECK(word->text_bytes == strlen(wanted) && memcmp(t->text + word->text_at, wanted, word->text_bytes) == 0,
                  "%s, segment %zu, word %zu: \"%.*s\", expected \"%s\"", name, i, k, (int)word->text_bytes,
                  t->text + word->text_at, wanted);
            sum->words++;
            sum->late += llabs(word->start_ms - ms_of(a)) > 40 || llabs(word->end_ms - ms_of(b)) > 40;
        }
    }
    CHECK(!s && i == t->n_segments, "%s: %zu segments", name, t->n_segments);
}

static void compare(model *m, const char *name, const char *setting, const char *recording, bool exact, tally *sum)
{
    es_transcribe_options o = reference_options();
    es_transcript t = {0};
    static int32_t ids[8192];
    reference r;
    es_err err = {0};
    char label[128];

    snprintf(label, sizeof label, "%s %s %s", name, setting, recording);
    if (!open_reference(&r, name, setting, recording)) return;
    o.words = o.seek_words = setting[0] == 'B';
    if (setting[0] == 'E') o.language = "en";
    es_sound sound = es_sound_of(r.sound);
    int rc = es_transcribe(m->transcriber, &sound, &o, &t, &err);
    CHECK(rc == ES_OK, "%s: %s", label, err.text);
    size_t n = reference_tokens(&r, ids, 8192);
    const char *language = es_json_string(es_json_get(r.root, "language"));
    CHECK(language && strcmp(t.language, language) == 0, "%s: language %s, expected %s", label, t.language, language);
    sum->files++;
    if (same_tokens(&t, ids, n)) {
        sum->equal++;
        compare_segments(label, &t, &r, exact ? 2e-4 : 1e-2, sum);
        CHECK(fabs((double)t.language_probability - number(r.root, "language_probability")) < 0.02 || setting[0] == 'E',
              "%s: language probability %g, expected %g", label, (double)t.language_probability,
              number(r.root, "language_probability"));
    } else {
        static char have[8192], want[8192];
        likely_text(&r, &t, want, have, sizeof want);
        int words, edits = word_edits(have, strlen(have), want, strlen(want), &words);
        if (getenv("ES_TEST_VERBOSE"))
            printf("    %s: %d of %d words differ\n      %s\n      %s\n", label, edits, words, have, want);
        CHECK(!exact, "%s: %zu tokens, expected the same %zu; \"%s\"", label, t.n_tokens, n, have);
        CHECK(words > 0 && edits * 20 <= words, "%s: %d of %d words differ", label, edits, words);
    }
    es_transcript_done(&t);
    close_reference(&r);
}

/* jfk and the read-aloud clips are clean; the others are long, noisy or in another language than they seem. */
static const struct {
    const char *name;
    bool exact, quick; /* quick: also for the larger model without ES_TEST_LONG */
} recordings[] = {
    {"jfk", true, true},
    {"short", true, true},
    {"mr_quilter_1272-128104-0000", true, false},
    {"sense_and_sensibility_01_austen_64kb-0870", true, false},
    {"sense_and_sensibility_01_austen_64kb-0880", true, true},
    {"sense_and_sensibility_01_austen_64kb-0890", true, false},
    {"1688-142285-0000", true, true},
    {"1688-142285-0001", true, false},
    {"1688-142285-0003", true, false},
    {"1998-15444-0000", true, false},
    {"1998-15444-0001", true, false},
    {"1998-15444-0003", true, false},
    {"2033-164914-0000", true, false},
    {"2033-164914-0001", true, false},
    {"2033-164914-0003", true, false},
    {"es_test_clip", true, false},
    {"dev00", false, false},
    {"mix3", false, true},
    {"en_de_multilingual", false, false},
    {"sample", false, false},
};

static void compare_all(const char *name, const char *setting, bool quick)
{
    model m;
    tally sum = {0};
    char file[64];

    snprintf(file, sizeof file, "%s.pack", name);
    if (!open_model(&m, file)) return;
    for (size_t i = 0; i < sizeof recordings / sizeof *recordings; i++) {
        if (quick && !recordings[i].quick && !getenv("ES_TEST_LONG")) continue;
        compare(&m, name, setting, recordings[i].name, recordings[i].exact, &sum);
    }
    if (getenv("ES_TEST_VERBOSE"))
        printf("    %s %s: %d of %d files equal, %d of %d words later than 40 ms, log-probability within %g\n", name,
               setting, sum.equal, sum.files, sum.late, sum.words, sum.worst_logprob);
    if (setting[0] == 'B' && sum.files)
        CHECK(sum.words > 50 && sum.late * 20 <= sum.words, "%d of %d words are off by more than 40 ms", sum.late,
              sum.words);
    close_model(&m);
}

static void tiny_greedy(void)
{
    compare_all("whisper-tiny", "A", false);
}

static void tiny_words(void)
{
    compare_all("whisper-tiny", "B", true);
}

static void base_greedy(void)
{
    compare_all("whisper-base", "A", true);
}

static void base_words(void)
{
    compare_all("whisper-base", "B", true);
}

static void base_language_given(void)
{
    model m;
    tally sum = {0};

    if (!open_model(&m, "whisper-base.pack")) return;
    compare(&m, "whisper-base", "E", "2033-164914-0001", true, &sum);
    close_model(&m);
}

static const es_test tests[] = {
    {"tiny_greedy", tiny_greedy},
    {"tiny_words", tiny_words},
    {"base_greedy", base_greedy},
    {"base_words", base_words},
    {"base_language_given", base_language_given},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
