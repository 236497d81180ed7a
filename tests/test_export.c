/*
 * test_export.c - subtitles and texts against what was typed by hand, and what must hold of any transcript.
 */
#define _GNU_SOURCE
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/utf8.h"
#include "pipeline/exports/cues.h"
#include "pipeline/exports/export.h"
#include "text/unicode.h"

/* ---- transcripts in few words ---- */

static void segment(es_result *r, int64_t start_ms, int64_t end_ms, const char *language, const char *text)
{
    es_segment s = {.start_ms = start_ms,
                    .end_ms = end_ms,
                    .avg_logprob = -0.25f,
                    .no_speech = 0.125f,
                    .compression_ratio = 1.5f,
                    .speaker = -1};

    snprintf(s.language, sizeof s.language, "%s", language);
    es_transcript_add_segment(&r->transcript, &s, text, strlen(text), NULL, 0);
}

static void word(es_result *r, int64_t start_ms, int64_t end_ms, const char *text)
{
    es_word w = {.start_ms = start_ms, .end_ms = end_ms, .probability = 0.5f, .speaker = -1};

    es_transcript_add_word(&r->transcript, &w, text, strlen(text));
}

/* Words of blank-separated text, each `each` ms long, one behind the other. */
static void said(es_result *r, int64_t start_ms, int64_t each, const char *language, const char *text)
{
    size_t n = strlen(text);
    int64_t at = start_ms;
    int words = 0;

    for (size_t i = 0; i < n; i++) words += i == 0 || text[i] == ' ';
    segment(r, start_ms, start_ms + each * words, language, text);
    for (size_t i = 0; i < n; at += each) {
        size_t end = i + 1;
        char one[200];
        while (end < n && text[end] != ' ') end++;
        snprintf(one, sizeof one, "%.*s", (int)(end - i), text + i);
        word(r, at, at + each, one);
        i = end;
    }
}

static void check_text(int line, es_result *r, es_export_format f, const es_export_options *o, const char *want)
{
    char *text = NULL;
    size_t bytes = 0;
    es_err err = {0};

    if (es_export_text(&text, &bytes, f, r, o, &err)) es_test_fail(__FILE__, line, "%s", err.text);
    else if (strcmp(text, want)) es_test_fail(__FILE__, line, "have:\n%s---- want:\n%s----", text, want);
    if (text && strlen(text) != bytes) es_test_fail(__FILE__, line, "%zu bytes, %zu told", strlen(text), bytes);
    free(text);
    es_result_done(r);
}
#define CHECK_TEXT(r, f, o, want) check_text(__LINE__, r, f, o, want)

/* ---- golds ---- */

static void test_srt(void)
{
    es_result r = {.media.duration_ms = 10000};

    said(&r, 1000, 400, "en", " And so, my fellow Americans,");
    said(&r, 4000, 300, "en", " ask not what your country can do for you, ask what you can do for your country.");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL,
               "1\n"
               "00:00:01,000 --> 00:00:03,000\n"
               "And so, my fellow Americans,\n"
               "\n"
               "2\n"
               "00:00:04,000 --> 00:00:09,100\n"
               "ask not what your country can do for you,\n"
               "ask what you can do for your country.\n"
               "\n");
}

static void test_vtt(void)
{
    es_result r = {.media.duration_ms = 4000000};

    said(&r, 61005, 500, "en", " one two");
    said(&r, 3600000, 500, "en", " three four");
    CHECK_TEXT(&r, ES_EXPORT_VTT, NULL,
               "WEBVTT\n"
               "\n"
               "01:01.005 --> 01:02.005\n"
               "one two\n"
               "\n"
               "01:00:00.000 --> 01:00:01.000\n"
               "three four\n"
               "\n");
}

static void test_vtt_words(void)
{
    es_export_options o = {.vtt_words = true};
    es_result r = {.media.duration_ms = 9000};

    segment(&r, 1000, 3000, "en", " I don't <know> & care");
    word(&r, 1000, 1200, " I");
    word(&r, 1200, 1500, " don");
    word(&r, 1500, 1600, "'t");
    word(&r, 2000, 2400, " <know>");
    word(&r, 2400, 2400, " &");
    word(&r, 2400, 3000, " care");
    CHECK_TEXT(&r, ES_EXPORT_VTT, &o,
               "WEBVTT\n"
               "\n"
               "00:01.000 --> 00:03.000\n"
               "I <00:01.200>don't <00:02.000>&lt;know&gt; <00:02.400>&amp; care\n"
               "\n");
}

static void test_arrows(void)
{
    es_result r = {.media.duration_ms = 90000};

    said(&r, 0, 1000, "en", " a --> b ---> c -->");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL, "1\n00:00:00,000 --> 00:00:06,000\na -> b -> c ->\n\n");
    r = (es_result){.media.duration_ms = 90000};
    said(&r, 0, 1000, "ja", " --> \xE3\x81\x82");
    CHECK_TEXT(&r, ES_EXPORT_VTT, NULL, "WEBVTT\n\n00:00.000 --> 00:02.000\n-&gt; \xE3\x81\x82\n\n");
}

static void test_lines(void)
{
    es_export_options o = {.max_line_width = 20};
    es_result r = {.media.duration_ms = 90000};

    /* 20 columns, 2 lines: the first cue is full after "five," and ends at the comma, which lies in its second half;
     * its two lines are made even. */
    said(&r, 0, 1000, "en", " one two three four five, six seven eight nine ten eleven");
    CHECK_TEXT(&r, ES_EXPORT_SRT, &o,
               "1\n"
               "00:00:00,000 --> 00:00:05,000\n"
               "one two three\n"
               "four five,\n"
               "\n"
               "2\n"
               "00:00:05,000 --> 00:00:11,000\n"
               "six seven eight\n"
               "nine ten eleven\n"
               "\n");
    r = (es_result){.media.duration_ms = 90000};
    o.max_lines = 1;
    said(&r, 0, 1000, "en", " one two three four five, six");
    CHECK_TEXT(
        &r, ES_EXPORT_SRT, &o,
        "1\n00:00:00,000 --> 00:00:04,000\none two three four\n\n2\n00:00:04,000 --> 00:00:06,000\nfive, six\n\n");
    r = (es_result){.media.duration_ms = 90000};
    o.max_lines = 3;
    said(&r, 0, 2000, "en", " Donaudampfschifffahrtsgesellschaft.");
    CHECK_TEXT(&r, ES_EXPORT_SRT, &o, "1\n00:00:00,000 --> 00:00:02,000\nDonaudampfschifffahr\ntsgesellschaft.\n\n");
}

/* A full cue ends with the sentence rather than with a later comma. */
static void test_sentence_end(void)
{
    es_export_options o = {.max_line_width = 16};
    es_result r = {.media.duration_ms = 90000};

    said(&r, 0, 1000, "en", " It rains today. So we stay, all of us, here.");
    CHECK_TEXT(&r, ES_EXPORT_SRT, &o,
               "1\n00:00:00,000 --> 00:00:03,000\nIt rains today.\n\n"
               "2\n00:00:03,000 --> 00:00:10,000\nSo we stay, all\nof us, here.\n\n");
}

static void test_pause(void)
{
    es_result r = {.media.duration_ms = 90000};

    segment(&r, 0, 9000, "en", " wait for it");
    word(&r, 0, 500, " wait");
    word(&r, 3500, 4000, " for");
    word(&r, 7001, 7500, " it");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL,
               "1\n00:00:00,000 --> 00:00:04,000\nwait for\n\n2\n00:00:07,001 --> 00:00:07,500\nit\n\n");
}

static void test_times(void)
{
    es_result r = {.media.duration_ms = 5000};

    /* 10 characters need 500 ms: the first gets them from the silence, the second only up to the third, which overlaps
     * the fourth and is cut there; the last one ends with the recording. */
    segment(&r, 0, 100, "en", "0123456789");
    segment(&r, 1000, 1100, "en", "0123456789");
    segment(&r, 1300, 2000, "en", "x");
    segment(&r, 1700, 2500, "en", "y");
    segment(&r, 4900, 4950, "en", "0123456789");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL,
               "1\n00:00:00,000 --> 00:00:00,500\n0123456789\n\n"
               "2\n00:00:01,000 --> 00:00:01,300\n0123456789\n\n"
               "3\n00:00:01,300 --> 00:00:01,700\nx\n\n"
               "4\n00:00:01,700 --> 00:00:02,500\ny\n\n"
               "5\n00:00:04,900 --> 00:00:05,000\n0123456789\n\n");
    r = (es_result){.media.duration_ms = 5000};
    segment(&r, 1000, 1000, "en", "0123456789"); /* two at the same time, of no length */
    segment(&r, 1000, 1000, "en", "abcd");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL,
               "1\n00:00:01,000 --> 00:00:01,500\n0123456789\n\n2\n00:00:01,500 --> 00:00:01,700\nabcd\n\n");
}

static void test_wide(void)
{
    es_export_options o = {.max_line_width = 12};
    es_result r = {.media.duration_ms = 60000};

    /* Six wide characters a line; the full stop does not begin the second one, so it takes the character before it
     * along. Fifteen characters in all, 1.5 s: the times are shared out. */
    segment(&r, 0, 15000, "ja",
            "\xE3\x81\x82\xE3\x81\x84\xE3\x81\x86\xE3\x81\x88\xE3\x81\x8A\xE3\x81\x8B\xE3\x80\x82"
            "\xE3\x81\x8D\xE3\x81\x8F\xE3\x81\x91\xE3\x81\x93\xE3\x81\x95\xE3\x81\x97\xE3\x81\x99\xE3\x81\x9B");
    CHECK_TEXT(
        &r, ES_EXPORT_SRT, &o,
        "1\n00:00:00,000 --> 00:00:07,000\n"
        "\xE3\x81\x82\xE3\x81\x84\xE3\x81\x86\xE3\x81\x88\n\xE3\x81\x8A\xE3\x81\x8B\xE3\x80\x82\n\n"
        "2\n00:00:07,000 --> 00:00:15,000\n"
        "\xE3\x81\x8D\xE3\x81\x8F\xE3\x81\x91\xE3\x81\x93\n\xE3\x81\x95\xE3\x81\x97\xE3\x81\x99\xE3\x81\x9B\n\n");
    /* Combining accents take no column: e with acute, 21 times, fits 42 columns with its blanks, in one line. */
    r = (es_result){.media.duration_ms = 60000};
    said(&r, 0, 1000, "fr", " e\xCC\x81 e\xCC\x81 e\xCC\x81");
    o.max_line_width = 5;
    CHECK_TEXT(&r, ES_EXPORT_SRT, &o, "1\n00:00:00,000 --> 00:00:03,000\ne\xCC\x81 e\xCC\x81 e\xCC\x81\n\n");
    /* Thai words have no blanks between them, and may be parted. */
    r = (es_result){.media.duration_ms = 60000};
    segment(&r, 0, 2000, "th", "\xE0\xB8\x81\xE0\xB8\x81\xE0\xB8\x81\xE0\xB8\x82\xE0\xB8\x82\xE0\xB8\x82");
    word(&r, 0, 1000, "\xE0\xB8\x81\xE0\xB8\x81\xE0\xB8\x81");
    word(&r, 1000, 2000, "\xE0\xB8\x82\xE0\xB8\x82\xE0\xB8\x82");
    CHECK_TEXT(&r, ES_EXPORT_SRT, &o,
               "1\n00:00:00,000 --> "
               "00:00:02,000\n\xE0\xB8\x81\xE0\xB8\x81\xE0\xB8\x81\n\xE0\xB8\x82\xE0\xB8\x82\xE0\xB8\x82\n\n");
}

static void test_lines_of_text(void)
{
    es_result r = {.media.duration_ms = 60000};

    segment(&r, 0, 1999, "en", " First\tline\n with  blanks ");
    segment(&r, 2000, 3000, "en", "  ");
    segment(&r, 3000, 3600001, "en", " second\x01.");
    CHECK_TEXT(&r, ES_EXPORT_TXT, NULL, "First line with blanks\nsecond.\n");
    r = (es_result){.media.duration_ms = 60000};
    segment(&r, 0, 1999, "en", " First\tline\n with  blanks ");
    segment(&r, 2000, 3000, "en", "  ");
    segment(&r, 3000, 3600001, "en", " second\x01.");
    CHECK_TEXT(&r, ES_EXPORT_TSV, NULL, "start\tend\ttext\n0\t1999\tFirst line with blanks\n3000\t3600001\tsecond.\n");
}

static void test_empty(void)
{
    es_result r = {0};

    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL, "");
    CHECK_TEXT(&r, ES_EXPORT_VTT, NULL, "WEBVTT\n\n");
    CHECK_TEXT(&r, ES_EXPORT_TXT, NULL, "");
    CHECK_TEXT(&r, ES_EXPORT_TSV, NULL, "start\tend\ttext\n");
    segment(&r, 0, 1000, "en", " \n ");
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL, "");
}

static void test_json(void)
{
    es_result r = {
        .media = {.path = strdup("/films/a \"b\".mp4"),
                  .bytes = 12,
                  .n_tracks = 2,
                  .track = 1,
                  .duration_ms = 2000,
                  .container = "mov",
                  .codec = "aac"},
        .made = {.settings = strdup("{\"language\":\"auto\",\"temperature\":[0,0.2],\"words\":true,\"x\":null}"),
                 .by[ES_STAGE_ASR].name = "base",
                 .program = "0.1.0"},
        .transcript = {.language = "en", .language_probability = 0.75f}};

    memset(r.media.content.b, 0xAB, 16);
    segment(&r, 0, 1000, "", " Hi \xFF.");
    r.transcript.segments[0].flags = ES_SEGMENT_LOOPED;
    r.transcript.segments[0].speaker = 2;
    word(&r, 0, 400, " Hi");
    CHECK_TEXT(&r, ES_EXPORT_JSON, NULL,
               "{\n"
               "  \"file\": \"a \\\"b\\\".mp4\",\n"
               "  \"content\": \"abababababababababababababababab\",\n"
               "  \"bytes\": 12,\n"
               "  \"track\": 1,\n"
               "  \"container\": \"mov\",\n"
               "  \"codec\": \"aac\",\n"
               "  \"damaged_packets\": 0,\n"
               "  \"truncated\": false,\n"
               "  \"duration_ms\": 2000,\n"
               "  \"language\": \"en\",\n"
               "  \"language_probability\": 0.7500,\n"
               "  \"made_with\": {\n"
               "    \"program\": \"0.1.0\",\n"
               "    \"asr\": \"base\",\n"
               "    \"asr_hash\": \"00000000000000000000000000000000\",\n"
               "    \"settings\": {\n"
               "      \"language\": \"auto\",\n"
               "      \"temperature\": [\n"
               "        0,\n"
               "        0.2\n"
               "      ],\n"
               "      \"words\": true,\n"
               "      \"x\": null\n"
               "    }\n"
               "  },\n"
               "  \"segments\": [\n"
               "    {\n"
               "      \"start_ms\": 0,\n"
               "      \"end_ms\": 1000,\n"
               "      \"text\": \" Hi \xEF\xBF\xBD.\",\n"
               "      \"language\": \"en\",\n"
               "      \"speaker\": 2,\n"
               "      \"avg_logprob\": -0.2500,\n"
               "      \"no_speech\": 0.1250,\n"
               "      \"compression_ratio\": 1.5000,\n"
               "      \"temperature\": 0.0,\n"
               "      \"looped\": true,\n"
               "      \"words\": [\n"
               "        {\"start_ms\":0,\"end_ms\":400,\"text\":\" Hi\",\"probability\":0.5000}\n"
               "      ]\n"
               "    }\n"
               "  ]\n"
               "}\n");
}

/* ---- what must hold of any transcript ---- */

static int line_width(const char *line, size_t n)
{
    int width = 0;

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(line + at, n - at, &c);
        width += es_unicode_width(c);
    }
    return width;
}

static void check_cues(const es_cues *c, const es_cue_rules *rules, int round)
{
    for (size_t i = 0; i < c->n_cues; i++) {
        const es_cue *cue = &c->cues[i];
        int lines = 0, width = 0, chars = 0;
        CHECK(cue->n > 0 && cue->start_ms < cue->end_ms, "round %d, cue %zu has no length", round, i);
        CHECK(i == 0 || cue->first == c->cues[i - 1].first + c->cues[i - 1].n, "round %d, cue %zu: pieces lost", round,
              i);
        CHECK(i == 0 || cue->start_ms >= c->cues[i - 1].end_ms, "round %d, cue %zu overlaps", round, i);
        for (size_t k = 0; k < cue->n; k++) {
            const es_cue_piece *p = &c->pieces[cue->first + k];
            int w = line_width(c->text + p->at, p->bytes);
            CHECK(k > 0 || p->starts_line, "round %d, cue %zu starts inside a line", round, i);
            if (p->starts_line) lines++, width = 0;
            else if (p->blank_before) width++, chars++;
            width += w;
            chars += p->chars;
            CHECK_INT(p->width, w);
            CHECK(width <= rules->max_line_width, "round %d, cue %zu is %d wide", round, i, width);
        }
        CHECK(lines <= rules->max_lines, "round %d, cue %zu has %d lines", round, i, lines);
        bool room = i + 1 < c->n_cues ? cue->end_ms < c->cues[i + 1].start_ms : false;
        CHECK(!room || (cue->end_ms - cue->start_ms) * rules->chars_per_second >= chars * 1000,
              "round %d, cue %zu: %d characters in %d ms, with silence behind it", round, i, chars,
              (int)(cue->end_ms - cue->start_ms));
    }
}

static void test_any(void)
{
    /* clang-format off */
    static const char *const parts[] = {
        " ", "a", "word", ".", ",", "-->", "\xE3\x81\x82", "\xE3\x80\x82", "e\xCC\x81", "\xFF", "\n", "\x07",
        "\xF0\x9F\x98\x80", "<i>", "&", " so ", "\xC2\xA0", "(", ")", "\xE0\xB8\x81",
    };
    /* clang-format on */
    static const char *const languages[] = {"en", "ja", "th", "", "de"};
    es_noise noise = {.state = 7};

    for (int round = 0; round < 3000; round++) {
        es_result r = {0};
        int64_t at = 0;
        es_cue_rules rules = {.max_line_width = 2 + (int)(es_noise_bits(&noise) % 45),
                              .max_lines = 1 + (int)(es_noise_bits(&noise) % 3),
                              .chars_per_second = 1 + (int)(es_noise_bits(&noise) % 30)};
        int n_segments = (int)(es_noise_bits(&noise) % 6);
        es_cues cues;
        for (int s = 0; s < n_segments; s++) {
            char text[2000] = "";
            int n = (int)(es_noise_bits(&noise) % 40);
            for (int i = 0; i < n; i++) strcat(text, parts[es_noise_bits(&noise) % (sizeof parts / sizeof *parts)]);
            segment(&r, at, at + (int64_t)(es_noise_bits(&noise) % 9000), languages[es_noise_bits(&noise) % 5], text);
            int words = round % 3 ? (int)(es_noise_bits(&noise) % 30) : 0;
            for (int w = 0; w < words; w++) {
                char one[64] = "";
                int k = 1 + (int)(es_noise_bits(&noise) % 4);
                for (int i = 0; i < k; i++) strcat(one, parts[es_noise_bits(&noise) % (sizeof parts / sizeof *parts)]);
                int64_t length = (int64_t)(es_noise_bits(&noise) % 800) - 50; /* some end before they start */
                word(&r, at, at + length, one);
                at += length + (int64_t)(es_noise_bits(&noise) % 50) * (int64_t)(es_noise_bits(&noise) % 100);
            }
            at += (int64_t)(es_noise_bits(&noise) % 3000) - 500; /* some start before the one before ends */
            if (at < 0) at = 0;
        }
        CHECK_INT(es_cues_make(&cues, &r.transcript, at, &rules), 0);
        check_cues(&cues, &rules, round);
        es_cues_done(&cues);
        for (int f = 0; f < ES_N_EXPORTS; f++) {
            es_export_options o = {
                .max_line_width = rules.max_line_width, .max_lines = rules.max_lines, .vtt_words = true};
            char *text = NULL;
            size_t bytes = 0;
            CHECK_INT(es_export_text(&text, &bytes, (es_export_format)f, &r, &o, NULL), ES_OK);
            CHECK(es_utf8_valid(text, bytes), "round %d, %s is not UTF-8", round, es_export_suffix(f));
            int arrows = 0, cues_told = 0;
            for (char *p = text; f <= ES_EXPORT_VTT && (p = strstr(p, "-->")); p += 3) arrows++;
            for (char *p = text; f <= ES_EXPORT_VTT && (p = strstr(p, " --> ")); p += 5) cues_told++;
            CHECK(arrows == cues_told, "round %d, an arrow in a text:\n%s", round, text);
            free(text);
        }
        es_result_done(&r);
    }
}

/* ---- names and files ---- */

static void check_stem(const char *path, const char *want)
{
    char stem[256];

    es_export_stem(stem, path);
    CHECK_STR(stem, want);
}

static void test_stems(void)
{
    enum { N = 6 };
    static const char *const paths[N] = {"/a/talk.mp4",   "/b/talk.mkv",  "/c/Talk.wav",
                                         "/d/talk-2.mp4", "/e/other.mp4", "/f/x"};
    static const char *const want[N] = {"talk", "talk-3", "Talk-4", "talk-2", "other", "x"};
    char longest[600];

    check_stem("/a/b.c/talk.final.mp4", "talk.final");
    check_stem("talk", "talk");
    check_stem("/x/.hidden", ".hidden");
    check_stem("/x/new\nline\x1b.mp4", "new_line_");
    check_stem("/x/\xC3\xA9t\xC3\xA9 \"1\".mp4", "\xC3\xA9t\xC3\xA9 \"1\"");
    check_stem("", "recording");
    check_stem("/x/", "recording");
    check_stem(NULL, "recording");
    strcpy(longest, "/x/");
    for (int i = 0; i < 150; i++) strcat(longest, "\xC3\xA9");
    char stem[256];
    es_export_stem(stem, longest);
    CHECK_INT(strlen(stem), 200);
    for (int turn = 0; turn < N; turn++) { /* in any order */
        es_export_item items[N];
        memset(items, 0, sizeof items);
        for (int i = 0; i < N; i++) {
            int from = (i + turn) % N;
            items[i].path = paths[from];
            items[i].content.b[0] = (uint8_t)from;
        }
        CHECK_INT(es_export_stems(items, N), 0);
        for (int i = 0; i < N; i++) CHECK_STR(items[i].stem, want[(i + turn) % N]);
    }
    CHECK_INT(es_export_stems(NULL, 0), 0);
}

static void test_formats(void)
{
    CHECK_INT(es_export_format_of("srt"), ES_EXPORT_SRT);
    CHECK_INT(es_export_format_of("tsv"), ES_EXPORT_TSV);
    CHECK_INT(es_export_format_of("doc"), -1);
    CHECK_STR(es_export_suffix(ES_EXPORT_JSON), "json");
    CHECK(es_export_suffix(ES_N_EXPORTS) == NULL && es_export_suffix(-1) == NULL);
}

static void test_write(void)
{
    char path[512], read_back[64] = "";
    es_err err = {0};
    struct stat st;
    FILE *f;

    snprintf(path, sizeof path, "%s/a.srt", es_test_folder());
    CHECK_INT(es_export_write(path, "first text", 10, &err), ES_OK);
    CHECK_INT(es_export_write(path, "second", 6, &err), ES_OK);
    f = fopen(path, "rb");
    CHECK(f && fread(read_back, 1, sizeof read_back, f) == 6);
    if (f) fclose(f);
    CHECK_STR(read_back, "second");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0600) == 0600);
    snprintf(path, sizeof path, "%s/missing/a.srt", es_test_folder());
    CHECK_INT(es_export_write(path, "x", 1, &err), ES_EIO);
    CHECK(strstr(err.text, "missing/a.srt") && strstr(err.text, "No such file"), "%s", err.text);
    snprintf(path, sizeof path, "%s/folder", es_test_folder());
    CHECK(mkdir(path, 0755) == 0);
    CHECK_INT(es_export_write(path, "x", 1, NULL), ES_EIO);
    CHECK(rmdir(path) == 0, "something was left in it");
    snprintf(path, sizeof path, "ls -A '%s' | wc -l | grep -qx 1", es_test_folder());
    CHECK(system(path) == 0, "a temporary file was left");
}

/* ---- who says it ---- */

/* Two people, of whom the second speaks while the first finishes. */
static void two_people(es_result *r)
{
    static const es_spoken turns[] = {{1000, 3000, 0}, {2200, 4200, 1}};

    *r = (es_result){.media.duration_ms = 9000};
    r->media.path = strdup("/talks/a call.wav");
    said(r, 1000, 500, "en", " one two three four");
    said(r, 3200, 500, "en", " five six");
    for (size_t i = 0; i < r->transcript.n_segments; i++) r->transcript.segments[i].speaker = (int)i;
    for (size_t i = 0; i < r->transcript.n_words; i++) r->transcript.words[i].speaker = i < 4 ? 0 : 1;
    r->who.turns = malloc(sizeof turns);
    memcpy(r->who.turns, turns, sizeof turns);
    r->who.n_turns = 2;
    r->who.n_speakers = 2;
}

static void test_speakers(void)
{
    static const char *const names[] = {"Ana B. <x>", "Bo\tC"};
    const es_export_options named = {.speakers = names, .n_speakers = 2};
    es_result r;

    two_people(&r);
    CHECK_TEXT(&r, ES_EXPORT_SRT, NULL,
               "1\n"
               "00:00:01,000 --> 00:00:03,000\n"
               "Speaker 1: one two three four\n"
               "\n"
               "2\n"
               "00:00:03,200 --> 00:00:04,200\n"
               "Speaker 2: five six\n"
               "\n");
    two_people(&r);
    CHECK_TEXT(&r, ES_EXPORT_VTT, &named,
               "WEBVTT\n"
               "\n"
               "00:01.000 --> 00:03.000\n"
               "<v Ana B. &lt;x&gt;>one two three four\n"
               "\n"
               "00:03.200 --> 00:04.200\n"
               "<v Bo C>five six\n"
               "\n");
    two_people(&r);
    CHECK_TEXT(&r, ES_EXPORT_TSV, &named,
               "start\tend\ttext\tspeaker\n"
               "1000\t3000\tone two three four\tAna B. <x>\n"
               "3200\t4200\tfive six\tBo C\n");
    two_people(&r);
    CHECK_TEXT(&r, ES_EXPORT_TXT, &named,
               "one two three four\n"
               "five six\n");
    two_people(&r);
    CHECK_TEXT(&r, ES_EXPORT_RTTM, &named,
               "SPEAKER a_call 1 1.000 2.000 <NA> <NA> Ana_B._<x> <NA> <NA>\n"
               "SPEAKER a_call 1 2.200 2.000 <NA> <NA> Bo_C <NA> <NA>\n");
    two_people(&r);
    r.who.n_turns = 0;
    CHECK_TEXT(&r, ES_EXPORT_RTTM, NULL, "");
}

static void test_speakers_json(void)
{
    es_err err = {0};
    es_json *j = NULL;
    char *text = NULL;
    size_t bytes = 0;
    es_result r;
    int64_t v = -1;

    two_people(&r);
    CHECK(es_export_text(&text, &bytes, ES_EXPORT_JSON, &r, NULL, &err) == ES_OK, "%s", err.text);
    CHECK(es_json_parse(&j, text, bytes, "json", &err) == ES_OK, "%s", err.text);
    const es_json_node *root = es_json_root(j), *who = es_json_get(root, "speakers"), *turns = es_json_get(root, "turns");
    CHECK_INT(es_json_count(who), 2);
    CHECK_STR(es_json_string(es_json_get(es_json_first(who), "name")), "Speaker 1");
    CHECK_INT(es_json_count(turns), 2);
    CHECK(es_json_int(es_json_get(es_json_next(es_json_first(turns)), "start_ms"), 0, 9999, &v) && v == 2200);
    const es_json_node *words = es_json_get(es_json_first(es_json_get(root, "segments")), "words"), *w = es_json_first(words);
    for (int i = 0; i < 4; i++, w = es_json_next(w)) {
        bool also = es_json_int(es_json_get(w, "also"), 0, 9, &v);
        CHECK(es_json_int(es_json_get(w, "speaker"), 0, 9, &v) && v == 0);
        CHECK(also == (i >= 2), "word %d is%s marked as said while another speaks", i, also ? "" : " not");
    }
    es_json_close(j);
    free(text);
    es_result_done(&r);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"speakers", test_speakers},
        {"speakers_json", test_speakers_json},
        {"srt", test_srt},
        {"vtt", test_vtt},
        {"vtt_words", test_vtt_words},
        {"arrows", test_arrows},
        {"lines", test_lines},
        {"sentence_end", test_sentence_end},
        {"pause", test_pause},
        {"times", test_times},
        {"wide", test_wide},
        {"lines_of_text", test_lines_of_text},
        {"empty", test_empty},
        {"json", test_json},
        {"any", test_any},
        {"stems", test_stems},
        {"formats", test_formats},
        {"write", test_write},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
