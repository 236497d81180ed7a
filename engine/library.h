/*
 * library.h - the inside of the door's es_library; apart from door.h because it brings the store with it.
 */
#ifndef ES_LIBRARY_H
#define ES_LIBRARY_H

#include "store/store.h"

struct es_library {
    es_store *store;
    bool removed; /* recordings: when the library is closed, conclusions about voices are drawn once for all of them */
};

#endif
