/*
 * fill.h - how full the steps of a model were: counted by the model itself, whoever runs it.
 */
#ifndef ES_FILL_H
#define ES_FILL_H

#include <stdint.h>

typedef struct es_fill {
    int64_t steps, held, room; /* since the model was started: steps run, what they held, what all of them had room for */
} es_fill;

static inline void es_fill_add(es_fill *f, int held, int room)
{
    f->steps++, f->held += held, f->room += room;
}

/* Between two looks at the same model: 0 .. 1, or -1 where it did not run. */
static inline double es_fill_since(es_fill before, es_fill now)
{
    int64_t room = now.room - before.room;

    return room > 0 ? (double)(now.held - before.held) / (double)room : -1;
}

#endif
