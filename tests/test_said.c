/*
 * test_said.c - whose each word is: single rules, a telephone call against what people wrote down, segments that are cut.
 */
#define _GNU_SOURCE
#include "recorded.h"
#include "work.h"

#include "base/json.h"
#include "earshot.h"
#include "pipeline/speakers/attribute.h"
#include "speech/said.h"
#include "speech/score.h"

/* ---- rules ---- */

static void said_by(es_said *words, size_t n, const es_spoken *turns, size_t m, int speakers)
{
    es_work w = work_of(es_said_bytes(n, speakers));

    es_said_by(words, n, turns, m, speakers, &w);
    work_done(&w);
}

/* Words of 200 ms each from 0 on; a letter for the speaker expected, upper case where a sentence ends behind the word. */
static void row(const char *what, const es_spoken *turns, size_t m, int64_t gap_ms, const char *want)
{
    es_said words[32];
    size_t n = strlen(want);

    for (size_t i = 0; i < n; i++)
        words[i] = (es_said){.start_ms = (int64_t)i * (200 + gap_ms), .end_ms = (int64_t)i * (200 + gap_ms) + 200,
                             .ends_sentence = want[i] >= 'A' && want[i] <= 'Z'};
    said_by(words, n, turns, m, 3);
    for (size_t i = 0; i < n; i++)
        CHECK(words[i].speaker == (want[i] | 32) - 'a', "%s: word %zu is %c's, expected %c's", what, i, 'a' + words[i].speaker, want[i] | 32);
}

static void rules(void)
{
    const es_spoken plain[] = {{0, 1000, 0}, {1000, 2000, 1}};
    row("two turns", plain, 2, 0, "aaaaabbbbb");
    /* One stray word in a sentence goes back, two do not; one behind the end of a sentence stays. */
    const es_spoken stray[] = {{0, 800, 0}, {800, 1000, 1}, {1000, 2000, 0}};
    row("a stray word", stray, 3, 0, "aaaaaaaaaa");
    row("a stray word between sentences", stray, 3, 0, "aaaABaaaaa");
    const es_spoken two[] = {{0, 800, 0}, {800, 1200, 1}, {1200, 2000, 0}};
    row("two words", two, 3, 0, "aaaabbaaaa");
    /* Words outside of all turns: the nearest within a second, else the one before. */
    const es_spoken far[] = {{0, 400, 0}, {4000, 5000, 1}};
    row("far from turns", far, 2, 300, "aaaaaabbbb");
    row("nobody speaks", NULL, 0, 0, "");
    es_said alone = {.start_ms = 0, .end_ms = 200};
    said_by(&alone, 1, NULL, 0, 0);
    CHECK(alone.speaker == -1 && alone.unsupported);
    es_said late = {.start_ms = 9000, .end_ms = 9000};
    said_by(&late, 1, plain, 2, 2);
    CHECK(late.unsupported, "a word 7 s behind the last turn is supported");
    /* A word of no length has a speaker, and one stretched over the pause before it belongs to who speaks when it ends. */
    es_said stretched[] = {{0, 200, true, 0, false}, {300, 5200, false, 0, false}, {5200, 5200, false, 0, false}};
    const es_spoken apart[] = {{0, 3000, 0}, {5000, 6000, 2}};
    said_by(stretched, 3, apart, 2, 3);
    CHECK(stretched[0].speaker == 0 && stretched[1].speaker == 2 && stretched[2].speaker == 2, "%d %d %d", stretched[0].speaker,
          stretched[1].speaker, stretched[2].speaker);
}

static void meanwhile(void)
{
    const es_spoken turns[] = {{0, 2000, 0}, {1000, 1300, 1}, {1800, 3000, 2}};
    size_t from = 0;

    CHECK_INT(es_said_meanwhile(turns, 3, 100, 300, 0, &from), -1);
    CHECK_INT(es_said_meanwhile(turns, 3, 950, 1150, 0, &from), 1);
    CHECK_INT(es_said_meanwhile(turns, 3, 1100, 1200, 1, &from), 0);
    CHECK_INT(es_said_meanwhile(turns, 3, 1700, 1820, 0, &from), -1); /* a sixth of it is an edge, not a voice */
    CHECK_INT(es_said_meanwhile(turns, 3, 1850, 1850, 0, &from), 2);
    CHECK_INT(es_said_meanwhile(turns, 3, 4000, 4100, -1, &from), -1);
}

/* ---- a telephone call ---- */

enum { MOST = 256 };

typedef struct heard_word {
    char text[32]; /* small letters and digits alone */
    int64_t start_ms, end_ms;
    int speaker;
    bool ends;
} heard_word;

static void plain(char out[32], const char *text)
{
    size_t n = 0;

    for (; *text && n < 31; text++)
        if ((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9')) out[n++] = *text;
        else if (*text >= 'A' && *text <= 'Z') out[n++] = (char)(*text + 32);
    out[n] = 0;
}

/* file channel speaker start end words... */
static int read_stm(heard_word *w, const char *path, char names[4][32])
{
    FILE *f = fopen(path, "r");
    char line[1024], *save;
    int n = 0;

    while (f && fgets(line, sizeof line, f)) {
        char *column = strtok_r(line, " \n", &save);
        int speaker = 0;
        for (int i = 0; column; i++, column = strtok_r(NULL, " \n", &save)) {
            if (i == 2) {
                while (names[speaker][0] && strcmp(names[speaker], column) && speaker < 3) speaker++;
                snprintf(names[speaker], 32, "%s", column);
            }
            if (i < 5 || n == MOST) continue;
            plain(w[n].text, column);
            w[n++].speaker = speaker;
        }
    }
    if (f) fclose(f);
    return n;
}

/* The reference transcript's words: [[start, end, text, probability] ...] of each segment. */
static int read_golden(heard_word *w, const char *path)
{
    static char text[1 << 17];
    FILE *f = fopen(path, "r");
    size_t bytes = f ? fread(text, 1, sizeof text, f) : 0;
    es_json *j = NULL;
    int n = 0;

    if (f) fclose(f);
    if (es_json_parse(&j, text, bytes, path, NULL) != ES_OK) return 0;
    for (const es_json_node *s = es_json_first(es_json_get(es_json_root(j), "segments")); s; s = es_json_next(s))
        for (const es_json_node *q = es_json_first(es_json_get(s, "words")); q && n < MOST; q = es_json_next(q)) {
            const es_json_node *start = es_json_first(q), *end = es_json_next(start), *word = es_json_next(end);
            double a = 0, b = 0;
            es_json_number(start, &a), es_json_number(end, &b);
            const char *said = es_json_string(word);
            w[n] = (heard_word){.start_ms = llrint(1000 * a), .end_ms = llrint(1000 * b), .ends = strpbrk(said, ".?!") != NULL};
            plain(w[n++].text, said);
        }
    es_json_close(j);
    return n;
}

/* The longest common row of words: match[i] of a is a word of b, or -1. */
static int match_words(int *match, const heard_word *a, int n, const heard_word *b, int m)
{
    static int best[MOST + 1][MOST + 1];
    int matched = 0;

    memset(best, 0, sizeof best);
    for (int i = n - 1; i >= 0; i--)
        for (int j = m - 1; j >= 0; j--) {
            best[i][j] = best[i + 1][j] > best[i][j + 1] ? best[i + 1][j] : best[i][j + 1];
            if (!strcmp(a[i].text, b[j].text) && best[i + 1][j + 1] + 1 > best[i][j]) best[i][j] = best[i + 1][j + 1] + 1;
        }
    for (int i = 0, j = 0; i < n; i++) {
        match[i] = -1;
        while (j < m && best[i][j] == best[i][j + 1]) j++;
        if (j < m && !strcmp(a[i].text, b[j].text) && best[i][j] == best[i + 1][j + 1] + 1) match[i] = j++, matched++;
    }
    return matched;
}

static void telephone_call(void)
{
    static heard_word said[MOST], wrote[MOST];
    const char *golden = es_test_data("goldens/asr/whisper-base/B/sample.json"), *stm = es_test_data("audio/pyannote_sample/sample.stm");
    es_diarize_options o = es_diarize_defaults();
    es_diarize_models m = {0};
    es_diarize_windows w;
    es_diarization d = {0};
    es_err err = {0};
    char names[4][32] = {{0}};
    int match[MOST], right[2] = {0, 0};
    es_said words[MOST];

    if (!golden || !stm || !recorded(&w, "sample")) {
        es_test_skip("audio/pyannote_sample");
        return;
    }
    w.samples = 480000;
    CHECK(es_diarize_conclude(&d, &w, &m, &o, &err) == ES_OK, "%s", err.text);
    int n = read_golden(said, golden), k = read_stm(wrote, stm, names);
    CHECK(n > 60 && k > 80, "%d words heard, %d written", n, k);
    for (int i = 0; i < n; i++) words[i] = (es_said){said[i].start_ms, said[i].end_ms, said[i].ends, -1, false};
    said_by(words, (size_t)n, d.exclusive, d.n_exclusive, d.n_speakers);
    int matched = match_words(match, said, n, wrote, k);
    for (int i = 0; i < n; i++)
        if (match[i] >= 0)
            for (int flip = 0; flip < 2; flip++) right[flip] += wrote[match[i]].speaker == (words[i].speaker ^ flip);
    int best = right[0] > right[1] ? right[0] : right[1];
    CHECK(matched >= 50 && 10 * best >= 9 * matched, "%d of the %d words that were written down have their speaker", best, matched);
    printf("    %d of %d words that match the written ones have the right speaker\n", best, matched);
    es_diarization_done(&d);
    es_diarize_windows_done(&w);
}

/* The same call from its samples, with the models that packages carry. */
static void from_the_sound(void)
{
    static heard_word said[MOST], wrote[MOST];
    const char *pack = es_test_models("whisper-base.pack"), *stm = es_test_data("audio/pyannote_sample/sample.stm");
    es_engine_options o = ES_ENGINE_OPTIONS;
    es_engine *engine = NULL;
    es_speech *speech = NULL;
    es_error error = {0};
    char names[4][32] = {{0}}, folder[4096];
    int match[MOST], right[2] = {0, 0}, n = 0;
    recording r;

    if (!pack || !es_test_models("segmentation-3.0.pack") || !es_test_models("campplus.pack")) {
        es_test_skip("ES_TEST_MODELS: whisper-base, segmentation-3.0 and campplus");
        return;
    }
    if (!stm || !load(&r, "audio/pyannote_sample/sample.wav")) return;
    snprintf(folder, sizeof folder, "%s", pack);
    *strrchr(folder, '/') = 0;
    o.models = folder;
    o.asr = "whisper-base";
    o.embedder = "none";
    o.device = "cpu";
    o.threads = 2;
    CHECK(es_engine_open(&engine, &o, &error) == ES_DONE && es_engine_transcribe(engine, &speech, r.x, r.n, NULL, NULL, NULL, &error) == ES_DONE,
          "%s", error.text);
    for (size_t i = 0; speech && i < es_speech_words(speech) && n < MOST; i++) {
        es_word_view w;
        char text[64];
        CHECK(es_speech_word(speech, i, &w) == ES_DONE && w.speaker >= 0 && w.speaker < 2, "word %zu has the speaker %d", i, w.speaker);
        snprintf(text, sizeof text, "%.*s", (int)w.text_bytes, w.text);
        plain(said[n].text, text);
        said[n++].speaker = w.speaker;
    }
    int k = read_stm(wrote, stm, names), matched = match_words(match, said, n, wrote, k);
    for (int i = 0; i < n; i++)
        if (match[i] >= 0)
            for (int flip = 0; flip < 2; flip++) right[flip] += wrote[match[i]].speaker == (said[i].speaker ^ flip);
    int best = right[0] > right[1] ? right[0] : right[1];
    CHECK(!speech || es_speech_speakers(speech) == 2, "%d speakers", speech ? es_speech_speakers(speech) : 0);
    CHECK(matched >= 50 && 10 * best >= 9 * matched, "%d of the %d words that were written down have their speaker", best, matched);
    printf("    %d of %d words that match the written ones have the right speaker\n", best, matched);
    es_speech_close(speech);
    es_engine_close(engine);
    free(r.x);
}

/* ---- segments ---- */

/* A table of single bytes and the words below, as packs hold it. */
static es_bpe *small_table(void)
{
    static const char *const more[] = {" one", " two", " three", " four"};
    uint8_t table[600];
    size_t n = 0;
    es_bpe *b = NULL;
    es_err err = {0};

    for (int i = 0; i < 256; i++) table[n++] = 1, table[n++] = (uint8_t)i;
    for (int i = 0; i < 4; i++) {
        table[n++] = (uint8_t)strlen(more[i]);
        memcpy(table + n, more[i], strlen(more[i]));
        n += strlen(more[i]);
    }
    CHECK(es_bpe_open(&b, table, n, &err) == ES_OK, "%s", err.text);
    return b;
}

static void cut_segments(void)
{
    static const char *const words[] = {" one", " two", " three", " four"};
    const int32_t tokens[] = {1000, 256, 257, 258, 259, 1500}; /* a timestamp before and one behind */
    es_spoken turns[] = {{0, 1000, 0}, {1000, 2000, 1}};
    es_diarization who = {.exclusive = turns, .n_exclusive = 2, .turns = turns, .n_turns = 2, .n_speakers = 2};
    es_transcript t = {0};
    es_segment s = {.start_ms = 0, .end_ms = 2100, .speaker = -1, .avg_logprob = -0.5f, .language = "en"};
    es_err err = {0};
    es_bpe *b = small_table();

    CHECK(es_transcript_add_segment(&t, &s, " one two three four", 19, tokens, 6) == 0);
    for (int i = 0; i < 4; i++) {
        es_word w = {.start_ms = 500 * i, .end_ms = 500 * i + 450, .speaker = -1};
        CHECK(es_transcript_add_word(&t, &w, words[i], strlen(words[i])) == 0);
    }
    s.start_ms = 2500, s.end_ms = 2900; /* no words: as a whole */
    CHECK(es_transcript_add_segment(&t, &s, " two", 4, tokens + 2, 1) == 0);
    CHECK(es_attribute(&t, &who, b, &err) == ES_OK, "%s", err.text);
    CHECK_INT(t.n_segments, 3);
    CHECK_INT(t.n_words, 4);
    CHECK_INT(t.n_tokens, 7);
    if (t.n_segments == 3) {
        const es_segment *x = t.segments;
        CHECK(x[0].speaker == 0 && x[0].start_ms == 0 && x[0].end_ms == 950 && x[0].n_words == 2 && x[0].n_tokens == 3);
        CHECK(x[1].speaker == 1 && x[1].start_ms == 1000 && x[1].end_ms == 2100 && x[1].n_words == 2 && x[1].n_tokens == 3);
        CHECK(x[2].speaker == 1 && x[2].start_ms == 2500 && x[2].n_words == 0 && x[2].n_tokens == 1);
        CHECK(x[0].text_bytes == 8 && !memcmp(t.text + x[0].text_at, " one two", 8));
        CHECK(x[1].text_bytes == 11 && !memcmp(t.text + x[1].text_at, " three four", 11));
        CHECK(t.tokens[x[1].first_token] == 258 && t.words[3].speaker == 1 && t.words[1].speaker == 0);
        CHECK(x[1].avg_logprob == -0.5f && !strcmp(x[1].language, "en"));
    }
    /* Where nobody was heard nothing changes. */
    es_diarization nobody = {0};
    CHECK(es_attribute(&t, &nobody, b, &err) == ES_OK && t.n_segments == 3);
    es_transcript_done(&t);
    es_bpe_close(b);
}

static bool same_transcript(const es_transcript *a, const es_transcript *b)
{
    bool same = a->n_segments == b->n_segments && a->n_words == b->n_words && a->n_tokens == b->n_tokens &&
                !memcmp(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);

    for (size_t i = 0; i < a->n_segments && same; i++) {
        const es_segment *x = &a->segments[i], *y = &b->segments[i];
        same = x->start_ms == y->start_ms && x->end_ms == y->end_ms && x->speaker == y->speaker &&
               x->n_words == y->n_words && x->n_tokens == y->n_tokens && x->text_bytes == y->text_bytes &&
               !memcmp(a->text + x->text_at, b->text + y->text_at, x->text_bytes);
    }
    for (size_t i = 0; i < a->n_words && same; i++)
        same = a->words[i].start_ms == b->words[i].start_ms && a->words[i].speaker == b->words[i].speaker;
    return same;
}

/* What was cut is joined, and only that: not what stands side by side with another speaker, and not what has no words. */
static void join_segments(void)
{
    static const char *const words[] = {" one", " two", " three", " four"};
    const int32_t tokens[] = {1000, 256, 257, 258, 259, 1500}, other[] = {1600, 256, 256, 257, 258, 1700};
    es_spoken turns[] = {{0, 1000, 0}, {1000, 2050, 1}, {2050, 3050, 0}, {3050, 4500, 1}};
    es_diarization who = {.exclusive = turns, .n_exclusive = 4, .turns = turns, .n_turns = 4, .n_speakers = 2};
    es_transcript t[2] = {{.language = "en", .language_probability = 0.5f}, {.language = "en", .language_probability = 0.5f}};
    es_bpe *b = small_table();
    es_err err = {0};

    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            const es_segment s = {.start_ms = 2100 * k, .end_ms = 2100 * k + 2000, .speaker = -1, .language = "en"};
            CHECK(es_transcript_add_segment(&t[i], &s, " one two three four", 19, tokens, 6) == 0);
            for (int j = 0; j < 4; j++) {
                es_word w = {.start_ms = s.start_ms + 500 * j, .end_ms = s.start_ms + 500 * j + 450, .speaker = -1};
                CHECK(es_transcript_add_word(&t[i], &w, words[j], strlen(words[j])) == 0);
            }
        }
        const es_segment s = {.start_ms = 4200, .end_ms = 4400, .speaker = -1, .language = "en"};
        CHECK(es_transcript_add_segment(&t[i], &s, " two", 4, tokens + 2, 1) == 0);
    }
    CHECK(es_attribute(&t[1], &who, b, &err) == ES_OK && t[1].n_segments == 5, "%zu segments: %s", t[1].n_segments, err.text);
    CHECK(es_attribute_undo(&t[1], b, false, &err) == ES_OK, "%s", err.text);
    CHECK(same_transcript(&t[0], &t[1]), "%zu segments, there were %zu", t[1].n_segments, t[0].n_segments);
    CHECK(t[1].language_probability == 0.5f && !strcmp(t[1].language, "en"), "another language");

    /* Tokens that spell something else are another model's. */
    memcpy(t[1].tokens, other, sizeof other);
    CHECK(es_attribute_undo(&t[1], b, false, &err) == ES_EARG && strstr(err.text, "tokens"), "%s", err.text);
    CHECK_INT(t[1].n_segments, 3);
    CHECK(es_attribute_undo(&t[1], b, true, &err) == ES_OK, "%s", err.text);
    es_transcript_done(&t[0]), es_transcript_done(&t[1]);
    es_bpe_close(b);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"rules", rules},
        {"meanwhile", meanwhile},
        {"telephone_call", telephone_call},
        {"from_the_sound", from_the_sound},
        {"cut_segments", cut_segments},
        {"join_segments", join_segments},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
