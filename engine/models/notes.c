/*
 * notes.c - see notes.h. The state for a note is planned when the name is first met, which is while the program is planned.
 */
#include "models/notes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/ops.h"

static int find(const es_notes *n, const char *name)
{
    for (int i = 0; i < n->n; i++)
        if (!strcmp(n->at[i].name, name)) return i;
    return -1;
}

void es_note(es_notes *n, es_run *r, es_tensor x, const char *name, ...)
{
    char text[sizeof n->at[0].name];
    va_list args;
    int i;

    if (!n) return;
    va_start(args, name);
    vsnprintf(text, sizeof text, name, args);
    va_end(args);
    i = find(n, text);
    if (i < 0) {
        assert(n->n < ES_NOTES_MOST);
        i = n->n++;
        memcpy(n->at[i].name, text, sizeof text);
        es_plan_state(n->model, &n->at[i].t, text, ES_F32, x.n_dims, x.dim);
    }
    es_cast_to(r, n->at[i].t, x);
}

es_tensor es_notes_get(const es_notes *n, const char *name)
{
    int i = find(n, name);

    return i < 0 ? (es_tensor){.id = -1} : n->at[i].t;
}
