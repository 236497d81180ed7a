/*
 * kernel_rig.c - tensors between guards on a device, seeded noise, and the earned bound.
 */
#include "kernel_rig.h"

#include "ref.h"
#include "test.h"

enum { GUARD = 64, GUARD_BYTE = 0xA5 };

const es_dtype es_rig_floats[3] = {ES_F32, ES_F16, ES_BF16};

/* ---- moving data ---- */

int es_rig_open(es_rig *r, es_device *d, int threads, size_t bytes)
{
    es_fault why = {0};

    *r = (es_rig){.d = d, .o = es_device_ops(d), .traits = es_backend_traits(es_device_backend(d)), .bytes = bytes};
    r->start = r->at = (r->traits->workspace_bytes(threads) + 255) & ~(size_t)255;
    r->arena = es_device_take_arena(d, r->start + bytes, &why);
    CHECK(r->arena != NULL, "%s", why.text);
    return r->arena ? 0 : -1;
}

void es_rig_begin(es_rig *r)
{
    r->at = r->start;
    r->n_blocks = 0;
}

/* Room of `bytes` between guards, filled with a byte that makes a NaN of every float type. */
void *es_rig_room(es_rig *r, size_t bytes)
{
    size_t at = r->at + 256;
    char *p = r->arena + at;

    r->at = (at + bytes + GUARD + 255) & ~(size_t)255;
    if (r->at > r->start + r->bytes || r->n_blocks == 64) {
        fprintf(stderr, "the test arena is too small\n");
        exit(2);
    }
    es_device_fill(r->d, p - GUARD, GUARD_BYTE, GUARD);
    es_device_fill(r->d, p + bytes, GUARD_BYTE, GUARD);
    es_device_fill(r->d, p, 0xFF, bytes);
    r->blocks[r->n_blocks++] = (struct es_rig_block){.p = p, .bytes = bytes};
    return p;
}

/* n values of x, rounded in place to what the type holds, on the device. */
void *es_rig_put(es_rig *r, double *x, size_t n, es_dtype t)
{
    void *host = malloc(n * 4 + 1), *p = es_rig_room(r, n * es_dtype_bytes(t));

    ref_store(host, t, x, n);
    ref_fetch(x, host, t, n);
    es_device_put(r->d, p, host, n * es_dtype_bytes(t));
    free(host);
    return p;
}

void *es_rig_put_bytes(es_rig *r, const void *x, size_t bytes)
{
    void *p = es_rig_room(r, bytes);

    es_device_put(r->d, p, x, bytes);
    return p;
}

void es_rig_get_bytes(es_rig *r, void *x, const void *p, size_t bytes)
{
    const unsigned char *b = x;

    es_device_get(r->d, x, p, bytes);
    for (size_t i = 0; i < bytes; i++) r->hash = (r->hash ^ b[i]) * 1099511628211u;
}

double *es_rig_get(es_rig *r, const void *p, size_t n, es_dtype t)
{
    void *host = malloc(n * 4 + 1);
    double *x = malloc(n * sizeof *x + 1);

    es_rig_get_bytes(r, host, p, n * es_dtype_bytes(t));
    ref_fetch(x, host, t, n);
    free(host);
    return x;
}

/* Guards and faults, after the op. */
void es_rig_end(es_rig *r, const char *what)
{
    es_fault fault = {0};
    unsigned char g[2 * GUARD];

    CHECK(es_device_sync(r->d, &fault) == 0, "%s: %s", what, fault.text);
    for (int i = 0; i < r->n_blocks; i++) {
        es_device_get(r->d, g, r->blocks[i].p - GUARD, GUARD);
        es_device_get(r->d, g + GUARD, r->blocks[i].p + r->blocks[i].bytes, GUARD);
        for (int j = 0; j < 2 * GUARD; j++)
            if (g[j] != GUARD_BYTE) {
                es_test_fail(__FILE__, __LINE__, "%s: tensor %d of %zu bytes was overrun %s", what, i,
                             r->blocks[i].bytes, j < GUARD ? "before its start" : "past its end");
                break;
            }
    }
}

double *es_rig_noise(uint64_t seed, size_t n, double scale)
{
    es_noise s = {seed};
    double *x = malloc(n * sizeof *x + 1);

    for (size_t i = 0; i < n; i++) x[i] = (double)(float)(es_noise_normal(&s) * scale);
    return x;
}

float *es_rig_narrow(const double *x, size_t n)
{
    float *y = malloc(n * sizeof *y + 1);

    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
    return y;
}

/* have, from storage t, against the definition; naive: the float loop's result before storage. */
void es_rig_compare(const char *what, const double *have, const double *want, const float *naive, size_t n, es_dtype t)
{
    double loss = 0, size = 0, worst = 0;
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        double e = fabs(ref_round((double)naive[i], t) - want[i]), h = fabs(have[i] - want[i]);
        loss = e > loss ? e : loss;
        size = fabs(want[i]) > size ? fabs(want[i]) : size;
        if (!(h <= worst)) worst = h, at = i;
        if (isnan(h)) break;
    }
    double bound = 2 * loss + ref_unit(t) * size;
    CHECK(worst <= bound, "%s: at %zu of %zu %.9g, expected %.9g, off by %.3g (bound %.3g)", what, at, n, have[at],
          want[at], worst, bound);
}

bool es_rig_too_much(const es_rig *r, double work)
{
    return r->most_work > 0 && work > r->most_work;
}
