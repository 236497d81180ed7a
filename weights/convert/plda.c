/*
 * plda.c - the PLDA of pyannote's community-1: a projection of speaker vectors and the model behind its clustering.
 *
 * It is used in f64, and labels near a tie depend on it, so the digits are kept: each value is stored as the f32 nearest
 * to it and the f32 nearest to what that leaves, whose sum in f64 differs from it by less than 2^-48 of it.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>

#define SHAPE(...) (const int64_t[]){__VA_ARGS__}

bool es_plda_is(const es_source *s)
{
    return es_source_find(s, "psi") && es_source_find(s, "tr") && es_source_find(s, "mu");
}

static void put(es_build *b, const char *name, int n_dims, const int64_t *dim)
{
    const es_src_tensor *t = es_build_take(b, n_dims, dim, "%s", name);
    const int64_t out[3] = {2, dim[0], n_dims > 1 ? dim[1] : 0};
    float *v = t ? malloc(2 * t->count * sizeof *v) : NULL;

    if (t && !v) b->rc = es_fail(b->err, ES_ENOMEM, "%s: out of memory", b->source->path);
    for (size_t i = 0; v && i < t->count; i++) {
        double x;
        es_source_read_double(t, i, 1, &x);
        v[i] = (float)x;
        v[t->count + i] = (float)(x - (double)v[i]);
    }
    if (v) es_build_put_values(b, name, v, n_dims + 1, out);
    free(v);
}

void es_plda_build(es_build *b)
{
    const es_src_tensor *t;
    int64_t in, out;
    char config[64];

    if (!es_build_has(b, "lda")) {
        es_build_fail(b, "xvec_transform.npz and plda.npz belong together; one of them is not in the folder");
        return;
    }
    t = es_build_take(b, 2, SHAPE(-1, -1), "lda");
    if (!t) return;
    in = t->dim[0];
    out = t->dim[1];
    snprintf(config, sizeof config, "{\"input\":%d,\"output\":%d}", (int)in, (int)out);
    es_build_meta(b, "plda", config, "1");
    snprintf(b->report->sizes, sizeof b->report->sizes, "%d to %d dimensions", (int)in, (int)out);
    put(b, "mean1", 1, SHAPE(in));
    put(b, "lda", 2, SHAPE(in, out));
    put(b, "mean2", 1, SHAPE(out));
    put(b, "mu", 1, SHAPE(out));
    put(b, "tr", 2, SHAPE(out, out));
    put(b, "psi", 1, SHAPE(out));
    es_build_leftover(b);
}
