/*
 * test_cli_embed.c - `earshot embed` as a user runs it: ids and vectors against the references' and the library's, the
 * environment's words, memory that follows from the budget, and bad input.
 */
#define _GNU_SOURCE
#include "base/json.h"
#include "encoders.h"

/* The reference's texts that are one line: the same ids and the same vectors, to rounding; as jsonl the same bits. */
static void minilm_is_the_reference(void)
{
    const char *golden = es_test_data("goldens/text/minilm.json"), *npy = es_test_data("goldens/text/minilm_vectors_fp16_weights.npy");
    int row[64], n = 0, r = 0, n_dims;
    size_t dims[4];
    es_json *j = NULL;
    es_err err = {0};

    if (!setup()) return;
    double *want = npy ? es_test_npy(npy, &n_dims, dims) : NULL;
    if (!golden || !want || es_json_read(&j, golden, 1 << 24, &err)) {
        es_test_skip("ES_TEST_DATA/goldens/text");
        free(want);
        return;
    }
    const es_json_node *ids[64];
    FILE *f = fopen(at("texts"), "wb");
    for (const es_json_node *e = es_json_first(es_json_get(es_json_root(j), "texts")); e && n < 64; e = es_json_next(e), r++) {
        const char *text = es_json_string(es_json_get(e, "text"));
        if (strchr(text, '\n')) continue;
        fprintf(f, "%s\n", text);
        row[n] = r, ids[n++] = es_json_get(e, "ids");
    }
    fclose(f);
    CHECK(n > 30, "only %d texts are one line", n);
    ended said = program_line("earshot tokenize --model minilm.pack < texts");
    char *p = said.out;
    for (int i = 0; i < n; i++) {
        const es_json_node *id = es_json_next(es_json_first(ids[i])); /* behind [CLS] */
        int64_t v = 0;
        for (int k = 0; *p != '\n' && *p; k++) {
            long have = strtol(p, &p, 10);
            if (*p == ' ') p++;
            if (k >= 254) continue; /* the reference's ids are cut */
            CHECK(es_json_int(id, 0, 1 << 20, &v) && v == have, "text %d, id %d: %ld, expected %lld", i, k, have, (long long)v);
            id = es_json_next(id);
        }
        CHECK(id && !es_json_next(id), "text %d has other ids", i);
        if (*p) p++;
    }
    CHECK(!*p, "there are more lines than texts");
    ENDED(&said, 0, NULL, NULL);
    LINE(0, NULL, "Embedding model minilm", "earshot embed --model minilm.pack -o v.npy texts");
    float *have = vectors("v.npy", (size_t)n, WIDTH);
    double worst = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < WIDTH; k++) worst = fmax(worst, fabs((double)have[i * WIDTH + k] - want[row[i] * WIDTH + k]));
    CHECK(worst <= 1e-6, "a coordinate is off by %g", worst);
    /* The same bits from a list a line, from the library, and from the folder of models by name. */
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -o v.jsonl < texts");
    char *list = read_file(at("v.jsonl"), NULL);
    p = list;
    for (int i = 0; i < n * WIDTH && *p; i++) {
        while (*p == '[' || *p == ']' || *p == '\n' || *p == ',') p++;
        float v = strtof(p, &p);
        CHECK(v == have[i], "number %d of the list is %.9g, expected %.9g", i, (double)v, (double)have[i]);
    }
    free(list);
    mkdir(at("models"), 0755);
    CHECK(link(at("minilm.pack"), at("models/minilm.pack")) == 0, "no link");
    LINE(0, NULL, NULL, "earshot embed --models models --model minilm -f npy - < texts");
    CHECK(rename(at("stdout"), at("named.npy")) == 0, "no output");
    float *named = vectors("named.npy", (size_t)n, WIDTH);
    CHECK(!memcmp(named, have, (size_t)n * WIDTH * sizeof *have), "other bits by name");
    free(named);
    free(have);
    es_json_close(j);
    free(want);
}

/* 103 texts with a ceiling of 256 under a budget for far fewer: the seed's words, and the same bits as one by one. */
static void words_of_the_environment(void)
{
    enum { N = 103 };

    if (!setup()) return;
    FILE *f = fopen(at("texts"), "wb");
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < (i * 37) % 17; k++) fprintf(f, "%s%d", k ? " word" : "", (i * 31 + k * 7) % 1000);
        fputc('\n', f); /* every now and then nothing before it */
    }
    fclose(f);
    ended said = program_line("EMBEDDING_BATCH_SIZE=256 earshot embed --model minilm.pack --budget 60M -o a.npy texts");
    CHECK(strstr(said.err, "is loaded on ") && strstr(said.err, "Embedding generation: 103 texts in ") && strstr(said.err, " texts/sec)"),
          "a line is missing: %s", said.err);
    ENDED(&said, 0, NULL, "Processing embedding batch: 103 total texts");
    LINE(0, NULL, NULL, "EMBEDDING_BATCH_SIZE=1 earshot embed --model minilm.pack -q -o b.npy texts");
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -q --threads 1 --batch-size 7 -o c.npy texts");
    float *a = vectors("a.npy", N, WIDTH), *b = vectors("b.npy", N, WIDTH), *c = vectors("c.npy", N, WIDTH);
    CHECK(!memcmp(a, b, N * WIDTH * sizeof *a), "other bits one by one");
    CHECK(!memcmp(a, c, N * WIDTH * sizeof *a), "other bits in sevens on one thread");
    free(a), free(b), free(c);
    /* Options win; what is wrong is said. */
    write_file(at("one"), "hello\n", 6);
    LINE(2, NULL, "EMBEDDING_BATCH_SIZE takes a whole number from 1 to 1000000, not many",
         "EMBEDDING_BATCH_SIZE=many earshot embed --model minilm.pack texts");
    LINE(0, NULL, NULL, "EMBEDDING_BATCH_SIZE=many earshot embed --model minilm.pack --batch-size 4 -o d.npy one");
    LINE(2, NULL, "EMBEDDING_DEVICE: a device is auto, cpu, cuda or cuda:N, not tpu",
         "EMBEDDING_DEVICE=tpu earshot embed --model minilm.pack texts");
    LINE(3, NULL, "EMBEDDING_DEVICE cuda:1000: ", "EMBEDDING_DEVICE=cuda:1000 earshot embed --model minilm.pack texts");
    LINE(2, NULL, "--device: a device is auto, cpu, cuda or cuda:N, not tpu", "earshot embed --model minilm.pack --device tpu texts");
    LINE(0, NULL, NULL, "EMBEDDING_DEVICE=tpu earshot embed --model minilm.pack --device cpu -o d.npy one");
    LINE(3, NULL, "budget", "earshot embed --model minilm.pack --budget 1M texts");
}

/* The peak of the program's memory, in KiB: of itself, or while it embeds a file of texts. */
static long peak_of(const char *command, const char *to, const char *texts)
{
    ended e = texts ? RUN(command, "-q", "--model", at("minilm.pack"), "--budget", "60M", "-o", at(to), at(texts)) : RUN(command);
    long peak = e.peak_kib;

    ENDED(&e, 0, NULL, NULL);
    return peak;
}

/* The seed's case: 103 texts where up to 256 may be computed together, under a budget far smaller than that many of the
 * longest would take (800 MB). What it takes is what one short text takes, which is the plan, to the texts and vectors
 * themselves; and that is the program, the budget, and while weights are copied the largest tensor's pages of the pack. */
static void memory_is_the_plans(void)
{
    enum { N = 103, BUDGET_KIB = 60000000 / 1024, TENSOR_KIB = 30522 * 384 * 2 / 1024 };

    if (!setup()) return;
    FILE *f = fopen(at("texts"), "wb");
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 2 + i * 31 % 250; k++) fputs("word ", f);
        fputc('\n', f);
    }
    fclose(f);
    write_file(at("one"), "hello\n", 6);
    setenv("EMBEDDING_BATCH_SIZE", "256", 1);
    long program = peak_of("version", NULL, NULL), one = peak_of("embed", "v.npy", "one"), many = peak_of("embed", "w.npy", "texts");
    unsetenv("EMBEDDING_BATCH_SIZE");
    printf("    peaks: the program %ld KiB, one text %ld KiB, %d texts %ld KiB\n", program, one, N, many);
    free(vectors("w.npy", N, WIDTH));
#ifndef __SANITIZE_ADDRESS__ /* whose own memory is many times that */
    CHECK(many - one < 1024, "103 texts take %ld KiB more than one", many - one);
    CHECK(one < program + BUDGET_KIB + TENSOR_KIB, "one text takes %ld KiB, the program %ld KiB and the budget %d KiB", one, program,
          (int)BUDGET_KIB);
#endif
}

static void odd_texts(void)
{
    if (!setup()) return;
    write_file(at("none"), "", 0);
    LINE(0, NULL, "0 total texts", "earshot embed --model minilm.pack -o v.npy none");
    free(vectors("v.npy", 0, WIDTH));
    LINE(0, NULL, NULL, "earshot tokenize --model minilm.pack < none");
    /* Two blank lines, blanks kept apart from nothing, a NUL, broken UTF-8, no LF at the end. */
    write_file(at("odd"), "\n\n  \na\0b\n\xFF\xFE\xC3\nhello world", 24);
    ended said = program_line("earshot tokenize --model minilm.pack < odd");
    CHECK_INT(count_in(said.out, "\n"), 6);
    CHECK(said.n_out > 10 && !strcmp(said.out + said.n_out - 10, "7592 2088\n"), "the last line is %s", said.out);
    ENDED(&said, 0, NULL, NULL);
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -o v.npy odd");
    float *v = vectors("v.npy", 6, WIDTH);
    CHECK(!memcmp(v, v + WIDTH, WIDTH * sizeof *v), "two empty texts differ");
    for (int i = 0; i < 6; i++) {
        double norm = 0;
        for (int k = 0; k < WIDTH; k++) norm += (double)v[i * WIDTH + k] * (double)v[i * WIDTH + k];
        CHECK(fabs(norm - 1) < 1e-5, "text %d has the squared norm %g", i, norm);
    }
    free(v);
    /* Longer than the model takes: cut with a note. A megabyte without a blank, and 10,000 marks. */
    char *big = malloc(1 << 20);
    memset(big, 'a', 1 << 20);
    for (int i = 0; i < 5000; i++) memcpy(big + 2 * i, "a ", 2);
    big[(1 << 20) - 1] = '\n';
    write_file(at("big"), big, 1 << 20);
    LINE(0, NULL, "1 of 1 texts have more than 256 tokens", "earshot embed --model minilm.pack -o v.npy big");
    for (int i = 0; i < 10000; i++) memcpy(big + 2 * i, "\xCC\x81", 2);
    write_file(at("marks"), big, 20000);
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -o v.npy marks");
    free(big);
}

/* A text in parts is the mean of its parts, weighted by their tokens: those are embedded by themselves as ids. */
static void long_texts_in_parts(void)
{
    enum { WORDS = 601, PARTS = 3 };
    float sum[WIDTH] = {0};
    double norm = 0;

    if (!setup()) return;
    FILE *f = fopen(at("texts"), "wb"), *ids = fopen(at("ids"), "wb");
    /* 601 tokens and 254 to a part: 201, 200 and 200. The words are single tokens: hello, world. */
    for (int i = 0; i < WORDS; i++) {
        bool begins = i == 0 || i == 201 || i == 401, ends = i == 200 || i == 400 || i == WORDS - 1, hello = i * i % 7 < 3;
        fprintf(f, "%s ", hello ? "hello" : "world");
        fprintf(ids, "%s%d%s", begins ? "101 " : "", hello ? 7592 : 2088, ends ? " 102\n" : " ");
    }
    fputs("\nhello world\n", f);
    fclose(f), fclose(ids);
    LINE(0, NULL, "1 of 2 texts have more than 256 tokens: they were computed in parts",
         "earshot embed --model minilm.pack --long split -o a.npy texts");
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack --ids -o parts.npy ids");
    LINE(0, NULL, "what is behind them is left out", "earshot embed --model minilm.pack --long truncate -o cut.npy texts");
    float *a = vectors("a.npy", 2, WIDTH), *parts = vectors("parts.npy", PARTS, WIDTH), *cut = vectors("cut.npy", 2, WIDTH);
    for (int p = 0; p < PARTS; p++)
        for (int k = 0; k < WIDTH; k++) sum[k] += (p ? 200.0f : 201.0f) * parts[p * WIDTH + k];
    for (int k = 0; k < WIDTH; k++) norm += (double)sum[k] * (double)sum[k];
    for (int k = 0; k < WIDTH; k++)
        CHECK(fabs((double)a[k] - (double)sum[k] / sqrt(norm)) < 1e-7, "number %d is %.9g, the mean of the parts %.9g", k, (double)a[k],
              (double)sum[k] / sqrt(norm));
    CHECK(memcmp(a, cut, WIDTH * sizeof *a) != 0, "the long text was cut, not split");
    CHECK(!memcmp(a + WIDTH, cut + WIDTH, WIDTH * sizeof *a), "a text that fits has other bits");
    /* The same bits whatever the steps are. */
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -q --long split --batch-size 1 --threads 1 -o b.npy texts");
    float *b = vectors("b.npy", 2, WIDTH);
    CHECK(!memcmp(a, b, 2 * WIDTH * sizeof *a), "other bits part by part");
    free(a), free(b), free(parts), free(cut);
    LINE(2, NULL, "truncate|split", "earshot embed --model minilm.pack --long maybe texts");
    LINE(2, NULL, "--long is about texts", "earshot embed --model minilm.pack --ids --long split ids");
}

/* Ids as they are, and a pack that has no tokenizer. */
static void ids_as_they_are(void)
{
    static const int32_t ids[] = {1, 403, 407, 261, 2, 5, 1, 403, 407, 261};
    static const size_t bounds[] = {0, 5, 6, 10};
    es_encoder_options options = ES_ENCODER_OPTIONS;
    es_error error = {0};
    es_encoder *e = NULL;
    float want[3 * 64];
    size_t n;

    if (!setup()) return;
    write_file(at("ids"), "101 7592 2088 102\n101 102 \n", 27);
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack --ids -o a.npy ids");
    write_file(at("texts"), "hello world\n\n", 13);
    LINE(0, NULL, NULL, "earshot embed --model minilm.pack -o b.npy texts");
    float *a = vectors("a.npy", 2, WIDTH), *b = vectors("b.npy", 2, WIDTH);
    CHECK(!memcmp(a, b, 2 * WIDTH * sizeof *a), "the ids of texts give other vectors than the texts");
    free(a), free(b);
    static const char *const bad[][2] = {{"1 2\n\n3\n", "line 2 has no token ids"}, {"1 x\n", "line 1: at byte 3"},
                                         {"-1\n", "line 1: at byte 1"},           {"99999999999\n", "line 1: at byte 1"},
                                         {"1\n2 30522\n", "token 2 of text 2 is 30522"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(at("bad"), bad[i][0], strlen(bad[i][0]));
        LINE(1, NULL, bad[i][1], "earshot embed --model minilm.pack --ids -o x.npy bad");
        CHECK(access(at("x.npy"), F_OK) != 0, "an output was left behind");
    }
    char *many = calloc(1, 2000);
    for (int i = 0; i < 300; i++) memcpy(many + 2 * i, "7 ", 2);
    write_file(at("bad"), many, 600);
    free(many);
    LINE(1, NULL, "text 1 has 300 token ids: 1 to 256 are taken", "earshot embed --model minilm.pack --ids bad");
    LINE(2, NULL, "--query would add", "earshot embed --model minilm.pack --ids --query bad");
    if (!link_stories("stories")) return;
    LINE(0, NULL, NULL, "earshot convert stories --name stories -o stories.pack");
    write_file(at("ids"), "1 403 407 261 2\n5\n1 403\t407 261", 31);
    LINE(0, NULL, "loaded", "earshot embed --model stories.pack --ids -o v.npy ids");
    float *v = vectors("v.npy", 3, 64);
    options.model = at("stories.pack"), options.models = es_test_folder(), options.device = "cpu";
    CHECK(es_encoder_open(&e, &options, &error) == ES_DONE, "%s", error.text);
    if (e) {
        CHECK_INT(es_encoder_width(e), 64);
        CHECK(es_encoder_embed_ids(e, ids, bounds, 3, want, &error) == ES_DONE, "%s", error.text);
        CHECK(!memcmp(v, want, sizeof want), "the library gives other bits");
        CHECK(memcmp(want, want + 128, 64 * sizeof *want) != 0, "the last token does not matter");
        CHECK(es_encoder_tokenize(e, "x", 1, NULL, 0, &n, &error) == ES_BAD_MODEL && strstr(error.text, "no tokenizer"), "%s", error.text);
    }
    es_encoder_close(e);
    free(v);
    LINE(3, NULL, "has no tokenizer", "earshot embed --model stories.pack texts");
    LINE(3, NULL, "has no tokenizer", "earshot tokenize --model stories.pack < texts");
}

/* Figures in the forms they come in; the same vectors whatever the batch and the threads are. */
static void bench(void)
{
    char hash[3][40] = {"", "", ""};
    static const char *const how[3] = {"--batch-size 2 --threads 1", "--batch-size 4", "--sweep"};
    es_json *j = NULL;
    es_err err = {0};

    for (int i = 0; i < 3; i++) {
        double rate = 0;
        int64_t tokens = 0, arena = 0, peak = 0;
        ended said = program_line("earshot bench embed -q --synthetic minilm --tokens 5 --texts 3 --json %s", how[i]);
        CHECK(es_json_parse(&j, said.out, said.n_out, "bench", &err) == ES_OK, "%s", err.text);
        const es_json_node *root = es_json_root(j), *row = es_json_first(es_json_get(root, "rows"));
        CHECK_STR(es_json_string(es_json_get(root, "model")), "minilm");
        CHECK(es_json_int(es_json_get(root, "tokens"), 0, 100, &tokens) && tokens == 5, "%d tokens", (int)tokens);
        CHECK(es_json_number(es_json_get(row, "texts_per_second"), &rate) && rate > 0, "%g texts a second", rate);
        CHECK(es_json_int(es_json_get(row, "arena_bytes"), 40000000, 200000000, &arena), "an arena of %lld", (long long)arena);
        CHECK(es_json_int(es_json_get(row, "peak_bytes"), arena, INT64_MAX >> 11, &peak), "a peak of %lld below the arena", (long long)peak);
        const char *h = es_json_string(es_json_get(row, "vectors_hash"));
        snprintf(hash[i], sizeof hash[i], "%s", h ? h : "");
        CHECK(i < 2 || es_json_string(es_json_get(root, "no_cuda")) || es_json_count(es_json_get(root, "rows")) == 6, "a sweep of %d rows",
              es_json_count(es_json_get(root, "rows")));
        es_json_close(j);
        ENDED(&said, 0, NULL, NULL);
    }
    CHECK(*hash[0] && !strcmp(hash[0], hash[1]) && !strcmp(hash[0], hash[2]), "vectors %s, %s, %s", hash[0], hash[1], hash[2]);
    ended said = program_line("earshot bench embed -q --synthetic minilm --tokens 5 --texts 3");
    CHECK(strstr(said.out, "minilm with seeded weights, texts of 5 tokens") && strstr(said.out, "texts/s") && strstr(said.out, "peak MiB"), "%s", said.out);
    ENDED(&said, 0, NULL, NULL);
    LINE(2, NULL, "gte-qwen2-1.5b", "earshot bench embed --synthetic gte");
    LINE(2, NULL, "a text of minilm has 256 tokens at most", "earshot bench embed --synthetic minilm --tokens 257");
    LINE(2, NULL, "only one of them", "earshot bench embed --synthetic minilm --model x.pack");
    LINE(2, NULL, "--sweep chooses", "earshot bench embed --synthetic minilm --sweep --batch-size 3");
    LINE(3, NULL, "budget", "earshot bench embed --synthetic gte-qwen2-1.5b --budget 1G");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"minilm_is_the_reference", minilm_is_the_reference},
        {"words_of_the_environment", words_of_the_environment},
        {"memory_is_the_plans", memory_is_the_plans},
        {"odd_texts", odd_texts},
        {"long_texts_in_parts", long_texts_in_parts},
        {"ids_as_they_are", ids_as_they_are},
        {"bench", bench},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
