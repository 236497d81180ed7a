/*
 * test_window.c - the rules of one window by themselves: its prompt, the judgement over its text, the cut into pieces,
 * and which of them are written. No model and no data: the vocabulary is 256 bytes and the outputs are made here.
 */
#include "test.h"

#include "pipeline/words/window.h"

/* A vocabulary of bytes, and special tokens after it as a multilingual model has them. */
static const es_whisper_ids byte_ids = {.eot = 256,
                                        .sot = 257,
                                        .lang_begin = 258,
                                        .n_lang = 99,
                                        .translate = 357,
                                        .transcribe = 358,
                                        .sot_lm = 359,
                                        .sot_prev = 360,
                                        .no_speech = 361,
                                        .no_timestamps = 362,
                                        .timestamp_begin = 363};

static es_window_rules byte_rules(es_bpe **b)
{
    uint8_t table[512];
    es_err err = {0};

    for (int i = 0; i < 256; i++) table[2 * i] = 1, table[2 * i + 1] = (uint8_t)i;
    CHECK_INT(es_bpe_open(b, table, sizeof table, &err), ES_OK);
    return (es_window_rules){.bpe = *b,
                             .ids = byte_ids,
                             .multilingual = true,
                             .timestamps = true,
                             .temperature = {0, 0.2f, 0.4f},
                             .n_temperatures = 3,
                             .most_compression = 2.4f,
                             .least_logprob = -1,
                             .most_no_speech = 0.6f,
                             .max_initial = 50,
                             .content = 0x123456789ABCDEF0u};
}

/* Text with timestamps written as |seconds|. */
static es_whisper_output spoken(const char *text, float avg_logprob, float no_speech)
{
    es_whisper_output out = {.avg_logprob = avg_logprob, .no_speech = no_speech, .complete = true};

    while (*text) {
        if (*text == '|') {
            char *end;
            out.tokens[out.n++] = byte_ids.timestamp_begin + (int32_t)lrint(strtod(text + 1, &end) / 0.02);
            text = end + 1;
        } else {
            out.tokens[out.n++] = (unsigned char)*text++;
        }
    }
    return out;
}

static void prompt(void)
{
    es_bpe *b;
    es_window_rules r = byte_rules(&b);
    static es_window w;
    int32_t history[300];

    for (int i = 0; i < 300; i++) history[i] = i % 256;
    es_window_begin(&w, &r, 0, 3000, 0, 2, NULL, 0);
    CHECK(w.n_prompt == 3 && w.sot_at == 0 && w.prompt[0] == 257 && w.prompt[1] == 260 && w.prompt[2] == 358);
    es_window_begin(&w, &r, 0, 3000, 0, 0, history, 300);
    CHECK_INT(w.n_prompt, 227);
    CHECK(w.prompt[0] == byte_ids.sot_prev && w.prompt[1] == history[77] && w.prompt[223] == history[299]);
    CHECK(w.sot_at == 224 && w.prompt[224] == byte_ids.sot);
    r.translate = true, r.timestamps = false;
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(w.n_prompt == 4 && w.prompt[2] == byte_ids.translate && w.prompt[3] == byte_ids.no_timestamps);
    r.multilingual = r.translate = false, r.timestamps = true;
    es_window_begin(&w, &r, 7, 3000, 0, 0, NULL, 0);
    CHECK(w.n_prompt == 1 && w.prompt[0] == byte_ids.sot);
    es_whisper_request q = es_window_request(&w, &r);
    CHECK(q.temperature == 0 && q.key[0] == 0x9ABCDEF0u && q.key[1] == 0x12345678u && q.key[2] == 7 && q.key[3] == 0);
    es_bpe_close(b);
}

static void cut(void)
{
    static const struct {
        const char *text;
        int frames, pieces;
        int64_t next;
        bool ends;
        double start[3], end[3];
    } cases[] = {
        /* One pair: complete up to it, the rest is heard again. */
        {"|0| a|2.5||2.5| b", 3000, 1, 100 + 250, false, {1.0}, {3.5}},
        {"|0| a|2.5||3| b|6||6|", 3000, 2, 100 + 600, false, {1.0, 4.0}, {3.5, 7.0}},
        /* A single timestamp at the end: nothing follows in this window. */
        {"|0| a|2.5||3| b|6|", 3000, 2, 3100, true, {1.0, 4.0}, {3.5, 7.0}},
        {"|0.5| a|2.5|", 3000, 1, 3100, true, {1.0}, {3.5}},
        /* No timestamp, or only the first: the whole window. */
        {" a b c", 1234, 1, 1334, false, {1.0}, {13.34}},
        {"|0| a b c", 1234, 1, 1334, false, {1.0}, {13.34}},
        {"|0.4| a b c", 1234, 1, 1334, false, {1.0}, {1.4}},
        {"", 50, 1, 150, false, {1.0}, {1.5}},
        /* A piece that closes at once must not hold the recording up. */
        {"|0| a|0.02||0.02| b", 3000, 1, 120, false, {1.0}, {1.02}},
    };
    es_bpe *b;
    es_window_rules r = byte_rules(&b);
    static es_window w;
    static es_window_piece pieces[ES_WINDOW_PIECES];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t next;
        bool ends;
        es_window_begin(&w, &r, 100, cases[i].frames, 0, 0, NULL, 0);
        w.out = spoken(cases[i].text, -0.2f, 0);
        int n = es_window_split(&w, &r, pieces, &next, &ends), tokens = 0;
        CHECK(n == cases[i].pieces, "%s: %d pieces", cases[i].text, n);
        CHECK(next == cases[i].next, "%s: next %lld", cases[i].text, (long long)next);
        CHECK(ends == cases[i].ends, "%s: ends %d", cases[i].text, ends);
        for (int k = 0; k < n && k < cases[i].pieces; k++) {
            CHECK(fabs(pieces[k].start - cases[i].start[k]) < 1e-9 && fabs(pieces[k].end - cases[i].end[k]) < 1e-9,
                  "%s, piece %d: %g to %g", cases[i].text, k, pieces[k].start, pieces[k].end);
            CHECK_INT(pieces[k].first_token, tokens);
            tokens += pieces[k].n_tokens;
        }
    }
    /* The most pieces that fit: pairs all the way. */
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    w.out = (es_whisper_output){.n = ES_WHISPER_POSITIONS / 2};
    for (int i = 0; i < w.out.n; i++) w.out.tokens[i] = byte_ids.timestamp_begin + i;
    int64_t next;
    bool ends;
    CHECK_INT(es_window_split(&w, &r, pieces, &next, &ends), ES_WHISPER_POSITIONS / 2 - 1);
    es_bpe_close(b);
}

static void judge(void)
{
    es_bpe *b;
    es_window_rules r = byte_rules(&b);
    static es_window w;
    static es_window_scratch s;
    es_whisper_output good = spoken("|0| the quick brown fox jumps|2|", -0.3f, 0.1f);
    es_whisper_output guess = spoken("|0| the quick brown fox|2|", -1.2f, 0.1f);
    es_whisper_output worse = spoken("|0| the quick brown box|2|", -1.7f, 0.1f);
    es_whisper_output silence = spoken("|0| thank you|2|", -1.2f, 0.7f);
    es_whisper_output loud = spoken("|0| thank you|2|", -0.9f, 0.7f);
    es_whisper_output packs =
        spoken("|0| going to the big store going to the big store going to the big store going to the big "
               "store going to the big store|2|",
               -0.1f, 0.1f);
    es_whisper_output loops = spoken("|0| a b c d a b c d a b c d a b c d a b c d a b c d|2|", -0.1f, 0.1f);

    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &good, &s) && w.temperature == 0 && !w.looped);
    CHECK(!es_window_is_silence(&w, &r));
    /* An unlikely text is tried again; of three that fail the most likely holds. */
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(!es_window_judge(&w, &r, &worse, &s));
    CHECK_INT(es_window_request(&w, &r).key[3], 1);
    CHECK(!es_window_judge(&w, &r, &guess, &s));
    CHECK(es_window_judge(&w, &r, &worse, &s));
    CHECK(w.out.avg_logprob == guess.avg_logprob && w.temperature == 0.2f && w.last_temperature == 0.4f);
    /* Likely but repeating itself: the unlikely text that does not repeat itself holds. */
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(!es_window_judge(&w, &r, &packs, &s));
    CHECK(!es_window_judge(&w, &r, &worse, &s));
    CHECK(es_window_judge(&w, &r, &loops, &s));
    CHECK(w.out.avg_logprob == worse.avg_logprob && w.in_order);
    /* Six times the same four words does not pack well, but is found. */
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(!es_window_judge(&w, &r, &loops, &s));
    CHECK(w.looped);
    /* With one temperature there is no second try; the mark stays. */
    r.n_temperatures = 1;
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &loops, &s) && w.looped);
    r.n_temperatures = 3;
    /* Unlikely where nothing is said: accepted at once, and silence. Likely: speech. */
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &silence, &s) && es_window_is_silence(&w, &r));
    es_window_begin(&w, &r, 0, 3000, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &loud, &s) && !es_window_is_silence(&w, &r));
    es_bpe_close(b);
}

static void write_segments(void)
{
    es_bpe *b;
    es_window_rules r = byte_rules(&b);
    static es_window w;
    static es_window_scratch s;
    static es_window_piece pieces[ES_WINDOW_PIECES];
    es_transcript t = {0};
    es_err err = {0};
    int64_t next;
    bool ends;

    r.n_temperatures = 1;
    es_whisper_output out =
        spoken("|0| one|2||2|  |3||3| a b c d a b c d a b c d a b c d a b c d a b c d|9|", -0.3f, 0.1f);
    es_window_begin(&w, &r, 1000, 800, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &out, &s));
    int n = es_window_split(&w, &r, pieces, &next, &ends);
    CHECK_INT(n, 3);
    CHECK_INT(es_window_write(&w, &r, pieces, n, 18500, &t, &s, &err), ES_OK);
    CHECK_INT(t.n_segments, 2); /* the blank one is left out */
    if (t.n_segments == 2) {
        CHECK(t.segments[0].start_ms == 10000 && t.segments[0].end_ms == 12000 && t.segments[0].flags == 0);
        CHECK(t.segments[1].start_ms == 13000 && t.segments[1].end_ms == 18500, "%lld",
              (long long)t.segments[1].end_ms);
        CHECK(t.segments[1].flags == ES_SEGMENT_LOOPED && t.segments[1].speaker == -1);
        CHECK_STR(t.segments[1].language, "en");
        CHECK(t.segments[0].text_bytes == 4 && memcmp(t.text + t.segments[0].text_at, " one", 4) == 0);
    }
    /* A loop that runs over the pieces marks each of them. */
    out = spoken("|0| a b c d|1||1| a b c d|2||2| a b c d|3||3| a b c d|4||4| a b c d|5||5| a b c d|6|", -0.3f, 0.1f);
    es_window_begin(&w, &r, 0, 800, 0, 0, NULL, 0);
    CHECK(es_window_judge(&w, &r, &out, &s));
    n = es_window_split(&w, &r, pieces, &next, &ends);
    CHECK_INT(es_window_write(&w, &r, pieces, n, 18500, &t, &s, &err), ES_OK);
    CHECK_INT(t.n_segments, 8);
    for (size_t i = 2; i < t.n_segments; i++) CHECK_INT(t.segments[i].flags, ES_SEGMENT_LOOPED);
    es_transcript_done(&t);
    es_bpe_close(b);
}

static void unsay(void)
{
    es_bpe *b;
    es_window_rules r = byte_rules(&b);
    static es_window w;
    static es_window_scratch s;
    static es_window_piece pieces[ES_WINDOW_PIECES];
    es_transcript t = {0};
    const char *text = " I don't hear that in New Jersey now.";
    es_segment g = {.start_ms = 28000, .end_ms = 29800};
    int64_t next;
    bool ends;

    CHECK_INT(es_transcript_add_segment(&t, &g, text, strlen(text), NULL, 0), 0);
    es_window_begin(&w, &r, 2700, 300, 0, 0, NULL, 0);
    w.out = spoken("|0| Long ago.|1||2| New Jersey, now!|2.8||2.7| Yes.|2.9||2.9| New|3|", -0.3f, 0.1f);
    int n = es_window_split(&w, &r, pieces, &next, &ends);
    CHECK_INT(n, 4);
    for (int i = 0; i < n; i++) pieces[i].n_words = 1;
    pieces[0].start = 27.0, pieces[0].end = 28.0;  /* long before the last word's end: said, in other words */
    pieces[1].start = 29.0, pieces[1].end = 29.82; /* the same words in the same place */
    pieces[2].start = 29.6, pieces[2].end = 29.9;  /* another word that falls under the last one */
    pieces[3].start = 29.8, pieces[3].end = 30.0;  /* after it */
    es_window_unsay(&w, &r, pieces, n, 29.8, &t, &s);
    CHECK(pieces[0].again && pieces[1].again && !pieces[2].again && !pieces[3].again, "%d%d%d%d", pieces[0].again,
          pieces[1].again, pieces[2].again, pieces[3].again);
    CHECK(!es_window_says(&w, &r, &pieces[1]) && es_window_says(&w, &r, &pieces[2]));
    es_transcript_done(&t);
    es_bpe_close(b);
}

static const es_test tests[] = {
    {"prompt", prompt}, {"cut", cut}, {"judge", judge}, {"write", write_segments}, {"unsay", unsay},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
