/*
 * test_cli_embed.c - `earshot embed` and `earshot tokenize` as a user runs them: ids and vectors against the references'
 * and the library's, the environment's words, memory that follows from the budget, and bad input.
 */
#define _GNU_SOURCE
#include "test.h"

#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "earshot.h"
#include "seeded.h"

#ifndef ES_BINARY_DIR
#error "the folder of the build must be known"
#endif

enum { WIDTH = 384 };

static const char *folder; /* of the running test */

static const char *at(const char *name) /* a path in the test's folder, in a ring */
{
    static char ring[16][4400];
    static int i;

    i = (i + 1) % 16;
    snprintf(ring[i], sizeof ring[i], "%s/%s", folder, name);
    return ring[i];
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    struct stat st = {0};
    char *text = NULL;

    *n = 0;
    if (f && fstat(fileno(f), &st) == 0 && (text = calloc(1, (size_t)st.st_size + 1))) *n = fread(text, 1, (size_t)st.st_size, f);
    if (f) fclose(f);
    return text ? text : calloc(1, 1);
}

static void write_file(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(at(name), "wb");

    CHECK(f && fwrite(text, 1, n, f) == n, "cannot write %s", name);
    if (f) fclose(f);
}

/* Runs "earshot ..." by the shell in the test's folder; what it says goes to out and err there. The exit code. */
static int run(const char *before, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int run(const char *before, const char *format, ...)
{
    char words[2000], line[9000];
    va_list ap;

    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    snprintf(line, sizeof line, "cd '%s' && XDG_DATA_HOME='%s/data' EMBEDDING_DEVICE=cpu %s '%s/earshot' %s >out 2>err", folder, folder,
             before, ES_BINARY_DIR, words);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect(const char *file, int line, int code, int want, const char *in_err)
{
    size_t n;
    char *err = slurp(at("err"), &n);

    if (code != want) es_test_fail(file, line, "it ended with %d, expected %d; it said: %s", code, want, err);
    if (in_err && !strstr(err, in_err)) es_test_fail(file, line, "\"%s\" is not in its complaint: %s", in_err, err);
    if (strstr(err, "AddressSanitizer") || strstr(err, "runtime error")) es_test_fail(file, line, "%s", err);
    free(err);
}
#define RUN(want, in_err, ...) expect(__FILE__, __LINE__, run("", __VA_ARGS__), want, in_err)

/* The vectors of an .npy in the folder, f32 [n, WIDTH]. */
static float *vectors(const char *name, size_t n, size_t width)
{
    int n_dims = 0;
    size_t dims[4] = {0};
    double *d = es_test_npy(at(name), &n_dims, dims);
    float *v = calloc(n * width + 1, sizeof *v);

    CHECK(d && n_dims == 2 && dims[0] == n && dims[1] == width, "%s is %d-dimensional, [%zu, %zu], expected [%zu, %zu]", name, n_dims,
          dims[0], dims[1], n, width);
    for (size_t i = 0; d && dims[0] == n && dims[1] == width && i < n * width; i++) v[i] = (float)d[i];
    free(d);
    return v;
}

/* Makes minilm.pack in the test's folder; false, and the test is skipped, without the model. */
static bool setup(void)
{
    const char *source = es_test_data("models/minilm");

    folder = es_test_folder();
    if (!source) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return false;
    }
    RUN(0, NULL, "convert '%s' --name minilm -o minilm.pack", source);
    return true;
}

/* The reference's texts that are one line: the same ids and the same vectors, to rounding; as jsonl the same bits. */
static void minilm_is_the_reference(void)
{
    const char *golden = es_test_data("goldens/text/minilm.json"), *npy = es_test_data("goldens/text/minilm_vectors_fp16_weights.npy");
    int row[64], n = 0, r = 0, n_dims;
    size_t dims[4], bytes;
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
    RUN(0, NULL, "tokenize --model minilm.pack < texts");
    char *out = slurp(at("out"), &bytes), *p = out;
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
    free(out);
    RUN(0, "Embedding model minilm", "embed --model minilm.pack -o v.npy texts");
    float *have = vectors("v.npy", (size_t)n, WIDTH);
    double worst = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < WIDTH; k++) worst = fmax(worst, fabs((double)have[i * WIDTH + k] - want[row[i] * WIDTH + k]));
    CHECK(worst <= 1e-6, "a coordinate is off by %g", worst);
    /* The same bits from a list a line, from the library, and from the folder of models by name. */
    RUN(0, NULL, "embed --model minilm.pack -o v.jsonl < texts");
    char *list = slurp(at("v.jsonl"), &bytes);
    p = list;
    for (int i = 0; i < n * WIDTH && *p; i++) {
        while (*p == '[' || *p == ']' || *p == '\n' || *p == ',') p++;
        float v = strtof(p, &p);
        CHECK(v == have[i], "number %d of the list is %.9g, expected %.9g", i, (double)v, (double)have[i]);
    }
    free(list);
    mkdir(at("models"), 0755);
    CHECK(link(at("minilm.pack"), at("models/minilm.pack")) == 0, "no link");
    RUN(0, NULL, "embed --models models --model minilm -f npy - < texts");
    CHECK(rename(at("out"), at("named.npy")) == 0, "no output");
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
    size_t n;

    if (!setup()) return;
    FILE *f = fopen(at("texts"), "wb");
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < (i * 37) % 17; k++) fprintf(f, "%s%d", k ? " word" : "", (i * 31 + k * 7) % 1000);
        fputc('\n', f); /* every now and then nothing before it */
    }
    fclose(f);
    int code = run("EMBEDDING_BATCH_SIZE=256", "embed --model minilm.pack --budget 60M -o a.npy texts");
    expect(__FILE__, __LINE__, code, 0, "Processing embedding batch: 103 total texts");
    char *err = slurp(at("err"), &n);
    CHECK(strstr(err, "is loaded on ") && strstr(err, "Embedding generation: 103 texts in ") && strstr(err, " texts/sec)"),
          "a line is missing: %s", err);
    free(err);
    code = run("EMBEDDING_BATCH_SIZE=1", "embed --model minilm.pack -q -o b.npy texts");
    expect(__FILE__, __LINE__, code, 0, NULL);
    RUN(0, NULL, "embed --model minilm.pack -q --threads 1 --batch-size 7 -o c.npy texts");
    float *a = vectors("a.npy", N, WIDTH), *b = vectors("b.npy", N, WIDTH), *c = vectors("c.npy", N, WIDTH);
    CHECK(!memcmp(a, b, N * WIDTH * sizeof *a), "other bits one by one");
    CHECK(!memcmp(a, c, N * WIDTH * sizeof *a), "other bits in sevens on one thread");
    free(a), free(b), free(c);
    /* Options win; what is wrong is said. */
    write_file("one", "hello\n", 6);
    code = run("EMBEDDING_BATCH_SIZE=many", "embed --model minilm.pack texts");
    expect(__FILE__, __LINE__, code, 2, "EMBEDDING_BATCH_SIZE takes a whole number from 1 to 1000000, not many");
    code = run("EMBEDDING_BATCH_SIZE=many", "embed --model minilm.pack --batch-size 4 -o d.npy one");
    expect(__FILE__, __LINE__, code, 0, NULL);
    code = run("EMBEDDING_DEVICE=tpu", "embed --model minilm.pack texts");
    expect(__FILE__, __LINE__, code, 2, "EMBEDDING_DEVICE: a device is auto, cpu, cuda or cuda:N, not tpu");
    code = run("EMBEDDING_DEVICE=cuda:1000", "embed --model minilm.pack texts");
    expect(__FILE__, __LINE__, code, 3, "EMBEDDING_DEVICE cuda:1000: ");
    RUN(2, "--device: a device is auto, cpu, cuda or cuda:N, not tpu", "embed --model minilm.pack --device tpu texts");
    code = run("EMBEDDING_DEVICE=tpu", "embed --model minilm.pack --device cpu -o d.npy one");
    expect(__FILE__, __LINE__, code, 0, NULL);
    RUN(3, "budget", "embed --model minilm.pack --budget 1M texts");
}

/* Peak of a child's memory, in KiB, as the system counted it. words: separated by single blanks. */
static long peak_of(const char *words)
{
    char copy[1000], *argv[32] = {0}, *save = NULL;
    struct rusage used = {0};
    int status = 0, n = 0;

    snprintf(copy, sizeof copy, "%s/earshot %s", ES_BINARY_DIR, words);
    for (char *w = strtok_r(copy, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save)) argv[n++] = w;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setenv("EMBEDDING_BATCH_SIZE", "256", 1);
        setenv("EMBEDDING_DEVICE", "cpu", 1);
        if (chdir(folder) || !freopen("/dev/null", "w", stdout)) _exit(126);
        execv(argv[0], argv);
        _exit(127);
    }
    CHECK(child > 0 && wait4(child, &status, 0, &used) == child && WIFEXITED(status) && !WEXITSTATUS(status), "%s ended with %d", words,
          status);
    return used.ru_maxrss;
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
    write_file("one", "hello\n", 6);
    long program = peak_of("version"), one = peak_of("embed -q --model minilm.pack --budget 60M -o v.npy one");
    long many = peak_of("embed -q --model minilm.pack --budget 60M -o w.npy texts");
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
    size_t n;

    if (!setup()) return;
    write_file("none", "", 0);
    RUN(0, "0 total texts", "embed --model minilm.pack -o v.npy none");
    free(vectors("v.npy", 0, WIDTH));
    RUN(0, NULL, "tokenize --model minilm.pack < none");
    /* Two blank lines, blanks kept apart from nothing, a NUL, broken UTF-8, no LF at the end. */
    write_file("odd", "\n\n  \na\0b\n\xFF\xFE\xC3\nhello world", 24);
    RUN(0, NULL, "tokenize --model minilm.pack < odd");
    char *out = slurp(at("out"), &n);
    int lines = 0;
    for (size_t i = 0; i < n; i++) lines += out[i] == '\n';
    CHECK_INT(lines, 6);
    CHECK(n > 10 && !strcmp(out + n - 10, "7592 2088\n"), "the last line is %s", out);
    free(out);
    RUN(0, NULL, "embed --model minilm.pack -o v.npy odd");
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
    write_file("big", big, 1 << 20);
    RUN(0, "1 of 1 texts have more than 256 tokens", "embed --model minilm.pack -o v.npy big");
    for (int i = 0; i < 10000; i++) memcpy(big + 2 * i, "\xCC\x81", 2);
    write_file("marks", big, 20000);
    RUN(0, NULL, "embed --model minilm.pack -o v.npy marks");
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
    RUN(0, "1 of 2 texts have more than 256 tokens: they were computed in parts", "embed --model minilm.pack --long split -o a.npy texts");
    RUN(0, NULL, "embed --model minilm.pack --ids -o parts.npy ids");
    RUN(0, "what is behind them is left out", "embed --model minilm.pack --long truncate -o cut.npy texts");
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
    RUN(0, NULL, "embed --model minilm.pack -q --long split --batch-size 1 --threads 1 -o b.npy texts");
    float *b = vectors("b.npy", 2, WIDTH);
    CHECK(!memcmp(a, b, 2 * WIDTH * sizeof *a), "other bits part by part");
    free(a), free(b), free(parts), free(cut);
    RUN(2, "truncate|split", "embed --model minilm.pack --long maybe texts");
    RUN(2, "--long is about texts", "embed --model minilm.pack --ids --long split ids");
}

/* A folder as models are published, without a pack: the references' ids; and one whose merges do not fit its vocabulary. */
static void tokenizers_without_a_pack(void)
{
    const char *qwen2 = es_test_data("models/qwen2-tokenizer"), *golden = es_test_data("goldens/text/qwen2_tokenizer.jsonl");
    const char *minilm = es_test_data("models/minilm");
    size_t bytes;
    int n = 0;

    if (!setup()) return;
    if (!qwen2 || !golden || !minilm) {
        es_test_skip("ES_TEST_DATA/models/qwen2-tokenizer");
        return;
    }
    FILE *texts = fopen(at("texts"), "wb"), *want = fopen(at("want"), "wb");
    char *all = slurp(golden, &bytes), *save = NULL;
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
    RUN(0, NULL, "tokenize --model '%s' < texts", qwen2);
    char *have = slurp(at("out"), &bytes), *expected = slurp(at("want"), &bytes);
    CHECK_STR(have, expected);
    free(have), free(expected);
    /* tokenizer.json, vocab.txt and the pack say the same. */
    mkdir(at("json"), 0755), mkdir(at("lines"), 0755), mkdir(at("bad"), 0755);
    char path[4200];
    snprintf(path, sizeof path, "%s/tokenizer.json", minilm);
    CHECK(!symlink(path, at("json/tokenizer.json")), "no link");
    snprintf(path, sizeof path, "%s/vocab.txt", minilm);
    CHECK(!symlink(path, at("lines/vocab.txt")), "no link");
    RUN(0, NULL, "tokenize --model minilm.pack < texts");
    expected = slurp(at("out"), &bytes);
    RUN(0, NULL, "tokenize --model json < texts");
    have = slurp(at("out"), &bytes);
    CHECK(!strcmp(have, expected), "tokenizer.json gives other ids than the pack");
    free(have);
    RUN(0, NULL, "tokenize --model lines < texts");
    have = slurp(at("out"), &bytes);
    CHECK(!strcmp(have, expected), "vocab.txt gives other ids than the pack");
    free(have), free(expected);
    /* 256 bytes and two merges; the second one makes a token that is not there. */
    static const char *const bad[][3] = {
        {"\"he\":256,\"ll\":257", "\"h e\",\"l o\"", "merges and vocabulary disagree"},
        {"\"he\":257,\"ll\":256", "\"h e\",\"l l\"", "merges and vocabulary disagree"},
        {"\"he\":256", "\"h e\",\"l l\"", "257 tokens and 2 merges"},
        {"\"he\":256,\"he\":257", "\"h e\",\"l l\"", "tokenizer.json"},
        {"\"he\":256,\"ll\":257", "\"h e\",\"ll\"", "merge 1 is not a pair"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int id = 0;
        FILE *f = fopen(at("bad/tokenizer.json"), "wb");
        fputs("{\"added_tokens\":[{\"id\":300,\"content\":\"<|endoftext|>\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{", f);
        for (int byte = 0x21; byte < 0x100; byte++)
            if (byte <= 0x7E || (byte >= 0xA1 && byte != 0xAD)) fprintf(f, "\"\\u%04x\":%d,", (unsigned)byte, id++);
        for (unsigned c = 0x100; id < 256; c++) fprintf(f, "\"\\u%04x\":%d,", c, id++);
        fprintf(f, "%s},\"merges\":[%s]}}", bad[i][0], bad[i][1]);
        fclose(f);
        RUN(3, bad[i][2], "tokenize --model bad < texts");
    }
    static const char *const other[][2] = {
        {"{\"model\":{\"type\":\"Unigram\"}}", "its model is Unigram"},
        {"{\"pre_tokenizer\":{\"pattern\":{\"Regex\":\"x\"}},\"model\":{\"type\":\"BPE\"}}", "by the pattern x"},
        {"{\"normalizer\":{\"lowercase\":false},\"model\":{\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2}}}", "keeps upper case"},
        {"{\"model\":{\"vocab\":{\"[UNK]\":0,\"[CLS]\":2,\"[SEP]\":3}}}", "has the id 3"},
        {"{\"model\":", "not JSON"},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        write_file("bad/tokenizer.json", other[i][0], strlen(other[i][0]));
        RUN(3, other[i][1], "tokenize --model bad < texts");
    }
    mkdir(at("empty"), 0755);
    RUN(3, "there is no text encoder here", "tokenize --model ./empty < texts");
}

/* Ids as they are, and a pack that has no tokenizer. */
static void ids_as_they_are(void)
{
    const char *weights = es_test_data("models/stories260K-qwen2-layout/model.qwen2-layout.safetensors");
    const char *config = es_test_data("models/stories260K-qwen2-layout/config.json");
    static const int32_t ids[] = {1, 403, 407, 261, 2, 5, 1, 403, 407, 261};
    static const size_t bounds[] = {0, 5, 6, 10};
    es_encoder_options options = ES_ENCODER_OPTIONS;
    es_error error = {0};
    es_encoder *e = NULL;
    float want[3 * 64];
    size_t n;

    if (!setup()) return;
    write_file("ids", "101 7592 2088 102\n101 102 \n", 27);
    RUN(0, NULL, "embed --model minilm.pack --ids -o a.npy ids");
    write_file("texts", "hello world\n\n", 13);
    RUN(0, NULL, "embed --model minilm.pack -o b.npy texts");
    float *a = vectors("a.npy", 2, WIDTH), *b = vectors("b.npy", 2, WIDTH);
    CHECK(!memcmp(a, b, 2 * WIDTH * sizeof *a), "the ids of texts give other vectors than the texts");
    free(a), free(b);
    static const char *const bad[][2] = {{"1 2\n\n3\n", "line 2 has no token ids"}, {"1 x\n", "line 1: at byte 3"},
                                         {"-1\n", "line 1: at byte 1"},           {"99999999999\n", "line 1: at byte 1"},
                                         {"1\n2 30522\n", "token 2 of text 2 is 30522"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("bad", bad[i][0], strlen(bad[i][0]));
        RUN(1, bad[i][1], "embed --model minilm.pack --ids -o x.npy bad");
        CHECK(access(at("x.npy"), F_OK) != 0, "an output was left behind");
    }
    char *many = calloc(1, 2000);
    for (int i = 0; i < 300; i++) memcpy(many + 2 * i, "7 ", 2);
    write_file("bad", many, 600);
    free(many);
    RUN(1, "text 1 has 300 token ids: 1 to 256 are taken", "embed --model minilm.pack --ids bad");
    RUN(2, "--query would add", "embed --model minilm.pack --ids --query bad");
    if (!weights || !config) {
        es_test_skip("ES_TEST_DATA/models/stories260K-qwen2-layout");
        return;
    }
    mkdir(at("stories"), 0755);
    CHECK(!symlink(weights, at("stories/model.safetensors")) && !symlink(config, at("stories/config.json")), "no links");
    RUN(0, NULL, "convert stories --name stories -o stories.pack");
    write_file("ids", "1 403 407 261 2\n5\n1 403\t407 261", 31);
    RUN(0, "loaded", "embed --model stories.pack --ids -o v.npy ids");
    float *v = vectors("v.npy", 3, 64);
    options.model = at("stories.pack"), options.models = folder, options.device = "cpu";
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
    RUN(3, "has no tokenizer", "embed --model stories.pack texts");
    RUN(3, "has no tokenizer", "tokenize --model stories.pack < texts");
}

/* A vocabulary of 256 bytes and five merges beside the small weights: all that Qwen2's way adds to a text. */
static void qwen2_and_its_frame(void)
{
    const char *weights = es_test_data("models/stories260K-qwen2-layout/model.qwen2-layout.safetensors");
    const char *config = es_test_data("models/stories260K-qwen2-layout/config.json");
    static const char asked[] =
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: hello";
    es_encoder_options options = ES_ENCODER_OPTIONS;
    es_error error = {0};
    es_encoder *e = NULL;
    int32_t ids[128];
    float want[64];
    size_t n;

    folder = es_test_folder();
    if (!weights || !config) {
        es_test_skip("ES_TEST_DATA/models/stories260K-qwen2-layout");
        return;
    }
    mkdir(at("qwen2"), 0755);
    CHECK(!symlink(weights, at("qwen2/model.safetensors")) && !symlink(config, at("qwen2/config.json")), "no links");
    FILE *f = fopen(at("qwen2/tokenizer.json"), "wb");
    fputs("{\"added_tokens\":[{\"id\":301,\"content\":\"<|im_start|>\"},{\"id\":300,\"content\":\"<|endoftext|>\"}],"
          "\"model\":{\"vocab\":{", f);
    int id = 0;
    for (int byte = 0x21; byte < 0x100; byte++)
        if (byte <= 0x7E || (byte >= 0xA1 && byte != 0xAD)) fprintf(f, "\"\\u%04x\":%d,", (unsigned)byte, id++);
    for (unsigned c = 0x100; id < 256; c++) fprintf(f, "\"\\u%04x\":%d,", c, id++);
    fputs("\"he\":256,\"ll\":257,\"hell\":258,\"hello\":259,\"\\u0120w\":260},"
          "\"merges\":[\"h e\",[\"l\",\"l\"],\"he ll\",\"hell o\",\"\\u0120 w\"]}}", f);
    fclose(f);
    RUN(0, NULL, "convert qwen2 --name small-qwen2 --attention bidirectional -o qwen2.pack");
    write_file("lines", "hello hello\n\n<|im_start|>he wl<|endoftext|>\n\"1\r", 47);
    RUN(0, NULL, "tokenize --model qwen2.pack < lines");
    char *out = slurp(at("out"), &n);
    CHECK_STR(out, "259 220 259\n\n301 256 260 75 300\n1 16 201\n");
    free(out);
    /* The end token behind each text, nothing before it; ids get nothing. */
    write_file("texts", "hello\n\n", 7);
    write_file("ids", "259 300\n300\n", 12);
    RUN(0, NULL, "embed --model qwen2.pack -o a.npy texts");
    RUN(0, NULL, "embed --model qwen2.pack --ids -o b.npy ids");
    RUN(0, NULL, "embed --model qwen2.pack --query -o c.npy texts");
    float *a = vectors("a.npy", 2, 64), *b = vectors("b.npy", 2, 64), *c = vectors("c.npy", 2, 64);
    CHECK(!memcmp(a, b, 128 * sizeof *a), "a text is not its ids and the end token");
    options.model = at("qwen2.pack"), options.models = folder, options.device = "cpu";
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
    const es_seeded_whisper small = {
        .seed = 1, .width = 64, .layers = 2, .n_mels = 80, .vocab = 51865, .f16 = true, .alignment = "[[1, 0]]", .name = "small"};
    size_t n;

    folder = es_test_folder();
    mkdir(at("models"), 0755);
    write_file("texts", "hello\n", 6);
    RUN(3, "there is no text encoder here", "embed --models models texts");
    CHECK(es_seeded_whisper_write(at("models/small.pack"), &small) == 0, "cannot write a pack");
    RUN(3, "there is no text encoder here", "embed --models models texts");
    RUN(3, "there is no text encoder called minilm here", "embed --models models --model minilm texts");
    RUN(3, "a text encoder has bert or qwen2", "embed --models models --model small texts");
    RUN(3, NULL, "embed --model nothing.pack texts");
    if (!setup()) return;
    CHECK(link(at("minilm.pack"), at("models/minilm.pack")) == 0, "no link");
    RUN(0, "Embedding model minilm", "embed --models models -o v.npy texts");
    RUN(0, NULL, "plan --models models --device cpu");
    char *out = slurp(at("out"), &n);
    CHECK(strstr(out, "small"), "the plan is not the speech model's: %s", out);
    free(out);
    CHECK(link(at("minilm.pack"), at("models/other.pack")) == 0, "no link");
    RUN(2, "holds several text encoders; choose with --model: minilm, minilm", "embed --models models texts");
    RUN(0, "Embedding model minilm", "embed --models models --model other -o v.npy texts");
    RUN(1, "cannot read missing", "embed --models models --model other missing");
    RUN(1, "cannot write", "embed --models models --model other -o no/such/folder.npy texts");
    RUN(2, "npy|jsonl", "embed --model minilm.pack --format csv texts");
}

/* Published outputs, computed again: equal for the published weights, not for weights with a hole, and said to be unknown
 * where nothing is published. */
static void published_outputs(void)
{
    const char *weights = es_test_data("models/minilm/model.safetensors"), *small = es_test_data("models/stories260K-qwen2-layout");
    const char *speech = es_test_models("whisper-tiny.pack"), *jfk = es_test_data("audio/jfk/jfk.flac");
    static const char *const files[] = {"config.json", "vocab.txt"};
    char path[4200], link_path[4200];
    size_t bytes;

    if (!setup()) return;
    RUN(0, NULL, "doctor --verify minilm.pack");
    char *out = slurp(at("out"), &bytes);
    CHECK(strstr(out, "sentence-transformers") && strstr(out, "published 0.666, ") && strstr(out, "computes what is published"), "%s", out);
    free(out);
    RUN(0, NULL, "doctor --verify minilm --models . --json");
    out = slurp(at("out"), &bytes);
    CHECK(strstr(out, "\"compared_with\"") && strstr(out, "\"published\": 0.1046") && strstr(out, "\"faults\": 0"), "%s", out);
    free(out);
    /* The same model but for 4 MB of zeros among its weights: whole as a pack, and another model. */
    mkdir(at("hole"), 0755);
    char *model = slurp(weights, &bytes);
    CHECK(bytes > 40000000, "%zu bytes of weights", bytes);
    memset(model + bytes - 8000000, 0, 4000000);
    write_file("hole/model.safetensors", model, bytes);
    free(model);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "models/minilm/%s", files[i]);
        snprintf(link_path, sizeof link_path, "hole/%s", files[i]);
        CHECK(!symlink(es_test_data(path), at(link_path)), "no link");
    }
    RUN(0, NULL, "convert hole -o hole.pack");
    RUN(3, NULL, "doctor --verify hole.pack");
    out = slurp(at("out"), &bytes);
    CHECK(strstr(out, "DIFFERENT") && strstr(out, "does NOT compute"), "%s", out);
    free(out);
    if (small) {
        mkdir(at("small"), 0755);
        snprintf(path, sizeof path, "%s/model.qwen2-layout.safetensors", small);
        CHECK(!symlink(path, at("small/model.safetensors")), "no link");
        snprintf(path, sizeof path, "%s/config.json", small);
        CHECK(!symlink(path, at("small/config.json")), "no link");
        RUN(0, NULL, "convert small -o small.pack");
        RUN(0, NULL, "doctor --verify small.pack");
        out = slurp(at("out"), &bytes);
        CHECK(strstr(out, "nothing     was compared: it has neither the shape of"), "%s", out);
        free(out);
    }
    write_file("cut.pack", "earshot", 7);
    RUN(3, "cut.pack", "doctor --verify cut.pack");
    RUN(3, "there is no such pack", "doctor --verify nothing --models .");
    RUN(2, "a recording is for --verify", "doctor texts");
    if (!speech || !jfk) {
        es_test_skip("ES_TEST_MODELS/whisper-tiny.pack");
        return;
    }
    RUN(0, NULL, "doctor --verify '%s' '%s'", speech, jfk);
    out = slurp(at("out"), &bytes);
    CHECK(strstr(out, "OpenAI's own test") && strstr(out, "my fellow Americans") && strstr(out, "computes what is published"), "%s", out);
    free(out);
}

/* Figures in the forms they come in; the same vectors whatever the batch and the threads are. */
static void bench(void)
{
    char hash[3][40] = {"", "", ""};
    static const char *const how[3] = {"--batch-size 2 --threads 1", "--batch-size 4", "--sweep"};
    es_json *j = NULL;
    es_err err = {0};
    size_t n;

    folder = es_test_folder();
    for (int i = 0; i < 3; i++) {
        double rate = 0;
        int64_t tokens = 0, arena = 0, peak = 0;
        RUN(0, NULL, "bench embed -q --synthetic minilm --tokens 5 --texts 3 --json %s", how[i]);
        char *out = slurp(at("out"), &n);
        CHECK(es_json_parse(&j, out, n, "bench", &err) == ES_OK, "%s", err.text);
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
        free(out);
    }
    CHECK(*hash[0] && !strcmp(hash[0], hash[1]) && !strcmp(hash[0], hash[2]), "vectors %s, %s, %s", hash[0], hash[1], hash[2]);
    RUN(0, NULL, "bench embed -q --synthetic minilm --tokens 5 --texts 3");
    char *out = slurp(at("out"), &n);
    CHECK(strstr(out, "minilm with seeded weights, texts of 5 tokens") && strstr(out, "texts/s") && strstr(out, "peak MiB"), "%s", out);
    free(out);
    RUN(2, "gte-qwen2-1.5b", "bench embed --synthetic gte");
    RUN(2, "a text of minilm has 256 tokens at most", "bench embed --synthetic minilm --tokens 257");
    RUN(2, "only one of them", "bench embed --synthetic minilm --model x.pack");
    RUN(2, "--sweep chooses", "bench embed --synthetic minilm --sweep --batch-size 3");
    RUN(3, "budget", "bench embed --synthetic gte-qwen2-1.5b --budget 1G");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"minilm_is_the_reference", minilm_is_the_reference},
        {"words_of_the_environment", words_of_the_environment},
        {"memory_is_the_plans", memory_is_the_plans},
        {"odd_texts", odd_texts},
        {"long_texts_in_parts", long_texts_in_parts},
        {"tokenizers_without_a_pack", tokenizers_without_a_pack},
        {"ids_as_they_are", ids_as_they_are},
        {"qwen2_and_its_frame", qwen2_and_its_frame},
        {"one_folder_for_all", one_folder_for_all},
        {"published_outputs", published_outputs},
        {"bench", bench},
    };
    return es_test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
