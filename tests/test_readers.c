/*
 * test_readers.c - what the readers of foreign files hand out, against values written down by the tools that made them.
 */
#define _GNU_SOURCE
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "runtime/weights.h"
#include "weights/convert/convert.h"
#include "weights/convert/pickle.h"
#include "weights/convert/source.h"

typedef int reader(es_source *s, const char *path, es_err *err);

/* Opens a file with a reader; NULL with a failure of the test, or with the sentence in err where that is given. */
static es_source *open_with(reader *read, const char *path, es_err *err)
{
    es_err own = {0}, *e = err ? err : &own;
    es_source *s = NULL;

    if (es_source_open(&s, path, ".", e) || read(s, path, e)) {
        CHECK(err, "%s", e->text);
        es_source_close(s);
        return NULL;
    }
    return s;
}

static float *values_of(const es_src_tensor *t)
{
    float *out = calloc(t->count + 1, sizeof *out);

    es_source_read(t, 0, t->count, out);
    return out;
}

/* Every tensor of b is in a, with the same shape and values. */
static void same_tensors(const es_source *a, const es_source *b)
{
    CHECK(a->n_tensors >= b->n_tensors, "%d tensors, %d expected", a->n_tensors, b->n_tensors);
    for (int i = 0; i < b->n_tensors; i++) {
        const es_src_tensor *want = &b->tensors[i], *have = es_source_find(a, want->name);
        CHECK(have, "%s is missing", want->name);
        if (!have) continue;
        CHECK(have->n_dims == want->n_dims && have->count == want->count, "%s has another shape", want->name);
        if (have->count != want->count) continue;
        float *x = values_of(have), *y = values_of(want);
        CHECK(!memcmp(x, y, have->count * sizeof *x), "%s differs", want->name);
        free(x);
        free(y);
    }
}

static const char *torch_file(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "goldens/text/torch/%s", name);
    return es_test_data(path);
}

/* The same state dict in both containers, in f32 and in alternating f16 and bf16, equals its safetensors. */
static void torch_good(void)
{
    static const char *const files[] = {"t.zip.pt", "t.legacy.pt", "t.half.zip.pt", "t.half.legacy.pt"};
    const char *want = torch_file("t.safetensors");

    if (!want) {
        es_test_skip("goldens/text/torch");
        return;
    }
    es_source *b = open_with(es_safetensors_read, want, NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files && b; i++) {
        es_source *a = open_with(es_torch_read, torch_file(files[i]), NULL);
        if (a) same_tensors(a, b);
        es_source_close(a);
    }
    es_source_close(b);
}

/* Views: shared storages, offsets, strides of 0, transposed, parameters, 0-d, empty, whole numbers. */
static void torch_views(void)
{
    static const char *const files[] = {"views.zip.pt", "views.legacy.pt"};
    const char *path = torch_file("views.json");
    es_json *j = NULL;
    es_err err = {0};

    if (!path) {
        es_test_skip("goldens/text/torch");
        return;
    }
    CHECK(!es_json_read(&j, path, 1 << 24, &err), "%s", err.text);
    for (size_t f = 0; f < sizeof files / sizeof *files && j; f++) {
        es_source *s = open_with(es_torch_read, torch_file(files[f]), NULL);
        if (!s) continue;
        CHECK_INT(s->n_tensors, es_json_count(es_json_root(j)));
        for (const es_json_node *n = es_json_first(es_json_root(j)); n; n = es_json_next(n)) {
            const es_src_tensor *t = es_source_find(s, es_json_key(n));
            const es_json_node *values = es_json_get(n, "values"), *shape = es_json_get(n, "shape");
            CHECK(t, "%s: %s is missing", files[f], es_json_key(n));
            if (!t) continue;
            CHECK_INT(t->n_dims, es_json_count(shape));
            const es_json_node *d = es_json_first(shape);
            for (int i = 0; d && i < t->n_dims; i++, d = es_json_next(d)) {
                int64_t want = -1;
                es_json_int(d, 0, INT64_MAX, &want);
                CHECK_INT(t->dim[i], want);
            }
            if (es_json_is_array(values)) CHECK_INT((long long)t->count, es_json_count(values));
            float *have = values_of(t);
            size_t i = 0;
            for (const es_json_node *v = es_json_first(values); v && i < t->count; v = es_json_next(v), i++) {
                double want = 0;
                bool truth = false;
                if (!es_json_number(v, &want) && es_json_bool(v, &truth)) want = truth;
                CHECK(have[i] == (float)want, "%s: %s[%zu] is %g, expected %g", files[f], t->name, i, (double)have[i], want);
            }
            free(have);
        }
        es_source_close(s);
    }
    es_json_close(j);
}

/* Hostile and damaged files are refused by what is wrong in them, and run nothing. */
static void torch_refused(void)
{
    static const struct {
        const char *file, *word;
    } cases[] = {
        {"evil.zip.pt", "posix.system"},
        {"evil.legacy.pt", "posix.system"},
        {"evil.protocol4.zip.pt", "posix.system"},
        {"evil.eval.zip.pt", "__builtin__.eval"},
        {"bad.unknown_global.zip.pt", "torch.BogusStorage"},
        {"bad.key_path.zip.pt", "the key of a storage is not a number"},
        {"bad.short_storage.zip.pt", "12 bytes, 4 elements of F32"},
        {"bad.missing_storage.zip.pt", "data/0 is missing"},
        {"bad.size.zip.pt", "reaches element 4 of a storage of 4"},
        {"bad.truncated_pickle.zip.pt", "cut off"},
        {"bad.marks.zip.pt", "exactly one value"},
        {"bad.cycle.zip.pt", "holds itself"},
    };

    if (!torch_file("small.zip.pt")) {
        es_test_skip("goldens/text/torch");
        return;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_err err = {0};
        es_source *s = open_with(es_torch_read, torch_file(cases[i].file), &err);
        CHECK(!s, "%s was taken", cases[i].file);
        CHECK(strstr(err.text, cases[i].word), "%s: \"%s\", without \"%s\"", cases[i].file, err.text, cases[i].word);
        es_source_close(s);
    }
    CHECK(access("pickle_was_executed", F_OK) != 0, "a pickle was executed");
}

/* A file cut at any length, or with any one byte changed in its directory, never reads past its end. */
static void torch_cut(void)
{
    const char *path = torch_file("small.zip.pt"), *folder;
    unsigned char data[4096];
    char copy[4096];

    if (!path) {
        es_test_skip("goldens/text/torch");
        return;
    }
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(data, 1, sizeof data, f) : 0;
    if (f) fclose(f);
    folder = es_test_folder();
    snprintf(copy, sizeof copy, "%s/cut.pt", folder);
    for (size_t cut = 1; cut < n; cut += 1) {
        es_err err = {0};
        f = fopen(copy, "wb");
        if (!f || fwrite(data, 1, cut, f) != cut) CHECK(0, "%s cannot be written", copy);
        if (f) fclose(f);
        es_source *s = open_with(es_torch_read, copy, &err);
        CHECK(!s && err.text[0], "cut at %zu of %zu was taken", cut, n);
        es_source_close(s);
    }
}

/* The opcodes that none of the files at hand use. */
static void pickle_opcodes(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *word; /* NULL: good */
    } cases[] = {
        {"\x80\x02}.", 4, NULL},
        {"\x80\x02]K\x01" "a.", 7, NULL},
        {"\x80\x04\x95\0\0\0\0\0\0\0\0\x8c\x01x\x94h\0\x86.", 19, NULL},       /* FRAME, short text, MEMOIZE */
        {"\x80\x02\x8b\x02\0\0\0\xff\xff.", 10, NULL},                           /* LONG4 of -1 */
        {"\x80\x02" "ccollections\nOrderedDict\n](K\x01K\x02\x86" "e\x85R.", 38, NULL},
        {"\x80\x02K\x01K\x02.", 7, "exactly one value"},
        {"\x80\x02(K\x01", 5, "cut off"},
        {"\x80\x02" "0.", 4, "empty stack"},
        {"\x80\x02(0.", 5, "empty stack"},
        {"\x80\x02h\x05.", 5, "no such entry"},
        {"\x80\x02K\x01K\x02" "a.", 8, "no list"},
        {"\x80\x02}K\x01K\x02K\x03" "e.", 11, "a mark is missing"},
        {"\x80\x02" "cos\nsystem\n.", 14, "os.system"},
        {"\x80\x02" "cbuiltins\nexec\n.", 18, "builtins.exec"},
        {"\x80\x02(ios\nsystem\n.", 15, "opcode 0x69"},
        {"\x80\x02X\xff\xff\xff\xff" "a.", 9, "longer than the pickle"},
        {"\x80\x05N.", 4, "protocol"},
        {"\x80\x02K\x01Q.", 6, "does not name a storage"},
        {"", 0, "cut off"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        es_pickle *k = NULL;
        es_err err = {0};
        size_t used = 0;
        int rc = es_pickle_read(&k, (const unsigned char *)cases[i].bytes, cases[i].n, &used, "case", &err);
        if (!cases[i].word) {
            CHECK(!rc && used == cases[i].n, "case %zu: %s (%zu of %zu bytes)", i, err.text, used, cases[i].n);
        } else {
            CHECK(rc && strstr(err.text, cases[i].word), "case %zu: \"%s\", without \"%s\"", i, err.text, cases[i].word);
        }
        es_pickle_close(k);
    }
}

/* The published segmentation checkpoint, a Lightning file full of other objects, equals its safetensors bit for bit. */
static void torch_segmentation(void)
{
    const char *bin = es_test_data("models/pyannote-segmentation-3.0/pytorch_model.bin");
    const char *st = es_test_data("models/pyannote-segmentation-3.0/model.safetensors");

    if (!bin || !st) {
        es_test_skip("models/pyannote-segmentation-3.0");
        return;
    }
    es_source *a = open_with(es_torch_read, bin, NULL), *b = open_with(es_safetensors_read, st, NULL);
    if (a && b) {
        CHECK_INT(a->n_tensors, 54);
        same_tensors(a, b);
    }
    es_source_close(a);
    es_source_close(b);
}

/* Two more real files: 937 tensors in a zip, and the old container with a shared storage and an optimizer in it. */
static void torch_real(void)
{
    const char *cam = es_test_models("sources/campplus/campplus_cn_en_common.pt");
    const char *voice = es_test_models("sources/resemblyzer/pretrained.pt");
    const char *st = es_test_data("models/campplus/model.safetensors");

    if (!cam || !voice) {
        es_test_skip("sources of tools/fetch-models --test");
        return;
    }
    es_source *a = open_with(es_torch_read, cam, NULL), *b = st ? open_with(es_safetensors_read, st, NULL) : NULL;
    if (a) CHECK_INT(a->n_tensors, 937);
    if (a && b) same_tensors(a, b);
    es_source_close(a);
    es_source_close(b);
    a = open_with(es_torch_read, voice, NULL);
    const es_src_tensor *t = a ? es_source_find(a, "lstm.weight_ih_l0") : NULL;
    CHECK(t && t->n_dims == 2 && t->dim[0] == 1024 && t->dim[1] == 40, "lstm.weight_ih_l0 is missing, or not [1024, 40]");
    es_source_close(a);
}

static const es_test tests[] = {
    {"torch_good", torch_good},
    {"torch_views", torch_views},
    {"torch_refused", torch_refused},
    {"torch_cut", torch_cut},
    {"pickle_opcodes", pickle_opcodes},
    {"torch_segmentation", torch_segmentation},
    {"torch_real", torch_real},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
