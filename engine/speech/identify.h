/*
 * identify.h - whose voice it is: the speakers of all recordings against the people enrolled, and against each other.
 *
 * Unknown is the default answer. A voice gets a name only where its cosine to a person's voice is above a threshold
 * that belongs to the model and grows with the number of people, and where nobody else, neither another person for this
 * voice nor another voice of the recording for this person, is nearly as near. Voices without a name are grouped over
 * the whole library, so that an unknown person is the same one in every recording.
 *
 * Everything here follows from the voices and people alone, taken in the order of their hashes: neither the order in
 * which recordings came nor the machine makes a difference. Vectors of different models are never compared.
 */
#ifndef ES_IDENTIFY_H
#define ES_IDENTIFY_H

#include "base/people.h"
#include "speech/work.h"

enum {
    ES_IDENTIFY_LEAST_MS = 2000, /* of speech alone, below which a voice is compared with nobody */
    ES_IDENTIFY_BEST = 3         /* clips of a person whose mean cosine counts */
};

/* What the cosines of a model's vectors mean. */
typedef struct es_identify_rule {
    const char *architecture;
    double same;           /* from here on two voices may be one person's, where one person is enrolled */
    double margin;         /* over the second best */
    double maybe;          /* below `same` by so much, a person is worth mentioning */
    double others, spread; /* mean and deviation of the cosines of different people */
    double apart;          /* pieces of one recording farther apart than this are two people's */
} es_identify_rule;
/* Of "campplus", "ecapa", "resnet34"; careful ones for any other. */
const es_identify_rule *es_identify_rule_of(const char *architecture);
/* The threshold where n people are enrolled: it keeps the chance that a stranger gets any of the names. */
double es_identify_threshold(const es_identify_rule *rule, size_t n);

/* Sets the identity of every voice of all, whose arrays are sorted as people.h says. */
void es_identify_all(es_people *all, es_work *work);
size_t es_identify_all_bytes(const es_people *all);

/* Cosine in [-1, 1]; 0 where either has no length. */
double es_identify_cosine(const float *a, const float *b, int width);
/* y = x of length 1; false where x has no length. */
bool es_identify_unit(float *y, const float *x, int width);

/* ---- single vectors ---- */

/* The work of the two below, with n vectors. */
size_t es_identify_some_bytes(const es_people *all, const es_space *space, int n);

/* The person whose voice is nearest and is above the threshold; -1: nobody is. *score: of the nearest one. */
int es_identify_nearest(const es_people *all, const es_space *space, const float *vector, double *score, es_work *work);

/* ---- one voice that speaks alone ---- */

/* Whether all pieces [n, width] of a recording are one enrolled person's: every piece above the threshold less the
 * rule's `maybe`, their median above the threshold, nobody else ahead on any piece. The index of the profile, or -1;
 * why says the reason either way. */
int es_identify_alone(const es_people *all, const es_space *space, const float *pieces, int n, char *why, size_t room,
                      es_work *work);

#endif
