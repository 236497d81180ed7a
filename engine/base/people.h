/*
 * people.h - the structs of names for voices: who is enrolled, who was heard where, and what was found about it.
 *
 * A person is known by the hash of the name. A voice is one speaker of one recording, as a vector in the space of the
 * model that made it; vectors of different spaces are never compared. An identity is what was concluded about a voice:
 * it is derived from all voices and all that was enrolled or said by the user, and can be derived again at any time.
 */
#ifndef ES_PEOPLE_H
#define ES_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"

enum {
    ES_PERSON_BYTES = 200, /* of a name, at most */
    ES_PERSON_CLIPS = 16,  /* of one person and model, at most */
    ES_PEOPLE_RULES = 1    /* raised when other conclusions are drawn from the same voices: then they are drawn again */
};

/* A space of vectors: the model that makes them. */
typedef struct es_space {
    es_hash128 hash; /* data hash of its pack */
    char model[64], architecture[32];
    int width;
} es_space;

/* What one recording says about a person's voice. */
typedef struct es_clip {
    es_hash128 content; /* of the recording's file */
    es_hash128 space;
    int width;
    float *vector;  /* [width], of unit length; owned */
    int64_t net_ms; /* of speech that it rests on */
    bool heard;     /* taken over from a speaker of the library, not from a file that was given as this person's */
} es_clip;

/* A person with a name. Clips are in the order of their space, then content. */
typedef struct es_profile {
    char name[ES_PERSON_BYTES + 1];
    es_clip *clips; /* owned */
    size_t n;
} es_profile;

/* What the user said about a voice. */
enum es_said {
    ES_SAID_NOTHING,
    ES_SAID_IS,   /* it is that of `person`: the hash of a name, or of a group without a name */
    ES_SAID_APART /* it is of none of those it was taken for */
};

typedef struct es_saying {
    uint8_t said; /* es_said */
    es_hash128 person;
} es_saying;

enum es_verdict {
    ES_VERDICT_UNKNOWN,      /* nobody who is enrolled comes near */
    ES_VERDICT_NAMED,        /* near enough, and nearer than anybody else */
    ES_VERDICT_MAYBE,        /* a little too far */
    ES_VERDICT_CLOSE,        /* near enough, but another voice or person is nearly as near */
    ES_VERDICT_SHORT,        /* too little speech to decide */
    ES_VERDICT_INCOMPARABLE, /* profiles there are, but none of this voice's model */
    ES_VERDICT_TOLD,         /* the user said so */
    ES_N_VERDICTS
};

/* What was concluded about a voice. */
typedef struct es_identity {
    uint32_t number;   /* of the person among all of the library, from 1: "Speaker 12" */
    uint8_t verdict;   /* es_verdict */
    es_hash128 person; /* the nearest one enrolled; all zero: nobody was compared */
    float score;       /* cosine to them */
    float margin;      /* of the score over the next person, or over the next voice of the same recording */
} es_identity;

/* Whether the person is the voice's name, and not only the nearest one. */
static inline bool es_identity_named(const es_identity *i)
{
    return i->verdict == ES_VERDICT_NAMED || i->verdict == ES_VERDICT_TOLD;
}

typedef struct es_voice {
    es_hash128 content;
    int track, speaker;
    es_hash128 space;
    int width;
    float *vector;    /* [width], of any length; all zero: there is none (any more); owned */
    int64_t alone_ms; /* of speech that it rests on */
    es_saying saying;
    bool forget;          /* set while the library is edited: the vector is to be removed from it */
    es_identity identity; /* number 0: not derived yet */
} es_voice;

/* Everything about voices that a library holds. */
typedef struct es_people {
    es_space *spaces;     /* in the order of their hashes */
    es_profile *profiles; /* in the order of the names' bytes */
    es_voice *voices;     /* in the order of content, track, speaker */
    size_t n_spaces, n_profiles, n_voices;
} es_people;

void es_profile_done(es_profile *p); /* accept what is zeroed */
void es_people_done(es_people *p);

es_hash128 es_person_of(const char *name);
/* ES_EARG with a sentence for a name that cannot be one: empty, too long, not UTF-8, with control characters or blanks
 * at an end, or of the form that stands for people without a name ("Speaker 12"). */
int es_person_check(const char *name, es_err *err);
/* The number in "Speaker 12"; 0 for any other text. */
uint32_t es_person_number(const char *text);
/* The profile of a person, or NULL. */
const es_profile *es_people_find(const es_people *all, es_hash128 person);
const es_space *es_people_space(const es_people *all, es_hash128 hash);

static inline bool es_hash_same(es_hash128 a, es_hash128 b)
{
    for (int i = 0; i < 16; i++)
        if (a.b[i] != b.b[i]) return false;
    return true;
}

/* Whether it is the hash that stands for nobody. */
static inline bool es_person_none(es_hash128 person)
{
    return es_hash_same(person, (es_hash128){{0}});
}

#endif
