/*
 * tables.h - ranges of characters that the tokenizers' references treat alike; see tools/make_text_tables.py.
 */
#ifndef ES_TABLES_H
#define ES_TABLES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct es_text_range {
    int32_t first, last; /* inclusive; ascending in a table, no two touch */
} es_text_range;

extern const es_text_range es_text_deleted[], es_text_space[], es_text_mark[], es_text_punct[], es_text_late[];
extern const int es_text_n_deleted, es_text_n_space, es_text_n_mark, es_text_n_punct, es_text_n_late;

static inline bool es_text_in(const es_text_range *table, int n, int32_t c)
{
    int low = 0, high = n;

    while (low < high) {
        int mid = (low + high) / 2;
        if (c > table[mid].last) low = mid + 1;
        else high = mid;
    }
    return low < n && c >= table[low].first;
}

#endif
