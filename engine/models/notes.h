/*
 * notes.h - what a forward pass computes on its way, kept for the tests that compare every block with a reference.
 *
 * A model that is planned with notes copies each named tensor into state of its own; without (NULL), es_note() does nothing
 * and the plan has neither the copies nor their memory.
 */
#ifndef ES_NOTES_H
#define ES_NOTES_H

#include "runtime/plan.h"

enum { ES_NOTES_MOST = 80 };

typedef struct es_notes {
    es_model *model; /* set by the model's plan */
    int n;
    struct {
        char name[48];
        es_tensor t; /* f32, of x's shape */
    } at[ES_NOTES_MOST]; /* must stay where it is while the plan lives */
} es_notes;

/* Keeps x under a name of its own within the program; name is a printf format. */
void es_note(es_notes *n, es_run *r, es_tensor x, const char *name, ...) __attribute__((format(printf, 4, 5)));
/* What was kept, with n_dims 0 for a name that was not. */
es_tensor es_notes_get(const es_notes *n, const char *name);

#endif
