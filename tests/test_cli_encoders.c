/*
 * test_cli_encoders.c - where the program takes text encoders from: tokenizer files without a pack, Qwen2's frame around a text,
 * a folder with packs of every kind, and weights whose published outputs are computed again.
 */
#define _GNU_SOURCE
#include "base/json.h"
#include "encoders.h"
#include "seeded.h"

/* The 256 bytes as byte-level BPE writes them, with the ids 0 to 255. */
static void put_bytes(FILE *f)
{
    int id = 0;

    for (int byte = 0x21; byte < 0x100; byte++)
        if (byte <= 0x7E || (byte >= 0xA1 && byte != 0xAD)) fprintf(f, "\"\\u%04x\":%d,", (unsigned)byte, id++);
    for (unsigned c = 0x100; id < 256; c++) fprintf(f, "\"\\u%04x\":%d,", c, id++);
}

/* A folder as models are published, without a pack: the references' ids; and one whose merges do not fit its vocabulary. */
static void tokenizers_without_a_pack(void)
{
    const char *qwen2 = es_test_data("models/qwen2-tokenizer"), *golden = es_test_data("goldens/text/qwen2_tokenizer.jsonl");
    const char *minilm = es_test_data("models/minilm");
    int n = 0;

    if (!setup()) return;
    if (!qwen2 || !golden || !minilm) {
        es_test_skip("ES_TEST_DATA/models/qwen2-tokenizer");
        return;
    }
    FILE *texts = fopen(at("texts"), "wb"), *want = fopen(at("want"), "wb");
    char *all = read_file(golden, NULL), *save = NULL;
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        es_json *j = NULL;
        es_err err = {0};
        CHECK(es_json_parse(&j, line, strlen(line), "golden", &err) == ES_OK, "%s", err.text);
        const char *text = es_json_string(es_json_get(es_json_root(j), "text"));
        /* Lines are texts here, a C string ends at a NUL, and this file has tokens added since (<think>, <tool_call>). */
        if (text && !strchr(text, '\n') && !strstr(line, "\\u0000") && !strstr(text, "<think>") && !strstr(text, "<tool_call>")) {
            const es_json_node *id = es_json_first(es_json_get(es_json_root(j), "ids"));
            fprintf(texts, "%s\n", text);
            for (int64_t v = 0, k = 0; id; id = es_json_next(id), k++)
                if (es_json_int(id, 0, 1 << 20, &v)) fprintf(want, "%s%d", k ? " " : "", (int)v);
            fputc('\n', want);
            n++;
        }
        es_json_close(j);
    }
    fclose(texts), fclose(want);
    free(all);
    CHECK(n > 200, "only %d texts are one line", n);
    ended said = program_line("earshot tokenize --model '%s' < texts", qwen2);
    char *expected = read_file(at("want"), NULL);
    CHECK_STR(said.out, expected);
    free(expected);
    ENDED(&said, 0, NULL, NULL);
    /* tokenizer.json, vocab.txt and the pack say the same. */
    LINE(0, NULL, NULL, "mkdir json lines bad empty && ln -s '%s/tokenizer.json' json/ && ln -s '%s/vocab.txt' lines/", minilm, minilm);
    ended pack = program_line("earshot tokenize --model minilm.pack < texts");
    ended json = program_line("earshot tokenize --model json < texts"), lines = program_line("earshot tokenize --model lines < texts");
    CHECK(pack.n_out > 0 && !strcmp(json.out, pack.out), "tokenizer.json gives other ids than the pack");
    CHECK(!strcmp(lines.out, pack.out), "vocab.txt gives other ids than the pack");
    ENDED(&pack, 0, NULL, NULL), ENDED(&json, 0, NULL, NULL), ENDED(&lines, 0, NULL, NULL);
    /* 256 bytes and two merges; the second one makes a token that is not there. */
    static const char *const bad[][3] = {
        {"\"he\":256,\"ll\":257", "\"h e\",\"l o\"", "merges and vocabulary disagree"},
        {"\"he\":257,\"ll\":256", "\"h e\",\"l l\"", "merges and vocabulary disagree"},
        {"\"he\":256", "\"h e\",\"l l\"", "257 tokens and 2 merges"},
        {"\"he\":256,\"he\":257", "\"h e\",\"l l\"", "tokenizer.json"},
        {"\"he\":256,\"ll\":257", "\"h e\",\"ll\"", "merge 1 is not a pair"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FILE *f = fopen(at("bad/tokenizer.json"), "wb");
        fputs("{\"added_tokens\":[{\"id\":300,\"content\":\"<|endoftext|>\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{", f);
        put_bytes(f);
        fprintf(f, "%s},\"merges\":[%s]}}", bad[i][0], bad[i][1]);
        fclose(f);
        LINE(3, NULL, bad[i][2], "earshot tokenize --model bad < texts");
    }
    static const char *const other[][2] = {
        {"{\"model\":{\"type\":\"Unigram\"}}", "its model is Unigram"},
        {"{\"pre_tokenizer\":{\"pattern\":{\"Regex\":\"x\"}},\"model\":{\"type\":\"BPE\"}}", "by the pattern x"},
        {"{\"normalizer\":{\"lowercase\":false},\"model\":{\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2}}}", "keeps upper case"},
        {"{\"model\":{\"vocab\":{\"[UNK]\":0,\"[CLS]\":2,\"[SEP]\":3}}}", "has the id 3"},
        {"{\"model\":", "not JSON"},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        write_file(at("bad/tokenizer.json"), other[i][0], strlen(other[i][0]));
        LINE(3, NULL, other[i][1], "earshot tokenize --model bad < texts");
    }
    LINE(3, NULL, "there is no text encoder here", "earshot tokenize --model ./empty < texts");
}

/* A vocabulary of 256 bytes and five merges beside the small weights: all that Qwen2's way adds to a text. */
static void qwen2_and_its_frame(void)
{
    static const char asked[] =
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: hello";
    es_encoder_options options = ES_ENCODER_OPTIONS;
    es_error error = {0};
    es_encoder *e = NULL;
    int32_t ids[128];
    float want[64];
    size_t n;

    if (!link_stories("qwen2")) return;
    FILE *f = fopen(at("qwen2/tokenizer.json"), "wb");
    fputs("{\"added_tokens\":[{\"id\":301,\"content\":\"<|im_start|>\"},{\"id\":300,\"content\":\"<|endoftext|>\"}],"
          "\"model\":{\"vocab\":{", f);
    put_bytes(f);
    fputs("\"he\":256,\"ll\":257,\"hell\":258,\"hello\":259,\"\\u0120w\":260},"
          "\"merges\":[\"h e\",[\"l\",\"l\"],\"he ll\",\"hell o\",\"\\u0120 w\"]}}", f);
    fclose(f);
    LINE(0, NULL, NULL, "earshot convert qwen2 --name small-qwen2 --attention bidirectional -o qwen2.pack");
    write_file(at("lines"), "hello hello\n\n<|im_start|>he wl<|endoftext|>\n\"1\r", 47);
    ended said = program_line("earshot tokenize --model qwen2.pack < lines");
    CHECK_STR(said.out, "259 220 259\n\n301 256 260 75 300\n1 16 201\n");
    ENDED(&said, 0, NULL, NULL);
    /* The end token behind each text, nothing before it; ids get nothing. */
    write_file(at("texts"), "hello\n\n", 7);
    write_file(at("ids"), "259 300\n300\n", 12);
    LINE(0, NULL, NULL, "earshot embed --model qwen2.pack -o a.npy texts");
    LINE(0, NULL, NULL, "earshot embed --model qwen2.pack --ids -o b.npy ids");
    LINE(0, NULL, NULL, "earshot embed --model qwen2.pack --query -o c.npy texts");
    float *a = vectors("a.npy", 2, 64), *b = vectors("b.npy", 2, 64), *c = vectors("c.npy", 2, 64);
    CHECK(!memcmp(a, b, 128 * sizeof *a), "a text is not its ids and the end token");
    options.model = at("qwen2.pack"), options.models = es_test_folder(), options.device = "cpu";
    CHECK(es_encoder_open(&e, &options, &error) == ES_DONE, "%s", error.text);
    if (e) {
        CHECK(es_encoder_tokenize(e, asked, sizeof asked - 1, ids, 127, &n, &error) == ES_DONE && n < 127, "%s", error.text);
        ids[n++] = 300;
        CHECK(es_encoder_embed_ids(e, ids, (const size_t[]){0, n}, 1, want, &error) == ES_DONE, "%s", error.text);
        CHECK(!memcmp(c, want, sizeof want), "a question is not behind its instruction");
    }
    es_encoder_close(e);
    free(a), free(b), free(c);
}

/* Packs of several architectures side by side: each command finds its own. */
static void one_folder_for_all(void)
{
    mkdir(at("models"), 0755);
    write_file(at("texts"), "hello\n", 6);
    LINE(3, NULL, "there is no text encoder here", "earshot embed --models models texts");
    CHECK(es_seeded_whisper_write(at("models/small.pack"), &es_seeded_small) == 0, "cannot write a pack");
    LINE(3, NULL, "there is no text encoder here", "earshot embed --models models texts");
    LINE(3, NULL, "there is no text encoder called minilm here", "earshot embed --models models --model minilm texts");
    LINE(3, NULL, "a text encoder has bert or qwen2", "earshot embed --models models --model small texts");
    LINE(3, NULL, NULL, "earshot embed --model nothing.pack texts");
    if (!setup()) return;
    CHECK(link(at("minilm.pack"), at("models/minilm.pack")) == 0, "no link");
    LINE(0, NULL, "Embedding model minilm", "earshot embed --models models -o v.npy texts");
    LINE(0, "small", NULL, "earshot plan --models models --device cpu"); /* the speech model's */
    CHECK(link(at("minilm.pack"), at("models/other.pack")) == 0, "no link");
    LINE(2, NULL, "holds several text encoders; choose with --model: minilm, minilm", "earshot embed --models models texts");
    LINE(0, NULL, "Embedding model minilm", "earshot embed --models models --model other -o v.npy texts");
    LINE(1, NULL, "cannot read missing", "earshot embed --models models --model other missing");
    LINE(1, NULL, "cannot write", "earshot embed --models models --model other -o no/such/folder.npy texts");
    LINE(2, NULL, "npy|jsonl", "earshot embed --model minilm.pack --format csv texts");
}

/* Published outputs, computed again: equal for the published weights, not for weights with a hole, and said to be unknown
 * where nothing is published. */
static void published_outputs(void)
{
    const char *weights = es_test_data("models/minilm/model.safetensors"), *source = es_test_data("models/minilm");
    const char *speech = es_test_models("whisper-tiny.pack"), *jfk = es_test_data("audio/jfk/jfk.flac");
    size_t bytes;

    if (!setup()) return;
    ended said = program_line("earshot doctor --verify minilm.pack");
    CHECK(strstr(said.out, "sentence-transformers") && strstr(said.out, "published 0.666, ") && strstr(said.out, "computes what is published"), "%s", said.out);
    ENDED(&said, 0, NULL, NULL);
    said = program_line("earshot doctor --verify minilm --models . --json");
    CHECK(strstr(said.out, "\"compared_with\"") && strstr(said.out, "\"published\": 0.1046") && strstr(said.out, "\"faults\": 0"), "%s", said.out);
    ENDED(&said, 0, NULL, NULL);
    /* The same model but for 4 MB of zeros among its weights: whole as a pack, and another model. */
    LINE(0, NULL, NULL, "mkdir hole && cp '%s/config.json' '%s/vocab.txt' hole", source, source);
    char *model = read_file(weights, &bytes);
    CHECK(bytes > 40000000, "%zu bytes of weights", bytes);
    memset(model + bytes - 8000000, 0, 4000000);
    write_file(at("hole/model.safetensors"), model, bytes);
    free(model);
    LINE(0, NULL, NULL, "earshot convert hole -o hole.pack");
    said = program_line("earshot doctor --verify hole.pack");
    CHECK(strstr(said.out, "DIFFERENT") && strstr(said.out, "does NOT compute"), "%s", said.out);
    ENDED(&said, 3, NULL, NULL);
    if (es_test_data("models/stories260K-qwen2-layout") && link_stories("small")) {
        LINE(0, NULL, NULL, "earshot convert small -o small.pack");
        LINE(0, "nothing     was compared: it has neither the shape of", NULL, "earshot doctor --verify small.pack");
    }
    write_file(at("cut.pack"), "earshot", 7);
    LINE(3, NULL, "cut.pack", "earshot doctor --verify cut.pack");
    LINE(3, NULL, "there is no such pack", "earshot doctor --verify nothing --models .");
    LINE(2, NULL, "a recording is for --verify", "earshot doctor texts");
    if (!speech || !jfk) {
        es_test_skip("ES_TEST_MODELS/whisper-tiny.pack");
        return;
    }
    said = program_line("earshot doctor --verify '%s' '%s'", speech, jfk);
    CHECK(strstr(said.out, "OpenAI's own test") && strstr(said.out, "my fellow Americans") && strstr(said.out, "computes what is published"), "%s", said.out);
    ENDED(&said, 0, NULL, NULL);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"tokenizers_without_a_pack", tokenizers_without_a_pack},
        {"qwen2_and_its_frame", qwen2_and_its_frame},
        {"one_folder_for_all", one_folder_for_all},
        {"published_outputs", published_outputs},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
