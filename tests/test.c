/*
 * test.c - the runner behind test.h.
 */
#define _GNU_SOURCE
#include "test.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef ES_TEST_ZLIB /* a bare build has none, and no test there reads archives */
#include <zlib.h>
#endif

static struct {
    int failures;     /* of the running test */
    const char *skip; /* missing, or NULL */
    char missing[200];
    char folder[256];
} now;

void es_test_fail(const char *file, int line, const char *format, ...)
{
    va_list ap;
    const char *base = strrchr(file, '/');

    if (now.failures++ >= 10) return;
    printf("    %s:%d: ", base ? base + 1 : file, line);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
}

void es_test_skip(const char *what)
{
    snprintf(now.missing, sizeof now.missing, "%s", what);
    now.skip = now.missing;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    chmod(path, 0700);
    return remove(path);
}

static void drop_folder(void)
{
    if (now.folder[0] && !getenv("ES_TEST_KEEP")) nftw(now.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    now.folder[0] = 0;
}

const char *es_test_folder(void)
{
    const char *tmp = getenv("TMPDIR");

    if (!now.folder[0]) {
        snprintf(now.folder, sizeof now.folder, "%s/earshot-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(now.folder)) {
            perror(now.folder);
            exit(2);
        }
    }
    return now.folder;
}

int es_test_main(int argc, char **argv, const es_test *tests, int n)
{
    int passed = 0, failed = 0, skipped = 0;
    bool list = argc == 2 && !strcmp(argv[1], "--list");

    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("XDG_CONFIG_HOME", "/nowhere", 1); /* no settings of the one who runs the tests */
    for (int i = 0; i < n; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted = wanted || (argv[a][0] == '=' ? !strcmp(tests[i].name, argv[a] + 1) : strstr(tests[i].name, argv[a]) != NULL);
        if (list) puts(tests[i].name);
        if (!wanted || list) continue;
        now.failures = 0;
        now.skip = NULL;
        tests[i].run();
        drop_folder();
        if (now.failures) {
            failed++;
            printf("FAIL %s (%d)\n", tests[i].name, now.failures);
        } else if (now.skip) {
            skipped++;
            printf("skip %s: %s\n", tests[i].name, now.skip);
        } else {
            passed++;
            printf("ok   %s\n", tests[i].name);
        }
    }
    if (list) return 0;
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed || passed + skipped == 0 ? 1 : 0;
}

double es_check_close(const char *file, int line, const char *what, const float *have, const double *want, size_t n,
                      double absolute, double relative)
{
    double worst = 0, largest = 0;
    size_t at = 0, bad = 0;

    for (size_t i = 0; i < n; i++) {
        double diff = fabs((double)have[i] - want[i]);
        double bound = absolute + relative * fabs(want[i]);
        double excess = isnan(diff) ? INFINITY : diff / (bound > 0 ? bound : 1e-300);
        if (!(diff <= bound)) bad++;
        if (excess > worst) worst = excess, at = i;
        if (diff > largest || isnan(diff)) largest = diff;
    }
    if (bad)
        es_test_fail(file, line, "%s: %zu of %zu differ; worst at %zu: %.9g, expected %.9g (bound %.3g)", what, bad, n,
                     at, (double)have[at], want[at], absolute + relative * fabs(want[at]));
    return largest;
}

uint64_t es_noise_bits(es_noise *n)
{
    uint64_t z = (n->state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double es_noise_uniform(es_noise *n)
{
    return (double)(es_noise_bits(n) >> 11) * 0x1p-53;
}

double es_noise_normal(es_noise *n)
{
    double s = -6;

    for (int i = 0; i < 12; i++) s += es_noise_uniform(n);
    return s;
}

void es_noise_fill(es_noise *n, float *x, size_t count, double scale)
{
    for (size_t i = 0; i < count; i++) x[i] = (float)(es_noise_normal(n) * scale);
}

static const char *below(const char *root, const char *name)
{
    static char ring[8][4096];
    static int at;
    char *path = ring[at++ % 8];

    if (!root || !*root) return NULL;
    snprintf(path, sizeof ring[0], "%s/%s", root, name);
    return access(path, R_OK) == 0 ? path : NULL;
}

const char *es_test_data(const char *name)
{
    return below(getenv("ES_TEST_DATA"), name);
}

const char *es_test_golden(const char *name)
{
    return below(ES_SOURCE_DIR "/tests/golden", name);
}

const char *es_test_models(const char *name)
{
    return below(getenv("ES_TEST_MODELS"), name);
}

/* The array that a stream holds; NULL where it is none, or of a type that is not read here. */
static double *read_npy(FILE *f, int *n_dims, size_t dims[4])
{
    unsigned char head[12];
    char text[4096], type[8] = "";
    double *x = NULL;
    unsigned char *raw = NULL;
    size_t length, n = 1, bytes;

    if (!f || fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6)) goto out;
    length = (size_t)head[8] | (size_t)head[9] << 8;
    if (length >= sizeof text || fread(text, 1, length, f) != length) goto out;
    text[length] = 0;
    char *descr = strstr(text, "'descr':"), *shape = strstr(text, "'shape':");
    if (!descr || !shape || strstr(text, "'fortran_order': True")) goto out;
    if (sscanf(descr, "'descr': '%7[^']'", type) != 1) goto out;
    shape = strchr(shape, '(');
    if (!shape) goto out;
    *n_dims = 0;
    for (int i = 0; i < 4; i++) dims[i] = 1;
    for (char *p = shape + 1; *p && *p != ')';) {
        char *end;
        unsigned long long v = strtoull(p, &end, 10);
        if (end == p) break;
        if (*n_dims >= 4) goto out;
        dims[(*n_dims)++] = (size_t)v;
        n *= (size_t)v;
        for (p = end; *p == ',' || *p == ' '; p++) {
        }
    }
    bytes = (size_t)(type[2] - '0');
    raw = malloc(n * bytes + 1);
    x = malloc(n * sizeof *x + 1);
    if (!raw || !x || fread(raw, bytes, n, f) != n) {
        free(x);
        x = NULL;
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        const unsigned char *p = raw + i * bytes;
        float f4;
        double f8;
        int16_t i2;
        int32_t i4;
        int64_t i8;
        uint16_t h;
        memcpy(&h, p, bytes < 2 ? 0 : 2);
        if (!strcmp(type + 1, "f4")) memcpy(&f4, p, 4), x[i] = (double)f4;
        else if (!strcmp(type + 1, "f8")) memcpy(&f8, p, 8), x[i] = f8;
        else if (!strcmp(type + 1, "i2")) memcpy(&i2, p, 2), x[i] = i2;
        else if (!strcmp(type + 1, "i4")) memcpy(&i4, p, 4), x[i] = i4;
        else if (!strcmp(type + 1, "i8")) memcpy(&i8, p, 8), x[i] = (double)i8;
        else if (!strcmp(type + 1, "i1")) x[i] = (int8_t)*p;
        else if (!strcmp(type + 1, "u1") || !strcmp(type + 1, "b1")) x[i] = *p;
        else if (!strcmp(type + 1, "f2"))
            x[i] = (h >> 15 ? -1 : 1) * ((h >> 10 & 31) ? ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25) : ldexp(h & 1023, -24));
        else x[i] = (double)NAN;
    }
out:
    free(raw);
    return x;
}

double *es_test_npy(const char *path, int *n_dims, size_t dims[4])
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    double *x = read_npy(f, n_dims, dims);

    if (f) fclose(f);
    return x;
}

static unsigned number(const unsigned char *p, int n)
{
    unsigned v = 0;

    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* The member of a zip archive in memory, inflated; NULL where there is none. */
static unsigned char *member(const unsigned char *zip, size_t size, const char *name, size_t *bytes)
{
    size_t end = size < 22 ? 0 : size - 22, at;

    while (end && number(zip + end, 4) != 0x06054b50) end--;
    if (!end) return NULL;
    at = number(zip + end + 16, 4);
    for (unsigned i = 0, n = number(zip + end + 10, 2); i < n && at + 46 <= size && number(zip + at, 4) == 0x02014b50; i++) {
        unsigned length = number(zip + at + 28, 2), packed = number(zip + at + 20, 4), from = number(zip + at + 42, 4);
        if (length == strlen(name) && !memcmp(zip + at + 46, name, length) && from + 30 <= size) {
            const unsigned char *data = zip + from + 30 + number(zip + from + 26, 2) + number(zip + from + 28, 2);
            unsigned char *out = malloc((*bytes = number(zip + at + 24, 4)) + 1);
            if (!out || data + packed > zip + size) return out;
            if (number(zip + at + 10, 2) == 0) {
                memcpy(out, data, *bytes);
                return out;
            }
#ifdef ES_TEST_ZLIB
            z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = packed, .next_out = out, .avail_out = (uInt)*bytes};
            if (inflateInit2(&z, -15) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END) {
                inflateEnd(&z);
                return out;
            }
            inflateEnd(&z);
#endif
            free(out);
            return NULL;
        }
        at += 46 + length + number(zip + at + 30, 2) + number(zip + at + 32, 2);
    }
    return NULL;
}

double *es_test_npz(const char *path, const char *name, int *n_dims, size_t dims[4])
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    unsigned char *zip = NULL, *array = NULL;
    char full[128];
    size_t size = 0, bytes = 0;
    double *x = NULL;

    if (!f || fseek(f, 0, SEEK_END)) goto out;
    size = (size_t)ftell(f);
    rewind(f);
    zip = malloc(size + 1);
    if (!zip || fread(zip, 1, size, f) != size) goto out;
    snprintf(full, sizeof full, "%s.npy", name);
    array = member(zip, size, full, &bytes);
    FILE *g = array ? fmemopen(array, bytes, "rb") : NULL;
    x = read_npy(g, n_dims, dims);
    if (g) fclose(g);
out:
    free(array);
    free(zip);
    if (f) fclose(f);
    return x;
}
