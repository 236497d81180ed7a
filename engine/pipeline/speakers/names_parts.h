/*
 * names_parts.h - what the two files behind names.h share: conclusions, and whom the user means.
 */
#ifndef ES_NAMES_PARTS_H
#define ES_NAMES_PARTS_H

#include "pipeline/speakers/names.h"

int es_names_conclude(es_people *all, es_err *err);
/* What an identity is called. */
void es_names_label(char *out, size_t room, const es_people *all, const es_identity *i);
/* The name as it is kept, NFC; ES_EARG for one that cannot be. *out is the caller's to free. */
int es_names_read(char **out, const char *name, es_err *err);

/* Somebody the user means. */
typedef struct es_meant {
    es_profile *profile; /* NULL: somebody without a name */
    uint32_t number;
} es_meant;
/* who: a name, in the case of letters as it is or not, or "Speaker 12". ES_ENOTFOUND with a sentence. */
int es_names_meant(es_meant *out, const es_people *all, const char *who, es_err *err);
bool es_names_is_of(const es_voice *v, const es_meant *m);

int es_names_no_memory(es_err *err);

#endif
