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
        es_test_skip("ES_TEST_DATA: goldens/text/torch");
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
        es_test_skip("ES_TEST_DATA: goldens/text/torch");
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
        es_test_skip("ES_TEST_DATA: goldens/text/torch");
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
        es_test_skip("ES_TEST_DATA: goldens/text/torch");
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
        es_test_skip("ES_TEST_DATA: models/pyannote-segmentation-3.0");
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
        es_test_skip("ES_TEST_MODELS: sources of tools/fetch-models --test");
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

/* ---- GGUF ---- */

static const char *gguf_file(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "goldens/text/gguf/%s", name);
    return es_test_data(path);
}

/* A tensor and an array of NumPy, bit for bit. */
static void same_as_npy(const es_source *s, const char *name, const char *npy)
{
    const es_src_tensor *t = es_source_find(s, name);
    size_t dims[4];
    int n_dims;
    double *want = es_test_npy(gguf_file(npy), &n_dims, dims);

    CHECK(t && want && t->n_dims == n_dims && t->count == dims[0] * dims[1], "%s or %s is missing, or their shapes differ", name, npy);
    if (t && want && t->count == dims[0] * dims[1]) {
        float *have = values_of(t), *one = calloc(t->count, sizeof *one);
        size_t bad = 0, first = 0;
        for (size_t i = 0; i < t->count; i++) {
            /* One at a time too: a range may start anywhere in a block. */
            es_source_read(t, i, 1, one + i);
            if (memcmp(have + i, &(float){(float)want[i]}, 4) || memcmp(have + i, one + i, 4)) first = bad++ ? first : i;
        }
        CHECK(!bad, "%s: %zu values differ, the first at %zu: %a, expected %a", name, bad, first, (double)have[first], want[first]);
        free(have);
        free(one);
    }
    free(want);
}

static void gguf_values(void)
{
    static const char *const blocks[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
    static const char *const models[] = {"Q8_0", "Q4_0", "Q4_K", "Q6_K"};
    static const char *const exact[] = {"g.F16.gguf", "g.BF16.gguf"};
    char name[64], npy[96];
    es_source *s;

    if (!gguf_file("g.F32.gguf")) {
        es_test_skip("ES_TEST_DATA: goldens/text/gguf");
        return;
    }
    /* The blocks lie in a file without an architecture: its tensors are read all the same, only not converted. */
    s = open_with(es_gguf_read, gguf_file("blocks.gguf"), NULL);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks && s; i++) {
        snprintf(npy, sizeof npy, "blocks.%s.npy", blocks[i]);
        same_as_npy(s, blocks[i], npy);
    }
    es_source_close(s);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(name, sizeof name, "g.%s.gguf", models[i]);
        s = open_with(es_gguf_read, gguf_file(name), NULL);
        for (int k = 0; k < 2 && s; k++) {
            snprintf(name, sizeof name, "blk.0.attn_%c.weight", "kv"[k]);
            snprintf(npy, sizeof npy, "g.%s.%s.npy", models[i], name);
            same_as_npy(s, name, npy);
        }
        es_source_close(s);
    }
    es_source *whole = open_with(es_gguf_read, gguf_file("g.F32.gguf"), NULL);
    for (size_t i = 0; i < sizeof exact / sizeof *exact && whole; i++) {
        s = open_with(es_gguf_read, gguf_file(exact[i]), NULL);
        if (s) same_tensors(s, whole);
        es_source_close(s);
    }
    es_source_close(whole);
}

typedef struct file {
    unsigned char *p;
    size_t n;
} file;

static file slurp(const char *path)
{
    file out = {calloc(1, 4 << 20), 0};
    FILE *f = path ? fopen(path, "rb") : NULL;

    if (f) {
        out.n = fread(out.p, 1, 4 << 20, f);
        fclose(f);
    }
    return out;
}

static void spill(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    CHECK(f && fwrite(p, 1, n, f) == n, "%s cannot be written", path);
    if (f) fclose(f);
}

static void gguf_refused(void)
{
    const char *path = gguf_file("g.Q8_0.gguf");
    char copy[4096];

    if (!path) {
        es_test_skip("ES_TEST_DATA: goldens/text/gguf");
        return;
    }
    file f = slurp(path);
    snprintf(copy, sizeof copy, "%s/bad.gguf", es_test_folder());
    const unsigned char *name = memmem(f.p, f.n, "blk.0.attn_k.weight", 19), *key = memmem(f.p, f.n, "general.architecture", 20);
    CHECK(name && key, "the file is not as it was");
    if (!name || !key) return;
    size_t at = (size_t)(name - f.p), dims = at + 19, arch = (size_t)(key - f.p) + 20 + 4;
    const struct {
        size_t at;
        uint64_t v;
        int n;
        const char *word;
    } pokes[] = {
        {4, 1, 4, "version 1"},
        {4, 0x03000000, 4, "version 50331648"},
        {8, (uint64_t)1 << 60, 8, "1152921504606846976 tensors"},
        {16, (uint64_t)1 << 60, 8, "1152921504606846976 pairs"},
        {16, (uint64_t)-1, 8, "cannot be in"},
        {24, (uint64_t)-1, 8, "a key of"},
        {arch - 4, 99, 4, "unknown type 99"},
        {arch, (uint64_t)1 << 62, 8, "cut off"},
        {arch + 8, 'Q', 1, "not qwen2"},
        {at - 8, 65, 8, "a name" },
        {at - 8, (uint64_t)1 << 63, 8, "name of a tensor has"},
        {dims, 5, 4, "5 dimensions"},
        {dims, 0, 4, "0 dimensions"},
        {dims + 4, 0, 8, "impossible"},
        {dims + 4, (uint64_t)1 << 63, 8, "impossible"},
        {dims + 4, 250, 8, "blocks of 32"},
        {dims + 20, 31, 4, "type 31"},
        {dims + 24, 0, 8, "is where the one before ends"},
        {dims + 24, (uint64_t)-32, 8, "is where the one before ends"},
    };
    for (size_t i = 0; i < sizeof pokes / sizeof *pokes; i++) {
        unsigned char old[8];
        es_err err = {0};
        memcpy(old, f.p + pokes[i].at, 8);
        for (int k = 0; k < pokes[i].n; k++) f.p[pokes[i].at + (size_t)k] = (unsigned char)(pokes[i].v >> (8 * k));
        spill(copy, f.p, f.n);
        memcpy(f.p + pokes[i].at, old, 8);
        es_source *s = open_with(es_gguf_read, copy, &err);
        const char *word = strcmp(pokes[i].word, "a name") ? pokes[i].word : "name of a tensor has 65";
        CHECK(!s && strstr(err.text, word), "poke %zu: \"%s\", without \"%s\"", i, err.text, word);
        es_source_close(s);
    }
    for (size_t cut = 16; cut < f.n; cut += cut < 9000 ? 97 : 4096) {
        es_err err = {0};
        spill(copy, f.p, cut);
        es_source *s = open_with(es_gguf_read, copy, &err);
        CHECK(!s && err.text[0], "cut at %zu was taken", cut);
        es_source_close(s);
    }
    free(f.p);
}

/* Files made here, one fault each: what the numbers of a whole file cannot be turned into by changing a few bytes. */
typedef struct maker {
    unsigned char p[4096];
    size_t n;
} maker;

static void put_number(maker *m, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) m->p[m->n++] = (unsigned char)(v >> (8 * i));
}

static void put_text(maker *m, const char *text)
{
    put_number(m, strlen(text), 8);
    memcpy(m->p + m->n, text, strlen(text));
    m->n += strlen(text);
}

static void put_tensor(maker *m, const char *name, uint64_t offset)
{
    put_text(m, name);
    put_number(m, 1, 4), put_number(m, 8, 8), put_number(m, 0, 4), put_number(m, offset, 8); /* eight numbers of f32 */
}

static void gguf_hostile(void)
{
    enum { PLAIN, KEY_TWICE, NAME_TWICE, NAME_BYTES, ALIGNED_0, ALIGNED_48, ALIGNED_TEXT, ARCHITECTURE_NUMBER, POOLING, ARRAY_IN_ARRAY,
           ARRAY_LONG, N_FAULTS };
    static const char *const says[N_FAULTS] = {[KEY_TWICE] = "a key is there twice",    [NAME_TWICE] = "twice",
                                               [NAME_BYTES] = "UTF-8",                  [ALIGNED_0] = "alignment is not a power of two",
                                               [ALIGNED_48] = "alignment is not a power of two",
                                               [ALIGNED_TEXT] = "alignment is not a power of two",
                                               [ARCHITECTURE_NUMBER] = "not qwen2",     [POOLING] = "pooling of kind 1",
                                               [ARRAY_IN_ARRAY] = "which cannot be",    [ARRAY_LONG] = "which cannot be"};
    char path[4096];

    snprintf(path, sizeof path, "%s/made.gguf", es_test_folder());
    for (int fault = 0; fault < N_FAULTS; fault++) {
        maker m = {.n = 0};
        es_err err = {0};
        memcpy(m.p, "GGUF", 4), m.n = 4;
        put_number(&m, 3, 4), put_number(&m, 2, 8), put_number(&m, 2, 8);
        put_text(&m, "general.architecture");
        if (fault == ARCHITECTURE_NUMBER) put_number(&m, 4, 4), put_number(&m, 2, 4);
        else put_number(&m, 8, 4), put_text(&m, "qwen2");
        put_text(&m, fault == KEY_TWICE ? "general.architecture" : fault == POOLING ? "qwen2.pooling_type" : "general.alignment");
        if (fault == ARRAY_IN_ARRAY) put_number(&m, 9, 4), put_number(&m, 9, 4), put_number(&m, 1, 8);
        else if (fault == ARRAY_LONG) put_number(&m, 9, 4), put_number(&m, 4, 4), put_number(&m, (uint64_t)1 << 61, 8);
        else if (fault == ALIGNED_TEXT) put_number(&m, 8, 4), put_text(&m, "32");
        else put_number(&m, 4, 4), put_number(&m, fault == ALIGNED_0 ? 0 : fault == ALIGNED_48 ? 48 : fault == POOLING ? 1 : 32, 4);
        put_tensor(&m, fault == NAME_BYTES ? "a\xff" : "a", 0);
        put_tensor(&m, fault == NAME_TWICE ? "a" : "b", 32);
        while (m.n % 32) m.p[m.n++] = 0;
        m.n += 64;
        spill(path, m.p, m.n);
        es_source *s = open_with(es_gguf_read, path, &err);
        if (fault == PLAIN) CHECK(s && s->n_tensors == 2, "%s", err.text);
        else CHECK(!s && strstr(err.text, says[fault]), "fault %d: \"%s\", without \"%s\"", fault, err.text, says[fault]);
        es_source_close(s);
    }
}

/* Which way attention looks is in the file, or must be said. */
static void gguf_converts(void)
{
    const char *path = gguf_file("g.F32.gguf");
    char copy[4096], pack[4096];
    es_convert_report rep;

    if (!path) {
        es_test_skip("ES_TEST_DATA: goldens/text/gguf");
        return;
    }
    snprintf(copy, sizeof copy, "%s/g.gguf", es_test_folder());
    snprintf(pack, sizeof pack, "%s/g.pack", es_test_folder());
    file f = slurp(path);
    es_err err = {0};
    es_convert_options o = {.source = path, .output = pack};
    CHECK(!es_convert(&o, &rep, &err) && strstr(rep.sizes, "bidirectional"), "%s %s", err.text, rep.sizes);
    unsigned char *key = memmem(f.p, f.n, "qwen2.attention.causal", 22);
    if (key) key[6] = 'X';
    spill(copy, f.p, f.n);
    o.source = copy;
    err = (es_err){0};
    CHECK(es_convert(&o, &rep, &err) && strstr(err.text, "which way attention looks"), "%s", err.text);
    o.attention = "causal";
    err = (es_err){0};
    CHECK(!es_convert(&o, &rep, &err) && strstr(rep.sizes, "causal"), "%s %s", err.text, rep.sizes);
    o.attention = "sideways";
    err = (es_err){0};
    CHECK(es_convert(&o, &rep, &err) && strstr(err.text, "sideways"), "%s", err.text);
    free(f.p);
}

/* ---- NumPy ---- */

static void npz_plda(void)
{
    const char *path = es_test_data("models/pyannote-plda/plda.npz");
    char pack[4096], copy[4096];
    es_convert_report rep;
    es_err err = {0};
    es_weights *w = NULL;

    if (!path) {
        es_test_skip("ES_TEST_DATA: models/pyannote-plda");
        return;
    }
    snprintf(pack, sizeof pack, "%s/plda.pack", es_test_folder());
    es_convert_options o = {.source = path, .output = pack};
    CHECK(!es_convert(&o, &rep, &err), "%s", err.text);
    CHECK(!es_pack_open(&w, pack, &err), "%s", err.text);
    const es_weight *psi = w ? es_weights_find(w, "psi") : NULL;
    CHECK(psi && psi->n_dims == 2 && psi->dim[0] == 2 && psi->dim[1] == 128, "psi is not [2, 128]");
    /* The array's own bytes, which stand 64-byte padded behind its description. */
    file f = slurp(path);
    unsigned char *at = memmem(f.p, f.n, "psi.npy", 7);
    at = at ? memmem(at, f.n - (size_t)(at - f.p), "\x93NUMPY", 6) : NULL;
    for (int i = 0; at && psi && i < 128; i++) {
        float part[2];
        double want;
        memcpy(&want, at + 10 + (at[8] | at[9] << 8) + 8 * i, 8);
        for (int k = 0; k < 2; k++) memcpy(&part[k], (const char *)psi->p + 4 * (128 * k + i), 4);
        double have = (double)part[0] + (double)part[1];
        CHECK(fabs(have - want) <= 0x1p-47 * fabs(want), "psi[%d] is %.17g, expected %.17g", i, have, want);
    }
    CHECK(at, "psi.npy is not in the archive");
    es_weights_close(w);
    /* By itself, one of the two archives is not enough; cut, it is none. */
    snprintf(copy, sizeof copy, "%s/plda.npz", es_test_folder());
    spill(copy, f.p, f.n);
    o.source = copy;
    err = (es_err){0};
    CHECK(es_convert(&o, &rep, &err) && strstr(err.text, "belong together"), "%s", err.text);
    for (size_t cut = 16; cut < f.n; cut += 4096) {
        spill(copy, f.p, cut);
        err = (es_err){0};
        CHECK(es_convert(&o, &rep, &err) && err.text[0], "cut at %zu was taken", cut);
    }
    free(f.p);
}

static const es_test tests[] = {
    {"torch_good", torch_good},
    {"torch_views", torch_views},
    {"torch_refused", torch_refused},
    {"torch_cut", torch_cut},
    {"pickle_opcodes", pickle_opcodes},
    {"torch_segmentation", torch_segmentation},
    {"torch_real", torch_real},
    {"gguf_values", gguf_values},
    {"gguf_refused", gguf_refused}, {"gguf_hostile", gguf_hostile},
    {"gguf_converts", gguf_converts},
    {"npz_plda", npz_plda},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
