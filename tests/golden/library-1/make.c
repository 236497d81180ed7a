/*
 * make.c - made data.mdb beside it, the library of schema 1 that every later version must read (test_record first_format).
 *
 * Kept as it was when the format was new; data.mdb is never made again. Built and run, from the root of the tree, by
 *   cc -std=c11 -I. -Iengine tests/golden/library-1/make.c build/libearshot.a ... -o make && ./make tests/golden/library-1
 * (the libraries after libearshot.a are those of a test program) and then without lock.mdb, earshot.lock and tmp, which
 * belong to a running process.
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

static void word(es_transcript *t, int start_ms, int end_ms, float probability, int speaker, const char *text)
{
    es_word w = {.start_ms = start_ms, .end_ms = end_ms, .probability = probability, .speaker = speaker};

    es_transcript_add_word(t, &w, text, strlen(text));
}

static es_result first(es_hash128 content, es_hash128 pack, int track)
{
    static const int32_t tokens[] = {50364, 634, 1848, 50464, 50464, 865, 50514};
    es_result r = {
        .media = {.content = content, .bytes = 1000000, .path = copy("/films/first \"take\"\n\xc3\xa9.mkv"),
                  .mtime_ns = 1600000000123456789, .track = track, .n_tracks = 2, .container = "matroska,webm",
                  .codec = "opus", .sample_rate = 48000, .channels = 6, .duration_ms = 7250, .damaged_packets = 1,
                  .truncated = true},
        .made = {.settings = copy("{\"task\":\"transcribe\"}"), .by[ES_STAGE_ASR] = {.name = "whisper-tiny", .hash = pack},
                 .program = "0.1.0"},
        .transcript = {.language = "en", .language_probability = 0.875f},
    };
    es_segment s = {.start_ms = 0, .end_ms = 2000, .avg_logprob = -0.25f, .no_speech = 0.03125f,
                    .compression_ratio = 1.125f, .speaker = -1, .language = "en"};

    if (track == 0) {
        es_transcript_add_segment(&r.transcript, &s, " He said.", 9, tokens, 4);
        word(&r.transcript, 100, 400, 0.75f, -1, " He");
        word(&r.transcript, 400, 1900, 0.5f, -1, " said");
        word(&r.transcript, 1900, 2000, 1.0f, -1, ".");
    }
    s = (es_segment){.start_ms = 2000, .end_ms = 3000, .avg_logprob = -1.5f, .no_speech = 0.5f,
                     .compression_ratio = 2.5f, .temperature = 0.5f, .flags = ES_SEGMENT_LOOPED, .speaker = 3,
                     .language = "fr"};
    es_transcript_add_segment(&r.transcript, &s, " Na\xc3\xafve.", 8, tokens + 4, 3);
    word(&r.transcript, 2000, 3000, 0.25f, 3, " Na\xc3\xafve.");
    return r;
}

static void must(int rc, const es_err *err)
{
    if (rc == ES_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

int main(int argc, char **argv)
{
    es_hash128 content, pack;
    es_store *s = NULL;
    es_err err = {0};

    if (argc != 2) return 2;
    es_hash_parse(&content, "00112233445566778899aabbccddeeff");
    es_hash_parse(&pack, "ffeeddccbbaa99887766554433221100");
    must(es_store_open(&s, argv[1], ES_STORE_CREATE, &err), &err);
    for (int track = 0; track < 2; track++) {
        es_result r = first(content, pack, track);
        must(es_store_put(s, &r, &err), &err);
        es_result_done(&r);
    }
    must(es_store_add_path(s, content, 0, "/other/first.mkv", &err), &err);
    must(es_store_cache_hash(s, 66, 12345, 1000000, 1600000000123456789, content, &err), &err);
    es_result silence = {.media = {.content = pack, .bytes = 44, .path = copy("/films/silence.wav"), .n_tracks = 1,
                                   .container = "wav", .codec = "pcm_s16le", .sample_rate = 16000, .channels = 1,
                                   .duration_ms = 60000},
                         .made = {.program = "0.1.0"}};
    must(es_store_put(s, &silence, &err), &err);
    es_result_done(&silence);
    must(es_store_compact(s, NULL, NULL, &err), &err);
    es_store_close(s);
    return 0;
}
