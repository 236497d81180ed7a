/*
 * test_weights.c - safetensors files, real and hostile, and packs.
 *
 * Hostile headers are spelled out: each is refused, and the sentence must name the tensor and both values. The facts of
 * the real files were read from their headers with Python's json.
 */
#include "runtime/weights.h"
#include "test.h"

/* A file in memory: the length, the header, data_bytes bytes 0, 1, 2, ... */
typedef struct file {
    unsigned char bytes[8192];
    size_t n;
} file;

static void make(file *f, size_t data_bytes, const char *header)
{
    size_t n = strlen(header);

    for (int i = 0; i < 8; i++) f->bytes[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(f->bytes + 8, header, n);
    for (size_t i = 0; i < data_bytes; i++) f->bytes[8 + n + i] = (unsigned char)i;
    f->n = 8 + n + data_bytes;
}

static const char good[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                           "\"none\":{\"dtype\":\"I64\",\"shape\":[0,5],\"data_offsets\":[8,8]},"
                           "\"one\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[20,21]}}";

static void reads_what_is_there(void)
{
    file f;
    es_weights *w;
    es_err err = {0};

    make(&f, 21, good);
    CHECK_INT(es_weights_from(&w, f.bytes, f.n, "mem", &err), ES_OK);
    if (!w) return;
    CHECK_INT(es_weights_count(w), 4);
    CHECK_STR(es_weights_at(w, 0)->name, "a");
    CHECK_STR(es_weights_at(w, 1)->name, "none"); /* empty, at the same offset as b */
    CHECK_STR(es_weights_at(w, 2)->name, "b");
    CHECK_STR(es_weights_at(w, 3)->name, "one");
    CHECK(!es_weights_at(w, 4) && !es_weights_at(w, -1));
    const es_weight *b = es_weights_find(w, "b");
    CHECK(b && b->dtype == ES_F16 && b->n_dims == 2 && b->dim[0] == 2 && b->dim[1] == 3 && b->bytes == 12);
    CHECK(b && *(const unsigned char *)b->p == 8);
    const es_weight *none = es_weights_find(w, "none"), *one = es_weights_find(w, "one");
    CHECK(none && none->dtype == ES_N_DTYPES && none->bytes == 0);
    CHECK_STR(none ? none->type : "", "I64");
    CHECK(one && one->n_dims == 0 && one->bytes == 1);
    CHECK(!es_weights_find(w, "c") && !es_weights_find(w, "") && !es_weights_find(w, "__metadata__"));
    CHECK_STR(es_weights_meta(w, "format"), "pt");
    CHECK(!es_weights_meta(w, "nothing"));
    CHECK_STR(es_weights_path(w), "mem");
    es_weights_close(w);
    es_weights_close(NULL);
}

typedef struct hostile {
    const char *header;
    const char *says[3]; /* pieces that the sentence must hold */
} hostile;

/* All with 16 bytes of data. */
static const hostile hostiles[] = {
    {"[]", {"not a safetensors"}},
    {"{\"a\":", {"not JSON"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},}", {"not JSON"}},
    {"{\"a\":7}", {"tensor a", "object"}},
    {"{\"\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", {"empty"}},
    {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", {"a\\xFF", "not UTF-8"}},
    {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", {"zero character"}},
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[4],\"data_offsets\":[0,16]}}", {"tensor a", "dtype", "F31"}},
    {"{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}", {"tensor a", "dtype"}},
    {"{\"a\":{\"shape\":[4],\"data_offsets\":[0,16]}}", {"tensor a", "dtype", "(none)"}},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", {"tensor a", "shape"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":{\"x\":4},\"data_offsets\":[0,16]}}", {"tensor a", "shape"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", {"tensor a", "9 dim", "8"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", {"tensor a", "dimension 0"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2.5],\"data_offsets\":[0,16]}}", {"tensor a", "dimension 1"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}", {"tensor a", "dimension 0"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,16]}}",
     {"tensor a", "2^63", "4294967296"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,16]}}", {"tensor a", "dimension 0"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", {"tensor a", "16", "12"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", {"tensor a", "20", "16"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", {"tensor a", "[16, 0)"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", {"tensor a", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}}", {"tensor a", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,32]}}", {"tensor a", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", {"tensor a", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
     {"tensor a", "twice"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}",
     {"tensor b", "overlap", "8"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}",
     {"tensor b", "hole", "12"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}", {"tensor a", "hole", "4"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", {"12", "16"}},
    {"{}", {"0 of 16"}},
    {"{\"__metadata__\":3,\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", {"__metadata__"}},
    {"{\"__metadata__\":{\"x\":3},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     {"__metadata__ x"}},
    {"{\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     {"__metadata__ x", "twice"}},
    {"{\"__metadata__\":{},\"__metadata__\":{},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
     {"__metadata__ twice"}},
};

static void refuses_hostile_headers(void)
{
    file f;
    es_weights *w;

    for (size_t i = 0; i < sizeof hostiles / sizeof *hostiles; i++) {
        es_err err = {0};
        make(&f, 16, hostiles[i].header);
        int rc = es_weights_from(&w, f.bytes, f.n, "mem.safetensors", &err);
        CHECK(rc == ES_EFORMAT && !w, "%s gives %d", hostiles[i].header, rc);
        CHECK(strstr(err.text, "mem.safetensors") != NULL, "the sentence names no file: %s", err.text);
        for (int k = 0; k < 3 && hostiles[i].says[k]; k++)
            CHECK(strstr(err.text, hostiles[i].says[k]) != NULL, "%s: \"%s\" lacks \"%s\"", hostiles[i].header,
                  err.text, hostiles[i].says[k]);
        es_weights_close(w);
    }
}

static void refuses_hostile_lengths(void)
{
    static const uint64_t lengths[] = {0, 1, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 7, 100000001, 4096};
    file f;
    es_weights *w;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        es_err err = {0};
        make(&f, 21, good);
        for (int k = 0; k < 8; k++) f.bytes[k] = (unsigned char)(lengths[i] >> 8 * k);
        CHECK_INT(es_weights_from(&w, f.bytes, f.n, "mem", &err), ES_EFORMAT);
        char number[32];
        snprintf(number, sizeof number, "%llu", (unsigned long long)lengths[i]);
        CHECK(!w && strstr(err.text, number), "length %s: %s", number, err.text);
    }
    for (size_t n = 0; n < 8; n++) CHECK_INT(es_weights_from(&w, f.bytes, n, "mem", NULL), ES_EFORMAT);
}

/* Each byte of the small file lost from its end, one at a time. */
static void refuses_every_cut(void)
{
    file f;
    es_weights *w;

    make(&f, 21, good);
    for (size_t n = 0; n < f.n; n++) {
        unsigned char *copy = malloc(n + 1); /* its own block, so that a sanitizer sees a read past the end */
        memcpy(copy, f.bytes, n);
        CHECK(es_weights_from(&w, copy, n, "mem", NULL) == ES_EFORMAT && !w, "cut to %zu bytes passes", n);
        es_weights_close(w);
        free(copy);
    }
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(p, 1, n, f) != n) CHECK(false, "cannot write %s", path);
    if (f) fclose(f);
}

static void refuses_cut_files(void)
{
    enum { DATA = 262144 };
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[65536],\"data_offsets\":[0,262144]}}";
    size_t n = sizeof header - 1, all = 8 + n + DATA;
    unsigned char *bytes = calloc(1, all);
    char path[512];
    es_weights *w;
    es_err err = {0};

    bytes[0] = (unsigned char)n;
    memcpy(bytes + 8, header, n);
    snprintf(path, sizeof path, "%s/x.safetensors", es_test_folder());
    CHECK_INT(es_weights_open(&w, path, &err), ES_ENOTFOUND);
    write_file(path, bytes, all);
    CHECK_INT(es_weights_open(&w, path, NULL), ES_OK);
    CHECK(w && es_weights_find(w, "a"));
    if (w) {
        es_weights_forget_pages(w);
        CHECK_INT(((const unsigned char *)es_weights_find(w, "a")->p)[DATA - 1], 0);
    }
    es_weights_close(w);
    for (size_t cut = 0; cut < all; cut += 4096) {
        write_file(path, bytes, cut);
        CHECK(es_weights_open(&w, path, NULL) == ES_EFORMAT && !w, "cut to %zu bytes passes", cut);
        es_weights_close(w);
    }
    CHECK_INT(es_weights_open(&w, es_test_folder(), NULL), ES_EFORMAT);
    free(bytes);
}

/* Flips, cuts and swaps of good headers: none may crash, and what passes must hold together. */
static void survives_mutations(void)
{
    es_noise noise = {.state = 3};
    int passed = 0;

    for (int i = 0; i < 100000; i++) {
        file f;
        es_weights *w;
        make(&f, 21, good);
        for (int k = 1 + (int)(es_noise_bits(&noise) % 4); k > 0; k--) {
            size_t at = es_noise_bits(&noise) % f.n;
            static const char marks[] = "{}[]\",:0123456789\\u-e.";
            f.bytes[at] = es_noise_bits(&noise) % 3 ? (unsigned char)marks[es_noise_bits(&noise) % (sizeof marks - 1)]
                                                    : (unsigned char)es_noise_bits(&noise);
        }
        if (es_weights_from(&w, f.bytes, f.n, "mem", NULL)) continue;
        size_t sum = 0;
        for (int k = 0; k < es_weights_count(w); k++) {
            const es_weight *t = es_weights_at(w, k);
            CHECK(es_weights_find(w, t->name) == t, "a tensor is not found again");
            sum += t->bytes;
        }
        CHECK_INT(sum, 21);
        passed++;
        es_weights_close(w);
    }
    CHECK(passed > 0, "no mutation passes: the test tests nothing");
}

static void reads_real_files(void)
{
    static const struct {
        const char *file, *tensor, *type;
        int count, n_dims;
        int64_t dim[2];
        long long all_bytes;
    } real[] = {
        {"models/pyannote-segmentation-3.0/model.safetensors", "classifier.bias", "F32", 54, 1, {7, 0}, 5894060},
        {"models/minilm/model.safetensors", "pooler.dense.weight", "F16", 103, 2, {384, 384}, 45426432},
        {"models/campplus/model.safetensors", "head.bn1.bias", "F32", 815, 1, {32, 0}, 27722880},
        {"models/whisper-tiny/model.safetensors",
         "model.decoder.embed_positions.weight",
         "F16",
         167,
         2,
         {448, 384},
         75521280},
    };
    int found = 0;

    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        const char *path = es_test_data(real[i].file);
        es_weights *w;
        es_err err = {0};
        if (!path) continue;
        found++;
        CHECK(es_weights_open(&w, path, &err) == ES_OK, "%s", err.text);
        if (!w) continue;
        const es_weight *t = es_weights_find(w, real[i].tensor);
        long long sum = 0;
        for (int k = 0; k < es_weights_count(w); k++) sum += (long long)es_weights_at(w, k)->bytes;
        CHECK_INT(es_weights_count(w), real[i].count);
        CHECK_INT(sum, real[i].all_bytes);
        CHECK(t && t->n_dims == real[i].n_dims && t->dim[0] == real[i].dim[0] && t->dim[1] == real[i].dim[1], "%s: %s",
              real[i].file, real[i].tensor);
        CHECK_STR(t ? t->type : "", real[i].type);
        es_weights_close(w);
        CHECK_INT(es_pack_open(&w, path, &err), ES_EMODEL); /* a model, but no pack */
        CHECK(!w);
    }
    if (!found) es_test_skip("models/*/model.safetensors in ES_TEST_DATA");
}

/* ---- packs ---- */

static const char pack_data_hash[] = "00000000000000000000000000000000";

static void make_pack(file *f, const char *format, const char *architecture, const char *config, const char *hash)
{
    char header[2048];

    snprintf(header, sizeof header,
             "{\"__metadata__\":{\"earshot_pack\":\"%s\",\"architecture\":\"%s\",\"name\":\"tiny\",\"config\":\"%s\","
             "\"data_hash\":\"%s\"},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
             format, architecture, config, hash);
    make(f, 16, header);
}

static void packs_are_known(void)
{
    file f;
    es_weights *w;
    es_err err = {0};
    int64_t n = 0;
    unsigned char data[16];
    char hex[33];

    for (int i = 0; i < 16; i++) data[i] = (unsigned char)i;
    es_hash_hex(hex, es_hash_bytes(data, 16));
    make_pack(&f, "1", "whisper", "{\\\"d_model\\\": 384}", hex);
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", &err), ES_OK);
    if (w) {
        CHECK_STR(es_pack_architecture(w), "whisper");
        CHECK_STR(es_pack_name(w), "tiny");
        CHECK(es_json_int(es_json_get(es_pack_config(w), "d_model"), 0, 1000, &n) && n == 384);
        CHECK_INT(es_pack_verify(w, NULL), ES_OK);
        f.bytes[f.n - 1] ^= 1; /* one bit of the data */
        CHECK_INT(es_pack_verify(w, &err), ES_EMODEL);
        CHECK(strstr(err.text, "damaged") && strstr(err.text, hex), "%s", err.text);
        es_weights_close(w);
    }
    make_pack(&f, "2", "whisper", "{}", pack_data_hash);
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", NULL), ES_ENEWER);
    make_pack(&f, "one", "whisper", "{}", pack_data_hash);
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", NULL), ES_EMODEL);
    make_pack(&f, "1", "gpt", "{}", pack_data_hash);
    err = (es_err){0};
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", &err), ES_EMODEL);
    CHECK(strstr(err.text, "\"gpt\"") && strstr(err.text, "a.pack"), "%s", err.text);
    make_pack(&f, "1", "whisper", "[]", pack_data_hash);
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", NULL), ES_EMODEL);
    make_pack(&f, "1", "whisper", "{", pack_data_hash);
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", NULL), ES_EFORMAT);
    make_pack(&f, "1", "whisper", "{}", "xyz");
    CHECK_INT(es_pack_open_bytes(&w, f.bytes, f.n, "a.pack", NULL), ES_OK);
    CHECK_INT(w ? es_pack_verify(w, NULL) : 0, ES_EMODEL);
    es_weights_close(w);
    CHECK_INT(es_pack_open(&w, "/nowhere/a.pack", NULL), ES_ENOTFOUND);
}

static const es_test tests[] = {
    {"reads_what_is_there", reads_what_is_there},
    {"refuses_hostile_headers", refuses_hostile_headers},
    {"refuses_hostile_lengths", refuses_hostile_lengths},
    {"refuses_every_cut", refuses_every_cut},
    {"refuses_cut_files", refuses_cut_files},
    {"survives_mutations", survives_mutations},
    {"reads_real_files", reads_real_files},
    {"packs_are_known", packs_are_known},
};

int main(int argc, char **argv)
{
    return es_test_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
