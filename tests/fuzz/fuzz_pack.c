/*
 * fuzz_pack.c - any bytes as a model pack: opened, verified, and bound by a small model of three tensors.
 *
 * Binding is the other half of trusting a pack: it compares the names and shapes found with those the model wants.
 */
#include <stdlib.h>

#include "runtime/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct small {
    es_matrix a;
    const float *b, *c;
} small;

static void bind(es_bind *b, void *user)
{
    small *m = user;

    es_bind_matrix(b, &m->a, 2, 3, "a.weight");
    es_bind_vector(b, &m->b, 2, "a.bias");
    if (es_bind_has(b, "c")) es_bind_vector(b, &m->c, 4, "c");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    es_weights *w;
    es_err err = {0};
    es_plan *p = NULL;
    es_model *model;
    small m = {0};

    if (es_pack_open_bytes(&w, data, n, "fuzz", &err)) {
        if (w || err.code == ES_OK || !err.text[0]) abort();
        return 0;
    }
    if (!es_pack_architecture(w) || !es_pack_name(w) || !es_pack_config(w)) abort();
    (void)es_pack_verify(w, NULL);
    if (es_plan_open(&p, ES_CPU, 1, NULL) == ES_OK) {
        if (es_plan_model(p, &model, "small", w, ES_F32, ES_F32, bind, &m, &err) == ES_OK) {
            if (es_plan_finish(p, 0, &err)) abort();
        } else if (model || !err.text[0]) {
            abort();
        }
    }
    es_plan_close(p);
    es_weights_close(w);
    return 0;
}
