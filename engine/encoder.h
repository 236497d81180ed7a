/*
 * encoder.h - the inside of the door's es_encoder, and its options as the rooms take them.
 */
#ifndef ES_ENCODER_H
#define ES_ENCODER_H

#include "earshot.h"
#include "pipeline/search/embedding.h"

struct es_encoder {
    es_embedding *embedding;
};

/* models_room holds the default folder where none is named. */
int es_door_encoder_options(es_embedding_options *out, const es_encoder_options *options, char *models_room, size_t room,
                            es_err *err);

#endif
