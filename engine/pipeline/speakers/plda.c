/*
 * plda.c - see plda.h. Each value lies in the pack as two f32 whose sum it is: all first parts, then all second ones.
 */
#include "pipeline/speakers/plda.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/weights.h"

static int take(double *to, const es_weights *w, const char *name, int rows, int columns, es_err *err)
{
    int dims[3] = {2, rows, columns}, n_dims = columns ? 3 : 2;
    const es_weight *t = es_weights_find(w, name);
    size_t n = (size_t)rows * (size_t)(columns ? columns : 1);
    bool fits = t && t->dtype == ES_F32 && t->n_dims == n_dims;

    for (int i = 0; i < n_dims && fits; i++) fits = t->dim[i] == dims[i];
    if (!fits)
        return es_fail(err, ES_EMODEL, "%s: the tensor %s is not twice %d x %d values in f32, as community-1 has it", es_weights_path(w), name,
                       rows, columns ? columns : 1);
    for (size_t i = 0; i < n; i++) { /* the file may have put them anywhere */
        float first, second;
        memcpy(&first, (const char *)t->p + i * sizeof first, sizeof first);
        memcpy(&second, (const char *)t->p + (n + i) * sizeof second, sizeof second);
        to[i] = (double)first + (double)second;
    }
    return ES_OK;
}

int es_plda_open(es_plda **out, const char *path, es_err *err)
{
    es_plda *p = malloc(sizeof *p);
    es_weights *w = NULL;
    int rc = p ? es_pack_open(&w, path, err) : es_fail(err, ES_ENOMEM, "%s: not enough memory", path);

    *out = NULL;
    if (rc == ES_OK) rc = take(p->mean1, w, "mean1", ES_PLDA_IN, 0, err);
    if (rc == ES_OK) rc = take(&p->lda[0][0], w, "lda", ES_PLDA_IN, ES_PLDA_OUT, err);
    if (rc == ES_OK) rc = take(p->mean2, w, "mean2", ES_PLDA_OUT, 0, err);
    if (rc == ES_OK) rc = take(p->mu, w, "mu", ES_PLDA_OUT, 0, err);
    if (rc == ES_OK) rc = take(&p->tr[0][0], w, "tr", ES_PLDA_OUT, ES_PLDA_OUT, err);
    if (rc == ES_OK) rc = take(p->psi, w, "psi", ES_PLDA_OUT, 0, err);
    es_weights_close(w);
    if (rc != ES_OK) {
        free(p);
        return rc;
    }
    *out = p;
    return ES_OK;
}
