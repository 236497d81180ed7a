/*
 * fuzz_tokenizer_json.c - foreign tokenizer files: Whisper's vocabularies, WordPiece, Qwen2's vocabulary and merges. The
 * first byte of the input chooses; the rest is tokenizer.json. Sizes are small, so that short inputs can be whole.
 */
#include <stdlib.h>
#include <string.h>

#include "weights/convert/build.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    es_convert_options options = {.source = "fuzz"};
    es_convert_report report = {0};
    es_err err = {0};
    es_build b = {.options = &options, .report = &report, .err = &err};
    char *text = size ? calloc(1, size) : NULL;
    int id[5], eos;
    bool lower;
    es_vocab vocab = {0};

    if (!text || es_source_open(&b.source, "fuzz", "/nowhere", &err)) {
        free(text);
        return 0;
    }
    memcpy(text, data + 1, size - 1);
    b.pack = es_pack_begin();
    if (b.pack && !es_source_add_text(b.source, "tokenizer.json", text, &err)) {
        if (data[0] % 3 == 0) es_vocab_whisper(&b, 4);
        else if (data[0] % 3 == 1) es_vocab_wordpiece(&b, &vocab, data[0] & 64 ? 0 : 8, id, &lower);
        else es_vocab_qwen2(&b, &vocab, 300, &eos);
        if (vocab.tokens) es_vocab_put(&b, &vocab);
        es_vocab_done(&vocab);
        if (b.rc && !err.text[0]) abort(); /* a refusal without a sentence */
    }
    es_pack_drop(b.pack);
    es_source_close(b.source);
    return 0;
}
