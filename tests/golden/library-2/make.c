/*
 * make.c - made data.mdb beside it, the library of schema 2 that every later version must read (test_record second_format).
 *
 * Kept as it was when the format was new; data.mdb is never made again. Built and run as library-1/make.c says. On top of
 * what that one holds: who spoke, passages with vectors, and the index over passages and over bare segments.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"

static char *copy(const char *text)
{
    char *s = malloc(strlen(text) + 1);

    return s ? strcpy(s, text) : NULL;
}

static void *copy_bytes(const void *p, size_t n)
{
    void *to = malloc(n);

    return to ? memcpy(to, p, n) : NULL;
}

static void must(int rc, const es_err *err)
{
    if (rc == ES_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static es_hash128 hash(const char *hex)
{
    es_hash128 h;

    es_hash_parse(&h, hex);
    return h;
}

static void add_passage(es_passages *p, es_passage at, const char *text)
{
    at.text_at = (uint32_t)p->n_text;
    at.text_bytes = (uint32_t)strlen(text);
    p->at = realloc(p->at, (p->n + 1) * sizeof *p->at);
    p->text = realloc(p->text, p->n_text + at.text_bytes);
    memcpy(p->text + p->n_text, text, at.text_bytes);
    p->at[p->n++] = at;
    p->n_text += at.text_bytes;
}

/* Two people, three passages. */
static es_result talk(void)
{
    static const es_spoken turns[] = {{0, 4000, 0}, {3500, 9000, 1}}, alone[] = {{0, 3500, 0}, {3500, 9000, 1}};
    static const es_heard speech[] = {{0, 9000}};
    static const int64_t alone_ms[] = {3500, 5000};
    static const float centers[] = {1, 0, -0.5f, 0.25f, 0, 2, 1.5f, -3}, voices[] = {0.5f, 0.5f, -0.5f, 0.5f, 0, 0, 1, 0};
    static const float rows[] = {0.5f, 0.5f, 0.5f, 0.5f, 0, -1, 0, 0, 0.5f, -0.5f, 0.5f, -0.5f};
    es_result r = {
        .media = {.content = hash("00112233445566778899aabbccddeeff"), .bytes = 1000000, .path = copy("/talks/first.mkv"),
                  .mtime_ns = 1600000000123456789, .n_tracks = 1, .container = "matroska,webm", .codec = "opus",
                  .sample_rate = 48000, .channels = 2, .duration_ms = 9000},
        .made = {.settings = copy("{\"task\":\"transcribe\"}"), .program = "0.1.0"},
        .transcript = {.language = "en", .language_probability = 0.875f},
        .who = {.turns = copy_bytes(turns, sizeof turns), .exclusive = copy_bytes(alone, sizeof alone),
                .speech = copy_bytes(speech, sizeof speech), .n_turns = 2, .n_exclusive = 2, .n_speech = 1, .n_speakers = 2,
                .alone_ms = copy_bytes(alone_ms, sizeof alone_ms),
                .centers = {hash("c0000000000000000000000000000001"), 4, 2, copy_bytes(centers, sizeof centers)},
                .voices = {hash("c0000000000000000000000000000002"), 4, 2, copy_bytes(voices, sizeof voices)}},
        .passages = {.vectors = {hash("e0000000000000000000000000000003"), 4, 3, copy_bytes(rows, sizeof rows)}},
    };
    es_segment s = {.start_ms = 0, .end_ms = 4000, .speaker = 0, .language = "en"};

    r.made.by[ES_STAGE_ASR] = (es_maker){"whisper-tiny", hash("a0000000000000000000000000000004")};
    r.made.by[ES_STAGE_SEGMENTATION] = (es_maker){"segmentation-3.0", hash("50000000000000000000000000000005")};
    r.made.by[ES_STAGE_DIARIZER] = (es_maker){"campplus", hash("c0000000000000000000000000000001")};
    r.made.by[ES_STAGE_VOICE] = (es_maker){"ecapa", hash("c0000000000000000000000000000002")};
    r.made.by[ES_STAGE_EMBEDDER] = (es_maker){"minilm", hash("e0000000000000000000000000000003")};
    es_transcript_add_segment(&r.transcript, &s, " He was running late.", 21, NULL, 0);
    s = (es_segment){.start_ms = 4000, .end_ms = 9000, .speaker = 1, .language = "en"};
    es_transcript_add_segment(&r.transcript, &s, " The trains never run on Sundays.", 33, NULL, 0);
    add_passage(&r.passages, (es_passage){.end_ms = 4000, .speaker = 0, .n_segments = 1, .language = "en"},
                "He was running late.");
    add_passage(&r.passages, (es_passage){.start_ms = 4000, .end_ms = 9000, .speaker = 1, .first_segment = 1, .n_segments = 1,
                                          .language = "en"},
                "The trains never run on Sundays.");
    add_passage(&r.passages, (es_passage){.start_ms = 8000, .end_ms = 9000, .speaker = -1, .first_segment = 1, .n_segments = 1,
                                          .language = "ja"},
                "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
    return r;
}

/* A transcript and no more, as where there is only a speech model. */
static es_result bare(void)
{
    es_result r = {
        .media = {.content = hash("ffeeddccbbaa99887766554433221100"), .bytes = 44, .path = copy("/talks/bare.wav"), .n_tracks = 1,
                  .container = "wav", .codec = "pcm_s16le", .sample_rate = 16000, .channels = 1, .duration_ms = 3000},
        .made = {.program = "0.1.0"},
        .transcript = {.language = "de", .language_probability = 0.5f},
    };
    es_segment s = {.start_ms = 500, .end_ms = 2500, .speaker = -1, .language = "de"};

    r.made.by[ES_STAGE_ASR] = (es_maker){"whisper-tiny", hash("a0000000000000000000000000000004")};
    es_transcript_add_segment(&r.transcript, &s, " Die alten H\xc3\xa4user.", 19, NULL, 0);
    return r;
}

int main(int argc, char **argv)
{
    es_result results[2] = {talk(), bare()};
    es_store *s = NULL;
    es_err err = {0};

    if (argc != 2) return 2;
    must(es_store_open(&s, argv[1], ES_STORE_CREATE, &err), &err);
    for (int i = 0; i < 2; i++) {
        must(es_store_put(s, &results[i], &err), &err);
        es_result_done(&results[i]);
    }
    must(es_store_compact(s, NULL, NULL, &err), &err);
    es_store_close(s);
    return 0;
}
