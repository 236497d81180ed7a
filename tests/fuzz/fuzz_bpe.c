/*
 * fuzz_bpe.c - token tables and texts that nobody made on purpose.
 *
 * The first half of the input is a token table, as a pack brings it; where it is refused for lack of single bytes, a
 * table of those goes before it. The rest is text. Whatever encodes must decode to the same characters, and grouping
 * its tokens into words must lose none.
 */
#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/unicode.h"
#include "text/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
    if (!holds) abort(); /* not assert(), which a release build leaves out */
}

static void try_text(const es_bpe *b, const char *text, size_t n)
{
    size_t room = 3 * n + 1, length = 0;
    int32_t *ids = malloc(room * sizeof *ids);
    char *want = malloc(room), *have = malloc(room), *spoken = malloc(3 * room);
    uint32_t *unit = malloc((room + 1) * sizeof *unit);
    es_timed_word *words = malloc(room * sizeof *words);
    int *frames = calloc(room + 1, sizeof *frames);
    float *p = calloc(room, sizeof *p);

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        length += es_unicode_put(want + length, c);
    }
    size_t count = es_bpe_encode(b, text, n, ids, room);
    must(count <= room);
    size_t back = es_bpe_decode(b, ids, count, es_bpe_count(b), have, room);
    must(back == length && memcmp(have, want, length) == 0);
    size_t groups = es_words_group(b, "en", ids, count, es_bpe_count(b), frames, p, words, unit, spoken, NULL, NULL);
    size_t tokens = 0;
    for (size_t i = 0; i < groups; i++) tokens += (size_t)words[i].n_tokens;
    must(tokens == count);
    must(es_text_longest_repeat(text, n, false) >= 1);
    must(es_text_compression_ratio(text, n) >= 0);
    free(ids), free(want), free(have), free(spoken), free(unit), free(words), free(frames), free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t half = size / 2;
    es_err err = {0};
    es_bpe *b = NULL;
    int32_t never[128];

    if (es_bpe_open(&b, data, half, &err) != ES_OK) {
        uint8_t *table = malloc(512 + half);
        for (int i = 0; i < 256; i++) table[2 * i] = 1, table[2 * i + 1] = (uint8_t)i;
        if (half) memcpy(table + 512, data, half);
        err = (es_err){0};
        es_bpe_open(&b, table, 512 + half, &err);
        free(table);
    }
    if (b) {
        must(es_bpe_non_speech(b, never, 128) <= 128);
        try_text(b, (const char *)data + half, size - half);
    }
    es_bpe_close(b);
    return 0;
}
